#include "cache/kept.h"

int pm_kept_drop(struct pm_db *db, int64_t content)
{
    if (!pm_db_int(db, 0, "SELECT 1 FROM j.kept WHERE content=?1", "i", content))
        return 0; /* what is written to the journal has its price */
    return pm_db_run(db, "DELETE FROM j.kept WHERE content=?1", "i", content);
}

int pm_kept_add(struct pm_db *db, const struct pm_jentry *put, uint64_t size, const char *rid,
                const char *version, int64_t mtime_ns)
{
    pm_kept_drop(db, put->content);
    return pm_db_run(db,
                     "INSERT INTO j.kept(content, node, account, kind, parent, name, rid, version,"
                     " size, mtime) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                     "iiiiisssii", put->content, (int64_t)put->node, (int64_t)put->account,
                     (int64_t)put->kind, (int64_t)put->parent, put->name, rid, version,
                     (int64_t)size, mtime_ns);
}

bool pm_kept_has(struct pm_db *db, pm_node node)
{
    if (!pm_db_int(db, 0, "SELECT 1 FROM j.kept LIMIT 1", ""))
        return false;
    return pm_db_int(db, 0,
                     "WITH RECURSIVE below(id) AS (SELECT ?1 UNION SELECT node.id FROM node JOIN below"
                     " ON node.parent=below.id) SELECT 1 FROM j.kept WHERE node IN below LIMIT 1",
                     "i", (int64_t)node) != 0;
}
