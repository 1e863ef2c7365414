/* send.h: one entry of the journal on its way to its service. */
#ifndef PM_CACHE_SEND_H
#define PM_CACHE_SEND_H

#include "cache/journal.h"
#include "cache/state.h"

struct pm_send {
    struct pm_cache       *cache;
    struct pm_account     *account;
    struct pm_jentry      *e;
    struct pm_ctx         *ctx;
    struct pm_row          row; /* of the entry's node, when its object was looked at */
    atomic_uint_least64_t *sent;
};

/* "name (conflict DATE host).ext", cut to fit. */
void pm_send_conflict_name(const char *name, char out[PM_NAME_MAX + 1]);

#endif
