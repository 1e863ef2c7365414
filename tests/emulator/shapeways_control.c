/* What tests see and steer of Shapeways, below /_control/shapeways: see README.md. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/emulator/oauth1.h"
#include "tests/emulator/shapeways_call.h"
#include "tests/emulator/sign.h"

static const char *text_of(const cJSON *order, const char *name)
{
    return sw_wish_text(order, name, "");
}

static bool has(const cJSON *order, const char *name)
{
    return cJSON_HasObjectItem(order, name);
}

static void answer_done(struct request *rq)
{
    struct buf text = {0};
    control_answer(rq, &text);
}

static int64_t query_number(struct request *rq, const char *name, int64_t otherwise)
{
    struct buf text = {0};
    int64_t value = request_query(rq, name, &text) ? strtoll(text.data, NULL, 10) : otherwise;
    buf_free(&text);
    return value;
}

/* ---- looking ---- */

static void version_json(const struct sw_version *v, void *arg)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "version", (double)v->number);
    cJSON_AddStringToObject(json, "fileName", v->name);
    cJSON_AddNumberToObject(json, "size", (double)v->size);
    cJSON_AddStringToObject(json, "md5", v->md5);
    cJSON_AddNumberToObject(json, "scale", v->scale);
    cJSON_AddStringToObject(json, "form", v->form);
    cJSON_AddBoolToObject(json, "lost", v->lost);
    cJSON_AddBoolToObject(json, "seeded", v->seeded);
    cJSON_AddItemToArray(arg, json);
}

static void photo_json(const struct sw_photo *p, void *arg)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "id", (double)p->id);
    cJSON_AddStringToObject(json, "title", p->title);
    cJSON_AddStringToObject(json, "description", p->description);
    cJSON_AddNumberToObject(json, "material", (double)p->material);
    cJSON_AddBoolToObject(json, "default", p->is_default);
    cJSON_AddNumberToObject(json, "width", p->width);
    cJSON_AddNumberToObject(json, "height", p->height);
    cJSON_AddNumberToObject(json, "size", (double)p->size);
    cJSON_AddStringToObject(json, "md5", p->md5);
    cJSON_AddBoolToObject(json, "seeded", p->seeded);
    cJSON_AddItemToArray(arg, json);
}

struct telling {
    struct ledger *stock;
    cJSON         *all;
};

static void model_json(const struct sw_model *m, void *arg)
{
    struct telling *t = arg;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "id", (double)m->id);
    cJSON_AddStringToObject(json, "title", m->title);
    cJSON_AddStringToObject(json, "description", m->description);
    cJSON_AddBoolToObject(json, "isPublic", m->is_public);
    cJSON_AddBoolToObject(json, "isForSale", m->for_sale);
    cJSON_AddBoolToObject(json, "isDownloadable", m->downloadable);
    cJSON_AddBoolToObject(json, "isClaimable", m->claimable);
    cJSON_AddItemToObject(json, "tags", cJSON_Parse(m->tags));
    cJSON_AddItemToObject(json, "materials", cJSON_Parse(m->materials));
    cJSON_AddItemToObject(json, "categories", cJSON_Parse(m->categories));
    cJSON_AddNumberToObject(json, "defaultMaterialId", (double)m->default_material);
    cJSON_AddStringToObject(json, "secretKey", m->secret_key);
    cJSON_AddStringToObject(json, "claimKey", m->claim_key);
    cJSON_AddBoolToObject(json, "seeded", m->seeded);
    sw_stock_versions(t->stock, m->id, version_json, cJSON_AddArrayToObject(json, "versions"));
    sw_stock_photos(t->stock, m->id, photo_json, cJSON_AddArrayToObject(json, "photos"));
    cJSON_AddItemToArray(t->all, json);
}

static void get_models(struct request *rq)
{
    struct telling t = {rq->emu->print_shop, cJSON_CreateArray()};
    sw_stock_models(t.stock, false, INT64_MAX, -1, 0, model_json, &t);
    control_answer_cjson(rq, t.all);
}

static void item_json(const struct sw_item *i, void *arg)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "model", (double)i->model);
    cJSON_AddNumberToObject(json, "material", (double)i->material);
    cJSON_AddNumberToObject(json, "quantity", (double)i->quantity);
    cJSON_AddItemToArray(arg, json);
}

static void get_cart(struct request *rq)
{
    cJSON *all = cJSON_CreateArray();
    sw_stock_cart(rq->emu->print_shop, item_json, all);
    control_answer_cjson(rq, all);
}

struct finding {
    int64_t  photo;
    char     content[33];
    uint64_t size;
    bool     found;
};

