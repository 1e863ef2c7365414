/* What is told of models and backgrounds: GET /models, GET /models/ID/info. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/emulator/sharemy3d_call.h"
#include "tests/emulator/signed.h"

#define LIMIT_DEFAULT 20
#define LIMIT_MAX 100

/* ---- one of them ---- */

const char *sm3d_status(struct ledger *stock, const struct option_values *opt,
                        const struct sm3d_item *item)
{
    int64_t now = sm3d_now(opt);
    struct sm3d_session s;
    int ignored = 0;
    const char *const words[] = {"UPLOADING", "PROCESSING", "ACTIVE", "FAILED"};
    const char *outcome = words[0];
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(words[i], item->outcome) == 0)
            outcome = words[i];
    if (item->stuck)
        return outcome;
    if (item->noticed_at == 0) {
        bool stale = strcmp(opt->sm3d.stale, "FAILED") == 0 && item->resumable &&
                     stock_session_of(stock, item->id, &s) &&
                     !sm3d_session_lives(opt, &s, &ignored);
        return stale ? "FAILED" : "UPLOADING";
    }
    return now < item->noticed_at ? "UPLOADING" : now < item->ready_at ? "PROCESSING" : outcome;
}

static void add_text(struct buf *out, const char *member, const char *text)
{
    buf_printf(out, ",\"%s\":", member);
    buf_json(out, text, strlen(text), true);
}

static const char *boolean(bool value)
{
    return value ? "true" : "false";
}

/* The members; `whole` is false for what /backgrounds/ID/info leaves out. */
static void add_members(struct request *rq, const struct sm3d_item *item, bool whole,
                        struct buf *out)
{
    bool model = item->kind == SM3D_MODEL;
    buf_printf(out, "\"%s\":\"%s\"", model ? "modelId" : "backgroundId", item->id);
    if (!model)
        add_text(out, "type", item->type);
    add_text(out, "name", item->name);
    if (whole && (model || item->has_description))
        add_text(out, "description", item->description);
    else if (whole)
        buf_puts(out, ",\"description\":null");
    if (model)
        buf_printf(out, ",\"hasPassword\":%s,\"downloadable\":%s,\"size\":%llu,\"numViews\":%lld",
                   boolean(item->has_password), boolean(item->downloadable),
                   (unsigned long long)item->size, (long long)item->views);
    buf_printf(out, ",\"timeCreated\":%lld,\"status\":\"%s\"", (long long)(item->created / 1000),
               sm3d_status(sm3d_stock(rq), &rq->opt, item));
    if (rq->opt.extra_members)
        buf_puts(out, ",\"thumbnails\":[{\"url\":\"https://example.com/t.jpg\"}],\"likes\":null");
}

void sharemy3d_info(struct request *rq)
{
    const struct sm3d_visit *v = sm3d_visit(rq);
    struct sm3d_item item;
    struct buf text = {0};
    if (!stock_item(sm3d_stock(rq), v->route->kind, v->id, &item)) {
        sharemy3d_error(rq, sm3d_opt(rq)->gone_status, "Not found");
        return;
    }
    buf_puts(&text, "{\"class\":\"RetrieveModelResponse\",");   /* of backgrounds, too */
    add_members(rq, &item, item.kind == SM3D_MODEL, &text);
    buf_puts(&text, "}\n");
    reply_json(&rq->reply, 200, &text);
}

/* ---- what a list is asked for ---- */

struct question {
    enum sm3d_kind kind;
    int64_t        limit;
    int64_t        offset;
    char           status[64];          /* as given; "": all */
    char           sort[64];
};

static void refuse(struct request *rq, const char *name, const char *value)
{
    request_breach(rq, "%s=%s is no documented value", name, value);
    sharemy3d_error(rq, 400, "Invalid parameter");
}

static void take_number(struct request *rq, const char *name, const char *text, int64_t *out)
{
    char *end = NULL;
    int64_t value = strtoll(text, &end, 10);
    bool limit = strcmp(name, "limit") == 0;
    if (*text == '\0' || *end != '\0' || value < (limit ? 1 : 0) || (limit && value > LIMIT_MAX))
        refuse(rq, name, text);
    else
        *out = value;
}

