/* Things: folders that are one thing of their service. Names in them go here only, for a while, until the
 * folder goes. */
#include "cache/hidden.h"
#include "tests/unit/cache_env.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct env     e;
static struct pm_attr attr;
static pm_node        things, one;

/* "things" has "1" to `n`, each with a file, a document, and a folder with a file; "links" leads to each. */
static void serve_things(int n)
{
    pm_memory_things(e.b);
    env_serve_folder(&e, "things");
    env_serve_folder(&e, "links");
    for (int i = 1; i <= n; i++) {
        char path[64], target[64];

        snprintf(path, sizeof(path), "things/%d", i);
        env_serve_folder(&e, path);
        snprintf(path, sizeof(path), "things/%d/model", i);
        env_serve(&e, path, "content");
        snprintf(path, sizeof(path), "things/%d/info", i);
        assert_int_equal(pm_memory_set(e.b, path, PM_DOCUMENT, "{}", 2), 0);
        snprintf(path, sizeof(path), "things/%d/old", i);
        env_serve_folder(&e, path);
        snprintf(path, sizeof(path), "things/%d/old/model", i);
        env_serve(&e, path, "content before");
        snprintf(path, sizeof(path), "links/%d", i);
        snprintf(target, sizeof(target), "../things/%d", i);
        assert_int_equal(pm_memory_set(e.b, path, PM_LINK, target, strlen(target) + 1), 0);
    }
}

static void look_at(const char *path)
{
    assert_int_equal(env_list(&e, env_find(&e, path)), 0);
}

static void look_at_all(void)
{
    assert_int_equal(env_list(&e, e.root), 0);
    look_at("links");
    look_at("things");
    look_at("things/1");
    look_at("things/1/old");
    things = env_find(&e, "things");
    one = env_find(&e, "things/1");
}

static int setup(void **state)
{
    (void)state;
    env_start(&e);
    serve_things(3);
    look_at_all();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    env_close(&e);
    return 0;
}

/* As rm -r: unlinks and rmdirs, and at last the folder itself. */
static void empty_one(void)
{
    pm_node old = env_find(&e, "things/1/old");

    assert_int_equal(pm_change_unlink(e.c, old, "model"), 0);
    assert_int_equal(pm_change_rmdir(e.c, one, "old", NULL), 0);
    assert_int_equal(pm_change_unlink(e.c, one, "model"), 0);
    assert_int_equal(pm_change_unlink(e.c, one, "info"), 0);
}

static void remove_one(void)
{
    empty_one();
    assert_int_equal(pm_change_rmdir(e.c, things, "1", NULL), 0);
}

static void send_all(void)
{
    assert_int_equal(pm_queue_pause(e.c, false), 0);
    env_sync(&e);
}

static void restart(void)
{
    struct pm_backend *service;

    assert_int_equal(pm_memory_ops.open(&e.accounts[0], &service), 0);
    pm_memory_move(e.b, service);
    env_stop(&e);
    env_open(&e);
    pm_memory_things(e.b);
    pm_memory_move(service, e.b);
    pm_memory_ops.close(service);
    assert_int_equal(pm_queue_pause(e.c, true), 0);
    assert_int_equal(env_list(&e, e.root), 0);
    look_at("things");
    look_at("things/2");
    things = env_find(&e, "things");
}

static void let_time_pass(void)
{
    pm_db_begin(e.c->db);
    pm_db_run(e.c->db, "UPDATE temp.hidden SET until=until-?1", "i", (int64_t)PM_HIDDEN_MS);
    assert_int_equal(pm_db_end(e.c->db, 0), 0);
    pm_hidden_tick(e.c);
}

/* --- names in a thing */

static void names_that_are_removed_in_a_thing_are_gone_and_nothing_is_sent(void **state)
{
    (void)state;
    assert_int_equal(pm_change_unlink(e.c, one, "model"), 0);
    assert_string_equal(env_names(&e, one), "info old");
    assert_int_equal(pm_tree_lookup(e.c, one, "model", NULL, &attr), -ENOENT);
    assert_int_equal(pm_change_unlink(e.c, one, "model"), -ENOENT);
    assert_int_equal(pm_change_unlink(e.c, env_find(&e, "things/1/old"), "model"), 0);
    assert_int_equal(pm_change_rmdir(e.c, one, "old", NULL), 0);
    assert_int_equal(pm_change_unlink(e.c, one, "info"), 0);
    assert_string_equal(env_names(&e, one), "");
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry"), 0);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_REMOVE), 0);
}

