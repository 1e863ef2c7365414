/* Putting the cache together, and taking it apart. */
#include "cache/cache.h"

#include "cache/draft.h"
#include "cache/durable.h"
#include "cache/file.h"
#include "cache/find.h"
#include "cache/hidden.h"
#include "cache/journal.h"
#include "cache/label.h"
#include "cache/list.h"
#include "cache/queue.h"
#include "cache/record.h"
#include "cache/state.h"
#include "cache/work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define POOL_THREADS   12
#define KEEP_EVERY_MS  1000
#define KEEP_BUSY_MS   250 /* while lists are under way: their old ones serve after 1 s */
#define SYNC_EVERY_MS  3000 /* what was closed is on the disk */
#define FULL_EVERY_MS  30000 /* what was fetched, too */
#define EXPIRE_EVERY_MS (3600 * 1000)
#define SETTLE_MS      60000 /* a copy that takes longer is looked at again later */

/* --- the state folder */

static int make_dirs(const char *path)
{
    PM_AUTO(free) char *copy = strdup(path);

    if (!copy)
        return -ENOMEM;
    for (char *p = copy + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        if (mkdir(copy, 0700) && errno != EEXIST)
            return -errno;
        *p = '/';
    }
    return mkdir(copy, 0700) && errno != EEXIST ? -errno : 0;
}

/* SQLite's logs and our locks are not safe on a network file system. */
static bool is_network(const char *path)
{
    static const unsigned long magics[] = {0x6969 /* NFS */, 0xff534d42 /* CIFS */,
                                           0xfe534d42 /* SMB2 */, 0x5346414f /* AFS */,
                                           0x01021997 /* 9P */, 0x65735546 /* FUSE */};
    struct statfs              f;

    if (statfs(path, &f))
        return false;
    for (size_t i = 0; i < PM_COUNT(magics); i++)
        if ((unsigned long)f.f_type == magics[i])
            return true;
    return false;
}

/* Who has the folder: its mount point is in the lock file. */
static int lock_folder(struct pm_cache *c, const char *dir, const char *mountpoint, char *why,
                       size_t why_len)
{
    PM_AUTO(free) char *path = pm_asprintf("%s/lock", dir);
    char                other[512] = "";
    ssize_t             n;

    if (!path)
        return -ENOMEM;
    c->lockfd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (c->lockfd < 0)
        return -errno;
    if (flock(c->lockfd, LOCK_EX | LOCK_NB)) {
        n = pread(c->lockfd, other, sizeof(other) - 1, 0);
        if (n > 0)
            other[strcspn(other, "\n")] = 0;
        snprintf(why, why_len, "%s: another polymount serves it%s%s", dir, *other ? " at " : "",
                 other);
        return -EBUSY;
    }
    if (ftruncate(c->lockfd, 0) || pwrite(c->lockfd, mountpoint, strlen(mountpoint), 0) < 0)
        return -errno;
    return 0;
}

static int open_folder(struct pm_cache *c, const char *mountpoint, char *why, size_t why_len)
{
    const char *dir = c->conf->cache_dir;
    int         err = make_dirs(dir);

    if (err) {
        snprintf(why, why_len, "%s: %s", dir, strerror(-err));
        return err;
    }
    if (is_network(dir)) {
        snprintf(why, why_len, "%s is on a network file system: set cache.dir to a local folder",
                 dir);
        return -EINVAL;
    }
    err = lock_folder(c, dir, mountpoint, why, why_len);
    if (err && err != -EBUSY)
        snprintf(why, why_len, "%s: %s", dir, strerror(-err));
    return err;
}

/* --- housekeeping */

static void *keep(void *arg)
{
    struct pm_cache *c = arg;
    int64_t          expired = -EXPIRE_EVERY_MS;
    int64_t          ticked = 0;
    bool             busy = false;

    pthread_mutex_lock(&c->keeper_lock);
    while (!c->stopping) {
        pm_cond_wait_until(&c->keeper_cond, &c->keeper_lock,
                           pm_now_ms() + (busy ? KEEP_BUSY_MS : KEEP_EVERY_MS));
        pthread_mutex_unlock(&c->keeper_lock);
        busy = pm_lists_tick(c);
        pm_store_try_again(c->store); /* others use the disk, too */
        if (!busy || pm_now_ms() - ticked >= KEEP_EVERY_MS) {
            pm_queue_tick(c);
            ticked = pm_now_ms();
        }
        pm_publish_tick(c);
        pm_record_tick(c);
        pm_find_tick(c);
        pm_hidden_tick(c);
        if (pm_now_ms() - expired >= EXPIRE_EVERY_MS) {
            pm_work_expire(c, pm_wall_ms());
            expired = pm_now_ms();
        }
        pthread_mutex_lock(&c->keeper_lock);
    }
    pthread_mutex_unlock(&c->keeper_lock);
    return NULL;
}

/* Contents first: the journal speaks of them. */
static void sync_all(struct pm_cache *c, bool fetched)
{
    bool flushed = atomic_exchange(&c->flushed, false);
    int  err = 0;

    pm_store_tick(c->store);
    if (flushed || (fetched && pm_era_needs_sync(c->store)))
        err = pm_era_sync(c->store);
    if (err) {
        c->flushed = c->flushed || flushed;
        pm_log(PM_ERROR, "the cache folder cannot be made durable: %s", strerror(-err));
    }
    pm_db_sync(c->db);
    pm_db_checkpoint(c->db);
}

