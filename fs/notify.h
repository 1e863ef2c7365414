/* notify.h: tells the kernel what changed behind its back, from a thread of its own that holds no
 * lock: a notification sent inside an operation on the same inode deadlocks (fuse.md).
 *
 * Implements struct pm_cache_events. What is queued is bounded and never twice the same; a folder
 * with many changes at once is told as one, and its old names then go by their timeout. */
#ifndef PM_FS_NOTIFY_H
#define PM_FS_NOTIFY_H

#include "cache/cache.h"
#include "fs/inode.h"

#include <fuse_lowlevel.h>

struct pm_notify;

/* `inodes` is borrowed. *out is owned. 0 or -ENOMEM. Events before pm_notify_start are dropped:
 * the kernel knows nothing yet. */
int  pm_notify_new(struct pm_inodes *inodes, struct pm_notify **out);
/* Starts the thread. `se` is borrowed until pm_notify_stop. 0 or -errno. */
int  pm_notify_start(struct pm_notify *n, struct fuse_session *se);
/* Ends the thread; later events are dropped. The session must still be answering, since the kernel
 * may hold a notification until an operation ends. Idempotent. */
void pm_notify_stop(struct pm_notify *n);
/* NULL is fine. Nobody may call its events any more. */
void pm_notify_free(struct pm_notify *n);

/* The events to give to pm_cache_open. They take a leaf lock and never block. */
void pm_notify_events(struct pm_notify *n, struct pm_cache_events *out);

#endif
