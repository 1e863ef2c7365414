/* removal.h: the guard over mass removals (design.md section 3). */
#ifndef PM_CACHE_REMOVAL_H
#define PM_CACHE_REMOVAL_H

#include "cache/journal.h"
#include "cache/state.h"

/* In the transaction that journals a removal a user asked for, `e`: counts it, and holds this account's
 * unsent removals when they are too many. delete_guard = 0: never. A thing counts one, with all that is
 * in it, and so does each of those beside it that it may be half of. */
int pm_removal_guard(struct pm_cache *c, const struct pm_jentry *e);

#endif
