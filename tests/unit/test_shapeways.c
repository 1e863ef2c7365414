/* What Shapeways' answers mean, against a server that gives them literally and checks each signature. */
#include "backends/http.h"
#include "backends/json.h"
#include "backends/oauth1.h"
#include "tests/unit/server.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define CONTENT "solid cube\nendsolid cube\n"
#define B64     "c29saWQgY3ViZQplbmRzb2xpZCBjdWJlCg=="
#define MD5     "b1b2dbaa51ca4461e098e238c9861b47"
#define SIZE    25

struct kept {
    char key[8][40];
    char value[8][8192];
};

static int get(void *arg, const char *key, char **out)
{
    struct kept *k = arg;

    *out = NULL;
    for (size_t i = 0; i < 8; i++)
        if (!strcmp(k->key[i], key))
            *out = strdup(k->value[i]);
    return 0;
}

static int set(void *arg, const char *key, const char *value)
{
    struct kept *k = arg;

    for (size_t i = 0; i < 8; i++) {
        if (*k->key[i] && strcmp(k->key[i], key) != 0)
            continue;
        snprintf(k->key[i], sizeof(k->key[i]), "%s", key);
        snprintf(k->value[i], sizeof(k->value[i]), "%s", value);
        return 0;
    }
    return -ENOSPC;
}

struct world {
    struct kept            kept;
    struct pm_conf         conf;
    struct pm_secret       secret[4];
    struct pm_account_conf account;
    struct pm_net         *net;
    struct server         *server;
    struct pm_backend     *b;
    struct pm_ctx          ctx;
    /* what the service does */
    unsigned    models;
    bool        repeats; /* every page is the first */
    const char *null_list; /* an empty one */
    int         clock_s; /* its clock is ahead by so much */
    bool        silent; /* what it does not take gets a 200 with nothing in it */
    bool        wrong; /* it knows other keys */
    const char *more; /* headers */
    const char *path; /* this one … */
    int         status; /* … is answered with that status, … */
    const char *body; /* … this, … */
    unsigned    times; /* … so often (0: always) */
    /* what it saw */
    atomic_bool seen_early; /* bytes were read before all were sent */
    atomic_uint calls, pages, tokens, refusals, hits;
    char        nonces[4096];
    pthread_mutex_t lock;
};

/* --- the service's doors */

static const char *part(const char *head, const char *name, char out[200])
{
    const char *at = strstr(head, name);

    *out = '\0';
    if (at)
        snprintf(out, 200, "%.*s", (int)strcspn(at + strlen(name), "\""), at + strlen(name));
    return out;
}

/* OAuth 1: the same header comes out with the keys, and neither nonce nor time is old. */
static bool is_signed(struct world *w, const char *head)
{
    char                        method[8], path[200], nonce[200], seconds[200], url[300];
    const struct pm_oauth1_keys keys = {"ck1", w->wrong ? "other" : "consumer secret", "tk1", "token secret"};
    struct pm_oauth1_call       call = {.method = method, .url = url, .nonce = nonce};
    PM_AUTO(free) char         *wanted = NULL;
    int64_t                     now = pm_wall_ms() / 1000 + w->clock_s;

    if (sscanf(head, "%7s %199s", method, path) != 2)
        return false;
    snprintf(url, sizeof(url), "%s%s", server_url(w->server), path);
    part(head, "oauth_nonce=\"", nonce);
    call.seconds = atoll(part(head, "oauth_timestamp=\"", seconds));
    wanted = pm_oauth1_header(&keys, &call);
    PM_GUARD(&w->lock);
    if (!strstr(head, wanted) || !*nonce || strstr(w->nonces, nonce) || llabs(call.seconds - now) > 100)
        return false;
    if (strlen(w->nonces) + strlen(nonce) < sizeof(w->nonces) - 1)
        strcat(w->nonces, nonce);
    return true;
}

static bool is_authorized(struct world *w, const char *head)
{
    char token[60];

    if (!w->account.auth || strcmp(w->account.auth, "oauth2") != 0)
        return is_signed(w, head);
    snprintf(token, sizeof(token), "\r\nAuthorization: Bearer t0ken-%u\r\n", (unsigned)w->tokens);
    return strstr(head, token) != NULL;
}

static bool reply(struct world *w, int fd, int status, const char *body)
{
    char      more[300], date[60];
    time_t    now = time(NULL) + w->clock_s;
    struct tm tm;

    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
    snprintf(more, sizeof(more), "Date: %s\r\n%s", date, w->more ? w->more : "");
    return server_reply(fd, status, more, body);
}

static bool give_token(struct world *w, const struct server_request *req, int fd)
{
    char body[200];

    assert_string_equal(req->body, "grant_type=client_credentials");
    assert_non_null(strstr(req->head, "\r\nContent-Type: application/x-www-form-urlencoded\r\n"));
    if (w->wrong || !strstr(req->head, "\r\nAuthorization: Basic Y2sxOmNvbnN1bWVyIHNlY3JldA==\r\n"))
        return server_reply(fd, 401, "", "{\"error\":\"invalid_client\",\"error_description\":\"no such client\"}");
    snprintf(body, sizeof(body), "{\"access_token\":\"t0ken-%u\",\"token_type\":\"bearer\",\"expires_in\":3600}",
             ++w->tokens);
    return server_reply(fd, 200, "", body);
}