static void a_list_that_comes_meanwhile_does_not_bring_them_back(void **state)
{
    (void)state;
    assert_int_equal(pm_change_unlink(e.c, one, "model"), 0);
    look_at("things/1");
    look_at("things/1");
    assert_string_equal(env_names(&e, one), "info old");
}

static void after_ten_minutes_they_are_back(void **state)
{
    pm_node model = env_find(&e, "things/1/model");

    (void)state;
    empty_one();
    pm_hidden_tick(e.c);
    assert_string_equal(env_names(&e, one), "");
    let_time_pass();
    assert_string_equal(env_names(&e, one), "info model old");
    assert_int_equal(env_find(&e, "things/1/model"), model);
    assert_string_equal(env_text(&e, model), "content");
    assert_string_equal(env_names(&e, env_find(&e, "things/1/old")), "model");
}

static void after_a_restart_they_are_back_at_once(void **state)
{
    (void)state;
    empty_one();
    restart();
    assert_string_equal(env_names(&e, one), "info model old");
    assert_string_equal(env_text(&e, env_find(&e, "things/1/model")), "content");
}

static void who_reads_a_file_reads_on_when_its_name_goes(void **state)
{
    struct pm_file *f;
    char            text[8] = "";

    (void)state;
    assert_int_equal(pm_file_open(e.c, env_find(&e, "things/1/model"), O_RDONLY, &f), 0);
    empty_one();
    assert_int_equal(env_read(f, text, 7, 0), 7);
    assert_string_equal(text, "content");
    pm_file_release(f);
    let_time_pass();
    assert_string_equal(env_text(&e, env_find(&e, "things/1/model")), "content");
}

static void a_name_can_be_taken_back_sooner(void **state)
{
    (void)state;
    empty_one();
    assert_int_equal(pm_change_undelete(e.c, one, "model"), 0);
    assert_string_equal(env_names(&e, one), "model");
    assert_int_equal(pm_change_undelete(e.c, one, "model"), -EEXIST);
    assert_int_equal(pm_change_undelete(e.c, one, "old"), 0);
    assert_string_equal(env_names(&e, env_find(&e, "things/1/old")), "model");
    assert_int_equal(pm_change_undelete(e.c, one, "never"), -ENOENT);
}

/* --- the thing itself */

static void a_thing_in_which_a_name_is_shown_is_not_empty(void **state)
{
    (void)state;
    assert_int_equal(pm_change_rmdir(e.c, things, "1", NULL), -ENOTEMPTY);
    empty_one();
    assert_int_equal(pm_change_undelete(e.c, one, "info"), 0);
    assert_int_equal(pm_change_rmdir(e.c, things, "1", NULL), -ENOTEMPTY);
    assert_int_equal(pm_change_unlink(e.c, one, "info"), 0);
    assert_int_equal(pm_change_rmdir(e.c, things, "1", NULL), 0);
}

static void removing_the_folder_removes_the_thing_by_one_call(void **state)
{
    (void)state;
    remove_one();
    assert_string_equal(env_names(&e, things), "2 3");
    assert_non_null(env_served(&e, "things/1/model"));
    send_all();
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_REMOVE), 1);
    assert_string_equal(env_served_names(&e, "things"), "2 3");
    look_at("things");
    assert_string_equal(env_names(&e, things), "2 3");
}

static bool link_is_gone(void *links)
{
    return !strcmp(env_names(&e, *(pm_node *)links), "2 3");
}

static void links_to_it_go_with_it(void **state)
{
    pm_node links = env_find(&e, "links");

    (void)state;
    remove_one();
    assert_string_equal(env_names(&e, links), "1 2 3");
    send_all();
    assert_true(env_until(link_is_gone, &links)); /* a list that is old is shown while the new one comes */
}

