/* Local changes: each is one transaction that journals it; then it is answered. */
#include "cache/draft.h"
#include "cache/draft_files.h"
#include "cache/file.h"
#include "cache/label.h"
#include "cache/list.h"
#include "cache/queue.h"
#include "cache/record.h"
#include "cache/removal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* --- may it be? */

static int check_spot(enum pm_spot spot)
{
    return spot == PM_SPOT_COMMITTING ? -EBUSY : spot == PM_SPOT_PUBLISHED ? -EROFS : 0;
}

/* May something be made or removed in this folder? Its list must be known. */
static int check_folder(struct pm_cache *c, pm_node folder, struct pm_row *row,
                        struct pm_account **account, enum pm_spot *spot)
{
    pm_node above;
    bool    shown;
    int     err;

    pm_db_begin(c->db);
    err = pm_node_get(c->db, folder, row);
    *spot = pm_draft_spot(c, folder);
    shown = folder == PM_NODE_ROOT || !pm_shown_place(c->db, folder, &above, NULL);
    err = pm_db_end(c->db, err);
    if (err)
        return err == -ENOENT ? -ESTALE : err;
    if (row->kind != PM_FOLDER)
        return -ENOTDIR;
    if (!shown)
        return -ENOENT; /* removed while somebody stands in it */
    *account = pm_account_by_id(c, row->account);
    if (!*account)
        return -EPERM; /* the mount point itself */
    if ((*account)->conf->read_only)
        return -EROFS;
    if (!pm_backend_can((*account)->backend, PM_CAP_CREATE))
        return -EPERM;
    err = check_spot(*spot);
    return err ? err : pm_list_want(c, folder, NULL);
}

/* May a file of this name be in a draft? What is temporary is asked about when it gets its name, a link
 * when it is not alone. */
static int check_draft_name(struct pm_cache *c, pm_node folder, enum pm_spot spot, const char *name,
                            char *why, size_t size)
{
    size_t len = strlen(name);

    *why = '\0';
    if (spot == PM_SPOT_ROOT)
        return -EPERM;
    if (spot != PM_SPOT_DRAFT || pm_draft_is_litter(spot, name) || pm_name_is_temporary(name) ||
        (len > 4 && !strcasecmp(name + len - 4, ".url")))
        return 0;
    return pm_draft_check_item(c, folder, 0, name, PM_SIZE_UNKNOWN, why, size);
}

/* Nothing reads or writes under this name any more. */
static void cut_off(struct pm_cache *c, pm_node node, bool cancel)
{
    struct pm_content *k = pm_content_peek(c->store, node);

    if (!k)
        return;
    pthread_mutex_lock(&k->lock);
    k->nowhere = true;
    k->marked = false; /* no close will tell the journal */
    if (cancel)
        k->cancel_upload = true;
    pthread_mutex_unlock(&k->lock);
    pm_content_put(k);
}

/* --- making */

/* The content's row, for an entry that will send it. */
static int content_row(struct pm_db *db, const struct pm_row *row, pm_node origin, int64_t *id)
{
    int err;

    *id = pm_db_int(db, 0, "SELECT id FROM content WHERE node=?1", "i", (int64_t)row->id);
    if (*id)
        return pm_db_run(db, "UPDATE content SET origin=?2 WHERE id=?1 AND origin IS NULL", "ii",
                         *id, (int64_t)origin);
    err = pm_db_run(db,
                    "INSERT INTO content(node, version, size, used, origin) VALUES(?1, ?2, ?3, ?4,"
                    " ?5)",
                    "isiii", (int64_t)row->id, row->version, (int64_t)row->rsize, pm_wall_ms(),
                    (int64_t)origin);
    *id = pm_db_last_id(db);
    return err;
}

/* The object under a name was renamed to a backup name, unsent: it stays with its old name, whose new
 * content `e` is, and the backup becomes a file of its own with the old content. */
