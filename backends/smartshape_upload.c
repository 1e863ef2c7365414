/* Uploading to SmartShape: one multipart POST, which cannot be resumed, only found again.
 *
 * The state is a small JSON object:
 *   started   ms, when begin was called
 *   sent      ms, when the last POST began; absent: none was ever begun
 *   id        the object that holds our content, once known
 *   quote     how its name was written in that POST, as in smartshape.quote below
 *   redo      the object `id` is ours but broken: the next put updates it
 *   found     the object `id` was found under its name, and may be somebody else's as well
 *
 * begin -> {started}; put -> +sent, then +id with the answer; a lost answer leaves {started, sent}
 * and -EAGAIN: resume looks in the folder (new) or at the target's version (replacement).
 *
 * A new object of our name and size that was found so is as good as ours, unless the service says that it
 * was made before we began. It is never removed or updated, but for an empty one that was made in the very
 * moment that ours was: else nothing would tell the empty file that a program makes first from
 * somebody's.
 *
 * What the documents leave open is tried, and remembered in the account's store:
 *   smartshape.param   "path" or "p", the name of the folder's parameter (they say both); never sent
 *                      together
 *   smartshape.quote   "backslash" or "percent", how `"` and `\` in a file name are written in the
 *                      multipart header; found out by the name that the service reports */
#include "backends/smartshape_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MAY_ARRIVE_MS 120000 /* after a lost answer, a part of it may still be on its way */
#define SLACK_MS      5000 /* between the clock that dates answers and the one that dates objects */

struct state {
    int64_t started;
    int64_t sent;
    char    id[PM_SS_ID_MAX];
    char    quote[16]; /* "": not known */
    bool    redo;
    bool    found;
};

static void load_state(const struct pm_upload *up, struct state *st)
{
    struct cJSON *obj = pm_json_parse(up->state, strlen(up->state));

    *st = (struct state){.started = pm_json_ms(obj, "started"), .sent = pm_json_ms(obj, "sent")};
    if (!pm_json_scalar(obj, "id", st->id, sizeof(st->id)))
        st->id[0] = '\0';
    if (!pm_json_scalar(obj, "quote", st->quote, sizeof(st->quote)))
        st->quote[0] = '\0';
    st->redo = pm_json_bool(obj, "redo", false);
    st->found = pm_json_bool(obj, "found", false);
    pm_json_free(obj);
}

static int save_state(struct pm_upload *up, const struct state *st)
{
    struct pm_buf text = {0};
    char         *state;

    pm_buf_printf(&text, "{\"started\":%" PRId64, st->started);
    if (st->sent)
        pm_buf_printf(&text, ",\"sent\":%" PRId64, st->sent);
    if (st->id[0]) {
        pm_buf_str(&text, ",\"id\":");
        pm_buf_json(&text, st->id);
    }
    if (st->quote[0]) {
        pm_buf_str(&text, ",\"quote\":");
        pm_buf_json(&text, st->quote);
    }
    if (st->redo)
        pm_buf_str(&text, ",\"redo\":true");
    pm_buf_str(&text, st->found ? ",\"found\":true}" : "}");
    state = pm_buf_take(&text);
    if (!state)
        return -ENOMEM;
    free(up->state);
    up->state = state;
    return 0;
}

int pm_ss_begin(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up)
{
    PM_AUTO(free) char *path = pm_ss_child(up->parent, up->name);
    struct state        st = {.started = pm_wall_ms()};
    int                 err = path ? pm_ss_check_path(ctx, path) : -ENOMEM;

    (void)b;
    if (!err && strpbrk(up->name, "\r\n")) {
        snprintf(ctx->why, sizeof(ctx->why), "a line break cannot be in a name there");
        err = -EINVAL;
    }
    if (!err && up->target && strcmp(up->target->name, up->name) != 0) {
        snprintf(ctx->why, sizeof(ctx->why), "a replacement must have the same name");
        err = -EINVAL;
    }
    return err ? err : save_state(up, &st);
}

/* --- resume */

static bool has_size(const struct cJSON *obj, uint64_t size)
{
    uint64_t told;

    return pm_json_u64(obj, "size", &told) && told == size;
}

static bool is_copying(const struct cJSON *obj)
{
    const char *state = pm_json_text(obj, "state");

    return state && !strcmp(state, "copying");
}

