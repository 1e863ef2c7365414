#include "backends/http.h"
#include "tests/unit/server.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

/* One test: a loop, and a server that answers by a script of its own. */
struct world {
    struct pm_conf  conf;
    struct pm_net  *net;
    struct server  *server;
    struct server  *other; /* for redirects */
    char            url[128];
    struct pm_ctx   ctx;
    struct pm_http_request req;
    struct pm_http_answer  answer;
};

static void up(struct world *w, server_fn *answer, void *arg)
{
    w->conf.op_timeout_ms = 20000;
    w->server = server_start(answer, arg);
    assert_int_equal(pm_net_open(&w->conf, &w->net), 0);
    snprintf(w->url, sizeof(w->url), "%s/x?secret=1", server_url(w->server));
    w->req.method = "GET";
    w->req.url = w->url;
}

static void down(struct world *w)
{
    pm_http_answer_free(&w->answer);
    pm_net_close(w->net);
    server_stop(w->server);
    if (w->other)
        server_stop(w->other);
}

static int call(struct world *w)
{
    return pm_http_call(w->net, &w->ctx, &w->req, &w->answer);
}

/* Answers statuses in turn; the last for ever. */
struct script {
    const int  *statuses;
    const char *more;
};

static bool by_script(void *arg, const struct server_request *req, int fd)
{
    const struct script *s = arg;
    unsigned             i = 0;

    while (i + 1 < req->n && s->statuses[i + 1])
        i++;
    return server_reply(fd, s->statuses[i], s->more ? s->more : "", "{\"title\":\"word\"}");
}

/* --- tables */

static void statuses_become_errnos(void **state)
{
    static const struct {
        long status;
        int  err;
        bool retry;
    } rows[] = {{200, 0, false},        {206, 0, false},         {302, -EIO, false},
                {400, -EINVAL, false},  {401, -EACCES, false},   {403, -EACCES, false},
                {404, -ENOENT, false},  {409, -EEXIST, false},   {408, -ETIMEDOUT, true},
                {413, -EFBIG, false},   {416, -ESTALE, false},   {418, -EINVAL, false},
                {425, -ETIMEDOUT, true}, {429, -EBUSY, true},    {500, -EIO, true},
                {503, -EIO, true},      {504, -ETIMEDOUT, true}, {507, -EDQUOT, false},
                {599, -EIO, true},      {0, -EIO, false},        {999, -EIO, false}};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        assert_int_equal(pm_http_judge_status(rows[i].status).err, rows[i].err);
        assert_int_equal(pm_http_judge_status(rows[i].status).retry, rows[i].retry);
    }
}

static void retry_after_is_seconds_or_a_date(void **state)
{
    int64_t ms;

    (void)state;
    assert_int_equal(pm_http_retry_after_ms("7", ""), 7000);
    assert_int_equal(pm_http_retry_after_ms("0", ""), 0);
    assert_int_equal(pm_http_retry_after_ms("", ""), 0);
    assert_int_equal(pm_http_retry_after_ms("soon", ""), 0);
    assert_int_equal(pm_http_retry_after_ms("-5", ""), 0);
    assert_int_equal(pm_http_retry_after_ms("99999999999999999999", ""), 24 * 3600 * 1000);
    assert_int_equal(pm_http_retry_after_ms("Fri, 01 Jan 1999 00:00:00 GMT", ""), 0);
    ms = pm_http_retry_after_ms("Fri, 01 Jan 2199 00:00:00 GMT", "");
    assert_int_equal(ms, 24 * 3600 * 1000);
}

static void a_date_to_wait_for_is_one_of_the_servers_clock(void **state)
{
    static const char now[] = "Fri, 01 Jan 2100 00:00:00 GMT"; /* whatever ours says */

    (void)state;
    assert_int_equal(pm_http_retry_after_ms("Fri, 01 Jan 2100 00:01:30 GMT", now), 90000);
    assert_int_equal(pm_http_retry_after_ms("Thu, 31 Dec 2099 23:00:00 GMT", now), 0);
    assert_int_equal(pm_http_retry_after_ms("7", now), 7000);
    assert_int_equal(pm_http_retry_after_ms("Fri, 01 Jan 1999 00:00:00 GMT", "no date"), 0);
}

