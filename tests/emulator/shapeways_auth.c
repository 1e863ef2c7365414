/* Who may call Shapeways: OAuth1's signatures, OAuth2's tokens. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tests/emulator/oauth1.h"
#include "tests/emulator/shapeways_call.h"
#include "tests/emulator/sign.h"

#define NONCE_MAX 254
#define REFUSALS_MAX 16                 /* more with one token: nothing was learned */

void sw_new_token(struct sw_token *t, enum sw_token_kind kind)
{
    *t = (struct sw_token){.kind = kind};
    sign_random_hex(t->id);
    sign_random_hex(t->secret);
}

/* ---- refusals ---- */

static bool refuse(struct request *rq, const char *reason)
{
    const char *form = sw_opt(rq)->bad_credentials;
    struct buf text = {0};
    if (sw_is(form, "401")) {
        sw_error(rq, 401, reason);
        return false;
    }
    if (sw_is(form, "html"))
        buf_puts(&text, "<html><title>Attention Required! | Cloudflare</title></html>");
    rq->reply.status = sw_is(form, "html") ? 403 : 200;
    rq->reply.memory = text;
    reply_header(&rq->reply, "Content-Type", "text/html; charset=UTF-8");
    return false;
}

/* The client did what it should not. */
static bool refuse_breach(struct request *rq, const char *reason)
{
    request_breach(rq, "%s", reason);
    return refuse(rq, reason);
}

/* What a client learns by being refused, it knows a moment later. */
static bool refuse_known(struct request *rq, const char *key, const char *reason)
{
    int64_t told = log_recall(rq->emu->log, key);
    if (told != 0 && now_ms() > told + NEWS_MS)
        request_breach(rq, "%s: it was told so before", reason);
    else if (told == 0)
        log_remember(rq->emu->log, key, now_ms());
    return refuse(rq, reason);
}

static bool refuse_token(struct request *rq, const char *id, const char *reason)
{
    struct buf key = {0};
    buf_printf(&key, "shapeways refused %s", id);
    int64_t times = log_recall(rq->emu->log, key.data) + 1;
    log_remember(rq->emu->log, key.data, times);
    buf_free(&key);
    if (times > REFUSALS_MAX)
        request_breach(rq, "%s: this token was refused %lld times already", reason,
                       (long long)times - 1);
    return refuse(rq, reason);
}

/* Recorded: an answer like any other, and nothing in it. */
static bool refuse_nobody(struct request *rq)
{
    request_breach(rq, "no Authorization");
    if (sw_is(sw_opt(rq)->no_credentials, "401")) {
        sw_error(rq, 401, "Authorization required");
        return false;
    }
    rq->reply.status = 200;
    reply_header(&rq->reply, "Content-Type", "text/html; charset=UTF-8");
    return false;
}

/* ---- OAuth1 ---- */

/* As the client wrote it: scheme, the host that it named, the path as it was sent. */
static void request_uri(struct request *rq, struct buf *out)
{
    const char *url = rq->port->url;
    buf_printf(out, "%.*s://%s%s", (int)strcspn(url, ":"), url, request_header(rq, "Host"),
               rq->raw_path);
}

static const char *consumer_secret(const struct request *rq)
{
    const char *now = sw_opt(rq)->consumer_secret;
    return *now != '\0' ? now : rq->emu->shapeways.consumer_secret;
}

/* The signature is as it should be. One that is right but for a secret which is over is no
 * breach. */
static bool verify(struct request *rq, const struct oauth1_params *p, const char *token_secret)
{
    struct buf uri = {0};
    struct buf base = {0};
    char right[32];
    char old[32];
    const char *given = oauth1_get(p, "oauth_signature");
    request_uri(rq, &uri);
    oauth1_base(rq->method, uri.data, p, &base);
    oauth1_sign(base.data, consumer_secret(rq), token_secret, right);
    oauth1_sign(base.data, rq->emu->shapeways.consumer_secret, token_secret, old);
    bool good = strcmp(given, right) == 0;
    if (!good && strcmp(given, old) != 0)
        request_breach(rq, "the signature is wrong; the base string is %s", base.data);
    buf_free(&uri);
    buf_free(&base);
    return good || refuse(rq, "Invalid signature");
}

