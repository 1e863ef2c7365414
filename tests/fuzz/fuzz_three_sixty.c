/* 360-for-you with a service that answers anything, and a user who wants anything of a project: every
 * operation, through the same wrappers as the cache calls.
 *
 * Input: an operation (l list, s stat, o open and drop a session, h what a session holds, u upload, c commit,
 * d commit of a link, f find a lost commit, r record; in upper case: the account's store says that projects
 * have their session's id as slug) and a name; then answers as service.h has them. The first of these may
 * be a text of ours instead, if it begins with `{`: the session (h), the upload's state (u), the options
 * (c, d), what `look` said (f). */
#include "backends/three_sixty.h"
#include "backends/three_sixty_impl.h"
#include "tests/fuzz/service.h"

#include <ctype.h>

#define SESSION "{\"id\":\"s1\",\"until\":1}"

static int fake_wait(struct pm_net *net, const struct pm_ctx *ctx, int64_t ms)
{
    (void)net, (void)ctx;
    CHECK(ms >= 0 && ms <= 10000);
    return 0;
}

#define pm_http_wait fake_wait
#include "backends/three_sixty_call.c"
#include "backends/three_sixty_upload.c"
#undef pm_http_wait

/* --- what is asked */

static void check_commit(const char *body)
{
    struct cJSON *v = body ? pm_json_parse(body, strlen(body)) : NULL;
    const char   *id = pm_json_text(v, "upload_id");

    CHECK(pm_json_is_object(v) && pm_json_text(v, "title") && pm_json_get(v, "privacy_mode"));
    CHECK(!pm_json_get(v, "upload_id") != !pm_json_get(v, "download_link"));
    CHECK(!id || !strcmp(id, "s1"));
    pm_json_remove(v, id ? "upload_id" : "download_link");
    CHECK(!pm_json_get(v, "upload_id") && !pm_json_get(v, "download_link"));
    pm_json_free(v);
}

static void check_range(const struct pm_http_request *req)
{
    unsigned long long from, to, size;

    CHECK(req->file->off <= INT64_MAX && req->file->len <= INT64_MAX);
    if (!req->headers[1])
        return;
    CHECK(sscanf(req->headers[1], "Content-Range: bytes %llu-%llu/%llu", &from, &to, &size) == 3);
    CHECK(from == req->file->off && to - from + 1 == req->file->len && from <= to && to < size);
}

static void check_request(const struct pm_http_request *req)
{
    const char *path = req->url + strlen(ENDPOINT);

    check_segments(path);
    CHECK(!strchr(path, '?') && !strstr(path, "//") && path[strlen(path) - 1] != '/');
    if (!strcmp(req->method, "POST") && !strcmp(path, "/projects"))
        check_commit(req->body);
    else
        CHECK(!req->body);
    CHECK((req->file != NULL) == !strcmp(req->method, "PUT"));
    if (req->file)
        check_range(req);
}

/* --- what comes */

static int check_project(void *arg, const struct pm_entry *e)
{
    (void)arg;
    CHECK(e->kind == PM_FOLDER && *e->id && !strcmp(e->id, e->name) && strlen(e->id) < PM_TS_ID_MAX);
    CHECK(*e->path && !strpbrk(e->path, "/?# ") && strlen(e->state) < 32);
    CHECK(e->mtime_ms <= INT64_MAX / 2 && e->mtime_ms > -100000000000000);
    CHECK(e->btime_ms <= INT64_MAX / 2 && e->btime_ms > -100000000000000);
    return 0;
}

static int check_held(void *arg, const char *name, uint64_t received, uint64_t total, bool complete)
{
    (void)arg, (void)complete;
    CHECK(name && received <= INT64_MAX && total <= INT64_MAX);
    return 0;
}

