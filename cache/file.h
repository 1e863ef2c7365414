/* file.h: what file.c shares with the rest of the cache. */
#ifndef PM_CACHE_FILE_H
#define PM_CACHE_FILE_H

#include "cache/journal.h"
#include "cache/state.h"

#define PM_TEMPORARY_MS (10 * 60 * 1000) /* a temporary or backup name left alone is a name */

/* When a closed content of this name may be sent (wall clock, ms). */
int64_t pm_file_due(const struct pm_cache *c, const char *name);
/* change.c: a RENAME over another's object, made while its file was being sent, becomes an update of
 * that object and a removal of the file's own. 0; -ECANCELED: it is a plain rename now. */
int pm_change_replace(struct pm_cache *c, struct pm_jentry *e);
/* Sets an open file's size. -ENOSPC. */
int pm_file_truncate(struct pm_file *f, uint64_t size);

#endif
