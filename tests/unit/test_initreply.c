#include "fs/initreply.h"

#include <linux/fuse.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

struct request {
    struct fuse_in_header head;
    struct fuse_init_in   in;
};

static void offer(struct pm_initreply *r, uint32_t opcode, uint32_t flags)
{
    struct request q = { .head = { .opcode = opcode, .unique = 2 }, .in = { .flags = flags } };

    pm_initreply_seen(r, &q, sizeof(q));
}

static size_t reply(struct pm_initreply *r, uint64_t unique, int error, uint32_t flags,
                    uint32_t *out)
{
    unsigned char          copy[PM_INITREPLY_MAX];
    struct fuse_out_header head = { .unique = unique, .error = error };
    struct fuse_init_out   init = { .flags = flags, .max_write = 77 };
    struct iovec           iov[] = { { &head, sizeof(head) }, { &init, sizeof(init) } };
    size_t                 len = pm_initreply_complete(r, iov, 2, copy);

    if (len == 0)
        return 0;
    memcpy(&init, copy + sizeof(head), sizeof(init));
    assert_int_equal(init.max_write, 77);
    *out = init.flags;
    return len;
}

static void adds_only_what_was_offered(void **state)
{
    static const struct {
        uint32_t offered, sent, want;
    } rows[] = {
        { FUSE_PARALLEL_DIROPS | FUSE_ASYNC_READ, FUSE_ASYNC_READ,
          FUSE_ASYNC_READ | FUSE_PARALLEL_DIROPS },
        { FUSE_ASYNC_READ, FUSE_ASYNC_READ, FUSE_ASYNC_READ },
        { 0xffffffff & ~FUSE_INIT_EXT, FUSE_BIG_WRITES,
          FUSE_BIG_WRITES | FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pm_initreply r = { 0 };
        uint32_t            flags = 0;

        offer(&r, FUSE_INIT, rows[i].offered);
        assert_int_equal(reply(&r, 2, 0, rows[i].sent, &flags),
                         sizeof(struct fuse_out_header) + sizeof(struct fuse_init_out));
        assert_int_equal(flags, rows[i].want);
        assert_int_equal(r.sent, rows[i].want);
    }
}

static void leaves_all_other_replies_alone(void **state)
{
    struct pm_initreply r = { 0 };
    uint32_t            flags = 0;

    (void)state;
    offer(&r, FUSE_LOOKUP, FUSE_PARALLEL_DIROPS);
    assert_int_equal(reply(&r, 2, 0, 1, &flags), 0); /* it was no INIT */
    offer(&r, FUSE_INIT, FUSE_PARALLEL_DIROPS);
    assert_int_equal(reply(&r, 3, 0, 1, &flags), 0); /* another request's */
    assert_int_equal(reply(&r, 0, 0, 1, &flags), 0); /* a notification */
    assert_int_equal(reply(&r, 2, -71, 1, &flags), 0); /* an error */
    assert_int_equal(reply(&r, 2, 0, 0, &flags), 0); /* asks for another version */
    assert_true(reply(&r, 2, 0, 1, &flags) > 0);
}

static void helps_only_versions_that_need_it(void **state)
{
    static const struct {
        const char *version;
        bool        needed;
    } rows[] = {
        { "3.10.5", false }, { "3.14.0", true },  { "3.14.1", true }, { "3.16.2", true },
        { "3.17.3", true },  { "3.17.4", false }, { "3.18", false },  { "4.0.0", false },
        { "", false },       { "3.17.4-rc1", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(pm_initreply_needed(rows[i].version), rows[i].needed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adds_only_what_was_offered),
        cmocka_unit_test(leaves_all_other_replies_alone),
        cmocka_unit_test(helps_only_versions_that_need_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
