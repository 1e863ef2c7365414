/* Upload sessions, against a storage that keeps to api/notes.md 3.1 and is told how to go wrong. */
#include "backends/resumable.h"
#include "tests/unit/server.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define KIB  ((uint64_t)1024)
#define SIZE (1000 * KIB + 7)

struct answer {
    int         status; /* 0: the connection is reset */
    const char *more; /* header lines */
    const char *body;
    const char *wants; /* the request's head has it; NULL: anything */
};

struct world {
    struct pm_conf       conf;
    struct pm_net       *net;
    struct server       *server;
    struct pm_ctx        ctx;
    struct pm_upload     up;
    struct pm_entry      parent;
    uint64_t             progress;
    const struct answer *script;
    size_t               scripted;
    char                *session; /* an address of it */
    atomic_uint_least64_t got; /* bytes of all bodies */
};

static bool play(void *arg, const struct server_request *req, int fd)
{
    struct world        *w = arg;
    const struct answer *a = &w->script[req->n - 1];

    assert_null(strstr(req->head, "Authorization"));
    assert_null(strstr(req->head, "Content-Type"));
    assert_null(strstr(req->head, "Expect"));
    assert_null(strstr(req->head, "chunked"));
    w->got += req->body_len;
    if (req->n > w->scripted || (a->wants && !strstr(req->head, a->wants))) {
        print_message("request %u is %s\n", req->n, req->head);
        return server_reply(fd, 418, "", "not in the script");
    }
    if (!a->status) {
        server_reset(fd);
        return false;
    }
    return server_reply(fd, a->status, a->more ? a->more : "", a->body ? a->body : "");
}

static void count_progress(void *arg, uint64_t sent)
{
    struct world *w = arg;

    assert_true(sent >= w->progress);
    w->progress = sent;
}

static void begin(struct world *w, const struct answer *script, size_t count, uint64_t size)
{
    w->script = script;
    w->scripted = count;
    w->server = server_start(play, w);
    w->conf.op_timeout_ms = 5000;
    w->ctx.prio = PM_BACKGROUND;
    w->parent = (struct pm_entry){.kind = PM_FOLDER};
    w->up = (struct pm_upload){.parent = &w->parent, .name = "a.ply", .size = size,
                               .progress = count_progress, .arg = w};
    w->up.fd = memfd_create("pm", MFD_CLOEXEC);
    assert_int_equal(ftruncate(w->up.fd, (off_t)size), 0);
    w->session = pm_asprintf("%s/upload/b?uploadType=resumable&upload_id=s3cret", server_url(w->server));
    assert_int_equal(pm_net_open(&w->conf, &w->net), 0);
}

static void end(struct world *w)
{
    assert_int_equal(server_requests(w->server), w->scripted);
    assert_null(strstr(w->ctx.why, "s3cret"));
    pm_net_close(w->net);
    server_stop(w->server);
    close(w->up.fd);
    free(w->session);
}

static void the_kind_of_a_url_is_seen(void **state)
{
    static const struct {
        const char            *url;
        enum pm_resumable_kind kind, asked;
    } rows[] = {
        {"https://h/upload/storage/v1/b/x/o?uploadType=resumable&upload_id=AB", PM_RESUMABLE_SESSION,
         PM_RESUMABLE_SESSION},
        {"https://h/x/o?upload_id=AB&X-Goog-Signature=1", PM_RESUMABLE_SESSION, PM_RESUMABLE_SESSION},
        {"https://h/x/o?GoogleAccessId=a&Expires=1&Signature=b", PM_RESUMABLE_WHOLE, PM_RESUMABLE_START},
        {"https://h/x/o?X-Goog-SignedHeaders=host&X-Goog-Signature=1", PM_RESUMABLE_WHOLE, PM_RESUMABLE_WHOLE},
        {"https://h/x/o?X-Goog-SignedHeaders=host%3Bx-goog-resumable&X-Goog-Signature=1",
         PM_RESUMABLE_START, PM_RESUMABLE_START},
        {"https://h/upload_id=AB/o", PM_RESUMABLE_WHOLE, PM_RESUMABLE_WHOLE},
        {"https://h/o", PM_RESUMABLE_WHOLE, PM_RESUMABLE_WHOLE},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        assert_int_equal(pm_resumable_kind(rows[i].url, false), rows[i].kind);
        assert_int_equal(pm_resumable_kind(rows[i].url, true), rows[i].asked);
    }
}

