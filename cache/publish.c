/* What holds a draft up, who asks for it to be published, and forgetting what was. */
#include "cache/draft.h"

#include "cache/draft_files.h"
#include "cache/kept.h"
#include "cache/queue.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SESSION_IDLE_MS (10 * 60 * 1000)
#define LATE_IDLE_MS    (10 * 1000)

/* --- what holds it up */

static bool is_open(struct pm_cache *c, pm_node node, bool to_write)
{
    struct pm_content *k = pm_content_peek(c->store, node);
    bool               open;

    if (!k)
        return false;
    pthread_mutex_lock(&k->lock);
    open = (to_write ? k->writers : k->handles) > 0;
    pthread_mutex_unlock(&k->lock);
    pm_content_put(k);
    return open;
}

bool pm_publish_is_written(struct pm_cache *c, const struct pm_draft_file *k)
{
    return k->state == PM_J_OPEN || (k->state != PM_J_LOCAL && is_open(c, k->node, true));
}

/* Why a draft with these files is not to be published, whoever asks; "": no reason. */
static void find_obstacle(const struct pm_draft_files *x, char *out, size_t size)
{
    *out = '\0';
    for (size_t i = 0; i < x->n && !*out; i++) {
        const struct pm_draft_file *k = &x->f[i];

        if (k->state == PM_J_FAILED)
            snprintf(out, size, "%.100s failed%s%.120s", k->name, k->error ? ": " : "",
                     k->error ? k->error : "");
        else if (k->state == PM_J_INTERRUPTED)
            snprintf(out, size, "%.100s was interrupted", k->name);
        else if (k->state == PM_J_LOCAL && !strcmp(k->name, ".hold"))
            snprintf(out, size, ".hold is in it");
    }
}

/* That, or what is written to: whoever asks waits for it. */
static void find_open(struct pm_cache *c, const struct pm_draft_files *x, char *out, size_t size)
{
    find_obstacle(x, out, size);
    for (size_t i = 0; i < x->n && !*out; i++)
        if (pm_publish_is_written(c, &x->f[i]))
            snprintf(out, size, "%.100s is open", x->f[i].name);
}

/* Why it is not published by itself; "": no reason. */
static void find_hesitation(struct pm_cache *c, const struct pm_draft_files *x, const char *refused,
                            char *out, size_t size)
{
    find_obstacle(x, out, size);
    for (size_t i = 0; i < x->n && !*out; i++) {
        const struct pm_draft_file *k = &x->f[i];

        if (k->state == PM_J_OPEN || (k->state != PM_J_LOCAL && is_open(c, k->node, false)))
            snprintf(out, size, "%.100s is open", k->name);
        else if (k->state != PM_J_LOCAL && pm_name_is_temporary(k->name))
            snprintf(out, size, "%.100s has a temporary name", k->name);
    }
    if (!*out && refused)
        snprintf(out, size, "%.150s; polymount publish makes it without that", refused);
}

/* "9 min", "20 s": rounded up. */
static void tell_time(int64_t ms, char out[32])
{
    int64_t s = ms > 0 ? (ms + 999) / 1000 : 0;

    if (s >= 60)
        snprintf(out, 32, "%lld min", (long long)(s + 59) / 60);
    else
        snprintf(out, 32, "%lld s", (long long)s);
}

/* After so long without a change a draft of the account is published; 0: never by itself. */
static int64_t idle_ms(const struct pm_account *a)
{
    if (!a)
        return 0;
    if (a->conf->publish_idle_ms != PM_PUBLISH_USUAL)
        return a->conf->publish_idle_ms;
    return pm_draft_has(a->backend) ? SESSION_IDLE_MS : LATE_IDLE_MS;
}

/* What a draft whose files are all sent waits for. */
static void tell_wait(struct pm_cache *c, const struct pm_draft_row *row, char *out, size_t size)
{
    int64_t idle = idle_ms(pm_account_by_id(c, row->account));
    char    when[32];

    tell_time(idle - (pm_now_ms() - row->changed), when);
    if (row->wish)
        snprintf(out, size, "publishing");
    else if (idle)
        snprintf(out, size, "draft: publishes in %s", when);
    else
        snprintf(out, size, "draft: complete, polymount publish makes it a project");
}

