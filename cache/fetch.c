#include "cache/fetch.h"

#include "cache/held.h"
#include "cache/list.h"
#include "cache/located.h"
#include "cache/recheck.h"
#include "cache/whole.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BLOCK      ((uint64_t)64 * 1024) /* ranges are asked in multiples of this */
#define TIMED_OUT_MS 1000 /* after a time-out nothing is tried again for so long */
#define CHUNK      ((uint64_t)4 * 1024 * 1024) /* and in pieces of at most this */
#define PIECE      ((size_t)1024 * 1024) /* copied in one go inside the cache */

struct pm_transfer {
    struct pm_job       job;
    struct pm_transfer *next; /* content->lock */
    struct pm_cache    *cache;
    struct pm_content  *content; /* a reference */
    uint64_t            off, end; /* content->lock; what is asked for */
    uint64_t            pos; /* content->lock; how far it came */
    int64_t             last_ms; /* content->lock; when its last byte came, or it was started */
    bool                keep; /* into the file; else through the bounce memory */
    uint64_t            held; /* of the store's room, not landed yet */
    bool                must_keep; /* immutable; never bounce */
    unsigned            base; /* its own; the content's when it was located */
    bool                judged; /* the loop's, then the pool's; what came was of another size */
    enum pm_prio        prio;
    atomic_bool         cancel;
};

void pm_wake_all(struct pm_waiter *first, int err)
{
    while (first) {
        struct pm_waiter *next = first->next;

        first->next = NULL;
        first->wake(first, err);
        first = next;
    }
}

/* --- who waits */

/* Is all of [off, end) at hand, in the file or in the bounce memory? */
static bool at_hand_locked(struct pm_cache *c, struct pm_content *k, uint64_t off, uint64_t end)
{
    struct pm_range gap;

    while (pm_ranges_gap(&k->present, off, end, &gap)) {
        size_t n = k->bouncing ? pm_bounce_get(c->bounce, k->id, gap.off, NULL,
                                               (size_t)(gap.end - gap.off))
                               : 0;

        if (n < gap.end - gap.off)
            return false;
        off = gap.end;
    }
    return true;
}

/* The transfer that will bring the byte at `off`; NULL: none. */
static const struct pm_transfer *running_at(const struct pm_content *k, uint64_t off)
{
    const struct pm_transfer *t = k->transfers;

    while (t && (off < t->pos || off >= t->end || t->cancel))
        t = t->next;
    return t;
}

/* The end of what runs at `off`, or `off` itself. */
static uint64_t running_until(const struct pm_content *k, uint64_t off)
{
    const struct pm_transfer *t = running_at(k, off);

    return t ? t->end : off;
}

/* Does a running transfer bring the first byte this waiter lacks? */
static bool on_its_way_locked(const struct pm_content *k, const struct pm_waiter *w)
{
    struct pm_range gap;

    return !pm_ranges_gap(&k->present, w->off, w->end, &gap) || running_until(k, gap.off) > gap.off;
}

/* Takes the waiters out that `take` says; the caller wakes them without the lock. */
typedef bool take_fn(struct pm_cache *c, struct pm_content *k, const struct pm_waiter *w,
                     const struct pm_transfer *t);

static struct pm_waiter *collect_locked(struct pm_cache *c, struct pm_content *k, take_fn *take,
                                        const struct pm_transfer *t)
{
    struct pm_waiter *taken = NULL;

    for (struct pm_waiter **p = &k->waiters; *p;) {
        struct pm_waiter *w = *p;

        if (take && !take(c, k, w, t)) {
            p = &w->next;
            continue;
        }
        *p = w->next;
        w->next = taken;
        taken = w;
    }
    return taken;
}

static bool is_served(struct pm_cache *c, struct pm_content *k, const struct pm_waiter *w,
                      const struct pm_transfer *t)
{
    (void)t;
    return at_hand_locked(c, k, w->off, w->end);
}

static bool is_left_alone(struct pm_cache *c, struct pm_content *k, const struct pm_waiter *w,
                          const struct pm_transfer *t)
{
    return !on_its_way_locked(k, w) || is_served(c, k, w, t);
}

