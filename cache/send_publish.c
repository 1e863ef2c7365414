/* Carrying a PUBLISH out. It is sent when every file is SENT. What the session has is compared once. Then
 * "commit asked" is stored as the entry's step, and is on the disk, before the service is asked: from then
 * on nothing in the folder changes until it is known what came of it, and no second commit is sent before
 * `find` says that there was none. */
#include "cache/draft.h"

#include "cache/draft_files.h"
#include "cache/durable.h"
#include "cache/kept.h"
#include "cache/label.h"
#include "cache/list.h"
#include "cache/merge.h"
#include "cache/record.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ASKED "asked " /* the step begins so: a commit may have been sent; what `look` told follows */

struct publish {
    struct pm_send     *s;
    struct pm_draft_row row;
    struct pm_draft     d;
    char               *link; /* owned */
    char               *options; /* owned */
    char               *before; /* owned; what was there before a commit that may have been sent; NULL: none */
};

bool pm_publish_is_held(struct pm_db *db, pm_node folder)
{
    return pm_db_int(db, 0,
                     "SELECT NOT EXISTS (SELECT 1 FROM j.entry WHERE parent=?1 AND op=1 AND state<>5) OR"
                     " EXISTS (SELECT 1 FROM j.entry WHERE parent=?1 AND op=1 AND name='.hold')",
                     "i", (int64_t)folder) != 0;
}

int pm_publish_put_off(struct pm_send *s, int64_t pause_ms)
{
    struct pm_db    *db = s->cache->db;
    struct pm_jentry e;
    int              err = 0;

    pm_db_begin(db);
    if (!pm_journal_get(db, s->e->id, &e)) {
        struct pm_draft_row row;

        if (e.state == PM_J_ACTIVE)
            e.state = PM_J_READY;
        e.sending = false;
        if (!pm_draft_get(db, e.node, &row))
            e.not_before = !row.wish || pm_publish_is_held(db, e.node) ? PM_J_HELD
                           : pause_ms                          ? pm_wall_ms() + pause_ms
                                                               : 0;
        pm_draft_row_free(&row);
        err = pm_journal_update(db, &e);
    }
    return pm_db_end(db, err);
}

static int put_off(struct publish *p)
{
    return pm_publish_put_off(p->s, 0);
}

static int replace_and_put_off(struct publish *p, enum pm_session_end why)
{
    struct pm_cache *c = p->s->cache;
    int              err;

    pm_db_begin(c->db);
    err = pm_db_end(c->db, pm_draft_replace(c, p->s->e->node, why));
    return err ? err : put_off(p);
}

static int set_asked(struct publish *p, const char *step)
{
    struct pm_db *db = p->s->cache->db;

    pm_db_begin(db);
    return pm_db_end(db, pm_journal_set_step(db, p->s->e->id, step));
}

/* --- what the session has */

struct held {
    struct pm_draft_files  x;
    size_t           strange; /* files that are not ours */
};

static int compare_sent(const void *a, const void *b)
{
    const struct pm_draft_file *x = a;
    const struct pm_draft_file *y = b;

    return strcasecmp(x->sent ? x->sent : "", y->sent ? y->sent : "");
}

static int take_held(void *arg, const char *name, uint64_t received, uint64_t total, bool complete)
{
    struct held  *h = arg;
    struct pm_draft_file  key = {.sent = (char *)name};
    struct pm_draft_file *k = bsearch(&key, h->x.f, h->x.n, sizeof(key), compare_sent);

    (void)received;
    if (!k)
        h->strange++;
    else
        k->held = complete && total == k->size;
    return 0;
}

/* What the session lacks is to be sent again. In a transaction; *lacking counts. */
static int send_again(struct publish *p, const struct pm_draft_files *x, size_t *lacking)
{
    struct pm_db *db = p->s->cache->db;

    for (size_t i = 0; i < x->n; i++) {
        if (x->f[i].state != PM_J_SENT || x->f[i].held)
            continue;
        if (!p->row.again)
            pm_db_run(db, "UPDATE j.entry SET state=2, not_before=0 WHERE id=?1 AND state=8", "i",
                      x->f[i].entry);
        else if (!*lacking)
            snprintf(p->s->ctx->why, sizeof(p->s->ctx->why),
                     "the service lacks %.100s, though it was sent twice", x->f[i].name);
        ++*lacking;
    }
    if (!*lacking)
        return 0;
    return pm_db_run(db, "UPDATE j.draft SET again=?2 WHERE node=?1", "ii", (int64_t)p->s->e->node,
                     (int64_t)!p->row.again);
}

