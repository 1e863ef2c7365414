#include "backends/rate.h"

#include "backends/http.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define POLL_MS 50

/* Calls are written down before they are made, some at a time: a batch. All of a batch were begun
 * before the next one was written down, and ended soon after that. */
struct batch {
    int64_t  wall_ms; /* when it was written down */
    unsigned calls;
};

#define BATCHES   128 /* more than fit into a window */
#define ENDING_MS 60000 /* a call under way when the process ended has reached the service by then */

struct window {
    int64_t     *ended; /* lock; a ring of `calls` times by pm_now_ms(), oldest first at `first` */
    unsigned     first; /* lock */
    unsigned     count; /* lock; in the ring */
    unsigned     running; /* lock */
    unsigned     paid; /* lock; written down and not used */
    struct batch batches[BATCHES]; /* lock; oldest first */
    size_t       nbatches; /* lock */
    bool         loaded; /* lock */
};

struct pm_rate {
    pthread_mutex_t            lock; /* not held while waiting; the backend's store is called under it */
    const struct pm_rate_rule *rules; /* immutable */
    size_t                     count; /* immutable */
    struct window              windows[]; /* lock */
};

struct pm_rate *pm_rate_new(const struct pm_rate_rule *rules, size_t count)
{
    struct pm_rate *r = calloc(1, sizeof(*r) + count * sizeof(r->windows[0]));

    if (!r)
        return NULL;
    pthread_mutex_init(&r->lock, NULL);
    r->rules = rules;
    r->count = count;
    for (size_t i = 0; i < count; i++) {
        r->windows[i].ended = calloc(rules[i].calls, sizeof(int64_t));
        if (!r->windows[i].ended) {
            pm_rate_free(r);
            return NULL;
        }
    }
    return r;
}

void pm_rate_free(struct pm_rate *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->count; i++)
        free(r->windows[i].ended);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* --- one window */

static void forget_old_locked(struct window *w, const struct pm_rate_rule *rule, int64_t now)
{
    while (w->count && w->ended[w->first] + rule->window_ms < now) {
        w->first = (w->first + 1) % rule->calls;
        w->count--;
    }
}

static void add_locked(struct window *w, const struct pm_rate_rule *rule, int64_t when)
{
    if (w->count == rule->calls) {
        w->first = (w->first + 1) % rule->calls;
        w->count--;
    }
    w->ended[(w->first + w->count) % rule->calls] = when;
    w->count++;
}

/* --- written down: "WALL-MS CALLS" for each batch */

static void load_locked(struct window *w, const struct pm_rate_rule *rule, struct pm_backend *b)
{
    PM_AUTO(free) char *text = pm_backend_recall(b, rule->key);
    const char         *at = text;
    struct batch        batch;
    int                 len;

    w->loaded = true;
    while (at && w->nbatches < BATCHES &&
           sscanf(at, "%" SCNd64 " %u%n", &batch.wall_ms, &batch.calls, &len) == 2) {
        w->batches[w->nbatches++] = batch;
        at += len;
    }
    for (size_t i = 0; i < w->nbatches; i++) {
        int64_t now = pm_wall_ms();
        int64_t age = i + 1 < w->nbatches ? now - w->batches[i + 1].wall_ms - ENDING_MS : 0;

        for (unsigned n = 0; n < w->batches[i].calls && n < rule->calls; n++)
            add_locked(w, rule, pm_now_ms() - (age > 0 ? age : 0));
    }
}

static void drop_old_batches_locked(struct window *w, int64_t window_ms)
{
    int64_t now = pm_wall_ms();
    size_t  old = 0;

    while (old + 1 < w->nbatches && w->batches[old + 1].wall_ms + ENDING_MS + window_ms < now)
        old++;
    if (w->nbatches == BATCHES && !old) { /* the clock jumped: the two oldest become one */
        w->batches[1].calls += w->batches[0].calls;
        old = 1;
    }
    w->nbatches -= old;
    memmove(w->batches, w->batches + old, w->nbatches * sizeof(w->batches[0]));
}

static void pay_locked(struct window *w, const struct pm_rate_rule *rule, struct pm_backend *b)
{
    PM_AUTO(pm_buf) struct pm_buf text = {0};

    drop_old_batches_locked(w, rule->window_ms);
    w->paid = rule->calls / 100 + 1;
    w->batches[w->nbatches++] = (struct batch){pm_wall_ms(), w->paid};
    for (size_t i = 0; i < w->nbatches; i++)
        pm_buf_printf(&text, "%" PRId64 " %u ", w->batches[i].wall_ms, w->batches[i].calls);
    if (!text.failed)
        pm_backend_learn(b, rule->key, text.ptr);
}

/* --- asking */

static unsigned left_locked(struct pm_rate *r, struct pm_backend *b, size_t which,
                            int64_t *wait_ms)
{
    const struct pm_rate_rule *rule = &r->rules[which];
    struct window             *w = &r->windows[which];
    int64_t                    now = pm_now_ms();

    if (!w->loaded)
        load_locked(w, rule, b);
    forget_old_locked(w, rule, now);
    *wait_ms = w->count ? w->ended[w->first] + rule->window_ms + 1 - now : POLL_MS;
    return w->count + w->running < rule->calls ? rule->calls - w->count - w->running : 0;
}

unsigned pm_rate_left(struct pm_rate *r, struct pm_backend *b, size_t which, int64_t *wait_ms)
{
    int64_t ignored;

    PM_GUARD(&r->lock);
    return left_locked(r, b, which, wait_ms ? wait_ms : &ignored);
}

/* 0: counted; else how long to wait. */
static int64_t try_begin(struct pm_rate *r, struct pm_backend *b, size_t which, unsigned keep)
{
    struct window *w = &r->windows[which];
    int64_t        wait_ms;

    PM_GUARD(&r->lock);
    if (left_locked(r, b, which, &wait_ms) <= keep)
        return wait_ms > 0 ? wait_ms : 1;
    if (!w->paid)
        pay_locked(w, &r->rules[which], b);
    w->paid--;
    w->running++;
    return 0;
}

static bool may_wait(const struct pm_ctx *ctx, int64_t ms)
{
    if (ctx->prio == PM_BACKGROUND)
        return ms <= 1000;
    return ctx->deadline_ms && pm_now_ms() + ms < ctx->deadline_ms;
}

int pm_rate_begin(struct pm_rate *r, struct pm_backend *b, struct pm_ctx *ctx, size_t which,
                  unsigned keep)
{
    for (;;) {
        int64_t wait_ms = try_begin(r, b, which, ctx->prio == PM_INTERACTIVE ? 0 : keep);

        if (!wait_ms)
            return 0;
        if (!may_wait(ctx, wait_ms)) {
            ctx->retry_ms = wait_ms;
            snprintf(ctx->why, sizeof(ctx->why), "the service's limit of %s: again in %lld s",
                     r->rules[which].name, (long long)(wait_ms + 999) / 1000);
            return -EBUSY;
        }
        if (pm_http_wait(b->net, ctx, wait_ms < POLL_MS ? wait_ms : POLL_MS))
            return -ECANCELED;
    }
}

void pm_rate_end(struct pm_rate *r, size_t which)
{
    struct window *w = &r->windows[which];

    PM_GUARD(&r->lock);
    w->running--;
    add_locked(w, &r->rules[which], pm_now_ms());
}
