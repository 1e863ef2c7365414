/* A state database that cannot be read says so: whatever is asked then has the true answer or the true
 * errno, never "there is none". Each question is asked with the nth call of SQLite's failing, and all
 * later ones, for every n until none fails. */
#include "tests/unit/cache_env.h"
#include "tests/unit/inject/calls.h"

#include <errno.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct env e;
static pm_node    queued, refused, cached, unread;

static bool something_failed(void *arg)
{
    (void)arg;
    return env_sql(&e, "SELECT count(*) FROM j.entry WHERE state=4 AND NOT sending") == 1;
}

/* "cached" is on the service, and here, "unread" only there; "refused" was to go there, "queued" is to. */
static int setup(void **state)
{
    (void)state;
    env_start(&e);
    env_serve(&e, "cached", "text");
    env_serve(&e, "unread", "some text");
    assert_int_equal(env_list(&e, e.root), 0);
    cached = env_find(&e, "cached");
    unread = env_find(&e, "unread");
    assert_string_equal(env_text(&e, cached), "text");
    refused = env_write(&e, e.root, "refused", "too much");
    pm_memory_fault(e.b, PM_MEM_PUT, 1, -EFBIG, false);
    assert_int_equal(pm_queue_pause(e.c, false), 0);
    assert_true(env_until(something_failed, NULL));
    assert_int_equal(pm_queue_pause(e.c, true), 0);
    queued = env_write(&e, e.root, "queued", "later");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    env_close(&e);
    return 0;
}

