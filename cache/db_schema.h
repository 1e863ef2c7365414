/* db_schema.h: the tables of the two files, and how those of older versions become these. For db.c. */
#ifndef PM_CACHE_DB_SCHEMA_H
#define PM_CACHE_DB_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>

struct sqlite3;

/* Makes or migrates the tables of both, "main" and the attached "j", each in one transaction. -EPROTO: one
 * is of a newer polymount, and untouched. `why` gets one line. */
int pm_schema_prepare(struct sqlite3 *sql, char *why, size_t why_len);
/* On a connection that only looks at them: what all that is shown is asked with. 0 or -errno. */
int pm_schema_look(struct sqlite3 *sql);
/* Are both of just this version? */
bool pm_schema_is_ours(struct sqlite3 *sql);

#endif
