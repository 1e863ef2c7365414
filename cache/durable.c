#include "cache/durable.h"

#include "cache/db_damage.h"
#include "cache/store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#ifndef STATX_MNT_ID_UNIQUE /* Linux 6.8 */
#define STATX_MNT_ID_UNIQUE 0x4000u
#endif

int64_t pm_era_now(const struct pm_store *s)
{
    return s->era;
}

bool pm_era_is_durable(const struct pm_store *s, int64_t era)
{
    return era <= s->durable;
}

bool pm_era_needs_sync(const struct pm_store *s)
{
    return s->written;
}

static int set_meta(struct pm_db *db, const char *key, const char *value)
{
    return pm_db_run(db, "INSERT OR REPLACE INTO j.meta(key, value) VALUES(?1, ?2)", "ss", key,
                     value);
}

static int set_meta_int(struct pm_db *db, const char *key, int64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)value);
    return set_meta(db, key, text);
}

int pm_era_sync(struct pm_store *s)
{
    int64_t ended = s->era;
    int     err;

    pm_db_begin(s->db);
    err = pm_db_end(s->db, set_meta_int(s->db, "era", ended + 1));
    if (err)
        return err;
    s->written = false;
    s->era = ended + 1;
    if (syncfs(s->dirfd)) {
        s->written = true;
        return -errno;
    }
    pm_db_begin(s->db);
    err = pm_db_end(s->db, set_meta_int(s->db, "durable", ended));
    if (err) {
        s->written = true;
        return err;
    }
    s->durable = ended;
    return 0;
}

/* What was there at write generation `gen` is on the disk, whatever becomes of the rest. */
static int settled(struct pm_content *k, int64_t gen)
{
    struct pm_db *db = k->store->db;

    PM_GUARD(&k->lock);
    if (k->gen != gen || k->changed || k->gone)
        return 0;
    pm_db_begin(db);
    pm_db_run(db, "UPDATE content SET era=0 WHERE id=?1", "i", k->id);
    pm_db_run(db, "UPDATE j.entry SET era=0 WHERE content=?1", "i", k->id);
    k->era = 0;
    return pm_db_end(db, 0);
}

