/* The storage host, which is Google's: signed URLs, reading, plain PUTs; and which requests are for
 * upload sessions. Without our token: a URL is all the right there is. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/emulator/path.h"
#include "tests/emulator/sharemy3d_call.h"
#include "tests/emulator/signed.h"
#include "tests/emulator/storage.h"

void sharemy3d_storage_error(struct request *rq, int status, const char *detail)
{
    static const struct {
        int         status;
        const char *code;
    } codes[] = {
        {400, "ExpiredToken"},       {401, "AuthenticationRequired"}, {403, "AccessDenied"},
        {404, "NoSuchKey"},          {408, "RequestTimeout"},         {411, "MissingContentLength"},
        {412, "PreconditionFailed"}, {416, "InvalidRange"},           {429, "SlowDown"},
        {500, "InternalError"},      {503, "ServiceUnavailable"},
    };
    (void)detail;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (codes[i].status == status) {
            storage_error(rq, status, codes[i].code);
            return;
        }
    storage_error(rq, status, "InternalError");
}

/* ---- signed URLs ---- */

void sm3d_object_path(const struct sm3d_item *item, struct buf *out)
{
    const char *key = item->key;
    buf_puts(out, "/" SHAREMY3D);
    while (*key != '\0') {
        size_t len = strcspn(key, "/");
        char *segment = strndup(key, len);
        buf_puts(out, "/");
        signed_encode(segment, out);
        free(segment);
        key += len + (key[len] == '/');
    }
}

void sm3d_signed_url(struct request *rq, const struct sm3d_item *item, const char *method,
                     struct buf *out)
{
    const struct sm3d_options *opt = sm3d_opt(rq);
    bool get = strcmp(method, "GET") == 0;
    struct buf path = {0};
    struct buf name = {0};
    struct buf extra = {0};
    buf_add(&extra, "", 0);
    if (get && strcmp(opt->filename_in, "disposition") == 0) {
        sm3d_disposition(item, &name);
        buf_puts(&extra, "response-content-disposition=");
        signed_encode(name.data, &extra);
    }
    sm3d_object_path(item, &path);
    struct signed_order order = {
        .form = get ? opt->url_form : opt->put_form,
        .method = method,
        .path = path.data,
        .starts = strcmp(method, "POST") == 0 ? "x-goog-resumable" : "",
        .extra = extra.data,
        .now_s = sm3d_now(&rq->opt) / 1000,
        .life_s = get ? rq->opt.signed_ttl_s : opt->put_ttl_s,
    };
    buf_printf(out, "%s%s", rq->emu->ports[PORT_STORAGE].url, path.data);
    signed_query(&rq->emu->secrets, &order, out);
    buf_free(&path);
    buf_free(&name);
    buf_free(&extra);
}

static bool judge_url(struct request *rq)
{
    bool head = strcmp(rq->method, "HEAD") == 0 && strcmp(sm3d_opt(rq)->head, "allowed") == 0;
    switch (signed_check(rq, head ? "GET" : rq->method, sm3d_now(&rq->opt) / 1000)) {
    case SIGNED_GOOD:
        return true;
    case SIGNED_OVER:
        storage_judge_expired(rq);
        if (sm3d_opt(rq)->expired_status == 400)
            storage_error(rq, 400, "ExpiredToken");
        else
            storage_error(rq, 403, "AccessDenied");
        return false;
    case SIGNED_MISSING:
        storage_error(rq, 403, "AccessDenied");
        return false;
    case SIGNED_MALFORMED:
        storage_error(rq, 400, "MalformedSecurityHeader");
        return false;
    case SIGNED_WRONG:
        break;
    }
    storage_error(rq, 403, "SignatureDoesNotMatch");
    return false;
}

void sm3d_mark_used(struct request *rq)
{
    struct sm3d_item item;
    ledger_begin(sm3d_stock(rq));
    if (stock_object(sm3d_stock(rq), sm3d_visit(rq)->item.key, &item)) {
        item.used = true;
        stock_put_item(sm3d_stock(rq), &item);
    }
    ledger_commit(sm3d_stock(rq));
}

/* ---- reading ---- */

static void finish_get(struct request *rq)
{
    sm3d_serve_object(rq, &sm3d_visit(rq)->item);
}

static void begin_get(struct request *rq)
{
    rq->endpoint = "storage";
    sm3d_visit(rq)->finish = finish_get;
    judge_url(rq);
}

/* ---- a plain PUT ---- */

static void answer_put(struct request *rq, const struct sm3d_item *item)
{
    rq->reply.status = 200;
    reply_header(&rq->reply, "ETag", "\"%s\"", item->object.sums.md5_hex);
    sm3d_object_headers(rq, item);
}

/* The same once more is harmless: an answer may have been lost. */
static void judge_repeat(struct request *rq, const struct sm3d_item *item, const struct sums *sums,
                         uint64_t size)
{
    if (item->object.generation != 0 && strcmp(item->object.sums.md5, sums->md5) != 0)
        request_breach(rq, "another content for %s, which has one", item->id);
    if (size != item->size)
        request_breach(rq, "%llu bytes, %llu were announced", (unsigned long long)size,
                       (unsigned long long)item->size);
}

