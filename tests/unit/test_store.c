/* Contents held here: what is fetched, kept, evicted, and what a write leaves of the base. */
#include "cache/db_usage.h"
#include "tests/unit/cache_env.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include <cmocka.h>

#define K (1024u)

static struct env     e;
static unsigned char *bytes; /* what every big file of the service holds */
static size_t         nbytes;

static int setup(void **state)
{
    (void)state;
    env_start(&e);
    nbytes = 8192 * K;
    bytes = malloc(nbytes);
    for (size_t i = 0; i < nbytes; i++)
        bytes[i] = (unsigned char)((i * 2654435761u) >> 13);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (e.c)
        pm_memory_block(e.b, PM_MEM_FETCH, false);
    env_close(&e);
    free(bytes);
    return 0;
}

static pm_node serve(const char *name, size_t size)
{
    assert_int_equal(pm_memory_set(e.b, name, PM_FILE, bytes, size), 0);
    assert_int_equal(env_list(&e, e.root), 0);
    return env_find(&e, name);
}

static struct pm_file *open_file(pm_node node, int flags)
{
    struct pm_file *f;

    assert_int_equal(pm_file_open(e.c, node, flags, &f), 0);
    return f;
}

static void check_bytes(struct pm_file *f, uint64_t off, size_t len)
{
    static unsigned char buf[128 * K];

    while (len) {
        size_t n = len < sizeof(buf) ? len : sizeof(buf);

        assert_int_equal(env_read(f, buf, n, off), n);
        assert_memory_equal(buf, bytes + off, n);
        off += n;
        len -= n;
    }
}

static void read_whole(pm_node node, size_t size)
{
    struct pm_file *f = open_file(node, O_RDONLY);

    check_bytes(f, 0, size);
    pm_file_release(f);
}

static bool is_held(pm_node node)
{
    bool held;

    pm_db_begin(e.c->db);
    held = pm_db_int(e.c->db, 0, "SELECT id FROM content WHERE node=?1", "i", (int64_t)node) != 0;
    pm_db_end(e.c->db, 0);
    return held;
}

static bool no_transfers(void *arg)
{
    struct pm_content *k = pm_content_peek(e.c->store, *(pm_node *)arg);
    bool               none = true;

    if (k) {
        pthread_mutex_lock(&k->lock);
        none = !k->transfers;
        pthread_mutex_unlock(&k->lock);
        pm_content_put(k);
    }
    return none;
}

/* --- reading */

static void a_content_reads_as_it_is_and_then_from_here(void **state)
{
    pm_node  node = serve("a", nbytes);
    unsigned fetches;

    (void)state;
    read_whole(node, nbytes);
    fetches = pm_memory_calls(e.b, PM_MEM_FETCH);
    read_whole(node, nbytes);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_FETCH), fetches);
}

static void random_reads_are_right(void **state)
{
    struct pm_file *f = open_file(serve("a", nbytes), O_RDONLY);

    (void)state;
    srandom(3);
    for (int i = 0; i < 300; i++) {
        uint64_t off = (uint64_t)random() % nbytes;
        size_t   len = (size_t)random() % (64 * K);

        check_bytes(f, off, len < nbytes - off ? len : nbytes - off);
    }
    pm_file_release(f);
}

static void reads_past_the_end_are_short_or_empty(void **state)
{
    struct pm_file *f = open_file(serve("a", 1000), O_RDONLY);
    char            buf[100];

    (void)state;
    assert_int_equal(env_read(f, buf, 100, 950), 50);
    assert_int_equal(env_read(f, buf, 100, 1000), 0);
    assert_int_equal(env_read(f, buf, 100, 1 << 30), 0);
    pm_file_release(f);
}

