/* Uploads and removals on their way: what confirms them, what interrupts them, what comes back. */
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
    env_init(&e);
    env_open(&e);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (e.b)
        for (int op = 0; op < PM_MEM_OPS; op++)
            pm_memory_block(e.b, (enum pm_memory_op)op, false);
    env_close(&e);
    return 0;
}

static void check_state(pm_node node, const char *state)
{
    struct pm_info info;

    assert_int_equal(pm_info_node(e.c, node, &info), 0);
    if (strncmp(info.state, state, strlen(state)) != 0)
        fail_msg("%s, not %s", info.state, state);
}

static bool journal_is_empty(void *arg)
{
    (void)arg;
    return env_sql(&e, "SELECT count(*) FROM j.entry") == 0;
}

static bool something_failed(void *arg)
{
    (void)arg;
    return env_sql(&e, "SELECT count(*) FROM j.entry WHERE state=4") > 0;
}

static bool something_was_tried(void *arg)
{
    (void)arg;
    return env_sql(&e, "SELECT max(tries) FROM j.entry") > 0;
}

/* The file of a service that the drive knows. */
static pm_node serve(const char *name, const char *text)
{
    env_serve(&e, name, text);
    assert_int_equal(env_list(&e, e.root), 0);
    return env_find(&e, name);
}

static struct pm_file *open_for_writing(pm_node node)
{
    struct pm_file *f;

    assert_int_equal(pm_file_open(e.c, node, O_RDWR, &f), 0);
    return f;
}

static void write_at(struct pm_file *f, const char *text, uint64_t off)
{
    assert_int_equal(pm_file_write(f, text, strlen(text), off), strlen(text));
}

/* --- confirming */

static void only_the_services_answer_makes_a_file_synced(void **state)
{
    pm_node node;

    (void)state;
    pm_memory_block(e.b, PM_MEM_FINISH, true);
    node = env_write(&e, e.root, "a", "text");
    env_until_calls(&e, PM_MEM_FINISH, 1);
    check_state(node, "uploading");
    pm_memory_block(e.b, PM_MEM_FINISH, false);
    assert_true(env_until(journal_is_empty, NULL));
    check_state(node, "synced");
    assert_string_equal(env_served(&e, "a"), "text");
}

static void an_empty_file_is_sent(void **state)
{
    struct pm_attr attr;

    (void)state;
    assert_int_equal(pm_change_create(e.c, e.root, "empty", NULL, &attr), 0);
    env_sync(&e);
    assert_string_equal(env_served(&e, "empty"), "");
}

static void folders_come_before_what_is_in_them(void **state)
{
    pm_node a, b;

    (void)state;
    pm_memory_delay(e.b, PM_MEM_MKDIR, 30);
    a = env_mkdir(&e, e.root, "a");
    b = env_mkdir(&e, a, "b");
    env_write(&e, b, "f", "deep");
    env_write(&e, a, "g", "flat");
    env_sync(&e);
    assert_string_equal(env_served(&e, "a/b/f"), "deep");
    assert_string_equal(env_served(&e, "a/g"), "flat");
}

/* --- lost answers */

static void a_lost_answer(enum pm_memory_op op)
{
    pm_memory_fault(e.b, op, 1, -EIO, true);
    env_write(&e, e.root, "a", "text");
    assert_true(env_until(something_was_tried, NULL));
    env_set_due(&e);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "a");
    assert_string_equal(env_served(&e, "a"), "text");
    assert_string_equal(env_names(&e, e.root), "a");
}

static void a_lost_answer_to_begin_makes_one_object(void **state)
{
    (void)state;
    a_lost_answer(PM_MEM_BEGIN);
}

static void a_lost_answer_to_put_makes_one_object(void **state)
{
    (void)state;
    a_lost_answer(PM_MEM_PUT);
}

static void a_lost_answer_to_finish_makes_one_object(void **state)
{
    (void)state;
    a_lost_answer(PM_MEM_FINISH);
}

static void a_lost_answer_to_an_update(const char *text)
{
    pm_node node = serve("a", "old");

    pm_memory_fault(e.b, PM_MEM_FINISH, 1, -EIO, true);
    env_write(&e, e.root, "a", text);
    assert_true(env_until(something_was_tried, NULL));
    env_set_due(&e);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "a");
    assert_string_equal(env_served(&e, "a"), text);
    assert_int_equal(env_find(&e, "a"), node);
}

