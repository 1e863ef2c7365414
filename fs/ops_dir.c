/* Folders. opendir waits for the list, readdir reads it. The kernel keeps what it read and reads
 * it again for the next opendir, unless something in the folder changed meanwhile. */
#include "fs/ops.h"

#include "fs/special.h"

#include <errno.h>
#include <sys/stat.h>

struct opening {
    struct pm_pending     p;
    struct pm_mount      *m;
    pm_node               node;
    struct fuse_file_info fi;
};

static ssize_t attempt_opendir(struct pm_pending *p)
{
    struct opening *o = container_of(p, struct opening, p);

    return pm_tree_ready(o->m->cache, o->node, &p->waiter);
}

static void answer_opendir(struct pm_pending *p, ssize_t res)
{
    struct opening *o = container_of(p, struct opening, p);

    if (res != 0) {
        pm_ops_reply(p->req, res);
        return;
    }
    o->fi.cache_readdir = 1;
    o->fi.keep_cache = pm_inode_open_folder(o->m->inodes, o->node);
    if (fuse_reply_open(p->req, &o->fi) != 0)
        pm_inode_unserve(o->m->inodes, o->node);
}

static const struct pm_pending_op opendir_op = { PM_WAIT_LOOKUP, attempt_opendir,
                                                 answer_opendir };

void pm_ops_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct pm_mount *m = pm_ops_mount(req);
    struct opening  *o;

    fi->fh = 0;
    if (pm_special_is(ino)) {
        fuse_reply_open(req, fi);
        return;
    }
    o = pm_pending_new(m->pendings, req, &opendir_op, sizeof(*o));
    if (o) {
        o->m = m;
        o->node = ino;
        o->fi = *fi;
    }
    pm_ops_start(req, o ? &o->p : NULL);
}

/* --- readdir --------------------------------------------------------------------------------- */

/* The kernel's offsets: 1 stands behind ".", 2 behind "..", then the cache's cookies, moved up. */
enum { DOTS = 2 };

struct filling {
    struct pm_mount *m;
    fuse_req_t       req;
    bool             plus;
    char            *buf;
    size_t           size, used;
    struct pm_buf    refs; /* the nodes that a readdirplus counted, to take back */
};

/* False: it does not fit. */
static bool put(struct filling *f, const char *name, const struct fuse_entry_param *e, off_t next)
{
    char  *at = f->buf + f->used;
    size_t left = f->size - f->used;
    size_t need = f->plus ? fuse_add_direntry_plus(f->req, at, left, name, e, next)
                          : fuse_add_direntry(f->req, at, left, name, &e->attr, next);

    if (need > left)
        return false;
    f->used += need;
    return true;
}

static bool put_node(void *arg, uint64_t cookie, const char *name, const struct pm_attr *attr)
{
    struct filling         *f = arg;
    struct fuse_entry_param e;
    bool                    counted;

    pm_ops_entry(f->m, attr, &e);
    counted = f->plus && attr->described && pm_inode_ref(f->m->inodes, attr->node);
    if (!counted)
        e.ino = 0; /* the kernel then takes the name and the type only, and looks up later */
    if (put(f, name, &e, (off_t)cookie + DOTS)) {
        if (counted)
            pm_buf_add(&f->refs, &attr->node, sizeof(attr->node));
        return true;
    }
    if (counted)
        pm_ops_forget(f->m, attr->node, 1);
    return false;
}

static bool put_dots(struct filling *f, const struct pm_attr *self, off_t off)
{
    struct fuse_entry_param e = { .attr = { .st_mode = S_IFDIR } };
    bool                    fits = true;

    e.attr.st_ino = self->node;
    if (off < 1)
        fits = put(f, ".", &e, 1);
    e.attr.st_ino = self->parent ? self->parent : PM_NODE_ROOT;
    if (fits && off < DOTS)
        fits = put(f, "..", &e, DOTS);
    return fits;
}

static int fill(struct filling *f, pm_node folder, off_t off)
{
    struct pm_attr self;
    int            err = pm_tree_getattr(f->m->cache, folder, &self);

    if (err)
        return err;
    if (!put_dots(f, &self, off))
        return 0;
    return pm_tree_read(f->m->cache, folder, off < DOTS ? 0 : (uint64_t)off - DOTS, put_node, f);
}

static void take_back(struct filling *f)
{
    const pm_node *nodes = (const void *)f->refs.ptr;

    for (size_t i = 0; i < f->refs.len / sizeof(*nodes); i++)
        pm_ops_forget(f->m, nodes[i], 1);
}

static void readdir_any(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
    struct filling f = { .m = pm_ops_mount(req), .req = req, .plus = plus, .size = size };
    int            err = -ENOMEM;

    f.buf = malloc(size);
    if (f.buf)
        err = fill(&f, ino, off);
    if (f.refs.failed)
        err = -ENOMEM;
    if (err < 0 && f.used == 0)
        pm_ops_reply(req, err);
    else if (fuse_reply_buf(req, f.buf, f.used) != 0)
        take_back(&f);
    pm_buf_free(&f.refs);
    free(f.buf);
}

void pm_ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
    (void)fi;
    if (pm_special_is(ino))
        pm_special_readdir(req, size, off, false);
    else
        readdir_any(req, ino, size, off, false);
}

void pm_ops_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                        struct fuse_file_info *fi)
{
    (void)fi;
    if (pm_special_is(ino))
        pm_special_readdir(req, size, off, true);
    else
        readdir_any(req, ino, size, off, true);
}
