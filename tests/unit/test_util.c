#include "backends/backend.h"
#include "backends/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void text_grows_and_is_handed_over(void **state)
{
    struct pm_buf b = {0};
    char         *text;

    (void)state;
    for (int i = 0; i < 1000; i++)
        pm_buf_printf(&b, "%d,", i);
    pm_buf_add(&b, "x\0y", 3);
    assert_int_equal(b.len, 3893);
    text = pm_buf_take(&b);
    assert_memory_equal(text, "0,1,2,", 6);
    assert_null(b.ptr);
    free(text);
    text = pm_buf_take(&b);
    assert_string_equal(text, "");
    free(text);
}

static void json_strings_are_valid(void **state)
{
    struct pm_buf b = {0};

    (void)state;
    pm_buf_json(&b, "a\"\\\n\x01\x7f \xc3\xbc \xff \xed\xa0\x80 \xf0\x9f\x98\x80 \xc0\x80");
    assert_string_equal(b.ptr, "\"a\\\"\\\\\\u000a\\u0001\\u007f \xc3\xbc \xef\xbf\xbd "
                               "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd \xf0\x9f\x98\x80 "
                               "\xef\xbf\xbd\xef\xbf\xbd\"");
    pm_buf_free(&b);
}

static void percent_encoding_goes_both_ways(void **state)
{
    struct pm_buf b = {0};
    char         *back, all[256];

    (void)state;
    for (int i = 1; i < 256; i++)
        all[i - 1] = (char)i;
    all[255] = '\0';
    pm_buf_urlenc(&b, "a b/\xc3\xbc%~-._");
    assert_string_equal(b.ptr, "a%20b%2F%C3%BC%25~-._");
    b.len = 0;
    pm_buf_urlenc(&b, all);
    back = pm_urldec(b.ptr);
    assert_string_equal(back, all);
    free(back);
    pm_buf_free(&b);
    assert_null(pm_urldec("%"));
    assert_null(pm_urldec("%4"));
    assert_null(pm_urldec("%zz"));
    assert_null(pm_urldec("a%00b"));
}

static void files_are_read_and_written_whole(void **state)
{
    FILE *f = tmpfile();
    char  buf[16];

    (void)state;
    assert_int_equal(pm_pwrite_all(fileno(f), "0123456789", 10, 5), 10);
    assert_int_equal(pm_pread_all(fileno(f), buf, 16, 10), 5);
    assert_memory_equal(buf, "56789", 5);
    assert_int_equal(pm_pread_all(fileno(f), buf, 16, 100), 0);
    assert_int_equal(pm_pread_all(-1, buf, 1, 0), -EBADF);
    fclose(f);
}

static void a_wait_ends_in_time(void **state)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t  cond;
    int64_t         start = pm_now_ms();

    (void)state;
    pm_cond_init(&cond);
    pthread_mutex_lock(&lock);
    while (pm_cond_wait_until(&cond, &lock, start + 50) == 0)
        ;
    pthread_mutex_unlock(&lock);
    assert_in_range(pm_now_ms() - start, 50, 10000);
    pthread_cond_destroy(&cond);
}

static void digests_are_sha256(void **state)
{
    char hex[65], random[2][16];

    (void)state;
    pm_digest_sha256_hex("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(pm_random(random[0], 16), 0);
    assert_int_equal(pm_random(random[1], 16), 0);
    assert_memory_not_equal(random[0], random[1], 16);
}

/* Of "123456789": the check value of CRC-32C's definition (RFC 3720 has others), and md5sum's. */
static void whole_files_are_checked_by_their_digest(void **state)
{
    static const struct {
        const char *digest;
        int         verdict;
    } rows[] = {
        {"crc32c=4waSgw==", 1},          {"crc32c=4waSgA==", 0},
        {"md5=JfnnlDI7RTiF9RgfG2JNCw==", 1}, {"md5=JfnnlDI7RTiF9RgfG2JNCQ==", 0},
        {"sha1=AAAA", -ENOTSUP},         {"", -ENOTSUP},
    };
    const atomic_bool stop = true;
    FILE             *f = tmpfile();

    (void)state;
    assert_int_equal(pm_pwrite_all(fileno(f), "123456789", 9, 0), 9);
    for (size_t i = 0; i < PM_COUNT(rows); i++)
        assert_int_equal(pm_digest_check(rows[i].digest, fileno(f), 9, NULL), rows[i].verdict);
    assert_int_equal(pm_digest_check(rows[0].digest, fileno(f), 10, NULL), -EIO); /* it is shorter */
    assert_int_equal(pm_digest_check(rows[0].digest, fileno(f), 9, &stop), -ECANCELED);
    assert_int_equal(pm_digest_check("crc32c=AAAAAA==", fileno(f), 0, NULL), 1);
    fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_grows_and_is_handed_over),
        cmocka_unit_test(json_strings_are_valid),
        cmocka_unit_test(percent_encoding_goes_both_ways),
        cmocka_unit_test(files_are_read_and_written_whole),
        cmocka_unit_test(a_wait_ends_in_time),
        cmocka_unit_test(digests_are_sha256),
        cmocka_unit_test(whole_files_are_checked_by_their_digest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
