#include "cache/draft.h"

#include "cache/queue.h"
#include "cache/record.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LEASE_MS     60000 /* so long nobody else drops a session */
#define PAUSE_MAX_MS (5 * 60 * 1000)

/* An operation in a draft that was refused, which is not written down yet. */
struct refusal {
    struct refusal *next; /* lock */
    pm_node         folder;
    char           *text; /* owned */
};

struct pm_drafts {
    pthread_mutex_t      lock; /* leaf */
    pthread_cond_t       opened; /* lock; a session was opened, or not */
    struct pm_draft_run *runs; /* lock */
    struct refusal      *refusals; /* lock; owned */
    bool                 stopping; /* lock */
};

static void free_refusal(struct refusal *r)
{
    if (r)
        free(r->text);
    free(r);
}

int pm_drafts_open(struct pm_cache *c)
{
    c->drafts = calloc(1, sizeof(*c->drafts));
    if (!c->drafts)
        return -ENOMEM;
    pthread_mutex_init(&c->drafts->lock, NULL);
    pm_cond_init(&c->drafts->opened);
    return 0;
}

void pm_drafts_stop(struct pm_cache *c)
{
    if (!c->drafts)
        return;
    PM_GUARD(&c->drafts->lock);
    c->drafts->stopping = true;
    for (struct pm_draft_run *r = c->drafts->runs; r; r = r->next)
        r->cancel = true;
    pthread_cond_broadcast(&c->drafts->opened);
}

void pm_drafts_close(struct pm_cache *c)
{
    if (!c->drafts)
        return;
    for (struct refusal *r; (r = c->drafts->refusals);) {
        c->drafts->refusals = r->next;
        free_refusal(r);
    }
    pthread_cond_destroy(&c->drafts->opened);
    pthread_mutex_destroy(&c->drafts->lock);
    free(c->drafts);
    c->drafts = NULL;
}

/* --- where something is */

bool pm_draft_account(const struct pm_cache *c, uint32_t account)
{
    const struct pm_account *a = pm_account_by_id((struct pm_cache *)c, account);

    return a && a->backend && pm_draft_has(a->backend);
}

static bool may(const struct pm_account *a)
{
    return a && a->backend && (pm_draft_has(a->backend) || pm_backend_has_manners(a->backend));
}

bool pm_draft_may(const struct pm_cache *c, uint32_t account)
{
    return may(pm_account_by_id((struct pm_cache *)c, account));
}

bool pm_draft_any(const struct pm_cache *c)
{
    for (size_t i = 0; i < c->naccounts; i++)
        if (may(&c->accounts[i]))
            return true;
    return false;
}

enum pm_spot pm_draft_spot(const struct pm_cache *c, pm_node folder)
{
    uint32_t account = (uint32_t)pm_db_int(c->db, 0, "SELECT account FROM node WHERE id=?1", "i",
                                           (int64_t)folder);
    pm_node  above;

    if (!pm_draft_may(c, account))
        return PM_SPOT_OTHER;
    if (!pm_draft_account(c, account))
        return pm_db_int(c->db, 0, "SELECT 1 FROM j.entry WHERE node=?1 AND op=5", "i", (int64_t)folder)
                   ? PM_SPOT_LATE
                   : PM_SPOT_OTHER;
    if (!pm_shown_place(c->db, folder, &above, NULL) && above == PM_NODE_ROOT)
        return PM_SPOT_ROOT;
    switch (pm_db_int(c->db, -1, "SELECT step IS NOT NULL FROM j.entry WHERE node=?1 AND op=5", "i",
                      (int64_t)folder)) {
    case 0: return PM_SPOT_DRAFT;
    case 1: return PM_SPOT_COMMITTING;
    default: return PM_SPOT_PUBLISHED;
    }
}

enum pm_spot pm_draft_spot_of(const struct pm_cache *c, pm_node node)
{
    pm_node folder;

    return pm_shown_place(c->db, node, &folder, NULL) ? PM_SPOT_OTHER : pm_draft_spot(c, folder);
}

