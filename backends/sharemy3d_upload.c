/* Sending the content of a model or background to the storage, and taking its word that it is there. */
#include "backends/sharemy3d_impl.h"

#include "backends/resumable.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CHUNK    ((uint64_t)8 << 20) /* on a line that breaks */
#define NOTICE_MS 3000 /* so long one call waits for the service to notice what the storage has */
#define AGAIN_MS  1000
#define GONE_MS   5000 /* what was just made, and is said not to be, is there after all for so long */

static int get_status(struct pm_sharemy3d *sm, struct pm_ctx *ctx, const struct pm_upload *up,
                      const char *id, struct cJSON **obj, char status[32])
{
    int err = pm_sm_get(sm, ctx, pm_sm_upload_kind(up), id, "info", obj);

    *status = '\0';
    if (!err)
        pm_json_scalar(*obj, "status", status, 32);
    return err;
}

/* Has the service the content, by its own word? 1, 0 or -errno. */
static int is_noticed(struct pm_sharemy3d *sm, struct pm_ctx *ctx, const struct pm_upload *up,
                      const char *id)
{
    struct cJSON *obj = NULL;
    char          status[32];
    int           err = get_status(sm, ctx, up, id, &obj, status);

    pm_json_free(obj);
    return err ? err : !strcmp(status, "PROCESSING") || !strcmp(status, "ACTIVE");
}

static void take_complete(struct pm_sm_try *t, const struct pm_resumable *r)
{
    t->whole = true;
    snprintf(t->digest, sizeof(t->digest), "%s", r->digest);
}

/* --- what an earlier try left */

/* What will never be whole is deleted: its id is ours for certain. */
static int bury(struct pm_sharemy3d *sm, struct pm_ctx *ctx, struct pm_upload *up, struct pm_sm_try *t)
{
    int err = pm_sm_delete(sm, ctx, pm_sm_upload_kind(up), t->id);

    if (err && err != -ENOENT && err != -EINVAL) /* refused: it stays, and does no harm */
        return err;
    free(t->url);
    *t = (struct pm_sm_try){.posted = t->posted, .since = t->since, .until = t->until, .lost = t->lost,
                            .bound = t->bound, .ids = t->ids};
    err = pm_sm_try_save(up, t);
    return err ? err : -ESTALE;
}

/* Of the session. -ESTALE: it is dead. */
static int ask_session(struct pm_sharemy3d *sm, struct pm_ctx *ctx, struct pm_upload *up,
                       struct pm_sm_try *t, uint64_t *off)
{
    struct pm_resumable r = {0};
    int                 err = pm_resumable_ask(sm->base.net, ctx, t->url, up->size, &r);

    if (err == -EBADMSG) { /* another content went there: whatever the service says of it, it is not ours */
        t->dead = true;
        return pm_sm_try_keep(up, t);
    }
    if (err)
        return err;
    if (r.complete)
        take_complete(t, &r);
    if (!r.complete && t->from && r.held < t->from)
        t->chunk = CHUNK; /* nothing was kept of a long PUT that broke */
    t->from = 0;
    *off = r.held;
    return 0;
}

int pm_sm_resume(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, uint64_t *off)
{
    PM_AUTO(pm_sm_try) struct pm_sm_try t = {0};
    struct pm_sharemy3d *sm = pm_sm(b);
    int                  err = pm_sm_try_load(up, &t);

    *off = 0;
    if (err)
        return err;
    if (!*t.id)
        return -ESTALE;
    if (t.dead)
        return bury(sm, ctx, up, &t);
    if (!t.whole && t.way == PM_SM_SESSION)
        err = ask_session(sm, ctx, up, &t, off);
    if (!err && t.dead)
        return bury(sm, ctx, up, &t);
    if (!t.whole && (err == -ESTALE || t.way != PM_SM_SESSION)) { /* it may be over since it is done */
        int noticed = is_noticed(sm, ctx, up, t.id);

        t.whole = noticed > 0;
        if (noticed == -ENOENT || (!noticed && err == -ESTALE))
            return bury(sm, ctx, up, &t);
        err = noticed < 0 ? noticed : 0;
    }
    if (err)
        return err;
    if (t.whole)
        *off = up->size;
    return pm_sm_try_save(up, &t);
}

