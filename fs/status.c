#include "fs/status.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* --- documents ------------------------------------------------------------------------------- */

static void add_string(struct pm_buf *b, const char *key, const char *value)
{
    pm_buf_printf(b, "\"%s\":", key);
    pm_buf_json(b, value);
    pm_buf_str(b, ",");
}

/* Takes the comma that the last member left and closes the object. */
static int close_object(struct pm_buf *b)
{
    if (b->failed)
        return -ENOMEM;
    while (b->len > 0 && strchr(", \n", b->ptr[b->len - 1]))
        b->len--;
    pm_buf_str(b, "}\n");
    return b->failed ? -ENOMEM : 0;
}

int pm_status_json(struct pm_mount *m, struct pm_buf *out)
{
    int err;

    pm_buf_printf(out, "{\"pid\":%d,", (int)getpid());
    add_string(out, "version", PM_VERSION);
    add_string(out, "state_dir", m->conf->cache_dir);
    add_string(out, "mountpoint", m->mountpoint);
    pm_buf_printf(out, "\"paused\":%s,", pm_queue_paused(m->cache) ? "true" : "false");
    err = pm_info_json(m->cache, out);
    return err ? err : close_object(out);
}

static void add_metric(struct pm_buf *b, const char *name, const char *help, uint64_t value)
{
    pm_buf_printf(b, "# HELP polymount_%s %s\n# TYPE polymount_%s gauge\n", name, help, name);
    pm_buf_printf(b, "polymount_%s %" PRIu64 "\n", name, value);
}

int pm_status_metrics(struct pm_mount *m, struct pm_buf *out)
{
    struct pm_space space = { 0 };
    uint64_t        entries = 0, bytes = 0;
    int             err = pm_info_pending(m->cache, &entries, &bytes);

    if (err) /* nothing that says "nothing is pending" */
        return err;
    (void)pm_info_space(m->cache, &space); /* failed: 0 */
    pm_buf_printf(out, "# HELP polymount_info The running version.\n# TYPE polymount_info gauge\n"
                       "polymount_info{version=\"%s\"} 1\n", PM_VERSION);
    add_metric(out, "pending", "Changes that no service has yet.", entries);
    add_metric(out, "pending_bytes", "Their content.", bytes);
    add_metric(out, "paused", "Whether transfers are held.", pm_queue_paused(m->cache));
    add_metric(out, "space_bytes", "Size of the cache's disk, as shown.", space.total);
    add_metric(out, "space_free_bytes", "What a program may count on.", space.free);
    add_metric(out, "waiting_requests", "Requests that wait for the network.",
               pm_pendings_count(m->pendings));
    add_metric(out, "known_inodes", "Files and folders that the kernel knows.",
               pm_inodes_count(m->inodes));
    return out->failed ? -ENOMEM : 0;
}

int pm_offline_status(const struct pm_conf *conf, bool json, FILE *out)
{
    PM_AUTO(pm_buf) struct pm_buf b = { 0 };
    int                           err;

    if (json) {
        pm_buf_str(&b, "{\"pid\":null,");
        add_string(&b, "version", PM_VERSION);
        add_string(&b, "state_dir", conf->cache_dir);
        pm_buf_str(&b, "\"mountpoint\":null,");
    } else {
        pm_buf_str(&b, "not mounted\n");
    }
    err = pm_info_offline(conf, json, &b);
    if (!err && json)
        err = close_object(&b);
    if (err || b.failed) {
        fprintf(stderr, "polymount status: %s: %s\n", conf->cache_dir,
                err == -EPROTO ? "is of another version of polymount: mounted once, it is of this one"
                               : strerror(err ? -err : ENOMEM));
        return 1;
    }
    fwrite(b.ptr, 1, b.len, out);
    return 0;
}

/* --- verbs ----------------------------------------------------------------------------------- */

/* What pm_reply_out takes at a time. */
static void reply_text(struct pm_reply *reply, const struct pm_buf *b)
{
    if (b->len > 0)
        pm_reply_out(reply, "%.*s", (int)b->len, b->ptr);
}

static int fail(struct pm_reply *reply, const char *verb, const char *what, int err)
{
    pm_reply_err(reply, "polymount %s: %s: %s", verb, what, strerror(-err));
    return 1;
}

static int misuse(struct pm_reply *reply, const char *verb, const char *arg)
{
    pm_reply_err(reply, "polymount %s: %s: not understood", verb, arg);
    return 2;
}

