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
    return server_reply(fd, a->status, a->status == 429 ? "Retry-After: 3000\r\n" : "", a->body);
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

/* A file of so many zeros, about to be sent: begun, and what its session has is not known. */
static void make_file(struct world *w, const char *name, uint64_t size)
{
    w->up = (struct pm_upload){.parent = &folder, .name = name, .size = size, .session = SESSION};
    w->up.fd = memfd_create("pm", MFD_CLOEXEC);
    assert_int_equal(ftruncate(w->up.fd, (off_t)size), 0);
    w->up.state = strdup("{\"whole\":false}");
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

static void an_id_that_would_lead_elsewhere_is_none(void **state)
{
    static const struct answer rows[] = {
        {201, "{\"upload_id\": \"..\"}", "POST"},
        {201, "{\"upload_id\": \"a/../b\"}", "POST"},
        {201, "{\"upload_id\": \"\"}", "POST"},
        {201, "{\"upload_id\": \"\xff\"}", "POST"},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct world    w = {0};
        struct pm_draft d = {.name = "scan", .options = ""};

        begin(&w, &rows[i], 1);
        assert_int_equal(pm_draft_open(w.b, &w.ctx, &d), -EIO);
        assert_null(d.session);
        end(&w);
    }
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
        {{412, "{\"error\":\"precondition_failed\"}", "PUT"}, -EIO}, /* not the session's end */
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

static void a_session_of_an_earlier_process_is_looked_at_before_the_first_file(void **state)
{
    static const struct answer script[] = {
        {404, "{\"error\":\"upload_session_not_found\"}", "GET /uploads/Bx0xyTjt "},
        {200, "{\"upload_id\":\"Bx0xyTjt\",\"files\":[]}", "GET /uploads/Bx0xyTjt "},
        {201, "{\"upload_id\": \"New\", \"expires_in_seconds\": 9}", "POST /uploads HTTP"}};
    struct world     w = {0};
    struct pm_draft  d = {.name = "scan", .options = ""};
    struct pm_upload up = {.parent = &folder, .name = "a.jpg", .session = SESSION};

    (void)state;
    begin(&w, script, PM_COUNT(script));
    assert_int_equal(pm_backend_begin(w.b, &w.ctx, &up), -ESTALE);
    assert_int_equal(pm_backend_begin(w.b, &w.ctx, &up), 0);
    assert_int_equal(pm_backend_begin(w.b, &w.ctx, &up), 0); /* once */
    assert_int_equal(pm_draft_open(w.b, &w.ctx, &d), 0);
    up.session = d.session;
    assert_int_equal(pm_backend_begin(w.b, &w.ctx, &up), 0); /* what was opened here is known */
    free(up.state);
    free(d.session);
    end(&w);
}

static void an_empty_file_that_is_not_taken_is_no_fault_of_the_line(void **state)
{
    static const struct answer script[] = {{411, "{\"error\":\"length_required\"}", "PUT"}};
    struct world w = {0};
    uint64_t     off = 0;

    (void)state;
    begin(&w, script, PM_COUNT(script));
    make_file(&w, "empty.txt", 0);
    assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), -EINVAL);
    assert_non_null(strstr(w.ctx.why, "no empty files"));
    end(&w);
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

struct resumer {
    struct world *w;
    pthread_t     thread;
    uint64_t      off;
    int           err;
};

static void *resume(void *arg)
{
    struct resumer  *r = arg;
    struct pm_ctx    ctx = {.prio = PM_BACKGROUND};
    struct pm_upload up = {.parent = &folder, .name = "b.e57", .size = 9, .session = SESSION, .fd = 0,
                           .state = strdup("{\"whole\":false}")};

    r->err = pm_backend_resume(r->w->b, &ctx, &up, &r->off);
    free(up.state);
    return NULL;
}

static void files_that_go_on_side_by_side_ask_once_for_all(void **state)
{
    static const struct answer script[] = {
        {200, "{\"files\":[{\"name\":\"b.e57\",\"received\":5,\"total\":9,\"complete\":false}]}",
         "GET /uploads/Bx0xyTjt HTTP"}};
    struct world   w = {0};
    struct resumer r[8];

    (void)state;
    begin(&w, script, PM_COUNT(script));
    for (size_t i = 0; i < PM_COUNT(r); i++) {
        r[i] = (struct resumer){.w = &w};
        assert_int_equal(pthread_create(&r[i].thread, NULL, resume, &r[i]), 0);
    }
    for (size_t i = 0; i < PM_COUNT(r); i++) {
        pthread_join(r[i].thread, NULL);
        assert_int_equal(r[i].err, 0);
        assert_int_equal(r[i].off, 5);
    }
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
    assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), -EEXIST);
    end(&w);
}

