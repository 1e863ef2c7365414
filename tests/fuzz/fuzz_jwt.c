/* Tokens, of which one says whom it is for. The input is a token. */
#include "backends/jwt.h"
#include "tests/fuzz/fuzz.h"

#include <ctype.h>
#include <errno.h>

/* Three parts between dots, the second of base64url's digits. */
static bool has_form(const char *token)
{
    const char *first = strchr(token, '.');
    const char *second = first ? strchr(first + 1, '.') : NULL;

    if (!second || strchr(second + 1, '.'))
        return false;
    for (const char *p = first + 1; p < second; p++)
        if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_')
            return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PM_AUTO(free) char *token = fuzz_text(data, size);
    char                out[64], small[8];
    int                 err = pm_jwt_claim(token, "email", out, sizeof(out));

    CHECK(err == 0 || err == -ENOENT);
    CHECK((err == 0) == (*out != '\0'));
    CHECK(err || has_form(token));
    CHECK(strlen(out) < sizeof(out) && pm_utf8_valid(out));
    for (const char *p = out; *p; p++)
        CHECK(!iscntrl((unsigned char)*p));
    CHECK(pm_jwt_claim(token, "email", small, sizeof(small)) ==
          (strlen(out) < sizeof(small) && *out ? 0 : -ENOENT));
    CHECK(!*small || !strcmp(small, out));
    return 0;
}
