/* cache.h: the drive as the mount sees it: a tree of nodes, their content, and the queue that
 * brings local changes to the services.
 *
 * Everything the kernel can ask is answered from here at once, or waits on a struct pm_waiter.
 * Local changes are journalled before a call returns; nothing here waits for the network but where
 * a waiter is taken. All functions may be called from any thread; none calls back into the caller
 * while it holds a lock. 0 or a count, else a negative errno. */
#ifndef PM_CACHE_CACHE_H
#define PM_CACHE_CACHE_H

#include "backends/backend.h"
#include "backends/conf.h"
#include "backends/util.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct pm_cache;

/* A node: one file or folder of the drive, for good. Its number is the inode number: never reused,
 * the same after a remount, a rename and under a new remote id. */
typedef uint64_t pm_node;
#define PM_NODE_ROOT 1u /* the mount point; its children are the accounts' roots */

/* --- waiting ------------------------------------------------------------------------------- */

/* A continuation. Handed to a call that returns -EINPROGRESS, it is woken exactly once; the call
 * is then repeated. Owned by the caller, borrowed until `wake`. */
struct pm_waiter {
    /* `err`: 0 (repeat the call), or why it cannot be had. Runs on the loop's or a pool thread
     * with no lock held; must not block. */
    void (*wake)(struct pm_waiter *w, int err);
    _Atomic int64_t   progress_ms; /* pm_now_ms() when the last byte arrived for it */
    struct pm_waiter *next; /* the cache's */
    uint64_t          off, end; /* the cache's */
};

/* --- opening ------------------------------------------------------------------------------- */

/* What the cache tells the mount; all may be NULL. Called with no lock held; must not block. */
struct pm_cache_events {
    /* What the folder has under this name, if the kernel has it, is another; "": names only came. */
    void (*entry_changed)(void *arg, pm_node parent, const char *name);
    void (*node_changed)(void *arg, pm_node node, bool content); /* attributes; content: pages too */
    void *arg;
};

/* Opens the state folder (made 0700 if absent), takes its lock, opens index and journal, starts
 * the HTTP loop, the accounts, the pool and the queue. Makes no request. -EBUSY: another daemon has
 * it; `why` names its mount (kept with `mountpoint`). `conf` is borrowed until closed. */
int  pm_cache_open(const struct pm_conf *conf, const char *mountpoint,
                   const struct pm_cache_events *events, struct pm_cache **out, char *why,
                   size_t why_len);
/* Stops everything: running requests end, waiters are woken with -ESHUTDOWN, uploads go on at the
 * next start. After it returns nothing calls back. Does not free: pm_cache_free does, when no file
 * is open. */
void pm_cache_stop(struct pm_cache *c);
void pm_cache_free(struct pm_cache *c);
/* Every change that was answered survives a power cut when it returns. 0 or -errno. */
int pm_cache_sync(struct pm_cache *c);

/* --- the tree ------------------------------------------------------------------------------ */

struct pm_attr {
    pm_node      node;
    pm_node      parent; /* where it is shown; 0: nowhere (removed, still open) */
    enum pm_kind kind;
    bool         fixed; /* the mount root, an account's root: cannot be removed or renamed */
    bool         read_only; /* changes are refused: EROFS */
    bool         described; /* false: size and times are not known yet */
    uint32_t     mode; /* permission bits only, as set here; 0xffffffff: never set */
    uint32_t     uid, gid; /* 0xffffffff: never set (the mounter's) */
    uint64_t     size;
    int64_t      mtime_ns, atime_ns, ctime_ns, btime_ns; /* since 1970 */
    uint64_t     content; /* changes whenever the content the node serves is another */
};

/* Finds a name in a folder as it is shown. -ENOENT, -ENAMETOOLONG. -EINPROGRESS: the folder's list is
 * not known or not fresh; `w` is woken when it is, or after 1 s if an old one can serve, or with
 * the errno. w == NULL: answer from what is known, -EAGAIN if nothing is. */
int pm_tree_lookup(struct pm_cache *c, pm_node parent, const char *name, struct pm_waiter *w,
                   struct pm_attr *out);
/* Never waits. -ESTALE: no such node. */
int pm_tree_getattr(struct pm_cache *c, pm_node node, struct pm_attr *out);
/* Where a link leads, from the folder that it is in. -EINVAL: it is none; -ESTALE. */
int pm_tree_readlink(struct pm_cache *c, pm_node node, char out[256]);
/* As pm_tree_lookup's waiting, for a whole folder: 0 when its list may be read. */
int pm_tree_ready(struct pm_cache *c, pm_node folder, struct pm_waiter *w);
/* Hands on the shown entries with a cookie above `after` (0: from the start), in the order of
 * cookies, which stay valid while the folder changes. `each` returns false to stop. */
