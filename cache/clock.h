/* clock.h: waits of the journal, when the machine's clock was far ahead and was set back. */
#ifndef PM_CACHE_CLOCK_H
#define PM_CACHE_CLOCK_H

#include "cache/state.h"

/* Was the clock set back since it was asked last? *ahead is kept between, at first 0: how far the clock
 * is ahead of the time that only grows. */
bool pm_clock_went_back(int64_t *ahead_ms);
/* In a transaction: an entry that would wait for longer than anything is told to waits as if it had been
 * told just now. A service that wants peace for longer gets it all the same (holds.h). 0 or -errno. */
int pm_clock_mend(struct pm_cache *c);

#endif
