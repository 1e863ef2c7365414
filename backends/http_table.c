/* What foreign words mean: HTTP statuses and curl's codes as errno, and whether to try again. */
#include "backends/http.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>

static const struct {
    int  from, to;
    int  err;
    bool retry;
} statuses[] = {
    {200, 299, 0, false},
    {300, 399, -EIO, false}, /* a redirect that is not ours to follow */
    {401, 401, -EACCES, false},
    {402, 402, -EUSERS, false},
    {403, 403, -EACCES, false},
    {404, 404, -ENOENT, false},
    {405, 405, -EOPNOTSUPP, false},
    {407, 407, -EACCES, false},
    {408, 408, -ETIMEDOUT, true},
    {409, 409, -EEXIST, false},
    {410, 410, -ENOENT, false},
    {412, 412, -ESTALE, false},
    {413, 413, -EFBIG, false},
    {414, 414, -ENAMETOOLONG, false},
    {416, 416, -ESTALE, false},
    {423, 423, -EBUSY, false},
    {425, 425, -ETIMEDOUT, true},
    {429, 429, -EBUSY, true},
    {451, 451, -EACCES, false},
    {400, 499, -EINVAL, false}, /* those not named above */
    {501, 501, -EOPNOTSUPP, false},
    {504, 504, -ETIMEDOUT, true},
    {507, 507, -EDQUOT, false},
    {500, 599, -EIO, true},
};

static const struct {
    CURLcode code;
    int      err;
    bool     retry;
} codes[] = {
    {CURLE_OK, 0, false},
    {CURLE_COULDNT_RESOLVE_HOST, -ENETUNREACH, true},
    {CURLE_COULDNT_RESOLVE_PROXY, -ENETUNREACH, true},
    {CURLE_COULDNT_CONNECT, -ECONNREFUSED, true},
    {CURLE_PROXY, -ECONNREFUSED, true},
    {CURLE_OPERATION_TIMEDOUT, -ETIMEDOUT, true},
    {CURLE_SSL_CONNECT_ERROR, -EPROTO, true}, /* also a connection cut while shaking hands */
    {CURLE_PEER_FAILED_VERIFICATION, -EPROTO, false},
    {CURLE_SSL_CACERT_BADFILE, -EPROTO, false},
    {CURLE_SSL_CERTPROBLEM, -EPROTO, false},
    {CURLE_SSL_CIPHER, -EPROTO, false},
    {CURLE_SSL_ISSUER_ERROR, -EPROTO, false},
    {CURLE_SSL_INVALIDCERTSTATUS, -EPROTO, false},
    {CURLE_UNSUPPORTED_PROTOCOL, -EIO, true}, /* an answer that is no HTTP */
    {CURLE_URL_MALFORMAT, -EINVAL, false},
    {CURLE_OUT_OF_MEMORY, -ENOMEM, false},
    {CURLE_PARTIAL_FILE, -EIO, true},
    {CURLE_GOT_NOTHING, -EIO, true},
    {CURLE_SEND_ERROR, -EIO, true},
    {CURLE_RECV_ERROR, -EIO, true},
    {CURLE_HTTP2, -EIO, true},
    {CURLE_HTTP2_STREAM, -EIO, true},
    {CURLE_WEIRD_SERVER_REPLY, -EIO, true},
    {CURLE_SEND_FAIL_REWIND, -EIO, true},
};

struct pm_http_verdict pm_http_judge_status(long status)
{
    for (size_t i = 0; i < PM_COUNT(statuses); i++)
        if (status >= statuses[i].from && status <= statuses[i].to)
            return (struct pm_http_verdict){statuses[i].err, statuses[i].retry};
    return (struct pm_http_verdict){-EIO, false};
}

struct pm_http_verdict pm_http_judge_curl(int code, long os_errno)
{
    if (code == CURLE_COULDNT_CONNECT && (os_errno == ENETUNREACH || os_errno == EHOSTUNREACH))
        return (struct pm_http_verdict){-ENETUNREACH, true};
    for (size_t i = 0; i < PM_COUNT(codes); i++)
        if (codes[i].code == (CURLcode)code)
            return (struct pm_http_verdict){codes[i].err, codes[i].retry};
    return (struct pm_http_verdict){-EIO, false};
}

int64_t pm_http_date_ms(const char *date)
{
    time_t when = *date ? curl_getdate(date, NULL) : -1;

    return when < 0 ? 0 : (int64_t)when * 1000;
}

int64_t pm_http_retry_after_ms(const char *value, const char *date)
{
    const int64_t most = 24 * 3600 * 1000;
    int64_t       ms;
    time_t        when, now = *date ? curl_getdate(date, NULL) : -1;

    if (now < 0)
        now = pm_wall_ms() / 1000;
    while (*value == ' ')
        value++;
    if (isdigit((unsigned char)*value)) {
        ms = strlen(value) > 9 ? most : atoll(value) * 1000;
    } else {
        when = *value ? curl_getdate(value, NULL) : -1;
        if (when > now + most / 1000)
            return most; /* some dates have more milliseconds than fit */
        ms = when < 0 ? 0 : ((int64_t)when - now) * 1000;
    }
    return ms < 0 ? 0 : ms > most ? most : ms;
}

int64_t pm_http_backoff_ms(unsigned try)
{
    int64_t  base = try > 6 ? 10000 : 200 << (try - 1);
    uint16_t random = 0;

    pm_random(&random, sizeof(random));
    base = base > 10000 ? 10000 : base;
    return base / 2 + base * random / 65536;
}

static bool is_loopback(const char *host)
{
    struct in_addr v4; /* what is none, such as 127.0.0.300, would be looked up as a name */

    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return !strcmp(host, "localhost") || !strcmp(host, "[::1]");
}

static char *url_part(CURLU *u, CURLUPart part, unsigned flags)
{
    char *text = NULL;

    return curl_url_get(u, part, &text, flags) == CURLUE_OK ? text : NULL;
}

static char *read_origin(const char *url)
{
    CURLU *u = curl_url();
    char  *scheme = NULL, *host = NULL, *port = NULL, *user = NULL, *origin = NULL;

    if (u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK) {
        scheme = url_part(u, CURLUPART_SCHEME, 0);
        host = url_part(u, CURLUPART_HOST, 0);
        port = url_part(u, CURLUPART_PORT, CURLU_DEFAULT_PORT);
        user = url_part(u, CURLUPART_USER, 0);
    }
    for (char *c = host; c && *c; c++)
        *c = (char)tolower((unsigned char)*c);
    if (scheme && host && port && !user &&
        (!strcmp(scheme, "https") || (!strcmp(scheme, "http") && is_loopback(host))))
        origin = pm_asprintf("%s://%s:%s", scheme, host, port);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(user);
    curl_url_cleanup(u);
    return origin;
}

/* curl reads %31 as the name "1", and 1 as 0.0.0.1: what would be read anew as another host is none. */
char *pm_http_origin(const char *url)
{
    char               *origin = read_origin(url);
    PM_AUTO(free) char *again = origin ? read_origin(origin) : NULL;

    if (origin && again && !strcmp(origin, again))
        return origin;
    free(origin);
    return NULL;
}
