#include "backends/keys.h"

#include "backends/backend.h"
#include "backends/util.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define IN_CONF(field) offsetof(struct pm_conf, field)
#define IN_ACCOUNT(field) offsetof(struct pm_account_conf, field)

static const char *const on_close[] = { "async", "wait" };
static const char *const auth_scheme[] = { "bearer", "bare" };
static const char *const auth[] = { "oauth1", "oauth2" };

/* clang-format off */
static const struct pm_key keys[] = {
    { "cache", "dir", K_PATH, IN_CONF(cache_dir), NULL, NULL, NULL, NULL },
    { "cache", "max_size", K_SIZE, IN_CONF(max_size), "20G", "1M", NULL, NULL },
    { "cache", "min_free", K_SIZE, IN_CONF(min_free), "2G", NULL, NULL, NULL },
    { "cache", "attr_timeout", K_DURATION, IN_CONF(attr_timeout_ms), "10s", NULL, "1d", NULL },
    { "upload", "delay", K_DURATION, IN_CONF(delay_ms), "1s", NULL, "1d", NULL },
    { "upload", "parallel", K_COUNT, IN_CONF(parallel), "4", "1", "64", NULL },
    { "upload", "on_close", K_SWITCH, IN_CONF(on_close_wait), "async", NULL, NULL, on_close },
    { "upload", "delete_delay", K_DURATION, IN_CONF(delete_delay_ms), "60s", NULL, "30d", NULL },
    { "upload", "delete_guard", K_COUNT, IN_CONF(delete_guard), "200", "0", "1000000", NULL },
    { "net", "connections", K_COUNT, IN_CONF(connections), "8", "1", "64", NULL },
    { "net", "op_timeout", K_DURATION, IN_CONF(op_timeout_ms), "20s", "1s", "1h", NULL },
    { "net", "limit_up", K_SIZE, IN_CONF(limit_up), "0", NULL, NULL, NULL },
    { "net", "limit_down", K_SIZE, IN_CONF(limit_down), "0", NULL, NULL, NULL },
    { "net", "proxy", K_PROXY, IN_CONF(proxy), NULL, NULL, NULL, NULL },
    { "net", "ca_file", K_PATH, IN_CONF(ca_file), NULL, NULL, NULL, NULL },
    { "account", "type", K_TYPE, IN_ACCOUNT(type), NULL, NULL, NULL, NULL },
    { "account", "endpoint", K_URL, IN_ACCOUNT(endpoint), NULL, NULL, NULL, NULL },
    { "account", "publish", K_PUBLISH, IN_ACCOUNT(publish_idle_ms), "idle", NULL, NULL, NULL },
    { "account", "auth_scheme", K_WORD, IN_ACCOUNT(auth_scheme), NULL, NULL, NULL, auth_scheme },
    { "account", "auth", K_WORD, IN_ACCOUNT(auth), NULL, NULL, NULL, auth },
    { "account", "accept_terms", K_SWITCH, IN_ACCOUNT(accept_terms), "no", NULL, NULL, NULL },
    { "account", "downloadable", K_SWITCH, IN_ACCOUNT(downloadable), "no", NULL, NULL, NULL },
    { "account", "read_only", K_SWITCH, IN_ACCOUNT(read_only), "no", NULL, NULL, NULL },
};
/* clang-format on */

const char *const pm_sections[PM_SECTIONS] = { "cache", "upload", "net", "account" };
static const char *const secret_keys[] = { "token", "consumer_key", "consumer_secret",
                                           "access_token", "access_secret", "password" };
static const char *const secret_ways[] = { "", "file", "command", "env" };

int pm_place_fail(const struct pm_place *p, int err, const char *fmt, ...)
{
    int at = 0;
    if (p->path && p->line)
        at = snprintf(p->why, p->why_len, "%s:%d: ", p->path, p->line);
    else if (p->path)
        at = snprintf(p->why, p->why_len, "%s: ", p->path);
    if (at < 0 || (size_t)at >= p->why_len)
        return err;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(p->why + at, p->why_len - (size_t)at, fmt, ap);
    va_end(ap);
    return err;
}

int pm_place_no_memory(const struct pm_place *p)
{
    return pm_place_fail(p, -ENOMEM, "out of memory");
}

/* --- values ------------------------------------------------------------------------------- */

/* Digits, then one of `units` ("K", "ms", …; "" for none). Refuses signs, blanks, overflow. */
static int parse_scaled(const char *text, const char *const *units, const uint64_t *factors,
                        size_t n, uint64_t *out)
{
    if (!isdigit((unsigned char)*text))
        return -EINVAL;
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (errno)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        if (strcasecmp(end, units[i]) != 0)
            continue;
        if (v > INT64_MAX / factors[i])
            return -EINVAL;
        *out = v * factors[i];
        return 0;
    }
    return -EINVAL;
}

