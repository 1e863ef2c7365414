/* Short values that people and services write: sizes, durations, Retry-After (the answer's Date follows
 * on a line of its own). */
#include "backends/conf.h"
#include "backends/http.h"
#include "tests/fuzz/fuzz.h"

#include <ctype.h>
#include <errno.h>

struct unit {
    const char *name;
    uint64_t    factor;
};

/* Digits and one of the units, 63 bits in all: nothing else. -1: refused. */
static __int128 value_of(const char *text, const struct unit *units, size_t n)
{
    __int128 value = 0;

    if (!isdigit((unsigned char)*text))
        return -1;
    for (; isdigit((unsigned char)*text); text++)
        if (value < (__int128)1 << 100)
            value = value * 10 + (*text - '0');
    for (size_t i = 0; i < n; i++)
        if (!strcasecmp(text, units[i].name) && value <= INT64_MAX / (__int128)units[i].factor)
            return value * (__int128)units[i].factor;
    return -1;
}

static void check_retry_after(char *text)
{
    char   *date = strchr(text, '\n');
    int64_t ms;

    if (date)
        *date++ = '\0';
    ms = pm_http_retry_after_ms(text, date ? date : "");
    CHECK(ms >= 0 && ms <= 24 * 3600 * 1000);
    if (isdigit((unsigned char)*text) && strspn(text, "0123456789") == strlen(text))
        CHECK(ms == 24 * 3600 * 1000 || ms == atoll(text) * 1000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct unit sizes[] = {
        {"", 1}, {"K", 1u << 10}, {"M", 1u << 20}, {"G", 1u << 30}, {"T", 1ull << 40}};
    static const struct unit times[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    PM_AUTO(free) char *text = fuzz_text(data, size);
    uint64_t            bytes = 17;
    int64_t             ms = 17;
    __int128            want = value_of(text, sizes, PM_COUNT(sizes));
    int                 err = pm_parse_size(text, &bytes);

    CHECK(want < 0 ? err == -EINVAL && bytes == 17 : err == 0 && bytes == (uint64_t)want);
    want = strcmp(text, "0") ? value_of(text, times, PM_COUNT(times)) : 0;
    err = pm_parse_duration(text, &ms);
    CHECK(want < 0 ? err == -EINVAL && ms == 17 : err == 0 && ms == (int64_t)want);
    check_retry_after(text);
    return 0;
}
