/* The print shop: materials, printers, categories, prices, the cart; and what is left of the
 * rate. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/emulator/shapeways_call.h"

const struct sw_material sw_materials[] = {
    {5, "Alumide", false, 3, 1.5, 0.99, true},
    {6, "White Strong & Flexible", false, 1, 1.5, 1.4, false},
    {25, "White / Polished", false, 1, 2.0, 1.5, false},
    {26, "Full Color Sandstone", true, 2, 3.0, 0.75, true},
    {81, "Raw Brass", false, 4, 10.0, 16.0, false},
};
const size_t sw_material_count = sizeof(sw_materials) / sizeof(sw_materials[0]);

static const struct printer {
    int         id;
    const char *title;
    double      min[3];                 /* in cm */
    double      max[3];
} printers[] = {
    {1, "EOSINT P 760", {0.1, 0.1, 0.07}, {65, 35, 55}},
    {2, "ZPrinter 650", {0.3, 0.3, 0.2}, {25, 38, 20}},
    {3, "EOSINT P 390", {0.1, 0.1, 0.08}, {32, 32, 60}},
    {4, "Solidscape T76", {0.24, 0.24, 0.24}, {8.9, 8.9, 10}},
};
#define PRINTERS (sizeof(printers) / sizeof(printers[0]))

static const struct category {
    int         id;
    const char *title;
    int         level;
    int         parent;
} categories[] = {
    {1, "Art", 1, 0},        {2, "Sculptures", 2, 1}, {4, "Games", 1, 0},
    {12, "Miniatures", 2, 4}, {70, "Trains", 3, 12},   {101, "Jewelry / Rings", 1, 0},
};
#define CATEGORIES (sizeof(categories) / sizeof(categories[0]))

/* ---- materials ---- */

const struct sw_material *sw_material_by_id(int64_t id)
{
    for (size_t i = 0; i < sw_material_count; i++)
        if (sw_materials[i].id == id)
            return &sw_materials[i];
    return NULL;
}

void sw_add_restrictions(cJSON *json, const struct sw_material *m)
{
    cJSON *all = cJSON_AddObjectToObject(json, "restrictions");
    if (!m->restricted)
        return;
    cJSON *one = cJSON_AddObjectToObject(all, "2");
    sw_add_id(one, "restrictionId", 2);
    cJSON_AddStringToObject(one, "restrictionName", "Minimum wall thickness");
    cJSON *ids = cJSON_AddArrayToObject(one, "restrictionEntityIds");
    cJSON_AddItemToArray(ids, cJSON_CreateNumber(m->id));
}

static void add_material(const struct sw_material *m, cJSON *json)
{
    char swatch[128];
    snprintf(swatch, sizeof(swatch), "https://static1.sw-cdn.net/rrstatic/img/materials/%d.jpg",
             m->id);
    cJSON_AddStringToObject(json, "title", m->title);
    cJSON_AddBoolToObject(json, "supportsColorFiles", m->color);
    sw_add_id(json, "printerId", m->printer);
    cJSON_AddStringToObject(json, "swatch", swatch);
    sw_add_restrictions(json, m);
}

void sw_material_list(struct request *rq)
{
    cJSON *json = sw_answer();
    cJSON *all = cJSON_AddObjectToObject(json, "materials");
    for (size_t i = 0; i < sw_material_count; i++) {
        char id[24];
        snprintf(id, sizeof(id), "%d", sw_materials[i].id);
        cJSON *one = cJSON_AddObjectToObject(all, id);
        sw_add_id(one, "materialId", sw_materials[i].id);
        add_material(&sw_materials[i], one);
    }
    sw_reply(rq, json);
}

void sw_material_one(struct request *rq)
{
    const struct sw_material *m = sw_material_by_id(sw_visit(rq)->ids[0]);
    if (m == NULL) {
        sw_gone(rq, "Material");
        return;
    }
    cJSON *json = sw_answer();
    sw_add_id(json, "materialId", m->id);
    add_material(m, json);
    sw_reply(rq, json);
}

/* ---- printers ---- */

static void add_printer(const struct printer *p, cJSON *json)
{
    static const char axes[] = "xyz";
    char name[16];
    sw_add_id(json, "printerId", p->id);
    cJSON_AddStringToObject(json, "title", p->title);
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "%cBoundMin", axes[i]);
        cJSON_AddNumberToObject(json, name, p->min[i]);
        snprintf(name, sizeof(name), "%cBoundMax", axes[i]);
        cJSON_AddNumberToObject(json, name, p->max[i]);
    }
}