static void a_lost_answer_to_an_update_is_no_conflict(void **state)
{
    (void)state;
    a_lost_answer_to_an_update("new");
}

static void a_lost_answer_to_an_update_with_nothing_is_no_conflict(void **state)
{
    (void)state;
    a_lost_answer_to_an_update("");
}

static void a_lost_answer_to_mkdir_makes_one_folder(void **state)
{
    pm_node a;

    (void)state;
    pm_memory_fault(e.b, PM_MEM_MKDIR, 1, -EIO, true);
    a = env_mkdir(&e, e.root, "a");
    env_write(&e, a, "f", "x");
    assert_true(env_until(something_was_tried, NULL));
    env_set_due(&e);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "a");
    assert_string_equal(env_served(&e, "a/f"), "x");
    assert_int_equal(env_find(&e, "a"), a);
}

/* --- writes on the way */

static void a_write_during_an_upload(enum pm_memory_op op)
{
    struct pm_file *f;
    pm_node         node;

    pm_memory_block(e.b, op, true);
    node = env_write(&e, e.root, "a", "first");
    env_until_calls(&e, op, 1);
    f = open_for_writing(node);
    write_at(f, "second!", 0);
    usleep(30000);
    pm_memory_block(e.b, op, false);
    usleep(30000);
    assert_int_not_equal(env_sql(&e, "SELECT count(*) FROM j.entry"), 0);
    pm_file_release(f);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "a");
    assert_string_equal(env_served(&e, "a"), "second!");
    check_state(node, "synced");
}

static void a_write_during_put_sends_the_last_content(void **state)
{
    (void)state;
    a_write_during_an_upload(PM_MEM_PUT);
}

static void a_write_during_finish_sends_the_last_content(void **state)
{
    (void)state;
    a_write_during_an_upload(PM_MEM_FINISH);
}

static void a_write_during_an_upload_of_the_same_size_mixes_nothing(void **state)
{
    static char     text[4 * PM_MEMORY_STEP];
    struct pm_file *f;
    pm_node         node;

    (void)state;
    memset(text, 'a', sizeof(text) - 1);
    pm_memory_delay(e.b, PM_MEM_PUT, 30);
    node = env_write(&e, e.root, "a", text);
    env_until_calls(&e, PM_MEM_PUT, 3);
    f = open_for_writing(node);
    memset(text, 'b', sizeof(text) - 1);
    write_at(f, text, 0);
    pm_file_release(f);
    env_sync(&e);
    assert_int_equal(env_served(&e, "a")[0], 'b');
    assert_int_equal(env_served(&e, "a")[8000], 'b');
}

/* The entry is ready again while the first try has not noticed yet. */
static void a_write_and_close_during_an_upload_makes_no_conflict(void **state)
{
    pm_node node;

    (void)state;
    for (int i = 0; i < 20; i++) {
        unsigned puts = pm_memory_calls(e.b, PM_MEM_PUT);

        pm_memory_block(e.b, PM_MEM_PUT, true);
        node = env_write(&e, e.root, "a", "first");
        env_until_calls(&e, PM_MEM_PUT, puts + 1);
        env_write(&e, e.root, "a", "second!");
        usleep(3000);
        pm_memory_block(e.b, PM_MEM_PUT, false);
        env_sync(&e);
        assert_string_equal(env_served_names(&e, ""), "a");
        assert_string_equal(env_served(&e, "a"), "second!");
        check_state(node, "synced");
        assert_int_equal(pm_change_unlink(e.c, e.root, "a"), 0);
        env_sync(&e);
    }
}

static void a_removal_during_an_upload_leaves_nothing(void **state)
{
    static const enum pm_memory_op ops[] = {PM_MEM_BEGIN, PM_MEM_PUT, PM_MEM_FINISH};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(ops); i++) {
        unsigned calls = pm_memory_calls(e.b, ops[i]);

        pm_memory_block(e.b, ops[i], true);
        env_write(&e, e.root, "a", "text");
        env_until_calls(&e, ops[i], calls + 1);
        assert_int_equal(pm_change_unlink(e.c, e.root, "a"), 0);
        assert_string_equal(env_names(&e, e.root), "");
        pm_memory_block(e.b, ops[i], false);
        env_sync(&e);
        assert_int_equal(pm_memory_count(e.b), 0);
    }
}