static bool give_page(struct world *w, const char *head, int fd)
{
    PM_AUTO(pm_buf) struct pm_buf b = {0};
    const char *at = strstr(head, "page=");
    unsigned    page = at && !w->repeats ? (unsigned)atoi(at + 5) : 1, first = (page - 1) * 36;

    w->pages++;
    if (first >= w->models) {
        pm_buf_printf(&b, "{\"result\":\"success\",\"models\":%s}", w->null_list ? w->null_list : "null");
        return reply(w, fd, 200, b.ptr);
    }
    pm_buf_str(&b, "{\"result\":\"success\",\"models\":[");
    for (unsigned i = first; i < first + 36 && i < w->models; i++)
        pm_buf_printf(&b, i % 2 ? "%s{\"modelId\":\"%u\",\"modelVersion\":\"3\",\"title\":\"Model %u\"}"
                                : "%s{\"modelId\":%u,\"modelVersion\":3,\"modelTitle\":\"Model %u\"}",
                      i > first ? "," : "", 1000 + i, i);
    pm_buf_str(&b, "],\"nextActionSuggestions\":[]}");
    return reply(w, fd, 200, b.ptr);
}

#define FILE_MEMBERS                                                                               \
    "\"modelId\":\"1000\",\"modelVersion\":\"3\",\"title\":\"Model 0\",\"fileName\":\"a b\\/c.stl\"," \
    "\"contentLength\":\"25\",\"fileMd5Checksum\":\"" MD5 "\""
#define MODEL                                                                                      \
    "{\"result\":\"success\"," FILE_MEMBERS ",\"description\":\"\",\"isPublic\":0,\"isForSale\":\"1\","  \
    "\"materials\":{\"6\":{\"markup\":\"0.000000\",\"isActive\":1}},\"secretKey\":\"s3cr3tk3y\","        \
    "\"claimKey\":null,\"categories\":[],\"printable\":\"yes\",\"fileData\":\"" B64 "\","              \
    "\"nextActionSuggestions\":[]}"

static bool is_hit(struct world *w, const char *path)
{
    return w->path && !strcmp(w->path, path) && (++w->hits <= w->times || !w->times);
}

static atomic_bool tasted; /* by the reader of give_slowly's file */

static bool give_slowly(struct world *w, int fd)
{
    static const char first[] = "{\"result\":\"success\"," FILE_MEMBERS ",\"fileData\":\"c29saWQg";
    static const char rest[] = "Y3ViZQplbmRzb2xpZCBjdWJlCg==\"}";
    char              head[100];

    tasted = false;
    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", sizeof(first) + sizeof(rest) - 2);
    if (!server_say(fd, head) || !server_say(fd, first))
        return false;
    for (int i = 0; i < 1000 && !tasted; i++)
        usleep(10000);
    w->seen_early = tasted;
    return server_say(fd, rest);
}

static bool serve(void *arg, const struct server_request *req, int fd)
{
    struct world *w = arg;
    char          path[200] = "";

    sscanf(req->head, "%*s %199s", path);
    if (is_hit(w, path))
        return reply(w, fd, w->status, w->body);
    if (!strcmp(path, "/oauth2/token"))
        return give_token(w, req, fd);
    if (!is_authorized(w, req->head)) {
        w->refusals++;
        return w->silent ? reply(w, fd, 200, "") : reply(w, fd, 401, "{\"result\":\"failure\",\"reason\":\"\\nInvalid signature\"}");
    }
    w->calls++;
    if (!strncmp(path, "/models/v1", 10))
        return give_page(w, path, fd);
    if (!strcmp(path, "/models/1000/v1"))
        return reply(w, fd, 200, MODEL);
    if (!strcmp(path, "/models/1000/files/1/v1?file=1"))
        return give_slowly(w, fd);
    if (!strcmp(path, "/models/1000/files/2/v1") || !strcmp(path, "/models/1000/files/1/v1"))
        return reply(w, fd, 200, "{\"result\":\"success\"," FILE_MEMBERS ",\"fileData\":null}");
    if (!strncmp(path, "/models/1000/files/", 19) && strstr(path, "/v1?file=1"))
        return reply(w, fd, 200, "{\"result\":\"success\",\"fileData\":\"" B64 "\"," FILE_MEMBERS "}");
    if (!strcmp(path, "/materials/v1"))
        return reply(w, fd, 200, "{\"result\":\"success\",\"materials\":{\"6\":{\"title\":\"White\",\"printerId\":\"3\"},"
                                 "\"25\":{\"materialId\":25,\"title\":\"Steel\"},\"..\\/x\":{\"title\":\"evil\"}}}");
    if (!strcmp(path, "/printers/v1"))
        return reply(w, fd, 200, "{\"result\":\"success\",\"printers\":[{\"printerId\":\"3\",\"title\":\"P\"}]}");
    if (!strcmp(path, "/categories/v1"))
        return reply(w, fd, 200, "{\"result\":\"success\",\"categories\":[]}");
    if (!strcmp(path, "/api/v1/"))
        return reply(w, fd, 200, w->calls < 3 ? "{\"result\":\"success\",\"rateLimit\":{\"remaining\":149}}"
                                              : "{\"result\":\"success\",\"rateLimit\":{\"remaining\":9}}");
    if (!strcmp(path, "/orders/cart/v1"))
        return reply(w, fd, 200, "{\"result\":\"success\",\"itemCount\":0,\"items\":null}");
    return reply(w, fd, 400, "{\"result\":\"failure\",\"reason\":\"no such thing\"}");
}