static void a_range_is_fetched_once_for_many_waiters(void **state)
{
    static struct env_waiter w[30];
    struct pm_file          *f = open_file(serve("a", 60 * K), O_RDONLY);
    char                     buf[100];

    (void)state;
    pm_memory_block(e.b, PM_MEM_FETCH, true);
    for (size_t i = 0; i < PM_COUNT(w); i++) {
        env_waiter_init(&w[i]);
        assert_int_equal(pm_file_read(f, buf, 100, i * 1000, &w[i].w), -EINPROGRESS);
    }
    pm_memory_block(e.b, PM_MEM_FETCH, false);
    for (size_t i = 0; i < PM_COUNT(w); i++) {
        assert_true(env_waiter_wait(&w[i], 30000));
        assert_int_equal(w[i].err, 0);
        assert_int_equal(pm_file_read(f, buf, 100, i * 1000, NULL), 100);
        assert_memory_equal(buf, bytes + i * 1000, 100);
    }
    usleep(20000);
    for (size_t i = 0; i < PM_COUNT(w); i++)
        assert_int_equal(w[i].woken, 1);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_FETCH), 1);
    pm_file_release(f);
}

static void a_failed_fetch_wakes_each_waiter_once_and_the_next_read_tries_anew(void **state)
{
    static struct env_waiter w[10];
    struct pm_file          *f = open_file(serve("a", 60 * K), O_RDONLY);
    char                     buf[100];

    (void)state;
    pm_memory_block(e.b, PM_MEM_FETCH, true);
    pm_memory_fault(e.b, PM_MEM_FETCH, 1, -EACCES, false);
    for (size_t i = 0; i < PM_COUNT(w); i++) {
        env_waiter_init(&w[i]);
        assert_int_equal(pm_file_read(f, buf, 100, i * 1000, &w[i].w), -EINPROGRESS);
    }
    pm_memory_block(e.b, PM_MEM_FETCH, false);
    for (size_t i = 0; i < PM_COUNT(w); i++) {
        assert_true(env_waiter_wait(&w[i], 30000));
        assert_int_equal(w[i].err, -EACCES);
        assert_int_equal(w[i].woken, 1);
    }
    check_bytes(f, 0, 60 * K);
    pm_file_release(f);
}

static void who_waits_for_bytes_is_woken_when_the_drive_stops(void **state)
{
    static struct env_waiter w;
    struct pm_file          *f = open_file(serve("a", 60 * K), O_RDONLY);
    char                     buf[100];

    (void)state;
    pm_memory_block(e.b, PM_MEM_FETCH, true);
    env_waiter_init(&w);
    assert_int_equal(pm_file_read(f, buf, 100, 0, &w.w), -EINPROGRESS);
    pm_cache_stop(e.c);
    assert_int_equal(w.woken, 1);
    assert_int_equal(w.err, -ESHUTDOWN);
    pm_file_release(f);
    pm_cache_free(e.c);
    e.c = NULL;
}

static void a_service_without_ranges_is_read_in_order(void **state)
{
    struct pm_memory_options no_ranges = {.no_ranges = true};
    struct pm_file          *f;

    (void)state;
    pm_memory_set_options(e.b, &no_ranges);
    f = open_file(serve("a", 2048 * K), O_RDONLY);
    check_bytes(f, 1900 * K, 10 * K);
    check_bytes(f, 0, 2048 * K);
    pm_file_release(f);
}

static void an_incomplete_content_that_moved_on_is_stale_and_opens_anew(void **state)
{
    pm_node         node = serve("a", nbytes);
    struct pm_file *f = open_file(node, O_RDONLY);
    char            buf[100];

    (void)state;
    check_bytes(f, 0, 4 * K);
    assert_true(env_until(no_transfers, &node));
    env_serve(&e, "a", "another");
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(env_read(f, buf, 100, nbytes - 100), -ESTALE);
    pm_file_release(f);
    assert_string_equal(env_text(&e, node), "another");
}

static void who_waits_in_a_content_that_moved_on_is_told_at_once(void **state)
{
    pm_node                  node = serve("a", nbytes);
    struct pm_file          *f = open_file(node, O_RDONLY);
    static struct env_waiter w;
    char                     buf[100];
    bool                     told;

    (void)state;
    pm_memory_block(e.b, PM_MEM_FETCH, true);
    env_waiter_init(&w);
    assert_int_equal(pm_file_read(f, buf, 100, 0, &w.w), -EINPROGRESS);
    env_serve(&e, "a", "another");
    assert_int_equal(env_list(&e, e.root), 0);
    told = env_waiter_wait(&w, 30000);
    pm_memory_block(e.b, PM_MEM_FETCH, false);
    assert_true(told);
    assert_int_equal(w.err, -ESTALE);
    pm_file_release(f);
    assert_string_equal(env_text(&e, node), "another");
}

