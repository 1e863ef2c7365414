/* Renaming files and folders, also over others. */
#include "cache/change.h"

#include "cache/file.h"
#include "cache/label.h"
#include "cache/link.h"
#include "cache/list.h"
#include "cache/queue.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct rename {
    pm_node           parent, new_parent;
    const char       *name, *new_name;
    struct pm_removal from, to; /* to.row.id 0: the new name is free */
    bool              later; /* what is unsent is made at its old place first, and then renamed */
};

static int check_kinds(const struct rename *r, unsigned flags)
{
    bool folder = r->from.row.kind == PM_FOLDER;

    if (!r->to.row.id)
        return 0;
    if (flags & RENAME_NOREPLACE)
        return -EEXIST;
    if (folder && r->to.row.kind != PM_FOLDER)
        return -ENOTDIR;
    return !folder && r->to.row.kind == PM_FOLDER ? -EISDIR : 0;
}

/* The local file takes the place of what is there: of its object, if it has one. */
static int replace_target(struct pm_cache *c, struct rename *r, struct pm_jentry *put)
{
    struct pm_db      *db = c->db;
    struct pm_removal *to = &r->to;
    struct pm_jentry   rename;
    int                err;

    if (to->draft)
        return pm_change_remove_draft(c, &to->put);
    if (to->begun ||
        !pm_journal_of(db, to->row.id, PM_OP_RENAME, &rename)) {
        put->replaces = to->row.id;
        return pm_change_end_begun(db, to);
    }
    if (to->put.id && (err = pm_journal_drop(db, to->put.id)) != 0)
        return err;
    if (to->put.id && !put->replaces)
        put->replaces = to->put.replaces;
    if (!*to->row.rid)
        return 0;
    snprintf(put->rid, sizeof(put->rid), "%s", to->row.rid);
    snprintf(put->base, sizeof(put->base), "%s", to->put.id ? to->put.base : to->row.version);
    return pm_node_adopt(db, put->node, &to->row);
}

/* What the service has is renamed there. A rename that was not sent yet is replaced by this one. */
static int move_remote(struct pm_cache *c, struct rename *r)
{
    struct pm_db    *db = c->db;
    struct pm_row   *row = &r->from.row;
    struct pm_jentry e = {.op = PM_OP_RENAME, .node = row->id, .account = row->account,
                          .kind = row->kind, .parent = r->new_parent, .oparent = r->parent,
                          .state = PM_J_READY, .replaces = r->to.local ? 0 : r->to.row.id};
    struct pm_jentry before;

    snprintf(e.name, sizeof(e.name), "%s", r->new_name);
    snprintf(e.oname, sizeof(e.oname), "%s", r->name);
    snprintf(e.rid, sizeof(e.rid), "%s", row->rid);
    snprintf(e.base, sizeof(e.base), "%s", row->version);
    if (row->kind != PM_FOLDER && pm_name_is_backup(r->new_name))
        e.not_before = pm_wall_ms() + PM_TEMPORARY_MS;
    if (!pm_journal_of(db, row->id, (enum pm_op)0, &before) && before.op == PM_OP_RENAME &&
        before.state == PM_J_READY && !before.replaces && !pm_journal_needed(db, before.id) &&
        !pm_journal_begun(db, before.id)) {
        pm_journal_drop(db, before.id);
        e.oparent = before.oparent;
        snprintf(e.oname, sizeof(e.oname), "%s", before.oname);
        if (e.oparent == e.parent && !strcmp(e.oname, e.name))
            return 0;
    }
    if (e.replaces && pm_change_end_begun(db, &r->to))
        return -EIO;
    return pm_journal_add(db, &e);
}

/* What a session may have of a file is not had under its new name; a draft is only named here. */
static int leave_draft(struct pm_cache *c, struct pm_jentry *e)
{
    int err;

    if (e->op == PM_OP_PUBLISH)
        err = pm_draft_spot(c, e->node) == PM_SPOT_COMMITTING ? -EBUSY : pm_draft_touch(c, e->node);
    else
        err = pm_draft_change(c, e);
    if (!err)
        err = pm_journal_get(c->db, e->id, e);
    if (e->state == PM_J_ACTIVE)
        e->state = PM_J_READY;
    if (e->state == PM_J_FAILED) { /* perhaps for its name */
        e->state = PM_J_READY;
        e->tries = 0;
        pm_journal_error(c->db, e->id, NULL);
    }
    e->sending = false; /* whoever sends it finds its entry gone */
    return err;
}

