/* pending.h: requests of the kernel that wait for the cache.
 *
 * An operation that may have to wait is a struct that embeds struct pm_pending first, with its
 * arguments copied behind it, and a const struct pm_pending_op: `attempt` asks the cache, and is
 * repeated after each wake-up; `answer` replies. The frame sees to it that `answer` is called
 * exactly once, whatever comes first: a result, the deadline, a signal that ends the caller, or
 * the end of the mount. */
#ifndef PM_FS_PENDING_H
#define PM_FS_PENDING_H

#include "cache/cache.h"

#include <fuse_lowlevel.h>

struct pm_pendings;
struct pm_pending;

enum pm_patience {
    PM_WAIT_BYTES,  /* op_timeout after the last byte */
    PM_WAIT_LOOKUP, /* the same, and 20 s in all */
    PM_WAIT_EVER,   /* until a signal ends the caller */
};

struct pm_pending_op {
    enum pm_patience patience;
    /* Asks the cache, with &p->waiter where that may wait. -EINPROGRESS: it took the waiter. Any
     * other value goes to `answer`. Must not block, nor touch p->req but to read its context.
     * Never two at a time for one `p`. */
    ssize_t (*attempt)(struct pm_pending *p);
    /* Replies to p->req, once, and frees what the operation holds outside its own memory. `res`:
     * what attempt returned, or -ETIMEDOUT, -EINTR, -EIO, or the errno of the wake-up. No lock is
     * held; attempt is not running and will not be called again. */
    void (*answer)(struct pm_pending *p, ssize_t res);
};

enum pm_pending_state {
    PM_RUNNING, /* one thread is in attempt */
    PM_WAITING, /* the cache has the waiter, or is about to wake it */
    PM_DONE,    /* off the list, about to be answered or answered */
};

struct pm_pending {
    struct pm_waiter            waiter;
    const struct pm_pending_op *op;   /* immutable */
    struct pm_pendings         *all;  /* immutable */
    fuse_req_t                  req;  /* immutable; valid until answered */
    struct pm_pending          *prev, *next; /* lock of `all`, as all below */
    int64_t                     start_ms;
    int64_t                     look_ms; /* when to look at the caller's signals next; 0: not */
    pid_t                       tid;
    int                         wake_err;
    uint8_t                     state; /* enum pm_pending_state */
    bool                        woken; /* while it was RUNNING */
    uint8_t                     refs; /* the frame's, the cache's, the watcher's */
};

/* Starts the watcher thread. `op_timeout_ms` as configured. *out is owned. 0 or -errno. */
int  pm_pendings_new(int64_t op_timeout_ms, struct pm_pendings **out);
/* Answers all that wait with -EIO, waits for those that are being attempted, ends the watcher.
 * From then on what would wait is answered -EIO; what need not wait is still done. Idempotent;
 * must come before fuse_session_destroy. */
void pm_pendings_stop(struct pm_pendings *all);
/* After pm_cache_stop, which wakes the waiters that are still with the cache. */
void pm_pendings_free(struct pm_pendings *all);
/* How many wait now, for the metrics. */
size_t pm_pendings_count(struct pm_pendings *all);

/* Makes a request of `size` bytes, zeroed. NULL: no memory; the caller replies. */
void *pm_pending_new(struct pm_pendings *all, fuse_req_t req, const struct pm_pending_op *op,
                     size_t size);
/* Runs it. Consumes `p`: on return it is answered or waits. */
void pm_pending_start(struct pm_pending *p);

#endif
