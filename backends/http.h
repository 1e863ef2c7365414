/* http.h: every byte between this process and a service; the home of libcurl.
 *
 * One thread (struct pm_net) runs all exchanges with curl's multi interface. Above it:
 *   pm_http_start   one exchange, its events on the loop's thread          (http.c)
 *   pm_http_call    the same for a thread that waits, with retries         (http_call.c)
 *   pm_fetch        ranges of contents, with redirects and resuming        (fetch.c)
 *
 * Where a secret may go (invariant 4): a secret exists here only as struct pm_http_auth, together
 * with the one origin (scheme, host, port) it belongs to; one function in http.c turns it into a
 * header, and only if the request's URL has that origin. Other headers may carry no credentials,
 * URLs no user information, redirects are never followed by curl, and nothing is verbose.
 *
 * Plain http is refused to any host but a loopback address. */
#ifndef PM_BACKENDS_HTTP_H
#define PM_BACKENDS_HTTP_H

#include "backends/backend.h"
#include "backends/util.h"

#define PM_HTTP_STALL_MS 30000 /* without a byte */
#define PM_HTTP_PAUSE    1 /* a data event's answer: not now, ask poll */

struct pm_http_head;

/* --- what is asked ------------------------------------------------------------------------- */

/* Makes the header of one try, owned (pm_secret_free). 0 or -errno. On the starting thread. */
typedef int pm_http_sign_fn(void *arg, const char *method, const char *url, char **header);

struct pm_http_auth {
    const char      *origin; /* any URL of it, such as the account's endpoint */
    const char      *header; /* "Authorization: Bearer …"; NULL: `sign` makes it, anew for each try */
    pm_http_sign_fn *sign;
    void            *arg; /* of sign; borrowed until the last try began */
};

/* Reads like pread, whole but at the end: the count or -errno. On the loop's thread; must not block. */
typedef ssize_t pm_http_read_fn(void *arg, void *buf, size_t len, uint64_t off);

/* A content sent from a descriptor, by pread only, on the loop's thread. */
struct pm_http_file {
    int         fd;
    pm_http_read_fn *read; /* NULL: the descriptor's bytes; else what this gives, from `off` on */
    void            *read_arg;
    uint64_t    off;
    uint64_t    len;
    const char *field; /* multipart field, or NULL: the bytes are the body */
    const char *name; /* the file name in the multipart header */
    bool        backslash; /* `"` and `\` in it as quoted pairs, else `"` as %22 (RFC 7578 4.2) */
    void (*progress)(void *arg, uint64_t sent); /* may be NULL; from the loop's thread */
    void *arg;
};

struct pm_http_request {
    const char                *method;
    const char                *url;
    const struct pm_http_auth *auth; /* NULL: none */
    const char *const         *headers; /* NULL-terminated lines, or NULL; none a credential */
    const char                *body; /* NUL-terminated text, or NULL */
    const struct pm_http_file *file; /* or NULL */
    uint64_t                   limit; /* bytes of an answer; 0: 4 MiB */
    int64_t                    stall_ms; /* 0: PM_HTTP_STALL_MS */
    bool                       content; /* HTTP/1.1 on a connection of its own, large buffers */
    bool                       at_once; /* the file does not wait for the service's "100 Continue" */
    bool                       once; /* must not be processed twice: see pm_http_call */
    bool                       single; /* pm_http_call only: the caller counts the tries; one */
    bool                       own_limit; /* a 429 is about this kind of call only, and the caller's to
                                             obey: the origin is not held for it */
    /* pm_http_call only: takes a good answer's body as it comes, on the calling thread; negative
     * ends the call with it. NULL: the body is collected. */
    int (*data)(void *arg, const void *buf, size_t len);
    /* pm_http_call only: sees the head of each try's answer, on the loop's thread; may be NULL. */
    void (*head)(void *arg, const struct pm_http_head *head);
    void *arg; /* of both */
};

/* --- what came ----------------------------------------------------------------------------- */

struct pm_http_head {
    long        status;
    const char *redirect; /* absolute URL of a redirect, or NULL */
    void       *easy;
};

/* A header of the final answer, "" if there is none. Valid until the event returns. */
const char *pm_http_header(const struct pm_http_head *h, const char *name);

struct pm_http_end {
    int         err; /* 0: a 2xx came whole; else by the table in http_table.c */
    bool        retry; /* the table says it can heal */
    bool        reached; /* the service may have seen the request */
    long        status; /* 0: no answer */
    int64_t     retry_ms; /* Retry-After from now, 0: none */
    const char *why; /* borrowed for the event */
};

