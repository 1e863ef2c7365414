/* fetch.h: getting missing ranges of a content, once for many readers.
 *
 * A transfer is one running download of one range. Whoever misses bytes waits on the content; as
 * bytes land, whoever has all it asked for is woken. Bytes go into the content's sparse file, or,
 * when the store has no room, through the bounce memory. */
#ifndef PM_CACHE_FETCH_H
#define PM_CACHE_FETCH_H

#include "cache/state.h"

/* Makes sure that [off, end) is present or on its way, and as far as connections allow what lies
 * up to `ahead`. Called with content->lock. `w`, if given, waits for [off, end), of which something
 * must be missing. `must_keep`: the bytes go into the file whatever max_size says, or fail.
 * 0: something runs or nothing is missing; -ESTALE; -ENOMEM. */
int pm_fetch_want_locked(struct pm_cache *c, struct pm_content *content, uint64_t off,
                         uint64_t end, uint64_t ahead, struct pm_waiter *w, bool must_keep);
/* Waits until the content is whole in its file. Blocks: for queue threads. 0, -ECANCELED when
 * *cancel is set, or why it cannot be had. */
int pm_fetch_whole(struct pm_cache *c, struct pm_content *content, const atomic_bool *cancel);
/* Ends the transfers of a content that nobody has open any more. Called with content->lock. */
void pm_fetch_cancel_locked(struct pm_content *content);
/* Wakes every waiter of the content with `err`. No lock may be held. */
void pm_fetch_wake(struct pm_content *content, int err);

#endif
