#include "fs/apart.h"

#include "backends/util.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct answer {
    int   err;
    dev_t dev;
};

typedef int deed_fn(const char *mountpoint, struct answer *out);

/* Between fork and the end only what a signal handler may do: other threads held locks. */
static _Noreturn void be_apart(deed_fn *deed, const char *mountpoint, int to)
{
    enum { TO = 3 };
    struct answer answer = {0};

    if (to != TO && dup2(to, TO) < 0)
        _exit(1);
    close_range(TO + 1, UINT_MAX, 0);
    answer.err = deed(mountpoint, &answer) ? -errno : 0;
    _exit(write(TO, &answer, sizeof(answer)) == sizeof(answer) ? 0 : 1);
}

static int apart(deed_fn *deed, const char *mountpoint, struct answer *out)
{
    int     ends[2];
    ssize_t n;
    pid_t   pid;

    if (pipe2(ends, O_CLOEXEC))
        return -errno;
    pid = fork();
    if (pid == 0)
        be_apart(deed, mountpoint, ends[1]);
    out->err = pid < 0 ? -errno : 0;
    close(ends[1]);
    if (pid > 0) {
        while ((n = read(ends[0], out, sizeof(*out))) < 0 && errno == EINTR)
            ;
        if (n != sizeof(*out))
            out->err = -EIO; /* it was killed */
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    close(ends[0]);
    return out->err;
}

static int look(const char *mountpoint, struct answer *out)
{
    struct stat st;
    int         bad = stat(mountpoint, &st);

    if (!bad)
        out->dev = st.st_dev;
    return bad;
}

static int sync_all(const char *mountpoint, struct answer *out)
{
    int fd = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    (void)out;
    return fd < 0 ? -1 : syncfs(fd);
}

static int take_away(const char *mountpoint, struct answer *out)
{
    (void)out;
    return umount2(mountpoint, UMOUNT_NOFOLLOW);
}

int pm_apart_stat(const char *mountpoint, dev_t *dev)
{
    struct answer answer = {0};
    int           err = apart(look, mountpoint, &answer);

    if (!err)
        *dev = answer.dev;
    return err;
}

int pm_apart_syncfs(const char *mountpoint)
{
    struct answer answer = {0};

    return apart(sync_all, mountpoint, &answer);
}

int pm_apart_umount(const char *mountpoint)
{
    struct answer answer = {0};

    return apart(take_away, mountpoint, &answer);
}
