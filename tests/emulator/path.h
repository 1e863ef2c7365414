/* Paths as lists of names. A name may hold any byte but NUL, even '/', so that hostile names can
 * be asked for by their encoded form. */
#ifndef EMULATOR_PATH_H
#define EMULATOR_PATH_H

#include <stdbool.h>

#include "tests/emulator/buf.h"

struct path {
    struct buf names;                   /* each followed by a NUL */
    bool       encoded_slash;           /* some name came with %2F */
};

/* From "/a/b": empty names are skipped. */
void path_parse(struct path *p, const char *text);

/* From the percent-encoded path of a URL. NULL, or what is wrong with it (a static sentence
 * part); the path then holds what could be made of it. One slash at the end is tolerated. */
const char *path_from_url(struct path *p, const char *raw, size_t len);

/* Takes the last name off; returns a copy owned by the caller, NULL if there is none. */
char *path_pop(struct path *p);
const char *path_next(const struct path *p, const char *name);  /* NULL starts; NULL at the end */
void path_text(const struct path *p, struct buf *out);          /* "/a/b", "/" if empty */
void path_free(struct path *p);

/* Decodes %XX (and + if `plus`) into out. False on a bad escape, which is copied as it stands. */
bool url_decode(const char *raw, size_t len, bool plus, struct buf *out);

#endif
