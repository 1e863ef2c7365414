#include "cache/about.h"

#include "cache/draft_files.h"
#include "cache/link.h"
#include "cache/queue.h"
#include "cache/record.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PROJECTS_LISTED 100

/* --- drafts */

void pm_about_draft(struct pm_cache *c, pm_node folder, struct pm_about_draft *out)
{
    struct pm_draft_files    x = {0};
    struct pm_draft_row      row = {0};
    const struct pm_account *a = NULL;
    bool                     late;
    int                      err;

    *out = (struct pm_about_draft){0};
    pm_db_begin(c->db);
    err = pm_draft_files_get(c->db, folder, &x);
    if (!pm_draft_get(c->db, folder, &row))
        a = pm_account_by_id(c, row.account);
    pm_db_end(c->db, 0);
    late = a && !pm_draft_account(c, row.account);
    for (size_t i = 0; i < x.n && !err; i++) {
        uint64_t sent = !late && x.f[i].state == PM_J_SENT ? x.f[i].size : 0;
        int64_t  started;

        if (x.f[i].state == PM_J_LOCAL)
            continue;
        if (x.f[i].state == PM_J_ACTIVE && c->queue)
            pm_queue_sent(c, x.f[i].entry, &sent, &started);
        out->size += x.f[i].size;
        out->sent += sent < x.f[i].size ? sent : x.f[i].size;
    }
    if (a && row.session)
        out->ends = pm_draft_expires_ms(a->backend, row.session);
    pm_draft_files_free(&x);
    pm_draft_row_free(&row);
}

/* --- service fields */

void pm_about_url(struct pm_cache *c, const struct pm_row *row, char *out, size_t size)
{
    const struct pm_account       *a = pm_account_by_id(c, row->account);
    PM_AUTO(free) struct pm_entry *e = NULL;
    PM_AUTO(free) char            *record = NULL;
    int                            err;

    *out = '\0';
    if (!a || !pm_draft_has(a->backend) || row->kind != PM_FOLDER || !*row->rid)
        return;
    pm_db_begin(c->db);
    err = pm_node_entry(c->db, row->id, &e);
    pm_db_end(c->db, 0);
    if (err)
        return;
    if (pm_record_text(c, row->id, false, &record) == 0 &&
        !pm_draft_field(a->backend, e, record, "url", out, size))
        return;
    if (pm_draft_field(a->backend, e, "", "url", out, size))
        *out = '\0';
}

static bool tells(const struct pm_account *a)
{
    return pm_draft_has(a->backend) || pm_backend_has_fields(a->backend);
}

static bool any_tells(const struct pm_cache *c)
{
    for (size_t i = 0; i < c->naccounts; i++)
        if (tells(&c->accounts[i]))
            return true;
    return false;
}

/* The account that the node is of, if its service has a word for attributes of this name; *field is what
 * follows the service's type. */
static struct pm_account *account_of(struct pm_cache *c, pm_node node, const char *name,
                                     struct pm_row *row, const char **field)
{
    struct pm_account *a;
    size_t             len;
    int                err;

    if (!any_tells(c) || pm_link_is(node))
        return NULL;
    pm_db_begin(c->db);
    err = pm_db_end(c->db, pm_node_get(c->db, node, row));
    a = err ? NULL : pm_account_by_id(c, row->account);
    if (!a || !tells(a))
        return NULL;
    len = strlen(a->conf->type);
    if (strncmp(name, a->conf->type, len) != 0 || name[len] != '.')
        return NULL;
    *field = name + len + 1;
    return a;
}

bool pm_info_is_field(struct pm_cache *c, pm_node node, const char *name)
{
    struct pm_row row;
    const char   *field;

    return account_of(c, node, name, &row, &field) != NULL;
}

/* The name that a file was sent by. */
static int sent_name(struct pm_cache *c, pm_node node, char *out, size_t size)
{
    struct sqlite3_stmt *st;
    bool                 known;

    pm_db_begin(c->db);
    st = pm_db_query(c->db, "SELECT sent FROM j.entry WHERE node=?1 AND op=1 AND sent IS NOT NULL", "i",
                     (int64_t)node);
    known = pm_db_row(c->db, st);
    if (known) {
        pm_col_copy(st, 0, out, size);
        pm_db_reset(st);
    }
    return pm_db_end(c->db, known ? 0 : -ENODATA);
}

/* What the service's list said. */
static int listed_field(struct pm_cache *c, const struct pm_account *a, pm_node node, const char *field,
                        char *out, size_t size)
{
    PM_AUTO(free) struct pm_entry *e = NULL;
    int                            err;

    pm_db_begin(c->db);
    err = pm_db_end(c->db, pm_node_entry(c->db, node, &e));
    if (err)
        return err == -ENOENT ? -ENODATA : err;
    return pm_backend_field(a->backend, e, field, out, size);
}

int pm_info_field(struct pm_cache *c, pm_node node, const char *name, char *out, size_t size,
                  struct pm_waiter *w)
{
    PM_AUTO(free) struct pm_entry *e = NULL;
    PM_AUTO(free) char            *record = NULL;
    struct pm_row                  row;
    const char                    *field;
    struct pm_account             *a = account_of(c, node, name, &row, &field);
    int                            err;

