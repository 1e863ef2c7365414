/* Writing keys of one account into the configuration, which people edit: all other lines stay as they are.
 *
 * The new text goes to a file beside the old one, is read back as any configuration is, and only if that has
 * exactly these values it takes the old one's place. */
#include "backends/conf.h"
#include "backends/keys.h"
#include "backends/util.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX (1u << 20)

struct store {
    const char                *account;
    const char                *type;
    const struct pm_conf_pair *pairs;
    size_t                     count;
};

char *pm_conf_own_path(void)
{
    return pm_xdg_path("XDG_CONFIG_HOME", ".config", "polymount/polymount.conf");
}

/* --- the text */

/* Is the line the header of a section, and if so, the account's? */
static bool is_header(const char *line, size_t len, const char *account, bool *ours)
{
    PM_AUTO(free) char *text = strndup(line, len);
    char               *name = text, *end;

    if (!text)
        return false;
    name += strspn(name, " \t");
    end = strchr(name, ']');
    if (*name != '[' || !end)
        return false;
    *end = '\0';
    name++;
    name += strspn(name, " \t");
    *ours = false;
    if (!strncmp(name, "account", 7) && isspace((unsigned char)name[7])) {
        name += 8 + strspn(name + 8, " \t");
        while (end > name && isspace((unsigned char)end[-1]))
            *--end = '\0';
        *ours = !strcmp(name, account);
    }
    return true;
}

/* Does the line set one of the keys that are stored, in whatever way? */
static bool is_replaced(const struct store *s, const char *line, size_t len)
{
    size_t      at = 0, end;
    const char *key, *way;
    char        name[64];

    while (at < len && isspace((unsigned char)line[at]))
        at++;
    for (end = at; end < len && line[end] != '=' && line[end] != ':'; end++)
        ;
    if (end == len)
        return false;
    while (end > at && isspace((unsigned char)line[end - 1]))
        end--;
    if (end - at >= sizeof(name))
        return false;
    snprintf(name, sizeof(name), "%.*s", (int)(end - at), line + at);
    if (!pm_key_find_secret(name, &key, &way))
        key = name;
    for (size_t i = 0; i < s->count; i++)
        if (!strcmp(s->pairs[i].key, key))
            return true;
    return false;
}

static void add_pairs(const struct store *s, struct pm_buf *out)
{
    for (size_t i = 0; i < s->count; i++)
        pm_buf_printf(out, "%s = %s\n", s->pairs[i].key, s->pairs[i].value);
}

static void make_text(const struct store *s, const char *old, struct pm_buf *out)
{
    bool inside = false, done = false;

    for (size_t at = 0, len; old[at]; at += len) {
        bool header, ours = false;

        len = strcspn(old + at, "\n");
        header = is_header(old + at, len, s->account, &ours);
        len += old[at + len] == '\n';
        if (header)
            inside = ours;
        if (!inside || header || !is_replaced(s, old + at, len))
            pm_buf_add(out, old + at, len);
        if (out->len && out->ptr[out->len - 1] != '\n')
            pm_buf_str(out, "\n");
        if (header && ours && !done) {
            add_pairs(s, out);
            done = true;
        }
    }
    if (!done) {
        pm_buf_printf(out, "%s[account %s]\ntype = %s\n", out->len ? "\n" : "", s->account, s->type);
        add_pairs(s, out);
    }
}

/* --- the file */

/* *text is owned: pm_secret_free; "" of one that is not there. */
static int read_old(const char *path, char **text, const struct pm_place *p)
{
    PM_AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat        st;
    ssize_t            n;

    *text = NULL;
    if (fd < 0 && errno != ENOENT)
        return pm_place_fail(p, -errno, "%s", strerror(errno));
    if (fd >= 0 && (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX))
        return pm_place_fail(p, -EINVAL, "this is no configuration");
    *text = calloc(1, fd >= 0 ? (size_t)st.st_size + 1 : 1);
    if (!*text)
        return pm_place_no_memory(p);
    n = fd >= 0 ? pm_pread_all(fd, *text, (size_t)st.st_size, 0) : 0;
    return n < 0 ? pm_place_fail(p, (int)n, "%s", strerror((int)-n)) : 0;
}

