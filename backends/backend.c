/* The one place that calls through `ops`: checks what goes in and what comes out. */
#include "backends/backend.h"
#include "backends/credential.h"
#include "backends/http.h"
#include "backends/memory.h"
#include "backends/shapeways.h"
#include "backends/sharemy3d.h"
#include "backends/smartshape.h"
#include "backends/three_sixty.h"
#include "backends/util.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct pm_backend_ops *const services[] = {
    &pm_smartshape_ops,
    &pm_three_sixty_ops,
    &pm_sharemy3d_ops,
    &pm_shapeways_ops,
    &pm_memory_ops, /* for tests */
    &pm_memory_draft_ops,
    &pm_memory_drops_ops,
};

static const struct pm_backend_ops *find_service(const char *type)
{
    for (size_t i = 0; i < PM_COUNT(services); i++)
        if (!strcmp(services[i]->type, type))
            return services[i];
    return NULL;
}

const char *pm_backend_default_endpoint(const char *type)
{
    const struct pm_backend_ops *ops = find_service(type);

    return ops ? ops->endpoint : NULL;
}

/* --- entries */

static const char *copy_string(char **to, const char *from)
{
    const char *start = *to;

    *to = stpcpy(*to, from ? from : "") + 1;
    return start;
}

static size_t string_size(const char *s)
{
    return (s ? strlen(s) : 0) + 1;
}

struct pm_entry *pm_entry_dup(const struct pm_entry *e)
{
    struct pm_entry *copy;
    char            *to;

    copy = malloc(sizeof(*copy) + string_size(e->root) + string_size(e->id) +
                  string_size(e->name) + string_size(e->path) + string_size(e->target) +
                  string_size(e->version) + string_size(e->state) +
                  string_size(e->fields));
    if (!copy)
        return NULL;
    *copy = *e;
    to = (char *)(copy + 1);
    copy->root = copy_string(&to, e->root);
    copy->id = copy_string(&to, e->id);
    copy->name = copy_string(&to, e->name);
    copy->path = copy_string(&to, e->path);
    copy->target = copy_string(&to, e->target);
    copy->version = copy_string(&to, e->version);
    copy->state = copy_string(&to, e->state);
    copy->fields = copy_string(&to, e->fields);
    return copy;
}

/* --- life */

int pm_backend_open(const struct pm_account_conf *conf, struct pm_net *net, const struct pm_kv *kv,
                    struct pm_backend **out)
{
    const struct pm_backend_ops *ops = find_service(conf->type);
    struct pm_credential        *credential = NULL;
    struct pm_backend           *b = NULL;
    int                          err;

    if (!ops)
        return -EINVAL;
    if (ops->secret &&
        pm_credential_open(conf, ops->secret, ops->parts ? ops->parts(conf) : NULL, &credential))
        return -ENOMEM;
    err = ops->open(conf, &b);
    if (err) {
        pm_credential_close(credential);
        return err;
    }
    b->credential = credential;
    b->ops = ops;
    b->conf = conf;
    b->net = net;
    if (kv)
        b->kv = *kv;
    *out = b;
    return 0;
}

void pm_backend_close(struct pm_backend *b)
{
    struct pm_credential *credential = b ? b->credential : NULL;

    if (b)
        b->ops->close(b);
    pm_credential_close(credential);
}

char *pm_backend_recall(const struct pm_backend *b, const char *key)
{
    char *value = NULL;

    if (!b->kv.get || b->kv.get(b->kv.arg, key, &value) != 0)
        return NULL;
    return value;
}

void pm_backend_learn(const struct pm_backend *b, const char *key, const char *value)
{
    if (b->kv.set && b->kv.set(b->kv.arg, key, value) != 0)
        pm_log(PM_WARN, "%s: cannot remember %s", b->conf->name, key);
}

int pm_backend_learn_surely(const struct pm_backend *b, const char *key, const char *value)
{
    int err = b->kv.set ? b->kv.set(b->kv.arg, key, value) : 0;

    return err || !b->kv.sync ? err : b->kv.sync(b->kv.arg);
}

