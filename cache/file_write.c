/* Writing to open files: the journal knows first, and there is room. */
#include "cache/file_impl.h"

#include "cache/change.h"
#include "cache/draft.h"
#include "cache/durable.h"
#include "cache/fetch.h"
#include "cache/label.h"
#include "cache/queue.h"
#include "cache/record.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COUNT_EVERY ((uint64_t)16 * 1024 * 1024)
#define METADATA    ((uint64_t)1024 * 1024) /* what a disk may need beside */

/* What a draft is to become is written. In a transaction. */
static int change_document(struct pm_cache *c, const struct pm_jentry *put)
{
    enum pm_spot spot = pm_draft_spot(c, put->parent);

    if (!pm_draft_is_document(spot, put->name))
        return 0;
    if (spot == PM_SPOT_LATE)
        return pm_draft_change(c, put);
    return spot == PM_SPOT_COMMITTING ? -EBUSY : pm_draft_touch(c, put->parent);
}

/* Is the folder one that can only be removed as a whole? In a transaction. */
static bool is_of_thing(struct pm_cache *c, pm_node folder)
{
    struct pm_row row;
    char          why[200];

    return !pm_node_get(c->db, folder, &row) && pm_draft_may(c, row.account) &&
           pm_change_manner(c, &row, why, sizeof(why)) == PM_MANNER_THING;
}

/* The journal's entry for what is about to be written. */
static int open_entry(struct pm_cache *c, struct pm_content *k)
{
    struct pm_jentry e;
    struct pm_row    row;
    int              err;

    if (!pm_journal_of(c->db, k->node, PM_OP_PUT, &e)) {
        if (e.state == PM_J_LOCAL && !pm_file_is_drop(c, &e))
            return change_document(c, &e);
        err = pm_draft_change(c, &e);
        if (err)
            return err;
        /* Once all is sent, the answer is worth waiting for: it tells what the object is now. */
        if (e.sending && k->upload_left)
            k->cancel_upload = true;
        e.state = PM_J_OPEN;
        e.not_before = PM_J_HELD;
        e.tries = 0;
        pm_journal_error(c->db, e.id, NULL);
        return pm_journal_update(c->db, &e);
    }
    err = pm_node_get(c->db, k->node, &row);
    if (err)
        return err;
    e = (struct pm_jentry){.op = PM_OP_PUT, .node = k->node, .account = row.account,
                           .kind = row.kind, .content = k->id, .size = k->size,
                           .state = PM_J_OPEN, .not_before = PM_J_HELD};
    if (pm_shown_place(c->db, k->node, &e.parent, e.name))
        return 0; /* removed while open: written to, but never sent */
    if (pm_draft_account(c, row.account))
        return -EROFS; /* published while it was open */
    if (is_of_thing(c, e.parent))
        return -EPERM; /* likewise */
    snprintf(e.rid, sizeof(e.rid), "%s", row.rid);
    snprintf(e.base, sizeof(e.base), "%s", k->version);
    return pm_journal_add(c->db, &e);
}

int pm_file_mark_base(struct pm_db *db, int64_t content, uint64_t base_end)
{
    if (!base_end)
        return 0;
    pm_db_run(db, "DELETE FROM j.dirty WHERE content=?1 AND end=?2", "ii", content, PM_FILE_BEYOND);
    return pm_db_run(db, "INSERT OR REPLACE INTO j.dirty(content, off, end) VALUES(?1, ?2, ?3)", "iii",
                     content, (int64_t)base_end, PM_FILE_BEYOND);
}

/* What was to be a copy of another object is written to: its own content is sent. */
static int unclone_locked(struct pm_cache *c, struct pm_content *k)
{
    struct pm_jentry e;
    int              err;

    if (!k->clone)
        return 0;
    pm_db_begin(c->db);
    err = pm_journal_of(c->db, k->node, PM_OP_PUT, &e) ? 0 : pm_journal_set_source(c->db, e.id, 0);
    if (!err)
        err = pm_file_mark_base(c->db, k->id, k->base_end);
    err = pm_db_end(c->db, err);
    k->clone = k->clone && err;
    return err;
}

/* A content that is whole on the disk needs its base no more: all of it is ours, and which parts of it
 * were written need not be known. */
static int own(struct pm_db *db, const struct pm_content *k)
{
    pm_db_run(db, "DELETE FROM j.dirty WHERE content=?1", "i", k->id);
    return pm_db_run(db, "UPDATE content SET size=0, present=NULL WHERE id=?1", "i", k->id);
}

