#include "cache/db.h"

#include "cache/db_damage.h"
#include "cache/db_redo.h"
#include "cache/db_schema.h"
#include "cache/db_usage.h"
#include "cache/reserve.h"

#include "backends/util.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define STATEMENTS     256 /* a power of two, well above how many literals there are */
#define LOG_MAX        ((off_t)16 * 1024 * 1024) /* a log above this is begun anew when it can be */

struct cached {
    const char   *sql;
    sqlite3_stmt *st;
};

struct pm_db {
    pthread_mutex_t lock; /* leaf: never held across the network or a call out of cache/ */
    sqlite3        *sql; /* lock */
    sqlite3        *checkpointer; /* its one thread's; NULL when read only */
    bool            open; /* lock; inside a transaction */
    int             err; /* lock; the first failure in this transaction */
    int             changes; /* lock; the connection's count at the last commit */
    char           *wal[2]; /* immutable: the two logs' paths */
    pthread_mutex_t sync_lock; /* held while the logs are made durable */
    atomic_bool     unsynced; /* something was committed since */
    int             reserve; /* immutable; a file to be cut when the disk is full; -1: none */
    struct pm_redo  redo; /* lock */
    int             behind; /* lock; 0, or why the journal lacks what the index has committed */
    bool            damaged; /* lock; one of the files is, or is none of ours */
    struct pm_usage usage; /* what the contents take */
    bool            recount; /* lock; a replay has changed what they take */
    struct cached   cache[STATEMENTS]; /* lock */
};

/* Of those that the system gave SQLite, and SQLite has no word for. */
static int system_errno(sqlite3 *sql)
{
    int err = sql ? sqlite3_system_errno(sql) : 0;

    switch (err) {
    case ENOSPC: case EDQUOT: case EMFILE: case ENFILE: case EROFS: case EACCES: case ENOMEM: return -err;
    default: return -EIO;
    }
}

int pm_db_errno(sqlite3 *sql, int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK: case SQLITE_ROW: case SQLITE_DONE: return 0;
    case SQLITE_FULL: return -ENOSPC;
    case SQLITE_NOMEM: return -ENOMEM;
    case SQLITE_CONSTRAINT: return -EEXIST;
    case SQLITE_READONLY: case SQLITE_PERM: return -EACCES;
    default: return system_errno(sql);
    }
}

/* Notes a failure: the transaction will be rolled back. */
static int failed(struct pm_db *db, int rc, const char *what)
{
    int err = pm_db_errno(db->sql, rc);
    int kind = rc & 0xff;

    if (kind == SQLITE_CORRUPT || kind == SQLITE_NOTADB || kind == SQLITE_ERROR)
        db->damaged = true;
    if (!db->err) {
        db->err = err;
        pm_log(PM_ERROR, "state database: %s: %s", what, sqlite3_errmsg(db->sql));
    }
    return err;
}

static sqlite3_stmt *prepared(struct pm_db *db, const char *sql)
{
    size_t at = ((uintptr_t)sql >> 3) * 31;
    int    rc;

    assert(db->open);
    for (size_t i = 0; i < STATEMENTS; i++) {
        struct cached *c = &db->cache[(at + i) & (STATEMENTS - 1)];

        if (c->sql == sql)
            return c->st;
        if (c->sql)
            continue;
        rc = sqlite3_prepare_v3(db->sql, sql, -1, SQLITE_PREPARE_PERSISTENT, &c->st, NULL);
        if (rc != SQLITE_OK) {
            failed(db, rc, sql);
            return NULL;
        }
        c->sql = sql;
        return c->st;
    }
    failed(db, SQLITE_NOMEM, "statement cache");
    return NULL;
}

/* A SQLite result code. What is not bound is NULL: such a statement must not run. */
static int bind_all(sqlite3_stmt *st, const char *types, va_list ap)
{
    int rc = SQLITE_OK;

    for (int i = 1; *types && rc == SQLITE_OK; i++, types++) {
        if (*types == 'i') {
            rc = sqlite3_bind_int64(st, i, va_arg(ap, int64_t));
        } else if (*types == 'z') {
            int64_t value = va_arg(ap, int64_t);

            rc = value == -1 ? sqlite3_bind_null(st, i) : sqlite3_bind_int64(st, i, value);
        } else if (*types == 's') {
            rc = sqlite3_bind_text(st, i, va_arg(ap, const char *), -1, SQLITE_TRANSIENT);
        } else {
            const void *p = va_arg(ap, const void *);
            size_t      len = va_arg(ap, size_t);

            rc = sqlite3_bind_blob64(st, i, p ? p : "", len, SQLITE_TRANSIENT);
        }
    }
    return rc;
}