static bool has_parameters(struct request *rq, const struct oauth1_params *p, enum sw_auth auth)
{
    static const char *const names[] = {"oauth_consumer_key", "oauth_signature_method",
                                        "oauth_nonce",        "oauth_timestamp",
                                        "oauth_signature",    "oauth_token",
                                        "oauth_verifier",     "oauth_version"};
    size_t count = auth == SW_AUTH_CONSUMER ? 5 : auth == SW_AUTH_TOKEN ? 6 : 8;
    struct buf text = {0};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && text.len == 0; i++) {
        size_t times = oauth1_times(p, names[i]);
        if (times > 1 || (times == 0 && i < count))
            buf_printf(&text, "%s: %zu times", names[i], times);
    }
    bool good = text.len == 0 || refuse_breach(rq, text.data);
    buf_free(&text);
    return good;
}

static bool judge_parameters(struct request *rq, const struct oauth1_params *p)
{
    const char *version = oauth1_get(p, "oauth_version");
    size_t nonce_len = strlen(oauth1_get(p, "oauth_nonce"));
    if (strcmp(oauth1_get(p, "oauth_signature_method"), "HMAC-SHA1") != 0)
        return refuse_breach(rq, "oauth_signature_method is not HMAC-SHA1");
    if (version != NULL && strcmp(version, "1.0") != 0)
        return refuse_breach(rq, "oauth_version is not 1.0");
    if (nonce_len == 0 || nonce_len > NONCE_MAX)
        return refuse_breach(rq, "oauth_nonce has not 1 to 254 characters");
    if (oauth1_get(p, "oauth_body_hash") != NULL)
        request_breach(rq, "oauth_body_hash, which the document does not know");
    if (strcmp(oauth1_get(p, "oauth_consumer_key"), rq->emu->shapeways.consumer_key) != 0)
        return refuse_token(rq, oauth1_get(p, "oauth_consumer_key"), "Invalid consumer key");
    return true;
}

static bool judge_time(struct request *rq, const struct oauth1_params *p)
{
    const char *text = oauth1_get(p, "oauth_timestamp");
    char *end = NULL;
    int64_t value = strtoll(text, &end, 10);
    int64_t off = value - sw_now(&rq->opt) / 1000;
    if (*text == '\0' || *end != '\0' || value <= 0)
        return refuse_breach(rq, "oauth_timestamp is no number of seconds");
    if (off > sw_opt(rq)->skew_s || -off > sw_opt(rq)->skew_s)
        return refuse_known(rq, "shapeways clock",
                            "oauth_timestamp is too far from the server's time");
    return true;
}

/* "Unique across all requests with the same timestamp, client credentials, and token." */
static bool judge_nonce(struct request *rq, const struct oauth1_params *p)
{
    const char *token = oauth1_get(p, "oauth_token");
    struct buf text = {0};
    buf_printf(&text, "%s %s %s %s", oauth1_get(p, "oauth_nonce"), oauth1_get(p, "oauth_timestamp"),
               oauth1_get(p, "oauth_consumer_key"), token != NULL ? token : "");
    bool fresh = sw_stock_nonce(sw_stock(rq), text.data, now_ms());
    buf_free(&text);
    return fresh || refuse_breach(rq, "the nonce was used before");
}

static bool find_token(struct request *rq, const struct oauth1_params *p, enum sw_auth auth)
{
    struct sw_token *t = &sw_visit(rq)->token;
    const char *id = oauth1_get(p, "oauth_token");
    if (auth == SW_AUTH_CONSUMER)
        return id == NULL || refuse_breach(rq, "oauth_token, where there can be none yet");
    bool found = sw_stock_token(sw_stock(rq), id, t);
    if (!found || t->kind != (auth == SW_AUTH_REQUEST ? SW_REQUEST : SW_ACCESS)) {
        t->secret[0] = '\0';
        return refuse_token(rq, id, "Invalid token");
    }
    if (t->state == SW_REVOKED)
        return refuse_token(rq, id, "Token revoked");
    return true;
}

static void keep_text(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text != NULL ? text : "");
}

