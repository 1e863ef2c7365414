/* The tree is a list of nodes, found by path; contents are copied out under the lock piece by
 * piece. Invariants: paths are unique; a node's parent is in the list; `serial` never repeats, so
 * that a version is never used for two contents. */
#include "backends/memory.h"

#include "backends/credential.h"
#include "backends/util.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

struct node {
    LIST_ENTRY(node) link;
    enum pm_kind kind;
    bool         settling;
    enum pm_memory_share shared;
    char        *path;
    char        *name;
    char        *data; /* a link's is its target, with NUL */
    size_t       len;
    uint64_t     id;
    uint64_t     serial; /* of the content */
    int64_t      mtime_ms;
    int64_t      btime_ms;
};

/* An upload in progress: bytes that came, and where they go. */
struct session {
    LIST_ENTRY(session) link;
    uint64_t id;
    uint64_t size;
    uint64_t target; /* id of the node to replace, 0: a new one */
    char    *path;
    char    *data;
    uint64_t got;
    uint64_t made; /* id of the finished node, 0: not yet */
};

struct fault {
    unsigned n; /* calls until it strikes; 0: none */
    int      err;
    bool     after;
};

struct memory {
    struct pm_backend        base;
    pthread_mutex_t          lock; /* leaf; all below */
    pthread_cond_t           moved; /* a block was taken back */
    struct pm_memory_options options;
    struct fault             faults[PM_MEM_OPS];
    int64_t                  delays[PM_MEM_OPS];
    bool                     blocked[PM_MEM_OPS];
    unsigned                 calls[PM_MEM_OPS];
    LIST_HEAD(node_list, node) nodes;
    LIST_HEAD(session_list, session) sessions;
    uint64_t last_id;
    bool     things; /* see pm_memory_things */
    bool     copies_settle;
    unsigned broken_copies; /* of those to come */
    char     token[64]; /* the one it takes; "": any */
    unsigned refusals;
    void    *drafts; /* memory_draft.c's; has a lock of its own */
    char    *password; /* owned; memory_drops.c's; the last that came */
};

static struct memory *mem(struct pm_backend *b)
{
    return container_of(b, struct memory, base);
}

/* --- nodes, all with the lock held */

static void free_node(struct node *n)
{
    free(n->path);
    free(n->name);
    free(n->data);
    free(n);
}

static struct node *find_locked(struct memory *m, const char *path)
{
    struct node *n;

    LIST_FOREACH(n, &m->nodes, link)
        if (!strcmp(n->path, path))
            return n;
    return NULL;
}

static struct node *find_id_locked(struct memory *m, uint64_t id)
{
    struct node *n;

    LIST_FOREACH(n, &m->nodes, link)
        if (n->id == id)
            return n;
    return NULL;
}

static bool is_folder_locked(struct memory *m, const char *path)
{
    const struct node *n = find_locked(m, path);

    return !*path || (n && n->kind == PM_FOLDER);
}

static bool is_child(const struct node *n, const char *dir)
{
    const char *slash = strrchr(n->path, '/');
    size_t      len = slash ? (size_t)(slash - n->path) : 0;

    return strlen(dir) == len && !strncmp(n->path, dir, len);
}

static bool is_below(const char *path, const char *dir)
{
    size_t len = strlen(dir);

    return !strncmp(path, dir, len) && path[len] == '/';
}

static int set_content(struct memory *m, struct node *n, const void *data, size_t len)
{
    char *copy = malloc(len + 1);

    if (!copy)
        return -ENOMEM;
    if (len)
        memcpy(copy, data, len);
    copy[len] = '\0';
    free(n->data);
    n->data = copy;
    n->len = len;
    n->serial = ++m->last_id;
    n->mtime_ms = pm_wall_ms();
    return 0;
}

static int make_locked(struct memory *m, const char *path, enum pm_kind kind, const void *data,
                       size_t len, struct node **out)
{
    struct node *n = calloc(1, sizeof(*n));
    const char  *slash = strrchr(path, '/');

    if (!n)
        return -ENOMEM;
    n->kind = kind;
    n->path = strdup(path);
    n->name = pm_urldec(slash ? slash + 1 : path);
    n->id = ++m->last_id;
    n->btime_ms = pm_wall_ms();
    if (!n->path || !n->name || set_content(m, n, data, len)) {
        free_node(n);
        return -ENOMEM;
    }
    LIST_INSERT_HEAD(&m->nodes, n, link);
    *out = n;
    return 0;
}