int pm_file_mark_locked(struct pm_cache *c, struct pm_content *k)
{
    bool owns = k->base_end && !k->clone && pm_content_whole_locked(k) && !k->changed &&
                pm_era_is_durable(c->store, k->era);
    int  err;

    if (k->marked || k->nowhere)
        return unclone_locked(c, k);
    if (k->gone || k->stale)
        return -ESTALE; /* the service has another version: to be opened anew */
    pm_db_begin(c->db);
    err = open_entry(c, k);
    if (!err)
        err = owns ? own(c->db, k) : pm_file_mark_base(c->db, k->id, k->base_end);
    if (!err)
        pm_label_unsent_locked(c, k);
    err = pm_db_end(c->db, err);
    k->unsure = err != 0; /* the close will tell */
    if (err)
        return err;
    if (owns)
        k->base_end = 0;
    k->marked = true;
    k->superseded = false;
    return unclone_locked(c, k);
}

int pm_file_mark_dirty(struct pm_cache *c, struct pm_content *k, uint64_t off, uint64_t end)
{
    struct sqlite3_stmt *st;
    int64_t              from = (int64_t)off;
    int64_t              upto = -1;

    st = pm_db_query(c->db,
                     "SELECT off, end FROM j.dirty WHERE content=?1 AND off<=?2 ORDER BY off DESC"
                     " LIMIT 1",
                     "ii", k->id, (int64_t)off);
    if (pm_db_row(c->db, st)) {
        from = pm_col_int(st, 1) < from ? from : pm_col_int(st, 0);
        upto = pm_col_int(st, 1);
        pm_db_reset(st);
    }
    if (upto < (int64_t)end) { /* one that this continues grows */
        pm_db_run(c->db, "DELETE FROM j.dirty WHERE content=?1 AND off>?2 AND end<=?3 AND end<>?4",
                  "iiii", k->id, from, (int64_t)end, PM_FILE_BEYOND);
        pm_db_run(c->db, "INSERT OR REPLACE INTO j.dirty(content, off, end) VALUES(?1, ?2, ?3)",
                  "iii", k->id, from, (int64_t)end);
    }
    return 0;
}

static int mark_dirty_locked(struct pm_cache *c, struct pm_content *k, uint64_t off, uint64_t end)
{
    if (!k->base_end || off >= end)
        return 0;
    pm_db_begin(c->db);
    return pm_db_end(c->db, pm_file_mark_dirty(c, k, off, end));
}

uint64_t pm_file_missing_below(struct pm_content *k, uint64_t size)
{
    PM_GUARD(&k->lock);
    if (size > k->base_end)
        size = k->base_end;
    return size - pm_ranges_count(&k->present, 0, size);
}

uint64_t pm_file_lacking(struct pm_content *k, uint64_t off, uint64_t end)
{
    uint64_t none = 0;

    PM_GUARD(&k->lock);
    if (!pm_content_whole_locked(k) && off < k->base_end)
        off = k->base_end;
    while (off < end) {
        off_t    data = lseek(k->fd, (off_t)off, SEEK_DATA);
        uint64_t upto = data < 0 || (uint64_t)data > end ? end : (uint64_t)data;

        none += upto - off;
        data = upto < end ? lseek(k->fd, (off_t)upto, SEEK_HOLE) : -1;
        off = data < 0 ? end : (uint64_t)data;
    }
    return none;
}

/* Room for what is written, and for the rest of the base that it makes necessary: *more bytes. */
static int room(struct pm_file *f, uint64_t off, size_t len, uint64_t *more)
{
    struct pm_store *s = f->cache->store;
    uint64_t         missing = pm_file_missing_below(f->content, PM_RANGE_MAX);

    *more = len + missing;
    if (!pm_store_room(s, *more))
        return 0;
    *more = pm_file_lacking(f->content, off, off + len) + missing;
    return *more ? pm_store_room(s, *more) : 0;
}

int pm_file_wait_for_room(struct pm_cache *c, uint64_t more, uint64_t tidings, struct pm_waiter *w)
{
    int advances;

    if (!pm_store_could(c->store, more))
        return -ENOSPC;
    advances = pm_queue_advances(c);
    if (advances < 0)
        return advances;
    if (!advances && !pm_store_passing(c->store)) /* what ended meanwhile made room */
        return pm_store_tidings(c->store) == tidings ? -ENOSPC : -EALREADY;
    return w ? pm_store_wait(c->store, tidings, w) : -EAGAIN;
}