static void begin(struct world *w)
{
    static const char *const keys[] = {"consumer_key", "consumer_secret", "access_token", "access_secret"};
    static const char *const values[] = {"ck1", "consumer secret", "tk1", "token secret"};
    const struct pm_kv       kv = {.get = get, .set = set, .arg = &w->kept};

    pthread_mutex_init(&w->lock, NULL);
    w->server = server_start(serve, w);
    for (int i = 0; i < 4; i++)
        w->secret[i] = (struct pm_secret){(char *)keys[i], (char *)"", (char *)values[i]};
    w->account.name = (char *)"a";
    w->account.type = (char *)"shapeways";
    w->account.endpoint = (char *)server_url(w->server);
    w->account.secrets = w->secret;
    w->account.nsecrets = 4;
    w->conf.op_timeout_ms = 5000;
    assert_int_equal(pm_net_open(&w->conf, &w->net), 0);
    assert_int_equal(pm_backend_open(&w->account, w->net, &kv, &w->b), 0);
}

static void end(struct world *w)
{
    pm_backend_close(w->b);
    pm_net_close(w->net);
    server_stop(w->server);
    pthread_mutex_destroy(&w->lock);
}

/* --- looking */

struct seen {
    unsigned         count;
    const char      *name; /* wanted */
    struct pm_entry *found; /* owned */
};

static int see(void *arg, const struct pm_entry *e)
{
    struct seen *s = arg;

    s->count++;
    if (s->name && !strcmp(s->name, e->name)) {
        assert_null(s->found);
        s->found = pm_entry_dup(e);
    }
    return 0;
}

static struct pm_entry dir_at(const char *path, const char *id)
{
    return (struct pm_entry){.kind = PM_FOLDER, .root = "", .id = id, .name = "", .path = path,
                             .target = "", .version = "", .state = "", .size = PM_SIZE_UNKNOWN};
}

static int list(struct world *w, const char *path, const char *id, struct seen *s)
{
    struct pm_entry dir = dir_at(path, id);

    return pm_backend_list(w->b, &w->ctx, &dir, see, s);
}

/* The entry of this name in a folder; owned. */
static struct pm_entry *find(struct world *w, const char *path, const char *id, const char *name)
{
    struct seen s = {.name = name};

    assert_int_equal(list(w, path, id, &s), 0);
    assert_non_null(s.found);
    return s.found;
}

/* --- reading */

struct read {
    struct pm_buf bytes;
    uint64_t      total;
    char          digest[64];
    char          why[256];
    int           begun, done, err;
};

static int on_begin(void *arg, const struct pm_answer *a)
{
    struct read *r = arg;

    assert_int_equal(a->off, 0);
    r->begun++;
    r->total = a->total;
    snprintf(r->digest, sizeof(r->digest), "%s", a->digest ? a->digest : "");
    return 0;
}

static int on_data(void *arg, const void *buf, size_t len)
{
    pm_buf_add(&((struct read *)arg)->bytes, buf, len);
    tasted = true;
    return 0;
}

static void on_done(void *arg, int err, const char *why)
{
    struct read *r = arg;

    r->done++;
    r->err = err;
    snprintf(r->why, sizeof(r->why), "%s", why);
}

static const struct pm_sink sink = {on_begin, on_data, on_done};

/* Gives the errno; the text is owned by *r. */
static int read_it(struct world *w, const struct pm_entry *e, struct read *r)
{
    struct pm_source *s;

    *r = (struct read){.err = 1};
    assert_int_equal(pm_source_open(w->b, e, &s), 0);
    pm_fetch(s, 0, UINT64_MAX - 1, PM_INTERACTIVE, NULL, &sink, r);
    assert_int_equal(r->done, 1);
    pm_source_close(s);
    pm_buf_add(&r->bytes, "", 1);
    return r->err;
}

static void expect_text(struct world *w, const struct pm_entry *e, const char *text)
{
    struct read r;

    assert_int_equal(read_it(w, e, &r), 0);
    assert_string_equal(r.bytes.ptr, text);
    assert_int_equal(r.total, strlen(text));
    assert_int_equal(e->size, strlen(text));
    pm_buf_free(&r.bytes);
}

/* --- lists */

