/* damage.h: what of a state folder cannot be used, and what becomes of it. */
#ifndef PM_CACHE_DB_DAMAGE_H
#define PM_CACHE_DB_DAMAGE_H

#include <stdbool.h>
#include <stdint.h>

/* Before the databases are opened. The index can be had again from the services: a damaged one goes
 * aside. A damaged journal goes together with the contents, of which some are nowhere else; so do the
 * contents of one that is gone. *anew: the index is to be made of the journal. 0 or -errno, also of what cannot be looked at now. */
int  pm_damage_set_aside(const char *dir, bool *anew);
/* The index, sound as it may be, is of no use. 0 or -errno. */
int  pm_damage_drop_index(const char *dir);
/* The highest number of a file in `dir`/data: contents' ids up to it were given. */
int  pm_damage_last_file(const char *dir, int64_t *last);

#endif
