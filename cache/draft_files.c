#include "cache/draft_files.h"

#include <errno.h>
#include <string.h>

void pm_draft_files_free(struct pm_draft_files *x)
{
    for (size_t i = 0; i < x->n; i++) {
        free(x->f[i].name);
        free(x->f[i].sent);
        free(x->f[i].error);
    }
    free(x->f);
    *x = (struct pm_draft_files){0};
}

static struct pm_draft_file *add(struct pm_draft_files *x)
{
    if (x->n == x->cap) {
        size_t        cap = x->cap ? 2 * x->cap : 32;
        struct pm_draft_file *more = reallocarray(x->f, cap, sizeof(*more));

        if (!more)
            return NULL;
        x->f = more;
        x->cap = cap;
    }
    x->f[x->n] = (struct pm_draft_file){0};
    return &x->f[x->n++];
}

int pm_draft_files_get(struct pm_db *db, pm_node folder, struct pm_draft_files *out)
{
    struct sqlite3_stmt *st = pm_db_query(
        db,
        "SELECT id, node, content, size, state, name, sent, error FROM j.entry WHERE parent=?1 AND"
        " op=1 ORDER BY name",
        "i", (int64_t)folder);

    *out = (struct pm_draft_files){0};
    while (pm_db_row(db, st)) {
        struct pm_draft_file *k = add(out);

        if (!k) {
            pm_db_reset(st);
            pm_draft_files_free(out);
            return -ENOMEM;
        }
        k->name = pm_col_dup(db, st, 5);
        k->entry = pm_col_int(st, 0);
        k->node = (pm_node)pm_col_int(st, 1);
        k->content = pm_col_int(st, 2);
        k->size = (uint64_t)pm_col_int(st, 3);
        k->state = (enum pm_jstate)pm_col_int(st, 4);
        k->sent = pm_col_null(st, 6) ? NULL : pm_col_dup(db, st, 6);
        k->error = pm_col_null(st, 7) ? NULL : pm_col_dup(db, st, 7);
        if (!k->name || (!k->sent && !pm_col_null(st, 6))) {
            pm_db_reset(st);
            pm_draft_files_free(out);
            return -ENOMEM;
        }
    }
    return 0;
}

int pm_draft_check_item(struct pm_cache *c, pm_node folder, pm_node node, const char *name,
                        uint64_t size, char *why, size_t why_len)
{
    struct pm_draft_item item = {.name = name, .size = size};
    struct pm_account   *a;
    uint32_t             account;
    int                  err;

    pm_db_begin(c->db);
    account = (uint32_t)pm_db_int(c->db, 0, "SELECT account FROM node WHERE id=?1", "i",
                                  (int64_t)folder);
    item.others = (uint64_t)pm_db_int(c->db, 0,
                                      "SELECT sum(size) FROM j.entry WHERE parent=?1 AND op=1 AND"
                                      " state<>5 AND node<>?2",
                                      "ii", (int64_t)folder, (int64_t)node);
    err = pm_db_end(c->db, 0);
    a = pm_account_by_id(c, account);
    if (err || !a)
        return err;
    return pm_draft_check(a->backend, &item, why, why_len);
}

size_t pm_draft_files_in(const struct pm_draft_files *x, enum pm_jstate state)
{
    size_t n = 0;

    for (size_t i = 0; i < x->n; i++)
        n += x->f[i].state == state;
    return n;
}

size_t pm_draft_files_count(const struct pm_draft_files *x)
{
    return x->n - pm_draft_files_in(x, PM_J_LOCAL);
}
