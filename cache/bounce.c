#include "cache/bounce.h"

#include "backends/util.h"
#include "cache/range.h"

#include <errno.h>
#include <string.h>

#define BLOCK  ((size_t)128 * 1024)
#define BLOCKS 96

struct block {
    int64_t  id; /* content; 0: free */
    uint64_t at; /* offset of the block, a multiple of BLOCK */
    struct pm_ranges there; /* what of it is, from its start */
    uint64_t         used; /* age */
    char            *mem; /* NULL until first used */
};

struct pm_bounce {
    pthread_mutex_t lock; /* leaf */
    uint64_t        clock; /* lock */
    struct block    block[BLOCKS]; /* lock */
};

int pm_bounce_open(struct pm_bounce **out)
{
    struct pm_bounce *b = calloc(1, sizeof(*b));

    if (!b)
        return -ENOMEM;
    pthread_mutex_init(&b->lock, NULL);
    *out = b;
    return 0;
}

void pm_bounce_close(struct pm_bounce *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < BLOCKS; i++) {
        free(b->block[i].mem);
        pm_ranges_free(&b->block[i].there);
    }
    pthread_mutex_destroy(&b->lock);
    free(b);
}

static struct block *find_locked(struct pm_bounce *b, int64_t id, uint64_t at)
{
    for (size_t i = 0; i < BLOCKS; i++)
        if (b->block[i].id == id && b->block[i].at == at)
            return &b->block[i];
    return NULL;
}

/* The block for this place, taken from the least recently used. NULL: no memory. */
static struct block *take_locked(struct pm_bounce *b, int64_t id, uint64_t at)
{
    struct block *old = &b->block[0];

    for (size_t i = 1; i < BLOCKS; i++)
        if (b->block[i].used < old->used)
            old = &b->block[i];
    if (!old->mem)
        old->mem = malloc(BLOCK);
    if (!old->mem)
        return NULL;
    old->id = id;
    old->at = at;
    old->there.n = 0;
    return old;
}

void pm_bounce_put(struct pm_bounce *b, int64_t id, uint64_t off, const void *buf, size_t len)
{
    const char *p = buf;

    PM_GUARD(&b->lock);
    while (len) {
        uint64_t      at = off / BLOCK * BLOCK;
        size_t        from = (size_t)(off - at);
        size_t        n = len < BLOCK - from ? len : BLOCK - from;
        struct block *k = find_locked(b, id, at);

        if (!k)
            k = take_locked(b, id, at);
        if (!k || pm_ranges_add(&k->there, from, from + n))
            return;
        memcpy(k->mem + from, p, n);
        k->used = ++b->clock;
        p += n;
        off += n;
        len -= n;
    }
}

size_t pm_bounce_get(struct pm_bounce *b, int64_t id, uint64_t off, void *buf, size_t len)
{
    size_t done = 0;

    PM_GUARD(&b->lock);
    while (done < len) {
        uint64_t      at = off / BLOCK * BLOCK;
        size_t        from = (size_t)(off - at);
        size_t        n = BLOCK - from < len - done ? BLOCK - from : len - done;
        struct block *k = find_locked(b, id, at);
        struct pm_range gap = {from + n, 0};

        if (!k || (pm_ranges_gap(&k->there, from, from + n, &gap) && gap.off == from))
            break;
        n = (size_t)gap.off - from;
        if (buf)
            memcpy((char *)buf + done, k->mem + from, n);
        k->used = ++b->clock;
        done += n;
        off += n;
        if (off < at + BLOCK)
            break;
    }
    return done;
}
