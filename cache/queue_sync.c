/* Sync: what waits is due now, and whoever asked waits until all is sent that can be. */
#include "cache/queue.h"

#include "cache/draft.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Makes what is at or below `node` due now. What failed once, or was told to wait, keeps its pauses but
 * the first time. */
static void make_due(struct pm_cache *c, pm_node node, bool first)
{
    pm_db_begin(c->db);
    if (node <= PM_NODE_ROOT) {
        pm_db_run(c->db,
                  "UPDATE j.entry SET not_before=0 WHERE state=2 AND not_before<>?1 AND"
                  " not_before<>0 AND (?2 OR (tries=0 AND error IS NULL))",
                  "ii", PM_J_HELD, (int64_t)first);
    } else {
        struct sqlite3_stmt *st = pm_db_query(
            c->db,
            "SELECT id, node, parent FROM j.entry WHERE state=2 AND not_before<>?1 AND"
            " not_before<>0 AND (?2 OR (tries=0 AND error IS NULL))",
            "ii", PM_J_HELD, (int64_t)first);

        while (pm_db_row(c->db, st)) {
            int64_t id = pm_col_int(st, 0);

            if (pm_shown_below(c->db, (pm_node)pm_col_int(st, 1), node) ||
                pm_shown_below(c->db, (pm_node)pm_col_int(st, 2), node))
                pm_db_run(c->db, "UPDATE j.entry SET not_before=0 WHERE id=?1", "i", id);
        }
    }
    pm_db_end(c->db, 0);
    pm_queue_kick(c);
}

struct left {
    uint64_t entries, bytes; /* without what is held */
    uint64_t stuck; /* of these: only the user can mend it, or it waits for such */
    uint64_t open; /* of these: somebody writes to it */
};

/* Why nothing of this entry happens, for whoever waits. */
static const char *why_left(struct pm_cache *c, struct sqlite3_stmt *st, char *buf, size_t size)
{
    const struct pm_account *a = pm_account_by_id(c, (uint32_t)pm_col_int(st, 8));

    if ((enum pm_jstate)pm_col_int(st, 3) == PM_J_OPEN)
        return "open for writing";
    if ((enum pm_jstate)pm_col_int(st, 3) == PM_J_ACTIVE)
        return "being sent";
    if (a && pm_backend_doubt(a->backend, buf, size, NULL))
        return buf;
    if (pm_col_null(st, 4) && pm_journal_is_source(c->db, pm_col_int(st, 11)))
        return "waiting: " PM_SOURCE_WAITS;
    if (pm_col_null(st, 4))
        return pm_col_int(st, 7) ? "waiting: held removals" : "waiting";
    return pm_col_text(st, 4);
}

#define COUNT_PAUSES 19 /* counting what is left takes a twentieth of the time at most */
#define DRAFTS_TOLD 64

static void tell_draft(struct pm_cache *c, pm_node folder, struct pm_buf *list)
{
    PM_AUTO(free) char *path = pm_tree_path(c, folder);
    char                state[300];

    pm_publish_state(c, folder, state, sizeof(state));
    pm_buf_printf(list, "%s: %s%s\n", path ? path : "?", strncmp(state, "draft", 5) ? "" : "waiting: ",
                  state);
}

