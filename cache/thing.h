/* thing.h: a folder that is one thing of its service, such as a model with its files (PM_MANNER_THING): its
 * removal takes all that is in it, which went here before, name by name (hidden.h). */
#ifndef PM_CACHE_THING_H
#define PM_CACHE_THING_H

#include "cache/send.h"

/* In a transaction: is this folder such a thing, or in one? */
bool pm_thing_is(struct pm_cache *c, pm_node folder);
/* In a transaction: how many things the user could remove are beside this one; 0: it is in no folder of
 * such. */
int64_t pm_thing_count_beside(struct pm_cache *c, pm_node folder);

/* Whoever reads a content of the thing that is to go, wherever that is shown, still needs what is not here
 * yet. Where the object is none, what its row has in it. */
int pm_thing_save(struct pm_send *s, const struct pm_row *row);
/* No transaction is open. An object, as its row was, is gone. Where that is a thing, what else
 * shows it (struct pm_entry) goes, too, and lists that had it are out of date. `whole`: it is a folder of which pm_thing_is was
 * true: what was in it goes. */
void pm_thing_gone(struct pm_cache *c, const struct pm_row *row, bool whole);

#endif
