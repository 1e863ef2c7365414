#include "cache/list.h"

#include "cache/journal.h"
#include "cache/merge.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define OLD_LIST_AFTER_MS 1000 /* a known list serves when the new one takes longer */
#define RETRY_AFTER_MS    2000 /* pause between tries of a list that fails */
#define LIST_LIMIT_MS     60000 /* those who wait give up sooner; the next try gains */
#define FAILURES          64

struct run {
    struct pm_job      job;
    struct run        *next; /* lists->lock */
    struct pm_cache   *cache;
    pm_node            folder;
    int64_t            started_ms; /* pm_now_ms() */
    int64_t            began; /* wall clock, ms: the list's age counts from here */
    struct pm_waiter  *waiters; /* lists->lock */
    struct touched    *touched; /* lists->lock; objects changed since it began */
    bool               all_touched; /* lists->lock; there was no memory to tell which */
    bool               known; /* immutable; an older list could serve */
    uint64_t           number; /* immutable; a run that began later has a higher one */
    bool               applying; /* lists->lock */
    bool               outdated; /* lists->lock; a later one of this folder was applied */
};

/* A list that failed a moment ago: not asked again for each of many lookups. */
struct failure {
    pm_node folder;
    int64_t until_ms; /* pm_now_ms() */
    int     err;
};

struct pm_lists {
    pthread_mutex_t lock; /* leaf */
    pthread_cond_t  applied; /* lock; a run ended applying */
    struct run     *runs; /* lock */
    uint64_t        number; /* lock; of the last run */
    struct failure  failed[FAILURES]; /* lock; a slot a folder, by remainder */
};

int pm_lists_open(struct pm_cache *c)
{
    c->lists = calloc(1, sizeof(*c->lists));
    if (!c->lists)
        return -ENOMEM;
    pthread_mutex_init(&c->lists->lock, NULL);
    pthread_cond_init(&c->lists->applied, NULL);
    return 0;
}

void pm_lists_close(struct pm_cache *c)
{
    if (!c->lists)
        return;
    pthread_cond_destroy(&c->lists->applied);
    pthread_mutex_destroy(&c->lists->lock);
    free(c->lists);
    c->lists = NULL;
}

/* --- what is known */

enum known { UNKNOWN, OLD, FRESH, LOCAL };

struct folder {
    struct pm_row row;
    enum known    known;
    int64_t       fetched; /* wall clock, ms */
};

static bool is_root(const struct pm_row *row)
{
    return row->parent == PM_NODE_ROOT;
}

static int look_at(struct pm_cache *c, pm_node id, struct folder *out)
{
    int     err;
    int64_t age;

    pm_db_begin(c->db);
    err = pm_node_get(c->db, id, &out->row);
    out->fetched = pm_db_int(c->db, -1, "SELECT fetched FROM list WHERE node=?1", "i",
                             (int64_t)id);
    err = pm_db_end(c->db, err);
    if (err)
        return err == -ENOENT ? -ESTALE : err;
    if (out->row.kind != PM_FOLDER)
        return -ENOTDIR;
    age = pm_wall_ms() - out->fetched;
    if (id == PM_NODE_ROOT || !(out->row.parent || is_root(&out->row)))
        out->known = LOCAL;
    else if (out->fetched < 0)
        out->known = UNKNOWN;
    else
        out->known = age >= 0 && age < c->conf->attr_timeout_ms ? FRESH : OLD;
    return 0;
}

/* --- getting a list */

static void remember_failure(struct pm_lists *l, pm_node folder, int err)
{
    PM_GUARD(&l->lock);
    l->failed[folder % FAILURES] =
        (struct failure){folder, err ? pm_now_ms() + RETRY_AFTER_MS : 0, err};
}

static int recent_failure_locked(const struct pm_lists *l, pm_node folder)
{
    const struct failure *f = &l->failed[folder % FAILURES];

    return f->folder == folder && f->until_ms > pm_now_ms() ? f->err : 0;
}

void pm_lists_forgive(struct pm_cache *c)
{
    PM_GUARD(&c->lists->lock);
    memset(c->lists->failed, 0, sizeof(c->lists->failed));
}

struct touched {
    struct touched *next;
    char            rid[];
};

static bool is_touched(void *arg, const char *rid)
{
    struct run *r = arg;

    PM_GUARD(&r->cache->lists->lock);
    for (const struct touched *t = r->touched; t; t = t->next)
        if (!strcmp(t->rid, rid))
            return true;
    return r->all_touched;
}

static void free_touched(struct touched *t)
{
    while (t) {
        struct touched *next = t->next;

        free(t);
        t = next;
    }
}

/* Lists of one folder are applied one by one, and none after a later one: what became of a version
 * could not be told any more. False: there is nothing to apply. */