static int drop_locked(struct memory *m, const char *path)
{
    PM_AUTO(free) char *gone = strdup(path); /* `path` may be a node's own */
    struct node        *n, *next;

    if (!gone)
        return -ENOMEM;
    for (n = LIST_FIRST(&m->nodes); n; n = next) {
        next = LIST_NEXT(n, link);
        if (strcmp(n->path, gone) != 0 && !is_below(n->path, gone))
            continue;
        LIST_REMOVE(n, link);
        free_node(n);
    }
    return 0;
}

static struct pm_entry *entry_locked(struct memory *m, const struct node *n)
{
    char               id[64] = "", version[32] = "";
    const struct node *to;
    struct pm_entry e = {.kind = n->kind,
                         .settling = n->settling,
                         .one_way = m->options.no_download,
                         .root = "",
                         .id = id,
                         .name = n->name,
                         .path = n->path,
                         .target = n->kind == PM_LINK ? n->data : "",
                         .version = version,
                         .state = n->settling ? "queued" : "converted",
                         .size = PM_SIZE_UNKNOWN,
                         .mtime_ms = n->mtime_ms,
                         .btime_ms = n->btime_ms};

    if (!m->options.no_ids)
        snprintf(id, sizeof(id), "%" PRIu64, n->id);
    to = m->things && n->kind == PM_LINK ? find_locked(m, n->data + strspn(n->data, "./")) : NULL;
    if (to)
        snprintf(id, sizeof(id), "%" PRIu64 "@%" PRIu64, to->id, n->id);
    if (n->kind == PM_FOLDER && m->things)
        snprintf(version, sizeof(version), "v%" PRIu64, n->serial);
    if (n->kind == PM_FILE || n->kind == PM_DOCUMENT) {
        if (!m->options.no_validators)
            snprintf(version, sizeof(version), "v%" PRIu64, n->serial);
        if (!m->options.no_sizes)
            e.size = n->len;
    }
    return pm_entry_dup(&e);
}

/* The node an entry means: by id where there is one. */
static struct node *resolve_locked(struct memory *m, const struct pm_entry *e)
{
    const char *at = strchr(e->id, '@');

    if (*e->id)
        return find_id_locked(m, strtoull(at ? at + 1 : e->id, NULL, 10));
    return find_locked(m, e->path);
}

static char *child_path(const struct pm_entry *parent, const char *name)
{
    struct pm_buf path = {0};

    pm_buf_str(&path, parent->path);
    if (*parent->path)
        pm_buf_str(&path, "/");
    pm_buf_urlenc(&path, name);
    return pm_buf_take(&path);
}

/* --- scripted faults */

/* Has the call a token that is taken? As a service that is asked with one, and once with another. */
static int authorize(struct memory *m, struct pm_ctx *ctx)
{
    unsigned generation = 0;

    if (!m->base.conf->nsecrets)
        return 0;
    for (int try = 0; try < 2; try++) {
        char *token = NULL;
        bool  good;
        int   err = pm_credential_use(&m->base, ctx, generation, &token, &generation);

        if (err)
            return err;
        pthread_mutex_lock(&m->lock);
        good = !*m->token || !strcmp(m->token, token);
        m->refusals += !good;
        pthread_mutex_unlock(&m->lock);
        pm_secret_free(token);
        if (good)
            return 0;
        snprintf(ctx->why, sizeof(ctx->why), "nobody knows this token");
    }
    return pm_credential_refuse(&m->base, ctx, generation);
}

/* Begins a call: counts, waits, perhaps fails. *after gets an errno to return once all is done. */
static int enter(struct memory *m, struct pm_ctx *ctx, enum pm_memory_op op, int *after)
{
    struct fault *f = &m->faults[op];
    int64_t       until;
    int           err;

    *after = 0;
    err = authorize(m, ctx);
    if (err)
        return err;
    PM_GUARD(&m->lock);
    m->calls[op]++;
    until = pm_now_ms() + m->delays[op];
    while (m->blocked[op] || pm_now_ms() < until) {
        pm_cond_wait_until(&m->moved, &m->lock, pm_now_ms() + 10);
        if (ctx->cancel && atomic_load(ctx->cancel))
            return -ECANCELED;
        if (ctx->deadline_ms && pm_now_ms() >= ctx->deadline_ms)
            return -ETIMEDOUT;
    }
    if (f->n == 0 || --f->n > 0)
        return 0;
    if (f->err == -EBUSY)
        ctx->retry_ms = PM_MEMORY_WAIT_MS;
    if (f->after)
        *after = f->err;
    return f->after ? 0 : f->err;
}

