/* Addresses: the origin that decides whether a token goes along, and where a redirect leads. The
 * input is an address, a line feed, a Location header. */
#include "backends/http_impl.h"
#include "tests/fuzz/fuzz.h"

#include <arpa/inet.h>

/* The answer's address, as curl would tell it. */
static CURLcode fake_getinfo(const char *url, CURLINFO info, char **out)
{
    (void)info;
    *out = (char *)url;
    return CURLE_OK;
}

#undef curl_easy_getinfo
#define curl_easy_getinfo(easy, info, out) fake_getinfo((const char *)(easy), info, (void *)(out))
#include "backends/http_request.c"

static bool is_loopback(const char *host, size_t len)
{
    char           text[64] = "";
    struct in_addr v4;

    if (len >= sizeof(text))
        return false;
    memcpy(text, host, len);
    if (inet_pton(AF_INET, text, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return !strcmp(text, "localhost") || !strcmp(text, "[::1]");
}

static void check_origin(const char *origin)
{
    PM_AUTO(free) char *again = pm_http_origin(origin);
    bool                plain = !strncmp(origin, "http://", 7);
    const char         *host = origin + (plain ? 7 : 8);
    const char         *colon = strrchr(origin, ':');

    CHECK(again && !strcmp(again, origin)); /* a fixed point */
    CHECK(plain || !strncmp(origin, "https://", 8));
    CHECK(colon > host && strspn(colon + 1, "0123456789") == strlen(colon + 1) && colon[1]);
    CHECK(!strpbrk(host, "@/?# \r\n"));
    CHECK(!plain || is_loopback(host, (size_t)(colon - host)));
}

static void check_redirect(const char *base, const char *location)
{
    struct transfer     t = {.easy = (void *)base};
    char               *target = find_redirect(&t, location);
    PM_AUTO(free) char *from = pm_http_origin(base);
    PM_AUTO(free) char *to = target ? pm_http_origin(target) : NULL;

    if (to)
        check_origin(to);
    if (target)
        CHECK(strchr(target, ':'));
    if (target && from && to && *location == '/' && location[1] != '/' && location[1] != '\\')
        CHECK(!strcmp(from, to)); /* a path stays on its host */
    curl_free(target);
}

/* What is logged of an address has no secret. */
static void check_label(const char *url)
{
    struct pm_http_request req = {.method = "GET", .url = url};
    PM_AUTO(free) char    *label = make_label(&req);

    CHECK(label && !strncmp(label, "GET /", 5) && !strpbrk(label, "?#"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t              len = 0;
    const uint8_t      *piece = fuzz_piece(&data, &size, '\n', &len);
    PM_AUTO(free) char *url = fuzz_text(piece, len);
    PM_AUTO(free) char *location = fuzz_text(data, size);
    PM_AUTO(free) char *origin = pm_http_origin(url);

    if (origin)
        check_origin(origin);
    check_label(url);
    check_redirect(url, location);
    return 0;
}
