#include "fs/verbs.h"

#include "backends/backend.h"
#include "backends/conf.h"
#include "backends/util.h"

#include <errno.h>
#include <string.h>
#include <termios.h>

/* `polymount login`: what the service's login asks goes to the terminal, what came out of it into the
 * configuration. Nothing is kept unless all went well. */

enum { NAME }; /* the option */

#define KEPT_MAX  8
#define LOGIN_MS  60000 /* for each step with the service */

struct login {
    const char            *type;
    const char            *name;
    char                  *path; /* owned; the configuration that is written */
    struct pm_conf        *conf; /* owned; what is configured; NULL: nothing */
    struct pm_account_conf fresh; /* of an account that is not configured yet; its strings are owned */
    struct pm_conf_pair    kept[KEPT_MAX]; /* owned */
    size_t                 nkept;
    struct pm_ctx          ctx; /* the time that somebody takes to answer is not the service's */
};

static int complain(const char *what, const char *why)
{
    fprintf(stderr, "polymount login: %s%s\n", what, why);
    return 1;
}

/* --- the terminal ------------------------------------------------------------------------- */

/* As getpass(3): neither shown, nor does a key end the program while the terminal is so. */
static bool hide(struct termios *before)
{
    struct termios t;
    if (tcgetattr(STDIN_FILENO, before))
        return false;
    t = *before;
    t.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
    return tcsetattr(STDIN_FILENO, TCSAFLUSH, &t) == 0;
}

static int read_line(char **out)
{
    size_t  size = 0;
    char   *line = NULL;
    ssize_t n = getline(&line, &size, stdin);
    if (n > 0 && line[n - 1] == '\n')
        line[--n] = '\0';
    while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\t' || line[n - 1] == '\r'))
        line[--n] = '\0';
    bool given_up = n < 0 || memchr(line, 3, (size_t)n); /* Ctrl-C */
    if (!given_up)
        *out = strdup(line + strspn(line, " \t"));
    if (line)
        explicit_bzero(line, size);
    free(line);
    return given_up ? -ECANCELED : *out ? 0 : -ENOMEM;
}

static int ask(void *arg, const char *question, bool secret, char **out)
{
    struct login  *l = arg;
    struct termios before;
    fprintf(stderr, "%s: ", question);
    fflush(stderr);
    bool hidden = secret && hide(&before);
    int  err = read_line(out);
    if (hidden) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        fputc('\n', stderr);
    }
    l->ctx.deadline_ms = pm_now_ms() + LOGIN_MS;
    return err;
}

static void say(void *arg, const char *line)
{
    (void)arg;
    puts(line);
    fflush(stdout);
}

static int keep(void *arg, const char *key, const char *value)
{
    struct login       *l = arg;
    struct pm_conf_pair p = { strdup(key), strdup(value) };
    if (l->nkept == KEPT_MAX || !p.key || !p.value) {
        free((char *)p.key);
        pm_secret_free((char *)p.value);
        return -ENOMEM;
    }
    l->kept[l->nkept++] = p;
    return 0;
}

/* --- the account -------------------------------------------------------------------------- */

/* The configuration that is there, and where a new one goes. */
static int load(struct login *l, const struct pm_call *call)
{
    char why[512];
    int  err = pm_conf_load(call->conf, &l->conf, why, sizeof(why));
    if (err && err != -ENOENT)
        return complain(why, "");
    l->path = call->conf ? strdup(call->conf) : l->conf ? strdup(l->conf->path) : pm_conf_own_path();
    return l->path ? 0 : complain("no home directory: set HOME", "");
}

/* The account as it is configured, or as it will be; NULL: complained. */
static const struct pm_account_conf *find_account(struct login *l)
{
    const char *endpoint = pm_backend_default_endpoint(l->type);
    if (!endpoint) {
        complain("unknown type of service: ", l->type);
        return NULL;
    }
    for (size_t i = 0; l->conf && i < l->conf->naccounts; i++) {
        const struct pm_account_conf *a = &l->conf->accounts[i];
        if (strcmp(a->name, l->name) != 0)
            continue;
        if (strcmp(a->type, l->type) == 0)
            return a;
        fprintf(stderr, "polymount login: the account %s is of another type (%s): give another --name\n",
                l->name, a->type);
        return NULL;
    }
    l->fresh = (struct pm_account_conf){ .name = strdup(l->name), .type = strdup(l->type),
                                         .endpoint = strdup(endpoint) };
    return l->fresh.name && l->fresh.type && l->fresh.endpoint ? &l->fresh : NULL;
}

static int store(struct login *l)
{
    char why[512] = "";
    if (pm_conf_store(l->path, l->name, l->type, l->kept, l->nkept, why, sizeof(why)))
        return complain(why, "");
    printf("The account %s is in %s.\n", l->name, l->path);
    return 0;
}

static int run_login(struct login *l, const struct pm_account_conf *account, struct pm_net *net)
{
    const struct pm_login user = { .ask = ask, .say = say, .keep = keep, .arg = l };
    struct pm_backend    *b = NULL;
    int                   err = pm_backend_open(account, net, NULL, &b);
    l->ctx = (struct pm_ctx){ .deadline_ms = pm_now_ms() + LOGIN_MS, .prio = PM_INTERACTIVE };
    if (!err)
        err = pm_backend_login(b, &l->ctx, &user);
    pm_backend_close(b);
    if (err == -EOPNOTSUPP && !*l->ctx.why) {
        fprintf(stderr, "polymount login: %s gives out its token itself: put it into [account %s] of %s\n",
                l->type, l->name, l->path);
        return 1;
    }
    if (err)
        return complain(err == -ECANCELED ? "nothing was changed" : *l->ctx.why ? l->ctx.why : strerror(-err), "");
    return store(l);
}

static void free_login(struct login *l)
{
    for (size_t i = 0; i < l->nkept; i++) {
        free((char *)l->kept[i].key);
        pm_secret_free((char *)l->kept[i].value);
    }
    free(l->fresh.name);
    free(l->fresh.type);
    free(l->fresh.endpoint);
    free(l->path);
    pm_conf_free(l->conf);
}

int pm_verb_login(const struct pm_call *call)
{
    struct login l = { .type = call->paths[0] };
    l.name = call->values[NAME] ? call->values[NAME] : l.type;
    const struct pm_account_conf *account = load(&l, call) ? NULL : find_account(&l);
    const struct pm_conf          plain = { .op_timeout_ms = 20000, .connections = 1 };
    struct pm_net                *net = NULL;
    int                           status = 1;
    int err = account ? pm_net_open(l.conf ? l.conf : &plain, &net) : 0;
    if (err)
        complain("", strerror(-err));
    else if (account)
        status = run_login(&l, account, net);
    pm_net_close(net);
    free_login(&l);
    return status;
}