/* The node at an absolute path below the mount point, or at one that is relative to it. 0 for the
 * whole. Says so itself when there is none. */
static int find_path(struct pm_mount *m, const char *verb, const char *path, pm_node *out,
                     struct pm_reply *reply)
{
    size_t      len = strlen(m->mountpoint);
    const char *rest = path;
    int         err;

    if (strncmp(path, m->mountpoint, len) == 0 && (path[len] == '/' || path[len] == '\0'))
        rest = path + len;
    rest += strspn(rest, "/");
    *out = 0;
    if (*rest == '\0')
        return 0;
    err = pm_tree_resolve(m->cache, rest, out);
    return err ? fail(reply, verb, path, err) : 0;
}

static int status(struct pm_mount *m, int argc, char **argv, struct pm_reply *reply)
{
    PM_AUTO(pm_buf) struct pm_buf b = { 0 };
    bool                          json = false;
    pm_node                       node = 0;
    int                           err = 0;

    for (int i = 1; i < argc && !err; i++) {
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (argv[i][0] == '-')
            return misuse(reply, argv[0], argv[i]);
        else
            err = find_path(m, argv[0], argv[i], &node, reply);
    }
    if (err)
        return err;
    err = json ? pm_status_json(m, &b) : pm_info_text(m->cache, node, &b);
    if (err || b.failed)
        return fail(reply, argv[0], m->mountpoint, err ? err : -ENOMEM);
    reply_text(reply, &b);
    return 0;
}

static bool show_progress(void *arg, const char *line)
{
    struct pm_reply *reply = arg;

    if (line && *line)
        pm_reply_err(reply, "%s", line);
    return !pm_reply_gone(reply);
}

static int sync_one(struct pm_mount *m, pm_node node, int64_t until_ms, struct pm_reply *reply)
{
    PM_AUTO(pm_buf) struct pm_buf b = { 0 };
    int64_t                       left = until_ms < 0 ? -1 : until_ms - pm_now_ms();
    int                           err;

    err = pm_queue_sync(m->cache, node, until_ms >= 0 && left < 0 ? 0 : left, show_progress,
                        reply, &b);
    reply_text(reply, &b);
    if (err == -ETIMEDOUT)
        pm_reply_err(reply, "polymount sync: not everything was sent in time; it goes on");
    else if (err == -EIO)
        pm_reply_err(reply, "polymount sync: not everything could be sent");
    else if (err)
        return fail(reply, "sync", m->mountpoint, err);
    return err ? 1 : 0;
}

static int do_sync(struct pm_mount *m, int argc, char **argv, struct pm_reply *reply)
{
    int64_t until = -1;
    int     first = 1, result = 0;

    if (argc > 1 && strcmp(argv[1], "--timeout") == 0) {
        char *end = NULL;
        long  seconds = argc > 2 ? strtol(argv[2], &end, 10) : -1;

        if (!end || *end || end == argv[2] || seconds < 0 || seconds > 100000000)
            return misuse(reply, argv[0], argc > 2 ? argv[2] : argv[1]);
        until = pm_now_ms() + seconds * 1000;
        first = 3;
    }
    for (int i = first; i < argc; i++) /* all are known before any is sent */
        if (find_path(m, argv[0], argv[i], &(pm_node){ 0 }, reply))
            return 1;
    if (first == argc)
        return sync_one(m, 0, until, reply);
    for (int i = first; i < argc && !pm_reply_gone(reply); i++) {
        pm_node node = 0;

        if (find_path(m, argv[0], argv[i], &node, reply) || sync_one(m, node, until, reply))
            result = 1;
    }
    return result;
}

static int allow_deletes(struct pm_mount *m, int argc, char **argv, struct pm_reply *reply)
{
    uint64_t all = 0;
    int      i = 1;

    do {
        uint64_t released;
        pm_node  node = 0;
        int      err;

        if (i < argc && find_path(m, argv[0], argv[i], &node, reply))
            return 1;
        err = pm_change_allow(m->cache, node, &released);
        if (err)
            return fail(reply, argv[0], m->mountpoint, err);
        all += released;
    } while (++i < argc);
    pm_reply_out(reply, "%llu removals released", (unsigned long long)all);
    return 0;
}

