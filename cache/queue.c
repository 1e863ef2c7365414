#include "cache/queue.h"

#include "cache/clock.h"
#include "cache/draft.h"
#include "cache/fetch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define OTHER_THREADS 4 /* beside the uploads: folders, removals */
#define ACTIVE_MAX    64
#define PAUSE_MIN_MS  1000
#define PAUSE_MAX_MS  (5 * 60 * 1000)
#define FAILURES      64
#define HELD_MS       1000 /* who closed a file just before may not have been seen to */

struct active {
    int64_t               entry; /* 0: free */
    uint32_t              account;
    bool                  upload;
    bool                  frees; /* an upload after which its content may be dropped here */
    int64_t               started_ms;
    atomic_uint_least64_t sent;
    uint64_t              seen; /* of sent, when it was looked whether it advances */
};

struct waiting {
    struct waiting   *next;
    pm_node           node;
    struct pm_waiter *waiter;
};

/* What a close under on_close = wait is told. */
struct failure {
    pm_node node;
    int     err;
};

/* How far the service had an upload when it was last asked. */
struct mark {
    int64_t  entry;
    uint64_t off;
};

struct pm_queue {
    pthread_mutex_t lock; /* taken before the database's, never under it; not held while sending */
    pthread_cond_t  work; /* lock; kicked, an entry ended, or stopping */
    bool            paused; /* lock; kept in the journal's meta */
    bool            unsure; /* lock; the journal may take for chosen what nobody has (db.h) */
    struct active   active[ACTIVE_MAX]; /* lock; `sent` atomic */
    unsigned        uploads; /* lock */
    unsigned        freeing; /* lock; of these, those that make room */
    int64_t         advanced_ms; /* lock; when uploads were last known to advance */
    int64_t         failed_ms; /* lock; when one failed last */
    struct waiting *waiting; /* lock; closes that wait for their upload */
    struct failure  failed[FAILURES]; /* lock; a slot a node, by remainder */
    struct mark     marks[FAILURES]; /* lock; a slot an entry, by remainder */
    pthread_t       threads[ACTIVE_MAX]; /* immutable after open */
    size_t          nthreads;
    int64_t         clock_ahead_ms; /* lock; pm_clock_went_back's */
};

void pm_queue_kick(struct pm_cache *c)
{
    PM_GUARD(&c->queue->lock);
    pthread_cond_broadcast(&c->queue->work);
}

void pm_queue_pass(struct pm_cache *c, int64_t ms)
{
    PM_GUARD(&c->queue->lock);
    pm_cond_wait_until(&c->queue->work, &c->queue->lock, pm_now_ms() + ms);
}

bool pm_queue_came_further(struct pm_cache *c, int64_t entry, uint64_t off)
{
    struct mark *m = &c->queue->marks[entry % FAILURES];
    bool         further;

    PM_GUARD(&c->queue->lock);
    further = m->entry == entry && off > m->off;
    *m = (struct mark){entry, off};
    return further;
}

/* --- what a failure means for the entry */

/* What only the user, or a change on the service, can mend. */
static bool is_final(int err)
{
    switch (err) {
    case -EPERM: case -EFBIG: case -EINVAL: case -ENAMETOOLONG: case -EILSEQ: case -EOPNOTSUPP:
    case -EROFS: case -EBADMSG: return true;
    default: return false;
    }
}

/* Nothing is final while a copy may be under way there: the next try finds out what became of that. (What
 * is not whole here could not be told of it.) */
static bool ends_entry(struct pm_cache *c, int64_t id, int err)
{
    return is_final(err) && (err == -EBADMSG || !pm_journal_copies(c->db, id));
}

/* The service said when: no try failed. */
static bool is_told_when(int err, const struct pm_ctx *ctx)
{
    return err == -EBUSY && ctx->retry_ms > 0;
}

