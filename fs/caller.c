#include "fs/caller.h"

#include "backends/util.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define BIT(sig) (UINT64_C(1) << ((sig)-1))

static const uint64_t ENDS =
    BIT(SIGKILL) | BIT(SIGINT) | BIT(SIGTERM) | BIT(SIGHUP) | BIT(SIGQUIT);

/* Signals whose default action does not end the program. */
static const uint64_t HARMLESS = BIT(SIGCHLD) | BIT(SIGCONT) | BIT(SIGURG) | BIT(SIGWINCH) |
                                 BIT(SIGSTOP) | BIT(SIGTSTP) | BIT(SIGTTIN) | BIT(SIGTTOU);

/* The mask behind "\nNAME:\t"; 0 if there is none. */
static uint64_t mask_of(const char *status, const char *name)
{
    char        key[16];
    const char *at;

    snprintf(key, sizeof(key), "\n%s:", name);
    at = strstr(status, key);
    return at ? strtoull(at + strlen(key), NULL, 16) : 0;
}

bool pm_caller_dying_text(const char *status)
{
    uint64_t pending = mask_of(status, "SigPnd") | mask_of(status, "ShdPnd");
    uint64_t caught = mask_of(status, "SigCgt");

    pending &= ~(mask_of(status, "SigBlk") | mask_of(status, "SigIgn"));
    return (pending & (ENDS | (~caught & ~HARMLESS))) != 0;
}

bool pm_caller_dying(pid_t tid)
{
    char    path[48], text[8192];
    ssize_t n;

    if (tid <= 0)
        return true;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
    PM_AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT;
    n = read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return n < 0 && errno == ESRCH;
    text[n] = '\0';
    return pm_caller_dying_text(text);
}
