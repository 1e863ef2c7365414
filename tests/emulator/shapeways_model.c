/* Shapeways' models: lists, what is told of one, its particulars, its end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/emulator/shapeways_call.h"

#define PAGE 36

bool sw_find_model(struct request *rq, struct sw_model *m)
{
    if (sw_stock_model(sw_stock(rq), sw_visit(rq)->ids[0], m))
        return true;
    sw_gone(rq, "Model");
    return false;
}

/* ---- lists ---- */

struct listing {
    struct request *rq;
    cJSON          *models;
    int64_t         ids[PAGE];
    size_t          count;
};

static void list_one(const struct sw_model *m, void *arg)
{
    struct listing *l = arg;
    cJSON *json = cJSON_CreateObject();
    sw_add_id(json, "modelId", m->id);
    sw_add_id(json, "modelVersion", m->last);
    cJSON_AddStringToObject(json, sw_opt(l->rq)->list_title, m->title);
    cJSON_AddItemToArray(l->models, json);
    l->ids[l->count++] = m->id;
}

static bool take_page(struct request *rq, int64_t *page)
{
    struct buf text = {0};
    char *end = NULL;
    *page = 1;
    if (!request_query(rq, "page", &text))
        return true;
    *page = strtoll(text.data, &end, 10);
    bool good = *text.data != '\0' && *end == '\0' && *page >= 1 && *page < 1000000;
    if (!good) {
        request_breach(rq, "page=%s: pages begin with 1", text.data);
        sw_invalid(rq, "Invalid page");
    }
    buf_free(&text);
    return good;
}

void sw_models(struct request *rq)
{
    struct listing l = {.rq = rq};
    int64_t now = now_ms();
    int64_t page = 1;
    if (!take_page(rq, &page))
        return;
    cJSON *json = sw_answer();
    l.models = cJSON_AddArrayToObject(json, "models");
    ledger_begin(sw_stock(rq));
    sw_stock_models(sw_stock(rq), sw_is(sw_opt(rq)->list_order, "newest"),
                    now - sw_opt(rq)->list_lag_ms, PAGE, (page - 1) * PAGE, list_one, &l);
    for (size_t i = 0; i < l.count && !sw_answer_is_lost(rq); i++)
        sw_stock_saw(sw_stock(rq), l.ids[i], now);
    if (page == 1 && !sw_answer_is_lost(rq))
        sw_stock_mark(sw_stock(rq), "models listed", now);
    ledger_commit(sw_stock(rq));
    sw_reply(rq, json);
}

/* ---- what is told of one ---- */

static void add_material(const struct sw_material *m, const cJSON *chosen, bool prices,
                         cJSON *materials)
{
    char id[24];
    cJSON *json = cJSON_CreateObject();
    double markup = sw_wish_number(chosen, "markup", 0);
    cJSON_AddNumberToObject(json, "markup", markup);
    cJSON_AddBoolToObject(json, "isActive", sw_wish_flag(chosen, "isActive", false));
    if (prices) {
        cJSON_AddStringToObject(json, "name", m->title);
        cJSON_AddNumberToObject(json, "basePrice", m->base_price);
        cJSON_AddNumberToObject(json, "price", m->base_price + markup);
        cJSON_AddBoolToObject(json, "isPrintable", true);
        sw_add_restrictions(json, m);
    }
    snprintf(id, sizeof(id), "%d", m->id);
    cJSON_AddItemToObject(materials, id, json);
}

static void add_materials(struct request *rq, const struct sw_model *m, bool prices, cJSON *json)
{
    cJSON *chosen = cJSON_Parse(m->materials);
    cJSON *all = cJSON_AddObjectToObject(json, "materials");
    bool every = prices && sw_is(sw_opt(rq)->materials_told, "all");
    for (size_t i = 0; i < sw_material_count; i++) {
        char id[24];
        snprintf(id, sizeof(id), "%d", sw_materials[i].id);
        const cJSON *one = cJSON_GetObjectItemCaseSensitive(chosen, id);
        if (one != NULL || every)
            add_material(&sw_materials[i], one, prices, all);
    }
    cJSON_Delete(chosen);
}

static void add_categories(const struct sw_model *m, cJSON *json)
{
    cJSON *ids = cJSON_Parse(m->categories);
    cJSON *all = cJSON_AddObjectToObject(json, "categories");
    const cJSON *id = NULL;
    cJSON_ArrayForEach(id, ids) {
        sw_add_category(all, (int64_t)id->valuedouble);
    }
    cJSON_Delete(ids);
}

static void add_urls(const struct sw_model *m, cJSON *json)
{
    char text[128];
    cJSON *urls = cJSON_AddObjectToObject(json, "urls");
    static const char *const kinds[] = {"publicProductUrl", "privateProductUrl", "editModelUrl"};
    for (size_t i = m->is_public ? 0 : 1; i < 3; i++) {
        cJSON *one = cJSON_AddObjectToObject(urls, kinds[i]);
        snprintf(text, sizeof(text), "https://www.shapeways.com/model/%lld/?li=api%s%s",
                 (long long)m->id, i == 1 ? "&key=" : "", i == 1 ? m->secret_key : "");
        cJSON_AddStringToObject(one, "address", text);
    }
}