static int leave_backup(struct pm_cache *c, const struct pm_jentry *rename, const struct pm_row *row,
                        struct pm_jentry *e)
{
    struct pm_db    *db = c->db;
    struct pm_jentry put = {.op = PM_OP_PUT, .node = row->id, .account = row->account,
                            .kind = row->kind, .parent = rename->parent, .size = row->size,
                            .replaces = rename->replaces, .state = PM_J_READY,
                            .not_before = pm_wall_ms() + PM_TEMPORARY_MS};
    int              err = content_row(db, row, e->node, &put.content);

    snprintf(put.name, sizeof(put.name), "%s", rename->name);
    if (!err)
        err = pm_journal_drop(db, rename->id);
    if (!err)
        err = pm_node_adopt(db, e->node, row);
    return err ? err : pm_journal_add(db, &put);
}

/* As leave_backup, of content that is not sent yet, and of which no try was begun: it goes to the
 * backup name, and `e` takes its place. */
static int leave_unsent(struct pm_cache *c, const struct pm_jentry *rename, const struct pm_row *row,
                        struct pm_jentry *put, struct pm_jentry *e)
{
    struct pm_db *db = c->db;
    int           err = pm_journal_drop(db, rename->id);

    snprintf(e->rid, sizeof(e->rid), "%s", put->rid);
    snprintf(e->base, sizeof(e->base), "%s", put->base);
    e->replaces = put->replaces;
    if (!err && *row->rid)
        err = pm_node_adopt(db, e->node, row);
    put->replaces = rename->replaces;
    put->rid[0] = 0;
    put->base[0] = 0;
    if (put->not_before != PM_J_HELD)
        put->not_before = pm_wall_ms() + PM_TEMPORARY_MS;
    if (!err)
        err = pm_journal_move(db, put, rename->parent, rename->name);
    return err ? err : pm_journal_update(db, put);
}

/* The file that was removed or renamed away from a place has content that is being sent: what becomes
 * of its object is known only after that. `last` is the removal or the rename. */
static int follow(struct pm_cache *c, struct pm_jentry *e, struct pm_jentry *last)
{
    struct pm_jentry rename;

    if (last->op == PM_OP_REMOVE) {
        if (!pm_journal_of(c->db, last->node, PM_OP_RENAME, &rename))
            return 0;
        e->replaces = last->node;
        return pm_journal_drop(c->db, last->id);
    }
    last->not_before = 0; /* pm_change_leave, as soon as it can be */
    return pm_journal_update(c->db, last);
}

static bool is_to_backup(const struct pm_jentry *e, pm_node parent, const char *name)
{
    return e->op == PM_OP_RENAME && e->kind != PM_FOLDER && e->oparent == parent &&
           !strcmp(e->oname, name) && pm_name_is_backup(e->name);
}

/* What was removed or renamed away from this place, and the service does not know it yet: a new file
 * there is the next content of that object. -EDEADLK: what is unsent cannot get its place in the
 * order yet; with `later` it does when its rename's turn comes. */
static int take_over(struct pm_cache *c, struct pm_jentry *e, pm_node parent, const char *name,
                     bool later)
{
    struct pm_db    *db = c->db;
    struct pm_jentry last;
    struct pm_jentry put;
    struct pm_row    row;
    bool             unsent;
    int              err;

    if (pm_journal_at(db, parent, name, &last) || last.kind == PM_FOLDER ||
        last.state != PM_J_READY || pm_journal_needed(db, last.id) ||
        pm_journal_begun(db, last.id) || pm_node_get(db, last.node, &row) ||
        (last.op != PM_OP_REMOVE && !is_to_backup(&last, parent, name)))
        return 0;
    unsent = !pm_journal_of(db, last.node, PM_OP_PUT, &put);
    if (unsent && (put.sending || pm_journal_begun(db, put.id) ||
                   (later && last.op == PM_OP_RENAME)))
        return follow(c, e, &last);
    if (unsent && *row.rid && (row.parent != parent || strcmp(row.name, name) != 0))
        return 0; /* its object comes here only with another rename */
    if (unsent)
        return last.op == PM_OP_RENAME ? leave_unsent(c, &last, &row, &put, e) : 0;
    if (!*row.rid || pm_journal_waits(db, last.id))
        return 0;
    snprintf(e->rid, sizeof(e->rid), "%s", last.rid);
    snprintf(e->base, sizeof(e->base), "%s", last.base);
    if (last.op == PM_OP_RENAME)
        return leave_backup(c, &last, &row, e);
    err = pm_node_adopt(db, e->node, &row);
    return err ? err : pm_journal_drop(db, last.id);
}

