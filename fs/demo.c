#include "fs/verbs.h"

#include "backends/conf.h"
#include "backends/util.h"
#include "fs/control.h"
#include "fs/find.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* `polymount demo`: the bundled emulator, a configuration that leads to it, and a mount.
 *
 * Three processes: this one ends when the mount is usable; the daemon ends with the mount; the
 * emulator has to end with the daemon, so a child of this one, the supervisor, waits for that. It
 * learns the daemon by a pipe: should this process die before, the pipe's end tells it, and the
 * emulator ends too. Processes are held by pidfd, since their numbers may be used again. */

extern char **environ;

enum { EMULATOR_START_MS = 15000 };

struct demo {
    char *dir; /* the state folder, everything of the demo is below */
    char *conf; /* the configuration written there */
    char *mount;
    char *line; /* what the emulator says of itself */
    pid_t emulator; /* 0: none */
    int   supervisor; /* tells it the daemon's process number; -1: none */
};

static int complain(const char *what, const char *which, int err)
{
    fprintf(stderr, "polymount demo: %s%s%s\n", what, which, err ? strerror(-err) : "");
    return 1;
}

/* --- places ------------------------------------------------------------------------------- */

static char *below_home(const char *tail)
{
    const char *home = getenv("HOME");
    return home && *home == '/' ? pm_asprintf("%s/%s", home, tail) : NULL;
}

static int set_places(struct demo *d, const struct pm_call *call)
{
    const char *state = getenv("XDG_STATE_HOME");
    d->dir = state && *state == '/' ? pm_asprintf("%s/polymount-demo", state)
                                    : below_home(".local/state/polymount-demo");
    d->mount = call->npaths ? pm_path_absolute(call->paths[0]) : below_home("polymount-demo");
    if (!d->dir || !d->mount)
        return complain("no home directory: set HOME", "", 0);
    d->conf = pm_asprintf("%s/polymount.conf", d->dir);
    return d->conf ? 0 : complain("out of memory", "", 0);
}

/* mkdir -p. */
static int make_dirs(const char *path, mode_t mode)
{
    PM_AUTO(free) char *part = strdup(path);
    if (!part)
        return -ENOMEM;
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, mode) && errno != EEXIST)
            return -errno;
        *slash = '/';
    }
    return mkdir(part, mode) && errno != EEXIST ? -errno : 0;
}

