/* Room: who waits for it and who is refused, what goes when it is short, and what never goes. */
#include "cache/file.h"
#include "cache/label.h"
#include "cache/db_usage.h"
#include "tests/unit/cache_env.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cmocka.h>

#define K (1024u)

static struct env e;
static char      *bytes;
static uint64_t   disk; /* so large is the disk; 0: as it is */

/* --- a disk of any size, for contents */

static uint64_t taken(void)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < 256; i++) {
        PM_AUTO(free) char  *path = pm_asprintf("%s/data/%02x", e.dir, i);
        DIR                 *d = opendir(path);
        const struct dirent *de;
        struct stat          st;

        while (d && (de = readdir(d)) != NULL)
            if (*de->d_name != '.' && !fstatat(dirfd(d), de->d_name, &st, 0))
                sum += (uint64_t)st.st_blocks * 512;
        if (d)
            closedir(d);
    }
    return sum;
}

/* In the place of the C library's. */
int fstatvfs(int fd, struct statvfs *out)
{
    uint64_t size = disk ? disk : (uint64_t)1 << 40;
    uint64_t used = disk ? taken() : 0;

    (void)fd;
    *out = (struct statvfs){.f_bsize = 512, .f_frsize = 512, .f_blocks = size / 512,
                            .f_bavail = used < size ? (size - used) / 512 : 0};
    return 0;
}

static int setup(void **state)
{
    (void)state;
    disk = 0;
    env_init(&e);
    e.conf.op_timeout_ms = 600;
    env_open(&e);
    assert_int_equal(pm_queue_pause(e.c, true), 0);
    bytes = malloc(4096 * K);
    for (size_t i = 0; i < 4096 * K; i++)
        bytes[i] = (char)('a' + i * 2654435761u % 26);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (e.c) {
        pm_memory_block(e.b, PM_MEM_PUT, false);
        pm_memory_block(e.b, PM_MEM_FETCH, false);
    }
    env_close(&e);
    free(bytes);
    return 0;
}

static struct pm_file *make(const char *name)
{
    struct pm_attr  attr;
    struct pm_file *f;

    assert_int_equal(pm_change_create(e.c, e.root, name, NULL, &attr), 0);
    assert_int_equal(pm_file_open(e.c, attr.node, O_RDWR, &f), 0);
    return f;
}

static struct pm_file *open_file(const char *name, int flags)
{
    struct pm_file *f;

    assert_int_equal(pm_file_open(e.c, env_find(&e, name), flags, &f), 0);
    return f;
}

/* A closed file of so many bytes. */
static pm_node put(const char *name, size_t len)
{
    struct pm_file *f = make(name);

    assert_int_equal(pm_file_write(f, bytes, len, 0), len);
    pm_file_release(f);
    return env_find(&e, name);
}

static pm_node serve(const char *name, size_t size)
{
    assert_int_equal(pm_memory_set(e.b, name, PM_FILE, bytes, size), 0);
    assert_int_equal(env_list(&e, e.root), 0);
    return env_find(&e, name);
}

static void check(struct pm_file *f, size_t len)
{
    PM_AUTO(free) char *buf = malloc(len + 1);
    size_t              done = 0;

    while (done < len) {
        ssize_t n = env_read(f, buf + done, len - done < 64 * K ? len - done : 64 * K, done);

        assert_true(n > 0);
        done += (size_t)n;
    }
    assert_memory_equal(buf, bytes, len);
}

static void check_file(const char *name, size_t len)
{
    struct pm_file *f = open_file(name, O_RDONLY);

    check(f, len);
    pm_file_release(f);
}

static struct pm_store_usage usage(void)
{
    struct pm_store_usage u;

    pm_store_usage(e.c->store, &u);
    return u;
}

static bool is_held(pm_node node)
{
    bool held;

    pm_db_begin(e.c->db);
    held = pm_db_int(e.c->db, 0, "SELECT bytes FROM content WHERE node=?1", "i", (int64_t)node) > 0;
    pm_db_end(e.c->db, 0);
    return held;
}

