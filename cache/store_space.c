/* Room: what is kept within max_size and above min_free, what goes when there is none, and who waits
 * for some.
 *
 * A look for what can be evicted ends either with room, or with nothing left: then nobody looks again
 * before something was closed or sent (`turn`). */
#include "cache/store_impl.h"

#include "cache/state.h"
#include "cache/db_usage.h"

#include <errno.h>
#include <sys/statvfs.h>

#define EVICT_BATCH 16

/* What is asked for. */
struct wish {
    uint64_t bytes; /* so many more are to fit */
    bool     bounded; /* within max_size, too */
    uint64_t free; /* so much is to be free on the disk, whatever else */
};

/* Sent contents, least recently used first. The service can give them back. */
static size_t victims(struct pm_store *s, pm_node v[EVICT_BATCH], int64_t after[2])
{
    struct sqlite3_stmt *st;
    size_t               n = 0;

    pm_db_begin(s->db);
    st = pm_db_query(s->db,
                     "SELECT node, used, id FROM content c WHERE (used, id)>(?1, ?2) AND bytes>0 AND NOT"
                     " EXISTS (SELECT 1 FROM j.entry e WHERE e.node=c.node AND e.op=1)"
                     " AND NOT EXISTS (SELECT 1 FROM j.kept k WHERE k.content=c.id)"
                     " AND EXISTS (SELECT 1 FROM node n WHERE n.id=c.node AND n.parent IS NOT NULL)"
                     " ORDER BY used, id LIMIT 16",
                     "ii", after[0], after[1]);
    while (pm_db_row(s->db, st)) {
        v[n++] = (pm_node)pm_col_int(st, 0);
        after[0] = pm_col_int(st, 1);
        after[1] = pm_col_int(st, 2);
    }
    pm_db_end(s->db, 0);
    return n;
}

static uint64_t disk_free(const struct pm_store *s)
{
    struct statvfs v;

    return fstatvfs(s->dirfd, &v) ? 0 : (uint64_t)v.f_bavail * v.f_frsize;
}

static bool granted(struct pm_store *s, const struct wish *w)
{
    uint64_t more = s->held + w->bytes;
    uint64_t avail;

    if (w->bounded && s->used + more > s->conf->max_size)
        return false;
    avail = disk_free(s);
    return avail >= w->free && avail >= s->conf->min_free + more;
}

static bool is_open(struct pm_content *c)
{
    PM_GUARD(&c->lock);
    return c->handles > 0;
}

/* Is something in memory that nobody has open and that could go: a download that is just ending? */
static bool is_passing_locked(struct pm_store *s)
{
    for (size_t i = 0; i < PM_STORE_BUCKETS; i++)
        for (struct pm_content *c = s->bucket[i]; c; c = c->next)
            if (!is_open(c) && !pm_store_is_ours(s, c->node))
                return true;
    return false;
}

/* Evicts until the wish is granted. Nobody can open a victim meanwhile: opening takes the lock. */
static bool make_room(struct pm_store *s, const struct wish *w)
{
    pm_node  v[EVICT_BATCH];
    int64_t  after[2] = {-1, 0};
    uint64_t turn;
    size_t   n;

    if (granted(s, w))
        return true;
    PM_GUARD(&s->lock);
    turn = s->turn;
    if (s->barren == turn + 1)
        return granted(s, w);
    while ((n = victims(s, v, after)) > 0) {
        for (size_t i = 0; i < n; i++) {
            if (pm_store_find_locked(s, v[i]))
                continue;
            pm_store_delete_closed(s, v[i], false);
            if (granted(s, w))
                return true;
        }
    }
    s->barren = turn + 1;
    s->passing = is_passing_locked(s);
    return false;
}

bool pm_store_reserve(struct pm_store *s, uint64_t bytes)
{
    s->held += bytes; /* first: two who ask at once must not both be promised the last room */
    if (make_room(s, &(struct wish){.bounded = true}))
        return true;
    s->held -= bytes;
    return false;
}

void pm_store_release(struct pm_store *s, uint64_t bytes)
{
    s->held -= bytes;
}

/* What is in drafts: sent or not, it stays. */
static uint64_t in_drafts(struct pm_store *s)
{
    int64_t bytes;

    pm_db_begin(s->db);
    bytes = pm_db_int(s->db, 0,
                      "SELECT sum(k.bytes) FROM j.draft d JOIN j.entry e ON e.parent=d.node AND e.op=1"
                      " JOIN content k ON k.id=e.content",
                      "");
    pm_db_end(s->db, 0);
    return bytes > 0 ? (uint64_t)bytes : 0;
}

bool pm_store_could(struct pm_store *s, uint64_t bytes)
{
    struct pm_store_usage usage;

    pm_store_usage(s, &usage);
    return disk_free(s) + usage.used >=
           s->conf->min_free + usage.last_copy + in_drafts(s) + bytes;
}

int pm_store_room(struct pm_store *s, uint64_t bytes)
{
    struct wish w = {.bytes = bytes, .bounded = true};

    if (granted(s, &w))
        return 0;
    if (!pm_store_could(s, bytes)) /* then nothing is to go for it */
        return -ENOSPC;
    if (make_room(s, &w))
        return 0;
    w.bounded = false;
    return make_room(s, &w) ? 0 : -ENOSPC;
}

int pm_store_refused(struct pm_store *s, uint64_t bytes)
{
    struct wish w = {.bytes = bytes, .free = disk_free(s) + bytes};

    return make_room(s, &w) ? 0 : -ENOSPC;
}

void pm_store_trim(struct pm_store *s)
{
    make_room(s, &(struct wish){.bounded = true});
}

void pm_store_usage(struct pm_store *s, struct pm_store_usage *out)
{
    struct pm_usage_sums sums;
    int64_t              clean;

    pm_db_usage(s->db, &sums);
    clean = sums.all - sums.unsent - sums.last_copy;
    out->used = s->used;
    out->evictable = clean > 0 ? (uint64_t)clean : 0;
    out->last_copy = sums.last_copy > 0 ? (uint64_t)sums.last_copy : 0;
}

/* --- who waits for room */

bool pm_store_passing(struct pm_store *s)
{
    return s->passing;
}

uint64_t pm_store_tidings(struct pm_store *s)
{
    return s->tidings;
}

int pm_store_wait(struct pm_store *s, uint64_t tidings, struct pm_waiter *w)
{
    PM_GUARD(&s->wait_lock);
    if (s->stopped)
        return -ESHUTDOWN;
    if (s->tidings != tidings)
        return -EALREADY;
    w->progress_ms = pm_now_ms();
    w->next = s->writers;
    s->writers = w;
    return -EINPROGRESS;
}

static struct pm_waiter *take_writers(struct pm_store *s, bool stop)
{
    struct pm_waiter *oldest = NULL;

    PM_GUARD(&s->wait_lock);
    s->tidings++;
    s->stopped = s->stopped || stop;
    while (s->writers) { /* who waited longest comes first */
        struct pm_waiter *w = s->writers;

        s->writers = w->next;
        w->next = oldest;
        oldest = w;
    }
    return oldest;
}

void pm_store_try_again(struct pm_store *s)
{
    s->turn++;
    pm_wake_all(take_writers(s, false), 0);
}

void pm_store_end_waiting(struct pm_store *s)
{
    pm_wake_all(take_writers(s, true), -ESHUTDOWN);
}
