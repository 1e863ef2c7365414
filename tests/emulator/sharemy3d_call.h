/* Shared by the parts of ShareMy3D: sharemy3d.c (dispatch, tokens, errors, one model), _list.c
 * (lists and what is told of a model), _new.c (POST), _storage.c (the storage host: signed URLs,
 * reading, plain PUTs), _session.c (resumable uploads), _object.c (what becomes of bytes),
 * _control.c. */
#ifndef EMULATOR_SHAREMY3D_CALL_H
#define EMULATOR_SHAREMY3D_CALL_H

#include "tests/emulator/flight.h"
#include "tests/emulator/request.h"
#include "tests/emulator/sharemy3d.h"
#include "tests/emulator/sharemy3d_stock.h"

#define GRANULE ((uint64_t)256 * 1024)

/* A PUT while its body arrives: to a session, or to a signed URL. */
struct sm3d_put {
    struct flight       flight;
    bool                taken;          /* it was not refused: the body counts */
    bool                finished;       /* the body ended as it should */
    bool                query;          /* asks only */
    bool                total_known;
    uint64_t            start;
    uint64_t            end;            /* after the last byte; of chunked coding: no bound */
    bool                end_known;
    uint64_t            total;
    uint64_t            got;            /* bytes of body */
    int                 fd;             /* of the session's bytes; -1: none */
    uint64_t            written;        /* nothing was ever written at and after this */
    uint64_t            saved;          /* the row says so much is kept */
    struct sums_run    *run;            /* of all bytes before the next one, or NULL; owned */
    struct incoming    *incoming;       /* of a plain PUT; owned */
    struct sm3d_session session;        /* as it was at the beginning */
};

/* rq->state while it is ours. */
struct sm3d_visit {
    const struct sm3d_route *route;     /* NULL at the storage host */
    char                     id[64];    /* of a model or background; cut */
    struct sm3d_item         item;      /* at the storage host: num 0 if there is none */
    struct sm3d_put          put;
    void (*finish)(struct request *rq); /* at the storage host */
};

struct sm3d_route {
    const char    *method;
    const char    *word;                /* first segment */
    bool           by_id;
    const char    *tail;                /* last segment, or "" */
    const char    *endpoint;
    enum sm3d_kind kind;
    bool           query;               /* has documented parameters */
    void (*finish)(struct request *rq);
};

static inline struct sm3d_visit *sm3d_visit(struct request *rq)
{
    return rq->state;
}

static inline const struct sm3d_options *sm3d_opt(const struct request *rq)
{
    return &rq->opt.sm3d;
}

static inline struct ledger *sm3d_stock(const struct request *rq)
{
    return rq->emu->stock;
}

/* In sharemy3d.c. */
void sharemy3d_error(struct request *rq, int status, const char *message);
/* The service's clock, for a request or in general. */
int64_t sm3d_now(const struct option_values *opt);
bool sm3d_listed(const char *comma_list, const char *word);
const char *sm3d_extension(const char *filename);       /* "" if it has none; borrowed */

/* In sharemy3d_list.c. */
void sharemy3d_list(struct request *rq);
void sharemy3d_info(struct request *rq);
const char *sm3d_status(struct ledger *stock, const struct option_values *opt,
                        const struct sm3d_item *item);

/* In sharemy3d_new.c. */
void sharemy3d_new(struct request *rq);
/* A new one's id and key, and what follows of them. */
void sm3d_prepare(const struct option_values *opt, struct sm3d_item *item);

/* In sharemy3d_storage.c. */
void sharemy3d_storage_error(struct request *rq, int status, const char *detail);
void sharemy3d_begin_storage(struct request *rq);
/* Appends the signed URL that this method has for the item's object. */
void sm3d_signed_url(struct request *rq, const struct sm3d_item *item, const char *method,
                     struct buf *out);
void sm3d_object_path(const struct sm3d_item *item, struct buf *out);
/* The client has the uploadUrl of the item that this request is for. */
void sm3d_mark_used(struct request *rq);
void sharemy3d_storage_body(struct request *rq, const char *bytes, size_t len);
void sharemy3d_storage_end(struct request *rq);

/* In sharemy3d_session.c. */
void sm3d_open_session(struct request *rq, const struct sm3d_item *item, struct buf *url);
void sm3d_session_url(const struct emulator *emu, const struct sm3d_item *item,
                      const struct sm3d_session *s, struct buf *out);
/* Whether it still takes bytes, and the status that it answers if not. */
bool sm3d_session_lives(const struct option_values *opt, const struct sm3d_session *s,
                        int *status);
void sm3d_begin_start(struct request *rq);      /* POST to a signed URL */
void sm3d_begin_session(struct request *rq);    /* PUT or DELETE with an upload_id */
void sm3d_session_body(struct request *rq, const char *bytes, size_t len);
void sm3d_session_end(struct request *rq);

/* In sharemy3d_object.c. */
/* Of a content of the store. 0 or a negative errno. */
int sm3d_sums(struct store *store, const char *content, uint64_t size, struct sums *out);
/* The item has these bytes now; the stock's row is changed. */
void sm3d_make_object(struct emulator *emu, const struct option_values *opt,
                      struct sm3d_item *item, const char *content, uint64_t size,
                      const struct sums *sums);
/* The same with what gzip makes of it stored instead. */
int sm3d_pack_object(struct emulator *emu, struct sm3d_item *item);
/* What x-goog-hash or Content-MD5 of the request say of these bytes: false, and the reply, if it is
 * not true. */
bool sm3d_judge_hashes(struct request *rq, const struct sums *sums);
/* Appends what Content-Disposition says of its name. */
void sm3d_disposition(const struct sm3d_item *item, struct buf *out);
void sm3d_object_headers(struct request *rq, const struct sm3d_item *item);
void sm3d_object_json(const struct sm3d_item *item, struct buf *out);
void sm3d_serve_object(struct request *rq, const struct sm3d_item *item);

#endif
