#include "backends/jwt.h"

#include "backends/json.h"
#include "backends/util.h"

#include <errno.h>
#include <string.h>

#define PAYLOAD_MAX (16u << 10) /* encoded bytes; headers of requests are no longer */

static int digit_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char       *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* base64url without padding (RFC 4648 section 5); `out` has room for len * 3 / 4 bytes. The count,
 * or -EINVAL. */
static ssize_t decode(const char *text, size_t len, unsigned char *out)
{
    unsigned bits = 0;
    size_t   n = 0;

    if (len % 4 == 1)
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        int digit = digit_of(text[i]);

        if (digit < 0)
            return -EINVAL;
        bits = (bits << 6 | (unsigned)digit) & 0xffffff;
        if (i % 4 > 0)
            out[n++] = (unsigned char)(bits >> (6 - 2 * (i % 4)));
    }
    return (ssize_t)n;
}

/* The second of three parts between dots; NULL: it has not that form. */
static const char *find_payload(const char *token, size_t *len)
{
    const char *first = strchr(token, '.');
    const char *second = first ? strchr(first + 1, '.') : NULL;

    if (!second || first == token || strchr(second + 1, '.'))
        return NULL;
    *len = (size_t)(second - first - 1);
    return *len > 0 && *len <= PAYLOAD_MAX ? first + 1 : NULL;
}

static bool is_plain(const char *text)
{
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return false;
    return *text && pm_utf8_valid(text);
}

int pm_jwt_claim(const char *token, const char *claim, char *out, size_t size)
{
    PM_AUTO(free) unsigned char *json = NULL;
    struct cJSON                *payload = NULL;
    size_t                       len = 0;
    const char                  *text = find_payload(token, &len);
    ssize_t                      n;

    *out = '\0';
    if (!text)
        return -ENOENT;
    json = malloc(len);
    if (!json)
        return -ENOMEM;
    n = decode(text, len, json);
    if (n > 0)
        payload = pm_json_parse((const char *)json, (size_t)n);
    text = pm_json_text(payload, claim);
    if (text && strlen(text) < size && is_plain(text))
        memcpy(out, text, strlen(text) + 1);
    pm_json_free(payload);
    return *out ? 0 : -ENOENT;
}
