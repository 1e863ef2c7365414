#include "cache/find.h"

#include "cache/draft.h"
#include "cache/merge.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define KEPT_MS    (10 * 60 * 1000) /* so long it is known that something is not there */
#define WAIT_MS    1000
#define LIMIT_MS   20000
#define PER_MINUTE 10
#define NAME_MAX_ASKED 64
#define ABSENT     64

/* One name that is asked about. */
struct question {
    struct pm_job     job;
    struct question  *next; /* lock */
    struct pm_cache  *cache;
    pm_node           folder;
    int64_t           began_ms; /* pm_now_ms() */
    struct pm_waiter *waiters; /* lock */
    char              name[NAME_MAX_ASKED + 1];
};

struct absent {
    pm_node folder;
    int64_t until_ms; /* pm_now_ms() */
    char    name[NAME_MAX_ASKED + 1];
};

struct pm_finds {
    pthread_mutex_t  lock; /* leaf */
    struct question *running; /* lock */
    struct absent    absent[ABSENT]; /* lock */
    size_t           next; /* lock; the one to be forgotten next */
    int64_t          asked_ms[PER_MINUTE]; /* lock; when the last were, a ring */
    size_t           asked; /* lock */
};

int pm_finds_open(struct pm_cache *c)
{
    c->finds = calloc(1, sizeof(*c->finds));
    if (!c->finds)
        return -ENOMEM;
    pthread_mutex_init(&c->finds->lock, NULL);
    for (size_t i = 0; i < PER_MINUTE; i++)
        c->finds->asked_ms[i] = INT64_MIN / 2;
    return 0;
}

void pm_finds_close(struct pm_cache *c)
{
    if (!c->finds)
        return;
    pthread_mutex_destroy(&c->finds->lock);
    free(c->finds);
    c->finds = NULL;
}

/* --- may it be asked about? */

/* Letters, digits, '-' and '_': what services make addresses of. */
static bool has_shape(const char *name)
{
    size_t len = strlen(name);

    for (const char *p = name; *p; p++)
        if ((unsigned char)*p >= 0x80 || !(isalnum((unsigned char)*p) || *p == '-' || *p == '_'))
            return false;
    return len > 0 && len <= NAME_MAX_ASKED;
}

static bool finds(const struct pm_account *a)
{
    return a->unlisted && pm_backend_can(a->backend, PM_CAP_FIND);
}

/* Is there such an account at all? Costs less than to look whose the folder is. */
static bool any_finds(const struct pm_cache *c)
{
    for (size_t i = 0; i < c->naccounts; i++)
        if (finds(&c->accounts[i]))
            return true;
    return false;
}

/* The account of a root that is not listed, and whose service finds things. -ENOENT: it is none. */
static int account_of(struct pm_cache *c, pm_node folder, struct pm_account **out)
{
    struct pm_row row;
    int           err;

    pm_db_begin(c->db);
    err = pm_db_end(c->db, pm_node_get(c->db, folder, &row));
    if (err || row.parent != PM_NODE_ROOT)
        return err ? err : -ENOENT;
    *out = pm_account_by_id(c, row.account);
    return *out && finds(*out) ? 0 : -ENOENT;
}

static bool is_absent_locked(const struct pm_finds *f, pm_node folder, const char *name)
{
    for (size_t i = 0; i < ABSENT; i++)
        if (f->absent[i].folder == folder && f->absent[i].until_ms > pm_now_ms() &&
            !strcmp(f->absent[i].name, name))
            return true;
    return false;
}

static bool may_ask_locked(struct pm_finds *f)
{
    int64_t now = pm_now_ms();

    if (now - f->asked_ms[f->asked % PER_MINUTE] < 60000)
        return false;
    f->asked_ms[f->asked++ % PER_MINUTE] = now;
    return true;
}

/* --- asking */

/* A folder there has this name now. -ENOENT: it is known by another name, or not wanted. */
static int take(struct pm_cache *c, const struct question *q, const struct pm_account *a,
                const struct pm_entry *e)
{
    struct pm_db   *db = c->db;
    struct pm_entry described = *e;
    char            rid[PM_NAME_MAX + 1];
    pm_node         node;
    int             err = pm_merge_rid(e, rid);

    if (err)
        return err;
    described.id = rid;
    pm_db_begin(db);
    if (pm_node_by_rid(db, a->id, rid) || pm_draft_is_forgotten(db, a->id, rid) ||
        !pm_shown_find(db, q->folder, q->name, &node))
        err = -ENOENT;
    if (!err)
        err = pm_node_make(db, a->id, e->kind, NULL, &node);
    if (!err)
        err = pm_node_describe(db, node, &described);
    if (!err)
        err = pm_node_place(db, node, q->folder, q->name, e->name);
    return pm_db_end(db, err);
}

