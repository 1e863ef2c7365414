#include "backends/oauth1.h"

#include "backends/backend.h"
#include "backends/sign.h"
#include "backends/util.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PAIRS_MAX  64
#define CLOCK_SLOP INT64_C(2000) /* what a Date in whole seconds and the way here may hide */

/* --- parameters: encoded, then sorted by bytes */

struct pair {
    char *name; /* owned; encoded */
    char *value;
};

struct pairs {
    struct pair pair[PAIRS_MAX];
    size_t      count;
    bool        failed; /* no memory, or too many */
};

static void free_pairs(struct pairs *p)
{
    for (size_t i = 0; i < p->count; i++) {
        free(p->pair[i].name);
        free(p->pair[i].value);
    }
}

/* Takes over what the buffers hold. */
static void add_pair(struct pairs *p, struct pm_buf *name, struct pm_buf *value)
{
    bool  room = p->count < PAIRS_MAX;
    char *n = pm_buf_take(name), *v = pm_buf_take(value);

    if (!room || !n || !v) {
        free(n);
        free(v);
        p->failed = true;
        return;
    }
    p->pair[p->count++] = (struct pair){n, v};
}

static void add_plain(struct pairs *p, const char *name, const char *value)
{
    struct pm_buf n = {0}, v = {0};

    pm_buf_urlenc(&n, name);
    pm_buf_urlenc(&v, value);
    add_pair(p, &n, &v);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* What a form's encoding holds, in that of signatures: no NUL can cut it on the way. */
static void recode(struct pm_buf *out, const char *s, size_t len)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        int           high = c == '%' && i + 2 < len ? hex_digit(s[i + 1]) : -1;
        int           low = high >= 0 ? hex_digit(s[i + 2]) : -1;

        if (low >= 0) {
            c = (unsigned char)(high << 4 | low);
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        if (c && strchr(plain, c))
            pm_buf_add(out, &c, 1);
        else
            pm_buf_printf(out, "%%%02X", c);
    }
}

/* The members of a query or a form. */
static void add_form(struct pairs *p, const char *form, size_t len)
{
    for (size_t at = 0; at < len;) {
        const char   *end = memchr(form + at, '&', len - at);
        size_t        n = end ? (size_t)(end - form) - at : len - at;
        const char   *eq = memchr(form + at, '=', n);
        size_t        name = eq ? (size_t)(eq - form) - at : n;
        struct pm_buf key = {0}, value = {0};

        recode(&key, form + at, name);
        if (eq)
            recode(&value, eq + 1, n - name - 1);
        if (n)
            add_pair(p, &key, &value);
        at += n + 1;
    }
}

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    int                order = strcmp(x->name, y->name);

    return order ? order : strcmp(x->value, y->value);
}

/* What the header tells, but for the signature: oauth_* in alphabetical order, as recorded. */
static void add_own(struct pairs *p, const struct pm_oauth1_keys *keys, const struct pm_oauth1_call *call)
{
    char seconds[24];

    snprintf(seconds, sizeof(seconds), "%" PRId64, call->seconds);
    for (const struct pm_oauth1_pair *m = call->more; m && m->name; m++)
        add_plain(p, m->name, m->value);
    add_plain(p, "oauth_consumer_key", keys->consumer_key);
    add_plain(p, "oauth_nonce", call->nonce);
    add_plain(p, "oauth_signature_method", "HMAC-SHA1");
    add_plain(p, "oauth_timestamp", seconds);
    if (keys->token)
        add_plain(p, "oauth_token", keys->token);
    if (!call->bare)
        add_plain(p, "oauth_version", "1.0");
}

/* --- the base string */

/* The URL without query, its scheme and host in lower case, without the port that goes without saying
 * (3.4.1.2). */
static void add_base_url(struct pm_buf *out, const char *url)
{
    const char *host = strstr(url, "://");
    size_t      scheme = host ? (size_t)(host - url) : 0;
    bool        tls = scheme == 5 && !strncasecmp(url, "https", 5);
    size_t      len, port;
    char        c;

    if (!host || (!tls && (scheme != 4 || strncasecmp(url, "http", 4) != 0))) {
        out->failed = true;
        return;
    }
    host += 3;
    len = strcspn(host, "/?#");
    port = tls ? 4 : 3;
    pm_buf_str(out, tls ? "https://" : "http://");
    for (size_t i = 0; i < len; i++) {
        if (len - i == port && !strncmp(host + i, tls ? ":443" : ":80", port))
            break;
        c = host[i] >= 'A' && host[i] <= 'Z' ? (char)(host[i] | 0x20) : host[i];
        pm_buf_add(out, &c, 1);
    }
    host += len;
    len = strcspn(host, "?#");
    if (!len)
        pm_buf_str(out, "/");
    pm_buf_add(out, host, len);
}

