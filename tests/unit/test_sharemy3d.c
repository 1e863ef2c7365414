/* What ShareMy3D's answers mean, against a server that gives them literally. */
#include "backends/http.h"
#include "backends/json.h"
#include "tests/unit/server.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TOKEN "003b3c2c582348b084394435b1c4e39a"
#define KEYS  64

struct kept {
    char key[KEYS][80];
    char value[KEYS][200];
};

static int get(void *arg, const char *key, char **out)
{
    struct kept *k = arg;

    *out = NULL;
    for (size_t i = 0; i < KEYS; i++)
        if (!strcmp(k->key[i], key))
            *out = strdup(k->value[i]);
    return 0;
}

static int set(void *arg, const char *key, const char *value)
{
    struct kept *k = arg;

    for (size_t i = 0; i < KEYS; i++) {
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
    struct pm_secret       secret;
    struct pm_account_conf account;
    struct pm_net         *net;
    struct server         *server, *storage;
    struct pm_backend     *b;
    struct pm_ctx          ctx;
    /* what the service does */
    unsigned    models, gone_after; /* after so many requests a model that was listed is gone */
    bool        bare; /* wants the token alone */
    bool        refuses; /* any token */
    bool        denied; /* by 401, whatever there is of ids but m0's particulars */
    bool        shuffled; /* one page repeats another's; a second time it does not */
    unsigned    broken_offset; /* the page there is no list; 0: none */
    bool        null; /* an empty page is one */
    bool        untold; /* no total */
    bool        stuck; /* every page is the first */
    unsigned    boasts; /* the total that it tells; 0: the true one */
    bool        redirects; /* the storage does, once */
    int         removal; /* 0: 200 and nothing; 204, 400; else 200 and no JSON */
    bool        gone; /* m0 is, which the service says with 400 */
    int         original; /* status of GET …/original; 0: 200 */
    const char *url_tail; /* of a downloadUrl; NULL: /object */
    const char *disposition; /* the storage's; NULL: none */
    int         storage_status; /* 0: 206 */
    atomic_uint lists, originals, looks;
};

static bool is_authorized(const struct world *w, const char *head)
{
    return !w->refuses && strstr(head, w->bare ? "\r\nAuthorization: " TOKEN "\r\n"
                                               : "\r\nAuthorization: Bearer " TOKEN "\r\n");
}

static bool give_list(struct world *w, const char *head, int fd)
{
    PM_AUTO(pm_buf) struct pm_buf b = {0};
    const char *at = strstr(head, "offset=");
    unsigned    n = ++w->lists, offset = at ? (unsigned)atoi(at + 7) : 0;
    unsigned    gone = w->gone_after && n > w->gone_after ? 1 : 0, total = w->models - gone;

    if (strstr(head, "?limit=1 "))
        return server_reply(fd, 200, "", "{\"class\":\"GetModelListResponse\",\"models\":[]}");
    assert_non_null(strstr(head, "limit=100&"));
    assert_non_null(strstr(head, "sort=time"));
    if (w->shuffled && offset == 100 && n < 4)
        offset = 0;
    if (w->stuck)
        offset = 0;
    if (w->null && offset >= total)
        return server_reply(fd, 200, "", "{\"class\":\"GetModelListResponse\",\"models\":null,"
                                         "\"meta\":{\"totalCount\":\"0\"}}");
    if (w->broken_offset && offset == w->broken_offset)
        return server_reply(fd, 200, "", "{\"class\":\"x\"}");
    pm_buf_str(&b, "{\"class\":\"GetModelListResponse\",\"models\":[");
    for (unsigned i = offset; i < offset + 100 && i < total; i++)
        pm_buf_printf(&b,
                      "%s{\"modelId\":\"m%u\",\"name\":\"Model %u\",\"description\":\"\",\"hasPassword\":true,"
                      "\"downloadable\":false,\"timeCreated\":%u,\"status\":\"ACTIVE\",\"size\":123,"
                      "\"numViews\":7}",
                      i > offset ? "," : "", i + gone, i + gone, 1485557110 + i + gone);
    pm_buf_str(&b, "]");
    if (!w->untold)
        pm_buf_printf(&b, ",\"meta\":{\"totalCount\":%u,\"next\":null}", w->boasts ? w->boasts : total);
    pm_buf_str(&b, "}");
    return server_reply(fd, 200, "", b.ptr);
}

static bool serve(void *arg, const struct server_request *req, int fd)
{
    struct world *w = arg;
    char          body[400];

    if (!is_authorized(w, req->head))
        return server_reply(fd, 401, "", "{\"message\":\"Access denied\"}");
    if (w->denied && strstr(req->head, " /models/m"))
        return server_reply(fd, strstr(req->head, "/m0/info HTTP") ? 200 : 401, "", "{}");
    if (!strncmp(req->head, "GET /models?", 12))
        return give_list(w, req->head, fd);
    if (!strncmp(req->head, "GET /backgrounds?", 17))
        return server_reply(fd, 200, "", "{\"backgrounds\":[{\"backgroundId\":\"b1\",\"type\":\"IMAGE\","
                                         "\"name\":\"Land\",\"status\":\"ACTIVE\",\"description\":null,"
                                         "\"timeCreated\":1485773609}],\"meta\":{\"totalCount\":1}}");
    if (strstr(req->head, "/original HTTP")) {
        w->originals++;
        if (w->original)
            return server_reply(fd, w->original, "", "{\"message\":\"not now\"}");
        snprintf(body, sizeof(body), "{\"class\":\"x\",\"downloadUrl\":\"%s%s\"}", server_url(w->storage),
                 w->url_tail ? w->url_tail : "/object");
        return server_reply(fd, 200, "", body);
    }
    if (!strncmp(req->head, "DELETE /models/m0 ", 18) && w->removal == 400)
        return server_reply(fd, 400, "", "{\"message\":\"it is locked\"}");
    if (!strncmp(req->head, "DELETE /models/m0 ", 18))
        return w->removal == 204 ? server_say(fd, "HTTP/1.1 204 No Content\r\n\r\n")
                                 : server_reply(fd, 200, "", w->removal ? "<html></html>" : "");
    if (strstr(req->head, "/m0/info HTTP") && w->gone)
        return server_reply(fd, 400, "", "{\"message\":\"unknown\"}");
    if (strstr(req->head, "/m0/info HTTP"))
        return server_reply(fd, 200, "", "{\"class\":\"x\",\"modelId\":\"m0\",\"name\":\"Model 0\","
                                         "\"timeCreated\":1485557110,\"status\":\"ACTIVE\",\"size\":123}");
    return server_reply(fd, 404, "", "{}");
}

static bool store(void *arg, const struct server_request *req, int fd)
{
    struct world *w = arg;
    char          more[2000];

    w->looks++;
    assert_null(strstr(req->head, "Authorization"));
    assert_null(strstr(req->head, TOKEN));
    assert_non_null(strstr(req->head, "Range: bytes=0-0\r\n"));
    if (w->redirects && !strstr(req->head, "/elsewhere "))
        return server_reply(fd, 302, "Location: /elsewhere\r\n", "");
    if (w->storage_status)
        return server_reply(fd, w->storage_status, "", "<Error><Code>ExpiredToken</Code></Error>");
    snprintf(more, sizeof(more), "Content-Range: bytes 0-0/123\r\n%s%s%s",
             w->disposition ? "Content-Disposition: " : "", w->disposition ? w->disposition : "",
             w->disposition ? "\r\n" : "");
    return server_reply(fd, 206, more, "x");
}

static void begin(struct world *w)
{
    const struct pm_kv kv = {.get = get, .set = set, .arg = &w->kept};

    w->server = server_start(serve, w);
    w->storage = server_start(store, w);
    w->secret = (struct pm_secret){(char *)"token", (char *)"", (char *)TOKEN};
    w->account.name = (char *)"a";
    w->account.type = (char *)"sharemy3d";
    w->account.endpoint = (char *)server_url(w->server);
    w->account.secrets = &w->secret;
    w->account.nsecrets = 1;
    w->conf.op_timeout_ms = 5000;
    assert_int_equal(pm_net_open(&w->conf, &w->net), 0);
    assert_int_equal(pm_backend_open(&w->account, w->net, &kv, &w->b), 0);
}

static void end(struct world *w)
{
    pm_backend_close(w->b);
    pm_net_close(w->net);
    server_stop(w->server);
    server_stop(w->storage);
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

static struct pm_entry dir_at(const char *path, const char *id, const char *fields)
{
    return (struct pm_entry){.kind = PM_FOLDER, .root = "", .id = id, .name = "", .path = path,
                             .target = "", .version = "", .state = "", .fields = fields,
                             .size = PM_SIZE_UNKNOWN};
}

static int list(struct world *w, const char *path, const char *fields, struct seen *s)
{
    struct pm_entry dir = dir_at(path, "", fields);

    return pm_backend_list(w->b, &w->ctx, &dir, see, s);
}

#define MODEL(status) "{\"modelId\":\"m1\",\"name\":\"One\",\"status\":\"" status "\",\"size\":123,\"timeCreated\":1}"

/* The name under which the original of a model in this state is listed; owned, NULL: it is not. */
static char *original_name(struct world *w, const char *fields)
{
    struct seen     s = {.name = "info.json"};
    struct seen     all = {0};
    struct pm_entry dir = dir_at("models/m1", "m1", fields);
    char           *name = NULL;

    assert_int_equal(list(w, "models/m1", fields, &s), 0);
    assert_non_null(s.found);
    free(s.found);
    for (const char *const *p = (const char *const[]){"Book.ply", "One", "m1", "x.stl", NULL}; *p; p++) {
        struct seen x = {.name = *p};

        assert_int_equal(pm_backend_list(w->b, &w->ctx, &dir, see, &x), 0);
        if (x.found) {
            assert_null(name);
            name = strdup(*p);
            assert_int_equal(x.found->kind, PM_FILE);
            assert_int_equal(x.found->size, 123);
        }
        free(x.found);
    }
    assert_int_equal(list(w, "models/m1", fields, &all), 0);
    assert_int_equal(all.count, name ? 2 : 1);
    return name;
}

/* --- the tests */

#define A10  "aaaaaaaaaa"
#define A100 A10 A10 A10 A10 A10 A10 A10 A10 A10 A10

static void every_page_is_asked_for_once_and_everything_kept(void **state)
{
    struct world w = {.models = 1234};
    struct seen  s = {.name = "m1233"};
    char         value[50];

    (void)state;
    begin(&w);
    assert_int_equal(list(&w, "models", NULL, &s), 0);
    assert_int_equal(s.count, 1234);
    assert_int_equal(w.lists, 13);
    assert_int_equal(server_requests(w.server), 13);
    assert_string_equal(s.found->path, "models/m1233");
    assert_string_equal(s.found->id, "m1233");
    assert_string_equal(s.found->state, "ACTIVE");
    assert_int_equal(s.found->kind, PM_FOLDER);
    assert_int_equal(s.found->btime_ms, (1485557110LL + 1233) * 1000);
    assert_int_equal(pm_backend_field(w.b, s.found, "numViews", value, sizeof(value)), 0);
    assert_string_equal(value, "7");
    assert_int_equal(pm_backend_field(w.b, s.found, "hasPassword", value, sizeof(value)), 0);
    assert_string_equal(value, "true");
    assert_int_equal(pm_backend_field(w.b, s.found, "description", value, sizeof(value)), 0);
    assert_string_equal(value, "");
    assert_int_equal(pm_backend_field(w.b, s.found, "no", value, sizeof(value)), -ENODATA);
    assert_int_equal(pm_backend_field(w.b, s.found, "name", value, 5), -ERANGE);
    free(s.found);
    end(&w);
}

static void a_list_that_moved_is_asked_for_again(void **state)
{
    struct world w = {.models = 450, .gone_after = 3};
    struct seen  s = {.name = "m449"};

    (void)state;
    begin(&w);
    assert_int_equal(list(&w, "models", NULL, &s), 0);
    assert_true(w.lists >= 10);
    assert_in_range(s.count, 449, 450); /* m0 was there when it was looked at */
    free(s.found);
    end(&w);
}

static void a_list_that_lacks_some_is_asked_for_again(void **state)
{
    struct world w = {.models = 150, .shuffled = true};
    struct seen  s = {.name = "m149"};

    (void)state;
    begin(&w);
    assert_int_equal(list(&w, "models", NULL, &s), 0);
    assert_int_equal(s.count, 150); /* each once */
    assert_non_null(s.found);
    assert_int_equal(w.lists, 4);
    free(s.found);
    end(&w);
}

static void a_page_that_fails_fails_the_list(void **state)
{
    struct world w = {.models = 900, .broken_offset = 500};
    struct seen  s = {0};

    (void)state;
    begin(&w);
    w.ctx.prio = PM_BACKGROUND;
    assert_int_equal(list(&w, "models", NULL, &s), -EIO);
    assert_non_null(strstr(w.ctx.why, "list is broken"));
    end(&w);
}

static void no_models_at_all_may_be_null(void **state)
{
    struct world w = {.null = true};
    struct seen  s = {0};

    (void)state;
    begin(&w);
    assert_int_equal(list(&w, "models", NULL, &s), 0);
    assert_int_equal(s.count, 0);
    assert_int_equal(w.lists, 1);
    end(&w);
}

/* However many a service says it has, or which page it was asked for: a list ends. */
static void a_list_ends_where_nothing_new_comes(void **state)
{
    struct world w = {.models = 150, .boasts = 9000000}, stuck = {.models = 150, .untold = true, .stuck = true};
    struct seen  s = {0}, some = {0};

    (void)state;
    begin(&w);
    assert_int_equal(list(&w, "models", NULL, &s), 0);
    assert_int_equal(s.count, 150);
    assert_in_range(w.lists, 3, 40);
    end(&w);
    begin(&stuck);
    assert_int_equal(list(&stuck, "models", NULL, &some), 0);
    assert_int_equal(some.count, 100);
    assert_in_range(stuck.lists, 2, 3);
    end(&stuck);
}

static void names_and_states_are_links_to_the_ids(void **state)
{
    struct world w = {.models = 2};
    struct seen  s = {.name = "Model 1"}, by = {.name = "m1"}, states = {0};

    (void)state;
    begin(&w);
    assert_int_equal(list(&w, "by-name", NULL, &s), 0);
    assert_int_equal(s.found->kind, PM_LINK);
    assert_string_equal(s.found->target, "../models/m1");
    assert_int_equal(s.found->size, strlen(s.found->target));
    assert_int_equal(list(&w, "by-status/ACTIVE", NULL, &by), 0);
    assert_string_equal(by.found->target, "../../models/m1");
    assert_string_not_equal(by.found->id, s.found->id);
    assert_int_equal(list(&w, "by-status", NULL, &states), 0);
    assert_int_equal(states.count, 4);
    assert_int_equal(list(&w, "by-status/OTHER", NULL, &states), -ENOENT);
    assert_int_equal(list(&w, "models/../x", NULL, &states), -ENOENT);
    free(s.found);
    free(by.found);
    end(&w);
}

static void the_name_of_a_file_is_asked_once_for_good(void **state)
{
    struct world w = {.disposition = "attachment; filename=\"Book.ply\""};
    char        *name;

    (void)state;
    begin(&w);
    name = original_name(&w, MODEL("ACTIVE"));
    assert_string_equal(name, "Book.ply");
    free(name);
    pm_backend_close(w.b); /* and after a restart */
    assert_int_equal(pm_backend_open(&w.account, w.net,
                                     &(struct pm_kv){.get = get, .set = set, .arg = &w.kept}, &w.b), 0);
    name = original_name(&w, MODEL("ACTIVE"));
    assert_string_equal(name, "Book.ply");
    free(name);
    assert_int_equal(w.originals, 1);
    assert_int_equal(w.looks, 1);
    end(&w);
}

/* The document says that there is always a size. */
static void a_size_that_the_service_does_not_tell_is_the_storage_s(void **state)
{
    static const char fields[] = "{\"modelId\":\"m1\",\"name\":\"One\",\"status\":\"ACTIVE\",\"size\":null}";
    struct world      w = {.disposition = "attachment; filename=\"Book.ply\""};
    char             *name;

    (void)state;
    begin(&w);
    name = original_name(&w, fields); /* looks at the size, too */
    assert_string_equal(name, "Book.ply");
    free(name);
    assert_int_equal(w.looks, 1);
    end(&w);
}

static void what_was_given_without_a_name_is_listed_at_once_whatever_became_of_it(void **state)
{
    struct world w = {0};
    struct seen  s = {.name = "One"};

    (void)state;
    begin(&w);
    assert_int_equal(list(&w, "models/m1", MODEL("FAILED"), &s), 0);
    assert_non_null(s.found);
    free(s.found);
    end(&w);
}

static void a_file_without_a_name_has_its_url_s_or_its_model_s(void **state)
{
    static const struct {
        const char *tail, *name;
    } rows[] = {{"/a/x.stl?Signature=1", "x.stl"},
                {"/a/9e4d36b157df466d?Signature=1", "One"},
                {"/a/b?response-content-disposition=attachment%3B%20filename%3DBook.ply", "Book.ply"}};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct world w = {.url_tail = rows[i].tail};
        char        *name;

        begin(&w);
        name = original_name(&w, MODEL("ACTIVE"));
        assert_string_equal(name, rows[i].name);
        free(name);
        assert_int_equal(w.originals, 1);
        end(&w);
    }
}

static void a_name_is_found_behind_a_redirect(void **state)
{
    struct world w = {.disposition = "attachment; filename=\"Book.ply\"", .redirects = true};
    char        *name;

    (void)state;
    begin(&w);
    name = original_name(&w, MODEL("ACTIVE"));
    assert_string_equal(name, "Book.ply");
    free(name);
    assert_int_equal(w.originals, 1);
    assert_int_equal(w.looks, 2);
    end(&w);
}

/* The particulars and the file are told apart by what they are, not by their names. */
static void a_file_may_be_called_as_the_particulars_are(void **state)
{
    struct world     w = {.disposition = "attachment; filename=\"info.json\""};
    struct seen      s = {0};
    struct pm_entry *now = NULL;
    struct pm_entry  e = {.kind = PM_FILE, .root = "", .id = "m0/original", .name = "info.json",
                          .path = "models/m0/info.json", .target = "", .version = "", .state = ""};

    (void)state;
    begin(&w);
    assert_int_equal(list(&w, "models/m0", MODEL("ACTIVE"), &s), 0);
    assert_int_equal(s.count, 2);
    assert_int_equal(pm_backend_stat(w.b, &w.ctx, &e, &now), 0);
    assert_int_equal(now->kind, PM_FILE);
    assert_string_equal(now->id, "m0/original");
    free(now);
    end(&w);
}

static void a_name_longer_than_any_is_none(void **state)
{
    struct world w = {.disposition = "attachment; filename=\"" A100 A100 A100 A100 A100 A100 A100 A100
                                     A100 A100 A100 ".ply\""};
    char        *name;

    (void)state;
    begin(&w);
    name = original_name(&w, MODEL("ACTIVE"));
    assert_string_equal(name, "One");
    free(name);
    end(&w);
}

static void what_the_service_does_not_give_yet_is_not_listed(void **state)
{
    struct world w = {.original = 400};
    char        *name;

    (void)state;
    begin(&w);
    assert_null(original_name(&w, MODEL("UPLOADING")));
    assert_int_equal(w.originals, 0);
    assert_null(original_name(&w, MODEL("PROCESSING")));
    assert_int_equal(w.originals, 1); /* not each time it is looked at */
    assert_null(original_name(&w, MODEL("FAILED")));
    assert_int_equal(w.originals, 2);
    w.original = 404; /* an active one must have it, even if it is not for everybody */
    name = original_name(&w, MODEL("ACTIVE"));
    assert_string_equal(name, "One");
    free(name);
    assert_int_equal(w.originals, 3);
    end(&w);
}

static void a_list_that_cannot_name_the_file_fails(void **state)
{
    struct world w = {.original = 503};
    struct seen  s = {0};

    (void)state;
    begin(&w);
    w.ctx.prio = PM_BACKGROUND;
    assert_int_equal(list(&w, "models/m1", MODEL("ACTIVE"), &s), -EIO);
    assert_int_equal(s.count, 0);
    end(&w);
}

static void a_refused_url_is_asked_for_once_more(void **state)
{
    struct world w = {.storage_status = 400};
    struct seen  s = {.name = "One"};

    (void)state;
    begin(&w);
    assert_int_equal(list(&w, "models/m1", MODEL("ACTIVE"), &s), 0);
    assert_int_equal(w.originals, 2);
    assert_int_equal(w.looks, 2);
    assert_non_null(s.found);
    free(s.found);
    end(&w);
}

static void backgrounds_have_their_particulars_only(void **state)
{
    struct world w = {0};
    struct seen  all = {.name = "b1"}, s = {.name = "info.json"};

    (void)state;
    begin(&w);
    assert_int_equal(list(&w, "backgrounds", NULL, &all), 0);
    assert_int_equal(all.count, 1);
    assert_int_equal(list(&w, "backgrounds/b1", all.found->fields, &s), 0);
    assert_int_equal(s.count, 1);
    assert_int_equal(s.found->kind, PM_DOCUMENT);
    assert_int_equal(w.originals, 0);
    free(all.found);
    free(s.found);
    end(&w);
}

/* --- documents */

struct text {
    struct pm_buf buf;
    bool          done;
    int           err;
};

static int text_begin(void *arg, const struct pm_answer *a)
{
    (void)arg;
    assert_int_equal(a->off, 0);
    return 0;
}

static int text_data(void *arg, const void *buf, size_t len)
{
    pm_buf_add(&((struct text *)arg)->buf, buf, len);
    return 0;
}

static void text_done(void *arg, int err, const char *why)
{
    struct text *t = arg;

    (void)why;
    t->done = true;
    t->err = err;
}

static void the_document_is_the_object_that_was_listed(void **state)
{
    static const struct pm_sink sink = {text_begin, text_data, text_done};
    struct world      w = {0};
    struct seen       s = {.name = "info.json"};
    struct text       t = {0};
    struct pm_source *source;
    struct pm_entry  *now = NULL;
    struct cJSON     *obj;

    (void)state;
    begin(&w);
    assert_int_equal(list(&w, "models/m0", MODEL("UPLOADING"), &s), 0);
    assert_int_equal(pm_source_open(w.b, s.found, &source), 0);
    pm_fetch(source, 0, 1 << 20, PM_INTERACTIVE, NULL, &sink, &t);
    assert_true(t.done);
    assert_int_equal(t.err, 0);
    assert_int_equal(t.buf.len, s.found->size);
    obj = pm_json_parse(t.buf.ptr, t.buf.len);
    assert_string_equal(pm_json_text(obj, "name"), "One");
    pm_json_free(obj);
    assert_int_equal(server_requests(w.server), 0);
    assert_int_equal(pm_backend_stat(w.b, &w.ctx, s.found, &now), 0); /* now it is asked */
    assert_string_not_equal(now->version, s.found->version);
    pm_source_close(source);
    pm_buf_free(&t.buf);
    free(now);
    free(s.found);
    end(&w);
}

/* --- the token */

static void the_bare_form_is_tried_once_and_remembered(void **state)
{
    struct world w = {.models = 1, .bare = true};
    struct seen  s = {0};

    (void)state;
    begin(&w);
    assert_int_equal(list(&w, "models", NULL, &s), 0);
    assert_int_equal(server_requests(w.server), 2);
    assert_int_equal(list(&w, "models", NULL, &s), 0);
    assert_int_equal(server_requests(w.server), 3);
    pm_backend_close(w.b);
    assert_int_equal(pm_backend_open(&w.account, w.net,
                                     &(struct pm_kv){.get = get, .set = set, .arg = &w.kept}, &w.b), 0);
    assert_int_equal(list(&w, "models", NULL, &s), 0);
    assert_int_equal(server_requests(w.server), 4);
    end(&w);
}

static void a_configured_form_is_the_only_one(void **state)
{
    struct world w = {.models = 1, .bare = true};
    struct world x = {.models = 1, .bare = true};
    struct seen  s = {0};

    (void)state;
    w.account.auth_scheme = (char *)"bare";
    begin(&w);
    assert_int_equal(list(&w, "models", NULL, &s), 0);
    assert_int_equal(server_requests(w.server), 1);
    end(&w);
    x.account.auth_scheme = (char *)"bearer";
    begin(&x);
    assert_int_equal(list(&x, "models", NULL, &s), -EACCES);
    for (unsigned i = 1; i <= server_requests(x.server); i++) {
        PM_AUTO(free) char *head = server_head(x.server, i);

        assert_non_null(strstr(head, "Authorization: Bearer "));
    }
    end(&x);
}

static void a_token_that_nobody_takes_is_refused_with_the_service_s_word(void **state)
{
    struct world w = {.models = 1, .refuses = true};
    struct seen  s = {0};
    char         why[200];

    (void)state;
    begin(&w);
    assert_int_equal(list(&w, "models", NULL, &s), -EACCES);
    assert_in_range(server_requests(w.server), 2, 4);
    assert_int_equal(pm_backend_doubt(w.b, why, sizeof(why), NULL), PM_REFUSED);
    assert_non_null(strstr(why, "Access denied"));
    end(&w);
}

static void a_removal_may_be_answered_with_nothing(void **state)
{
    static const struct {
        int      how, err;
        unsigned requests;
    } rows[] = {{0, 0, 1}, {204, 0, 1}, {1, -EIO, 2}};
    const struct pm_entry e = {.kind = PM_FOLDER, .root = "", .id = "m0", .name = "m0", .path = "models/m0",
                               .target = "", .version = "", .state = ""};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct world w = {.removal = rows[i].how};

        begin(&w);
        assert_int_equal(pm_backend_remove(w.b, &w.ctx, &e), rows[i].err);
        assert_int_equal(server_requests(w.server), rows[i].requests);
        end(&w);
    }
}

