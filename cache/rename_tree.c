/* A folder's rename where the service has none: the folder is made at the new place, everything in
 * it copied there, and only when every copy is whole and nothing changed meanwhile, the old one is
 * removed. What an earlier try copied is found by name and size. The files of one folder are asked about
 * and copied side by side. */
#include "cache/copy.h"

#include "cache/merge.h"
#include "cache/side.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 64

/* The entries of one folder on the service. */
struct children {
    struct pm_entry **e;
    size_t            n, cap;
};

/* An object and what it was copied to. */
struct pair {
    struct pm_entry *from, *to; /* owned */
    pm_node          node; /* 0: not known here */
    bool             made; /* `to` is what the service made for us in this try */
};

struct tree {
    struct pm_send *s;
    struct pair    *pairs;
    size_t          n, cap;
};

static void free_children(struct children *c)
{
    for (size_t i = 0; i < c->n; i++)
        free(c->e[i]);
    free(c->e);
}

static int collect(void *arg, const struct pm_entry *e)
{
    struct children *c = arg;

    if (c->n == c->cap) {
        size_t            cap = c->cap ? 2 * c->cap : 32;
        struct pm_entry **more = reallocarray(c->e, cap, sizeof(*more));

        if (!more)
            return -ENOMEM;
        c->e = more;
        c->cap = cap;
    }
    c->e[c->n] = pm_entry_dup(e);
    return c->e[c->n] ? (c->n++, 0) : -ENOMEM;
}

static int list_folder(struct pm_send *s, const struct pm_entry *dir, struct children *out)
{
    return pm_backend_list(s->account->backend, s->ctx, dir, collect, out);
}

static struct pm_entry *find_name(const struct children *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++)
        if (!strcmp(c->e[i]->name, name))
            return c->e[i];
    return NULL;
}

/* Notes a pair; both are copied. */
static int add_pair(struct tree *t, const struct pm_entry *from, const struct pm_entry *to, bool made)
{
    struct pair *p;

    if (t->n == t->cap) {
        size_t       cap = t->cap ? 2 * t->cap : 64;
        struct pair *more = reallocarray(t->pairs, cap, sizeof(*more));

        if (!more)
            return -ENOMEM;
        t->pairs = more;
        t->cap = cap;
    }
    p = &t->pairs[t->n];
    p->node = 0;
    p->made = made;
    p->from = pm_entry_dup(from);
    p->to = pm_entry_dup(to);
    if (!p->from || !p->to) {
        free(p->from);
        free(p->to);
        return -ENOMEM;
    }
    t->n++;
    return 0;
}

static void free_tree(struct tree *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free(t->pairs[i].from);
        free(t->pairs[i].to);
    }
    free(t->pairs);
}

/* One folder of the tree. */
struct level {
    struct tree           *t;
    struct children        old, there; /* at the old and the new place */
    const struct pm_entry *to; /* the new folder; borrowed */
    struct pm_entry      **made; /* owned; for each of old: what was made for it, or NULL */
};

/* A pm_side_fn: one child is found at the destination from an earlier try, or made there. Copies are
 * only started here. */
static int copy_child(void *arg, struct pm_ctx *ctx, size_t i)
{
    struct level          *l = arg;
    struct pm_backend     *b = l->t->s->account->backend;
    const struct pm_entry *from = l->old.e[i];
    const struct pm_entry *there = find_name(&l->there, from->name);
    int                    err;

    if (from->settling) {
        snprintf(ctx->why, sizeof(ctx->why), "%.200s is still being processed by the service", from->name);
        return -EAGAIN;
    }
    if (there)
        return 0;
    err = from->kind == PM_FOLDER ? pm_backend_mkdir(b, ctx, l->to, from->name, &l->made[i])
                                  : pm_backend_copy(b, ctx, from, l->to, from->name, &l->made[i]);
    return err == -EEXIST ? -EAGAIN : err; /* brought along by another copy: look again */
}