int pm_backend_keep(const struct pm_backend *b, const char *key, const char *value)
{
    return b->kv.keep ? b->kv.keep(b->kv.arg, key, value) : -EOPNOTSUPP;
}

int pm_backend_kept(const struct pm_backend *b, const char *key, char **value)
{
    *value = NULL;
    return b->kv.kept ? b->kv.kept(b->kv.arg, key, value) : 0;
}

int pm_backend_each_kept(const struct pm_backend *b, const char *prefix, pm_kept_fn *fn, void *arg)
{
    return b->kv.each ? b->kv.each(b->kv.arg, prefix, fn, arg) : 0;
}

/* --- calls */

/* What every result must be: 0 or a negative errno, never a stray positive. */
static int checked(const struct pm_ctx *ctx, int err)
{
    assert(err <= 0 && err > -4096);
    assert(memchr(ctx->why, '\0', sizeof(ctx->why)));
    (void)ctx;
    return err;
}

static int checked_entry(const struct pm_ctx *ctx, int err, struct pm_entry *const *out)
{
    assert(err || (*out && (*out)->name && (*out)->path && (*out)->id && (*out)->version));
    (void)out;
    return checked(ctx, err);
}

static void reset(struct pm_ctx *ctx)
{
    ctx->retry_ms = 0;
    ctx->why[0] = '\0';
}

/* May a change be tried? `op` says whether the service has it. */
static int may_change(const struct pm_backend *b, struct pm_ctx *ctx, bool op)
{
    reset(ctx);
    if (b->conf->read_only) {
        snprintf(ctx->why, sizeof(ctx->why), "the account is configured read-only");
        return -EROFS;
    }
    return op ? 0 : -EOPNOTSUPP;
}

bool pm_backend_same_version(const struct pm_backend *b, const char *x, const char *y)
{
    return b->ops->same_version ? b->ops->same_version(x, y) : !strcmp(x, y);
}

bool pm_backend_gives_back(const struct pm_backend *b, const struct pm_entry *e)
{
    return !e->one_way && (b->ops->locate || b->ops->fetch);
}

bool pm_backend_can_copy(const struct pm_backend *b)
{
    return b->ops->copy != NULL;
}

int64_t pm_backend_hold_ms(const struct pm_backend *b)
{
    return b->net && *b->conf->endpoint ? pm_http_hold_ms(b->net, b->conf->endpoint) : 0;
}

bool pm_backend_can(const struct pm_backend *b, enum pm_cap cap)
{
    if (b->conf->read_only && cap == PM_CAP_REPLACE)
        return false;
    return (b->ops->caps & cap) != 0;
}

bool pm_backend_can_name(const struct pm_backend *b)
{
    return b->ops->rename != NULL;
}

int pm_backend_rename(struct pm_backend *b, const struct pm_entry *e, const char *name,
                      struct pm_entry **out)
{
    struct pm_ctx ctx = {0};
    int           err = may_change(b, &ctx, b->ops->rename != NULL);

    return err ? err : checked_entry(&ctx, b->ops->rename(b, e, name, out), out);
}

enum pm_manner pm_backend_manner(struct pm_backend *b, const struct pm_entry *dir, char *why,
                                 size_t size)
{
    assert(dir->kind == PM_FOLDER && size);
    *why = '\0';
    if (b->conf->read_only) {
        snprintf(why, size, "the account is configured read-only");
        return PM_MANNER_FIXED;
    }
    if (b->ops->manner)
        return b->ops->manner(b, dir, why, size);
    return b->ops->begin ? PM_MANNER_TREE : PM_MANNER_FIXED;
}

bool pm_backend_has_manners(const struct pm_backend *b)
{
    return b->ops->manner != NULL;
}

