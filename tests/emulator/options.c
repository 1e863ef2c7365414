#include "tests/emulator/options.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/emulator/buf.h"

struct options {
    pthread_mutex_t      lock;          /* leaf */
    struct option_values values;        /* lock */
};

enum kind { KIND_INT, KIND_BYTES, KIND_BOOL, KIND_TEXT };

struct row {
    const char *name;
    enum kind   kind;
    size_t      offset;
    size_t      size;
    const char *choices;                /* NULL: anything; else words between spaces */
};

#define ROW(kind, name, choices)                                                                  \
    {                                                                                             \
        #name, kind, offsetof(struct option_values, name),                                        \
            sizeof(((struct option_values *)NULL)->name), choices                                 \
    }

#define ROW360(kind, name, choices)                                                               \
    {                                                                                             \
        "360." #name, kind, offsetof(struct option_values, three_sixty.name),                     \
            sizeof(((struct option_values *)NULL)->three_sixty.name), choices                     \
    }

#define ROW_SM3D(kind, name, choices)                                                             \
    {                                                                                             \
        "sm3d." #name, kind, offsetof(struct option_values, sm3d.name),                           \
            sizeof(((struct option_values *)NULL)->sm3d.name), choices                            \
    }

#define ROW_SW(kind, name, choices)                                                               \
    {                                                                                             \
        "shapeways." #name, kind, offsetof(struct option_values, shapeways.name),                 \
            sizeof(((struct option_values *)NULL)->shapeways.name), choices                       \
    }

