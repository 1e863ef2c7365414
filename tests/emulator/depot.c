#include "tests/emulator/depot.h"

#include "tests/emulator/sign.h"

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS session (id TEXT PRIMARY KEY, created INTEGER, expires_at INTEGER,"
    " state INTEGER, project TEXT);"
    "CREATE TABLE IF NOT EXISTS part (num INTEGER PRIMARY KEY AUTOINCREMENT, session TEXT,"
    " name TEXT, total INTEGER, received INTEGER, told INTEGER, complete INTEGER, listed INTEGER,"
    " bytes TEXT);"
    "CREATE INDEX IF NOT EXISTS part_name ON part (session, lower(name));"
    "CREATE TABLE IF NOT EXISTS project (num INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE,"
    " session TEXT, title TEXT, privacy INTEGER, size INTEGER, created INTEGER,"
    " queued_until INTEGER, ready_at INTEGER, stuck_at INTEGER, errors TEXT, errors_form TEXT,"
    " request TEXT);"
    "CREATE TABLE IF NOT EXISTS rate (name TEXT, at INTEGER);"
    "CREATE INDEX IF NOT EXISTS rate_at ON rate (name, at);";

#define SESSION "id, created, expires_at, state, project"
#define PART "num, session, name, total, received, told, complete, listed, bytes"
#define PROJECT                                                                                    \
    "num, name, session, title, privacy, size, created, queued_until, ready_at, "                  \
    "stuck_at, errors, errors_form, request"

int depot_open(const char *dir, struct ledger **out)
{
    return ledger_open(dir, "360", schema, out);
}

/* ---- sessions ---- */

static void read_session(sqlite3_stmt *s, struct session *out)
{
    ledger_text(s, 0, out->id, sizeof(out->id));
    out->created = sqlite3_column_int64(s, 1);
    out->expires_at = sqlite3_column_int64(s, 2);
    out->state = (enum session_state)sqlite3_column_int(s, 3);
    ledger_text(s, 4, out->project, sizeof(out->project));
}

bool depot_session(struct ledger *d, const char *id, struct session *out)
{
    sqlite3_stmt *s = ledger_use(d, "SELECT " SESSION " FROM session WHERE id = ?1", "s", id);
    bool found = ledger_next(d, s);
    if (found)
        read_session(s, out);
    ledger_done(d, s);
    return found;
}

void depot_put_session(struct ledger *d, const struct session *x)
{
    ledger_finish(d, ledger_use(d,
                                "INSERT INTO session (" SESSION
                                ") VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) "
                                "DO UPDATE SET expires_at = ?3, state = ?4, project = ?5",
                                "siiis", x->id, x->created, x->expires_at, (int64_t)x->state,
                                x->project));
}

void depot_sessions(struct ledger *d, session_fn *each, void *arg)
{
    struct session x;
    sqlite3_stmt *s = ledger_use(d, "SELECT " SESSION " FROM session ORDER BY rowid", "");
    while (ledger_next(d, s)) {
        read_session(s, &x);
        each(&x, arg);
    }
    ledger_done(d, s);
}

/* ---- files ---- */

static void read_part(sqlite3_stmt *s, struct part *out)
{
    out->num = sqlite3_column_int64(s, 0);
    ledger_text(s, 1, out->session, sizeof(out->session));
    ledger_text(s, 2, out->name, sizeof(out->name));
    out->total = (uint64_t)sqlite3_column_int64(s, 3);
    out->received = (uint64_t)sqlite3_column_int64(s, 4);
    out->told = (uint64_t)sqlite3_column_int64(s, 5);
    out->complete = sqlite3_column_int(s, 6) != 0;
    out->listed = sqlite3_column_int(s, 7) != 0;
    ledger_text(s, 8, out->bytes, sizeof(out->bytes));
}

bool depot_part(struct ledger *d, const char *session, const char *name, bool fold,
                struct part *out)
{
    sqlite3_stmt *s =
        ledger_use(d,
                   "SELECT " PART " FROM part WHERE session = ?1 AND lower(name) = lower(?2)"
                   " AND (?3 OR name = ?2)",
                   "ssi", session, name, (int64_t)fold);
    bool found = ledger_next(d, s);
    if (found)
        read_part(s, out);
    ledger_done(d, s);
    return found;
}

void depot_put_part(struct ledger *d, struct part *p)
{
    ledger_begin(d);
    if (p->num == 0) {
        sign_random_hex(p->bytes);
        ledger_finish(d,
                      ledger_use(d, "INSERT INTO part (session, name, bytes) VALUES (?1, ?2, ?3)",
                                 "sss", p->session, p->name, p->bytes));
        p->num = ledger_last_row(d);
    }
    ledger_finish(d,
                  ledger_use(d,
                             "UPDATE part SET total = ?2, received = ?3, told = ?4, complete = ?5, "
                             "listed = ?6 WHERE num = ?1",
                             "iiiiii", p->num, (int64_t)p->total, (int64_t)p->received,
                             (int64_t)p->told, (int64_t)p->complete, (int64_t)p->listed));
    ledger_commit(d);
}

void depot_parts(struct ledger *d, const char *session, part_fn *each, void *arg)
{
    struct part p;
    sqlite3_stmt *s =
        ledger_use(d, "SELECT " PART " FROM part WHERE session = ?1 ORDER BY num", "s", session);
    while (ledger_next(d, s)) {
        read_part(s, &p);
        each(&p, arg);
    }
    ledger_done(d, s);
}

void depot_told_all(struct ledger *d, const char *session)
{
    ledger_finish(
        d, ledger_use(d, "UPDATE part SET told = received WHERE session = ?1", "s", session));
}

static void drop_bytes(const struct part *p, void *arg)
{
    ledger_drop_bytes(arg, p->bytes);
}

void depot_drop_parts(struct ledger *d, const char *session)
{
    ledger_begin(d);
    depot_parts(d, session, drop_bytes, d);
    ledger_finish(d, ledger_use(d, "DELETE FROM part WHERE session = ?1", "s", session));
    ledger_commit(d);
}

/* ---- projects ---- */

static void read_project(sqlite3_stmt *s, struct project *out)
{
    out->num = sqlite3_column_int64(s, 0);
    ledger_text(s, 1, out->name, sizeof(out->name));
    ledger_text(s, 2, out->session, sizeof(out->session));
    ledger_text(s, 3, out->title, sizeof(out->title));
    out->privacy = sqlite3_column_int(s, 4);
    out->size = (uint64_t)sqlite3_column_int64(s, 5);
    out->created = sqlite3_column_int64(s, 6);
    out->queued_until = sqlite3_column_int64(s, 7);
    out->ready_at = sqlite3_column_int64(s, 8);
    out->stuck_at = sqlite3_column_int(s, 9);
    ledger_text(s, 10, out->errors, sizeof(out->errors));
    ledger_text(s, 11, out->errors_form, sizeof(out->errors_form));
    ledger_text(s, 12, out->request, sizeof(out->request));
}

bool depot_project(struct ledger *d, const char *name, struct project *out)
{
    sqlite3_stmt *s = ledger_use(d, "SELECT " PROJECT " FROM project WHERE name = ?1", "s", name);
    bool found = ledger_next(d, s);
    if (found)
        read_project(s, out);
    ledger_done(d, s);
    return found;
}

void depot_put_project(struct ledger *d, struct project *p)
{
    ledger_begin(d);
    ledger_finish(d,
                  ledger_use(d, "INSERT OR IGNORE INTO project (name) VALUES (?1)", "s", p->name));
    ledger_finish(
        d,
        ledger_use(d,
                   "UPDATE project SET session = ?2, title = ?3, privacy = ?4, size = ?5, "
                   "created = ?6, queued_until = ?7, ready_at = ?8, stuck_at = ?9, errors = ?10, "
                   "errors_form = ?11, request = ?12 WHERE name = ?1",
                   "sssiiiiiisss", p->name, p->session, p->title, (int64_t)p->privacy,
                   (int64_t)p->size, p->created, p->queued_until, p->ready_at, (int64_t)p->stuck_at,
                   p->errors, p->errors_form, p->request));
    p->num = ledger_finish_number(
        d, ledger_use(d, "SELECT num FROM project WHERE name = ?1", "s", p->name));
    ledger_commit(d);
}

bool depot_remove_project(struct ledger *d, const char *name)
{
    ledger_begin(d);
    ledger_finish(d, ledger_use(d, "DELETE FROM project WHERE name = ?1", "s", name));
    bool removed = ledger_changed(d);
    ledger_commit(d);
    return removed;
}

void depot_projects(struct ledger *d, project_fn *each, void *arg)
{
    struct project p;
    sqlite3_stmt *s = ledger_use(d, "SELECT " PROJECT " FROM project ORDER BY num", "");
    while (ledger_next(d, s)) {
        read_project(s, &p);
        each(&p, arg);
    }
    ledger_done(d, s);
}

uint64_t depot_projects_size(struct ledger *d)
{
    return (uint64_t)ledger_finish_number(d, ledger_use(d, "SELECT sum(size) FROM project", ""));
}

int64_t depot_projects_count(struct ledger *d)
{
    return ledger_finish_number(d, ledger_use(d, "SELECT count(*) FROM project", ""));
}

/* ---- rates ---- */

/* The time after which requests count now. */
static int64_t window_start(const struct rate *rate, int64_t now)
{
    return rate->fixed ? now - now % rate->window_ms - 1 : now - rate->window_ms;
}

int64_t depot_rate_used(struct ledger *d, const struct rate *rate, int64_t now)
{
    return ledger_finish_number(
        d, ledger_use(d, "SELECT count(*) FROM rate WHERE name = ?1 AND at > ?2", "si", rate->name,
                      window_start(rate, now)));
}

/* Until the first of the last `limit` is over. */
int64_t depot_rate_wait(struct ledger *d, const struct rate *rate, int64_t now)
{
    int64_t used = depot_rate_used(d, rate, now);
    if (used < rate->limit)
        return 0;
    if (rate->fixed)
        return rate->window_ms - now % rate->window_ms;
    return rate->window_ms - now +
           ledger_finish_number(
               d, ledger_use(d,
                             "SELECT at FROM rate WHERE name = ?1 AND at > ?2 ORDER BY at LIMIT 1 "
                             "OFFSET ?3",
                             "sii", rate->name, window_start(rate, now), used - rate->limit));
}

int64_t depot_rate(struct ledger *d, const struct rate *rate, int64_t now)
{
    ledger_begin(d);
    ledger_finish(d, ledger_use(d, "DELETE FROM rate WHERE name = ?1 AND at <= ?2", "si",
                                rate->name, window_start(rate, now)));
    bool refused = depot_rate_used(d, rate, now) >= rate->limit;
    if (!refused || rate->counts_refused)
        ledger_finish(d, ledger_use(d, "INSERT INTO rate VALUES (?1, ?2)", "si", rate->name, now));
    int64_t wait = refused ? depot_rate_wait(d, rate, now) : 0;
    ledger_commit(d);
    return wait;
}

void depot_rate_forget(struct ledger *d)
{
    ledger_finish(d, ledger_use(d, "DELETE FROM rate", ""));
}
