/* inhibit.h: while something is queued, the machine asks before it shuts down.
 *
 * A lock of logind's, held by a child: `systemd-inhibit … cat`, whose standard input is a pipe from
 * here. When the pipe closes the child ends, also by kill -9 of this process. Where there is no
 * systemd-inhibit nothing is started; where it cannot get a lock, it is tried once. */
#ifndef PM_FS_INHIBIT_H
#define PM_FS_INHIBIT_H

#include "cache/cache.h"

struct pm_inhibit;

/* Starts the thread that holds the lock while there is something to send, and for 5 s after. *out is
 * owned; NULL where there is nothing to hold it with, or every account is read-only. 0 or -errno. */
int  pm_inhibit_start(struct pm_cache *c, const struct pm_conf *conf, struct pm_inhibit **out);
/* Gives it back; no child is left. NULL is fine. */
void pm_inhibit_stop(struct pm_inhibit *i);

#endif