int pm_backend_check_options(struct pm_backend *b, const struct pm_entry *dir, const char *options,
                             char *why, size_t size)
{
    *why = '\0';
    return b->ops->check_options ? b->ops->check_options(b, dir, options, why, size) : 0;
}

int pm_backend_roots(struct pm_backend *b, pm_entry_fn *each, void *arg)
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

    return b->ops->roots ? b->ops->roots(b, each, arg) : each(arg, &root);
}

int pm_backend_list(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *dir,
                    pm_entry_fn *each, void *arg)
{
    assert(dir->kind == PM_FOLDER);
    reset(ctx);
    return checked(ctx, b->ops->list(b, ctx, dir, each, arg));
}

int pm_backend_stat(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                    struct pm_entry **out)
{
    reset(ctx);
    return checked_entry(ctx, b->ops->stat(b, ctx, e, out), out);
}

int pm_backend_begin(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up)
{
    int err = may_change(b, ctx, b->ops->begin != NULL);

    assert(up->fd >= 0 && *up->name && up->parent->kind == PM_FOLDER);
    if (!err)
        err = b->ops->begin(b, ctx, up);
    assert(err || up->state);
    return checked(ctx, err);
}

int pm_backend_resume(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, uint64_t *off)
{
    int err = may_change(b, ctx, b->ops->resume != NULL);

    assert(up->state);
    if (!err)
        err = b->ops->resume(b, ctx, up, off);
    assert(err || *off <= up->size);
    return checked(ctx, err);
}

int pm_backend_put(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, uint64_t *off)
{
    int err = may_change(b, ctx, b->ops->put != NULL);

    assert(up->state && *off <= up->size);
    if (!err)
        err = b->ops->put(b, ctx, up, off);
    assert(err || *off <= up->size);
    return checked(ctx, err);
}

int pm_backend_finish(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up,
                      struct pm_entry **out)
{
    int err = may_change(b, ctx, b->ops->finish != NULL);

    assert(up->state);
    if (!err)
        err = b->ops->finish(b, ctx, up, out);
    return checked_entry(ctx, err, out);
}

int pm_backend_abort(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up)
{
    int err = may_change(b, ctx, b->ops->abort != NULL);

    if (!err && up->state)
        err = b->ops->abort(b, ctx, up);
    return checked(ctx, err);
}

int pm_backend_mkdir(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *parent,
                     const char *name, struct pm_entry **out)
{
    int err = may_change(b, ctx, b->ops->mkdir != NULL);

    assert(parent->kind == PM_FOLDER && *name);
    if (!err)
        err = b->ops->mkdir(b, ctx, parent, name, out);
    return checked_entry(ctx, err, out);
}

int pm_backend_remove(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e)
{
    int err = may_change(b, ctx, b->ops->remove != NULL);

    if (!err && !*e->path)
        err = -EBUSY; /* a root: never */
    if (!err)
        err = b->ops->remove(b, ctx, e);
    return checked(ctx, err);
}

int pm_backend_copy(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *src,
                    const struct pm_entry *parent, const char *name, struct pm_entry **out)
{
    int err = may_change(b, ctx, b->ops->copy != NULL);

    assert(parent->kind == PM_FOLDER && *name);
    if (!err)
        err = b->ops->copy(b, ctx, src, parent, name, out);
    return checked_entry(ctx, err, out);
}

int pm_backend_check_move(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                          int64_t since_ms)
{
    reset(ctx);
    return b->ops->check_move ? checked(ctx, b->ops->check_move(b, ctx, e, since_ms)) : 0;
}

int pm_backend_shared(struct pm_backend *b, int (*each)(void *arg, const char *id), void *arg)
{
    return b->ops->shared ? b->ops->shared(b, each, arg) : 0;
}

int pm_backend_locate(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                      struct pm_location *loc)
{
    reset(ctx);
    return checked(ctx, b->ops->locate(b, ctx, e, loc));
}

