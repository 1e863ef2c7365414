#include "tests/emulator/sharemy3d_stock.h"

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS item (num INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER,"
    " id TEXT UNIQUE, key TEXT UNIQUE, filename TEXT, name TEXT, description TEXT,"
    " has_description INTEGER, password TEXT, has_password INTEGER, downloadable INTEGER,"
    " type TEXT, size INTEGER, views INTEGER, created INTEGER, posted INTEGER, seeded INTEGER,"
    " resumable INTEGER, used INTEGER, noticed_at INTEGER, ready_at INTEGER, outcome TEXT,"
    " stuck INTEGER, generation INTEGER, content TEXT, content_size INTEGER, packed TEXT,"
    " packed_size INTEGER, md5 TEXT, md5_hex TEXT, crc32c TEXT);"
    "CREATE TABLE IF NOT EXISTS session (id TEXT PRIMARY KEY, item TEXT, json INTEGER,"
    " state INTEGER, broken INTEGER, created INTEGER, touched INTEGER, total INTEGER,"
    " received INTEGER, told INTEGER, bytes TEXT, puts INTEGER);"
    "CREATE INDEX IF NOT EXISTS session_item ON session (item);"
    "CREATE TABLE IF NOT EXISTS mark (what TEXT PRIMARY KEY, at INTEGER);";

#define ITEM                                                                                       \
    "num, kind, id, key, filename, name, description, has_description, password, has_password, "  \
    "downloadable, type, size, views, created, posted, seeded, resumable, used, noticed_at, "      \
    "ready_at, outcome, stuck, generation, content, content_size, packed, packed_size, md5, "      \
    "md5_hex, crc32c"
#define SESSION                                                                                    \
    "id, item, json, state, broken, created, touched, total, received, told, bytes, puts"

int stock_open(const char *dir, struct ledger **out)
{
    return ledger_open(dir, "sharemy3d", schema, out);
}

/* ---- models and backgrounds ---- */

static void read_object(sqlite3_stmt *s, struct sm3d_object *out)
{
    out->generation = sqlite3_column_int64(s, 23);
    ledger_text(s, 24, out->content, sizeof(out->content));
    out->size = (uint64_t)sqlite3_column_int64(s, 25);
    ledger_text(s, 26, out->packed, sizeof(out->packed));
    out->packed_size = (uint64_t)sqlite3_column_int64(s, 27);
    ledger_text(s, 28, out->sums.md5, sizeof(out->sums.md5));
    ledger_text(s, 29, out->sums.md5_hex, sizeof(out->sums.md5_hex));
    ledger_text(s, 30, out->sums.crc32c, sizeof(out->sums.crc32c));
}

static void read_item(sqlite3_stmt *s, struct sm3d_item *out)
{
    out->num = sqlite3_column_int64(s, 0);
    out->kind = (enum sm3d_kind)sqlite3_column_int(s, 1);
    ledger_text(s, 2, out->id, sizeof(out->id));
    ledger_text(s, 3, out->key, sizeof(out->key));
    ledger_text(s, 4, out->filename, sizeof(out->filename));
    ledger_text(s, 5, out->name, sizeof(out->name));
    ledger_text(s, 6, out->description, sizeof(out->description));
    out->has_description = sqlite3_column_int(s, 7) != 0;
    ledger_text(s, 8, out->password, sizeof(out->password));
    out->has_password = sqlite3_column_int(s, 9) != 0;
    out->downloadable = sqlite3_column_int(s, 10) != 0;
    ledger_text(s, 11, out->type, sizeof(out->type));
    out->size = (uint64_t)sqlite3_column_int64(s, 12);
    out->views = sqlite3_column_int64(s, 13);
    out->created = sqlite3_column_int64(s, 14);
    out->posted = sqlite3_column_int64(s, 15);
    out->seeded = sqlite3_column_int(s, 16) != 0;
    out->resumable = sqlite3_column_int(s, 17) != 0;
    out->used = sqlite3_column_int(s, 18) != 0;
    out->noticed_at = sqlite3_column_int64(s, 19);
    out->ready_at = sqlite3_column_int64(s, 20);
    ledger_text(s, 21, out->outcome, sizeof(out->outcome));
    out->stuck = sqlite3_column_int(s, 22) != 0;
    read_object(s, &out->object);
}

static bool read_only_item(struct ledger *l, sqlite3_stmt *s, struct sm3d_item *out)
{
    bool found = ledger_next(l, s);
    if (found)
        read_item(s, out);
    ledger_done(l, s);
    return found;
}

bool stock_item(struct ledger *l, enum sm3d_kind kind, const char *id, struct sm3d_item *out)
{
    return read_only_item(l,
                          ledger_use(l, "SELECT " ITEM " FROM item WHERE id = ?1 AND kind = ?2",
                                     "si", id, (int64_t)kind),
                          out);
}

bool stock_item_any(struct ledger *l, const char *id, struct sm3d_item *out)
{
    return read_only_item(l, ledger_use(l, "SELECT " ITEM " FROM item WHERE id = ?1", "s", id),
                          out);
}

bool stock_object(struct ledger *l, const char *key, struct sm3d_item *out)
{
    return read_only_item(l, ledger_use(l, "SELECT " ITEM " FROM item WHERE key = ?1", "s", key),
                          out);
}

static void put_object(struct ledger *l, const struct sm3d_item *x)
{
    const struct sm3d_object *o = &x->object;
    ledger_finish(l, ledger_use(l,
                                "UPDATE item SET generation = ?2, content = ?3, content_size = ?4, "
                                "packed = ?5, packed_size = ?6, md5 = ?7, md5_hex = ?8, "
                                "crc32c = ?9 WHERE num = ?1",
                                "iisisisss", x->num, o->generation, o->content, (int64_t)o->size,
                                o->packed, (int64_t)o->packed_size, o->sums.md5, o->sums.md5_hex,
                                o->sums.crc32c));
}

void stock_put_item(struct ledger *l, struct sm3d_item *x)
{
    ledger_begin(l);
    if (x->num == 0) {
        ledger_finish(l, ledger_use(l,
                                    "INSERT INTO item (kind, id, key, filename, posted, seeded, "
                                    "resumable) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                                    "isssiii", (int64_t)x->kind, x->id, x->key, x->filename,
                                    x->posted, (int64_t)x->seeded, (int64_t)x->resumable));
        x->num = ledger_last_row(l);
    }
    ledger_finish(l, ledger_use(l,
                                "UPDATE item SET name = ?2, description = ?3, has_description = ?4,"
                                " has_password = ?5, downloadable = ?6, size = ?7, views = ?8, "
                                "created = ?9, used = ?10, noticed_at = ?11, ready_at = ?12, "
                                "outcome = ?13, stuck = ?14, password = ?15, type = ?16 "
                                "WHERE num = ?1",
                                "issiiiiiiiiisiss",
                                x->num, x->name, x->description, (int64_t)x->has_description,
                                (int64_t)x->has_password, (int64_t)x->downloadable,
                                (int64_t)x->size, x->views, x->created, (int64_t)x->used,
                                x->noticed_at, x->ready_at, x->outcome, (int64_t)x->stuck,
                                x->password, x->type));
    put_object(l, x);
    ledger_commit(l);
}

void stock_remove_item(struct ledger *l, const struct sm3d_item *x)
{
    ledger_finish(l, ledger_use(l, "DELETE FROM item WHERE num = ?1", "i", x->num));
}

void stock_items(struct ledger *l, enum sm3d_kind kind, stock_item_fn *each, void *arg)
{
    struct sm3d_item x;
    sqlite3_stmt *s = ledger_use(l, "SELECT " ITEM " FROM item WHERE kind = ?1 ORDER BY num", "i",
                                 (int64_t)kind);
    while (ledger_next(l, s)) {
        read_item(s, &x);
        each(&x, arg);
    }
    ledger_done(l, s);
}

/* ---- sessions ---- */

static void read_session(sqlite3_stmt *s, struct sm3d_session *out)
{
    ledger_text(s, 0, out->id, sizeof(out->id));
    ledger_text(s, 1, out->item, sizeof(out->item));
    out->json = sqlite3_column_int(s, 2) != 0;
    out->state = (enum sm3d_session_state)sqlite3_column_int(s, 3);
    out->broken = sqlite3_column_int(s, 4);
    out->created = sqlite3_column_int64(s, 5);
    out->touched = sqlite3_column_int64(s, 6);
    out->total = (uint64_t)sqlite3_column_int64(s, 7);
    out->received = (uint64_t)sqlite3_column_int64(s, 8);
    out->told = (uint64_t)sqlite3_column_int64(s, 9);
    ledger_text(s, 10, out->bytes, sizeof(out->bytes));
    out->puts = sqlite3_column_int64(s, 11);
}

static bool read_only_session(struct ledger *l, sqlite3_stmt *s, struct sm3d_session *out)
{
    bool found = ledger_next(l, s);
    if (found)
        read_session(s, out);
    ledger_done(l, s);
    return found;
}

bool stock_session(struct ledger *l, const char *id, struct sm3d_session *out)
{
    return read_only_session(
        l, ledger_use(l, "SELECT " SESSION " FROM session WHERE id = ?1", "s", id), out);
}

bool stock_session_of(struct ledger *l, const char *item, struct sm3d_session *out)
{
    return read_only_session(
        l,
        ledger_use(l, "SELECT " SESSION " FROM session WHERE item = ?1 ORDER BY rowid DESC", "s",
                   item),
        out);
}

void stock_put_session(struct ledger *l, const struct sm3d_session *x)
{
    ledger_finish(
        l, ledger_use(l,
                      "INSERT INTO session (" SESSION ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, "
                      "?9, ?10, ?11, ?12) ON CONFLICT (id) DO UPDATE SET state = ?4, broken = ?5, "
                      "touched = ?7, received = ?9, told = ?10, puts = ?12",
                      "ssiiiiiiiisi", x->id, x->item, (int64_t)x->json, (int64_t)x->state,
                      (int64_t)x->broken, x->created, x->touched, (int64_t)x->total,
                      (int64_t)x->received, (int64_t)x->told, x->bytes, x->puts));
}

void stock_sessions(struct ledger *l, stock_session_fn *each, void *arg)
{
    struct sm3d_session x;
    sqlite3_stmt *s = ledger_use(l, "SELECT " SESSION " FROM session ORDER BY rowid", "");
    while (ledger_next(l, s)) {
        read_session(s, &x);
        each(&x, arg);
    }
    ledger_done(l, s);
}

/* ---- marks ---- */

void stock_mark(struct ledger *l, const char *what, int64_t at)
{
    ledger_finish(l, ledger_use(l, "INSERT OR REPLACE INTO mark VALUES (?1, ?2)", "si", what, at));
}

int64_t stock_marked(struct ledger *l, const char *what)
{
    return ledger_finish_number(
        l, ledger_use(l, "SELECT at FROM mark WHERE what = ?1", "s", what));
}
