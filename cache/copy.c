/* A copy that the service makes itself: asked for once, found again after a crash, waited for, and made
 * anew if it ends broken.
 *
 * The entry's step is "copy SIZE BROKEN MARK SURE ID":
 *
 *   SIZE    of the source;
 *   BROKEN  so many copies ended as something else so far;
 *   MARK    the greatest node when the destination's folder was listed just before the copy was asked
 *           for: what is found there later as an older node is somebody else's;
 *   SURE    1: the service gave the id as that of our copy; 0: it was found under its name;
 *   ID      of what was made; "?": asked for, and the answer did not come yet; "": nothing is there.
 *
 * An older version wrote "copy SIZE ID": nothing of it is SURE, nor is what answers "?" known to be ours.
 *
 * Only what is SURE is ever removed, and only when it ended broken and empty, or untouched as a copy of
 * what its source is no more. */
#include "cache/copy.h"

#include "cache/list.h"
#include "cache/merge.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define UNANSWERED "?"
#define POLL_FIRST 200 /* ms between looks at a copy */
#define POLL_MAX   5000
#define BROKEN_MAX 4 /* copies of one source that end broken, before that is a failure */
#define LIST_AGE   1000 /* ms; the files of one folder need no list each */
#define PAIR_AGE   60000 /* ms; so long after the last copy between two folders one may bring others */

/* --- steps */

struct step {
    uint64_t size;
    unsigned broken;
    pm_node  mark;
    bool     sure;
    bool     old; /* an older version's */
    char     id[PM_NAME_MAX + 1];
};

static bool parse_old_step(const char *text, struct step *out)
{
    int id = 0;

    *out = (struct step){.mark = INT64_MAX, .old = true};
    if (sscanf(text, "copy %" SCNu64 " %n", &out->size, &id) != 1 || !id || strchr(text + id, ' '))
        return false;
    snprintf(out->id, sizeof(out->id), "%s", text + id);
    return true;
}

/* -ENOENT, and nothing in it: no copy was begun. */
static int load_step(struct pm_send *s, struct step *out)
{
    PM_AUTO(free) char *text = NULL;
    int                 sure, id = 0;
    int                 err;

    *out = (struct step){0};
    pm_db_begin(s->cache->db);
    text = pm_journal_step(s->cache->db, s->e->id);
    err = pm_db_end(s->cache->db, 0);
    if (err || !text)
        return err ? err : -ENOENT;
    if (sscanf(text, "copy %" SCNu64 " %u %" SCNu64 " %d%n", &out->size, &out->broken, &out->mark,
               &sure, &id) != 4 || !id || text[id] != ' ') {
        if (parse_old_step(text, out))
            return 0;
        *out = (struct step){0};
        return -ENOENT;
    }
    out->sure = sure;
    snprintf(out->id, sizeof(out->id), "%s", text + id + 1);
    return 0;
}

static int store_step(struct pm_send *s, const struct step *step)
{
    PM_AUTO(free) char *text = pm_asprintf("copy %" PRIu64 " %u %" PRIu64 " %d %s", step->size,
                                           step->broken, step->mark, step->sure, step->id);

    return text ? pm_send_store_step(s, text) : -ENOMEM;
}

static int store_made(struct pm_send *s, struct step *step, const char *id, bool sure)
{
    step->sure = sure;
    snprintf(step->id, sizeof(step->id), "%s", id);
    return store_step(s, step);
}

static bool is_unanswered(const struct step *step)
{
    return !strcmp(step->id, UNANSWERED);
}

int pm_copy_begun(struct pm_send *s, uint64_t *size)
{
    struct step step;
    int         err = load_step(s, &step);

    if (!err)
        *size = step.size;
    return err;
}

/* --- what one copy brings along for others */

static struct pm_copying_pair *find_pair_locked(struct pm_send *s, pm_node from)
{
    struct pm_copying *all = &s->cache->copying;

    for (size_t i = 0; i < PM_COUNT(all->pair); i++)
        if (all->pair[i].from == from && all->pair[i].to == s->e->parent &&
            pm_now_ms() - all->pair[i].last_ms < PAIR_AGE)
            return &all->pair[i];
    return NULL;
}

