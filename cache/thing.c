#include "cache/thing.h"

#include "cache/change.h"
#include "cache/hidden.h"
#include "cache/list.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 16
#define OTHERS    64

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

/* --- where else it is shown */

/* The other nodes of the same thing, by their ids, which nothing is to become of: how many. */
static size_t take_others(struct pm_cache *c, const struct pm_row *row, struct pm_row *others)
{
    struct sqlite3_stmt *st;
    char                 base[PM_NAME_MAX + 1];
    pm_node              ids[OTHERS];
    size_t               n = 0, found = 0;

    snprintf(base, sizeof(base), "%.*s", (int)strcspn(row->rid, "@"), row->rid);
    if (!*base || !strncmp(base, PM_RID_PATH, strlen(PM_RID_PATH)) ||
        manner_of(c, row->parent) == PM_MANNER_TREE)
        return 0;
    st = pm_db_query(c->db,
                     "SELECT id FROM node WHERE account=?1 AND (rid=?2 OR (rid>=?2 || '@' AND rid<?2 ||"
                     " 'A')) AND id<>?3 AND NOT EXISTS (SELECT 1 FROM j.entry e WHERE e.node=node.id)"
                     " LIMIT 64",
                     "isi", (int64_t)row->account, base, (int64_t)row->id);
    while (pm_db_row(c->db, st))
        ids[n++] = (pm_node)pm_col_int(st, 0);
    for (size_t i = 0; i < n; i++)
        if (!pm_node_get(c->db, ids[i], &others[found]) && others[found].parent)
            found++;
    return found;
}

int pm_thing_save(struct pm_send *s, const struct pm_row *row)
{
    PM_AUTO(free) struct pm_row *others = calloc(OTHERS, sizeof(*others));
    size_t                       n = 0;
    int                          err;

    if (!others)
        return -ENOMEM;
    pm_db_begin(s->cache->db);
    n = take_others(s->cache, row, others);
    err = pm_db_end(s->cache->db, 0);
    if (!err)
        err = row->kind == PM_FOLDER ? save_below(s, row->id, 0) : 0;
    for (size_t i = 0; i < n && !err; i++)
        err = others[i].kind == PM_FOLDER ? save_below(s, others[i].id, 0)
                                          : pm_send_save_content(s, others[i].id);
    return err;
}

/* All that shows it goes, and what lists it is out of date. */
static void drop_others(struct pm_cache *c, const struct pm_row *row)
{
    PM_AUTO(free) struct pm_row *others = calloc(OTHERS, sizeof(*others));
    size_t                       n;

    if (!others)
        return;
    pm_db_begin(c->db);
    n = take_others(c, row, others);
    for (size_t i = 0; i < n; i++)
        pm_node_detach(c->db, others[i].id);
    if (manner_of(c, row->parent) != PM_MANNER_TREE)
        pm_db_run(c->db,
                  "UPDATE list SET fetched=0 WHERE node<>?2 AND node IN (SELECT id FROM node WHERE"
                  " account=?1 AND rid>='" PM_RID_PATH "' AND rid<'path;')",
                  "ii", (int64_t)row->account, (int64_t)row->parent);
    if (pm_db_end(c->db, 0))
        return; /* the lists tell it later */
    for (size_t i = 0; i < n; i++) {
        if (others[i].kind == PM_FOLDER)
            drop_below(c, others[i].id, 0);
        else
            pm_store_drop(c->store, others[i].id);
        pm_tell_entry(c, others[i].parent, others[i].name);
        pm_tell_node(c, others[i].parent, true);
    }
}

void pm_thing_gone(struct pm_cache *c, const struct pm_row *row, bool whole)
{
    drop_others(c, row);
    if (whole)
        drop_below(c, row->id, 0);
}
