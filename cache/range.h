/* range.h: a set of byte ranges [off, end), kept sorted and merged.
 *
 * Not locked: the owner's lock guards it. All ends are exclusive; PM_RANGE_MAX stands for
 * "for ever". */
#ifndef PM_CACHE_RANGE_H
#define PM_CACHE_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PM_RANGE_MAX ((uint64_t)INT64_MAX)

struct pm_range {
    uint64_t off, end;
};

struct pm_ranges {
    struct pm_range *r; /* sorted; neighbours never touch */
    size_t           n, cap;
};

/* Adds [off, end). 0 or -ENOMEM (the set is unchanged). */
int  pm_ranges_add(struct pm_ranges *s, uint64_t off, uint64_t end);
/* *out, empty so far, becomes the same set; owned. 0 or -ENOMEM. */
int  pm_ranges_copy(const struct pm_ranges *s, struct pm_ranges *out);
/* Takes [off, end) out. 0 or -ENOMEM. */
int  pm_ranges_sub(struct pm_ranges *s, uint64_t off, uint64_t end);
/* Is all of [off, end) in the set? Nothing always is. */
bool pm_ranges_has(const struct pm_ranges *s, uint64_t off, uint64_t end);
/* The first part of [off, end) that is missing; false if nothing is. */
bool pm_ranges_gap(const struct pm_ranges *s, uint64_t off, uint64_t end, struct pm_range *gap);
/* Bytes of [off, end) that are in the set. */
uint64_t pm_ranges_count(const struct pm_ranges *s, uint64_t off, uint64_t end);
void     pm_ranges_free(struct pm_ranges *s);

/* As bytes for a database: 16 a range, little endian. save: *out is owned (NULL for an empty set),
 * returns the length or -ENOMEM. load replaces the set; what is not well-formed is -EINVAL. */
int64_t pm_ranges_save(const struct pm_ranges *s, void **out);
int     pm_ranges_load(struct pm_ranges *s, const void *data, size_t len);

#endif