static void origins_are_compared_in_one_form(void **state)
{
    static const char *const rows[][2] = {
        {"https://Example.COM/x", "https://example.com:443"},
        {"https://example.com:443", "https://example.com:443"},
        {"https://example.com:8443/?a#b", "https://example.com:8443"},
        {"http://127.0.0.1:80/", "http://127.0.0.1:80"},
        {"http://[::1]:8080/", "http://[::1]:8080"},
        {"http://localhost/", "http://localhost:80"},
        {"http://example.com/", NULL},
        {"http://127.0.0.1.evil.org/", NULL},
        {"https://user:pw@example.com/", NULL},
        {"ftp://example.com/", NULL},
        {"file:///etc/passwd", NULL},
        {"https://0%0%31", NULL},
        {"https://%311/", NULL},
        {"https://1/", "https://0.0.0.1:443"},
        {"", NULL},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        char *origin = pm_http_origin(rows[i][0]);

        if (rows[i][1])
            assert_string_equal(origin, rows[i][1]);
        else
            assert_null(origin);
        free(origin);
    }
}

/* --- retries */

static void interactive_calls_heal_after_some_500s(void **state)
{
    struct script s = {.statuses = (int[]){500, 503, 200, 0}};
    struct world  w = {0};

    (void)state;
    up(&w, by_script, &s);
    assert_int_equal(call(&w), 0);
    assert_int_equal(server_requests(w.server), 3);
    assert_string_equal(w.answer.body.ptr, "{\"title\":\"word\"}");
    assert_string_equal(w.ctx.why, "");
    down(&w);
}

static void definite_refusals_are_not_repeated(void **state)
{
    static const int rows[][2] = {{401, -EACCES}, {403, -EACCES}, {404, -ENOENT}, {409, -EEXIST}};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct script s = {.statuses = (int[]){rows[i][0], 0}};
        struct world  w = {0};

        up(&w, by_script, &s);
        assert_int_equal(call(&w), rows[i][1]);
        assert_int_equal(server_requests(w.server), 1);
        assert_int_equal(w.answer.status, rows[i][0]);
        assert_non_null(strstr(w.answer.body.ptr, "word"));
        down(&w);
    }
}

static void background_calls_try_once_more(void **state)
{
    struct script s = {.statuses = (int[]){500, 0}};
    struct world  w = {.ctx.prio = PM_BACKGROUND};

    (void)state;
    up(&w, by_script, &s);
    assert_int_equal(call(&w), -EIO);
    assert_int_equal(server_requests(w.server), 2);
    down(&w);
}

static void retry_after_holds_the_whole_host(void **state)
{
    struct script s = {.statuses = (int[]){429, 200, 0}, .more = "Retry-After: 2\r\n"};
    struct world  w = {.ctx.prio = PM_BACKGROUND};
    int64_t       start;

    (void)state;
    up(&w, by_script, &s);
    w.req.once = true; /* so that it does not wait by itself */
    assert_int_equal(call(&w), -EBUSY);
    assert_in_range(w.ctx.retry_ms, 1, 2000);
    w.req.once = false;
    w.ctx.prio = PM_INTERACTIVE;
    w.ctx.deadline_ms = pm_now_ms() + 1000;
    start = pm_now_ms();
    assert_int_equal(call(&w), -EBUSY); /* at once */
    assert_in_range(pm_now_ms() - start, 0, 900);
    assert_in_range(w.ctx.retry_ms, 1, 2000);
    assert_int_equal(server_requests(w.server), 1);
    w.ctx.deadline_ms = 0;
    assert_int_equal(call(&w), 0);
    assert_in_range(pm_now_ms() - start, 1000, 20000);
    down(&w);
}

static void an_interactive_call_does_not_wait_longer_than_op_timeout(void **state)
{
    struct script s = {.statuses = (int[]){429, 200, 0}, .more = "Retry-After: 60\r\n"};
    struct world  w = {.ctx.prio = PM_INTERACTIVE};
    int64_t       start = pm_now_ms();

    (void)state;
    up(&w, by_script, &s);
    w.ctx.deadline_ms = pm_now_ms() + 120000;
    assert_int_equal(call(&w), -EBUSY);
    assert_int_equal(call(&w), -EBUSY);
    assert_in_range(pm_now_ms() - start, 0, 10000);
    assert_in_range(w.ctx.retry_ms, 1, 60000);
    assert_non_null(strstr(w.ctx.why, "the service asked to wait until "));
    assert_int_equal(server_requests(w.server), 1);
    down(&w);
}

