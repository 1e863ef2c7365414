/* Digests of files: those that Google Cloud Storage tells, and SHA-256. */
#ifndef EMULATOR_SUMS_H
#define EMULATOR_SUMS_H

#include <stddef.h>
#include <stdint.h>

struct sums {                           /* as x-goog-hash has them: base64, CRC32C big-endian */
    char md5[25];
    char md5_hex[33];
    char crc32c[9];
};

/* Of the first `size` bytes. 0, or -EIO if there are fewer. */
int sums_of(int fd, uint64_t size, struct sums *out);
int sums_sha256(int fd, uint64_t size, char hex[65]);

/* The same of bytes that come one after the other, so that nobody has to wait at the end. */
struct sums_run;
struct sums_run *sums_run_new(void);
void sums_run_free(struct sums_run *run);       /* NULL is fine */
void sums_run_add(struct sums_run *run, const void *bytes, size_t len);
uint64_t sums_run_size(const struct sums_run *run);     /* so far */
void sums_run_end(struct sums_run *run, struct sums *out);      /* frees it, too */

/* The reflected CRC with this polynomial, of which `crc` are the bytes before: 0 at first. */
#define CRC32C 0x82f63b78U
#define CRC32 0xedb88320U
struct crc_table {
    uint32_t of[8][256];
};
void crc_make(struct crc_table *table, uint32_t polynomial);
uint32_t crc_of(const struct crc_table *table, uint32_t crc, const void *bytes, size_t len);

#endif
