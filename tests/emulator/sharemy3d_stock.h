/* What ShareMy3D keeps: models and backgrounds with the objects that their bytes are at the storage
 * host, and the upload sessions there. A ledger: DIR/sharemy3d.sqlite; bytes that still arrive grow
 * in DIR/sharemy3d, those of whole objects are contents of the store. */
#ifndef EMULATOR_SHAREMY3D_STOCK_H
#define EMULATOR_SHAREMY3D_STOCK_H

#include "tests/emulator/ledger.h"
#include "tests/emulator/sums.h"

enum sm3d_kind { SM3D_MODEL, SM3D_BACKGROUND };

/* An object at the storage host; generation 0: none yet. */
struct sm3d_object {
    int64_t     generation;
    char        content[33];            /* in the store */
    uint64_t    size;
    char        packed[33];             /* gzip-stored: what is stored; else "" */
    uint64_t    packed_size;
    struct sums sums;                   /* of what is stored */
};

struct sm3d_item {                      /* a model or background */
    int64_t            num;             /* 0: not in the stock */
    enum sm3d_kind     kind;
    char               id[33];
    char               key[1024];       /* of its object, "originals/ID" */
    char               filename[512];
    char               name[256];
    char               description[512];
    bool               has_description;
    char               password[512];
    bool               has_password;
    bool               downloadable;
    char               type[16];        /* of a background */
    uint64_t           size;            /* as announced */
    int64_t            views;
    int64_t            created;         /* ms, the service's clock */
    int64_t            posted;          /* ms, our clock */
    bool               seeded;
    bool               resumable;
    bool               used;            /* its uploadUrl was */
    int64_t            noticed_at;      /* ms: UPLOADING before; 0: no bytes yet */
    int64_t            ready_at;        /* ms: PROCESSING before … */
    char               outcome[12];     /* … then this; what is stuck has it from the beginning */
    bool               stuck;
    struct sm3d_object object;
};

enum sm3d_session_state { SM3D_OPEN, SM3D_DONE, SM3D_CANCELLED, SM3D_BROKEN };

struct sm3d_session {
    char                    id[128];    /* the upload_id: whoever has it may write */
    char                    item[33];   /* id of */
    bool                    json;       /* opened by the JSON API, else by a signed URL */
    enum sm3d_session_state state;      /* rows stay: what was given out is known for ever */
    int                     broken;     /* the status that a broken one answers */
    int64_t                 created;    /* ms, our clock */
    int64_t                 touched;    /* ms: the last PUT */
    uint64_t                total;      /* as announced */
    uint64_t                received;   /* bytes [0, received) are kept */
    uint64_t                told;       /* the most that a client was told to be kept */
    char                    bytes[33];  /* for ledger_bytes() */
    int64_t                 puts;       /* that brought something */
};

int stock_open(const char *dir, struct ledger **out);

/* Lookups: true and *out, or false. */
bool stock_item(struct ledger *l, enum sm3d_kind kind, const char *id, struct sm3d_item *out);
bool stock_item_any(struct ledger *l, const char *id, struct sm3d_item *out);
bool stock_object(struct ledger *l, const char *key, struct sm3d_item *out);
bool stock_session(struct ledger *l, const char *id, struct sm3d_session *out);
/* The item's last one. */
bool stock_session_of(struct ledger *l, const char *item, struct sm3d_session *out);

/* Adds it, or changes the one that is there. */
void stock_put_item(struct ledger *l, struct sm3d_item *item);      /* fills in num */
void stock_put_session(struct ledger *l, const struct sm3d_session *s);
void stock_remove_item(struct ledger *l, const struct sm3d_item *item);

/* With the lock held. `each` may call the stock, but not change it. */
typedef void stock_item_fn(const struct sm3d_item *item, void *arg);
typedef void stock_session_fn(const struct sm3d_session *s, void *arg);
/* In the order of their making. */
void stock_items(struct ledger *l, enum sm3d_kind kind, stock_item_fn *each, void *arg);
void stock_sessions(struct ledger *l, stock_session_fn *each, void *arg);

/* When something was done last, ms; 0: never. */
void stock_mark(struct ledger *l, const char *what, int64_t at);
int64_t stock_marked(struct ledger *l, const char *what);

#endif
