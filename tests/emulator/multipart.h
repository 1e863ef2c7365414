/* A streaming parser for multipart/form-data (RFC 7578) with exactly one part. Bytes of the part
 * are handed on as they arrive, in large pieces; nothing but the part's headers and a boundary's
 * length is kept. One thread. */
#ifndef EMULATOR_MULTIPART_H
#define EMULATOR_MULTIPART_H

#include <stdbool.h>

#include "tests/emulator/buf.h"

struct multipart_calls {
    /* The part's headers are known. 0, or a negative errno that ends the parsing. */
    int (*part)(void *arg, const char *field, const char *filename);
    int (*data)(void *arg, const char *bytes, size_t len);
};

struct multipart;

/* `type` is the request's Content-Type. NULL if that is no multipart/form-data with a boundary.
 * `percent`: %22 %0D %0A in quoted names are decoded, nothing else; otherwise backslash pairs. */
struct multipart *multipart_new(const char *type, bool percent, const struct multipart_calls *calls,
                                void *arg);
void multipart_free(struct multipart *m);

/* 0, -EBADMSG with multipart_wrong() set, or what a call returned. */
int multipart_feed(struct multipart *m, const char *bytes, size_t len);
/* To be called at the end of the body: 0 or -EBADMSG. */
int multipart_end(struct multipart *m);
const char *multipart_wrong(const struct multipart *m);

#endif
