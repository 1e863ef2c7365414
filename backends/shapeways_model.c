/* A model: its folder, its versions, and their files, which come as base64 in the middle of JSON. */
#include "backends/shapeways_impl.h"
#include "backends/sign.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FILE_STALL_MS 60000 /* the service writes the whole answer before it sends the first byte */

static const struct pm_entry nothing = {.root = "", .id = "", .name = "", .path = "", .target = "",
                                        .version = "", .state = "", .size = PM_SIZE_UNKNOWN};

/* --- asking */

/* What is gone is "failure" of some status, or a 403, as what is another's would be: then the list decides. */
static int judge_gone(struct pm_shapeways *sw, struct pm_ctx *ctx, const struct pm_sw_call *call,
                      const char *id, int err)
{
    struct pm_ctx own = *ctx;

    if (err != -EINVAL && (err != -EACCES || call->status != 403))
        return err;
    return pm_sw_is_listed(sw, &own, id) == 0 ? -ENOENT : err;
}

int pm_sw_get_model(struct pm_shapeways *sw, struct pm_ctx *ctx, const char *id, const char *tail,
                    struct cJSON **json)
{
    PM_AUTO(free) char *path = pm_asprintf("/models/%s/%sv1", id, tail);
    struct pm_sw_call   call = {.req = {.method = "GET", .url = path}};
    int                 err = !path ? -ENOMEM : pm_sw_is_id(id) ? pm_sw_call(sw, ctx, &call) : -ENOENT;

    if (err)
        return judge_gone(sw, ctx, &call, id, err);
    *json = call.json;
    return 0;
}

bool pm_sw_version(const struct cJSON *obj, unsigned *version)
{
    uint64_t n;

    if (!pm_json_u64(obj, "modelVersion", &n) || n > PM_SW_VERSION_MAX)
        return false;
    *version = (unsigned)n;
    return true;
}

/* --- entries */

static const char *title_of(const struct cJSON *obj, const char *id)
{
    const char *title = pm_json_text(obj, "title");

    if (!title)
        title = pm_json_text(obj, "modelTitle"); /* in 2013 */
    return title && *title ? title : id;
}

/* The same however much is told: what a list has of a model, its own answer has, too. */
int pm_sw_give_model(const struct cJSON *obj, const char *id, pm_entry_fn *each, void *arg)
{
    PM_AUTO(free) char *path = pm_asprintf("models/%s", id);
    PM_AUTO(free) char *fields = NULL;
    struct cJSON       *shown = pm_json_object();
    unsigned            version;
    struct pm_entry     e = nothing;
    bool                good = path && pm_json_set_text(shown, "modelId", id) &&
                pm_json_set_text(shown, "title", title_of(obj, id));

    if (good && pm_sw_version(obj, &version))
        good = pm_json_set_number(shown, "modelVersion", version);
    fields = good ? pm_json_print(shown, false) : NULL;
    pm_json_free(shown);
    if (!fields)
        return -ENOMEM;
    e.kind = PM_FOLDER;
    e.id = e.name = id;
    e.path = path;
    e.fields = strlen(fields) <= PM_FIELDS_MAX ? fields : "";
    return each(arg, &e);
}

int pm_sw_give_link(const struct cJSON *obj, const char *id, pm_entry_fn *each, void *arg)
{
    PM_AUTO(pm_buf) struct pm_buf path = {0};
    char                          rid[PM_SW_ID_MAX + 8], target[PM_SW_ID_MAX + 16];
    struct pm_entry               e = nothing;

    pm_buf_str(&path, "by-title/");
    pm_buf_urlenc(&path, title_of(obj, id));
    if (path.failed)
        return -ENOMEM;
    snprintf(rid, sizeof(rid), "%s@title", id);
    snprintf(target, sizeof(target), "../models/%s", id);
    e.kind = PM_LINK;
    e.id = rid;
    e.name = title_of(obj, id);
    e.path = path.ptr;
    e.target = target;
    e.size = strlen(target);
    return each(arg, &e);
}

