/* Contents as base64 in the middle of JSON, up and down. */
#include "backends/b64.h"

#include "backends/http.h"
#include "backends/json.h"
#include "tests/unit/server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

/* --- up */

#define HEAD "{\"fileName\":\"a.stl\",\"file\":\""
#define TAIL "\"}"

static int file_of(const void *data, size_t len)
{
    int fd = memfd_create("content", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pm_pwrite_all(fd, data, len, 0), len);
    return fd;
}

/* Bytes of which each value comes, and each pair. */
static char *some_bytes(size_t len)
{
    char *bytes = malloc(len);

    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(i * 7 + i / 256 * 13);
    return bytes;
}

static void check_body(const char *content, size_t len, bool percent, const char *wanted)
{
    PM_AUTO(close) int fd = file_of(content, len);
    struct pm_b64_body *b;
    char                buf[400];

    assert_int_equal(pm_b64_body_new(fd, len, HEAD, TAIL, percent, NULL, &b), 0);
    assert_int_equal(pm_b64_body_len(b), strlen(wanted));
    assert_int_equal(pm_b64_body_read(b, buf, sizeof(buf), 0), strlen(wanted));
    buf[strlen(wanted)] = '\0';
    assert_string_equal(buf, wanted);
    pm_b64_body_free(b);
}

static void a_file_becomes_the_middle_of_a_text(void **state)
{
    (void)state;
    check_body("", 0, true, HEAD TAIL);
    check_body("f", 1, false, HEAD "Zg==" TAIL); /* RFC 4648 10 */
    check_body("fo", 2, false, HEAD "Zm8=" TAIL);
    check_body("foo", 3, false, HEAD "Zm9v" TAIL);
    check_body("foobar", 6, true, HEAD "Zm9vYmFy" TAIL);
    check_body("f", 1, true, HEAD "Zg%3D%3D" TAIL);
    check_body("\xfb\xff\xfe", 3, false, HEAD "+//+" TAIL);
    check_body("\xfb\xff\xfe", 3, true, HEAD "%2B%2F%2F%2B" TAIL);
    check_body("\0\0\0\0", 4, true, HEAD "AAAAAA%3D%3D" TAIL);
}

/* Any offset, in any order: the same bytes. */
static void a_body_can_be_read_anywhere_and_again(void **state)
{
    const size_t        len = 100 * 1024 + 1;
    PM_AUTO(free) char *bytes = some_bytes(len);
    PM_AUTO(close) int  fd = file_of(bytes, len);
    PM_AUTO(free) char *whole = malloc(4 * len);
    struct pm_b64_body *b;
    char                part[300];
    ssize_t             total;

    (void)state;
    assert_int_equal(pm_b64_body_new(fd, len, HEAD, TAIL, true, NULL, &b), 0);
    total = pm_b64_body_read(b, whole, 4 * len, 0);
    assert_int_equal(total, pm_b64_body_len(b));
    assert_int_equal(pm_b64_body_done(b), len);
    for (uint64_t off = 0, n = 0; n < 400; n++, off = (off * 31 + 77) % (uint64_t)(total + 10)) {
        size_t  want = off < (uint64_t)total ? (size_t)((uint64_t)total - off) : 0;
        ssize_t got = pm_b64_body_read(b, part, sizeof(part), off);

        want = want < sizeof(part) ? want : sizeof(part);
        assert_int_equal(got, want);
        assert_memory_equal(part, whole + off, want);
    }
    assert_int_equal(pm_b64_body_read(b, part, 1, 0), 1);
    pm_b64_body_free(b);
}