static void finish_put(struct request *rq)
{
    struct sm3d_visit *v = sm3d_visit(rq);
    struct sm3d_item item;
    struct sums sums;
    char content[33];
    v->put.finished = true;
    uint64_t size = v->put.incoming != NULL ? incoming_size(v->put.incoming) : 0;
    if (v->put.incoming == NULL || incoming_commit(v->put.incoming, content) < 0) {
        v->put.incoming = NULL;
        storage_error(rq, 500, "InternalError");
        return;
    }
    v->put.incoming = NULL;
    if (sm3d_sums(rq->emu->store, content, size, &sums) < 0) {
        storage_error(rq, 500, "InternalError");
        return;
    }
    if (!sm3d_judge_hashes(rq, &sums))
        return;
    ledger_begin(sm3d_stock(rq));
    if (stock_object(sm3d_stock(rq), v->item.key, &item)) {
        judge_repeat(rq, &item, &sums, size);
        sm3d_make_object(rq->emu, &rq->opt, &item, content, size, &sums);
        answer_put(rq, &item);
    } else {                            /* deleted meanwhile: it lies there unknown */
        rq->reply.status = 200;
    }
    ledger_commit(sm3d_stock(rq));
}

static void begin_put(struct request *rq)
{
    struct sm3d_visit *v = sm3d_visit(rq);
    struct buf place = {0};
    rq->endpoint = "object_put";
    v->finish = finish_put;
    if (!judge_url(rq))
        return;
    if (*request_header(rq, "Content-Range") != '\0') {
        request_breach(rq, "a Content-Range, but this URL is for the whole at once");
        storage_error(rq, 400, "InvalidArgument");
        return;
    }
    if (*request_header(rq, "Content-Encoding") != '\0')
        request_breach(rq, "a Content-Encoding: the object would be stored encoded");
    buf_printf(&place, "sm3d %s", v->item.key);
    if (!flight_begin(rq->emu->flights, &v->put.flight, rq, place.data))
        request_breach(rq, "a second PUT of this object at the same time");
    buf_free(&place);
    sm3d_mark_used(rq);
    v->put.taken = incoming_new(rq->emu->store, &v->put.incoming) == 0;
}

/* ---- dispatch ---- */

/* The object that the path names: our state's item, if there is one. */
static void find_object(struct request *rq)
{
    struct sm3d_visit *v = sm3d_visit(rq);
    struct buf key = {0};
    size_t len = sizeof("/" SHAREMY3D "/") - 1;
    if (strncmp(rq->raw_path, "/" SHAREMY3D "/", len) == 0)
        url_decode(rq->raw_path + len, strlen(rq->raw_path + len), false, &key);
    else
        request_query(rq, "name", &key);
    buf_add(&key, "", 0);
    stock_object(sm3d_stock(rq), key.data, &v->item);
    buf_free(&key);
}

static void wrong_method(struct request *rq)
{
    request_breach(rq, "wrong method at the storage host");
    storage_error(rq, 405, "MethodNotAllowed");
}

static void dispatch(struct request *rq)
{
    struct buf id = {0};
    bool session = request_query(rq, "upload_id", &id);
    bool json = strncmp(rq->raw_path, "/" SHAREMY3D_JSON, sizeof("/" SHAREMY3D_JSON) - 1) == 0;
    buf_free(&id);
    if (session && (strcmp(rq->method, "PUT") == 0 || strcmp(rq->method, "DELETE") == 0))
        sm3d_begin_session(rq);
    else if (session || json)
        wrong_method(rq);
    else if (strcmp(rq->method, "GET") == 0 || strcmp(rq->method, "HEAD") == 0)
        begin_get(rq);
    else if (strcmp(rq->method, "PUT") == 0)
        begin_put(rq);
    else if (strcmp(rq->method, "POST") == 0 && judge_url(rq))
        sm3d_begin_start(rq);
    else if (rq->reply.status == 0)
        wrong_method(rq);
}

void sharemy3d_begin_storage(struct request *rq)
{
    rq->endpoint = "storage";
    find_object(rq);
    if (rq->authorizations > 0) {
        request_breach(rq, "an Authorization came to the storage host");
        storage_error(rq, 400, "InvalidArgument");
        return;
    }
    dispatch(rq);
}

void sharemy3d_storage_body(struct request *rq, const char *bytes, size_t len)
{
    struct sm3d_put *put = &sm3d_visit(rq)->put;
    put->got += len;
    if (put->incoming == NULL)
        sm3d_session_body(rq, bytes, len);
    else if (incoming_write(put->incoming, bytes, len) < 0)
        storage_error(rq, 500, "InternalError");
}

void sharemy3d_storage_end(struct request *rq)
{
    struct sm3d_put *put = &sm3d_visit(rq)->put;
    sm3d_session_end(rq);
    incoming_abort(put->incoming);
    flight_end(rq->emu->flights, &put->flight);
    if (put->fd >= 0)
        close(put->fd);
    put->fd = -1;
}
