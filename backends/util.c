#include "backends/util.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define STACK_BYTES (2u << 20) /* the sanitizers keep their own things on stacks */
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define STACK_BYTES (2u << 20)
#endif
#endif
#ifndef STACK_BYTES
#define STACK_BYTES (256u << 10)
#endif

/* --- time */

static int64_t clock_ms(clockid_t which)
{
    struct timespec ts;

    clock_gettime(which, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t pm_now_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

int64_t pm_wall_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

void pm_clock_text(int64_t wall_ms, char out[PM_CLOCK_MAX])
{
    time_t    now = time(NULL), at = (time_t)((wall_ms + 999) / 1000);
    struct tm here, then;
    bool      today;

    localtime_r(&now, &here);
    localtime_r(&at, &then);
    today = here.tm_yday == then.tm_yday && here.tm_year == then.tm_year;
    strftime(out, PM_CLOCK_MAX, today ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &then);
}

int64_t pm_wall_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void pm_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

int pm_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until_ms)
{
    struct timespec ts;

    if (until_ms < 0)
        until_ms = 0;
    ts.tv_sec = (time_t)(until_ms / 1000);
    ts.tv_nsec = (long)(until_ms % 1000) * 1000000;
    return pthread_cond_timedwait(cond, lock, &ts) == ETIMEDOUT ? -ETIMEDOUT : 0;
}

int pm_thread_start(pthread_t *out, const char *name, void *(*run)(void *), void *arg)
{
    pthread_attr_t attr;
    sigset_t       all, old;
    char           brief[16];
    int            err;

    err = pthread_attr_init(&attr);
    if (err)
        return -err;
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    err = pthread_create(out, &attr, run, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (err)
        return -err;
    snprintf(brief, sizeof(brief), "%s", name);
    pthread_setname_np(*out, brief);
    return 0;
}

/* --- growing text */

/* Makes room for `more` bytes and a NUL. */
static bool reserve(struct pm_buf *b, size_t more)
{
    size_t cap = b->cap ? b->cap : 64;
    char  *ptr;

    if (b->failed || more > SIZE_MAX / 4 - b->len) {
        b->failed = true;
        return false;
    }
    if (b->len + more + 1 <= b->cap)
        return true;
    while (cap < b->len + more + 1)
        cap *= 2;
    ptr = realloc(b->ptr, cap);
    if (!ptr) {
        b->failed = true;
        return false;
    }
    b->ptr = ptr;
    b->cap = cap;
    return true;
}

void pm_buf_add(struct pm_buf *b, const void *data, size_t len)
{
    if (!reserve(b, len))
        return;
    if (len)
        memcpy(b->ptr + b->len, data, len);
    b->len += len;
    b->ptr[b->len] = '\0';
}

void pm_buf_str(struct pm_buf *b, const char *s)
{
    pm_buf_add(b, s, strlen(s));
}

void pm_buf_printf(struct pm_buf *b, const char *fmt, ...)
{
    va_list ap;
    int     len;

    va_start(ap, fmt);
    len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (len < 0 || !reserve(b, (size_t)len)) {
        b->failed = true;
        return;
    }
    va_start(ap, fmt);
    vsnprintf(b->ptr + b->len, (size_t)len + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)len;
}

size_t pm_utf8_len(const char *s, size_t max)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char  *u = (const unsigned char *)s;
    uint32_t              code;
    size_t                n;

    if (max == 0)
        return 0;
    if (u[0] < 0x80)
        return 1;
    n = u[0] >= 0xf0 ? 4 : u[0] >= 0xe0 ? 3 : 2;
    if (u[0] < 0xc2 || u[0] > 0xf4 || n > max)
        return 0;
    code = u[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((u[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (u[i] & 0x3fu);
    }
    return code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : n;
}

bool pm_utf8_valid(const char *s)
{
    size_t left = strlen(s), n;

    for (; left; s += n, left -= n) {
        n = pm_utf8_len(s, left);
        if (n == 0)
            return false;
    }
    return true;
}

void pm_buf_json(struct pm_buf *b, const char *s)
{
    size_t left = strlen(s), n;

    pm_buf_add(b, "\"", 1);
    for (; left; s += n, left -= n) {
        n = pm_utf8_len(s, left);
        if (n == 0) {
            pm_buf_str(b, "\xef\xbf\xbd");
            n = 1;
        } else if (*s == '"' || *s == '\\') {
            pm_buf_printf(b, "\\%c", *s);
        } else if ((unsigned char)*s < 0x20 || *s == 0x7f) {
            pm_buf_printf(b, "\\u%04x", (unsigned)*s);
        } else {
            pm_buf_add(b, s, n);
        }
    }
    pm_buf_add(b, "\"", 1);
}

static bool is_unreserved(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '.' || c == '_' || c == '~';
}

void pm_buf_urlenc(struct pm_buf *b, const char *s)
{
    for (; *s; s++) {
        if (is_unreserved((unsigned char)*s))
            pm_buf_add(b, s, 1);
        else
            pm_buf_printf(b, "%%%02X", (unsigned char)*s);
    }
}

void pm_buf_free(struct pm_buf *b)
{
    free(b->ptr);
    *b = (struct pm_buf){0};
}

char *pm_buf_take(struct pm_buf *b)
{
    char *text = NULL;

    pm_buf_add(b, "", 0);
    if (!b->failed) {
        text = b->ptr;
        b->ptr = NULL;
    }
    pm_buf_free(b);
    return text;
}

char *pm_asprintf(const char *fmt, ...)
{
    va_list ap;
    char   *out;
    int     len;

    va_start(ap, fmt);
    len = vasprintf(&out, fmt, ap);
    va_end(ap);
    return len < 0 ? NULL : out;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

char *pm_urldec(const char *s)
{
    char *out = malloc(strlen(s) + 1), *o = out;
    int   high, low;

    if (!out)
        return NULL;
    while (*s) {
        if (*s != '%') {
            *o++ = *s++;
            continue;
        }
        high = hex_value(s[1]);
        low = high < 0 ? -1 : hex_value(s[2]);
        if (low < 0 || high + low == 0) {
            free(out);
            return NULL;
        }
        *o++ = (char)(high << 4 | low);
        s += 3;
    }
    *o = '\0';
    return out;
}

/* --- whole reads and writes */

ssize_t pm_pread_all(int fd, void *buf, size_t len, uint64_t off)
{
    size_t  got = 0;
    ssize_t n;

    while (got < len) {
        n = pread(fd, (char *)buf + got, len - got, (off_t)(off + got));
        if (n == 0)
            break;
        if (n < 0 && errno != EINTR)
            return -errno;
        got += n > 0 ? (size_t)n : 0;
    }
    return (ssize_t)got;
}

ssize_t pm_pwrite_all(int fd, const void *buf, size_t len, uint64_t off)
{
    size_t  put = 0;
    ssize_t n;

    while (put < len) {
        n = pwrite(fd, (const char *)buf + put, len - put, (off_t)(off + put));
        if (n == 0)
            return -EIO;
        if (n < 0 && errno != EINTR)
            return -errno;
        put += n > 0 ? (size_t)n : 0;
    }
    return (ssize_t)put;
}

/* --- logging */

static _Atomic(enum pm_level) log_level = PM_INFO;

void pm_log_level(enum pm_level level)
{
    log_level = level;
}

/* What a service or a file name holds must not look like another line, nor move the cursor. */
static void blunt(char *line)
{
    for (; *line; line++)
        if ((unsigned char)*line < 0x20 || *line == 0x7f)
            *line = '?';
}

void pm_log(enum pm_level level, const char *fmt, ...)
{
    static const char *const prefix[] = {"<3>", "<4>", "<6>", "<7>"};
    static const char *const word[] = {"error: ", "warning: ", "", "debug: "};
    char                     line[1024];
    va_list                  ap;
    int                      head, saved = errno;
    size_t                   len;

    if (level > log_level)
        return;
    head = snprintf(line, sizeof(line), "%spolymount: %s",
                    getenv("JOURNAL_STREAM") ? prefix[level] : "", word[level]);
    va_start(ap, fmt);
    vsnprintf(line + head, sizeof(line) - (size_t)head - 1, fmt, ap);
    va_end(ap);
    blunt(line);
    len = strlen(line);
    line[len] = '\n';
    if (write(STDERR_FILENO, line, len + 1) < 0)
        errno = saved; /* nowhere to say so */
    errno = saved;
}
