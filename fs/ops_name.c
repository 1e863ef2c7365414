/* Lookup, and the changes of names. All know their folder's list: the kernel looked up first. Only
 * where the list was dropped since do they wait for it, as a lookup does. */
#include "fs/ops.h"

#include "fs/special.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct named {
    struct pm_pending     p;
    struct pm_mount      *m;
    int (*change)(struct named *n);
    pm_node               parent, new_parent; /* new_parent: rename's, else 0 */
    unsigned              flags;
    struct pm_owner       owner;
    struct fuse_file_info fi; /* create's */
    struct pm_file       *file; /* create's, until answered */
    struct pm_attr        attr;
    char                 *new_name; /* behind name */
    char                  name[];
};

static struct named *named_of(struct pm_pending *p)
{
    return container_of(p, struct named, p);
}

static struct named *named_new(fuse_req_t req, const struct pm_pending_op *op, pm_node parent,
                               const char *name, const char *new_name)
{
    struct pm_mount *m = pm_ops_mount(req);
    size_t           len = strlen(name) + 1, new_len = new_name ? strlen(new_name) + 1 : 0;
    struct named    *n = pm_pending_new(m->pendings, req, op, sizeof(*n) + len + new_len);

    if (!n)
        return NULL;
    n->m = m;
    n->parent = parent;
    memcpy(n->name, name, len);
    n->new_name = n->name + len;
    if (new_name)
        memcpy(n->new_name, new_name, new_len);
    return n;
}

/* `.Trash` and `.Trash-1000`: where none can be made, file managers offer to delete instead. One that
 * the service has is a folder like others. */
static bool is_trash(const char *name)
{
    return strncmp(name, ".Trash", 6) == 0 && (name[6] == '\0' || name[6] == '-');
}

/* Replies to changes that no cache need hear of; `makes`: there is to be something of this name. True:
 * replied. */
static bool refused(fuse_req_t req, fuse_ino_t parent, const char *name, bool makes)
{
    if (!pm_special_claims(parent, name) && !(makes && is_trash(name)))
        return false;
    pm_ops_reply(req, -EPERM);
    return true;
}

static void answer_err(struct pm_pending *p, ssize_t res)
{
    pm_ops_reply(p->req, res);
}

static void answer_entry(struct pm_pending *p, ssize_t res)
{
    if (res == 0)
        pm_ops_reply_entry(named_of(p)->m, p->req, &named_of(p)->attr, NULL);
    else
        pm_ops_reply(p->req, res);
}

/* What was done in a folder moves its times. */
static int change_now(struct named *n)
{
    int err = n->change(n);

    if (err)
        return err;
    if (n->new_parent != n->parent)
        pm_tree_touch(n->m->cache, n->parent, NULL);
    if (n->new_parent)
        pm_tree_touch(n->m->cache, n->new_parent, n->new_name);
    return 0;
}

/* Makes the change; where a folder's list is not known, once more when it is. */
static ssize_t attempt_change(struct pm_pending *p)
{
    struct named *n = named_of(p);
    int           err = change_now(n);

    if (err != -EAGAIN)
        return err;
    err = pm_tree_ready(n->m->cache, n->parent, &p->waiter);
    if (err == 0 && n->new_parent)
        err = pm_tree_ready(n->m->cache, n->new_parent, &p->waiter);
    return err ? err : change_now(n);
}

static const struct pm_pending_op change_op = { PM_WAIT_LOOKUP, attempt_change, answer_err };
static const struct pm_pending_op make_op = { PM_WAIT_LOOKUP, attempt_change, answer_entry };

/* --- lookup -------------------------------------------------------------------------------- */

static ssize_t attempt_lookup(struct pm_pending *p)
{
    struct named *n = named_of(p);

    return pm_tree_lookup(n->m->cache, n->parent, n->name, &p->waiter, &n->attr);
}

static const struct pm_pending_op lookup_op = { PM_WAIT_LOOKUP, attempt_lookup, answer_entry };

void pm_ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct named *n;

    if (pm_special_claims(parent, name)) {
        pm_special_lookup(pm_ops_mount(req), req, parent, name);
        return;
    }
    n = named_new(req, &lookup_op, parent, name, NULL);
    pm_ops_start(req, n ? &n->p : NULL);
}

/* --- making -------------------------------------------------------------------------------- */

/* The caller's mode as it comes: the kernel has applied the umask. Owner and group are noted only
 * where they are not the mounter's anyway. */
static struct pm_owner owner_of(fuse_req_t req, mode_t mode)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    const struct pm_mount *m = pm_ops_mount(req);

    return (struct pm_owner){
        .mode = mode & (S_ISDIR(mode) ? 07777 : 01777),
        .uid = ctx->uid == m->uid ? UINT32_MAX : ctx->uid,
        .gid = ctx->gid == m->gid ? UINT32_MAX : ctx->gid,
    };
}