static const struct row rows[] = {
    ROW(KIND_INT, max_connections, NULL),
    ROW(KIND_INT, signed_ttl_s, NULL),
    ROW(KIND_BOOL, range, NULL),
    ROW(KIND_BOOL, etag, NULL),
    ROW(KIND_TEXT, token, NULL),
    ROW(KIND_TEXT, download, " direct redirect "),
    ROW(KIND_TEXT, upload_param, " path p both "),
    ROW(KIND_TEXT, quoting, " backslash percent "),
    ROW(KIND_INT, exists_status, NULL),
    ROW(KIND_INT, error_shape, NULL),
    ROW(KIND_INT, error_body_status, NULL),
    ROW(KIND_TEXT, id_member, " id _id both "),
    ROW(KIND_TEXT, owner, " object number string "),
    ROW(KIND_BOOL, revision_date, NULL),
    ROW(KIND_BOOL, extra_members, NULL),
    ROW(KIND_INT, queue_ms, NULL),
    ROW(KIND_INT, convert_ms, NULL),
    ROW(KIND_BOOL, conversion_moves_updated, NULL),
    ROW(KIND_TEXT, error_extensions, NULL),
    ROW(KIND_TEXT, plain_extensions, NULL),
    ROW(KIND_INT, copy_queue_ms, NULL),
    ROW(KIND_INT, copy_ms, NULL),
    ROW(KIND_TEXT, copy_size, " final zero "),
    ROW(KIND_BOOL, copy_dependencies, NULL),
    ROW(KIND_BOOL, copy_dirs, NULL),
    ROW360(KIND_TEXT, token, NULL),
    ROW360(KIND_INT, rate_percent, NULL),
    ROW360(KIND_INT, open_limit, NULL),
    ROW360(KIND_INT, rate_hour_ms, NULL),
    ROW360(KIND_INT, rate_minute_ms, NULL),
    ROW360(KIND_TEXT, rate_shape, " sliding fixed "),
    ROW360(KIND_BOOL, rate_counts_refused, NULL),
    ROW360(KIND_BOOL, rate_breach, NULL),
    ROW360(KIND_TEXT, retry_after, " seconds date none "),
    ROW360(KIND_INT, expires_s, NULL),
    ROW360(KIND_TEXT, expiry_from, " creation last_put "),
    ROW360(KIND_INT, gone_status, NULL),
    ROW360(KIND_TEXT, allowed, NULL),
    ROW360(KIND_TEXT, extension_form, " plain dot "),
    ROW360(KIND_BYTES, file_max, NULL),
    ROW360(KIND_BYTES, session_max, NULL),
    ROW360(KIND_TEXT, session_counts, " declared received "),
    ROW360(KIND_BYTES, quota, NULL),
    ROW360(KIND_INT, project_limit, NULL),
    ROW360(KIND_TEXT, tariff, " full no_api no_upload no_project "),
    ROW360(KIND_TEXT, scope, " both write read "),
    ROW360(KIND_BOOL, email_verified, NULL),
    ROW360(KIND_TEXT, flatten, " strip underscore utf8 "),
    ROW360(KIND_TEXT, name_case, " fold exact "),
    ROW360(KIND_TEXT, torn, " drop entry keep "),
    ROW360(KIND_TEXT, overlap, " keep truncate "),
    ROW360(KIND_INT, short_every, NULL),
    ROW360(KIND_TEXT, empty_files, " accepted length_required "),
    ROW360(KIND_TEXT, used_session, " kept gone "),
    ROW360(KIND_TEXT, slug, " same other taken "),
    ROW360(KIND_TEXT, known_fields, NULL),
    ROW360(KIND_INT, queue_ms, NULL),
    ROW360(KIND_INT, process_ms, NULL),
    ROW360(KIND_INT, stuck_at, NULL),
    ROW360(KIND_TEXT, errors, NULL),
    ROW360(KIND_TEXT, errors_form, " text list "),
    ROW360(KIND_TEXT, list, " none array object "),
    ROW_SM3D(KIND_TEXT, token, NULL),
    ROW_SM3D(KIND_TEXT, auth, " bearer bare both "),
    ROW_SM3D(KIND_TEXT, errors, " class plain html empty "),
    ROW_SM3D(KIND_INT, created_status, NULL),
    ROW_SM3D(KIND_INT, gone_status, NULL),
    ROW_SM3D(KIND_TEXT, lengths, " strict bytes chars utf16 "),
    ROW_SM3D(KIND_TEXT, extensions, NULL),
    ROW_SM3D(KIND_TEXT, pictures, NULL),
    ROW_SM3D(KIND_TEXT, empty, " refused accepted "),
    ROW_SM3D(KIND_TEXT, empty_password, " none set "),
    ROW_SM3D(KIND_TEXT, second_post, " breach fine "),
    ROW_SM3D(KIND_TEXT, size_mismatch, " failed kept "),
    ROW_SM3D(KIND_INT, notice_ms, NULL),
    ROW_SM3D(KIND_INT, process_ms, NULL),
    ROW_SM3D(KIND_TEXT, stuck, NULL),
    ROW_SM3D(KIND_TEXT, failing, NULL),
    ROW_SM3D(KIND_TEXT, stale, " UPLOADING FAILED "),
    ROW_SM3D(KIND_TEXT, original_when, " uploaded ACTIVE "),
    ROW_SM3D(KIND_TEXT, original_for, " all downloadable "),
    ROW_SM3D(KIND_INT, original_status, NULL),
    ROW_SM3D(KIND_TEXT, url_form, " v4 v2 lower opaque "),
    ROW_SM3D(KIND_TEXT, put_form, " v2 v4 lower opaque "),
    ROW_SM3D(KIND_INT, put_ttl_s, NULL),
    ROW_SM3D(KIND_TEXT, resumable_form, " json xml start "),
    ROW_SM3D(KIND_INT, final_status, NULL),
    ROW_SM3D(KIND_INT, session_s, NULL),
    ROW_SM3D(KIND_TEXT, session_from, " creation last_put "),
    ROW_SM3D(KIND_TEXT, head, " refused allowed "),
    ROW_SM3D(KIND_INT, expired_status, NULL),
    ROW_SM3D(KIND_TEXT, filename_in, " disposition header path none "),
    ROW_SM3D(KIND_TEXT, hashes, " lines joined crc32c none "),
    ROW_SM3D(KIND_BOOL, goog_headers, NULL),
    ROW_SM3D(KIND_INT, clock_s, NULL),
    ROW_SM3D(KIND_TEXT, ties, " kept shuffled "),
    ROW_SM3D(KIND_TEXT, links, " own foreign none "),
    ROW_SM3D(KIND_INT, list_lag_ms, NULL),
    ROW_SM3D(KIND_TEXT, torn, " granule drop bytes "),
    ROW_SM3D(KIND_INT, short_every, NULL),
    ROW_SM3D(KIND_TEXT, odd_chunk, " refused rounded "),
    ROW_SM3D(KIND_INT, rate_limit, NULL),
    ROW_SM3D(KIND_INT, rate_window_ms, NULL),
    ROW_SM3D(KIND_TEXT, retry_after, " none seconds date "),
    ROW_SW(KIND_TEXT, auth, " both oauth1 oauth2 "),
    ROW_SW(KIND_TEXT, consumer_secret, NULL),
    ROW_SW(KIND_TEXT, no_credentials, " empty 401 "),
    ROW_SW(KIND_TEXT, bad_credentials, " 401 empty html "),
    ROW_SW(KIND_TEXT, errors, " json html empty "),
    ROW_SW(KIND_INT, invalid_status, NULL),
    ROW_SW(KIND_INT, gone_status, NULL),
    ROW_SW(KIND_INT, clock_s, NULL),
    ROW_SW(KIND_INT, skew_s, NULL),
    ROW_SW(KIND_INT, request_ttl_s, NULL),
    ROW_SW(KIND_INT, oauth2_ttl_s, NULL),
    ROW_SW(KIND_TEXT, token_form, " inside separate "),
    ROW_SW(KIND_TEXT, login_url, " own foreign "),
    ROW_SW(KIND_TEXT, terms, " accepted open "),
    ROW_SW(KIND_TEXT, file_form, " percent plain either "),
    ROW_SW(KIND_TEXT, checksums, " told null "),
    ROW_SW(KIND_BYTES, file_max, NULL),
    ROW_SW(KIND_INT, file_max_status, NULL),
    ROW_SW(KIND_TEXT, numbers, " strings numbers mixed "),
    ROW_SW(KIND_TEXT, flags, " digits bool strings "),
    ROW_SW(KIND_TEXT, empty_list, " null array absent "),
    ROW_SW(KIND_TEXT, empty_object, " array object null "),
    ROW_SW(KIND_BOOL, slashes, NULL),
    ROW_SW(KIND_TEXT, unicode, " escaped utf8 "),
    ROW_SW(KIND_TEXT, data_at, " document first last "),
    ROW_SW(KIND_TEXT, model_data, " null absent whole "),
    ROW_SW(KIND_TEXT, no_version, " last refused "),
    ROW_SW(KIND_TEXT, list_title, " title modelTitle "),
    ROW_SW(KIND_TEXT, list_order, " newest oldest "),
    ROW_SW(KIND_INT, list_lag_ms, NULL),
    ROW_SW(KIND_TEXT, materials, " merge replace "),
    ROW_SW(KIND_TEXT, materials_told, " all chosen "),
    ROW_SW(KIND_TEXT, history, " object array "),
    ROW_SW(KIND_INT, process_ms, NULL),
    ROW_SW(KIND_TEXT, second_post, " breach fine "),
    ROW_SW(KIND_INT, speed, NULL),
    ROW_SW(KIND_BYTES, hold_at, NULL),
    ROW_SW(KIND_INT, rate_limit, NULL),
    ROW_SW(KIND_INT, rate_window_ms, NULL),
    ROW_SW(KIND_BOOL, rate_headers, NULL),
    ROW_SW(KIND_BOOL, rate_counts_refused, NULL),
    ROW_SW(KIND_BOOL, rate_breach, NULL),
    ROW_SW(KIND_TEXT, retry_after, " none seconds date "),
};

