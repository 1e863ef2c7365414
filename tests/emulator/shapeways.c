/* Shapeways' API, as its document has it, taken at its word; what it leaves open are options. */
#include "tests/emulator/shapeways.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/emulator/rate.h"
#include "tests/emulator/services.h"
#include "tests/emulator/shapeways_call.h"
#include "tests/emulator/sign.h"

#define BODY_MAX ((size_t)1024 * 1024)

int64_t sw_now(const struct option_values *opt)
{
    return now_ms() + opt->shapeways.clock_s * 1000LL;
}

/* ---- keys ---- */

static void load_key(struct emulator *emu, const char *name, const char *prefix, char out[40])
{
    struct buf text = {0};
    char hex[33];
    if (!tree_get_text(emu->tree, name, &text)) {
        sign_random_hex(hex);
        buf_printf(&text, "%s%s", prefix, hex + strlen(prefix));
        tree_set_text(emu->tree, name, text.data);
    }
    snprintf(out, 40, "%s", text.data);
    buf_free(&text);
}

void shapeways_load_keys(struct emulator *emu)
{
    struct sw_token t = {.kind = SW_ACCESS};
    struct sw_token known;
    load_key(emu, "shapeways key", "c1", emu->shapeways.consumer_key);
    load_key(emu, "shapeways secret", "c2", emu->shapeways.consumer_secret);
    load_key(emu, "shapeways token", "a1", emu->shapeways.access_token);
    load_key(emu, "shapeways token secret", "a2", emu->shapeways.access_secret);
    snprintf(t.id, sizeof(t.id), "%s", emu->shapeways.access_token);
    snprintf(t.secret, sizeof(t.secret), "%s", emu->shapeways.access_secret);
    if (!sw_stock_token(emu->print_shop, t.id, &known))
        sw_stock_put_token(emu->print_shop, &t);
}

static const char *shapeways_token(const struct request *rq)
{
    return rq->emu->shapeways.access_secret;
}

/* ---- the rate ---- */

struct rate sw_rate(const struct option_values *opt)
{
    const struct shapeways_options *o = &opt->shapeways;
    return (struct rate){
        .name = "shapeways",
        .limit = o->rate_limit,
        .window_ms = o->rate_window_ms > 1 ? o->rate_window_ms : 1,
        .counts_refused = o->rate_counts_refused,
    };
}

struct rate sw_rate_of_others(const struct option_values *opt)
{
    struct rate rate = sw_rate(opt);
    rate.name = "shapeways others";
    return rate;
}

int64_t sw_remaining(struct emulator *emu, const struct option_values *opt, int64_t *retry_s)
{
    struct rate rate = sw_rate(opt);
    int64_t now = now_ms();
    int64_t left = rate.limit - depot_rate_used(emu->depot, &rate, now);
    *retry_s = (depot_rate_wait(emu->depot, &rate, now) + 999) / 1000;
    return left > 0 ? left : 0;
}

/* Headers said that there is nothing left, and until when. */
static void judge_patience(struct request *rq)
{
    int64_t told = log_recall(rq->emu->log, "shapeways told");
    int64_t until = log_recall(rq->emu->log, "shapeways until");
    int64_t now = now_ms();
    if (told != 0 && now > told + NEWS_MS && now < until - 1000)
        request_breach(rq, "came %lld ms before the time that X-RateLimit-Retry-InSeconds had set",
                       (long long)(until - now));
}

static bool within_rate(struct request *rq)
{
    struct rate rate = sw_rate(&rq->opt);
    struct rate others = sw_rate_of_others(&rq->opt);
    const char *form = sw_opt(rq)->retry_after;
    if (rate.limit <= 0)
        return true;
    sw_visit(rq)->counted = true;
    int64_t wait_ms = rate_spend(rq, &rate, form);
    judge_patience(rq);
    if (wait_ms == 0)
        return true;
    int64_t used = depot_rate_used(rq->emu->depot, &rate, now_ms());
    int64_t own = used - depot_rate_used(rq->emu->depot, &others, now_ms());
    own -= rate.counts_refused ? 1 : 0; /* without this one */
    if (sw_opt(rq)->rate_breach && own >= rate.limit)
        request_breach(rq, "more than %lld calls in %lld ms", (long long)rate.limit,
                       (long long)rate.window_ms);
    else if (used > 2 * rate.limit)
        request_breach(rq, "twice as many calls as are allowed: it does not slow down");
    sw_error(rq, 429, "Rate limit exceeded");
    rate_tell_retry_after(rq, wait_ms, form);
    return false;
}

