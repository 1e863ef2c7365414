/* What tests see and steer of ShareMy3D, below /_control/sm3d: see README.md. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/emulator/sharemy3d_call.h"

static const char *text_of(const cJSON *order, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(order, name);
    return cJSON_IsString(item) ? item->valuestring : "";
}

static bool has(const cJSON *order, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(order, name) != NULL;
}

static double number_of(const cJSON *order, const char *name, double otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(order, name);
    return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

static bool flag_of(const cJSON *order, const char *name)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(order, name));
}

static void answer_done(struct request *rq)
{
    struct buf text = {0};
    control_answer(rq, &text);
}

static enum sm3d_kind kind_of(const char *word)
{
    return strcmp(word, "background") == 0 ? SM3D_BACKGROUND : SM3D_MODEL;
}

static enum sm3d_kind asked_kind(struct request *rq)
{
    struct buf word = {0};
    buf_add(&word, "", 0);
    request_query(rq, "kind", &word);
    enum sm3d_kind kind = kind_of(word.data);
    buf_free(&word);
    return kind;
}

/* ---- looking ---- */

struct telling {
    struct request *rq;
    cJSON          *all;
};

static void item_json(const struct sm3d_item *x, void *arg)
{
    struct telling *t = arg;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "id", x->id);
    cJSON_AddStringToObject(json, "filename", x->filename);
    cJSON_AddStringToObject(json, "name", x->name);
    if (x->has_description)
        cJSON_AddStringToObject(json, "description", x->description);
    if (x->has_password)
        cJSON_AddStringToObject(json, "password", x->password);
    cJSON_AddStringToObject(json, "type", x->type);
    cJSON_AddBoolToObject(json, "downloadable", x->downloadable);
    cJSON_AddBoolToObject(json, "resumable", x->resumable);
    cJSON_AddBoolToObject(json, "seeded", x->seeded);
    cJSON_AddBoolToObject(json, "used", x->used);
    cJSON_AddNumberToObject(json, "size", (double)x->size);
    cJSON_AddNumberToObject(json, "held", (double)x->object.size);
    cJSON_AddNumberToObject(json, "generation", (double)x->object.generation);
    cJSON_AddNumberToObject(json, "views", (double)x->views);
    cJSON_AddNumberToObject(json, "created", (double)x->created);
    struct option_values opt = options_get(t->rq->emu->options);
    cJSON_AddStringToObject(json, "status", sm3d_status(t->rq->emu->stock, &opt, x));
    cJSON_AddItemToArray(t->all, json);
}

static void get_items(struct request *rq)
{
    struct telling t = {rq, cJSON_CreateArray()};
    stock_items(rq->emu->stock, asked_kind(rq), item_json, &t);
    control_answer_cjson(rq, t.all);
}

static void session_json(const struct sm3d_session *s, void *arg)
{
    static const char *const states[] = {"open", "done", "cancelled", "broken"};
    struct telling *t = arg;
    struct option_values opt = options_get(t->rq->emu->options);
    struct sm3d_item item = {0};
    struct buf url = {0};
    int status = 0;
    cJSON *json = cJSON_CreateObject();
    bool over = s->state == SM3D_OPEN && !sm3d_session_lives(&opt, s, &status);
    if (stock_item_any(t->rq->emu->stock, s->item, &item))
        sm3d_session_url(t->rq->emu, &item, s, &url);
    buf_add(&url, "", 0);
    cJSON_AddStringToObject(json, "item", s->item);
    cJSON_AddStringToObject(json, "url", url.data);
    cJSON_AddStringToObject(json, "state", over ? "expired" : states[s->state]);
    cJSON_AddNumberToObject(json, "received", (double)s->received);
    cJSON_AddNumberToObject(json, "total", (double)s->total);
    cJSON_AddNumberToObject(json, "puts", (double)s->puts);
    cJSON_AddItemToArray(t->all, json);
    buf_free(&url);
}

static void get_sessions(struct request *rq)
{
    struct telling t = {rq, cJSON_CreateArray()};
    stock_sessions(rq->emu->stock, session_json, &t);
    control_answer_cjson(rq, t.all);
}

struct digests {
    struct request *rq;
    bool            made;               /* only what clients have uploaded */
    char          **lines;              /* owned */
    size_t          count;
};

