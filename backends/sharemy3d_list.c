/* Lists: all pages side by side.
 *
 * Pages go by offset over a list that may change meanwhile. They are sorted by time (and name: what was
 * made in one second must have an order, too), so that what is new comes last and moves nothing; what is
 * removed moves all that follows, and the list is then asked for again, until a whole one has been seen.
 * Each id is handed on once. A service that says more than it has ends the list with an empty page.
 *
 * The first page tells how many there are; then a few threads take a page after the other, and the
 * calling thread hands on what they got. No more than a few pages are in memory. */
#include "backends/sharemy3d_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <stdio.h>
#include <string.h>

#define PAGE       100 /* the most that the document allows */
#define SIDE_BY_SIDE 6
#define PASSES     8
#define TOTAL_MAX  ((uint64_t)10 * 1000 * 1000) /* what is more is no total */

struct page {
    struct page  *next;
    struct cJSON *body;
};

struct listing {
    struct pm_sharemy3d *sm;
    enum pm_sm_kind      kind;
    const char          *status;
    enum pm_prio         prio;
    int64_t              deadline_ms;
    bool                 probe;
    atomic_bool          cancel; /* the workers' */
    pthread_mutex_t      lock; /* leaf */
    pthread_cond_t       moved; /* lock */
    uint64_t             total; /* immutable while workers run */
    uint64_t             next; /* lock; offset of the next page */
    unsigned             running; /* lock; workers */
    struct page         *ready; /* lock */
    unsigned             nready; /* lock */
    int                  err; /* lock; the first worker's failure */
    struct pm_ctx        failed; /* lock; with err */
    bool                 changed; /* the caller's; the total moved in this pass */
    void                *seen; /* the caller's; tsearch of ids, owned */
    uint64_t             nseen; /* the caller's */
    pm_sm_each_fn       *each;
    void                *arg;
};

/* --- one page */

static bool page_total(const struct cJSON *body, uint64_t *total)
{
    uint64_t n;

    if (!pm_json_u64(pm_json_get(body, "meta"), "totalCount", &n) || n > TOTAL_MAX)
        return false;
    *total = n;
    return true;
}

/* No array at all will do where the service says that there is nothing from `offset` on (api/notes.md 0,
 * 4: empty lists that are null). */
static bool is_page(const struct listing *l, const struct cJSON *body, uint64_t offset)
{
    const struct cJSON *things = pm_json_get(body, pm_sm_words[l->kind].folder);
    uint64_t            total = 0;

    return things ? pm_json_is_array(things) : page_total(body, &total) && total <= offset;
}

static const struct cJSON *first_thing(const struct listing *l, const struct cJSON *body)
{
    return pm_json_first(pm_json_get(body, pm_sm_words[l->kind].folder));
}

static int get_page(const struct listing *l, struct pm_ctx *ctx, uint64_t offset, struct cJSON **out)
{
    PM_AUTO(free) char *url =
        pm_asprintf("/%s?limit=%d&offset=%" PRIu64 "%s%s&sort=time,name",
                    pm_sm_words[l->kind].folder, PAGE, offset, l->status ? "&status=" : "",
                    l->status ? l->status : "");
    struct pm_http_request req = {.method = "GET", .url = url};
    int                    err = url ? pm_sm_call(l->sm, ctx, &req, out) : -ENOMEM;

    if (!err && !is_page(l, *out, offset)) {
        snprintf(ctx->why, sizeof(ctx->why), "the list is broken");
        pm_json_free(*out);
        *out = NULL;
        err = -EIO;
    }
    return err;
}

/* --- handing on, on the caller's thread */

