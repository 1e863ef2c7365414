/* A folder's rename where the service has none: the folder is made at the new place, everything in
 * it copied there, and only when every copy is whole and nothing changed meanwhile, the old one is
 * removed. The files of one folder are asked about and copied side by side.
 *
 * Before any file of a folder is asked for, the versions of all are noted in the journal's meta ("copied
 * ENTRY ID"), since one copy may bring others along; a file that is refused is not noted any more. What a
 * later try finds at the new place is a copy only if it is noted, of the same version still, and of the
 * same size; a file that is not noted was put there by somebody else. */
#include "cache/copy.h"

#include "cache/merge.h"
#include "cache/side.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 64
#define NOTE_MAX  2048
#define BATCH     256 /* notes a transaction: the database's lock is not held for a whole folder */

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
    struct pm_entry      **at; /* for each of old: what of its name is there, or NULL */
    struct pm_entry      **made; /* owned; for each of old: what was made for it, or NULL */
};

static void note_key(const struct pm_send *s, const struct pm_entry *e, char *out, size_t size)
{
    snprintf(out, size, "copied %lld %s%s", (long long)s->e->id, e->id, *e->id ? "" : e->path);
}

/* Of which versions copies are about to be asked for. */
static int note_versions(const struct level *l)
{
    struct pm_db *db = l->t->s->cache->db;
    int           err = 0;

    for (size_t i = 0; i < l->old.n && !err; i++) {
        const struct pm_entry *from = l->old.e[i];
        char                   key[NOTE_MAX];

        if (i % BATCH == 0)
            pm_db_begin(db);
        note_key(l->t->s, from, key, sizeof(key));
        if (from->kind != PM_FOLDER && !from->settling && !l->at[i])
            err = pm_db_run(db, "INSERT OR REPLACE INTO j.meta(key, value) VALUES(?1, ?2)", "ss", key,
                            from->version);
        if (err || i % BATCH == BATCH - 1 || i + 1 == l->old.n)
            err = pm_db_end(db, err);
    }
    return err ? err : pm_db_sync(db);
}

static void forget_version(struct pm_send *s, const struct pm_entry *from)
{
    char key[NOTE_MAX];

    note_key(s, from, key, sizeof(key));
    pm_db_begin(s->cache->db);
    pm_db_end(s->cache->db,
              pm_db_run(s->cache->db, "DELETE FROM j.meta WHERE key=?1", "s", key));
}

/* A pm_side_fn: one child is found at the destination from an earlier try, or made there. Copies are
 * only started here. */
static int copy_child(void *arg, struct pm_ctx *ctx, size_t i)
{
    struct level          *l = arg;
    struct pm_backend     *b = l->t->s->account->backend;
    const struct pm_entry *from = l->old.e[i];
    int                    err;

    if (from->settling) {
        snprintf(ctx->why, sizeof(ctx->why), "%.200s is still being processed by the service", from->name);
        return -EAGAIN;
    }
    if (l->at[i])
        return 0;
    err = from->kind == PM_FOLDER ? pm_backend_mkdir(b, ctx, l->to, from->name, &l->made[i])
                                  : pm_backend_copy(b, ctx, from, l->to, from->name, &l->made[i]);
    if (err && err != -EEXIST && pm_copy_is_definite(err))
        forget_version(l->t->s, from); /* what comes there is not ours */
    return err == -EEXIST ? -EAGAIN : err; /* brought along by another copy: look again */
}

void pm_rename_forget_versions(struct pm_db *db, int64_t entry)
{
    char from[64], to[64];

    snprintf(from, sizeof(from), "copied %lld ", (long long)entry);
    snprintf(to, sizeof(to), "copied %lld!", (long long)entry);
    pm_db_run(db, "DELETE FROM j.meta WHERE key>?1 AND key<?2", "ss", from, to);
}

/* The version that a copy of the file was asked for of; owned; NULL: none was. 0 or -errno. */
static int noted_version(struct pm_send *s, const struct pm_entry *from, char **out)
{
    struct pm_db        *db = s->cache->db;
    struct sqlite3_stmt *st;
    char                 key[NOTE_MAX];

    note_key(s, from, key, sizeof(key));
    pm_db_begin(db);
    st = pm_db_query(db, "SELECT value FROM j.meta WHERE key=?1", "s", key);
    if (pm_db_row(db, st)) {
        *out = pm_col_dup(db, st, 0);
        pm_db_reset(st);
    }
    return pm_db_end(db, 0);
}

