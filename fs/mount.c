/* A mount's life: check, build, mount, serve, and take all down in an order that leaves nobody
 * waiting.
 *
 * Threads: main runs libfuse's loop (which has its workers); `attend` says when the drive is
 * usable and then waits for signals. On one: requests that wait are answered, notifications end
 * (while the workers still answer: the kernel may hold one until an operation ends), the mount
 * goes, and the loop with it. If the mount is busy, the loop is stopped instead and the mount
 * detached: who still uses it gets ENOTCONN. An unmount from outside ends the loop by itself. */
#include "fs/mount.h"

#include "fs/apart.h"
#include "fs/control.h"
#include "fs/daemon.h"
#include "fs/find.h"
#include "fs/inhibit.h"
#include "fs/ops.h"
#include "fs/status.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

extern char **environ;

enum {
    WORKERS = 3,
    READ_AHEAD_KB = 512, /* more would make a look at a file's head move a MiB */
    TRIM_S = 60,
};

struct server {
    struct pm_mount      m; /* first: the session's userdata */
    struct fuse_session *se;
    struct pm_control   *control;
    struct pm_inhibit   *inhibit; /* NULL: none */
    pthread_t            loop; /* immutable */
    pthread_t            attendant;
    sigset_t             signals; /* immutable */
    int                  ready_fd; /* attend's, once it runs */
    atomic_bool          ended; /* the loop has returned */
    atomic_bool          failed; /* it never was usable */
    atomic_bool          forced; /* it ended while programs had files open */
};

/* --- before ---------------------------------------------------------------------------------- */

/* What is missing on this machine; NULL if nothing. */
static const char *check_fuse(void)
{
    PM_AUTO(close) int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

    if (fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO))
        return "/dev/fuse is missing: run 'modprobe fuse' as root (in a container: start it with "
               "--device /dev/fuse --cap-add SYS_ADMIN)";
    if (fd < 0)
        return "/dev/fuse may not be opened: this user needs read and write access to it";
    if (geteuid() != 0 && !pm_program_exists("fusermount3"))
        return "fusermount3 is missing: install the package fuse3";
    return NULL;
}

/* Why nothing can be mounted at `path`; NULL if it can. *real gets its absolute form (owned). */
static const char *check_mountpoint(const char *path, char **real)
{
    PM_AUTO(free) char *absolute = pm_path_absolute(path);
    PM_AUTO(close) int  fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* asks the daemon */

    *real = NULL;
    if (fd < 0)
        return errno == ENOTCONN ? "a drive died there: 'fusermount3 -uz' it, then mount again"
                                 : strerror(errno);
    if (absolute && pm_path_is_mount(absolute))
        return "a drive is mounted there already";
    if (access(path, geteuid() == 0 ? R_OK | X_OK : R_OK | W_OK | X_OK))
        return strerror(errno);
    *real = realpath(path, NULL);
    return *real ? NULL : strerror(errno);
}

/* --- building -------------------------------------------------------------------------------- */

/* libfuse says some things in pieces; only whole lines are worth a warning. Its debug lines come
 * only if asked for by -o debug. */
static void log_libfuse(enum fuse_log_level level, const char *fmt, va_list ap)
{
    char line[512];
    bool whole;

    vsnprintf(line, sizeof(line), fmt, ap);
    whole = strncmp(line, "fuse", 4) == 0 && strchr(line, '\n');
    line[strcspn(line, "\n")] = '\0';
    if (level == FUSE_LOG_DEBUG)
        pm_log(PM_INFO, "libfuse: %s", line);
    else
        pm_log(whole && level <= FUSE_LOG_ERR ? PM_WARN : PM_DEBUG, "libfuse: %s", line);
}

static void on_usr1(int sig)
{
    (void)sig; /* its use is to end a sem_wait */
}

