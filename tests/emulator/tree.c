#include "tests/emulator/tree.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/emulator/sign.h"

#define COLUMNS                                                                                   \
    "num, parent, id, dir, name, size, content, created, updated, revised, queued_until, "       \
    "busy_until, settled_updated, busy, final, copy_of"

enum statement {
    GET_TEXT,
    SET_TEXT,
    CHILD,
    BY_ID,
    BY_NUM,
    ADD,
    UPDATE,
    CHILDREN,
    USED,
    BELOW_CONTENTS,
    REMOVE,
    PENDING,
    BEGIN,
    COMMIT,
    STATEMENTS
};

#define BELOW "WITH RECURSIVE below(n) AS (VALUES(?1) UNION ALL SELECT num FROM node, below "      \
              "WHERE parent = n) "

static const char *const texts[STATEMENTS] = {
    [GET_TEXT] = "SELECT value FROM text WHERE key = ?1",
    [SET_TEXT] = "INSERT OR REPLACE INTO text VALUES (?1, ?2)",
    [CHILD] = "SELECT " COLUMNS " FROM node WHERE parent = ?1 AND name = ?2 ORDER BY num LIMIT 1",
    [BY_ID] = "SELECT " COLUMNS " FROM node WHERE id = ?1",
    [BY_NUM] = "SELECT " COLUMNS " FROM node WHERE num = ?1",
    [ADD] = "INSERT INTO node (" COLUMNS ") VALUES (NULL, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, "
            "?11, ?12, ?13, ?14, ?15, ?16)",
    [UPDATE] = "UPDATE node SET parent = ?2, id = ?3, dir = ?4, name = ?5, size = ?6, "
               "content = ?7, created = ?8, updated = ?9, revised = ?10, queued_until = ?11, "
               "busy_until = ?12, settled_updated = ?13, busy = ?14, final = ?15, copy_of = ?16 "
               "WHERE num = ?1",
    [CHILDREN] = "SELECT " COLUMNS " FROM node INDEXED BY node_parent WHERE parent = ?1 "
                 "AND num > ?2 ORDER BY num LIMIT ?3",
    [USED] = "SELECT 1 FROM node WHERE content = ?1 LIMIT 1",
    [BELOW_CONTENTS] = BELOW "SELECT DISTINCT content FROM node, below WHERE num = n "
                             "AND content != ''",
    [REMOVE] = BELOW "DELETE FROM node WHERE num IN below",
    [PENDING] = BELOW "SELECT " COLUMNS " FROM node WHERE busy_until > ?2 AND copy_of IN below "
                      "LIMIT 1",
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
};

static const char schema[] =
    "PRAGMA journal_mode = WAL;"
    "PRAGMA synchronous = OFF;"         /* a kill is survived; a power cut need not be */
    "CREATE TABLE IF NOT EXISTS text (key TEXT PRIMARY KEY, value TEXT);"
    "CREATE TABLE IF NOT EXISTS node (num INTEGER PRIMARY KEY AUTOINCREMENT, parent INTEGER,"
    " id TEXT, dir INTEGER, name BLOB, size INTEGER, content TEXT, created INTEGER,"
    " updated INTEGER, revised INTEGER, queued_until INTEGER, busy_until INTEGER,"
    " settled_updated INTEGER, busy TEXT, final TEXT, copy_of INTEGER);"
    "CREATE INDEX IF NOT EXISTS node_parent ON node (parent);"
    "CREATE INDEX IF NOT EXISTS node_name ON node (parent, name);"
    "CREATE INDEX IF NOT EXISTS node_id ON node (id);"
    "CREATE INDEX IF NOT EXISTS node_content ON node (content) WHERE content != '';"
    "CREATE INDEX IF NOT EXISTS node_copy ON node (copy_of) WHERE copy_of != 0;";

struct tree {
    pthread_mutex_t lock;               /* recursive; guards all below; held for a transaction */
    sqlite3        *db;
    sqlite3_stmt   *statements[STATEMENTS];
    int             depth;              /* of nested tree_begin() */
};

