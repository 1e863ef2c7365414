#include "cache/reserve.h"

#include "backends/util.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define SIZE ((off_t)8 * 1024 * 1024)
#define STEP ((off_t)256 * 1024)
#define OPEN ((uint64_t)1024 * 1024) /* logs and shared memory of both databases, and their first steps */

int pm_reserve_open(const char *dir)
{
    PM_AUTO(free) char *path = pm_asprintf("%s/reserve", dir);

    return path ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
}

void pm_reserve_fill(int fd)
{
    struct statvfs v;
    struct stat    st;

    if (fd < 0 || fstat(fd, &st) || st.st_size >= SIZE || fstatvfs(fd, &v) ||
        (uint64_t)v.f_bavail * v.f_frsize < 8 * (uint64_t)SIZE)
        return;
    if (fallocate(fd, 0, 0, SIZE))
        pm_log(PM_DEBUG, "no room can be kept in reserve: %s", strerror(errno));
}

void pm_reserve_give(int fd)
{
    struct stat st;

    if (fd >= 0 && !fstat(fd, &st) && st.st_size > 0 &&
        ftruncate(fd, st.st_size > STEP ? st.st_size - STEP : 0))
        pm_log(PM_WARN, "the room kept in reserve: %s", strerror(errno));
}

bool pm_reserve_give_for_opening(const char *dir)
{
    PM_AUTO(free) char *path = pm_asprintf("%s/reserve", dir);
    PM_AUTO(close) int  fd = path ? open(path, O_WRONLY | O_CLOEXEC) : -1;
    struct statvfs      v;

    for (uint64_t given = 0; given < OPEN; given += (uint64_t)STEP) {
        if (statvfs(dir, &v) || (uint64_t)v.f_bavail * v.f_frsize >= OPEN)
            return true;
        pm_reserve_give(fd);
    }
    return !statvfs(dir, &v) && (uint64_t)v.f_bavail * v.f_frsize >= OPEN;
}
