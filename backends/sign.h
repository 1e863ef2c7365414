/* sign.h: keyed hashes, and hashes of what comes in pieces; with digest.c the home of OpenSSL.
 *
 * Plain functions; a struct pm_md5 is used by one thread at a time. */
#ifndef PM_BACKENDS_SIGN_H
#define PM_BACKENDS_SIGN_H

#include <stddef.h>
#include <stdint.h>

/* HMAC-SHA1 of a text as base64, NUL-terminated. 0 or -ENOMEM. */
#define PM_HMAC_SHA1_MAX 29
int pm_sign_hmac_sha1(const char *key, const char *text, char out[PM_HMAC_SHA1_MAX]);

/* Bytes as base64. Owned: pm_secret_free where they are secret. NULL: no memory. */
char *pm_sign_base64(const void *data, size_t len);

/* The MD5 of bytes that come in pieces. */
struct pm_md5;

struct pm_md5 *pm_md5_new(void); /* owned; NULL: no memory */
void           pm_md5_free(struct pm_md5 *m);
int            pm_md5_add(struct pm_md5 *m, const void *data, size_t len); /* 0 or -ENOMEM */
/* Of all that was added, as lower-case hexadecimal digits, once. 0 or -ENOMEM. */
#define PM_MD5_HEX_MAX 33
int pm_md5_hex(struct pm_md5 *m, char out[PM_MD5_HEX_MAX]);

#endif