static void write_to(const char *file)
{
    PM_AUTO(free) char *path = pm_asprintf("%s/%s", e.dir, file);
    sqlite3            *sql;

    assert_int_equal(sqlite3_open(path, &sql), SQLITE_OK);
    sqlite3_busy_timeout(sql, 10000);
    assert_int_equal(sqlite3_exec(sql, "INSERT OR REPLACE INTO meta(key, value) VALUES('test', 1)",
                                  NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(sql);
}

/* What the cache's connection knows of the files counts no more: it must read. */
static void forget_pages(void)
{
    write_to("journal.db");
    write_to("index.db");
}

/* Asks with every nth call failing; the question returns 0 for its true answer. How often it failed. */
static unsigned ask(int (*question)(void), bool on)
{
    unsigned errors = 0;
    bool     struck = true;

    for (unsigned n = 1; struck; n++) {
        int err;

        forget_pages();
        calls_arm(CALL_SQL, n, EIO, on);
        err = question();
        struck = calls_disarm() >= n;
        if (err && err != -EIO)
            fail_msg("with call %u failing: %s", n, strerror(-err));
        errors += err != 0;
    }
    assert_int_equal(question(), 0);
    return errors;
}

static void ask_every_nth(int (*question)(void), bool on)
{
    unsigned errors = 0;

    for (int i = 0; i < 100 && !errors; i++) /* a thread of the cache's may have read all just before */
        errors = ask(question, on);
    assert_true(errors > 0); /* it did ask the database */
}

/* --- questions. -ENOMSG: a wrong answer. */

static int state_of_queued(void)
{
    struct pm_info info;
    int            err = pm_info_node(e.c, queued, &info);

    return err ? err : strstr(info.state, "queued") || strstr(info.state, "waiting") ? 0 : -ENOMSG;
}

static int status_json(void)
{
    PM_AUTO(pm_buf) struct pm_buf b = {0};
    int                           err = pm_info_json(e.c, &b);

    return err ? err
           : strstr(b.ptr, "\"pending\":2") && strstr(b.ptr, "/refused\"") &&
                   strstr(b.ptr, "/queued\"")
               ? 0
               : -ENOMSG;
}

static int status_text(void)
{
    PM_AUTO(pm_buf) struct pm_buf b = {0};
    int                           err = pm_info_text(e.c, 0, &b);

    return err ? err : strstr(b.ptr, "/refused") && strstr(b.ptr, "2 changes") ? 0 : -ENOMSG;
}

static int wait_for_queued(void)
{
    static struct env_waiter w[1000]; /* they wait until the end */
    static size_t            n;
    int                      err;

    assert_true(n < PM_COUNT(w));
    env_waiter_init(&w[n]);
    err = pm_queue_wait(e.c, queued, &w[n++].w);
    return err == -EINPROGRESS ? 0 : err ? err : -ENOMSG;
}

static int look_up(void)
{
    struct pm_attr attr;

    return pm_tree_lookup(e.c, e.root, "queued", NULL, &attr);
}

static int look_up_what_is_listed(void)
{
    struct pm_attr attr;

    return pm_tree_lookup(e.c, e.root, "cached", NULL, &attr);
}

static int path_of_queued(void)
{
    PM_AUTO(free) char *path = pm_tree_path(e.c, queued);

    return !path ? -EIO : !strcmp(path, "/m/queued") ? 0 : -ENOMSG;
}

static int retry(void)
{
    uint64_t found;
    int      err = pm_work_retry(e.c, refused, &found);

    if (!err && env_sql(&e, "SELECT count(*) FROM j.entry WHERE state=4"))
        return -ENOMSG;
    return err;
}

static void hear(void *arg, const char *line)
{
    (void)arg, (void)line;
}

static int discard(void)
{
    uint64_t found;
    int      err = pm_work_discard(e.c, refused, hear, NULL, &found);

    if (!err && env_sql(&e, "SELECT count(*) FROM j.entry WHERE state=4"))
        return -ENOMSG;
    return err;
}

static int evict(void)
{
    uint64_t found;
    int      err = pm_work_evict(e.c, cached, false, NULL, NULL, &found);

    if (!err && env_sql(&e, "SELECT count(*) FROM content WHERE bytes>0 AND node="
                            "(SELECT id FROM node WHERE name='cached')"))
        return -ENOMSG;
    return err;
}

static int is_about_to_send(void)
{
    int err = pm_queue_advances(e.c);

    return err < 0 ? err : err ? 0 : -ENOMSG;
}

static int recover_sizes(void)
{
    int err;

    pm_db_begin(e.c->db);
    pm_db_run(e.c->db, "UPDATE node SET size=3 WHERE id=?1", "i", (int64_t)queued);
    err = pm_db_end(e.c->db, 0);
    if (!err)
        err = pm_store_recover_sizes(e.c->store);
    return err ? err : env_sql(&e, "SELECT size FROM node WHERE id=(SELECT node FROM j.entry WHERE state=6)") == 5 ? 0 : -ENOMSG;
}

/* --- tests */

static void what_is_queued_is_never_told_as_sent(void **state)
{
    (void)state;
    ask_every_nth(state_of_queued, true);
    ask_every_nth(status_json, true);
    ask_every_nth(status_text, true);
    ask_every_nth(wait_for_queued, true);
}

static void what_is_there_is_never_told_as_absent(void **state)
{
    (void)state;
    ask_every_nth(look_up, true);
    ask_every_nth(look_up, false);
    ask_every_nth(look_up_what_is_listed, true);
    ask_every_nth(look_up_what_is_listed, false);
    ask_every_nth(path_of_queued, true);
    ask_every_nth(path_of_queued, false);
}

/* Who waits for room is not told that none will come. */
static void what_will_be_sent_is_never_told_as_stuck(void **state)
{
    (void)state;
    pm_db_begin(e.c->db);
    pm_db_run(e.c->db, "UPDATE j.entry SET not_before=?1 WHERE state=2", "i",
              pm_wall_ms() + e.conf.op_timeout_ms);
    assert_int_equal(pm_db_end(e.c->db, 0), 0);
    e.conf.op_timeout_ms *= 2;
    assert_int_equal(pm_queue_pause(e.c, false), 0);
    ask_every_nth(is_about_to_send, true);
}

static void what_was_written_before_a_crash_is_as_long_as_it_is(void **state)
{
    (void)state;
    pm_db_begin(e.c->db);
    pm_db_run(e.c->db, "UPDATE j.entry SET state=6 WHERE state=2", "");
    assert_int_equal(pm_db_end(e.c->db, 0), 0);
    ask_every_nth(recover_sizes, false);
}

static void what_failed_is_tried_again_or_the_reason_is_told(void **state)
{
    (void)state;
    ask_every_nth(retry, true);
}

static void what_failed_is_given_up_or_the_reason_is_told(void **state)
{
    (void)state;
    ask_every_nth(discard, true);
}

static void what_is_cached_is_dropped_or_the_reason_is_told(void **state)
{
    (void)state;
    ask_every_nth(evict, true);
}

/* One call fails: nobody may take that for "it is not unsent". */
static void what_is_unsent_is_never_dropped_as_outdated(void **state)
{
    bool struck = true;

    (void)state;
    for (unsigned n = 1; struck; n++) {
        struct pm_content *k;

        assert_int_equal(pm_content_get(e.c->store, queued, &k), 0); /* somebody has it in hand */
        forget_pages();
        calls_arm(CALL_SQL, n, EIO, false);
        pm_store_superseded(e.c->store, queued);
        struck = calls_disarm() >= n;
        pm_content_put(k);
        assert_string_equal(env_text(&e, queued), "later");
    }
}

/* Opens the cache as it is, asking the service nothing. */
static int open_again(void)
{
    char why[256];
    int  err = pm_cache_open(&e.conf, "/mnt", NULL, &e.c, why, sizeof(why));

    if (err)
        e.c = NULL;
    else
        e.b = e.c->accounts[0].backend;
    return err;
}

static void what_a_start_cannot_read_is_not_forgotten(void **state)
{
    bool struck = true;

    (void)state;
    for (unsigned n = 1; struck; n++) {
        env_stop(&e);
        forget_pages();
        calls_arm(CALL_SQL, n, EIO, true);
        if (!open_again())
            pm_cache_stop(e.c);
        struck = calls_disarm() >= n;
        if (e.c)
            pm_cache_free(e.c);
        assert_int_equal(open_again(), 0);
        assert_int_equal(env_find(&e, "cached"), cached);
        assert_int_equal(env_find(&e, "queued"), queued);
    }
}

/* Of a state folder that nobody has open. */
static void change(const char *file, const char *sql_text)
{
    PM_AUTO(free) char *path = pm_asprintf("%s/%s", e.dir, file);
    sqlite3            *sql;

    assert_int_equal(sqlite3_open(path, &sql), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sql, sql_text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(sql);
}

/* What the index knew of the disk came to the journal; without it a power cut goes unnoticed. */
static void an_older_index_that_is_brought_up_to_date_loses_nothing(void **state)
{
    bool struck = true;

    (void)state;
    for (unsigned n = 1; struck; n++) {
        env_stop(&e);
        change("index.db", "DROP TABLE redo; DROP TABLE record; ALTER TABLE node DROP COLUMN fields;"
                           "PRAGMA user_version=2;"
                           "INSERT OR REPLACE INTO meta(key, value) VALUES('durable', '4711')");
        change("journal.db", "DELETE FROM meta WHERE key IN ('machine', 'era', 'durable')");
        calls_arm(CALL_SQL, n, EIO, true);
        if (!open_again())
            pm_cache_stop(e.c);
        struck = calls_disarm() >= n;
        if (e.c)
            pm_cache_free(e.c);
        assert_int_equal(open_again(), 0);
        assert_true(env_sql(&e, "SELECT value FROM j.meta WHERE key='durable'") >= 4711);
    }
}

/* "unread", cut off while the journal cannot be told, as it is after kill -9 just then. False: no call
 * failed. */
static bool crash_while_it_is_cut_off(unsigned n)
{
    struct pm_backend *service;
    struct env         after;
    bool               struck;
    int                err;

    assert_int_equal(pm_memory_ops.open(&e.accounts[0], &service), 0);
    calls_arm(CALL_SQL, n, EIO, true);
    err = pm_change_size(e.c, unread, 4, NULL);
    assert_true(!err || err == -EIO);
    struck = calls_disarm() >= n;
    pm_queue_pause(e.c, true);
    env_copy_folder(&e, &after);
    pm_memory_move(e.b, service);
    env_close(&e);
    e = after;
    e.conf.cache_dir = e.dir;
    e.conf.accounts = e.accounts;
    assert_int_equal(open_again(), 0);
    pm_memory_move(service, e.b);
    pm_memory_ops.close(service);
    assert_int_equal(pm_tree_resolve(e.c, "m", &e.root), 0);
    return struck;
}

static void what_was_cut_off_as_a_program_saw_it_is_so_at_the_service(void **state)
{
    bool struck = true;

    for (unsigned n = 1; struck; n++) {
        char     seen[16];
        uint64_t found;

        struck = crash_while_it_is_cut_off(n);
        snprintf(seen, sizeof(seen), "%s", env_text(&e, unread));
        if (strcmp(seen, "some") != 0)
            assert_string_equal(seen, "some text");
        pm_work_retry(e.c, 0, &found);
        env_sync(&e);
        assert_string_equal(env_served(&e, "unread"), seen);
        assert_string_equal(env_text(&e, unread), seen);
        env_close(&e);
        setup(state);
    }
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_queued_is_never_told_as_sent),
        TEST(what_is_there_is_never_told_as_absent),
        TEST(what_will_be_sent_is_never_told_as_stuck),
        TEST(what_was_written_before_a_crash_is_as_long_as_it_is),
        TEST(what_failed_is_tried_again_or_the_reason_is_told),
        TEST(what_failed_is_given_up_or_the_reason_is_told),
        TEST(what_is_cached_is_dropped_or_the_reason_is_told),
        TEST(what_is_unsent_is_never_dropped_as_outdated),
        TEST(what_a_start_cannot_read_is_not_forgotten),
        TEST(an_older_index_that_is_brought_up_to_date_loses_nothing),
        TEST(what_was_cut_off_as_a_program_saw_it_is_so_at_the_service),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    calls_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
