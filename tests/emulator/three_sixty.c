/* 360-for-you's API, as its document has it, taken at its word; what it leaves open are options. */
#include "tests/emulator/three_sixty.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tests/emulator/path.h"
#include "tests/emulator/rate.h"
#include "tests/emulator/services.h"
#include "tests/emulator/sign.h"
#include "tests/emulator/three_sixty_call.h"

#define JSON_MAX ((size_t)64 * 1024)
#define ID_LEN 8

/* ---- errors ---- */

void three_sixty_refuse(struct request *rq, int status, const char *code, const char *extra, ...)
{
    struct buf text = {0};
    char *more = NULL;
    va_list args;
    va_start(args, extra);
    int len = vasprintf(&more, extra, args);
    va_end(args);
    buf_printf(&text, "{\"error\":\"%s\"%s}\n", code, len >= 0 ? more : "");
    if (len >= 0)
        free(more);
    reply_clear(&rq->reply);
    reply_json(&rq->reply, status, &text);
}

void three_sixty_error(struct request *rq, int status, const char *code)
{
    three_sixty_refuse(rq, status, code, "%s", "");
}

/* For faults, which know only a status. */
static void error_of_status(struct request *rq, int status, const char *detail)
{
    static const struct {
        int         status;
        const char *code;
    } codes[] = {
        {400, "invalid_upload_id"},      {401, "invalid_api_key"}, {402, "storage_quota_exceeded"},
        {403, "insufficient_scope"},     {404, "upload_session_not_found"},
        {409, "non_contiguous_chunk"},   {411, "length_required"}, {413, "file_too_large"},
        {415, "extension_not_allowed"},  {429, "rate_limited"},
    };
    (void)detail;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (codes[i].status == status) {
            three_sixty_error(rq, status, codes[i].code);
            return;
        }
    three_sixty_error(rq, status, "server_error");
}

/* ---- tokens and scopes ---- */

void three_sixty_load_token(struct emulator *emu)
{
    struct buf text = {0};
    char hex[33];
    if (!tree_get_text(emu->tree, "360 token", &text)) {
        sign_random_hex(hex);
        buf_printf(&text, "sk_%s", hex);
        tree_set_text(emu->tree, "360 token", text.data);
    }
    snprintf(emu->three_sixty_token, sizeof(emu->three_sixty_token), "%s", text.data);
    buf_free(&text);
}

static const char *three_sixty_token(const struct request *rq)
{
    const char *token = opt_of(rq)->token;
    return *token != '\0' ? token : rq->emu->three_sixty_token;
}

static bool authorize(struct request *rq)
{
    bool bearer = rq->authorizations == 1 && strncmp(rq->authorization, "Bearer ", 7) == 0;
    if (rq->authorizations != 1)
        request_breach(rq, rq->authorizations == 0 ? "no Authorization" : "two Authorizations");
    else if (!bearer)
        request_breach(rq, "the Authorization is no \"Bearer TOKEN\"");
    if (bearer && strcmp(rq->authorization + 7, rq->emu->secrets.token) == 0)
        request_breach(rq, "the token of another service");
    rq->authorized = bearer && strcmp(rq->authorization + 7, three_sixty_token(rq)) == 0;
    if (!rq->authorized)
        three_sixty_error(rq, 401, bearer ? "invalid_api_key" : "missing_bearer_token");
    return rq->authorized;
}

static bool permit(struct request *rq, const struct route *route)
{
    const char *scope = opt_of(rq)->scope;
    if (strcmp(opt_of(rq)->tariff, "no_api") == 0)
        three_sixty_error(rq, 403, "tariff_does_not_allow_api");
    else if (strcmp(scope, route->reads ? "write" : "read") == 0)
        three_sixty_error(rq, 403, "insufficient_scope");
    return rq->reply.status == 0;
}

/* ---- rates ---- */

