/* Logging in to Shapeways: three steps, and what of them is believed. */
#include "backends/http.h"
#include "backends/oauth1.h"
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
    struct pm_secret       secret[2];
    struct pm_account_conf account;
    struct pm_net         *net;
    struct server         *server;
    struct pm_backend     *b;
    struct pm_ctx          ctx;
    /* the service */
    const char *page; /* the address that it gives; NULL: its own */
    const char *first; /* the whole first answer; NULL: a good one */
    const char *pin; /* that it takes */
    int         clock_s; /* its clock is ahead */
    bool        forgets; /* the access token is refused afterwards */
    atomic_uint steps;
    /* the user */
    const char *answers[8]; /* NULL: none */
    unsigned    asked;
    bool        hidden[8];
    char        said[4][300];
    unsigned    nsaid;
    char        kept[500]; /* "key=value " for each */
};

static bool is_signed(struct world *w, const char *head, const char *token, const char *secret,
                      const struct pm_oauth1_pair *more)
{
    char                        path[200], url[300], nonce[100] = "";
    const char                 *n = strstr(head, "oauth_nonce=\""), *t = strstr(head, "oauth_timestamp=\"");
    const struct pm_oauth1_keys keys = {"ck", "cs", token, secret};
    struct pm_oauth1_call       call = {.method = "GET", .url = url, .nonce = nonce, .more = more};
    PM_AUTO(free) char         *wanted = NULL;

    if (sscanf(head, "GET %199s", path) != 1 || !n || !t || sscanf(n + 13, "%99[0-9a-f]", nonce) != 1)
        return false;
    call.seconds = atoll(t + 17);
    snprintf(url, sizeof(url), "%s%s", server_url(w->server), path);
    wanted = pm_oauth1_header(&keys, &call);
    return strstr(head, wanted) && llabs(call.seconds - (int64_t)time(NULL) - w->clock_s) < 100;
}

