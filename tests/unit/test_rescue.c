/* Getting unsent work out of a state folder, whatever is left of it. */
#include "tests/unit/cache_env.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <cmocka.h>

static struct env e;
static char       to[80];
static char       said[8192];

static int setup(void **state)
{
    (void)state;
    env_start(&e);
    snprintf(to, sizeof(to), "%s-out", e.dir);
    return 0;
}

/* Runs a shell command with $D a folder. */
static void run(const char *command, const char *dir)
{
    assert_int_equal(setenv("D", dir, 1), 0);
    assert_int_equal(system(command), 0);
}

static int teardown(void **state)
{
    (void)state;
    run("rm -rf \"$D\"", to);
    env_close(&e);
    return 0;
}

static void keep_line(void *arg, const char *line)
{
    size_t len = strlen(said);

    (void)arg;
    snprintf(said + len, sizeof(said) - len, "%s\n", line);
}

static int rescue_to(const char *dir, struct pm_rescued *sum)
{
    char why[512];

    said[0] = 0;
    return pm_rescue(e.dir, dir, keep_line, NULL, sum, why, sizeof(why));
}

/* So many files came out. */
static void rescue(uint64_t files)
{
    struct pm_rescued sum;

    assert_int_equal(rescue_to(to, &sum), 0);
    if (sum.files != files || sum.troubles)
        fail_msg("%d files, %d troubles: %s", (int)sum.files, (int)sum.troubles, said);
}

static void came(const char *path, const char *text)
{
    PM_AUTO(free) char *full = pm_asprintf("%s/%s", to, path);
    PM_AUTO(close) int  fd = open(full, O_RDONLY);
    char                buf[256];
    ssize_t             n = fd < 0 ? -1 : pm_pread_all(fd, buf, sizeof(buf) - 1, 0);

    if (n < 0)
        fail_msg("%s did not come: %s", path, said);
    buf[n > 0 ? n : 0] = 0;
    assert_string_equal(buf, text);
}

static void send_all(void)
{
    env_sync(&e);
    assert_int_equal(pm_queue_pause(e.c, true), 0);
}

/* One that is sent, and in a folder one that is changed since, one new, one open. The drive dies. */
static void work_and_crash(void)
{
    struct pm_file *f;
    struct pm_attr  attr;
    struct env      after;
    pm_node         d;

    d = env_mkdir(&e, e.root, "d");
    env_write(&e, e.root, "sent", "sent");
    env_write(&e, d, "changed", "before");
    send_all();
    env_write(&e, d, "changed", "after");
    env_write(&e, d, "new", "new");
    env_write(&e, d, ".DS_Store", "litter");
    assert_int_equal(pm_change_create(e.c, d, "open", NULL, &attr), 0);
    assert_int_equal(pm_file_open(e.c, attr.node, O_WRONLY, &f), 0);
    assert_int_equal(pm_file_write(f, "open", 4, 0), 4);
    env_copy_folder(&e, &after);
    pm_file_release(f);
    env_close(&e);
    e = after;
}

static void all_came(void)
{
    rescue(3);
    came("m/d/changed", "after");
    came("m/d/new", "new");
    came("m/d/open", "open");
}

static void need_labels(void)
{
    if (setxattr(e.dir, "user.polymount.test", "x", 1, 0) && errno == EOPNOTSUPP)
        skip();
}

static void damage(const char *name)
{
    PM_AUTO(free) char *path = pm_asprintf("%s/%s", e.dir, name);
    PM_AUTO(close) int  fd = open(path, O_WRONLY | O_TRUNC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "this is no database, whatever it was before", 43), 43);
}

/* --- what comes */

static void what_the_journal_says_is_unsent_comes_under_its_paths(void **state)
{
    (void)state;
    work_and_crash();
    all_came();
}

static void what_failed_comes_too(void **state)
{
    (void)state;
    env_write(&e, e.root, "a", "text");
    env_sql(&e, "UPDATE j.entry SET state=4, error='refused'");
    env_stop(&e);
    rescue(1);
    came("m/a", "text");
}

static void an_empty_file_comes(void **state)
{
    struct pm_attr attr;

    (void)state;
    assert_int_equal(pm_change_create(e.c, e.root, "empty", NULL, &attr), 0);
    env_stop(&e);
    rescue(1);
    came("m/empty", "");
}

