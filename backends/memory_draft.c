/* The memory backend's other face: folders made in its root are drafts. For tests only.
 *
 * A session has files, each with the bytes that came; what a commit makes of it is kept as text. A
 * finished file is complete; a session that was committed is gone. */
#include "backends/memory.h"

#include "backends/util.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct file {
    struct file *next;
    char    *name;
    char    *data;
    uint64_t total, got;
    bool     complete;
};

struct session {
    struct session *next;
    uint64_t id;
    struct file *files;
};

struct project {
    struct project *next;
    uint64_t id, session; /* session 0: made from a link */
    char    *title, *slug, *text;
};

struct drafts {
    pthread_mutex_t lock; /* leaf; all below */
    uint64_t        last_id;
    unsigned        breaches;
    bool            lists;
    int             percent;
    char            errors[64];
    int64_t         lasts_ms; /* 0: for ever */
    struct session *sessions;
    struct project *projects; /* as they were made */
    const char     *intruder; /* NULL: none */
};

static struct drafts *of(struct pm_backend *b)
{
    return *pm_memory_drafts(b);
}

static void free_file(struct session *s, struct file *f)
{
    struct file **p = &s->files;

    while (*p != f)
        p = &(*p)->next;
    *p = f->next;
    free(f->name);
    free(f->data);
    free(f);
}

static void free_session(struct drafts *d, struct session *s)
{
    struct session **p = &d->sessions;

    while (s->files)
        free_file(s, s->files);
    while (*p != s)
        p = &(*p)->next;
    *p = s->next;
    free(s);
}

void pm_memory_draft_free(void *arg)
{
    struct drafts  *d = arg;
    struct project *p;

    if (!d)
        return;
    while (d->sessions)
        free_session(d, d->sessions);
    while ((p = d->projects)) {
        d->projects = p->next;
        free(p->title);
        free(p->slug);
        free(p->text);
        free(p);
    }
    pthread_mutex_destroy(&d->lock);
    free(d);
}

static int draft_backend_open(const struct pm_account_conf *conf, struct pm_backend **out)
{
    struct drafts *d = calloc(1, sizeof(*d));
    int            err = d ? pm_memory_ops.open(conf, out) : -ENOMEM;

    if (err) {
        free(d);
        return err;
    }
    pthread_mutex_init(&d->lock, NULL);
    d->percent = 100;
    *pm_memory_drafts(*out) = d;
    return 0;
}

static void draft_backend_close(struct pm_backend *b)
{
    pm_memory_ops.close(b);
}

/* --- finding, all with the lock held */

static struct session *session_locked(struct drafts *d, const char *text)
{
    uint64_t        id = strtoull(text, NULL, 10);
    struct session *s;

    for (s = d->sessions; s; s = s->next)
        if (s->id == id)
            return s;
    return NULL;
}

static struct file *file_locked(struct session *s, const char *name)
{
    struct file *f;

    for (f = s->files; f; f = f->next)
        if (!strcasecmp(f->name, name))
            return f;
    return NULL;
}

static struct pm_entry *entry_locked(const struct drafts *d, const struct project *p)
{
    char            id[32];
    struct pm_entry e = {.kind = PM_FOLDER, .root = "", .id = id, .name = p->slug, .path = p->slug,
                         .target = "", .version = "", .state = d->percent == 100 ? "ready" : "new",
                         .settling = d->percent != 100, .size = PM_SIZE_UNKNOWN};

    snprintf(id, sizeof(id), "p%" PRIu64, p->id);
    return pm_entry_dup(&e);
}

/* --- for tests */

size_t pm_memory_sessions(struct pm_backend *b)
{
    const struct session *s;
    size_t                n = 0;

    PM_GUARD(&of(b)->lock);
    for (s = of(b)->sessions; s; s = s->next)
        n++;
    return n;
}

unsigned pm_memory_breaches(struct pm_backend *b)
{
    PM_GUARD(&of(b)->lock);
    return of(b)->breaches;
}

void pm_memory_expire(struct pm_backend *b)
{
    PM_GUARD(&of(b)->lock);
    while (of(b)->sessions)
        free_session(of(b), of(b)->sessions);
}

