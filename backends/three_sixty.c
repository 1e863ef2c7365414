/* 360-for-you's projects: listing them and looking at one. */
#include "backends/three_sixty.h"
#include "backends/three_sixty_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MINUTE (60 * 1000)
#define HOUR   (60 * MINUTE)

static const struct pm_rate_rule limits[PM_TS_LIMITS] = {
    [PM_TS_OPEN] = {"sessions opened in an hour", "360.rate.open", 30, HOUR},
    [PM_TS_PUT] = {"chunks sent in a minute", "360.rate.put", 1200, MINUTE},
    [PM_TS_FILE] = {"looks at a sent file in a minute", "360.rate.file", 600, MINUTE},
    [PM_TS_HELD] = {"looks at a session in a minute", "360.rate.held", 120, MINUTE},
    [PM_TS_DROP] = {"sessions given up in a minute", "360.rate.drop", 60, MINUTE},
    [PM_TS_COMMIT] = {"projects made in an hour", "360.rate.commit", 10, HOUR},
    [PM_TS_PROJECT] = {"looks at a project in a minute", "360.rate.project", 60, MINUTE},
};

static int ts_open(const struct pm_account_conf *conf, struct pm_backend **out)
{
    struct pm_three_sixty *ts = calloc(1, sizeof(*ts));

    (void)conf;
    if (!ts)
        return -ENOMEM;
    ts->rate = pm_rate_new(limits, PM_TS_LIMITS);
    if (!ts->rate) {
        free(ts);
        return -ENOMEM;
    }
    pthread_mutex_init(&ts->lock, NULL);
    ts->chunk_kib = 8192;
    *out = &ts->base;
    return 0;
}

static void ts_close(struct pm_backend *b)
{
    struct pm_three_sixty *ts = pm_ts(b);

    pm_ts_forget_held(ts);
    pm_rate_free(ts->rate);
    pthread_mutex_destroy(&ts->lock);
    free(ts->allowed);
    free(ts);
}

/* --- the list, where there is one: the guide does not have it (api/mapping.md, GET /projects) */

struct listing {
    pm_entry_fn *each;
    void        *arg;
    int          err;
};

static int list_elements(const struct cJSON *array, struct listing *l)
{
    int err = 0;

    for (const struct cJSON *v = pm_json_first(array); v && !err; v = pm_json_next(v)) {
        struct pm_entry *e = NULL;

        if (!pm_json_is_object(v) || pm_ts_project(v, &e))
            continue;
        err = l->each(l->arg, e);
        free(e);
    }
    return err;
}

static int ts_list(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *dir,
                   pm_entry_fn *each, void *arg)
{
    struct pm_three_sixty *ts = pm_ts(b);
    struct listing         l = {each, arg, 0};
    struct cJSON          *body = NULL;
    const struct cJSON    *list;
    int                    err;

    if (*dir->path || ts->unlisted)
        return -EOPNOTSUPP; /* no call tells a project's files */
    err = pm_ts_get(ts, ctx, PM_TS_PROJECT, "/projects", &body);
    list = pm_ts_projects(body);
    if (!err && !list)
        err = -EOPNOTSUPP;
    if (err == -ENOENT || err == -EOPNOTSUPP) {
        ts->unlisted = true;
        err = -EOPNOTSUPP;
    }
    if (err == -EACCES && !pm_backend_doubt(b, NULL, 0, NULL))
        err = -EOPNOTSUPP; /* the key is good, and not for this: what was made here is shown */
    if (!err)
        err = list_elements(list, &l);
    pm_json_free(body);
    return err;
}

static int ts_stat(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                   struct pm_entry **out)
{
    PM_AUTO(free) char *url = pm_ts_url("projects", *e->id ? e->id : e->name, NULL);
    struct cJSON       *body = NULL;
    int                 err;

    if (e->kind != PM_FOLDER)
        return -EOPNOTSUPP;
    err = pm_ts_get(pm_ts(b), ctx, PM_TS_PROJECT, url, &body);
    if (!err)
        err = pm_ts_project(body, out);
    pm_json_free(body);
    return err;
}

static void ts_limits(struct pm_backend *b, pm_limit_fn *each, void *arg)
{
    pm_rate_each(pm_ts(b)->rate, b, each, arg);
}

const struct pm_backend_ops pm_three_sixty_ops = {
    .type = "360",
    .secret = "token",
    .endpoint = "https://360-for-you.com/api/v1",
    .caps = PM_CAP_FIND,
    .open = ts_open,
    .close = ts_close,
    .list = ts_list,
    .stat = ts_stat,
    .begin = pm_ts_begin,
    .resume = pm_ts_resume,
    .put = pm_ts_put,
    .finish = pm_ts_finish,
    .abort = pm_ts_abort,
    .draft = &pm_ts_draft_ops,
    .limits = ts_limits,
};
