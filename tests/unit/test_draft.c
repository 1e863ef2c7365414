/* Folders that become projects: what is sent into a session, when it is replaced, and what is
 * published, over the memory backend's draft face. */
#include "tests/unit/cache_env.h"

#include "cache/draft.h"
#include "cache/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct env     e;
static struct pm_attr attr;

static int setup(void **state)
{
    (void)state;
    env_init(&e);
    e.accounts[0].type = (char *)"memory-draft";
    e.conf.delay_ms = 5;
    env_open(&e);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (e.c)
        assert_int_equal(pm_memory_breaches(e.b), 0);
    env_close(&e);
    return 0;
}

static const char *state_of(pm_node node)
{
    static struct pm_info info;

    assert_int_equal(pm_info_node(e.c, node, &info), 0);
    return info.state;
}

static const char *error_of(pm_node node)
{
    static struct pm_info info;

    assert_int_equal(pm_info_node(e.c, node, &info), 0);
    return info.error;
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

static void publish(pm_node folder)
{
    PM_AUTO(pm_buf) struct pm_buf why = {0};
    int                           err = pm_publish(e.c, folder, &why);

    if (!err)
        err = pm_publish_wait(e.c, folder, NULL, NULL, &why);
    if (err)
        fail_msg("publish: %d %s", err, why.ptr ? why.ptr : "");
}

static int publish_fails(pm_node folder, const char *expected)
{
    PM_AUTO(pm_buf) struct pm_buf why = {0};
    int                           err = pm_publish(e.c, folder, &why);

    if (!err)
        err = pm_publish_wait(e.c, folder, NULL, NULL, &why);
    if (!why.ptr || !strstr(why.ptr, expected))
        fail_msg("it says \"%s\", not \"%s\"", why.ptr ? why.ptr : "", expected);
    return err;
}

static void projects_are(const char *expected)
{
    PM_AUTO(free) char *projects = pm_memory_projects(e.b);

    assert_string_equal(projects, expected);
}

static void ignore_line(void *arg, const char *line)
{
    (void)arg;
    (void)line;
}

static void discard(pm_node node)
{
    uint64_t found;

    assert_int_equal(pm_work_discard(e.c, node, ignore_line, NULL, &found), 0);
    assert_int_equal(found, 1);
}

static bool sessions_went(void *arg)
{
    return pm_memory_sessions(e.b) == *(size_t *)arg;
}

static void until_sessions(size_t n)
{
    if (!env_until(sessions_went, &n))
        fail_msg("there are %zu sessions, not %zu", pm_memory_sessions(e.b), n);
}

static pm_node write_sent(pm_node folder, const char *name, const char *text)
{
    pm_node node = env_write(&e, folder, name, text);

    until_state(node, "sent");
    return node;
}

static int create(pm_node folder, const char *name)
{
    return pm_change_create(e.c, folder, name, NULL, &attr);
}

static int rename_to(pm_node from, const char *name, pm_node to, const char *new_name)
{
    return pm_change_rename(e.c, from, name, to, new_name, 0, NULL);
}

/* --- a draft and its session */

static void a_folder_of_files_becomes_one_project_with_exactly_these(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "Building scan");
    pm_node a, b;

    (void)state;
    a = env_write(&e, d, "a.e57", "first");
    b = env_write(&e, d, "b.e57", "second");
    until_state(a, "sent");
    until_state(b, "sent");
    projects_are("");
    assert_int_equal(pm_memory_sessions(e.b), 1);
    publish(d);
    projects_are("Building scan  : a.e57=first b.e57=second\n");
    assert_string_equal(state_of(a), "synced");
    assert_string_equal(state_of(d), "synced");
    assert_string_equal(env_text(&e, a), "first");
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_SESSION), 1);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_COMMIT), 1);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry"), 0);
}

static void a_new_folder_asks_the_service_for_nothing(void **state)
{
    (void)state;
    env_mkdir(&e, e.root, "d");
    env_sync(&e);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_SESSION), 0);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_MKDIR), 0);
}

static void what_a_session_has_is_pending_until_it_is_published(void **state)
{
    pm_node  d = env_mkdir(&e, e.root, "d");
    uint64_t entries, bytes;

    (void)state;
    write_sent(d, "a", "12345");
    pm_info_pending(e.c, &entries, &bytes);
    assert_int_equal(entries, 2);
    assert_int_equal(bytes, 5);
    env_sync(&e); /* does not wait for it, and publishes nothing */
    projects_are("");
    publish(d);
    pm_info_pending(e.c, &entries, &bytes);
    assert_int_equal(entries, 0);
}

static void sync_tells_that_a_draft_waits(void **state)
{
    PM_AUTO(pm_buf) struct pm_buf out = {0};
    pm_node                       d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "x");
    assert_int_equal(pm_queue_sync(e.c, 0, 5000, NULL, NULL, &out), 0);
    assert_non_null(strstr(out.ptr, "/m/d: waiting: draft"));
}

static void files_go_side_by_side_into_the_one_session(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");
    char    name[16];

    (void)state;
    pm_memory_delay(e.b, PM_MEM_SESSION, 50);
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        env_write(&e, d, name, "x");
    }
    env_sync(&e);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_SESSION), 1);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry WHERE state=8"), 20);
}

static void empty_files_are_sent_too(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "empty", "");
    publish(d);
    projects_are("d  : empty=\n");
}

static void litter_is_never_sent(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    env_write(&e, d, ".DS_Store", "x");
    write_sent(d, "a", "y");
    publish(d);
    projects_are("d  : a=y\n");
    assert_string_equal(env_names(&e, d), ".DS_Store a");
}

static void names_are_sent_as_the_service_takes_them_and_shown_as_they_are(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a b.e57", "1");
    write_sent(d, "a+b.e57", "2");
    write_sent(d, "a_b.e57", "3");
    assert_string_equal(env_names(&e, d), "a b.e57 a+b.e57 a_b.e57");
    publish(d);
    projects_are("d  : a_b.e57=1 a_b_2.e57=2 a_b_3.e57=3\n");
    assert_string_equal(env_names(&e, d), "a b.e57 a+b.e57 a_b.e57");
}

/* --- what may be where */

static void nothing_but_folders_is_made_in_the_root(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");
    pm_node x = env_mkdir(&e, e.root, "x");

    (void)state;
    assert_int_equal(create(e.root, "f"), -EPERM);
    write_sent(d, "a", "1");
    assert_int_equal(rename_to(d, "a", e.root, "a"), -EPERM);
    assert_int_equal(rename_to(e.root, "x", d, "x"), -EPERM);
    assert_int_equal(pm_change_mkdir(e.c, d, "sub", NULL, &attr), -EPERM);
    assert_true(x != 0);
}

static void what_the_service_refuses_is_refused_at_once(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");
    char    byte = 'x';

    (void)state;
    assert_int_equal(create(d, "setup.exe"), -EPERM);
    assert_non_null(strstr(error_of(d), "no programs are taken"));
    write_sent(d, "a", "1");
    assert_int_equal(rename_to(d, "a", d, "a.exe"), -EPERM);
    assert_int_equal(create(d, "big"), 0);

    struct pm_file *f;
    assert_int_equal(pm_file_open(e.c, attr.node, O_WRONLY, &f), 0);
    assert_int_equal(pm_file_write(f, &byte, 1, PM_MEMORY_DRAFT_MAX - 1), 1);
    assert_int_equal(pm_file_write(f, &byte, 1, PM_MEMORY_DRAFT_MAX), -EFBIG);
    assert_int_equal(pm_file_allocate(f, 0, 0, PM_MEMORY_DRAFT_MAX + 1, NULL), -EFBIG);
    pm_file_release(f);
    assert_int_equal(pm_change_unlink(e.c, d, "big"), 0);
}

