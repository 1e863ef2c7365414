/* ShareMy3D: models and backgrounds by their ids (api/sharemy3d.md, api/notes.md 2).
 *
 *   models/ID/           info.json, and the original file under its own name
 *   backgrounds/ID/      info.json: no call gives the picture
 *   uploads/NAME         a model that this drive made (sharemy3d_own.c); a folder with its file and info.json,
 *                        if it was made of one; then models/ID is a link to that
 *   uploads-backgrounds/NAME  likewise
 *   by-name/NAME         link to models/ID
 *   by-status/STATUS/ID  likewise
 *
 * A list tells all that there is to know of a model; its object is kept with the folder's entry as its
 * fields, so that the folder's list, its info.json and its attributes make no call. Only the file's name
 * has to be asked for, once. */
#include "backends/sharemy3d.h"
#include "backends/sharemy3d_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BY_NAME   "by-name"
#define BY_STATUS "by-status"

const struct pm_sm_words pm_sm_words[PM_SM_KINDS] = {
    [PM_SM_MODEL] = {"models", "modelId", "uploads"},
    [PM_SM_BACKGROUND] = {"backgrounds", "backgroundId", "uploads-backgrounds"},
};

static const char *const statuses[] = {"UPLOADING", "PROCESSING", "ACTIVE", "FAILED"};

static int sm_open(const struct pm_account_conf *conf, struct pm_backend **out)
{
    struct pm_sharemy3d *sm = calloc(1, sizeof(*sm));

    (void)conf;
    if (!sm)
        return -ENOMEM;
    sm->opened_ms = pm_wall_ms();
    pthread_mutex_init(&sm->password_lock, NULL);
    *out = &sm->base;
    return 0;
}

static void sm_close(struct pm_backend *b)
{
    struct pm_sharemy3d *sm = pm_sm(b);

    pm_secret_free(sm->password);
    pthread_mutex_destroy(&sm->password_lock);
    free(sm);
}

/* --- where an entry is in the tree */

enum place {
    ROOT,
    THINGS, /* models/, backgrounds/ */
    THING, /* models/ID/ */
    INFO, /* its info.json */
    ORIGINAL, /* its file */
    NAMES, /* by-name/ */
    STATES, /* by-status/ */
    STATE, /* by-status/STATUS/ */
    LINK,
    UPLOADS, /* uploads/, uploads-backgrounds/ */
    DROP, /* a file there */
    NOWHERE,
};

struct where {
    enum place      place;
    enum pm_sm_kind kind;
    char            id[PM_SM_ID_MAX]; /* THING, INFO, ORIGINAL */
    bool            own; /* of these: in uploads/ */
    const char     *status; /* STATE */
};

static bool take_id(const char *from, size_t len, struct where *w)
{
    if (len >= sizeof(w->id))
        return false;
    memcpy(w->id, from, len);
    w->id[len] = '\0';
    return pm_sm_is_id(w->id);
}

static enum place place_below(const char *rest, struct where *w)
{
    size_t len = strcspn(rest, "/");

    if (!take_id(rest, len, w))
        return NOWHERE;
    if (!rest[len])
        return THING;
    return strcmp(rest + len + 1, PM_SM_INFO) != 0 ? ORIGINAL : INFO;
}

static enum place place_in_uploads(const struct pm_entry *e, const char *rest, struct where *w)
{
    const char *slash = strchr(rest, '/');

    w->own = true;
    if (!slash && e->kind != PM_FOLDER)
        return DROP;
    if (!slash)
        return pm_sm_drop_id(e, w->id) ? THING : NOWHERE;
    if (!take_id(e->id, strcspn(e->id, "/"), w))
        return NOWHERE;
    return strcmp(slash + 1, PM_SM_INFO) != 0 ? ORIGINAL : INFO;
}