bool three_sixty_rate(const struct three_sixty_options *opt, size_t i, struct rate *out)
{
    const struct {
        const char *name;
        int64_t     limit;
        int64_t     window_ms;
    } table[] = {                       /* the document's */
        {"open", opt->open_limit, opt->rate_hour_ms}, {"put", 1200, opt->rate_minute_ms},
        {"progress", 600, opt->rate_minute_ms}, {"session", 120, opt->rate_minute_ms},
        {"discard", 60, opt->rate_minute_ms}, {"create", 10, opt->rate_hour_ms},
        {"project", 60, opt->rate_minute_ms},
    };
    if (i >= sizeof(table) / sizeof(table[0]))
        return false;
    int64_t limit = table[i].limit * opt->rate_percent / 100;
    *out = (struct rate){
        .name = table[i].name,
        .limit = limit > 1 ? limit : 1,
        .window_ms = table[i].window_ms > 1 ? table[i].window_ms : 1,
        .fixed = strcmp(opt->rate_shape, "fixed") == 0,
        .counts_refused = opt->rate_counts_refused,
    };
    return true;
}

static bool within_rate(struct request *rq, const char *name)
{
    struct rate rate;
    size_t i = 0;
    while (three_sixty_rate(opt_of(rq), i, &rate) && strcmp(rate.name, name) != 0)
        i++;
    int64_t wait_ms = rate_spend(rq, &rate, opt_of(rq)->retry_after);
    if (wait_ms == 0)
        return true;
    if (opt_of(rq)->rate_breach)
        request_breach(rq, "more than %lld requests of this kind within %lld ms",
                       (long long)rate.limit, (long long)rate.window_ms);
    three_sixty_error(rq, 429, "rate_limited");
    rate_tell_retry_after(rq, wait_ms, opt_of(rq)->retry_after);
    return false;
}

/* ---- sessions ---- */

bool three_sixty_is_id(const char *id)
{
    return strlen(id) == ID_LEN &&
           strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ID_LEN;
}

void three_sixty_new_id(char id[16])
{
    static const char letters[] = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    char hex[33];
    unsigned byte = 0;
    sign_random_hex(hex);
    for (int i = 0; i < ID_LEN; i++) {
        sscanf(hex + (size_t)i * 2, "%2x", &byte);
        id[i] = letters[byte % (sizeof(letters) - 1)];
    }
    id[ID_LEN] = '\0';
}

bool three_sixty_alive(struct ledger *d, struct session *s, int64_t now)
{
    ledger_begin(d);
    if (s->state == SESSION_OPEN && s->expires_at <= now) {
        s->state = SESSION_EXPIRED;
        depot_put_session(d, s);
        depot_drop_parts(d, s->id);
    }
    ledger_commit(d);
    return s->state == SESSION_OPEN || s->state == SESSION_USED;
}

/* PUTs side by side may all find the session gone before the client knows. A GET may always ask. */
static void judge_gone(struct request *rq, const char *id)
{
    struct buf key = {0};
    int64_t now = now_ms();
    buf_printf(&key, "360 gone %s", id);
    int64_t first = log_recall(rq->emu->log, key.data);
    if (first != 0 && now > first + NEWS_MS && strcmp(rq->method, "PUT") == 0)
        request_breach(rq, "a PUT into a session that was said to be over");
    if (first == 0)
        log_remember(rq->emu->log, key.data, now);
    buf_free(&key);
}

bool three_sixty_session(struct request *rq, const char *id, struct session *s)
{
    bool used_is_gone = strcmp(opt_of(rq)->used_session, "gone") == 0;
    if (!three_sixty_is_id(id)) {
        request_breach(rq, "an upload_id that has not their form");
        three_sixty_error(rq, 400, "invalid_upload_id");
        return false;
    }
    if (!depot_session(rq->emu->depot, id, s)) {
        request_breach(rq, "an upload_id that was never given out");
        three_sixty_error(rq, 404, "upload_session_not_found");
        return false;
    }
    if (three_sixty_alive(rq->emu->depot, s, now_ms()) &&
        (s->state != SESSION_USED || !used_is_gone))
        return true;
    judge_gone(rq, id);
    if (opt_of(rq)->gone_status == 400)
        three_sixty_error(rq, 400, "invalid_upload_id");
    else
        three_sixty_error(rq, 404, "upload_session_not_found");
    return false;
}