static int is_another(struct pm_ctx *ctx)
{
    snprintf(ctx->why, sizeof(ctx->why), "something else has this name there");
    return -EEXIST;
}

/* Says the service that it was made before the moment, which is one of our clock? */
static bool made_before(const struct pm_smartshape *ss, const struct pm_entry *e, int64_t ms)
{
    return e->btime_ms && ss->told_time && e->btime_ms < ms + ss->ahead_ms;
}

/* An empty object: was it made when ours must have been? */
static bool made_with_ours(const struct pm_smartshape *ss, const struct pm_entry *e,
                           const struct state *st)
{
    int64_t sent = st->sent ? st->sent : st->started; /* the daemon ended before it was kept */

    return !e->size && !made_before(ss, e, st->started - SLACK_MS) &&
           made_before(ss, e, sent + MAY_ARRIVE_MS + SLACK_MS);
}

static int may_still_arrive(struct pm_ctx *ctx)
{
    snprintf(ctx->why, sizeof(ctx->why), "an earlier try may still be arriving");
    if (ctx->retry_ms < 5000)
        ctx->retry_ms = 5000;
    return -EAGAIN;
}

static int resume_target(struct pm_smartshape *ss, struct pm_ctx *ctx, struct pm_upload *up,
                         struct state *st, uint64_t *off);
static int resume_new(struct pm_smartshape *ss, struct pm_ctx *ctx, struct pm_upload *up,
                      struct state *st, uint64_t *off);

/* The id that was told is not known there: not yet, not any more, or it never was ours. The folder's
 * list decides, or the target. */
static int resume_unknown(struct pm_smartshape *ss, struct pm_ctx *ctx, struct pm_upload *up,
                          struct state *st, uint64_t *off)
{
    bool target_gone = up->target && !strcmp(st->id, up->target->id);

    st->id[0] = '\0';
    st->redo = st->found = false;
    if (target_gone)
        return save_state(up, st);
    return up->target ? resume_target(ss, ctx, up, st, off) : resume_new(ss, ctx, up, st, off);
}

/* The id of our object is known: is it whole? */
static int resume_known(struct pm_smartshape *ss, struct pm_ctx *ctx, struct pm_upload *up,
                        struct state *st, uint64_t *off)
{
    struct cJSON *body = NULL;
    int           err = pm_ss_details(ss, ctx, st->id, &body);

    *off = 0;
    if (err == -ENOENT)
        return resume_unknown(ss, ctx, up, st, off);
    if (err)
        return err;
    if (has_size(pm_ss_object(body), up->size) && !st->redo)
        *off = up->size;
    else if (!st->found)
        st->redo = true;
    else
        err = is_another(ctx);
    pm_json_free(body);
    return err ? err : save_state(up, st);
}

/* A replacement whose answer was lost: did the target change to our size? */
static int resume_target(struct pm_smartshape *ss, struct pm_ctx *ctx, struct pm_upload *up,
                         struct state *st, uint64_t *off)
{
    const struct cJSON *obj;
    struct cJSON       *body = NULL;
    int                 err = pm_ss_details(ss, ctx, up->target->id, &body);

    if (err)
        return err;
    obj = pm_ss_object(body);
    *off = 0;
    if (has_size(obj, up->size) && !pm_ss_same_version(obj, up->target->version)) {
        snprintf(st->id, sizeof(st->id), "%s", up->target->id);
        *off = up->size;
    }
    pm_json_free(body);
    return save_state(up, st);
}

/* A new file whose answer was lost: is it there? */
static int resume_new(struct pm_smartshape *ss, struct pm_ctx *ctx, struct pm_upload *up,
                      struct state *st, uint64_t *off)
{
    PM_AUTO(free) struct pm_entry *e = NULL;
    int                            err;

    *off = 0;
    err = pm_ss_find(ss, ctx, up->parent, up->name, &e);
    if (err || !e)
        return err;
    if (made_before(ss, e, st->started - SLACK_MS))
        return is_another(ctx);
    if (e->kind == PM_FILE && e->size == up->size && strcmp(e->state, "copying") != 0 && *e->id) {
        snprintf(st->id, sizeof(st->id), "%s", e->id);
        st->found = !made_with_ours(ss, e, st);
        *off = up->size;
        return save_state(up, st);
    }
    if (e->kind == PM_FILE && (e->size <= up->size || e->size == PM_SIZE_UNKNOWN) &&
        pm_wall_ms() - st->sent < MAY_ARRIVE_MS)
        return may_still_arrive(ctx);
    return is_another(ctx);
}

