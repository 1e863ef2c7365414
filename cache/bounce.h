/* bounce.h: a small bounded memory for bytes that are read but not kept.
 *
 * When the store has no room for what an open content would need, its bytes pass through here:
 * blocks of 128 KiB, 12 MiB in all, least recently used reused first. So any file reads through
 * any cache. One lock of its own, a leaf. */
#ifndef PM_CACHE_BOUNCE_H
#define PM_CACHE_BOUNCE_H

#include <stddef.h>
#include <stdint.h>

struct pm_bounce;

int  pm_bounce_open(struct pm_bounce **out);
void pm_bounce_close(struct pm_bounce *b);
/* Keeps `len` bytes of content `id` from `off` on, for a while. No memory: they are dropped. */
void pm_bounce_put(struct pm_bounce *b, int64_t id, uint64_t off, const void *buf, size_t len);
/* Copies what is there of [off, off+len) from `off` on; returns the count. `buf` NULL: counts. */
size_t pm_bounce_get(struct pm_bounce *b, int64_t id, uint64_t off, void *buf, size_t len);

#endif
