/* What this drive made: the files in uploads/ and uploads-backgrounds/.
 *
 * The service knows neither the name that a file has here nor who made it. Both are kept in the account's
 * second store, as a small JSON object under OWN, the folder and the id:
 *   name     as it is in uploads/
 *   file     it was made of a folder, which has this file
 *   size     of backgrounds no answer tells it, and of models perhaps none
 *   made     when it was confirmed
 *   begun    it is not whole yet, and is not shown: whose the id is, is known
 * The service says whether there still is such a thing: uploads/ is its list, of those, and what its list
 * may not have yet it is asked for by id. */
#include "backends/sharemy3d_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define OWN "sharemy3d.own."

static char *own_key(enum pm_sm_kind kind, const char *id)
{
    return pm_asprintf(OWN "%s/%s", pm_sm_words[kind].folder, id);
}

/* --- keeping it */

int pm_sm_own_keep(struct pm_sharemy3d *sm, enum pm_sm_kind kind, const char *id,
                   const struct pm_sm_own *own)
{
    PM_AUTO(free) char           *key = own_key(kind, id);
    PM_AUTO(pm_buf) struct pm_buf text = {0};

    pm_buf_str(&text, "{\"name\":");
    pm_buf_json(&text, own->name);
    if (own->file) {
        pm_buf_str(&text, ",\"file\":");
        pm_buf_json(&text, own->file);
    }
    if (own->size != PM_SIZE_UNKNOWN)
        pm_buf_printf(&text, ",\"size\":%" PRIu64, own->size);
    if (own->made_ms)
        pm_buf_printf(&text, ",\"made\":%" PRId64, own->made_ms);
    pm_buf_str(&text, own->begun ? ",\"begun\":true}" : "}");
    if (!key || text.failed)
        return -ENOMEM;
    return pm_backend_keep(&sm->base, key, text.ptr);
}

int pm_sm_own_forget(struct pm_sharemy3d *sm, enum pm_sm_kind kind, const char *id)
{
    PM_AUTO(free) char *key = own_key(kind, id);

    return key ? pm_backend_keep(&sm->base, key, NULL) : -ENOMEM;
}

void pm_sm_own_clear(struct pm_sm_own *own)
{
    free(own->name);
    free(own->file);
    *own = (struct pm_sm_own){0};
}

static bool read_own(const char *text, struct pm_sm_own *out)
{
    struct cJSON *obj = pm_json_parse(text, strlen(text));
    const char   *name = pm_json_text(obj, "name");
    const char   *file = pm_json_text(obj, "file");
    bool          draft = file && *file;
    uint64_t      made = 0;

    *out = (struct pm_sm_own){.name = name && *name ? strdup(name) : NULL, .size = PM_SIZE_UNKNOWN,
                              .file = draft ? strdup(file) : NULL,
                              .begun = pm_json_bool(obj, "begun", false)};
    pm_json_u64(obj, "size", &out->size);
    if (pm_json_u64(obj, "made", &made) && made <= INT64_MAX)
        out->made_ms = (int64_t)made;
    pm_json_free(obj); /* and `file` with it */
    if (out->name && (!draft || out->file))
        return true;
    pm_sm_own_clear(out);
    return false;
}

int pm_sm_own_get(struct pm_sharemy3d *sm, enum pm_sm_kind kind, const char *id, struct pm_sm_own *out)
{
    PM_AUTO(free) char *key = own_key(kind, id);
    PM_AUTO(free) char *text = NULL;
    int                 err = key ? pm_backend_kept(&sm->base, key, &text) : -ENOMEM;

    *out = (struct pm_sm_own){0};
    return err ? err : text && read_own(text, out) ? 0 : -ENOENT;
}

/* --- their entries */

bool pm_sm_drop_id(const struct pm_entry *e, char id[PM_SM_ID_MAX])
{
    size_t len = strcspn(e->id, "@");

    if (len >= PM_SM_ID_MAX || strcmp(e->id + len, PM_SM_DROP) != 0)
        return false;
    memcpy(id, e->id, len);
    id[len] = '\0';
    return pm_sm_is_id(id);
}

