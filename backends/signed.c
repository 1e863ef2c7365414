#include "backends/signed.h"

#include "backends/util.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define MARGIN_MS  60000
#define ASSUMED_MS (5 * 60 * 1000) /* of a URL that does not say how long it lives */
#define SECONDS_MAX INT64_C(100000000000) /* the year 5138: what is later is no time */

/* --- parameters */

/* Where the value of the first parameter of that name begins, and its length. */
static const char *find_parameter(const char *url, const char *name, size_t *len)
{
    const char *p = url + strcspn(url, "?#");
    size_t      n = strlen(name);

    while (*p == '?' || *p == '&') {
        const char *end;

        p++;
        end = p + strcspn(p, "&#");
        if (!strncasecmp(p, name, n) && p[n] == '=') {
            *len = (size_t)(end - p - n - 1);
            return p + n + 1;
        }
        p = end;
    }
    return NULL;
}

char *pm_signed_parameter(const char *url, const char *name)
{
    size_t              len;
    const char         *at = find_parameter(url, name, &len);
    PM_AUTO(free) char *raw = at ? strndup(at, len) : NULL;

    for (char *c = raw; c && *c; c++)
        if (*c == '+')
            *c = ' ';
    return raw ? pm_urldec(raw) : NULL;
}

/* Digits only. */
static bool to_seconds(const char *text, int64_t *out)
{
    int64_t value = 0;

    if (!text || !*text)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || value > SECONDS_MAX)
            return false;
        value = value * 10 + (*text - '0');
    }
    *out = value;
    return value <= SECONDS_MAX;
}

static bool seconds_of(const char *url, const char *name, int64_t *out)
{
    PM_AUTO(free) char *text = pm_signed_parameter(url, name);

    return to_seconds(text, out);
}

/* --- how long it lives */

/* YYYYMMDDThhmmssZ */
static bool to_date(const char *text, int64_t *out)
{
    static const char form[] = "ddddddddTddddddZ";
    struct tm         tm = {0};
    int               field[6];
    int               used = -1;

    for (size_t i = 0; i < sizeof(form); i++)
        if (form[i] == 'd' ? !isdigit((unsigned char)text[i]) : text[i] != form[i])
            return false;
    if (sscanf(text, "%4d%2d%2dT%2d%2d%2dZ%n", &field[0], &field[1], &field[2], &field[3], &field[4],
               &field[5], &used) != 6 ||
        used != (int)sizeof(form) - 1)
        return false;
    if (field[1] < 1 || field[1] > 12 || field[2] < 1 || field[2] > 31 || field[3] > 23 ||
        field[4] > 59 || field[5] > 60)
        return false;
    tm.tm_year = field[0] - 1900;
    tm.tm_mon = field[1] - 1;
    tm.tm_mday = field[2];
    tm.tm_hour = field[3];
    tm.tm_min = field[4];
    tm.tm_sec = field[5];
    *out = (int64_t)timegm(&tm);
    return true;
}

/* V4: when it was signed, and for how long. */
static bool read_v4(const char *url, const char *vendor, int64_t *ends, int64_t *life)
{
    char                name[32];
    PM_AUTO(free) char *date = NULL;
    int64_t             begun;

    snprintf(name, sizeof(name), "X-%s-Expires", vendor);
    if (!seconds_of(url, name, life))
        return false;
    snprintf(name, sizeof(name), "X-%s-Date", vendor);
    date = pm_signed_parameter(url, name);
    if (!date || !to_date(date, &begun))
        return false;
    *ends = begun + *life;
    return true;
}

int64_t pm_signed_use_ms(const char *url, int64_t server_ms)
{
    int64_t ends = 0, life = 0, left_ms, margin_ms;

    if (read_v4(url, "Goog", &ends, &life) || read_v4(url, "Amz", &ends, &life)) {
        left_ms = server_ms ? ends * 1000 - server_ms : life * 1000;
    } else if (server_ms && seconds_of(url, "Expires", &ends)) { /* V2: it was signed just now */
        left_ms = ends * 1000 - server_ms;
        life = left_ms / 1000;
    } else {
        left_ms = ASSUMED_MS;
        life = ASSUMED_MS / 1000;
    }
    if (left_ms > life * 1000)
        left_ms = life * 1000; /* by a clock that is behind */
    margin_ms = life * 500 < MARGIN_MS ? life * 500 : MARGIN_MS;
    return left_ms > margin_ms ? left_ms - margin_ms : 0;
}

/* --- what the file is called */

