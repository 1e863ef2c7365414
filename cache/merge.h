/* merge.h: a list that arrives, and what it changes in the known one. */
#ifndef PM_CACHE_MERGE_H
#define PM_CACHE_MERGE_H

#include "cache/state.h"

struct pm_merge;

/* Starts a list of `folder` that was asked for at `began` (wall clock, ms). 0 or -ENOMEM. */
int  pm_merge_open(struct pm_cache *c, const struct pm_account *account,
                   const struct pm_row *folder, int64_t began, struct pm_merge **out);
/* Takes one entry (a pm_entry_fn; `arg` is the merge). It is put aside until the whole came. */
int  pm_merge_add(void *arg, const struct pm_entry *e);
/* The list came whole: makes it the known one and tells the mount what changed. `touched` says,
 * from inside a transaction, whether an object was changed here since the list began. */
int  pm_merge_apply(struct pm_merge *m, bool (*touched)(void *arg, const char *rid), void *arg);
void pm_merge_free(struct pm_merge *m);

/* The identity kept for an entry: the service's id, else its path marked as such. `out` as long as
 * a row's rid. -EINVAL: too long to be kept. */
int pm_merge_rid(const struct pm_entry *e, char out[PM_NAME_MAX + 1]);

#endif