typedef bool pm_tree_fn(void *arg, uint64_t cookie, const char *name, const struct pm_attr *attr);
int pm_tree_read(struct pm_cache *c, pm_node folder, uint64_t after, pm_tree_fn *each, void *arg);
/* The node at a path below the mount point ("" is the root), from what is known. */
int pm_tree_resolve(struct pm_cache *c, const char *path, pm_node *out);
/* The shown path of a node, from the mount point, with leading '/'; owned. NULL: nowhere. */
char *pm_tree_path(struct pm_cache *c, pm_node node);
/* A name in the folder was made, removed or renamed here: the folder's times are now, and of what
 * was renamed to `renamed` (may be NULL) that of its status. */
void pm_tree_touch(struct pm_cache *c, pm_node folder, const char *renamed);
/* The kernel forgot the node (lookup count 0). A node that is nowhere, unopened and not in the
 * journal is then dropped. */
void pm_tree_forget(struct pm_cache *c, pm_node node);

/* --- changes: journalled, then answered ---------------------------------------------------- */

struct pm_owner {
    uint32_t mode, uid, gid;
};

/* All: -EROFS, -EPERM (a fixed place; a folder that takes nothing; a name that is refused),
 * -ENAMETOOLONG (over 255 bytes), -EILSEQ (no UTF-8), -EEXIST, -ENOENT, -ENOTDIR, -EISDIR.
 * The folder's list must be known (a lookup came before): else -EAGAIN. */
int pm_change_create(struct pm_cache *c, pm_node parent, const char *name,
                     const struct pm_owner *owner, struct pm_attr *out);
/* The same of a file that is opened for writing at once: until its first flush it is written to. */
int pm_change_create_open(struct pm_cache *c, pm_node parent, const char *name,
                          const struct pm_owner *owner, struct pm_attr *out);
int pm_change_mkdir(struct pm_cache *c, pm_node parent, const char *name,
                    const struct pm_owner *owner, struct pm_attr *out);
int pm_change_unlink(struct pm_cache *c, pm_node parent, const char *name);
/* -ENOTEMPTY by what is shown; -EBUSY a fixed place; -EINPROGRESS as pm_tree_ready. */
int pm_change_rmdir(struct pm_cache *c, pm_node parent, const char *name, struct pm_waiter *w);
/* `flags`: 0 or RENAME_NOREPLACE; others -EINVAL. -EXDEV between accounts. -EOPNOTSUPP where the
 * service can neither rename nor copy. -EPERM: it is known to be shared, or something in it, and a
 * rename would end that. -EINPROGRESS as rmdir, for a folder that is replaced. */
int pm_change_rename(struct pm_cache *c, pm_node parent, const char *name, pm_node new_parent,
                     const char *new_name, unsigned flags, struct pm_waiter *w);

enum pm_set { PM_SET_MODE = 1, PM_SET_UID = 2, PM_SET_GID = 4, PM_SET_MTIME = 8, PM_SET_ATIME = 16 };
/* Kept locally with the node, times with its content. */
int pm_change_attr(struct pm_cache *c, pm_node node, unsigned set, const struct pm_attr *to);
/* Truncates or extends by path. -ENOSPC: no room for the rest of a file that
 * is not all here. `w` as pm_file_write_wait, or NULL: -EAGAIN. */
int pm_change_size(struct pm_cache *c, pm_node node, uint64_t size, struct pm_waiter *w);

/* Releases held mass removals at or below `node` (0: all). *released counts them. */
int pm_change_allow(struct pm_cache *c, pm_node node, uint64_t *released);
/* Takes a removal back that was not sent yet; a folder with all that was removed in it. -ENOENT:
 * there is none; -EBUSY: it is being sent; -EEXIST: the name was given again. */
int pm_change_undelete(struct pm_cache *c, pm_node parent, const char *name);

/* Local extended attributes ("user.…"). `flags` as setxattr. -ENODATA, -ERANGE, -EEXIST. list:
 * names with NULs. get and list return the size; size 0 asks for it. */
int     pm_xattr_set(struct pm_cache *c, pm_node node, const char *name, const void *value,
                     size_t size, int flags);
ssize_t pm_xattr_get(struct pm_cache *c, pm_node node, const char *name, void *value, size_t size);
ssize_t pm_xattr_list(struct pm_cache *c, pm_node node, char *list, size_t size);
int     pm_xattr_remove(struct pm_cache *c, pm_node node, const char *name);

/* --- open files ---------------------------------------------------------------------------- */

struct pm_file;

/* Opens a file's content. `flags`: O_ACCMODE, O_TRUNC. Makes no request. -EISDIR, -EROFS. */
int pm_file_open(struct pm_cache *c, pm_node node, int flags, struct pm_file **out);
/* Reads; the count is short only at the end of the file. -EINPROGRESS: on its way, `w` is woken.
 * -ESTALE: the service has another version now and this one was not whole. */
