#include "fs/inhibit.h"

#include "fs/find.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

enum {
    LOOK_MS = 1000,
    IDLE_MS = 5000, /* one file after the other is one lock */
    FAILED_MS = 60000, /* a child that ends earlier by itself has found no logind */
    END_MS = 2000,
};

extern char **environ;

static const char program[] = "systemd-inhibit";

struct pm_inhibit {
    struct pm_cache *cache; /* immutable */
    pthread_t        thread; /* immutable */
    pthread_mutex_t  lock; /* leaf */
    pthread_cond_t   stop; /* lock */
    bool             stopping; /* lock */
    pid_t            child; /* the thread's, as all below; 0: none */
    int              pipe; /* its standard input */
    int64_t          since_ms; /* when it was started */
};

/* --- the child ----------------------------------------------------------------------------- */

/* It must not get the pipe's other end, nor our signal mask; Ctrl-C is not for it. */
static int spawn(char *const *argv, int in, pid_t *out)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t          attr;
    sigset_t                   none, pipe_only;
    int                        err;

    sigemptyset(&none);
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                        POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &pipe_only);
    err = -posix_spawnp(out, argv[0], &files, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return err;
}

static int hold(struct pm_inhibit *i)
{
    char     why[80];
    int      ends[2];
    uint64_t files = 0, changes = 0;
    char    *argv[] = { (char *)program, (char *)"--what=shutdown", (char *)"--who=polymount", why,
                        (char *)"--mode=block", (char *)"cat", NULL };
    int      err;

    pm_info_sendable(i->cache, &files, &changes);
    snprintf(why, sizeof(why), "--why=%llu %s", (unsigned long long)(files ? files : changes),
             files ? "files are not uploaded yet" : "changes are not sent yet");
    if (pipe2(ends, O_CLOEXEC))
        return -errno;
    err = spawn(argv, ends[0], &i->child);
    close(ends[0]);
    if (err) {
        close(ends[1]);
        i->child = 0;
        return err;
    }
    i->pipe = ends[1];
    i->since_ms = pm_now_ms();
    return 0;
}

/* Has the child ended within the time? */
static bool reap(struct pm_inhibit *i, int64_t ms)
{
    int64_t until = pm_now_ms() + ms;

    for (;;) {
        pid_t pid = waitpid(i->child, NULL, WNOHANG);

        if (pid == i->child || (pid < 0 && errno != EINTR))
            return true;
        if (pm_now_ms() >= until)
            return false;
        usleep(10000);
    }
}

static void give_back(struct pm_inhibit *i)
{
    if (!i->child)
        return;
    close(i->pipe);
    if (!reap(i, END_MS)) {
        kill(-i->child, SIGTERM);
        if (!reap(i, END_MS)) {
            kill(-i->child, SIGKILL);
            waitpid(i->child, NULL, 0);
        }
    }
    i->child = 0;
}

/* False: it has ended by itself, and another would, too. */
static bool is_held(struct pm_inhibit *i)
{
    if (!i->child || !reap(i, 0))
        return true;
    close(i->pipe);
    i->child = 0;
    return pm_now_ms() - i->since_ms >= FAILED_MS;
}

/* --- the thread ---------------------------------------------------------------------------- */

static bool wait_or_stop(struct pm_inhibit *i)
{
    int64_t until = pm_now_ms() + LOOK_MS;

    PM_GUARD(&i->lock);
    while (!i->stopping && pm_cond_wait_until(&i->stop, &i->lock, until) == 0)
        ;
    return !i->stopping;
}

static void *watch(void *arg)
{
    struct pm_inhibit *i = arg;
    int64_t            busy_ms = 0;
    bool               busy;

    while (wait_or_stop(i)) {
        if (!is_held(i)) {
            pm_log(PM_DEBUG, "no shutdown lock: %s ended", program);
            return NULL;
        }
        busy = pm_info_sendable(i->cache, NULL, NULL);
        if (busy)
            busy_ms = pm_now_ms();
        else if (pm_now_ms() - busy_ms >= IDLE_MS)
            give_back(i);
        if (busy && !i->child && hold(i)) {
            pm_log(PM_DEBUG, "no shutdown lock: %s cannot be started", program);
            return NULL;
        }
    }
    give_back(i);
    return NULL;
}

int pm_inhibit_start(struct pm_cache *c, const struct pm_conf *conf, struct pm_inhibit **out)
{
    struct pm_inhibit *i;
    bool               writable = false;
    int                err;

    *out = NULL;
    for (size_t a = 0; a < conf->naccounts; a++)
        writable = writable || !conf->accounts[a].read_only;
    if (!writable || !pm_program_exists(program))
        return 0;
    i = calloc(1, sizeof(*i));
    if (!i)
        return -ENOMEM;
    i->cache = c;
    pthread_mutex_init(&i->lock, NULL);
    pm_cond_init(&i->stop);
    err = pm_thread_start(&i->thread, "pm-inhibit", watch, i);
    if (err)
        free(i);
    else
        *out = i;
    return err;
}

void pm_inhibit_stop(struct pm_inhibit *i)
{
    if (!i)
        return;
    pthread_mutex_lock(&i->lock);
    i->stopping = true;
    pthread_cond_signal(&i->stop);
    pthread_mutex_unlock(&i->lock);
    pthread_join(i->thread, NULL);
    pthread_cond_destroy(&i->stop);
    pthread_mutex_destroy(&i->lock);
    free(i);
}
