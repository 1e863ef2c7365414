/* The state databases: schemas, damage, transactions. */
#include "tests/unit/cache_env.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct env e;
static char       why[256];

static int setup(void **state)
{
    (void)state;
    env_init(&e);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    env_close(&e);
    return 0;
}

static const char *file(const char *name)
{
    static char path[128];

    snprintf(path, sizeof(path), "%s/%s", e.dir, name);
    return path;
}

static void open_and_close(int expected)
{
    struct pm_db *db;
    int           err = pm_db_open(e.dir, &db, why, sizeof(why));

    assert_int_equal(err, expected);
    if (!err)
        pm_db_close(db);
}

static void run_on(const char *name, const char *sql)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(file(name), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static char *contents(const char *name, size_t *len)
{
    int         fd = open(file(name), O_RDONLY);
    struct stat st;
    char       *buf;

    assert_true(fd >= 0);
    fstat(fd, &st);
    *len = (size_t)st.st_size;
    buf = malloc(*len + 1);
    assert_int_equal(read(fd, buf, *len), *len);
    close(fd);
    return buf;
}

static void put_meta(const char *sql)
{
    struct pm_db *db;

    assert_int_equal(pm_db_open(e.dir, &db, why, sizeof(why)), 0);
    pm_db_begin(db);
    pm_db_run(db, sql, "");
    assert_int_equal(pm_db_end(db, 0), 0);
    pm_db_close(db);
}

static int64_t ask(const char *sql)
{
    struct pm_db *db;
    int64_t       n;

    assert_int_equal(pm_db_open(e.dir, &db, why, sizeof(why)), 0);
    pm_db_begin(db);
    n = pm_db_int(db, -1, sql, "");
    assert_int_equal(pm_db_end(db, 0), 0);
    pm_db_close(db);
    return n;
}

static int version_of(const char *name)
{
    sqlite3      *db;
    sqlite3_stmt *st;
    int           version;

    assert_int_equal(sqlite3_open(file(name), &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    version = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return version;
}

static void set_version(const char *name, int version)
{
    char sql[64];

    snprintf(sql, sizeof(sql), "PRAGMA user_version=%d", version);
    run_on(name, sql);
}

static void a_newer_schema_is_refused_untouched(void **state)
{
    static const char *const names[] = {"index.db", "journal.db"};

    (void)state;
    open_and_close(0);
    for (size_t i = 0; i < PM_COUNT(names); i++) {
        int                 version = version_of(names[i]);
        size_t              len;
        size_t              len_after;
        PM_AUTO(free) char *before = NULL;
        PM_AUTO(free) char *after = NULL;

        set_version(names[i], version + 1);
        before = contents(names[i], &len);
        open_and_close(-EPROTO);
        assert_non_null(strstr(why, names[i]));
        assert_non_null(strstr(why, "newer"));
        after = contents(names[i], &len_after);
        assert_int_equal(len, len_after);
        assert_memory_equal(before, after, len);
        set_version(names[i], version);
    }
    open_and_close(0);
}

static void older_databases_are_brought_up_to_date_with_what_is_in_them(void **state)
{
    (void)state;
    open_and_close(0);
    run_on("index.db", "DROP TABLE redo;"
                       "DROP TABLE record;"
                       "INSERT INTO meta(key, value) VALUES('durable', '3');"
                       "ALTER TABLE content DROP COLUMN era;"
                       "ALTER TABLE node DROP COLUMN fields;"
                       "INSERT INTO content(node, version, size, used) VALUES(9, '', 1, 1);"
                       "PRAGMA user_version=1");
    run_on("journal.db", "DROP TABLE own;"
                         "DROP INDEX entry_other;"
                         "DROP INDEX entry_size;"
                         "DROP TABLE forgotten;"
                         "DROP TABLE session;"
                         "DROP TABLE draft;"
                         "DROP INDEX entry_sent;"
                         "ALTER TABLE entry DROP COLUMN sent;"
                         "DROP TABLE kept;"
                         "DROP INDEX entry_source;"
                         "ALTER TABLE entry DROP COLUMN copying;"
                         "ALTER TABLE entry DROP COLUMN era;"
                         "ALTER TABLE entry DROP COLUMN source;"
                         "ALTER TABLE dep DROP COLUMN source;"
                         "INSERT INTO entry(id, op, node, account, kind, parent, name, state, created)"
                         " VALUES(2, 2, 9, 1, 0, 1, 'd', 2, 1);"
                         "PRAGMA user_version=1");
    open_and_close(0);
    /* the checks make the statements fail if it is not there */
    run_on("journal.db", "CREATE TEMP TABLE one(n INTEGER CHECK(n=1));"
                         "INSERT INTO one SELECT count(*) FROM entry WHERE name='d' AND source IS NULL"
                         " AND era=0 AND sent IS NULL;"
                         "INSERT INTO one SELECT count(*)+1 FROM draft;"
                         "INSERT INTO one SELECT count(*)+1 FROM dep WHERE source;"
                         "INSERT INTO one SELECT count(*)+1 FROM kept;"
                         "INSERT INTO one SELECT count(*)+1 FROM own");
    run_on("index.db", "CREATE TEMP TABLE one(n INTEGER CHECK(n=1));"
                       "INSERT INTO one SELECT count(*) FROM content WHERE node=9 AND era=0");
    run_on("journal.db", "CREATE TEMP TABLE one(n INTEGER CHECK(n=1));"
                         "INSERT INTO one SELECT count(*) FROM meta WHERE key='durable' AND value=3");
}

/* A step that fails leaves the version before it, whole. */
static void a_migration_that_fails_changes_nothing(void **state)
{
    (void)state;
    open_and_close(0);
    run_on("index.db", "DROP TABLE redo; DROP TABLE record; DROP INDEX content_used;"
                       "ALTER TABLE node DROP COLUMN fields;"
                       "PRAGMA user_version=2;"
                       "CREATE TABLE redo(n INTEGER PRIMARY KEY); CREATE TABLE witness(n)");
    open_and_close(-EIO);
    assert_int_equal(version_of("index.db"), 2);
    run_on("index.db", "DROP TABLE redo");
    open_and_close(0);
    assert_int_equal(ask("SELECT count(*) FROM witness"), 0); /* it is no new one */
}

/* Is there a file of this name with something after it? */
static bool set_aside(const char *name)
{
    glob_t found;
    char   pattern[128];
    bool   there;

    snprintf(pattern, sizeof(pattern), "%s/%s.damaged*", e.dir, name);
    there = glob(pattern, 0, NULL, &found) == 0;
    if (there)
        globfree(&found);
    return there;
}

static void spoil(const char *name)
{
    char junk[8192];
    int  fd = open(file(name), O_WRONLY);

    memset(junk, 0x5a, sizeof(junk));
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, junk, sizeof(junk), 0), sizeof(junk));
    close(fd);
}

static void a_damaged_index_is_set_aside_and_made_anew(void **state)
{
    (void)state;
    put_meta("INSERT INTO j.meta(key, value) VALUES('x', '7')");
    spoil("index.db");
    assert_int_equal(ask("SELECT count(*) FROM node"), 0);
    assert_true(set_aside("index.db"));
    assert_int_equal(ask("SELECT value FROM j.meta WHERE key='x'"), 7);
}

static void a_damaged_journal_is_set_aside_with_all_contents(void **state)
{
    (void)state;
    put_meta("INSERT INTO meta(key, value) VALUES('x', '7')");
    assert_int_equal(mkdir(file("data"), 0700), 0);
    spoil("journal.db");
    open_and_close(0);
    assert_true(set_aside("journal.db"));
    assert_true(set_aside("data"));
    assert_int_equal(ask("SELECT count(*) FROM j.entry"), 0);
}

static void lose_journal(bool emptied)
{
    int fd;

    put_meta("INSERT INTO j.meta(key, value) VALUES('x', '7')");
    assert_true(!mkdir(file("data"), 0700) || errno == EEXIST);
    assert_int_equal(mkdir(file("data/01"), 0700), 0);
    fd = open(file("data/01/1"), O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(emptied ? truncate(file("journal.db"), 0) : unlink(file("journal.db")), 0);
}

static void contents_whose_journal_is_gone_are_set_aside(void **state)
{
    (void)state;
    lose_journal(false);
    open_and_close(0);
    assert_true(set_aside("data"));
    assert_true(set_aside("index.db"));
    assert_int_not_equal(access(file("data/01/1"), F_OK), 0);
    assert_int_equal(ask("SELECT count(*) FROM j.meta WHERE key='x'"), 0);
}

static void contents_whose_journal_is_empty_are_set_aside(void **state)
{
    (void)state;
    lose_journal(true);
    open_and_close(0);
    assert_true(set_aside("data"));
    assert_int_not_equal(access(file("data/01/1"), F_OK), 0);
}

static void a_failed_statement_rolls_the_whole_back(void **state)
{
    struct pm_db *db;

    (void)state;
    assert_int_equal(pm_db_open(e.dir, &db, why, sizeof(why)), 0);
    pm_log_level(PM_ERROR);
    pm_db_begin(db);
    assert_int_equal(pm_db_run(db, "INSERT INTO meta(key, value) VALUES('a', '1')", ""), 0);
    assert_int_equal(pm_db_run(db, "INSERT INTO j.meta(key, value) VALUES('a', '1')", ""), 0);
    assert_int_equal(pm_db_run(db, "INSERT INTO list(node, fetched) VALUES(1, NULL)", ""), -EEXIST);
    assert_int_equal(pm_db_run(db, "INSERT INTO meta(key, value) VALUES('b', '1')", ""), -EEXIST);
    assert_int_equal(pm_db_end(db, 0), -EEXIST);
    pm_db_begin(db);
    assert_int_equal(pm_db_int(db, -1, "SELECT count(*) FROM meta", ""), 0);
    assert_int_equal(pm_db_int(db, -1, "SELECT count(*) FROM j.meta", ""), 0);
    assert_int_equal(pm_db_end(db, 0), 0);
    pm_db_close(db);
}

static void an_error_of_the_caller_rolls_back_and_is_returned(void **state)
{
    struct pm_db *db;

    (void)state;
    assert_int_equal(pm_db_open(e.dir, &db, why, sizeof(why)), 0);
    pm_db_begin(db);
    pm_db_run(db, "INSERT INTO meta(key, value) VALUES('a', '1')", "");
    assert_int_equal(pm_db_end(db, -ENOTEMPTY), -ENOTEMPTY);
    pm_db_begin(db);
    assert_int_equal(pm_db_int(db, -1, "SELECT count(*) FROM meta", ""), 0);
    assert_int_equal(pm_db_end(db, 5), 5);
    pm_db_close(db);
}

static void what_was_committed_is_there_after_a_copy_of_the_files(void **state)
{
    struct pm_db *db;
    struct env    copy;

    (void)state;
    assert_int_equal(pm_db_open(e.dir, &db, why, sizeof(why)), 0);
    pm_db_begin(db);
    pm_db_run(db, "INSERT INTO j.meta(key, value) VALUES('x', '7')", "");
    assert_int_equal(pm_db_end(db, 0), 0);
    env_copy_folder(&e, &copy);
    pm_db_close(db);
    assert_int_equal(pm_db_open(copy.dir, &db, why, sizeof(why)), 0);
    pm_db_begin(db);
    assert_int_equal(pm_db_int(db, 0, "SELECT value FROM j.meta WHERE key='x'", ""), 7);
    pm_db_end(db, 0);
    pm_db_close(db);
    env_close(&copy);
}

static void numbers_texts_blobs_and_nulls_come_back(void **state)
{
    struct pm_db        *db;
    struct sqlite3_stmt *st;
    size_t               len;
    char                 cut[4];

    (void)state;
    assert_int_equal(pm_db_open(e.dir, &db, why, sizeof(why)), 0);
    pm_db_begin(db);
    st = pm_db_query(db, "SELECT ?1, ?2, ?3, ?4, ?5, ?6", "izzssb", INT64_MIN, (int64_t)-1,
                     (int64_t)-2, "täxt", NULL, "a\0b", (size_t)3);
    assert_true(pm_db_row(db, st));
    assert_int_equal(pm_col_int(st, 0), INT64_MIN);
    assert_true(pm_col_null(st, 1));
    assert_int_equal(pm_col_int(st, 2), -2);
    assert_string_equal(pm_col_text(st, 3), "täxt");
    assert_string_equal(pm_col_text(st, 4), "");
    assert_memory_equal(pm_col_blob(st, 5, &len), "a\0b", 3);
    assert_int_equal(len, 3);
    pm_col_copy(st, 3, cut, sizeof(cut));
    assert_int_equal(strlen(cut), 3);
    assert_false(pm_db_row(db, st));
    assert_int_equal(pm_db_end(db, 0), 0);
    pm_db_close(db);
}

static void read_only_sees_a_running_daemon_and_changes_nothing(void **state)
{
    struct pm_db *db;
    struct pm_db *reader;

    (void)state;
    assert_int_equal(pm_db_open_readonly(e.dir, &reader, why, sizeof(why)) < 0, 1);
    assert_int_not_equal(access(file("index.db"), F_OK), 0);
    assert_int_equal(pm_db_open(e.dir, &db, why, sizeof(why)), 0);
    pm_db_begin(db);
    pm_db_run(db, "INSERT INTO j.meta(key, value) VALUES('x', '7')", "");
    assert_int_equal(pm_db_end(db, 0), 0);
    assert_int_equal(pm_db_open_readonly(e.dir, &reader, why, sizeof(why)), 0);
    pm_db_begin(reader);
    assert_int_equal(pm_db_int(reader, 0, "SELECT value FROM j.meta WHERE key='x'", ""), 7);
    assert_int_equal(pm_db_end(reader, 0), 0);
    pm_db_begin(reader);
    assert_true(pm_db_run(reader, "DELETE FROM j.meta", "") < 0);
    assert_true(pm_db_end(reader, 0) < 0);
    pm_db_close(reader);
    pm_db_close(db);
}

static void read_only_leaves_no_new_file_where_there_is_no_state(void **state)
{
    struct pm_db *reader;

    (void)state;
    assert_true(pm_db_open_readonly(e.dir, &reader, why, sizeof(why)) < 0);
    assert_int_not_equal(access(file("index.db"), F_OK), 0);
    assert_int_not_equal(access(file("journal.db"), F_OK), 0);
}

static void sync_and_checkpoint_may_come_at_any_time(void **state)
{
    struct pm_db *db;

    (void)state;
    assert_int_equal(pm_db_open(e.dir, &db, why, sizeof(why)), 0);
    assert_int_equal(pm_db_sync(db), 0);
    pm_db_checkpoint(db);
    pm_db_begin(db);
    pm_db_run(db, "INSERT INTO meta(key, value) VALUES('x', '7')", "");
    pm_db_checkpoint(db);
    assert_int_equal(pm_db_end(db, 0), 0);
    pm_db_checkpoint(db);
    assert_int_equal(pm_db_sync(db), 0);
    pm_db_close(db);
    assert_int_equal(ask("SELECT value FROM meta WHERE key='x'"), 7);
}

/* A new index numbers nodes and contents from 1 again: what the journal still names must not be
 * overwritten by that. */
static void unsent_work_outlives_a_damaged_index(void **state)
{
    pm_node node;
    pm_node other;

    (void)state;
    env_open(&e);
    pm_queue_pause(e.c, true);
    node = env_write(&e, e.root, "mine.txt", "my work");
    assert_string_equal(env_text(&e, node), "my work");
    env_stop(&e);
    spoil("index.db");
    env_open(&e);
    env_serve(&e, "theirs.txt", "their work");
    assert_int_equal(env_list(&e, e.root), 0);
    other = env_find(&e, "theirs.txt");
    assert_true(other != 0);
    assert_string_equal(env_text(&e, other), "their work");
    assert_true(env_find(&e, "mine.txt") != 0);
    assert_string_equal(env_text(&e, env_find(&e, "mine.txt")), "my work");
    env_sync(&e);
    assert_string_equal(env_served(&e, "mine.txt"), "my work");
}

static void write_back(const char *name, const char *buf, size_t len)
{
    int fd = open(file(name), O_WRONLY | O_TRUNC);

    assert_int_equal(write(fd, buf, len), len);
    close(fd);
}

/* As a death between the two files' commits leaves it. */
static void a_transaction_that_only_the_index_has_is_carried_out_in_the_journal_too(void **state)
{
    static const char *const sql[] = {
        "INSERT INTO j.meta(key, value) VALUES('a', 'it''s')", "UPDATE j.meta SET value='1' WHERE key='a'",
        "INSERT INTO main.meta(key, value) VALUES('a', '1')",  "DELETE FROM j.meta WHERE key='old'"};
    PM_AUTO(free) char *before = NULL;
    struct pm_db       *db;
    size_t              len;

    (void)state;
    put_meta("INSERT INTO j.meta(key, value) VALUES('old', '1')");
    before = contents("journal.db", &len);
    assert_int_equal(pm_db_open(e.dir, &db, why, sizeof(why)), 0);
    pm_db_begin(db);
    for (size_t i = 0; i < PM_COUNT(sql); i++)
        pm_db_run(db, sql[i], "");
    assert_int_equal(pm_db_end(db, 0), 0);
    pm_db_close(db);
    write_back("journal.db", before, len);
    assert_int_equal(ask("SELECT value FROM j.meta WHERE key='a'"), 1);
    assert_int_equal(ask("SELECT count(*) FROM j.meta WHERE key='old'"), 0);
    put_meta("UPDATE j.meta SET value='2' WHERE key='a'");
    assert_int_equal(ask("SELECT value FROM j.meta WHERE key='a'"), 2); /* and only once */
}

/* A number added to what is there: twice shows. */
static void add(struct pm_db *db, const char *key, int64_t n)
{
    pm_db_begin(db);
    pm_db_run(db, "INSERT INTO j.meta(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET"
                  " value=value + ?2", "si", key, n);
    assert_int_equal(pm_db_end(db, 0), 0);
}

/* As a power cut leaves it of which the journal's log came to nothing. */
static void what_was_done_since_the_journal_was_on_the_disk_is_done_again(void **state)
{
    PM_AUTO(free) char *before = NULL;
    struct pm_db       *db;
    size_t              len;

    (void)state;
    assert_int_equal(pm_db_open(e.dir, &db, why, sizeof(why)), 0);
    add(db, "sum", 1);
    assert_int_equal(pm_db_sync(db), 0);
    add(db, "sum", 10); /* what is on the disk is not kept beyond this one */
    pm_db_close(db);
    assert_int_equal(ask("SELECT count(*) FROM main.redo"), 1);
    before = contents("journal.db", &len);
    assert_int_equal(pm_db_open(e.dir, &db, why, sizeof(why)), 0);
    for (int i = 0; i < 5; i++)
        add(db, "sum", 100);
    add(db, "other", 7);
    pm_db_close(db);
    write_back("journal.db", before, len);
    assert_int_equal(pm_db_open(e.dir, &db, why, sizeof(why)), 0);
    add(db, "sum", 1000);
    pm_db_close(db);
    assert_int_equal(ask("SELECT value FROM j.meta WHERE key='sum'"), 1511);
    assert_int_equal(ask("SELECT value FROM j.meta WHERE key='other'"), 7);
}

/* As a power cut leaves it of which the index's log came to nothing: the node that the journal names
 * is not given to another file. */
static void an_index_that_is_behind_the_journal_is_made_anew(void **state)
{
    PM_AUTO(free) char *before = NULL;
    pm_node             mine;
    size_t              len;

    (void)state;
    env_open(&e);
    pm_queue_pause(e.c, true);
    env_stop(&e);
    before = contents("index.db", &len);
    env_open(&e);
    pm_queue_pause(e.c, true);
    mine = env_write(&e, e.root, "mine.txt", "my work");
    env_stop(&e);
    write_back("index.db", before, len);
    env_open(&e);
    pm_queue_pause(e.c, true);
    env_serve(&e, "theirs.txt", "their work");
    assert_int_equal(env_list(&e, e.root), 0);
    assert_string_equal(env_text(&e, env_find(&e, "theirs.txt")), "their work");
    assert_int_equal(env_find(&e, "mine.txt"), mine);
    assert_string_equal(env_text(&e, mine), "my work");
    env_sync(&e);
    assert_string_equal(env_served(&e, "mine.txt"), "my work");
    env_stop(&e);
    assert_false(set_aside("index.db"));
    assert_int_equal(ask("SELECT count(*) FROM node WHERE name='theirs.txt'"), 1); /* once is enough */
}

/* A file was renamed over another's object, where that is an update: what it has is only on the service,
 * as the object that goes afterwards. */
static void what_was_only_renamed_is_not_taken_for_zeros_without_the_index(void **state)
{
    (void)state;
    open_and_close(0);
    run_on("journal.db",
           "INSERT INTO entry(id, op, node, account, kind, parent, name, rid, base, content, size,"
           " state, created) VALUES(4, 1, 20, 1, 1, 1, 'b', 'R-B', 'vb', 9, 10, 2, 1),"
           " (5, 3, 21, 1, 1, 1, 'a', 'R-A', 'va', NULL, 0, 2, 1),"
           " (6, 1, 22, 1, 1, 1, 'mine', NULL, '', 10, 7, 2, 1);"
           "UPDATE entry SET gen=1 WHERE id=6;"
           "INSERT INTO dep(entry, needs) VALUES(5, 4)");
    spoil("index.db");
    assert_int_equal(ask("SELECT size FROM content WHERE node=20 AND origin=21 AND version='va' AND"
                         " present IS NULL"), 10);
    assert_int_equal(ask("SELECT size FROM content WHERE node=22 AND origin IS NULL"), 0);
    run_on("journal.db", "DELETE FROM dep");
    spoil("index.db");
    assert_int_equal(ask("SELECT size FROM content WHERE node=20 AND origin=-1"), 10);
}

static void grow(struct pm_db *db, int64_t bytes, int expected)
{
    pm_db_begin(db);
    pm_db_run(db, "INSERT OR REPLACE INTO main.meta(key, value) VALUES('grown', ?1)", "i", bytes);
    pm_db_run(db, "INSERT OR REPLACE INTO j.meta(key, value) VALUES('grown', hex(zeroblob(?1)))", "i",
              bytes / 2);
    assert_int_equal(pm_db_end(db, 0) < 0 ? -1 : 0, expected);
}

static int64_t asked(struct pm_db *db, const char *sql)
{
    int64_t n;

    pm_db_begin(db);
    n = pm_db_int(db, -1, sql, "");
    assert_int_equal(pm_db_end(db, 0), 0);
    return n;
}

#define JOURNAL_GREW "SELECT length(value) FROM j.meta WHERE key='grown'"
#define INDEX_GREW   "SELECT value FROM main.meta WHERE key='grown'"

/* The index has room for its part, the journal for its own has none. */
static void a_transaction_of_which_one_file_has_no_room_is_whole_later(void **state)
{
    struct rlimit was;
    struct pm_db *db;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(pm_db_open(e.dir, &db, why, sizeof(why)), 0);
    grow(db, 300000, 0);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){.rlim_cur = 400000, .rlim_max = was.rlim_max});
    grow(db, 290000, -1);
    assert_int_equal(asked(db, JOURNAL_GREW), 300000);
    grow(db, 280000, -1); /* nothing overtakes it */
    setrlimit(RLIMIT_FSIZE, &was);
    assert_int_equal(asked(db, JOURNAL_GREW), 290000);
    assert_int_equal(asked(db, INDEX_GREW), 290000);
    grow(db, 270000, 0);
    pm_db_close(db);
    assert_int_equal(ask(JOURNAL_GREW), 270000);
    assert_int_equal(ask(INDEX_GREW), 270000);
}