void pm_file_wrote_locked(struct pm_content *k, uint64_t len)
{
    k->mtime_ns = pm_wall_ns();
    k->gen++;
    k->changed = true;
    k->uncounted += len;
    if (k->uncounted >= COUNT_EVERY)
        pm_content_count_locked(k);
}

void pm_file_fetch_rest_locked(struct pm_cache *c, struct pm_content *k)
{
    struct pm_range gap;

    if (pm_ranges_gap(&k->present, 0, k->base_end, &gap))
        pm_fetch_want_locked(c, k, gap.off, gap.end, gap.end, NULL, true);
}

int pm_file_filled_locked(struct pm_file *f, uint64_t off, uint64_t end)
{
    struct pm_content *k = f->content;
    int                err = mark_dirty_locked(f->cache, k, off, end);

    if (err)
        return err;
    if (pm_ranges_sub(&k->doubtful, off, end))
        return -ENOMEM;
    if (!pm_content_whole_locked(k)) {
        if (pm_ranges_add(&k->present, off, end))
            return -ENOMEM;
        pm_file_fetch_rest_locked(f->cache, k);
    }
    if (end > k->size)
        k->size = end;
    pm_file_wrote_locked(k, end - off);
    return 0;
}

/* What a write that failed left behind the end is not the file's. */
static ssize_t take_back_locked(struct pm_content *k, uint64_t end, ssize_t err)
{
    if (end > k->size && ftruncate(k->fd, (off_t)k->size))
        pm_log(PM_ERROR, "cache file of %llu: %s", (unsigned long long)k->node, strerror(errno));
    return err;
}

/* Would the content be believed after a power cut, though it was written to: as the service's, or as
 * closed? */
static int is_believed_locked(struct pm_cache *c, const struct pm_content *k, bool *believed)
{
    struct pm_jentry e;
    bool             closed;
    int              err;

    *believed = false;
    if (k->marked || k->nowhere || k->clone)
        return 0;
    pm_db_begin(c->db);
    closed = !pm_journal_of(c->db, k->node, PM_OP_PUT, &e) && e.gen;
    err = pm_db_end(c->db, 0);
    if (!err && closed)
        *believed = e.state != PM_J_INTERRUPTED && pm_era_is_durable(c->store, e.era);
    else
        *believed = k->base_end != 0;
    return err;
}

int pm_file_mark_for_overwriting_locked(struct pm_file *f)
{
    bool believed;
    int  err = is_believed_locked(f->cache, f->content, &believed);

    if (!err)
        err = pm_file_mark_locked(f->cache, f->content);
    return err || !believed ? err : pm_db_sync(f->cache->db);
}

static ssize_t write_locked(struct pm_file *f, const void *buf, size_t len, uint64_t off)
{
    struct pm_content *k = f->content;
    ssize_t            n;
    int                err = pm_file_mark_for_overwriting_locked(f);

    if (err)
        return err;
    f->wrote = true;
    n = pm_pwrite_all(k->fd, buf, len, off);
    if (n < 0)
        return take_back_locked(k, off + len, n);
    err = pm_file_filled_locked(f, off, off + len);
    return err ? err : n;
}

static ssize_t write_some(struct pm_file *f, const void *buf, size_t len, uint64_t off)
{
    PM_GUARD(&f->content->lock);
    return write_locked(f, buf, len, off);
}

ssize_t pm_file_write_wait(struct pm_file *f, const void *buf, size_t len, uint64_t off,
                           struct pm_waiter *w)
{
    struct pm_store *s = f->cache->store;
    uint64_t         tidings;
    uint64_t         more;
    ssize_t          n;

    if (!f->writer)
        return -EBADF;
    if (off > PM_FILE_SIZE_MAX || len > PM_FILE_SIZE_MAX - off)
        return -EFBIG;
    n = pm_file_check_size(f, off + len);
    if (n)
        return n;
    do {
        tidings = pm_store_tidings(s);
        n = room(f, off, len, &more);
        if (!n)
            n = write_some(f, buf, len, off);
        if (n == -ENOSPC && !pm_store_refused(s, len + METADATA))
            n = write_some(f, buf, len, off); /* the disk said that there was room */
        if (n == -ENOSPC)
            n = pm_file_wait_for_room(f->cache, more, tidings, w);
    } while (n == -EALREADY);
    if (n == -ENOSPC)
        pm_file_note_no_room(f->cache, f->content->node);
    return n;
}

ssize_t pm_file_write(struct pm_file *f, const void *buf, size_t len, uint64_t off)
{
    return pm_file_write_wait(f, buf, len, off, NULL);
}
