#include "backends/signed.h"
#include "backends/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* 2019-03-01T09:00:00Z, of the samples in Google's conformance tests. */
#define SIGNED_MS INT64_C(1551430800000)
#define V4        "https://storage.googleapis.com/b/o?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Date="

static void a_url_is_renewed_before_it_ends(void **state)
{
    static const struct {
        const char *url;
        int64_t     after_ms; /* the server's clock since it was signed */
        int64_t     use_ms;
    } rows[] = {
        {V4 "20190301T090000Z&X-Goog-Expires=20&X-Goog-SignedHeaders=host", 0, 10000},
        {V4 "20190301T090000Z&X-Goog-Expires=20", 4000, 6000},
        {V4 "20190301T090000Z&X-Goog-Expires=20", 10000, 0},
        {V4 "20190301T090000Z&X-Goog-Expires=20", 3600000, 0},
        {V4 "20190301T090000Z&X-Goog-Expires=20", -60000, 10000}, /* a clock that is behind */
        {V4 "20190301T090000Z&X-Goog-Expires=3600", 0, 3540000},
        {"https://h/o?x-goog-date=20190301T090000Z&x-goog-expires=2&x-goog-signature=a", 0, 1000},
        {"https://h/o?X-Amz-Date=20190301T090000Z&X-Amz-Expires=600", 0, 540000},
        {"https://h/b/o?GoogleAccessId=a%40b&Expires=1551430920&Signature=x%2By%3D", 0, 60000},
        {"https://h/b/o?AWSAccessKeyId=a&Signature=x&Expires=1551430802", 0, 1000},
        {"https://h/b/o?Expires=1551430800&Signature=x", 1000, 0},
        {"https://h/b/o", 0, 240000}, /* it does not say */
        {"https://h/b/o?Expires=soon", 0, 240000},
        {"https://h/b/o?Expires=-5", 0, 240000},
        {"https://h/b/o?Expires=99999999999999999999", 0, 240000},
        {"https://h/b/o#?Expires=1551430802", 0, 240000},
        {"https://h/Expires=1551430802", 0, 240000},
        {V4 "20191301T090000Z&X-Goog-Expires=20", 0, 240000},
        {V4 "2019030T1090000Z&X-Goog-Expires=20", 0, 240000},
        {V4 "20190301T090000Z", 0, 240000},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++)
        if (pm_signed_use_ms(rows[i].url, SIGNED_MS + rows[i].after_ms) != rows[i].use_ms)
            fail_msg("%s: %lld", rows[i].url,
                     (long long)pm_signed_use_ms(rows[i].url, SIGNED_MS + rows[i].after_ms));
}

/* Without a Date our own clock, which may be years off, must not make a URL old or young. */
static void without_a_server_s_clock_a_url_was_signed_just_now(void **state)
{
    (void)state;
    assert_int_equal(pm_signed_use_ms(V4 "20190301T090000Z&X-Goog-Expires=20", 0), 10000);
    assert_int_equal(pm_signed_use_ms("https://h/b/o?GoogleAccessId=a&Expires=1551430920", 0), 240000);
}

static void check_text(char *got, const char *wanted, const char *of)
{
    if (!wanted != !got || (got && strcmp(got, wanted) != 0))
        fail_msg("%s: %s, not %s", of, got ? got : "nothing", wanted ? wanted : "nothing");
    free(got);
}

static void a_disposition_names_the_file(void **state)
{
    static const struct {
        const char *value, *name;
    } rows[] = {
        {"attachment; filename=\"Book.ply\"", "Book.ply"},
        {"attachment; filename=Book.ply", "Book.ply"},
        {"attachment;filename = Book.ply ;x=y", "Book.ply"},
        {"attachment; filename=\"a;b\\\"c\\\\d.ply\"", "a;b\"c\\d.ply"},
        {"attachment; FILENAME=\"a b.ply\"; size=3", "a b.ply"},
        {"attachment; filename=\"_.ply\"; filename*=UTF-8''%C3%A4%20b.ply", "\xc3\xa4 b.ply"},
        {"attachment; filename*=utf-8'de'%C3%A4.ply; filename=_.ply", "\xc3\xa4.ply"},
        {"attachment; filename=x.ply; filename*=ISO-8859-1''%E4.ply", "x.ply"},
        {"attachment; filename=x.ply; filename*=UTF-8''%zz", "x.ply"},
        {"attachment; filename=x.ply; filename*=UTF-8''a%00b", "x.ply"},
        {"attachment; name=\"filename=no.ply\"; filename=yes.ply", "yes.ply"},
        {"attachment; filename=\"open", "open"},
        {"attachment; filename=\"\"", NULL},
        {"attachment; filename", NULL},
        {"attachment; filename=", NULL},
        {"attachment", NULL},
        {"inline;;;", NULL},
        {"", NULL},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++)
        check_text(pm_signed_disposition(rows[i].value), rows[i].name, rows[i].value);
}

