#include "backends/conf.h"

#include "backends/backend.h"
#include "backends/keys.h"
#include "backends/util.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Reads the file and the options into plain data; keys.c knows the keys.
 *
 * Comments: a line that starts with ; or #, or in a value a ; after white space. The values of
 * KEY and KEY_command are never cut, since a secret may hold anything and a shell separates
 * commands by ` ; `. But a secret that looks as if a comment followed it is refused: sent as it
 * stands it would only earn a 401. inih knows one rule for all keys, so its own inline comments
 * are off and the handler cuts. */

enum { LINE_MAX_BYTES = 64 * 1024 }; /* a JWT with many claims has several KB */

/* --- accounts ----------------------------------------------------------------------------- */

static struct pm_account_conf *find_account(struct pm_conf *c, const char *name)
{
    for (size_t i = 0; i < c->naccounts; i++)
        if (strcmp(c->accounts[i].name, name) == 0)
            return &c->accounts[i];
    return NULL;
}

/* The name becomes a directory beside NAME@shared and the like, which a file manager shows. */
static const char *bad_account_name(const char *name)
{
    if (!*name)
        return "an account needs a name: [account NAME]";
    if (*name == '.')
        return "an account's name must not start with a dot";
    if (strpbrk(name, "@/\"'"))
        return "an account's name must be without @, / and quotes";
    if (strlen(name) > 200)
        return "an account's name must not be longer than 200 bytes";
    for (const char *c = name; *c; c++)
        if (iscntrl((unsigned char)*c))
            return "an account's name must be without control characters";
    return NULL;
}

static int add_account(struct pm_conf *c, const char *name, const struct pm_place *p)
{
    const char *bad = bad_account_name(name);
    if (bad)
        return pm_place_fail(p, -EINVAL, "%s", bad);
    if (find_account(c, name))
        return pm_place_fail(p, -EINVAL, "there are two accounts \"%s\"", name);
    struct pm_account_conf *grown =
        reallocarray(c->accounts, c->naccounts + 1, sizeof(*c->accounts));
    if (!grown)
        return pm_place_no_memory(p);
    c->accounts = grown;
    struct pm_account_conf *a = &grown[c->naccounts];
    memset(a, 0, sizeof(*a));
    a->name = strdup(name);
    if (!a->name)
        return pm_place_no_memory(p);
    c->naccounts++;
    return pm_keys_preset("account", a, p);
}

/* The words of secret.c for one key; `value` has been trimmed, not cut. */
static int check_secret(const char *name, const char *way, const char *value,
                        const struct pm_place *p)
{
    if (!*value)
        return pm_place_fail(p, -EINVAL, "%s is empty", name);
    if (*way)
        return 0;
    for (const char *c = value; *c; c++)
        if (isspace((unsigned char)c[0]) && (c[1] == ';' || c[1] == '#'))
            return pm_place_fail(p, -EINVAL,
                                 "%s: a comment must stand on a line of its own, after a "
                                 "secret it would be part of it",
                                 name);
    return 0;
}

static int add_secret(struct pm_account_conf *a, const char *name, const char *way,
                      const char *value, const struct pm_place *p)
{
    for (size_t i = 0; i < a->nsecrets; i++)
        if (strcmp(a->secrets[i].key, name) == 0)
            return pm_place_fail(p, -EINVAL, "account %s: %s is given twice", a->name, name);
    int err = check_secret(name, way, value, p);
    if (err)
        return err;
    struct pm_secret *grown = reallocarray(a->secrets, a->nsecrets + 1, sizeof(*a->secrets));
    if (!grown)
        return pm_place_no_memory(p);
    a->secrets = grown;
    struct pm_secret *s = &grown[a->nsecrets++];
    *s = (struct pm_secret){ strdup(name), strdup(way), NULL };
    if (!s->key || !s->how)
        return pm_place_no_memory(p);
    if (strcmp(s->how, "file") == 0)
        return pm_set_path(name, &s->value, value, p);
    return pm_set_string(&s->value, strdup(value), p);
}

/* --- the file ----------------------------------------------------------------------------- */

struct reading {
    struct pm_conf *conf;
    struct pm_place at;
    FILE           *file;
    char           *line;
    size_t          line_cap;
    const char     *section; /* one of pm_sections (in "account" the last is meant), or NULL */
    int             err; /* the first; ends the reading */
};

