/* Dropping what is cached because the user says so. */
#include "cache/journal.h"
#include "cache/kept.h"
#include "cache/state.h"

#include <errno.h>
#include <string.h>

/* A project's document is not listed: whoever drops what is in the folder does not mean it. */
static bool is_record(struct pm_db *db, pm_node node)
{
    return pm_db_int(db, 0, "SELECT 1 FROM record WHERE node=?1", "i", (int64_t)node) != 0;
}

/* The next content above `after` at or below `top`; 0: none. */
static int64_t next_below(struct pm_db *db, int64_t after, pm_node top, pm_node *node)
{
    for (;;) {
        after = pm_db_int(db, 0, "SELECT min(id) FROM content WHERE id>?1 AND bytes>0", "i", after);
        if (!after)
            return 0;
        *node = (pm_node)pm_db_int(db, 0, "SELECT node FROM content WHERE id=?1", "i", after);
        if (*node != top && is_record(db, *node))
            continue;
        if (top <= PM_NODE_ROOT || pm_shown_below(db, *node, top))
            return after;
    }
}

/* Has a draft's session it? */
static bool is_in_session(struct pm_cache *c, pm_node node)
{
    struct pm_jentry e;
    bool             is;

    pm_db_begin(c->db);
    is = !pm_journal_of(c->db, node, PM_OP_PUT, &e) && e.state == PM_J_SENT;
    pm_db_end(c->db, 0);
    return is;
}

static void tell_why(struct pm_cache *c, pm_node node, int err, pm_tell_fn *tell, void *arg)
{
    PM_AUTO(free) char *path = pm_tree_path(c, node);
    PM_AUTO(free) char *line = pm_asprintf(
        "%s: %s", path ? path : "?",
        err == -EPERM ? "the service cannot give it back; --last-copy drops it all the same"
        : err == -EAGAIN && is_in_session(c, node) ? "part of a draft, and kept until that is published"
        : err == -EAGAIN ? "not sent yet"
        : err == -EBUSY  ? "in use"
                         : strerror(-err));

    if (tell && line)
        tell(arg, line);
}

/* Drops the content; of a last copy it is told who wants to read it. */
static int evict(struct pm_cache *c, pm_node node, bool last_copy)
{
    bool last;
    int  err;

    pm_db_begin(c->db);
    last = last_copy && pm_kept_has(c->db, node);
    err = pm_db_end(c->db, 0);
    if (!err)
        err = pm_store_evict(c->store, node, last_copy);
    if (err || !last)
        return err;
    pm_db_begin(c->db);
    pm_db_run(c->db, "UPDATE node SET error=?2 WHERE id=?1", "is", (int64_t)node,
              "its last copy was dropped here, and the service does not give it back");
    return pm_db_end(c->db, 0);
}

int pm_work_evict(struct pm_cache *c, pm_node top, bool last_copy, pm_tell_fn *tell, void *arg,
                  uint64_t *found)
{
    int64_t content = 0;
    pm_node node = 0;
    int     first = 0;

    *found = 0;
    pm_store_tick(c->store); /* the rows know how much is there */
    for (;;) {
        int err;

        pm_db_begin(c->db);
        content = next_below(c->db, content, top, &node);
        err = pm_db_end(c->db, 0);
        if (err || !content)
            return first ? first : err;
        err = evict(c, node, last_copy);
        *found += !err;
        first = first ? first : err;
        if (err)
            tell_why(c, node, err, tell, arg);
        else
            pm_tell_node(c, node, true);
    }
}