/* The file's name, too: not every file system has that with the file. */
static int sync_file(const struct pm_content *k)
{
    char               name[32];
    PM_AUTO(close) int dir = -1;

    if (fdatasync(k->fd))
        return -errno;
    pm_store_file_name(k->id, name);
    *strchr(name, '/') = 0;
    dir = openat(k->store->dirfd, name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    return dir < 0 || fsync(dir) ? -errno : 0;
}

int pm_era_settle(struct pm_content *k)
{
    int64_t gen;
    int     err;

    pm_content_save(k);
    pthread_mutex_lock(&k->lock);
    gen = k->gen;
    pthread_mutex_unlock(&k->lock);
    err = sync_file(k);
    if (!err)
        err = settled(k, gen);
    return err ? err : pm_db_sync(k->store->db);
}

/* Says which run of the machine and which mount of the disk this is: while both are the same, nothing
 * that was written can be lost. */
static void name_machine(int dirfd, char *out, size_t size)
{
    PM_AUTO(close) int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    char               boot[40] = "";
    struct statx       st = {0};
    ssize_t            n = fd >= 0 ? read(fd, boot, sizeof(boot) - 1) : 0;

    boot[n > 0 ? strcspn(boot, "\n") : 0] = 0;
    statx(dirfd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID | STATX_MNT_ID_UNIQUE, &st);
    snprintf(out, size, "%s %u:%u %llu", boot, st.stx_dev_major, st.stx_dev_minor,
             (unsigned long long)st.stx_mnt_id);
}

static int make_longer(struct pm_store *s, int64_t id, uint64_t size)
{
    char               name[32];
    PM_AUTO(close) int fd = -1;
    struct stat        st;

    pm_store_file_name(id, name);
    fd = openat(s->dirfd, name, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    return fstat(fd, &st) || ((uint64_t)st.st_size < size && ftruncate(fd, (off_t)size)) ? -errno : 0;
}

/* A power cut may take a file's length: what nobody is known to have cut off is the base's still, and is
 * fetched, though the file ends before it. */
static int mend_lengths(struct pm_store *s)
{
    int64_t after = 0;
    int64_t id;
    int     err;

    do {
        int64_t size;

        pm_db_begin(s->db);
        id = pm_db_int(s->db, 0,
                       "SELECT min(content) FROM j.entry e WHERE op=1 AND content>?1 AND (state=1 OR"
                       " (era>?2 AND state IN (2, 3, 4, 8))) AND source IS NULL AND NOT EXISTS (SELECT 1"
                       " FROM j.dirty d WHERE d.content=e.content AND d.end=?3)",
                       "iii", after, s->durable, PM_RANGE_MAX);
        size = pm_db_int(s->db, 0,
                         "SELECT CASE WHEN e.state=1 THEN c.size ELSE min(e.size, c.size) END FROM content"
                         " c JOIN j.entry e ON e.content=c.id WHERE c.id=?1",
                         "i", id);
        err = pm_db_end(s->db, 0);
        if (!err && id)
            err = make_longer(s, id, (uint64_t)size);
        after = id;
    } while (id && !err);
    return err;
}

/* Last copies were on the disk before they were called so. Of unsent contents only what was written here stays; it is known by its own rows. */
static int doubt(struct pm_store *s)
{
    int64_t id;
    int     err;

    do {
        pm_db_begin(s->db);
        id = pm_db_int(s->db, 0,
                       "SELECT id FROM content c WHERE era>?1 AND NOT EXISTS (SELECT 1 FROM j.entry e"
                       " WHERE e.node=c.node AND e.op=1) AND NOT EXISTS (SELECT 1 FROM j.kept k"
                       " WHERE k.content=c.id) LIMIT 1",
                       "i", s->durable);
        if (id)
            pm_content_delete_row(s->db, id);
        err = pm_db_end(s->db, 0);
        if (err)
            return err;
        if (id)
            pm_content_unlink(s, id);
    } while (id);
    err = mend_lengths(s);
    if (err)
        return err;
    pm_db_begin(s->db);
    pm_db_run(s->db, "UPDATE content SET present=NULL, era=0 WHERE era>?1", "i", s->durable);
    /* What was removed since, or replaced, is only ended, as after a try that failed. */
    pm_db_run(s->db,
              "UPDATE j.entry AS e SET era=0, tries=max(tries, 1) WHERE op=1 AND era>?1 AND state IN"
              " (2, 3, 4) AND EXISTS (SELECT 1 FROM j.entry r WHERE (r.op=3 AND r.node=e.node AND"
              " r.id>e.id) OR r.replaces=e.node)",
              "i", s->durable);
    pm_db_run(s->db,
              "UPDATE j.entry SET state=6, era=0, error='the machine went down before it was on the"
              " disk' WHERE op=1 AND era>?1 AND state IN (2, 3, 4, 8)",
              "i", s->durable);
    return pm_db_end(s->db, 0);
}

bool pm_era_in_doubt(struct pm_db *db, int dirfd, int64_t *durable)
{
    char                 machine[128];
    char                 before[128] = "";
    struct sqlite3_stmt *st =
        pm_db_query(db, "SELECT value FROM j.meta WHERE key='machine'", "");

    if (pm_db_row(db, st)) {
        pm_col_copy(st, 0, before, sizeof(before));
        pm_db_reset(st);
    }
    *durable = pm_db_int(db, 0, "SELECT value FROM j.meta WHERE key='durable'", "");
    name_machine(dirfd, machine, sizeof(machine));
    return *before && strcmp(before, machine) != 0;
}

/* Files of which a power cut has taken the rows stay (store_drop.c knows which): their numbers are not
 * given again. */
static int skip_lost_files(struct pm_store *s)
{
    int64_t last;
    int     err = pm_damage_last_file(s->conf->cache_dir, &last);

    if (err)
        return err;
    pm_db_begin(s->db);
    if (last > pm_db_int(s->db, 0, "SELECT seq FROM main.sqlite_sequence WHERE name='content'", "")) {
        pm_db_run(s->db, "DELETE FROM main.sqlite_sequence WHERE name='content'", "");
        pm_db_run(s->db, "INSERT INTO main.sqlite_sequence(name, seq) VALUES('content', ?1)", "i", last);
    }
    return pm_db_end(s->db, 0);
}

int pm_era_open(struct pm_store *s)
{
    char    machine[128];
    int64_t durable;
    int64_t last;
    bool    in_doubt;
    bool    known;
    int     err;

    pm_db_begin(s->db);
    in_doubt = pm_era_in_doubt(s->db, s->dirfd, &durable);
    known = pm_db_int(s->db, 0, "SELECT 1 FROM j.meta WHERE key='machine'", "") != 0;
    s->durable = durable;
    last = pm_db_int(s->db, 0,
                     "SELECT max(ifnull((SELECT max(era) FROM content), 0),"
                     " ifnull((SELECT max(era) FROM j.entry), 0))",
                     "");
    s->era = pm_db_int(s->db, 0, "SELECT value FROM j.meta WHERE key='era'", "");
    if (last > s->era) /* what told so was lost */
        s->era = last;
    s->era++;
    s->written = !in_doubt && last > durable; /* by an earlier run, which did not sync it */
    err = pm_db_end(s->db, 0);
    name_machine(s->dirfd, machine, sizeof(machine));
    if (!err && (in_doubt || !known))
        err = skip_lost_files(s);
    if (!err && in_doubt)
        err = doubt(s);
    if (err)
        return err;
    pm_db_begin(s->db);
    set_meta_int(s->db, "era", s->era);
    return pm_db_end(s->db, set_meta(s->db, "machine", machine));
}
