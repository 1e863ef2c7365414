/* Attributes of nodes, and of the whole. */
#include "fs/ops.h"

#include "fs/special.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static void reply_attr(struct pm_mount *m, fuse_req_t req, pm_node node)
{
    struct pm_attr attr;
    struct stat    st;
    int            err = pm_tree_getattr(m->cache, node, &attr);

    if (err) {
        pm_ops_reply(req, err);
        return;
    }
    pm_ops_stat(m, &attr, &st);
    fuse_reply_attr(req, &st, attr.described ? m->timeout : 0);
}

void pm_ops_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct pm_mount *m = pm_ops_mount(req);

    (void)fi;
    if (pm_special_is(ino))
        pm_special_getattr(m, req, ino);
    else
        reply_attr(m, req, ino);
}

/* --- setattr --------------------------------------------------------------------------------- */

static int64_t ns_of(struct timespec ts)
{
    return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static int64_t time_to_set(struct timespec given, bool now)
{
    if (now)
        clock_gettime(CLOCK_REALTIME, &given);
    return ns_of(given);
}

/* Turns FUSE's bits and stat into the cache's. The kernel has checked who may (it mounts with
 * default_permissions). Set-id bits of files are not kept: the mount is nosuid, and so a write or
 * chown need not take them away, which HANDLE_KILLPRIV_V2 promises the kernel. */
static unsigned convert(const struct stat *from, int set, bool folder, struct pm_attr *to)
{
    unsigned what = 0;

    if (set & FUSE_SET_ATTR_MODE) {
        what |= PM_SET_MODE;
        to->mode = from->st_mode & (folder ? 07777 : 01777);
    }
    if (set & FUSE_SET_ATTR_UID) {
        what |= PM_SET_UID;
        to->uid = from->st_uid;
    }
    if (set & FUSE_SET_ATTR_GID) {
        what |= PM_SET_GID;
        to->gid = from->st_gid;
    }
    if (set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) {
        what |= PM_SET_MTIME;
        to->mtime_ns = time_to_set(from->st_mtim, set & FUSE_SET_ATTR_MTIME_NOW);
    }
    if (set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW)) {
        what |= PM_SET_ATIME;
        to->atime_ns = time_to_set(from->st_atim, set & FUSE_SET_ATTR_ATIME_NOW);
    }
    return what;
}

/* `file`: by which the size is set; NULL: by path. */
static int set_all(struct pm_mount *m, pm_node node, const struct stat *to, int set,
                   struct pm_file *file, struct pm_waiter *w)
{
    struct pm_attr attr;
    unsigned       what;
    int            err = pm_tree_getattr(m->cache, node, &attr);

    if (!err && (set & FUSE_SET_ATTR_SIZE))
        err = file ? pm_file_resize(file, (uint64_t)to->st_size, w)
                   : pm_change_size(m->cache, node, (uint64_t)to->st_size, w);
    if (err)
        return err;
    what = convert(to, set, attr.kind == PM_FOLDER, &attr);
    return what ? pm_change_attr(m->cache, node, what, &attr) : 0;
}

/* A truncate that waits for room. */
struct setting {
    struct pm_pending p;
    struct pm_mount  *m;
    fuse_ino_t        ino;
    struct stat       to;
    int               set;
    struct pm_file   *file; /* its program waits in ftruncate */
};

static ssize_t attempt_set(struct pm_pending *p)
{
    struct setting *s = container_of(p, struct setting, p);

    return set_all(s->m, s->ino, &s->to, s->set, s->file, &p->waiter);
}

static void answer_set(struct pm_pending *p, ssize_t res)
{
    struct setting *s = container_of(p, struct setting, p);

    if (res)
        pm_ops_reply(p->req, res);
    else
        reply_attr(s->m, p->req, s->ino);
}

static const struct pm_pending_op set_op = { PM_WAIT_EVER, attempt_set, answer_set };

static void wait_to_set(fuse_req_t req, fuse_ino_t ino, const struct stat *to, int set,
                        struct pm_file *file)
{
    struct pm_mount *m = pm_ops_mount(req);
    struct setting  *s = pm_pending_new(m->pendings, req, &set_op, sizeof(*s));

    if (s) {
        s->m = m;
        s->ino = ino;
        s->to = *to;
        s->set = set;
        s->file = file;
    }
    pm_ops_start(req, s ? &s->p : NULL);
}

void pm_ops_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *to, int set,
                    struct fuse_file_info *fi)
{
    struct pm_mount        *m = pm_ops_mount(req);
    const struct pm_handle *h = fi ? (struct pm_handle *)(uintptr_t)fi->fh : NULL;
    struct pm_file         *file = h ? h->file : NULL;
    int err = pm_special_is(ino) ? -EPERM : set_all(m, ino, to, set, file, NULL);

    if (err == -EAGAIN)
        wait_to_set(req, ino, to, set, file);
    else if (err)
        pm_ops_reply(req, err);
    else
        reply_attr(m, req, ino);
}

/* --- statfs ---------------------------------------------------------------------------------- */

void pm_ops_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct pm_space space = { 0 };
    int             err = pm_info_space(pm_ops_mount(req)->cache, &space);
    struct statvfs  st = {
         .f_bsize = 4096,
         .f_frsize = 4096,
         .f_blocks = space.total / 4096,
         .f_bfree = space.free / 4096,
         .f_bavail = space.free / 4096,
         .f_namemax = 255,
    };

    (void)ino;
    if (err)
        pm_ops_reply(req, err);
    else
        fuse_reply_statfs(req, &st);
}
