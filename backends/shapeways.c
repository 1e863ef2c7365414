/* Shapeways: models with their versions, and the print shop (api/shapeways.txt, api/notes.md 1).
 *
 *   models/ID/             the current file under its own name, info.json, versions/N/ with its file
 *   by-title/TITLE         link to models/ID
 *   materials/ID.json      likewise printers/, categories/
 *   account.json cart.json
 *
 * There are 150 calls in five minutes. So a model's name and size are asked for when its folder is opened
 * and never in a walk, one call tells all of a folder of the shop, and what was listed is kept to be read. */
#include "backends/shapeways.h"
#include "backends/shapeways_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PAGE_AGE_MS 60000 /* how old a document of the root may be that is listed */
#define READ_AGE_MS 600000 /* how long a text that was listed is kept to be read */

static const struct pm_rate_rule limits[] = {{"calls in 5 minutes", "shapeways.calls", 150, 300 * 1000}};

/* With OAuth 2 the application is the account; with OAuth 1 it acts for one. */
static const char *const *sw_parts(const struct pm_account_conf *conf)
{
    static const char *const both[] = {"consumer_key", "consumer_secret", "access_token", "access_secret",
                                       NULL};
    static const char *const own[] = {"consumer_key", "consumer_secret", NULL};

    return conf->auth && !strcmp(conf->auth, "oauth2") ? own : both;
}

static int sw_open(const struct pm_account_conf *conf, struct pm_backend **out)
{
    struct pm_shapeways *sw = calloc(1, sizeof(*sw));

    (void)conf;
    if (!sw)
        return -ENOMEM;
    sw->rate = pm_rate_new(limits, PM_COUNT(limits));
    if (!sw->rate) {
        free(sw);
        return -ENOMEM;
    }
    sw->opened_ms = pm_wall_ms();
    pthread_mutex_init(&sw->lock, NULL);
    pm_cond_init(&sw->got);
    *out = &sw->base;
    return 0;
}

static void sw_close(struct pm_backend *b)
{
    struct pm_shapeways *sw = pm_sw(b);

    pm_sw_forget_texts(sw);
    pm_secret_free(sw->token);
    pm_rate_free(sw->rate);
    pthread_cond_destroy(&sw->got);
    pthread_mutex_destroy(&sw->lock);
    free(sw);
}

static void sw_limits(struct pm_backend *b, pm_limit_fn *each, void *arg)
{
    pm_rate_each(pm_sw(b)->rate, b, each, arg);
}

/* --- where an entry is in the tree: by its id, or of folders that only the drive has by their path */

enum place {
    ROOT,
    MODELS, /* models/ */
    MODEL, /* models/ID/ */
    CURRENT, /* its file */
    INFO, /* its info.json */
    VERSIONS, /* models/ID/versions/ */
    VERSION, /* models/ID/versions/N/ */
    OLD, /* its file */
    TITLES, /* by-title/ */
    LINK,
    SHOP, /* materials/, … */
    ITEM, /* materials/ID.json, … */
    PAGE, /* account.json, … */
    NOWHERE,
};

struct where {
    enum place place;
    char       id[PM_SW_ID_MAX];
    unsigned   version; /* VERSION, OLD */
    int        which; /* enum pm_sw_shop, enum pm_sw_page */
};

static bool take_id(const char *from, size_t len, struct where *w)
{
    if (len >= sizeof(w->id))
        return false;
    memcpy(w->id, from, len);
    w->id[len] = '\0';
    return pm_sw_is_id(w->id);
}

/* "v/N", "v/N/file". */
static enum place version_place(const char *rest, struct where *w)
{
    size_t digits = strspn(rest, "0123456789");

    if (!digits || digits > 4)
        return NOWHERE;
    w->version = (unsigned)strtoul(rest, NULL, 10);
    rest += digits;
    return !*rest ? VERSION : !strcmp(rest, "/file") ? OLD : NOWHERE;
}

static enum place place_by_id(const char *id, struct where *w)
{
    size_t      len = strcspn(id, "/@");
    const char *rest = id + len;