/* ---- dispatch ---- */

static const struct sw_route routes[] = {
    {"GET", "oauth1/request_token/v1", "sw_request_token", SW_AUTH_CONSUMER, "", false,
     sw_request_token},
    {"GET", "oauth1/access_token/v1", "sw_access_token", SW_AUTH_REQUEST, "", false,
     sw_access_token},
    {"GET", "login", "sw_login", SW_AUTH_OWN, "oauth_token,allow", false, sw_login_page},
    {"POST", "oauth2/token", "sw_oauth2", SW_AUTH_OWN, "", false, sw_oauth2_token},
    {"GET", "api/v1/", "sw_api", SW_AUTH_TOKEN, "", false, sw_api},
    {"GET", "orders/cart/v1", "sw_cart", SW_AUTH_TOKEN, "", false, sw_cart},
    {"POST", "orders/cart/v1", "sw_cart_add", SW_AUTH_TOKEN, "", false, sw_cart_add},
    {"GET", "materials/v1", "sw_materials", SW_AUTH_TOKEN, "", false, sw_material_list},
    {"GET", "materials/#/v1", "sw_material", SW_AUTH_TOKEN, "", false, sw_material_one},
    {"GET", "models/v1", "sw_models", SW_AUTH_TOKEN, "page", false, sw_models},
    {"POST", "models/v1", "sw_model_new", SW_AUTH_TOKEN, "", true, sw_model_new},
    {"GET", "models/#/v1", "sw_model", SW_AUTH_TOKEN, "", false, sw_model},
    {"DELETE", "models/#/v1", "sw_model_delete", SW_AUTH_TOKEN, "", false, sw_model_delete},
    {"GET", "models/#/info/v1", "sw_info", SW_AUTH_TOKEN, "", false, sw_info},
    {"PUT", "models/#/info/v1", "sw_info_put", SW_AUTH_TOKEN, "", false, sw_info_put},
    {"POST", "models/#/files/v1", "sw_file_new", SW_AUTH_TOKEN, "", true, sw_file_new},
    {"GET", "models/#/files/#/v1", "sw_file", SW_AUTH_TOKEN, "file", false, sw_file},
    {"POST", "models/#/photos/v1", "sw_photo_new", SW_AUTH_TOKEN, "", true, sw_photo_new},
    {"GET", "printers/v1", "sw_printers", SW_AUTH_TOKEN, "", false, sw_printer_list},
    {"GET", "printers/#/v1", "sw_printer", SW_AUTH_TOKEN, "", false, sw_printer_one},
    {"POST", "price/v1", "sw_price", SW_AUTH_TOKEN, "", false, sw_price},
    {"GET", "categories/v1", "sw_categories", SW_AUTH_TOKEN, "", false, sw_category_list},
    {"GET", "categories/#/v1", "sw_category", SW_AUTH_TOKEN, "", false, sw_category_one},
};

static bool matches(const char *pattern, const char *path, int64_t ids[2])
{
    int count = 0;
    for (; *pattern != '\0'; pattern++) {
        size_t digits = strspn(path, "0123456789");
        if (*pattern != '#' ? *pattern != *path : digits == 0 || digits > 15)
            return false;
        if (*pattern == '#')
            ids[count++] = strtoll(path, NULL, 10);
        path += *pattern == '#' ? digits : 1;
    }
    return *path == '\0';
}

static const struct sw_route *find_route(struct request *rq, bool *other_method)
{
    const char *path = rq->raw_path + sizeof(SHAPEWAYS_PREFIX) - 1;
    path += *path == '/';
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (!matches(routes[i].path, path, sw_visit(rq)->ids))
            continue;
        if (strcmp(routes[i].method, rq->method) == 0)
            return &routes[i];
        *other_method = true;
    }
    return NULL;
}

static bool is_among(const char *comma_list, const char *word, size_t len)
{
    for (const char *p = comma_list; *p != '\0';) {
        size_t n = strcspn(p, ",");
        if (n == len && strncmp(p, word, len) == 0)
            return true;
        p += n + (p[n] == ',');
    }
    return false;
}

