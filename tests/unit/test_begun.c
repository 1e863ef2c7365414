/* A change whose sending was begun and did not end: whatever is done to it then, nothing waits for
 * ever, and nothing is there twice. */
#include "tests/unit/cache_env.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct env e;

static int setup(void **state)
{
    (void)state;
    env_start(&e);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    env_close(&e);
    return 0;
}

static int rename_to(const char *name, const char *new_name)
{
    return pm_change_rename(e.c, e.root, name, e.root, new_name, 0, NULL);
}

static void assert_all_sent(void)
{
    pm_queue_pause(e.c, false);
    assert_int_equal(pm_queue_sync(e.c, 0, 60000, NULL, NULL, NULL), 0);
}

static bool nothing_is_sent(void *arg)
{
    (void)arg;
    return env_sql(&e, "SELECT count(*) FROM j.entry WHERE sending") == 0;
}

static bool something_failed(void *arg)
{
    (void)arg;
    return env_sql(&e, "SELECT count(*) FROM j.entry WHERE state=4 AND NOT sending") == 1;
}

/* --- an upload */

/* "f", open and written to again after its upload was begun. */
static struct pm_file *write_while_it_is_sent(void)
{
    pm_node         node = env_write(&e, e.root, "f", "first");
    struct pm_file *f;

    pm_memory_block(e.b, PM_MEM_PUT, true);
    pm_queue_pause(e.c, false);
    env_until_calls(&e, PM_MEM_PUT, 1);
    assert_int_equal(pm_file_open(e.c, node, O_WRONLY, &f), 0);
    assert_int_equal(pm_file_write(f, "again", 5, 0), 5);
    pm_memory_block(e.b, PM_MEM_PUT, false);
    assert_true(env_until(nothing_is_sent, NULL));
    return f;
}

/* "f", which the service refused for good. */
static void refuse(void)
{
    env_write(&e, e.root, "f", "first");
    pm_memory_fault(e.b, PM_MEM_PUT, 1, -EFBIG, false);
    pm_queue_pause(e.c, false);
    assert_true(env_until(something_failed, NULL));
    pm_queue_pause(e.c, true);
}

static void what_is_written_to_when_it_is_removed_goes(void **state)
{
    struct pm_file *f = write_while_it_is_sent();

    (void)state;
    assert_int_equal(pm_change_unlink(e.c, e.root, "f"), 0);
    assert_int_equal(pm_file_write(f, "still", 5, 0), 5);
    pm_file_release(f);
    assert_all_sent();
    assert_int_equal(pm_memory_count(e.b), 0);
}

static void what_is_written_to_when_it_is_replaced_goes(void **state)
{
    struct pm_file *f = write_while_it_is_sent();

    (void)state;
    env_write(&e, e.root, "t", "second");
    assert_int_equal(rename_to("t", "f"), 0);
    assert_int_equal(pm_file_write(f, "still", 5, 0), 5);
    pm_file_release(f);
    assert_all_sent();
    assert_string_equal(env_served_names(&e, ""), "f");
    assert_string_equal(env_served(&e, "f"), "second");
}

static bool a_try_ended(void *arg)
{
    (void)arg;
    return env_sql(&e, "SELECT count(*) FROM j.entry WHERE tries>0 AND NOT sending") == 1;
}

static void what_arrived_unheard_of_goes_however_often_its_removal_fails(void **state)
{
    (void)state;
    env_write(&e, e.root, "f", "");
    pm_memory_fault(e.b, PM_MEM_FINISH, 1, -EIO, true);
    pm_queue_pause(e.c, false);
    assert_true(env_until(a_try_ended, NULL));
    pm_queue_pause(e.c, true);
    assert_int_equal(pm_memory_count(e.b), 1);
    assert_int_equal(pm_change_unlink(e.c, e.root, "f"), 0);
    pm_memory_fault(e.b, PM_MEM_ABORT, 1, -EIO, false);
    assert_all_sent();
    assert_int_equal(pm_memory_count(e.b), 0);
}

static void assert_removed_and_theirs_stays(void)
{
    static const char *const theirs = "somebody's";

    pm_queue_pause(e.c, true);
    assert_true(env_until(nothing_is_sent, NULL));
    env_serve(&e, "f", theirs);
    assert_int_equal(pm_change_unlink(e.c, e.root, "f"), 0);
    assert_all_sent();
    assert_string_equal(env_served_names(&e, ""), "f");
    assert_string_equal(env_served(&e, "f"), theirs);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_FINISH), 0);
}