static void what_was_removed_does_not_come(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    env_write(&e, d, "a", "text");
    assert_int_equal(pm_change_unlink(e.c, d, "a"), 0);
    env_stop(&e);
    rescue(0);
}

static void holes_are_kept(void **state)
{
    struct pm_file *f;
    pm_node         node = env_write(&e, e.root, "a", "head");

    (void)state;
    assert_int_equal(pm_file_open(e.c, node, O_WRONLY, &f), 0);
    assert_int_equal(pm_file_write(f, "tail", 4, 8 << 20), 4);
    pm_file_release(f);
    env_stop(&e);
    rescue(1);
    run("test $(stat -c %s \"$D/m/a\") = 8388612", to);
    run("test $(stat -c %b \"$D\"/m/a) -lt 2048", to);
}

/* --- index and journal damaged or gone */

static void without_the_index_the_journal_is_enough(void **state)
{
    (void)state;
    work_and_crash();
    damage("index.db");
    run("rm -f \"$D\"/index.db-*", e.dir);
    all_came();
    run("rm -rf \"$D\"", to);
    run("rm \"$D\"/index.db", e.dir);
    all_came();
}

static void without_the_journal_the_contents_speak_for_themselves(void **state)
{
    (void)state;
    need_labels();
    work_and_crash();
    run("rm \"$D\"/journal.db*", e.dir);
    all_came();
}

static void a_journal_of_no_bytes_is_none(void **state)
{
    (void)state;
    need_labels();
    work_and_crash();
    run("rm \"$D\"/journal.db-* && : >\"$D\"/journal.db", e.dir);
    all_came();
}

static void without_index_and_journal_all_comes_and_nothing_that_was_sent(void **state)
{
    (void)state;
    need_labels();
    work_and_crash();
    run("rm \"$D\"/*.db*", e.dir);
    all_came();
}

static void a_damaged_journal_is_as_none(void **state)
{
    (void)state;
    need_labels();
    work_and_crash();
    damage("journal.db");
    run("rm -f \"$D\"/journal.db-*", e.dir);
    all_came();
}

static void a_journal_that_is_damaged_inside_is_noticed(void **state)
{
    (void)state;
    need_labels();
    work_and_crash();
    env_open(&e); /* makes the logs part of the files */
    pm_db_checkpoint(e.c->db);
    env_stop(&e);
    run("test ! -f \"$D\"/journal.db-wal && dd if=/dev/zero of=\"$D\"/journal.db bs=4096 seek=1 count=9"
        " conv=notrunc status=none",
        e.dir);
    all_came();
}

static void what_was_set_aside_with_a_damaged_journal_comes(void **state)
{
    (void)state;
    need_labels();
    work_and_crash();
    damage("journal.db");
    run("rm -f \"$D\"/journal.db-*", e.dir);
    pm_log_level(PM_ERROR - 1);
    env_open(&e);
    env_write(&e, e.root, "later", "since then");
    env_stop(&e);
    rescue(4);
    came("m/d/changed", "after");
    came("m/d/new", "new");
    came("m/d/open", "open");
    came("m/later", "since then");
}

static void a_missing_index_is_made_anew_for_the_drive_too(void **state)
{
    uint64_t interrupted;

    (void)state;
    work_and_crash();
    run("rm \"$D\"/index.db*", e.dir);
    env_open(&e);
    assert_string_equal(env_text(&e, env_find(&e, "d/new")), "new");
    assert_string_equal(env_text(&e, env_find(&e, "d/changed")), "after");
    assert_int_equal(pm_work_retry(e.c, 0, &interrupted), 0);
    assert_int_equal(interrupted, 1);
    env_sync(&e);
    assert_string_equal(env_served(&e, "d/new"), "new");
    assert_string_equal(env_served(&e, "d/changed"), "after");
    assert_string_equal(env_served(&e, "d/open"), "open");
}

/* --- parts that are missing */

/* A change in the middle of a file of which nothing else was fetched. */
static void change_the_middle(void)
{
    static char     text[64 << 10];
    struct pm_file *f;
    struct env      after;
    pm_node         node;

    memset(text, 't', sizeof(text) - 1);
    env_serve(&e, "big.e57", text);
    assert_int_equal(env_list(&e, e.root), 0);
    node = env_find(&e, "big.e57");
    pm_memory_block(e.b, PM_MEM_FETCH, true);
    assert_int_equal(pm_file_open(e.c, node, O_RDWR, &f), 0);
    memset(text, 'w', 8192);
    assert_int_equal(pm_file_write(f, text, 8192, 16384), 8192);
    assert_int_equal(pm_file_flush(f), 0);
    env_copy_folder(&e, &after);
    pm_memory_block(e.b, PM_MEM_FETCH, false);
    pm_file_release(f);
    env_close(&e);
    e = after;
}