static void finish_open(struct request *rq)
{
    const struct three_sixty_options *opt = opt_of(rq);
    struct session s = {.created = now_ms()};
    struct buf text = {0};
    if (strcmp(opt->tariff, "no_upload") == 0) {
        three_sixty_error(rq, 403, "tariff_forbids_upload");
    } else if (opt->quota > 0 && depot_projects_size(rq->emu->depot) >= (uint64_t)opt->quota) {
        three_sixty_error(rq, 402, "storage_quota_exceeded");
    } else if (!opt->email_verified) {
        three_sixty_error(rq, 403, "email_not_verified");
    } else {
        three_sixty_new_id(s.id);
        s.expires_at = s.created + opt->expires_s * 1000LL;
        depot_put_session(rq->emu->depot, &s);
        buf_printf(&text, "{\"upload_id\":\"%s\",\"expires_in_seconds\":%d}\n", s.id,
                   opt->expires_s);
        reply_json(&rq->reply, 201, &text);
    }
}

static void finish_progress(struct request *rq)
{
    struct visit *v = visit_of(rq);
    struct session s;
    struct part p;
    struct buf text = {0};
    bool fold = strcmp(opt_of(rq)->name_case, "fold") == 0;
    if (!three_sixty_session(rq, v->id, &s))
        return;
    ledger_begin(rq->emu->depot);
    if (depot_part(rq->emu->depot, v->id, v->name, fold, &p) && p.listed) {
        p.told = p.received;
        depot_put_part(rq->emu->depot, &p);
        buf_printf(&text, "{\"received\":%llu,\"total\":%llu,\"complete\":%s}\n",
                   (unsigned long long)p.received, (unsigned long long)p.total,
                   p.complete ? "true" : "false");
        reply_json(&rq->reply, 200, &text);
    } else {
        three_sixty_error(rq, 404, "file_not_found");
    }
    ledger_commit(rq->emu->depot);
}

static void list_part(const struct part *p, void *arg)
{
    struct buf *text = arg;
    if (!p->listed)
        return;
    buf_puts(text, text->data[text->len - 1] == '[' ? "{\"name\":" : ",{\"name\":");
    buf_json(text, p->name, strlen(p->name), true);
    buf_printf(text, ",\"received\":%llu,\"total\":%llu,\"complete\":%s}",
               (unsigned long long)p->received, (unsigned long long)p->total,
               p->complete ? "true" : "false");
}

static void finish_session(struct request *rq)
{
    struct session s;
    struct buf text = {0};
    if (!three_sixty_session(rq, visit_of(rq)->id, &s))
        return;
    ledger_begin(rq->emu->depot);
    buf_printf(&text, "{\"upload_id\":\"%s\",\"files\":[", s.id);
    depot_parts(rq->emu->depot, s.id, list_part, &text);
    buf_puts(&text, "]}\n");
    depot_told_all(rq->emu->depot, s.id);
    ledger_commit(rq->emu->depot);
    reply_json(&rq->reply, 200, &text);
}

/* Idempotent: what is gone already is deleted. A project that was made of it stays. */
static void finish_discard(struct request *rq)
{
    struct ledger *d = rq->emu->depot;
    struct session s;
    struct buf text = {0};
    const char *id = visit_of(rq)->id;
    if (!three_sixty_is_id(id)) {
        request_breach(rq, "an upload_id that has not their form");
        three_sixty_error(rq, 400, "invalid_upload_id");
        return;
    }
    ledger_begin(d);
    if (!depot_session(d, id, &s)) {
        request_breach(rq, "an upload_id that was never given out");
    } else if (three_sixty_alive(d, &s, now_ms())) {
        if (s.state == SESSION_OPEN)
            depot_drop_parts(d, id);
        s.state = SESSION_DELETED;
        depot_put_session(d, &s);
    }
    ledger_commit(d);
    buf_puts(&text, "{\"deleted\":true}\n");
    reply_json(&rq->reply, 200, &text);
}

/* ---- dispatch ---- */

static const struct route routes[] = {
    {"POST", "uploads", 1, "open", "open", false, NULL, finish_open},
    {"PUT", "uploads", 3, "put", "put", false, three_sixty_begin_put, three_sixty_finish_put},
    {"GET", "uploads", 3, "progress", "progress", false, NULL, finish_progress},
    {"GET", "uploads", 2, "session", "session", false, NULL, finish_session},
    {"DELETE", "uploads", 2, "discard", "discard", false, NULL, finish_discard},
    {"POST", "projects", 1, "create", "create", false, NULL, three_sixty_create},
    {"GET", "projects", 2, "project", "project", true, NULL, three_sixty_get_project},
    {"GET", "projects", 1, "projects", "project", true, NULL, three_sixty_list_projects},
};

