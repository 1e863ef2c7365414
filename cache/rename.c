/* A rename where the service has none: copy there, wait until the copy is whole, then remove the
 * source. Nothing is removed before its copy is confirmed; each step is found done after a crash. */
#include "cache/rename.h"

#include "cache/file.h"
#include "cache/list.h"
#include "cache/merge.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BEGUN      "?" /* step: it was asked for; its id may have been lost */
#define POLL_FIRST 200 /* ms between looks at a copy */
#define POLL_MAX   5000

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

/* Makes it, and keeps its id in case the daemon ends before the rest is done. */
static int start(struct pm_send *s, const struct pm_entry *src,
                 int (*make)(struct pm_send *s, const struct pm_entry *src,
                             const struct pm_entry *parent, struct pm_entry **out),
                 struct pm_entry **out)
{
    PM_AUTO(free) struct pm_entry *parent = NULL;
    struct pm_row                  row;
    int                            err = pm_send_entry(s->cache, s->e->parent, &row, &parent);

    if (!err)
        err = pm_send_store_step(s, BEGUN);
    if (!err)
        err = make(s, src, parent, out);
    return err ? err : pm_send_store_step(s, (*out)->id);
}

int pm_rename_destination(struct pm_send *s, const struct pm_entry *src,
                          int (*make)(struct pm_send *s, const struct pm_entry *src,
                                      const struct pm_entry *parent, struct pm_entry **out),
                          struct pm_entry **out)
{
    PM_AUTO(free) char *step = NULL;
    bool                ours;
    int                 err;

    pm_db_begin(s->cache->db);
    step = pm_journal_step(s->cache->db, s->e->id);
    pm_db_end(s->cache->db, 0);
    if (!step)
        return start(s, src, make, out);
    err = find_at_destination(s, out);
    if (err == -ENOENT)
        return start(s, src, make, out);
    if (err)
        return err;
    /* An id that was lost with its answer is taken by what it must look like. */
    if (strcmp(step, BEGUN) != 0)
        ours = !strcmp(step, (*out)->id);
    else
        ours = (*out)->kind == src->kind &&
               (src->kind == PM_FOLDER || (*out)->settling || (*out)->size == src->size);
    return ours ? 0 : -EEXIST;
}

static int make_copy(struct pm_send *s, const struct pm_entry *src, const struct pm_entry *parent,
                     struct pm_entry **out)
{
    return pm_backend_copy(s->account->backend, s->ctx, src, parent, s->e->name, out);
}

int pm_rename_wait(struct pm_send *s, const char *name)
{
    snprintf(s->ctx->why, sizeof(s->ctx->why), "%.200s is still being processed by the service", name);
    return -EAGAIN;
}

int pm_rename_settle(struct pm_send *s, const struct pm_entry *src, struct pm_entry **copy)
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

int pm_rename_confirm(struct pm_send *s, const struct pm_entry *now, int (*more)(void *arg),
                      void *arg)
{
    struct pm_db *db = s->cache->db;
    char          rid[PM_NAME_MAX + 1];
    int           err = pm_merge_rid(now, rid);

    if (err)
        return err;
    pm_list_touch(s->cache, s->e->parent, rid);
    pm_list_touch(s->cache, s->e->oparent, s->e->rid);
    pm_db_begin(db);
    err = more ? more(arg) : 0;
    if (!err)
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

static int rename_file(struct pm_send *s, const struct pm_entry *src)
{
    PM_AUTO(free) struct pm_entry *seen = NULL;
    PM_AUTO(free) struct pm_entry *again = NULL;
    PM_AUTO(free) struct pm_entry *copy = NULL;
    int                            err = pm_send_check_version(s, src, &seen);

    if (!err && seen->settling)
        return pm_rename_wait(s, seen->name);
    if (!err)
        err = pm_rename_destination(s, seen, make_copy, &copy);
    if (!err)
        err = pm_rename_settle(s, seen, &copy);
    if (!err)
        err = pm_send_check_version(s, src, &again);
    if (!err)
        err = pm_backend_remove(s->account->backend, s->ctx, src);
    return err ? err : pm_rename_confirm(s, copy, NULL, NULL);
}

/* The source is gone. If the copy that an earlier try made is there, its removal was ours, and only
 * the answer was lost. */
static int finish_lost(struct pm_send *s)
{
    PM_AUTO(free) char            *step = NULL;
    PM_AUTO(free) struct pm_entry *copy = NULL;
    int                            err;

    pm_db_begin(s->cache->db);
    step = pm_journal_step(s->cache->db, s->e->id);
    pm_db_end(s->cache->db, 0);
    if (!step || !strcmp(step, BEGUN))
        return -ENOENT;
    err = find_at_destination(s, &copy);
    if (!err && strcmp(copy->id, step) != 0)
        err = -ENOENT;
    if (!err && s->e->kind == PM_FOLDER) /* what is in it comes with its list */
        pm_list_expire_around(s->cache, s->e->node);
    return err ? err : pm_rename_confirm(s, copy, NULL, NULL);
}

int pm_send_rename(struct pm_send *s)
{
    PM_AUTO(free) struct pm_entry *src = NULL;
    int                            err;

    if (s->e->replaces)
        return pm_change_replace(s->cache, s->e);
    err = pm_send_entry(s->cache, s->e->node, &s->row, &src);
    if (!err)
        err = s->e->kind == PM_FOLDER ? pm_rename_tree(s, src) : rename_file(s, src);
    if (err == -ENOENT)
        err = finish_lost(s);
    if (err == -EEXIST)
        return restore(s, "the new name is taken on the service");
    if (err == -ESTALE)
        return restore(s, "it was changed on the service since");
    if (err == -ENOENT)
        return restore(s, "it is gone from the service");
    return err;
}
