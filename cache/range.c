#include "cache/range.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The first range that ends after `off` (or at it, if `touch`). */
static size_t first_from(const struct pm_ranges *s, uint64_t off, bool touch)
{
    size_t lo = 0;
    size_t hi = s->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (s->r[mid].end < off || (!touch && s->r[mid].end == off))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static int reserve(struct pm_ranges *s, size_t want)
{
    size_t           cap = s->cap ? s->cap : 4;
    struct pm_range *r;

    if (want <= s->cap)
        return 0;
    while (cap < want)
        cap *= 2;
    r = reallocarray(s->r, cap, sizeof(*r));
    if (!r)
        return -ENOMEM;
    s->r = r;
    s->cap = cap;
    return 0;
}

/* Replaces `old` ranges at `at` by `n` (0 to 2) new ones; room was reserved. */
static void replace(struct pm_ranges *s, size_t at, size_t old, const struct pm_range *r, size_t n)
{
    memmove(s->r + at + n, s->r + at + old, (s->n - at - old) * sizeof(*s->r));
    if (n)
        memcpy(s->r + at, r, n * sizeof(*r));
    s->n = s->n - old + n;
}

int pm_ranges_add(struct pm_ranges *s, uint64_t off, uint64_t end)
{
    struct pm_range all = {off, end};
    size_t          at = first_from(s, off, true);
    size_t          to = at;

    if (off >= end)
        return 0;
    if (reserve(s, s->n + 1))
        return -ENOMEM;
    while (to < s->n && s->r[to].off <= end) {
        if (s->r[to].off < all.off)
            all.off = s->r[to].off;
        if (s->r[to].end > all.end)
            all.end = s->r[to].end;
        to++;
    }
    replace(s, at, to - at, &all, 1);
    return 0;
}

int pm_ranges_copy(const struct pm_ranges *s, struct pm_ranges *out)
{
    struct pm_range *r = malloc((s->n + 1) * sizeof(*r));

    if (!r)
        return -ENOMEM;
    if (s->n)
        memcpy(r, s->r, s->n * sizeof(*r));
    *out = (struct pm_ranges){.r = r, .n = s->n, .cap = s->n + 1};
    return 0;
}

int pm_ranges_sub(struct pm_ranges *s, uint64_t off, uint64_t end)
{
    struct pm_range left[2];
    size_t          nleft = 0;
    size_t          at = first_from(s, off, false);
    size_t          to = at;

    if (off >= end || at == s->n)
        return 0;
    if (reserve(s, s->n + 1))
        return -ENOMEM;
    if (s->r[at].off < off)
        left[nleft++] = (struct pm_range){s->r[at].off, off};
    while (to < s->n && s->r[to].off < end)
        to++;
    if (to > at && s->r[to - 1].end > end)
        left[nleft++] = (struct pm_range){end, s->r[to - 1].end};
    replace(s, at, to - at, left, to > at ? nleft : 0);
    return 0;
}

bool pm_ranges_gap(const struct pm_ranges *s, uint64_t off, uint64_t end, struct pm_range *gap)
{
    size_t at = first_from(s, off, false);

    if (at < s->n && s->r[at].off <= off) {
        off = s->r[at].end;
        at++;
    }
    if (off >= end)
        return false;
    gap->off = off;
    gap->end = at < s->n && s->r[at].off < end ? s->r[at].off : end;
    return true;
}

bool pm_ranges_has(const struct pm_ranges *s, uint64_t off, uint64_t end)
{
    struct pm_range gap;

    return !pm_ranges_gap(s, off, end, &gap);
}

uint64_t pm_ranges_count(const struct pm_ranges *s, uint64_t off, uint64_t end)
{
    uint64_t sum = 0;

    for (size_t i = first_from(s, off, false); i < s->n && s->r[i].off < end; i++) {
        uint64_t a = s->r[i].off > off ? s->r[i].off : off;
        uint64_t b = s->r[i].end < end ? s->r[i].end : end;

        sum += b - a;
    }
    return sum;
}

void pm_ranges_free(struct pm_ranges *s)
{
    free(s->r);
    *s = (struct pm_ranges){0};
}

int64_t pm_ranges_save(const struct pm_ranges *s, void **out)
{
    uint64_t *p;

    *out = NULL;
    if (!s->n)
        return 0;
    p = reallocarray(NULL, s->n, 16);
    if (!p)
        return -ENOMEM;
    for (size_t i = 0; i < s->n; i++) {
        p[2 * i] = htole64(s->r[i].off);
        p[2 * i + 1] = htole64(s->r[i].end);
    }
    *out = p;
    return (int64_t)(s->n * 16);
}

int pm_ranges_load(struct pm_ranges *s, const void *data, size_t len)
{
    const unsigned char *p = data;

    s->n = 0;
    if (len % 16)
        return -EINVAL;
    for (size_t i = 0; i < len; i += 16) {
        uint64_t off;
        uint64_t end;

        memcpy(&off, p + i, 8);
        memcpy(&end, p + i + 8, 8);
        off = le64toh(off);
        end = le64toh(end);
        if (off >= end || end > PM_RANGE_MAX)
            return -EINVAL;
        if (pm_ranges_add(s, off, end))
            return -ENOMEM;
    }
    return 0;
}
