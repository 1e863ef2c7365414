#include "backends/rate.h"

#include "backends/http.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define POLL_MS 50

/* A moment, by both clocks. */
struct moment {
    unsigned boot; /* of which start of the machine; 0: not known */
    int64_t  boot_ms; /* since then, with the time asleep */
    int64_t  wall_ms;
};

/* Calls are written down before they are made, some at a time: a batch. All of a batch were begun
 * before the next one was written down, and ended soon after that. */
struct batch {
    struct moment at; /* when it was written down */
    unsigned      calls;
};

#define BATCHES   128 /* more than fit into a window */
#define HOLD_MAX_MS (24 * 3600 * INT64_C(1000)) /* as http_table.c */
#define ENDING_MS 60000 /* a call under way when the process ended has reached the service by then */

struct window {
    int64_t     *ended; /* lock; a ring of `calls` times by pm_now_ms(), oldest first at `first` */
    unsigned     first; /* lock */
    unsigned     count; /* lock; in the ring */
    unsigned     running; /* lock */
    unsigned     paid; /* lock; written down and not used */
    unsigned     batch; /* lock; counts them */
    int64_t      hold_until_ms; /* lock; pm_now_ms(); the service wants none before */
    unsigned     others; /* lock; calls that the service counts and that are not known here … */
    int64_t      others_until_ms; /* lock; … pm_now_ms(); it does so no longer then, at the latest */
    bool         unsure; /* lock; it had none left, and may have some now: one call finds out */
    struct batch batches[BATCHES]; /* lock; oldest first */
    size_t       nbatches; /* lock */
    bool         loaded; /* lock */
};

struct pm_rate {
    pthread_mutex_t            lock; /* not held while waiting; the backend's store is called under it */
    const struct pm_rate_rule *rules; /* immutable */
    size_t                     count; /* immutable */
    unsigned                   boot; /* immutable */
    struct window              windows[]; /* lock */
};

/* --- time */

static unsigned read_boot(void)
{
    FILE    *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    unsigned boot = 0;

    if (f && fscanf(f, "%8x", &boot) != 1)
        boot = 0;
    if (f)
        fclose(f);
    return boot;
}

static struct moment now_is(const struct pm_rate *r)
{
    struct timespec t = {0};

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (struct moment){r->boot, (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000, pm_wall_ms()};
}

/* Never negative: what is yet to come by the time of day was just now. */
static int64_t ms_since(const struct moment *then, const struct moment *now)
{
    bool    same = then->boot && then->boot == now->boot;
    int64_t ms;

    if (__builtin_sub_overflow(same ? now->boot_ms : now->wall_ms,
                               same ? then->boot_ms : then->wall_ms, &ms))
        return 0;
    return ms > 0 ? ms : 0;
}

struct pm_rate *pm_rate_new(const struct pm_rate_rule *rules, size_t count)
{
    struct pm_rate *r = calloc(1, sizeof(*r) + count * sizeof(r->windows[0]));

    if (!r)
        return NULL;
    pthread_mutex_init(&r->lock, NULL);
    r->rules = rules;
    r->boot = read_boot();
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

/* --- written down: "BOOT BOOT-MS WALL-MS CALLS" for each batch; with CALLS 0 there is a hold from then
 * on, and how many milliseconds it lasts follows */

static void take_batch_locked(struct pm_rate *r, struct window *w, const struct batch *batch,
                              int64_t hold_ms, int64_t most_ms)
{
    struct moment now = now_is(r);
    int64_t       left;

    if (batch->calls) {
        if (w->nbatches < BATCHES)
            w->batches[w->nbatches++] = *batch;
        return;
    }
    if (hold_ms <= 0)
        return;
    left = (hold_ms < most_ms ? hold_ms : most_ms) - ms_since(&batch->at, &now);
    if (left > 0)
        w->hold_until_ms = pm_now_ms() + left;
}

static void load_locked(struct pm_rate *r, struct window *w, const struct pm_rate_rule *rule,
                        struct pm_backend *b)
{
    PM_AUTO(free) char *text = pm_backend_recall(b, rule->key);
    const char         *at = text;
    struct batch        batch;
    int                 len;

