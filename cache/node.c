#include "cache/node.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 256 /* folders above each other; also what ends a loop in damaged data */

#define COLUMNS                                                                                    \
    "id, account, kind, parent, size, mtime, btime, lmtime, latime, ctime, mode, uid, gid,"        \
    " settling, own, missing, name, rid, version, state, rsize"

static uint32_t column_owner(struct sqlite3_stmt *st, int col)
{
    return pm_col_null(st, col) ? PM_UNSET : (uint32_t)pm_col_int(st, col);
}

static void read_row(struct sqlite3_stmt *st, struct pm_row *r)
{
    r->id = (pm_node)pm_col_int(st, 0);
    r->account = (uint32_t)pm_col_int(st, 1);
    r->kind = (enum pm_kind)pm_col_int(st, 2);
    r->parent = (pm_node)pm_col_int(st, 3);
    r->size = pm_col_null(st, 4) ? PM_SIZE_UNKNOWN : (uint64_t)pm_col_int(st, 4);
    r->mtime_ms = pm_col_int(st, 5);
    r->btime_ms = pm_col_int(st, 6);
    r->lmtime_ns = pm_col_int(st, 7);
    r->latime_ns = pm_col_int(st, 8);
    r->ctime_ns = pm_col_int(st, 9);
    r->mode = column_owner(st, 10);
    r->uid = column_owner(st, 11);
    r->gid = column_owner(st, 12);
    r->settling = pm_col_int(st, 13) != 0;
    r->own = pm_col_int(st, 14) != 0;
    r->missing = (int)pm_col_int(st, 15);
    pm_col_copy(st, 16, r->name, sizeof(r->name));
    pm_col_copy(st, 17, r->rid, sizeof(r->rid));
    pm_col_copy(st, 18, r->version, sizeof(r->version));
    pm_col_copy(st, 19, r->state, sizeof(r->state));
    r->rsize = pm_col_null(st, 20) ? PM_SIZE_UNKNOWN : (uint64_t)pm_col_int(st, 20);
}

int pm_node_get(struct pm_db *db, pm_node id, struct pm_row *out)
{
    struct sqlite3_stmt *st =
        pm_db_query(db, "SELECT " COLUMNS " FROM node WHERE id=?1", "i", (int64_t)id);

    if (!pm_db_row(db, st))
        return -ENOENT;
    read_row(st, out);
    pm_db_reset(st);
    return 0;
}

pm_node pm_node_listed(struct pm_db *db, pm_node parent, const char *name)
{
    return (pm_node)pm_db_int(db, 0, "SELECT id FROM node WHERE parent=?1 AND name=?2", "is",
                              (int64_t)parent, name);
}

pm_node pm_node_by_rid(struct pm_db *db, uint32_t account, const char *rid)
{
    return (pm_node)pm_db_int(db, 0, "SELECT id FROM node WHERE account=?1 AND rid=?2", "is",
                              (int64_t)account, rid);
}

int pm_node_make(struct pm_db *db, uint32_t account, enum pm_kind kind,
                 const struct pm_owner *owner, pm_node *out)
{
    int64_t now = pm_wall_ms();
    int     err = pm_db_run(db,
                            "INSERT INTO node(account, kind, size, mtime, btime, ctime)"
                                " VALUES(?1, ?2, 0, ?3, ?3, ?3 * 1000000)",
                            "iii", (int64_t)account, (int64_t)kind, now);

    if (err)
        return err;
    *out = (pm_node)pm_db_last_id(db);
    if (!owner)
        return 0;
    return pm_db_run(db, "UPDATE node SET mode=?2, uid=?3, gid=?4 WHERE id=?1", "iiii",
                     (int64_t)*out, (int64_t)owner->mode, (int64_t)owner->uid,
                     (int64_t)owner->gid);
}

int pm_node_place(struct pm_db *db, pm_node id, pm_node parent, const char *name, const char *raw)
{
    int err;

    if (!parent)
        return pm_db_run(db, "UPDATE node SET parent=NULL, name=NULL, rname=NULL WHERE id=?1", "i",
                         (int64_t)id);
    err = pm_db_run(db,
                    "UPDATE node SET parent=NULL, name=NULL, rname=NULL"
                    " WHERE parent=?1 AND name=?2 AND id<>?3",
                    "isi", (int64_t)parent, name, (int64_t)id);
    if (err)
        return err;
    return pm_db_run(db, "UPDATE node SET parent=?2, name=?3, rname=?4, missing=0 WHERE id=?1",
                     "iiss", (int64_t)id, (int64_t)parent, name, strcmp(name, raw) ? raw : NULL);
}

