#include "cache/db_schema.h"

#include "cache/db.h"

#include "backends/util.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>

/* The steps from each version of a schema to the next, from nothing on. A step that was released is
 * never changed. */
static const char *const index_schema[] = {
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;"
    /* parent, name: where the known list of that folder has it; NULL: in no list */
    "CREATE TABLE node(id INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER NOT NULL,"
    " kind INTEGER NOT NULL, parent INTEGER, name TEXT, rname TEXT, rid TEXT, root TEXT,"
    " size INTEGER, rsize INTEGER, mtime INTEGER, btime INTEGER,"
    " version TEXT NOT NULL DEFAULT '', state TEXT,"
    " settling INTEGER NOT NULL DEFAULT 0, own INTEGER NOT NULL DEFAULT 0,"
    " missing INTEGER NOT NULL DEFAULT 0, mode INTEGER, uid INTEGER, gid INTEGER,"
    " lmtime INTEGER, latime INTEGER, ctime INTEGER, error TEXT);"
    "CREATE UNIQUE INDEX node_place ON node(parent, name) WHERE parent IS NOT NULL;"
    "CREATE INDEX node_order ON node(parent);"
    "CREATE UNIQUE INDEX node_rid ON node(account, rid) WHERE rid IS NOT NULL;"
    "CREATE TABLE list(node INTEGER PRIMARY KEY, fetched INTEGER NOT NULL);"
    "CREATE TABLE content(id INTEGER PRIMARY KEY AUTOINCREMENT, node INTEGER NOT NULL,"
    " version TEXT NOT NULL, size INTEGER NOT NULL, validator TEXT NOT NULL DEFAULT '',"
    " present BLOB, bytes INTEGER NOT NULL DEFAULT 0, used INTEGER NOT NULL,"
    /* the node whose object it is fetched from, when that is not its own; -1: it cannot be had */
    " origin INTEGER);"
    "CREATE UNIQUE INDEX content_node ON content(node);"
    "CREATE INDEX content_used ON content(used);"
    "CREATE INDEX content_origin ON content(origin) WHERE origin IS NOT NULL;"
    "CREATE TABLE xattr(node INTEGER, name TEXT, value BLOB NOT NULL, PRIMARY KEY(node, name))"
    " WITHOUT ROWID;",
    /* 2: what is on the disk (durable.h) */
    "ALTER TABLE content ADD COLUMN era INTEGER NOT NULL DEFAULT 0;",
    /* 3: what was done to the journal (redo.h); what a new index must know of the disk is there */
    "CREATE TABLE redo(n INTEGER PRIMARY KEY, text TEXT NOT NULL);"
    "INSERT INTO redo(n, text) SELECT b.value, r.value FROM meta b, meta r WHERE b.key='both' AND"
    " r.key='redo';"
    "INSERT OR IGNORE INTO j.meta(key, value) SELECT key, value FROM meta WHERE key IN ('machine',"
    " 'era', 'durable');"
    "DELETE FROM meta WHERE key IN ('both', 'redo', 'machine', 'era', 'durable');",
    /* 4: what the services say of what was published (record.h) */
    "CREATE TABLE record(folder INTEGER PRIMARY KEY, node INTEGER NOT NULL, asked INTEGER NOT NULL,"
    " fetched INTEGER NOT NULL, ready INTEGER NOT NULL, late TEXT);"
    "CREATE INDEX record_node ON record(node);",
    /* 5: how far that is, and what went wrong with it */
    ("ALTER TABLE record ADD COLUMN percent INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE record ADD COLUMN errors TEXT NOT NULL DEFAULT '';"),
    /* 6: what else the service says of it (struct pm_entry) */
    "ALTER TABLE node ADD COLUMN fields TEXT;"};

