#include "backends/json.h"
#include "backends/backend.h"
#include "backends/util.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* --- parsing ------------------------------------------------------------------------------- */

static int hex4(const char *s, size_t left, unsigned *out)
{
    unsigned value = 0;

    if (left < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)s[i];

        if (c >= '0' && c <= '9')
            value = value << 4 | (c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            value = value << 4 | ((c | 0x20u) - 'a' + 10);
        else
            return -1;
    }
    *out = value;
    return 0;
}

static bool is_high(unsigned u)
{
    return u >= 0xd800 && u < 0xdc00;
}

static bool is_low(unsigned u)
{
    return u >= 0xdc00 && u < 0xe000;
}

/* Copies the escape at `s` (a backslash) of `left` bytes to `o`; the ones that cJSON cannot take as
 * the bytes json.h promises. Returns how many bytes were read; *o moves on. */
static size_t copy_escape(const char *s, size_t left, char **o)
{
    unsigned u = 0, partner = 0;
    size_t   n = left < 2 ? left : 2;

    if (left >= 2 && s[1] == 'u' && hex4(s + 2, left - 2, &u) == 0) {
        n = 6;
        if (u == 0) {
            *(*o)++ = (char)0xc0;
            *(*o)++ = (char)0x80;
            return n;
        }
        if (is_high(u) && left >= 12 && s[6] == '\\' && s[7] == 'u' &&
            hex4(s + 8, left - 8, &partner) == 0 && is_low(partner)) {
            n = 12;
        } else if (is_high(u) || is_low(u)) {
            *(*o)++ = (char)(0xe0 | u >> 12);
            *(*o)++ = (char)(0x80 | (u >> 6 & 0x3f));
            *(*o)++ = (char)(0x80 | (u & 0x3f));
            return n;
        }
    }
    memcpy(*o, s, n);
    *o += n;
    return n;
}

/* Copies `text` into `out` (len + 1 bytes) for cJSON. False: a NUL byte, or nested too deep. */
static bool prepare(const char *text, size_t len, char *out)
{
    bool   in_string = false;
    int    depth = 0;
    size_t i = 0;

    while (i < len) {
        char c = text[i];

        if (c == '\0')
            return false;
        if (in_string && c == '\\') {
            i += copy_escape(text + i, len - i, &out);
            continue;
        }
        if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '[' || c == '{') && ++depth > PM_JSON_DEPTH)
            return false;
        else if (!in_string && (c == ']' || c == '}'))
            depth--;
        *out++ = c;
        i++;
    }
    *out = '\0';
    return true;
}

struct cJSON *pm_json_parse(const char *text, size_t len)
{
    PM_AUTO(free) char *copy = malloc(len + 1);

    if (!copy || !prepare(text, len, copy) || strlen(copy) == 0)
        return NULL;
    return cJSON_ParseWithOpts(copy, NULL, 1);
}

int pm_document_check(const char *text, size_t len, char *why, size_t why_len)
{
    PM_AUTO(free) char *copy = calloc(1, len + 1);
    struct cJSON       *v = pm_json_parse(text, len);
    const char         *end = NULL;
    int                 line = 1;
    bool                object = cJSON_IsObject(v);
    bool                value = v != NULL;

    pm_json_free(v);
    if (object)
        return 0;
    if (value) {
        snprintf(why, why_len, "a JSON object is needed: { \"name\": value }");
        return -EINVAL;
    }
    if (!copy)
        return -ENOMEM;
    memcpy(copy, text, len);
    cJSON_Delete(cJSON_ParseWithOpts(copy, &end, 1));
    for (const char *p = copy; p < end; p++)
        line += *p == '\n';
    snprintf(why, why_len, "line %d is no JSON", line);
    return -EINVAL;
}

void pm_json_free(struct cJSON *v)
{
    cJSON_Delete(v);
}

/* --- getters ------------------------------------------------------------------------------- */

const struct cJSON *pm_json_get(const struct cJSON *obj, const char *key)
{
    const struct cJSON *v;

    if (!cJSON_IsObject(obj))
        return NULL;
    v = cJSON_GetObjectItemCaseSensitive(obj, key);
    return cJSON_IsNull(v) ? NULL : v;
}

bool pm_json_is_object(const struct cJSON *v)
{
    return cJSON_IsObject(v);
}

bool pm_json_is_array(const struct cJSON *v)
{
    return cJSON_IsArray(v);
}

const struct cJSON *pm_json_first(const struct cJSON *v)
{
    return cJSON_IsArray(v) || cJSON_IsObject(v) ? v->child : NULL;
}

const struct cJSON *pm_json_next(const struct cJSON *v)
{
    return v ? v->next : NULL;
}

const char *pm_json_name(const struct cJSON *v)
{
    return v ? v->string : NULL;
}

const char *pm_json_string(const struct cJSON *v)
{
    return cJSON_IsString(v) ? v->valuestring : NULL;
}

const char *pm_json_text(const struct cJSON *obj, const char *key)
{
    return pm_json_string(pm_json_get(obj, key));
}

bool pm_json_bool(const struct cJSON *obj, const char *key, bool def)
{
    const struct cJSON *v = pm_json_get(obj, key);
    const char         *s = pm_json_string(v);

    if (cJSON_IsBool(v))
        return cJSON_IsTrue(v);
    if (cJSON_IsNumber(v))
        return v->valuedouble != 0;
    if (s && (!strcmp(s, "1") || !strcmp(s, "true")))
        return true;
    if (s && (!strcmp(s, "0") || !strcmp(s, "false") || !*s))
        return false;
    return def;
}