    w->loaded = true;
    while (at && sscanf(at, "%x %" SCNd64 " %" SCNd64 " %u%n", &batch.at.boot, &batch.at.boot_ms,
                        &batch.at.wall_ms, &batch.calls, &len) == 4) {
        int64_t hold_ms = 0;
        int     more = 0;

        at += len;
        if (!batch.calls && sscanf(at, "%" SCNd64 "%n", &hold_ms, &more) == 1)
            at += more;
        take_batch_locked(r, w, &batch, hold_ms, HOLD_MAX_MS);
    }
    for (size_t i = 0; i < w->nbatches; i++) {
        struct moment now = now_is(r);
        int64_t       age = i + 1 < w->nbatches ? ms_since(&w->batches[i + 1].at, &now) - ENDING_MS : 0;

        for (unsigned n = 0; n < w->batches[i].calls && n < rule->calls; n++)
            add_locked(w, rule, pm_now_ms() - (age > 0 ? age : 0));
    }
}

static void drop_old_batches_locked(struct pm_rate *r, struct window *w, int64_t window_ms)
{
    struct moment now = now_is(r);
    size_t        old = 0;

    while (old + 1 < w->nbatches && ms_since(&w->batches[old + 1].at, &now) > ENDING_MS + window_ms)
        old++;
    if (w->nbatches == BATCHES && !old) { /* the clock jumped: the two oldest become one */
        w->batches[1].calls += w->batches[0].calls;
        old = 1;
    }
    w->nbatches -= old;
    memmove(w->batches, w->batches + old, w->nbatches * sizeof(w->batches[0]));
}

static int write_down_locked(struct pm_rate *r, struct window *w, const struct pm_rate_rule *rule,
                             struct pm_backend *b)
{
    PM_AUTO(pm_buf) struct pm_buf text = {0};
    struct moment                 now = now_is(r);
    int64_t                       hold_ms = w->hold_until_ms - pm_now_ms();

    for (size_t i = 0; i < w->nbatches; i++)
        pm_buf_printf(&text, "%x %" PRId64 " %" PRId64 " %u ", w->batches[i].at.boot,
                      w->batches[i].at.boot_ms, w->batches[i].at.wall_ms, w->batches[i].calls);
    if (hold_ms > 0)
        pm_buf_printf(&text, "%x %" PRId64 " %" PRId64 " 0 %" PRId64, now.boot, now.boot_ms,
                      now.wall_ms, hold_ms);
    return text.failed ? -ENOMEM : pm_backend_learn_surely(b, rule->key, text.ptr ? text.ptr : "");
}

static int pay_locked(struct pm_rate *r, struct window *w, const struct pm_rate_rule *rule,
                      struct pm_backend *b)
{
    unsigned calls = rule->calls / 100 + 1;
    int      err;

