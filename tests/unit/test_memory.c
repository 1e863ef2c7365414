#include "backends/memory.h"
#include "backends/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct pm_account_conf account = {
    .name = (char *)"m", .type = (char *)"memory", .endpoint = (char *)"memory:"};
static const struct pm_entry root = {.kind = PM_FOLDER, .root = "", .id = "", .name = "",
                                     .path = "", .target = "", .version = "", .state = "",
                                     .size = PM_SIZE_UNKNOWN};

static struct pm_backend *open_backend(void)
{
    struct pm_backend *b = NULL;

    assert_int_equal(pm_backend_open(&account, NULL, NULL, &b), 0);
    return b;
}

static int keep_last(void *arg, const struct pm_entry *e)
{
    struct pm_entry **kept = arg;

    free(*kept);
    *kept = pm_entry_dup(e);
    return 0;
}

static struct pm_entry *only_entry(struct pm_backend *b)
{
    struct pm_ctx    ctx = {0};
    struct pm_entry *e = NULL;

    assert_int_equal(pm_backend_list(b, &ctx, &root, keep_last, &e), 0);
    return e;
}

static void every_kind_is_shown(void **state)
{
    static const enum pm_kind kinds[] = {PM_FOLDER, PM_FILE, PM_LINK, PM_DOCUMENT};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(kinds); i++) {
        struct pm_backend *b = open_backend();
        struct pm_entry   *e;

        assert_int_equal(pm_memory_set(b, "a%20b", kinds[i], "../x", 4), 0);
        e = only_entry(b);
        assert_int_equal(e->kind, kinds[i]);
        assert_string_equal(e->name, "a b");
        assert_string_equal(e->target, kinds[i] == PM_LINK ? "../x" : "");
        free(e);
        pm_backend_close(b);
    }
}

static void options_take_away_what_services_lack(void **state)
{
    struct pm_backend *b = open_backend();
    struct pm_entry   *e;

    (void)state;
    pm_memory_set(b, "f", PM_FILE, "abc", 3);
    pm_memory_set_options(b, &(struct pm_memory_options){.no_sizes = true});
    e = only_entry(b);
    assert_true(e->size == PM_SIZE_UNKNOWN && *e->id && *e->version);
    free(e);
    pm_memory_set_options(b, &(struct pm_memory_options){.no_ids = true});
    e = only_entry(b);
    assert_true(e->size == 3 && !*e->id && *e->version);
    free(e);
    pm_memory_set_options(b, &(struct pm_memory_options){.no_validators = true});
    e = only_entry(b);
    assert_true(e->size == 3 && *e->id && !*e->version);
    free(e);
    pm_backend_close(b);
}

struct kept {
    struct pm_buf bytes;
    uint64_t      off;
    unsigned      done;
    int           err;
};

static int kept_begin(void *arg, const struct pm_answer *answer)
{
    ((struct kept *)arg)->off = answer->off;
    return 0;
}

static int kept_data(void *arg, const void *buf, size_t len)
{
    pm_buf_add(&((struct kept *)arg)->bytes, buf, len);
    return 0;
}

static void kept_done(void *arg, int err, const char *why)
{
    struct kept *k = arg;

    (void)why;
    k->err = err;
    k->done++;
}

static const struct pm_sink sink = {kept_begin, kept_data, kept_done};

