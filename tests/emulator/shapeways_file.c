/* New models and versions at Shapeways, and what is read of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/emulator/shapeways_call.h"
#include "tests/emulator/sign.h"

bool sw_answer_is_lost(const struct request *rq)
{
    const struct fault_plan *p = &rq->plan;
    return p->reset != RESET_NONE || p->processed || p->cut >= 0 || p->stall >= 0 ||
           p->wrong_length != 0 || p->garbage || p->has_body || client_gone(rq->fd);
}

/* ---- the text that the file was ---- */

/* Either form is one that clients send; but which one this service wants, is known after one
 * try: its MD5 was another than the file's. */
static void judge_form(struct request *rq, const struct sw_text *text)
{
    const char *form = sw_opt(rq)->file_form;
    struct buf key = {0};
    bool wrong = (sw_is(form, "percent") && text->percents == 0 && text->pluses > 0) ||
                 (sw_is(form, "plain") && text->percents > 0);
    if (!wrong)
        return;
    buf_printf(&key, "shapeways wants %s", form);
    int64_t told = log_recall(rq->emu->log, key.data);
    if (told != 0 && sw_visit(rq)->began > told + NEWS_MS)
        request_breach(rq, "a file in the form that had another MD5 before");
    else if (told == 0 && !sw_answer_is_lost(rq))
        log_remember(rq->emu->log, key.data, now_ms());
    buf_free(&key);
}

static void judge_text(struct request *rq, const struct sw_text *text)
{
    uint64_t digits = text->length - 2 * text->percents;
    if (text->odd > 0)
        request_breach(rq, "the file's text holds %llu characters that are no base64",
                       (unsigned long long)text->odd);
    else if (text->percents > 0 && text->pluses > 0)
        request_breach(rq, "the file's text is percent-encoded, but some '+' are not");
    else if (digits % 4 != 0)
        request_breach(rq, "the file's text is no whole base64: %llu digits",
                       (unsigned long long)digits);
    judge_form(rq, text);
}

bool sw_take_file(struct request *rq, struct sums *sums, uint64_t *size, char content[33])
{
    struct sw_body *body = sw_visit(rq)->body;
    const struct sw_text *text = sw_body_text(body);
    int64_t max = sw_opt(rq)->file_max;
    if (text->times != 1)
        request_breach(rq, "the file's text is there %d times", text->times);
    judge_text(rq, text);
    if (sw_body_commit(body, content, sums) < 0) {
        sw_error(rq, 500, "The file cannot be kept");
        return false;
    }
    *size = text->bytes;
    if (*size == 0 || (max > 0 && *size > (uint64_t)max)) {
        store_drop(rq->emu->store, content);
        sw_error(rq, *size == 0 ? sw_opt(rq)->invalid_status : sw_opt(rq)->file_max_status,
                 *size == 0 ? "\nfile is empty" : "The file is too large");
        return false;
    }
    return true;
}

/* ---- what was declared ---- */

static bool judge_declarations(struct request *rq, const cJSON *wish)
{
    if (!sw_wish_flag(wish, "hasRightsToModel", false)) {
        sw_invalid(rq, "You must have the rights to the model");
        return false;
    }
    if (!sw_wish_flag(wish, "acceptTermsAndConditions", false)) {
        sw_invalid(rq, "You must accept the Terms and Conditions");
        return false;
    }
    if (sw_is(sw_opt(rq)->terms, "open")) {
        sw_error(rq, 403, "The Terms and Conditions have changed: please accept them");
        return false;
    }
    if (sw_wish_number(wish, "uploadScale", 1) <= 0) {
        request_breach(rq, "uploadScale is not above 0");
        sw_invalid(rq, "\nuploadScale is invalid");
        return false;
    }
    return true;
}