/* 0: it has all, and nothing else. -EAGAIN: that was put off. */
static int compare_held(struct publish *p)
{
    struct pm_cache *c = p->s->cache;
    struct held      h = {.strange = 0};
    size_t           lacking = 0;
    int              err;

    pm_db_begin(c->db);
    err = pm_db_end(c->db, pm_draft_files_get(c->db, p->s->e->node, &h.x));
    if (err)
        return err;
    if (h.x.n)
        qsort(h.x.f, h.x.n, sizeof(*h.x.f), compare_sent);
    err = pm_draft_held(p->s->account->backend, p->s->ctx, p->row.session, take_held, &h);
    if (err == -ESTALE || (!err && h.strange)) {
        err = replace_and_put_off(p, err ? PM_SESSION_GONE : PM_SESSION_SPOILT);
        err = err ? err : -EALREADY;
    } else if (!err) {
        pm_db_begin(c->db);
        err = pm_db_end(c->db, send_again(p, &h.x, &lacking));
        if (!err && lacking && p->row.again)
            err = -EBADMSG;
        else if (!err && lacking)
            err = put_off(p) ? -EIO : -EALREADY;
    }
    pm_draft_files_free(&h.x);
    return err;
}

/* --- the commit */

bool pm_publish_is_ready(struct pm_send *s, const struct pm_draft_row *row)
{
    struct pm_db       *db = s->cache->db;
    struct pm_draft_row now;
    struct pm_jentry    e;
    bool                same = !pm_draft_get(db, s->e->node, &now) &&
                !pm_journal_get(db, s->e->id, &e) && e.state == PM_J_ACTIVE &&
                now.serial == row->serial && now.changed == row->changed;

    pm_draft_row_free(&now);
    return same && !pm_db_int(db, 0,
                              "SELECT 1 FROM j.entry WHERE parent=?1 AND op=1 AND state NOT IN (5, 8)"
                              " LIMIT 1",
                              "i", (int64_t)s->e->node);
}

/* What is stored through a mapping is told to nobody before it is written back, which could be too late. */
bool pm_publish_has_writer(struct pm_send *s)
{
    struct pm_cache      *c = s->cache;
    struct pm_draft_files x = {0};
    bool                  written = false;
    int                   err;

    pm_db_begin(c->db);
    err = pm_db_end(c->db, pm_draft_files_get(c->db, s->e->node, &x));
    for (size_t i = 0; i < x.n && !written; i++)
        written = pm_publish_is_written(c, &x.f[i]);
    pm_draft_files_free(&x);
    return err || written;
}

/* From here on nothing in the folder changes. -EALREADY: something did before. */
static int ask(struct publish *p)
{
    struct pm_cache    *c = p->s->cache;
    PM_AUTO(free) char *before = NULL;
    PM_AUTO(free) char *step = NULL;
    bool                ready;
    int                 err = pm_era_sync(c->store); /* soon nobody can send it again */

    if (!err && pm_publish_has_writer(p->s))
        return pm_publish_put_off(p->s, PM_PUBLISH_WRITER_MS) ? -EIO : -EALREADY;
    if (!err)
        err = pm_draft_look(p->s->account->backend, p->s->ctx, &p->d, &before);
    if (err)
        return err;
    step = pm_asprintf(ASKED "%s", before);
    if (!step)
        return -ENOMEM;
    pm_db_begin(c->db);
    ready = pm_publish_is_ready(p->s, &p->row);
    if (ready)
        err = pm_journal_set_step(c->db, p->s->e->id, step);
    err = pm_db_end(c->db, err);
    if (!err && !ready)
        err = put_off(p) ? -EIO : -EALREADY;
    return err ? err : pm_db_sync(c->db);
}

/* The files are the published folder's, and what is here are their last copies: made durable before the
 * commit. In a transaction. */
