/* Design.
 *
 * RUNNING -> WAITING -> RUNNING -> … -> DONE. pm_pending_start lists it RUNNING; whoever moves it
 * out of WAITING under the lock owns it: a wake-up (to RUNNING), the watcher or the stop (to DONE).
 * Out of RUNNING only the attempting thread moves it. A wake-up that finds it RUNNING leaves a
 * mark, and that thread tries again.
 *
 * 1. `answer` is called by the thread that made the move to DONE, after it left the lock.
 * 2. While it is on the list, p->req is alive: it leaves the list before it is answered. So one
 *    found on the list by its request is the one meant, even though libfuse uses memory anew.
 * 3. The memory goes with the last reference: one is the frame's until answered, one the cache's
 *    from each attempt until its wake-up (or until attempt returned something else), one the
 *    watcher's while it reads /proc.
 *
 * Interrupts. libfuse calls interrupted() with the request's own lock held, possibly inside
 * fuse_req_interrupt_func, and possibly after the request was answered (it copies the function
 * first). So it must not reply (that would free the request under libfuse), and its argument is the
 * table, not the request: it marks the one it finds on the list and wakes the watcher. It is set
 * before the first attempt, when no other thread can answer yet. Lock order: libfuse's request
 * lock, then ours; we never call libfuse with ours held. */
#include "fs/pending.h"

#include "fs/caller.h"

#include <assert.h>
#include <errno.h>

enum {
    LOOKUP_MS = 20000, /* what waits for names is answered within this, bytes or not */
    TICK_MS = 250,     /* how often deadlines and callers are looked at while something waits */
    BATCH = 32,
};

struct pm_pendings {
    int64_t           op_timeout_ms; /* immutable */
    pthread_t         watcher;
    pthread_mutex_t   lock; /* leaf */
    pthread_cond_t    change;  /* lock; something waits, was interrupted, left, or it is the end */
    struct pm_pending head;    /* lock; prev and next only */
    size_t            owed;    /* lock; started and not answered yet */
    size_t            waiting; /* lock; of these, WAITING */
    size_t            alive;   /* lock; memory, also of those answered that the cache still has */
    bool              asleep;  /* lock; the watcher waits without a time */
    bool              look;    /* lock; an interrupt came */
    bool              stopping; /* lock */
    bool              stopped;  /* lock; the watcher was joined */
};

static void list_locked(struct pm_pendings *all, struct pm_pending *p)
{
    p->prev = all->head.prev;
    p->next = &all->head;
    p->prev->next = p;
    all->head.prev = p;
    all->owed++;
}

static void done_locked(struct pm_pending *p)
{
    assert(p->state != PM_DONE);
    if (p->state == PM_WAITING)
        p->all->waiting--;
    p->state = PM_DONE;
    p->prev->next = p->next;
    p->next->prev = p->prev;
}

/* True: that was the last reference; the caller frees it when it has left the lock. */
static bool put_locked(struct pm_pending *p)
{
    assert(p->refs > 0);
    if (--p->refs > 0)
        return false;
    p->all->alive--;
    return true;
}

static void put(struct pm_pending *p)
{
    struct pm_pendings *all = p->all;
    bool                last;

    pthread_mutex_lock(&all->lock);
    last = put_locked(p);
    pthread_mutex_unlock(&all->lock);
    if (last)
        free(p);
}

/* Answers one that this thread moved to DONE, and drops the frame's reference. */
static void answer(struct pm_pending *p, ssize_t res)
{
    struct pm_pendings *all = p->all;

    p->op->answer(p, res == -ESHUTDOWN ? -EIO : res);
    put(p);
    pthread_mutex_lock(&all->lock);
    if (--all->owed == 0 && all->stopping)
        pthread_cond_broadcast(&all->change);
    pthread_mutex_unlock(&all->lock);
}

/* What is to be done after an attempt: */
enum next { AGAIN, WAIT, ANSWER };

static enum next after_locked(struct pm_pending *p, ssize_t *res)
{
    struct pm_pendings *all = p->all;

