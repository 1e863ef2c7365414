#include "cache/record.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define POLL_MS  30000 /* a project is made ready in minutes or hours */
#define LIMIT_MS 60000

/* One document that is being got. */
struct refresh {
    struct pm_job     job;
    struct refresh   *next; /* lock */
    struct pm_cache  *cache;
    pm_node           folder;
    struct pm_waiter *waiters; /* lock */
};

struct pm_records {
    pthread_mutex_t lock; /* leaf */
    struct refresh *running; /* lock */
    int64_t         polled_ms; /* the housekeeping thread's */
};

int pm_records_open(struct pm_cache *c)
{
    c->records = calloc(1, sizeof(*c->records));
    if (!c->records)
        return -ENOMEM;
    pthread_mutex_init(&c->records->lock, NULL);
    return 0;
}

void pm_records_close(struct pm_cache *c)
{
    if (!c->records)
        return;
    pthread_mutex_destroy(&c->records->lock);
    free(c->records);
    c->records = NULL;
}

/* --- what the user wants */

/* The content's text, owned. */
static int read_text(struct pm_content *k, char **out, char *why, size_t why_len)
{
    uint64_t size;
    char    *text;
    ssize_t  n;

    pthread_mutex_lock(&k->lock);
    size = k->size;
    pthread_mutex_unlock(&k->lock);
    if (size > PM_RECORD_MAX) {
        snprintf(why, why_len, "it is larger than 1 MiB");
        return -EINVAL;
    }
    text = calloc(1, (size_t)size + 1);
    if (!text)
        return -ENOMEM;
    n = pm_pread_all(k->fd, text, (size_t)size, 0);
    if (n < 0) {
        free(text);
        return (int)n;
    }
    text[n] = '\0';
    *out = text;
    return n ? pm_document_check(text, (size_t)n, why, why_len) : 0;
}

int pm_record_check(struct pm_content *k, char *why, size_t why_len)
{
    PM_AUTO(free) char *text = NULL;

    return read_text(k, &text, why, why_len);
}

/* The document of a draft; 0: it has none. In a transaction. */
static pm_node local_node(struct pm_db *db, pm_node folder, const char *name)
{
    return (pm_node)pm_db_int(db, 0,
                              "SELECT node FROM j.entry WHERE parent=?1 AND name=?2 AND op=1 AND"
                              " state=5",
                              "is", (int64_t)folder, name);
}

int pm_record_options(struct pm_cache *c, pm_node folder, char **out, char *why, size_t why_len)
{
    char               place[150] = "";
    const char        *name;
    struct pm_content *k;
    pm_node            node;
    int                err;

    pm_db_begin(c->db);
    name = pm_draft_document(pm_draft_spot(c, folder));
    node = name ? local_node(c->db, folder, name) : 0;
    err = pm_db_end(c->db, 0);
    if (err)
        return err;
    if (!node) {
        *out = strdup("");
        return *out ? 0 : -ENOMEM;
    }
    err = pm_content_get(c->store, node, &k);
    if (err)
        return err;
    pthread_mutex_lock(&k->lock);
    if (k->marked) {
        snprintf(place, sizeof(place), "it is open");
        err = -EAGAIN;
    }
    pthread_mutex_unlock(&k->lock);
    if (!err)
        err = read_text(k, out, place, sizeof(place));
    pm_content_put(k);
    if (err)
        snprintf(why, why_len, "%s: %s", name, *place ? place : strerror(-err));
    if (err) {
        free(*out);
        *out = NULL;
    }
    return err;
}

void pm_record_free_options(char *options)
{
    if (options)
        explicit_bzero(options, strlen(options));
    free(options);
}

int pm_record_check_late(struct pm_cache *c, pm_node folder, char *why, size_t why_len)
{
    PM_AUTO(free) struct pm_entry *drops = NULL;
    struct pm_account             *a = NULL;
    struct pm_row                  row;
    char                          *options = NULL;
    int                            err = pm_draft_root(c, folder, &drops);

    if (!err)
        err = pm_record_options(c, folder, &options, why, why_len);
    pm_db_begin(c->db);
    if (!pm_node_get(c->db, folder, &row))
        a = pm_account_by_id(c, row.account);
    pm_db_end(c->db, 0);
    if (!err && a)
        err = pm_backend_check_options(a->backend, drops, options, why, why_len);
    pm_record_free_options(options);
    return err == -EAGAIN || err == -ENOENT ? 0 : err;
}