static char kept[256];

static int kv_get(void *arg, const char *key, char **out)
{
    (void)arg;
    (void)key;
    *out = *kept ? strdup(kept) : NULL;
    return 0;
}

static int kv_set(void *arg, const char *key, const char *value)
{
    (void)arg;
    (void)key;
    snprintf(kept, sizeof(kept), "%s", value);
    return 0;
}

static void retry_after_holds_after_a_restart(void **state)
{
    const struct pm_kv kv = {.get = kv_get, .set = kv_set};
    struct script      s = {.statuses = (int[]){429, 200, 0}, .more = "Retry-After: 60\r\n"};
    struct world       w = {.ctx.prio = PM_BACKGROUND};

    (void)state;
    up(&w, by_script, &s);
    pm_net_keep(w.net, &kv);
    assert_int_equal(call(&w), -EBUSY);
    pm_net_close(w.net);
    assert_int_equal(pm_net_open(&w.conf, &w.net), 0);
    pm_net_keep(w.net, &kv);
    assert_int_equal(call(&w), -EBUSY);
    assert_in_range(w.ctx.retry_ms, 1, 60000);
    assert_int_equal(server_requests(w.server), 1);
    down(&w);
}

static bool cut(void *arg, const struct server_request *req, int fd)
{
    (void)arg;
    (void)req;
    server_reset(fd);
    return false;
}

static void what_may_have_arrived_is_not_sent_twice(void **state)
{
    static const struct {
        int status; /* 0: the connection is cut */
        int err;
    } rows[] = {{0, -EAGAIN},   {500, -EAGAIN}, {502, -EAGAIN}, {409, -EEXIST},
                {413, -EFBIG}, {429, -EBUSY},  {507, -EDQUOT}};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct script s = {.statuses = (int[]){rows[i].status, 0}};
        struct world  w = {0};

        up(&w, rows[i].status ? by_script : cut, &s);
        w.req.method = "POST";
        w.req.once = true;
        assert_int_equal(call(&w), rows[i].err);
        assert_int_equal(server_requests(w.server), 1);
        down(&w);
    }
}

static void what_never_arrived_says_why(void **state)
{
    struct world w = {0};

    (void)state;
    up(&w, cut, NULL);
    w.req.method = "POST";
    w.req.once = true;
    w.req.url = "http://127.0.0.1:1/x"; /* nobody listens on tcpmux */
    w.ctx.prio = PM_BACKGROUND;
    assert_int_equal(call(&w), -ECONNREFUSED);
    w.req.url = "https://no-such-host.invalid/x";
    assert_int_equal(call(&w), -ENETUNREACH);
    w.req.url = "http://example.com/plain";
    assert_int_equal(call(&w), -EINVAL);
    down(&w);
}

static bool answer_then_cut(void *arg, const struct server_request *req, int fd)
{
    (void)arg;
    if (req->n == 1)
        return server_reply(fd, 200, "", "{}");
    return false; /* took it all, says nothing */
}

/* curl by itself repeats a request that dies on a reused connection. */
static void uploads_are_not_repeated_on_a_reused_connection(void **state)
{
    FILE               *content = tmpfile();
    struct pm_http_file file = {.fd = fileno(content), .field = "file", .name = "a.bin"};
    const uint64_t      sizes[] = {0, 50000, 100000, 2000000}; /* the last waits for 100 Continue */
    struct world        w = {0};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(sizes); i++) {
        w = (struct world){0};
        file.len = sizes[i];
        assert_int_equal(ftruncate(file.fd, (off_t)file.len), 0);
        up(&w, answer_then_cut, NULL);
        assert_int_equal(call(&w), 0);
        w.req.method = "POST";
        w.req.file = &file;
        w.req.once = true;
        assert_int_equal(call(&w), -EAGAIN);
        assert_int_equal(server_requests(w.server), 2);
        down(&w);
    }
    fclose(content);
}

/* --- uploads */

