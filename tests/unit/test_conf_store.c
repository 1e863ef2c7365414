/* Keys written into a configuration that people edit. */
#include "backends/conf.h"
#include "backends/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char dir[] = "/tmp/polymount-store-XXXXXX";
static char why[512];

static const struct pm_conf_pair keys[] = {
    {"consumer_key", "ck"}, {"access_secret", "a/s+=%"}, {"accept_terms", "yes"}};

static char *path_of(const char *name)
{
    return pm_asprintf("%s/%s", dir, name);
}

static void put(const char *path, const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static char *text_of(const char *path)
{
    char  *text = calloc(1, 4096);
    FILE  *f = fopen(path, "r");

    assert_non_null(f);
    assert_true(fread(text, 1, 4095, f) < 4095);
    fclose(f);
    return text;
}

static int store(const char *path, const char *account)
{
    return pm_conf_store(path, account, "shapeways", keys, PM_COUNT(keys), why, sizeof(why));
}

static void a_configuration_is_made_where_there_is_none(void **state)
{
    PM_AUTO(free) char *path = path_of("new/deep/polymount.conf");
    PM_AUTO(free) char *text = NULL;
    struct stat         st;

    (void)state;
    assert_int_equal(store(path, "my shop"), 0);
    text = text_of(path);
    assert_string_equal(text, "[account my shop]\ntype = shapeways\nconsumer_key = ck\naccess_secret = a/s+=%\n"
                              "accept_terms = yes\n");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void what_others_wrote_stays(void **state)
{
    static const char old[] = "; mine\n[cache]\nmax_size = 1G ; enough\n\n[account shop]\n# here\ntype = shapeways\n"
                              "consumer_key_command = pass ck\nconsumer_secret = x\n  access_secret : old\n"
                              "accept_terms = no\n[ account  other ]\ntype = shapeways\nconsumer_key = theirs\n"
                              "accept_terms = no";
    static const char new[] = "; mine\n[cache]\nmax_size = 1G ; enough\n\n[account shop]\n"
                              "consumer_key = ck\naccess_secret = a/s+=%\naccept_terms = yes\n# here\ntype = shapeways\n"
                              "consumer_secret = x\n[ account  other ]\ntype = shapeways\nconsumer_key = theirs\n"
                              "accept_terms = no\n";
    PM_AUTO(free) char *path = path_of("old.conf");
    PM_AUTO(free) char *text = NULL, *again = NULL;

    (void)state;
    put(path, old, 0600);
    assert_int_equal(store(path, "shop"), 0);
    text = text_of(path);
    assert_string_equal(text, new);
    assert_int_equal(store(path, "shop"), 0);
    again = text_of(path);
    assert_string_equal(again, new);
}

static void an_account_is_added_at_the_end(void **state)
{
    PM_AUTO(free) char *path = path_of("more.conf");
    PM_AUTO(free) char *text = NULL;

    (void)state;
    put(path, "[account a]\ntype = smartshape", 0644); /* it held no secret until now */
    assert_int_equal(store(path, "b"), 0);
    text = text_of(path);
    assert_string_equal(text, "[account a]\ntype = smartshape\n\n[account b]\ntype = shapeways\nconsumer_key = ck\n"
                              "access_secret = a/s+=%\naccept_terms = yes\n");
}

static void what_would_not_be_read_back_is_not_written(void **state)
{
    static const struct pm_conf_pair comment[] = {{"access_token", "a ;b"}}, lines[] = {{"access_token", "a\nb = c"}};
    static const char old[] = "[account a]\ntype = smartshape\n";
    PM_AUTO(free) char *path = path_of("refused.conf"), *text = NULL;
    struct pm_conf     *conf = NULL;

    (void)state;
    put(path, old, 0600);
    assert_int_equal(pm_conf_store(path, "a", "shapeways", comment, 1, why, sizeof(why)), -EINVAL);
    assert_int_equal(pm_conf_store(path, "a", "shapeways", lines, 1, why, sizeof(why)), -EINVAL);
    assert_int_equal(store(path, ".hidden"), -EINVAL);
    assert_int_equal(store(path, "a]b"), -EINVAL);
    assert_int_equal(pm_conf_store(path, "b", "nothing", keys, 1, why, sizeof(why)), -EINVAL);
    text = text_of(path);
    assert_string_equal(text, old);
    assert_int_equal(pm_conf_load(path, &conf, why, sizeof(why)), 0);
    pm_conf_free(conf);
}

static void a_configuration_that_makes_no_sense_is_left_alone(void **state)
{
    PM_AUTO(free) char *path = path_of("broken.conf"), *text = NULL;

    (void)state;
    put(path, "[cahce]\n", 0600);
    assert_int_equal(store(path, "a"), -EINVAL);
    assert_non_null(strstr(why, "the nearest is [cache]"));
    text = text_of(path);
    assert_string_equal(text, "[cahce]\n");
    assert_int_equal(store(dir, "a"), -EINVAL);
}

static void a_link_to_the_configuration_stays_one(void **state)
{
    PM_AUTO(free) char *path = path_of("target.conf"), *link = path_of("link.conf"), *text = NULL;
    struct stat         st;

    (void)state;
    put(path, "[account a]\ntype = smartshape\n", 0600);
    assert_int_equal(symlink("target.conf", link), 0);
    assert_int_equal(store(link, "b"), 0);
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    text = text_of(path);
    assert_non_null(strstr(text, "[account b]"));
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    PM_AUTO(free) char *command = pm_asprintf("rm -rf %s", dir);

    (void)state;
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_configuration_is_made_where_there_is_none),
        cmocka_unit_test(what_others_wrote_stays),
        cmocka_unit_test(an_account_is_added_at_the_end),
        cmocka_unit_test(what_would_not_be_read_back_is_not_written),
        cmocka_unit_test(a_configuration_that_makes_no_sense_is_left_alone),
        cmocka_unit_test(a_link_to_the_configuration_stays_one),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