static void models_are_listed_page_by_page_and_once(void **state)
{
    static const struct {
        unsigned models, calls;
    } rows[] = {{0, 1}, {5, 2}, {36, 2}, {72, 3}, {100, 3}, {1000, 28}};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct world w = {.models = rows[i].models};
        struct seen  s = {.name = "1004"};

        begin(&w);
        assert_int_equal(list(&w, "models", "", &s), 0);
        assert_int_equal(s.count, rows[i].models);
        assert_int_equal(w.pages, rows[i].calls);
        assert_int_equal(w.refusals, 0);
        if (rows[i].models) {
            assert_int_equal(s.found->kind, PM_FOLDER);
            assert_string_equal(s.found->path, "models/1004");
            assert_string_equal(s.found->id, "1004");
        }
        free(s.found);
        end(&w);
    }
}

static void an_empty_list_is_null_or_nothing(void **state)
{
    static const char *const nothings[] = {"null", "[]", "{}", "\"\"", "0"};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(nothings); i++) {
        struct world w = {.models = 36, .null_list = nothings[i]};
        struct seen  s = {0};

        begin(&w);
        assert_int_equal(list(&w, "models", "", &s), 0);
        assert_int_equal(s.count, 36);
        end(&w);
    }
}

static void a_service_without_pages_is_no_endless_list(void **state)
{
    struct world w = {.models = 50, .repeats = true};
    struct seen  s = {0};

    (void)state;
    begin(&w);
    assert_int_equal(list(&w, "models", "", &s), 0);
    assert_int_equal(s.count, 36);
    assert_int_equal(w.pages, 2);
    end(&w);
}

static void titles_are_links_to_the_ids(void **state)
{
    struct world     w = {.models = 3};
    struct pm_entry *even, *odd;

    (void)state;
    begin(&w);
    even = find(&w, "by-title", "", "Model 2");
    odd = find(&w, "by-title", "", "Model 1");
    assert_int_equal(even->kind, PM_LINK);
    assert_string_equal(even->target, "../models/1002");
    assert_string_equal(odd->target, "../models/1001");
    assert_int_equal(odd->size, strlen(odd->target));
    free(even);
    free(odd);
    end(&w);
}

static void a_page_that_fails_fails_the_list(void **state)
{
    struct world w = {.models = 100, .path = "/models/v1?page=3", .status = 200, .body = "<html>"};
    struct seen  s = {0};

    (void)state;
    begin(&w);
    w.ctx.prio = PM_BACKGROUND;
    assert_int_equal(list(&w, "models", "", &s), -EIO);
    assert_non_null(strstr(w.ctx.why, "no JSON"));
    assert_int_equal(w.hits, 2);
    end(&w);
}

/* --- a model */

static void a_models_folder_costs_one_call(void **state)
{
    struct world     w = {.models = 1};
    struct pm_entry *file, *info, *versions, *old;
    struct seen      s = {0};
    char             value[50];

    (void)state;
    begin(&w);
    file = find(&w, "models/1000", "1000", "a b/c.stl");
    assert_int_equal(w.calls, 1);
    assert_int_equal(file->kind, PM_FILE);
    assert_int_equal(file->size, SIZE);
    assert_string_equal(file->version, "3:" MD5);
    assert_string_equal(file->path, "models/1000/a%20b%2Fc.stl");
    assert_int_equal(pm_backend_field(w.b, file, "printable", value, sizeof(value)), 0);
    assert_string_equal(value, "yes");
    assert_int_equal(pm_backend_field(w.b, file, "secretKey", value, sizeof(value)), -ENODATA);
    info = find(&w, "models/1000", "1000", "info.json");
    expect_text(&w, info, "{\n\t\"modelId\":\t\"1000\",\n\t\"modelVersion\":\t\"3\",\n\t\"title\":\t\"Model 0\",\n"
                          "\t\"description\":\t\"\",\n\t\"isPublic\":\t0,\n\t\"isForSale\":\t\"1\",\n"
                          "\t\"materials\":\t{\n\t\t\"6\":\t{\n\t\t\t\"markup\":\t\"0.000000\",\n"
                          "\t\t\t\"isActive\":\t1\n\t\t}\n\t},\n\t\"categories\":\t[],\n"
                          "\t\"printable\":\t\"yes\"\n}\n");
    assert_int_equal(w.calls, 2); /* the two lists: reading it needed none */
    versions = find(&w, "models/1000", "1000", "versions");
    assert_int_equal(pm_backend_list(w.b, &w.ctx, versions, see, &s), 0);
    assert_int_equal(s.count, 4); /* 0 to 3 */
    assert_int_equal(w.calls, 3);
    old = find(&w, "models/1000/versions/2", "1000/v/2", "a b/c.stl");
    assert_int_equal(w.calls, 4);
    assert_string_equal(old->version, "2:" MD5);
    free(file);
    free(info);
    free(versions);
    free(old);
    end(&w);
}

