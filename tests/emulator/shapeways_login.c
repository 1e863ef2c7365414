/* How tokens are had: OAuth1's three steps and OAuth2's client credentials. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tests/emulator/path.h"
#include "tests/emulator/shapeways_call.h"
#include "tests/emulator/signed.h"
#include "tests/emulator/sign.h"

static void reply_text(struct request *rq, int status, const char *type, struct buf *text)
{
    rq->reply.status = status;
    rq->reply.memory = *text;
    *text = (struct buf){0};
    reply_header(&rq->reply, "Content-Type", "%s", type);
}

/* ---- the request token ---- */

static bool is_loopback(const char *url)
{
    static const char *const hosts[] = {"http://localhost:", "http://127.0.0.1:", "http://[::1]:"};
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        if (strncmp(url, hosts[i], strlen(hosts[i])) == 0)
            return true;
    return false;
}

static void add_login_url(struct request *rq, const struct sw_token *t, struct buf *out)
{
    bool foreign = sw_is(sw_opt(rq)->login_url, "foreign");
    buf_printf(out, "%s" SHAPEWAYS_PREFIX "/login?oauth_token=%s",
               rq->emu->ports[foreign ? PORT_STORAGE : PORT_API].url, t->id);
}

void sw_request_token(struct request *rq)
{
    const char *callback = sw_visit(rq)->callback;
    bool pin = *callback == '\0' || strcmp(callback, "oob") == 0;
    struct sw_token t;
    struct buf url = {0};
    struct buf text = {0};
    if (!pin && !is_loopback(callback))
        request_breach(rq, "the callback %s leads away from this machine", callback);
    sw_new_token(&t, SW_REQUEST);
    t.expires = sw_now(&rq->opt) + sw_opt(rq)->request_ttl_s * 1000LL;
    if (!pin)
        snprintf(t.callback, sizeof(t.callback), "%s", callback);
    sw_stock_put_token(sw_stock(rq), &t);
    add_login_url(rq, &t, &url);
    buf_puts(&text, "authentication_url=");
    signed_encode(url.data, &text);
    if (sw_is(sw_opt(rq)->token_form, "separate"))
        buf_printf(&text, "&oauth_token=%s", t.id);
    buf_printf(&text, "&oauth_token_secret=%s&oauth_callback_confirmed=true", t.secret);
    buf_free(&url);
    reply_text(rq, 200, "application/x-www-form-urlencoded", &text);
}

/* ---- the user's word ---- */

void sw_grant(struct ledger *stock, struct sw_token *t, bool yes, struct buf *redirect)
{
    char hex[33];
    sign_random_hex(hex);
    hex[8] = '\0';
    t->state = yes ? SW_GRANTED : SW_DENIED;
    snprintf(t->verifier, sizeof(t->verifier), "%06lu", strtoul(hex, NULL, 16) % 1000000);
    sw_stock_put_token(stock, t);
    if (t->callback[0] == '\0')
        return;
    buf_printf(redirect, "%s%coauth_token=%s", t->callback,
               strchr(t->callback, '?') != NULL ? '&' : '?', t->id);
    buf_printf(redirect, yes ? "&oauth_verifier=%s" : "&denied=1", t->verifier);
}

/* What the user's browser is for; a test is the user. */
void sw_login_page(struct request *rq)
{
    struct sw_token t = {0};
    struct buf id = {0};
    struct buf word = {0};
    struct buf text = {0};
    struct buf redirect = {0};
    bool known = request_query(rq, "oauth_token", &id) &&
                 sw_stock_token(sw_stock(rq), id.data, &t) && t.kind == SW_REQUEST &&
                 t.state == SW_NEW && sw_now(&rq->opt) < t.expires;
    bool said = request_query(rq, "allow", &word);
    if (rq->authorizations > 0)
        request_breach(rq, "the page for the user's browser was asked for with an Authorization");
    if (!known) {
        buf_puts(&text, "<html><body>This request is unknown or over.</body></html>\n");
    } else if (!said) {
        buf_printf(&text, "<html><body><a href=\"?oauth_token=%s&amp;allow=1\">Allow</a> "
                          "<a href=\"?oauth_token=%s&amp;allow=0\">Deny</a></body></html>\n",
                   t.id, t.id);
    } else {
        sw_grant(sw_stock(rq), &t, strcmp(word.data, "1") == 0, &redirect);
        buf_printf(&text, "<html><body><b id=\"pin\">%s</b></body></html>\n",
                   t.state == SW_GRANTED && redirect.len == 0 ? t.verifier : "");
    }
    reply_text(rq, !known ? 404 : redirect.len > 0 ? 302 : 200, "text/html", &text);
    if (redirect.len > 0)
        reply_header(&rq->reply, "Location", "%s", redirect.data);
    buf_free(&id);
    buf_free(&word);
    buf_free(&redirect);
}