static int fold_file(struct pm_db *db, pm_node folder, const struct pm_draft_file *k)
{
    struct pm_jentry put;
    int              err = pm_journal_get(db, k->entry, &put);

    if (err)
        return err;
    pm_db_run(db,
              "UPDATE node SET rid=NULL, version='', own=1, error=NULL, size=?2, rsize=?2, mtime="
              "ifnull(lmtime/1000000, mtime), state='' WHERE id=?1",
              "ii", (int64_t)k->node, (int64_t)k->size);
    pm_db_run(db, "DELETE FROM j.dirty WHERE content=?1", "i", k->content);
    pm_db_run(db,
              "UPDATE content SET version='', size=0, validator='', origin=NULL, era=0, present=NULL"
              " WHERE id=?1",
              "i", k->content);
    err = pm_kept_add(db, &put, k->size, NULL, "",
                      pm_db_int(db, 0, "SELECT lmtime FROM node WHERE id=?1", "i", (int64_t)k->node));
    if (!err)
        err = pm_node_place(db, k->node, folder, k->name, k->name);
    return err ? err : pm_journal_finish(db, k->entry);
}

/* What the user wanted is shown until the service's word comes. In a transaction. */
static int fold_record(struct pm_db *db, const struct pm_draft_file *k)
{
    PM_AUTO(free) void *present = NULL;
    struct pm_ranges    all = {0};
    int64_t             len = pm_ranges_add(&all, 0, PM_RANGE_MAX);

    if (!len)
        len = pm_ranges_save(&all, &present);
    pm_ranges_free(&all);
    if (len < 0)
        return (int)len;
    pm_db_run(db, "UPDATE node SET version='', own=1, error=NULL WHERE id=?1", "i", (int64_t)k->node);
    pm_db_run(db, "DELETE FROM j.dirty WHERE content=?1", "i", k->content);
    pm_db_run(db,
              "UPDATE content SET version='', size=(SELECT n.size FROM node n WHERE n.id=content.node),"
              " present=?2, origin=-1 WHERE id=?1",
              "ib", k->content, present, (size_t)len);
    return pm_journal_finish(db, k->entry);
}

static int fold_all(struct publish *p, const struct pm_entry *now, const char *rid,
                    const struct pm_draft_files *x)
{
    struct pm_db *db = p->s->cache->db;
    pm_node       folder = p->s->e->node;
    pm_node       record = 0;
    int           err = pm_send_fold(db, p->s->e, now, rid);

    pm_db_run(db, "UPDATE node SET own=1, error=NULL WHERE id=?1", "i", (int64_t)folder);
    pm_db_run(db, "INSERT OR REPLACE INTO list(node, fetched) VALUES(?1, ?2)", "ii",
              (int64_t)folder, pm_wall_ms());
    for (size_t i = 0; i < x->n && !err; i++) {
        bool is_record = x->f[i].state == PM_J_LOCAL && !strcmp(x->f[i].name, PM_RECORD_NAME);

        if (is_record) {
            record = x->f[i].node;
            err = fold_record(db, &x->f[i]);
        } else if (x->f[i].state == PM_J_SENT) {
            err = fold_file(db, folder, &x->f[i]);
        }
    }
    if (!err)
        err = pm_record_make(db, p->s->e->account, folder, record);
    pm_journal_remember(db, folder);
    if (!err)
        err = pm_draft_end(db, folder, p->d.session != NULL);
    return err ? err : pm_journal_finish(db, p->s->e->id);
}

static void tell_published(struct pm_cache *c, const struct pm_jentry *e, const struct pm_draft_files *x)
{
    for (size_t i = 0; i < x->n; i++) {
        struct pm_content *k;

        if (x->f[i].state != PM_J_SENT || pm_content_get(c->store, x->f[i].node, &k))
            continue;
        pthread_mutex_lock(&k->lock);
        pm_label_sent_locked(k);
        pthread_mutex_unlock(&k->lock);
        pm_content_put(k);
        pm_tell_node(c, x->f[i].node, false);
    }
    pm_tell_node(c, e->node, false);
}

/* It is the thing `now` from here on. */
static int fold(struct publish *p, const struct pm_entry *now)
{
    struct pm_cache *c = p->s->cache;
    struct pm_draft_files  x = {0};
    char             rid[PM_NAME_MAX + 1];
    int              err = pm_merge_rid(now, rid);

    if (err)
        return err;
    pm_list_touch(c, p->s->e->parent, rid);
    pm_db_begin(c->db);
    err = pm_draft_files_get(c->db, p->s->e->node, &x);
    err = pm_db_end(c->db, err ? err : fold_all(p, now, rid, &x));
    if (!err) {
        pm_log(PM_INFO, "%s is published as %s", p->s->e->name, now->name);
        tell_published(c, p->s->e, &x);
        pm_record_refresh(c, p->s->e->node);
    }
    pm_draft_files_free(&x);
    return err;
}