/* Cuts at the first ; after white space, and the white space. */
static void cut_comment(char *value)
{
    for (char *c = value; *c; c++) {
        if (*c == ';' && (c == value || isspace((unsigned char)c[-1]))) {
            *c = '\0';
            break;
        }
    }
    for (size_t n = strlen(value); n > 0 && isspace((unsigned char)value[n - 1]); n--)
        value[n - 1] = '\0';
}

static int take_value(struct reading *r, const char *name, const char *raw)
{
    const char *key;
    const char *way;
    if (!r->section)
        return pm_place_fail(&r->at, -EINVAL, "\"%s\" stands before any [section]", name);
    bool account = strcmp(r->section, "account") == 0;
    bool secret = account && pm_key_find_secret(name, &key, &way);
    PM_AUTO(free) char *value = strdup(raw);
    if (!value)
        return pm_place_no_memory(&r->at);
    struct pm_account_conf *a = account ? &r->conf->accounts[r->conf->naccounts - 1] : NULL;
    bool whole = secret && (!*way || strcmp(way, "command") == 0);
    if (!whole)
        cut_comment(value);
    int err;
    const struct pm_key *k = pm_key_find(r->section, name);
    if (secret)
        err = add_secret(a, key, way, value, &r->at);
    else if (!k)
        err = pm_key_unknown(r->section, name, &r->at);
    else if (!*value)
        err = 0; /* `key =` leaves the default */
    else
        err = pm_key_set(k, account ? (void *)a : r->conf, value, &r->at);
    explicit_bzero(value, strlen(value));
    return err;
}

static int on_value(void *arg, const char *section, const char *name, const char *value)
{
    (void)section; /* inih cuts it at 50 bytes: on_section has the whole */
    struct reading *r = arg;
    if (!r->err)
        r->err = take_value(r, name, value ? value : "");
    return r->err == 0;
}

static int start_section(struct reading *r, char *name)
{
    cut_comment(name);
    r->section = NULL;
    size_t word = strcspn(name, " \t");
    bool account = word == 7 && strncmp(name, "account", 7) == 0;
    for (size_t i = 0; i < PM_SECTIONS; i++)
        if (strcmp(account ? "account" : name, pm_sections[i]) == 0)
            r->section = pm_sections[i];
    unsigned far;
    if (!r->section)
        return pm_place_fail(&r->at, -EINVAL, "unknown section [%s], the nearest is [%s]", name,
                             pm_section_nearest(name, &far));
    const char *account_name = name + word + strspn(name + word, " \t");
    return account ? add_account(r->conf, account_name, &r->at) : 0;
}

/* Sections are read here and not in the handler, which inih calls for values only: so an account
 * without keys, or one that is there twice, is noticed. */
static int on_section(struct reading *r, const char *line)
{
    const char *start = line + strspn(line, " \t");
    if (strncmp(start, "\xEF\xBB\xBF", 3) == 0)
        start += 3;
    const char *end = strchr(start, ']');
    if (*start != '[' || !end)
        return 0; /* inih complains of what is no section either */
    PM_AUTO(free) char *name = strndup(start + 1, (size_t)(end - start - 1));
    return name ? start_section(r, name + strspn(name, " \t")) : pm_place_no_memory(&r->at);
}

/* Gives inih a line, as fgets does; an error of ours ends the file. */
static char *next_line(char *buf, int size, void *arg)
{
    struct reading *r = arg;
    if (r->err)
        return NULL;
    ssize_t n = getline(&r->line, &r->line_cap, r->file);
    if (n < 0)
        return NULL;
    r->at.line++;
    if (n >= size)
        r->err = pm_place_fail(&r->at, -EINVAL, "the line is longer than %d bytes", size - 1);
    else if (strlen(r->line) != (size_t)n)
        r->err = pm_place_fail(&r->at, -EINVAL, "this is no text file");
    else
        r->err = on_section(r, r->line);
    if (r->err)
        return NULL;
    memcpy(buf, r->line, (size_t)n + 1);
    return buf;
}

