/* rate.h: a service's published limits, kept by construction: never more than so many calls of a
 * kind within its window, across restarts.
 *
 * The service counts a call somewhere between its sending and its answer. So one under way counts,
 * and one that has ended counts from its end on for the whole window: whether the service's window
 * slides or stands, and however unevenly the line delays, it never sees more. What was asked for by
 * a process that ended is counted from the start of the next one on: in doubt, spent.
 *
 * Where a service says after each call how many are left, it is believed if that is less than what is known
 * here: others may call in the account's name, or it may count otherwise.
 *
 * Calls are written down, and on the disk, before they are made. How long ago that was is told by the
 * clock that runs while the machine does, whatever the time of day is set to; only after another start of
 * the machine the time of day must do. */
#ifndef PM_BACKENDS_RATE_H
#define PM_BACKENDS_RATE_H

#include "backends/backend.h"

struct pm_rate_rule {
    const char *name; /* what is limited, for people: "uploads opened" */
    const char *key; /* where it is remembered in the backend's store */
    unsigned    calls; /* so many … */
    int64_t     window_ms; /* … within so long */
};

struct pm_rate;

/* `rules` is borrowed for good; what was used before is read from b's store at the first call. NULL:
 * no memory. Any thread may call what follows. */
struct pm_rate *pm_rate_new(const struct pm_rate_rule *rules, size_t count);
void            pm_rate_free(struct pm_rate *r);

/* One call. */
struct pm_rate_call {
    size_t   which;
    unsigned batch; /* rate.c's */
};

/* Waits until a call of rule `which` may be made, and counts it; pm_rate_end must follow. Background
 * calls of less than all that is left leave `keep` to interactive ones. -EBUSY with ctx->retry_ms
 * and why: not before the context's deadline (without one: within op_timeout), or for background calls
 * not within a second; -ECANCELED; or it could not be written down. */
int  pm_rate_begin(struct pm_rate *r, struct pm_backend *b, struct pm_ctx *ctx, size_t which,
                   unsigned keep, struct pm_rate_call *call);
/* `sent`: unless it certainly never left. */
void pm_rate_end(struct pm_rate *r, const struct pm_rate_call *call, bool sent);
/* The answer to this call, which has not been ended yet, says that `left` more may be made now. */
void pm_rate_correct(struct pm_rate *r, const struct pm_rate_call *call, uint64_t left);
/* The service wants none of these for `ms`, or does not say how long (0): then for a window, since it
 * may count those that it refuses. Remembered. Gives how long that is from now. */
int64_t pm_rate_hold(struct pm_rate *r, struct pm_backend *b, size_t which, int64_t ms);

/* Hands on the limits that are used up. */
void pm_rate_each(struct pm_rate *r, struct pm_backend *b, pm_limit_fn *each, void *arg);
/* How many calls are left of a rule now, and (may be NULL) after how long there is one more. */
unsigned pm_rate_left(struct pm_rate *r, struct pm_backend *b, size_t which, int64_t *wait_ms);

#endif