static void a_published_folder_is_read_only(void **state)
{
    pm_node         d = env_mkdir(&e, e.root, "d");
    pm_node         other = env_mkdir(&e, e.root, "other");
    pm_node         a = write_sent(d, "a", "1");
    struct pm_file *f;

    (void)state;
    write_sent(other, "b", "2");
    publish(d);
    assert_int_equal(create(d, "b"), -EROFS);
    assert_int_equal(create(d, ".DS_Store"), -EROFS);
    assert_int_equal(pm_change_mkdir(e.c, d, "sub", NULL, &attr), -EROFS);
    assert_int_equal(pm_change_unlink(e.c, d, "a"), -EROFS);
    assert_int_equal(rename_to(d, "a", d, "c"), -EROFS);
    assert_int_equal(rename_to(d, "a", other, "c"), -EROFS);
    assert_int_equal(rename_to(other, "b", d, "a"), -EROFS);
    assert_int_equal(pm_file_open(e.c, a, O_WRONLY, &f), -EROFS);
    assert_int_equal(pm_change_size(e.c, a, 0, NULL), -EROFS);
    assert_int_equal(pm_change_rmdir(e.c, e.root, "d", NULL), -EPERM);
    assert_int_equal(rename_to(e.root, "d", e.root, "z"), -EPERM);
    assert_string_equal(env_text(&e, a), "1");
}

/* What is stored through a mapping of it is told to nobody before it is written back. */
static void publishing_waits_for_who_may_write_though_nothing_was_written(void **state)
{
    PM_AUTO(pm_buf) struct pm_buf why = {0};
    pm_node                       d = env_mkdir(&e, e.root, "d");
    pm_node                       a = write_sent(d, "a", "1");
    struct pm_file               *f;
    struct pm_file               *reader;

    (void)state;
    assert_int_equal(pm_file_open(e.c, a, O_RDONLY, &reader), 0);
    assert_int_equal(pm_file_open(e.c, a, O_RDWR, &f), 0);
    assert_int_equal(pm_publish(e.c, d, &why), 0);
    until_state(d, "waiting: a is open");
    usleep(50000);
    projects_are("");
    assert_int_equal(pm_file_write(f, "2", 1, 0), 1);
    pm_file_release(f);
    until_state(d, "synced");
    projects_are("d  : a=2\n");
    assert_int_equal(pm_file_open(e.c, a, O_RDWR, &f), -EROFS);
    pm_file_release(reader);
}

/* --- changes after something was sent */

static void what_is_written_after_it_was_sent_goes_into_a_new_session(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");
    pm_node a = write_sent(d, "a", "old");

    (void)state;
    write_sent(d, "b", "same");
    env_write(&e, d, "a", "new");
    until_state(a, "sent");
    until_sessions(1);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_SESSION), 2);
    publish(d);
    projects_are("d  : a=new b=same\n");
}

static void what_is_removed_after_it_was_sent_is_in_no_project(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");
    pm_node b;

    (void)state;
    write_sent(d, "a", "1");
    b = write_sent(d, "b", "2");
    assert_int_equal(pm_change_unlink(e.c, d, "a"), 0);
    assert_string_equal(env_names(&e, d), "b");
    until_state(b, "sent");
    publish(d);
    projects_are("d  : b=2\n");
    until_sessions(0);
}

static void what_is_renamed_after_it_was_sent_is_published_under_its_new_name(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");
    pm_node a = write_sent(d, "a", "1");

    (void)state;
    assert_int_equal(rename_to(d, "a", d, "z"), 0);
    until_state(a, "sent");
    publish(d);
    projects_are("d  : z=1\n");
}

static void a_file_renamed_over_another_takes_its_place(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "old");
    env_write(&e, d, ".a.Ab12Cd", "new");
    assert_int_equal(rename_to(d, ".a.Ab12Cd", d, "a"), 0);
    assert_string_equal(env_names(&e, d), "a");
    until_state(env_find(&e, "d/a"), "sent");
    publish(d);
    projects_are("d  : a=new\n");
}

static void a_file_moved_to_another_draft_is_in_that_project_only(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");
    pm_node x = env_mkdir(&e, e.root, "x");
    pm_node a = write_sent(d, "a", "1");

    (void)state;
    write_sent(d, "b", "2");
    assert_int_equal(rename_to(d, "a", x, "a"), 0);
    until_state(a, "sent");
    until_state(env_find(&e, "d/b"), "sent");
    publish(x);
    publish(d);
    projects_are("x  : a=1\nd  : b=2\n");
}

static void a_file_removed_and_made_again_is_the_new_one(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "old");
    assert_int_equal(pm_change_unlink(e.c, d, "a"), 0);
    write_sent(d, "a", "new");
    publish(d);
    projects_are("d  : a=new\n");
}

static bool put_called(void *arg)
{
    (void)arg;
    return pm_memory_calls(e.b, PM_MEM_PUT) > 0;
}

/* A file whose upload hangs in its first put. */
static pm_node write_hanging(pm_node folder, const char *name)
{
    pm_node node;

    pm_memory_block(e.b, PM_MEM_PUT, true);
    node = env_write(&e, folder, name, "hanging");
    assert_true(env_until(put_called, NULL));
    return node;
}

static void a_file_is_removed_at_once_while_it_is_sent(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_hanging(d, "a");
    assert_int_equal(pm_change_unlink(e.c, d, "a"), 0);
    assert_string_equal(env_names(&e, d), "");
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry WHERE op=1"), 0);
    pm_memory_block(e.b, PM_MEM_PUT, false);
    until_sessions(0);
    write_sent(d, "b", "2");
    publish(d);
    projects_are("d  : b=2\n");
}

static void a_file_is_renamed_while_it_is_sent(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");
    pm_node a = write_hanging(d, "a");

    (void)state;
    assert_int_equal(rename_to(d, "a", d, "b"), 0);
    pm_memory_block(e.b, PM_MEM_PUT, false);
    until_state(a, "sent");
    publish(d);
    projects_are("d  : b=hanging\n");
}

static void a_draft_is_renamed_while_its_files_are_sent(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");
    pm_node a = write_hanging(d, "a");

    (void)state;
    assert_int_equal(rename_to(e.root, "d", e.root, "Title"), 0);
    pm_memory_block(e.b, PM_MEM_PUT, false);
    until_state(a, "sent");
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_SESSION), 1);
    publish(d);
    projects_are("Title  : a=hanging\n");
}

static void a_write_while_it_is_sent_ends_that(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");
    pm_node a = write_hanging(d, "a");

    (void)state;
    env_write(&e, d, "a", "later");
    pm_memory_block(e.b, PM_MEM_PUT, false);
    until_state(a, "sent");
    publish(d);
    projects_are("d  : a=later\n");
}

static void publishing_waits_for_what_is_being_written_and_says_so(void **state)
{
    PM_AUTO(pm_buf) struct pm_buf why = {0};
    pm_node                       d = env_mkdir(&e, e.root, "d");
    struct pm_file               *f;

    (void)state;
    write_sent(d, "a", "1");
    assert_int_equal(create(d, "b"), 0);
    assert_int_equal(pm_file_open(e.c, attr.node, O_WRONLY, &f), 0);
    assert_int_equal(pm_file_write(f, "2", 1, 0), 1);
    assert_int_equal(pm_publish(e.c, d, &why), 0);
    until_state(d, "waiting: b is open");
    assert_int_equal(pm_file_write(f, "3", 1, 1), 1);
    pm_file_release(f);
    until_state(d, "synced");
    projects_are("d  : a=1 b=23\n");
}