#define RATE_AFTER_MS (5 * 60 * 1000) /* how fast the uploads go is not known before */

/* Will the session end before all is in it, at the rate until now? Then `out` says so. */
static bool tell_too_slow(struct pm_cache *c, const struct pm_draft_row *row, const struct pm_draft_files *x,
                          char *out, size_t size)
{
    const struct pm_account *a = pm_account_by_id(c, row->account);
    int64_t  ends = a && row->session ? pm_draft_expires_ms(a->backend, row->session) : 0;
    int64_t  ms = pm_wall_ms() - row->opened;
    uint64_t sent = 0;
    uint64_t left = 0;
    char     have[32];
    char     need[32];

    for (size_t i = 0; i < x->n; i++) {
        uint64_t part = 0;
        int64_t  started;

        if (x->f[i].state == PM_J_LOCAL)
            continue;
        if (x->f[i].state == PM_J_SENT)
            part = x->f[i].size;
        else if (x->f[i].state == PM_J_ACTIVE && c->queue)
            pm_queue_sent(c, x->f[i].entry, &part, &started);
        sent += part;
        left += x->f[i].size > part ? x->f[i].size - part : 0;
    }
    if (!ends || !row->opened || ms < RATE_AFTER_MS || !left ||
        (sent && (double)left * (double)ms / (double)sent <= (double)(ends - pm_wall_ms())))
        return false;
    tell_time(ends - pm_wall_ms(), have);
    tell_time(sent ? (int64_t)((double)left * (double)ms / (double)sent) : INT32_MAX, need);
    snprintf(out, size, "waiting: too slow: the rest takes %s, and the service ends the session in %s",
             need, have);
    return true;
}

/* How far a late draft's upload is. */
static void tell_upload(struct pm_cache *c, const struct pm_draft_files *x, char *out, size_t size)
{
    snprintf(out, size, "publishing");
    for (size_t i = 0; i < x->n; i++) {
        uint64_t sent = 0;
        int64_t  started;

        if (x->f[i].state != PM_J_ACTIVE || !c->queue || !pm_queue_sent(c, x->f[i].entry, &sent, &started))
            continue;
        snprintf(out, size, "uploading %d%%", x->f[i].size ? (int)(sent * 100 / x->f[i].size) : 0);
    }
}

static void tell_late(struct pm_cache *c, const struct pm_draft_row *row, const struct pm_draft_files *x,
                      char *out, size_t size)
{
    int64_t idle = idle_ms(pm_account_by_id(c, row->account));
    char    when[32];

    tell_time(idle - (pm_now_ms() - row->changed), when);
    if (row->opened)
        tell_upload(c, x, out, size);
    else if (row->wish)
        snprintf(out, size, "publishing");
    else if (idle)
        snprintf(out, size, "draft: is sent in %s", when);
    else
        snprintf(out, size, "draft: complete, polymount publish sends it");
}

static bool is_late(struct pm_cache *c, uint32_t account)
{
    return !pm_draft_account(c, account);
}

static void tell_draft(struct pm_cache *c, const struct pm_draft_row *row, const struct pm_draft_files *x,
                       char *out, size_t size)
{
    size_t sent = pm_draft_files_in(x, PM_J_SENT);
    char   why[256];

    if (row->wish)
        find_open(c, x, why, sizeof(why));
    else if (is_late(c, row->account) && row->opened)
        find_obstacle(x, why, sizeof(why));
    else
        find_hesitation(c, x, row->refused, why, sizeof(why));
    if (*why)
        snprintf(out, size, "waiting: %s", why);
    else if (!pm_draft_files_count(x))
        snprintf(out, size, "draft: empty");
    else if (is_late(c, row->account))
        tell_late(c, row, x, out, size);
    else if (sent < pm_draft_files_count(x) && !tell_too_slow(c, row, x, out, size))
        snprintf(out, size, "%s: %zu of %zu files sent", row->wish ? "publishing" : "draft", sent,
                 pm_draft_files_count(x));
    else if (sent == pm_draft_files_count(x))
        tell_wait(c, row, out, size);
}

