/* Extended attributes: what a program sets as user.*, kept by the cache, and user.polymount.*
 * and user.TYPE.*, computed: found by name, never listed, so that no copy carries them along. */
#include "fs/ops.h"

#include "fs/special.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char user[] = "user.";
static const char own[] = "user.polymount.";

static bool has_prefix(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* Whether there can be such an attribute at all. Comes first, and cheap: the kernel asks for
 * security.capability before writes, and ls for access lists. */
static int check(fuse_ino_t ino, const char *name)
{
    return pm_special_is(ino) || !has_prefix(name, user) ? -EOPNOTSUPP : 0;
}

/* Attributes that do something when they are set, whatever the value. */
static int command(struct pm_cache *cache, pm_node node, const char *name)
{
    PM_AUTO(pm_buf) struct pm_buf why = { 0 };
    uint64_t                      found = 0;
    int                           err;

    if (strcmp(name, "publish") == 0)
        return pm_publish(cache, node, &why);
    if (strcmp(name, "retry") == 0)
        err = pm_work_retry(cache, node, &found);
    else if (strcmp(name, "evict") == 0)
        err = pm_work_evict(cache, node, false, NULL, NULL, &found);
    else
        return -EPERM;
    return err || found ? err : -ENODATA;
}

void pm_ops_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                     size_t size, int flags)
{
    int err = check(ino, name);

    if (!err && has_prefix(name, own)) {
        pm_ops_reply(req, command(pm_ops_mount(req)->cache, ino, name + strlen(own)));
        return;
    }
    if (!err && pm_info_is_field(pm_ops_mount(req)->cache, ino, name + strlen(user)))
        err = -EPERM;
    if (!err)
        err = pm_xattr_set(pm_ops_mount(req)->cache, ino, name, value, size, flags);
    pm_ops_reply(req, err);
}

void pm_ops_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    int err = check(ino, name);

    if (!err && (has_prefix(name, own) ||
                 pm_info_is_field(pm_ops_mount(req)->cache, ino, name + strlen(user))))
        err = -EPERM;
    if (!err)
        err = pm_xattr_remove(pm_ops_mount(req)->cache, ino, name);
    pm_ops_reply(req, err);
}

/* --- reading --------------------------------------------------------------------------------- */

/* Replies with a value: its size if `size` is 0, as getxattr(2) and listxattr(2) ask. */
static void reply_value(fuse_req_t req, const char *value, ssize_t len, size_t size)
{
    if (len < 0)
        pm_ops_reply(req, len);
    else if (size == 0)
        fuse_reply_xattr(req, (size_t)len);
    else if ((size_t)len > size)
        pm_ops_reply(req, -ERANGE);
    else
        fuse_reply_buf(req, value, (size_t)len);
}

static const char *computed(const struct pm_info *info, const char *name, char *digits, size_t len)
{
    if (strcmp(name, "state") == 0)
        return info->state;
    if (strcmp(name, "id") == 0 && *info->id)
        return info->id;
    if (strcmp(name, "version") == 0 && *info->version)
        return info->version;
    if (strcmp(name, "url") == 0 && *info->url)
        return info->url;
    if (strcmp(name, "error") == 0 && *info->error)
        return info->error;
    if (strcmp(name, "cached") != 0)
        return NULL;
    snprintf(digits, len, "%" PRIu64, info->cached);
    return digits;
}

static void get_computed(fuse_req_t req, pm_node node, const char *name, size_t size)
{
    struct pm_info info = { .cached = 0 };
    char           digits[24];
    const char    *value = NULL;
    int            err = pm_info_node(pm_ops_mount(req)->cache, node, &info);

    if (!err)
        value = computed(&info, name, digits, sizeof(digits));
    reply_value(req, value, err ? err : value ? (ssize_t)strlen(value) : -ENODATA, size);
}

/* --- what a service tells: it may have to be asked ------------------------------------------- */

struct field {
    struct pm_pending p;
    struct pm_cache  *cache;
    pm_node           node;
    size_t            size;
    char              value[1024];
    char              name[];
};

static ssize_t attempt_field(struct pm_pending *p)
{
    struct field *f = container_of(p, struct field, p);

    return pm_info_field(f->cache, f->node, f->name, f->value, sizeof(f->value), &p->waiter);
}

static void answer_field(struct pm_pending *p, ssize_t res)
{
    struct field *f = container_of(p, struct field, p);

    reply_value(p->req, f->value, res ? res : (ssize_t)strlen(f->value), f->size);
}

static const struct pm_pending_op field_op = { PM_WAIT_LOOKUP, attempt_field, answer_field };

static void get_field(fuse_req_t req, pm_node node, const char *name, size_t size)
{
    struct pm_mount *m = pm_ops_mount(req);
    size_t           len = strlen(name) + 1;
    struct field    *f = pm_pending_new(m->pendings, req, &field_op, sizeof(*f) + len);

    if (f) {
        f->cache = m->cache;
        f->node = node;
        f->size = size;
        memcpy(f->name, name, len);
    }
    pm_ops_start(req, f ? &f->p : NULL);
}

/* The kernel's limit, as for the size of the list. */
enum { VALUE_MAX = 65536 };

static char *buffer_for(size_t size)
{
    return malloc(size < VALUE_MAX ? size + 1 : VALUE_MAX);
}

void pm_ops_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    int     err = check(ino, name);
    ssize_t len;

    if (err) {
        pm_ops_reply(req, err);
        return;
    }
    if (has_prefix(name, own)) {
        get_computed(req, ino, name + strlen(own), size);
        return;
    }
    if (pm_info_is_field(pm_ops_mount(req)->cache, ino, name + strlen(user))) {
        get_field(req, ino, name + strlen(user), size);
        return;
    }
    size = size < VALUE_MAX ? size : VALUE_MAX;
    PM_AUTO(free) char *value = buffer_for(size);
    len = value ? pm_xattr_get(pm_ops_mount(req)->cache, ino, name, value, size) : -ENOMEM;
    reply_value(req, value, len, size);
}

void pm_ops_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    ssize_t len = 0;

    size = size < VALUE_MAX ? size : VALUE_MAX;
    PM_AUTO(free) char *list = buffer_for(size);
    if (!list)
        len = -ENOMEM;
    else if (!pm_special_is(ino))
        len = pm_xattr_list(pm_ops_mount(req)->cache, ino, list, size);
    reply_value(req, list, len, size);
}
