/* What came of a POST /projects whose answer was lost? A second one would make a second project, so it is
 * only sent when there certainly was none.
 *
 * The project's slug is usually the session's id, "authoritative; it may differ on a rare collision"
 * (api/360-for-you.txt). Whether the session is still there afterwards is said nowhere, so that tells
 * nothing. Before a POST is written down: the time, whether somebody's project has that slug, and which
 * projects there are, where the service lists them (api/notes.md 5). After it the project is
 *   - the one with the session's id as slug, if none had it before,
 *   - else the one in the list that was not there before and has its title,
 * and there is none if some time later the list has nothing new; or where nothing is listed, if this
 * server was seen to give its projects the session's id as slug, and the slug was free, and still is. */
#include "backends/three_sixty_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SETTLE_MS    10000 /* so long a project may take to be seen */
#define GIVE_UP_MS   120000 /* so long it is asked about where that tells nothing */
#define SLUGS_MAX    (256u << 10) /* bytes of slugs that are kept */
#define SLUG_LEARNT  "360.slug" /* in the account's store: "same", or "other" for good */

struct before {
    int64_t       at_ms; /* wall clock */
    bool          taken; /* a project had the session's id as slug */
    bool          listed; /* `slugs` are those of all projects */
    struct cJSON *obj; /* owned */
};

char *pm_ts_title(const struct pm_draft *d)
{
    struct cJSON *obj = pm_json_parse(d->options, strlen(d->options));
    const char   *title = pm_json_text(obj, "title");
    char         *copy = strdup(title ? title : d->name);

    pm_json_free(obj);
    return copy;
}

void pm_ts_learn_slug(struct pm_three_sixty *ts, bool same)
{
    PM_AUTO(free) char *known = pm_backend_recall(&ts->base, SLUG_LEARNT);

    if (!known || (!same && !strcmp(known, "same")))
        pm_backend_learn(&ts->base, SLUG_LEARNT, same ? "same" : "other");
}

static bool is_slug_known(struct pm_three_sixty *ts)
{
    PM_AUTO(free) char *known = pm_backend_recall(&ts->base, SLUG_LEARNT);

    return known && !strcmp(known, "same");
}

/* --- asking */

/* The project of this slug. -ENOENT: there is none; 0 and *out, which may be NULL (of no interest). */
static int look_at(struct pm_three_sixty *ts, struct pm_ctx *ctx, const char *slug,
                   struct pm_entry **out)
{
    PM_AUTO(free) char *url = pm_ts_url("projects", slug, NULL);
    struct cJSON       *body = NULL;
    int                 err = pm_ts_get(ts, ctx, PM_TS_PROJECT, url, &body);

    if (!err && out)
        err = pm_ts_project(body, out);
    pm_json_free(body);
    return err;
}

/* All projects; -EOPNOTSUPP: the service does not tell, or not this key. *body is owned. */
static int get_list(struct pm_three_sixty *ts, struct pm_ctx *ctx, struct cJSON **body)
{
    int err = ts->unlisted ? -EOPNOTSUPP : pm_ts_get(ts, ctx, PM_TS_PROJECT, "/projects", body);

    if (!err && !pm_ts_projects(*body))
        err = -EOPNOTSUPP;
    if (err == -ENOENT || (err == -EACCES && !pm_backend_doubt(&ts->base, NULL, 0, NULL)))
        err = -EOPNOTSUPP;
    return err;
}

/* --- before */

/* `"slugs":["a","b"]`; *all: each of them is there. */
static void add_slugs(struct pm_buf *text, const struct cJSON *list, bool *all)
{
    char slug[PM_TS_ID_MAX];
    bool first = true;

    *all = true;
    pm_buf_str(text, ",\"slugs\":[");
    for (const struct cJSON *v = pm_json_first(list); v; v = pm_json_next(v)) {
        if (!pm_json_scalar(v, "name", slug, sizeof(slug)) || text->len > SLUGS_MAX) {
            *all = false;
            continue;
        }
        pm_buf_str(text, first ? "" : ",");
        pm_buf_json(text, slug);
        first = false;
    }
    pm_buf_str(text, "]");
}

int pm_ts_look(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_draft *d, char **before)
{
    struct pm_three_sixty        *ts = pm_ts(b);
    PM_AUTO(pm_buf) struct pm_buf text = {0};
    struct cJSON                 *body = NULL;
    char                          id[PM_TS_ID_MAX];
    bool                          all = false;
    int                           taken = -ENOENT;
    int                           err;

    if (d->session && !pm_ts_session_id(d->session, id))
        return -ESTALE;
    if (d->session)
        taken = look_at(ts, ctx, id, NULL);
    if (taken == -EACCES && !pm_backend_doubt(b, NULL, 0, NULL))
        taken = 0; /* it is not for this key to see, or nothing is */
    if (taken && taken != -ENOENT)
        return taken;
    err = get_list(ts, ctx, &body);
    pm_buf_printf(&text, "{\"at\":%" PRId64 ",\"taken\":%s", pm_wall_ms(), taken ? "false" : "true");
    if (!err)
        add_slugs(&text, pm_ts_projects(body), &all);
    pm_buf_printf(&text, ",\"listed\":%s}", all ? "true" : "false");
    pm_json_free(body);
    if (err && err != -EOPNOTSUPP)
        return err;
    *before = pm_buf_take(&text);
    return *before ? 0 : -ENOMEM;
}

