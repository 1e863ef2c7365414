/* Carrying one entry of the journal out: ask the service, change it, fold the answer into the
 * index. Every step may be repeated after a crash: what was done before is found done. */
#include "cache/send.h"

#include "cache/fetch.h"
#include "cache/list.h"
#include "cache/merge.h"
#include "cache/queue.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* --- the service's view of a node */

int pm_send_entry(struct pm_cache *c, pm_node node, struct pm_row *row, struct pm_entry **out)
{
    int err;

    *out = NULL;
    pm_db_begin(c->db);
    err = pm_node_get(c->db, node, row);
    if (!err)
        err = pm_node_entry(c->db, node, out);
    err = pm_db_end(c->db, err);
    return err ? err : pm_account_reaches(c, row);
}

int pm_send_check_version(struct pm_send *s, const struct pm_entry *known, struct pm_entry **now)
{
    int err = pm_backend_stat(s->account->backend, s->ctx, known, now);

    if (err || !*now)
        return err ? err : -EIO;
    if (pm_backend_same_version(s->account->backend, (*now)->version, s->e->base))
        return 0;
    /* Our own upload, converted since: the same bytes under a new version. */
    return s->row.own && s->row.settling && (*now)->size == s->row.rsize ? 0 : -ESTALE;
}

/* --- folding in */

void pm_send_take_from_others(struct pm_db *db, pm_node node, uint32_t account, const char *rid)
{
    pm_node other = pm_node_by_rid(db, account, rid);

    if (!other || other == node)
        return;
    pm_node_detach(db, other);
}

int pm_send_fold(struct pm_db *db, const struct pm_jentry *e, const struct pm_entry *now,
                const char *rid)
{
    struct pm_entry described = *now;
    int             err;

    described.id = rid;
    pm_send_take_from_others(db, e->node, e->account, rid);
    err = pm_node_describe(db, e->node, &described);
    if (!err)
        err = pm_node_place(db, e->node, e->parent, e->name, now->name);
    /* What comes after this entry starts from what the service has now. */
    pm_db_run(db, "UPDATE j.entry SET rid=?2, base=?3 WHERE node=?1 AND id<>?4",
              "issi", (int64_t)e->node, rid, now->version, e->id);
    return err;
}

/* --- folders */

/* The folder is there already: ours, if a list shows one of that name. */
static int find_made(struct pm_send *s, struct pm_entry **out)
{
    struct pm_row row;
    pm_node       listed;
    int           err = pm_list_now(s->cache, s->e->parent, s->ctx);

    if (err)
        return err;
    pm_db_begin(s->cache->db);
    listed = pm_node_listed(s->cache->db, s->e->parent, s->e->name);
    pm_db_end(s->cache->db, 0);
    if (!listed)
        return -EAGAIN;
    err = pm_send_entry(s->cache, listed, &row, out);
    if (!err && row.kind != PM_FOLDER)
        err = -ENOTDIR;
    return err;
}

static int send_mkdir(struct pm_send *s)
{
    PM_AUTO(free) struct pm_entry *parent = NULL;
    PM_AUTO(free) struct pm_entry *now = NULL;
    char                           rid[PM_NAME_MAX + 1];
    struct pm_row                  row;
    int                            err = pm_send_entry(s->cache, s->e->parent, &row, &parent);

    if (!err)
        err = pm_backend_mkdir(s->account->backend, s->ctx, parent, s->e->name, &now);
    if (err == -EEXIST)
        err = find_made(s, &now);
    if (!err)
        err = pm_merge_rid(now, rid);
    if (err)
        return err;
    pm_list_touch(s->cache, s->e->parent, rid);
    pm_db_begin(s->cache->db);
    err = pm_send_fold(s->cache->db, s->e, now, rid);
    if (!err)
        err = pm_journal_finish(s->cache->db, s->e->id);
    return pm_db_end(s->cache->db, err);
}

/* --- removals */