/* What is on no service yet gets its new place in its own entry. -EDEADLK: that would wait for what
 * waits for it. */
static int move_local(struct pm_cache *c, struct rename *r)
{
    struct pm_jentry put = r->from.put;
    bool             was_local = put.state == PM_J_LOCAL;
    int              err = r->from.draft ? leave_draft(c, &put) : pm_change_remove_replaced(c, &put);

    if (!err && r->to.row.id)
        err = replace_target(c, r, &put);
    else if (!err && put.op == PM_OP_PUT)
        err = pm_change_take_over(c, &put, r->new_parent, r->new_name, false);
    if (!err)
        err = pm_journal_move(c->db, &put, r->new_parent, r->new_name);
    if (!err && put.op == PM_OP_PUT)
        err = pm_draft_added(c, &put);
    if (err == -EDEADLK && put.source) { /* perhaps only what changes the copied object waits */
        put.source = 0;
        err = pm_journal_set_source(c->db, put.id, 0);
        if (!err && !r->to.row.id)
            err = pm_change_take_over(c, &put, r->new_parent, r->new_name, false);
        if (!err)
            err = pm_journal_move(c->db, &put, r->new_parent, r->new_name);
    }
    if (err)
        return err;
    if (put.op == PM_OP_PUT &&
        (pm_draft_is_litter(pm_draft_spot(c, r->new_parent), r->new_name) ||
         (was_local && !put.size && pm_file_is_drop(c, &put))))
        put.state = PM_J_LOCAL;
    else if (was_local)
        put.state = PM_J_READY;
    if (put.op == PM_OP_PUT && put.state == PM_J_READY && put.not_before != PM_J_HELD)
        put.not_before = pm_name_is_backup(r->new_name) ? pm_wall_ms() + PM_TEMPORARY_MS
                                                        : pm_file_due(c, r->new_name);
    return pm_journal_update(c->db, &put);
}

/* A node of its own stands for the file's object from now on, with an entry that removes that. */
static int part_object(struct pm_db *db, struct rename *r, struct pm_jentry *removal)
{
    const struct pm_row *row = &r->from.row;
    int                  err;

    *removal = (struct pm_jentry){.op = PM_OP_REMOVE, .account = row->account, .kind = row->kind,
                                  .parent = r->parent, .state = PM_J_READY};
    snprintf(removal->name, sizeof(removal->name), "%s", r->name);
    snprintf(removal->rid, sizeof(removal->rid), "%s", row->rid);
    snprintf(removal->base, sizeof(removal->base), "%s", row->version);
    err = pm_node_make(db, row->account, row->kind, NULL, &removal->node);
    return err ? err : pm_node_adopt(db, removal->node, row);
}

/* A file over another's object: that object is updated with this content, and then this file's own
 * object removed. The two take the place of the RENAME in the journal's order. */
static int replace_remote(struct pm_cache *c, struct rename *r, int64_t rename)
{
    struct pm_db    *db = c->db;
    struct pm_row   *row = &r->from.row;
    struct pm_jentry put = {.op = PM_OP_PUT, .node = row->id, .account = row->account,
                            .kind = row->kind, .parent = r->new_parent,
                            .size = r->from.put.id ? row->size : row->rsize,
                            .state = PM_J_READY, .not_before = pm_file_due(c, r->new_name)};
    struct pm_jentry removal;
    int              err = part_object(db, r, &removal);

    if (!err)
        err = pm_change_content_row(db, row, removal.node, &put.content);
    if (!err)
        err = replace_target(c, r, &put);
    if (err)
        return err;
    if (r->from.put.id) { /* it may be open for writing */
        put.state = r->from.put.state;
        put.not_before = r->from.put.not_before;
        put.gen = r->from.put.gen;
        pm_journal_drop(db, r->from.put.id);
    }
    snprintf(put.name, sizeof(put.name), "%s", r->new_name);
    /* What comes after starts from the object that it is now. */
    pm_db_run(db, "UPDATE j.entry SET rid=?2, base=?3 WHERE node=?1", "iss", (int64_t)row->id,
              *put.rid ? put.rid : NULL, put.base);
    return pm_journal_split(db, rename, &put, &removal);
}

