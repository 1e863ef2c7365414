/* The shown tree: finding and reading it. */
#include "cache/find.h"
#include "cache/journal.h"
#include "cache/link.h"
#include "cache/list.h"
#include "cache/record.h"
#include "cache/state.h"

#include <errno.h>
#include <string.h>

#define BATCH 64

/* What is in memory is newer than the row: the content of an open file. */
static void add_content(struct pm_cache *c, struct pm_attr *attr)
{
    struct pm_content *k = attr->kind == PM_FOLDER ? NULL : pm_content_peek(c->store, attr->node);

    if (!k)
        return;
    pthread_mutex_lock(&k->lock);
    attr->content = (uint64_t)k->id;
    attr->size = k->size;
    if (k->mtime_ns) {
        attr->mtime_ns = k->mtime_ns;
        if (attr->ctime_ns < k->mtime_ns)
            attr->ctime_ns = k->mtime_ns;
    }
    pthread_mutex_unlock(&k->lock);
    pm_content_put(k);
}

static void add_account(struct pm_cache *c, const struct pm_row *row, struct pm_attr *attr)
{
    const struct pm_account *a = pm_account_by_id(c, row->account);

    attr->read_only = a && a->conf->read_only;
}

static uint64_t content_id(struct pm_db *db, pm_node node)
{
    return (uint64_t)pm_db_int(db, 0, "SELECT id FROM content WHERE node=?1", "i", (int64_t)node);
}

int pm_tree_describe(struct pm_cache *c, pm_node node, struct pm_attr *out)
{
    struct pm_row row;
    pm_node       parent = 0;
    int           err = pm_node_get(c->db, node, &row);

    if (err)
        return err;
    if (pm_shown_place(c->db, node, &parent, NULL))
        parent = 0;
    pm_row_attr(&row, parent, out);
    out->content = row.kind != PM_FOLDER ? content_id(c->db, node) : 0;
    add_account(c, &row, out);
    return 0;
}

int pm_tree_getattr(struct pm_cache *c, pm_node node, struct pm_attr *out)
{
    int err;

    if (pm_link_is(node))
        return pm_link_attr(c, node, out);
    *out = (struct pm_attr){0};
    pm_db_begin(c->db);
    err = pm_db_end(c->db, pm_tree_describe(c, node, out));
    if (err)
        return err == -ENOENT ? -ESTALE : err;
    add_content(c, out);
    return 0;
}

static int is_local_name(struct pm_cache *c, pm_node parent, const char *name, bool *local)
{
    pm_db_begin(c->db);
    *local = pm_db_int(c->db, 0,
                       "SELECT ifnull(node, 0) FROM j.place WHERE parent=?1 AND name=?2"
                       " ORDER BY entry DESC LIMIT 1",
                       "is", (int64_t)parent, name) != 0;
    return pm_db_end(c->db, 0);
}

int pm_tree_lookup(struct pm_cache *c, pm_node parent, const char *name, struct pm_waiter *w,
                   struct pm_attr *out)
{
    pm_node node;
    bool    local;
    int     err;

    if (strlen(name) > PM_NAME_MAX)
        return -ENAMETOOLONG;
    err = is_local_name(c, parent, name, &local);
    if (!err && !local)
        err = pm_list_want(c, parent, w);
    if (!err && !strcmp(name, PM_RECORD_NAME) && pm_draft_any(c))
        err = pm_record_want(c, parent, w);
    if (err)
        return err;
    pm_db_begin(c->db);
    err = pm_db_end(c->db, pm_shown_find(c->db, parent, name, &node));
    if (err == -ENOENT && !(err = pm_link_find(c, parent, name, &node)))
        return pm_link_attr(c, node, out);
    if (err == -ENOENT)
        err = pm_find_want(c, parent, name, w);
    return err ? err : pm_tree_getattr(c, node, out);
}

int pm_tree_ready(struct pm_cache *c, pm_node folder, struct pm_waiter *w)
{
    return pm_list_want(c, folder, w);
}

/* --- reading a folder */

struct shown {
    pm_node node;
    char    name[PM_NAME_MAX + 1];
};