    for (int i = 0; i < PM_SW_PAGES; i++)
        if (!strcmp(id, pm_sw_pages[i])) {
            w->which = i;
            return PAGE;
        }
    for (int i = 0; i < PM_SW_SHOPS; i++)
        if (len == strlen(pm_sw_shops[i]) && !strncmp(id, pm_sw_shops[i], len)) {
            w->which = i;
            return *rest == '/' && take_id(rest + 1, strlen(rest + 1), w) ? ITEM : NOWHERE;
        }
    if (!take_id(id, len, w))
        return NOWHERE;
    if (!strncmp(rest, "/v/", 3))
        return version_place(rest + 3, w);
    return !*rest                    ? MODEL
           : !strcmp(rest, "@title")    ? LINK
           : !strcmp(rest, "/file")     ? CURRENT
           : !strcmp(rest, "/info")     ? INFO
           : !strcmp(rest, "/versions") ? VERSIONS
                                        : NOWHERE;
}

static enum place place_by_path(const char *path, struct where *w)
{
    if (!*path)
        return ROOT;
    if (!strcmp(path, "models"))
        return MODELS;
    if (!strcmp(path, "by-title"))
        return TITLES;
    for (int i = 0; i < PM_SW_SHOPS; i++)
        if (!strcmp(path, pm_sw_shops[i])) {
            w->which = i;
            return SHOP;
        }
    return NOWHERE;
}

static struct where find_place(const struct pm_entry *e)
{
    struct where w = {.place = NOWHERE};

    w.place = *e->id ? place_by_id(e->id, &w) : place_by_path(e->path, &w);
    return w;
}

/* --- lists */

struct listing {
    pm_entry_fn *each;
    void        *arg;
};

static int on_model(void *arg, const struct cJSON *obj, const char *id)
{
    struct listing *l = arg;

    return pm_sw_give_model(obj, id, l->each, l->arg);
}

static int on_title(void *arg, const struct cJSON *obj, const char *id)
{
    struct listing *l = arg;

    return pm_sw_give_link(obj, id, l->each, l->arg);
}

static int give_fixed(struct pm_shapeways *sw, const char *name, pm_entry_fn *each, void *arg)
{
    const struct pm_entry e = {.kind = PM_FOLDER, .root = "", .id = "", .name = name, .path = name,
                               .target = "", .version = "", .state = "", .size = PM_SIZE_UNKNOWN,
                               .mtime_ms = sw->opened_ms, .btime_ms = sw->opened_ms};

    return each(arg, &e);
}

/* A document that cannot be had now does not hide the rest, unless nothing can be had. */
static int list_root(struct pm_shapeways *sw, struct pm_ctx *ctx, pm_entry_fn *each, void *arg)
{
    static const char *const folders[] = {"models", "by-title"};
    int                      err = 0;

    for (int i = 0; i < PM_SW_PAGES && !err; i++) {
        err = pm_sw_give_page(sw, ctx, (enum pm_sw_page)i, PAGE_AGE_MS, each, arg);
        if (err == -EINVAL || err == -EIO || err == -ENOENT || err == -EOPNOTSUPP || err == -EBUSY)
            err = 0;
    }
    for (size_t i = 0; i < PM_COUNT(folders) && !err; i++)
        err = give_fixed(sw, folders[i], each, arg);
    for (int i = 0; i < PM_SW_SHOPS && !err; i++)
        err = give_fixed(sw, pm_sw_shops[i], each, arg);
    return err;
}

static int list_model(struct pm_shapeways *sw, struct pm_ctx *ctx, const struct where *w,
                      pm_entry_fn *each, void *arg)
{
    struct cJSON *obj = NULL;
    int           err = pm_sw_get_model(sw, ctx, w->id, "", &obj);

    if (!err)
        err = pm_sw_give_inside(sw, obj, w->id, each, arg);
    pm_json_free(obj);
    return err;
}

/* The current version of a model, as it was listed or is now. */
static int version_of(struct pm_shapeways *sw, struct pm_ctx *ctx, const struct pm_entry *e,
                      const struct where *w, unsigned *version)
{
    struct cJSON *obj = e->fields ? pm_json_parse(e->fields, strlen(e->fields)) : NULL;
    int           err = 0;

    if (!pm_sw_version(obj, version)) {
        pm_json_free(obj);
        obj = NULL;
        err = pm_sw_get_model(sw, ctx, w->id, "", &obj);
        if (!err && !pm_sw_version(obj, version)) {
            snprintf(ctx->why, sizeof(ctx->why), "the service does not tell the model's version");
            err = -EIO;
        }
    }
    pm_json_free(obj);
    return err;
}