static void a_url_names_the_file(void **state)
{
    static const struct {
        const char *url, *name;
    } rows[] = {
        {"https://h/b/id/Book%20one.ply?X-Goog-Date=1", "Book one.ply"},
        {"https://h/b/x?response-content-disposition=attachment%3B+filename%3D%22a%2Bb.ply%22", "a+b.ply"},
        {"https://h/b/9e4d36b157df466da6dd9d32956561e1?a=b.c", NULL},
        {"https://h/b/o.", NULL},
        {"https://h/b/.ply", NULL},
        {"https://h/b/a%00.ply", NULL},
        {"https://h/b/a%2Fb.ply", "a/b.ply"}, /* data: whoever shows it escapes it */
        {"https://host.ply", NULL},
        {"https://h/", NULL},
        {"", NULL},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++)
        check_text(pm_signed_file_name(rows[i].url), rows[i].name, rows[i].url);
}

static void only_the_code_of_an_error_is_told(void **state)
{
    static const struct {
        const char *body, *code;
    } rows[] = {
        {"<?xml version='1.0'?><Error><Code>ExpiredToken</Code><Message>m</Message>", "ExpiredToken"},
        {"<Error><Code>AccessDenied</Code><Code>Other</Code>", "AccessDenied"},
        {"<Error><Code>a b</Code>", ""},
        {"<Error><Code></Code>", ""},
        {"<Error><Code>Expired", ""},
        {"<Error><Code>Expired</Cod", ""},
        {"<html>?Signature=secret", ""},
        {"", ""},
    };
    char code[PM_SIGNED_CODE_MAX], many[200] = "<Code>";

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        pm_signed_error(rows[i].body, strlen(rows[i].body), code);
        assert_string_equal(code, rows[i].code);
    }
    memset(many + 6, 'a', 100);
    strcpy(many + 106, "</Code>");
    pm_signed_error(many, strlen(many), code);
    assert_string_equal(code, "");
}

static void a_digest_is_taken_whole_or_not(void **state)
{
    static const struct {
        const char *header, *digest;
    } rows[] = {
        {"crc32c=n03x6A==", "crc32c=n03x6A=="},
        {"crc32c=n03x6A==,md5=Ojk9c3dhfxgoKVVHYwFbHQ==", "crc32c=n03x6A=="},
        {"md5=Ojk9c3dhfxgoKVVHYwFbHQ==, crc32c=n03x6A==", "crc32c=n03x6A=="},
        {"md5=Ojk9c3dhfxgoKVVHYwFbHQ==", "md5=Ojk9c3dhfxgoKVVHYwFbHQ=="},
        {"crc32c=n03x6A=", ""},
        {"crc32c=n03x6A===", ""},
        {"crc32c=n03x6A==;x", ""},
        {"crc32c=", ""},
        {"xcrc32c=n03x6A==", ""},
        {"sha1=n03x6A==", ""},
        {",,", ""},
        {"", ""},
    };
    char digest[PM_SIGNED_DIGEST_MAX];

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        pm_signed_digest(rows[i].header, digest);
        assert_string_equal(digest, rows[i].digest);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_url_is_renewed_before_it_ends),
        cmocka_unit_test(without_a_server_s_clock_a_url_was_signed_just_now),
        cmocka_unit_test(a_disposition_names_the_file),
        cmocka_unit_test(a_url_names_the_file),
        cmocka_unit_test(only_the_code_of_an_error_is_told),
        cmocka_unit_test(a_digest_is_taken_whole_or_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
