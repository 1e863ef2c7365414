/* A power cut: what was made durable is there, what is in doubt is neither served nor sent. */
#include "cache/durable.h"
#include "cache/work.h"
#include "tests/unit/cache_env.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

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

#define NODE_MAX 64

/* Bits of the databases whose logs were synced since it was cleared: 1 the index's, 2 the journal's. */
static atomic_int synced;

/* Instead of libc's: tells which file it is asked for. */
int fdatasync(int fd)
{
    char link[40];
    char path[256] = "";

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    if (readlink(link, path, sizeof(path) - 1) > 0) {
        if (strstr(path, "/index.db-wal"))
            synced |= 1;
        else if (strstr(path, "/journal.db-wal"))
            synced |= 2;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

/* As much of the state folder as a power cut leaves at worst: the databases as they are now, and of
 * the contents only the `durable` bytes of each file, zeros in the rest at its full length if that is
 * durable, too. */
static void cut_power_at(off_t durable, bool length)
{
    struct env after;
    char       path[128];
    sqlite3   *db;

    env_copy_folder(&e, &after);
    snprintf(path, sizeof(path), "%s/journal.db", after.dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "UPDATE meta SET value='before' WHERE key='machine'", NULL,
                                  NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    for (int id = 1; id < NODE_MAX; id++) {
        int   fd;
        off_t size;

        snprintf(path, sizeof(path), "%s/data/%02x/%d", after.dir, (unsigned)id, id);
        fd = open(path, O_RDWR);
        if (fd < 0)
            continue;
        size = lseek(fd, 0, SEEK_END);
        if (size > durable) {
            assert_int_equal(ftruncate(fd, durable), 0);
            assert_int_equal(length ? ftruncate(fd, size) : 0, 0);
        }
        close(fd);
    }
    env_stop(&e);
    snprintf(path, sizeof(path), "rm -rf '%s'", e.dir);
    assert_int_equal(system(path), 0);
    e = after;
}

static void cut_power(off_t durable)
{
    cut_power_at(durable, true);
}

/* The service is as it was: `text` at "f". */
static void power_up(const char *text)
{
    env_open(&e);
    assert_int_equal(pm_queue_pause(e.c, true), 0);
    if (text)
        env_serve(&e, "f", text);
}

static const char *state_of(const char *name)
{
    static struct pm_info info;

    assert_int_equal(pm_info_node(e.c, env_find(&e, name), &info), 0);
    return info.state;
}

static pm_node serve(const char *text)
{
    env_serve(&e, "f", text);
    assert_int_equal(env_list(&e, e.root), 0);
    return env_find(&e, "f");
}

static void what_was_fetched_and_not_synced_is_fetched_again(void **state)
{
    pm_node f = serve("content");

    (void)state;
    assert_string_equal(env_text(&e, f), "content");
    pm_store_tick(e.c->store);
    cut_power(0);
    power_up("content");
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM content"), 0);
    assert_string_equal(env_text(&e, f), "content");
}

static void what_was_fetched_and_synced_is_kept(void **state)
{
    pm_node f = serve("content");

    (void)state;
    assert_string_equal(env_text(&e, f), "content");
    pm_store_tick(e.c->store);
    assert_int_equal(pm_era_sync(e.c->store), 0);
    cut_power(100);
    env_open(&e);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM content WHERE present IS NOT NULL"), 1);
}

static void what_was_closed_and_synced_is_sent(void **state)
{
    (void)state;
    env_write(&e, e.root, "new", "mine");
    assert_int_equal(pm_era_sync(e.c->store), 0);
    cut_power(100);
    power_up(NULL);
    assert_string_equal(state_of("new"), "queued");
    env_sync(&e);
    assert_string_equal(env_served(&e, "new"), "mine");
}

static void what_was_closed_and_not_synced_is_kept_and_not_sent(void **state)
{
    (void)state;
    env_write(&e, e.root, "new", "mine");
    cut_power(0);
    power_up(NULL);
    assert_string_equal(state_of("new"), "interrupted");
    pm_queue_pause(e.c, false);
    pm_queue_sync(e.c, 0, 2000, NULL, NULL, NULL);
    assert_null(env_served(&e, "new"));
}

static void what_fsync_answered_is_sent(void **state)
{
    struct pm_file *f;
    struct pm_attr  attr;

    (void)state;
    assert_int_equal(pm_change_create(e.c, e.root, "new", NULL, &attr), 0);
    assert_int_equal(pm_file_open(e.c, attr.node, O_WRONLY, &f), 0);
    assert_int_equal(pm_file_write(f, "mine", 4, 0), 4);
    assert_int_equal(pm_file_fsync(f), 0);
    pm_file_release(f);
    cut_power(100);
    power_up(NULL);
    assert_string_equal(state_of("new"), "queued");
    env_sync(&e);
    assert_string_equal(env_served(&e, "new"), "mine");
}

static void what_was_written_after_fsync_is_in_doubt(void **state)
{
    struct pm_file *f;
    struct pm_attr  attr;

    (void)state;
    assert_int_equal(pm_change_create(e.c, e.root, "new", NULL, &attr), 0);
    assert_int_equal(pm_file_open(e.c, attr.node, O_WRONLY, &f), 0);
    assert_int_equal(pm_file_write(f, "mine", 4, 0), 4);
    assert_int_equal(pm_file_fsync(f), 0);
    assert_int_equal(pm_file_write(f, "MORE", 4, 4), 4);
    pm_file_release(f);
    cut_power(4);
    power_up(NULL);
    assert_string_equal(state_of("new"), "interrupted");
}

static bool nothing_is_sent(void *arg)
{
    (void)arg;
    return env_sql(&e, "SELECT count(*) FROM j.entry WHERE sending") == 0;
}

/* "new" was closed; that its upload was tried is all that came of it. */
static void try_in_vain(void)
{
    env_write(&e, e.root, "new", "mine");
    pm_memory_fault(e.b, PM_MEM_PUT, 1, -EAGAIN, false);
    pm_queue_pause(e.c, false);
    env_until_calls(&e, PM_MEM_PUT, 1);
    pm_queue_pause(e.c, true);
    assert_true(env_until(nothing_is_sent, NULL));
}

static void what_is_removed_is_not_held_up_by_being_in_doubt(void **state)
{
    (void)state;
    try_in_vain();
    assert_int_equal(pm_change_unlink(e.c, e.root, "new"), 0);
    cut_power(0);
    power_up(NULL);
    env_sync(&e);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry"), 0);
    assert_null(env_served(&e, "new"));
}

static void what_takes_the_place_of_a_file_in_doubt_is_sent(void **state)
{
    pm_node last;

    (void)state;
    try_in_vain();
    last = env_write(&e, e.root, "last", "its successor");
    assert_int_equal(pm_change_rename(e.c, e.root, "last", e.root, "new", 0, NULL), 0);
    assert_int_equal(pm_era_sync(e.c->store), 0);
    pm_db_begin(e.c->db); /* as if the first had not come to the disk */
    pm_db_run(e.c->db, "UPDATE j.entry SET era=?2 WHERE op=1 AND node<>?1", "ii", (int64_t)last,
              pm_era_now(e.c->store));
    pm_db_end(e.c->db, 0);
    cut_power(100);
    power_up(NULL);
    env_sync(&e);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry"), 0);
    assert_string_equal(env_served(&e, "new"), "its successor");
    assert_int_equal(pm_memory_count(e.b), 1);
}

/* The file on the service, some of it fetched here, is written to in part. */
static void overwrite(pm_node node, const char *text, uint64_t off)
{
    struct pm_file *f;

    assert_int_equal(pm_file_open(e.c, node, O_RDWR, &f), 0);
    assert_int_equal(pm_file_write(f, text, strlen(text), off), strlen(text));
    pm_file_release(f);
}

static void of_what_was_written_to_in_part_only_that_part_is_believed(void **state)
{
    pm_node f = serve("0123456789");

    (void)state;
    assert_string_equal(env_text(&e, f), "0123456789"); /* whole here, but not on the disk */
    overwrite(f, "ab", 0);
    pm_store_tick(e.c->store);
    pm_db_begin(e.c->db); /* as if only what was written had come to the disk with the journal */
    pm_db_run(e.c->db, "UPDATE j.entry SET era=0", "");
    pm_db_end(e.c->db, 0);
    cut_power(2);
    power_up("0123456789");
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM content WHERE present IS NULL"), 1);
    assert_int_equal(env_sql(&e, "SELECT off*100+end FROM j.dirty"), 2);
}

/* Nobody cut it off: it ends where the service's does. */
static void what_was_written_to_in_part_keeps_its_rest_though_its_length_is_lost(void **state)
{
    pm_node f = serve("0123456789");

    (void)state;
    overwrite(f, "ab", 0);
    cut_power_at(2, false);
    power_up("0123456789");
    assert_string_equal(state_of("f"), "interrupted");
    assert_string_equal(env_text(&e, f), "ab23456789");
}

static void what_was_cut_off_stays_so_after_a_power_cut(void **state)
{
    pm_node         f = serve("0123456789");
    struct pm_file *file;

    for (int whole = 0; whole < 2; whole++) {
        if (whole) { /* here: of that no dirty ranges are kept */
            teardown(state);
            setup(state);
            f = serve("0123456789");
            assert_string_equal(env_text(&e, f), "0123456789");
        }
        assert_int_equal(pm_file_open(e.c, f, O_RDWR, &file), 0);
        assert_int_equal(pm_file_resize(file, 4, NULL), 0);
        pm_file_release(file);
        cut_power_at(4, false);
        power_up("0123456789");
        assert_int_equal(strlen(env_text(&e, f)), 4);
    }
}

static void what_was_open_for_writing_keeps_the_rest_of_its_base(void **state)
{
    pm_node         f = serve("0123456789");
    struct pm_file *file;

    (void)state;
    assert_int_equal(pm_file_open(e.c, f, O_RDWR, &file), 0);
    assert_int_equal(pm_file_write(file, "ab", 2, 0), 2);
    pm_file_abandon(file);
    cut_power_at(2, false);
    power_up("0123456789");
    assert_string_equal(state_of("f"), "interrupted");
    assert_string_equal(env_text(&e, f), "ab23456789");
}

/* A disk writes in any order what it is given: the power fails when the bytes of a write are on it, but of
 * the databases only what was synced. */
static void write_torn(pm_node node)
{
    struct env      before;
    struct pm_file *f;
    char            cmd[256];

    assert_int_equal(pm_db_sync(e.c->db), 0);
    env_copy_folder(&e, &before);
    synced = 0;
    assert_int_equal(pm_file_open(e.c, node, O_WRONLY, &f), 0);
    assert_int_equal(pm_file_write(f, "torn", 4, 0), 4);
    if (synced == 3)
        snprintf(cmd, sizeof(cmd), "rm -rf '%s'", before.dir);
    else
        snprintf(cmd, sizeof(cmd), "cp -r '%s'/data/. '%s'/data", e.dir, before.dir);
    assert_int_equal(system(cmd), 0);
    pm_file_abandon(f);
    if (synced != 3) {
        env_close(&e);
        e = before;
    }
    cut_power(100);
}

static void what_overwrites_a_clean_content_is_never_served_as_the_services(void **state)
{
    pm_node node = serve("content");

    (void)state;
    assert_string_equal(env_text(&e, node), "content");
    pm_store_tick(e.c->store);
    assert_int_equal(pm_era_sync(e.c->store), 0);
    write_torn(node);
    power_up("content");
    if (strcmp(state_of("f"), "interrupted") != 0)
        assert_string_equal(env_text(&e, node), "content");
}

static void what_overwrites_a_closed_content_that_is_on_the_disk_is_never_sent_torn(void **state)
{
    pm_node node = env_write(&e, e.root, "new", "content");

    (void)state;
    assert_int_equal(pm_era_sync(e.c->store), 0);
    write_torn(node);
    power_up(NULL);
    if (strcmp(state_of("new"), "interrupted") != 0)
        assert_string_equal(env_text(&e, node), "content");
}

static void a_synced_content_that_is_written_to_needs_its_base_no_more(void **state)
{
    pm_node f = serve("0123456789");

    (void)state;
    assert_string_equal(env_text(&e, f), "0123456789");
    pm_store_tick(e.c->store);
    assert_int_equal(pm_era_sync(e.c->store), 0);
    overwrite(f, "ab", 4);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.dirty"), 0);
    assert_string_equal(env_text(&e, f), "0123ab6789");
    env_sync(&e);
    assert_string_equal(env_served(&e, "f"), "0123ab6789");
    assert_string_equal(env_text(&e, f), "0123ab6789");
}

static void the_daemons_own_death_puts_nothing_in_doubt(void **state)
{
    struct env after;
    pm_node    f = serve("content");

    (void)state;
    assert_string_equal(env_text(&e, f), "content");
    env_write(&e, e.root, "new", "mine");
    pm_store_tick(e.c->store);
    env_copy_folder(&e, &after);
    env_close(&e);
    e = after;
    env_open(&e);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM content WHERE present IS NOT NULL"), 2);
    assert_string_equal(state_of("new"), "queued");
}

static void what_fsync_answered_is_kept_when_the_last_upload_ends_after_it(void **state)
{
    pm_node         node = env_write(&e, e.root, "new", "first one");
    struct pm_file *f;

    (void)state;
    pm_memory_block(e.b, PM_MEM_FINISH, true);
    pm_queue_pause(e.c, false);
    env_until_calls(&e, PM_MEM_FINISH, 1);
    pm_queue_pause(e.c, true);
    assert_int_equal(pm_file_open(e.c, node, O_RDWR, &f), 0);
    assert_int_equal(pm_file_write(f, "SECOND", 6, 0), 6);
    assert_int_equal(pm_file_fsync(f), 0);
    pm_memory_block(e.b, PM_MEM_FINISH, false);
    assert_true(env_until(nothing_is_sent, NULL));
    pm_file_release(f);
    cut_power(100);
    power_up(NULL);
    assert_string_equal(env_text(&e, node), "SECONDone");
}

/* The content stays in memory from its upload to the next write. */
static void what_fsync_answered_after_an_upload_is_kept(void **state)
{
    pm_node         node = env_write(&e, e.root, "new", "first one");
    struct pm_file *reader, *f;

    (void)state;
    assert_int_equal(pm_file_open(e.c, node, O_RDONLY, &reader), 0);
    env_sync(&e);
    pm_queue_pause(e.c, true);
    assert_int_equal(pm_file_open(e.c, node, O_RDWR, &f), 0);
    assert_int_equal(pm_file_write(f, "SECOND", 6, 0), 6);
    assert_int_equal(pm_file_fsync(f), 0);
    assert_int_equal(pm_file_write(f, "!", 1, 9), 1);
    pm_file_release(f);
    pm_file_release(reader);
    cut_power(100);
    power_up(NULL);
    /* all of it is ours, or at least what was written is */
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM content c WHERE size=0 OR EXISTS (SELECT 1"
                                 " FROM j.dirty WHERE content=c.id AND off=0 AND end>=6)"), 1);
}

static void what_was_refused_and_not_synced_is_not_sent_by_a_retry(void **state)
{
    (void)state;
    env_write(&e, e.root, "new", "mine");
    pm_memory_fault(e.b, PM_MEM_PUT, 1, -EFBIG, false);
    pm_queue_pause(e.c, false);
    pm_queue_sync(e.c, 0, 5000, NULL, NULL, NULL);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry WHERE state=4"), 1);
    cut_power(0);
    power_up(NULL);
    assert_string_equal(state_of("new"), "interrupted");
}

static void what_an_earlier_run_did_not_sync_is_synced_by_the_next(void **state)
{
    struct env after;

    (void)state;
    env_write(&e, e.root, "new", "mine");
    env_copy_folder(&e, &after); /* as after kill -9 */
    env_close(&e);
    e = after;
    env_open(&e);
    pm_queue_pause(e.c, true);
    assert_true(pm_era_needs_sync(e.c->store));
    assert_int_equal(pm_era_sync(e.c->store), 0);
    cut_power(100);
    power_up(NULL);
    assert_string_equal(state_of("new"), "queued");
}

static void a_backup_is_durable_before_its_object_changes(void **state)
{
    pm_node f = serve("old content");

    (void)state;
    assert_int_equal(pm_change_rename(e.c, e.root, "f", e.root, "f~", 0, NULL), 0);
    env_write(&e, e.root, "f", "new");
    pm_queue_pause(e.c, false);
    env_until_calls(&e, PM_MEM_FINISH, 1);
    pm_queue_pause(e.c, true);
    assert_true(env_until(nothing_is_sent, NULL));
    pm_store_tick(e.c->store);
    cut_power(100);
    power_up(NULL);
    assert_int_equal(env_find(&e, "f~"), f);
    assert_string_equal(env_text(&e, f), "old content");
}

static void lose_index(void)
{
    char cmd[128];

    snprintf(cmd, sizeof(cmd), "rm -f '%s'/index.db*", e.dir);
    assert_int_equal(system(cmd), 0);
}

static void what_is_in_doubt_is_so_without_the_index_too(void **state)
{
    (void)state;
    env_write(&e, e.root, "sure", "mine");
    assert_int_equal(pm_era_sync(e.c->store), 0);
    env_write(&e, e.root, "new", "mine");
    cut_power(100);
    lose_index();
    power_up(NULL);
    assert_string_equal(state_of("sure"), "queued");
    assert_string_equal(state_of("new"), "interrupted");
}

/* Or what is written from then on would be taken for what was synced long ago. */
static void a_new_index_goes_on_with_the_eras_of_the_journal(void **state)
{
    int64_t last;

    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(pm_era_sync(e.c->store), 0);
    env_write(&e, e.root, "new", "mine");
    last = pm_era_now(e.c->store);
    env_stop(&e);
    lose_index();
    env_open(&e);
    pm_queue_pause(e.c, true);
    assert_true(pm_era_now(e.c->store) > last);
    env_write(&e, e.root, "newer", "mine");
    cut_power(0);
    power_up(NULL);
    assert_string_equal(state_of("newer"), "interrupted");
    assert_string_equal(state_of("new"), "queued");
}

static void eras_that_only_rows_tell_of_are_not_used_again(void **state)
{
    int64_t last;

    (void)state;
    env_write(&e, e.root, "new", "mine");
    pm_db_begin(e.c->db); /* the row came to the disk, the counter did not */
    pm_db_run(e.c->db, "UPDATE j.entry SET era=77", "");
    pm_db_end(e.c->db, 0);
    last = 77;
    env_stop(&e);
    env_open(&e);
    assert_true(pm_era_now(e.c->store) > last);
}

static void a_copy_whose_original_is_no_more_outlives_a_power_cut(void **state)
{
    pm_node f = serve("content");
    pm_node g;

    (void)state;
    g = env_copy(&e, f, e.root, "g");
    assert_string_equal(env_text(&e, g), "content"); /* whole, and not on the disk */
    pm_store_tick(e.c->store);
    pm_db_begin(e.c->db); /* the copy itself was closed long ago */
    pm_db_run(e.c->db, "UPDATE j.entry SET era=0", "");
    pm_db_end(e.c->db, 0);
    env_serve(&e, "f", "another");
    assert_int_equal(env_list(&e, e.root), 0);
    cut_power(100);
    power_up("another");
    assert_string_equal(env_text(&e, g), "content");
}

static void a_copy_is_asked_for_only_when_the_disk_knows_of_it(void **state)
{
    (void)state;
    serve("content");
    assert_int_equal(pm_change_rename(e.c, e.root, "f", e.root, "g", 0, NULL), 0);
    pm_memory_block(e.b, PM_MEM_COPY, true);
    synced = 0;
    pm_queue_pause(e.c, false);
    env_until_calls(&e, PM_MEM_COPY, 1);
    assert_true(synced & 2);
    pm_memory_block(e.b, PM_MEM_COPY, false);
    env_sync(&e);
}

static void the_copies_of_a_folder_are_asked_for_only_when_the_disk_knows_of_them(void **state)
{
    (void)state;
    env_serve_folder(&e, "d");
    env_serve(&e, "d/in", "inside");
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(pm_change_rename(e.c, e.root, "d", e.root, "d2", 0, NULL), 0);
    pm_memory_block(e.b, PM_MEM_MKDIR, true);
    pm_memory_block(e.b, PM_MEM_COPY, true);
    pm_queue_pause(e.c, false);
    env_until_calls(&e, PM_MEM_MKDIR, 1);
    synced = 0;
    pm_memory_block(e.b, PM_MEM_MKDIR, false);
    env_until_calls(&e, PM_MEM_COPY, 1);
    assert_true(synced & 2);
    pm_memory_block(e.b, PM_MEM_COPY, false);
    env_sync(&e);
}

static void a_copy_that_cannot_be_opened_does_not_cost_the_next_its_content(void **state)
{
    pm_node f = serve("content");
    pm_node g, h;
    char    path[128];
    int     id;

    (void)state;
    g = env_copy(&e, f, e.root, "g");
    h = env_copy(&e, f, e.root, "h");
    assert_string_equal(env_text(&e, g), "content");
    assert_string_equal(env_text(&e, h), "content");
    pm_store_tick(e.c->store);
    pm_db_begin(e.c->db);
    pm_db_run(e.c->db, "UPDATE j.entry SET era=0", "");
    pm_db_end(e.c->db, 0);
    id = (int)env_sql(&e, "SELECT content FROM j.entry ORDER BY id LIMIT 1"); /* g's */
    snprintf(path, sizeof(path), "%s/data/%02x/%d", e.dir, (unsigned)id, id);
    assert_int_equal(unlink(path), 0);
    env_serve(&e, "f", "another");
    assert_int_equal(env_list(&e, e.root), 0);
    cut_power(100);
    power_up("another");
    assert_string_equal(env_text(&e, h), "content");
}

static void ignore_line(void *arg, const char *line)
{
    (void)arg;
    (void)line;
}

static void discard_all(void)
{
    uint64_t found;

    assert_int_equal(pm_work_discard(e.c, 0, ignore_line, NULL, &found), 0);
    assert_int_equal(found, 1);
}

static void assert_is_served(pm_node node, const char *text)
{
    struct pm_attr attr;

    assert_int_equal(pm_tree_getattr(e.c, node, &attr), 0);
    assert_int_equal(attr.size, strlen(text));
    assert_string_equal(env_text(&e, node), text);
}

/* A new index has of the journal what object the file is, but not how large that is. */
static void what_is_given_up_without_the_index_is_what_the_service_has(void **state)
{
    pm_node f = serve("content");

    (void)state;
    env_write(&e, e.root, "f", "torn");
    cut_power(0);
    lose_index();
    power_up(NULL);
    assert_int_equal(env_find(&e, "f"), f);
    assert_string_equal(state_of("f"), "interrupted");
    env_serve(&e, "f", "content");
    assert_int_equal(env_list(&e, e.root), 0);
    discard_all();
    assert_is_served(f, "content");
}

static void what_is_dropped_after_a_power_cut_is_not_counted(void **state)
{
    struct pm_store_usage usage;
    pm_node               f = serve("content");

    (void)state;
    assert_string_equal(env_text(&e, f), "content");
    pm_store_tick(e.c->store);
    cut_power(0);
    power_up(NULL);
    pm_store_usage(e.c->store, &usage);
    assert_int_equal(usage.used, 0);
}

/* Of a file that was partly fetched, what was written beyond its end, and the zeros in between. */
static void what_is_beyond_the_base_is_known_without_the_index(void **state)
{
    struct pm_file  *file;
    struct pm_entry *object;
    char             buf[32] = "";
    pm_node          f = serve("0123456789");

    (void)state;
    assert_int_equal(pm_file_open(e.c, f, O_RDWR, &file), 0);
    assert_int_equal(pm_file_write(file, "end", 3, 20), 3);
    pm_file_release(file);
    assert_int_equal(pm_era_sync(e.c->store), 0);
    cut_power(100);
    lose_index();
    power_up("0123456789");
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(pm_file_open(e.c, f, O_RDONLY, &file), 0);
    assert_int_equal(env_read(file, buf, sizeof(buf), 0), 23);
    assert_memory_equal(buf, "0123456789\0\0\0\0\0\0\0\0\0\0end", 23);
    pm_file_release(file);
    env_sync(&e);
    object = env_object(&e, "f");
    assert_int_equal(object->size, 23);
    free(object);
}

/* Nothing was written to it: what the service has of it is not zeros. */
static void a_file_that_was_only_extended_keeps_its_base_without_the_index(void **state)
{
    struct pm_file *file;
    char            buf[32] = "";
    pm_node         f = serve("0123456789");

    (void)state;
    pm_memory_block(e.b, PM_MEM_FETCH, true);
    assert_int_equal(pm_change_size(e.c, f, 13, NULL), 0);
    assert_int_equal(pm_era_sync(e.c->store), 0);
    pm_memory_block(e.b, PM_MEM_FETCH, false);
    cut_power(0);
    lose_index();
    power_up("0123456789");
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(pm_file_open(e.c, f, O_RDONLY, &file), 0);
    assert_int_equal(env_read(file, buf, sizeof(buf), 0), 13);
    assert_memory_equal(buf, "0123456789\0\0\0", 13);
    pm_file_release(file);
}

/* Three files that no row is of, where the next contents' files come. */
static void leave_files(int64_t after)
{
    for (int64_t id = after + 1; id <= after + 3; id++) {
        char path[128];
        int  fd;

        snprintf(path, sizeof(path), "%s/data/%02x/%lld", e.dir, (unsigned)id, (long long)id);
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, "lost", 4), 4);
        fsetxattr(fd, "user.polymount.unsent", "whole", 5, 0); /* or it would be swept */
        close(fd);
    }
}