    drop_old_batches_locked(r, w, rule->window_ms);
    w->batches[w->nbatches++] = (struct batch){now_is(r), calls};
    err = write_down_locked(r, w, rule, b);
    if (err) {
        w->nbatches--;
        return err;
    }
    w->paid = calls;
    w->batch++;
    return 0;
}

/* --- asking */

static void forget_others_locked(struct window *w, int64_t now)
{
    if (now >= w->others_until_ms) {
        w->others = 0;
        w->unsure = false;
    } else if (w->unsure && w->hold_until_ms && now >= w->hold_until_ms) {
        w->others = 0; /* it has one again, or all that others used */
    }
}

static unsigned left_locked(struct pm_rate *r, struct pm_backend *b, size_t which,
                            int64_t *wait_ms)
{
    const struct pm_rate_rule *rule = &r->rules[which];
    struct window             *w = &r->windows[which];
    unsigned                   used;
    int64_t                    now;

    if (!w->loaded)
        load_locked(r, w, rule, b);
    now = pm_now_ms();
    forget_old_locked(w, rule, now);
    forget_others_locked(w, now);
    *wait_ms = w->count ? w->ended[w->first] + rule->window_ms + 1 - now : POLL_MS;
    if (w->others && (!w->count || w->others_until_ms - now < *wait_ms))
        *wait_ms = w->others_until_ms - now;
    if (w->hold_until_ms > now) {
        *wait_ms = w->hold_until_ms - now;
        return 0;
    }
    used = w->count + w->running + w->others;
    if (w->unsure && used < rule->calls)
        return w->running ? 0 : 1;
    return used < rule->calls ? rule->calls - used : 0;
}

unsigned pm_rate_left(struct pm_rate *r, struct pm_backend *b, size_t which, int64_t *wait_ms)
{
    int64_t ignored;

    PM_GUARD(&r->lock);
    return left_locked(r, b, which, wait_ms ? wait_ms : &ignored);
}

void pm_rate_each(struct pm_rate *r, struct pm_backend *b, pm_limit_fn *each, void *arg)
{
    char what[64];

    for (size_t i = 0; i < r->count; i++) {
        int64_t wait_ms;

        if (pm_rate_left(r, b, i, &wait_ms))
            continue;
        snprintf(what, sizeof(what), "%u %s", r->rules[i].calls, r->rules[i].name);
        each(arg, what, pm_wall_ms() + wait_ms);
    }
}

/* 0: counted. -EBUSY: not before *wait_ms. */
static int try_begin(struct pm_rate *r, struct pm_backend *b, unsigned keep, struct pm_rate_call *call,
                     int64_t *wait_ms)
{
    struct window *w = &r->windows[call->which];
    int            err = 0;

    PM_GUARD(&r->lock);
    if (left_locked(r, b, call->which, wait_ms) <= (w->unsure ? 0 : keep)) {
        *wait_ms = *wait_ms > 0 ? *wait_ms : 1;
        return -EBUSY;
    }
    if (!w->paid)
        err = pay_locked(r, w, &r->rules[call->which], b);
    if (err)
        return err;
    w->paid--;
    w->running++;
    call->batch = w->batch;
    return 0;
}

static bool may_wait(const struct pm_backend *b, const struct pm_ctx *ctx, int64_t ms)
{
    if (ctx->prio == PM_BACKGROUND)
        return ms <= 1000;
    if (ctx->deadline_ms)
        return pm_now_ms() + ms < ctx->deadline_ms;
    return b->net && ms < pm_net_conf(b->net)->op_timeout_ms;
}

static void tell_limit(const struct pm_rate_rule *rule, int64_t wait_ms, char *out, size_t size)
{
    char when[PM_CLOCK_MAX];

    pm_clock_text(pm_wall_ms() + wait_ms, when);
    snprintf(out, size, "the service's limit of %u %s is used up until %s", rule->calls, rule->name, when);
}

int pm_rate_begin(struct pm_rate *r, struct pm_backend *b, struct pm_ctx *ctx, size_t which,
                  unsigned keep, struct pm_rate_call *call)
{
    int64_t wait_ms;
    int     err;

    call->which = which;
    while ((err = try_begin(r, b, ctx->prio == PM_INTERACTIVE ? 0 : keep, call, &wait_ms)) == -EBUSY) {
        if (!may_wait(b, ctx, wait_ms)) {
            ctx->retry_ms = wait_ms;
            tell_limit(&r->rules[which], wait_ms, ctx->why, sizeof(ctx->why));
            return -EBUSY;
        }
        if (pm_http_wait(b->net, ctx, wait_ms < POLL_MS ? wait_ms : POLL_MS))
            return -ECANCELED;
    }
    if (err)
        snprintf(ctx->why, sizeof(ctx->why), "what is used of the service's limits cannot be kept: %s",
                 strerror(-err));
    return err;
}

void pm_rate_end(struct pm_rate *r, const struct pm_rate_call *call, bool sent)
{
    struct window *w = &r->windows[call->which];

    PM_GUARD(&r->lock);
    w->running--;
    if (!sent && call->batch == w->batch) /* of an older one a later call would count as long ended */
        w->paid++;
    else
        add_locked(w, &r->rules[call->which], pm_now_ms());
}

void pm_rate_correct(struct pm_rate *r, const struct pm_rate_call *call, uint64_t left)
{
    const struct pm_rate_rule *rule = &r->rules[call->which];
    struct window             *w = &r->windows[call->which];
    uint64_t                   used = left < rule->calls ? rule->calls - left : 0;
    int64_t                    now = pm_now_ms();

    PM_GUARD(&r->lock);
    forget_old_locked(w, rule, now);
    /* Of those under way it may have counted none but this one. */
    w->others = used > w->count + 1 ? (unsigned)used - w->count - 1 : 0;
    w->others_until_ms = now + rule->window_ms;
    w->unsure = !left;
}

int64_t pm_rate_hold(struct pm_rate *r, struct pm_backend *b, size_t which, int64_t ms)
{
    struct window *w = &r->windows[which];
    int64_t        now = pm_now_ms();

    if (!ms)
        ms = r->rules[which].window_ms;
    ms = ms < HOLD_MAX_MS ? ms : HOLD_MAX_MS;
    PM_GUARD(&r->lock);
    if (now + ms > w->hold_until_ms) {
        w->hold_until_ms = now + ms;
        if (write_down_locked(r, w, &r->rules[which], b))
            pm_log(PM_WARN, "%s: how long it asked to wait cannot be kept for the next start",
                   b->conf->name);
    }
    return w->hold_until_ms - now;
}
