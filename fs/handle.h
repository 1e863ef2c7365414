/* handle.h: what the kernel's file handles stand for, and the list of them: after a forced unmount
 * the kernel releases none, and the cache must see each file let go. Any thread. */
#ifndef PM_FS_HANDLE_H
#define PM_FS_HANDLE_H

#include "cache/cache.h"

struct pm_handle {
    pm_node           node; /* immutable, as file and text */
    struct pm_file   *file; /* owned; NULL for a special file */
    struct pm_buf     text; /* a special file as it was when opened */
    struct pm_handle *prev, *next; /* the list's lock */
};

struct pm_handles {
    pthread_mutex_t  lock; /* leaf */
    struct pm_handle head; /* lock; prev and next only */
};

void pm_handles_init(struct pm_handles *all);
/* Lets go of what is still listed. `forced`: no program has closed it; else the kernel had no time to
 * say so. No operation is running. */
void pm_handles_clear(struct pm_handles *all, bool forced);

/* Consumes `file` (NULL for a special one), also on failure: NULL, no memory. */
struct pm_handle *pm_handle_new(struct pm_handles *all, pm_node node, struct pm_file *file);
/* Closes and frees. */
void pm_handle_free(struct pm_handles *all, struct pm_handle *h);

#endif
