/* Work that could not be sent: another try, giving it up, and what is kept of it then. */
#include "tests/unit/cache_env.h"

#include "cache/label.h"
#include "cache/work.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

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
    env_close(&e);
    return 0;
}

static int64_t failed(void)
{
    return env_sql(&e, "SELECT count(*) FROM j.entry WHERE state=4");
}

static bool more_failed(void *arg)
{
    return failed() > *(int64_t *)arg;
}

static bool something_failed(void *arg)
{
    (void)arg;
    return failed() > 0;
}

static bool something_waits(void *arg)
{
    (void)arg;
    return env_sql(&e, "SELECT count(*) FROM j.entry WHERE state=2 AND error IS NOT NULL") > 0;
}

static int64_t entries(void)
{
    return env_sql(&e, "SELECT count(*) FROM j.entry");
}

static pm_node serve(const char *name, const char *text)
{
    env_serve(&e, name, text);
    assert_int_equal(env_list(&e, e.root), 0);
    return env_find(&e, name);
}

/* A file whose upload the service refused. */
static pm_node fail_upload(pm_node parent, const char *name, const char *text)
{
    int64_t before = failed();
    pm_node node;

    pm_memory_fault(e.b, PM_MEM_BEGIN, 1, -EFBIG, false);
    node = env_write(&e, parent, name, text);
    assert_true(env_until(more_failed, &before));
    return node;
}

/* What a kill -9 leaves of a file that is open for writing; `e` is the drive after it. */
static pm_node interrupt(const char *name, const char *text)
{
    struct pm_attr  attr;
    struct pm_file *f;
    struct env      after;

    assert_int_equal(pm_queue_pause(e.c, true), 0);
    assert_int_equal(pm_change_create(e.c, e.root, name, NULL, &attr), 0);
    assert_int_equal(pm_file_open(e.c, attr.node, O_WRONLY, &f), 0);
    assert_int_equal(pm_file_write(f, text, strlen(text), 0), strlen(text));
    env_copy_folder(&e, &after);
    pm_file_release(f);
    env_close(&e);
    e = after;
    env_open(&e);
    assert_int_equal(pm_queue_pause(e.c, false), 0);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry WHERE state=6"), 1);
    return attr.node;
}

static uint64_t retry(pm_node node)
{
    uint64_t found;

    assert_int_equal(pm_work_retry(e.c, node, &found), 0);
    return found;
}

static char last_line[1024];

static void keep_line(void *arg, const char *line)
{
    (void)arg;
    snprintf(last_line, sizeof(last_line), "%s", line);
}

static int discard(pm_node node, uint64_t *found)
{
    last_line[0] = 0;
    return pm_work_discard(e.c, node, keep_line, NULL, found);
}

static void discard_well(pm_node node)
{
    uint64_t found;

    assert_int_equal(discard(node, &found), 0);
    assert_int_equal(found, 1);
    assert_int_equal(entries(), 0);
}

/* The kept files: how many, and of the one that ends with `suffix` the text. */
static int kept(const char *suffix, char text[256])
{
    PM_AUTO(free) char  *path = pm_asprintf("%s/discarded", e.dir);
    DIR                 *d = opendir(path);
    const struct dirent *de;
    struct stat          st;
    int                  n = 0;

    text[0] = 0;
    while (d && (de = readdir(d)) != NULL) {
        size_t len = strlen(de->d_name);

        if (de->d_name[0] == '.')
            continue;
        n++;
        if (len < strlen(suffix) || strcmp(de->d_name + len - strlen(suffix), suffix) != 0)
            continue;
        PM_AUTO(close) int fd = openat(dirfd(d), de->d_name, O_RDONLY);
        ssize_t            got = pm_pread_all(fd, text, 255, 0);

        assert_true(got >= 0);
        text[got] = 0;
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(st.st_nlink, 1);
    }
    if (d)
        closedir(d);
    return n;
}

/* --- retry */

static void a_failed_upload_is_sent_again_and_at_once(void **state)
{
    pm_node node;

    (void)state;
    node = fail_upload(e.root, "a", "text");
    assert_int_equal(retry(node), 1);
    env_sync(&e);
    assert_string_equal(env_served(&e, "a"), "text");
}