static void a_whole_open_content_stays_readable_when_it_moved_on(void **state)
{
    pm_node         node = serve("a", 60 * K);
    struct pm_file *f = open_file(node, O_RDONLY);

    (void)state;
    check_bytes(f, 0, 60 * K);
    env_serve(&e, "a", "another");
    assert_int_equal(env_list(&e, e.root), 0);
    check_bytes(f, 0, 60 * K);
    assert_true(env_until(no_transfers, &node)); /* a download that ends uses it, too */
    pm_file_release(f);
    assert_string_equal(env_text(&e, node), "another");
}

/* --- space */

static void set_max(uint64_t size)
{
    env_stop(&e);
    e.conf.max_size = size;
    env_open(&e);
    pm_queue_pause(e.c, true);
}

static void the_least_recently_used_goes_first(void **state)
{
    pm_node a, b, c;

    (void)state;
    set_max(256 * K);
    a = serve("a", 100 * K);
    b = serve("b", 100 * K);
    c = serve("c", 100 * K);
    read_whole(a, 100 * K);
    usleep(5000);
    read_whole(b, 100 * K);
    usleep(5000);
    read_whole(a, 100 * K); /* used again, nothing new */
    usleep(5000);
    read_whole(c, 100 * K);
    assert_true(is_held(a));
    assert_false(is_held(b));
    assert_true(is_held(c));
}

static void unsent_and_open_contents_are_never_evicted(void **state)
{
    static char     text[100 * K];
    struct pm_file *f;
    pm_node         mine, open, other;

    (void)state;
    set_max(128 * K);
    memset(text, 'm', sizeof(text) - 1);
    mine = env_write(&e, e.root, "mine", text);
    open = serve("open", 60 * K);
    f = open_file(open, O_RDONLY);
    check_bytes(f, 0, 60 * K);
    for (int i = 0; i < 5; i++) {
        char name[16];

        snprintf(name, sizeof(name), "o%d", i);
        other = serve(name, 100 * K);
        read_whole(other, 100 * K);
    }
    assert_true(is_held(mine));
    assert_true(is_held(open));
    check_bytes(f, 0, 60 * K);
    pm_file_release(f);
    env_sync(&e);
    assert_int_equal(env_served(&e, "mine")[100], 'm');
}

static void a_content_bigger_than_the_cache_reads_byte_equal(void **state)
{
    struct pm_store_usage usage;
    pm_node               node;

    (void)state;
    set_max(1024 * K);
    node = serve("a", nbytes);
    read_whole(node, nbytes);
    pm_store_usage(e.c->store, &usage);
    assert_true(usage.used <= 1024 * K);
    read_whole(node, nbytes);
}

static void a_cache_of_nothing_still_reads(void **state)
{
    struct pm_file *f;

    (void)state;
    set_max(0);
    f = open_file(serve("a", nbytes), O_RDONLY);
    srandom(4);
    for (int i = 0; i < 100; i++)
        check_bytes(f, (uint64_t)random() % (nbytes - 64 * K), 64 * K);
    check_bytes(f, 0, nbytes);
    pm_file_release(f);
}

/* Whatever comes of it. */
static void read_some(pm_node node)
{
    struct pm_file *f = open_file(node, O_RDONLY);
    char            buf[4096];

    env_read(f, buf, sizeof(buf), 0);
    pm_file_release(f);
}

/* The sums that are kept are what counting gives. */
static void check_usage(void)
{
    struct pm_usage_sums sums;
    int64_t              all, unsent, last_copy;

    pm_db_begin(e.c->db);
    all = pm_db_int(e.c->db, 0, "SELECT sum(bytes) FROM content", "");
    unsent = pm_db_int(e.c->db, 0, "SELECT sum(bytes) FROM content WHERE node IN"
                                   " (SELECT node FROM j.entry WHERE op=1)", "");
    last_copy = pm_db_int(e.c->db, 0, "SELECT sum(bytes) FROM content WHERE id IN (SELECT content"
                                      " FROM j.kept) AND node NOT IN (SELECT node FROM j.entry WHERE"
                                      " op=1)", "");
    pm_db_usage(e.c->db, &sums);
    pm_db_end(e.c->db, 0);
    assert_int_equal(sums.all, all);
    assert_int_equal(sums.unsent, unsent);
    assert_int_equal(sums.last_copy, last_copy);
}

