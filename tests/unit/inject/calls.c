#include "tests/unit/inject/calls.h"

#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One program, one scenario at a time. */
static atomic_int  armed = -1; /* enum call */
static atomic_uint count;
static unsigned    nth;
static int         with;
static bool        and_later;
static __thread bool spared;

void calls_arm(enum call kind, unsigned n, int err, bool on)
{
    nth = n;
    with = err;
    and_later = on;
    count = 0;
    armed = (int)kind;
}

unsigned calls_disarm(void)
{
    armed = -1;
    return count;
}

void calls_spare(bool spare)
{
    spared = spare;
}

static void tell_who_calls(void)
{
    void *frame[32];

    spared = true;
    backtrace_symbols_fd(frame, backtrace(frame, 32), STDERR_FILENO);
    spared = false;
}

/* Is this the one? Sets errno. */
static bool strikes(enum call kind)
{
    unsigned n;

    if (armed != (int)kind || spared)
        return false;
    n = atomic_fetch_add(&count, 1) + 1;
    if (!nth || (and_later ? n < nth : n != nth))
        return false;
    if (getenv("PM_UNIT_LOG"))
        tell_who_calls();
    errno = with;
    return true;
}

/* --- what the program calls. With 64-bit offsets some have another name. */

#define CAUGHT(kind, type, failed, name, params, args)                                             \
    type __real_##name params;                                                                     \
    type __wrap_##name params;                                                                     \
    type __wrap_##name params                                                                      \
    {                                                                                              \
        return strikes(kind) ? (failed) : __real_##name args;                                      \
    }

CAUGHT(CALL_WRITE, ssize_t, -1, pwrite64, (int fd, const void *p, size_t len, off_t off),
       (fd, p, len, off))
CAUGHT(CALL_READ, ssize_t, -1, pread64, (int fd, void *p, size_t len, off_t off), (fd, p, len, off))
CAUGHT(CALL_SYNC, int, -1, fsync, (int fd), (fd))
CAUGHT(CALL_SYNC, int, -1, fdatasync, (int fd), (fd))
CAUGHT(CALL_SYNC, int, -1, syncfs, (int fd), (fd))
CAUGHT(CALL_OPEN, int, -1, open64, (const char *path, int flags, mode_t mode), (path, flags, mode))
CAUGHT(CALL_OPEN, int, -1, openat64, (int dir, const char *path, int flags, mode_t mode),
       (dir, path, flags, mode))
CAUGHT(CALL_OPEN, DIR *, NULL, opendir, (const char *path), (path))
CAUGHT(CALL_SIZE, int, -1, ftruncate64, (int fd, off_t size), (fd, size))
CAUGHT(CALL_SIZE, int, -1, fallocate64, (int fd, int mode, off_t off, off_t len),
       (fd, mode, off, len))
CAUGHT(CALL_NAME, int, -1, rename, (const char *from, const char *to), (from, to))
CAUGHT(CALL_NAME, int, -1, unlink, (const char *path), (path))
CAUGHT(CALL_NAME, int, -1, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
CAUGHT(CALL_NAME, int, -1, mkdir, (const char *path, mode_t mode), (path, mode))
CAUGHT(CALL_NAME, int, -1, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode))
CAUGHT(CALL_NAME, int, -1, linkat, (int d, const char *p, int e, const char *q, int flags),
       (d, p, e, q, flags))
CAUGHT(CALL_STAT, int, -1, fstat64, (int fd, struct stat *st), (fd, st))
CAUGHT(CALL_STAT, int, -1, fstatat64, (int dir, const char *path, struct stat *st, int flags),
       (dir, path, st, flags))
CAUGHT(CALL_STAT, off_t, -1, lseek64, (int fd, off_t off, int whence), (fd, off, whence))
CAUGHT(CALL_LABEL, int, -1, fsetxattr,
       (int fd, const char *name, const void *value, size_t len, int flags),
       (fd, name, value, len, flags))
CAUGHT(CALL_THREAD, int, with, pthread_create,
       (pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *), void *arg),
       (out, attr, run, arg))
CAUGHT(CALL_ALLOC, void *, NULL, malloc, (size_t len), (len))
CAUGHT(CALL_ALLOC, void *, NULL, calloc, (size_t n, size_t len), (n, len))
CAUGHT(CALL_ALLOC, void *, NULL, realloc, (void *p, size_t len), (p, len))
CAUGHT(CALL_ALLOC, void *, NULL, reallocarray, (void *p, size_t n, size_t len), (p, n, len))
CAUGHT(CALL_ALLOC, char *, NULL, strdup, (const char *s), (s))
CAUGHT(CALL_ALLOC, char *, NULL, strndup, (const char *s, size_t n), (s, n))
CAUGHT(CALL_ALLOC, int, -1, vasprintf, (char **out, const char *fmt, va_list ap), (out, fmt, ap))
CAUGHT(CALL_ALLOC, FILE *, NULL, open_memstream, (char **out, size_t *len), (out, len))

/* --- SQLite's files: a layer over the system's own */

struct file {
    sqlite3_file  base;
    sqlite3_file *real;
};

static sqlite3_vfs       *real_vfs;
static sqlite3_vfs        vfs;
static sqlite3_io_methods methods;

static sqlite3_file *real(sqlite3_file *f)
{
    return ((struct file *)(void *)f)->real;
}

/* A full disk has room to read. */
#define NEVER  false
#define ALWAYS true
#define BROKEN (with != ENOSPC)

