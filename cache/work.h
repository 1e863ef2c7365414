/* work.h: what becomes of work that could not be sent; retry and discard are in cache.h. */
#ifndef PM_CACHE_WORK_H
#define PM_CACHE_WORK_H

#include "cache/state.h"

#define PM_DISCARDED      "discarded" /* below the state folder */
#define PM_DISCARDED_DAYS 7
#define PM_INCOMPLETE     ".incomplete" /* ends the name of what lacks parts */

/* At a start, in a transaction: contents that the journal names and the index does not know, as a
 * crash between their two commits leaves them. */
void pm_work_recover(struct pm_db *db);
/* Removes what was discarded more than 7 days before `now_ms` (wall clock). */
void pm_work_expire(struct pm_cache *c, int64_t now_ms);

/* Adds "; bytes 0-99, 200-299 were never fetched" for what is missing of the first `size` bytes;
 * nothing if nothing is. True: something is missing. */
bool pm_work_missing(const struct pm_ranges *present, uint64_t size, struct pm_buf *out);
/* The name with `mark` before its extension and `suffix` at its end, cut to fit. */
void pm_work_make_name(const char *name, const char *mark, const char *suffix,
                       char out[PM_NAME_MAX + 1]);

#endif
