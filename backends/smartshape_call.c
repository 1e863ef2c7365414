/* Calls to SmartShape: the token, and what its errors mean. */
#include "backends/bearer.h"
#include "backends/credential.h"
#include "backends/smartshape_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* --- the service's words */

/* The object that speaks of the error: {"status","title","detail"}, {"error":{…}},
 * {"errors":[{…}]}. */
static const struct cJSON *error_object(const struct cJSON *body)
{
    const struct cJSON *inner = pm_json_get(body, "error");

    if (pm_json_is_object(inner))
        return inner;
    inner = pm_json_first(pm_json_get(body, "errors"));
    return inner ? inner : body;
}

static const char *error_word(const struct cJSON *body, const struct cJSON *error)
{
    static const char *const keys[] = {"detail", "title", "message", "reason", "code"};
    const char              *word = NULL;

    for (size_t i = 0; i < PM_COUNT(keys) && (!word || !*word); i++)
        word = pm_json_text(error, keys[i]);
    if (!word || !*word)
        word = pm_json_text(body, "error"); /* {"error":"text"} */
    if (!word || !*word)
        word = pm_json_string(error); /* {"errors":["text"]} */
    return word && *word ? word : NULL;
}

static bool says(const char *word, const char *what)
{
    return word && strcasestr(word, what);
}

/* A status alone often says too little (400 for all), or less than the body. */
static int refine(int err, long http, long status, const char *word, const char *code)
{
    bool vague = http == 400 || http == 500 || http == 422 || http / 100 == 2;

    if (status >= 400 && status < 500 && (http / 100 == 2 || http / 100 == 5))
        err = pm_http_judge_status(status).err;
    if (!vague)
        return err;
    if (says(word, "not exist") || says(word, "not found") || says(code, "NOT_FOUND"))
        return -ENOENT;
    if (says(word, "already exist") || says(word, "exists") || says(code, "ALREADY_EXISTS"))
        return -EEXIST;
    return err;
}

/* Reads what the body of a failed call says: ctx->why, and the errno. */
static int judge(struct pm_smartshape *ss, struct pm_ctx *ctx, int err, long http,
                 const struct cJSON *body)
{
    const struct cJSON *error = error_object(body);
    const char         *word = error_word(body, error);
    uint64_t            status = 0;

    pm_json_u64(error, "status", &status);
    if (word)
        snprintf(ctx->why, sizeof(ctx->why), "%s", word);
    pm_credential_hide(&ss->base, ctx->why);
    return refine(err, http, (long)status, word, pm_json_text(error, "code"));
}

static int judge_answer(struct pm_backend *b, struct pm_ctx *ctx, int err,
                        const struct pm_http_answer *answer)
{
    struct cJSON *body = pm_json_parse(answer->body.ptr ? answer->body.ptr : "", answer->body.len);

    err = judge(pm_ss(b), ctx, err, answer->status, body);
    pm_json_free(body);
    return err;
}

/* --- calls */

/* A conflict where nothing is made says that something is being worked on. */
static int of_method(const struct pm_http_request *req, int err)
{
    return err == -EEXIST && !strcmp(req->method, "GET") ? -EBUSY : err;
}

int pm_ss_call(struct pm_smartshape *ss, struct pm_ctx *ctx, struct pm_http_request *req,
               struct pm_http_answer *answer)
{
    int err = pm_bearer_call(&ss->base, ctx, req, answer, judge_answer);

    if (answer->date_ms) {
        ss->ahead_ms = answer->date_ms - answer->came_ms;
        ss->told_time = true;
    }
    return of_method(req, err);
}

int pm_ss_json(struct pm_smartshape *ss, struct pm_ctx *ctx, struct pm_http_request *req,
               struct cJSON **out)
{
    struct cJSON *body = NULL;
    long          status = 0;
    int           err = 0;

    for (int try = 0; !body && try < (req->once ? 1 : 2); try++) {
        PM_AUTO(pm_http_answer) struct pm_http_answer answer = {0};

        err = pm_ss_call(ss, ctx, req, &answer);
        if (err)
            return err;
        status = answer.status;
        body = pm_json_parse(answer.body.ptr ? answer.body.ptr : "", answer.body.len);
    }
    if (!body) {
        snprintf(ctx->why, sizeof(ctx->why), "the answer is no JSON");
        return req->once ? -EAGAIN : -EIO;
    }
    if (!pm_json_bool(body, "success", true)) {
        err = judge(ss, ctx, -EIO, status, body);
        pm_json_free(body);
        return of_method(req, err);
    }
    *out = body;
    return 0;
}
