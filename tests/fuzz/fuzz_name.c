/* Names of a service as names in a folder. The input is two raw names with a NUL between them. */
#include "cache/name.h"
#include "tests/fuzz/fuzz.h"

static void check_shown(const char *shown)
{
    size_t len = strnlen(shown, PM_NAME_MAX + 1);

    CHECK(len >= 1 && len <= PM_NAME_MAX);
    CHECK(!strchr(shown, '/') && strcmp(shown, ".") != 0 && strcmp(shown, "..") != 0);
    CHECK(pm_utf8_valid(shown));
}

/* What a program may name is shown as it is. */
static bool is_plain(const char *raw)
{
    return *raw && !strchr(raw, '/') && strcmp(raw, ".") != 0 && strcmp(raw, "..") != 0 &&
           !strstr(raw, "\xe2\x90\x9b") && pm_utf8_valid(raw) && strlen(raw) <= PM_NAME_MAX;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PM_AUTO(free) char *raw = fuzz_text(data, size);
    size_t              used = strlen(raw) < size ? strlen(raw) + 1 : size;
    PM_AUTO(free) char *other = fuzz_text(data + used, size - used);
    char                a[PM_NAME_MAX + 1], b[PM_NAME_MAX + 1];

    pm_name_show(raw, a);
    check_shown(a);
    CHECK(!pm_name_is_duplicate(a));
    CHECK(!is_plain(raw) || !strcmp(a, raw));
    CHECK(pm_name_check(raw) != 0 || strlen(raw) <= PM_NAME_MAX);
    pm_name_show(other, b);
    CHECK(!strcmp(raw, other) == !strcmp(a, b)); /* two names are never shown as one */
    pm_name_show_duplicate(raw, other, b);
    check_shown(b);
    CHECK(pm_name_is_duplicate(b) && strcmp(a, b) != 0);
    pm_name_is_temporary(raw);
    pm_name_is_litter(raw);
    return 0;
}