static enum place place_by_status(const char *rest, struct where *w)
{
    for (size_t i = 0; i < PM_COUNT(statuses) && *rest == '/'; i++) {
        size_t len = strlen(statuses[i]);

        if (strncmp(rest + 1, statuses[i], len) != 0 || (rest[1 + len] && rest[1 + len] != '/'))
            continue;
        w->status = statuses[i];
        return rest[1 + len] ? LINK : STATE;
    }
    return *rest ? NOWHERE : STATES;
}

static struct where find_place(const struct pm_entry *e)
{
    struct where w = {.place = NOWHERE};
    const char  *p = e->path;
    size_t       len = strcspn(p, "/");

    if (!*p)
        w.place = ROOT;
    for (int kind = 0; kind < PM_SM_KINDS && *p; kind++) {
        const char *folder = pm_sm_words[kind].folder;

        if (strlen(folder) != len || strncmp(p, folder, len) != 0)
            continue;
        w.kind = (enum pm_sm_kind)kind;
        w.place = p[len] ? place_below(p + len + 1, &w) : THINGS;
    }
    for (int kind = 0; kind < PM_SM_KINDS && *p; kind++) {
        const char *folder = pm_sm_words[kind].uploads;

        if (strlen(folder) != len || strncmp(p, folder, len) != 0)
            continue;
        w.kind = (enum pm_sm_kind)kind;
        w.place = p[len] ? place_in_uploads(e, p + len + 1, &w) : UPLOADS;
    }
    if (w.place == INFO && e->kind == PM_FILE) /* a model's file may be called so, too */
        w.place = ORIGINAL;
    if (len == strlen(BY_NAME) && !strncmp(p, BY_NAME, len))
        w.place = p[len] ? LINK : NAMES;
    if (len == strlen(BY_STATUS) && !strncmp(p, BY_STATUS, len))
        w.place = place_by_status(p + len, &w);
    return w;
}

/* --- entries */

static const struct pm_entry nothing = {.root = "", .id = "", .name = "", .path = "", .target = "",
                                        .version = "", .state = "", .size = PM_SIZE_UNKNOWN};

static void take_status(const struct cJSON *obj, char *out, size_t size)
{
    *out = '\0';
    pm_json_scalar(obj, "status", out, size);
}

/* The folder of a model or background. */
static int give_thing(enum pm_sm_kind kind, const struct cJSON *obj, const char *id, pm_entry_fn *each,
                      void *arg)
{
    PM_AUTO(free) char *path = pm_asprintf("%s/%s", pm_sm_words[kind].folder, id);
    PM_AUTO(free) char *fields = pm_json_print(obj, false);
    char                state[32], version[64];
    uint64_t            size = 0, created = 0;
    struct pm_entry     e = nothing;

    if (!path || !fields)
        return -ENOMEM;
    take_status(obj, state, sizeof(state));
    pm_json_u64(obj, "size", &size);
    pm_json_u64(obj, "timeCreated", &created);
    snprintf(version, sizeof(version), "%" PRIu64 ":%" PRIu64, size, created);
    e.kind = PM_FOLDER;
    e.id = e.name = id;
    e.path = path;
    e.version = version; /* what was asked to be removed is this, or nothing is */
    e.state = state;
    e.fields = strlen(fields) <= PM_FIELDS_MAX ? fields : "";
    e.mtime_ms = e.btime_ms = pm_sm_created_ms(obj);
    return each(arg, &e);
}

/* `what`: as what it is linked, a part of its id. */
static int give_link(const struct cJSON *obj, const char *folder, const char *name, const char *target,
                     const char *id, pm_entry_fn *each, void *arg)
{
    PM_AUTO(pm_buf) struct pm_buf path = {0};
    char                          state[32];
    struct pm_entry               e = nothing;

    pm_buf_printf(&path, "%s/", folder);
    pm_buf_urlenc(&path, name);
    if (path.failed)
        return -ENOMEM;
    take_status(obj, state, sizeof(state));
    e.kind = PM_LINK;
    e.id = id;
    e.name = name;
    e.path = path.ptr;
    e.target = target;
    e.size = strlen(target);
    e.state = state;
    e.mtime_ms = e.btime_ms = pm_sm_created_ms(obj);
    return each(arg, &e);
}

