/* The bytes of files: one immutable file on disk per content, named by 32 hex digits, below
 * DIR/content; uploads grow in DIR/incoming. The content "" is the empty one and has no file.
 * A finished content outlives a kill of this program (not a power cut: nothing is synced).
 * Any thread; one `incoming` belongs to one thread at a time. */
#ifndef EMULATOR_STORE_H
#define EMULATOR_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct incoming;

int store_open(const char *dir, struct store **out);
void store_close(struct store *s);

int incoming_new(struct store *s, struct incoming **out);
/* Appends. Runs of zeros become holes, so that gigabytes of them cost no disk. 0 or -errno. */
int incoming_write(struct incoming *in, const void *bytes, size_t len);
uint64_t incoming_size(const struct incoming *in);
/* Consumes `in`, success or not; `content` gets the new content's name. */
int incoming_commit(struct incoming *in, char content[33]);
void incoming_abort(struct incoming *in);   /* consumes; NULL is fine */

/* The reproducible bytes of `seed`: 64-bit little-endian words, word i = splitmix64(seed, i). */
int store_generate(struct store *s, uint64_t size, uint64_t seed, bool zero, char content[33]);
int store_put(struct store *s, const void *bytes, size_t len, char content[33]);

/* A file of that name (32 hex digits) in another folder of DIR becomes a content: it is linked
 * here, and is not to be written any more. The content has its name. 0 or -errno. */
int store_adopt(struct store *s, int folder_fd, const char *name);

/* A descriptor for reading (also of the empty content), owned by the caller, or -errno. */
int store_read_fd(struct store *s, const char *content);
int store_sha256(struct store *s, const char *content, char hex[65]);
void store_drop(struct store *s, const char *content);

#endif
