/* A model's original file, which the service gives by a signed URL on a storage host.
 *
 * No answer of the API names the file (api/mapping.md C11): the storage host does, or the URL. That costs
 * two requests for each model, once: the name is kept in the account's store, under NAME and the id, as
 * "=NAME"; or "?MS STATUS" where the service did not give the file at that time and status. */
#include "backends/sharemy3d_impl.h"
#include "backends/signed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAME      "sharemy3d.name."
#define SIZE      "sharemy3d.size." /* and the id: bytes of a file whose model does not tell */
#define LONG      1000 /* what is longer is no name */
#define AGAIN_MS  (10 * 60 * 1000) /* so long it is not asked again for a file that it did not give */

/* --- the URL */

struct dated {
    int64_t date_ms; /* by the service's clock; 0: it does not tell */
};

static void note_date(void *arg, const struct pm_http_head *head)
{
    ((struct dated *)arg)->date_ms = pm_http_date_ms(pm_http_header(head, "Date"));
}

/* Asks for a URL. *use_ms: how long it should be used. */
static int get_url(struct pm_sharemy3d *sm, struct pm_ctx *ctx, const char *id, char **url,
                   int64_t *use_ms)
{
    PM_AUTO(free) char    *path = pm_asprintf("/models/%s/original", id);
    struct dated           dated = {0};
    struct pm_http_request req = {.method = "GET", .url = path, .head = note_date, .arg = &dated};
    struct cJSON          *body = NULL;
    const char            *told;
    char                  *origin;
    int err = path ? pm_sm_call_id(sm, ctx, PM_SM_MODEL, id, &req, &body) : -ENOMEM;

    if (err)
        return err;
    told = pm_json_text(body, "downloadUrl");
    origin = told ? pm_http_origin(told) : NULL;
    if (!origin) {
        snprintf(ctx->why, sizeof(ctx->why), told ? "the download address is refused"
                                                  : "the answer lacks the download address");
        err = -EIO;
    } else {
        *url = strdup(told);
        *use_ms = pm_signed_use_ms(told, dated.date_ms);
        err = *url ? 0 : -ENOMEM;
    }
    free(origin);
    pm_json_free(body);
    return err;
}

/* Has a model in this state no original yet, so that the service must not be blamed? */
static bool is_early(const char *status)
{
    return !strcmp(status, "UPLOADING") || !strcmp(status, "PROCESSING");
}

int pm_sm_locate(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                 struct pm_location *loc)
{
    size_t  len = strcspn(e->id, "/");
    char    id[PM_SM_ID_MAX];
    int64_t use_ms = 0;
    int     err;

    if (len < sizeof(id) && !strcmp(e->id + len, "/original"))
        snprintf(id, sizeof(id), "%.*s", (int)len, e->id);
    else if (strncmp(e->path, "uploads/", 8) != 0)
        return -EOPNOTSUPP; /* of backgrounds no call gives the picture */
    else if (!pm_sm_drop_id(e, id))
        return -ENOENT;
    err = get_url(pm_sm(b), ctx, id, &loc->url, &use_ms);
    if (err == -ENOENT && is_early(e->state))
        err = -EBUSY;
    if (!err)
        loc->expires_ms = pm_now_ms() + use_ms;
    return err;
}

/* --- the name */

/* The loop's until the call ended. */
struct glance {
    char *disposition; /* owned */
    char  size[24]; /* "": it does not tell */
};

/* What the storage host tells of a file. */
struct told {
    char *name; /* owned; NULL: nothing */
    char  size[24]; /* "": nothing */
};

static void note_name(void *arg, const struct pm_http_head *head)
{
    struct glance *g = arg;
    const char    *value = pm_http_header(head, "Content-Disposition");

    if (head->status / 100 == 2 && *value && !g->disposition)
        g->disposition = strdup(value);
    value = strrchr(pm_http_header(head, "Content-Range"), '/'); /* bytes 0-0/TOTAL */
    if (head->status == 206 && value)
        snprintf(g->size, sizeof(g->size), "%s", value + 1);
    else if (head->status == 200)
        snprintf(g->size, sizeof(g->size), "%s", pm_http_header(head, "Content-Length"));
}

static int want_no_more(void *arg, const void *buf, size_t len)
{
    (void)arg;
    (void)buf;
    (void)len;
    return -EINTR;
}

/* What the storage host calls the file. A signed URL is for GET, so its first byte is asked for.
 * *elsewhere is owned: where the file is instead, or NULL. */
static int look(struct pm_sharemy3d *sm, struct pm_ctx *ctx, const char *url, bool empty,
                struct told *told, char **elsewhere)
{
    static const char *const headers[] = {"Accept-Encoding: identity", "Range: bytes=0-0", NULL};
    static const char *const plain[] = {"Accept-Encoding: identity", NULL};
    PM_AUTO(pm_http_answer) struct pm_http_answer answer = {0};
    struct glance          glance = {0};
    struct pm_http_request req = {.method = "GET", .url = url, .headers = empty ? plain : headers,
                                  .content = true, .head = note_name, .data = want_no_more,
                                  .limit = UINT64_MAX, .arg = &glance};
    int                    err = pm_http_call(sm->base.net, ctx, &req, &answer);

    told->name = glance.disposition ? pm_signed_disposition(glance.disposition) : NULL;
    memcpy(told->size, glance.size, sizeof(told->size));
    *elsewhere = answer.location;
    answer.location = NULL;
    free(glance.disposition);
    if (err && answer.status) { /* its words may hold parts of the URL */
        char code[PM_SIGNED_CODE_MAX];

        pm_signed_error(answer.body.ptr ? answer.body.ptr : "", answer.body.len, code);
        snprintf(ctx->why, sizeof(ctx->why), "the storage says %s", *code ? code : "no");
    }
    return err == -EINTR ? 0 : err;
}

