/* iobuf.h: buffers for the answers to reads. A few are kept, so that big reads do not fault in a
 * fresh MiB each time, and a thousand waiting ones hold none. Any thread; the lock is a leaf. */
#ifndef PM_FS_IOBUF_H
#define PM_FS_IOBUF_H

#include <pthread.h>
#include <stddef.h>

enum { PM_IOBUF_SIZE = 1024 * 1024, PM_IOBUF_KEPT = 4 };

struct pm_iobufs {
    pthread_mutex_t lock; /* leaf */
    void           *kept[PM_IOBUF_KEPT]; /* lock */
    size_t          nkept; /* lock */
};

void pm_iobufs_init(struct pm_iobufs *b);
/* All buffers have been given back. */
void pm_iobufs_clear(struct pm_iobufs *b);
/* A buffer of at least `size` bytes, or NULL. Given back with the same size. */
void *pm_iobuf_take(struct pm_iobufs *b, size_t size);
void  pm_iobuf_give(struct pm_iobufs *b, void *buf, size_t size);

#endif