/* Nothing is removed, or it is gone: what the user sees again follows from the list. */
static int end_removal(struct pm_send *s, bool removed, const char *report)
{
    struct pm_cache *c = s->cache;
    int              err;

    if (removed)
        pm_list_touch(c, s->e->parent, s->row.rid);
    pm_db_begin(c->db);
    err = pm_journal_finish(c->db, s->e->id);
    if (removed)
        pm_node_detach(c->db, s->e->node); /* the row goes when the kernel forgets it */
    else
        pm_db_run(c->db, "UPDATE node SET error=?2 WHERE id=?1", "is", (int64_t)s->e->node, report);
    err = pm_db_end(c->db, err);
    if (err)
        return err;
    if (removed) {
        pm_store_drop(c->store, s->e->node);
        return 0;
    }
    pm_log(PM_WARN, "removal of %s dropped: %s", s->e->name, report);
    pm_list_expire_around(c, s->e->node);
    pm_tell_entry(c, s->e->parent, s->e->name);
    pm_tell_node(c, s->e->parent, true);
    return 0;
}

static int stop_at_first(void *arg, const struct pm_entry *e)
{
    (void)arg;
    (void)e;
    return -ENOTEMPTY;
}

/* Whoever reads this content, or a change that will send it, still needs what is not here yet. */
static int save_old_content(struct pm_send *s, pm_node node)
{
    struct pm_content *k;
    struct pm_jentry   unsent;
    bool               needed;
    int                err;

    pm_db_begin(s->cache->db);
    needed = !pm_journal_of(s->cache->db, node, PM_OP_PUT, &unsent);
    pm_db_end(s->cache->db, 0);
    k = pm_content_peek(s->cache->store, node);
    if (!k && !needed)
        return 0;
    if (!k && (err = pm_content_get(s->cache->store, node, &k)) != 0)
        return err;
    pthread_mutex_lock(&k->lock);
    needed = !k->stale && (needed || k->handles);
    pthread_mutex_unlock(&k->lock);
    err = needed ? pm_fetch_whole(s->cache, k, &s->cache->stopping) : 0;
    pm_content_put(k);
    return err == -ESTALE || err == -ENOENT ? 0 : err;
}

static int send_remove(struct pm_send *s)
{
    PM_AUTO(free) struct pm_entry *known = NULL;
    PM_AUTO(free) struct pm_entry *now = NULL;
    struct pm_backend             *b = s->account->backend;
    int                            err = pm_send_entry(s->cache, s->e->node, &s->row, &known);

    if (err == -ENOENT)
        return end_removal(s, true, NULL); /* it never came to the service */
    if (!err)
        err = s->e->kind == PM_FOLDER ? pm_backend_list(b, s->ctx, known, stop_at_first, NULL)
                                      : pm_send_check_version(s, known, &now);
    if (err == -ENOENT)
        return end_removal(s, true, NULL);
    if (err == -ENOTEMPTY)
        return end_removal(s, false, "the folder is not empty on the service");
    if (err == -ESTALE)
        return end_removal(s, false, "the file was changed on the service since");
    if (!err)
        err = save_old_content(s, s->e->node);
    if (!err)
        err = pm_backend_remove(b, s->ctx, known);
    return err && err != -ENOENT ? err : end_removal(s, true, NULL);
}

/* --- content */

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
    s->e->rid[0] = 0;
    s->e->base[0] = 0;
    s->e->state = PM_J_READY;
    pm_journal_set_step(db, s->e->id, NULL);
    if (!err)
        err = pm_journal_move(db, s->e, s->e->parent, name);
    if (!err)
        err = pm_journal_update(db, s->e);
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
static void adopt_hidden(struct pm_send *s)
{
    struct pm_db *db = s->cache->db;
    struct pm_row row;

    if (!s->e->replaces)
        return;
    pm_db_begin(db);
    if (!pm_node_get(db, s->e->replaces, &row) && row.parent == s->e->parent &&
        !strcmp(row.name, s->e->name)) {
        pm_node_adopt(db, s->e->node, &row);
        snprintf(s->e->rid, sizeof(s->e->rid), "%s", row.rid);
        snprintf(s->e->base, sizeof(s->e->base), "%s", row.version);
        pm_journal_update(db, s->e);
    }
    pm_db_end(db, 0);
}

/* Finds the object that is replaced as it is now. *target stays NULL for a new file. */
static int find_target(struct pm_send *s, struct pm_entry **target)
{
    PM_AUTO(free) struct pm_entry *known = NULL;
    int                            err;

    if (!*s->e->rid)
        adopt_hidden(s);
    if (!*s->e->rid)
        return 0;
    err = pm_send_entry(s->cache, s->e->node, &s->row, &known);
    if (!err)
        err = pm_send_check_version(s, known, target);
    s->moved_on = err == -ESTALE; /* or our own try whose answer was lost: resume will tell */
    if (s->moved_on)
        return 0;
    if (err != -ENOENT)
        return err;
    pm_db_begin(s->cache->db); /* gone there while ours is dirty: uploaded anew */
    pm_node_detach(s->cache->db, s->e->node);
    s->e->rid[0] = 0;
    s->e->base[0] = 0;
    pm_journal_set_step(s->cache->db, s->e->id, NULL);
    return pm_db_end(s->cache->db, pm_journal_update(s->cache->db, s->e));
}

