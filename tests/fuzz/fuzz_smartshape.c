/* SmartShape with a service that answers anything: every operation, through the same wrappers as the
 * cache calls, with checks of what is asked and of the entries that come.
 *
 * Input: an operation (l list, s stat, i stat without an id, m mkdir, r remove, c copy, u upload,
 * a abort) and a name; then answers, each after a `~`: a status (a: 200, b: 400, c: 401, d: 404,
 * e: 409, f: 429, g: 500, other: none came), a letter for the size of the chunks, the body. With u
 * and a the first of these is the stored state of an upload, if it begins with `{`. */
#include "backends/smartshape_impl.h"
#include "backends/smartshape.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <sys/mman.h>

#define ENDPOINT "https://fuzz.example"
#define TOKEN    "s3cr3t-t0k3n-that-no-answer-holds"

static const uint8_t *left; /* what is left of the input */
static size_t         nleft;

static long status_of(uint8_t letter)
{
    static const long statuses[] = {200, 400, 401, 404, 409, 429, 500};

    return letter >= 'a' && letter - 'a' < (int)PM_COUNT(statuses) ? statuses[letter - 'a'] : 0;
}

/* No segment that a server could take for another place. */
static void check_segments(const char *path)
{
    PM_AUTO(free) char *framed = pm_asprintf("%s/", path);

    CHECK(framed && !strstr(framed, "/../") && !strstr(framed, "/./"));
    CHECK(!strcasestr(path, "%2f") && !strstr(path, "%00"));
}

static void check_request(const struct pm_http_request *req)
{
    const char   *path = req->url + strlen(ENDPOINT);
    struct cJSON *v;

    CHECK(!strncmp(req->url, ENDPOINT "/", strlen(ENDPOINT) + 1));
    for (const char *c = path; *c; c++)
        CHECK((unsigned char)*c > 0x20 && (unsigned char)*c < 0x7f && !strchr("#@\\\"<>", *c));
    if (strstr(path, "/private/") || strstr(path, "/delete/") || strchr(path, '?'))
        check_segments(path); /* an id is the service's own word and comes alone, escaped */
    CHECK(strcmp(req->method, "DELETE") != 0 || strcmp(path, "/file/delete/") != 0);
    CHECK(req->auth && !strcmp(req->auth->origin, ENDPOINT) && !req->headers == !req->body);
    CHECK(!strpbrk(req->auth->header, "\r\n"));
    if (req->body) {
        v = pm_json_parse(req->body, strlen(req->body));
        CHECK(pm_json_text(v, "destination"));
        pm_json_free(v);
    }
    CHECK(!req->file || !strpbrk(req->file->name, "\r\n"));
}

static int give(const struct pm_http_request *req, struct pm_http_answer *answer,
                const uint8_t *body, size_t len, size_t chunk)
{
    int err = 0;

    for (size_t at = 0, n; at < len && err >= 0; at += n) {
        n = len - at < chunk ? len - at : chunk;
        PM_AUTO(free) char *exact = fuzz_bytes(body + at, n);

        if (req->data && answer->status / 100 == 2)
            err = req->data(req->arg, exact, n);
        else
            pm_buf_add(&answer->body, exact, n);
    }
    return err < 0 ? err : 0;
}

static int fake_call(struct pm_net *net, struct pm_ctx *ctx, const struct pm_http_request *req,
                     struct pm_http_answer *answer)
{
    size_t         len = 0;
    const uint8_t *piece = fuzz_piece(&left, &nleft, '~', &len);
    int            err;

    (void)net, (void)ctx;
    check_request(req);
    answer->status = piece && len > 1 ? status_of(piece[0]) : 0;
    if (!answer->status)
        return req->once ? -EAGAIN : -ECONNREFUSED;
    err = give(req, answer, piece + 2, len - 2, 1 + piece[1] % 64);
    return err ? err : pm_http_judge_status(answer->status).err;
}

#define pm_http_call fake_call
#include "backends/smartshape_call.c"

/* --- what comes */

static void check_entry(const struct pm_entry *e)
{
    size_t len = strlen(e->path);
    bool   nameless = len && e->path[len - 1] == '/'; /* and refused by pm_ss_check_path */

    CHECK(nameless == !*e->name && strlen(e->id) < PM_SS_ID_MAX && strlen(e->state) < 64);
    CHECK(e->kind == PM_FILE || e->kind == PM_FOLDER);
    CHECK(e->size == PM_SIZE_UNKNOWN || (e->size <= INT64_MAX && e->kind == PM_FILE));
    CHECK(!*e->version == (e->kind == PM_FOLDER) && !*e->root && !*e->target);
    CHECK(e->mtime_ms <= INT64_MAX / 2 && e->mtime_ms > -100000000000000);
    for (const char *c = e->path; *c; c++)
        CHECK((unsigned char)*c > 0x20 && (unsigned char)*c < 0x7f && !strchr("?#", *c));
    CHECK((nameless || *e->path != '/') && !strstr(e->path, "//"));
}