static void find_photo(const struct sw_photo *p, void *arg)
{
    struct finding *f = arg;
    if (p->id != f->photo)
        return;
    memcpy(f->content, p->content, sizeof(f->content));
    f->size = p->size;
    f->found = true;
}

static void get_content(struct request *rq)
{
    struct ledger *stock = rq->emu->print_shop;
    struct sw_model m = {0};
    struct sw_version v;
    int64_t id = query_number(rq, "id", 0);
    struct finding f = {.photo = query_number(rq, "photo", 0)};
    sw_stock_model(stock, id, &m);
    if (f.photo != 0) {
        sw_stock_photos(stock, id, find_photo, &f);
    } else if (sw_stock_version(stock, id, query_number(rq, "version", m.last), &v)) {
        memcpy(f.content, v.content, sizeof(f.content));
        f.size = v.size;
        f.found = true;
    }
    int fd = f.found ? store_read_fd(rq->emu->store, f.content) : -ENOENT;
    if (fd < 0) {
        control_error(rq, 404, "no such content");
        return;
    }
    rq->reply.status = 200;
    rq->reply.kind = BODY_FILE;
    rq->reply.fd = fd;
    rq->reply.len = f.size;
}

struct digests {
    struct emulator *emu;
    bool             made;              /* only what clients have uploaded */
    char           **lines;             /* owned */
    size_t           count;
};

static void digest_line(const struct sw_model *m, void *arg)
{
    struct digests *all = arg;
    struct sw_version v;
    struct buf line = {0};
    char hex[65] = "";
    if (!sw_stock_version(all->emu->print_shop, m->id, m->last, &v) || (all->made && v.seeded))
        return;
    store_sha256(all->emu->store, v.content, hex);
    buf_printf(&line, "%s  %s\n", hex, v.name);
    char **grown = realloc(all->lines, (all->count + 1) * sizeof(*grown));
    if (grown == NULL)
        abort();
    all->lines = grown;
    all->lines[all->count++] = line.data;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a + 66, *(char *const *)b + 66);
}

static void get_digest(struct request *rq)
{
    struct digests all = {.emu = rq->emu, .made = query_number(rq, "made", 0) != 0};
    struct buf text = {0};
    sw_stock_models(rq->emu->print_shop, false, INT64_MAX, -1, 0, digest_line, &all);
    if (all.count > 0)
        qsort(all.lines, all.count, sizeof(all.lines[0]), by_name);
    for (size_t i = 0; i < all.count; i++) {
        buf_puts(&text, all.lines[i]);
        free(all.lines[i]);
    }
    free(all.lines);
    rq->reply.status = 200;
    rq->reply.memory = text;
    reply_header(&rq->reply, "Content-Type", "text/plain");
}

/* ---- steering models ---- */

/* "text", or "size" bytes of "seed" ("zero": a hole). */
static int make_content(struct request *rq, const cJSON *order, struct sw_version *v)
{
    struct store *store = rq->emu->store;
    struct sums sums;
    const char *text = sw_wish_text(order, "text", NULL);
    v->size = text != NULL ? strlen(text) : (uint64_t)sw_wish_number(order, "size", 0);
    uint64_t seed = (uint64_t)sw_wish_number(order, "seed", 1);
    bool zero = sw_wish_flag(order, "zero", false);
    int r = text != NULL ? store_put(store, text, v->size, v->content)
                         : store_generate(store, v->size, seed, zero, v->content);
    int fd = r == 0 ? store_read_fd(store, v->content) : r;
    if (fd < 0)
        return fd;
    r = sums_of(fd, v->size, &sums);
    close(fd);
    snprintf(v->md5, sizeof(v->md5), "%s", sums.md5_hex);
    return r;
}

static void keep_member(const cJSON *order, const char *name, char *out, size_t size)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(order, name);
    char *text = cJSON_IsString(item) ? emu_strdup(item->valuestring)
                 : item != NULL       ? cJSON_PrintUnformatted(item)
                                      : NULL;
    if (text != NULL)
        snprintf(out, size, "%s", text);
    free(text);
}

static void take_members(const cJSON *order, struct sw_model *m)
{
    keep_member(order, "title", m->title, sizeof(m->title));
    keep_member(order, "description", m->description, sizeof(m->description));
    keep_member(order, "tags", m->tags, sizeof(m->tags));
    keep_member(order, "materials", m->materials, sizeof(m->materials));
    keep_member(order, "categories", m->categories, sizeof(m->categories));
    m->is_public = sw_wish_flag(order, "isPublic", m->is_public);
    m->for_sale = sw_wish_flag(order, "isForSale", m->for_sale);
    m->downloadable = sw_wish_flag(order, "isDownloadable", m->downloadable);
    m->claimable = sw_wish_flag(order, "isClaimable", m->claimable);
    m->default_material =
        (int64_t)sw_wish_number(order, "defaultMaterialId", (double)m->default_material);
    if (m->claimable && m->claim_key[0] == '\0')
        sign_random_hex(m->claim_key);
    if (!m->claimable)
        m->claim_key[0] = '\0';
}