#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

static const struct option_values defaults = {
    .max_connections = 64,
    .signed_ttl_s = 300,
    .range = true,
    .etag = true,
    .download = "direct",
    .upload_param = "both",
    .quoting = "backslash",
    .exists_status = 409,
    .error_shape = 1,
    .id_member = "id",
    .owner = "object",
    .queue_ms = 200,
    .convert_ms = 200,
    .conversion_moves_updated = true,
    .error_extensions = "bad",
    .plain_extensions = "txt,md",
    .copy_queue_ms = 200,
    .copy_ms = 200,
    .copy_size = "final",
    .three_sixty = {
        .rate_percent = 100,
        .open_limit = 30,
        .rate_hour_ms = 3600000,
        .rate_minute_ms = 60000,
        .rate_shape = "sliding",
        .rate_counts_refused = true,
        .rate_breach = true,
        .retry_after = "seconds",
        .expires_s = 259200,
        .expiry_from = "creation",
        .gone_status = 404,
        .allowed = "7z,csv,dat,db,e57,exr,frag,glb,gpx,ifc,jpeg,jpg,json,kml,kmz,ksplat,las,laz,"
                   "lgs,lgsx,mp4,mtl,obj,opt,out,pdf,ply,png,pts,ptx,rad,rar,rmx,sog,splat,spz,"
                   "stl,tif,tiff,txt,xyz,zip",
        .extension_form = "plain",
        .session_counts = "declared",
        .tariff = "full",
        .scope = "both",
        .email_verified = true,
        .flatten = "strip",
        .name_case = "fold",
        .torn = "drop",
        .overlap = "keep",
        .empty_files = "accepted",
        .used_session = "kept",
        .slug = "same",
        .queue_ms = 200,
        .process_ms = 200,
        .stuck_at = -1,
        .errors_form = "text",
        .list = "none",
    },
    .sm3d = {
        .auth = "bearer",
        .errors = "class",
        .created_status = 201,
        .gone_status = 404,
        .lengths = "strict",
        .extensions = "bad,3ds,3mf,dae,e57,fbx,glb,gltf,las,laz,obj,off,ply,pts,stl,x3d,xyz,zip",
        .pictures = "jpg,jpeg,png",
        .empty = "refused",
        .empty_password = "none",
        .second_post = "breach",
        .size_mismatch = "failed",
        .notice_ms = 100,
        .process_ms = 200,
        .failing = "bad",
        .stale = "UPLOADING",
        .original_when = "uploaded",
        .original_for = "all",
        .original_status = 404,
        .url_form = "v4",
        .put_form = "v2",
        .put_ttl_s = 3600,
        .resumable_form = "json",
        .final_status = 200,
        .session_s = 604800,
        .session_from = "creation",
        .head = "refused",
        .expired_status = 400,
        .filename_in = "disposition",
        .hashes = "lines",
        .goog_headers = true,
        .ties = "kept",
        .links = "own",
        .torn = "granule",
        .odd_chunk = "refused",
        .rate_window_ms = 60000,
        .retry_after = "none",
    },
    .shapeways = {
        .auth = "both",
        .no_credentials = "empty",
        .bad_credentials = "401",
        .errors = "json",
        .invalid_status = 400,
        .gone_status = 400,
        .skew_s = 300,
        .request_ttl_s = 600,
        .oauth2_ttl_s = 3600,
        .token_form = "inside",
        .login_url = "own",
        .terms = "accepted",
        .file_form = "percent",
        .checksums = "told",
        .file_max_status = 400,
        .numbers = "strings",
        .flags = "digits",
        .empty_list = "null",
        .empty_object = "array",
        .slashes = true,
        .unicode = "escaped",
        .data_at = "document",
        .model_data = "null",
        .no_version = "last",
        .list_title = "title",
        .list_order = "newest",
        .materials = "merge",
        .materials_told = "all",
        .history = "object",
        .process_ms = 200,
        .second_post = "breach",
        .rate_limit = 150,
        .rate_window_ms = 300000,
        .rate_headers = true,
        .rate_counts_refused = true,
        .rate_breach = true,
        .retry_after = "none",
    },
};

