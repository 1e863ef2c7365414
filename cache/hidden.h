/* hidden.h: names in the folder of a thing (a model with its files) that a program removed. Nothing is
 * sent for one: only the removal of the folder itself removes the thing. Until then the name is gone here
 * and the service still has it, so it is back after 10 minutes.
 *
 * This is in memory only (a temporary table of the connection, so that it is a part of the transaction
 * that hides): a restart brings the names back sooner, which loses nothing, while a name that stayed
 * hidden by a row that outlived its reason would be a file that cannot be found. */
#ifndef PM_CACHE_HIDDEN_H
#define PM_CACHE_HIDDEN_H

#include "cache/state.h"

#define PM_HIDDEN_MS (10 * 60 * 1000)

/* --- in a transaction */

/* The node is not shown where the known list has it. 0 or -errno. */
int  pm_hidden_add(struct pm_cache *c, pm_node node);
bool pm_hidden_is(struct pm_db *db, pm_node node);
/* It is shown there again; all that is in this folder, at any depth. 0 or -errno. */
int  pm_hidden_show(struct pm_db *db, pm_node node);
int  pm_hidden_show_below(struct pm_db *db, pm_node folder);
/* What the known list has at this place, and is hidden; 0: nothing. */
pm_node pm_hidden_at(struct pm_db *db, pm_node parent, const char *name);

/* --- no transaction is open */

/* Names whose time is over are back. From the housekeeping thread. */
void pm_hidden_tick(struct pm_cache *c);

#endif
