#include "fs/find.h"

#include "backends/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void a_string_member_is_found_at_the_top_only(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *value; /* NULL: none */
    } rows[] = {
        { "{\"dir\":\"/x\"}", "/x" },
        { " {\n \"a\" : -1.5e3 , \"dir\" : \"/x\" } ", "/x" },
        { "{\"a\":{\"dir\":\"no\"},\"dir\":\"/x\"}", "/x" },
        { "{\"a\":[{\"dir\":\"no\"},\"]\",\"\\\"\"],\"dir\":\"/x\"}", "/x" },
        { "{\"a\":\"\\\"dir\\\":\\\"no\\\"\",\"dir\":\"/x\"}", "/x" },
        { "{\"dir\":\"a\\\\b\\/\\n\\u0041\xC3\xA9\"}", "a\\b/\nA\xC3\xA9" },
        { "{\"dir\":\"\"}", "" },
        { "{\"dir\":\"\\u0000\"}", NULL },
        { "{\"dir\":\"\\u00e9\"}", NULL },
        { "{\"dir\":\"\\x\"}", NULL },
        { "{\"dir\":\"/x", NULL },
        { "{\"dir\":\"/x\\", NULL },
        { "{\"dir\":7}", NULL },
        { "{\"di\":\"/x\"}", NULL },
        { "{\"a\":{\"dir\":\"no\"}}", NULL },
        { "[\"dir\",\"/x\"]", NULL },
        { "{\"a\":[[[", NULL },
        { "{\"a\":,\"dir\":\"/x\"}", NULL },
        { "{\"a\"", NULL },
        { "{", NULL },
        { "", NULL },
    };
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        PM_AUTO(free) char *got = pm_peek_string(rows[i].text, "dir");
        if (!rows[i].value != !got || (got && strcmp(got, rows[i].value) != 0))
            fail_msg("row %zu: %s", i, got ? got : "none");
    }
}

static void a_number_is_whole_and_ends(void **state)
{
    (void)state;
    int64_t n = 7;
    assert_int_equal(pm_peek_number("{\"pid\":12}", "pid", &n), 0);
    assert_int_equal(n, 12);
    assert_int_equal(pm_peek_number("{\"pid\":1.5}", "pid", &n), -ENOENT);
    assert_int_equal(pm_peek_number("{\"pid\":99999999999999999999}", "pid", &n), -ENOENT);
    assert_int_equal(pm_peek_number("{\"pid\":\"12\"}", "pid", &n), -ENOENT);
    assert_int_equal(pm_peek_number("{}", "pid", &n), -ENOENT);
    assert_int_equal(n, 12);
}

static void a_path_is_made_absolute_by_its_text(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        { "/", "/" },           { "//a///b/", "/a/b" }, { "/a/./b/.", "/a/b" },
        { "/a/b/../c", "/a/c" }, { "/../..", "/" },      { "/a/..", "/" },
        { "x", "/tmp/x" },      { ".", "/tmp" },        { "../x y", "/x y" },
    };
    assert_int_equal(chdir("/tmp"), 0);
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        PM_AUTO(free) char *got = pm_path_absolute(rows[i][0]);
        assert_string_equal(got, rows[i][1]);
    }
}

static void a_path_outside_any_mount_is_enoent(void **state)
{
    (void)state;
    struct pm_found found;
    assert_int_equal(pm_find_path("/usr/no/such/file", &found), -ENOENT);
    assert_int_equal(pm_find_path("/", &found), -ENOENT);
    assert_int_equal(pm_find_mount("/usr", &found), -ENOENT);
    assert_false(pm_path_is_mount("/"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_string_member_is_found_at_the_top_only),
        cmocka_unit_test(a_number_is_whole_and_ends),
        cmocka_unit_test(a_path_is_made_absolute_by_its_text),
        cmocka_unit_test(a_path_outside_any_mount_is_enoent),
    };
    return cmocka_run_group_tests_name("find", tests, NULL, NULL);
}
