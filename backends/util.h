/* util.h: the floor that every layer stands on: scope cleanup, time, text buffers, logging.
 *
 * Nothing here knows of services, files or FUSE. All functions may be called from any thread. */
#ifndef PM_BACKENDS_UTIL_H
#define PM_BACKENDS_UTIL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define PM_COUNT(array)                 (sizeof(array) / sizeof((array)[0]))

/* --- scope-local cleanup: PM_AUTO(free) char *s = …; PM_AUTO(close) int fd = …; PM_GUARD(&lock); */

static inline void pm_cleanup_free(void *p)
{
    free(*(void **)p);
}

static inline void pm_cleanup_close(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void pm_cleanup_unlock(pthread_mutex_t **lock)
{
    pthread_mutex_unlock(*lock);
}

static inline pthread_mutex_t *pm_lock(pthread_mutex_t *lock)
{
    pthread_mutex_lock(lock);
    return lock;
}

#define PM_AUTO(fn)      __attribute__((cleanup(pm_cleanup_##fn)))
#define PM_JOIN_(a, b)   a##b
#define PM_JOIN(a, b)    PM_JOIN_(a, b)
#define PM_GUARD(lock)                                                                             \
    __attribute__((cleanup(pm_cleanup_unlock), unused)) pthread_mutex_t *PM_JOIN(guard_, __LINE__) = \
        pm_lock(lock)

/* --- time */

/* Milliseconds of a clock that only runs forward; for deadlines. Its start is arbitrary. */
int64_t pm_now_ms(void);
/* Milliseconds, nanoseconds since 1970 by the wall clock. */
int64_t pm_wall_ms(void);
int64_t pm_wall_ns(void);
/* A time of the wall clock for people, rounded up: "14:03:07", of another day with its date. */
#define PM_CLOCK_MAX 40
void pm_clock_text(int64_t wall_ms, char out[PM_CLOCK_MAX]);
/* Waits on `cond` (initialised by pm_cond_init) until signalled or pm_now_ms() >= `until_ms`.
 * Returns 0 or -ETIMEDOUT. Spurious wake-ups happen: test the predicate in a loop. */
int pm_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until_ms);
/* A condition variable on the clock of pm_now_ms(). */
void pm_cond_init(pthread_cond_t *cond);
/* Starts a joinable thread with a small stack (256 KiB: a process full of threads stays small),
 * all signals blocked, named `name` (15 bytes shown). Returns 0 or -errno. */
int pm_thread_start(pthread_t *out, const char *name, void *(*run)(void *), void *arg);

/* --- growing text. A failed allocation sticks in `failed`; later calls are no-ops, so that only
 * the end has to check. Zero-initialise; free with pm_buf_free (or PM_AUTO(pm_buf)). */

struct pm_buf {
    char  *ptr; /* NUL-terminated when len > 0; NULL at first */
    size_t len;
    size_t cap;
    bool   failed;
};

void pm_buf_add(struct pm_buf *b, const void *data, size_t len);
void pm_buf_str(struct pm_buf *b, const char *s);
void pm_buf_printf(struct pm_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Adds `s` as a JSON string with its quotes; bytes that are no UTF-8 become U+FFFD. */
void pm_buf_json(struct pm_buf *b, const char *s);
/* Adds `s` with every byte outside A-Z a-z 0-9 - . _ ~ percent-encoded (RFC 3986). */
void pm_buf_urlenc(struct pm_buf *b, const char *s);
void pm_buf_free(struct pm_buf *b);
/* Hands the text over: the caller owns it. NULL after a failed allocation. */
char *pm_buf_take(struct pm_buf *b);

static inline void pm_cleanup_pm_buf(struct pm_buf *b)
{
    pm_buf_free(b);
}

/* asprintf that returns NULL on failure; the caller owns the string. */
char *pm_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Decodes %XX; returns an owned string or NULL (no memory, a broken escape, %00). */
char *pm_urldec(const char *s);

/* Length of the well-formed UTF-8 character at `s`, of which `max` bytes may be looked at; 0: none
 * (surrogates and overlong forms are none). */
size_t pm_utf8_len(const char *s, size_t max);
bool   pm_utf8_valid(const char *s);

/* Like pread/pwrite but whole: repeats on short counts and EINTR. Returns the count (reads: short
 * only at the end of the file) or -errno. */
ssize_t pm_pread_all(int fd, void *buf, size_t len, uint64_t off);
ssize_t pm_pwrite_all(int fd, const void *buf, size_t len, uint64_t off);

/* --- logging: one line each, to standard error ("<N>" prefixes under systemd). Never a token, a
 * signed URL, a session URI or a body. */

enum pm_level {
    PM_ERROR, /* user data at risk */
    PM_WARN,  /* degraded */
    PM_INFO,  /* lifecycle */
    PM_DEBUG, /* per request */
};

/* Sets what is logged, for the process; called by main before threads start. Default PM_INFO. */
void pm_log_level(enum pm_level level);
void pm_log(enum pm_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