/* The next entries by node: those of the list that no journal entry hides, and the journal's. */
static size_t next_shown(struct pm_db *db, pm_node folder, uint64_t after, struct shown out[BATCH])
{
    struct sqlite3_stmt *st = pm_db_query(
        db,
        "SELECT id, name FROM node n WHERE parent=?1 AND id>?2 AND NOT EXISTS"
        " (SELECT 1 FROM j.place p WHERE p.parent=?1 AND p.name=n.name) AND NOT EXISTS"
        " (SELECT 1 FROM temp.hidden h WHERE h.node=n.id)"
        " UNION ALL SELECT p.node, p.name FROM j.place p WHERE p.parent=?1 AND p.node>?2 AND"
        " p.entry=(SELECT max(q.entry) FROM j.place q WHERE q.parent=p.parent AND q.name=p.name)"
        " ORDER BY 1 LIMIT 64",
        "ii", (int64_t)folder, (int64_t)after);
    size_t n = 0;

    while (pm_db_row(db, st)) {
        out[n].node = (pm_node)pm_col_int(st, 0);
        pm_col_copy(st, 1, out[n].name, sizeof(out[n].name));
        n++;
    }
    return n;
}

static int has_drafts(struct pm_cache *c, pm_node folder, bool *out)
{
    int64_t account;
    int     err;

    *out = false;
    if (!pm_draft_any(c))
        return 0;
    pm_db_begin(c->db);
    account = pm_db_int(c->db, 0, "SELECT account FROM node WHERE id=?1", "i", (int64_t)folder);
    err = pm_db_end(c->db, 0);
    *out = !err && pm_draft_account(c, (uint32_t)account);
    return err;
}

int pm_tree_read(struct pm_cache *c, pm_node folder, uint64_t after, pm_tree_fn *each, void *arg)
{
    struct shown *batch = calloc(BATCH, sizeof(*batch));
    bool          more = true;
    size_t        n = BATCH;
    bool          drafts;
    int           err = has_drafts(c, folder, &drafts);

    if (!batch)
        return -ENOMEM;
    while (more && n == BATCH && !err) {
        pm_db_begin(c->db);
        n = next_shown(c->db, folder, after, batch);
        err = pm_db_end(c->db, 0);
        for (size_t i = 0; i < n && more && !err; i++) {
            struct pm_attr attr;

            after = batch[i].node;
            if (drafts && !strcmp(batch[i].name, PM_RECORD_NAME))
                continue; /* found by name only */
            err = pm_tree_getattr(c, batch[i].node, &attr);
            if (!err)
                more = each(arg, after, batch[i].name, &attr);
            else if (err == -ESTALE) /* gone meanwhile */
                err = 0;
        }
    }
    free(batch);
    return err;
}

/* --- paths */

int pm_tree_resolve(struct pm_cache *c, const char *path, pm_node *out)
{
    PM_AUTO(free) char *copy = strdup(path);
    char               *save = NULL;
    pm_node             node = PM_NODE_ROOT;
    int                 err = copy ? 0 : -ENOMEM;

    if (!copy)
        return err;
    for (char *part = strtok_r(copy, "/", &save); part && !err; part = strtok_r(NULL, "/", &save)) {
        pm_node folder = node;

        pm_db_begin(c->db);
        err = pm_db_end(c->db, pm_shown_find(c->db, folder, part, &node));
        if (err == -ENOENT)
            err = pm_link_find(c, folder, part, &node);
    }
    if (!err)
        *out = node;
    return err;
}

char *pm_tree_path(struct pm_cache *c, pm_node node)
{
    char *path;

    pm_db_begin(c->db);
    path = pm_shown_path(c->db, node);
    if (!pm_db_end(c->db, 0))
        return path;
    free(path); /* of a part of it, or of what is hidden */
    return NULL;
}

void pm_tree_touch(struct pm_cache *c, pm_node folder, const char *renamed)
{
    int64_t ns = pm_wall_ns();
    pm_node node;

    pm_db_begin(c->db);
    pm_db_run(c->db, "UPDATE node SET lmtime=?2, ctime=?2 WHERE id=?1", "ii", (int64_t)folder, ns);
    if (renamed && !pm_shown_find(c->db, folder, renamed, &node))
        pm_db_run(c->db, "UPDATE node SET ctime=?2 WHERE id=?1", "ii", (int64_t)node, ns);
    pm_db_end(c->db, 0);
}

void pm_tree_forget(struct pm_cache *c, pm_node node)
{
    bool gone;

    if (pm_link_is(node))
        return;
    pm_db_begin(c->db);
    pm_node_drop_if_orphan(c->db, node);
    gone = pm_db_int(c->db, 0, "SELECT 1 FROM node WHERE id=?1", "i", (int64_t)node) == 0;
    if (!pm_db_end(c->db, 0) && gone)
        pm_store_drop(c->store, node);
}