void pm_memory_lose(struct pm_backend *b, const char *name, bool part)
{
    struct session *s;

    PM_GUARD(&of(b)->lock);
    for (s = of(b)->sessions; s; s = s->next) {
        struct file *f = file_locked(s, name);

        if (!f)
            continue;
        f->complete = false;
        f->got /= 2;
        if (!part)
            free_file(s, f);
    }
}

void pm_memory_intrude(struct pm_backend *b, const char *name)
{
    PM_GUARD(&of(b)->lock);
    of(b)->intruder = name;
}

void pm_memory_draft_lists(struct pm_backend *b)
{
    PM_GUARD(&of(b)->lock);
    of(b)->lists = true;
}

void pm_memory_session_lasts(struct pm_backend *b, int64_t ms)
{
    PM_GUARD(&of(b)->lock);
    of(b)->lasts_ms = ms;
}

void pm_memory_progress(struct pm_backend *b, int percent)
{
    PM_GUARD(&of(b)->lock);
    of(b)->percent = percent;
}

void pm_memory_errors(struct pm_backend *b, const char *errors)
{
    PM_GUARD(&of(b)->lock);
    snprintf(of(b)->errors, sizeof(of(b)->errors), "%s", errors);
}

int pm_memory_project(struct pm_backend *b, const char *slug)
{
    struct project *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    PM_GUARD(&of(b)->lock);
    p->id = ++of(b)->last_id;
    p->title = strdup(slug);
    p->slug = strdup(slug);
    p->text = pm_asprintf("%s, of others", slug);
    p->next = of(b)->projects;
    of(b)->projects = p;
    return 0;
}

char *pm_memory_projects(struct pm_backend *b)
{
    const struct project *p;
    struct pm_buf         all = {0};

    PM_GUARD(&of(b)->lock);
    pm_buf_str(&all, "");
    for (p = of(b)->projects; p; p = p->next) {
        pm_buf_printf(&all, "%s\n", p->text);
    }
    return pm_buf_take(&all);
}

/* --- describing */

static int draft_list(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *dir,
                      pm_entry_fn *each, void *arg)
{
    struct drafts        *d = of(b);
    const struct project *p;
    int                   after, err = pm_memory_enter(b, ctx, PM_MEM_LIST, &after);

    if (err)
        return err;
    PM_GUARD(&d->lock);
    if (*dir->path || !d->lists)
        return -EOPNOTSUPP;
    for (p = d->projects; p; p = p->next) {
        PM_AUTO(free) struct pm_entry *e = entry_locked(d, p);

        err = e ? each(arg, e) : -ENOMEM;
        if (err)
            return err;
    }
    return after;
}

static int draft_stat(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                      struct pm_entry **out)
{
    struct drafts        *d = of(b);
    const struct project *p;
    int                   after, err = pm_memory_enter(b, ctx, PM_MEM_STAT, &after);

    if (err || after)
        return err ? err : after;
    PM_GUARD(&d->lock);
    *out = *e->path ? NULL : pm_entry_dup(e);
    for (p = d->projects; p; p = p->next)
        if (!*out && (*e->id ? *e->id == 'p' && strtoull(e->id + 1, NULL, 10) == p->id
                             : !strcmp(e->path, p->slug)))
            *out = entry_locked(d, p);
    return *out ? 0 : -ENOENT;
}

/* --- uploading: the state says only that it was begun */

static int draft_begin(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up)
{
    struct drafts  *d = of(b);
    struct session *s;
    struct file    *f;
    int             after, err = pm_memory_enter(b, ctx, PM_MEM_BEGIN, &after);

    if (err)
        return err;
    PM_GUARD(&d->lock);
    s = up->session ? session_locked(d, up->session) : NULL;
    if (!s)
        return -ESTALE;
    f = file_locked(s, up->name);
    if (f && f->got) {
        d->breaches++;
        return -EEXIST;
    }
    if (f) /* its answer was lost */
        free_file(s, f);
    f = calloc(1, sizeof(*f));
    if (!f)
        return -ENOMEM;
    f->name = strdup(up->name);
    f->data = malloc(up->size + 1);
    f->total = up->size;
    f->next = s->files;
    s->files = f;
    free(up->state);
    up->state = strdup("begun");
    return f->name && f->data && up->state ? after : -ENOMEM;
}

