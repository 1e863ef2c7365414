#include "cache/clock.h"

#include "cache/file.h"
#include "cache/journal.h"

#define SLACK_MS 2000 /* a clock that is kept right moves by less at a time */

bool pm_clock_went_back(int64_t *ahead_ms)
{
    int64_t before = *ahead_ms;

    *ahead_ms = pm_wall_ms() - pm_now_ms();
    return before && *ahead_ms < before - SLACK_MS;
}

static int64_t due(struct pm_cache *c, enum pm_op op, const char *name)
{
    switch (op) {
    case PM_OP_PUT: return pm_file_due(c, name);
    case PM_OP_REMOVE: return pm_wall_ms() + c->conf->delete_delay_ms;
    default: return pm_wall_ms();
    }
}

int pm_clock_mend(struct pm_cache *c)
{
    int64_t              longest = PM_TEMPORARY_MS;
    struct sqlite3_stmt *st;

    if (c->conf->delay_ms > longest)
        longest = c->conf->delay_ms;
    if (c->conf->delete_delay_ms > longest)
        longest = c->conf->delete_delay_ms;
    st = pm_db_query(c->db,
                     "SELECT id, op, name FROM j.entry WHERE not_before>?1 AND not_before<>?2", "ii",
                     pm_wall_ms() + longest, PM_J_HELD);
    while (pm_db_row(c->db, st))
        pm_db_run(c->db, "UPDATE j.entry SET not_before=?2 WHERE id=?1", "ii", pm_col_int(st, 0),
                  due(c, (enum pm_op)pm_col_int(st, 1), pm_col_text(st, 2)));
    return pm_db_run(c->db, "UPDATE j.session SET not_before=?1 WHERE not_before>?2", "ii",
                     pm_wall_ms(), pm_wall_ms() + longest);
}
