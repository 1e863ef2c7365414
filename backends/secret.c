#include "backends/conf.h"

#include "backends/keys.h"
#include "backends/util.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

extern char **environ;

enum { SECRET_MAX = 64 * 1024, COMMAND_MS = 30000, COMMAND_LOOK_MS = 50 };

void pm_secret_free(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

/* Hands over the first line of text[len] without the blanks around it. Refuses an empty one, and
 * control characters: they could add a header to a request. */
static int take_first_line(const char *text, size_t len, char **out, const struct pm_place *p)
{
    const char *end = memchr(text, '\n', len);
    if (end)
        len = (size_t)(end - text);
    for (; len > 0 && isspace((unsigned char)*text); len--)
        text++;
    while (len > 0 && isspace((unsigned char)text[len - 1]))
        len--;
    if (len == 0)
        return pm_place_fail(p, -EINVAL, "gives nothing");
    for (size_t i = 0; i < len; i++)
        if (iscntrl((unsigned char)text[i]))
            return pm_place_fail(p, -EINVAL, "gives control characters");
    *out = strndup(text, len);
    return *out ? 0 : pm_place_no_memory(p);
}

/* --- files -------------------------------------------------------------------------------- */

static int secret_from_file(const char *path, char **out, const struct pm_place *p)
{
    PM_AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st))
        return pm_place_fail(p, -errno, "%s", strerror(errno));
    if (!S_ISREG(st.st_mode))
        return pm_place_fail(p, -EINVAL, "is no file");
    if (st.st_mode & 066)
        return pm_place_fail(p, -EACCES, "others can read it: chmod 600 %s", path);
    PM_AUTO(free) char *text = malloc(SECRET_MAX);
    if (!text)
        return pm_place_no_memory(p);
    ssize_t n = pm_pread_all(fd, text, SECRET_MAX, 0);
    int err = n < 0 ? pm_place_fail(p, (int)n, "%s", strerror((int)-n))
                    : take_first_line(text, (size_t)n, out, p);
    explicit_bzero(text, n > 0 ? (size_t)n : 0);
    return err;
}

/* --- commands ----------------------------------------------------------------------------- */

/* A command that runs, in a process group of its own. */
struct command {
    pid_t  pid; /* 0: reaped */
    int    status;
    int    fds[2]; /* what it prints on stdout and stderr; -1 after the end */
    char  *text[2]; /* SECRET_MAX bytes each */
    size_t len[2];
};

/* The daemon's threads block all signals and its descriptors are its own: neither may be inherited
 * (a /dev/fuse left open in a background process would keep the mount alive). */
static int prepare(posix_spawnattr_t *attr, posix_spawn_file_actions_t *act, const int ends[2])
{
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(attr, &none);
    posix_spawnattr_setsigdefault(attr, &all);
    posix_spawnattr_setpgroup(attr, 0);
    posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                       POSIX_SPAWN_SETSIGDEF);
    int err = posix_spawn_file_actions_addopen(act, 0, "/dev/null", O_RDONLY, 0);
    for (int i = 0; !err && i < 2; i++)
        err = posix_spawn_file_actions_adddup2(act, ends[i], i + 1);
#if __GLIBC_PREREQ(2, 34)
    if (!err)
        err = posix_spawn_file_actions_addclosefrom_np(act, 3);
#endif
    return err;
}

static int spawn_shell(pid_t *pid, const char *line, const int ends[2])
{
    posix_spawnattr_t          attr;
    posix_spawn_file_actions_t act;
    char                      *argv[] = { "sh", "-c", (char *)line, NULL };
    if (posix_spawnattr_init(&attr))
        return -ENOMEM;
    int err = posix_spawn_file_actions_init(&act);
    if (!err) {
        err = prepare(&attr, &act, ends);
        if (!err)
            err = posix_spawn(pid, "/bin/sh", &act, &attr, argv, environ);
        posix_spawn_file_actions_destroy(&act);
    }
    posix_spawnattr_destroy(&attr);
    return -err;
}

static int start(struct command *c, const char *line)
{
    int ends[2] = { -1, -1 };
    int err = 0;
    for (int i = 0; !err && i < 2; i++) {
        int pair[2];
        c->text[i] = malloc(SECRET_MAX);
        if (!c->text[i])
            err = -ENOMEM;
        else if (pipe2(pair, O_CLOEXEC))
            err = -errno;
        else {
            c->fds[i] = pair[0];
            ends[i] = pair[1];
            fcntl(c->fds[i], F_SETFL, O_NONBLOCK);
        }
    }
    if (!err)
        err = spawn_shell(&c->pid, line, ends);
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            close(ends[i]);
    return err;
}

/* Takes what there is, a bounded part at a time, since `yes` never ends; what passes the limit is
 * thrown away, so that the command can go on. */
static void drain(struct command *c, int i)
{
    char    spill[4096];
    bool    full = c->len[i] == SECRET_MAX;
    ssize_t n = 1;
    for (int round = 0; round < 64 && n > 0 && c->fds[i] >= 0; round++) {
        n = full ? read(c->fds[i], spill, sizeof(spill))
                 : read(c->fds[i], c->text[i] + c->len[i], SECRET_MAX - c->len[i]);
        if (n > 0 && !full)
            c->len[i] += (size_t)n;
        full = c->len[i] == SECRET_MAX;
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            close(c->fds[i]);
            c->fds[i] = -1;
        }
    }
    explicit_bzero(spill, sizeof(spill));
}

