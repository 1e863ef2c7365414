/* Making files and folders. */
#include "cache/change.h"

#include "cache/file.h"
#include "cache/queue.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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
    err = pm_change_take_over(c, e, e->parent, e->name, later);
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
    struct pm_place    folder;
    char               why[200] = "";
    int                err = pm_name_check(name);

    if (err)
        pm_publish_refused(c, parent, "a name", strerror(-err));
    if (!err)
        err = pm_change_check_folder(c, parent, &folder);
    if (!err && (err = pm_change_check_name(c, parent, folder.spot, name, why, sizeof(why))) != 0)
        pm_publish_refused(c, parent, name, *why ? why : strerror(-err));
    if (err)
        return err;
    e.account = folder.account->id;
    e.state = pm_draft_is_litter(folder.spot, name)                    ? PM_J_LOCAL
              : open                                                    ? PM_J_OPEN
              : folder.manner == PM_MANNER_DROPS /* empty: file.h */ ? PM_J_LOCAL
                                                                        : PM_J_READY;
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

/* mkdir over an rmdir that was not sent: the folder stays. (Not of a thing, in which nothing could be made:
 * what is made there is another.) */
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
                        bool draft, struct pm_attr *out)
{
    struct pm_db *db = c->db;
    pm_node       there;
    int           err;

    if (!pm_shown_find(db, e->parent, e->name, &there))
        return -EEXIST;
    if (!draft && cancel_removal(db, e->parent, e->name, &e->node))
        return pm_tree_describe(c, e->node, out);
    err = pm_node_make(db, e->account, PM_FOLDER, owner, &e->node);
    if (!err)
        err = pm_db_run(db, "INSERT INTO list(node, fetched) VALUES(?1, ?2)", "ii",
                        (int64_t)e->node, pm_wall_ms());
    if (!err)
        err = draft ? pm_draft_make(db, e) : pm_journal_add(db, e);
    return err ? err : pm_tree_describe(c, e->node, out);
}

int pm_change_mkdir(struct pm_cache *c, pm_node parent, const char *name,
                    const struct pm_owner *owner, struct pm_attr *out)
{
    struct pm_jentry   e = {.op = PM_OP_MKDIR, .kind = PM_FOLDER, .parent = parent,
                            .state = PM_J_READY};
    struct pm_place    folder;
    bool               draft;
    int                err = pm_name_check(name);

    if (!err)
        err = pm_change_check_folder(c, parent, &folder);
    if (!err && (folder.spot == PM_SPOT_DRAFT || folder.spot == PM_SPOT_LATE)) {
        pm_publish_refused(c, parent, name, "there are no folders in it");
        err = -EPERM;
    }
    if (err)
        return err;
    draft = folder.spot == PM_SPOT_ROOT || folder.manner == PM_MANNER_DROPS;
    e.account = folder.account->id;
    snprintf(e.name, sizeof(e.name), "%s", name);
    pm_db_begin(c->db);
    err = pm_db_end(c->db, mkdir_locked(c, &e, owner, draft, out));
    if (!err)
        pm_queue_kick(c);
    return err;
}
