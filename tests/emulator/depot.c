#include "tests/emulator/depot.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/emulator/sign.h"

static const char schema[] =
    "PRAGMA journal_mode = WAL;"
    "PRAGMA synchronous = OFF;"         /* a kill is survived; a power cut need not be */
    "CREATE TABLE IF NOT EXISTS session (id TEXT PRIMARY KEY, created INTEGER, expires_at INTEGER,"
    " state INTEGER, project TEXT);"
    "CREATE TABLE IF NOT EXISTS part (num INTEGER PRIMARY KEY AUTOINCREMENT, session TEXT,"
    " name TEXT, total INTEGER, received INTEGER, told INTEGER, complete INTEGER, listed INTEGER,"
    " bytes TEXT);"
    "CREATE INDEX IF NOT EXISTS part_name ON part (session, lower(name));"
    "CREATE TABLE IF NOT EXISTS project (num INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE,"
    " session TEXT, title TEXT, privacy INTEGER, size INTEGER, created INTEGER,"
    " queued_until INTEGER, ready_at INTEGER, stuck_at INTEGER, errors TEXT, errors_form TEXT,"
    " request TEXT);"
    "CREATE TABLE IF NOT EXISTS rate (name TEXT, at INTEGER);"
    "CREATE INDEX IF NOT EXISTS rate_at ON rate (name, at);";

#define SESSION "id, created, expires_at, state, project"
#define PART "num, session, name, total, received, told, complete, listed, bytes"
#define PROJECT "num, name, session, title, privacy, size, created, queued_until, ready_at, "      \
                "stuck_at, errors, errors_form, request"

struct depot {
    pthread_mutex_t lock;               /* recursive; guards all below; held for a transaction */
    sqlite3        *db;
    int             dir_fd;             /* immutable: DIR/360 */
    int             depth;              /* of nested depot_begin() */
};

int depot_open(const char *dir, struct depot **out)
{
    struct depot *d = emu_alloc(sizeof(*d));
    struct buf path = {0};
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&d->lock, &attr);
    pthread_mutexattr_destroy(&attr);
    buf_printf(&path, "%s/360", dir);
    bool made = mkdir(path.data, 0700) == 0 || errno == EEXIST;
    d->dir_fd = made ? open(path.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    buf_puts(&path, ".sqlite");
    int r = d->dir_fd < 0 ? -errno : 0;
    if (r == 0 && (sqlite3_open(path.data, &d->db) != SQLITE_OK ||
                   sqlite3_exec(d->db, schema, NULL, NULL, NULL) != SQLITE_OK))
        r = -EIO;
    if (r < 0)
        fprintf(stderr, "polymount-emulator: %s: %s\n", path.data,
                d->db != NULL ? sqlite3_errmsg(d->db) : strerror(-r));
    buf_free(&path);
    if (r < 0)
        depot_close(d);
    else
        *out = d;
    return r;
}