bool pm_record_is_alone(struct pm_db *db, pm_node folder)
{
    return local_node(db, folder, PM_RECORD_NAME) &&
           pm_db_int(db, 0, "SELECT count(*) FROM j.entry WHERE parent=?1", "i", (int64_t)folder) == 1;
}

/* --- what the service says */

struct row {
    pm_node folder, node;
    int64_t asked, fetched; /* wall clock, ms; 0: not yet */
    bool    ready;
};

static int get_row(struct pm_db *db, pm_node folder, struct row *out)
{
    struct sqlite3_stmt *st = pm_db_query(
        db, "SELECT node, asked, fetched, ready FROM record WHERE folder=?1", "i", (int64_t)folder);

    *out = (struct row){.folder = folder};
    if (!pm_db_row(db, st))
        return -ENOENT;
    out->node = (pm_node)pm_col_int(st, 0);
    out->asked = pm_col_int(st, 1);
    out->fetched = pm_col_int(st, 2);
    out->ready = pm_col_int(st, 3) != 0;
    pm_db_reset(st);
    return 0;
}

int pm_record_make(struct pm_db *db, uint32_t account, pm_node folder, pm_node node)
{
    int err = node ? 0 : pm_node_make(db, account, PM_DOCUMENT, NULL, &node);

    if (!err)
        err = pm_node_place(db, node, folder, PM_RECORD_NAME, PM_RECORD_NAME);
    return err ? err
               : pm_db_run(db,
                           "INSERT OR REPLACE INTO record(folder, node, asked, fetched, ready)"
                           " VALUES(?1, ?2, 0, 0, 0)",
                           "ii", (int64_t)folder, (int64_t)node);
}

/* The rows of the content say that it is this text. */
static int note_content(struct pm_db *db, const struct pm_content *k)
{
    PM_AUTO(free) void *present = NULL;
    int64_t             len = pm_ranges_save(&k->present, &present);

    if (len < 0)
        return (int)len;
    pm_db_run(db,
              "UPDATE content SET size=?2, present=?3, version='', validator='', origin=-1 WHERE id=?1",
              "iib", k->id, (int64_t)k->size, present, (size_t)len);
    return pm_db_run(db, "UPDATE node SET size=?2, rsize=?2, version='', own=1, lmtime=?3, ctime=?3"
                         " WHERE id=?1",
                     "iii", (int64_t)k->node, (int64_t)k->size, pm_wall_ns());
}

/* The content becomes this text, unless somebody reads the old one: -EBUSY. */
static int write_locked(struct pm_cache *c, struct pm_content *k, const char *text)
{
    size_t len = strlen(text);
    int    err;

    if (k->handles || k->transfers)
        return -EBUSY;
    if (ftruncate(k->fd, 0))
        return -errno;
    if (pm_pwrite_all(k->fd, text, len, 0) < 0)
        return -EIO;
    k->size = len;
    k->base_end = len;
    k->stale = false;
    k->version[0] = '\0';
    k->mtime_ns = 0;
    if (pm_ranges_add(&k->present, 0, PM_RANGE_MAX))
        return -ENOMEM;
    pm_content_count_locked(k);
    pm_db_begin(c->db);
    err = note_content(c->db, k);
    return pm_db_end(c->db, err);
}

static int keep(struct pm_cache *c, pm_node node, const char *text)
{
    struct pm_content *k;
    int                err = pm_content_get(c->store, node, &k);

    if (err)
        return err;
    pthread_mutex_lock(&k->lock);
    err = write_locked(c, k, text);
    pthread_mutex_unlock(&k->lock);
    pm_content_put(k);
    if (!err)
        pm_tell_node(c, node, true);
    return err;
}

/* Who asks, and of what. */
static int get_row_and_entry(struct pm_cache *c, pm_node folder, struct row *row,
                             struct pm_account **a, struct pm_entry **e)
{
    struct pm_row node;
    int           err;

