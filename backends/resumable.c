#include "backends/resumable.h"

#include "backends/json.h"
#include "backends/signed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- what the storage says */

/* Of an answer's head; the loop's until the call is over. */
struct told {
    char range[64];
    char digest[PM_SIGNED_DIGEST_MAX];
    char length[24]; /* of the object that was made; "": it does not say */
    char *location; /* owned; NULL: none */
};

static void copy_header(const struct pm_http_head *head, const char *name, char *out, size_t size)
{
    const char *value = pm_http_header(head, name);

    snprintf(out, size, "%s", strlen(value) < size ? value : "?");
}

static void note_head(void *arg, const struct pm_http_head *head)
{
    struct told *t = arg;
    const char  *location = pm_http_header(head, "Location");

    free(t->location);
    *t = (struct told){.location = *location ? strdup(location) : NULL};
    copy_header(head, "Range", t->range, sizeof(t->range));
    copy_header(head, "x-goog-stored-content-length", t->length, sizeof(t->length));
    pm_signed_digest(pm_http_header(head, "x-goog-hash"), t->digest);
}

static bool to_number(const char *text, uint64_t *out)
{
    uint64_t value = 0;

    if (!*text)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || value > INT64_MAX / 10 - 1)
            return false;
        value = value * 10 + (uint64_t)(*text - '0');
    }
    *out = value;
    return true;
}

bool pm_resumable_mark(const char *range, uint64_t *held)
{
    uint64_t last;

    if (!*range) {
        *held = 0;
        return true;
    }
    if (!strncmp(range, "bytes=", 6)) /* older pages of the storage's show marks without it */
        range += 6;
    if (strncmp(range, "0-", 2) != 0 || !to_number(range + 2, &last))
        return false;
    *held = last + 1;
    return true;
}

enum pm_resumable_kind pm_resumable_kind(const char *url, bool asked)
{
    PM_AUTO(free) char *session = pm_signed_parameter(url, "upload_id");
    PM_AUTO(free) char *signature = pm_signed_parameter(url, "Signature");
    PM_AUTO(free) char *headers = pm_signed_parameter(url, "X-Goog-SignedHeaders");

    if (session)
        return PM_RESUMABLE_SESSION;
    if (headers ? strcasestr(headers, "x-goog-resumable") != NULL : asked && signature)
        return PM_RESUMABLE_START;
    return PM_RESUMABLE_WHOLE;
}

/* --- one exchange */

struct exchange {
    struct pm_http_answer answer;
    struct told           told;
};

static void pm_cleanup_exchange(struct exchange *x)
{
    pm_http_answer_free(&x->answer);
    free(x->told.location);
}

/* Each is tried once: what became of it is asked for. A storage that refuses says no more than its code. */
static int call(struct pm_net *net, struct pm_ctx *ctx, struct pm_http_request *req, struct exchange *x)
{
    char code[PM_SIGNED_CODE_MAX] = "";
    int  err;

    req->head = note_head;
    req->arg = &x->told;
    req->content = true;
    req->single = true;
    req->once = true;
    err = pm_http_call(net, ctx, req, &x->answer);
    if (err && x->answer.status) {
        if (x->answer.body.len)
            pm_signed_error(x->answer.body.ptr, x->answer.body.len, code);
        snprintf(ctx->why, sizeof(ctx->why), "the storage says %ld%s%s", x->answer.status,
                 *code ? " " : "", code);
    }
    return err;
}

/* What an object's JSON says of it, where the headers do not. */
static void read_object(struct exchange *x)
{
    struct cJSON *obj = x->answer.body.len
                            ? pm_json_parse(x->answer.body.ptr, x->answer.body.len)
                            : NULL;
    const char   *crc = pm_json_text(obj, "crc32c"), *md5 = pm_json_text(obj, "md5Hash");
    char          text[80];

    if (!*x->told.length)
        pm_json_scalar(obj, "size", x->told.length, sizeof(x->told.length));
    if (!*x->told.digest && (crc || md5)) {
        snprintf(text, sizeof(text), "%s=%.60s", crc ? "crc32c" : "md5", crc ? crc : md5);
        pm_signed_digest(text, x->told.digest);
    }
    pm_json_free(obj);
}

/* There is an object now. Of another size it is not ours. */
static int take_complete(struct pm_ctx *ctx, struct exchange *x, uint64_t size,
                         struct pm_resumable *out)
{
    uint64_t length;

    read_object(x);
    if (to_number(x->told.length, &length) && length != size) {
        snprintf(ctx->why, sizeof(ctx->why), "the storage has %" PRIu64 " bytes of %" PRIu64, length,
                 size);
        return -EBADMSG;
    }
    *out = (struct pm_resumable){.held = size, .complete = true};
    snprintf(out->digest, sizeof(out->digest), "%s", x->told.digest);
    return 0;
}

/* What a session's answer means. `sent`: all that was asked for with it, from 0 on. */
static int judge(struct pm_ctx *ctx, int err, struct exchange *x, uint64_t sent, uint64_t size,
                 struct pm_resumable *out)
{
    long     status = x->answer.status;
    uint64_t held;