static int64_t seed_one(struct ledger *stock, const cJSON *order, struct sw_version *v, int number)
{
    struct sw_model m = {.tags = "[]", .materials = "{}", .categories = "[]", .seeded = true};
    snprintf(m.title, sizeof(m.title), number > 0 ? "Model %06d" : "Model", number);
    m.posted = m.created = now_ms();
    sign_random_hex(m.secret_key);
    take_members(order, &m);
    sw_stock_put_model(stock, &m);
    v->model = m.id;
    snprintf(v->name, sizeof(v->name), number > 0 ? "model-%06d.stl" : "model.stl", number);
    keep_member(order, "fileName", v->name, sizeof(v->name));
    int versions = (int)sw_wish_number(order, "versions", 1);
    for (v->number = 0; v->number < versions; v->number++)
        sw_stock_put_version(stock, v);
    for (int i = 0; i < (int)sw_wish_number(order, "photos", 0); i++) {
        struct sw_photo p = {.model = m.id, .size = v->size, .width = 4, .height = 3};
        p.seeded = true;
        memcpy(p.md5, v->md5, sizeof(p.md5));
        memcpy(p.content, v->content, sizeof(p.content));
        sw_stock_add_photo(stock, &p);
    }
    return m.id;
}

static void post_seed(struct request *rq)
{
    struct sw_version v = {.scale = 1, .form = "plain", .seeded = true};
    struct buf text = {0};
    cJSON *order = control_body(rq);
    if (order == NULL)
        return;
    int count = (int)sw_wish_number(order, "count", 0);
    if (make_content(rq, order, &v) < 0) {
        control_error(rq, 400, "the content cannot be made");
    } else {
        ledger_begin(rq->emu->print_shop);
        for (int i = 0; i < (count > 0 ? count : 1); i++) {
            int64_t id = seed_one(rq->emu->print_shop, order, &v, count > 0 ? i + 1 : 0);
            if (i == 0)
                buf_printf(&text, "{\"id\":%lld}\n", (long long)id);
        }
        ledger_commit(rq->emu->print_shop);
        control_answer(rq, &text);
    }
    cJSON_Delete(order);
}

/* The order, and the model that its "id" names; NULL: the error is answered. */
static cJSON *order_for_model(struct request *rq, struct sw_model *m)
{
    cJSON *order = control_body(rq);
    if (order == NULL ||
        sw_stock_model(rq->emu->print_shop, (int64_t)sw_wish_number(order, "id", 0), m))
        return order;
    control_error(rq, 404, "no such model");
    cJSON_Delete(order);
    return NULL;
}

static void post_set(struct request *rq)
{
    struct sw_model m;
    cJSON *order = order_for_model(rq, &m);
    if (order == NULL)
        return;
    take_members(order, &m);
    sw_stock_put_model(rq->emu->print_shop, &m);
    answer_done(rq);
    cJSON_Delete(order);
}

/* Another program's new version; with "version": another content for that one. */
static void post_version(struct request *rq)
{
    struct sw_model m;
    struct sw_version v = {0};
    struct ledger *stock = rq->emu->print_shop;
    cJSON *order = order_for_model(rq, &m);
    if (order == NULL)
        return;
    sw_stock_version(stock, m.id, m.last, &v);
    v.number = (int64_t)sw_wish_number(order, "version", (double)m.last + 1);
    v.created = now_ms();
    v.lost = false;
    v.seeded = true;
    keep_member(order, "fileName", v.name, sizeof(v.name));
    if (make_content(rq, order, &v) < 0) {
        control_error(rq, 400, "the content cannot be made");
    } else {
        m.touched = now_ms();
        ledger_begin(stock);
        sw_stock_put_model(stock, &m);
        sw_stock_put_version(stock, &v);
        ledger_commit(stock);
        answer_done(rq);
    }
    cJSON_Delete(order);
}

static void post_remove(struct request *rq)
{
    struct sw_model m;
    cJSON *order = order_for_model(rq, &m);
    if (order == NULL)
        return;
    sw_stock_remove_model(rq->emu->print_shop, m.id);
    answer_done(rq);
    cJSON_Delete(order);
}

static void delete_cart(struct request *rq)
{
    sw_stock_cart_clear(rq->emu->print_shop);
    answer_done(rq);
}

/* ---- tokens and rates ---- */

