/* What one service keeps: the rows of one SQLite file, DIR/NAME.sqlite, and files of bytes that
 * grow in the folder DIR/NAME. All of it outlives a kill of this program (not a power cut: nothing
 * is synced).
 *
 * Any thread. A change that consists of several calls is put between ledger_begin() and
 * ledger_commit(), which hold the (recursive) lock and make it one transaction. */
#ifndef EMULATOR_LEDGER_H
#define EMULATOR_LEDGER_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ledger;

/* `name` is static. 0 or a negative errno, which it has explained. */
int ledger_open(const char *dir, const char *name, const char *schema, struct ledger **out);
void ledger_close(struct ledger *l);    /* NULL is fine */

void ledger_begin(struct ledger *l);
void ledger_commit(struct ledger *l);

/* A statement; takes the lock, and every use ends with ledger_done() or _finish(). `types` has a
 * letter for each value: 's' is a text, 'i' an int64_t. */
sqlite3_stmt *ledger_use(struct ledger *l, const char *sql, const char *types, ...);
bool ledger_next(struct ledger *l, sqlite3_stmt *s);    /* is there a row? */
void ledger_done(struct ledger *l, sqlite3_stmt *s);
void ledger_finish(struct ledger *l, sqlite3_stmt *s);  /* takes one step and is done */
int64_t ledger_finish_number(struct ledger *l, sqlite3_stmt *s);    /* of its only row; else 0 */
void ledger_text(sqlite3_stmt *s, int column, char *out, size_t size);

/* Of the last change; lock held. */
int64_t ledger_last_row(struct ledger *l);
bool ledger_changed(struct ledger *l);

/* A file of bytes: a descriptor, read and write, owned by the caller, or -errno. */
int ledger_bytes(struct ledger *l, const char *bytes);
int ledger_folder(const struct ledger *l);      /* where they are; borrowed */
void ledger_drop_bytes(struct ledger *l, const char *bytes);

/* Writes at an offset. Runs of zeros become holes, so that gigabytes of them cost no disk; nothing
 * was ever written to the file at and after *written, which moves. 0 or -errno. */
int sparse_write(int fd, uint64_t *written, const char *bytes, size_t len, uint64_t at);

#endif