int pm_memory_enter(struct pm_backend *b, struct pm_ctx *ctx, enum pm_memory_op op, int *after)
{
    return enter(mem(b), ctx, op, after);
}

void **pm_memory_drafts(struct pm_backend *b)
{
    return &mem(b)->drafts;
}

void pm_memory_set_options(struct pm_backend *b, const struct pm_memory_options *options)
{
    PM_GUARD(&mem(b)->lock);
    mem(b)->options = *options;
}

void pm_memory_fault(struct pm_backend *b, enum pm_memory_op op, unsigned n, int err,
                     bool after_effect)
{
    PM_GUARD(&mem(b)->lock);
    mem(b)->faults[op] = (struct fault){n, err, after_effect};
}

void pm_memory_delay(struct pm_backend *b, enum pm_memory_op op, int64_t ms)
{
    PM_GUARD(&mem(b)->lock);
    mem(b)->delays[op] = ms;
}

void pm_memory_block(struct pm_backend *b, enum pm_memory_op op, bool block)
{
    PM_GUARD(&mem(b)->lock);
    mem(b)->blocked[op] = block;
    pthread_cond_broadcast(&mem(b)->moved);
}

unsigned pm_memory_calls(struct pm_backend *b, enum pm_memory_op op)
{
    PM_GUARD(&mem(b)->lock);
    return mem(b)->calls[op];
}

void pm_memory_set_token(struct pm_backend *b, const char *token)
{
    PM_GUARD(&mem(b)->lock);
    snprintf(mem(b)->token, sizeof(mem(b)->token), "%s", token);
}

unsigned pm_memory_refusals(struct pm_backend *b)
{
    PM_GUARD(&mem(b)->lock);
    return mem(b)->refusals;
}

int pm_memory_set(struct pm_backend *b, const char *path, enum pm_kind kind, const void *data,
                  size_t len)
{
    struct memory *m = mem(b);
    struct node   *n;

    PM_GUARD(&m->lock);
    n = find_locked(m, path);
    return n ? set_content(m, n, data, len) : make_locked(m, path, kind, data, len, &n);
}

int pm_memory_drop(struct pm_backend *b, const char *path)
{
    PM_GUARD(&mem(b)->lock);
    if (!find_locked(mem(b), path))
        return -ENOENT;
    return drop_locked(mem(b), path);
}

void pm_memory_things(struct pm_backend *b)
{
    PM_GUARD(&mem(b)->lock);
    mem(b)->things = true;
}

void pm_memory_copies(struct pm_backend *b, bool settle, unsigned broken)
{
    struct memory *m = mem(b);

    PM_GUARD(&m->lock);
    m->copies_settle = settle;
    m->broken_copies = broken;
}

int pm_memory_settling(struct pm_backend *b, const char *path, bool settling)
{
    struct node *n;

    PM_GUARD(&mem(b)->lock);
    n = find_locked(mem(b), path);
    if (!n)
        return -ENOENT;
    n->settling = settling;
    return 0;
}

int pm_memory_share(struct pm_backend *b, const char *path, enum pm_memory_share shared)
{
    struct node *n;

    PM_GUARD(&mem(b)->lock);
    n = find_locked(mem(b), path);
    if (!n)
        return -ENOENT;
    n->shared = shared;
    return 0;
}

size_t pm_memory_count(struct pm_backend *b)
{
    const struct node *n;
    size_t             count = 0;

    PM_GUARD(&mem(b)->lock);
    LIST_FOREACH(n, &mem(b)->nodes, link)
        count++;
    return count;
}

/* --- operations */

static int mem_open(const struct pm_account_conf *conf, struct pm_backend **out)
{
    struct memory *m = calloc(1, sizeof(*m));

    (void)conf;
    if (!m)
        return -ENOMEM;
    pthread_mutex_init(&m->lock, NULL);
    pm_cond_init(&m->moved);
    LIST_INIT(&m->nodes);
    LIST_INIT(&m->sessions);
    *out = &m->base;
    return 0;
}

static void free_session(struct session *s)
{
    LIST_REMOVE(s, link);
    free(s->path);
    free(s->data);
    free(s);
}