/* What is wished while a file of it is open, which is *f. */
static pm_node wish_with_open(struct pm_file **f)
{
    PM_AUTO(pm_buf) struct pm_buf why = {0};
    pm_node                       d = env_mkdir(&e, e.root, "d");

    write_sent(d, "a", "1");
    assert_int_equal(create(d, "b"), 0);
    assert_int_equal(pm_file_open(e.c, attr.node, O_WRONLY, f), 0);
    assert_int_equal(pm_file_write(*f, "2", 1, 0), 1);
    assert_int_equal(pm_publish(e.c, d, &why), 0);
    until_state(d, "waiting: b is open");
    return d;
}

static void a_hold_that_is_made_after_publishing_was_asked_for_holds_it(void **state)
{
    struct pm_file *f;
    pm_node         d = wish_with_open(&f);

    (void)state;
    env_write(&e, d, ".hold", "");
    pm_file_release(f);
    env_sync(&e);
    until_state(d, "waiting: .hold is in it");
    projects_are("");
    assert_int_equal(pm_change_unlink(e.c, d, ".hold"), 0);
    until_state(d, "synced");
    projects_are("d  : a=1 b=2\n");
}

static void a_draft_that_is_empty_when_it_is_to_be_published_keeps_nobody_waiting(void **state)
{
    struct pm_file *f;
    pm_node         d = wish_with_open(&f);

    (void)state;
    assert_int_equal(pm_change_unlink(e.c, d, "a"), 0);
    assert_int_equal(pm_change_unlink(e.c, d, "b"), 0);
    pm_file_release(f);
    env_sync(&e);
    projects_are("");
    env_write(&e, d, "c", "3");
    until_state(d, "synced");
    projects_are("d  : c=3\n");
}

static void an_empty_draft_is_removed_with_its_session(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "1");
    assert_int_equal(pm_change_rmdir(e.c, e.root, "d", NULL), -ENOTEMPTY);
    pm_memory_fault(e.b, PM_MEM_DROP, 1, -EIO, true); /* its answer is lost: it is repeated */
    assert_int_equal(pm_change_unlink(e.c, d, "a"), 0);
    assert_int_equal(pm_change_rmdir(e.c, e.root, "d", NULL), 0);
    assert_string_equal(env_names(&e, e.root), "");
    until_sessions(0);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry"), 0);
    env_mkdir(&e, e.root, "d");
}

/* --- what breaks */

static void a_session_that_the_service_ended_is_replaced(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");
    pm_node a = write_sent(d, "a", "1");
    pm_node b;

    (void)state;
    pm_memory_expire(e.b);
    b = env_write(&e, d, "b", "2");
    until_state(b, "sent");
    until_state(a, "sent");
    publish(d);
    projects_are("d  : a=1 b=2\n");
}

static void a_session_that_ended_before_publishing_is_sent_again(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "1");
    pm_memory_expire(e.b);
    publish(d);
    projects_are("d  : a=1\n");
}

static void sessions_that_end_again_and_again_are_no_endless_restart(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");
    pm_node a;

    (void)state;
    pm_queue_pause(e.c, true);
    a = env_write(&e, d, "a", "1");
    env_sql(&e, "UPDATE j.draft SET deaths=3");
    pm_queue_pause(e.c, false);
    until_state(a, "failed: 3 upload sessions ended");
    assert_int_equal(publish_fails(d, "a failed"), -EBUSY);
}

static void what_the_session_lost_is_sent_again_before_publishing(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "one");
    write_sent(d, "b", "two");
    write_sent(d, "c", "three");
    pm_memory_lose(e.b, "a", false);
    pm_memory_lose(e.b, "b", true);
    publish(d);
    projects_are("d  : a=one b=two c=three\n");
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_COMMIT), 1);
}

static void lost_answers_make_no_second_session_file_or_project(void **state)
{
    static const enum pm_memory_op ops[] = {PM_MEM_SESSION, PM_MEM_BEGIN, PM_MEM_PUT, PM_MEM_FINISH,
                                            PM_MEM_HELD};
    pm_node d;

    (void)state;
    for (size_t i = 0; i < PM_COUNT(ops); i++) {
        char name[16];

        snprintf(name, sizeof(name), "d%zu", i);
        d = env_mkdir(&e, e.root, name);
        pm_memory_fault(e.b, ops[i], 1, -EIO, true);
        write_sent(d, "a", "1");
        publish(d);
    }
    projects_are("d0  : a=1\nd1  : a=1\nd2  : a=1\nd3  : a=1\nd4  : a=1\n");
}

static void a_lost_answer_to_the_commit_never_makes_two_projects(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "1");
    pm_memory_fault(e.b, PM_MEM_COMMIT, 1, -EAGAIN, true);
    publish(d);
    projects_are("d  : a=1\n");
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_COMMIT), 1);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_FIND), 1);
}

static void a_commit_that_did_not_arrive_is_repeated(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "1");
    pm_memory_fault(e.b, PM_MEM_COMMIT, 1, -EAGAIN, false);
    publish(d);
    projects_are("d  : a=1\n");
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_COMMIT), 2);
}

/* Whatever of these a commit ends with, it may have arrived. */
static void no_unclear_answer_to_the_commit_makes_two_projects(void **state)
{
    static const int errs[] = {-EAGAIN, -EIO, -ETIMEDOUT, -ECANCELED, -ENOMEM};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(errs); i++) {
        char    name[16];
        pm_node d;

        snprintf(name, sizeof(name), "d%zu", i);
        d = env_mkdir(&e, e.root, name);
        write_sent(d, "a", "1");
        pm_memory_fault(e.b, PM_MEM_COMMIT, 1, errs[i], true);
        publish(d);
    }
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_COMMIT), PM_COUNT(errs));
    projects_are("d0  : a=1\nd1  : a=1\nd2  : a=1\nd3  : a=1\nd4  : a=1\n");
}

static void a_project_of_the_same_title_is_not_taken_for_a_lost_one(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    assert_int_equal(pm_memory_project(e.b, "d"), 0);
    write_sent(d, "scan.url", "https://example.org/scan.e57");
    pm_memory_fault(e.b, PM_MEM_COMMIT, 1, -EAGAIN, false);
    publish(d);
    projects_are("d, of others\nd  https://example.org/scan.e57:\n");
}

static void names_that_differ_in_case_only_are_both_in_the_project(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a.jpg", "1");
    write_sent(d, "A.jpg", "2");
    publish(d);
    projects_are("d  : A_2.jpg=2 a.jpg=1\n");
}

static void a_session_with_another_content_is_replaced_and_dropped(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "1");
    pm_memory_fault(e.b, PM_MEM_BEGIN, 1, -EEXIST, false);
    write_sent(d, "b", "2");
    publish(d);
    projects_are("d  : a=1 b=2\n");
    until_sessions(0);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_SESSION), 2);
}

static void a_session_with_strange_files_is_no_endless_restart(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    pm_memory_intrude(e.b, "strange");
    write_sent(d, "a", "1");
    assert_int_equal(publish_fails(d, "3 upload sessions ended"), -EIO);
    assert_true(pm_memory_calls(e.b, PM_MEM_SESSION) <= 3);
    projects_are("");
}

