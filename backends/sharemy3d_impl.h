/* sharemy3d_impl.h: what the sharemy3d*.c files share. */
#ifndef PM_BACKENDS_SHAREMY3D_IMPL_H
#define PM_BACKENDS_SHAREMY3D_IMPL_H

#include "backends/http.h"
#include "backends/json.h"

#include <pthread.h>

#define PM_SM_ID_MAX 65
#define PM_SM_INFO   "info.json"
#define PM_SM_DROP   "@drop" /* after an id: the file in uploads/ */

/* The two kinds of things; everything that differs between them. */
enum pm_sm_kind { PM_SM_MODEL, PM_SM_BACKGROUND, PM_SM_KINDS };

struct pm_sm_words {
    const char *folder; /* in the tree, in the calls' paths, and the list's member */
    const char *id; /* the id's member */
    const char *uploads; /* the folder where they are made */
};

extern const struct pm_sm_words pm_sm_words[PM_SM_KINDS];

/* What the service says of the forms of its token is not the same everywhere. */
enum pm_sm_form { PM_SM_UNKNOWN, PM_SM_BEARER, PM_SM_BARE };

struct pm_sharemy3d {
    struct pm_backend base;
    int64_t           opened_ms; /* immutable; wall clock: the age of folders that only the drive has */
    atomic_int        form; /* enum pm_sm_form */
    pthread_mutex_t   password_lock;
    bool              password_asking; /* password_lock; a thread does */
    char             *password; /* password_lock; owned; NULL: none */
    int               password_err; /* password_lock; what asking for it came to */
    char              password_why[256]; /* password_lock */
    int64_t           password_ms; /* password_lock; pm_now_ms() of that; 0: nobody asked yet */
};

static inline struct pm_sharemy3d *pm_sm(struct pm_backend *b)
{
    return container_of(b, struct pm_sharemy3d, base);
}

/* --- calls (sharemy3d_call.c) */

/* One call of the API with the token, "Bearer" first and the bare form once on 401, unless it is known
 * which; the service's word in ctx->why. req->url is a path from the endpoint on. *json is the answer's
 * object, owned; NULL: it tells nothing, and may be empty. */
int pm_sm_call(struct pm_sharemy3d *sm, struct pm_ctx *ctx, struct pm_http_request *req,
               struct cJSON **json);
/* The same for a call about one id. -ENOENT: there is no such thing, in whatever words. */
int pm_sm_call_id(struct pm_sharemy3d *sm, struct pm_ctx *ctx, enum pm_sm_kind kind, const char *id,
                  struct pm_http_request *req, struct cJSON **json);
/* GET /FOLDER/ID/TAIL. -ENOENT: there is no such thing, in whatever words. */
int pm_sm_get(struct pm_sharemy3d *sm, struct pm_ctx *ctx, enum pm_sm_kind kind, const char *id,
              const char *tail, struct cJSON **json);
/* Whether it can be an id: what is none is neither shown nor sent. */
bool pm_sm_is_id(const char *id);

/* --- the password for what is dropped (sharemy3d_password.c) */

/* *out is owned: pm_secret_free. Asked for at most once a minute, by one thread. -ENOENT: there is none;
 * -EAGAIN: it cannot be had now, with ctx->why; -ECANCELED, -ENOMEM. */
int pm_sm_password(struct pm_sharemy3d *sm, struct pm_ctx *ctx, char **out);

/* --- lists (sharemy3d_list.c) */

/* Takes a model or background of a list. Negative: ends the list with it. */
typedef int pm_sm_each_fn(void *arg, const struct cJSON *obj, const char *id);
/* All of a kind (status: of this one only, or NULL), each once, on the calling thread. */
int pm_sm_list(struct pm_sharemy3d *sm, struct pm_ctx *ctx, enum pm_sm_kind kind, const char *status,
               pm_sm_each_fn *each, void *arg);

/* --- the original file (sharemy3d_file.c) */

/* What it is called: asked once, and then known for good. *name is owned; NULL: the service gives it
 * only later. */
int pm_sm_file_name(struct pm_sharemy3d *sm, struct pm_ctx *ctx, const char *id,
                    const struct cJSON *model, char **name);
/* The same, without asking. */
void pm_sm_learn_name(struct pm_sharemy3d *sm, const char *id, const char *name);
/* Its size, where the model does not tell: the storage did when it was asked for the name. Unknown: *size
 * stays. */
void pm_sm_file_size(struct pm_sharemy3d *sm, const char *id, const struct cJSON *model, uint64_t *size);
int pm_sm_locate(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                 struct pm_location *loc);

/* --- what this drive made (sharemy3d_own.c) */

struct pm_sm_own {
    char    *name; /* in uploads/; owned */
    char    *file; /* made of a folder, with this file in it; owned. NULL: of a file */
    uint64_t size; /* where the service does not tell: of backgrounds never */
    int64_t  made_ms; /* pm_wall_ms() when it was confirmed; 0: not known */
    bool     begun; /* it is still being sent, and not shown */
};

