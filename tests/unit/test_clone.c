/* Copies inside the drive: made by the service where they can be, and what they say is always true. */
#include "tests/unit/cache_env.h"
#include "cache/work.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct env e;
static pm_node    f; /* "f", which the service has: "old content" */

#define TEXT "old content"

static int setup(void **state)
{
    (void)state;
    env_start(&e);
    env_serve(&e, "f", TEXT);
    assert_int_equal(env_list(&e, e.root), 0);
    f = env_find(&e, "f");
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

static struct pm_file *open_file(pm_node node, int flags)
{
    struct pm_file *file;

    assert_int_equal(pm_file_open(e.c, node, flags, &file), 0);
    return file;
}

static pm_node create(const char *name)
{
    struct pm_attr attr;

    assert_int_equal(pm_change_create(e.c, e.root, name, NULL, &attr), 0);
    return attr.node;
}

static void write_text(struct pm_file *file, const char *text, uint64_t off)
{
    assert_int_equal(pm_file_write(file, text, strlen(text), off), strlen(text));
}

/* "g" is a copy of "f" on the service, and nothing was moved. */
static void assert_copied_there(void)
{
    env_sync(&e);
    assert_string_equal(env_served(&e, "g"), TEXT);
    assert_string_equal(env_served(&e, "f"), TEXT);
    assert_int_equal(calls(PM_MEM_COPY), 1);
    assert_int_equal(calls(PM_MEM_BEGIN), 0);
    assert_int_equal(pm_memory_count(e.b), 2);
}

static void a_whole_copy_moves_no_content(void **state)
{
    pm_node g;

    (void)state;
    g = env_copy(&e, f, e.root, "g");
    env_sync(&e);
    assert_int_equal(calls(PM_MEM_FETCH), 0);
    assert_copied_there();
    assert_string_equal(env_text(&e, g), TEXT);
    assert_string_equal(env_text(&e, f), TEXT);
    assert_int_equal(env_find(&e, "g"), g);
}

static void a_copy_is_read_before_it_is_sent(void **state)
{
    pm_node        g;
    struct pm_attr attr;

    (void)state;
    g = env_copy(&e, f, e.root, "g");
    assert_int_equal(pm_tree_getattr(e.c, g, &attr), 0);
    assert_int_equal(attr.size, strlen(TEXT));
    assert_string_equal(env_text(&e, g), TEXT);
    assert_copied_there();
}

static void a_copy_that_is_written_to_sends_its_own_content(void **state)
{
    struct pm_file *file;
    pm_node         g;

    (void)state;
    g = env_copy(&e, f, e.root, "g");
    file = open_file(g, O_WRONLY);
    write_text(file, "OLD", 0);
    pm_file_release(file);
    assert_string_equal(env_text(&e, g), "OLD content");
    env_sync(&e);
    assert_string_equal(env_served(&e, "g"), "OLD content");
    assert_string_equal(env_served(&e, "f"), TEXT);
    assert_int_equal(calls(PM_MEM_COPY), 0);
}

static void a_copy_written_to_in_the_same_breath_sends_its_own_content(void **state)
{
    pm_node         g = create("g");
    struct pm_file *in = open_file(f, O_RDONLY);
    struct pm_file *out = open_file(g, O_WRONLY);

    (void)state;
    assert_int_equal(env_copy_range(in, out, 0, 100), strlen(TEXT));
    write_text(out, "!", strlen(TEXT));
    pm_file_release(in);
    pm_file_release(out);
    env_sync(&e);
    assert_string_equal(env_served(&e, "g"), TEXT "!");
    assert_int_equal(calls(PM_MEM_COPY), 0);
}

static void a_part_is_no_copy_of_the_whole(void **state)
{
    pm_node         g = create("g");
    struct pm_file *in = open_file(f, O_RDONLY);
    struct pm_file *out = open_file(g, O_WRONLY);

    (void)state;
    assert_int_equal(env_copy_range(in, out, 0, 4), 4);
    pm_file_release(in);
    pm_file_release(out);
    assert_string_equal(env_text(&e, g), "old ");
    env_sync(&e);
    assert_string_equal(env_served(&e, "g"), "old ");
    assert_int_equal(calls(PM_MEM_COPY), 0);
}

static void the_end_copied_to_another_place_is_that(void **state)
{
    struct env_waiter w;
    ssize_t           n;
    pm_node           g = create("g");
    struct pm_file   *in = open_file(f, O_RDONLY);
    struct pm_file   *out = open_file(g, O_WRONLY);

    (void)state;
    do {
        env_waiter_init(&w);
        n = pm_file_copy(in, 4, out, 0, 100, &w.w);
    } while (n == -EINPROGRESS && env_waiter_wait(&w, 30000));
    assert_int_equal(n, 7);
    pm_file_release(in);
    pm_file_release(out);
    env_sync(&e);
    assert_string_equal(env_served(&e, "g"), "content");
}

static void a_copy_of_a_copy_moves_no_content(void **state)
{
    pm_node g, h;

    (void)state;
    g = env_copy(&e, f, e.root, "g");
    h = env_copy(&e, g, e.root, "h");
    env_sync(&e);
    assert_int_equal(calls(PM_MEM_FETCH), 0);
    assert_int_equal(calls(PM_MEM_COPY), 2);
    assert_int_equal(calls(PM_MEM_BEGIN), 0);
    assert_string_equal(env_text(&e, h), TEXT);
    assert_string_equal(env_served(&e, "h"), TEXT);
}

static void what_is_not_sent_yet_is_copied_here(void **state)
{
    pm_node g;

    (void)state;
    env_write(&e, e.root, "f", "new");
    g = env_copy(&e, f, e.root, "g");
    assert_string_equal(env_text(&e, g), "new");
    env_sync(&e);
    assert_string_equal(env_served(&e, "f"), "new");
    assert_string_equal(env_served(&e, "g"), "new");
    assert_int_equal(calls(PM_MEM_COPY), 0);
}

static void the_source_changes_only_after_its_copy_was_made(void **state)
{
    pm_node g;

    (void)state;
    g = env_copy(&e, f, e.root, "g");
    env_write(&e, e.root, "f", "new");
    assert_string_equal(env_text(&e, g), TEXT);
    env_sync(&e);
    assert_string_equal(env_served(&e, "g"), TEXT);
    assert_string_equal(env_served(&e, "f"), "new");
    assert_int_equal(calls(PM_MEM_COPY), 1);
    assert_string_equal(env_text(&e, g), TEXT);
}

static void the_source_goes_only_after_its_copy_was_made(void **state)
{
    pm_node g;

    (void)state;
    g = env_copy(&e, f, e.root, "g");
    assert_int_equal(pm_change_unlink(e.c, e.root, "f"), 0);
    assert_string_equal(env_text(&e, g), TEXT);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "g");
    assert_string_equal(env_served(&e, "g"), TEXT);
}

