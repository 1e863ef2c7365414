/* How an account gets its keys (api/notes.md 1.1): a request token for the application's keys; the user
 * allows it on the service's pages, which gives a PIN; with that the request token becomes the access token.
 *
 * The answers are forms, not JSON. Nothing is asked of the rate's store: it is the daemon's. */
#include "backends/shapeways_impl.h"
#include "backends/signed.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define TERMS "http://www.shapeways.com/terms_and_conditions"

/* What is known by now; all owned. */
struct keys {
    char *consumer_key, *consumer_secret;
    char *token, *token_secret; /* of the request, then of the access */
};

static void free_keys(struct keys *k)
{
    pm_secret_free(k->consumer_key);
    pm_secret_free(k->consumer_secret);
    pm_secret_free(k->token);
    pm_secret_free(k->token_secret);
}

/* --- a step: GET, signed; a form comes back */

static void take_reason(struct pm_ctx *ctx, const struct pm_http_answer *answer)
{
    struct cJSON *json = pm_json_parse(answer->body.ptr ? answer->body.ptr : "", answer->body.len);
    const char   *reason = pm_json_text(json, "reason");

    if (reason && *(reason += strspn(reason, " \t\r\n")))
        snprintf(ctx->why, sizeof(ctx->why), "%.*s", (int)strcspn(reason, "\r\n"), reason);
    pm_json_free(json);
}

/* *form: "?name=value&…", owned: pm_secret_free. */
static int step_once(struct pm_shapeways *sw, struct pm_ctx *ctx, struct pm_oauth1_signer *signer,
                     const char *url, char **form, bool *again)
{
    PM_AUTO(pm_http_answer) struct pm_http_answer answer = {0};
    struct pm_http_auth    auth = {.origin = sw->base.conf->endpoint, .sign = pm_oauth1_sign, .arg = signer};
    struct pm_http_request req = {.method = "GET", .url = url, .auth = &auth, .limit = 64u << 10};
    int                    err = pm_http_call(sw->base.net, ctx, &req, &answer);

    *again = answer.status && pm_oauth1_learn(&sw->clock, answer.date_ms, answer.came_ms) &&
             answer.status / 100 == 4;
    if (err)
        take_reason(ctx, &answer);
    else
        *form = pm_asprintf("?%s", answer.body.ptr ? answer.body.ptr : "");
    if (answer.body.ptr)
        explicit_bzero(answer.body.ptr, answer.body.len);
    return err ? err : *form ? 0 : -ENOMEM;
}

/* Once more by the service's clock, if ours was wrong. */
static int step(struct pm_shapeways *sw, struct pm_ctx *ctx, const struct keys *k, const char *path,
                const struct pm_oauth1_pair *more, char **form)
{
    PM_AUTO(free) char     *url = pm_asprintf("%s%s", sw->base.conf->endpoint, path);
    struct pm_oauth1_signer signer = {.keys = {k->consumer_key, k->consumer_secret, k->token,
                                               k->token_secret},
                                      .clock = &sw->clock, .more = more};
    bool                    again = false;
    int                     err = url ? step_once(sw, ctx, &signer, url, form, &again) : -ENOMEM;

    return err && again ? step_once(sw, ctx, &signer, url, form, &again) : err;
}

static int take(char **field, char *value)
{
    if (!value || !*value) {
        pm_secret_free(value);
        return -EIO;
    }
    pm_secret_free(*field);
    *field = value;
    return 0;
}

/* --- the page to go to */

/* Is it the service's, or the endpoint's own? `origin` as pm_http_origin gives it. */
static bool is_theirs(const char *origin, const char *endpoint)
{
    static const char   domain[] = "shapeways.com";
    PM_AUTO(free) char *own = pm_http_origin(endpoint);
    const char         *host = strstr(origin, "://") + 3;
    size_t              len = strcspn(host, ":"), n = strlen(domain);

    if (own && !strcmp(own, origin))
        return true;
    return len >= n && !strncmp(host + len - n, domain, n) && (len == n || host[len - n - 1] == '.');
}

/* Only by https (but on this machine), only theirs, and nothing that would move a terminal's cursor.
 * Owned; NULL: it is refused, or no memory. */
static char *page_of(const char *told, const char *endpoint)
{
    bool                plain = !strncasecmp(told, "http://", 7);
    PM_AUTO(free) char *local = plain ? pm_http_origin(told) : NULL; /* NULL of a plain one elsewhere */
    char               *url = plain && !local ? pm_asprintf("https://%s", told + 7) : strdup(told);
    PM_AUTO(free) char *origin = url ? pm_http_origin(url) : NULL;
    bool                good = origin && is_theirs(origin, endpoint);

    for (const char *c = url; good && *c; c++)
        good = (unsigned char)*c > ' ' && (unsigned char)*c < 0x7f;
    if (good)
        return url;
    free(url);
    return NULL;
}

