/* JSON answers: the strict parser, and the getters on whatever it let pass. */
#include "backends/json.h"
#include "tests/fuzz/valid_json.h"

static const char *const keys[] = {"id", "_id", "$oid", "size", "updated", "name", "data", ""};

/* False leaves the buffer alone, true is a whole string in it. */
static void check_scalar(const struct cJSON *v, const char *key, size_t size)
{
    char out[160], before[160];
    bool ok;

    memset(out, 'x', sizeof(out));
    memcpy(before, out, sizeof(out));
    ok = key ? pm_json_scalar(v, key, out, size) : pm_json_id(v, out, size);
    if (ok)
        CHECK(strnlen(out, size) < size);
    else
        CHECK(!memcmp(out, before, sizeof(out)));
}

static void check_numbers(const struct cJSON *v, const char *key)
{
    uint64_t number = 17, again = 17;
    int64_t  ms = pm_json_ms(v, key);

    if (pm_json_u64(v, key, &number))
        CHECK(number <= INT64_MAX && pm_json_u64(v, key, &again) && again == number);
    else
        CHECK(number == 17);
    CHECK(ms > -100000000000000 && ms <= INT64_MAX / 2); /* the year -1200, and a sum that fits */
    CHECK(pm_json_bool(v, key, true) || !pm_json_bool(v, key, false));
}

static void check_member(const struct cJSON *v, const char *key)
{
    const char *text = pm_json_text(v, key);

    CHECK(!text || pm_json_string(pm_json_get(v, key)) == text);
    check_numbers(v, key);
    check_scalar(v, key, 1);
    check_scalar(v, key, 9);
    check_scalar(v, key, 128);
}

/* What was read as text can be written and read again. */
static void check_text(const char *text)
{
    PM_AUTO(pm_buf) struct pm_buf b = {0};
    struct cJSON *again;

    if (!pm_utf8_valid(text))
        return;
    pm_buf_json(&b, text);
    again = pm_json_parse(b.ptr, b.len);
    CHECK(again && pm_json_string(again) && !strcmp(pm_json_string(again), text));
    pm_json_free(again);
}

static void check_value(const struct cJSON *v, int depth)
{
    CHECK(depth <= PM_JSON_DEPTH);
    CHECK(pm_json_is_array(v) + pm_json_is_object(v) + (pm_json_string(v) != NULL) <= 1);
    for (size_t i = 0; i < PM_COUNT(keys); i++)
        check_member(v, keys[i]);
    check_scalar(v, NULL, 1);
    check_scalar(v, NULL, 128);
    if (pm_json_string(v))
        check_text(pm_json_string(v));
    for (const struct cJSON *c = pm_json_first(v); c; c = pm_json_next(c))
        check_value(c, depth + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PM_AUTO(free) char *text = fuzz_bytes(data, size);
    struct cJSON       *v = pm_json_parse(text, size);
    struct valid_json   valid;

    CHECK(v || !valid_json(&valid, text, size));
    CHECK(!v || !memchr(text, '\0', size));
    check_value(v, 0);
    pm_json_free(v);
    return 0;
}
