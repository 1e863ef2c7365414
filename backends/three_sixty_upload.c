/* Sending a file into a session: in order, one PUT at a time, each as long as the line is good for.
 *
 * The state is {"whole":BOOL}: has the service said that it has the file complete? Where to go on is
 * asked of the service: once for all files of a session (GET /uploads/{id}), and of a single file when
 * more may have happened to it since (api/360-for-you.txt, "Chunking & resume rules"). */
#include "backends/three_sixty_impl.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <string.h>

#define KIB          UINT64_C(1024)
#define WHOLE_MAX    (8192 * KIB) /* smaller ones go by one PUT without Content-Range */
#define CHUNK_MIN    256u /* KiB */
#define CHUNK_MAX    (64u * 1024)
#define QUICK_MS     4000 /* a chunk that took less: the next is larger */
#define SLOW_MS      20000 /* more: smaller */

/* --- what the sessions hold, as told by their lists */

struct ts_held {
    char    *key; /* owned: session id, '\n', name in lower case ("" for the session itself) */
    uint64_t received;
    bool     complete;
    uint64_t moved; /* sent to since: ask again; the number of that sending, 0: no */
};

static int compare_held(const void *a, const void *b)
{
    return strcmp(((const struct ts_held *)a)->key, ((const struct ts_held *)b)->key);
}

static void free_held(void *p)
{
    struct ts_held *h = p;

    free(h->key);
    free(h);
}

static char *held_key(const char *id, const char *name)
{
    char *key = pm_asprintf("%s\n%s", id, name);

    for (char *p = key ? strchr(key, '\n') : NULL; p && *p; p++)
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p | 0x20) : *p;
    return key;
}

static struct ts_held *find_held_locked(struct pm_three_sixty *ts, const char *id, const char *name)
{
    PM_AUTO(free) char *key = held_key(id, name);
    struct ts_held      like = {.key = key};
    void               *found = key ? tfind(&like, &ts->held, compare_held) : NULL;

    return found ? *(struct ts_held **)found : NULL;
}

static struct ts_held *make_held_locked(struct pm_three_sixty *ts, const char *id, const char *name)
{
    struct ts_held *h = find_held_locked(ts, id, name);

    if (h)
        return h;
    h = calloc(1, sizeof(*h));
    if (h)
        h->key = held_key(id, name);
    if (h && h->key && tsearch(h, &ts->held, compare_held))
        return h;
    if (h)
        free_held(h);
    return NULL;
}

/* What a list says that was asked for after the sending `moves`: of what was sent to since it is silent. */
static void note_held(struct pm_three_sixty *ts, const char *id, const char *name, uint64_t received,
                      bool complete, uint64_t moves)
{
    struct ts_held *h;

    PM_GUARD(&ts->lock);
    h = make_held_locked(ts, id, name);
    if (h && h->moved <= moves)
        *h = (struct ts_held){h->key, received, complete, 0};
}

/* What the session has of the file is moving. What was noted of that before. */
static uint64_t note_moved(struct pm_three_sixty *ts, const char *id, const char *name)
{
    struct ts_held *h;
    uint64_t        before;

    PM_GUARD(&ts->lock);
    h = make_held_locked(ts, id, name);
    if (!h)
        return 0;
    before = h->moved;
    h->moved = ++ts->moves;
    return before;
}

/* It was not: a limit held the sending up. */
static void note_unmoved(struct pm_three_sixty *ts, const char *id, const char *name, uint64_t before)
{
    struct ts_held *h;

    PM_GUARD(&ts->lock);
    h = find_held_locked(ts, id, name);
    if (h)
        h->moved = before;
}

void pm_ts_forget_held(struct pm_three_sixty *ts)
{
    PM_GUARD(&ts->lock);
    tdestroy(ts->held, free_held);
    ts->held = NULL;
}

/* The files of one session, or its own mark. */
struct of_session {
    const char      *key; /* id, '\n' */
    struct ts_held **found; /* owned */
    size_t           n, cap;
};

static void collect(const void *node, VISIT visit, void *arg)
{
    struct of_session *x = arg;
    struct ts_held    *h = *(struct ts_held *const *)node;

    if ((visit != postorder && visit != leaf) || strncmp(h->key, x->key, strlen(x->key)) != 0)
        return;
    if (x->n == x->cap) {
        size_t           cap = x->cap ? 2 * x->cap : 64;
        struct ts_held **more = reallocarray(x->found, cap, sizeof(*more));

        if (!more)
            return;
        x->found = more;
        x->cap = cap;
    }
    x->found[x->n++] = h;
}

