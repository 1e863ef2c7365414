/* What 360-for-you's answers mean, against a server that gives them literally. */
#include "backends/http.h"
#include "tests/unit/server.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define SESSION "{\"id\":\"Bx0xyTjt\",\"until\":1}"

struct kept {
    char key[20][40];
    char value[20][400];
};

static int get(void *arg, const char *key, char **out)
{
    struct kept *k = arg;

    *out = NULL;
    for (size_t i = 0; i < PM_COUNT(k->key); i++)
        if (!strcmp(k->key[i], key))
            *out = strdup(k->value[i]);
    return 0;
}

static int set(void *arg, const char *key, const char *value)
{
    struct kept *k = arg;

    for (size_t i = 0; i < PM_COUNT(k->key); i++) {
        if (*k->key[i] && strcmp(k->key[i], key) != 0)
            continue;
        snprintf(k->key[i], sizeof(k->key[i]), "%s", key);
        snprintf(k->value[i], sizeof(k->value[i]), "%s", value);
        return 0;
    }
    return -ENOSPC;
}

struct answer {
    int         status;
    const char *body;
    const char *head; /* the request begins so */
};

struct world {
    struct kept            kept;
    struct pm_conf         conf;
    struct pm_secret       secret;
    struct pm_account_conf account;
    struct pm_net         *net;
    struct server         *server;
    struct pm_backend     *b;
    struct pm_ctx          ctx;
    const struct answer   *script; /* one for each request, in order */
    size_t                 scripted;
    struct pm_upload       up;
};

static const struct pm_entry folder = {.kind = PM_FOLDER, .root = "", .id = "", .name = "scan",
                                       .path = "scan", .target = "", .version = "", .state = "",
                                       .size = PM_SIZE_UNKNOWN};

static bool play(void *arg, const struct server_request *req, int fd)
{
    const struct world  *w = arg;
    const struct answer *a = &w->script[req->n - 1];

    if (req->n > w->scripted || strncmp(req->head, a->head, strlen(a->head)) != 0) {
        print_message("request %u is %.60s\n", req->n, req->head);
        return server_reply(fd, 500, "", "{\"error\":\"not in the script\"}");
    }
    if (!a->status) {
        server_reset(fd);
        return false;
    }
    return server_reply(fd, a->status, "", a->body);
}

static void begin(struct world *w, const struct answer *script, size_t count)
{
    const struct pm_kv kv = {.get = get, .set = set, .arg = &w->kept};

    w->script = script;
    w->scripted = count;
    w->server = server_start(play, w);
    w->secret = (struct pm_secret){(char *)"token", (char *)"", (char *)"sk_key"};
    w->account = (struct pm_account_conf){.name = (char *)"a", .type = (char *)"360",
                                          .endpoint = (char *)server_url(w->server),
                                          .secrets = &w->secret, .nsecrets = 1};
    w->conf.op_timeout_ms = 5000;
    w->ctx.prio = PM_BACKGROUND;
    assert_int_equal(pm_net_open(&w->conf, &w->net), 0);
    assert_int_equal(pm_backend_open(&w->account, w->net, &kv, &w->b), 0);
}

static void end(struct world *w)
{
    assert_int_equal(server_requests(w->server), w->scripted);
    pm_backend_close(w->b);
    pm_net_close(w->net);
    server_stop(w->server);
    if (w->up.state)
        close(w->up.fd);
    free(w->up.state);
}

/* A file of so many zeros, about to be sent. */
static void make_file(struct world *w, const char *name, uint64_t size)
{
    w->up = (struct pm_upload){.parent = &folder, .name = name, .size = size, .session = SESSION};
    w->up.fd = memfd_create("pm", MFD_CLOEXEC);
    assert_int_equal(ftruncate(w->up.fd, (off_t)size), 0);
    assert_int_equal(pm_backend_begin(w->b, &w->ctx, &w->up), 0);
}

static void a_session_is_opened_and_expires(void **state)
{
    static const struct answer script[] = {
        {201, "{\"upload_id\": \"Bx0xyTjt\", \"expires_in_seconds\": 259200}", "POST /uploads HTTP"}};
    struct world    w = {0};
    struct pm_draft d = {.name = "scan", .options = ""};
    char           *head;

    (void)state;
    begin(&w, script, PM_COUNT(script));
    assert_int_equal(pm_draft_open(w.b, &w.ctx, &d), 0);
    assert_non_null(strstr(d.session, "Bx0xyTjt"));
    assert_true(pm_draft_expires_ms(w.b, d.session) > pm_wall_ms() + 259100 * 1000LL);
    head = server_head(w.server, 1);
    assert_non_null(strstr(head, "Authorization: Bearer sk_key\r\n"));
    assert_null(strstr(head, "Content-Type"));
    free(head);
    free(d.session);
    end(&w);
}