char *pm_oauth1_base(const struct pm_oauth1_keys *keys, const struct pm_oauth1_call *call)
{
    PM_AUTO(pm_buf) struct pm_buf url = {0}, all = {0};
    struct pm_buf                 out = {0};
    struct pairs                 *p = calloc(1, sizeof(*p));
    const char                   *query = strchr(call->url, '?');

    if (!p)
        return NULL;
    add_own(p, keys, call);
    if (query)
        add_form(p, query + 1, strcspn(query + 1, "#"));
    if (call->form)
        add_form(p, call->form, strlen(call->form));
    qsort(p->pair, p->count, sizeof(p->pair[0]), compare_pairs);
    for (size_t i = 0; i < p->count; i++)
        pm_buf_printf(&all, "%s%s=%s", i ? "&" : "", p->pair[i].name, p->pair[i].value);
    add_base_url(&url, call->url);
    out.failed = url.failed || all.failed || p->failed;
    pm_buf_urlenc(&out, call->method);
    pm_buf_str(&out, "&");
    pm_buf_urlenc(&out, url.ptr ? url.ptr : "");
    pm_buf_str(&out, "&");
    pm_buf_urlenc(&out, all.ptr ? all.ptr : "");
    free_pairs(p);
    free(p);
    return pm_buf_take(&out);
}

/* --- the header */

static int make_signature(const struct pm_oauth1_keys *keys, const char *base,
                          char out[PM_HMAC_SHA1_MAX])
{
    struct pm_buf key = {0};
    int           err = -ENOMEM;

    pm_buf_urlenc(&key, keys->consumer_secret);
    pm_buf_str(&key, "&");
    pm_buf_urlenc(&key, keys->token_secret ? keys->token_secret : "");
    if (!key.failed)
        err = pm_sign_hmac_sha1(key.ptr, base, out);
    if (key.ptr)
        explicit_bzero(key.ptr, key.len);
    pm_buf_free(&key);
    return err;
}

/* In the order of their names, the signature among them. */
static void write_header(struct pm_buf *out, const struct pairs *p)
{
    pm_buf_str(out, "Authorization: OAuth ");
    for (size_t i = 0; i < p->count; i++)
        pm_buf_printf(out, "%s%s=\"%s\"", i ? ", " : "", p->pair[i].name, p->pair[i].value);
}

char *pm_oauth1_header(const struct pm_oauth1_keys *keys, const struct pm_oauth1_call *call)
{
    PM_AUTO(free) char *base = pm_oauth1_base(keys, call);
    struct pairs       *p = base ? calloc(1, sizeof(*p)) : NULL;
    struct pm_buf       out = {0};
    char                signature[PM_HMAC_SHA1_MAX];

    if (!p)
        return NULL;
    out.failed = make_signature(keys, base, signature) != 0;
    if (!out.failed) {
        add_own(p, keys, call);
        add_plain(p, "oauth_signature", signature);
        qsort(p->pair, p->count, sizeof(p->pair[0]), compare_pairs);
        out.failed = p->failed;
        write_header(&out, p);
    }
    free_pairs(p);
    free(p);
    return pm_buf_take(&out);
}

/* --- the service's clock */

bool pm_oauth1_learn(struct pm_oauth1_clock *clock, int64_t date_ms, int64_t came_ms)
{
    int64_t ahead = date_ms + 500 - came_ms, off;

    if (!date_ms)
        return false;
    off = ahead - clock->ahead_ms;
    if (off <= CLOCK_SLOP && off >= -CLOCK_SLOP)
        return false;
    clock->ahead_ms = ahead;
    return true;
}

int64_t pm_oauth1_seconds(struct pm_oauth1_clock *clock)
{
    return (pm_wall_ms() + clock->ahead_ms) / 1000;
}

/* --- one try */

int pm_oauth1_sign(void *arg, const char *method, const char *url, char **header)
{
    struct pm_oauth1_signer *s = arg;
    unsigned char            random[16];
    char                     nonce[2 * sizeof(random) + 1];
    struct pm_oauth1_call    call = {.method = method, .url = url, .more = s->more, .nonce = nonce,
                                     .seconds = pm_oauth1_seconds(s->clock)};
    int                      err = pm_random(random, sizeof(random));

    if (err)
        return err;
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(nonce + 2 * i, 3, "%02x", random[i]);
    *header = pm_oauth1_header(&s->keys, &call);
    return *header ? 0 : -ENOMEM;
}
