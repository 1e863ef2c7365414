/* Shared by three_sixty.c (dispatch, tokens, rates, sessions), three_sixty_put.c, _project.c and
 * _control.c. */
#ifndef EMULATOR_THREE_SIXTY_CALL_H
#define EMULATOR_THREE_SIXTY_CALL_H

#include "tests/emulator/depot.h"
#include "tests/emulator/flight.h"
#include "tests/emulator/request.h"
#include "tests/emulator/three_sixty.h"

/* A PUT while its body arrives. */
struct put {
    struct flight flight;
    bool          taken;                /* it was not refused: the body counts */
    bool          finished;             /* the body ended as it should */
    bool          whole;                /* without Content-Range */
    bool          repeat;               /* the file was complete: only compared … */
    bool          differs;              /* … and is another */
    uint64_t      start;
    uint64_t      end;                  /* after the last byte */
    uint64_t      total;
    uint64_t      got;                  /* bytes of body, even those past the end */
    struct part   part;
    int           fd;                   /* of the file's bytes; -1: none */
    uint64_t      written;              /* nothing was ever written at and after this */
};

/* rq->state while it is ours. */
struct visit {
    const struct route *route;
    char                id[64];         /* of a session, or a project's slug */
    bool                id_cut;         /* it is longer than that */
    struct buf          raw_name;       /* of a file, decoded */
    char                name[256];      /* as the service keeps it; "" if nothing is left of it */
    struct put          put;
};

struct route {
    const char *method;
    const char *word;                   /* first segment */
    int         segments;
    const char *endpoint;
    const char *rate;
    bool        reads;                  /* needs the key's read scope, else its write scope */
    void (*begin)(struct request *rq);  /* may be NULL */
    void (*finish)(struct request *rq);
};

static inline struct visit *visit_of(struct request *rq)
{
    return rq->state;
}

static inline const struct three_sixty_options *opt_of(const struct request *rq)
{
    return &rq->opt.three_sixty;
}

/* In three_sixty.c. */
void three_sixty_error(struct request *rq, int status, const char *code);
/* With more members: `extra` is what printf makes of it, as ",\"received\":5". */
void three_sixty_refuse(struct request *rq, int status, const char *code, const char *extra, ...)
    __attribute__((format(printf, 4, 5)));
/* The session that the request names, if it lives; else the reply is there. */
bool three_sixty_session(struct request *rq, const char *id, struct session *s);
bool three_sixty_is_id(const char *id);
void three_sixty_new_id(char id[16]);   /* nine bytes of it */
/* Ends a session whose time is over by now. True if it lives. */
bool three_sixty_alive(struct ledger *d, struct session *s, int64_t now);
/* The i-th rate as the options scale it; false after the last. */
bool three_sixty_rate(const struct three_sixty_options *opt, size_t i, struct rate *out);

/* In three_sixty_name.c: how the service keeps a name. "" if nothing is left. */
void three_sixty_name(const char *flatten, const char *raw, size_t len, char out[256]);
/* Its extension, borrowed; "" if it has none. */
const char *three_sixty_extension(const char *name);
bool three_sixty_listed(const char *comma_list, const char *word);

/* In three_sixty_put.c. */
void three_sixty_begin_put(struct request *rq);
void three_sixty_put_body(struct request *rq, const char *bytes, size_t len);
void three_sixty_finish_put(struct request *rq);
void three_sixty_end_put(struct request *rq);

/* In three_sixty_project.c. */
void three_sixty_create(struct request *rq);
void three_sixty_get_project(struct request *rq);
void three_sixty_list_projects(struct request *rq);
int three_sixty_status(const struct project *p, int64_t now);

#endif