/* Writes as the mount does: again whenever it is woken, until it is done. */
static ssize_t write_waiting(struct pm_file *f, size_t len, uint64_t off)
{
    for (;;) {
        struct env_waiter w;
        ssize_t           n;

        env_waiter_init(&w);
        n = pm_file_write_wait(f, bytes + off, len, off, &w.w);
        if (n != -EINPROGRESS)
            return n;
        assert_true(env_waiter_wait(&w, 30000));
        if (w.err)
            return w.err;
    }
}

/* --- writes that wait */

static void a_write_waits_while_a_closed_file_is_sent_and_then_goes_on(void **state)
{
    struct env_waiter w;
    struct pm_file   *f;

    (void)state;
    disk = 1024 * K;
    pm_memory_block(e.b, PM_MEM_PUT, true);
    e.conf.op_timeout_ms = 10000;
    put("first", 700 * K);
    pm_queue_pause(e.c, false);
    env_until_calls(&e, PM_MEM_PUT, 1);
    f = make("second");
    assert_int_equal(pm_file_write(f, bytes, 200 * K, 0), 200 * K);
    assert_int_equal(pm_file_write(f, bytes + 200 * K, 600 * K, 200 * K), -EAGAIN);
    env_waiter_init(&w);
    assert_int_equal(pm_file_write_wait(f, bytes + 200 * K, 600 * K, 200 * K, &w.w), -EINPROGRESS);
    pm_memory_block(e.b, PM_MEM_PUT, false);
    assert_true(env_waiter_wait(&w, 30000));
    assert_int_equal(w.err, 0);
    assert_int_equal(write_waiting(f, 600 * K, 200 * K), 600 * K);
    check(f, 800 * K);
    pm_file_release(f);
    env_sync(&e);
    assert_memory_equal(env_served(&e, "first"), bytes, 8000);
    assert_memory_equal(env_served(&e, "second"), bytes, 8000);
    check_file("first", 700 * K);
}

static void a_write_waits_for_what_is_about_to_be_sent(void **state)
{
    struct pm_file *f;

    (void)state;
    disk = 1024 * K;
    put("first", 700 * K); /* its quiet time is 20 ms */
    pm_queue_pause(e.c, false);
    f = make("second");
    assert_int_equal(write_waiting(f, 800 * K, 0), 800 * K);
    pm_file_release(f);
    env_sync(&e);
}

static void without_anything_being_sent_a_write_is_refused_and_what_was_written_stays(void **state)
{
    struct pm_file *f = make("only");

    (void)state;
    disk = 1024 * K;
    pm_queue_pause(e.c, false);
    assert_int_equal(pm_file_write(f, bytes, 600 * K, 0), 600 * K);
    assert_int_equal(write_waiting(f, 600 * K, 600 * K), -ENOSPC);
    check(f, 600 * K);
    assert_int_equal(write_waiting(f, 200 * K, 600 * K), 200 * K);
    check(f, 800 * K);
    pm_file_release(f);
    env_sync(&e);
    check_file("only", 800 * K);
}

/* The same with an account of drafts. */
static int setup_drafts(void **state)
{
    int err = setup(state);

    if (err)
        return err;
    env_close(&e);
    env_init(&e);
    e.accounts[0].type = (char *)"memory-draft";
    e.conf.op_timeout_ms = 10000;
    env_open(&e);
    return pm_queue_pause(e.c, true);
}