/* Debian's inih has these switches, others are built with them: weak, so that both link. */
#pragma weak ini_use_stack
#pragma weak ini_max_line
#pragma weak ini_initial_alloc
#pragma weak ini_allow_inline_comments
#pragma weak ini_allow_multiline
#pragma weak ini_stop_on_first_error
extern bool ini_use_stack, ini_allow_inline_comments, ini_allow_multiline, ini_stop_on_first_error;
extern int ini_max_line, ini_initial_alloc;

static void set_up_inih(void)
{
    if (&ini_use_stack)
        ini_use_stack = false;
    if (&ini_max_line)
        ini_max_line = LINE_MAX_BYTES;
    if (&ini_initial_alloc)
        ini_initial_alloc = LINE_MAX_BYTES;
    if (&ini_allow_inline_comments)
        ini_allow_inline_comments = false;
    if (&ini_allow_multiline)
        ini_allow_multiline = false;
    if (&ini_stop_on_first_error)
        ini_stop_on_first_error = true;
}

static int parse_file(struct reading *r)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_up_inih);
    errno = 0;
    int line = ini_parse_stream(next_line, r, on_value, r);
    if (r->err)
        return r->err;
    r->at.line = 0;
    if (ferror(r->file))
        return pm_place_fail(&r->at, -EIO, "cannot be read: %s", strerror(errno));
    if (line < 0)
        return pm_place_no_memory(&r->at);
    r->at.line = line;
    return line ? pm_place_fail(&r->at, -EINVAL, "neither [section] nor key = value") : 0;
}

/* A proxy with a user name has a password too. */
static bool holds_secret(const struct pm_conf *c)
{
    if (c->proxy && strchr(c->proxy, '@'))
        return true;
    for (size_t i = 0; i < c->naccounts; i++)
        for (size_t j = 0; j < c->accounts[i].nsecrets; j++)
            if (!*c->accounts[i].secrets[j].how)
                return true;
    return false;
}

/* Judges what can only be judged at the end, and fills the defaults that depend on others. */
static int finish(struct pm_conf *c, FILE *file, struct pm_place *p)
{
    struct stat st;
    p->line = 0;
    if (holds_secret(c) && (fstat(fileno(file), &st) || (st.st_mode & 066)))
        return pm_place_fail(p, -EACCES, "it holds a secret and others can read it: chmod 600 %s",
                             p->path);
    for (size_t i = 0; i < c->naccounts; i++) {
        struct pm_account_conf *a = &c->accounts[i];
        if (!a->type)
            return pm_place_fail(p, -EINVAL, "[account %s] needs a line: type = SERVICE", a->name);
        if (!a->endpoint &&
            pm_set_string(&a->endpoint, strdup(pm_backend_default_endpoint(a->type)), p))
            return -ENOMEM;
    }
    if (!c->cache_dir)
        c->cache_dir = pm_xdg_path("XDG_STATE_HOME", ".local/state", "polymount");
    return c->cache_dir ? 0 : pm_place_fail(p, -EINVAL, "no home directory: set dir in [cache]");
}

static int load_open(FILE *file, struct reading *r)
{
    struct pm_conf *c = r->conf;
    int err = 0;
    c->path = realpath(r->at.path, NULL);
    if (!c->path && !(c->path = strdup(r->at.path)))
        err = pm_place_no_memory(&r->at);
    for (size_t i = 0; !err && i < PM_SECTIONS; i++)
        if (strcmp(pm_sections[i], "account") != 0)
            err = pm_keys_preset(pm_sections[i], c, &r->at);
    r->file = file;
    if (!err)
        err = parse_file(r);
    if (!err)
        err = finish(c, file, &r->at);
    if (r->line)
        explicit_bzero(r->line, r->line_cap);
    free(r->line);
    return err;
}

static int load_path(const char *path, struct pm_conf **out, char *why, size_t why_len)
{
    struct reading r = { .at = { .path = path, .why = why, .why_len = why_len } };
    FILE *file = fopen(path, "re");
    if (!file)
        return pm_place_fail(&r.at, -errno, "%s", strerror(errno));
    r.conf = calloc(1, sizeof(*r.conf));
    int err = r.conf ? load_open(file, &r) : pm_place_no_memory(&r.at);
    fclose(file);
    if (err)
        pm_conf_free(r.conf);
    else
        *out = r.conf;
    return err;
}

