/* The size of a picture, from headers as programs write them, and from those that lie. */
#include "backends/picture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char png[] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x10\0\0\0\x08\0\x08\x06\0\0\0";
/* APP0 of 16 bytes, fill, a table, and a progressive frame */
static const char jpeg[] = "\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xff\xc4\0\4ab\xff\xc2\0\x11"
                           "\x08\x08\0\x10\0\3";
static const char vp8[] = "RIFF\0\0\0\0WEBPVP8 \0\0\0\0\x30\1\0\x9d\1\x2a\0\x10\0\x08";
static const char vp8l[] = "RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\xff\xcf\xff\x01\0\0\0\0\0";
static const char vp8x[] = "RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\xff\x0f\0\xff\x07\0";

static bool size_of(const void *data, size_t len, uint32_t *w, uint32_t *h)
{
    FILE *f = tmpfile();
    bool  told;

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fflush(f), 0);
    told = pm_picture_size(fileno(f), len, w, h);
    fclose(f);
    return told;
}

static void is_4096_by_2048(const char *data, size_t len)
{
    uint32_t w = 0, h = 0;

    assert_true(size_of(data, len, &w, &h));
    assert_int_equal(w, 4096);
    assert_int_equal(h, 2048);
}

static void every_kind_tells_its_size(void **state)
{
    (void)state;
    is_4096_by_2048(png, sizeof(png));
    is_4096_by_2048(jpeg, sizeof(jpeg));
    is_4096_by_2048(vp8, sizeof(vp8));
    is_4096_by_2048(vp8l, sizeof(vp8l));
    is_4096_by_2048(vp8x, sizeof(vp8x));
}

static void what_is_cut_or_lies_tells_none(void **state)
{
    static const char endless[64] = "\xff\xd8\xff\xe0\0\0\xff\xe0\0\0";
    static const char none[40] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\0\0\0\x08";
    uint32_t          w, h;

    (void)state;
    for (size_t len = 0; len < 30; len++) {
        assert_false(size_of(png, len, &w, &h));
        assert_false(size_of(vp8x, len, &w, &h));
    }
    for (size_t len = 0; len < sizeof(jpeg) - 2; len++)
        assert_false(size_of(jpeg, len, &w, &h));
    assert_false(size_of(endless, sizeof(endless), &w, &h));
    assert_false(size_of(none, sizeof(none), &w, &h));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_tells_its_size),
        cmocka_unit_test(what_is_cut_or_lies_tells_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
