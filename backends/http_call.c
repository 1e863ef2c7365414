/* Asking and waiting: one exchange of the loop seen from a thread that blocks, and its retries. */
#include "backends/http.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ERROR_BODY_MAX (64u << 10)
#define STREAM_MAX     (256u << 10) /* buffered before the exchange is paused */
#define TRIES          4 /* of an interactive call */

/* One try. Lives on the caller's stack until `done`. */
struct call {
    const struct pm_http_request *req; /* immutable */
    struct pm_http_answer        *answer; /* the loop's until done, then the caller's */
    pthread_mutex_t               lock; /* leaf */
    pthread_cond_t                moved; /* lock; on stream and done */
    struct pm_buf                 stream; /* lock; bytes for req->data */
    bool                          paused; /* lock; since `stream` was full */
    bool                          done; /* lock */
    int                           stop; /* lock; what req->data returned */
    bool                          streamed; /* the caller's; something went to req->data */
    struct pm_http_end            end; /* lock; with done */
    char                          why[256]; /* lock; with done */
};

void pm_http_answer_free(struct pm_http_answer *a)
{
    pm_buf_free(&a->body);
    free(a->etag);
    free(a->type);
    free(a->location);
    *a = (struct pm_http_answer){0};
}

/* --- events, on the loop's thread */

static char *dup_or_null(const char *s)
{
    return s && *s ? strdup(s) : NULL;
}

static int on_head(void *arg, const struct pm_http_head *head)
{
    struct call           *c = arg;
    struct pm_http_answer *a = c->answer;

    a->status = head->status;
    a->etag = dup_or_null(pm_http_header(head, "ETag"));
    a->type = dup_or_null(pm_http_header(head, "Content-Type"));
    a->location = dup_or_null(head->redirect);
    a->date_ms = pm_http_date_ms(pm_http_header(head, "Date"));
    a->came_ms = pm_wall_ms();
    if (c->req->head)
        c->req->head(c->req->arg, head);
    return 0;
}

static int on_data(void *arg, const void *buf, size_t len)
{
    struct call *c = arg;
    bool         good = c->answer->status / 100 == 2;

    if (!good && c->answer->body.len + len > ERROR_BODY_MAX)
        return 0; /* enough to say what is wrong */
    if (!good || !c->req->data) {
        pm_buf_add(&c->answer->body, buf, len);
        return c->answer->body.failed ? -ENOMEM : 0;
    }
    PM_GUARD(&c->lock);
    if (c->stop)
        return c->stop;
    if (c->stream.len > STREAM_MAX) {
        c->paused = true;
        return PM_HTTP_PAUSE;
    }
    pm_buf_add(&c->stream, buf, len);
    pthread_cond_signal(&c->moved);
    return c->stream.failed ? -ENOMEM : 0;
}

static int on_poll(void *arg)
{
    struct call *c = arg;

    PM_GUARD(&c->lock);
    if (c->stop)
        return c->stop;
    return c->paused ? PM_HTTP_PAUSE : 0;
}

static void on_done(void *arg, const struct pm_http_end *end)
{
    struct call *c = arg;

    PM_GUARD(&c->lock);
    c->end = *end;
    snprintf(c->why, sizeof(c->why), "%s", end->why ? end->why : "");
    c->done = true;
    pthread_cond_signal(&c->moved);
}

static const struct pm_http_events events = {on_head, on_data, on_poll, on_done};

/* --- one try */

/* Hands what has come to req->data. Entered and left with the lock held. */
static void drain_locked(struct call *c, struct pm_net *net)
{
    struct pm_buf chunk = c->stream;
    int           err;

    c->stream = (struct pm_buf){0};
    c->paused = false;
    c->streamed = true;
    pthread_mutex_unlock(&c->lock);
    pm_http_wake(net);
    err = c->stop ? c->stop : c->req->data(c->req->arg, chunk.ptr, chunk.len);
    pm_buf_free(&chunk);
    pthread_mutex_lock(&c->lock);
    if (err < 0 && !c->stop)
        c->stop = err;
}