    if (!err && sent < size) {
        snprintf(ctx->why, sizeof(ctx->why), "somebody else finished the upload");
        return -EBADMSG;
    }
    if (!err)
        return take_complete(ctx, x, size, out);
    if (status == 404 || status == 410 || status == 499) /* the last: it was cancelled */
        return -ESTALE;
    if (status != 308)
        return err;
    if (!pm_resumable_mark(x->told.range, &held) || held > size) {
        snprintf(ctx->why, sizeof(ctx->why), "the storage's mark makes no sense");
        return -EIO;
    }
    *out = (struct pm_resumable){.held = held};
    ctx->why[0] = '\0';
    return 0;
}

/* --- sessions */

/* Of a URL that is over, or was signed for something else: each storage has words of its own for it. */
static bool is_refusal(long status)
{
    return status / 100 == 4 && status != 408 && status != 425 && status != 429;
}

int pm_resumable_start(struct pm_net *net, struct pm_ctx *ctx, const char *url, char **session)
{
    static const char *const headers[] = {"x-goog-resumable: start", "Content-Type:", NULL};
    __attribute__((cleanup(pm_cleanup_exchange))) struct exchange x = {0};
    struct pm_http_request req = {.method = "POST", .url = url, .headers = headers, .body = ""};
    int                    err = call(net, ctx, &req, &x);
    PM_AUTO(free) char    *origin = !err && x.told.location ? pm_http_origin(x.told.location) : NULL;

    if (err && is_refusal(x.answer.status))
        return -ESTALE;
    if (err)
        return err;
    if (!origin) {
        snprintf(ctx->why, sizeof(ctx->why), "the storage opened no session that can be used");
        return -EIO;
    }
    *session = x.told.location;
    x.told.location = NULL;
    return 0;
}

int pm_resumable_ask(struct pm_net *net, struct pm_ctx *ctx, const char *session, uint64_t size,
                     struct pm_resumable *out)
{
    __attribute__((cleanup(pm_cleanup_exchange))) struct exchange x = {0};
    char                   range[64];
    const char            *headers[] = {range, "Content-Type:", NULL};
    struct pm_http_file    nothing = {.fd = -1};
    struct pm_http_request req = {.method = "PUT", .url = session, .headers = headers,
                                  .file = &nothing, .at_once = true};
    int                    err;

    snprintf(range, sizeof(range), "Content-Range: bytes */%" PRIu64, size);
    err = call(net, ctx, &req, &x);
    return judge(ctx, err, &x, size, size, out);
}

struct sending {
    const struct pm_upload *up;
    uint64_t                off;
};

static void count_sent(void *arg, uint64_t sent)
{
    const struct sending *s = arg;

    if (s->up->progress)
        s->up->progress(s->up->arg, s->off + sent);
}

int pm_resumable_put(struct pm_net *net, struct pm_ctx *ctx, const char *session,
                     const struct pm_upload *up, uint64_t off, uint64_t chunk,
                     struct pm_resumable *out)
{
    __attribute__((cleanup(pm_cleanup_exchange))) struct exchange x = {0};
    struct sending         sending = {up, off};
    uint64_t               left = up->size - off;
    struct pm_http_file    file = {.fd = up->fd, .off = off, .len = chunk && chunk < left ? chunk : left,
                                   .progress = count_sent, .arg = &sending};
    char                   range[96];
    const char            *headers[] = {range, "Content-Type:", NULL};
    struct pm_http_request req = {.method = "PUT", .url = session, .headers = headers, .file = &file,
                                  .at_once = true};
    int                    err;

    if (file.len) {
        snprintf(range, sizeof(range), "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, off,
                 off + file.len - 1, up->size);
    } else { /* nothing at all; or all is there, and not finished */
        snprintf(range, sizeof(range), "Content-Range: bytes */%" PRIu64, up->size);
    }
    err = call(net, ctx, &req, &x);
    err = judge(ctx, err, &x, off + file.len, up->size, out);
    if (err || out->complete)
        return err;
    if (out->held > off)
        return 0;
    snprintf(ctx->why, sizeof(ctx->why), "the storage keeps %" PRIu64 " bytes", out->held);
    return -EAGAIN;
}

int pm_resumable_put_whole(struct pm_net *net, struct pm_ctx *ctx, const char *url,
                           const struct pm_upload *up, struct pm_resumable *out)
{
    static const char *const headers[] = {"Content-Type:", NULL};
    __attribute__((cleanup(pm_cleanup_exchange))) struct exchange x = {0};
    struct sending         sending = {up, 0};
    struct pm_http_file    file = {.fd = up->fd, .len = up->size, .progress = count_sent,
                                   .arg = &sending};
    struct pm_http_request req = {.method = "PUT", .url = url, .headers = headers, .file = &file,
                                  .at_once = true};
    int                    err = call(net, ctx, &req, &x);

    if (!err)
        return take_complete(ctx, &x, up->size, out);
    switch (x.answer.status) {
    case 400: case 403: case 404: case 410: return -ESTALE;
    default: return err;
    }
}

int pm_resumable_cancel(struct pm_net *net, struct pm_ctx *ctx, const char *session)
{
    static const char *const headers[] = {"Content-Length: 0", NULL};
    __attribute__((cleanup(pm_cleanup_exchange))) struct exchange x = {0};
    struct pm_http_request req = {.method = "DELETE", .url = session, .headers = headers};
    int                    err = call(net, ctx, &req, &x);

    switch (x.answer.status) {
    case 499: case 404: case 410: return 0; /* the first is how the storage says that it did */
    default: return err;
    }
}
