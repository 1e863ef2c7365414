#include "cache/link.h"

#include "cache/draft.h"

#include <errno.h>
#include <string.h>

#define BIT (UINT64_C(1) << 62)

/* The folder with this address in the account's root, shown there by another name. In a transaction. */
static int find(struct pm_cache *c, pm_node root, const char *name, pm_node *out)
{
    char          shown[PM_NAME_MAX + 1];
    struct pm_row row;
    pm_node       above = 0;

    if (pm_node_get(c->db, root, &row) || row.parent != PM_NODE_ROOT ||
        !pm_draft_account(c, row.account))
        return -ENOENT;
    *out = pm_node_by_rid(c->db, row.account, name);
    if (!*out)
        *out = (pm_node)pm_db_int(c->db, 0,
                                  "SELECT id FROM node WHERE parent=?1 AND rname=?2 AND rid IS NOT NULL"
                                  " AND kind=0 LIMIT 1",
                                  "is", (int64_t)root, name);
    if (!*out || pm_node_get(c->db, *out, &row) || row.kind != PM_FOLDER ||
        pm_shown_place(c->db, *out, &above, shown) || above != root || !strcmp(shown, name))
        return -ENOENT;
    return 0;
}

int pm_link_find(struct pm_cache *c, pm_node parent, const char *name, pm_node *folder)
{
    pm_node found = 0;
    int     err;

    if (!pm_draft_any(c))
        return -ENOENT;
    pm_db_begin(c->db);
    err = pm_db_end(c->db, find(c, parent, name, &found));
    if (!err && folder)
        *folder = found;
    return err;
}

/* Of a link that the service's list has. */
static int read_listed(struct pm_cache *c, pm_node node, char out[256])
{
    struct pm_row row;
    int           err;

    pm_db_begin(c->db);
    err = pm_db_end(c->db, pm_node_get(c->db, node, &row));
    if (err)
        return err == -ENOENT ? -ESTALE : err;
    if (row.kind != PM_LINK)
        return -EINVAL;
    memcpy(out, row.version, sizeof(row.version));
    return 0;
}

int pm_tree_readlink(struct pm_cache *c, pm_node node, char out[256])
{
    pm_node above;
    int     err;

    if (!pm_link_is(node))
        return read_listed(c, node, out);
    pm_db_begin(c->db);
    err = pm_db_end(c->db, pm_shown_place(c->db, node & ~BIT, &above, out));
    return err == -ENOENT ? -ESTALE : err;
}

int pm_link_attr(struct pm_cache *c, pm_node folder, struct pm_attr *out)
{
    char target[PM_NAME_MAX + 1];
    int  err = pm_tree_getattr(c, folder & ~BIT, out);

    out->node = folder | BIT;
    if (!err)
        err = pm_tree_readlink(c, out->node, target);
    if (err)
        return err;
    out->kind = PM_LINK;
    out->described = true;
    out->mode = out->uid = out->gid = UINT32_MAX;
    out->size = strlen(target);
    out->content = 0;
    return 0;
}
