/* Folders made where drops are taken: nothing of one is sent before it is committed, then its one file with
 * what info.json wants; over the memory backend that takes drops. */
#include "tests/unit/cache_env.h"

#include "cache/draft.h"
#include "cache/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct env     e;
static struct pm_attr attr;
static pm_node        drops;

static int setup(void **state)
{
    (void)state;
    env_init(&e);
    e.accounts[0].type = (char *)"memory-drops";
    e.conf.delay_ms = 5;
    env_open(&e);
    drops = env_find(&e, PM_MEMORY_DROPS);
    assert_true(drops);
    assert_int_equal(env_list(&e, drops), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    env_close(&e);
    return 0;
}

static const char *state_of(pm_node node)
{
    static struct pm_info info;

    assert_int_equal(pm_info_node(e.c, node, &info), 0);
    return info.state;
}

struct expected {
    pm_node     node;
    const char *state;
};

static bool has_state(void *arg)
{
    struct expected *x = arg;

    return strstr(state_of(x->node), x->state) == state_of(x->node);
}

static void until_state(pm_node node, const char *state)
{
    struct expected x = {node, state};

    if (!env_until(has_state, &x))
        fail_msg("it is \"%s\", not \"%s\"", state_of(node), state);
}

static int try_publish(pm_node folder, struct pm_buf *why)
{
    int err = pm_publish(e.c, folder, why);

    return err ? err : pm_publish_wait(e.c, folder, NULL, NULL, why);
}

/* It is under way. */
static void wish(pm_node folder)
{
    PM_AUTO(pm_buf) struct pm_buf why = {0};

    assert_int_equal(pm_publish(e.c, folder, &why), 0);
}

/* It may be under way, or over. */
static void publish(pm_node folder)
{
    PM_AUTO(pm_buf) struct pm_buf why = {0};
    int                           err = try_publish(folder, &why);

    if (err && err != -EEXIST)
        fail_msg("publish: %d %s", err, why.ptr ? why.ptr : "");
}

static int publish_fails(pm_node folder, const char *expected)
{
    PM_AUTO(pm_buf) struct pm_buf why = {0};
    int                           err = try_publish(folder, &why);

    if (!why.ptr || !strstr(why.ptr, expected))
        fail_msg("it says \"%s\", not \"%s\"", why.ptr ? why.ptr : "", expected);
    return err;
}

static pm_node write_gathered(pm_node folder, const char *name, const char *text)
{
    pm_node node = env_write(&e, folder, name, text);

    until_state(node, "queued");
    return node;
}

static pm_node draft(const char *name)
{
    pm_node d = env_mkdir(&e, drops, name);

    write_gathered(d, "a.ply", "the model");
    return d;
}

static unsigned calls(void)
{
    return pm_memory_calls(e.b, PM_MEM_BEGIN) + pm_memory_calls(e.b, PM_MEM_PUT) +
           pm_memory_calls(e.b, PM_MEM_ABORT) + pm_memory_calls(e.b, PM_MEM_REMOVE) +
           pm_memory_calls(e.b, PM_MEM_MKDIR);
}

static void served_is(const char *path, const char *text)
{
    const char *is = env_served(&e, path);

    if (!is || strcmp(is, text) != 0)
        fail_msg("%s is %s, not %s", path, is ? is : "not there", text);
}

static bool nothing_is_left(void *arg)
{
    (void)arg;
    return !pm_memory_uploads(e.b) && !env_sql(&e, "SELECT count(*) FROM j.session");
}

static void until_nothing_is_left(void)
{
    if (!env_until(nothing_is_left, NULL))
        fail_msg("%zu uploads are left, %lld to be given up", pm_memory_uploads(e.b),
                 (long long)env_sql(&e, "SELECT count(*) FROM j.session"));
}

/* --- before it is committed */

static void nothing_of_a_draft_is_sent_before_it_is_committed(void **state)
{
    pm_node d = draft("X");

    (void)state;
    env_write(&e, d, "info.json", "{\"name\":\"N\"}");
    env_write(&e, d, "info.json", "{\"name\":\"M\"}");
    until_state(d, "draft: complete");
    assert_int_equal(calls(), 0);
    assert_int_equal(pm_memory_count(e.b), 1);
    assert_string_equal(env_names(&e, d), "a.ply info.json");
}

static void an_empty_draft_stays_local_and_is_no_failure_of_sync(void **state)
{
    PM_AUTO(pm_buf) struct pm_buf out = {0};
    pm_node                       d = env_mkdir(&e, drops, "X");

    (void)state;
    assert_int_equal(pm_queue_sync(e.c, 0, 5000, NULL, NULL, &out), 0);
    assert_non_null(strstr(out.ptr, "draft: empty"));
    assert_string_equal(state_of(d), "draft: empty");
    assert_int_equal(calls(), 0);
}

static void a_draft_that_is_removed_was_never_sent(void **state)
{
    pm_node d = draft("X");

    (void)state;
    env_write(&e, d, "info.json", "{}");
    assert_int_equal(pm_change_rmdir(e.c, drops, "X", NULL), -ENOTEMPTY);
    assert_int_equal(pm_change_unlink(e.c, d, "a.ply"), 0);
    assert_int_equal(pm_change_rmdir(e.c, drops, "X", NULL), -ENOTEMPTY);
    assert_int_equal(pm_change_unlink(e.c, d, "info.json"), 0);
    assert_int_equal(pm_change_rmdir(e.c, drops, "X", NULL), 0);
    assert_string_equal(env_names(&e, drops), "");
    env_sync(&e);
    assert_int_equal(calls(), 0);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.draft"), 0);
}

static void folders_in_a_draft_are_refused(void **state)
{
    pm_node d = env_mkdir(&e, drops, "X");

    (void)state;
    assert_int_equal(pm_change_mkdir(e.c, d, "sub", NULL, &attr), -EPERM);
    until_state(d, "waiting: sub was refused");
}

/* --- what is sent */

static void a_committed_draft_is_one_thing_with_its_file_and_what_the_service_says(void **state)
{
    pm_node d = draft("X");
    pm_node file = env_find(&e, "uploads/X/a.ply");

    (void)state;
    env_write(&e, d, "info.json", "{\"name\":\"N\"}");
    publish(d);
    served_is("uploads/X/a.ply", "the model");
    served_is("uploads/X/info.json", "{\"name\":\"N\"}");
    assert_int_equal(pm_memory_count(e.b), 4);
    assert_string_equal(state_of(d), "synced");
    assert_string_equal(state_of(file), "synced");
    assert_int_equal(env_find(&e, "uploads/X/a.ply"), file);
    assert_int_equal(env_find(&e, "uploads/X"), d);
    assert_string_equal(env_names(&e, d), "a.ply info.json");
    assert_string_equal(env_text(&e, env_find(&e, "uploads/X/info.json")), "{\"name\":\"N\"}");
    assert_int_equal(env_list(&e, drops), 0);
    assert_int_equal(env_list(&e, d), 0);
    assert_int_equal(env_find(&e, "uploads/X/a.ply"), file);
    assert_string_equal(env_text(&e, file), "the model");
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry"), 0);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.draft"), 0);
}

