/* A rename where the service has none: copy there, wait until the copy is whole, then remove the
 * source. Nothing is removed before its copy is confirmed; each step is found done after a crash. */
#include "cache/change.h"
#include "cache/copy.h"
#include "cache/label.h"
#include "cache/list.h"
#include "cache/merge.h"
#include "cache/queue.h"
#include "cache/thing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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
        err = pm_store_adopt_rows(db, s->e->node, now->version);
    if (!err)
        err = pm_journal_finish(db, s->e->id);
    pm_rename_forget_versions(db, s->e->id);
    err = pm_db_end(db, err);
    if (!err)
        pm_store_adopt(s->cache->store, s->e->node, now->version);
    return err;
}

/* The object's node gets another: what was saved since the rename is a file of its own. */
static int part_saved(struct pm_db *db, const struct pm_jentry *e, struct pm_jentry *put)
{
    struct pm_row row;
    pm_node       object;
    int           err = pm_node_get(db, e->node, &row);

    if (!err)
        err = pm_node_make(db, e->account, e->kind, NULL, &object);
    if (!err)
        err = pm_node_adopt(db, object, &row);
    put->rid[0] = put->base[0] = '\0';
    return err ? err : pm_journal_update(db, put);
}

/* What was saved under the new name is the object's next content, which stays at the old one; unless
 * that was given to another file. */
static int take_back_saved(struct pm_db *db, const struct pm_jentry *e)
{
    struct pm_jentry put;
    pm_node          there;
    int              err = -EDEADLK;

    if (e->kind == PM_FOLDER || pm_journal_of(db, e->node, (enum pm_op)0, &put) ||
        put.op != PM_OP_PUT || strcmp(put.rid, e->rid) != 0 || put.parent != e->parent ||
        strcmp(put.name, e->name) != 0)
        return 0;
    if (pm_shown_find(db, e->oparent, e->oname, &there) || there == e->node)
        err = pm_journal_move(db, &put, e->oparent, e->oname);
    return err == -EDEADLK ? part_saved(db, e, &put) : err;
}

/* The old name stands; what the user sees follows from the list. */
static int restore(struct pm_send *s, const char *report)
{
    struct pm_cache *c = s->cache;
    int              err;

    pm_db_begin(c->db);
    pm_db_run(c->db, "UPDATE node SET error=?2 WHERE id=?1", "is", (int64_t)s->e->node, report);
    pm_rename_forget_versions(c->db, s->e->id);
    err = pm_journal_drop(c->db, s->e->id);
    if (!err)
        err = take_back_saved(c->db, s->e);
    err = pm_db_end(c->db, err);
    if (err)
        return err;
    pm_log(PM_WARN, "rename of %s to %s dropped: %s", s->e->oname, s->e->name, report);
    pm_label_moved(c);
    if (s->e->replaces)
        pm_store_revive(c->store, s->e->replaces);
    pm_tell_entry(c, s->e->parent, s->e->name);
    pm_tell_entry(c, s->e->oparent, s->e->oname);
    pm_tell_node(c, s->e->parent, true);
    pm_tell_node(c, s->e->oparent, true);
    return 0;
}

/* The file never came to the service, for it was removed or replaced in its turn before: what it was
 * renamed over is removed, or replaced, instead. -ENOENT: nothing became of it. */
static int pass_on(struct pm_send *s)
{
    struct pm_db    *db = s->cache->db;
    struct pm_jentry later;
    int              err = -ENOENT;

    pm_db_begin(db);
    if (pm_db_int(db, 0, "SELECT 1 FROM j.entry WHERE replaces=?1", "i", (int64_t)s->e->node)) {
        pm_db_run(db, "UPDATE j.entry SET replaces=?2 WHERE replaces=?1", "ii",
                  (int64_t)s->e->node, (int64_t)s->e->replaces);
        err = pm_journal_drop(db, s->e->id);
    } else if (!pm_journal_of(db, s->e->node, PM_OP_REMOVE, &later)) {
        err = pm_change_remove_instead(db, s->e);
    }
    err = pm_db_end(db, err);
    pm_queue_kick(s->cache);
    return err;
}

/* May the copy take the place of `src`? Asked again if that was a while ago. */
static int check_move(struct pm_send *s, const struct pm_entry *src, int64_t *asked_ms)
{
    int64_t now = pm_now_ms();

    if (*asked_ms && now - *asked_ms < PM_ASK_AGAIN_MS)
        return 0;
    *asked_ms = now;
    return pm_backend_check_move(s->account->backend, s->ctx, src, now);
}

static int rename_file(struct pm_send *s, const struct pm_entry *src, int64_t *asked_ms)
{
    PM_AUTO(free) struct pm_entry *seen = NULL;
    PM_AUTO(free) struct pm_entry *again = NULL;
    PM_AUTO(free) struct pm_entry *copy = NULL;
    int                            err = pm_send_check_version(s, src, s->e->base, &seen);

    if (!err && seen->settling)
        return pm_copy_wait(s, seen->name);
    if (!err)
        err = pm_copy_destination(s, seen, s->e->oparent, pm_copy_make, &copy);
    if (!err)
        err = pm_copy_settle(s, seen, &copy, pm_copy_is_sure(s, copy));
    if (!err)
        err = pm_send_check_version(s, src, s->e->base, &again);
    if (!err)
        err = check_move(s, src, asked_ms);
    if (!err)
        err = pm_copy_keep(s, copy);
    if (err)
        return err;
    err = pm_backend_remove(s->account->backend, s->ctx, src);
    return err && err != -ENOENT ? err : pm_rename_confirm(s, copy, NULL, NULL);
}

