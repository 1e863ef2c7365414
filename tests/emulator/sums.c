#include "tests/emulator/sums.h"

#include <endian.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/emulator/buf.h"

#define PIECE ((size_t)1024 * 1024)

void crc_make(struct crc_table *table, uint32_t polynomial)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? polynomial : 0);
        table->of[0][i] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t before = table->of[k - 1][i];
            table->of[k][i] = (before >> 8) ^ table->of[0][before & 0xff];
        }
}

/* Eight bytes at a time ("slicing by 8"), since gigabytes pass through here. */
uint32_t crc_of(const struct crc_table *table, uint32_t crc, const void *bytes, size_t len)
{
    const unsigned char *p = bytes;
    uint64_t word = 0;
    crc = ~crc;
    for (; len >= sizeof(word); len -= sizeof(word), p += sizeof(word)) {
        uint32_t next = 0;
        memcpy(&word, p, sizeof(word));
        word = le64toh(word) ^ crc;
        for (int k = 0; k < 8; k++)
            next ^= table->of[7 - k][(word >> (8 * k)) & 0xff];
        crc = next;
    }
    for (; len > 0; len--, p++)
        crc = (crc >> 8) ^ table->of[0][(crc ^ *p) & 0xff];
    return ~crc;
}

/* Hands the bytes to each of the two, if it is there. */
static int read_through(int fd, uint64_t size, EVP_MD_CTX *md, uint32_t *crc)
{
    struct crc_table *table = emu_alloc(sizeof(*table));
    char *piece = emu_alloc(PIECE);
    uint64_t at = 0;
    crc_make(table, CRC32C);
    while (at < size) {
        ssize_t n = pread(fd, piece, size - at < PIECE ? (size_t)(size - at) : PIECE, (off_t)at);
        if (n <= 0)
            break;
        EVP_DigestUpdate(md, piece, (size_t)n);
        if (crc != NULL)
            *crc = crc_of(table, *crc, piece, (size_t)n);
        at += (uint64_t)n;
    }
    free(piece);
    free(table);
    return at == size ? 0 : -EIO;
}

static int digest(int fd, uint64_t size, const EVP_MD *kind, uint32_t *crc, unsigned char *out,
                  char *hex)
{
    unsigned len = 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_DigestInit_ex(md, kind, NULL);
    int r = read_through(fd, size, md, crc);
    EVP_DigestFinal_ex(md, out, &len);
    EVP_MD_CTX_free(md);
    for (unsigned i = 0; i < len; i++)
        snprintf(hex + (size_t)2 * i, 3, "%02x", out[i]);
    return r;
}

int sums_of(int fd, uint64_t size, struct sums *out)
{
    unsigned char md5[EVP_MAX_MD_SIZE];
    uint32_t crc = 0;
    int r = digest(fd, size, EVP_md5(), &crc, md5, out->md5_hex);
    uint32_t big_endian = htobe32(crc);
    EVP_EncodeBlock((unsigned char *)out->md5, md5, 16);
    EVP_EncodeBlock((unsigned char *)out->crc32c, (unsigned char *)&big_endian, 4);
    return r;
}

int sums_sha256(int fd, uint64_t size, char hex[65])
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    return digest(fd, size, EVP_sha256(), NULL, sum, hex);
}
