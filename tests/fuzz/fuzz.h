/* fuzz.h: what the targets share.
 *
 * A target is one file fuzz_NAME.c with LLVMFuzzerTestOneInput. `make fuzz` links it with libFuzzer,
 * `make check-fuzz` with replay.c, which runs corpus/NAME through it. A target never keeps state
 * from one input to the next. */
#ifndef PM_TESTS_FUZZ_H
#define PM_TESTS_FUZZ_H

#include "backends/util.h"

#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property of the parser under test; a finding if it does not hold. */
#define CHECK(property)                                                                            \
    do {                                                                                           \
        if (!(property)) {                                                                         \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #property);          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A copy in memory of exactly this size, so that reading past its end is noticed. Owned. */
static inline char *fuzz_bytes(const void *data, size_t size)
{
    char *copy = calloc(size ? size : 1, 1);

    CHECK(copy);
    if (size)
        memcpy(copy, data, size);
    return copy;
}

/* The same as text: up to the first NUL, and one at its end. Owned. */
static inline char *fuzz_text(const void *data, size_t size)
{
    size_t len = size ? strnlen(data, size) : 0;
    char  *copy = malloc(len + 1);

    CHECK(copy);
    if (len)
        memcpy(copy, data, len);
    copy[len] = '\0';
    return copy;
}

/* The next piece of an input made of pieces with `separator` between them: moves *data and *size
 * past it. NULL: there is none left. Borrowed; *len may be 0. */
static inline const uint8_t *fuzz_piece(const uint8_t **data, size_t *size, char separator,
                                        size_t *len)
{
    const uint8_t *piece = *data;
    const uint8_t *end = *size ? memchr(piece, separator, *size) : NULL;

    if (!piece)
        return NULL;
    *len = end ? (size_t)(end - piece) : *size;
    *data = end ? end + 1 : NULL;
    *size = end ? *size - *len - 1 : 0;
    return piece;
}

#endif