static sqlite3_stmt *query(struct pm_db *db, const char *sql, const char *types, va_list ap)
{
    sqlite3_stmt *st = db->err ? NULL : prepared(db, sql); /* SQLite may have rolled back already */
    int           rc;

    if (!st)
        return NULL;
    assert(!sqlite3_stmt_busy(st)); /* one statement, used twice at once */
    rc = bind_all(st, types, ap);
    if (rc == SQLITE_OK)
        return st;
    failed(db, rc, sql);
    sqlite3_clear_bindings(st);
    return NULL;
}

struct sqlite3_stmt *pm_db_query(struct pm_db *db, const char *sql, const char *types, ...)
{
    va_list       ap;
    sqlite3_stmt *st;

    va_start(ap, types);
    st = query(db, sql, types, ap);
    va_end(ap);
    return st;
}

bool pm_db_row(struct pm_db *db, struct sqlite3_stmt *st)
{
    int rc = st ? sqlite3_step(st) : SQLITE_DONE;

    if (rc == SQLITE_ROW)
        return true;
    if (rc != SQLITE_DONE)
        failed(db, rc, sqlite3_sql(st));
    pm_db_reset(st);
    return false;
}

void pm_db_reset(struct sqlite3_stmt *st)
{
    if (!st)
        return;
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
}

int pm_db_run(struct pm_db *db, const char *sql, const char *types, ...)
{
    va_list       ap;
    sqlite3_stmt *st;

    va_start(ap, types);
    st = query(db, sql, types, ap);
    va_end(ap);
    pm_redo_note(&db->redo, st);
    while (pm_db_row(db, st))
        ;
    return db->err;
}

int pm_db_script(struct pm_db *db, const char *text)
{
    int rc = db->err ? SQLITE_OK : sqlite3_exec(db->sql, text, NULL, NULL, NULL);

    if (db->err)
        return db->err;
    return rc == SQLITE_OK ? 0 : failed(db, rc, text);
}

int64_t pm_db_int(struct pm_db *db, int64_t none, const char *sql, const char *types, ...)
{
    va_list       ap;
    sqlite3_stmt *st;
    int64_t       value = none;

    va_start(ap, types);
    st = query(db, sql, types, ap);
    va_end(ap);
    if (!pm_db_row(db, st))
        return none;
    if (!pm_col_null(st, 0))
        value = pm_col_int(st, 0);
    pm_db_reset(st);
    return value;
}

int64_t pm_col_int(struct sqlite3_stmt *st, int col)
{
    return sqlite3_column_int64(st, col);
}

bool pm_col_null(struct sqlite3_stmt *st, int col)
{
    return sqlite3_column_type(st, col) == SQLITE_NULL;
}

const char *pm_col_text(struct sqlite3_stmt *st, int col)
{
    const char *s = (const char *)sqlite3_column_text(st, col);

    return s ? s : "";
}

const void *pm_col_blob(struct sqlite3_stmt *st, int col, size_t *len)
{
    const void *p = sqlite3_column_blob(st, col);

    *len = (size_t)sqlite3_column_bytes(st, col);
    return p;
}

char *pm_col_dup(struct pm_db *db, struct sqlite3_stmt *st, int col)
{
    char *copy = strdup(pm_col_text(st, col));

    if (!copy)
        failed(db, SQLITE_NOMEM, sqlite3_sql(st));
    return copy;
}

void pm_col_copy(struct sqlite3_stmt *st, int col, char *out, size_t size)
{
    snprintf(out, size, "%s", pm_col_text(st, col));
}

int64_t pm_db_last_id(struct pm_db *db)
{
    return sqlite3_last_insert_rowid(db->sql);
}

static void rollback(struct pm_db *db)
{
    if (!sqlite3_get_autocommit(db->sql)) {
        db->err = 0;
        pm_db_run(db, "ROLLBACK", "");
    }
}

/* The journal gets what the index has: then a transaction of which that failed is whole after all. */
static int catch_up(struct pm_db *db)
{
    int err = pm_db_run(db, "BEGIN", "");

    if (!err)
        err = pm_redo_replay(&db->redo, db);
    if (!err)
        err = pm_db_run(db, "COMMIT", "");
    if (err)
        rollback(db);
    pm_redo_end(&db->redo, !err);
    db->recount = !err;
    db->behind = err;
    db->err = 0;
    return err;
}

