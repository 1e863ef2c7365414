#include "cache/thing.h"

#include "cache/change.h"
#include "cache/hidden.h"
#include "cache/list.h"

#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 16
#define LINKS     64

static enum pm_manner manner_of(struct pm_cache *c, pm_node folder)
{
    struct pm_row row;
    char          why[200];

    return !pm_node_get(c->db, folder, &row) && row.kind == PM_FOLDER
               ? pm_change_manner(c, &row, why, sizeof(why))
               : PM_MANNER_TREE;
}

bool pm_thing_is(struct pm_cache *c, pm_node folder)
{
    return manner_of(c, folder) == PM_MANNER_THING;
}

int64_t pm_thing_count_beside(struct pm_cache *c, pm_node folder)
{
    return manner_of(c, folder) == PM_MANNER_TREE
               ? 0
               : pm_db_int(c->db, 0, "SELECT count(*) FROM node WHERE parent=?1 AND rid IS NOT NULL",
                           "i", (int64_t)folder);
}

/* --- what is in it */

static int next_below(struct pm_cache *c, pm_node folder, pm_node *child, bool *is_folder)
{
    pm_db_begin(c->db);
    *child = (pm_node)pm_db_int(c->db, 0, "SELECT min(id) FROM node WHERE parent=?1 AND id>?2", "ii",
                                (int64_t)folder, (int64_t)*child);
    *is_folder = pm_db_int(c->db, 0, "SELECT 1 FROM node WHERE id=?1 AND kind=?2", "ii", (int64_t)*child,
                           (int64_t)PM_FOLDER) != 0;
    return pm_db_end(c->db, 0);
}

static int save_below(struct pm_send *s, pm_node folder, int depth)
{
    pm_node child = 0;
    bool    is_folder;
    int     err = next_below(s->cache, folder, &child, &is_folder);

    while (!err && child && depth < DEPTH_MAX) {
        err = is_folder ? save_below(s, child, depth + 1) : pm_send_save_content(s, child);
        if (!err)
            err = next_below(s->cache, folder, &child, &is_folder);
    }
    return err;
}

int pm_thing_save(struct pm_send *s, pm_node folder)
{
    return save_below(s, folder, 0);
}

static void drop_below(struct pm_cache *c, pm_node folder, int depth)
{
    pm_node child = 0;
    bool    is_folder;

    while (!next_below(c, folder, &child, &is_folder) && child && depth < DEPTH_MAX) {
        if (is_folder)
            drop_below(c, child, depth + 1);
        pm_db_begin(c->db);
        pm_hidden_show(c->db, child);
        if (pm_db_end(c->db, pm_node_detach(c->db, child)))
            return; /* the next start finds it */
        if (!is_folder)
            pm_store_drop(c->store, child);
    }
}

/* --- what leads to it */

/* Where the known lists have it, from its root on; NULL: nowhere. Owned. */
static char *path_below_root(struct pm_db *db, const struct pm_row *row)
{
    struct pm_row at = *row;
    char         *path = NULL;

    for (int depth = 0; depth < DEPTH_MAX && at.parent && at.parent != PM_NODE_ROOT; depth++) {
        char *longer = pm_asprintf("%s%s%s", at.name, path ? "/" : "", path ? path : "");

        free(path);
        path = longer;
        if (!path || pm_node_get(db, at.parent, &at))
            break;
    }
    return path;
}

/* Links of services lead up to the root and down from there. How many lead to the path, up to 64. */
static size_t take_links(struct pm_cache *c, const struct pm_row *row, const char *path,
                         struct pm_row *links)
{
    struct sqlite3_stmt *st;
    pm_node              ids[LINKS];
    size_t               n = 0, found = 0;

    st = pm_db_query(c->db,
                     "SELECT id FROM node WHERE account=?1 AND kind=2 AND version IN ('../' || ?2,"
                     " '../../' || ?2, '../../../' || ?2) LIMIT 64",
                     "is", (int64_t)row->account, path);
    while (pm_db_row(c->db, st))
        ids[n++] = (pm_node)pm_col_int(st, 0);
    for (size_t i = 0; i < n; i++) {
        if (!pm_node_get(c->db, ids[i], &links[found]) && links[found].parent)
            found++;
        pm_node_detach(c->db, ids[i]);
    }
    return found;
}

static void drop_links(struct pm_cache *c, const struct pm_row *row)
{
    PM_AUTO(free) struct pm_row *links = calloc(LINKS, sizeof(*links));
    PM_AUTO(free) char          *path = NULL;
    size_t                       n = 0;

    if (!links)
        return;
    pm_db_begin(c->db);
    if (manner_of(c, row->parent) != PM_MANNER_TREE && (path = path_below_root(c->db, row)) != NULL) {
        n = take_links(c, row, path, links);
        pm_db_run(c->db,
                  "UPDATE list SET fetched=0 WHERE node<>?2 AND node IN (SELECT id FROM node WHERE"
                  " account=?1 AND rid>='" PM_RID_PATH "' AND rid<'path;')",
                  "ii", (int64_t)row->account, (int64_t)row->parent);
    }
    if (pm_db_end(c->db, 0))
        return; /* the lists tell it later */
    for (size_t i = 0; i < n; i++) {
        pm_tell_entry(c, links[i].parent, links[i].name);
        pm_tell_node(c, links[i].parent, true);
    }
}

void pm_thing_gone(struct pm_cache *c, const struct pm_row *row, bool whole)
{
    drop_links(c, row);
    if (whole)
        drop_below(c, row->id, 0);
}
