/* control.h: how `polymount VERB` speaks to the daemon: the socket `control` in its state folder.
 *
 * The client sends the verb and its arguments, each ended by a NUL, then shuts its side for
 * writing. The server answers in lines: "o TEXT" for standard output, "e TEXT" for standard error,
 * last "x N", the exit status. A client that wants no more (Ctrl-C) just goes; a handler that
 * waits asks pm_reply_gone() now and then. Only the daemon's own user and root are heard. */
#ifndef PM_FS_CONTROL_H
#define PM_FS_CONTROL_H

#include <stdbool.h>
#include <stdio.h>

struct pm_control;
struct pm_reply;

/* Carries out one call and returns its exit status (0, 1 or 2). Runs in a thread of its own with a
 * small stack; may block, for hours too. argv[0] is the verb; argv is borrowed for the call. */
typedef int pm_control_fn(void *arg, int argc, char **argv, struct pm_reply *reply);

/* Listens at DIR/control (made anew: the caller holds the lock of the state folder, so what lies
 * there is stale). `handler` may be called from several threads at a time. 0 or -errno. */
int pm_control_open(const char *dir, pm_control_fn *handler, void *arg, struct pm_control **out);
/* Hangs up on all clients (their pm_reply_gone turns true), waits for the handlers to return and
 * removes the socket. Never called from a handler. NULL is fine. */
void pm_control_close(struct pm_control *control);

/* Sends text for the client's standard output or error; each line is sent at once, a newline is
 * added where the last one lacks it. For the handler's own thread. */
void pm_reply_out(struct pm_reply *reply, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void pm_reply_err(struct pm_reply *reply, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Whether nobody waits for the answer any more: the client has gone, or the daemon ends. */
bool pm_reply_gone(struct pm_reply *reply);

/* The client's side: asks the daemon whose state folder is `dir` and writes what it says to `out`
 * and `err` as it comes. Returns its exit status or -errno: -ENOENT and -ECONNREFUSED: there is no
 * daemon; -ECONNRESET: it ended before it answered; -E2BIG: more arguments than it takes. */
int pm_control_call(const char *dir, int argc, char *const *argv, FILE *out, FILE *err);

#endif
