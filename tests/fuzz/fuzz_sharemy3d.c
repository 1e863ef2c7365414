/* ShareMy3D and its storage host, which answer anything: every operation, through the same wrappers as the
 * cache calls, with checks of what is asked and of the entries that come.
 *
 * Input: an operation (l, b, n, s: lists of models, backgrounds, names, a status; t: of a model's folder; r:
 * of a background's; o where its file is; i, f stat of its document and folder; d the document) and any
 * letter; then answers as service.h has them. For t, r and d the first of these may be a text of ours, the
 * fields of the folder, if it begins with `{`. The storage's answer begins with a line that is its
 * Content-Disposition. */
#include "backends/sharemy3d.h"
#include "backends/sharemy3d_impl.h"
#include "tests/fuzz/service.h"

#include <errno.h>

/* --- what is asked */

static void check_request(const struct pm_http_request *req)
{
    PM_AUTO(free) char *path = strndup(req->url + strlen(ENDPOINT),
                                       strcspn(req->url + strlen(ENDPOINT), "?"));

    CHECK(path && !req->body && !req->file && !req->headers && !strcmp(req->method, "GET"));
    check_segments(path);
    CHECK(!strstr(path, "//") && path[strlen(path) - 1] != '/');
    CHECK(!strncmp(path, "/models", 7) || !strncmp(path, "/backgrounds", 12));
}

static char disposition[256];

static const char *fake_header(const struct pm_http_head *head, const char *name)
{
    (void)head;
    return !strcmp(name, "Content-Disposition") ? disposition : "";
}

/* The storage host: nothing of the account's goes there, and only to where it may. */
static int fake_storage(struct pm_net *net, struct pm_ctx *ctx, const struct pm_http_request *req,
                        struct pm_http_answer *answer)
{
    size_t              len = 0;
    const uint8_t      *piece = fuzz_piece(&left, &nleft, '~', &len);
    PM_AUTO(free) char *origin = pm_http_origin(req->url);
    struct pm_http_head head = {0};

    (void)net, (void)ctx;
    CHECK(origin && !req->auth && !strstr(req->url, TOKEN) && !req->body && !req->file);
    head.status = answer->status = piece && len > 1 ? status_of(piece[0]) : 0;
    if (!answer->status)
        return -ECONNREFUSED;
    snprintf(disposition, sizeof(disposition), "%.*s", (int)(len - 2), (const char *)piece + 2);
    disposition[strcspn(disposition, "\n")] = '\0';
    req->head(req->arg, &head);
    if (answer->status / 100 != 2)
        pm_buf_add(&answer->body, piece + 2, len - 2);
    else if (len > 2)
        return req->data(req->arg, piece + 2, len - 2);
    return pm_http_judge_status(answer->status).err;
}

/* One thread, so that an input does the same each time. */
static int fake_start(pthread_t *out, const char *name, void *(*run)(void *), void *arg)
{
    (void)out, (void)name, (void)run, (void)arg;
    return -EAGAIN;
}

#define pm_thread_start fake_start
#include "backends/sharemy3d_list.c"
#define pm_http_call   fake_storage
#define pm_http_header fake_header
#define learn          learn_name /* others have one, too */
#include "backends/sharemy3d_file.c"
#undef learn
#undef pm_http_call
#undef pm_http_header

/* --- what comes */

static int on_entry(void *arg, const struct pm_entry *e)
{
    struct pm_backend *b = arg;
    char               value[64];

    CHECK(*e->name && *e->path && !*e->root && strlen(e->id) < 100);
    CHECK(e->kind != PM_LINK || (!strncmp(e->target, "../", 3) && e->size == strlen(e->target)));
    CHECK(e->kind != PM_DOCUMENT || (e->size && strlen(e->version) == 64));
    CHECK(!e->fields || strlen(e->fields) <= PM_FIELDS_MAX);
    CHECK(e->mtime_ms >= 0 && e->mtime_ms == e->btime_ms);
    check_segments(e->kind == PM_FILE || e->kind == PM_LINK ? "" : e->path); /* a name is data */
    for (const char *c = e->path; *c; c++)
        CHECK((unsigned char)*c > 0x20 && (unsigned char)*c < 0x7f && !strchr("?#", *c));
    if (!pm_backend_field(b, e, "name", value, sizeof(value)))
        CHECK(memchr(value, '\0', sizeof(value)));
    return 0;
}

/* --- what is done */

/* The first answer, if it is a text of ours; else "". */
static char *own_text(void)
{
    size_t         len = 0;
    const uint8_t *piece;

    if (!left || !nleft || *left != '{')
        return fuzz_text("", 0);
    piece = fuzz_piece(&left, &nleft, '~', &len);
    return fuzz_text(piece, len);
}

static int no_bytes_yet(void *arg, const struct pm_answer *a)
{
    *(uint64_t *)arg = a->total;
    return 0;
}

static int all_bytes(void *arg, const void *buf, size_t len)
{
    char why[64];

    CHECK(len == *(uint64_t *)arg && pm_document_check(buf, len, why, sizeof(why)) == 0);
    return 0;
}

static void fetch(struct pm_backend *b, struct pm_ctx *ctx, struct pm_entry *e)
{
    static const struct pm_sink sink = {no_bytes_yet, all_bytes, NULL};
    uint64_t                    total = 0;

    e->kind = PM_DOCUMENT;
    e->path = "models/m1/info.json";
    pm_backend_fetch(b, ctx, e, 0, INT64_MAX, &sink, &total);
}

static void locate_file(struct pm_backend *b, struct pm_ctx *ctx, struct pm_entry *e)
{
    struct pm_location loc = {0};

    e->id = "m1/original";
    if (!pm_backend_locate(b, ctx, e, &loc)) {
        PM_AUTO(free) char *origin = pm_http_origin(loc.url);

        CHECK(origin && !loc.auth && loc.expires_ms <= pm_now_ms() + INT64_MAX / 2);
    }
    pm_location_clear(&loc);
}

static void run(struct pm_backend *b, char op, const char *name)
{
    struct pm_ctx                  ctx = {.prio = PM_BACKGROUND};
    PM_AUTO(free) char            *fields = strchr("trd", op) ? own_text() : fuzz_text("", 0);
    PM_AUTO(free) struct pm_entry *out = NULL;
    struct pm_entry e = {.kind = PM_FOLDER, .root = "", .id = "", .name = name, .target = "",
                         .version = "", .state = name, .fields = fields, .size = PM_SIZE_UNKNOWN};

    switch (op) {
    case 'l': e.path = "models"; break;
    case 'b': e.path = "backgrounds"; break;
    case 'n': e.path = "by-name"; break;
    case 's': e.path = "by-status/FAILED"; break;
    case 't': e.path = "models/m1"; break;
    case 'r': e.path = "backgrounds/b1"; break;
    case 'i': e.path = "models/m1/info.json"; break;
    default: e.path = "models/m1"; break;
    }
    if (strchr("lbnstr", op))
        pm_backend_list(b, &ctx, &e, on_entry, b);
    else if (op == 'o')
        locate_file(b, &ctx, &e);
    else if (op == 'd')
        fetch(b, &ctx, &e);
    else if (!pm_backend_stat(b, &ctx, &e, &out))
        on_entry(b, out);
    check_context(&ctx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return run_service("sharemy3d", NULL, data, size, run);
}