static bool keep_body(void *arg, const struct server_request *req, int fd)
{
    struct pm_buf *body = arg;

    pm_buf_free(body);
    pm_buf_add(body, req->body, req->body_len);
    return server_reply(fd, 200, "", "{}");
}

static void a_file_goes_as_multipart_with_its_name(void **state)
{
    static const struct {
        bool        backslash;
        const char *header;
    } rows[] = {{true, "filename=\"a \\\"b\\\" 100% \\\\ \xc3\xbc.bin\"\r\n"},
                {false, "filename=\"a %22b%22 100% \\ \xc3\xbc.bin\"\r\n"}};
    char                big[300000];
    FILE               *content = tmpfile();
    struct pm_http_file file = {.fd = fileno(content),
                                .len = sizeof(big),
                                .field = "file",
                                .name = "a \"b\" 100% \\ \xc3\xbc.bin"};
    struct pm_buf       body = {0};
    struct world        w = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = (char)(i * 7 + i / 251);
    assert_int_equal(pm_pwrite_all(file.fd, big, sizeof(big), 0), sizeof(big));
    up(&w, keep_body, &body);
    w.req = (struct pm_http_request){
        .method = "POST", .url = w.url, .file = &file, .content = true, .once = true};
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        file.backslash = rows[i].backslash;
        assert_int_equal(call(&w), 0);
        assert_non_null(memmem(body.ptr, body.len, rows[i].header, strlen(rows[i].header)));
        assert_non_null(memmem(body.ptr, body.len, "Content-Type: application/octet-stream", 38));
        assert_non_null(memmem(body.ptr, body.len, big, sizeof(big)));
    }
    file.name = "a\r\nX: y";
    assert_int_equal(call(&w), -EINVAL);
    pm_buf_free(&body);
    down(&w);
    fclose(content);
}

/* --- secrets */

static void tokens_go_to_their_own_origin_only(void **state)
{
    struct script       s = {.statuses = (int[]){200, 0}};
    struct world        w = {0};
    struct pm_http_auth auth = {.header = "Authorization: Bearer s3cret"};
    const char         *sly[] = {"authorization: Bearer s3cret", NULL};
    const char         *split[] = {"X: a\r\nAuthorization: Bearer s3cret", NULL};
    char               *head;

    (void)state;
    up(&w, by_script, &s);
    w.other = server_start(by_script, &s);
    auth.origin = server_url(w.server);
    w.req.auth = &auth;
    assert_int_equal(call(&w), 0);
    head = server_head(w.server, 1);
    assert_non_null(strstr(head, "\r\nAuthorization: Bearer s3cret\r\n"));
    free(head);
    snprintf(w.url, sizeof(w.url), "%s/x", server_url(w.other));
    assert_int_equal(call(&w), 0);
    head = server_head(w.other, 1);
    assert_null(strstr(head, "s3cret"));
    assert_null(strstr(head, "uthorization"));
    free(head);
    w.req.headers = sly;
    assert_int_equal(call(&w), -EINVAL);
    w.req.headers = split;
    assert_int_equal(call(&w), -EINVAL);
    assert_int_equal(server_requests(w.other), 1);
    down(&w);
}

/* --- bounds */

static bool big_answer(void *arg, const struct server_request *req, int fd)
{
    static char chunk[65536];
    const int  *what = arg;

    (void)req;
    memset(chunk, 'x', sizeof(chunk));
    if (*what == 1) { /* endless headers */
        if (!server_say(fd, "HTTP/1.1 200 OK\r\n"))
            return false;
        while (server_say(fd, "X-Header: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n"))
            ;
    } else if (*what == 2) { /* an endless body */
        if (!server_say(fd, "HTTP/1.1 200 OK\r\n\r\n"))
            return false;
        while (server_send(fd, chunk, sizeof(chunk)))
            ;
    } else if (*what == 3) { /* no HTTP */
        server_say(fd, "\x16\x03\x01 hello\n\n");
    } else if (*what == 4) { /* cut in the body */
        server_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
    }
    return false;
}

static void monstrous_answers_are_refused(void **state)
{
    (void)state;
    for (int what = 1; what <= 4; what++) {
        struct world w = {.ctx.prio = PM_BACKGROUND};

        up(&w, big_answer, &what);
        assert_int_equal(call(&w), -EIO);
        assert_true(w.answer.body.len <= 4u << 20);
        down(&w);
    }
}

