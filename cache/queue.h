/* queue.h: the threads that carry the journal out. */
#ifndef PM_CACHE_QUEUE_H
#define PM_CACHE_QUEUE_H

#include "cache/journal.h"
#include "cache/state.h"

int  pm_queue_open(struct pm_cache *c);
/* Running transfers are cancelled, threads joined; whoever waits is woken with -ESHUTDOWN. */
void pm_queue_stop(struct pm_cache *c);
void pm_queue_close(struct pm_cache *c);
/* Waits for something to end, `ms` at most. No lock may be held. */
void pm_queue_pass(struct pm_cache *c, int64_t ms);
/* Something may be sent now, or earlier than before. No lock may be held. */
void pm_queue_kick(struct pm_cache *c);
/* The node is removed: whoever waits for it need not. No lock may be held. */
void pm_queue_wake(struct pm_cache *c, pm_node node);
/* Once a second: all who wait ask again. */
void pm_queue_tick(struct pm_cache *c);
/* Has the service what this node holds? 0, -EINPROGRESS with `w`, or why it failed. While somebody
 * else has the file open for writing nothing is sent, and nobody waits for that: 0 after a second,
 * counted from the first call with `w`. */
int  pm_queue_wait(struct pm_cache *c, pm_node node, struct pm_waiter *w);
/* How much of an entry that is being sent has gone; false: it is not. */
bool pm_queue_sent(struct pm_cache *c, int64_t entry, uint64_t *sent, int64_t *started_ms);

/* The service has `off` bytes of the upload that is gone on with: more than when it was last asked? */
bool pm_queue_came_further(struct pm_cache *c, int64_t entry, uint64_t off);

/* Is something that was closed being uploaded, or about to be, and does it advance? Then there may be
 * room for more soon. 1, 0 or -errno. */
int pm_queue_advances(struct pm_cache *c);

/* send.c: carries one entry out. 0: finished and folded into the index. -ECANCELED: a write came,
 * or the drive stops. Other errno: as is. `sent` counts bytes for display. */
int pm_send(struct pm_cache *c, struct pm_jentry *e, struct pm_ctx *ctx,
            atomic_uint_least64_t *sent);
/* For queue_sync.c: the accounts that nothing is sent of: a bit each. */
uint64_t pm_queue_paused_accounts(struct pm_cache *c);

#endif
