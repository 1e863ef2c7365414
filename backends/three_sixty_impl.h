/* three_sixty_impl.h: what the three_sixty*.c files share. */
#ifndef PM_BACKENDS_THREE_SIXTY_IMPL_H
#define PM_BACKENDS_THREE_SIXTY_IMPL_H

#include "backends/http.h"
#include "backends/json.h"
#include "backends/rate.h"

#define PM_TS_ID_MAX 128

/* In the account's store, what this server takes: see struct pm_three_sixty. */
#define PM_TS_ALLOWED  "360.allowed"
#define PM_TS_FILE_MAX "360.file_max"
#define PM_TS_SESSION_MAX "360.session_max"

/* The published limits (api/360-for-you.txt, "Filenames, limits, pacing"). What the document does not
 * name counts as a look at a project. */
enum pm_ts_limit {
    PM_TS_OPEN, /* POST /uploads */
    PM_TS_PUT, /* PUT /uploads/{id}/{name} */
    PM_TS_FILE, /* GET /uploads/{id}/{name} */
    PM_TS_HELD, /* GET /uploads/{id} */
    PM_TS_DROP, /* DELETE /uploads/{id} */
    PM_TS_COMMIT, /* POST /projects */
    PM_TS_PROJECT, /* GET /projects/{name}, GET /projects */
    PM_TS_LIMITS
};

struct pm_three_sixty {
    struct pm_backend base;
    struct pm_rate   *rate; /* owned; immutable */
    pthread_mutex_t   lock; /* leaf */
    char             *allowed; /* lock; owned; the extensions it takes, " e57 jpg "; NULL: not known */
    uint64_t          file_max; /* lock; bytes; 0: not known */
    uint64_t          session_max; /* lock; bytes of all files of a project; 0: not known */
    bool              learnt; /* lock; these were read from the account's store */
    void             *held; /* lock; a tsearch tree of struct ts_held (three_sixty_upload.c) */
    uint64_t          moves; /* lock; sendings until now */
    bool              listing; /* lock; a thread asks for a session's files */
    atomic_uint       chunk_kib; /* of the next chunk */
    atomic_bool       unlisted; /* GET /projects is not served here */
};

static inline struct pm_three_sixty *pm_ts(struct pm_backend *b)
{
    return container_of(b, struct pm_three_sixty, base);
}

/* One call within its limit, with the key, and the service's word on failure (ctx->why; of the body,
 * "error": api/360-for-you.txt). Never sent twice when the service may have seen it: then -EAGAIN.
 * req->url as pm_bearer_call's. `json` (NULL: of no interest) gets the answer's JSON, owned, NULL if it
 * is none, whatever its status. -EIO: a good answer that is no JSON (-EAGAIN for a POST). -ESTALE: the
 * session is gone. */
int pm_ts_call(struct pm_three_sixty *ts, struct pm_ctx *ctx, enum pm_ts_limit limit,
               struct pm_http_request *req, struct cJSON **json);
/* The same for a GET, which may be repeated: what can heal is tried again as pm_http_call would. *json
 * must be NULL before. */
int pm_ts_get(struct pm_three_sixty *ts, struct pm_ctx *ctx, enum pm_ts_limit limit,
              const char *url, struct cJSON **json);

/* An id that the service gave: text that can stand in a URL's path, and names no other place in it. */
bool pm_ts_id(const struct cJSON *obj, const char *key, char id[PM_TS_ID_MAX]);
/* The id in a session's text. False: it is none. */
bool pm_ts_session_id(const char *session, char id[PM_TS_ID_MAX]);
/* "/uploads/ID", "/uploads/ID/NAME", "/projects/SLUG": owned, NULL without memory. */
char *pm_ts_url(const char *what, const char *id, const char *name);
/* An entry of a project as GET /projects/{name} or a list tells it; *out is owned. */
int pm_ts_project(const struct cJSON *obj, struct pm_entry **out);
/* The array in an answer to GET /projects, whose shape no document tells; NULL: there is none. */
const struct cJSON *pm_ts_projects(const struct cJSON *body);
/* What this server takes, from the account's store. */
void pm_ts_recall(struct pm_three_sixty *ts);

/* three_sixty_upload.c */
int  pm_ts_begin(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up);
int  pm_ts_resume(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, uint64_t *off);
int  pm_ts_put(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, uint64_t *off);
int  pm_ts_finish(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up,
                  struct pm_entry **out);
int  pm_ts_abort(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up);
int  pm_ts_held(struct pm_backend *b, struct pm_ctx *ctx, const char *session, pm_held_fn *each,
                void *arg);
/* All that is known of sessions, or of one that ended, is forgotten. */
void pm_ts_forget_held(struct pm_three_sixty *ts);
void pm_ts_forget_session(struct pm_three_sixty *ts, const char *id);
/* It was opened just now: nothing is in it. */
void pm_ts_new_session(struct pm_three_sixty *ts, const char *id);

/* three_sixty_find.c */
int pm_ts_look(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_draft *d, char **before);
int pm_ts_find(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_draft *d, const char *before,
               struct pm_entry **out);
/* A project was made: has it its session's id as slug? */
void pm_ts_learn_slug(struct pm_three_sixty *ts, bool same);
/* What the project is to be called: the user's word for it, or the folder's name. Owned. */
char *pm_ts_title(const struct pm_draft *d);

/* three_sixty_field.c: struct pm_draft_ops */
int pm_ts_field(struct pm_backend *b, const struct pm_entry *e, const char *record, const char *name,
                char *out, size_t size);

/* three_sixty_draft.c */
extern const struct pm_draft_ops pm_ts_draft_ops;

#endif