static int list_versions(struct pm_shapeways *sw, struct pm_ctx *ctx, const struct pm_entry *dir,
                         const struct where *w, pm_entry_fn *each, void *arg)
{
    unsigned version = 0;
    int      err = version_of(sw, ctx, dir, w, &version);

    return err ? err : pm_sw_give_versions(sw, version, w->id, each, arg);
}

/* An answer for a version is no proof that there is one (api/notes.md 1.2); the list of versions is. */
static int get_version(struct pm_shapeways *sw, struct pm_ctx *ctx, const struct where *w,
                       pm_entry_fn *each, void *arg)
{
    char          tail[24];
    struct cJSON *obj = NULL;
    int           err;

    snprintf(tail, sizeof(tail), "files/%u/", w->version);
    err = pm_sw_get_model(sw, ctx, w->id, tail, &obj);
    if (!err)
        err = pm_sw_give_file(obj, w->id, (int)w->version, each, arg);
    pm_json_free(obj);
    return err;
}

static int sw_list(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *dir,
                   pm_entry_fn *each, void *arg)
{
    struct pm_shapeways *sw = pm_sw(b);
    struct where         w = find_place(dir);
    struct listing       l = {each, arg};

    switch (w.place) {
    case ROOT: /* whose account it is, is told by the models in it */
        return ctx->probe ? pm_sw_models(sw, ctx, on_model, &l) : list_root(sw, ctx, each, arg);
    case MODELS: return pm_sw_models(sw, ctx, on_model, &l);
    case TITLES: return pm_sw_models(sw, ctx, on_title, &l);
    case MODEL: return list_model(sw, ctx, &w, each, arg);
    case VERSIONS: return list_versions(sw, ctx, dir, &w, each, arg);
    case VERSION: return get_version(sw, ctx, &w, each, arg);
    case SHOP: return pm_sw_list_shop(sw, ctx, (enum pm_sw_shop)w.which, NULL, each, arg);
    default: return -ENOENT;
    }
}

/* --- one entry */

static int keep_entry(void *arg, const struct pm_entry *e)
{
    struct pm_entry **out = arg;

    if (*out)
        return 0;
    *out = pm_entry_dup(e);
    return *out ? 0 : -ENOMEM;
}

/* A model's folder, or one of the things in it that its own answer tells. */
static int stat_model(struct pm_shapeways *sw, struct pm_ctx *ctx, const struct where *w,
                      struct pm_entry **out)
{
    struct cJSON *obj = NULL;
    unsigned      version = 0;
    int           err = pm_sw_get_model(sw, ctx, w->id, "", &obj);

    if (!err && w->place == MODEL)
        err = pm_sw_give_model(obj, w->id, keep_entry, out);
    else if (!err && w->place == CURRENT)
        err = pm_sw_give_file(obj, w->id, -1, keep_entry, out);
    else if (!err && w->place == INFO)
        err = pm_sw_give_info(sw, obj, w->id, keep_entry, out);
    else if (!err && w->place == VERSIONS)
        err = pm_sw_give_versions_folder(sw, obj, w->id, keep_entry, out);
    else if (!err && pm_sw_version(obj, &version) && w->version <= version)
        err = pm_sw_give_version(sw, w->version, w->id, keep_entry, out);
    pm_json_free(obj);
    return err || *out ? err : -ENOENT;
}

static int sw_stat(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                   struct pm_entry **out)
{
    struct pm_shapeways *sw = pm_sw(b);
    struct where         w = find_place(e);
    int                  err;

    *out = NULL;
    switch (w.place) {
    case ROOT: case MODELS: case TITLES: case SHOP: case LINK:
        return keep_entry(out, e); /* what only the drive has */
    case MODEL: case CURRENT: case INFO: case VERSIONS: case VERSION:
        return stat_model(sw, ctx, &w, out);
    case OLD: err = get_version(sw, ctx, &w, keep_entry, out); break;
    case ITEM: err = pm_sw_list_shop(sw, ctx, (enum pm_sw_shop)w.which, w.id, keep_entry, out); break;
    case PAGE: err = pm_sw_give_page(sw, ctx, (enum pm_sw_page)w.which, 0, keep_entry, out); break;
    default: err = -ENOENT; break;
    }
    return err || *out ? err : -EIO;
}

