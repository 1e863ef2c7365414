/* Copies that a service makes for a rename or a copy: slow, broken, unanswered, or somebody else's. */
#include "tests/unit/cache_env.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct env e;
static pm_node    f; /* "f", which the service has: TEXT */

#define TEXT "old content"
#define OTHER "OLD CONTENT" /* as long */

static int setup(void **state)
{
    (void)state;
    env_start(&e);
    env_serve(&e, "f", TEXT);
    assert_int_equal(env_list(&e, e.root), 0);
    f = env_find(&e, "f");
    e.c->settle_ms = 300;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    env_close(&e);
    return 0;
}

static unsigned calls(enum pm_memory_op op)
{
    return pm_memory_calls(e.b, op);
}

static void rename_to(const char *name, const char *new_name)
{
    assert_int_equal(pm_change_rename(e.c, e.root, name, e.root, new_name, 0, NULL), 0);
}

/* "d" with "in" in it, which the service has. */
static void serve_folder(void)
{
    env_serve_folder(&e, "d");
    env_serve(&e, "d/in", "inside");
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(env_list(&e, env_find(&e, "d")), 0);
}

static bool is_put_back(void *arg)
{
    (void)arg;
    return env_sql(&e, "SELECT count(*) FROM j.entry WHERE NOT sending AND error IS NOT NULL") > 0;
}

static bool is_failed(void *arg)
{
    (void)arg;
    env_set_due(&e);
    pm_queue_kick(e.c);
    return env_sql(&e, "SELECT count(*) FROM j.entry WHERE state=4") > 0;
}

static bool is_sent(void *arg)
{
    (void)arg;
    env_set_due(&e);
    pm_queue_kick(e.c);
    return calls(PM_MEM_FINISH) > 0;
}

/* Lets the queue try once, and holds it again. */
static void try_once(void)
{
    pm_queue_pause(e.c, false);
    assert_true(env_until(is_put_back, NULL));
    pm_queue_pause(e.c, true);
}

static void try_again(void)
{
    env_set_due(&e);
    env_sync(&e);
}

/* --- slow */

static void a_copy_that_takes_long_is_looked_at_again_later(void **state)
{
    (void)state;
    pm_memory_copies(e.b, true, 0);
    rename_to("f", "g");
    try_once();
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry WHERE state=2 AND error LIKE"
                                 " '%still being processed%'"), 1);
    assert_string_equal(env_served_names(&e, ""), "f g");
    pm_memory_settling(e.b, "g", false);
    try_again();
    assert_string_equal(env_served_names(&e, ""), "g");
    assert_string_equal(env_served(&e, "g"), TEXT);
    assert_int_equal(calls(PM_MEM_COPY), 1);
}

static void a_clone_that_takes_long_is_looked_at_again_later(void **state)
{
    (void)state;
    pm_memory_copies(e.b, true, 0);
    env_copy(&e, f, e.root, "g");
    try_once();
    pm_memory_settling(e.b, "g", false);
    try_again();
    assert_string_equal(env_served(&e, "g"), TEXT);
    assert_int_equal(calls(PM_MEM_COPY), 1);
    assert_int_equal(calls(PM_MEM_BEGIN), 0);
}

static void a_folder_whose_copies_take_long_is_looked_at_again_later(void **state)
{
    (void)state;
    serve_folder();
    pm_memory_copies(e.b, true, 0);
    rename_to("d", "d2");
    try_once();
    assert_string_equal(env_served(&e, "d/in"), "inside");
    pm_memory_settling(e.b, "d2/in", false);
    try_again();
    assert_string_equal(env_served_names(&e, ""), "d2 f");
    assert_string_equal(env_served(&e, "d2/in"), "inside");
    assert_int_equal(calls(PM_MEM_COPY), 1);
}

/* --- broken */

