#include "cache/merge.h"

#include "cache/draft.h"
#include "cache/journal.h"
#include "cache/kept.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BATCH     256 /* rows a transaction: the database's lock is not held for a whole list */
#define RAW_MAX   1024 /* a longer raw name is refused */
#define MISSING_KEPT 2 /* missing for good, but a last copy is here: it stays */
#define NEWS_MAX  512 /* more changes than this are told as one: the folder */

enum news_kind { ENTRY, CONTENT, ATTRS, SUPERSEDED, BASE_LOST, ADOPTED, GONE };

/* What to do and tell when the transaction is over. */
struct news {
    enum news_kind kind;
    pm_node        node; /* ENTRY: the folder */
    char           text[PM_NAME_MAX + 1]; /* ENTRY: the name, or "" of one that only came;
                                            ADOPTED: the version */
};

struct pm_merge {
    struct pm_cache *cache;
    struct pm_row    folder;
    const struct pm_account *account;
    int64_t          list; /* key of its rows in the stage */
    int64_t          began;
    int64_t          count; /* rows staged */
    struct pm_entry *held[BATCH]; /* not staged yet */
    size_t           nheld;
    struct news      news[BATCH * 3];
    size_t           nnews;
    size_t           told;
    bool             changed; /* a name came or went */
    bool (*touched)(void *arg, const char *rid);
    void *arg;
};

int pm_merge_open(struct pm_cache *c, const struct pm_account *account,
                  const struct pm_row *folder, int64_t began, struct pm_merge **out)
{
    struct pm_merge *m = calloc(1, sizeof(*m));

    if (!m)
        return -ENOMEM;
    m->cache = c;
    m->folder = *folder;
    m->account = account;
    m->began = began;
    m->list = (int64_t)(intptr_t)m; /* unique among the lists under way */
    *out = m;
    return 0;
}

int pm_merge_rid(const struct pm_entry *e, char out[PM_NAME_MAX + 1])
{
    int n = *e->id ? snprintf(out, PM_NAME_MAX + 1, "%s", e->id)
                   : snprintf(out, PM_NAME_MAX + 1, PM_RID_PATH "%s", e->path);

    return n > PM_NAME_MAX ? -EINVAL : 0;
}

/* --- putting aside */

static void stage_one(struct pm_merge *m, const struct pm_entry *e)
{
    char name[PM_NAME_MAX + 1];
    char rid[PM_NAME_MAX + 1];

    const char *version = e->kind == PM_LINK ? e->target : e->version;
    const char *fields = e->fields ? e->fields : "";

    if (strlen(e->name) > RAW_MAX || strlen(version) > PM_NAME_MAX ||
        strlen(fields) > PM_FIELDS_MAX || pm_merge_rid(e, rid)) {
        pm_log(PM_WARN, "list of folder %llu: an entry with absurdly long fields left out",
               (unsigned long long)m->folder.id);
        return;
    }
    pm_name_show(e->name, name);
    pm_db_run(m->cache->db,
              "INSERT INTO temp.stage(list, seq, rid, rname, name, kind, size, mtime, btime,"
              " version, state, settling, fields) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)",
              "iisssiziissis", m->list, m->count++, rid, e->name, name, (int64_t)e->kind,
              (int64_t)e->size, e->mtime_ms, e->btime_ms, version, e->state,
              (int64_t)e->settling, fields);
}

static int stage_held(struct pm_merge *m)
{
    pm_db_begin(m->cache->db);
    for (size_t i = 0; i < m->nheld; i++) {
        stage_one(m, m->held[i]);
        free(m->held[i]);
    }
    m->nheld = 0;
    return pm_db_end(m->cache->db, 0);
}

int pm_merge_add(void *arg, const struct pm_entry *e)
{
    struct pm_merge *m = arg;

    m->held[m->nheld] = pm_entry_dup(e);
    if (!m->held[m->nheld])
        return -ENOMEM;
    return ++m->nheld == BATCH ? stage_held(m) : 0;
}

void pm_merge_free(struct pm_merge *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->nheld; i++)
        free(m->held[i]);
    if (m->count) {
        pm_db_begin(m->cache->db);
        pm_db_run(m->cache->db, "DELETE FROM temp.stage WHERE list=?1", "i", m->list);
        pm_db_end(m->cache->db, 0);
    }
    free(m);
}

/* --- telling */

