/* store_impl.h: what the store*.c files share. */
#ifndef PM_CACHE_STORE_IMPL_H
#define PM_CACHE_STORE_IMPL_H

#include "cache/store.h"

#define PM_STORE_BUCKETS 1024

struct pm_store {
    const struct pm_conf *conf;
    struct pm_db         *db;
    int                   dirfd; /* immutable: DIR/data */
    /* Held across opening local files, so that a content exists once; never across the network. */
    pthread_mutex_t    lock;
    struct pm_content *bucket[PM_STORE_BUCKETS]; /* lock */
    atomic_uint_least64_t used; /* bytes on disk of all contents */
    atomic_uint_least64_t held; /* bytes that were promised to transfers and did not land yet */
    atomic_uint_least64_t turn; /* grows when there may be something new to evict */
    atomic_bool           passing; /* the last look found something that is in use for a moment */
    uint64_t              barren; /* lock; the turn + 1 at which nothing more could be evicted */
    pthread_mutex_t       wait_lock; /* leaf */
    struct pm_waiter     *writers; /* wait_lock; who waits for room */
    atomic_uint_least64_t tidings; /* wait_lock to change; how often they were woken */
    bool                  stopped; /* wait_lock; nobody may wait any more */
    atomic_int_least64_t  era, durable; /* durable.h: the current era; the last that is on the disk */
    atomic_bool           written; /* something carries the current era */
};

/* The node's content, if it is in memory. No reference is taken. */
struct pm_content *pm_store_find_locked(struct pm_store *s, pm_node node);
/* Unsent, or a last copy: only the user may drop it. */
bool pm_store_is_ours(struct pm_store *s, pm_node node);
/* Nobody gets it any more; whoever has it keeps it. */
void pm_store_unhash_locked(struct pm_store *s, struct pm_content *c);
/* Row and file of a content go that is not in memory, unless it is unsent; a last copy only with
 * `last_copy`. Called with the lock. */
int pm_store_delete_closed(struct pm_store *s, pm_node node, bool last_copy);

#endif
