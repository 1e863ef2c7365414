/* The look into status.json, which anybody may have written, and paths made absolute. The input is
 * the name of a member, a NUL, the text. */
#include "backends/json.h"
#include "fs/find.h"
#include "tests/fuzz/valid_json.h"

#include <errno.h>

/* Where the text is JSON for everybody, the quick look and the parser see the same. */
static void compare(const char *text, const char *member, const char *string, bool has_number,
                    int64_t number)
{
    struct valid_json valid;
    struct cJSON     *v;
    const char       *told;
    uint64_t          n;

    if (strstr(text, "\\u") || strpbrk(member, "\"\\") ||
        !valid_json(&valid, text, strlen(text)) || !valid.object)
        return;
    v = pm_json_parse(text, strlen(text));
    told = pm_json_text(v, member);
    if (!strchr(text, '\\') || !told || string) /* an escaped name is not looked for */
        CHECK(!string == !told && (!told || !strcmp(told, string)));
    if (has_number && number >= 0 && number < 1L << 53)
        CHECK(pm_json_u64(v, member, &n) && n == (uint64_t)number);
    CHECK(!has_number || !string);
    pm_json_free(v);
}

static void check_path(const char *path)
{
    PM_AUTO(free) char *whole = pm_path_absolute(path);
    PM_AUTO(free) char *again = whole ? pm_path_absolute(whole) : NULL;
    PM_AUTO(free) char *framed = pm_asprintf("%s/", whole ? whole : "");

    CHECK(whole && again && framed && *whole == '/' && !strcmp(whole, again));
    CHECK(!strstr(whole, "//") && !strstr(framed, "/./") && !strstr(framed, "/../"));
    CHECK(!whole[1] || whole[strlen(whole) - 1] != '/');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PM_AUTO(free) char *member = fuzz_text(data, size);
    size_t              used = strlen(member) < size ? strlen(member) + 1 : size;
    PM_AUTO(free) char *text = fuzz_text(data + used, size - used);
    PM_AUTO(free) char *string = pm_peek_string(text, member);
    int64_t             number = 17;
    int                 err = pm_peek_number(text, member, &number);

    CHECK(err == 0 || (err == -ENOENT && number == 17));
    CHECK(!string || strlen(string) <= strlen(text));
    compare(text, member, string, err == 0, number);
    check_path(member);
    check_path(text);
    return 0;
}
