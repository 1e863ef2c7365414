/* jwt.h: what a token says of itself, where it is a JSON Web Token (RFC 7519). */
#ifndef PM_BACKENDS_JWT_H
#define PM_BACKENDS_JWT_H

#include <stddef.h>

/* The text of a claim (a member of the payload), at most size-1 bytes of valid UTF-8 without control
 * characters: a longer one is not cut but "not there". No signature is checked: this says only who
 * the token is meant for, never that it is good. 0; -ENOENT: no JWT, or it does not say; `out` is
 * then "". -ENOMEM. */
int pm_jwt_claim(const char *token, const char *claim, char *out, size_t size);

#endif
