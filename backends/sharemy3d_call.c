/* Calls to ShareMy3D: the form of its token, and what its errors mean. */
#include "backends/bearer.h"
#include "backends/credential.h"
#include "backends/sharemy3d_impl.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FORM "sharemy3d.form" /* in the account's store: "bearer" or "bare", the one that was taken */

/* --- the token: the document shows it alone, everybody else's services want "Bearer" before it */

static enum pm_sm_form form_of(const char *word)
{
    return !word ? PM_SM_UNKNOWN : !strcmp(word, "bare") ? PM_SM_BARE : PM_SM_BEARER;
}

static enum pm_sm_form known_form(struct pm_sharemy3d *sm)
{
    PM_AUTO(free) char *learnt = NULL;

    if (sm->base.conf->auth_scheme)
        return form_of(sm->base.conf->auth_scheme);
    if (sm->form == PM_SM_UNKNOWN) {
        learnt = pm_backend_recall(&sm->base, FORM);
        sm->form = form_of(learnt);
    }
    return (enum pm_sm_form)sm->form;
}

static void learn_form(struct pm_sharemy3d *sm, bool bare)
{
    sm->form = bare ? PM_SM_BARE : PM_SM_BEARER;
    pm_backend_learn(&sm->base, FORM, bare ? "bare" : "bearer");
}

/* --- the service's words */

/* The document says that errors are JSON, not which. */
static const char *error_word(const struct cJSON *body)
{
    static const char *const keys[] = {"message", "error", "detail", "description", "reason", "title"};
    const struct cJSON      *inner = pm_json_get(body, "error");
    const char              *word = NULL;

    for (size_t i = 0; i < PM_COUNT(keys) && (!word || !*word); i++)
        word = pm_json_text(body, keys[i]);
    for (size_t i = 0; i < PM_COUNT(keys) && (!word || !*word); i++)
        word = pm_json_text(inner, keys[i]);
    return word;
}

static int judge(struct pm_backend *b, struct pm_ctx *ctx, int err,
                 const struct pm_http_answer *answer)
{
    struct cJSON *body = pm_json_parse(answer->body.ptr ? answer->body.ptr : "", answer->body.len);
    const char   *word = error_word(body);

    if (word && *word)
        snprintf(ctx->why, sizeof(ctx->why), "%s", word);
    pm_json_free(body);
    pm_credential_hide(b, ctx->why);
    return err;
}

/* --- calls */

/* With `accused`, a 401 is -EACCES and sets it, and the token is not blamed. */
static int call(struct pm_sharemy3d *sm, struct pm_ctx *ctx, struct pm_http_request *req, bool *accused,
                struct cJSON **json)
{
    static const char *const words[] = {"Bearer ", "Bearer ", ""};
    enum pm_sm_form          known = known_form(sm);
    struct cJSON            *body = NULL;
    int                      err = 0;

    for (int try = 0; !body && try < (req->once ? 1 : 2); try++) {
        PM_AUTO(pm_http_answer) struct pm_http_answer answer = {0};
        struct pm_bearer_form form = {.word = words[known], .other = known ? NULL : "",
                                      .innocent = accused != NULL};

        err = pm_bearer_call_as(&sm->base, ctx, req, &answer, judge, &form);
        if (accused)
            *accused = form.accused;
        if (err)
            return err;
        if (!known)
            learn_form(sm, form.changed);
        known = known_form(sm);
        if (!json && !answer.body.len)
            return 0;
        body = pm_json_parse(answer.body.ptr ? answer.body.ptr : "", answer.body.len);
        if (!pm_json_is_object(body)) {
            pm_json_free(body);
            body = NULL;
        }
    }
    if (!body) {
        snprintf(ctx->why, sizeof(ctx->why), "the answer is no JSON");
        return req->once ? -EAGAIN : -EIO;
    }
    if (json)
        *json = body;
    else
        pm_json_free(body);
    return 0;
}

int pm_sm_call(struct pm_sharemy3d *sm, struct pm_ctx *ctx, struct pm_http_request *req,
               struct cJSON **json)
{
    return call(sm, ctx, req, NULL, json);
}

bool pm_sm_is_id(const char *id)
{
    size_t len = strlen(id);

    for (const char *p = id; *p; p++)
        if ((unsigned char)*p >= 0x80 || !(isalnum((unsigned char)*p) || *p == '-' || *p == '_'))
            return false;
    return len > 0 && len < PM_SM_ID_MAX;
}

/* 401 is "invalid token or access denied", and may be what it says of an id that there is not. So the list,
 * which any good token may have, tells first of the token (and gets a new one), then the particulars of
 * the id. */
static int judge_id(struct pm_sharemy3d *sm, struct pm_ctx *ctx, enum pm_sm_kind kind, const char *id,
                    struct pm_http_request *req, struct cJSON **json)
{
    PM_AUTO(free) char    *url = pm_asprintf("/%s/%s/info", pm_sm_words[kind].folder, id);
    struct pm_http_request info = {.method = "GET", .url = url};
    struct pm_http_request list = {.method = "GET", .url = "/models?limit=1"};
    struct cJSON          *body = NULL;
    bool                   accused = false;
    int                    err = url ? call(sm, ctx, &list, NULL, &body) : -ENOMEM;

    pm_json_free(body);
    if (err)
        return err;
    err = call(sm, ctx, req, &accused, json);
    if (!accused)
        return err;
    body = NULL;
    err = call(sm, ctx, &info, &accused, &body);
    pm_json_free(body);
    if (accused)
        return -ENOENT;
    return err ? err : -EACCES; /* there is: what was asked for is denied */
}

/* Of a removal, 400 is what it may say instead of 404, or what it means: -EINVAL, it is still there. */
static int judge_refusal(struct pm_sharemy3d *sm, struct pm_ctx *ctx, enum pm_sm_kind kind, const char *id)
{
    struct cJSON *obj = NULL;
    char          why[sizeof(ctx->why)];
    int           err;

    memcpy(why, ctx->why, sizeof(why));
    err = pm_sm_get(sm, ctx, kind, id, "info", &obj);
    pm_json_free(obj);
    if (!err)
        memcpy(ctx->why, why, sizeof(why));
    return err ? err : -EINVAL;
}

int pm_sm_call_id(struct pm_sharemy3d *sm, struct pm_ctx *ctx, enum pm_sm_kind kind, const char *id,
                  struct pm_http_request *req, struct cJSON **json)
{
    bool accused = false;
    int  err;

    if (!pm_sm_is_id(id))
        return -ENOENT;
    err = call(sm, ctx, req, &accused, json);
    if (accused)
        err = judge_id(sm, ctx, kind, id, req, json);
    if (err == -EINVAL && !strcmp(req->method, "DELETE"))
        return judge_refusal(sm, ctx, kind, id);
    return err == -EINVAL ? -ENOENT : err; /* 400 is what it may say instead of 404 */
}

int pm_sm_get(struct pm_sharemy3d *sm, struct pm_ctx *ctx, enum pm_sm_kind kind, const char *id,
              const char *tail, struct cJSON **json)
{
    PM_AUTO(free) char    *url = pm_asprintf("/%s/%s/%s", pm_sm_words[kind].folder, id, tail);
    struct pm_http_request req = {.method = "GET", .url = url};

    return url ? pm_sm_call_id(sm, ctx, kind, id, &req, json) : -ENOMEM;
}
