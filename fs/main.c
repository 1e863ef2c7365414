#include "backends/conf.h"
#include "backends/util.h"
#include "fs/mount.h"
#include "fs/verbs.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* The command line: a verb, or a mount. Exit status 0 done, 1 failed, 2 wrong usage. */

enum { OPTIONS_MAX = 128 };

struct mounting {
    bool            helper; /* called by mount(8): SOURCE comes before MOUNTPOINT */
    bool            foreground;
    bool            fake; /* mount -f: only pretend */
    char           *conf; /* owned */
    char           *options[OPTIONS_MAX]; /* from -o, one each, still escaped; owned */
    size_t          noptions;
    char           *mountpoint; /* absolute; owned */
    struct pm_conf *loaded;
    char           *fuse[2 * OPTIONS_MAX + 2]; /* borrowed from `options` */
    int             nfuse;
};

static int failed(int status, const char *what, const char *which)
{
    fprintf(stderr, "polymount: %s%s\n", what, which);
    return status;
}

static void print_usage(FILE *out)
{
    fputs("usage: polymount [-c FILE] [-f] [-o OPTION,...] MOUNTPOINT\n"
          "       polymount [-c FILE] VERB ...\n\n"
          "Mounts cloud 3D storage as a drive, one directory for each account.\n\n"
          "  -c FILE     the configuration (else ~/.config/polymount/polymount.conf,\n"
          "              then /etc/polymount.conf)\n"
          "  -f          stay in the foreground\n"
          "  -o OPTION   FUSE options and configuration keys, such as cache.max_size=5G;\n"
          "              config=FILE is -c FILE, debug is -d\n"
          "  -d          log every request\n"
          "  -h, --help  this text;  -V, --version\n\n"
          "Verbs (polymount VERB --help tells more):\n",
          out);
    pm_verbs_list(out);
}