/* ---- the access token ---- */

static const char *refusal(struct request *rq, const struct sw_token *t)
{
    if (t->state == SW_USED) {
        request_breach(rq, "this request token became an access token already");
        return "The request token was used";
    }
    if (t->state == SW_DENIED)
        return "The user denied access";
    if (sw_now(&rq->opt) >= t->expires)
        return "The request token has expired";
    if (t->state != SW_GRANTED || strcmp(t->verifier, sw_visit(rq)->verifier) != 0)
        return "Invalid verifier";
    return NULL;
}

void sw_access_token(struct request *rq)
{
    struct sw_token *t = &sw_visit(rq)->token;
    struct sw_token access;
    struct buf text = {0};
    const char *reason = refusal(rq, t);
    if (reason != NULL) {
        sw_error(rq, 401, reason);
        return;
    }
    t->state = SW_USED;
    sw_new_token(&access, SW_ACCESS);
    ledger_begin(sw_stock(rq));
    sw_stock_put_token(sw_stock(rq), t);
    sw_stock_put_token(sw_stock(rq), &access);
    ledger_commit(sw_stock(rq));
    buf_printf(&text, "oauth_token=%s&oauth_token_secret=%s", access.id, access.secret);
    reply_text(rq, 200, "application/x-www-form-urlencoded", &text);
}

/* ---- OAuth2 ---- */

static void refuse(struct request *rq, int status, const char *error)
{
    struct buf text = {0};
    buf_printf(&text, "{\"error\":\"%s\",\"error_description\":\"See the documentation\"}", error);
    reply_json(&rq->reply, status, &text);
}

static bool form_value(const char *form, const char *name, struct buf *out)
{
    size_t name_len = strlen(name);
    for (const char *p = form; *p != '\0';) {
        size_t len = strcspn(p, "&");
        if (len > name_len && strncmp(p, name, name_len) == 0 && p[name_len] == '=') {
            url_decode(p + name_len + 1, len - name_len - 1, true, out);
            return true;
        }
        p += len + (p[len] == '&');
    }
    return false;
}

/* Appends "ID:SECRET" as it was given, by a header or in the form. */
static void client_of(struct request *rq, const char *form, struct buf *out)
{
    unsigned char plain[1024] = "";
    const char *basic = rq->authorizations == 1 ? rq->authorization : "";
    if (strncmp(basic, "Basic ", 6) == 0 && strlen(basic) < 1024) {
        EVP_DecodeBlock(plain, (const unsigned char *)basic + 6, (int)strlen(basic + 6));
        buf_puts(out, (const char *)plain);
        return;
    }
    form_value(form, "client_id", out);
    buf_puts(out, ":");
    form_value(form, "client_secret", out);
}

static bool is_client(struct request *rq, const char *form)
{
    struct buf given = {0};
    struct buf right = {0};
    const char *secret = sw_opt(rq)->consumer_secret;
    client_of(rq, form, &given);
    buf_printf(&right, "%s:%s", rq->emu->shapeways.consumer_key,
               *secret != '\0' ? secret : rq->emu->shapeways.consumer_secret);
    bool same = strcmp(given.data, right.data) == 0;
    buf_free(&given);
    buf_free(&right);
    return same;
}

void sw_oauth2_token(struct request *rq)
{
    const char *form = rq->body.data != NULL ? rq->body.data : "";
    struct sw_token t;
    struct buf text = {0};
    struct buf grant = {0};
    if (strncasecmp(rq->content_type, "application/x-www-form-urlencoded", 33) != 0)
        request_breach(rq, "Content-Type %s, not a form's", rq->content_type);
    form_value(form, "grant_type", &grant);
    buf_add(&grant, "", 0);
    bool right = strcmp(grant.data, "client_credentials") == 0;
    buf_free(&grant);
    if (!right)
        request_breach(rq, "the grant_type is not client_credentials");
    if (!right || sw_is(sw_opt(rq)->auth, "oauth1")) {
        refuse(rq, 400, "unsupported_grant_type");
        return;
    }
    if (!is_client(rq, form)) {
        refuse(rq, 401, "invalid_client");
        return;
    }
    sw_new_token(&t, SW_BEARER);
    t.expires = sw_now(&rq->opt) + sw_opt(rq)->oauth2_ttl_s * 1000LL;
    sw_stock_put_token(sw_stock(rq), &t);
    buf_printf(&text, "{\"access_token\":\"%s\",\"token_type\":\"bearer\",\"expires_in\":%d}", t.id,
               sw_opt(rq)->oauth2_ttl_s);
    reply_json(&rq->reply, 200, &text);
}