void sw_printer_list(struct request *rq)
{
    cJSON *json = sw_answer();
    cJSON *all = cJSON_AddArrayToObject(json, "printers");
    for (size_t i = 0; i < PRINTERS; i++) {
        cJSON *one = cJSON_CreateObject();
        add_printer(&printers[i], one);
        cJSON_AddItemToArray(all, one);
    }
    sw_reply(rq, json);
}

void sw_printer_one(struct request *rq)
{
    for (size_t i = 0; i < PRINTERS; i++) {
        if (printers[i].id != sw_visit(rq)->ids[0])
            continue;
        cJSON *json = sw_answer();
        add_printer(&printers[i], json);
        sw_reply(rq, json);
        return;
    }
    sw_gone(rq, "Printer");
}

/* ---- categories ---- */

static void fill_category(const struct category *c, cJSON *json)
{
    cJSON_AddStringToObject(json, "title", c->title);
    cJSON_AddNumberToObject(json, "level", c->level);
    sw_add_id(json, "parentId", c->parent);
}

bool sw_add_category(cJSON *all, int64_t id)
{
    for (size_t i = 0; i < CATEGORIES; i++) {
        char name[24];
        if (categories[i].id != id)
            continue;
        snprintf(name, sizeof(name), "%d", categories[i].id);
        fill_category(&categories[i], cJSON_AddObjectToObject(all, name));
        return true;
    }
    return false;
}

void sw_category_list(struct request *rq)
{
    cJSON *json = sw_answer();
    cJSON *all = cJSON_AddObjectToObject(json, "categories");
    for (size_t i = 0; i < CATEGORIES; i++)
        sw_add_category(all, categories[i].id);
    sw_reply(rq, json);
}

void sw_category_one(struct request *rq)
{
    for (size_t i = 0; i < CATEGORIES; i++) {
        if (categories[i].id != sw_visit(rq)->ids[0])
            continue;
        cJSON *json = sw_answer();
        fill_category(&categories[i], cJSON_AddObjectToObject(json, "category"));
        sw_reply(rq, json);
        return;
    }
    sw_gone(rq, "Category");
}

/* ---- prices ---- */

static void add_price(const struct sw_material *m, double cm3, cJSON *prices)
{
    char id[24];
    snprintf(id, sizeof(id), "%d", m->id);
    cJSON *one = cJSON_AddObjectToObject(prices, id);
    cJSON_AddNumberToObject(one, "price", m->base_price + m->cm3_price * cm3);
    cJSON_AddStringToObject(one, "currency", "usd");
}

void sw_price(struct request *rq)
{
    static const struct sw_param params[] = {
        {"volume", SW_FLOAT, true},    {"area", SW_FLOAT, true},
        {"xBoundMin", SW_FLOAT, true}, {"xBoundMax", SW_FLOAT, true},
        {"yBoundMin", SW_FLOAT, true}, {"yBoundMax", SW_FLOAT, true},
        {"zBoundMin", SW_FLOAT, true}, {"zBoundMax", SW_FLOAT, true},
        {"materials", SW_INTS, false},
    };
    cJSON *wish = sw_wish(rq, params, sizeof(params) / sizeof(params[0]));
    if (wish == NULL)
        return;
    const cJSON *only = cJSON_GetObjectItemCaseSensitive(wish, "materials");
    const cJSON *id = NULL;
    double cm3 = sw_wish_number(wish, "volume", 0) * 1e6;
    bool good = true;
    cJSON *json = sw_answer();
    cJSON *prices = cJSON_AddObjectToObject(json, "prices");
    cJSON_ArrayForEach(id, only) {
        const struct sw_material *m = sw_material_by_id((int64_t)id->valuedouble);
        good = good && m != NULL;
        if (m != NULL)
            add_price(m, cm3, prices);
    }
    for (size_t i = 0; i < sw_material_count && cJSON_GetArraySize(only) == 0; i++)
        add_price(&sw_materials[i], cm3, prices);
    cJSON_Delete(wish);
    if (good) {
        sw_reply(rq, json);
        return;
    }
    cJSON_Delete(json);
    sw_invalid(rq, "Material not found");
}

/* ---- the cart ---- */

static void add_item(const struct sw_item *i, void *arg)
{
    cJSON *json = arg;
    cJSON *count = cJSON_GetObjectItemCaseSensitive(json, "itemCount");
    cJSON *one = cJSON_CreateObject();
    sw_add_id(one, "modelId", i->model);
    sw_add_id(one, "materialId", i->material);
    cJSON_AddNumberToObject(one, "quantity", (double)i->quantity);
    cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(json, "items"), one);
    cJSON_SetNumberValue(count, count->valuedouble + (double)i->quantity);
}

