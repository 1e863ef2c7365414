/* whole.h: a content that came whole is compared with the digest that its service tells of it. */
#ifndef PM_CACHE_WHOLE_H
#define PM_CACHE_WHOLE_H

#include "cache/state.h"

/* A transfer of the content ended: if nothing of it is missing, and its service told a digest, that is
 * checked, once, in the background. What differs is dropped, and said in the node's error; who waits gets
 * -ESTALE. What was written here is not checked. Called with content->lock. */
void pm_whole_check_locked(struct pm_cache *c, struct pm_content *k);

#endif
