/* Sending a content: whole, once, over the version that the user saw.
 *
 * A try's steps are kept with the write generation and the size they are of. Content that was
 * written to since is not sent on top of an older try: first it is found out whether that arrived. */
#include "cache/send.h"

#include "cache/draft.h"
#include "cache/durable.h"
#include "cache/fetch.h"
#include "cache/file.h"
#include "cache/kept.h"
#include "cache/label.h"
#include "cache/list.h"
#include "cache/merge.h"
#include "cache/queue.h"
#include "cache/thing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* --- conflicts */

void pm_send_conflict_name(const char *name, char out[PM_NAME_MAX + 1])
{
    const char *dot = strrchr(name, '.');
    size_t      stem = dot && dot != name ? (size_t)(dot - name) : strlen(name);
    char        host[64] = "";
    char        when[32];
    char        mark[128];
    struct tm   tm;
    time_t      now = time(NULL);

    gethostname(host, sizeof(host) - 1);
    strftime(when, sizeof(when), "%Y-%m-%d %H%M%S", localtime_r(&now, &tm));
    snprintf(mark, sizeof(mark), " (conflict %s %s)", when, host);
    if (stem + strlen(mark) + strlen(name + stem) > PM_NAME_MAX)
        stem = PM_NAME_MAX - strlen(mark) - strlen(name + stem);
    while (stem && ((unsigned char)name[stem] & 0xc0) == 0x80)
        stem--;
    snprintf(out, PM_NAME_MAX + 1, "%.*s%s%s", (int)stem, name, mark, dot && dot != name ? dot : "");
}

/* The entry makes a new object from now on. Only these fields: its state may have moved meanwhile. */
static int forget_target(struct pm_send *s)
{
    s->e->rid[0] = 0;
    s->e->base[0] = 0;
    return pm_db_run(s->cache->db,
                     "UPDATE j.entry SET rid=NULL, base='', step=NULL WHERE id=?1", "i", s->e->id);
}

/* Somebody else changed the object: theirs stays, ours goes beside it under a name that says so. */
static int make_conflict(struct pm_send *s, const struct pm_entry *theirs)
{
    struct pm_db *db = s->cache->db;
    char          name[PM_NAME_MAX + 1];
    char          old[PM_NAME_MAX + 1];
    pm_node       node;
    int           err;

    snprintf(old, sizeof(old), "%s", s->e->name);
    pm_send_conflict_name(s->e->name, name);
    pm_db_begin(db);
    err = pm_node_make(db, s->e->account, s->e->kind, NULL, &node);
    pm_node_detach(db, s->e->node);
    if (!err && theirs) {
        err = pm_node_describe(db, node, theirs);
        if (!err)
            err = pm_node_place(db, node, s->e->parent, old, theirs->name);
    }
    if (!err)
        err = forget_target(s);
    if (!err)
        err = pm_journal_move(db, s->e, s->e->parent, name);
    err = pm_db_end(db, err);
    if (err)
        return err;
    pm_log(PM_WARN, "%s was changed on the service: this drive's goes beside it as %s", old, name);
    pm_tell_entry(s->cache, s->e->parent, old);
    pm_tell_entry(s->cache, s->e->parent, name);
    pm_tell_node(s->cache, s->e->parent, true);
    return -ECANCELED;
}

/* The file it was renamed over was still being sent then; now it is known by its object. */
static int adopt_hidden(struct pm_send *s)
{
    struct pm_db *db = s->cache->db;
    struct pm_row row;

    if (!s->e->replaces)
        return 0;
    pm_db_begin(db);
    if (!pm_node_get(db, s->e->replaces, &row) && row.parent == s->e->parent &&
        !strcmp(row.name, s->e->name)) {
        pm_node_adopt(db, s->e->node, &row);
        snprintf(s->e->rid, sizeof(s->e->rid), "%s", row.rid);
        snprintf(s->e->base, sizeof(s->e->base), "%s", row.version);
        pm_db_run(db, "UPDATE j.entry SET rid=?2, base=?3 WHERE node=?1", "iss",
                  (int64_t)s->e->node, s->e->rid, s->e->base);
    }
    return pm_db_end(db, 0);
}

