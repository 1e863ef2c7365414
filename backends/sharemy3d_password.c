/* The account's own password for what is dropped (password_command and its kin). */
#include "backends/sharemy3d_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_MS   60000 /* many files are dropped together */
#define FAILED_MS 10000

/* True: this thread is to ask. Else *err and, where that is 0, *out are the answer. */
static bool take_known(struct pm_sharemy3d *sm, struct pm_ctx *ctx, char **out, int *err)
{
    int64_t age;

    PM_GUARD(&sm->password_lock);
    age = pm_now_ms() - sm->password_ms;
    if (sm->password_asking) {
        snprintf(ctx->why, sizeof(ctx->why), "the password for dropped files is being asked for");
        *err = -EAGAIN;
    } else if (sm->password_ms && age < (sm->password_err == -EAGAIN ? FAILED_MS : KEPT_MS)) {
        snprintf(ctx->why, sizeof(ctx->why), "%s", sm->password_why);
        *err = sm->password_err;
    } else {
        sm->password_asking = true;
        return true;
    }
    if (!*err && !(*out = strdup(sm->password)))
        *err = -ENOMEM;
    return false;
}

/* A command may take its time: one thread waits for it, and others send what they can. */
int pm_sm_password(struct pm_sharemy3d *sm, struct pm_ctx *ctx, char **out)
{
    char *told = NULL;
    int   err = 0;

    *out = NULL;
    if (!take_known(sm, ctx, out, &err))
        return err;
    err = pm_conf_secret(sm->base.conf, "password", ctx->cancel, &told, ctx->why, sizeof(ctx->why));
    if (!err && !(*out = strdup(told)))
        err = -ENOMEM;
    else if (err && err != -ENOENT)
        err = err == -ECANCELED ? err : -EAGAIN; /* what it was got by may be mended */
    PM_GUARD(&sm->password_lock);
    sm->password_asking = false;
    if (err == -ECANCELED || err == -ENOMEM) {
        pm_secret_free(told);
        return err;
    }
    pm_secret_free(sm->password);
    sm->password = told;
    sm->password_err = err;
    sm->password_ms = pm_now_ms();
    snprintf(sm->password_why, sizeof(sm->password_why), "%s", err == -EAGAIN ? ctx->why : "");
    return err;
}
