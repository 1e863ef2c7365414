/* What tests see and steer of 360-for-you, below /_control/360: see README.md. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/emulator/sums.h"
#include "tests/emulator/three_sixty_call.h"

static const char *text_of(const cJSON *order, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(order, name);
    return cJSON_IsString(item) ? item->valuestring : "";
}

static double number_of(const cJSON *order, const char *name, double otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(order, name);
    return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

static void answer_done(struct request *rq)
{
    struct buf text = {0};
    control_answer(rq, &text);
}

/* ---- looking ---- */

static void file_json(const struct part *p, void *arg)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", p->name);
    cJSON_AddNumberToObject(json, "received", (double)p->received);
    cJSON_AddNumberToObject(json, "total", (double)p->total);
    cJSON_AddBoolToObject(json, "complete", p->complete);
    if (p->listed)
        cJSON_AddItemToArray(arg, json);
    else
        cJSON_Delete(json);
}

struct telling {
    struct ledger *depot;
    cJSON        *all;
    int64_t       now;
};

static void session_json(const struct session *s, void *arg)
{
    static const char *const states[] = {"open", "used", "deleted", "expired"};
    struct telling *t = arg;
    bool over = s->state == SESSION_OPEN && s->expires_at <= t->now;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "id", s->id);
    cJSON_AddStringToObject(json, "state", over ? "expired" : states[s->state]);
    cJSON_AddStringToObject(json, "project", s->project);
    cJSON_AddNumberToObject(json, "created", (double)s->created);
    cJSON_AddNumberToObject(json, "expires_in_ms", (double)(s->expires_at - t->now));
    depot_parts(t->depot, s->id, file_json, cJSON_AddArrayToObject(json, "files"));
    cJSON_AddItemToArray(t->all, json);
}

static void get_sessions(struct request *rq)
{
    struct telling t = {rq->emu->depot, cJSON_CreateArray(), now_ms()};
    depot_sessions(rq->emu->depot, session_json, &t);
    control_answer_cjson(rq, t.all);
}

static void project_json(const struct project *p, void *arg)
{
    struct telling *t = arg;
    cJSON *json = cJSON_CreateObject();
    cJSON *request = cJSON_Parse(p->request);
    cJSON_AddStringToObject(json, "name", p->name);
    cJSON_AddStringToObject(json, "title", p->title);
    cJSON_AddNumberToObject(json, "status", three_sixty_status(p, t->now));
    cJSON_AddStringToObject(json, "upload_id", p->session);
    cJSON_AddNumberToObject(json, "size", (double)p->size);
    cJSON_AddNumberToObject(json, "privacy_mode", p->privacy);
    cJSON_AddStringToObject(json, "errors", p->errors);
    depot_parts(t->depot, p->session, file_json, cJSON_AddArrayToObject(json, "files"));
    cJSON_AddItemToObject(json, "request", request != NULL ? request : cJSON_CreateNull());
    cJSON_AddItemToArray(t->all, json);
}

static void get_projects(struct request *rq)
{
    struct telling t = {rq->emu->depot, cJSON_CreateArray(), now_ms()};
    depot_projects(rq->emu->depot, project_json, &t);
    control_answer_cjson(rq, t.all);
}

static void get_rates(struct request *rq)
{
    struct rate rate;
    cJSON *all = cJSON_CreateObject();
    struct option_values opt = options_get(rq->emu->options);
    for (size_t i = 0; three_sixty_rate(&opt.three_sixty, i, &rate); i++) {
        cJSON *one = cJSON_AddObjectToObject(all, rate.name);
        cJSON_AddNumberToObject(one, "limit", (double)rate.limit);
        cJSON_AddNumberToObject(one, "window_ms", (double)rate.window_ms);
        cJSON_AddNumberToObject(one, "used",
                                (double)depot_rate_used(rq->emu->depot, &rate, now_ms()));
    }
    control_answer_cjson(rq, all);
}

static void delete_rates(struct request *rq)
{
    depot_rate_forget(rq->emu->depot);
    answer_done(rq);
}

/* ---- digests ---- */

struct digests {
    struct ledger *depot;
    char        **lines;                /* owned */
    size_t        count;
    bool          bad;
};