/* --- sending */

static int open_session(struct pm_sharemy3d *sm, struct pm_ctx *ctx, struct pm_upload *up,
                        struct pm_sm_try *t)
{
    char *session = NULL;
    int   err = pm_resumable_start(sm->base.net, ctx, t->url, &session);

    if (err == -ESTALE && !t->turned) { /* it does not say what it is for */
        t->way = PM_SM_WHOLE;
        t->turned = true;
        return 0;
    }
    if (err)
        return err;
    free(t->url);
    t->url = session;
    t->way = PM_SM_SESSION;
    return pm_sm_try_keep(up, t);
}

static int put_session(struct pm_sharemy3d *sm, struct pm_ctx *ctx, struct pm_upload *up,
                       struct pm_sm_try *t, uint64_t off, struct pm_resumable *r)
{
    int err = 0;

    if (!t->chunk && up->size - off > CHUNK) {
        t->from = off + 1;
        err = pm_sm_try_keep(up, t);
    }
    return err ? err : pm_resumable_put(sm->base.net, ctx, t->url, up, off, t->chunk, r);
}

int pm_sm_put(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, uint64_t *off)
{
    PM_AUTO(pm_sm_try) struct pm_sm_try t = {0};
    struct pm_sharemy3d *sm = pm_sm(b);
    struct pm_resumable  r = {0};
    int                  err = pm_sm_try_load(up, &t);
    int                  saved;

    if (err)
        return err;
    if (t.whole) {
        *off = up->size;
        return 0;
    }
    if (!*t.id || t.dead)
        return -EAGAIN;
    if (t.way == PM_SM_START)
        err = open_session(sm, ctx, up, &t);
    if (!err && t.way == PM_SM_WHOLE)
        err = pm_resumable_put_whole(sm->base.net, ctx, t.url, up, &r);
    else if (!err)
        err = put_session(sm, ctx, up, &t, *off, &r);
    if (err == -ESTALE && t.way == PM_SM_WHOLE && !t.turned && pm_sm_asked_session(up)) {
        t.way = PM_SM_START;
        t.turned = true;
        err = -EAGAIN;
    } else if (err == -ESTALE || err == -EBADMSG) { /* resume makes another */
        t.dead = true;
        err = -EAGAIN;
    }
    if (!err && r.complete)
        take_complete(&t, &r);
    if (!err)
        t.from = 0;
    saved = pm_sm_try_save(up, &t);
    if (err || saved)
        return err ? err : saved;
    *off = t.whole ? up->size : r.held;
    return 0;
}

/* --- the service's own word */

/* Was it cut since it was sent? Reading it to the end would fail, each time. */
static bool is_shorter(const struct pm_upload *up)
{
    struct stat st;

    return !fstat(up->fd, &st) && (uint64_t)st.st_size < up->size;
}

/* The storage's digest, compared with our bytes once. -EAGAIN: it has others. */
static int compare(struct pm_ctx *ctx, struct pm_upload *up, struct pm_sm_try *t)
{
    int same = !*t->digest      ? 1
               : is_shorter(up) ? 0
                                : pm_digest_check(t->digest, up->fd, up->size, ctx->cancel);

    if (same < 0 && same != -ENOTSUP)
        return same;
    t->digest[0] = '\0';
    if (same) /* or it cannot be told */
        return pm_sm_try_save(up, t);
    snprintf(ctx->why, sizeof(ctx->why), "the storage has other bytes than were sent");
    t->dead = true;
    t->whole = false;
    same = pm_sm_try_keep(up, t);
    return same ? same : -EAGAIN;
}

/* Waits until the service sees what the storage has. *obj is owned. -EAGAIN: it is gone from there. */
static int wait_noticed(struct pm_sharemy3d *sm, struct pm_ctx *ctx, struct pm_upload *up,
                        struct pm_sm_try *t, struct cJSON **obj)
{
    int64_t until = pm_now_ms() + NOTICE_MS, gone = pm_now_ms() + GONE_MS;
    char    status[32];
    int     err = 0;