static void a_draft_needs_no_particulars(void **state)
{
    (void)state;
    publish(draft("X"));
    served_is("uploads/X/info.json", "{}");
    assert_string_equal(env_text(&e, env_find(&e, "uploads/X/info.json")), "{}");
}

static void a_draft_that_was_left_alone_is_sent_by_itself(void **state)
{
    pm_node d;

    (void)state;
    e.accounts[0].publish_idle_ms = 60000;
    d = draft("X");
    until_state(d, "draft: is sent in");
    env_sql(&e, "UPDATE j.draft SET changed=changed-60000");
    until_state(d, "synced");
    served_is("uploads/X/a.ply", "the model");
}

static void sync_sends_drafts(void **state)
{
    PM_AUTO(pm_buf) struct pm_buf out = {0};
    pm_node                       d = draft("X");
    pm_node                       held = draft("held");

    (void)state;
    env_write(&e, held, ".hold", "");
    assert_int_equal(pm_queue_sync(e.c, 0, 10000, NULL, NULL, &out), 0);
    assert_string_equal(state_of(d), "synced");
    assert_non_null(strstr(out.ptr, "waiting: .hold is in it"));
    assert_null(env_served(&e, "uploads/held/a.ply"));
}

static void sync_of_one_draft_sends_no_other(void **state)
{
    PM_AUTO(pm_buf) struct pm_buf out = {0};
    pm_node                       x = draft("X");
    pm_node                       y = draft("Y");

    (void)state;
    assert_int_equal(pm_queue_sync(e.c, x, 10000, NULL, NULL, &out), 0);
    assert_string_equal(state_of(x), "synced");
    assert_string_equal(state_of(y), "draft: complete, polymount publish sends it");
}

