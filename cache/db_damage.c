#include "cache/db_damage.h"

#include "cache/db.h"

#include "backends/util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

static const char *const index_parts[] = {"index.db", "index.db-wal", "index.db-shm"};

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
static void set_aside(const char *dir, const char *const *parts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        PM_AUTO(free) char *from = pm_asprintf("%s/%s", dir, parts[i]);
        PM_AUTO(free) char *to = pm_asprintf("%s/%s.damaged-%lld", dir, parts[i],
                                             (long long)pm_wall_ms());

        if (from && to && rename(from, to) && errno != ENOENT)
            pm_log(PM_ERROR, "%s: %s", from, strerror(errno));
    }
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

static bool is_readable(const char *dir, const char *file)
{
    PM_AUTO(free) char *path = pm_asprintf("%s/%s", dir, file);
    sqlite3            *sql = NULL;
    bool                ok = path && access(path, F_OK);

    if (!ok && path && sqlite3_open_v2(path, &sql, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK)
        ok = version_of(sql) >= 0;
    sqlite3_close(sql);
    return ok;
}

int64_t pm_damage_last_file(const char *dir)
{
    int64_t last = 0;

    for (unsigned sub = 0; sub < 256; sub++) {
        PM_AUTO(free) char  *path = pm_asprintf("%s/data/%02x", dir, sub);
        DIR                 *d = path ? opendir(path) : NULL;
        const struct dirent *de;

        while (d && (de = readdir(d)) != NULL)
            if (strtoll(de->d_name, NULL, 10) > last)
                last = strtoll(de->d_name, NULL, 10);
        if (d)
            closedir(d);
    }
    return last;
}

bool pm_damage_set_aside(const char *dir)
{
    static const char *const work[] = {"journal.db", "journal.db-wal", "journal.db-shm", "data",
                                       "index.db", "index.db-wal", "index.db-shm"};

    if (!is_readable(dir, "journal.db")) {
        pm_log(PM_ERROR, "%s/journal.db is damaged: it and all contents are set aside as *.damaged-*;"
                         " what was not sent yet is in there", dir);
        set_aside(dir, work, PM_COUNT(work));
        return false;
    }
    if (is_readable(dir, "index.db"))
        return exists(dir, "journal.db") && !exists(dir, "index.db");
    pm_log(PM_WARN, "%s/index.db is damaged: set aside as index.db.damaged-* and made anew", dir);
    set_aside(dir, index_parts, PM_COUNT(index_parts));
    return true;
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