static void what_somebody_reads_of_it_is_had_before_it_goes(void **state)
{
    struct pm_file *f;
    char            text[8] = "";

    (void)state;
    assert_int_equal(pm_file_open(e.c, env_find(&e, "things/1/model"), O_RDONLY, &f), 0);
    remove_one();
    send_all();
    assert_null(env_served(&e, "things/1/model"));
    assert_int_equal(env_read(f, text, 7, 0), 7);
    assert_string_equal(text, "content");
    pm_file_release(f);
}

static void a_removal_that_is_taken_back_brings_the_names_back_with_it(void **state)
{
    (void)state;
    remove_one();
    assert_int_equal(pm_change_undelete(e.c, things, "1"), 0);
    assert_string_equal(env_names(&e, things), "1 2 3");
    assert_string_equal(env_names(&e, one), "info model old");
    assert_string_equal(env_names(&e, env_find(&e, "things/1/old")), "model");
    send_all();
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_REMOVE), 0);
}

static void a_removal_outlives_a_restart_and_its_names_do_not_matter(void **state)
{
    (void)state;
    remove_one();
    restart();
    assert_string_equal(env_names(&e, things), "2 3");
    send_all();
    assert_string_equal(env_served_names(&e, "things"), "2 3");
}

static void what_became_another_thing_since_stays_and_its_names_are_back(void **state)
{
    struct pm_info info;

    (void)state;
    remove_one();
    assert_int_equal(pm_memory_set(e.b, "things/1", PM_FOLDER, "", 0), 0);
    send_all();
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_REMOVE), 0);
    assert_string_equal(env_names(&e, things), "1 2 3");
    assert_string_equal(env_names(&e, one), "info model old");
    assert_int_equal(pm_info_node(e.c, one, &info), 0);
    assert_non_null(strstr(info.error, "changed on the service"));
}

static void a_thing_that_is_gone_already_is_removed_as_asked(void **state)
{
    (void)state;
    remove_one();
    assert_int_equal(pm_memory_drop(e.b, "things/1"), 0);
    send_all();
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry"), 0);
    assert_string_equal(env_names(&e, things), "2 3");
}

static void a_lost_answer_to_its_removal_does_no_harm(void **state)
{
    (void)state;
    remove_one();
    pm_memory_fault(e.b, PM_MEM_REMOVE, 1, -EIO, true);
    send_all();
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry"), 0);
    assert_string_equal(env_served_names(&e, "things"), "2 3");
}

static void a_thing_that_is_moved_to_another_account_goes_when_that_has_it(void **state)
{
    (void)state;
    env_close(&e);
    env_init(&e);
    e.conf.naccounts = 2;
    env_open(&e);
    assert_int_equal(pm_queue_pause(e.c, true), 0);
    serve_things(1);
    look_at_all();
    env_write(&e, e.root2, "moved", "content");
    remove_one();
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.dep d JOIN j.entry r ON r.id=d.entry JOIN j.entry p"
                                 " ON p.id=d.needs WHERE r.op=3 AND p.op=1"), 1);
    send_all();
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_REMOVE), 1);
}

/* --- the guard */

static void remove_many(int from, int to)
{
    for (int i = from; i <= to; i++) {
        char    path[64], name[16];
        pm_node thing;

        snprintf(path, sizeof(path), "things/%d", i);
        snprintf(name, sizeof(name), "%d", i);
        thing = env_find(&e, path);
        look_at(path);
        snprintf(path, sizeof(path), "things/%d/old", i);
        look_at(path);
        assert_int_equal(pm_change_unlink(e.c, env_find(&e, path), "model"), 0);
        assert_int_equal(pm_change_rmdir(e.c, thing, "old", NULL), 0);
        assert_int_equal(pm_change_unlink(e.c, thing, "model"), 0);
        assert_int_equal(pm_change_unlink(e.c, thing, "info"), 0);
        assert_int_equal(pm_change_rmdir(e.c, things, name, NULL), 0);
    }
}