static int ask(struct question *q)
{
    PM_AUTO(free) struct pm_entry *root = NULL;
    PM_AUTO(free) struct pm_entry *now = NULL;
    struct pm_cache               *c = q->cache;
    struct pm_account             *a;
    struct pm_ctx                  ctx = {.deadline_ms = pm_now_ms() + LIMIT_MS, .cancel = &c->stopping};
    struct pm_entry                e = {.kind = PM_FOLDER, .id = "", .name = q->name, .path = q->name,
                                        .target = "", .version = "", .state = "",
                                        .size = PM_SIZE_UNKNOWN};
    int                            err = account_of(c, q->folder, &a);

    if (err)
        return err;
    pm_db_begin(c->db);
    err = pm_db_end(c->db, pm_node_entry(c->db, q->folder, &root));
    if (err)
        return err;
    e.root = root->root;
    err = pm_backend_stat(a->backend, &ctx, &e, &now);
    return err ? err : take(c, q, a, now);
}

static void run_question(struct pm_job *job)
{
    struct question  *q = container_of(job, struct question, job);
    struct pm_finds  *f = q->cache->finds;
    struct question **p = &f->running;
    struct pm_waiter *waiters;
    int               err = ask(q);

    pthread_mutex_lock(&f->lock);
    while (*p != q)
        p = &(*p)->next;
    *p = q->next;
    if (err == -ENOENT) {
        struct absent *x = &f->absent[f->next++ % ABSENT];

        *x = (struct absent){.folder = q->folder, .until_ms = pm_now_ms() + KEPT_MS};
        memcpy(x->name, q->name, sizeof(x->name));
    }
    waiters = q->waiters;
    pthread_mutex_unlock(&f->lock);
    pm_wake_all(waiters, err == -ECANCELED ? -ESHUTDOWN : err ? -ENOENT : 0);
    free(q);
}

static struct question *start_locked(struct pm_cache *c, pm_node folder, const char *name)
{
    struct question *q = calloc(1, sizeof(*q));

    if (!q)
        return NULL;
    q->job.run = run_question;
    q->cache = c;
    q->folder = folder;
    q->began_ms = pm_now_ms();
    memcpy(q->name, name, strlen(name) + 1);
    q->next = c->finds->running;
    c->finds->running = q;
    pm_pool_run(c->pool, &q->job);
    return q;
}

int pm_find_want(struct pm_cache *c, pm_node folder, const char *name, struct pm_waiter *w)
{
    struct pm_account *a;
    struct question   *q;
    int                err;

    if (!w || !any_finds(c) || !has_shape(name))
        return -ENOENT;
    err = account_of(c, folder, &a);
    if (err)
        return err;
    PM_GUARD(&c->finds->lock);
    if (c->stopping)
        return -ESHUTDOWN;
    for (q = c->finds->running; q && (q->folder != folder || strcmp(q->name, name) != 0);)
        q = q->next;
    if (q ? pm_now_ms() - q->began_ms >= WAIT_MS
          : is_absent_locked(c->finds, folder, name) || !may_ask_locked(c->finds))
        return -ENOENT;
    if (!q)
        q = start_locked(c, folder, name);
    if (!q)
        return -ENOMEM;
    w->progress_ms = pm_now_ms();
    w->next = q->waiters;
    q->waiters = w;
    return -EINPROGRESS;
}

void pm_find_tick(struct pm_cache *c)
{
    struct pm_waiter *late = NULL;

    pthread_mutex_lock(&c->finds->lock);
    for (struct question *q = c->finds->running; q; q = q->next) {
        struct pm_waiter **end = &q->waiters;

        if (pm_now_ms() - q->began_ms < WAIT_MS)
            continue;
        while (*end)
            end = &(*end)->next;
        *end = late;
        late = q->waiters;
        q->waiters = NULL;
    }
    pthread_mutex_unlock(&c->finds->lock);
    pm_wake_all(late, 0);
}