/* The new file that waits at the old name for this rename to a backup. */
static int find_successor(struct pm_db *db, const struct pm_jentry *rename, struct pm_jentry *out)
{
    if (!is_to_backup(rename, rename->oparent, rename->oname) ||
        pm_journal_begun(db, rename->id) || /* the backup may be there */
        pm_journal_at(db, rename->oparent, rename->oname, out) || out->op != PM_OP_PUT ||
        out->node == rename->node || out->sending || *out->rid || out->replaces)
        return -ENOENT;
    return 0;
}

/* Is the backup itself gone again, removed or replaced? Then nothing of it is to be kept, and what was
 * journalled of that ends. -ENOENT: something else became of it. */
static int end_backup(struct pm_db *db, const struct pm_jentry *rename, bool *gone)
{
    struct pm_jentry later;

    *gone = true;
    if (!pm_journal_of(db, rename->node, (enum pm_op)0, &later) && later.id != rename->id)
        return later.op == PM_OP_REMOVE && !rename->replaces ? pm_journal_drop(db, later.id) : -ENOENT;
    if (pm_journal_at(db, rename->parent, rename->name, &later) || later.id == rename->id) {
        *gone = false;
        return 0;
    }
    if (later.op != PM_OP_PUT || later.replaces != rename->node || rename->replaces)
        return -ENOENT;
    later.replaces = 0;
    return pm_journal_update(db, &later);
}

int pm_change_leave(struct pm_cache *c, const struct pm_jentry *rename)
{
    struct pm_db    *db = c->db;
    struct pm_jentry next;
    struct pm_row    row;
    bool             gone = false;
    int              err;

    pm_db_begin(db);
    err = find_successor(db, rename, &next);
    if (!err && (pm_node_get(db, rename->node, &row) || !*row.rid))
        err = -ENOENT;
    if (!err)
        err = end_backup(db, rename, &gone);
    if (!err && gone) {
        err = pm_journal_drop(db, rename->id);
        err = err ? err : pm_node_adopt(db, next.node, &row);
    } else if (!err) {
        err = leave_backup(c, rename, &row, &next);
    }
    if (!err) {
        snprintf(next.rid, sizeof(next.rid), "%s", rename->rid);
        snprintf(next.base, sizeof(next.base), "%s", rename->base);
        err = pm_journal_update(db, &next);
    }
    err = pm_db_end(db, err);
    if (!err && gone)
        pm_store_drop(c->store, rename->node);
    if (!err)
        pm_queue_kick(c);
    return err;
}

static int create_locked(struct pm_cache *c, struct pm_jentry *e, const struct pm_owner *owner,
                         bool later, struct pm_attr *out)
{
    struct pm_db *db = c->db;
    pm_node       there;
    int           err;

    if (!pm_shown_find(db, e->parent, e->name, &there))
        return -EEXIST;
    err = pm_node_make(db, e->account, PM_FILE, owner, &e->node);
    if (!err)
        err = pm_db_run(db,
                        "INSERT INTO content(node, version, size, used) VALUES(?1, '', 0, ?2)",
                        "ii", (int64_t)e->node, pm_wall_ms());
    if (err)
        return err;
    e->content = pm_db_last_id(db);
    err = take_over(c, e, e->parent, e->name, later);
    if (!err)
        err = pm_journal_add(db, e);
    if (!err)
        err = pm_draft_added(c, e);
    return err ? err : pm_tree_describe(c, e->node, out);
}