/* journal.c says what these mean. */
static const char *const journal_schema[] = {
    "CREATE TABLE j.meta(key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;"
    "CREATE TABLE j.account(id INTEGER PRIMARY KEY, type TEXT NOT NULL, endpoint TEXT NOT NULL,"
    " name TEXT NOT NULL, uuid TEXT NOT NULL, salt TEXT NOT NULL, hash TEXT, claim TEXT);"
    /* the folders that entries are in, as the index has them: for a new index */
    "CREATE TABLE j.folder(id INTEGER PRIMARY KEY, account INTEGER NOT NULL, parent INTEGER,"
    " name TEXT, rname TEXT, rid TEXT, root TEXT);"
    "CREATE TABLE j.entry(id INTEGER PRIMARY KEY, op INTEGER NOT NULL, node INTEGER NOT NULL,"
    " account INTEGER NOT NULL, kind INTEGER NOT NULL, parent INTEGER NOT NULL, name TEXT NOT NULL,"
    " oparent INTEGER, oname TEXT, rid TEXT, base TEXT NOT NULL DEFAULT '', content INTEGER,"
    " size INTEGER NOT NULL DEFAULT 0, state INTEGER NOT NULL, step TEXT,"
    " not_before INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0, error TEXT,"
    " created INTEGER NOT NULL, gen INTEGER NOT NULL DEFAULT 0, replaces INTEGER,"
    " sending INTEGER NOT NULL DEFAULT 0);"
    "CREATE INDEX j.entry_node ON entry(node);"
    "CREATE INDEX j.entry_place ON entry(parent, name);"
    "CREATE INDEX j.entry_old ON entry(oparent, oname) WHERE oparent IS NOT NULL;"
    "CREATE INDEX j.entry_state ON entry(state, not_before);"
    "CREATE TABLE j.place(parent INTEGER, name TEXT, entry INTEGER, node INTEGER,"
    " PRIMARY KEY(parent, name, entry)) WITHOUT ROWID;"
    "CREATE INDEX j.place_order ON place(parent, node);"
    "CREATE INDEX j.place_node ON place(node);"
    "CREATE INDEX j.place_entry ON place(entry);"
    "CREATE TABLE j.dep(entry INTEGER, needs INTEGER, PRIMARY KEY(entry, needs)) WITHOUT ROWID;"
    "CREATE INDEX j.dep_needs ON dep(needs);"
    "CREATE TABLE j.removed(at INTEGER, account INTEGER);"
    "CREATE TABLE j.dirty(content INTEGER, off INTEGER, end INTEGER, PRIMARY KEY(content, off))"
    " WITHOUT ROWID;",
    /* 2: copies of what a service has */
    "ALTER TABLE j.entry ADD COLUMN source INTEGER;"
    "ALTER TABLE j.entry ADD COLUMN era INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE j.dep ADD COLUMN source INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX j.entry_source ON entry(source) WHERE source IS NOT NULL;",
    /* 3: contents that were sent and that the service cannot give back (kept.h) */
    "CREATE TABLE j.kept(content INTEGER PRIMARY KEY, node INTEGER NOT NULL, account INTEGER NOT"
    " NULL, kind INTEGER NOT NULL, parent INTEGER NOT NULL, name TEXT NOT NULL, rid TEXT,"
    " version TEXT NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL);"
    "CREATE INDEX j.kept_node ON kept(node);",
    /* 4: the node whose object the service was asked to copy, when that is not wanted any more */
    "ALTER TABLE j.entry ADD COLUMN copying INTEGER;",
    /* 5: drafts (draft.h) */
    "ALTER TABLE j.entry ADD COLUMN sent TEXT;"
    "CREATE UNIQUE INDEX j.entry_sent ON entry(parent, sent) WHERE sent IS NOT NULL;"
    "CREATE TABLE j.draft(node INTEGER PRIMARY KEY, account INTEGER NOT NULL, session TEXT,"
    " serial INTEGER NOT NULL DEFAULT 1, deaths INTEGER NOT NULL DEFAULT 0,"
    " again INTEGER NOT NULL DEFAULT 0, quiet INTEGER NOT NULL DEFAULT 0,"
    " wish INTEGER NOT NULL DEFAULT 0, changed INTEGER NOT NULL, opened INTEGER NOT NULL DEFAULT 0,"
    " refused TEXT);"
    /* what the service cannot remove, and the user does not want to see */
    "CREATE TABLE j.forgotten(account INTEGER, rid TEXT, PRIMARY KEY(account, rid)) WITHOUT ROWID;"
    "CREATE TABLE j.session(id INTEGER PRIMARY KEY, account INTEGER NOT NULL, session TEXT NOT NULL,"
    " not_before INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0);",
    /* 6: the few that are no uploads are found among many that are */
    "CREATE INDEX j.entry_other ON entry(state, not_before) WHERE op<>1;",
    /* 7: what a removal may be the source of */
    "CREATE INDEX j.entry_size ON entry(size) WHERE op=1;",
    /* 8: what the backends must not forget (struct pm_kv) */
    ("CREATE TABLE j.own(account INTEGER, key TEXT, value TEXT NOT NULL, PRIMARY KEY(account, key))"
     " WITHOUT ROWID;")};

