/* journal.h: what was done here and the services do not have yet.
 *
 * Every function runs inside a transaction of `db`. journal.c opens with the design. */
#ifndef PM_CACHE_JOURNAL_H
#define PM_CACHE_JOURNAL_H

#include "cache/node.h"

enum pm_op {
    PM_OP_PUT = 1, /* the node's content goes to (parent, name): new, or over the object `rid` */
    PM_OP_MKDIR,   /* the folder is made at (parent, name) */
    PM_OP_REMOVE,  /* the object at (parent, name) is removed */
    PM_OP_RENAME,  /* the object goes from (oparent, oname) to (parent, name) */
    PM_OP_PUBLISH, /* the folder, a draft, becomes one thing at (parent, name) (draft.h) */
};

enum pm_jstate {
    PM_J_OPEN = 1,    /* its content was written to since the last flush */
    PM_J_READY,       /* to be sent, not before not_before, when nothing it needs is left */
    PM_J_ACTIVE,      /* being sent by this process */
    PM_J_FAILED,      /* cannot heal by itself; `error` says why */
    PM_J_LOCAL,       /* never sent: litter */
    PM_J_INTERRUPTED, /* written to, never flushed, and the daemon ended */
    PM_J_GUARDED,     /* a removal among too many: waits to be allowed */
    PM_J_SENT,        /* a draft's session has it, no more: nobody but us has it for good */
};

#define PM_J_HELD INT64_MAX /* not_before: while a writer has it open */
#define PM_BROKEN_OFF_MS 1000 /* so long a service gets to notice that a try was broken off */

struct pm_jentry {
    int64_t        id; /* order: a later change has a higher id */
    enum pm_op     op;
    pm_node        node;
    uint32_t       account;
    enum pm_kind   kind;
    pm_node        parent, oparent; /* oparent: RENAME only, else 0 */
    char           name[PM_NAME_MAX + 1], oname[PM_NAME_MAX + 1];
    char           rid[PM_NAME_MAX + 1]; /* the object that is replaced or removed; "": none */
    char           base[PM_NAME_MAX + 1]; /* the version of it that the user saw */
    int64_t        content; /* PUT: id in the store */
    uint64_t       size; /* PUT: bytes at the last flush */
    enum pm_jstate state;
    int64_t        not_before; /* wall clock, ms */
    int            tries;
    bool           sending; /* a thread has it, whatever became of its state meanwhile */
    int64_t        created; /* wall clock, ms */
    int64_t        gen; /* PUT: grows with every flush of something written */
    pm_node        replaces; /* a file it was renamed over while one of them was being sent; or 0 */
    pm_node        source; /* PUT: its content is that of this node's object, which the service may copy;
                              what changes that object waits for it; or 0 */
    int64_t        era; /* PUT: of the last flush (durable.h) */
};

/* Adds an entry: gives it the next id, its places and what it needs. 0 or -errno. */
int pm_journal_add(struct pm_db *db, struct pm_jentry *e);
/* 0 or -ENOENT. */
int pm_journal_get(struct pm_db *db, int64_t id, struct pm_jentry *out);
/* The last unfinished entry of a node with this op (0: any); 0 and *out, or -ENOENT. */
int pm_journal_of(struct pm_db *db, pm_node node, enum pm_op op, struct pm_jentry *out);
/* The last unfinished entry that uses this place. 0 and *out, or -ENOENT. */
int pm_journal_at(struct pm_db *db, pm_node parent, const char *name, struct pm_jentry *out);
/* Was a try of it begun, whose outcome may not be known? */
bool pm_journal_begun(struct pm_db *db, int64_t id);
/* Is anything unfinished with a place in this folder, at any depth? */
bool pm_journal_below(struct pm_db *db, pm_node folder);
/* Does anything wait for this entry? */
bool pm_journal_needed(struct pm_db *db, int64_t id);
/* The PUT is a copy of what `source` has, or with 0 no more: what waited for that goes on, unless its
 * step says that the service makes that copy: then when this is called again after that. */
int pm_journal_set_source(struct pm_db *db, int64_t id, pm_node source);
/* May the service be making a copy for the PUT, of what other changes wait with? */
bool pm_journal_copies(struct pm_db *db, int64_t id);
/* Nobody may ever come for it: what waited for it as for a copy goes on in any case. */
int pm_journal_forget_source(struct pm_db *db, int64_t id);
/* Must this entry wait for another? */
bool pm_journal_waits(struct pm_db *db, int64_t id);
/* Is it a removal that waits for an upload to another account, which may be of what it removes? */
bool pm_journal_is_source(struct pm_db *db, int64_t id);
#define PM_SOURCE_WAITS "what may be moved to another account goes when that has it"

/* Carried out and folded into the index: the entry, its places and its dependents' waiting go. */
int pm_journal_finish(struct pm_db *db, int64_t id);
/* Not to be carried out: what waited for it waits for what it waited for. */
int pm_journal_drop(struct pm_db *db, int64_t id);
/* Two entries take the place of `old` in the order, `b` after `a`: what waited for it waits for
 * both, and what was shown at their places since stays shown. `old` waits for nothing. */
int pm_journal_split(struct pm_db *db, int64_t old, struct pm_jentry *a, struct pm_jentry *b);
/* `e` takes the place of `old` in the order: it waits, and is waited for, as `old` was. */
int pm_journal_become(struct pm_db *db, int64_t old, struct pm_jentry *e);
/* An unsent PUT or MKDIR, or a PUBLISH, gets another place and becomes the latest entry; e is updated,
 * and what a draft's session has of it is forgotten. -EDEADLK: it would wait for what waits for it
 * (nothing is changed; add a RENAME instead). */
int pm_journal_move(struct pm_db *db, struct pm_jentry *e, pm_node parent, const char *name);

/* Writes state, sending, not_before, tries, size, gen, era, content, rid, base and replaces of `e`. */
int pm_journal_update(struct pm_db *db, const struct pm_jentry *e);
/* The service's own word; NULL clears. */
int pm_journal_error(struct pm_db *db, int64_t id, const char *why);
/* The upload's stored step, owned; NULL: none. */
char *pm_journal_step(struct pm_db *db, int64_t id);
int   pm_journal_set_step(struct pm_db *db, int64_t id, const char *step);

/* Keeps a folder and those above it for the day the index is lost. */
void pm_journal_remember(struct pm_db *db, pm_node folder);

/* The first entry that may be sent now, of an account whose bit is not in `blocked` (accounts 1 to
 * 63), uploads only if `uploads`. 0 or -ENOENT. *wake_ms: when the next one may be (wall clock). */
int pm_journal_next(struct pm_db *db, uint64_t blocked, bool uploads, struct pm_jentry *out,
                    int64_t *wake_ms);
/* At a start: what was ACTIVE is READY again, what was OPEN is INTERRUPTED. */
int pm_journal_restart(struct pm_db *db);

/* Breaks no promise? Checks the numbered invariants; 0, or the number of the first that does not
 * hold. For tests and for each start. */
int pm_journal_check(struct pm_db *db);

#endif