static void a_rename_during_an_upload_ends_under_the_last_name(void **state)
{
    pm_node node;

    (void)state;
    pm_memory_block(e.b, PM_MEM_PUT, true);
    node = env_write(&e, e.root, "a", "text");
    env_until_calls(&e, PM_MEM_PUT, 1);
    assert_int_equal(pm_change_rename(e.c, e.root, "a", e.root, "b", 0, NULL), 0);
    assert_int_equal(env_find(&e, "b"), node);
    pm_memory_block(e.b, PM_MEM_PUT, false);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "b");
    assert_int_equal(env_find(&e, "b"), node);
}

/* The upload failed after the rename was journalled; then comes another rename. */
static void two_renames_around_a_failed_upload_end_under_the_last_name(void **state)
{
    (void)state;
    pm_memory_fault(e.b, PM_MEM_FINISH, 1, -EIO, false);
    pm_memory_block(e.b, PM_MEM_PUT, true);
    env_write(&e, e.root, "a", "text");
    env_until_calls(&e, PM_MEM_PUT, 1);
    assert_int_equal(pm_change_rename(e.c, e.root, "a", e.root, "b", 0, NULL), 0);
    pm_memory_block(e.b, PM_MEM_PUT, false);
    assert_true(env_until(something_was_tried, NULL));
    assert_int_equal(pm_change_rename(e.c, e.root, "b", e.root, "c", 0, NULL), 0);
    assert_string_equal(env_names(&e, e.root), "c");
    env_set_due(&e);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "c");
}

static void a_removal_after_a_rename_and_a_failed_upload_leaves_nothing(void **state)
{
    (void)state;
    pm_memory_fault(e.b, PM_MEM_FINISH, 1, -EIO, false);
    pm_memory_block(e.b, PM_MEM_PUT, true);
    env_write(&e, e.root, "a", "text");
    env_until_calls(&e, PM_MEM_PUT, 1);
    assert_int_equal(pm_change_rename(e.c, e.root, "a", e.root, "b", 0, NULL), 0);
    pm_memory_block(e.b, PM_MEM_PUT, false);
    assert_true(env_until(something_was_tried, NULL));
    assert_int_equal(pm_change_unlink(e.c, e.root, "b"), 0);
    assert_string_equal(env_names(&e, e.root), "");
    env_set_due(&e);
    env_sync(&e);
    assert_int_equal(pm_memory_count(e.b), 0);
}

static void a_file_renamed_over_one_that_is_being_sent_updates_it(void **state)
{
    (void)state;
    pm_memory_block(e.b, PM_MEM_PUT, true);
    env_write(&e, e.root, "a", "old");
    env_until_calls(&e, PM_MEM_PUT, 1);
    pm_queue_pause(e.c, true);
    env_write(&e, e.root, "b", "new");
    assert_int_equal(pm_change_rename(e.c, e.root, "b", e.root, "a", 0, NULL), 0);
    assert_string_equal(env_text(&e, env_find(&e, "a")), "new");
    pm_memory_block(e.b, PM_MEM_PUT, false);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "a");
    assert_string_equal(env_served(&e, "a"), "new");
    assert_string_equal(env_names(&e, e.root), "a");
}

/* Written to while it was sent, then renamed before the sender noticed. */
static void a_rename_of_a_file_whose_upload_was_cancelled_holds(void **state)
{
    struct pm_file *f;
    pm_node         node;

    (void)state;
    pm_memory_delay(e.b, PM_MEM_FINISH, 100);
    node = env_write(&e, e.root, "a", "first");
    env_until_calls(&e, PM_MEM_FINISH, 1);
    f = open_for_writing(node);
    write_at(f, "second!", 0);
    assert_int_equal(pm_change_rename(e.c, e.root, "a", e.root, "b", 0, NULL), 0);
    pm_file_release(f);
    pm_memory_delay(e.b, PM_MEM_FINISH, 0);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "b");
    assert_string_equal(env_served(&e, "b"), "second!");
    assert_string_equal(env_names(&e, e.root), "b");
}

/* --- failures */

static void a_failed_upload_is_kept_and_tried_again_after_a_pause(void **state)
{
    struct pm_jentry j;
    pm_node          node;

    (void)state;
    pm_memory_fault(e.b, PM_MEM_PUT, 1, -EIO, false);
    node = env_write(&e, e.root, "a", "text");
    assert_true(env_until(something_was_tried, NULL));
    check_state(node, "waiting: ");
    pm_db_begin(e.c->db);
    assert_int_equal(pm_journal_of(e.c->db, node, PM_OP_PUT, &j), 0);
    pm_db_end(e.c->db, 0);
    assert_int_equal(j.tries, 1);
    assert_true(j.not_before > pm_wall_ms() + 500);
    assert_string_equal(env_text(&e, node), "text");
    assert_true(env_until(journal_is_empty, NULL)); /* by itself */
    assert_string_equal(env_served(&e, "a"), "text");
}