static void take_words(struct request *rq, const char *name, const char *text, const char *allowed,
                       char out[64])
{
    char word[16];
    for (const char *p = text; *p != '\0' || p == text;) {
        size_t len = strcspn(p, ",");
        snprintf(word, sizeof(word), "%.*s", (int)(len < 15 ? len : 15), p);
        if (!sm3d_listed(allowed, word) || strlen(text) >= 64) {
            refuse(rq, name, text);
            return;
        }
        p += len + (p[len] == ',');
        if (p[-1] == ',' && *p == '\0') {
            refuse(rq, name, text);
            return;
        }
    }
    snprintf(out, 64, "%s", text);
}

static void take_parameter(struct request *rq, struct question *q, const char *name,
                           const char *value)
{
    if (strcmp(name, "limit") == 0)
        take_number(rq, name, value, &q->limit);
    else if (strcmp(name, "offset") == 0)
        take_number(rq, name, value, &q->offset);
    else if (strcmp(name, "status") == 0)
        take_words(rq, name, value, "UPLOADING,PROCESSING,ACTIVE,FAILED", q->status);
    else if (strcmp(name, "sort") == 0)
        take_words(rq, name, value,
                   q->kind == SM3D_MODEL ? "time,-time,name,-name,views,-views"
                                         : "time,-time,name,-name",
                   q->sort);
    else
        request_breach(rq, "%s is no documented parameter", name);
}

static void take_question(struct request *rq, struct question *q)
{
    char name[16];
    struct buf value = {0};
    *q = (struct question){sm3d_visit(rq)->route->kind, LIMIT_DEFAULT, 0, "", "time"};
    for (const char *p = rq->raw_query; *p != '\0' && rq->reply.status == 0;) {
        size_t len = strcspn(p, "=&");
        snprintf(name, sizeof(name), "%.*s", (int)(len < 15 ? len : 15), p);
        request_query(rq, name, &value);
        buf_add(&value, "", 0);
        take_parameter(rq, q, name, value.data);
        value.len = 0;
        p += strcspn(p, "&");
        p += *p == '&';
    }
    buf_free(&value);
}

/* ---- the answer ---- */

struct listing {
    struct request        *rq;
    const struct question *q;
    struct sm3d_item      *items;       /* owned */
    size_t                 count;
    size_t                 cap;
};

static void collect(const struct sm3d_item *item, void *arg)
{
    struct listing *l = arg;
    const struct option_values *opt = &l->rq->opt;
    if (!item->seeded && now_ms() < item->posted + opt->sm3d.list_lag_ms)
        return;
    if (l->q->status[0] != '\0' &&
        !sm3d_listed(l->q->status, sm3d_status(sm3d_stock(l->rq), opt, item)))
        return;
    if (l->count == l->cap) {
        l->cap = l->cap > 0 ? l->cap * 2 : 64;
        struct sm3d_item *grown = realloc(l->items, l->cap * sizeof(*grown));
        if (grown == NULL)
            abort();
        l->items = grown;
    }
    l->items[l->count++] = *item;
}

static int compare_by(const char *word, const struct sm3d_item *a, const struct sm3d_item *b)
{
    int64_t difference = 0;
    bool down = *word == '-';
    word += down ? 1 : 0;
    if (strncmp(word, "name", 4) == 0)
        difference = strcmp(a->name, b->name);
    else if (strncmp(word, "views", 5) == 0)
        difference = a->views - b->views;
    else                                /* as it is told: in seconds */
        difference = a->created / 1000 - b->created / 1000;
    int sign = difference < 0 ? -1 : difference > 0;
    return down ? -sign : sign;
}

static int compare(const void *x, const void *y, void *sort)
{
    const struct sm3d_item *a = x;
    const struct sm3d_item *b = y;
    int r = 0;
    for (const char *word = sort; r == 0; word++) {
        r = compare_by(word, a, b);
        word += strcspn(word, ",");
        if (*word == '\0')
            break;
    }
    return r != 0 ? r : a->num < b->num ? -1 : 1;
}

