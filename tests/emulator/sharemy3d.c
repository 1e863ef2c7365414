/* ShareMy3D's Data API, as its document has it, taken at its word; what it leaves open are
 * options. */
#include "tests/emulator/sharemy3d.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "tests/emulator/rate.h"
#include "tests/emulator/services.h"
#include "tests/emulator/sharemy3d_call.h"
#include "tests/emulator/sign.h"

#define BODY_MAX ((size_t)64 * 1024)
#define REFUSED_FORMS_MAX 16            /* more of one form that was refused: nothing was learned */

/* ---- errors ---- */

/* The document: JSON is returned by all answers, errors too; it shows none. */
void sharemy3d_error(struct request *rq, int status, const char *message)
{
    const char *form = sm3d_opt(rq)->errors;
    struct buf text = {0};
    if (strcmp(form, "class") == 0) {
        buf_printf(&text, "{\"class\":\"ErrorResponse\",\"message\":");
        buf_json(&text, message, strlen(message), true);
        buf_puts(&text, "}\n");
    } else if (strcmp(form, "plain") == 0) {
        buf_json(&text, message, strlen(message), true);
    } else if (strcmp(form, "html") == 0) {
        buf_printf(&text, "<html><body><h1>%d</h1></body></html>\n", status);
    }
    reply_clear(&rq->reply);
    reply_json(&rq->reply, status, &text);
}

static void error_of_fault(struct request *rq, int status, const char *detail)
{
    if (rq->port == &rq->emu->ports[PORT_STORAGE])
        sharemy3d_storage_error(rq, status, detail);
    else
        sharemy3d_error(rq, status, detail);
}

/* ---- small things ---- */

int64_t sm3d_now(const struct option_values *opt)
{
    return now_ms() + opt->sm3d.clock_s * 1000LL;
}

const char *sm3d_extension(const char *filename)
{
    const char *dot = strrchr(filename, '.');
    return dot != NULL ? dot + 1 : "";
}

bool sm3d_listed(const char *comma_list, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = comma_list; *p != '\0';) {
        size_t n = strcspn(p, ",");
        if (n == len && strncasecmp(p, word, n) == 0)
            return true;
        p += n + (p[n] == ',');
    }
    return false;
}

/* ---- tokens and rates ---- */

void sharemy3d_load_token(struct emulator *emu)
{
    struct buf text = {0};
    char hex[33];
    if (!tree_get_text(emu->tree, "sharemy3d token", &text)) {
        sign_random_hex(hex);
        buf_printf(&text, "00%s", hex + 2);
        tree_set_text(emu->tree, "sharemy3d token", text.data);
    }
    snprintf(emu->sharemy3d_token, sizeof(emu->sharemy3d_token), "%s", text.data);
    buf_free(&text);
}

static const char *sharemy3d_token(const struct request *rq)
{
    const char *token = sm3d_opt(rq)->token;
    return *token != '\0' ? token : rq->emu->sharemy3d_token;
}

/* Which form the service takes cannot be known before it was tried; but then it can. */
static void judge_form(struct request *rq, bool bearer)
{
    const char *key = bearer ? "sm3d refused bearer" : "sm3d refused bare";
    int64_t times = log_recall(rq->emu->log, key) + 1;
    log_remember(rq->emu->log, key, times);
    if (times > REFUSED_FORMS_MAX)
        request_breach(rq, "this form of Authorization was refused %lld times already",
                       (long long)times - 1);
}

static bool authorize(struct request *rq)
{
    const char *given = rq->authorizations == 1 ? rq->authorization : "";
    bool bearer = strncmp(given, "Bearer ", 7) == 0;
    given += bearer ? 7 : 0;
    if (rq->authorizations != 1)
        request_breach(rq, rq->authorizations == 0 ? "no Authorization" : "two Authorizations");
    if (strcmp(given, rq->emu->secrets.token) == 0 ||
        strcmp(given, rq->emu->three_sixty_token) == 0)
        request_breach(rq, "the token of another service");
    bool good = strcmp(given, sharemy3d_token(rq)) == 0;
    bool form = strcmp(sm3d_opt(rq)->auth, bearer ? "bare" : "bearer") != 0;
    if (good && !form)
        judge_form(rq, bearer);
    rq->authorized = good && form;
    if (!rq->authorized)
        sharemy3d_error(rq, 401, "Your API token is invalid");
    return rq->authorized;
}