static bool came_further(void *arg)
{
    (void)arg;
    return pm_memory_calls(e.b, PM_MEM_PUT) >= 3 &&
           env_sql(&e, "SELECT count(*) FROM j.entry WHERE sending") == 0;
}

static void an_upload_that_came_further_is_not_made_to_wait_longer(void **state)
{
    size_t size = 3 * PM_MEMORY_STEP;
    char  *text = malloc(size + 1);

    (void)state;
    assert_non_null(text);
    memset(text, 'x', size);
    text[size] = '\0';
    pm_memory_fault(e.b, PM_MEM_PUT, 1, -EIO, false);
    env_write(&e, e.root, "a", text);
    assert_true(env_until(something_was_tried, NULL));
    pm_memory_fault(e.b, PM_MEM_PUT, 2, -EIO, false);
    assert_true(env_until(came_further, NULL));
    assert_int_equal(env_sql(&e, "SELECT max(tries) FROM j.entry"), 1);
    assert_true(env_until(journal_is_empty, NULL));
    free(text);
}

/* So many times: the tries' number is of after the last. */
static bool broke(void *arg)
{
    return pm_memory_calls(e.b, PM_MEM_PUT) >= *(unsigned *)arg &&
           env_sql(&e, "SELECT count(*) FROM j.entry WHERE sending") == 0;
}

static void an_upload_whose_line_breaks_again_and_again_waits_no_longer_each_time(void **state)
{
    size_t size = 5 * PM_MEMORY_STEP;
    char  *text = malloc(size + 1);

    (void)state;
    assert_non_null(text);
    memset(text, 'x', size);
    text[size] = '\0';
    for (unsigned n = 1; n <= 4; n++) { /* each brings a step, and the answer is lost */
        pm_memory_fault(e.b, PM_MEM_PUT, 1, -EIO, true);
        if (n == 1)
            env_write(&e, e.root, "a", text);
        assert_true(env_until(broke, &n));
        assert_true(env_sql(&e, "SELECT max(tries) FROM j.entry") <= 2);
    }
    assert_true(env_until(journal_is_empty, NULL));
    free(text);
}

static void what_cannot_heal_becomes_failed_and_the_next_close_tries_again(void **state)
{
    PM_AUTO(pm_buf) struct pm_buf left = {0};
    pm_node                       node;

    (void)state;
    pm_memory_fault(e.b, PM_MEM_BEGIN, 1, -EFBIG, false);
    node = env_write(&e, e.root, "a", "text");
    assert_true(env_until(something_failed, NULL));
    check_state(node, "failed: ");
    assert_int_equal(pm_queue_sync(e.c, 0, 5000, NULL, NULL, &left), -EIO);
    assert_non_null(strstr(left.ptr, "/m/a"));
    assert_string_equal(env_text(&e, node), "text");
    env_write(&e, e.root, "a", "smaller");
    env_sync(&e);
    assert_string_equal(env_served(&e, "a"), "smaller");
}

static void a_sync_ends_when_the_rest_waits_for_what_failed(void **state)
{
    PM_AUTO(pm_buf) struct pm_buf left = {0};
    pm_node                       a;

    (void)state;
    pm_memory_fault(e.b, PM_MEM_MKDIR, 1, -EPERM, false);
    a = env_mkdir(&e, e.root, "a");
    env_write(&e, a, "f", "x");
    assert_true(env_until(something_failed, NULL));
    assert_int_equal(pm_queue_sync(e.c, 0, 1500, NULL, NULL, &left), -EIO);
}

static void a_sync_gives_up_in_time_and_says_what_is_left(void **state)
{
    PM_AUTO(pm_buf) struct pm_buf left = {0};
    int64_t                       began = pm_now_ms();

    (void)state;
    pm_memory_block(e.b, PM_MEM_PUT, true);
    env_write(&e, e.root, "a", "text");
    assert_int_equal(pm_queue_sync(e.c, 0, 300, NULL, NULL, &left), -ETIMEDOUT);
    assert_true(pm_now_ms() - began < 20000);
    assert_non_null(strstr(left.ptr, "/m/a"));
}