static bool take_version(struct request *rq, const cJSON *wish, struct sw_version *v)
{
    struct sums sums;
    const char *name = sw_wish_text(wish, "fileName", "");
    if (!judge_declarations(rq, wish))
        return false;
    if (*name == '\0' || strlen(name) >= sizeof(v->name) || strchr(name, '/') != NULL) {
        request_breach(rq, "fileName %s is no file's name", name);
        sw_invalid(rq, "\nfileName is invalid");
        return false;
    }
    if (!sw_take_file(rq, &sums, &v->size, v->content))
        return false;
    snprintf(v->name, sizeof(v->name), "%s", name);
    snprintf(v->md5, sizeof(v->md5), "%s", sums.md5_hex);
    snprintf(v->form, sizeof(v->form), "%s",
             sw_body_text(sw_visit(rq)->body)->percents > 0 ? "percent" : "plain");
    v->scale = sw_wish_number(wish, "uploadScale", 1);
    v->created = sw_now(&rq->opt);
    v->lost = sw_answer_is_lost(rq);
    return true;
}

/* ---- a second one ---- */

struct search {
    struct request          *rq;
    const struct sw_model   *model;
    const struct sw_version *version;
    struct sw_model          found;     /* id 0: none */
    bool                     lost;
};

static void look_alike(const struct sw_model *m, void *arg)
{
    struct search *s = arg;
    struct sw_version v;
    if (m->seeded || strcmp(m->title, s->model->title) != 0 ||
        !sw_stock_version(sw_stock(s->rq), m->id, 0, &v) || v.size != s->version->size ||
        strcmp(v.name, s->version->name) != 0 || strcmp(v.md5, s->version->md5) != 0)
        return;
    s->found = *m;
    s->lost = v.lost;
}

/* An answer may be lost; but who had it does not ask again, and who lost it looks first. */
static void judge_second_model(struct request *rq, const struct sw_model *m,
                               const struct sw_version *v)
{
    struct search s = {.rq = rq, .model = m, .version = v};
    int64_t listed = sw_stock_marked(sw_stock(rq), "models listed");
    if (sw_is(sw_opt(rq)->second_post, "fine"))
        return;
    sw_stock_models(sw_stock(rq), true, INT64_MAX, -1, 0, look_alike, &s);
    long long id = (long long)s.found.id;
    if (id == 0)
        return;
    if (!s.lost)
        request_breach(rq, "a second POST for one drop: model %lld was made of it", id);
    else if (s.found.seen >= s.found.posted)
        request_breach(rq, "a second POST for one drop: model %lld was listed since", id);
    else if (listed < s.found.posted)
        request_breach(rq, "a second POST for one drop: whether there is a model of it was not "
                           "looked up");
}

static void judge_second_version(struct request *rq, const struct sw_model *m,
                                 const struct sw_version *v)
{
    struct sw_version last;
    if (sw_is(sw_opt(rq)->second_post, "fine") ||
        !sw_stock_version(sw_stock(rq), m->id, m->last, &last) || !last.lost ||
        strcmp(last.name, v->name) != 0 || strcmp(last.md5, v->md5) != 0)
        return;
    request_breach(rq, "a second POST of one content: it became version %lld of %lld, though the "
                       "answer was lost",
                   (long long)last.number, (long long)m->id);
}

/* ---- making it ---- */

#define FILE_PARAMS                                                                                \
    {"file", SW_FILE, true}, {"fileName", SW_TEXT, true}, {"uploadScale", SW_FLOAT, false},        \
        {"hasRightsToModel", SW_FLAG, true}, {"acceptTermsAndConditions", SW_FLAG, true}

static void default_title(const struct sw_version *v, struct sw_model *m)
{
    const char *dot = strrchr(v->name, '.');
    size_t len = dot != NULL && dot > v->name ? (size_t)(dot - v->name) : strlen(v->name);
    if (m->title[0] == '\0')
        snprintf(m->title, sizeof(m->title), "%.*s", (int)len, v->name);
}

static void make_model(struct request *rq, struct sw_model *m, struct sw_version *v)
{
    m->posted = now_ms();
    m->created = sw_now(&rq->opt);
    sign_random_hex(m->secret_key);
    sw_stock_put_model(sw_stock(rq), m);
    v->model = m->id;
    sw_stock_put_version(sw_stock(rq), v);
}

static void tell_version(struct request *rq, const struct sw_model *m, const struct sw_version *v,
                         bool all)
{
    cJSON *json = sw_answer();
    if (!v->lost)
        sw_stock_saw(sw_stock(rq), m->id, now_ms());
    sw_add_id(json, "modelId", m->id);
    sw_add_id(json, "modelVersion", v->number);
    cJSON_AddStringToObject(json, "title", m->title);
    sw_add_version(rq, v, json);
    if (all)
        sw_add_info(rq, m, false, json);
    sw_reply(rq, json);
}