/* Is what an earlier try left, or somebody made meanwhile, what is to be there? */
static int check_there(struct tree *t, const struct pm_entry *from, const struct pm_entry *there)
{
    if (there->kind == from->kind &&
        (from->kind == PM_FOLDER || there->settling || there->size == from->size))
        return 0;
    return pm_copy_broken(t->s, there, false);
}

static int copy_folder(struct tree *t, const struct pm_entry *from, const struct pm_entry *to,
                       int depth);

static int add_level(struct level *l, int depth)
{
    int err = 0;

    for (size_t i = 0; i < l->old.n && !err; i++) {
        const struct pm_entry *from = l->old.e[i];
        const struct pm_entry *there = l->made[i] ? l->made[i] : find_name(&l->there, from->name);

        if (!l->made[i])
            err = check_there(l->t, from, there);
        if (!err)
            err = add_pair(l->t, from, there, l->made[i]);
        if (!err && from->kind == PM_FOLDER)
            err = copy_folder(l->t, from, there, depth + 1);
    }
    return err;
}

static int copy_folder(struct tree *t, const struct pm_entry *from, const struct pm_entry *to,
                       int depth)
{
    struct level l = {.t = t, .to = to};
    int          err = depth > DEPTH_MAX ? -ELOOP : list_folder(t->s, from, &l.old);

    if (!err)
        err = list_folder(t->s, to, &l.there);
    if (!err && !(l.made = calloc(l.old.n + 1, sizeof(*l.made))))
        err = -ENOMEM;
    if (!err)
        err = pm_side_by_side(t->s->ctx, l.old.n, t->s->cache->conf->parallel, copy_child, &l);
    if (!err)
        err = add_level(&l, depth);
    for (size_t i = 0; i < l.old.n && l.made; i++)
        free(l.made[i]);
    free(l.made);
    free_children(&l.old);
    free_children(&l.there);
    return err;
}

static int settle_all(struct tree *t)
{
    int err = 0;

    for (size_t i = 0; i < t->n && !err; i++)
        if (t->pairs[i].from->kind != PM_FOLDER)
            err = pm_copy_settle(t->s, t->pairs[i].from, &t->pairs[i].to, t->pairs[i].made);
    return err;
}

static const struct pair *find_pair(const struct tree *t, const char *id, const char *path)
{
    for (size_t i = 0; i < t->n; i++)
        if (*id ? !strcmp(t->pairs[i].from->id, id) : !strcmp(t->pairs[i].from->path, path))
            return &t->pairs[i];
    return NULL;
}

/* Is every object of the old folder one that was copied as it is? -EAGAIN: not yet. */
static int check_old(struct tree *t, const struct pm_entry *dir, int depth)
{
    struct children old = {0};
    int             err = depth > DEPTH_MAX ? -ELOOP : list_folder(t->s, dir, &old);

    for (size_t i = 0; i < old.n && !err; i++) {
        const struct pair *p = find_pair(t, old.e[i]->id, old.e[i]->path);

        if (!p || (old.e[i]->kind != PM_FOLDER &&
                   !pm_backend_same_version(t->s->account->backend, p->from->version,
                                            old.e[i]->version)))
            err = -EAGAIN;
        else if (old.e[i]->kind == PM_FOLDER)
            err = check_old(t, old.e[i], depth + 1);
    }
    free_children(&old);
    return err;
}

/* Each known node of the old folder is the copied object now; its place is the same, since its
 * folder's node is. */
static int fold_pairs(void *arg)
{
    struct tree  *t = arg;
    struct pm_db *db = t->s->cache->db;
    int           err = 0;

    for (size_t i = 0; i < t->n && !err; i++) {
        struct pair    *p = &t->pairs[i];
        struct pm_entry now = *p->to;
        char            old_rid[PM_NAME_MAX + 1];
        char            new_rid[PM_NAME_MAX + 1];

        if (pm_merge_rid(p->from, old_rid) || pm_merge_rid(p->to, new_rid))
            return -EINVAL;
        p->node = pm_node_by_rid(db, t->s->e->account, old_rid);
        if (!p->node)
            continue;
        now.id = new_rid;
        pm_send_take_from_others(db, p->node, t->s->e->account, new_rid);
        err = pm_node_describe(db, p->node, &now);
        pm_db_run(db, "UPDATE j.entry SET rid=?2, base=?3 WHERE node=?1", "iss", (int64_t)p->node,
                  new_rid, now.version);
    }
    return err;
}