static bool stop_now(void *arg, const char *line)
{
    (void)line;
    ++*(int *)arg;
    return false;
}

/* A service that told when to come again is not asked before, and that is no failed try. */
static void a_sync_does_not_hurry_a_service_that_told_when(void **state)
{
    PM_AUTO(pm_buf) struct pm_buf left = {0};

    (void)state;
    pm_queue_pause(e.c, true);
    pm_memory_fault(e.b, PM_MEM_BEGIN, 1, -EBUSY, false);
    env_write(&e, e.root, "f", "x");
    pm_queue_pause(e.c, false);
    assert_int_equal(pm_queue_sync(e.c, 0, 1000, NULL, NULL, &left), -ETIMEDOUT);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_BEGIN), 1);
    assert_int_equal(env_sql(&e, "SELECT tries FROM j.entry"), 0);
    assert_true(env_sql(&e, "SELECT not_before FROM j.entry") > pm_wall_ms() + PM_MEMORY_WAIT_MS / 2);
}

static void a_sync_can_be_given_up(void **state)
{
    int called = 0;

    (void)state;
    pm_memory_block(e.b, PM_MEM_PUT, true);
    env_write(&e, e.root, "a", "text");
    assert_int_equal(pm_queue_sync(e.c, 0, -1, stop_now, &called, NULL), -EINTR);
    assert_int_equal(called, 1);
}

static void a_sync_of_a_folder_leaves_others_delayed(void **state)
{
    PM_AUTO(pm_buf) struct pm_buf left = {0};
    pm_node                       a;

    (void)state;
    e.conf.delay_ms = 3600000;
    a = env_mkdir(&e, e.root, "a");
    env_write(&e, a, "f", "x");
    env_write(&e, e.root, "g", "x");
    assert_int_equal(pm_queue_sync(e.c, a, 5000, NULL, NULL, &left), 0);
    assert_string_equal(env_served_names(&e, ""), "a");
    assert_string_equal(env_served_names(&e, "a"), "f");
}

static void a_pause_holds_and_outlives_a_restart(void **state)
{
    (void)state;
    assert_int_equal(pm_queue_pause(e.c, true), 0);
    env_write(&e, e.root, "a", "text");
    usleep(50000);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_BEGIN), 0);
    env_stop(&e);
    env_open(&e);
    assert_true(pm_queue_paused(e.c));
    usleep(50000);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_BEGIN), 0);
    assert_int_equal(pm_queue_pause(e.c, false), 0);
    assert_true(env_until(journal_is_empty, NULL));
    assert_string_equal(env_served(&e, "a"), "text");
}

/* --- others */

static void a_removal_finds_the_version_the_user_saw_or_is_dropped(void **state)
{
    pm_node node;

    (void)state;
    pm_queue_pause(e.c, true);
    node = serve("a", "old");
    assert_int_equal(pm_change_unlink(e.c, e.root, "a"), 0);
    env_serve(&e, "a", "somebody's new work");
    env_sync(&e);
    assert_string_equal(env_served(&e, "a"), "somebody's new work");
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_REMOVE), 0);
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(env_find(&e, "a"), node);
    assert_string_equal(env_text(&e, node), "somebody's new work");
}

static void a_folder_that_filled_meanwhile_is_not_removed(void **state)
{
    pm_node d;

    (void)state;
    pm_queue_pause(e.c, true);
    env_serve_folder(&e, "d");
    assert_int_equal(env_list(&e, e.root), 0);
    d = env_find(&e, "d");
    assert_int_equal(env_list(&e, d), 0);
    assert_int_equal(pm_change_rmdir(e.c, e.root, "d", NULL), 0);
    env_serve(&e, "d/new", "x");
    env_sync(&e);
    assert_string_equal(env_served_names(&e, "d"), "new");
    assert_int_equal(env_find(&e, "d"), d);
}

static void two_changes_of_one_file_are_both_kept(void **state)
{
    const char *names;

    (void)state;
    pm_queue_pause(e.c, true);
    serve("a.txt", "old");
    env_write(&e, e.root, "a.txt", "mine");
    env_serve(&e, "a.txt", "theirs");
    env_sync(&e);
    assert_string_equal(env_served(&e, "a.txt"), "theirs");
    names = env_served_names(&e, "");
    assert_true(!strncmp(names, "a (conflict ", 12));
    assert_non_null(strstr(names, ").txt a.txt"));
    assert_int_equal(pm_memory_count(e.b), 2);
    assert_int_equal(env_list(&e, e.root), 0);
    assert_string_equal(env_text(&e, env_find(&e, "a.txt")), "theirs");
}