static void what_is_counted_is_what_is_there(void **state)
{
    struct pm_memory_options one_way = {.no_download = true}, plain = {.no_download = false};
    struct pm_store_usage    usage;
    char                     name[16];
    pm_node                  node[8];

    (void)state;
    srandom(5);
    for (int i = 0; i < 60; i++) {
        int n = (int)(random() % 8);

        snprintf(name, sizeof(name), "f%d", n);
        node[n] = env_find(&e, name);
        if (!node[n])
            node[n] = serve(name, (size_t)(1 + random() % (200 * K)));
        switch (random() % 4) {
        case 0: read_some(node[n]); break;
        case 1: env_write(&e, e.root, name, "written"); break;
        case 2: pm_change_unlink(e.c, e.root, name); env_sync(&e); break;
        case 3:
            env_stop(&e);
            env_open(&e);
            pm_queue_pause(e.c, false);
            for (int twice = 0; twice < 2; twice++) /* the service is a new one, without all that */
                assert_int_equal(env_list(&e, e.root), 0);
            break;
        }
        pm_memory_set_options(e.b, i % 3 ? &plain : &one_way);
        check_usage();
    }
    env_sync(&e);
    env_stop(&e);
    env_open(&e);
    check_usage();
    pm_store_usage(e.c->store, &usage);
    assert_true(usage.used < 16 * 1024 * K);
    assert_int_equal(usage.used, env_sql(&e, "SELECT ifnull(sum(bytes), 0) FROM content"));
}

/* --- what survives */

static void what_is_present_survives_close_and_reopen(void **state)
{
    pm_node         node = serve("a", nbytes);
    struct pm_file *f = open_file(node, O_RDONLY);
    unsigned        fetches;

    (void)state;
    check_bytes(f, 4096 * K, 64 * K);
    assert_true(env_until(no_transfers, &node));
    pm_file_release(f);
    fetches = pm_memory_calls(e.b, PM_MEM_FETCH);
    f = open_file(node, O_RDONLY);
    check_bytes(f, 4096 * K, 64 * K);
    pm_file_release(f);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_FETCH), fetches);
}

static void written_ranges_survive_a_kill_before_the_base_was_whole(void **state)
{
    struct env           after;
    struct pm_file      *f;
    struct env_waiter    w;
    static unsigned char buf[200];
    pm_node              node = serve("a", 1024 * K);

    (void)state;
    pm_memory_block(e.b, PM_MEM_FETCH, true);
    f = open_file(node, O_RDWR);
    assert_int_equal(pm_file_write(f, "written", 7, 500 * K), 7);
    assert_int_equal(pm_file_flush(f), 0);
    env_copy_folder(&e, &after);
    pm_file_release(f);
    env_close(&e);
    e = after;
    env_open(&e);
    pm_queue_pause(e.c, true);
    f = open_file(node, O_RDONLY);
    assert_int_equal(pm_file_read(f, buf, 7, 500 * K, NULL), 7);
    assert_memory_equal(buf, "written", 7);
    env_waiter_init(&w);
    assert_int_equal(pm_file_read(f, buf, 7, 100, &w.w), -EINPROGRESS); /* the base is not there */
    assert_true(env_waiter_wait(&w, 30000));
    pm_file_release(f);
}

static void a_partial_write_keeps_the_rest_of_the_base(void **state)
{
    pm_node         node = serve("a", 1024 * K);
    struct pm_file *f = open_file(node, O_RDWR);

    (void)state;
    memcpy(bytes + 500 * K, "written", 7);
    assert_int_equal(pm_file_write(f, "written", 7, 500 * K), 7);
    check_bytes(f, 0, 1024 * K);
    pm_file_release(f);
    env_sync(&e);
    memcpy(bytes, "start", 5);
    f = open_file(node, O_RDWR);
    assert_int_equal(pm_file_write(f, "start", 5, 0), 5);
    pm_file_release(f);
    env_sync(&e);
    assert_memory_equal(env_served(&e, "a"), bytes, 4096);
    read_whole(node, 1024 * K);
}