static int give_drop(enum pm_sm_kind kind, const struct cJSON *obj, const char *id,
                     const struct pm_sm_own *own, pm_entry_fn *each, void *arg)
{
    PM_AUTO(pm_buf) struct pm_buf path = {0};
    PM_AUTO(free) char           *fields = pm_json_print(obj, false);
    char                          rid[PM_SM_ID_MAX + sizeof(PM_SM_DROP)], state[32] = "", version[64];
    struct pm_entry               e = {.kind = PM_FILE, .root = "", .target = "", .size = own->size,
                                       .one_way = kind == PM_SM_BACKGROUND, .name = own->name};

    pm_buf_printf(&path, "%s/", pm_sm_words[kind].uploads);
    pm_buf_urlenc(&path, own->name);
    if (path.failed || !fields)
        return -ENOMEM;
    pm_json_scalar(obj, "status", state, sizeof(state));
    if (kind == PM_SM_MODEL)
        pm_json_u64(obj, "size", &e.size);
    snprintf(rid, sizeof(rid), "%s" PM_SM_DROP, id);
    e.id = rid;
    e.path = path.ptr;
    e.state = state;
    e.fields = strlen(fields) <= PM_FIELDS_MAX ? fields : "";
    e.mtime_ms = e.btime_ms = pm_sm_created_ms(obj);
    snprintf(version, sizeof(version), "%" PRIu64 ":%" PRId64, e.size, e.mtime_ms);
    e.version = version; /* what it is made of never changes */
    if (own->file) {
        e.kind = PM_FOLDER;
        e.one_way = false;
        e.size = PM_SIZE_UNKNOWN;
    }
    return each(arg, &e);
}

/* --- the list */

#define ASKED_MAX 32 /* by id, for one list */
#define NEW_MS    ((int64_t)600000) /* so long a list may lack what was confirmed */

struct owned {
    char             id[PM_SM_ID_MAX];
    bool             listed;
    struct pm_sm_own own;
};

struct pm_sm_map {
    size_t        skip; /* of a key, before the id */
    struct owned *owned; /* by id */
    size_t        count, room;
};

struct listing {
    enum pm_sm_kind   kind;
    struct pm_sm_map *made;
    pm_entry_fn      *each;
    void             *arg;
};

static int collect(void *arg, const char *key, const char *value)
{
    struct pm_sm_map *l = arg;
    struct owned     *o;

    if (l->count == l->room) {
        size_t room = l->room ? l->room * 2 : 64;

        o = realloc(l->owned, room * sizeof(*o));
        if (!o)
            return -ENOMEM;
        l->owned = o;
        l->room = room;
    }
    o = &l->owned[l->count];
    if (snprintf(o->id, sizeof(o->id), "%s", key + l->skip) >= (int)sizeof(o->id) ||
        !read_own(value, &o->own))
        return 0;
    if (o->own.begun)
        pm_sm_own_clear(&o->own);
    else
        l->owned[l->count++].listed = false;
    return 0;
}

static int compare_owned(const void *a, const void *b)
{
    return strcmp(a, ((const struct owned *)b)->id);
}

int pm_sm_map_load(struct pm_sharemy3d *sm, enum pm_sm_kind kind, struct pm_sm_map **out)
{
    PM_AUTO(free) char *prefix = own_key(kind, "");
    struct pm_sm_map   *map = calloc(1, sizeof(*map));
    int                 err = prefix && map ? 0 : -ENOMEM;

    if (!err) {
        map->skip = strlen(prefix);
        err = pm_backend_each_kept(&sm->base, prefix, collect, map);
    }
    if (err == -EOPNOTSUPP) /* no store: nothing is known to be ours */
        err = 0;
    if (err) {
        pm_sm_map_free(map);
        return err;
    }
    *out = map;
    return 0;
}

void pm_sm_map_free(struct pm_sm_map *map)
{
    for (size_t i = 0; map && i < map->count; i++)
        pm_sm_own_clear(&map->owned[i].own);
    free(map ? map->owned : NULL);
    free(map);
}

static struct owned *find_owned(const struct pm_sm_map *map, const char *id)
{
    return map && map->count ? bsearch(id, map->owned, map->count, sizeof(*map->owned), compare_owned)
                             : NULL;
}

const struct pm_sm_own *pm_sm_map_find(const struct pm_sm_map *map, const char *id)
{
    const struct owned *o = find_owned(map, id);

    return o ? &o->own : NULL;
}

static int on_thing(void *arg, const struct cJSON *obj, const char *id)
{
    struct listing *l = arg;
    struct owned   *o = find_owned(l->made, id);

    if (!o)
        return 0;
    o->listed = true;
    return give_drop(l->kind, obj, id, &o->own, l->each, l->arg);
}