static int changed_since(struct pm_send *s, const struct pm_entry *from)
{
    snprintf(s->ctx->why, sizeof(s->ctx->why),
             "%.100s in it was changed on the service while it was copied", from->name);
    return -ESTALE;
}

/* Is what an earlier try left, or somebody made meanwhile, what is to be there? */
static int check_there(struct tree *t, const struct pm_entry *from, const struct pm_entry *there)
{
    PM_AUTO(free) char *version = NULL;
    int                 err;

    if (there->kind == PM_FOLDER && from->kind == PM_FOLDER)
        return 0;
    err = noted_version(t->s, from, &version);
    if (err)
        return err;
    if (version && !pm_backend_same_version(t->s->account->backend, version, from->version))
        return changed_since(t->s, from);
    if (!version || there->kind != from->kind || (!there->settling && there->size != from->size))
        return pm_copy_broken(t->s, there, false);
    return 0;
}

static int copy_folder(struct tree *t, const struct pm_entry *from, const struct pm_entry *to,
                       int depth);

static int add_level(struct level *l, int depth)
{
    int err = 0;

    for (size_t i = 0; i < l->old.n && !err; i++) {
        const struct pm_entry *from = l->old.e[i];
        const struct pm_entry *there = l->made[i] ? l->made[i] : l->at[i];

        if (!l->made[i])
            err = check_there(l->t, from, there);
        if (!err)
            err = add_pair(l->t, from, there, l->made[i]);
        if (!err && from->kind == PM_FOLDER)
            err = copy_folder(l->t, from, there, depth + 1);
    }
    return err;
}

static int prepare_level(struct level *l)
{
    l->made = calloc(l->old.n + 1, sizeof(*l->made));
    l->at = calloc(l->old.n + 1, sizeof(*l->at));
    if (!l->made || !l->at)
        return -ENOMEM;
    for (size_t i = 0; i < l->old.n; i++)
        l->at[i] = find_name(&l->there, l->old.e[i]->name);
    return note_versions(l);
}

