/* Lists that arrive: what they change in the tree, and what they must not. */
#include "tests/unit/cache_env.h"

#include "cache/merge.h"

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

static void list(void)
{
    assert_int_equal(env_list(&e, e.root), 0);
}

static void names_come_change_and_go(void **state)
{
    pm_node a;

    (void)state;
    env_serve(&e, "a", "one");
    env_serve_folder(&e, "d");
    list();
    assert_string_equal(env_names(&e, e.root), "a d");
    a = env_find(&e, "a");
    assert_string_equal(env_text(&e, a), "one");
    env_serve(&e, "a", "another");
    list();
    assert_int_equal(env_find(&e, "a"), a);
    assert_string_equal(env_text(&e, a), "another");
    pm_memory_drop(e.b, "a");
    list();
    list();
    assert_string_equal(env_names(&e, e.root), "d");
}

static void missing_once_stays_missing_twice_goes(void **state)
{
    (void)state;
    env_serve(&e, "a", "x");
    list();
    pm_memory_drop(e.b, "a");
    list();
    assert_string_equal(env_names(&e, e.root), "a");
    list();
    assert_string_equal(env_names(&e, e.root), "");
}

static void missing_now_and_then_stays(void **state)
{
    (void)state;
    env_serve(&e, "a", "x");
    list();
    env_sql(&e, "UPDATE node SET missing=1 WHERE name='a'");
    list();
    assert_int_equal(env_sql(&e, "SELECT missing FROM node WHERE name='a'"), 0);
}

static void a_list_that_is_cut_changes_nothing(void **state)
{
    (void)state;
    env_serve(&e, "a", "x");
    env_serve(&e, "b", "x");
    list();
    env_serve(&e, "c", "x");
    env_serve(&e, "d", "x");
    pm_memory_drop(e.b, "a");
    for (int i = 0; i < 3; i++) {
        pm_memory_fault(e.b, PM_MEM_LIST, 1, -ETIMEDOUT, true);
        assert_int_equal(env_list(&e, e.root), -ETIMEDOUT);
        assert_string_equal(env_names(&e, e.root), "a b");
    }
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM temp.stage"), 0);
}

static void a_list_that_is_broken_is_asked_for_once_more(void **state)
{
    unsigned lists = pm_memory_calls(e.b, PM_MEM_LIST);

    (void)state;
    env_serve(&e, "a", "x");
    env_serve(&e, "b", "x");
    pm_memory_fault(e.b, PM_MEM_LIST, 1, -EIO, true);
    list();
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_LIST), lists + 2);
    assert_string_equal(env_names(&e, e.root), "a b");
}

static void hostile_names_are_shown_escaped_and_read(void **state)
{
    (void)state;
    env_serve(&e, "a%2Fb", "slash");
    env_serve(&e, "..", "dots");
    env_serve(&e, "%FF", "byte");
    list();
    assert_string_equal(env_names(&e, e.root),
                        "a\xe2\x90\x9b" "2Fb \xe2\x90\x9b" "2E. \xe2\x90\x9b" "FF");
    assert_string_equal(env_text(&e, env_find(&e, "a\xe2\x90\x9b" "2Fb")), "slash");
    assert_string_equal(env_text(&e, env_find(&e, "\xe2\x90\x9b" "2E.")), "dots");
    assert_string_equal(env_text(&e, env_find(&e, "\xe2\x90\x9b" "FF")), "byte");
}

/* The memory backend has one object a path; "a" and "%61" are two paths of one name. */
static void duplicates_are_both_shown_and_keep_their_names(void **state)
{
    PM_AUTO(free) char *names = NULL;
    pm_node             a;

    (void)state;
    env_serve(&e, "a", "one");
    env_serve(&e, "%61", "two");
    list();
    names = strdup(env_names(&e, e.root));
    assert_true(!strncmp(names, "a a\xe2\x90\x9b=", 7));
    a = env_find(&e, "a");
    for (int i = 0; i < 3; i++) {
        list();
        assert_string_equal(env_names(&e, e.root), names);
        assert_int_equal(env_find(&e, "a"), a);
    }
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM node WHERE rid IS NOT NULL"), 2);
}