static void no_key_that_lets_anybody_in_is_shown(void **state)
{
    static const struct {
        const char *key, *shown; /* the address; NULL: none */
    } rows[] = {
        {"s3cr3tk3y", "https://w/model/1000/?key=*********"},
        {"short", NULL},
        {"with a blank", NULL},
        {"", "https://w/model/1000/?key="},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        PM_AUTO(free) char *body = pm_asprintf("{\"result\":\"success\"," FILE_MEMBERS ",\"urls\":{\"a\":{\"address\":"
                                               "\"https:\\/\\/w\\/model\\/1000\\/?key=%s\"}},\"secretKey\":\"%s\"}",
                                               rows[i].key, rows[i].key);
        struct world     w = {.path = "/models/1000/v1", .status = 200, .body = body};
        struct pm_entry *info;
        struct read      r;
        char             value[200];

        begin(&w);
        info = find(&w, "models/1000", "1000", "info.json");
        assert_int_equal(read_it(&w, info, &r), 0);
        assert_true(!*rows[i].key || !strstr(r.bytes.ptr, rows[i].key));
        assert_true(!rows[i].shown || strstr(r.bytes.ptr, rows[i].shown));
        assert_int_equal(pm_backend_field(w.b, info, "urls", value, sizeof(value)), rows[i].shown ? 0 : -ENODATA);
        assert_true(!rows[i].shown || strstr(value, rows[i].shown));
        assert_int_equal(pm_backend_field(w.b, info, "secretKey", value, sizeof(value)), -ENODATA);
        pm_buf_free(&r.bytes);
        free(info);
        end(&w);
    }
}

static void an_entry_is_told_again_as_it_was_listed(void **state)
{
    static const struct {
        const char *path, *id, *name;
    } rows[] = {
        {"models", "", "1000"},           {"models/1000", "1000", "a b/c.stl"},
        {"models/1000", "1000", "info.json"}, {"models/1000", "1000", "versions"},
        {"models/1000/versions", "1000/versions", "3"}, {"models/1000/versions/2", "1000/v/2", "a b/c.stl"},
        {"materials", "", "6.json"},      {"materials", "", "25.json"},
        {"printers", "", "3.json"},       {"by-title", "", "Model 0"},
        {"", "", "cart.json"},            {"", "", "models"},
    };
    struct world w = {.models = 1};

    (void)state;
    begin(&w);
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct pm_entry *e = find(&w, rows[i].path, rows[i].id, rows[i].name), *again = NULL;

        assert_int_equal(pm_backend_stat(w.b, &w.ctx, e, &again), 0);
        assert_int_equal(again->kind, e->kind);
        assert_int_equal(again->size, e->size);
        assert_int_equal(again->mtime_ms, e->mtime_ms);
        assert_string_equal(again->id, e->id);
        assert_string_equal(again->name, e->name);
        assert_string_equal(again->path, e->path);
        assert_string_equal(again->version, e->version);
        assert_string_equal(again->fields, e->fields);
        free(e);
        free(again);
    }
    end(&w);
}

static void what_is_not_there_is_not_there(void **state)
{
    static const char *const ids[] = {"1000/v/4", "1000/v/10000", "1000/v/-1", "materials/7", "nobody/x",
                                      "materials/", "1000/", "../x", "777"};
    struct world w = {.models = 2};

    (void)state;
    begin(&w);
    for (size_t i = 0; i < PM_COUNT(ids); i++) {
        struct pm_entry e = dir_at("x", ids[i]), *out = NULL;

        assert_int_equal(pm_backend_stat(w.b, &w.ctx, &e, &out), -ENOENT);
        assert_null(out);
    }
    end(&w);
}

static void what_is_gone_is_gone_in_whatever_words(void **state)
{
    static const struct {
        int         status;
        const char *body;
    } rows[] = {
        {400, "{\"result\":\"failure\",\"reason\":\"gone\"}"}, {403, "<html>"}, {404, ""},
        {500, "{\"result\":\"failure\",\"reason\":\"gone\"}"}, {200, "{\"result\":\"failure\"}"},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct world     w = {.models = 2, .path = "/models/777/v1", .status = rows[i].status, .body = rows[i].body};
        struct pm_entry  e = dir_at("models/777", "777"), *out = NULL;
        struct read      r;

        begin(&w);
        assert_int_equal(pm_backend_stat(w.b, &w.ctx, &e, &out), -ENOENT);
        e.kind = PM_FILE;
        e.id = "777/file";
        e.version = "3:" MD5;
        e.size = SIZE;
        w.path = "/models/777/files/3/v1?file=1";
        assert_int_equal(read_it(&w, &e, &r), -ENOENT);
        assert_int_equal(r.begun, 0);
        pm_buf_free(&r.bytes);
        end(&w);
    }
}

/* The service says 400 of what is gone: its list decides. */
static void a_refusal_of_what_is_listed_is_no_absence(void **state)
{
    struct world     w = {.models = 2};
    struct pm_entry  e = dir_at("models/1001", "1001");
    struct pm_entry *out = NULL;

    (void)state;
    begin(&w);
    assert_int_equal(pm_backend_stat(w.b, &w.ctx, &e, &out), -EINVAL);
    assert_string_equal(w.ctx.why, "no such thing");
    end(&w);
}

/* --- reading */

static void a_file_is_decoded_and_checked(void **state)
{
    struct world     w = {.models = 1};
    struct pm_entry *file, *old;
    struct read      r;

    (void)state;
    begin(&w);
    file = find(&w, "models/1000", "1000", "a b/c.stl");
    old = find(&w, "models/1000/versions/2", "1000/v/2", "a b/c.stl");
    expect_text(&w, file, CONTENT);
    expect_text(&w, old, CONTENT);
    assert_int_equal(read_it(&w, file, &r), 0);
    assert_string_equal(r.digest, "md5=sbLbqlHKRGHgmOI4yYYbRw==");
    pm_buf_free(&r.bytes);
    free(file);
    free(old);
    end(&w);
}