static void an_id_that_is_denied_is_no_word_about_the_token(void **state)
{
    struct world          w = {.models = 1, .denied = true};
    struct pm_location    loc = {0};
    struct pm_entry       e = {.kind = PM_FILE, .root = "", .id = "m7/original", .name = "a.ply",
                               .path = "models/m7/a.ply", .target = "", .version = "", .size = 123,
                               .state = "ACTIVE"};
    const struct pm_entry folder = {.kind = PM_FOLDER, .root = "", .id = "m7", .name = "m7",
                                    .path = "models/m7", .target = "", .version = "", .state = ""};
    const struct pm_entry denied = {.kind = PM_FOLDER, .root = "", .id = "m0", .name = "m0",
                                    .path = "models/m0", .target = "", .version = "", .state = ""};
    struct pm_entry *out = NULL;

    (void)state;
    begin(&w);
    assert_int_equal(pm_backend_stat(w.b, &w.ctx, &folder, &out), -ENOENT);
    assert_int_equal(pm_backend_remove(w.b, &w.ctx, &folder), -ENOENT);
    assert_int_equal(pm_backend_remove(w.b, &w.ctx, &denied), -EACCES); /* it is still there */
    assert_int_equal(pm_backend_locate(w.b, &w.ctx, &e, &loc), -ENOENT);
    e.id = "m0/original";
    assert_int_equal(pm_backend_locate(w.b, &w.ctx, &e, &loc), -EACCES);
    assert_int_equal(pm_backend_doubt(w.b, NULL, 0, NULL), 0);
    end(&w);
}