/* As reading does, one redirect is followed. */
static int ask_storage(struct pm_sharemy3d *sm, struct pm_ctx *ctx, const char *url, bool empty,
                       struct told *told)
{
    PM_AUTO(free) char *elsewhere = NULL;
    PM_AUTO(free) char *farther = NULL;
    int                 err = look(sm, ctx, url, empty, told, &elsewhere);
    PM_AUTO(free) char *origin = elsewhere ? pm_http_origin(elsewhere) : NULL;

    if (err == -ESTALE && !empty) /* it has no first byte, of which nobody told */
        return ask_storage(sm, ctx, url, true, told);
    return origin ? look(sm, ctx, elsewhere, empty, told, &farther) : err;
}

/* Does it say that it will not, so that asking once more makes no sense? */
static bool is_refusal(int err)
{
    return err == -EINVAL || err == -EACCES || err == -ENOENT || err == -ESTALE;
}

/* -ENOENT: the service does not give the file. */
static int ask_name(struct pm_sharemy3d *sm, struct pm_ctx *ctx, const char *id, bool empty,
                    struct told *told)
{
    PM_AUTO(free) char *url = NULL;
    int64_t             use_ms;
    int                 err = get_url(sm, ctx, id, &url, &use_ms);

    if (err == -EACCES && !pm_backend_doubt(&sm->base, NULL, 0, NULL))
        err = -ENOENT; /* the token is good, and this is not for it */
    if (err)
        return err;
    err = ask_storage(sm, ctx, url, empty, told);
    if (is_refusal(err)) { /* its time was over, perhaps */
        free(url);
        url = NULL;
        err = get_url(sm, ctx, id, &url, &use_ms);
        if (!err)
            err = ask_storage(sm, ctx, url, empty, told);
        if (is_refusal(err))
            err = -ENOENT;
    }
    if (!err && !told->name)
        told->name = pm_signed_file_name(url);
    if (told->name && strlen(told->name) > LONG) {
        free(told->name);
        told->name = NULL;
    }
    return err;
}

static void learn(struct pm_sharemy3d *sm, const char *id, char *text)
{
    PM_AUTO(free) char *key = pm_asprintf(NAME "%s", id);

    if (key && text)
        pm_backend_learn(&sm->base, key, text);
    free(text);
}

static void learn_size(struct pm_sharemy3d *sm, const char *id, const char *text)
{
    PM_AUTO(free) char *key = pm_asprintf(SIZE "%s", id);

    if (key && *text)
        pm_backend_learn(&sm->base, key, text);
}

void pm_sm_learn_name(struct pm_sharemy3d *sm, const char *id, const char *name)
{
    learn(sm, id, pm_asprintf("=%s", name));
}

void pm_sm_file_size(struct pm_sharemy3d *sm, const char *id, const struct cJSON *model, uint64_t *size)
{
    PM_AUTO(free) char *key = NULL;
    PM_AUTO(free) char *known = NULL;
    uint64_t            value;
    int                 used = 0;

    if (pm_json_u64(model, "size", size))
        return;
    key = pm_asprintf(SIZE "%s", id);
    known = key ? pm_backend_recall(&sm->base, key) : NULL;
    if (known && sscanf(known, "%19" SCNu64 "%n", &value, &used) == 1 && !known[used])
        *size = value;
}

/* Did the service not give the file when it was asked at this status, not long ago? */
static bool was_not_given(const char *known, const char *status)
{
    int64_t ms = 0;
    int     used = 0;

    if (!known || sscanf(known, "?%20" SCNd64 " %n", &ms, &used) < 1 || !used)
        return false;
    return !strcmp(known + used, status) && llabs(pm_wall_ms() - ms) < AGAIN_MS;
}

int pm_sm_file_name(struct pm_sharemy3d *sm, struct pm_ctx *ctx, const char *id,
                    const struct cJSON *model, char **name)
{
    PM_AUTO(free) char *key = pm_asprintf(NAME "%s", id);
    PM_AUTO(free) char *known = key ? pm_backend_recall(&sm->base, key) : NULL;
    const char         *status = pm_json_text(model, "status"), *title = pm_json_text(model, "name");
    struct told         told = {0};
    uint64_t            size = PM_SIZE_UNKNOWN;
    int                 err = 0;

    status = status ? status : "";
    *name = NULL;
    if (known && *known == '=') {
        *name = strdup(known + 1);
        return *name ? 0 : -ENOMEM;
    }
    if (!strcmp(status, "UPLOADING"))
        return 0;
    title = title && *title ? title : id;
    if (!was_not_given(known, status)) {
        bool told_size = pm_json_u64(model, "size", &size);

        err = ask_name(sm, ctx, id, size == 0, &told);
        if (err && err != -ENOENT) {
            free(told.name);
            return err;
        }
        if (err) {
            learn(sm, id, pm_asprintf("?%" PRId64 " %s", pm_wall_ms(), status));
        } else {
            *name = told.name ? told.name : strdup(title);
            learn(sm, id, pm_asprintf("=%s", *name ? *name : title));
            if (!told_size)
                learn_size(sm, id, told.size);
        }
    }
    if (!*name && !is_early(status) && strcmp(status, "FAILED") != 0) /* nothing told its name */
        *name = strdup(title);
    return 0;
}