static void a_draft_larger_than_the_service_takes_is_refused_at_once(void **state)
{
    pm_node         d = env_mkdir(&e, e.root, "d");
    char           *mib = calloc(1, PM_MEMORY_DRAFT_MAX + 1);
    struct pm_file *f;

    (void)state;
    memset(mib, 'x', PM_MEMORY_DRAFT_MAX);
    env_write(&e, d, "a", mib);
    mib[PM_MEMORY_DRAFT_MAX - 10] = '\0';
    env_write(&e, d, "b", mib);
    assert_int_equal(create(d, "c"), 0);
    assert_int_equal(pm_file_open(e.c, attr.node, O_WRONLY, &f), 0);
    assert_int_equal(pm_file_write(f, mib, 10, 0), 10);
    assert_int_equal(pm_file_write(f, mib, 1, 10), -EDQUOT);
    assert_int_equal(pm_file_flush(f), 0);
    pm_file_release(f);
    assert_int_equal(create(d, "d"), 0); /* as long as it is empty */
    assert_non_null(strstr(error_of(d), "c was refused: nothing is larger than 2 MiB"));
    free(mib);
}

/* A link's session is another's that was not used: it is not committed, and does not stay behind. */
static void a_link_that_is_alone_again_is_a_link(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    pm_memory_block(e.b, PM_MEM_BEGIN, true);
    env_write(&e, d, "a", "1");
    until_sessions(1);
    env_write(&e, d, "x.url", "https://example.org/scan.e57");
    assert_int_equal(pm_change_unlink(e.c, d, "a"), 0);
    pm_memory_block(e.b, PM_MEM_BEGIN, false);
    publish(d);
    projects_are("d  https://example.org/scan.e57:\n");
    until_sessions(0);
}

static void litter_made_while_it_is_being_published_delays_nothing(void **state)
{
    pm_node         d = env_mkdir(&e, e.root, "d");
    pm_node         litter = env_write(&e, d, ".DS_Store", "x");
    struct pm_file *f;

    (void)state;
    write_sent(d, "a", "1");
    pm_memory_fault(e.b, PM_MEM_COMMIT, 1, -EAGAIN, true);
    env_sql(&e, "UPDATE j.entry SET not_before=0 WHERE op=5");
    pm_queue_kick(e.c);
    until_state(d, "waiting: ");
    assert_int_equal(pm_file_open(e.c, litter, O_WRONLY, &f), 0);
    assert_int_equal(pm_file_write(f, "y", 1, 0), 1);
    assert_int_equal(pm_file_flush(f), 0);
    pm_file_release(f);
    until_state(d, "synced");
    projects_are("d  : a=1\n");
}

static bool commit_called(void *arg)
{
    (void)arg;
    return pm_memory_calls(e.b, PM_MEM_COMMIT) > 0;
}

static void a_project_that_the_service_cannot_make_is_tried_once_more(void **state)
{
    PM_AUTO(pm_buf) struct pm_buf why = {0};
    pm_node                       d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "1");
    pm_memory_fault(e.b, PM_MEM_COMMIT, 1, -ENODATA, false);
    publish(d);
    d = env_mkdir(&e, e.root, "again");
    write_sent(d, "a", "1");
    pm_memory_fault(e.b, PM_MEM_COMMIT, 1, -ENODATA, false);
    assert_int_equal(pm_publish(e.c, d, &why), 0);
    until_state(d, "waiting: ");
    pm_memory_fault(e.b, PM_MEM_COMMIT, 1, -ENODATA, false);
    until_state(d, "failed: ");
    projects_are("d  : a=1\n");
}

static void nothing_changes_while_it_is_being_published(void **state)
{
    PM_AUTO(pm_buf) struct pm_buf why = {0};
    pm_node                       d = env_mkdir(&e, e.root, "d");
    pm_node                       a = write_sent(d, "a", "1");
    struct pm_file               *f;

    (void)state;
    pm_memory_block(e.b, PM_MEM_COMMIT, true);
    assert_int_equal(pm_publish(e.c, d, &why), 0);
    assert_true(env_until(commit_called, NULL));
    assert_string_equal(state_of(d), "publishing");
    assert_int_equal(create(d, "b"), -EBUSY);
    assert_int_equal(pm_change_unlink(e.c, d, "a"), -EBUSY);
    assert_int_equal(rename_to(d, "a", d, "b"), -EBUSY);
    assert_int_equal(rename_to(e.root, "d", e.root, "x"), -EBUSY);
    assert_int_equal(pm_file_open(e.c, a, O_WRONLY, &f), -EBUSY);
    pm_memory_block(e.b, PM_MEM_COMMIT, false);
    until_state(d, "synced");
    projects_are("d  : a=1\n");
}

static void options_are_not_changed_in_vain_while_it_is_being_published(void **state)
{
    PM_AUTO(pm_buf) struct pm_buf why = {0};
    pm_node                       d = env_mkdir(&e, e.root, "d");
    struct pm_file               *before, *f;
    pm_node                       options;

    (void)state;
    write_sent(d, "a", "1");
    options = env_write(&e, d, ".project.json", "{}");
    assert_int_equal(pm_file_open(e.c, options, O_WRONLY, &before), 0);
    pm_memory_block(e.b, PM_MEM_COMMIT, true);
    assert_int_equal(pm_publish(e.c, d, &why), 0);
    assert_true(env_until(commit_called, NULL));
    assert_int_equal(pm_file_open(e.c, options, O_WRONLY | O_TRUNC, &f), -EBUSY);
    assert_int_equal(pm_file_write(before, "{\"x\": 1}", 8, 0), -EBUSY);
    pm_file_release(before);
    pm_memory_block(e.b, PM_MEM_COMMIT, false);
    until_state(d, "synced");
    projects_are("d {} : a=1\n");
}

static void publishing_waits_for_options_that_are_being_written(void **state)
{
    PM_AUTO(pm_buf) struct pm_buf why = {0};
    pm_node                       d = env_mkdir(&e, e.root, "d");
    struct pm_file               *f;

    (void)state;
    write_sent(d, "a", "1");
    assert_int_equal(pm_file_open(e.c, env_write(&e, d, ".project.json", "{}"), O_WRONLY | O_TRUNC, &f), 0);
    assert_int_equal(pm_publish(e.c, d, &why), 0);
    until_state(d, "waiting: .project.json: it is open");
    assert_int_equal(pm_file_write(f, "{\"x\": 1}", 8, 0), 8);
    assert_int_equal(pm_file_flush(f), 0);
    pm_file_release(f);
    until_state(d, "synced");
    projects_are("d {\"x\": 1} : a=1\n");
}

/* Whoever made it looked at the folder before. */
static void nothing_comes_to_a_folder_once_its_project_is_asked_for(void **state)
{
    pm_node          folder = env_mkdir(&e, e.root, "Scan");
    pm_node          file = write_sent(folder, "a.jpg", "1");
    struct pm_jentry publish;
    struct pm_jentry put;

    (void)state;
    pm_db_begin(e.c->db);
    assert_int_equal(pm_journal_of(e.c->db, folder, PM_OP_PUBLISH, &publish), 0);
    assert_int_equal(pm_journal_of(e.c->db, file, PM_OP_PUT, &put), 0);
    assert_int_equal(pm_draft_added(e.c, &put), 0);
    pm_journal_set_step(e.c->db, publish.id, "asked ");
    assert_int_equal(pm_draft_added(e.c, &put), -EBUSY);
    pm_db_end(e.c->db, -ECANCELED);
}

