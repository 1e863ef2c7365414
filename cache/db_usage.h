/* usage.h: how much all contents take, as their rows say: kept as sums, since with many contents
 * counting them takes long, and file managers ask often. */
#ifndef PM_CACHE_DB_USAGE_H
#define PM_CACHE_DB_USAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct sqlite3;

struct pm_usage_sums {
    int64_t all;
    int64_t unsent; /* of these, what the journal will send */
    int64_t last_copy; /* sent, but the service cannot give it back */
};

struct pm_usage {
    struct pm_usage_sums pending; /* the database's lock; of the transaction that is open */
    atomic_int_least64_t all, unsent, last_copy; /* as of the last commit */
};

/* Counts what there is and, from then on, what every transaction of this connection changes. 0 or
 * -EIO. No transaction is open. */
int pm_usage_open(struct sqlite3 *sql, struct pm_usage *u);
/* Counts anew, for once that the sums cannot be right. 0 or -EIO. No transaction is open. */
int pm_usage_recount(struct sqlite3 *sql, struct pm_usage *u);
/* The transaction was committed, or rolled back. Called with the database's lock. */
void pm_usage_end(struct pm_usage *u, bool committed);
void pm_usage_get(struct pm_usage *u, struct pm_usage_sums *out);

#endif
