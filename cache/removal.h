/* removal.h: the guard over mass removals (design.md section 3). */
#ifndef PM_CACHE_REMOVAL_H
#define PM_CACHE_REMOVAL_H

#include "cache/journal.h"
#include "cache/state.h"

/* In the transaction that journals a removal a user asked for: counts it, and holds this account's
 * unsent removals when they are too many. delete_guard = 0: never. */
int pm_removal_guard(struct pm_db *db, const struct pm_conf *conf, uint32_t account);

#endif
