/* Documents: what is kept of their texts, the folders of the print shop, and those that are alone.
 *
 * A list must tell a document's size, and what is read then must have it, although prices and counts move
 * between two calls: so a text that was listed is kept until it is read. */
#include "backends/shapeways_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX  (512u << 10)

const char *const pm_sw_shops[PM_SW_SHOPS] = {"materials", "printers", "categories"};
const char *const pm_sw_pages[PM_SW_PAGES] = {"account.json", "cart.json"};

static const char *const ids[PM_SW_SHOPS] = {"materialId", "printerId", "categoryId"};
static const char *const calls[PM_SW_PAGES] = {"/api/v1/", "/orders/cart/v1"};

/* --- texts */

void pm_sw_unwrap(struct cJSON *obj)
{
    pm_json_remove(obj, "result");
    pm_json_remove(obj, "nextActionSuggestions");
}

char *pm_sw_text_of(const struct cJSON *obj)
{
    PM_AUTO(free) char *text = pm_json_print(obj, true);

    return text ? pm_asprintf("%s\n", text) : NULL;
}

static void clear_text(struct pm_sw_text *t)
{
    free(t->path);
    free(t->text);
    *t = (struct pm_sw_text){0};
}

/* The one of this path, else one that is free, else the oldest. */
static struct pm_sw_text *slot_locked(struct pm_shapeways *sw, const char *path)
{
    struct pm_sw_text *best = &sw->texts[0];

    for (size_t i = 0; i < PM_SW_TEXTS; i++) {
        struct pm_sw_text *t = &sw->texts[i];

        if (t->path && !strcmp(t->path, path))
            return t;
        if (best->path && (!t->path || t->got_ms < best->got_ms))
            best = t;
    }
    return best;
}

void pm_sw_keep(struct pm_shapeways *sw, const char *path, const char *text)
{
    struct pm_sw_text *t;

    PM_GUARD(&sw->lock);
    t = slot_locked(sw, path);
    clear_text(t);
    if (strlen(text) > TEXT_MAX)
        return;
    *t = (struct pm_sw_text){strdup(path), strdup(text), pm_now_ms()};
    if (!t->path || !t->text)
        clear_text(t);
}

char *pm_sw_recall(struct pm_shapeways *sw, const char *path, int64_t age_ms)
{
    struct pm_sw_text *t;

    PM_GUARD(&sw->lock);
    t = slot_locked(sw, path);
    if (!t->path || strcmp(t->path, path) != 0 || pm_now_ms() - t->got_ms >= age_ms)
        return NULL;
    return strdup(t->text);
}

void pm_sw_forget_texts(struct pm_shapeways *sw)
{
    PM_GUARD(&sw->lock);
    for (size_t i = 0; i < PM_SW_TEXTS; i++)
        clear_text(&sw->texts[i]);
}

int pm_sw_give_document(const char *path, const char *id, const char *name, const char *text,
                        const char *fields, pm_entry_fn *each, void *arg)
{
    char            version[65];
    struct pm_entry e = {.kind = PM_DOCUMENT, .root = "", .id = id, .name = name, .path = path,
                         .target = "", .version = version, .state = "", .size = strlen(text)};

    pm_digest_sha256_hex(text, strlen(text), version);
    e.fields = fields && strlen(fields) <= PM_FIELDS_MAX ? fields : "";
    return each(arg, &e);
}

/* --- materials, printers, categories: one call tells all of a folder */

/* Its id is a member, or the name that it has in the object of all. */
static bool take_id(const struct cJSON *v, enum pm_sw_shop shop, char id[PM_SW_ID_MAX])
{
    const char *name = pm_json_name(v);

    if (!pm_json_scalar(v, ids[shop], id, PM_SW_ID_MAX)) {
        if (!name || strlen(name) >= PM_SW_ID_MAX)
            return false;
        memcpy(id, name, strlen(name) + 1);
    }
    return pm_json_is_object(v) && pm_sw_is_id(id);
}

/* The text is only kept of one that was asked for. */
static int give_item(struct pm_shapeways *sw, enum pm_sw_shop shop, const struct cJSON *v, const char *id,
                     bool keep, pm_entry_fn *each, void *arg)
{
    PM_AUTO(free) char *path = pm_asprintf("%s/%s.json", pm_sw_shops[shop], id);
    PM_AUTO(free) char *rid = pm_asprintf("%s/%s", pm_sw_shops[shop], id);
    PM_AUTO(free) char *text = pm_sw_text_of(v);
    PM_AUTO(free) char *fields = pm_json_print(v, false);

    if (!path || !rid || !text || !fields)
        return -ENOMEM;
    if (keep)
        pm_sw_keep(sw, path, text);
    return pm_sw_give_document(path, rid, path + strlen(pm_sw_shops[shop]) + 1, text, fields, each, arg);
}

int pm_sw_list_shop(struct pm_shapeways *sw, struct pm_ctx *ctx, enum pm_sw_shop shop, const char *id,
                    pm_entry_fn *each, void *arg)
{
    PM_AUTO(free) char *path = pm_asprintf("/%s/v1", pm_sw_shops[shop]);
    struct cJSON       *json = NULL;
    char                one[PM_SW_ID_MAX];
    bool                found = false;
    int                 err = pm_sw_get(sw, ctx, path, &json);

    for (const struct cJSON *v = pm_json_first(pm_json_get(json, pm_sw_shops[shop])); v && !err && !found;
         v = pm_json_next(v)) {
        if (!take_id(v, shop, one) || (id && strcmp(id, one) != 0))
            continue;
        found = id != NULL;
        err = give_item(sw, shop, v, one, found, each, arg);
    }
    pm_json_free(json);
    return !err && id && !found ? -ENOENT : err;
}

/* --- account.json, cart.json */

static int get_page(struct pm_shapeways *sw, struct pm_ctx *ctx, enum pm_sw_page page, char **text)
{
    struct cJSON *json = NULL;
    int           err = pm_sw_get(sw, ctx, calls[page], &json);

    if (err)
        return err;
    pm_sw_unwrap(json);
    *text = pm_sw_text_of(json);
    pm_json_free(json);
    if (!*text)
        return -ENOMEM;
    pm_sw_keep(sw, pm_sw_pages[page], *text);
    return 0;
}

int pm_sw_give_page(struct pm_shapeways *sw, struct pm_ctx *ctx, enum pm_sw_page page, int64_t age_ms,
                    pm_entry_fn *each, void *arg)
{
    const char         *name = pm_sw_pages[page];
    PM_AUTO(free) char *text = pm_sw_recall(sw, name, age_ms);
    int                 err = text ? 0 : get_page(sw, ctx, page, &text);

    if (age_ms && (err == -EBUSY || err == -EIO || err == -EINVAL)) {
        text = pm_sw_recall(sw, name, INT64_MAX);
        err = text ? 0 : err;
    }
    return err ? err : pm_sw_give_document(name, name, name, text, NULL, each, arg);
}