static int draft_resume(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up,
                        uint64_t *off)
{
    struct session    *s;
    const struct file *f;
    int                after, err = pm_memory_enter(b, ctx, PM_MEM_RESUME, &after);

    if (err)
        return err;
    PM_GUARD(&of(b)->lock);
    s = session_locked(of(b), up->session);
    if (!s)
        return -ESTALE;
    f = file_locked(s, up->name);
    *off = f ? f->got : 0;
    return after;
}

/* After a session lost a file its bytes come from 0 on, without another begin. */
static struct file *file_to_put(struct session *s, const struct pm_upload *up)
{
    struct file *f = file_locked(s, up->name);

    if (f)
        return f;
    f = calloc(1, sizeof(*f));
    if (!f)
        return NULL;
    f->name = strdup(up->name);
    f->data = malloc(up->size + 1);
    f->total = up->size;
    f->next = s->files;
    s->files = f;
    return f;
}

static int draft_put(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, uint64_t *off)
{
    struct drafts  *d = of(b);
    struct session *s;
    struct file    *f;
    size_t          len;
    int             after, err = pm_memory_enter(b, ctx, PM_MEM_PUT, &after);

    if (err)
        return err;
    PM_GUARD(&d->lock);
    s = session_locked(d, up->session);
    f = s ? file_to_put(s, up) : NULL;
    if (!f)
        return s ? -ENOMEM : -ESTALE;
    if (f->complete || *off != f->got || f->total != up->size) {
        d->breaches++;
        return -EINVAL;
    }
    len = f->total - f->got < PM_MEMORY_STEP ? (size_t)(f->total - f->got) : PM_MEMORY_STEP;
    if (pm_pread_all(up->fd, f->data + f->got, len, f->got) != (ssize_t)len)
        return -EIO;
    f->got += len;
    if (up->progress)
        up->progress(up->arg, f->got);
    if (!after)
        *off = f->got;
    return after;
}

static int draft_finish(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up,
                        struct pm_entry **out)
{
    struct session *s;
    struct file    *f;
    struct pm_entry e = {.kind = PM_FILE, .root = "", .id = "", .name = up->name, .path = up->name,
                         .target = "", .version = "", .state = "", .size = up->size};
    int             after, err = pm_memory_enter(b, ctx, PM_MEM_FINISH, &after);

    if (err)
        return err;
    PM_GUARD(&of(b)->lock);
    s = session_locked(of(b), up->session);
    f = s ? file_locked(s, up->name) : NULL;
    if (!f || f->got != f->total)
        return s ? -EAGAIN : -ESTALE;
    f->complete = true;
    if (after)
        return after;
    *out = pm_entry_dup(&e);
    return *out ? 0 : -ENOMEM;
}

static int draft_abort(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up)
{
    int after, err = pm_memory_enter(b, ctx, PM_MEM_ABORT, &after);

    (void)up;
    return err ? err : after;
}

/* --- drafts */

static int draft_open(struct pm_backend *b, struct pm_ctx *ctx, struct pm_draft *draft)
{
    struct session *s;
    int             after, err = pm_memory_enter(b, ctx, PM_MEM_SESSION, &after);

    if (err)
        return err;
    s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    PM_GUARD(&of(b)->lock);
    s->id = ++of(b)->last_id;
    s->next = of(b)->sessions;
    of(b)->sessions = s;
    if (after)
        return after;
    draft->session = pm_asprintf("%" PRIu64 " %" PRId64, s->id,
                                 of(b)->lasts_ms ? pm_wall_ms() + of(b)->lasts_ms : 0);
    return draft->session ? 0 : -ENOMEM;
}

static int draft_held(struct pm_backend *b, struct pm_ctx *ctx, const char *session,
                      pm_held_fn *each, void *arg)
{
    struct session    *s;
    const struct file *f;
    int                after, err = pm_memory_enter(b, ctx, PM_MEM_HELD, &after);

    if (err)
        return err;
    PM_GUARD(&of(b)->lock);
    s = session_locked(of(b), session);
    if (!s)
        return -ESTALE;
    if (of(b)->intruder && (err = each(arg, of(b)->intruder, 1, 1, true)) != 0)
        return err;
    for (f = s->files; f; f = f->next)
        if ((err = each(arg, f->name, f->got, f->total, f->complete)) != 0)
            return err;
    return after;
}

