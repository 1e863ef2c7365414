/* Sets of ranges, against a bitmap. */
#include "cache/range.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BITS  512u
#define STEPS 20000

static bool model[BITS];

static void model_fill(uint64_t off, uint64_t end, bool value)
{
    for (uint64_t i = off; i < end; i++)
        model[i] = value;
}

static void check_form(const struct pm_ranges *s)
{
    for (size_t i = 0; i < s->n; i++) {
        assert_true(s->r[i].off < s->r[i].end);
        if (i)
            assert_true(s->r[i - 1].end < s->r[i].off);
    }
}

static void check_members(const struct pm_ranges *s)
{
    for (uint64_t i = 0; i < BITS; i++)
        assert_int_equal(pm_ranges_has(s, i, i + 1), model[i]);
}

/* What the bitmap says of [off, end), compared. */
static void check_question(const struct pm_ranges *s, uint64_t off, uint64_t end)
{
    struct pm_range gap;
    uint64_t        count = 0;
    uint64_t        first = end;
    uint64_t        last;

    for (uint64_t i = off; i < end; i++) {
        count += model[i];
        if (!model[i] && first == end)
            first = i;
    }
    for (last = first; last < end && !model[last];)
        last++;
    assert_int_equal(pm_ranges_count(s, off, end), count);
    assert_int_equal(pm_ranges_has(s, off, end), first >= end);
    if (first >= end) {
        assert_false(pm_ranges_gap(s, off, end, &gap));
        return;
    }
    assert_true(pm_ranges_gap(s, off, end, &gap));
    assert_int_equal(gap.off, first);
    assert_int_equal(gap.end, last);
}

static void check_saved(const struct pm_ranges *s)
{
    struct pm_ranges copy = {0};
    void            *blob;
    int64_t          len = pm_ranges_save(s, &blob);

    assert_int_equal(len, s->n * 16);
    assert_int_equal(pm_ranges_load(&copy, blob, (size_t)len), 0);
    assert_int_equal(copy.n, s->n);
    if (s->n)
        assert_memory_equal(copy.r, s->r, s->n * sizeof(*s->r));
    free(blob);
    pm_ranges_free(&copy);
}

static void random_steps_agree_with_a_bitmap(void **state)
{
    struct pm_ranges s = {0};

    (void)state;
    srandom(1);
    memset(model, 0, sizeof(model));
    for (int i = 0; i < STEPS; i++) {
        uint64_t off = (uint64_t)random() % BITS;
        uint64_t end = off + (uint64_t)random() % (random() % 8 ? 24 : BITS);
        bool     add = random() % 2;

        if (end > BITS)
            end = BITS;
        assert_int_equal(add ? pm_ranges_add(&s, off, end) : pm_ranges_sub(&s, off, end), 0);
        model_fill(off, end, add);
        check_form(&s);
        off = (uint64_t)random() % BITS;
        check_question(&s, off, off + (uint64_t)random() % (BITS - off + 1));
        if (i % 50 == 0) {
            check_members(&s);
            check_saved(&s);
        }
    }
    pm_ranges_free(&s);
}

static void neighbours_become_one(void **state)
{
    struct pm_ranges s = {0};

    (void)state;
    pm_ranges_add(&s, 0, 10);
    pm_ranges_add(&s, 20, 30);
    pm_ranges_add(&s, 10, 20);
    assert_int_equal(s.n, 1);
    assert_true(pm_ranges_has(&s, 0, 30));
    pm_ranges_free(&s);
}

static void nothing_is_always_there(void **state)
{
    struct pm_ranges s = {0};
    struct pm_range  gap;

    (void)state;
    assert_true(pm_ranges_has(&s, 5, 5));
    assert_false(pm_ranges_gap(&s, 5, 5, &gap));
    assert_int_equal(pm_ranges_add(&s, 5, 5), 0);
    assert_int_equal(s.n, 0);
    assert_int_equal(pm_ranges_sub(&s, 0, PM_RANGE_MAX), 0);
    assert_int_equal(pm_ranges_count(&s, 0, PM_RANGE_MAX), 0);
    pm_ranges_free(&s);
}

static void for_ever_can_be_cut_and_joined(void **state)
{
    struct pm_ranges s = {0};
    struct pm_range  gap;

    (void)state;
    pm_ranges_add(&s, 100, PM_RANGE_MAX);
    assert_true(pm_ranges_has(&s, PM_RANGE_MAX - 1, PM_RANGE_MAX));
    pm_ranges_sub(&s, 200, 300);
    assert_int_equal(s.n, 2);
    assert_true(pm_ranges_gap(&s, 150, PM_RANGE_MAX, &gap));
    assert_int_equal(gap.off, 200);
    assert_int_equal(gap.end, 300);
    pm_ranges_add(&s, 0, 300);
    assert_int_equal(s.n, 1);
    assert_true(pm_ranges_has(&s, 0, PM_RANGE_MAX));
    pm_ranges_free(&s);
}

static void taking_out_the_middle_leaves_two(void **state)
{
    struct pm_ranges s = {0};

    (void)state;
    pm_ranges_add(&s, 0, 10);
    pm_ranges_sub(&s, 3, 7);
    assert_int_equal(s.n, 2);
    assert_true(pm_ranges_has(&s, 0, 3));
    assert_true(pm_ranges_has(&s, 7, 10));
    assert_int_equal(pm_ranges_count(&s, 0, 10), 6);
    pm_ranges_free(&s);
}

static void malformed_blobs_are_refused(void **state)
{
    static const uint64_t bad[][2] = {
        {5, 5}, {6, 5}, {0, PM_RANGE_MAX + 1}, {UINT64_MAX, UINT64_MAX}, {0, UINT64_MAX},
    };
    struct pm_ranges s = {0};
    char             odd[31] = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(pm_ranges_load(&s, bad[i], 16), -EINVAL);
    for (size_t len = 1; len < 32; len++)
        if (len % 16)
            assert_int_equal(pm_ranges_load(&s, odd, len), -EINVAL);
    pm_ranges_free(&s);
}

static void overlapping_and_unsorted_blobs_load_merged(void **state)
{
    static const uint64_t blob[][2] = {{50, 60}, {0, 10}, {5, 50}};
    struct pm_ranges      s = {0};

    (void)state;
    assert_int_equal(pm_ranges_load(&s, blob, sizeof(blob)), 0);
    assert_int_equal(s.n, 1);
    assert_true(pm_ranges_has(&s, 0, 60));
    pm_ranges_free(&s);
}

static void an_empty_blob_is_an_empty_set(void **state)
{
    struct pm_ranges s = {0};
    void            *blob = &s;

    (void)state;
    assert_int_equal(pm_ranges_save(&s, &blob), 0);
    assert_null(blob);
    pm_ranges_add(&s, 1, 2);
    assert_int_equal(pm_ranges_load(&s, NULL, 0), 0);
    assert_int_equal(s.n, 0);
    pm_ranges_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_steps_agree_with_a_bitmap),
        cmocka_unit_test(neighbours_become_one),
        cmocka_unit_test(nothing_is_always_there),
        cmocka_unit_test(for_ever_can_be_cut_and_joined),
        cmocka_unit_test(taking_out_the_middle_leaves_two),
        cmocka_unit_test(malformed_blobs_are_refused),
        cmocka_unit_test(overlapping_and_unsorted_blobs_load_merged),
        cmocka_unit_test(an_empty_blob_is_an_empty_set),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