/* Through the merge itself: the memory backend cannot rename. */
struct told {
    const char *id, *name;
};

static bool touched_nothing(void *arg, const char *rid)
{
    (void)arg;
    (void)rid;
    return false;
}

static void merge(const struct told *t, size_t n)
{
    struct pm_merge *m = NULL;
    struct pm_row    row;

    pm_db_begin(e.c->db);
    assert_int_equal(pm_node_get(e.c->db, e.root, &row), 0);
    pm_db_end(e.c->db, 0);
    assert_int_equal(pm_merge_open(e.c, &e.c->accounts[0], &row, pm_wall_ms(), &m), 0);
    for (size_t i = 0; i < n; i++) {
        struct pm_entry x = {.kind = PM_FILE, .root = "", .id = t[i].id, .name = t[i].name,
                             .path = "", .target = "", .version = "v", .state = "", .size = 1};

        assert_int_equal(pm_merge_add(m, &x), 0);
    }
    assert_int_equal(pm_merge_apply(m, touched_nothing, NULL), 0);
    pm_merge_free(m);
}

static void a_name_changed_by_another_user_keeps_its_node(void **state)
{
    static const struct told before[] = {{"1", "a"}};
    static const struct told after[] = {{"1", "b"}};
    pm_node                  node;

    (void)state;
    merge(before, 1);
    node = env_find(&e, "a");
    merge(after, 1);
    assert_string_equal(env_names(&e, e.root), "b");
    assert_int_equal(env_find(&e, "b"), node);
}

static void two_names_swapped_by_another_user_are_shown_swapped(void **state)
{
    static const struct told before[] = {{"1", "a"}, {"2", "b"}};
    static const struct told after[] = {{"1", "b"}, {"2", "a"}};
    pm_node                  a, b;

    (void)state;
    merge(before, 2);
    a = env_find(&e, "a");
    b = env_find(&e, "b");
    merge(after, 2);
    assert_string_equal(env_names(&e, e.root), "a b");
    assert_int_equal(env_find(&e, "a"), b);
    assert_int_equal(env_find(&e, "b"), a);
}

static void one_id_twice_in_a_list_is_one_entry(void **state)
{
    static const struct told twice[] = {{"1", "a"}, {"1", "a"}, {"2", "b"}, {"2", "c"}};

    (void)state;
    merge(twice, 4);
    assert_string_equal(env_names(&e, e.root), "a c");
}

static void an_object_moved_to_another_folder_keeps_its_node(void **state)
{
    static const struct told here[] = {{"77", "moved"}};
    pm_node                  d, node;

    (void)state;
    merge(here, 1);
    node = env_find(&e, "moved");
    env_serve_folder(&e, "d");
    d = env_mkdir(&e, e.root, "x");
    pm_db_begin(e.c->db);
    pm_node_place(e.c->db, node, d, "moved", "moved"); /* as the other folder's list does */
    pm_db_end(e.c->db, 0);
    merge(NULL, 0);
    merge(NULL, 0);
    assert_int_equal(env_find(&e, "x/moved"), node);
}

static void an_own_upload_whose_version_moves_while_settling_keeps_its_content(void **state)
{
    unsigned fetches;
    pm_node  node;

    (void)state;
    node = env_write(&e, e.root, "a", "mine");
    env_sync(&e);
    pm_memory_settling(e.b, "a", true);
    list();
    env_serve(&e, "a", "mine"); /* a new version, the same size */
    list();
    fetches = pm_memory_calls(e.b, PM_MEM_FETCH);
    assert_string_equal(env_text(&e, node), "mine");
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_FETCH), fetches);
    pm_memory_settling(e.b, "a", false);
    env_serve(&e, "a", "mine");
    list();
    assert_string_equal(env_text(&e, node), "mine");
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_FETCH), fetches);
}