/* A service copies a file with what it depends on, under their own names: the entry's destination
 * may be there already, made by a copy between the same two folders for another entry. */
static void note_copying(struct pm_send *s, pm_node from, pm_node mark)
{
    struct pm_copying      *all = &s->cache->copying;
    struct pm_copying_pair *p;

    PM_GUARD(&all->lock);
    p = find_pair_locked(s, from);
    if (p)
        p->several = p->several || p->entry != s->e->id;
    else
        *(p = &all->pair[all->next++ % PM_COUNT(all->pair)]) =
            (struct pm_copying_pair){.from = from, .to = s->e->parent, .entry = s->e->id, .mark = mark};
    p->last_ms = pm_now_ms();
}

/* Came the node with another copy between the two folders? */
static bool may_be_brought(struct pm_send *s, const struct pm_entry *src, pm_node from, pm_node found)
{
    const struct pm_copying_pair *p;

    if (src->kind == PM_FOLDER || from == s->e->parent || strcmp(src->name, s->e->name) != 0)
        return false;
    PM_GUARD(&s->cache->copying.lock);
    p = find_pair_locked(s, from);
    return p && found > p->mark && (p->several || p->entry != s->e->id);
}

/* --- the destination */

int pm_copy_make(struct pm_send *s, const struct pm_entry *src, const struct pm_entry *parent,
                 struct pm_entry **out)
{
    return pm_backend_copy(s->account->backend, s->ctx, src, parent, s->e->name, out);
}

/* The destination as the known list of its folder has it; -ENOENT: it has none. */
static int find_known(struct pm_send *s, pm_node *node, struct pm_row *row, struct pm_entry **out)
{
    int err;

    pm_db_begin(s->cache->db);
    *node = pm_node_listed(s->cache->db, s->e->parent, s->e->name);
    err = pm_db_end(s->cache->db, 0);
    if (err)
        return err;
    return *node ? pm_send_entry(s->cache, *node, row, out) : -ENOENT;
}

/* The same, as the list has it now. */
static int find_at_destination(struct pm_send *s, pm_node *node, struct pm_entry **out)
{
    struct pm_row row;
    int           err = pm_list_now(s->cache, s->e->parent, s->ctx);

    return err ? err : find_known(s, node, &row, out);
}

static int stop_at_first(void *arg, const struct pm_entry *e)
{
    (void)e;
    *(bool *)arg = true;
    return -ECANCELED;
}

/* Could it be our copy, which the service has not named to us? A folder only if nothing is in it. 0,
 * -EEXIST: no; others: not known now. */
static int looks_like(struct pm_send *s, const struct pm_entry *copy, const struct pm_entry *src)
{
    bool any = false;
    int  err = 0;

    if (copy->kind != src->kind)
        return -EEXIST;
    if (src->kind == PM_FOLDER)
        err = pm_backend_list(s->account->backend, s->ctx, copy, stop_at_first, &any);
    else
        any = !copy->settling && copy->size != src->size;
    return any ? -EEXIST : err;
}

bool pm_copy_is_definite(int err)
{
    return err != -EAGAIN && err != -EIO && err != -ETIMEDOUT && err != -ECANCELED && err != -ENOMEM;
}

/* Lists the destination's folder, before anything is made there. 0: the name is free, *mark is set.
 * -EEXIST: it is taken, by *out (owned) of *node. */
static int look_before(struct pm_send *s, pm_node *mark, pm_node *node, struct pm_entry **out)
{
    struct pm_row row;
    int           err = pm_list_recent(s->cache, s->e->parent, s->ctx,
                                       pm_wall_ms() - LIST_AGE > s->e->created
                                           ? pm_wall_ms() - LIST_AGE : s->e->created);

    if (err)
        return err;
    pm_db_begin(s->cache->db);
    *mark = (pm_node)pm_db_int(s->cache->db, 0, "SELECT max(id) FROM node", "");
    err = pm_db_end(s->cache->db, 0);
    if (err)
        return err;
    err = find_known(s, node, &row, out);
    if (err && err != -ENOENT)
        return err;
    if (!err && !row.missing)
        return -EEXIST;
    free(*out);
    *out = NULL;
    return 0;
}