static int create(struct pm_cache *c, pm_node parent, const char *name, const struct pm_owner *owner,
                  bool open, struct pm_attr *out)
{
    struct pm_jentry   e = {.op = PM_OP_PUT, .kind = PM_FILE, .parent = parent};
    struct pm_jentry   again;
    struct pm_account *account;
    struct pm_row      folder;
    enum pm_spot       spot = PM_SPOT_OTHER;
    char               why[200] = "";
    int                err = pm_name_check(name);

    if (err)
        pm_publish_refused(c, parent, "a name", strerror(-err));
    if (!err)
        err = check_folder(c, parent, &folder, &account, &spot);
    if (!err && (err = check_draft_name(c, parent, spot, name, why, sizeof(why))) != 0)
        pm_publish_refused(c, parent, name, *why ? why : strerror(-err));
    if (err)
        return err;
    e.account = account->id;
    e.state = pm_draft_is_litter(spot, name) ? PM_J_LOCAL : open ? PM_J_OPEN : PM_J_READY;
    e.not_before = open ? PM_J_HELD : pm_file_due(c, name);
    snprintf(e.name, sizeof(e.name), "%s", name);
    again = e;
    pm_db_begin(c->db);
    err = pm_db_end(c->db, create_locked(c, &e, owner, false, out));
    if (err == -EDEADLK) {
        e = again;
        pm_db_begin(c->db);
        err = pm_db_end(c->db, create_locked(c, &e, owner, true, out));
    }
    if (!err)
        pm_queue_kick(c);
    return err;
}

int pm_change_create(struct pm_cache *c, pm_node parent, const char *name,
                     const struct pm_owner *owner, struct pm_attr *out)
{
    return create(c, parent, name, owner, false, out);
}

int pm_change_create_open(struct pm_cache *c, pm_node parent, const char *name,
                          const struct pm_owner *owner, struct pm_attr *out)
{
    return create(c, parent, name, owner, true, out);
}

/* mkdir over an rmdir that was not sent: the folder stays. */
static bool cancel_removal(struct pm_db *db, pm_node parent, const char *name, pm_node *node)
{
    struct pm_jentry removal;

    if (pm_journal_at(db, parent, name, &removal) || removal.op != PM_OP_REMOVE ||
        removal.kind != PM_FOLDER || removal.state != PM_J_READY ||
        pm_journal_needed(db, removal.id) || pm_journal_begun(db, removal.id))
        return false;
    *node = removal.node;
    return pm_journal_drop(db, removal.id) == 0;
}

static int mkdir_locked(struct pm_cache *c, struct pm_jentry *e, const struct pm_owner *owner,
                        enum pm_spot spot, struct pm_attr *out)
{
    struct pm_db *db = c->db;
    pm_node       there;
    int           err;

    if (!pm_shown_find(db, e->parent, e->name, &there))
        return -EEXIST;
    if (cancel_removal(db, e->parent, e->name, &e->node))
        return pm_tree_describe(c, e->node, out);
    err = pm_node_make(db, e->account, PM_FOLDER, owner, &e->node);
    if (!err)
        err = pm_db_run(db, "INSERT INTO list(node, fetched) VALUES(?1, ?2)", "ii",
                        (int64_t)e->node, pm_wall_ms());
    if (!err)
        err = spot == PM_SPOT_ROOT ? pm_draft_make(db, e) : pm_journal_add(db, e);
    return err ? err : pm_tree_describe(c, e->node, out);
}