static int count_left(struct pm_cache *c, pm_node node, struct pm_buf *list, struct left *out)
{
    struct left          left = {0};
    struct sqlite3_stmt *st;
    char                 why[256];
    pm_node              drafts[DRAFTS_TOLD];
    size_t               ndrafts = 0;
    int                  err;

    pm_db_begin(c->db);
    st = pm_db_query(c->db,
                     "WITH RECURSIVE stuck(id) AS (SELECT id FROM j.entry e WHERE state IN (4, 6)"
                     " OR ((?1 >> account) & 1) OR (op=5 AND EXISTS (SELECT 1 FROM j.entry p WHERE"
                     " p.parent=e.node AND p.state IN (4, 6))) OR (state=8 AND EXISTS (SELECT 1 FROM"
                     " j.entry d WHERE d.node=e.parent AND d.op=5 AND d.state=4))"
                     " UNION SELECT d.entry FROM j.dep d JOIN stuck ON d.needs=stuck.id)"
                     ", held(id) AS (SELECT id FROM j.entry WHERE state=7 OR (op=5 AND not_before=?2)"
                     " OR (state=8 AND (SELECT not_before FROM j.entry d WHERE d.node=entry.parent AND"
                     " d.op=5)=?2) UNION"
                     " SELECT d.entry FROM j.dep d JOIN held ON d.needs=held.id)"
                     " SELECT node, parent, size, state, error, name, id IN stuck, id IN held,"
                     " account, not_before, op, id FROM j.entry WHERE state<>5 ORDER BY id",
                     "ii", (int64_t)pm_queue_paused_accounts(c), PM_J_HELD);
    while (pm_db_row(c->db, st)) {
        if (node > PM_NODE_ROOT && !pm_shown_below(c->db, (pm_node)pm_col_int(st, 0), node) &&
            !pm_shown_below(c->db, (pm_node)pm_col_int(st, 1), node))
            continue;
        if (!pm_col_int(st, 7)) {
            left.entries++;
            left.bytes += (uint64_t)pm_col_int(st, 2);
            left.stuck += pm_col_int(st, 6) != 0;
            left.open += pm_col_int(st, 9) == PM_J_HELD && pm_col_int(st, 3) != PM_J_SENT;
        }
        if (pm_col_int(st, 10) == PM_OP_PUBLISH && list)
            drafts[ndrafts < DRAFTS_TOLD ? ndrafts++ : 0] = (pm_node)pm_col_int(st, 0);
        else if (list && list->len < 16384 && pm_col_int(st, 3) != PM_J_SENT) {
            PM_AUTO(free) char *folder = pm_told_path(c->db, (pm_node)pm_col_int(st, 1));

            pm_buf_printf(list, "%s/%s: %s\n", folder ? folder : "?", pm_col_text(st, 5),
                          why_left(c, st, why, sizeof(why)));
        }
    }
    err = pm_db_end(c->db, 0);
    for (size_t i = 0; i < ndrafts; i++)
        tell_draft(c, drafts[i], list);
    *out = left;
    return err;
}

/* What is told while it goes on. */
static void progress_line(struct pm_cache *c, const struct left *left, char *line, size_t size)
{
    int n = snprintf(line, size, "%llu left, %.1f MB", (unsigned long long)left->entries,
                     (double)left->bytes / 1e6);

    if (left->open && n > 0)
        n += snprintf(line + n, size - (size_t)n, "; %llu open for writing",
                      (unsigned long long)left->open);
    for (size_t i = 0; i < c->naccounts && n > 0 && (size_t)n < size; i++) {
        int64_t ms = pm_backend_hold_ms(c->accounts[i].backend);
        char    when[PM_CLOCK_MAX];

        if (!ms)
            continue;
        pm_clock_text(pm_wall_ms() + ms, when);
        n += snprintf(line + n, size - (size_t)n, "; %s asked to wait until %s",
                      c->accounts[i].conf->name, when);
    }
}

/* Lets the queue work until anything happens, for at most `most` ms and at least `least`: counting takes
 * the longer the more there is, and would else be done at each end of an upload. */
static void pass(struct pm_cache *c, int64_t least, int64_t most)
{
    int64_t until = pm_now_ms() + (least < most ? least : most);

    pm_queue_pass(c, most);
    while (!c->stopping && pm_now_ms() < until)
        pm_queue_pass(c, until - pm_now_ms());
}

int pm_queue_sync(struct pm_cache *c, pm_node node, int64_t timeout_ms,
                  bool (*progress)(void *arg, const char *line), void *arg, struct pm_buf *out)
{
    int64_t     until = timeout_ms < 0 ? INT64_MAX : pm_now_ms() + timeout_ms;
    int64_t     said = 0;
    int64_t     began;
    bool        first = true;
    struct left left;
    char        line[256];
    int         err;

    pm_account_retry(c, NULL);
    pm_publish_late_now(c, node);
    for (;;) {
        began = pm_now_ms();
        make_due(c, node, first);
        first = false;
        err = count_left(c, node, NULL, &left);
        if (err)
            return err;
        if (!left.entries) /* what is held is told, and is no failure */
            return count_left(c, node, out, &left);
        if (left.entries == left.stuck)
            break;
        if (pm_now_ms() - said >= 500) {
            said = pm_now_ms();
            progress_line(c, &left, line, sizeof(line));
            if (progress && !progress(arg, line))
                return -EINTR;
        }
        if (pm_now_ms() >= until || c->stopping)
            break;
        pass(c, COUNT_PAUSES * (pm_now_ms() - began), 250);
    }
    err = count_left(c, node, out, &left);
    if (err)
        return err;
    return left.entries == left.stuck ? -EIO : c->stopping ? -EINTR : -ETIMEDOUT;
}