static void the_folder_of_the_source_is_renamed_only_after_its_copy_was_made(void **state)
{
    pm_node d;

    (void)state;
    env_serve_folder(&e, "d");
    env_serve(&e, "d/in", "inside");
    assert_int_equal(env_list(&e, e.root), 0);
    d = env_find(&e, "d");
    assert_int_equal(env_list(&e, d), 0);
    env_copy(&e, env_find(&e, "d/in"), e.root, "g");
    assert_int_equal(pm_change_rename(e.c, e.root, "d", e.root, "d2", 0, NULL), 0);
    env_sync(&e);
    assert_string_equal(env_served(&e, "g"), "inside");
    assert_string_equal(env_served(&e, "d2/in"), "inside");
    assert_int_equal(calls(PM_MEM_BEGIN), 0);
}

static void a_copy_that_is_written_to_holds_nothing_up(void **state)
{
    struct pm_file *file;
    pm_node         g;

    (void)state;
    g = env_copy(&e, f, e.root, "g");
    file = open_file(g, O_WRONLY);
    write_text(file, "OLD", 0); /* and stays open */
    pm_queue_pause(e.c, false);
    env_write(&e, e.root, "f", "new");
    pm_queue_sync(e.c, f, 3000, NULL, NULL, NULL);
    assert_string_equal(env_served(&e, "f"), "new");
    pm_file_release(file);
    env_sync(&e);
    assert_string_equal(env_served(&e, "g"), "OLD content");
}

static void a_copy_renamed_over_its_source_leaves_it(void **state)
{
    (void)state;
    env_copy(&e, f, e.root, "g");
    assert_int_equal(pm_change_rename(e.c, e.root, "g", e.root, "f", 0, NULL), 0);
    assert_string_equal(env_text(&e, env_find(&e, "f")), TEXT);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "f");
    assert_string_equal(env_served(&e, "f"), TEXT);
}