int pm_ss_resume(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, uint64_t *off)
{
    struct pm_smartshape *ss = pm_ss(b);
    struct state          st;

    load_state(up, &st);
    if (st.id[0])
        return resume_known(ss, ctx, up, &st, off);
    if (up->target)
        return resume_target(ss, ctx, up, &st, off);
    return resume_new(ss, ctx, up, &st, off);
}

/* --- put */

static bool recalls(struct pm_smartshape *ss, const char *key, const char *value)
{
    char *known = pm_backend_recall(&ss->base, key);
    bool  same = known && !strcmp(known, value);

    free(known);
    return same;
}

/* One POST of the whole content; *id gets the object's id. */
static int post(struct pm_smartshape *ss, struct pm_ctx *ctx, const struct pm_upload *up,
                bool update, bool backslash, const char *param, char *id)
{
    PM_AUTO(free) char *url = pm_asprintf("/file/%s/?%s=/%s", update ? "update-file" : "upload",
                                          param, up->parent->path);
    struct pm_http_file file = {.fd = up->fd,
                                .len = up->size,
                                .field = "file",
                                .name = up->name,
                                .backslash = backslash,
                                .progress = up->progress,
                                .arg = up->arg};
    struct pm_http_request req = {
        .method = "POST", .url = url, .file = &file, .content = true, .once = true};
    struct cJSON *body = NULL;
    int           err;

    if (!url)
        return -ENOMEM;
    err = pm_ss_json(ss, ctx, &req, &body);
    if (err)
        return err;
    if (!pm_json_scalar(pm_ss_object(body), "fileId", id, PM_SS_ID_MAX) &&
        !pm_json_id(pm_ss_object(body), id, PM_SS_ID_MAX)) {
        snprintf(ctx->why, sizeof(ctx->why), "the answer lacks the file's id");
        err = -EAGAIN;
    }
    pm_json_free(body);
    return err;
}

/* A 400 that speaks of the folder's parameter, and not of the folder. */
static bool wants_other_param(const struct pm_ctx *ctx, int err)
{
    return err == -EINVAL && (strcasestr(ctx->why, "path") || strstr(ctx->why, "`p`") ||
                              strstr(ctx->why, "\"p\"") || strcasestr(ctx->why, "parameter p"));
}

static int send_content(struct pm_smartshape *ss, struct pm_ctx *ctx, struct pm_upload *up,
                        struct state *st, bool backslash)
{
    const char *quote = backslash ? "backslash" : "percent";
    const char *param = recalls(ss, "smartshape.param", "p") ? "p" : "path";
    char        id[PM_SS_ID_MAX] = "";
    bool        update = up->target || st->redo;
    int         err;

    st->sent = pm_wall_ms();
    snprintf(st->quote, sizeof(st->quote), "%s", quote);
    err = save_state(up, st);
    if (err)
        return err;
    err = post(ss, ctx, up, update, backslash, param, id);
    if (wants_other_param(ctx, err)) {
        param = !strcmp(param, "p") ? "path" : "p";
        err = post(ss, ctx, up, update, backslash, param, id);
        if (!err)
            pm_backend_learn(&ss->base, "smartshape.param", param);
    }
    if (err)
        return err;
    if (up->target && strcmp(id, up->target->id) != 0)
        pm_log(PM_WARN, "update of %s: the id changed", up->parent->path);
    snprintf(st->id, sizeof(st->id), "%s", id);
    st->redo = st->found = false;
    return save_state(up, st);
}

int pm_ss_put(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, uint64_t *off)
{
    struct pm_smartshape *ss = pm_ss(b);
    struct state          st;
    int                   err = 0;

    load_state(up, &st);
    if (!st.id[0] || st.redo)
        err = send_content(ss, ctx, up, &st, !recalls(ss, "smartshape.quote", "percent"));
    if (!err)
        *off = up->size;
    return err;
}

/* --- finish */