void depot_close(struct depot *d)
{
    if (d == NULL)
        return;
    sqlite3_close(d->db);
    if (d->dir_fd >= 0)
        close(d->dir_fd);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

/* ---- statements ---- */

/* Takes the lock; every use ends with done(). `types` has a letter for each value: 's' is a text,
 * 'i' an int64_t. */
static sqlite3_stmt *use(struct depot *d, const char *sql, const char *types, ...)
{
    sqlite3_stmt *s = NULL;
    va_list args;
    pthread_mutex_lock(&d->lock);
    if (sqlite3_prepare_v2(d->db, sql, -1, &s, NULL) != SQLITE_OK)
        fprintf(stderr, "polymount-emulator: 360: %s\n", sqlite3_errmsg(d->db));
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

static bool next(struct depot *d, sqlite3_stmt *s)
{
    int r = sqlite3_step(s);
    if (r != SQLITE_ROW && r != SQLITE_DONE)
        fprintf(stderr, "polymount-emulator: 360: %s\n", sqlite3_errmsg(d->db));
    return r == SQLITE_ROW;
}

static void done(struct depot *d, sqlite3_stmt *s)
{
    sqlite3_finalize(s);
    pthread_mutex_unlock(&d->lock);
}

static void finish(struct depot *d, sqlite3_stmt *s)
{
    next(d, s);
    done(d, s);
}

static int64_t finish_number(struct depot *d, sqlite3_stmt *s)
{
    int64_t value = next(d, s) ? sqlite3_column_int64(s, 0) : 0;
    done(d, s);
    return value;
}

static void text_at(sqlite3_stmt *s, int column, char *out, size_t size)
{
    const unsigned char *text = sqlite3_column_text(s, column);
    snprintf(out, size, "%s", text != NULL ? (const char *)text : "");
}

void depot_begin(struct depot *d)
{
    pthread_mutex_lock(&d->lock);
    if (d->depth++ == 0)
        finish(d, use(d, "BEGIN IMMEDIATE", ""));
}

void depot_commit(struct depot *d)
{
    if (--d->depth == 0)
        finish(d, use(d, "COMMIT", ""));
    pthread_mutex_unlock(&d->lock);
}

/* ---- sessions ---- */

static void read_session(sqlite3_stmt *s, struct session *out)
{
    text_at(s, 0, out->id, sizeof(out->id));
    out->created = sqlite3_column_int64(s, 1);
    out->expires_at = sqlite3_column_int64(s, 2);
    out->state = (enum session_state)sqlite3_column_int(s, 3);
    text_at(s, 4, out->project, sizeof(out->project));
}

bool depot_session(struct depot *d, const char *id, struct session *out)
{
    sqlite3_stmt *s = use(d, "SELECT " SESSION " FROM session WHERE id = ?1", "s", id);
    bool found = next(d, s);
    if (found)
        read_session(s, out);
    done(d, s);
    return found;
}

void depot_put_session(struct depot *d, const struct session *x)
{
    finish(d, use(d,
                  "INSERT INTO session (" SESSION ") VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) "
                  "DO UPDATE SET expires_at = ?3, state = ?4, project = ?5",
                  "siiis", x->id, x->created, x->expires_at, (int64_t)x->state, x->project));
}

void depot_sessions(struct depot *d, session_fn *each, void *arg)
{
    struct session x;
    sqlite3_stmt *s = use(d, "SELECT " SESSION " FROM session ORDER BY rowid", "");
    while (next(d, s)) {
        read_session(s, &x);
        each(&x, arg);
    }
    done(d, s);
}

/* ---- files ---- */

static void read_part(sqlite3_stmt *s, struct part *out)
{
    out->num = sqlite3_column_int64(s, 0);
    text_at(s, 1, out->session, sizeof(out->session));
    text_at(s, 2, out->name, sizeof(out->name));
    out->total = (uint64_t)sqlite3_column_int64(s, 3);
    out->received = (uint64_t)sqlite3_column_int64(s, 4);
    out->told = (uint64_t)sqlite3_column_int64(s, 5);
    out->complete = sqlite3_column_int(s, 6) != 0;
    out->listed = sqlite3_column_int(s, 7) != 0;
    text_at(s, 8, out->bytes, sizeof(out->bytes));
}

bool depot_part(struct depot *d, const char *session, const char *name, bool fold,
                struct part *out)
{
    sqlite3_stmt *s = use(d,
                          "SELECT " PART " FROM part WHERE session = ?1 AND lower(name) = lower(?2)"
                          " AND (?3 OR name = ?2)",
                          "ssi", session, name, (int64_t)fold);
    bool found = next(d, s);
    if (found)
        read_part(s, out);
    done(d, s);
    return found;
}

void depot_put_part(struct depot *d, struct part *p)
{
    depot_begin(d);
    if (p->num == 0) {
        sign_random_hex(p->bytes);
        finish(d, use(d, "INSERT INTO part (session, name, bytes) VALUES (?1, ?2, ?3)", "sss",
                      p->session, p->name, p->bytes));
        p->num = sqlite3_last_insert_rowid(d->db);
    }
    finish(d, use(d,
                  "UPDATE part SET total = ?2, received = ?3, told = ?4, complete = ?5, "
                  "listed = ?6 WHERE num = ?1",
                  "iiiiii", p->num, (int64_t)p->total, (int64_t)p->received, (int64_t)p->told,
                  (int64_t)p->complete, (int64_t)p->listed));
    depot_commit(d);
}

void depot_parts(struct depot *d, const char *session, part_fn *each, void *arg)
{
    struct part p;
    sqlite3_stmt *s =
        use(d, "SELECT " PART " FROM part WHERE session = ?1 ORDER BY num", "s", session);
    while (next(d, s)) {
        read_part(s, &p);
        each(&p, arg);
    }
    done(d, s);
}

void depot_told_all(struct depot *d, const char *session)
{
    finish(d, use(d, "UPDATE part SET told = received WHERE session = ?1", "s", session));
}

static void drop_bytes(const struct part *p, void *arg)
{
    unlinkat(((struct depot *)arg)->dir_fd, p->bytes, 0);
}

void depot_drop_parts(struct depot *d, const char *session)
{
    depot_begin(d);
    depot_parts(d, session, drop_bytes, d);
    finish(d, use(d, "DELETE FROM part WHERE session = ?1", "s", session));
    depot_commit(d);
}

int depot_bytes(struct depot *d, const char *bytes)
{
    int fd = openat(d->dir_fd, bytes, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

/* ---- projects ---- */

static void read_project(sqlite3_stmt *s, struct project *out)
{
    out->num = sqlite3_column_int64(s, 0);
    text_at(s, 1, out->name, sizeof(out->name));
    text_at(s, 2, out->session, sizeof(out->session));
    text_at(s, 3, out->title, sizeof(out->title));
    out->privacy = sqlite3_column_int(s, 4);
    out->size = (uint64_t)sqlite3_column_int64(s, 5);
    out->created = sqlite3_column_int64(s, 6);
    out->queued_until = sqlite3_column_int64(s, 7);
    out->ready_at = sqlite3_column_int64(s, 8);
    out->stuck_at = sqlite3_column_int(s, 9);
    text_at(s, 10, out->errors, sizeof(out->errors));
    text_at(s, 11, out->errors_form, sizeof(out->errors_form));
    text_at(s, 12, out->request, sizeof(out->request));
}

bool depot_project(struct depot *d, const char *name, struct project *out)
{
    sqlite3_stmt *s = use(d, "SELECT " PROJECT " FROM project WHERE name = ?1", "s", name);
    bool found = next(d, s);
    if (found)
        read_project(s, out);
    done(d, s);
    return found;
}

void depot_put_project(struct depot *d, struct project *p)
{
    depot_begin(d);
    finish(d, use(d, "INSERT OR IGNORE INTO project (name) VALUES (?1)", "s", p->name));
    finish(d, use(d,
                  "UPDATE project SET session = ?2, title = ?3, privacy = ?4, size = ?5, "
                  "created = ?6, queued_until = ?7, ready_at = ?8, stuck_at = ?9, errors = ?10, "
                  "errors_form = ?11, request = ?12 WHERE name = ?1",
                  "sssiiiiiisss", p->name, p->session, p->title, (int64_t)p->privacy,
                  (int64_t)p->size, p->created, p->queued_until, p->ready_at, (int64_t)p->stuck_at,
                  p->errors, p->errors_form, p->request));
    p->num = finish_number(d, use(d, "SELECT num FROM project WHERE name = ?1", "s", p->name));
    depot_commit(d);
}

bool depot_remove_project(struct depot *d, const char *name)
{
    depot_begin(d);
    finish(d, use(d, "DELETE FROM project WHERE name = ?1", "s", name));
    bool removed = sqlite3_changes(d->db) > 0;
    depot_commit(d);
    return removed;
}

void depot_projects(struct depot *d, project_fn *each, void *arg)
{
    struct project p;
    sqlite3_stmt *s = use(d, "SELECT " PROJECT " FROM project ORDER BY num", "");
    while (next(d, s)) {
        read_project(s, &p);
        each(&p, arg);
    }
    done(d, s);
}

uint64_t depot_projects_size(struct depot *d)
{
    return (uint64_t)finish_number(d, use(d, "SELECT sum(size) FROM project", ""));
}

int64_t depot_projects_count(struct depot *d)
{
    return finish_number(d, use(d, "SELECT count(*) FROM project", ""));
}

/* ---- rates ---- */

/* The time after which requests count now. */
static int64_t window_start(const struct rate *rate, int64_t now)
{
    return rate->fixed ? now - now % rate->window_ms - 1 : now - rate->window_ms;
}

int64_t depot_rate_used(struct depot *d, const struct rate *rate, int64_t now)
{
    return finish_number(d, use(d, "SELECT count(*) FROM rate WHERE name = ?1 AND at > ?2", "si",
                                rate->name, window_start(rate, now)));
}

int64_t depot_rate(struct depot *d, const struct rate *rate, int64_t now)
{
    int64_t start = window_start(rate, now);
    int64_t wait = 0;
    depot_begin(d);
    finish(d, use(d, "DELETE FROM rate WHERE name = ?1 AND at <= ?2", "si", rate->name, start));
    int64_t used = depot_rate_used(d, rate, now);
    bool refused = used >= rate->limit;
    if (!refused || rate->counts_refused) {
        finish(d, use(d, "INSERT INTO rate VALUES (?1, ?2)", "si", rate->name, now));
        used++;
    }
    if (refused && rate->fixed)
        wait = rate->window_ms - now % rate->window_ms;
    else if (refused)                   /* until the first of the last `limit` is over */
        wait = rate->window_ms - now +
               finish_number(d, use(d,
                                    "SELECT at FROM rate WHERE name = ?1 ORDER BY at LIMIT 1 "
                                    "OFFSET ?2",
                                    "si", rate->name, used - rate->limit));
    depot_commit(d);
    return wait;
}

void depot_rate_forget(struct depot *d)
{
    finish(d, use(d, "DELETE FROM rate", ""));
}