static void judge_query(struct request *rq)
{
    for (const char *p = rq->raw_query; *p != '\0';) {
        size_t len = strcspn(p, "=&");
        if (!is_among(sw_visit(rq)->route->query, p, len) && strncmp(p, "oauth_", 6) != 0)
            request_breach(rq, "%.*s is no documented parameter", (int)len, p);
        p += strcspn(p, "&");
        p += *p == '&';
    }
}

/* New versions of one model follow each other, or nobody knows which is the last. */
static void judge_flight(struct request *rq)
{
    struct sw_visit *v = sw_visit(rq);
    struct buf place = {0};
    if (v->route->finish != sw_file_new)
        return;
    buf_printf(&place, "shapeways %lld", (long long)v->ids[0]);
    if (!flight_begin(rq->emu->flights, &v->flight, rq, place.data))
        request_breach(rq, "two new versions of one model at once");
    buf_free(&place);
}

/* The service's clock shows in every answer. */
static void tell_time(struct request *rq)
{
    char text[64];
    struct tm parts;
    time_t now = (time_t)(sw_now(&rq->opt) / 1000);
    if (sw_opt(rq)->clock_s == 0)
        return;
    strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &parts));
    reply_header(&rq->reply, "Date", "%s", text);
}

static void judge_call(struct request *rq)
{
    bool other_method = false;
    struct sw_visit *v = sw_visit(rq);
    v->began = now_ms();
    v->route = find_route(rq, &other_method);
    if (v->route != NULL)
        rq->endpoint = v->route->endpoint;
    if (!sw_authorize(rq))
        return;
    if (v->route == NULL) {
        request_breach(rq, other_method ? "wrong method for this endpoint" : "unknown endpoint");
        sw_error(rq, other_method ? 405 : 404, other_method ? "Method not allowed" : "Not found");
        return;
    }
    judge_query(rq);
    if (v->route->auth == SW_AUTH_TOKEN && !within_rate(rq))
        return;
    judge_flight(rq);
    if (v->route->file)
        v->body = sw_body_new(rq->emu->store, sw_opt(rq)->file_form);
}

static void shapeways_begin(struct request *rq)
{
    rq->state = emu_alloc(sizeof(struct sw_visit));
    judge_call(rq);
    if (rq->reply.status != 0)
        tell_time(rq);
}

static void shapeways_body(struct request *rq, const char *bytes, size_t len)
{
    struct sw_visit *v = sw_visit(rq);
    if (v->body == NULL) {
        if (rq->body.len + len <= BODY_MAX)
            buf_add(&rq->body, bytes, len);
        return;
    }
    if (sw_body_feed(v->body, bytes, len) < 0) {
        sw_error(rq, 500, "The file cannot be kept");
    } else if (sw_body_whole(v->body) && !v->named) {     /* faults may want its names */
        v->named = true;
        request_fault_body(rq, sw_body_rest(v->body)->data);
    }
}

static void shapeways_finish(struct request *rq)
{
    struct sw_visit *v = sw_visit(rq);
    bool body = strcmp(rq->method, "POST") == 0 || strcmp(rq->method, "PUT") == 0;
    if (rq->in_bytes > 0 && !body)
        request_breach(rq, "a body, where none is documented");
    v->route->finish(rq);
    sw_tell_rate(rq);
    tell_time(rq);
}

/* Faults find a model by its names, too. */
static void shapeways_subject(struct request *rq, struct buf *out)
{
    const struct sw_visit *v = sw_visit(rq);
    struct sw_model m;
    struct sw_version last = {0};
    if (v == NULL || v->route == NULL || strncmp(v->route->path, "models/#", 8) != 0 ||
        !sw_stock_model(sw_stock(rq), v->ids[0], &m))
        return;
    sw_stock_version(sw_stock(rq), m.id, m.last, &last);
    buf_printf(out, "%lld %s %s", (long long)m.id, last.name, m.title);
}

static void shapeways_end(struct request *rq)
{
    struct sw_visit *v = sw_visit(rq);
    if (v == NULL)
        return;
    flight_end(rq->emu->flights, &v->flight);
    sw_body_free(v->body);
    free(v);
    rq->state = NULL;
}

const struct service shapeways_service = {
    .name = SHAPEWAYS,
    .prefix = SHAPEWAYS_PREFIX,
    .begin = shapeways_begin,
    .body = shapeways_body,
    .finish = shapeways_finish,
    .end = shapeways_end,
    .error = sw_error,
    .subject = shapeways_subject,
    .token = shapeways_token,
};
