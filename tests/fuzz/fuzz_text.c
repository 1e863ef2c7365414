/* Text made for others: percent-encoding and back, JSON strings and back. */
#include "backends/json.h"
#include "tests/fuzz/fuzz.h"

static void check_url(const char *text)
{
    PM_AUTO(pm_buf) struct pm_buf b = {0};
    PM_AUTO(free) char *back = NULL;

    pm_buf_urlenc(&b, text);
    back = pm_urldec(b.len ? b.ptr : "");
    CHECK(back && !strcmp(back, text));
    CHECK(b.len == 0 || (strlen(b.ptr) == b.len && !strpbrk(b.ptr, "/?#&=+ \r\n\"'\\<>:@;")));
    for (size_t i = 0; i < b.len; i++)
        CHECK((unsigned char)b.ptr[i] > 0x20 && (unsigned char)b.ptr[i] < 0x7f);
}

/* What comes from elsewhere: refused, or whole; never longer. */
static void check_decoding(const char *text)
{
    PM_AUTO(free) char *raw = pm_urldec(text);

    CHECK(raw || strchr(text, '%'));
    CHECK(!raw || strlen(raw) <= strlen(text));
    CHECK(!raw || strchr(text, '%') || !strcmp(raw, text));
}

static void check_json(const char *text)
{
    PM_AUTO(pm_buf) struct pm_buf b = {0};
    struct cJSON *v;
    const char   *back;

    pm_buf_json(&b, text);
    CHECK(!b.failed && strlen(b.ptr) == b.len && pm_utf8_valid(b.ptr));
    v = pm_json_parse(b.ptr, b.len);
    back = pm_json_string(v);
    CHECK(back && pm_utf8_valid(back));
    CHECK(pm_utf8_valid(text) == !strcmp(back, text));
    for (size_t i = 0; i < b.len; i++) /* one line, whatever it holds */
        CHECK((unsigned char)b.ptr[i] >= 0x20 && b.ptr[i] != 0x7f);
    pm_json_free(v);
}

/* One character after the other, as the whole says. */
static void check_utf8(const char *text)
{
    size_t left = strlen(text), n = 1;

    for (const char *s = text; left && n; s += n, left -= n) {
        PM_AUTO(free) char *exact = fuzz_bytes(s, left > 4 ? 4 : left);

        n = pm_utf8_len(exact, left > 4 ? 4 : left);
        CHECK(n <= 4 && n <= left);
    }
    CHECK((left == 0) == pm_utf8_valid(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PM_AUTO(free) char *text = fuzz_text(data, size);

    check_url(text);
    check_decoding(text);
    check_json(text);
    check_utf8(text);
    return 0;
}