static void retry_clears_the_error_and_the_tries(void **state)
{
    struct pm_info info;
    pm_node        node;

    (void)state;
    node = fail_upload(e.root, "a", "text");
    assert_int_equal(pm_queue_pause(e.c, true), 0);
    assert_int_equal(retry(node), 1);
    assert_int_equal(pm_info_node(e.c, node, &info), 0);
    assert_string_equal(info.state, "queued");
    assert_string_equal(info.error, "");
    assert_int_equal(env_sql(&e, "SELECT tries + not_before FROM j.entry"), 0);
}

static void an_interrupted_file_is_sent_as_it_is(void **state)
{
    pm_node node;

    (void)state;
    node = interrupt("a", "as far as it came");
    assert_int_equal(retry(node), 1);
    env_sync(&e);
    assert_string_equal(env_served(&e, "a"), "as far as it came");
}

static void what_waits_after_a_failure_need_not_wait(void **state)
{
    pm_node node;

    (void)state;
    pm_memory_fault(e.b, PM_MEM_BEGIN, 1, -EIO, false);
    node = env_write(&e, e.root, "a", "text");
    assert_true(env_until(something_waits, NULL));
    env_sql(&e, "UPDATE j.entry SET not_before=not_before + 3600000, tries=9");
    assert_int_equal(retry(node), 1);
    env_sync(&e);
    assert_string_equal(env_served(&e, "a"), "text");
}

static void retry_of_a_folder_takes_all_in_it_and_nothing_else(void **state)
{
    pm_node d;

    (void)state;
    d = env_mkdir(&e, e.root, "d");
    fail_upload(d, "x", "1");
    fail_upload(env_mkdir(&e, d, "dd"), "y", "2");
    fail_upload(e.root, "z", "3");
    assert_int_equal(failed(), 3);
    assert_int_equal(retry(d), 2);
    assert_int_equal(failed(), 1);
    assert_int_equal(retry(0), 1);
    env_sync(&e);
    assert_string_equal(env_served(&e, "d/dd/y"), "2");
    assert_string_equal(env_served(&e, "z"), "3");
}

static void retry_finds_nothing_where_nothing_failed(void **state)
{
    (void)state;
    pm_queue_pause(e.c, true);
    assert_int_equal(retry(env_write(&e, e.root, "a", "text")), 0);
    assert_int_equal(retry(0), 0);
}

static void while_it_is_open_for_writing_a_retry_waits_for_the_close(void **state)
{
    struct pm_file *f;
    pm_node         node;

    (void)state;
    node = fail_upload(e.root, "a", "text");
    assert_int_equal(pm_file_open(e.c, node, O_WRONLY, &f), 0);
    assert_int_equal(retry(node), 1);
    usleep(50000);
    assert_null(env_object(&e, "a"));
    pm_file_release(f);
    env_sync(&e);
    assert_string_equal(env_served(&e, "a"), "text");
}

/* --- discard */

static void a_new_file_that_is_given_up_is_gone_and_its_content_kept(void **state)
{
    char text[256];

    (void)state;
    discard_well(fail_upload(e.root, "a.txt", "my work"));
    assert_string_equal(env_names(&e, e.root), "");
    assert_int_equal(kept(" a.txt", text), 1);
    assert_string_equal(text, "my work");
    assert_non_null(strstr(last_line, "/m/a.txt: "));
    assert_non_null(strstr(last_line, e.dir));
    env_sync(&e);
    assert_int_equal(pm_memory_count(e.b), 0);
}

static void an_update_that_is_given_up_shows_what_the_service_has(void **state)
{
    struct pm_attr attr;
    char           text[256];
    pm_node        node;

    (void)state;
    serve("a", "the service's");
    node = fail_upload(e.root, "a", "mine");
    discard_well(node);
    assert_int_equal(env_find(&e, "a"), node);
    assert_int_equal(pm_tree_getattr(e.c, node, &attr), 0);
    assert_int_equal(attr.size, strlen("the service's"));
    assert_string_equal(env_text(&e, node), "the service's");
    assert_int_equal(kept(" a", text), 1);
    assert_string_equal(text, "mine");
    env_write(&e, e.root, "a", "the next one");
    env_sync(&e);
    assert_string_equal(env_served(&e, "a"), "the next one");
}