/* Finds the object that is replaced as it is now. *target stays NULL for a new file. */
static int find_target(struct pm_send *s, struct pm_entry **target)
{
    PM_AUTO(free) struct pm_entry *known = NULL;
    int                            err = *s->e->rid ? 0 : adopt_hidden(s);

    if (err || !*s->e->rid)
        return err;
    err = pm_send_entry(s->cache, s->e->node, &s->row, &known);
    if (!err)
        err = pm_send_check_version(s, known, s->e->base, target);
    s->moved_on = err == -ESTALE; /* or our own try whose answer was lost: resume will tell */
    if (s->moved_on)
        return 0;
    if (err != -ENOENT)
        return err;
    pm_db_begin(s->cache->db); /* gone there while ours is dirty: uploaded anew */
    pm_node_detach(s->cache->db, s->e->node);
    if (pm_backend_can(s->account->backend, PM_CAP_REPLACE))
        err = forget_target(s);
    else /* an earlier try may have ended it: what that made is known from its step */
        err = pm_db_run(s->cache->db, "UPDATE j.entry SET rid=NULL, base='' WHERE id=?1", "i", s->e->id);
    s->e->rid[0] = s->e->base[0] = '\0';
    return pm_db_end(s->cache->db, err);
}

/* --- steps */

int pm_send_parse_step(const char *stored, struct pm_send_step *out)
{
    long long          gen;
    unsigned long long size;
    int                head = 0;

    *out = (struct pm_send_step){0};
    if (!stored || sscanf(stored, "%lld %llu %n", &gen, &size, &head) != 2 || !head)
        return 0;
    *out = (struct pm_send_step){gen, size, strdup(stored + head)};
    return out->text ? 0 : -ENOMEM;
}

int pm_send_load_step(struct pm_send *s, struct pm_send_step *out)
{
    PM_AUTO(free) char *stored = NULL;
    int                 err;

    *out = (struct pm_send_step){0};
    pm_db_begin(s->cache->db);
    stored = pm_journal_step(s->cache->db, s->e->id);
    err = pm_db_end(s->cache->db, 0);
    return err ? err : pm_send_parse_step(stored, out);
}

char *pm_send_print_step(const struct pm_send *s, const struct pm_upload *up)
{
    return pm_asprintf("%lld %llu %s", (long long)s->e->gen, (unsigned long long)up->size, up->state);
}

static int keep_step(struct pm_send *s, const struct pm_upload *up)
{
    PM_AUTO(free) char *stored = pm_send_print_step(s, up);

    return stored ? pm_send_store_step(s, stored) : -ENOMEM;
}

int pm_send_keep(struct pm_upload *up)
{
    struct pm_send *s = up->arg;
    int             err = keep_step(s, up);

    return err ? err : pm_db_sync(s->cache->db);
}

void pm_send_count(void *arg, uint64_t sent)
{
    struct pm_send *s = arg;

    *s->sent = sent;
    s->content->upload_left = s->content->upload_size - sent;
}

/* Where the content's base ends when that is the object `now`. What was written before its base came is
 * all ours until there is nothing more to send: which parts the object has was not noted. */
static uint64_t base_after_locked(const struct pm_content *k, const struct pm_entry *now,
                                  bool unchanged, bool last_copy)
{
    if (!pm_content_whole_locked(k))
        return k->base_end;
    if (last_copy)
        return 0;
    if (unchanged)
        return k->size;
    return k->base_end && now->size != PM_SIZE_UNKNOWN ? now->size : k->base_end;
}