static int check(struct world *w, const char *name, uint64_t size, uint64_t others, char why[200])
{
    const struct pm_draft_item item = {name, size, others};

    return pm_draft_check(w->b, &item, why, 200);
}

static void what_the_service_refused_once_is_refused_at_create(void **state)
{
    static const struct answer script[] = {
        {415, "{\"error\":\"extension_not_allowed\",\"extension\":\"exe\",\"allowed\":[\".e57\",\"JPG\"]}",
         "PUT"},
        {413, "{\"error\":\"file_too_large\",\"limit\":100}", "PUT"},
        {413, "{\"error\":\"session_too_large\",\"limit\":150}", "PUT"}};
    struct world w = {0};
    uint64_t     off = 0;
    char         why[200] = "";

    (void)state;
    begin(&w, script, PM_COUNT(script));
    assert_int_equal(check(&w, "x.exe", 1, 0, why), 0);
    make_file(&w, "x.exe", 9);
    assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), -EPERM);
    assert_int_equal(check(&w, "x.exe", 1, 0, why), -EPERM);
    assert_non_null(strstr(why, "e57"));
    assert_int_equal(check(&w, "noextension", 1, 0, why), -EPERM);
    assert_int_equal(check(&w, "x.jpg", 1000, 0, why), 0);
    assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), -EFBIG);
    assert_int_equal(check(&w, "x.jpg", 101, 0, why), -EFBIG);
    assert_int_equal(check(&w, "x.E57", PM_SIZE_UNKNOWN, 1000, why), 0);
    assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), -EDQUOT);
    assert_int_equal(check(&w, "x.jpg", 51, 100, why), -EDQUOT);
    assert_non_null(strstr(why, "150"));
    assert_int_equal(check(&w, "x.jpg", 50, 100, why), 0);
    assert_int_equal(check(&w, "x.jpg", PM_SIZE_UNKNOWN, 150, why), -EDQUOT);
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
        assert_int_equal(pm_draft_send_name(w.b, rows[i].name, 1, out, sizeof(out)), 0);
        assert_string_equal(out, rows[i].sent);
    }
    end(&w);
}