static void note(struct pm_merge *m, enum news_kind kind, pm_node node, const char *text)
{
    struct news *n;

    if (kind == ENTRY)
        m->changed = true;
    if (m->nnews == PM_COUNT(m->news))
        return; /* cannot be: a row makes at most three */
    n = &m->news[m->nnews++];
    n->kind = kind;
    n->node = node;
    snprintf(n->text, sizeof(n->text), "%s", text);
}

/* A node is about to come to this name of the folder. What the kernel may have under it is told
 * only if something was there: a program may stand in what it looked up a moment ago. */
static void note_coming(struct pm_merge *m, pm_node node, const char *name)
{
    pm_node holder = pm_node_listed(m->cache->db, m->folder.id, name);

    note(m, ENTRY, m->folder.id, holder && holder != node ? name : "");
}

static void tell_one(struct pm_merge *m, const struct news *n)
{
    struct pm_cache *c = m->cache;

    switch (n->kind) {
    case ENTRY:
        if (!*n->text || m->told++ < NEWS_MAX)
            pm_tell_entry(c, n->node, n->text);
        break;
    case SUPERSEDED:
        pm_store_superseded(c->store, n->node);
        pm_tell_node(c, n->node, true);
        break;
    case BASE_LOST: pm_store_lose_copies(c->store, n->node); break;
    case ADOPTED: pm_store_adopt(c->store, n->node, n->text); break;
    case GONE: pm_store_drop(c->store, n->node); break;
    case CONTENT: pm_tell_node(c, n->node, true); break;
    case ATTRS: pm_tell_node(c, n->node, false); break;
    }
}

static void tell(struct pm_merge *m)
{
    for (size_t i = 0; i < m->nnews; i++)
        tell_one(m, &m->news[i]);
    m->nnews = 0;
}

/* --- one row */

struct staged {
    struct pm_entry e;
    char            rid[PM_NAME_MAX + 1];
    char            raw[RAW_MAX + 1];
    char            name[PM_NAME_MAX + 1];
    char            version[PM_NAME_MAX + 1];
    char            state[64];
    char            fields[PM_FIELDS_MAX + 1];
};

/* Reads row `seq`; false when it is not there. */
static bool read_staged(struct pm_merge *m, int64_t seq, struct staged *s)
{
    struct sqlite3_stmt *st = pm_db_query(
        m->cache->db,
        "SELECT rid, rname, name, kind, size, mtime, btime, version, state, settling,"
        " fields FROM temp.stage WHERE list=?1 AND seq=?2",
        "ii", m->list, seq);

    if (!pm_db_row(m->cache->db, st))
        return false;
    pm_col_copy(st, 0, s->rid, sizeof(s->rid));
    pm_col_copy(st, 1, s->raw, sizeof(s->raw));
    pm_col_copy(st, 2, s->name, sizeof(s->name));
    pm_col_copy(st, 7, s->version, sizeof(s->version));
    pm_col_copy(st, 8, s->state, sizeof(s->state));
    pm_col_copy(st, 10, s->fields, sizeof(s->fields));
    s->e = (struct pm_entry){.kind = (enum pm_kind)pm_col_int(st, 3), .id = s->rid, .name = s->raw,
                             .version = s->version, .state = s->state, .root = "", .path = "",
                             .target = s->version, .fields = s->fields,
                             .size = pm_col_null(st, 4) ? PM_SIZE_UNKNOWN
                                                        : (uint64_t)pm_col_int(st, 4),
                             .mtime_ms = pm_col_int(st, 5), .btime_ms = pm_col_int(st, 6),
                             .settling = pm_col_int(st, 9) != 0};
    pm_db_reset(st);
    return true;
}

static bool is_unsent(struct pm_db *db, pm_node node)
{
    return pm_db_int(db, 0, "SELECT 1 FROM j.entry WHERE node=?1 AND op=1", "i", (int64_t)node);
}

/* Does another entry of this same list have the name, and hold it? Then this one gets a second. */
static void make_unique(struct pm_merge *m, pm_node node, struct staged *s)
{
    pm_node holder = pm_node_listed(m->cache->db, m->folder.id, s->name);

    if (!holder || holder == node)
        return;
    if (pm_db_int(m->cache->db, 0,
                  "SELECT 1 FROM temp.stage WHERE list=?1 AND rid=(SELECT rid FROM node WHERE"
                  " id=?2) AND name=?3 LIMIT 1",
                  "iis", m->list, (int64_t)holder, s->name))
        pm_name_show_duplicate(s->raw, s->rid, s->name);
}