int pm_node_describe(struct pm_db *db, pm_node id, const struct pm_entry *e)
{
    return pm_db_run(db,
                     "UPDATE node SET rid=?2, rsize=?3, mtime=?4, btime=?5, version=?6, state=?7,"
                     " settling=?8, kind=?9, fields=?10, missing=0, size=CASE WHEN EXISTS (SELECT 1 FROM j.entry e WHERE"
                     " e.node=?1 AND e.op=1) OR EXISTS (SELECT 1 FROM j.kept WHERE node=?1) THEN size"
                     " ELSE ?3 END WHERE id=?1",
                     "isziissiis", (int64_t)id, *e->id ? e->id : NULL, (int64_t)e->size, e->mtime_ms,
                     e->btime_ms, e->kind == PM_LINK ? e->target : e->version, e->state,
                     (int64_t)e->settling, (int64_t)e->kind, e->fields && *e->fields ? e->fields : NULL);
}

int pm_node_detach(struct pm_db *db, pm_node id)
{
    return pm_db_run(db,
                     "UPDATE node SET rid=NULL, version='', fields=NULL, own=0, settling=0, parent=NULL,"
                     " name=NULL, rname=NULL WHERE id=?1",
                     "i", (int64_t)id);
}

int pm_node_adopt(struct pm_db *db, pm_node node, const struct pm_row *from)
{
    char                 raw[2048];
    struct sqlite3_stmt *st = pm_db_query(
        db, "SELECT ifnull(rname, name) FROM node WHERE id=?1", "i", (int64_t)from->id);

    if (!pm_db_row(db, st))
        return -ENOENT;
    pm_col_copy(st, 0, raw, sizeof(raw));
    pm_db_reset(st);
    pm_node_detach(db, from->id);
    pm_db_run(db, "UPDATE content SET origin=?2 WHERE origin=?1 OR (node=?1 AND origin IS NULL)",
              "ii", (int64_t)from->id, (int64_t)node);
    pm_db_run(db, "UPDATE j.entry SET source=?2 WHERE source=?1", "ii", (int64_t)from->id,
              (int64_t)node);
    pm_db_run(db, "UPDATE j.entry SET copying=?2 WHERE copying=?1", "ii", (int64_t)from->id,
              (int64_t)node);
    pm_db_run(db, "UPDATE node SET rid=?2, version=?3, settling=?4, own=?5, rsize=?6 WHERE id=?1",
              "issiiz",
              (int64_t)node, *from->rid ? from->rid : NULL, from->version, (int64_t)from->settling,
              (int64_t)from->own, (int64_t)from->rsize);
    return from->parent ? pm_node_place(db, node, from->parent, from->name, raw) : 0;
}

#define ORPHAN                                                                                     \
    " parent IS NULL AND root IS NULL AND id<>1 AND NOT EXISTS (SELECT 1 FROM j.entry e WHERE e.node=node.id)"      \
    " AND NOT EXISTS (SELECT 1 FROM j.entry e WHERE e.source=node.id OR e.copying=node.id)"                              \
    " AND NOT EXISTS (SELECT 1 FROM j.place p WHERE p.node=node.id)"

void pm_node_drop_if_orphan(struct pm_db *db, pm_node id)
{
    pm_db_run(db, "DELETE FROM node WHERE id=?1 AND" ORPHAN, "i", (int64_t)id);
    pm_db_run(db, "DELETE FROM xattr WHERE node=?1 AND NOT EXISTS"
                  " (SELECT 1 FROM node WHERE id=?1)", "i", (int64_t)id);
    pm_db_run(db, "DELETE FROM list WHERE node=?1 AND NOT EXISTS"
                  " (SELECT 1 FROM node WHERE id=?1)", "i", (int64_t)id);
}

void pm_node_drop_orphans(struct pm_db *db)
{
    /* What was in a folder that is gone is in no list any more, whatever the depth. */
    while (pm_db_int(db, 0,
                     "SELECT 1 FROM node WHERE parent IS NOT NULL AND parent NOT IN"
                     " (SELECT id FROM node WHERE parent IS NOT NULL OR root IS NOT NULL OR id=1)"
                     " LIMIT 1",
                     ""))
        if (pm_db_run(db,
                      "UPDATE node SET parent=NULL, name=NULL WHERE parent IS NOT NULL AND parent"
                      " NOT IN (SELECT id FROM node WHERE parent IS NOT NULL OR root IS NOT NULL"
                      " OR id=1)",
                      ""))
            return;
    pm_db_run(db, "DELETE FROM node WHERE" ORPHAN, "");
    pm_db_run(db, "DELETE FROM xattr WHERE node NOT IN (SELECT id FROM node)", "");
    pm_db_run(db, "DELETE FROM list WHERE node NOT IN (SELECT id FROM node)", "");
}