/* A text that cannot be read tells nothing. */
static struct before read_before(const char *text)
{
    struct cJSON *obj = pm_json_parse(text, strlen(text));

    return (struct before){.at_ms = pm_json_ms(obj, "at"),
                           .taken = pm_json_bool(obj, "taken", true),
                           .listed = pm_json_bool(obj, "listed", false),
                           .obj = obj};
}

static bool was_there(const struct before *was, const char *slug)
{
    const struct cJSON *slugs = pm_json_get(was->obj, "slugs");

    for (const struct cJSON *v = pm_json_first(slugs); v; v = pm_json_next(v)) {
        const char *known = pm_json_string(v);

        if (known && !strcmp(known, slug))
            return true;
    }
    return false;
}

/* --- after */

struct news {
    unsigned strange; /* projects that were not there before, but for the next */
    unsigned ours; /* with our title */
    char     slug[PM_TS_ID_MAX]; /* of one of these */
};

static void count_news(const struct before *was, const struct cJSON *list, const char *title,
                       struct news *out)
{
    char slug[PM_TS_ID_MAX];

    for (const struct cJSON *v = pm_json_first(list); v; v = pm_json_next(v)) {
        const char *called = pm_json_text(v, "title");

        if (!pm_ts_id(v, "name", slug) || was_there(was, slug))
            continue;
        if (!called || strcmp(called, title) != 0) {
            out->strange++;
            continue;
        }
        out->ours++;
        memcpy(out->slug, slug, sizeof(slug));
    }
}

/* Since just before the POST. A clock that was set back counts as one that went on. */
static int64_t elapsed_ms(const struct before *was)
{
    return llabs(pm_wall_ms() - was->at_ms);
}

/* It is not known yet, or will not be. */
static int cannot_tell(struct pm_ctx *ctx, const struct before *was)
{
    if (elapsed_ms(was) < GIVE_UP_MS) {
        snprintf(ctx->why, sizeof(ctx->why), "whether the service made the project is not known yet");
        return -EAGAIN;
    }
    snprintf(ctx->why, sizeof(ctx->why),
             "may have arrived: look whether the service made the project; if it did not, discard this"
             " and publish again");
    return -EBADMSG;
}

static int find_in_list(struct pm_three_sixty *ts, struct pm_ctx *ctx, const struct pm_draft *d,
                        const struct before *was, struct pm_entry **out)
{
    PM_AUTO(free) char *title = pm_ts_title(d);
    struct cJSON       *body = NULL;
    struct news         news = {0};
    int                 err = title ? get_list(ts, ctx, &body) : -ENOMEM;

    if (!err)
        count_news(was, pm_ts_projects(body), title, &news);
    pm_json_free(body);
    if (err)
        return err;
    if (news.ours == 1) {
        err = look_at(ts, ctx, news.slug, out);
        return err == -ENOENT ? -EAGAIN : err; /* it was there a moment ago */
    }
    return news.ours || news.strange ? -EBADMSG : -ENOENT;
}

static int find(struct pm_three_sixty *ts, struct pm_ctx *ctx, const struct pm_draft *d,
                const struct before *was, struct pm_entry **out)
{
    char id[PM_TS_ID_MAX];
    bool free_slug = d->session && pm_ts_session_id(d->session, id) && !was->taken;
    int  err = free_slug ? look_at(ts, ctx, id, out) : -ENOENT;

    if (err != -ENOENT)
        return err;
    err = was->listed ? find_in_list(ts, ctx, d, was, out) : -EOPNOTSUPP;
    if (err == -EOPNOTSUPP)
        err = free_slug && is_slug_known(ts) ? -ENOENT : -EBADMSG;
    if (err == -EBADMSG)
        return cannot_tell(ctx, was);
    if (err == -ENOENT && elapsed_ms(was) < SETTLE_MS) {
        snprintf(ctx->why, sizeof(ctx->why), "whether the service made the project is not known yet");
        return -EAGAIN;
    }
    return err;
}

int pm_ts_find(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_draft *d, const char *before,
               struct pm_entry **out)
{
    struct before was = read_before(before);
    int           err = find(pm_ts(b), ctx, d, &was, out);

    pm_json_free(was.obj);
    return err;
}