    if (*res == -EINPROGRESS && p->woken && !p->wake_err)
        return AGAIN;
    if (*res == -EINPROGRESS && !p->woken && !all->stopping) {
        p->state = PM_WAITING;
        all->waiting++;
        if (all->asleep)
            pthread_cond_broadcast(&all->change);
        return WAIT;
    }
    if (*res == -EINPROGRESS)
        *res = p->woken ? p->wake_err : -EIO;
    else if (!p->woken)
        put_locked(p); /* the cache did not take it; the frame's reference is left */
    done_locked(p);
    return ANSWER;
}

/* Attempts one that this thread has RUNNING, until it waits or is answered. */
static void run(struct pm_pending *p)
{
    struct pm_pendings *all = p->all;
    enum next           next;
    ssize_t             res;

    do {
        pthread_mutex_lock(&all->lock);
        p->woken = false;
        p->refs++; /* the cache's */
        pthread_mutex_unlock(&all->lock);
        res = p->op->attempt(p);
        pthread_mutex_lock(&all->lock);
        next = after_locked(p, &res);
        pthread_mutex_unlock(&all->lock);
    } while (next == AGAIN);
    if (next == ANSWER)
        answer(p, res);
}

/* The cache's call, on any thread. Also comes for those that were answered long ago. */
static void wake(struct pm_waiter *w, int err)
{
    struct pm_pending  *p = container_of(w, struct pm_pending, waiter);
    struct pm_pendings *all = p->all;
    bool                last;
    uint8_t             was;

    pthread_mutex_lock(&all->lock);
    was = p->state;
    if (was == PM_RUNNING) {
        p->woken = true;
        p->wake_err = err;
    } else if (was == PM_WAITING && err) {
        done_locked(p);
    } else if (was == PM_WAITING) {
        p->state = PM_RUNNING;
        all->waiting--;
    }
    last = put_locked(p);
    pthread_mutex_unlock(&all->lock);
    if (last)
        free(p);
    else if (was == PM_WAITING && err)
        answer(p, err);
    else if (was == PM_WAITING)
        run(p);
}

/* libfuse's call; see above for what it must not do. */
static void interrupted(fuse_req_t req, void *arg)
{
    struct pm_pendings *all = arg;

    PM_GUARD(&all->lock);
    for (struct pm_pending *p = all->head.next; p != &all->head; p = p->next) {
        if (p->req != req)
            continue;
        p->look_ms = pm_now_ms();
        all->look = true;
        pthread_cond_broadcast(&all->change);
        return;
    }
}

/* --- the watcher --------------------------------------------------------------------------- */

static bool late_locked(const struct pm_pending *p, int64_t now)
{
    int64_t byte = atomic_load(&p->waiter.progress_ms);

    if (p->op->patience == PM_WAIT_EVER)
        return false;
    if (p->op->patience == PM_WAIT_LOOKUP && now - p->start_ms >= LOOKUP_MS)
        return true;
    return now - byte >= p->all->op_timeout_ms; /* a transfer that was joined may stand for long */
}

/* Moves up to BATCH that are late to DONE. */
static size_t take_late_locked(struct pm_pendings *all, struct pm_pending **out)
{
    int64_t            now = pm_now_ms();
    size_t             n = 0;
    struct pm_pending *next;

    for (struct pm_pending *p = all->head.next; p != &all->head && n < BATCH; p = next) {
        next = p->next;
        if (p->state != PM_WAITING || !late_locked(p, now))
            continue;
        done_locked(p);
        out[n++] = p;
    }
    return n;
}

/* Takes a reference to up to BATCH whose callers are to be looked at now. */
static size_t take_interrupted_locked(struct pm_pendings *all, struct pm_pending **out)
{
    int64_t now = pm_now_ms();
    size_t  n = 0;

    for (struct pm_pending *p = all->head.next; p != &all->head && n < BATCH; p = p->next) {
        if (p->state != PM_WAITING || p->look_ms == 0 || p->look_ms > now)
            continue;
        p->look_ms = now + TICK_MS;
        p->refs++;
        out[n++] = p;
    }
    return n;
}

static void answer_if_dying(struct pm_pending *p)
{
    struct pm_pendings *all = p->all;
    bool                dying = pm_caller_dying(p->tid);

    pthread_mutex_lock(&all->lock);
    dying = dying && p->state == PM_WAITING;
    if (dying)
        done_locked(p);
    pthread_mutex_unlock(&all->lock);
    if (dying)
        answer(p, -EINTR);
    put(p);
}

