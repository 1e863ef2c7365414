/* Open files: reading what is there or on its way, writing, and telling the journal.
 *
 * The first write after a flush marks the content open in the journal before it is answered; a
 * flush marks it closed. So after a crash the journal knows which contents are whole. */
#include "cache/file.h"

#include "cache/draft.h"
#include "cache/draft_files.h"
#include "cache/durable.h"
#include "cache/fetch.h"
#include "cache/label.h"
#include "cache/queue.h"
#include "cache/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define WINDOW_MIN     ((uint64_t)256 * 1024) /* read-ahead after the first sequential read */
#define WINDOW_MAX     ((uint64_t)32 * 1024 * 1024)
#define WINDOW_BOUNCE  ((uint64_t)4 * 1024 * 1024) /* while bytes are not kept */
#define SEQUENTIAL     ((uint64_t)1024 * 1024) /* this far off the last read still counts */
#define COUNT_EVERY    ((uint64_t)16 * 1024 * 1024)
#define METADATA       ((uint64_t)1024 * 1024) /* what a disk may need beside */
#define SIZE_MAX_BYTES ((uint64_t)1 << 46)

int64_t pm_file_due(const struct pm_cache *c, const char *name)
{
    return pm_wall_ms() + (pm_name_is_temporary(name) ? PM_TEMPORARY_MS : c->conf->delay_ms);
}

/* --- opening and closing */

/* Nothing of the file is sent while somebody may write to it. */
static int hold_upload(struct pm_cache *c, struct pm_content *k)
{
    struct pm_jentry e;
    int              err;

    PM_GUARD(&k->lock);
    pm_db_begin(c->db);
    err = pm_journal_of(c->db, k->node, PM_OP_PUT, &e);
    if (!err && e.state == PM_J_READY) {
        e.not_before = PM_J_HELD;
        pm_journal_update(c->db, &e);
    }
    if (!err && e.state == PM_J_OPEN) /* made to be opened: nothing of it was closed yet */
        k->marked = true;
    if (!err)
        pm_label_unsent_locked(c, k); /* a new file may stay empty */
    return pm_db_end(c->db, 0);
}

/* In a published folder only litter, which never went anywhere. */
static int may_write_draft(struct pm_cache *c, pm_node node)
{
    struct pm_jentry e;
    enum pm_spot     spot;
    bool             local;
    int              err;

    pm_db_begin(c->db);
    spot = pm_draft_spot_of(c, node);
    local = !pm_journal_of(c->db, node, PM_OP_PUT, &e) && e.state == PM_J_LOCAL;
    err = pm_db_end(c->db, 0);
    if (err || local)
        return err;
    return spot == PM_SPOT_COMMITTING ? -EBUSY : spot == PM_SPOT_PUBLISHED ? -EROFS : 0;
}

static int may_write(struct pm_cache *c, pm_node node)
{
    struct pm_row      row;
    struct pm_account *a;
    int                err;

    pm_db_begin(c->db);
    err = pm_db_end(c->db, pm_node_get(c->db, node, &row));
    if (err)
        return err;
    a = pm_account_by_id(c, row.account);
    if (!a)
        return -EROFS;
    if (a->conf->read_only)
        return -EROFS;
    if (pm_draft_account(c, row.account))
        return may_write_draft(c, node);
    return *row.rid && !pm_backend_can(a->backend, PM_CAP_REPLACE) ? -EPERM : 0;
}

static int set_size(struct pm_file *f, uint64_t size, bool wrote, struct pm_waiter *w);
/* May it be one that its service is asked about? */
static bool is_document(struct pm_cache *c, pm_node node)
{
    struct pm_row row;
    int           err;

    if (!pm_draft_any(c))
        return false;
    pm_db_begin(c->db);
    err = pm_node_get(c->db, node, &row);
    pm_db_end(c->db, 0);
    return !err && pm_draft_account(c, row.account) && !strcmp(row.name, PM_RECORD_NAME);
}