/* A text of ours at the head of the input, owned, or `otherwise`. */
static char *own_text(const char *otherwise)
{
    size_t         len = 0;
    const uint8_t *piece = left && nleft && *left == '{' ? fuzz_piece(&left, &nleft, '~', &len) : NULL;

    return piece ? fuzz_text(piece, len) : fuzz_text(otherwise, strlen(otherwise));
}

/* --- the operations */

static void run_session(struct pm_backend *b, struct pm_ctx *ctx)
{
    struct pm_draft d = {.name = "d", .options = ""};
    char            id[PM_TS_ID_MAX];

    if (!pm_draft_open(b, ctx, &d)) {
        CHECK(pm_ts_session_id(d.session, id) && *id);
        CHECK(pm_draft_expires_ms(b, d.session) >= 0);
        pm_draft_drop(b, ctx, d.session);
    }
    free(d.session);
}

/* As the queue does it, of a file of no bytes, few, or many by the first letter of its name. */
static void run_upload(struct pm_backend *b, struct pm_ctx *ctx, const char *name)
{
    struct pm_entry  dir = {.kind = PM_FOLDER, .root = "", .id = "", .name = "d", .path = "",
                            .target = "", .version = "", .state = ""};
    struct pm_upload up = {.parent = &dir, .name = name, .fd = 0, .session = SESSION,
                           .size = *name == '0' ? 0 : *name < 'n' ? 9 : 20u << 20};
    PM_AUTO(free) struct pm_entry *e = NULL;
    uint64_t                       off = 0;
    int                            err = pm_backend_begin(b, ctx, &up);

    if (!err) {
        free(up.state);
        up.state = own_text("{\"whole\":false}");
        err = pm_backend_resume(b, ctx, &up, &off);
    }
    CHECK(err || off <= up.size);
    for (bool first = !up.size; !err && (off < up.size || first); first = false) {
        uint64_t was = off;

        err = pm_backend_put(b, ctx, &up, &off);
        CHECK(err || (off <= up.size && (off > was || is_whole(&up))));
    }
    if (!err)
        err = pm_backend_finish(b, ctx, &up, &e);
    CHECK(!e == !!err);
    CHECK(!e || (e->kind == PM_FILE && e->size == up.size && !strcmp(e->name, name)));
    free(up.state);
}

static void run_commit(struct pm_backend *b, struct pm_ctx *ctx, const char *name, const char *link)
{
    PM_AUTO(free) char            *options = own_text("");
    PM_AUTO(free) struct pm_entry *e = NULL;
    char                           why[64], session[] = SESSION;
    struct pm_draft d = {.name = name, .options = options, .link = link, .files = !link,
                         .session = link ? NULL : session};

    if (!pm_utf8_valid(name) || (*options && pm_document_check(options, strlen(options), why, sizeof(why))))
        return; /* the cache lets neither come as far as this */
    if (!pm_draft_commit(b, ctx, &d, &e))
        check_project(NULL, e);
}

static void run_find(struct pm_backend *b, struct pm_ctx *ctx, const char *name)
{
    PM_AUTO(free) char            *before = own_text("");
    PM_AUTO(free) struct pm_entry *e = NULL;
    char                           session[] = SESSION;
    struct pm_draft                d = {.name = name, .options = "", .files = 1, .session = session};

    if (!*before) {
        free(before);
        before = NULL;
        if (pm_draft_look(b, ctx, &d, &before))
            return;
    }
    if (!pm_draft_find(b, ctx, &d, before, &e))
        check_project(NULL, e);
}

static void run_record(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e)
{
    static const char *const names[] = {"status", "errors", "url", "title", "epsg", "upload_id"};
    struct pm_progress       progress = {0};
    PM_AUTO(free) char      *json = NULL;
    char                     out[32];

    if (pm_draft_record(b, ctx, e, &progress, &json))
        return;
    CHECK(progress.percent >= 0 && progress.percent <= 100);
    CHECK(progress.ready == (progress.percent == 100));
    CHECK(memchr(progress.errors, '\0', sizeof(progress.errors)));
    for (size_t i = 0; i < PM_COUNT(names); i++)
        if (!pm_draft_field(b, e, json, names[i], out, sizeof(out)))
            CHECK(memchr(out, '\0', sizeof(out)) && *out && strcmp(names[i], "upload_id") != 0);
}

