/* The list of models: pages of 36, in no order that is told, and without a total. A page is the last if it
 * is empty, or has nothing new, or fewer than one that was full; what a first page of fewer than 36 says of
 * their size cannot be known, so that the next is asked for. */
#include "backends/shapeways_impl.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <string.h>

#define PAGE      36
#define PAGES_MAX 30000

struct listing {
    struct pm_shapeways *sw;
    void                *seen; /* tsearch of ids, owned */
    pm_sw_each_fn       *each;
    void                *arg;
    unsigned             count; /* of the page */
    unsigned             fresh; /* of these, not seen before */
};

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
    return *found == copy;
}

static int take_model(struct listing *l, const struct cJSON *v)
{
    char id[PM_SW_ID_MAX];
    int  err;

    l->count++;
    if (!pm_json_scalar(v, "modelId", id, sizeof(id)) || !pm_sw_is_id(id)) {
        pm_log(PM_WARN, "%s: one of the models has no id that can be used", l->sw->base.conf->name);
        return 0;
    }
    err = note_seen(l, id);
    if (err <= 0)
        return err;
    l->fresh++;
    return l->each(l->arg, v, id);
}

/* An empty list is null, [] or {} (api/notes.md 0.4). */
static int take_page(struct listing *l, struct pm_ctx *ctx, unsigned page)
{
    PM_AUTO(free) char *path = pm_asprintf("/models/v1?page=%u", page);
    struct cJSON       *json = NULL;
    int                 err = pm_sw_get(l->sw, ctx, path, &json);

    l->count = l->fresh = 0;
    for (const struct cJSON *v = pm_json_first(pm_json_get(json, "models")); v && err >= 0;
         v = pm_json_next(v))
        err = take_model(l, v);
    pm_json_free(json);
    return err < 0 ? err : 0;
}

int pm_sw_models(struct pm_shapeways *sw, struct pm_ctx *ctx, pm_sw_each_fn *each, void *arg)
{
    struct listing l = {.sw = sw, .each = each, .arg = arg};
    int            err = 0;

    for (unsigned page = 1; !err && page <= PAGES_MAX; page++) {
        err = take_page(&l, ctx, page);
        if (l.count == PAGE)
            sw->paged = true;
        if (!l.fresh || (l.count < PAGE && sw->paged))
            break;
    }
    tdestroy(l.seen, free);
    return err;
}

struct search {
    const char *id;
    bool        found;
};

static int look_at(void *arg, const struct cJSON *obj, const char *id)
{
    struct search *s = arg;

    (void)obj;
    s->found = !strcmp(s->id, id);
    return s->found ? -EALREADY : 0;
}

int pm_sw_is_listed(struct pm_shapeways *sw, struct pm_ctx *ctx, const char *id)
{
    struct search s = {.id = id};
    int           err = pm_sw_models(sw, ctx, look_at, &s);

    return s.found ? 1 : err;
}
