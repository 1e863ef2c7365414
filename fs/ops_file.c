/* Open files. */
#include "fs/ops.h"

#include "fs/special.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static struct pm_handle *handle_of(const struct fuse_file_info *fi)
{
    return (struct pm_handle *)(uintptr_t)fi->fh;
}

int pm_ops_open_handle(struct pm_mount *m, pm_node node, struct pm_file *file,
                       struct fuse_file_info *fi)
{
    struct pm_attr    attr = { .content = 0 };
    struct pm_handle *h = pm_handle_new(&m->handles, node, file);

    if (!h)
        return -ENOMEM;
    (void)pm_tree_getattr(m->cache, node, &attr); /* failed: nothing is kept */
    fi->fh = (uintptr_t)h;
    fi->keep_cache = pm_inode_open_file(m->inodes, node, attr.content);
    fi->direct_io = !attr.described; /* of unknown size: until a read says that it ends */
    fi->noflush = (fi->flags & O_ACCMODE) == O_RDONLY;
    return 0;
}

void pm_ops_close_handle(struct pm_mount *m, const struct fuse_file_info *fi)
{
    struct pm_handle *h = handle_of(fi);

    if (h->file)
        pm_inode_close_file(m->inodes, h->node);
    pm_handle_free(&m->handles, h);
}

void pm_ops_lose_handle(struct pm_mount *m, const struct fuse_file_info *fi)
{
    pm_inode_unserve(m->inodes, handle_of(fi)->node);
    pm_ops_close_handle(m, fi);
}

void pm_ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct pm_mount *m = pm_ops_mount(req);
    struct pm_file  *file = NULL;
    int              err;

    if (pm_special_is(ino)) {
        pm_special_open(m, req, ino, fi);
        return;
    }
    err = pm_file_open(m->cache, ino, fi->flags & (O_ACCMODE | O_TRUNC), &file);
    if (!err)
        err = pm_ops_open_handle(m, ino, file, fi);
    if (err)
        pm_ops_reply(req, err);
    else if (fuse_reply_open(req, fi) != 0)
        pm_ops_lose_handle(m, fi);
}

void pm_ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    pm_ops_close_handle(pm_ops_mount(req), fi);
    pm_ops_reply(req, 0);
}

/* --- read ------------------------------------------------------------------------------------ */

struct reading {
    struct pm_pending p;
    struct pm_mount  *m;
    struct pm_file   *file; /* open until answered: the kernel releases after */
    size_t            size;
    uint64_t          off;
    void             *buf; /* only between a successful attempt and its answer */
};

static ssize_t attempt_read(struct pm_pending *p)
{
    struct reading *r = container_of(p, struct reading, p);
    void           *buf = pm_iobuf_take(&r->m->bufs, r->size);
    ssize_t         n = -ENOMEM;

    if (buf)
        n = pm_file_read(r->file, buf, r->size, r->off, &p->waiter);
    if (n >= 0)
        r->buf = buf;
    else
        pm_iobuf_give(&r->m->bufs, buf, r->size);
    return n;
}

static void answer_read(struct pm_pending *p, ssize_t res)
{
    struct reading *r = container_of(p, struct reading, p);

    if (res < 0) {
        pm_ops_reply(p->req, res);
        return;
    }
    fuse_reply_buf(p->req, r->buf, (size_t)res);
    pm_iobuf_give(&r->m->bufs, r->buf, r->size);
}

static const struct pm_pending_op read_op = { PM_WAIT_BYTES, attempt_read, answer_read };

void pm_ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                 struct fuse_file_info *fi)
{
    struct pm_mount *m = pm_ops_mount(req);
    struct reading  *r;

    (void)ino;
    if (!handle_of(fi)->file) {
        pm_special_read(req, handle_of(fi), size, off);
        return;
    }
    r = pm_pending_new(m->pendings, req, &read_op, sizeof(*r));
    if (r) {
        r->m = m;
        r->file = handle_of(fi)->file;
        r->size = size;
        r->off = (uint64_t)off;
    }
    pm_ops_start(req, r ? &r->p : NULL);
}