static void what_goes_into_a_draft_makes_no_room_and_nobody_waits_for_it(void **state)
{
    pm_node         d = env_mkdir(&e, e.root, "d");
    struct pm_attr  attr;
    struct pm_info  info;
    struct pm_file *f;

    (void)state;
    disk = 1024 * K;
    pm_memory_block(e.b, PM_MEM_PUT, true);
    assert_int_equal(pm_change_create(e.c, d, "first", NULL, &attr), 0);
    assert_int_equal(pm_file_open(e.c, attr.node, O_RDWR, &f), 0);
    assert_int_equal(pm_file_write(f, bytes, 700 * K, 0), 700 * K);
    pm_file_release(f);
    pm_queue_pause(e.c, false);
    env_until_calls(&e, PM_MEM_PUT, 1);
    assert_int_equal(pm_change_create(e.c, d, "second", NULL, &attr), 0);
    assert_int_equal(pm_file_open(e.c, attr.node, O_RDWR, &f), 0);
    assert_int_equal(pm_file_write(f, bytes, 200 * K, 0), 200 * K);
    assert_int_equal(pm_file_write(f, bytes + 200 * K, 600 * K, 200 * K), -ENOSPC);
    assert_false(pm_store_could(e.c->store, 600 * K));
    assert_int_equal(pm_info_node(e.c, d, &info), 0);
    assert_string_equal(info.error, "second was refused: No space left on device");
    pm_file_release(f);
}

static void while_transfers_are_paused_nobody_waits(void **state)
{
    struct pm_file *f;

    (void)state;
    disk = 1024 * K;
    put("first", 700 * K);
    f = make("second");
    assert_int_equal(write_waiting(f, 600 * K, 0), -ENOSPC);
    pm_file_release(f);
}

static void who_waits_for_an_upload_that_stands_still_is_refused_in_time(void **state)
{
    struct pm_file *f;
    int64_t         began;

    (void)state;
    disk = 1024 * K;
    pm_memory_block(e.b, PM_MEM_PUT, true);
    put("first", 700 * K);
    pm_queue_pause(e.c, false);
    env_until_calls(&e, PM_MEM_PUT, 1);
    f = make("second");
    began = pm_now_ms();
    assert_int_equal(write_waiting(f, 600 * K, 0), -ENOSPC);
    assert_true(pm_now_ms() - began < 25000);
    pm_file_release(f);
    pm_memory_block(e.b, PM_MEM_PUT, false);
    env_sync(&e);
    f = open_file("second", O_RDWR);
    assert_int_equal(write_waiting(f, 600 * K, 0), 600 * K);
    pm_file_release(f);
    check_file("second", 600 * K);
}

static void who_waits_for_an_upload_that_advances_waits_beyond_the_time_limit(void **state)
{
    struct pm_file *f;
    int64_t         began = pm_now_ms();

    (void)state;
    disk = 1024 * K;
    e.conf.op_timeout_ms = 1500;
    pm_memory_delay(e.b, PM_MEM_PUT, 250); /* each 64 KiB: 2.7 s in all */
    put("first", 700 * K);
    pm_queue_pause(e.c, false);
    f = make("second");
    assert_int_equal(write_waiting(f, 600 * K, 0), 600 * K);
    assert_true(pm_now_ms() - began >= 2500);
    pm_memory_delay(e.b, PM_MEM_PUT, 0);
    pm_file_release(f);
}

static void an_upload_that_fails_once_is_waited_for(void **state)
{
    struct pm_file *f;

    (void)state;
    disk = 1024 * K;
    e.conf.op_timeout_ms = 10000;
    pm_memory_fault(e.b, PM_MEM_BEGIN, 1, -EIO, false);
    put("first", 700 * K);
    pm_queue_pause(e.c, false);
    f = make("second");
    assert_int_equal(write_waiting(f, 600 * K, 0), 600 * K);
    pm_file_release(f);
    env_sync(&e);
    check_file("first", 700 * K);
}