/* Beside this program as built, or where `make install` puts it. Owned; NULL: not there. */
static char *find_emulator(void)
{
    static const char *const places[] = { "polymount-emulator",
                                          "../libexec/polymount/polymount-emulator" };
    char    self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n <= 0)
        return NULL;
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    for (size_t i = 0; i < PM_COUNT(places); i++) {
        char *path = pm_asprintf("%s/%s", self, places[i]);
        if (path && access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}

/* --- the emulator ------------------------------------------------------------------------- */

static bool is_free(unsigned port)
{
    PM_AUTO(close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    const int yes = 1;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    return bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
}

/* The port of the last time, while it is free: what was still queued then belongs to that
 * endpoint. Else 0: any. */
static unsigned choose_port(const struct demo *d)
{
    struct pm_conf *last = NULL;
    char     why[256];
    unsigned port = 0;
    if (pm_conf_load(d->conf, &last, why, sizeof(why)))
        return 0;
    const char *colon = last->naccounts ? strrchr(last->accounts[0].endpoint, ':') : NULL;
    if (!colon || sscanf(colon, ":%5u", &port) != 1 || port > 65535 || !is_free(port))
        port = 0;
    pm_conf_free(last);
    return port;
}

/* In a session of its own: Ctrl-C in this terminal is not meant for it. */
static int spawn_emulator(struct demo *d, const char *program, int out)
{
    PM_AUTO(free) char *data = pm_asprintf("%s/emulator", d->dir);
    PM_AUTO(free) char *log = pm_asprintf("%s/emulator.log", d->dir);
    if (!data || !log)
        return -ENOMEM;
    char port[16];
    snprintf(port, sizeof(port), "%u", choose_port(d));
    char *argv[] = { (char *)program, "--seed-samples", "--api", port, "--storage",
                     "0",             "--data",         data,    NULL };
    posix_spawn_file_actions_t act;
    posix_spawnattr_t          attr;
    posix_spawn_file_actions_init(&act);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID);
    posix_spawn_file_actions_addopen(&act, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&act, out, 1);
    posix_spawn_file_actions_addopen(&act, 2, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int err = -posix_spawn(&d->emulator, program, &act, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&act);
    if (err)
        d->emulator = 0;
    return err;
}

/* Reads up to a newline. 0 or -errno. */
static int read_line(int fd, char *line, size_t size)
{
    int64_t end = pm_now_ms() + EMULATOR_START_MS;
    size_t  len = 0;
    while (len < size - 1) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        int64_t left = end - pm_now_ms();
        if (left <= 0 || poll(&p, 1, (int)left) == 0)
            return -ETIMEDOUT;
        ssize_t n = read(fd, line + len, 1);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return -EPIPE;
        if (n > 0 && line[len++] == '\n')
            break;
    }
    line[len] = '\0';
    return 0;
}

static int start_emulator(struct demo *d)
{
    PM_AUTO(free) char *program = find_emulator();
    if (!program)
        return complain("polymount-emulator is missing beside this program (make all)", "", 0);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return complain("no pipe: ", "", -errno);
    char line[4096];
    int  err = spawn_emulator(d, program, ends[1]);
    close(ends[1]);
    if (!err)
        err = read_line(ends[0], line, sizeof(line));
    close(ends[0]);
    if (err) {
        fprintf(stderr, "polymount demo: the emulator does not start (%s), see %s/emulator.log\n",
                strerror(-err), d->dir);
        return 1;
    }
    d->line = strdup(line);
    return d->line ? 0 : complain("out of memory", "", 0);
}

/* --- the supervisor ----------------------------------------------------------------------- */

/* In the child: waits for the daemon's end, then ends the emulator. */
static void supervise(int from, int emulator)
{
    int32_t pid = 0;
    ssize_t n;
    do
        n = read(from, &pid, sizeof(pid));
    while (n < 0 && errno == EINTR);
    int daemon = n == sizeof(pid) ? (int)syscall(SYS_pidfd_open, (pid_t)pid, 0) : -1;
    struct pollfd p[2] = { { daemon, POLLIN, 0 }, { emulator, POLLIN, 0 } };
    if (daemon >= 0)
        while (poll(p, 2, -1) < 0 && errno == EINTR)
            ;
    syscall(SYS_pidfd_send_signal, emulator, SIGTERM, NULL, 0);
}

static void leave_terminal(void)
{
    setsid();
    if (chdir("/"))
        return; /* then it keeps a folder busy, and the terminal */
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; i < 3 && null >= 0; i++)
        dup2(null, i);
}

static int start_supervisor(struct demo *d)
{
    int ends[2];
    int emulator = (int)syscall(SYS_pidfd_open, d->emulator, 0);
    if (emulator < 0 || pipe2(ends, O_CLOEXEC))
        return complain("no supervisor: ", "", -errno);
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[1]);
        leave_terminal();
        supervise(ends[0], emulator);
        _exit(0);
    }
    close(ends[0]);
    close(emulator);
    d->supervisor = ends[1];
    return pid < 0 ? complain("no supervisor: ", "", -errno) : 0;
}

/* --- the mount ---------------------------------------------------------------------------- */

static int write_private(const char *path, const char *text)
{
    PM_AUTO(free) char *tmp = pm_asprintf("%s.new", path);
    if (!tmp)
        return -ENOMEM;
    unlink(tmp);
    PM_AUTO(close) int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    ssize_t n = pm_pwrite_all(fd, text, strlen(text), 0);
    if (n < 0)
        return (int)n;
    return rename(tmp, path) ? -errno : 0;
}

/* An account of the service that the emulator calls `name`. Owned; NULL: it does not say. */
static char *account_text(const struct demo *d, const char *type, const char *name,
                          const char *token_name)
{
    PM_AUTO(free) char *url = pm_peek_string(d->line, name);
    PM_AUTO(free) char *token = pm_peek_string(d->line, token_name);
    if (!url || !token)
        return NULL;
    return pm_asprintf("[account %s]\ntype = %s\nendpoint = %s\ntoken = %s\n", type, type, url,
                       token);
}