static void options_that_the_service_refuses_are_told_and_can_be_mended(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "1");
    env_write(&e, d, ".project.json", "{\"refuse\": 1}");
    assert_int_equal(publish_fails(d, "these options are refused"), -EIO);
    assert_string_equal(state_of(d), "failed: these options are refused");
    env_write(&e, d, ".project.json", "{}");
    publish(d);
    projects_are("d {} : a=1\n");
}

/* --- restarts */

/* A remount; the service knows all that it did. What is queued goes on afterwards. */
static void restart(void)
{
    struct pm_backend *service;

    assert_int_equal(pm_backend_open(&e.accounts[0], NULL, NULL, &service), 0);
    assert_int_equal(pm_queue_pause(e.c, true), 0);
    pm_cache_stop(e.c);
    pm_memory_move(e.b, service);
    env_stop(&e);
    env_open(&e);
    pm_memory_move(service, e.b);
    pm_backend_close(service);
    assert_int_equal(pm_queue_pause(e.c, false), 0);
}

static void what_a_session_has_is_not_sent_again_after_a_restart(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "1");
    restart();
    write_sent(d, "b", "2");
    publish(d);
    projects_are("d  : a=1 b=2\n");
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_SESSION), 0);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_BEGIN), 1);
}

static void a_commit_that_was_answered_after_the_drive_ended_is_found(void **state)
{
    PM_AUTO(pm_buf) struct pm_buf why = {0};
    pm_node                       d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "1");
    pm_memory_fault(e.b, PM_MEM_COMMIT, 1, -EAGAIN, true);
    assert_int_equal(pm_publish(e.c, d, &why), 0);
    until_state(d, "waiting: ");
    restart();
    until_state(d, "synced");
    projects_are("d  : a=1\n");
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_COMMIT), 0);
}

static void a_replaced_session_is_dropped_after_a_restart(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "1");
    pm_queue_pause(e.c, true);
    assert_int_equal(pm_change_unlink(e.c, d, "a"), 0);
    restart();
    until_sessions(0);
}

static void a_draft_goes_on_after_a_restart(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");
    pm_node a = write_sent(d, "a", "1");

    (void)state;
    env_stop(&e);
    env_open(&e);
    assert_int_equal(env_find(&e, "d"), d);
    assert_string_equal(state_of(a), "sent");
    env_write(&e, d, "b", "2");
    publish(d);
    projects_are("d  : a=1 b=2\n");
}

static void a_published_folder_is_there_after_a_restart(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");
    pm_node a = write_sent(d, "a", "content");

    (void)state;
    publish(d);
    env_stop(&e);
    env_open(&e);
    assert_string_equal(env_names(&e, e.root), "d");
    assert_string_equal(env_names(&e, d), "a");
    assert_string_equal(env_text(&e, a), "content");
    assert_string_equal(state_of(a), "synced");
    assert_int_equal(create(d, "b"), -EROFS);
}

static void what_a_crash_left_of_a_commit_is_asked_for_first(void **state)
{
    PM_AUTO(pm_buf) struct pm_buf why = {0};
    struct env                    crashed;
    pm_node                       d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "1");
    pm_memory_block(e.b, PM_MEM_COMMIT, true);
    assert_int_equal(pm_publish(e.c, d, &why), 0);
    assert_true(env_until(commit_called, NULL));
    env_copy_folder(&e, &crashed);
    crashed.accounts[0] = e.accounts[0];
    pm_memory_block(e.b, PM_MEM_COMMIT, false);
    env_close(&e);
    e = crashed;
    env_open(&e);
    until_state(d, "synced"); /* the service knows nothing: found out, and then sent anew */
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_FIND), 1);
    projects_are("d  : a=1\n");
}

static void the_last_copy_of_what_was_published_is_never_evicted(void **state)
{
    pm_node  d = env_mkdir(&e, e.root, "d");
    pm_node  a = write_sent(d, "a", "content");
    struct pm_store_usage usage;

    (void)state;
    publish(d);
    env_stop(&e);
    e.conf.max_size = 1;
    env_open(&e);
    assert_false(pm_store_reserve(e.c->store, 4096));
    pm_store_usage(e.c->store, &usage);
    assert_int_equal(usage.evictable, 0);
    assert_true(usage.last_copy > 0);
    assert_string_equal(env_text(&e, a), "content");
}

static void lose_index(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -f %s/index.db*", e.dir);
    assert_int_equal(system(command), 0);
}

static void what_was_published_is_there_without_the_index(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");
    pm_node a = write_sent(d, "a", "content");

    (void)state;
    publish(d);
    env_stop(&e);
    lose_index();
    env_open(&e);
    assert_int_equal(env_find(&e, "d"), d);
    assert_int_equal(env_find(&e, "d/a"), a);
    assert_string_equal(env_text(&e, a), "content");
    assert_int_equal(create(d, "b"), -EROFS);
}

static void a_draft_is_there_without_the_index(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "content");
    env_stop(&e);
    lose_index();
    env_open(&e);
    assert_string_equal(env_text(&e, env_find(&e, "d/a")), "content");
    assert_int_equal(rename_to(e.root, "d", e.root, "z"), 0);
    publish(d);
    projects_are("z  : a=content\n");
}

static void what_was_published_is_copied_to_another_draft(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");
    pm_node x = env_mkdir(&e, e.root, "x");
    pm_node a = write_sent(d, "a", "content");

    (void)state;
    publish(d);
    until_state(env_copy(&e, a, x, "b"), "sent");
    publish(x);
    projects_are("d  : a=content\nx  : b=content\n");
}

/* --- by itself */

static void start_idle(int64_t ms)
{
    env_stop(&e);
    e.accounts[0].publish_idle_ms = ms;
    env_open(&e);
}

static void an_idle_draft_is_published_by_itself(void **state)
{
    pm_node d;

    (void)state;
    start_idle(300);
    d = env_mkdir(&e, e.root, "d");
    write_sent(d, "a", "1");
    until_state(d, "synced");
    projects_are("d  : a=1\n");
}

/* What holds it up, and the same without that. */
static void waits_for(pm_node d, const char *why)
{
    until_state(d, why);
    usleep(1500 * 1000); /* the housekeeping looks every second */
    until_state(d, why);
    projects_are("");
}

static void an_idle_draft_waits_for_an_open_file(void **state)
{
    pm_node         d;
    struct pm_file *f;

    (void)state;
    start_idle(100);
    d = env_mkdir(&e, e.root, "d");
    assert_int_equal(create(d, "scan.e57"), 0);
    assert_int_equal(pm_file_open(e.c, attr.node, O_RDONLY, &f), 0);
    waits_for(d, "waiting: scan.e57 is open");
    pm_file_release(f);
    until_state(d, "synced");
}

static void an_idle_draft_waits_while_there_is_a_hold(void **state)
{
    pm_node d;

    (void)state;
    start_idle(100);
    d = env_mkdir(&e, e.root, "d");
    env_write(&e, d, ".hold", "");
    env_write(&e, d, "a", "1");
    waits_for(d, "waiting: .hold is in it");
    assert_int_equal(publish_fails(d, ".hold"), -EBUSY);
    assert_int_equal(pm_change_unlink(e.c, d, ".hold"), 0);
    until_state(d, "synced");
    projects_are("d  : a=1\n");
}

