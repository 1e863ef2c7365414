#include "fs/verbs.h"

#include "backends/conf.h"
#include "backends/util.h"
#include "fs/control.h"
#include "fs/find.h"
#include "fs/status.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

struct option {
    const char *name; /* NULL ends the list */
    bool        takes_value;
};

struct pm_verb {
    const char   *name;
    const char   *usage; /* what follows the name */
    const char   *brief;
    const char   *help;
    struct option options[PM_COUNT(((struct pm_call *)0)->values) + 1];
    int           min_paths;
    int           max_paths;
    int (*run)(const struct pm_call *call);
};

static int run_forward(const struct pm_call *call);
static int run_status(const struct pm_call *call);
static int run_sync(const struct pm_call *call);

enum { JSON, WATCH }; /* of status */

static const struct pm_verb verbs[] = {
    { "umount", "MOUNTPOINT [--wait]", "unmount, and say what is still queued",
      "Unmounts the drive. What is not uploaded yet stays safe in the state folder and goes on at\n"
      "the next mount; it says how much that is.\n\n"
      "  --wait   upload everything first, as `polymount sync` does; if that fails, or a draft is not a\n"
      "           project yet, the drive stays mounted\n",
      { { "--wait", false }, { NULL, false } }, 1, 1, pm_verb_umount },
    { "status", "[--json] [--watch] [PATH]", "accounts, transfers, and whether all is safe",
      "Shows accounts, cache, uploads with their progress, failures and why, and whether it is\n"
      "safe to shut down. Without a mounted drive it tells what is still queued.\n\n"
      "  --json   the same for programs\n"
      "  --watch  show it every second, until Ctrl-C\n",
      { { "--json", false }, { "--watch", false }, { NULL, false } }, 0, 1, run_status },
    { "sync", "[--timeout S] [PATH...]", "send all changes now and wait for them",
      "Sends all changes now, or those below the PATHs, and waits until the service has them.\n"
      "Status 1, and a list, if anything failed or did not make it in time. Draft folders in uploads/\n"
      "become models. The files of one that becomes a project are sent, too, but only its time or\n"
      "`polymount publish` makes the project: until then it is in that list.\n\n"
      "  --timeout S  give up waiting after S seconds (the uploads go on)\n",
      { { "--timeout", true }, { NULL, false } }, 0, INT_MAX, run_sync },
    { "pause", "[PATH]", "hold what is to be sent",
      "Holds uploads and all other changes until `polymount resume`, also over a remount. They are\n"
      "accepted and kept; reading goes on.\n",
      { { NULL, false } }, 0, 1, run_forward },
    { "resume", "[--same-account NAME] [PATH]", "let what is held go on",
      "Ends `polymount pause`, and looks at once at the credentials of accounts that pause because\n"
      "the service refuses them. Status 1, and why, if one still does.\n\n"
      "  --same-account NAME  the credential of this account was replaced by one that may be another\n"
      "                       account's: it is the same account's. What was changed here goes there.\n",
      { { "--same-account", true }, { NULL, false } }, 0, 1, run_forward },
    { "undelete", "PATH...", "take back a removal that was not sent yet",
      "What was removed comes back under its name, a folder with what was removed in it. Removals\n"
      "are sent after upload.delete_delay, or by `polymount sync`.\n",
      { { NULL, false } }, 1, INT_MAX, run_forward },
    { "retry", "PATH...", "try again what failed or was interrupted",
      "What failed, was interrupted or waits after a failure, at or below the PATHs, is sent again\n"
      "now. `polymount status` lists it with the reasons.\n",
      { { NULL, false } }, 1, INT_MAX, run_forward },
    { "discard", "PATH...", "give up what failed or was interrupted",
      "Gives up uploads that failed or were interrupted, at or below the PATHs. Their content is\n"
      "kept for 7 days in the folder `discarded` of the state folder; the file is again what the\n"
      "service has, or gone if it never was there.\n",
      { { NULL, false } }, 1, INT_MAX, run_forward },
    { "evict", "[--last-copy] PATH...", "drop what is cached",
      "Drops the cached content at or below the PATHs, to be fetched again when it is read. What is not\n"
      "sent or in use stays, and what the service cannot give back.\n\n"
      "  --last-copy  drop also what the service cannot give back: it is nowhere else\n",
      { { "--last-copy", false }, { NULL, false } }, 1, INT_MAX, run_forward },
    { "publish", "DIR", "make a project or a model of a draft folder",
      "Sends what is in the draft folder DIR and makes one project or model of it, without waiting until\n"
      "it was left alone. What is in the folder cannot be changed from then on.\n",
      { { NULL, false } }, 1, 1, run_forward },
    { "forget", "PATH...", "hide what the service cannot delete",
      "Shows a published project no more. It stays on the service. Where last copies of its files are\n"
      "here, drop them first: polymount evict --last-copy.\n",
      { { NULL, false } }, 1, INT_MAX, run_forward },
    { "allow-deletes", "[PATH...]", "send removals that are held",
      "A great many removals at once (upload.delete_guard) are held until this allows them.\n",
      { { NULL, false } }, 0, INT_MAX, run_forward },
    { "rescue", "[--from FOLDER] DIR", "get unsent content out of a state folder",
      "Copies what is not uploaded out of the state folder into DIR (made if absent), under the\n"
      "paths of the drive, and overwrites nothing. For when the drive cannot be mounted: works with\n"
      "index and journal damaged or gone, also on what was set aside as *.damaged-*. What lacks\n"
      "parts that were never fetched is named NAME.incomplete, and the parts are told. The state\n"
      "folder is only read, and must not be in use.\n\n"
      "  --from FOLDER  the state folder (else cache.dir of the configuration)\n",
      { { "--from", true }, { NULL, false } }, 1, 1, pm_verb_rescue },
    { "login", "TYPE [--name ACCOUNT]", "get the keys of an account",
      "Gets what an account of this type of service (shapeways) needs, with your help, has the service\n"
      "check it, and writes it into the configuration, readable by you alone. For Shapeways: register\n"
      "an application there, type its two keys, open the address that is printed, allow the access, and\n"
      "type the PIN. Keys of the application that the account has already are not asked for.\n\n"
      "  --name ACCOUNT  the account, made if there is none of this name (else named as its type)\n",
      { { "--name", true }, { NULL, false } }, 1, 1, pm_verb_login },
    { "demo", "[MOUNTPOINT]", "try it without an account",
      "Starts simulated services on this machine, SmartShape with sample models and an empty\n"
      "360-for-you, and mounts them (at ~/polymount-demo, made if need be), with a configuration and\n"
      "a state of their own, which are there again the next time.\n"
      "End it with `polymount umount MOUNTPOINT`.\n",
      { { NULL, false } }, 0, 1, pm_verb_demo },
};