static void a_mark_is_the_last_byte_kept_or_none(void **state)
{
    static const struct {
        const char *range;
        bool        good;
        uint64_t    held;
    } rows[] = {{"", true, 0},           {"bytes=0-0", true, 1},  {"bytes=0-262143", true, 262144},
                {"bytes=1-5", false, 0}, {"bytes=0-", false, 0},  {"bytes 0-5", false, 0},
                {"bytes=0--1", false, 0}, {"0-262143", true, 262144}, {"0-", false, 0}, {"1-5", false, 0},
                {"bytes=0-5,7-8", false, 0}, {"?", false, 0},
                {"bytes=0-99999999999999999999", false, 0}};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        uint64_t held = 0;

        assert_int_equal(pm_resumable_mark(rows[i].range, &held), rows[i].good);
        assert_int_equal(held, rows[i].held);
    }
}

static void what_a_session_says_of_itself(void **state)
{
    static const struct {
        struct answer a;
        int           err;
        uint64_t      held;
        bool          complete;
    } rows[] = {
        {{308, "Range: bytes=0-524287\r\n", NULL, "Content-Range: bytes */1024007\r\n"}, 0, 524288, false},
        {{308, NULL, NULL, "Content-Length: 0\r\n"}, 0, 0, false},
        {{308, "Range: bytes=0-9999999\r\n", NULL, NULL}, -EIO, 0, false},
        {{308, "Range: bytes=7-9\r\n", NULL, NULL}, -EIO, 0, false},
        {{200, NULL, "{\"size\":\"1024007\",\"crc32c\":\"n03x6A==\"}", NULL}, 0, SIZE, true},
        {{201, "x-goog-stored-content-length: 1024007\r\n", NULL, NULL}, 0, SIZE, true},
        {{200, NULL, NULL, NULL}, 0, SIZE, true},
        {{200, NULL, "{\"size\":\"5\"}", NULL}, -EBADMSG, 0, false},
        {{200, "x-goog-stored-content-length: 5\r\n", NULL, NULL}, -EBADMSG, 0, false},
        {{404, NULL, "<Error><Code>NoSuchUpload</Code></Error>", NULL}, -ESTALE, 0, false},
        {{410, NULL, NULL, NULL}, -ESTALE, 0, false},
        {{499, NULL, NULL, NULL}, -ESTALE, 0, false}, /* somebody cancelled it */
        {{503, NULL, "content-range", NULL}, -EAGAIN, 0, false},
        {{0, NULL, NULL, NULL}, -EAGAIN, 0, false},
        {{403, NULL, "<Error><Code>AccessDenied</Code>upload_id=s3cret", NULL}, -EACCES, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct world        w = {0};
        struct pm_resumable r = {0};

        begin(&w, &rows[i].a, 1, SIZE);
        assert_int_equal(pm_resumable_ask(w.net, &w.ctx, w.session, SIZE, &r), rows[i].err);
        assert_int_equal(r.held, rows[i].held);
        assert_int_equal(r.complete, rows[i].complete);
        assert_int_equal(w.got, 0);
        end(&w);
    }
}

static void the_rest_goes_in_one_put_and_the_digest_is_told(void **state)
{
    static const struct answer script[] = {
        {308, "Range: bytes=0-262143\r\n", NULL, "Content-Range: bytes 0-1024006/1024007\r\n"},
        {200, "x-goog-hash: crc32c=n03x6A==\r\n", NULL, "Content-Range: bytes 262144-1024006/1024007\r\n"}};
    struct world        w = {0};
    struct pm_resumable r = {0};

    (void)state;
    begin(&w, script, PM_COUNT(script), SIZE);
    assert_int_equal(pm_resumable_put(w.net, &w.ctx, w.session, &w.up, 0, 0, &r), 0);
    assert_int_equal(r.held, 262144); /* less than was sent */
    assert_false(r.complete);
    w.progress = 0;
    assert_int_equal(pm_resumable_put(w.net, &w.ctx, w.session, &w.up, r.held, 0, &r), 0);
    assert_true(r.complete);
    assert_int_equal(r.held, SIZE);
    assert_string_equal(r.digest, "crc32c=n03x6A==");
    assert_int_equal(w.progress, SIZE);
    assert_int_equal(w.got, SIZE + SIZE - 262144);
    end(&w);
}

static void chunks_are_multiples_but_the_last(void **state)
{
    static const struct answer script[] = {
        {308, "Range: bytes=0-524287\r\n", NULL, "Content-Range: bytes 0-524287/1024007\r\n"},
        {201, NULL, NULL, "Content-Range: bytes 524288-1024006/1024007\r\n"}};
    struct world        w = {0};
    struct pm_resumable r = {0};

    (void)state;
    begin(&w, script, PM_COUNT(script), SIZE);
    assert_int_equal(pm_resumable_put(w.net, &w.ctx, w.session, &w.up, 0, 2 * PM_RESUMABLE_UNIT, &r), 0);
    assert_int_equal(pm_resumable_put(w.net, &w.ctx, w.session, &w.up, r.held, 2 * PM_RESUMABLE_UNIT, &r),
                     0);
    assert_true(r.complete);
    assert_int_equal(w.got, SIZE);
    end(&w);
}

static void an_empty_content_is_a_put_of_nothing(void **state)
{
    static const struct answer script[] = {{200, NULL, "{\"size\":\"0\"}", "Content-Range: bytes */0\r\n"}};
    struct world        w = {0};
    struct pm_resumable r = {0};

    (void)state;
    begin(&w, script, 1, 0);
    assert_int_equal(pm_resumable_put(w.net, &w.ctx, w.session, &w.up, 0, 0, &r), 0);
    assert_true(r.complete);
    end(&w);
}

static void what_a_put_may_meet(void **state)
{
    static const struct {
        struct answer a;
        int           err;
    } rows[] = {
        {{308, NULL, NULL, NULL}, -EAGAIN}, /* nothing was kept */
        {{308, "Range: bytes=0-262143\r\n", NULL, NULL}, -EAGAIN}, /* no more than before */
        {{308, "Range: bytes=0-100\r\n", NULL, NULL}, -EAGAIN}, /* even less */
        {{404, NULL, NULL, NULL}, -ESTALE},
        {{410, NULL, NULL, NULL}, -ESTALE},
        {{503, NULL, "bad content-range", NULL}, -EAGAIN},
        {{500, NULL, NULL, NULL}, -EAGAIN},
        {{429, NULL, NULL, NULL}, -EBUSY},
        {{200, "x-goog-stored-content-length: 9\r\n", NULL, NULL}, -EBADMSG},
        {{0, NULL, NULL, NULL}, -EAGAIN},
        {{400, NULL, NULL, NULL}, -EINVAL},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct world        w = {0};
        struct pm_resumable r = {0};

        begin(&w, &rows[i].a, 1, SIZE);
        assert_int_equal(pm_resumable_put(w.net, &w.ctx, w.session, &w.up, 262144, 0, &r), rows[i].err);
        assert_true(*w.ctx.why);
        end(&w);
    }
}

static void a_session_that_ends_before_its_time_is_somebody_s(void **state)
{
    static const struct answer script[] = {{200, NULL, NULL, NULL}};
    struct world        w = {0};
    struct pm_resumable r = {0};

    (void)state;
    begin(&w, script, 1, SIZE);
    assert_int_equal(pm_resumable_put(w.net, &w.ctx, w.session, &w.up, 0, PM_RESUMABLE_UNIT, &r), -EBADMSG);
    end(&w);
}

static void a_session_is_opened_by_a_url_that_was_signed_for_it(void **state)
{
    static const struct {
        struct answer a;
        int           err;
    } rows[] = {
        {{201, "Location: http://127.0.0.1:9/o?upload_id=n\r\n", NULL, "x-goog-resumable: start\r\n"}, 0},
        {{201, NULL, NULL, "Content-Length: 0\r\n"}, -EIO},
        {{201, "Location: http://elsewhere.example/o?upload_id=n\r\n", NULL, NULL}, -EIO},
        {{400, NULL, "<Error><Code>ExpiredToken</Code></Error>", NULL}, -ESTALE},
        {{403, NULL, NULL, NULL}, -ESTALE},
        {{405, NULL, NULL, NULL}, -ESTALE},
        {{411, NULL, NULL, NULL}, -ESTALE},
        {{429, NULL, NULL, NULL}, -EBUSY},
        {{503, NULL, NULL, NULL}, -EAGAIN},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct world w = {0};
        char        *session = NULL;

        begin(&w, &rows[i].a, 1, SIZE);
        assert_int_equal(pm_resumable_start(w.net, &w.ctx, w.session, &session), rows[i].err);
        assert_true(!session == (rows[i].err != 0));
        if (session)
            assert_string_equal(session, "http://127.0.0.1:9/o?upload_id=n");
        free(session);
        end(&w);
    }
}

static void a_small_content_is_one_put_without_a_range(void **state)
{
    static const struct {
        struct answer a;
        int           err;
    } rows[] = {
        {{200, "x-goog-hash: crc32c=n03x6A==\r\nx-goog-hash: md5=Ojk9c3dhfxgoKVVHYwFbHQ==\r\n", NULL,
          "Content-Length: 1024007\r\n"}, 0},
        {{200, "x-goog-stored-content-length: 3\r\n", NULL, NULL}, -EBADMSG},
        {{400, NULL, "<Error><Code>ExpiredToken</Code></Error>", NULL}, -ESTALE},
        {{403, NULL, "<Error><Code>SignatureDoesNotMatch</Code></Error>", NULL}, -ESTALE},
        {{503, NULL, NULL, NULL}, -EAGAIN},
        {{0, NULL, NULL, NULL}, -EAGAIN},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct world        w = {0};
        struct pm_resumable r = {0};
        char               *head;

        begin(&w, &rows[i].a, 1, SIZE);
        assert_int_equal(pm_resumable_put_whole(w.net, &w.ctx, w.session, &w.up, &r), rows[i].err);
        assert_int_equal(r.complete, !rows[i].err);
        head = server_head(w.server, 1);
        assert_null(strstr(head, "Content-Range"));
        free(head);
        end(&w);
    }
}

static void a_session_that_is_given_up_is_gone(void **state)
{
    static const struct {
        int status, err;
    } rows[] = {{499, 0}, {404, 0}, {410, 0}, {204, 0}, {503, -EAGAIN}, {403, -EACCES}};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        const struct answer a = {rows[i].status, NULL, NULL, "DELETE "};
        struct world        w = {0};

        begin(&w, &a, 1, SIZE);
        assert_int_equal(pm_resumable_cancel(w.net, &w.ctx, w.session), rows[i].err);
        end(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kind_of_a_url_is_seen),
        cmocka_unit_test(a_mark_is_the_last_byte_kept_or_none),
        cmocka_unit_test(what_a_session_says_of_itself),
        cmocka_unit_test(the_rest_goes_in_one_put_and_the_digest_is_told),
        cmocka_unit_test(chunks_are_multiples_but_the_last),
        cmocka_unit_test(an_empty_content_is_a_put_of_nothing),
        cmocka_unit_test(what_a_put_may_meet),
        cmocka_unit_test(a_session_that_ends_before_its_time_is_somebody_s),
        cmocka_unit_test(a_session_is_opened_by_a_url_that_was_signed_for_it),
        cmocka_unit_test(a_small_content_is_one_put_without_a_range),
        cmocka_unit_test(a_session_that_is_given_up_is_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
