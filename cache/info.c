/* What is known, for attributes, status and people. */
#include "cache/about.h"
#include "cache/draft.h"
#include "cache/identity.h"
#include "cache/journal.h"
#include "cache/queue.h"
#include "cache/state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#define UPLOADS_LISTED 100 /* entries shown in one answer */

/* --- one entry in words */

struct shown_entry {
    struct pm_jentry e;
    char             error[256];
    char             draft[300]; /* PUBLISH: its state in words */
    char            *path; /* owned; NULL: nowhere */
    bool             active;
    bool             late; /* a file of a late draft */
    uint64_t         sent;
    int64_t          started_ms;
    int64_t          ends; /* PUBLISH: when the service drops what was sent; 0: not known */
};

/* Is the file SENT only as far as a late draft is concerned, of which nothing is sent? */
static bool is_gathered(struct pm_cache *c, const struct pm_jentry *e)
{
    bool gathered;

    if (c->store)
        return !pm_draft_account(c, e->account);
    pm_db_begin(c->db); /* without a service: it has a session, or is a lone link */
    gathered = !pm_db_int(c->db, 0, "SELECT 1 FROM j.draft WHERE node=?1 AND session IS NOT NULL", "i",
                          (int64_t)e->parent);
    return !pm_db_end(c->db, 0) && gathered;
}

/* A draft says what it waits for, and how much of it is sent. */
static void explain_draft(struct pm_cache *c, struct shown_entry *x)
{
    struct pm_about_draft about;

    x->late = x->e.state == PM_J_SENT && is_gathered(c, &x->e);
    if (x->e.op != PM_OP_PUBLISH || !c->store)
        return;
    pm_publish_state(c, x->e.node, x->draft, sizeof(x->draft));
    pm_about_draft(c, x->e.node, &about);
    x->e.size = about.size;
    x->sent = about.sent;
    x->ends = about.ends;
}

/* Until when a service asked not to be called, by the wall clock; 0: it did not. */
static int64_t held_until(const struct pm_account *a)
{
    int64_t ms = pm_backend_hold_ms(a->backend);

    return ms ? pm_wall_ms() + ms : 0;
}

static void describe_hold(int64_t until, char *out, size_t size)
{
    char when[PM_CLOCK_MAX];

    pm_clock_text(until, when);
    snprintf(out, size, "the service asked to wait until %s", when);
}

/* What waits because its account pauses, or its service asked for it, says so. */
static void explain_pause(struct pm_cache *c, struct shown_entry *x)
{
    const struct pm_account *a = pm_account_by_id(c, x->e.account);
    int64_t                  until;

    if (!a || x->e.state != PM_J_READY || x->e.op == PM_OP_PUBLISH)
        return;
    until = held_until(a);
    if (pm_backend_doubt(a->backend, *x->error ? NULL : x->error, sizeof(x->error), NULL))
        return;
    if (until)
        describe_hold(until, x->error, sizeof(x->error));
}

static void describe(const struct shown_entry *x, char *out, size_t size)
{
    const char *why = *x->error ? x->error : "no reason given";

    if (*x->draft) {
        snprintf(out, size, "%s", x->draft);
        return;
    }
    switch (x->e.state) {
    case PM_J_OPEN:
    case PM_J_LOCAL: snprintf(out, size, "local"); break;
    case PM_J_INTERRUPTED: snprintf(out, size, "interrupted"); break;
    case PM_J_FAILED: snprintf(out, size, "failed: %s", why); break;
    case PM_J_GUARDED: snprintf(out, size, "waiting: %s", why); break;
    case PM_J_SENT: snprintf(out, size, x->late ? "queued" : "sent"); break;
    case PM_J_ACTIVE:
        if (x->e.op == PM_OP_PUT)
            snprintf(out, size, "uploading %d%%",
                     x->e.size ? (int)(x->sent * 100 / x->e.size) : 0);
        else
            snprintf(out, size, "sending");
        break;
    case PM_J_READY:
        if (*x->error)
            snprintf(out, size, "waiting: %s", why);
        else
            snprintf(out, size, "queued");
        break;
    }
}

/* In a transaction. */
static void explain_source(struct pm_db *db, struct shown_entry *x)
{
    if (x->e.state == PM_J_READY && !*x->error && pm_journal_is_source(db, x->e.id))
        snprintf(x->error, sizeof(x->error), PM_SOURCE_WAITS);
}

