/* shapeways_impl.h: what the shapeways*.c files share. */
#ifndef PM_BACKENDS_SHAPEWAYS_IMPL_H
#define PM_BACKENDS_SHAPEWAYS_IMPL_H

#include "backends/b64.h"
#include "backends/http.h"
#include "backends/json.h"
#include "backends/oauth1.h"
#include "backends/rate.h"

#define PM_SW_ID_MAX      33
#define PM_SW_VERSION_MAX 9999 /* of a model; what is more is no number of a version */

/* Texts that were made of the service's answers, since what is listed is read soon after. */
struct pm_sw_text {
    char   *path; /* owned; NULL: free */
    char   *text; /* owned */
    int64_t got_ms;
};

#define PM_SW_TEXTS 16

struct pm_shapeways {
    struct pm_backend      base;
    struct pm_rate        *rate; /* owned; immutable */
    int64_t                opened_ms; /* immutable; wall clock: the age of folders that only the drive has */
    struct pm_oauth1_clock clock;
    atomic_bool            paged; /* a page was full: one that is not is the last */
    pthread_mutex_t        lock; /* leaf */
    pthread_cond_t         got; /* lock; when `getting` ends */
    bool                   getting; /* lock; a thread asks for a token (OAuth 2) */
    char                  *token; /* lock; owned; NULL: none */
    char                   token_of[65]; /* lock; the hash of the keys that it was got with */
    int64_t                token_until_ms; /* lock; pm_now_ms() */
    struct pm_sw_text      texts[PM_SW_TEXTS]; /* lock */
};

static inline struct pm_shapeways *pm_sw(struct pm_backend *b)
{
    return container_of(b, struct pm_shapeways, base);
}

/* --- calls (shapeways_call.c) */

struct pm_sw_call {
    struct pm_http_request req; /* in: method, url (a path from the endpoint on), body, file, headers, once */
    pm_b64_data_fn        *data; /* in: takes what the member "fileData" holds; NULL: nobody */
    void                  *arg;
    struct cJSON          *json; /* out, on success: the answer; owned */
    long                   status; /* out; 0: no answer came */
};

/* One call within the rate and with the credential, and the service's word on failure. A good answer is one
 * that says so (api/mapping.md C14). What can heal is tried again, but for req.once, which is -EAGAIN where
 * it is not known whether it arrived, and after `data` took something. -EINVAL: "failure", of whatever
 * status. -EBUSY: not within the rate. */
int pm_sw_call(struct pm_shapeways *sw, struct pm_ctx *ctx, struct pm_sw_call *call);
/* The same with these keys (a line each) and no others; *refused: they are not taken. */
int pm_sw_call_with(struct pm_shapeways *sw, struct pm_ctx *ctx, struct pm_sw_call *call,
                    const char *secret, bool *refused);
/* GET; *json is owned. */
int pm_sw_get(struct pm_shapeways *sw, struct pm_ctx *ctx, const char *path, struct cJSON **json);

/* OAuth 2 (shapeways_token.c): a token for these keys (a line each), owned: pm_secret_free; one that is
 * known and good, or a new one. *refused: the service does not take the keys. */
int  pm_sw_token(struct pm_shapeways *sw, struct pm_ctx *ctx, const char *keys, char **token, bool *refused);
/* The service did not take it: the next call gets another one. */
void pm_sw_token_drop(struct pm_shapeways *sw, const char *token);

/* Whether it can be an id: what is none is neither shown nor sent. */
bool pm_sw_is_id(const char *id);

/* struct pm_backend_ops (shapeways_login.c) */
int pm_sw_login(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_login *user);

/* --- lists (shapeways_list.c) */

/* Takes a model of the list. Negative: ends it with that. */
typedef int pm_sw_each_fn(void *arg, const struct cJSON *obj, const char *id);
/* All models, each once. */
int pm_sw_models(struct pm_shapeways *sw, struct pm_ctx *ctx, pm_sw_each_fn *each, void *arg);
/* 1: the model is in the list; 0: it is not; or -errno. */
int pm_sw_is_listed(struct pm_shapeways *sw, struct pm_ctx *ctx, const char *id);

