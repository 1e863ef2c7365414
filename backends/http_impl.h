/* http_impl.h: what http.c (the loop) and http_request.c (one transfer) share. */
#ifndef PM_BACKENDS_HTTP_IMPL_H
#define PM_BACKENDS_HTTP_IMPL_H

#include "backends/http.h"

#include <curl/curl.h>
#include <sys/queue.h>

/* Bytes that may move now; refilled as time passes. Only the loop's thread uses it. */
struct bucket {
    uint64_t rate; /* bytes/s, 0: no limit */
    int64_t  level;
    int64_t  filled_ms;
};

static inline bool bucket_open(const struct bucket *b)
{
    return !b->rate || b->level > 0;
}

static inline void bucket_take(struct bucket *b, size_t len)
{
    if (b->rate)
        b->level -= (int64_t)len;
}

/* One exchange. Touched by the maker until it is submitted, then by the loop's thread only. */
struct transfer {
    TAILQ_ENTRY(transfer) link;
    struct pm_net               *net; /* for the loop */
    struct bucket               *down; /* the loop's limits */
    struct bucket               *up;
    CURL                        *easy;
    curl_mime                   *mime;
    struct curl_slist           *headers;
    char                        *origin;
    char                        *label; /* method and path, for the log */
    struct pm_http_file          file;
    bool                         has_file;
    uint64_t                     file_sent;
    const struct pm_http_events *events;
    void                        *arg;
    const atomic_bool           *cancel;
    int64_t                      deadline_ms;
    int64_t                      not_before_ms;
    int64_t                      started_ms;
    int64_t                      stall_ms;
    int64_t                      moved_ms; /* when the last byte moved */
    curl_off_t                   moved; /* bytes moved until then */
    uint64_t                     limit;
    bool                         own_limit;
    uint64_t                     got;
    size_t                       header_bytes;
    bool                         added; /* to the multi handle */
    bool                         head_given;
    bool                         wait_recv; /* paused by the limits */
    bool                         wait_send;
    bool                         wait_poll; /* paused by a data event */
    int                          err; /* ours: comes before curl's */
    const char                  *why; /* with err; static */
    char                         text[CURL_ERROR_SIZE];
};

TAILQ_HEAD(transfer_list, transfer);

/* Makes a transfer that is ready to be added to the multi handle; NULL with *err: -ENOMEM, -EINVAL
 * (an address or header that is refused). Free it with pm_transfer_free. */
struct transfer *pm_transfer_make(const struct pm_conf *conf, const struct pm_http_request *req,
                                  int *err);
void             pm_transfer_free(struct transfer *t);
/* Notes the errno that ends it; the first one counts. `why` is static or NULL. Returns 0. */
size_t pm_transfer_stop(struct transfer *t, int err, const char *why);
/* Gives the head event, unless it was given. Its result. */
int pm_transfer_give_head(struct transfer *t);

#endif
