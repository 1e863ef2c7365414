/* recheck.h: where there is no validator: was the version still the same after the last byte? */
#ifndef PM_CACHE_RECHECK_H
#define PM_CACHE_RECHECK_H

#include "cache/state.h"

/* Asks the service. 0; -ESTALE: it has another version than what is kept here; -ECANCELED: the base
 * became another object meanwhile; or why it is not known. Blocks. */
int pm_recheck_version(struct pm_cache *c, struct pm_content *k);
/* A batch of ranges ended: in the background, what is doubtful of them is checked, and dropped if the
 * service has another version by now. Called with content->lock. */
void pm_recheck_start_locked(struct pm_cache *c, struct pm_content *k);

#endif
