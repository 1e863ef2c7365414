/* POST /projects, and what is told of projects. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "tests/emulator/three_sixty_call.h"

/* ---- making one ---- */

struct wish {                           /* a body of POST /projects */
    cJSON      *json;                   /* owned; the rest is borrowed from it */
    const char *upload_id;              /* NULL: not given */
    const char *link;                   /* NULL: not given */
    const char *title;                  /* NULL: not given */
    int         privacy;
};

static void invalid(struct request *rq, const char *what)
{
    request_breach(rq, "%s", what);
    three_sixty_error(rq, 400, "invalid_request");
}

static bool take_text(struct request *rq, const cJSON *item, const char **out)
{
    if (!cJSON_IsString(item)) {
        request_breach(rq, "\"%s\" is no string", item->string);
        three_sixty_error(rq, 400, "invalid_request");
        return false;
    }
    *out = item->valuestring;
    return true;
}

static bool take_privacy(struct request *rq, const cJSON *item, int *out)
{
    *out = item->valueint;
    if (cJSON_IsNumber(item) && item->valuedouble == item->valueint && *out >= 0 && *out <= 2)
        return true;
    invalid(rq, "\"privacy_mode\" is not 0, 1 or 2");
    return false;
}

static bool take_member(struct request *rq, const cJSON *item, struct wish *w)
{
    const char *ignored = NULL;
    if (strcmp(item->string, "upload_id") == 0)
        return take_text(rq, item, &w->upload_id);
    if (strcmp(item->string, "download_link") == 0)
        return take_text(rq, item, &w->link);
    if (strcmp(item->string, "title") == 0)
        return take_text(rq, item, &w->title);
    if (strcmp(item->string, "coordinate_system") == 0)
        return take_text(rq, item, &ignored);
    if (strcmp(item->string, "privacy_mode") == 0)
        return take_privacy(rq, item, &w->privacy);
    if (!three_sixty_listed(opt_of(rq)->known_fields, item->string))
        request_breach(rq, "\"%s\" is no documented field", item->string);
    return true;
}

static bool read_wish(struct request *rq, struct wish *w)
{
    const cJSON *item = NULL;
    if (strncasecmp(rq->content_type, "application/json", 16) != 0)
        request_breach(rq, "Content-Type \"%s\", not application/json", rq->content_type);
    w->json = cJSON_ParseWithLength(rq->body.len > 0 ? rq->body.data : "", rq->body.len);
    if (!cJSON_IsObject(w->json)) {
        invalid(rq, "the body is no JSON object");
        return false;
    }
    if (rq->body.len >= sizeof(((struct project *)NULL)->request)) {
        invalid(rq, "the body is longer than any description of a project");
        return false;
    }
    if (strstr(rq->body.data, request_token(rq)) != NULL)
        request_breach(rq, "the token stands in the body");
    cJSON_ArrayForEach(item, w->json) {
        if (!take_member(rq, item, w))
            return false;
    }
    if (w->upload_id != NULL && w->link != NULL) {
        request_breach(rq, "both an upload_id and a download_link");
        three_sixty_error(rq, 400, "provide_either_upload_id_or_download_link");
    } else if (w->upload_id == NULL && w->link == NULL) {
        request_breach(rq, "neither an upload_id nor a download_link");
        three_sixty_error(rq, 400, "upload_id_or_download_link_required");
    } else if (w->link != NULL && strncmp(w->link, "http://", 7) != 0 &&
               strncmp(w->link, "https://", 8) != 0) {
        request_breach(rq, "a download_link that is no http address");
        three_sixty_error(rq, 400, "project_creation_failed");
    }
    return rq->reply.status == 0;
}

struct files {
    uint64_t count;
    uint64_t size;
    uint64_t incomplete;
    bool     known;                     /* a client was told of an incomplete one, or of nothing */
};

static void count_file(const struct part *p, void *arg)
{
    struct files *f = arg;
    if (!p->listed)
        return;
    f->count++;
    f->size += p->total;
    f->incomplete += !p->complete;
    f->known = f->known || (!p->complete && p->told < p->total);
}

/* The session must be there, and whole. */
static bool judge_session(struct request *rq, const struct session *s, struct files *f)
{
    depot_parts(rq->emu->depot, s->id, count_file, f);
    if (f->count > 0 && f->incomplete == 0)
        return true;
    if (f->count == 0)
        request_breach(rq, "a project of a session without files");
    else if (f->known)
        request_breach(rq, "a project of a session with %llu incomplete files",
                       (unsigned long long)f->incomplete);
    three_sixty_error(rq, 400, "project_creation_failed");
    return false;
}

struct same {
    const struct wish *wish;
    bool               found;
};

