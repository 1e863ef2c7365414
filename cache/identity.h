/* identity.h: is a credential the one of the account that this state belongs to (design.md 1)? */
#ifndef PM_CACHE_IDENTITY_H
#define PM_CACHE_IDENTITY_H

#include "cache/state.h"

struct pm_identity;

/* Stands at the gate of the account's backend from now on. Inside a transaction. *out is owned. */
int  pm_identity_open(struct pm_cache *c, struct pm_account *a, struct pm_identity **out);
void pm_identity_close(struct pm_identity *i);

/* What is wrong with the account's credential and how to mend it, for status; "": nothing. */
void pm_identity_advice(const struct pm_cache *c, const struct pm_account *a, char *out,
                        size_t size);

#endif
