/* SmartShape's file API, as its document has it, taken at its word. */
#include "tests/emulator/smartshape.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/emulator/services.h"
#include "tests/emulator/smartshape_call.h"
#include "tests/emulator/storage.h"

#define JSON_MAX ((size_t)1024 * 1024)
#define LIST_PAGE 200                   /* entries put together at a time */

void smartshape_error(struct request *rq, int status, const char *detail)
{
    static const char *const before[] = {"", "{\"error\":", "{\"errors\":["};
    static const char *const after[] = {"", "}", "]}"};
    int shape = rq->opt.error_shape >= 1 && rq->opt.error_shape <= 3 ? rq->opt.error_shape - 1 : 0;
    struct buf text = {0};
    int told = rq->opt.error_body_status != 0 ? rq->opt.error_body_status : status;
    buf_puts(&text, before[shape]);
    buf_printf(&text, "{\"status\":%d,\"title\":\"%s\",\"detail\":", told,
               status == 404   ? "Not Found"
               : status == 409 ? "Conflict"
               : status == 401 ? "Unauthorized"
               : status >= 500 ? "Server Error"
                               : "Bad Request");
    buf_json(&text, detail, strlen(detail), true);
    buf_puts(&text, "}");
    buf_puts(&text, after[shape]);
    reply_clear(&rq->reply);
    reply_json(&rq->reply, status, &text);
}

bool smartshape_find(struct request *rq, struct node *n)
{
    if (tree_lookup(rq->emu->tree, SMARTSHAPE, &((const struct call *)rq->state)->path, n))
        return true;
    if (((const struct call *)rq->state)->path.encoded_slash)
        request_breach(rq, "%%2F in a path where no name holds a slash");
    smartshape_error(rq, 404, "no such file or directory");
    return false;
}

bool smartshape_find_id(struct request *rq, struct node *n)
{
    if (tree_by_id(rq->emu->tree, ((struct call *)rq->state)->id, n))
        return true;
    smartshape_error(rq, 404, "no such file");
    return false;
}

void smartshape_success(struct request *rq, const char *file_id)
{
    struct buf text = {0};
    buf_puts(&text, "{\"success\":true");
    if (file_id != NULL)
        buf_printf(&text, ",\"fileId\":\"%s\"", file_id);
    buf_puts(&text, "}");
    reply_json(&rq->reply, 200, &text);
}

/* ---- lists, streamed a page at a time ---- */

struct listing {
    struct emulator     *emu;
    struct option_values opt;
    int64_t              folder;
    char                *path;
    int64_t              after;         /* num of the last entry told */
    struct buf           text;          /* told but not yet sent … */
    size_t               sent;          /* … from here */
    bool                 any;
    bool                 ended;
};

static void list_one(const struct node *n, void *arg)
{
    struct listing *l = arg;
    buf_puts(&l->text, l->any ? ",\n" : "");
    smartshape_element(l->emu, &l->opt, n, l->path, &l->text);
    l->any = true;
    l->after = n->num;
}

static size_t list_stream(void *arg, char *out, size_t max)
{
    struct listing *l = arg;
    if (l->sent == l->text.len && !l->ended) {
        l->text.len = l->sent = 0;
        if (!l->any)
            buf_puts(&l->text, "[");
        if (tree_children(l->emu->tree, l->folder, l->after, LIST_PAGE, list_one, l) < LIST_PAGE) {
            l->ended = true;
            buf_puts(&l->text, "]\n");
        }
    }
    size_t n = l->text.len - l->sent < max ? l->text.len - l->sent : max;
    if (n > 0)
        memcpy(out, l->text.data + l->sent, n);
    l->sent += n;
    return n;
}

static void list_free(void *arg)
{
    struct listing *l = arg;
    buf_free(&l->text);
    free(l->path);
    free(l);
}

