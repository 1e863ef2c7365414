/* Room: what is kept within max_size and above min_free, and what goes when there is none. */
#include "cache/store_impl.h"

#include <errno.h>
#include <sys/statvfs.h>

#define EVICT_BATCH 16

struct victim {
    pm_node  node;
    uint64_t bytes;
};

/* Sent contents, least recently used first. The service can give them back. */
static size_t victims(struct pm_store *s, struct victim v[EVICT_BATCH], int64_t after[2])
{
    struct sqlite3_stmt *st;
    size_t               n = 0;

    pm_db_begin(s->db);
    st = pm_db_query(s->db,
                     "SELECT node, bytes, used, id FROM content c WHERE (used, id)>(?1, ?2) AND bytes>0 AND NOT"
                     " EXISTS (SELECT 1 FROM j.entry e WHERE e.node=c.node AND e.op=1)"
                     " AND EXISTS (SELECT 1 FROM node n WHERE n.id=c.node AND n.parent IS NOT NULL)"
                     " ORDER BY used, id LIMIT 16",
                     "ii", after[0], after[1]);
    while (pm_db_row(s->db, st)) {
        v[n].node = (pm_node)pm_col_int(st, 0);
        v[n++].bytes = (uint64_t)pm_col_int(st, 1);
        after[0] = pm_col_int(st, 2);
        after[1] = pm_col_int(st, 3);
    }
    pm_db_end(s->db, 0);
    return n;
}

static uint64_t disk_free(const struct pm_store *s)
{
    struct statvfs v;

    return fstatvfs(s->dirfd, &v) ? 0 : (uint64_t)v.f_bavail * v.f_frsize;
}

static bool fits(struct pm_store *s, uint64_t bytes, bool bounded)
{
    uint64_t more = s->held + bytes;

    if (bounded && s->used + more > s->conf->max_size)
        return false;
    return disk_free(s) >= s->conf->min_free + more;
}

/* Evicts until `bytes` more fit. Nobody can open a victim meanwhile: opening takes the lock. */
static bool make_room(struct pm_store *s, uint64_t bytes, bool bounded)
{
    struct victim v[EVICT_BATCH];
    int64_t       after[2] = {-1, 0};
    size_t        n;

    if (fits(s, bytes, bounded))
        return true;
    PM_GUARD(&s->lock);
    while ((n = victims(s, v, after)) > 0) {
        for (size_t i = 0; i < n; i++) {
            if (pm_store_find_locked(s, v[i].node))
                continue;
            pm_store_delete_closed(s, v[i].node);
            if (fits(s, bytes, bounded))
                return true;
        }
    }
    return false;
}

bool pm_store_reserve(struct pm_store *s, uint64_t bytes)
{
    s->held += bytes; /* first: two who ask at once must not both be promised the last room */
    if (make_room(s, 0, true))
        return true;
    s->held -= bytes;
    return false;
}

void pm_store_release(struct pm_store *s, uint64_t bytes)
{
    s->held -= bytes;
}

int pm_store_room(struct pm_store *s, uint64_t bytes)
{
    if (make_room(s, bytes, true))
        return 0;
    return make_room(s, bytes, false) ? 0 : -ENOSPC;
}

void pm_store_usage(struct pm_store *s, uint64_t *used, uint64_t *evictable)
{
    *used = s->used;
    pm_db_begin(s->db);
    *evictable = (uint64_t)pm_db_int(s->db, 0,
                                     "SELECT sum(bytes) FROM content c WHERE NOT EXISTS"
                                     " (SELECT 1 FROM j.entry e WHERE e.node=c.node AND e.op=1)",
                                     "");
    pm_db_end(s->db, 0);
}