static bool silent(void *arg, const struct server_request *req, int fd)
{
    char c;

    (void)arg;
    (void)req;
    server_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
    return recv(fd, &c, 1, 0) == 1; /* until the client has gone */
}

static void *cancel_soon(void *arg)
{
    usleep(200000);
    atomic_store((atomic_bool *)arg, true);
    return NULL;
}

static void a_cancel_ends_a_call_soon(void **state)
{
    atomic_bool  cancel = false;
    struct world w = {.ctx.cancel = &cancel};
    pthread_t    thread;
    int64_t      start = pm_now_ms();

    (void)state;
    up(&w, silent, NULL);
    assert_int_equal(pm_thread_start(&thread, "cancel", cancel_soon, &cancel), 0);
    assert_int_equal(call(&w), -ECANCELED);
    assert_in_range(pm_now_ms() - start, 100, 10000);
    pthread_join(thread, NULL);
    down(&w);
}

static void a_deadline_ends_a_call(void **state)
{
    struct world w = {0};
    int64_t      start = pm_now_ms();

    (void)state;
    up(&w, silent, NULL);
    w.ctx.deadline_ms = start + 300;
    assert_int_equal(call(&w), -ETIMEDOUT);
    assert_in_range(pm_now_ms() - start, 300, 10000);
    down(&w);
}

static void silence_ends_a_call_without_deadline(void **state)
{
    struct world w = {.ctx.prio = PM_BACKGROUND};
    int64_t      start = pm_now_ms();

    (void)state;
    up(&w, silent, NULL);
    w.req.stall_ms = 200;
    w.req.once = true;
    assert_int_equal(call(&w), -EAGAIN);
    assert_in_range(pm_now_ms() - start, 200, 10000);
    down(&w);
}

static void *call_in_thread(void *arg)
{
    struct world *w = arg;

    return (void *)(intptr_t)call(w);
}

static void closing_the_loop_ends_every_call(void **state)
{
    struct world w = {0};
    pthread_t    thread;
    void        *result;

    (void)state;
    up(&w, silent, NULL);
    assert_int_equal(pm_thread_start(&thread, "caller", call_in_thread, &w), 0);
    usleep(100000);
    pm_net_close(w.net);
    w.net = NULL;
    pthread_join(thread, &result);
    assert_int_equal((int)(intptr_t)result, -ECANCELED);
    down(&w);
}

static void who_asks_a_stopped_loop_is_answered(void **state)
{
    struct world w = {0};

    (void)state;
    up(&w, silent, NULL);
    pm_net_stop(w.net);
    assert_int_equal(call(&w), -ECANCELED);
    assert_int_equal(pm_http_hold_ms(w.net, "http://127.0.0.1:1"), 0);
    pm_net_stop(w.net);
    down(&w);
}

/* --- streaming */

static bool eight_mib(void *arg, const struct server_request *req, int fd)
{
    static char chunk[65536];

    (void)arg;
    (void)req;
    server_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n");
    for (int i = 0; i < 128; i++)
        if (!server_send(fd, chunk, sizeof(chunk)))
            return false;
    return true;
}

struct slow {
    size_t got;
    size_t largest;
    size_t stop_at;
};

static int take_slowly(void *arg, const void *buf, size_t len)
{
    struct slow *s = arg;

    (void)buf;
    if (s->got == 0)
        usleep(300000);
    s->got += len;
    if (len > s->largest)
        s->largest = len;
    return s->stop_at && s->got >= s->stop_at ? -EINTR : 0;
}

static void a_slow_reader_gets_all_in_bounded_pieces(void **state)
{
    struct slow  slow = {0};
    struct world w = {0};

    (void)state;
    up(&w, eight_mib, NULL);
    w.req.data = take_slowly;
    w.req.arg = &slow;
    w.req.limit = UINT64_MAX;
    assert_int_equal(call(&w), 0);
    assert_int_equal(slow.got, 8u << 20);
    assert_in_range(slow.largest, 1, 1u << 20);
    slow = (struct slow){.stop_at = 1000};
    assert_int_equal(call(&w), -EINTR);
    down(&w);
}