static void an_upload_that_is_not_tried_again_in_time_is_not_waited_for(void **state)
{
    struct pm_file *f;
    uint64_t        found;

    (void)state;
    disk = 1024 * K;
    e.conf.op_timeout_ms = 50;
    pm_memory_fault(e.b, PM_MEM_BEGIN, 1, -EBUSY, false); /* the next try is after a minute */
    put("first", 700 * K);
    pm_queue_pause(e.c, false);
    f = make("second");
    assert_int_equal(write_waiting(f, 600 * K, 0), -ENOSPC);
    pm_file_release(f);
    pm_work_retry(e.c, 0, &found);
    env_sync(&e);
    check_file("first", 700 * K);
}

static void what_could_never_fit_is_refused_at_once(void **state)
{
    struct pm_file *f;

    (void)state;
    disk = 1024 * K;
    e.conf.op_timeout_ms = 10000;
    pm_memory_block(e.b, PM_MEM_PUT, true);
    put("first", 700 * K);
    pm_queue_pause(e.c, false);
    env_until_calls(&e, PM_MEM_PUT, 1);
    f = make("second");
    assert_int_equal(pm_file_allocate(f, 0, 0, 4096 * K, NULL), -ENOSPC);
    assert_int_equal(pm_file_allocate(f, 0, 0, 600 * K, NULL), -EAGAIN);
    pm_file_release(f);
}

static void who_waits_for_room_is_woken_when_the_drive_stops(void **state)
{
    struct env_waiter w;
    struct pm_file   *f;

    (void)state;
    disk = 1024 * K;
    e.conf.op_timeout_ms = 10000;
    pm_memory_block(e.b, PM_MEM_PUT, true);
    put("first", 700 * K);
    pm_queue_pause(e.c, false);
    env_until_calls(&e, PM_MEM_PUT, 1);
    f = make("second");
    env_waiter_init(&w);
    assert_int_equal(pm_file_write_wait(f, bytes, 600 * K, 0, &w.w), -EINPROGRESS);
    pm_cache_stop(e.c);
    assert_true(env_waiter_wait(&w, 30000));
    env_waiter_init(&w);
    assert_true(pm_file_write_wait(f, bytes, 600 * K, 0, &w.w) != -EINPROGRESS);
    assert_false(env_waiter_wait(&w, 50));
    pm_file_release(f);
}

static void many_who_wait_all_come_to_write(void **state)
{
    struct env_waiter w[20];
    struct pm_file   *f[20];
    bool              done[20] = {false};
    char              name[16];
    int               left = 20;

    (void)state;
    disk = 1024 * K;
    e.conf.op_timeout_ms = 10000;
    put("first", 900 * K);
    pm_queue_pause(e.c, false);
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "w%d", i);
        f[i] = make(name);
        env_waiter_init(&w[i]);
        w[i].woken = 1;
    }
    while (left) {
        for (int i = 0; i < 20; i++) {
            ssize_t n;

            if (done[i] || !env_waiter_wait(&w[i], 30000))
                continue;
            assert_int_equal(w[i].err, 0);
            env_waiter_init(&w[i]);
            n = pm_file_write_wait(f[i], bytes, 300 * K, 0, &w[i].w);
            if (n == -EINPROGRESS)
                continue;
            assert_int_equal(n, 300 * K);
            pm_file_release(f[i]);
            done[i] = true;
            left--;
        }
    }
    env_sync(&e);
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "w%d", i);
        check_file(name, 300 * K);
    }
}

/* --- what needs none */

static void what_is_there_is_overwritten_on_a_full_disk(void **state)
{
    struct pm_file *f = make("only");

    (void)state;
    disk = 1024 * K;
    assert_int_equal(pm_file_write(f, bytes + 1, 1000 * K, 0), 1000 * K);
    disk = 1000 * K;
    assert_int_equal(pm_file_write(f, bytes, 500 * K, 0), 500 * K);
    assert_int_equal(pm_file_write(f, bytes + 500 * K, 500 * K, 500 * K), 500 * K);
    check(f, 1000 * K);
    assert_int_equal(pm_file_write(f, bytes, 100 * K, 1000 * K), -ENOSPC);
    pm_file_release(f);
}

