#include "backends/json.h"
#include "backends/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct cJSON *parse(const char *text)
{
    return pm_json_parse(text, strlen(text));
}

static void only_whole_json_is_taken(void **state)
{
    static const char *const good[] = {"{}", "[]", " 1 ", "\"a\"", "null", "{\"a\":[1,{\"b\":2}]}"};
    static const char *const bad[] = {"",      "{",       "{} x",      "[1,]",  "{\"a\"}", "NaN",
                                      "nul",   "[1 2]",   "{a:1}",     "'a'",   "\"a",     "]",
                                      "[NaN]", "{} {}",   "\"\\x\"",   "\\",    "[1}",     "\"\\u12\""};
    char nul[] = "{}\0{}";

    (void)state;
    for (size_t i = 0; i < PM_COUNT(good); i++) {
        struct cJSON *v = parse(good[i]);

        assert_non_null(v);
        pm_json_free(v);
    }
    for (size_t i = 0; i < PM_COUNT(bad); i++)
        assert_null(parse(bad[i]));
    assert_null(pm_json_parse(nul, 5));
}

static void nesting_bombs_are_refused(void **state)
{
    char bomb[100000], fine[PM_JSON_DEPTH * 2 + 1];

    (void)state;
    memset(bomb, '[', sizeof(bomb));
    assert_null(pm_json_parse(bomb, sizeof(bomb)));
    memset(fine, '[', PM_JSON_DEPTH);
    memset(fine + PM_JSON_DEPTH, ']', PM_JSON_DEPTH);
    struct cJSON *v = pm_json_parse(fine, PM_JSON_DEPTH * 2);
    assert_non_null(v);
    pm_json_free(v);
}

static void names_keep_every_byte(void **state)
{
    static const struct {
        const char *text, *name;
    } rows[] = {
        {"{\"n\":\"a\\u0000b\"}", "a\xc0\x80" "b"},
        {"{\"n\":\"\\ud800\"}", "\xed\xa0\x80"},
        {"{\"n\":\"\\udc00x\"}", "\xed\xb0\x80x"},
        {"{\"n\":\"\\ud800\\u0041\"}", "\xed\xa0\x80" "A"},
        {"{\"n\":\"\\ud83d\\ude00\"}", "\xf0\x9f\x98\x80"},
        {"{\"n\":\"\xff\xfe\"}", "\xff\xfe"},
        {"{\"n\":\"\\\\u0000\"}", "\\u0000"},
        {"{\"n\":\"a\\/b\\\"\"}", "a/b\""},
        {"{\"n\":\"1\",\"n\":\"2\",\"N\":\"3\"}", "1"},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct cJSON *v = parse(rows[i].text);

        assert_non_null(v);
        assert_string_equal(pm_json_text(v, "n"), rows[i].name);
        pm_json_free(v);
    }
}

static void numbers_come_as_numbers_or_text(void **state)
{
    static const struct {
        const char *text;
        bool        ok;
        uint64_t    value;
    } rows[] = {{"12", true, 12},     {"\"12\"", true, 12}, {"12.0", true, 12},
                {"\"7.5\"", true, 7}, {"-1", false, 0},     {"\"-1\"", false, 0},
                {"1e400", false, 0},  {"null", false, 0},   {"true", false, 0},
                {"\"\"", false, 0},   {"\"1x\"", false, 0}, {"\"99999999999999999999\"", false, 0},
                {"1e3", true, 1000},  {"9007199254740991", true, 9007199254740991}};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        char          text[100];
        struct cJSON *v;
        uint64_t      value = 0;

        snprintf(text, sizeof(text), "{\"n\":%s}", rows[i].text);
        v = parse(text);
        assert_non_null(v);
        assert_int_equal(pm_json_u64(v, "n", &value), rows[i].ok);
        assert_int_equal(value, rows[i].value);
        pm_json_free(v);
    }
    assert_false(pm_json_u64(NULL, "n", &(uint64_t){0}));
}

