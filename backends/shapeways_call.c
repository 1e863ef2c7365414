/* Calls to Shapeways: signed or with a token, within its rate, and what its answers mean.
 *
 * No answer is believed by its status: without credentials there was a 200 with nothing in it, what is gone
 * is a 400, a mistake of the caller's a 500 (api/notes.md 0.5, 0.6, 1.3). */
#include "backends/credential.h"
#include "backends/shapeways_impl.h"
#include "backends/sign.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define KEEP  15 /* calls of a window that are left for whoever waits */
#define PARTS 4

/* One exchange. */
struct try {
    struct pm_sw_call    *call;
    struct pm_b64_cut    *cut; /* owned */
    struct pm_http_answer answer; /* owned */
    bool                  any; /* there is something in the body */
    bool                  refused; /* the credential was */
    bool                  told; /* the loop's until the end; the head said how many calls are left */
    uint64_t              left; /* likewise; so many */
    uint64_t              wait_s; /* likewise; until the next one; 0: at once, or it does not say */
};

bool pm_sw_is_id(const char *id)
{
    size_t len = strlen(id);

    for (const char *p = id; *p; p++)
        if ((unsigned char)*p >= 0x80 || !(isalnum((unsigned char)*p) || *p == '-' || *p == '_'))
            return false;
    return len > 0 && len < PM_SW_ID_MAX;
}

/* --- an answer as it arrives */

static bool header_number(const struct pm_http_head *head, const char *name, uint64_t *out)
{
    const char *text = pm_http_header(head, name);
    size_t      digits = strspn(text, "0123456789");

    if (!digits || digits > 9 || text[digits])
        return false;
    *out = strtoull(text, NULL, 10);
    return true;
}

/* On the loop's thread. */
static void take_head(void *arg, const struct pm_http_head *head)
{
    struct try *t = arg;

    t->told = header_number(head, "X-RateLimit-Remaining", &t->left);
    t->wait_s = 0;
    header_number(head, "X-RateLimit-Retry-InSeconds", &t->wait_s);
}

static int take_body(void *arg, const void *buf, size_t len)
{
    struct try *t = arg;
    const char *text = buf;

    for (size_t i = 0; i < len && !t->any; i++)
        t->any = !strchr(" \t\r\n", text[i]);
    return pm_b64_cut_feed(t->cut, text, len);
}

/* --- what it means */

/* The service's own word, in one line. */
static void take_reason(struct pm_shapeways *sw, struct pm_ctx *ctx, const struct cJSON *json)
{
    const char *reason = pm_json_text(json, "reason");
    size_t      len;

    if (!reason || !*(reason += strspn(reason, " \t\r\n")))
        return;
    snprintf(ctx->why, sizeof(ctx->why), "%s", reason);
    for (char *c = ctx->why; *c; c++)
        if ((unsigned char)*c < 0x20)
            *c = ' ';
    for (len = strlen(ctx->why); len && ctx->why[len - 1] == ' '; len--)
        ctx->why[len - 1] = '\0';
    pm_credential_hide(&sw->base, ctx->why);
    PM_GUARD(&sw->lock);
    if (sw->token && strstr(ctx->why, sw->token))
        snprintf(ctx->why, sizeof(ctx->why), "refused");
}

static bool says(const struct cJSON *json, const char *word)
{
    const char *result = pm_json_text(json, "result");

    return result && !strcasecmp(result, word);
}

/* A 2xx, whole for HTTP. */
static int judge_good(struct pm_shapeways *sw, struct pm_ctx *ctx, struct try *t)
{
    struct cJSON *json = pm_b64_cut_rest(t->cut);

    if (says(json, "success")) {
        t->call->json = json;
        return 0;
    }
    if (says(json, "failure")) {
        snprintf(ctx->why, sizeof(ctx->why), "the service refuses it");
        take_reason(sw, ctx, json);
        pm_json_free(json);
        return -EINVAL;
    }
    snprintf(ctx->why, sizeof(ctx->why), "%s", json     ? "the answer does not say whether it succeeded"
                                               : t->any ? "the answer is no JSON"
                                                        : "the service answers nothing: not authorised");
    pm_json_free(json);
    if (t->call->req.once)
        return -EAGAIN;
    t->refused = !t->any;
    return t->any ? -EIO : -EACCES;
}

