/* find.h: things in a root that no list tells, and that the service finds by name.
 *
 * The kernel looks every name up before it makes it, so most of these questions are about what is not
 * there: only names that can be the service's are asked about, each once in 10 minutes, few a minute,
 * and who asks waits 1 s at most. */
#ifndef PM_CACHE_FIND_H
#define PM_CACHE_FIND_H

#include "cache/state.h"

struct pm_finds;

int  pm_finds_open(struct pm_cache *c);
/* All jobs have ended. */
void pm_finds_close(struct pm_cache *c);

/* `name` is not known in `folder`. -ENOENT: it is not there, as far as can be told; -EINPROGRESS: `w` is
 * woken when more is known, then look again. `w` may be NULL. */
int pm_find_want(struct pm_cache *c, pm_node folder, const char *name, struct pm_waiter *w);
/* Wakes who waited for 1 s. From the housekeeping thread. */
void pm_find_tick(struct pm_cache *c);

#endif
