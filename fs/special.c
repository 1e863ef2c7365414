#include "fs/special.h"

#include "fs/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct special {
    const char *name;
    fuse_ino_t  ino;
    int (*make)(struct pm_mount *m, struct pm_buf *out);
} files[] = {
    { "status.json", PM_SPECIAL_STATUS, pm_status_json },
    { "metrics", PM_SPECIAL_METRICS, pm_status_metrics },
};

static const struct special *find_ino(fuse_ino_t ino)
{
    for (size_t i = 0; i < PM_COUNT(files); i++)
        if (files[i].ino == ino)
            return &files[i];
    return NULL;
}

static fuse_ino_t find_name(fuse_ino_t parent, const char *name)
{
    if (parent == PM_NODE_ROOT)
        return PM_SPECIAL_DIR;
    for (size_t i = 0; i < PM_COUNT(files); i++)
        if (parent == PM_SPECIAL_DIR && strcmp(files[i].name, name) == 0)
            return files[i].ino;
    return 0;
}

bool pm_special_claims(fuse_ino_t parent, const char *name)
{
    return pm_special_is(parent) || (parent == PM_NODE_ROOT && strcmp(name, ".polymount") == 0);
}

static int make(struct pm_mount *m, fuse_ino_t ino, struct pm_buf *out)
{
    const struct special *s = find_ino(ino);
    int                   err = s ? s->make(m, out) : -EISDIR;

    return err ? err : out->failed ? -ENOMEM : 0;
}

/* Fills all but the times' past: it is always now. */
static int stat_of(struct pm_mount *m, fuse_ino_t ino, struct stat *st)
{
    PM_AUTO(pm_buf) struct pm_buf text = { 0 };
    bool                          dir = ino == PM_SPECIAL_DIR;
    int                           err = dir ? 0 : make(m, ino, &text);

    if (err)
        return err;
    *st = (struct stat){
        .st_ino = ino,
        .st_mode = dir ? S_IFDIR | 0555 : S_IFREG | 0444,
        .st_nlink = dir ? 2 : 1,
        .st_uid = m->uid,
        .st_gid = m->gid,
        .st_size = (off_t)text.len,
        .st_blocks = ((blkcnt_t)text.len + 511) / 512,
        .st_blksize = 4096,
    };
    clock_gettime(CLOCK_REALTIME, &st->st_mtim);
    st->st_atim = st->st_ctim = st->st_mtim;
    return 0;
}

void pm_special_lookup(struct pm_mount *m, fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param e = { .ino = find_name(parent, name), .generation = 1 };
    int                     err = e.ino ? stat_of(m, e.ino, &e.attr) : -ENOENT;

    e.entry_timeout = m->timeout;
    if (err)
        pm_ops_reply(req, err);
    else
        fuse_reply_entry(req, &e);
}

void pm_special_getattr(struct pm_mount *m, fuse_req_t req, fuse_ino_t ino)
{
    struct stat st;
    int         err = stat_of(m, ino, &st);

    if (err)
        pm_ops_reply(req, err);
    else
        fuse_reply_attr(req, &st, 0);
}

void pm_special_open(struct pm_mount *m, fuse_req_t req, fuse_ino_t ino,
                     struct fuse_file_info *fi)
{
    struct pm_handle *h = NULL;
    int               err = (fi->flags & O_ACCMODE) == O_RDONLY ? 0 : -EACCES;

    if (!err) {
        h = pm_handle_new(&m->handles, ino, NULL);
        err = h ? make(m, ino, &h->text) : -ENOMEM;
    }
    fi->fh = (uintptr_t)h;
    fi->direct_io = 1;
    fi->noflush = 1;
    if (err)
        pm_ops_reply(req, err);
    if ((err || fuse_reply_open(req, fi) != 0) && h)
        pm_handle_free(&m->handles, h);
}

void pm_special_read(fuse_req_t req, const struct pm_handle *h, size_t size, off_t off)
{
    size_t              len = h->text.len;
    size_t              at = off < 0 || (uint64_t)off > len ? len : (size_t)off;
    size_t              part = size < len - at ? size : len - at;
    PM_AUTO(free) char *copy = malloc(part + 1);

    /* A copy: whoever has the answer may close the file, and so free the text, before the reply
     * returns. */
    if (!copy) {
        pm_ops_reply(req, -ENOMEM);
        return;
    }
    memcpy(copy, h->text.ptr + at, part);
    fuse_reply_buf(req, copy, part);
}

static size_t put(fuse_req_t req, char *buf, size_t left, size_t index, bool plus)
{
    /* No inode number in the entry: the kernel looks the name up when it needs it. */
    struct fuse_entry_param e = { .attr = { .st_mode = S_IFREG } };

    e.attr.st_ino = files[index].ino;
    if (plus)
        return fuse_add_direntry_plus(req, buf, left, files[index].name, &e, (off_t)index + 1);
    return fuse_add_direntry(req, buf, left, files[index].name, &e.attr, (off_t)index + 1);
}

void pm_special_readdir(fuse_req_t req, size_t size, off_t off, bool plus)
{
    char   buf[1024];
    size_t used = 0, max = size < sizeof(buf) ? size : sizeof(buf);

    for (size_t i = (size_t)off; i < PM_COUNT(files); i++) {
        size_t need = put(req, buf + used, max - used, i, plus);

        if (need > max - used)
            break;
        used += need;
    }
    fuse_reply_buf(req, buf, used);
}
