/* b64.h: contents that travel as base64 in the middle of a JSON object, either way in flat memory.
 *
 * Up: the three characters of base64 that are not letters or digits may have to be percent-encoded
 * (api/notes.md 0.3 and 1.2). Down: the text may be escaped (`\/`), broken into lines, or percent-encoded. */
#ifndef PM_BACKENDS_B64_H
#define PM_BACKENDS_B64_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* --- up: a request's body (b64_body.c) */

/* `head`, the file encoded, `tail`. Used by one thread at a time. */
struct pm_b64_body;

/* Reads the file once, by pread, to know the length. `fd` is borrowed until free, the texts are copied.
 * 0; -ECANCELED when *cancel (may be NULL); -EIO: the file is shorter than `size`; others of reading. */
int      pm_b64_body_new(int fd, uint64_t size, const char *head, const char *tail, bool percent,
                         const atomic_bool *cancel, struct pm_b64_body **out);
void     pm_b64_body_free(struct pm_b64_body *b);
uint64_t pm_b64_body_len(const struct pm_b64_body *b);
/* The file's MD5 as hexadecimal digits. */
const char *pm_b64_body_md5(const struct pm_b64_body *b);
/* Reads like pread; in order costs least, from 0 on again is always right (a pm_http_read_fn; `b` is a
 * struct pm_b64_body). -EIO: the file is not what it was. */
ssize_t pm_b64_body_read(void *b, void *buf, size_t len, uint64_t off);
/* How much of the file is in what was read last, and before it; for progress. */
uint64_t pm_b64_body_done(const struct pm_b64_body *b);

/* --- down: an answer's body (b64_cut.c) */

struct cJSON;

/* Takes decoded bytes. Negative ends the decoding with it. */
typedef int pm_b64_data_fn(void *arg, const void *data, size_t len);

/* Decodes one string member of an object as it arrives, and keeps the others. */
struct pm_b64_cut;

/* `key` is the member's name, borrowed; `data` NULL: its content is of no interest, nor is whether it is
 * base64. NULL: no memory. */
struct pm_b64_cut *pm_b64_cut_new(const char *key, pm_b64_data_fn *data, void *arg);
void               pm_b64_cut_free(struct pm_b64_cut *c);
/* The next bytes, cut anywhere. 0, a negative of `data`, or -EIO: no JSON object, no base64, or more than
 * 1 MiB around the member. After a failure every call returns it again. */
int pm_b64_cut_feed(struct pm_b64_cut *c, const char *text, size_t len);
/* After the last byte: the object, with the member emptied, if it was a string. Owned; NULL: it did not
 * come whole, or is none. */
struct cJSON *pm_b64_cut_rest(const struct pm_b64_cut *c);
/* Was the member there, as a string? */
bool pm_b64_cut_found(const struct pm_b64_cut *c);
/* How many bytes it held. */
uint64_t pm_b64_cut_bytes(const struct pm_b64_cut *c);

#endif