static void a_removal_that_is_refused_is_not_one_of_what_is_gone(void **state)
{
    const struct pm_entry e = {.kind = PM_FOLDER, .root = "", .id = "m0", .name = "m0", .path = "models/m0",
                               .target = "", .version = "", .state = ""};

    (void)state;
    for (int gone = 0; gone < 2; gone++) {
        struct world w = {.removal = 400, .gone = gone};

        begin(&w);
        assert_int_equal(pm_backend_remove(w.b, &w.ctx, &e), gone ? -ENOENT : -EINVAL);
        if (!gone)
            assert_string_equal(w.ctx.why, "it is locked");
        end(&w);
    }
}

static int cannot_be_read(void *arg, const char *key, char **out)
{
    (void)arg;
    (void)key;
    *out = NULL;
    return -EIO;
}

static void a_store_that_cannot_be_read_says_nothing_of_what_was_made_here(void **state)
{
    const struct pm_entry e = {.kind = PM_FILE, .root = "", .id = "m0@drop", .name = "a.ply",
                               .path = "uploads/a.ply", .target = "", .version = "", .state = "",
                               .fields = MODEL("ACTIVE"), .size = 123};
    struct pm_entry      *renamed = NULL, *now = NULL;
    struct world          w = {.models = 1};

    (void)state;
    begin(&w);
    w.b->kv.kept = cannot_be_read;
    assert_int_equal(pm_backend_rename(w.b, &e, "b.ply", &renamed), -EIO);
    assert_int_equal(pm_backend_stat(w.b, &w.ctx, &e, &now), -EIO);
    end(&w);
}