void pm_publish_state(struct pm_cache *c, pm_node folder, char *out, size_t size)
{
    PM_AUTO(free) char *step = NULL;
    struct pm_draft_files     x = {0};
    struct pm_draft_row row = {0};
    struct pm_jentry    e = {.id = 0};
    char                error[256] = "";
    int                 err;

    pm_db_begin(c->db);
    err = pm_draft_get(c->db, folder, &row);
    if (!err)
        err = pm_journal_of(c->db, folder, PM_OP_PUBLISH, &e);
    if (!err) {
        struct sqlite3_stmt *st =
            pm_db_query(c->db, "SELECT error FROM j.entry WHERE id=?1", "i", e.id);

        if (pm_db_row(c->db, st)) {
            pm_col_copy(st, 0, error, sizeof(error));
            pm_db_reset(st);
        }
        step = pm_journal_step(c->db, e.id);
        err = pm_draft_files_get(c->db, folder, &x);
    }
    pm_db_end(c->db, 0);
    if (err)
        *out = '\0';
    else if (e.state == PM_J_FAILED)
        snprintf(out, size, "failed: %s", *error ? error : "no reason given");
    else if (*error && e.not_before != PM_J_HELD)
        snprintf(out, size, "waiting: %s", error);
    else if (step || e.state == PM_J_ACTIVE)
        snprintf(out, size, "publishing");
    else
        tell_draft(c, &row, &x, out, size);
    pm_draft_files_free(&x);
    pm_draft_row_free(&row);
}

/* --- by itself */

/* Nothing happened since it was looked at. In a transaction. */
static int make_due(struct pm_cache *c, pm_node folder, int64_t changed)
{
    return pm_db_run(c->db,
                     "UPDATE j.entry SET not_before=0 WHERE node=?1 AND op=5 AND state=2 AND"
                     " (SELECT changed FROM j.draft WHERE node=?1)=?2",
                     "ii", (int64_t)folder, changed);
}

static void publish_if_idle(struct pm_cache *c, pm_node folder)
{
    struct pm_draft_files     x = {0};
    struct pm_draft_row row = {0};
    char                why[256];
    int                 err;

    pm_db_begin(c->db);
    err = pm_draft_get(c->db, folder, &row);
    if (!err)
        err = pm_draft_files_get(c->db, folder, &x);
    err = pm_db_end(c->db, err); /* what could not be read may be a reason not to */
    if (!err && pm_draft_files_count(&x) && pm_draft_files_in(&x, PM_J_SENT) == pm_draft_files_count(&x)) {
        find_hesitation(c, &x, row.refused, why, sizeof(why));
        if (!*why) {
            pm_db_begin(c->db);
            err = pm_db_end(c->db, make_due(c, folder, row.changed));
            pm_queue_kick(c);
        }
    }
    pm_draft_files_free(&x);
    pm_draft_row_free(&row);
}

void pm_publish_tick(struct pm_cache *c)
{
    if (!pm_draft_refusals_written(c))
        return; /* who knows of which draft something is missing */
    for (size_t i = 0; i < c->naccounts; i++) {
        int64_t idle = idle_ms(&c->accounts[i]);
        pm_node folder = 0;

        if (!idle || !pm_draft_may(c, c->accounts[i].id))
            continue;
        do {
            pm_db_begin(c->db);
            folder = (pm_node)pm_db_int(
                c->db, 0,
                "SELECT min(d.node) FROM j.draft d JOIN j.entry e ON e.node=d.node AND e.op=5 WHERE"
                " d.account=?1 AND d.node>?2 AND NOT d.wish AND d.changed<=?3 AND e.state=2 AND"
                " e.not_before=?4",
                "iiii", (int64_t)c->accounts[i].id, (int64_t)folder, pm_now_ms() - idle, PM_J_HELD);
            pm_db_end(c->db, 0);
            if (folder)
                publish_if_idle(c, folder);
        } while (folder);
    }
}

/* --- asked for */

