/* What the emulated Shapeways keeps: models with their versions and photographs, the cart, tokens,
 * nonces. It outlives a kill of this program. Any thread; see ledger.h for changes that consist of
 * several calls. */
#ifndef EMULATOR_SHAPEWAYS_STOCK_H
#define EMULATOR_SHAPEWAYS_STOCK_H

#include "tests/emulator/ledger.h"

struct sw_model {
    int64_t id;                         /* 0: none */
    char    title[512];
    char    description[16384];
    bool    is_public;
    bool    for_sale;
    bool    downloadable;
    bool    claimable;
    char    tags[4096];                 /* JSON array */
    char    materials[4096];            /* JSON object: id -> {markup, isActive} */
    int64_t default_material;           /* 0: none */
    char    categories[1024];           /* JSON array of ids */
    char    secret_key[33];
    char    claim_key[33];              /* of a claimable one */
    int64_t created;                    /* ms, the service's clock */
    int64_t posted;                     /* ms, ours */
    int64_t last;                       /* number of its newest version */
    int64_t touched;                    /* ms: when somebody else made a version */
    int64_t seen;                       /* ms: when a client was last told which version it has */
    bool    seeded;
};

struct sw_version {
    int64_t  model;
    int64_t  number;                    /* from 0 */
    char     name[512];
    uint64_t size;
    char     md5[33];                   /* in hex */
    char     content[33];               /* in the store */
    double   scale;
    char     form[8];                   /* what the text was: "percent", "plain" or "either" */
    int64_t  created;                   /* ms */
    bool     lost;                      /* its answer never went out */
    bool     seeded;
};

struct sw_photo {
    int64_t  id;
    int64_t  model;
    char     title[512];
    char     description[4096];
    int      width;
    int      height;
    int64_t  material;                  /* 0: none */
    bool     is_default;
    uint64_t size;
    char     md5[33];
    char     content[33];
    bool     seeded;
};

enum sw_token_kind { SW_REQUEST = 1, SW_ACCESS, SW_BEARER };
enum sw_token_state { SW_NEW, SW_GRANTED, SW_DENIED, SW_USED, SW_REVOKED };

struct sw_token {
    char                id[40];
    char                secret[40];
    enum sw_token_kind  kind;
    enum sw_token_state state;
    char                verifier[16];
    char                callback[512];  /* "": a PIN */
    int64_t             expires;        /* ms; 0: never */
};

struct sw_item {                        /* of the cart */
    int64_t model;
    int64_t material;
    int64_t quantity;
};

int sw_stock_open(const char *dir, struct ledger **out);

bool sw_stock_model(struct ledger *l, int64_t id, struct sw_model *out);
/* Adds it (id 0, which is filled in) or changes it. */
void sw_stock_put_model(struct ledger *l, struct sw_model *m);
void sw_stock_remove_model(struct ledger *l, int64_t id);
/* A client was told which version it has. */
void sw_stock_saw(struct ledger *l, int64_t id, int64_t at);

typedef void sw_model_fn(const struct sw_model *m, void *arg);
typedef void sw_version_fn(const struct sw_version *v, void *arg);
typedef void sw_photo_fn(const struct sw_photo *p, void *arg);
typedef void sw_item_fn(const struct sw_item *i, void *arg);
/* Of `limit` models (-1: all) from `offset`, the newest or the oldest first, those posted
 * before. The lock is held: `each` may call the stock, but not change it. */
void sw_stock_models(struct ledger *l, bool newest, int64_t before, int64_t limit, int64_t offset,
                     sw_model_fn *each, void *arg);

bool sw_stock_version(struct ledger *l, int64_t model, int64_t number, struct sw_version *out);
/* Adds it, as the model's newest; or changes it. */
void sw_stock_put_version(struct ledger *l, const struct sw_version *v);
void sw_stock_versions(struct ledger *l, int64_t model, sw_version_fn *each, void *arg);

void sw_stock_add_photo(struct ledger *l, struct sw_photo *p);  /* fills in its id */
int64_t sw_stock_photo_count(struct ledger *l, int64_t model);
void sw_stock_photos(struct ledger *l, int64_t model, sw_photo_fn *each, void *arg);
/* Has a client sent such a photograph of the model? */
bool sw_stock_has_photo(struct ledger *l, int64_t model, const char *md5);

void sw_stock_cart_add(struct ledger *l, const struct sw_item *i);
void sw_stock_cart(struct ledger *l, sw_item_fn *each, void *arg);
void sw_stock_cart_clear(struct ledger *l);

bool sw_stock_token(struct ledger *l, const char *id, struct sw_token *out);
bool sw_stock_last_token(struct ledger *l, enum sw_token_kind kind, struct sw_token *out);
void sw_stock_put_token(struct ledger *l, const struct sw_token *t);
void sw_stock_revoke(struct ledger *l, const char *id);         /* "": all access tokens */

/* False: it was there already. */
bool sw_stock_nonce(struct ledger *l, const char *nonce, int64_t at);

/* When something was done last, ms; 0: never. */
void sw_stock_mark(struct ledger *l, const char *what, int64_t at);
int64_t sw_stock_marked(struct ledger *l, const char *what);

#endif