static void a_copy_renamed_to_where_its_source_went_replaces_it(void **state)
{
    (void)state;
    env_copy(&e, f, e.root, "g");
    assert_int_equal(pm_change_rename(e.c, e.root, "f", e.root, "h", 0, NULL), 0);
    assert_int_equal(pm_change_rename(e.c, e.root, "g", e.root, "h", 0, NULL), 0);
    assert_string_equal(env_text(&e, env_find(&e, "h")), TEXT);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "h");
    assert_string_equal(env_served(&e, "h"), TEXT);
}

static void a_source_that_another_changed_meanwhile_is_not_copied_as_what_it_is_now(void **state)
{
    struct pm_info info;
    pm_node        g;

    (void)state;
    g = env_copy(&e, f, e.root, "g");
    env_serve(&e, "f", "longer new content");
    pm_queue_pause(e.c, false);
    pm_queue_sync(e.c, 0, 3000, NULL, NULL, NULL);
    assert_null(env_served(&e, "g"));
    assert_int_equal(pm_info_node(e.c, g, &info), 0);
    assert_non_null(strstr(info.state, "base gone"));
    assert_string_equal(env_served(&e, "f"), "longer new content");
}

static bool is_updated(void *arg)
{
    (void)arg;
    return !strcmp(env_served(&e, "f"), "new");
}

static void a_copy_that_is_written_to_just_before_it_is_asked_for_is_not_asked_for(void **state)
{
    unsigned        lists = calls(PM_MEM_LIST);
    struct pm_file *file;
    pm_node         g;

    (void)state;
    g = env_copy(&e, f, e.root, "g");
    pm_memory_block(e.b, PM_MEM_LIST, true);
    pm_queue_pause(e.c, false);
    env_until_calls(&e, PM_MEM_LIST, lists + 1);
    file = open_file(g, O_WRONLY);
    write_text(file, "OLD", 0);
    env_write(&e, e.root, "f", "new");
    assert_true(env_until(is_updated, NULL));
    pm_memory_block(e.b, PM_MEM_LIST, false);
    pm_file_release(file);
    env_sync(&e);
    assert_int_equal(calls(PM_MEM_COPY), 0);
    assert_string_equal(env_served(&e, "g"), "OLD content");
}

static void a_source_that_another_changed_is_sent_from_here_if_it_is_held_whole(void **state)
{
    pm_node g;

    (void)state;
    g = env_copy(&e, f, e.root, "g");
    assert_string_equal(env_text(&e, g), TEXT);
    env_serve(&e, "f", "new content");
    assert_int_equal(env_list(&e, e.root), 0);
    assert_string_equal(env_text(&e, f), "new content");
    env_sync(&e);
    assert_string_equal(env_served(&e, "g"), TEXT);
    assert_int_equal(calls(PM_MEM_COPY), 0);
}

static void a_lost_answer_to_a_copy_makes_one_object(void **state)
{
    (void)state;
    pm_memory_fault(e.b, PM_MEM_COPY, 1, -EIO, true);
    env_copy(&e, f, e.root, "g");
    assert_copied_there();
}

static void a_copy_that_the_service_refuses_is_sent_from_here(void **state)
{
    (void)state;
    pm_memory_fault(e.b, PM_MEM_COPY, 1, -EINVAL, false);
    env_copy(&e, f, e.root, "g");
    env_sync(&e);
    assert_string_equal(env_served(&e, "g"), TEXT);
    assert_int_equal(pm_memory_count(e.b), 2);
}

static void a_write_after_a_copy_whose_answer_was_lost_makes_one_object(void **state)
{
    struct pm_file *file;
    pm_node         g;

    (void)state;
    pm_queue_pause(e.c, false);
    pm_memory_fault(e.b, PM_MEM_COPY, 1, -EIO, true);
    g = env_copy(&e, f, e.root, "g");
    env_until_calls(&e, PM_MEM_COPY, 1);
    file = open_file(g, O_WRONLY);
    write_text(file, "OLD", 0);
    pm_file_release(file);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "f g");
    assert_string_equal(env_served(&e, "g"), "OLD content");
}

static void a_copy_to_a_name_that_another_took_is_kept_beside_it(void **state)
{
    const char *names;

    (void)state;
    env_copy(&e, f, e.root, "g");
    env_serve(&e, "g", "theirs");
    env_sync(&e);
    assert_string_equal(env_served(&e, "g"), "theirs");
    names = env_served_names(&e, "");
    assert_non_null(strstr(names, "g (conflict "));
    assert_int_equal(pm_memory_count(e.b), 3);
}