static bool judge_oauth1(struct request *rq, const struct oauth1_params *p, enum sw_auth auth)
{
    struct sw_visit *v = sw_visit(rq);
    if (!has_parameters(rq, p, auth) || !judge_parameters(rq, p) || !find_token(rq, p, auth) ||
        !judge_time(rq, p) || !verify(rq, p, v->token.secret) || !judge_nonce(rq, p))
        return false;
    keep_text(v->verifier, sizeof(v->verifier), oauth1_get(p, "oauth_verifier"));
    keep_text(v->callback, sizeof(v->callback), oauth1_get(p, "oauth_callback"));
    return true;
}

static bool authorize_oauth1(struct request *rq, enum sw_auth auth)
{
    struct oauth1_params p = {0};
    const char *wrong = oauth1_add_header(&p, rq->authorization);
    oauth1_add_form(&p, rq->raw_query);
    bool good = wrong == NULL ? judge_oauth1(rq, &p, auth) : refuse_breach(rq, wrong);
    oauth1_free(&p);
    return good;
}

/* ---- OAuth2 ---- */

static bool authorize_bearer(struct request *rq)
{
    struct sw_token *t = &sw_visit(rq)->token;
    const char *id = rq->authorization + strlen("Bearer ");
    if (!sw_stock_token(sw_stock(rq), id, t) || t->kind != SW_BEARER)
        return refuse_token(rq, id, "Invalid access token");
    if (t->state == SW_REVOKED)
        return refuse_token(rq, id, "Access token revoked");
    if (t->expires != 0 && sw_now(&rq->opt) >= t->expires) {
        struct buf key = {0};
        buf_printf(&key, "shapeways over %s", id);
        refuse_known(rq, key.data, "Access token expired");
        buf_free(&key);
        return false;
    }
    return true;
}

/* ---- all of it ---- */

static void judge_secrets(struct request *rq)
{
    const struct emulator *emu = rq->emu;
    const char *const others[] = {emu->secrets.token, emu->three_sixty_token, emu->sharemy3d_token};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (strstr(rq->authorization, others[i]) != NULL)
            request_breach(rq, "the token of another service");
    if (strstr(rq->authorization, emu->shapeways.consumer_secret) != NULL ||
        strstr(rq->authorization, emu->shapeways.access_secret) != NULL)
        request_breach(rq, "a secret stands in the Authorization");
    if (strstr(rq->target, emu->shapeways.consumer_secret) != NULL)
        request_breach(rq, "the consumer's secret stands in the URL");
    if (strstr(rq->raw_query, "oauth_signature") != NULL)
        request_breach(rq, "OAuth's parameters belong into the header");
}

/* A library that is not told otherwise calls the body a form, and the service then counts it
 * into the signature: whatever was signed is wrong. */
static bool judge_type(struct request *rq)
{
    bool body = strcmp(rq->method, "POST") == 0 || strcmp(rq->method, "PUT") == 0;
    if (!body || strncasecmp(rq->content_type, "application/json", 16) == 0)
        return true;
    request_breach(rq, "Content-Type %s, not application/json", rq->content_type);
    return refuse(rq, "Invalid signature");
}

bool sw_authorize(struct request *rq)
{
    enum sw_auth auth = sw_visit(rq)->route != NULL ? sw_visit(rq)->route->auth : SW_AUTH_TOKEN;
    const char *ways = sw_opt(rq)->auth;
    if (auth == SW_AUTH_OWN)
        return true;
    if (rq->authorizations == 0)
        return refuse_nobody(rq);
    if (rq->authorizations > 1)
        return refuse_breach(rq, "two Authorizations");
    judge_secrets(rq);
    bool bearer = strncmp(rq->authorization, "Bearer ", 7) == 0;
    if (!sw_is(ways, "both") && bearer != sw_is(ways, "oauth2"))
        return refuse_known(rq, "shapeways way", bearer ? "OAuth2 is not taken" : "OAuth1 is over");
    if (!judge_type(rq))
        return false;
    if (bearer && auth == SW_AUTH_TOKEN)
        rq->authorized = authorize_bearer(rq);
    else
        rq->authorized = authorize_oauth1(rq, auth);
    return rq->authorized;
}