/* Reads the next entry above `after`, at or below `node` (0: all). False: no more. */
static bool next_entry(struct pm_db *db, int64_t after, pm_node node, struct shown_entry *x)
{
    memset(x, 0, sizeof(*x));
    for (;;) {
        struct sqlite3_stmt *st;
        int64_t id = pm_db_int(db, 0, "SELECT min(id) FROM j.entry WHERE id>?1 AND state<>5", "i",
                               after);

        if (!id || pm_journal_get(db, id, &x->e))
            return false;
        after = id;
        if (node > PM_NODE_ROOT && !pm_shown_below(db, x->e.node, node) &&
            !pm_shown_below(db, x->e.parent, node))
            continue;
        st = pm_db_query(db, "SELECT error FROM j.entry WHERE id=?1", "i", id);
        if (pm_db_row(db, st)) {
            pm_col_copy(st, 0, x->error, sizeof(x->error));
            pm_db_reset(st);
        }
        explain_source(db, x);
        x->path = pm_told_path(db, x->e.parent);
        return true;
    }
}

/* 1; 0: there is no more; or -errno. */
static int read_next(struct pm_cache *c, int64_t after, pm_node node, struct shown_entry *x)
{
    int more;

    x->path = NULL;
    pm_db_begin(c->db);
    more = next_entry(c->db, after, node, x);
    more = pm_db_end(c->db, more);
    if (more < 0)
        free(x->path);
    if (more > 0) {
        explain_pause(c, x);
        explain_draft(c, x);
    }
    if (more > 0 && c->queue)
        x->active = pm_queue_sent(c, x->e.id, &x->sent, &x->started_ms);
    return more;
}

/* --- one node */

/* The last one, unless the content itself is not to be sent as it is, whatever else becomes of the file. */
static int telling_entry(struct pm_db *db, pm_node node, struct pm_jentry *out)
{
    if (!pm_journal_of(db, node, PM_OP_PUT, out) &&
        (out->state == PM_J_INTERRUPTED || out->state == PM_J_FAILED))
        return 0;
    return pm_journal_of(db, node, (enum pm_op)0, out);
}

static int node_state(struct pm_cache *c, const struct pm_row *row, bool whole, struct pm_info *out)
{
    struct shown_entry x = {0};
    bool               unsent;
    int                err;

    pm_db_begin(c->db);
    unsent = !telling_entry(c->db, row->id, &x.e);
    if (unsent) {
        struct sqlite3_stmt *st =
            pm_db_query(c->db, "SELECT error FROM j.entry WHERE id=?1", "i", x.e.id);

        if (pm_db_row(c->db, st)) {
            pm_col_copy(st, 0, x.error, sizeof(x.error));
            pm_db_reset(st);
        }
    }
    err = pm_db_end(c->db, 0);
    if (err)
        return err;
    if (unsent) {
        explain_pause(c, &x);
        explain_draft(c, &x);
        pm_queue_sent(c, x.e.id, &x.sent, &x.started_ms);
        describe(&x, out->state, sizeof(out->state));
        if (*x.error || x.e.op != PM_OP_PUBLISH) /* of a draft, what was refused in it */
            snprintf(out->error, sizeof(out->error), "%s", x.error);
        return 0;
    }
    snprintf(out->state, sizeof(out->state), "%s",
             row->own ? "synced" : whole ? "cached" : "remote");
    return 0;
}

int pm_info_node(struct pm_cache *c, pm_node node, struct pm_info *out)
{
    struct pm_content   *k;
    struct pm_row        row;
    struct sqlite3_stmt *st;
    bool                 whole = false;
    int                  err;

    memset(out, 0, sizeof(*out));
    pm_db_begin(c->db);
    err = pm_node_get(c->db, node, &row);
    out->cached = (uint64_t)pm_db_int(c->db, 0, "SELECT bytes FROM content WHERE node=?1", "i",
                                      (int64_t)node);
    st = pm_db_query(c->db, "SELECT error FROM node WHERE id=?1", "i", (int64_t)node);
    if (pm_db_row(c->db, st)) {
        pm_col_copy(st, 0, out->error, sizeof(out->error));
        pm_db_reset(st);
    }
    err = pm_db_end(c->db, err);
    if (err)
        return err == -ENOENT ? -ESTALE : err;
    k = pm_content_peek(c->store, node);
    if (k) {
        pthread_mutex_lock(&k->lock);
        out->cached = pm_ranges_count(&k->present, 0, k->size);
        whole = pm_content_whole_locked(k);
        pthread_mutex_unlock(&k->lock);
        pm_content_put(k);
    } else {
        whole = row.size != PM_SIZE_UNKNOWN && row.size && out->cached >= row.size;
    }
    if (row.size != PM_SIZE_UNKNOWN && out->cached > row.size)
        out->cached = row.size; /* the disk counts blocks */
    snprintf(out->id, sizeof(out->id), "%.127s", row.rid);
    snprintf(out->version, sizeof(out->version), "%s", row.version);
    pm_about_url(c, &row, out->url, sizeof(out->url));
    return node_state(c, &row, whole, out);
}

