/* credential.h: the secret that an account's calls are made with. Only for backends/.
 *
 * It is got when a call first needs it, so that mounting waits for no token command. Before it is
 * used it is told from another account's (struct pm_gate): nothing but one list of the root, to
 * find that out, is ever sent with a credential that is not known to be the account's own. When the
 * service refuses it, its source is looked at again; nothing is sent meanwhile. */
#ifndef PM_BACKENDS_CREDENTIAL_H
#define PM_BACKENDS_CREDENTIAL_H

#include "backends/backend.h"

struct pm_credential;

/* `key` names the secret, such as "token"; of one with several parts (else NULL) `parts` are the keys, and
 * `key` is only said. All are borrowed. *out is owned. 0 or -ENOMEM. */
int  pm_credential_open(const struct pm_account_conf *conf, const char *key, const char *const *parts,
                        struct pm_credential **out);
void pm_credential_close(struct pm_credential *c);

/* The secret of b->credential, a copy: pm_secret_free; parts are a line each. `refused`: the generation of one that the
 * service just refused, with its word in ctx->why, or 0; then another one, if there is one.
 * -EACCES with why: it is refused, or not known to be the account's, or cannot be got.
 * -ECANCELED, -ETIMEDOUT, and what the service answers to the list that proves it. Blocks. */
int pm_credential_use(struct pm_backend *b, struct pm_ctx *ctx, unsigned refused, char **secret,
                      unsigned *generation);
/* The one of this generation, got a moment ago, was refused too: -EACCES, with why. */
int pm_credential_refuse(struct pm_backend *b, struct pm_ctx *ctx, unsigned generation);
/* Replaces `why` if it repeats what could be the secret. */
void pm_credential_hide(struct pm_backend *b, char *why);

#endif