/* The rest comes only when the first bytes were read. */
static void bytes_are_handed_on_as_they_come(void **state)
{
    struct world     w = {.models = 1};
    struct pm_entry *file;

    (void)state;
    begin(&w);
    file = find(&w, "models/1000/versions/1", "1000/v/1", "a b/c.stl");
    expect_text(&w, file, CONTENT);
    assert_true(w.seen_early);
    free(file);
    end(&w);
}

static void what_is_not_the_file_is_refused(void **state)
{
#define ANSWER(data, md5) "{\"result\":\"success\",\"fileData\":" data ",\"fileMd5Checksum\":\"" md5 "\"}"
    static const struct {
        const char *body;
        int         err;
        const char *why;
    } rows[] = {
        {ANSWER("\"" B64 "\"", "00000000000000000000000000000000"), -EIO, "does not have the MD5"},
        {ANSWER("\"c29saWQgY3ViZQplbmRzb2xpZCBjdWJlIQ==\"", ""), -ESTALE, "another content"},
        {ANSWER("\"c29saWQ=\"", ""), -ESTALE, "another content"},
        {ANSWER("\"" B64 "\"", ""), -EIO, "garbled"}, /* see below */
        {ANSWER("null", MD5), -EIO, "lacks the file"},
        {"{\"result\":\"success\"}", -EIO, "lacks the file"},
        {"{\"result\":\"failure\",\"reason\":\" not yours \\n\"}", -EINVAL, "not yours"},
        {"{\"fileData\":\"\"}", -EIO, "does not say"},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct world     w = {.models = 1, .path = "/models/1000/files/3/v1?file=1", .status = 200,
                              .body = i == 3 ? ANSWER("\"c29saWQg*\"", MD5) : rows[i].body};
        struct pm_entry *file;
        struct read      r;

        begin(&w);
        file = find(&w, "models/1000", "1000", "a b/c.stl");
        if (read_it(&w, file, &r) != rows[i].err || !strstr(r.why, rows[i].why))
            fail_msg("row %zu: %d, %s", i, r.err, r.why);
        pm_buf_free(&r.bytes);
        free(file);
        end(&w);
    }
}

static void a_document_that_moved_on_is_stale(void **state)
{
    struct world     w = {.models = 1};
    struct pm_entry *page, *now = NULL;
    struct read      r;

    (void)state;
    begin(&w);
    page = find(&w, "", "", "account.json");
    assert_int_equal(pm_backend_stat(w.b, &w.ctx, page, &now), 0);
    assert_string_not_equal(page->version, now->version);
    expect_text(&w, now, "{\n\t\"rateLimit\":\t{\n\t\t\"remaining\":\t9\n\t}\n}\n");
    free(page);
    page = pm_entry_dup(now);
    page->version = "another";
    assert_int_equal(read_it(&w, page, &r), -ESTALE);
    pm_buf_free(&r.bytes);
    free(page);
    free(now);
    end(&w);
}

/* --- the shop */

static void one_call_tells_a_folder_of_the_shop(void **state)
{
    struct world     w = {0};
    struct pm_entry *white, *printer;
    struct seen      s = {0}, none = {0};

    (void)state;
    begin(&w);
    assert_int_equal(list(&w, "materials", "", &s), 0);
    assert_int_equal(s.count, 2); /* what has no id that can be shown is left out */
    white = find(&w, "materials", "", "6.json");
    expect_text(&w, white, "{\n\t\"title\":\t\"White\",\n\t\"printerId\":\t\"3\"\n}\n");
    assert_int_equal(w.calls, 2);
    white->fields = ""; /* too large to be kept */
    expect_text(&w, white, "{\n\t\"title\":\t\"White\",\n\t\"printerId\":\t\"3\"\n}\n");
    printer = find(&w, "printers", "", "3.json");
    expect_text(&w, printer, "{\n\t\"printerId\":\t\"3\",\n\t\"title\":\t\"P\"\n}\n");
    assert_int_equal(list(&w, "categories", "", &none), 0);
    assert_int_equal(none.count, 0);
    free(white);
    free(printer);
    end(&w);
}

static void the_root_is_listed_often_without_calls(void **state)
{
    struct world w = {.models = 1};
    struct seen  s = {0}, again = {0};

    (void)state;
    begin(&w);
    assert_int_equal(list(&w, "", "", &s), 0);
    assert_int_equal(s.count, 7);
    assert_int_equal(w.calls, 2);
    assert_int_equal(list(&w, "", "", &again), 0);
    assert_int_equal(again.count, 7);
    assert_int_equal(w.calls, 2);
    end(&w);
}

static void a_document_that_fails_does_not_hide_the_rest(void **state)
{
    struct world w = {.models = 1, .path = "/orders/cart/v1", .status = 500,
                      .body = "{\"result\":\"failure\",\"reason\":\"no cart\"}"};
    struct seen  s = {0};

    (void)state;
    begin(&w);
    assert_int_equal(list(&w, "", "", &s), 0);
    assert_int_equal(s.count, 6);
    assert_int_equal(w.hits, 1); /* a 500 that says what it is is not asked for again */
    end(&w);
}