int tree_open(const char *dir, struct tree **out)
{
    struct tree *t = emu_alloc(sizeof(*t));
    struct buf path = {0};
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&t->lock, &attr);
    pthread_mutexattr_destroy(&attr);
    buf_printf(&path, "%s/tree.sqlite", dir);
    int r = sqlite3_open(path.data, &t->db) == SQLITE_OK &&
                    sqlite3_exec(t->db, schema, NULL, NULL, NULL) == SQLITE_OK
                ? 0
                : -EIO;
    for (int i = 0; i < STATEMENTS && r == 0; i++)
        if (sqlite3_prepare_v3(t->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &t->statements[i],
                               NULL) != SQLITE_OK)
            r = -EIO;
    if (r < 0)
        fprintf(stderr, "polymount-emulator: %s: %s\n", path.data, sqlite3_errmsg(t->db));
    buf_free(&path);
    if (r < 0)
        tree_close(t);
    else
        *out = t;
    return r;
}

void tree_close(struct tree *t)
{
    if (t == NULL)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(t->statements[i]);
    sqlite3_close(t->db);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* Takes the lock and the statement; every use ends with done(). */
static sqlite3_stmt *use(struct tree *t, enum statement which)
{
    pthread_mutex_lock(&t->lock);
    return t->statements[which];
}

static void done(struct tree *t, sqlite3_stmt *s)
{
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    pthread_mutex_unlock(&t->lock);
}

static void run(struct tree *t, enum statement which)
{
    sqlite3_stmt *s = use(t, which);
    if (sqlite3_step(s) != SQLITE_DONE)
        fprintf(stderr, "polymount-emulator: tree: %s\n", sqlite3_errmsg(t->db));
    done(t, s);
}

void tree_begin(struct tree *t)
{
    pthread_mutex_lock(&t->lock);
    if (t->depth++ == 0)
        run(t, BEGIN);
}

void tree_commit(struct tree *t)
{
    if (--t->depth == 0)
        run(t, COMMIT);
    pthread_mutex_unlock(&t->lock);
}

void tree_set_text(struct tree *t, const char *key, const char *value)
{
    sqlite3_stmt *s = use(t, SET_TEXT);
    sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_text(s, 2, value, -1, SQLITE_STATIC);
    sqlite3_step(s);
    done(t, s);
}

bool tree_get_text(struct tree *t, const char *key, struct buf *out)
{
    sqlite3_stmt *s = use(t, GET_TEXT);
    sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC);
    bool found = sqlite3_step(s) == SQLITE_ROW;
    if (found)
        buf_add(out, sqlite3_column_text(s, 0), (size_t)sqlite3_column_bytes(s, 0));
    done(t, s);
    return found;
}

static void column_text(sqlite3_stmt *s, int column, char *out, size_t size)
{
    const unsigned char *text = sqlite3_column_text(s, column);
    snprintf(out, size, "%s", text != NULL ? (const char *)text : "");
}

static void read_row(sqlite3_stmt *s, struct node *n)
{
    n->num = sqlite3_column_int64(s, 0);
    n->parent = sqlite3_column_int64(s, 1);
    column_text(s, 2, n->id, sizeof(n->id));
    n->dir = sqlite3_column_int(s, 3) != 0;
    const void *name = sqlite3_column_blob(s, 4);
    n->name_len = (size_t)sqlite3_column_bytes(s, 4);
    if (n->name_len > 0)
        memcpy(n->name, name, n->name_len);
    n->name[n->name_len] = '\0';
    n->size = (uint64_t)sqlite3_column_int64(s, 5);
    column_text(s, 6, n->content, sizeof(n->content));
    n->created = sqlite3_column_int64(s, 7);
    n->updated = sqlite3_column_int64(s, 8);
    n->revised = sqlite3_column_int64(s, 9);
    n->queued_until = sqlite3_column_int64(s, 10);
    n->busy_until = sqlite3_column_int64(s, 11);
    n->settled_updated = sqlite3_column_int64(s, 12);
    column_text(s, 13, n->busy, sizeof(n->busy));
    column_text(s, 14, n->final, sizeof(n->final));
    n->copy_of = sqlite3_column_int64(s, 15);
}

