#include "tests/emulator/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *checked(void *memory)
{
    if (memory == NULL) {
        fputs("polymount-emulator: out of memory\n", stderr);
        abort();
    }
    return memory;
}

void *emu_alloc(size_t len)
{
    return checked(calloc(1, len > 0 ? len : 1));
}

char *emu_strdup(const char *text)
{
    return checked(strdup(text != NULL ? text : ""));
}

static void reserve(struct buf *b, size_t more)
{
    if (b->len + more + 1 <= b->cap)
        return;
    size_t cap = b->cap > 0 ? b->cap : 256;
    while (cap < b->len + more + 1)
        cap *= 2;
    b->data = checked(realloc(b->data, cap));
    b->cap = cap;
}

void buf_add(struct buf *b, const void *bytes, size_t len)
{
    reserve(b, len);
    if (len > 0)
        memcpy(b->data + b->len, bytes, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void buf_puts(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text));
}

void buf_printf(struct buf *b, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    checked(len < 0 ? NULL : text);
    buf_add(b, text, (size_t)len);
    free(text);
}

void buf_free(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

/* Length of the well-formed UTF-8 sequence at the start, 0 if there is none. */
static size_t utf8_length(const unsigned char *p, size_t left)
{
    size_t n;
    uint32_t code;
    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        n = 2;
        code = p[0] & 0x1fU;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        n = 3;
        code = p[0] & 0x0fU;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        n = 4;
        code = p[0] & 0x07U;
    } else {
        return 0;
    }
    if (left < n)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3fU);
    }
    if ((n == 3 && code < 0x800) || (n == 4 && (code < 0x10000 || code > 0x10ffff)))
        return 0;
    return code >= 0xd800 && code <= 0xdfff ? 0 : n;
}

bool utf8_valid(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t n = utf8_length((const unsigned char *)bytes + i, len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

void buf_json(struct buf *b, const char *bytes, size_t len, bool clean)
{
    buf_add(b, "\"", 1);
    for (size_t i = 0; i < len;) {
        unsigned char c = (unsigned char)bytes[i];
        size_t n = 1;
        if (c == '"' || c == '\\') {
            buf_add(b, (char[]){'\\', (char)c}, 2);
        } else if (c < 0x20 || c == 0x7f) {
            buf_printf(b, "\\u%04x", c);
        } else if (c >= 0x80 && clean) {
            n = utf8_length((const unsigned char *)bytes + i, len - i);
            buf_add(b, n > 0 ? bytes + i : "\xef\xbf\xbd", n > 0 ? n : 3);
            n = n > 0 ? n : 1;
        } else {
            buf_add(b, bytes + i, 1);
        }
        i += n;
    }
    buf_add(b, "\"", 1);
}

static int64_t clock_ms(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t now_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

int64_t mono_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}