static void a_broken_copy_is_made_anew(void **state)
{
    (void)state;
    pm_memory_copies(e.b, false, 1);
    rename_to("f", "g");
    try_once();
    assert_string_equal(env_served(&e, "f"), TEXT);
    try_again();
    assert_string_equal(env_served_names(&e, ""), "g");
    assert_string_equal(env_served(&e, "g"), TEXT);
    assert_int_equal(calls(PM_MEM_COPY), 2);
}

static void a_rename_whose_copies_are_always_broken_fails_and_leaves_the_source(void **state)
{
    struct pm_info info;
    uint64_t       found;

    (void)state;
    pm_memory_copies(e.b, false, 100);
    rename_to("f", "g");
    pm_queue_pause(e.c, false);
    assert_true(env_until(is_failed, NULL));
    assert_string_equal(env_served_names(&e, ""), "f");
    assert_string_equal(env_served(&e, "f"), TEXT);
    assert_in_range(calls(PM_MEM_COPY), 2, 10);
    assert_int_equal(pm_info_node(e.c, f, &info), 0);
    assert_non_null(strstr(info.state, "not whole"));
    pm_memory_copies(e.b, false, 0);
    assert_int_equal(pm_work_retry(e.c, 0, &found), 0);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "g");
    assert_string_equal(env_served(&e, "g"), TEXT);
}

static void a_clone_whose_copies_are_always_broken_is_sent_from_here(void **state)
{
    (void)state;
    pm_memory_copies(e.b, false, 100);
    env_copy(&e, f, e.root, "g");
    pm_queue_pause(e.c, false);
    assert_true(env_until(is_sent, NULL));
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "f g");
    assert_string_equal(env_served(&e, "g"), TEXT);
}

static void a_folder_with_a_broken_copy_is_renamed_whole(void **state)
{
    (void)state;
    serve_folder();
    pm_memory_copies(e.b, false, 1);
    rename_to("d", "d2");
    try_once();
    assert_string_equal(env_served(&e, "d/in"), "inside");
    try_again();
    assert_string_equal(env_served_names(&e, ""), "d2 f");
    assert_string_equal(env_served(&e, "d2/in"), "inside");
}

static void a_folder_in_whose_new_place_another_puts_a_file_fails_and_both_stay(void **state)
{
    (void)state;
    serve_folder();
    pm_memory_copies(e.b, true, 0);
    rename_to("d", "d2");
    try_once();
    env_serve(&e, "d2/in", "theirs, longer");
    pm_memory_settling(e.b, "d2/in", false);
    pm_queue_pause(e.c, false);
    assert_true(env_until(is_failed, NULL));
    assert_string_equal(env_served(&e, "d/in"), "inside");
    assert_string_equal(env_served(&e, "d2/in"), "theirs, longer");
}

static void a_source_that_another_removed_is_not_given_back_by_half_a_copy(void **state)
{
    (void)state;
    pm_memory_copies(e.b, true, 0);
    rename_to("f", "g");
    try_once();
    assert_int_equal(pm_memory_drop(e.b, "f"), 0);
    env_serve(&e, "g", ""); /* and so the copy ended */
    pm_memory_settling(e.b, "g", false);
    try_again();
    assert_string_equal(env_served_names(&e, ""), "");
    assert_int_equal(env_find(&e, "g"), 0);
}

/* --- somebody changes the source, or the new place */

static void a_file_of_a_folder_that_another_replaced_meanwhile_is_never_lost(void **state)
{
    (void)state;
    serve_folder();
    pm_memory_copies(e.b, true, 0);
    rename_to("d", "d2");
    try_once();
    env_serve(&e, "d/in", "INSIDE");
    pm_memory_settling(e.b, "d2/in", false);
    try_again();
    assert_string_equal(env_served(&e, "d/in"), "INSIDE");
    assert_string_equal(env_served(&e, "d2/in"), "inside");
    assert_string_equal(env_text(&e, env_find(&e, "d/in")), "INSIDE");
}

static bool is_copied(void *arg)
{
    (void)arg;
    return env_served(&e, "d2/in") != NULL;
}