const char *pm_draft_document(enum pm_spot spot)
{
    return spot == PM_SPOT_OTHER ? NULL : spot == PM_SPOT_LATE ? PM_PARTICULARS : PM_RECORD_NAME;
}

bool pm_draft_is_document(enum pm_spot spot, const char *name)
{
    const char *document = pm_draft_document(spot);

    return document && !strcmp(name, document);
}

bool pm_draft_is_litter(enum pm_spot spot, const char *name)
{
    return pm_name_is_litter(name) || (spot != PM_SPOT_OTHER && !strcmp(name, ".hold")) ||
           pm_draft_is_document(spot, name);
}

/* --- rows */

/* Owned; NULL also without memory, which fails the transaction. */
static char *column_text(struct pm_db *db, struct sqlite3_stmt *st, int col)
{
    return pm_col_null(st, col) ? NULL : pm_col_dup(db, st, col);
}

int pm_draft_get(struct pm_db *db, pm_node folder, struct pm_draft_row *out)
{
    struct sqlite3_stmt *st = pm_db_query(
        db,
        "SELECT account, session, serial, deaths, again, quiet, wish, changed, opened, refused"
        " FROM j.draft WHERE node=?1",
        "i", (int64_t)folder);

    *out = (struct pm_draft_row){.node = folder};
    if (!pm_db_row(db, st))
        return -ENOENT;
    out->account = (uint32_t)pm_col_int(st, 0);
    out->session = column_text(db, st, 1);
    out->serial = pm_col_int(st, 2);
    out->deaths = (int)pm_col_int(st, 3);
    out->again = pm_col_int(st, 4) != 0;
    out->quiet = pm_col_int(st, 5);
    out->wish = pm_col_int(st, 6) != 0;
    out->changed = pm_col_int(st, 7);
    out->opened = pm_col_int(st, 8);
    out->refused = column_text(db, st, 9);
    pm_db_reset(st);
    return 0;
}

void pm_draft_row_free(struct pm_draft_row *row)
{
    free(row->session);
    free(row->refused);
    *row = (struct pm_draft_row){0};
}

int pm_draft_make(struct pm_db *db, struct pm_jentry *publish)
{
    int err;

    publish->op = PM_OP_PUBLISH;
    publish->state = PM_J_READY;
    publish->not_before = PM_J_HELD;
    err = pm_journal_add(db, publish);
    return err ? err
               : pm_db_run(db, "INSERT INTO j.draft(node, account, changed) VALUES(?1, ?2, ?3)",
                           "iii", (int64_t)publish->node, (int64_t)publish->account, pm_now_ms());
}

#define LATE_STEP_MS 3000 /* whoever sends it has ended by then, and told what it knows */

/* A session, or what the upload that a late draft's commit is may have brought: "DROPS STEP", where DROPS
 * is the folder that the draft is in. */
static int give_session_up(struct pm_db *db, pm_node folder)
{
    pm_db_run(db,
              "INSERT INTO j.session(account, session, not_before) SELECT e.account, p.parent || ' ' ||"
              " e.step, ?2 FROM j.entry e JOIN j.entry p ON p.node=?1 AND p.op=5 WHERE e.parent=?1 AND"
              " e.op=1 AND e.step IS NOT NULL AND (SELECT opened AND session IS NULL FROM j.draft WHERE"
              " node=?1)",
              "ii", (int64_t)folder, pm_wall_ms() + LATE_STEP_MS);
    return pm_db_run(db,
                     "INSERT INTO j.session(account, session) SELECT account, session FROM j.draft"
                     " WHERE node=?1 AND session IS NOT NULL",
                     "i", (int64_t)folder);
}

int pm_draft_end(struct pm_db *db, pm_node folder, bool published)
{
    if (!published)
        give_session_up(db, folder);
    return pm_db_run(db, "DELETE FROM j.draft WHERE node=?1", "i", (int64_t)folder);
}

/* How long it must be quiet before a replaced session gets its successor. */
static int64_t quiet_ms(const struct pm_cache *c)
{
    return 100 + 10 * c->conf->delay_ms;
}