static int draft_drop(struct pm_backend *b, struct pm_ctx *ctx, const char *session)
{
    struct session *s;
    int             after, err = pm_memory_enter(b, ctx, PM_MEM_DROP, &after);

    if (err)
        return err;
    PM_GUARD(&of(b)->lock);
    s = session_locked(of(b), session);
    if (s)
        free_session(of(b), s);
    return after;
}

static int compare_files(const void *a, const void *b)
{
    return strcmp((*(struct file *const *)a)->name, (*(struct file *const *)b)->name);
}

/* Adds " NAME=CONTENT" of each file, by name. -ENODATA: one is not whole. */
static int tell_files(struct session *s, struct pm_buf *out)
{
    struct file *files[1024] = {NULL};
    struct file *f;
    size_t       n = 0;

    for (f = s->files; f; f = f->next) {
        if (!f->complete || n == PM_COUNT(files))
            return -ENODATA;
        files[n++] = f;
    }
    qsort(files, n, sizeof(*files), compare_files);
    for (size_t i = 0; i < n; i++)
        pm_buf_printf(out, " %s=%.*s", files[i]->name, files[i]->total > 64 ? 64 : (int)files[i]->total,
                      files[i]->data);
    return n ? 0 : -ENODATA;
}

static int commit_locked(struct drafts *d, const struct pm_draft *draft, struct project **out)
{
    struct pm_buf   text = {0};
    struct session *s = draft->session ? session_locked(d, draft->session) : NULL;
    struct project *p;
    struct project **last;
    int             err = 0;

    if (draft->session && !s)
        return -ESTALE;
    if (draft->options && strstr(draft->options, "\"refuse\""))
        return -EINVAL;
    pm_buf_printf(&text, "%s %s %s:", draft->name, draft->options ? draft->options : "",
                  draft->link ? draft->link : "");
    if (s)
        err = tell_files(s, &text);
    if (err) {
        pm_buf_free(&text);
        return err;
    }
    for (p = d->projects; p; p = p->next)
        if (s && p->session == s->id)
            d->breaches++;
    p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->id = ++d->last_id;
    p->session = s ? s->id : 0;
    p->title = strdup(draft->name);
    p->slug = pm_asprintf("slug-%" PRIu64, p->id);
    p->text = pm_buf_take(&text);
    for (last = &d->projects; *last;)
        last = &(*last)->next;
    *last = p;
    if (s)
        free_session(d, s);
    *out = p;
    return 0;
}

static int draft_commit(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_draft *draft,
                        struct pm_entry **out)
{
    struct project *p;
    int             after, err = pm_memory_enter(b, ctx, PM_MEM_COMMIT, &after);

    if (err)
        return err;
    PM_GUARD(&of(b)->lock);
    err = commit_locked(of(b), draft, &p);
    if (err == -EINVAL)
        snprintf(ctx->why, sizeof(ctx->why), "these options are refused");
    if (err || after)
        return err ? err : after;
    *out = entry_locked(of(b), p);
    return *out ? 0 : -ENOMEM;
}

/* The id that was given last: what a commit makes has a higher one. */
static int draft_look(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_draft *draft,
                      char **before)
{
    int after, err = pm_memory_enter(b, ctx, PM_MEM_LOOK, &after);

    (void)draft;
    if (err || after)
        return err ? err : after;
    PM_GUARD(&of(b)->lock);
    *before = pm_asprintf("%" PRIu64, of(b)->last_id);
    return *before ? 0 : -ENOMEM;
}