/* What is equal in all that was asked for may come in another order each time. */
static void shuffle_ties(struct listing *l)
{
    for (size_t i = 0; i + 1 < l->count; i++) {
        size_t end = i + 1;
        while (end < l->count && compare_by(l->q->sort, &l->items[i], &l->items[end]) == 0)
            end++;
        size_t other = i + (size_t)random() % (end - i);
        struct sm3d_item moved = l->items[i];
        l->items[i] = l->items[other];
        l->items[other] = moved;
    }
}

/* `offset` -1: there is none. */
static void add_link(struct request *rq, const struct question *q, const char *name,
                     int64_t offset, struct buf *out)
{
    bool model = q->kind == SM3D_MODEL;
    bool foreign = strcmp(sm3d_opt(rq)->links, "foreign") == 0;
    struct buf words = {0};
    buf_printf(out, ",\"%s\":", name);
    if (offset < 0 || strcmp(sm3d_opt(rq)->links, "none") == 0) {
        buf_puts(out, "null");
        return;
    }
    buf_printf(out, "\"%s" SHAREMY3D_PREFIX "/%s?limit=%lld&offset=%lld",
               rq->emu->ports[foreign ? PORT_STORAGE : PORT_API].url,
               model ? "models" : "backgrounds", (long long)q->limit, (long long)offset);
    if (q->status[0] != '\0') {
        signed_encode(q->status, &words);
        buf_printf(out, "&status=%s", words.data);
        buf_free(&words);
    }
    signed_encode(q->sort, &words);
    buf_printf(out, "&sort=%s\"", words.data);
    buf_free(&words);
}

static void add_meta(struct request *rq, const struct question *q, int64_t total, struct buf *out)
{
    int64_t last = total > 0 ? (total - 1) / q->limit * q->limit : 0;
    int64_t prev = q->offset > q->limit ? q->offset - q->limit : 0;
    buf_printf(out, "\"meta\":{\"totalCount\":%lld", (long long)total);
    add_link(rq, q, "first", 0, out);
    add_link(rq, q, "prev", q->offset > 0 ? prev : -1, out);
    add_link(rq, q, "next", q->offset + q->limit < total ? q->offset + q->limit : -1, out);
    add_link(rq, q, "last", last, out);
    buf_puts(out, "}");
}

static void tell(struct request *rq, struct question *q)
{
    struct listing l = {.rq = rq, .q = q};
    struct buf text = {0};
    bool model = q->kind == SM3D_MODEL;
    stock_items(sm3d_stock(rq), q->kind, collect, &l);
    if (l.count > 0)
        qsort_r(l.items, l.count, sizeof(l.items[0]), compare, q->sort);
    if (strcmp(sm3d_opt(rq)->ties, "shuffled") == 0 && strchr(q->sort, ',') == NULL)
        shuffle_ties(&l);
    buf_printf(&text, "{\"class\":\"Get%sListResponse\",\"%s\":[", model ? "Model" : "Background",
               model ? "models" : "backgrounds");
    int64_t end = q->offset + q->limit;
    for (int64_t i = q->offset; i < end && i < (int64_t)l.count; i++) {
        buf_puts(&text, i > q->offset ? ",{" : "{");
        add_members(rq, &l.items[i], true, &text);
        buf_puts(&text, "}");
    }
    buf_puts(&text, "],");
    add_meta(rq, q, (int64_t)l.count, &text);
    buf_puts(&text, "}\n");
    free(l.items);
    reply_json(&rq->reply, 200, &text);
}

void sharemy3d_list(struct request *rq)
{
    struct question q;
    take_question(rq, &q);
    if (rq->reply.status != 0)
        return;
    stock_mark(sm3d_stock(rq), q.kind == SM3D_MODEL ? "models listed" : "backgrounds listed",
               now_ms());
    tell(rq, &q);
}
