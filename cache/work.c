/* Work that could not be sent: another try, or giving it up.
 *
 * Nothing of a content that is given up is lost at any point: it gets a second name in the folder
 * of what was discarded, which is made durable; then entry and content's row go in one transaction;
 * then the first name goes. A crash before the commit leaves both names and the entry; between the
 * commits of index and journal, the entry without the row, which the next start makes again
 * (pm_work_recover). */
#include "cache/work.h"

#include "cache/draft.h"
#include "cache/durable.h"
#include "cache/fetch.h"
#include "cache/journal.h"
#include "cache/queue.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define DAY_MS       ((int64_t)24 * 3600 * 1000)
#define RANGES_TOLD  16
#define NAMES_TRIED  1000

void pm_work_recover(struct pm_db *db)
{
    pm_db_run(db,
              "INSERT OR IGNORE INTO content(id, node, version, size, used, origin) SELECT content,"
              " node, base, CASE WHEN source THEN size ELSE ifnull((SELECT off FROM j.dirty d WHERE"
              " d.content=e.content AND d.end=9223372036854775806), CASE WHEN EXISTS (SELECT 1 FROM"
              " j.dirty d WHERE d.content=e.content) THEN size ELSE 0 END) END, created,"
              " CASE WHEN source THEN -1 END"
              " FROM j.entry e WHERE op=1 AND content NOT IN (SELECT id FROM content)",
              "");
}

bool pm_work_missing(const struct pm_ranges *present, uint64_t size, struct pm_buf *out)
{
    struct pm_range gap = {0, 0};
    int             n = 0;

    while (pm_ranges_gap(present, gap.end, size, &gap)) {
        if (n++ < RANGES_TOLD)
            pm_buf_printf(out, "%s%llu-%llu", n == 1 ? "; bytes " : ", ",
                          (unsigned long long)gap.off, (unsigned long long)gap.end - 1);
    }
    if (n > RANGES_TOLD)
        pm_buf_printf(out, " and %d more ranges", n - RANGES_TOLD);
    if (n)
        pm_buf_str(out, " were never fetched");
    return n > 0;
}

void pm_work_make_name(const char *name, const char *mark, const char *suffix,
                       char out[PM_NAME_MAX + 1])
{
    const char *dot = strrchr(name, '.');
    size_t      len = strlen(name);
    size_t      stem = dot && dot != name ? (size_t)(dot - name) : len;
    size_t      more = strlen(mark) + strlen(suffix);
    size_t      ext = len - stem;

    if (ext + more > PM_NAME_MAX) { /* what follows the dot is no extension */
        stem = len;
        ext = 0;
    }
    if (stem + ext + more > PM_NAME_MAX)
        stem = PM_NAME_MAX - ext - more;
    while (stem && ((unsigned char)name[stem] & 0xc0) == 0x80)
        stem--;
    snprintf(out, PM_NAME_MAX + 1, "%.*s%s%s%s", (int)stem, name, mark, name + len - ext, suffix);
}

/* --- finding it */

enum which {
    STUCK, /* failed or interrupted */
    WAITING, /* and what is tried again after a pause */
};

/* The nearest such entry below the number `before`, at or below `node` (0: all): children come
 * before their folder. 1; 0: there is none; or -errno. */
static int find_before(struct pm_cache *c, int64_t before, pm_node node, enum which which,
                       struct pm_jentry *e)
{
    bool found = false;

    pm_db_begin(c->db);
    while (!found) {
        int64_t id = pm_db_int(c->db, 0,
                               "SELECT max(id) FROM j.entry WHERE id<?1 AND NOT sending AND (state IN"
                               " (4, 6) OR (?2 AND state=2 AND error IS NOT NULL))",
                               "ii", before, (int64_t)(which == WAITING));

        if (!id || pm_journal_get(c->db, id, e))
            break;
        before = id;
        found = node <= PM_NODE_ROOT || pm_shown_below(c->db, e->node, node) ||
                pm_shown_below(c->db, e->parent, node);
    }
    return pm_db_end(c->db, found);
}

static bool is_stuck(const struct pm_jentry *e)
{
    return !e->sending && (e->state == PM_J_FAILED || e->state == PM_J_INTERRUPTED);
}

/* --- another try */