struct seen {
    struct pm_backend     *b;
    const struct pm_entry *dir;
};

static int on_entry(void *arg, const struct pm_entry *e)
{
    struct seen        *s = arg;
    PM_AUTO(free) char *path = pm_ss_child(s->dir, e->name);

    check_entry(e);
    CHECK(path && !strcmp(path, e->path)); /* whatever the service says of its place */
    CHECK(pm_backend_same_version(s->b, e->version, e->version));
    return 0;
}

static void check_context(const struct pm_ctx *ctx)
{
    CHECK(memchr(ctx->why, '\0', sizeof(ctx->why)) && !strstr(ctx->why, TOKEN));
}

/* An upload that begins, or goes on after a crash, as the queue does it. */
static void upload(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, bool abort_it)
{
    PM_AUTO(free) struct pm_entry *e = NULL;
    uint64_t                       off = 0;
    int                            err = pm_backend_begin(b, ctx, up);

    if (!err && left && nleft && *left == '{') {
        size_t         len = 0;
        const uint8_t *state = fuzz_piece(&left, &nleft, '~', &len);

        free(up->state);
        up->state = fuzz_text(state, len);
    }
    if (!err)
        err = pm_backend_resume(b, ctx, up, &off);
    if (!err && off < up->size)
        err = pm_backend_put(b, ctx, up, &off);
    if (!err && off == up->size)
        err = pm_backend_finish(b, ctx, up, &e);
    if (e) {
        check_entry(e);
        CHECK(!err && e->size == up->size && !strcmp(e->name, up->name));
    }
    if (abort_it)
        pm_backend_abort(b, ctx, up);
}

static void run_upload(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *dir,
                       const char *name, bool abort_it)
{
    struct pm_entry  target = {.kind = PM_FILE, .root = "", .id = "7", .name = name, .path = "x",
                               .target = "", .version = "u:1:2", .state = ""};
    struct pm_upload up = {.parent = dir, .name = name, .size = 4, .fd = 0};

    if (name[0] == 't')
        up.target = &target;
    upload(b, ctx, &up, abort_it);
    free(up.state);
}

static void run(struct pm_backend *b, char op, const char *name)
{
    struct pm_entry  dir = {.kind = PM_FOLDER, .root = "", .id = "", .name = "d", .path = "a/d%20e",
                            .target = "", .version = "", .state = "", .size = PM_SIZE_UNKNOWN};
    PM_AUTO(free) char *path = pm_ss_child(&dir, name);
    struct pm_entry  e = {.kind = PM_FILE, .root = "", .id = op == 'i' ? "" : name, .name = name,
                          .path = path, .target = "", .version = "", .state = ""};
    struct pm_ctx    ctx = {0};
    struct pm_entry *out = NULL;
    struct seen      seen = {b, &dir};
    int              err = -1;

    if (op == 'l')
        pm_backend_list(b, &ctx, &dir, on_entry, &seen);
    else if (op == 's' || op == 'i')
        err = pm_backend_stat(b, &ctx, &e, &out);
    else if (op == 'm')
        err = pm_backend_mkdir(b, &ctx, &dir, name, &out);
    else if (op == 'r')
        pm_backend_remove(b, &ctx, &e);
    else if (op == 'c')
        err = pm_backend_copy(b, &ctx, &e, &dir, name, &out);
    else if (op == 'u' || op == 'a')
        run_upload(b, &ctx, &dir, name, op == 'a');
    if (!err)
        check_entry(out);
    if (!err && op == 'm')
        CHECK(!strcmp(out->name, name));
    check_context(&ctx);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char                   key[] = "token", how[] = "", value[] = TOKEN, endpoint[] = ENDPOINT;
    char                   account[] = "a", type[] = "smartshape";
    struct pm_secret       secret = {key, how, value};
    struct pm_account_conf conf = {.name = account, .type = type, .endpoint = endpoint,
                                   .secrets = &secret, .nsecrets = 1};
    struct pm_backend     *b = NULL;
    size_t                 len = 0;
    const uint8_t         *piece = fuzz_piece(&data, &size, '~', &len);
    PM_AUTO(free) char    *name = NULL;

    if (!piece || len < 2)
        return 0;
    name = fuzz_text(piece + 1, len - 1);
    if (!*name)
        return 0;
    if (size && memmem(data, size, TOKEN, strlen(TOKEN)))
        return 0; /* a service that tells the token itself */
    left = data;
    nleft = size;
    pm_log_level(PM_ERROR);
    CHECK(pm_backend_open(&conf, NULL, NULL, &b) == 0);
    run(b, (char)piece[0], name);
    pm_backend_close(b);
    return 0;
}
