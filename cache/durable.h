/* durable.h: what of the contents is known to be on the disk, for the day the power fails.
 *
 * Time is cut into eras. A row of the index that tells what of a content is present, and an entry of
 * the journal that tells that a content was closed, carry the era they were written in. Once a whole
 * sync of the disk, begun after an era ended, is done, all it tells of is on the disk. After a power
 * cut rows of later eras are in doubt: clean blocks are dropped and fetched again, closed contents
 * are said to be interrupted. The daemon's own death puts nothing in doubt. */
#ifndef PM_CACHE_DURABLE_H
#define PM_CACHE_DURABLE_H

#include "cache/store.h"

/* The era to be written into rows of what is in the files by now. Never 0. */
int64_t pm_era_now(const struct pm_store *s);
/* Is what carries this era on the disk? 0, of what was synced by itself, is. */
bool pm_era_is_durable(const struct pm_store *s, int64_t era);
/* Ends the era and syncs the disk that holds the contents. Blocks as long as the disk takes. 0 or
 * -errno. */
int pm_era_sync(struct pm_store *s);
/* Makes what the content has survive by itself, before anybody else needs it no more. Blocks as
 * pm_era_sync does. 0 or -errno. */
int pm_era_settle(struct pm_content *k);
/* Is there anything that a sync would make durable? */
bool pm_era_needs_sync(const struct pm_store *s);
/* May what carries an era above *durable be lost, in a state folder whose contents are in `dirfd`?
 * Inside a transaction. */
bool pm_era_in_doubt(struct pm_db *db, int dirfd, int64_t *durable);
/* At a start, before any content is opened: if the power may have failed since the last one, what is
 * in doubt goes. 0 or -errno. */
int pm_era_open(struct pm_store *s);

#endif
