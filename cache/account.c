/* The accounts of the configuration, their backends, their rows and roots in the index. */
#include "cache/identity.h"
#include "cache/state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct pm_account *pm_account_by_id(struct pm_cache *c, uint32_t id)
{
    for (size_t i = 0; i < c->naccounts; i++)
        if (c->accounts[i].id == id)
            return &c->accounts[i];
    return NULL;
}

int pm_account_reaches(struct pm_cache *c, const struct pm_row *row)
{
    const struct pm_account *a = pm_account_by_id(c, row->account);

    return a && pm_backend_can(a->backend, PM_CAP_BY_PATH) && pm_name_is_duplicate(row->name)
               ? -EINVAL
               : 0;
}

void pm_account_report(struct pm_account *a, int err, const char *why)
{
    PM_GUARD(&a->lock);
    if (err == -ECANCELED || err == -ENOENT || err == -EEXIST)
        err = 0;
    snprintf(a->error, sizeof(a->error), "%s", !err ? "" : *why ? why : strerror(-err));
}

/* --- credentials in doubt */

/* Whether it still is; then `out` gets what to do. */
static bool check(struct pm_cache *c, struct pm_account *a, struct pm_buf *out)
{
    struct pm_ctx ctx = {.prio = PM_INTERACTIVE, .cancel = &c->stopping};
    char          advice[900];

    pm_backend_check(a->backend, &ctx, true);
    pm_identity_advice(c, a, advice, sizeof(advice));
    if (!*advice)
        pm_account_report(a, 0, ""); /* what was wrong is mended: nothing may be waiting to find that out */
    else if (out)
        pm_buf_printf(out, "account %s: %s\n", a->conf->name, advice);
    return *advice != '\0';
}

int pm_account_retry(struct pm_cache *c, struct pm_buf *out)
{
    int err = 0;

    for (size_t i = 0; i < c->naccounts; i++)
        if (pm_backend_doubt(c->accounts[i].backend, NULL, 0, NULL) &&
            check(c, &c->accounts[i], out))
            err = -EACCES;
    return err;
}

int pm_account_accept(struct pm_cache *c, const char *name, struct pm_buf *out)
{
    struct pm_account *a = NULL;
    int                err;

    for (size_t i = 0; i < c->naccounts && !a; i++)
        if (!strcmp(c->accounts[i].conf->name, name))
            a = &c->accounts[i];
    if (!a)
        return -ENOENT;
    check(c, a, NULL); /* it may not have been looked at yet */
    err = pm_backend_accept(a->backend);
    if (err == -ENOENT && !pm_backend_doubt(a->backend, NULL, 0, NULL))
        return -EEXIST;
    if (err && err != -ENOENT)
        return err;
    return check(c, a, out) ? -EACCES : 0;
}

/* --- a backend's small store: rows of the index */

struct kv_arg {
    struct pm_cache *cache;
    uint32_t         account;
};

static char *kv_key(const struct kv_arg *k, const char *key)
{
    return pm_asprintf("account/%u/%s", k->account, key);
}

static int kv_get(void *arg, const char *key, char **out)
{
    const struct kv_arg *k = arg;
    PM_AUTO(free) char  *full = kv_key(k, key);
    struct sqlite3_stmt *st;

    *out = NULL;
    if (!full)
        return -ENOMEM;
    pm_db_begin(k->cache->db);
    st = pm_db_query(k->cache->db, "SELECT value FROM meta WHERE key=?1", "s", full);
    if (pm_db_row(k->cache->db, st)) {
        *out = pm_col_dup(k->cache->db, st, 0);
        pm_db_reset(st);
    }
    return pm_db_end(k->cache->db, 0);
}

static int kv_set(void *arg, const char *key, const char *value)
{
    const struct kv_arg *k = arg;
    PM_AUTO(free) char  *full = kv_key(k, key);

    if (!full)
        return -ENOMEM;
    pm_db_begin(k->cache->db);
    return pm_db_end(k->cache->db,
                     pm_db_run(k->cache->db,
                               "INSERT OR REPLACE INTO meta(key, value) VALUES(?1, ?2)", "ss", full,
                               value));
}

static int kv_sync(void *arg)
{
    const struct kv_arg *k = arg;

    return pm_db_sync(k->cache->db);
}

