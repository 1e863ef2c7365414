/* What SmartShape's answers mean, against a server that gives them literally. */
#include "backends/http.h"
#include "tests/unit/server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

struct world {
    struct pm_conf         conf;
    struct pm_secret       secret;
    struct pm_account_conf account;
    struct pm_net         *net;
    struct server         *server;
    struct pm_backend     *b;
    struct pm_ctx          ctx;
};

static const struct pm_entry root = {.kind = PM_FOLDER, .root = "", .id = "", .name = "",
                                     .path = "", .target = "", .version = "", .state = "",
                                     .size = PM_SIZE_UNKNOWN};
static const struct pm_entry cube = {.kind = PM_FILE, .root = "", .id = "59b0", .name = "cube.scene",
                                     .path = "Cubes/cube.scene", .target = "", .version = "",
                                     .state = "", .size = 4};

static void up(struct world *w, server_fn *answer, void *arg, const char *how, const char *token)
{
    w->server = server_start(answer, arg);
    w->secret = (struct pm_secret){(char *)"token", (char *)how, (char *)token};
    w->account = (struct pm_account_conf){.name = (char *)"a",
                                          .type = (char *)"smartshape",
                                          .endpoint = (char *)server_url(w->server),
                                          .secrets = &w->secret,
                                          .nsecrets = 1};
    w->conf.op_timeout_ms = 5000;
    assert_int_equal(pm_net_open(&w->conf, &w->net), 0);
    assert_int_equal(pm_backend_open(&w->account, w->net, NULL, &w->b), 0);
}

static void down(struct world *w)
{
    pm_backend_close(w->b);
    pm_net_close(w->net);
    server_stop(w->server);
}

struct answer {
    int         status;
    const char *body;
};

static bool literally(void *arg, const struct server_request *req, int fd)
{
    const struct answer *a = arg;

    (void)req;
    return server_reply(fd, a->status, "", a->body);
}

static int stat_cube(struct world *w, struct pm_entry **out)
{
    return pm_backend_stat(w->b, &w->ctx, &cube, out);
}

static void details_are_read_in_any_shape(void **state)
{
    static const char *const bodies[] = {
        ("{\"data\":{\"id\":\"59b0\",\"name\":\"cube.scene\",\"type\":\"file\",\"state\":"
         "\"converted\",\"updated\":1504713316948,\"created\":1504713263521,\"size\":8682008,"
         "\"path\":\"/Cubes/cube.scene\"}}"),
        ("{\"_id\":\"59b0\",\"name\":\"cube.scene\",\"type\":\"file\",\"state\":\"converted\","
         "\"updated\":\"1504713316948\",\"created\":\"2017-09-06T15:54:23.521Z\",\"size\":"
         "\"8682008\",\"key\":\"/Cubes/cube.scene\",\"owner\":7}"),
        ("{\"success\":true,\"data\":{\"id\":\"59b0\",\"name\":\"cube.scene\",\"state\":"
         "\"converted\",\"updated\":1504713316948.0,\"created\":1504713263521,\"size\":8682008}}"),
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(bodies); i++) {
        struct answer    a = {200, bodies[i]};
        struct world     w = {0};
        struct pm_entry *e = NULL;

        up(&w, literally, &a, "", "t");
        assert_int_equal(stat_cube(&w, &e), 0);
        assert_string_equal(e->id, "59b0");
        assert_string_equal(e->name, "cube.scene");
        assert_string_equal(e->path, "Cubes/cube.scene");
        assert_string_equal(e->version, "u:8682008:1504713316948");
        assert_int_equal(e->size, 8682008);
        assert_int_equal(e->btime_ms, 1504713263521);
        assert_false(e->settling);
        free(e);
        down(&w);
    }
}