/* info.json: the object as it is listed. */
static char *info_text(const struct cJSON *obj)
{
    PM_AUTO(free) char *text = pm_json_print(obj, true);

    return text ? pm_asprintf("%s\n", text) : NULL;
}

/* `folder`: the path of the thing's folder. */
static int give_info(const struct cJSON *obj, const char *folder, const char *id, pm_entry_fn *each,
                     void *arg)
{
    PM_AUTO(free) char *path = pm_asprintf("%s/" PM_SM_INFO, folder);
    PM_AUTO(free) char *rid = pm_asprintf("%s/info", id);
    PM_AUTO(free) char *text = info_text(obj);
    PM_AUTO(free) char *fields = pm_json_print(obj, false);
    char                version[65];
    struct pm_entry     e = nothing;

    if (!path || !rid || !text || !fields)
        return -ENOMEM;
    pm_digest_sha256_hex(text, strlen(text), version);
    e.kind = PM_DOCUMENT;
    e.id = rid;
    e.name = PM_SM_INFO;
    e.path = path;
    e.version = version;
    e.fields = fields;
    e.size = strlen(text);
    e.mtime_ms = e.btime_ms = pm_sm_created_ms(obj);
    return strlen(fields) <= PM_FIELDS_MAX ? each(arg, &e) : 0;
}

/* `size`: what is known of it if the service does not tell. */
static int give_original(enum pm_sm_kind kind, const struct cJSON *obj, const char *folder, const char *id,
                         const char *name, uint64_t size, pm_entry_fn *each, void *arg)
{
    PM_AUTO(pm_buf) struct pm_buf path = {0};
    PM_AUTO(free) char           *rid = pm_asprintf("%s/original", id);
    PM_AUTO(free) char           *fields = pm_json_print(obj, false);
    char                          state[32], version[64];
    struct pm_entry               e = nothing;

    pm_buf_printf(&path, "%s/", folder);
    pm_buf_urlenc(&path, name);
    if (path.failed || !rid || !fields)
        return -ENOMEM;
    take_status(obj, state, sizeof(state));
    e.size = size;
    e.one_way = kind == PM_SM_BACKGROUND;
    pm_json_u64(obj, "size", &e.size);
    e.kind = PM_FILE;
    e.id = rid;
    e.name = name;
    e.path = path.ptr;
    e.state = state;
    e.fields = strlen(fields) <= PM_FIELDS_MAX ? fields : "";
    e.mtime_ms = e.btime_ms = pm_sm_created_ms(obj);
    snprintf(version, sizeof(version), "%" PRIu64 ":%" PRId64, e.size, e.mtime_ms);
    e.version = version; /* a model's content never changes */
    return each(arg, &e);
}

static int give_folder(struct pm_sharemy3d *sm, const char *parent, const char *name, pm_entry_fn *each,
                       void *arg)
{
    PM_AUTO(free) char *path = pm_asprintf("%s%s%s", parent, *parent ? "/" : "", name);
    struct pm_entry     e = nothing;

    if (!path)
        return -ENOMEM;
    e.kind = PM_FOLDER;
    e.name = name;
    e.path = path;
    e.mtime_ms = e.btime_ms = sm->opened_ms;
    return each(arg, &e);
}

/* --- lists */

struct listing {
    enum pm_sm_kind         kind;
    const char             *status;
    pm_entry_fn            *each;
    void                   *arg;
    const struct pm_sm_map *made; /* what this drive made */
};

