/* OAuth 1.0 as RFC 5849 has it: parameters, base string, HMAC-SHA1. The server's side; what a
 * request must be is judged elsewhere. */
#ifndef EMULATOR_OAUTH1_H
#define EMULATOR_OAUTH1_H

#include <stddef.h>

#include "tests/emulator/buf.h"

struct oauth1_param {
    char *name;                         /* decoded; owned */
    char *value;
};

struct oauth1_params {                  /* zeroed: none */
    struct oauth1_param *all;           /* owned */
    size_t               count;
};

void oauth1_add(struct oauth1_params *p, const char *name, const char *value);
/* Of a query or a form's body. */
void oauth1_add_form(struct oauth1_params *p, const char *text);
/* Of an Authorization header, without realm. NULL, or what is wrong with it (static). */
const char *oauth1_add_header(struct oauth1_params *p, const char *header);
const char *oauth1_get(const struct oauth1_params *p, const char *name);    /* NULL if absent */
size_t oauth1_times(const struct oauth1_params *p, const char *name);
void oauth1_free(struct oauth1_params *p);

/* Appends the base string. `uri` may have a query, which is not looked at. */
void oauth1_base(const char *method, const char *uri, const struct oauth1_params *p,
                 struct buf *out);
/* HMAC-SHA1, base64. */
void oauth1_sign(const char *base, const char *consumer_secret, const char *token_secret,
                 char out[32]);

#endif