/* Before anything secret is read: no core dump and no other process of this user may show it. */
static void guard_memory(void)
{
    const struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* --- -o ----------------------------------------------------------------------------------- */

/* Options of fstab that are for mount(8) and systemd, not for us. */
static bool is_for_mount(const char *option)
{
    static const char *const whole[] = { "auto",   "noauto", "user",    "nouser",   "users",
                                         "owner",  "group",  "_netdev", "defaults", "relatime",
                                         "nofail" };
    static const char *const starts[] = { "x-", "X-", "user=", "comment=" };
    for (size_t i = 0; i < PM_COUNT(whole); i++)
        if (strcmp(option, whole[i]) == 0)
            return true;
    for (size_t i = 0; i < PM_COUNT(starts); i++)
        if (strncmp(option, starts[i], strlen(starts[i])) == 0)
            return true;
    return false;
}

/* Takes the backslashes out that kept commas from separating. */
static char *unescape(const char *option)
{
    char *out = strdup(option);
    char *to = out;
    for (const char *c = option; out && *c; c++) {
        if (*c == '\\' && c[1])
            c++;
        *to++ = *c;
    }
    if (out)
        *to = '\0';
    return out;
}

static int set_conf(struct mounting *m, const char *path)
{
    free(m->conf);
    m->conf = strdup(path);
    return m->conf ? 0 : failed(1, "out of memory", "");
}

static int add_option(struct mounting *m, const char *text, size_t len)
{
    static const char config[] = "config=";
    if (m->noptions == OPTIONS_MAX)
        return failed(2, "too many options", "");
    char *raw = strndup(text, len);
    PM_AUTO(free) char *plain = raw ? unescape(raw) : NULL;
    if (!plain) {
        free(raw);
        return failed(1, "out of memory", "");
    }
    int err = 0;
    if (strncmp(plain, config, strlen(config)) == 0)
        err = set_conf(m, plain + strlen(config));
    else if (strcmp(plain, "debug") == 0)
        pm_log_level(PM_DEBUG);
    else if (*plain && !is_for_mount(plain)) {
        m->options[m->noptions++] = raw;
        return 0;
    }
    free(raw);
    return err;
}

static int add_options(struct mounting *m, const char *text)
{
    int err = 0;
    while (!err && *text) {
        size_t len = 0;
        while (text[len] && text[len] != ',')
            len += text[len] == '\\' && text[len + 1] ? 2 : 1;
        err = add_option(m, text, len);
        text += len + (text[len] == ',');
    }
    return err;
}

/* Our keys go to the configuration, the others to libfuse. */
static int apply_options(struct mounting *m)
{
    char why[512];
    m->fuse[m->nfuse++] = (char *)"polymount";
    for (size_t i = 0; i < m->noptions; i++) {
        PM_AUTO(free) char *plain = unescape(m->options[i]);
        int err = plain ? pm_conf_set(m->loaded, plain, why, sizeof(why)) : -ENOMEM;
        if (err == -ENOENT) {
            m->fuse[m->nfuse++] = (char *)"-o";
            m->fuse[m->nfuse++] = m->options[i];
        } else if (err) {
            return failed(2, "-o: ", plain ? why : "out of memory");
        }
    }
    m->fuse[m->nfuse] = NULL;
    return 0;
}

/* --- the mount ---------------------------------------------------------------------------- */

static int check_mountpoint(struct mounting *m, const char *path)
{
    struct stat st;
    if (stat(path, &st)) {
        const char *remedy = errno == ENOENT     ? " does not exist: mkdir it first"
                             : errno == ENOTCONN ? " is a dead mount: polymount umount it first"
                                                 : strerror(errno);
        return failed(1, path, remedy);
    }
    if (!S_ISDIR(st.st_mode))
        return failed(1, path, " is not a directory");
    if (access(path, R_OK | X_OK))
        return failed(1, path, " cannot be read: permission denied");
    m->mountpoint = realpath(path, NULL);
    return m->mountpoint ? 0 : failed(1, path, strerror(errno));
}

static int load(struct mounting *m)
{
    char why[512];
    int  err = pm_conf_load(m->conf, &m->loaded, why, sizeof(why));
    if (err == -ENOENT && !m->conf)
        return failed(1, why, "; to try it without an account: polymount demo");
    if (err)
        return failed(1, why, "");
    if (m->loaded->naccounts == 0)
        return failed(1, m->loaded->path, ": no account: add a section [account NAME]");
    return 0;
}

static int run_mount(struct mounting *m, const char *path)
{
    int status = check_mountpoint(m, path);
    if (status == 0)
        status = load(m);
    if (status == 0)
        status = apply_options(m);
    if (status || m->fake)
        return status;
    return pm_mount_run(m->loaded, m->mountpoint, m->foreground, m->nfuse, m->fuse);
}

/* A single word that names nothing is rather a misspelt verb than a mount point. */
static int check_word(const char *word)
{
    unsigned    far;
    const char *nearest = pm_verb_nearest(word, &far);
    if (strchr(word, '/') || access(word, F_OK) == 0 || far > 2)
        return 0;
    fprintf(stderr, "polymount: \"%s\" is neither a verb nor a directory, did you mean: polymount "
            "%s\n", word, nearest);
    return 2;
}

/* What mount(8) and mount.fuse pass as the source: a word that is nothing here. A lone verb-like
 * word before a path is a mistake instead. */
static bool is_source(const struct mounting *m, const char *word)
{
    return m->helper || strcmp(word, "none") == 0 || strncmp(word, "polymount", 9) == 0 ||
           strncmp(word, "fuse", 4) == 0 || strchr(word, '/');
}

static int run_positionals(struct mounting *m, int argc, char **argv)
{
    if (argc == 0) {
        print_usage(stderr);
        return 2;
    }
    if (argc == 2 && is_source(m, argv[0]))
        return run_mount(m, argv[1]);
    if (argc == 1) {
        int status = check_word(argv[0]);
        return status ? status : run_mount(m, argv[0]);
    }
    unsigned    far;
    const char *nearest = pm_verb_nearest(argv[0], &far);
    fprintf(stderr, "polymount: unknown verb \"%s\"", argv[0]);
    if (far <= 3)
        fprintf(stderr, ", the nearest is \"%s\"", nearest);
    fputs(" (polymount --help lists them)\n", stderr);
    return 2;
}

/* One option; -1: go on, else the exit status. */
static int take_option(struct mounting *m, int letter)
{
    int status = 0;
    switch (letter) {
    case 'c':
        status = set_conf(m, optarg);
        break;
    case 'o':
        status = add_options(m, optarg);
        break;
    case 'd':
        pm_log_level(PM_DEBUG);
        break;
    case 'f':
        m->foreground = !m->helper;
        m->fake = m->helper;
        break;
    case 'r':
        status = add_options(m, "ro");
        break;
    case 'h':
        print_usage(stdout);
        return 0;
    case 'V':
        puts("polymount " PM_VERSION);
        return 0;
    case '?':
        return 2; /* getopt has said what */
    default:
        break; /* mount(8)'s -s -n -v -w -t -N: nothing to do */
    }
    return status ? status : -1;
}

static int run(struct mounting *m, int argc, char **argv)
{
    static const struct option longs[] = { { "help", no_argument, NULL, 'h' },
                                           { "version", no_argument, NULL, 'V' },
                                           { NULL, 0, NULL, 0 } };
    int letter;
    argv[0] = (char *)"polymount";
    while ((letter = getopt_long(argc, argv, m->helper ? "o:fsnvrwt:N:hV" : "c:o:fdhV", longs,
                                 NULL)) != -1) {
        int status = take_option(m, letter);
        if (status >= 0)
            return status;
    }
    return run_positionals(m, argc - optind, argv + optind);
}

/* --- verbs -------------------------------------------------------------------------------- */

/* Where the first word stands that is no option, and what -c says before it. */
static int first_word(int argc, char **argv, const char **conf, bool *only_conf)
{
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-' || !argv[i][1])
            return i;
        if (strcmp(argv[i], "--") == 0)
            return argc;
        bool c = argv[i][1] == 'c';
        *only_conf = *only_conf && c;
        if (c && argv[i][2])
            *conf = argv[i] + 2;
        else if (c && i + 1 < argc)
            *conf = argv[++i];
        else if (strcmp(argv[i], "-o") == 0)
            i++;
    }
    return argc;
}

static int run_mounting(int argc, char **argv, bool helper)
{
    struct mounting m = { .helper = helper };
    int status = run(&m, argc, argv);
    for (size_t i = 0; i < m.noptions; i++)
        free(m.options[i]);
    free(m.conf);
    free(m.mountpoint);
    pm_conf_free(m.loaded);
    return status;
}

int main(int argc, char **argv)
{
    guard_memory();
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *name = slash ? slash + 1 : argc > 0 ? argv[0] : "";
    if (strncmp(name, "mount.", 6) == 0)
        return run_mounting(argc, argv, true);
    const char *conf = NULL;
    bool        only_conf = true;
    int         at = first_word(argc, argv, &conf, &only_conf);
    const struct pm_verb *verb = at < argc ? pm_verb_find(argv[at]) : NULL;
    if (!verb)
        return run_mounting(argc, argv, false);
    if (!only_conf)
        return failed(2, "only -c FILE may stand before a verb, here: ", argv[at]);
    return pm_verb_run(verb, conf, argc - at - 1, argv + at + 1);
}
