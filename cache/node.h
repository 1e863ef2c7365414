/* node.h: rows of the index's node table: identity, where the known list has a node, what is shown
 * of it.
 *
 * A node has two places. Its list place (parent, name) is where the last known list of a folder
 * has its object; it says what the service holds. Its shown place may differ while journal entries
 * are unfinished: then a row of the journal's place table says so (journal.h). The shown tree is
 * the lists' with those rows over it, without what is hidden for a while (hidden.h).
 *
 * Every function here runs inside a transaction of `db` (pm_db_begin … pm_db_end). */
#ifndef PM_CACHE_NODE_H
#define PM_CACHE_NODE_H

#include "cache/cache.h"
#include "cache/db.h"
#include "cache/name.h"

#define PM_RID_PATH "path:" /* begins the identity kept of an object without id: its path follows */
#define PM_UNSET    0xffffffffu /* mode, uid, gid: never set here */

struct pm_row {
    pm_node      id;
    uint32_t     account;
    enum pm_kind kind;
    pm_node      parent; /* list place; 0: in no list */
    uint64_t     size; /* as shown: the local content's while it is unsent */
    uint64_t     rsize; /* the service's */
    int64_t      mtime_ms, btime_ms; /* the service's */
    int64_t      lmtime_ns, latime_ns, ctime_ns; /* kept here; 0: the service's hold */
    uint32_t     mode, uid, gid;
    bool         settling; /* the service still works on it: version may move, content does not */
    bool         own; /* this version was uploaded from here */
    int          missing; /* whole lists in a row that lacked it */
    char         name[PM_NAME_MAX + 1]; /* list place; "" if none */
    char         rid[PM_NAME_MAX + 1]; /* remote id; "": no object, or one without id */
    char         version[PM_NAME_MAX + 1]; /* of a link, where it leads */
    char         state[64];
};

/* Reads one node. 0 or -ENOENT. */
int pm_node_get(struct pm_db *db, pm_node id, struct pm_row *out);
/* The node that has this list place, or this remote id; 0 if none. */
pm_node pm_node_listed(struct pm_db *db, pm_node parent, const char *name);
pm_node pm_node_by_rid(struct pm_db *db, uint32_t account, const char *rid);
/* Makes a node without a place. `owner` may be NULL. 0 or -errno. */
int pm_node_make(struct pm_db *db, uint32_t account, enum pm_kind kind,
                 const struct pm_owner *owner, pm_node *out);
/* Gives the node the list place (parent, name); who had it before is in no list then. `raw` is the
 * service's own name. parent 0 takes the place away. */
int pm_node_place(struct pm_db *db, pm_node id, pm_node parent, const char *name, const char *raw);
/* Writes what the service says of the node's object; the size of unsent content stays shown. */
int pm_node_describe(struct pm_db *db, pm_node id, const struct pm_entry *e);
/* Takes the object (remote id, version) from the node: it is local, or gone. */
int pm_node_detach(struct pm_db *db, pm_node id);
/* `node` becomes the object that `from` was, at its list place; `from` has none any more, and what
 * is held of its content is fetched from `node` from now on. */
int pm_node_adopt(struct pm_db *db, pm_node node, const struct pm_row *from);
/* Deletes the node if nothing can lead to it: no list place, no journal entry, no shown place. */
void pm_node_drop_if_orphan(struct pm_db *db, pm_node id);
/* Deletes all that nothing leads to; at a start, when nothing is open. */
void pm_node_drop_orphans(struct pm_db *db);

/* --- the shown tree */

/* Finds a shown name. 0 and *id, or -ENOENT. */
int pm_shown_find(struct pm_db *db, pm_node parent, const char *name, pm_node *id);
/* Where a node is shown. 0 or -ENOENT. `name` may be NULL. */
int pm_shown_place(struct pm_db *db, pm_node id, pm_node *parent, char name[PM_NAME_MAX + 1]);
/* The shown path from the mount point with leading '/'; owned; NULL: nowhere, or no memory. */
char *pm_shown_path(struct pm_db *db, pm_node id);
/* The same for telling people: what was removed is named by where the service has it. */
char *pm_told_path(struct pm_db *db, pm_node id);
/* Is `id` shown at or below `top`? */
bool pm_shown_below(struct pm_db *db, pm_node id, pm_node top);
bool pm_shown_empty(struct pm_db *db, pm_node folder);

/* --- for the service */

/* The node as its service knows it: by list places up to its root. 0 and an owned entry, or
 * -ENOENT if it or a folder above is in no list. */
int pm_node_entry(struct pm_db *db, pm_node id, struct pm_entry **out);

/* What the kernel sees of a row whose shown parent is known. */
void pm_row_attr(const struct pm_row *row, pm_node shown_parent, struct pm_attr *out);

#endif