/* One round over all that wait. The lock is held on entry and return, not in between. */
static void round_locked(struct pm_pendings *all)
{
    struct pm_pending *late[BATCH], *look[BATCH];
    size_t             nlate, nlook;

    do {
        nlate = take_late_locked(all, late);
        nlook = take_interrupted_locked(all, look);
        pthread_mutex_unlock(&all->lock);
        for (size_t i = 0; i < nlate; i++)
            answer(late[i], -ETIMEDOUT);
        for (size_t i = 0; i < nlook; i++)
            answer_if_dying(look[i]);
        pthread_mutex_lock(&all->lock);
    } while (nlate == BATCH || nlook == BATCH);
}

static void *watch(void *arg)
{
    struct pm_pendings *all = arg;

    PM_GUARD(&all->lock);
    while (!all->stopping) {
        int64_t until = pm_now_ms() + TICK_MS;

        all->asleep = all->waiting == 0;
        if (all->asleep)
            pthread_cond_wait(&all->change, &all->lock);
        while (!all->asleep && !all->look && !all->stopping &&
               pm_cond_wait_until(&all->change, &all->lock, until) == 0)
            ;
        all->asleep = all->look = false;
        if (all->waiting > 0)
            round_locked(all);
    }
    return NULL;
}

/* --- the table ----------------------------------------------------------------------------- */

int pm_pendings_new(int64_t op_timeout_ms, struct pm_pendings **out)
{
    struct pm_pendings *all = calloc(1, sizeof(*all));
    int                 err;

    if (!all)
        return -ENOMEM;
    all->op_timeout_ms = op_timeout_ms;
    all->head.prev = all->head.next = &all->head;
    pthread_mutex_init(&all->lock, NULL);
    pm_cond_init(&all->change);
    err = pm_thread_start(&all->watcher, "pm-pending", watch, all);
    if (err) {
        all->stopped = true;
        pm_pendings_free(all);
        return err;
    }
    *out = all;
    return 0;
}

static struct pm_pending *take_waiting(struct pm_pendings *all)
{
    PM_GUARD(&all->lock);
    for (struct pm_pending *p = all->head.next; p != &all->head; p = p->next) {
        if (p->state == PM_WAITING) {
            done_locked(p);
            return p;
        }
    }
    return NULL;
}

void pm_pendings_stop(struct pm_pendings *all)
{
    struct pm_pending *p;
    bool               join;

    pthread_mutex_lock(&all->lock);
    all->stopping = true;
    join = !all->stopped;
    all->stopped = true;
    pthread_cond_broadcast(&all->change);
    pthread_mutex_unlock(&all->lock);
    if (join)
        pthread_join(all->watcher, NULL);
    while ((p = take_waiting(all)) != NULL)
        answer(p, -EIO);
    pthread_mutex_lock(&all->lock);
    while (all->owed > 0)
        pthread_cond_wait(&all->change, &all->lock);
    pthread_mutex_unlock(&all->lock);
}

void pm_pendings_free(struct pm_pendings *all)
{
    if (!all)
        return;
    pm_pendings_stop(all);
    if (all->alive > 0) {
        pm_log(PM_WARN, "mount: %zu requests were left with the cache", all->alive);
        return; /* better lost than used after it is free */
    }
    pthread_cond_destroy(&all->change);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

size_t pm_pendings_count(struct pm_pendings *all)
{
    PM_GUARD(&all->lock);
    return all->waiting;
}

void *pm_pending_new(struct pm_pendings *all, fuse_req_t req, const struct pm_pending_op *op,
                     size_t size)
{
    struct pm_pending *p = calloc(1, size);

    if (!p)
        return NULL;
    p->waiter.wake = wake;
    p->op = op;
    p->all = all;
    p->req = req;
    p->tid = fuse_req_ctx(req)->pid;
    p->start_ms = pm_now_ms();
    p->refs = 1;
    atomic_init(&p->waiter.progress_ms, p->start_ms);
    return p;
}

void pm_pending_start(struct pm_pending *p)
{
    struct pm_pendings *all = p->all;

    pthread_mutex_lock(&all->lock);
    all->alive++;
    p->state = PM_RUNNING;
    list_locked(all, p);
    pthread_mutex_unlock(&all->lock);
    fuse_req_interrupt_func(p->req, interrupted, all);
    run(p);
}