/* The keys that let anybody in. */
static const char *const secrets[] = {"secretKey", "claimKey"};

static bool is_plain(const char *key)
{
    for (const char *c = key; *c; c++)
        if ((unsigned char)*c >= 0x80 || !(isalnum((unsigned char)*c) || strchr("-._~", *c)))
            return false;
    return strlen(key) >= 8;
}

/* They are parts of the model's addresses, too. One that could be anything, or be written in other ways: then
 * the addresses are left out. */
static void drop_addresses(const struct cJSON *obj, struct cJSON *copy)
{
    for (size_t i = 0; i < PM_COUNT(secrets); i++) {
        const char *key = pm_json_text(obj, secrets[i]);

        if (key && *key && !is_plain(key))
            pm_json_remove(copy, "urls");
    }
}

static void mask(const struct cJSON *obj, char *text)
{
    for (size_t i = 0; i < PM_COUNT(secrets); i++) {
        const char *key = pm_json_text(obj, secrets[i]);

        for (char *at = key && is_plain(key) ? strstr(text, key) : NULL; at; at = strstr(at, key))
            memset(at, '*', strlen(key));
    }
}

/* What may be shown to all of a model's object, without these members. Owned; NULL: no memory. */
static char *shown(const struct cJSON *obj, const char *const *not, bool pretty)
{
    PM_AUTO(free) char *all = pm_json_print(obj, false);
    struct cJSON       *copy = all ? pm_json_parse(all, strlen(all)) : NULL;
    char               *text = NULL;

    if (copy) {
        for (; *not; not++)
            pm_json_remove(copy, *not);
        for (size_t i = 0; i < PM_COUNT(secrets); i++)
            pm_json_remove(copy, secrets[i]);
        drop_addresses(obj, copy);
        pm_sw_unwrap(copy);
        text = pretty ? pm_sw_text_of(copy) : pm_json_print(copy, false);
    }
    if (text)
        mask(obj, text);
    pm_json_free(copy);
    return text;
}

/* What it says of itself in few words, as fields of its file and its document. Owned. */
static char *particulars(const struct cJSON *obj)
{
    static const char *const not[] = {"materials", "categories", "fileData", NULL};

    return shown(obj, not, false);
}

/* Lower-case hexadecimal digits, or "". */
static void take_md5(const struct cJSON *obj, char out[PM_MD5_HEX_MAX])
{
    const char *told = pm_json_text(obj, "fileMd5Checksum");
    size_t      len = told ? strspn(told, "0123456789abcdefABCDEF") : 0;

    *out = '\0';
    if (len != 32 || told[len])
        return;
    for (size_t i = 0; i <= len; i++)
        out[i] = (char)tolower((unsigned char)told[i]);
}

int pm_sw_give_file(const struct cJSON *obj, const char *id, int which, pm_entry_fn *each, void *arg)
{
    PM_AUTO(pm_buf) struct pm_buf path = {0}, rid = {0};
    PM_AUTO(free) char           *fields = particulars(obj);
    const char                   *name = pm_json_text(obj, "fileName");
    char                          md5[PM_MD5_HEX_MAX], version[64];
    unsigned                      current = 0;
    struct pm_entry               e = nothing;

    if (which < 0 && !pm_sw_version(obj, &current))
        return 0;
    name = name && *name ? name : title_of(obj, id);
    pm_buf_printf(&path, "models/%s/", id);
    pm_buf_printf(&rid, "%s/", id);
    if (which >= 0) {
        pm_buf_printf(&path, "versions/%d/", which);
        pm_buf_printf(&rid, "v/%d/", which);
    }
    pm_buf_urlenc(&path, name);
    pm_buf_str(&rid, "file");
    if (path.failed || rid.failed || !fields)
        return -ENOMEM;
    take_md5(obj, md5);
    snprintf(version, sizeof(version), "%u:%s", which < 0 ? current : (unsigned)which, md5);
    pm_json_u64(obj, "contentLength", &e.size);
    e.kind = PM_FILE;
    e.id = rid.ptr;
    e.name = name;
    e.path = path.ptr;
    e.version = version;
    e.fields = strlen(fields) <= PM_FIELDS_MAX ? fields : "";
    return each(arg, &e);
}

