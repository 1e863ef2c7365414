/* initreply.h: completes the INIT reply that older libfuse leaves short.
 *
 * libfuse before 3.17.4 knows PARALLEL_DIROPS and never sends it: the kernel then runs all lookups
 * in a folder one after another, each waiting for the network (fuse.md: 16 stats 879 ms against
 * 129 ms). 3.14 does not know HANDLE_KILLPRIV_V2: every write(2) then costs a getxattr of
 * security.capability. Both are bits of one reply, at the start; nothing else is changed. */
#ifndef PM_FS_INITREPLY_H
#define PM_FS_INITREPLY_H

#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

/* Lives as long as the session. Zero-initialise. One thread answers INIT; until it has, the kernel
 * sends nothing else. */
struct pm_initreply {
    uint64_t         unique;  /* of the INIT request; 0: not seen */
    uint64_t         offered; /* the kernel's flags */
    _Atomic uint64_t sent;    /* the flags of the reply as they went out; 0: not yet */
};

/* The bits wanted beyond libfuse's: FUSE_PARALLEL_DIROPS, FUSE_HANDLE_KILLPRIV_V2. */
uint64_t pm_initreply_wanted(void);
/* Whether this libfuse needs help, by its version such as "3.14.0". */
bool pm_initreply_needed(const char *version);

/* Looks at a request just read; notes INIT's offer. */
void pm_initreply_seen(struct pm_initreply *r, const void *request, size_t len);
/* If this is the successful reply to INIT: copies it to `copy` (of at least
 * PM_INITREPLY_MAX bytes) with the wanted bits that were offered, and returns its length. Else 0:
 * send what is there. */
enum { PM_INITREPLY_MAX = 256 };
size_t pm_initreply_complete(struct pm_initreply *r, const struct iovec *iov, int count,
                             unsigned char *copy);

/* What the userdata of the session must begin with. */
struct pm_initreply_user {
    struct pm_initreply initreply;
};
/* Puts the above between libfuse and the mounted device of `se`, where it is needed. 0 or -errno:
 * the mount works without, only slower. */
int pm_initreply_install(struct fuse_session *se);

#endif
