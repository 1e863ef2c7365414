#include "tests/emulator/signed.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define SIGNATURE_BYTES 256             /* as RSA with 2048 bits makes them */
#define LIFE_MAX_S 604800               /* of V4 */
#define ACCOUNT "uploader@sharemy3d.iam.gserviceaccount.com"

void signed_encode(const char *text, struct buf *out)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (isalnum(c) || strchr("-._~", c) != NULL)
            buf_add(out, text, 1);
        else
            buf_printf(out, "%%%02X", c);
    }
}

static void mac_of(const struct secrets *s, const struct buf *text, unsigned char *out)
{
    unsigned len = 32;
    for (unsigned char round = 0; round < SIGNATURE_BYTES / 32; round++) {
        struct buf salted = {0};
        buf_add(&salted, &round, 1);
        buf_add(&salted, text->data, text->len);
        HMAC(EVP_sha256(), s->key, sizeof(s->key), (const unsigned char *)salted.data, salted.len,
             out + (size_t)32 * round, &len);
        buf_free(&salted);
    }
}

static void add_base64_signature(const unsigned char *mac, struct buf *out)
{
    char text[SIGNATURE_BYTES * 2];
    EVP_EncodeBlock((unsigned char *)text, mac, SIGNATURE_BYTES);
    signed_encode(text, out);
}

static void add_hex_signature(const unsigned char *mac, size_t len, struct buf *out)
{
    for (size_t i = 0; i < len; i++)
        buf_printf(out, "%02x", mac[i]);
}

/* The whole query for what the URL says (all before the signature) and these covered headers. */
static void add_signature(const struct secrets *s, const char *method, const char *path,
                          const char *before, const char *headers, struct buf *out)
{
    struct buf text = {0};
    unsigned char mac[SIGNATURE_BYTES];
    buf_printf(&text, "%s\n%s\n%s\n%s", method, path, before, headers);
    mac_of(s, &text, mac);
    buf_free(&text);
    buf_puts(out, before);
    if (strstr(before, "GoogleAccessId=") != NULL) {
        buf_puts(out, "&Signature=");
        add_base64_signature(mac, out);
    } else if (strncmp(before, "ticket=", 7) == 0) {
        buf_puts(out, "-");
        add_hex_signature(mac, 16, out);
    } else {
        buf_puts(out, strstr(before, "x-goog-date=") != NULL ? "&x-goog-signature="
                                                             : "&X-Goog-Signature=");
        add_hex_signature(mac, SIGNATURE_BYTES, out);
    }
}

/* ---- giving out ---- */

static void add_extra(const struct signed_order *o, struct buf *out)
{
    if (*o->extra != '\0')
        buf_printf(out, "&%s", o->extra);
}

static void v4_before(const struct signed_order *o, struct buf *out)
{
    char day[16];
    char date[32];
    struct tm parts;
    time_t now = (time_t)o->now_s;
    gmtime_r(&now, &parts);
    strftime(day, sizeof(day), "%Y%m%d", &parts);
    strftime(date, sizeof(date), "%Y%m%dT%H%M%SZ", &parts);
    const char *headers = *o->starts != '\0' ? "host%3Bx-goog-resumable" : "host";
    const char *const names[] = {"Algorithm", "Credential", "Date", "Expires", "SignedHeaders"};
    struct buf credential = {0};
    char expires[32];
    buf_puts(&credential, ACCOUNT);
    struct buf encoded = {0};
    buf_printf(&credential, "/%s/auto/storage/goog4_request", day);
    signed_encode(credential.data, &encoded);
    snprintf(expires, sizeof(expires), "%lld", (long long)o->life_s);
    const char *const values[] = {"GOOG4-RSA-SHA256", encoded.data, date, expires, headers};
    size_t start = out->len;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        buf_printf(out, "%sX-Goog-%s=%s", i > 0 ? "&" : "", names[i], values[i]);
    if (strcmp(o->form, "lower") == 0)  /* the names only */
        for (char *p = out->data + start; (p = strstr(p, "X-Goog-")) != NULL;)
            for (; *p != '='; p++)
                *p = (char)tolower((unsigned char)*p);
    add_extra(o, out);
    buf_free(&credential);
    buf_free(&encoded);
}