static void originals_that_are_not_ready_are_ebusy(void **state)
{
    struct world       w = {.original = 404};
    struct pm_location loc = {0};
    struct pm_entry    e = {.kind = PM_FILE, .root = "", .id = "m1/original", .name = "a.ply",
                            .path = "models/m1/a.ply", .target = "", .version = "", .size = 123};

    (void)state;
    begin(&w);
    e.state = "PROCESSING";
    assert_int_equal(pm_backend_locate(w.b, &w.ctx, &e, &loc), -EBUSY);
    e.state = "ACTIVE";
    assert_int_equal(pm_backend_locate(w.b, &w.ctx, &e, &loc), -ENOENT);
    w.original = 0;
    assert_int_equal(pm_backend_locate(w.b, &w.ctx, &e, &loc), 0);
    assert_null(loc.auth);
    assert_in_range(loc.expires_ms, pm_now_ms() + 200000, pm_now_ms() + 240000);
    pm_location_clear(&loc);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_page_is_asked_for_once_and_everything_kept),
        cmocka_unit_test(a_list_that_moved_is_asked_for_again),
        cmocka_unit_test(a_list_that_lacks_some_is_asked_for_again),
        cmocka_unit_test(a_page_that_fails_fails_the_list),
        cmocka_unit_test(no_models_at_all_may_be_null),
        cmocka_unit_test(a_list_ends_where_nothing_new_comes),
        cmocka_unit_test(names_and_states_are_links_to_the_ids),
        cmocka_unit_test(the_name_of_a_file_is_asked_once_for_good),
        cmocka_unit_test(a_size_that_the_service_does_not_tell_is_the_storage_s),
        cmocka_unit_test(what_was_given_without_a_name_is_listed_at_once_whatever_became_of_it),
        cmocka_unit_test(a_file_without_a_name_has_its_url_s_or_its_model_s),
        cmocka_unit_test(a_name_is_found_behind_a_redirect),
        cmocka_unit_test(a_file_may_be_called_as_the_particulars_are),
        cmocka_unit_test(a_name_longer_than_any_is_none),
        cmocka_unit_test(what_the_service_does_not_give_yet_is_not_listed),
        cmocka_unit_test(a_list_that_cannot_name_the_file_fails),
        cmocka_unit_test(a_refused_url_is_asked_for_once_more),
        cmocka_unit_test(backgrounds_have_their_particulars_only),
        cmocka_unit_test(the_document_is_the_object_that_was_listed),
        cmocka_unit_test(the_bare_form_is_tried_once_and_remembered),
        cmocka_unit_test(a_configured_form_is_the_only_one),
        cmocka_unit_test(a_token_that_nobody_takes_is_refused_with_the_service_s_word),
        cmocka_unit_test(a_removal_may_be_answered_with_nothing),
        cmocka_unit_test(an_id_that_is_denied_is_no_word_about_the_token),
        cmocka_unit_test(a_removal_that_is_refused_is_not_one_of_what_is_gone),
        cmocka_unit_test(a_store_that_cannot_be_read_says_nothing_of_what_was_made_here),
        cmocka_unit_test(originals_that_are_not_ready_are_ebusy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
