/* Late drafts: folders made where drops are taken. Nothing of one is sent before its commit; that is the
 * upload of its one file with what the user wants of it (its document, PM_PARTICULARS) as options.
 *
 *   gathering   draft.opened 0. A file that was closed becomes SENT without a request, any number of them.
 *   asked       the PUBLISH is due (idle, or wished for): one file and particulars that the service takes,
 *               or the PUBLISH has FAILED until something changes in the folder.
 *   committing  draft.opened is set. The file's PUT is READY again and carried out by the steps of any
 *               upload, which a crash goes on with. A change in the folder ends this (pm_draft_replace): the
 *               step goes to table `session`, to be aborted there, and all is gathered anew.
 *   committed   one transaction: the folder is the thing, its file and the service's document are bound
 *               to it, PUBLISH and row go. The user's document goes from the disk: what is secret in it is
 *               the service's now.
 *
 * A thing that the service has complete, and this drive does not know as the folder's yet, is found by the
 * step: finish() is asked again, until the folder was folded in or the step is aborted. */
#include "cache/draft.h"

#include "cache/change.h"
#include "cache/draft_files.h"
#include "cache/fetch.h"
#include "cache/list.h"
#include "cache/merge.h"
#include "cache/queue.h"
#include "cache/record.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* --- what the user wants of it */

static int read_options(struct pm_send *s, pm_node folder, const struct pm_entry *drops, char **out)
{
    char why[200] = "";
    int  err = pm_record_options(s->cache, folder, out, s->ctx->why, sizeof(s->ctx->why));

    if (err)
        return err;
    err = pm_backend_check_options(s->account->backend, drops, *out, why, sizeof(why));
    if (err)
        snprintf(s->ctx->why, sizeof(s->ctx->why), PM_PARTICULARS ": %s", *why ? why : strerror(-err));
    return err;
}

/* --- asked */

/* The one file to be sent. 0; -EAGAIN: there is none yet; -EINVAL: there are several, or nothing is in it. */
static int choose_file(const struct pm_draft_files *x, const struct pm_draft_file **out, char *why,
                       size_t size)
{
    *out = NULL;
    for (size_t i = 0; i < x->n; i++) {
        if (x->f[i].state != PM_J_SENT || pm_name_is_temporary(x->f[i].name))
            continue;
        if (*out) {
            snprintf(why, size, "there are two files to be sent in it, %.80s and %.80s: only one can be",
                     (*out)->name, x->f[i].name);
            return -EINVAL;
        }
        *out = &x->f[i];
    }
    if (*out && !(*out)->size) {
        snprintf(why, size, "%.100s is empty: nothing is made of it", (*out)->name);
        return -EINVAL;
    }
    return *out ? 0 : -EAGAIN;
}

/* In a transaction: the file is sent from here on. */
static int set_committing(struct pm_send *s, const struct pm_draft_file *file)
{
    struct pm_db    *db = s->cache->db;
    struct pm_jentry e;
    int              err = pm_journal_get(db, s->e->id, &e);

    if (err)
        return err;
    pm_db_run(db, "UPDATE j.draft SET opened=?2 WHERE node=?1", "ii", (int64_t)s->e->node, pm_wall_ms());
    pm_db_run(db,
              "UPDATE j.entry SET state=2, not_before=0, tries=0, error=NULL WHERE id=?1 AND state=8", "i",
              file->entry);
    e.state = PM_J_READY;
    e.not_before = PM_J_HELD; /* it goes with the file */
    e.sending = false;
    e.tries = 0;
    pm_journal_error(db, e.id, NULL);
    return pm_journal_update(db, &e);
}

static int ask(struct pm_send *s, const struct pm_draft_row *row, const struct pm_draft_file *file)
{
    struct pm_db *db = s->cache->db;
    bool          ready;
    int           err = 0;

    if (pm_publish_has_writer(s))
        return pm_publish_put_off(s, PM_PUBLISH_WRITER_MS);
    pm_db_begin(db);
    ready = pm_publish_is_ready(s, row);
    if (ready)
        err = set_committing(s, file);
    err = pm_db_end(db, err);
    if (!err && !ready)
        return pm_publish_put_off(s, 0);
    if (!err)
        pm_queue_kick(s->cache);
    return err;
}

