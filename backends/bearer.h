/* bearer.h: calls to a service that takes "Authorization: Bearer" and one secret, or the secret alone.
 * Only for backends/. */
#ifndef PM_BACKENDS_BEARER_H
#define PM_BACKENDS_BEARER_H

#include "backends/http.h"

/* What the body of a refused call says: sets ctx->why (no secrets) and gives the errno, `err` being
 * that of the status alone. */
typedef int pm_bearer_judge_fn(struct pm_backend *b, struct pm_ctx *ctx, int err,
                               const struct pm_http_answer *answer);

/* The secret's header line, owned: pm_secret_free. Else as pm_credential_use. */
int pm_bearer_auth(struct pm_backend *b, struct pm_ctx *ctx, unsigned refused, char **auth,
                   unsigned *generation);
/* pm_http_call with the secret, once more with another one on 401, and the service's own words.
 * req->url is a path from the account's endpoint on, beginning with "/". */
int pm_bearer_call(struct pm_backend *b, struct pm_ctx *ctx, struct pm_http_request *req,
                   struct pm_http_answer *answer, pm_bearer_judge_fn *judge);

/* How the secret is given. */
struct pm_bearer_form {
    const char *word; /* before it: "Bearer ", "" */
    const char *other; /* on 401 the same secret is tried once behind this one; NULL: not */
    bool        changed; /* out: and taken so */
    bool        innocent; /* a 401 may be about what was asked for: it is -EACCES, and about no secret */
    bool        accused; /* out: there was one */
};
/* The same in another form. */
int pm_bearer_call_as(struct pm_backend *b, struct pm_ctx *ctx, struct pm_http_request *req,
                      struct pm_http_answer *answer, pm_bearer_judge_fn *judge,
                      struct pm_bearer_form *form);

#endif