static void finish_list(struct request *rq)
{
    struct node folder;
    struct buf path = {0};
    if (!smartshape_find(rq, &folder))
        return;
    if (!folder.dir) {
        smartshape_error(rq, 404, "not a directory");
        return;
    }
    tree_path_of(rq->emu->tree, &folder, &path);
    struct listing *l = emu_alloc(sizeof(*l));
    *l = (struct listing){.emu = rq->emu, .opt = rq->opt, .folder = folder.num, .path = path.data};
    rq->reply.status = 200;
    rq->reply.kind = BODY_STREAM;
    rq->reply.stream = list_stream;
    rq->reply.stream_free = list_free;
    rq->reply.stream_arg = l;
    reply_header(&rq->reply, "Content-Type", "application/json; charset=utf-8");
}

/* ---- single objects ---- */

void smartshape_answer_element(struct request *rq, const struct node *n)
{
    struct node parent;
    struct buf folder = {0};
    struct buf text = {0};
    if (n->parent != 0 && tree_by_num(rq->emu->tree, n->parent, &parent))
        tree_path_of(rq->emu->tree, &parent, &folder);
    smartshape_element(rq->emu, &rq->opt, n, folder.len > 0 ? folder.data : "/", &text);
    buf_free(&folder);
    reply_json(&rq->reply, 200, &text);
}

static void finish_details(struct request *rq)
{
    struct node n;
    struct node parent;
    struct buf folder = {0};
    struct buf text = {0};
    if (!smartshape_find_id(rq, &n))
        return;
    if (n.parent != 0 && tree_by_num(rq->emu->tree, n.parent, &parent))
        tree_path_of(rq->emu->tree, &parent, &folder);
    buf_puts(&text, "{\"data\":");
    smartshape_details(rq->emu, &rq->opt, &n, folder.len > 0 ? folder.data : "/", &text);
    buf_puts(&text, "}");
    buf_free(&folder);
    reply_json(&rq->reply, 200, &text);
}

static void finish_path(struct request *rq)
{
    struct node n;
    struct buf path = {0};
    struct buf text = {0};
    if (!smartshape_find_id(rq, &n))
        return;
    tree_path_of(rq->emu->tree, &n, &path);
    buf_puts(&text, "{\"data\":{\"name\":");
    buf_json(&text, n.name, n.name_len, false);
    buf_puts(&text, ",\"path\":");
    buf_json(&text, path.data, path.len, false);
    buf_puts(&text, "}}");
    buf_free(&path);
    reply_json(&rq->reply, 200, &text);
}

/* What only tests put there: shares, configurations, behaviors, triggers. */
static void finish_document(struct request *rq)
{
    struct call *call = rq->state;
    struct buf key = {0};
    struct buf text = {0};
    struct node n;
    size_t len = strlen(rq->path);
    while (len > 1 && rq->path[len - 1] == '/')
        len--;
    buf_printf(&key, "doc %.*s", (int)len, rq->path);
    if (tree_get_text(rq->emu->tree, key.data, &text)) {
        reply_json(&rq->reply, 200, &text);
    } else if (call->route->tail == TAIL_NONE) {
        buf_puts(&text, "[]");
        reply_json(&rq->reply, 200, &text);
    } else if (smartshape_find_id(rq, &n)) {
        buf_puts(&text, "{\"success\":true,\"data\":[]}");
        reply_json(&rq->reply, 200, &text);
    }
    buf_free(&key);
}

static void finish_unknown_share(struct request *rq)
{
    smartshape_error(rq, 404, "no such share");
}

/* ---- download ---- */

static void redirect(struct request *rq, const struct node *n)
{
    struct buf path = {0};
    struct buf query = {0};
    buf_printf(&path, "/%s/%s", SMARTSHAPE, n->content[0] != '\0' ? n->content : "empty");
    sign_query(&rq->emu->secrets, rq->method, path.data, time(NULL) + rq->opt.signed_ttl_s, &query);
    rq->reply.status = 302;
    reply_header(&rq->reply, "Location", "%s%s%s", rq->emu->ports[PORT_STORAGE].url, path.data,
                 query.data);
    buf_free(&path);
    buf_free(&query);
}