/* --- whether it is allowed */

static void a_clock_that_is_wrong_is_learned(void **state)
{
    static const int by[] = {7200, -86400};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(by); i++) {
        struct world w = {.models = 50, .clock_s = by[i]};
        struct seen  s = {0};

        begin(&w);
        assert_int_equal(list(&w, "models", "", &s), 0);
        assert_int_equal(s.count, 50);
        assert_int_equal(w.refusals, 1);
        end(&w);
    }
}

static void keys_that_are_refused_are_not_used_on_and_on(void **state)
{
    struct world w = {.models = 1, .wrong = true};
    struct seen  s = {0};
    char         why[200];

    (void)state;
    begin(&w);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(list(&w, "models", "", &s), -EACCES);
        assert_string_equal(w.ctx.why, "keys refused: Invalid signature");
    }
    assert_true(w.refusals <= 2); /* with a fresh signature once */
    assert_int_equal(pm_backend_doubt(w.b, why, sizeof(why), NULL), PM_REFUSED);
    end(&w);
}

static void keys_of_which_one_was_mended_are_used(void **state)
{
    struct world w = {.models = 40, .wrong = true};
    struct seen  s = {0};

    (void)state;
    begin(&w);
    assert_int_equal(list(&w, "models", "", &s), -EACCES);
    w.secret[1].value = (char *)"other";
    assert_int_equal(pm_backend_check(w.b, &w.ctx, true), 0);
    assert_int_equal(list(&w, "models", "", &s), 0);
    assert_int_equal(s.count, 40);
    end(&w);
}

static void an_answer_with_nothing_in_it_is_a_refusal(void **state)
{
    struct world w = {.models = 1, .wrong = true, .silent = true};
    struct seen  s = {0};

    (void)state;
    begin(&w);
    assert_int_equal(list(&w, "models", "", &s), -EACCES);
    assert_non_null(strstr(w.ctx.why, "keys refused: the service answers nothing: not authorised"));
    end(&w);
}

static void a_key_that_is_missing_is_named(void **state)
{
    struct world w = {.models = 1};
    struct seen  s = {0};

    (void)state;
    begin(&w);
    w.account.nsecrets = 3;
    assert_int_equal(list(&w, "models", "", &s), -EACCES);
    assert_string_equal(w.ctx.why, "no credential is configured: access_secret");
    assert_int_equal(server_requests(w.server), 0);
    end(&w);
}

static void a_service_that_tells_a_secret_is_not_quoted(void **state)
{
    static const char *const bodies[] = {
        "{\"result\":\"failure\",\"reason\":\"consumer secret is wrong\"}",
        "{\"result\":\"failure\",\"reason\":\"not token secret\"}",
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(bodies); i++) {
        struct world w = {.path = "/models/v1?page=1", .status = 403, .body = bodies[i]};
        struct seen  s = {0};

        begin(&w);
        assert_int_equal(list(&w, "models", "", &s), -EACCES);
        assert_string_equal(w.ctx.why, "refused");
        end(&w);
    }
}

/* --- OAuth 2 */

static void one_token_serves_all_calls(void **state)
{
    struct world w = {.models = 50, .account.auth = (char *)"oauth2"};
    struct seen  s = {0};

    (void)state;
    begin(&w);
    w.account.nsecrets = 2;
    assert_int_equal(list(&w, "models", "", &s), 0);
    assert_int_equal(s.count, 50);
    assert_int_equal(w.tokens, 1);
    assert_int_equal(list(&w, "materials", "", &s), 0);
    assert_int_equal(w.tokens, 1);
    w.tokens = 7; /* it forgot all but the seventh */
    assert_int_equal(list(&w, "materials", "", &s), 0);
    assert_int_equal(w.tokens, 8);
    assert_int_equal(w.refusals, 1);
    end(&w);
}

struct caller {
    struct world *w;
    int           err;
};

static void *call_it(void *arg)
{
    struct caller  *c = arg;
    struct pm_ctx   ctx = {.prio = PM_INTERACTIVE};
    struct seen     s = {0};
    struct pm_entry dir = dir_at("printers", "");

    c->err = pm_backend_list(c->w->b, &ctx, &dir, see, &s);
    return NULL;
}

static void who_come_together_share_one_token(void **state)
{
    struct world  w = {.account.auth = (char *)"oauth2"};
    struct caller callers[8];
    pthread_t     threads[8];

    (void)state;
    begin(&w);
    for (int i = 0; i < 8; i++) {
        callers[i] = (struct caller){&w, 1};
        assert_int_equal(pthread_create(&threads[i], NULL, call_it, &callers[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].err, 0);
    }
    assert_int_equal(w.tokens, 1);
    end(&w);
}

static void keys_that_get_no_token_are_refused(void **state)
{
    struct world w = {.account.auth = (char *)"oauth2", .wrong = true};
    struct seen  s = {0};

    (void)state;
    begin(&w);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(list(&w, "models", "", &s), -EACCES);
        assert_string_equal(w.ctx.why, "keys refused: no such client");
    }
    assert_true(server_requests(w.server) <= 2);
    end(&w);
}

