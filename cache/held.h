/* held.h: what is held here of the object that a copy, not sent yet, is one of. */
#ifndef PM_CACHE_HELD_H
#define PM_CACHE_HELD_H

#include "cache/state.h"

struct pm_held {
    struct pm_content *from; /* a reference */
    int64_t            gen;
};

/* Opens what is here of [off, *end) of the version that `k` (not locked, its base `base`) is a copy of,
 * in the content of the node `origin`. *end: how far it goes. False: its first byte is not here. */
bool pm_held_open(struct pm_cache *c, pm_node origin, struct pm_content *k, unsigned base, uint64_t off,
                  uint64_t *end, struct pm_held *out);
/* Reads `len` bytes of it, as often as wanted. 0; -ECANCELED: it is no more what it was. */
int  pm_held_read(const struct pm_held *h, void *buf, size_t len, uint64_t off);
void pm_held_close(struct pm_held *h);

#endif
