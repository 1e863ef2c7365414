/* Removals that are held: too many at once, or taken back before they were sent. */
#include "cache/removal.h"

#include "cache/hidden.h"
#include "cache/queue.h"
#include "cache/thing.h"

#include <errno.h>

#define WINDOW_MS (10 * 60 * 1000)
#define HALF_FROM 50 /* of so many known objects, half is too many */

/* How many removals were asked for within the window, this one included. */
static int64_t count_recent(struct pm_db *db, uint32_t account)
{
    int64_t now = pm_wall_ms();

    pm_db_run(db, "DELETE FROM j.removed WHERE at<?1", "i", now - WINDOW_MS);
    pm_db_run(db, "INSERT INTO j.removed(at, account) VALUES(?1, ?2)", "ii", now, (int64_t)account);
    return pm_db_int(db, 0, "SELECT count(*) FROM j.removed WHERE account=?1", "i",
                     (int64_t)account);
}

static int64_t count_objects(struct pm_cache *c, const struct pm_jentry *e)
{
    int64_t beside = pm_thing_count_beside(c, e->parent);

    return beside ? beside
                  : pm_db_int(c->db, 0, "SELECT count(*) FROM node WHERE account=?1 AND rid IS NOT NULL",
                              "i", (int64_t)e->account);
}

int pm_removal_guard(struct pm_cache *c, const struct pm_jentry *e)
{
    struct pm_db *db = c->db;
    int64_t       recent;
    int64_t       objects;

    if (!c->conf->delete_guard)
        return 0;
    recent = count_recent(db, e->account);
    if (recent <= c->conf->delete_guard) {
        if (recent < HALF_FROM / 2)
            return 0;
        objects = count_objects(c, e);
        if (objects < HALF_FROM || recent * 2 <= objects)
            return 0;
    }
    return pm_db_run(db,
                     "UPDATE j.entry SET state=?1, error='held: a great many removals at once;"
                     " polymount allow-deletes sends them, undelete takes them back' WHERE op=?2 AND"
                     " state=?3 AND account=?4 AND NOT sending AND created>?5",
                     "iiiii", (int64_t)PM_J_GUARDED, (int64_t)PM_OP_REMOVE, (int64_t)PM_J_READY,
                     (int64_t)e->account, pm_wall_ms() - WINDOW_MS);
}

int pm_change_allow(struct pm_cache *c, pm_node node, uint64_t *released)
{
    struct sqlite3_stmt *st;
    int                  err;

    *released = 0;
    pm_db_begin(c->db);
    st = pm_db_query(c->db, "SELECT id, parent, node FROM j.entry WHERE state=?1", "i",
                     (int64_t)PM_J_GUARDED);
    while (pm_db_row(c->db, st)) {
        int64_t id = pm_col_int(st, 0);

        if (node > PM_NODE_ROOT && !pm_shown_below(c->db, (pm_node)pm_col_int(st, 1), node) &&
            (pm_node)pm_col_int(st, 2) != node)
            continue;
        pm_db_run(c->db, "UPDATE j.entry SET state=?2, not_before=0, error=NULL WHERE id=?1", "ii",
                  id, (int64_t)PM_J_READY);
        ++*released;
    }
    pm_db_run(c->db, "DELETE FROM j.removed", "");
    err = pm_db_end(c->db, 0);
    pm_queue_kick(c);
    return err;
}

/* The removal that hides this name, if it can still be taken back. */
static int find_removal(struct pm_db *db, pm_node parent, const char *name, struct pm_jentry *e)
{
    pm_node there;

    if (!pm_shown_find(db, parent, name, &there))
        return -EEXIST;
    if (pm_journal_at(db, parent, name, e) || e->op != PM_OP_REMOVE)
        return -ENOENT;
    return e->sending ? -EBUSY : 0;
}

/* What was removed in a folder comes back with it. */
static int take_back_children(struct pm_db *db, pm_node folder, int depth)
{
    int err = 0;

    while (!err && depth < 256) {
        struct pm_jentry e;
        int64_t          id = pm_db_int(db, 0,
                                        "SELECT max(id) FROM j.entry WHERE parent=?1 AND op=?2 AND"
                                        " NOT sending",
                                        "ii", (int64_t)folder, (int64_t)PM_OP_REMOVE);

        if (!id)
            return 0;
        err = pm_journal_get(db, id, &e);
        if (!err)
            err = pm_journal_drop(db, id);
        if (!err && e.kind == PM_FOLDER)
            err = take_back_children(db, e.node, depth + 1);
    }
    return err;
}

/* A name in a thing, of whose removal nothing would have been sent. */
static int show_hidden(struct pm_db *db, pm_node parent, const char *name, struct pm_jentry *e)
{
    struct pm_row row;

    e->node = pm_hidden_at(db, parent, name);
    if (!e->node || pm_node_get(db, e->node, &row))
        return -ENOENT;
    e->kind = row.kind;
    return pm_hidden_show(db, e->node);
}

int pm_change_undelete(struct pm_cache *c, pm_node parent, const char *name)
{
    struct pm_jentry e = {.node = 0};
    int              err;

    pm_db_begin(c->db);
    err = find_removal(c->db, parent, name, &e);
    if (!err)
        err = pm_journal_drop(c->db, e.id);
    else if (err == -ENOENT)
        err = show_hidden(c->db, parent, name, &e);
    if (!err && e.kind == PM_FOLDER)
        err = take_back_children(c->db, e.node, 0);
    if (!err && e.kind == PM_FOLDER)
        err = pm_hidden_show_below(c->db, e.node);
    err = pm_db_end(c->db, err);
    if (err)
        return err;
    pm_store_revive(c->store, e.node);
    pm_tell_entry(c, parent, name);
    pm_tell_node(c, parent, true);
    if (e.kind == PM_FOLDER)
        pm_tell_node(c, e.node, true);
    return 0;
}