/* The name is there: is it ours after all, brought along or made by a try whose answer was lost? */
static int adopt(struct pm_send *s, const struct pm_entry *src, pm_node from, struct step *step,
                 pm_node mark, pm_node node, const struct pm_entry *there)
{
    int err = node > mark || may_be_brought(s, src, from, node) ? looks_like(s, there, src) : -EEXIST;

    return err ? err : store_made(s, step, there->id, false);
}

/* Makes it, and keeps its id in case the daemon ends before the rest is done. `before`: what is known
 * of earlier tries. */
static int start(struct pm_send *s, const struct pm_entry *src, pm_node from, pm_copy_make_fn *make,
                 const struct step *before, struct pm_entry **out)
{
    PM_AUTO(free) struct pm_entry *parent = NULL;
    PM_AUTO(free) struct pm_entry *there = NULL;
    struct pm_row                  row;
    struct step                    step = *before;
    bool                           folder = src->kind == PM_FOLDER;
    pm_node                        node = 0, mark;
    int                            err = pm_send_entry(s->cache, s->e->parent, &row, &parent);

    step.size = folder ? 0 : src->size;
    if (!err)
        err = look_before(s, &step.mark, &node, &there);
    if (!err)
        err = store_made(s, &step, UNANSWERED, false);
    if (!err)
        err = pm_db_sync(s->cache->db); /* what is made then is known to be ours */
    if (!err) {
        note_copying(s, from, step.mark);
        err = make(s, src, parent, out);
        if (!err)
            return store_made(s, &step, (*out)->id, true);
        if (err == -EEXIST)
            err = find_at_destination(s, &node, &there) ? -EAGAIN : -EEXIST;
    }
    mark = is_unanswered(before) ? before->mark : folder ? step.mark : INT64_MAX;
    if (err == -EEXIST)
        err = adopt(s, src, from, &step, mark, node, there);
    if (!err) {
        *out = there;
        there = NULL;
    } else if (pm_copy_is_definite(err) && !is_unanswered(before)) {
        step.id[0] = 0; /* nothing was made */
        if (step.broken ? store_step(s, &step) : pm_send_store_step(s, NULL))
            return -EIO;
    }
    return err;
}

int pm_copy_judge(struct pm_send *s)
{
    PM_AUTO(free) struct pm_entry *there = NULL;
    struct step                    step;
    pm_node                        node;
    int                            err = find_at_destination(s, &node, &there);

    if (err)
        return err == -ENOENT ? -EBUSY : err;
    err = load_step(s, &step);
    if (err && err != -ENOENT)
        return err;
    return !err && !strcmp(step.id, there->id) ? -EBUSY : -EEXIST;
}

int pm_copy_made(struct pm_send *s, struct pm_entry **out)
{
    struct step step;
    pm_node     node;
    int         err = load_step(s, &step);

    if (err || !*step.id || is_unanswered(&step))
        return err ? err : -ENOENT;
    err = find_at_destination(s, &node, out);
    return err || !strcmp((*out)->id, step.id) ? err : -ENOENT;
}

static int find_begun(struct pm_send *s, const struct step *step, const struct pm_entry *like,
                      struct pm_entry **out)
{
    pm_node node;
    int     err = *step->id ? find_at_destination(s, &node, out) : -ENOENT;

    if (err)
        return err;
    if (is_unanswered(step))
        return node > step->mark ? looks_like(s, *out, like) : -EEXIST;
    return strcmp(step->id, (*out)->id) ? -EEXIST : 0;
}

int pm_copy_find(struct pm_send *s, const struct pm_entry *like, struct pm_entry **out)
{
    struct step step;
    int         err = load_step(s, &step);

    return err ? err : find_begun(s, &step, like, out);
}

int pm_copy_destination(struct pm_send *s, const struct pm_entry *src, pm_node from,
                        pm_copy_make_fn *make, struct pm_entry **out)
{
    struct step step;
    int         err = load_step(s, &step);

    if (!err && step.old && src->kind == PM_FOLDER)
        err = -ENOENT; /* of what is in a folder an older version did not note what is ours */
    if (!err)
        err = find_begun(s, &step, src, out);
    return err == -ENOENT ? start(s, src, from, make, &step, out) : err;
}