/* The token is a parameter of the page, or stands beside it. */
static int take_request_token(struct pm_shapeways *sw, struct pm_ctx *ctx, struct keys *k,
                              const char *form, char **page)
{
    PM_AUTO(free) char *told = pm_signed_parameter(form, "authentication_url");
    char               *token = told ? pm_signed_parameter(told, "oauth_token") : NULL;
    int                 err;

    if (!token || !*token) {
        free(token);
        token = pm_signed_parameter(form, "oauth_token");
    }
    err = take(&k->token, token);
    if (!err)
        err = take(&k->token_secret, pm_signed_parameter(form, "oauth_token_secret"));
    if (err || !told) {
        snprintf(ctx->why, sizeof(ctx->why), "the service's answer lacks the token or the address");
        return -EIO;
    }
    *page = page_of(told, sw->base.conf->endpoint);
    if (!*page)
        snprintf(ctx->why, sizeof(ctx->why), "the address that the service gave is refused");
    return *page ? 0 : -EIO;
}

/* --- the whole of it */

/* A key that the account has, or else the user's answer. */
static int need(struct pm_shapeways *sw, struct pm_ctx *ctx, const struct pm_login *user, const char *key,
                const char *question, bool secret, char **out)
{
    int err = pm_conf_secret(sw->base.conf, key, ctx->cancel, out, ctx->why, sizeof(ctx->why));

    if (err != -ENOENT || *ctx->why)
        return err;
    err = user->ask(user->arg, question, secret, out);
    if (!err && !**out) {
        pm_secret_free(*out);
        *out = NULL;
        return -ECANCELED;
    }
    return err ? err : user->keep(user->arg, key, *out);
}

static int authorise(struct pm_shapeways *sw, struct pm_ctx *ctx, const struct pm_login *user,
                     struct keys *k)
{
    static const struct pm_oauth1_pair oob[] = {{"oauth_callback", "oob"}, {NULL, NULL}};
    PM_AUTO(free) char *page = NULL;
    char               *form = NULL, *pin = NULL;
    int                 err = step(sw, ctx, k, "/oauth1/request_token/v1", oob, &form);

    if (!err)
        err = take_request_token(sw, ctx, k, form, &page);
    pm_secret_free(form);
    form = NULL;
    if (!err) {
        user->say(user->arg, "Open this address in a browser, log in, and allow the access:");
        user->say(user->arg, page);
        err = user->ask(user->arg, "The PIN that it shows then", false, &pin);
    }
    if (!err) {
        const struct pm_oauth1_pair verifier[] = {{"oauth_verifier", pin}, {NULL, NULL}};

        err = *pin ? step(sw, ctx, k, "/oauth1/access_token/v1", verifier, &form) : -ECANCELED;
    }
    if (!err)
        err = take(&k->token, pm_signed_parameter(form, "oauth_token"));
    if (!err)
        err = take(&k->token_secret, pm_signed_parameter(form, "oauth_token_secret"));
    if (err == -EIO && !*ctx->why)
        snprintf(ctx->why, sizeof(ctx->why), "the service's answer lacks the token");
    pm_secret_free(form);
    pm_secret_free(pin);
    return err;
}

/* The harmless call that shows whether they are good: the first page of models. */
static int check(struct pm_shapeways *sw, struct pm_ctx *ctx, const struct keys *k)
{
    struct pm_sw_call call = {.req = {.method = "GET", .url = "/models/v1?page=1"}};
    char             *secret = k->token ? pm_asprintf("%s\n%s\n%s\n%s", k->consumer_key, k->consumer_secret,
                                                      k->token, k->token_secret)
                                        : pm_asprintf("%s\n%s", k->consumer_key, k->consumer_secret);
    bool              refused = false;
    int               err = secret ? pm_sw_call_with(sw, ctx, &call, secret, &refused) : -ENOMEM;

    pm_json_free(call.json);
    pm_secret_free(secret);
    return err;
}

static int ask_terms(struct pm_shapeways *sw, const struct pm_login *user)
{
    char *answer = NULL;
    int   err;

    if (sw->base.conf->accept_terms)
        return 0;
    user->say(user->arg, "Uploads need that you accept the terms of Shapeways, " TERMS ",");
    user->say(user->arg, "and that you have the rights to every model that you will upload.");
    err = user->ask(user->arg, "Do you accept them, and have you these rights (yes or no)", false, &answer);
    if (err)
        return err;
    if (!strcasecmp(answer, "yes"))
        err = user->keep(user->arg, "accept_terms", "yes");
    else
        user->say(user->arg, "Uploads will be refused until the account says accept_terms = yes.");
    free(answer);
    return err;
}

int pm_sw_login(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_login *user)
{
    struct pm_shapeways *sw = pm_sw(b);
    bool                 oauth2 = b->conf->auth && !strcmp(b->conf->auth, "oauth2");
    struct keys          k = {0};
    int err = need(sw, ctx, user, "consumer_key", "Consumer key of the application", false, &k.consumer_key);

    if (!err)
        err = need(sw, ctx, user, "consumer_secret", "Consumer secret", true, &k.consumer_secret);
    if (!err && !oauth2)
        err = authorise(sw, ctx, user, &k);
    if (!err)
        err = check(sw, ctx, &k);
    if (!err && !oauth2)
        err = user->keep(user->arg, "access_token", k.token);
    if (!err && !oauth2)
        err = user->keep(user->arg, "access_secret", k.token_secret);
    if (!err)
        err = ask_terms(sw, user);
    free_keys(&k);
    return err;
}