static void without_its_index_a_copy_is_not_sent_as_zeros(void **state)
{
    char path[128];

    (void)state;
    env_copy(&e, f, e.root, "g");
    env_stop(&e);
    snprintf(path, sizeof(path), "%s/index.db", e.dir);
    assert_int_equal(truncate(path, 100), 0);
    env_open(&e);
    pm_queue_pause(e.c, false);
    pm_queue_sync(e.c, 0, 3000, NULL, NULL, NULL);
    assert_null(env_served(&e, "g"));
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry WHERE error LIKE 'base gone%'"), 1);
}

static void a_copy_in_the_place_of_its_removed_source_is_an_update(void **state)
{
    PM_AUTO(free) struct pm_entry *was = env_object(&e, "f");
    PM_AUTO(free) struct pm_entry *now = NULL;

    (void)state;
    env_copy(&e, f, e.root, "g");
    assert_int_equal(pm_change_unlink(e.c, e.root, "f"), 0);
    assert_int_equal(pm_change_rename(e.c, e.root, "g", e.root, "f", 0, NULL), 0);
    env_sync(&e);
    assert_int_equal(calls(PM_MEM_REMOVE), 0);
    assert_string_equal(env_served(&e, "f"), TEXT);
    now = env_object(&e, "f");
    assert_string_equal(now->id, was->id);
}

static bool nothing_is_sent(void *arg)
{
    (void)arg;
    return env_sql(&e, "SELECT count(*) FROM j.entry WHERE sending") == 0;
}

static void a_copy_over_what_is_being_sent_is_sent_whole(void **state)
{
    pm_node         g = env_write(&e, e.root, "g", "");
    struct pm_file *in = open_file(f, O_RDONLY);
    struct pm_file *out;

    (void)state;
    pm_memory_block(e.b, PM_MEM_BEGIN, true);
    pm_queue_pause(e.c, false);
    env_until_calls(&e, PM_MEM_BEGIN, 1);
    out = open_file(g, O_WRONLY);
    assert_int_equal(env_copy_range(in, out, 0, 100), strlen(TEXT));
    pm_memory_block(e.b, PM_MEM_BEGIN, false);
    assert_true(env_until(nothing_is_sent, NULL));
    pm_file_release(in);
    pm_file_release(out);
    env_sync(&e);
    assert_string_equal(env_served(&e, "g"), TEXT);
}

static void a_copy_that_failed_holds_nothing_up(void **state)
{
    (void)state;
    env_copy(&e, f, e.root, "g");
    env_write(&e, e.root, "f", "new");
    pm_memory_fault(e.b, PM_MEM_COPY, 1, -ENAMETOOLONG, false);
    pm_queue_pause(e.c, false);
    pm_queue_sync(e.c, 0, 10000, NULL, NULL, NULL);
    assert_string_equal(env_served(&e, "f"), "new");
    assert_null(env_served(&e, "g"));
    assert_string_equal(env_text(&e, env_find(&e, "g")), TEXT);
}

/* What became of the copy could not be asked: until it is known the service may still be reading the
 * source. */
static void a_source_waits_for_a_copy_that_may_be_under_way(void **state)
{
    (void)state;
    pm_memory_copies(e.b, true, 0);
    pm_memory_fault(e.b, PM_MEM_STAT, 2, -ENAMETOOLONG, false); /* of the copy */
    env_copy(&e, f, e.root, "g");
    env_write(&e, e.root, "f", "new");
    pm_queue_pause(e.c, false);
    env_until_calls(&e, PM_MEM_STAT, 4); /* and it was looked at again */
    assert_string_equal(env_served(&e, "f"), TEXT);
    assert_int_equal(pm_memory_settling(e.b, "g", false), 0);
    env_sync(&e);
    assert_string_equal(env_served(&e, "f"), "new");
    assert_string_equal(env_served_names(&e, ""), "f g");
    assert_string_equal(env_served(&e, "g"), TEXT);
    assert_int_equal(calls(PM_MEM_COPY), 1);
}

static void a_copy_whose_look_is_refused_is_ours_all_the_same(void **state)
{
    (void)state;
    pm_memory_fault(e.b, PM_MEM_STAT, 2, -EINVAL, false);
    env_copy(&e, f, e.root, "g");
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "f g");
    assert_string_equal(env_served(&e, "g"), TEXT);
    assert_int_equal(calls(PM_MEM_COPY), 1);
}

