/* Triggers tell what each statement changes, whoever runs it. A content is unsent while its node has a
 * PUT; else the service cannot give it back if it is in j.kept; else it is clean. */
#include "cache/db_usage.h"

#include "cache/db.h"

#include "backends/util.h"

#include <errno.h>
#include <sqlite3.h>

#define UNSENT(node) "EXISTS (SELECT 1 FROM j.entry WHERE node=" node " AND op=1)"
#define KEPT(id)     "EXISTS (SELECT 1 FROM j.kept WHERE content=" id ")"
#define ANOTHER(row) "EXISTS (SELECT 1 FROM j.entry WHERE node=" row ".node AND op=1 AND id<>" row ".id)"

/* pm_usage(all, unsent, last copy): so much more. */
static const char triggers[] =
    "CREATE TEMP TRIGGER usage_new AFTER INSERT ON main.content BEGIN SELECT"
    " pm_usage(new.bytes, new.bytes * " UNSENT("new.node") ","
    " new.bytes * (" KEPT("new.id") " AND NOT " UNSENT("new.node") ")); END;"
    "CREATE TEMP TRIGGER usage_gone AFTER DELETE ON main.content BEGIN SELECT"
    " pm_usage(-old.bytes, -old.bytes * " UNSENT("old.node") ","
    " -old.bytes * (" KEPT("old.id") " AND NOT " UNSENT("old.node") ")); END;"
    "CREATE TEMP TRIGGER usage_bytes AFTER UPDATE OF bytes ON main.content WHEN new.bytes<>old.bytes"
    " BEGIN SELECT pm_usage(new.bytes - old.bytes, (new.bytes - old.bytes) * " UNSENT("new.node") ","
    " (new.bytes - old.bytes) * (" KEPT("new.id") " AND NOT " UNSENT("new.node") ")); END;"
    "CREATE TEMP TRIGGER usage_put AFTER INSERT ON j.entry WHEN new.op=1 AND NOT " ANOTHER("new")
    " BEGIN SELECT pm_usage(0, bytes, -bytes * " KEPT("content.id") ") FROM main.content"
    " WHERE node=new.node; END;"
    "CREATE TEMP TRIGGER usage_sent AFTER DELETE ON j.entry WHEN old.op=1 AND NOT " ANOTHER("old")
    " BEGIN SELECT pm_usage(0, -bytes, bytes * " KEPT("content.id") ") FROM main.content"
    " WHERE node=old.node; END;"
    "CREATE TEMP TRIGGER usage_kept AFTER INSERT ON j.kept BEGIN"
    " SELECT pm_usage(0, 0, bytes * NOT " UNSENT("content.node") ") FROM main.content"
    " WHERE id=new.content; END;"
    "CREATE TEMP TRIGGER usage_let_go AFTER DELETE ON j.kept BEGIN"
    " SELECT pm_usage(0, 0, -bytes * NOT " UNSENT("content.node") ") FROM main.content"
    " WHERE id=old.content; END;";

static const char count[] =
    "SELECT pm_usage(bytes, bytes * " UNSENT("content.node") ","
    " bytes * (" KEPT("content.id") " AND NOT " UNSENT("content.node") ")) FROM main.content";

static void add(sqlite3_context *ctx, int n, sqlite3_value **values)
{
    struct pm_usage_sums *sums = &((struct pm_usage *)sqlite3_user_data(ctx))->pending;

    (void)n;
    sums->all += sqlite3_value_int64(values[0]);
    sums->unsent += sqlite3_value_int64(values[1]);
    sums->last_copy += sqlite3_value_int64(values[2]);
}

int pm_usage_recount(sqlite3 *sql, struct pm_usage *u)
{
    int rc;

    u->pending = (struct pm_usage_sums){0};
    rc = sqlite3_exec(sql, count, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        u->all = u->unsent = u->last_copy = 0;
    pm_usage_end(u, rc == SQLITE_OK);
    return pm_db_errno(sql, rc);
}

int pm_usage_open(sqlite3 *sql, struct pm_usage *u)
{
    int rc = sqlite3_create_function_v2(sql, "pm_usage", 3, SQLITE_UTF8, u, add, NULL, NULL, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_exec(sql, triggers, NULL, NULL, NULL);
    return rc == SQLITE_OK ? pm_usage_recount(sql, u) : pm_db_errno(sql, rc);
}

void pm_usage_end(struct pm_usage *u, bool committed)
{
    if (committed) {
        u->all += u->pending.all;
        u->unsent += u->pending.unsent;
        u->last_copy += u->pending.last_copy;
    }
    u->pending = (struct pm_usage_sums){0};
}

void pm_usage_get(struct pm_usage *u, struct pm_usage_sums *out)
{
    *out = (struct pm_usage_sums){u->all, u->unsent, u->last_copy};
}
