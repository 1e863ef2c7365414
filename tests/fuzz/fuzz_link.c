/* Link files (.url): the address that one has, if any, is one that can go into JSON and to a service. */
#include "cache/send_draft.c"

#include "backends/json.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PM_AUTO(free) char *text = fuzz_text(data, size);
    PM_AUTO(free) char *address = address_in(text);

    if (!address)
        return 0;
    CHECK(!strncasecmp(address, "https://", 8) || !strncasecmp(address, "http://", 7));
    CHECK(pm_utf8_valid(address));
    for (const char *p = address; *p; p++)
        CHECK((unsigned char)*p > ' ' && *p != 0x7f);
    return 0;
}