static int draft_find(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_draft *draft,
                      const char *before, struct pm_entry **out)
{
    uint64_t              session = draft->session ? strtoull(draft->session, NULL, 10) : 0;
    uint64_t              last = strtoull(before, NULL, 10);
    const struct project *p;
    int                   after, err = pm_memory_enter(b, ctx, PM_MEM_FIND, &after);

    if (err || after)
        return err ? err : after;
    PM_GUARD(&of(b)->lock);
    for (p = of(b)->projects; p; p = p->next) {
        if (p->session != session || (!session && strcmp(p->title, draft->name) != 0) || p->id <= last)
            continue;
        *out = entry_locked(of(b), p);
        return *out ? 0 : -ENOMEM;
    }
    return -ENOENT;
}

static int draft_record(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                        struct pm_progress *progress, char **json)
{
    int after, err = pm_memory_enter(b, ctx, PM_MEM_RECORD, &after);

    if (err || after)
        return err ? err : after;
    PM_GUARD(&of(b)->lock);
    *progress = (struct pm_progress){of(b)->percent, of(b)->percent == 100, ""};
    snprintf(progress->errors, sizeof(progress->errors), "%s", of(b)->errors);
    *json = pm_asprintf("{\"id\": \"%s\", \"percent\": %d}\n", e->id, of(b)->percent);
    return *json ? 0 : -ENOMEM;
}

static int draft_field(struct pm_backend *b, const struct pm_entry *e, const char *record,
                       const char *name, char *out, size_t size)
{
    const char *percent = strstr(record, "\"percent\": ");
    int         n = 0;

    (void)b;
    if (!strcmp(name, "url"))
        n = snprintf(out, size, "memory://%s", e->id);
    else if (!strcmp(name, "percent") && percent)
        n = snprintf(out, size, "%d", atoi(percent + strlen("\"percent\": ")));
    return !n ? -ENODATA : (size_t)n < size ? 0 : -ERANGE;
}

static int64_t draft_expires_ms(const char *session)
{
    return strtoll(session + strcspn(session, " "), NULL, 10);
}

static int draft_check(struct pm_backend *b, const struct pm_draft_item *item, char *why,
                       size_t why_len)
{
    size_t   len = strlen(item->name);
    uint64_t size = item->size == PM_SIZE_UNKNOWN ? 0 : item->size;

    (void)b;
    if (len > 4 && !strcmp(item->name + len - 4, ".exe")) {
        snprintf(why, why_len, "no programs are taken");
        return -EPERM;
    }
    if (size > PM_MEMORY_DRAFT_MAX) {
        snprintf(why, why_len, "no file is larger than 1 MiB there");
        return -EFBIG;
    }
    if (item->others + size > PM_MEMORY_DRAFT_ALL) {
        snprintf(why, why_len, "nothing is larger than 2 MiB there");
        return -EDQUOT;
    }
    return 0;
}

static int draft_send_name(struct pm_backend *b, const char *name, unsigned choice, char *out,
                           size_t size)
{
    const char *dot = strrchr(name, '.');
    size_t      stem = dot && dot != name ? (size_t)(dot - name) : strlen(name);
    char        mark[16] = "";
    int         len;

    (void)b;
    if (choice > 1)
        snprintf(mark, sizeof(mark), "_%u", choice);
    len = snprintf(out, size, "%.*s%s%s", (int)stem, name, mark, name + stem);
    for (char *p = out; *p; p++)
        *p = (char)(isalnum((unsigned char)*p) || strchr(".-_", *p) ? *p : '_');
    return (size_t)len < size ? 0 : -ENAMETOOLONG;
}

static const struct pm_draft_ops draft_ops = {
    .open = draft_open,
    .held = draft_held,
    .drop = draft_drop,
    .look = draft_look,
    .commit = draft_commit,
    .find = draft_find,
    .record = draft_record,
    .field = draft_field,
    .expires_ms = draft_expires_ms,
    .check = draft_check,
    .send_name = draft_send_name,
};

const struct pm_backend_ops pm_memory_draft_ops = {
    .type = "memory-draft",
    .secret = "token",
    .endpoint = "memory-draft:",
    .caps = PM_CAP_FIND,
    .open = draft_backend_open,
    .close = draft_backend_close,
    .list = draft_list,
    .stat = draft_stat,
    .begin = draft_begin,
    .resume = draft_resume,
    .put = draft_put,
    .finish = draft_finish,
    .abort = draft_abort,
    .draft = &draft_ops,
};