static int commit(struct pm_db *db)
{
    int err = db->err ? db->err : pm_db_run(db, "COMMIT", "");

    if (!err)
        return 0;
    rollback(db);
    if (err == -ENOSPC)
        pm_reserve_give(db->reserve); /* for the next */
    db->err = 0;
    if (!pm_redo_half(&db->redo, db) && !db->err)
        return err;
    db->err = 0;
    return catch_up(db) ? err : 0;
}

void pm_db_begin(struct pm_db *db)
{
    pthread_mutex_lock(&db->lock);
    assert(!db->open);
    db->open = true;
    db->err = 0;
    if (db->behind)
        catch_up(db);
    pm_db_run(db, "BEGIN", "");
}

static void count_usage(struct pm_db *db, bool committed)
{
    if (db->recount && pm_usage_recount(db->sql, &db->usage))
        pm_log(PM_WARN, "what the contents take is not known any more, until the next start");
    else if (!db->recount)
        pm_usage_end(&db->usage, committed);
    db->recount = false;
}

static bool wrote(struct pm_db *db)
{
    return sqlite3_txn_state(db->sql, "main") == SQLITE_TXN_WRITE ||
           sqlite3_txn_state(db->sql, "j") == SQLITE_TXN_WRITE;
}

int pm_db_end(struct pm_db *db, int err)
{
    int done;

    if (db->err) /* a lack that somebody found may only be a row that could not be read */
        err = db->err;
    if (err >= 0 && db->behind && wrote(db)) /* first things first */
        err = db->behind;
    if (err >= 0 && pm_redo_store(&db->redo, db))
        err = failed(db, SQLITE_NOMEM, "what the journal is to be told");
    done = err >= 0 ? commit(db) : err;
    if (done < 0)
        err = done;
    rollback(db);
    pm_redo_end(&db->redo, done >= 0);
    count_usage(db, done >= 0);
    if (sqlite3_total_changes(db->sql) != db->changes) {
        db->changes = sqlite3_total_changes(db->sql);
        db->unsynced = true;
    }
    db->open = false;
    pthread_mutex_unlock(&db->lock);
    return err;
}

static int sync_log(const char *path)
{
    PM_AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    return fdatasync(fd) ? -errno : 0;
}

/* The index before the journal: what that lacks of it can be done again (redo.h). So the index must
 * not stay behind what came to the journal while it was synced. */
static int sync_logs(struct pm_db *db)
{
    int64_t last;
    int     err = sync_log(db->wal[0]);

    last = db->redo.last;
    if (!err)
        err = sync_log(db->wal[1]);
    if (!err && db->redo.last != last)
        err = sync_log(db->wal[0]);
    if (!err)
        db->redo.synced = last;
    return err;
}

int pm_db_sync(struct pm_db *db)
{
    int err;

    PM_GUARD(&db->sync_lock); /* who finds nothing to do must not return before who does it */
    if (!atomic_exchange(&db->unsynced, false))
        return 0;
    err = sync_logs(db);
    if (err)
        db->unsynced = true;
    return err;
}