static int64_t pause_ms(int err, int tries, const struct pm_ctx *ctx)
{
    int64_t pause = PAUSE_MIN_MS << (tries < 9 ? tries : 9);

    if (is_told_when(err, ctx))
        return ctx->retry_ms;
    if (pause > PAUSE_MAX_MS)
        pause = PAUSE_MAX_MS;
    if (ctx->retry_ms > pause)
        pause = ctx->retry_ms;
    return pause;
}

/* Is the account's credential at fault, and not the entry? */
static bool is_paused(struct pm_cache *c, uint32_t account)
{
    const struct pm_account *a = pm_account_by_id(c, account);

    return a && pm_backend_doubt(a->backend, NULL, 0, NULL);
}

/* The entry stays in the journal; unless it was written to meanwhile, it is tried again. */
static int put_back(struct pm_cache *c, const struct pm_jentry *sent, int err,
                     const struct pm_ctx *ctx)
{
    const char      *why = *ctx->why ? ctx->why : strerror(-err);
    struct pm_jentry e = {.tries = 0};
    bool             waits = err == -EACCES && is_paused(c, sent->account);
    int              failure;

    pthread_mutex_lock(&c->queue->lock);
    c->queue->failed[sent->node % FAILURES] = (struct failure){sent->node, err};
    pthread_mutex_unlock(&c->queue->lock);
    pm_db_begin(c->db);
    if (!pm_journal_get(c->db, sent->id, &e)) {
        e.sending = false;
        if (sent->tries < e.tries)
            e.tries = sent->tries; /* this one came further: what failed before is over */
        if (waits) {
            if (e.state == PM_J_ACTIVE)
                e.state = PM_J_READY;
        } else if (e.state == PM_J_ACTIVE) {
            e.state = ends_entry(c, e.id, err) ? PM_J_FAILED : PM_J_READY;
            e.not_before = pm_wall_ms() + (err == -ECANCELED ? PAUSE_MIN_MS : pause_ms(err, e.tries, ctx));
        } else if (e.state == PM_J_INTERRUPTED) { /* a copy is looked at: others wait for its end */
            e.not_before = pm_wall_ms() + pause_ms(err, e.tries < 2 ? e.tries : 2, ctx);
        } else if (err == -ECANCELED && e.not_before < pm_wall_ms() + PAUSE_MIN_MS) {
            e.not_before = pm_wall_ms() + PAUSE_MIN_MS; /* the service may still work on it */
        }
        if (e.state == PM_J_FAILED)
            pm_journal_forget_source(c->db, e.id);
        if (err != -ECANCELED && !waits) {
            e.tries += !is_told_when(err, ctx);
            if (e.state != PM_J_INTERRUPTED)
                pm_journal_error(c->db, e.id, why);
        }
        pm_journal_update(c->db, &e);
    }
    failure = pm_db_end(c->db, 0);
    if (!failure && err != -ECANCELED && !waits)
        pm_log(is_final(err) ? PM_ERROR : err == -EAGAIN ? PM_INFO : PM_WARN, "entry %lld (%s) try=%d: %s",
               (long long)sent->id, sent->name, e.tries, why);
    return failure;
}

/* What the journal cannot be told now it is told later: nobody else tries the entry until then. */
static void put_back_for_sure(struct pm_cache *c, const struct pm_jentry *sent, int err,
                              const struct pm_ctx *ctx)
{
    while (put_back(c, sent, err, ctx) && !c->stopping) {
        PM_GUARD(&c->queue->lock);
        pm_cond_wait_until(&c->queue->work, &c->queue->lock, pm_now_ms() + PAUSE_MIN_MS);
    }
}

/* --- whoever waits for a file to be on the service */

static int failure_locked(const struct pm_queue *q, pm_node node)
{
    const struct failure *f = &q->failed[node % FAILURES];

    return f->node == node && is_final(f->err) ? f->err : -EIO;
}

/* 0: all sent, or nothing is to be; -EINPROGRESS, *held: not before another closes it; or the errno
 * of what failed. */