/* Did this waiter wait for what the transfer did not bring? */
static bool is_let_down(struct pm_cache *c, struct pm_content *k, const struct pm_waiter *w,
                        const struct pm_transfer *t)
{
    struct pm_range gap;

    (void)c;
    if (k->stale)
        return true;
    return pm_ranges_gap(&k->present, w->off, w->end, &gap) && t->pos < gap.end &&
           gap.off < t->end;
}

void pm_fetch_wake(struct pm_content *k, int err)
{
    struct pm_waiter *all;

    pthread_mutex_lock(&k->lock);
    all = collect_locked(NULL, k, NULL, NULL);
    pthread_mutex_unlock(&k->lock);
    pm_wake_all(all, err);
}

/* --- one transfer: what its bytes do */

/* Another validator is another version; another size may be no content at all: see judge(). */
static int check_version_locked(struct pm_content *k, const struct pm_answer *a)
{
    if (a->total != PM_SIZE_UNKNOWN && a->total != k->base_end)
        return -ESTALE;
    if (*a->validator && *k->validator && strcmp(a->validator, k->validator) != 0) {
        k->stale = true;
        return -ESTALE;
    }
    if (*a->validator && !*k->validator)
        snprintf(k->validator, sizeof(k->validator), "%s", a->validator);
    if (a->digest && *a->digest && strlen(a->digest) < sizeof(k->digest)) /* not every answer tells */
        memcpy(k->digest, a->digest, strlen(a->digest) + 1);
    return 0;
}

/* The service ignored the range: this one brings everything in order, or ends for one that does. */
static int take_whole_locked(struct pm_transfer *t)
{
    if (t->content->in_order && t->content->transfers->next)
        return -ECANCELED;
    t->content->in_order = true;
    t->off = t->pos = 0;
    t->end = t->content->base_end;
    return 0;
}

/* The range was ignored: everything will come. Is there room for that? */
static void reserve_whole(struct pm_transfer *t)
{
    uint64_t more = t->content->base_end - t->held;

    if (!t->keep)
        return;
    if (pm_store_reserve(t->content->store, more)) {
        t->held += more;
    } else if (!t->must_keep) {
        pm_store_release(t->content->store, t->held);
        t->held = 0;
        t->keep = false;
    }
}

static int transfer_begin(void *arg, const struct pm_answer *a)
{
    struct pm_transfer *t = arg;
    int                 err;

    if (a->off == 0 && t->off != 0)
        reserve_whole(t);
    PM_GUARD(&t->content->lock);
    if (t->base != t->content->base)
        return -ECANCELED; /* of the same bytes, but of what they were copied from: to be begun anew */
    err = check_version_locked(t->content, a);
    if (!err && a->off != t->off)
        err = a->off == 0 ? take_whole_locked(t) : -EIO;
    return err;
}

/* Writes the parts of [off, off+len) that are missing. */
static int land_locked(struct pm_content *k, uint64_t off, const char *buf, size_t len)
{
    uint64_t        end = off + len;
    uint64_t        at = off;
    struct pm_range gap;

    while (pm_ranges_gap(&k->present, at, end, &gap)) {
        ssize_t n = pm_pwrite_all(k->fd, buf + (gap.off - off), (size_t)(gap.end - gap.off),
                                  gap.off);

        if (n < 0)
            return (int)n;
        if ((!*k->validator && pm_ranges_add(&k->doubtful, gap.off, gap.end)) ||
            pm_content_landed_locked(k, gap.off, gap.end))
            return -ENOMEM;
        at = gap.end;
    }
    return 0;
}

static void note_progress_locked(struct pm_content *k)
{
    int64_t now = pm_now_ms();

    for (struct pm_waiter *w = k->waiters; w; w = w->next)
        w->progress_ms = now;
}

static void extend(struct pm_transfer *t)
{
    PM_GUARD(&t->content->lock);
    t->content->in_order = true;
    t->end = t->content->base_end;
}

/* What landed is counted by the content now. */
static void give_back(struct pm_transfer *t, uint64_t bytes)
{
    if (bytes > t->held)
        bytes = t->held;
    t->held -= bytes;
    pm_store_release(t->content->store, bytes);
}

