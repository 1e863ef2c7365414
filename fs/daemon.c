#include "fs/daemon.h"

#include "backends/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { LOG_MAX = 1024 * 1024 };

/* The parent: "." means usable; any other text is the reason; nothing, that the child has died. */
static int wait_for_child(int fd)
{
    PM_AUTO(pm_buf) struct pm_buf said = { 0 };
    char                          chunk[256];
    ssize_t                       n;

    while ((n = read(fd, chunk, sizeof(chunk))) != 0) {
        if (n > 0)
            pm_buf_add(&said, chunk, (size_t)n);
        else if (errno != EINTR)
            break;
    }
    if (said.ptr && strcmp(said.ptr, ".") == 0)
        return 0;
    fputs(said.len > 0 && !said.failed ? said.ptr : "polymount: the daemon died at the start\n",
          stderr);
    return 1;
}

bool pm_daemon_fork(int *out, int *status)
{
    int   ends[2];
    pid_t pid;

    *status = 1;
    fflush(NULL);
    if (pipe2(ends, O_CLOEXEC) || (pid = fork()) < 0) {
        fprintf(stderr, "polymount: cannot start the daemon: %s\n", strerror(errno));
        return false;
    }
    if (pid == 0) {
        close(ends[0]);
        setsid();
        *out = ends[1];
        return chdir("/") == 0;
    }
    close(ends[1]);
    *status = wait_for_child(ends[0]);
    close(ends[0]);
    return false;
}

static void tell(int fd, const char *text)
{
    if (write(fd, text, strlen(text)) < 0)
        pm_log(PM_DEBUG, "nobody waits for the start any more");
}

static int open_log(const char *dir)
{
    PM_AUTO(free) char *path = pm_asprintf("%s/log", dir);
    PM_AUTO(free) char *old = pm_asprintf("%s/log.old", dir);
    struct stat         st;

    if (!path || !old)
        return -1;
    if (stat(path, &st) == 0 && st.st_size > LOG_MAX)
        (void)rename(path, old);
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

void pm_daemon_ready(int fd, const char *dir)
{
    if (fd < 0)
        return;
    PM_AUTO(close) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    PM_AUTO(close) int log = getenv("JOURNAL_STREAM") ? -1 : open_log(dir);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
    }
    if (log >= 0)
        dup2(log, STDERR_FILENO);
    else if (null >= 0 && !getenv("JOURNAL_STREAM"))
        dup2(null, STDERR_FILENO);
    tell(fd, ".");
    close(fd);
}

void pm_daemon_fail(int fd, const char *fmt, ...)
{
    PM_AUTO(free) char *reason = NULL;
    PM_AUTO(free) char *line = NULL;
    va_list             ap;

    va_start(ap, fmt);
    if (vasprintf(&reason, fmt, ap) < 0)
        reason = NULL;
    va_end(ap);
    line = pm_asprintf("polymount: %s\n", reason ? reason : "no memory");
    tell(fd < 0 ? STDERR_FILENO : fd, line ? line : "polymount: no memory\n");
    if (fd >= 0)
        close(fd);
}