static off_t size_of(const char *name)
{
    struct stat st;

    return stat(file(name), &st) ? 0 : st.st_size;
}

static void the_logs_of_a_busy_day_do_not_fill_the_disk(void **state)
{
    struct pm_db *db;

    (void)state;
    assert_int_equal(pm_db_open(e.dir, &db, why, sizeof(why)), 0);
    for (int i = 0; i < 30; i++)
        grow(db, 1000000, 0);
    assert_true(size_of("journal.db-wal") > 20000000);
    pm_db_checkpoint(db);
    grow(db, 1000, 0);
    assert_true(size_of("journal.db-wal") < 10000000);
    pm_db_close(db);
    assert_int_equal(ask(JOURNAL_GREW), 1000);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_newer_schema_is_refused_untouched),
        TEST(older_databases_are_brought_up_to_date_with_what_is_in_them),
        TEST(a_migration_that_fails_changes_nothing),
        TEST(a_damaged_index_is_set_aside_and_made_anew),
        TEST(a_damaged_journal_is_set_aside_with_all_contents),
        TEST(contents_whose_journal_is_gone_are_set_aside),
        TEST(contents_whose_journal_is_empty_are_set_aside),
        TEST(a_failed_statement_rolls_the_whole_back),
        TEST(an_error_of_the_caller_rolls_back_and_is_returned),
        TEST(what_was_committed_is_there_after_a_copy_of_the_files),
        TEST(numbers_texts_blobs_and_nulls_come_back),
        TEST(read_only_sees_a_running_daemon_and_changes_nothing),
        TEST(read_only_leaves_no_new_file_where_there_is_no_state),
        TEST(sync_and_checkpoint_may_come_at_any_time),
        TEST(unsent_work_outlives_a_damaged_index),
        TEST(a_transaction_that_only_the_index_has_is_carried_out_in_the_journal_too),
        TEST(what_was_done_since_the_journal_was_on_the_disk_is_done_again),
        TEST(an_index_that_is_behind_the_journal_is_made_anew),
        TEST(what_was_only_renamed_is_not_taken_for_zeros_without_the_index),
        TEST(a_transaction_of_which_one_file_has_no_room_is_whole_later),
        TEST(the_logs_of_a_busy_day_do_not_fill_the_disk),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