/* --- the shown tree */

static pm_node listed_and_shown(struct pm_db *db, pm_node parent, const char *name)
{
    return (pm_node)pm_db_int(db, 0,
                              "SELECT id FROM node n WHERE parent=?1 AND name=?2 AND NOT EXISTS"
                              " (SELECT 1 FROM temp.hidden h WHERE h.node=n.id)",
                              "is", (int64_t)parent, name);
}

int pm_shown_find(struct pm_db *db, pm_node parent, const char *name, pm_node *id)
{
    int64_t over = pm_db_int(db, -1,
                             "SELECT ifnull(node, 0) FROM j.place WHERE parent=?1 AND name=?2"
                             " ORDER BY entry DESC LIMIT 1",
                             "is", (int64_t)parent, name);

    *id = over >= 0 ? (pm_node)over : listed_and_shown(db, parent, name);
    return *id ? 0 : -ENOENT;
}

/* Is what the known list has at this place hidden by a journal entry's place? */
static bool overlaid(struct pm_db *db, pm_node parent, const char *name)
{
    return pm_db_int(db, 0, "SELECT 1 FROM j.place WHERE parent=?1 AND name=?2 LIMIT 1", "is",
                     (int64_t)parent, name) != 0;
}

int pm_shown_place(struct pm_db *db, pm_node id, pm_node *parent, char name[PM_NAME_MAX + 1])
{
    char                 listed[PM_NAME_MAX + 1];
    struct sqlite3_stmt *st = pm_db_query(
        db,
        "SELECT parent, name FROM j.place p WHERE node=?1 AND entry="
        "(SELECT max(entry) FROM j.place q WHERE q.parent=p.parent AND q.name=p.name)"
        " ORDER BY entry DESC LIMIT 1",
        "i", (int64_t)id);

    if (pm_db_row(db, st)) {
        *parent = (pm_node)pm_col_int(st, 0);
        if (name)
            pm_col_copy(st, 1, name, PM_NAME_MAX + 1);
        pm_db_reset(st);
        return 0;
    }
    st = pm_db_query(db,
                     "SELECT parent, name FROM node WHERE id=?1 AND parent IS NOT NULL AND NOT EXISTS"
                     " (SELECT 1 FROM temp.hidden h WHERE h.node=?1)",
                     "i", (int64_t)id);
    if (!pm_db_row(db, st))
        return -ENOENT;
    *parent = (pm_node)pm_col_int(st, 0);
    pm_col_copy(st, 1, listed, sizeof(listed));
    pm_db_reset(st);
    if (overlaid(db, *parent, listed))
        return -ENOENT;
    if (name)
        memcpy(name, listed, sizeof(listed));
    return 0;
}

/* Puts "/" and `name` before what is in `path`. */
static bool prepend(char **path, const char *name)
{
    char *longer = pm_asprintf("/%s%s", name, *path ? *path : "");

    free(*path);
    *path = longer;
    return longer != NULL;
}

/* Where the known list has a node. */
static int listed_place(struct pm_db *db, pm_node id, pm_node *parent, char name[PM_NAME_MAX + 1])
{
    struct pm_row row;

    if (pm_node_get(db, id, &row) || !row.parent)
        return -ENOENT;
    *parent = row.parent;
    memcpy(name, row.name, sizeof(row.name));
    return 0;
}

static char *path_of(struct pm_db *db, pm_node id, bool or_listed)
{
    char    name[PM_NAME_MAX + 1];
    char   *path = NULL;
    pm_node parent;

    if (id == PM_NODE_ROOT)
        return strdup("/");
    for (int depth = 0; id != PM_NODE_ROOT; depth++, id = parent) {
        int err = pm_shown_place(db, id, &parent, name);

        if (err && or_listed)
            err = listed_place(db, id, &parent, name);
        if (err || depth > DEPTH_MAX || !prepend(&path, name)) {
            free(path);
            return NULL;
        }
    }
    return path;
}

char *pm_shown_path(struct pm_db *db, pm_node id)
{
    return path_of(db, id, false);
}

char *pm_told_path(struct pm_db *db, pm_node id)
{
    return path_of(db, id, true);
}

bool pm_shown_below(struct pm_db *db, pm_node id, pm_node top)
{
    for (int depth = 0; depth <= DEPTH_MAX; depth++) {
        if (id == top)
            return true;
        if (id == PM_NODE_ROOT || pm_shown_place(db, id, &id, NULL))
            return false;
    }
    return false;
}