static void a_file_that_changes_on_its_way_is_noticed(void **state)
{
    const size_t        len = 60 * 1024;
    PM_AUTO(free) char *bytes = calloc(1, len);
    PM_AUTO(close) int  fd = file_of(bytes, len);
    PM_AUTO(free) char *buf = malloc(3 * len);
    struct pm_b64_body *b;

    (void)state;
    assert_int_equal(pm_b64_body_new(fd, len + 1, HEAD, TAIL, true, NULL, &b), -EIO);
    assert_int_equal(pm_b64_body_new(fd, len, HEAD, TAIL, true, NULL, &b), 0);
    assert_int_equal(pm_pwrite_all(fd, "\xff\xff\xff", 3, 0), 3); /* needs more room */
    assert_int_equal(pm_b64_body_read(b, buf, 3 * len, 0), -EIO);
    assert_int_equal(pm_pwrite_all(fd, "\0\0\0", 3, 0), 3);
    assert_int_equal(pm_b64_body_read(b, buf, 3 * len, 0), pm_b64_body_len(b));
    assert_int_equal(ftruncate(fd, 1), 0);
    assert_int_equal(pm_b64_body_read(b, buf, 3 * len, 0), -EIO);
    pm_b64_body_free(b);
}

static void measuring_can_be_given_up(void **state)
{
    PM_AUTO(close) int  fd = file_of("abc", 3);
    atomic_bool         cancel = true;
    struct pm_b64_body *b;

    (void)state;
    assert_int_equal(pm_b64_body_new(fd, 3, "", "", true, &cancel, &b), -ECANCELED);
}

/* --- down */

struct got {
    struct pm_buf bytes;
    int           refuse_with; /* after the first bytes */
};

static int take(void *arg, const void *data, size_t len)
{
    struct got *g = arg;

    assert_true(len > 0);
    pm_buf_add(&g->bytes, data, len);
    return g->refuse_with;
}

/* Decodes, in chunks of `chunk` bytes. */
static int decode(const char *text, size_t chunk, struct got *g, struct cJSON **rest)
{
    struct pm_b64_cut *c = pm_b64_cut_new("fileData", take, g);
    size_t             len = strlen(text);
    int                err = 0;

    assert_non_null(c);
    for (size_t at = 0; at < len && !err; at += chunk)
        err = pm_b64_cut_feed(c, text + at, len - at < chunk ? len - at : chunk);
    *rest = pm_b64_cut_rest(c);
    if (!err && *rest && pm_b64_cut_found(c))
        assert_int_equal(pm_b64_cut_bytes(c), g->bytes.len);
    pm_b64_cut_free(c);
    return err;
}

static void one_member_is_decoded_in_every_spelling(void **state)
{
    static const struct {
        const char *text, *wanted;
    } rows[] = {
        {"{\"result\":\"success\",\"fileData\":\"Zm9vYmFy\"}", "foobar"},
        {"{\"fileData\":\"Zm9vYg==\",\"result\":\"success\"}", "foob"},
        {"\xef\xbb\xbf { \"fileData\" : \"Zm9vYmE=\" } \n", "fooba"},
        {"{\"fileData\":\"Zm9vYmE\"}", "fooba"}, /* without padding */
        {"{\"fileData\":\"Zm9v\\nYmFy\\r\\n\"}", "foobar"},
        {"{\"fileData\":\"Zm9v\nYmFy\"}", "foobar"},
        {"{\"fileData\":\"Zm9vYg\\r\\n==\\n\"}", "foob"},
        {"{\"fileData\":\"Pz8\\/Pz8\\/\"}", "??????"},
        {"{\"fileData\":\"Pz8/Pz8\\u002F\"}", "??????"},
        {"{\"fileData\":\"\\u0050z8%2fPz8%2F\"}", "??????"},
        {"{\"fileData\":\"fn5\\u002bfn5%2Bfg%3D%3d\"}", "~~~~~~~"},
        {"{\"fileData\":\"fn5+fn5+fg\\u003d\\u003D\"}", "~~~~~~~"},
        {"{\"fileData\":\"\"}", ""},
        {"{\"title\":\"fileData\",\"a\":\":\",\"x\":{\"fileData\":\"!\"},\"y\":[\"fileData\",\":\"],\"fileData\":\"Zm9v\"}", "foo"},
        {"{\"title\":\"\\\"fileData\\\":\\\"\",\"fileData\":\"Zm9v\"}", "foo"},
        {"{\"fileData\":null,\"fileData\":\"Zm9v\"}", "foo"},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        for (size_t chunk = 1; chunk < 99; chunk += chunk < 12 ? 1 : 40) {
            struct got    g = {0};
            struct cJSON *rest;

            if (decode(rows[i].text, chunk, &g, &rest) || !rest)
                fail_msg("row %zu in chunks of %zu", i, chunk);
            pm_buf_add(&g.bytes, "", 1);
            assert_string_equal(g.bytes.ptr, rows[i].wanted);
            pm_buf_free(&g.bytes);
            pm_json_free(rest);
        }
    }
}