static void before_of(const struct signed_order *o, struct buf *out)
{
    long long end = (long long)(o->now_s + o->life_s);
    if (strcmp(o->form, "v2") == 0) {
        struct buf account = {0};
        signed_encode(ACCOUNT, &account);
        buf_printf(out, "GoogleAccessId=%s&Expires=%lld", account.data, end);
        add_extra(o, out);
        buf_free(&account);
    } else if (strcmp(o->form, "opaque") == 0) {
        buf_printf(out, "ticket=%llx", (unsigned long long)end ^ 0x5deece66dULL);
    } else {
        v4_before(o, out);
    }
}

void signed_query(const struct secrets *s, const struct signed_order *order, struct buf *out)
{
    struct buf before = {0};
    before_of(order, &before);
    buf_puts(out, "?");
    add_signature(s, order->method, order->path, before.data,
                  *order->starts != '\0' ? "x-goog-resumable:start\n" : "", out);
    buf_free(&before);
}

/* ---- judging ---- */

static enum MHD_Result add_goog_header(void *cls, enum MHD_ValueKind kind, const char *key,
                                       const char *value)
{
    struct buf *out = cls;
    (void)kind;
    if (strncasecmp(key, "x-goog-", 7) != 0)
        return MHD_YES;
    for (const char *p = key; *p != '\0'; p++)
        buf_printf(out, "%c", tolower((unsigned char)*p));
    buf_printf(out, ":%s\n", value != NULL ? value : "");
    return MHD_YES;
}

/* What the signature covers of the headers that came; two more in V2, which we never sign. */
static void covered_headers(struct request *rq, bool v2, struct buf *out)
{
    buf_add(out, "", 0);
    MHD_get_connection_values(rq->connection, MHD_HEADER_KIND, add_goog_header, out);
    if (v2 && *request_header(rq, "Content-Type") != '\0')
        buf_puts(out, "content-type\n");
    if (v2 && *request_header(rq, "Content-MD5") != '\0')
        buf_puts(out, "content-md5\n");
}

static const char *find(const char *query, const char *name)
{
    const char *at = strstr(query, name);
    return at != NULL ? at + strlen(name) : NULL;
}

static bool v4_end(const char *date, const char *expires, int64_t *end_s)
{
    struct tm parts = {0};
    char *rest = strptime(date, "%Y%m%dT%H%M%SZ", &parts);
    long life = strtol(expires, NULL, 10);
    *end_s = (int64_t)timegm(&parts) + life;
    return rest != NULL && *rest == '&' && life > 0 && life <= LIFE_MAX_S;
}

/* When it ends, as the URL says; false if it does not say so as it should. */
static bool end_of(const char *query, int64_t *end_s)
{
    const char *date = find(query, "X-Goog-Date=");
    const char *expires = find(query, "X-Goog-Expires=");
    if (date == NULL) {
        date = find(query, "x-goog-date=");
        expires = find(query, "x-goog-expires=");
    }
    if (date != NULL)
        return expires != NULL && v4_end(date, expires, end_s);
    if (strncmp(query, "ticket=", 7) == 0) {
        *end_s = (int64_t)(strtoull(query + 7, NULL, 16) ^ 0x5deece66dULL);
        return true;
    }
    expires = find(query, "&Expires=");
    *end_s = expires != NULL ? strtoll(expires, NULL, 10) : 0;
    return expires != NULL;
}

static size_t len_before_signature(const char *query)
{
    static const char *const names[] = {"&Signature=", "&X-Goog-Signature=",
                                        "&x-goog-signature="};
    if (strncmp(query, "ticket=", 7) == 0)
        return strcspn(query, "-");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *at = strstr(query, names[i]);
        if (at != NULL)
            return (size_t)(at - query);
    }
    return strlen(query);
}

enum signed_verdict signed_check(struct request *rq, const char *method, int64_t now_s)
{
    const char *query = rq->raw_query;
    size_t len = len_before_signature(query);
    struct buf headers = {0};
    struct buf right = {0};
    int64_t end_s = 0;
    if (query[len] == '\0')
        return SIGNED_MISSING;
    char *before = strndup(query, len);
    covered_headers(rq, strstr(query, "GoogleAccessId=") != NULL, &headers);
    add_signature(&rq->emu->secrets, method, rq->raw_path, before, headers.data, &right);
    bool same = right.len == strlen(query) && CRYPTO_memcmp(right.data, query, right.len) == 0;
    bool timed = end_of(query, &end_s);
    free(before);
    buf_free(&headers);
    buf_free(&right);
    if (!timed)
        return SIGNED_MALFORMED;
    if (now_s >= end_s)                 /* Google looks at this first */
        return SIGNED_OVER;
    return same ? SIGNED_GOOD : SIGNED_WRONG;
}