static int transfer_data(void *arg, const void *buf, size_t len)
{
    struct pm_transfer *t = arg;
    struct pm_content  *k = t->content;
    struct pm_waiter   *served;
    size_t              n = len;
    int                 err = 0;

    if (t->cancel)
        return -ECANCELED;
    if (len > t->end - t->pos && t->end < k->base_end) {
        reserve_whole(t); /* more than was asked for comes: all of it will */
        extend(t);
    }
    pthread_mutex_lock(&k->lock);
    if (n > t->end - t->pos)
        n = (size_t)(t->end - t->pos);
    if (t->keep)
        err = land_locked(k, t->pos, buf, n);
    if (err == -ENOSPC && !t->must_keep) {
        t->keep = false;
        k->bouncing = true;
    }
    if (!t->keep) {
        pm_bounce_put(t->cache->bounce, k->id, t->pos, buf, n);
        err = 0;
    }
    if (err) { /* it did not come so far: who waits for it is told why */
        pthread_mutex_unlock(&k->lock);
        return err;
    }
    give_back(t, n);
    t->pos += n;
    t->last_ms = pm_now_ms();
    k->timed_out_ms = 0;
    note_progress_locked(k);
    served = collect_locked(t->cache, k, is_served, t);
    pthread_mutex_unlock(&k->lock);
    pm_wake_all(served, 0);
    return err;
}

/* --- the end of a transfer */

static void unlink_locked(struct pm_transfer *t)
{
    struct pm_transfer **p = &t->content->transfers;

    while (*p != t)
        p = &(*p)->next;
    *p = t->next;
    t->content->ntransfers--;
}

static void transfer_done(void *arg, int err, const char *why);

/* A page of somebody between here and the service, with status 200, looks like a content of another
 * size. Only the service's own word makes what is kept here stale. */
static void judge_run(struct pm_job *job)
{
    struct pm_transfer *t = container_of(job, struct pm_transfer, job);
    int                 err = pm_recheck_version(t->cache, t->content);

    if (err == -ENOENT)
        err = -ESTALE;
    transfer_done(t, err ? err : -EIO, "what came is not the content");
}

static bool judge(struct pm_transfer *t, int err)
{
    struct pm_content *k = t->content;

    PM_GUARD(&k->lock); /* pm_cache_stop takes it before it ends the pool */
    if (err != -ESTALE || t->judged || k->stale || t->cache->stopping)
        return false;
    t->judged = true;
    t->job.run = judge_run;
    pm_pool_run(t->cache->pool, &t->job);
    return true;
}

static void transfer_done(void *arg, int err, const char *why)
{
    struct pm_transfer *t = arg;
    struct pm_content  *k = t->content;
    struct pm_cache    *c = t->cache;
    struct pm_waiter   *failed = NULL;
    struct pm_waiter   *woken;

    if (judge(t, err))
        return;
    pthread_mutex_lock(&k->lock);
    unlink_locked(t);
    give_back(t, t->held);
    if (!err && t->pos < t->end)
        err = -EIO;
    if (k->stale)
        err = -ESTALE;
    if (err == -ETIMEDOUT)
        k->timed_out_ms = pm_now_ms();
    if (err && (err != -ECANCELED || c->stopping))
        failed = collect_locked(c, k, is_let_down, t);
    woken = collect_locked(c, k, is_left_alone, t);
    if (!k->transfers && k->doubtful.n && !k->stale && !c->stopping)
        pm_recheck_start_locked(c, k); /* under the lock: pm_cache_stop takes it before it ends the pool */
    pm_whole_check_locked(c, k); /* likewise */
    pthread_mutex_unlock(&k->lock);
    if (err && err != -ECANCELED)
        pm_log(PM_INFO, "read of file %llu: %s", (unsigned long long)k->node,
               why && *why ? why : strerror(-err));
    if (err == -ESTALE) {
        pm_list_expire_around(c, k->node);
        pm_store_stale(k);
    }
    pm_wake_all(failed, err == -ECANCELED ? -ESHUTDOWN : err);
    pm_wake_all(woken, 0);
    pm_content_put(k);
    free(t);
}

static const struct pm_sink transfer_sink = {transfer_begin, transfer_data, transfer_done};

/* --- starting */

/* A copy that is not sent yet: what is held here of its source need not be fetched. False: nothing
 * came. */