/* In a transaction. */
static int note_wish(struct pm_db *db, pm_node folder)
{
    pm_db_run(db, "UPDATE j.draft SET wish=1, refused=NULL WHERE node=?1", "i", (int64_t)folder);
    pm_db_run(db, "UPDATE node SET error=NULL WHERE id=?1", "i", (int64_t)folder);
    pm_db_run(db,
              "UPDATE j.entry SET state=2, not_before=0, tries=0, error=NULL WHERE node=?1 AND op=5"
              " AND state IN (2, 4)",
              "i", (int64_t)folder);
    return pm_db_run(db,
                     "UPDATE j.entry SET not_before=0 WHERE parent=?1 AND op=1 AND state=2 AND"
                     " not_before<>?2",
                     "ii", (int64_t)folder, PM_J_HELD);
}

/* In a transaction: may it be wished? */
static int check_wish(struct pm_cache *c, pm_node folder, struct pm_buf *why)
{
    struct pm_jentry e;
    struct pm_row    row;
    struct pm_draft_files  x = {0};
    char             obstacle[256];
    int              err = pm_node_get(c->db, folder, &row);

    if (err == -ENOENT)
        row = (struct pm_row){.id = 0};
    else if (err)
        return err;
    if (err || pm_journal_of(c->db, folder, PM_OP_PUBLISH, &e)) {
        bool was = !err && row.kind == PM_FOLDER && *row.rid &&
                   (pm_draft_account(c, row.account) || (row.own && pm_draft_may(c, row.account)));

        pm_buf_str(why, was ? "it is published already" : "it is no draft");
        return was ? -EEXIST : -EINVAL;
    }
    err = pm_draft_files_get(c->db, folder, &x);
    if (!err) {
        find_obstacle(&x, obstacle, sizeof(obstacle));
        if (*obstacle)
            err = -EBUSY;
        else if (!pm_draft_files_count(&x))
            err = -ENODATA;
        pm_buf_str(why, *obstacle ? obstacle : err ? "there is nothing in it" : "");
    }
    pm_draft_files_free(&x);
    return err;
}

/* The next late draft above `after`; 0: no more. In a transaction. */
static pm_node next_late(struct pm_cache *c, pm_node after)
{
    do {
        after = (pm_node)pm_db_int(c->db, 0, "SELECT min(node) FROM j.draft WHERE node>?1", "i",
                                   (int64_t)after);
    } while (after && pm_draft_spot(c, after) != PM_SPOT_LATE);
    return after;
}

void pm_publish_late_now(struct pm_cache *c, pm_node node)
{
    pm_node folder = 0;

    if (!pm_draft_any(c))
        return;
    do {
        PM_AUTO(pm_buf) struct pm_buf why = {0};

        pm_db_begin(c->db);
        folder = next_late(c, folder);
        if (folder && (node <= PM_NODE_ROOT || pm_shown_below(c->db, folder, node) ||
                       pm_shown_below(c->db, node, folder)) &&
            !check_wish(c, folder, &why))
            note_wish(c->db, folder);
        pm_db_end(c->db, 0);
    } while (folder);
    pm_queue_kick(c);
}

int pm_publish(struct pm_cache *c, pm_node folder, struct pm_buf *why)
{
    int err;

    pm_db_begin(c->db);
    err = check_wish(c, folder, why);
    err = pm_db_end(c->db, err ? err : note_wish(c->db, folder));
    pm_queue_kick(c);
    return err;
}

/* It is not to be published any more because of this wish. In a transaction. */
static int forget_wish(struct pm_db *db, pm_node folder)
{
    pm_db_run(db, "UPDATE j.draft SET wish=0 WHERE node=?1", "i", (int64_t)folder);
    return pm_db_run(db,
                     "UPDATE j.entry SET not_before=?2 WHERE node=?1 AND op=5 AND state=2 AND step IS"
                     " NULL",
                     "ii", (int64_t)folder, PM_J_HELD);
}

