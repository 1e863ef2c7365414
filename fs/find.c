#include "fs/find.h"

#include "backends/util.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>

enum { STATUS_MAX = 8 * 1024 * 1024, NESTING_MAX = 64 };

/* --- a look into JSON --------------------------------------------------------------------- */

static const char *skip_blanks(const char *p)
{
    return p + strspn(p, " \t\r\n");
}

/* The end of the string that starts at `p`, or NULL. */
static const char *skip_string(const char *p)
{
    if (*p++ != '"')
        return NULL;
    for (; *p && *p != '"'; p++)
        if (*p == '\\' && !*++p)
            return NULL;
    return *p ? p + 1 : NULL;
}

/* The end of the value at `p`, or NULL. Brackets are only counted: a member is looked for in what
 * our own daemon wrote, this is no judge of JSON. */
static const char *skip_value(const char *p)
{
    int depth = 0;
    do {
        p = skip_blanks(p);
        if (*p == '"') {
            p = skip_string(p);
            if (!p)
                return NULL;
        } else if (*p == '{' || *p == '[') {
            depth++;
            p++;
        } else if (depth > 0 && strchr("}],:", *p) && *p) {
            depth -= *p == '}' || *p == ']';
            p++;
        } else {
            size_t word = strcspn(p, ",:{}[]\" \t\r\n");
            if (word == 0)
                return NULL;
            p += word;
        }
    } while (depth > 0 && depth < NESTING_MAX);
    return depth == 0 ? p : NULL;
}

static const char *find_member(const char *text, const char *member)
{
    const char *p = skip_blanks(text);
    size_t      len = strlen(member);
    while (*p == '{' || *p == ',') {
        const char *name = skip_blanks(p + 1);
        const char *end = skip_string(name);
        if (!end)
            return NULL;
        p = skip_blanks(end);
        if (*p != ':')
            return NULL;
        p = skip_blanks(p + 1);
        if ((size_t)(end - name) == len + 2 && memcmp(name + 1, member, len) == 0)
            return p;
        p = skip_value(p);
        if (!p)
            return NULL;
        p = skip_blanks(p);
    }
    return NULL;
}

/* Decodes \uXXXX below 0x80; others do not occur, since the daemon writes UTF-8 as it is. */
static bool add_escape(struct pm_buf *b, const char **p)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    const char *at = **p ? strchr(from, **p) : NULL;
    unsigned    code = 0;
    if (at) {
        pm_buf_add(b, &to[at - from], 1);
        (*p)++;
        return true;
    }
    if (**p != 'u' || strspn(*p + 1, "0123456789abcdefABCDEF") < 4 ||
        sscanf(*p + 1, "%4x", &code) != 1 || code == 0 || code >= 0x80)
        return false;
    const char c = (char)code;
    pm_buf_add(b, &c, 1);
    *p += 5;
    return true;
}

char *pm_peek_string(const char *text, const char *member)
{
    const char *p = find_member(text, member);
    if (!p || *p != '"' || !skip_string(p))
        return NULL;
    PM_AUTO(pm_buf) struct pm_buf b = { 0 };
    pm_buf_add(&b, "", 0);
    for (p++; *p != '"';) {
        size_t plain = strcspn(p, "\"\\");
        pm_buf_add(&b, p, plain);
        p += plain;
        if (*p == '\\') {
            p++;
            if (!add_escape(&b, &p))
                return NULL;
        }
    }
    return b.len ? pm_buf_take(&b) : strdup("");
}

int pm_peek_number(const char *text, const char *member, int64_t *out)
{
    const char *p = find_member(text, member);
    if (!p || !(isdigit((unsigned char)*p) || *p == '-'))
        return -ENOENT;
    char *end;
    errno = 0;
    long long v = strtoll(p, &end, 10);
    if (errno || !strchr(",} \t\r\n", *end))
        return -ENOENT;
    *out = v;
    return 0;
}

/* --- paths -------------------------------------------------------------------------------- */