/* What was just confirmed is there though no list has it yet. */
static int ask_for_the_rest(struct pm_sharemy3d *sm, struct pm_ctx *ctx, struct listing *l)
{
    int64_t now = pm_wall_ms();
    int     asked = 0;
    int     err = 0;

    for (size_t i = 0; i < l->made->count && asked < ASKED_MAX && !err; i++) {
        const struct owned *o = &l->made->owned[i];
        struct cJSON       *obj = NULL;

        if (o->listed || now - o->own.made_ms > NEW_MS)
            continue;
        asked++;
        err = pm_sm_get(sm, ctx, l->kind, o->id, "info", &obj);
        if (!err)
            pm_json_remove(obj, "class");
        if (!err)
            err = give_drop(l->kind, obj, o->id, &o->own, l->each, l->arg);
        else if (err == -ENOENT)
            err = 0;
        pm_json_free(obj);
    }
    return err;
}

int pm_sm_list_own(struct pm_sharemy3d *sm, struct pm_ctx *ctx, enum pm_sm_kind kind, pm_entry_fn *each,
                   void *arg)
{
    struct listing l = {.kind = kind, .each = each, .arg = arg};
    int            err = pm_sm_map_load(sm, kind, &l.made);

    if (!err && l.made->count) /* none of ours: nothing to ask for */
        err = pm_sm_list(sm, ctx, kind, NULL, on_thing, &l);
    if (!err)
        err = ask_for_the_rest(sm, ctx, &l);
    pm_sm_map_free(l.made);
    return err;
}

static int keep_entry(void *arg, const struct pm_entry *e)
{
    struct pm_entry **out = arg;

    *out = pm_entry_dup(e);
    return *out ? 0 : -ENOMEM;
}

int pm_sm_own_entry(struct pm_sharemy3d *sm, enum pm_sm_kind kind, const struct cJSON *obj,
                    const char *id, const char *name, struct pm_entry **out)
{
    struct pm_sm_own own;
    int              err = pm_sm_own_get(sm, kind, id, &own);

    if (err && err != -ENOENT)
        return err;
    if (err)
        own = (struct pm_sm_own){.name = strdup(name), .size = PM_SIZE_UNKNOWN};
    err = own.name ? give_drop(kind, obj, id, &own, keep_entry, out) : -ENOMEM;
    pm_sm_own_clear(&own);
    return err;
}

int pm_sm_own_stat(struct pm_sharemy3d *sm, struct pm_ctx *ctx, enum pm_sm_kind kind,
                   const struct pm_entry *e, struct pm_entry **out)
{
    struct cJSON *obj = NULL;
    char          id[PM_SM_ID_MAX];
    int           err = pm_sm_drop_id(e, id) ? pm_sm_get(sm, ctx, kind, id, "info", &obj) : -ENOENT;

    if (!err) {
        pm_json_remove(obj, "class");
        err = pm_sm_own_entry(sm, kind, obj, id, e->name, out);
    }
    pm_json_free(obj);
    return err;
}

/* --- changes */

int pm_sm_delete(struct pm_sharemy3d *sm, struct pm_ctx *ctx, enum pm_sm_kind kind, const char *id)
{
    PM_AUTO(free) char    *url = pm_asprintf("/%s/%s", pm_sm_words[kind].folder, id);
    struct pm_http_request req = {.method = "DELETE", .url = url};
    int                    err = url ? pm_sm_call_id(sm, ctx, kind, id, &req, NULL) : -ENOMEM;
    int                    forgot;

    forgot = !err || err == -ENOENT ? pm_sm_own_forget(sm, kind, id) : 0;
    return forgot && forgot != -EOPNOTSUPP ? forgot : err;
}

int pm_sm_own_rename(struct pm_sharemy3d *sm, enum pm_sm_kind kind, const struct pm_entry *e,
                     const char *name, struct pm_entry **out)
{
    struct cJSON    *obj = e->fields ? pm_json_parse(e->fields, strlen(e->fields)) : NULL;
    struct pm_sm_own own = {0};
    char             id[PM_SM_ID_MAX];
    char            *renamed = strdup(name);
    int              err = !renamed ? -ENOMEM : 0;

    if (!err)
        err = obj && pm_sm_drop_id(e, id) ? pm_sm_own_get(sm, kind, id, &own) : -ENOENT;
    if (!err) {
        free(own.name);
        own.name = renamed;
        renamed = NULL;
        err = pm_sm_own_keep(sm, kind, id, &own);
    }
    if (!err)
        err = give_drop(kind, obj, id, &own, keep_entry, out);
    pm_sm_own_clear(&own);
    free(renamed);
    pm_json_free(obj);
    return err;
}