int pm_copy_keep(struct pm_send *s, const struct pm_entry *copy)
{
    struct step step;
    int         err = load_step(s, &step);

    return err || !is_unanswered(&step) ? err : store_made(s, &step, copy->id, false);
}

/* --- settling */

int pm_copy_wait(struct pm_send *s, const char *name)
{
    snprintf(s->ctx->why, sizeof(s->ctx->why), "%.200s is still being processed by the service", name);
    return -EAGAIN;
}

bool pm_copy_is_sure(struct pm_send *s, const struct pm_entry *copy)
{
    struct step step;

    return !load_step(s, &step) && step.sure && *step.id && !strcmp(step.id, copy->id);
}

/* It is in no folder any more, whatever lists that are under way say. */
static void forget(struct pm_send *s, const struct pm_entry *copy)
{
    char          rid[PM_NAME_MAX + 1];
    struct pm_row row;
    pm_node       node;

    if (pm_merge_rid(copy, rid))
        return;
    pm_db_begin(s->cache->db);
    node = pm_node_by_rid(s->cache->db, s->e->account, rid);
    if (node && pm_node_get(s->cache->db, node, &row))
        node = 0;
    if (node)
        pm_node_detach(s->cache->db, node);
    if (pm_db_end(s->cache->db, 0) || !node)
        return;
    pm_list_touch(s->cache, row.parent, rid);
    pm_store_drop(s->cache->store, node);
    pm_tell_entry(s->cache, row.parent, row.name);
}

int pm_copy_drop(struct pm_send *s, const struct pm_entry *copy)
{
    PM_AUTO(free) struct pm_entry *now = NULL;
    struct pm_backend             *b = s->account->backend;
    int                            err = pm_backend_stat(b, s->ctx, copy, &now);

    if (!err && (now->size != copy->size ||
                 !pm_backend_same_version(b, now->version, copy->version)))
        return -ESTALE;
    if (!err)
        err = pm_backend_remove(b, s->ctx, copy);
    if (err && err != -ENOENT)
        return err == -ECANCELED ? err : -EAGAIN;
    forget(s, copy);
    return 0;
}

int pm_copy_broken(struct pm_send *s, const struct pm_entry *copy, bool sure)
{
    struct step step;
    bool        failed;
    int         err;

    sure = sure && !copy->size; /* what is in it may be somebody's work since */
    err = sure ? pm_copy_drop(s, copy) : 0;
    if (err)
        return err == -ESTALE ? -EAGAIN : err;
    err = load_step(s, &step);
    if (err && err != -ENOENT)
        return err;
    if (sure && !strcmp(step.id, copy->id))
        step.id[0] = 0;
    failed = ++step.broken >= BROKEN_MAX;
    if (failed)
        step.broken = 0; /* who retries it may hope again */
    err = store_step(s, &step);
    snprintf(s->ctx->why, sizeof(s->ctx->why), "the service's copy of it is not whole: %.100s is there, %s",
             copy->name, *copy->state ? copy->state : "but another");
    return err ? err : failed ? -EBADMSG : -EIO;
}

/* Waits a moment between two looks. */
static int pause_for(struct pm_send *s, int64_t pause)
{
    for (int64_t until = pm_now_ms() + pause; pm_now_ms() < until; usleep(50000))
        if (*s->ctx->cancel)
            return -ECANCELED;
    return 0;
}

int pm_copy_settle(struct pm_send *s, const struct pm_entry *src, struct pm_entry **copy, bool sure)
{
    int64_t pause = POLL_FIRST;
    int     err = 0;

    if (!s->settle_until_ms)
        s->settle_until_ms = pm_now_ms() + s->cache->settle_ms;
    for (; !err; err = pause_for(s, pause), pause = pause * 2 < POLL_MAX ? pause * 2 : POLL_MAX) {
        struct pm_entry *now = NULL;

        err = pm_backend_stat(s->account->backend, s->ctx, *copy, &now);
        if (err)
            return err == -ENOENT ? -EAGAIN : err;
        free(*copy);
        *copy = now;
        if (now->size == src->size && (!now->settling || src->settling))
            return 0;
        if (!now->settling)
            return pm_copy_broken(s, now, sure); /* ended, and is not what was copied */
        if (pm_now_ms() >= s->settle_until_ms)
            return pm_copy_wait(s, now->name);
    }
    return err;
}
