/* Sending a file of a draft: into the draft's session, where it stays until the draft is published. */
#include "cache/draft.h"

#include "cache/draft_files.h"
#include "cache/fetch.h"
#include "cache/label.h"
#include "cache/queue.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define DEATHS_MAX  3 /* after so many sessions that the service ended the user is asked */
#define CHOICES_MAX 9999 /* of names there */
#define LINK_MAX    4096 /* bytes of a link file that are looked at */

/* --- a link file */

static bool is_link_name(const char *name)
{
    size_t len = strlen(name);

    return len > 4 && !strcasecmp(name + len - 4, ".url");
}

/* It can be sent as JSON, and shown. */
static bool is_address(const char *s)
{
    if (strncasecmp(s, "https://", 8) != 0 && strncasecmp(s, "http://", 7) != 0)
        return false;
    for (const char *p = s; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return false;
    return pm_utf8_valid(s);
}

/* The address in "[InternetShortcut] … URL=address", or that the text is; owned. NULL: none. */
static char *address_in(char *text)
{
    char *save = NULL;
    char *bare = NULL;

    for (char *line = strtok_r(text, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save)) {
        line += strspn(line, " \t\xEF\xBB\xBF");
        if (!strncasecmp(line, "URL=", 4))
            line += 4;
        else if (bare || *line == '[' || strchr(line, ' '))
            continue;
        line[strcspn(line, " \t")] = '\0';
        if (is_address(line))
            bare = bare ? bare : line;
    }
    return bare ? strdup(bare) : NULL;
}

static int read_link(struct pm_content *k, char **out)
{
    char    text[LINK_MAX + 1];
    ssize_t n = pm_pread_all(k->fd, text, LINK_MAX, 0);

    if (n < 0)
        return (int)n;
    text[n] = '\0';
    *out = strlen(text) == (size_t)n ? address_in(text) : NULL;
    return 0;
}

/* The folder's only PUT that is not litter; -ENOENT: there are more, or none. In a transaction. */
static int only_file(struct pm_db *db, pm_node folder, struct pm_jentry *out)
{
    int64_t n = pm_db_int(db, 0, "SELECT count(*) FROM (SELECT 1 FROM j.entry WHERE parent=?1 AND op=1 AND"
                          " state<>5 LIMIT 2)",
                          "i", (int64_t)folder);

    if (n != 1)
        return -ENOENT;
    return pm_journal_get(db,
                          pm_db_int(db, 0,
                                    "SELECT id FROM j.entry WHERE parent=?1 AND op=1 AND state<>5",
                                    "i", (int64_t)folder),
                          out);
}

int pm_draft_link(struct pm_cache *c, pm_node folder, char **out)
{
    struct pm_content *k;
    struct pm_jentry   e = {.node = 0};
    int                err;

    *out = NULL;
    pm_db_begin(c->db);
    err = pm_db_end(c->db, only_file(c->db, folder, &e));
    if (err)
        return err == -ENOENT ? 0 : err;
    if (!is_link_name(e.name))
        return 0;
    err = pm_content_get(c->store, e.node, &k);
    if (err)
        return err;
    err = read_link(k, out);
    pm_content_put(k);
    return err;
}

/* --- what holds it up */

enum { GO_ON, LATER };

/* May the entry be sent now? LATER: no, which is noted. When a session ends only the service knows: ours
 * is not its clock, nor is it said from when on it counts. */
static int look(struct pm_send *s)
{
    struct pm_cache    *c = s->cache;
    struct pm_draft_row row = {0};
    struct pm_jentry    e;
    int                 result = GO_ON;
    int                 err;

    pm_db_begin(c->db);
    if (pm_draft_spot(c, s->e->parent) != PM_SPOT_DRAFT || pm_journal_get(c->db, s->e->id, &e) ||
        e.state != PM_J_ACTIVE || pm_draft_get(c->db, s->e->parent, &row))
        return pm_db_end(c->db, -ECANCELED);
    s->serial = row.serial;
    if (!row.session && pm_draft_is_quiet(c, &row)) {
        pm_db_run(c->db, "UPDATE j.entry SET state=2, sending=0, not_before=?2 WHERE id=?1", "ii",
                  s->e->id, row.quiet);
        pm_db_run(c->db,
                  "UPDATE j.entry SET not_before=?2 WHERE parent=?1 AND op=1 AND state=2 AND"
                  " not_before<?2",
                  "ii", (int64_t)s->e->parent, row.quiet);
        result = LATER;
    } else if (row.deaths >= DEATHS_MAX) {
        snprintf(s->ctx->why, sizeof(s->ctx->why),
                 "%d upload sessions ended before all files were there; retry tries it again",
                 row.deaths);
        pm_db_run(c->db, "UPDATE j.draft SET deaths=0 WHERE node=?1", "i", (int64_t)s->e->parent);
        result = -EBADMSG;
    }
    pm_draft_row_free(&row);
    err = pm_db_end(c->db, 0);
    return err ? err : result;
}

/* What the service will not take, whatever it is named in the session. */
static int check(struct pm_send *s, uint64_t size)
{
    char why[200] = "";
    int  err = pm_draft_check_item(s->cache, s->e->parent, s->e->node, s->e->name, size, why,
                                   sizeof(why));

    if (err && *why)
        snprintf(s->ctx->why, sizeof(s->ctx->why), "%s", why);
    return err;
}

/* --- its name there */

/* Gives the entry a name in the session that no other has. In a transaction. */
static int take_name(struct pm_send *s, const char *candidate, bool *taken)
{
    struct pm_db *db = s->cache->db;

    *taken = pm_db_int(db, 0,
                       "SELECT 1 FROM j.entry WHERE parent=?1 AND sent=?2 COLLATE NOCASE AND id<>?3",
                       "isi", (int64_t)s->e->parent, candidate, s->e->id) != 0;
    if (*taken)
        return 0;
    return pm_db_run(db,
                     "UPDATE j.entry SET sent=?2 WHERE id=?1 AND ?3=(SELECT serial FROM j.draft d"
                     " WHERE d.node=parent)",
                     "isi", s->e->id, candidate, s->serial);
}

/* 0; -ENOENT: it has none yet. */
static int known_name(struct pm_send *s, char *out, size_t size)
{
    struct sqlite3_stmt *st;
    int                  err = -ENOENT;

    pm_db_begin(s->cache->db);
    st = pm_db_query(s->cache->db, "SELECT sent FROM j.entry WHERE id=?1 AND sent IS NOT NULL", "i",
                     s->e->id);
    if (pm_db_row(s->cache->db, st)) {
        pm_col_copy(st, 0, out, size);
        pm_db_reset(st);
        err = 0;
    }
    return pm_db_end(s->cache->db, err);
}

/* The name that the file has in the session: the first of the service's choices that no other file
 * has. */
static int name_there(struct pm_send *s, char *out, size_t size)
{
    bool taken = true;
    int  err = known_name(s, out, size);

    if (err != -ENOENT)
        return err;
    err = 0;
    for (unsigned choice = 1; choice < CHOICES_MAX && taken && !err; choice++) {
        err = pm_draft_send_name(s->account->backend, s->e->name, choice, out, size);
        if (err)
            break;
        pm_db_begin(s->cache->db);
        err = pm_db_end(s->cache->db, take_name(s, out, &taken));
    }
    if (err == -EINVAL)
        snprintf(s->ctx->why, sizeof(s->ctx->why), "nothing of its name can be used there");
    return err ? err : taken ? -EINVAL : 0;
}

/* --- the end */

int pm_draft_note_sent(struct pm_send *s, int64_t gen)
{
    struct pm_content  *k = s->content;
    struct pm_db       *db = s->cache->db;
    struct pm_draft_row row = {0};
    struct pm_jentry    e;
    int                 err = 0;

    PM_GUARD(&k->lock);
    pm_db_begin(db);
    if (pm_draft_get(db, s->e->parent, &row) || row.serial != s->serial ||
        pm_journal_get(db, s->e->id, &e) || e.state != PM_J_ACTIVE || k->gen != gen || k->marked)
        err = -ECANCELED;
    pm_draft_row_free(&row);
    if (!err) {
        e.state = PM_J_SENT;
        e.sending = false;
        e.tries = 0;
        e.not_before = PM_J_HELD;
        pm_journal_error(db, e.id, NULL);
        err = pm_journal_update(db, &e);
    }
    return pm_db_end(db, err);
}

/* The session is gone with all that was in it; or it is not to be had without what is not ours. */
static int end_session(struct pm_send *s, bool gone)
{
    struct pm_draft_row row = {0};
    int                 err = 0;

    pm_db_begin(s->cache->db);
    if (!pm_draft_get(s->cache->db, s->e->parent, &row) && row.serial == s->serial)
        err = pm_draft_replace(s->cache, s->e->parent, gone ? PM_SESSION_GONE : PM_SESSION_SPOILT);
    pm_draft_row_free(&row);
    err = pm_db_end(s->cache->db, err);
    pm_log(PM_INFO, "the session of a draft %s: its files are sent anew",
           gone ? "is gone from the service" : "has another content for a file");
    return err ? err : -ECANCELED;
}

/* --- sending */

int pm_draft_look_at_content(struct pm_send *s, uint64_t *size, int64_t *gen)
{
    struct pm_content *k = s->content;

    PM_GUARD(&k->lock);
    if (k->marked)
        return -ECANCELED;
    if (k->size != s->e->size && k->gen == 0) {
        snprintf(s->ctx->why, sizeof(s->ctx->why),
                 "its content here is not what was closed, and is kept but not sent");
        return -EBADMSG;
    }
    *gen = k->gen;
    *size = k->size;
    k->upload_size = k->size;
    k->upload_left = k->size;
    return 0;
}

/* An earlier try was of another content: that cannot be taken out of the session. */
static int judge_step(struct pm_send *s, struct pm_upload *up)
{
    struct pm_send_step old;
    int                 err = pm_send_load_step(s, &old);

    if (err)
        return err;
    if (!old.text || (old.gen == s->e->gen && old.size == up->size)) {
        up->state = old.text;
        return 0;
    }
    free(old.text);
    pm_db_begin(s->cache->db);
    err = pm_db_end(s->cache->db, pm_draft_replace(s->cache, s->e->parent, PM_SESSION_UNWANTED));
    return err ? err : -ECANCELED;
}

/* The service takes no such file, and said so of its first piece: its going needs no new session. Should
 * the session have something of it all the same, that is found before the commit. */
static void note_refused(struct pm_send *s)
{
    pm_db_begin(s->cache->db);
    pm_db_run(s->cache->db,
              "UPDATE j.entry SET step=NULL, sent=NULL WHERE id=?1 AND ?2=(SELECT serial FROM j.draft d"
              " WHERE d.node=parent)",
              "ii", s->e->id, s->serial);
    pm_db_end(s->cache->db, 0);
}

static int send_into(struct pm_send *s, struct pm_upload *up, int64_t gen)
{
    bool                           fresh;
    PM_AUTO(free) struct pm_entry *now = NULL;
    char                           name[1024];
    int                            err = name_there(s, name, sizeof(name));

    up->name = name;
    if (!err)
        err = judge_step(s, up);
    fresh = !up->state;
    if (!err)
        err = pm_send_upload(s, up, &now);
    up->name = NULL;
    if (fresh && (err == -EPERM || err == -EFBIG))
        note_refused(s);
    free(up->state);
    if (err == -ESTALE)
        return end_session(s, true);
    if (err == -EEXIST)
        return end_session(s, false);
    return err ? err : pm_draft_note_sent(s, gen);
}

static int send_file(struct pm_send *s, struct pm_draft_run *run)
{
    PM_AUTO(free) struct pm_entry *root = NULL;
    PM_AUTO(free) char            *session = NULL;
    PM_AUTO(free) char            *link = NULL;
    struct pm_upload               up = {.fd = s->content->fd, .progress = pm_send_count, .arg = s};
    int64_t                        gen = 0;
    int                            err = look(s);

    if (err)
        return err == LATER ? 0 : err;
    err = pm_fetch_whole(s->cache, s->content, &run->cancel);
    if (!err)
        err = pm_draft_look_at_content(s, &up.size, &gen);
    if (err)
        return err;
    err = pm_draft_link(s->cache, s->e->parent, &link);
    if (err || link)
        return err ? err : pm_draft_note_sent(s, gen);
    err = check(s, up.size);
    if (!err)
        err = pm_draft_root(s->cache, s->e->parent, &root);
    if (!err)
        err = pm_draft_session(s, run, &session);
    if (err)
        return err;
    up.parent = root;
    up.session = session;
    return send_into(s, &up, gen);
}

int pm_send_draft(struct pm_send *s)
{
    struct pm_draft_run run;
    int                 err;

    pm_draft_run_begin(s->cache, &run, s->e->parent);
    s->ctx->cancel = &run.cancel;
    err = send_file(s, &run);
    s->ctx->cancel = &s->cache->stopping;
    pm_draft_run_end(s->cache, &run);
    return err;
}
