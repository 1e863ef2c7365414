#include "tests/emulator/shapeways_stock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/emulator/buf.h"

#define NONCES_KEPT_MS ((int64_t)24 * 3600 * 1000)

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS model (id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT,"
    " description TEXT, public INTEGER, sale INTEGER, download INTEGER, claimable INTEGER,"
    " tags TEXT, materials TEXT, material INTEGER, categories TEXT, secret TEXT, claim TEXT,"
    " created INTEGER, posted INTEGER, last INTEGER, touched INTEGER, seen INTEGER,"
    " seeded INTEGER);"
    "INSERT INTO sqlite_sequence SELECT 'model', 1114693 WHERE NOT EXISTS"
    " (SELECT 1 FROM sqlite_sequence WHERE name = 'model');"
    "CREATE TABLE IF NOT EXISTS version (model INTEGER, number INTEGER, name TEXT, size INTEGER,"
    " md5 TEXT, content TEXT, scale TEXT, form TEXT, created INTEGER, lost INTEGER, seeded INTEGER,"
    " PRIMARY KEY (model, number));"
    "CREATE TABLE IF NOT EXISTS photo (id INTEGER PRIMARY KEY AUTOINCREMENT, model INTEGER,"
    " title TEXT, description TEXT, width INTEGER, height INTEGER, material INTEGER,"
    " is_default INTEGER, size INTEGER, md5 TEXT, content TEXT, seeded INTEGER);"
    "CREATE INDEX IF NOT EXISTS photo_model ON photo (model);"
    "CREATE TABLE IF NOT EXISTS cart (model INTEGER, material INTEGER, quantity INTEGER,"
    " PRIMARY KEY (model, material));"
    "CREATE TABLE IF NOT EXISTS token (id TEXT PRIMARY KEY, secret TEXT, kind INTEGER,"
    " state INTEGER, verifier TEXT, callback TEXT, expires INTEGER);"
    "CREATE TABLE IF NOT EXISTS nonce (text TEXT PRIMARY KEY, at INTEGER);"
    "CREATE TABLE IF NOT EXISTS mark (what TEXT PRIMARY KEY, at INTEGER);";

#define MODEL                                                                                      \
    "id, title, description, public, sale, download, claimable, tags, materials, material, "       \
    "categories, secret, claim, created, posted, last, touched, seen, seeded"
#define VERSION "model, number, name, size, md5, content, scale, form, created, lost, seeded"
#define PHOTO                                                                                      \
    "id, model, title, description, width, height, material, is_default, size, md5, content, seeded"
#define TOKEN "id, secret, kind, state, verifier, callback, expires"

int sw_stock_open(const char *dir, struct ledger **out)
{
    return ledger_open(dir, "shapeways", schema, out);
}

/* ---- models ---- */

static void read_model(sqlite3_stmt *s, struct sw_model *out)
{
    out->id = sqlite3_column_int64(s, 0);
    ledger_text(s, 1, out->title, sizeof(out->title));
    ledger_text(s, 2, out->description, sizeof(out->description));
    out->is_public = sqlite3_column_int(s, 3) != 0;
    out->for_sale = sqlite3_column_int(s, 4) != 0;
    out->downloadable = sqlite3_column_int(s, 5) != 0;
    out->claimable = sqlite3_column_int(s, 6) != 0;
    ledger_text(s, 7, out->tags, sizeof(out->tags));
    ledger_text(s, 8, out->materials, sizeof(out->materials));
    out->default_material = sqlite3_column_int64(s, 9);
    ledger_text(s, 10, out->categories, sizeof(out->categories));
    ledger_text(s, 11, out->secret_key, sizeof(out->secret_key));
    ledger_text(s, 12, out->claim_key, sizeof(out->claim_key));
    out->created = sqlite3_column_int64(s, 13);
    out->posted = sqlite3_column_int64(s, 14);
    out->last = sqlite3_column_int64(s, 15);
    out->touched = sqlite3_column_int64(s, 16);
    out->seen = sqlite3_column_int64(s, 17);
    out->seeded = sqlite3_column_int(s, 18) != 0;
}

bool sw_stock_model(struct ledger *l, int64_t id, struct sw_model *out)
{
    sqlite3_stmt *s = ledger_use(l, "SELECT " MODEL " FROM model WHERE id = ?1", "i", id);
    bool found = ledger_next(l, s);
    if (found)
        read_model(s, out);
    ledger_done(l, s);
    return found;
}

void sw_stock_put_model(struct ledger *l, struct sw_model *m)
{
    ledger_begin(l);
    if (m->id == 0) {
        ledger_finish(l, ledger_use(l,
                                    "INSERT INTO model (secret, created, posted, seeded) "
                                    "VALUES (?1, ?2, ?3, ?4)",
                                    "siii", m->secret_key, m->created, m->posted,
                                    (int64_t)m->seeded));
        m->id = ledger_last_row(l);
    }
    ledger_finish(l, ledger_use(l,
                                "UPDATE model SET title = ?2, description = ?3, public = ?4, "
                                "sale = ?5, download = ?6, claimable = ?7, tags = ?8, "
                                "materials = ?9, material = ?10, categories = ?11, claim = ?12, "
                                "last = ?13, touched = ?14, seen = ?15 WHERE id = ?1",
                                "issiiiississiii", m->id, m->title, m->description,
                                (int64_t)m->is_public, (int64_t)m->for_sale,
                                (int64_t)m->downloadable, (int64_t)m->claimable, m->tags,
                                m->materials, m->default_material, m->categories, m->claim_key,
                                m->last, m->touched, m->seen));
    ledger_commit(l);
}

void sw_stock_remove_model(struct ledger *l, int64_t id)
{
    ledger_begin(l);
    ledger_finish(l, ledger_use(l, "DELETE FROM model WHERE id = ?1", "i", id));
    ledger_finish(l, ledger_use(l, "DELETE FROM version WHERE model = ?1", "i", id));
    ledger_finish(l, ledger_use(l, "DELETE FROM photo WHERE model = ?1", "i", id));
    ledger_finish(l, ledger_use(l, "DELETE FROM cart WHERE model = ?1", "i", id));
    ledger_commit(l);
}

void sw_stock_saw(struct ledger *l, int64_t id, int64_t at)
{
    ledger_finish(l, ledger_use(l, "UPDATE model SET seen = ?2 WHERE id = ?1", "ii", id, at));
}

void sw_stock_models(struct ledger *l, bool newest, int64_t before, int64_t limit, int64_t offset,
                     sw_model_fn *each, void *arg)
{
    struct sw_model m;
    static const char up[] = "SELECT " MODEL " FROM model WHERE seeded OR posted <= ?1 "
                             "ORDER BY id LIMIT ?2 OFFSET ?3";
    static const char down[] = "SELECT " MODEL " FROM model WHERE seeded OR posted <= ?1 "
                               "ORDER BY id DESC LIMIT ?2 OFFSET ?3";
    sqlite3_stmt *s = ledger_use(l, newest ? down : up, "iii", before, limit, offset);
    while (ledger_next(l, s)) {
        read_model(s, &m);
        each(&m, arg);
    }
    ledger_done(l, s);
}

/* ---- versions ---- */

static void read_version(sqlite3_stmt *s, struct sw_version *out)
{
    out->model = sqlite3_column_int64(s, 0);
    out->number = sqlite3_column_int64(s, 1);
    ledger_text(s, 2, out->name, sizeof(out->name));
    out->size = (uint64_t)sqlite3_column_int64(s, 3);
    ledger_text(s, 4, out->md5, sizeof(out->md5));
    ledger_text(s, 5, out->content, sizeof(out->content));
    out->scale = sqlite3_column_double(s, 6);
    ledger_text(s, 7, out->form, sizeof(out->form));
    out->created = sqlite3_column_int64(s, 8);
    out->lost = sqlite3_column_int(s, 9) != 0;
    out->seeded = sqlite3_column_int(s, 10) != 0;
}

bool sw_stock_version(struct ledger *l, int64_t model, int64_t number, struct sw_version *out)
{
    sqlite3_stmt *s = ledger_use(
        l, "SELECT " VERSION " FROM version WHERE model = ?1 AND number = ?2", "ii", model, number);
    bool found = ledger_next(l, s);
    if (found)
        read_version(s, out);
    ledger_done(l, s);
    return found;
}

void sw_stock_put_version(struct ledger *l, const struct sw_version *v)
{
    char scale[32];
    snprintf(scale, sizeof(scale), "%.9g", v->scale);
    ledger_begin(l);
    ledger_finish(l, ledger_use(l,
                                "INSERT OR REPLACE INTO version (" VERSION ") VALUES (?1, ?2, ?3, "
                                "?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                                "iisissssiii", v->model, v->number, v->name, (int64_t)v->size,
                                v->md5, v->content, scale, v->form, v->created, (int64_t)v->lost,
                                (int64_t)v->seeded));
    ledger_finish(l, ledger_use(l, "UPDATE model SET last = max(last, ?2) WHERE id = ?1", "ii",
                                v->model, v->number));
    ledger_commit(l);
}

void sw_stock_versions(struct ledger *l, int64_t model, sw_version_fn *each, void *arg)
{
    struct sw_version v;
    sqlite3_stmt *s = ledger_use(
        l, "SELECT " VERSION " FROM version WHERE model = ?1 ORDER BY number", "i", model);
    while (ledger_next(l, s)) {
        read_version(s, &v);
        each(&v, arg);
    }
    ledger_done(l, s);
}

/* ---- photographs ---- */

void sw_stock_add_photo(struct ledger *l, struct sw_photo *p)
{
    ledger_begin(l);
    if (p->is_default)
        ledger_finish(
            l, ledger_use(l, "UPDATE photo SET is_default = 0 WHERE model = ?1", "i", p->model));
    ledger_finish(l, ledger_use(l,
                                "INSERT INTO photo (model, title, description, width, height, "
                                "material, is_default, size, md5, content, seeded) VALUES (?1, ?2, "
                                "?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                                "issiiiiissi", p->model, p->title, p->description,
                                (int64_t)p->width, (int64_t)p->height, p->material,
                                (int64_t)p->is_default, (int64_t)p->size, p->md5, p->content,
                                (int64_t)p->seeded));
    p->id = ledger_last_row(l);
    ledger_commit(l);
}

int64_t sw_stock_photo_count(struct ledger *l, int64_t model)
{
    return ledger_finish_number(
        l, ledger_use(l, "SELECT count(*) FROM photo WHERE model = ?1", "i", model));
}

bool sw_stock_has_photo(struct ledger *l, int64_t model, const char *md5)
{
    return ledger_finish_number(
               l, ledger_use(l,
                             "SELECT count(*) FROM photo WHERE model = ?1 AND md5 = ?2 AND "
                             "NOT seeded",
                             "is", model, md5)) > 0;
}

void sw_stock_photos(struct ledger *l, int64_t model, sw_photo_fn *each, void *arg)
{
    struct sw_photo p;
    sqlite3_stmt *s =
        ledger_use(l, "SELECT " PHOTO " FROM photo WHERE model = ?1 ORDER BY id", "i", model);
    while (ledger_next(l, s)) {
        p.id = sqlite3_column_int64(s, 0);
        p.model = sqlite3_column_int64(s, 1);
        ledger_text(s, 2, p.title, sizeof(p.title));
        ledger_text(s, 3, p.description, sizeof(p.description));
        p.width = sqlite3_column_int(s, 4);
        p.height = sqlite3_column_int(s, 5);
        p.material = sqlite3_column_int64(s, 6);
        p.is_default = sqlite3_column_int(s, 7) != 0;
        p.size = (uint64_t)sqlite3_column_int64(s, 8);
        ledger_text(s, 9, p.md5, sizeof(p.md5));
        ledger_text(s, 10, p.content, sizeof(p.content));
        p.seeded = sqlite3_column_int(s, 11) != 0;
        each(&p, arg);
    }
    ledger_done(l, s);
}

/* ---- the cart ---- */

void sw_stock_cart_add(struct ledger *l, const struct sw_item *i)
{
    ledger_finish(l, ledger_use(l,
                                "INSERT INTO cart VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET "
                                "quantity = quantity + ?3",
                                "iii", i->model, i->material, i->quantity));
}

void sw_stock_cart(struct ledger *l, sw_item_fn *each, void *arg)
{
    sqlite3_stmt *s =
        ledger_use(l, "SELECT model, material, quantity FROM cart ORDER BY rowid", "");
    while (ledger_next(l, s)) {
        struct sw_item i = {sqlite3_column_int64(s, 0), sqlite3_column_int64(s, 1),
                            sqlite3_column_int64(s, 2)};
        each(&i, arg);
    }
    ledger_done(l, s);
}

void sw_stock_cart_clear(struct ledger *l)
{
    ledger_finish(l, ledger_use(l, "DELETE FROM cart", ""));
    ledger_finish(l, ledger_use(l, "DELETE FROM mark WHERE what LIKE 'cart lost%'", ""));
}

/* ---- tokens and nonces ---- */

static bool read_only_token(struct ledger *l, sqlite3_stmt *s, struct sw_token *out)
{
    bool found = ledger_next(l, s);
    if (found) {
        ledger_text(s, 0, out->id, sizeof(out->id));
        ledger_text(s, 1, out->secret, sizeof(out->secret));
        out->kind = (enum sw_token_kind)sqlite3_column_int(s, 2);
        out->state = (enum sw_token_state)sqlite3_column_int(s, 3);
        ledger_text(s, 4, out->verifier, sizeof(out->verifier));
        ledger_text(s, 5, out->callback, sizeof(out->callback));
        out->expires = sqlite3_column_int64(s, 6);
    }
    ledger_done(l, s);
    return found;
}

bool sw_stock_token(struct ledger *l, const char *id, struct sw_token *out)
{
    return read_only_token(l, ledger_use(l, "SELECT " TOKEN " FROM token WHERE id = ?1", "s", id),
                           out);
}

bool sw_stock_last_token(struct ledger *l, enum sw_token_kind kind, struct sw_token *out)
{
    return read_only_token(
        l,
        ledger_use(l, "SELECT " TOKEN " FROM token WHERE kind = ?1 ORDER BY rowid DESC", "i",
                   (int64_t)kind),
        out);
}

void sw_stock_put_token(struct ledger *l, const struct sw_token *t)
{
    ledger_finish(l, ledger_use(l,
                                "INSERT INTO token (" TOKEN ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) "
                                "ON CONFLICT (id) DO UPDATE SET state = ?4, verifier = ?5, "
                                "expires = ?7",
                                "ssiissi", t->id, t->secret, (int64_t)t->kind, (int64_t)t->state,
                                t->verifier, t->callback, t->expires));
}

