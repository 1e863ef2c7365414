/* POST /models/upload and /backgrounds/upload. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tests/emulator/sharemy3d_call.h"
#include "tests/emulator/signed.h"
#include "tests/emulator/sign.h"

#define SIZE_MAX_BYTES 5497558138880.0  /* 5 TiB: no object of Google's is longer */

/* ---- what was asked for ---- */

static bool invalid(struct request *rq, const char *what, const char *name)
{
    request_breach(rq, "%s: \"%s\"", what, name);
    sharemy3d_error(rq, 400, "Invalid parameter");
    return false;
}

static size_t length_in(const char *unit, const char *text)
{
    size_t chars = 0;
    size_t wide = 0;                    /* those that UTF-16 has as two */
    for (const char *p = text; *p != '\0'; p++) {
        chars += ((unsigned char)*p & 0xc0) != 0x80;
        wide += (unsigned char)*p >= 0xf0;
    }
    if (strcmp(unit, "bytes") == 0)
        return strlen(text);
    return strcmp(unit, "utf16") == 0 ? chars + wide : chars;
}

/* "strict": within the range however it is counted. */
static bool in_range(const char *unit, const char *text, size_t min, size_t max)
{
    bool strict = strcmp(unit, "strict") == 0;
    return length_in(strict ? "chars" : unit, text) >= min &&
           length_in(strict ? "bytes" : unit, text) <= max;
}

static bool take_text(struct request *rq, const cJSON *item, size_t min, size_t max, char *out,
                      size_t size)
{
    if (!cJSON_IsString(item))
        return invalid(rq, "no string", item->string);
    if (!in_range(sm3d_opt(rq)->lengths, item->valuestring, min, max))
        return invalid(rq, "its length is out of range", item->string);
    snprintf(out, size, "%s", item->valuestring);
    return true;
}

static bool take_flag(struct request *rq, const cJSON *item, bool *out)
{
    *out = cJSON_IsTrue(item);
    return cJSON_IsBool(item) || invalid(rq, "neither true nor false", item->string);
}

static bool take_size(struct request *rq, const cJSON *item, uint64_t *out)
{
    double value = item->valuedouble;
    if (!cJSON_IsNumber(item) || value < 0 || value > SIZE_MAX_BYTES || value != floor(value))
        return invalid(rq, "no size in bytes", item->string);
    *out = (uint64_t)value;
    return true;
}

static bool take_type(struct request *rq, const cJSON *item, char *out, size_t size)
{
    const char *text = cJSON_IsString(item) ? item->valuestring : "";
    snprintf(out, size, "%s", text);
    return strcmp(text, "IMAGE") == 0 || strcmp(text, "PANORAMA") == 0 ||
           invalid(rq, "neither IMAGE nor PANORAMA", item->string);
}

static bool take_password(struct request *rq, const cJSON *item, struct sm3d_item *x)
{
    if (!take_text(rq, item, 0, 100, x->password, sizeof(x->password)))
        return false;
    x->has_password =
        x->password[0] != '\0' || strcmp(sm3d_opt(rq)->empty_password, "set") == 0;
    return true;
}

static bool take_member(struct request *rq, const cJSON *item, struct sm3d_item *x)
{
    const char *name = item->string;
    bool model = x->kind == SM3D_MODEL;
    if (strcmp(name, "size") == 0)
        return take_size(rq, item, &x->size);
    if (strcmp(name, "filename") == 0)
        return take_text(rq, item, 0, 100, x->filename, sizeof(x->filename));
    if (strcmp(name, "name") == 0)
        return take_text(rq, item, 3, 50, x->name, sizeof(x->name));
    if (strcmp(name, "resumable") == 0)
        return take_flag(rq, item, &x->resumable);
    if (strcmp(name, "description") == 0) {
        x->has_description = true;
        return take_text(rq, item, 0, 100, x->description, sizeof(x->description));
    }
    if (model && strcmp(name, "password") == 0)
        return take_password(rq, item, x);
    if (model && strcmp(name, "downloadable") == 0)
        return take_flag(rq, item, &x->downloadable);
    if (!model && strcmp(name, "type") == 0)
        return take_type(rq, item, x->type, sizeof(x->type));
    request_breach(rq, "\"%s\" is no documented parameter", name);
    return true;
}

static bool has_required(struct request *rq, const cJSON *json, enum sm3d_kind kind)
{
    const char *const names[] = {"size", "filename", "name", "type"};
    size_t count = kind == SM3D_MODEL ? 3 : 4;
    for (size_t i = 0; i < count; i++)
        if (cJSON_GetObjectItemCaseSensitive(json, names[i]) == NULL)
            return invalid(rq, "a required parameter is missing", names[i]);
    return true;
}

static bool is_accepted(struct request *rq, const struct sm3d_item *x)
{
    const struct sm3d_options *opt = sm3d_opt(rq);
    const char *allowed = x->kind == SM3D_MODEL ? opt->extensions : opt->pictures;
    if (*allowed != '\0' && !sm3d_listed(allowed, sm3d_extension(x->filename))) {
        sharemy3d_error(rq, 400, "Unknown file format");
        return false;
    }
    if (x->size == 0 && strcmp(opt->empty, "refused") == 0) {
        sharemy3d_error(rq, 400, "Invalid size");
        return false;
    }
    return true;
}

