/* An account's credential, and whether it may be used.
 *
 * States:  none -> (look) good | STRANGE | MISSING
 *          good -> (refused by the service; look) good with another one | REFUSED | STRANGE | MISSING
 *          REFUSED | STRANGE | MISSING -> (look, when it is time) any
 *
 * A look gets the secret from its source. One that is new is shown to the gate; where the gate
 * cannot tell, or one was refused before, the root is listed with it, and nothing else: a probe.
 *
 * Invariants: 1. Calls that are no probe get only a secret that the gate has accepted. 2. One look at
 * a time; the lock is held neither while a secret is got nor while it is proved. 3. In doubt, a
 * source is looked at every LOOK_MS at most and the service asked with one that it refused after
 * pauses that grow, both only if somebody calls. 4. A look that cannot decide (no network) leaves
 * what was in doubt in doubt, and what was not is looked at again by the next call. */
#include "backends/credential.h"

#include "backends/http.h"
#include "backends/jwt.h"
#include "backends/util.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LOOK_MS    10000
#define TRY_MIN_MS 10000
#define TRY_MAX_MS (5 * 60 * 1000)
#define PROBE_MS   20000

struct pm_credential {
    const struct pm_account_conf *conf; /* immutable */
    const char                   *key; /* immutable */
    const char *const            *parts; /* immutable; NULL: it has one */
    struct pm_gate                gate; /* immutable after the first call; zeroes: none */
    pthread_mutex_t               lock; /* leaf */
    pthread_cond_t                looked; /* lock; when `looking` ends */
    bool                          looking; /* lock */
    enum pm_doubt                 doubt; /* lock */
    char                          why[200]; /* lock; of the doubt */
    char                         *secret; /* lock; the one in use, or in doubt; NULL: none yet */
    unsigned                      generation; /* lock; of secret; grows when another is in use */
    struct pm_fingerprint         strange; /* lock; of a STRANGE secret */
    int64_t                       look_ms; /* lock; in doubt: when the source is looked at again */
    int64_t                       try_ms; /* lock; REFUSED: when the same is tried again */
    int64_t                       pause_ms; /* lock; REFUSED: how long that waits */
    char                         *candidate; /* lock; for probes; NULL: no proof is under way */
    bool                          candidate_refused; /* lock */
};

int pm_credential_open(const struct pm_account_conf *conf, const char *key, const char *const *parts,
                       struct pm_credential **out)
{
    struct pm_credential *c = calloc(1, sizeof(*c));

    if (!c)
        return -ENOMEM;
    c->conf = conf;
    c->key = key;
    c->parts = parts;
    pthread_mutex_init(&c->lock, NULL);
    pm_cond_init(&c->looked);
    *out = c;
    return 0;
}