static void empty_locked(struct memory *m)
{
    struct node *n;

    while ((n = LIST_FIRST(&m->nodes))) {
        LIST_REMOVE(n, link);
        free_node(n);
    }
    while (!LIST_EMPTY(&m->sessions))
        free_session(LIST_FIRST(&m->sessions));
}

void pm_memory_move(struct pm_backend *from, struct pm_backend *to)
{
    struct memory  *m = mem(from), *other = mem(to);
    struct node    *n;
    struct session *s;
    void           *drafts;

    PM_GUARD(&m->lock);
    PM_GUARD(&other->lock); /* no thread holds two but here, and one of them is nobody's yet or any more */
    empty_locked(other);
    while ((n = LIST_FIRST(&m->nodes))) {
        LIST_REMOVE(n, link);
        LIST_INSERT_HEAD(&other->nodes, n, link);
    }
    while ((s = LIST_FIRST(&m->sessions))) {
        LIST_REMOVE(s, link);
        LIST_INSERT_HEAD(&other->sessions, s, link);
    }
    other->last_id = m->last_id;
    drafts = other->drafts;
    other->drafts = m->drafts;
    m->drafts = drafts;
}

static void mem_close(struct pm_backend *b)
{
    struct memory *m = mem(b);

    empty_locked(m);
    pm_memory_draft_free(m->drafts);
    free(m->password);
    pthread_cond_destroy(&m->moved);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* Copies of a folder's entries, in *out (owned, as each of them). */
static int snapshot(struct memory *m, const char *dir, struct pm_entry ***out, size_t *count)
{
    const struct node *n;
    size_t             most = 0;

    PM_GUARD(&m->lock);
    if (!is_folder_locked(m, dir))
        return -ENOENT;
    LIST_FOREACH(n, &m->nodes, link)
        most++;
    *count = 0;
    *out = calloc(most + 1, sizeof(**out));
    if (!*out)
        return -ENOMEM;
    LIST_FOREACH(n, &m->nodes, link) {
        if (!is_child(n, dir))
            continue;
        (*out)[*count] = entry_locked(m, n);
        if (!(*out)[*count])
            return -ENOMEM; /* what there is belongs to the caller all the same */
        ++*count;
    }
    return 0;
}

static int mem_list(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *dir,
                    pm_entry_fn *each, void *arg)
{
    struct pm_entry **list = NULL;
    size_t            count = 0;
    int               after, err = enter(mem(b), ctx, PM_MEM_LIST, &after);

    if (!err)
        err = snapshot(mem(b), dir->path, &list, &count);
    for (size_t i = 0; i < count; i++) {
        if (!err && after && i == count / 2)
            err = after; /* in the middle of it */
        if (!err && (err = each(arg, list[i])) > 0)
            err = 0;
        free(list[i]);
    }
    free(list);
    return err ? err : after;
}

static int mem_stat(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                    struct pm_entry **out)
{
    struct memory *m = mem(b);
    struct node   *n;
    int            after, err = enter(m, ctx, PM_MEM_STAT, &after);

    if (err || after)
        return err ? err : after;
    PM_GUARD(&m->lock);
    n = *e->path ? resolve_locked(m, e) : NULL;
    if (*e->path && !n)
        return -ENOENT;
    *out = n ? entry_locked(m, n) : pm_entry_dup(e);
    return *out ? 0 : -ENOMEM;
}

/* Copies the next bytes of a content that must still be of `serial`. Count or -errno. */
static ssize_t piece(struct memory *m, const struct pm_entry *e, uint64_t serial, uint64_t off,
                     char *buf, size_t len)
{
    const struct node *n;

    PM_GUARD(&m->lock);
    n = resolve_locked(m, e);
    if (!n)
        return -ENOENT;
    if (n->serial != serial)
        return -ESTALE;
    if (off >= n->len)
        return 0;
    if (len > n->len - off)
        len = (size_t)(n->len - off);
    memcpy(buf, n->data + off, len);
    return (ssize_t)len;
}

/* What the answer says before the first byte. */
static int begin_fetch(struct memory *m, const struct pm_entry *e, uint64_t *off,
                       const struct pm_sink *sink, void *arg, uint64_t *serial)
{
    char               validator[32] = "";
    struct pm_answer   answer = {.total = PM_SIZE_UNKNOWN, .validator = validator};
    const struct node *n;

    pthread_mutex_lock(&m->lock);
    n = resolve_locked(m, e);
    if (n) {
        *serial = n->serial;
        *off = m->options.no_ranges ? 0 : *off;
        if (!m->options.no_sizes)
            answer.total = n->len;
        if (!m->options.no_validators)
            snprintf(validator, sizeof(validator), "\"v%" PRIu64 "\"", n->serial);
    }
    answer.off = *off;
    pthread_mutex_unlock(&m->lock);
    return n ? sink->begin(arg, &answer) : -ENOENT;
}

static int mem_fetch(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                     uint64_t off, uint64_t len, const struct pm_sink *sink, void *arg)
{
    struct memory *m = mem(b);
    char           buf[16384];
    uint64_t       serial = 0, end, asked = off;
    ssize_t        n = 1;
    int            after, err = enter(m, ctx, PM_MEM_FETCH, &after);

    if (!err && m->options.no_download)
        err = -EOPNOTSUPP;
    if (!err)
        err = begin_fetch(m, e, &off, sink, arg, &serial);
    end = off < asked || len > UINT64_MAX - off ? UINT64_MAX : off + len;
    for (uint64_t at = off; !err && at < end && n > 0; at += (uint64_t)n) {
        n = piece(m, e, serial, at, buf, end - at < sizeof(buf) ? (size_t)(end - at) : sizeof(buf));
        if (n <= 0)
            err = (int)n;
        else if (ctx->cancel && atomic_load(ctx->cancel))
            err = -ECANCELED;
        else
            err = sink->data(arg, buf, (size_t)n);
        if (!err && after && n > 0)
            err = after;
    }
    return err;
}

/* --- uploading */

static struct session *session_locked(struct memory *m, const struct pm_upload *up)
{
    uint64_t        id = strtoull(up->state, NULL, 10);
    struct session *s;

    LIST_FOREACH(s, &m->sessions, link)
        if (s->id == id)
            return s;
    return NULL;
}

static int begin_locked(struct memory *m, struct pm_upload *up)
{
    struct session *s;

    if (!is_folder_locked(m, up->parent->path))
        return -ENOENT;
    s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    LIST_INSERT_HEAD(&m->sessions, s, link);
    s->id = ++m->last_id;
    s->size = up->size;
    s->path = child_path(up->parent, up->name);
    s->data = malloc(up->size + 1);
    if (up->target && resolve_locked(m, up->target))
        s->target = resolve_locked(m, up->target)->id;
    free(up->state);
    up->state = pm_asprintf("%" PRIu64, s->id);
    if (!s->path || !s->data || !up->state) {
        free_session(s);
        return -ENOMEM;
    }
    if (!up->target && find_locked(m, s->path)) {
        free_session(s);
        return -EEXIST;
    }
    return up->target && !s->target ? -ENOENT : 0;
}

static int mem_begin(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up)
{
    struct memory *m = mem(b);
    int            after, err = enter(m, ctx, PM_MEM_BEGIN, &after);

    if (err)
        return err;
    PM_GUARD(&m->lock);
    err = begin_locked(m, up);
    return err ? err : after;
}

static int mem_resume(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, uint64_t *off)
{
    struct memory        *m = mem(b);
    const struct session *s;
    int                   after, err = enter(m, ctx, PM_MEM_RESUME, &after);

    if (err)
        return err;
    PM_GUARD(&m->lock);
    s = session_locked(m, up);
    if (!s)
        return -ESTALE;
    *off = s->got;
    return after;
}

static int mem_put(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, uint64_t *off)
{
    struct memory  *m = mem(b);
    struct session *s;
    size_t          len;
    ssize_t         n;
    int             after, err = enter(m, ctx, PM_MEM_PUT, &after);

    if (err)
        return err;
    PM_GUARD(&m->lock);
    s = session_locked(m, up);
    if (!s || *off != s->got)
        return -ESTALE;
    len = s->size - s->got < PM_MEMORY_STEP ? (size_t)(s->size - s->got) : PM_MEMORY_STEP;
    n = pm_pread_all(up->fd, s->data + s->got, len, s->got);
    if (n != (ssize_t)len)
        return n < 0 ? (int)n : -EIO;
    s->got += len;
    if (up->progress)
        up->progress(up->arg, s->got);
    if (!after)
        *off = s->got;
    return after;
}

/* Makes the content visible; again for one that is already made. */
static int commit_locked(struct memory *m, struct session *s, struct node **out)
{
    struct node *n = find_id_locked(m, s->made ? s->made : s->target);
    int          err = 0;

    if (s->made) {
        *out = n;
        return n ? 0 : -ESTALE;
    }
    if (s->target && !n)
        return -ENOENT;
    if (!n && find_locked(m, s->path))
        return -EEXIST;
    err = n ? set_content(m, n, s->data, s->size)
            : make_locked(m, s->path, PM_FILE, s->data, s->size, &n);
    if (!err)
        s->made = n->id;
    *out = n;
    return err;
}

static int mem_finish(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up,
                      struct pm_entry **out)
{
    struct memory   *m = mem(b);
    struct session  *s;
    struct node     *n;
    int              after, err = enter(m, ctx, PM_MEM_FINISH, &after);

    if (err)
        return err;
    PM_GUARD(&m->lock);
    s = session_locked(m, up);
    if (!s || s->got != s->size)
        return s ? -EAGAIN : -ESTALE;
    err = commit_locked(m, s, &n);
    if (err || after)
        return err ? err : after;
    *out = entry_locked(m, n);
    return *out ? 0 : -ENOMEM;
}

static int mem_abort(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up)
{
    struct memory  *m = mem(b);
    struct session *s;
    struct node    *n;
    int             after, err = enter(m, ctx, PM_MEM_ABORT, &after);

    if (err)
        return err;
    PM_GUARD(&m->lock);
    s = session_locked(m, up);
    n = s && s->made && !s->target ? find_id_locked(m, s->made) : NULL;
    err = n ? drop_locked(m, n->path) : 0;
    if (err)
        return err;
    if (s)
        free_session(s);
    return after;
}

/* --- things made of drafts */

void pm_memory_keep_password(struct pm_backend *b, const char *password)
{
    PM_GUARD(&mem(b)->lock);
    free(mem(b)->password);
    mem(b)->password = strdup(password);
}

char *pm_memory_password(struct pm_backend *b)
{
    PM_GUARD(&mem(b)->lock);
    return mem(b)->password ? strdup(mem(b)->password) : NULL;
}

size_t pm_memory_uploads(struct pm_backend *b)
{
    const struct session *s;
    size_t                n = 0;

    PM_GUARD(&mem(b)->lock);
    LIST_FOREACH(s, &mem(b)->sessions, link)
        n += !s->made;
    return n;
}

static int make_in_locked(struct memory *m, const struct node *folder, const char *name, enum pm_kind kind,
                          const void *data, size_t len)
{
    struct pm_entry     parent = {.path = folder->path};
    PM_AUTO(free) char *path = child_path(&parent, name);
    struct node        *n;

    return path ? make_locked(m, path, kind, data, len, &n) : -ENOMEM;
}

/* It and all below have another path now; `path` is consumed. */
static int move_locked(struct memory *m, struct node *top, char *path, const char *name)
{
    PM_AUTO(free) char *old = top->path;
    struct node        *n;

    for (n = LIST_FIRST(&m->nodes); n; n = LIST_NEXT(n, link)) {
        char *moved;

        if (n == top || !is_below(n->path, old))
            continue;
        moved = pm_asprintf("%s%s", path, n->path + strlen(old));
        if (!moved)
            return -ENOMEM;
        free(n->path);
        n->path = moved;
    }
    top->path = path;
    free(top->name);
    top->name = strdup(name);
    return top->name ? 0 : -ENOMEM;
}

int pm_memory_into_thing(struct pm_backend *b, const struct pm_entry *made, const char *name, const char *file,
                         const char *document, struct pm_entry **out)
{
    struct pm_entry drops = {.path = PM_MEMORY_DROPS};
    char           *path = child_path(&drops, name);
    struct memory  *m = mem(b);
    struct node    *n;
    int             err = 0;

    PM_GUARD(&m->lock);
    n = resolve_locked(m, made);
    if (!path || !n || (strcmp(n->path, path) != 0 && find_locked(m, path))) {
        free(path);
        return n ? -EEXIST : -ESTALE;
    }
    err = move_locked(m, n, path, name);
    if (!err && n->kind == PM_FILE) {
        n->kind = PM_FOLDER;
        err = make_in_locked(m, n, file, PM_FILE, n->data, n->len);
        if (!err)
            err = make_in_locked(m, n, "info.json", PM_DOCUMENT, document, strlen(document));
    }
    *out = err ? NULL : entry_locked(m, n);
    return err ? err : *out ? 0 : -ENOMEM;
}

/* --- changes */

/* Makes `name` in a folder, as a folder or a copy of `src`. */
static int make_child(struct memory *m, const struct pm_entry *parent, const char *name,
                      const struct pm_entry *src, int after, struct pm_entry **out)
{
    PM_AUTO(free) char *path = child_path(parent, name);
    const struct node  *from = NULL;
    struct node        *n;
    int                 err;

    if (!path)
        return -ENOMEM;
    PM_GUARD(&m->lock);
    if (src && !(from = resolve_locked(m, src)))
        return -ENOENT;
    if (!is_folder_locked(m, parent->path))
        return -ENOENT;
    if (find_locked(m, path))
        return -EEXIST;
    err = make_locked(m, path, from ? from->kind : PM_FOLDER, from ? from->data : "",
                      from ? from->len : 0, &n);
    if (!err && from) {
        n->settling = m->copies_settle;
        if (m->broken_copies && n->len) {
            m->broken_copies--;
            err = set_content(m, n, "", 0);
        }
    }
    if (err || after)
        return err ? err : after;
    *out = entry_locked(m, n);
    return *out ? 0 : -ENOMEM;
}

static int mem_mkdir(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *parent,
                     const char *name, struct pm_entry **out)
{
    int after, err = enter(mem(b), ctx, PM_MEM_MKDIR, &after);

    return err ? err : make_child(mem(b), parent, name, NULL, after, out);
}

static int mem_remove(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e)
{
    struct memory     *m = mem(b);
    const struct node *n;
    int                after, err = enter(m, ctx, PM_MEM_REMOVE, &after);

    if (err)
        return err;
    PM_GUARD(&m->lock);
    n = resolve_locked(m, e);
    if (!n)
        return -ENOENT;
    err = drop_locked(m, n->path);
    return err ? err : after;
}

static int mem_copy(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *src,
                    const struct pm_entry *parent, const char *name, struct pm_entry **out)
{
    int after, err = enter(mem(b), ctx, PM_MEM_COPY, &after);

    return err ? err : make_child(mem(b), parent, name, src, after, out);
}

static int mem_check_move(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                          int64_t since_ms)
{
    struct memory     *m = mem(b);
    const struct node *n;

    PM_GUARD(&m->lock);
    (void)since_ms;
    n = resolve_locked(m, e);
    if (!n || n->shared == PM_MEM_UNSHARED)
        return 0;
    snprintf(ctx->why, sizeof(ctx->why), "it is shared");
    return -EPERM;
}

static int mem_shared(struct pm_backend *b, int (*each)(void *arg, const char *id), void *arg)
{
    struct memory     *m = mem(b);
    const struct node *n;
    char               id[32];
    int                err = 0;

    PM_GUARD(&m->lock);
    for (n = LIST_FIRST(&m->nodes); n && !err; n = LIST_NEXT(n, link)) {
        snprintf(id, sizeof(id), "%" PRIu64, n->id);
        if (n->shared == PM_MEM_KNOWN)
            err = each(arg, id);
    }
    return err;
}

static enum pm_manner mem_manner(struct pm_backend *b, const struct pm_entry *dir, char *why, size_t size)
{
    struct memory *m = mem(b);

    PM_GUARD(&m->lock);
    if (!m->things)
        return PM_MANNER_TREE;
    snprintf(why, size, "here are only things");
    if (is_below(dir->path, "things"))
        return PM_MANNER_THING;
    return !*dir->path || !strcmp(dir->path, "things") || !strcmp(dir->path, "links") ? PM_MANNER_FIXED
                                                                                    : PM_MANNER_TREE;
}

const struct pm_backend_ops pm_memory_ops = {
    .type = "memory",
    .secret = "token",
    .endpoint = "memory:",
    .caps = PM_CAP_RANGE | PM_CAP_REPLACE,
    .open = mem_open,
    .close = mem_close,
    .manner = mem_manner,
    .list = mem_list,
    .stat = mem_stat,
    .fetch = mem_fetch,
    .begin = mem_begin,
    .resume = mem_resume,
    .put = mem_put,
    .finish = mem_finish,
    .abort = mem_abort,
    .mkdir = mem_mkdir,
    .remove = mem_remove,
    .copy = mem_copy,
    .check_move = mem_check_move,
    .shared = mem_shared,
};