static int copy_folder(struct tree *t, const struct pm_entry *from, const struct pm_entry *to,
                       int depth)
{
    struct level l = {.t = t, .to = to};
    int          err = depth > DEPTH_MAX ? -ELOOP : list_folder(t->s, from, &l.old);

    if (!err)
        err = list_folder(t->s, to, &l.there);
    if (!err)
        err = prepare_level(&l);
    if (!err)
        err = pm_side_by_side(t->s->ctx, l.old.n, t->s->cache->conf->parallel, copy_child, &l);
    if (!err)
        err = add_level(&l, depth);
    for (size_t i = 0; i < l.old.n && l.made; i++)
        free(l.made[i]);
    free(l.made);
    free(l.at);
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

/* The object is not what was copied any more. What was made for it in this very try goes. */
static int drop_old_copy(struct tree *t, const struct pair *p)
{
    int err = p->made && p->to->kind != PM_FOLDER ? pm_copy_drop(t->s, p->to) : -ESTALE;

    return err == -ESTALE ? changed_since(t->s, p->from) : err ? err : -EAGAIN;
}

/* Is every object of the old folder one that was copied as it is? -EAGAIN: not yet. */
static int check_old(struct tree *t, const struct pm_entry *dir, int depth)
{
    struct children old = {0};
    int             err = depth > DEPTH_MAX ? -ELOOP : list_folder(t->s, dir, &old);
    bool            again = false;

    for (size_t i = 0; i < old.n && !err; i++) {
        const struct pair *p = find_pair(t, old.e[i]->id, old.e[i]->path);

        if (!p || p->from->kind != old.e[i]->kind)
            err = -EAGAIN;
        else if (old.e[i]->kind != PM_FOLDER &&
                 !pm_backend_same_version(t->s->account->backend, p->from->version,
                                          old.e[i]->version))
            err = drop_old_copy(t, p);
        else if (old.e[i]->kind == PM_FOLDER)
            err = check_old(t, old.e[i], depth + 1);
        again = again || err == -EAGAIN;
        if (err == -EAGAIN) /* the rest is looked at all the same: this try knows its own copies */
            err = 0;
    }
    free_children(&old);
    return err ? err : again ? -EAGAIN : 0;
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
        if (!err && p->to->kind != PM_FOLDER)
            err = pm_store_adopt_rows(db, p->node, now.version);
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

/* After all was copied: may it still take another place, or was any of it shared meanwhile? */
static int check_again(struct tree *t, const struct pm_entry *src, int64_t asked_ms)
{
    struct pm_backend *b = t->s->account->backend;
    int64_t            now = pm_now_ms();
    int                err = now - asked_ms < PM_ASK_AGAIN_MS
                                 ? pm_backend_check_move(b, t->s->ctx, src, now)
                                 : check_moves(t->s, src, now, 0);

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

static int confirm(struct tree *t, const struct pm_entry *to)
{
    int err = pm_rename_confirm(t->s, to, fold_pairs, t);

    for (size_t i = 0; i < t->n && !err; i++)
        if (t->pairs[i].node && t->pairs[i].to->kind != PM_FOLDER)
            pm_store_adopt(t->s->cache->store, t->pairs[i].node, t->pairs[i].to->version);
    return err;
}

static int copy_all(struct tree *t, const struct pm_entry *src, const struct pm_entry *to,
                    int64_t asked_ms)
{
    int err = copy_folder(t, src, to, 0);

    if (!err)
        err = settle_all(t);
    if (!err)
        err = check_again(t, src, asked_ms);
    if (!err)
        err = check_old(t, src, 0);
    return err == -ENOENT ? -EAGAIN : err; /* something went meanwhile: the whole is looked at again */
}

int pm_rename_tree(struct pm_send *s, const struct pm_entry *src)
{
    PM_AUTO(free) struct pm_entry *to = NULL;
    struct tree                    t = {.s = s};
    int64_t                        asked_ms = pm_now_ms();
    int                            err = check_moves(s, src, asked_ms, 0);

    if (!err)
        err = pm_copy_destination(s, src, s->e->oparent, make_folder, &to);
    if (!err)
        err = pm_copy_keep(s, to); /* only an empty folder looks like ours */
    if (!err)
        err = copy_all(&t, src, to, asked_ms);
    if (!err)
        err = pm_backend_remove(s->account->backend, s->ctx, src);
    if (!err)
        err = confirm(&t, to);
    free_tree(&t);
    return err;
}

/* --- when the answer to the removal was lost */

/* Pairs what is known of the old folder `node`, which is gone, with what is at the new place. */
static int pair_known(struct tree *t, pm_node node, const struct pm_entry *to, int depth)
{
    struct pm_db   *db = t->s->cache->db;
    struct children there = {0};
    int             err = depth > DEPTH_MAX ? -ELOOP : list_folder(t->s, to, &there);

    for (size_t i = 0; i < there.n && !err; i++) {
        PM_AUTO(free) struct pm_entry *from = NULL;
        struct pm_entry               *e = there.e[i];
        struct pm_row                  row;
        char                           name[PM_NAME_MAX + 1];
        pm_node                        child;

        pm_name_show(e->name, name);
        pm_db_begin(db);
        child = pm_node_listed(db, node, name);
        if (!child || pm_node_get(db, child, &row) || pm_node_entry(db, child, &from) ||
            row.kind != e->kind || (e->kind != PM_FOLDER && row.rsize != e->size))
            child = 0;
        err = pm_db_end(db, 0);
        if (child && !err)
            err = add_pair(t, from, e, false);
        if (child && !err && e->kind == PM_FOLDER)
            err = pair_known(t, child, e, depth + 1);
    }
    free_children(&there);
    return err;
}

int pm_rename_tree_lost(struct pm_send *s, const struct pm_entry *to)
{
    struct tree t = {.s = s};
    int         err = pair_known(&t, s->e->node, to, 0);

    if (!err)
        err = confirm(&t, to);
    free_tree(&t);
    return err;
}
