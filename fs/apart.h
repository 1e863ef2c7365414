/* apart.h: what the daemon asks of its own mount, asked by a process apart.
 *
 * A thread that waits for an answer which the daemon's own workers owe cannot be killed: a daemon that
 * is killed meanwhile would never end, and hold the mount and its state folder for ever. The process
 * apart has none of the daemon's descriptors: when the daemon is gone, the kernel ends its wait.
 *
 * All block until the process has ended, and return 0 or a negative errno. Any thread may call them. */
#ifndef PM_FS_APART_H
#define PM_FS_APART_H

#include <sys/types.h>

/* Looks at the mount point; *dev is its device. */
int pm_apart_stat(const char *mountpoint, dev_t *dev);
/* Has the kernel hand over what was written through mappings. */
int pm_apart_syncfs(const char *mountpoint);
/* Unmounts, as root. -EBUSY: it is in use. */
int pm_apart_umount(const char *mountpoint);

#endif