static bool copy_held(struct pm_transfer *t)
{
    PM_AUTO(free) char *buf = NULL;
    struct pm_content  *k = t->content;
    struct pm_held      held;
    pm_node             origin;
    uint64_t            end = t->end;
    bool                any = false;
    int                 err = 0;

    pm_db_begin(t->cache->db);
    origin = pm_located_origin(t->cache, k);
    pm_db_end(t->cache->db, 0);
    if (origin == PM_ORIGIN_GONE || origin == k->node ||
        !pm_held_open(t->cache, origin, k, t->base, t->off, &end, &held))
        return false;
    pthread_mutex_lock(&k->lock);
    t->end = end;
    pthread_mutex_unlock(&k->lock);
    buf = malloc(PIECE);
    while (!err && buf && t->pos < end) {
        size_t n = end - t->pos < PIECE ? (size_t)(end - t->pos) : PIECE;

        err = pm_held_read(&held, buf, n, t->pos);
        if (!err) {
            err = transfer_data(t, buf, n);
            any = true; /* one that nobody wants any more asks the service for nothing, either */
        }
    }
    pm_held_close(&held);
    if (any)
        transfer_done(t, err, NULL);
    return any;
}

static void transfer_run(struct pm_job *job)
{
    struct pm_transfer *t = container_of(job, struct pm_transfer, job);
    struct pm_source   *source;
    uint64_t            len = t->end - t->off;
    int                 err;

    pthread_mutex_lock(&t->content->lock);
    t->base = t->content->base;
    pthread_mutex_unlock(&t->content->lock);
    err = t->cancel ? -ECANCELED : pm_located_source(t->cache, t->content, &source);
    if (err) {
        transfer_done(t, err, NULL);
        return;
    }
    t->keep = pm_store_reserve(t->content->store, len);
    t->held = t->keep ? len : 0;
    if (!t->keep && t->must_keep && pm_store_room(t->content->store, len)) {
        transfer_done(t, -ENOSPC, NULL);
        return;
    }
    t->keep |= t->must_keep;
    pthread_mutex_lock(&t->content->lock);
    t->content->bouncing = !t->keep;
    pthread_mutex_unlock(&t->content->lock);
    if (!copy_held(t))
        pm_fetch(source, t->off, len, t->prio, &t->cancel, &transfer_sink, t);
}

static int start_locked(struct pm_cache *c, struct pm_content *k, uint64_t off, uint64_t end,
                        bool must_keep)
{
    struct pm_transfer *t = calloc(1, sizeof(*t));

    if (!t)
        return -ENOMEM;
    t->job.run = transfer_run;
    t->cache = c;
    t->content = k;
    t->off = t->pos = off;
    t->end = end;
    t->must_keep = must_keep;
    t->prio = PM_INTERACTIVE;
    t->last_ms = pm_now_ms();
    for (const struct pm_transfer *o = k->transfers; o; o = o->next)
        if (o->last_ms < t->last_ms)
            t->last_ms = o->last_ms; /* one that stands still tells of the others */
    t->next = k->transfers;
    k->transfers = t;
    k->ntransfers++;
    pm_content_ref(k);
    pm_pool_run(c->pool, &t->job);
    return 0;
}

/* Does the service give everything in one piece? Where it is known to, the first answer need not show it. */
static bool is_in_order_locked(struct pm_cache *c, const struct pm_content *k)
{
    const struct pm_account *a = k->in_order ? NULL : pm_account_by_id(c, k->account);

    return k->in_order || (a && !pm_backend_can(a->backend, PM_CAP_RANGE));
}

/* Starts what is missing of [off, end) and not on its way. */
static int start_missing_locked(struct pm_cache *c, struct pm_content *k, uint64_t off,
                                uint64_t end, bool must_keep)
{
    struct pm_range gap;

    while (pm_ranges_gap(&k->present, off, end, &gap)) {
        uint64_t from = running_until(k, gap.off);
        uint64_t to;
        int      err;

        if (from == gap.off && k->bouncing && !must_keep)
            from += pm_bounce_get(c->bounce, k->id, gap.off, NULL, (size_t)(gap.end - gap.off));
        if (from > gap.off) {
            off = from;
            continue;
        }
        if (k->ntransfers >= c->conf->connections || (k->ntransfers && is_in_order_locked(c, k)))
            return 0;
        to = gap.end - from > CHUNK ? from + CHUNK : gap.end;
        for (const struct pm_transfer *t = k->transfers; t; t = t->next)
            if (t->pos > from && t->pos < to)
                to = t->pos;
        err = start_locked(c, k, from, to, must_keep);
        if (err)
            return err;
        off = to;
    }
    return 0;
}