static void a_file_of_a_folder_that_another_replaced_at_once_is_copied_again(void **state)
{
    (void)state;
    serve_folder();
    e.c->settle_ms = 30000;
    pm_memory_copies(e.b, true, 0);
    rename_to("d", "d2");
    pm_queue_pause(e.c, false);
    assert_true(env_until(is_copied, NULL));
    env_serve(&e, "d/in", "INSIDE");
    pm_memory_copies(e.b, false, 0);
    pm_memory_settling(e.b, "d2/in", false);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "d2 f");
    assert_string_equal(env_served(&e, "d2/in"), "INSIDE");
}

static void what_another_puts_into_the_new_folder_is_no_copy_of_ours(void **state)
{
    (void)state;
    serve_folder();
    rename_to("d", "d2");
    pm_memory_fault(e.b, PM_MEM_COPY, 1, -EDQUOT, false);
    try_once();
    env_serve(&e, "d2/in", "INSIDE");
    pm_queue_pause(e.c, false);
    assert_true(env_until(is_failed, NULL));
    assert_string_equal(env_served(&e, "d/in"), "inside");
    assert_string_equal(env_served(&e, "d2/in"), "INSIDE");
}

static void a_change_in_a_renamed_folder_whose_last_answer_was_lost_is_an_update(void **state)
{
    pm_node d;

    (void)state;
    serve_folder();
    d = env_find(&e, "d");
    rename_to("d", "d2");
    env_write(&e, d, "in", "changed");
    pm_memory_fault(e.b, PM_MEM_REMOVE, 1, -EIO, true);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "d2 f");
    assert_string_equal(env_served_names(&e, "d2"), "in");
    assert_string_equal(env_served(&e, "d2/in"), "changed");
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.meta WHERE key LIKE 'copied%'"), 0);
}

static void what_another_made_of_a_copy_meanwhile_is_not_removed(void **state)
{
    (void)state;
    pm_memory_copies(e.b, true, 0);
    rename_to("f", "g");
    try_once();
    env_serve(&e, "g", "longer than it was");
    pm_memory_settling(e.b, "g", false);
    pm_queue_pause(e.c, false);
    assert_true(env_until(is_failed, NULL));
    assert_string_equal(env_served(&e, "f"), TEXT);
    assert_string_equal(env_served(&e, "g"), "longer than it was");
}

static bool is_nothing_left(void *arg)
{
    (void)arg;
    env_set_due(&e);
    pm_queue_kick(e.c);
    return env_sql(&e, "SELECT count(*) FROM j.entry") == 0;
}

static void a_clone_that_was_written_to_goes_beside_what_another_made_of_the_copy(void **state)
{
    struct pm_file *file;
    pm_node         g;

    (void)state;
    pm_memory_copies(e.b, true, 0);
    g = env_copy(&e, f, e.root, "g");
    try_once();
    assert_int_equal(pm_file_open(e.c, g, O_WRONLY, &file), 0);
    assert_int_equal(pm_file_write(file, "OLD", 3, 0), 3);
    pm_file_release(file);
    env_serve(&e, "g", "longer than it was");
    pm_memory_settling(e.b, "g", false);
    pm_queue_pause(e.c, false);
    assert_true(env_until(is_nothing_left, NULL));
    assert_string_equal(env_served(&e, "g"), "longer than it was");
    assert_non_null(strstr(env_served_names(&e, ""), "g (conflict "));
}

static void a_clone_of_what_another_changed_just_before_it_was_copied_is_what_it_was(void **state)
{
    pm_node g;

    (void)state;
    assert_string_equal(env_text(&e, f), TEXT);
    g = env_copy(&e, f, e.root, "g");
    pm_memory_block(e.b, PM_MEM_COPY, true);
    pm_queue_pause(e.c, false);
    env_until_calls(&e, PM_MEM_COPY, 1);
    env_serve(&e, "f", OTHER);
    pm_memory_block(e.b, PM_MEM_COPY, false);
    env_sync(&e);
    assert_string_equal(env_served(&e, "g"), TEXT);
    assert_string_equal(env_text(&e, g), TEXT);
    assert_string_equal(env_served_names(&e, ""), "f g");
}