/* Of a model or background with this id. -ENOENT: it was not made here. */
int  pm_sm_own_get(struct pm_sharemy3d *sm, enum pm_sm_kind kind, const char *id, struct pm_sm_own *out);
void pm_sm_own_clear(struct pm_sm_own *own);
int  pm_sm_own_keep(struct pm_sharemy3d *sm, enum pm_sm_kind kind, const char *id,
                    const struct pm_sm_own *own);
int  pm_sm_own_forget(struct pm_sharemy3d *sm, enum pm_sm_kind kind, const char *id);

/* All of a kind, to be looked at by id; owned. */
struct pm_sm_map;
int  pm_sm_map_load(struct pm_sharemy3d *sm, enum pm_sm_kind kind, struct pm_sm_map **out);
void pm_sm_map_free(struct pm_sm_map *map);
/* Borrowed; NULL: it was not made here. `map` may be NULL. */
const struct pm_sm_own *pm_sm_map_find(const struct pm_sm_map *map, const char *id);

/* Is it a file or folder in uploads/? Then whose. */
bool pm_sm_drop_id(const struct pm_entry *e, char id[PM_SM_ID_MAX]);
/* uploads/ of a kind. Without any no request is made. */
int pm_sm_list_own(struct pm_sharemy3d *sm, struct pm_ctx *ctx, enum pm_sm_kind kind, pm_entry_fn *each,
                   void *arg);
int pm_sm_own_stat(struct pm_sharemy3d *sm, struct pm_ctx *ctx, enum pm_sm_kind kind,
                   const struct pm_entry *e, struct pm_entry **out);
/* The file of the object `obj`; `name`: where none is known. */
int pm_sm_own_entry(struct pm_sharemy3d *sm, enum pm_sm_kind kind, const struct cJSON *obj,
                    const char *id, const char *name, struct pm_entry **out);
int pm_sm_own_rename(struct pm_sharemy3d *sm, enum pm_sm_kind kind, const struct pm_entry *e,
                     const char *name, struct pm_entry **out);
/* DELETE; -EINVAL: it is refused, and still there; -ENOENT: it is gone. In both cases nothing is known of it any more. */
int pm_sm_delete(struct pm_sharemy3d *sm, struct pm_ctx *ctx, enum pm_sm_kind kind, const char *id);

static inline int64_t pm_sm_created_ms(const struct cJSON *obj)
{
    uint64_t seconds = 0;

    pm_json_u64(obj, "timeCreated", &seconds);
    return seconds < INT64_MAX / 1000 ? (int64_t)seconds * 1000 : 0;
}

/* --- making (sharemy3d_make.c) */

enum pm_sm_way { PM_SM_WHOLE, PM_SM_START, PM_SM_SESSION }; /* as enum pm_resumable_kind */

/* pm_upload.state. What each member means is told in sharemy3d_make.c. */
struct pm_sm_try {
    char           id[PM_SM_ID_MAX];
    char          *url; /* owned */
    enum pm_sm_way way;
    bool           turned, dead, whole;
    char           digest[40];
    uint64_t       from; /* where the PUT of all that was left began, and one more; 0: none did */
    uint64_t       chunk;
    char           old[PM_SM_ID_MAX]; /* what it replaces */
    int64_t        posted, since, until; /* ms by the service's clock */
    unsigned       lost;
    int64_t        bound; /* seconds */
    char          *ids; /* owned */
};

enum pm_sm_kind pm_sm_upload_kind(const struct pm_upload *up);
int  pm_sm_try_load(const struct pm_upload *up, struct pm_sm_try *t);
int  pm_sm_try_save(struct pm_upload *up, const struct pm_sm_try *t);
int  pm_sm_try_keep(struct pm_upload *up, const struct pm_sm_try *t); /* and has it on the disk */
void pm_sm_try_clear(struct pm_sm_try *t);
static inline void pm_cleanup_pm_sm_try(struct pm_sm_try *t)
{
    pm_sm_try_clear(t);
}
/* backend.h */
int pm_sm_check_options(struct pm_backend *b, const struct pm_entry *dir, const char *options, char *why,
                        size_t size);
/* Was a session asked for? */
bool pm_sm_asked_session(const struct pm_upload *up);
int  pm_sm_begin(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up);
/* What was made by POSTs whose answers were lost is deleted, as far as it is certain enough. */
int pm_sm_end_lost(struct pm_sharemy3d *sm, struct pm_ctx *ctx, struct pm_upload *up,
                   struct pm_sm_try *t);

/* --- and sending (sharemy3d_upload.c) */

int pm_sm_resume(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, uint64_t *off);
int pm_sm_put(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, uint64_t *off);
int pm_sm_finish(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, struct pm_entry **out);
int pm_sm_abort(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up);

#endif