void pm_ts_forget_session(struct pm_three_sixty *ts, const char *id)
{
    PM_AUTO(free) char *key = held_key(id, "");
    struct of_session   x = {.key = key};

    PM_GUARD(&ts->lock);
    if (key)
        twalk_r(ts->held, collect, &x);
    for (size_t i = 0; i < x.n; i++) {
        tdelete(x.found[i], &ts->held, compare_held);
        free_held(x.found[i]);
    }
    free(x.found);
}

void pm_ts_new_session(struct pm_three_sixty *ts, const char *id)
{
    note_held(ts, id, "", 0, true, 0);
}

int pm_ts_held(struct pm_backend *b, struct pm_ctx *ctx, const char *session, pm_held_fn *each,
               void *arg)
{
    struct pm_three_sixty *ts = pm_ts(b);
    struct cJSON          *body = NULL;
    char                   id[PM_TS_ID_MAX];
    uint64_t               moves;
    int                    err;

    if (!pm_ts_session_id(session, id))
        return -ESTALE;
    PM_AUTO(free) char *url = pm_ts_url("uploads", id, NULL);
    pthread_mutex_lock(&ts->lock);
    moves = ts->moves;
    pthread_mutex_unlock(&ts->lock);
    err = pm_ts_get(ts, ctx, PM_TS_HELD, url, &body);
    if (!err && !pm_json_is_array(pm_json_get(body, "files"))) {
        snprintf(ctx->why, sizeof(ctx->why), "the answer does not list the session's files");
        err = -EIO;
    }
    for (const struct cJSON *f = pm_json_first(pm_json_get(body, "files")); f && !err;
         f = pm_json_next(f)) {
        const char *name = pm_json_text(f, "name");
        uint64_t    received = 0;
        uint64_t    total = 0;
        bool        complete = pm_json_bool(f, "complete", false);

        pm_json_u64(f, "received", &received);
        pm_json_u64(f, "total", &total);
        if (!name)
            continue;
        note_held(ts, id, name, received, complete, moves);
        err = each ? each(arg, name, received, total, complete) : 0;
    }
    if (!err)
        note_held(ts, id, "", 0, true, moves);
    else if (err == -ESTALE)
        pm_ts_forget_session(ts, id);
    pm_json_free(body);
    return err;
}

/* --- where to go on */

static int save_state(struct pm_upload *up, bool whole)
{
    char *state = strdup(whole ? "{\"whole\":true}" : "{\"whole\":false}");

    if (!state)
        return -ENOMEM;
    free(up->state);
    up->state = state;
    return 0;
}

static bool is_whole(const struct pm_upload *up)
{
    struct cJSON *obj = pm_json_parse(up->state, strlen(up->state));
    bool          whole = pm_json_bool(obj, "whole", false);

    pm_json_free(obj);
    return whole;
}

/* Somebody else's content has the name in this session: "the second is ignored". */
static int is_another(struct pm_ctx *ctx)
{
    snprintf(ctx->why, sizeof(ctx->why), "the session has another file of this name");
    return -EEXIST;
}

/* What the service says of the file: how far it has it. */
static int read_progress(struct pm_ctx *ctx, const struct cJSON *answer, struct pm_upload *up,
                         uint64_t *received)
{
    bool     complete = pm_json_bool(answer, "complete", false);
    uint64_t total = up->size;

    if (!pm_json_u64(answer, "received", received)) {
        snprintf(ctx->why, sizeof(ctx->why), "the answer does not say how much was received");
        return -EIO;
    }
    pm_json_u64(answer, "total", &total);
    if (total != up->size || *received > up->size || (complete && *received != up->size))
        return is_another(ctx);
    return save_state(up, complete);
}

static int ask_file(struct pm_three_sixty *ts, struct pm_ctx *ctx, struct pm_upload *up,
                    const char *id, uint64_t *received)
{
    PM_AUTO(free) char *url = pm_ts_url("uploads", id, up->name);
    struct cJSON       *body = NULL;
    int                 err = pm_ts_get(ts, ctx, PM_TS_FILE, url, &body);

    *received = 0;
    if (!err)
        err = read_progress(ctx, body, up, received);
    pm_json_free(body);
    return err == -ENOENT ? save_state(up, false) : err;
}