static void move_logs(struct pm_db *db)
{
    sqlite3_wal_checkpoint_v2(db->checkpointer, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

static bool is_long(const char *log)
{
    struct stat st;

    return !stat(log, &st) && st.st_size > LOG_MAX;
}

void pm_db_checkpoint(struct pm_db *db)
{
    pm_reserve_fill(db->reserve);
    if (!db->checkpointer)
        return;
    move_logs(db);
    if (!is_long(db->wal[0]) && !is_long(db->wal[1]))
        return;
    move_logs(db); /* what came meanwhile is little by now, and the rest is less */
    PM_GUARD(&db->lock); /* with all in the files the next writer begins a log anew */
    move_logs(db);
}

/* --- opening */

static int exec(sqlite3 *sql, const char *text)
{
    return pm_db_errno(sql, sqlite3_exec(sql, text, NULL, NULL, NULL));
}

static int attach(sqlite3 *sql, const char *dir)
{
    char text[4200];

    sqlite3_snprintf(sizeof(text), text, "ATTACH '%q/journal.db' AS j", dir);
    return exec(sql, text);
}

/* Opens both files on a new connection. */
static int connect(const char *dir, int flags, sqlite3 **out)
{
    PM_AUTO(free) char *path = pm_asprintf("%s/index.db", dir);
    sqlite3            *sql = NULL;
    int                 err;

    if (!path)
        return -ENOMEM;
    err = sqlite3_open_v2(path, &sql, flags | SQLITE_OPEN_NOMUTEX, NULL);
    err = pm_db_errno(sql, err);
    if (!err)
        err = attach(sql, dir);
    if (!err)
        err = exec(sql, "PRAGMA busy_timeout=10000; PRAGMA j.page_size=1024; PRAGMA cache_size=-3000; PRAGMA j.cache_size=-3000;"
                        "PRAGMA temp_store=FILE; PRAGMA temp.cache_size=-1000;");
    if (err) {
        sqlite3_close(sql);
        return err;
    }
    *out = sql;
    return 0;
}

/* NULL: no memory. */
static struct pm_db *alloc(const char *dir)
{
    struct pm_db *db = calloc(1, sizeof(*db));

    if (!db)
        return NULL;
    pthread_mutex_init(&db->lock, NULL);
    pthread_mutex_init(&db->sync_lock, NULL);
    db->reserve = -1;
    db->wal[0] = pm_asprintf("%s/index.db-wal", dir);
    db->wal[1] = pm_asprintf("%s/journal.db-wal", dir);
    if (db->wal[0] && db->wal[1])
        return db;
    pm_db_close(db);
    return NULL;
}

/* What a new index must know of the journal's: its folders, nodes and contents, also those that nobody
 * else has; where a content's base ends (PM_FILE_BEYOND, file.h); and which ids are not to be given
 * again. The rest comes with the services' lists. */
static int rebuild(struct pm_db *db, int64_t last_content)
{
    pm_db_begin(db);
    pm_db_run(db,
              "INSERT INTO node(id, account, kind, parent, name, rname, rid, root, size)"
              " SELECT id, account, 0, parent, name, rname, rid, root, 0 FROM j.folder",
              "");
    pm_db_run(db,
              "INSERT OR IGNORE INTO node(id, account, kind, parent, name, rid, version, size,"
              " mtime, ctime) SELECT node, account, kind, CASE WHEN rid IS NULL THEN NULL ELSE"
              " ifnull(oparent, parent) END, ifnull(oname, name), rid, base, size, created,"
              " created * 1000000 FROM j.entry ORDER BY id",
              "");
    pm_db_run(db,
              "INSERT INTO content(id, node, version, size, used, origin) SELECT content, node, base,"
              " CASE WHEN source THEN size ELSE ifnull((SELECT off FROM j.dirty d WHERE"
              " d.content=e.content AND d.end=9223372036854775806), CASE WHEN EXISTS (SELECT 1 FROM"
              " j.dirty d WHERE d.content=e.content) THEN size ELSE 0 END) END, created,"
              " CASE WHEN source THEN -1 END FROM j.entry e WHERE op=1",
              "");
    /* What was renamed and never written to is what the object has that goes when it was sent. */
    pm_db_run(db,
              "UPDATE content SET size=e.size, version=ifnull(r.base, ''), origin=ifnull(r.node, -1)"
              " FROM j.entry e LEFT JOIN j.entry r ON r.op=3 AND r.rid IS NOT NULL AND EXISTS (SELECT"
              " 1 FROM j.dep d WHERE d.entry=r.id AND d.needs=e.id) WHERE e.content=content.id AND"
              " e.op=1 AND e.gen=0 AND e.size>0 AND e.source IS NULL AND NOT EXISTS (SELECT 1 FROM j.kept k"
              " WHERE k.content=e.content)",
              "");
    pm_db_run(db,
              "INSERT OR IGNORE INTO node(id, account, kind, parent, name, rid, version, size, rsize,"
              " own, lmtime) SELECT node, account, kind, CASE WHEN parent IN (SELECT id FROM node)"
              " THEN parent END, name, rid, version, size, size, 1, mtime FROM j.kept",
              "");
    pm_db_run(db,
              "INSERT OR IGNORE INTO content(id, node, version, size, used, bytes) SELECT content,"
              " node, version, 0, 0, size FROM j.kept",
              "");
    pm_db_run(db, "UPDATE j.entry SET source=NULL WHERE source NOT IN (SELECT id FROM node)", "");
    pm_db_run(db, "DELETE FROM main.sqlite_sequence", "");
    pm_db_run(db,
              "INSERT INTO main.sqlite_sequence(name, seq) SELECT 'node', max(id) FROM"
              " (SELECT max(id) AS id FROM node UNION SELECT ifnull(max(node), 1) FROM j.place)",
              "");
    pm_db_run(db,
              "INSERT INTO main.sqlite_sequence(name, seq) SELECT 'content',"
              " max(?1, ifnull(max(id), 0)) FROM content",
              "i", last_content);
    pm_redo_agreed(&db->redo, db);
    return pm_db_end(db, 0);
}

static int open_once(struct pm_db *db, const char *dir, char *why, size_t why_len)
{
    int err = connect(dir, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db->sql);

    if (!err)
        err = pm_schema_prepare(db->sql, why, why_len);
    if (!err)
        err = connect(dir, SQLITE_OPEN_READWRITE, &db->checkpointer);
    return err;
}

static void close_files(struct pm_db *db)
{
    for (size_t i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(db->cache[i].st);
    memset(db->cache, 0, sizeof(db->cache));
    sqlite3_close(db->checkpointer);
    sqlite3_close(db->sql);
    db->checkpointer = db->sql = NULL;
}

static int compare(struct pm_db *db, enum pm_moment *out)
{
    pm_db_begin(db);
    *out = pm_redo_compare(&db->redo, db);
    return pm_db_end(db, 0);
}

static int replay(struct pm_db *db)
{
    pm_db_begin(db);
    return pm_db_end(db, pm_redo_replay(&db->redo, db));
}

/* Both files as of one moment. *anew: the index is to be made anew. */
static int agree(struct pm_db *db, const char *dir, bool *anew, char *why, size_t why_len)
{
    enum pm_moment m = PM_MOMENT_SAME;
    int            err = *anew ? 0 : compare(db, &m);

    if (!err && m == PM_MOMENT_BEHIND)
        err = replay(db);
    if (err && err != -EEXIST && !db->damaged) /* the disk fails, or is full: another time it can be seen */
        return err;
    if (!err && m != PM_MOMENT_APART)
        return 0;
    pm_log(PM_WARN, "index and journal are not of one moment: the index is made anew");
    close_files(db);
    err = pm_damage_drop_index(dir);
    *anew = true;
    return err ? err : open_once(db, dir, why, why_len);
}

int pm_db_open(const char *dir, struct pm_db **out, char *why, size_t why_len)
{
    struct pm_db *db = alloc(dir);
    int64_t       last;
    bool          room;
    bool          anew;
    int           err;

    if (!db)
        return -ENOMEM;
    room = pm_reserve_give_for_opening(dir);
    snprintf(why, why_len, "%s: cannot open the state databases%s", dir,
             room ? "" : ": there is no room on the disk");
    err = pm_damage_set_aside(dir, &anew);
    if (!err)
        err = open_once(db, dir, why, why_len);
    if (!err)
        err = agree(db, dir, &anew, why, why_len);
    if (!err && anew)
        err = pm_damage_last_file(dir, &last);
    if (!err && anew)
        err = rebuild(db, last);
    if (!err)
        err = pm_usage_open(db->sql, &db->usage);
    if (err) {
        pm_db_close(db);
        return err;
    }
    *out = db;
    return 0;
}

void pm_db_reserve(struct pm_db *db, const char *dir)
{
    db->reserve = pm_reserve_open(dir);
    pm_reserve_fill(db->reserve);
}

void pm_db_usage(struct pm_db *db, struct pm_usage_sums *out)
{
    pm_usage_get(&db->usage, out);
}

int pm_db_open_readonly(const char *dir, struct pm_db **out, char *why, size_t why_len)
{
    PM_AUTO(free) char *journal = pm_asprintf("%s/journal.db", dir);
    struct pm_db       *db = alloc(dir);
    int                 err;

    if (!db || !journal) {
        pm_db_close(db);
        return -ENOMEM;
    }
    snprintf(why, why_len, "%s: no readable state databases", dir);
    err = access(journal, F_OK) ? -ENOENT : 0;
    if (!err)
        err = connect(dir, SQLITE_OPEN_READWRITE, &db->sql);
    if (!err && !pm_schema_is_ours(db->sql))
        err = -EPROTO;
    if (!err)
        err = pm_schema_look(db->sql);
    if (!err)
        err = exec(db->sql, "PRAGMA query_only=1");
    if (err) {
        pm_db_close(db);
        return err;
    }
    *out = db;
    return 0;
}

void pm_db_close(struct pm_db *db)
{
    if (!db)
        return;
    close_files(db);
    if (db->reserve >= 0)
        close(db->reserve);
    free(db->wal[0]);
    free(db->wal[1]);
    pthread_mutex_destroy(&db->lock);
    pthread_mutex_destroy(&db->sync_lock);
    free(db);
}
