/* located.h: from where on the service a content is got. */
#ifndef PM_CACHE_LOCATED_H
#define PM_CACHE_LOCATED_H

#include "cache/state.h"

#define PM_ORIGIN_GONE ((pm_node)-1) /* the object that it was fetched from has another content now */

/* The node whose object the content is fetched from, or PM_ORIGIN_GONE. In a transaction. */
pm_node pm_located_origin(struct pm_cache *c, const struct pm_content *k);
/* The object that it is fetched from, as the index has it; *out is owned. 0; -ESTALE: it is gone. */
int pm_located_object(struct pm_cache *c, const struct pm_content *k, struct pm_row *row,
                      struct pm_entry **out);
/* The content's source by what the index says of its object now; it lives as long as the content. An
 * object that is in no list any more is got from where it was. 0; -ESTALE; -ENXIO, or why there is none. */
int pm_located_source(struct pm_cache *c, struct pm_content *k, struct pm_source **out);
/* Frees what a content that nobody uses any more was got from. NULL is fine. */
void pm_located_free(struct pm_located *l);

#endif