static void errors_become_errnos_with_the_service_s_word(void **state)
{
    static const struct {
        struct answer a;
        int           err;
        const char   *why;
    } rows[] = {
        {{404, "{\"status\":404,\"title\":\"Not found\",\"detail\":\"no file\"}"}, -ENOENT, "no file"},
        {{400, "{\"error\":{\"status\":400,\"title\":\"File does not exist\"}}"}, -ENOENT,
         "File does not exist"},
        /* nothing is made: no name is taken */
        {{400, "{\"errors\":[{\"detail\":\"File already exists\"}]}"}, -EBUSY,
         "File already exists"},
        {{400, "{\"status\":400,\"title\":\"x\",\"code\":\"FILE_ALREADY_EXISTS\"}"}, -EBUSY, "x"},
        {{400, "{\"error\":\"bad id\"}"}, -EINVAL, "bad id"},
        {{503, "{\"error\":{\"status\":400,\"detail\":\"bad\"}}"}, -EINVAL, "bad"},
        {{200, "{\"success\":false,\"status\":403,\"title\":\"no\"}"}, -EACCES, "no"},
        {{200, "{\"success\":false}"}, -EIO, ""},
        {{403, "<html>"}, -EACCES, "HTTP 403"},
        {{200, "<html>"}, -EIO, "the answer is no JSON"},
        {{200, ""}, -EIO, "the answer is no JSON"},
        {{200, "[1]"}, -EIO, "the details are no object"},
        {{200, "{\"data\":{}}"}, -EIO, "the details lack a name"},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct answer    a = rows[i].a;
        struct world     w = {.ctx.prio = PM_BACKGROUND};
        struct pm_entry *e = NULL;

        up(&w, literally, &a, "", "t");
        assert_int_equal(stat_cube(&w, &e), rows[i].err);
        assert_string_equal(w.ctx.why, rows[i].why);
        down(&w);
    }
}

static bool second_token(void *arg, const struct server_request *req, int fd)
{
    (void)arg;
    if (!strstr(req->head, "Authorization: Bearer two\r\n"))
        return server_reply(fd, 401, "", "{\"title\":\"old\"}");
    if (strstr(req->head, "/download/"))
        return server_reply(fd, 200, "", "abcd");
    return server_reply(fd, 200, "", "{\"id\":\"59b0\",\"name\":\"cube.scene\",\"size\":4}");
}

/* A token command that gives "one" first and "two" from then on. */
static char *make_command(const char *dir)
{
    return pm_asprintf("if [ -e %s/x ]; then echo two; else echo one; touch %s/x; fi", dir, dir);
}

static void remove_dir(const char *dir)
{
    char path[100];

    snprintf(path, sizeof(path), "%s/x", dir);
    unlink(path);
    rmdir(dir);
}

static void a_refused_token_is_got_anew_once(void **state)
{
    char             dir[] = "/tmp/pm-token-XXXXXX", *command;
    struct world     w = {0};
    struct pm_entry *e = NULL;

    (void)state;
    assert_non_null(mkdtemp(dir));
    command = make_command(dir);
    up(&w, second_token, NULL, "command", command);
    assert_int_equal(stat_cube(&w, &e), 0);
    free(e);
    assert_int_equal(stat_cube(&w, &e), 0);
    assert_int_equal(server_requests(w.server), 3);
    free(e);
    down(&w);
    remove_dir(dir);
    free(command);
}

static void a_token_that_stays_refused_is_not_sent_again(void **state)
{
    struct answer    a = {401, "{\"title\":\"who are you\"}"};
    struct world     w = {0};
    struct pm_entry *e = NULL;

    (void)state;
    up(&w, literally, &a, "", "s3cret");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(stat_cube(&w, &e), -EACCES);
        assert_memory_equal(w.ctx.why, "token refused: ", 15);
        assert_null(strstr(w.ctx.why, "s3cret"));
    }
    assert_int_equal(server_requests(w.server), 1);
    down(&w);
}

struct kept {
    pthread_mutex_t lock;
    pthread_cond_t  over;
    struct pm_buf   bytes;
    bool            done;
    int             err;
};

static int kept_begin(void *arg, const struct pm_answer *answer)
{
    (void)arg;
    (void)answer;
    return 0;
}

static int kept_data(void *arg, const void *buf, size_t len)
{
    pm_buf_add(&((struct kept *)arg)->bytes, buf, len);
    return 0;
}

static void kept_done(void *arg, int err, const char *why)
{
    struct kept *k = arg;

    (void)why;
    PM_GUARD(&k->lock);
    k->err = err;
    k->done = true;
    pthread_cond_signal(&k->over);
}