static void a_thing_counts_one_for_the_guard_whatever_was_in_it(void **state)
{
    (void)state;
    e.conf.delete_guard = 3;
    serve_things(10);
    look_at_all();
    remove_many(1, 3);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry WHERE state=7"), 0);
    remove_many(4, 4);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry WHERE state=7"), 4);
}

static void more_than_half_of_fifty_things_are_held(void **state)
{
    (void)state;
    e.conf.delete_guard = 200;
    serve_things(50);
    look_at_all();
    remove_many(1, 25);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry WHERE state=7"), 0);
    remove_many(26, 26);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry WHERE state=7"), 26);
}

/* --- what is refused */

static void nothing_is_made_written_or_renamed_in_a_thing(void **state)
{
    struct pm_file *f;
    struct pm_info  info;
    pm_node         model = env_find(&e, "things/1/model");

    (void)state;
    assert_int_equal(pm_change_create(e.c, one, "new", NULL, &attr), -EPERM);
    assert_int_equal(pm_change_mkdir(e.c, one, "new", NULL, &attr), -EPERM);
    assert_int_equal(pm_change_rename(e.c, one, "model", one, "new", 0, NULL), -EPERM);
    assert_int_equal(pm_file_open(e.c, model, O_WRONLY, &f), -EPERM);
    assert_int_equal(pm_info_node(e.c, one, &info), 0);
    assert_string_equal(info.error, "here are only things");
    assert_int_equal(pm_info_node(e.c, model, &info), 0);
    assert_string_equal(info.error, "here are only things");
}

static void fixed_folders_and_links_stay_as_they_are(void **state)
{
    pm_node        links = env_find(&e, "links");
    struct pm_info info;

    (void)state;
    assert_int_equal(pm_change_rmdir(e.c, e.root, "things", NULL), -EBUSY);
    assert_int_equal(pm_change_rmdir(e.c, e.root, "links", NULL), -EBUSY);
    assert_int_equal(pm_change_rename(e.c, e.root, "things", e.root, "others", 0, NULL), -EPERM);
    assert_int_equal(pm_change_rename(e.c, things, "1", things, "4", 0, NULL), -EPERM);
    assert_int_equal(pm_change_unlink(e.c, links, "1"), -EPERM);
    assert_int_equal(pm_change_rmdir(e.c, links, "1", NULL), -ENOTDIR);
    assert_int_equal(pm_change_rename(e.c, links, "1", links, "4", 0, NULL), -EPERM);
    assert_int_equal(pm_change_create(e.c, things, "file", NULL, &attr), -EPERM);
    assert_int_equal(pm_change_mkdir(e.c, e.root, "folder", NULL, &attr), -EPERM);
    assert_int_equal(pm_info_node(e.c, links, &info), 0);
    assert_string_equal(info.error, "here are only things");
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(names_that_are_removed_in_a_thing_are_gone_and_nothing_is_sent),
        TEST(a_list_that_comes_meanwhile_does_not_bring_them_back),
        TEST(after_ten_minutes_they_are_back),
        TEST(after_a_restart_they_are_back_at_once),
        TEST(who_reads_a_file_reads_on_when_its_name_goes),
        TEST(a_name_can_be_taken_back_sooner),
        TEST(a_thing_in_which_a_name_is_shown_is_not_empty),
        TEST(removing_the_folder_removes_the_thing_by_one_call),
        TEST(links_to_it_go_with_it),
        TEST(what_somebody_reads_of_it_is_had_before_it_goes),
        TEST(a_removal_that_is_taken_back_brings_the_names_back_with_it),
        TEST(a_removal_outlives_a_restart_and_its_names_do_not_matter),
        TEST(what_became_another_thing_since_stays_and_its_names_are_back),
        TEST(a_thing_that_is_gone_already_is_removed_as_asked),
        TEST(a_lost_answer_to_its_removal_does_no_harm),
        TEST(a_thing_that_is_moved_to_another_account_goes_when_that_has_it),
        TEST(a_thing_counts_one_for_the_guard_whatever_was_in_it),
        TEST(more_than_half_of_fifty_things_are_held),
        TEST(nothing_is_made_written_or_renamed_in_a_thing),
        TEST(fixed_folders_and_links_stay_as_they_are),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
