/* The memory backend's third face: what is put into one folder becomes things, late drafts among them. For
 * tests only. */
#include "backends/memory.h"

#include "backends/json.h"
#include "backends/util.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PASSWORD_MAX 20

static int drops_open(const struct pm_account_conf *conf, struct pm_backend **out)
{
    int err = pm_memory_ops.open(conf, out);

    return err ? err : pm_memory_set(*out, PM_MEMORY_DROPS, PM_FOLDER, "", 0);
}

static enum pm_manner drops_manner(struct pm_backend *b, const struct pm_entry *dir, char *why, size_t size)
{
    size_t len = strlen(PM_MEMORY_DROPS);

    (void)b;
    if (!strcmp(dir->path, PM_MEMORY_DROPS))
        return PM_MANNER_DROPS;
    snprintf(why, size, "put files into " PM_MEMORY_DROPS "/ instead");
    return !strncmp(dir->path, PM_MEMORY_DROPS "/", len + 1) ? PM_MANNER_THING : PM_MANNER_FIXED;
}

/* The password of the options, owned; NULL: none. The options without it are *rest, owned. */
static char *split_options(const char *options, char **rest)
{
    struct cJSON *obj = *options ? pm_json_parse(options, strlen(options)) : pm_json_object();
    const char   *text = pm_json_text(obj, "password");
    char         *password = text ? strdup(text) : NULL;

    pm_json_remove(obj, "password");
    *rest = obj ? pm_json_print(obj, false) : NULL;
    pm_json_free(obj);
    return password;
}

static int drops_check_options(struct pm_backend *b, const struct pm_entry *dir, const char *options,
                               char *why, size_t size)
{
    PM_AUTO(free) char *rest = NULL;
    PM_AUTO(free) char *password = split_options(options, &rest);

    (void)b;
    (void)dir;
    if (!password || strlen(password) <= PASSWORD_MAX)
        return 0;
    snprintf(why, size, "the password is longer than %d bytes", PASSWORD_MAX);
    return -EINVAL;
}

/* A draft's upload goes under the folder's name, until it is a folder. */
static int drops_begin(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up)
{
    struct pm_upload as = *up;
    int              err;

    if (up->draft)
        as.name = up->draft;
    err = pm_memory_ops.begin(b, ctx, &as);
    up->state = as.state;
    return err;
}

static int drops_finish(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up,
                        struct pm_entry **out)
{
    PM_AUTO(free) struct pm_entry *made = NULL;
    PM_AUTO(free) char            *rest = NULL;
    PM_AUTO(free) char            *password = NULL;
    int                            err = pm_memory_ops.finish(b, ctx, up, &made);

    if (err)
        return err;
    if (!up->draft) {
        *out = made;
        made = NULL;
        return 0;
    }
    password = split_options(up->options, &rest);
    if (password)
        pm_memory_keep_password(b, password);
    return rest ? pm_memory_into_thing(b, made, up->draft, up->name, rest, out) : -ENOMEM;
}

static void drops_close(struct pm_backend *b)
{
    pm_memory_ops.close(b);
}

static int drops_list(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *dir,
                      pm_entry_fn *each, void *arg)
{
    return pm_memory_ops.list(b, ctx, dir, each, arg);
}

static int drops_stat(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                      struct pm_entry **out)
{
    return pm_memory_ops.stat(b, ctx, e, out);
}

static int drops_fetch(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e, uint64_t off,
                       uint64_t len, const struct pm_sink *sink, void *arg)
{
    return pm_memory_ops.fetch(b, ctx, e, off, len, sink, arg);
}

static int drops_resume(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, uint64_t *off)
{
    return pm_memory_ops.resume(b, ctx, up, off);
}

static int drops_put(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, uint64_t *off)
{
    return pm_memory_ops.put(b, ctx, up, off);
}

static int drops_abort(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up)
{
    return pm_memory_ops.abort(b, ctx, up);
}

static int drops_remove(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e)
{
    return pm_memory_ops.remove(b, ctx, e);
}

const struct pm_backend_ops pm_memory_drops_ops = {
    .type = "memory-drops",
    .secret = "token",
    .endpoint = "memory-drops:",
    .caps = PM_CAP_RANGE,
    .open = drops_open,
    .close = drops_close,
    .list = drops_list,
    .stat = drops_stat,
    .fetch = drops_fetch,
    .begin = drops_begin,
    .resume = drops_resume,
    .put = drops_put,
    .finish = drops_finish,
    .abort = drops_abort,
    .manner = drops_manner,
    .check_options = drops_check_options,
    .remove = drops_remove,
};
