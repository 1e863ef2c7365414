/* A name that was just removed or renamed away is used again: what is made there is the next content of the
 * object that had it. */
#include "cache/change.h"

#include "cache/file.h"
#include "cache/queue.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int pm_change_content_row(struct pm_db *db, const struct pm_row *row, pm_node origin, int64_t *id)
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
    int              err = pm_change_content_row(db, row, e->node, &put.content);

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

int pm_change_take_over(struct pm_cache *c, struct pm_jentry *e, pm_node parent, const char *name,
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
