/* OAuth 2's client credentials (api/notes.md 1.4): for the two keys of an application the service gives a
 * token that lives for an hour. One thread asks for it, the others wait; it is renewed before it ends. */
#include "backends/credential.h"
#include "backends/shapeways_impl.h"
#include "backends/sign.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LIFE_S   3600 /* if it does not say */
#define EARLY_MS 60000

/* "Authorization: Basic …", owned. */
static char *basic(const char *keys)
{
    PM_AUTO(free) char *pair = strdup(keys);
    char               *colon = pair ? strchr(pair, '\n') : NULL, *coded, *header;

    if (!colon)
        return NULL;
    *colon = ':';
    coded = pm_sign_base64(pair, strlen(pair));
    header = coded ? pm_asprintf("Authorization: Basic %s", coded) : NULL;
    pm_secret_free(coded);
    explicit_bzero(pair, strlen(pair));
    return header;
}

/* One token request within the rate. */
static int ask(struct pm_shapeways *sw, struct pm_ctx *ctx, const char *keys,
               struct pm_http_answer *answer)
{
    static const char *const headers[] = {"Content-Type: application/x-www-form-urlencoded", NULL};
    PM_AUTO(free) char      *url = pm_asprintf("%s/oauth2/token", sw->base.conf->endpoint);
    char                    *header = basic(keys);
    struct pm_http_auth      auth = {.origin = sw->base.conf->endpoint, .header = header};
    struct pm_http_request   req = {.method = "POST", .url = url, .auth = &auth, .headers = headers,
                                    .body = "grant_type=client_credentials", .limit = 64u << 10,
                                    .single = true, .own_limit = true};
    struct pm_rate_call      counted;
    int                      err = url && header ? 0 : -ENOMEM;

    if (!err)
        err = pm_rate_begin(sw->rate, &sw->base, ctx, 0, 0, &counted);
    if (!err) {
        err = pm_http_call(sw->base.net, ctx, &req, answer);
        pm_rate_end(sw->rate, &counted, true);
    }
    if (answer->status == 429)
        ctx->retry_ms = pm_rate_hold(sw->rate, &sw->base, 0, ctx->retry_ms);
    pm_secret_free(header);
    return err;
}

static bool is_token(const char *token)
{
    for (const char *c = token; *c; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f)
            return false;
    return *token != '\0';
}

/* The answer's, owned. -EIO: it has none. */
static int take_token(struct pm_ctx *ctx, const struct pm_http_answer *answer, char **token,
                      int64_t *life_ms)
{
    struct cJSON *json = pm_json_parse(answer->body.ptr ? answer->body.ptr : "", answer->body.len);
    const char   *told = pm_json_text(json, "access_token");
    uint64_t      seconds = LIFE_S;
    int           err = -EIO;

    pm_json_u64(json, "expires_in", &seconds);
    *life_ms = (int64_t)(seconds < 10 * 365 * 86400u ? seconds : LIFE_S) * 1000;
    if (told && is_token(told)) {
        *token = strdup(told);
        err = *token ? 0 : -ENOMEM;
    } else {
        snprintf(ctx->why, sizeof(ctx->why), "the answer lacks the token");
    }
    pm_json_free(json);
    return err;
}

static void take_refusal(struct pm_shapeways *sw, struct pm_ctx *ctx, const struct pm_http_answer *answer)
{
    struct cJSON *json = pm_json_parse(answer->body.ptr ? answer->body.ptr : "", answer->body.len);
    const char   *word = pm_json_text(json, "error_description");

    if (!word || !*word)
        word = pm_json_text(json, "error");
    if (word && *word)
        snprintf(ctx->why, sizeof(ctx->why), "%s", word);
    pm_json_free(json);
    pm_credential_hide(&sw->base, ctx->why);
}

static int get_token(struct pm_shapeways *sw, struct pm_ctx *ctx, const char *keys, char **token,
                     int64_t *life_ms, bool *refused)
{
    PM_AUTO(pm_http_answer) struct pm_http_answer answer = {0};
    int err = ask(sw, ctx, keys, &answer);

    if (!err)
        return take_token(ctx, &answer, token, life_ms);
    if (answer.status)
        take_refusal(sw, ctx, &answer);
    *refused = answer.status == 400 || answer.status == 401 || answer.status == 403;
    return *refused ? -EACCES : err;
}

/* Waits until nobody asks. Entered and left with the lock held. */
static int wait_locked(struct pm_shapeways *sw, const struct pm_ctx *ctx)
{
    while (sw->getting) {
        if (ctx->cancel && atomic_load(ctx->cancel))
            return -ECANCELED;
        if (ctx->deadline_ms && pm_now_ms() >= ctx->deadline_ms)
            return -ETIMEDOUT;
        pm_cond_wait_until(&sw->got, &sw->lock, pm_now_ms() + 100);
    }
    return 0;
}

static void keep_locked(struct pm_shapeways *sw, const char *token, const char *of, int64_t life_ms)
{
    int64_t early = life_ms / 2 < EARLY_MS ? life_ms / 2 : EARLY_MS;

    pm_secret_free(sw->token);
    sw->token = strdup(token);
    memcpy(sw->token_of, of, sizeof(sw->token_of));
    sw->token_until_ms = pm_now_ms() + life_ms - early;
}

int pm_sw_token(struct pm_shapeways *sw, struct pm_ctx *ctx, const char *keys, char **token, bool *refused)
{
    char    of[65];
    int64_t life_ms = 0;
    int     err;

    pm_digest_sha256_hex(keys, strlen(keys), of);
    PM_GUARD(&sw->lock);
    err = wait_locked(sw, ctx);
    if (err)
        return err;
    if (sw->token && !strcmp(sw->token_of, of) && pm_now_ms() < sw->token_until_ms) {
        *token = strdup(sw->token);
        return *token ? 0 : -ENOMEM;
    }
    sw->getting = true;
    pthread_mutex_unlock(&sw->lock);
    err = get_token(sw, ctx, keys, token, &life_ms, refused);
    pthread_mutex_lock(&sw->lock);
    sw->getting = false;
    if (!err)
        keep_locked(sw, *token, of, life_ms);
    pthread_cond_broadcast(&sw->got);
    return err;
}

void pm_sw_token_drop(struct pm_shapeways *sw, const char *token)
{
    PM_GUARD(&sw->lock);
    if (!sw->token || strcmp(sw->token, token) != 0)
        return;
    pm_secret_free(sw->token);
    sw->token = NULL;
}