/* How far it is: 0 published; -EINPROGRESS; or why it will not be, in words, too. */
static int look_how_far(struct pm_cache *c, pm_node folder, char *why, size_t size)
{
    struct pm_jentry  e = {.id = 0};
    struct pm_row     row = {.id = 0};
    struct pm_draft_files   x = {0};
    struct pm_account *a;
    int               err;

    *why = '\0';
    pm_db_begin(c->db);
    err = pm_node_get(c->db, folder, &row);
    if (!err)
        err = pm_journal_of(c->db, folder, PM_OP_PUBLISH, &e);
    if (!err)
        err = pm_draft_files_get(c->db, folder, &x);
    err = pm_db_end(c->db, err);
    if (err)
        pm_draft_files_free(&x);
    if (err == -ENOENT)
        return *row.rid ? 0 : -ENOENT;
    if (err)
        return err;
    find_obstacle(&x, why, size);
    a = pm_account_by_id(c, row.account);
    err = *why ? -EIO : -EINPROGRESS;
    if (!*why && e.state == PM_J_FAILED) {
        pm_publish_state(c, folder, why, size);
        err = -EIO;
    } else if (!*why && !a) {
        err = -ENXIO;
    } else if (!*why && pm_backend_doubt(a->backend, why, size, NULL)) {
        err = -EACCES;
    }
    pm_draft_files_free(&x);
    return err;
}

int pm_publish_wait(struct pm_cache *c, pm_node folder, bool (*progress)(void *arg, const char *line),
                    void *arg, struct pm_buf *out)
{
    int64_t said = 0;
    char    words[300];
    int     err;

    while ((err = look_how_far(c, folder, words, sizeof(words))) == -EINPROGRESS) {
        if (c->stopping)
            return -EINTR;
        if (pm_now_ms() - said >= 500) {
            said = pm_now_ms();
            pm_publish_state(c, folder, words, sizeof(words));
            if (progress && !progress(arg, words))
                return -EINTR;
        }
        pm_queue_pass(c, 250);
    }
    if (!err)
        return 0;
    pm_buf_str(out, words);
    pm_db_begin(c->db);
    pm_db_end(c->db, forget_wish(c->db, folder));
    return err;
}

/* --- forgetting */

bool pm_draft_is_forgotten(struct pm_db *db, uint32_t account, const char *rid)
{
    return pm_db_int(db, 0, "SELECT 1 FROM j.forgotten WHERE account=?1 AND rid=?2", "is",
                     (int64_t)account, rid) != 0;
}

/* In a transaction. */
static int forget(struct pm_cache *c, const struct pm_row *row, struct pm_buf *why)
{
    struct pm_db *db = c->db;

    if (pm_draft_spot(c, row->id) != PM_SPOT_PUBLISHED || row->kind != PM_FOLDER || !*row->rid) {
        pm_buf_str(why, "only what was published can be forgotten; anything else can be removed");
        return -EINVAL;
    }
    if (pm_kept_has(db, row->id)) {
        pm_buf_str(why, "the files in it cannot be had again; drop them first: polymount evict"
                        " --last-copy");
        return -EBUSY;
    }
    pm_db_run(db, "DELETE FROM j.folder WHERE id=?1", "i", (int64_t)row->id); /* a new index, too */
    pm_db_run(db, "DELETE FROM record WHERE folder=?1", "i", (int64_t)row->id);
    pm_db_run(db, "INSERT OR IGNORE INTO j.forgotten(account, rid) VALUES(?1, ?2)", "is",
              (int64_t)row->account, row->rid);
    while (pm_db_int(db, 0, "SELECT 1 FROM j.entry WHERE parent=?1 AND state=5", "i",
                     (int64_t)row->id))
        pm_journal_drop(db, pm_db_int(db, 0, "SELECT id FROM j.entry WHERE parent=?1 AND state=5",
                                      "i", (int64_t)row->id));
    return pm_node_detach(db, row->id);
}

int pm_publish_forget(struct pm_cache *c, pm_node folder, struct pm_buf *why)
{
    PM_AUTO(free) struct pm_entry *e = NULL;
    char          name[PM_NAME_MAX + 1] = "";
    struct pm_row row;
    pm_node       root = 0;
    int           err;

    pm_db_begin(c->db);
    err = pm_node_get(c->db, folder, &row);
    if (err == -ENOENT)
        row = (struct pm_row){.id = 0}; /* the mount point */
    else if (!err)
        err = pm_node_entry(c->db, folder, &e);
    pm_shown_place(c->db, folder, &root, name);
    err = pm_db_end(c->db, err && err != -ENOENT ? err : forget(c, &row, why));
    if (!err && e) {
        pm_tell_entry(c, root, name);
        pm_tell_entry(c, root, e->name); /* the links to it (link.h) */
        pm_tell_entry(c, root, e->id);
        pm_tell_node(c, root, true);
    }
    return err;
}