static void litter_and_temporary_names_are_never_sent(void **state)
{
    pm_node d = draft("X");

    (void)state;
    env_write(&e, d, ".DS_Store", "litter");
    env_write(&e, d, "b.ply.part", "half of something");
    until_state(d, "waiting: b.ply.part has a temporary name");
    publish(d);
    served_is("uploads/X/a.ply", "the model");
    assert_int_equal(pm_memory_count(e.b), 4);
    env_sync(&e);
    assert_int_equal(pm_memory_count(e.b), 4);
    assert_string_equal(env_names(&e, d), ".DS_Store a.ply b.ply.part info.json");
}

static void a_file_that_gets_its_name_last_is_sent_by_that(void **state)
{
    pm_node d = env_mkdir(&e, drops, "X");

    (void)state;
    env_write(&e, d, ".goutputstream-AB12CD", "the model");
    assert_int_equal(pm_change_rename(e.c, d, ".goutputstream-AB12CD", d, "a.ply", 0, NULL), 0);
    publish(d);
    served_is("uploads/X/a.ply", "the model");
}

/* --- what cannot be sent */

static void two_files_are_a_failure_until_one_is_gone(void **state)
{
    pm_node d = draft("X");

    (void)state;
    write_gathered(d, "b.ply", "another");
    assert_int_equal(publish_fails(d, "two files"), -EIO);
    until_state(d, "failed: there are two files to be sent in it, a.ply and b.ply");
    assert_int_equal(calls(), 0);
    assert_int_equal(pm_change_unlink(e.c, d, "b.ply"), 0);
    until_state(d, "draft: complete");
    publish(d);
    served_is("uploads/X/a.ply", "the model");
}

static void sync_ends_with_what_failed(void **state)
{
    PM_AUTO(pm_buf) struct pm_buf out = {0};
    pm_node                       d = draft("X");

    (void)state;
    write_gathered(d, "b.ply", "another");
    assert_int_equal(pm_queue_sync(e.c, 0, 10000, NULL, NULL, &out), -EIO);
    assert_non_null(strstr(out.ptr, "there are two files"));
}

static int write_document(pm_node d, const char *text)
{
    struct pm_file *f;
    pm_node         node = env_find(&e, "uploads/X/info.json");
    int             err;

    if (!node) {
        assert_int_equal(pm_change_create_open(e.c, d, "info.json", NULL, &attr), 0);
        node = attr.node;
    }
    assert_int_equal(pm_file_open(e.c, node, O_WRONLY | O_TRUNC, &f), 0);
    assert_int_equal(pm_file_write(f, text, strlen(text), 0), strlen(text));
    err = pm_file_flush(f);
    pm_file_release(f);
    return err;
}

static void broken_particulars_are_told_at_close_and_hold_the_draft(void **state)
{
    pm_node d = draft("X");

    (void)state;
    assert_int_equal(write_document(d, "{\"name\":"), -EINVAL);
    assert_int_equal(publish_fails(d, "info.json: "), -EIO);
    assert_int_equal(calls(), 0);
    assert_int_equal(write_document(d, "{\"name\":\"N\"}"), 0);
    until_state(d, "draft: complete");
    publish(d);
    served_is("uploads/X/info.json", "{\"name\":\"N\"}");
}

static void what_the_service_would_refuse_is_told_at_close(void **state)
{
    pm_node d = draft("X");

    (void)state;
    assert_int_equal(write_document(d, "{\"password\":\"123456789012345678901\"}"), -EINVAL);
    until_state(env_find(&e, "uploads/X/info.json"), "local");
    assert_int_equal(publish_fails(d, "info.json: the password is longer"), -EIO);
    assert_int_equal(calls(), 0);
    assert_int_equal(write_document(d, "{\"password\":\"12345678901234567890\"}"), 0);
    publish(d);
}

static bool in_state_folder(const char *text)
{
    PM_AUTO(free) char *command = pm_asprintf("grep -r -q -F -a '%s' %s", text, e.dir);

    return system(command) == 0;
}

static void a_password_is_gone_from_the_disk_when_the_service_has_it(void **state)
{
    pm_node             d = draft("X");
    PM_AUTO(free) char *password = NULL;

    (void)state;
    assert_int_equal(write_document(d, "{\"name\":\"N\",\"password\":\"Tr0ub4dor\"}"), 0);
    assert_true(in_state_folder("Tr0ub4dor"));
    publish(d);
    password = pm_memory_password(e.b);
    assert_string_equal(password, "Tr0ub4dor");
    assert_false(in_state_folder("Tr0ub4dor"));
    assert_string_equal(env_text(&e, env_find(&e, "uploads/X/info.json")), "{\"name\":\"N\"}");
}

