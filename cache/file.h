/* file.h: what the file*.c files share with the rest of the cache. */
#ifndef PM_CACHE_FILE_H
#define PM_CACHE_FILE_H

#include "cache/journal.h"
#include "cache/state.h"

struct pm_file {
    struct pm_cache   *cache;
    struct pm_content *content; /* a reference */
    bool               writer; /* immutable */
    bool               wrote; /* content->lock; something was written through it */
    uint64_t           next; /* content->lock; where a sequential read goes on */
    uint64_t           window; /* content->lock; read-ahead */
    uint64_t           allowed; /* content->lock; its service takes a file of this size (draft.h) */
    struct pm_file    *behind; /* cache->keeper_lock; the next one of `unflushed` */
    bool               late; /* who released it: it is closed, but its upload has no time yet */
};

/* Tells the journal of what was closed when it could not be told; from the housekeeping thread, and at
 * the end. */
void pm_file_tick(struct pm_cache *c);

#define PM_TEMPORARY_MS (10 * 60 * 1000) /* a temporary or backup name left alone is a name */

/* When a closed content of this name may be sent (wall clock, ms). */
/* In a transaction: does the PUT make a thing of its own on the service, which then cannot be changed? An
 * empty file makes none, and stays PM_J_LOCAL. */
bool pm_file_is_drop(struct pm_cache *c, const struct pm_jentry *e);
int64_t pm_file_due(const struct pm_cache *c, const char *name);
/* Before anything is written since the last flush: the journal knows first. From then on it is no
 * untouched copy. Called with the content's lock. */
int pm_file_mark_locked(struct pm_cache *c, struct pm_content *k);
/* The end of the row in j.dirty that says, by its start, where the content's base ends: what lies beyond
 * is ours, be it written or not. Without the index nobody else knows. */
#define PM_FILE_BEYOND (INT64_MAX - 1)
/* In a transaction: writes that row. No base, no row. */
int pm_file_mark_base(struct pm_db *db, int64_t content, uint64_t base_end);
/* `len` bytes were written. Called with the content's lock. */
void pm_file_wrote_locked(struct pm_content *k, uint64_t len);

#endif
