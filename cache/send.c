/* Carrying one entry of the journal out: ask the service, change it, fold the answer into the
 * index. Every step may be repeated after a crash: what was done before is found done. */
#include "cache/send.h"

#include "cache/draft.h"
#include "cache/durable.h"
#include "cache/fetch.h"
#include "cache/hidden.h"
#include "cache/list.h"
#include "cache/merge.h"
#include "cache/queue.h"
#include "cache/thing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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

/* Did the version that the entry starts from get another name since it was chosen, or become one that is
 * this drive's own doing, too? `now` is what the service has. 1, 0 or -errno. */
static int is_ours(struct pm_send *s, const char *now)
{
    struct pm_backend *b = s->account->backend;
    struct pm_jentry   e;
    const char        *base = NULL;
    bool               known;
    int                err;

    pm_db_begin(s->cache->db);
    known = !pm_journal_get(s->cache->db, s->e->id, &e) &&
            !pm_node_get(s->cache->db, e.node, &s->row);
    err = pm_db_end(s->cache->db, 0);
    if (err)
        return err;
    if (known && pm_backend_same_version(b, now, e.base))
        base = e.base;
    else if (known && s->row.own && pm_backend_same_version(b, now, s->row.version))
        base = s->row.version;
    if (base)
        snprintf(s->e->base, sizeof(s->e->base), "%s", base);
    return base != NULL;
}

int pm_send_check_version(struct pm_send *s, const struct pm_entry *known, const char *version,
                          struct pm_entry **now)
{
    int err = pm_backend_stat(s->account->backend, s->ctx, known, now);

    if (err || !*now)
        return err ? err : -EIO;
    if (pm_backend_same_version(s->account->backend, (*now)->version, version))
        return 0;
    if (version == s->e->base && (err = is_ours(s, (*now)->version)) != 0)
        return err < 0 ? err : 0;
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

int pm_send_store_step(struct pm_send *s, const char *step)
{
    int err;

    pm_db_begin(s->cache->db);
    if (s->serial)
        err = pm_db_run(s->cache->db,
                        "UPDATE j.entry SET step=?2 WHERE id=?1 AND ?3=(SELECT serial FROM j.draft d"
                        " WHERE d.node=parent)",
                        "isi", s->e->id, step, s->serial);
    else
        err = pm_journal_set_step(s->cache->db, s->e->id, step);
    return pm_db_end(s->cache->db, err);
}

/* --- folders */

/* A folder that is gone from the service, and those above it, for what goes into it. */
static int remake_one(struct pm_send *s, pm_node folder)
{
    PM_AUTO(free) struct pm_entry *parent = NULL;
    PM_AUTO(free) struct pm_entry *now = NULL;
    PM_AUTO(free) struct pm_entry *self = NULL;
    char                           rid[PM_NAME_MAX + 1];
    struct pm_entry                described;
    struct pm_row                  row;
    int                            err = pm_send_entry(s->cache, folder, &row, &self);

    if (!err)
        err = pm_send_entry(s->cache, row.parent, &s->row, &parent);
    if (!err)
        err = pm_backend_mkdir(s->account->backend, s->ctx, parent, self->name, &now);
    if (err)
        return err == -EEXIST ? 0 : err;
    err = pm_merge_rid(now, rid);
    if (err)
        return err;
    described = *now;
    described.id = rid;
    pm_list_touch(s->cache, row.parent, rid);
    pm_db_begin(s->cache->db);
    pm_send_take_from_others(s->cache->db, folder, s->e->account, rid);
    return pm_db_end(s->cache->db, pm_node_describe(s->cache->db, folder, &described));
}

int pm_send_remake(struct pm_send *s, pm_node folder)
{
    struct pm_row row;
    int           err;

    pm_db_begin(s->cache->db);
    err = pm_db_end(s->cache->db, pm_node_get(s->cache->db, folder, &row));
    if (err || !row.parent || row.parent == PM_NODE_ROOT)
        return err ? err : -ENOENT;
    err = remake_one(s, folder);
    if (err == -ENOENT) {
        err = pm_send_remake(s, row.parent);
        if (!err)
            err = remake_one(s, folder);
    }
    return err;
}

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
    err = pm_db_end(s->cache->db, 0);
    if (err || !listed)
        return err ? err : -EAGAIN;
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

    if (!err) /* from now on it may be there, whatever is heard of it: it is not made elsewhere instead */
        err = pm_send_store_step(s, "mkdir");
    if (!err)
        err = pm_backend_mkdir(s->account->backend, s->ctx, parent, s->e->name, &now);
    if (err == -ENOENT && parent) {
        err = pm_send_remake(s, s->e->parent);
        if (!err)
            err = pm_backend_mkdir(s->account->backend, s->ctx, parent, s->e->name, &now);
    }
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
    bool             thing;
    int              err;