static int kv_keep(void *arg, const char *key, const char *value)
{
    const struct kv_arg *k = arg;
    struct pm_db        *db = k->cache->db;
    int                  err;

    pm_db_begin(db);
    if (value)
        err = pm_db_run(db, "INSERT OR REPLACE INTO j.own(account, key, value) VALUES(?1, ?2, ?3)",
                        "iss", (int64_t)k->account, key, value);
    else
        err = pm_db_run(db, "DELETE FROM j.own WHERE account=?1 AND key=?2", "is",
                        (int64_t)k->account, key);
    return pm_db_end(db, err);
}

static int kv_kept(void *arg, const char *key, char **out)
{
    const struct kv_arg *k = arg;
    struct pm_db        *db = k->cache->db;
    struct sqlite3_stmt *st;

    *out = NULL;
    pm_db_begin(db);
    st = pm_db_query(db, "SELECT value FROM j.own WHERE account=?1 AND key=?2", "is",
                     (int64_t)k->account, key);
    if (pm_db_row(db, st)) {
        *out = pm_col_dup(db, st, 0);
        pm_db_reset(st);
    }
    return pm_db_end(db, 0);
}

static int kv_each(void *arg, const char *prefix, pm_kept_fn *fn, void *fn_arg)
{
    const struct kv_arg *k = arg;
    struct pm_db        *db = k->cache->db;
    struct sqlite3_stmt *st;
    int                  err = 0;

    pm_db_begin(db);
    st = pm_db_query(db,
                     "SELECT key, value FROM j.own WHERE account=?1 AND key>=?2 AND"
                     " substr(key, 1, length(?2))=?2 ORDER BY key",
                     "is", (int64_t)k->account, prefix);
    while (err >= 0 && pm_db_row(db, st))
        err = fn(fn_arg, pm_col_text(st, 0), pm_col_text(st, 1));
    if (err < 0)
        pm_db_reset(st);
    return pm_db_end(db, err < 0 ? err : 0);
}

/* --- rows */

/* A row of this (type, endpoint) that is not taken: the one of this name, or any, since names change.
 * 0: none. */
static uint32_t find_row(struct pm_cache *c, const struct pm_account_conf *conf, uint64_t taken,
                         bool any)
{
    return (uint32_t)pm_db_int(c->db, 0,
                               "SELECT id FROM j.account WHERE type=?1 AND endpoint=?2 AND"
                               " NOT ((?4 >> id) & 1) AND (?5 OR name=?3) ORDER BY id LIMIT 1",
                               "sssii", conf->type, conf->endpoint, conf->name, (int64_t)taken,
                               (int64_t)any);
}

static int make_row(struct pm_cache *c, const struct pm_account_conf *conf, uint32_t *id)
{
    unsigned char random[32];
    char          hex[65];
    char          uuid[33];
    int           err = pm_random(random, sizeof(random));

    if (err)
        return err;
    pm_digest_sha256_hex(random, sizeof(random), hex);
    snprintf(uuid, sizeof(uuid), "%.32s", hex);
    err = pm_db_run(c->db,
                    "INSERT INTO j.account(type, endpoint, name, uuid, salt) VALUES(?1,?2,?3,?4,?5)",
                    "sssss", conf->type, conf->endpoint, conf->name, uuid, hex + 32);
    *id = (uint32_t)pm_db_last_id(c->db);
    return err;
}

struct root_arg {
    struct pm_cache   *cache;
    struct pm_account *account;
};

/* Each root of the backend is a folder in the mount point: NAME and its suffix. */
static int add_root(void *arg, const struct pm_entry *e)
{
    struct root_arg *r = arg;
    struct pm_db    *db = r->cache->db;
    char             name[PM_NAME_MAX + 1];
    pm_node          node;
    int              err = 0;

    if (snprintf(name, sizeof(name), "%s%s", r->account->conf->name, e->root) > PM_NAME_MAX)
        return -ENAMETOOLONG;
    node = (pm_node)pm_db_int(db, 0, "SELECT id FROM node WHERE account=?1 AND root=?2", "is",
                              (int64_t)r->account->id, e->root);
    if (!node)
        err = pm_node_make(db, r->account->id, PM_FOLDER, NULL, &node);
    if (!err)
        err = pm_db_run(db, "UPDATE node SET root=?2 WHERE id=?1", "is", (int64_t)node, e->root);
    return err ? err : pm_node_place(db, node, PM_NODE_ROOT, name, name);
}

