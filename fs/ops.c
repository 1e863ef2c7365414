#include "fs/ops.h"

#include "fs/special.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

void pm_ops_reply(fuse_req_t req, ssize_t err)
{
    fuse_reply_err(req, (int)-err);
}

static struct timespec time_of(int64_t ns)
{
    struct timespec ts = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

    if (ts.tv_nsec < 0) {
        ts.tv_nsec += 1000000000;
        ts.tv_sec--;
    }
    return ts;
}

static mode_t mode_of(const struct pm_mount *m, const struct pm_attr *attr)
{
    bool   set = attr->mode != UINT32_MAX;
    mode_t mode = attr->mode & 07777;

    switch (attr->kind) {
    case PM_FOLDER:
        return S_IFDIR | (set ? mode : 0755 & ~m->umask);
    case PM_LINK:
        return S_IFLNK | 0777;
    default:
        return S_IFREG | (set ? mode : 0644 & ~m->umask);
    }
}

void pm_ops_stat(const struct pm_mount *m, const struct pm_attr *attr, struct stat *st)
{
    *st = (struct stat){
        .st_ino = attr->node,
        .st_mode = mode_of(m, attr),
        .st_nlink = attr->parent == 0 && attr->node != PM_NODE_ROOT ? 0
                    : attr->kind == PM_FOLDER                        ? 2
                                                                     : 1,
        .st_uid = attr->uid == UINT32_MAX ? m->uid : attr->uid,
        .st_gid = attr->gid == UINT32_MAX ? m->gid : attr->gid,
        .st_size = attr->kind == PM_FOLDER || !attr->described ? 0 : (off_t)attr->size,
        .st_blksize = 128 * 1024, /* what cp uses anyway; more makes stdio read too much */
        .st_mtim = time_of(attr->mtime_ns),
        .st_atim = time_of(attr->atime_ns),
        .st_ctim = time_of(attr->ctime_ns),
    };
    st->st_blocks = (st->st_size + 511) / 512;
}

void pm_ops_entry(const struct pm_mount *m, const struct pm_attr *attr,
                  struct fuse_entry_param *out)
{
    *out = (struct fuse_entry_param){
        .ino = attr->node,
        .generation = 1, /* numbers are never used again */
        .entry_timeout = m->timeout,
        .attr_timeout = attr->described ? m->timeout : 0,
    };
    pm_ops_stat(m, attr, &out->attr);
}

int pm_ops_reply_entry(struct pm_mount *m, fuse_req_t req, const struct pm_attr *attr,
                       const struct fuse_file_info *fi)
{
    struct fuse_entry_param e;
    int                     err;

    if (!pm_inode_ref(m->inodes, attr->node)) {
        pm_ops_reply(req, -ENOMEM);
        return -ENOMEM;
    }
    pm_ops_entry(m, attr, &e);
    err = fi ? fuse_reply_create(req, &e, fi) : fuse_reply_entry(req, &e);
    if (err)
        pm_ops_forget(m, attr->node, 1);
    return err;
}

void pm_ops_forget(struct pm_mount *m, pm_node node, uint64_t n)
{
    if (!pm_special_is(node) && pm_inode_unref(m->inodes, node, n))
        pm_tree_forget(m->cache, node);
}

void pm_ops_start(fuse_req_t req, struct pm_pending *p)
{
    if (p)
        pm_pending_start(p);
    else
        pm_ops_reply(req, -ENOMEM);
}

/* --- the start ------------------------------------------------------------------------------- */

static void want(struct fuse_conn_info *conn, unsigned bits)
{
    conn->want |= conn->capable & bits;
}