int pm_publish_late(struct pm_send *s)
{
    PM_AUTO(free) struct pm_entry *drops = NULL;
    const struct pm_draft_file    *file = NULL;
    struct pm_draft_files          x = {0};
    struct pm_draft_row            row = {0};
    char                          *options = NULL;
    bool                           held;
    int                            err;

    pm_db_begin(s->cache->db);
    err = pm_draft_get(s->cache->db, s->e->node, &row);
    if (!err)
        err = pm_draft_files_get(s->cache->db, s->e->node, &x);
    held = pm_publish_is_held(s->cache->db, s->e->node);
    err = pm_db_end(s->cache->db, err);
    if (!err && !held)
        err = choose_file(&x, &file, s->ctx->why, sizeof(s->ctx->why));
    if ((!err && held) || err == -EAGAIN) {
        err = pm_publish_put_off(s, PM_PUBLISH_WRITER_MS);
    } else if (!err) {
        err = pm_draft_root(s->cache, s->e->node, &drops);
        if (!err)
            err = read_options(s, s->e->node, drops, &options);
        if (!err)
            err = ask(s, &row, file);
    }
    pm_record_free_options(options);
    pm_draft_files_free(&x);
    pm_draft_row_free(&row);
    return err == -ENOENT ? -ECANCELED : err;
}

/* --- committed */

/* What is known of a draft when its file's turn comes. */
struct draft {
    pm_node above; /* the folder that it is in */
    char    name[PM_NAME_MAX + 1];
    bool    committing;
};

struct thing {
    const struct pm_entry *now; /* borrowed; the folder */
    struct pm_entry       *file, *document; /* owned; NULL: not there */
    char                   rid[PM_NAME_MAX + 1]; /* of the folder */
    const char            *name; /* borrowed; that the folder has there */
    const char            *file_name; /* borrowed */
    struct pm_jentry       publish;
    pm_node                old_document; /* the user's; 0: none */
};

static int replace_entry(struct pm_entry **to, const struct pm_entry *e)
{
    free(*to);
    *to = pm_entry_dup(e);
    return *to ? 0 : -ENOMEM;
}

/* The folder's file and document; of several files the one that has the name. */
static int take_part(void *arg, const struct pm_entry *e)
{
    struct thing *t = arg;

    if (e->kind == PM_DOCUMENT && !strcmp(e->name, PM_PARTICULARS))
        return replace_entry(&t->document, e);
    if (e->kind == PM_FILE && (!t->file || !strcmp(e->name, t->file_name)))
        return replace_entry(&t->file, e);
    return 0;
}

/* The service's document takes the place of the user's. */
static int fold_document(struct pm_db *db, const struct pm_jentry *publish, struct thing *t)
{
    char            rid[PM_NAME_MAX + 1];
    struct pm_entry described;
    int64_t         entry;
    pm_node         node;
    int             err;

    entry = pm_db_int(db, 0, "SELECT id FROM j.entry WHERE parent=?1 AND name=?2 AND op=1 AND state=5", "is",
                      (int64_t)publish->node, PM_PARTICULARS);
    t->old_document = (pm_node)pm_db_int(db, 0, "SELECT node FROM j.entry WHERE id=?1", "i", entry);
    err = entry ? pm_journal_drop(db, entry) : 0;
    if (err || !t->document)
        return err;
    err = pm_merge_rid(t->document, rid);
    node = err ? 0 : pm_node_by_rid(db, publish->account, rid);
    if (!err && !node)
        err = pm_node_make(db, publish->account, PM_DOCUMENT, NULL, &node);
    if (err)
        return err;
    described = *t->document;
    described.id = rid;
    err = pm_node_describe(db, node, &described);
    return err ? err : pm_node_place(db, node, publish->node, PM_PARTICULARS, t->document->name);
}