static int merge_new(struct pm_merge *m, struct staged *s)
{
    struct pm_db *db = m->cache->db;
    pm_node       node;
    int           err;

    make_unique(m, 0, s);
    err = pm_node_make(db, m->folder.account, s->e.kind, NULL, &node);
    if (!err)
        err = pm_node_describe(db, node, &s->e);
    note_coming(m, node, s->name);
    return err ? err : pm_node_place(db, node, m->folder.id, s->name, s->raw);
}

/* The version moved: our own upload being converted, or somebody's new content? */
static int merge_version(struct pm_merge *m, const struct pm_row *row, struct staged *s)
{
    struct pm_db *db = m->cache->db;
    bool          unsent = is_unsent(db, row->id);
    bool          adopted = row->own && row->settling && s->e.size == row->rsize;
    int           err;

    err = pm_node_describe(db, row->id, &s->e);
    if (adopted) { /* entries that start from the old name of this version do from the new one */
        pm_db_run(db, "UPDATE j.entry SET base=?2 WHERE node=?1 AND base=?3", "iss",
                  (int64_t)row->id, s->version, row->version);
        note(m, ADOPTED, row->id, s->version);
        return err ? err : pm_store_adopt_rows(db, row->id, s->version);
    }
    if (row->kind != PM_FOLDER)
        pm_db_run(db, "UPDATE node SET own=0 WHERE id=?1", "i", (int64_t)row->id);
    if (!unsent) {
        pm_db_run(db, "UPDATE node SET lmtime=NULL, latime=NULL WHERE id=?1", "i",
                  (int64_t)row->id);
        note(m, SUPERSEDED, row->id, "");
    } else if (!row->settling || s->e.size != row->rsize) {
        note(m, BASE_LOST, row->id, ""); /* of a copy, or of its backup */
    }
    return err;
}

static bool same_description(const struct pm_row *row, const struct pm_entry *e)
{
    return row->rsize == e->size && row->mtime_ms == e->mtime_ms && row->btime_ms == e->btime_ms &&
           row->settling == e->settling && row->missing == 0 && !strcmp(row->state, e->state);
}

static bool same_fields(struct pm_merge *m, pm_node node, const struct staged *s)
{
    return !pm_backend_has_fields(m->account->backend) ||
           pm_db_int(m->cache->db, 0, "SELECT 1 FROM node WHERE id=?1 AND ifnull(fields, '')=?2", "is",
                     (int64_t)node, s->fields);
}

static int merge_known(struct pm_merge *m, const struct pm_row *row, struct staged *s)
{
    struct pm_db *db = m->cache->db;
    int           err = 0;

    if (row->missing == MISSING_KEPT)
        pm_db_run(db, "UPDATE node SET missing=0, error=NULL WHERE id=?1", "i", (int64_t)row->id);
    if (row->own && row->kind == PM_FOLDER && pm_draft_has(m->account->backend))
        snprintf(s->name, sizeof(s->name), "%s", row->name); /* published here: under the user's name */
    make_unique(m, row->id, s);
    if (row->parent != m->folder.id || strcmp(row->name, s->name) != 0) {
        if (row->parent)
            note(m, ENTRY, row->parent, row->name);
        note_coming(m, row->id, s->name);
        err = pm_node_place(db, row->id, m->folder.id, s->name, s->raw);
    }
    if (err)
        return err;
    if (!pm_backend_same_version(m->account->backend, row->version, s->version))
        return merge_version(m, row, s);
    if (strcmp(row->version, s->version) != 0)
        note(m, ADOPTED, row->id, s->version);
    if (is_unsent(db, row->id) && row->rsize == PM_SIZE_UNKNOWN) /* the index was made anew */
        err = pm_db_run(db, "UPDATE node SET rsize=?2 WHERE id=?1", "iz", (int64_t)row->id,
                        (int64_t)s->e.size);
    if (err)
        return err;
    if ((same_description(row, &s->e) && !strcmp(row->version, s->version) &&
         same_fields(m, row->id, s)) ||
        is_unsent(db, row->id))
        return pm_db_run(db, "UPDATE node SET missing=0 WHERE id=?1 AND missing>0", "i",
                         (int64_t)row->id);
    note(m, ATTRS, row->id, "");
    return pm_node_describe(db, row->id, &s->e);
}