/* --- afterwards */

static void nothing_is_made_or_written_in_what_a_draft_became(void **state)
{
    struct pm_file *f;
    struct pm_file *late;
    pm_node         d = draft("X");
    pm_node         file = env_find(&e, "uploads/X/a.ply");

    (void)state;
    pm_memory_block(e.b, PM_MEM_PUT, true);
    wish(d);
    env_until_calls(&e, PM_MEM_PUT, 1);
    assert_int_equal(pm_file_open(e.c, file, O_WRONLY, &late), 0);
    pm_memory_block(e.b, PM_MEM_PUT, false);
    publish(d);
    assert_int_equal(publish_fails(d, "published already"), -EEXIST);
    assert_int_equal(pm_change_create(e.c, d, "b.ply", NULL, &attr), -EPERM);
    assert_int_equal(pm_change_mkdir(e.c, d, "sub", NULL, &attr), -EPERM);
    assert_int_equal(pm_file_open(e.c, file, O_WRONLY, &f), -EPERM);
    assert_int_equal(pm_file_write(late, "x", 1, 0), -EPERM);
    pm_file_release(late);
    assert_string_equal(env_text(&e, file), "the model");
    env_sync(&e);
    served_is("uploads/X/a.ply", "the model");
}

static bool is_removed(void *arg)
{
    return !env_served(&e, arg);
}

static void a_committed_draft_is_removed_there_with_its_folder(void **state)
{
    pm_node d = draft("X");

    (void)state;
    publish(d);
    e.conf.delete_delay_ms = 0;
    assert_int_equal(pm_change_unlink(e.c, d, "a.ply"), 0);
    assert_int_equal(pm_change_unlink(e.c, d, "info.json"), 0);
    assert_int_equal(pm_change_rmdir(e.c, drops, "X", NULL), 0);
    assert_true(env_until(is_removed, (char *)"uploads/X/a.ply"));
    assert_int_equal(pm_memory_count(e.b), 1);
}

static void a_draft_over_one_whose_removal_waits_is_another_thing(void **state)
{
    pm_node d = draft("X");
    pm_node again;

    (void)state;
    publish(d);
    e.conf.delete_delay_ms = 2000;
    assert_int_equal(pm_change_unlink(e.c, d, "a.ply"), 0);
    assert_int_equal(pm_change_unlink(e.c, d, "info.json"), 0);
    assert_int_equal(pm_change_rmdir(e.c, drops, "X", NULL), 0);
    again = env_mkdir(&e, drops, "X");
    assert_true(again != d);
    write_gathered(again, "a.ply", "another model");
    publish(again);
    served_is("uploads/X/a.ply", "another model");
    assert_int_equal(pm_memory_count(e.b), 4);
}

static void a_file_is_renamed_in_its_draft_and_leaves_it_only_as_a_copy(void **state)
{
    pm_node d = draft("X");

    (void)state;
    pm_queue_pause(e.c, true);
    assert_int_equal(pm_change_rename(e.c, d, "a.ply", d, "b.ply", 0, NULL), 0);
    assert_int_equal(pm_change_rename(e.c, d, "b.ply", drops, "b.ply", 0, NULL), -EXDEV);
    pm_queue_pause(e.c, false);
    publish(d);
    served_is("uploads/X/b.ply", "the model");
}

/* --- changes while it is sent */

/* A draft whose upload is under way. */
static pm_node uploading(const char *name)
{
    pm_node d = draft(name);

    pm_memory_block(e.b, PM_MEM_PUT, true);
    wish(d);
    env_until_calls(&e, PM_MEM_PUT, 1);
    until_state(d, "uploading");
    return d;
}

static void particulars_that_come_while_it_is_sent_are_sent(void **state)
{
    pm_node d = uploading("X");

    (void)state;
    env_write(&e, d, "info.json", "{\"name\":\"N\"}");
    pm_memory_block(e.b, PM_MEM_PUT, false);
    publish(d);
    served_is("uploads/X/info.json", "{\"name\":\"N\"}");
    until_nothing_is_left();
    assert_int_equal(pm_memory_count(e.b), 4);
}