int pm_file_open(struct pm_cache *c, pm_node node, int flags, struct pm_file **out)
{
    bool            writer = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
    struct pm_file *f;
    int             err = writer ? may_write(c, node) : 0;

    if (err)
        return err;
    f = calloc(1, sizeof(*f));
    if (!f)
        return -ENOMEM;
    f->cache = c;
    f->writer = writer;
    err = pm_content_get(c->store, node, &f->content);
    if (err) {
        free(f);
        return err;
    }
    pthread_mutex_lock(&f->content->lock);
    f->content->handles++;
    f->content->writers += writer;
    pthread_mutex_unlock(&f->content->lock);
    if (writer)
        err = hold_upload(c, f->content);
    else if (is_document(c, node))
        pm_record_opened(c, f->content);
    if (!err && (flags & O_TRUNC))
        err = set_size(f, 0, false, NULL);
    if (err) {
        pm_file_release(f);
        return err;
    }
    *out = f;
    return 0;
}

/* When a closed content may be sent. After a try that was broken off the service gets a moment to
 * notice, so that it never has two of one file. */
static int64_t due(struct pm_cache *c, const struct pm_jentry *e)
{
    int64_t at = c->conf->on_close_wait ? pm_wall_ms() : pm_file_due(c, e->name);
    int64_t least = pm_journal_begun(c->db, e->id) ? pm_wall_ms() + PM_BROKEN_OFF_MS : 0;

    return at > least ? at : least;
}

/* The last writer closed: the quiet time starts. */
static int start_quiet_time(struct pm_cache *c, pm_node node)
{
    struct pm_jentry e;
    bool             kick = false;
    int              err;

    pm_db_begin(c->db);
    if (!pm_journal_of(c->db, node, PM_OP_PUT, &e) &&
        (e.state == PM_J_READY || e.state == PM_J_LOCAL)) {
        e.not_before = due(c, &e);
        kick = !pm_journal_update(c->db, &e);
    }
    err = pm_db_end(c->db, 0);
    if (kick && !err)
        pm_queue_kick(c);
    return err;
}

/* The journal cannot be told now: it is told again in a moment. False: there will be none. */
static bool keep_for_later(struct pm_file *f)
{
    struct pm_cache *c = f->cache;

    PM_GUARD(&c->keeper_lock);
    if (c->stopping)
        return false;
    f->behind = c->unflushed;
    c->unflushed = f;
    return true;
}

void pm_file_tick(struct pm_cache *c)
{
    struct pm_file *f;

    pthread_mutex_lock(&c->keeper_lock);
    f = c->unflushed;
    c->unflushed = NULL;
    pthread_mutex_unlock(&c->keeper_lock);
    while (f) {
        struct pm_file *behind = f->behind;

        pm_file_release(f);
        f = behind;
    }
}

/* Returns whether that was the last writer. */
static bool close_handle(struct pm_file *f)
{
    struct pm_content *k = f->content;

    PM_GUARD(&k->lock);
    k->handles--;
    k->writers -= f->writer;
    if (!k->handles)
        pm_fetch_cancel_locked(k);
    return f->writer && !k->writers;
}

static bool has_writers(struct pm_content *k)
{
    PM_GUARD(&k->lock);
    return k->writers > 0;
}

/* `closed`: what was written through it may be sent. */
static void let_go(struct pm_file *f, bool closed)
{
    struct pm_content *k = f->content;

    if (!f->late) {
        if (f->writer && closed && pm_file_flush(f) && keep_for_later(f))
            return;
        if (f->writer && !closed)
            pm_content_save(k);
        f->late = close_handle(f);
    }
    if (f->late && !has_writers(k) && start_quiet_time(f->cache, k->node) && keep_for_later(f))
        return;
    pm_store_closed(k);
    pm_content_put(k);
    free(f);
}

void pm_file_release(struct pm_file *f)
{
    let_go(f, true);
}