/* In a transaction, with the content's lock if it has one. */
static int make_ready(struct pm_cache *c, int64_t id, const struct pm_content *k)
{
    struct pm_jentry e;

    if (pm_journal_get(c->db, id, &e) || e.sending ||
        (!is_stuck(&e) && e.state != PM_J_READY))
        return 0; /* something else came to it meanwhile */
    if (e.state == PM_J_INTERRUPTED && k) { /* what there is of it now is what is sent */
        e.size = k->size;
        e.gen++;
        e.era = pm_era_now(c->store);
    }
    e.state = PM_J_READY;
    e.tries = 0;
    if (e.not_before != PM_J_HELD || !k || !k->writers)
        e.not_before = k && k->writers ? PM_J_HELD : 0;
    pm_journal_error(c->db, id, NULL);
    return pm_journal_update(c->db, &e);
}

static int retry_put(struct pm_cache *c, const struct pm_jentry *e)
{
    struct pm_content *k;
    int                err = pm_content_get(c->store, e->node, &k);

    if (err)
        return err;
    pthread_mutex_lock(&k->lock);
    pm_db_begin(c->db);
    err = pm_db_end(c->db, make_ready(c, e->id, k));
    pthread_mutex_unlock(&k->lock);
    pm_content_put(k);
    return err;
}

static int retry_change(struct pm_cache *c, const struct pm_jentry *e)
{
    pm_db_begin(c->db);
    return pm_db_end(c->db, make_ready(c, e->id, NULL));
}

int pm_work_retry(struct pm_cache *c, pm_node node, uint64_t *found)
{
    struct pm_jentry e = {.id = INT64_MAX};
    int              first = 0;
    int              more;

    *found = 0;
    c->flushed = true; /* an interrupted content counts as closed now */
    while ((more = find_before(c, e.id, node, WAITING, &e)) > 0) {
        int err = e.op == PM_OP_PUT ? retry_put(c, &e) : retry_change(c, &e);

        first = first ? first : err;
        *found += !err;
    }
    pm_queue_kick(c);
    return first ? first : more;
}

/* --- keeping what is given up */

