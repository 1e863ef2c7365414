/* db.h: the state folder's two SQLite files on one connection, and the home of SQLite.
 *
 * index.db (schema "main") is what is known of the services and can be had again from them.
 * journal.db (schema "j") is what the user did and the services do not have yet; with the data
 * files it is the user's work. Both are in WAL mode: a commit survives kill -9 at once, a power
 * cut after pm_db_sync.
 *
 * At each start both are of one moment (redo.h). If they cannot be, after a power cut, the journal
 * counts, and the index is made anew from it.
 *
 * Every statement runs inside pm_db_begin … pm_db_end, which hold the one lock. It is a leaf: never
 * held across a network wait or a callback out of cache/. */
#ifndef PM_CACHE_DB_H
#define PM_CACHE_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pm_db;
struct pm_usage_sums;
struct sqlite3;
struct sqlite3_stmt;

/* Opens (creates, migrates) both files in `dir`. A newer schema is refused untouched: -EPROTO. A
 * damaged index is moved aside and made anew, a damaged journal together with all contents. `why`
 * gets one line. */
int  pm_db_open(const char *dir, struct pm_db **out, char *why, size_t why_len);
/* The same for reading only, beside a daemon or without one. -ENOENT: there is none yet. */
int  pm_db_open_readonly(const char *dir, struct pm_db **out, char *why, size_t why_len);
void pm_db_close(struct pm_db *db);
/* Is one of the files ("index.db", "journal.db") whole and made by polymount? True if there is none.
 * Reads all of it, and may write beside it: for copies. */
bool pm_db_is_sound(const char *dir, const char *file);

/* Keeps some room in a file of that folder, to be given for what must be written down on a full disk. */
void pm_db_reserve(struct pm_db *db, const char *dir);

/* Takes the lock and starts a transaction. Always pair with pm_db_end. */
void pm_db_begin(struct pm_db *db);
/* Commits if err >= 0, else rolls back; gives the lock back. Returns err, or the commit's error. A
 * statement that failed in between fails the whole, whatever err says, and is what is returned; after
 * it none is run any more. Where the journal's file cannot be written when the index's was, that is made
 * up for as soon as it can be: only then a transaction that was refused may come true in part. */
int  pm_db_end(struct pm_db *db, int err);

/* Runs a statement to its end. `sql` must be a literal (its address keys the statement cache).
 * `types` has a letter for each ?1, ?2, …: i int64_t, z int64_t with -1 for NULL, s text (NULL
 * is NULL), b blob (const void *, size_t). 0 or -errno, which also fails the transaction. */
int pm_db_run(struct pm_db *db, const char *sql, const char *types, ...);
/* Runs statements that are no literal; what they do to the journal is in no index (redo.h). 0 or
 * -errno, which also fails the transaction. */
int pm_db_script(struct pm_db *db, const char *text);
/* The first column of the first row as a number; `none` if there is no row or it is NULL. */
int64_t pm_db_int(struct pm_db *db, int64_t none, const char *sql, const char *types, ...);
/* Starts a query; step with pm_db_row until it returns false, which resets the statement; or end
 * early with pm_db_reset. Never NULL: a failure shows as no rows and fails the transaction. */
struct sqlite3_stmt *pm_db_query(struct pm_db *db, const char *sql, const char *types, ...);
bool                 pm_db_row(struct pm_db *db, struct sqlite3_stmt *st);
void                 pm_db_reset(struct sqlite3_stmt *st);

/* Columns of the current row, from 0. Texts are borrowed until the next step; never NULL. */
int64_t     pm_col_int(struct sqlite3_stmt *st, int col);
bool        pm_col_null(struct sqlite3_stmt *st, int col);
const char *pm_col_text(struct sqlite3_stmt *st, int col);
const void *pm_col_blob(struct sqlite3_stmt *st, int col, size_t *len);
/* An owned copy; NULL: no memory, which fails the transaction. */
char *pm_col_dup(struct pm_db *db, struct sqlite3_stmt *st, int col);
/* Copies a text, cut to `size`. */
void        pm_col_copy(struct sqlite3_stmt *st, int col, char *out, size_t size);

/* SQLite's result code as 0 or -errno. `sql` may be NULL. */
int pm_db_errno(struct sqlite3 *sql, int rc);
/* The row id of the last INSERT. */
int64_t pm_db_last_id(struct pm_db *db);
/* Makes all that was committed survive a power cut; nobody else waits for it. 0 or -errno. */
int     pm_db_sync(struct pm_db *db);
/* What the contents take, as their rows say (usage.h). Takes no lock. */
void    pm_db_usage(struct pm_db *db, struct pm_usage_sums *out);
/* Moves the logs into the files where nobody is in the way; from a background thread. */
void    pm_db_checkpoint(struct pm_db *db);

#endif