static void try_once(struct pm_net *net, struct pm_ctx *ctx, struct call *c)
{
    pthread_mutex_init(&c->lock, NULL);
    pm_cond_init(&c->moved);
    pm_http_start(net, c->req, &events, c, ctx->cancel, ctx->deadline_ms, 0);
    pthread_mutex_lock(&c->lock);
    for (;;) {
        if (c->stream.len)
            drain_locked(c, net);
        else if (c->done)
            break;
        else
            pthread_cond_wait(&c->moved, &c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    if (c->stop)
        c->end = (struct pm_http_end){.err = c->stop, .reached = true, .status = c->end.status};
    pm_buf_free(&c->stream);
    pthread_cond_destroy(&c->moved);
    pthread_mutex_destroy(&c->lock);
}

/* --- retries */

int pm_http_wait(struct pm_net *net, const struct pm_ctx *ctx, int64_t ms)
{
    const int64_t until = pm_now_ms() + ms;

    for (int64_t now = pm_now_ms(); now < until; now = pm_now_ms()) {
        if (pm_net_closing(net) || (ctx->cancel && atomic_load(ctx->cancel)))
            return -ECANCELED;
        usleep((useconds_t)(until - now > 50 ? 50 : until - now) * 1000);
    }
    return 0;
}

/* How long it may wait for its next try. */
static int64_t time_left(struct pm_net *net, const struct pm_ctx *ctx)
{
    const int64_t most = pm_net_conf(net)->op_timeout_ms;
    int64_t       left = ctx->deadline_ms ? ctx->deadline_ms - pm_now_ms() : most;

    return left < most ? left : most;
}

/* Respects a hold: waits if this call has the time, else -EBUSY. */
static int wait_hold(struct pm_net *net, struct pm_ctx *ctx, const char *url)
{
    int64_t ms = pm_http_hold_ms(net, url);
    char    when[PM_CLOCK_MAX];

    if (ms == 0)
        return 0;
    if (ms < time_left(net, ctx) && (ctx->prio == PM_INTERACTIVE || ms <= 1000))
        return pm_http_wait(net, ctx, ms);
    ctx->retry_ms = ms;
    pm_clock_text(pm_wall_ms() + ms, when);
    snprintf(ctx->why, sizeof(ctx->why), "the service asked to wait until %s", when);
    return -EBUSY;
}

/* For requests that must not be processed twice: what is known after a failure? */
static int judge_once(const struct pm_http_end *end, int err)
{
    bool vague = end->status == 0 || end->status / 100 == 2 ||
                 (end->status >= 500 && end->status != 501 && end->status != 507);

    if (err == -ECANCELED || !end->reached || !vague)
        return err;
    return -EAGAIN;
}

/* Is another try allowed, and worth it? */
static bool may_retry(struct pm_net *net, const struct pm_ctx *ctx, const struct call *c,
                      unsigned try, int64_t pause)
{
    if (!c->end.retry || c->streamed || c->req->single || pause >= time_left(net, ctx))
        return false;
    if (c->req->once && c->end.reached)
        return false;
    return try < (ctx->prio == PM_BACKGROUND ? 2 : TRIES);
}

int pm_http_call(struct pm_net *net, struct pm_ctx *ctx, const struct pm_http_request *req,
                 struct pm_http_answer *answer)
{
    int64_t pause;
    int     err;

    ctx->retry_ms = 0;
    ctx->why[0] = '\0';
    for (unsigned try = 1;; try++) {
        struct call c = {.req = req, .answer = answer};

        err = wait_hold(net, ctx, req->url);
        if (err)
            return err;
        pm_http_answer_free(answer);
        try_once(net, ctx, &c);
        err = c.end.err;
        if (!err) {
            ctx->why[0] = '\0';
            ctx->retry_ms = 0;
            return 0;
        }
        snprintf(ctx->why, sizeof(ctx->why), "%s", c.why);
        ctx->retry_ms = c.end.retry_ms;
        pause = c.end.retry_ms ? 0 : pm_http_backoff_ms(try); /* a Retry-After is a hold */
        if (!may_retry(net, ctx, &c, try, pause))
            return req->once ? judge_once(&c.end, err) : err;
        err = pm_http_wait(net, ctx, pause);
        if (err)
            return err;
    }
}
