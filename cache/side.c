#include "cache/side.h"

#include "backends/util.h"

#include <errno.h>
#include <string.h>

#define THREADS_MAX 8

struct side {
    pm_side_fn     *each; /* all immutable but what the lock is for */
    void           *arg;
    size_t          n;
    pthread_mutex_t lock; /* leaf */
    struct pm_ctx  *ctx; /* lock; what it says when all is over */
    size_t          next; /* lock */
    int             err; /* lock */
};

static void note_locked(struct side *s, int err, const struct pm_ctx *ctx)
{
    if (!err || (s->err && s->err != -EAGAIN) || (s->err && err == -EAGAIN))
        return;
    s->err = err;
    memcpy(s->ctx->why, ctx->why, sizeof(ctx->why));
    s->ctx->retry_ms = ctx->retry_ms;
}

static void *work(void *arg)
{
    struct side  *s = arg;
    struct pm_ctx ctx;

    pthread_mutex_lock(&s->lock);
    while (s->next < s->n && (!s->err || s->err == -EAGAIN)) {
        size_t i = s->next++;
        int    err;

        ctx = *s->ctx;
        ctx.why[0] = 0;
        pthread_mutex_unlock(&s->lock);
        err = s->each(s->arg, &ctx, i);
        pthread_mutex_lock(&s->lock);
        note_locked(s, err, &ctx);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

int pm_side_by_side(struct pm_ctx *ctx, size_t n, unsigned threads, pm_side_fn *each, void *arg)
{
    struct side s = {.each = each, .arg = arg, .n = n, .ctx = ctx};
    pthread_t   thread[THREADS_MAX];
    size_t      started = 0;

    pthread_mutex_init(&s.lock, NULL);
    while (started + 1 < threads && started + 1 < n && started < THREADS_MAX &&
           !pm_thread_start(&thread[started], "pm-side", work, &s))
        started++;
    work(&s); /* this one, too, and alone where no thread can be had */
    for (size_t i = 0; i < started; i++)
        pthread_join(thread[i], NULL);
    pthread_mutex_destroy(&s.lock);
    return s.err;
}
