/* A JSON body with a file in it: the member `file` of the object is decoded as it arrives and
 * goes to the store, everything else is kept as text. Memory does not grow with the file. */
#ifndef EMULATOR_SHAPEWAYS_BODY_H
#define EMULATOR_SHAPEWAYS_BODY_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/emulator/buf.h"
#include "tests/emulator/store.h"
#include "tests/emulator/sums.h"

struct sw_body;

/* How the service reads the text: "percent" (percent-encoded base64: '+' is a space), "plain"
 * (base64), "either" (percent-encoded, but '+' is itself). */
struct sw_body *sw_body_new(struct store *store, const char *form);
void sw_body_free(struct sw_body *b);   /* NULL is fine */
int sw_body_feed(struct sw_body *b, const char *bytes, size_t len);     /* 0 or -errno */

/* The object without the file's text, which is "" there. Borrowed; at most 1 MiB, the rest is
 * cut. */
const struct buf *sw_body_rest(const struct sw_body *b);
/* The outermost object has ended. */
bool sw_body_whole(const struct sw_body *b);

/* What the text was. */
struct sw_text {
    int      times;                     /* that there was such a member, as a text */
    uint64_t length;                    /* characters, without the escapes of JSON */
    uint64_t percents;                  /* '%' among them … */
    uint64_t pluses;                    /* … '+' … */
    uint64_t odd;                       /* … and what has no place in base64 or such escapes */
    uint64_t bytes;                     /* that it was decoded to */
};
const struct sw_text *sw_body_text(const struct sw_body *b);    /* borrowed */

/* The decoded bytes are a content of the store now. 0 or -errno. */
int sw_body_commit(struct sw_body *b, char content[33], struct sums *sums);

#endif