/* Widens to block boundaries within the base. */
static uint64_t block_up(const struct pm_content *k, uint64_t off)
{
    off = (off + BLOCK - 1) / BLOCK * BLOCK;
    return off < k->base_end ? off : k->base_end;
}

/* Whoever joins a transfer that has stood still for long is not made to wait all over again. */
static int64_t last_byte_locked(const struct pm_content *k, const struct pm_waiter *w)
{
    const struct pm_transfer *t = NULL;
    struct pm_range           gap;

    if (pm_ranges_gap(&k->present, w->off, w->end, &gap))
        t = running_at(k, gap.off);
    return t ? t->last_ms : pm_now_ms();
}

int pm_fetch_want_locked(struct pm_cache *c, struct pm_content *k, uint64_t off, uint64_t end,
                         uint64_t ahead, struct pm_waiter *w, bool must_keep)
{
    int err;

    if (k->stale)
        return -ESTALE;
    if (c->stopping)
        return -ESHUTDOWN;
    if (w && k->timed_out_ms && pm_now_ms() - k->timed_out_ms < TIMED_OUT_MS)
        return -ETIMEDOUT; /* the kernel asks again for each page of what just failed */
    err = start_missing_locked(c, k, off / BLOCK * BLOCK, block_up(k, ahead > end ? ahead : end),
                               must_keep);
    if (err || !w)
        return err;
    w->off = off;
    w->end = end;
    w->progress_ms = last_byte_locked(k, w);
    w->next = k->waiters;
    k->waiters = w;
    return 0;
}

void pm_fetch_cancel_locked(struct pm_content *k)
{
    for (struct pm_transfer *t = k->transfers; t; t = t->next)
        t->cancel = true;
}

/* --- waiting for the whole */

struct sync_waiter {
    struct pm_waiter w;
    pthread_mutex_t  lock;
    pthread_cond_t   cond;
    bool             woken;
    int              err;
};

static void sync_wake(struct pm_waiter *w, int err)
{
    struct sync_waiter *s = container_of(w, struct sync_waiter, w);

    PM_GUARD(&s->lock);
    s->woken = true;
    s->err = err;
    pthread_cond_signal(&s->cond);
}

/* Waits for one piece; the waiter is always woken in the end, since a transfer always ends. */
static int wait_piece(struct pm_cache *c, struct pm_content *k, const struct pm_range *gap)
{
    struct sync_waiter s = {.w = {.wake = sync_wake}};
    uint64_t           end = gap->end - gap->off > CHUNK ? gap->off + CHUNK : gap->end;
    int                err;

    pthread_mutex_lock(&k->lock);
    if (pm_ranges_has(&k->present, gap->off, end)) { /* by now: nothing would wake */
        pthread_mutex_unlock(&k->lock);
        return 0;
    }
    pthread_mutex_init(&s.lock, NULL);
    pm_cond_init(&s.cond);
    err = start_missing_locked(c, k, gap->off,
                               block_up(k, end + CHUNK * (c->conf->connections - 1)), true);
    if (!err)
        err = pm_fetch_want_locked(c, k, gap->off, end, end, &s.w, true);
    pthread_mutex_unlock(&k->lock);
    pthread_mutex_lock(&s.lock);
    while (!err && !s.woken)
        pthread_cond_wait(&s.cond, &s.lock);
    pthread_mutex_unlock(&s.lock);
    pthread_cond_destroy(&s.cond);
    pthread_mutex_destroy(&s.lock);
    return err ? err : s.err;
}

int pm_fetch_whole(struct pm_cache *c, struct pm_content *k, const atomic_bool *cancel)
{
    struct pm_range gap;
    bool            missing;
    int             err = 0;

    while (!err) {
        pthread_mutex_lock(&k->lock);
        missing = pm_ranges_gap(&k->present, 0, k->size, &gap);
        pthread_mutex_unlock(&k->lock);
        if (!missing)
            return 0;
        err = *cancel ? -ECANCELED : wait_piece(c, k, &gap);
    }
    return err;
}