bool pm_draft_is_quiet(const struct pm_cache *c, const struct pm_draft_row *row)
{
    int64_t left = row->quiet - pm_wall_ms();

    return left > 0 && left <= quiet_ms(c); /* more: the clock was set back */
}

int pm_draft_touch(struct pm_cache *c, pm_node folder)
{
    pm_db_run(c->db,
              "UPDATE j.draft SET changed=?2, deaths=0, again=0, quiet=CASE WHEN session IS NULL AND"
              " quiet>0 THEN ?3 ELSE quiet END WHERE node=?1",
              "iii", (int64_t)folder, pm_now_ms(), pm_wall_ms() + quiet_ms(c));
    pm_db_run(c->db,
              "UPDATE j.entry SET state=2, error=NULL WHERE node=?1 AND op=5 AND step IS NULL AND"
              " (state=4 OR (state=2 AND error IS NOT NULL))", "i",
              (int64_t)folder);
    return pm_db_run(c->db,
                     "UPDATE j.entry SET not_before=CASE (SELECT wish FROM j.draft WHERE node=?1) WHEN 0"
                     " THEN ?2 ELSE 0 END WHERE node=?1 AND op=5 AND state=2 AND step IS NULL",
                     "ii", (int64_t)folder, PM_J_HELD);
}

static void cancel_runs(struct pm_cache *c, pm_node folder)
{
    PM_GUARD(&c->drafts->lock);
    for (struct pm_draft_run *r = c->drafts->runs; r; r = r->next)
        if (r->folder == folder)
            r->cancel = true;
    pthread_cond_broadcast(&c->drafts->opened);
}

int pm_draft_replace(struct pm_cache *c, pm_node folder, enum pm_session_end why)
{
    int64_t quiet = why == PM_SESSION_UNWANTED ? pm_wall_ms() + quiet_ms(c) : 0;
    bool    late = pm_draft_spot(c, folder) == PM_SPOT_LATE;

    if (why != PM_SESSION_GONE)
        give_session_up(c->db, folder);
    pm_db_run(c->db,
              "UPDATE j.draft SET session=NULL, opened=0, serial=serial+1, quiet=?2,"
              " deaths=deaths+?3, again=0 WHERE node=?1",
              "iii", (int64_t)folder, quiet, (int64_t)(why != PM_SESSION_UNWANTED));
    cancel_runs(c, folder);
    pm_db_run(c->db, "UPDATE j.entry SET step=NULL, sent=NULL WHERE parent=?1 AND op=1", "i",
              (int64_t)folder);
    if (late)
        pm_db_run(c->db, "UPDATE j.entry SET state=2, tries=0, error=NULL, not_before=0 WHERE parent=?1 AND"
                         " op=1 AND state=4", "i", (int64_t)folder);
    return pm_db_run(c->db,
                     "UPDATE j.entry SET state=2, not_before=?2 WHERE parent=?1 AND op=1 AND state=8",
                     "ii", (int64_t)folder, quiet);
}

/* May the folder's session, or what is to become of a lone link, have something of it? */
static bool is_in_session(struct pm_db *db, const struct pm_jentry *put)
{
    return put->state == PM_J_SENT || put->sending ||
           pm_db_int(db, 0, "SELECT step IS NOT NULL OR sent IS NOT NULL FROM j.entry WHERE id=?1",
                     "i", put->id);
}

/* Something in a late draft changes, or comes or goes: its commit ends, to begin anew when it was quiet. What
 * failed in it may not any more. */
static int stir_late(struct pm_cache *c, const struct pm_jentry *put)
{
    struct pm_draft_row row;
    int                 err = 0;

    if (put->state == PM_J_LOCAL && !pm_draft_is_document(PM_SPOT_LATE, put->name))
        return 0;
    if (!pm_draft_get(c->db, put->parent, &row) && row.opened)
        err = pm_draft_replace(c, put->parent, PM_SESSION_UNWANTED);
    pm_draft_row_free(&row);
    if (put->state == PM_J_SENT)
        pm_db_run(c->db, "UPDATE j.entry SET state=2, not_before=0 WHERE id=?1 AND state=8", "i", put->id);
    return err ? err : pm_draft_touch(c, put->parent);
}