static void fetching_obeys_the_options_and_faults(void **state)
{
    struct pm_backend *b = open_backend();
    struct pm_source  *source;
    struct pm_entry   *e;
    struct kept        k = {0};

    (void)state;
    pm_memory_set(b, "f", PM_FILE, "0123456789", 10);
    e = only_entry(b);
    assert_int_equal(pm_source_open(b, e, &source), 0);
    pm_fetch(source, 3, 4, PM_INTERACTIVE, NULL, &sink, &k);
    assert_int_equal(k.done, 1);
    assert_int_equal(k.off, 3);
    assert_string_equal(k.bytes.ptr, "3456");
    pm_buf_free(&k.bytes);
    pm_memory_set_options(b, &(struct pm_memory_options){.no_ranges = true});
    pm_fetch(source, 3, 4, PM_INTERACTIVE, NULL, &sink, &k);
    assert_int_equal(k.off, 0);
    assert_string_equal(k.bytes.ptr, "0123456789");
    pm_buf_free(&k.bytes);
    pm_memory_fault(b, PM_MEM_FETCH, 2, -EIO, false);
    pm_fetch(source, 0, 4, PM_INTERACTIVE, NULL, &sink, &k);
    assert_int_equal(k.err, 0);
    pm_fetch(source, 0, 4, PM_INTERACTIVE, NULL, &sink, &k);
    assert_int_equal(k.err, -EIO);
    pm_fetch(source, 0, 4, PM_INTERACTIVE, NULL, &sink, &k);
    assert_int_equal(k.err, 0);
    assert_int_equal(pm_memory_calls(b, PM_MEM_FETCH), 5);
    pm_buf_free(&k.bytes);
    pm_source_close(source);
    free(e);
    pm_backend_close(b);
}

static void uploads_are_taken_in_steps_and_resumed(void **state)
{
    struct pm_backend *b = open_backend();
    FILE              *f = tmpfile();
    struct pm_upload   up = {
          .parent = &root, .name = "n", .fd = fileno(f), .size = 3 * PM_MEMORY_STEP + 5};
    struct pm_ctx    ctx = {0};
    struct pm_entry *e = NULL;
    uint64_t         off = 0;

    (void)state;
    assert_int_equal(ftruncate(up.fd, (off_t)up.size), 0);
    assert_int_equal(pm_backend_begin(b, &ctx, &up), 0);
    assert_int_equal(pm_backend_put(b, &ctx, &up, &off), 0);
    assert_int_equal(off, PM_MEMORY_STEP);
    pm_memory_fault(b, PM_MEM_PUT, 1, -EAGAIN, true); /* a lost answer */
    assert_int_equal(pm_backend_put(b, &ctx, &up, &off), -EAGAIN);
    assert_int_equal(off, PM_MEMORY_STEP);
    assert_int_equal(pm_backend_put(b, &ctx, &up, &off), -ESTALE);
    assert_int_equal(pm_backend_resume(b, &ctx, &up, &off), 0);
    assert_int_equal(off, 2 * PM_MEMORY_STEP);
    assert_int_equal(pm_backend_finish(b, &ctx, &up, &e), -EAGAIN);
    while (off < up.size)
        assert_int_equal(pm_backend_put(b, &ctx, &up, &off), 0);
    pm_memory_fault(b, PM_MEM_FINISH, 1, -EAGAIN, true);
    assert_int_equal(pm_backend_finish(b, &ctx, &up, &e), -EAGAIN);
    assert_int_equal(pm_backend_finish(b, &ctx, &up, &e), 0);
    assert_int_equal(pm_memory_count(b), 1);
    assert_int_equal(e->size, up.size);
    free(e);
    free(up.state);
    fclose(f);
    pm_backend_close(b);
}

static void waits_end_by_deadline(void **state)
{
    struct pm_backend *b = open_backend();
    struct pm_ctx      ctx = {.deadline_ms = pm_now_ms() + 50};
    struct pm_entry   *e = NULL;

    (void)state;
    pm_memory_block(b, PM_MEM_LIST, true);
    assert_int_equal(pm_backend_list(b, &ctx, &root, keep_last, &e), -ETIMEDOUT);
    pm_memory_block(b, PM_MEM_LIST, false);
    pm_memory_delay(b, PM_MEM_LIST, 20);
    ctx.deadline_ms = 0;
    assert_int_equal(pm_backend_list(b, &ctx, &root, keep_last, &e), 0);
    pm_backend_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_shown),
        cmocka_unit_test(options_take_away_what_services_lack),
        cmocka_unit_test(fetching_obeys_the_options_and_faults),
        cmocka_unit_test(uploads_are_taken_in_steps_and_resumed),
        cmocka_unit_test(waits_end_by_deadline),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