/* Until the shell has ended: what it leaves in the background may hold the pipes open for ever.
 * A process that ignores SIGCHLD cannot learn the status: then the output decides. */
static int wait_for(struct command *c, const atomic_bool *cancel)
{
    int64_t end = pm_now_ms() + COMMAND_MS;
    while (pm_now_ms() < end && !(cancel && atomic_load(cancel))) {
        pid_t gone = waitpid(c->pid, &c->status, WNOHANG);
        if (gone < 0 && errno == ECHILD)
            c->status = 0;
        bool ended = gone != 0 && !(gone < 0 && errno == EINTR);
        drain(c, 0);
        drain(c, 1);
        if (ended) {
            c->pid = 0;
            return 0;
        }
        struct pollfd p[2] = { { c->fds[0], POLLIN, 0 }, { c->fds[1], POLLIN, 0 } };
        poll(p, 2, COMMAND_LOOK_MS);
    }
    return cancel && atomic_load(cancel) ? -ECANCELED : -ETIMEDOUT;
}

static void stop(struct command *c)
{
    if (c->pid > 0) {
        kill(-c->pid, SIGKILL);
        while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    for (int i = 0; i < 2; i++) {
        if (c->fds[i] >= 0)
            close(c->fds[i]);
        if (c->text[i])
            explicit_bzero(c->text[i], c->len[i]);
        free(c->text[i]);
    }
}

/* What the command complained of; but never what it printed as the secret too (as `sh -x` does). */
static int complain(const struct command *c, const struct pm_place *p)
{
    char *word = NULL;
    char *secret = NULL;
    const struct pm_place nowhere = { .why_len = 0 };
    take_first_line(c->text[1], c->len[1], &word, &nowhere);
    take_first_line(c->text[0], c->len[0], &secret, &nowhere);
    if (word && secret && strstr(word, secret)) {
        free(word);
        word = NULL;
    }
    if (WIFSIGNALED(c->status))
        pm_place_fail(p, 0, "killed by signal %d", WTERMSIG(c->status));
    else
        pm_place_fail(p, 0, "exit status %d%s%s", WEXITSTATUS(c->status), word ? ": " : "",
                      word ? word : "");
    free(word);
    pm_secret_free(secret);
    return -EIO;
}

static int secret_from_command(const char *line, const atomic_bool *cancel, char **out,
                               const struct pm_place *p)
{
    struct command c = { .fds = { -1, -1 } };
    int err = start(&c, line);
    if (err) {
        pm_place_fail(p, err, "cannot be started: %s", strerror(-err));
    } else {
        err = wait_for(&c, cancel);
        if (err == -ETIMEDOUT)
            pm_place_fail(p, err, "no end after %d s", COMMAND_MS / 1000);
        else if (!err && c.status)
            err = complain(&c, p);
        else if (!err)
            err = take_first_line(c.text[0], c.len[0], out, p);
    }
    stop(&c);
    return err;
}

/* --- all ---------------------------------------------------------------------------------- */

static const struct pm_secret *find(const struct pm_account_conf *a, const char *key)
{
    for (size_t i = 0; i < a->nsecrets; i++)
        if (strcmp(a->secrets[i].key, key) == 0)
            return &a->secrets[i];
    return NULL;
}

int pm_conf_secret(const struct pm_account_conf *account, const char *key, const atomic_bool *cancel,
                   char **out, char *why, size_t why_len)
{
    const struct pm_secret *s = find(account, key);
    if (!s)
        return -ENOENT;
    char from[512];
    snprintf(from, sizeof(from), "account %s: %s%s%s%s%s", account->name, key, *s->how ? "_" : "",
             s->how, strcmp(s->how, "file") == 0 ? " " : "",
             strcmp(s->how, "file") == 0 ? s->value : "");
    const struct pm_place p = { .path = from, .why = why, .why_len = why_len };
    if (strcmp(s->how, "file") == 0)
        return secret_from_file(s->value, out, &p);
    if (strcmp(s->how, "command") == 0)
        return secret_from_command(s->value, cancel, out, &p);
    const char *value = strcmp(s->how, "env") == 0 ? getenv(s->value) : s->value;
    if (!value)
        return pm_place_fail(&p, -EINVAL, "the variable %s is not set", s->value);
    return take_first_line(value, strlen(value), out, &p);
}

int pm_conf_secret_now(const struct pm_conf *conf, const struct pm_account_conf *account,
                       const char *key, char **out, char *why, size_t why_len)
{
    const struct pm_account_conf *a = account;
    struct pm_conf *now = NULL;
    int err = conf->path ? pm_conf_load(conf->path, &now, why, why_len) : -ENOENT;
    if (err && err != -ENOENT)
        return err;
    for (size_t i = 0; now && i < now->naccounts; i++) {
        const struct pm_account_conf *b = &now->accounts[i];
        if (strcmp(b->name, a->name) == 0 && strcmp(b->type, a->type) == 0 &&
            strcmp(b->endpoint, a->endpoint) == 0)
            a = b;
    }
    if (why_len)
        *why = '\0';
    err = pm_conf_secret(a, key, NULL, out, why, why_len);
    pm_conf_free(now);
    return err;
}