int pm_change_mkdir(struct pm_cache *c, pm_node parent, const char *name,
                    const struct pm_owner *owner, struct pm_attr *out)
{
    struct pm_jentry   e = {.op = PM_OP_MKDIR, .kind = PM_FOLDER, .parent = parent,
                            .state = PM_J_READY};
    struct pm_account *account;
    struct pm_row      folder;
    enum pm_spot       spot = PM_SPOT_OTHER;
    int                err = pm_name_check(name);

    if (!err)
        err = check_folder(c, parent, &folder, &account, &spot);
    if (!err && spot == PM_SPOT_DRAFT) {
        pm_publish_refused(c, parent, name, "there are no folders in it");
        err = -EPERM;
    }
    if (err)
        return err;
    e.account = account->id;
    snprintf(e.name, sizeof(e.name), "%s", name);
    pm_db_begin(c->db);
    err = pm_db_end(c->db, mkdir_locked(c, &e, owner, spot, out));
    if (!err)
        pm_queue_kick(c);
    return err;
}

/* --- removing */

struct removal {
    struct pm_row    row;
    struct pm_jentry put; /* or MKDIR; id 0: none */
    bool             begun; /* a thread has it, or had: what the service has of it is to be found out */
    bool             unsent; /* no try of it was begun: its entry may be moved */
    bool             local; /* and nothing waits for it: its entry may be dropped */
    bool             draft; /* a draft, or of one: all there is of it is here, and in a session */
};