/* --- content */

/* What the service says of a document now: its entry is made, and its text kept by the way. */
static int renew_text(struct pm_shapeways *sw, struct pm_ctx *ctx, const struct pm_entry *e,
                      const char *path, char **text)
{
    PM_AUTO(free) struct pm_entry *now = NULL;
    int                            err = sw_stat(&sw->base, ctx, e, &now);

    if (err)
        return err;
    *text = pm_sw_recall(sw, path, READ_AGE_MS);
    return *text ? 0 : -ENOMEM;
}

static char *item_text(const char *fields)
{
    struct cJSON *obj = fields ? pm_json_parse(fields, strlen(fields)) : NULL;
    char         *text = pm_json_is_object(obj) ? pm_sw_text_of(obj) : NULL;

    pm_json_free(obj);
    return text;
}

static bool is_version(const char *text, const char *version)
{
    char hash[65];

    pm_digest_sha256_hex(text, strlen(text), hash);
    return !strcmp(hash, version);
}

/* The text of this version of a document, owned. -ESTALE: the service has another one now. */
static int document_text(struct pm_shapeways *sw, struct pm_ctx *ctx, const struct pm_entry *e,
                         const struct where *w, char **out)
{
    PM_AUTO(free) char *path = w->place == PAGE   ? strdup(pm_sw_pages[w->which])
                               : w->place == INFO ? pm_asprintf("models/%s/info.json", w->id)
                                                  : pm_asprintf("%s/%s.json", pm_sw_shops[w->which], w->id);
    char               *text = NULL;
    int                 err = path ? 0 : -ENOMEM;

    if (!err)
        text = w->place == ITEM ? item_text(e->fields) : pm_sw_recall(sw, path, READ_AGE_MS);
    if (!err && (!text || !is_version(text, e->version))) {
        free(text);
        text = NULL;
        err = renew_text(sw, ctx, e, path, &text);
    }
    if (!err && !is_version(text, e->version)) {
        snprintf(ctx->why, sizeof(ctx->why), "the service has another one now");
        free(text);
        return -ESTALE;
    }
    *out = text;
    return err;
}

static int fetch_document(struct pm_shapeways *sw, struct pm_ctx *ctx, const struct pm_entry *e,
                          const struct where *w, uint64_t off, uint64_t len, const struct pm_sink *sink,
                          void *arg)
{
    PM_AUTO(free) char *text = NULL;
    struct pm_answer    answer = {.off = off, .validator = e->version};
    int                 err = document_text(sw, ctx, e, w, &text);

    if (err)
        return err;
    answer.total = strlen(text);
    if (off >= answer.total)
        return -ESTALE;
    if (len > answer.total - off)
        len = answer.total - off;
    err = sink->begin(arg, &answer);
    return err < 0 ? err : sink->data(arg, text + off, (size_t)len);
}

/* The version is part of what a file's entry was listed with. */
static int sw_fetch(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e, uint64_t off,
                    uint64_t len, const struct pm_sink *sink, void *arg)
{
    struct pm_shapeways *sw = pm_sw(b);
    struct where         w = find_place(e);

    switch (w.place) {
    case INFO: case ITEM: case PAGE: return fetch_document(sw, ctx, e, &w, off, len, sink, arg);
    case OLD: return pm_sw_fetch_file(sw, ctx, e, w.id, w.version, sink, arg);
    case CURRENT:
        return pm_sw_fetch_file(sw, ctx, e, w.id, (unsigned)strtoul(e->version, NULL, 10), sink, arg);
    default: return -ENOENT;
    }
}

static int sw_field(struct pm_backend *b, const struct pm_entry *e, const char *name, char *out,
                    size_t size)
{
    (void)b;
    return pm_json_word(e->fields, name, out, size);
}

const struct pm_backend_ops pm_shapeways_ops = {
    .type = "shapeways",
    .secret = "keys",
    .parts = sw_parts,
    .endpoint = "https://api.shapeways.com",
    .caps = PM_CAP_LIST_COSTS_OBJECT,
    .open = sw_open,
    .close = sw_close,
    .list = sw_list,
    .stat = sw_stat,
    .fetch = sw_fetch,
    .field = sw_field,
    .login = pm_sw_login,
    .limits = sw_limits,
};