static bool begin_applying(struct pm_lists *l, struct run *run)
{
    PM_GUARD(&l->lock);
    for (struct run *r = l->runs; r;) {
        if (r == run || r->folder != run->folder || !r->applying) {
            r = r->next;
            continue;
        }
        pthread_cond_wait(&l->applied, &l->lock);
        r = l->runs;
    }
    run->applying = !run->outdated;
    return run->applying;
}

static void end_applying(struct pm_lists *l, struct run *run, int err)
{
    PM_GUARD(&l->lock);
    run->applying = false;
    for (struct run *r = l->runs; r && !err; r = r->next)
        r->outdated |= r->folder == run->folder && r->number < run->number;
    pthread_cond_broadcast(&l->applied);
}

/* The service lists nothing there. */
static int keep_known(struct pm_cache *c, const struct run *run)
{
    pm_db_begin(c->db);
    return pm_db_end(c->db, pm_db_run(c->db,
                                      "INSERT OR REPLACE INTO list(node, fetched) VALUES(?1, ?2)",
                                      "ii", (int64_t)run->folder, run->began));
}

static int get_list(struct run *run, struct pm_ctx *ctx)
{
    struct pm_cache               *c = run->cache;
    PM_AUTO(free) struct pm_entry *dir = NULL;
    struct pm_row                  row;
    struct pm_account             *a;
    struct pm_merge               *m = NULL;
    int                            err;

    pm_db_begin(c->db);
    err = pm_node_get(c->db, run->folder, &row);
    if (!err)
        err = pm_node_entry(c->db, run->folder, &dir);
    err = pm_db_end(c->db, err);
    if (err)
        return err;
    a = pm_account_by_id(c, row.account);
    if (!a)
        return -ENXIO;
    err = pm_merge_open(c, a, &row, run->began, &m);
    if (!err)
        err = pm_backend_list(a->backend, ctx, dir, pm_merge_add, m);
    if (err == -EIO) { /* a broken body, once, is asked for again */
        pm_merge_free(m);
        m = NULL;
        err = pm_merge_open(c, a, &row, run->began, &m);
        if (!err)
            err = pm_backend_list(a->backend, ctx, dir, pm_merge_add, m);
    }
    if (err == -EOPNOTSUPP) { /* what is known is all that can be */
        pm_merge_free(m);
        a->unlisted = a->unlisted || is_root(&row);
        return keep_known(c, run);
    }
    pm_account_report(a, err, ctx->why);
    if (!err && is_root(&row))
        a->unlisted = false;
    if (!err && begin_applying(c->lists, run)) {
        err = pm_merge_apply(m, is_touched, run);
        end_applying(c->lists, run, err);
    }
    pm_merge_free(m);
    return err;
}

static void unlink_run_locked(struct pm_lists *l, struct run *r)
{
    struct run **p = &l->runs;

    while (*p != r)
        p = &(*p)->next;
    *p = r->next;
}

/* Nobody finds the run any more; those who waited for it go on. */
static void end_run(struct run *r, int err)
{
    struct pm_waiter *waiters;

    pthread_mutex_lock(&r->cache->lists->lock);
    unlink_run_locked(r->cache->lists, r);
    waiters = r->waiters;
    pthread_mutex_unlock(&r->cache->lists->lock);
    pm_wake_all(waiters, err == -ECANCELED ? -ESHUTDOWN : err);
    free_touched(r->touched);
}

/* Is it on its way to another place, or in a folder that is? What became of it is for the queue to find.
 * When that cannot be found out, it may be. */
static bool moves(struct pm_cache *c, pm_node folder)
{
    bool yes;

    pm_db_begin(c->db);
    yes = pm_db_int(c->db, 0,
                    "WITH RECURSIVE up(id) AS (SELECT ?1 UNION SELECT n.parent FROM node n JOIN up"
                    " ON n.id=up.id WHERE n.parent IS NOT NULL) SELECT 1 FROM j.entry WHERE op=?2 AND"
                    " node IN up LIMIT 1",
                    "ii", (int64_t)folder, (int64_t)PM_OP_RENAME) != 0;
    return pm_db_end(c->db, 0) || yes;
}

static void run_list(struct pm_job *job)
{
    struct run      *r = container_of(job, struct run, job);
    struct pm_cache *c = r->cache;
    struct pm_ctx    ctx = {.deadline_ms = pm_now_ms() + LIST_LIMIT_MS, .cancel = &c->stopping};
    int              err = get_list(r, &ctx);

    remember_failure(c->lists, r->folder, err);
    if (err == -ENOENT && !(r->known && moves(c, r->folder)))
        pm_list_expire_around(c, r->folder);
    else if (r->known && err != -ECANCELED)
        err = 0; /* the older list serves, however soon the new one was refused */
    end_run(r, err);
    free(r);
}

static struct run *find_run_locked(struct pm_lists *l, pm_node folder)
{
    struct run *r = l->runs;

    while (r && r->folder != folder)
        r = r->next;
    return r;
}

