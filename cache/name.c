#include "cache/name.h"

#include "backends/backend.h"
#include "backends/util.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#define ESCAPE     "\xe2\x90\x9b" /* U+241B SYMBOL FOR ESCAPE */
#define ESCAPE_LEN 3

/* Of what is too long the end is left away: without memory a name must not be another. */
struct text {
    char   s[PM_NAME_MAX + 16];
    size_t len; /* above PM_NAME_MAX: too long */
};

static void add(struct text *t, const char *s, size_t len)
{
    if (t->len > PM_NAME_MAX)
        return;
    memcpy(t->s + t->len, s, len); /* a character, or one escaped */
    t->len += len;
    t->s[t->len] = 0;
}

static void escape_byte(struct text *t, unsigned char c)
{
    char escaped[ESCAPE_LEN + 3];

    snprintf(escaped, sizeof(escaped), ESCAPE "%02X", c);
    add(t, escaped, ESCAPE_LEN + 2);
}

static void escape(struct text *t, const char *raw)
{
    bool dots = !strcmp(raw, ".") || !strcmp(raw, "..");

    if (!*raw)
        add(t, ESCAPE, ESCAPE_LEN);
    for (const char *s = raw; *s;) {
        size_t n = pm_utf8_len(s, 4);

        if (!n || *s == '/' || (dots && s == raw) || !strncmp(s, ESCAPE, ESCAPE_LEN)) {
            escape_byte(t, (unsigned char)*s);
            n = 1;
        } else {
            add(t, s, n);
        }
        s += n;
    }
}

#define DUPLICATE ESCAPE "="

bool pm_name_is_duplicate(const char *shown)
{
    return strstr(shown, DUPLICATE) != NULL;
}

/* Where to cut `s` so that at most `max` bytes of whole characters stay. */
static size_t cut(const char *s, size_t max)
{
    size_t len = strlen(s);

    if (len <= max)
        return len;
    while (max && ((unsigned char)s[max] & 0xc0) == 0x80)
        max--;
    return max;
}

/* `text` as it is, or cut to make room for `tail`, which is then added. */
static void fit(const char *text, const char *tail, char out[PM_NAME_MAX + 1])
{
    size_t room = PM_NAME_MAX - strlen(tail);

    snprintf(out, PM_NAME_MAX + 1, "%.*s%s", (int)cut(text, room), text, tail);
}

void pm_name_show(const char *raw, char out[PM_NAME_MAX + 1])
{
    struct text t = {.len = 0};
    char        hex[65];
    char        tail[ESCAPE_LEN + 18] = "";

    escape(&t, raw);
    if (t.len > PM_NAME_MAX) {
        pm_digest_sha256_hex(raw, strlen(raw), hex);
        snprintf(tail, sizeof(tail), ESCAPE "#%.16s", hex);
    }
    fit(t.s, tail, out);
}

void pm_name_show_duplicate(const char *raw, const char *id, char out[PM_NAME_MAX + 1])
{
    char first[PM_NAME_MAX + 1];
    char hex[65];
    char tail[ESCAPE_LEN + 18];

    pm_name_show(raw, first);
    pm_digest_sha256_hex(id, strlen(id), hex);
    snprintf(tail, sizeof(tail), DUPLICATE "%.8s", hex);
    fit(first, tail, out);
}

int pm_name_check(const char *name)
{
    if (strlen(name) > PM_NAME_MAX)
        return -ENAMETOOLONG;
    if (!pm_utf8_valid(name))
        return -EILSEQ;
    if (strstr(name, ESCAPE))
        return -EINVAL;
    return !fnmatch(".Trash", name, 0) || !fnmatch(".Trash-*", name, 0) ? -EPERM : 0;
}

static bool matches(const char *const *patterns, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!fnmatch(patterns[i], name, 0))
            return true;
    return false;
}

bool pm_name_is_temporary(const char *name)
{
    static const char *const patterns[] = {
        ".?*.[A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9]", /* rsync */
        ".goutputstream-*", "*.part", "*.partial", "*.crdownload", ".~lock.*#",
        "*.swp", "*.tmp", "*.lock", "4913",
        "#?*#", /* Emacs */
        "tmp_obj_*", "tmp_pack_*", "tmp_idx_*", /* git */
    };

    return matches(patterns, PM_COUNT(patterns), name);
}

bool pm_name_is_backup(const char *name)
{
    static const char *const patterns[] = {
        "?*~", "?*.bak", "?*.tmp", "?*.sv$",
        "?*.osl-tmp", /* LibreOffice, while it copies over the file */
        "?*.blend[0-9]*", /* Blender */
        "?*.FCStd[0-9]*", "?*.FCBak", /* FreeCAD */
    };

    return matches(patterns, PM_COUNT(patterns), name);
}

bool pm_name_is_litter(const char *name)
{
    static const char *const patterns[] = {
        ".DS_Store", "._*", "Thumbs.db", "desktop.ini", ".directory",
    };

    return matches(patterns, PM_COUNT(patterns), name);
}