/* The document recommends exponential backoff: who does not get slower is refused for long. */
static bool within_rate(struct request *rq)
{
    const struct sm3d_options *opt = sm3d_opt(rq);
    struct rate rate = {
        .name = "sm3d",
        .limit = opt->rate_limit,
        .window_ms = opt->rate_window_ms > 1 ? opt->rate_window_ms : 1,
        .counts_refused = true,
    };
    if (opt->rate_limit <= 0)
        return true;
    int64_t wait_ms = rate_spend(rq, &rate, opt->retry_after);
    if (wait_ms == 0)
        return true;
    if (depot_rate_used(rq->emu->depot, &rate, now_ms()) > 2 * rate.limit)
        request_breach(rq, "twice as many requests as are allowed: it does not slow down");
    sharemy3d_error(rq, 429, "Too many requests");
    rate_tell_retry_after(rq, wait_ms, opt->retry_after);
    return false;
}

/* ---- one model ---- */

/* The item that the request names, or the error. */
static bool find_item(struct request *rq, struct sm3d_item *item)
{
    const struct sm3d_visit *v = sm3d_visit(rq);
    if (stock_item(sm3d_stock(rq), v->route->kind, v->id, item))
        return true;
    sharemy3d_error(rq, sm3d_opt(rq)->gone_status, "Not found");
    return false;
}

/* What becomes of its session is the storage host's affair, which takes bytes on. */
static void finish_delete(struct request *rq)
{
    struct sm3d_item item;
    struct buf text = {0};
    if (!find_item(rq, &item))
        return;
    stock_remove_item(sm3d_stock(rq), &item);
    buf_printf(&text, "{\"class\":\"Delete%sResponse\"}\n",
               item.kind == SM3D_MODEL ? "Model" : "Background");
    reply_json(&rq->reply, 200, &text);
}

/* A model never becomes UPLOADING again: every list has said that it has no bytes. */
static bool may_read(struct request *rq, const struct sm3d_item *item)
{
    const struct sm3d_options *opt = sm3d_opt(rq);
    const char *status = sm3d_status(sm3d_stock(rq), &rq->opt, item);
    bool early = strcmp(status, "UPLOADING") == 0;
    if (early && item->object.generation == 0)
        request_breach(rq, "the original of a model that is still UPLOADING");
    if (strcmp(opt->original_when, "ACTIVE") == 0)
        early = strcmp(status, "ACTIVE") != 0;
    if (item->object.generation == 0 || early) {
        sharemy3d_error(rq, opt->original_status, "The model is not ready");
        return false;
    }
    if (strcmp(opt->original_for, "downloadable") == 0 && !item->downloadable) {
        sharemy3d_error(rq, 401, "Access denied");
        return false;
    }
    return true;
}

static void finish_original(struct request *rq)
{
    struct sm3d_item item;
    struct buf text = {0};
    struct buf url = {0};
    if (!find_item(rq, &item) || !may_read(rq, &item))
        return;
    sm3d_signed_url(rq, &item, "GET", &url);
    buf_puts(&text, "{\"class\":\"DownloadOriginalResponse\",\"downloadUrl\":");
    buf_json(&text, url.data, url.len, true);
    buf_puts(&text, "}\n");
    buf_free(&url);
    reply_json(&rq->reply, 200, &text);
}

/* ---- dispatch ---- */

static const struct sm3d_route routes[] = {
    {"POST", "models", false, "upload", "model_new", SM3D_MODEL, false, sharemy3d_new},
    {"GET", "models", true, "info", "model", SM3D_MODEL, false, sharemy3d_info},
    {"GET", "models", false, "", "models", SM3D_MODEL, true, sharemy3d_list},
    {"DELETE", "models", true, "", "model_delete", SM3D_MODEL, false, finish_delete},
    {"GET", "models", true, "original", "original", SM3D_MODEL, false, finish_original},
    {"POST", "backgrounds", false, "upload", "background_new", SM3D_BACKGROUND, false,
     sharemy3d_new},
    {"GET", "backgrounds", true, "info", "background", SM3D_BACKGROUND, false, sharemy3d_info},
    {"GET", "backgrounds", false, "", "backgrounds", SM3D_BACKGROUND, true, sharemy3d_list},
    {"DELETE", "backgrounds", true, "", "background_delete", SM3D_BACKGROUND, false,
     finish_delete},
};

struct segments {
    char   text[3][64];
    size_t count;                       /* 4: too many */
};

static void cut_path(const char *p, struct segments *out)
{
    *out = (struct segments){0};
    p += *p == '/';
    while (*p != '\0' && out->count < 4) {
        size_t len = strcspn(p, "/");
        if (out->count < 3)
            snprintf(out->text[out->count], sizeof(out->text[0]), "%.*s",
                     (int)(len < 63 ? len : 63), p);
        out->count++;
        p += len + (p[len] == '/');
    }
}

