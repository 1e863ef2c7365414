/* The parameters of Shapeways' POST and PUT. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/emulator/shapeways_call.h"

static bool is_int(const cJSON *item)
{
    return cJSON_IsNumber(item) && item->valuedouble == floor(item->valuedouble);
}

static bool is_flag(const cJSON *item)
{
    return cJSON_IsBool(item) ||
           (cJSON_IsNumber(item) && (item->valuedouble == 0 || item->valuedouble == 1));
}

static bool is_list(const cJSON *list, bool texts)
{
    const cJSON *item = NULL;
    bool good = cJSON_IsArray(list);
    cJSON_ArrayForEach(item, list) {
        good = good && (texts ? cJSON_IsString(item) : is_int(item));
    }
    return good;
}

/* {"6": {"markup": 1.5, "isActive": 1}}, of which either may be absent. */
static bool is_materials(struct request *rq, const cJSON *all)
{
    const cJSON *one = NULL;
    const cJSON *item = NULL;
    bool good = cJSON_IsObject(all);
    cJSON_ArrayForEach(one, all) {
        good = good && cJSON_IsObject(one);
        cJSON_ArrayForEach(item, one) {
            if (strcmp(item->string, "markup") == 0)
                good = good && cJSON_IsNumber(item);
            else if (strcmp(item->string, "isActive") == 0)
                good = good && is_flag(item);
            else
                request_breach(rq, "%s of a material is no documented parameter", item->string);
        }
    }
    return good;
}

static bool fits(struct request *rq, const cJSON *item, enum sw_kind kind)
{
    switch (kind) {
    case SW_INT:
        return is_int(item);
    case SW_FLOAT:
        return cJSON_IsNumber(item);
    case SW_FLAG:
        return is_flag(item);
    case SW_TEXTS:
        return is_list(item, true);
    case SW_INTS:
        return is_list(item, false);
    case SW_MATERIALS:
        return is_materials(rq, item);
    case SW_TEXT:
    case SW_FILE:
        break;
    }
    return cJSON_IsString(item);
}

static const char *name_of(enum sw_kind kind)
{
    static const char *const names[] = {"a text",         "a whole number",
                                        "a number",       "true, false, 0 or 1",
                                        "a list of texts", "a list of numbers",
                                        "materials",      "a text"};
    return names[kind];
}

static const struct sw_param *param_named(const struct sw_param *params, size_t count,
                                          const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(params[i].name, name) == 0)
            return &params[i];
    return NULL;
}

/* Takes away what nobody knows; false: a member has the wrong type. */
static bool judge_members(struct request *rq, cJSON *json, const struct sw_param *params,
                          size_t count)
{
    cJSON *next = NULL;
    for (cJSON *item = json->child; item != NULL; item = next) {
        const struct sw_param *param = param_named(params, count, item->string);
        next = item->next;
        if (param == NULL) {
            request_breach(rq, "%s is no documented parameter", item->string);
            cJSON_Delete(cJSON_DetachItemViaPointer(json, item));
        } else if (cJSON_GetObjectItemCaseSensitive(json, item->string) != item) {
            request_breach(rq, "%s is there twice", item->string);
        } else if (!fits(rq, item, param->kind)) {
            request_breach(rq, "%s is not %s", item->string, name_of(param->kind));
            sw_invalid(rq, "\n%s is invalid", item->string);
            return false;
        }
    }
    return true;
}

/* "A missing field's reason starts with a newline and names the field." */
static bool judge_required(struct request *rq, const cJSON *json, const struct sw_param *params,
                           size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!params[i].required || cJSON_HasObjectItem(json, params[i].name))
            continue;
        request_breach(rq, "a required parameter is missing: %s", params[i].name);
        sw_invalid(rq, "\n%s is required", params[i].name);
        return false;
    }
    return true;
}

cJSON *sw_wish(struct request *rq, const struct sw_param *params, size_t count)
{
    struct sw_body *body = sw_visit(rq)->body;
    const struct buf *text = body != NULL ? sw_body_rest(body) : &rq->body;
    cJSON *json = cJSON_ParseWithLengthOpts(text->data != NULL ? text->data : "", text->len + 1,
                                            NULL, true);
    if (!cJSON_IsObject(json)) {
        request_breach(rq, "the body is no JSON object");
        sw_invalid(rq, "Invalid JSON");
    } else if (judge_members(rq, json, params, count) &&
               judge_required(rq, json, params, count)) {
        return json;
    }
    cJSON_Delete(json);
    return NULL;
}

const char *sw_wish_text(const cJSON *json, const char *name, const char *otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    return cJSON_IsString(item) ? item->valuestring : otherwise;
}

double sw_wish_number(const cJSON *json, const char *name, double otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

bool sw_wish_flag(const cJSON *json, const char *name, bool otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    if (cJSON_IsBool(item))
        return cJSON_IsTrue(item);
    return cJSON_IsNumber(item) ? item->valuedouble != 0 : otherwise;
}