/* What was made of a folder has that for its place; here is a link to it. */
static int give_own_thing(const struct listing *l, const struct cJSON *obj, const char *id,
                          const struct pm_sm_own *own)
{
    PM_AUTO(free) char *target = pm_asprintf("../%s/%s", pm_sm_words[l->kind].uploads, own->name);
    char                rid[PM_SM_ID_MAX + 8];

    snprintf(rid, sizeof(rid), "%s@thing", id);
    return target ? give_link(obj, pm_sm_words[l->kind].folder, id, target, rid, l->each, l->arg) : -ENOMEM;
}

static int on_thing(void *arg, const struct cJSON *obj, const char *id)
{
    struct listing         *l = arg;
    const struct pm_sm_own *own = pm_sm_map_find(l->made, id);

    if (own && own->file)
        return give_own_thing(l, obj, id, own);
    return give_thing(l->kind, obj, id, l->each, l->arg);
}

static int on_name(void *arg, const struct cJSON *obj, const char *id)
{
    struct listing *l = arg;
    const char     *name = pm_json_text(obj, "name");
    char            rid[PM_SM_ID_MAX + 8], target[PM_SM_ID_MAX + 16];

    snprintf(rid, sizeof(rid), "%s@name", id);
    snprintf(target, sizeof(target), "../models/%s", id);
    return give_link(obj, BY_NAME, name && *name ? name : id, target, rid, l->each, l->arg);
}

static int on_status(void *arg, const struct cJSON *obj, const char *id)
{
    struct listing *l = arg;
    char            rid[PM_SM_ID_MAX + 8], target[PM_SM_ID_MAX + 16], folder[32];

    snprintf(rid, sizeof(rid), "%s@status", id);
    snprintf(target, sizeof(target), "../../models/%s", id);
    snprintf(folder, sizeof(folder), BY_STATUS "/%s", l->status);
    return give_link(obj, folder, id, target, rid, l->each, l->arg);
}

static int list_things(struct pm_sharemy3d *sm, struct pm_ctx *ctx, struct listing *l)
{
    struct pm_sm_map *made = NULL;
    int               err = pm_sm_map_load(sm, l->kind, &made);

    l->made = made;
    if (!err)
        err = pm_sm_list(sm, ctx, l->kind, NULL, on_thing, l);
    pm_sm_map_free(made);
    return err;
}

/* Whose account it is, is told by what is in it. */
static int list_everything(struct pm_sharemy3d *sm, struct pm_ctx *ctx, pm_entry_fn *each, void *arg)
{
    int err = 0;

    for (int kind = 0; kind < PM_SM_KINDS && !err; kind++) {
        struct listing l = {.kind = (enum pm_sm_kind)kind, .each = each, .arg = arg};

        err = pm_sm_list(sm, ctx, l.kind, NULL, on_thing, &l);
    }
    return err;
}

static int list_root(struct pm_sharemy3d *sm, pm_entry_fn *each, void *arg)
{
    static const char *const folders[] = {"models", "backgrounds", "uploads", "uploads-backgrounds",
                                          BY_NAME, BY_STATUS};
    int                      err = 0;

    for (size_t i = 0; i < PM_COUNT(folders) && !err; i++)
        err = give_folder(sm, "", folders[i], each, arg);
    return err;
}

static int list_states(struct pm_sharemy3d *sm, pm_entry_fn *each, void *arg)
{
    int err = 0;

    for (size_t i = 0; i < PM_COUNT(statuses) && !err; i++)
        err = give_folder(sm, BY_STATUS, statuses[i], each, arg);
    return err;
}

/* What stands around the object in the answer to /info is none of it. */
static int get_object(struct pm_sharemy3d *sm, struct pm_ctx *ctx, const struct where *w,
                      struct cJSON **out)
{
    int err = pm_sm_get(sm, ctx, w->kind, w->id, "info", out);

    if (!err)
        pm_json_remove(*out, "class");
    return err;
}