ssize_t pm_file_read(struct pm_file *f, void *buf, size_t len, uint64_t off, struct pm_waiter *w);
/* Never short. -EFBIG, -EROFS, -ENOSPC: nothing of it was written. O_APPEND is the kernel's. -EAGAIN:
 * there is no room yet, but something that was closed is being sent. */
ssize_t pm_file_write(struct pm_file *f, const void *buf, size_t len, uint64_t off);
/* The same, waiting for that room: -EINPROGRESS, and `w` is woken. Its progress_ms moves as long as it
 * makes sense to wait. */
ssize_t pm_file_write_wait(struct pm_file *f, const void *buf, size_t len, uint64_t off,
                           struct pm_waiter *w);
/* Truncates or extends: ftruncate(2). As pm_change_size. */
int pm_file_resize(struct pm_file *f, uint64_t size, struct pm_waiter *w);
/* Copies up to `len` bytes between open files; the count is short only at the end of `in` or for
 * now: then the rest is asked for again. A file that the service has, copied whole from its start
 * on to a new one, is not moved: the service copies it when `out` is closed. -EINPROGRESS: not at
 * hand, `w` is woken. Else as read and write. */
ssize_t pm_file_copy(struct pm_file *in, uint64_t in_off, struct pm_file *out, uint64_t out_off,
                     uint64_t len, struct pm_waiter *w);
/* fallocate(2): makes sure of room as a write would (-ENOSPC) and, without KEEP_SIZE, extends; with
 * PUNCH_HOLE or ZERO_RANGE the range reads as zeros, which is a write of them. Others -EOPNOTSUPP.
 * `w` as pm_file_write_wait, or NULL: -EAGAIN. */
int pm_file_allocate(struct pm_file *f, int mode, uint64_t off, uint64_t len, struct pm_waiter *w);
/* SEEK_DATA or SEEK_HOLE; what is not fetched is data. The offset, or -ENXIO, -EINVAL. */
int64_t pm_file_seek(struct pm_file *f, uint64_t off, int whence);
/* close(2) of a descriptor: journals the content's write generation. */
int pm_file_flush(struct pm_file *f);
/* With on_close = wait: has the service the file as of the last flush? 0, -EINPROGRESS with `w`,
 * or the errno of a failure. Without it 0; and where nothing was written through `f`, or somebody
 * else has the file open for writing: the last one waits. */
int pm_file_wait(struct pm_file *f, struct pm_waiter *w);
/* Content and journal entry are on disk when it returns. */
int pm_file_fsync(struct pm_file *f);
/* The last reference of an open is gone; the upload's quiet time starts. Consumes `f`. */
void pm_file_release(struct pm_file *f);
/* The same of one that its program never closed, when the drive ends: what was written since the last
 * flush is not a whole content. As after a crash it is kept, and `interrupted` at the next start. */
void pm_file_abandon(struct pm_file *f);

/* --- work that could not be sent ----------------------------------------------------------- */

/* Tries what failed, was interrupted or waits after a failure at or below `node` (0: all) again,
 * now. *found counts. */
int pm_work_retry(struct pm_cache *c, pm_node node, uint64_t *found);
/* Gives up what failed or was interrupted at or below `node` (0: all). A content is kept for 7 days
 * in STATE/discarded; what the service has is shown again, or nothing. A folder goes when it is
 * empty then; a rename or removal is taken back. `tell` gets a line for each. *found counts.
 * -EBUSY: one is open for writing (the others are given up). */
typedef void pm_tell_fn(void *arg, const char *line);
int pm_work_discard(struct pm_cache *c, pm_node node, pm_tell_fn *tell, void *arg,
                    uint64_t *found);

/* Drops the cached content at or below `node` (0: all). What is not sent (-EAGAIN), in use (-EBUSY) or
 * cannot be had from the service (-EPERM; not with `last_copy`) stays: the first of these is returned,
 * and `tell` (may be NULL) gets a line for each. *found counts what was dropped. */
int pm_work_evict(struct pm_cache *c, pm_node node, bool last_copy, pm_tell_fn *tell, void *arg,
                  uint64_t *found);

struct pm_rescued {
    uint64_t files, bytes;
    uint64_t troubles; /* contents that are not there, or could not be written */
};
/* Copies what is unsent in a state folder that no daemon serves below `to` (made if absent), by the
 * tree's paths, overwriting nothing. The state folder is only read. By the journal; where that is
 * damaged or gone, by what the files say of themselves. `tell` gets a line for each file. -EBUSY: a
 * daemon serves it; `why` gets one line. */
int pm_rescue(const char *state_dir, const char *to, pm_tell_fn *tell, void *arg,
              struct pm_rescued *out, char *why, size_t why_len);

/* --- what is known, for attributes and status ---------------------------------------------- */

