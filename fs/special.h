/* special.h: the folder `.polymount` in the root of the mount: found by name, never listed. Its
 * files are made anew at each open, and served from that snapshot.
 *
 * Their inode numbers are the highest; no node of the cache gets there. */
#ifndef PM_FS_SPECIAL_H
#define PM_FS_SPECIAL_H

#include "fs/ops.h"

#define PM_SPECIAL_FIRST   (UINT64_MAX - 15)
#define PM_SPECIAL_DIR     (PM_SPECIAL_FIRST + 0)
#define PM_SPECIAL_STATUS  (PM_SPECIAL_FIRST + 1)
#define PM_SPECIAL_METRICS (PM_SPECIAL_FIRST + 2)

static inline bool pm_special_is(fuse_ino_t ino)
{
    return ino >= PM_SPECIAL_FIRST;
}

/* Whether (parent, name) is this file's business, as `.polymount` or below it. */
bool pm_special_claims(fuse_ino_t parent, const char *name);

/* Each replies. Sizes are those of the text as it is now. */
void pm_special_lookup(struct pm_mount *m, fuse_req_t req, fuse_ino_t parent, const char *name);
void pm_special_getattr(struct pm_mount *m, fuse_req_t req, fuse_ino_t ino);
void pm_special_open(struct pm_mount *m, fuse_req_t req, fuse_ino_t ino,
                     struct fuse_file_info *fi);
void pm_special_read(fuse_req_t req, const struct pm_handle *h, size_t size, off_t off);
void pm_special_readdir(fuse_req_t req, size_t size, off_t off, bool plus);

#endif