static int stop_at_first(void *arg, const struct pm_entry *e)
{
    (void)arg;
    (void)e;
    return -ECANCELED;
}

/* Something is gone: is it what was to be renamed? 0: yes; -EAGAIN: something in it, or where it goes
 * to, which is made again. */
static int is_gone(struct pm_send *s, const struct pm_entry *src)
{
    PM_AUTO(free) struct pm_entry *now = NULL;
    struct pm_backend             *b = s->account->backend;
    int                            err;

    if (!src)
        return 0;
    err = s->e->kind == PM_FOLDER ? pm_backend_list(b, s->ctx, src, stop_at_first, NULL)
                                  : pm_backend_stat(b, s->ctx, src, &now);
    if (err == -ENOENT)
        return 0;
    if (err && err != -ECANCELED)
        return err;
    pm_send_remake(s, s->e->parent);
    snprintf(s->ctx->why, sizeof(s->ctx->why), "something of it went meanwhile");
    return -EAGAIN;
}

/* Something is gone. If it is the source, and the whole copy that an earlier try made is there, its removal was ours, and
 * only the answer was lost. */
static int finish_lost(struct pm_send *s, const struct pm_entry *src)
{
    PM_AUTO(free) struct pm_entry *copy = NULL;
    struct pm_entry                like = {.kind = s->e->kind};
    int                            err = is_gone(s, src);

    if (!err)
        err = pm_copy_made(s, &copy);
    if (!err)
        err = pm_copy_begun(s, &like.size);
    if (err)
        return err;
    if (s->e->kind != PM_FOLDER)
        err = pm_copy_settle(s, &like, &copy, pm_copy_is_sure(s, copy));
    if (err && copy && !copy->settling && copy->size != like.size && err != -ECANCELED)
        return -ENOENT; /* it will never be whole */
    if (!err && s->e->kind == PM_FOLDER)
        return pm_rename_tree_lost(s, copy);
    return err ? err : pm_rename_confirm(s, copy, NULL, NULL);
}

/* --- where a name is only ours */

/* What another file, which the service has, takes the name of is removed. */
static int remove_replaced(struct pm_send *s, const struct pm_entry *src)
{
    PM_AUTO(free) struct pm_entry *seen = NULL;
    PM_AUTO(free) struct pm_entry *old = NULL;
    PM_AUTO(free) struct pm_entry *now = NULL;
    struct pm_row                  row;
    int                            err = pm_send_check_version(s, src, s->e->base, &seen);

    if (!err)
        err = pm_send_entry(s->cache, s->e->replaces, &row, &old);
    if (err)
        return err == -ENOENT && seen ? 0 : err;
    err = pm_send_check_version(s, old, row.version, &now);
    if (!err)
        err = pm_send_save_content(s, s->e->replaces);
    if (!err)
        err = pm_thing_save(s, &row);
    if (!err)
        err = pm_backend_remove(s->account->backend, s->ctx, old);
    return err == -ENOENT ? 0 : err;
}

static int detach_replaced(void *arg)
{
    struct pm_send *s = arg;

    return s->e->replaces ? pm_node_detach(s->cache->db, s->e->replaces) : 0;
}

static int name_here(struct pm_send *s, const struct pm_entry *src)
{
    PM_AUTO(free) struct pm_entry *now = NULL;
    int                            err = s->e->replaces ? remove_replaced(s, src) : 0;

    if (!err)
        err = pm_backend_rename(s->account->backend, src, s->e->name, &now);
    if (!err)
        err = pm_rename_confirm(s, now, detach_replaced, s);
    if (!err && s->e->replaces)
        pm_store_drop(s->cache->store, s->e->replaces);
    return err == -ENOENT || err == -ESTALE ? restore(s, "it is gone from the service") : err;
}

int pm_send_rename(struct pm_send *s)
{
    PM_AUTO(free) struct pm_entry *src = NULL;
    int64_t                        asked_ms = 0;
    int                            err;

    if (!pm_change_leave(s->cache, s->e))
        return -ECANCELED; /* there is nothing to rename any more */
    err = pm_send_entry(s->cache, s->e->node, &s->row, &src);
    if (!err && pm_backend_can_name(s->account->backend))
        return name_here(s, src);
    if (!err && s->e->kind != PM_FOLDER)
        err = check_move(s, src, &asked_ms);
    if (!err && s->e->replaces)
        return pm_change_replace(s->cache, s->e);
    if (!err)
        err = s->e->kind == PM_FOLDER ? pm_rename_tree(s, src) : rename_file(s, src, &asked_ms);
    if (err == -ENOENT)
        err = finish_lost(s, src);
    if (err == -ENOENT && s->e->replaces)
        err = pass_on(s);
    if (err == -EEXIST)
        err = pm_copy_judge(s);
    if (err == -EEXIST)
        return restore(s, "the new name is taken on the service");
    if (err == -ESTALE)
        return restore(s, s->e->kind == PM_FOLDER && *s->ctx->why ? s->ctx->why
                                                                  : "it was changed on the service since");
    if (err == -ENOENT)
        return restore(s, "it is gone from the service");
    if (pm_send_refused(err))
        return restore(s, *s->ctx->why ? s->ctx->why : strerror(-err));
    return err;
}
