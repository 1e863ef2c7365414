#include "cache/recheck.h"

#include "cache/fetch.h"
#include "cache/list.h"
#include "cache/located.h"

#include <errno.h>
#include <string.h>

struct recheck {
    struct pm_job      job;
    struct pm_cache   *cache;
    struct pm_content *content; /* a reference */
    uint64_t           bytes; /* doubtful when it began */
};

int pm_recheck_version(struct pm_cache *c, struct pm_content *k)
{
    PM_AUTO(free) struct pm_entry *known = NULL;
    PM_AUTO(free) struct pm_entry *now = NULL;
    struct pm_ctx                  ctx = {.deadline_ms = pm_now_ms() + c->conf->op_timeout_ms,
                                          .cancel = &c->stopping};
    struct pm_row                  row = {.id = 0};
    struct pm_account             *a;
    char                           version[sizeof(k->version)];
    unsigned                       base;
    int                            err;

    pthread_mutex_lock(&k->lock);
    memcpy(version, k->version, sizeof(version));
    base = k->base;
    pthread_mutex_unlock(&k->lock);
    err = pm_located_object(c, k, &row, &known);
    a = err ? NULL : pm_account_by_id(c, row.account);
    if (!a || !known)
        return err ? err : -ENOENT;
    err = pm_backend_stat(a->backend, &ctx, known, &now);
    if (err)
        return err;
    if (pm_backend_same_version(a->backend, now->version, version) ||
        (row.settling && now->size == known->size))
        return 0;
    PM_GUARD(&k->lock);
    return k->base == base ? -ESTALE : -ECANCELED; /* another object was asked about */
}

static void recheck_run(struct pm_job *job)
{
    struct recheck    *r = container_of(job, struct recheck, job);
    struct pm_content *k = r->content;
    int                err = pm_recheck_version(r->cache, k);

    pthread_mutex_lock(&k->lock);
    if (!err) {
        /* What came while it was asked is checked when that batch ends. */
        if (!k->transfers && pm_ranges_count(&k->doubtful, 0, PM_RANGE_MAX) == r->bytes)
            k->doubtful.n = 0;
    } else if (err == -ESTALE) {
        for (size_t i = 0; i < k->doubtful.n; i++)
            pm_ranges_sub(&k->present, k->doubtful.r[i].off, k->doubtful.r[i].end);
        k->doubtful.n = 0;
        k->stale = k->changed = true;
    }
    pthread_mutex_unlock(&k->lock);
    if (err == -ESTALE) {
        pm_store_stale(k);
        pm_list_expire_around(r->cache, k->node);
        pm_fetch_wake(k, -ESTALE);
    }
    pm_content_put(k);
    free(r);
}

void pm_recheck_start_locked(struct pm_cache *c, struct pm_content *k)
{
    struct recheck *r = calloc(1, sizeof(*r));

    if (!r)
        return;
    *r = (struct recheck){.job = {.run = recheck_run}, .cache = c, .content = k};
    r->bytes = pm_ranges_count(&k->doubtful, 0, PM_RANGE_MAX);
    pm_content_ref(k);
    pm_pool_run(c->pool, &r->job);
}