void pm_credential_close(struct pm_credential *c)
{
    if (!c)
        return;
    pm_secret_free(c->secret);
    pthread_cond_destroy(&c->looked);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void pm_backend_set_gate(struct pm_backend *b, const struct pm_gate *gate)
{
    if (b->credential)
        b->credential->gate = *gate;
}

/* --- doubts */

static int tell_locked(const struct pm_credential *c, struct pm_ctx *ctx)
{
    snprintf(ctx->why, sizeof(ctx->why), "%s", c->why);
    return -EACCES;
}

static int doubt_locked(struct pm_credential *c, struct pm_ctx *ctx, enum pm_doubt doubt,
                        const char *what, const char *word)
{
    char why[sizeof(c->why)];

    snprintf(why, sizeof(why), "%s%.150s", what, word);
    if (c->doubt != doubt || strcmp(why, c->why) != 0)
        pm_log(PM_ERROR, "account %s: %s", c->conf->name, why);
    memcpy(c->why, why, sizeof(why));
    c->doubt = doubt;
    c->look_ms = pm_now_ms() + LOOK_MS;
    return tell_locked(c, ctx);
}

static int refuse_locked(struct pm_credential *c, struct pm_ctx *ctx, const char *word)
{
    int64_t pause = c->doubt == PM_REFUSED ? 2 * c->pause_ms : TRY_MIN_MS;
    char    what[64];

    c->pause_ms = pause < TRY_MAX_MS ? pause : TRY_MAX_MS;
    c->try_ms = pm_now_ms() + c->pause_ms;
    snprintf(what, sizeof(what), "%s refused: ", c->key);
    return doubt_locked(c, ctx, PM_REFUSED, what, *word ? word : "log in again");
}

static int miss_locked(struct pm_credential *c, struct pm_ctx *ctx, int err, const char *why)
{
    const char *begin = strstr(why, ": "); /* of what the account's name does not say */

    if (begin && !strncmp(why, "account ", 8))
        why = begin + 2;
    if (err == -ENOMEM)
        return err;
    return *why ? doubt_locked(c, ctx, PM_MISSING, "", why)
                : doubt_locked(c, ctx, PM_MISSING, "no credential is configured: ", c->key);
}

/* --- proving whose it is */

struct proof {
    const struct pm_gate *gate;
    bool                  need_known;
    bool                  found;
};

static int look_for_known(void *arg, const struct pm_entry *e)
{
    struct proof *p = arg;

    if (p->need_known && (!*e->id || !p->gate->knows(p->gate->arg, e->id)))
        return 0;
    p->found = true;
    return -ECANCELED;
}

/* Lists the root with the candidate. 0: it is taken, and its list has a known id if one is needed.
 * -ENOENT: it is taken, and its list has none. */
static int probe(struct pm_backend *b, struct pm_ctx *ctx, bool need_known)
{
    static const struct pm_entry root = {.kind = PM_FOLDER,
                                         .root = "",
                                         .id = "",
                                         .name = "",
                                         .path = "",
                                         .target = "",
                                         .version = "",
                                         .state = "",
                                         .size = PM_SIZE_UNKNOWN};
    struct proof p = {.gate = &b->credential->gate, .need_known = need_known};
    int          err = b->ops->list(b, ctx, &root, look_for_known, &p);

    if (p.found)
        return 0;
    if (err)
        return err == -ENOENT ? -EIO : err;
    return need_known ? -ENOENT : 0;
}

static int take_fingerprint(const struct pm_gate *gate, const char *secret,
                            struct pm_fingerprint *out)
{
    PM_AUTO(pm_buf) struct pm_buf b = {0};
    int                           err = pm_jwt_claim(secret, "email", out->claim, sizeof(out->claim));

    if (err == -ENOMEM)
        return err;
    pm_buf_str(&b, gate->salt);
    pm_buf_str(&b, secret);
    if (b.failed)
        return -ENOMEM;
    pm_digest_sha256_hex(b.ptr, b.len, out->hash);
    explicit_bzero(b.ptr, b.len);
    return 0;
}

/* As probe(); `must_try`: the service is asked even if the gate can tell. */
static int judge(struct pm_backend *b, struct pm_ctx *ctx, const char *secret, bool must_try,
                 struct pm_fingerprint *f)
{
    const struct pm_gate *gate = &b->credential->gate;
    int                   err = take_fingerprint(gate, secret, f);
    bool                  unsure;

    if (!err && gate->same)
        err = gate->same(gate->arg, f);
    unsure = err == -EAGAIN;
    if (unsure || (!err && must_try))
        err = probe(b, ctx, unsure);
    if (!err && gate->accept)
        err = gate->accept(gate->arg, f);
    return err;
}

static void keep_locked(struct pm_credential *c, char *secret)
{
    pm_secret_free(c->secret);
    c->secret = secret;
    c->generation++;
}

/* What became of a secret (consumed) that was judged. */
static int conclude_locked(struct pm_credential *c, struct pm_ctx *ctx, char *secret, int err,
                           const struct pm_ctx *own, const struct pm_fingerprint *f)
{
    if (err == -EACCES && c->candidate_refused) {
        keep_locked(c, secret);
        return refuse_locked(c, ctx, own->why);
    }
    if (err == -ENOENT) {
        keep_locked(c, secret);
        c->strange = *f;
        return doubt_locked(c, ctx, PM_STRANGE, c->key, " may be another account's");
    }
    if (!err) {
        if (c->doubt)
            pm_log(PM_INFO, "account %s: the %s is good again", c->conf->name, c->key);
        keep_locked(c, secret);
        c->doubt = PM_NO_DOUBT;
        return 0;
    }
    pm_secret_free(secret); /* undecided */
    memcpy(ctx->why, own->why, sizeof(ctx->why));
    ctx->retry_ms = own->retry_ms;
    if (c->doubt)
        c->look_ms = pm_now_ms() + LOOK_MS;
    else
        keep_locked(c, NULL);
    return err;
}

/* Consumes `secret`. */
static int prove_locked(struct pm_backend *b, struct pm_ctx *ctx, char *secret, bool must_try)
{
    struct pm_credential *c = b->credential;
    struct pm_fingerprint f = {.claim = ""};
    struct pm_ctx         own = {.cancel = ctx->cancel, .prio = ctx->prio, .probe = true};
    int64_t               limit = pm_now_ms() + PROBE_MS;
    int                   err;

    own.deadline_ms = ctx->deadline_ms && ctx->deadline_ms < limit ? ctx->deadline_ms : limit;
    c->candidate = secret;
    c->candidate_refused = false;
    pthread_mutex_unlock(&c->lock);
    err = judge(b, &own, secret, must_try, &f);
    pthread_mutex_lock(&c->lock);
    c->candidate = NULL;
    return conclude_locked(c, ctx, secret, err, &own, &f);
}

/* --- looking */

/* The source still gives the one that is known. Consumes `secret`. */
static int same_again_locked(struct pm_backend *b, struct pm_ctx *ctx, char *secret, bool refused,
                             bool now)
{
    struct pm_credential *c = b->credential;

    if (refused || (!now && c->doubt == PM_STRANGE) ||
        (!now && c->doubt == PM_REFUSED && pm_now_ms() < c->try_ms)) {
        char word[sizeof(ctx->why)];

        pm_secret_free(secret);
        memcpy(word, ctx->why, sizeof(word));
        if (refused)
            return refuse_locked(c, ctx, word);
        c->look_ms = pm_now_ms() + LOOK_MS;
        return tell_locked(c, ctx);
    }
    return prove_locked(b, ctx, secret, c->doubt != PM_STRANGE);
}

static int get_part(struct pm_backend *b, const char *key, bool anew, char **out, char *why,
                    size_t why_len)
{
    const struct pm_account_conf *conf = b->credential->conf;

    return anew ? pm_conf_secret_now(pm_net_conf(b->net), conf, key, out, why, why_len)
                : pm_conf_secret(conf, key, NULL, out, why, why_len);
}

/* The secret from its source; `anew`: as that says by now. */
static int get_secret(struct pm_backend *b, bool anew, char **out, char *why, size_t why_len)
{
    const struct pm_credential *c = b->credential;
    char                       *all = NULL;
    int                         err = 0;

    if (!c->parts)
        return get_part(b, c->key, anew, out, why, why_len);
    for (const char *const *key = c->parts; *key && !err; key++) {
        char *part = NULL, *more;

        err = get_part(b, *key, anew, &part, why, why_len);
        if (err == -ENOENT && !*why)
            snprintf(why, why_len, "no credential is configured: %s", *key);
        if (err)
            break;
        more = all ? pm_asprintf("%s\n%s", all, part) : strdup(part);
        pm_secret_free(all);
        pm_secret_free(part);
        all = more;
        err = all ? 0 : -ENOMEM;
    }
    if (err || !all) {
        pm_secret_free(all);
        return err ? err : -ENOENT;
    }
    *out = all;
    return 0;
}

/* Entered and left with the lock held. `refused`: the service just did not take the one in use. */
static int look_locked(struct pm_backend *b, struct pm_ctx *ctx, bool refused, bool now)
{
    struct pm_credential *c = b->credential;
    enum pm_doubt         before = c->doubt;
    bool                  anew = b->net && (before || refused); /* the user may have mended it */
    char                  why[sizeof(ctx->why)] = "";
    char                 *secret = NULL;
    int                   err;

    c->looking = true;
    pthread_mutex_unlock(&c->lock);
    err = get_secret(b, anew, &secret, why, sizeof(why));
    pthread_mutex_lock(&c->lock);
    if (err)
        err = miss_locked(c, ctx, err, why);
    else if (c->secret && !strcmp(c->secret, secret))
        err = same_again_locked(b, ctx, secret, refused, now);
    else
        err = prove_locked(b, ctx, secret, c->doubt == PM_REFUSED);
    if (c->doubt != before && c->gate.turned) {
        pthread_mutex_unlock(&c->lock);
        c->gate.turned(c->gate.arg);
        pthread_mutex_lock(&c->lock);
    }
    c->looking = false;
    pthread_cond_broadcast(&c->looked);
    return err;
}

/* Waits until nobody looks. */
static int wait_locked(struct pm_credential *c, struct pm_ctx *ctx)
{
    while (c->looking) {
        if (ctx->cancel && atomic_load(ctx->cancel))
            return -ECANCELED;
        if (ctx->deadline_ms && pm_now_ms() >= ctx->deadline_ms)
            return -ETIMEDOUT;
        pm_cond_wait_until(&c->looked, &c->lock, pm_now_ms() + 100);
    }
    return 0;
}

/* For the call that proves it; one that was refused is not got anew. */
static int use_candidate_locked(struct pm_credential *c, bool refused, char **secret,
                                unsigned *generation)
{
    if (refused || !c->candidate) {
        c->candidate_refused = true;
        return -EACCES;
    }
    *secret = strdup(c->candidate);
    *generation = c->generation + 1;
    return *secret ? 0 : -ENOMEM;
}

int pm_credential_use(struct pm_backend *b, struct pm_ctx *ctx, unsigned refused, char **secret,
                      unsigned *generation)
{
    struct pm_credential *c = b->credential;
    int                   err;

    PM_GUARD(&c->lock);
    if (ctx->probe)
        return use_candidate_locked(c, refused != 0, secret, generation);
    err = wait_locked(c, ctx);
    if (err)
        return err;
    refused = refused && refused == c->generation;
    if (c->doubt)
        err = pm_now_ms() < c->look_ms ? tell_locked(c, ctx) : look_locked(b, ctx, false, false);
    else if (!c->secret || refused)
        err = look_locked(b, ctx, refused && c->secret, false);
    if (err || !c->secret)
        return err ? err : -EACCES;
    *secret = strdup(c->secret);
    *generation = c->generation;
    return *secret ? 0 : -ENOMEM;
}

int pm_credential_refuse(struct pm_backend *b, struct pm_ctx *ctx, unsigned generation)
{
    struct pm_credential *c = b->credential;
    char                  word[sizeof(ctx->why)];
    bool                  turned;

    if (ctx->probe)
        return -EACCES;
    memcpy(word, ctx->why, sizeof(word));
    pthread_mutex_lock(&c->lock);
    turned = !c->doubt && c->secret && !c->looking && generation == c->generation;
    if (turned)
        refuse_locked(c, ctx, word);
    pthread_mutex_unlock(&c->lock);
    if (turned && c->gate.turned)
        c->gate.turned(c->gate.arg);
    return -EACCES;
}

/* Does it hold the beginning of the secret, or of one of its parts? */
static bool repeats(const char *why, const char *secret)
{
    for (const char *part = secret; part && *part;) {
        size_t len = strcspn(part, "\n");
        char   start[17];

        snprintf(start, sizeof(start), "%.*s", (int)(len < 16 ? len : 16), part);
        if (len >= 8 && strstr(why, start))
            return true;
        part += len + (part[len] == '\n');
    }
    return false;
}

void pm_credential_hide(struct pm_backend *b, char *why)
{
    struct pm_credential *c = b->credential;

    PM_GUARD(&c->lock);
    if (repeats(why, c->secret) || repeats(why, c->candidate))
        snprintf(why, sizeof("refused"), "refused");
}

/* --- for the layers above */

enum pm_doubt pm_backend_doubt(const struct pm_backend *b, char *why, size_t why_len,
                               int64_t *again_ms)
{
    struct pm_credential *c = b->credential;

    if (!c)
        return PM_NO_DOUBT;
    PM_GUARD(&c->lock);
    if (why && why_len)
        snprintf(why, why_len, "%s", c->doubt ? c->why : "");
    if (again_ms)
        *again_ms = c->look_ms;
    return c->doubt;
}

int pm_backend_check(struct pm_backend *b, struct pm_ctx *ctx, bool now)
{
    struct pm_credential *c = b->credential;
    int                   err;

    ctx->retry_ms = 0;
    ctx->why[0] = '\0';
    if (!c)
        return 0;
    PM_GUARD(&c->lock);
    err = wait_locked(c, ctx);
    if (err || (!c->doubt && c->secret))
        return err;
    if (c->doubt && !now && pm_now_ms() < c->look_ms)
        return tell_locked(c, ctx);
    return look_locked(b, ctx, false, now);
}

int pm_backend_accept(struct pm_backend *b)
{
    struct pm_credential *c = b->credential;
    struct pm_fingerprint f;
    int                   err;

    if (!c)
        return -ENOENT;
    pthread_mutex_lock(&c->lock);
    err = c->doubt == PM_STRANGE && !c->looking ? 0 : -ENOENT;
    f = c->strange;
    pthread_mutex_unlock(&c->lock);
    if (!err && c->gate.accept)
        err = c->gate.accept(c->gate.arg, &f);
    if (err)
        return err;
    pthread_mutex_lock(&c->lock);
    if (c->doubt == PM_STRANGE && !c->looking) {
        c->doubt = PM_NO_DOUBT; /* the next call looks, and the gate knows it now */
        keep_locked(c, NULL);
    }
    pthread_mutex_unlock(&c->lock);
    if (c->gate.turned)
        c->gate.turned(c->gate.arg);
    return 0;
}