/* Old content of the object that is still needed here (a backup name, an open file) and not whole
 * is fetched before the object changes. What nobody needs is dropped. */
static int save_old_contents(struct pm_send *s)
{
    struct pm_cache *c = s->cache;
    pm_node          after = 0;
    int              err = 0;

    while (!err) {
        pm_node node;

        pm_db_begin(c->db);
        node = (pm_node)pm_db_int(c->db, 0,
                                  "SELECT min(node) FROM content WHERE origin=?1 AND node>?2", "ii",
                                  (int64_t)s->e->node, (int64_t)after);
        pm_db_end(c->db, 0);
        if (!node)
            return 0;
        after = node;
        err = save_old_content(s, node);
    }
    return err;
}

static void count_sent(void *arg, uint64_t sent)
{
    atomic_uint_least64_t *counter = arg;

    *counter = sent;
}

int pm_send_store_step(struct pm_send *s, const char *step)
{
    pm_db_begin(s->cache->db);
    return pm_db_end(s->cache->db, pm_journal_set_step(s->cache->db, s->e->id, step));
}

/* Begins, or finds out how far an earlier try came. */
static int begin_or_resume(struct pm_send *s, struct pm_upload *up, uint64_t *off, bool *whole)
{
    struct pm_backend *b = s->account->backend;
    int                err = -ESTALE;

    *whole = false;
    *off = 0;
    if (up->state) {
        err = pm_backend_resume(b, s->ctx, up, off);
        *whole = !err && *off == up->size && up->size > 0;
    }
    if (s->moved_on && !*whole) {
        s->conflict = !err || err == -ESTALE;
        return s->conflict ? -EEXIST : err;
    }
    if (err == -ESTALE) {
        free(up->state);
        up->state = NULL;
        *off = 0;
        err = pm_backend_begin(b, s->ctx, up);
    }
    return err ? err : pm_send_store_step(s, up->state);
}

static int upload(struct pm_send *s, struct pm_upload *up, struct pm_entry **out)
{
    struct pm_backend *b = s->account->backend;
    uint64_t           off;
    bool               whole;
    int                err = begin_or_resume(s, up, &off, &whole);

    while (!err && !whole) {
        err = pm_backend_put(b, s->ctx, up, &off);
        if (!err)
            err = pm_send_store_step(s, up->state);
        whole = off >= up->size;
    }
    return err ? err : pm_backend_finish(b, s->ctx, up, out);
}

/* The service has the content as of write generation `gen`. */
static int confirm(struct pm_send *s, struct pm_content *k, int64_t gen, const struct pm_entry *now)
{
    struct pm_db    *db = s->cache->db;
    char             rid[PM_NAME_MAX + 1];
    struct pm_jentry e;
    bool             unchanged;
    int              err = pm_merge_rid(now, rid);

    if (err)
        return err;
    pm_list_touch(s->cache, s->e->parent, rid);
    PM_GUARD(&k->lock);
    unchanged = k->gen == gen && !k->marked;
    pm_db_begin(db);
    err = pm_send_fold(db, s->e, now, rid);
    pm_db_run(db, "UPDATE node SET own=1, error=NULL, size=?2 WHERE id=?1", "ii",
              (int64_t)s->e->node, (int64_t)k->size);
    pm_db_run(db, "UPDATE content SET version=?2, size=?3, validator='', origin=NULL WHERE id=?1", "isi", k->id,
              now->version, (int64_t)k->size);
    pm_db_run(db, "DELETE FROM j.dirty WHERE content=?1", "i", k->id);
    if (unchanged) {
        err = err ? err : pm_journal_finish(db, s->e->id);
    } else if (!pm_journal_get(db, s->e->id, &e)) {
        snprintf(e.rid, sizeof(e.rid), "%s", rid);
        snprintf(e.base, sizeof(e.base), "%s", now->version);
        pm_journal_update(db, &e);
        pm_journal_set_step(db, e.id, NULL);
    }
    err = pm_db_end(db, err);
    if (err)
        return err;
    snprintf(k->version, sizeof(k->version), "%s", now->version);
    k->validator[0] = 0;
    k->changed = true;
    return unchanged ? 0 : -ECANCELED;
}