static void who_has_it_open_goes_on_reading(void **state)
{
    struct pm_file *remote, *local;
    char            buf[16] = "";

    (void)state;
    serve("a", "the service's");
    assert_int_equal(pm_file_open(e.c, fail_upload(e.root, "a", "mine"), O_RDONLY, &remote), 0);
    discard_well(0);
    assert_int_equal(env_read(remote, buf, sizeof(buf) - 1, 0), 4);
    assert_string_equal(buf, "mine");
    assert_string_equal(env_text(&e, env_find(&e, "a")), "the service's");
    pm_file_release(remote);
    assert_int_equal(pm_file_open(e.c, fail_upload(e.root, "b", "also"), O_RDONLY, &local), 0);
    discard_well(0);
    assert_int_equal(env_read(local, buf, sizeof(buf) - 1, 0), 4);
    assert_string_equal(buf, "also");
    pm_file_release(local);
}

static void what_is_open_for_writing_is_not_given_up(void **state)
{
    struct pm_file *f;
    uint64_t        found;
    char            text[256];

    (void)state;
    assert_int_equal(pm_file_open(e.c, fail_upload(e.root, "a", "mine"), O_RDWR, &f), 0);
    assert_int_equal(discard(0, &found), -EBUSY);
    assert_int_equal(found, 0);
    assert_int_equal(kept("a", text), 0);
    assert_int_equal(pm_file_write(f, "and more", 8, 4), 8);
    pm_file_release(f);
    env_sync(&e);
    assert_string_equal(env_served(&e, "a"), "mineand more");
}

static void only_what_failed_or_was_interrupted_is_given_up(void **state)
{
    uint64_t found;

    (void)state;
    pm_queue_pause(e.c, true);
    env_write(&e, e.root, "a", "text");
    assert_int_equal(discard(0, &found), 0);
    assert_int_equal(found, 0);
    env_sync(&e);
    assert_string_equal(env_served(&e, "a"), "text");
}

static void an_interrupted_file_can_be_given_up(void **state)
{
    char text[256];

    (void)state;
    discard_well(interrupt("a", "half"));
    assert_string_equal(env_names(&e, e.root), "");
    assert_int_equal(kept(" a", text), 1);
    assert_string_equal(text, "half");
}

static void two_of_one_name_are_both_kept(void **state)
{
    char text[256];

    (void)state;
    for (int i = 1; i <= 5; i++) {
        discard_well(fail_upload(e.root, "a", "text"));
        assert_int_equal(kept("a", text), i);
    }
}

static void what_lacks_parts_says_so(void **state)
{
    struct pm_file *f;
    uint64_t        found;
    char            text[256];

    (void)state;
    pm_memory_block(e.b, PM_MEM_FETCH, true);
    assert_int_equal(pm_file_open(e.c, serve("a", "0123456789"), O_RDWR, &f), 0);
    assert_int_equal(pm_file_write(f, "mine", 4, 3), 4);
    pm_queue_pause(e.c, true);
    pm_file_release(f);
    env_sql(&e, "UPDATE j.entry SET state=4, error='base gone'");
    assert_int_equal(discard(0, &found), 0);
    pm_memory_block(e.b, PM_MEM_FETCH, false);
    assert_int_equal(kept(" a.incomplete", text), 1);
    assert_memory_equal(text + 3, "mine", 4);
    assert_non_null(strstr(last_line, "; bytes 0-2, 7-9 were never fetched"));
    assert_string_equal(env_text(&e, env_find(&e, "a")), "0123456789");
}

static void a_long_name_is_cut_but_kept(void **state)
{
    char name[PM_NAME_MAX + 1];
    char text[256];

    (void)state;
    memset(name, 'n', PM_NAME_MAX);
    memcpy(name + PM_NAME_MAX - 4, ".fbx", 5);
    discard_well(fail_upload(e.root, name, "text"));
    assert_int_equal(kept("nnn.fbx", text), 1);
    assert_string_equal(text, "text");
}

static void a_rename_of_what_is_given_up_goes_too(void **state)
{
    char text[256];

    (void)state;
    pm_memory_block(e.b, PM_MEM_BEGIN, true);
    pm_memory_fault(e.b, PM_MEM_BEGIN, 1, -EFBIG, false);
    env_write(&e, e.root, "a", "text");
    env_until_calls(&e, PM_MEM_BEGIN, 1);
    assert_int_equal(pm_change_rename(e.c, e.root, "a", e.root, "b", 0, NULL), 0);
    pm_memory_block(e.b, PM_MEM_BEGIN, false);
    assert_true(env_until(something_failed, NULL));
    discard_well(env_find(&e, "b"));
    assert_string_equal(env_names(&e, e.root), "");
    assert_int_equal(kept("a", text), 1);
}