static void times_come_in_many_forms(void **state)
{
    static const struct {
        const char *text;
        int64_t     ms;
    } rows[] = {{"1484563101652", 1484563101652},
                {"\"1484563101652\"", 1484563101652},
                {"\"2018-07-26T08:50:51.178Z\"", 1532595051178},
                {"\"2018-07-26T08:50:51Z\"", 1532595051000},
                {"\"2018-07-26T10:50:51.178+02:00\"", 1532595051178},
                {"\"2018-07-26 08:50:51\"", 1532595051000},
                {"\"2018-07-26\"", 1532563200000},
                {"\"yesterday\"", 0},
                {"null", 0},
                {"{}", 0}};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        char          text[100];
        struct cJSON *v;

        snprintf(text, sizeof(text), "{\"t\":%s}", rows[i].text);
        v = parse(text);
        assert_int_equal(pm_json_ms(v, "t"), rows[i].ms);
        pm_json_free(v);
    }
}

static void ids_are_found_in_any_shape(void **state)
{
    static const char *const rows[][2] = {{"{\"id\":\"a1\"}", "a1"},
                                          {"{\"_id\":\"a1\"}", "a1"},
                                          {"{\"id\":17}", "17"},
                                          {"{\"id\":9007199254740991}", "9007199254740991"},
                                          {"{\"_id\":{\"$oid\":\"a1\"}}", "a1"},
                                          {"{\"id\":null,\"_id\":\"b\"}", "b"},
                                          {"{\"id\":\"0123456789012345\"}", NULL},
                                          {"{}", NULL}};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct cJSON *v = parse(rows[i][0]);
        char          id[17] = "";
        bool          ok = pm_json_id(v, id, i == 6 ? 16 : 17);

        assert_int_equal(ok, rows[i][1] != NULL);
        if (ok)
            assert_string_equal(id, rows[i][1]);
        pm_json_free(v);
    }
}

/* --- the cutter */

struct pieces {
    char     text[4096];
    unsigned count;
    int      fail;
};

static int take(void *arg, const char *text, size_t len)
{
    struct pieces *p = arg;
    size_t         used = strlen(p->text);

    if (used + len + 2 < sizeof(p->text)) {
        memcpy(p->text + used, text, len);
        strcpy(p->text + used + len, ";");
    }
    p->count++;
    return p->fail;
}

/* Feeds `text` in steps of `step` bytes. */
static int cut(const char *text, size_t step, const char *key, struct pieces *p, bool *whole)
{
    struct pm_json_cut *c = pm_json_cut_new(key, take, p);
    size_t              len = strlen(text);
    int                 err = 0;

    for (size_t i = 0; i < len && !err; i += step)
        err = pm_json_cut_feed(c, text + i, len - i < step ? len - i : step);
    *whole = pm_json_cut_whole(c);
    pm_json_cut_free(c);
    return err;
}

static void lists_are_cut_into_elements(void **state)
{
    static const struct {
        const char *text, *key, *pieces;
        bool        whole;
    } rows[] = {
        {"[]", NULL, "", true},
        {" \n[ ]\n ", NULL, "", true},
        {"\xef\xbb\xbf[1]", NULL, "1;", true},
        {"[{\"a\":1},{\"b\":[2,3]}]", NULL, "{\"a\":1};{\"b\":[2,3]};", true},
        {"[1, \"a]\\\"},\" ,null,[[]] ]", NULL, "1;\"a]\\\"},\";null;[[]];", true},
        {"{\"data\":[{\"a\":\"]\"}],\"total\":1}", NULL, "{\"a\":\"]\"};", true},
        {"{\"x\":{\"y\":[9]},\"data\":[1]}", NULL, "1;", true},
        {"{\"links\":[0],\"models\":[1,2]}", "models", "1;2;", true},
        {"{\"errors\":[{\"status\":400}]}", NULL, "", false},
        {"{\"success\":false}", NULL, "", false},
        {"{\"data\":null}", NULL, "", false},
        {"[{\"a\":1},", NULL, "{\"a\":1};", false},
        {"[1", NULL, "", false},
        {"", NULL, "", false},
        {"{\"data\":[1]", NULL, "1;", false},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        for (size_t step = 1; step < 30; step += 4) {
            struct pieces p = {0};
            bool          whole;

            assert_int_equal(cut(rows[i].text, step, rows[i].key, &p, &whole), 0);
            assert_string_equal(p.text, rows[i].pieces);
            assert_int_equal(whole, rows[i].whole);
        }
    }
}

