/* A rename where the service has none: copy there, wait until the copy is whole, then remove the
 * source. Nothing is removed before its copy is confirmed; each step is found done after a crash. */
#include "cache/file.h"
#include "cache/list.h"
#include "cache/merge.h"
#include "cache/send.h"

#include <errno.h>
#include <string.h>

#define COPY_BEGUN   "?" /* step: the copy was asked for; its id may have been lost */
#define POLL_FIRST   200 /* ms between looks at a copy */
#define POLL_MAX     5000

/* The destination as its folder's list has it now; -ENOENT: it has none. */
static int find_at_destination(struct pm_send *s, struct pm_entry **out)
{
    struct pm_row row;
    pm_node       node;
    int           err = pm_list_now(s->cache, s->e->parent, s->ctx);

    if (err)
        return err;
    pm_db_begin(s->cache->db);
    node = pm_node_listed(s->cache->db, s->e->parent, s->e->name);
    pm_db_end(s->cache->db, 0);
    return node ? pm_send_entry(s->cache, node, &row, out) : -ENOENT;
}

static int start_copy(struct pm_send *s, const struct pm_entry *src, struct pm_entry **copy)
{
    PM_AUTO(free) struct pm_entry *parent = NULL;
    struct pm_row                  row;
    int                            err = pm_send_entry(s->cache, s->e->parent, &row, &parent);

    if (!err)
        err = pm_send_store_step(s, COPY_BEGUN);
    if (!err)
        err = pm_backend_copy(s->account->backend, s->ctx, src, parent, s->e->name, copy);
    return err ? err : pm_send_store_step(s, (*copy)->id);
}

/* The copy, from an earlier try or a new one. */
static int find_or_start_copy(struct pm_send *s, const struct pm_entry *src, struct pm_entry **copy)
{
    PM_AUTO(free) char *step = NULL;
    int                 err;

    pm_db_begin(s->cache->db);
    step = pm_journal_step(s->cache->db, s->e->id);
    pm_db_end(s->cache->db, 0);
    if (!step)
        return start_copy(s, src, copy);
    err = find_at_destination(s, copy);
    if (err == -ENOENT)
        return start_copy(s, src, copy);
    if (err)
        return err;
    if (strcmp(step, COPY_BEGUN) != 0 ? strcmp(step, (*copy)->id) != 0
                                      : (*copy)->size != src->size && !(*copy)->settling)
        return -EEXIST; /* somebody else's */
    return 0;
}

/* Waits until the service says that the copy is whole. *copy is replaced by what it is then. */
static int settle(struct pm_send *s, const struct pm_entry *src, struct pm_entry **copy)
{
    int64_t pause = POLL_FIRST;

    for (;;) {
        struct pm_entry *now = NULL;
        int              err = pm_backend_stat(s->account->backend, s->ctx, *copy, &now);

        if (err)
            return err == -ENOENT ? -EAGAIN : err;
        free(*copy);
        *copy = now;
        if (now->size == src->size && (!now->settling || src->settling))
            return 0;
        if (!now->settling)
            return -EIO; /* ended, and is not what was copied */
        for (int64_t slept = 0; slept < pause; slept += POLL_FIRST) {
            if (*s->ctx->cancel)
                return -ECANCELED;
            usleep(POLL_FIRST * 1000);
        }
        pause = pause * 2 < POLL_MAX ? pause * 2 : POLL_MAX;
    }
}

static int confirm(struct pm_send *s, const struct pm_entry *now)
{
    struct pm_db *db = s->cache->db;
    char          rid[PM_NAME_MAX + 1];
    int           err = pm_merge_rid(now, rid);

    if (err)
        return err;
    pm_list_touch(s->cache, s->e->parent, rid);
    pm_list_touch(s->cache, s->e->oparent, s->e->rid);
    pm_db_begin(db);
    err = pm_send_fold(db, s->e, now, rid);
    if (!err)
        err = pm_journal_finish(db, s->e->id);
    err = pm_db_end(db, err);
    if (!err)
        pm_store_adopt(s->cache->store, s->e->node, now->version);
    return err;
}

/* The old name stands; what the user sees follows from the list. */
static int restore(struct pm_send *s, const char *report)
{
    struct pm_cache *c = s->cache;
    int              err;

    pm_db_begin(c->db);
    pm_db_run(c->db, "UPDATE node SET error=?2 WHERE id=?1", "is", (int64_t)s->e->node, report);
    err = pm_db_end(c->db, pm_journal_drop(c->db, s->e->id));
    if (err)
        return err;
    pm_log(PM_WARN, "rename of %s to %s dropped: %s", s->e->oname, s->e->name, report);
    pm_tell_entry(c, s->e->parent, s->e->name);
    pm_tell_entry(c, s->e->oparent, s->e->oname);
    pm_tell_node(c, s->e->parent, true);
    pm_tell_node(c, s->e->oparent, true);
    return 0;
}

int pm_send_rename(struct pm_send *s)
{
    PM_AUTO(free) struct pm_entry *src = NULL;
    PM_AUTO(free) struct pm_entry *seen = NULL;
    PM_AUTO(free) struct pm_entry *again = NULL;
    PM_AUTO(free) struct pm_entry *copy = NULL;
    int                            err;

    if (s->e->replaces)
        return pm_change_replace(s->cache, s->e);
    err = pm_send_entry(s->cache, s->e->node, &s->row, &src);
    if (!err)
        err = pm_send_check_version(s, src, &seen);
    if (!err && seen->settling)
        return -EAGAIN; /* the source settles first */
    if (!err)
        err = find_or_start_copy(s, seen, &copy);
    if (!err)
        err = settle(s, seen, &copy);
    if (!err)
        err = pm_send_check_version(s, src, &again);
    if (!err)
        err = pm_backend_remove(s->account->backend, s->ctx, src);
    if (!err)
        return confirm(s, copy);
    if (err == -EEXIST)
        return restore(s, "the new name is taken on the service");
    if (err == -ESTALE)
        return restore(s, "the file was changed on the service since");
    return err;
}
