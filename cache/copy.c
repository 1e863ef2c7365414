/* A copy that the service makes itself: asked for once, found again after a crash, waited for.
 *
 * The entry's step is "copy SIZE ID": the source's size, and the id of what was made, or "?" when it
 * was asked for and the answer did not come yet. */
#include "cache/copy.h"

#include "cache/list.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define UNANSWERED "?"
#define POLL_FIRST 200 /* ms between looks at a copy */
#define POLL_MAX   5000

/* --- steps */

struct step {
    uint64_t size;
    char     id[PM_NAME_MAX + 1];
};

/* False: no copy was begun. */
static bool load_step(struct pm_send *s, struct step *out)
{
    PM_AUTO(free) char *text = NULL;
    int                 id = 0;

    pm_db_begin(s->cache->db);
    text = pm_journal_step(s->cache->db, s->e->id);
    pm_db_end(s->cache->db, 0);
    if (!text || sscanf(text, "copy %" SCNu64 " %n", &out->size, &id) != 1 || !id)
        return false;
    snprintf(out->id, sizeof(out->id), "%s", text + id);
    return true;
}

static int store_step(struct pm_send *s, uint64_t size, const char *id)
{
    PM_AUTO(free) char *text = pm_asprintf("copy %" PRIu64 " %s", size, id);

    return text ? pm_send_store_step(s, text) : -ENOMEM;
}

bool pm_copy_begun(struct pm_send *s, uint64_t *size)
{
    struct step step;

    if (!load_step(s, &step))
        return false;
    *size = step.size;
    return true;
}

/* --- what one copy brings along for others */

/* A service copies a file with what it depends on, under their own names: the entry's destination
 * may be there already, made by a copy between the same two folders for another entry. */
static void note_copying(struct pm_send *s, pm_node from)
{
    struct pm_copying *all = &s->cache->copying;

    PM_GUARD(&all->lock);
    for (size_t i = 0; i < PM_COUNT(all->pair); i++) {
        struct pm_copying_pair *p = &all->pair[i];

        if (p->from == from && p->to == s->e->parent) {
            p->several = p->several || p->entry != s->e->id;
            return;
        }
    }
    all->pair[all->next++ % PM_COUNT(all->pair)] =
        (struct pm_copying_pair){from, s->e->parent, s->e->id, false};
}

static bool may_be_brought(struct pm_send *s, const struct pm_entry *src, pm_node from)
{
    struct pm_copying *all = &s->cache->copying;

    if (src->kind == PM_FOLDER || from == s->e->parent || strcmp(src->name, s->e->name) != 0)
        return false;
    PM_GUARD(&all->lock);
    for (size_t i = 0; i < PM_COUNT(all->pair); i++) {
        const struct pm_copying_pair *p = &all->pair[i];

        if (p->from == from && p->to == s->e->parent)
            return p->several || p->entry != s->e->id;
    }
    return false;
}

/* --- the destination */

int pm_copy_make(struct pm_send *s, const struct pm_entry *src, const struct pm_entry *parent,
                 struct pm_entry **out)
{
    return pm_backend_copy(s->account->backend, s->ctx, src, parent, s->e->name, out);
}

/* The destination as its folder's list has it now; -ENOENT: it has none. */
static int find_at_destination(struct pm_send *s, struct pm_entry **out)
{
    struct pm_row row;
    pm_node       node;
    int           err = pm_list_now(s->cache, s->e->parent, s->ctx);

    if (err)
        return err;
    pm_db_begin(s->cache->db);
    node = pm_node_listed(s->cache->db, s->e->parent, s->e->name);
    pm_db_end(s->cache->db, 0);
    return node ? pm_send_entry(s->cache, node, &row, out) : -ENOENT;
}

static bool looks_like(const struct pm_entry *copy, const struct pm_entry *src)
{
    return copy->kind == src->kind &&
           (src->kind == PM_FOLDER || copy->settling || copy->size == src->size);
}

/* Makes it, and keeps its id in case the daemon ends before the rest is done. */
static int start(struct pm_send *s, const struct pm_entry *src, pm_node from, pm_copy_make_fn *make,
                 struct pm_entry **out)
{
    PM_AUTO(free) struct pm_entry *parent = NULL;
    struct pm_row                  row;
    uint64_t                       size = src->kind == PM_FOLDER ? 0 : src->size;
    int                            err = pm_send_entry(s->cache, s->e->parent, &row, &parent);

    if (!err)
        err = store_step(s, size, UNANSWERED);
    if (err)
        return err;
    note_copying(s, from);
    err = make(s, src, parent, out);
    if (err == -EEXIST && may_be_brought(s, src, from)) {
        err = find_at_destination(s, out);
        if (!err && !looks_like(*out, src))
            err = -EEXIST;
    }
    if (err == -EEXIST && pm_send_store_step(s, NULL)) /* nothing was made */
        return -EIO;
    return err ? err : store_step(s, size, (*out)->id);
}

int pm_copy_judge(struct pm_send *s)
{
    PM_AUTO(free) struct pm_entry *there = NULL;
    struct step                    step;
    int                            err = find_at_destination(s, &there);

    if (err)
        return err == -ENOENT ? -EBUSY : err;
    return load_step(s, &step) && !strcmp(step.id, there->id) ? -EBUSY : -EEXIST;
}

int pm_copy_made(struct pm_send *s, struct pm_entry **out)
{
    struct step step;
    int         err;

    if (!load_step(s, &step) || !strcmp(step.id, UNANSWERED))
        return -ENOENT;
    err = find_at_destination(s, out);
    return err || !strcmp((*out)->id, step.id) ? err : -ENOENT;
}

int pm_copy_find(struct pm_send *s, const struct pm_entry *like, struct pm_entry **out)
{
    struct step step;
    bool        ours;
    int         err = load_step(s, &step) ? find_at_destination(s, out) : -ENOENT;

    if (err)
        return err;
    ours = strcmp(step.id, UNANSWERED) ? !strcmp(step.id, (*out)->id) : looks_like(*out, like);
    return ours ? 0 : -EEXIST;
}

int pm_copy_destination(struct pm_send *s, const struct pm_entry *src, pm_node from,
                        pm_copy_make_fn *make, struct pm_entry **out)
{
    int err = pm_copy_find(s, src, out);

    return err == -ENOENT ? start(s, src, from, make, out) : err;
}

/* --- settling */

int pm_copy_wait(struct pm_send *s, const char *name)
{
    snprintf(s->ctx->why, sizeof(s->ctx->why), "%.200s is still being processed by the service", name);
    return -EAGAIN;
}

int pm_copy_settle(struct pm_send *s, const struct pm_entry *src, struct pm_entry **copy)
{
    int64_t pause = POLL_FIRST;

    for (;;) {
        struct pm_entry *now = NULL;
        int              err = pm_backend_stat(s->account->backend, s->ctx, *copy, &now);

        if (err)
            return err == -ENOENT ? -EAGAIN : err;
        free(*copy);
        *copy = now;
        if (now->size == src->size && (!now->settling || src->settling))
            return 0;
        if (!now->settling)
            return -EIO; /* ended, and is not what was copied */
        for (int64_t slept = 0; slept < pause; slept += POLL_FIRST) {
            if (*s->ctx->cancel)
                return -ECANCELED;
            usleep(POLL_FIRST * 1000);
        }
        pause = pause * 2 < POLL_MAX ? pause * 2 : POLL_MAX;
    }
}
