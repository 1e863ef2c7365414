/* mount.h: serving a mount, from the first call to the last request. */
#ifndef PM_FS_MOUNT_H
#define PM_FS_MOUNT_H

#include "backends/conf.h"

#include <stdbool.h>

/* Mounts at `mountpoint` (a directory) and serves it. In the foreground it returns when the mount
 * has ended; else it forks, the child serves, and it returns in the parent once the mount is
 * usable, or has failed. Waits for no network and no token command either way.
 *
 * `conf` is complete and borrowed for the call. `fuse_argv` are options for libfuse as a program
 * gets them: fuse_argv[0] is the program's name, then pairs "-o", "OPTION[,OPTION…]"; borrowed.
 * Called once in the process, before it has any thread.
 *
 * Returns the process exit status: 0, or 1 after one line on standard error that says why. */
int pm_mount_run(struct pm_conf *conf, const char *mountpoint, bool foreground, int fuse_argc,
                 char **fuse_argv);

#endif
