/* link.h: the address that a published folder has on its service, its slug or its id, as a name in the
 * account's root: a link to the folder, which keeps its own name. It is found by name and never listed.
 *
 * No row is behind it: its number is the folder's with a bit that no row gets to. */
#ifndef PM_CACHE_LINK_H
#define PM_CACHE_LINK_H

#include "cache/state.h"

#include <errno.h>

static inline bool pm_link_is(pm_node node)
{
    return node & (UINT64_C(1) << 62);
}

/* Is `name`, that nothing is shown by, such a link? 0 or -ENOENT; *folder (may be NULL) is where it leads. */
int pm_link_find(struct pm_cache *c, pm_node parent, const char *name, pm_node *folder);
/* The link to the folder. -ENOENT: there is none. */
int pm_link_attr(struct pm_cache *c, pm_node folder, struct pm_attr *out);
/* A name was asked to be changed that nothing is shown by: what to answer. */
static inline int pm_link_refuse(struct pm_cache *c, pm_node parent, const char *name, int err)
{
    return err == -ENOENT && !pm_link_find(c, parent, name, NULL) ? -EPERM : err;
}

#endif