/* Asks for the whole session's files once, whoever of them comes first. */
static int know_session(struct pm_three_sixty *ts, struct pm_ctx *ctx, const struct pm_upload *up,
                        const char *id)
{
    bool listed, busy;
    int  err = 0;

    do {
        pthread_mutex_lock(&ts->lock);
        listed = find_held_locked(ts, id, "") != NULL;
        busy = ts->listing;
        ts->listing = busy || !listed;
        pthread_mutex_unlock(&ts->lock);
        if (!listed && busy)
            err = pm_http_wait(ts->base.net, ctx, 10);
    } while (!err && !listed && busy);
    if (err || listed)
        return err;
    err = pm_ts_held(&ts->base, ctx, up->session, NULL, NULL);
    PM_GUARD(&ts->lock);
    ts->listing = false;
    return err;
}

/* A session that another process opened is looked at first: it may be over, and that may have been said. */
int pm_ts_begin(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up)
{
    char id[PM_TS_ID_MAX];
    int  err;

    if (!up->session || up->target) {
        snprintf(ctx->why, sizeof(ctx->why), "only the files of a draft can be sent");
        return -EPERM;
    }
    err = pm_ts_session_id(up->session, id) ? know_session(pm_ts(b), ctx, up, id) : -ESTALE;
    return err ? err : save_state(up, false);
}

int pm_ts_resume(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, uint64_t *off)
{
    struct pm_three_sixty *ts = pm_ts(b);
    struct ts_held         file = {0};
    const struct ts_held  *h;
    char                   id[PM_TS_ID_MAX];
    int                    err;

    if (!pm_ts_session_id(up->session, id))
        return -ESTALE;
    err = know_session(ts, ctx, up, id);
    if (err)
        return err;
    pthread_mutex_lock(&ts->lock);
    h = find_held_locked(ts, id, up->name);
    if (h)
        file = *h;
    pthread_mutex_unlock(&ts->lock);
    if (file.moved)
        return ask_file(ts, ctx, up, id, off);
    if (file.received > up->size || (file.complete && file.received != up->size))
        return is_another(ctx);
    *off = file.received;
    return save_state(up, file.complete);
}

/* --- sending */

struct chunk {
    struct pm_upload *up;
    uint64_t          off;
    uint64_t          len;
    char              range[96]; /* header line; "": the whole file */
};

static void count_sent(void *arg, uint64_t sent)
{
    struct chunk *c = arg;

    if (c->up->progress)
        c->up->progress(c->up->arg, c->off + sent);
}

static void choose_chunk(struct pm_three_sixty *ts, struct pm_upload *up, uint64_t off,
                         struct chunk *c)
{
    uint64_t most = ts->chunk_kib * KIB;

    *c = (struct chunk){.up = up, .off = off, .len = up->size - off};
    if (!off && up->size <= WHOLE_MAX && up->size <= most) /* a break loses no more than a chunk */
        return;
    if (c->len > most)
        c->len = most;
    snprintf(c->range, sizeof(c->range), "Content-Range: bytes %llu-%llu/%llu",
             (unsigned long long)off, (unsigned long long)(off + c->len - 1),
             (unsigned long long)up->size);
}

/* The next chunk takes some seconds: long enough for a far line to be used, short enough that little is
 * sent twice after a break. */
static void adapt(struct pm_three_sixty *ts, const struct chunk *c, int64_t ms, bool failed)
{
    unsigned kib = ts->chunk_kib;

    if (failed || ms > SLOW_MS)
        ts->chunk_kib = kib > CHUNK_MIN ? kib / 2 : CHUNK_MIN;
    else if (ms < QUICK_MS && c->len >= kib * KIB && kib < CHUNK_MAX)
        ts->chunk_kib = kib * 2;
}

/* Only the first chunk of a large file asks whether it is wanted before it goes: that costs a round trip,
 * and any more than a chunk is not sent in vain. */
static int put_chunk(struct pm_three_sixty *ts, struct pm_ctx *ctx, const char *id,
                     struct chunk *c, struct cJSON **answer)
{
    PM_AUTO(free) char    *url = pm_ts_url("uploads", id, c->up->name);
    const char *const      headers[] = {"Content-Type: application/octet-stream",
                                        *c->range ? c->range : NULL, NULL};
    struct pm_http_file    file = {.fd = c->up->fd, .off = c->off, .len = c->len,
                                   .progress = count_sent, .arg = c};
    struct pm_http_request req = {.method = "PUT", .url = url, .headers = headers, .file = &file,
                                  .content = true, .at_once = c->off || !*c->range};
    int64_t                began = pm_now_ms();
    uint64_t               before = note_moved(ts, id, c->up->name);
    int                    err = url ? 0 : -ENOMEM;