#define BEYOND "9223372036854775806" /* the row that tells where the base ends */

/* Of a file of any size that is written from its start to its end. */
static void what_is_written_in_order_is_noted_as_one(void **state)
{
    pm_node         node = serve("a", nbytes);
    struct pm_file *f = open_file(node, O_RDWR);

    (void)state;
    pm_memory_block(e.b, PM_MEM_FETCH, true);
    for (uint64_t off = 4 * K; off < 64 * K; off += K)
        assert_int_equal(pm_file_write(f, bytes, K, off), K);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.dirty WHERE end<>" BEYOND), 1);
    assert_int_equal(env_sql(&e, "SELECT off FROM j.dirty WHERE end<>" BEYOND), 4 * K);
    assert_int_equal(env_sql(&e, "SELECT end FROM j.dirty WHERE end<>" BEYOND), 64 * K);
    assert_int_equal(pm_change_size(e.c, node, 0, NULL), 0);
    assert_int_equal(pm_file_write(f, bytes, K, K), K);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.dirty WHERE end<>" BEYOND), 1);
    assert_int_equal(env_sql(&e, "SELECT off FROM j.dirty WHERE end<>" BEYOND), 0);
    pm_memory_block(e.b, PM_MEM_FETCH, false);
    pm_file_release(f);
}

static void truncate_then_extend_reads_zeros(void **state)
{
    pm_node         node = serve("a", 1024 * K);
    struct pm_file *f;

    (void)state;
    assert_int_equal(pm_change_size(e.c, node, 100, NULL), 0);
    assert_int_equal(pm_change_size(e.c, node, 300 * K, NULL), 0);
    memset(bytes + 100, 0, 300 * K - 100);
    f = open_file(node, O_RDONLY);
    check_bytes(f, 0, 300 * K);
    pm_file_release(f);
    env_sync(&e);
    read_whole(node, 300 * K);
    assert_memory_equal(env_served(&e, "a"), bytes, 4096);
}

static void extending_beyond_the_base_reads_zeros_between(void **state)
{
    pm_node         node = serve("a", 100 * K);
    struct pm_file *f = open_file(node, O_RDWR);

    (void)state;
    memset(bytes + 100 * K, 0, 100 * K);
    memcpy(bytes + 200 * K, "end", 3);
    assert_int_equal(pm_file_write(f, "end", 3, 200 * K), 3);
    check_bytes(f, 0, 200 * K + 3);
    pm_file_release(f);
    env_sync(&e);
    read_whole(node, 200 * K + 3);
}

static void room_that_is_asked_for_extends_the_file_or_leaves_it_as_it_is(void **state)
{
    pm_node         node = serve("a", 100 * K);
    struct pm_file *f = open_file(node, O_RDWR);

    (void)state;
    assert_int_equal(pm_file_allocate(f, FALLOC_FL_KEEP_SIZE, 0, 500 * K, NULL), 0);
    assert_int_equal(pm_file_allocate(f, 0, 10 * K, 50 * K, NULL), 0);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry"), 0); /* nothing has changed */
    check_bytes(f, 0, 100 * K);
    assert_int_equal(pm_file_allocate(f, 0, 150 * K, 50 * K, NULL), 0);
    memset(bytes + 100 * K, 0, 100 * K);
    check_bytes(f, 0, 200 * K);
    pm_file_release(f);
    env_sync(&e);
    read_whole(node, 200 * K);
    assert_memory_equal(env_served(&e, "a"), bytes, 4096);
}

