#include "backends/picture.h"

#include "backends/util.h"

#include <string.h>

#define SEGMENTS 1000 /* of a JPEG before its frame; more are nonsense */

static uint32_t big(const uint8_t *p, int n)
{
    uint32_t v = 0;

    while (n--)
        v = v << 8 | *p++;
    return v;
}

static uint32_t little(const uint8_t *p, int n)
{
    uint32_t v = 0;

    while (n--)
        v = v << 8 | p[n];
    return v;
}

static bool read_at(int fd, uint64_t size, uint64_t off, uint8_t *buf, size_t len)
{
    return off <= size && len <= size - off && pm_pread_all(fd, buf, len, off) == (ssize_t)len;
}

/* A start of frame tells the size; DHT, JPG and DAC have numbers among these. */
static bool is_frame(uint8_t marker)
{
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

static bool jpeg_size(int fd, uint64_t size, uint32_t *width, uint32_t *height)
{
    uint64_t off = 2;
    uint8_t  b[9];

    for (int i = 0; i < SEGMENTS && read_at(fd, size, off, b, 4); i++) {
        if (b[0] != 0xff)
            return false;
        if (b[1] == 0xff) { /* fill */
            off++;
            continue;
        }
        if (is_frame(b[1])) {
            if (!read_at(fd, size, off, b, 9))
                return false;
            *height = big(b + 5, 2);
            *width = big(b + 7, 2);
            return true;
        }
        if (big(b + 2, 2) < 2)
            return false;
        off += 2 + (uint64_t)big(b + 2, 2);
    }
    return false;
}

static bool webp_size(const uint8_t b[30], uint32_t *width, uint32_t *height)
{
    if (!memcmp(b + 12, "VP8X", 4)) {
        *width = little(b + 24, 3) + 1;
        *height = little(b + 27, 3) + 1;
        return true;
    }
    if (!memcmp(b + 12, "VP8L", 4)) {
        uint32_t bits = little(b + 21, 4);

        *width = (bits & 0x3fff) + 1;
        *height = (bits >> 14 & 0x3fff) + 1;
        return true;
    }
    *width = little(b + 26, 2) & 0x3fff;
    *height = little(b + 28, 2) & 0x3fff;
    return !memcmp(b + 12, "VP8 ", 4);
}

bool pm_picture_size(int fd, uint64_t size, uint32_t *width, uint32_t *height)
{
    uint8_t b[30];
    bool    told = false;

    if (!read_at(fd, size, 0, b, sizeof(b)))
        return false;
    if (!memcmp(b, "\x89PNG\r\n\x1a\n", 8) && !memcmp(b + 12, "IHDR", 4)) {
        *width = big(b + 16, 4);
        *height = big(b + 20, 4);
        told = true;
    } else if (b[0] == 0xff && b[1] == 0xd8) {
        told = jpeg_size(fd, size, width, height);
    } else if (!memcmp(b, "RIFF", 4) && !memcmp(b + 8, "WEBP", 4)) {
        told = webp_size(b, width, height);
    }
    return told && *width && *height;
}
