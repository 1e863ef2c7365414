/* Open files that get another size, or room, or zeros. */
#include "cache/file_impl.h"

#include <errno.h>
#include <fcntl.h>

/* The file's size is another, and the journal knows that what is cut off is not the base's any more:
 * both or neither, or a later start would take for local what was never fetched. *cut: the file's is,
 * whatever became of the journal. */
static int cut_locked(struct pm_cache *c, struct pm_content *k, uint64_t size, bool *cut)
{
    int err;

    pm_db_begin(c->db);
    err = size < k->base_end ? pm_file_mark_dirty(c, k, size, PM_RANGE_MAX) : 0;
    if (!err && ftruncate(k->fd, (off_t)size))
        err = -errno;
    *cut = !err;
    return pm_db_end(c->db, err);
}

static int truncate_locked(struct pm_file *f, uint64_t size)
{
    struct pm_content *k = f->content;
    struct pm_ranges   present = {0};
    bool               cut;
    int                err = size ? pm_file_mark_for_overwriting_locked(f) : pm_file_mark_locked(f->cache, k);

    if (!err)
        err = pm_ranges_copy(&k->present, &present);
    if (!err)
        err = pm_ranges_add(&present, size < k->base_end ? size : k->base_end, PM_RANGE_MAX);
    if (!err)
        err = pm_ranges_sub(&k->doubtful, size, PM_RANGE_MAX);
    cut = false;
    if (!err)
        err = cut_locked(f->cache, k, size, &cut);
    if (!cut) {
        pm_ranges_free(&present);
        return err;
    }
    pm_ranges_free(&k->present);
    k->present = present;
    k->size = size;
    pm_file_fetch_rest_locked(f->cache, k);
    pm_file_wrote_locked(k, 0);
    return err;
}

static int is_interrupted(struct pm_cache *c, pm_node node, bool *interrupted)
{
    struct pm_jentry e;

    pm_db_begin(c->db);
    *interrupted = !pm_journal_of(c->db, node, PM_OP_PUT, &e) && e.state == PM_J_INTERRUPTED;
    return pm_db_end(c->db, 0);
}

/* What is left of the base is to be fetched. */
static int room_for_rest(struct pm_file *f, uint64_t size, struct pm_waiter *w)
{
    struct pm_store *s = f->cache->store;
    uint64_t         tidings;
    uint64_t         more;
    int              err;

    do {
        tidings = pm_store_tidings(s);
        more = pm_file_missing_below(f->content, size);
        err = more ? pm_store_room(s, more) : 0;
        if (err)
            err = pm_file_wait_for_room(f->cache, more, tidings, w);
    } while (err == -EALREADY);
    return err;
}

int pm_file_set_size(struct pm_file *f, uint64_t size, bool wrote, struct pm_waiter *w)
{
    struct pm_content *k = f->content;
    bool               interrupted;
    bool               same;
    int                err = size > PM_FILE_SIZE_MAX ? -EFBIG : room_for_rest(f, size, w);

    if (!err)
        err = pm_file_check_size(f, size);
    if (err)
        return err;
    pthread_mutex_lock(&k->lock);
    err = is_interrupted(f->cache, k->node, &interrupted);
    same = size == k->size && !interrupted;
    if (!err && !same)
        err = truncate_locked(f, size);
    f->wrote |= wrote && !same && !err;
    pthread_mutex_unlock(&k->lock);
    if (err || !same)
        return err;
    /* of a stamp file the time is all that is wanted */
    return pm_change_attr(f->cache, k->node, PM_SET_MTIME,
                          &(struct pm_attr){.mtime_ns = pm_wall_ns()});
}

int pm_file_resize(struct pm_file *f, uint64_t size, struct pm_waiter *w)
{
    return f->writer ? pm_file_set_size(f, size, true, w) : -EINVAL;
}

/* --- making room, and zeros */

/* A hole reads as zeros and takes no room; not every disk has them. */
static int zero_file(int fd, uint64_t off, uint64_t end)
{
    static const char zeros[64 * 1024];

    if (!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)(end - off)))
        return 0;
    while (off < end) {
        size_t  len = end - off < sizeof(zeros) ? (size_t)(end - off) : sizeof(zeros);
        ssize_t n = pm_pwrite_all(fd, zeros, len, off);

        if (n < 0)
            return (int)n;
        off += len;
    }
    return 0;
}

/* Within the size it is as a write of zeros. */
static int zero_locked(struct pm_file *f, uint64_t off, uint64_t end)
{
    struct pm_content *k = f->content;
    int                err;

    if (end > k->size)
        end = k->size;
    if (off >= end)
        return 0;
    err = pm_file_mark_for_overwriting_locked(f);
    if (!err)
        err = zero_file(k->fd, off, end);
    return err ? err : pm_file_filled_locked(f, off, end);
}

static int allocate_locked(struct pm_file *f, int mode, bool zero, uint64_t off, uint64_t end)
{
    int err = zero ? zero_locked(f, off, end) : 0;

    if (!err && !(mode & FALLOC_FL_KEEP_SIZE) && end > f->content->size)
        err = truncate_locked(f, end);
    f->wrote |= !err && f->content->marked;
    return err;
}

int pm_file_allocate(struct pm_file *f, int mode, uint64_t off, uint64_t len, struct pm_waiter *w)
{
    struct pm_store *s = f->cache->store;
    bool             punch = mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    bool             zero = punch || (mode & ~FALLOC_FL_KEEP_SIZE) == FALLOC_FL_ZERO_RANGE;
    uint64_t         end = off + len;
    uint64_t         tidings;
    uint64_t         more;
    int              err;

    if (!f->writer)
        return -EBADF;
    if (!zero && (mode & ~FALLOC_FL_KEEP_SIZE))
        return -EOPNOTSUPP;
    if (off > PM_FILE_SIZE_MAX || len > PM_FILE_SIZE_MAX - off)
        return -EFBIG;
    err = mode & FALLOC_FL_KEEP_SIZE ? 0 : pm_file_check_size(f, end);
    if (err)
        return err;
    do {
        tidings = pm_store_tidings(s);
        more = pm_file_missing_below(f->content, PM_RANGE_MAX) +
               (punch ? 0 : pm_file_lacking(f->content, off, end));
        err = more ? pm_store_room(s, more) : 0;
        if (err)
            err = pm_file_wait_for_room(f->cache, more, tidings, w);
    } while (err == -EALREADY);
    if (err)
        return err;
    PM_GUARD(&f->content->lock);
    return allocate_locked(f, mode, zero, off, end);
}

int pm_change_size(struct pm_cache *c, pm_node node, uint64_t size, struct pm_waiter *w)
{
    struct pm_file *f;
    int             err = pm_file_open(c, node, O_WRONLY, &f);

    if (err)
        return err;
    err = pm_file_set_size(f, size, false, w);
    pm_file_release(f);
    return err;
}