/* Removes the object that is certainly ours, wherever it is. */
static int remove_ours(struct pm_smartshape *ss, struct pm_ctx *ctx, const char *id,
                       const struct pm_entry *parent)
{
    PM_AUTO(free) struct pm_entry *e = NULL;
    PM_AUTO(free) char            *path = NULL;
    struct cJSON                  *body = NULL;
    int                            err = pm_ss_details(ss, ctx, id, &body);

    if (err)
        return err == -ENOENT ? 0 : err;
    err = pm_ss_entry(pm_ss_object(body), NULL, &e);
    pm_json_free(body);
    if (!err && !*e->path)
        path = pm_ss_child(parent, e->name);
    if (!err)
        err = pm_ss_delete(ss, ctx, *e->path ? e->path : path ? path : "");
    return err == -ENOENT ? 0 : err;
}

/* The details of our object, compared with what was sent. */
static int confirm(struct pm_smartshape *ss, struct pm_ctx *ctx, const struct pm_upload *up,
                   const char *id, struct pm_entry **out)
{
    PM_AUTO(free) char *path = pm_ss_child(up->parent, up->name);
    struct cJSON       *body = NULL;
    int                 err = pm_ss_details(ss, ctx, id, &body);

    if (err)
        return err == -ENOENT ? -ESTALE : err;
    err = path ? pm_ss_entry(pm_ss_object(body), path, out) : -ENOMEM;
    if (!err && is_copying(pm_ss_object(body))) {
        free(*out);
        err = may_still_arrive(ctx);
    } else if (!err && (*out)->size != up->size) {
        snprintf(ctx->why, sizeof(ctx->why), "the service has %" PRIu64 " bytes of %" PRIu64,
                 (*out)->size, up->size);
        free(*out);
        err = -EIO;
    }
    pm_json_free(body);
    return err;
}

static bool is_ambiguous(const char *name)
{
    return strpbrk(name, "\"\\") != NULL;
}

static int misnamed(struct pm_ctx *ctx, struct pm_entry **e)
{
    snprintf(ctx->why, sizeof(ctx->why), "the service named it %.200s", (*e)->name);
    free(*e);
    *e = NULL;
    return -EIO;
}

/* The service understood the name's quotes otherwise: away with it, and again in the form that this
 * was not sent in. What was learnt meanwhile from others' names is no matter. */
static int send_other_form(struct pm_smartshape *ss, struct pm_ctx *ctx, struct pm_upload *up,
                           struct state *st, struct pm_entry **e)
{
    bool backslash = *st->quote ? !strcmp(st->quote, "percent")
                                : recalls(ss, "smartshape.quote", "percent");
    int  err = remove_ours(ss, ctx, st->id, up->parent);

    free(*e);
    *e = NULL;
    st->id[0] = '\0';
    if (!err)
        err = send_content(ss, ctx, up, st, backslash);
    if (!err)
        err = confirm(ss, ctx, up, st->id, e);
    if (err)
        return err;
    if (strcmp((*e)->name, up->name) != 0) {
        remove_ours(ss, ctx, st->id, up->parent);
        misnamed(ctx, e);
        return -EINVAL;
    }
    pm_backend_learn(&ss->base, "smartshape.quote", backslash ? "backslash" : "percent");
    return 0;
}

int pm_ss_finish(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up,
                 struct pm_entry **out)
{
    struct pm_smartshape *ss = pm_ss(b);
    struct pm_entry      *e = NULL;
    struct state          st;
    int                   err;

    load_state(up, &st);
    if (!st.id[0] || st.redo)
        return -EAGAIN;
    err = confirm(ss, ctx, up, st.id, &e);
    if (err)
        return err;
    if (strcmp(e->name, up->name) != 0) {
        if (!is_ambiguous(up->name) || (up->target && !strcmp(st.id, up->target->id)))
            return misnamed(ctx, &e);
        err = send_other_form(ss, ctx, up, &st, &e);
        if (err)
            return err;
    }
    *out = e;
    return 0;
}

/* A new object that is certainly ours goes; a replaced one keeps what it has. */
int pm_ss_abort(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up)
{
    struct state st;

    load_state(up, &st);
    if (!st.id[0] || st.found || (up->target && !strcmp(st.id, up->target->id)))
        return 0;
    return remove_ours(pm_ss(b), ctx, st.id, up->parent);
}