static void downloads_keep_to_the_limit(void **state)
{
    struct slow  slow = {0};
    struct world w = {.conf.limit_down = 8u << 20};
    int64_t      start;

    (void)state;
    up(&w, eight_mib, NULL);
    w.req.data = take_slowly;
    w.req.arg = &slow;
    w.req.limit = UINT64_MAX;
    start = pm_now_ms();
    assert_int_equal(call(&w), 0);
    assert_int_equal(slow.got, 8u << 20);
    assert_in_range(pm_now_ms() - start, 600, 20000);
    down(&w);
}

static void uploads_keep_to_the_limit(void **state)
{
    FILE               *content = tmpfile();
    struct pm_http_file file = {
        .fd = fileno(content), .len = 4u << 20, .field = "file", .name = "a"};
    struct pm_buf       body = {0};
    struct world        w = {.conf.limit_up = 4u << 20};
    int64_t             start;

    (void)state;
    assert_int_equal(ftruncate(file.fd, 4 << 20), 0);
    up(&w, keep_body, &body);
    w.req.method = "POST";
    w.req.file = &file;
    start = pm_now_ms();
    assert_int_equal(call(&w), 0);
    assert_in_range(pm_now_ms() - start, 600, 20000);
    assert_in_range(body.len, 4u << 20, (4u << 20) + 1000);
    pm_buf_free(&body);
    down(&w);
    fclose(content);
}

static void *many_calls(void *arg)
{
    const struct world *w = arg;
    intptr_t            good = 0;

    for (int i = 0; i < 25; i++) {
        struct pm_ctx         ctx = {0};
        struct pm_http_answer answer = {0};

        good += pm_http_call(w->net, &ctx, &w->req, &answer) == 0;
        pm_http_answer_free(&answer);
    }
    return (void *)good;
}

static void many_threads_share_the_loop(void **state)
{
    struct script s = {.statuses = (int[]){200, 0}};
    struct world  w = {0};
    pthread_t     threads[8];
    void         *good;

    (void)state;
    up(&w, by_script, &s);
    for (size_t i = 0; i < PM_COUNT(threads); i++)
        assert_int_equal(pm_thread_start(&threads[i], "caller", many_calls, &w), 0);
    for (size_t i = 0; i < PM_COUNT(threads); i++) {
        pthread_join(threads[i], &good);
        assert_int_equal((intptr_t)good, 25);
    }
    assert_int_equal(server_requests(w.server), 200);
    down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses_become_errnos),
        cmocka_unit_test(retry_after_is_seconds_or_a_date),
        cmocka_unit_test(origins_are_compared_in_one_form),
        cmocka_unit_test(interactive_calls_heal_after_some_500s),
        cmocka_unit_test(definite_refusals_are_not_repeated),
        cmocka_unit_test(background_calls_try_once_more),
        cmocka_unit_test(a_date_to_wait_for_is_one_of_the_servers_clock),
        cmocka_unit_test(retry_after_holds_the_whole_host),
        cmocka_unit_test(an_interactive_call_does_not_wait_longer_than_op_timeout),
        cmocka_unit_test(retry_after_holds_after_a_restart),
        cmocka_unit_test(what_may_have_arrived_is_not_sent_twice),
        cmocka_unit_test(what_never_arrived_says_why),
        cmocka_unit_test(uploads_are_not_repeated_on_a_reused_connection),
        cmocka_unit_test(a_file_goes_as_multipart_with_its_name),
        cmocka_unit_test(tokens_go_to_their_own_origin_only),
        cmocka_unit_test(monstrous_answers_are_refused),
        cmocka_unit_test(a_cancel_ends_a_call_soon),
        cmocka_unit_test(a_deadline_ends_a_call),
        cmocka_unit_test(silence_ends_a_call_without_deadline),
        cmocka_unit_test(closing_the_loop_ends_every_call),
        cmocka_unit_test(who_asks_a_stopped_loop_is_answered),
        cmocka_unit_test(a_slow_reader_gets_all_in_bounded_pieces),
        cmocka_unit_test(downloads_keep_to_the_limit),
        cmocka_unit_test(uploads_keep_to_the_limit),
        cmocka_unit_test(many_threads_share_the_loop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