static void an_idle_draft_waits_for_a_temporary_name(void **state)
{
    pm_node d;

    (void)state;
    start_idle(100);
    d = env_mkdir(&e, e.root, "d");
    env_write(&e, d, "a.part", "1");
    waits_for(d, "waiting: a.part has a temporary name");
    assert_int_equal(rename_to(d, "a.part", d, "a"), 0);
    until_state(d, "synced");
    projects_are("d  : a=1\n");
}

static void an_idle_draft_where_something_was_refused_waits_for_the_user(void **state)
{
    pm_node d;

    (void)state;
    start_idle(100);
    d = env_mkdir(&e, e.root, "d");
    env_write(&e, d, "a", "1");
    assert_int_equal(create(d, "b.exe"), -EPERM);
    waits_for(d, "waiting: b.exe was refused: no programs are taken");
    publish(d);
    projects_are("d  : a=1\n");
}

/* The journal may be what has no room, just when something is refused. */
static void what_was_refused_is_not_forgotten_when_it_cannot_be_written_down(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "1");
    env_sql(&e, "ALTER TABLE j.draft RENAME COLUMN refused TO unwritable");
    assert_int_equal(create(d, "x.exe"), -EPERM);
    env_sql(&e, "ALTER TABLE j.draft RENAME COLUMN unwritable TO refused");
    until_state(d, "waiting: x.exe was refused");
}

static void an_idle_draft_waits_for_a_failed_file(void **state)
{
    pm_node  d, a;
    uint64_t found;

    (void)state;
    start_idle(100);
    d = env_mkdir(&e, e.root, "d");
    pm_memory_fault(e.b, PM_MEM_BEGIN, 1, -EINVAL, false);
    a = env_write(&e, d, "a", "1");
    until_state(a, "failed");
    waits_for(d, "waiting: a failed");
    assert_int_equal(pm_work_retry(e.c, a, &found), 0);
    until_state(d, "synced");
    projects_are("d  : a=1\n");
}

static void every_change_starts_the_time_again(void **state)
{
    pm_node d;

    (void)state;
    start_idle(3600 * 1000);
    d = env_mkdir(&e, e.root, "d");
    write_sent(d, "a", "1");
    until_state(d, "draft: publishes in 60 min");
    env_sql(&e, "UPDATE j.draft SET changed=changed-3000000");
    until_state(d, "draft: publishes in 10 min");
    write_sent(d, "b", "2");
    until_state(d, "draft: publishes in 60 min");
    env_sql(&e, "UPDATE j.draft SET changed=changed-3600000");
    until_state(d, "synced");
    projects_are("d  : a=1 b=2\n");
}

static void a_remount_starts_the_time_again(void **state)
{
    pm_node d;

    (void)state;
    start_idle(3600 * 1000);
    d = env_mkdir(&e, e.root, "d");
    write_sent(d, "a", "1");
    env_sql(&e, "UPDATE j.draft SET changed=changed-3000000");
    env_stop(&e);
    env_open(&e);
    until_state(d, "draft: publishes in 60 min");
}

static void an_empty_draft_is_not_published(void **state)
{
    pm_node d;

    (void)state;
    start_idle(50);
    d = env_mkdir(&e, e.root, "d");
    waits_for(d, "draft: empty");
    assert_int_equal(publish_fails(d, "there is nothing in it"), -ENODATA);
}

/* --- links */

static void a_lone_link_file_is_a_download_link(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "scan.url", "[InternetShortcut]\r\nURL=https://example.org/scan.e57\r\n");
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_SESSION), 0);
    publish(d);
    projects_are("d  https://example.org/scan.e57:\n");
}

static void a_link_file_whose_address_is_no_text_is_a_file(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "scan.url", "URL=https://example.org/\xe4.e57");
    publish(d);
    projects_are("d  : scan.url=URL=https://example.org/\xe4.e57\n");
}

static void a_link_file_with_others_is_a_file(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "scan.url", "https://example.org/scan.e57");
    write_sent(d, "b", "2");
    until_state(env_find(&e, "d/scan.url"), "sent");
    publish(d);
    projects_are("d  : b=2 scan.url=https://example.org/scan.e57\n");
}

/* --- lists */

static void a_root_that_is_not_listed_keeps_what_is_known(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "1");
    publish(d);
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(env_list(&e, d), 0);
    assert_string_equal(env_names(&e, e.root), "d");
    assert_string_equal(env_names(&e, d), "a");
}

static void a_published_folder_keeps_its_name_where_the_root_is_listed(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "My scan");

    (void)state;
    pm_memory_draft_lists(e.b);
    write_sent(d, "a", "1");
    publish(d);
    assert_int_equal(env_list(&e, e.root), 0);
    assert_string_equal(env_names(&e, e.root), "My scan");
    assert_string_equal(env_names(&e, d), "a");
}

/* --- the document */

static pm_node document_of(pm_node folder)
{
    struct env_waiter w;
    int               err;

    do {
        env_waiter_init(&w);
        err = pm_tree_lookup(e.c, folder, ".project.json", &w.w, &attr);
        if (err == -EINPROGRESS)
            assert_true(env_waiter_wait(&w, 30000));
    } while (err == -EINPROGRESS);
    assert_int_equal(err, 0);
    return attr.node;
}

static void what_the_user_wants_goes_with_the_project(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    env_write(&e, d, ".project.json", "{\"privacy_mode\": 1}");
    write_sent(d, "a", "1");
    assert_string_equal(env_names(&e, d), "a"); /* found by name, never listed */
    assert_string_equal(env_text(&e, document_of(d)), "{\"privacy_mode\": 1}");
    publish(d);
    projects_are("d {\"privacy_mode\": 1} : a=1\n");
}

static void broken_options_are_told_at_close(void **state)
{
    pm_node         d = env_mkdir(&e, e.root, "d");
    struct pm_file *f;

    (void)state;
    write_sent(d, "a", "1");
    assert_int_equal(create(d, ".project.json"), 0);
    assert_int_equal(pm_file_open(e.c, attr.node, O_WRONLY, &f), 0);
    assert_int_equal(pm_file_write(f, "{\n\"a\": 1,\n]", 11, 0), 11);
    assert_int_equal(pm_file_flush(f), -EINVAL);
    pm_file_release(f);
    assert_string_equal(error_of(attr.node), "line 3 is no JSON");
    assert_int_equal(publish_fails(d, "line 3 is no JSON"), -EIO);
    env_write(&e, d, ".project.json", "{}");
    assert_string_equal(error_of(document_of(d)), "");
    publish(d);
    projects_are("d {} : a=1\n");
}

static void a_list_is_no_object(void **state)
{
    char why[100] = "";

    (void)state;
    assert_int_equal(pm_document_check("[1]", 3, why, sizeof(why)), -EINVAL);
    assert_non_null(strstr(why, "object"));
    assert_int_equal(pm_document_check("{} x", 4, why, sizeof(why)), -EINVAL);
    assert_int_equal(pm_document_check("{\"a\": []}", 9, why, sizeof(why)), 0);
}

struct wanted {
    pm_node     node;
    const char *text;
};

static bool has_text(void *arg)
{
    struct wanted *x = arg;

    return strcmp(env_text(&e, x->node), x->text) == 0;
}

static void until_text(pm_node node, const char *text)
{
    struct wanted x = {node, text};

    if (!env_until(has_text, &x))
        fail_msg("it is \"%s\"", env_text(&e, node));
}