void sw_add_info(struct request *rq, const struct sw_model *m, bool prices, cJSON *json)
{
    struct sw_version v = {0};
    sw_stock_version(sw_stock(rq), m->id, m->last, &v);
    bool ready = sw_now(&rq->opt) >= v.created + sw_opt(rq)->process_ms;
    cJSON_AddStringToObject(json, "description", m->description);
    cJSON_AddBoolToObject(json, "isPublic", m->is_public);
    cJSON_AddBoolToObject(json, "isClaimable", m->claimable);
    cJSON_AddBoolToObject(json, "isForSale", m->for_sale);
    cJSON_AddBoolToObject(json, "isDownloadable", m->downloadable);
    add_materials(rq, m, prices, json);
    cJSON_AddStringToObject(json, "secretKey", m->secret_key);
    cJSON_AddStringToObject(json, "claimKey", m->claim_key);
    if (m->default_material != 0)
        sw_add_id(json, "defaultMaterialId", m->default_material);
    else
        cJSON_AddNullToObject(json, "defaultMaterialId");
    add_categories(m, json);
    add_urls(m, json);
    cJSON_AddStringToObject(json, "printable", ready ? "yes" : "processing");
    if (rq->opt.extra_members)
        cJSON_AddStringToObject(json, "thumbnail", "https://example.com/t.jpg");
}

static void add_head(const struct sw_model *m, cJSON *json)
{
    sw_add_id(json, "modelId", m->id);
    sw_add_id(json, "modelVersion", m->last);
    cJSON_AddStringToObject(json, "title", m->title);
}

void sw_add_version(struct request *rq, const struct sw_version *v, cJSON *json)
{
    cJSON_AddStringToObject(json, "fileName", v->name);
    cJSON_AddNumberToObject(json, "contentLength", (double)v->size);
    if (sw_is(sw_opt(rq)->checksums, "told"))
        cJSON_AddStringToObject(json, "fileMd5Checksum", v->md5);
    else
        cJSON_AddNullToObject(json, "fileMd5Checksum");
}

static void saw(struct request *rq, const struct sw_model *m)
{
    if (!sw_answer_is_lost(rq))
        sw_stock_saw(sw_stock(rq), m->id, now_ms());
}

void sw_model(struct request *rq)
{
    struct sw_model m;
    struct sw_version v = {0};
    const char *data = sw_opt(rq)->model_data;
    if (!sw_find_model(rq, &m))
        return;
    saw(rq, &m);
    sw_stock_version(sw_stock(rq), m.id, m.last, &v);
    cJSON *json = sw_answer();
    add_head(&m, json);
    sw_add_version(rq, &v, json);
    if (!sw_is(data, "absent"))
        cJSON_AddNullToObject(json, "fileData");
    sw_add_info(rq, &m, true, json);
    if (sw_is(data, "whole"))
        sw_reply_file(rq, json, &v);
    else
        sw_reply(rq, json);
}

static void tell_info(struct request *rq, const struct sw_model *m, bool prices)
{
    cJSON *json = sw_answer();
    add_head(m, json);
    sw_add_info(rq, m, prices, json);
    sw_reply(rq, json);
}

void sw_info(struct request *rq)
{
    struct sw_model m;
    if (!sw_find_model(rq, &m))
        return;
    saw(rq, &m);
    tell_info(rq, &m, true);
}

/* ---- particulars ---- */

static bool take_text(struct request *rq, const cJSON *wish, const char *name, char *out,
                      size_t size)
{
    const char *text = sw_wish_text(wish, name, out);
    if (strlen(text) >= size) {
        sw_invalid(rq, "%s is too long", name);
        return false;
    }
    if (text != out)
        snprintf(out, size, "%s", text);
    return true;
}

static bool keep_json(struct request *rq, const cJSON *value, const char *name, char *out,
                      size_t size)
{
    char *text = cJSON_PrintUnformatted(value);
    bool fits = text != NULL && strlen(text) < size;
    if (fits)
        snprintf(out, size, "%s", text);
    else
        sw_invalid(rq, "%s are too many", name);
    free(text);
    return fits;
}

static bool take_tags(struct request *rq, const cJSON *wish, struct sw_model *m)
{
    const cJSON *tags = cJSON_GetObjectItemCaseSensitive(wish, "tags");
    return tags == NULL || keep_json(rq, tags, "Tags", m->tags, sizeof(m->tags));
}