static void the_service_s_words_become_errnos(void **state)
{
    static const struct {
        struct answer a;
        int           err;
    } rows[] = {
        {{404, "{\"error\":\"upload_session_not_found\"}", "PUT"}, -ESTALE},
        {{400, "{\"error\":\"invalid_upload_id\"}", "PUT"}, -ESTALE},
        {{400, "{\"error\":\"invalid_filename\"}", "PUT"}, -EINVAL},
        {{400, "{\"error\":\"invalid_content_range\"}", "PUT"}, -EIO},
        {{411, "{\"error\":\"length_required\"}", "PUT"}, -EIO},
        {{413, "{\"error\":\"file_too_large\",\"limit\":3}", "PUT"}, -EFBIG},
        {{413, "{\"error\":\"session_too_large\",\"limit\":3}", "PUT"}, -EDQUOT},
        {{415, "{\"error\":\"extension_not_allowed\",\"allowed\":[\"e57\"]}", "PUT"}, -EPERM},
        {{402, "{\"error\":\"storage_quota_exceeded\"}", "PUT"}, -EDQUOT},
        {{403, "{\"error\":\"project_limit_reached\"}", "PUT"}, -EDQUOT},
        {{403, "{\"error\":\"tariff_forbids_upload\"}", "PUT"}, -EACCES},
        {{403, "{\"error\":\"email_not_verified\"}", "PUT"}, -EACCES},
        {{500, "<html>", "PUT"}, -EAGAIN},
        {{200, "<html>", "PUT"}, -EIO},
        {{200, "{}", "PUT"}, -EIO},
        {{0, "", "PUT"}, -EAGAIN},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct world w = {0};
        uint64_t     off = 0;

        begin(&w, &rows[i].a, 1);
        make_file(&w, "a.jpg", 10);
        assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), rows[i].err);
        assert_true(*w.ctx.why);
        end(&w);
    }
}

static void a_small_file_goes_whole_and_a_big_one_in_pieces(void **state)
{
    static const struct answer script[] = {
        {200, "{\"received\":0,\"total\":0,\"complete\":true}", "PUT /uploads/Bx0xyTjt/none.xyz "},
        {200, "{\"received\":10,\"total\":10,\"complete\":true}", "PUT /uploads/Bx0xyTjt/a.jpg "},
        {200, "{\"received\":8388608,\"total\":9000000,\"complete\":false}",
         "PUT /uploads/Bx0xyTjt/b.e57 "},
        {200, "{\"received\":9000000,\"total\":9000000,\"complete\":true}", "PUT "}};
    static const struct {
        const char *name, *header;
        uint64_t    size;
    } files[] = {{"none.xyz", "Content-Length: 0\r\n", 0},
                 {"a.jpg", "Content-Length: 10\r\n", 10},
                 {"b.e57", "Content-Range: bytes 0-8388607/9000000\r\n", 9000000}};
    struct world     w = {0};
    struct pm_entry *e = NULL;

    (void)state;
    begin(&w, script, PM_COUNT(script));
    for (size_t i = 0; i < PM_COUNT(files); i++) {
        uint64_t off = 0;
        char    *head;

        make_file(&w, files[i].name, files[i].size);
        assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), 0);
        head = server_head(w.server, (unsigned)i + 1);
        assert_non_null(strstr(head, files[i].header));
        assert_non_null(strstr(head, "Content-Type: application/octet-stream\r\n"));
        assert_int_equal(strstr(head, "Content-Range") != NULL, i == 2);
        free(head);
        if (i == 2) {
            assert_int_equal(off, 8388608);
            assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), 0);
        }
        assert_int_equal(off, files[i].size);
        assert_int_equal(pm_backend_finish(w.b, &w.ctx, &w.up, &e), 0);
        assert_int_equal(e->size, files[i].size);
        free(e);
        close(w.up.fd);
        free(w.up.state);
        w.up.state = NULL;
    }
    end(&w);
}

