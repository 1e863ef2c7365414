/* What is read from a storage host's addresses and answers: signed URLs, names, digests, marks of sessions,
 * errors. The input is a URL, or a header's value, or an error's body: each is taken as all of them. */
#include "backends/resumable.h"
#include "backends/signed.h"
#include "tests/fuzz/fuzz.h"

#include <ctype.h>

static void check_name(const char *name)
{
    CHECK(!name || *name);
}

static void check_use(const char *url)
{
    static const int64_t clocks[] = {1, INT64_C(1551430800000), INT64_C(1795353680000)};

    CHECK(pm_signed_use_ms(url, 0) >= 0); /* nobody's clock */
    for (size_t i = 0; i < PM_COUNT(clocks); i++) {
        int64_t use = pm_signed_use_ms(url, clocks[i]);

        CHECK(use >= 0 && use < INT64_MAX / 2);
        CHECK(pm_signed_use_ms(url, clocks[i] + 1000) <= use || use == 0); /* it never lives longer */
    }
}

static void check_digest(const char *header)
{
    char digest[PM_SIGNED_DIGEST_MAX];

    pm_signed_digest(header, digest);
    CHECK(!*digest || (!strncmp(digest, "crc32c=", 7) && strlen(digest) == 15) ||
          (!strncmp(digest, "md5=", 4) && strlen(digest) == 28));
}

static void check_mark(const char *range)
{
    uint64_t held = UINT64_MAX;

    if (pm_resumable_mark(range, &held))
        CHECK(held <= INT64_MAX && !held == !*range);
    else
        CHECK(held == UINT64_MAX);
    CHECK(pm_resumable_kind(range, false) <= PM_RESUMABLE_WHOLE);
}

static void check_error(const uint8_t *data, size_t size)
{
    PM_AUTO(free) char *body = fuzz_bytes(data, size);
    char                code[PM_SIGNED_CODE_MAX];

    pm_signed_error(body, size, code);
    CHECK(memchr(code, '\0', sizeof(code)));
    for (const char *c = code; *c; c++)
        CHECK(isalnum((unsigned char)*c));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PM_AUTO(free) char *text = fuzz_text(data, size);
    PM_AUTO(free) char *disposition = pm_signed_disposition(text);
    PM_AUTO(free) char *name = pm_signed_file_name(text);
    PM_AUTO(free) char *parameter = pm_signed_parameter(text, "x-goog-date");

    check_name(disposition);
    check_name(name);
    CHECK(!parameter || strlen(parameter) <= strlen(text));
    check_use(text);
    check_digest(text);
    check_mark(text);
    check_error(data, size);
    return 0;
}