int pm_draft_change(struct pm_cache *c, const struct pm_jentry *put)
{
    int err = 0;

    if (!pm_draft_may(c, put->account))
        return 0;
    switch (pm_draft_spot(c, put->parent)) {
    case PM_SPOT_OTHER:
    case PM_SPOT_ROOT: return 0;
    case PM_SPOT_LATE: return stir_late(c, put);
    case PM_SPOT_COMMITTING: return -EBUSY;
    case PM_SPOT_PUBLISHED: return put->state == PM_J_LOCAL ? 0 : -EROFS;
    case PM_SPOT_DRAFT: break;
    }
    if (put->state != PM_J_LOCAL && is_in_session(c->db, put))
        err = pm_draft_replace(c, put->parent, PM_SESSION_UNWANTED);
    return err ? err : pm_draft_touch(c, put->parent);
}

int pm_draft_added(struct pm_cache *c, const struct pm_jentry *put)
{
    if (!pm_draft_may(c, put->account))
        return 0;
    switch (pm_draft_spot(c, put->parent)) { /* since it was looked at it may have become so */
    case PM_SPOT_LATE: return stir_late(c, put);
    case PM_SPOT_COMMITTING: return -EBUSY;
    case PM_SPOT_PUBLISHED: return -EROFS;
    default: break;
    }
    if (put->state != PM_J_LOCAL)
        pm_db_run(c->db,
              "UPDATE j.entry SET state=2, not_before=0 WHERE parent=?1 AND op=1 AND state=8 AND"
              " sent IS NULL",
              "i", (int64_t)put->parent);
    return pm_draft_touch(c, put->parent);
}

int pm_draft_restart(struct pm_db *db)
{
    pm_db_run(db, "UPDATE j.draft SET changed=?1", "i", pm_now_ms());
    pm_db_run(db, "UPDATE j.session SET not_before=0", "");
    return pm_db_run(db,
                     "UPDATE j.entry SET not_before=?1 WHERE op=5 AND state=2 AND step IS NULL AND"
                     " node IN (SELECT node FROM j.draft WHERE wish=0)",
                     "i", PM_J_HELD);
}

/* --- what was refused */

static int write_refusal(struct pm_cache *c, const struct refusal *r)
{
    enum pm_spot spot;

    pm_db_begin(c->db);
    spot = pm_draft_spot(c, r->folder);
    if (spot == PM_SPOT_DRAFT || spot == PM_SPOT_LATE) {
        pm_db_run(c->db, "UPDATE j.draft SET refused=?2 WHERE node=?1", "is", (int64_t)r->folder,
                  r->text);
        pm_db_run(c->db, "UPDATE node SET error=?2 WHERE id=?1", "is", (int64_t)r->folder, r->text);
        pm_draft_touch(c, r->folder);
    }
    return pm_db_end(c->db, 0);
}

void pm_publish_refused(struct pm_cache *c, pm_node folder, const char *name, const char *why)
{
    struct refusal *r = pm_draft_any(c) ? calloc(1, sizeof(*r)) : NULL;

    if (!r)
        return;
    r->folder = folder;
    r->text = pm_asprintf("%s was refused: %s", name, why);
    if (!write_refusal(c, r)) {
        free_refusal(r);
        return;
    }
    PM_GUARD(&c->drafts->lock); /* the disk may be full: just then something is refused */
    r->next = c->drafts->refusals;
    c->drafts->refusals = r;
}

bool pm_draft_refusals_written(struct pm_cache *c)
{
    struct refusal *r;
    int             err = 0;

    while (!err) {
        pthread_mutex_lock(&c->drafts->lock);
        r = c->drafts->refusals;
        if (r)
            c->drafts->refusals = r->next;
        pthread_mutex_unlock(&c->drafts->lock);
        if (!r)
            return true;
        err = write_refusal(c, r);
        if (!err)
            free_refusal(r);
    }
    PM_GUARD(&c->drafts->lock);
    r->next = c->drafts->refusals;
    c->drafts->refusals = r;
    return false;
}

/* --- sending */