/* info.json is what GET /models/ID/info/v1 would tell, without the keys. */
int pm_sw_give_info(struct pm_shapeways *sw, const struct cJSON *obj, const char *id, pm_entry_fn *each,
                    void *arg)
{
    static const char *const not[] = {"fileName", "contentLength", "fileMd5Checksum", "fileData", NULL};
    PM_AUTO(free) char *path = pm_asprintf("models/%s/info.json", id);
    PM_AUTO(free) char *rid = pm_asprintf("%s/info", id);
    PM_AUTO(free) char *fields = particulars(obj);
    PM_AUTO(free) char *text = shown(obj, not, true);

    if (!path || !rid || !text || !fields)
        return -ENOMEM;
    pm_sw_keep(sw, path, text);
    return pm_sw_give_document(path, rid, "info.json", text, fields, each, arg);
}

static int give_folder(const struct pm_shapeways *sw, const char *path, const char *id, const char *name,
                       const char *fields, pm_entry_fn *each, void *arg)
{
    struct pm_entry e = nothing;

    e.kind = PM_FOLDER;
    e.id = id;
    e.name = name;
    e.path = path;
    e.fields = fields;
    e.mtime_ms = e.btime_ms = sw->opened_ms;
    return each(arg, &e);
}

/* The number is kept with the folder, so that its list makes no call. */
int pm_sw_give_versions_folder(const struct pm_shapeways *sw, const struct cJSON *obj, const char *id,
                               pm_entry_fn *each, void *arg)
{
    char     path[PM_SW_ID_MAX + 20], rid[PM_SW_ID_MAX + 10], fields[40];
    unsigned version;

    if (!pm_sw_version(obj, &version))
        return 0;
    snprintf(path, sizeof(path), "models/%s/versions", id);
    snprintf(rid, sizeof(rid), "%s/versions", id);
    snprintf(fields, sizeof(fields), "{\"modelVersion\":%u}", version);
    return give_folder(sw, path, rid, "versions", fields, each, arg);
}

/* The file comes last: it may have any name, and the others keep theirs. */
int pm_sw_give_inside(struct pm_shapeways *sw, const struct cJSON *obj, const char *id, pm_entry_fn *each,
                      void *arg)
{
    int err = pm_sw_give_info(sw, obj, id, each, arg);

    if (!err)
        err = pm_sw_give_versions_folder(sw, obj, id, each, arg);
    return err ? err : pm_sw_give_file(obj, id, -1, each, arg);
}

int pm_sw_give_version(const struct pm_shapeways *sw, unsigned n, const char *id, pm_entry_fn *each,
                       void *arg)
{
    char path[PM_SW_ID_MAX + 32], rid[PM_SW_ID_MAX + 16], name[12];

    snprintf(name, sizeof(name), "%u", n);
    snprintf(path, sizeof(path), "models/%s/versions/%u", id, n);
    snprintf(rid, sizeof(rid), "%s/v/%u", id, n);
    return give_folder(sw, path, rid, name, "", each, arg);
}

int pm_sw_give_versions(const struct pm_shapeways *sw, unsigned version, const char *id,
                        pm_entry_fn *each, void *arg)
{
    int err = 0;

    for (unsigned n = 0; n <= version && !err; n++)
        err = pm_sw_give_version(sw, n, id, each, arg);
    return err;
}

/* --- a file's content */