void pm_file_abandon(struct pm_file *f)
{
    let_go(f, false);
}

/* --- reading */

/* How far to read ahead of [off, end). */
static uint64_t ahead_locked(struct pm_file *f, uint64_t off, uint64_t end)
{
    uint64_t max = f->content->bouncing ? WINDOW_BOUNCE : WINDOW_MAX;
    uint64_t lag = off > f->next ? off - f->next : f->next - off;

    if (lag > SEQUENTIAL)
        f->window = 0;
    else if (off >= f->next)
        f->window = f->window ? f->window * 2 : WINDOW_MIN;
    if (f->window > max)
        f->window = max;
    if (end > f->next || lag > SEQUENTIAL)
        f->next = end;
    return end + f->window;
}

/* Copies what is at hand from `off` on; returns how much. */
static ssize_t copy_locked(struct pm_file *f, char *buf, size_t len, uint64_t off)
{
    struct pm_content *k = f->content;
    size_t             done = 0;

    while (done < len) {
        uint64_t        at = off + done;
        struct pm_range gap = {off + len, off + len};
        size_t          n;

        if (pm_ranges_gap(&k->present, at, off + len, &gap) && gap.off == at) {
            n = pm_bounce_get(f->cache->bounce, k->id, at, buf + done, (size_t)(gap.end - at));
        } else {
            ssize_t got = pm_pread_all(k->fd, buf + done, (size_t)(gap.off - at), at);

            if (got < 0)
                return got;
            n = (size_t)got;
        }
        if (!n)
            break;
        done += n;
    }
    return (ssize_t)done;
}

/* With the lock: everything at hand, or a transfer and a place to wait. */
static ssize_t read_partial(struct pm_file *f, char *buf, size_t len, uint64_t off,
                            struct pm_waiter *w)
{
    struct pm_content *k = f->content;
    ssize_t            n;
    int                err;

    if (k->stale)
        return -ESTALE;
    n = copy_locked(f, buf, len, off);
    if (n < 0)
        return n;
    if ((size_t)n == len) {
        pm_fetch_want_locked(f->cache, k, off, off + len, ahead_locked(f, off, off + len), NULL,
                             false);
        return n;
    }
    err = pm_fetch_want_locked(f->cache, k, off, off + len, ahead_locked(f, off, off + len), w,
                               false);
    return err ? err : -EINPROGRESS;
}

ssize_t pm_file_read(struct pm_file *f, void *buf, size_t len, uint64_t off, struct pm_waiter *w)
{
    struct pm_content *k = f->content;
    ssize_t            n = 0;

    pthread_mutex_lock(&k->lock);
    if (off >= k->size)
        len = 0;
    else if (len > k->size - off)
        len = (size_t)(k->size - off);
    if (len && !pm_content_whole_locked(k)) {
        n = read_partial(f, buf, len, off, w);
        len = 0;
    }
    pthread_mutex_unlock(&k->lock);
    return len ? pm_pread_all(k->fd, buf, len, off) : n;
}

int64_t pm_file_seek(struct pm_file *f, uint64_t off, int whence)
{
    struct pm_content *k = f->content;
    off_t              at;

    PM_GUARD(&k->lock);
    if (whence != SEEK_DATA && whence != SEEK_HOLE)
        return -EINVAL;
    if (off >= k->size)
        return -ENXIO;
    if (k->base_end) /* a sparse file's holes may be what was not fetched, or zeros that were */
        return (int64_t)(whence == SEEK_DATA ? off : k->size);
    at = lseek(k->fd, (off_t)off, whence);
    return at < 0 ? -errno : (int64_t)at;
}

/* --- writing */