void pm_draft_run_begin(struct pm_cache *c, struct pm_draft_run *run, pm_node folder)
{
    *run = (struct pm_draft_run){.folder = folder};
    PM_GUARD(&c->drafts->lock);
    run->cancel = c->drafts->stopping;
    run->next = c->drafts->runs;
    c->drafts->runs = run;
}

void pm_draft_run_end(struct pm_cache *c, struct pm_draft_run *run)
{
    struct pm_draft_run **p = &c->drafts->runs;

    PM_GUARD(&c->drafts->lock);
    while (*p != run)
        p = &(*p)->next;
    *p = run->next;
}

static bool is_opened_by_other_locked(const struct pm_drafts *d, const struct pm_draft_run *run)
{
    for (const struct pm_draft_run *r = d->runs; r; r = r->next)
        if (r != run && r->folder == run->folder && r->opening)
            return true;
    return false;
}

/* Until it is this thread's turn to look for a session, or to open one. */
static int take_turn(struct pm_cache *c, struct pm_draft_run *run)
{
    PM_GUARD(&c->drafts->lock);
    while (is_opened_by_other_locked(c->drafts, run) && !run->cancel)
        pthread_cond_wait(&c->drafts->opened, &c->drafts->lock);
    if (run->cancel)
        return -ECANCELED;
    run->opening = true;
    return 0;
}

static void end_turn(struct pm_cache *c, struct pm_draft_run *run)
{
    PM_GUARD(&c->drafts->lock);
    run->opening = false;
    pthread_cond_broadcast(&c->drafts->opened);
}

/* The session that was opened becomes the draft's, unless that needs it no more. */
static int keep_session(struct pm_send *s, const char *session)
{
    struct pm_db       *db = s->cache->db;
    struct pm_draft_row row;
    bool                wanted;
    int                 err;

    pm_db_begin(db);
    wanted = !pm_draft_get(db, s->e->parent, &row) && row.serial == s->serial && !row.session;
    pm_draft_row_free(&row);
    if (wanted)
        pm_db_run(db, "UPDATE j.draft SET session=?2, quiet=0, opened=?3 WHERE node=?1", "isi",
                  (int64_t)s->e->parent, session, pm_wall_ms());
    else
        pm_db_run(db, "INSERT INTO j.session(account, session) VALUES(?1, ?2)", "is",
                  (int64_t)s->e->account, session);
    err = pm_db_end(db, 0);
    return err || wanted ? err : -ECANCELED;
}

static int open_session(struct pm_send *s, char **out)
{
    char               name[PM_NAME_MAX + 1] = "";
    struct pm_draft_row row;
    PM_AUTO(free) char *options = NULL;
    struct pm_draft    d = {.name = name, .options = ""};
    pm_node            above;
    int                err;

    pm_db_begin(s->cache->db);
    err = pm_draft_get(s->cache->db, s->e->parent, &row);
    if (!err && row.serial != s->serial)
        err = -ECANCELED;
    if (!err)
        err = pm_shown_place(s->cache->db, s->e->parent, &above, name);
    err = pm_db_end(s->cache->db, err);
    if (!err && row.session) {
        *out = row.session;
        row.session = NULL;
    } else if (!err) {
        if (!pm_record_options(s->cache, s->e->parent, &options, NULL, 0))
            d.options = options;
        err = pm_draft_open(s->account->backend, s->ctx, &d);
        if (!err)
            err = keep_session(s, d.session);
        if (!err) {
            *out = d.session;
            d.session = NULL;
        }
        free(d.session);
    }
    pm_draft_row_free(&row);
    return err == -ENOENT ? -ECANCELED : err;
}

int pm_draft_session(struct pm_send *s, struct pm_draft_run *run, char **out)
{
    int err = take_turn(s->cache, run);

    if (err)
        return err;
    err = open_session(s, out);
    end_turn(s->cache, run);
    return err;
}

int pm_draft_root(struct pm_cache *c, pm_node folder, struct pm_entry **out)
{
    pm_node root = 0;
    int     err;

    pm_db_begin(c->db);
    err = pm_shown_place(c->db, folder, &root, NULL);
    if (!err)
        err = pm_node_entry(c->db, root, out);
    return pm_db_end(c->db, err);
}

