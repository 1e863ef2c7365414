/* holds.h: until when services asked not to be called (Retry-After), by the host that said so.
 *
 * Kept over restarts, too: a daemon that comes back early does not come early to the service. */
#ifndef PM_BACKENDS_HOLDS_H
#define PM_BACKENDS_HOLDS_H

#include "backends/backend.h"

struct pm_holds;

/* 0 or -ENOMEM. */
int  pm_holds_new(struct pm_holds **out);
void pm_holds_free(struct pm_holds *h);
/* Takes up what is kept in `kv` and keeps it there from now on; before the first request. `kv` is
 * borrowed until no request runs. */
void pm_holds_keep(struct pm_holds *h, const struct pm_kv *kv);
/* `origin` (as pm_http_origin gives it) is not called for `ms` from now: longer, if that was said
 * before. From one thread. */
void pm_holds_set(struct pm_holds *h, const char *origin, int64_t ms);
/* How long it is not called; 0: it may be. */
int64_t pm_holds_left_ms(struct pm_holds *h, const char *origin);

#endif
