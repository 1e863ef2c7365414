/* POST /models/ID/photos/v1. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/emulator/shapeways_call.h"

#define LOOKED_AT ((size_t)64 * 1024)

static int two_bytes(const unsigned char *p)
{
    return p[0] << 8 | p[1];
}

/* The first frame header of a JPEG. */
static void measure_jpeg(const unsigned char *p, size_t len, struct sw_photo *out)
{
    for (size_t i = 2; i + 9 < len && p[i] == 0xff;) {
        bool frame = (p[i + 1] & 0xf0) == 0xc0 && p[i + 1] != 0xc4 && p[i + 1] != 0xc8;
        if (frame) {
            out->height = two_bytes(p + i + 5);
            out->width = two_bytes(p + i + 7);
            return;
        }
        i += 2 + (size_t)two_bytes(p + i + 2);
    }
}

/* 0 x 0 if it is neither a PNG nor a JPEG. */
static void measure(struct request *rq, struct sw_photo *p)
{
    unsigned char *bytes = emu_alloc(LOOKED_AT);
    int fd = store_read_fd(rq->emu->store, p->content);
    ssize_t n = fd >= 0 ? pread(fd, bytes, LOOKED_AT, 0) : 0;
    if (n > 24 && memcmp(bytes, "\x89PNG", 4) == 0) {
        p->width = two_bytes(bytes + 18);
        p->height = two_bytes(bytes + 22);
    } else if (n > 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0) {
        measure_jpeg(bytes, (size_t)n, p);
    }
    if (fd >= 0)
        close(fd);
    free(bytes);
}

static void tell(struct request *rq, const struct sw_photo *p)
{
    cJSON *json = sw_answer();
    cJSON_AddNumberToObject(json, "contentLength", (double)p->size);
    cJSON_AddStringToObject(json, "fileMd5Checksum", p->md5);
    sw_add_id(json, "modelId", p->model);
    cJSON_AddStringToObject(json, "title", p->title);
    cJSON_AddStringToObject(json, "description", p->description);
    cJSON_AddNumberToObject(json, "width", p->width);
    cJSON_AddNumberToObject(json, "height", p->height);
    cJSON_AddBoolToObject(json, "default", p->is_default);
    if (p->material != 0)
        sw_add_id(json, "materialId", p->material);
    else
        cJSON_AddNullToObject(json, "materialId");
    sw_add_id(json, "photoId", p->id);
    cJSON_AddNumberToObject(json, "photoCount",
                            (double)sw_stock_photo_count(sw_stock(rq), p->model));
    sw_reply(rq, json);
}

static bool take_photo(struct request *rq, const cJSON *wish, struct sw_photo *p)
{
    struct sums sums;
    p->model = sw_visit(rq)->ids[0];
    p->material = (int64_t)sw_wish_number(wish, "materialId", 0);
    p->is_default = sw_wish_flag(wish, "isDefault", false);
    snprintf(p->title, sizeof(p->title), "%s", sw_wish_text(wish, "title", ""));
    snprintf(p->description, sizeof(p->description), "%s", sw_wish_text(wish, "description", ""));
    if (p->material != 0 && sw_material_by_id(p->material) == NULL) {
        sw_invalid(rq, "Material not found");
        return false;
    }
    if (!sw_take_file(rq, &sums, &p->size, p->content))
        return false;
    snprintf(p->md5, sizeof(p->md5), "%s", sums.md5_hex);
    measure(rq, p);
    return true;
}

/* Photographs cannot be listed: whether one whose answer was lost has arrived, nobody can know. */
void sw_photo_new(struct request *rq)
{
    static const struct sw_param params[] = {
        {"modelId", SW_INT, false},    {"file", SW_FILE, true},
        {"title", SW_TEXT, false},     {"description", SW_TEXT, false},
        {"materialId", SW_INT, false}, {"isDefault", SW_FLAG, false},
    };
    struct sw_model m;
    struct sw_photo p = {0};
    cJSON *wish = sw_wish(rq, params, sizeof(params) / sizeof(params[0]));
    if (wish == NULL)
        return;
    bool good = sw_find_model(rq, &m) && take_photo(rq, wish, &p);
    cJSON_Delete(wish);
    if (!good)
        return;
    if (sw_is(sw_opt(rq)->second_post, "breach") &&
        sw_stock_has_photo(sw_stock(rq), p.model, p.md5))
        request_breach(rq, "this photograph was sent before");
    sw_stock_add_photo(sw_stock(rq), &p);
    tell(rq, &p);
}