/* Which nodes are not shown where their list has them, until when by pm_now_ms() (hidden.h). */
#define HIDDEN_SCHEMA "CREATE TEMP TABLE hidden(node INTEGER PRIMARY KEY, until INTEGER NOT NULL);"

/* What a list brings is put here first: it replaces the known list only when it came whole. */
static const char stage_schema[] =
    "CREATE TEMP TABLE stage(list INTEGER, seq INTEGER, rid TEXT, rname TEXT, name TEXT,"
    " kind INTEGER, size INTEGER, mtime INTEGER, btime INTEGER, version TEXT, state TEXT,"
    " settling INTEGER, fields TEXT, PRIMARY KEY(list, seq)) WITHOUT ROWID;"
    "CREATE INDEX temp.stage_rid ON stage(list, rid);"
    HIDDEN_SCHEMA;

/* Or a negative errno. */
static int version_of(sqlite3 *sql, const char *pragma)
{
    sqlite3_stmt *st = NULL;
    int           rc = sqlite3_prepare_v2(sql, pragma, -1, &st, NULL);
    int           version;

    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    version = rc == SQLITE_ROW ? sqlite3_column_int(st, 0) : pm_db_errno(sql, rc);
    sqlite3_finalize(st);
    return version;
}

static int exec(sqlite3 *sql, const char *text)
{
    return pm_db_errno(sql, sqlite3_exec(sql, text, NULL, NULL, NULL));
}

/* Makes one schema ("main" or "j"), or brings it up to date, in one transaction. */
static int migrate(sqlite3 *sql, const char *name, const char *const *schema, int want,
                   const char *file, char *why, size_t why_len)
{
    char text[64];
    int  have;
    int  err;

    snprintf(text, sizeof(text), "PRAGMA %s.user_version", name);
    have = version_of(sql, text);

    if (have < 0) {
        if (have == -EIO)
            snprintf(why, why_len, "%s is damaged", file);
        return have;
    }
    if (have > want) {
        snprintf(why, why_len, "%s is of a newer polymount (schema %d, this one knows %d)", file,
                 have, want);
        return -EPROTO;
    }
    if (have == want)
        return 0;
    err = exec(sql, "BEGIN");
    for (int i = have; i < want && !err; i++)
        err = exec(sql, schema[i]);
    snprintf(text, sizeof(text), "PRAGMA %s.user_version=%d", name, want);
    if (!err)
        err = exec(sql, text);
    if (!err)
        err = exec(sql, "COMMIT");
    return err;
}

/* What step 3 of the index takes to the journal is there before it goes here: the two files have no
 * commit in common. */
static int take_along(sqlite3 *sql)
{
    int have = version_of(sql, "PRAGMA main.user_version");

    if (have < 1 || have > 2)
        return have < 0 ? have : 0;
    return exec(sql, "INSERT OR IGNORE INTO j.meta(key, value) SELECT key, value FROM main.meta WHERE key"
                     " IN ('machine', 'era', 'durable')");
}

int pm_schema_prepare(sqlite3 *sql, char *why, size_t why_len)
{
    int err = migrate(sql, "j", journal_schema, PM_COUNT(journal_schema), "journal.db", why, why_len);

    if (!err)
        err = take_along(sql);
    if (!err)
        err = migrate(sql, "main", index_schema, PM_COUNT(index_schema), "index.db", why, why_len);
    if (!err)
        err = exec(sql, "PRAGMA main.journal_mode=WAL; PRAGMA j.journal_mode=WAL;"
                        "PRAGMA main.synchronous=NORMAL; PRAGMA j.synchronous=NORMAL;"
                        "PRAGMA main.journal_size_limit=4194304; PRAGMA j.journal_size_limit=4194304;"
                        "PRAGMA wal_autocheckpoint=0;");
    return err ? err : exec(sql, stage_schema);
}

int pm_schema_look(sqlite3 *sql)
{
    return exec(sql, HIDDEN_SCHEMA);
}

bool pm_schema_is_ours(sqlite3 *sql)
{
    return version_of(sql, "PRAGMA j.user_version") == PM_COUNT(journal_schema) &&
           version_of(sql, "PRAGMA main.user_version") == PM_COUNT(index_schema);
}