static void serve_content(struct request *rq, const char *content)
{
    struct stat st = {0};
    char etag[40];
    int fd = store_read_fd(rq->emu->store, content);
    if (fd < 0 || fstat(fd, &st) < 0) {
        smartshape_error(rq, 404, "the content is gone");
        if (fd >= 0)
            close(fd);
        return;
    }
    snprintf(etag, sizeof(etag), "\"%s\"", content[0] != '\0' ? content : "empty");
    reply_file(rq, fd, content[0] != '\0' ? (uint64_t)st.st_size : 0, etag);
}

static void finish_download(struct request *rq)
{
    struct node n;
    if (!smartshape_find(rq, &n))
        return;
    if (n.dir)
        smartshape_error(rq, 400, "a directory cannot be downloaded");
    else if (node_busy_copying(&n, now_ms()))
        smartshape_error(rq, 409, "the copy is not complete yet");
    else if (strcmp(rq->opt.download, "redirect") == 0)
        redirect(rq, &n);
    else
        serve_content(rq, n.content);
}

static void smartshape_storage(struct request *rq)
{
    const char *content = rq->raw_path + sizeof("/" SMARTSHAPE "/") - 1;
    int r = sign_check(&rq->emu->secrets, rq->method, rq->raw_path, rq->raw_query);
    if (r == -ETIME)
        storage_judge_expired(rq);
    if (r < 0) {
        storage_error(rq, 403, r == -ETIME ? "ExpiredToken" : "SignatureDoesNotMatch");
        return;
    }
    serve_content(rq, strcmp(content, "empty") == 0 ? "" : content);
    if (rq->reply.status == 404)
        storage_error(rq, 404, "NoSuchKey");
}

/* ---- dispatch ---- */

static const struct route routes[] = {
    {"GET", "dir/private", "list", TAIL_PATH, finish_list},
    {"POST", "dir/private", "mkdir", TAIL_PATH, smartshape_mkdir},
    {"GET", "dir", "list_share", TAIL_ANY, finish_unknown_share},
    {"POST", "upload", "upload", TAIL_NONE, smartshape_upload},
    {"POST", "update-file", "update", TAIL_NONE, smartshape_update},
    {"GET", "download/private", "download", TAIL_PATH, finish_download},
    {"HEAD", "download/private", "download", TAIL_PATH, finish_download},
    {"GET", "download", "download_share", TAIL_ANY, finish_unknown_share},
    {"DELETE", "delete", "delete", TAIL_PATH, smartshape_delete},
    {"POST", "copy", "copy", TAIL_ID, smartshape_post_copy},
    {"GET", "path", "path", TAIL_ID, finish_path},
    {"GET", "shared-out", "shared_out", TAIL_NONE, finish_document},
    {"GET", "shared-in", "shared_in", TAIL_NONE, finish_document},
    {"GET", "configuration", "configuration", TAIL_ID, finish_document},
    {"GET", "behavior", "behavior", TAIL_ID, finish_document},
    {"GET", "trigger", "trigger", TAIL_ID, finish_document},
    {"GET", "", "details", TAIL_ID, finish_details},
};

static void upload_body(struct request *rq, const char *bytes, size_t len)
{
    struct call *call = rq->state;
    if (call->upload != NULL) {
        upload_feed(call->upload, bytes, len);
    } else if (rq->body.len + len <= JSON_MAX) {
        buf_add(&rq->body, bytes, len);
    }
}

static bool is_id(const char *text)
{
    return strlen(text) == 24 && strspn(text, "0123456789abcdef") == 24;
}

/* What follows the route's prefix in `rest` ("dir/private/a"), or NULL. */
static const char *tail_of(const struct route *route, const char *rest)
{
    size_t len = strlen(route->prefix);
    if (len == 0)
        return rest;
    if (strncmp(rest, route->prefix, len) != 0 || (rest[len] != '/' && rest[len] != '\0'))
        return NULL;
    return rest + len;
}