static void broken_lists_are_refused(void **state)
{
    static const char *const rows[] = {"<html>", "[,]", "[1,,2]", "[1,]", "[1]x",     "[1 2]",
                                       "x",      "[}",  "]",      "1",    "[1][2]",   "{}{}",
                                       "[}]",    "[:]", "\"a\"",  "[]]",  "\xef[1]"};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct pieces p = {0};
        bool          whole;
        int           err = cut(rows[i], 3, NULL, &p, &whole);

        assert_false(whole);
        assert_true(err == -EIO || err == 0);
    }
}

static void an_element_is_bounded(void **state)
{
    struct pieces       p = {0};
    struct pm_json_cut *c = pm_json_cut_new(NULL, take, &p);
    char                chunk[65536];
    int                 err = pm_json_cut_feed(c, "[\"", 2);

    (void)state;
    memset(chunk, 'x', sizeof(chunk));
    for (int i = 0; i < 15; i++)
        assert_int_equal(pm_json_cut_feed(c, chunk, sizeof(chunk)), 0);
    for (int i = 0; i < 3 && !err; i++)
        err = pm_json_cut_feed(c, chunk, sizeof(chunk));
    assert_int_equal(err, -EIO);
    assert_int_equal(pm_json_cut_feed(c, "\"]", 2), -EIO);
    assert_false(pm_json_cut_whole(c));
    pm_json_cut_free(c);
}

static void the_taker_can_end_it(void **state)
{
    struct pieces p = {.fail = -ECANCELED};
    bool          whole;

    (void)state;
    assert_int_equal(cut("[1,2,3]", 1, NULL, &p, &whole), -ECANCELED);
    assert_int_equal(p.count, 1);
    assert_false(whole);
}

/* Any bytes at all: no crash, and what is whole parses. */
static void random_text_does_no_harm(void **state)
{
    static const char alphabet[] = "[]{}\",:\\u0d8 n1e";
    unsigned          seed = 1;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct pieces p = {0};
        char          text[40];
        bool          whole;
        size_t        len = (size_t)(rand_r(&seed) % 39);

        for (size_t j = 0; j < len; j++)
            text[j] = alphabet[rand_r(&seed) % (sizeof(alphabet) - 1)];
        text[len] = '\0';
        cut(text, 7, NULL, &p, &whole);
        pm_json_free(pm_json_parse(text, len));
    }
}

static void a_member_that_is_there_twice_is_set_and_removed_as_one(void **state)
{
    static const char   text[] = "{\"a\":1,\"b\":2,\"a\":3,\"b\":4,\"a\":5}";
    struct cJSON       *v = pm_json_parse(text, strlen(text));
    PM_AUTO(free) char *printed = NULL;

    (void)state;
    pm_json_remove(v, "a");
    assert_true(pm_json_set_text(v, "b", "x"));
    printed = pm_json_print(v, false);
    assert_string_equal(printed, "{\"b\":\"x\"}");
    pm_json_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_whole_json_is_taken),
        cmocka_unit_test(nesting_bombs_are_refused),
        cmocka_unit_test(names_keep_every_byte),
        cmocka_unit_test(numbers_come_as_numbers_or_text),
        cmocka_unit_test(times_come_in_many_forms),
        cmocka_unit_test(ids_are_found_in_any_shape),
        cmocka_unit_test(lists_are_cut_into_elements),
        cmocka_unit_test(broken_lists_are_refused),
        cmocka_unit_test(an_element_is_bounded),
        cmocka_unit_test(the_taker_can_end_it),
        cmocka_unit_test(random_text_does_no_harm),
        cmocka_unit_test(a_member_that_is_there_twice_is_set_and_removed_as_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