static void a_range_made_zero_is_as_written(void **state)
{
    struct env      after;
    pm_node         node = serve("a", 1024 * K);
    struct pm_file *f;
    unsigned char   buf[100];

    (void)state;
    pm_memory_block(e.b, PM_MEM_FETCH, true);
    f = open_file(node, O_RDWR);
    assert_int_equal(
        pm_file_allocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1000, 300 * K, NULL), 0);
    assert_int_equal(
        pm_file_allocate(f, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 1000 * K, 300 * K, NULL), 0);
    memset(bytes + 1000, 0, 300 * K);
    memset(bytes + 1000 * K, 0, 24 * K);
    check_bytes(f, 1000, 300 * K); /* at once: nothing of it is fetched any more */
    assert_int_equal(pm_file_flush(f), 0);
    env_copy_folder(&e, &after);
    pm_memory_block(e.b, PM_MEM_FETCH, false);
    pm_file_release(f);
    env_sync(&e);
    read_whole(node, 1024 * K);
    assert_memory_equal(env_served(&e, "a"), bytes, 8000);
    env_close(&e); /* and what a crash left knows it, too */
    e = after;
    env_open(&e);
    pm_queue_pause(e.c, true);
    f = open_file(node, O_RDONLY);
    assert_int_equal(pm_file_read(f, buf, sizeof(buf), 299 * K, NULL), sizeof(buf));
    assert_memory_equal(buf, bytes + 299 * K, sizeof(buf));
    pm_file_release(f);
}

static void zeros_past_the_end_extend_unless_the_size_is_kept(void **state)
{
    pm_node         node = serve("a", 100 * K);
    struct pm_file *f = open_file(node, O_RDWR);
    struct pm_attr  attr;

    (void)state;
    assert_int_equal(
        pm_file_allocate(f, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 120 * K, 10, NULL), 0);
    assert_int_equal(
        pm_file_allocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 120 * K, 10, NULL), 0);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry"), 0);
    assert_int_equal(pm_file_allocate(f, FALLOC_FL_ZERO_RANGE, 90 * K, 60 * K, NULL), 0);
    assert_int_equal(pm_tree_getattr(e.c, node, &attr), 0);
    assert_int_equal(attr.size, 150 * K);
    memset(bytes + 90 * K, 0, 60 * K);
    check_bytes(f, 0, 150 * K);
    pm_file_release(f);
}

static void what_cannot_be_allocated_is_refused_by_its_reason(void **state)
{
    pm_node         node = serve("a", 100 * K);
    struct pm_file *f = open_file(node, O_RDONLY);

    (void)state;
    assert_int_equal(pm_file_allocate(f, 0, 0, 200 * K, NULL), -EBADF);
    pm_file_release(f);
    f = open_file(node, O_RDWR);
    assert_int_equal(pm_file_allocate(f, FALLOC_FL_PUNCH_HOLE, 0, 1, NULL), -EOPNOTSUPP);
    assert_int_equal(pm_file_allocate(f, FALLOC_FL_COLLAPSE_RANGE, 0, 4096, NULL), -EOPNOTSUPP);
    assert_int_equal(pm_file_allocate(f, FALLOC_FL_INSERT_RANGE, 0, 4096, NULL), -EOPNOTSUPP);
    assert_int_equal(
        pm_file_allocate(f, FALLOC_FL_ZERO_RANGE | FALLOC_FL_PUNCH_HOLE, 0, 4096, NULL), -EOPNOTSUPP);
    assert_int_equal(pm_file_allocate(f, 0, INT64_MAX - 10, 5, NULL), -EFBIG);
    e.conf.min_free = INT64_MAX / 2;
    assert_int_equal(pm_file_allocate(f, 0, 0, 200 * K, NULL), -ENOSPC);
    assert_int_equal(pm_file_allocate(f, FALLOC_FL_KEEP_SIZE, 0, 200 * K, NULL), -ENOSPC);
    e.conf.min_free = 0;
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry"), 0);
    pm_file_release(f);
}

static void room_that_a_file_has_already_is_not_asked_for_again(void **state)
{
    pm_node         node = env_write(&e, e.root, "mine", "");
    struct pm_file *f = open_file(node, O_RDWR);
    struct pm_space space;
    int             err = -ENOSPC;

    (void)state;
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(pm_file_write(f, bytes, 4096 * K, i * 4096 * K), 4096 * K);
    for (int i = 0; i < 100 && err; i++) { /* others use the same disk */
        e.conf.min_free = 0;
        assert_int_equal(pm_info_space(e.c, &space), 0);
        e.conf.min_free = space.free - 16384 * K; /* so much is left, less than the file has */
        err = pm_file_allocate(f, 0, 0, 32768 * K, NULL);
    }
    assert_int_equal(err, 0);
    assert_int_equal(pm_file_allocate(f, 0, 0, 4096ull * 1024 * K, NULL), -ENOSPC);
    e.conf.min_free = 0;
    pm_file_release(f);
}