static bool reply(struct world *w, int fd, int status, const char *body)
{
    char      date[80];
    time_t    now = time(NULL) + w->clock_s;
    struct tm tm;

    strftime(date, sizeof(date), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", gmtime_r(&now, &tm));
    return server_reply(fd, status, date, body);
}

static bool serve(void *arg, const struct server_request *req, int fd)
{
    struct world               *w = arg;
    const struct pm_oauth1_pair oob[] = {{"oauth_callback", "oob"}, {NULL, NULL}};
    const struct pm_oauth1_pair verifier[] = {{"oauth_verifier", w->pin ? w->pin : "1234"}, {NULL, NULL}};
    char                        body[600];

    w->steps++;
    snprintf(body, sizeof(body), "authentication_url=%s%%3Foauth_token%%3Drt&oauth_token_secret=rs&oauth_callback_confirmed=true",
             w->page ? w->page : "https%3A%2F%2Fapi.shapeways.com%2Flogin");
    if (!strncmp(req->head, "GET /oauth1/request_token/v1 ", 29) && is_signed(w, req->head, NULL, NULL, oob))
        return reply(w, fd, 200, w->first ? w->first : body);
    if (!strncmp(req->head, "GET /oauth1/access_token/v1 ", 28) && is_signed(w, req->head, "rt", "rs", verifier))
        return reply(w, fd, 200, "oauth_token=a%2Ft&oauth_token_secret=as");
    if (!strncmp(req->head, "GET /models/v1?page=1 ", 22) && !w->forgets && is_signed(w, req->head, "a/t", "as", NULL))
        return reply(w, fd, 200, "{\"result\":\"success\",\"models\":null}");
    return reply(w, fd, 401, "{\"result\":\"failure\",\"reason\":\"\\nInvalid signature\"}");
}

static int ask(void *arg, const char *question, bool secret, char **out)
{
    struct world *w = arg;
    unsigned      n = w->asked++;

    assert_true(*question && n < 8);
    w->hidden[n] = secret;
    if (!w->answers[n])
        return -ECANCELED;
    *out = strdup(w->answers[n]);
    return 0;
}

static void say(void *arg, const char *line)
{
    struct world *w = arg;

    if (w->nsaid < 4)
        snprintf(w->said[w->nsaid++], sizeof(w->said[0]), "%s", line);
}

static int keep(void *arg, const char *key, const char *value)
{
    struct world *w = arg;
    size_t        len = strlen(w->kept);

    snprintf(w->kept + len, sizeof(w->kept) - len, "%s=%s ", key, value);
    return 0;
}

static int login(struct world *w)
{
    const struct pm_login user = {.ask = ask, .say = say, .keep = keep, .arg = w};
    int                   err;

    w->server = server_start(serve, w);
    w->account.name = (char *)"a";
    w->account.type = (char *)"shapeways";
    w->account.endpoint = (char *)server_url(w->server);
    w->account.secrets = w->secret;
    w->conf.op_timeout_ms = 5000;
    w->ctx.deadline_ms = pm_now_ms() + 20000;
    assert_int_equal(pm_net_open(&w->conf, &w->net), 0);
    assert_int_equal(pm_backend_open(&w->account, w->net, NULL, &w->b), 0);
    err = pm_backend_login(w->b, &w->ctx, &user);
    pm_backend_close(w->b);
    pm_net_close(w->net);
    server_stop(w->server);
    return err;
}

static void three_steps_give_the_keys(void **state)
{
    struct world w = {.answers = {"ck", "cs", "1234", "yes"}};

    (void)state;
    assert_int_equal(login(&w), 0);
    assert_string_equal(w.kept, "consumer_key=ck consumer_secret=cs access_token=a/t access_secret=as accept_terms=yes ");
    assert_string_equal(w.said[1], "https://api.shapeways.com/login?oauth_token=rt");
    assert_false(w.hidden[0]);
    assert_true(w.hidden[1]);
    assert_int_equal(w.steps, 3);
}

static void what_the_account_has_is_not_asked_for(void **state)
{
    struct world w = {.answers = {"1234", "no"}, .account.nsecrets = 2,
                      .secret = {{(char *)"consumer_key", (char *)"", (char *)"ck"},
                                 {(char *)"consumer_secret", (char *)"", (char *)"cs"}}};

    (void)state;
    assert_int_equal(login(&w), 0);
    assert_string_equal(w.kept, "access_token=a/t access_secret=as "); /* the terms were not accepted */
}

static void a_wrong_clock_is_no_hindrance(void **state)
{
    struct world w = {.answers = {"ck", "cs", "1234", "yes"}, .clock_s = -7200};

    (void)state;
    assert_int_equal(login(&w), 0);
    assert_int_equal(w.steps, 4);
}

static void a_wrong_pin_or_key_is_told(void **state)
{
    struct world pin = {.answers = {"ck", "cs", "12", "yes"}}, key = {.answers = {"ck", "wrong", "1234"}};

    (void)state;
    assert_int_equal(login(&pin), -EACCES);
    assert_string_equal(pin.ctx.why, "Invalid signature");
    assert_null(strstr(pin.kept, "access"));
    assert_int_equal(login(&key), -EACCES);
    assert_int_equal(key.asked, 2);
}

static void keys_that_do_not_work_are_not_kept(void **state)
{
    struct world w = {.answers = {"ck", "cs", "1234", "yes"}, .forgets = true};

    (void)state;
    assert_int_equal(login(&w), -EACCES);
    assert_null(strstr(w.kept, "access"));
}

static void giving_up_is_possible_at_each_question(void **state)
{
    static const char *const answers[] = {"ck", "cs", "1234"};

    (void)state;
    for (unsigned n = 0; n < 6; n++) {
        struct world w = {.answers = {NULL}};

        for (unsigned i = 0; i < n / 2; i++)
            w.answers[i] = answers[i];
        w.answers[n / 2] = n % 2 ? "" : NULL;
        assert_int_equal(login(&w), -ECANCELED);
        assert_null(strstr(w.kept, "access"));
    }
}

static void only_the_services_own_pages_are_shown(void **state)
{
    static const struct {
        const char *told, *shown; /* NULL: refused */
    } rows[] = {
        {"http%3A%2F%2Fapi.shapeways.com%2Flogin", "https://api.shapeways.com/login?oauth_token=rt"},
        {"https%3A%2F%2Fshapeways.com%2Flogin", "https://shapeways.com/login?oauth_token=rt"},
        {"https%3A%2F%2FWWW.SHAPEWAYS.COM%2Flogin", "https://WWW.SHAPEWAYS.COM/login?oauth_token=rt"},
        {"https%3A%2F%2Fapi.shapeways.com.evil.example%2Flogin", NULL},
        {"https%3A%2F%2Fevilshapeways.com%2Flogin", NULL},
        {"https%3A%2F%2Fshapeways.com%40evil.example%2Flogin", NULL},
        {"http%3A%2F%2Fevil.example%2Flogin", NULL},
        {"http%3A%2F%2F127.0.0.1%3A1%2Flogin", NULL},
        {"https%3A%2F%2Fapi.shapeways.com%2F%1B%5B2J", NULL},
        {"file%3A%2F%2F%2Fetc%2Fpasswd", NULL},
        {"", NULL},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct world w = {.answers = {"ck", "cs", "1234", "yes"}, .page = rows[i].told};
        int          err = login(&w);

        if (err != (rows[i].shown ? 0 : -EIO))
            fail_msg("row %zu: %d", i, err);
        if (rows[i].shown)
            assert_string_equal(w.said[1], rows[i].shown);
        else
            assert_int_equal(w.nsaid, 0);
    }
}

static void answers_that_lack_something_are_told(void **state)
{
    static const char *const firsts[] = {"", "authentication_url=", "oauth_token_secret=rs",
                                         "authentication_url=https%3A%2F%2Fapi.shapeways.com%2Flogin&oauth_token_secret=rs",
                                         "oauth_token=rt&oauth_token_secret=rs", "<html>", "%%%&&&==="};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(firsts); i++) {
        struct world w = {.answers = {"ck", "cs", "1234", "yes"}, .first = firsts[i]};

        assert_int_equal(login(&w), -EIO);
        assert_non_null(strstr(w.ctx.why, "lacks the token or the address"));
        assert_int_equal(w.steps, 1);
    }
}

static void a_token_may_stand_beside_the_page(void **state)
{
    struct world w = {.answers = {"ck", "cs", "1234", "yes"},
                      .first = "oauth_token=rt&oauth_token_secret=rs&authentication_url=https%3A%2F%2Fapi.shapeways.com%2Flogin"};

    (void)state;
    assert_int_equal(login(&w), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_steps_give_the_keys),
        cmocka_unit_test(what_the_account_has_is_not_asked_for),
        cmocka_unit_test(a_wrong_clock_is_no_hindrance),
        cmocka_unit_test(a_wrong_pin_or_key_is_told),
        cmocka_unit_test(keys_that_do_not_work_are_not_kept),
        cmocka_unit_test(giving_up_is_possible_at_each_question),
        cmocka_unit_test(only_the_services_own_pages_are_shown),
        cmocka_unit_test(answers_that_lack_something_are_told),
        cmocka_unit_test(a_token_may_stand_beside_the_page),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