static bool take_categories(struct request *rq, const cJSON *wish, struct sw_model *m)
{
    const cJSON *all = cJSON_GetObjectItemCaseSensitive(wish, "categories");
    const cJSON *id = NULL;
    cJSON *scratch = cJSON_CreateObject();
    bool good = true;
    cJSON_ArrayForEach(id, all) {
        good = good && sw_add_category(scratch, (int64_t)id->valuedouble);
    }
    cJSON_Delete(scratch);
    if (!good)
        sw_invalid(rq, "Category not found");
    return good && (all == NULL || keep_json(rq, all, "Categories", m->categories,
                                             sizeof(m->categories)));
}

/* What is given of a material replaces what was known of it. */
static void merge_material(cJSON *known, const cJSON *one)
{
    cJSON *old = cJSON_GetObjectItemCaseSensitive(known, one->string);
    double markup = sw_wish_number(one, "markup", sw_wish_number(old, "markup", 0));
    bool active = sw_wish_flag(one, "isActive", sw_wish_flag(old, "isActive", false));
    cJSON_DeleteItemFromObjectCaseSensitive(known, one->string);
    cJSON *merged = cJSON_AddObjectToObject(known, one->string);
    cJSON_AddNumberToObject(merged, "markup", markup);
    cJSON_AddBoolToObject(merged, "isActive", active);
}

static bool take_materials(struct request *rq, const cJSON *wish, struct sw_model *m)
{
    const cJSON *all = cJSON_GetObjectItemCaseSensitive(wish, "materials");
    const cJSON *one = NULL;
    bool replace = sw_is(sw_opt(rq)->materials, "replace");
    if (all == NULL)
        return true;
    cJSON *known = cJSON_Parse(replace ? "{}" : m->materials);
    bool good = true;
    cJSON_ArrayForEach(one, all) {
        good = good && sw_material_by_id(strtoll(one->string, NULL, 10)) != NULL;
        merge_material(known, one);
    }
    if (!good)
        sw_invalid(rq, "Material not found");
    good = good && keep_json(rq, known, "Materials", m->materials, sizeof(m->materials));
    cJSON_Delete(known);
    return good;
}

/* "Once a model is set to claimable, it cannot be set to public or for-sale." */
static bool take_flags(struct request *rq, const cJSON *wish, struct sw_model *m)
{
    m->is_public = sw_wish_flag(wish, "isPublic", m->is_public);
    m->for_sale = sw_wish_flag(wish, "isForSale", m->for_sale);
    m->downloadable = sw_wish_flag(wish, "isDownloadable", m->downloadable);
    if (!m->claimable || (!m->is_public && !m->for_sale))
        return true;
    sw_invalid(rq, "A claimable model cannot be public or for sale");
    return false;
}

bool sw_take_info(struct request *rq, const cJSON *wish, struct sw_model *m)
{
    int64_t material = (int64_t)sw_wish_number(wish, "defaultMaterialId",
                                               (double)m->default_material);
    if (material != 0 && sw_material_by_id(material) == NULL) {
        sw_invalid(rq, "Material not found");
        return false;
    }
    m->default_material = material;
    return take_text(rq, wish, "title", m->title, sizeof(m->title)) &&
           take_text(rq, wish, "description", m->description, sizeof(m->description)) &&
           take_flags(rq, wish, m) && take_tags(rq, wish, m) && take_categories(rq, wish, m) &&
           take_materials(rq, wish, m);
}

void sw_info_put(struct request *rq)
{
    static const struct sw_param params[] = {
        {"modelId", SW_INT, false},          {"title", SW_TEXT, false},
        {"description", SW_TEXT, false},     {"isPublic", SW_FLAG, false},
        {"isForSale", SW_FLAG, false},       {"isDownloadable", SW_FLAG, false},
        {"tags", SW_TEXTS, false},           {"materials", SW_MATERIALS, false},
        {"defaultMaterialId", SW_INT, false}, {"categories", SW_INTS, false},
    };
    struct sw_model m;
    cJSON *wish = sw_wish(rq, params, sizeof(params) / sizeof(params[0]));
    if (wish == NULL)
        return;
    ledger_begin(sw_stock(rq));
    bool good = sw_find_model(rq, &m);
    if (good && sw_wish_number(wish, "modelId", (double)m.id) != (double)m.id)
        request_breach(rq, "modelId is another than the path's");
    good = good && sw_take_info(rq, wish, &m);
    if (good)
        sw_stock_put_model(sw_stock(rq), &m);
    ledger_commit(sw_stock(rq));
    cJSON_Delete(wish);
    if (good)
        tell_info(rq, &m, false);
}

/* ---- its end ---- */

void sw_judge_unseen(struct request *rq, const struct sw_model *m, const char *what)
{
    if (m->touched > m->seen)
        request_breach(rq, "%s, but version %lld of another program was never looked at", what,
                       (long long)m->last);
}

void sw_model_delete(struct request *rq)
{
    struct sw_model m;
    if (!sw_find_model(rq, &m))
        return;
    sw_judge_unseen(rq, &m, "deleted");
    sw_stock_remove_model(sw_stock(rq), m.id);
    cJSON *json = sw_answer();
    sw_add_id(json, "modelId", m.id);
    sw_reply(rq, json);
}