/* --- sessions that were replaced */

bool pm_draft_doomed(struct pm_cache *c, uint64_t blocked, int64_t *wake_ms, struct pm_doomed *out)
{
    struct sqlite3_stmt *st;
    int64_t              now = pm_wall_ms();
    int64_t              at = PM_J_HELD;

    pm_db_begin(c->db);
    st = pm_db_query(c->db,
                     "SELECT id, account, tries, session, not_before FROM j.session WHERE NOT"
                     " ((?1 >> account) & 1) ORDER BY not_before LIMIT 1",
                     "i", (int64_t)blocked);
    if (pm_db_row(c->db, st)) {
        at = pm_col_int(st, 4);
        if (at <= now)
            *out = (struct pm_doomed){pm_col_int(st, 0), (uint32_t)pm_col_int(st, 1),
                                      (int)pm_col_int(st, 2), pm_col_dup(c->db, st, 3)};
        pm_db_reset(st);
    }
    if (at <= now)
        pm_db_run(c->db, "UPDATE j.session SET not_before=?2 WHERE id=?1", "ii", out->id,
                  now + LEASE_MS);
    if (pm_db_end(c->db, 0)) { /* another time */
        free(at <= now ? out->session : NULL);
        at = now + LEASE_MS;
    }
    if (at <= now)
        return true;
    *wake_ms = at < *wake_ms ? at : *wake_ms;
    return false;
}

static void note_not_dropped(struct pm_db *db, const struct pm_doomed *x, const struct pm_ctx *ctx)
{
    int64_t pause = (int64_t)1000 << (x->tries < 9 ? x->tries : 9);

    pause = pause > PAUSE_MAX_MS ? PAUSE_MAX_MS : pause;
    pause = ctx->retry_ms > pause ? ctx->retry_ms : pause;
    pm_db_run(db, "UPDATE j.session SET not_before=?2, tries=tries+1 WHERE id=?1", "ii", x->id,
              pm_wall_ms() + pause);
}

/* What a late draft's upload left there; `text` as give_session_up wrote it. */
static int abort_upload(struct pm_cache *c, struct pm_account *a, struct pm_ctx *ctx, const char *text)
{
    PM_AUTO(free) struct pm_entry *parent = NULL;
    struct pm_send_step            old = {0};
    struct pm_upload               up = {.name = "", .fd = -1};
    char                          *step = NULL;
    pm_node                        node = (pm_node)strtoull(text, &step, 10);
    int                            err;

    pm_db_begin(c->db);
    err = pm_db_end(c->db, pm_node_entry(c->db, node, &parent));
    if (!err)
        err = pm_send_parse_step(step, &old);
    if (err || !old.text)
        return err == -ENOENT ? -EAGAIN : err; /* it is not listed yet, in a new index */
    up.parent = parent;
    up.state = old.text;
    up.size = old.size;
    err = pm_backend_abort(a->backend, ctx, &up);
    free(up.state);
    return pm_send_refused(err) ? 0 : err; /* it stays, as somebody else's */
}

void pm_draft_drop_doomed(struct pm_cache *c, struct pm_doomed *x)
{
    struct pm_ctx      ctx = {.prio = PM_BACKGROUND, .cancel = &c->stopping};
    struct pm_account *a = pm_account_by_id(c, x->account);
    int                err = !a                          ? -ENXIO
                             : pm_draft_has(a->backend) ? pm_draft_drop(a->backend, &ctx, x->session)
                                                        : abort_upload(c, a, &ctx, x->session);

    pm_db_begin(c->db);
    if (!err || err == -ENOENT || err == -ESTALE)
        pm_db_run(c->db, "DELETE FROM j.session WHERE id=?1", "i", x->id);
    else
        note_not_dropped(c->db, x, &ctx);
    pm_db_end(c->db, 0);
    if (err)
        pm_log(PM_INFO, "a replaced session is not dropped yet: %s", *ctx.why ? ctx.why : strerror(-err));
    free(x->session);
    x->session = NULL;
}
