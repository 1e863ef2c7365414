/* sharemy3d_impl.h: what the sharemy3d*.c files share. */
#ifndef PM_BACKENDS_SHAREMY3D_IMPL_H
#define PM_BACKENDS_SHAREMY3D_IMPL_H

#include "backends/http.h"
#include "backends/json.h"

#define PM_SM_ID_MAX 65
#define PM_SM_INFO   "info.json"

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
};

static inline struct pm_sharemy3d *pm_sm(struct pm_backend *b)
{
    return container_of(b, struct pm_sharemy3d, base);
}

/* --- calls (sharemy3d_call.c) */

/* One call of the API with the token, "Bearer" first and the bare form once on 401, unless it is known
 * which; the service's word in ctx->why. req->url is a path from the endpoint on. *json is the answer's
 * object, owned. */
int pm_sm_call(struct pm_sharemy3d *sm, struct pm_ctx *ctx, struct pm_http_request *req,
               struct cJSON **json);
/* GET /FOLDER/ID/TAIL. -ENOENT: there is no such thing, in whatever words. */
int pm_sm_get(struct pm_sharemy3d *sm, struct pm_ctx *ctx, enum pm_sm_kind kind, const char *id,
              const char *tail, struct cJSON **json);
/* Whether it can be an id: what is none is neither shown nor sent. */
bool pm_sm_is_id(const char *id);

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
int pm_sm_locate(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                 struct pm_location *loc);

#endif