static void a_copy_whose_folder_s_list_is_refused_is_ours_all_the_same(void **state)
{
    (void)state;
    pm_memory_fault(e.b, PM_MEM_COPY, 1, -EIO, true);
    pm_memory_fault(e.b, PM_MEM_LIST, 2, -EINVAL, false);
    env_copy(&e, f, e.root, "g");
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "f g");
    assert_string_equal(env_served(&e, "g"), TEXT);
    assert_int_equal(calls(PM_MEM_COPY), 1);
}

static void tell_nobody(void *arg, const char *line)
{
    (void)arg, (void)line;
}

static void what_a_crash_broke_off_can_be_given_up_while_its_copy_is_made(void **state)
{
    struct pm_file *file;
    uint64_t        found;
    unsigned        looks;
    pm_node         g;

    (void)state;
    pm_memory_copies(e.b, true, 0);
    e.c->settle_ms = 100;
    g = env_copy(&e, f, e.root, "g");
    pm_queue_pause(e.c, false);
    env_until_calls(&e, PM_MEM_COPY, 1);
    pm_queue_pause(e.c, true);
    assert_true(env_until(nothing_is_sent, NULL));
    file = open_file(g, O_WRONLY);
    write_text(file, "OLD", 0);
    pm_file_abandon(file);
    pm_db_begin(e.c->db); /* as a start does */
    pm_db_run(e.c->db, "UPDATE j.entry SET state=6, not_before=0", "");
    assert_int_equal(pm_db_end(e.c->db, 0), 0);
    e.c->settle_ms = 60000;
    looks = calls(PM_MEM_STAT);
    pm_queue_pause(e.c, false);
    env_until_calls(&e, PM_MEM_STAT, looks + 1);
    pm_queue_pause(e.c, true);
    assert_true(env_until(nothing_is_sent, NULL));
    assert_int_equal(pm_work_discard(e.c, g, tell_nobody, NULL, &found), 0);
    assert_int_equal(found, 1);
}

static void a_copy_that_a_crash_broke_off_holds_nothing_up(void **state)
{
    struct pm_file *in = open_file(f, O_RDONLY);
    struct pm_file *out = open_file(create("g"), O_WRONLY);
    struct env      after;

    (void)state;
    assert_int_equal(env_copy_range(in, out, 0, 4), 4);
    env_copy_folder(&e, &after);
    pm_file_release(in);
    pm_file_release(out);
    env_close(&e);
    e = after;
    env_open(&e);
    env_serve(&e, "f", TEXT);
    assert_int_equal(env_list(&e, e.root), 0);
    env_write(&e, e.root, "f", "new");
    pm_queue_pause(e.c, false);
    pm_queue_sync(e.c, 0, 10000, NULL, NULL, NULL);
    assert_string_equal(env_served(&e, "f"), "new");
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry WHERE state=6"), 1);
}

/* Another machine gave "f" other content of the same size. */
#define OTHER "OLD CONTENT"

static void assert_nothing_is_read(pm_node node)
{
    struct pm_file *file = open_file(node, O_RDONLY);
    char            buf[32];

    assert_true(env_read(file, buf, sizeof(buf), 0) < 0);
    pm_file_release(file);
}

static void a_copy_never_has_what_its_source_became(void **state)
{
    pm_node g = env_copy(&e, f, e.root, "g");

    (void)state;
    env_serve(&e, "f", OTHER);
    pm_queue_pause(e.c, false);
    pm_queue_sync(e.c, 0, 10000, NULL, NULL, NULL);
    assert_null(env_served(&e, "g"));
    assert_nothing_is_read(g);
}

static void a_copy_of_what_both_changed_never_has_the_others(void **state)
{
    pm_node g = env_copy(&e, f, e.root, "g");

    (void)state;
    env_write(&e, e.root, "f", "mine");
    env_serve(&e, "f", OTHER);
    assert_int_equal(env_list(&e, e.root), 0);
    assert_nothing_is_read(g);
}

static void a_backup_of_what_both_changed_never_has_the_others(void **state)
{
    (void)state;
    assert_int_equal(pm_change_rename(e.c, e.root, "f", e.root, "f~", 0, NULL), 0);
    env_write(&e, e.root, "f", "mine");
    env_serve(&e, "f", OTHER);
    assert_int_equal(env_list(&e, e.root), 0);
    assert_nothing_is_read(f);
}

