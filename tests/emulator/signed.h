/* Signed URLs as Google Cloud Storage's, in both forms. The signature is made with a key of our own
 * over the same things: method, path, the query before the signature byte for byte, and the headers
 * that the form covers. So a URL works only as it was given out, with no header more or less. */
#ifndef EMULATOR_SIGNED_H
#define EMULATOR_SIGNED_H

#include "tests/emulator/request.h"

struct signed_order {
    const char *form;                   /* "v2", "v4", "lower" (V4 in lower case) or "opaque" */
    const char *method;
    const char *path;                   /* as it stands in the URL */
    const char *starts;                 /* "x-goog-resumable: start" is to be sent, or "" */
    const char *extra;                  /* "name=value" for the query, encoded, or "" */
    int64_t     now_s;
    int64_t     life_s;
};

/* Appends "?…". */
void signed_query(const struct secrets *s, const struct signed_order *order, struct buf *out);

enum signed_verdict { SIGNED_GOOD, SIGNED_OVER, SIGNED_WRONG, SIGNED_MISSING, SIGNED_MALFORMED };

/* Judges the request's, which is to be signed for this method. */
enum signed_verdict signed_check(struct request *rq, const char *method, int64_t now_s);

/* Appends the text with all but unreserved characters as %XX. */
void signed_encode(const char *text, struct buf *out);

#endif