static void two_new_files_of_one_name_are_both_kept(void **state)
{
    (void)state;
    pm_queue_pause(e.c, true);
    env_write(&e, e.root, "a.txt", "mine");
    env_serve(&e, "a.txt", "theirs");
    env_sync(&e);
    assert_string_equal(env_served(&e, "a.txt"), "theirs");
    assert_int_equal(pm_memory_count(e.b), 2);
    assert_int_equal(env_list(&e, e.root), 0);
    assert_string_equal(env_text(&e, env_find(&e, "a.txt")), "theirs");
}

static void an_update_of_what_is_gone_is_uploaded_anew(void **state)
{
    (void)state;
    pm_queue_pause(e.c, true);
    serve("a", "old");
    env_write(&e, e.root, "a", "mine");
    assert_int_equal(pm_memory_drop(e.b, "a"), 0);
    env_sync(&e);
    assert_string_equal(env_served(&e, "a"), "mine");
}

static void two_makers_of_one_folder_share_it(void **state)
{
    pm_node d;

    (void)state;
    pm_queue_pause(e.c, true);
    d = env_mkdir(&e, e.root, "d");
    env_write(&e, d, "mine", "x");
    env_serve_folder(&e, "d");
    env_serve(&e, "d/theirs", "y");
    env_sync(&e);
    assert_string_equal(env_served_names(&e, "d"), "mine theirs");
    assert_int_equal(env_find(&e, "d"), d);
}

static void a_list_that_a_sender_asks_for_undoes_no_confirmation(void **state)
{
    struct pm_memory_options no_ids = {.no_ids = true};
    unsigned                 lists = pm_memory_calls(e.b, PM_MEM_LIST);
    pm_node                  d;

    (void)state;
    pm_memory_set_options(e.b, &no_ids);
    serve("gone", "x");
    env_serve_folder(&e, "d");
    lists = pm_memory_calls(e.b, PM_MEM_LIST);
    pm_memory_block(e.b, PM_MEM_LIST, true);
    d = env_mkdir(&e, e.root, "d"); /* is there: the sender lists */
    (void)d;
    env_until_calls(&e, PM_MEM_LIST, lists + 1);
    assert_int_equal(pm_change_unlink(e.c, e.root, "gone"), 0);
    env_until_calls(&e, PM_MEM_REMOVE, 1);
    usleep(50000);
    env_serve(&e, "gone", "x"); /* the list was made before the removal */
    pm_memory_block(e.b, PM_MEM_LIST, false);
    env_sync(&e);
    assert_string_equal(env_names(&e, e.root), "d");
}

/* --- ends and crashes */

static void close_waits_for_the_service_when_asked_to(void **state)
{
    struct pm_file   *f;
    struct pm_attr    attr;
    static struct env_waiter w;
    bool                     hangs;

    (void)state;
    e.conf.on_close_wait = true;
    pm_memory_block(e.b, PM_MEM_FINISH, true);
    assert_int_equal(pm_change_create(e.c, e.root, "a", NULL, &attr), 0);
    f = open_for_writing(attr.node);
    write_at(f, "x", 0);
    assert_int_equal(pm_file_flush(f), 0);
    env_waiter_init(&w);
    assert_int_equal(pm_file_wait(f, &w.w), -EINPROGRESS);
    assert_false(env_waiter_wait(&w, 50));
    pm_memory_block(e.b, PM_MEM_FINISH, false);
    hangs = !env_waiter_wait(&w, 30000); /* release comes only after this */
    pm_file_release(f);
    env_sync(&e);
    assert_true(env_waiter_wait(&w, 30000));
    assert_false(hangs);
    assert_int_equal(w.err, 0);
    assert_string_equal(env_served(&e, "a"), "x");
}

/* A shell has two descriptors of a file for a moment, and closes the first before it writes. */
static void closing_a_copy_of_a_descriptor_sends_no_empty_file(void **state)
{
    struct pm_file *f;
    struct pm_attr  attr;

    (void)state;
    e.conf.on_close_wait = true;
    assert_int_equal(pm_change_create_open(e.c, e.root, "a", NULL, &attr), 0);
    f = open_for_writing(attr.node);
    assert_int_equal(pm_file_flush(f), 0);
    assert_int_equal(pm_file_wait(f, NULL), 0);
    usleep(200000);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_BEGIN), 0);
    write_at(f, "x", 0);
    pm_file_release(f);
    env_sync(&e);
    assert_string_equal(env_served(&e, "a"), "x");
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_BEGIN), 1);
}