/* --- sums */

int pm_info_space(struct pm_cache *c, struct pm_space *out)
{
    struct statvfs        v;
    struct pm_store_usage usage;
    uint64_t              avail;

    if (fstatvfs(pm_store_dirfd(c->store), &v))
        return -errno;
    pm_store_usage(c->store, &usage);
    avail = (uint64_t)v.f_bavail * v.f_frsize;
    avail = avail > c->conf->min_free ? avail - c->conf->min_free : 0;
    out->total = (uint64_t)v.f_blocks * v.f_frsize;
    out->free = avail + usage.evictable < out->total ? avail + usage.evictable : out->total;
    return 0;
}

static int pending(struct pm_db *db, uint64_t *entries, uint64_t *bytes)
{
    pm_db_begin(db);
    *entries = (uint64_t)pm_db_int(db, 0, "SELECT count(*) FROM j.entry WHERE state<>5", "");
    *bytes = (uint64_t)pm_db_int(db, 0, "SELECT sum(size) FROM j.entry WHERE state<>5 AND op=1 AND"
                                       " source IS NULL",
                                 "");
    return pm_db_end(db, 0);
}

int pm_info_pending(struct pm_cache *c, uint64_t *entries, uint64_t *bytes)
{
    return pending(c->db, entries, bytes);
}

bool pm_info_sendable(struct pm_cache *c, uint64_t *uploads, uint64_t *changes)
{
    bool any = !pm_queue_paused(c);

    pm_db_begin(c->db);
    any = any && pm_db_int(c->db, 0,
                           "SELECT 1 FROM j.entry e WHERE state IN (2, 3) AND not_before<?1 AND NOT"
                           " EXISTS (SELECT 1 FROM j.dep d WHERE d.entry=e.id) LIMIT 1",
                           "i", PM_J_HELD);
    if (uploads)
        *uploads = (uint64_t)pm_db_int(c->db, 0, "SELECT count(*) FROM j.entry WHERE state IN (2, 3)"
                                                 " AND op=1",
                                       "");
    if (changes)
        *changes = (uint64_t)pm_db_int(c->db, 0, "SELECT count(*) FROM j.entry WHERE state IN"
                                                 " (2, 3)",
                                       "");
    return pm_db_end(c->db, 0) || any;
}

/* --- as JSON */

static void json_entry(struct pm_buf *b, const struct shown_entry *x, const char *comma)
{
    PM_AUTO(free) char *path = pm_asprintf("%s/%s", x->path ? x->path : "?", x->e.name);
    char                state[300];

    describe(x, state, sizeof(state));
    pm_buf_printf(b, "%s{\"path\":", comma);
    pm_buf_json(b, path ? path : "?");
    pm_buf_printf(b, ",\"size\":%llu,\"sent\":%llu,\"state\":", (unsigned long long)x->e.size,
                  (unsigned long long)x->sent);
    pm_buf_json(b, state);
    pm_buf_str(b, ",\"error\":");
    pm_buf_json(b, x->error);
    if (x->ends)
        pm_buf_printf(b, ",\"session_ends\":%lld", (long long)(x->ends / 1000));
    pm_buf_str(b, "}");
}