static struct run *start_run_locked(struct pm_cache *c, pm_node folder, bool known)
{
    struct run *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->job.run = run_list;
    r->cache = c;
    r->folder = folder;
    r->known = known;
    r->started_ms = pm_now_ms();
    r->began = pm_wall_ms();
    r->number = ++c->lists->number;
    r->next = c->lists->runs;
    c->lists->runs = r;
    pm_pool_run(c->list_pool, &r->job);
    return r;
}

/* Joins or starts a run. */
static int wait_for_list(struct pm_cache *c, pm_node folder, bool known, struct pm_waiter *w)
{
    struct pm_lists *l = c->lists;
    struct run      *r;
    int              err;

    PM_GUARD(&l->lock);
    if (c->stopping)
        return -ESHUTDOWN;
    r = find_run_locked(l, folder);
    err = r ? 0 : recent_failure_locked(l, folder);
    if (err)
        return known ? 0 : err;
    if (r && known && pm_now_ms() - r->started_ms >= OLD_LIST_AFTER_MS)
        return 0;
    if (!r)
        r = start_run_locked(c, folder, known);
    if (!r)
        return -ENOMEM;
    w->off = (uint64_t)r->began;
    w->progress_ms = pm_now_ms();
    w->next = r->waiters;
    r->waiters = w;
    return -EINPROGRESS;
}

int pm_list_want(struct pm_cache *c, pm_node folder, struct pm_waiter *w)
{
    struct folder f;
    int           err = look_at(c, folder, &f);

    if (err)
        return err;
    if (f.known == LOCAL || f.known == FRESH)
        return 0;
    if (!w)
        return f.known == UNKNOWN ? -EAGAIN : 0;
    if (f.known == OLD && w->off && f.fetched >= (int64_t)w->off)
        return 0;
    err = wait_for_list(c, folder, f.known == OLD, w);
    if (err == -EINPROGRESS)
        pthread_cond_signal(&c->keeper_cond);
    return err;
}

int pm_list_now(struct pm_cache *c, pm_node folder, struct pm_ctx *ctx)
{
    struct run r = {.cache = c, .folder = folder, .started_ms = pm_now_ms(), .began = pm_wall_ms()};
    int        err;

    pthread_mutex_lock(&c->lists->lock);
    r.number = ++c->lists->number;
    r.next = c->lists->runs;
    c->lists->runs = &r;
    pthread_mutex_unlock(&c->lists->lock);
    err = get_list(&r, ctx);
    end_run(&r, err);
    return err;
}

int pm_list_recent(struct pm_cache *c, pm_node folder, struct pm_ctx *ctx, int64_t since)
{
    struct folder f;
    int           err = look_at(c, folder, &f);

    return !err && f.fetched > since && f.fetched <= pm_wall_ms() ? 0
                                                                   : pm_list_now(c, folder, ctx);
}

void pm_list_expire_around(struct pm_cache *c, pm_node node)
{
    pm_db_begin(c->db);
    pm_db_run(c->db, "UPDATE list SET fetched=0 WHERE node=(SELECT parent FROM node WHERE id=?1)",
              "i", (int64_t)node);
    pm_db_end(c->db, 0);
}

void pm_list_touch(struct pm_cache *c, pm_node folder, const char *rid)
{
    size_t len = strlen(rid) + 1;

    PM_GUARD(&c->lists->lock);
    for (struct run *r = c->lists->runs; r; r = r->next) {
        struct touched *t;

        if (r->folder != folder)
            continue;
        t = malloc(sizeof(*t) + len);
        r->all_touched |= !t;
        if (!t)
            continue;
        memcpy(t->rid, rid, len);
        t->next = r->touched;
        r->touched = t;
    }
}

bool pm_lists_tick(struct pm_cache *c)
{
    struct pm_lists  *l = c->lists;
    struct pm_waiter *late = NULL;
    bool              busy;

    pthread_mutex_lock(&l->lock);
    for (struct run *r = l->runs; r; r = r->next) {
        struct pm_waiter **end = &r->waiters;

        if (!r->known || !r->waiters || pm_now_ms() - r->started_ms < OLD_LIST_AFTER_MS)
            continue;
        while (*end)
            end = &(*end)->next;
        *end = late;
        late = r->waiters;
        r->waiters = NULL;
    }
    busy = l->runs != NULL;
    pthread_mutex_unlock(&l->lock);
    pm_wake_all(late, 0);
    return busy;
}

void pm_lists_stop(struct pm_cache *c)
{
    struct pm_waiter *all = NULL;

    pthread_mutex_lock(&c->lists->lock);
    for (struct run *r = c->lists->runs; r; r = r->next) {
        struct pm_waiter **end = &r->waiters;

        while (*end)
            end = &(*end)->next;
        *end = all;
        all = r->waiters;
        r->waiters = NULL;
    }
    pthread_mutex_unlock(&c->lists->lock);
    pm_wake_all(all, -ESHUTDOWN);
}
