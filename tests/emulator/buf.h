/* A growing byte buffer, and JSON text written straight into it. Not for sharing between threads.
 * Running out of memory ends the program: this is a test server, and nobody's work hangs on it. */
#ifndef EMULATOR_BUF_H
#define EMULATOR_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char  *data;                        /* owned; NUL-terminated once anything was added */
    size_t len;
    size_t cap;
};

void *emu_alloc(size_t len);            /* zeroed */
char *emu_strdup(const char *text);     /* NULL gives "" */

void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_puts(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_free(struct buf *b);           /* empty afterwards, ready for use */

/* Adds a quoted JSON string. `clean` replaces bytes that are no UTF-8 by U+FFFD; without it they
 * go out as they are, which is what a careless service does. */
void buf_json(struct buf *b, const char *bytes, size_t len, bool clean);

/* True if all of it is well-formed UTF-8 (no surrogates, no overlong forms). */
bool utf8_valid(const char *bytes, size_t len);

int64_t now_ms(void);                   /* wall clock */
int64_t mono_ms(void);                  /* monotonic clock */

#endif