static void a_full_disk_lets_clean_contents_go_first(void **state)
{
    pm_node         clean = serve("clean", 600 * K);
    struct pm_file *f;

    (void)state;
    disk = 1024 * K;
    check_file("clean", 600 * K);
    f = make("mine");
    assert_int_equal(write_waiting(f, 800 * K, 0), 800 * K); /* the download may just be ending */
    assert_false(is_held(clean));
    pm_file_release(f);
    check_file("clean", 600 * K); /* any file reads through any cache */
    check_file("mine", 800 * K);
}

static void what_could_never_fit_makes_nothing_go(void **state)
{
    pm_node         clean = serve("clean", 600 * K);
    struct pm_file *f;

    (void)state;
    check_file("clean", 600 * K);
    pm_store_tick(e.c->store);
    disk = 1024 * K;
    f = make("mine");
    assert_int_equal(pm_file_allocate(f, 0, 0, 4096 * K, NULL), -ENOSPC);
    assert_true(is_held(clean));
    pm_file_release(f);
}

/* --- the rest of a base */

static void a_partial_write_whose_rest_has_no_room_is_refused_before_anything_is_fetched(void **state)
{
    struct pm_file *f;

    (void)state;
    serve("big", 2048 * K);
    disk = 1024 * K;
    pm_queue_pause(e.c, false);
    f = open_file("big", O_RDWR);
    assert_int_equal(write_waiting(f, 4 * K, 100 * K), -ENOSPC);
    assert_int_equal(pm_file_resize(f, 1500 * K, NULL), -ENOSPC);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_FETCH), 0);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry"), 0);
    assert_int_equal(pm_file_resize(f, 500 * K, NULL), 0); /* for that there is */
    pm_file_release(f);
    env_sync(&e);
    check_file("big", 500 * K);
}

/* --- max_size */

static void what_passed_the_limit_unsent_goes_as_soon_as_it_is_sent(void **state)
{
    char name[16];

    (void)state;
    e.conf.max_size = 500 * K;
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        put(name, 100 * K);
    }
    assert_true(taken() >= 1000 * K);
    env_sync(&e);
    for (int i = 0; i < 100 && taken() > 500 * K; i++)
        usleep(10000); /* the last was answered a moment ago */
    assert_true(taken() <= 500 * K);
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        check_file(name, 100 * K);
    }
}

static void what_an_open_file_would_push_past_the_limit_is_read_and_not_kept(void **state)
{
    struct pm_file *f;

    (void)state;
    serve("big", 4096 * K);
    e.conf.max_size = 1024 * K;
    f = open_file("big", O_RDONLY);
    check(f, 4096 * K);
    check(f, 4096 * K);
    assert_true(taken() <= 1024 * K);
    assert_true(usage().used <= 1024 * K);
    pm_file_release(f);
}

/* --- last copies */

static void one_way(bool is)
{
    pm_memory_set_options(e.b, &(struct pm_memory_options){.no_download = is});
}

static void what_the_service_cannot_give_back_is_never_evicted(void **state)
{
    pm_node last;
    char    name[16];

    (void)state;
    one_way(true);
    last = put("last", 300 * K);
    env_sync(&e);
    one_way(false);
    assert_int_equal(usage().last_copy, 300 * K);
    assert_int_equal(usage().evictable, 0);
    e.conf.max_size = 200 * K;
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "o%d", i);
        serve(name, 100 * K);
        check_file(name, 100 * K);
    }
    pm_store_trim(e.c->store);
    assert_true(is_held(last));
    check_file("last", 300 * K);
    env_stop(&e);
    env_open(&e);
    assert_int_equal(usage().last_copy, 300 * K);
}

/* The memory service forgets when it is closed: only what needs no list. */
static void check_last(pm_node last)
{
    struct pm_file *f;

    assert_int_equal(pm_file_open(e.c, last, O_RDONLY, &f), 0);
    check(f, 300 * K);
    pm_file_release(f);
}

