/* daemon.h: going into the background: the first process waits until the drive is usable, or hears
 * in one line why it is not. */
#ifndef PM_FS_DAEMON_H
#define PM_FS_DAEMON_H

#include <stdbool.h>

/* Forks. In the child: true, with *out the end of the pipe for pm_daemon_ready or _fail. In the
 * parent: waits for one of them, writes the line to standard error, and returns false with
 * *status, the exit status. Called before there is any thread. */
bool pm_daemon_fork(int *out, int *status);
/* The drive is usable: lets the parent go, cuts what ties this process to its terminal, and sends
 * the log to DIR/log (an earlier one of over 1 MiB becomes DIR/log.old). Under systemd the log
 * stays where it is. `fd` is consumed; -1: in the foreground, nothing is done. */
void pm_daemon_ready(int fd, const char *dir);
/* It will not be. Writes "polymount: ", the text and a newline, through the parent if there is one
 * (fd is consumed). */
void pm_daemon_fail(int fd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