static void what_a_lost_file_held_is_not_in_a_new_one(void **state)
{
    int64_t last;

    (void)state;
    env_write(&e, e.root, "before", "mine");
    last = env_sql(&e, "SELECT max(id) FROM content");
    cut_power(100);
    leave_files(last);
    power_up(NULL);
    assert_string_equal(env_text(&e, env_write(&e, e.root, "new", "ab")), "ab");
    env_serve(&e, "theirs", "xyz");
    assert_int_equal(env_list(&e, e.root), 0);
    assert_string_equal(env_text(&e, env_find(&e, "theirs")), "xyz");
}

static void what_was_left_of_an_earlier_state_is_not_in_a_new_file(void **state)
{
    char cmd[128];

    (void)state;
    env_stop(&e);
    lose_index();
    snprintf(cmd, sizeof(cmd), "rm -f '%s'/journal.db*", e.dir);
    assert_int_equal(system(cmd), 0);
    leave_files(0);
    power_up(NULL);
    assert_string_equal(env_text(&e, env_write(&e, e.root, "new", "ab")), "ab");
}

static void a_file_of_unknown_size_is_not_served_as_an_empty_one(void **state)
{
    struct pm_file *file;
    pm_node         f = serve("content");

    (void)state;
    env_write(&e, e.root, "f", "torn");
    cut_power(0);
    power_up("content");
    pm_db_begin(e.c->db); /* as before the first list of a new index */
    pm_db_run(e.c->db, "UPDATE node SET rsize=NULL WHERE id=?1", "i", (int64_t)f);
    pm_db_end(e.c->db, 0);
    discard_all();
    assert_int_equal(pm_file_open(e.c, f, O_RDONLY, &file), -EAGAIN);
    assert_int_equal(env_list(&e, e.root), 0);
    assert_is_served(f, "content");
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_fetched_and_not_synced_is_fetched_again),
        TEST(what_was_fetched_and_synced_is_kept),
        TEST(what_was_closed_and_synced_is_sent),
        TEST(what_was_closed_and_not_synced_is_kept_and_not_sent),
        TEST(what_fsync_answered_is_sent),
        TEST(what_was_written_after_fsync_is_in_doubt),
        TEST(what_is_removed_is_not_held_up_by_being_in_doubt),
        TEST(what_takes_the_place_of_a_file_in_doubt_is_sent),
        TEST(of_what_was_written_to_in_part_only_that_part_is_believed),
        TEST(what_was_written_to_in_part_keeps_its_rest_though_its_length_is_lost),
        TEST(what_was_cut_off_stays_so_after_a_power_cut),
        TEST(what_was_open_for_writing_keeps_the_rest_of_its_base),
        TEST(what_overwrites_a_clean_content_is_never_served_as_the_services),
        TEST(what_overwrites_a_closed_content_that_is_on_the_disk_is_never_sent_torn),
        TEST(a_synced_content_that_is_written_to_needs_its_base_no_more),
        TEST(the_daemons_own_death_puts_nothing_in_doubt),
        TEST(what_fsync_answered_is_kept_when_the_last_upload_ends_after_it),
        TEST(what_fsync_answered_after_an_upload_is_kept),
        TEST(what_was_refused_and_not_synced_is_not_sent_by_a_retry),
        TEST(what_an_earlier_run_did_not_sync_is_synced_by_the_next),
        TEST(a_backup_is_durable_before_its_object_changes),
        TEST(what_is_in_doubt_is_so_without_the_index_too),
        TEST(a_new_index_goes_on_with_the_eras_of_the_journal),
        TEST(eras_that_only_rows_tell_of_are_not_used_again),
        TEST(a_copy_whose_original_is_no_more_outlives_a_power_cut),
        TEST(what_is_given_up_without_the_index_is_what_the_service_has),
        TEST(a_copy_is_asked_for_only_when_the_disk_knows_of_it),
        TEST(the_copies_of_a_folder_are_asked_for_only_when_the_disk_knows_of_them),
        TEST(a_copy_that_cannot_be_opened_does_not_cost_the_next_its_content),
        TEST(what_is_dropped_after_a_power_cut_is_not_counted),
        TEST(what_is_beyond_the_base_is_known_without_the_index),
        TEST(a_file_that_was_only_extended_keeps_its_base_without_the_index),
        TEST(what_a_lost_file_held_is_not_in_a_new_one),
        TEST(what_was_left_of_an_earlier_state_is_not_in_a_new_file),
        TEST(a_file_of_unknown_size_is_not_served_as_an_empty_one),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