static void what_is_no_base64_is_refused(void **state)
{
    static const char *const rows[] = {
        "{\"fileData\":\"Z\"}",          "{\"fileData\":\"Zm9vY\"}",      "{\"fileData\":\"Zg=\"}",
        "{\"fileData\":\"Zg===\"}",      "{\"fileData\":\"=\"}",          "{\"fileData\":\"Zg==Zg==\"}",
        "{\"fileData\":\"Zm9v Yg==\"}",  "{\"fileData\":\"Zm-_\"}",       "{\"fileData\":\"Zm%\"}",
        "{\"fileData\":\"Zm9%2\"}",      "{\"fileData\":\"Zm%zz\"}",      "{\"fileData\":\"Zm\\x00\"}",
        "{\"fileData\":\"Zm\\u00zz\"}",  "{\"fileData\":\"Zm\\u0141v\"}", "{\"fileData\":\"Zm\\u0000v\"}",
        "{\"fileData\":\"Zm\xc3\xa4v\"}", "{\"fileData\":\"Zm\x01\"}",    "{\"fileData\":\"<html>\"}",
        "{\"fileData\":\"Z\\\\m9\"}",    "[\"fileData\"]",                "<html></html>",
        "{\"fileData\":\"Zg==\"} x",
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        for (size_t chunk = 1; chunk < 99; chunk += 49) {
            struct got    g = {0};
            struct cJSON *rest;

            if (decode(rows[i], chunk, &g, &rest) != -EIO)
                fail_msg("row %zu in chunks of %zu", i, chunk);
            assert_null(rest);
            pm_buf_free(&g.bytes);
        }
    }
}

static void what_did_not_come_whole_is_told(void **state)
{
    static const char text[] = "{\"fileData\":\"Zm9v\",\"result\":\"success\"}";
    char              cut[sizeof(text)];

    (void)state;
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        struct got    g = {0};
        struct cJSON *rest;

        memcpy(cut, text, len);
        cut[len] = '\0';
        assert_int_equal(decode(cut, 7, &g, &rest), 0);
        assert_null(rest);
        pm_buf_free(&g.bytes);
    }
}

static void what_stands_around_it_is_kept(void **state)
{
    struct got    g = {0};
    struct cJSON *rest;
    uint64_t      n = 0;

    (void)state;
    assert_int_equal(decode("{\"fileName\":\"a\\/b.stl\",\"contentLength\":\"3\",\"fileData\":\"Zm9v\","
                            "\"fileMd5Checksum\":\"acbd\",\"materials\":{\"6\":{\"isActive\":1}}}",
                            5, &g, &rest), 0);
    assert_string_equal(pm_json_text(rest, "fileName"), "a/b.stl");
    assert_true(pm_json_u64(rest, "contentLength", &n));
    assert_int_equal(n, 3);
    assert_string_equal(pm_json_text(rest, "fileMd5Checksum"), "acbd");
    assert_string_equal(pm_json_text(rest, "fileData"), "");
    assert_string_equal(pm_json_name(pm_json_first(pm_json_get(rest, "materials"))), "6");
    pm_json_free(rest);
    pm_buf_free(&g.bytes);
}

static void who_takes_the_bytes_can_end_it(void **state)
{
    struct got    g = {.refuse_with = -ENOSPC};
    struct cJSON *rest;

    (void)state;
    assert_int_equal(decode("{\"fileData\":\"Zm9vYmFy\"}", 99, &g, &rest), -ENOSPC);
    assert_null(rest);
    pm_buf_free(&g.bytes);
}

static void no_member_is_told_from_an_empty_one(void **state)
{
    static const char *const texts[] = {"{\"result\":\"success\"}", "{\"fileData\":null}", "{\"fileData\":\"\"}"};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(texts); i++) {
        struct pm_b64_cut *c = pm_b64_cut_new("fileData", NULL, NULL);

        assert_int_equal(pm_b64_cut_feed(c, texts[i], strlen(texts[i])), 0);
        assert_int_equal(pm_b64_cut_found(c), i == 2);
        pm_b64_cut_free(c);
    }
}

