#include "fs/iobuf.h"

#include "backends/util.h"

void pm_iobufs_init(struct pm_iobufs *b)
{
    pthread_mutex_init(&b->lock, NULL);
    b->nkept = 0;
}

void pm_iobufs_clear(struct pm_iobufs *b)
{
    while (b->nkept > 0)
        free(b->kept[--b->nkept]);
    pthread_mutex_destroy(&b->lock);
}

void *pm_iobuf_take(struct pm_iobufs *b, size_t size)
{
    if (size > PM_IOBUF_SIZE)
        return malloc(size);
    {
        PM_GUARD(&b->lock);
        if (b->nkept > 0)
            return b->kept[--b->nkept];
    }
    return malloc(PM_IOBUF_SIZE);
}

void pm_iobuf_give(struct pm_iobufs *b, void *buf, size_t size)
{
    if (buf && size <= PM_IOBUF_SIZE) {
        PM_GUARD(&b->lock);
        if (b->nkept < PM_IOBUF_KEPT) {
            b->kept[b->nkept++] = buf;
            return;
        }
    }
    free(buf);
}