static void what_waited_for_it_goes_on(void **state)
{
    uint64_t found;
    pm_node  d;

    (void)state;
    env_serve_folder(&e, "d");
    assert_int_equal(env_list(&e, e.root), 0);
    d = env_find(&e, "d");
    assert_int_equal(env_list(&e, d), 0);
    fail_upload(d, "x", "1");
    assert_int_equal(pm_change_rename(e.c, e.root, "d", e.root, "new", 0, NULL), 0);
    assert_int_equal(entries(), 2);
    pm_queue_pause(e.c, true);
    assert_int_equal(discard(0, &found), 0);
    assert_int_equal(found, 1);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "new");
}

static void a_folder_that_failed_goes_when_it_is_empty(void **state)
{
    uint64_t found;
    pm_node  d;

    (void)state;
    pm_memory_fault(e.b, PM_MEM_MKDIR, 1, -EPERM, false);
    d = env_mkdir(&e, e.root, "d");
    assert_true(env_until(something_failed, NULL));
    env_write(&e, d, "x", "waits for its folder");
    assert_int_equal(discard(d, &found), -ENOTEMPTY);
    assert_string_equal(env_names(&e, d), "x");
    assert_int_equal(pm_change_unlink(e.c, d, "x"), 0);
    discard_well(d);
    assert_string_equal(env_names(&e, e.root), "");
}

static void what_was_discarded_stays_seven_days(void **state)
{
    int64_t day = 24 * 3600 * 1000;
    char    text[256];

    (void)state;
    discard_well(fail_upload(e.root, "a", "text"));
    pm_work_expire(e.c, pm_wall_ms() + 7 * day - 60000);
    assert_int_equal(kept("a", text), 1);
    pm_work_expire(e.c, pm_wall_ms() + 7 * day + 60000);
    assert_int_equal(kept("a", text), 0);
}

/* The index was committed, the journal not: its entry is there, the content's row is not. */
static void a_crash_between_the_two_commits_leaves_the_entry_its_content(void **state)
{
    struct env    after;
    struct pm_db *db;
    char          why[256];

    (void)state;
    fail_upload(e.root, "a", "text");
    pm_queue_pause(e.c, true);
    env_copy_folder(&e, &after);
    env_close(&e);
    e = after;
    assert_int_equal(pm_db_open(e.dir, &db, why, sizeof(why)), 0);
    pm_db_begin(db);
    pm_db_run(db, "DELETE FROM content", "");
    assert_int_equal(pm_journal_check(db), 12);
    assert_int_equal(pm_db_end(db, 0), 0);
    pm_db_close(db);
    env_open(&e);
    assert_string_equal(env_text(&e, env_find(&e, "a")), "text");
    assert_int_equal(retry(0), 1);
    env_sync(&e);
    assert_string_equal(env_served(&e, "a"), "text");
}

/* --- labels */

static struct pm_label label_of(pm_node node)
{
    struct pm_label    label;
    struct pm_content *k;
    int                err;

    assert_int_equal(pm_content_get(e.c->store, node, &k), 0);
    pthread_mutex_lock(&k->lock); /* who confirms it holds it until the label is written */
    err = pm_label_read(k->fd, &label);
    pthread_mutex_unlock(&k->lock);
    pm_content_put(k);
    if (err == -EOPNOTSUPP)
        skip();
    return label;
}

static void check_label(pm_node node, enum pm_labelled wanted, const char *path)
{
    struct pm_label label = label_of(node);

    assert_int_equal(label.state, wanted);
    assert_string_equal(label.path ? label.path : "", path);
    pm_label_free(&label);
}

static void a_content_is_labelled_unsent_until_it_is_sent(void **state)
{
    struct pm_attr  attr;
    struct pm_file *f;

    (void)state;
    pm_queue_pause(e.c, true);
    assert_int_equal(pm_change_create(e.c, e.root, "a", NULL, &attr), 0);
    assert_int_equal(pm_file_open(e.c, attr.node, O_WRONLY, &f), 0);
    check_label(attr.node, PM_LABEL_WHOLE, "/m/a");
    assert_int_equal(pm_file_write(f, "text", 4, 0), 4);
    check_label(attr.node, PM_LABEL_WHOLE, "/m/a");
    pm_file_release(f);
    env_sync(&e);
    check_label(attr.node, PM_LABEL_SENT, "");
    env_write(&e, e.root, "a", "again");
    check_label(attr.node, PM_LABEL_WHOLE, "/m/a");
    env_sync(&e);
    check_label(attr.node, PM_LABEL_SENT, "");
}