#define THROUGH(name, params, args, when, code)                                                    \
    static int file_##name params                                                                  \
    {                                                                                              \
        if ((when) && strikes(CALL_SQL))                                                           \
            return with == ENOSPC ? SQLITE_FULL : (code);                                          \
        return real(f)->pMethods->x##name args;                                                    \
    }

THROUGH(Read, (sqlite3_file * f, void *p, int len, sqlite3_int64 off), (real(f), p, len, off),
        BROKEN, SQLITE_IOERR_READ)
THROUGH(Write, (sqlite3_file * f, const void *p, int len, sqlite3_int64 off),
        (real(f), p, len, off), ALWAYS, SQLITE_IOERR_WRITE)
THROUGH(Truncate, (sqlite3_file * f, sqlite3_int64 size), (real(f), size), ALWAYS, SQLITE_IOERR_TRUNCATE)
THROUGH(Sync, (sqlite3_file * f, int flags), (real(f), flags), ALWAYS, SQLITE_IOERR_FSYNC)
THROUGH(FileSize, (sqlite3_file * f, sqlite3_int64 *out), (real(f), out),
        BROKEN, SQLITE_IOERR_FSTAT)
THROUGH(Lock, (sqlite3_file * f, int level), (real(f), level), NEVER, SQLITE_OK)
THROUGH(Unlock, (sqlite3_file * f, int level), (real(f), level), NEVER, SQLITE_OK)
THROUGH(CheckReservedLock, (sqlite3_file * f, int *out), (real(f), out), NEVER, SQLITE_OK)
THROUGH(FileControl, (sqlite3_file * f, int op, void *arg), (real(f), op, arg), NEVER, SQLITE_OK)
THROUGH(SectorSize, (sqlite3_file * f), (real(f)), NEVER, SQLITE_OK)
THROUGH(DeviceCharacteristics, (sqlite3_file * f), (real(f)), NEVER, SQLITE_OK)
THROUGH(ShmMap, (sqlite3_file * f, int page, int size, int extend, void volatile **out),
        (real(f), page, size, extend, out), ALWAYS, SQLITE_IOERR_SHMMAP)
THROUGH(ShmLock, (sqlite3_file * f, int off, int n, int flags), (real(f), off, n, flags), NEVER, SQLITE_OK)
THROUGH(ShmUnmap, (sqlite3_file * f, int gone), (real(f), gone), NEVER, SQLITE_OK)
THROUGH(Fetch, (sqlite3_file * f, sqlite3_int64 off, int len, void **out), (real(f), off, len, out),
        NEVER, SQLITE_OK)
THROUGH(Unfetch, (sqlite3_file * f, sqlite3_int64 off, void *p), (real(f), off, p), NEVER, SQLITE_OK)

static void file_ShmBarrier(sqlite3_file *f)
{
    real(f)->pMethods->xShmBarrier(real(f));
}

static int file_Close(sqlite3_file *f)
{
    return real(f)->pMethods->xClose(real(f));
}

static int vfs_Open(sqlite3_vfs *v, const char *path, sqlite3_file *f, int flags, int *out)
{
    struct file *x = (struct file *)(void *)f;
    int          rc;

    (void)v;
    x->base.pMethods = NULL;
    if (strikes(CALL_SQL))
        return SQLITE_CANTOPEN;
    x->real = (sqlite3_file *)(void *)(x + 1);
    rc = real_vfs->xOpen(real_vfs, path, x->real, flags, out);
    if (x->real->pMethods)
        x->base.pMethods = &methods;
    return rc;
}

static int vfs_Delete(sqlite3_vfs *v, const char *path, int sync)
{
    (void)v;
    return strikes(CALL_SQL) ? SQLITE_IOERR_DELETE : real_vfs->xDelete(real_vfs, path, sync);
}

static int vfs_Access(sqlite3_vfs *v, const char *path, int flags, int *out)
{
    (void)v;
    return strikes(CALL_SQL) ? SQLITE_IOERR_ACCESS : real_vfs->xAccess(real_vfs, path, flags, out);
}

/* --- its allocations */

static sqlite3_mem_methods real_mem;

static void *sql_malloc(int len)
{
    return strikes(CALL_SQL_ALLOC) ? NULL : real_mem.xMalloc(len);
}

static void *sql_realloc(void *p, int len)
{
    return strikes(CALL_SQL_ALLOC) ? NULL : real_mem.xRealloc(p, len);
}

void calls_init(void)
{
    sqlite3_mem_methods mem;

    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_mem);
    mem = real_mem;
    mem.xMalloc = sql_malloc;
    mem.xRealloc = sql_realloc;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &mem);
    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0); /* else most never get there */
    real_vfs = sqlite3_vfs_find(NULL);
    vfs = *real_vfs;
    vfs.zName = "inject";
    vfs.pNext = NULL;
    vfs.szOsFile += (int)sizeof(struct file);
    vfs.xOpen = vfs_Open;
    vfs.xDelete = vfs_Delete;
    vfs.xAccess = vfs_Access;
    methods = (sqlite3_io_methods){3, file_Close, file_Read, file_Write, file_Truncate, file_Sync,
                                   file_FileSize, file_Lock, file_Unlock, file_CheckReservedLock,
                                   file_FileControl, file_SectorSize, file_DeviceCharacteristics,
                                   file_ShmMap, file_ShmLock, file_ShmBarrier, file_ShmUnmap,
                                   file_Fetch, file_Unfetch};
    sqlite3_vfs_register(&vfs, 1);
}