/* Nobody wants what was not sent: it does not go beside what another made meanwhile. */
static void what_is_removed_is_not_sent_beside_anothers_change(void **state)
{
    (void)state;
    env_serve(&e, "f", "old");
    assert_int_equal(env_list(&e, e.root), 0);
    env_write(&e, e.root, "f", "ours");
    pm_memory_fault(e.b, PM_MEM_PUT, 1, -EIO, false);
    pm_queue_pause(e.c, false);
    assert_true(env_until(a_try_ended, NULL));
    assert_removed_and_theirs_stays();
}

static void what_is_removed_is_not_sent_beside_anothers_file(void **state)
{
    (void)state;
    env_write(&e, e.root, "f", "ours");
    pm_memory_fault(e.b, PM_MEM_PUT, 1, -EIO, false);
    pm_queue_pause(e.c, false);
    assert_true(env_until(a_try_ended, NULL));
    pm_memory_fault(e.b, PM_MEM_RESUME, 1, -EEXIST, false);
    assert_removed_and_theirs_stays();
}

static void what_was_refused_can_be_removed(void **state)
{
    (void)state;
    refuse();
    assert_int_equal(pm_change_unlink(e.c, e.root, "f"), 0);
    assert_all_sent();
    assert_int_equal(pm_memory_count(e.b), 0);
}

static void what_was_refused_can_be_made_anew(void **state)
{
    (void)state;
    refuse();
    assert_int_equal(pm_change_unlink(e.c, e.root, "f"), 0);
    env_write(&e, e.root, "f", "second");
    assert_all_sent();
    assert_string_equal(env_served(&e, "f"), "second");
}

static void what_was_refused_can_be_replaced(void **state)
{
    (void)state;
    refuse();
    env_write(&e, e.root, "t", "second");
    assert_int_equal(rename_to("t", "f"), 0);
    assert_all_sent();
    assert_string_equal(env_served_names(&e, ""), "f");
    assert_string_equal(env_served(&e, "f"), "second");
}

/* The service may not have noticed yet that nobody sends any more. */
static void what_a_crash_broke_off_is_not_sent_again_at_once(void **state)
{
    struct env after;

    (void)state;
    env_write(&e, e.root, "f", "first");
    pm_memory_block(e.b, PM_MEM_PUT, true);
    pm_queue_pause(e.c, false);
    env_until_calls(&e, PM_MEM_PUT, 1);
    pm_queue_pause(e.c, true);
    env_copy_folder(&e, &after);
    pm_memory_block(e.b, PM_MEM_PUT, false);
    env_close(&e);
    e = after;
    env_open(&e);
    assert_true(env_sql(&e, "SELECT not_before FROM j.entry") >
                env_sql(&e, "SELECT max(created) + 900 FROM j.entry"));
}

/* --- a rename */

/* "f" is `to` on the service; the answer to the removal of the old name was lost. */
static void begin_rename(const char *to)
{
    env_serve(&e, "f", "old content");
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(rename_to("f", to), 0);
    pm_memory_fault(e.b, PM_MEM_REMOVE, 1, -EAGAIN, true);
    env_set_due(&e);
    pm_queue_pause(e.c, false);
    env_until_calls(&e, PM_MEM_REMOVE, 1);
    pm_queue_pause(e.c, true);
    assert_true(env_until(nothing_is_sent, NULL));
}

static void what_was_renamed_goes_on_to_another_name(void **state)
{
    (void)state;
    begin_rename("g");
    assert_int_equal(rename_to("g", "h"), 0);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "h");
    assert_string_equal(env_served(&e, "h"), "old content");
}

static void what_was_renamed_is_that_though_no_answer_came(void **state)
{
    pm_node node;

    (void)state;
    env_serve(&e, "f", "old content");
    assert_int_equal(env_list(&e, e.root), 0);
    node = env_find(&e, "f");
    assert_int_equal(rename_to("f", "g"), 0);
    pm_memory_fault(e.b, PM_MEM_COPY, 1, -EAGAIN, true);
    pm_memory_fault(e.b, PM_MEM_REMOVE, 1, -EAGAIN, true);
    assert_all_sent();
    assert_string_equal(env_served_names(&e, ""), "g");
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(env_find(&e, "g"), node);
}

static void what_was_renamed_can_be_removed(void **state)
{
    (void)state;
    begin_rename("g");
    assert_int_equal(pm_change_unlink(e.c, e.root, "g"), 0);
    env_sync(&e);
    assert_int_equal(pm_memory_count(e.b), 0);
}

static void what_was_renamed_to_a_backup_stays_whole(void **state)
{
    (void)state;
    begin_rename("f~");
    env_write(&e, e.root, "f", "new");
    assert_all_sent();
    assert_string_equal(env_served_names(&e, ""), "f f~");
    assert_string_equal(env_served(&e, "f"), "new");
    assert_string_equal(env_served(&e, "f~"), "old content");
}

