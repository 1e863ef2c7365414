/* cache_env.h: a whole cache over the memory backend, in a state folder of its own, for tests.
 *
 * Account "m" is there always, "n" with two accounts. Lists stay fresh for an hour, so that a test
 * says when the service is asked; uploads start 20 ms after the close. Helpers assert; they end the
 * test. */
#ifndef PM_TESTS_UNIT_CACHE_ENV_H
#define PM_TESTS_UNIT_CACHE_ENV_H

#include "backends/memory.h"
#include "cache/journal.h"
#include "cache/list.h"
#include "cache/queue.h"
#include "cache/state.h"

struct env {
    char                   dir[64]; /* the state folder */
    struct pm_conf         conf;
    struct pm_account_conf accounts[2];
    struct pm_cache       *c;
    struct pm_backend     *b, *b2; /* of account "m", of "n" */
    pm_node                root, root2; /* their folders */
};

/* A waiter that counts. */
struct env_waiter {
    struct pm_waiter w;
    pthread_mutex_t  lock;
    pthread_cond_t   cond;
    unsigned         woken; /* lock */
    int              err; /* lock */
};

/* Prepares the configuration; a test may change it before env_open. */
void env_init(struct env *e);
/* Opens the cache and lists the account's root once. */
void env_open(struct env *e);
/* Both, with the queue held. */
void env_start(struct env *e);
/* Stops and frees the cache; the folder stays. */
void env_stop(struct env *e);
/* Stops; the folder goes. */
void env_close(struct env *e);
/* A copy of the state folder in a new one, which e->dir is then: as after kill -9. */
void env_copy_folder(const struct env *from, struct env *to);

void env_waiter_init(struct env_waiter *w);
/* Has it been woken within the time? */
bool env_waiter_wait(struct env_waiter *w, int64_t ms);

/* --- the drive */

/* Gets the folder's list anew, in place. */
int env_list(struct env *e, pm_node folder);
/* Looks a path below account "m" up, by what is known; 0: not there. */
pm_node env_find(struct env *e, const char *path);
/* The shown names of a folder, sorted, joined by spaces. Static buffer. */
const char *env_names(struct env *e, pm_node folder);
/* Makes or replaces a file as a program does: create or open with O_TRUNC, write, close. */
pm_node env_write(struct env *e, pm_node parent, const char *name, const char *text);
pm_node env_mkdir(struct env *e, pm_node parent, const char *name);
/* Reads [off, off+len), waiting; the count or the errno. */
ssize_t env_read(struct pm_file *f, void *buf, size_t len, uint64_t off);
/* Copies [off, off+len) to the same place of `out`, waiting; the count or the errno. */
ssize_t env_copy_range(struct pm_file *in, struct pm_file *out, uint64_t off, uint64_t len);
/* Copies a whole file to a new one as cp does, in two pieces. */
pm_node env_copy(struct env *e, pm_node from, pm_node parent, const char *name);
/* Opens, reads all, closes. Static buffer for short contents. */
const char *env_text(struct env *e, pm_node node);
/* The first column of a query of the state databases. `sql` is a literal without parameters. */
int64_t env_sql(struct env *e, const char *sql);
/* Calls `done` until it is true, 10 s at most. */
bool env_until(bool (*done)(void *arg), void *arg);
/* Waits until the journal has no entry that will be sent. */
void env_sync(struct env *e);
/* Until the backend's op was called `n` times. */
void env_until_calls(struct env *e, enum pm_memory_op op, unsigned n);
void env_set_due(struct env *e); /* every entry that is ready may be sent now */

/* --- the service */

void env_serve(struct env *e, const char *path, const char *text); /* a file */
void env_serve_folder(struct env *e, const char *path);
/* What the service has of an object; owned; NULL: it has none. `path` as in struct pm_entry. */
struct pm_entry *env_object(struct env *e, const char *path);
/* Its content; static buffer; NULL: it has none. */
const char *env_served(struct env *e, const char *path);
/* Raw names in a folder of the service, sorted, joined by spaces. Static buffer. */
const char *env_served_names(struct env *e, const char *path);

#endif