/* The user's word for a request token; without "token": the last that was given out. */
static void post_grant(struct request *rq)
{
    struct sw_token t;
    struct buf text = {0};
    struct buf redirect = {0};
    struct ledger *stock = rq->emu->print_shop;
    cJSON *order = control_body(rq);
    if (order == NULL)
        return;
    bool found = has(order, "token") ? sw_stock_token(stock, text_of(order, "token"), &t)
                                     : sw_stock_last_token(stock, SW_REQUEST, &t);
    if (!found || t.kind != SW_REQUEST || t.state != SW_NEW) {
        control_error(rq, 404, "no such request token");
    } else {
        sw_grant(stock, &t, !sw_wish_flag(order, "deny", false), &redirect);
        buf_printf(&text, "{\"token\":\"%s\",\"verifier\":\"%s\",\"redirect\":", t.id, t.verifier);
        buf_json(&text, redirect.data, redirect.len, true);
        buf_puts(&text, "}\n");
        control_answer(rq, &text);
    }
    buf_free(&redirect);
    cJSON_Delete(order);
}

static void post_revoke(struct request *rq)
{
    cJSON *order = control_body(rq);
    if (order == NULL)
        return;
    sw_stock_revoke(rq->emu->print_shop, text_of(order, "token"));
    answer_done(rq);
    cJSON_Delete(order);
}

/* Another program with the same key. */
static void post_spend(struct request *rq)
{
    cJSON *order = control_body(rq);
    struct rate all = sw_rate(&rq->opt);
    struct rate others = sw_rate_of_others(&rq->opt);
    if (order == NULL)
        return;
    all.counts_refused = others.counts_refused = true;
    ledger_begin(rq->emu->depot);
    for (int i = 0; i < (int)sw_wish_number(order, "count", 1); i++) {
        depot_rate(rq->emu->depot, &all, now_ms());
        depot_rate(rq->emu->depot, &others, now_ms());
    }
    ledger_commit(rq->emu->depot);
    answer_done(rq);
    cJSON_Delete(order);
}

static void get_rate(struct request *rq)
{
    struct buf text = {0};
    struct rate rate = sw_rate(&rq->opt);
    buf_printf(&text, "{\"limit\":%lld,\"window_ms\":%lld,\"used\":%lld}\n", (long long)rate.limit,
               (long long)rate.window_ms,
               (long long)depot_rate_used(rq->emu->depot, &rate, now_ms()));
    control_answer(rq, &text);
}

static void delete_rate(struct request *rq)
{
    depot_rate_forget(rq->emu->depot);
    log_remember(rq->emu->log, "shapeways told", 0);
    log_remember(rq->emu->log, "shapeways until", 0);
    answer_done(rq);
}

/* ---- signatures ---- */

/* What we make of a request, so that vectors can be tried: see README. */
static void post_sign(struct request *rq)
{
    struct oauth1_params p = {0};
    struct buf base = {0};
    struct buf text = {0};
    char signature[32];
    cJSON *order = control_body(rq);
    if (order == NULL)
        return;
    const char *url = text_of(order, "url");
    const char *query = strchr(url, '?');
    const char *wrong = NULL;
    if (has(order, "header"))
        wrong = oauth1_add_header(&p, text_of(order, "header"));
    oauth1_add_form(&p, query != NULL ? query + 1 : "");
    oauth1_add_form(&p, text_of(order, "form"));
    if (has(order, "base"))
        buf_puts(&base, text_of(order, "base"));
    else
        oauth1_base(text_of(order, "method"), url, &p, &base);
    oauth1_sign(base.data, text_of(order, "consumer_secret"), text_of(order, "token_secret"),
                signature);
    buf_puts(&text, "{\"base\":");
    buf_json(&text, base.data, base.len, true);
    buf_printf(&text, ",\"signature\":\"%s\"}\n", signature);
    if (wrong == NULL)
        control_answer(rq, &text);
    else
        control_error(rq, 400, wrong);
    buf_free(&text);
    buf_free(&base);
    oauth1_free(&p);
    cJSON_Delete(order);
}

const struct control_order shapeways_orders[] = {
    {"GET", "shapeways/models", get_models},   {"GET", "shapeways/content", get_content},
    {"GET", "shapeways/digest", get_digest},   {"POST", "shapeways/seed", post_seed},
    {"POST", "shapeways/set", post_set},       {"POST", "shapeways/version", post_version},
    {"POST", "shapeways/remove", post_remove}, {"GET", "shapeways/cart", get_cart},
    {"DELETE", "shapeways/cart", delete_cart}, {"POST", "shapeways/grant", post_grant},
    {"POST", "shapeways/revoke", post_revoke}, {"POST", "shapeways/spend", post_spend},
    {"GET", "shapeways/rate", get_rate},       {"DELETE", "shapeways/rate", delete_rate},
    {"POST", "shapeways/sign", post_sign},     {NULL, NULL, NULL},
};
