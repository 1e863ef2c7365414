/* Extended attributes that programs set: kept here, with the node. */
#include "cache/state.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

static bool has(struct pm_db *db, pm_node node, const char *name)
{
    return pm_db_int(db, 0, "SELECT 1 FROM xattr WHERE node=?1 AND name=?2", "is", (int64_t)node,
                     name) != 0;
}

static int set(struct pm_db *db, pm_node node, const char *name, const void *value, size_t size,
               int flags)
{
    bool there = has(db, node, name);

    if ((flags & XATTR_CREATE) && there)
        return -EEXIST;
    if ((flags & XATTR_REPLACE) && !there)
        return -ENODATA;
    return pm_db_run(db, "INSERT OR REPLACE INTO xattr(node, name, value) VALUES(?1, ?2, ?3)",
                     "isb", (int64_t)node, name, value, size);
}

int pm_xattr_set(struct pm_cache *c, pm_node node, const char *name, const void *value, size_t size,
                 int flags)
{
    pm_db_begin(c->db);
    return pm_db_end(c->db, set(c->db, node, name, value, size, flags));
}

/* Hands `have` bytes to a caller who has room for `size`; 0 only asks for the size. */
static ssize_t give(void *out, size_t size, const void *from, size_t have)
{
    if (!size)
        return (ssize_t)have;
    if (have > size)
        return -ERANGE;
    if (have)
        memcpy(out, from, have);
    return (ssize_t)have;
}

ssize_t pm_xattr_get(struct pm_cache *c, pm_node node, const char *name, void *value, size_t size)
{
    struct sqlite3_stmt *st;
    ssize_t              n = -ENODATA;
    int                  err;

    pm_db_begin(c->db);
    st = pm_db_query(c->db, "SELECT value FROM xattr WHERE node=?1 AND name=?2", "is",
                     (int64_t)node, name);
    if (pm_db_row(c->db, st)) {
        size_t      len;
        const void *blob = pm_col_blob(st, 0, &len);

        n = give(value, size, blob, len);
        pm_db_reset(st);
    }
    err = pm_db_end(c->db, 0);
    return err ? err : n;
}

ssize_t pm_xattr_list(struct pm_cache *c, pm_node node, char *list, size_t size)
{
    PM_AUTO(pm_buf) struct pm_buf b = {0};
    struct sqlite3_stmt          *st;
    int                           err;

    pm_db_begin(c->db);
    st = pm_db_query(c->db, "SELECT name FROM xattr WHERE node=?1", "i", (int64_t)node);
    while (pm_db_row(c->db, st)) {
        const char *name = pm_col_text(st, 0);

        pm_buf_add(&b, name, strlen(name) + 1);
    }
    err = pm_db_end(c->db, b.failed ? -ENOMEM : 0);
    return err ? err : give(list, size, b.ptr, b.len);
}

int pm_xattr_remove(struct pm_cache *c, pm_node node, const char *name)
{
    int err = -ENODATA;

    pm_db_begin(c->db);
    if (has(c->db, node, name))
        err = pm_db_run(c->db, "DELETE FROM xattr WHERE node=?1 AND name=?2", "is", (int64_t)node,
                        name);
    return pm_db_end(c->db, err);
}