static void no_wake_is_lost_when_an_upload_ends(void **state)
{
    struct env_waiter w;
    char              name[16];

    (void)state;
    for (int i = 0; i < 150; i++) {
        pm_node node;
        int     err;

        snprintf(name, sizeof(name), "f%d", i);
        node = env_write(&e, e.root, name, "x");
        for (;;) {
            env_waiter_init(&w);
            err = pm_queue_wait(e.c, node, &w.w);
            if (err != -EINPROGRESS)
                break;
            assert_true(env_waiter_wait(&w, 30000));
            assert_int_equal(w.woken, 1);
        }
        assert_int_equal(err, 0);
    }
}

static void who_waits_is_woken_when_the_drive_stops(void **state)
{
    struct env_waiter w;
    pm_node           node;

    (void)state;
    pm_memory_block(e.b, PM_MEM_PUT, true);
    node = env_write(&e, e.root, "a", "x");
    env_waiter_init(&w);
    assert_int_equal(pm_queue_wait(e.c, node, &w.w), -EINPROGRESS);
    env_stop(&e);
    e.b = NULL;
    assert_int_equal(w.woken, 1);
    env_open(&e);
    env_sync(&e);
    assert_string_equal(env_served(&e, "a"), "x");
}

static void a_list_that_hangs_holds_up_no_close(void **state)
{
    struct env_waiter list, w;
    struct pm_file   *open;
    pm_node           node = env_write(&e, e.root, "a", "x");
    int               err;

    (void)state;
    assert_int_equal(pm_file_open(e.c, node, O_WRONLY, &open), 0);
    assert_int_equal(pm_file_write(open, "y", 1, 0), 1);
    assert_int_equal(pm_file_flush(open), 0);
    env_sql(&e, "UPDATE list SET fetched=1");
    pm_memory_block(e.b, PM_MEM_LIST, true);
    env_waiter_init(&list);
    assert_int_equal(pm_list_want(e.c, e.root, &list.w), -EINPROGRESS);
    env_waiter_init(&w);
    for (int i = 0; (err = pm_queue_wait(e.c, node, &w.w)) == -EINPROGRESS; i++) {
        assert_true(env_waiter_wait(&w, 30000));
        assert_in_range(i, 0, 9);
        w.woken = 0;
    }
    assert_int_equal(err, 0);
    pm_memory_block(e.b, PM_MEM_LIST, false);
    pm_file_release(open);
    env_sync(&e);
    assert_string_equal(env_served(&e, "a"), "y");
}

/* As after kill -9: what was closed goes up once, what was open is said to be interrupted. */
static void after_a_kill_what_was_closed_goes_up_once(void **state)
{
    struct env      after;
    struct pm_file *f;
    struct pm_attr  attr;
    struct pm_info  info;
    pm_node         d;

    (void)state;
    pm_memory_block(e.b, PM_MEM_FINISH, true);
    env_write(&e, e.root, "sending", "sending");
    env_until_calls(&e, PM_MEM_FINISH, 1);
    pm_memory_block(e.b, PM_MEM_MKDIR, true);
    d = env_mkdir(&e, e.root, "d");
    env_write(&e, d, "waiting", "waiting");
    assert_int_equal(pm_change_create(e.c, e.root, "open", NULL, &attr), 0);
    f = open_for_writing(attr.node);
    write_at(f, "half", 0);
    env_copy_folder(&e, &after);
    pm_file_release(f);
    env_close(&e);
    e = after;
    env_open(&e);
    assert_int_equal(pm_info_node(e.c, env_find(&e, "open"), &info), 0);
    assert_string_equal(info.state, "interrupted");
    assert_string_equal(env_text(&e, env_find(&e, "open")), "half");
    pm_queue_sync(e.c, 0, 5000, NULL, NULL, NULL);
    assert_string_equal(env_served_names(&e, ""), "d sending");
    assert_string_equal(env_served(&e, "sending"), "sending");
    assert_string_equal(env_served(&e, "d/waiting"), "waiting");
    assert_int_equal(pm_memory_count(e.b), 3);
    f = open_for_writing(env_find(&e, "open"));
    write_at(f, "whole", 0);
    pm_file_release(f);
    env_sync(&e);
    assert_string_equal(env_served(&e, "open"), "whole");
}