struct pm_info {
    char     state[300]; /* "remote", "cached", "local", "queued", "uploading 40%", "synced", … */
    char     id[128]; /* the service's; "" if none */
    char     version[256];
    char     url[300]; /* for people; "" if none */
    char     error[300]; /* the service's own word; "" */
    uint64_t cached; /* bytes of the content held here */
};
int pm_info_node(struct pm_cache *c, pm_node node, struct pm_info *out);

/* A service's own field of a node, `name` being "TYPE.FIELD" of the attribute user.TYPE.FIELD, in words.
 * -EOPNOTSUPP: an attribute of this name is a program's; -ENODATA; -EINPROGRESS: `w`, which may be NULL,
 * is woken. */
int  pm_info_field(struct pm_cache *c, pm_node node, const char *name, char *out, size_t size,
                   struct pm_waiter *w);
/* Is an attribute of this name the service's? */
bool pm_info_is_field(struct pm_cache *c, pm_node node, const char *name);

struct pm_space {
    uint64_t total, free; /* bytes a program may count on; free: disk free less min_free, plus
                             what can be evicted */
};
int pm_info_space(struct pm_cache *c, struct pm_space *out);

/* Adds the members of status.json that the cache knows: "pending", "pending_bytes", "failed",
 * "uploads", "projects", "cache", "accounts" with a trailing comma, without the outer braces. */
int pm_info_json(struct pm_cache *c, struct pm_buf *out);
/* The same for a person to read; `node` 0: all, else only what is at or below it. */
int pm_info_text(struct pm_cache *c, pm_node node, struct pm_buf *out);
/* How much is not on a service yet. 0 or -errno: that cannot be told. */
int  pm_info_pending(struct pm_cache *c, uint64_t *entries, uint64_t *bytes);
/* Can anything be sent now, or when its pause is over? What failed, is held, or waits for such cannot.
 * How many uploads and changes in all there are is told where asked for. */
bool pm_info_sendable(struct pm_cache *c, uint64_t *uploads, uint64_t *changes);
/* The journal of a state folder that no daemon serves, in the same two forms. */
int pm_info_offline(const struct pm_conf *conf, bool json, struct pm_buf *out);

/* --- the queue ----------------------------------------------------------------------------- */

/* Sends all that is queued (at or below `node`; 0: all) without its delays. Calls `progress` about
 * twice a second with a line to show; it returns false to give up. timeout_ms < 0: none. 0 all
 * sent, -ETIMEDOUT, -EINTR, -EIO something failed; `out` gets the list of what is left and why. */
int pm_queue_sync(struct pm_cache *c, pm_node node, int64_t timeout_ms,
                  bool (*progress)(void *arg, const char *line), void *arg, struct pm_buf *out);
/* Holds and releases transfers; survives a restart. */
int  pm_queue_pause(struct pm_cache *c, bool paused);
bool pm_queue_paused(struct pm_cache *c);

/* --- drafts: folders that become one thing on their service --------------------------------- */

/* Asks for a draft to be published, as soon as all in it is sent. -EINVAL: it is none; -EEXIST: it is
 * published; -ENODATA: it is empty; -EBUSY: something in it failed, or holds it. `why` gets words. */
int pm_publish(struct pm_cache *c, pm_node folder, struct pm_buf *why);
/* Waits until it is, with a line for `progress` about twice a second, which returns false to wait no
 * more (-EINTR). Else the errno, with words in `out`: then it is not asked for any more. */
int pm_publish_wait(struct pm_cache *c, pm_node folder, bool (*progress)(void *arg, const char *line),
                    void *arg, struct pm_buf *out);

/* Something that was to be made in the folder was refused, here or above: if it is a draft, it is not
 * published by itself. */
void pm_publish_refused(struct pm_cache *c, pm_node folder, const char *name, const char *why);
/* Hides what the service cannot remove: a folder that was published, for good. -EINVAL: it is none; -EBUSY:
 * contents in it are nowhere else. `why` gets words. */
int pm_publish_forget(struct pm_cache *c, pm_node folder, struct pm_buf *why);

/* --- accounts that pause ------------------------------------------------------------------- */

/* An account whose credential is refused, or not known to be the same account's, pauses: nothing of
 * it is sent, and what is known here is all that is answered. This looks at the credentials again
 * that are in doubt. `out` (may be NULL) gets a line for each that stays so. 0, or -EACCES if one
 * does. Blocks. */
int pm_account_retry(struct pm_cache *c, struct pm_buf *out);
/* The user says that the credential of account `name`, other than it is, is the same account's. 0;
 * -ENOENT: no such account; -EEXIST: nobody doubts it; -EACCES: it is of no use, `out` says why. */
int pm_account_accept(struct pm_cache *c, const char *name, struct pm_buf *out);

#endif
