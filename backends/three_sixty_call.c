/* Calls to 360-for-you: within its limits, and what its errors mean. */
#include "backends/bearer.h"
#include "backends/credential.h"
#include "backends/three_sixty_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define KEEP_TENTH(limit) ((limit) == PM_TS_PROJECT ? 6u : 0u) /* looks left for whoever waits */

/* --- the service's words (api/360-for-you.txt, api/notes.md 5, api/mapping.md "Errors") */

static const struct {
    const char *word;
    int         err;
    const char *advice; /* for people; NULL: the word says it */
} words[] = {
    {"upload_session_not_found", -ESTALE, NULL},
    {"invalid_upload_id", -ESTALE, NULL},
    {"file_not_found", -ENOENT, NULL},
    {"invalid_filename", -EINVAL, "the service does not take this name"},
    {"file_too_large", -EFBIG, "the service does not take a file of this size"},
    {"session_too_large", -EDQUOT, "the project would be larger than the service takes"},
    {"extension_not_allowed", -EPERM, "the service does not take files of this kind"},
    {"storage_quota_exceeded", -EDQUOT, "the account's storage is full"},
    {"project_limit_reached", -EDQUOT, "the account has as many projects as its tariff allows"},
    {"tariff_forbids_upload", -EACCES, "the account's tariff does not allow uploads"},
    {"tariff_does_not_allow_api", -EACCES, "the account's tariff does not allow the API"},
    {"tariff", -EACCES, "the account's tariff does not allow this"},
    {"insufficient_scope", -EACCES, "the key needs the scopes projects:read and projects:write"},
    {"email_not_verified", -EACCES, "the account's e-mail address is not verified"},
    {"project_creation_failed", -ENODATA, NULL},
    {"invalid_content_range", -EIO, NULL},
    {"chunk_length_mismatch", -EIO, NULL},
    {"length_required", -EIO, NULL},
};

static int judge(struct pm_backend *b, struct pm_ctx *ctx, int err,
                 const struct pm_http_answer *answer)
{
    struct cJSON *body = pm_json_parse(answer->body.ptr ? answer->body.ptr : "", answer->body.len);
    const char   *word = pm_json_text(body, "error");
    bool          is_word = false;

    if (word && *word)
        snprintf(ctx->why, sizeof(ctx->why), "%s", word);
    for (size_t i = 0; word && i < PM_COUNT(words); i++) {
        if (strcmp(word, words[i].word) != 0)
            continue;
        err = words[i].err;
        is_word = true;
        if (words[i].advice)
            snprintf(ctx->why, sizeof(ctx->why), "%s (%s)", words[i].advice, word);
        break;
    }
    pm_json_free(body);
    pm_credential_hide(b, ctx->why);
    return err == -ESTALE && !is_word ? -EIO : err; /* the session's end is said in words */
}

/* --- calls */

/* Of what must not be sent twice it is known whether it left (pm_http_call). */
static bool was_sent(const struct pm_http_request *req, const struct pm_http_answer *answer, int err)
{
    return !req->once || answer->status || !err || err == -EAGAIN || err == -ECANCELED;
}

int pm_ts_call(struct pm_three_sixty *ts, struct pm_ctx *ctx, enum pm_ts_limit limit,
               struct pm_http_request *req, struct cJSON **json)
{
    PM_AUTO(pm_http_answer) struct pm_http_answer answer = {0};
    struct pm_rate_call counted;
    struct cJSON       *body;
    int err = pm_rate_begin(ts->rate, &ts->base, ctx, limit, KEEP_TENTH(limit), &counted);