/* Members "failed" (failed or interrupted) and "uploads" (everything else that is pending). */
static int json_entries(struct pm_cache *c, struct pm_buf *b, bool failed)
{
    struct shown_entry x;
    const char        *comma = "";
    int64_t            after = 0;
    int                n = 0;
    int                more = 0;

    while (n < UPLOADS_LISTED && (more = read_next(c, after, 0, &x)) > 0) {
        after = x.e.id;
        if (failed == (x.e.state == PM_J_FAILED || x.e.state == PM_J_INTERRUPTED)) {
            json_entry(b, &x, comma);
            comma = ",";
            n++;
        }
        free(x.path);
    }
    return more < 0 ? more : 0;
}

static void json_accounts(struct pm_cache *c, struct pm_buf *b)
{
    for (size_t i = 0; i < c->naccounts; i++) {
        struct pm_account *a = &c->accounts[i];
        char               advice[900];
        int64_t            until = held_until(a);
        PM_AUTO(pm_buf) struct pm_buf limits = {0};

        pm_identity_advice(c, a, advice, sizeof(advice));
        pm_about_limits_json(a, &limits);
        PM_GUARD(&a->lock);
        pm_buf_str(b, i ? ",{\"name\":" : "{\"name\":");
        pm_buf_json(b, a->conf->name);
        pm_buf_str(b, ",\"type\":");
        pm_buf_json(b, a->conf->type);
        pm_buf_str(b, ",\"endpoint\":");
        pm_buf_json(b, a->conf->endpoint);
        pm_buf_printf(b, ",\"paused\":%s,\"error\":", *advice ? "true" : "false");
        pm_buf_json(b, *advice ? advice : a->error);
        if (until)
            pm_buf_printf(b, ",\"waits_until\":%lld,", (long long)((until + 999) / 1000));
        else
            pm_buf_str(b, ",\"waits_until\":null,");
        pm_buf_printf(b, "%s}", limits.ptr ? limits.ptr : "\"limits\":[]");
    }
}

int pm_info_json(struct pm_cache *c, struct pm_buf *b)
{
    uint64_t entries;
    uint64_t bytes;
    struct pm_store_usage usage = {0};
    int                   err = pending(c->db, &entries, &bytes);

    if (c->store)
        pm_store_usage(c->store, &usage);
    pm_buf_printf(b, "\"pending\":%llu,\"pending_bytes\":%llu,\"failed\":[",
                  (unsigned long long)entries, (unsigned long long)bytes);
    err = err ? err : json_entries(c, b, true);
    pm_buf_str(b, "],\"uploads\":[");
    err = err ? err : json_entries(c, b, false);
    pm_buf_str(b, "],");
    err = err ? err : pm_about_projects_json(c, b);
    pm_buf_printf(b,
                  "\"cache\":{\"used\":%llu,\"evictable\":%llu,\"last_copy\":%llu,"
                  "\"max_size\":%llu,\"min_free\":%llu},\"accounts\":[",
                  (unsigned long long)usage.used, (unsigned long long)usage.evictable,
                  (unsigned long long)usage.last_copy,
                  (unsigned long long)c->conf->max_size, (unsigned long long)c->conf->min_free);
    json_accounts(c, b);
    pm_buf_str(b, "],");
    return b->failed ? -ENOMEM : err;
}

/* --- for people */