int pm_send_confirm(struct pm_send *s, int64_t gen, const struct pm_entry *now)
{
    PM_AUTO(free) void *present = NULL;
    struct pm_content  *k = s->content;
    struct pm_db       *db = s->cache->db;
    char                rid[PM_NAME_MAX + 1];
    struct pm_jentry    e;
    uint64_t            base_end;
    bool                last_copy = !pm_backend_gives_back(s->account->backend, now);
    bool                unchanged;
    int64_t             era;
    int64_t             len;
    int                 err = pm_merge_rid(now, rid);

    if (!err && last_copy)
        err = pm_era_settle(k); /* what a power cut takes could not be had again */
    if (err)
        return err;
    pm_list_touch(s->cache, s->e->parent, rid);
    PM_GUARD(&k->lock);
    len = pm_ranges_save(&k->present, &present);
    if (len < 0)
        return (int)len;
    unchanged = k->gen == gen && !k->marked;
    base_end = base_after_locked(k, now, unchanged, last_copy);
    era = k->changed ? pm_era_now(s->cache->store) : k->era;
    pm_db_begin(db);
    err = s->also ? s->also(s, gen) : 0;
    if (!err)
        err = pm_send_fold(db, s->e, now, rid);
    pm_db_run(db, "UPDATE node SET own=1, error=NULL, size=?2 WHERE id=?1", "ii",
              (int64_t)s->e->node, (int64_t)k->size);
    pm_db_run(db, "UPDATE content SET version=?2, size=?3, validator='', origin=NULL, present=?4,"
              " era=?5 WHERE id=?1",
              "isibi", k->id, now->version, (int64_t)base_end, present, (size_t)len, era);
    if (unchanged)
        pm_db_run(db, "DELETE FROM j.dirty WHERE content=?1", "i", k->id);
    else if (k->size < base_end) /* cut off since: what is there is no more of it */
        pm_db_run(db, "INSERT OR REPLACE INTO j.dirty(content, off, end) VALUES(?1, ?2, ?3)", "iii",
                  k->id, (int64_t)k->size, PM_RANGE_MAX);
    if (!unchanged)
        pm_file_mark_base(db, k->id, base_end);
    if (unchanged && !last_copy)
        pm_kept_drop(db, k->id);
    else if (unchanged)
        pm_kept_add(db, s->e, k->size, rid, now->version, k->mtime_ns);
    if (unchanged) {
        err = err ? err : pm_journal_finish(db, s->e->id);
    } else if (!pm_journal_get(db, s->e->id, &e)) {
        snprintf(e.rid, sizeof(e.rid), "%s", rid);
        snprintf(e.base, sizeof(e.base), "%s", now->version);
        pm_journal_update(db, &e);
        pm_journal_set_step(db, e.id, NULL);
        pm_journal_set_source(db, e.id, 0);
    }
    err = pm_db_end(db, err);
    if (err)
        return err;
    snprintf(k->version, sizeof(k->version), "%s", now->version);
    k->validator[0] = k->digest[0] = 0;
    k->clone = false;
    k->base++;
    k->base_end = base_end;
    k->era = era;
    k->changed = true;
    if (unchanged && !last_copy) /* a rescue without a journal is to find last copies */
        pm_label_sent_locked(k);
    return unchanged ? 0 : -ECANCELED;
}

/* Did an earlier try arrive whole? An empty content says so only by its object being empty, too. */
static bool arrived(const struct pm_send *s, const struct pm_upload *up, uint64_t off)
{
    if (up->size)
        return off == up->size;
    return s->moved_on && up->target && s->target_size == 0;
}

/* The service still works on what it got from here before: its version moves by itself, and tells
 * nothing of a try of as many bytes. */
static bool tells_nothing(const struct pm_send *s, const struct pm_upload *up)
{
    return up->target && !s->moved_on && s->row.own && s->row.settling && up->size == s->row.rsize;
}

/* Asks what became of an earlier try. 0 and *whole; -ESTALE: it is dead, or to be made once more. */
static int resume(struct pm_send *s, struct pm_upload *up, uint64_t *off, bool *whole)
{
    int err = -ESTALE;

    if (up->state && !tells_nothing(s, up))
        err = pm_backend_resume(s->account->backend, s->ctx, up, off);
    *whole = !err && arrived(s, up, *off);
    if (s->moved_on && !*whole && (!err || err == -ESTALE)) {
        s->conflict = true;
        return -EEXIST;
    }
    return err;
}

/* What an earlier try left was taken away: no list that has it counts, however new. */
static int forget_left(struct pm_send *s)
{
    PM_AUTO(free) struct pm_entry *known = NULL;
    PM_AUTO(free) struct pm_entry *now = NULL;
    struct pm_cache               *c = s->cache;
    struct pm_row                  row;
    pm_node                        listed;
    int                            err = pm_list_now(c, s->e->parent, s->ctx);

    if (err)
        return err;
    pm_db_begin(c->db);
    listed = pm_node_listed(c->db, s->e->parent, s->e->name);
    err = pm_db_end(c->db, 0);
    if (err || !listed || listed == s->e->node)
        return err;
    err = pm_send_entry(c, listed, &row, &known);
    if (err == -ENOENT || err == -EINVAL) /* the list has changed, or cannot tell it from others */
        return 0;
    if (!err)
        err = pm_backend_stat(s->account->backend, s->ctx, known, &now);
    if (err != -ENOENT)
        return err;
    pm_list_touch(c, s->e->parent, row.rid);
    pm_db_begin(c->db);
    return pm_db_end(c->db, pm_node_detach(c->db, listed));
}

