/* Signatures as the RFC, its erratum, public guides and our own recomputation have them (api/notes.md 6). */
#include "backends/oauth1.h"

#include "backends/http.h"
#include "backends/sign.h"
#include "tests/unit/server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PHOTOS   {"dpf43f3p2l4k3l03", "kd94hf93k423kf44", NULL, NULL}
#define TWITTER                                                                                    \
    {"xvz1evFS4wEEPTGEFPHBog", "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw",                      \
     "370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb",                                         \
     "LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE"}
#define STATUS                                                                                     \
    "include_entities=true&status=Hello%20Ladies%20%2b%20Gentlemen%2c%20a%20signed%20OAuth%20request%21"
#define OURS     {"ck", "cs", "tk", "ts"}
#define OUR_CALL .nonce = "n0nce", .seconds = 1369408638

static const struct pm_oauth1_pair callback[] = {
    {"oauth_callback", "http://printer.example.com/ready"}, {NULL, NULL}};
static const struct pm_oauth1_pair verifier[] = {{"oauth_verifier", "hfdp7dh39dks9884"}, {NULL, NULL}};
static const struct pm_oauth1_pair oob[] = {{"oauth_callback", "oob"}, {NULL, NULL}};

static const struct {
    struct pm_oauth1_keys keys;
    struct pm_oauth1_call call;
    const char           *signature; /* as it is in the header */
} vectors[] = {
    {PHOTOS, /* RFC 5849 1.2 */
     {.method = "POST", .url = "https://photos.example.net/initiate", .more = callback,
      .nonce = "wIjqoS", .seconds = 137131200, .bare = true},
     "74KNZJeDHnMBp0EMJ9ZHt%2FXKycU%3D"},
    {{"dpf43f3p2l4k3l03", "kd94hf93k423kf44", "hh5s93j4hdidpola", "hdhd0244k9j7ao03"},
     {.method = "POST", .url = "https://photos.example.net/token", .more = verifier,
      .nonce = "walatlh", .seconds = 137131201, .bare = true},
     "gKgrFCywp7rO0OXSjdot%2FIHF7IU%3D"},
    {{"dpf43f3p2l4k3l03", "kd94hf93k423kf44", "nnch734d00sl2jdk", "pfkkdhi9sl3r4s00"},
     {.method = "GET", .url = "http://photos.example.net/photos?file=vacation.jpg&size=original",
      .nonce = "chapoH", .seconds = 137131202, .bare = true},
     "MdpQcU8iPSUjWoN%2FUDMsK2sui9I%3D"},
    {{"dpf43f3p2l4k3l03", "kd94hf93k423kf44", "nnch734d00sl2jdk", "pfkkdhi9sl3r4s00"}, /* Core A.5 */
     {.method = "GET", .url = "http://photos.example.net/photos?file=vacation.jpg&size=original",
      .nonce = "kllo9940pd9333jh", .seconds = 1191242096},
     "tR3%2BTy81lMeYAr%2FFid0kMTYa%2FWM%3D"},
    {{"9djdj82h48djs9d2", "j49sk3j29djd", "kkk9d7dh3k39sjv7", "dh893hdasih9"}, /* 3.4.1.1, erratum 2550 */
     {.method = "POST", .url = "http://example.com/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b",
      .form = "c2&a3=2+q", .nonce = "7d8f3e4a", .seconds = 137131201, .bare = true},
     "r6%2FTJjbCOr97%2F%2BUU0NsvSne7s5g%3D"},
    {TWITTER,
     {.method = "POST", .url = "https://api.twitter.com/1/statuses/update.json", .form = STATUS,
      .nonce = "kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg", .seconds = 1318622958},
     "tnnArxj06cWHq44gCs1OSKk%2FjLY%3D"},
    {TWITTER,
     {.method = "POST", .url = "https://api.twitter.com/1.1/statuses/update.json", .form = STATUS,
      .nonce = "kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg", .seconds = 1318622958},
     "hCtSmYh%2BiHYCEqBWrE7C7hYmtUk%3D"},
    {OURS, {.method = "GET", .url = "https://api.shapeways.com/models/v1?page=2", OUR_CALL},
     "PY2XXLg1XoP86EhzXPYvGX6hX7E%3D"},
    {OURS, {.method = "POST", .url = "https://api.shapeways.com/models/v1", OUR_CALL},
     "rnAlZP7J58TyaJucgq7k8jEOH5A%3D"},
    {OURS,
     {.method = "GET", .url = "https://api.shapeways.com/models/1114694/files/0/v1?file=1", OUR_CALL},
     "75vTsrr2LDKk%2BNO92yfzmLSIEKc%3D"},
    {{"ck", "cs", NULL, NULL},
     {.method = "GET", .url = "https://api.shapeways.com/oauth1/request_token/v1", .more = oob, OUR_CALL},
     "Kxi2D6mWaBCBwUMLt2fQryPQ8BM%3D"},
};