static int node_state_locked(struct pm_cache *c, pm_node node, bool *held)
{
    struct pm_jentry e;
    int              err = 0;
    int              failure;

    *held = false;
    pm_db_begin(c->db);
    if (!pm_journal_of(c->db, node, PM_OP_PUT, &e)) {
        *held = e.not_before == PM_J_HELD;
        err = e.state == PM_J_FAILED        ? failure_locked(c->queue, node)
              : e.state == PM_J_INTERRUPTED ? -EIO
              : e.state == PM_J_LOCAL || e.state == PM_J_SENT || pm_name_is_temporary(e.name)
                  ? 0
                  : -EINPROGRESS;
    }
    failure = pm_db_end(c->db, 0);
    return failure ? failure : err;
}

int pm_queue_wait(struct pm_cache *c, pm_node node, struct pm_waiter *w)
{
    struct waiting *x;
    bool            held;
    int             err;

    PM_GUARD(&c->queue->lock); /* an upload that ends now wakes after this */
    err = c->stopping ? -ESHUTDOWN : node_state_locked(c, node, &held);
    if (err != -EINPROGRESS)
        return err;
    if (held && !w->off)
        w->off = (uint64_t)pm_now_ms();
    else if (held && pm_now_ms() - (int64_t)w->off >= HELD_MS)
        return 0;
    x = malloc(sizeof(*x));
    if (!x)
        return -ENOMEM;
    *x = (struct waiting){c->queue->waiting, node, w};
    c->queue->waiting = x;
    return -EINPROGRESS;
}

static void wake_waiting(struct pm_cache *c, pm_node node, bool all)
{
    struct pm_waiter *woken = NULL;

    pthread_mutex_lock(&c->queue->lock);
    for (struct waiting **p = &c->queue->waiting; *p;) {
        struct waiting *x = *p;

        if (!all && x->node != node) {
            p = &x->next;
            continue;
        }
        *p = x->next;
        x->waiter->next = woken;
        woken = x->waiter;
        free(x);
    }
    pthread_mutex_unlock(&c->queue->lock);
    pm_wake_all(woken, all ? -ESHUTDOWN : 0);
}

void pm_queue_wake(struct pm_cache *c, pm_node node)
{
    wake_waiting(c, node, false);
}

void pm_queue_tick(struct pm_cache *c)
{
    struct pm_waiter *woken = NULL;

    pthread_mutex_lock(&c->queue->lock);
    for (struct waiting *x; (x = c->queue->waiting);) {
        c->queue->waiting = x->next;
        x->waiter->next = woken;
        woken = x->waiter;
        free(x);
    }
    pthread_mutex_unlock(&c->queue->lock);
    pm_wake_all(woken, 0);
}

/* --- the threads */

static struct active *free_slot_locked(struct pm_queue *q)
{
    for (size_t i = 0; i < ACTIVE_MAX; i++)
        if (!q->active[i].entry)
            return &q->active[i];
    return NULL;
}

uint64_t pm_queue_paused_accounts(struct pm_cache *c)
{
    uint64_t paused = 0;

    for (size_t i = 0; i < c->naccounts; i++)
        if (pm_backend_doubt(c->accounts[i].backend, NULL, 0, NULL))
            paused |= (uint64_t)1 << c->accounts[i].id;
    return paused;
}

/* When that cannot be found out, it may. */
static bool has_work(struct pm_cache *c, uint32_t account)
{
    bool has;

    pm_db_begin(c->db);
    has = pm_db_int(c->db, 0,
                    "SELECT 1 FROM j.entry WHERE state=2 AND account=?1 AND not_before<>?2 LIMIT 1",
                    "ii", (int64_t)account, PM_J_HELD);
    return pm_db_end(c->db, 0) || has;
}

/* An account whose credential is to be looked at again, since something waits for it; NULL: none now.
 * *wake_ms becomes earlier if there is one later. */