/* The object of an entry, as it was listed, or asked for; owned. */
static int object_of(struct pm_sharemy3d *sm, struct pm_ctx *ctx, const struct pm_entry *e,
                     const struct where *w, struct cJSON **out)
{
    struct cJSON *obj = e->fields ? pm_json_parse(e->fields, strlen(e->fields)) : NULL;

    if (pm_json_is_object(obj)) {
        *out = obj;
        return 0;
    }
    pm_json_free(obj);
    return get_object(sm, ctx, w, out);
}

static int list_thing(struct pm_sharemy3d *sm, struct pm_ctx *ctx, const struct pm_entry *dir,
                      const struct where *w, pm_entry_fn *each, void *arg)
{
    PM_AUTO(free) char *name = NULL;
    struct pm_sm_own    own = {.size = PM_SIZE_UNKNOWN};
    struct cJSON       *obj = NULL;
    int                 err = object_of(sm, ctx, dir, w, &obj);

    if (!err && (err = pm_sm_own_get(sm, w->kind, w->id, &own)) == -ENOENT) {
        own.size = PM_SIZE_UNKNOWN;
        err = 0;
    }
    if (!err && w->own && own.file)
        err = (name = strdup(own.file)) != NULL ? 0 : -ENOMEM;
    else if (!err && w->kind == PM_SM_MODEL)
        err = pm_sm_file_name(sm, ctx, w->id, obj, &name);
    if (!err)
        err = give_info(obj, dir->path, w->id, each, arg);
    if (!err && w->kind == PM_SM_MODEL && own.size == PM_SIZE_UNKNOWN)
        pm_sm_file_size(sm, w->id, obj, &own.size);
    if (!err && name)
        err = give_original(w->kind, obj, dir->path, w->id, name, own.size, each, arg);
    pm_sm_own_clear(&own);
    pm_json_free(obj);
    return err;
}

static int sm_list(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *dir,
                   pm_entry_fn *each, void *arg)
{
    struct pm_sharemy3d *sm = pm_sm(b);
    struct where         w = find_place(dir);
    struct listing       l = {.kind = w.kind, .status = w.status, .each = each, .arg = arg};

    switch (w.place) {
    case ROOT: return ctx->probe ? list_everything(sm, ctx, each, arg) : list_root(sm, each, arg);
    case THINGS: return list_things(sm, ctx, &l);
    case UPLOADS: return pm_sm_list_own(sm, ctx, w.kind, each, arg);
    case THING: return list_thing(sm, ctx, dir, &w, each, arg);
    case NAMES: return pm_sm_list(sm, ctx, PM_SM_MODEL, NULL, on_name, &l);
    case STATES: return list_states(sm, each, arg);
    case STATE: return pm_sm_list(sm, ctx, PM_SM_MODEL, w.status, on_status, &l);
    default: return -ENOENT;
    }
}

/* --- one entry */

static int keep_entry(void *arg, const struct pm_entry *e)
{
    struct pm_entry **out = arg;

    *out = pm_entry_dup(e);
    return *out ? 0 : -ENOMEM;
}

static int sm_stat(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                   struct pm_entry **out)
{
    struct pm_sharemy3d *sm = pm_sm(b);
    PM_AUTO(free) char  *folder = NULL;
    struct where         w = find_place(e);
    struct cJSON        *obj = NULL;
    int                  err;

    if (w.place == NOWHERE)
        return -ENOENT;
    *out = NULL;
    if (w.place == DROP || (w.place == THING && w.own))
        return pm_sm_own_stat(sm, ctx, w.kind, e, out);
    if (w.place != THING && w.place != INFO && w.place != ORIGINAL)
        return keep_entry(out, e); /* what only the drive has */
    if (w.place == ORIGINAL && w.kind != PM_SM_MODEL && !w.own)
        return -ENOENT;
    folder = pm_asprintf("%.*s", (int)(strrchr(e->path, '/') - e->path), e->path);
    if (!folder)
        return -ENOMEM;
    err = get_object(sm, ctx, &w, &obj);
    if (!err && w.place == THING)
        err = give_thing(w.kind, obj, w.id, keep_entry, out);
    else if (!err && w.place == INFO)
        err = give_info(obj, folder, w.id, keep_entry, out);
    else if (!err)
        err = give_original(w.kind, obj, folder, w.id, e->name, e->size, keep_entry, out);
    pm_json_free(obj);
    return err || *out ? err : -EIO;
}