/* mkdir -p of the folder that the path is in. */
static void make_folder(const char *path)
{
    PM_AUTO(free) char *part = strdup(path);

    for (char *slash = part ? strchr(part + 1, '/') : NULL; slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(part, 0700);
        *slash = '/';
    }
}

/* Does the file, read as configurations are, say just that? */
static int check_new(const struct store *s, const char *path, const struct pm_place *p)
{
    struct pm_conf               *conf = NULL;
    const struct pm_account_conf *a = NULL;
    char                          why[400];
    int                           err = pm_conf_load(path, &conf, why, sizeof(why));

    if (err)
        return pm_place_fail(p, err, "it would not be readable: %s", why + (strncmp(why, path, strlen(path)) ? 0 : strlen(path)));
    for (size_t i = 0; i < conf->naccounts; i++)
        if (!strcmp(conf->accounts[i].name, s->account))
            a = &conf->accounts[i];
    for (size_t i = 0; !err && i < s->count; i++) {
        const char *key, *way;
        char       *value = NULL;

        if (!pm_key_find_secret(s->pairs[i].key, &key, &way))
            continue;
        if (!a || pm_conf_secret(a, key, NULL, &value, why, sizeof(why)) || strcmp(value, s->pairs[i].value) != 0)
            err = pm_place_fail(p, -EINVAL, "the value of %s cannot be written there", key);
        pm_secret_free(value);
    }
    pm_conf_free(conf);
    return err;
}

/* In the old one's place, on the disk. */
static int put_in_place(const char *from, const char *to, const struct pm_place *p)
{
    PM_AUTO(free) char *copy = strdup(to);
    PM_AUTO(close) int  dir = -1;

    if (!copy)
        return pm_place_no_memory(p);
    if (rename(from, to))
        return pm_place_fail(p, -errno, "%s", strerror(errno));
    dir = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0)
        fsync(dir);
    return 0;
}

static int write_new(const struct store *s, const char *path, const struct pm_buf *text,
                     const struct pm_place *p)
{
    PM_AUTO(free) char *temp = pm_asprintf("%s.XXXXXX", path);
    PM_AUTO(close) int  fd = temp ? mkostemp(temp, O_CLOEXEC) : -1; /* 0600 */
    int                 err = 0;

    if (fd < 0)
        return pm_place_fail(p, temp ? -errno : -ENOMEM, "%s", strerror(temp ? errno : ENOMEM));
    if (pm_pwrite_all(fd, text->ptr, text->len, 0) < 0 || fsync(fd))
        err = pm_place_fail(p, -EIO, "cannot be written: %s", strerror(errno));
    if (!err)
        err = check_new(s, temp, p);
    if (!err)
        err = put_in_place(temp, path, p);
    if (err)
        unlink(temp);
    return err;
}

int pm_conf_store(const char *path, const char *account, const char *type,
                  const struct pm_conf_pair *pairs, size_t count, char *why, size_t why_len)
{
    const struct store    s = {account, type, pairs, count};
    PM_AUTO(free) char   *real = realpath(path, NULL); /* a link stays one */
    const struct pm_place p = {.path = path, .why = why, .why_len = why_len};
    struct pm_buf         text = {0};
    char                 *old = NULL;
    int                   err;

    make_folder(path);
    err = read_old(real ? real : path, &old, &p);
    if (!err) {
        make_text(&s, old, &text);
        err = text.failed ? pm_place_no_memory(&p) : write_new(&s, real ? real : path, &text, &p);
    }
    pm_secret_free(old);
    if (text.ptr)
        explicit_bzero(text.ptr, text.len);
    pm_buf_free(&text);
    return err;
}