static void a_file_that_changes_while_it_is_sent_is_sent_anew(void **state)
{
    pm_node d = uploading("X");

    (void)state;
    env_write(&e, d, "a.ply", "another model");
    pm_memory_block(e.b, PM_MEM_PUT, false);
    publish(d);
    served_is("uploads/X/a.ply", "another model");
    until_nothing_is_left();
    assert_int_equal(pm_memory_count(e.b), 4);
}

static void a_draft_that_is_removed_while_it_is_sent_leaves_nothing_there(void **state)
{
    pm_node d = uploading("X");

    (void)state;
    assert_int_equal(pm_change_unlink(e.c, d, "a.ply"), 0);
    assert_int_equal(pm_change_rmdir(e.c, drops, "X", NULL), 0);
    pm_memory_block(e.b, PM_MEM_PUT, false);
    until_nothing_is_left();
    assert_int_equal(pm_memory_count(e.b), 1);
    assert_string_equal(env_names(&e, drops), "");
}

static void a_draft_that_is_complete_there_and_was_changed_here_is_taken_away_and_sent_anew(void **state)
{
    pm_node d = draft("X");

    (void)state;
    pm_memory_fault(e.b, PM_MEM_FINISH, 1, -EIO, true);
    wish(d);
    env_until_calls(&e, PM_MEM_FINISH, 1);
    env_write(&e, d, "info.json", "{\"name\":\"N\"}");
    publish(d);
    served_is("uploads/X/info.json", "{\"name\":\"N\"}");
    until_nothing_is_left();
    assert_int_equal(pm_memory_count(e.b), 4);
}

static void a_draft_that_is_renamed_while_it_is_sent_has_the_new_name_there(void **state)
{
    pm_node d = uploading("X");

    (void)state;
    assert_int_equal(pm_change_rename(e.c, drops, "X", drops, "Y", 0, NULL), 0);
    pm_memory_block(e.b, PM_MEM_PUT, false);
    publish(d);
    served_is("uploads/Y/a.ply", "the model");
    assert_int_equal(pm_memory_count(e.b), 4);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_BEGIN), 1);
    assert_int_equal(env_list(&e, drops), 0);
    assert_string_equal(env_names(&e, drops), "Y");
}

static void another_file_while_it_is_sent_ends_that_and_is_a_failure(void **state)
{
    pm_node d = uploading("X");

    (void)state;
    env_write(&e, d, "b.ply", "another");
    pm_memory_block(e.b, PM_MEM_PUT, false);
    until_state(d, "failed: there are two files");
    until_nothing_is_left();
    assert_int_equal(pm_memory_count(e.b), 1);
}

/* --- crashes and lost answers */

static void lost_answers_make_one_thing(void **state)
{
    static const enum pm_memory_op ops[] = {PM_MEM_BEGIN, PM_MEM_PUT, PM_MEM_FINISH, PM_MEM_LIST};
    char                           name[16];

    (void)state;
    for (size_t i = 0; i < PM_COUNT(ops); i++) {
        pm_node d;

        snprintf(name, sizeof(name), "X%zu", i);
        d = draft(name);
        pm_memory_fault(e.b, ops[i], 1, -ETIMEDOUT, ops[i] != PM_MEM_LIST);
        publish(d);
        assert_int_equal(pm_memory_count(e.b), 4 + 3 * i);
    }
}

/* A drive on the state folder as kill -9 leaves it now, over the same service. */
/* Whoever starts on this folder sends nothing until pm_queue_pause(false). */
static void hold(const struct env *x)
{
    PM_AUTO(free) char *path = pm_asprintf("%s/journal.db", x->dir);
    sqlite3            *db = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "INSERT OR REPLACE INTO meta(key, value) VALUES('paused', 1)", NULL,
                                  NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
}

static void crash_and_start(void)
{
    struct pm_backend *service;
    struct env         after;

    assert_int_equal(pm_backend_open(&e.accounts[0], NULL, NULL, &service), 0);
    env_copy_folder(&e, &after);
    hold(&after); /* until the service is there */
    assert_int_equal(pm_queue_pause(e.c, true), 0);
    pm_memory_block(e.b, PM_MEM_PUT, false);
    pm_cache_stop(e.c);
    pm_memory_move(e.b, service);
    env_close(&e);
    e = after;
    e.conf.cache_dir = e.dir;
    e.conf.accounts = e.accounts;
    e.accounts[0].type = (char *)"memory-drops";
    env_open(&e);
    pm_memory_move(service, e.b);
    pm_backend_close(service);
    drops = env_find(&e, PM_MEMORY_DROPS);
    assert_int_equal(pm_queue_pause(e.c, false), 0);
}

