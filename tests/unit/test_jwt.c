/* What a token says of itself. */
#include "backends/jwt.h"

#include "backends/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define HEAD "eyJhbGciOiJub25lIn0." /* {"alg":"none"} */

static void the_claim_of_a_jwt_is_found(void **state)
{
    static const struct {
        const char *token, *claim;
    } table[] = {
        {HEAD "eyJlbWFpbCI6ImFAYi5jIn0.c2ln", "a@b.c"}, /* {"email":"a@b.c"} */
        {HEAD "eyJlbWFpbCI6ImFAYi5jIn0.", "a@b.c"}, /* no signature */
        {HEAD "eyJlbWFpbCI6ImFAYi5jIiwiaWF0IjoxfQ.s", "a@b.c"}, /* … ,"iat":1} */
        {HEAD "eyJlbWFpbCI6Ij8_fn4ifQ.s", "??~~"}, /* digits 62 and 63 of base64url */
        {HEAD "eyJlbWFpbCI6IsO8QGIuYyJ9.s", "\xc3\xbc@b.c"},
    };
    char out[64];

    (void)state;
    for (size_t i = 0; i < PM_COUNT(table); i++) {
        assert_int_equal(pm_jwt_claim(table[i].token, "email", out, sizeof(out)), 0);
        assert_string_equal(out, table[i].claim);
    }
}

static void what_is_no_jwt_says_nothing(void **state)
{
    static const char *const table[] = {
        "",
        "opaque-token",
        "a.b",
        "..",
        HEAD,
        HEAD ".s",
        ".eyJlbWFpbCI6ImFAYi5jIn0.s", /* no header */
        HEAD "eyJlbWFpbCI6ImFAYi5jIn0.s.more",
        HEAD "eyJlbWFpbCI6ImFAYi5jIn0=.s", /* padding has no place there */
        HEAD "eyJlbWFpbCI6ImFAYi5jI+0.s", /* base64's, not base64url's */
        HEAD "eyJlbWFpbCI6ImFAYi5jIn0A.s", /* a broken end */
        HEAD "eyJlbWFpbCI6.s", /* cut JSON */
        HEAD "eyJlbWFpbCI6MX0.s", /* {"email":1} */
        HEAD "eyJlbWFpbCI6IiJ9.s", /* {"email":""} */
        HEAD "eyJlbWFpbCI6ImFcbkBiIn0.s", /* a line feed in it */
        HEAD "eyJzdWIiOiJ4In0.s", /* {"sub":"x"} */
        HEAD "WyJlbWFpbCJd.s", /* ["email"] */
    };
    char out[64];

    (void)state;
    for (size_t i = 0; i < PM_COUNT(table); i++) {
        strcpy(out, "x");
        assert_int_equal(pm_jwt_claim(table[i], "email", out, sizeof(out)), -ENOENT);
        assert_string_equal(out, "");
    }
}

static void a_claim_that_does_not_fit_is_not_cut(void **state)
{
    char out[6];

    (void)state;
    assert_int_equal(pm_jwt_claim(HEAD "eyJlbWFpbCI6ImFAYi5jIn0.s", "email", out, 6), 0);
    assert_int_equal(pm_jwt_claim(HEAD "eyJlbWFpbCI6ImFAYi5jIn0.s", "email", out, 5), -ENOENT);
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_claim_of_a_jwt_is_found),
        cmocka_unit_test(what_is_no_jwt_says_nothing),
        cmocka_unit_test(a_claim_that_does_not_fit_is_not_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
