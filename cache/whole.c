#include "cache/whole.h"

#include "cache/fetch.h"

#include <errno.h>
#include <string.h>

#define DIFFERS "what came does not have the digest that the service tells; it is fetched anew"

struct digesting {
    struct pm_job      job;
    struct pm_cache   *cache;
    struct pm_content *content; /* a reference */
    uint64_t           size;
    char               digest[64];
};

/* Is it what came, all of it and nothing else? */
static bool is_pristine_locked(const struct pm_content *k, uint64_t size)
{
    return k->gen == 0 && !k->marked && !k->stale && !k->gone && !k->transfers && k->size == size &&
           k->base_end == size;
}

/* Nothing of it is to be believed: it goes, and is fetched anew by whoever wants it. */
static void distrust(struct digesting *d)
{
    struct pm_content *k = d->content;
    bool               same;

    pthread_mutex_lock(&k->lock);
    same = is_pristine_locked(k, d->size);
    if (same) {
        pm_ranges_sub(&k->present, 0, d->size);
        k->stale = k->changed = true;
    }
    pthread_mutex_unlock(&k->lock);
    if (!same)
        return;
    pm_log(PM_ERROR, "read of file %llu: its bytes do not have the digest that the service tells",
           (unsigned long long)k->node);
    pm_db_begin(d->cache->db);
    pm_db_run(d->cache->db, "UPDATE node SET error='" DIFFERS "' WHERE id=?1", "i", (int64_t)k->node);
    pm_db_end(d->cache->db, 0);
    pm_store_stale(k);
    pm_fetch_wake(k, -ESTALE);
    pm_tell_node(d->cache, k->node, true);
}

/* What was wrong with it once is no more. */
static void trust(struct digesting *d)
{
    pm_db_begin(d->cache->db);
    pm_db_run(d->cache->db, "UPDATE node SET error=NULL WHERE id=?1 AND error='" DIFFERS "'", "i",
              (int64_t)d->content->node);
    pm_db_end(d->cache->db, 0);
}

/* What was written here, before it was closed last, is another content. */
static bool is_written(struct pm_cache *c, pm_node node)
{
    bool yes;

    pm_db_begin(c->db);
    yes = pm_db_int(c->db, 0, "SELECT 1 FROM j.entry WHERE node=?1 AND op=1", "i", (int64_t)node) != 0;
    return pm_db_end(c->db, 0) || yes;
}

static void digest_run(struct pm_job *job)
{
    struct digesting *d = container_of(job, struct digesting, job);
    int               same = is_written(d->cache, d->content->node)
                                 ? -ECANCELED
                                 : pm_digest_check(d->digest, d->content->fd, d->size, &d->cache->stopping);

    if (same == 0)
        distrust(d);
    else if (same > 0)
        trust(d);
    pm_content_put(d->content);
    free(d);
}

void pm_whole_check_locked(struct pm_cache *c, struct pm_content *k)
{
    struct pm_range   gap;
    struct digesting *d;

    if (!*k->digest || c->stopping || !is_pristine_locked(k, k->base_end) ||
        pm_ranges_gap(&k->present, 0, k->base_end, &gap))
        return;
    d = calloc(1, sizeof(*d));
    if (!d)
        return;
    *d = (struct digesting){.job = {.run = digest_run}, .cache = c, .content = k,
                            .size = k->base_end};
    memcpy(d->digest, k->digest, sizeof(d->digest));
    k->digest[0] = '\0';
    pm_content_ref(k);
    pm_pool_run(c->pool, &d->job);
}