static void what_stands_around_it_has_a_bound(void **state)
{
    PM_AUTO(free) char *much = malloc(2u << 20);
    struct pm_b64_cut  *c = pm_b64_cut_new("fileData", NULL, NULL);

    (void)state;
    memset(much, 'A', 2u << 20);
    assert_int_equal(pm_b64_cut_feed(c, "{\"fileData\":\"", 13), 0);
    assert_int_equal(pm_b64_cut_feed(c, much, 2u << 20), 0); /* the member has none */
    assert_int_equal(pm_b64_cut_feed(c, "\",\"x\":\"", 7), 0);
    assert_int_equal(pm_b64_cut_feed(c, much, 2u << 20), -EIO);
    assert_int_equal(pm_b64_cut_feed(c, "\"}", 2), -EIO);
    assert_null(pm_b64_cut_rest(c));
    pm_b64_cut_free(c);
}

/* --- there and back, over the wire, with a try that fails */

struct service {
    char  *body; /* owned; of the last try */
    size_t len;
};

static bool serve(void *arg, const struct server_request *req, int fd)
{
    struct service *s = arg;

    free(s->body);
    s->body = strdup(req->body);
    s->len = req->body_len;
    return server_reply(fd, req->n == 1 ? 503 : 200, "", "{}");
}

static void a_body_is_sent_whole_on_each_try(void **state)
{
    const size_t          len = 300 * 1024;
    PM_AUTO(free) char   *bytes = some_bytes(len);
    PM_AUTO(close) int    fd = file_of(bytes, len);
    struct service        s = {0};
    struct server        *server = server_start(serve, &s);
    PM_AUTO(free) char   *url = pm_asprintf("%s/models/v1", server_url(server));
    struct pm_conf        conf = {.op_timeout_ms = 10000};
    struct pm_http_file   file = {.fd = -1, .read = pm_b64_body_read};
    struct pm_http_request req = {.method = "POST", .url = url, .file = &file};
    struct pm_http_answer answer = {0};
    struct pm_ctx         ctx = {.prio = PM_INTERACTIVE};
    struct pm_b64_body   *b;
    struct pm_net        *net;
    struct pm_b64_cut    *c;
    struct got            g = {0};

    (void)state;
    assert_int_equal(pm_b64_body_new(fd, len, HEAD, TAIL, true, NULL, &b), 0);
    file.read_arg = b;
    file.len = pm_b64_body_len(b);
    assert_int_equal(pm_net_open(&conf, &net), 0);
    assert_int_equal(pm_http_call(net, &ctx, &req, &answer), 0);
    assert_int_equal(server_requests(server), 2);
    assert_int_equal(s.len, pm_b64_body_len(b));
    c = pm_b64_cut_new("file", take, &g);
    assert_int_equal(pm_b64_cut_feed(c, s.body, s.len), 0);
    assert_int_equal(g.bytes.len, len);
    assert_memory_equal(g.bytes.ptr, bytes, len);
    pm_b64_cut_free(c);
    pm_buf_free(&g.bytes);
    pm_http_answer_free(&answer);
    pm_net_close(net);
    server_stop(server);
    free(s.body);
    pm_b64_body_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_becomes_the_middle_of_a_text),
        cmocka_unit_test(a_body_can_be_read_anywhere_and_again),
        cmocka_unit_test(a_file_that_changes_on_its_way_is_noticed),
        cmocka_unit_test(measuring_can_be_given_up),
        cmocka_unit_test(one_member_is_decoded_in_every_spelling),
        cmocka_unit_test(what_is_no_base64_is_refused),
        cmocka_unit_test(what_did_not_come_whole_is_told),
        cmocka_unit_test(what_stands_around_it_is_kept),
        cmocka_unit_test(who_takes_the_bytes_can_end_it),
        cmocka_unit_test(no_member_is_told_from_an_empty_one),
        cmocka_unit_test(what_stands_around_it_has_a_bound),
        cmocka_unit_test(a_body_is_sent_whole_on_each_try),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