static bool read_one(struct tree *t, sqlite3_stmt *s, struct node *out)
{
    bool found = sqlite3_step(s) == SQLITE_ROW;
    if (found)
        read_row(s, out);
    done(t, s);
    return found;
}

bool tree_by_num(struct tree *t, int64_t num, struct node *out)
{
    sqlite3_stmt *s = use(t, BY_NUM);
    sqlite3_bind_int64(s, 1, num);
    return read_one(t, s, out);
}

bool tree_by_id(struct tree *t, const char *id, struct node *out)
{
    sqlite3_stmt *s = use(t, BY_ID);
    sqlite3_bind_text(s, 1, id, -1, SQLITE_STATIC);
    return read_one(t, s, out);
}

bool tree_child(struct tree *t, int64_t parent, const char *name, size_t len, struct node *out)
{
    sqlite3_stmt *s = use(t, CHILD);
    sqlite3_bind_int64(s, 1, parent);
    sqlite3_bind_blob(s, 2, name, (int)len, SQLITE_STATIC);
    return read_one(t, s, out);
}

bool tree_root(struct tree *t, const char *service, struct node *out)
{
    if (tree_child(t, 0, service, strlen(service), out))
        return true;
    tree_begin(t);
    bool found = tree_child(t, 0, service, strlen(service), out);
    if (!found) {
        struct node root = {.dir = true, .name_len = strlen(service), .created = now_ms()};
        snprintf(root.name, sizeof(root.name), "%s", service);
        root.updated = root.created;
        found = tree_add(t, &root) == 0;
        *out = root;
    }
    tree_commit(t);
    return found;
}

bool tree_lookup(struct tree *t, const char *service, const struct path *path, struct node *out)
{
    const char *name = NULL;
    pthread_mutex_lock(&t->lock);
    bool found = tree_root(t, service, out);
    while (found && (name = path_next(path, name)) != NULL)
        found = out->dir && tree_child(t, out->num, name, strlen(name), out);
    pthread_mutex_unlock(&t->lock);
    return found;
}

static void path_above(struct tree *t, const struct node *n, struct buf *out)
{
    struct node parent;
    if (n->parent == 0 || !tree_by_num(t, n->parent, &parent))
        return;
    path_above(t, &parent, out);
    buf_puts(out, "/");
    buf_add(out, n->name, n->name_len);
}

void tree_path_of(struct tree *t, const struct node *n, struct buf *out)
{
    if (n->parent == 0)
        buf_puts(out, "/");
    else
        path_above(t, n, out);
}

static int write_row(struct tree *t, enum statement which, const struct node *n)
{
    sqlite3_stmt *s = use(t, which);
    const int64_t numbers[] = {n->created,    n->updated,    n->revised,
                               n->queued_until, n->busy_until, n->settled_updated};
    if (which == UPDATE)                /* a new row's number is the database's choice */
        sqlite3_bind_int64(s, 1, n->num);
    sqlite3_bind_int64(s, 2, n->parent);
    sqlite3_bind_text(s, 3, n->id, -1, SQLITE_STATIC);
    sqlite3_bind_int(s, 4, n->dir);
    sqlite3_bind_blob(s, 5, n->name, (int)n->name_len, SQLITE_STATIC);
    sqlite3_bind_int64(s, 6, (int64_t)n->size);
    sqlite3_bind_text(s, 7, n->content, -1, SQLITE_STATIC);
    for (int i = 0; i < 6; i++)
        sqlite3_bind_int64(s, 8 + i, numbers[i]);
    sqlite3_bind_text(s, 14, n->busy, -1, SQLITE_STATIC);
    sqlite3_bind_text(s, 15, n->final, -1, SQLITE_STATIC);
    sqlite3_bind_int64(s, 16, n->copy_of);
    int r = sqlite3_step(s) == SQLITE_DONE ? 0 : -EIO;
    if (r < 0)
        fprintf(stderr, "polymount-emulator: tree: %s\n", sqlite3_errmsg(t->db));
    done(t, s);
    return r;
}