static int merge_row(struct pm_merge *m, struct staged *s)
{
    struct pm_db *db = m->cache->db;
    struct pm_row row;
    pm_node       node = pm_node_by_rid(db, m->folder.account, s->rid);

    if (m->touched(m->arg, s->rid))
        return 0;
    if (!node && pm_draft_is_forgotten(db, m->folder.account, s->rid))
        return 0;
    if (!node)
        return merge_new(m, s);
    if (pm_node_get(db, node, &row))
        return -EIO;
    if (row.kind == s->e.kind)
        return merge_known(m, &row, s);
    if (row.parent)
        note(m, ENTRY, row.parent, row.name);
    pm_node_detach(db, node); /* an id that changed its kind: not the thing we knew */
    return merge_new(m, s);
}

static int merge_batch(struct pm_merge *m, int64_t *seq)
{
    struct pm_db *db = m->cache->db;
    struct staged s;
    int           err = 0;

    pm_db_begin(db);
    for (int i = 0; i < BATCH && !err && read_staged(m, *seq, &s); i++) {
        err = merge_row(m, &s);
        (*seq)++;
    }
    err = pm_db_end(db, err);
    if (!err)
        tell(m);
    return err;
}

/* --- what the list lacks */

struct absent {
    pm_node node;
    int     missing;
    char    name[PM_NAME_MAX + 1];
    char    rid[PM_NAME_MAX + 1];
};

static size_t find_absent(struct pm_merge *m, pm_node after, struct absent out[BATCH])
{
    struct pm_db        *db = m->cache->db;
    size_t               n = 0;
    struct sqlite3_stmt *st = pm_db_query(
        db,
        "SELECT id, missing, name, rid FROM node WHERE parent=?1 AND id>?2 AND NOT EXISTS"
        " (SELECT 1 FROM temp.stage s WHERE s.list=?3 AND s.rid=node.rid) ORDER BY id LIMIT 256",
        "iii", (int64_t)m->folder.id, (int64_t)after, m->list);

    while (pm_db_row(db, st)) {
        out[n].node = (pm_node)pm_col_int(st, 0);
        out[n].missing = (int)pm_col_int(st, 1);
        pm_col_copy(st, 2, out[n].name, sizeof(out[n].name));
        pm_col_copy(st, 3, out[n].rid, sizeof(out[n].rid));
        n++;
    }
    return n;
}

/* Missing once it may be the list's mistake; missing twice it is gone. */
static void merge_absent(struct pm_merge *m, const struct absent *a)
{
    struct pm_db *db = m->cache->db;

    if (m->touched(m->arg, a->rid))
        return;
    if (!a->missing || pm_journal_below(db, a->node)) { /* unsent work in it will make it anew */
        pm_db_run(db, "UPDATE node SET missing=1 WHERE id=?1", "i", (int64_t)a->node);
        return;
    }
    if (pm_kept_has(db, a->node)) {
        pm_db_run(db,
                  "UPDATE node SET missing=?2, error='the service does not list it any more; what is"
                  " here may be the last copy' WHERE id=?1 AND missing<>?2",
                  "ii", (int64_t)a->node, (int64_t)MISSING_KEPT);
        return;
    }
    note(m, ENTRY, m->folder.id, a->name);
    if (is_unsent(db, a->node)) {
        pm_node_place(db, a->node, 0, "", "");
        return;
    }
    pm_node_detach(db, a->node);
    note(m, GONE, a->node, "");
}

static int merge_all_absent(struct pm_merge *m)
{
    struct absent *a = calloc(BATCH, sizeof(*a));
    pm_node        after = 0;
    size_t         n = 1;
    int            err = 0;

    if (!a)
        return -ENOMEM;
    while (n && !err) {
        pm_db_begin(m->cache->db);
        n = find_absent(m, after, a);
        for (size_t i = 0; i < n; i++)
            merge_absent(m, &a[i]);
        err = pm_db_end(m->cache->db, 0);
        if (n)
            after = a[n - 1].node;
        if (!err)
            tell(m);
    }
    free(a);
    return err;
}

static int set_known(struct pm_merge *m)
{
    pm_db_begin(m->cache->db);
    return pm_db_end(m->cache->db,
                     pm_db_run(m->cache->db,
                               "INSERT OR REPLACE INTO list(node, fetched) VALUES(?1, ?2)", "ii",
                               (int64_t)m->folder.id, m->began));
}

int pm_merge_apply(struct pm_merge *m, bool (*touched)(void *arg, const char *rid), void *arg)
{
    int64_t seq = 0;
    int     err = stage_held(m);

    m->touched = touched;
    m->arg = arg;
    while (!err && seq < m->count)
        err = merge_batch(m, &seq);
    if (!err)
        err = merge_all_absent(m);
    if (!err)
        err = set_known(m);
    if (m->changed)
        pm_tell_node(m->cache, m->folder.id, true);
    return err;
}