/* --- whose is it? */

static void what_was_there_before_is_no_copy_of_ours(void **state)
{
    (void)state;
    rename_to("f", "g");
    env_serve(&e, "g", OTHER);
    pm_memory_fault(e.b, PM_MEM_COPY, 1, -EIO, false);
    env_sync(&e);
    assert_string_equal(env_served(&e, "f"), TEXT);
    assert_string_equal(env_served(&e, "g"), OTHER);
}

static void what_a_list_missed_once_is_no_copy_of_ours(void **state)
{
    (void)state;
    rename_to("f", "g");
    env_serve(&e, "g", OTHER);
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(pm_memory_drop(e.b, "g"), 0);
    assert_int_equal(env_list(&e, e.root), 0);
    pm_memory_block(e.b, PM_MEM_COPY, true);
    pm_queue_pause(e.c, false);
    env_until_calls(&e, PM_MEM_COPY, 1);
    env_serve(&e, "g", OTHER);
    pm_memory_block(e.b, PM_MEM_COPY, false);
    env_sync(&e);
    assert_string_equal(env_served(&e, "f"), TEXT);
    assert_string_equal(env_served(&e, "g"), OTHER);
}

static void what_came_after_a_request_that_was_never_sent_is_no_copy_of_ours(void **state)
{
    (void)state;
    rename_to("f", "g");
    pm_memory_fault(e.b, PM_MEM_COPY, 1, -ECONNREFUSED, false);
    try_once();
    assert_int_equal(calls(PM_MEM_COPY), 1);
    env_serve(&e, "g", OTHER);
    try_again();
    assert_string_equal(env_served(&e, "f"), TEXT);
    assert_string_equal(env_served(&e, "g"), OTHER);
}

static void a_rename_whose_answer_was_lost_makes_one_copy(void **state)
{
    (void)state;
    rename_to("f", "g");
    pm_memory_fault(e.b, PM_MEM_COPY, 1, -EIO, true);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "g");
    assert_string_equal(env_served(&e, "g"), TEXT);
    assert_int_equal(calls(PM_MEM_COPY), 1);
}

static void a_broken_copy_that_may_be_anothers_file_is_never_removed(void **state)
{
    (void)state;
    rename_to("f", "g");
    pm_memory_fault(e.b, PM_MEM_COPY, 1, -EIO, false);
    try_once();
    env_serve(&e, "g", "theirs, on its way");
    pm_memory_settling(e.b, "g", true);
    env_set_due(&e);
    try_once();
    pm_memory_settling(e.b, "g", false);
    try_again();
    assert_string_equal(env_served(&e, "f"), TEXT);
    assert_string_equal(env_served(&e, "g"), "theirs, on its way");
}

static void another_ones_folder_with_files_in_it_is_not_the_one_we_asked_for(void **state)
{
    (void)state;
    serve_folder();
    rename_to("d", "d2");
    pm_memory_fault(e.b, PM_MEM_MKDIR, 1, -EIO, false);
    try_once();
    env_serve_folder(&e, "d2");
    env_serve(&e, "d2/in", "INSIDE");
    try_again();
    assert_string_equal(env_served(&e, "d/in"), "inside");
    assert_string_equal(env_served(&e, "d2/in"), "INSIDE");
}

static void a_folder_whose_answer_was_lost_is_made_once(void **state)
{
    (void)state;
    serve_folder();
    rename_to("d", "d2");
    pm_memory_fault(e.b, PM_MEM_MKDIR, 1, -EIO, true);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "d2 f");
    assert_string_equal(env_served(&e, "d2/in"), "inside");
}