/* As replace_remote, of a file that was removed since: both objects go. */
static int remove_both(struct pm_cache *c, struct rename *r, int64_t rename)
{
    struct pm_jentry both = {.op = PM_OP_REMOVE, .node = r->to.row.id, .account = r->to.row.account,
                             .kind = r->to.row.kind, .parent = r->new_parent, .state = PM_J_READY};
    struct pm_jentry own;
    int              err = part_object(c->db, r, &own);

    snprintf(both.name, sizeof(both.name), "%s", r->new_name);
    snprintf(both.rid, sizeof(both.rid), "%s", r->to.row.rid);
    snprintf(both.base, sizeof(both.base), "%s", r->to.row.version);
    return err ? err : pm_journal_split(c->db, rename, &both, &own);
}

int pm_change_replace(struct pm_cache *c, struct pm_jentry *e)
{
    struct rename    r = {.parent = e->oparent, .new_parent = e->parent, .name = e->oname,
                          .new_name = e->name};
    struct pm_jentry later;
    bool             plain;
    int              err;

    pm_db_begin(c->db);
    pm_change_look(c, e->node, &r.from);
    pm_change_look(c, e->replaces, &r.to);
    if ((plain = !*r.from.row.rid || !*r.to.row.rid)) { /* what was to be replaced is gone */
        e->replaces = 0;
        err = pm_journal_update(c->db, e);
    } else if (!pm_journal_of(c->db, e->node, PM_OP_REMOVE, &later)) {
        err = remove_both(c, &r, e->id);
    } else {
        err = replace_remote(c, &r, e->id);
    }
    err = pm_db_end(c->db, err);
    pm_queue_kick(c);
    return !err && plain ? -ECANCELED : err;
}

/* Is anything at or below the renamed node known to be more than a copy of it would be? */
struct shared_below {
    struct pm_db *db;
    uint32_t      account;
    pm_node       top;
};

static int is_shared_below(void *arg, const char *id)
{
    struct shared_below *s = arg;
    pm_node              node = pm_node_by_rid(s->db, s->account, id);

    return node && pm_shown_below(s->db, node, s->top) ? -EPERM : 0;
}

static int rename_remote(struct pm_cache *c, struct rename *r)
{
    struct shared_below below = {c->db, r->from.row.account, r->from.row.id};
    struct pm_account  *a = pm_account_by_id(c, r->from.row.account);
    int                 err;

    if (!a || !(pm_backend_can_copy(a->backend) || pm_backend_can_name(a->backend)))
        return -EOPNOTSUPP;
    if (r->from.row.kind == PM_FOLDER || !pm_name_is_backup(r->new_name)) {
        err = pm_backend_shared(a->backend, is_shared_below, &below);
        if (err)
            return err;
    }
    if (r->to.local && r->to.put.replaces) { /* it takes over what that one was to replace */
        err = pm_journal_drop(c->db, r->to.put.id);
        if (err)
            return err;
        pm_change_look(c, r->to.put.replaces, &r->to);
    }
    if (r->to.row.id && r->to.local) {
        err = pm_journal_drop(c->db, r->to.put.id);
        if (err)
            return err;
    }
    return move_remote(c, r);
}

static int rename_locked(struct pm_cache *c, struct rename *r, unsigned flags)
{
    struct pm_db *db = c->db;
    pm_node       from;
    pm_node       to = 0;
    int           err = pm_shown_find(db, r->parent, r->name, &from);

    if (err)
        return err;
    pm_shown_find(db, r->new_parent, r->new_name, &to);
    pm_change_look(c, from, &r->from);
    pm_change_look(c, to, &r->to);
    if (from == to)
        return 0;
    err = check_kinds(r, flags);
    if (err)
        return err;
    if (r->from.row.kind == PM_FOLDER && pm_shown_below(db, r->new_parent, from))
        return -EINVAL;
    if (r->to.row.id && r->to.row.kind == PM_FOLDER) {
        if (!pm_change_is_empty(c, &r->to))
            return -ENOTEMPTY;
        err = pm_change_remove_shown(c, r->new_parent, r->new_name, &r->to);
        r->to.row.id = 0;
    }
    if (!err && r->from.draft && !r->from.put.id)
        err = -EPERM; /* published */
    if (err)
        return err;
    return r->from.unsent && !r->later ? move_local(c, r) : rename_remote(c, r);
}

