/* A clock that was far ahead and is set back: nothing waits for the time that it showed. */
#include "tests/unit/cache_env.h"

#include "cache/clock.h"
#include "cache/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define YEAR_MS (INT64_C(365) * 24 * 3600 * 1000)

static struct env e;

static int setup(void **state)
{
    (void)state;
    env_start(&e);
    env_serve(&e, "gone", "text");
    assert_int_equal(env_list(&e, e.root), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    env_close(&e);
    return 0;
}

static bool all_sent(void *arg)
{
    (void)arg;
    return env_sql(&e, "SELECT count(*) FROM j.entry") == 0;
}

/* A file that is closed and one that is removed, while the clock is a year ahead. */
static void work_a_year_ahead(void)
{
    env_write(&e, e.root, "new", "text");
    assert_int_equal(pm_change_unlink(e.c, e.root, "gone"), 0);
    pm_db_begin(e.c->db);
    pm_db_run(e.c->db, "UPDATE j.entry SET not_before=not_before+?1", "i", YEAR_MS);
    assert_int_equal(pm_db_end(e.c->db, 0), 0);
}

static void set_back(void)
{
    pm_db_begin(e.c->db);
    assert_int_equal(pm_db_end(e.c->db, pm_clock_mend(e.c)), 0);
}

static void what_was_closed_when_the_clock_was_ahead_is_sent_after_a_restart(void **state)
{
    struct pm_backend *service;

    (void)state;
    work_a_year_ahead();
    assert_int_equal(pm_memory_ops.open(&e.accounts[0], &service), 0);
    pm_memory_move(e.b, service);
    env_stop(&e);
    env_open(&e);
    pm_memory_move(service, e.b);
    pm_memory_ops.close(service);
    assert_int_equal(pm_queue_pause(e.c, false), 0);
    assert_true(env_until(all_sent, NULL));
    assert_string_equal(env_served_names(&e, ""), "new");
}

static void what_was_closed_when_the_clock_was_ahead_is_sent_when_it_is_set_back(void **state)
{
    (void)state;
    work_a_year_ahead();
    set_back();
    assert_int_equal(pm_queue_pause(e.c, false), 0);
    assert_true(env_until(all_sent, NULL));
    assert_string_equal(env_served_names(&e, ""), "new");
}

static void a_removal_can_still_be_taken_back_then(void **state)
{
    int64_t least = pm_wall_ms() + 3600000;

    (void)state;
    e.conf.delete_delay_ms = 3600000;
    work_a_year_ahead();
    set_back();
    assert_true(env_sql(&e, "SELECT not_before FROM j.entry WHERE op=3") >= least);
    assert_true(env_sql(&e, "SELECT not_before FROM j.entry WHERE op=3") <= pm_wall_ms() + 3600000);
}

static void what_waits_as_it_should_goes_on_waiting(void **state)
{
    int64_t before;

    (void)state;
    env_write(&e, e.root, "x.tmp", "text"); /* a temporary name */
    before = env_sql(&e, "SELECT not_before FROM j.entry");
    assert_true(before > pm_wall_ms() + PM_TEMPORARY_MS / 2);
    set_back();
    assert_int_equal(env_sql(&e, "SELECT not_before FROM j.entry"), before);
}

static void what_somebody_writes_to_is_held_whatever_the_clock_says(void **state)
{
    struct pm_file *f;
    struct pm_attr  attr;

    (void)state;
    assert_int_equal(pm_change_create(e.c, e.root, "open", NULL, &attr), 0);
    assert_int_equal(pm_file_open(e.c, attr.node, 1, &f), 0);
    assert_int_equal(pm_file_write(f, "x", 1, 0), 1);
    set_back();
    assert_true(env_sql(&e, "SELECT not_before FROM j.entry") == PM_J_HELD);
    pm_file_release(f);
}

static void only_a_clock_that_is_set_back_is_noticed(void **state)
{
    int64_t ahead = 0;

    (void)state;
    assert_false(pm_clock_went_back(&ahead));
    assert_false(pm_clock_went_back(&ahead));
    ahead += 3600000; /* so it was, an hour ahead */
    assert_true(pm_clock_went_back(&ahead));
    assert_false(pm_clock_went_back(&ahead));
    ahead -= 3600000; /* set ahead, or the machine slept */
    assert_false(pm_clock_went_back(&ahead));
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_closed_when_the_clock_was_ahead_is_sent_after_a_restart),
        TEST(what_was_closed_when_the_clock_was_ahead_is_sent_when_it_is_set_back),
        TEST(a_removal_can_still_be_taken_back_then),
        TEST(what_waits_as_it_should_goes_on_waiting),
        TEST(what_somebody_writes_to_is_held_whatever_the_clock_says),
        TEST(only_a_clock_that_is_set_back_is_noticed),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