char *pm_path_absolute(const char *path)
{
    PM_AUTO(free) char *cwd = *path == '/' ? NULL : getcwd(NULL, 0);
    if (*path != '/' && !cwd)
        return NULL;
    PM_AUTO(free) char *whole = cwd ? pm_asprintf("%s/%s", cwd, path) : strdup(path);
    char *out = whole ? malloc(strlen(whole) + 2) : NULL;
    if (!out)
        return NULL;
    size_t len = 0;
    for (char *rest = whole, *part; (part = strsep(&rest, "/"));) {
        if (!*part || strcmp(part, ".") == 0)
            continue;
        if (strcmp(part, "..") == 0) {
            while (len > 0 && out[--len] != '/')
                ;
            continue;
        }
        len += (size_t)sprintf(out + len, "/%s", part);
    }
    if (len == 0)
        out[len++] = '/';
    out[len] = '\0';
    return out;
}

bool pm_path_is_mount(const char *path)
{
    FILE *f = setmntent("/proc/self/mounts", "re");
    if (!f)
        return false;
    char          buf[8192];
    struct mntent entry;
    bool          found = false;
    while (getmntent_r(f, &entry, buf, sizeof(buf)))
        if (strcmp(entry.mnt_dir, path) == 0)
            found = strcmp(entry.mnt_type, "fuse.polymount") == 0; /* the last one lies on top */
    endmntent(f);
    return found;
}

/* --- mounts ------------------------------------------------------------------------------- */

/* Reads to the end, since a generated file may show no size. */
static char *read_text(const char *path)
{
    PM_AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    PM_AUTO(pm_buf) struct pm_buf b = { 0 };
    char    chunk[16384];
    ssize_t n = fd < 0 ? -1 : 1;
    while (n > 0 && b.len < STATUS_MAX) {
        n = read(fd, chunk, sizeof(chunk));
        if (n > 0)
            pm_buf_add(&b, chunk, (size_t)n);
    }
    return n < 0 || b.len == 0 ? NULL : pm_buf_take(&b);
}

static int read_mount(const char *mount, struct pm_found *out)
{
    PM_AUTO(free) char *file = pm_asprintf("%s/.polymount/status.json", mount);
    PM_AUTO(free) char *text = file ? read_text(file) : NULL;
    char *state_dir = text ? pm_peek_string(text, "state_dir") : NULL;
    char *name = state_dir ? strdup(mount) : NULL;
    if (!name || *state_dir != '/') {
        free(state_dir);
        free(name);
        return -ENOENT;
    }
    out->mount = name;
    out->state_dir = state_dir;
    out->status = text;
    text = NULL;
    return 0;
}

static int walk_up(const char *absolute, struct pm_found *out)
{
    PM_AUTO(free) char *at = strdup(absolute);
    out->path = strdup(absolute);
    int err = at && out->path ? -ENOENT : -ENOMEM;
    while (err == -ENOENT && at[1]) {
        err = read_mount(at, out);
        char *slash = strrchr(at, '/');
        slash[slash == at] = '\0';
    }
    if (err)
        pm_found_free(out);
    return err;
}

int pm_find_path(const char *path, struct pm_found *out)
{
    *out = (struct pm_found){ 0 };
    PM_AUTO(free) char *absolute = pm_path_absolute(path);
    if (absolute && walk_up(absolute, out) == 0)
        return 0;
    PM_AUTO(free) char *real = realpath(path, NULL);
    return real ? walk_up(real, out) : -ENOENT;
}

int pm_find_mount(const char *mount, struct pm_found *out)
{
    *out = (struct pm_found){ .path = strdup(mount) };
    int err = read_mount(mount, out);
    if (err)
        pm_found_free(out);
    return err;
}

void pm_found_free(struct pm_found *found)
{
    free(found->path);
    free(found->mount);
    free(found->status);
    free(found->state_dir);
    *found = (struct pm_found){ 0 };
}

bool pm_program_exists(const char *program)
{
    const char *path = getenv("PATH");
    PM_AUTO(free) char *dirs = pm_asprintf("%s:/usr/bin:/bin", path ? path : "");
    char               *save = NULL;

    for (char *d = dirs ? strtok_r(dirs, ":", &save) : NULL; d; d = strtok_r(NULL, ":", &save)) {
        PM_AUTO(free) char *file = pm_asprintf("%s/%s", d, program);
        if (file && access(file, X_OK) == 0)
            return true;
    }
    return false;
}
