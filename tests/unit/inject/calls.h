/* calls.h: the nth call of one kind fails. The program's own calls are caught by the linker
 * (--wrap, see the Makefile), so those of libraries are not; SQLite's by a file layer and an
 * allocator of ours. Several threads may call; one arms. */
#ifndef PM_TESTS_UNIT_INJECT_CALLS_H
#define PM_TESTS_UNIT_INJECT_CALLS_H

#include <stdbool.h>

enum call {
    CALL_WRITE,   /* pwrite */
    CALL_READ,    /* pread */
    CALL_SYNC,    /* fsync, fdatasync, syncfs */
    CALL_OPEN,    /* open, openat, opendir */
    CALL_SIZE,    /* ftruncate, fallocate */
    CALL_NAME,    /* rename, unlink, mkdir and their like */
    CALL_STAT,    /* fstat, fstatat, lseek */
    CALL_LABEL,   /* fsetxattr */
    CALL_THREAD,  /* pthread_create */
    CALL_ALLOC,   /* malloc and its like */
    CALL_SQL,     /* SQLite's reads, writes, syncs, opens, … of files */
    CALL_SQL_ALLOC, /* its allocations */
    CALLS,
};

/* Before SQLite is used for the first time. */
void calls_init(void);
/* The nth call of the kind from now on fails with `err` (positive); `on`: all later ones, too.
 * n = 0: none, they are only counted. */
void calls_arm(enum call kind, unsigned n, int err, bool on);
/* No call fails any more. How many of the kind there were since. */
unsigned calls_disarm(void);
/* Calls of this thread are let through until it is taken back. */
void calls_spare(bool spare);

#endif