static void compare_link(const struct project *p, void *arg)
{
    struct same *same = arg;
    cJSON *json = cJSON_Parse(p->request);
    const cJSON *link = cJSON_GetObjectItemCaseSensitive(json, "download_link");
    same->found = same->found || (cJSON_IsString(link) && same->wish->title != NULL &&
                                  strcmp(link->valuestring, same->wish->link) == 0 &&
                                  strcmp(p->title, same->wish->title) == 0);
    cJSON_Delete(json);
}

static void judge_repeat(struct request *rq, const struct wish *w)
{
    struct same same = {.wish = w};
    struct session s;
    if (w->link != NULL)
        depot_projects(rq->emu->depot, compare_link, &same);
    else
        same.found = depot_session(rq->emu->depot, w->upload_id, &s) && s.project[0] != '\0';
    if (same.found)
        request_breach(rq, "POST /projects again for \"%s\", which succeeded before",
                       w->link != NULL ? w->link : w->upload_id);
}

static bool allowed(struct request *rq, uint64_t size)
{
    const struct three_sixty_options *opt = opt_of(rq);
    struct ledger *d = rq->emu->depot;
    if (strcmp(opt->tariff, "no_project") == 0)
        three_sixty_error(rq, 403, "tariff");
    else if (!opt->email_verified)
        three_sixty_error(rq, 403, "email_not_verified");
    else if (opt->project_limit > 0 && depot_projects_count(d) >= opt->project_limit)
        three_sixty_error(rq, 403, "project_limit_reached");
    else if (opt->quota > 0 && depot_projects_size(d) + size > (uint64_t)opt->quota)
        three_sixty_error(rq, 402, "storage_quota_exceeded");
    return rq->reply.status == 0;
}

/* The slug: the upload_id, unless the options, or a project of that name, are against it. */
static void choose_name(struct request *rq, const struct wish *w, char out[64])
{
    struct ledger *d = rq->emu->depot;
    struct project other;
    char id[16];
    const char *slug = opt_of(rq)->slug;
    snprintf(out, 64, "%s", w->upload_id != NULL ? w->upload_id : "");
    if (w->upload_id != NULL && strcmp(slug, "taken") == 0 && !depot_project(d, out, &other)) {
        other = (struct project){.title = "Somebody else's", .privacy = 2, .stuck_at = -1};
        snprintf(other.name, sizeof(other.name), "%s", out);
        other.created = other.queued_until = other.ready_at = now_ms() - 86400000;
        depot_put_project(d, &other);
    }
    while (*out == '\0' || strcmp(slug, "other") == 0 || depot_project(d, out, &other)) {
        three_sixty_new_id(id);
        snprintf(out, 64, "%s", id);
        slug = "same";
    }
}

static void make_project(struct request *rq, const struct wish *w, uint64_t size)
{
    const struct three_sixty_options *opt = opt_of(rq);
    struct session s;
    struct project p = {.privacy = w->privacy, .size = size, .created = now_ms()};
    struct buf text = {0};
    choose_name(rq, w, p.name);
    p.stuck_at = opt->stuck_at;
    p.queued_until = p.created + opt->queue_ms;
    p.ready_at = p.queued_until + opt->process_ms;
    snprintf(p.errors, sizeof(p.errors), "%s", opt->errors);
    snprintf(p.errors_form, sizeof(p.errors_form), "%s", opt->errors_form);
    snprintf(p.request, sizeof(p.request), "%s", rq->body.data);
    if (w->title != NULL)
        snprintf(p.title, sizeof(p.title), "%s", w->title);
    else
        snprintf(p.title, sizeof(p.title), "Project %s", p.name);
    if (w->upload_id != NULL && depot_session(rq->emu->depot, w->upload_id, &s)) {
        snprintf(p.session, sizeof(p.session), "%s", s.id);
        snprintf(s.project, sizeof(s.project), "%s", p.name);
        s.state = SESSION_USED;
        depot_put_session(rq->emu->depot, &s);
    }
    depot_put_project(rq->emu->depot, &p);
    buf_printf(&text, "{\"name\":\"%s\",\"status\":0,\"message\":\"processing_started\"}\n",
               p.name);
    reply_json(&rq->reply, 201, &text);
}

void three_sixty_create(struct request *rq)
{
    struct wish w = {.privacy = 2};
    struct session s;
    struct files files = {0};
    ledger_begin(rq->emu->depot);
    if (read_wish(rq, &w)) {
        judge_repeat(rq, &w);
        if ((w.link != NULL || (three_sixty_session(rq, w.upload_id, &s) &&
                                judge_session(rq, &s, &files))) &&
            allowed(rq, files.size))
            make_project(rq, &w, files.size);
    }
    ledger_commit(rq->emu->depot);
    cJSON_Delete(w.json);
}