static void every_known_signature_comes_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < PM_COUNT(vectors); i++) {
        PM_AUTO(free) char *header = pm_oauth1_header(&vectors[i].keys, &vectors[i].call);
        PM_AUTO(free) char *wanted = pm_asprintf("oauth_signature=\"%s\"", vectors[i].signature);

        assert_non_null(header);
        if (!strstr(header, wanted))
            fail_msg("row %zu lacks %s: %s", i, wanted, header);
    }
}

static void the_header_is_as_recorded(void **state)
{
    PM_AUTO(free) char *list = pm_oauth1_header(&vectors[7].keys, &vectors[7].call);
    PM_AUTO(free) char *first = pm_oauth1_header(&vectors[0].keys, &vectors[0].call);

    (void)state;
    assert_string_equal(list, "Authorization: OAuth oauth_consumer_key=\"ck\", oauth_nonce=\"n0nce\", "
                              "oauth_signature=\"PY2XXLg1XoP86EhzXPYvGX6hX7E%3D\", "
                              "oauth_signature_method=\"HMAC-SHA1\", oauth_timestamp=\"1369408638\", "
                              "oauth_token=\"tk\", oauth_version=\"1.0\"");
    assert_non_null(strstr(first, "oauth_callback=\"http%3A%2F%2Fprinter.example.com%2Fready\""));
    assert_null(strstr(first, "oauth_version"));
    assert_null(strstr(first, "oauth_token"));
}

/* The examples of the OAuth wiki. */
static void the_hash_is_keyed_by_both_secrets(void **state)
{
    char out[PM_HMAC_SHA1_MAX];

    (void)state;
    assert_int_equal(pm_sign_hmac_sha1("cs&", "bs", out), 0);
    assert_string_equal(out, "egQqG5AJep5sJ7anhXju1unge2I=");
    assert_int_equal(pm_sign_hmac_sha1("cs&ts", "bs", out), 0);
    assert_string_equal(out, "VZVjXceV7JgPq/dOTnNmEfO0Fv8=");
}

static void what_is_signed_is_normal(void **state)
{
    static const struct {
        const char *url, *base; /* the latter from the URL on, without the oauth_* behind */
    } rows[] = {
        {"HTTP://EXAMPLE.COM:80/r%20v/X?id=123", "http%3A%2F%2Fexample.com%2Fr%2520v%2FX&id%3D123%26"},
        {"https://Www.Example.net:8080/?q=1", "https%3A%2F%2Fwww.example.net%3A8080%2F&oauth"},
        {"https://h:443/a", "https%3A%2F%2Fh%2Fa&oauth"},
        {"https://h:80/a", "https%3A%2F%2Fh%3A80%2Fa&oauth"},
        {"http://h:8080/a", "http%3A%2F%2Fh%3A8080%2Fa&oauth"},
        {"http://h", "http%3A%2F%2Fh%2F&oauth"},
        {"https://h/api/v1/", "https%3A%2F%2Fh%2Fapi%2Fv1%2F&oauth"},
        {"https://h/a?b=x!%27()*~&a=%e2%82%ac#f", "https%3A%2F%2Fh%2Fa&a%3D%25E2%2582%25AC%26b%3Dx%2521%2527%2528%2529%252A~%26"},
        {"https://h/a?a=%zz&a=%2", "https%3A%2F%2Fh%2Fa&a%3D%25252%26a%3D%2525zz%26"},
        {"https://h/a?a=b%00c", "https%3A%2F%2Fh%2Fa&a%3Db%2500c%26"},
        {"https://h/a?&&b&=", "https%3A%2F%2Fh%2Fa&%3D%26b%3D%26"},
        {"https://h/a?a=2&a=10&a-b=1&a=", "https%3A%2F%2Fh%2Fa&a%3D%26a%3D10%26a%3D2%26a-b%3D1%26"},
    };
    const struct pm_oauth1_keys keys = OURS;

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct pm_oauth1_call call = {.method = "GET", .url = rows[i].url, OUR_CALL};
        PM_AUTO(free) char   *base = pm_oauth1_base(&keys, &call);

        assert_non_null(base);
        assert_memory_equal(base, "GET&", 4);
        if (strncmp(base + 4, rows[i].base, strlen(rows[i].base)) != 0)
            assert_string_equal(base + 4, rows[i].base);
    }
}

static void what_is_no_web_address_is_not_signed(void **state)
{
    const struct pm_oauth1_keys keys = OURS;
    struct pm_oauth1_call       call = {.method = "GET", .url = "ftp://h/a", OUR_CALL};

    (void)state;
    assert_null(pm_oauth1_base(&keys, &call));
    assert_null(pm_oauth1_header(&keys, &call));
    call.url = "models/v1";
    assert_null(pm_oauth1_header(&keys, &call));
}