/* A try of what the content was before it was written to again, or removed: if it arrived, its
 * object is the one that the next change starts from; else nothing is left of it. */
static int end_old_try(struct pm_send *s, struct pm_upload *up, struct pm_send_step *old)
{
    struct pm_backend             *b = s->account->backend;
    PM_AUTO(free) struct pm_entry *now = NULL;
    uint64_t                       size = up->size;
    uint64_t                       off = 0;
    bool                           whole;
    int                            err;

    up->size = old->size;
    up->state = old->text;
    old->text = NULL;
    err = resume(s, up, &off, &whole);
    if (!err && whole) {
        err = pm_backend_finish(b, s->ctx, up, &now);
        return err ? err : pm_send_confirm(s, PM_OTHER_GENERATION, now);
    }
    if (!err || err == -ESTALE) { /* nothing can go on, but something may be left */
        err = pm_backend_abort(b, s->ctx, up);
        err = pm_send_refused(err) ? 0 : err; /* it stays, as somebody else's */
    }
    if (err && err != -ESTALE && err != -ENOENT)
        return err;
    if (!up->target && (err = forget_left(s)) != 0)
        return err;
    free(up->state);
    up->state = NULL;
    up->size = size;
    return pm_send_store_step(s, NULL);
}

/* --- sending */

/* Begins, or goes on where an earlier try of this same content ended: *again says so. */
static int begin_or_resume(struct pm_send *s, struct pm_upload *up, uint64_t *off, bool *whole,
                           bool *again)
{
    int err;

    *off = 0;
    err = resume(s, up, off, whole);
    *again = err != -ESTALE;
    if (err == -ESTALE) { /* what it left in its state may be needed */
        *off = 0;
        err = pm_backend_begin(s->account->backend, s->ctx, up);
        if (!err)
            err = keep_step(s, up);
        if (!err)
            pm_queue_came_further(s->cache, s->e->id, 0);
        return err ? err : pm_db_sync(s->cache->db); /* what arrives is known to be ours */
    }
    if (!err && pm_queue_came_further(s->cache, s->e->id, *off))
        s->e->tries = 0; /* the line broke, but not before it brought something: the next pause is short */
    return err ? err : keep_step(s, up);
}

/* The name is taken, though nothing was found there before: perhaps by what an earlier try brought, and
 * no list had yet. 0: that is there, whole; -EEXIST: something else is. */
static int look_again(struct pm_send *s, struct pm_upload *up)
{
    uint64_t off = 0;
    bool     whole = false;
    int      err = resume(s, up, &off, &whole);

    if (err)
        return err == -ESTALE ? -EEXIST : err;
    return whole ? keep_step(s, up) : -EAGAIN;
}

int pm_send_upload(struct pm_send *s, struct pm_upload *up, struct pm_entry **out)
{
    struct pm_backend *b = s->account->backend;
    uint64_t           off;
    bool               whole;
    bool               again;
    int                err = begin_or_resume(s, up, &off, &whole, &again);

    while (!err && !whole) {
        uint64_t before = off;

        err = pm_backend_put(b, s->ctx, up, &off);
        if (keep_step(s, up) && !err) /* also what a failed try learnt: resume needs it */
            err = -EIO;
        whole = off >= up->size;
        if (!err && !whole && off > before)
            s->e->tries = 0; /* the next pause is a short one */
        if (!err && !whole && *s->ctx->cancel)
            err = -ECANCELED;
        if (!err && !whole && off <= before)
            err = -EIO; /* the service takes nothing more, and does not say why */
        if (err == -EEXIST && again && !up->target)
            return (err = look_again(s, up)) ? err : pm_backend_finish(b, s->ctx, up, out);
    }
    return err ? err : pm_backend_finish(b, s->ctx, up, out);
}

/* Another content takes its place. */
static int is_replaced(struct pm_send *s, bool *replaced)
{
    pm_db_begin(s->cache->db);
    *replaced = pm_db_int(s->cache->db, 0, "SELECT 1 FROM j.entry WHERE replaces=?1 LIMIT 1", "i",
                          (int64_t)s->e->node) != 0;
    return pm_db_end(s->cache->db, 0);
}

/* Nothing more is sent of it: it was removed here, or another content takes its place and the service
 * refused it, or it was never closed. */