struct options *options_new(void)
{
    struct options *o = emu_alloc(sizeof(*o));
    pthread_mutex_init(&o->lock, NULL);
    o->values = defaults;
    return o;
}

void options_free(struct options *o)
{
    if (o == NULL)
        return;
    pthread_mutex_destroy(&o->lock);
    free(o);
}

struct option_values options_get(struct options *o)
{
    pthread_mutex_lock(&o->lock);
    struct option_values values = o->values;
    pthread_mutex_unlock(&o->lock);
    return values;
}

static const struct row *row_named(const char *name)
{
    for (size_t i = 0; i < ROW_COUNT; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

static bool is_choice(const struct row *row, const char *word)
{
    char wanted[64];
    if (row->choices == NULL)
        return true;
    snprintf(wanted, sizeof(wanted), " %s ", word);
    return strstr(row->choices, wanted) != NULL;
}

static int set_one(struct option_values *values, const struct row *row, const cJSON *item)
{
    char *place = (char *)values + row->offset;
    if (row->kind == KIND_INT && cJSON_IsNumber(item)) {
        memcpy(place, &item->valueint, sizeof(int));
        return 0;
    }
    if (row->kind == KIND_BYTES && cJSON_IsNumber(item)) {
        int64_t bytes = (int64_t)item->valuedouble;
        memcpy(place, &bytes, sizeof(bytes));
        return 0;
    }
    if (row->kind == KIND_BOOL && cJSON_IsBool(item)) {
        bool value = cJSON_IsTrue(item);
        memcpy(place, &value, sizeof(bool));
        return 0;
    }
    if (row->kind != KIND_TEXT || !cJSON_IsString(item) || !is_choice(row, item->valuestring) ||
        strlen(item->valuestring) >= row->size)
        return -EINVAL;
    memcpy(place, item->valuestring, strlen(item->valuestring) + 1);
    return 0;
}

int options_merge(struct options *o, const cJSON *changes, const char **bad)
{
    int r = 0;
    pthread_mutex_lock(&o->lock);
    struct option_values values = o->values;
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, changes) {
        const struct row *row = item->string != NULL ? row_named(item->string) : NULL;
        if (row == NULL || set_one(&values, row, item) < 0) {
            *bad = item->string != NULL ? item->string : "(not an object)";
            r = -EINVAL;
            break;
        }
    }
    if (r == 0)
        o->values = values;
    pthread_mutex_unlock(&o->lock);
    return r;
}

cJSON *options_json(struct options *o)
{
    struct option_values values = options_get(o);
    cJSON *json = cJSON_CreateObject();
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const char *place = (const char *)&values + rows[i].offset;
        int number = 0;
        int64_t bytes = 0;
        bool flag = false;
        switch (rows[i].kind) {
        case KIND_INT:
            memcpy(&number, place, sizeof(number));
            cJSON_AddNumberToObject(json, rows[i].name, number);
            break;
        case KIND_BYTES:
            memcpy(&bytes, place, sizeof(bytes));
            cJSON_AddNumberToObject(json, rows[i].name, (double)bytes);
            break;
        case KIND_BOOL:
            memcpy(&flag, place, sizeof(flag));
            cJSON_AddBoolToObject(json, rows[i].name, flag);
            break;
        case KIND_TEXT:
            cJSON_AddStringToObject(json, rows[i].name, place);
            break;
        }
    }
    return json;
}