static bool matches(const struct sm3d_route *route, const struct segments *s)
{
    size_t count = 1 + (route->by_id ? 1U : 0U) + (*route->tail != '\0' ? 1U : 0U);
    return s->count == count && strcmp(s->text[0], route->word) == 0 &&
           (*route->tail == '\0' || strcmp(s->text[count - 1], route->tail) == 0);
}

static const struct sm3d_route *find_route(struct request *rq, bool *other_method)
{
    struct segments s;
    cut_path(rq->raw_path + sizeof(SHAREMY3D_PREFIX) - 1, &s);
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (!matches(&routes[i], &s))
            continue;
        if (strcmp(routes[i].method, rq->method) == 0) {
            if (routes[i].by_id)
                snprintf(sm3d_visit(rq)->id, sizeof(sm3d_visit(rq)->id), "%s", s.text[1]);
            return &routes[i];
        }
        *other_method = true;
    }
    return NULL;
}

static void judge_id(struct request *rq)
{
    const char *id = sm3d_visit(rq)->id;
    if (sm3d_visit(rq)->route->by_id &&
        (strlen(id) != 32 || strspn(id, "0123456789abcdef") != 32))
        request_breach(rq, "\"%s\" is no id that was ever given out", id);
}

static void sharemy3d_begin(struct request *rq)
{
    bool other_method = false;
    struct sm3d_visit *v = emu_alloc(sizeof(*v));
    v->put.fd = -1;
    rq->state = v;
    if (rq->port == &rq->emu->ports[PORT_STORAGE]) {
        sharemy3d_begin_storage(rq);
        return;
    }
    v->route = find_route(rq, &other_method);
    if (v->route != NULL)
        rq->endpoint = v->route->endpoint;
    if (!authorize(rq))
        return;
    if (v->route == NULL) {
        request_breach(rq, other_method ? "wrong method for this endpoint" : "unknown endpoint");
        sharemy3d_error(rq, 404, "Not found");
        return;
    }
    if (rq->raw_query[0] != '\0' && !v->route->query)
        request_breach(rq, "a query, where none is documented");
    judge_id(rq);
    within_rate(rq);
}

static void sharemy3d_body(struct request *rq, const char *bytes, size_t len)
{
    if (sm3d_visit(rq)->route == NULL)
        sharemy3d_storage_body(rq, bytes, len);
    else if (rq->body.len + len <= BODY_MAX)
        buf_add(&rq->body, bytes, len);
}

/* The service's clock shows in every answer. */
static void tell_time(struct request *rq)
{
    char text[64];
    struct tm parts;
    time_t now = (time_t)(sm3d_now(&rq->opt) / 1000);
    if (sm3d_opt(rq)->clock_s == 0)
        return;
    strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &parts));
    reply_header(&rq->reply, "Date", "%s", text);
}

static void sharemy3d_finish(struct request *rq)
{
    const struct sm3d_route *route = sm3d_visit(rq)->route;
    if (rq->in_bytes > 0 && route->finish != sharemy3d_new)
        request_breach(rq, "a body, where none is documented");
    route->finish(rq);
    tell_time(rq);
}

static void sharemy3d_storage(struct request *rq)
{
    sm3d_visit(rq)->finish(rq);
    tell_time(rq);
}

/* Faults find a model by its names, too. */
static void sharemy3d_subject(struct request *rq, struct buf *out)
{
    const struct sm3d_visit *v = sm3d_visit(rq);
    struct sm3d_item item = {0};
    if (v != NULL && v->route == NULL)
        item = v->item;
    else if (v != NULL)
        stock_item(sm3d_stock(rq), v->route->kind, v->id, &item);
    if (item.num != 0)
        buf_printf(out, "%s %s %s", item.id, item.filename, item.name);
}

static void sharemy3d_end(struct request *rq)
{
    struct sm3d_visit *v = sm3d_visit(rq);
    if (v == NULL)
        return;
    sharemy3d_storage_end(rq);
    free(v);
    rq->state = NULL;
}

const struct service sharemy3d_service = {
    .name = SHAREMY3D,
    .prefix = SHAREMY3D_PREFIX,
    .storage_too = SHAREMY3D_JSON,
    .begin = sharemy3d_begin,
    .body = sharemy3d_body,
    .finish = sharemy3d_finish,
    .storage = sharemy3d_storage,
    .end = sharemy3d_end,
    .error = error_of_fault,
    .subject = sharemy3d_subject,
    .token = sharemy3d_token,
};
