/* Open files: opening and closing, reading what is there or on its way, and telling the journal.
 *
 * The first write after a flush marks the content open in the journal before it is answered; a
 * flush marks it closed. So after a crash the journal knows which contents are whole. */
#include "cache/file.h"

#include "cache/change.h"
#include "cache/draft.h"
#include "cache/durable.h"
#include "cache/fetch.h"
#include "cache/file_impl.h"
#include "cache/label.h"
#include "cache/queue.h"
#include "cache/record.h"

#include <errno.h>
#include <fcntl.h>

#define WINDOW_MIN    ((uint64_t)256 * 1024) /* read-ahead after the first sequential read */
#define WINDOW_MAX    ((uint64_t)32 * 1024 * 1024)
#define WINDOW_BOUNCE ((uint64_t)4 * 1024 * 1024) /* while bytes are not kept */
#define SEQUENTIAL    ((uint64_t)1024 * 1024) /* this far off the last read still counts */

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

bool pm_file_is_drop(struct pm_cache *c, const struct pm_jentry *e)
{
    struct pm_row folder;
    char          why[200];

    return e->op == PM_OP_PUT && !pm_name_is_litter(e->name) && !pm_node_get(c->db, e->parent, &folder) &&
           pm_change_manner(c, &folder, why, sizeof(why)) == PM_MANNER_DROPS;
}

/* What the service has cannot be written to, but what is to take its place can. */
static int refuse_change(struct pm_cache *c, pm_node node)
{
    struct pm_jentry unsent;
    bool             refused;
    int              err;

    pm_db_begin(c->db);
    refused = pm_journal_of(c->db, node, PM_OP_PUT, &unsent) != 0;
    if (refused)
        pm_db_run(c->db,
                  "UPDATE node SET error='the service cannot change it: put another file over it'"
                  " WHERE id=?1 AND error IS NULL",
                  "i", (int64_t)node);
    err = pm_db_end(c->db, 0);
    return err ? err : refused ? -EPERM : 0;
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
    err = pm_change_check_content(c, &row);
    if (err)
        return err;
    if (pm_draft_account(c, row.account))
        return pm_file_may_write_draft(c, node);
    return *row.rid && !pm_backend_can(a->backend, PM_CAP_REPLACE) ? refuse_change(c, node) : 0;
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
    else if (pm_file_is_document(c, node))
        pm_record_opened(c, f->content);
    if (!err && (flags & O_TRUNC))
        err = pm_file_set_size(f, 0, false, NULL);
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
    if (!e.size && pm_file_is_drop(c, &e)) /* the service makes nothing of nothing */
        e.state = PM_J_LOCAL;
    else if (e.state != PM_J_LOCAL || pm_file_is_drop(c, &e))
        e.state = PM_J_READY;
    if (k->writers > (waits ? 1 : 0)) /* the one who closes waits for it */
        e.not_before = PM_J_HELD;
    else
        e.not_before = due(c, &e);
    err = pm_journal_update(c->db, &e);
    return err || !pm_draft_may(c, e.account) ? err : pm_draft_touch(c, e.parent);
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
    return err ? err : pm_file_check_document(c, k);
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
