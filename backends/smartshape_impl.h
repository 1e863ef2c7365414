/* smartshape_impl.h: what the smartshape*.c files share. */
#ifndef PM_BACKENDS_SMARTSHAPE_IMPL_H
#define PM_BACKENDS_SMARTSHAPE_IMPL_H

#include "backends/http.h"
#include "backends/json.h"

#define PM_SS_ID_MAX 128

struct pm_ss_id {
    char text[PM_SS_ID_MAX];
};

struct pm_smartshape {
    struct pm_backend             base;
    const struct pm_account_conf *conf; /* immutable */
    pthread_mutex_t               lock; /* leaf */
    struct pm_ss_id              *shared; /* lock; objects that are shared, as last told */
    size_t                        nshared; /* lock */
    int64_t                       shared_ms; /* lock; when that was asked; 0: never */
    atomic_int_least64_t          ahead_ms; /* the service's clock is ahead of ours by so much */
    atomic_bool                   told_time; /* and that is known */
};

static inline struct pm_smartshape *pm_ss(struct pm_backend *b)
{
    return container_of(b, struct pm_smartshape, base);
}

/* pm_http_call with the token, one new token on 401, and the service's own words: ctx->why, and an
 * errno by what it says where the status says less (api/notes.md 4). req->url is a path from the
 * endpoint on, beginning with "/". */
int pm_ss_call(struct pm_smartshape *ss, struct pm_ctx *ctx, struct pm_http_request *req,
               struct pm_http_answer *answer);
/* The same for an answer that must be JSON; *out is owned. One more try if it is broken and
 * !req->once; -EIO then, with req->once -EAGAIN. success:false is an error. */
int pm_ss_json(struct pm_smartshape *ss, struct pm_ctx *ctx, struct pm_http_request *req,
               struct cJSON **out);

/* The path of a child: owned, NULL without memory. */
char *pm_ss_child(const struct pm_entry *parent, const char *name);
/* -EINVAL with why for a path that a server could read as another one: ".", "..", an encoded slash
 * or NUL in a name. */
int pm_ss_check_path(struct pm_ctx *ctx, const char *path);

/* What GET /file/:id says. *out is owned. -ENOENT: gone. */
int pm_ss_details(struct pm_smartshape *ss, struct pm_ctx *ctx, const char *id,
                  struct cJSON **out);
/* The object in {"data":{…}}, or the answer itself. */
const struct cJSON *pm_ss_object(const struct cJSON *answer);
/* Makes an entry of an object. `path`: where it is, or NULL: as the object says. *out is owned.
 * -EIO: no name. */
int pm_ss_entry(const struct cJSON *obj, const char *path, struct pm_entry **out);
/* Is `version` (as in an entry) that of this object? */
bool pm_ss_same_version(const struct cJSON *obj, const char *version);
/* Looks for a raw name in a folder. *out is owned; NULL: a whole list lacks it. -ENOENT: the folder
 * is gone. */
int pm_ss_find(struct pm_smartshape *ss, struct pm_ctx *ctx, const struct pm_entry *dir,
               const char *name, struct pm_entry **out);
/* GETs a list from `url` and hands its elements on as they arrive. -EIO: it is broken. */
int pm_ss_elements(struct pm_smartshape *ss, struct pm_ctx *ctx, const char *url,
                   pm_json_each_fn *each, void *arg);
/* Deletes what is at a path. */
int pm_ss_delete(struct pm_smartshape *ss, struct pm_ctx *ctx, const char *path);

/* smartshape_share.c */

/* Learns what is shared, soon after the root was listed; whether it can be had is no matter. */
void pm_ss_shares_with_list(struct pm_smartshape *ss, const struct pm_ctx *ctx);
int  pm_ss_shared(struct pm_backend *b, int (*each)(void *arg, const char *id), void *arg);
int  pm_ss_check_move(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                      int64_t since_ms);

/* smartshape_upload.c */
int pm_ss_begin(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up);
int pm_ss_resume(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, uint64_t *off);
int pm_ss_put(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, uint64_t *off);
int pm_ss_finish(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up,
                 struct pm_entry **out);
int pm_ss_abort(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up);

#endif
