/* Removing files and folders. */
#include "cache/change.h"

#include "cache/hidden.h"
#include "cache/link.h"
#include "cache/list.h"
#include "cache/queue.h"
#include "cache/record.h"
#include "cache/removal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Is it a draft, or of one? In an account with sessions everything is, or was. */
static bool is_of_draft(struct pm_cache *c, const struct pm_row *row)
{
    if (pm_draft_account(c, row->account) || !pm_draft_may(c, row->account))
        return pm_draft_account(c, row->account);
    return (row->kind == PM_FOLDER ? pm_draft_spot(c, row->id) : pm_draft_spot_of(c, row->id)) ==
           PM_SPOT_LATE;
}

void pm_change_look(struct pm_cache *c, pm_node node, struct pm_removal *r)
{
    struct pm_db    *db = c->db;
    struct pm_jentry rename;

    memset(r, 0, sizeof(*r));
    if (pm_node_get(db, node, &r->row))
        return;
    r->draft = is_of_draft(c, &r->row);
    if (pm_journal_of(db, node,
                      r->row.kind != PM_FOLDER ? PM_OP_PUT : r->draft ? PM_OP_PUBLISH : PM_OP_MKDIR,
                      &r->put))
        r->put.id = 0;
    if (r->draft) {
        r->unsent = r->local = r->put.id != 0;
        return;
    }
    r->begun = r->put.id && (r->put.sending || pm_journal_begun(db, r->put.id));
    r->unsent = r->put.id && !*r->row.rid && !r->row.parent && !r->begun &&
                pm_journal_of(db, node, PM_OP_RENAME, &rename) == -ENOENT;
    r->local = r->unsent && !(r->row.kind == PM_FOLDER && pm_journal_needed(db, r->put.id));
}

/* What is removed need not be renamed before: the removal is of the old place. */
static void forget_rename(struct pm_db *db, struct pm_jentry *removal)
{
    struct pm_jentry last;
    pm_node          there;

    if (pm_journal_of(db, removal->node, (enum pm_op)0, &last) || last.op != PM_OP_RENAME ||
        last.state != PM_J_READY || last.replaces || pm_journal_needed(db, last.id) ||
        pm_journal_begun(db, last.id) || !pm_shown_find(db, last.oparent, last.oname, &there))
        return;
    if (pm_journal_drop(db, last.id))
        return;
    removal->parent = last.oparent;
    snprintf(removal->name, sizeof(removal->name), "%s", last.oname);
}

int pm_change_remove_replaced(struct pm_cache *c, struct pm_jentry *put)
{
    struct pm_jentry e = {.op = PM_OP_REMOVE, .node = put->replaces, .account = put->account,
                          .kind = put->kind, .parent = put->parent, .state = PM_J_READY,
                          .not_before = pm_wall_ms() + c->conf->delete_delay_ms};
    struct pm_row    row;

    if (!put->replaces || pm_node_get(c->db, put->replaces, &row))
        return 0;
    snprintf(e.name, sizeof(e.name), "%s", put->name);
    snprintf(e.rid, sizeof(e.rid), "%s", row.rid);
    snprintf(e.base, sizeof(e.base), "%s", row.version);
    put->replaces = 0;
    return pm_journal_add(c->db, &e);
}

int pm_change_remove_instead(struct pm_db *db, const struct pm_jentry *old)
{
    struct pm_jentry e = {.op = PM_OP_REMOVE, .node = old->replaces, .account = old->account,
                          .kind = old->kind, .parent = old->parent, .state = PM_J_READY};
    struct pm_row    row;

    if (!old->replaces || pm_node_get(db, old->replaces, &row))
        return pm_journal_drop(db, old->id);
    snprintf(e.name, sizeof(e.name), "%s", old->name);
    snprintf(e.rid, sizeof(e.rid), "%s", row.rid);
    snprintf(e.base, sizeof(e.base), "%s", row.version);
    return pm_journal_become(db, old->id, &e);
}

int pm_change_end_begun(struct pm_db *db, const struct pm_removal *r)
{
    struct pm_jentry put = r->put;

    if (!put.id || put.op != PM_OP_PUT || put.state == PM_J_ACTIVE)
        return 0;
    if (put.state != PM_J_READY || put.not_before == PM_J_HELD)
        put.tries++; /* what it is now, or will be, was never closed, or is refused */
    put.state = PM_J_READY;
    put.not_before = r->begun ? pm_wall_ms() + PM_BROKEN_OFF_MS : 0;
    return pm_journal_update(db, &put);
}

int pm_change_remove_draft(struct pm_cache *c, const struct pm_jentry *e)
{
    int err = 0;

    if (!e->id)
        return -EPERM; /* it is published */
    if (e->op == PM_OP_PUT)
        err = pm_draft_change(c, e);
    else if (pm_draft_spot(c, e->node) == PM_SPOT_COMMITTING)
        err = -EBUSY;
    if (!err)
        err = pm_journal_drop(c->db, e->id);
    if (!err && e->op == PM_OP_PUBLISH) /* its document */
        err = pm_journal_drop(c->db, pm_db_int(c->db, 0, "SELECT id FROM j.entry WHERE parent=?1", "i",
                                               (int64_t)e->node));
    return err || e->op == PM_OP_PUT ? err : pm_draft_end(c->db, e->node, false);
}