int tree_add(struct tree *t, struct node *n)
{
    if (n->id[0] == '\0')
        sign_id(n->id);
    pthread_mutex_lock(&t->lock);
    int r = write_row(t, ADD, n);
    n->num = sqlite3_last_insert_rowid(t->db);
    pthread_mutex_unlock(&t->lock);
    return r;
}

int tree_update(struct tree *t, const struct node *n)
{
    return write_row(t, UPDATE, n);
}

size_t tree_children(struct tree *t, int64_t parent, int64_t after, size_t limit, node_fn *each,
                     void *arg)
{
    struct node n;
    size_t count = 0;
    sqlite3_stmt *s = use(t, CHILDREN);
    sqlite3_bind_int64(s, 1, parent);
    sqlite3_bind_int64(s, 2, after);
    sqlite3_bind_int64(s, 3, (int64_t)limit);
    while (sqlite3_step(s) == SQLITE_ROW) {
        read_row(s, &n);
        each(&n, arg);
        count++;
    }
    done(t, s);
    return count;
}

struct page {
    struct node nodes[32];
    size_t      count;
};

static void into_page(const struct node *n, void *arg)
{
    struct page *page = arg;
    page->nodes[page->count++] = *n;
}

void tree_for_children(struct tree *t, int64_t parent, node_fn *each, void *arg)
{
    struct page *page = emu_alloc(sizeof(*page));
    int64_t after = 0;
    do {
        page->count = 0;
        tree_children(t, parent, after, sizeof(page->nodes) / sizeof(page->nodes[0]), into_page,
                      page);
        for (size_t i = 0; i < page->count; i++)
            each(&page->nodes[i], arg);
        after = page->count > 0 ? page->nodes[page->count - 1].num : 0;
    } while (page->count > 0);
    free(page);
}

bool tree_content_used(struct tree *t, const char *content)
{
    sqlite3_stmt *s = use(t, USED);
    sqlite3_bind_text(s, 1, content, -1, SQLITE_STATIC);
    bool used = sqlite3_step(s) == SQLITE_ROW;
    done(t, s);
    return used;
}

void tree_remove(struct tree *t, int64_t num, void (*dropped)(const char *content, void *arg),
                 void *arg)
{
    struct buf contents = {0};
    tree_begin(t);
    sqlite3_stmt *s = use(t, BELOW_CONTENTS);
    sqlite3_bind_int64(s, 1, num);
    while (sqlite3_step(s) == SQLITE_ROW)
        buf_add(&contents, sqlite3_column_text(s, 0), 33);      /* with its NUL */
    done(t, s);
    s = use(t, REMOVE);
    sqlite3_bind_int64(s, 1, num);
    sqlite3_step(s);
    done(t, s);
    for (size_t at = 0; at < contents.len; at += 33)
        if (!tree_content_used(t, contents.data + at))
            dropped(contents.data + at, arg);
    tree_commit(t);
    buf_free(&contents);
}

bool tree_pending_copy(struct tree *t, int64_t num, int64_t now, struct node *copy)
{
    sqlite3_stmt *s = use(t, PENDING);
    sqlite3_bind_int64(s, 1, num);
    sqlite3_bind_int64(s, 2, now);
    return read_one(t, s, copy);
}

const char *node_state(const struct node *n, int64_t now)
{
    if (now < n->queued_until)
        return "queued";
    return now < n->busy_until ? n->busy : n->final;
}

int64_t node_updated(const struct node *n, int64_t now)
{
    return n->settled_updated != 0 && now >= n->busy_until ? n->settled_updated : n->updated;
}

bool node_busy_copying(const struct node *n, int64_t now)
{
    return now < n->busy_until && strcmp(n->busy, "copying") == 0;
}