/* Two files are open when the token dies: one new token serves both. */
static void downloads_renew_the_token_once(void **state)
{
    static const struct pm_sink sink = {kept_begin, kept_data, kept_done};
    char                        dir[] = "/tmp/pm-token-XXXXXX", *command;
    struct world                w = {0};
    struct pm_source           *sources[2];
    struct kept                 kept[2] = {0};

    (void)state;
    assert_non_null(mkdtemp(dir));
    command = make_command(dir);
    up(&w, second_token, NULL, "command", command);
    for (int i = 0; i < 2; i++) {
        pthread_mutex_init(&kept[i].lock, NULL);
        pm_cond_init(&kept[i].over);
        assert_int_equal(pm_source_open(w.b, &cube, &sources[i]), 0);
        pm_fetch(sources[i], 0, 4, PM_INTERACTIVE, NULL, &sink, &kept[i]);
    }
    for (int i = 0; i < 2; i++) {
        pthread_mutex_lock(&kept[i].lock);
        while (!kept[i].done)
            pthread_cond_wait(&kept[i].over, &kept[i].lock);
        pthread_mutex_unlock(&kept[i].lock);
        assert_int_equal(kept[i].err, 0);
        assert_string_equal(kept[i].bytes.ptr, "abcd");
        pm_buf_free(&kept[i].bytes);
        pm_source_close(sources[i]);
    }
    down(&w);
    remove_dir(dir);
    free(command);
}

static int keep_names(void *arg, const struct pm_entry *e)
{
    pm_buf_printf(arg, "%s|%s|%d|%s;", e->name, e->path, e->settling, e->version);
    return 0;
}

static void lists_keep_strange_names_apart(void **state)
{
    struct answer a = {
        200, "[{\"id\":\"1\",\"type\":\"dir\",\"name\":\"a\\u0000b\"},"
             "{\"id\":\"2\",\"type\":\"file\",\"name\":\"a\",\"size\":1,\"updated\":5,\"state\":"
             "\"copying\"},{\"id\":\"3\",\"type\":\"file\",\"name\":\"../x\",\"revisionDate\":"
             "\"2018\"},{\"id\":\"4\"},{\"type\":\"file\",\"path\":\"/d/only path\"}]"};
    struct world  w = {0};
    struct pm_buf names = {0};

    (void)state;
    pm_log_level(PM_ERROR);
    up(&w, literally, &a, "", "t");
    assert_int_equal(pm_backend_list(w.b, &w.ctx, &root, keep_names, &names), 0);
    assert_string_equal(names.ptr, "a\xc0\x80"
                                   "b|a%C0%80b|0|;a|a|1|u:1:5;../x|..%2Fx|0|u:0:0 r:2018;"
                                   "|/|0|u:0:0;only path|only%20path|0|u:0:0;");
    pm_buf_free(&names);
    down(&w);
}

/* Such a path could mean another object to the service. */
static void paths_that_mislead_are_not_sent(void **state)
{
    static const char *const paths[] = {"..%2Fx", "a/..", "./a", "a/../b", "a%2fb", "a//b", "a%00", "/", "a/"};
    struct answer            a = {200, "{\"success\":true}"};
    struct world             w = {0};

    (void)state;
    up(&w, literally, &a, "", "t");
    for (size_t i = 0; i < PM_COUNT(paths); i++) {
        struct pm_entry e = cube;

        e.path = paths[i];
        assert_int_equal(pm_backend_remove(w.b, &w.ctx, &e), -EINVAL);
    }
    assert_int_equal(server_requests(w.server), 0);
    assert_int_equal(pm_backend_remove(w.b, &w.ctx, &cube), 0);
    down(&w);
}