/* A quoted string, or a token, at *p; owned. */
static char *take_value(const char **p)
{
    PM_AUTO(pm_buf) struct pm_buf b = {0};
    bool                          quoted = **p == '"';

    if (quoted)
        (*p)++;
    while (**p && (quoted ? **p != '"' : !strchr("; \t", **p))) {
        if (quoted && **p == '\\' && (*p)[1])
            (*p)++;
        pm_buf_add(&b, *p, 1);
        (*p)++;
    }
    if (quoted && **p == '"')
        (*p)++;
    pm_buf_add(&b, "", 0);
    return b.len ? pm_buf_take(&b) : strdup("");
}

/* UTF-8'en'a%20b: only that charset is one that we read. */
static char *take_extended(const char *value)
{
    const char *language = strchr(value, '\'');
    const char *text = language ? strchr(language + 1, '\'') : NULL;

    if (!text || strncasecmp(value, "UTF-8'", 6) != 0)
        return NULL;
    return pm_urldec(text + 1);
}

static void replace(char **old, char *new)
{
    if (!new || !*new) {
        free(new);
        return;
    }
    free(*old);
    *old = new;
}

char *pm_signed_disposition(const char *value)
{
    char       *plain = NULL, *extended = NULL;
    const char *p = value + strcspn(value, ";");

    while (*p == ';') {
        const char *name;
        size_t      len;

        p += 1 + strspn(p + 1, " \t");
        name = p;
        len = strcspn(p, "=; \t");
        p += len + strspn(p + len, " \t");
        if (*p != '=') {
            p += strcspn(p, ";");
            continue;
        }
        p += 1 + strspn(p + 1, " \t");
        PM_AUTO(free) char *text = take_value(&p);
        p += strcspn(p, ";");
        if (text && len == 9 && !strncasecmp(name, "filename*", len) && !extended)
            replace(&extended, take_extended(text));
        else if (text && len == 8 && !strncasecmp(name, "filename", len) && !plain)
            replace(&plain, strdup(text));
    }
    if (!extended)
        return plain;
    free(plain);
    return extended;
}

/* A dot with something on both sides of it. */
static bool has_extension(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot && dot != name && dot[1];
}

char *pm_signed_file_name(const char *url)
{
    PM_AUTO(free) char *told = pm_signed_parameter(url, "response-content-disposition");
    PM_AUTO(free) char *path = strndup(url, strcspn(url, "?#"));
    char               *name = told ? pm_signed_disposition(told) : NULL;
    const char         *host = path ? strstr(path, "://") : NULL;
    const char         *slash = host ? strrchr(host + 3, '/') : NULL;

    if (name || !slash)
        return name;
    name = pm_urldec(slash + 1);
    if (name && !has_extension(name)) {
        free(name);
        return NULL;
    }
    return name;
}

/* --- answers */

void pm_signed_error(const char *body, size_t len, char out[PM_SIGNED_CODE_MAX])
{
    static const char begin[] = "<Code>", end[] = "</Code>";
    const char       *p = memmem(body, len, begin, sizeof(begin) - 1);
    size_t            n = 0, left;

    *out = '\0';
    if (!p)
        return;
    p += sizeof(begin) - 1;
    left = len - (size_t)(p - body);
    while (n < left && n < PM_SIGNED_CODE_MAX && isalnum((unsigned char)p[n]))
        n++;
    if (n == PM_SIGNED_CODE_MAX || left - n < sizeof(end) - 1 || memcmp(p + n, end, sizeof(end) - 1) != 0)
        return;
    memcpy(out, p, n);
    out[n] = '\0';
}

/* NAME=BASE64 of exactly so many characters, in a list with commas. */
static bool take_digest(const char *header, const char *name, size_t chars,
                        char out[PM_SIGNED_DIGEST_MAX])
{
    static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    size_t            n = strlen(name);

    for (const char *p = header; *p; p += strcspn(p, ","), p += *p == ',') {
        p += strspn(p, " \t");
        if (strncasecmp(p, name, n) != 0 || p[n] != '=' || strspn(p + n + 1, base64) != chars ||
            !strchr(", \t", p[n + 1 + chars]))
            continue;
        snprintf(out, PM_SIGNED_DIGEST_MAX, "%s=%.*s", name, (int)chars, p + n + 1);
        return true;
    }
    return false;
}

void pm_signed_digest(const char *header, char out[PM_SIGNED_DIGEST_MAX])
{
    *out = '\0';
    if (!take_digest(header, "crc32c", 8, out))
        take_digest(header, "md5", 24, out);
}