static void a_crash_while_it_is_sent_is_gone_on_with(void **state)
{
    (void)state;
    uploading("X");
    crash_and_start();
    until_state(env_find(&e, "uploads/X"), "synced");
    served_is("uploads/X/a.ply", "the model");
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_BEGIN), 0);
    assert_int_equal(pm_memory_count(e.b), 4);
    until_nothing_is_left();
}

static void a_draft_that_is_complete_there_when_the_drive_ends_is_one_thing(void **state)
{
    pm_node d = draft("X");

    (void)state;
    pm_memory_delay(e.b, PM_MEM_RESUME, 60000);
    pm_memory_fault(e.b, PM_MEM_FINISH, 1, -ETIMEDOUT, true);
    wish(d);
    env_until_calls(&e, PM_MEM_FINISH, 1);
    crash_and_start();
    until_state(env_find(&e, "uploads/X"), "synced");
    assert_int_equal(pm_memory_count(e.b), 4);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_BEGIN), 0);
}

static void a_draft_that_waits_when_the_drive_ends_waits_on(void **state)
{
    pm_node d;

    (void)state;
    e.accounts[0].publish_idle_ms = 60000;
    d = draft("X");
    env_write(&e, d, "info.json", "{\"name\":\"N\"}");
    crash_and_start();
    e.accounts[0].publish_idle_ms = 60000;
    d = env_find(&e, "uploads/X");
    until_state(d, "draft: is sent in");
    publish(d);
    served_is("uploads/X/info.json", "{\"name\":\"N\"}");
}

static void what_a_removed_draft_left_there_is_taken_away_after_a_crash(void **state)
{
    uploading("X");

    (void)state;
    assert_int_equal(pm_change_unlink(e.c, env_find(&e, "uploads/X"), "a.ply"), 0);
    crash_and_start();
    until_nothing_is_left();
    assert_int_equal(pm_memory_count(e.b), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(nothing_of_a_draft_is_sent_before_it_is_committed),
        TEST(an_empty_draft_stays_local_and_is_no_failure_of_sync),
        TEST(a_draft_that_is_removed_was_never_sent),
        TEST(folders_in_a_draft_are_refused),
        TEST(a_committed_draft_is_one_thing_with_its_file_and_what_the_service_says),
        TEST(a_draft_needs_no_particulars),
        TEST(a_draft_that_was_left_alone_is_sent_by_itself),
        TEST(sync_sends_drafts),
        TEST(sync_of_one_draft_sends_no_other),
        TEST(litter_and_temporary_names_are_never_sent),
        TEST(a_file_that_gets_its_name_last_is_sent_by_that),
        TEST(two_files_are_a_failure_until_one_is_gone),
        TEST(sync_ends_with_what_failed),
        TEST(broken_particulars_are_told_at_close_and_hold_the_draft),
        TEST(what_the_service_would_refuse_is_told_at_close),
        TEST(a_password_is_gone_from_the_disk_when_the_service_has_it),
        TEST(nothing_is_made_or_written_in_what_a_draft_became),
        TEST(a_committed_draft_is_removed_there_with_its_folder),
        TEST(a_draft_over_one_whose_removal_waits_is_another_thing),
        TEST(a_file_is_renamed_in_its_draft_and_leaves_it_only_as_a_copy),
        TEST(particulars_that_come_while_it_is_sent_are_sent),
        TEST(a_file_that_changes_while_it_is_sent_is_sent_anew),
        TEST(a_draft_that_is_removed_while_it_is_sent_leaves_nothing_there),
        TEST(a_draft_that_is_complete_there_and_was_changed_here_is_taken_away_and_sent_anew),
        TEST(a_draft_that_is_renamed_while_it_is_sent_has_the_new_name_there),
        TEST(another_file_while_it_is_sent_ends_that_and_is_a_failure),
        TEST(lost_answers_make_one_thing),
        TEST(a_crash_while_it_is_sent_is_gone_on_with),
        TEST(a_draft_that_is_complete_there_when_the_drive_ends_is_one_thing),
        TEST(a_draft_that_waits_when_the_drive_ends_waits_on),
        TEST(what_a_removed_draft_left_there_is_taken_away_after_a_crash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