static int judge_bad(struct pm_shapeways *sw, struct pm_ctx *ctx, struct try *t, int err)
{
    const struct pm_http_answer *a = &t->answer;
    struct cJSON *json = pm_json_parse(a->body.ptr ? a->body.ptr : "", a->body.len);

    take_reason(sw, ctx, json);
    if (a->status >= 500 && says(json, "failure"))
        err = -EINVAL;
    pm_json_free(json);
    t->refused = a->status == 401;
    return err;
}

static int judge(struct pm_shapeways *sw, struct pm_ctx *ctx, struct try *t, int err)
{
    long status = t->answer.status;

    t->call->status = status;
    if (!err)
        return judge_good(sw, ctx, t);
    if (status / 100 != 2)
        return status ? judge_bad(sw, ctx, t, err) : err;
    if (err == -EIO && pm_b64_cut_feed(t->cut, "", 0) == -EIO)
        snprintf(ctx->why, sizeof(ctx->why), "%s", pm_b64_cut_bytes(t->cut) ? "the content came garbled"
                                                                         : "the answer is no JSON");
    return err;
}

/* --- one exchange, counted */

static void learn_rate(struct pm_shapeways *sw, struct pm_ctx *ctx, const struct try *t,
                       const struct pm_rate_call *counted)
{
    int64_t wait_ms = (int64_t)t->wait_s * 1000;

    if (t->told)
        pm_rate_correct(sw->rate, counted, t->left);
    if (t->answer.status == 429)
        ctx->retry_ms = pm_rate_hold(sw->rate, &sw->base, 0, wait_ms ? wait_ms : ctx->retry_ms);
    else if (t->told && !t->left && wait_ms)
        pm_rate_hold(sw->rate, &sw->base, 0, wait_ms);
}

/* Of what must not be sent twice it is known whether it left (pm_http_call). */
static bool was_sent(const struct pm_http_request *req, const struct try *t, int err)
{
    return !req->once || t->answer.status || !err || err == -EAGAIN || err == -ECANCELED;
}

static int exchange(struct pm_shapeways *sw, struct pm_ctx *ctx, struct pm_http_request *req,
                    struct try *t)
{
    struct pm_rate_call counted;
    int                 err = pm_rate_begin(sw->rate, &sw->base, ctx, 0, KEEP, &counted);

    if (err)
        return err;
    req->single = true; /* each try counts */
    req->own_limit = true;
    req->head = take_head;
    req->arg = t;
    err = pm_http_call(sw->base.net, ctx, req, &t->answer);
    learn_rate(sw, ctx, t, &counted);
    pm_rate_end(sw->rate, &counted, was_sent(req, t, err));
    if (t->answer.status)
        pm_oauth1_learn(&sw->clock, t->answer.date_ms, t->answer.came_ms);
    return err;
}

static void end_try(struct try *t)
{
    pm_b64_cut_free(t->cut);
    pm_http_answer_free(&t->answer);
    t->cut = NULL;
}

static bool can_heal(int err)
{
    return err == -EIO || err == -ETIMEDOUT || err == -ECONNREFUSED || err == -ENETUNREACH;
}

/* As often as may be, with one credential. *refused: that one is not taken. */
static int exchange_until_good(struct pm_shapeways *sw, struct pm_ctx *ctx, struct pm_sw_call *call,
                               const struct pm_http_auth *auth, const char *url, bool *refused)
{
    unsigned tries = ctx->prio == PM_INTERACTIVE ? 4 : 2;
    int      err;

    for (unsigned n = 1;; n++) {
        struct try             t = {.call = call, .cut = pm_b64_cut_new("fileData", call->data, call->arg)};
        struct pm_http_request req = call->req;
        bool                   more;

        if (!t.cut)
            return -ENOMEM;
        req.url = url;
        req.auth = auth;
        req.data = take_body;
        req.limit = UINT64_MAX; /* the cut has its own */
        err = exchange(sw, ctx, &req, &t);
        err = judge(sw, ctx, &t, err);
        *refused = t.refused;
        more = can_heal(err) && n < tries && !req.once && !pm_b64_cut_bytes(t.cut);
        end_try(&t);
        if (!more || pm_http_wait(sw->base.net, ctx, pm_http_backoff_ms(n)))
            return err;
    }
}