/* The file was removed here while it was being sent: nothing more is sent of it. */
static int give_up_removed(struct pm_send *s, struct pm_upload *up, struct pm_content *k,
                           int64_t gen)
{
    uint64_t off = 0;
    int      err = up->state ? pm_backend_resume(s->account->backend, s->ctx, up, &off) : -ENOENT;

    if (!err && up->state && off == up->size) {
        PM_AUTO(free) struct pm_entry *now = NULL;

        err = pm_backend_finish(s->account->backend, s->ctx, up, &now);
        return err ? err : confirm(s, k, gen, now); /* the removal that follows finds it */
    }
    if (err && err != -ENOENT && err != -ESTALE)
        return err;
    pm_db_begin(s->cache->db);
    return pm_db_end(s->cache->db, pm_journal_drop(s->cache->db, s->e->id));
}

static bool is_removed(struct pm_send *s)
{
    struct pm_jentry later;
    bool             removed;

    pm_db_begin(s->cache->db);
    removed = !pm_journal_of(s->cache->db, s->e->node, PM_OP_REMOVE, &later) &&
              later.id > s->e->id;
    pm_db_end(s->cache->db, 0);
    return removed;
}

static int send_content(struct pm_send *s, struct pm_content *k)
{
    PM_AUTO(free) struct pm_entry *parent = NULL;
    PM_AUTO(free) struct pm_entry *target = NULL;
    PM_AUTO(free) struct pm_entry *now = NULL;
    struct pm_upload               up = {.fd = k->fd, .progress = count_sent, .arg = s->sent};
    struct pm_entry                base;
    struct pm_row                  row;
    int64_t                        gen;
    int err = pm_send_entry(s->cache, s->e->parent, &row, &parent);

    if (!err)
        err = find_target(s, &target);
    if (!err && !is_removed(s))
        err = pm_fetch_whole(s->cache, k, &k->cancel_upload);
    if (!err && target)
        err = save_old_contents(s);
    if (err)
        return err;
    pthread_mutex_lock(&k->lock);
    gen = k->gen;
    up.size = k->size;
    pthread_mutex_unlock(&k->lock);
    pm_db_begin(s->cache->db);
    up.state = pm_journal_step(s->cache->db, s->e->id);
    pm_db_end(s->cache->db, 0);
    up.parent = parent;
    if (target) { /* as the user saw it: resume tells a lost try of ours by what changed since */
        base = *target;
        base.version = s->e->base;
        up.target = &base;
    }
    up.name = target ? target->name : s->e->name;
    if (is_removed(s)) {
        err = give_up_removed(s, &up, k, gen);
    } else {
        s->ctx->cancel = &k->cancel_upload;
        err = upload(s, &up, &now);
        if (!err)
            err = confirm(s, k, gen, now);
        if (err == -EEXIST)
            err = make_conflict(s, s->conflict ? target : NULL);
    }
    free(up.state);
    return err;
}

static int send_put(struct pm_send *s)
{
    struct pm_content *k;
    int                err = pm_content_get(s->cache->store, s->e->node, &k);

    if (err)
        return err;
    pthread_mutex_lock(&k->lock);
    k->cancel_upload = s->cache->stopping;
    if (k->marked)
        err = -ECANCELED; /* written to between choosing and now */
    pthread_mutex_unlock(&k->lock);
    if (k->id != s->e->content) {
        snprintf(s->ctx->why, sizeof(s->ctx->why), "its content is not in the cache folder");
        err = -EIO;
    }
    if (!err)
        err = send_content(s, k);
    pm_content_put(k);
    return err;
}

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

int pm_send(struct pm_cache *c, struct pm_jentry *e, struct pm_ctx *ctx,
            atomic_uint_least64_t *sent)
{
    struct pm_send s = {.cache = c, .e = e, .ctx = ctx, .sent = sent,
                        .account = pm_account_by_id(c, e->account)};

    switch (e->op) {
    case PM_OP_PUT: return send_put(&s);
    case PM_OP_MKDIR: return send_mkdir(&s);
    case PM_OP_REMOVE: return send_remove(&s);
    case PM_OP_RENAME: return pm_send_rename(&s);
    }
    return -EINVAL;
}