static struct pm_account *doubtful_locked(struct pm_cache *c, int64_t *wake_ms)
{
    for (size_t i = 0; i < c->naccounts && !c->queue->paused; i++) {
        struct pm_account *a = &c->accounts[i];
        int64_t            again_ms;

        if (a->checking || !pm_backend_doubt(a->backend, NULL, 0, &again_ms) || !has_work(c, a->id))
            continue;
        if (again_ms <= pm_now_ms())
            return a;
        again_ms += pm_wall_ms() - pm_now_ms();
        *wake_ms = again_ms < *wake_ms ? again_ms : *wake_ms;
    }
    return NULL;
}

/* A session that was replaced is dropped, or that is tried. Entered and left with the lock held. */
static bool drop_session_locked(struct pm_cache *c, int64_t *wake_ms)
{
    struct pm_doomed x;

    if (c->queue->paused || !pm_draft_doomed(c, pm_queue_paused_accounts(c), wake_ms, &x))
        return false;
    pthread_mutex_unlock(&c->queue->lock);
    pm_draft_drop_doomed(c, &x);
    pthread_mutex_lock(&c->queue->lock);
    return true;
}

/* Entered and left with the lock held. */
static void check_locked(struct pm_cache *c, struct pm_account *a)
{
    struct pm_ctx ctx = {.prio = PM_INTERACTIVE, .cancel = &c->stopping};

    a->checking = true;
    pthread_mutex_unlock(&c->queue->lock);
    pm_backend_check(a->backend, &ctx, false);
    pthread_mutex_lock(&c->queue->lock);
    a->checking = false;
    pthread_cond_broadcast(&c->queue->work);
}

static bool is_active_locked(const struct pm_queue *q, int64_t entry)
{
    for (size_t i = 0; i < ACTIVE_MAX; i++)
        if (q->active[i].entry == entry)
            return true;
    return false;
}

/* A choice that was refused may have come true all the same. */
static void undo_choices_locked(struct pm_cache *c)
{
    struct sqlite3_stmt *st;

    pm_db_begin(c->db);
    st = pm_db_query(c->db, "SELECT id FROM j.entry WHERE sending", "");
    while (pm_db_row(c->db, st)) {
        int64_t id = pm_col_int(st, 0);

        if (!is_active_locked(c->queue, id))
            pm_db_run(c->db,
                      "UPDATE j.entry SET sending=0, state=CASE state WHEN ?2 THEN ?3 ELSE state END"
                      " WHERE id=?1",
                      "iii", id, (int64_t)PM_J_ACTIVE, (int64_t)PM_J_READY);
    }
    c->queue->unsure = pm_db_end(c->db, 0) != 0;
}

/* Chooses an entry and marks it as being sent. NULL: nothing now; *wake_ms says until when. */
static struct active *choose_locked(struct pm_cache *c, struct pm_jentry *e, int64_t *wake_ms)
{
    struct pm_queue *q = c->queue;
    struct active   *a = free_slot_locked(q);
    uint64_t         paused = pm_queue_paused_accounts(c);
    int              err;

    *wake_ms = PM_J_HELD;
    if (q->paused || !a)
        return NULL;
    if (q->unsure)
        undo_choices_locked(c);
    pm_db_begin(c->db);
    err = pm_journal_next(c->db, paused, q->uploads < c->conf->parallel, e, wake_ms);
    err = pm_db_end(c->db, err);
    if (err && err != -ENOENT) {
        q->unsure = true;
        *wake_ms = pm_wall_ms() + PAUSE_MIN_MS; /* nobody else wakes for what could not be seen */
    }
    if (err)
        return NULL;
    a->entry = e->id;
    a->account = e->account;
    a->upload = e->op == PM_OP_PUT;
    a->started_ms = pm_now_ms();
    a->sent = a->seen = 0;
    a->frees = a->upload && !pm_draft_account(c, a->account); /* a draft's stay here */
    if (a->frees && !q->freeing && pm_now_ms() - q->failed_ms >= c->conf->op_timeout_ms)
        q->advanced_ms = a->started_ms; /* after a rest: it has its time to begin */
    q->uploads += a->upload;
    q->freeing += a->frees;
    return a;
}

