#include "backends/backend.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

void pm_digest_sha256_hex(const void *data, size_t len, char out[65])
{
    unsigned char md[EVP_MAX_MD_SIZE] = {0};

    if (!EVP_Digest(data, len, md, NULL, EVP_sha256(), NULL))
        memset(md, 0, sizeof(md)); /* only without memory; never equal to a real one */
    for (int i = 0; i < 32; i++)
        snprintf(out + 2 * i, 3, "%02x", md[i]);
}

int pm_random(void *out, size_t len)
{
    if (len > INT_MAX || RAND_bytes(out, (int)len) != 1)
        return -EIO;
    return 0;
}