/* --- credentials */

/* The lines of the secret; cuts it up. False: they are not so many. */
static bool split(char *secret, size_t count, const char *parts[PARTS])
{
    for (size_t i = 0; i < count; i++) {
        if (!secret)
            return false;
        parts[i] = secret;
        secret = strchr(secret, '\n');
        if (secret)
            *secret++ = '\0';
    }
    return !secret;
}

/* The order is that of parts_of() in shapeways.c. */
static int call_signed(struct pm_shapeways *sw, struct pm_ctx *ctx, struct pm_sw_call *call,
                       const char *url, char *secret, bool *refused)
{
    const char             *p[PARTS];
    struct pm_oauth1_signer signer = {.clock = &sw->clock};
    struct pm_http_auth     auth = {.origin = sw->base.conf->endpoint, .sign = pm_oauth1_sign,
                                    .arg = &signer};

    if (!split(secret, PARTS, p))
        return -EINVAL;
    signer.keys = (struct pm_oauth1_keys){p[0], p[1], p[2], p[3]};
    return exchange_until_good(sw, ctx, call, &auth, url, refused);
}

static int call_with_token(struct pm_shapeways *sw, struct pm_ctx *ctx, struct pm_sw_call *call,
                           const char *url, const char *secret, bool *refused)
{
    struct pm_http_auth auth = {.origin = sw->base.conf->endpoint};
    char               *token = NULL, *header;
    int                 err = pm_sw_token(sw, ctx, secret, &token, refused);

    if (err)
        return err;
    header = pm_asprintf("Authorization: Bearer %s", token);
    auth.header = header;
    err = header ? exchange_until_good(sw, ctx, call, &auth, url, refused) : -ENOMEM;
    if (*refused)
        pm_sw_token_drop(sw, token);
    pm_secret_free(header);
    pm_secret_free(token);
    return err;
}

/* Refused once, it is tried with a new signature, by the clock that is known now, or with a new token. */
static int call_twice(struct pm_shapeways *sw, struct pm_ctx *ctx, struct pm_sw_call *call,
                      const char *url, const char *secret, bool *refused)
{
    bool oauth2 = sw->base.conf->auth && !strcmp(sw->base.conf->auth, "oauth2");
    int  err = 0;

    for (int n = 0; n < 2 && (!n || *refused); n++) {
        char *copy = strdup(secret);

        *refused = false;
        err = !copy    ? -ENOMEM
              : oauth2 ? call_with_token(sw, ctx, call, url, copy, refused)
                       : call_signed(sw, ctx, call, url, copy, refused);
        if (copy)
            explicit_bzero(copy, strlen(secret));
        free(copy);
    }
    return err;
}

int pm_sw_call_with(struct pm_shapeways *sw, struct pm_ctx *ctx, struct pm_sw_call *call,
                    const char *secret, bool *refused)
{
    PM_AUTO(free) char *url = pm_asprintf("%s%s", sw->base.conf->endpoint, call->req.url);

    call->json = NULL;
    call->status = 0;
    *refused = false;
    return url ? call_twice(sw, ctx, call, url, secret, refused) : -ENOMEM;
}

int pm_sw_call(struct pm_shapeways *sw, struct pm_ctx *ctx, struct pm_sw_call *call)
{
    unsigned generation = 0;
    bool     refused = false;
    int      err = 0;

    call->json = NULL;
    for (int n = 0; n < 2 && (!n || refused); n++) {
        char *secret = NULL;

        err = pm_credential_use(&sw->base, ctx, generation, &secret, &generation);
        if (err)
            return err;
        err = pm_sw_call_with(sw, ctx, call, secret, &refused);
        pm_secret_free(secret);
    }
    return refused ? pm_credential_refuse(&sw->base, ctx, generation) : err;
}

int pm_sw_get(struct pm_shapeways *sw, struct pm_ctx *ctx, const char *path, struct cJSON **json)
{
    struct pm_sw_call call = {.req = {.method = "GET", .url = path}};
    int               err = path ? pm_sw_call(sw, ctx, &call) : -ENOMEM;

    if (!err)
        *json = call.json;
    return err;
}
