/* One request from its first line to the last byte of its answer. It belongs to the thread of its
 * connection. server.c drives it, a service fills in `reply`. */
#ifndef EMULATOR_REQUEST_H
#define EMULATOR_REQUEST_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/emulator/emulator.h"

struct request;

enum body_kind { BODY_MEMORY, BODY_FILE, BODY_STREAM };

#define REPLY_HEADERS 24
#define NEWS_MS 1000                    /* so long may a refusal be news to requests side by side */

struct reply {
    int status;                         /* 0: none yet */
    struct {
        const char *name;               /* static */
        char       *value;              /* owned */
    } headers[REPLY_HEADERS];
    size_t         header_count;
    enum body_kind kind;
    struct buf     memory;              /* BODY_MEMORY */
    int            fd;                  /* BODY_FILE: owned … */
    uint64_t       offset;              /* … from here … */
    uint64_t       len;                 /* … so many bytes */
    /* BODY_STREAM: fills up to max bytes, 0 ends. Size unknown beforehand. */
    size_t (*stream)(void *arg, char *out, size_t max);
    void (*stream_free)(void *arg);
    void *stream_arg;
};

/* One emulated service. Every op gets the request whose `service` it is. */
struct service {
    const char *name;                   /* root in the tree; first segment at the storage port */
    const char *prefix;                 /* of its paths at the api port, "/file" */
    const char *storage_too;            /* more first segments at the storage port; or NULL */
    /* The header has arrived: set rq->endpoint (static), rq->authorized, refuse by a reply. No
     * processing yet: a fault may still come first. */
    void (*begin)(struct request *rq);
    /* A piece of the body; NULL: collected in rq->body. Not called once there is a reply. */
    void (*body)(struct request *rq, const char *bytes, size_t len);
    void (*finish)(struct request *rq);  /* the body is whole: process and set the reply */
    void (*storage)(struct request *rq); /* the same at the storage port */
    void (*end)(struct request *rq);     /* the request is over, however: free rq->state */
    void (*error)(struct request *rq, int status, const char *detail);  /* an error, its way */
    /* Adds the path of the object that the request names by its id: faults match it, too. May be
     * NULL. */
    void (*subject)(struct request *rq, struct buf *out);
    /* The token that the account has now; NULL: the emulator's own. */
    const char *(*token)(const struct request *rq);
};

struct request {
    struct emulator       *emu;
    struct port           *port;
    struct MHD_Connection *connection;
    const struct service  *service;     /* NULL: nobody's path */
    int                    fd;          /* of the connection; borrowed */
    char                  *target;      /* as sent */
    char                  *raw_path;    /* target without query */
    const char            *raw_query;   /* into target; "" if none */
    char                  *path;        /* decoded, for messages */
    char                   method[16];
    const char            *endpoint;    /* static name, for log and faults */
    const char            *range;       /* headers: borrowed from MHD; "" if absent */
    const char            *content_type;
    int                    authorizations;
    const char            *authorization;
    bool                   authorized;
    bool                   quiet;       /* control: not logged, no faults */
    bool                   quit;        /* end the program after the answer */
    bool                   begun;
    bool                   dead;        /* the connection is to be dropped */
    struct option_values   opt;
    struct fault_plan      plan;
    struct reply           reply;
    struct buf             body;
    uint64_t               in_bytes;
    uint64_t               out_bytes;   /* of the answer's body, if `counted` by our callback */
    bool                   counted;
    uint64_t               out_full;    /* the body's whole size if known */
    uint64_t               tcp_before;  /* bytes acknowledged before this request */
    int                    status_sent;
    uint64_t               log_n;
    void                  *state;       /* the service's */
};

struct request *request_new(struct port *port, const char *target, struct MHD_Connection *c);
void request_free(struct request *rq);

/* Everything server.c tells it; `bytes` NULL ends the body. After each: look at rq->dead. */
void request_begin(struct request *rq, const char *method);
void request_body(struct request *rq, const char *bytes, size_t len);
void request_finish(struct request *rq);
bool request_wants_answer_now(struct request *rq);

/* For services. */
void request_breach(struct request *rq, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void request_fault_again(struct request *rq, const char *text); /* more is known to match with */
void request_fault_body(struct request *rq, const char *text);  /* the same, of its body only */
const char *request_header(struct request *rq, const char *name); /* "" if absent; borrowed */
/* A query parameter, decoded as a form does ('+' is a space). False if absent. */
bool request_query(struct request *rq, const char *name, struct buf *out);

void reply_header(struct reply *reply, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void reply_json(struct reply *reply, int status, struct buf *text);     /* takes text's memory */
void reply_clear(struct reply *reply);  /* frees what it owns; none yet */
/* Serves `size` bytes of `fd` (consumed) as the request's Range and options say. */
void reply_file(struct request *rq, int fd, uint64_t size, const char *etag);
void reply_error_json(struct request *rq, int status, const char *detail);

/* Drops the connection at once with a TCP reset. */
void request_reset(struct request *rq);

/* The token that the account has now. */
const char *request_token(const struct request *rq);

#endif