int pm_backend_fetch(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                     uint64_t off, uint64_t len, const struct pm_sink *sink, void *arg)
{
    assert(len > 0);
    reset(ctx);
    if (!b->ops->fetch)
        return -EOPNOTSUPP;
    return checked(ctx, b->ops->fetch(b, ctx, e, off, len, sink, arg));
}

/* --- drafts */

bool pm_draft_has(const struct pm_backend *b)
{
    return b->ops->draft != NULL;
}

int pm_draft_open(struct pm_backend *b, struct pm_ctx *ctx, struct pm_draft *d)
{
    int err = may_change(b, ctx, b->ops->draft != NULL);

    assert(!d->session);
    if (!err)
        err = b->ops->draft->open(b, ctx, d);
    assert(err || d->session);
    return checked(ctx, err);
}

int pm_draft_held(struct pm_backend *b, struct pm_ctx *ctx, const char *session, pm_held_fn *each,
                  void *arg)
{
    reset(ctx);
    return b->ops->draft ? checked(ctx, b->ops->draft->held(b, ctx, session, each, arg))
                         : -EOPNOTSUPP;
}

int pm_draft_drop(struct pm_backend *b, struct pm_ctx *ctx, const char *session)
{
    int err = may_change(b, ctx, b->ops->draft != NULL);

    if (!err)
        err = b->ops->draft->drop(b, ctx, session);
    return checked(ctx, err);
}

int pm_draft_look(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_draft *d, char **before)
{
    int err = may_change(b, ctx, b->ops->draft != NULL);

    if (!err)
        err = b->ops->draft->look(b, ctx, d, before);
    assert(err || *before);
    return checked(ctx, err);
}

int pm_draft_commit(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_draft *d,
                    struct pm_entry **out)
{
    int err = may_change(b, ctx, b->ops->draft != NULL);

    assert(!d->session != !d->link);
    if (!err)
        err = b->ops->draft->commit(b, ctx, d, out);
    return checked_entry(ctx, err, out);
}

int pm_draft_find(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_draft *d,
                  const char *before, struct pm_entry **out)
{
    reset(ctx);
    return b->ops->draft ? checked_entry(ctx, b->ops->draft->find(b, ctx, d, before, out), out)
                         : -EOPNOTSUPP;
}

int pm_draft_record(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                    struct pm_progress *progress, char **json)
{
    reset(ctx);
    return b->ops->draft ? checked(ctx, b->ops->draft->record(b, ctx, e, progress, json))
                         : -EOPNOTSUPP;
}

int pm_draft_field(struct pm_backend *b, const struct pm_entry *e, const char *record,
                   const char *name, char *out, size_t size)
{
    return b->ops->draft ? b->ops->draft->field(b, e, record, name, out, size) : -ENODATA;
}

bool pm_backend_has_fields(const struct pm_backend *b)
{
    return b->ops->field != NULL;
}

int pm_backend_field(struct pm_backend *b, const struct pm_entry *e, const char *name, char *out,
                     size_t size)
{
    return b->ops->field ? b->ops->field(b, e, name, out, size) : -ENODATA;
}

int pm_backend_login(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_login *user)
{
    reset(ctx);
    return b->ops->login ? checked(ctx, b->ops->login(b, ctx, user)) : -EOPNOTSUPP;
}

void pm_backend_limits(struct pm_backend *b, pm_limit_fn *each, void *arg)
{
    if (b->ops->limits)
        b->ops->limits(b, each, arg);
}

int64_t pm_draft_expires_ms(const struct pm_backend *b, const char *session)
{
    return b->ops->draft ? b->ops->draft->expires_ms(session) : 0;
}

int pm_draft_check(struct pm_backend *b, const struct pm_draft_item *item, char *why, size_t why_len)
{
    return b->ops->draft ? b->ops->draft->check(b, item, why, why_len) : 0;
}

int pm_draft_send_name(struct pm_backend *b, const char *name, unsigned choice, char *out,
                       size_t size)
{
    return b->ops->draft ? b->ops->draft->send_name(b, name, choice, out, size) : -EOPNOTSUPP;
}