static void a_folder_whose_answer_was_lost_is_ours_when_copies_are_in_it(void **state)
{
    (void)state;
    serve_folder();
    rename_to("d", "d2");
    pm_memory_fault(e.b, PM_MEM_MKDIR, 1, -EIO, true);
    try_once();
    pm_memory_fault(e.b, PM_MEM_COPY, 1, -EIO, true);
    env_sql(&e, "UPDATE j.entry SET error=NULL");
    env_set_due(&e);
    try_once();
    assert_string_equal(env_served(&e, "d2/in"), "inside");
    try_again();
    assert_string_equal(env_served_names(&e, ""), "d2 f");
    assert_string_equal(env_served(&e, "d2/in"), "inside");
}

/* --- what a service copies along, and what goes meanwhile */

static void serve_two(void)
{
    serve_folder();
    env_serve(&e, "d/more", "and more");
    assert_int_equal(env_list(&e, env_find(&e, "d")), 0);
}

static void a_copy_that_came_with_another_is_taken_though_its_own_was_never_asked_for(void **state)
{
    (void)state;
    serve_two();
    e.conf.parallel = 1;
    rename_to("d", "d2");
    pm_memory_fault(e.b, PM_MEM_COPY, 1, -EIO, true);
    try_once();
    assert_int_equal(calls(PM_MEM_COPY), 1);
    if (env_served(&e, "d2/in"))
        env_serve(&e, "d2/more", "and more");
    else
        env_serve(&e, "d2/in", "inside");
    try_again();
    assert_string_equal(env_served_names(&e, ""), "d2 f");
    assert_string_equal(env_served_names(&e, "d2"), "in more");
}

static void a_folder_of_which_another_takes_a_file_meanwhile_is_renamed_whole(void **state)
{
    (void)state;
    serve_two();
    e.conf.parallel = 1;
    pm_memory_block(e.b, PM_MEM_COPY, true);
    rename_to("d", "d2");
    pm_queue_pause(e.c, false);
    env_until_calls(&e, PM_MEM_COPY, 1);
    assert_int_equal(pm_memory_drop(e.b, "d/in"), 0);
    assert_int_equal(pm_memory_drop(e.b, "d/more"), 0);
    env_serve(&e, "d/last", "last");
    pm_memory_block(e.b, PM_MEM_COPY, false);
    try_again();
    assert_string_equal(env_served_names(&e, ""), "d2 f");
    assert_string_equal(env_served_names(&e, "d2"), "last");
    assert_string_equal(env_served(&e, "d2/last"), "last");
}

static void a_renamed_folder_can_be_listed_after_its_old_one_went(void **state)
{
    struct env_waiter w;
    pm_node           d;

    (void)state;
    serve_folder();
    d = env_find(&e, "d");
    rename_to("d", "d2");
    assert_int_equal(pm_memory_drop(e.b, "d"), 0); /* and the answer is on its way */
    env_sql(&e, "UPDATE list SET fetched=1");
    env_waiter_init(&w);
    assert_int_equal(pm_list_want(e.c, d, &w.w), -EINPROGRESS);
    assert_true(env_waiter_wait(&w, 30000));
    assert_int_equal(w.err, 0);
    assert_string_equal(env_names(&e, d), "in");
}

/* --- steps as they were stored once: "copy SIZE ID" */

static void set_step(const char *step)
{
    int64_t entry = env_sql(&e, "SELECT max(id) FROM j.entry");

    pm_db_begin(e.c->db);
    pm_journal_set_step(e.c->db, entry, step);
    assert_int_equal(pm_db_end(e.c->db, 0), 0);
}

/* As an older version of the program left it: "g" was made, and the daemon ended. */
static void set_old_step(unsigned size, const char *path)
{
    PM_AUTO(free) struct pm_entry *made = *path == '?' ? NULL : env_object(&e, path);
    char                           step[PM_NAME_MAX + 32];

    snprintf(step, sizeof(step), "copy %u %s", size, made ? made->id : path);
    set_step(step);
}