/* The journal's entry for what is about to be written. */
static int open_entry(struct pm_cache *c, struct pm_content *k)
{
    struct pm_jentry e;
    struct pm_row    row;
    int              err;

    if (!pm_journal_of(c->db, k->node, PM_OP_PUT, &e)) {
        if (e.state == PM_J_LOCAL)
            return 0;
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

/* [off, end) is local now: while parts of the content are the base's, or may be again after a power
 * cut, the journal must know it before a crash. */
static int mark_dirty(struct pm_cache *c, struct pm_content *k, uint64_t off, uint64_t end)
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
    return pm_db_end(c->db, mark_dirty(c, k, off, end));
}

#define ALLOWED_AHEAD ((uint64_t)64 * 1024 * 1024) /* so far a size is asked about in one */

/* Where the content is shown, if that is in a draft; else *folder is 0. */
static int find_draft(struct pm_cache *c, pm_node node, pm_node *folder, char name[PM_NAME_MAX + 1])
{
    enum pm_spot spot = PM_SPOT_OTHER;

    *folder = 0;
    pm_db_begin(c->db);
    if (!pm_shown_place(c->db, node, folder, name))
        spot = pm_draft_spot(c, *folder);
    if (spot == PM_SPOT_OTHER)
        *folder = 0;
    return pm_db_end(c->db, 0);
}

static bool is_too_large(int err)
{
    return err == -EFBIG || err == -EDQUOT;
}

/* A draft's service may take no file of this size. Nothing of this is asked again for every write. */
static int check_size(struct pm_file *f, uint64_t size)
{
    struct pm_cache *c = f->cache;
    pm_node          node = f->content->node;
    pm_node          folder;
    char             name[PM_NAME_MAX + 1] = "";
    char             why[200] = "";
    int              err;

    PM_GUARD(&f->content->lock);
    if (size <= f->allowed || size <= f->content->size || !pm_draft_any(c))
        return 0;
    err = find_draft(c, node, &folder, name);
    if (err)
        return err;
    f->allowed = folder ? 0 : UINT64_MAX;
    if (!folder)
        return 0;
    err = pm_draft_check_item(c, folder, node, name, size, why, sizeof(why));
    if (is_too_large(err))
        pm_publish_refused(c, folder, name, *why ? why : strerror(-err));
    if (is_too_large(err))
        return err;
    err = pm_draft_check_item(c, folder, node, name, size + ALLOWED_AHEAD, why, sizeof(why));
    f->allowed = is_too_large(err) ? size : size + ALLOWED_AHEAD;
    return 0;
}

/* A draft that lacks what was to be written is not published by itself. */
static void note_no_room(struct pm_cache *c, pm_node node)
{
    char    name[PM_NAME_MAX + 1];
    pm_node folder;

    if (pm_draft_any(c) && !find_draft(c, node, &folder, name) && folder)
        pm_publish_refused(c, folder, name, strerror(ENOSPC));
}

/* How much of the base is not here, below `size`. */
static uint64_t missing_below(struct pm_content *k, uint64_t size)
{
    PM_GUARD(&k->lock);
    if (size > k->base_end)
        size = k->base_end;
    return size - pm_ranges_count(&k->present, 0, size);
}

/* Bytes of [off, end) that the disk has no room for yet; of an incomplete content room() counts
 * what lies below its base's end. */
static uint64_t lacking(struct pm_content *k, uint64_t off, uint64_t end)
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
    uint64_t         missing = missing_below(f->content, PM_RANGE_MAX);

    *more = len + missing;
    if (!pm_store_room(s, *more))
        return 0;
    *more = lacking(f->content, off, off + len) + missing;
    return *more ? pm_store_room(s, *more) : 0;
}

/* There is none for so much now. -EINPROGRESS: there will be, and `w` is woken; without `w` -EAGAIN;
 * -EALREADY: there may be by now. No lock is held. */