void sw_cart(struct request *rq)
{
    cJSON *json = sw_answer();
    cJSON_AddNumberToObject(json, "itemCount", 0);
    cJSON_AddArrayToObject(json, "items");
    sw_stock_cart(sw_stock(rq), add_item, json);
    if (!sw_answer_is_lost(rq))
        sw_stock_mark(sw_stock(rq), "cart lost", 0);
    sw_reply(rq, json);
}

/* After a lost answer the cart is to be read before the same is added again. */
static void judge_second_item(struct request *rq, const struct sw_item *i)
{
    struct buf text = {0};
    struct ledger *stock = sw_stock(rq);
    buf_printf(&text, "cart lost %lld %lld %lld", (long long)i->model, (long long)i->material,
               (long long)i->quantity);
    int64_t since = sw_stock_marked(stock, "cart lost");
    if (since != 0 && sw_stock_marked(stock, text.data) >= since)
        request_breach(rq, "added again after a lost answer, and the cart was not read between");
    sw_stock_mark(stock, text.data, sw_answer_is_lost(rq) ? now_ms() : 0);
    if (sw_answer_is_lost(rq))
        sw_stock_mark(stock, "cart lost", since != 0 ? since : now_ms());
    buf_free(&text);
}

void sw_cart_add(struct request *rq)
{
    static const struct sw_param params[] = {
        {"modelId", SW_INT, true}, {"materialId", SW_INT, false}, {"quantity", SW_INT, false}};
    struct sw_model m;
    cJSON *wish = sw_wish(rq, params, sizeof(params) / sizeof(params[0]));
    if (wish == NULL)
        return;
    struct sw_item i = {(int64_t)sw_wish_number(wish, "modelId", 0),
                        (int64_t)sw_wish_number(wish, "materialId", 0),
                        (int64_t)sw_wish_number(wish, "quantity", 1)};
    cJSON_Delete(wish);
    bool known = sw_stock_model(sw_stock(rq), i.model, &m);
    if (known && i.material == 0)
        i.material = m.default_material != 0 ? m.default_material : sw_materials[1].id;
    if (!known || i.quantity < 1 || sw_material_by_id(i.material) == NULL) {
        sw_invalid(rq, !known             ? "Model not found"
                       : i.quantity < 1 ? "\nquantity is invalid"
                                        : "Material not found");
        return;
    }
    judge_second_item(rq, &i);
    sw_stock_cart_add(sw_stock(rq), &i);
    sw_reply(rq, sw_answer());
}

/* ---- the rate ---- */

/* How many calls there were in each minute, the last one first. */
static void add_history(struct request *rq, cJSON *json)
{
    bool list = sw_is(sw_opt(rq)->history, "array");
    cJSON *history = list ? cJSON_AddArrayToObject(json, "history")
                          : cJSON_AddObjectToObject(json, "history");
    struct rate rate = sw_rate(&rq->opt);
    int64_t window_ms = rate.window_ms;
    int64_t before = 0;
    for (int64_t minute = 1; (minute - 1) * 60000 < window_ms; minute++) {
        char name[24];
        rate.window_ms = minute * 60000;
        int64_t count = depot_rate_used(rq->emu->depot, &rate, now_ms());
        snprintf(name, sizeof(name), "%lld",
                 (long long)(sw_now(&rq->opt) / 60000 - minute + 1) * 60);
        if (list)
            cJSON_AddItemToArray(history, cJSON_CreateNumber((double)(count - before)));
        else
            cJSON_AddNumberToObject(history, name, (double)(count - before));
        before = count;
    }
}

void sw_api(struct request *rq)
{
    int64_t retry_s = 0;
    int64_t left = sw_remaining(rq->emu, &rq->opt, &retry_s);
    const struct {
        const char *name;
        double      value;
    } rows[] = {
        {"retryInSeconds", (double)retry_s},
        {"retryTimestamp", (double)(sw_now(&rq->opt) / 1000 + retry_s)},
        {"windowInSeconds", sw_opt(rq)->rate_window_ms / 1000},
        {"limit", sw_opt(rq)->rate_limit},
        {"remaining", (double)left},
    };
    cJSON *json = sw_answer();
    cJSON *rate = cJSON_AddObjectToObject(json, "rateLimit");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char flat[64];
        snprintf(flat, sizeof(flat), "rateLimit_%s", rows[i].name);
        cJSON_AddNumberToObject(rate, rows[i].name, rows[i].value);
        cJSON_AddNumberToObject(json, flat, rows[i].value);
    }
    add_history(rq, rate);
    sw_reply(rq, json);
}
