/* oauth1.h: calls signed as by OAuth 1.0, with HMAC-SHA1 (RFC 5849; api/notes.md 1.1 and 6).
 *
 * A signature is good for one try: each has a nonce and a time of its own. So struct pm_http_auth is
 * given pm_oauth1_sign() and not a header. */
#ifndef PM_BACKENDS_OAUTH1_H
#define PM_BACKENDS_OAUTH1_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Borrowed; none is NULL but token and token_secret, which come later than the others. */
struct pm_oauth1_keys {
    const char *consumer_key;
    const char *consumer_secret;
    const char *token;
    const char *token_secret;
};

struct pm_oauth1_pair {
    const char *name; /* NULL ends an array of them */
    const char *value;
};

struct pm_oauth1_call {
    const char                  *method;
    const char                  *url; /* as it is sent, with its query */
    const char                  *form; /* a form body, which is signed as well, or NULL; any other body
                                          is not signed (3.4.1.3.1) */
    const struct pm_oauth1_pair *more; /* for the header: oauth_callback, oauth_verifier; or NULL */
    const char                  *nonce;
    int64_t                      seconds; /* since 1970 */
    bool                         bare; /* without oauth_version, which may be left out */
};

/* What is signed. Owned; NULL: no memory, or the URL is none. */
char *pm_oauth1_base(const struct pm_oauth1_keys *keys, const struct pm_oauth1_call *call);
/* "Authorization: OAuth …", owned: pm_secret_free. NULL likewise. */
char *pm_oauth1_header(const struct pm_oauth1_keys *keys, const struct pm_oauth1_call *call);

/* --- the service's clock: a time that is far from its own is refused. */

/* Zeroes: as ours. Any thread. */
struct pm_oauth1_clock {
    _Atomic int64_t ahead_ms; /* of ours */
};

/* An answer came at `came_ms` (pm_wall_ms()) that was dated `date_ms`, in whole seconds; 0: it was not.
 * True: times made before were off by more than a little. */
bool pm_oauth1_learn(struct pm_oauth1_clock *clock, int64_t date_ms, int64_t came_ms);
/* Its time now, in seconds since 1970. */
int64_t pm_oauth1_seconds(struct pm_oauth1_clock *clock);

/* --- one try after the other */

struct pm_oauth1_signer {
    struct pm_oauth1_keys        keys;
    struct pm_oauth1_clock      *clock;
    const struct pm_oauth1_pair *more; /* or NULL */
};

/* The header of one try (a pm_http_sign_fn; `signer` is a struct pm_oauth1_signer). */
int pm_oauth1_sign(void *signer, const char *method, const char *url, char **header);

#endif