static void the_record_of_a_project_is_its_document_until_it_is_ready(void **state)
{
    pm_node         d = env_mkdir(&e, e.root, "d");
    struct pm_file *f;
    unsigned        asked;

    (void)state;
    write_sent(d, "a", "1");
    env_write(&e, d, ".project.json", "{\"mine\": true}");
    pm_memory_progress(e.b, 40);
    publish(d);
    until_text(document_of(d), "{\"id\": \"p2\", \"percent\": 40}\n");
    assert_string_equal(env_names(&e, d), "a");
    assert_int_equal(pm_file_open(e.c, attr.node, O_WRONLY, &f), -EROFS);
    pm_memory_progress(e.b, 100);
    env_sql(&e, "UPDATE record SET asked=asked-60000");
    until_text(document_of(d), "{\"id\": \"p2\", \"percent\": 100}\n");
    asked = pm_memory_calls(e.b, PM_MEM_RECORD);
    env_sql(&e, "UPDATE record SET asked=asked-60000"); /* ready: asked for no more */
    usleep(1500 * 1000);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_RECORD), asked);
}

static void an_old_record_is_got_anew_when_it_is_opened(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "1");
    publish(d);
    until_text(document_of(d), "{\"id\": \"p2\", \"percent\": 100}\n");
    pm_memory_progress(e.b, 7);
    assert_string_equal(env_text(&e, document_of(d)), "{\"id\": \"p2\", \"percent\": 100}\n");
    env_sql(&e, "UPDATE record SET asked=asked-3600000");
    until_text(document_of(d), "{\"id\": \"p2\", \"percent\": 7}\n");
}

static void a_record_that_was_lost_here_is_got_anew(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "1");
    publish(d);
    until_text(document_of(d), "{\"id\": \"p2\", \"percent\": 100}\n");
    env_sql(&e, "UPDATE content SET present=NULL WHERE node IN (SELECT node FROM record)");
    until_text(document_of(d), "{\"id\": \"p2\", \"percent\": 100}\n");
}

static void a_project_of_others_has_its_record_too(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "1");
    publish(d);
    until_text(document_of(d), "{\"id\": \"p2\", \"percent\": 100}\n");
    env_stop(&e);
    env_open(&e);
    env_sql(&e, "UPDATE node SET own=0 WHERE rid='p2'"); /* as if it was not made here */
    env_sql(&e, "UPDATE node SET parent=NULL, name=NULL WHERE name='.project.json'");
    env_sql(&e, "DELETE FROM record");
    /* the memory backend forgot the project, but answers for any */
    assert_string_equal(env_text(&e, document_of(d)), "{\"id\": \"p2\", \"percent\": 100}\n");
}

static void a_draft_with_nothing_but_options_is_empty(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    env_write(&e, d, ".project.json", "{}");
    assert_int_equal(publish_fails(d, "there is nothing in it"), -ENODATA);
    assert_int_equal(pm_change_rmdir(e.c, e.root, "d", NULL), 0);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry"), 0);
}

/* --- projects that no list tells */

static int look_up(const char *name)
{
    struct env_waiter w;
    int               err;

    do {
        env_waiter_init(&w);
        err = pm_tree_lookup(e.c, e.root, name, &w.w, &attr);
        if (err == -EINPROGRESS) {
            assert_true(env_waiter_wait(&w, 30000));
            err = w.err ? w.err : err;
        }
    } while (err == -EINPROGRESS);
    return err;
}

static void a_project_is_found_by_its_name_where_none_is_listed(void **state)
{
    (void)state;
    assert_int_equal(pm_memory_project(e.b, "b6PUqDxh"), 0);
    assert_int_equal(look_up("b6PUqDxh"), 0);
    assert_int_equal(attr.kind, PM_FOLDER);
    assert_int_equal(create(attr.node, "new"), -EROFS);
    assert_int_equal(env_list(&e, attr.node), 0);
    assert_int_equal(pm_change_rmdir(e.c, e.root, "b6PUqDxh", NULL), -EPERM);
    assert_string_equal(env_text(&e, document_of(attr.node)), "{\"id\": \"p1\", \"percent\": 100}\n");
    assert_int_equal(look_up("b6PUqDxh"), 0);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_STAT), 1);
}

static void what_is_not_found_is_asked_for_once_and_only_if_it_can_be_a_name_there(void **state)
{
    (void)state;
    assert_int_equal(look_up("nothing"), -ENOENT);
    assert_int_equal(look_up("nothing"), -ENOENT);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_STAT), 1);
    assert_int_equal(look_up("New folder"), -ENOENT);
    assert_int_equal(look_up(".hidden"), -ENOENT);
    assert_int_equal(look_up("autorun.inf"), -ENOENT);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_STAT), 1);
    for (int i = 0; i < 30; i++) {
        char name[16];

        snprintf(name, sizeof(name), "n%d", i);
        assert_int_equal(look_up(name), -ENOENT);
    }
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_STAT), 10);
}

static void who_looks_for_a_name_waits_a_moment_at_most(void **state)
{
    (void)state;
    assert_int_equal(pm_memory_project(e.b, "slow"), 0);
    pm_memory_block(e.b, PM_MEM_STAT, true);
    assert_int_equal(look_up("slow"), -ENOENT);
    pm_memory_block(e.b, PM_MEM_STAT, false); /* that is not kept */
    while (look_up("slow"))
        usleep(10000);
}

static void what_fails_is_not_kept_as_absent(void **state)
{
    (void)state;
    assert_int_equal(pm_memory_project(e.b, "p"), 0);
    pm_memory_fault(e.b, PM_MEM_STAT, 1, -EIO, false);
    assert_int_equal(look_up("p"), -ENOENT);
    assert_int_equal(look_up("p"), 0);
}

static void no_name_is_asked_for_where_projects_are_listed(void **state)
{
    (void)state;
    pm_memory_draft_lists(e.b);
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(look_up("nothing"), -ENOENT);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_STAT), 0);
}

/* --- forgetting */

static void a_project_is_forgotten_when_nothing_of_it_is_kept_here(void **state)
{
    PM_AUTO(pm_buf) struct pm_buf why = {0};
    pm_node                       d = env_mkdir(&e, e.root, "d");
    uint64_t                      dropped;
    int                           err;

    (void)state;
    pm_memory_draft_lists(e.b);
    write_sent(d, "a", "1");
    assert_int_equal(pm_publish_forget(e.c, d, &why), -EINVAL);
    publish(d);
    assert_int_equal(pm_publish_forget(e.c, d, &why), -EBUSY);
    assert_non_null(strstr(why.ptr, "evict --last-copy"));
    while ((err = pm_work_evict(e.c, d, false, NULL, NULL, &dropped)) == -EBUSY)
        usleep(1000); /* it was published, and its record got, a moment ago */
    assert_int_equal(err, -EPERM);
    assert_int_equal(pm_work_evict(e.c, d, true, NULL, NULL, &dropped), 0);
    assert_int_equal(pm_publish_forget(e.c, d, &why), 0);
    assert_string_equal(env_names(&e, e.root), "");
    assert_int_equal(env_list(&e, e.root), 0);
    assert_string_equal(env_names(&e, e.root), "");
    env_stop(&e);
    env_open(&e);
    assert_string_equal(env_names(&e, e.root), "");
}