/* Cuts "uploads/ID/NAME" up; what follows the second slash is all name. -> how many segments */
static int take_path(struct request *rq, struct visit *v, char word[16])
{
    struct buf id = {0};
    const char *p = rq->raw_path + sizeof(THREE_SIXTY_PREFIX) - 1;
    p += *p == '/';
    size_t len = strcspn(p, "/");
    snprintf(word, 16, "%.*s", (int)(len < 15 ? len : 15), p);
    if (p[len] == '\0')
        return 1;
    p += len + 1;
    len = strcspn(p, "/");
    url_decode(p, len, false, &id);
    buf_add(&id, "", 0);
    v->id_cut = id.len >= sizeof(v->id);
    snprintf(v->id, sizeof(v->id), "%s", id.data);
    buf_free(&id);
    if (len == 0 || p[len] == '\0')
        return len == 0 ? 0 : 2;
    p += len + 1;
    if (*p == '\0')
        return 0;
    if (strchr(p, '/') != NULL)
        request_breach(rq, "a file's name with slashes: folders are not supported");
    if (!url_decode(p, strlen(p), false, &v->raw_name))
        request_breach(rq, "broken percent escape in the name");
    buf_add(&v->raw_name, "", 0);
    three_sixty_name(opt_of(rq)->flatten, v->raw_name.data, v->raw_name.len, v->name);
    return 3;
}

static const struct route *find_route(struct request *rq, struct visit *v, bool *other_method)
{
    char word[16];
    int segments = take_path(rq, v, word);
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (strcmp(routes[i].word, word) != 0 || routes[i].segments != segments)
            continue;
        if (strcmp(routes[i].method, rq->method) == 0)
            return &routes[i];
        *other_method = true;
    }
    return NULL;
}

static void judge_name(struct request *rq, const struct visit *v)
{
    if (v->raw_name.len > 0 && strcmp(v->raw_name.data, v->name) != 0)
        request_breach(rq, "the service changes this name to \"%s\"", v->name);
}

static void three_sixty_begin(struct request *rq)
{
    bool other_method = false;
    struct visit *v = emu_alloc(sizeof(*v));
    v->put.fd = -1;
    rq->state = v;
    v->route = find_route(rq, v, &other_method);
    if (v->route != NULL)
        rq->endpoint = v->route->endpoint;
    if (!authorize(rq))
        return;
    if (v->route == NULL) {
        request_breach(rq, other_method ? "wrong method for this endpoint" : "unknown endpoint");
        three_sixty_error(rq, other_method ? 405 : 404,
                          other_method ? "method_not_allowed" : "not_found");
        return;
    }
    if (rq->raw_query[0] != '\0')
        request_breach(rq, "a query, where none is documented");
    judge_name(rq, v);
    if (permit(rq, v->route) && within_rate(rq, v->route->rate) && v->route->begin != NULL)
        v->route->begin(rq);
}

static void three_sixty_body(struct request *rq, const char *bytes, size_t len)
{
    if (visit_of(rq)->put.taken)
        three_sixty_put_body(rq, bytes, len);
    else if (rq->body.len + len <= JSON_MAX)
        buf_add(&rq->body, bytes, len);
}

static void three_sixty_finish(struct request *rq)
{
    const struct route *route = visit_of(rq)->route;
    if (rq->in_bytes > 0 && route->finish != three_sixty_finish_put &&
        route->finish != three_sixty_create)
        request_breach(rq, "a body, where none is documented");
    route->finish(rq);
}

static void three_sixty_end(struct request *rq)
{
    struct visit *v = visit_of(rq);
    if (v == NULL)
        return;
    three_sixty_end_put(rq);
    buf_free(&v->raw_name);
    free(v);
    rq->state = NULL;
}

const struct service three_sixty_service = {
    .name = "360",
    .prefix = THREE_SIXTY_PREFIX,
    .begin = three_sixty_begin,
    .body = three_sixty_body,
    .finish = three_sixty_finish,
    .end = three_sixty_end,
    .error = error_of_status,
    .token = three_sixty_token,
};