    if (!err)
        err = pm_ts_call(ts, ctx, PM_TS_PUT, &req, answer);
    if (err == -EBUSY)
        note_unmoved(ts, id, c->up->name, before);
    if (err == -EFBIG && !pm_json_text(*answer, "error") && ts->chunk_kib > CHUNK_MIN)
        err = -EAGAIN; /* not the service, but what is before it takes no request of this length */
    if (err != -EBUSY && err != -ECANCELED)
        adapt(ts, c, pm_now_ms() - began, err == -EAGAIN);
    return err;
}

/* What the service said of this server's rules in refusing the file. */
static void learn(struct pm_three_sixty *ts, int err, const struct cJSON *answer)
{
    PM_AUTO(pm_buf) struct pm_buf text = {0};
    uint64_t                      limit;

    if ((err == -EFBIG || err == -EDQUOT) && pm_json_u64(answer, "limit", &limit) && limit) {
        pm_buf_printf(&text, "%llu", (unsigned long long)limit);
        if (!text.failed)
            pm_backend_learn(&ts->base, err == -EFBIG ? PM_TS_FILE_MAX : PM_TS_SESSION_MAX, text.ptr);
    }
    if (err == -EPERM && pm_json_first(pm_json_get(answer, "allowed"))) {
        for (const struct cJSON *v = pm_json_first(pm_json_get(answer, "allowed")); v;
             v = pm_json_next(v)) {
            const char *extension = pm_json_string(v);

            if (extension && *extension && !strchr(extension, ' '))
                pm_buf_printf(&text, " %s", *extension == '.' ? extension + 1 : extension);
        }
        pm_buf_str(&text, " ");
        if (!text.failed)
            pm_backend_learn(&ts->base, PM_TS_ALLOWED, text.ptr);
    }
    pm_ts_recall(ts);
}

/* Content-Length: 0 is no length to some (api/notes.md 5 has it that it is one). */
static int judge_empty(struct pm_ctx *ctx, const struct pm_upload *up, int err)
{
    if (up->size || strcmp(ctx->why, "length_required") != 0)
        return err;
    snprintf(ctx->why, sizeof(ctx->why), "the service takes no empty files (length_required)");
    return -EINVAL;
}

int pm_ts_put(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, uint64_t *off)
{
    struct pm_three_sixty *ts = pm_ts(b);
    struct cJSON          *answer = NULL;
    struct chunk           c;
    char                   id[PM_TS_ID_MAX];
    uint64_t               received = *off;
    int                    err;

    if (!pm_ts_session_id(up->session, id))
        return -ESTALE;
    if (is_whole(up)) {
        *off = up->size;
        return 0;
    }
    if (up->size && *off == up->size) { /* all is there, and not called complete */
        snprintf(ctx->why, sizeof(ctx->why), "the service has not finished with the file yet");
        return -EAGAIN;
    }
    choose_chunk(ts, up, *off, &c);
    err = put_chunk(ts, ctx, id, &c, &answer);
    if (!err) {
        err = read_progress(ctx, answer, up, &received);
    } else if (err == -EEXIST) { /* non_contiguous_chunk: it says where to go on; if not, at 0 */
        received = 0;
        pm_json_u64(answer, "received", &received);
        err = 0;
    } else {
        learn(ts, err, answer);
        err = judge_empty(ctx, up, err);
    }
    pm_json_free(answer);
    if (!err && received <= *off && !is_whole(up)) {
        snprintf(ctx->why, sizeof(ctx->why), "the service asked to go on from byte %llu",
                 (unsigned long long)received);
        err = -EAGAIN;
    }
    if (!err)
        *off = received < up->size ? received : up->size;
    return err;
}

int pm_ts_finish(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up,
                 struct pm_entry **out)
{
    PM_AUTO(pm_buf) struct pm_buf path = {0};
    struct pm_entry e = {.kind = PM_FILE, .root = "", .id = "", .name = up->name, .target = "",
                         .version = "", .state = "", .size = up->size};
    char            id[PM_TS_ID_MAX];
    uint64_t        received;
    int             err = pm_ts_session_id(up->session, id) ? 0 : -ESTALE;

    if (!err && !is_whole(up))
        err = ask_file(pm_ts(b), ctx, up, id, &received);
    if (!err && !is_whole(up))
        err = -EAGAIN;
    if (err)
        return err;
    pm_buf_urlenc(&path, id);
    pm_buf_str(&path, "/");
    pm_buf_urlenc(&path, up->name);
    e.path = path.failed ? NULL : path.ptr;
    *out = e.path ? pm_entry_dup(&e) : NULL;
    return *out ? 0 : -ENOMEM;
}

/* A file alone cannot be taken out of a session: the whole session is replaced (draft->drop). */
int pm_ts_abort(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up)
{
    (void)b;
    (void)ctx;
    (void)up;
    return 0;
}