static void the_rfcs_base_string_comes_out(void **state)
{
    PM_AUTO(free) char *base = pm_oauth1_base(&vectors[4].keys, &vectors[4].call);

    (void)state;
    assert_string_equal(base, "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26"
                              "b5%3D%253D%25253D%26c%2540%3D%26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26"
                              "oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26"
                              "oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7");
}

static void a_clock_that_differs_is_learned_and_a_little_is_not(void **state)
{
    struct pm_oauth1_clock clock = {0};
    int64_t                now = pm_wall_ms() / 1000 * 1000, s;

    (void)state;
    assert_false(pm_oauth1_learn(&clock, 0, now));
    assert_false(pm_oauth1_learn(&clock, now, now + 999));
    assert_int_equal(clock.ahead_ms, 0);
    assert_true(pm_oauth1_learn(&clock, now - 3600 * 1000, now));
    s = pm_oauth1_seconds(&clock);
    assert_in_range(s, now / 1000 - 3600, now / 1000 - 3600 + 60);
    assert_false(pm_oauth1_learn(&clock, now - 3600 * 1000, now + 400));
    assert_true(pm_oauth1_learn(&clock, now, now));
    assert_in_range(pm_oauth1_seconds(&clock), now / 1000, now / 1000 + 60);
}

static void an_md5_comes_in_pieces(void **state)
{
    struct pm_md5 *m = pm_md5_new();
    char           hex[PM_MD5_HEX_MAX];

    (void)state;
    assert_non_null(m);
    assert_int_equal(pm_md5_add(m, "message", 7), 0);
    assert_int_equal(pm_md5_add(m, "", 0), 0);
    assert_int_equal(pm_md5_add(m, " digest", 7), 0);
    assert_int_equal(pm_md5_hex(m, hex), 0);
    assert_string_equal(hex, "f96b697d7cb7938d525a2f31aaf161d0"); /* RFC 1321 A.5 */
    pm_md5_free(m);
}

/* --- over the wire */

struct service {
    unsigned fails; /* so many first tries */
    char     nonce[8][40];
};

static bool serve(void *arg, const struct server_request *req, int fd)
{
    struct service *s = arg;
    const char     *nonce = strstr(req->head, "oauth_nonce=\"");

    if (nonce && req->n <= PM_COUNT(s->nonce))
        sscanf(nonce + 13, "%39[0-9a-f]", s->nonce[req->n - 1]);
    return server_reply(fd, req->n <= s->fails ? 503 : 200, "", "{}");
}

static void each_try_is_signed_anew(void **state)
{
    struct service               s = {.fails = 2};
    struct server               *server = server_start(serve, &s);
    PM_AUTO(free) char          *url = pm_asprintf("%s/models/v1?page=1", server_url(server));
    struct pm_conf               conf = {.op_timeout_ms = 10000};
    struct pm_oauth1_clock       clock = {0};
    struct pm_oauth1_signer      signer = {.keys = OURS, .clock = &clock};
    struct pm_http_auth          auth = {.origin = server_url(server), .sign = pm_oauth1_sign, .arg = &signer};
    struct pm_http_request       req = {.method = "GET", .url = url, .auth = &auth};
    struct pm_http_answer        answer = {0};
    struct pm_ctx                ctx = {.prio = PM_INTERACTIVE};
    struct pm_net               *net;

    (void)state;
    assert_int_equal(pm_net_open(&conf, &net), 0);
    assert_int_equal(pm_http_call(net, &ctx, &req, &answer), 0);
    assert_int_equal(server_requests(server), 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(strlen(s.nonce[i]), 32);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(s.nonce[i], s.nonce[j]);
    }
    auth.origin = "https://elsewhere.example"; /* nobody else gets one */
    assert_int_equal(pm_http_call(net, &ctx, &req, &answer), 0);
    assert_string_equal(s.nonce[3], "");
    pm_http_answer_free(&answer);
    pm_net_close(net);
    server_stop(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_known_signature_comes_out),
        cmocka_unit_test(the_header_is_as_recorded),
        cmocka_unit_test(the_hash_is_keyed_by_both_secrets),
        cmocka_unit_test(what_is_signed_is_normal),
        cmocka_unit_test(what_is_no_web_address_is_not_signed),
        cmocka_unit_test(the_rfcs_base_string_comes_out),
        cmocka_unit_test(a_clock_that_differs_is_learned_and_a_little_is_not),
        cmocka_unit_test(an_md5_comes_in_pieces),
        cmocka_unit_test(each_try_is_signed_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
