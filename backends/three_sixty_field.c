/* What 360-for-you tells of a project, a field at a time: its record is the answer of GET
 * /projects/{name} (api/notes.md 5, api/mapping.md). */
#include "backends/three_sixty_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Those that say nothing of who may look at it. */
static const char *const shown[] = {"status", "errors", "size", "views", "url", "title",
                                    "created", "updated", "privacy_mode", "epsg"};

static bool is_shown(const char *name)
{
    for (size_t i = 0; i < PM_COUNT(shown); i++)
        if (!strcmp(name, shown[i]))
            return true;
    return false;
}

/* A value in words, after others of its list. */
static void add_value(struct pm_buf *out, const struct cJSON *v)
{
    const char         *text = pm_json_string(v);
    PM_AUTO(free) char *printed = text ? NULL : pm_json_print(v, false);

    text = text ? text : printed;
    if (text && *text && out->len)
        pm_buf_str(out, "; ");
    pm_buf_str(out, text ? text : "");
}

static void tell_value(struct pm_buf *out, const struct cJSON *v)
{
    if (!pm_json_is_array(v)) {
        add_value(out, v);
        return;
    }
    for (const struct cJSON *one = pm_json_first(v); one; one = pm_json_next(one))
        add_value(out, one);
}

/* The project's page lies beside the API, as in the document's example. */
static void tell_page(struct pm_buf *out, const char *endpoint, const char *slug)
{
    const char *api = strstr(endpoint, "/api/");

    pm_buf_add(out, endpoint, api ? (size_t)(api - endpoint) : strlen(endpoint));
    pm_buf_str(out, "/projects/");
    pm_buf_urlenc(out, slug);
}

int pm_ts_field(struct pm_backend *b, const struct pm_entry *e, const char *record, const char *name,
                char *out, size_t size)
{
    PM_AUTO(pm_buf) struct pm_buf text = {0};
    struct cJSON *obj = is_shown(name) ? pm_json_parse(record, strlen(record)) : NULL;

    if (pm_json_get(obj, name))
        tell_value(&text, pm_json_get(obj, name));
    else if (!strcmp(name, "url"))
        tell_page(&text, b->conf->endpoint, e->id);
    pm_json_free(obj);
    if (text.failed)
        return -ENOMEM;
    if (!text.len)
        return -ENODATA;
    if (text.len >= size)
        return -ERANGE;
    memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
    return 0;
}