/* SIGTERM, SIGINT and SIGHUP are blocked in all threads and fetched by `attend`. */
static void set_signals(struct server *s)
{
    struct sigaction wake = { .sa_handler = on_usr1 };
    struct sigaction ignore = { .sa_handler = SIG_IGN };

    sigemptyset(&s->signals);
    sigaddset(&s->signals, SIGTERM);
    sigaddset(&s->signals, SIGINT);
    sigaddset(&s->signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &s->signals, NULL);
    sigaction(SIGUSR1, &wake, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
}

static int build(struct server *s, const struct pm_conf *conf, char *why, size_t why_len)
{
    struct pm_mount       *m = &s->m;
    struct pm_cache_events events;
    int                    err;

    pm_handles_init(&m->handles);
    pm_iobufs_init(&m->bufs);
    m->conf = conf;
    m->timeout = (double)conf->attr_timeout_ms / 1000;
    m->umask = umask(0);
    umask(m->umask);
    m->uid = geteuid();
    m->gid = getegid();
    err = pm_inodes_new(&m->inodes);
    if (!err)
        err = pm_notify_new(m->inodes, &m->notify);
    if (!err)
        err = pm_pendings_new(conf->op_timeout_ms, &m->pendings);
    if (err)
        return err;
    pm_notify_events(m->notify, &events);
    err = pm_cache_open(conf, m->mountpoint, &events, &m->cache, why, why_len);
    return err ? err : pm_control_open(conf->cache_dir, pm_status_control, m, &s->control);
}

static int mount_session(struct server *s, int fuse_argc, char **fuse_argv)
{
    static char      *ours[] = { "-o", "fsname=polymount,subtype=polymount,default_permissions" };
    struct fuse_args  args = FUSE_ARGS_INIT(0, NULL);
    int               err = fuse_opt_add_arg(&args, fuse_argc > 0 ? fuse_argv[0] : "polymount");

    for (size_t i = 0; i < PM_COUNT(ours); i++)
        err |= fuse_opt_add_arg(&args, ours[i]);
    for (int i = 1; i < fuse_argc; i++)
        err |= fuse_opt_add_arg(&args, fuse_argv[i]);
    if (!err)
        s->se = fuse_session_new(&args, &pm_ops, sizeof(pm_ops), &s->m);
    fuse_opt_free_args(&args);
    if (!s->se)
        return -EINVAL;
    if (fuse_session_mount(s->se, s->m.mountpoint))
        return -EIO;
    err = pm_initreply_install(s->se);
    if (err)
        pm_log(PM_INFO, "libfuse takes no help: lookups in a folder run one by one");
    return 0;
}

/* --- signals --------------------------------------------------------------------------------- */

static void raise_read_ahead(dev_t dev)
{
    char path[64], text[16];

    snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major(dev), minor(dev));
    PM_AUTO(close) int fd = open(path, O_WRONLY | O_CLOEXEC);
    int len = snprintf(text, sizeof(text), "%d\n", READ_AHEAD_KB);
    if (fd < 0 || write(fd, text, (size_t)len) < 0)
        pm_log(PM_DEBUG, "%s: %s", path, strerror(errno)); /* not root; prefetch carries it */
}

/* The first to use the drive: when it has been answered, all others will be. */
static bool try_out(struct server *s)
{
    dev_t dev = 0;
    int   err = pm_apart_stat(s->m.mountpoint, &dev);

    if (err) {
        atomic_store(&s->failed, true);
        pm_daemon_fail(s->ready_fd, "%s: mounted, but not usable: %s", s->m.mountpoint,
                       strerror(-err));
        return false;
    }
    raise_read_ahead(dev);
    pm_daemon_ready(s->ready_fd, s->m.conf->cache_dir);
    pm_log(PM_INFO, "mounted at %s", s->m.mountpoint);
    return true;
}

static bool run_fusermount(const char *mountpoint)
{
    char *argv[] = { "fusermount3", "-u", "-q", "--", (char *)mountpoint, NULL };
    int   status = 1;
    pid_t pid;

    if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) != 0)
        return false;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status == 0;
}

/* Takes the mount away if nobody uses it: the loop then ends. Else stops the loop; what is written
 * through mappings is fetched from the kernel first. */
static void end_loop(struct server *s)
{
    pm_pendings_stop(s->m.pendings);
    pm_notify_stop(s->m.notify);
    s->forced = geteuid() == 0 ? pm_apart_umount(s->m.mountpoint) != 0
                               : !run_fusermount(s->m.mountpoint);
    if (pm_path_is_mount(s->m.mountpoint))
        pm_apart_syncfs(s->m.mountpoint);
    fuse_session_exit(s->se);
    while (!atomic_load(&s->ended)) { /* it may be just about to wait */
        pthread_kill(s->loop, SIGUSR1);
        usleep(10000);
    }
}

