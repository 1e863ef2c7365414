#include "cache/hidden.h"

#include "cache/node.h"

#define BATCH 64

int pm_hidden_add(struct pm_cache *c, pm_node node)
{
    c->hides = true;
    return pm_db_run(c->db, "INSERT OR REPLACE INTO temp.hidden(node, until) VALUES(?1, ?2)", "ii",
                     (int64_t)node, pm_now_ms() + PM_HIDDEN_MS);
}

bool pm_hidden_is(struct pm_db *db, pm_node node)
{
    return pm_db_int(db, 0, "SELECT 1 FROM temp.hidden WHERE node=?1", "i", (int64_t)node) != 0;
}

int pm_hidden_show(struct pm_db *db, pm_node node)
{
    return pm_db_run(db, "DELETE FROM temp.hidden WHERE node=?1", "i", (int64_t)node);
}

int pm_hidden_show_below(struct pm_db *db, pm_node folder)
{
    return pm_db_run(db,
                     "WITH RECURSIVE below(id) AS (SELECT id FROM node WHERE parent=?1 UNION"
                     " SELECT n.id FROM node n JOIN below ON n.parent=below.id)"
                     " DELETE FROM temp.hidden WHERE node IN below",
                     "i", (int64_t)folder);
}

pm_node pm_hidden_at(struct pm_db *db, pm_node parent, const char *name)
{
    return (pm_node)pm_db_int(db, 0,
                              "SELECT id FROM node WHERE parent=?1 AND name=?2 AND id IN"
                              " (SELECT node FROM temp.hidden)",
                              "is", (int64_t)parent, name);
}

/* What is over now; *more: so is something else; *any: something still is hidden. */
static size_t take_due(struct pm_cache *c, struct pm_row out[BATCH], bool *more, bool *any)
{
    struct sqlite3_stmt *st;
    pm_node              due[BATCH];
    size_t               n = 0, found = 0;
    int                  err = 0;

    pm_db_begin(c->db);
    st = pm_db_query(c->db, "SELECT node FROM temp.hidden WHERE until<=?1 LIMIT 64", "i", pm_now_ms());
    while (pm_db_row(c->db, st))
        due[n++] = (pm_node)pm_col_int(st, 0);
    for (size_t i = 0; i < n && !err; i++) {
        err = pm_hidden_show(c->db, due[i]);
        if (!err && !pm_node_get(c->db, due[i], &out[found]) && out[found].parent)
            found++;
    }
    *more = n == BATCH;
    *any = pm_db_int(c->db, 0, "SELECT 1 FROM temp.hidden LIMIT 1", "") != 0;
    if (!pm_db_end(c->db, err))
        return found;
    *more = false;
    *any = true;
    return 0;
}

void pm_hidden_tick(struct pm_cache *c)
{
    PM_AUTO(free) struct pm_row *back = NULL;
    bool                         more = true, any = false;

    if (!c->hides)
        return;
    back = calloc(BATCH, sizeof(*back));
    if (!back)
        return;
    c->hides = false; /* unless somebody hides something meanwhile */
    while (more && !c->stopping) {
        size_t n = take_due(c, back, &more, &any);

        for (size_t i = 0; i < n; i++) {
            pm_tell_entry(c, back[i].parent, back[i].name);
            pm_tell_node(c, back[i].parent, true);
        }
    }
    if (any)
        c->hides = true;
}
