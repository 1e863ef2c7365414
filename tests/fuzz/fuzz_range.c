/* Sets of ranges: as they come from a database, and in small, against a map with a byte a place.
 * The first byte chooses. */
#include "cache/range.h"
#include "tests/fuzz/fuzz.h"

static void check_invariants(const struct pm_ranges *s)
{
    CHECK(s->n <= s->cap);
    for (size_t i = 0; i < s->n; i++) {
        CHECK(s->r[i].off < s->r[i].end && s->r[i].end <= PM_RANGE_MAX);
        CHECK(i == 0 || s->r[i - 1].end < s->r[i].off);
    }
}

static void check_saved(const struct pm_ranges *s)
{
    PM_AUTO(free) void *bytes = NULL;
    struct pm_ranges    again = {0};
    int64_t             len = pm_ranges_save(s, &bytes);

    CHECK(len == (int64_t)s->n * 16 && !bytes == !len);
    CHECK(pm_ranges_load(&again, bytes, (size_t)len) == 0 && again.n == s->n);
    CHECK(!s->n || !memcmp(again.r, s->r, s->n * sizeof(*s->r)));
    pm_ranges_free(&again);
}

static void load(const char *bytes, size_t size)
{
    struct pm_ranges s = {0};
    struct pm_range  gap;

    if (pm_ranges_load(&s, bytes, size) == 0) {
        CHECK(size % 16 == 0 && !s.n == !size);
        check_saved(&s);
        CHECK(pm_ranges_count(&s, 0, PM_RANGE_MAX) <= PM_RANGE_MAX);
        CHECK(pm_ranges_gap(&s, 0, PM_RANGE_MAX, &gap) == !pm_ranges_has(&s, 0, PM_RANGE_MAX));
    }
    check_invariants(&s);
    pm_ranges_free(&s);
}

enum { PLACES = 256 };

static void compare(const struct pm_ranges *s, const bool *map, unsigned from, unsigned to)
{
    struct pm_range gap = {PLACES, PLACES};
    unsigned        count = 0, first = to, last;

    for (unsigned i = from; i < to; i++) {
        count += map[i];
        if (!map[i] && first == to)
            first = i;
    }
    for (last = first; last < to && !map[last];)
        last++;
    CHECK(pm_ranges_count(s, from, to) == count);
    CHECK(pm_ranges_gap(s, from, to, &gap) == (first < to));
    CHECK(first >= to || (gap.off == first && gap.end == last));
    CHECK(pm_ranges_has(s, from, to) == (first >= to));
}

static void change(const uint8_t *data, size_t size)
{
    bool             map[PLACES] = {false};
    struct pm_ranges s = {0};

    for (; size >= 3; data += 3, size -= 3) {
        unsigned from = data[1], to = data[2];
        bool     add = data[0] & 1;

        CHECK((add ? pm_ranges_add(&s, from, to) : pm_ranges_sub(&s, from, to)) == 0);
        for (unsigned i = from; i < to; i++)
            map[i] = add;
        check_invariants(&s);
        if (from <= to)
            compare(&s, map, from, to);
        if (data[0] <= to)
            compare(&s, map, data[0], to);
        compare(&s, map, 0, PLACES);
    }
    check_saved(&s);
    pm_ranges_free(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PM_AUTO(free) char *bytes = size ? fuzz_bytes(data + 1, size - 1) : NULL;

    if (size && data[0] & 1)
        load(bytes, size - 1);
    else if (size)
        change((const uint8_t *)bytes, size - 1);
    return 0;
}
