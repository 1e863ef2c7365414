#include "cache/identity.h"

#include "cache/journal.h"
#include "cache/list.h"
#include "cache/node.h"
#include "cache/queue.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct pm_identity {
    struct pm_cache *cache; /* immutable */
    uint32_t         account; /* immutable */
};

/* Is the second column's text in the row of the account, and not empty? */
static bool row_has(const struct pm_identity *i, const char *sql, const char *text)
{
    return *text && pm_db_int(i->cache->db, 0, sql, "is", (int64_t)i->account, text);
}

/* A state that knows no object may be anybody's, but what waits in it for one e-mail address does not
 * go to another. */
static bool may_be_anybodys(const struct pm_identity *i, const struct pm_fingerprint *f)
{
    struct pm_db *db = i->cache->db;

    if (pm_db_int(db, 0, "SELECT 1 FROM node WHERE account=?1 AND rid IS NOT NULL AND rid NOT LIKE '" PM_RID_PATH
                  "%' LIMIT 1", "i",
                  (int64_t)i->account))
        return false;
    return !row_has(i, "SELECT 1 FROM j.account WHERE id=?1 AND claim<>?2", f->claim) ||
           !pm_db_int(db, 0, "SELECT 1 FROM j.entry WHERE account=?1 AND state<>?2 LIMIT 1", "ii",
                      (int64_t)i->account, (int64_t)PM_J_LOCAL);
}

static int same(void *arg, const struct pm_fingerprint *f)
{
    const struct pm_identity *i = arg;
    bool                      yes;
    int                       err;

    pm_db_begin(i->cache->db);
    yes = row_has(i, "SELECT 1 FROM j.account WHERE id=?1 AND hash=?2", f->hash) ||
          row_has(i, "SELECT 1 FROM j.account WHERE id=?1 AND claim=?2", f->claim) ||
          may_be_anybodys(i, f);
    err = pm_db_end(i->cache->db, 0);
    return err ? err : yes ? 0 : -EAGAIN;
}

static bool knows(void *arg, const char *id)
{
    const struct pm_identity *i = arg;
    bool                      yes;

    pm_db_begin(i->cache->db);
    yes = pm_node_by_rid(i->cache->db, i->account, id) != 0;
    return !pm_db_end(i->cache->db, 0) && yes;
}

/* One that does not say whose it is leaves the word of the one before. */
static int take(void *arg, const struct pm_fingerprint *f)
{
    const struct pm_identity *i = arg;

    pm_db_begin(i->cache->db);
    if (!row_has(i, "SELECT 1 FROM j.account WHERE id=?1 AND hash=?2", f->hash))
        pm_db_run(i->cache->db,
                  "UPDATE j.account SET hash=?2, claim=coalesce(?3, claim) WHERE id=?1", "iss",
                  (int64_t)i->account, f->hash, *f->claim ? f->claim : NULL);
    return pm_db_end(i->cache->db, 0);
}

static void turned(void *arg)
{
    const struct pm_identity *i = arg;

    if (i->cache->lists)
        pm_lists_forgive(i->cache);
    if (i->cache->queue)
        pm_queue_kick(i->cache);
}

int pm_identity_open(struct pm_cache *c, struct pm_account *a, struct pm_identity **out)
{
    struct pm_gate       gate = {.same = same, .knows = knows, .accept = take, .turned = turned};
    struct pm_identity  *i = malloc(sizeof(*i));
    struct sqlite3_stmt *st;

    if (!i)
        return -ENOMEM;
    *i = (struct pm_identity){c, a->id};
    st = pm_db_query(c->db, "SELECT salt FROM j.account WHERE id=?1", "i", (int64_t)a->id);
    if (pm_db_row(c->db, st)) {
        pm_col_copy(st, 0, gate.salt, sizeof(gate.salt));
        pm_db_reset(st);
    }
    gate.arg = i;
    pm_backend_set_gate(a->backend, &gate);
    *out = i;
    return 0;
}

void pm_identity_close(struct pm_identity *i)
{
    free(i);
}

/* Where the credential comes from. */
static void source_of(const struct pm_conf *conf, const struct pm_account_conf *a, char *out,
                      size_t size)
{
    const struct pm_secret *s = a->nsecrets ? &a->secrets[0] : NULL;

    if (!s || !*s->how)
        snprintf(out, size, "%s in %s", s ? s->key : "credential",
                 conf->path ? conf->path : "the configuration");
    else if (!strcmp(s->how, "command"))
        snprintf(out, size, "%s that %s_command gives", s->key, s->key);
    else
        snprintf(out, size, "%s in %s", s->key, s->value); /* a file or a variable */
}

/* The environment is that of the start. */
static bool needs_remount(const struct pm_account_conf *a)
{
    return a->nsecrets && !strcmp(a->secrets[0].how, "env");
}

void pm_identity_advice(const struct pm_cache *c, const struct pm_account *a, char *out,
                        size_t size)
{
    char          why[256];
    char          source[300];
    enum pm_doubt doubt = pm_backend_doubt(a->backend, why, sizeof(why), NULL);

    *out = '\0';
    if (!doubt)
        return;
    source_of(c->conf, a->conf, source, sizeof(source));
    snprintf(out, size,
             "%s; nothing of it is sent and nothing is lost. Mend the %s, then %s%s%s", why, source,
             needs_remount(a->conf) ? "mount again" : "`polymount resume`",
             doubt == PM_STRANGE ? "; or, if it is the same account, `polymount resume"
                                   " --same-account "
                                 : "",
             doubt == PM_STRANGE ? a->conf->name : "");
    if (doubt == PM_STRANGE)
        strncat(out, "`", size - strlen(out) - 1);
}