/* In the transaction that confirms the file: is all as it was sent? */
static int check_unchanged(struct pm_send *s, struct thing *t, int64_t gen)
{
    struct pm_db       *db = s->cache->db;
    char                name[PM_NAME_MAX + 1];
    struct pm_draft_row row = {0};
    pm_node             above;
    bool                same = s->content->gen == gen && !s->content->marked &&
                !pm_draft_get(db, s->e->parent, &row) && row.serial == s->serial && row.opened &&
                !pm_journal_of(db, s->e->parent, PM_OP_PUBLISH, &t->publish);

    pm_draft_row_free(&row);
    if (!same || pm_shown_place(db, s->e->parent, &above, name))
        return -ECANCELED;
    return strcmp(name, t->name) != 0 ? -EAGAIN : 0; /* renamed since: it gets the new name there, too */
}

static int fold_thing(struct pm_send *s, int64_t gen)
{
    struct thing *t = s->also_arg;
    struct pm_db *db = s->cache->db;
    pm_node       folder = s->e->parent;
    int           err = check_unchanged(s, t, gen);

    if (!err)
        err = pm_send_fold(db, &t->publish, t->now, t->rid);
    if (err)
        return err;
    pm_db_run(db, "UPDATE node SET own=1, error=NULL WHERE id=?1", "i", (int64_t)folder);
    pm_db_run(db, "INSERT OR REPLACE INTO list(node, fetched) VALUES(?1, ?2)", "ii", (int64_t)folder,
              pm_wall_ms());
    /* What else is in it is never sent. */
    pm_db_run(db, "UPDATE j.entry SET state=5 WHERE parent=?1 AND op=1 AND id<>?2", "ii", (int64_t)folder,
              s->e->id);
    err = fold_document(db, &t->publish, t);
    pm_journal_remember(db, folder);
    if (!err)
        err = pm_draft_end(db, folder, true);
    return err ? err : pm_journal_finish(db, t->publish.id);
}

static void tell_committed(struct pm_send *s, const struct thing *t)
{
    struct pm_cache *c = s->cache;

    pm_log(PM_INFO, "%s is committed as %s", t->publish.name, t->rid);
    if (t->old_document) {
        pm_change_cut_off(c, t->old_document, false);
        pm_store_drop(c->store, t->old_document);
    }
    pm_tell_entry(c, s->e->parent, PM_PARTICULARS);
    pm_tell_node(c, s->e->parent, true);
    pm_tell_node(c, s->e->node, false);
}

static int confirm(struct pm_send *s, const struct draft *d, int64_t gen, const struct pm_entry *now)
{
    struct thing t = {.now = now, .file_name = s->e->name};
    int          err = pm_merge_rid(now, t.rid);

    t.name = d->name;
    if (!err && now->kind != PM_FOLDER)
        err = -EPROTO;
    if (!err)
        err = pm_backend_list(s->account->backend, s->ctx, now, take_part, &t);
    if (!err && !t.file) {
        snprintf(s->ctx->why, sizeof(s->ctx->why), "the service does not show the file in it yet");
        err = -EAGAIN;
    }
    if (!err) {
        pm_list_touch(s->cache, d->above, t.rid);
        s->also = fold_thing;
        s->also_arg = &t;
        err = pm_send_confirm(s, gen, t.file);
        s->also = NULL;
        s->also_arg = NULL;
    }
    if (!err)
        tell_committed(s, &t);
    free(t.file);
    free(t.document);
    return err;
}

/* --- committing */

/* 0; -ECANCELED: the file is in no draft any more, or changed. */
static int look(struct pm_send *s, struct draft *d)
{
    struct pm_db       *db = s->cache->db;
    struct pm_draft_row row = {0};
    struct pm_jentry    e;
    int                 err = 0;

    pm_db_begin(db);
    if (pm_draft_spot(s->cache, s->e->parent) != PM_SPOT_LATE || pm_journal_get(db, s->e->id, &e) ||
        e.state != PM_J_ACTIVE || e.parent != s->e->parent || pm_draft_get(db, s->e->parent, &row) ||
        pm_shown_place(db, s->e->parent, &d->above, d->name))
        err = -ECANCELED;
    s->serial = row.serial;
    d->committing = row.opened != 0;
    pm_draft_row_free(&row);
    return pm_db_end(db, err);
}

