/* Shared by the parts of Shapeways: shapeways.c (dispatch, rates), _auth.c (who may call),
 * _login.c (tokens are had), _answer.c (how answers are written), _wish.c (parameters), _body.c
 * (files inside JSON), _model.c, _file.c (new models and versions, downloads), _photo.c, _shop.c
 * (materials, printers, categories, price, cart, the rate), _control.c. */
#ifndef EMULATOR_SHAPEWAYS_CALL_H
#define EMULATOR_SHAPEWAYS_CALL_H

#include <cjson/cJSON.h>
#include <string.h>

#include "tests/emulator/depot.h"
#include "tests/emulator/flight.h"
#include "tests/emulator/request.h"
#include "tests/emulator/shapeways.h"
#include "tests/emulator/shapeways_body.h"
#include "tests/emulator/shapeways_stock.h"

enum sw_auth {                          /* what a call is made with */
    SW_AUTH_TOKEN,                      /* an access token: OAuth1's or OAuth2's */
    SW_AUTH_CONSUMER,                   /* OAuth1, no token yet */
    SW_AUTH_REQUEST,                    /* OAuth1, the request token */
    SW_AUTH_OWN,                        /* the call judges itself */
};

struct sw_route {
    const char  *method;
    const char  *path;                  /* below the prefix; '#' stands for a number */
    const char  *endpoint;
    enum sw_auth auth;
    const char  *query;                 /* comma list of documented parameters */
    bool         file;                  /* the body's member `file` is one */
    void (*finish)(struct request *rq);
};

/* rq->state while it is ours. */
struct sw_visit {
    const struct sw_route *route;       /* NULL: unknown */
    int64_t                ids[2];      /* the numbers in the path */
    struct sw_body        *body;        /* of a call with a file; owned */
    struct sw_token        token;       /* the call was made with */
    char                   verifier[64];    /* of access_token */
    char                   callback[512];   /* of request_token */
    struct flight          flight;
    int64_t                began;       /* ms */
    bool                   counted;     /* by the rate */
    bool                   named;       /* faults know what the body names */
};

static inline struct sw_visit *sw_visit(struct request *rq)
{
    return rq->state;
}

static inline const struct shapeways_options *sw_opt(const struct request *rq)
{
    return &rq->opt.shapeways;
}

static inline struct ledger *sw_stock(const struct request *rq)
{
    return rq->emu->print_shop;
}

static inline bool sw_is(const char *option, const char *word)
{
    return strcmp(option, word) == 0;
}

/* ---- shapeways.c ---- */
int64_t sw_now(const struct option_values *opt);        /* the service's clock, ms */
struct rate sw_rate(const struct option_values *opt);   /* what all calls share */
/* Other programs' part of it. */
struct rate sw_rate_of_others(const struct option_values *opt);
/* So many calls of this window are left, and in how many seconds there is one; 0: now. */
int64_t sw_remaining(struct emulator *emu, const struct option_values *opt, int64_t *retry_s);

/* ---- shapeways_auth.c: true, or there is a reply ---- */
bool sw_authorize(struct request *rq);
/* A new one of this kind; its secret is random, too. */
void sw_new_token(struct sw_token *t, enum sw_token_kind kind);

/* ---- shapeways_login.c ---- */
void sw_request_token(struct request *rq);
void sw_access_token(struct request *rq);
void sw_login_page(struct request *rq);
void sw_oauth2_token(struct request *rq);
/* The user says yes or no to this request token. Appends where the browser is sent; nothing: a
 * PIN. */
void sw_grant(struct ledger *stock, struct sw_token *t, bool yes, struct buf *redirect);

/* ---- shapeways_answer.c ---- */
void sw_error(struct request *rq, int status, const char *reason);
/* Of something that does not exist; of a call that makes no sense. */
void sw_gone(struct request *rq, const char *what);
void sw_invalid(struct request *rq, const char *format, ...) __attribute__((format(printf, 2, 3)));
cJSON *sw_answer(void);                 /* with its result */
void sw_add_id(cJSON *json, const char *name, int64_t id);
void sw_reply(struct request *rq, cJSON *json);         /* consumes it */
/* The same with the version's bytes as `fileData`, sent as they are read. */
void sw_reply_file(struct request *rq, cJSON *json, const struct sw_version *v);
void sw_tell_rate(struct request *rq);

/* ---- shapeways_wish.c ---- */
enum sw_kind { SW_TEXT, SW_INT, SW_FLOAT, SW_FLAG, SW_TEXTS, SW_INTS, SW_MATERIALS, SW_FILE };

struct sw_param {
    const char  *name;
    enum sw_kind kind;
    bool         required;
};

/* The JSON object of the body, as these parameters say; what is not among them is gone. NULL:
 * there is a reply. Owned by the caller. */
cJSON *sw_wish(struct request *rq, const struct sw_param *params, size_t count);
const char *sw_wish_text(const cJSON *json, const char *name, const char *otherwise);
double sw_wish_number(const cJSON *json, const char *name, double otherwise);
bool sw_wish_flag(const cJSON *json, const char *name, bool otherwise);

/* ---- shapeways_model.c ---- */
void sw_models(struct request *rq);
void sw_model(struct request *rq);
void sw_model_delete(struct request *rq);
void sw_info(struct request *rq);
void sw_info_put(struct request *rq);
/* The model that the path names, or the reply. */
bool sw_find_model(struct request *rq, struct sw_model *m);
/* Takes title, description, … as far as they are there. False: there is a reply. */
bool sw_take_info(struct request *rq, const cJSON *wish, struct sw_model *m);
void sw_add_info(struct request *rq, const struct sw_model *m, bool prices, cJSON *json);
void sw_add_version(struct request *rq, const struct sw_version *v, cJSON *json);
/* Before a change: another program made a version that no client has seen. */
void sw_judge_unseen(struct request *rq, const struct sw_model *m, const char *what);

/* ---- shapeways_file.c ---- */
void sw_model_new(struct request *rq);
void sw_file_new(struct request *rq);
void sw_file(struct request *rq);
void sw_photo_new(struct request *rq);  /* in shapeways_photo.c */
/* The bytes are in the store, and were what the client meant. False: there is a reply. */
bool sw_take_file(struct request *rq, struct sums *sums, uint64_t *size, char content[33]);
/* The answer that this request gets never arrives. */
bool sw_answer_is_lost(const struct request *rq);

/* ---- shapeways_shop.c ---- */
struct sw_material {
    int         id;
    const char *title;
    bool        color;
    int         printer;
    double      base_price;             /* and so much for a cubic centimetre: */
    double      cm3_price;
    bool        restricted;
};

extern const struct sw_material sw_materials[];
extern const size_t sw_material_count;
const struct sw_material *sw_material_by_id(int64_t id);        /* NULL: none */
/* {"6":{"title":…,"level":…,"parentId":…}} of one; false: no such category. */
bool sw_add_category(cJSON *categories, int64_t id);
void sw_add_restrictions(cJSON *json, const struct sw_material *m);

void sw_api(struct request *rq);
void sw_cart(struct request *rq);
void sw_cart_add(struct request *rq);
void sw_material_list(struct request *rq);
void sw_material_one(struct request *rq);
void sw_printer_list(struct request *rq);
void sw_printer_one(struct request *rq);
void sw_category_list(struct request *rq);
void sw_category_one(struct request *rq);
void sw_price(struct request *rq);

#endif