    if (!a)
        return -EOPNOTSUPP;
    if (pm_backend_has_fields(a->backend))
        return listed_field(c, a, node, field, out, size);
    if (row.kind != PM_FOLDER)
        return strcmp(field, "name") == 0 ? sent_name(c, node, out, size) : -ENODATA;
    if (!*row.rid)
        return -ENODATA;
    err = w ? pm_record_want(c, node, w) : 0;
    if (err)
        return err;
    pm_db_begin(c->db);
    err = pm_db_end(c->db, pm_node_entry(c->db, node, &e));
    if (!err && (err = pm_record_text(c, node, true, &record)) == -ENODATA)
        err = 0;
    return err ? err : pm_draft_field(a->backend, e, record ? record : "", field, out, size);
}

/* --- projects that the service works on, or says something of */

struct project {
    struct pm_record_news news;
    char                 *path; /* owned */
    char                  id[128];
    char                  url[300];
};

/* The next above `after`: 1; 0: no more; or -errno. */
static int next_project(struct pm_cache *c, pm_node after, struct project *p)
{
    struct pm_row row;
    int           more = c->store ? pm_record_next(c, after, &p->news) : 0;
    int           err;

    if (more <= 0)
        return more;
    *p->id = *p->url = '\0';
    pm_db_begin(c->db);
    err = pm_node_get(c->db, p->news.folder, &row);
    p->path = err ? NULL : pm_told_path(c->db, p->news.folder);
    pm_db_end(c->db, 0);
    if (!err) {
        snprintf(p->id, sizeof(p->id), "%.127s", row.rid);
        pm_about_url(c, &row, p->url, sizeof(p->url));
    }
    return 1;
}

int pm_about_projects_json(struct pm_cache *c, struct pm_buf *b)
{
    struct project p = {.path = NULL};
    const char    *comma = "";
    int            more = 1;

    pm_buf_str(b, "\"projects\":[");
    for (int n = 0; n < PROJECTS_LISTED && (more = next_project(c, p.news.folder, &p)) > 0; n++) {
        pm_buf_printf(b, "%s{\"path\":", comma);
        pm_buf_json(b, p.path ? p.path : "?");
        pm_buf_str(b, ",\"id\":");
        pm_buf_json(b, p.id);
        pm_buf_str(b, ",\"url\":");
        pm_buf_json(b, p.url);
        pm_buf_printf(b, ",\"percent\":%d,\"ready\":%s,\"errors\":", p.news.percent,
                      p.news.ready ? "true" : "false");
        pm_buf_json(b, p.news.errors);
        pm_buf_str(b, "}");
        comma = ",";
        free(p.path);
    }
    pm_buf_str(b, "],");
    return more < 0 ? more : 0;
}

int pm_about_projects_text(struct pm_cache *c, pm_node top, struct pm_buf *b)
{
    struct project p = {.path = NULL};
    int            more = 1;

    for (int n = 0; n < PROJECTS_LISTED && (more = next_project(c, p.news.folder, &p)) > 0;
         free(p.path)) {
        bool below;

        pm_db_begin(c->db);
        below = top <= PM_NODE_ROOT || pm_shown_below(c->db, p.news.folder, top);
        pm_db_end(c->db, 0);
        if (!below)
            continue;
        n++;
        pm_buf_printf(b, "  %s  project, ", p.path ? p.path : "?");
        if (p.news.ready)
            pm_buf_str(b, "ready");
        else if (!p.news.percent)
            pm_buf_str(b, "the service has not begun with it");
        else
            pm_buf_printf(b, "the service has made %d%% of it", p.news.percent);
        if (*p.news.errors)
            pm_buf_printf(b, ", it says: %s", p.news.errors);
        pm_buf_str(b, "\n");
    }
    return more < 0 ? more : 0;
}

/* --- limits */

struct told {
    struct pm_buf *b;
    const char    *comma;
};

static void limit_json(void *arg, const char *what, int64_t until_ms)
{
    struct told *t = arg;

    pm_buf_printf(t->b, "%s{\"limit\":", t->comma);
    pm_buf_json(t->b, what);
    pm_buf_printf(t->b, ",\"until\":%lld}", (long long)((until_ms + 999) / 1000));
    t->comma = ",";
}

void pm_about_limits_json(struct pm_account *a, struct pm_buf *b)
{
    struct told t = {b, ""};

    pm_buf_str(b, "\"limits\":[");
    if (a->backend)
        pm_backend_limits(a->backend, limit_json, &t);
    pm_buf_str(b, "]");
}

static void limit_text(void *arg, const char *what, int64_t until_ms)
{
    struct told *t = arg;
    char         when[PM_CLOCK_MAX];

    pm_clock_text(until_ms, when);
    pm_buf_printf(t->b, "  the service's limit of %s is used up until %s\n", what, when);
}

void pm_about_limits_text(struct pm_account *a, struct pm_buf *b)
{
    struct told t = {b, ""};

    if (a->backend)
        pm_backend_limits(a->backend, limit_text, &t);
}