const struct pm_verb *pm_verb_find(const char *name)
{
    for (size_t i = 0; i < PM_COUNT(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

/* Levenshtein's distance, without a table: names of verbs are short. */
static unsigned distance(const char *a, const char *b)
{
    if (!*a || !*b)
        return (unsigned)(strlen(a) + strlen(b));
    if (*a == *b)
        return distance(a + 1, b + 1);
    unsigned best = distance(a + 1, b + 1);
    unsigned insert = distance(a, b + 1);
    unsigned drop = distance(a + 1, b);
    best = insert < best ? insert : best;
    return 1 + (drop < best ? drop : best);
}

const char *pm_verb_nearest(const char *asked, unsigned *far)
{
    const char *best = verbs[0].name;
    *far = UINT_MAX;
    if (strlen(asked) > 10) /* the recursion grows threefold with each letter */
        return best;
    for (size_t i = 0; i < PM_COUNT(verbs); i++) {
        unsigned d = distance(asked, verbs[i].name);
        if (d < *far) {
            *far = d;
            best = verbs[i].name;
        }
    }
    return best;
}

void pm_verbs_list(FILE *out)
{
    for (size_t i = 0; i < PM_COUNT(verbs); i++) {
        int left = 47 - fprintf(out, "  polymount %s %s", verbs[i].name, verbs[i].usage);

        fprintf(out, "%*s %s\n", left > 0 ? left : 0, "", verbs[i].brief);
    }
}

/* --- the command line --------------------------------------------------------------------- */

static int misused(const struct pm_verb *v, const char *what, const char *which)
{
    fprintf(stderr, "polymount %s: %s%s; usage: polymount %s %s\n", v->name, what, which, v->name,
            v->usage);
    return 2;
}

static int find_option(const struct pm_verb *v, const char *arg, const char **value)
{
    size_t len = strcspn(arg, "=");
    for (int i = 0; v->options[i].name; i++) {
        if (strncmp(v->options[i].name, arg, len) != 0 || v->options[i].name[len])
            continue;
        *value = arg[len] ? arg + len + 1 : NULL;
        return i;
    }
    return -1;
}

/* Takes the option at argv[*at], and its value behind it. 0 or 2. */
static int take_option(struct pm_call *call, int argc, char **argv, int *at)
{
    const char *arg = argv[*at];
    const char *value = NULL;
    if (strncmp(arg, "-c", 2) == 0) {
        call->conf = arg[2] ? arg + 2 : *at + 1 < argc ? argv[++*at] : NULL;
        return call->conf ? 0 : misused(call->verb, "-c needs a file", "");
    }
    int i = find_option(call->verb, arg, &value);
    if (i < 0)
        return misused(call->verb, "unknown option ", arg);
    bool takes_value = call->verb->options[i].takes_value;
    if (!takes_value && value)
        return misused(call->verb, "no value belongs to ", call->verb->options[i].name);
    if (takes_value && !value && *at + 1 < argc)
        value = argv[++*at];
    if (takes_value && !value)
        return misused(call->verb, "a value is missing after ", arg);
    call->values[i] = takes_value ? value : "";
    return 0;
}

/* Splits the command line; the paths move to the front of argv. */
static int parse(struct pm_call *call, int argc, char **argv)
{
    bool only_paths = false;
    call->paths = argv;
    for (int i = 0; i < argc; i++) {
        int err = 0;
        if (!only_paths && strcmp(argv[i], "--") == 0)
            only_paths = true;
        else if (!only_paths && argv[i][0] == '-' && argv[i][1])
            err = take_option(call, argc, argv, &i);
        else
            argv[call->npaths++] = argv[i];
        if (err)
            return err;
    }
    if (call->npaths < call->verb->min_paths)
        return misused(call->verb, "something is missing", "");
    if (call->npaths > call->verb->max_paths)
        return misused(call->verb, "too much: ", argv[call->verb->max_paths]);
    return 0;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

int pm_verb_run(const struct pm_verb *verb, const char *conf, int argc, char **argv)
{
    struct pm_call call = { .verb = verb, .conf = conf };
    if (asks_for_help(argc, argv)) {
        printf("usage: polymount %s %s\n\n%s", verb->name, verb->usage, verb->help);
        return 0;
    }
    int err = parse(&call, argc, argv);
    return err ? err : verb->run(&call);
}

/* --- calling the daemon ------------------------------------------------------------------- */

/* Whom a call goes to, and with what paths. */
struct target {
    char          **paths; /* absolute */
    int             npaths;
    char           *dir; /* the state folder */
    struct pm_conf *conf; /* NULL if a path led to the folder */
};

static void free_target(struct target *t)
{
    for (int i = 0; i < t->npaths; i++)
        free(t->paths[i]);
    free(t->paths);
    free(t->dir);
    pm_conf_free(t->conf);
}

/* The configuration leads to the daemon. */
static int use_conf(const struct pm_call *call, struct target *t)
{
    char why[512];
    int  err = pm_conf_load(call->conf, &t->conf, why, sizeof(why));
    if (err == -ENOENT && !call->conf)
        fprintf(stderr, "polymount %s: not mounted (%s)\n", call->verb->name, why);
    else if (err)
        fprintf(stderr, "polymount %s: %s\n", call->verb->name, why);
    if (err)
        return 1;
    t->dir = strdup(t->conf->cache_dir);
    return t->dir ? 0 : 1;
}

/* A path leads to the daemon: -ENOENT if this one is in no mount. */
static int use_path(struct target *t, int i, const char *path)
{
    PM_AUTO(pm_found) struct pm_found found = { 0 };
    int err = pm_find_path(path, &found);
    if (err)
        return err;
    if (t->dir && strcmp(t->dir, found.state_dir) != 0)
        return -EXDEV;
    free(t->paths[i]);
    t->paths[i] = found.path;
    found.path = NULL;
    if (!t->dir) {
        t->dir = found.state_dir;
        found.state_dir = NULL;
    }
    return 0;
}

static int find_paths(const struct pm_call *call, struct target *t)
{
    t->paths = calloc((size_t)call->npaths + 1, sizeof(*t->paths));
    for (int i = 0; t->paths && i < call->npaths; i++) {
        t->paths[i] = pm_path_absolute(call->paths[i]);
        if (!t->paths[i])
            return 1;
        t->npaths++;
    }
    for (int i = 0; !call->conf && i < t->npaths; i++) {
        int err = use_path(t, i, call->paths[i]);
        if (err == 0 || (err == -ENOENT && call->verb->run == run_status))
            continue;
        fprintf(stderr, "polymount %s: %s: %s\n", call->verb->name, call->paths[i],
                err == -EXDEV ? "belongs to another mount than the paths before it"
                              : "not mounted: no drive of polymount is there");
        return 1;
    }
    return t->paths ? 0 : 1;
}

static int find_target(const struct pm_call *call, struct target *t)
{
    int err = find_paths(call, t);
    if (err || t->dir)
        return err;
    return use_conf(call, t);
}

/* Sends the call as it was written, but for the paths. The exit status or -errno. */
static int forward(const struct pm_call *call, const struct target *t)
{
    size_t options = PM_COUNT(call->values) * 2;
    PM_AUTO(free) const char **argv = calloc(1 + options + (size_t)t->npaths, sizeof(*argv));
    if (!argv)
        return -ENOMEM;
    int n = 0;
    argv[n++] = call->verb->name;
    for (int i = 0; call->verb->options[i].name; i++) {
        if (!call->values[i] || (call->verb->run == run_status && i == WATCH))
            continue;
        argv[n++] = call->verb->options[i].name;
        if (call->verb->options[i].takes_value)
            argv[n++] = call->values[i];
    }
    for (int i = 0; i < t->npaths; i++)
        argv[n++] = t->paths[i];
    return pm_control_call(t->dir, n, (char *const *)argv, stdout, stderr);
}

static bool no_daemon(int err)
{
    return err == -ENOENT || err == -ECONNREFUSED;
}

static int complain(const struct pm_call *call, const struct target *t, int err)
{
    if (no_daemon(err))
        fprintf(stderr, "polymount %s: not mounted (no daemon in %s)\n", call->verb->name, t->dir);
    else if (err == -ECONNRESET)
        fprintf(stderr, "polymount %s: the daemon ended before it answered\n", call->verb->name);
    else
        fprintf(stderr, "polymount %s: the daemon in %s cannot be asked: %s\n", call->verb->name,
                t->dir, strerror(-err));
    return 1;
}

static int run_sync(const struct pm_call *call)
{
    const char *seconds = call->values[0];
    if (seconds && (!*seconds || seconds[strspn(seconds, "0123456789")]))
        return misused(call->verb, "a whole number of seconds is needed, not ", seconds);
    return run_forward(call);
}

static int run_forward(const struct pm_call *call)
{
    struct target t = { 0 };
    int status = find_target(call, &t);
    if (status == 0)
        status = forward(call, &t);
    if (status < 0)
        status = complain(call, &t, status);
    free_target(&t);
    return status;
}

/* --- status ------------------------------------------------------------------------------- */

static int show_status(const struct pm_call *call, const struct target *t)
{
    int status = forward(call, t);
    if (no_daemon(status) && t->conf)
        return pm_offline_status(t->conf, call->values[JSON] != NULL, stdout);
    return status < 0 ? complain(call, t, status) : status;
}

static int watch(const struct pm_call *call, const struct target *t)
{
    bool terminal = isatty(STDOUT_FILENO) && !call->values[JSON];
    int  status = 0;
    for (;;) {
        if (terminal)
            fputs("\033[H\033[J", stdout);
        status = show_status(call, t);
        if (fflush(stdout) || status)
            return status ? status : 1;
        sleep(1);
        if (!terminal && !call->values[JSON])
            putchar('\n');
    }
}

static int run_status(const struct pm_call *call)
{
    struct target t = { 0 };
    int status = find_target(call, &t);
    if (status == 0)
        status = call->values[WATCH] ? watch(call, &t) : show_status(call, &t);
    free_target(&t);
    return status;
}