/* For whoever waits for room: what was sent can be evicted, and room came. */
static void note_end(struct pm_cache *c, const struct active *a, int err)
{
    struct pm_queue *q = c->queue;

    if (!err)
        pm_store_trim(c->store);
    pthread_mutex_lock(&q->lock);
    if (a->frees && !err)
        q->advanced_ms = pm_now_ms();
    else if (a->frees && err != -ECANCELED && err != -EAGAIN)
        q->failed_ms = pm_now_ms();
    pthread_mutex_unlock(&q->lock);
    pm_store_try_again(c->store);
}

static void send_one(struct pm_cache *c, struct pm_jentry *e, struct active *a)
{
    struct pm_ctx      ctx = {.prio = PM_BACKGROUND, .cancel = &c->stopping};
    struct pm_account *account = pm_account_by_id(c, e->account);
    int                err = -ENXIO;

    if (account)
        err = pm_send(c, e, &ctx, &a->sent);
    else
        snprintf(ctx.why, sizeof(ctx.why), "its account is not in the configuration");
    if (account)
        pm_account_report(account, err, ctx.why);
    if (err)
        put_back_for_sure(c, e, err, &ctx);
    note_end(c, a, err);
    wake_waiting(c, e->node, false);
}

static void wait_locked(struct pm_queue *q, int64_t wake_ms)
{
    if (wake_ms == PM_J_HELD)
        pthread_cond_wait(&q->work, &q->lock);
    else
        pm_cond_wait_until(&q->work, &q->lock, pm_now_ms() + (wake_ms - pm_wall_ms()) + 1);
}

static void mind_clock_locked(struct pm_cache *c)
{
    if (!pm_clock_went_back(&c->queue->clock_ahead_ms))
        return;
    pm_db_begin(c->db);
    if (pm_db_end(c->db, pm_clock_mend(c)))
        c->queue->clock_ahead_ms = INT64_MAX; /* another time */
}