void sw_stock_revoke(struct ledger *l, const char *id)
{
    ledger_finish(l, ledger_use(l,
                                "UPDATE token SET state = ?2 WHERE id = ?1 OR (?1 = '' AND "
                                "kind != ?3)",
                                "sii", id, (int64_t)SW_REVOKED, (int64_t)SW_REQUEST));
}

bool sw_stock_nonce(struct ledger *l, const char *nonce, int64_t at)
{
    ledger_begin(l);
    ledger_finish(l, ledger_use(l, "INSERT OR IGNORE INTO nonce VALUES (?1, ?2)", "si", nonce, at));
    bool fresh = ledger_changed(l);
    if (at % 64 == 0)
        ledger_finish(l,
                      ledger_use(l, "DELETE FROM nonce WHERE at < ?1", "i", at - NONCES_KEPT_MS));
    ledger_commit(l);
    return fresh;
}

/* ---- marks ---- */

void sw_stock_mark(struct ledger *l, const char *what, int64_t at)
{
    ledger_finish(l, ledger_use(l, "INSERT OR REPLACE INTO mark VALUES (?1, ?2)", "si", what, at));
}

int64_t sw_stock_marked(struct ledger *l, const char *what)
{
    return ledger_finish_number(
        l, ledger_use(l, "SELECT at FROM mark WHERE what = ?1", "s", what));
}