static void after_a_break_it_goes_on_where_the_service_is(void **state)
{
    static const struct answer script[] = {
        {200,
         "{\"upload_id\":\"Bx0xyTjt\",\"files\":[{\"name\":\"b.e57\",\"received\":5,\"total\":9,"
         "\"complete\":false},{\"name\":\"a.jpg\",\"received\":3,\"total\":3,\"complete\":true}]}",
         "GET /uploads/Bx0xyTjt HTTP"},
        {200, "{\"received\":9,\"total\":9,\"complete\":true}", "PUT /uploads/Bx0xyTjt/b.e57 "}};
    struct world w = {0};
    uint64_t     off = 77;
    char        *head;

    (void)state;
    begin(&w, script, PM_COUNT(script));
    make_file(&w, "a.jpg", 3);
    assert_int_equal(pm_backend_resume(w.b, &w.ctx, &w.up, &off), 0);
    assert_int_equal(off, 3); /* one list for all: no call of its own */
    close(w.up.fd);
    free(w.up.state);
    make_file(&w, "b.e57", 9);
    assert_int_equal(pm_backend_resume(w.b, &w.ctx, &w.up, &off), 0);
    assert_int_equal(off, 5);
    assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), 0);
    assert_int_equal(off, 9);
    head = server_head(w.server, 2);
    assert_non_null(strstr(head, "Content-Range: bytes 5-8/9\r\n"));
    free(head);
    end(&w);
}

static void a_gap_is_told_and_adopted(void **state)
{
    static const struct answer script[] = {
        {409, "{\"error\":\"non_contiguous_chunk\",\"received\":2}", "PUT"},
        {200, "{\"received\":2,\"total\":9,\"complete\":false}", "GET /uploads/Bx0xyTjt/b.e57 HTTP"},
        {200, "{\"received\":9,\"total\":9,\"complete\":true}", "PUT"}};
    static const struct answer listed = {200, "{\"files\":[]}", "GET /uploads/Bx0xyTjt HTTP"};
    struct answer all[4] = {listed, script[0], script[1], script[2]};
    struct world  w = {0};
    uint64_t      off = 0;

    (void)state;
    begin(&w, all, PM_COUNT(all));
    make_file(&w, "b.e57", 9);
    assert_int_equal(pm_backend_resume(w.b, &w.ctx, &w.up, &off), 0);
    off = 5;
    assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), -EAGAIN);
    assert_int_equal(pm_backend_resume(w.b, &w.ctx, &w.up, &off), 0);
    assert_int_equal(off, 2);
    assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), 0);
    assert_int_equal(off, 9);
    end(&w);
}

static void no_round_trip_is_spent_but_before_the_first_chunk_of_a_large_file(void **state)
{
    static const struct answer script[] = {
        {200, "{\"received\":8388608,\"total\":8388609,\"complete\":false}", "PUT"},
        {200, "{\"received\":8388609,\"total\":8388609,\"complete\":true}", "PUT"},
        {200, "{\"received\":102400,\"total\":102400,\"complete\":true}", "PUT"}};
    static const bool asks[] = {true, false, false};
    struct world      w = {0};
    uint64_t          off = 0;

    (void)state;
    begin(&w, script, PM_COUNT(script));
    make_file(&w, "b.e57", 8388609);
    assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), 0);
    assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), 0);
    close(w.up.fd);
    free(w.up.state);
    make_file(&w, "a.jpg", 102400);
    off = 0;
    assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), 0);
    for (unsigned i = 0; i < PM_COUNT(asks); i++) {
        char *head = server_head(w.server, i + 1);

        assert_int_equal(strcasestr(head, "\r\nExpect:") != NULL, asks[i]);
        free(head);
    }
    end(&w);
}

static void another_file_of_the_name_is_not_taken_for_ours(void **state)
{
    static const struct answer script[] = {
        {200, "{\"received\":8,\"total\":8,\"complete\":true}", "PUT"}};
    struct world w = {0};
    uint64_t     off = 0;

    (void)state;
    begin(&w, script, PM_COUNT(script));
    make_file(&w, "b.e57", 9);
    assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), -ESTALE);
    end(&w);
}

static void what_the_service_refused_once_is_refused_at_create(void **state)
{
    static const struct answer script[] = {
        {415, "{\"error\":\"extension_not_allowed\",\"extension\":\"exe\",\"allowed\":[\".e57\",\"JPG\"]}",
         "PUT"},
        {413, "{\"error\":\"file_too_large\",\"limit\":100}", "PUT"}};
    struct world w = {0};
    uint64_t     off = 0;
    char         why[200] = "";

    (void)state;
    begin(&w, script, PM_COUNT(script));
    assert_int_equal(pm_draft_check(w.b, "x.exe", 1, why, sizeof(why)), 0);
    make_file(&w, "x.exe", 9);
    assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), -EPERM);
    assert_int_equal(pm_draft_check(w.b, "x.exe", 1, why, sizeof(why)), -EPERM);
    assert_non_null(strstr(why, "e57"));
    assert_int_equal(pm_draft_check(w.b, "noextension", 1, why, sizeof(why)), -EPERM);
    assert_int_equal(pm_draft_check(w.b, "x.jpg", 1000, why, sizeof(why)), 0);
    assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), -EFBIG);
    assert_int_equal(pm_draft_check(w.b, "x.jpg", 101, why, sizeof(why)), -EFBIG);
    assert_int_equal(pm_draft_check(w.b, "x.E57", PM_SIZE_UNKNOWN, why, sizeof(why)), 0);
    end(&w);
}