/* resume, when another has taken the name meanwhile. */
static void resume_does_not_take_what_is_not_ours(void **state)
{
    static const struct {
        const char *state;
        const char *list;
        int         err;
        uint64_t    off;
    } rows[] = {
        {"{\"started\":1,\"sent\":1}", "[]", 0, 0},
        {"{\"started\":1,\"sent\":1}", "[{\"id\":\"9\",\"type\":\"file\",\"name\":\"n\",\"size\":5}]",
         0, 5},
        {"{\"started\":1,\"sent\":1}", "[{\"id\":\"9\",\"type\":\"file\",\"name\":\"n\",\"size\":6}]",
         -EEXIST, 0},
        {"{\"started\":1,\"sent\":9999999999999}",
         "[{\"id\":\"9\",\"type\":\"file\",\"name\":\"n\",\"size\":2}]", -EAGAIN, 0},
        {"{\"started\":1,\"sent\":1}", "[{\"id\":\"9\",\"type\":\"dir\",\"name\":\"n\"}]", -EEXIST, 0},
        {"{\"started\":1,\"sent\":1}", "[{\"id\":\"9\"", -EIO, 0},
        {"garbage", "[]", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct answer    a = {200, rows[i].list};
        struct world     w = {0};
        struct pm_upload u = {.parent = &root, .name = "n", .fd = 0, .size = 5};
        uint64_t         off = 0;

        up(&w, literally, &a, "", "t");
        u.state = strdup(rows[i].state);
        assert_int_equal(pm_backend_resume(w.b, &w.ctx, &u, &off), rows[i].err);
        assert_int_equal(off, rows[i].off);
        free(u.state);
        down(&w);
    }
}

/* The service's clock is an hour ahead; "n" was made `ms` after this moment. */
struct dated {
    int64_t ms;
    bool    told; /* when it was made */
};

static bool with_a_date(void *arg, const struct server_request *req, int fd)
{
    const struct dated *d = arg;
    int64_t             now_ms = pm_wall_ms() + 3600000;
    time_t              now = (time_t)(now_ms / 1000);
    char                date[80], created[40] = "", body[300];
    struct tm           tm;

    strftime(date, sizeof(date), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", gmtime_r(&now, &tm));
    if (d->told)
        snprintf(created, sizeof(created), ",\"created\":%lld", (long long)(now_ms + d->ms));
    snprintf(body, sizeof(body), "%s{\"id\":\"9\",\"type\":\"file\",\"path\":\"/n\",\"name\":\"n\",\"size\":0%s}%s",
             strstr(req->head, "/dir/") ? "[" : "", created, strstr(req->head, "/dir/") ? "]" : "");
    return server_reply(fd, 200, date, body);
}

/* An upload of an empty file whose answer was lost; then it is not wanted any more. */
static void only_what_is_certainly_ours_is_removed(void **state)
{
    static const struct {
        struct dated d;
        int          err; /* of resume */
        bool         removed;
    } rows[] = {
        {{0, true}, 0, true},
        {{0, false}, 0, false}, /* who knows when */
        {{-60000, true}, -EEXIST, false}, /* before we began */
        {{600000, true}, 0, false}, /* long after */
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct dated     d = rows[i].d;
        struct world     w = {0};
        struct pm_upload u = {.parent = &root, .name = "n", .fd = 0, .size = 0};
        uint64_t         off = 0;
        bool             removed = false;

        up(&w, with_a_date, &d, "", "t");
        u.state = pm_asprintf("{\"started\":%lld,\"sent\":%lld}", (long long)pm_wall_ms(),
                              (long long)pm_wall_ms());
        assert_int_equal(pm_backend_resume(w.b, &w.ctx, &u, &off), rows[i].err);
        assert_int_equal(pm_backend_abort(w.b, &w.ctx, &u), 0);
        for (unsigned n = 1; n <= server_requests(w.server); n++) {
            char *head = server_head(w.server, n);

            removed = removed || !strncmp(head, "DELETE ", 7);
            free(head);
        }
        assert_int_equal(removed, rows[i].removed);
        free(u.state);
        down(&w);
    }
}

/* What was found by name alone is not updated when it becomes something else. */
static void what_may_be_anothers_is_not_updated(void **state)
{
    struct answer    a = {200, "{\"id\":\"9\",\"type\":\"file\",\"name\":\"n\",\"size\":6}"};
    struct world     w = {0};
    struct pm_upload u = {.parent = &root, .name = "n", .fd = 0, .size = 5};
    uint64_t         off = 0;

    (void)state;
    up(&w, literally, &a, "", "t");
    u.state = strdup("{\"started\":1,\"sent\":1,\"id\":\"9\",\"found\":true}");
    assert_int_equal(pm_backend_resume(w.b, &w.ctx, &u, &off), -EEXIST);
    free(u.state);
    u.state = strdup("{\"started\":1,\"sent\":1,\"id\":\"9\"}");
    assert_int_equal(pm_backend_resume(w.b, &w.ctx, &u, &off), 0);
    assert_int_equal(off, 0);
    free(u.state);
    down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(details_are_read_in_any_shape),
        cmocka_unit_test(errors_become_errnos_with_the_service_s_word),
        cmocka_unit_test(a_refused_token_is_got_anew_once),
        cmocka_unit_test(a_token_that_stays_refused_is_not_sent_again),
        cmocka_unit_test(downloads_renew_the_token_once),
        cmocka_unit_test(lists_keep_strange_names_apart),
        cmocka_unit_test(paths_that_mislead_are_not_sent),
        cmocka_unit_test(resume_does_not_take_what_is_not_ours),
        cmocka_unit_test(only_what_is_certainly_ours_is_removed),
        cmocka_unit_test(what_may_be_anothers_is_not_updated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