    if (err)
        return err;
    req->single = true; /* each try counts */
    req->own_limit = true;
    req->once = strcmp(req->method, "GET") != 0;
    err = pm_bearer_call(&ts->base, ctx, req, &answer, judge);
    pm_rate_end(ts->rate, &counted, was_sent(req, &answer, err));
    if (err && answer.status == 429)
        ctx->retry_ms = pm_rate_hold(ts->rate, &ts->base, limit, ctx->retry_ms);
    body = pm_json_parse(answer.body.ptr ? answer.body.ptr : "", answer.body.len);
    if (!err && !body) {
        snprintf(ctx->why, sizeof(ctx->why), "the answer is no JSON");
        err = strcmp(req->method, "POST") != 0 ? -EIO : -EAGAIN;
    }
    if (json)
        *json = body;
    else
        pm_json_free(body);
    return err;
}

static bool can_heal(int err)
{
    return err == -EIO || err == -ETIMEDOUT || err == -ECONNREFUSED || err == -ENETUNREACH;
}

int pm_ts_get(struct pm_three_sixty *ts, struct pm_ctx *ctx, enum pm_ts_limit limit,
              const char *url, struct cJSON **json)
{
    unsigned tries = ctx->prio == PM_INTERACTIVE ? 4 : 2;
    int      err = url ? 0 : -ENOMEM;

    for (unsigned try = 1; url && try <= tries; try++) {
        struct pm_http_request req = {.method = "GET", .url = url};

        pm_json_free(*json);
        *json = NULL;
        err = pm_ts_call(ts, ctx, limit, &req, json);
        if (!can_heal(err) || pm_http_wait(ts->base.net, ctx, pm_http_backoff_ms(try)))
            break;
    }
    return err;
}

/* --- names and shapes */

bool pm_ts_id(const struct cJSON *obj, const char *key, char id[PM_TS_ID_MAX])
{
    return pm_json_scalar(obj, key, id, PM_TS_ID_MAX) && *id && pm_utf8_valid(id) &&
           !strchr(id, '/') && strcmp(id, ".") != 0 && strcmp(id, "..") != 0;
}

bool pm_ts_session_id(const char *session, char id[PM_TS_ID_MAX])
{
    struct cJSON *obj = session ? pm_json_parse(session, strlen(session)) : NULL;
    bool          good = pm_ts_id(obj, "id", id);

    pm_json_free(obj);
    return good;
}

char *pm_ts_url(const char *what, const char *id, const char *name)
{
    struct pm_buf url = {0};

    pm_buf_printf(&url, "/%s/", what);
    pm_buf_urlenc(&url, id);
    if (name) {
        pm_buf_str(&url, "/");
        pm_buf_urlenc(&url, name);
    }
    return pm_buf_take(&url);
}

const struct cJSON *pm_ts_projects(const struct cJSON *body)
{
    const struct cJSON *list = pm_json_is_array(body) ? body : pm_json_get(body, "projects");

    if (!list)
        list = pm_json_get(body, "data");
    return pm_json_is_array(list) ? list : NULL;
}

int pm_ts_project(const struct cJSON *obj, struct pm_entry **out)
{
    char                  slug[PM_TS_ID_MAX];
    char                  state[32] = "";
    PM_AUTO(pm_buf) struct pm_buf path = {0};
    uint64_t              status = 0;
    struct pm_entry       e = {.kind = PM_FOLDER, .root = "", .target = "", .version = "",
                               .size = PM_SIZE_UNKNOWN};

    if (!pm_ts_id(obj, "name", slug))
        return -EIO;
    if (pm_json_u64(obj, "status", &status))
        snprintf(state, sizeof(state), status >= 100 ? "ready" : status ? "processing %u%%" : "queued",
                 (unsigned)status);
    pm_buf_urlenc(&path, slug);
    if (path.failed)
        return -ENOMEM;
    e.id = slug;
    e.name = slug;
    e.path = path.ptr;
    e.state = state;
    e.btime_ms = pm_json_ms(obj, "created");
    e.mtime_ms = pm_json_ms(obj, "updated");
    if (!e.mtime_ms)
        e.mtime_ms = e.btime_ms;
    *out = pm_entry_dup(&e);
    return *out ? 0 : -ENOMEM;
}
