#include "cache/db_damage.h"

#include "cache/db.h"

#include "backends/util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

static const char *const index_parts[] = {"index.db-wal", "index.db-shm", "index.db"};

/* -1: it is no database, or a damaged one. */
static int version_of(sqlite3 *sql)
{
    sqlite3_stmt *st = NULL;
    int           version = -1;

    if (sqlite3_prepare_v2(sql, "PRAGMA user_version", -1, &st, NULL) == SQLITE_OK &&
        sqlite3_step(st) == SQLITE_ROW)
        version = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    return version;
}

/* Moves files of the state folder out of the way, under a name that says so. */
static int set_aside(const char *dir, const char *const *parts, size_t n)
{
    int err = 0;

    for (size_t i = 0; i < n && !err; i++) {
        PM_AUTO(free) char *from = pm_asprintf("%s/%s", dir, parts[i]);
        PM_AUTO(free) char *to = pm_asprintf("%s/%s.damaged-%lld", dir, parts[i],
                                             (long long)pm_wall_ms());

        if (!from || !to)
            return -ENOMEM;
        if (rename(from, to) && errno != ENOENT) {
            err = -errno;
            pm_log(PM_ERROR, "%s: %s", from, strerror(-err));
        }
    }
    return err;
}

static bool exists(const char *dir, const char *file)
{
    PM_AUTO(free) char *path = pm_asprintf("%s/%s", dir, file);

    return path && !access(path, F_OK);
}

bool pm_db_is_sound(const char *dir, const char *file)
{
    PM_AUTO(free) char *path = pm_asprintf("%s/%s", dir, file);
    sqlite3            *sql = NULL;
    sqlite3_stmt       *st = NULL;
    bool                ok = path && access(path, F_OK);

    if (!ok && path && sqlite3_open_v2(path, &sql, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(sql, "PRAGMA quick_check(1)", -1, &st, NULL) == SQLITE_OK &&
        sqlite3_step(st) == SQLITE_ROW)
        ok = !strcmp((const char *)sqlite3_column_text(st, 0), "ok") &&
             version_of(sql) > 0;
    sqlite3_finalize(st);
    sqlite3_close(sql);
    return ok;
}

/* Of a file that a run left: 0; -EBADMSG: it is damaged; another errno: that cannot be found out now,
 * for want of room, memory, descriptors, or since the disk fails. *empty: it is not there, or nothing
 * was ever in it. */
static int probe(const char *dir, const char *file, bool *empty)
{
    PM_AUTO(free) char *path = pm_asprintf("%s/%s", dir, file);
    sqlite3            *sql = NULL;
    int                 rc, err;

    *empty = true;
    if (!path)
        return -ENOMEM;
    if (access(path, F_OK))
        return errno == ENOENT ? 0 : -errno;
    rc = sqlite3_open_v2(path, &sql, SQLITE_OPEN_READWRITE, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(sql, "PRAGMA user_version", NULL, NULL, NULL);
    err = (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB ? -EBADMSG
                                                                       : pm_db_errno(sql, rc);
    *empty = !err && version_of(sql) == 0;
    sqlite3_close(sql);
    return err;
}

int pm_damage_last_file(const char *dir, int64_t *last)
{
    *last = 0;
    for (unsigned sub = 0; sub < 256; sub++) {
        PM_AUTO(free) char  *path = pm_asprintf("%s/data/%02x", dir, sub);
        DIR                 *d = path ? opendir(path) : NULL;
        const struct dirent *de;

        if (!path)
            return -ENOMEM;
        if (!d && errno != ENOENT)
            return -errno;
        while (d && (de = readdir(d)) != NULL)
            if (strtoll(de->d_name, NULL, 10) > *last)
                *last = strtoll(de->d_name, NULL, 10);
        if (d)
            closedir(d);
    }
    return 0;
}

/* What is damaged goes last: a start that was broken off is gone on with by the next. */
int pm_damage_set_aside(const char *dir, bool *anew)
{
    static const char *const work[] = {"data", "index.db-wal", "index.db-shm", "index.db",
                                       "journal.db-wal", "journal.db-shm", "journal.db"};
    int64_t                  last = 0;
    bool                     empty;
    int                      err = probe(dir, "journal.db", &empty);

    *anew = false;
    if (!err && empty)
        err = pm_damage_last_file(dir, &last);
    if (err == -EBADMSG || (!err && last)) {
        pm_log(PM_ERROR, "%s/journal.db is %s: it and all contents are set aside as *.damaged-*;"
                         " what was not sent yet is in there", dir, err ? "damaged" : "gone");
        return set_aside(dir, work, PM_COUNT(work));
    }
    if (err)
        return err;
    err = probe(dir, "index.db", &empty);
    if (err == -EBADMSG) {
        pm_log(PM_WARN, "%s/index.db is damaged: set aside as index.db.damaged-* and made anew", dir);
        err = set_aside(dir, index_parts, PM_COUNT(index_parts));
    }
    *anew = exists(dir, "journal.db") && !exists(dir, "index.db");
    return err;
}

int pm_damage_drop_index(const char *dir)
{
    for (size_t i = 0; i < PM_COUNT(index_parts); i++) {
        PM_AUTO(free) char *path = pm_asprintf("%s/%s", dir, index_parts[i]);

        if (!path || (unlink(path) && errno != ENOENT))
            return -EIO;
    }
    return 0;
}