static void digest_line(const struct sm3d_item *x, void *arg)
{
    struct digests *all = arg;
    char hex[65] = "";
    struct buf line = {0};
    if (x->object.generation == 0 || (all->made && x->seeded))
        return;
    store_sha256(all->rq->emu->store, x->object.content, hex);
    buf_printf(&line, "%s  %s\n", hex, x->filename);
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
    struct digests all = {.rq = rq};
    struct buf text = {0};
    struct buf made = {0};
    all.made = request_query(rq, "made", &made);
    buf_free(&made);
    stock_items(rq->emu->stock, asked_kind(rq), digest_line, &all);
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

static void get_content(struct request *rq)
{
    struct sm3d_item x;
    struct buf id = {0};
    int fd = -ENOENT;
    if (request_query(rq, "id", &id) && stock_item_any(rq->emu->stock, id.data, &x) &&
        x.object.generation != 0)
        fd = store_read_fd(rq->emu->store, x.object.content);
    buf_free(&id);
    if (fd < 0) {
        control_error(rq, 404, "no such content");
        return;
    }
    rq->reply.status = 200;
    rq->reply.kind = BODY_FILE;
    rq->reply.fd = fd;
    rq->reply.len = x.object.size;
}

/* ---- steering ---- */

/* The order, and the item that its "id" names; NULL: the error is answered. */
static cJSON *order_for_item(struct request *rq, struct sm3d_item *x)
{
    cJSON *order = control_body(rq);
    if (order == NULL || stock_item_any(rq->emu->stock, text_of(order, "id"), x))
        return order;
    control_error(rq, 404, "no such model or background");
    cJSON_Delete(order);
    return NULL;
}

static int make_content(struct request *rq, const cJSON *order, char content[33], uint64_t *size)
{
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(order, "text");
    if (cJSON_IsString(text)) {
        *size = strlen(text->valuestring);
        return store_put(rq->emu->store, text->valuestring, *size, content);
    }
    *size = (uint64_t)number_of(order, "size", 0);
    return store_generate(rq->emu->store, *size, (uint64_t)number_of(order, "seed", 1),
                          flag_of(order, "zero"), content);
}

/* The members that a seed gives and set changes. */
static void take_members(const cJSON *order, struct sm3d_item *x)
{
    if (has(order, "name"))
        snprintf(x->name, sizeof(x->name), "%s", text_of(order, "name"));
    if (has(order, "description")) {
        x->has_description = true;
        snprintf(x->description, sizeof(x->description), "%s", text_of(order, "description"));
    }
    if (has(order, "password")) {
        x->has_password = true;
        snprintf(x->password, sizeof(x->password), "%s", text_of(order, "password"));
    }
    if (has(order, "downloadable"))
        x->downloadable = flag_of(order, "downloadable");
    if (has(order, "type"))
        snprintf(x->type, sizeof(x->type), "%s", text_of(order, "type"));
    x->views = (int64_t)number_of(order, "views", (double)x->views);
    x->created = (int64_t)number_of(order, "created", (double)x->created);
    if (!has(order, "status"))
        return;
    snprintf(x->outcome, sizeof(x->outcome), "%s", text_of(order, "status"));
    x->stuck = true;
}

static void seed_one(struct request *rq, const cJSON *order, struct sm3d_item *x,
                     const char *content, uint64_t size, const struct sums *sums)
{
    struct option_values opt = options_get(rq->emu->options);
    x->seeded = true;
    x->size = size;
    sm3d_prepare(&opt, x);
    take_members(order, x);
    bool bytes = strcmp(x->outcome, "UPLOADING") != 0;
    if (bytes)
        x->noticed_at = x->ready_at = x->created;
    stock_put_item(rq->emu->stock, x);
    if (!bytes)
        return;
    sm3d_make_object(rq->emu, &opt, x, content, size, sums);
    if (flag_of(order, "gzip"))
        sm3d_pack_object(rq->emu, x);
}

static void post_seed(struct request *rq)
{
    char content[33];
    uint64_t size = 0;
    struct sums sums;
    struct buf text = {0};
    cJSON *order = control_body(rq);
    if (order == NULL)
        return;
    int count = (int)number_of(order, "count", 0);
    if (make_content(rq, order, content, &size) < 0 ||
        sm3d_sums(rq->emu->store, content, size, &sums) < 0) {
        control_error(rq, 400, "the content cannot be made");
        cJSON_Delete(order);
        return;
    }
    ledger_begin(rq->emu->stock);
    for (int i = 0; i < (count > 0 ? count : 1); i++) {
        struct sm3d_item x = {.kind = kind_of(text_of(order, "kind"))};
        snprintf(x.name, sizeof(x.name), count > 0 ? "Model %06d" : "Model", i + 1);
        snprintf(x.type, sizeof(x.type), "%s", x.kind == SM3D_BACKGROUND ? "IMAGE" : "");
        if (count > 0)
            snprintf(x.filename, sizeof(x.filename), "model-%06d.ply", i + 1);
        else
            snprintf(x.filename, sizeof(x.filename), "%s",
                     has(order, "filename") ? text_of(order, "filename") : "model.ply");
        seed_one(rq, order, &x, content, size, &sums);
        if (text.len == 0)
            buf_printf(&text, "{\"id\":\"%s\"}\n", x.id);
    }
    ledger_commit(rq->emu->stock);
    control_answer(rq, &text);
    cJSON_Delete(order);
}

static void post_set(struct request *rq)
{
    struct sm3d_item x;
    cJSON *order = order_for_item(rq, &x);
    if (order == NULL)
        return;
    take_members(order, &x);
    stock_put_item(rq->emu->stock, &x);
    answer_done(rq);
    cJSON_Delete(order);
}

static void post_replace(struct request *rq)
{
    char content[33];
    struct sm3d_item x;
    struct sums sums;
    struct option_values opt = options_get(rq->emu->options);
    cJSON *order = order_for_item(rq, &x);
    if (order == NULL)
        return;
    if (make_content(rq, order, content, &x.size) < 0 ||
        sm3d_sums(rq->emu->store, content, x.size, &sums) < 0) {
        control_error(rq, 400, "the content cannot be made");
    } else {
        sm3d_make_object(rq->emu, &opt, &x, content, x.size, &sums);
        answer_done(rq);
    }
    cJSON_Delete(order);
}

static void post_remove(struct request *rq)
{
    struct sm3d_item x;
    cJSON *order = order_for_item(rq, &x);
    if (order == NULL)
        return;
    stock_remove_item(rq->emu->stock, &x);
    answer_done(rq);
    cJSON_Delete(order);
}

/* The session of an item. */
static cJSON *order_for_session(struct request *rq, struct sm3d_session *s)
{
    cJSON *order = control_body(rq);
    if (order == NULL || stock_session_of(rq->emu->stock, text_of(order, "id"), s))
        return order;
    control_error(rq, 404, "no such session");
    cJSON_Delete(order);
    return NULL;
}

static void post_break(struct request *rq)
{
    struct sm3d_session s;
    cJSON *order = order_for_session(rq, &s);
    if (order == NULL)
        return;
    s.state = SM3D_BROKEN;
    s.broken = (int)number_of(order, "status", 410);
    stock_put_session(rq->emu->stock, &s);
    answer_done(rq);
    cJSON_Delete(order);
}

/* The storage has lost bytes that it had, and nobody has been told. */
static void post_rewind(struct request *rq)
{
    struct sm3d_session s;
    ledger_begin(rq->emu->stock);
    cJSON *order = order_for_session(rq, &s);
    uint64_t to = order != NULL ? (uint64_t)number_of(order, "received", 0) : 0;
    if (order != NULL && to <= s.received && s.state == SM3D_OPEN) {
        s.received = to;
        stock_put_session(rq->emu->stock, &s);
        answer_done(rq);
    } else if (order != NULL) {
        control_error(rq, 400, "has not so much, or is not open");
    }
    ledger_commit(rq->emu->stock);
    cJSON_Delete(order);
}

const struct control_order sharemy3d_orders[] = {
    {"GET", "sm3d/items", get_items},       {"GET", "sm3d/sessions", get_sessions},
    {"GET", "sm3d/digest", get_digest},     {"GET", "sm3d/content", get_content},
    {"POST", "sm3d/seed", post_seed},       {"POST", "sm3d/set", post_set},
    {"POST", "sm3d/replace", post_replace}, {"POST", "sm3d/remove", post_remove},
    {"POST", "sm3d/break", post_break},     {"POST", "sm3d/rewind", post_rewind},
    {NULL, NULL, NULL},
};
