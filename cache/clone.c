/* Copying between open files.
 *
 * A file that the service has, copied whole in pieces from its start on to a new file, becomes a
 * copy there: the new content has the other object for its base, nothing of it is fetched to be
 * sent, and the journal's PUT names the source (send_clone.c). Until it is sent, reads of it are
 * fetched from the source: from what is held of that here, else from the service. The first write to it makes it a content of its own. */
#include "cache/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PIECE ((uint64_t)1024 * 1024) /* copied in one go inside the cache */

/* What is copied from, as it was when its lock was held. */
struct source {
    pm_node  node;
    uint64_t size;
    bool     settled; /* neither written to nor outdated */
    bool     clone; /* itself a copy that the service did not make yet */
    char     version[PM_NAME_MAX + 1];
};

static void look_at_source(struct pm_content *k, struct source *out)
{
    PM_GUARD(&k->lock);
    out->node = k->node;
    out->size = k->size;
    out->settled = !k->marked && !k->stale && !k->superseded && !k->gone && !k->nowhere &&
                   k->size == k->base_end && *k->version;
    out->clone = k->clone;
    snprintf(out->version, sizeof(out->version), "%s", k->version);
}

/* Nothing is journalled for the node, nor for a folder above it. In a transaction. */
static bool is_quiet(struct pm_db *db, pm_node node)
{
    struct pm_jentry any;

    for (int depth = 0; node > PM_NODE_ROOT && depth < 256; depth++)
        if (!pm_journal_of(db, node, (enum pm_op)0, &any) || pm_shown_place(db, node, &node, NULL))
            return false;
    return node == PM_NODE_ROOT;
}

/* Is `from` the object that the service has, and could it copy that to the new file? In a
 * transaction; *put is the new file's entry. */
static int check(struct pm_cache *c, const struct source *from, pm_node to, struct pm_jentry *put)
{
    struct pm_account *a;
    struct pm_row      row;

    if (pm_journal_of(c->db, to, PM_OP_PUT, put) || put->state != PM_J_OPEN || put->sending ||
        *put->rid || put->replaces || pm_journal_begun(c->db, put->id))
        return -EOPNOTSUPP;
    if (pm_node_get(c->db, from->node, &row) || !*row.rid || row.rsize != from->size ||
        strcmp(row.version, from->version) != 0 || row.account != put->account ||
        !is_quiet(c->db, from->node))
        return -EOPNOTSUPP;
    a = pm_account_by_id(c, row.account);
    return a && !pm_draft_has(a->backend) && pm_backend_can_copy(a->backend) &&
                   !pm_account_reaches(c, &row)
               ? 0
               : -EOPNOTSUPP;
}

/* In a transaction: the first `end` bytes of the content are those of `from`. */
static int journal(struct pm_cache *c, struct source *from, const struct pm_content *k, uint64_t end)
{
    struct pm_jentry put;
    int              err = 0;

    if (from->clone && !pm_journal_of(c->db, from->node, PM_OP_PUT, &put) && put.source)
        from->node = put.source;
    err = check(c, from, k->node, &put);
    if (err)
        return err;
    pm_db_run(c->db,
              "UPDATE content SET origin=?2, size=?3, version=?4, present=NULL, validator=''"
              " WHERE id=?1",
              "iiis", k->id, (int64_t)from->node, (int64_t)from->size, from->version);
    pm_db_run(c->db, "DELETE FROM j.dirty WHERE content=?1", "i", k->id);
    if (end < from->size)
        pm_db_run(c->db, "INSERT INTO j.dirty(content, off, end) VALUES(?1, ?2, ?3)", "iii", k->id,
                  (int64_t)end, PM_RANGE_MAX);
    return pm_journal_set_source(c->db, put.id, from->node);
}

/* May the content's first `off` bytes, which are all, be those of `from`? */
static bool continues_locked(const struct pm_content *k, const struct source *from, uint64_t off)
{
    if (off != k->size || k->nowhere || k->gone || k->stale)
        return false;
    if (!off)
        return !k->base_end && !k->transfers;
    return k->clone && k->base_end == from->size && !strcmp(k->version, from->version);
}

static int clone_locked(struct pm_file *f, struct source *from, uint64_t end)
{
    struct pm_content *k = f->content;
    struct pm_cache   *c = f->cache;
    struct pm_ranges   present = {0};
    int                err = pm_ranges_add(&present, end, PM_RANGE_MAX);

    if (!err)
        err = pm_file_mark_locked(c, k);
    if (!err) {
        pm_db_begin(c->db);
        err = pm_db_end(c->db, journal(c, from, k, end));
    }
    if (err) {
        pm_ranges_free(&present);
        return err;
    }
    pm_ranges_free(&k->present); /* from here on it is what the index says */
    k->present = present;
    k->base_end = from->size;
    k->validator[0] = k->digest[0] = 0;
    snprintf(k->version, sizeof(k->version), "%s", from->version);
    k->clone = true;
    f->wrote = true;
    pm_file_wrote_locked(k, 0);
    if (ftruncate(k->fd, (off_t)end))
        return -errno;
    k->size = end;
    return 0;
}

/* -EOPNOTSUPP: it is no copy of a whole object, so far. */
static ssize_t clone_whole(struct pm_file *in, struct pm_file *out, uint64_t off, uint64_t len)
{
    struct source from;
    int           err;

    look_at_source(in->content, &from);
    if (!from.settled || off >= from.size || in->content == out->content)
        return -EOPNOTSUPP;
    if (len > from.size - off)
        len = from.size - off;
    PM_GUARD(&out->content->lock);
    if (!continues_locked(out->content, &from, off))
        return -EOPNOTSUPP;
    err = clone_locked(out, &from, off + len);
    return err ? err : (ssize_t)len;
}

/* Inside the cache: what is at hand of [in_off, in_off+len), at least the next byte. */
static ssize_t copy_bytes(struct pm_file *in, uint64_t in_off, struct pm_file *out,
                          uint64_t out_off, uint64_t len, struct pm_waiter *w)
{
    size_t              size = len < PIECE ? (size_t)len : (size_t)PIECE;
    PM_AUTO(free) char *buf = malloc(size);
    ssize_t             n = buf ? pm_file_read(in, buf, size, in_off, w) : -ENOMEM;

    return n <= 0 ? n : pm_file_write_wait(out, buf, (size_t)n, out_off, w);
}

ssize_t pm_file_copy(struct pm_file *in, uint64_t in_off, struct pm_file *out, uint64_t out_off,
                     uint64_t len, struct pm_waiter *w)
{
    ssize_t n = -EOPNOTSUPP;

    if (!out->writer)
        return -EBADF;
    if (!len)
        return 0;
    if (in_off == out_off)
        n = clone_whole(in, out, in_off, len);
    return n == -EOPNOTSUPP ? copy_bytes(in, in_off, out, out_off, len, w) : n;
}