static void *worker(void *arg)
{
    struct pm_cache *c = arg;
    struct pm_queue *q = c->queue;
    struct pm_jentry e;
    int64_t          wake_ms;

    pthread_mutex_lock(&q->lock);
    while (!c->stopping) {
        struct active *a;

        mind_clock_locked(c);
        a = choose_locked(c, &e, &wake_ms);

        if (!a) {
            struct pm_account *doubtful = doubtful_locked(c, &wake_ms);

            if (doubtful)
                check_locked(c, doubtful);
            else if (!drop_session_locked(c, &wake_ms))
                wait_locked(q, wake_ms);
            continue;
        }
        pthread_mutex_unlock(&q->lock);
        send_one(c, &e, a);
        pthread_mutex_lock(&q->lock);
        q->uploads -= a->upload;
        q->freeing -= a->frees;
        a->entry = 0;
        pthread_cond_broadcast(&q->work);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

bool pm_queue_sent(struct pm_cache *c, int64_t entry, uint64_t *sent, int64_t *started_ms)
{
    PM_GUARD(&c->queue->lock);
    for (size_t i = 0; i < ACTIVE_MAX; i++) {
        if (c->queue->active[i].entry == entry) {
            *sent = c->queue->active[i].sent;
            *started_ms = c->queue->active[i].started_ms;
            return true;
        }
    }
    return false;
}

/* --- does it advance? */

static void look_locked(struct pm_queue *q)
{
    for (size_t i = 0; i < ACTIVE_MAX; i++) {
        struct active *a = &q->active[i];
        uint64_t       sent = a->sent;

        if (!a->entry || !a->frees || sent == a->seen)
            continue;
        a->seen = sent;
        q->advanced_ms = pm_now_ms();
    }
}

/* Closed and due about now, nor is what it needs any further off; `again`: though it failed before. */
static int about_to_send(struct pm_cache *c, uint64_t paused, bool again)
{
    int64_t now = pm_wall_ms();
    int     is;

    pm_db_begin(c->db);
    is = pm_db_int(c->db, 0,
                   "SELECT 1 FROM j.entry e WHERE op=1 AND state=2 AND (?4 OR tries=0) AND source IS NULL AND"
                   " NOT ((?1 >> account) & 1) AND not_before BETWEEN ?2 AND ?3 AND NOT EXISTS"
                   " (SELECT 1 FROM j.dep d JOIN j.entry n ON n.id=d.needs WHERE d.entry=e.id AND"
                   " (n.state NOT IN (2, 3) OR (n.tries AND NOT ?4) OR (n.op=1 AND n.not_before>?3)))"
                   " LIMIT 1",
                   "iiii", (int64_t)paused, now - c->conf->op_timeout_ms,
                   now + c->conf->op_timeout_ms, (int64_t)again) != 0;
    return pm_db_end(c->db, is);
}

/* The accounts of which nothing that is sent makes room: a bit each. */
static uint64_t keeping_accounts(struct pm_cache *c)
{
    uint64_t keeping = 0;

    for (size_t i = 0; i < c->naccounts; i++)
        if (pm_draft_has(c->accounts[i].backend))
            keeping |= (uint64_t)1 << c->accounts[i].id;
    return keeping;
}

int pm_queue_advances(struct pm_cache *c)
{
    struct pm_queue *q = c->queue;
    bool             recent;

    PM_GUARD(&q->lock);
    look_locked(q);
    recent = pm_now_ms() - q->advanced_ms < c->conf->op_timeout_ms;
    if (q->paused || c->stopping)
        return 0;
    return q->freeing ? recent : about_to_send(c, pm_queue_paused_accounts(c) | keeping_accounts(c), recent);
}

/* --- pausing */

int pm_queue_pause(struct pm_cache *c, bool paused)
{
    int err;

    PM_GUARD(&c->queue->lock);
    pm_db_begin(c->db);
    err = pm_db_end(c->db, pm_db_run(c->db,
                                     "INSERT OR REPLACE INTO j.meta(key, value) VALUES('paused',"
                                     " ?1)",
                                     "i", (int64_t)paused));
    if (err)
        return err;
    c->queue->paused = paused;
    pthread_cond_broadcast(&c->queue->work);
    return 0;
}

bool pm_queue_paused(struct pm_cache *c)
{
    PM_GUARD(&c->queue->lock);
    return c->queue->paused;
}

/* --- opening and ending */

int pm_queue_open(struct pm_cache *c)
{
    struct pm_queue *q = calloc(1, sizeof(*q));
    size_t           want = c->conf->parallel + OTHER_THREADS;
    int              err;

    if (!q)
        return -ENOMEM;
    c->queue = q;
    pthread_mutex_init(&q->lock, NULL);
    q->failed_ms = -c->conf->op_timeout_ms;
    pm_cond_init(&q->work);
    pm_db_begin(c->db);
    q->paused = pm_db_int(c->db, 0, "SELECT value FROM j.meta WHERE key='paused'", "") != 0;
    err = pm_journal_restart(c->db);
    if (!err)
        err = pm_clock_mend(c);
    err = pm_db_end(c->db, err ? err : pm_draft_restart(c->db));
    if (want > ACTIVE_MAX)
        want = ACTIVE_MAX;
    for (size_t i = 0; i < want && !err; i++) {
        err = pm_thread_start(&q->threads[i], "pm-queue", worker, c);
        q->nthreads += !err;
    }
    return err;
}

void pm_queue_stop(struct pm_cache *c)
{
    if (!c->queue)
        return;
    pm_queue_kick(c);
    for (size_t i = 0; i < c->queue->nthreads; i++)
        pthread_join(c->queue->threads[i], NULL);
    c->queue->nthreads = 0;
    wake_waiting(c, 0, true);
}

void pm_queue_close(struct pm_cache *c)
{
    if (!c->queue)
        return;
    pthread_cond_destroy(&c->queue->work);
    pthread_mutex_destroy(&c->queue->lock);
    free(c->queue);
    c->queue = NULL;
}