int pm_change_remove_shown(struct pm_cache *c, pm_node parent, const char *name, struct pm_removal *r)
{
    struct pm_db    *db = c->db;
    struct pm_jentry e = {.op = PM_OP_REMOVE, .node = r->row.id, .account = r->row.account,
                          .kind = r->row.kind, .parent = parent, .state = PM_J_READY,
                          .not_before = pm_wall_ms() + c->conf->delete_delay_ms};
    int              err = 0;

    if (r->draft)
        return pm_change_remove_draft(c, &r->put);
    if (r->local) {
        err = pm_change_remove_replaced(c, &r->put);
        return err ? err : pm_journal_drop(db, r->put.id);
    }
    snprintf(e.name, sizeof(e.name), "%s", name);
    forget_rename(db, &e);
    snprintf(e.rid, sizeof(e.rid), "%s", r->row.rid);
    snprintf(e.base, sizeof(e.base), "%s", r->put.id ? r->put.base : r->row.version);
    if (r->begun)
        err = pm_change_end_begun(db, r);
    else if (r->put.id && r->row.kind != PM_FOLDER)
        err = pm_change_remove_instead(db, &r->put);
    if (!err)
        err = pm_journal_add(db, &e);
    if (!err && *e.rid)
        err = pm_removal_guard(c, &e);
    return err;
}

static void after_removal(struct pm_cache *c, const struct pm_removal *r)
{
    if (r->row.kind != PM_FOLDER)
        pm_change_cut_off(c, r->row.id, true);
    if (r->row.kind != PM_FOLDER && r->put.id && !r->begun)
        pm_store_drop(c->store, r->row.id); /* what was written, and will not be sent */
    pm_queue_wake(c, r->row.id);
    pm_queue_kick(c);
}

/* The file is not in its folder any more; *hidden: only here, and for a while. */
static int unlink_locked(struct pm_cache *c, const struct pm_place *folder, const char *name,
                         struct pm_removal *r, bool *hidden)
{
    pm_node node;
    int     err = pm_shown_find(c->db, folder->row.id, name, &node);

    if (err)
        return err;
    pm_change_look(c, node, r);
    if (r->row.kind == PM_FOLDER)
        return -EISDIR;
    *hidden = folder->manner == PM_MANNER_THING && !r->put.id;
    return *hidden ? pm_hidden_add(c, node) : pm_change_remove_shown(c, folder->row.id, name, r);
}

int pm_change_unlink(struct pm_cache *c, pm_node parent, const char *name)
{
    struct pm_removal r = {.local = false};
    struct pm_place   folder;
    bool              hidden = false;
    int               err = pm_change_look_at_folder(c, parent, &folder);

    if (err)
        return err;
    if (folder.manner == PM_MANNER_FIXED)
        return pm_change_refuse(c, &folder);
    pm_db_begin(c->db);
    err = pm_db_end(c->db, unlink_locked(c, &folder, name, &r, &hidden));
    if (!err && !hidden)
        after_removal(c, &r);
    return pm_link_refuse(c, parent, name, err);
}

bool pm_change_is_empty(struct pm_cache *c, const struct pm_removal *r)
{
    return pm_shown_empty(c->db, r->row.id) ||
           (r->draft && r->put.id && pm_record_is_alone(c->db, r->row.id));
}

/* Can a folder of this name go at all? *node is it; *thing: with it a thing would go. */
static int check_rmdir(struct pm_cache *c, const struct pm_place *folder, const char *name, pm_node *node,
                       bool *thing)
{
    struct pm_row row;
    char          why[200];
    int           err = pm_shown_find(c->db, folder->row.id, name, node);

    if (!err)
        err = pm_node_get(c->db, *node, &row);
    if (err)
        return err;
    if (row.kind != PM_FOLDER)
        return -ENOTDIR;
    *thing = folder->manner != PM_MANNER_THING &&
             pm_change_manner(c, &row, why, sizeof(why)) == PM_MANNER_THING;
    return folder->manner == PM_MANNER_FIXED && !*thing ? -EBUSY : 0;
}

int pm_change_rmdir(struct pm_cache *c, pm_node parent, const char *name, struct pm_waiter *w)
{
    struct pm_removal r = {.local = false};
    struct pm_place   folder;
    bool              hidden = false, thing = false;
    pm_node           node;
    int               err;

    if (parent == PM_NODE_ROOT)
        return -EBUSY;
    err = pm_change_look_at_folder(c, parent, &folder);
    if (err)
        return err;
    pm_db_begin(c->db);
    err = pm_db_end(c->db, check_rmdir(c, &folder, name, &node, &thing));
    if (!err)
        err = pm_list_want(c, node, w);
    if (err)
        return err;
    pm_db_begin(c->db);
    pm_change_look(c, node, &r);
    r.draft = r.draft && !thing; /* it was one */
    if (r.draft && !r.put.id)
        err = -EPERM; /* published: the service never removes it */
    else if (!pm_change_is_empty(c, &r))
        err = -ENOTEMPTY;
    else if ((hidden = folder.manner == PM_MANNER_THING && !r.put.id))
        err = pm_hidden_add(c, node);
    else
        err = pm_change_remove_shown(c, parent, name, &r);
    err = pm_db_end(c->db, err);
    if (!err && !hidden)
        after_removal(c, &r);
    return err;
}