static bool read_wish(struct request *rq, struct sm3d_item *x)
{
    const cJSON *item = NULL;
    bool good = true;
    if (strncasecmp(rq->content_type, "application/json", 16) != 0)
        request_breach(rq, "Content-Type \"%s\", not application/json", rq->content_type);
    if (rq->body.len > 0 && strstr(rq->body.data, request_token(rq)) != NULL)
        request_breach(rq, "the token stands in the body");
    cJSON *json = cJSON_ParseWithLength(rq->body.len > 0 ? rq->body.data : "", rq->body.len);
    if (!cJSON_IsObject(json)) {
        cJSON_Delete(json);
        return invalid(rq, "no JSON object", "body");
    }
    cJSON_ArrayForEach(item, json) {
        good = good && take_member(rq, item, x);
    }
    good = good && has_required(rq, json, x->kind) && is_accepted(rq, x);
    cJSON_Delete(json);
    return good;
}

/* ---- a second one ---- */

struct search {
    struct request         *rq;
    const struct sm3d_item *wanted;
    struct sm3d_item        found;      /* num 0: none */
};

static void look_alike(const struct sm3d_item *x, void *arg)
{
    struct search *s = arg;
    struct sm3d_session session;
    int ignored = 0;
    if (x->seeded || x->object.generation != 0 || x->size != s->wanted->size ||
        strcmp(x->filename, s->wanted->filename) != 0 || strcmp(x->name, s->wanted->name) != 0)
        return;
    bool session_known = x->resumable && stock_session_of(sm3d_stock(s->rq), x->id, &session);
    if (session_known ? sm3d_session_lives(&s->rq->opt, &session, &ignored)
                      : now_ms() < x->posted + sm3d_opt(s->rq)->put_ttl_s * 1000LL)
        s->found = *x;
}

/* An answer may be lost; but who has used its uploadUrl has it, and who lost it looks first. */
static void judge_second(struct request *rq, const struct sm3d_item *x)
{
    struct search s = {.rq = rq, .wanted = x};
    const char *listed = x->kind == SM3D_MODEL ? "models listed" : "backgrounds listed";
    if (strcmp(sm3d_opt(rq)->second_post, "breach") != 0)
        return;
    stock_items(sm3d_stock(rq), x->kind, look_alike, &s);
    if (s.found.num == 0)
        return;
    if (s.found.used)
        request_breach(rq, "a second POST for one drop: %s is under way", s.found.id);
    else if (stock_marked(sm3d_stock(rq), listed) < s.found.posted)
        request_breach(rq, "a second POST for one drop: whether there is one was not looked up");
}

/* ---- making it ---- */

void sm3d_prepare(const struct option_values *opt, struct sm3d_item *x)
{
    bool path = strcmp(opt->sm3d.filename_in, "path") == 0;
    sign_random_hex(x->id);
    snprintf(x->key, sizeof(x->key), "originals/%s%s%s", x->id, path ? "/" : "",
             path ? x->filename : "");
    x->posted = now_ms();
    x->created = sm3d_now(opt);
    bool fails = sm3d_listed(opt->sm3d.failing, sm3d_extension(x->filename));
    snprintf(x->outcome, sizeof(x->outcome), "%s", fails ? "FAILED" : "ACTIVE");
    if (*opt->sm3d.stuck != '\0')
        snprintf(x->outcome, sizeof(x->outcome), "%s", opt->sm3d.stuck);
    x->stuck = *opt->sm3d.stuck != '\0';
}

static void answer(struct request *rq, const struct sm3d_item *x, const struct buf *url)
{
    struct buf text = {0};
    bool model = x->kind == SM3D_MODEL;
    buf_printf(&text, "{\"class\":\"Upload%sResponse\",\"%sId\":\"%s\",\"uploadUrl\":",
               model ? "Model" : "Background", model ? "model" : "background", x->id);
    buf_json(&text, url->data, url->len, true);
    buf_puts(&text, "}\n");
    reply_json(&rq->reply, sm3d_opt(rq)->created_status, &text);
}

void sharemy3d_new(struct request *rq)
{
    struct sm3d_item x = {.kind = sm3d_visit(rq)->route->kind};
    struct buf url = {0};
    if (!read_wish(rq, &x))
        return;
    ledger_begin(sm3d_stock(rq));
    judge_second(rq, &x);
    sm3d_prepare(&rq->opt, &x);
    stock_put_item(sm3d_stock(rq), &x);
    if (!x.resumable)
        sm3d_signed_url(rq, &x, "PUT", &url);
    else if (strcmp(sm3d_opt(rq)->resumable_form, "start") == 0)
        sm3d_signed_url(rq, &x, "POST", &url);
    else
        sm3d_open_session(rq, &x, &url);
    ledger_commit(sm3d_stock(rq));
    answer(rq, &x, &url);
    buf_free(&url);
}
