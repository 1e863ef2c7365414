#include "cache/located.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

pm_node pm_located_origin(struct pm_cache *c, const struct pm_content *k)
{
    return (pm_node)pm_db_int(c->db, (int64_t)k->node, "SELECT origin FROM content WHERE id=?1", "i",
                              k->id);
}

int pm_located_object(struct pm_cache *c, const struct pm_content *k, struct pm_row *row,
                      struct pm_entry **out)
{
    pm_node origin;
    int     err;

    pm_db_begin(c->db);
    origin = pm_located_origin(c, k);
    err = origin == PM_ORIGIN_GONE ? -ESTALE : pm_node_get(c->db, origin, row);
    if (!err)
        err = pm_node_entry(c->db, origin, out);
    return pm_db_end(c->db, err);
}

/* A source, and of what. An object that moves on the service gets a new one; transfers under way
 * keep theirs, so the old ones live as long as the content. */
struct pm_located {
    struct pm_located *next;
    struct pm_source  *source;
    char               key[]; /* id and path */
};

void pm_located_free(struct pm_located *l)
{
    while (l) {
        struct pm_located *next = l->next;

        pm_source_close(l->source);
        free(l);
        l = next;
    }
}

static int locate(struct pm_account *a, const struct pm_entry *e, struct pm_located **out)
{
    size_t             len = strlen(e->id) + strlen(e->path) + 2;
    struct pm_located *l = calloc(1, sizeof(*l) + len);
    int                err;

    if (!l)
        return -ENOMEM;
    snprintf(l->key, len, "%s %s", e->id, e->path);
    err = pm_source_open(a->backend, e, &l->source);
    if (err) {
        free(l);
        return err;
    }
    *out = l;
    return 0;
}

int pm_located_source(struct pm_cache *c, struct pm_content *k, struct pm_source **out)
{
    PM_AUTO(free) struct pm_entry *e = NULL;
    struct pm_located             *made = NULL;
    struct pm_account             *a;
    struct pm_row                  row = {.id = 0};
    int                            err = pm_located_object(c, k, &row, &e);

    if (err == -ESTALE)
        return err;
    if (!err)
        err = pm_account_reaches(c, &row);
    a = err ? NULL : pm_account_by_id(c, row.account);
    if (a && e)
        err = locate(a, e, &made);
    PM_GUARD(&k->lock);
    if (made && (!k->located || strcmp(k->located->key, made->key) != 0)) {
        made->next = k->located;
        k->located = made;
        made = NULL;
    }
    pm_located_free(made);
    if (!k->located)
        return err ? err : -ENXIO;
    *out = k->located->source;
    return 0;
}
