/* What 360-for-you's records tell, a field at a time. */
#include "backends/three_sixty_impl.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *record, *name;
    int         err;
    const char *value;
} rows[] = {
    {"{\"status\":100}", "status", 0, "100"},
    {"{\"status\":\"40\"}", "status", 0, "40"},
    {"{\"title\":\"A \\\"b\\\"\"}", "title", 0, "A \"b\""},
    {"{\"errors\":null}", "errors", -ENODATA, ""},
    {"{\"errors\":\"\"}", "errors", -ENODATA, ""},
    {"{\"errors\":[]}", "errors", -ENODATA, ""},
    {"{\"errors\":[\"one\",\"two\"]}", "errors", 0, "one; two"},
    {"{\"errors\":[{\"code\":1}]}", "errors", 0, "{\"code\":1}"},
    {"{\"url\":\"https://elsewhere.org/x\"}", "url", 0, "https://elsewhere.org/x"},
    {"{}", "url", 0, "https://example.org/projects/a%20b"},
    {"", "url", 0, "https://example.org/projects/a%20b"},
    {"", "status", -ENODATA, ""},
    {"no JSON", "status", -ENODATA, ""},
    {"{\"access_token\":\"x\"}", "access_token", -ENODATA, ""}, /* may be a secret */
    {"{\"title\":\"0123456789012345678901234567890123456789\"}", "title", -ERANGE, ""},
};

static void a_field_is_told_in_words(void **state)
{
    struct pm_account_conf account = {.endpoint = (char *)"https://example.org/api/v1"};
    struct pm_backend      b = {.conf = &account};
    const struct pm_entry  e = {.kind = PM_FOLDER, .id = "a b"};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        char out[40] = "";
        int  err = pm_ts_field(&b, &e, rows[i].record, rows[i].name, out, sizeof(out));

        if (err != rows[i].err || strcmp(out, rows[i].value) != 0)
            fail_msg("%s of %s: %d '%s'", rows[i].name, rows[i].record, err, out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_field_is_told_in_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