static void a_stop_in_the_middle_loses_nothing(void **state)
{
    static const enum pm_memory_op ops[] = {PM_MEM_BEGIN, PM_MEM_PUT, PM_MEM_FINISH, PM_MEM_MKDIR};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(ops); i++) {
        pm_memory_block(e.b, ops[i], true);
        env_write(&e, ops[i] == PM_MEM_MKDIR ? env_mkdir(&e, e.root, "d") : e.root, "f", "x");
        env_until_calls(&e, ops[i], 1);
        env_stop(&e);
        env_open(&e);
        env_sync(&e);
        assert_string_equal(env_served(&e, ops[i] == PM_MEM_MKDIR ? "d/f" : "f"), "x");
        env_close(&e);
        env_init(&e);
        env_open(&e);
    }
}

static void a_sync_that_the_end_of_the_cache_overtakes_ends(void **state)
{
    int called = 0;

    (void)state;
    pm_queue_pause(e.c, true);
    env_write(&e, e.root, "f", "x");
    pm_cache_stop(e.c);
    e.accounts[0].endpoint = (char *)"http://127.0.0.1:1"; /* it is asked whether that has to wait */
    assert_int_equal(pm_queue_sync(e.c, 0, 10000, stop_now, &called, NULL), -EINTR);
    assert_int_equal(called, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(only_the_services_answer_makes_a_file_synced),
        TEST(an_empty_file_is_sent),
        TEST(folders_come_before_what_is_in_them),
        TEST(a_lost_answer_to_begin_makes_one_object),
        TEST(a_lost_answer_to_put_makes_one_object),
        TEST(a_lost_answer_to_finish_makes_one_object),
        TEST(a_lost_answer_to_an_update_is_no_conflict),
        TEST(a_lost_answer_to_an_update_with_nothing_is_no_conflict),
        TEST(a_lost_answer_to_mkdir_makes_one_folder),
        TEST(a_write_during_finish_sends_the_last_content),
        TEST(a_write_during_an_upload_of_the_same_size_mixes_nothing),
        TEST(a_removal_during_an_upload_leaves_nothing),
        TEST(a_rename_during_an_upload_ends_under_the_last_name),
        TEST(two_renames_around_a_failed_upload_end_under_the_last_name),
        TEST(a_removal_after_a_rename_and_a_failed_upload_leaves_nothing),
        TEST(a_file_renamed_over_one_that_is_being_sent_updates_it),
        TEST(a_failed_upload_is_kept_and_tried_again_after_a_pause),
        TEST(an_upload_that_came_further_is_not_made_to_wait_longer),
        TEST(an_upload_whose_line_breaks_again_and_again_waits_no_longer_each_time),
        TEST(what_cannot_heal_becomes_failed_and_the_next_close_tries_again),
        TEST(a_sync_ends_when_the_rest_waits_for_what_failed),
        TEST(a_sync_gives_up_in_time_and_says_what_is_left),
        TEST(a_sync_does_not_hurry_a_service_that_told_when),
        TEST(a_sync_can_be_given_up),
        TEST(a_sync_that_the_end_of_the_cache_overtakes_ends),
        TEST(a_sync_of_a_folder_leaves_others_delayed),
        TEST(a_pause_holds_and_outlives_a_restart),
        TEST(a_removal_finds_the_version_the_user_saw_or_is_dropped),
        TEST(a_folder_that_filled_meanwhile_is_not_removed),
        TEST(two_changes_of_one_file_are_both_kept),
        TEST(two_new_files_of_one_name_are_both_kept),
        TEST(an_update_of_what_is_gone_is_uploaded_anew),
        TEST(two_makers_of_one_folder_share_it),
        TEST(a_list_that_a_sender_asks_for_undoes_no_confirmation),
        TEST(close_waits_for_the_service_when_asked_to),
        TEST(no_wake_is_lost_when_an_upload_ends),
        TEST(who_waits_is_woken_when_the_drive_stops),
        TEST(a_list_that_hangs_holds_up_no_close),
        TEST(closing_a_copy_of_a_descriptor_sends_no_empty_file),
        TEST(after_a_kill_what_was_closed_goes_up_once),
        TEST(a_stop_in_the_middle_loses_nothing),
        TEST(a_rename_of_a_file_whose_upload_was_cancelled_holds),
        TEST(a_write_and_close_during_an_upload_makes_no_conflict),
        TEST(a_write_during_put_sends_the_last_content),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