static int undelete_one(struct pm_mount *m, const char *verb, char *path, struct pm_reply *reply)
{
    char   *name = strrchr(path, '/');
    pm_node folder = 0;
    int     err;

    if (!name || !name[1])
        return fail(reply, verb, path, -EINVAL);
    *name++ = '\0';
    if (find_path(m, verb, path, &folder, reply))
        return 1;
    err = pm_change_undelete(m->cache, folder, name);
    if (err == -ENOENT)
        pm_reply_err(reply, "polymount undelete: %s/%s: no removal of it waits here", path, name);
    else if (err)
        return fail(reply, verb, name, err);
    return err ? 1 : 0;
}

static int undelete(struct pm_mount *m, int argc, char **argv, struct pm_reply *reply)
{
    int result = 0;

    for (int i = 1; i < argc; i++)
        result |= undelete_one(m, argv[0], argv[i], reply);
    return result;
}

static int retry(struct pm_mount *m, int argc, char **argv, struct pm_reply *reply)
{
    int result = 0;

    for (int i = 1; i < argc; i++) {
        uint64_t found = 0;
        pm_node  node = 0;
        int      err;

        if (find_path(m, argv[0], argv[i], &node, reply)) {
            result = 1;
            continue;
        }
        err = pm_work_retry(m->cache, node, &found);
        if (found)
            pm_reply_out(reply, "%s: %" PRIu64 " tried again", argv[i], found);
        if (err)
            result = fail(reply, argv[0], argv[i], err);
        else if (!found)
            pm_reply_err(reply, "polymount retry: %s: nothing failed or was interrupted there",
                         argv[i]);
        result |= found == 0;
    }
    return result;
}

static void tell_line(void *arg, const char *line)
{
    pm_reply_out(arg, "%s", line);
}

static int discard(struct pm_mount *m, int argc, char **argv, struct pm_reply *reply)
{
    int result = 0;

    for (int i = 1; i < argc; i++) {
        uint64_t found = 0;
        pm_node  node = 0;
        int      err;

        if (find_path(m, argv[0], argv[i], &node, reply)) {
            result = 1;
            continue;
        }
        err = pm_work_discard(m->cache, node, tell_line, reply, &found);
        if (err)
            result = fail(reply, argv[0], argv[i], err);
        else if (!found)
            pm_reply_err(reply, "polymount discard: %s: nothing failed or was interrupted there",
                         argv[i]);
        result |= found == 0;
    }
    return result;
}

static void tell_err(void *arg, const char *line)
{
    pm_reply_err(arg, "polymount evict: %s", line);
}

static int evict_one(struct pm_mount *m, const char *path, bool last_copy, struct pm_reply *reply)
{
    uint64_t found = 0;
    pm_node  node = 0;
    int      err;

    if (find_path(m, "evict", path, &node, reply))
        return 1;
    err = pm_work_evict(m->cache, node, last_copy, tell_err, reply, &found);
    if (found)
        pm_reply_out(reply, "%s: %" PRIu64 " dropped", path, found);
    else if (!err)
        pm_reply_err(reply, "polymount evict: %s: nothing of it is kept here", path);
    return err || !found;
}

static int evict(struct pm_mount *m, int argc, char **argv, struct pm_reply *reply)
{
    bool last_copy = false;
    int  result = 0;

    for (int i = 1; i < argc; i++)
        last_copy = last_copy || strcmp(argv[i], "--last-copy") == 0;
    for (int i = 1; i < argc; i++)
        if (argv[i][0] == '/')
            result |= evict_one(m, argv[i], last_copy, reply);
        else if (strcmp(argv[i], "--last-copy") != 0)
            return misuse(reply, argv[0], argv[i]);
    return result;
}

static int publish_one(struct pm_mount *m, const char *path, struct pm_reply *reply)
{
    PM_AUTO(pm_buf) struct pm_buf why = { 0 };
    struct pm_info                info;
    pm_node                       node = 0;
    int                           err;

    if (find_path(m, "publish", path, &node, reply))
        return 1;
    err = pm_publish(m->cache, node, &why);
    if (!err)
        err = pm_publish_wait(m->cache, node, show_progress, reply, &why);
    if (err) {
        pm_reply_err(reply, "polymount publish: %s: %s", path,
                     why.len ? why.ptr : strerror(-err));
        return 1;
    }
    if (!pm_info_node(m->cache, node, &info) && *info.url)
        pm_reply_out(reply, "%s: published as %s (%s)", path, info.id, info.url);
    else
        pm_reply_out(reply, "%s: published", path);
    return 0;
}

static int publish(struct pm_mount *m, int argc, char **argv, struct pm_reply *reply)
{
    int result = 0;

    for (int i = 1; i < argc; i++)
        result |= publish_one(m, argv[i], reply);
    return result;
}