static void long_names_that_begin_alike_are_told_apart(void **state)
{
    struct world w = {0};
    char         name[256];
    char         first[300], second[300];

    (void)state;
    begin(&w, NULL, 0);
    memset(name, 'x', 120);
    snprintf(name + 120, sizeof(name) - 120, ".jpg");
    assert_int_equal(pm_draft_send_name(w.b, name, 1, first, sizeof(first)), 0);
    assert_int_equal(pm_draft_send_name(w.b, name, 2, second, sizeof(second)), 0);
    assert_int_equal(strlen(first), 104);
    assert_int_equal(strlen(second), 104);
    assert_string_equal(second + 97, "x_2.jpg");
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

/* --- a commit whose answer was lost */

#define ABSENT(head) {404, "{\"error\":\"project_not_found\"}", head}
#define LOOK_FREE   ABSENT("GET /projects/Bx0xyTjt HTTP")
#define UNLISTED    {405, "{\"error\":\"method_not_allowed\"}", "GET /projects HTTP"}
#define LOST        {0, "", "POST /projects"}
#define LIST(body)  {200, body, "GET /projects HTTP"}
#define MADE(slug)  {200, "{\"name\":\"" slug "\",\"status\":7}", "GET /projects/" slug " HTTP"}
#define OLD         "{\"name\":\"Old\",\"title\":\"Building\"}"
#define NEW         "{\"name\":\"New\",\"title\":\"Building\"}"
#define NEW_TOO     "{\"name\":\"Too\",\"title\":\"Building\"}"
#define OTHER       "{\"name\":\"Other\",\"title\":\"Tower\"}"

/* Commits, loses the answer, and looks for it as if that had been so long ago. *slug: what was found. */
static int lose_and_find(const struct answer *script, size_t count, const char *learnt, int64_t ago_ms,
                         char slug[32])
{
    struct world        w = {0};
    struct pm_draft     d = {.name = "Building", .session = (char *)SESSION, .options = ""};
    struct pm_entry    *e = NULL;
    PM_AUTO(free) char *before = NULL;
    PM_AUTO(free) char *then = NULL;
    int64_t             at;
    int                 err;

    begin(&w, script, count);
    if (learnt)
        set(&w.kept, "360.slug", learnt);
    assert_int_equal(pm_draft_look(w.b, &w.ctx, &d, &before), 0);
    assert_int_equal(pm_draft_commit(w.b, &w.ctx, &d, &e), -EAGAIN);
    assert_int_equal(sscanf(before, "{\"at\":%" SCNd64, &at), 1);
    then = pm_asprintf("{\"at\":%" PRId64 "%s", at - ago_ms, strchr(before, ','));
    err = pm_draft_find(w.b, &w.ctx, &d, then, &e);
    snprintf(slug, 32, "%s", err ? "" : e->id);
    free(err ? NULL : e);
    end(&w);
    return err;
}

static void a_lost_commit_is_found_and_never_guessed(void **state)
{
    static const struct {
        struct answer script[6];
        const char   *learnt; /* of this server: the slugs of its projects */
        const char   *slug;
        int64_t       ago_ms;
        int           err;
    } rows[] = {
        {{LOOK_FREE, UNLISTED, LOST, MADE("Bx0xyTjt")}, NULL, "Bx0xyTjt", 0, 0},
        /* none is listed: only of a server that is known can it be told that there is none */
        {{LOOK_FREE, UNLISTED, LOST, LOOK_FREE}, NULL, "", 20000, -EAGAIN},
        {{LOOK_FREE, UNLISTED, LOST, LOOK_FREE}, NULL, "", 200000, -EBADMSG},
        {{LOOK_FREE, UNLISTED, LOST, LOOK_FREE}, "other", "", 200000, -EBADMSG},
        {{LOOK_FREE, UNLISTED, LOST, LOOK_FREE}, "same", "", 0, -EAGAIN},
        {{LOOK_FREE, UNLISTED, LOST, LOOK_FREE}, "same", "", 20000, -ENOENT},
        /* somebody's project had the slug before */
        {{MADE("Bx0xyTjt"), UNLISTED, LOST}, "same", "", 200000, -EBADMSG},
        {{MADE("Bx0xyTjt"), LIST("[]"), LOST, LIST("[" NEW "]"), MADE("New")}, "same", "New", 0, 0},
        /* by the list: what is new, and has the title */
        {{LOOK_FREE, LIST("[" OLD "]"), LOST, LOOK_FREE, LIST("[" OLD "," NEW "]"), MADE("New")},
         NULL, "New", 0, 0},
        {{LOOK_FREE, LIST("[" OLD "]"), LOST, LOOK_FREE, LIST("{\"data\":[" OLD "]}")}, NULL, "", 20000,
         -ENOENT},
        {{LOOK_FREE, LIST("[" OLD "]"), LOST, LOOK_FREE, LIST("[" OLD "]")}, NULL, "", 0, -EAGAIN},
        {{LOOK_FREE, LIST("[]"), LOST, LOOK_FREE, LIST("[" NEW "," NEW_TOO "]")}, NULL, "", 200000,
         -EBADMSG},
        {{LOOK_FREE, LIST("[]"), LOST, LOOK_FREE, LIST("[" OTHER "]")}, NULL, "", 200000, -EBADMSG},
        /* an answer of an unknown shape tells nothing */
        {{LOOK_FREE, LIST("[]"), LOST, LOOK_FREE, LIST("{\"items\":[]}")}, NULL, "", 200000, -EBADMSG},
        /* a key that may not look */
        {{{403, "{\"error\":\"insufficient_scope\"}", "GET /projects/Bx0xyTjt HTTP"},
          {403, "{\"error\":\"insufficient_scope\"}", "GET /projects HTTP"}, LOST},
         "same", "", 200000, -EBADMSG},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        size_t n = 0;
        char   slug[32];
        int    err;

        while (n < 6 && rows[i].script[n].head)
            n++;
        err = lose_and_find(rows[i].script, n, rows[i].learnt, rows[i].ago_ms, slug);
        if (err != rows[i].err || strcmp(slug, rows[i].slug) != 0)
            fail_msg("row %zu: %d and \"%s\"", i, err, slug);
    }
}

static void a_commit_tells_how_this_server_names_projects(void **state)
{
    static const struct answer script[] = {
        {201, "{\"name\":\"Bx0xyTjt\",\"status\":0}", "POST /projects"},
        {201, "{\"name\":\"other\",\"status\":0}", "POST /projects"},
        {201, "{\"name\":\"Bx0xyTjt\",\"status\":0}", "POST /projects"}};
    static const char *const known[] = {"same", "other", "other"};
    struct world             w = {0};
    struct pm_draft          d = {.name = "Building", .session = (char *)SESSION, .options = ""};

    (void)state;
    begin(&w, script, PM_COUNT(script));
    for (size_t i = 0; i < PM_COUNT(known); i++) {
        PM_AUTO(free) char *slug = NULL;
        struct pm_entry    *e = NULL;

        assert_int_equal(pm_draft_commit(w.b, &w.ctx, &d, &e), 0);
        free(e);
        get(&w.kept, "360.slug", &slug);
        assert_string_equal(slug, known[i]);
    }
    end(&w);
}

/* --- on a bad line */

static void on_a_bad_line_small_files_go_in_pieces_too(void **state)
{
    static const struct answer script[] = {
        {0, "", "PUT"}, {0, "", "PUT"}, {0, "", "PUT"}, {0, "", "PUT"},
        {200, "{\"received\":524288,\"total\":3000000,\"complete\":false}", "PUT"}};
    struct world w = {0};
    uint64_t     off = 0;
    char        *head;

    (void)state;
    begin(&w, script, PM_COUNT(script));
    make_file(&w, "a.jpg", 3000000);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), -EAGAIN);
    assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), 0);
    head = server_head(w.server, 1);
    assert_null(strstr(head, "Content-Range"));
    free(head);
    head = server_head(w.server, 5);
    assert_non_null(strstr(head, "Content-Range: bytes 0-524287/3000000\r\n"));
    free(head);
    end(&w);
}