static void an_answer_without_a_token_is_told(void **state)
{
    struct world w = {.account.auth = (char *)"oauth2", .path = "/oauth2/token", .status = 200,
                      .body = "{\"access_token\":\"a b\"}"};
    struct seen  s = {0};

    (void)state;
    begin(&w);
    assert_int_equal(list(&w, "models", "", &s), -EIO);
    assert_non_null(strstr(w.ctx.why, "lacks the token"));
    end(&w);
}

/* --- the rate */

static void what_the_service_has_left_is_believed(void **state)
{
    struct world w = {.models = 200, .more = "X-RateLimit-Limit: 150\r\nX-RateLimit-Remaining: 0\r\n"
                                            "X-RateLimit-Retry-InSeconds: 250\r\n"};
    struct seen  s = {0};

    (void)state;
    begin(&w);
    assert_int_equal(list(&w, "models", "", &s), -EBUSY);
    assert_non_null(strstr(w.ctx.why, "150 calls in 5 minutes is used up until"));
    assert_true(w.ctx.retry_ms > 200 * 1000 && w.ctx.retry_ms <= 250 * 1000);
    assert_int_equal(server_requests(w.server), 1);
    end(&w);
}

static void some_calls_are_left_for_who_waits(void **state)
{
    struct world w = {.models = 200, .more = "X-RateLimit-Remaining: 15\r\n"};
    struct seen  s = {0};

    (void)state;
    begin(&w);
    w.ctx.prio = PM_BACKGROUND;
    assert_int_equal(list(&w, "models", "", &s), -EBUSY);
    assert_int_equal(server_requests(w.server), 1);
    w.ctx.prio = PM_INTERACTIVE;
    assert_int_equal(list(&w, "models", "", &s), 0);
    end(&w);
}

static void a_429_is_obeyed(void **state)
{
    struct world w = {.models = 1, .path = "/models/v1?page=1", .status = 429, .body = "slow down"};
    struct seen  s = {0};

    (void)state;
    begin(&w);
    for (int i = 0; i < 3; i++)
        assert_int_equal(list(&w, "models", "", &s), -EBUSY);
    assert_int_equal(server_requests(w.server), 1);
    assert_true(w.ctx.retry_ms > 200 * 1000 && w.ctx.retry_ms <= 300 * 1000);
    end(&w);
}

static void what_can_heal_is_tried_again(void **state)
{
    struct world w = {.models = 1, .path = "/models/v1?page=1", .status = 502, .body = "<html>bad gateway", .times = 2};
    struct seen  s = {0};

    (void)state;
    begin(&w);
    assert_int_equal(list(&w, "models", "", &s), 0);
    assert_int_equal(s.count, 1);
    assert_int_equal(w.hits, 3);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_are_listed_page_by_page_and_once),
        cmocka_unit_test(an_empty_list_is_null_or_nothing),
        cmocka_unit_test(a_service_without_pages_is_no_endless_list),
        cmocka_unit_test(titles_are_links_to_the_ids),
        cmocka_unit_test(a_page_that_fails_fails_the_list),
        cmocka_unit_test(a_models_folder_costs_one_call),
        cmocka_unit_test(no_key_that_lets_anybody_in_is_shown),
        cmocka_unit_test(an_entry_is_told_again_as_it_was_listed),
        cmocka_unit_test(what_is_not_there_is_not_there),
        cmocka_unit_test(what_is_gone_is_gone_in_whatever_words),
        cmocka_unit_test(a_refusal_of_what_is_listed_is_no_absence),
        cmocka_unit_test(a_file_is_decoded_and_checked),
        cmocka_unit_test(bytes_are_handed_on_as_they_come),
        cmocka_unit_test(what_is_not_the_file_is_refused),
        cmocka_unit_test(a_document_that_moved_on_is_stale),
        cmocka_unit_test(one_call_tells_a_folder_of_the_shop),
        cmocka_unit_test(the_root_is_listed_often_without_calls),
        cmocka_unit_test(a_document_that_fails_does_not_hide_the_rest),
        cmocka_unit_test(a_clock_that_is_wrong_is_learned),
        cmocka_unit_test(keys_that_are_refused_are_not_used_on_and_on),
        cmocka_unit_test(keys_of_which_one_was_mended_are_used),
        cmocka_unit_test(an_answer_with_nothing_in_it_is_a_refusal),
        cmocka_unit_test(a_key_that_is_missing_is_named),
        cmocka_unit_test(a_service_that_tells_a_secret_is_not_quoted),
        cmocka_unit_test(one_token_serves_all_calls),
        cmocka_unit_test(who_come_together_share_one_token),
        cmocka_unit_test(keys_that_get_no_token_are_refused),
        cmocka_unit_test(an_answer_without_a_token_is_told),
        cmocka_unit_test(what_the_service_has_left_is_believed),
        cmocka_unit_test(some_calls_are_left_for_who_waits),
        cmocka_unit_test(a_429_is_obeyed),
        cmocka_unit_test(what_can_heal_is_tried_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