/* Of documents. */
static int sm_fetch(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e, uint64_t off,
                    uint64_t len, const struct pm_sink *sink, void *arg)
{
    PM_AUTO(free) char *text = NULL;
    struct where        w = find_place(e);
    struct cJSON       *obj = NULL;
    struct pm_answer    answer = {.off = off, .validator = e->version};
    int                 err = w.place == INFO ? object_of(pm_sm(b), ctx, e, &w, &obj) : -ENOENT;

    if (!err)
        text = info_text(obj);
    pm_json_free(obj);
    if (err || !text)
        return err ? err : -ENOMEM;
    answer.total = strlen(text);
    if (off >= answer.total)
        return -ESTALE;
    if (len > answer.total - off)
        len = answer.total - off;
    err = sink->begin(arg, &answer);
    return err < 0 ? err : sink->data(arg, text + off, (size_t)len);
}

static int sm_field(struct pm_backend *b, const struct pm_entry *e, const char *name, char *out,
                    size_t size)
{
    (void)b;
    return pm_json_word(e->fields, name, out, size);
}

/* --- changes */

/* Of a model or background, by its file in uploads/ or its folder. */
static int sm_remove(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e)
{
    struct where w = find_place(e);

    if (w.place == DROP && pm_sm_drop_id(e, w.id))
        return pm_sm_delete(pm_sm(b), ctx, w.kind, w.id);
    return w.place == THING ? pm_sm_delete(pm_sm(b), ctx, w.kind, w.id) : -EPERM;
}

static int sm_rename(struct pm_backend *b, const struct pm_entry *e, const char *name,
                     struct pm_entry **out)
{
    struct where w = find_place(e);

    return w.place == DROP || (w.place == THING && w.own)
               ? pm_sm_own_rename(pm_sm(b), w.kind, e, name, out)
               : -EPERM;
}

static enum pm_manner sm_manner(struct pm_backend *b, const struct pm_entry *dir, char *why, size_t size)
{
    struct where w = find_place(dir);
    const char  *folder = pm_sm_words[w.kind].folder, *uploads = pm_sm_words[w.kind].uploads;

    (void)b;
    switch (w.place) {
    case UPLOADS: return PM_MANNER_DROPS;
    case THINGS:
        snprintf(why, size, "nothing is made here: put files into %s/ instead", uploads);
        return PM_MANNER_FIXED;
    case THING:
        snprintf(why, size, "what the service has is never changed: put files into %s/ instead", uploads);
        return PM_MANNER_THING;
    case NAMES: case STATES: case STATE:
        snprintf(why, size, "here are only links: put files into uploads/, and remove folders in %s/,"
                 " instead", folder);
        return PM_MANNER_FIXED;
    default: snprintf(why, size, "put files into uploads/ instead"); return PM_MANNER_FIXED;
    }
}

const struct pm_backend_ops pm_sharemy3d_ops = {
    .type = "sharemy3d",
    .secret = "token",
    .endpoint = "https://api.sharemy3d.com/v1",
    .caps = PM_CAP_RANGE | PM_CAP_LIST_COSTS_OBJECT,
    .open = sm_open,
    .close = sm_close,
    .manner = sm_manner,
    .check_options = pm_sm_check_options,
    .list = sm_list,
    .stat = sm_stat,
    .locate = pm_sm_locate,
    .fetch = sm_fetch,
    .begin = pm_sm_begin,
    .resume = pm_sm_resume,
    .put = pm_sm_put,
    .finish = pm_sm_finish,
    .abort = pm_sm_abort,
    .remove = sm_remove,
    .rename = sm_rename,
    .field = sm_field,
};