    pm_db_begin(c->db);
    err = get_row(c->db, folder, row);
    if (!err)
        err = pm_node_get(c->db, folder, &node);
    if (!err)
        err = pm_node_entry(c->db, folder, e);
    if (!err)
        pm_db_run(c->db, "UPDATE record SET asked=?2 WHERE folder=?1", "ii", (int64_t)folder,
                  pm_wall_ms());
    if (err == -ENOENT) { /* it is gone */
        pm_db_run(c->db, "DELETE FROM record WHERE folder=?1", "i", (int64_t)folder);
        err = pm_db_end(c->db, 0);
        return err ? err : -ENOENT;
    }
    err = pm_db_end(c->db, err);
    if (err)
        return err;
    *a = pm_account_by_id(c, node.account);
    return *a ? 0 : -ENXIO;
}

static int get(struct pm_cache *c, pm_node folder)
{
    PM_AUTO(free) struct pm_entry *e = NULL;
    PM_AUTO(free) char            *json = NULL;
    struct pm_ctx                  ctx = {.prio = PM_BACKGROUND, .cancel = &c->stopping,
                                          .deadline_ms = pm_now_ms() + LIMIT_MS};
    struct pm_progress             progress = {0};
    struct pm_account             *a;
    struct row                     row;
    int                            err = get_row_and_entry(c, folder, &row, &a, &e);

    if (!err)
        err = pm_draft_record(a->backend, &ctx, e, &progress, &json);
    if (!err)
        err = keep(c, row.node, json);
    if (err && err != -EBUSY)
        return err;
    pm_db_begin(c->db);
    pm_db_run(c->db, "UPDATE record SET late=?2 WHERE folder=?1", "is", (int64_t)folder,
              err ? json : NULL);
    return pm_db_end(c->db,
                     pm_db_run(c->db,
                               "UPDATE record SET fetched=?2, ready=?3, percent=?4, errors=?5 WHERE"
                               " folder=?1",
                               "iiiis", (int64_t)folder, pm_wall_ms(), (int64_t)progress.ready,
                               (int64_t)progress.percent, progress.errors));
}

static void run_refresh(struct pm_job *job)
{
    struct refresh    *r = container_of(job, struct refresh, job);
    struct pm_records *all = r->cache->records;
    struct refresh   **p = &all->running;
    struct pm_waiter  *waiters;
    int                err = get(r->cache, r->folder);

    pthread_mutex_lock(&all->lock);
    while (*p != r)
        p = &(*p)->next;
    *p = r->next;
    waiters = r->waiters;
    pthread_mutex_unlock(&all->lock);
    pm_wake_all(waiters, err == -ECANCELED ? -ESHUTDOWN : err);
    free(r);
}

/* Joins or starts one. */
static int start(struct pm_cache *c, pm_node folder, struct pm_waiter *w)
{
    struct refresh *r;

    PM_GUARD(&c->records->lock);
    if (c->stopping)
        return -ESHUTDOWN;
    for (r = c->records->running; r && r->folder != folder;)
        r = r->next;
    if (!r) {
        r = calloc(1, sizeof(*r));
        if (!r)
            return -ENOMEM;
        r->job.run = run_refresh;
        r->cache = c;
        r->folder = folder;
        r->next = c->records->running;
        c->records->running = r;
        pm_pool_run(c->pool, &r->job);
    }
    if (w) {
        w->progress_ms = pm_now_ms();
        w->next = r->waiters;
        r->waiters = w;
    }
    return 0;
}

void pm_record_refresh(struct pm_cache *c, pm_node folder)
{
    start(c, folder, NULL);
}

int pm_record_want(struct pm_cache *c, pm_node folder, struct pm_waiter *w)
{
    struct pm_row node;
    struct row    row;
    bool          wanted;
    int           err;

    pm_db_begin(c->db);
    err = pm_node_get(c->db, folder, &node);
    wanted = !err && pm_draft_account(c, node.account) &&
             pm_draft_spot(c, folder) == PM_SPOT_PUBLISHED && *node.rid;
    if (wanted && get_row(c->db, folder, &row)) { /* of a project that was not made here */
        err = pm_record_make(c->db, node.account, folder, 0);
        row = (struct row){.folder = folder};
    }
    wanted = wanted && !row.fetched && !node.own;
    err = pm_db_end(c->db, err);
    if (err || !wanted)
        return err == -ENOENT ? 0 : err;
    if (!w)
        return -EAGAIN;
    err = start(c, folder, w);
    return err ? err : -EINPROGRESS;
}