static int is_removed(struct pm_send *s, bool *removed)
{
    struct pm_jentry later;
    int              err;

    pm_db_begin(s->cache->db);
    *removed = !pm_journal_of(s->cache->db, s->e->node, PM_OP_REMOVE, &later) &&
               later.id > s->e->id;
    err = pm_db_end(s->cache->db, 0);
    return err || *removed || !s->e->tries ? err : is_replaced(s, removed);
}

/* The file was removed here while it was being sent: nothing more is sent of it. */
static int drop_removed(struct pm_send *s)
{
    int err;

    pm_db_begin(s->cache->db);
    err = pm_db_end(s->cache->db, pm_journal_drop(s->cache->db, s->e->id));
    if (!err)
        pm_store_drop(s->cache->store, s->e->node); /* not what the service has */
    return err;
}

/* With target and folder at hand: ends what an older try left, then sends the content. */
static int send_over(struct pm_send *s, struct pm_upload *up, struct pm_send_step *old, int64_t gen,
                     bool removed)
{
    PM_AUTO(free) struct pm_entry *now = NULL;
    int                            err = 0;

    if (old->text && (removed || old->gen != s->e->gen || old->size != up->size))
        err = end_old_try(s, up, old);
    if (removed && (!err || err == -EEXIST)) /* somebody else's is there: nothing of ours is */
        return drop_removed(s);
    if (err)
        return err;
    up->state = up->state ? up->state : old->text;
    old->text = NULL;
    s->ctx->cancel = &s->content->cancel_upload;
    err = pm_send_upload(s, up, &now);
    return err ? err : pm_send_confirm(s, gen, now);
}

/* Everything the upload needs is here, and no old content of the object is needed any more. */
static int prepare(struct pm_send *s, struct pm_entry **parent, struct pm_entry **target)
{
    struct pm_row row;
    bool          removed = false;
    int           err = pm_send_entry(s->cache, s->e->parent, &row, parent);

    if (!err)
        err = find_target(s, target);
    if (!err)
        err = is_removed(s, &removed);
    if (!err && !removed)
        err = pm_fetch_whole(s->cache, s->content, &s->content->cancel_upload);
    if (err == -ESTALE) { /* the changes are kept, the rest cannot be had */
        snprintf(s->ctx->why, sizeof(s->ctx->why),
                 "base gone: the service has another version of the rest of it");
        err = -EBADMSG;
    }
    if (!err) /* once the object is replaced, what is not known to be here is nowhere */
        err = pm_content_save(s->content);
    if (!err && *target)
        err = pm_send_save_old(s);
    if (!err && *target)
        err = pm_thing_save(s, &s->row);
    return err;
}

/* "Exists", or a conflict: has somebody the name, or is something only being worked on? */
static int judge_conflict(struct pm_send *s, const struct pm_entry *target)
{
    pm_node listed;
    int     err = target ? -EBUSY : pm_list_now(s->cache, s->e->parent, s->ctx);

    if (err)
        return err;
    pm_db_begin(s->cache->db);
    listed = pm_node_listed(s->cache->db, s->e->parent, s->e->name);
    err = pm_db_end(s->cache->db, 0);
    return err ? err : listed ? -EEXIST : -EAGAIN;
}

/* The folder it goes into is gone, or its name was given to something else. */
static int mend_place(struct pm_send *s, int err, const struct pm_entry *target)
{
    if (err == -ENOENT && !target)
        return pm_send_remake(s, s->e->parent) ? -ENOENT : -EAGAIN;
    if (err == -EEXIST && !s->conflict)
        err = judge_conflict(s, target);
    return err == -EEXIST ? make_conflict(s, s->conflict ? target : NULL) : err;
}