static void size_text(uint64_t bytes, char out[32])
{
    static const char *const unit[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double                   n = (double)bytes;
    size_t                   u = 0;

    while (n >= 1024 && u + 1 < PM_COUNT(unit)) {
        n /= 1024;
        u++;
    }
    snprintf(out, 32, u ? "%.1f %s" : "%.0f %s", n, unit[u]);
}

static void text_entry(struct pm_buf *b, const struct shown_entry *x)
{
    char    state[300];
    char    size[32];
    int64_t ms = pm_now_ms() - x->started_ms;

    describe(x, state, sizeof(state));
    size_text(x->e.size, size);
    pm_buf_printf(b, "  %s/%s  %s%s%s", x->path ? x->path : "?", x->e.name,
                  x->e.op == PM_OP_REMOVE    ? "removal, "
                  : x->e.op == PM_OP_MKDIR   ? "folder, "
                  : x->e.op == PM_OP_PUBLISH ? "project, "
                                             : "",
                  x->e.op == PM_OP_PUT ? size : "", x->e.op == PM_OP_PUT ? ", " : "");
    pm_buf_str(b, state);
    if (x->ends) {
        char when[PM_CLOCK_MAX];

        pm_clock_text(x->ends, when);
        pm_buf_printf(b, " (%s; what was sent is kept there until %s)", size, when);
    }
    if (x->active && x->sent && ms > 0 && x->sent < x->e.size)
        pm_buf_printf(b, ", %.1f MB/s, %lld s left", (double)x->sent / (double)ms / 1000,
                      (long long)((x->e.size - x->sent) * (uint64_t)ms / x->sent / 1000));
    pm_buf_str(b, "\n");
}

static void text_accounts(struct pm_cache *c, struct pm_buf *b)
{
    for (size_t i = 0; i < c->naccounts; i++) {
        struct pm_account *a = &c->accounts[i];
        char               advice[900];
        int64_t            until = held_until(a);
        PM_AUTO(pm_buf) struct pm_buf limits = {0};

        pm_identity_advice(c, a, advice, sizeof(advice));
        pm_about_limits_text(a, &limits);
        if (!*advice && until)
            describe_hold(until, advice, sizeof(advice));
        PM_GUARD(&a->lock);
        pm_buf_printf(b, "account %s (%s, %s): %s\n", a->conf->name, a->conf->type,
                      a->conf->endpoint, *advice ? advice : *a->error ? a->error : "no trouble");
        pm_buf_str(b, limits.ptr ? limits.ptr : "");
    }
}

/* As the journal knows it: also where no daemon runs. */
static bool is_paused(struct pm_db *db)
{
    bool is;

    pm_db_begin(db);
    is = pm_db_int(db, 0, "SELECT value FROM j.meta WHERE key='paused'", "") != 0;
    pm_db_end(db, 0);
    return is;
}

int pm_info_text(struct pm_cache *c, pm_node node, struct pm_buf *b)
{
    struct shown_entry x;
    char               used_text[32];
    char               last_text[32];
    char               bytes_text[32];
    uint64_t           entries;
    uint64_t           bytes;
    struct pm_store_usage usage = {0};
    int64_t            after = 0;
    int                n = 0;
    int                more = 0;
    bool               stuck = false;
    int                err = pending(c->db, &entries, &bytes);

    if (err)
        return err;
    if (c->store)
        pm_store_usage(c->store, &usage);
    size_text(usage.used, used_text);
    size_text(usage.last_copy, last_text);
    size_text(bytes, bytes_text);
    text_accounts(c, b);
    if (is_paused(c->db))
        pm_buf_str(b, "paused: nothing is sent until `polymount resume`\n");
    if (c->store)
        pm_buf_printf(b, "cache: %s used\n", used_text);
    if (usage.last_copy)
        pm_buf_printf(b, "last copies: %s that the services cannot give back are kept here\n",
                      last_text);
    if (!entries)
        pm_buf_str(b, "everything is on the services: safe to shut down\n");
    else
        pm_buf_printf(b, "%llu change%s (%s) not on the services yet; what is left at an unmount is kept,"
                         " and sent after the next mount\n",
                      (unsigned long long)entries, entries == 1 ? "" : "s", bytes_text);
    while (n++ < UPLOADS_LISTED && (more = read_next(c, after, node, &x)) > 0) {
        after = x.e.id;
        stuck = stuck || x.e.state == PM_J_FAILED || x.e.state == PM_J_INTERRUPTED;
        text_entry(b, &x);
        free(x.path);
    }
    if (more >= 0)
        err = pm_about_projects_text(c, node, b);
    if (stuck)
        pm_buf_str(b, "what failed or was interrupted stays here: polymount retry PATH tries it"
                      " again,\npolymount discard PATH gives it up (its content is kept for 7"
                      " days)\n");
    return b->failed ? -ENOMEM : more < 0 ? more : err;
}

int pm_info_offline(const struct pm_conf *conf, bool json, struct pm_buf *out)
{
    struct pm_cache c = {.conf = conf};
    char            why[256];
    int             err = pm_db_open_readonly(conf->cache_dir, &c.db, why, sizeof(why));

    if (err == -ENOENT) { /* nothing was ever mounted with this folder */
        pm_buf_str(out, json ? "\"pending\":0,\"pending_bytes\":0,\"failed\":[],\"uploads\":[],"
                               "\"cache\":{},\"accounts\":[],"
                             : "nothing is queued\n");
        return out->failed ? -ENOMEM : 0;
    }
    if (err)
        return err;
    err = json ? pm_info_json(&c, out) : pm_info_text(&c, 0, out);
    pm_db_close(c.db);
    return err;
}