/* All on the loop's thread (done: also on the starting one, if it could not start). */
struct pm_http_events {
    /* Once, before the body (also of errors). Negative: stop with it. */
    int (*head)(void *arg, const struct pm_http_head *head);
    /* Bytes of the body. Negative: stop; PM_HTTP_PAUSE: these bytes come again after poll. */
    int (*data)(void *arg, const void *buf, size_t len);
    /* NULL, or asked at least every 250 ms: negative: stop with it; PM_HTTP_PAUSE: stay paused; 0:
     * go on. */
    int (*poll)(void *arg);
    /* Once, last. Nothing given to pm_http_start is used after it. */
    void (*done)(void *arg, const struct pm_http_end *end);
};

/* Starts an exchange, not before pm_now_ms() == not_before_ms. The request is copied but for
 * req->file (its contents are copied, fd is borrowed until done); `cancel` is borrowed until done,
 * may be NULL. */
void pm_http_start(struct pm_net *net, const struct pm_http_request *req,
                   const struct pm_http_events *events, void *arg, const atomic_bool *cancel,
                   int64_t deadline_ms, int64_t not_before_ms);
/* Makes the loop ask its polls soon. */
void pm_http_wake(struct pm_net *net);

/* How long calls to the origin of `url` have to wait because it answered 429 or 503 with
 * Retry-After; 0: not at all. */
int64_t pm_http_hold_ms(struct pm_net *net, const char *url);

/* Runs fn(arg) on a helper thread that may block on the network. False: the net is closing, and fn
 * is not called. Calls run one after another. */
bool pm_net_defer(struct pm_net *net, void (*fn)(void *arg), void *arg);
const struct pm_conf *pm_net_conf(const struct pm_net *net);
bool                  pm_net_closing(struct pm_net *net);

/* --- waiting for an answer ----------------------------------------------------------------- */

struct pm_http_answer {
    long          status; /* 0: none came */
    struct pm_buf body; /* unless it went to req->data; of errors at most 64 KiB */
    char         *etag; /* owned, NULL: none */
    char         *type; /* Content-Type; owned, NULL: none */
    char         *location; /* absolute; owned, NULL: none */
    int64_t       date_ms; /* Date, the wall clock there, in whole seconds; 0: none */
    int64_t       came_ms; /* the wall clock here then */
};

void pm_http_answer_free(struct pm_http_answer *a);
static inline void pm_cleanup_pm_http_answer(struct pm_http_answer *a)
{
    pm_http_answer_free(a);
}

/* Asks and waits, trying again what the table says can heal: interactive calls up to four times
 * within the deadline, background calls once more. Returns 0 for a 2xx, else the table's errno with
 * ctx->why, and whatever answer came in *answer (free it always; zero it before).
 * -EBUSY: the service asked to wait (ctx->retry_ms) longer than this call may, an interactive one
 * op_timeout.
 * With req->once nothing is sent twice: a failure after the service may have seen the request is
 * -EAGAIN, a definite refusal has its own errno, and only what never arrived is tried again. After
 * -ECANCELED it is unknown, too. A body that began to go to req->data is not asked for again. */
int pm_http_call(struct pm_net *net, struct pm_ctx *ctx, const struct pm_http_request *req,
                 struct pm_http_answer *answer);

/* Waits before another try. -ECANCELED: the caller's, or the net is closing. */
int pm_http_wait(struct pm_net *net, const struct pm_ctx *ctx, int64_t ms);

/* --- the table (http_table.c) -------------------------------------------------------------- */

struct pm_http_verdict {
    int  err;
    bool retry;
};

struct pm_http_verdict pm_http_judge_status(long status);
/* `code` is a CURLcode, `os_errno` what the system said, 0: nothing. */
struct pm_http_verdict pm_http_judge_curl(int code, long os_errno);
/* A date of a header as ms of the wall clock; 0: it is none. */
int64_t pm_http_date_ms(const char *date);
/* Retry-After: seconds or an HTTP date, as milliseconds from now, 0 to a day. 0: none. `date` is the
 * answer's Date, since a date is one of the server's clock; "": ours must do. */
int64_t pm_http_retry_after_ms(const char *value, const char *date);
/* Milliseconds to wait before try number `try` (from 1): 200 ms doubled, jittered, at most 10 s. */
int64_t pm_http_backoff_ms(unsigned try);

/* Scheme, host and port as "https://host:443", lower case. Owned; NULL: no http(s) URL, with user
 * information, or plain http to another than a loopback address. */
char *pm_http_origin(const char *url);

/* --- locations (fetch.c) ------------------------------------------------------------------- */

/* Where ranges of a content can be got, filled by locate. */
struct pm_location {
    bool    anew; /* in: the last one was refused; get a fresh one. `auth` is the refused one's:
                     if the credential is still the same, get a new one */
    char   *url; /* owned */
    char   *auth; /* owned header line, or NULL; wiped */
    char   *auth_origin; /* owned; with auth */
    int64_t expires_ms; /* pm_now_ms() when to get another, some time before it dies; 0: not known */
};

void pm_location_clear(struct pm_location *loc);

#endif