int pm_record_text(struct pm_cache *c, pm_node folder, bool refresh, char **out)
{
    char               why[150];
    struct pm_content *k;
    struct row         row = {.node = 0};
    int                err;

    pm_db_begin(c->db);
    if (pm_draft_spot(c, folder) == PM_SPOT_PUBLISHED)
        get_row(c->db, folder, &row);
    pm_db_end(c->db, 0);
    if (!row.node || !row.fetched)
        return -ENODATA;
    if (refresh && pm_wall_ms() - row.asked >= c->conf->attr_timeout_ms)
        start(c, folder, NULL);
    err = pm_content_get(c->store, row.node, &k);
    if (err)
        return err;
    err = read_text(k, out, why, sizeof(why));
    pm_content_put(k);
    return err == -EINVAL ? -ENODATA : err;
}

int pm_record_next(struct pm_cache *c, pm_node after, struct pm_record_news *out)
{
    struct sqlite3_stmt *st;
    bool                 more;
    int                  err;

    *out = (struct pm_record_news){.folder = 0};
    pm_db_begin(c->db);
    st = pm_db_query(c->db,
                     "SELECT folder, percent, ready, errors FROM record r WHERE folder>?1 AND (NOT ready"
                     " OR errors<>'') AND EXISTS (SELECT 1 FROM node n WHERE n.id=r.folder AND n.own)"
                     " ORDER BY folder LIMIT 1",
                     "i", (int64_t)after);
    more = pm_db_row(c->db, st);
    if (more) {
        out->folder = (pm_node)pm_col_int(st, 0);
        out->percent = (int)pm_col_int(st, 1);
        out->ready = pm_col_int(st, 2) != 0;
        pm_col_copy(st, 3, out->errors, sizeof(out->errors));
        pm_db_reset(st);
    }
    err = pm_db_end(c->db, 0);
    return err ? err : more;
}

/* It cannot be fetched like other contents. */
static bool is_lost(struct pm_content *k)
{
    PM_GUARD(&k->lock);
    if (pm_content_whole_locked(k) || k->transfers)
        return false;
    if (ftruncate(k->fd, 0) || pm_ranges_add(&k->present, 0, PM_RANGE_MAX))
        return false;
    k->base_end = 0;
    k->size = 0;
    return true;
}

void pm_record_opened(struct pm_cache *c, struct pm_content *k)
{
    pm_node    folder;
    struct row row;
    bool       old;

    pm_db_begin(c->db);
    folder = (pm_node)pm_db_int(c->db, 0, "SELECT folder FROM record WHERE node=?1", "i",
                                (int64_t)k->node);
    old = folder && !get_row(c->db, folder, &row) &&
          pm_wall_ms() - row.asked >= c->conf->attr_timeout_ms;
    pm_db_end(c->db, 0);
    if (folder && (is_lost(k) || old))
        start(c, folder, NULL);
}

/* What came while somebody read the old one. */
static void keep_late(struct pm_cache *c)
{
    PM_AUTO(free) char  *text = NULL;
    struct sqlite3_stmt *st;
    pm_node              node = 0;

    pm_db_begin(c->db);
    st = pm_db_query(c->db, "SELECT node, late FROM record WHERE late IS NOT NULL LIMIT 1", "");
    if (pm_db_row(c->db, st)) {
        node = (pm_node)pm_col_int(st, 0);
        text = strdup(pm_col_text(st, 1));
        pm_db_reset(st);
    }
    pm_db_end(c->db, 0);
    if (!text || keep(c, node, text))
        return;
    pm_db_begin(c->db);
    pm_db_run(c->db, "UPDATE record SET late=NULL WHERE node=?1 AND late=?2", "is", (int64_t)node,
              text);
    pm_db_end(c->db, 0);
}

void pm_record_tick(struct pm_cache *c)
{
    pm_node folder = 0;
    int64_t now = pm_now_ms();

    if (now - c->records->polled_ms < 1000)
        return;
    c->records->polled_ms = now;
    keep_late(c);
    do {
        pm_db_begin(c->db);
        folder = (pm_node)pm_db_int(c->db, 0,
                                    "SELECT min(folder) FROM record r WHERE NOT ready AND asked<?1 AND"
                                    " folder>?2 AND (asked=0 OR EXISTS (SELECT 1 FROM node n WHERE"
                                    " n.id=r.folder AND n.own))",
                                    "ii", pm_wall_ms() - POLL_MS, (int64_t)folder);
        pm_db_end(c->db, 0);
        if (folder)
            start(c, folder, NULL);
    } while (folder);
}
