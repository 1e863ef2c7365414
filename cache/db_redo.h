/* redo.h: index and journal are of one moment, though two files have no commit in common.
 *
 * SQLite commits the index first: a death in between leaves the journal one transaction behind, and
 * a power cut whatever of either was not synced. So each transaction that writes to the journal has
 * a number, kept in both, and leaves in the index what it does to the journal, as SQL, until that is
 * on the journal's disk. At a start what the journal lacks is done again. Where the journal is ahead,
 * or the index does not know enough, the journal counts: the index is to be made anew. */
#ifndef PM_CACHE_DB_REDO_H
#define PM_CACHE_DB_REDO_H

#include "cache/db.h"

#include "backends/util.h"

#include <stdatomic.h>

struct pm_redo { /* a part of struct pm_db; what is not said otherwise is its lock's */
    struct pm_buf        text; /* of this transaction */
    int64_t              pending; /* its number; 0: it has none */
    atomic_int_least64_t last; /* number of the last that was committed; read anywhere */
    atomic_int_least64_t synced; /* those up to here are on the journal's disk; written anywhere */
    int64_t              oldest; /* the index has none below */
};

enum pm_moment {
    PM_MOMENT_SAME,
    PM_MOMENT_BEHIND, /* the journal is, and can be brought up to the index */
    PM_MOMENT_APART, /* the index is of no use */
};

/* The statement is about to run. */
void pm_redo_note(struct pm_redo *r, struct sqlite3_stmt *st);
/* Before the commit: numbers the transaction if it wrote to the journal. 0 or -ENOMEM. */
int pm_redo_store(struct pm_redo *r, struct pm_db *db);
/* After the commit, or instead of it. */
void pm_redo_end(struct pm_redo *r, bool committed);

/* --- in a transaction of their own */

/* A commit failed: did the index take part in it, and the journal not? Before pm_redo_end. */
bool pm_redo_half(const struct pm_redo *r, struct pm_db *db);
/* How the two stand to each other, at a start. */
enum pm_moment pm_redo_compare(struct pm_redo *r, struct pm_db *db);
/* Does again what the journal lacks. 0 or -errno. */
int pm_redo_replay(struct pm_redo *r, struct pm_db *db);
/* The index was made of the journal as it is. */
void pm_redo_agreed(struct pm_redo *r, struct pm_db *db);

#endif
