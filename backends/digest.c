#include "backends/backend.h"
#include "backends/util.h"

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

/* --- of a whole content */

#define PIECE    ((size_t)256 * 1024)
#define CRC32C   0x82f63b78u /* Castagnoli's polynomial, its bits reversed */

struct hash {
    uint32_t    table[8][256]; /* of CRC32C, eight bytes at a time */
    uint32_t    crc;
    EVP_MD_CTX *md5; /* NULL: it is a CRC32C */
};

static void make_table(uint32_t table[8][256])
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;

        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ CRC32C : crc >> 1;
        table[0][i] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (int i = 0; i < 256; i++)
            table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 0xff];
}

static uint32_t crc_of(uint32_t (*t)[256], uint32_t crc, const unsigned char *p, size_t len)
{
    for (; len >= 8; p += 8, len -= 8) {
        uint32_t low = crc ^ (p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);

        crc = t[7][low & 0xff] ^ t[6][low >> 8 & 0xff] ^ t[5][low >> 16 & 0xff] ^ t[4][low >> 24] ^
              t[3][p[4]] ^ t[2][p[5]] ^ t[1][p[6]] ^ t[0][p[7]];
    }
    for (; len; p++, len--)
        crc = crc >> 8 ^ t[0][(crc ^ *p) & 0xff];
    return crc;
}

static int hash_file(struct hash *h, int fd, uint64_t size, const atomic_bool *cancel)
{
    PM_AUTO(free) unsigned char *buf = malloc(PIECE);

    if (!buf)
        return -ENOMEM;
    for (uint64_t at = 0; at < size;) {
        size_t  len = size - at < PIECE ? (size_t)(size - at) : PIECE;
        ssize_t n = pm_pread_all(fd, buf, len, at);

        if (cancel && atomic_load(cancel))
            return -ECANCELED;
        if (n < 0)
            return (int)n;
        if ((size_t)n < len)
            return -EIO;
        if (h->md5 && !EVP_DigestUpdate(h->md5, buf, len))
            return -ENOMEM;
        if (!h->md5)
            h->crc = crc_of(h->table, h->crc, buf, len);
        at += len;
    }
    return 0;
}

/* As base64, NUL-terminated. */
static int finish_hash(struct hash *h, char out[32])
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned      len = 4;

    if (h->md5) {
        if (!EVP_DigestFinal_ex(h->md5, md, &len) || len != 16)
            return -ENOMEM;
    } else {
        for (int i = 0; i < 4; i++)
            md[i] = (unsigned char)(~h->crc >> (24 - 8 * i));
    }
    EVP_EncodeBlock((unsigned char *)out, md, (int)len);
    return 0;
}

int pm_digest_check(const char *digest, int fd, uint64_t size, const atomic_bool *cancel)
{
    PM_AUTO(free) struct hash *h = calloc(1, sizeof(*h));
    const char                *value = strchr(digest, '=');
    char                       found[32];
    int                        err = 0;

    if (!h)
        return -ENOMEM;
    if (!strncmp(digest, "crc32c=", 7))
        make_table(h->table);
    else if (strncmp(digest, "md5=", 4) != 0)
        return -ENOTSUP;
    else if (!(h->md5 = EVP_MD_CTX_new()) || !EVP_DigestInit_ex(h->md5, EVP_md5(), NULL))
        err = -ENOMEM;
    h->crc = UINT32_MAX;
    if (!err)
        err = hash_file(h, fd, size, cancel);
    if (!err)
        err = finish_hash(h, found);
    EVP_MD_CTX_free(h->md5);
    return err ? err : !strcmp(found, value + 1);
}