static void look_at_removed(struct pm_cache *c, pm_node node, struct removal *r)
{
    struct pm_db    *db = c->db;
    struct pm_jentry rename;

    memset(r, 0, sizeof(*r));
    if (pm_node_get(db, node, &r->row))
        return;
    r->draft = pm_draft_account(c, r->row.account);
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

/* The file that a local one was renamed over is not replaced by it any more: it is removed. */
static int remove_replaced(struct pm_cache *c, struct pm_jentry *put)
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

/* Nothing more is sent of this content, and whoever waits for its entry must not wait for a close, or
 * for somebody to mend it: it only remains to be found out what arrived (send_put.c). */
static int end_begun(struct pm_db *db, const struct removal *r)
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

/* A draft, or a file in one, goes at once. */
static int remove_draft(struct pm_cache *c, const struct pm_jentry *e)
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

/* Journals the removal of a shown node. */
static int remove_locked(struct pm_cache *c, pm_node parent, const char *name, struct removal *r)
{
    struct pm_db    *db = c->db;
    struct pm_jentry e = {.op = PM_OP_REMOVE, .node = r->row.id, .account = r->row.account,
                          .kind = r->row.kind, .parent = parent, .state = PM_J_READY,
                          .not_before = pm_wall_ms() + c->conf->delete_delay_ms};
    int              err = 0;

    if (r->draft)
        return remove_draft(c, &r->put);
    if (r->local) {
        err = remove_replaced(c, &r->put);
        return err ? err : pm_journal_drop(db, r->put.id);
    }
    snprintf(e.name, sizeof(e.name), "%s", name);
    forget_rename(db, &e);
    snprintf(e.rid, sizeof(e.rid), "%s", r->row.rid);
    snprintf(e.base, sizeof(e.base), "%s", r->put.id ? r->put.base : r->row.version);
    if (r->begun)
        err = end_begun(db, r);
    else if (r->put.id && r->row.kind != PM_FOLDER)
        err = pm_change_remove_instead(db, &r->put);
    if (!err)
        err = pm_journal_add(db, &e);
    if (!err && *e.rid)
        err = pm_removal_guard(db, c->conf, e.account);
    return err;
}

static void after_removal(struct pm_cache *c, const struct removal *r)
{
    if (r->row.kind != PM_FOLDER)
        cut_off(c, r->row.id, true);
    if (r->row.kind != PM_FOLDER && r->put.id && !r->begun)
        pm_store_drop(c->store, r->row.id); /* what was written, and will not be sent */
    pm_queue_wake(c, r->row.id);
    pm_queue_kick(c);
}

int pm_change_unlink(struct pm_cache *c, pm_node parent, const char *name)
{
    struct pm_account *account;
    struct pm_row      folder;
    struct removal     r = {.local = false};
    enum pm_spot       spot;
    pm_node            node;
    int                err = check_folder(c, parent, &folder, &account, &spot);

    if (err)
        return err;
    pm_db_begin(c->db);
    err = pm_shown_find(c->db, parent, name, &node);
    if (!err) {
        look_at_removed(c, node, &r);
        err = r.row.kind == PM_FOLDER ? -EISDIR : remove_locked(c, parent, name, &r);
    }
    err = pm_db_end(c->db, err);
    if (!err)
        after_removal(c, &r);
    return err;
}

/* In a transaction. */
static bool is_empty(struct pm_cache *c, const struct removal *r)
{
    return pm_shown_empty(c->db, r->row.id) ||
           (r->draft && r->put.id && pm_record_is_alone(c->db, r->row.id));
}

int pm_change_rmdir(struct pm_cache *c, pm_node parent, const char *name, struct pm_waiter *w)
{
    struct pm_account *account;
    struct pm_row      folder;
    struct removal     r = {.local = false};
    enum pm_spot       spot;
    pm_node            node;
    int                err;

    if (parent == PM_NODE_ROOT)
        return -EBUSY;
    err = check_folder(c, parent, &folder, &account, &spot);
    if (err)
        return err;
    pm_db_begin(c->db);
    err = pm_db_end(c->db, pm_shown_find(c->db, parent, name, &node));
    if (!err)
        err = pm_list_want(c, node, w);
    if (err)
        return err;
    pm_db_begin(c->db);
    look_at_removed(c, node, &r);
    if (r.draft && !r.put.id)
        err = -EPERM; /* published: the service never removes it */
    else
        err = !is_empty(c, &r) ? -ENOTEMPTY : remove_locked(c, parent, name, &r);
    err = pm_db_end(c->db, err);
    if (!err)
        after_removal(c, &r);
    return err;
}

/* --- renaming */

struct rename {
    pm_node        parent, new_parent;
    const char    *name, *new_name;
    struct removal from, to; /* to.row.id 0: the new name is free */
    bool           later; /* what is unsent is made at its old place first, and then renamed */
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
    struct pm_db    *db = c->db;
    struct removal  *to = &r->to;
    struct pm_jentry rename;
    int              err;

    if (to->draft)
        return remove_draft(c, &to->put);
    if (to->begun ||
        !pm_journal_of(db, to->row.id, PM_OP_RENAME, &rename)) {
        put->replaces = to->row.id;
        return end_begun(db, to);
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
    if (e.replaces && end_begun(db, &r->to))
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
    int              err = r->from.draft ? leave_draft(c, &put) : remove_replaced(c, &put);

    if (!err && r->to.row.id)
        err = replace_target(c, r, &put);
    else if (!err && put.op == PM_OP_PUT)
        err = take_over(c, &put, r->new_parent, r->new_name, false);
    if (!err)
        err = pm_journal_move(c->db, &put, r->new_parent, r->new_name);
    if (!err && r->from.draft && put.op == PM_OP_PUT)
        err = pm_draft_added(c, &put);
    if (err == -EDEADLK && put.source) { /* perhaps only what changes the copied object waits */
        put.source = 0;
        err = pm_journal_set_source(c->db, put.id, 0);
        if (!err && !r->to.row.id)
            err = take_over(c, &put, r->new_parent, r->new_name, false);
        if (!err)
            err = pm_journal_move(c->db, &put, r->new_parent, r->new_name);
    }
    if (err)
        return err;
    if (put.op == PM_OP_PUT &&
        pm_draft_is_litter(r->from.draft ? PM_SPOT_DRAFT : PM_SPOT_OTHER, r->new_name))
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
        err = content_row(db, row, removal.node, &put.content);
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
    look_at_removed(c, e->node, &r.from);
    look_at_removed(c, e->replaces, &r.to);
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

    if (!a || !pm_backend_can_copy(a->backend))
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
        look_at_removed(c, r->to.put.replaces, &r->to);
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
    look_at_removed(c, from, &r->from);
    look_at_removed(c, to, &r->to);
    if (from == to)
        return 0;
    err = check_kinds(r, flags);
    if (err)
        return err;
    if (r->from.row.kind == PM_FOLDER && pm_shown_below(db, r->new_parent, from))
        return -EINVAL;
    if (r->to.row.id && r->to.row.kind == PM_FOLDER) {
        if (!is_empty(c, &r->to))
            return -ENOTEMPTY;
        err = remove_locked(c, r->new_parent, r->new_name, &r->to);
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
        err = check_draft_name(c, new_parent, new_spot, new_name, why, sizeof(why));
    if (err)
        pm_publish_refused(c, new_parent, new_name, *why ? why : strerror(-err));
    return err;
}

int pm_change_rename(struct pm_cache *c, pm_node parent, const char *name, pm_node new_parent,
                     const char *new_name, unsigned flags, struct pm_waiter *w)
{
    struct rename      r = {.parent = parent, .new_parent = new_parent, .name = name,
                            .new_name = new_name};
    struct pm_account *account;
    struct pm_account *new_account;
    struct pm_row      folder;
    enum pm_spot       spot = PM_SPOT_OTHER;
    enum pm_spot       new_spot = PM_SPOT_OTHER;
    pm_node            to;
    int                err;

    if (flags & ~(unsigned)RENAME_NOREPLACE)
        return -EINVAL;
    if (parent == PM_NODE_ROOT || new_parent == PM_NODE_ROOT)
        return parent == new_parent ? -EBUSY : -EXDEV;
    err = pm_name_check(new_name);
    if (!err)
        err = check_folder(c, parent, &folder, &account, &spot);
    if (!err)
        err = check_folder(c, new_parent, &folder, &new_account, &new_spot);
    if (!err && account != new_account)
        err = -EXDEV;
    if (!err)
        err = check_draft_rename(c, spot, new_parent, new_name, new_spot);
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
        return err;
    if (r.to.row.id && r.to.row.id != r.from.row.id && r.to.row.kind != PM_FOLDER) {
        cut_off(c, r.to.row.id, true);
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

/* --- attributes, kept here */

static void set_open_mtime(struct pm_cache *c, pm_node node, int64_t mtime_ns)
{
    struct pm_content *k = pm_content_peek(c->store, node);

    if (!k)
        return;
    pthread_mutex_lock(&k->lock);
    k->mtime_ns = mtime_ns;
    pthread_mutex_unlock(&k->lock);
    pm_content_put(k);
}

int pm_change_attr(struct pm_cache *c, pm_node node, unsigned set, const struct pm_attr *to)
{
    int err;

    if (set & PM_SET_MTIME)
        set_open_mtime(c, node, to->mtime_ns);
    pm_db_begin(c->db);
    if (set & PM_SET_MODE)
        pm_db_run(c->db, "UPDATE node SET mode=?2 WHERE id=?1", "ii", (int64_t)node,
                  (int64_t)to->mode);
    if (set & PM_SET_UID)
        pm_db_run(c->db, "UPDATE node SET uid=?2 WHERE id=?1", "ii", (int64_t)node,
                  (int64_t)to->uid);
    if (set & PM_SET_GID)
        pm_db_run(c->db, "UPDATE node SET gid=?2 WHERE id=?1", "ii", (int64_t)node,
                  (int64_t)to->gid);
    if (set & PM_SET_MTIME)
        pm_db_run(c->db, "UPDATE node SET lmtime=?2 WHERE id=?1", "ii", (int64_t)node,
                  to->mtime_ns);
    if (set & PM_SET_ATIME)
        pm_db_run(c->db, "UPDATE node SET latime=?2 WHERE id=?1", "ii", (int64_t)node,
                  to->atime_ns);
    err = pm_db_run(c->db, "UPDATE node SET ctime=?2 WHERE id=?1", "ii", (int64_t)node,
                    pm_wall_ms() * 1000000);
    return pm_db_end(c->db, err);
}