int pm_conf_load(const char *path, struct pm_conf **out, char *why, size_t why_len)
{
    static const char system_wide[] = "/etc/polymount.conf";
    if (why_len)
        *why = '\0';
    if (path)
        return load_path(path, out, why, why_len);
    PM_AUTO(free) char *own = pm_xdg_path("XDG_CONFIG_HOME", ".config", "polymount/polymount.conf");
    if (own && access(own, F_OK) == 0)
        return load_path(own, out, why, why_len);
    if (access(system_wide, F_OK) == 0)
        return load_path(system_wide, out, why, why_len);
    snprintf(why, why_len, "no configuration: neither %s nor %s exists",
             own ? own : "~/.config/polymount/polymount.conf", system_wide);
    return -ENOENT;
}

/* --- options ------------------------------------------------------------------------------ */

static int set_account_option(struct pm_conf *conf, char *name, const char *value,
                              const struct pm_place *p)
{
    char *dot = strrchr(name, '.'); /* keys have none, names may */
    if (!dot)
        return pm_place_fail(p, -EINVAL, "account options look like account.NAME.KEY=VALUE");
    *dot = '\0';
    const char *key;
    const char *way;
    if (pm_key_find_secret(dot + 1, &key, &way))
        return pm_place_fail(p, -EINVAL,
                             "account.%s.%s: secrets and how to get them belong into the "
                             "configuration file, other programs can read options",
                             name, dot + 1);
    struct pm_account_conf *a = find_account(conf, name);
    if (!a)
        return pm_place_fail(p, -EINVAL, "there is no account \"%s\" in %s", name,
                             conf->path ? conf->path : "the configuration");
    const struct pm_key *k = pm_key_find("account", dot + 1);
    return k ? pm_key_set(k, a, value, p) : pm_key_unknown("account", dot + 1, p);
}

static int set_option(struct pm_conf *conf, const char *section, char *name, const char *value,
                      const struct pm_place *p)
{
    if (strcmp(section, "account") == 0)
        return set_account_option(conf, name, value, p);
    const struct pm_key *k = pm_key_find(section, name);
    if (!k)
        return pm_key_unknown(section, name, p);
    if (k->kind == K_PROXY && strchr(value, '@'))
        return pm_place_fail(p, -EINVAL,
                             "%s.%s: a proxy's password belongs into the configuration file, "
                             "other programs can read options",
                             section, name);
    return pm_key_set(k, conf, value, p);
}

int pm_conf_set(struct pm_conf *conf, const char *option, char *why, size_t why_len)
{
    struct pm_place p = { .why = why, .why_len = why_len };
    PM_AUTO(free) char *text = strdup(option);
    if (!text)
        return pm_place_no_memory(&p);
    char *value = strchr(text, '=');
    if (value)
        *value++ = '\0';
    char *name = strchr(text, '.');
    if (!name)
        return -ENOENT;
    *name++ = '\0';
    unsigned far;
    const char *section = pm_section_nearest(text, &far);
    if (far > 2)
        return -ENOENT; /* another's option that has a dot too */
    if (far > 0)
        return pm_place_fail(&p, -EINVAL, "unknown section \"%s\", the nearest is \"%s\"", text,
                             section);
    if (!value || !*value)
        return pm_place_fail(&p, -EINVAL, "%s.%s needs a value: %s.%s=VALUE", text, name, text,
                             name);
    return set_option(conf, text, name, value, &p);
}

/* --- the end ------------------------------------------------------------------------------ */

static void free_account(struct pm_account_conf *a)
{
    for (size_t i = 0; i < a->nsecrets; i++) {
        free(a->secrets[i].key);
        free(a->secrets[i].how);
        pm_secret_free(a->secrets[i].value);
    }
    free(a->secrets);
    free(a->name);
    free(a->type);
    free(a->endpoint);
    free(a->auth_scheme);
    free(a->auth);
}

void pm_conf_free(struct pm_conf *conf)
{
    if (!conf)
        return;
    for (size_t i = 0; i < conf->naccounts; i++)
        free_account(&conf->accounts[i]);
    free(conf->accounts);
    free(conf->path);
    free(conf->cache_dir);
    pm_secret_free(conf->proxy);
    free(conf->ca_file);
    free(conf);
}