static int wait_for_room(struct pm_cache *c, uint64_t more, uint64_t tidings, struct pm_waiter *w)
{
    if (!pm_store_could(c->store, more))
        return -ENOSPC;
    if (!pm_queue_advances(c) && !pm_store_passing(c->store)) /* what ended meanwhile made room */
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

/* The rest of the base is wanted soon: the upload needs the content whole. */
static void fetch_rest_locked(struct pm_cache *c, struct pm_content *k)
{
    struct pm_range gap;

    if (pm_ranges_gap(&k->present, 0, k->base_end, &gap))
        pm_fetch_want_locked(c, k, gap.off, gap.end, gap.end, NULL, true);
}

/* The bytes of [off, end) are in the file, and are ours now. */
static int filled_locked(struct pm_file *f, uint64_t off, uint64_t end)
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
        fetch_rest_locked(f->cache, k);
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

/* A disk writes in any order what it is given: it must have the journal's log before the first byte is
 * another. (What is cut to nothing has another size then.) */
static int mark_for_overwriting_locked(struct pm_file *f)
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
    int                err = mark_for_overwriting_locked(f);

    if (err)
        return err;
    f->wrote = true;
    n = pm_pwrite_all(k->fd, buf, len, off);
    if (n < 0)
        return take_back_locked(k, off + len, n);
    err = filled_locked(f, off, off + len);
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
    if (off > SIZE_MAX_BYTES || len > SIZE_MAX_BYTES - off)
        return -EFBIG;
    n = check_size(f, off + len);
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
            n = wait_for_room(f->cache, more, tidings, w);
    } while (n == -EALREADY);
    if (n == -ENOSPC)
        note_no_room(f->cache, f->content->node);
    return n;
}

ssize_t pm_file_write(struct pm_file *f, const void *buf, size_t len, uint64_t off)
{
    return pm_file_write_wait(f, buf, len, off, NULL);
}

/* The file's size is another, and the journal knows that what is cut off is not the base's any more:
 * both or neither, or a later start would take for local what was never fetched. *cut: the file's is,
 * whatever became of the journal. */
static int cut_locked(struct pm_cache *c, struct pm_content *k, uint64_t size, bool *cut)
{
    int err;

    pm_db_begin(c->db);
    err = size < k->base_end ? mark_dirty(c, k, size, PM_RANGE_MAX) : 0;
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
    int                err = size ? mark_for_overwriting_locked(f) : pm_file_mark_locked(f->cache, k);

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
    fetch_rest_locked(f->cache, k);
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
        more = missing_below(f->content, size);
        err = more ? pm_store_room(s, more) : 0;
        if (err)
            err = wait_for_room(f->cache, more, tidings, w);
    } while (err == -EALREADY);
    return err;
}

/* `wrote`: a program asked for it by this descriptor, which is not yet so when it is opened. */
static int set_size(struct pm_file *f, uint64_t size, bool wrote, struct pm_waiter *w)
{
    struct pm_content *k = f->content;
    bool               interrupted;
    bool               same;
    int                err = size > SIZE_MAX_BYTES ? -EFBIG : room_for_rest(f, size, w);

    if (!err)
        err = check_size(f, size);
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
    return f->writer ? set_size(f, size, true, w) : -EINVAL;
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
    err = mark_for_overwriting_locked(f);
    if (!err)
        err = zero_file(k->fd, off, end);
    return err ? err : filled_locked(f, off, end);
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
    if (off > SIZE_MAX_BYTES || len > SIZE_MAX_BYTES - off)
        return -EFBIG;
    err = mode & FALLOC_FL_KEEP_SIZE ? 0 : check_size(f, end);
    if (err)
        return err;
    do {
        tidings = pm_store_tidings(s);
        more = missing_below(f->content, PM_RANGE_MAX) +
               (punch ? 0 : lacking(f->content, off, end));
        err = more ? pm_store_room(s, more) : 0;
        if (err)
            err = wait_for_room(f->cache, more, tidings, w);
    } while (err == -EALREADY);
    if (err)
        return err;
    PM_GUARD(&f->content->lock);
    return allocate_locked(f, mode, zero, off, end);
}