static void random_writes_and_truncates_agree_with_a_copy(void **state)
{
    static unsigned char model[512 * K];
    pm_node              node = serve("a", 256 * K);
    struct pm_file      *f = open_file(node, O_RDWR);
    size_t               size = 256 * K;

    (void)state;
    srandom(6);
    memcpy(model, bytes, size);
    for (int i = 0; i < 400; i++) {
        uint64_t off = (uint64_t)random() % (480 * K);
        size_t   len = (size_t)random() % (16 * K);

        switch (random() % 6) {
        case 0:
            assert_int_equal(pm_file_write(f, bytes + 1024 * K + i, len, off), len);
            if (len && off > size)
                memset(model + size, 0, off - size);
            memcpy(model + off, bytes + 1024 * K + i, len);
            if (len && off + len > size)
                size = off + len;
            break;
        case 1:
            assert_int_equal(pm_change_size(e.c, node, off, NULL), 0);
            if (off > size)
                memset(model + size, 0, off - size);
            size = off;
            break;
        case 2: {
            static unsigned char buf[16 * K];
            ssize_t              want = off >= size ? 0 : (ssize_t)(size - off < len ? size - off : len);

            assert_int_equal(env_read(f, buf, len, off), want);
            assert_memory_equal(buf, model + off, (size_t)want);
            break;
        }
        case 3:
            if (random() % 10 == 0) {
                pm_file_release(f);
                if (random() % 2)
                    env_sync(&e);
                f = open_file(node, O_RDWR);
            }
            break;
        case 4:
            assert_int_equal(
                pm_file_allocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len + 1, NULL), 0);
            if (off < size)
                memset(model + off, 0, size - off <= len ? size - off : len + 1);
            break;
        case 5:
            assert_int_equal(pm_file_allocate(f, FALLOC_FL_ZERO_RANGE, off, len + 1, NULL), 0);
            if (off > size)
                memset(model + size, 0, off - size);
            memset(model + off, 0, len + 1);
            if (off + len + 1 > size)
                size = off + len + 1;
            break;
        }
    }
    pm_file_release(f);
    env_sync(&e);
    memcpy(bytes, model, size);
    read_whole(node, size);
    assert_memory_equal(env_served(&e, "a"), bytes, size < 8000 ? size : 8000);
}

/* Is there a data file of that number? */
static bool has_file(int64_t id)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/data/%02x/%d", e.dir, (unsigned)(id & 0xff), (int)id);
    return access(path, F_OK) == 0;
}

static bool is_swept(void *arg)
{
    return !has_file(*(int64_t *)arg);
}

/* A file as a lost index leaves it, `label` in its attribute. */
static void leave_file(int64_t id, const char *label)
{
    char path[128];
    int  fd;

    snprintf(path, sizeof(path), "%s/data/%02x/%d", e.dir, (unsigned)(id & 0xff), (int)id);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "text", 4), 4);
    if (label)
        assert_int_equal(fsetxattr(fd, "user.polymount.unsent", label, strlen(label), 0), 0);
    close(fd);
}

static void sweep(void)
{
    static atomic_bool stop;

    pm_store_sweep(e.c->store, &stop);
}

static bool disk_has_attributes(void)
{
    return !setxattr(e.dir, "user.polymount.test", "1", 1, 0);
}

static void files_that_nothing_knows_of_go_and_unsent_ones_never(void **state)
{
    int64_t fetched = 1000;
    int64_t sent = 1001;
    pm_node mine = env_write(&e, e.root, "mine", "my work");

    (void)state;
    if (!disk_has_attributes())
        skip();
    read_whole(serve("theirs", 5000), 5000);
    env_stop(&e);
    leave_file(fetched, NULL);
    leave_file(sent, "no");
    leave_file(1002, "whole 7 memory /m/lost");
    leave_file(1003, "partial:4 8 memory /m/lost too");
    leave_file(1004, "what nobody understands");
    env_open(&e);
    assert_true(env_until(is_swept, &fetched));
    assert_true(env_until(is_swept, &sent));
    sweep(); /* all of it */
    for (int id = 1002; id <= 1004; id++)
        assert_true(has_file(id));
    assert_string_equal(env_text(&e, mine), "my work");
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM content WHERE present IS NOT NULL"), 2);
    read_whole(env_find(&e, "theirs"), 5000);
}

