/* Local changes: each is one transaction that journals it; then it is answered. What all of them ask,
 * and attributes, which are kept here. */
#include "cache/change.h"

#include "cache/draft_files.h"
#include "cache/link.h"
#include "cache/list.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* --- may it be? */

static int check_spot(enum pm_spot spot)
{
    return spot == PM_SPOT_COMMITTING ? -EBUSY : spot == PM_SPOT_PUBLISHED ? -EROFS : 0;
}

enum pm_manner pm_change_manner(struct pm_cache *c, const struct pm_row *folder, char *why, size_t size)
{
    PM_AUTO(free) struct pm_entry *e = NULL;
    struct pm_account             *a = pm_account_by_id(c, folder->account);

    *why = '\0';
    if (!a)
        return PM_MANNER_FIXED; /* the mount point itself */
    if (pm_node_entry(c->db, folder->id, &e))
        return PM_MANNER_TREE;
    return pm_backend_manner(a->backend, e, why, size);
}

/* In a transaction: what the folder is, and who may not change it. */
static int look_at_folder(struct pm_cache *c, pm_node folder, struct pm_place *out)
{
    pm_node above;
    int     err = pm_node_get(c->db, folder, &out->row);

    if (err)
        return err == -ENOENT ? -ESTALE : err;
    if (out->row.kind != PM_FOLDER)
        return -ENOTDIR;
    if (folder != PM_NODE_ROOT && pm_shown_place(c->db, folder, &above, NULL))
        return -ENOENT; /* removed while somebody stands in it */
    out->account = pm_account_by_id(c, out->row.account);
    if (!out->account)
        return -EPERM; /* the mount point itself */
    if (out->account->conf->read_only)
        return -EROFS;
    out->spot = pm_draft_spot(c, folder);
    out->manner = pm_change_manner(c, &out->row, out->why, sizeof(out->why));
    return out->manner == PM_MANNER_TREE || out->manner == PM_MANNER_DROPS ? check_spot(out->spot) : 0;
}

int pm_change_look_at_folder(struct pm_cache *c, pm_node folder, struct pm_place *out)
{
    int err;

    pm_db_begin(c->db);
    err = pm_db_end(c->db, look_at_folder(c, folder, out));
    return err ? err : pm_list_want(c, folder, NULL);
}

int pm_change_refuse(struct pm_cache *c, const struct pm_place *folder)
{
    int err = 0;

    pm_db_begin(c->db);
    if (*folder->why)
        err = pm_db_run(c->db, "UPDATE node SET error=?2 WHERE id=?1 AND error IS NOT ?2", "is",
                        (int64_t)folder->row.id, folder->why);
    err = pm_db_end(c->db, err);
    return err ? err : -EPERM;
}

int pm_change_check_folder(struct pm_cache *c, pm_node folder, struct pm_place *out)
{
    int err = pm_change_look_at_folder(c, folder, out);

    if (err && err != -EAGAIN)
        return err;
    if (out->manner == PM_MANNER_FIXED || out->manner == PM_MANNER_THING)
        return pm_change_refuse(c, out);
    return err;
}

int pm_change_check_content(struct pm_cache *c, const struct pm_row *row)
{
    struct pm_row  folder;
    char           why[200] = "";
    enum pm_manner manner = PM_MANNER_TREE;
    int            err = 0;

    pm_db_begin(c->db);
    if (row->parent && !pm_node_get(c->db, row->parent, &folder))
        manner = pm_change_manner(c, &folder, why, sizeof(why));
    if ((manner == PM_MANNER_FIXED || manner == PM_MANNER_THING) && *why)
        err = pm_db_run(c->db, "UPDATE node SET error=?2 WHERE id=?1 AND error IS NOT ?2", "is",
                        (int64_t)row->id, why);
    err = pm_db_end(c->db, err);
    return err ? err : manner == PM_MANNER_FIXED || manner == PM_MANNER_THING ? -EPERM : 0;
}

int pm_change_check_name(struct pm_cache *c, pm_node folder, enum pm_spot spot, const char *name,
                         char *why, size_t size)
{
    size_t len = strlen(name);

    *why = '\0';
    if (spot == PM_SPOT_ROOT)
        return -EPERM;
    if (spot != PM_SPOT_DRAFT || pm_draft_is_litter(spot, name) || pm_name_is_temporary(name) ||
        (len > 4 && !strcasecmp(name + len - 4, ".url")))
        return 0;
    return pm_draft_check_item(c, folder, 0, name, PM_SIZE_UNKNOWN, why, size);
}

void pm_change_cut_off(struct pm_cache *c, pm_node node, bool cancel)
{
    struct pm_content *k = pm_content_peek(c->store, node);

    if (!k)
        return;
    pthread_mutex_lock(&k->lock);
    k->nowhere = true;
    k->marked = false; /* no close will tell the journal */
    if (cancel)
        k->cancel_upload = true;
    pthread_mutex_unlock(&k->lock);
    pm_content_put(k);
}

/* --- attributes, kept here */

static void set_open_mtime(struct pm_cache *c, pm_node node, int64_t mtime_ns)
{
    struct pm_content *k = pm_content_peek(c->store, node);

    if (!k)
        return;
    pthread_mutex_lock(&k->lock);
    k->mtime_ns = mtime_ns;
    pthread_mutex_unlock(&k->lock);
    pm_content_put(k);
}

static bool is_link(struct pm_cache *c, pm_node node)
{
    struct pm_row row;
    int           err;

    if (pm_link_is(node))
        return true;
    pm_db_begin(c->db);
    err = pm_db_end(c->db, pm_node_get(c->db, node, &row));
    return !err && row.kind == PM_LINK;
}

int pm_change_attr(struct pm_cache *c, pm_node node, unsigned set, const struct pm_attr *to)
{
    int err;

    if (is_link(c, node))
        return -EPERM;
    if (set & PM_SET_MTIME)
        set_open_mtime(c, node, to->mtime_ns);
    pm_db_begin(c->db);
    if (set & PM_SET_MODE)
        pm_db_run(c->db, "UPDATE node SET mode=?2 WHERE id=?1", "ii", (int64_t)node,
                  (int64_t)to->mode);
    if (set & PM_SET_UID)
        pm_db_run(c->db, "UPDATE node SET uid=?2 WHERE id=?1", "ii", (int64_t)node,
                  (int64_t)to->uid);
    if (set & PM_SET_GID)
        pm_db_run(c->db, "UPDATE node SET gid=?2 WHERE id=?1", "ii", (int64_t)node,
                  (int64_t)to->gid);
    if (set & PM_SET_MTIME)
        pm_db_run(c->db, "UPDATE node SET lmtime=?2 WHERE id=?1", "ii", (int64_t)node,
                  to->mtime_ns);
    if (set & PM_SET_ATIME)
        pm_db_run(c->db, "UPDATE node SET latime=?2 WHERE id=?1", "ii", (int64_t)node,
                  to->atime_ns);
    err = pm_db_run(c->db, "UPDATE node SET ctime=?2 WHERE id=?1", "ii", (int64_t)node,
                    pm_wall_ms() * 1000000);
    return pm_db_end(c->db, err);
}