/* Has a thread of its own: a disk may take its time. */
static void *make_durable(void *arg)
{
    struct pm_cache *c = arg;
    int64_t          full = pm_now_ms();

    pm_store_sweep(c->store, &c->stopping);
    pthread_mutex_lock(&c->keeper_lock);
    while (!c->stopping) {
        bool    fetched = pm_now_ms() - full >= FULL_EVERY_MS;
        int64_t until = pm_now_ms() + SYNC_EVERY_MS;

        while (!c->stopping && pm_now_ms() < until)
            pm_cond_wait_until(&c->durer_cond, &c->keeper_lock, until);
        pthread_mutex_unlock(&c->keeper_lock);
        pm_file_tick(c);
        pm_label_tick(c);
        sync_all(c, fetched);
        if (fetched)
            full = pm_now_ms();
        pthread_mutex_lock(&c->keeper_lock);
    }
    pthread_mutex_unlock(&c->keeper_lock);
    return NULL;
}

/* --- opening */

static int open_state(struct pm_cache *c, char *why, size_t why_len)
{
    int broken;
    int err = pm_db_open(c->conf->cache_dir, &c->db, why, why_len);

    if (err)
        return err;
    pm_db_reserve(c->db, c->conf->cache_dir);
    pm_db_begin(c->db);
    pm_work_recover(c->db);
    pm_node_drop_orphans(c->db);
    broken = pm_journal_check(c->db);
    err = pm_db_end(c->db, 0);
    if (broken)
        pm_log(PM_ERROR, "the journal breaks its invariant %d; going on with what it says", broken);
    if (!err)
        err = pm_store_open(c->conf, c->db, &c->store);
    if (!err) {
        pm_store_drop_orphans(c->store);
        err = pm_store_recover_sizes(c->store);
    }
    return err ? err : pm_bounce_open(&c->bounce);
}

static int open_services(struct pm_cache *c, char *why, size_t why_len)
{
    int err = pm_net_open(c->conf, &c->net);

    if (!err)
        err = pm_pool_open(POOL_THREADS, &c->pool);
    if (!err)
        err = pm_pool_open(POOL_THREADS, &c->list_pool);
    if (!err)
        err = pm_lists_open(c);
    if (!err)
        err = pm_accounts_open(c, why, why_len);
    if (!err)
        err = pm_drafts_open(c);
    if (!err)
        err = pm_records_open(c);
    if (!err)
        err = pm_finds_open(c);
    if (!err)
        err = pm_queue_open(c);
    if (!err) {
        pm_label_moved(c); /* what the last run did not come to */
        err = pm_thread_start(&c->keeper, "pm-keeper", keep, c);
        c->has_keeper = !err;
    }
    if (!err) {
        err = pm_thread_start(&c->durer, "pm-durable", make_durable, c);
        c->has_durer = !err;
    }
    return err;
}

int pm_cache_open(const struct pm_conf *conf, const char *mountpoint,
                  const struct pm_cache_events *events, struct pm_cache **out, char *why,
                  size_t why_len)
{
    struct pm_cache *c = calloc(1, sizeof(*c));
    int              err;

    if (!c)
        return -ENOMEM;
    c->conf = conf;
    c->lockfd = -1;
    if (events)
        c->events = *events;
    pthread_mutex_init(&c->keeper_lock, NULL);
    pthread_mutex_init(&c->copying.lock, NULL);
    c->settle_ms = SETTLE_MS;
    pm_cond_init(&c->keeper_cond);
    pm_cond_init(&c->durer_cond);
    why[0] = 0;
    err = open_folder(c, mountpoint, why, why_len);
    if (!err)
        err = open_state(c, why, why_len);
    if (!err)
        err = open_services(c, why, why_len);
    if (err) {
        if (!*why)
            snprintf(why, why_len, "%s: %s", conf->cache_dir, strerror(-err));
        pm_cache_stop(c);
        pm_cache_free(c);
        return err;
    }
    *out = c;
    return 0;
}

/* --- ending */

int pm_cache_sync(struct pm_cache *c)
{
    return pm_db_sync(c->db);
}

void pm_cache_stop(struct pm_cache *c)
{
    pthread_mutex_lock(&c->keeper_lock);
    c->stopping = true;
    pthread_cond_signal(&c->keeper_cond);
    pthread_cond_signal(&c->durer_cond);
    pthread_mutex_unlock(&c->keeper_lock);
    if (c->has_keeper)
        pthread_join(c->keeper, NULL);
    if (c->has_durer)
        pthread_join(c->durer, NULL);
    c->has_keeper = c->has_durer = false;
    if (c->lists)
        pm_lists_stop(c);
    if (c->store) {
        pm_store_end_waiting(c->store);
        pm_store_cancel_all(c->store);
    }
    pm_drafts_stop(c);
    pm_queue_stop(c);
    pm_pool_close(c->list_pool);
    pm_pool_close(c->pool);
    c->list_pool = c->pool = NULL;
    if (c->net)
        pm_net_stop(c->net);
}

void pm_cache_free(struct pm_cache *c)
{
    if (c->store)
        pm_file_tick(c);
    pm_queue_close(c);
    pm_drafts_close(c);
    pm_records_close(c);
    pm_finds_close(c);
    pm_accounts_close(c);
    pm_net_close(c->net);
    pm_lists_close(c);
    pm_bounce_close(c->bounce);
    if (c->store)
        sync_all(c, true);
    pm_store_close(c->store);
    pm_db_close(c->db);
    if (c->lockfd >= 0)
        close(c->lockfd);
    pthread_cond_destroy(&c->keeper_cond);
    pthread_cond_destroy(&c->durer_cond);
    pthread_mutex_destroy(&c->keeper_lock);
    pthread_mutex_destroy(&c->copying.lock);
    free(c);
}
