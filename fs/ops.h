/* ops.h: the FUSE operations, and the state of one mount that they work on.
 *
 * ops.c has what all share, ops_name.c lookup and the changes of names, ops_dir.c folders,
 * ops_file.c open files, ops_attr.c attributes, ops_xattr.c extended ones. An operation answers at
 * once from the cache or hands itself to pending.h; none blocks its thread on the network. Every
 * operation replies exactly once. */
#ifndef PM_FS_OPS_H
#define PM_FS_OPS_H

#include "cache/cache.h"
#include "fs/handle.h"
#include "fs/initreply.h"
#include "fs/inode.h"
#include "fs/iobuf.h"
#include "fs/notify.h"
#include "fs/pending.h"

#include <fuse_lowlevel.h>

struct pm_mount {
    struct pm_initreply_user user; /* first: initreply.h */
    const struct pm_conf    *conf; /* borrowed; immutable, as all up to `uid` */
    const char              *mountpoint; /* absolute; borrowed */
    struct pm_cache         *cache;
    struct pm_inodes        *inodes;
    struct pm_pendings      *pendings;
    struct pm_notify        *notify;
    double                   timeout; /* seconds the kernel may trust names and attributes */
    mode_t                   umask; /* the mounter's */
    uid_t                    uid; /* the mounter's */
    gid_t                    gid;
    struct pm_handles        handles; /* own lock */
    struct pm_iobufs         bufs; /* own lock */
    atomic_size_t            waiting_bytes; /* of writes that wait for room */
};

/* The table for fuse_session_new, with a struct pm_mount as userdata. */
extern const struct fuse_lowlevel_ops pm_ops;

/* --- for the ops_*.c files ------------------------------------------------------------------- */

static inline struct pm_mount *pm_ops_mount(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

/* Replies with an error: the one place where the sign flips. `err`: 0 or a negative errno. */
void pm_ops_reply(fuse_req_t req, ssize_t err);
/* What the kernel is told of a node. */
void pm_ops_stat(const struct pm_mount *m, const struct pm_attr *attr, struct stat *st);
void pm_ops_entry(const struct pm_mount *m, const struct pm_attr *attr,
                  struct fuse_entry_param *out);
/* Replies with an entry, or with `fi` to create. Counts the kernel's reference; takes it back if
 * the kernel no longer wanted the answer. Returns what the reply did. */
int pm_ops_reply_entry(struct pm_mount *m, fuse_req_t req, const struct pm_attr *attr,
                       const struct fuse_file_info *fi);
/* The kernel dropped `n` references. */
void pm_ops_forget(struct pm_mount *m, pm_node node, uint64_t n);
/* Starts a pending request, or says that there is no memory for it (p == NULL). */
void pm_ops_start(fuse_req_t req, struct pm_pending *p);
/* Opens the handle of a node's open file (consumed) and fills `fi`. 0 or -ENOMEM. */
int pm_ops_open_handle(struct pm_mount *m, pm_node node, struct pm_file *file,
                       struct fuse_file_info *fi);
void pm_ops_close_handle(struct pm_mount *m, const struct fuse_file_info *fi);
/* The same where the kernel did not want the reply, and so will not release it. */
void pm_ops_lose_handle(struct pm_mount *m, const struct fuse_file_info *fi);

void pm_ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void pm_ops_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                   struct fuse_file_info *fi);
void pm_ops_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void pm_ops_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void pm_ops_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void pm_ops_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void pm_ops_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
                   const char *newname, unsigned flags);

void pm_ops_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void pm_ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi);
void pm_ops_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                        struct fuse_file_info *fi);

void pm_ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void pm_ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                 struct fuse_file_info *fi);
void pm_ops_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
                  struct fuse_file_info *fi);
void pm_ops_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void pm_ops_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void pm_ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void pm_ops_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
                            struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
                            struct fuse_file_info *fi_out, size_t len, int flags);
void pm_ops_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
                  struct fuse_file_info *fi);
void pm_ops_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                      struct fuse_file_info *fi);

void pm_ops_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void pm_ops_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *to, int set,
                    struct fuse_file_info *fi);
void pm_ops_statfs(fuse_req_t req, fuse_ino_t ino);

void pm_ops_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                     size_t size, int flags);
void pm_ops_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void pm_ops_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void pm_ops_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

#endif