static void what_may_have_become_a_project_can_be_given_up_as_that(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "1");
    pm_memory_fault(e.b, PM_MEM_COMMIT, 1, -EAGAIN, false);
    pm_memory_fault(e.b, PM_MEM_FIND, 1, -EBADMSG, false);
    assert_int_equal(publish_fails(d, "failed"), -EIO);
    assert_int_equal(create(d, "b"), -EBUSY);
    discard(d);
    assert_int_equal(create(d, "b"), 0);
    publish(d);
    projects_are("d  : a=1 b=\n");
}

/* What becomes of a project when the session is dropped that it was made of is said nowhere. */
static void a_session_that_may_be_a_project_is_neither_dropped_nor_used_again(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    write_sent(d, "a", "1");
    pm_memory_fault(e.b, PM_MEM_COMMIT, 1, -EAGAIN, false);
    pm_memory_fault(e.b, PM_MEM_FIND, 1, -EBADMSG, false);
    assert_int_equal(publish_fails(d, "failed"), -EIO);
    discard(d);
    publish(d);
    projects_are("d  : a=1\n");
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_SESSION), 2);
    d = env_mkdir(&e, e.root, "other");
    write_sent(d, "a", "1");
    assert_int_equal(pm_change_unlink(e.c, d, "a"), 0);
    until_sessions(1); /* that of the other draft went, not the one that nobody knows of */
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_DROP), 1);
}

static void a_slow_upload_is_told_before_the_session_ends(void **state)
{
    pm_node d = env_mkdir(&e, e.root, "d");

    (void)state;
    pm_memory_session_lasts(e.b, 3600 * 1000);
    write_sent(d, "a", "1");
    pm_queue_pause(e.c, true);
    env_write(&e, d, "b", "1234567890");
    env_sql(&e, "UPDATE j.draft SET opened=opened-1000*600");
    until_state(d, "waiting: too slow: the rest takes 10");
    env_sql(&e, "UPDATE j.draft SET opened=opened+1000*300");
    until_state(d, "draft: 1 of 2 files sent");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    static const struct CMUnitTest tests[] = {
        T(a_folder_of_files_becomes_one_project_with_exactly_these),
        T(a_new_folder_asks_the_service_for_nothing),
        T(what_a_session_has_is_pending_until_it_is_published),
        T(sync_tells_that_a_draft_waits),
        T(files_go_side_by_side_into_the_one_session),
        T(empty_files_are_sent_too),
        T(litter_is_never_sent),
        T(names_are_sent_as_the_service_takes_them_and_shown_as_they_are),
        T(nothing_but_folders_is_made_in_the_root),
        T(what_the_service_refuses_is_refused_at_once),
        T(a_published_folder_is_read_only),
        T(publishing_waits_for_who_may_write_though_nothing_was_written),
        T(what_is_written_after_it_was_sent_goes_into_a_new_session),
        T(what_is_removed_after_it_was_sent_is_in_no_project),
        T(what_is_renamed_after_it_was_sent_is_published_under_its_new_name),
        T(a_file_renamed_over_another_takes_its_place),
        T(a_file_moved_to_another_draft_is_in_that_project_only),
        T(a_file_removed_and_made_again_is_the_new_one),
        T(a_file_is_removed_at_once_while_it_is_sent),
        T(a_file_is_renamed_while_it_is_sent),
        T(a_draft_is_renamed_while_its_files_are_sent),
        T(a_write_while_it_is_sent_ends_that),
        T(publishing_waits_for_what_is_being_written_and_says_so),
        T(a_hold_that_is_made_after_publishing_was_asked_for_holds_it),
        T(a_draft_that_is_empty_when_it_is_to_be_published_keeps_nobody_waiting),
        T(an_empty_draft_is_removed_with_its_session),
        T(a_session_that_the_service_ended_is_replaced),
        T(a_session_that_ended_before_publishing_is_sent_again),
        T(sessions_that_end_again_and_again_are_no_endless_restart),
        T(what_the_session_lost_is_sent_again_before_publishing),
        T(lost_answers_make_no_second_session_file_or_project),
        T(a_lost_answer_to_the_commit_never_makes_two_projects),
        T(a_commit_that_did_not_arrive_is_repeated),
        T(no_unclear_answer_to_the_commit_makes_two_projects),
        T(a_project_of_the_same_title_is_not_taken_for_a_lost_one),
        T(names_that_differ_in_case_only_are_both_in_the_project),
        T(a_session_with_another_content_is_replaced_and_dropped),
        T(a_session_with_strange_files_is_no_endless_restart),
        T(a_draft_larger_than_the_service_takes_is_refused_at_once),
        T(a_link_that_is_alone_again_is_a_link),
        T(litter_made_while_it_is_being_published_delays_nothing),
        T(a_project_that_the_service_cannot_make_is_tried_once_more),
        T(nothing_changes_while_it_is_being_published),
        T(options_are_not_changed_in_vain_while_it_is_being_published),
        T(publishing_waits_for_options_that_are_being_written),
        T(nothing_comes_to_a_folder_once_its_project_is_asked_for),
        T(options_that_the_service_refuses_are_told_and_can_be_mended),
        T(what_a_session_has_is_not_sent_again_after_a_restart),
        T(a_commit_that_was_answered_after_the_drive_ended_is_found),
        T(a_replaced_session_is_dropped_after_a_restart),
        T(a_draft_goes_on_after_a_restart),
        T(a_published_folder_is_there_after_a_restart),
        T(what_a_crash_left_of_a_commit_is_asked_for_first),
        T(the_last_copy_of_what_was_published_is_never_evicted),
        T(what_was_published_is_there_without_the_index),
        T(a_draft_is_there_without_the_index),
        T(what_was_published_is_copied_to_another_draft),
        T(an_idle_draft_is_published_by_itself),
        T(an_idle_draft_waits_for_an_open_file),
        T(an_idle_draft_waits_while_there_is_a_hold),
        T(an_idle_draft_waits_for_a_temporary_name),
        T(an_idle_draft_where_something_was_refused_waits_for_the_user),
        T(what_was_refused_is_not_forgotten_when_it_cannot_be_written_down),
        T(an_idle_draft_waits_for_a_failed_file),
        T(every_change_starts_the_time_again),
        T(a_remount_starts_the_time_again),
        T(an_empty_draft_is_not_published),
        T(a_lone_link_file_is_a_download_link),
        T(a_link_file_whose_address_is_no_text_is_a_file),
        T(a_link_file_with_others_is_a_file),
        T(a_root_that_is_not_listed_keeps_what_is_known),
        T(a_published_folder_keeps_its_name_where_the_root_is_listed),
        T(what_the_user_wants_goes_with_the_project),
        T(broken_options_are_told_at_close),
        T(a_list_is_no_object),
        T(the_record_of_a_project_is_its_document_until_it_is_ready),
        T(an_old_record_is_got_anew_when_it_is_opened),
        T(a_record_that_was_lost_here_is_got_anew),
        T(a_project_of_others_has_its_record_too),
        T(a_draft_with_nothing_but_options_is_empty),
        T(a_project_is_found_by_its_name_where_none_is_listed),
        T(what_is_not_found_is_asked_for_once_and_only_if_it_can_be_a_name_there),
        T(who_looks_for_a_name_waits_a_moment_at_most),
        T(what_fails_is_not_kept_as_absent),
        T(no_name_is_asked_for_where_projects_are_listed),
        T(a_project_is_forgotten_when_nothing_of_it_is_kept_here),
        T(what_may_have_become_a_project_can_be_given_up_as_that),
        T(a_session_that_may_be_a_project_is_neither_dropped_nor_used_again),
        T(a_slow_upload_is_told_before_the_session_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
