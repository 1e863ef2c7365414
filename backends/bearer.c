#include "backends/bearer.h"

#include "backends/credential.h"

#include <errno.h>

int pm_bearer_auth(struct pm_backend *b, struct pm_ctx *ctx, unsigned refused, char **auth,
                   unsigned *generation)
{
    char *secret = NULL;
    int   err = pm_credential_use(b, ctx, refused, &secret, generation);

    if (err)
        return err;
    *auth = pm_asprintf("Authorization: Bearer %s", secret);
    pm_secret_free(secret);
    return *auth ? 0 : -ENOMEM;
}

static int call_once(struct pm_backend *b, struct pm_ctx *ctx, struct pm_http_request *req,
                     struct pm_http_answer *answer, unsigned *generation)
{
    char               *header = NULL;
    struct pm_http_auth auth = {.origin = b->conf->endpoint};
    int                 err = pm_bearer_auth(b, ctx, *generation, &header, generation);

    if (err)
        return err;
    auth.header = header;
    req->auth = &auth;
    err = pm_http_call(b->net, ctx, req, answer);
    req->auth = NULL;
    pm_secret_free(header);
    return err;
}

int pm_bearer_call(struct pm_backend *b, struct pm_ctx *ctx, struct pm_http_request *req,
                   struct pm_http_answer *answer, pm_bearer_judge_fn *judge)
{
    PM_AUTO(free) char *url = pm_asprintf("%s%s", b->conf->endpoint, req->url);
    const char         *path = req->url;
    unsigned            generation = 0;
    int                 err;

    if (!url)
        return -ENOMEM;
    req->url = url;
    err = call_once(b, ctx, req, answer, &generation);
    if (err == -EACCES && answer->status == 401) {
        judge(b, ctx, err, answer);
        pm_http_answer_free(answer);
        err = call_once(b, ctx, req, answer, &generation);
        if (err == -EACCES && answer->status == 401) {
            judge(b, ctx, err, answer);
            err = pm_credential_refuse(b, ctx, generation);
        }
    } else if (err && answer->status && answer->status / 100 != 2) {
        err = judge(b, ctx, err, answer);
    }
    req->url = path;
    return err;
}
