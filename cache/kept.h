/* kept.h: last copies: contents that were sent and that the service cannot give back. They are never
 * evicted by themselves, nor dropped because of a list; they go when the user removes the file, or
 * says so. The journal lists them, so that a new index knows them, too.
 *
 * All functions run inside a transaction of `db`. */
#ifndef PM_CACHE_KEPT_H
#define PM_CACHE_KEPT_H

#include "cache/journal.h"

/* The content that `put` sent is one now, its object known as `rid` and `version`. 0 or -errno. */
int pm_kept_add(struct pm_db *db, const struct pm_jentry *put, uint64_t size, const char *rid,
                const char *version, int64_t mtime_ns);
/* The content is none any more. */
int pm_kept_drop(struct pm_db *db, int64_t content);
/* Is the node's content one, or, of a folder, any below it? */
bool pm_kept_has(struct pm_db *db, pm_node node);

#endif