static void *attend(void *arg)
{
    struct server        *s = arg;
    const struct timespec trim = { .tv_sec = TRIM_S };
    int                   sig = try_out(s) ? 0 : SIGTERM;

    while (sig <= 0) {
        sig = sigtimedwait(&s->signals, NULL, &trim);
        if (sig < 0)
            malloc_trim(0); /* a folder of 100,000 entries leaves holes */
    }
    if (!atomic_load(&s->ended)) {
        pm_log(PM_INFO, "%s: unmounting %s", strsignal(sig), s->m.mountpoint);
        end_loop(s);
    }
    return NULL;
}

/* --- serving --------------------------------------------------------------------------------- */

static int loop(struct server *s)
{
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    int                      err = -ENOMEM;

    if (config) {
        fuse_loop_cfg_set_clone_fd(config, 0);
        fuse_loop_cfg_set_max_threads(config, WORKERS);
        fuse_loop_cfg_set_idle_threads(config, WORKERS);
        err = fuse_session_loop_mt(s->se, config);
        fuse_loop_cfg_destroy(config);
    }
    atomic_store(&s->ended, true);
    return err;
}

/* From the mounted session to the unmounted one. */
static int serve(struct server *s)
{
    int err = pm_notify_start(s->m.notify, s->se);

    s->loop = pthread_self();
    if (!err)
        err = pm_thread_start(&s->attendant, "pm-attend", attend, s);
    if (err) {
        pm_daemon_fail(s->ready_fd, "no thread can be started: %s", strerror(-err));
        fuse_session_unmount(s->se);
        return 1;
    }
    if (pm_inhibit_start(s->m.cache, s->m.conf, &s->inhibit))
        pm_log(PM_DEBUG, "no thread for the shutdown lock");
    err = loop(s);
    if (pm_path_is_mount(s->m.mountpoint)) /* the connection was cut */
        s->forced = true;
    pm_pendings_stop(s->m.pendings);
    pm_notify_stop(s->m.notify);
    fuse_session_unmount(s->se);
    pthread_kill(s->attendant, SIGTERM);
    pthread_join(s->attendant, NULL);
    if (err)
        pm_log(PM_WARN, "the connection with the kernel broke: %s", strerror(abs(err)));
    return err || atomic_load(&s->failed) ? 1 : 0;
}

static void take_down(struct server *s)
{
    struct pm_mount *m = &s->m;

    pm_inhibit_stop(s->inhibit);
    pm_handles_clear(&m->handles, s->forced);
    if (m->cache)
        pm_cache_stop(m->cache);
    pm_control_close(s->control);
    if (s->se)
        fuse_session_destroy(s->se);
    if (m->cache)
        pm_cache_free(m->cache);
    pm_pendings_free(m->pendings);
    pm_notify_free(m->notify);
    pm_inodes_free(m->inodes);
    pm_iobufs_clear(&m->bufs);
}

/* One process, one mount. Returns the exit status. */
static int run(struct server *s, const struct pm_conf *conf, int fuse_argc, char **fuse_argv)
{
    char why[512] = "";
    int  err, status = 1;

    mallopt(M_ARENA_MAX, 2);
    set_signals(s);
    fuse_set_log_func(log_libfuse);
    err = build(s, conf, why, sizeof(why));
    if (err) {
        if (*why)
            pm_daemon_fail(s->ready_fd, "%s", why);
        else
            pm_daemon_fail(s->ready_fd, "state folder %s: %s", conf->cache_dir, strerror(-err));
    } else {
        err = mount_session(s, fuse_argc, fuse_argv);
        if (err)
            pm_daemon_fail(s->ready_fd, "%s: cannot be mounted%s%s", s->m.mountpoint,
                           err == -EINVAL ? ", an option is not understood: " : "",
                           err == -EINVAL && fuse_argc > 1 ? fuse_argv[fuse_argc - 1] : "");
        else
            status = serve(s);
    }
    take_down(s);
    return status;
}

int pm_mount_run(struct pm_conf *conf, const char *mountpoint, bool foreground, int fuse_argc,
                 char **fuse_argv)
{
    struct server       s = { .ready_fd = -1 };
    PM_AUTO(free) char *real = NULL;
    const char         *why = check_fuse();
    int                 status = 1;

    if (why) {
        pm_daemon_fail(-1, "%s", why);
        return 1;
    }
    why = check_mountpoint(mountpoint, &real);
    if (why) {
        pm_daemon_fail(-1, "%s: %s", mountpoint, why);
        return 1;
    }
    if (!foreground && !pm_daemon_fork(&s.ready_fd, &status))
        return status;
    s.m.mountpoint = real;
    return run(&s, conf, fuse_argc, fuse_argv);
}
