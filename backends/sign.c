#include "backends/sign.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int pm_sign_hmac_sha1(const char *key, const char *text, char out[PM_HMAC_SHA1_MAX])
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned      len = 0;

    if (!HMAC(EVP_sha1(), key, (int)strlen(key), (const unsigned char *)text, strlen(text), md, &len) ||
        len != 20)
        return -ENOMEM;
    EVP_EncodeBlock((unsigned char *)out, md, (int)len);
    return 0;
}

char *pm_sign_base64(const void *data, size_t len)
{
    char *out = len < INT_MAX / 2 ? malloc(len / 3 * 4 + 5) : NULL;

    if (out)
        EVP_EncodeBlock((unsigned char *)out, data, (int)len);
    return out;
}

struct pm_md5 {
    EVP_MD_CTX *ctx;
};

struct pm_md5 *pm_md5_new(void)
{
    struct pm_md5 *m = calloc(1, sizeof(*m));

    if (!m)
        return NULL;
    m->ctx = EVP_MD_CTX_new();
    if (!m->ctx || !EVP_DigestInit_ex(m->ctx, EVP_md5(), NULL)) {
        pm_md5_free(m);
        return NULL;
    }
    return m;
}

void pm_md5_free(struct pm_md5 *m)
{
    if (!m)
        return;
    EVP_MD_CTX_free(m->ctx);
    free(m);
}

int pm_md5_add(struct pm_md5 *m, const void *data, size_t len)
{
    return EVP_DigestUpdate(m->ctx, data, len) ? 0 : -ENOMEM;
}

int pm_md5_hex(struct pm_md5 *m, char out[PM_MD5_HEX_MAX])
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned      len = 0;

    if (!EVP_DigestFinal_ex(m->ctx, md, &len) || len != 16)
        return -ENOMEM;
    for (unsigned i = 0; i < len; i++)
        snprintf(out + 2 * i, 3, "%02x", md[i]);
    return 0;
}
