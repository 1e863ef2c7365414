/* SmartShape: a private tree of folders and files (api/smartshape.txt, api/notes.md 4).
 *
 * Objects have ids; the tree's calls (list, mkdir, upload, download, delete) take paths, details
 * and copy take ids. Changing an object's content keeps its id. */
#include "backends/smartshape.h"
#include "backends/bearer.h"
#include "backends/smartshape_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define REVISION " r:" /* in a version: what follows is the revision */

/* --- life */

static int ss_open(const struct pm_account_conf *conf, struct pm_backend **out)
{
    struct pm_smartshape *ss = calloc(1, sizeof(*ss));

    if (!ss)
        return -ENOMEM;
    ss->conf = conf;
    pthread_mutex_init(&ss->lock, NULL);
    *out = &ss->base;
    return 0;
}

static void ss_close(struct pm_backend *b)
{
    struct pm_smartshape *ss = pm_ss(b);

    free(ss->shared);
    pthread_mutex_destroy(&ss->lock);
    free(ss);
}

/* --- paths */

char *pm_ss_child(const struct pm_entry *parent, const char *name)
{
    struct pm_buf path = {0};

    pm_buf_str(&path, parent->path);
    if (*parent->path)
        pm_buf_str(&path, "/");
    pm_buf_urlenc(&path, name);
    return pm_buf_take(&path);
}

int pm_ss_check_path(struct pm_ctx *ctx, const char *path)
{
    const char *part = path;
    size_t      len;

    for (; *part; part += len + (part[len] == '/')) {
        len = strcspn(part, "/");
        if (len == 0 || (len == 1 && part[0] == '.') || (len == 2 && !strncmp(part, "..", 2)))
            break;
    }
    if (!*part && (part == path || part[-1] != '/') && !strcasestr(path, "%2F") &&
        !strcasestr(path, "%00"))
        return 0;
    snprintf(ctx->why, sizeof(ctx->why), "the service could take this name for another one");
    return -EINVAL;
}