static void a_copy_that_an_older_version_began_is_gone_on_with(void **state)
{
    (void)state;
    rename_to("f", "g");
    env_serve(&e, "g", TEXT);
    set_old_step(sizeof(TEXT) - 1, "g");
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "g");
    assert_int_equal(calls(PM_MEM_COPY), 0);
}

static void a_clone_that_an_older_version_began_is_gone_on_with(void **state)
{
    (void)state;
    env_copy(&e, f, e.root, "g");
    env_serve(&e, "g", TEXT);
    set_old_step(sizeof(TEXT) - 1, "g");
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "f g");
    assert_string_equal(env_served(&e, "g"), TEXT);
    assert_int_equal(calls(PM_MEM_COPY), 0);
}

static void a_rename_whose_removal_an_older_version_sent_is_done(void **state)
{
    (void)state;
    rename_to("f", "g");
    env_serve(&e, "g", TEXT);
    set_old_step(sizeof(TEXT) - 1, "g");
    assert_int_equal(pm_memory_drop(e.b, "f"), 0);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "g");
    assert_int_equal(env_find(&e, "g"), f);
}

static void what_an_older_version_asked_for_and_may_be_anothers_leaves_the_source(void **state)
{
    (void)state;
    rename_to("f", "g");
    env_serve(&e, "g", OTHER);
    set_old_step(sizeof(TEXT) - 1, "?");
    env_sync(&e);
    assert_string_equal(env_served(&e, "f"), TEXT);
    assert_string_equal(env_served(&e, "g"), OTHER);
}

static void a_folder_that_an_older_version_began_to_copy_loses_nothing(void **state)
{
    (void)state;
    serve_two();
    rename_to("d", "d2");
    env_serve_folder(&e, "d2");
    env_serve(&e, "d2/in", "inside");
    set_old_step(0, "d2");
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "d d2 f");
    assert_string_equal(env_served_names(&e, "d"), "in more");
    assert_string_equal(env_names(&e, env_find(&e, "d")), "in more");
}

/* --- what is held here of the source */

static void a_copy_of_what_is_held_here_is_read_from_here(void **state)
{
    pm_node g, h;

    (void)state;
    assert_string_equal(env_text(&e, f), TEXT);
    assert_int_equal(calls(PM_MEM_FETCH), 1);
    g = env_copy(&e, f, e.root, "g");
    h = env_copy(&e, g, e.root, "h");
    pm_memory_block(e.b, PM_MEM_FETCH, true);
    assert_string_equal(env_text(&e, g), TEXT);
    assert_string_equal(env_text(&e, h), TEXT);
    assert_int_equal(calls(PM_MEM_FETCH), 1);
    pm_memory_block(e.b, PM_MEM_FETCH, false);
    env_sync(&e);
    assert_int_equal(calls(PM_MEM_COPY), 2);
    assert_string_equal(env_text(&e, g), TEXT);
    assert_string_equal(env_served(&e, "h"), TEXT);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry"), 0);
}

static void a_copy_is_not_read_from_what_its_source_became_here(void **state)
{
    pm_node g;

    (void)state;
    assert_string_equal(env_text(&e, f), TEXT);
    g = env_copy(&e, f, e.root, "g");
    env_write(&e, e.root, "f", OTHER);
    assert_string_equal(env_text(&e, g), TEXT);
    env_sync(&e);
    assert_string_equal(env_served(&e, "g"), TEXT);
    assert_string_equal(env_served(&e, "f"), OTHER);
}

static void a_copy_is_read_from_here_after_a_restart(void **state)
{
    (void)state;
    assert_string_equal(env_text(&e, f), TEXT);
    env_copy(&e, f, e.root, "g");
    env_stop(&e);
    env_open(&e);
    pm_memory_block(e.b, PM_MEM_FETCH, true);
    assert_string_equal(env_text(&e, env_find(&e, "g")), TEXT);
}

