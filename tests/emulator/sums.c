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

/* ---- one after the other ---- */

struct sums_run {
    struct crc_table table;
    EVP_MD_CTX      *md;                /* owned */
    uint32_t         crc;
    uint64_t         size;
};

static void to_hex(const unsigned char *sum, unsigned len, char *hex)
{
    for (unsigned i = 0; i < len; i++)
        snprintf(hex + (size_t)2 * i, 3, "%02x", sum[i]);
}

struct sums_run *sums_run_new(void)
{
    struct sums_run *run = emu_alloc(sizeof(*run));
    crc_make(&run->table, CRC32C);
    run->md = EVP_MD_CTX_new();
    EVP_DigestInit_ex(run->md, EVP_md5(), NULL);
    return run;
}

void sums_run_free(struct sums_run *run)
{
    if (run == NULL)
        return;
    EVP_MD_CTX_free(run->md);
    free(run);
}

void sums_run_add(struct sums_run *run, const void *bytes, size_t len)
{
    EVP_DigestUpdate(run->md, bytes, len);
    run->crc = crc_of(&run->table, run->crc, bytes, len);
    run->size += len;
}

uint64_t sums_run_size(const struct sums_run *run)
{
    return run->size;
}

void sums_run_end(struct sums_run *run, struct sums *out)
{
    unsigned char md5[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    uint32_t big_endian = htobe32(run->crc);
    EVP_DigestFinal_ex(run->md, md5, &len);
    to_hex(md5, len, out->md5_hex);
    EVP_EncodeBlock((unsigned char *)out->md5, md5, 16);
    EVP_EncodeBlock((unsigned char *)out->crc32c, (unsigned char *)&big_endian, 4);
    sums_run_free(run);
}

/* ---- whole files ---- */

typedef void take_fn(void *arg, const void *bytes, size_t len);

static int read_through(int fd, uint64_t size, take_fn *take, void *arg)
{
    char *piece = emu_alloc(PIECE);
    uint64_t at = 0;
    while (at < size) {
        ssize_t n = pread(fd, piece, size - at < PIECE ? (size_t)(size - at) : PIECE, (off_t)at);
        if (n <= 0)
            break;
        take(arg, piece, (size_t)n);
        at += (uint64_t)n;
    }
    free(piece);
    return at == size ? 0 : -EIO;
}

static void take_both(void *arg, const void *bytes, size_t len)
{
    sums_run_add(arg, bytes, len);
}

static void take_sha256(void *arg, const void *bytes, size_t len)
{
    EVP_DigestUpdate(arg, bytes, len);
}

int sums_of(int fd, uint64_t size, struct sums *out)
{
    struct sums_run *run = sums_run_new();
    int r = read_through(fd, size, take_both, run);
    sums_run_end(run, out);
    return r;
}

int sums_sha256(int fd, uint64_t size, char hex[65])
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_DigestInit_ex(md, EVP_sha256(), NULL);
    int r = read_through(fd, size, take_sha256, md);
    EVP_DigestFinal_ex(md, sum, &len);
    EVP_MD_CTX_free(md);
    to_hex(sum, len, hex);
    return r;
}