/* --- telling the journal */

static int close_entry(struct pm_cache *c, struct pm_content *k, bool waits)
{
    struct pm_jentry e;
    int              err;

    pm_db_run(c->db, "UPDATE node SET size=?2, lmtime=?3, ctime=?3 WHERE id=?1", "iii",
              (int64_t)k->node, (int64_t)k->size, k->mtime_ns);
    if (pm_journal_of(c->db, k->node, PM_OP_PUT, &e))
        return 0;
    pm_label_unsent_locked(c, k);
    e.size = k->size;
    e.gen++;
    e.era = pm_era_now(c->store);
    if (e.state != PM_J_LOCAL)
        e.state = PM_J_READY;
    if (k->writers > (waits ? 1 : 0)) /* the one who closes waits for it */
        e.not_before = PM_J_HELD;
    else
        e.not_before = due(c, &e);
    err = pm_journal_update(c->db, &e);
    return err || !pm_draft_account(c, e.account) ? err : pm_draft_touch(c, e.parent);
}

/* What a draft is to become is said in a JSON object: whoever closes another is told. */
static int check_document(struct pm_cache *c, struct pm_content *k)
{
    struct pm_jentry e;
    char             why[200] = "";
    int              err;

    if (!pm_draft_any(c))
        return 0;
    pm_db_begin(c->db);
    err = pm_db_end(c->db, pm_journal_of(c->db, k->node, PM_OP_PUT, &e));
    if (err && err != -ENOENT)
        return err;
    if (err || e.state != PM_J_LOCAL || strcmp(e.name, PM_RECORD_NAME) != 0)
        return 0;
    err = pm_record_check(k, why, sizeof(why));
    pm_db_begin(c->db);
    pm_db_run(c->db, "UPDATE node SET error=?2 WHERE id=?1", "is", (int64_t)k->node, err ? why : NULL);
    pm_journal_error(c->db, e.id, err ? why : NULL);
    pm_db_end(c->db, 0);
    return err;
}

int pm_file_flush(struct pm_file *f)
{
    struct pm_content *k = f->content;
    struct pm_cache   *c = f->cache;
    bool               waits;
    int                err;

    if (!f->writer)
        return 0;
    pthread_mutex_lock(&k->lock);
    waits = c->conf->on_close_wait && f->wrote; /* as pm_file_wait */
    if ((!k->marked && !k->unsure) || k->nowhere) {
        waits = waits && k->writers == 1;
        pthread_mutex_unlock(&k->lock);
        if (waits) /* flushed by another, while this one held it back */
            start_quiet_time(c, k->node);
        return 0;
    }
    pm_db_begin(c->db);
    err = pm_db_end(c->db, close_entry(c, k, waits));
    if (!err)
        k->marked = k->unsure = false;
    c->flushed = true;
    pthread_mutex_unlock(&k->lock);
    pm_content_save(k);
    if (waits)
        pm_queue_kick(c);
    return err ? err : check_document(c, k);
}

int pm_file_wait(struct pm_file *f, struct pm_waiter *w)
{
    struct pm_cache *c = f->cache;

    bool             wrote;

    pthread_mutex_lock(&f->content->lock);
    wrote = f->wrote; /* a shell closes a copy of a descriptor before it writes */
    pthread_mutex_unlock(&f->content->lock);
    if (!c->conf->on_close_wait || !wrote)
        return 0;
    return pm_queue_wait(c, f->content->node, w);
}

int pm_file_fsync(struct pm_file *f)
{
    int err = pm_file_flush(f);

    return err ? err : pm_era_settle(f->content);
}

int pm_change_size(struct pm_cache *c, pm_node node, uint64_t size, struct pm_waiter *w)
{
    struct pm_file *f;
    int             err = pm_file_open(c, node, O_WRONLY, &f);

    if (err)
        return err;
    err = set_size(f, size, false, w);
    pm_file_release(f);
    return err;
}