/* What is renamed over another of the service's, replaced itself, and only then written to: nobody will
 * close that, and what takes its place does not wait for it. */
static void what_is_written_to_after_it_was_replaced_holds_nothing_up(void **state)
{
    struct pm_file *f;

    (void)state;
    env_write(&e, e.root, "a", "first");
    env_write(&e, e.root, "b", "second");
    assert_all_sent();
    pm_queue_pause(e.c, true);
    assert_int_equal(pm_file_open(e.c, env_find(&e, "a"), O_WRONLY, &f), 0);
    assert_int_equal(rename_to("a", "b"), 0);
    env_write(&e, e.root, "t", "third");
    assert_int_equal(rename_to("t", "b"), 0);
    assert_int_equal(pm_file_write(f, "and more", 8, 5), 8);
    pm_file_release(f);
    assert_all_sent();
    assert_string_equal(env_served_names(&e, ""), "b");
    assert_string_equal(env_served(&e, "b"), "third");
}

/* "f" on the service is renamed to d/g and saved there; then the service refuses the rename: the old name
 * stands, and what was saved is saved there. */
static void what_was_saved_under_a_new_name_goes_back_with_it(void **state)
{
    pm_node d;

    (void)state;
    env_serve(&e, "f", "old content");
    env_serve_folder(&e, "d");
    assert_int_equal(env_list(&e, e.root), 0);
    d = env_find(&e, "d");
    assert_int_equal(env_list(&e, d), 0);
    assert_int_equal(pm_change_rename(e.c, e.root, "f", d, "g", 0, NULL), 0);
    env_write(&e, d, "g", "new");
    pm_memory_fault(e.b, PM_MEM_COPY, 1, -EPERM, false);
    assert_all_sent();
    assert_string_equal(env_served_names(&e, ""), "d f");
    assert_string_equal(env_served_names(&e, "d"), "");
    assert_string_equal(env_served(&e, "f"), "new");
    assert_string_equal(env_names(&e, e.root), "d f");
    assert_string_equal(env_names(&e, d), "");
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(env_list(&e, d), 0);
    assert_string_equal(env_names(&e, e.root), "d f");
    assert_string_equal(env_text(&e, env_find(&e, "f")), "new");
}

/* The old name was given to another meanwhile: nothing of the three is lost. */
static void what_was_saved_under_a_new_name_stays_if_the_old_one_was_given_away(void **state)
{
    struct pm_file *f;

    (void)state;
    env_serve(&e, "f", "old content");
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(rename_to("f", "g"), 0);
    assert_int_equal(pm_file_open(e.c, env_find(&e, "g"), O_WRONLY, &f), 0);
    assert_int_equal(pm_file_write(f, "new", 3, 0), 3);
    assert_int_equal(pm_file_flush(f), 0);
    pm_file_release(f);
    env_write(&e, e.root, "f", "another");
    pm_memory_fault(e.b, PM_MEM_COPY, 1, -EPERM, false);
    assert_all_sent();
    assert_int_equal(pm_memory_count(e.b), 3); /* "another" is a conflict copy */
    assert_string_equal(env_served(&e, "f"), "old content");
    assert_string_equal(env_served(&e, "g"), "new content");
    assert_int_equal(env_list(&e, e.root), 0);
    assert_string_equal(env_text(&e, env_find(&e, "f")), "old content");
    assert_string_equal(env_text(&e, env_find(&e, "g")), "new content");
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_to_when_it_is_removed_goes),
        TEST(what_is_written_to_when_it_is_replaced_goes),
        TEST(what_arrived_unheard_of_goes_however_often_its_removal_fails),
        TEST(what_is_removed_is_not_sent_beside_anothers_change),
        TEST(what_is_removed_is_not_sent_beside_anothers_file),
        TEST(what_was_refused_can_be_removed),
        TEST(what_was_refused_can_be_made_anew),
        TEST(what_was_refused_can_be_replaced),
        TEST(what_a_crash_broke_off_is_not_sent_again_at_once),
        TEST(what_was_renamed_goes_on_to_another_name),
        TEST(what_was_renamed_is_that_though_no_answer_came),
        TEST(what_was_renamed_can_be_removed),
        TEST(what_was_renamed_to_a_backup_stays_whole),
        TEST(what_is_written_to_after_it_was_replaced_holds_nothing_up),
        TEST(what_was_saved_under_a_new_name_goes_back_with_it),
        TEST(what_was_saved_under_a_new_name_stays_if_the_old_one_was_given_away),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