static int send_content(struct pm_send *s)
{
    PM_AUTO(free) struct pm_entry *parent = NULL;
    PM_AUTO(free) struct pm_entry *target = NULL;
    struct pm_content             *k = s->content;
    struct pm_upload               up = {.fd = k->fd, .progress = pm_send_count,
                                           .keep = pm_send_keep, .arg = s};
    struct pm_entry                base;
    struct pm_send_step                    old;
    int64_t                        gen;
    bool                           removed;
    int                            err = prepare(s, &parent, &target);

    if (err)
        return err;
    err = is_removed(s, &removed); /* who has it open may write to it, and no close tells the journal */
    if (err)
        return err;
    pthread_mutex_lock(&k->lock);
    if (k->marked)
        err = -ECANCELED; /* written to while it was prepared */
    else if (k->size != s->e->size && k->gen == 0 && !removed)
        err = is_replaced(s, &removed);
    if (!err && k->size != s->e->size && k->gen == 0 && !removed)
        err = -EBADMSG;
    gen = k->gen;
    up.size = k->size;
    pm_db_begin(s->cache->db);
    pm_label_unsent_locked(s->cache, k); /* it is whole now */
    pm_db_end(s->cache->db, 0);
    k->upload_size = k->size;
    k->upload_left = k->size;
    pthread_mutex_unlock(&k->lock);
    if (err == -EBADMSG) /* the machine went down before it was on the disk */
        snprintf(s->ctx->why, sizeof(s->ctx->why),
                 "its content here is not what was closed, and is kept but not sent");
    if (err)
        return err;
    up.parent = parent;
    up.name = target ? target->name : s->e->name;
    if (!*up.name)
        return -EINVAL;
    if (target) { /* as the user saw it: what changed since tells a lost try of ours */
        s->target_size = target->size;
        base = *target;
        base.version = s->e->base;
        up.target = &base;
    }
    err = pm_send_load_step(s, &old);
    if (!err && !removed)
        err = is_removed(s, &removed);
    if (!err)
        err = send_over(s, &up, &old, gen, removed);
    err = mend_place(s, err, target);
    free(old.text);
    free(up.state);
    return err;
}

/* What the service did not copy is sent as a content, and begun as such: no later try copies. */
static int forget_source(struct pm_send *s)
{
    int err;

    if (!s->e->source)
        return 0;
    s->e->source = 0;
    PM_GUARD(&s->content->lock);
    pm_db_begin(s->cache->db);
    err = pm_db_end(s->cache->db, pm_journal_set_source(s->cache->db, s->e->id, 0));
    s->content->clone = s->content->clone && err;
    return err;
}

/* Nothing brings a file back that is gone from the cache folder. */
static int get_content(struct pm_send *s)
{
    char name[32];
    int  err = pm_content_get(s->cache->store, s->e->node, &s->content);

    pm_store_file_name(s->e->content, name);
    if (err != -EIO || !faccessat(pm_store_dirfd(s->cache->store), name, F_OK, 0) || errno != ENOENT)
        return err;
    snprintf(s->ctx->why, sizeof(s->ctx->why), "its content is not in the cache folder any more");
    return -EBADMSG;
}

/* Is it of a draft, and of which kind? PM_SPOT_LATE, PM_SPOT_DRAFT or PM_SPOT_OTHER. */
static enum pm_spot draft_kind(struct pm_send *s)
{
    enum pm_spot spot;

    if (pm_draft_account(s->cache, s->e->account))
        return PM_SPOT_DRAFT;
    pm_db_begin(s->cache->db);
    spot = pm_draft_spot(s->cache, s->e->parent);
    pm_db_end(s->cache->db, 0); /* what could not be read is found out before anything is sent */
    return spot;
}

int pm_send_put(struct pm_send *s)
{
    enum pm_spot draft;
    int          err = get_content(s);

    if (err)
        return err;
    pthread_mutex_lock(&s->content->lock);
    s->content->cancel_upload = s->cache->stopping;
    s->content->upload_left = UINT64_MAX; /* a write cancels, before it is known how much */
    if (s->content->marked)
        err = -ECANCELED; /* written to between choosing and now */
    pthread_mutex_unlock(&s->content->lock);
    if (s->content->id != s->e->content) {
        snprintf(s->ctx->why, sizeof(s->ctx->why), "its content is not in the cache folder");
        err = -EBADMSG;
    }
    if (!err && (draft = draft_kind(s)) != PM_SPOT_OTHER) {
        err = draft == PM_SPOT_LATE ? pm_send_late(s) : pm_send_draft(s);
        s->content->upload_left = 0;
        pm_content_put(s->content);
        return err;
    }
    if (!err && s->e->state == PM_J_INTERRUPTED)
        err = pm_send_end_copy(s);
    else if (!err)
        err = pm_send_clone(s);
    if (err == -EOPNOTSUPP) {
        err = forget_source(s);
        if (!err)
            err = send_content(s);
    } else {
        err = mend_place(s, err, NULL);
    }
    s->content->upload_left = 0;
    pm_content_put(s->content);
    return err;
}
