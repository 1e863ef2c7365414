/* find.h: from a path to the daemon that serves it, by .polymount/status.json of its mount. */
#ifndef PM_FS_FIND_H
#define PM_FS_FIND_H

#include <stdbool.h>
#include <stdint.h>

/* What a mount says of itself. All strings are owned: pm_found_free. */
struct pm_found {
    char *path; /* the path that was asked for, absolute, below `mount` */
    char *mount; /* the mount point above it */
    char *status; /* the text of status.json */
    char *state_dir;
};

/* Walks up from `path` (relative to the working directory; need not exist; first as it is written,
 * then with its links resolved) to the mount that holds it. 0, or -ENOENT: in no mount of ours. */
int  pm_find_path(const char *path, struct pm_found *out);
/* The same for a mount point itself, without walking up. */
int  pm_find_mount(const char *mount, struct pm_found *out);
void pm_found_free(struct pm_found *found);

static inline void pm_cleanup_pm_found(struct pm_found *found)
{
    pm_found_free(found);
}

/* Makes a path absolute and takes out ".", ".." and doubled slashes, by its text alone (a dead
 * mount must not be touched). Owned; NULL without memory or working directory. */
char *pm_path_absolute(const char *path);
/* Whether a mount of ours is mounted exactly at this absolute path, alive or dead. */
bool pm_path_is_mount(const char *path);

/* Whether a program of this name can be run: in PATH, /usr/bin or /bin. */
bool pm_program_exists(const char *program);

/* Finds a member of the JSON object `text` (not of objects within it). The text must be well
 * formed up to that member; else they answer as if it were not there: NULL, -ENOENT. The string is
 * owned. The number is one without fraction that fits. */
char *pm_peek_string(const char *text, const char *member);
int   pm_peek_number(const char *text, const char *member, int64_t *out);

#endif
