/* Contents as base64 in JSON. Down: what comes out does not depend on how the bytes came in, and is what
 * somebody finds who parses the whole text first. Up: what is made can be taken apart again.
 *
 * The first byte chooses: from 128 on, the rest is a content; else an answer. Its lower bits make chunks. */
#include "backends/b64.h"
#include "backends/json.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <sys/mman.h>

#define KEY "fileData"

struct result {
    struct pm_buf bytes;
    int           err;
    bool          whole, found;
};

static int take(void *arg, const void *data, size_t len)
{
    CHECK(len > 0 && len <= 16384);
    pm_buf_add(arg, data, len);
    return 0;
}

static struct result cut(const char *text, size_t len, size_t most, unsigned seed)
{
    struct result      r = {.err = 0};
    struct pm_b64_cut *c = pm_b64_cut_new(KEY, take, &r.bytes);
    struct cJSON      *rest;

    CHECK(c);
    for (size_t at = 0, n; at < len; at += n) {
        seed = seed * 1103515245u + 12345u;
        n = 1 + (seed >> 16) % most;
        n = n > len - at ? len - at : n;
        PM_AUTO(free) char *chunk = fuzz_bytes(text + at, n);
        int                 err = pm_b64_cut_feed(c, chunk, n);

        CHECK((err == 0 || err == -EIO) && (!r.err || err == r.err)); /* a failure stays */
        r.err = err;
    }
    rest = pm_b64_cut_rest(c);
    r.whole = rest != NULL;
    r.found = pm_b64_cut_found(c);
    CHECK(!r.whole || !r.err);
    if (!r.err)
        CHECK(r.bytes.len == pm_b64_cut_bytes(c) || !r.whole);
    pm_json_free(rest);
    pm_b64_cut_free(c);
    return r;
}

/* --- the other way to do it */

static int digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char       *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* Percent-encoding and line breaks taken away; NULL: it is no percent-encoding. */
static char *bare_text(const char *s)
{
    PM_AUTO(free) char *decoded = pm_urldec(s);
    char               *bare = decoded ? fuzz_text(decoded, strlen(decoded)) : NULL, *to = bare;

    for (const char *p = bare; p && *p; p++)
        if (!strchr("\r\n\t", *p))
            *to++ = *p;
    if (bare)
        *to = '\0';
    return bare;
}

static bool decode(const char *text, struct pm_buf *out)
{
    PM_AUTO(free) char *s = bare_text(text);
    size_t              len = s ? strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") : 0;
    size_t              pads = s ? strlen(s + len) : 0;

    if (!s || strspn(s + len, "=") != pads || len % 4 == 1 || (pads && (len + pads) % 4) || pads > 2)
        return false;
    for (size_t i = 0; i < len; i += 4) {
        unsigned group = 0;

        for (size_t k = 0; k < 4; k++)
            group = group << 6 | (unsigned)(i + k < len ? digit(s[i + k]) : 0);
        for (size_t k = 0; k < 3 && i + k + 1 < len; k++)
            pm_buf_add(out, &(char){(char)(group >> (16 - 8 * k))}, 1);
    }
    return true;
}

static const struct cJSON *member_of(const struct cJSON *v)
{
    for (const struct cJSON *m = pm_json_is_object(v) ? pm_json_first(v) : NULL; m; m = pm_json_next(m))
        if (!strcmp(pm_json_name(m), KEY) && pm_json_string(m))
            return m;
    return NULL;
}

static bool has_controls(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 && !strchr("\r\n\t", text[i]))
            return true;
    return memchr(text, '\0', len) != NULL;
}

static void check_against_whole(const struct result *r, const char *text, size_t len)
{
    struct cJSON                 *v = pm_json_parse(text, len);
    const struct cJSON           *m = member_of(v);
    PM_AUTO(pm_buf) struct pm_buf out = {0};
    bool                          good = m && decode(pm_json_string(m), &out);

    if (r->whole && r->found) {
        CHECK(good || memchr(text, '\xef', len)); /* a late BOM is allowed */
        CHECK(!good || (out.len == r->bytes.len && (!out.len || !memcmp(out.ptr, r->bytes.ptr, out.len))));
    } else if (good && !has_controls(text, len)) {
        CHECK(memchr(text, '\\', len)); /* the name was escaped */
    }
    pm_json_free(v);
}

/* --- up */

static void there_and_back(unsigned how, const char *content, size_t size)
{
    int                 fd = memfd_create("fuzz", MFD_CLOEXEC);
    struct pm_b64_body *b = NULL;
    PM_AUTO(free) char *text = NULL;
    struct result       r;
    size_t              len;

    CHECK(fd >= 0 && pm_pwrite_all(fd, content, size, 0) == (ssize_t)size);
    CHECK(pm_b64_body_new(fd, size, "{\"a\":1,\"" KEY "\":\"", "\"}", how & 64, NULL, &b) == 0);
    len = (size_t)pm_b64_body_len(b);
    text = malloc(len);
    CHECK(text);
    for (size_t at = 0, n = 1 + how % 32; at < len; at += n) {
        n = n < len - at ? n : len - at;
        CHECK(pm_b64_body_read(b, text + at, n, at) == (ssize_t)n);
    }
    CHECK(pm_b64_body_read(b, text, 1, len) == 0);
    r = cut(text, len, 1 + how % 32, how);
    CHECK(r.whole && r.found && r.bytes.len == size);
    CHECK(!size || !memcmp(r.bytes.ptr, content, size));
    pm_buf_free(&r.bytes);
    pm_b64_body_free(b);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PM_AUTO(free) char *text = NULL;
    struct result       one, many;
    unsigned            how;

    if (size == 0)
        return 0;
    how = data[0];
    text = fuzz_bytes(data + 1, --size);
    if (how & 128) {
        there_and_back(how, text, size);
        return 0;
    }
    one = cut(text, size, SIZE_MAX / 2, 0);
    many = cut(text, size, 1 + how % 32, how);
    CHECK(one.err == many.err && one.whole == many.whole && one.found == many.found);
    if (!one.err)
        CHECK(one.bytes.len == many.bytes.len &&
              (!one.bytes.len || !memcmp(one.bytes.ptr, many.bytes.ptr, one.bytes.len)));
    check_against_whole(&one, text, size);
    pm_buf_free(&one.bytes);
    pm_buf_free(&many.bytes);
    return 0;
}
