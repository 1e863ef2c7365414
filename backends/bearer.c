#include "backends/bearer.h"

#include "backends/credential.h"

#include <errno.h>

static int make_header(struct pm_backend *b, struct pm_ctx *ctx, unsigned refused, const char *word,
                       char **header, unsigned *generation)
{
    char *secret = NULL;
    int   err = pm_credential_use(b, ctx, refused, &secret, generation);

    if (err)
        return err;
    *header = pm_asprintf("Authorization: %s%s", word, secret);
    pm_secret_free(secret);
    return *header ? 0 : -ENOMEM;
}

int pm_bearer_auth(struct pm_backend *b, struct pm_ctx *ctx, unsigned refused, char **auth,
                   unsigned *generation)
{
    return make_header(b, ctx, refused, "Bearer ", auth, generation);
}

static int call_once(struct pm_backend *b, struct pm_ctx *ctx, struct pm_http_request *req,
                     struct pm_http_answer *answer, const char *word, unsigned *generation)
{
    char               *header = NULL;
    struct pm_http_auth auth = {.origin = b->conf->endpoint};
    int                 err = make_header(b, ctx, *generation, word, &header, generation);

    if (err)
        return err;
    auth.header = header;
    req->auth = &auth;
    err = pm_http_call(b->net, ctx, req, answer);
    req->auth = NULL;
    pm_secret_free(header);
    return err;
}

static bool is_refused(int err, const struct pm_http_answer *answer)
{
    return err == -EACCES && answer->status == 401;
}

/* In one form, and once in the other. */
static int call_in_form(struct pm_backend *b, struct pm_ctx *ctx, struct pm_http_request *req,
                        struct pm_http_answer *answer, struct pm_bearer_form *form,
                        unsigned *generation)
{
    unsigned same = 0;
    int      err = call_once(b, ctx, req, answer, form->word, generation);

    if (!is_refused(err, answer) || !form->other)
        return err;
    pm_http_answer_free(answer);
    err = call_once(b, ctx, req, answer, form->other, &same);
    form->changed = !err;
    return err;
}

int pm_bearer_call_as(struct pm_backend *b, struct pm_ctx *ctx, struct pm_http_request *req,
                      struct pm_http_answer *answer, pm_bearer_judge_fn *judge,
                      struct pm_bearer_form *form)
{
    PM_AUTO(free) char *url = pm_asprintf("%s%s", b->conf->endpoint, req->url);
    const char         *path = req->url;
    unsigned            generation = 0;
    int                 err;

    form->changed = false;
    if (!url)
        return -ENOMEM;
    req->url = url;
    err = call_in_form(b, ctx, req, answer, form, &generation);
    form->accused = is_refused(err, answer);
    if (form->accused && !form->innocent) {
        judge(b, ctx, err, answer);
        pm_http_answer_free(answer);
        err = call_in_form(b, ctx, req, answer, form, &generation);
        if (is_refused(err, answer)) {
            judge(b, ctx, err, answer);
            err = pm_credential_refuse(b, ctx, generation);
        }
    } else if (err && answer->status && answer->status / 100 != 2) {
        err = judge(b, ctx, err, answer);
    }
    req->url = path;
    return err;
}

int pm_bearer_call(struct pm_backend *b, struct pm_ctx *ctx, struct pm_http_request *req,
                   struct pm_http_answer *answer, pm_bearer_judge_fn *judge)
{
    struct pm_bearer_form form = {.word = "Bearer "};

    return pm_bearer_call_as(b, ctx, req, answer, judge, &form);
}