static int compare_ids(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* 1: not seen before; 0: it was; -ENOMEM. */
static int note_seen(struct listing *l, const char *id)
{
    char        *copy = strdup(id);
    char *const *found = copy ? tsearch(copy, &l->seen, compare_ids) : NULL;

    if (!found || *found != copy)
        free(copy);
    if (!found)
        return -ENOMEM;
    if (*found != copy)
        return 0;
    l->nseen++;
    return 1;
}

/* Hands on what is new; *count counts what was there. */
static int take_page(struct listing *l, const struct cJSON *body, uint64_t *count)
{
    const struct pm_sm_words *words = &pm_sm_words[l->kind];
    char                      id[PM_SM_ID_MAX];
    uint64_t                  total;
    int                       err = 0;

    if (page_total(body, &total) && total != l->total)
        l->changed = true;
    for (const struct cJSON *v = first_thing(l, body); v && err >= 0; v = pm_json_next(v)) {
        ++*count;
        if (!pm_json_scalar(v, words->id, id, sizeof(id)) || !pm_sm_is_id(id)) {
            pm_log(PM_WARN, "%s: one of the %s has no id that can be used", l->sm->base.conf->name,
                   words->folder);
            l->nseen++;
            continue;
        }
        err = note_seen(l, id);
        if (err > 0)
            err = l->each(l->arg, v, id);
    }
    return err < 0 ? err : 0;
}

/* --- workers */

static void end_worker_locked(struct listing *l)
{
    l->running--;
    pthread_cond_broadcast(&l->moved);
}

/* The offset of a page to get. */
static bool next_offset_locked(struct listing *l, uint64_t *offset)
{
    while (!l->err && !l->cancel && l->nready >= SIDE_BY_SIDE)
        pm_cond_wait_until(&l->moved, &l->lock, pm_now_ms() + 200);
    if (l->err || l->cancel || l->next >= l->total)
        return false;
    *offset = l->next;
    l->next += PAGE;
    return true;
}

static void *work(void *arg)
{
    struct listing *l = arg;
    uint64_t        offset;

    pthread_mutex_lock(&l->lock);
    while (next_offset_locked(l, &offset)) {
        struct pm_ctx ctx = {.deadline_ms = l->deadline_ms, .cancel = &l->cancel, .prio = l->prio,
                             .probe = l->probe};
        struct page  *p;
        int           err;

        pthread_mutex_unlock(&l->lock);
        p = calloc(1, sizeof(*p));
        err = p ? get_page(l, &ctx, offset, &p->body) : -ENOMEM;
        pthread_mutex_lock(&l->lock);
        if (err) {
            free(p);
            if (!l->err) {
                l->err = err;
                l->failed = ctx;
            }
            break;
        }
        if (!first_thing(l, p->body))
            l->next = l->total;
        p->next = l->ready;
        l->ready = p;
        l->nready++;
        pthread_cond_broadcast(&l->moved);
    }
    end_worker_locked(l);
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static struct page *pop_locked(struct listing *l)
{
    struct page *p = l->ready;

    if (p) {
        l->ready = p->next;
        l->nready--;
        pthread_cond_broadcast(&l->moved);
    }
    return p;
}

/* Waits for pages and hands them on until no worker is left. */
static int drain(struct listing *l, struct pm_ctx *ctx, uint64_t *count)
{
    struct page *p;
    int          err = 0;

    pthread_mutex_lock(&l->lock);
    while ((p = pop_locked(l)) || l->running) {
        if (!err && ctx->cancel && atomic_load(ctx->cancel))
            err = -ECANCELED;
        if (err)
            l->cancel = true;
        if (!p) {
            pm_cond_wait_until(&l->moved, &l->lock, pm_now_ms() + 100);
            continue;
        }
        pthread_mutex_unlock(&l->lock);
        if (!err)
            err = take_page(l, p->body, count);
        pm_json_free(p->body);
        free(p);
        pthread_mutex_lock(&l->lock);
    }
    if (!err && l->err) {
        err = l->err;
        memcpy(ctx->why, l->failed.why, sizeof(ctx->why));
        ctx->retry_ms = l->failed.retry_ms;
    }
    pthread_mutex_unlock(&l->lock);
    return err;
}

/* The pages from l->next on. */
static int get_rest(struct listing *l, struct pm_ctx *ctx, uint64_t *count)
{
    pthread_t threads[SIDE_BY_SIDE];
    uint64_t  pages = l->next < l->total ? (l->total - l->next + PAGE - 1) / PAGE : 0;
    unsigned  started = 0;
    int       err = 0;

    for (; started < SIDE_BY_SIDE && started < pages && !err; started += !err) {
        pthread_mutex_lock(&l->lock);
        l->running++;
        pthread_mutex_unlock(&l->lock);
        err = pm_thread_start(&threads[started], "pm-list", work, l);
        if (err) {
            PM_GUARD(&l->lock);
            l->running--;
        }
    }
    if (started)
        err = 0; /* fewer do, too */
    if (!err)
        err = drain(l, ctx, count);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    return err;
}

/* --- passes */

/* Without a total: until a page is not full, or has nothing new (which page was asked for is ignored). */
static int get_in_order(struct listing *l, struct pm_ctx *ctx, uint64_t *count)
{
    int err = 0;

    for (uint64_t last = PAGE; !err && last >= PAGE && l->next < TOTAL_MAX; l->next += PAGE) {
        struct cJSON *body = NULL;
        uint64_t      before = *count, seen = l->nseen;

        err = get_page(l, ctx, l->next, &body);
        if (!err)
            err = take_page(l, body, count);
        last = l->nseen > seen ? *count - before : 0;
        pm_json_free(body);
    }
    return err;
}

/* Once through the list. *count: how many it had. */
static int pass(struct listing *l, struct pm_ctx *ctx, uint64_t *count)
{
    struct cJSON *body = NULL;
    int           err = get_page(l, ctx, 0, &body);
    bool          told;

    if (err)
        return err;
    l->changed = false;
    l->next = PAGE;
    told = page_total(body, &l->total);
    err = take_page(l, body, count);
    pm_json_free(body);
    if (err || (!told && *count < PAGE))
        return err;
    return told ? get_rest(l, ctx, count) : get_in_order(l, ctx, count);
}

/* A list that has less than it says, and again nothing new, is as whole as it will be. */
static int get_all(struct listing *l, struct pm_ctx *ctx)
{
    unsigned dull = 0;

    for (int i = 0; i < PASSES && dull < 2; i++) {
        uint64_t before = l->nseen, count = 0;
        int      err = pass(l, ctx, &count);

        if (err)
            return err;
        if (!l->changed && l->nseen >= l->total)
            break;
        dull = l->changed || l->nseen > before ? 0 : dull + 1;
    }
    return 0;
}

int pm_sm_list(struct pm_sharemy3d *sm, struct pm_ctx *ctx, enum pm_sm_kind kind, const char *status,
               pm_sm_each_fn *each, void *arg)
{
    struct listing l = {.sm = sm, .kind = kind, .status = status, .prio = ctx->prio, .each = each,
                        .deadline_ms = ctx->deadline_ms, .probe = ctx->probe, .arg = arg};
    int            err;

    pthread_mutex_init(&l.lock, NULL);
    pm_cond_init(&l.moved);
    err = get_all(&l, ctx);
    tdestroy(l.seen, free);
    pthread_cond_destroy(&l.moved);
    pthread_mutex_destroy(&l.lock);
    return err;
}