static int forget(struct pm_mount *m, int argc, char **argv, struct pm_reply *reply)
{
    int result = 0;

    for (int i = 1; i < argc; i++) {
        PM_AUTO(pm_buf) struct pm_buf why = { 0 };
        pm_node                       node = 0;
        int err = find_path(m, argv[0], argv[i], &node, reply);

        if (!err && (err = pm_publish_forget(m->cache, node, &why)) != 0)
            pm_reply_err(reply, "polymount forget: %s: %s", argv[i],
                         why.len ? why.ptr : strerror(-err));
        result |= err != 0;
    }
    return result;
}

static int pause_all(struct pm_mount *m, int argc, char **argv, struct pm_reply *reply)
{
    int err;

    /* A path only leads here; a drive is paused as a whole. */
    for (int i = 1; i < argc; i++)
        if (argv[i][0] == '-')
            return misuse(reply, argv[0], argv[i]);
    err = pm_queue_pause(m->cache, true);
    return err ? fail(reply, argv[0], m->mountpoint, err) : 0;
}

/* The account's credential is the same account's, says the user. */
static int same_account(struct pm_mount *m, const char *name, struct pm_reply *reply)
{
    PM_AUTO(pm_buf) struct pm_buf b = { 0 };
    int                           err = pm_account_accept(m->cache, name, &b);

    if (err == -ENOENT)
        pm_reply_err(reply, "polymount resume: no account %s is mounted here", name);
    else if (err == -EEXIST)
        pm_reply_err(reply, "polymount resume: nobody doubts the credential of account %s", name);
    else if (err == -EACCES && b.ptr)
        pm_reply_err(reply, "polymount resume: %.*s", (int)strcspn(b.ptr, "\n"), b.ptr);
    else if (err)
        return fail(reply, "resume", name, err);
    return err ? 1 : 0;
}

static int resume(struct pm_mount *m, int argc, char **argv, struct pm_reply *reply)
{
    PM_AUTO(pm_buf) struct pm_buf b = { 0 };
    const char                   *name = NULL;
    int                           err;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--same-account") == 0 && i + 1 < argc)
            name = argv[++i];
        else if (argv[i][0] == '-')
            return misuse(reply, argv[0], argv[i]);
    }
    if (name && same_account(m, name, reply))
        return 1;
    err = pm_queue_pause(m->cache, false);
    if (err)
        return fail(reply, argv[0], m->mountpoint, err);
    if (!name)
        err = pm_account_retry(m->cache, &b);
    for (char *line = b.ptr; line && *line; line += strcspn(line, "\n") + 1)
        pm_reply_err(reply, "polymount resume: %.*s", (int)strcspn(line, "\n"), line);
    return err ? 1 : 0;
}

static int umount_info(struct pm_mount *m, int argc, char **argv, struct pm_reply *reply)
{
    uint64_t entries = 0, bytes = 0;
    int      err = pm_info_pending(m->cache, &entries, &bytes);

    (void)argc, (void)argv;
    if (err)
        pm_reply_out(reply, "what is queued cannot be told (%s): safe in %s", strerror(-err),
                     m->conf->cache_dir);
    else if (entries > 0)
        pm_reply_out(reply,
                     "%" PRIu64 " change%s (%" PRIu64 " bytes) not sent yet: safe in %s, sent "
                     "after the next mount",
                     entries, entries == 1 ? "" : "s", bytes, m->conf->cache_dir);
    else
        pm_reply_out(reply, "nothing is queued");
    return 0;
}

int pm_status_control(void *arg, int argc, char **argv, struct pm_reply *reply)
{
    static const struct {
        const char *name;
        int (*run)(struct pm_mount *m, int argc, char **argv, struct pm_reply *reply);
    } verbs[] = {
        { "status", status },     { "sync", do_sync },
        { "pause", pause_all },   { "resume", resume },
        { "allow-deletes", allow_deletes }, { "undelete", undelete },
        { "retry", retry },       { "discard", discard },
        { "evict", evict },       { "publish", publish },
        { "forget", forget },     { "umount-info", umount_info },
    };

    for (size_t i = 0; i < PM_COUNT(verbs); i++)
        if (strcmp(argv[0], verbs[i].name) == 0)
            return verbs[i].run(arg, argc, argv, reply);
    return misuse(reply, argv[0], "this daemon does not know it");
}
