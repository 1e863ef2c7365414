/* SmartShape with a service that answers anything: every operation, through the same wrappers as the
 * cache calls, with checks of what is asked and of the entries that come.
 *
 * Input: an operation (l list, s stat, i stat without an id, m mkdir, r remove, c copy, u upload,
 * a abort) and a name; then answers as service.h has them. With u and a the first of these is the stored
 * state of an upload, if it begins with `{`. */
#include "backends/smartshape_impl.h"
#include "backends/smartshape.h"
#include "tests/fuzz/service.h"

#include <errno.h>
#include <sys/mman.h>

static void check_request(const struct pm_http_request *req)
{
    const char   *path = req->url + strlen(ENDPOINT);
    struct cJSON *v;

    if (strstr(path, "/private/") || strstr(path, "/delete/") || strchr(path, '?'))
        check_segments(path); /* an id is the service's own word and comes alone, escaped */
    CHECK(strcmp(req->method, "DELETE") != 0 || strcmp(path, "/file/delete/") != 0);
    CHECK(!req->headers == !req->body);
    if (req->body) {
        v = pm_json_parse(req->body, strlen(req->body));
        CHECK(pm_json_text(v, "destination"));
        pm_json_free(v);
    }
    CHECK(!req->file || !strpbrk(req->file->name, "\r\n"));
}

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
    return run_service("smartshape", NULL, data, size, run);
}
