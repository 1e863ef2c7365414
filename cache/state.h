/* state.h: what the cache is made of. Only for cache/. */
#ifndef PM_CACHE_STATE_H
#define PM_CACHE_STATE_H

#include "cache/bounce.h"
#include "cache/cache.h"
#include "cache/db.h"
#include "cache/pool.h"
#include "cache/store.h"

struct pm_drafts;
struct pm_finds;
struct pm_identity;
struct pm_lists;
struct pm_queue;
struct pm_records;

/* One account of the configuration. Its id is its row in the index: state belongs to (type,
 * endpoint, identity), never to a name. */
struct pm_account {
    uint32_t                      id; /* immutable */
    const struct pm_account_conf *conf; /* immutable; borrowed */
    struct pm_backend            *backend; /* immutable */
    struct pm_identity           *identity; /* immutable; owned */
    atomic_bool                   unlisted; /* its root cannot be listed */
    bool                          checking; /* the queue's lock; a thread looks at its credential */
    pthread_mutex_t               lock; /* leaf */
    char                          error[256]; /* lock; why the last call failed; "" */
};

/* Between which folders services made copies, and for which entry (copy.c). */
struct pm_copying {
    pthread_mutex_t lock; /* leaf */
    struct pm_copying_pair {
        pm_node from, to;
        pm_node mark; /* the greatest one before the first: what came by it has a greater one */
        int64_t entry;
        int64_t last_ms; /* pm_now_ms() of the last */
        bool    several; /* for others, too */
    } pair[64]; /* lock */
    size_t next; /* lock; the one to be forgotten next */
};

struct pm_cache {
    const struct pm_conf  *conf; /* all immutable after pm_cache_open */
    struct pm_cache_events events;
    int                    lockfd; /* held by flock while the daemon serves */
    struct pm_db          *db;
    struct pm_net         *net;
    struct pm_pool        *pool; /* downloads and checks */
    struct pm_pool        *list_pool; /* lists: a service that hangs in them holds up no reads */
    struct pm_store       *store;
    struct pm_bounce      *bounce;
    struct pm_lists       *lists;
    struct pm_queue       *queue;
    struct pm_drafts      *drafts; /* draft.h */
    struct pm_records     *records; /* record.h */
    struct pm_finds       *finds; /* find.h */
    struct pm_copying      copying;
    int64_t                settle_ms; /* so long one try waits for copies to be whole */
    struct pm_account     *accounts;
    size_t                 naccounts;
    void                  *waits; /* immutable; owned; where the loop keeps waits that were asked for */
    pthread_t              keeper; /* housekeeping, once a second */
    pthread_t              durer; /* brings what is here to the disk */
    pthread_mutex_t        keeper_lock;
    struct pm_file        *unflushed; /* keeper_lock; closed, and the journal could not be told */
    pthread_cond_t         keeper_cond; /* keeper_lock; a list began, or stopping was set */
    pthread_cond_t         durer_cond; /* keeper_lock; stopping was set */
    bool                   has_keeper, has_durer;
    atomic_bool            flushed; /* contents were closed since they were last made durable */
    atomic_bool            hides; /* names may be hidden (hidden.h) */
    atomic_bool            moved; /* labels of unsent contents may name old paths (label.c) */
    atomic_bool            stopping;
};

/* account.c */
int                pm_accounts_open(struct pm_cache *c, char *why, size_t why_len);
void               pm_accounts_close(struct pm_cache *c);
struct pm_account *pm_account_by_id(struct pm_cache *c, uint32_t id); /* NULL: not configured */
/* Can the service tell this object from others? -EINVAL: it goes by paths, and another object of the
 * same folder has the same name. */
int pm_account_reaches(struct pm_cache *c, const struct pm_row *row);
/* Notes how a call to the service ended, for status. */
void pm_account_report(struct pm_account *a, int err, const char *why);

/* Tells the mount; no lock may be held. */
static inline void pm_tell_entry(struct pm_cache *c, pm_node parent, const char *name)
{
    if (c->events.entry_changed)
        c->events.entry_changed(c->events.arg, parent, name);
}

static inline void pm_tell_node(struct pm_cache *c, pm_node node, bool content)
{
    if (c->events.node_changed)
        c->events.node_changed(c->events.arg, node, content);
}

/* In a transaction: as pm_tree_getattr, of what is in the index. -ENOENT: no such node. */
int pm_tree_describe(struct pm_cache *c, pm_node node, struct pm_attr *out);

/* Wakes a chain of waiters that no list holds any more. */
void pm_wake_all(struct pm_waiter *first, int err);

#endif