static bool the_copy_is_known(void *arg)
{
    (void)arg;
    return env_sql(&e, "SELECT count(*) FROM j.entry WHERE rid IS NOT NULL") == 1;
}

/* What is still fetched from the source when the copy was made there is no other version of it. */
static void a_copy_that_is_fetched_while_it_is_made_stays_one_content(void **state)
{
    size_t          size = (size_t)9 << 20; /* several requests, one after the other */
    char           *big = calloc(1, size);
    struct pm_file *reader, *writer;
    pm_node         g;

    (void)state;
    assert_non_null(big);
    assert_int_equal(pm_memory_set(e.b, "f", PM_FILE, big, size), 0);
    assert_int_equal(env_list(&e, e.root), 0);
    e.conf.connections = 1;
    g = env_copy(&e, f, e.root, "g");
    pm_memory_fault(e.b, PM_MEM_COPY, 1, -EIO, true);
    pm_queue_pause(e.c, false);
    env_until_calls(&e, PM_MEM_COPY, 1);
    pm_queue_pause(e.c, true);
    assert_true(env_until(nothing_is_sent, NULL));
    reader = open_file(g, O_RDONLY);
    writer = open_file(g, O_WRONLY);
    pm_memory_block(e.b, PM_MEM_FETCH, true);
    write_text(writer, "OLD", 0);
    env_until_calls(&e, PM_MEM_FETCH, 1);
    pm_file_release(writer);
    pm_queue_pause(e.c, false);
    assert_true(env_until(the_copy_is_known, NULL));
    pm_memory_block(e.b, PM_MEM_FETCH, false);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "f g");
    assert_string_equal(env_served(&e, "g"), "OLD");
    pm_file_release(reader);
    free(big);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_whole_copy_moves_no_content),
        TEST(a_copy_is_read_before_it_is_sent),
        TEST(a_copy_that_is_written_to_sends_its_own_content),
        TEST(a_copy_written_to_in_the_same_breath_sends_its_own_content),
        TEST(a_part_is_no_copy_of_the_whole),
        TEST(the_end_copied_to_another_place_is_that),
        TEST(a_copy_of_a_copy_moves_no_content),
        TEST(what_is_not_sent_yet_is_copied_here),
        TEST(the_source_changes_only_after_its_copy_was_made),
        TEST(the_source_goes_only_after_its_copy_was_made),
        TEST(the_folder_of_the_source_is_renamed_only_after_its_copy_was_made),
        TEST(a_copy_that_is_written_to_holds_nothing_up),
        TEST(a_copy_renamed_over_its_source_leaves_it),
        TEST(a_copy_renamed_to_where_its_source_went_replaces_it),
        TEST(a_source_that_another_changed_meanwhile_is_not_copied_as_what_it_is_now),
        TEST(a_copy_that_is_written_to_just_before_it_is_asked_for_is_not_asked_for),
        TEST(a_source_that_another_changed_is_sent_from_here_if_it_is_held_whole),
        TEST(a_lost_answer_to_a_copy_makes_one_object),
        TEST(a_copy_that_the_service_refuses_is_sent_from_here),
        TEST(a_write_after_a_copy_whose_answer_was_lost_makes_one_object),
        TEST(a_copy_to_a_name_that_another_took_is_kept_beside_it),
        TEST(without_its_index_a_copy_is_not_sent_as_zeros),
        TEST(a_copy_that_is_fetched_while_it_is_made_stays_one_content),
        TEST(a_copy_in_the_place_of_its_removed_source_is_an_update),
        TEST(a_copy_over_what_is_being_sent_is_sent_whole),
        TEST(a_copy_that_failed_holds_nothing_up),
        TEST(a_source_waits_for_a_copy_that_may_be_under_way),
        TEST(a_copy_whose_look_is_refused_is_ours_all_the_same),
        TEST(a_copy_whose_folder_s_list_is_refused_is_ours_all_the_same),
        TEST(what_a_crash_broke_off_can_be_given_up_while_its_copy_is_made),
        TEST(a_copy_that_a_crash_broke_off_holds_nothing_up),
        TEST(a_copy_never_has_what_its_source_became),
        TEST(a_copy_of_what_both_changed_never_has_the_others),
        TEST(a_backup_of_what_both_changed_never_has_the_others),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