static int write_conf(const struct demo *d)
{
    /* SmartShape first: choose_port() looks there. */
    PM_AUTO(free) char *smartshape = account_text(d, "smartshape", "smartshape", "token");
    PM_AUTO(free) char *three_sixty = account_text(d, "360", "three_sixty", "three_sixty_token");
    PM_AUTO(free) char *sharemy3d = account_text(d, "sharemy3d", "sharemy3d", "sharemy3d_token");
    if (!smartshape || !three_sixty || !sharemy3d)
        return complain("the emulator does not say where it listens", "", 0);
    PM_AUTO(free) char *text = pm_asprintf("# Written by `polymount demo` at every start.\n"
                                           "[cache]\n"
                                           "dir = %s\n"
                                           "max_size = 2G\n"
                                           "min_free = 256M\n"
                                           "%s%s%s",
                                           d->dir, smartshape, three_sixty, sharemy3d);
    int err = text ? write_private(d->conf, text) : -ENOMEM;
    return err ? complain(d->conf, ": ", err) : 0;
}

/* By a program of its own, so that the daemon inherits nothing of this one. */
static int run_mount(const struct demo *d)
{
    char *argv[] = { "polymount", "-c", d->conf, d->mount, NULL };
    pid_t pid;
    int   status = 0;
    int   err = -posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ);
    if (err)
        return complain("cannot start the daemon: ", "", err);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status ? 1 : 0; /* it has said why */
}

static int hand_over(struct demo *d)
{
    PM_AUTO(pm_found) struct pm_found f = { 0 };
    int64_t pid = 0;
    if (pm_find_mount(d->mount, &f) || pm_peek_number(f.status, "pid", &pid))
        return complain(d->mount, " does not tell its daemon, so the emulator ends", 0);
    int32_t word = (int32_t)pid;
    if (write(d->supervisor, &word, sizeof(word)) != sizeof(word))
        return complain("no supervisor: ", "", -errno);
    d->emulator = 0; /* its end is the supervisor's task now */
    return 0;
}

static void tell(const struct demo *d)
{
    PM_AUTO(free) char *control = pm_peek_string(d->line, "control");
    const char         *at = d->mount;
    printf("A simulated SmartShape with sample models, a simulated 360-for-you and a simulated ShareMy3D are"
           " mounted at %s\n"
           "Try:\n"
           "  ls -l %s/smartshape/Samples\n"
           "  cp yourmodel.stl %s/smartshape/\n"
           "  polymount sync %s       # wait until the service has it\n"
           "  cp -r yourscans %s/360/     # a folder there becomes a project:\n"
           "  polymount publish %s/360/yourscans\n"
           "  cp yourmodel.ply %s/sharemy3d/uploads/\n"
           "  polymount status %s\n"
           "End it with:\n"
           "  polymount umount %s\n"
           "(configuration: %s; the simulated services' own view: %s)\n",
           at, at, at, at, at, at, at, at, at, d->conf, control ? control : "-");
}

/* Another demo would start a second service over the same data. */
static int check_unused(const struct demo *d)
{
    char *argv[] = { "status" };
    FILE *null = fopen("/dev/null", "we");
    if (!null)
        return complain("/dev/null: ", "", -errno);
    int status = pm_control_call(d->dir, 1, argv, null, null);
    fclose(null);
    if (status == -ENOENT || status == -ECONNREFUSED)
        return 0;
    return complain("it runs already (end it with: polymount umount MOUNTPOINT), see ", d->conf, 0);
}

static int run(struct demo *d)
{
    int err = make_dirs(d->dir, 0700);
    if (err)
        return complain(d->dir, ": ", err);
    if (check_unused(d))
        return 1;
    err = make_dirs(d->mount, 0755);
    if (err)
        return complain(d->mount, ": ", err);
    if (start_emulator(d) || start_supervisor(d) || write_conf(d) || run_mount(d) || hand_over(d))
        return 1;
    tell(d);
    return 0;
}

int pm_verb_demo(const struct pm_call *call)
{
    struct demo d = { .supervisor = -1 };
    int status = set_places(&d, call);
    if (status == 0)
        status = run(&d);
    if (d.emulator > 0)
        kill(d.emulator, SIGTERM); /* ours and not reaped: the number is still its own */
    if (d.supervisor >= 0)
        close(d.supervisor);
    free(d.dir);
    free(d.conf);
    free(d.mount);
    free(d.line);
    return status;
}