static void init(void *userdata, struct fuse_conn_info *conn)
{
    (void)userdata;
    conn->max_write = 1024 * 1024;
    conn->max_background = 64;
    conn->congestion_threshold = 48;
    conn->want = 0;
    want(conn, FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ATOMIC_O_TRUNC |
                   FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_CACHE_SYMLINKS);
#ifdef FUSE_CAP_HANDLE_KILLPRIV_V2
    want(conn, FUSE_CAP_HANDLE_KILLPRIV_V2); /* set-id bits of files are never kept: ops_attr.c */
#endif
    /* Not wanted: WRITEBACK_CACHE (the kernel would ignore our sizes and times), ASYNC_DIO (cannot
     * be interrupted), splicing (slower), AUTO_INVAL_DATA (each write moves the time and would
     * drop the pages just written; changes from elsewhere are notified), locks (the kernel's own
     * are right for one machine). */
}

/* --- what needs no cache --------------------------------------------------------------------- */

static void forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
    pm_ops_forget(pm_ops_mount(req), ino, n);
    fuse_reply_none(req);
}

static void forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    for (size_t i = 0; i < count; i++)
        pm_ops_forget(pm_ops_mount(req), forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
}

static void symlink_refused(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
    (void)link;
    pm_publish_refused(pm_ops_mount(req)->cache, parent, name, "there are no links");
    pm_ops_reply(req, -EPERM);
}

static void link_refused(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent,
                         const char *newname)
{
    (void)ino;
    pm_publish_refused(pm_ops_mount(req)->cache, newparent, newname, "there are no links");
    pm_ops_reply(req, -EPERM);
}

static void read_link(fuse_req_t req, fuse_ino_t ino)
{
    char target[256];
    int  err = pm_special_is(ino) ? -EINVAL : pm_tree_readlink(pm_ops_mount(req)->cache, ino, target);

    if (err)
        pm_ops_reply(req, err);
    else
        fuse_reply_readlink(req, target);
}

static void ioctl_refused(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
                          struct fuse_file_info *fi, unsigned flags, const void *in_buf,
                          size_t in_size, size_t out_size)
{
    (void)ino, (void)cmd, (void)arg, (void)fi, (void)flags, (void)in_buf;
    (void)in_size, (void)out_size;
    pm_ops_reply(req, -ENOTTY);
}

static void done(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino, (void)fi;
    pm_ops_reply(req, 0);
}

static void fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)ino, (void)datasync, (void)fi;
    pm_ops_reply(req, pm_cache_sync(pm_ops_mount(req)->cache));
}

/* Not here: poll, bmap. ENOSYS, which libfuse then says, makes the
 * kernel answer EOPNOTSUPP or do it by itself, and not ask again. */
const struct fuse_lowlevel_ops pm_ops = {
    .init = init,
    .lookup = pm_ops_lookup,
    .forget = forget,
    .forget_multi = forget_multi,
    .getattr = pm_ops_getattr,
    .setattr = pm_ops_setattr,
    .readlink = read_link,
    .mknod = pm_ops_mknod,
    .mkdir = pm_ops_mkdir,
    .unlink = pm_ops_unlink,
    .rmdir = pm_ops_rmdir,
    .symlink = symlink_refused,
    .rename = pm_ops_rename,
    .link = link_refused,
    .open = pm_ops_open,
    .read = pm_ops_read,
    .write = pm_ops_write,
    .flush = pm_ops_flush,
    .release = pm_ops_release,
    .fsync = pm_ops_fsync,
    .opendir = pm_ops_opendir,
    .readdir = pm_ops_readdir,
    .readdirplus = pm_ops_readdirplus,
    .releasedir = done,
    .fsyncdir = fsyncdir,
    .statfs = pm_ops_statfs,
    .setxattr = pm_ops_setxattr,
    .getxattr = pm_ops_getxattr,
    .listxattr = pm_ops_listxattr,
    .removexattr = pm_ops_removexattr,
    .create = pm_ops_create,
    .ioctl = ioctl_refused,
    .lseek = pm_ops_lseek,
    .copy_file_range = pm_ops_copy_file_range,
    .fallocate = pm_ops_fallocate,
};