    if (removed)
        pm_list_touch(c, s->e->parent, s->row.rid);
    pm_db_begin(c->db);
    thing = s->row.kind == PM_FOLDER && pm_thing_is(c, s->e->node);
    err = pm_journal_finish(c->db, s->e->id);
    if (removed) {
        pm_node_detach(c->db, s->e->node); /* the row goes when the kernel forgets it */
    } else {
        pm_hidden_show_below(c->db, s->e->node);
        pm_db_run(c->db, "UPDATE node SET error=?2 WHERE id=?1", "is", (int64_t)s->e->node, report);
    }
    pm_db_run(c->db, "UPDATE list SET fetched=0 WHERE node=?1", "i", (int64_t)s->e->node);
    err = pm_db_end(c->db, err);
    if (err)
        return err;
    if (removed) {
        pm_store_drop(c->store, s->e->node);
        pm_thing_gone(c, &s->row, thing);
        return 0;
    }
    pm_log(PM_WARN, "removal of %s dropped: %s", s->e->name, report);
    pm_store_revive(c->store, s->e->node);
    pm_list_expire_around(c, s->e->node);
    pm_tell_entry(c, s->e->parent, s->e->name);
    pm_tell_node(c, s->e->parent, true);
    if (s->e->kind == PM_FOLDER)
        pm_tell_node(c, s->e->node, true);
    return 0;
}

static int stop_at_first(void *arg, const struct pm_entry *e)
{
    (void)arg;
    (void)e;
    return -ENOTEMPTY;
}

int pm_send_save_content(struct pm_send *s, pm_node node)
{
    struct pm_content *k;
    struct pm_jentry   unsent;
    bool               needed;
    int                err;

    pm_db_begin(s->cache->db);
    needed = !pm_journal_of(s->cache->db, node, PM_OP_PUT, &unsent);
    err = pm_db_end(s->cache->db, 0);
    if (err)
        return err;
    k = pm_content_peek(s->cache->store, node);
    if (!k && !needed)
        return 0;
    if (!k && (err = pm_content_get(s->cache->store, node, &k)) != 0)
        return err;
    pthread_mutex_lock(&k->lock);
    needed = !k->stale && (needed || k->handles);
    pthread_mutex_unlock(&k->lock);
    err = needed ? pm_fetch_whole(s->cache, k, &s->cache->stopping) : 0;
    if (needed && !err)
        err = pm_era_settle(k); /* soon it is nowhere else */
    pm_content_put(k);
    return err == -ESTALE || err == -ENOENT ? 0 : err;
}

int pm_send_save_old(struct pm_send *s)
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
        err = pm_db_end(c->db, 0);
        if (err || !node)
            return err;
        after = node;
        err = pm_send_save_content(s, node);
    }
    return err;
}

bool pm_send_refused(int err)
{
    return err == -EINVAL || err == -EPERM || err == -EOPNOTSUPP || err == -EROFS;
}

/* Is what is to go as the user saw it? -ENOENT: it is gone; -ENOTEMPTY, -ESTALE: it is not. */
static int check_removal(struct pm_send *s, const struct pm_entry *known, bool thing)
{
    PM_AUTO(free) struct pm_entry *now = NULL;

    if (s->e->kind == PM_FOLDER && !thing)
        return pm_backend_list(s->account->backend, s->ctx, known, stop_at_first, NULL);
    return pm_send_check_version(s, known, s->e->base, &now);
}

static int send_remove(struct pm_send *s)
{
    PM_AUTO(free) struct pm_entry *known = NULL;
    struct pm_backend             *b = s->account->backend;
    char                           why[200];
    int                            err = pm_send_entry(s->cache, s->e->node, &s->row, &known);
    bool thing = !err && s->e->kind == PM_FOLDER &&
                 pm_backend_manner(b, known, why, sizeof(why)) == PM_MANNER_THING;

    if (err == -ENOENT)
        return end_removal(s, true, NULL); /* it never came to the service */
    if (pm_send_refused(err))
        return end_removal(s, false, "it cannot be told from another of the same name");
    if (!err)
        err = check_removal(s, known, thing);
    if (err == -ENOENT)
        return end_removal(s, true, NULL);
    if (err == -ENOTEMPTY)
        return end_removal(s, false, "the folder is not empty on the service");
    if (err == -ESTALE)
        return end_removal(s, false, thing ? "it was changed on the service since"
                                           : "the file was changed on the service since");
    if (!err)
        err = thing ? 0 : pm_send_save_content(s, s->e->node);
    if (!err && (thing || s->e->kind != PM_FOLDER))
        err = pm_thing_save(s, &s->row);
    if (!err)
        err = pm_send_save_old(s);
    if (!err && s->e->kind == PM_FOLDER)
        err = pm_send_store_step(s, "remove"); /* from now on it may be gone */
    if (!err)
        err = pm_backend_remove(b, s->ctx, known);
    if (!err || err == -ENOENT)
        return end_removal(s, true, NULL);
    return pm_send_refused(err) ? end_removal(s, false, *s->ctx->why ? s->ctx->why : strerror(-err)) : err;
}

int pm_send(struct pm_cache *c, struct pm_jentry *e, struct pm_ctx *ctx,
            atomic_uint_least64_t *sent)
{
    struct pm_send s = {.cache = c, .e = e, .ctx = ctx, .sent = sent,
                        .account = pm_account_by_id(c, e->account)};

    switch (e->op) {
    case PM_OP_PUT: return pm_send_put(&s);
    case PM_OP_MKDIR: return send_mkdir(&s);
    case PM_OP_REMOVE: return send_remove(&s);
    case PM_OP_RENAME: return pm_send_rename(&s);
    case PM_OP_PUBLISH: return pm_send_publish(&s);
    }
    return -EINVAL;
}
