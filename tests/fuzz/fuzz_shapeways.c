/* Shapeways, which answers anything: every operation, through the same wrappers as the cache calls, with
 * checks of what is asked and of the entries that come.
 *
 * Input: an operation (l, t lists of models and titles; m a model's folder, v its versions', n one of these;
 * k, p, c materials, printers, categories; r the root; s, f, i, e, j stat of a model, its file, its document,
 * a version, a material; o its file's content, d its document's, q a material's; g login; in upper case with
 * OAuth 2) and any letter; then answers as service.h has them. For v, f and q the first of these may be a text of
 * ours, the fields of the entry, if it begins with `{`. */
#include "backends/shapeways.h"
#include "backends/shapeways_impl.h"
#include "tests/fuzz/service.h"

#include <ctype.h>
#include <errno.h>

static int fake_wait(struct pm_net *net, const struct pm_ctx *ctx, int64_t ms)
{
    (void)net, (void)ctx;
    CHECK(ms >= 0 && ms <= 10000);
    return 0;
}

#define pm_http_call fake_call
#define pm_http_wait fake_wait
#define is_refused   is_refused_too
#define call_once    call_once_too
#include "backends/shapeways_call.c"
#define wait_locked wait_for_token
#define basic       basic_auth
#include "backends/shapeways_token.c"
#define take_reason take_word
#include "backends/shapeways_login.c"
#undef pm_http_call
#undef pm_http_wait

/* --- what is asked */

static void check_request(const struct pm_http_request *req)
{
    PM_AUTO(free) char *path = strndup(req->url + strlen(ENDPOINT),
                                       strcspn(req->url + strlen(ENDPOINT), "?"));
    bool                token = path && !strcmp(path, "/oauth2/token");

    bool                step_of_login = path && !strncmp(path, "/oauth1/", 8);

    CHECK(path && !req->file && (step_of_login || (req->own_limit && req->single)));
    CHECK(!strcmp(req->method, token ? "POST" : "GET") && !req->body == !token);
    CHECK(token == (req->auth->header && !strncmp(req->auth->header, "Authorization: Basic ", 21)));
    check_segments(path);
    CHECK(!strstr(path, "//") && (path[strlen(path) - 1] != '/' || !strcmp(path, "/api/v1/")));
}

/* --- what comes */

static int on_entry(void *arg, const struct pm_entry *e)
{
    struct pm_backend *b = arg;
    char               value[64];

    CHECK(*e->name && *e->path && !*e->root && strlen(e->id) < 60);
    CHECK(e->kind != PM_LINK || (!strncmp(e->target, "../models/", 10) && e->size == strlen(e->target)));
    CHECK(e->kind != PM_DOCUMENT || (e->size && strlen(e->version) == 64));
    CHECK(e->kind != PM_FILE || (strchr(e->version, ':') && strlen(e->version) < 40));
    CHECK(!e->fields || strlen(e->fields) <= PM_FIELDS_MAX);
    check_segments(e->kind == PM_FILE || e->kind == PM_LINK ? "" : e->path); /* a name is data */
    for (const char *c = e->path; *c; c++)
        CHECK((unsigned char)*c > 0x20 && (unsigned char)*c < 0x7f && !strchr("?#", *c));
    CHECK(pm_backend_field(b, e, "secretKey", value, sizeof(value)) == -ENODATA);
    if (!pm_backend_field(b, e, "title", value, sizeof(value)))
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

struct reading {
    uint64_t total, got;
    bool     begun;
};

static int on_begin(void *arg, const struct pm_answer *a)
{
    struct reading *r = arg;

    CHECK(!r->begun && a->off == 0);
    r->begun = true;
    r->total = a->total;
    return 0;
}

static int on_bytes(void *arg, const void *buf, size_t len)
{
    struct reading *r = arg;

    CHECK(r->begun && buf && len);
    r->got += len;
    CHECK(r->got <= r->total);
    return 0;
}

static void fetch(struct pm_backend *b, struct pm_ctx *ctx, struct pm_entry *e)
{
    static const struct pm_sink sink = {on_begin, on_bytes, NULL};
    struct reading              r = {0};

    if (!pm_backend_fetch(b, ctx, e, 0, INT64_MAX, &sink, &r))
        CHECK(r.begun && (r.got == r.total || r.total == PM_SIZE_UNKNOWN));
}

/* --- login */

static int on_ask(void *arg, const char *question, bool secret, char **out)
{
    (void)arg, (void)secret;
    CHECK(*question);
    *out = fuzz_text("1234", 4);
    return 0;
}

/* Nothing that moves a cursor, and no page but the service's. */
static void on_say(void *arg, const char *line)
{
    const char *at = strstr(line, "://");

    (void)arg;
    for (const char *c = line; *c; c++)
        CHECK((unsigned char)*c >= 0x20 && (unsigned char)*c < 0x7f);
    if (!strncmp(line, "http", 4)) {
        PM_AUTO(free) char *origin = pm_http_origin(line);

        CHECK(origin && at && (strstr(origin, "shapeways.com:443") || !strcmp(origin, ENDPOINT ":443")));
    }
}

static int on_keep(void *arg, const char *key, const char *value)
{
    (void)arg;
    CHECK(*key && *value);
    return 0;
}

static const struct pm_login user = {.ask = on_ask, .say = on_say, .keep = on_keep};

static void place(struct pm_entry *e, char op)
{
    static const struct {
        char        op;
        const char *path, *id;
    } rows[] = {
        {'l', "models", ""}, {'t', "by-title", ""}, {'k', "materials", ""}, {'p', "printers", ""},
        {'c', "categories", ""}, {'r', "", ""}, {'m', "models/1", "1"}, {'s', "models/1", "1"},
        {'v', "models/1/versions", "1/versions"}, {'n', "models/1/versions/2", "1/v/2"},
        {'e', "models/1/versions/2", "1/v/2"}, {'f', "models/1/a", "1/file"}, {'o', "models/1/a", "1/file"},
        {'i', "models/1/info.json", "1/info"}, {'d', "models/1/info.json", "1/info"},
        {'j', "materials/6.json", "materials/6"}, {'q', "materials/6.json", "materials/6"},
    };

    e->path = "x";
    e->id = "?";
    for (size_t i = 0; i < PM_COUNT(rows); i++)
        if (rows[i].op == op) {
            e->path = rows[i].path;
            e->id = rows[i].id;
        }
}

static void run(struct pm_backend *b, char op, const char *name)
{
    struct pm_ctx                  ctx = {.prio = PM_BACKGROUND};
    PM_AUTO(free) char            *fields = NULL;
    PM_AUTO(free) struct pm_entry *out = NULL;
    struct pm_entry e = {.kind = PM_FOLDER, .root = "", .id = "", .name = name, .target = "",
                         .version = "2:3858f62230ac3c915f300c664312c63f", .state = "", .size = 6};

    op = (char)tolower((unsigned char)op);
    fields = op && strchr("vfq", op) ? own_text() : fuzz_text("", 0);
    e.fields = fields;
    place(&e, op);
    if (op == 'g')
        pm_backend_login(b, &ctx, &user);
    else if (op && strchr("ltmvnkpcr", op))
        pm_backend_list(b, &ctx, &e, on_entry, b);
    else if (op && strchr("odq", op))
        fetch(b, &ctx, &e);
    else if (!pm_backend_stat(b, &ctx, &e, &out))
        on_entry(b, out);
    check_context(&ctx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char oauth2[] = "oauth2";

    service_auth = size && data[0] >= 'A' && data[0] <= 'Z' ? oauth2 : NULL;
    return run_service("shapeways", NULL, data, size, run);
}