/* --- copy_file_range ------------------------------------------------------------------------- */

struct copying {
    struct pm_pending p;
    struct pm_file   *in, *out; /* open until answered */
    uint64_t          in_off, out_off, len;
};

static ssize_t attempt_copy(struct pm_pending *p)
{
    struct copying *c = container_of(p, struct copying, p);

    return pm_file_copy(c->in, c->in_off, c->out, c->out_off, c->len, &p->waiter);
}

static void answer_copy(struct pm_pending *p, ssize_t res)
{
    if (res < 0)
        pm_ops_reply(p->req, res);
    else
        fuse_reply_write(p->req, (size_t)res);
}

static const struct pm_pending_op copy_op = { PM_WAIT_BYTES, attempt_copy, answer_copy };

#define COPY_MAX ((size_t)1 << 30) /* the kernel's answer has 32 bits for the count */

void pm_ops_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
                            struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
                            struct fuse_file_info *fi_out, size_t len, int flags)
{
    struct pm_mount *m = pm_ops_mount(req);
    struct copying  *c;

    (void)ino_in, (void)ino_out;
    if (flags || !handle_of(fi_in)->file || !handle_of(fi_out)->file) {
        pm_ops_reply(req, flags ? -EINVAL : -EOPNOTSUPP); /* then the kernel copies by itself */
        return;
    }
    c = pm_pending_new(m->pendings, req, &copy_op, sizeof(*c));
    if (c) {
        c->in = handle_of(fi_in)->file;
        c->out = handle_of(fi_out)->file;
        c->in_off = (uint64_t)off_in;
        c->out_off = (uint64_t)off_out;
        c->len = len < COPY_MAX ? len : COPY_MAX;
    }
    pm_ops_start(req, c ? &c->p : NULL);
}

/* --- write, flush, fsync, lseek --------------------------------------------------------------- */

/* A write that waits for room, with a copy of what it writes: libfuse keeps that only for the call.
 * The kernel holds the file's lock until it is answered, so that writes keep their order. */
struct writing {
    struct pm_pending p;
    struct pm_mount  *m;
    struct pm_file   *file; /* open until answered */
    size_t            size;
    uint64_t          off;
    char             *buf; /* owned */
};

/* All writes that wait keep so much at most; beyond it each keeps a page, and is answered short. */
enum { WAITING_MAX = 16 * 1024 * 1024, WAITING_PIECE = 4096 };

static ssize_t attempt_write(struct pm_pending *p)
{
    struct writing *w = container_of(p, struct writing, p);

    return pm_file_write_wait(w->file, w->buf, w->size, w->off, &p->waiter);
}

static void answer_write(struct pm_pending *p, ssize_t res)
{
    struct writing *w = container_of(p, struct writing, p);

    free(w->buf);
    w->m->waiting_bytes -= w->size;
    if (res < 0)
        pm_ops_reply(p->req, res);
    else
        fuse_reply_write(p->req, (size_t)res);
}

static const struct pm_pending_op write_op = { PM_WAIT_EVER, attempt_write, answer_write };

/* Keeps what can be kept of it. What the kernel writes back by itself is not asked for twice, and must
 * not be cut: NULL. */
static struct writing *keep_write(fuse_req_t req, const char *buf, size_t size, bool whole)
{
    struct pm_mount *m = pm_ops_mount(req);
    struct writing  *w;

    if (atomic_fetch_add(&m->waiting_bytes, size) > WAITING_MAX && size > WAITING_PIECE) {
        m->waiting_bytes -= whole ? size : size - WAITING_PIECE;
        if (whole)
            return NULL;
        size = WAITING_PIECE;
    }
    w = pm_pending_new(m->pendings, req, &write_op, sizeof(*w));
    if (w)
        w->buf = malloc(size);
    if (!w || !w->buf) {
        free(w);
        m->waiting_bytes -= size;
        return NULL;
    }
    memcpy(w->buf, buf, size);
    w->m = m;
    w->size = size;
    return w;
}