static void parts_that_were_not_fetched_are_told(void **state)
{
    (void)state;
    change_the_middle();
    rescue(1);
    if (!strstr(said, "m/big.e57.incomplete: ") || !strstr(said, "bytes 0-16383, 24576-65534 "))
        fail_msg("%s", said);
    run("test $(stat -c %s \"$D/m/big.e57.incomplete\") = 65535", to);
}

static void parts_that_were_not_fetched_are_told_without_journal(void **state)
{
    (void)state;
    need_labels();
    change_the_middle();
    run("rm \"$D\"/*.db*", e.dir);
    rescue(1);
    if (!strstr(said, "m/big.e57.incomplete: ") || !strstr(said, "bytes 0-"))
        fail_msg("%s", said);
}

/* The disk was not told of everything when the power failed. */
static void after_a_power_cut_fetched_parts_are_not_trusted(void **state)
{
    struct pm_db *db;
    char          why[256];

    (void)state;
    change_the_middle();
    assert_int_equal(pm_db_open(e.dir, &db, why, sizeof(why)), 0);
    pm_db_begin(db);
    /* as if all had been fetched, and told of in the index, and then the machine began anew */
    pm_db_run(db, "UPDATE content SET era=7, present=x'0000000000000000ffffffffffffff7f'", "");
    pm_db_run(db, "UPDATE j.entry SET era=7", "");
    pm_db_run(db, "INSERT OR REPLACE INTO j.meta(key, value) VALUES('durable', '6')", "");
    assert_int_equal(pm_db_end(db, 0), 0);
    pm_db_close(db);
    rescue(1);
    if (strstr(said, "incomplete"))
        fail_msg("%s", said);
    assert_int_equal(pm_db_open(e.dir, &db, why, sizeof(why)), 0);
    pm_db_begin(db);
    pm_db_run(db, "UPDATE j.meta SET value='another' WHERE key='machine'", "");
    assert_int_equal(pm_db_end(db, 0), 0);
    pm_db_close(db);
    rescue(1);
    if (!strstr(said, "bytes 0-16383, 24576-65534 ") || !strstr(said, "the machine went down"))
        fail_msg("%s", said);
}

/* --- the destination */

static void nothing_there_is_written_over(void **state)
{
    (void)state;
    env_write(&e, e.root, "a.txt", "unsent");
    env_stop(&e);
    run("mkdir -p \"$D/m\" && echo mine >\"$D/m/a.txt\"", to);
    rescue(1);
    came("m/a.txt", "mine\n");
    came("m/a (2).txt", "unsent");
    rescue(1);
    came("m/a (3).txt", "unsent");
}

static void a_file_where_a_folder_is_needed_stays(void **state)
{
    (void)state;
    env_write(&e, env_mkdir(&e, e.root, "d"), "a", "unsent");
    env_stop(&e);
    run("mkdir -p \"$D/m\" && echo mine >\"$D/m/d\"", to);
    rescue(1);
    came("m/d", "mine\n");
    came("m/d (2)/a", "unsent");
}

static void two_of_one_path_both_come(void **state)
{
    (void)state;
    need_labels();
    env_write(&e, e.root, "a", "first");
    env_stop(&e);
    run("cp --preserve=all \"$D\"/data/01/1 \"$D\"/data/02/258", e.dir);
    run("rm \"$D\"/*.db*", e.dir);
    rescue(2);
    came("m/a", "first");
    came("m/a (2)", "first");
}

static void a_label_that_is_not_understood_is_of_unsent_content(void **state)
{
    (void)state;
    need_labels();
    env_write(&e, e.root, "a", "text");
    env_stop(&e);
    run("setfattr -n user.polymount.unsent -v whole \"$D\"/data/01/1", e.dir);
    run("rm \"$D\"/*.db*", e.dir);
    rescue(1);
    came("unknown/1", "text");
}