/* The name that a file is sent by: plain, and each further choice is another. */
static void run_name(struct pm_backend *b, const char *name)
{
    char sent[3][2 * PM_TS_ID_MAX];

    for (unsigned i = 0; i < PM_COUNT(sent); i++) {
        CHECK(pm_draft_send_name(b, name, i + 1, sent[i], sizeof(sent[i])) == 0);
        for (const char *p = sent[i]; *p; p++)
            CHECK(isalnum((unsigned char)*p) || strchr("._-", *p));
        CHECK(*sent[i] && !strchr("._-", *sent[i]));
    }
    CHECK(strcasecmp(sent[1], sent[2]) != 0); /* a long name may end as the first choice's mark does */
}

static void run(struct pm_backend *b, char op, const char *name)
{
    PM_AUTO(free) char *session = op == 'h' ? own_text(SESSION) : NULL;
    struct pm_entry     dir = {.kind = PM_FOLDER, .root = "", .id = "", .name = "", .path = "",
                               .target = "", .version = "", .state = ""};
    struct pm_entry     e = dir;
    struct pm_ctx       ctx = {.prio = PM_INTERACTIVE};
    struct pm_entry    *out = NULL;

    if (strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
        return; /* no name that a folder or a file can have here */
    e.id = e.name = e.path = name;
    op = (char)tolower((unsigned char)op);
    if (op == 'l')
        pm_backend_list(b, &ctx, &dir, check_project, NULL);
    else if (op == 's' && !pm_backend_stat(b, &ctx, &e, &out))
        check_project(NULL, out);
    else if (op == 'o')
        run_session(b, &ctx);
    else if (op == 'h')
        pm_draft_held(b, &ctx, session ? session : SESSION, check_held, NULL);
    else if (op == 'u')
        run_upload(b, &ctx, name);
    else if (op == 'c' || op == 'd')
        run_commit(b, &ctx, name, op == 'd' ? "https://fuzz.example/x.zip" : NULL);
    else if (op == 'f')
        run_find(b, &ctx, name);
    else if (op == 'r')
        run_record(b, &ctx, &e);
    run_name(b, name);
    check_context(&ctx);
    free(out);
}

/* --- the account's store: it has what was set since, of this input */

struct store {
    char *keys[16], *values[16];
    bool  same_slug;
};

static int get(void *arg, const char *key, char **out)
{
    struct store *s = arg;
    const char   *found = s->same_slug && !strcmp(key, "360.slug") ? "same" : NULL;

    for (size_t i = 0; i < PM_COUNT(s->keys) && s->keys[i]; i++)
        if (!strcmp(s->keys[i], key))
            found = s->values[i];
    *out = found ? fuzz_text(found, strlen(found)) : NULL;
    return 0;
}

static int set(void *arg, const char *key, const char *value)
{
    struct store *s = arg;
    size_t        i = 0;

    while (i < PM_COUNT(s->keys) && s->keys[i] && strcmp(s->keys[i], key) != 0)
        i++;
    CHECK(i < PM_COUNT(s->keys));
    if (!s->keys[i])
        s->keys[i] = fuzz_text(key, strlen(key));
    free(s->values[i]);
    s->values[i] = fuzz_text(value, strlen(value));
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct store s = {.same_slug = size && isupper(data[0])};
    struct pm_kv kv = {.get = get, .set = set, .arg = &s};
    int          result = run_service("360", &kv, data, size, run);

    for (size_t i = 0; i < PM_COUNT(s.keys); i++) {
        free(s.keys[i]);
        free(s.values[i]);
    }
    return result;
}