/* The try that ended was of a commit that nobody wants any more: what it brought is taken away. What it told
 * last nobody else knows. */
static void give_up_unwanted(struct pm_send *s, const struct pm_upload *up, pm_node drops)
{
    struct pm_db       *db = s->cache->db;
    PM_AUTO(free) char *step = up->state ? pm_send_print_step(s, up) : NULL;
    PM_AUTO(free) char *text = step ? pm_asprintf("%llu %s", (unsigned long long)drops, step) : NULL;
    struct pm_draft_row row = {0};

    if (!text)
        return;
    pm_db_begin(db);
    if (pm_draft_get(db, s->e->parent, &row) || row.serial != s->serial || !row.opened)
        pm_db_run(db, "INSERT INTO j.session(account, session) VALUES(?1, ?2)", "is",
                  (int64_t)s->e->account, text);
    pm_draft_row_free(&row);
    pm_db_end(db, 0);
    pm_queue_kick(s->cache);
}

/* What is begun in the middle of a call is known afterwards, or is not begun. */
static int keep(struct pm_upload *up)
{
    struct pm_send     *s = up->arg;
    struct pm_draft_row row = {0};
    bool                wanted;
    int                 err;

    pm_db_begin(s->cache->db);
    wanted = !pm_draft_get(s->cache->db, s->e->parent, &row) && row.serial == s->serial && row.opened;
    pm_draft_row_free(&row);
    err = pm_db_end(s->cache->db, 0);
    if (!err && !wanted)
        return -ECANCELED;
    return err ? err : pm_send_keep(up);
}

/* An earlier try that the queue knows of is of this very content: a change would have ended it. */
static int take_step(struct pm_send *s, struct pm_upload *up)
{
    struct pm_send_step old;
    int                 err = pm_send_load_step(s, &old);

    if (err)
        return err;
    if (!old.text || (old.gen == s->e->gen && old.size == up->size)) {
        up->state = old.text;
        return 0;
    }
    free(old.text);
    pm_db_begin(s->cache->db);
    err = pm_db_end(s->cache->db, pm_draft_replace(s->cache, s->e->parent, PM_SESSION_UNWANTED));
    return err ? err : -ECANCELED;
}

static int commit(struct pm_send *s, struct pm_upload *up, const struct draft *d, int64_t gen)
{
    PM_AUTO(free) struct pm_entry *drops = NULL;
    PM_AUTO(free) struct pm_entry *now = NULL;
    char                          *options = NULL;
    int                            err = pm_draft_root(s->cache, s->e->parent, &drops);

    if (!err)
        err = read_options(s, s->e->parent, drops, &options);
    if (!err)
        err = pm_content_save(s->content);
    if (!err)
        err = take_step(s, up);
    if (!err) {
        up->parent = drops;
        up->name = s->e->name;
        up->draft = d->name;
        up->options = options;
        err = pm_send_upload(s, up, &now);
    }
    if (!err)
        err = confirm(s, d, gen, now);
    if (err)
        give_up_unwanted(s, up, d->above);
    pm_record_free_options(options);
    free(up->state);
    up->state = NULL;
    return err;
}

static int send_file(struct pm_send *s, struct pm_draft_run *run)
{
    struct pm_upload up = {.fd = s->content->fd, .progress = pm_send_count, .keep = keep, .arg = s};
    struct draft     d = {.committing = false};
    int64_t          gen = 0;
    int              err = look(s, &d);

    if (!err)
        err = pm_fetch_whole(s->cache, s->content, &run->cancel);
    if (!err)
        err = pm_draft_look_at_content(s, &up.size, &gen);
    if (err)
        return err;
    return d.committing ? commit(s, &up, &d, gen) : pm_draft_note_sent(s, gen);
}

int pm_send_late(struct pm_send *s)
{
    struct pm_draft_run run;
    int                 err;

    pm_draft_run_begin(s->cache, &run, s->e->parent);
    s->ctx->cancel = &run.cancel;
    err = send_file(s, &run);
    s->ctx->cancel = &s->cache->stopping;
    pm_draft_run_end(s->cache, &run);
    return err;
}