static void names_are_mapped_as_the_service_would(void **state)
{
    static const struct {
        const char *name, *sent;
    } rows[] = {
        {"scan-1.e57", "scan-1.e57"},       {"Floor 1.E57", "Floor_1.e57"},
        {"__x__.jpg", "x.jpg"},             {"\xc3\xa4\xc3\xb6.jpg", "file.jpg"},
        {"a\xc3\xa4"  "b.jpg", "a_b.jpg"}, {".hidden", "hidden"},
        {"a.b.c.ply", "a.b.c.ply"},         {"no extension", "no_extension"},
        {"x.", "x"},
    };
    struct world w = {0};
    char         out[300];

    (void)state;
    begin(&w, NULL, 0);
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        assert_int_equal(pm_draft_send_name(w.b, rows[i].name, out, sizeof(out)), 0);
        assert_string_equal(out, rows[i].sent);
    }
    end(&w);
}

static void a_commit_sends_what_the_user_wants(void **state)
{
    static const struct answer script[] = {
        {201, "{\"name\":\"other\",\"status\":0,\"message\":\"processing_started\"}",
         "POST /projects HTTP"}};
    struct world     w = {0};
    struct pm_draft  d = {.name = "Building", .session = (char *)SESSION,
                          .options = "{\"privacy_mode\":0,\"upload_id\":\"x\",\"coordinate_system\":\"utm\"}"};
    struct pm_entry *e = NULL;

    (void)state;
    begin(&w, script, PM_COUNT(script));
    assert_int_equal(pm_draft_commit(w.b, &w.ctx, &d, &e), 0);
    assert_string_equal(e->id, "other");
    assert_int_equal(e->kind, PM_FOLDER);
    free(e);
    end(&w);
}

static void a_lost_commit_is_looked_for_and_never_guessed(void **state)
{
    static const struct answer found[] = {
        {0, "", "POST /projects"},
        {200, "{\"name\":\"Bx0xyTjt\",\"status\":7}", "GET /projects/Bx0xyTjt HTTP"}};
    static const struct answer not_made[] = {
        {0, "", "POST /projects"},
        {404, "{\"error\":\"project_not_found\"}", "GET /projects/Bx0xyTjt HTTP"},
        {404, "{\"error\":\"not_found\"}", "GET /projects HTTP"},
        {200, "{\"files\":[]}", "GET /uploads/Bx0xyTjt HTTP"}};
    static const struct answer unknown[] = {
        {0, "", "POST /projects"},
        {404, "{\"error\":\"project_not_found\"}", "GET /projects/Bx0xyTjt HTTP"},
        {404, "{\"error\":\"not_found\"}", "GET /projects HTTP"},
        {404, "{\"error\":\"upload_session_not_found\"}", "GET /uploads/Bx0xyTjt HTTP"}};
    static const struct {
        const struct answer *script;
        size_t               count;
        int                  err;
    } rows[] = {{found, PM_COUNT(found), 0},
                {not_made, PM_COUNT(not_made), -ENOENT},
                {unknown, PM_COUNT(unknown), -EBADMSG}};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct world     w = {0};
        struct pm_draft  d = {.name = "Building", .session = (char *)SESSION, .options = ""};
        struct pm_entry *e = NULL;

        begin(&w, rows[i].script, rows[i].count);
        assert_int_equal(pm_draft_commit(w.b, &w.ctx, &d, &e), -EAGAIN);
        assert_int_equal(pm_draft_find(w.b, &w.ctx, &d, &e), rows[i].err);
        free(rows[i].err ? NULL : e);
        end(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_is_opened_and_expires),
        cmocka_unit_test(the_service_s_words_become_errnos),
        cmocka_unit_test(a_small_file_goes_whole_and_a_big_one_in_pieces),
        cmocka_unit_test(after_a_break_it_goes_on_where_the_service_is),
        cmocka_unit_test(a_gap_is_told_and_adopted),
        cmocka_unit_test(no_round_trip_is_spent_but_before_the_first_chunk_of_a_large_file),
        cmocka_unit_test(another_file_of_the_name_is_not_taken_for_ours),
        cmocka_unit_test(what_the_service_refused_once_is_refused_at_create),
        cmocka_unit_test(names_are_mapped_as_the_service_would),
        cmocka_unit_test(a_commit_sends_what_the_user_wants),
        cmocka_unit_test(a_lost_commit_is_looked_for_and_never_guessed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