static void what_a_proxy_finds_too_long_goes_in_shorter_pieces(void **state)
{
    static const struct answer script[] = {
        {413, "<html>Request Entity Too Large</html>", "PUT"},
        {200, "{\"received\":4194304,\"total\":8000000,\"complete\":false}", "PUT"}};
    struct world w = {0};
    uint64_t     off = 0;

    (void)state;
    begin(&w, script, PM_COUNT(script));
    make_file(&w, "a.jpg", 8000000);
    assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), -EAGAIN);
    assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), 0);
    assert_int_equal(off, 4194304);
    end(&w);
}

static void a_limit_of_one_kind_of_call_holds_no_others(void **state)
{
    static const struct answer script[] = {
        {429, "{\"error\":\"rate_limited\"}", "POST /uploads HTTP"},
        {200, "{\"received\":3,\"total\":3,\"complete\":true}", "PUT"}};
    struct world    w = {0};
    struct pm_draft d = {.name = "scan", .options = ""};
    uint64_t        off = 0;

    (void)state;
    begin(&w, script, PM_COUNT(script));
    assert_int_equal(pm_draft_open(w.b, &w.ctx, &d), -EBUSY);
    assert_true(w.ctx.retry_ms > 2999 * 1000 && w.ctx.retry_ms <= 3000 * 1000);
    assert_int_equal(pm_draft_open(w.b, &w.ctx, &d), -EBUSY); /* without asking */
    make_file(&w, "a.jpg", 3);
    assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), 0);
    end(&w);
}

/* Of thousands that wait for the next minute each would use up a look. */
static void what_a_limit_held_up_is_not_asked_about(void **state)
{
    static const struct answer script[] = {
        {200, "{\"upload_id\":\"Bx0xyTjt\",\"files\":[]}", "GET /uploads/Bx0xyTjt HTTP"},
        {429, "{\"error\":\"rate_limited\"}", "PUT"}};
    struct world w = {0};
    uint64_t     off = 77;

    (void)state;
    begin(&w, script, PM_COUNT(script));
    make_file(&w, "a.jpg", 3);
    for (int i = 0; i < 3; i++) { /* the second time without asking */
        assert_int_equal(pm_backend_resume(w.b, &w.ctx, &w.up, &off), 0);
        assert_int_equal(off, 0);
        assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), -EBUSY);
    }
    end(&w);
}

/* Nobody can be reached for a while: that is no reason to wait for an hour afterwards. */
static void what_reached_nobody_uses_up_no_limit(void **state)
{
    static const struct answer script[] = {{201, "{\"upload_id\":\"Bx0xyTjt\"}", "POST /uploads HTTP"}};
    struct world    w = {0};
    struct pm_draft d = {.name = "scan", .options = ""};
    char           *there;

    (void)state;
    begin(&w, script, PM_COUNT(script));
    there = w.account.endpoint;
    w.account.endpoint = (char *)"http://127.0.0.1:9";
    for (int i = 0; i < 40; i++)
        assert_int_equal(pm_draft_open(w.b, &w.ctx, &d), -ECONNREFUSED);
    w.account.endpoint = there;
    assert_int_equal(pm_draft_open(w.b, &w.ctx, &d), 0);
    free(d.session);
    end(&w);
}