static void anothers_change_supersedes_an_own_upload(void **state)
{
    pm_node node;

    (void)state;
    node = env_write(&e, e.root, "a", "mine");
    env_sync(&e);
    env_serve(&e, "a", "hers");
    list();
    assert_string_equal(env_text(&e, node), "hers");
}

static void unsent_content_outlives_a_list_that_lacks_the_file(void **state)
{
    pm_node node;

    (void)state;
    env_serve(&e, "a", "theirs");
    list();
    node = env_write(&e, e.root, "a", "mine");
    pm_memory_drop(e.b, "a");
    list();
    list();
    assert_string_equal(env_names(&e, e.root), "a");
    assert_string_equal(env_text(&e, node), "mine");
    env_sync(&e);
    assert_string_equal(env_served(&e, "a"), "mine");
}

static void unsent_work_in_a_folder_that_goes_stays_shown(void **state)
{
    pm_node d;

    (void)state;
    env_serve_folder(&e, "d");
    list();
    d = env_find(&e, "d");
    assert_int_equal(env_list(&e, d), 0);
    env_write(&e, d, "mine", "work");
    pm_memory_drop(e.b, "d");
    list();
    list();
    assert_int_not_equal(env_find(&e, "d/mine"), 0);
    assert_string_equal(env_text(&e, env_find(&e, "d/mine")), "work");
}

/* Starts a list that waits in the service; old lists may not serve before it has come. */
static void start_list(struct env_waiter *w)
{
    unsigned lists = pm_memory_calls(e.b, PM_MEM_LIST);

    env_sql(&e, "UPDATE list SET fetched=0");
    pm_memory_block(e.b, PM_MEM_LIST, true);
    env_waiter_init(w);
    assert_int_equal(pm_tree_ready(e.c, e.root, &w->w), -EINPROGRESS);
    env_until_calls(&e, PM_MEM_LIST, lists + 1);
}

static bool list_came(void *arg)
{
    (void)arg;
    return env_sql(&e, "SELECT fetched>0 FROM list JOIN node ON node.id=list.node"
                       " WHERE node.name='m'") != 0;
}

static void end_list(struct env_waiter *w)
{
    pm_memory_block(e.b, PM_MEM_LIST, false);
    assert_true(env_waiter_wait(w, 30000));
    assert_true(env_until(list_came, NULL));
    assert_int_equal(w->woken, 1);
}

static void a_confirmed_upload_is_not_undone_by_a_running_list(void **state)
{
    static struct env_waiter w;

    (void)state;
    start_list(&w);
    env_write(&e, e.root, "a", "mine");
    env_sync(&e);
    pm_memory_drop(e.b, "a"); /* the list was made before it */
    end_list(&w);
    assert_string_equal(env_names(&e, e.root), "a");
    assert_int_equal(env_sql(&e, "SELECT missing FROM node WHERE name='a'"), 0);
}

static void a_confirmed_update_is_not_undone_by_a_running_list(void **state)
{
    static struct env_waiter w;
    unsigned                 fetches;

    (void)state;
    env_serve(&e, "a", "old");
    list();
    start_list(&w);
    env_write(&e, e.root, "a", "mine");
    env_sync(&e);
    env_serve(&e, "a", "old");
    end_list(&w);
    fetches = pm_memory_calls(e.b, PM_MEM_FETCH);
    assert_string_equal(env_text(&e, env_find(&e, "a")), "mine");
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_FETCH), fetches);
}

static void an_old_list_serves_when_the_new_one_takes_long(void **state)
{
    static struct env_waiter w;

    (void)state;
    env_serve(&e, "a", "x");
    list();
    start_list(&w);
    assert_true(env_waiter_wait(&w, 30000));
    assert_int_equal(w.err, 0);
    assert_int_equal(pm_tree_ready(e.c, e.root, &w.w), 0);
    assert_string_equal(env_names(&e, e.root), "a");
    end_list(&w);
}

