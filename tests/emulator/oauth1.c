#include "tests/emulator/oauth1.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tests/emulator/path.h"
#include "tests/emulator/signed.h"

void oauth1_add(struct oauth1_params *p, const char *name, const char *value)
{
    struct oauth1_param *grown = realloc(p->all, (p->count + 1) * sizeof(*grown));
    if (grown == NULL)
        abort();
    p->all = grown;
    p->all[p->count++] = (struct oauth1_param){emu_strdup(name), emu_strdup(value)};
}

static void add_decoded(struct oauth1_params *p, const char *name, size_t name_len,
                        const char *value, size_t value_len, bool plus)
{
    struct buf n = {0};
    struct buf v = {0};
    url_decode(name, name_len, plus, &n);
    url_decode(value, value_len, plus, &v);
    oauth1_add(p, n.data, v.data);      /* NULL is "" */
    buf_free(&n);
    buf_free(&v);
}

void oauth1_add_form(struct oauth1_params *p, const char *text)
{
    while (*text != '\0') {
        size_t len = strcspn(text, "&");
        size_t name_len = strcspn(text, "=&");
        size_t skip = name_len < len ? name_len + 1 : len;
        if (len > 0)
            add_decoded(p, text, name_len, text + skip, len - skip, true);
        text += len + (text[len] == '&');
    }
}

const char *oauth1_add_header(struct oauth1_params *p, const char *header)
{
    if (strncasecmp(header, "OAuth ", 6) != 0)
        return "no OAuth header";
    for (const char *at = header + 6; *at != '\0';) {
        at += strspn(at, " \t\r\n");
        size_t name_len = strcspn(at, "=, ");
        if (at[name_len] != '=' || at[name_len + 1] != '"')
            return "a parameter without a value in quotes";
        const char *value = at + name_len + 2;
        size_t value_len = strcspn(value, "\"");
        if (value[value_len] != '"')
            return "a value without end";
        if (name_len != 5 || strncasecmp(at, "realm", 5) != 0)
            add_decoded(p, at, name_len, value, value_len, false);
        at = value + value_len + 1;
        at += strspn(at, " \t");
        if (*at != '\0' && *at != ',')
            return "no comma between parameters";
        at += *at == ',';
    }
    return NULL;
}

const char *oauth1_get(const struct oauth1_params *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->all[i].name, name) == 0)
            return p->all[i].value;
    return NULL;
}

size_t oauth1_times(const struct oauth1_params *p, const char *name)
{
    size_t times = 0;
    for (size_t i = 0; i < p->count; i++)
        times += strcmp(p->all[i].name, name) == 0;
    return times;
}

void oauth1_free(struct oauth1_params *p)
{
    for (size_t i = 0; i < p->count; i++) {
        free(p->all[i].name);
        free(p->all[i].value);
    }
    free(p->all);
    *p = (struct oauth1_params){0};
}

/* ---- the base string ---- */

static int by_name_and_value(const void *x, const void *y)
{
    const struct oauth1_param *a = x;
    const struct oauth1_param *b = y;
    int r = strcmp(a->name, b->name);
    return r != 0 ? r : strcmp(a->value, b->value);
}

/* 3.4.1.3.2: encoded first, sorted then. */
static void add_parameters(const struct oauth1_params *p, struct buf *out)
{
    struct oauth1_params encoded = {0};
    for (size_t i = 0; i < p->count; i++) {
        struct buf name = {0};
        struct buf value = {0};
        signed_encode(p->all[i].name, &name);
        signed_encode(p->all[i].value, &value);
        if (strcmp(p->all[i].name, "oauth_signature") != 0)
            oauth1_add(&encoded, name.data, value.data);
        buf_free(&name);
        buf_free(&value);
    }
    if (encoded.count > 0)
        qsort(encoded.all, encoded.count, sizeof(encoded.all[0]), by_name_and_value);
    for (size_t i = 0; i < encoded.count; i++)
        buf_printf(out, "%s%s=%s", i > 0 ? "&" : "", encoded.all[i].name, encoded.all[i].value);
    oauth1_free(&encoded);
}

static bool is_default_port(bool https, const char *port, size_t len)
{
    return len == 0 || (https && len == 3 && strncmp(port, "443", 3) == 0) ||
           (!https && len == 2 && strncmp(port, "80", 2) == 0);
}

/* 3.4.1.2 */
static void add_base_uri(const char *uri, struct buf *out)
{
    const char *rest = strstr(uri, "://");
    size_t scheme_len = rest != NULL ? (size_t)(rest - uri) : 0;
    const char *host = rest != NULL ? rest + 3 : uri;
    size_t authority_len = strcspn(host, "/?#");
    size_t host_len = strcspn(host, ":/?#");
    for (size_t i = 0; i < scheme_len; i++)
        buf_printf(out, "%c", tolower((unsigned char)uri[i]));
    buf_puts(out, "://");
    for (size_t i = 0; i < host_len; i++)
        buf_printf(out, "%c", tolower((unsigned char)host[i]));
    if (host_len < authority_len &&
        !is_default_port(scheme_len == 5, host + host_len + 1, authority_len - host_len - 1))
        buf_add(out, host + host_len, authority_len - host_len);
    const char *path = host + authority_len;
    size_t path_len = strcspn(path, "?#");
    if (path_len == 0)
        buf_puts(out, "/");
    buf_add(out, path, path_len);
}

static void add_encoded(const struct buf *text, struct buf *out)
{
    signed_encode(text->data != NULL ? text->data : "", out);
}

void oauth1_base(const char *method, const char *uri, const struct oauth1_params *p,
                 struct buf *out)
{
    struct buf part = {0};
    for (; *method != '\0'; method++)
        buf_printf(out, "%c", toupper((unsigned char)*method));
    buf_puts(out, "&");
    add_base_uri(uri, &part);
    add_encoded(&part, out);
    buf_puts(out, "&");
    part.len = 0;
    buf_add(&part, "", 0);
    add_parameters(p, &part);
    add_encoded(&part, out);
    buf_free(&part);
}

void oauth1_sign(const char *base, const char *consumer_secret, const char *token_secret,
                 char out[32])
{
    struct buf key = {0};
    unsigned char mac[20];
    unsigned len = sizeof(mac);
    signed_encode(consumer_secret, &key);
    buf_puts(&key, "&");
    signed_encode(token_secret, &key);
    HMAC(EVP_sha1(), key.data, (int)key.len, (const unsigned char *)base, strlen(base), mac, &len);
    EVP_EncodeBlock((unsigned char *)out, mac, (int)len);
    buf_free(&key);
}
