/* caller.h: is the program that waits for an answer about to die?
 *
 * The kernel raises INTERRUPT for any signal, also one that the program handles and goes on after;
 * answering EINTR then breaks programs that count on SA_RESTART. So EINTR is for those only that
 * a signal will end. */
#ifndef PM_FS_CALLER_H
#define PM_FS_CALLER_H

#include <stdbool.h>
#include <sys/types.h>

/* `status`: the text of /proc/TID/status. True: a pending, unblocked, not ignored signal is KILL,
 * INT, TERM, HUP or QUIT (whoever handles those means to end), or one whose default action ends
 * the program and that it does not catch. A text without the lines says nothing: false. */
bool pm_caller_dying_text(const char *status);
/* Reads /proc/TID/status. True also if the thread is gone, or if `tid` is 0: a caller from another
 * pid namespace, of which nothing can be known. Any thread; takes some 20 µs. */
bool pm_caller_dying(pid_t tid);

#endif