static void a_label_cannot_lead_out_of_the_destination(void **state)
{
    (void)state;
    need_labels();
    env_write(&e, e.root, "a", "text");
    env_stop(&e);
    run("setfattr -n user.polymount.unsent -v 'whole 9 memory /../../../m/../x' \"$D\"/data/01/1", e.dir);
    run("rm \"$D\"/*.db*", e.dir);
    rescue(1);
    came("m/x", "text");
}

static void what_the_folder_of_the_state_is_stays_as_it_was(void **state)
{
    (void)state;
    work_and_crash();
    run("cd \"$D\" && find . -printf '%p %s %T@ %C@\\n' | sort >\"$D\"-before", e.dir);
    rescue(3);
    run("cd \"$D\" && find . -printf '%p %s %T@ %C@\\n' | sort | diff \"$D\"-before - &&"
        " rm \"$D\"-before",
        e.dir);
    run("test -z \"$(ls -A \"$D\" | grep -v '^m$')\"", to);
}

static void a_folder_in_the_state_folder_is_refused(void **state)
{
    static const char *const names[] = {"out", "data/out/", "."};
    struct pm_rescued        sum;

    (void)state;
    env_write(&e, e.root, "a", "text");
    env_stop(&e);
    for (size_t i = 0; i < PM_COUNT(names); i++) {
        PM_AUTO(free) char *dir = pm_asprintf("%s/%s", e.dir, names[i]);

        assert_int_equal(rescue_to(dir, &sum), -EINVAL);
    }
    run("test ! -e \"$D/out\" && test ! -e \"$D/data/out\"", e.dir);
}

static void a_folder_that_a_drive_serves_is_refused(void **state)
{
    struct pm_rescued sum;

    (void)state;
    env_write(&e, e.root, "a", "text");
    assert_int_equal(rescue_to(to, &sum), -EBUSY);
    run("test ! -e \"$D\"", to);
}

static void a_folder_that_is_none_is_refused(void **state)
{
    struct pm_rescued sum;
    char              why[512];

    (void)state;
    assert_int_equal(pm_rescue("/nowhere/at/all", to, keep_line, NULL, &sum, why, sizeof(why)),
                     -ENOENT);
    assert_non_null(strstr(why, "/nowhere/at/all"));
}

static void a_content_that_is_gone_is_told(void **state)
{
    struct pm_rescued sum;

    (void)state;
    env_write(&e, e.root, "a", "text");
    env_write(&e, e.root, "b", "text");
    env_stop(&e);
    run("rm \"$D\"/data/01/1", e.dir);
    assert_int_equal(rescue_to(to, &sum), 0);
    assert_int_equal(sum.files, 1);
    assert_int_equal(sum.troubles, 1);
    assert_non_null(strstr(said, "/m/a: its content is not in the state folder"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(what_the_journal_says_is_unsent_comes_under_its_paths),
        TEST(what_failed_comes_too),
        TEST(an_empty_file_comes),
        TEST(what_was_removed_does_not_come),
        TEST(holes_are_kept),
        TEST(without_the_index_the_journal_is_enough),
        TEST(without_the_journal_the_contents_speak_for_themselves),
        TEST(a_journal_of_no_bytes_is_none),
        TEST(without_index_and_journal_all_comes_and_nothing_that_was_sent),
        TEST(a_damaged_journal_is_as_none),
        TEST(a_journal_that_is_damaged_inside_is_noticed),
        TEST(what_was_set_aside_with_a_damaged_journal_comes),
        TEST(a_missing_index_is_made_anew_for_the_drive_too),
        TEST(parts_that_were_not_fetched_are_told),
        TEST(parts_that_were_not_fetched_are_told_without_journal),
        TEST(after_a_power_cut_fetched_parts_are_not_trusted),
        TEST(nothing_there_is_written_over),
        TEST(a_file_where_a_folder_is_needed_stays),
        TEST(two_of_one_path_both_come),
        TEST(a_label_that_is_not_understood_is_of_unsent_content),
        TEST(a_label_cannot_lead_out_of_the_destination),
        TEST(what_the_folder_of_the_state_is_stays_as_it_was),
        TEST(a_folder_in_the_state_folder_is_refused),
        TEST(a_folder_that_a_drive_serves_is_refused),
        TEST(a_folder_that_is_none_is_refused),
        TEST(a_content_that_is_gone_is_told),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