static void digest_line(const struct part *p, void *arg)
{
    struct digests *all = arg;
    struct buf line = {0};
    char hex[65] = "";
    if (!p->complete)
        return;
    int fd = ledger_bytes(all->depot, p->bytes);
    if (fd < 0 || sums_sha256(fd, p->total, hex) < 0)
        all->bad = true;
    if (fd >= 0)
        close(fd);
    buf_printf(&line, "%s  %s\n", hex, p->name);
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
    struct digests all = {.depot = rq->emu->depot};
    struct project p;
    struct buf name = {0};
    struct buf text = {0};
    bool found = request_query(rq, "session", &name);
    if (!found && request_query(rq, "project", &name) &&
        depot_project(rq->emu->depot, name.data, &p)) {
        name.len = 0;
        buf_puts(&name, p.session);
        found = true;
    }
    if (found)
        depot_parts(rq->emu->depot, name.data, digest_line, &all);
    if (all.count > 0)
        qsort(all.lines, all.count, sizeof(all.lines[0]), by_name);
    for (size_t i = 0; i < all.count; i++) {
        buf_puts(&text, all.lines[i]);
        free(all.lines[i]);
    }
    free(all.lines);
    buf_free(&name);
    if (!found || all.bad) {
        buf_free(&text);
        control_error(rq, 404, found ? "a file's bytes are gone" : "no such session or project");
        return;
    }
    rq->reply.status = 200;
    rq->reply.memory = text;
    reply_header(&rq->reply, "Content-Type", "text/plain");
}

/* ---- steering ---- */

static void post_seed(struct request *rq)
{
    struct project p = {.created = now_ms()};
    cJSON *order = control_body(rq);
    if (order == NULL)
        return;
    char id[16];
    three_sixty_new_id(id);
    const char *name = *text_of(order, "name") != '\0' ? text_of(order, "name") : id;
    const char *form = text_of(order, "errors_form");
    snprintf(p.name, sizeof(p.name), "%s", name);
    snprintf(p.title, sizeof(p.title), "%s", text_of(order, "title"));
    snprintf(p.errors, sizeof(p.errors), "%s", text_of(order, "errors"));
    snprintf(p.errors_form, sizeof(p.errors_form), "%s", *form != '\0' ? form : "text");
    p.privacy = (int)number_of(order, "privacy_mode", 2);
    p.size = (uint64_t)number_of(order, "size", 0);
    p.stuck_at = (int)number_of(order, "status", -1);
    p.created = p.queued_until = p.ready_at =
        (int64_t)number_of(order, "created", (double)p.created);
    if (p.stuck_at == 100)
        p.stuck_at = -1;
    depot_put_project(rq->emu->depot, &p);
    struct buf text = {0};
    buf_printf(&text, "{\"id\":%lld,\"name\":\"%s\"}\n", (long long)p.num, p.name);
    control_answer(rq, &text);
    cJSON_Delete(order);
}

static void post_remove(struct request *rq)
{
    cJSON *order = control_body(rq);
    if (order == NULL)
        return;
    if (depot_remove_project(rq->emu->depot, text_of(order, "name")))
        answer_done(rq);
    else
        control_error(rq, 404, "no such project");
    cJSON_Delete(order);
}

/* The service has lost bytes that it had: `received` falls, and nobody has been told. */
static void post_rewind(struct request *rq)
{
    struct part p;
    cJSON *order = control_body(rq);
    if (order == NULL)
        return;
    ledger_begin(rq->emu->depot);
    uint64_t to = (uint64_t)number_of(order, "received", 0);
    bool found = depot_part(rq->emu->depot, text_of(order, "session"), text_of(order, "name"),
                            true, &p);
    if (found && to <= p.received) {
        p.received = to;
        p.complete = to == p.total;
        depot_put_part(rq->emu->depot, &p);
        answer_done(rq);
    } else {
        control_error(rq, found ? 400 : 404, found ? "has not so much" : "no such file");
    }
    ledger_commit(rq->emu->depot);
    cJSON_Delete(order);
}

static void collect_open(const struct session *s, void *arg)
{
    if (s->state == SESSION_OPEN)
        buf_printf(arg, "%s ", s->id);
}

static void post_expire(struct request *rq)
{
    struct ledger *d = rq->emu->depot;
    struct buf ids = {0};
    struct session s;
    cJSON *order = control_body(rq);
    if (order == NULL)
        return;
    ledger_begin(d);
    buf_add(&ids, "", 0);
    if (*text_of(order, "session") != '\0')
        buf_puts(&ids, text_of(order, "session"));
    else
        depot_sessions(d, collect_open, &ids);
    bool found = true;
    char *rest = NULL;
    for (char *id = strtok_r(ids.data, " ", &rest); id != NULL; id = strtok_r(NULL, " ", &rest)) {
        found = depot_session(d, id, &s);
        if (!found)
            break;
        s.expires_at = now_ms();
        depot_put_session(d, &s);
        three_sixty_alive(d, &s, s.expires_at);
    }
    ledger_commit(d);
    buf_free(&ids);
    if (found)
        answer_done(rq);
    else
        control_error(rq, 404, "no such session");
    cJSON_Delete(order);
}

const struct control_order three_sixty_orders[] = {
    {"GET", "360/sessions", get_sessions}, {"GET", "360/projects", get_projects},
    {"GET", "360/digest", get_digest},     {"GET", "360/rates", get_rates},
    {"DELETE", "360/rates", delete_rates}, {"POST", "360/seed", post_seed},
    {"POST", "360/remove", post_remove},   {"POST", "360/rewind", post_rewind},
    {"POST", "360/expire", post_expire},   {NULL, NULL, NULL},
};