/* --- models (shapeways_model.c) */

/* GET /models/ID/TAILv1, TAIL such as "files/0/". -ENOENT: there is no such thing, in whatever words. */
int pm_sw_get_model(struct pm_shapeways *sw, struct pm_ctx *ctx, const char *id, const char *tail,
                    struct cJSON **json);
/* The current version. False: the object does not tell. */
bool pm_sw_version(const struct cJSON *obj, unsigned *version);
int  pm_sw_give_model(const struct cJSON *obj, const char *id, pm_entry_fn *each, void *arg);
int  pm_sw_give_link(const struct cJSON *obj, const char *id, pm_entry_fn *each, void *arg);
/* What is in a model's folder, of an answer to GET /models/ID/v1. */
int pm_sw_give_inside(struct pm_shapeways *sw, const struct cJSON *obj, const char *id, pm_entry_fn *each,
                      void *arg);
int pm_sw_give_versions_folder(const struct pm_shapeways *sw, const struct cJSON *obj, const char *id,
                               pm_entry_fn *each, void *arg);
int pm_sw_give_version(const struct pm_shapeways *sw, unsigned n, const char *id, pm_entry_fn *each,
                       void *arg);
int pm_sw_give_versions(const struct pm_shapeways *sw, unsigned version, const char *id,
                        pm_entry_fn *each, void *arg);
/* Of an answer to GET /models/ID/files/N/v1; version -1: the current one. */
int pm_sw_give_file(const struct cJSON *obj, const char *id, int version, pm_entry_fn *each, void *arg);
int pm_sw_give_info(struct pm_shapeways *sw, const struct cJSON *obj, const char *id, pm_entry_fn *each,
                    void *arg);
/* Streams a version's file, and checks it. */
int pm_sw_fetch_file(struct pm_shapeways *sw, struct pm_ctx *ctx, const struct pm_entry *e,
                     const char *id, unsigned version, const struct pm_sink *sink, void *arg);

/* --- documents (shapeways_doc.c) */

/* What stands around an object in every answer is none of it. */
void pm_sw_unwrap(struct cJSON *obj);
/* The text of a document, owned. NULL: no memory. */
char *pm_sw_text_of(const struct cJSON *obj);
/* Keeps the text of a document for a while. */
void pm_sw_keep(struct pm_shapeways *sw, const char *path, const char *text);
/* Such a text that is younger; owned; NULL: there is none. */
char *pm_sw_recall(struct pm_shapeways *sw, const char *path, int64_t age_ms);
void  pm_sw_forget_texts(struct pm_shapeways *sw);
/* A document's entry; `fields` may be NULL. */
int pm_sw_give_document(const char *path, const char *id, const char *name, const char *text,
                        const char *fields, pm_entry_fn *each, void *arg);

/* The folders of which one call tells everything, and the documents that are alone. */
enum pm_sw_shop { PM_SW_MATERIALS, PM_SW_PRINTERS, PM_SW_CATEGORIES, PM_SW_SHOPS };
enum pm_sw_page { PM_SW_ACCOUNT, PM_SW_CART, PM_SW_PAGES };
extern const char *const pm_sw_shops[PM_SW_SHOPS]; /* the folders' names */
extern const char *const pm_sw_pages[PM_SW_PAGES]; /* the documents' */
/* All of a folder, or the one with this id. -ENOENT: it is not there. */
int pm_sw_list_shop(struct pm_shapeways *sw, struct pm_ctx *ctx, enum pm_sw_shop shop, const char *id,
                    pm_entry_fn *each, void *arg);
/* One that is younger; with an age, what is kept is better than an answer that makes no sense or is not
 * to be had because of the rate. */
int pm_sw_give_page(struct pm_shapeways *sw, struct pm_ctx *ctx, enum pm_sw_page page, int64_t age_ms,
                    pm_entry_fn *each, void *arg);

#endif