int pm_parse_size(const char *text, uint64_t *out)
{
    static const char *const units[] = { "", "K", "M", "G", "T" };
    static const uint64_t factors[] = { 1, 1ULL << 10, 1ULL << 20, 1ULL << 30, 1ULL << 40 };
    return parse_scaled(text, units, factors, PM_COUNT(units), out);
}

int pm_parse_duration(const char *text, int64_t *out_ms)
{
    static const char *const units[] = { "ms", "s", "m", "h", "d" };
    static const uint64_t factors[] = { 1, 1000, 60000, 3600000, 86400000 };
    uint64_t v = 0;
    if (strcmp(text, "0") != 0 && parse_scaled(text, units, factors, PM_COUNT(units), &v))
        return -EINVAL;
    *out_ms = (int64_t)v;
    return 0;
}

static int parse_number(enum pm_key_kind kind, const char *text, uint64_t *out)
{
    static const char *const units[] = { "" };
    static const uint64_t factors[] = { 1 };
    int64_t ms = 0;
    switch (kind) {
    case K_SIZE:
        return pm_parse_size(text, out);
    case K_DURATION:
        if (pm_parse_duration(text, &ms))
            return -EINVAL;
        *out = (uint64_t)ms;
        return 0;
    default:
        return parse_scaled(text, units, factors, 1, out);
    }
}

static void store_number(const struct pm_key *k, void *field, uint64_t v)
{
    if (k->kind == K_SIZE)
        *(uint64_t *)field = v;
    else if (k->kind == K_DURATION)
        *(int64_t *)field = (int64_t)v;
    else
        *(unsigned *)field = (unsigned)v;
}

static int set_number(const struct pm_key *k, void *field, const char *value,
                      const struct pm_place *p)
{
    static const char *const form[] = {
        [K_SIZE] = "a size such as 64M or 20G",
        [K_DURATION] = "a duration such as 100ms, 60s or 10m",
        [K_COUNT] = "a whole number",
    };
    uint64_t v = 0;
    uint64_t limit = 0;
    if (parse_number(k->kind, value, &v))
        return pm_place_fail(p, -EINVAL, "%s.%s: \"%s\" is not %s", k->section, k->name, value,
                             form[k->kind]);
    if (k->min && parse_number(k->kind, k->min, &limit) == 0 && v < limit)
        return pm_place_fail(p, -EINVAL, "%s.%s: %s is too little, at least %s", k->section,
                             k->name, value, k->min);
    if (k->max && parse_number(k->kind, k->max, &limit) == 0 && v > limit)
        return pm_place_fail(p, -EINVAL, "%s.%s: %s is too much, at most %s", k->section, k->name,
                             value, k->max);
    store_number(k, field, v);
    return 0;
}

static int set_switch(const struct pm_key *k, bool *field, const char *value,
                      const struct pm_place *p)
{
    static const char *const no_yes[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };
    const char *const *words = k->words ? k->words : no_yes;
    for (size_t i = 0; i < (k->words ? 2 : PM_COUNT(no_yes)); i++) {
        if (strcasecmp(value, words[i]) == 0) {
            *field = i % 2;
            return 0;
        }
    }
    return pm_place_fail(p, -EINVAL, "%s.%s: \"%s\" is neither %s nor %s", k->section, k->name,
                         value, words[1], words[0]);
}

int pm_set_string(char **field, char *owned, const struct pm_place *p)
{
    if (!owned)
        return pm_place_no_memory(p);
    free(*field);
    *field = owned;
    return 0;
}

/* The home directory, owned; NULL if there is none. */
static char *home_dir(void)
{
    const char *home = getenv("HOME");
    if (home && *home == '/')
        return strdup(home);
    struct passwd pw;
    struct passwd *found = NULL;
    char buf[4096];
    if (getpwuid_r(getuid(), &pw, buf, sizeof(buf), &found) || !found || *found->pw_dir != '/')
        return NULL;
    return strdup(found->pw_dir);
}

char *pm_xdg_path(const char *variable, const char *instead, const char *tail)
{
    const char *dir = getenv(variable);
    if (dir && *dir == '/')
        return pm_asprintf("%s/%s", dir, tail);
    PM_AUTO(free) char *home = home_dir();
    return home ? pm_asprintf("%s/%s/%s", home, instead, tail) : NULL;
}

