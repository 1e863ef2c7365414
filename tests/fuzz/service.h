/* service.h: a service that answers anything, for the targets that run a whole backend.
 *
 * Input: an operation (one letter) and a name; then answers, each after a `~`: a status (a: 200, b: 400,
 * c: 401, d: 404, e: 409, f: 429, g: 500, h: 403, i: 413, other: none came), a letter for the size of the
 * chunks, the body.
 *
 * The target includes this first of its helpers, then defines check_request(). */
#ifndef PM_TESTS_FUZZ_SERVICE_H
#define PM_TESTS_FUZZ_SERVICE_H

#include "backends/http.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#define ENDPOINT "https://fuzz.example"
#define TOKEN    "s3cr3t-t0k3n-that-no-answer-holds"

static const uint8_t *left; /* what is left of the input */
static size_t         nleft;
static char          *service_auth; /* the account's key auth */

/* Each request that is made; the target's. */
static void check_request(const struct pm_http_request *req);

static long status_of(uint8_t letter)
{
    static const long statuses[] = {200, 400, 401, 404, 409, 429, 500, 403, 413};

    return letter >= 'a' && letter - 'a' < (int)PM_COUNT(statuses) ? statuses[letter - 'a'] : 0;
}

/* No segment that a server could take for another place. */
static void check_segments(const char *path)
{
    PM_AUTO(free) char *framed = pm_asprintf("%s/", path);

    CHECK(framed && !strstr(framed, "/../") && !strstr(framed, "/./"));
    CHECK(!strcasestr(path, "%2f") && !strstr(path, "%00"));
}

/* What holds of a request to any service. */
static void check_form(const struct pm_http_request *req)
{
    CHECK(!strncmp(req->url, ENDPOINT "/", strlen(ENDPOINT) + 1));
    for (const char *c = req->url + strlen(ENDPOINT); *c; c++)
        CHECK((unsigned char)*c > 0x20 && (unsigned char)*c < 0x7f && !strchr("#@\\\"<>", *c));
    CHECK(req->auth && !strcmp(req->auth->origin, ENDPOINT));
    if (req->auth->header) {
        CHECK(!strpbrk(req->auth->header, "\r\n"));
    } else {
        char *header = NULL;

        CHECK(req->auth->sign(req->auth->arg, req->method, req->url, &header) == 0);
        CHECK(!strpbrk(header, "\r\n"));
        free(header);
    }
}

static int give(const struct pm_http_request *req, struct pm_http_answer *answer,
                const uint8_t *body, size_t len, size_t chunk)
{
    int err = 0;

    for (size_t at = 0, n; at < len && err >= 0; at += n) {
        n = len - at < chunk ? len - at : chunk;
        PM_AUTO(free) char *exact = fuzz_bytes(body + at, n);

        if (req->data && answer->status / 100 == 2)
            err = req->data(req->arg, exact, n);
        else
            pm_buf_add(&answer->body, exact, n);
    }
    return err < 0 ? err : 0;
}

static int fake_call(struct pm_net *net, struct pm_ctx *ctx, const struct pm_http_request *req,
                     struct pm_http_answer *answer)
{
    size_t         len = 0;
    const uint8_t *piece = fuzz_piece(&left, &nleft, '~', &len);
    int            err;

    (void)net, (void)ctx;
    check_form(req);
    check_request(req);
    answer->status = piece && len > 1 ? status_of(piece[0]) : 0;
    if (!answer->status)
        return req->once ? -EAGAIN : -ECONNREFUSED;
    err = give(req, answer, piece + 2, len - 2, 1 + piece[1] % 64);
    return err ? err : pm_http_judge_status(answer->status).err;
}

#define pm_http_call fake_call
#include "backends/bearer.c"
#undef pm_http_call

static void check_context(const struct pm_ctx *ctx)
{
    CHECK(memchr(ctx->why, '\0', sizeof(ctx->why)) && !strstr(ctx->why, TOKEN));
}

/* An input: `run` carries the operation out. */
static int run_service(const char *type, const struct pm_kv *kv, const uint8_t *data, size_t size,
                       void (*run)(struct pm_backend *b, char op, const char *name))
{
    char                   how[] = "", value[] = TOKEN, endpoint[] = ENDPOINT, account[] = "a";
    char                   keys[][16] = {"token", "consumer_key", "consumer_secret", "access_token", "access_secret"};
    PM_AUTO(free) char    *kind = fuzz_text(type, strlen(type));
    struct pm_secret       secrets[PM_COUNT(keys)];
    struct pm_account_conf conf = {.name = account, .type = kind, .endpoint = endpoint, .auth = service_auth,
                                   .secrets = secrets, .nsecrets = PM_COUNT(keys)};
    struct pm_backend     *b = NULL;
    size_t                 len = 0;
    const uint8_t         *piece = fuzz_piece(&data, &size, '~', &len);
    PM_AUTO(free) char    *name = NULL;

    for (size_t i = 0; i < PM_COUNT(keys); i++)
        secrets[i] = (struct pm_secret){keys[i], how, value};
    if (!piece || len < 2)
        return 0;
    name = fuzz_text(piece + 1, len - 1);
    if (!*name)
        return 0;
    if (size && memmem(data, size, TOKEN, strlen(TOKEN)))
        return 0; /* a service that tells the token itself */
    left = data;
    nleft = size;
    pm_log_level(PM_ERROR);
    CHECK(pm_backend_open(&conf, NULL, kv, &b) == 0);
    run(b, (char)piece[0], name);
    pm_backend_close(b);
    return 0;
}

#endif