bool pm_shown_empty(struct pm_db *db, pm_node folder)
{
    return !pm_db_int(db, 0,
                      "SELECT 1 FROM j.place p WHERE p.parent=?1 AND p.node IS NOT NULL AND"
                      " p.entry=(SELECT max(entry) FROM j.place q WHERE q.parent=p.parent"
                      " AND q.name=p.name)"
                      " UNION ALL SELECT 1 FROM node n WHERE n.parent=?1 AND NOT EXISTS"
                      " (SELECT 1 FROM j.place p WHERE p.parent=?1 AND p.name=n.name) AND NOT EXISTS"
                      " (SELECT 1 FROM temp.hidden h WHERE h.node=n.id) LIMIT 1",
                      "i", (int64_t)folder);
}

/* --- for the service */

/* Puts one encoded segment before `path`. */
static bool prepend_segment(char **path, const char *raw)
{
    PM_AUTO(pm_buf) struct pm_buf b = {0};

    pm_buf_urlenc(&b, raw);
    if (*path) {
        pm_buf_str(&b, "/");
        pm_buf_str(&b, *path);
    }
    free(*path);
    *path = pm_buf_take(&b);
    return *path != NULL;
}

/* Walks up the list places to the root; builds the path, copies the root's suffix. */
static int remote_path(struct pm_db *db, pm_node id, char **path, char root[64])
{
    char raw[4096];

    for (int depth = 0; depth <= DEPTH_MAX; depth++) {
        struct sqlite3_stmt *st = pm_db_query(
            db, "SELECT parent, ifnull(rname, name), root FROM node WHERE id=?1", "i", (int64_t)id);
        bool at_root;

        if (!pm_db_row(db, st))
            return -ENOENT;
        id = (pm_node)pm_col_int(st, 0);
        pm_col_copy(st, 1, raw, sizeof(raw));
        at_root = !pm_col_null(st, 2);
        pm_col_copy(st, 2, root, 64);
        pm_db_reset(st);
        if (at_root)
            return 0;
        if (!id)
            return -ENOENT;
        if (!prepend_segment(path, raw))
            return -ENOMEM;
    }
    return -ELOOP;
}

/* What else the service said of it; owned, NULL: nothing. */
static char *read_fields(struct pm_db *db, pm_node id)
{
    struct sqlite3_stmt *st = pm_db_query(
        db, "SELECT fields FROM node WHERE id=?1 AND fields IS NOT NULL", "i", (int64_t)id);
    char *fields = NULL;

    if (pm_db_row(db, st)) {
        fields = pm_col_dup(db, st, 0);
        pm_db_reset(st);
    }
    return fields;
}

int pm_node_entry(struct pm_db *db, pm_node id, struct pm_entry **out)
{
    PM_AUTO(free) char *fields = NULL;
    PM_AUTO(free) char *path = NULL;
    PM_AUTO(free) char *raw = NULL;
    char                root[64] = "";
    struct pm_row       row;
    struct pm_entry     e;
    const char         *last;
    int                 err = pm_node_get(db, id, &row);

    if (!err)
        err = remote_path(db, id, &path, root);
    if (err)
        return err;
    last = path ? strrchr(path, '/') : NULL;
    raw = pm_urldec(last ? last + 1 : path ? path : "");
    if (!raw)
        return -ENOMEM;
    fields = read_fields(db, id);
    e = (struct pm_entry){.kind = row.kind, .settling = row.settling, .root = root,
                          .id = strncmp(row.rid, PM_RID_PATH, strlen(PM_RID_PATH)) != 0 ? row.rid : "",
                          .name = raw, .path = path ? path : "",
                          .target = row.kind == PM_LINK ? row.version : "", .version = row.version,
                          .state = row.state, .fields = fields, .size = row.rsize,
                          .mtime_ms = row.mtime_ms, .btime_ms = row.btime_ms};
    *out = pm_entry_dup(&e);
    return *out ? 0 : -ENOMEM;
}

void pm_row_attr(const struct pm_row *row, pm_node shown_parent, struct pm_attr *out)
{
    int64_t mtime = row->lmtime_ns ? row->lmtime_ns : row->mtime_ms * 1000000;

    *out = (struct pm_attr){
        .node = row->id,
        .parent = shown_parent,
        .kind = row->kind,
        .fixed = row->id == PM_NODE_ROOT || shown_parent == PM_NODE_ROOT,
        .described = row->size != PM_SIZE_UNKNOWN,
        .mode = row->mode,
        .uid = row->uid,
        .gid = row->gid,
        .size = row->kind == PM_FOLDER || row->size == PM_SIZE_UNKNOWN ? 0 : row->size,
        .mtime_ns = mtime,
        .atime_ns = row->latime_ns ? row->latime_ns : mtime,
        .ctime_ns = row->ctime_ns > mtime ? row->ctime_ns : mtime,
        .btime_ns = row->btime_ms * 1000000,
    };
}
