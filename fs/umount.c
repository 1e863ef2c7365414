#include "fs/verbs.h"

#include "backends/conf.h"
#include "backends/util.h"
#include "fs/control.h"
#include "fs/find.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* `polymount umount`: the daemon ends by itself when the kernel lets the mount go. */

extern char **environ;

enum {
    GONE_MS = 20000, /* it has its index to write and its transfers to hang up */
    BUSY_MS = 1000, /* who only looks at all mounts, or just closes, is soon gone */
};

/* As in the table of mounts: links resolved above the mount point, which itself is not touched
 * since it may be dead. Owned. */
static char *mount_path(const char *path)
{
    PM_AUTO(free) char *absolute = pm_path_absolute(path);
    if (!absolute || pm_path_is_mount(absolute))
        return absolute ? strdup(absolute) : NULL;
    char *slash = strrchr(absolute, '/');
    size_t len = slash == absolute ? 1 : (size_t)(slash - absolute);
    PM_AUTO(free) char *above = strndup(absolute, len);
    PM_AUTO(free) char *real = above ? realpath(above, NULL) : NULL;
    char *joined = real ? pm_asprintf("%s%s", strcmp(real, "/") == 0 ? "" : real, slash) : NULL;
    if (joined && pm_path_is_mount(joined))
        return joined;
    free(joined);
    return realpath(path, NULL);
}

/* What the daemon says of what is queued, in words; owned, NULL if it does not say. To be told when
 * the unmounting has succeeded, but by then nobody can be asked. */
static char *ask_queued(const struct pm_found *f)
{
    char  *argv[] = { "umount-info" };
    char  *text = NULL;
    size_t len;
    FILE  *out = open_memstream(&text, &len);
    FILE  *null = fopen("/dev/null", "we");
    int    status = out && null ? pm_control_call(f->state_dir, 1, argv, out, null) : -ENOMEM;
    if (out)
        fclose(out);
    if (null)
        fclose(null);
    if (status == 0)
        return text;
    free(text);
    return NULL;
}

/* --- unmounting --------------------------------------------------------------------------- */

/* Runs fusermount3, which may unmount what its user has mounted; why gets its complaint. */
static int run_fusermount(const char *mount, char *why, size_t why_len)
{
    char *argv[] = { "fusermount3", "-u", "--", (char *)mount, NULL };
    posix_spawn_file_actions_t act;
    int   ends[2];
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC))
        return -errno;
    posix_spawn_file_actions_init(&act);
    posix_spawn_file_actions_adddup2(&act, ends[1], 2);
    int err = -posix_spawnp(&pid, argv[0], &act, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&act);
    close(ends[1]);
    ssize_t n = err ? 0 : read(ends[0], why, why_len - 1);
    why[n > 0 ? n : 0] = '\0';
    why[strcspn(why, "\n")] = '\0';
    close(ends[0]);
    int status = 0;
    while (!err && waitpid(pid, &status, 0) < 0)
        err = errno == EINTR ? 0 : -errno;
    if (err)
        return err;
    return status ? -EIO : 0;
}

/* -EBUSY: in use. */
static int try_unmount(const char *mount, char *why, size_t why_len)
{
    int err = -EPERM;
    *why = '\0';
    if (geteuid() == 0)
        err = umount2(mount, UMOUNT_NOFOLLOW) ? -errno : 0;
    if (err == -EPERM)
        err = run_fusermount(mount, why, why_len);
    return err && strstr(why, "busy") ? -EBUSY : err;
}

static int unmount(const char *mount)
{
    char    why[256];
    int64_t end = pm_now_ms() + BUSY_MS;
    int     err;
    while ((err = try_unmount(mount, why, sizeof(why))) == -EBUSY && pm_now_ms() < end)
        usleep(50000);
    if (!err)
        return 0;
    if (err == -EBUSY)
        fprintf(stderr, "polymount umount: %s is in use: close what uses it (fuser -vm %s)\n",
                mount, mount);
    else if (err == -ENOENT && geteuid() != 0)
        fprintf(stderr, "polymount umount: fusermount3 is missing: install the package fuse3\n");
    else
        fprintf(stderr, "polymount umount: %s: %s\n", mount, *why ? why : strerror(-err));
    return 1;
}

/* Waits for the end of the process behind `pidfd`, so that a mount that follows at once finds the
 * state folder free. (A number could be in use again; and stays as long as nobody reaps it.) */
static int wait_until_gone(int pidfd)
{
    struct pollfd p = { .fd = pidfd, .events = POLLIN };
    int64_t end = pm_now_ms() + GONE_MS;
    while (pidfd >= 0) {
        int64_t left = end - pm_now_ms();
        int     n = poll(&p, 1, left > 0 ? (int)left : 0);
        if (n > 0)
            return 0;
        if (n == 0) {
            fprintf(stderr, "polymount umount: unmounted, but the daemon has not ended yet\n");
            return 1;
        }
    }
    return 0;
}

static int open_daemon(const struct pm_found *f)
{
    int64_t pid = 0;
    if (pm_peek_number(f->status, "pid", &pid) || pid <= 0)
        return -1;
    return (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
}

static int send_all_first(const struct pm_found *f, const char *mount)
{
    char *argv[] = { "sync" };
    int   status = pm_control_call(f->state_dir, 1, argv, stdout, stderr);
    if (status == 0)
        return 0;
    if (status < 0)
        fprintf(stderr, "polymount umount: the daemon cannot be asked: %s\n", strerror(-status));
    fprintf(stderr, "polymount umount: not everything was sent, so %s stays mounted\n", mount);
    return 1;
}

/* A daemon that answers is asked first and waited for; a dead one only leaves its mount. */
static int umount_at(const char *mount, bool send_first)
{
    PM_AUTO(pm_found) struct pm_found f = { 0 };
    if (pm_find_mount(mount, &f))
        return unmount(mount);
    PM_AUTO(close) int daemon = open_daemon(&f);
    if (send_first && send_all_first(&f, mount))
        return 1;
    PM_AUTO(free) char *queued = ask_queued(&f);
    if (unmount(mount))
        return 1;
    if (queued)
        fputs(queued, stdout);
    return wait_until_gone(daemon);
}

int pm_verb_umount(const struct pm_call *call)
{
    PM_AUTO(free) char *mount = mount_path(call->paths[0]);
    if (!mount || !pm_path_is_mount(mount)) {
        fprintf(stderr, "polymount umount: %s: not mounted\n", call->paths[0]);
        return 1;
    }
    return umount_at(mount, call->values[0] != NULL);
}
