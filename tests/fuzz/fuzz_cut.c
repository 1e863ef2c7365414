/* The cutter of huge lists: what comes out does not depend on how the bytes came in, and is what
 * the whole parser sees. The first byte chooses the list's name and the chunks. */
#include "backends/json.h"
#include "tests/fuzz/valid_json.h"

#include <errno.h>

struct pieces {
    struct pm_buf text; /* each with its length before it */
    size_t        count;
    size_t        broken; /* pieces that are no JSON */
    size_t        stop_after;
};

static int take(void *arg, const char *text, size_t len)
{
    struct pieces *p = arg;
    struct cJSON  *v;

    CHECK(len > 0);
    v = pm_json_parse(text, len);
    p->broken += v == NULL;
    pm_json_free(v);
    pm_buf_add(&p->text, &len, sizeof(len));
    pm_buf_add(&p->text, text, len);
    return ++p->count == p->stop_after ? -ECANCELED : 0;
}

struct result {
    struct pieces pieces;
    int           err;
    bool          whole;
    bool          rest;
};

/* Feeds chunks of 1 to `most` bytes, by a sequence that `seed` begins. */
static struct result cut(const char *text, size_t len, const char *key, size_t most, unsigned seed,
                         size_t stop_after)
{
    struct result       r = {.pieces.stop_after = stop_after};
    struct pm_json_cut *c = pm_json_cut_new(key, take, &r.pieces);
    struct cJSON       *rest;

    CHECK(c);
    for (size_t at = 0, n; at < len; at += n) {
        seed = seed * 1103515245u + 12345u;
        n = 1 + (seed >> 16) % most;
        n = n > len - at ? len - at : n;
        PM_AUTO(free) char *chunk = fuzz_bytes(text + at, n);
        int                 err = pm_json_cut_feed(c, chunk, n);

        CHECK(err <= 0 && (!r.err || err == r.err)); /* a failure stays */
        r.err = err;
    }
    rest = pm_json_cut_rest(c);
    r.rest = rest != NULL;
    r.whole = pm_json_cut_whole(c);
    CHECK(!r.whole || (r.rest && !r.err));
    pm_json_free(rest);
    pm_json_cut_free(c);
    return r;
}

static void check_same(struct result *a, struct result *b)
{
    CHECK(a->err == b->err && a->whole == b->whole && a->rest == b->rest);
    CHECK(a->pieces.count == b->pieces.count && a->pieces.text.len == b->pieces.text.len);
    CHECK(!a->pieces.count || !memcmp(a->pieces.text.ptr, b->pieces.text.ptr, a->pieces.text.len));
}

/* Against the two who read the whole text. */
static void check_against_whole(const struct result *r, const char *text, size_t len)
{
    struct valid_json valid;
    struct cJSON     *v;

    if (valid_json(&valid, text, len)) {
        CHECK(r->whole == valid.list && !r->pieces.broken);
        CHECK(r->pieces.count == valid.elements);
        CHECK(!r->err || !(valid.object || valid.list));
    } else if (r->whole && !r->pieces.broken && len < 60) { /* nothing in it is too deep */
        v = pm_json_parse(text, len);
        CHECK(v || !strncmp(text, " ", 1) || memchr(text, '\xef', len)); /* a late BOM is allowed */
        pm_json_free(v);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const keys[] = {NULL, "data", "models", ""};
    PM_AUTO(free) char      *text = NULL;
    struct result            one, many;
    const char              *key;
    unsigned                 how;

    if (size == 0)
        return 0;
    how = data[0];
    key = keys[how % 4];
    text = fuzz_bytes(data + 1, --size);
    one = cut(text, size, key, SIZE_MAX / 2, 0, how & 128 ? 3 : 0);
    many = cut(text, size, key, 1 + how / 4 % 32, how, how & 128 ? 3 : 0);
    check_same(&one, &many);
    if (!key && !(how & 128))
        check_against_whole(&one, text, size);
    pm_buf_free(&one.pieces.text);
    pm_buf_free(&many.pieces.text);
    return 0;
}