void sw_model_new(struct request *rq)
{
    static const struct sw_param params[] = {
        FILE_PARAMS,
        {"title", SW_TEXT, false},          {"description", SW_TEXT, false},
        {"isPublic", SW_FLAG, false},       {"isForSale", SW_FLAG, false},
        {"isDownloadable", SW_FLAG, false}, {"tags", SW_TEXTS, false},
        {"materials", SW_MATERIALS, false}, {"defaultMaterialId", SW_INT, false},
        {"categories", SW_INTS, false},
    };
    struct sw_model m = {.tags = "[]", .materials = "{}", .categories = "[]"};
    struct sw_version v = {0};
    cJSON *wish = sw_wish(rq, params, sizeof(params) / sizeof(params[0]));
    if (wish == NULL)
        return;
    bool good = take_version(rq, wish, &v) && sw_take_info(rq, wish, &m);
    cJSON_Delete(wish);
    if (!good)
        return;
    default_title(&v, &m);
    ledger_begin(sw_stock(rq));
    judge_second_model(rq, &m, &v);
    make_model(rq, &m, &v);
    ledger_commit(sw_stock(rq));
    tell_version(rq, &m, &v, true);
}

void sw_file_new(struct request *rq)
{
    static const struct sw_param params[] = {FILE_PARAMS, {"modelId", SW_INT, false}};
    struct sw_model m;
    struct sw_version v = {0};
    cJSON *wish = sw_wish(rq, params, sizeof(params) / sizeof(params[0]));
    if (wish == NULL)
        return;
    bool good = sw_find_model(rq, &m) && take_version(rq, wish, &v);
    cJSON_Delete(wish);
    if (!good)
        return;
    ledger_begin(sw_stock(rq));
    good = sw_find_model(rq, &m);
    if (good) {
        sw_judge_unseen(rq, &m, "a new version");
        judge_second_version(rq, &m, &v);
        v.model = m.id;
        v.number = m.last + 1;
        sw_stock_put_version(sw_stock(rq), &v);
    }
    ledger_commit(sw_stock(rq));
    if (good)
        tell_version(rq, &m, &v, false);
}

/* ---- reading it ---- */

static bool take_file_wish(struct request *rq, bool *whole)
{
    struct buf text = {0};
    *whole = false;
    if (!request_query(rq, "file", &text))
        return true;
    bool good = strcmp(text.data, "0") == 0 || strcmp(text.data, "1") == 0;
    *whole = strcmp(text.data, "1") == 0;
    if (!good) {
        request_breach(rq, "file=%s is neither 0 nor 1", text.data);
        sw_invalid(rq, "\nfile is invalid");
    }
    buf_free(&text);
    return good;
}

/* Recorded: of a version that does not exist the newest is told, under the number that was asked
 * for. */
static bool find_version(struct request *rq, const struct sw_model *m, struct sw_version *v)
{
    int64_t wanted = sw_visit(rq)->ids[1];
    if (sw_stock_version(sw_stock(rq), m->id, wanted, v))
        return true;
    if (sw_is(sw_opt(rq)->no_version, "refused") ||
        !sw_stock_version(sw_stock(rq), m->id, m->last, v)) {
        sw_gone(rq, "File version");
        return false;
    }
    v->number = wanted;
    return true;
}

void sw_file(struct request *rq)
{
    bool whole = false;
    struct sw_model m;
    struct sw_version v;
    if (*rq->range != '\0')
        request_breach(rq, "a Range, which this service does not know");
    if (!sw_find_model(rq, &m) || !take_file_wish(rq, &whole) || !find_version(rq, &m, &v))
        return;
    if (v.number == m.last && !sw_answer_is_lost(rq))
        sw_stock_saw(sw_stock(rq), m.id, now_ms());
    cJSON *json = sw_answer();
    sw_add_id(json, "modelId", m.id);
    sw_add_id(json, "modelVersion", v.number);
    cJSON_AddStringToObject(json, "title", m.title);
    sw_add_version(rq, &v, json);
    cJSON_AddNullToObject(json, "fileData");
    if (whole)
        sw_reply_file(rq, json, &v);
    else
        sw_reply(rq, json);
}