static bool is_held_whole(void *arg)
{
    struct pm_info info;

    (void)arg;
    return !pm_info_node(e.c, f, &info) && !strcmp(info.state, "cached");
}

static void a_copy_that_is_changed_gets_the_rest_from_here(void **state)
{
    struct pm_file *file;
    pm_node         g;

    (void)state;
    assert_string_equal(env_text(&e, f), TEXT);
    assert_true(env_until(is_held_whole, NULL)); /* a reader has its bytes a moment before */
    g = env_copy(&e, f, e.root, "g");
    assert_int_equal(pm_file_open(e.c, g, O_WRONLY, &file), 0);
    assert_int_equal(pm_file_write(file, "OLD", 3, 0), 3);
    pm_file_release(file);
    env_sync(&e);
    assert_int_equal(calls(PM_MEM_FETCH), 1);
    assert_string_equal(env_served(&e, "g"), "OLD content");
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_copy_that_takes_long_is_looked_at_again_later),
        TEST(a_clone_that_takes_long_is_looked_at_again_later),
        TEST(a_folder_whose_copies_take_long_is_looked_at_again_later),
        TEST(a_broken_copy_is_made_anew),
        TEST(a_rename_whose_copies_are_always_broken_fails_and_leaves_the_source),
        TEST(a_clone_whose_copies_are_always_broken_is_sent_from_here),
        TEST(a_folder_with_a_broken_copy_is_renamed_whole),
        TEST(a_folder_in_whose_new_place_another_puts_a_file_fails_and_both_stay),
        TEST(a_source_that_another_removed_is_not_given_back_by_half_a_copy),
        TEST(a_file_of_a_folder_that_another_replaced_meanwhile_is_never_lost),
        TEST(a_file_of_a_folder_that_another_replaced_at_once_is_copied_again),
        TEST(what_another_puts_into_the_new_folder_is_no_copy_of_ours),
        TEST(a_change_in_a_renamed_folder_whose_last_answer_was_lost_is_an_update),
        TEST(what_another_made_of_a_copy_meanwhile_is_not_removed),
        TEST(a_clone_that_was_written_to_goes_beside_what_another_made_of_the_copy),
        TEST(a_clone_of_what_another_changed_just_before_it_was_copied_is_what_it_was),
        TEST(what_was_there_before_is_no_copy_of_ours),
        TEST(what_a_list_missed_once_is_no_copy_of_ours),
        TEST(what_came_after_a_request_that_was_never_sent_is_no_copy_of_ours),
        TEST(a_rename_whose_answer_was_lost_makes_one_copy),
        TEST(a_broken_copy_that_may_be_anothers_file_is_never_removed),
        TEST(another_ones_folder_with_files_in_it_is_not_the_one_we_asked_for),
        TEST(a_folder_whose_answer_was_lost_is_made_once),
        TEST(a_folder_whose_answer_was_lost_is_ours_when_copies_are_in_it),
        TEST(a_copy_that_came_with_another_is_taken_though_its_own_was_never_asked_for),
        TEST(a_folder_of_which_another_takes_a_file_meanwhile_is_renamed_whole),
        TEST(a_renamed_folder_can_be_listed_after_its_old_one_went),
        TEST(a_copy_that_an_older_version_began_is_gone_on_with),
        TEST(a_clone_that_an_older_version_began_is_gone_on_with),
        TEST(a_rename_whose_removal_an_older_version_sent_is_done),
        TEST(what_an_older_version_asked_for_and_may_be_anothers_leaves_the_source),
        TEST(a_folder_that_an_older_version_began_to_copy_loses_nothing),
        TEST(a_copy_of_what_is_held_here_is_read_from_here),
        TEST(a_copy_is_not_read_from_what_its_source_became_here),
        TEST(a_copy_is_read_from_here_after_a_restart),
        TEST(a_copy_that_is_changed_gets_the_rest_from_here),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