/* ---- telling of them ---- */

int three_sixty_status(const struct project *p, int64_t now)
{
    int64_t span = p->ready_at - p->queued_until;
    int status = 100;
    if (now < p->queued_until)
        status = 0;
    else if (now < p->ready_at)
        status = 1 + (int)((now - p->queued_until) * 98 / span);
    return p->stuck_at >= 0 && status > p->stuck_at ? p->stuck_at : status;
}

static void add_time(cJSON *json, const char *name, int64_t ms)
{
    char text[64];
    struct tm parts;
    time_t seconds = (time_t)(ms / 1000);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &parts));
    cJSON_AddStringToObject(json, name, text);
}

static void add_errors(cJSON *json, const struct project *p)
{
    if (p->errors[0] == '\0')
        cJSON_AddNullToObject(json, "errors");
    else if (strcmp(p->errors_form, "list") == 0)
        cJSON_AddItemToArray(cJSON_AddArrayToObject(json, "errors"), cJSON_CreateString(p->errors));
    else
        cJSON_AddStringToObject(json, "errors", p->errors);
}

static void add_extension(const struct part *p, void *arg)
{
    cJSON_AddItemToArray(arg, cJSON_CreateString(three_sixty_extension(p->name)));
}

static cJSON *brief_json(const struct project *p, int64_t now)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "id", (double)p->num);
    cJSON_AddStringToObject(json, "name", p->name);
    cJSON_AddStringToObject(json, "title", p->title);
    cJSON_AddNumberToObject(json, "status", three_sixty_status(p, now));
    add_time(json, "created", p->created);
    cJSON_AddNumberToObject(json, "size", (double)p->size);
    cJSON_AddNumberToObject(json, "privacy_mode", p->privacy);
    return json;
}

static cJSON *record_json(struct ledger *d, const struct project *p, int64_t now)
{
    static const char *const flags[] = {"ifc", "glb", "obj", "pdf", "kml", "geotiff", "potree",
                                        "threedgs", "video360"};
    static const char *const nulls[] = {"updated", "epsg", "proj4", "coord_unit", "redirect",
                                        "multiprojects", "welcome_overlay"};
    cJSON *json = brief_json(p, now);
    add_time(json, "last_usage", p->ready_at);
    cJSON_AddNumberToObject(json, "views", 0);
    cJSON_AddBoolToObject(json, "public_project", p->privacy == 0);
    cJSON_AddBoolToObject(json, "deleted", false);
    add_errors(json, p);
    depot_parts(d, p->session, add_extension, cJSON_AddArrayToObject(json, "extensions"));
    cJSON_AddNumberToObject(json, "setups_count", 0);
    cJSON_AddNumberToObject(json, "enabled_setups", 0);
    cJSON_AddNumberToObject(json, "access_level_for_comments", 0);
    for (size_t i = 0; i < sizeof(nulls) / sizeof(nulls[0]); i++)
        cJSON_AddNullToObject(json, nulls[i]);
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        cJSON_AddBoolToObject(json, flags[i], false);
    return json;
}

static void answer_json(struct request *rq, cJSON *json)
{
    struct buf text = {0};
    char *printed = cJSON_PrintUnformatted(json);
    buf_printf(&text, "%s\n", printed != NULL ? printed : "null");
    free(printed);
    cJSON_Delete(json);
    reply_json(&rq->reply, 200, &text);
}

void three_sixty_get_project(struct request *rq)
{
    struct project p;
    int64_t now = now_ms();
    if (visit_of(rq)->id_cut || !depot_project(rq->emu->depot, visit_of(rq)->id, &p)) {
        three_sixty_error(rq, 404, "project_not_found");
    } else if (three_sixty_status(&p, now) == 100) {
        answer_json(rq, record_json(rq->emu->depot, &p, now));
    } else {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "name", p.name);
        cJSON_AddNumberToObject(json, "status", three_sixty_status(&p, now));
        answer_json(rq, json);
    }
}

static void list_one(const struct project *p, void *arg)
{
    cJSON_AddItemToArray(arg, brief_json(p, now_ms()));
}

void three_sixty_list_projects(struct request *rq)
{
    const char *form = opt_of(rq)->list;
    if (strcmp(form, "none") == 0) {
        three_sixty_error(rq, 405, "method_not_allowed");
        return;
    }
    cJSON *all = cJSON_CreateArray();
    depot_projects(rq->emu->depot, list_one, all);
    if (strcmp(form, "object") == 0) {
        cJSON *outer = cJSON_CreateObject();
        cJSON_AddItemToObject(outer, "projects", all);
        all = outer;
    }
    answer_json(rq, all);
}