/* Decimal digits, then perhaps a fraction, which is dropped. */
static bool digits_u64(const char *s, uint64_t *out)
{
    uint64_t value = 0;

    if (*s < '0' || *s > '9')
        return false;
    for (; *s >= '0' && *s <= '9'; s++) {
        if (value > (INT64_MAX - 9) / 10)
            return false;
        value = value * 10 + (uint64_t)(*s - '0');
    }
    if (*s == '.')
        for (s++; *s >= '0' && *s <= '9';)
            s++;
    if (*s)
        return false;
    *out = value;
    return true;
}

static bool value_u64(const struct cJSON *v, uint64_t *out)
{
    if (cJSON_IsNumber(v)) {
        if (!(v->valuedouble >= 0 && v->valuedouble < 9.2e18)) /* NaN fails both */
            return false;
        *out = (uint64_t)v->valuedouble;
        return true;
    }
    return cJSON_IsString(v) && digits_u64(v->valuestring, out);
}

bool pm_json_u64(const struct cJSON *obj, const char *key, uint64_t *out)
{
    return value_u64(pm_json_get(obj, key), out);
}

/* "2018-07-26T08:50:51.178Z", "…+02:00", "2018-07-26 08:50:51", "2018-07-26". */
static int64_t iso_ms(const char *s)
{
    struct tm tm = {0};
    int       used = 0, ms = 0, scale = 100, zone_h = 0, zone_m = 0;
    int64_t   value;
    char      sep = 0;

    if (sscanf(s, "%4d-%2d-%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &used) != 3)
        return 0;
    s += used;
    used = 0;
    if (sscanf(s, "%c%2d:%2d:%2d%n", &sep, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &used) == 4)
        s += used;
    if (*s == '.')
        for (s++; *s >= '0' && *s <= '9'; s++, scale /= 10)
            ms += (*s - '0') * scale;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    value = (int64_t)timegm(&tm) * 1000 + ms;
    if ((*s == '+' || *s == '-') && sscanf(s + 1, "%2d:%2d", &zone_h, &zone_m) >= 1)
        value -= (*s == '+' ? 1 : -1) * (zone_h * 60 + zone_m) * 60000LL;
    return value;
}

int64_t pm_json_ms(const struct cJSON *obj, const char *key)
{
    const struct cJSON *v = pm_json_get(obj, key);
    uint64_t            value;

    if (value_u64(v, &value))
        return value < INT64_MAX / 2 ? (int64_t)value : 0;
    return cJSON_IsString(v) ? iso_ms(v->valuestring) : 0;
}

bool pm_json_scalar(const struct cJSON *obj, const char *key, char *out, size_t size)
{
    const struct cJSON *v = pm_json_get(obj, key);
    char                number[40];
    const char         *text = pm_json_string(v);

    if (cJSON_IsNumber(v) && isfinite(v->valuedouble)) {
        bool whole = fabs(v->valuedouble) < 9.2e18 && trunc(v->valuedouble) == v->valuedouble;

        snprintf(number, sizeof(number), whole ? "%.0f" : "%.17g", v->valuedouble);
        text = number;
    }
    if (!text || strlen(text) >= size)
        return false;
    memcpy(out, text, strlen(text) + 1);
    return true;
}

bool pm_json_id(const struct cJSON *obj, char *out, size_t size)
{
    return pm_json_scalar(obj, "id", out, size) || pm_json_scalar(obj, "_id", out, size) ||
           pm_json_scalar(pm_json_get(obj, "_id"), "$oid", out, size);
}

int pm_json_word(const char *text, const char *key, char *out, size_t size)
{
    struct cJSON       *obj = text ? pm_json_parse(text, strlen(text)) : NULL;
    const struct cJSON *v = pm_json_get(obj, key);
    PM_AUTO(free) char *printed = v && !pm_json_string(v) ? pm_json_print(v, false) : NULL;
    const char         *word = v ? pm_json_string(v) : NULL;
    int                 err = 0;

    word = word ? word : printed;
    if (!v)
        err = -ENODATA;
    else if (!word)
        err = -ENOMEM;
    else if (strlen(word) >= size)
        err = -ERANGE;
    else
        snprintf(out, size, "%s", word);
    pm_json_free(obj);
    return err;
}

/* --- making ------------------------------------------------------------------------------- */

struct cJSON *pm_json_object(void)
{
    return cJSON_CreateObject();
}

/* People may write a member twice, and each would be sent. */
void pm_json_remove(struct cJSON *obj, const char *key)
{
    while (cJSON_GetObjectItemCaseSensitive(obj, key))
        cJSON_DeleteItemFromObjectCaseSensitive(obj, key);
}

static bool set(struct cJSON *obj, const char *key, struct cJSON *value)
{
    if (!obj || !value) {
        cJSON_Delete(value);
        return false;
    }
    pm_json_remove(obj, key);
    if (cJSON_AddItemToObject(obj, key, value))
        return true;
    cJSON_Delete(value);
    return false;
}

bool pm_json_set_text(struct cJSON *obj, const char *key, const char *value)
{
    return set(obj, key, cJSON_CreateString(value));
}

bool pm_json_set_number(struct cJSON *obj, const char *key, int64_t value)
{
    return set(obj, key, cJSON_CreateNumber((double)value));
}

char *pm_json_print(const struct cJSON *obj, bool pretty)
{
    return pretty ? cJSON_Print(obj) : cJSON_PrintUnformatted(obj);
}
