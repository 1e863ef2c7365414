#include "tests/emulator/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/emulator/buf.h"

#define HOLE_MIN 4096                   /* shorter runs of zeros are written */

struct ledger {
    const char     *name;               /* immutable */
    pthread_mutex_t lock;               /* recursive; guards all below; held for a transaction */
    sqlite3        *db;
    int             dir_fd;             /* immutable: DIR/NAME */
    int             depth;              /* of nested ledger_begin() */
};

int ledger_open(const char *dir, const char *name, const char *schema, struct ledger **out)
{
    static const char pragmas[] =
        "PRAGMA journal_mode = WAL;"
        "PRAGMA synchronous = OFF;"; /* a power cut need not be survived */
    struct ledger *l = emu_alloc(sizeof(*l));
    struct buf path = {0};
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&l->lock, &attr);
    pthread_mutexattr_destroy(&attr);
    l->name = name;
    buf_printf(&path, "%s/%s", dir, name);
    bool made = mkdir(path.data, 0700) == 0 || errno == EEXIST;
    l->dir_fd = made ? open(path.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    buf_puts(&path, ".sqlite");
    int r = l->dir_fd < 0 ? -errno : 0;
    if (r == 0 && (sqlite3_open(path.data, &l->db) != SQLITE_OK ||
                   sqlite3_exec(l->db, pragmas, NULL, NULL, NULL) != SQLITE_OK ||
                   sqlite3_exec(l->db, schema, NULL, NULL, NULL) != SQLITE_OK))
        r = -EIO;
    if (r < 0)
        fprintf(stderr, "polymount-emulator: %s: %s\n", path.data,
                l->db != NULL ? sqlite3_errmsg(l->db) : strerror(-r));
    buf_free(&path);
    if (r < 0)
        ledger_close(l);
    else
        *out = l;
    return r;
}

void ledger_close(struct ledger *l)
{
    if (l == NULL)
        return;
    sqlite3_close(l->db);
    if (l->dir_fd >= 0)
        close(l->dir_fd);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* ---- statements ---- */

static void complain(struct ledger *l)
{
    fprintf(stderr, "polymount-emulator: %s: %s\n", l->name, sqlite3_errmsg(l->db));
}

sqlite3_stmt *ledger_use(struct ledger *l, const char *sql, const char *types, ...)
{
    sqlite3_stmt *s = NULL;
    va_list args;
    pthread_mutex_lock(&l->lock);
    if (sqlite3_prepare_v2(l->db, sql, -1, &s, NULL) != SQLITE_OK)
        complain(l);
    va_start(args, types);
    for (int i = 0; types[i] != '\0'; i++) {
        if (types[i] == 's')
            sqlite3_bind_text(s, i + 1, va_arg(args, const char *), -1, SQLITE_TRANSIENT);
        else
            sqlite3_bind_int64(s, i + 1, va_arg(args, int64_t));
    }
    va_end(args);
    return s;
}

bool ledger_next(struct ledger *l, sqlite3_stmt *s)
{
    int r = sqlite3_step(s);
    if (r != SQLITE_ROW && r != SQLITE_DONE)
        complain(l);
    return r == SQLITE_ROW;
}

void ledger_done(struct ledger *l, sqlite3_stmt *s)
{
    sqlite3_finalize(s);
    pthread_mutex_unlock(&l->lock);
}

void ledger_finish(struct ledger *l, sqlite3_stmt *s)
{
    ledger_next(l, s);
    ledger_done(l, s);
}

int64_t ledger_finish_number(struct ledger *l, sqlite3_stmt *s)
{
    int64_t value = ledger_next(l, s) ? sqlite3_column_int64(s, 0) : 0;
    ledger_done(l, s);
    return value;
}

void ledger_text(sqlite3_stmt *s, int column, char *out, size_t size)
{
    const unsigned char *text = sqlite3_column_text(s, column);
    snprintf(out, size, "%s", text != NULL ? (const char *)text : "");
}

void ledger_begin(struct ledger *l)
{
    pthread_mutex_lock(&l->lock);
    if (l->depth++ == 0)
        ledger_finish(l, ledger_use(l, "BEGIN IMMEDIATE", ""));
}

void ledger_commit(struct ledger *l)
{
    if (--l->depth == 0)
        ledger_finish(l, ledger_use(l, "COMMIT", ""));
    pthread_mutex_unlock(&l->lock);
}

int64_t ledger_last_row(struct ledger *l)
{
    return sqlite3_last_insert_rowid(l->db);
}

bool ledger_changed(struct ledger *l)
{
    return sqlite3_changes(l->db) > 0;
}

/* ---- bytes ---- */

int ledger_bytes(struct ledger *l, const char *bytes)
{
    int fd = openat(l->dir_fd, bytes, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

int ledger_folder(const struct ledger *l)
{
    return l->dir_fd;
}

void ledger_drop_bytes(struct ledger *l, const char *bytes)
{
    unlinkat(l->dir_fd, bytes, 0);
}

static bool all_zero(const char *bytes, size_t len)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

int sparse_write(int fd, uint64_t *written, const char *bytes, size_t len, uint64_t at)
{
    bool zero = len >= HOLE_MIN && all_zero(bytes, len);
    int hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    if (zero && (at >= *written || fallocate(fd, hole, (off_t)at, (off_t)len) == 0))
        return 0;
    *written = at + len > *written ? at + len : *written;
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(fd, bytes + done, len - done, (off_t)(at + done));
        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}