static void who_waits_for_a_list_is_woken_when_the_drive_stops(void **state)
{
    static struct env_waiter w;

    (void)state;
    start_list(&w);
    env_stop(&e);
    assert_int_equal(w.woken, 1);
    assert_int_equal(w.err, -ESHUTDOWN);
}

static void a_list_asked_for_by_many_is_got_once(void **state)
{
    static struct env_waiter w, more[20];
    unsigned                 lists;

    (void)state;
    start_list(&w);
    lists = pm_memory_calls(e.b, PM_MEM_LIST);
    for (size_t i = 0; i < PM_COUNT(more); i++) {
        env_waiter_init(&more[i]);
        assert_int_equal(pm_tree_ready(e.c, e.root, &more[i].w), -EINPROGRESS);
    }
    end_list(&w);
    for (size_t i = 0; i < PM_COUNT(more); i++) {
        assert_true(env_waiter_wait(&more[i], 30000));
        assert_int_equal(more[i].woken, 1);
        assert_int_equal(more[i].err, 0);
    }
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_LIST), lists);
}

static void ten_thousand_entries_are_listed_and_read(void **state)
{
    struct told *t = calloc(10000, sizeof(*t));
    char       (*text)[16] = calloc(10000, 16);

    (void)state;
    for (int i = 0; i < 10000; i++) {
        snprintf(text[i], 16, "%d", 100000 + i);
        t[i] = (struct told){text[i], text[i]};
    }
    for (int i = 0; i < 2; i++) {
        merge(t, 10000);
        assert_int_equal(env_sql(&e, "SELECT count(*) FROM node WHERE rid IS NOT NULL"), 10000);
        assert_int_equal(env_sql(&e, "SELECT count(*) FROM temp.stage"), 0);
        assert_int_not_equal(env_find(&e, "109999"), 0);
        assert_true(strlen(env_names(&e, e.root)) > 60000);
    }
    free(t);
    free(text);
}

static void a_service_without_ids_is_read_and_changed_by_path(void **state)
{
    struct pm_memory_options no_ids = {.no_ids = true};

    (void)state;
    pm_memory_set_options(e.b, &no_ids);
    env_serve(&e, "a", "x");
    env_serve(&e, "b", "x");
    list();
    assert_string_equal(env_text(&e, env_find(&e, "a")), "x");
    env_write(&e, e.root, "a", "new");
    assert_int_equal(pm_change_unlink(e.c, e.root, "b"), 0);
    env_sync(&e);
    assert_string_equal(env_served(&e, "a"), "new");
    assert_string_equal(env_served_names(&e, ""), "a");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(names_come_change_and_go),
        TEST(missing_once_stays_missing_twice_goes),
        TEST(missing_now_and_then_stays),
        TEST(a_list_that_is_cut_changes_nothing),
        TEST(a_list_that_is_broken_is_asked_for_once_more),
        TEST(hostile_names_are_shown_escaped_and_read),
        TEST(duplicates_are_both_shown_and_keep_their_names),
        TEST(a_name_changed_by_another_user_keeps_its_node),
        TEST(two_names_swapped_by_another_user_are_shown_swapped),
        TEST(one_id_twice_in_a_list_is_one_entry),
        TEST(an_object_moved_to_another_folder_keeps_its_node),
        TEST(an_own_upload_whose_version_moves_while_settling_keeps_its_content),
        TEST(anothers_change_supersedes_an_own_upload),
        TEST(unsent_content_outlives_a_list_that_lacks_the_file),
        TEST(unsent_work_in_a_folder_that_goes_stays_shown),
        TEST(a_confirmed_upload_is_not_undone_by_a_running_list),
        TEST(a_confirmed_update_is_not_undone_by_a_running_list),
        TEST(an_old_list_serves_when_the_new_one_takes_long),
        TEST(who_waits_for_a_list_is_woken_when_the_drive_stops),
        TEST(a_list_asked_for_by_many_is_got_once),
        TEST(ten_thousand_entries_are_listed_and_read),
        TEST(a_service_without_ids_is_read_and_changed_by_path),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