static int open_row(struct pm_cache *c, struct pm_account *a)
{
    struct root_arg arg = {c, a};

    if (a->id > 62)
        return -ENOSPC;
    pm_db_run(c->db, "UPDATE j.account SET name=?2 WHERE id=?1", "is", (int64_t)a->id, a->conf->name);
    return pm_backend_roots(a->backend, add_root, &arg);
}

/* Those that keep their names come first: a new one must not take what belongs to one of them. */
static int find_rows(struct pm_cache *c)
{
    uint64_t taken = 0;
    int      err = 0;

    for (int pass = 0; pass < 3 && !err; pass++) {
        for (size_t i = 0; i < c->naccounts && !err; i++) {
            struct pm_account *a = &c->accounts[i];

            if (!a->id && pass < 2)
                a->id = find_row(c, a->conf, taken, pass == 1);
            else if (!a->id)
                err = make_row(c, a->conf, &a->id);
            if (a->id && a->id < 64)
                taken |= (uint64_t)1 << a->id;
        }
    }
    return err;
}

/* The mount point's own row; roots of accounts that are not configured now are not shown. */
static int open_mount_root(struct pm_cache *c)
{
    pm_db_run(c->db,
              "INSERT OR IGNORE INTO node(id, account, kind, size, mtime, btime) VALUES(1, 0, ?1,"
              " 0, ?2, ?2)",
              "ii", (int64_t)PM_FOLDER, pm_wall_ms());
    return pm_db_run(c->db, "UPDATE node SET parent=NULL, name=NULL WHERE parent=1", "");
}

static int open_kv(struct pm_cache *c, struct pm_kv *kv)
{
    struct kv_arg *k = malloc(sizeof(*k));

    if (!k)
        return -ENOMEM;
    *k = (struct kv_arg){c, 0};
    *kv = (struct pm_kv){.get = kv_get, .set = kv_set, .sync = kv_sync, .keep = kv_keep,
                          .kept = kv_kept, .each = kv_each, .arg = k};
    return 0;
}

static int open_backend(struct pm_cache *c, struct pm_account *a)
{
    struct pm_kv kv;
    int          err = open_kv(c, &kv);

    if (err)
        return err;
    err = pm_backend_open(a->conf, c->net, &kv, &a->backend);
    if (err)
        free(kv.arg);
    return err;
}

/* How long services asked to wait belongs to no account: several may be of one host. */
static int open_waits(struct pm_cache *c)
{
    struct pm_kv kv;
    int          err = open_kv(c, &kv);

    if (err)
        return err;
    c->waits = kv.arg;
    pm_net_keep(c->net, &kv);
    return 0;
}

static int open_account(struct pm_cache *c, struct pm_account *a)
{
    int err = open_row(c, a);

    if (!err)
        err = pm_identity_open(c, a, &a->identity);
    if (!err)
        ((struct kv_arg *)a->backend->kv.arg)->account = a->id;
    return err;
}

int pm_accounts_open(struct pm_cache *c, char *why, size_t why_len)
{
    int err;

    c->accounts = calloc(c->conf->naccounts, sizeof(*c->accounts));
    if (!c->accounts)
        return -ENOMEM;
    err = open_waits(c);
    if (err)
        return err;
    pm_db_begin(c->db);
    err = open_mount_root(c);
    for (size_t i = 0; i < c->conf->naccounts && !err; i++) {
        struct pm_account *a = &c->accounts[i];

        a->conf = &c->conf->accounts[i];
        pthread_mutex_init(&a->lock, NULL);
        c->naccounts++;
        err = open_backend(c, a);
        if (err)
            snprintf(why, why_len, "account %s: %s", a->conf->name, strerror(-err));
    }
    if (!err)
        err = find_rows(c);
    for (size_t i = 0; i < c->naccounts && !err; i++) {
        err = open_account(c, &c->accounts[i]);
        if (err)
            snprintf(why, why_len, "account %s: %s", c->accounts[i].conf->name, strerror(-err));
    }
    return pm_db_end(c->db, err);
}

void pm_accounts_close(struct pm_cache *c)
{
    for (size_t i = 0; i < c->naccounts; i++) {
        struct pm_account *a = &c->accounts[i];
        void              *kv = a->backend ? a->backend->kv.arg : NULL;

        pm_backend_close(a->backend);
        pm_identity_close(a->identity);
        free(kv);
        pthread_mutex_destroy(&a->lock);
    }
    free(c->accounts);
    free(c->waits);
    c->accounts = NULL;
    c->waits = NULL;
    c->naccounts = 0;
}