/* "/a b/c" as the service says it, to "a%20b/c". Owned. */
static char *encode_path(const char *raw)
{
    PM_AUTO(free) char *copy = strdup(raw);
    struct pm_buf       path = {0};
    char               *save = NULL;

    if (!copy)
        return NULL;
    for (char *part = strtok_r(copy, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
        if (path.len)
            pm_buf_str(&path, "/");
        pm_buf_urlenc(&path, part);
    }
    return pm_buf_take(&path);
}

/* --- entries */

const struct cJSON *pm_ss_object(const struct cJSON *answer)
{
    const struct cJSON *data = pm_json_get(answer, "data");

    return pm_json_is_object(data) ? data : answer;
}

/* Size and time of change, and the revision where this answer has one (design.md section 6): lists
 * and details need not agree in giving it. */
static void make_version(const struct cJSON *obj, char *out, size_t size)
{
    char     word[100];
    uint64_t bytes = 0;
    int      n;

    pm_json_u64(obj, "size", &bytes);
    n = snprintf(out, size, "u:%" PRIu64 ":%" PRId64, bytes, pm_json_ms(obj, "updated"));
    if (pm_json_scalar(obj, "revisionDate", word, sizeof(word)) && *word)
        snprintf(out + n, size - (size_t)n, REVISION "%s", word);
}

/* Revisions decide where both have one: conversion moves `updated` of the same content. */
static bool same_version(const char *a, const char *b)
{
    const char *ra = strstr(a, REVISION), *rb = strstr(b, REVISION);
    size_t      len = ra ? (size_t)(ra - a) : strlen(a);

    if (ra && rb)
        return !strcmp(ra, rb);
    return len == (rb ? (size_t)(rb - b) : strlen(b)) && !strncmp(a, b, len);
}

bool pm_ss_same_version(const struct cJSON *obj, const char *version)
{
    char now[160];

    make_version(obj, now, sizeof(now));
    return same_version(now, version);
}

static const char *last_part(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;

    return slash ? slash + 1 : path;
}

static bool is_settling(const char *state)
{
    return !strcmp(state, "queued") || !strcmp(state, "converting") || !strcmp(state, "copying");
}

/* The path of a list's element without a name: see on_element(). */
static bool is_nameless(const char *path)
{
    return path && *path && path[strlen(path) - 1] == '/';
}

/* Where the object says that it is; NULL: it does not. */
static const char *told_path(const struct cJSON *obj)
{
    const char *told = pm_json_text(obj, "path");

    return told ? told : pm_json_text(obj, "key");
}

/* "": it has none. */
static const char *name_of(const struct cJSON *obj)
{
    const char *name = pm_json_text(obj, "name");

    if (!name || !*name)
        name = last_part(told_path(obj));
    return name ? name : "";
}

int pm_ss_entry(const struct cJSON *obj, const char *path, struct pm_entry **out)
{
    PM_AUTO(free) char *own_path = NULL;
    char                id[PM_SS_ID_MAX] = "", version[160] = "", state[64] = "";
    struct pm_entry     e = {.root = "", .target = "", .size = PM_SIZE_UNKNOWN};
    const char         *type = pm_json_text(obj, "type"), *told = told_path(obj);

    e.name = name_of(obj);
    if (!*e.name && !is_nameless(path))
        return -EIO;
    if (!path && told)
        path = own_path = encode_path(told);
    e.path = path ? path : "";
    pm_json_id(obj, id, sizeof(id));
    pm_json_scalar(obj, "state", state, sizeof(state));
    e.id = id;
    e.state = state;
    e.kind = type && !strcmp(type, "dir") ? PM_FOLDER : PM_FILE;
    if (e.kind == PM_FILE) {
        pm_json_u64(obj, "size", &e.size);
        make_version(obj, version, sizeof(version));
        e.settling = is_settling(state);
    }
    e.version = version;
    e.mtime_ms = pm_json_ms(obj, "updated");
    e.btime_ms = pm_json_ms(obj, "created");
    *out = pm_entry_dup(&e);
    return *out ? 0 : -ENOMEM;
}

/* --- list */

struct listing {
    const struct pm_entry *dir;
    pm_entry_fn           *each;
    void                  *arg;
};

static int on_element(void *arg, const char *text, size_t len)
{
    struct listing *l = arg;
    struct cJSON   *obj = pm_json_parse(text, len);
    const char     *name = name_of(obj);
    char           *path = NULL;
    struct pm_entry *e = NULL;
    int             err = pm_json_is_object(obj) ? 0 : -EIO;

    if (!err) { /* one without a name is shown, but pm_ss_check_path() refuses its path */
        path = *name ? pm_ss_child(l->dir, name) : pm_asprintf("%s/", l->dir->path);
        err = path ? pm_ss_entry(obj, path, &e) : -ENOMEM;
    }
    if (e)
        err = l->each(l->arg, e);
    free(e);
    free(path);
    pm_json_free(obj);
    return err < 0 ? err : 0;
}

static int on_list_data(void *arg, const void *buf, size_t len)
{
    return pm_json_cut_feed(arg, buf, len);
}

/* A 200 that is no whole list: {"success":false,…}, or cut, or no JSON. */
static int check_list_end(struct pm_ctx *ctx, const struct pm_json_cut *cut)
{
    struct cJSON *rest;
    bool          success;

    rest = pm_json_cut_rest(cut);
    success = pm_json_bool(rest, "success", true);
    pm_json_free(rest);
    if (success && pm_json_cut_whole(cut))
        return 0;
    snprintf(ctx->why, sizeof(ctx->why), "the list is broken");
    return -EIO;
}

int pm_ss_elements(struct pm_smartshape *ss, struct pm_ctx *ctx, const char *url,
                   pm_json_each_fn *each, void *arg)
{
    PM_AUTO(pm_http_answer) struct pm_http_answer answer = {0};
    struct pm_json_cut    *cut = pm_json_cut_new(NULL, each, arg);
    struct pm_http_request req = {
        .method = "GET", .url = url, .limit = UINT64_MAX, .data = on_list_data, .arg = cut};
    int err;

    if (!cut)
        return -ENOMEM;
    err = pm_ss_call(ss, ctx, &req, &answer);
    if (!err)
        err = check_list_end(ctx, cut);
    pm_json_cut_free(cut);
    return err;
}

static int ss_list(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *dir,
                   pm_entry_fn *each, void *arg)
{
    PM_AUTO(free) char *url = NULL;
    struct listing      l = {.dir = dir, .each = each, .arg = arg};
    int                 err = pm_ss_check_path(ctx, dir->path);

    if (err)
        return err;
    url = pm_asprintf("/file/dir/private/%s", dir->path);
    err = url ? pm_ss_elements(pm_ss(b), ctx, url, on_element, &l) : -ENOMEM;
    if (!err && !*dir->path && !ctx->probe)
        pm_ss_shares_with_list(pm_ss(b), ctx);
    return err;
}

/* --- stat */

int pm_ss_details(struct pm_smartshape *ss, struct pm_ctx *ctx, const char *id, struct cJSON **out)
{
    struct pm_buf          url = {0};
    struct pm_http_request req = {.method = "GET"};
    struct cJSON          *body = NULL;
    int                    err;

    pm_buf_str(&url, "/file/");
    pm_buf_urlenc(&url, id);
    if (url.failed)
        err = -ENOMEM;
    else {
        req.url = url.ptr;
        err = pm_ss_json(ss, ctx, &req, &body);
    }
    pm_buf_free(&url);
    if (!err && !pm_json_is_object(pm_ss_object(body))) {
        snprintf(ctx->why, sizeof(ctx->why), "the details are no object");
        pm_json_free(body);
        err = -EIO;
    }
    if (!err)
        *out = body;
    return err;
}

struct search {
    const char       *name;
    struct pm_entry **out;
};

static int on_candidate(void *arg, const struct pm_entry *e)
{
    struct search *s = arg;

    if (strcmp(e->name, s->name) != 0 || *s->out)
        return 0;
    *s->out = pm_entry_dup(e);
    return *s->out ? 0 : -ENOMEM;
}

int pm_ss_find(struct pm_smartshape *ss, struct pm_ctx *ctx, const struct pm_entry *dir,
               const char *name, struct pm_entry **out)
{
    struct pm_entry *found = NULL;
    struct search    s = {.name = name, .out = &found};
    int              err = ss_list(&ss->base, ctx, dir, on_candidate, &s);

    if (err) {
        free(found);
        return err;
    }
    *out = found;
    return 0;
}

static int stop_list(void *arg, const struct pm_entry *e)
{
    (void)e;
    *(bool *)arg = true;
    return -ECANCELED;
}

/* The root has no object: it is there if its list begins. */
static int stat_root(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *root,
                     struct pm_entry **out)
{
    bool stopped = false;
    int  err = ss_list(b, ctx, root, stop_list, &stopped);

    if (err && !stopped)
        return err;
    *out = pm_entry_dup(root);
    return *out ? 0 : -ENOMEM;
}

/* By path, where no id is known. */
static int stat_by_name(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                        struct pm_entry **out)
{
    PM_AUTO(free) char *parent = strdup(e->path);
    struct pm_entry     dir = *e, *found = NULL;
    char               *slash;
    int                 err;

    if (!parent)
        return -ENOMEM;
    slash = strrchr(parent, '/');
    *(slash ? slash : parent) = '\0';
    dir.kind = PM_FOLDER;
    dir.path = parent;
    err = pm_ss_find(pm_ss(b), ctx, &dir, e->name, &found);
    if (!err && found)
        *out = found;
    return err || found ? err : -ENOENT;
}

static int ss_stat(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                   struct pm_entry **out)
{
    struct cJSON       *body = NULL;
    const struct cJSON *obj;
    int                 err;

    if (!*e->path)
        return stat_root(b, ctx, e, out);
    if (!*e->name) {
        snprintf(ctx->why, sizeof(ctx->why), "the service has no name for it");
        return -EINVAL;
    }
    if (!*e->id)
        return stat_by_name(b, ctx, e, out);
    err = pm_ss_details(pm_ss(b), ctx, e->id, &body);
    if (err)
        return err;
    obj = pm_ss_object(body);
    err = pm_ss_entry(obj, pm_json_text(obj, "path") ? NULL : e->path, out);
    if (err == -EIO)
        snprintf(ctx->why, sizeof(ctx->why), "the details lack a name");
    pm_json_free(body);
    return err;
}

/* --- locate */

static int ss_locate(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                     struct pm_location *loc)
{
    struct pm_smartshape *ss = pm_ss(b);
    char                 *refused = loc->auth;
    unsigned              generation = 0;
    int                   err = pm_ss_check_path(ctx, e->path);

    loc->auth = NULL;
    if (!err)
        err = pm_bearer_auth(&ss->base, ctx, 0, &loc->auth, &generation);
    if (!err && refused && !strcmp(refused, loc->auth)) { /* nobody renewed it meanwhile */
        pm_secret_free(loc->auth);
        loc->auth = NULL;
        err = pm_bearer_auth(&ss->base, ctx, generation, &loc->auth, &generation);
    }
    pm_secret_free(refused);
    if (err)
        return err;
    loc->url = pm_asprintf("%s/file/download/private/%s", ss->conf->endpoint, e->path);
    loc->auth_origin = strdup(ss->conf->endpoint);
    return loc->url && loc->auth_origin ? 0 : -ENOMEM;
}

/* --- changes */

static int ss_mkdir(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *parent,
                    const char *name, struct pm_entry **out)
{
    PM_AUTO(free) char    *path = pm_ss_child(parent, name);
    PM_AUTO(free) char    *url = path ? pm_asprintf("/file/dir/private/%s", path) : NULL;
    struct pm_http_request req = {.method = "POST", .url = url, .once = true};
    struct cJSON          *body = NULL;
    struct pm_entry       *e = NULL;
    int                    err;

    if (!url)
        return -ENOMEM;
    err = pm_ss_check_path(ctx, path);
    if (!err)
        err = pm_ss_json(pm_ss(b), ctx, &req, &body);
    if (err)
        return err;
    err = pm_ss_entry(pm_ss_object(body), path, &e);
    pm_json_free(body);
    if (!err && strcmp(e->name, name) != 0) {
        snprintf(ctx->why, sizeof(ctx->why), "the service named it %.200s", e->name);
        free(e);
        err = -EIO;
    } else if (!err) {
        *out = e;
    }
    return err;
}

int pm_ss_delete(struct pm_smartshape *ss, struct pm_ctx *ctx, const char *path)
{
    PM_AUTO(free) char    *url = pm_asprintf("/file/delete/%s", path);
    struct pm_http_request req = {.method = "DELETE", .url = url};
    struct cJSON          *body = NULL;
    int                    err = url ? pm_ss_check_path(ctx, path) : -ENOMEM;

    if (!err && !*path)
        err = -EBUSY;
    if (!err)
        err = pm_ss_json(ss, ctx, &req, &body);
    pm_json_free(body);
    return err;
}

static int ss_remove(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e)
{
    return pm_ss_delete(pm_ss(b), ctx, e->path);
}

/* The id of a new copy to its entry; a copy is there at once, if only "queued". */
static int entry_of_copy(struct pm_smartshape *ss, struct pm_ctx *ctx, const char *id,
                         const char *path, struct pm_entry **out)
{
    struct cJSON *body = NULL;
    int           err = pm_ss_details(ss, ctx, id, &body);

    if (!err)
        err = pm_ss_entry(pm_ss_object(body), path, out);
    pm_json_free(body);
    return err ? -EAGAIN : 0;
}

static int ss_copy(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *src,
                   const struct pm_entry *parent, const char *name, struct pm_entry **out)
{
    static const char *const  headers[] = {"Content-Type: application/json", NULL};
    PM_AUTO(free) char       *path = pm_ss_child(parent, name);
    PM_AUTO(free) char       *raw = path ? pm_urldec(path) : NULL;
    PM_AUTO(pm_buf) struct pm_buf url = {0}, body = {0};
    struct pm_http_request    req = {.method = "POST", .headers = headers, .once = true};
    struct cJSON             *answer = NULL;
    char                      id[PM_SS_ID_MAX];
    int                       err = raw ? pm_ss_check_path(ctx, path) : -ENOMEM;

    if (!err && (!pm_utf8_valid(raw) || !*src->id))
        err = -EINVAL; /* JSON cannot say it */
    if (err)
        return err;
    pm_buf_str(&url, "/file/copy/");
    pm_buf_urlenc(&url, src->id);
    pm_buf_str(&body, "{\"destination\":");
    PM_AUTO(free) char *full = pm_asprintf("/%s", raw);
    pm_buf_json(&body, full ? full : "");
    pm_buf_str(&body, "}");
    if (url.failed || body.failed || !full)
        return -ENOMEM;
    req.url = url.ptr;
    req.body = body.ptr;
    err = pm_ss_json(pm_ss(b), ctx, &req, &answer);
    if (err)
        return err;
    err = pm_json_scalar(pm_ss_object(answer), "fileId", id, sizeof(id)) ? 0 : -EAGAIN;
    pm_json_free(answer);
    return err ? err : entry_of_copy(pm_ss(b), ctx, id, path, out);
}

const struct pm_backend_ops pm_smartshape_ops = {
    .same_version = same_version,
    .type = "smartshape",
    .secret = "token",
    .endpoint = "https://smartshape.io",
    .caps = PM_CAP_RANGE | PM_CAP_REPLACE | PM_CAP_BY_PATH,
    .open = ss_open,
    .close = ss_close,
    .list = ss_list,
    .stat = ss_stat,
    .locate = ss_locate,
    .begin = pm_ss_begin,
    .resume = pm_ss_resume,
    .put = pm_ss_put,
    .finish = pm_ss_finish,
    .abort = pm_ss_abort,
    .mkdir = ss_mkdir,
    .remove = ss_remove,
    .copy = ss_copy,
    .shared = pm_ss_shared,
    .check_move = pm_ss_check_move,
};
