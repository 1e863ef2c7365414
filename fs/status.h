/* status.h: what the drive says of itself: status.json, the metrics, the text for people, and the
 * control verbs that the daemon answers. */
#ifndef PM_FS_STATUS_H
#define PM_FS_STATUS_H

#include "fs/control.h"
#include "fs/ops.h"

/* Adds status.json: an object and a newline. 0 or -errno. */
int pm_status_json(struct pm_mount *m, struct pm_buf *out);
/* Adds the metrics in Prometheus' text format. */
int pm_status_metrics(struct pm_mount *m, struct pm_buf *out);

/* The handler for pm_control_open; `arg` is the struct pm_mount. Answers 2
 * for verbs that it does not know and for wrong arguments. */
int pm_status_control(void *arg, int argc, char **argv, struct pm_reply *reply);

/* `polymount status` without a daemon: what the state folder's journal says. 0 or 1. */
int pm_offline_status(const struct pm_conf *conf, bool json, FILE *out);

#endif