/* "NAME/…: reason", from the inside out. */
static void name_in_why(struct pm_ctx *ctx, const char *name)
{
    char why[sizeof(ctx->why)];

    snprintf(why, sizeof(why), "%s", ctx->why);
    snprintf(ctx->why, sizeof(ctx->why), "%.100s: %.150s", name, why);
}

/* Before anything is copied: may all of it take another place? */
struct asked {
    struct pm_send *s;
    struct children in;
    int64_t         since_ms;
};

static int check_move(void *arg, struct pm_ctx *ctx, size_t i)
{
    struct asked *a = arg;
    int           err = a->in.e[i]->kind == PM_FOLDER
                            ? 0 : pm_backend_check_move(a->s->account->backend, ctx, a->in.e[i],
                                                        a->since_ms);

    if (err == -EPERM)
        name_in_why(ctx, a->in.e[i]->name);
    return err == -ENOENT ? -EAGAIN : err; /* it went meanwhile: the whole is looked at again */
}

static int check_moves(struct pm_send *s, const struct pm_entry *e, int64_t since_ms, int depth)
{
    struct asked a = {.s = s, .since_ms = since_ms};
    int          err = pm_backend_check_move(s->account->backend, s->ctx, e, since_ms);

    if (!err)
        err = depth > DEPTH_MAX ? -ELOOP : list_folder(s, e, &a.in);
    if (!err)
        err = pm_side_by_side(s->ctx, a.in.n, s->cache->conf->parallel, check_move, &a);
    for (size_t i = 0; i < a.in.n && !err; i++) {
        if (a.in.e[i]->kind != PM_FOLDER)
            continue;
        err = check_moves(s, a.in.e[i], since_ms, depth + 1);
        if (err == -ENOENT)
            err = -EAGAIN;
        if (err == -EPERM)
            name_in_why(s->ctx, a.in.e[i]->name);
    }
    free_children(&a.in);
    return err;
}

static int is_in_tree(void *arg, const char *id)
{
    return find_pair(arg, id, "") ? -EPERM : 0;
}

/* After all was copied: was any of it shared meanwhile? */
static int check_shared(struct tree *t, const struct pm_entry *src)
{
    struct pm_backend *b = t->s->account->backend;
    int                err = pm_backend_check_move(b, t->s->ctx, src, pm_now_ms());

    if (!err)
        err = pm_backend_shared(b, is_in_tree, t);
    if (err == -EPERM && !*t->s->ctx->why)
        snprintf(t->s->ctx->why, sizeof(t->s->ctx->why), "something in it was shared meanwhile");
    return err;
}

static int make_folder(struct pm_send *s, const struct pm_entry *src, const struct pm_entry *parent,
                       struct pm_entry **out)
{
    (void)src;
    return pm_backend_mkdir(s->account->backend, s->ctx, parent, s->e->name, out);
}

int pm_rename_tree(struct pm_send *s, const struct pm_entry *src)
{
    PM_AUTO(free) struct pm_entry *to = NULL;
    struct tree                    t = {.s = s};
    int                            err = check_moves(s, src, pm_now_ms(), 0);

    if (!err)
        err = pm_copy_destination(s, src, s->e->oparent, make_folder, &to);
    if (!err)
        err = copy_folder(&t, src, to, 0);
    if (!err)
        err = settle_all(&t);
    if (!err)
        err = check_old(&t, src, 0);
    if (!err)
        err = check_shared(&t, src);
    if (!err)
        err = pm_backend_remove(s->account->backend, s->ctx, src);
    if (!err)
        err = pm_rename_confirm(s, to, fold_pairs, &t);
    for (size_t i = 0; i < t.n && !err; i++)
        if (t.pairs[i].node && t.pairs[i].to->kind != PM_FOLDER)
            pm_store_adopt(s->cache->store, t.pairs[i].node, t.pairs[i].to->version);
    free_tree(&t);
    return err;
}