/* Did a commit whose answer was lost make something? 0: that is folded in. -ENOENT: certainly not. */
static int find_lost(struct publish *p)
{
    PM_AUTO(free) struct pm_entry *now = NULL;
    int err = pm_draft_find(p->s->account->backend, p->s->ctx, &p->d, p->before, &now);

    if (err)
        return err;
    err = fold(p, now);
    return err == -ENOENT ? -EIO : err; /* of that there certainly is one */
}

/* Is it unknown what came of a commit that ended so? */
static bool is_unknown(int err)
{
    return err == -EAGAIN || err == -EIO || err == -ETIMEDOUT || err == -ECANCELED || err == -ENOMEM;
}

static int commit(struct publish *p)
{
    PM_AUTO(free) struct pm_entry *now = NULL;
    int                            err = ask(p);

    if (err)
        return err == -EALREADY ? 0 : err;
    err = pm_draft_commit(p->s->account->backend, p->s->ctx, &p->d, &now);
    if (!err)
        return fold(p, now);
    if (is_unknown(err))
        return err;
    if (set_asked(p, NULL))
        return -EIO;
    if (err == -ESTALE)
        return replace_and_put_off(p, PM_SESSION_GONE);
    if (err == -ENOENT)
        return -EPROTO;
    if (err == -ENODATA) /* though it has all that we know of: once more, then the user is asked */
        return p->s->e->tries ? -EBADMSG : -EIO;
    return err;
}

static int carry_out(struct publish *p)
{
    int err = p->before ? find_lost(p) : -ENOENT;

    if (err != -ENOENT)
        return err;
    if (p->before && (err = set_asked(p, NULL)) != 0)
        return err;
    if (!p->row.session && !p->link)
        return replace_and_put_off(p, PM_SESSION_UNWANTED);
    err = p->link ? 0 : compare_held(p);
    if (err)
        return err == -EALREADY ? 0 : err;
    return commit(p);
}

/* What is known of it here. 0, or -ENOENT: it is no draft any more. */
static int read_publish(struct publish *p, size_t *files, bool *held)
{
    struct pm_send       *s = p->s;
    struct pm_draft_files x = {0};
    PM_AUTO(free) char   *step = NULL;
    int                   err;

    pm_db_begin(s->cache->db);
    err = pm_draft_get(s->cache->db, s->e->node, &p->row);
    if (!err)
        err = pm_draft_files_get(s->cache->db, s->e->node, &x);
    step = pm_journal_step(s->cache->db, s->e->id);
    *held = pm_publish_is_held(s->cache->db, s->e->node);
    err = pm_db_end(s->cache->db, err);
    *files = pm_draft_files_count(&x);
    pm_draft_files_free(&x);
    if (!err && step && !(p->before = strdup(step + (strncmp(step, ASKED, strlen(ASKED))
                                                         ? strlen(step) : strlen(ASKED)))))
        err = -ENOMEM;
    if (!err)
        err = pm_draft_link(s->cache, s->e->node, &p->link);
    if (!err)
        err = pm_record_options(s->cache, s->e->node, &p->options, s->ctx->why, sizeof(s->ctx->why));
    return err;
}

int pm_send_publish(struct pm_send *s)
{
    struct publish p = {.s = s};
    size_t         files;
    bool           held;
    int            err;

    if (!pm_draft_has(s->account->backend))
        return pm_publish_late(s);
    err = read_publish(&p, &files, &held);
    p.d = (struct pm_draft){.name = s->e->name, .options = p.options ? p.options : "",
                            .link = p.link, .files = p.link ? 0 : files,
                            .session = p.link ? NULL : p.row.session};
    if (!err && !p.before && held)
        err = put_off(&p);
    else if (!err)
        err = carry_out(&p);
    free(p.before);
    free(p.link);
    free(p.options);
    pm_draft_row_free(&p.row);
    return err == -ENOENT ? -ECANCELED : err;
}