/* Absolute, since the daemon works in / : a relative path would mean another file there. */
int pm_set_path(const char *what, char **field, const char *value, const struct pm_place *p)
{
    if (*value == '/')
        return pm_set_string(field, strdup(value), p);
    if (value[0] != '~' || (value[1] != '/' && value[1] != '\0'))
        return pm_place_fail(p, -EINVAL, "%s: \"%s\" must start with / or ~/", what, value);
    PM_AUTO(free) char *home = home_dir();
    if (!home)
        return pm_place_fail(p, -EINVAL, "%s: there is no home directory for ~", what);
    return pm_set_string(field, pm_asprintf("%s%s", home, value + 1), p);
}

/* Whether [host, host+len) can only be this machine: 127.0.0.0/8, ::1 in brackets, localhost. */
static bool is_loopback(const char *host, size_t len)
{
    char text[64];
    if (len >= sizeof(text))
        return false;
    memcpy(text, host, len);
    text[len] = '\0';
    struct in_addr v4;
    if (inet_pton(AF_INET, text, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    return strcasecmp(text, "localhost") == 0 || strcmp(text, "[::1]") == 0;
}

/* Length of the host at the start of `host`, without port and path; 0 if it is malformed. */
static size_t host_len(const char *host)
{
    size_t len = *host == '[' ? strcspn(host, "]") : strcspn(host, ":/");
    if (*host == '[') {
        if (host[len] != ']')
            return 0;
        len++;
    }
    const char *rest = host + len;
    if (*rest == ':') {
        size_t digits = strspn(rest + 1, "0123456789");
        if (digits == 0 || digits > 5 || atoi(rest + 1) > 65535)
            return 0;
        rest += 1 + digits;
    }
    return *rest == '\0' || *rest == '/' ? len : 0;
}

/* Takes http(s)://HOST[:PORT][/PATH] only. What other parsers could read differently (user@,
 * backslashes, blanks) is refused, so that curl sees the host that was judged here. */
static int set_url(const struct pm_key *k, char **field, const char *value,
                   const struct pm_place *p)
{
    bool plain = strncasecmp(value, "http://", 7) == 0;
    size_t scheme = plain ? 7 : 8;
    if (!plain && strncasecmp(value, "https://", 8) != 0)
        return pm_place_fail(p, -EINVAL, "%s.%s: must start with https://", k->section, k->name);
    for (const char *c = value; *c; c++)
        if (*c <= ' ' || *c >= 0x7f || strchr("@\\?#\"<>", *c))
            return pm_place_fail(p, -EINVAL,
                                 "%s.%s: a plain address is needed, without user name, query "
                                 "or blanks",
                                 k->section, k->name);
    size_t len = host_len(value + scheme);
    if (len == 0)
        return pm_place_fail(p, -EINVAL, "%s.%s: \"%s\" names no host", k->section, k->name, value);
    if (plain && !is_loopback(value + scheme, len))
        return pm_place_fail(p, -EINVAL,
                             "%s.%s: plain http would show the token to the network, use "
                             "https:// (http is for this machine only)",
                             k->section, k->name);
    size_t keep = strlen(value);
    while (keep > scheme && value[keep - 1] == '/')
        keep--;
    return pm_set_string(field, strndup(value, keep), p);
}

static int set_type(struct pm_account_conf *a, const char *value, const struct pm_place *p)
{
    const char *endpoint = pm_backend_default_endpoint(value);
    if (!endpoint)
        return pm_place_fail(p, -EINVAL, "account %s: unknown type \"%s\"", a->name, value);
    /* -o may change the type of a finished account: its default endpoint goes with it. */
    const char *before = a->type ? pm_backend_default_endpoint(a->type) : NULL;
    if (before && a->endpoint && strcmp(before, a->endpoint) == 0) {
        int err = pm_set_string(&a->endpoint, strdup(endpoint), p);
        if (err)
            return err;
    }
    return pm_set_string(&a->type, strdup(value), p);
}

static int set_publish(int64_t *field, const char *value, const struct pm_place *p)
{
    int64_t ms = 0;
    bool    idle = strncmp(value, "idle", 4) == 0 && isspace((unsigned char)value[4]);

    if (strcmp(value, "idle") == 0) {
        *field = PM_PUBLISH_USUAL;
        return 0;
    }
    if (idle && pm_parse_duration(value + 4 + strspn(value + 4, " \t"), &ms) == 0 && ms > 0) {
        *field = ms;
        return 0;
    }
    if (strcmp(value, "manual") != 0)
        return pm_place_fail(p, -EINVAL, "account.publish: \"%s\" is neither manual nor such as "
                                         "idle 10m", value);
    *field = 0;
    return 0;
}

static int set_word(const struct pm_key *k, char **field, const char *value, const struct pm_place *p)
{
    if (strcmp(value, k->words[0]) != 0 && strcmp(value, k->words[1]) != 0)
        return pm_place_fail(p, -EINVAL, "%s.%s: \"%s\" is neither %s nor %s", k->section, k->name,
                             value, k->words[0], k->words[1]);
    return pm_set_string(field, strdup(value), p);
}

int pm_key_set(const struct pm_key *k, void *base, const char *value, const struct pm_place *p)
{
    void *field = (char *)base + k->at;
    char what[64];
    snprintf(what, sizeof(what), "%s.%s", k->section, k->name);
    switch (k->kind) {
    case K_SIZE:
    case K_DURATION:
    case K_COUNT:
        return set_number(k, field, value, p);
    case K_SWITCH:
        return set_switch(k, field, value, p);
    case K_PROXY:
        return pm_set_string(field, strdup(value), p);
    case K_PATH:
        return pm_set_path(what, field, value, p);
    case K_URL:
        return set_url(k, field, value, p);
    case K_TYPE:
        return set_type(base, value, p);
    case K_PUBLISH:
        return set_publish(field, value, p);
    case K_WORD:
        return set_word(k, field, value, p);
    }
    return -EINVAL;
}

int pm_keys_preset(const char *section, void *base, const struct pm_place *p)
{
    for (size_t i = 0; i < PM_COUNT(keys); i++) {
        if (!keys[i].preset || strcmp(keys[i].section, section) != 0)
            continue;
        int err = pm_key_set(&keys[i], base, keys[i].preset, p);
        if (err)
            return err;
    }
    return 0;
}

/* --- names -------------------------------------------------------------------------------- */

/* Levenshtein's distance; names too long to be meant count as far. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[64];
    size_t n = strlen(b);
    if (n >= PM_COUNT(row))
        return UINT_MAX;
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

struct nearest {
    const char *asked;
    unsigned distance;
    char name[64];
};

static void consider(struct nearest *n, const char *name)
{
    unsigned d = distance(n->asked, name);
    if (d >= n->distance)
        return;
    n->distance = d;
    snprintf(n->name, sizeof(n->name), "%s", name);
}

const char *pm_section_nearest(const char *asked, unsigned *far)
{
    const char *best = pm_sections[0];
    *far = UINT_MAX;
    for (size_t i = 0; i < PM_SECTIONS; i++) {
        unsigned d = distance(asked, pm_sections[i]);
        if (d < *far) {
            *far = d;
            best = pm_sections[i];
        }
    }
    return best;
}

static struct nearest nearest_key(const char *section, const char *asked)
{
    struct nearest n = { .asked = asked, .distance = UINT_MAX };
    for (size_t i = 0; i < PM_COUNT(keys); i++)
        if (strcmp(keys[i].section, section) == 0)
            consider(&n, keys[i].name);
    if (strcmp(section, "account") != 0)
        return n;
    for (size_t i = 0; i < PM_COUNT(secret_keys) * PM_COUNT(secret_ways); i++) {
        const char *way = secret_ways[i % PM_COUNT(secret_ways)];
        char name[64];
        snprintf(name, sizeof(name), "%s%s%s", secret_keys[i / PM_COUNT(secret_ways)],
                 *way ? "_" : "", way);
        consider(&n, name);
    }
    return n;
}

const struct pm_key *pm_key_find(const char *section, const char *name)
{
    for (size_t i = 0; i < PM_COUNT(keys); i++)
        if ((!section || strcmp(keys[i].section, section) == 0) && strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

bool pm_key_find_secret(const char *name, const char **key, const char **way)
{
    for (size_t i = 0; i < PM_COUNT(secret_keys); i++) {
        size_t len = strlen(secret_keys[i]);
        if (strncmp(name, secret_keys[i], len) != 0)
            continue;
        bool more = name[len] == '_';
        for (size_t j = 0; j < PM_COUNT(secret_ways); j++) {
            if (more == (j > 0) && strcmp(name + len + more, secret_ways[j]) == 0) {
                *key = secret_keys[i];
                *way = secret_ways[j];
                return true;
            }
        }
    }
    return false;
}

int pm_key_unknown(const char *section, const char *name, const struct pm_place *p)
{
    const struct pm_key *elsewhere = pm_key_find(NULL, name);
    const char *home = elsewhere ? elsewhere->section : NULL;
    const char *key;
    const char *way;
    if (!home && pm_key_find_secret(name, &key, &way))
        home = "account";
    if (home)
        return pm_place_fail(p, -EINVAL, "\"%s\" does not belong to [%s] but to [%s%s]", name,
                             section, home, strcmp(home, "account") == 0 ? " NAME" : "");
    return pm_place_fail(p, -EINVAL, "unknown key \"%s\" in [%s], the nearest is \"%s\"", name,
                         section, nearest_key(section, name).name);
}
