/* inject.c: preloaded into the daemon, it makes the nth call of one kind in the state folder fail.
 *
 *   PM_INJECT=KIND:N:ERRNO[:on]  KIND as below; on: all later ones, too. answer:N:0: the nth answer to the
 *                                kernel is never given (that to INIT is not counted: it is one piece)
 *   PM_INJECT_IN=DIR             the state folder
 *   PM_INJECT_ARM=FILE           nothing is counted before it exists
 *   PM_INJECT_TOLD=FILE          is made when a call fails */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_uint count;

/* The setting's parts. False: there is none. */
static bool setting(char kind[16], unsigned *n, int *err, bool *on)
{
    const char *text = getenv("PM_INJECT");
    char        more[4] = "";

    if (!text || sscanf(text, "%15[^:]:%u:%d:%3s", kind, n, err, more) < 3)
        return false;
    *on = *more;
    return true;
}

/* By system calls, none of which is caught here. */
static bool exists(const char *variable)
{
    const char *path = getenv(variable);

    return path && !syscall(SYS_faccessat, AT_FDCWD, path, F_OK);
}

static void tell(void)
{
    const char *path = getenv("PM_INJECT_TOLD");
    int         fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY, 0600) : -1;

    if (fd >= 0)
        syscall(SYS_close, fd);
}

static bool is_inside(const char *path)
{
    const char *dir = getenv("PM_INJECT_IN");

    return dir && !strncmp(path, dir, strlen(dir)) && path[strlen(dir)] == '/';
}

static bool fd_inside(int fd)
{
    char    link[40], path[4096];
    ssize_t len;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof(path) - 1);
    if (len < 0)
        return false;
    path[len] = 0;
    return is_inside(path);
}

static bool strikes(const char *call)
{
    char     kind[16];
    unsigned nth, n;
    int      err;
    bool     on;

    if (!setting(kind, &nth, &err, &on) || strcmp(kind, call) != 0 || !exists("PM_INJECT_ARM"))
        return false;
    n = atomic_fetch_add(&count, 1) + 1;
    if (on ? n < nth : n != nth)
        return false;
    tell();
    errno = err;
    return true;
}

#define CAUGHT(kind, type, name, params, args, inside)                                             \
    type name params;                                                                              \
    type name params                                                                               \
    {                                                                                              \
        static type(*real) params;                                                                 \
                                                                                                   \
        if ((inside) && strikes(kind))                                                             \
            return -1;                                                                             \
        if (!real)                                                                                 \
            *(void **)(&real) = dlsym(RTLD_NEXT, #name);                                           \
        return real args;                                                                          \
    }

CAUGHT("write", ssize_t, pwrite, (int fd, const void *p, size_t len, off_t off), (fd, p, len, off),
       fd_inside(fd))
CAUGHT("write", ssize_t, pwrite64, (int fd, const void *p, size_t len, off_t off), (fd, p, len, off),
       fd_inside(fd))
CAUGHT("sync", int, fsync, (int fd), (fd), fd_inside(fd))
CAUGHT("sync", int, fdatasync, (int fd), (fd), fd_inside(fd))
CAUGHT("sync", int, syncfs, (int fd), (fd), fd_inside(fd))
CAUGHT("size", int, ftruncate, (int fd, off_t size), (fd, size), fd_inside(fd))
CAUGHT("size", int, ftruncate64, (int fd, off_t size), (fd, size), fd_inside(fd))
CAUGHT("rename", int, rename, (const char *from, const char *to), (from, to), is_inside(from))
CAUGHT("unlink", int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags),
       *path != '/' && fd_inside(dir))
CAUGHT("unlink", int, unlink, (const char *path), (path), is_inside(path))

/* Those that may take a mode. */
#define CAUGHT_OPEN(name, params, args, inside)                                                    \
    int name params;                                                                               \
    int name params                                                                                \
    {                                                                                              \
        static int(*real) params;                                                                  \
        va_list ap;                                                                                \
        int     mode;                                                                              \
                                                                                                   \
        va_start(ap, flags);                                                                       \
        mode = (flags & O_CREAT) ? va_arg(ap, int) : 0;                                            \
        va_end(ap);                                                                                \
        if ((inside) && strikes("open"))                                                           \
            return -1;                                                                             \
        if (!real)                                                                                 \
            *(void **)(&real) = dlsym(RTLD_NEXT, #name);                                           \
        return real args;                                                                          \
    }

CAUGHT_OPEN(open, (const char *path, int flags, ...), (path, flags, mode), is_inside(path))
CAUGHT_OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), is_inside(path))
CAUGHT_OPEN(openat, (int dir, const char *path, int flags, ...), (dir, path, flags, mode),
            *path != '/' && fd_inside(dir))
CAUGHT_OPEN(openat64, (int dir, const char *path, int flags, ...), (dir, path, flags, mode),
            *path != '/' && fd_inside(dir))

static bool is_kernel(int fd)
{
    char    link[40], path[16];
    ssize_t len;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof(path));
    return len == 9 && !memcmp(path, "/dev/fuse", 9);
}

ssize_t writev(int fd, const struct iovec *parts, int n)
{
    static ssize_t (*real)(int, const struct iovec *, int);

    if (is_kernel(fd) && strikes("answer"))
        for (;;)
            pause();
    if (!real)
        *(void **)(&real) = dlsym(RTLD_NEXT, "writev");
    return real(fd, parts, n);
}