/* Why the rename was refused, for who asks. */
static void note_shared(struct pm_cache *c, pm_node parent, const char *name)
{
    pm_node node;

    pm_db_begin(c->db);
    if (!pm_shown_find(c->db, parent, name, &node))
        pm_db_run(c->db,
                  "UPDATE node SET error='it is shared, or something in it is: under a new name the"
                  " service would end its shares' WHERE id=?1",
                  "i", (int64_t)node);
    pm_db_end(c->db, 0);
}

/* Drafts stay in the root, files in drafts. */
static int check_draft_rename(struct pm_cache *c, enum pm_spot spot, pm_node new_parent,
                              const char *new_name, enum pm_spot new_spot)
{
    char why[200] = "";
    int  err = 0;

    if (spot == PM_SPOT_OTHER)
        return 0;
    if (spot == PM_SPOT_ROOT || new_spot == PM_SPOT_ROOT)
        err = spot == new_spot ? 0 : -EPERM;
    else
        err = pm_change_check_name(c, new_parent, new_spot, new_name, why, sizeof(why));
    if (err)
        pm_publish_refused(c, new_parent, new_name, *why ? why : strerror(-err));
    return err;
}

static int check_places(struct pm_cache *c, pm_node parent, pm_node new_parent, struct pm_place *from,
                        struct pm_place *to)
{
    int err = pm_change_check_folder(c, parent, from);

    if (!err || err == -EPERM) {
        int there = pm_change_check_folder(c, new_parent, to);

        err = err ? err : there;
    }
    if ((!err || err == -EPERM) && parent != new_parent &&
        (from->manner == PM_MANNER_DROPS || to->manner == PM_MANNER_DROPS))
        return -EXDEV; /* what is dropped there becomes another thing */
    return !err && from->account != to->account ? -EXDEV : err;
}

int pm_change_rename(struct pm_cache *c, pm_node parent, const char *name, pm_node new_parent,
                     const char *new_name, unsigned flags, struct pm_waiter *w)
{
    struct rename      r = {.parent = parent, .new_parent = new_parent, .name = name,
                            .new_name = new_name};
    struct pm_place from = {.spot = PM_SPOT_OTHER};
    struct pm_place there = {.spot = PM_SPOT_OTHER};
    pm_node         to;
    int             err;

    if (flags & ~(unsigned)RENAME_NOREPLACE)
        return -EINVAL;
    if (parent == PM_NODE_ROOT || new_parent == PM_NODE_ROOT)
        return parent == new_parent ? -EBUSY : -EXDEV;
    err = pm_name_check(new_name);
    if (!err)
        err = check_places(c, parent, new_parent, &from, &there);
    if (!err)
        err = check_draft_rename(c, from.spot, new_parent, new_name, there.spot);
    if (err)
        return err;
    pm_db_begin(c->db);
    err = pm_db_end(c->db, pm_shown_find(c->db, new_parent, new_name, &to));
    if (!err)
        err = pm_list_want(c, to, w);
    if (err && err != -ENOENT && err != -ENOTDIR)
        return err;
    pm_db_begin(c->db);
    err = pm_db_end(c->db, rename_locked(c, &r, flags));
    if (err == -EDEADLK) {
        r.later = true;
        pm_db_begin(c->db);
        err = pm_db_end(c->db, rename_locked(c, &r, flags));
    }
    if (err == -EPERM)
        note_shared(c, parent, name);
    if (err)
        return pm_link_refuse(c, parent, name, err);
    if (r.to.row.id && r.to.row.id != r.from.row.id && r.to.row.kind != PM_FOLDER) {
        pm_change_cut_off(c, r.to.row.id, true);
        if (r.to.local)
            pm_store_drop(c->store, r.to.row.id);
    }
    pm_label_moved(c);
    pm_queue_wake(c, r.from.row.id);
    if (r.to.row.id)
        pm_queue_wake(c, r.to.row.id);
    pm_queue_kick(c);
    return 0;
}