static void what_is_no_list_of_a_session_is_no_empty_session(void **state)
{
    static const struct answer script[] = {{200, "{\"upload_id\":\"Bx0xyTjt\"}", "GET /uploads/Bx0xyTjt HTTP"}};
    struct world w = {0};
    uint64_t     off = 0;

    (void)state;
    begin(&w, script, PM_COUNT(script));
    make_file(&w, "a.jpg", 3);
    assert_int_equal(pm_backend_resume(w.b, &w.ctx, &w.up, &off), -EIO);
    end(&w);
}

static void a_gap_without_a_place_to_go_on_is_asked_about(void **state)
{
    static const struct answer script[] = {
        {409, "{\"error\":\"non_contiguous_chunk\"}", "PUT"},
        {200, "{\"files\":[]}", "GET /uploads/Bx0xyTjt HTTP"},
        {404, "{\"error\":\"file_not_found\"}", "GET /uploads/Bx0xyTjt/b.e57 HTTP"}};
    struct world w = {0};
    uint64_t     off = 5;

    (void)state;
    begin(&w, script, PM_COUNT(script));
    make_file(&w, "b.e57", 9);
    assert_int_equal(pm_backend_put(w.b, &w.ctx, &w.up, &off), -EAGAIN);
    assert_int_equal(pm_backend_resume(w.b, &w.ctx, &w.up, &off), 0);
    assert_int_equal(off, 0);
    end(&w);
}

static void a_key_that_may_not_list_projects_shows_those_made_here(void **state)
{
    static const struct answer script[] = {
        {403, "{\"error\":\"insufficient_scope\"}", "GET /projects HTTP"}};
    static const struct pm_entry root = {.kind = PM_FOLDER, .root = "", .id = "", .name = "", .path = "",
                                         .target = "", .version = "", .state = "",
                                         .size = PM_SIZE_UNKNOWN};
    struct world w = {0};

    (void)state;
    begin(&w, script, PM_COUNT(script));
    assert_int_equal(pm_backend_list(w.b, &w.ctx, &root, NULL, NULL), -EOPNOTSUPP);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_is_opened_and_expires),
        cmocka_unit_test(an_id_that_would_lead_elsewhere_is_none),
        cmocka_unit_test(the_service_s_words_become_errnos),
        cmocka_unit_test(a_session_of_an_earlier_process_is_looked_at_before_the_first_file),
        cmocka_unit_test(an_empty_file_that_is_not_taken_is_no_fault_of_the_line),
        cmocka_unit_test(a_small_file_goes_whole_and_a_big_one_in_pieces),
        cmocka_unit_test(after_a_break_it_goes_on_where_the_service_is),
        cmocka_unit_test(files_that_go_on_side_by_side_ask_once_for_all),
        cmocka_unit_test(a_gap_is_told_and_adopted),
        cmocka_unit_test(no_round_trip_is_spent_but_before_the_first_chunk_of_a_large_file),
        cmocka_unit_test(another_file_of_the_name_is_not_taken_for_ours),
        cmocka_unit_test(what_the_service_refused_once_is_refused_at_create),
        cmocka_unit_test(names_are_mapped_as_the_service_would),
        cmocka_unit_test(a_commit_sends_what_the_user_wants),
        cmocka_unit_test(long_names_that_begin_alike_are_told_apart),
        cmocka_unit_test(a_lost_commit_is_found_and_never_guessed),
        cmocka_unit_test(a_commit_tells_how_this_server_names_projects),
        cmocka_unit_test(on_a_bad_line_small_files_go_in_pieces_too),
        cmocka_unit_test(what_a_proxy_finds_too_long_goes_in_shorter_pieces),
        cmocka_unit_test(a_limit_of_one_kind_of_call_holds_no_others),
        cmocka_unit_test(what_a_limit_held_up_is_not_asked_about),
        cmocka_unit_test(what_reached_nobody_uses_up_no_limit),
        cmocka_unit_test(what_is_no_list_of_a_session_is_no_empty_session),
        cmocka_unit_test(a_gap_without_a_place_to_go_on_is_asked_about),
        cmocka_unit_test(a_key_that_may_not_list_projects_shows_those_made_here),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