static void a_last_copy_outlives_the_index(void **state)
{
    PM_AUTO(free) char *index = pm_asprintf("%s/index.db", e.dir);
    pm_node             last;

    (void)state;
    one_way(true);
    last = put("last", 300 * K);
    env_sync(&e);
    env_stop(&e);
    assert_int_equal(unlink(index), 0);
    env_open(&e);
    assert_int_equal(usage().last_copy, 300 * K);
    assert_int_equal(env_find(&e, "last"), last);
    check_last(last);
}

static void a_last_copy_says_what_it_is_for_a_rescue_without_a_journal(void **state)
{
    struct pm_label label;
    struct pm_file *f;

    (void)state;
    one_way(true);
    put("last", 300 * K);
    env_sync(&e);
    f = open_file("last", O_RDONLY);
    if (pm_label_read(f->content->fd, &label) != -EOPNOTSUPP) { /* older kernels' tmpfs */
        assert_int_equal(label.state, PM_LABEL_WHOLE);
        assert_string_equal(label.path, "/m/last");
        pm_label_free(&label);
    }
    pm_file_release(f);
}

static void a_last_copy_stays_when_a_list_lacks_it_and_says_so(void **state)
{
    struct pm_info info;
    pm_node        last;

    (void)state;
    one_way(true);
    last = put("last", 300 * K);
    env_sync(&e);
    assert_int_equal(pm_memory_drop(e.b, "last"), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(env_list(&e, e.root), 0);
    assert_string_equal(env_names(&e, e.root), "last");
    check_last(last);
    assert_int_equal(pm_info_node(e.c, last, &info), 0);
    assert_non_null(strstr(info.error, "last copy"));
    assert_int_equal(pm_change_unlink(e.c, e.root, "last"), 0);
    env_sync(&e);
    pm_tree_forget(e.c, last);
    assert_string_equal(env_names(&e, e.root), "");
    assert_int_equal(usage().last_copy, 0);
    assert_int_equal(taken(), 0);
}

static void a_last_copy_stays_when_the_service_names_another_version(void **state)
{
    pm_node last;

    (void)state;
    one_way(true);
    last = put("last", 300 * K);
    env_sync(&e);
    assert_int_equal(pm_memory_set(e.b, "last", PM_FILE, "other", 5), 0);
    assert_int_equal(env_list(&e, e.root), 0);
    check_last(last);
    assert_int_equal(usage().last_copy, 300 * K);
}

static void a_last_copy_that_is_written_to_is_unsent_until_it_is_sent_again(void **state)
{
    struct pm_file *f;
    pm_node         last;

    (void)state;
    one_way(true);
    last = put("last", 300 * K);
    env_sync(&e);
    pm_queue_pause(e.c, true);
    f = open_file("last", O_RDWR);
    assert_int_equal(pm_file_write(f, bytes, 10 * K, 0), 10 * K);
    pm_file_release(f);
    assert_int_equal(usage().last_copy, 0);
    env_sync(&e);
    assert_int_equal(usage().last_copy, 300 * K);
    check_last(last);
    pm_queue_pause(e.c, true);
    f = open_file("last", O_RDWR);
    assert_int_equal(pm_file_write(f, bytes, 10 * K, 0), 10 * K);
    pm_file_release(f);
    one_way(false);
    env_sync(&e);
    assert_int_equal(usage().last_copy, 0);
    assert_int_equal(usage().evictable, 300 * K);
}

static void what_is_cached_is_dropped_when_its_user_says_so_but_not_what_is_nowhere_else(void **state)
{
    struct pm_file *f;
    uint64_t        found;
    pm_node         last, mine, clean;

    (void)state;
    one_way(true);
    last = put("last", 300 * K);
    env_sync(&e);
    one_way(false);
    pm_queue_pause(e.c, true);
    mine = put("mine", 100 * K);
    clean = serve("clean", 100 * K);
    f = open_file("clean", O_RDONLY);
    check(f, 100 * K);
    assert_int_equal(pm_work_evict(e.c, clean, false, NULL, NULL, &found), -EBUSY);
    pm_file_release(f);
    while (pm_work_evict(e.c, clean, false, NULL, NULL, &found) == -EBUSY)
        usleep(1000); /* the download is just ending */
    assert_int_equal(found, 1);
    assert_false(is_held(clean));
    assert_int_equal(pm_work_evict(e.c, clean, false, NULL, NULL, &found), 0);
    assert_int_equal(found, 0);
    assert_int_equal(pm_work_evict(e.c, mine, true, NULL, NULL, &found), -EAGAIN);
    assert_int_equal(pm_work_evict(e.c, last, false, NULL, NULL, &found), -EPERM);
    assert_int_equal(pm_work_evict(e.c, 0, false, NULL, NULL, &found), -EPERM);
    assert_true(is_held(mine) && is_held(last));
    check_file("clean", 100 * K);
    assert_int_equal(pm_work_evict(e.c, last, true, NULL, NULL, &found), 0);
    assert_int_equal(found, 1);
    assert_int_equal(usage().last_copy, 0);
    env_sync(&e);
    check_file("mine", 100 * K);
}

static void a_last_copy_that_its_user_removes_is_gone(void **state)
{
    pm_node last;

    (void)state;
    one_way(true);
    last = put("last", 300 * K);
    env_sync(&e);
    assert_int_equal(pm_change_unlink(e.c, e.root, "last"), 0);
    env_sync(&e);
    pm_tree_forget(e.c, last);
    assert_int_equal(usage().last_copy, 0);
    assert_int_equal(taken(), 0);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.kept"), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_write_waits_while_a_closed_file_is_sent_and_then_goes_on),
        TEST(a_write_waits_for_what_is_about_to_be_sent),
        TEST(without_anything_being_sent_a_write_is_refused_and_what_was_written_stays),
        TEST(while_transfers_are_paused_nobody_waits),
        TEST(who_waits_for_an_upload_that_stands_still_is_refused_in_time),
        TEST(who_waits_for_an_upload_that_advances_waits_beyond_the_time_limit),
        TEST(an_upload_that_fails_once_is_waited_for),
        TEST(an_upload_that_is_not_tried_again_in_time_is_not_waited_for),
        TEST(what_could_never_fit_is_refused_at_once),
        TEST(who_waits_for_room_is_woken_when_the_drive_stops),
        TEST(many_who_wait_all_come_to_write),
        TEST(what_is_there_is_overwritten_on_a_full_disk),
        TEST(a_full_disk_lets_clean_contents_go_first),
        TEST(what_could_never_fit_makes_nothing_go),
        cmocka_unit_test_setup_teardown(what_goes_into_a_draft_makes_no_room_and_nobody_waits_for_it,
                                        setup_drafts, teardown),
        TEST(a_partial_write_whose_rest_has_no_room_is_refused_before_anything_is_fetched),
        TEST(what_passed_the_limit_unsent_goes_as_soon_as_it_is_sent),
        TEST(what_an_open_file_would_push_past_the_limit_is_read_and_not_kept),
        TEST(what_the_service_cannot_give_back_is_never_evicted),
        TEST(a_last_copy_outlives_the_index),
        TEST(a_last_copy_says_what_it_is_for_a_rescue_without_a_journal),
        TEST(a_last_copy_stays_when_a_list_lacks_it_and_says_so),
        TEST(a_last_copy_stays_when_the_service_names_another_version),
        TEST(a_last_copy_that_is_written_to_is_unsent_until_it_is_sent_again),
        TEST(what_is_cached_is_dropped_when_its_user_says_so_but_not_what_is_nowhere_else),
        TEST(a_last_copy_that_its_user_removes_is_gone),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