static bool take_tail(struct call *call, const char *tail)
{
    size_t start = *tail == '/' ? 1 : 0;
    size_t len = strcspn(tail + start, "/");
    bool ended = tail[start + len] == '\0' || tail[start + len + 1] == '\0';
    if (call->route->tail == TAIL_NONE)
        return tail[0] == '\0' || tail[1] == '\0';
    if (call->route->tail != TAIL_ID)
        return true;
    if (!ended || len >= sizeof(call->id))
        return false;
    snprintf(call->id, sizeof(call->id), "%.*s", (int)len, tail + start);
    return is_id(call->id);
}

/* The route for method and path; *other_method: the path is known, the method is not. */
static const char *find_route(struct request *rq, struct call *call, bool *other_method)
{
    const char *rest = rq->raw_path + sizeof("/file") - 1;
    rest += *rest == '/';
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        const char *tail = tail_of(&routes[i], rest);
        call->route = &routes[i];
        if (tail == NULL || !take_tail(call, tail))
            continue;
        if (strcmp(routes[i].method, rq->method) == 0)
            return tail;
        *other_method = true;
    }
    return NULL;
}

static bool authorize(struct request *rq)
{
    if (rq->authorizations != 1)
        request_breach(rq, rq->authorizations == 0 ? "no Authorization" : "two Authorizations");
    rq->authorized = rq->authorizations == 1 && strncmp(rq->authorization, "Bearer ", 7) == 0 &&
                     strcmp(rq->authorization + 7, request_token(rq)) == 0;
    if (!rq->authorized)
        smartshape_error(rq, 401, "the token is missing or wrong");
    return rq->authorized;
}

static void begin_storage(struct request *rq)
{
    rq->endpoint = "storage";
    if (rq->authorizations > 0) {
        request_breach(rq, "an Authorization came to the storage host");
        storage_error(rq, 400, "InvalidArgument");
    } else if (strcmp(rq->method, "GET") != 0 && strcmp(rq->method, "HEAD") != 0) {
        request_breach(rq, "wrong method at the storage host");
        storage_error(rq, 405, "MethodNotAllowed");
    }
}

static void smartshape_begin(struct request *rq)
{
    if (rq->port == &rq->emu->ports[PORT_STORAGE]) {
        begin_storage(rq);
        return;
    }
    bool other_method = false;
    struct call *call = emu_alloc(sizeof(*call));
    rq->state = call;
    const char *tail = find_route(rq, call, &other_method);
    if (tail != NULL)
        rq->endpoint = call->route->endpoint;
    if (!authorize(rq))
        return;
    if (tail == NULL) {
        request_breach(rq, other_method ? "wrong method for this endpoint" : "unknown endpoint");
        smartshape_error(rq, other_method ? 405 : 404, "no such endpoint");
        return;
    }
    if (call->route->tail == TAIL_PATH) {
        const char *wrong = path_from_url(&call->path, tail, strlen(tail));
        if (wrong != NULL) {
            request_breach(rq, "the path %s", wrong);
            smartshape_error(rq, 400, "bad path");
        }
    }
    if (call->route->finish == smartshape_upload || call->route->finish == smartshape_update)
        smartshape_begin_upload(rq, call);
}

static void smartshape_finish(struct request *rq)
{
    ((struct call *)rq->state)->route->finish(rq);
}

static void smartshape_subject(struct request *rq, struct buf *out)
{
    const struct call *call = rq->state;
    struct node n;
    if (call != NULL && is_id(call->id) && tree_by_id(rq->emu->tree, call->id, &n))
        tree_path_of(rq->emu->tree, &n, out);
}

static void smartshape_end(struct request *rq)
{
    struct call *call = rq->state;
    if (call == NULL)
        return;
    upload_free(call->upload);
    path_free(&call->path);
    free(call);
    rq->state = NULL;
}

const struct service smartshape_service = {
    .name = SMARTSHAPE,
    .prefix = "/file",
    .begin = smartshape_begin,
    .body = upload_body,
    .finish = smartshape_finish,
    .storage = smartshape_storage,
    .end = smartshape_end,
    .error = smartshape_error,
    .subject = smartshape_subject,
};