static void wait_to_write(fuse_req_t req, const char *buf, size_t size, off_t off,
                          const struct fuse_file_info *fi)
{
    struct writing *w = keep_write(req, buf, size, fi->writepage);

    if (!w) {
        pm_ops_reply(req, -ENOSPC);
        return;
    }
    w->file = handle_of(fi)->file;
    w->off = (uint64_t)off;
    pm_ops_start(req, &w->p);
}

void pm_ops_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
                  struct fuse_file_info *fi)
{
    struct pm_file *file = handle_of(fi)->file;
    ssize_t         n = file ? pm_file_write(file, buf, size, (uint64_t)off) : -EBADF;

    (void)ino;
    if (n == -EAGAIN)
        wait_to_write(req, buf, size, off, fi);
    else if (n < 0)
        pm_ops_reply(req, n);
    else
        fuse_reply_write(req, (size_t)n);
}

/* close(2) under on_close = wait */
struct closing {
    struct pm_pending p;
    struct pm_file   *file;
};

static ssize_t attempt_close(struct pm_pending *p)
{
    return pm_file_wait(container_of(p, struct closing, p)->file, &p->waiter);
}

static void answer_close(struct pm_pending *p, ssize_t res)
{
    pm_ops_reply(p->req, res);
}

static const struct pm_pending_op close_op = { PM_WAIT_EVER, attempt_close, answer_close };

void pm_ops_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct pm_mount *m = pm_ops_mount(req);
    struct pm_file  *file = handle_of(fi)->file;
    int              err = file ? pm_file_flush(file) : 0;
    struct closing  *c;

    (void)ino;
    if (err || !file || !m->conf->on_close_wait) {
        pm_ops_reply(req, err);
        return;
    }
    c = pm_pending_new(m->pendings, req, &close_op, sizeof(*c));
    if (c)
        c->file = file;
    pm_ops_start(req, c ? &c->p : NULL);
}

void pm_ops_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    struct pm_file *file = handle_of(fi)->file;

    (void)ino, (void)datasync;
    pm_ops_reply(req, file ? pm_file_fsync(file) : 0);
}

void pm_ops_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
                  struct fuse_file_info *fi)
{
    struct pm_file *file = handle_of(fi)->file;
    int64_t         at = -EINVAL;

    (void)ino;
    if (file && off >= 0)
        at = pm_file_seek(file, (uint64_t)off, whence);
    else if (file)
        at = -ENXIO;
    if (at < 0)
        pm_ops_reply(req, at);
    else
        fuse_reply_lseek(req, at);
}

struct allocating {
    struct pm_pending p;
    struct pm_file   *file; /* open until answered */
    int               mode;
    uint64_t          off, len;
};

static ssize_t attempt_allocate(struct pm_pending *p)
{
    struct allocating *a = container_of(p, struct allocating, p);

    return pm_file_allocate(a->file, a->mode, a->off, a->len, &p->waiter);
}

static void answer_allocate(struct pm_pending *p, ssize_t res)
{
    pm_ops_reply(p->req, res);
}

static const struct pm_pending_op allocate_op = { PM_WAIT_EVER, attempt_allocate, answer_allocate };

void pm_ops_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                      struct fuse_file_info *fi)
{
    struct pm_mount   *m = pm_ops_mount(req);
    struct pm_file    *file = handle_of(fi)->file;
    struct allocating *a;

    (void)ino;
    if (!file || off < 0 || len <= 0) {
        pm_ops_reply(req, file ? -EINVAL : -EBADF);
        return;
    }
    a = pm_pending_new(m->pendings, req, &allocate_op, sizeof(*a));
    if (a) {
        a->file = file;
        a->mode = mode;
        a->off = (uint64_t)off;
        a->len = (uint64_t)len;
    }
    pm_ops_start(req, a ? &a->p : NULL);
}