static int change_create(struct named *n)
{
    return pm_change_create(n->m->cache, n->parent, n->name, &n->owner, &n->attr);
}

static int change_create_open(struct named *n)
{
    return pm_change_create_open(n->m->cache, n->parent, n->name, &n->owner, &n->attr);
}

static int change_mkdir(struct named *n)
{
    return pm_change_mkdir(n->m->cache, n->parent, n->name, &n->owner, &n->attr);
}

static void start_making(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                         int (*change)(struct named *n))
{
    struct named *n = named_new(req, &make_op, parent, name, NULL);

    if (n) {
        n->change = change;
        n->owner = owner_of(req, mode);
    }
    pm_ops_start(req, n ? &n->p : NULL);
}

void pm_ops_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    if (!refused(req, parent, name, true))
        start_making(req, parent, name, mode | S_IFDIR, change_mkdir);
}

void pm_ops_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    (void)rdev;
    if (!S_ISREG(mode)) {
        pm_publish_refused(pm_ops_mount(req)->cache, parent, name, "there are no devices");
        pm_ops_reply(req, -EPERM);
    } else if (!refused(req, parent, name, true))
        start_making(req, parent, name, mode, change_create);
}

/* --- create: make and open in one ------------------------------------------------------------ */

static ssize_t attempt_create(struct pm_pending *p)
{
    struct named *n = named_of(p);
    int           flags = n->fi.flags & (O_ACCMODE | O_TRUNC);
    ssize_t       err = attempt_change(p);
    bool          made = err == 0;

    if (err == -EEXIST && !(n->fi.flags & O_EXCL)) /* it came since the kernel looked */
        err = pm_tree_lookup(n->m->cache, n->parent, n->name, NULL, &n->attr);
    if (err == 0)
        err = pm_file_open(n->m->cache, n->attr.node, flags, &n->file);
    if (err && made) /* nobody will close it */
        pm_change_unlink(n->m->cache, n->parent, n->name);
    return err;
}

static void answer_create(struct pm_pending *p, ssize_t res)
{
    struct named *n = named_of(p);

    if (res == 0)
        res = pm_ops_open_handle(n->m, n->attr.node, n->file, &n->fi);
    if (res != 0)
        pm_ops_reply(p->req, res);
    else if (pm_ops_reply_entry(n->m, p->req, &n->attr, &n->fi) != 0)
        pm_ops_lose_handle(n->m, &n->fi);
}

static const struct pm_pending_op create_op = { PM_WAIT_LOOKUP, attempt_create, answer_create };

void pm_ops_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                   struct fuse_file_info *fi)
{
    struct named *n;

    if (refused(req, parent, name, true))
        return;
    n = named_new(req, &create_op, parent, name, NULL);
    if (n) {
        n->change = (fi->flags & O_ACCMODE) == O_RDONLY ? change_create : change_create_open;
        n->owner = owner_of(req, mode);
        n->fi = *fi;
    }
    pm_ops_start(req, n ? &n->p : NULL);
}

/* --- removing and renaming ------------------------------------------------------------------- */

static int change_unlink(struct named *n)
{
    return pm_change_unlink(n->m->cache, n->parent, n->name);
}

static int change_rmdir(struct named *n)
{
    return pm_change_rmdir(n->m->cache, n->parent, n->name, &n->p.waiter);
}

static int change_rename(struct named *n)
{
    return pm_change_rename(n->m->cache, n->parent, n->name, n->new_parent, n->new_name, n->flags,
                            &n->p.waiter);
}

static void start_removing(fuse_req_t req, fuse_ino_t parent, const char *name,
                           int (*change)(struct named *n))
{
    struct named *n;

    if (refused(req, parent, name, false))
        return;
    n = named_new(req, &change_op, parent, name, NULL);
    if (n)
        n->change = change;
    pm_ops_start(req, n ? &n->p : NULL);
}

void pm_ops_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    start_removing(req, parent, name, change_unlink);
}

void pm_ops_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    start_removing(req, parent, name, change_rmdir);
}

void pm_ops_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
                   const char *newname, unsigned flags)
{
    struct named *n;

    if (flags & ~(unsigned)RENAME_NOREPLACE) {
        pm_ops_reply(req, -EINVAL);
        return;
    }
    if (refused(req, parent, name, false) || refused(req, newparent, newname, true))
        return;
    n = named_new(req, &change_op, parent, name, newname);
    if (n) {
        n->change = change_rename;
        n->new_parent = newparent;
        n->flags = flags;
    }
    pm_ops_start(req, n ? &n->p : NULL);
}