static void a_disk_that_cannot_say_what_is_unsent_is_not_swept(void **state)
{
    (void)state;
    if (disk_has_attributes())
        skip();
    leave_file(1000, NULL);
    sweep();
    assert_true(has_file(1000));
}

/* Its unsent content was dropped with it, but who has it open keeps that. */
static void a_removed_file_that_comes_back_is_what_the_service_has(void **state)
{
    struct pm_file *old, *f;
    struct pm_attr  attr;
    pm_node         node;
    char            buf[8];

    (void)state;
    env_serve(&e, "f", "theirs");
    assert_int_equal(env_list(&e, e.root), 0);
    node = env_write(&e, e.root, "f", "mine");
    old = open_file(node, O_RDONLY);
    assert_int_equal(pm_change_unlink(e.c, e.root, "f"), 0);
    assert_int_equal(pm_change_undelete(e.c, e.root, "f"), 0);
    assert_int_equal(env_read(old, buf, sizeof(buf), 0), 4);
    assert_memory_equal(buf, "mine", 4);
    assert_int_equal(env_find(&e, "f"), node);
    assert_string_equal(env_text(&e, node), "theirs");
    assert_int_equal(pm_tree_getattr(e.c, node, &attr), 0);
    assert_int_equal(attr.size, strlen("theirs"));
    f = open_file(node, O_WRONLY);
    assert_int_equal(pm_file_write(f, "OUR", 3, 0), 3);
    pm_file_release(f);
    pm_file_release(old);
    env_sync(&e);
    assert_string_equal(env_served(&e, "f"), "OURirs");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_content_reads_as_it_is_and_then_from_here),
        TEST(random_reads_are_right),
        TEST(reads_past_the_end_are_short_or_empty),
        TEST(a_range_is_fetched_once_for_many_waiters),
        TEST(a_failed_fetch_wakes_each_waiter_once_and_the_next_read_tries_anew),
        TEST(who_waits_for_bytes_is_woken_when_the_drive_stops),
        TEST(a_service_without_ranges_is_read_in_order),
        TEST(an_incomplete_content_that_moved_on_is_stale_and_opens_anew),
        TEST(who_waits_in_a_content_that_moved_on_is_told_at_once),
        TEST(a_whole_open_content_stays_readable_when_it_moved_on),
        TEST(the_least_recently_used_goes_first),
        TEST(unsent_and_open_contents_are_never_evicted),
        TEST(a_content_bigger_than_the_cache_reads_byte_equal),
        TEST(a_cache_of_nothing_still_reads),
        TEST(what_is_counted_is_what_is_there),
        TEST(what_is_present_survives_close_and_reopen),
        TEST(written_ranges_survive_a_kill_before_the_base_was_whole),
        TEST(a_partial_write_keeps_the_rest_of_the_base),
        TEST(what_is_written_in_order_is_noted_as_one),
        TEST(truncate_then_extend_reads_zeros),
        TEST(extending_beyond_the_base_reads_zeros_between),
        TEST(room_that_is_asked_for_extends_the_file_or_leaves_it_as_it_is),
        TEST(a_range_made_zero_is_as_written),
        TEST(zeros_past_the_end_extend_unless_the_size_is_kept),
        TEST(what_cannot_be_allocated_is_refused_by_its_reason),
        TEST(room_that_a_file_has_already_is_not_asked_for_again),
        TEST(random_writes_and_truncates_agree_with_a_copy),
        TEST(files_that_nothing_knows_of_go_and_unsent_ones_never),
        TEST(a_disk_that_cannot_say_what_is_unsent_is_not_swept),
        TEST(a_removed_file_that_comes_back_is_what_the_service_has),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