struct download {
    const struct pm_entry *e;
    const struct pm_sink  *sink;
    void                  *arg;
    const char            *want; /* MD5 of the version that is wanted; "": not known */
    struct pm_md5         *md5; /* owned */
    uint64_t               got;
    bool                   begun;
};

/* The digest in the form of struct pm_answer. */
static void base64_of_hex(const char *hex, char out[40])
{
    unsigned char       md[16];
    PM_AUTO(free) char *text = NULL;

    *out = '\0';
    if (strlen(hex) != 2 * sizeof(md))
        return;
    for (size_t i = 0; i < sizeof(md); i++)
        md[i] = (unsigned char)strtoul((char[]){hex[2 * i], hex[2 * i + 1], '\0'}, NULL, 16);
    text = pm_sign_base64(md, sizeof(md));
    if (text)
        snprintf(out, 40, "md5=%s", text);
}

static int begin_once(struct download *d)
{
    char             digest[40];
    struct pm_answer answer = {.total = d->e->size, .validator = d->want, .digest = digest};

    if (d->begun)
        return 0;
    base64_of_hex(d->want, digest);
    d->begun = true;
    return d->sink->begin(d->arg, &answer);
}

static int take_bytes(void *arg, const void *data, size_t len)
{
    struct download *d = arg;
    int              err = begin_once(d);

    if (err < 0)
        return err;
    d->got += len;
    if (d->got > d->e->size)
        return -ESTALE;
    err = pm_md5_add(d->md5, data, len);
    return err ? err : d->sink->data(d->arg, data, len);
}

/* All has come: is it what was wanted, and what the service meant to send? */
static int check_whole(struct download *d, struct pm_ctx *ctx, const struct cJSON *json)
{
    char told[PM_MD5_HEX_MAX], found[PM_MD5_HEX_MAX];
    int  err = pm_md5_hex(d->md5, found);

    if (err)
        return err;
    take_md5(json, told);
    if (*told && strcmp(told, found) != 0) {
        snprintf(ctx->why, sizeof(ctx->why), "what came does not have the MD5 that the service tells");
        return -EIO;
    }
    if ((*d->want && strcmp(d->want, found) != 0) || (d->e->size != PM_SIZE_UNKNOWN && d->got != d->e->size)) {
        snprintf(ctx->why, sizeof(ctx->why), "the service has another content now");
        return -ESTALE;
    }
    return 0;
}

static int stream(struct pm_shapeways *sw, struct pm_ctx *ctx, const char *id, const char *path,
                  struct download *d)
{
    struct pm_sw_call call = {.req = {.method = "GET", .url = path, .content = true,
                                      .stall_ms = FILE_STALL_MS},
                              .data = take_bytes, .arg = d};
    int               err = pm_sw_call(sw, ctx, &call);
    bool              found;

    if (err)
        return d->begun ? err : judge_gone(sw, ctx, &call, id, err);
    found = pm_json_text(call.json, "fileData") != NULL;
    if (!found)
        snprintf(ctx->why, sizeof(ctx->why), "the answer lacks the file");
    err = found ? begin_once(d) : -EIO;
    if (!err)
        err = check_whole(d, ctx, call.json);
    pm_json_free(call.json);
    return err;
}

int pm_sw_fetch_file(struct pm_shapeways *sw, struct pm_ctx *ctx, const struct pm_entry *e,
                     const char *id, unsigned version, const struct pm_sink *sink, void *arg)
{
    PM_AUTO(free) char *path = pm_asprintf("/models/%s/files/%u/v1?file=1", id, version);
    const char         *want = strchr(e->version, ':');
    struct download     d = {.e = e, .sink = sink, .arg = arg, .want = want ? want + 1 : "",
                             .md5 = pm_md5_new()};
    int                 err = path && d.md5 ? stream(sw, ctx, id, path, &d) : -ENOMEM;

    pm_md5_free(d.md5);
    return err;
}
