#include "fs/inode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static int make(void **state)
{
    return pm_inodes_new((struct pm_inodes **)state);
}

static int drop(void **state)
{
    pm_inodes_free(*state);
    return 0;
}

static void root_is_known_and_never_forgotten(void **state)
{
    assert_true(pm_inode_known(*state, PM_NODE_ROOT));
    assert_false(pm_inode_unref(*state, PM_NODE_ROOT, 1));
    assert_true(pm_inode_known(*state, PM_NODE_ROOT));
}

static void last_forget_says_so(void **state)
{
    assert_true(pm_inode_ref(*state, 7));
    assert_true(pm_inode_ref(*state, 7));
    assert_true(pm_inode_ref(*state, 7));
    assert_false(pm_inode_unref(*state, 7, 2));
    assert_true(pm_inode_unref(*state, 7, 1));
    assert_false(pm_inode_known(*state, 7));
    assert_false(pm_inode_unref(*state, 7, 1)); /* unknown: not again */
}

static void pages_are_kept_for_the_same_content_only(void **state)
{
    pm_inode_ref(*state, 7);
    pm_inode_open_file(*state, 7, 100);
    assert_true(pm_inode_open_file(*state, 7, 100));
    assert_false(pm_inode_open_file(*state, 7, 101));
    assert_true(pm_inode_open_file(*state, 7, 101));
    pm_inode_unserve(*state, 7);
    assert_false(pm_inode_open_file(*state, 7, 101));
    assert_false(pm_inode_open_file(*state, 7, 0)); /* 0: no content known */
    assert_false(pm_inode_open_file(*state, 7, 0));
}

static void first_open_drops_no_pages_since_there_are_none(void **state)
{
    pm_inode_ref(*state, 7);
    assert_true(pm_inode_open_file(*state, 7, 100));
    pm_inode_ref(*state, 8);
    assert_false(pm_inode_open_file(*state, 8, 0)); /* no content known */
    assert_false(pm_inode_open_file(*state, 8, 100));
    pm_inode_ref(*state, 9);
    pm_inode_unserve(*state, 9);
    assert_false(pm_inode_open_file(*state, 9, 100));
    assert_true(pm_inode_unref(*state, 7, 1));
    pm_inode_ref(*state, 7); /* forgotten, its pages with it */
    assert_true(pm_inode_open_file(*state, 7, 101));
}

static void a_change_drops_a_folders_list_once(void **state)
{
    pm_inode_ref(*state, 7);
    assert_false(pm_inode_open_folder(*state, 7));
    assert_true(pm_inode_open_folder(*state, 7));
    assert_true(pm_inode_touch(*state, 7));
    assert_false(pm_inode_open_folder(*state, 7));
    assert_true(pm_inode_open_folder(*state, 7));
    assert_false(pm_inode_touch(*state, 8)); /* the kernel does not know it */
}

static void holds_many(void **state)
{
    enum { MANY = 100000 };

    for (pm_node n = 2; n < MANY; n++)
        assert_true(pm_inode_ref(*state, n));
    assert_int_equal(pm_inodes_count(*state), MANY - 1);
    for (pm_node n = 2; n < MANY; n += 2)
        assert_true(pm_inode_unref(*state, n, 1));
    for (pm_node n = 2; n < MANY; n++)
        assert_int_equal(pm_inode_known(*state, n), n % 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(root_is_known_and_never_forgotten, make, drop),
        cmocka_unit_test_setup_teardown(last_forget_says_so, make, drop),
        cmocka_unit_test_setup_teardown(pages_are_kept_for_the_same_content_only, make, drop),
        cmocka_unit_test_setup_teardown(first_open_drops_no_pages_since_there_are_none, make, drop),
        cmocka_unit_test_setup_teardown(a_change_drops_a_folders_list_once, make, drop),
        cmocka_unit_test_setup_teardown(holds_many, make, drop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
