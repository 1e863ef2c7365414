/* side.h: the calls for the many objects of one entry of the journal, side by side. */
#ifndef PM_CACHE_SIDE_H
#define PM_CACHE_SIDE_H

#include "backends/backend.h"

/* Does it for the object `i`; from several threads. `ctx` is its own. */
typedef int pm_side_fn(void *arg, struct pm_ctx *ctx, size_t i);
/* Calls `each` for every i below `n`, in `threads` threads at most, and returns when all have
 * returned. After a failure other than -EAGAIN none is begun any more. 0, or a failure, which ctx->why
 * explains; -EAGAIN if there was no other. */
int pm_side_by_side(struct pm_ctx *ctx, size_t n, unsigned threads, pm_side_fn *each, void *arg);

#endif