static int open_discarded(struct pm_cache *c)
{
    PM_AUTO(free) char *path = pm_asprintf("%s/" PM_DISCARDED, c->conf->cache_dir);
    int                 fd;

    if (!path)
        return -ENOMEM;
    if (mkdir(path, 0700) && errno != EEXIST)
        return -errno;
    fd = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Gives the content's file a second name "DATE TIME NAME" there. */
static int link_content(struct pm_cache *c, int64_t content, int dir, const char *name,
                        const char *suffix, char out[PM_NAME_MAX + 1])
{
    char      file[32];
    char      when[32];
    char      prefixed[PM_NAME_MAX + 64];
    struct tm tm;
    time_t    now = time(NULL);

    pm_store_file_name(content, file);
    strftime(when, sizeof(when), "%Y-%m-%d %H%M%S", localtime_r(&now, &tm));
    for (int i = 1; i < NAMES_TRIED; i++) {
        char again[16] = "";

        if (i > 1)
            snprintf(again, sizeof(again), "-%d", i);
        snprintf(prefixed, sizeof(prefixed), "%s%s %s", when, again, name);
        pm_work_make_name(prefixed, "", suffix, out);
        if (!linkat(pm_store_dirfd(c->store), file, dir, out, 0))
            return fsync(dir) ? -errno : 0;
        if (errno != EEXIST)
            return -errno;
    }
    return -EEXIST;
}

/* What is kept of one content, and where. */
struct kept {
    int           dir;
    char          name[PM_NAME_MAX + 1]; /* "": nothing was to be kept */
    struct pm_buf missing;
};

static void free_kept(struct kept *x)
{
    if (x->dir >= 0)
        close(x->dir);
    pm_buf_free(&x->missing);
}

/* With the content's lock; k is NULL if its file is gone. */
static int keep_locked(struct pm_cache *c, const struct pm_jentry *e, struct pm_content *k,
                       struct kept *out)
{
    bool part;

    if (!k || k->clone) /* never written to: the service has what it is a copy of */
        return 0;
    out->dir = open_discarded(c);
    if (out->dir < 0)
        return out->dir;
    part = pm_work_missing(&k->present, k->size, &out->missing);
    return link_content(c, e->content, out->dir, e->name, part ? PM_INCOMPLETE : "", out->name);
}

/* --- giving it up */

/* The node is on no service: nothing that was to be done with it can be. */
static int drop_renames(struct pm_db *db, pm_node node)
{
    struct pm_jentry rename;
    int              err = 0;

    while (!err && !pm_journal_of(db, node, PM_OP_RENAME, &rename))
        err = pm_journal_drop(db, rename.id);
    return err;
}

/* In a transaction. *remote: the service has an object of it, which is shown again. */
static int drop_put(struct pm_cache *c, const struct pm_jentry *e, bool *remote)
{
    struct pm_db    *db = c->db;
    struct pm_jentry now;
    struct pm_row    row;
    int              err = pm_journal_get(db, e->id, &now);

    if (err || !is_stuck(&now) || pm_node_get(db, e->node, &row))
        return -EAGAIN;
    *remote = *row.rid || row.parent;
    err = pm_draft_change(c, &now);
    if (!err)
        err = pm_journal_drop(db, e->id);
    if (!err && !*remote)
        err = drop_renames(db, e->node);
    if (!err)
        err = pm_content_delete_row(db, e->content);
    return err ? err
               : pm_db_run(db, "UPDATE node SET size=rsize, lmtime=NULL, error=NULL, ctime=?2 WHERE"
                               " id=?1",
                           "ii", (int64_t)e->node, pm_wall_ms() * 1000000);
}

static int give_up_locked(struct pm_cache *c, const struct pm_jentry *e, struct pm_content *k,
                          struct kept *kept, bool *remote)
{
    int err;

    if (k && (k->writers || k->marked))
        return -EBUSY;
    if (k && k->id != e->content)
        return -ESTALE;
    err = keep_locked(c, e, k, kept);
    if (err)
        return err;
    pm_db_begin(c->db);
    err = pm_db_end(c->db, drop_put(c, e, remote));
    if (err && *kept->name)
        unlinkat(kept->dir, kept->name, 0);
    if (err || !k)
        return err;
    /* Nobody writes to it any more; who has it open goes on reading. */
    k->stale = k->stale || *remote;
    k->nowhere = !*remote;
    return 0;
}

/* What is shown at the entry's place, and its content, is another now. */
static void tell_mount(struct pm_cache *c, const struct pm_jentry *e)
{
    pm_store_revive(c->store, e->replaces);
    pm_tell_entry(c, e->parent, e->name);
    if (e->oparent)
        pm_tell_entry(c, e->oparent, e->oname);
    pm_tell_node(c, e->parent, true);
    pm_tell_node(c, e->node, true);
    pm_queue_wake(c, e->node);
}

static bool has_file(struct pm_cache *c, int64_t content)
{
    char name[32];

    pm_store_file_name(content, name);
    return !faccessat(pm_store_dirfd(c->store), name, F_OK, 0) || errno != ENOENT;
}

static int discard_put(struct pm_cache *c, const struct pm_jentry *e, struct pm_buf *line)
{
    struct kept        kept = {.dir = -1};
    struct pm_content *k = NULL;
    bool               remote = false;
    int                err = pm_content_get(c->store, e->node, &k);

    if (err && has_file(c, e->content))
        return err;
    if (k && fdatasync(k->fd))
        err = -errno;
    else
        err = 0;
    if (k)
        pthread_mutex_lock(&k->lock);
    if (!err)
        err = give_up_locked(c, e, k, &kept, &remote);
    if (k)
        pthread_mutex_unlock(&k->lock);
    if (!err && *kept.name)
        pm_buf_printf(line, "given up, its content is kept for %d days as %s/" PM_DISCARDED "/%s%s",
                      PM_DISCARDED_DAYS, c->conf->cache_dir, kept.name,
                      kept.missing.ptr ? kept.missing.ptr : "");
    else if (!err)
        pm_buf_str(line, k ? "given up, a copy of what the service has"
                           : "given up, its content was not in the state folder any more");
    if (!err && k && remote) {
        pm_store_stale(k);
        pm_fetch_wake(k, -ESTALE);
    } else if (!err) {
        pm_store_drop(c->store, e->node);
    }
    if (!err)
        tell_mount(c, e);
    free_kept(&kept);
    if (k)
        pm_content_put(k);
    return err;
}

/* Whether it was published is not known, and will not be found out: it is a draft again. Its session is
 * neither used again nor dropped: what that would do to a project made of it is said nowhere. */
static int forget_commit(struct pm_cache *c, struct pm_jentry *e)
{
    struct pm_db *db = c->db;

    e->state = PM_J_READY;
    e->not_before = PM_J_HELD;
    e->tries = 0;
    pm_draft_replace(c, e->node, PM_SESSION_GONE);
    pm_db_run(db, "UPDATE j.draft SET wish=0, deaths=0, changed=?2 WHERE node=?1", "ii",
              (int64_t)e->node, pm_now_ms());
    pm_journal_error(db, e->id, NULL);
    pm_journal_set_step(db, e->id, NULL);
    return pm_journal_update(db, e);
}

/* In a transaction. */
static int drop_change(struct pm_cache *c, const struct pm_jentry *e)
{
    struct pm_db    *db = c->db;
    struct pm_jentry now;
    int              err = pm_journal_get(db, e->id, &now);

    if (err || !is_stuck(&now))
        return -EAGAIN;
    if (e->op == PM_OP_PUBLISH && pm_journal_begun(db, e->id))
        return forget_commit(c, &now);
    if ((e->op == PM_OP_MKDIR || e->op == PM_OP_PUBLISH) && (!pm_shown_empty(db, e->node) || pm_journal_below(db, e->node)))
        return -ENOTEMPTY;
    err = pm_journal_drop(db, e->id);
    if (!err && e->op == PM_OP_PUBLISH)
        err = pm_draft_end(db, e->node, false);
    return err || e->op != PM_OP_MKDIR ? err : drop_renames(db, e->node);
}

static int discard_change(struct pm_cache *c, const struct pm_jentry *e, struct pm_buf *line)
{
    int err;

    pm_db_begin(c->db);
    err = pm_db_end(c->db, drop_change(c, e));
    if (err)
        return err;
    pm_buf_str(line, e->op == PM_OP_PUBLISH ? "given up; if it is still there it is a draft again"
                     : e->op == PM_OP_MKDIR ? "given up, an empty folder"
                     : e->op == PM_OP_REMOVE
                         ? "its removal is given up"
                         : "its new name is given up, it has the old one again");
    if (e->op == PM_OP_REMOVE)
        pm_store_revive(c->store, e->node);
    tell_mount(c, e);
    return 0;
}

static const char *reason(int err)
{
    switch (err) {
    case -EBUSY: return "not given up: it is open for writing, close it first";
    case -ENOTEMPTY: return "not given up: there is more in the folder";
    case -EAGAIN: return "not given up: something else came to it meanwhile";
    default: return NULL;
    }
}

static int discard_one(struct pm_cache *c, const struct pm_jentry *e, pm_tell_fn *tell, void *arg)
{
    PM_AUTO(pm_buf) struct pm_buf line = {0};
    PM_AUTO(free) char           *folder = NULL;
    int                           err;

    pm_db_begin(c->db);
    folder = pm_told_path(c->db, e->parent);
    pm_db_end(c->db, 0);
    pm_buf_printf(&line, "%s/%s: ", folder ? folder : "?", e->name);
    err = e->op == PM_OP_PUT ? discard_put(c, e, &line) : discard_change(c, e, &line);
    if (err && reason(err))
        pm_buf_str(&line, reason(err));
    else if (err)
        pm_buf_printf(&line, "not given up: %s", strerror(-err));
    if (!line.failed)
        pm_log(PM_WARN, "discard %s", line.ptr);
    tell(arg, line.failed ? "no memory to tell" : line.ptr);
    return err;
}

int pm_work_discard(struct pm_cache *c, pm_node node, pm_tell_fn *tell, void *arg, uint64_t *found)
{
    struct pm_jentry e = {.id = INT64_MAX};
    int              first = 0;
    int              more;

    *found = 0;
    while ((more = find_before(c, e.id, node, STUCK, &e)) > 0) {
        int err = discard_one(c, &e, tell, arg);

        first = first ? first : err;
        *found += !err;
    }
    pm_queue_kick(c);
    return first ? first : more;
}

/* --- the end of the 7 days */

/* A file's ctime is when it was discarded, or later: never too early. */
void pm_work_expire(struct pm_cache *c, int64_t now_ms)
{
    PM_AUTO(free) char  *path = pm_asprintf("%s/" PM_DISCARDED, c->conf->cache_dir);
    DIR                 *d = path ? opendir(path) : NULL;
    const struct dirent *de;
    struct stat          st;

    while (d && (de = readdir(d)) != NULL) {
        if (fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode) ||
            (int64_t)st.st_ctim.tv_sec * 1000 + PM_DISCARDED_DAYS * DAY_MS > now_ms)
            continue;
        if (!unlinkat(dirfd(d), de->d_name, 0))
            pm_log(PM_INFO, "%s/%s: discarded %d days ago, removed", path, de->d_name,
                   PM_DISCARDED_DAYS);
    }
    if (d)
        closedir(d);
}
