#include "cache/db_redo.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

static bool writes_journal(const char *sql)
{
    return !strncmp(sql, "UPDATE j.", 9) || !strncmp(sql, "DELETE FROM j.", 14) ||
           (!strncmp(sql, "INSERT ", 7) && strstr(sql, " INTO j."));
}

void pm_redo_note(struct pm_redo *r, struct sqlite3_stmt *st)
{
    char *text;

    if (!st || !writes_journal(sqlite3_sql(st)))
        return;
    text = sqlite3_expanded_sql(st);
    if (!text) {
        r->text.failed = true; /* pm_redo_store tells */
        return;
    }
    pm_buf_str(&r->text, text);
    pm_buf_str(&r->text, ";\n");
    sqlite3_free(text);
}

int pm_redo_store(struct pm_redo *r, struct pm_db *db)
{
    PM_AUTO(free) char *text = NULL;
    int64_t             number = r->last + 1;
    int64_t             synced = r->synced;

    if (!r->text.len && !r->text.failed)
        return 0;
    text = pm_buf_take(&r->text);
    if (!text)
        return -ENOMEM;
    pm_db_run(db, "INSERT INTO main.redo(n, text) VALUES(?1, ?2)", "is", number, text);
    pm_db_run(db, "INSERT OR REPLACE INTO j.meta(key, value) VALUES('both', ?1)", "i", number);
    if (synced >= r->oldest) {
        pm_db_run(db, "DELETE FROM main.redo WHERE n<=?1", "i", synced);
        r->oldest = synced + 1; /* should this be rolled back, the next one takes them along */
    }
    r->pending = number;
    return 0;
}

void pm_redo_end(struct pm_redo *r, bool committed)
{
    if (committed && r->pending)
        r->last = r->pending;
    r->pending = 0;
    pm_buf_free(&r->text);
    r->text = (struct pm_buf){0};
}

static int64_t of_journal(struct pm_db *db)
{
    return pm_db_int(db, 0, "SELECT value FROM j.meta WHERE key='both'", "");
}

static int64_t of_index(struct pm_db *db)
{
    return pm_db_int(db, 0, "SELECT max(n) FROM main.redo", "");
}

bool pm_redo_half(const struct pm_redo *r, struct pm_db *db)
{
    return r->pending && of_index(db) == r->pending && of_journal(db) != r->pending;
}

enum pm_moment pm_redo_compare(struct pm_redo *r, struct pm_db *db)
{
    int64_t journal = of_journal(db);
    int64_t index = of_index(db);
    int64_t known = pm_db_int(db, 0, "SELECT count(*) FROM main.redo WHERE n>?1", "i", journal);

    r->last = index;
    if (index == journal)
        return PM_MOMENT_SAME;
    return index > journal && known == index - journal ? PM_MOMENT_BEHIND : PM_MOMENT_APART;
}

int pm_redo_replay(struct pm_redo *r, struct pm_db *db)
{
    struct sqlite3_stmt *st = pm_db_query(
        db, "SELECT text FROM main.redo WHERE n>?1 ORDER BY n", "i", of_journal(db));
    int err = 0;

    while (!err && pm_db_row(db, st)) {
        err = pm_db_script(db, pm_col_text(st, 0));
        if (err)
            pm_db_reset(st);
    }
    pm_db_run(db,
              "INSERT OR REPLACE INTO j.meta(key, value) SELECT 'both', max(n) FROM main.redo", "");
    r->pending = of_index(db);
    pm_buf_free(&r->text); /* the journal alone: there is nothing to be told */
    r->text = (struct pm_buf){0};
    return err;
}

void pm_redo_agreed(struct pm_redo *r, struct pm_db *db)
{
    pm_db_run(db, "DELETE FROM main.redo", "");
    pm_db_run(db, "INSERT INTO main.redo(n, text) VALUES(?1, '')", "i", of_journal(db));
    r->last = of_journal(db);
    pm_buf_free(&r->text);
    r->text = (struct pm_buf){0};
}