static void a_content_that_was_only_read_has_no_label(void **state)
{
    pm_node node = serve("a", "text");

    (void)state;
    assert_string_equal(env_text(&e, node), "text");
    check_label(node, PM_LABEL_NONE, "");
}

static void a_partial_content_says_so_until_it_is_whole(void **state)
{
    struct pm_label label;
    struct pm_file *f;
    pm_node         node = serve("a", "0123456789");

    (void)state;
    pm_memory_block(e.b, PM_MEM_FETCH, true);
    assert_int_equal(pm_file_open(e.c, node, O_RDWR, &f), 0);
    assert_int_equal(pm_file_write(f, "xx", 2, 4), 2);
    label = label_of(node);
    assert_int_equal(label.state, PM_LABEL_PARTIAL);
    assert_int_equal(label.base_end, 10);
    pm_label_free(&label);
    pm_memory_block(e.b, PM_MEM_FETCH, false);
    pm_memory_block(e.b, PM_MEM_FINISH, true);
    pm_file_release(f);
    env_until_calls(&e, PM_MEM_FINISH, 1);
    check_label(node, PM_LABEL_WHOLE, "/m/a");
    pm_memory_block(e.b, PM_MEM_FINISH, false);
    env_sync(&e);
    assert_string_equal(env_served(&e, "a"), "0123xx6789");
}

static void labels_follow_renames(void **state)
{
    pm_node d, node;

    (void)state;
    pm_queue_pause(e.c, true);
    d = env_mkdir(&e, e.root, "d");
    node = env_write(&e, d, "a", "text");
    assert_int_equal(pm_change_rename(e.c, e.root, "d", e.root, "new", 0, NULL), 0);
    pm_label_tick(e.c);
    check_label(node, PM_LABEL_WHOLE, "/m/new/a");
}

static void a_path_that_is_too_long_for_a_label_leaves_the_rest_of_it(void **state)
{
    char            name[PM_NAME_MAX + 1] = "";
    struct pm_label label;
    pm_node         d = e.root;

    (void)state;
    pm_queue_pause(e.c, true);
    memset(name, 'n', PM_NAME_MAX);
    for (int i = 0; i < 250; i++)
        d = env_mkdir(&e, d, name);
    label = label_of(env_write(&e, d, "a", "text"));
    assert_int_equal(label.state, PM_LABEL_WHOLE);
    pm_label_free(&label);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_failed_upload_is_sent_again_and_at_once),
        TEST(retry_clears_the_error_and_the_tries),
        TEST(an_interrupted_file_is_sent_as_it_is),
        TEST(what_waits_after_a_failure_need_not_wait),
        TEST(retry_of_a_folder_takes_all_in_it_and_nothing_else),
        TEST(retry_finds_nothing_where_nothing_failed),
        TEST(while_it_is_open_for_writing_a_retry_waits_for_the_close),
        TEST(a_new_file_that_is_given_up_is_gone_and_its_content_kept),
        TEST(an_update_that_is_given_up_shows_what_the_service_has),
        TEST(who_has_it_open_goes_on_reading),
        TEST(what_is_open_for_writing_is_not_given_up),
        TEST(only_what_failed_or_was_interrupted_is_given_up),
        TEST(an_interrupted_file_can_be_given_up),
        TEST(two_of_one_name_are_both_kept),
        TEST(what_lacks_parts_says_so),
        TEST(a_long_name_is_cut_but_kept),
        TEST(a_rename_of_what_is_given_up_goes_too),
        TEST(what_waited_for_it_goes_on),
        TEST(a_folder_that_failed_goes_when_it_is_empty),
        TEST(what_was_discarded_stays_seven_days),
        TEST(a_crash_between_the_two_commits_leaves_the_entry_its_content),
        TEST(a_content_is_labelled_unsent_until_it_is_sent),
        TEST(a_content_that_was_only_read_has_no_label),
        TEST(a_partial_content_says_so_until_it_is_whole),
        TEST(labels_follow_renames),
        TEST(a_path_that_is_too_long_for_a_label_leaves_the_rest_of_it),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