    for (int64_t pause = 100; !err; pause += pause / 2) {
        err = get_status(sm, ctx, up, t->id, obj, status);
        if (err == -ENOENT && pm_now_ms() < gone) { /* perhaps not everywhere known yet */
            err = pm_http_wait(sm->base.net, ctx, pause);
            continue;
        }
        if (err == -ENOENT) { /* somebody removed it before it was confirmed: anew */
            t->dead = true;
            t->whole = false;
            snprintf(ctx->why, sizeof(ctx->why), "it was removed there");
            err = pm_sm_try_keep(up, t);
            return err ? err : -EAGAIN;
        }
        if (err || strcmp(status, "UPLOADING") != 0)
            return err;
        pm_json_free(*obj);
        *obj = NULL;
        if (pm_now_ms() > until) {
            snprintf(ctx->why, sizeof(ctx->why), "the service has not noticed yet that it is whole");
            ctx->retry_ms = AGAIN_MS;
            return -EBUSY;
        }
        err = pm_http_wait(sm->base.net, ctx, pause);
    }
    return err;
}

/* There is a new one, confirmed: what it replaces goes, and what lost answers left. */
static int end_others(struct pm_sharemy3d *sm, struct pm_ctx *ctx, struct pm_upload *up,
                      struct pm_sm_try *t)
{
    int err = 0;

    if (*t->old && strcmp(t->old, t->id) != 0)
        err = pm_sm_delete(sm, ctx, pm_sm_upload_kind(up), t->old);
    if (err && err != -ENOENT)
        return err;
    t->old[0] = '\0';
    err = pm_sm_end_lost(sm, ctx, up, t);
    return err ? err : pm_sm_try_save(up, t);
}

int pm_sm_finish(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, struct pm_entry **out)
{
    PM_AUTO(pm_sm_try) struct pm_sm_try t = {0};
    struct pm_sharemy3d *sm = pm_sm(b);
    enum pm_sm_kind      kind = pm_sm_upload_kind(up);
    struct pm_sm_own     own = {.name = (char *)(up->draft ? up->draft : up->name),
                                .file = up->draft ? (char *)up->name : NULL,
                                .size = up->size,
                                .made_ms = pm_wall_ms()};
    struct cJSON        *obj = NULL;
    uint64_t             size = up->size;
    int                  err = pm_sm_try_load(up, &t);

    if (!err)
        err = *t.id && t.whole ? compare(ctx, up, &t) : -EAGAIN;
    if (!err)
        err = wait_noticed(sm, ctx, up, &t, &obj);
    if (!err && pm_json_u64(obj, "size", &size) && size != up->size) {
        snprintf(ctx->why, sizeof(ctx->why), "the service says that it has another size");
        err = -EIO;
    }
    if (!err)
        err = end_others(sm, ctx, up, &t);
    if (!err) /* not before: two of one name would be in uploads/ */
        err = pm_sm_own_keep(sm, kind, t.id, &own);
    if (!err) {
        pm_json_remove(obj, "class");
        if (kind == PM_SM_MODEL)
            pm_sm_learn_name(sm, t.id, up->name);
        err = pm_sm_own_entry(sm, kind, obj, t.id, up->name, out);
    }
    pm_json_free(obj);
    return err;
}

int pm_sm_abort(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up)
{
    PM_AUTO(pm_sm_try) struct pm_sm_try t = {0};
    struct pm_sharemy3d *sm = pm_sm(b);
    int                  err = pm_sm_try_load(up, &t);

    if (err)
        return err;
    if (*t.id && t.way == PM_SM_SESSION && !t.dead && !t.whole)
        err = pm_resumable_cancel(sm->base.net, ctx, t.url);
    if (err == -ECANCELED)
        return err;
    err = *t.id ? pm_sm_delete(sm, ctx, pm_sm_upload_kind(up), t.id) : 0;
    if (err && err != -ENOENT && err != -EINVAL)
        return err;
    return pm_sm_end_lost(sm, ctx, up, &t);
}
