/* What an object has that a copy of it has not: who it is shared with, and what was made on it. */
#include "backends/smartshape_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define WITH_LIST_MS 2000 /* asked beside a list, which must not wait for it for long */

/* --- what is shared */

struct shares {
    struct pm_ss_id *id; /* owned */
    size_t           n, cap;
};

static int add_share(struct shares *s, const char *id)
{
    if (s->n == s->cap) {
        size_t           cap = s->cap ? 2 * s->cap : 16;
        struct pm_ss_id *more = reallocarray(s->id, cap, sizeof(*more));

        if (!more)
            return -ENOMEM;
        s->id = more;
        s->cap = cap;
    }
    snprintf(s->id[s->n++].text, sizeof(s->id->text), "%s", id);
    return 0;
}

/* Is it shared itself, and not only through a folder above it? */
static bool is_own_share(const struct cJSON *obj)
{
    const char         *token = pm_json_text(obj, "shareToken");
    const struct cJSON *people = pm_json_get(obj, "privateShares");
    const struct cJSON *one = pm_json_first(people);
    bool                own = !one || (token && *token);

    for (; one && !own; one = pm_json_next(one))
        own = !pm_json_bool(one, "sharedFromAncestor", false);
    return own;
}

static int on_share(void *arg, const char *text, size_t len)
{
    struct cJSON *obj = pm_json_parse(text, len);
    char          id[PM_SS_ID_MAX];
    int           err = obj ? 0 : -EIO;

    if (!err && pm_json_id(obj, id, sizeof(id)) && is_own_share(obj))
        err = add_share(arg, id);
    pm_json_free(obj);
    return err;
}

/* GET /file/shared-out/ (api/smartshape.txt, "List files and directories shared with other users").
 * A service without that call shares nothing. */
static int fetch_shares(struct pm_smartshape *ss, struct pm_ctx *ctx)
{
    struct shares    all = {0};
    struct pm_ss_id *old = NULL;
    int64_t          asked_ms = pm_now_ms();
    int              err = pm_ss_elements(ss, ctx, "/file/shared-out/", on_share, &all);

    if (err == -ENOENT || err == -EOPNOTSUPP) {
        all.n = 0;
        err = 0;
    }
    if (!err) {
        PM_GUARD(&ss->lock);
        if (asked_ms >= ss->shared_ms) { /* else somebody knows something newer */
            old = ss->shared;
            ss->shared = all.id;
            ss->nshared = all.n;
            ss->shared_ms = asked_ms;
            all.id = NULL;
        }
    }
    free(old);
    free(all.id);
    return err;
}

void pm_ss_shares_with_list(struct pm_smartshape *ss, const struct pm_ctx *ctx)
{
    struct pm_ctx own = {.deadline_ms = pm_now_ms() + WITH_LIST_MS, .cancel = ctx->cancel,
                         .prio = PM_INTERACTIVE};
    int           err;

    if (ctx->deadline_ms && ctx->deadline_ms < own.deadline_ms)
        own.deadline_ms = ctx->deadline_ms;
    err = fetch_shares(ss, &own);
    if (err)
        pm_log(PM_INFO, "what is shared is not known now: %s", *own.why ? own.why : strerror(-err));
}

int pm_ss_shared(struct pm_backend *b, int (*each)(void *arg, const char *id), void *arg)
{
    struct pm_smartshape   *ss = pm_ss(b);
    PM_AUTO(free) struct pm_ss_id *copy = NULL;
    size_t                  n;
    int                     err = 0;

    pthread_mutex_lock(&ss->lock);
    n = ss->nshared;
    if (n)
        copy = calloc(n, sizeof(*copy));
    if (copy)
        memcpy(copy, ss->shared, n * sizeof(*copy));
    pthread_mutex_unlock(&ss->lock);
    if (n && !copy)
        return -ENOMEM;
    for (size_t i = 0; i < n && !err; i++)
        err = each(arg, copy[i].text);
    return err;
}

static int is_this(void *arg, const char *id)
{
    return strcmp(arg, id) ? 0 : -EPERM;
}

static int check_shares(struct pm_smartshape *ss, struct pm_ctx *ctx, const char *id,
                        int64_t since_ms)
{
    struct cJSON *body = NULL;
    const char   *token;
    int64_t       known;
    int           err;

    pthread_mutex_lock(&ss->lock);
    known = ss->shared_ms;
    pthread_mutex_unlock(&ss->lock);
    err = known && known >= since_ms ? 0 : fetch_shares(ss, ctx);
    if (!err)
        err = pm_ss_shared(&ss->base, is_this, (void *)(uintptr_t)id);
    if (!err)
        err = pm_ss_details(ss, ctx, id, &body);
    if (!err) {
        token = pm_json_text(pm_ss_object(body), "shareToken");
        err = token && *token ? -EPERM : 0;
    }
    pm_json_free(body);
    if (err == -EPERM)
        snprintf(ctx->why, sizeof(ctx->why),
                 "it is shared: under a new name the service would end its shares");
    return err;
}

/* --- what was made on it */

static int stop_at_first(void *arg, const char *text, size_t len)
{
    struct cJSON *obj = pm_json_parse(text, len);

    *(bool *)arg = pm_json_is_object(obj);
    pm_json_free(obj);
    return *(bool *)arg ? -ECANCELED : -EIO;
}

/* GET /file/configuration/:file, /file/behavior/:file/, /file/trigger/:file/ */
static int check_documents(struct pm_smartshape *ss, struct pm_ctx *ctx, const char *id)
{
    static const char *const kinds[][2] = {
        {"configuration", ""}, {"behavior", "/"}, {"trigger", "/"}};
    int err = 0;

    for (size_t i = 0; i < PM_COUNT(kinds) && !err; i++) {
        PM_AUTO(pm_buf) struct pm_buf url = {0};
        bool                          any = false;

        pm_buf_printf(&url, "/file/%s/", kinds[i][0]);
        pm_buf_urlenc(&url, id);
        pm_buf_str(&url, kinds[i][1]);
        if (url.failed)
            return -ENOMEM;
        err = pm_ss_elements(ss, ctx, url.ptr, stop_at_first, &any);
        if (any) {
            snprintf(ctx->why, sizeof(ctx->why),
                     "it has a %s, which the service would lose under a new name", kinds[i][0]);
            return -EPERM;
        }
        if (err == -ENOENT || err == -EOPNOTSUPP)
            err = 0; /* none */
    }
    return err;
}

int pm_ss_check_move(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                     int64_t since_ms)
{
    int err = *e->id ? check_shares(pm_ss(b), ctx, e->id, since_ms) : 0;

    if (!err && *e->id && e->kind == PM_FILE)
        err = check_documents(pm_ss(b), ctx, e->id);
    return err;
}
