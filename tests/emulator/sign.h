/* Secrets and signatures: the account's token, signed URLs, the certificate for --tls. */
#ifndef EMULATOR_SIGN_H
#define EMULATOR_SIGN_H

#include <stddef.h>
#include <stdint.h>

#include "tests/emulator/buf.h"

/* Made once per data folder and kept in it. Immutable afterwards. */
struct secrets {
    char          token[1024];          /* three base64url parts, as a JWT */
    char          user_id[25];
    unsigned char key[32];              /* of the signed URLs */
};

#define EMULATOR_USER "test"
#define EMULATOR_EMAIL "test@smartshape.io"

/* Fills in fresh secrets; 0 or -EIO. */
int secrets_make(struct secrets *s);

/* A 24-digit id in the manner of MongoDB: seconds, then random. */
void sign_id(char id[25]);
/* 32 random hex digits, for contents. */
void sign_random_hex(char hex[33]);

/* Appends "?Expires=SECONDS&Signature=HEX" for this method and path. */
void sign_query(const struct secrets *s, const char *method, const char *path, int64_t expires_s,
                struct buf *out);

/* Judges such a query: 0, -ETIME (was good, is over), -EACCES (missing or wrong). */
int sign_check(const struct secrets *s, const char *method, const char *path, const char *query);

/* A fresh key and self-signed certificate for 127.0.0.1 and localhost, both PEM, owned by the
 * caller. 0 or -EIO. */
int sign_certificate(char **key_pem, char **cert_pem);

#endif
