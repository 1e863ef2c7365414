/* The journal.
 *
 * An entry is one change that a service does not have yet. It names nodes, never paths. Entries
 * are ordered by what they need, not by age: an entry needs
 *   - the last unfinished entry of its node, and of each folder above its old and new place,
 *   - the last unfinished entry that uses its old or its new (parent, name),
 *   - a folder's rename: every unfinished entry below it; a folder's removal: every unfinished
 *     entry with a place directly in it (what was deeper left it by one of those),
 *   - every unfinished PUT that is a copy of what its node, or one it replaces, or something in it,
 *     has, or for which the service makes such a copy,
 *   - a removal: every unfinished PUT to another account that may be of its content, or of what is in
 *     the thing (thing.h), which is told by its size: the source of a move between services goes last.
 * Everything else runs side by side. A draft's PUBLISH is no need of what is made in the folder: that
 * goes into the draft's session before. The PUBLISH itself is sent when every PUT in its folder is SENT.
 *
 * States:
 *   OPEN         a content that was written to since its last flush, or was made open
 *   READY        may be sent, once not_before has come and nothing it needs is left
 *   ACTIVE       a thread of this process sends it (so does one while `sending`, whatever the state
 *                has become: the thread finds out when it ends)
 *   FAILED       cannot heal by itself; `error` is the reason. Kept until the user does something
 *   INTERRUPTED  written to, never flushed, and the process ended: the file may be half of something.
 *                Not sent; only a copy that was being made for it is waited for
 *   LOCAL        litter: never sent
 *   GUARDED      a removal among too many: waits to be allowed
 *   SENT         a PUT into a draft: the session has the content whole. Unconfirmed for every rule: it
 *                goes, finished, together with its folder's PUBLISH
 *
 * Moves (who makes them):
 *   (add)   -> OPEN | READY | LOCAL
 *   OPEN    -> READY                   flush
 *   READY   -> OPEN                    the first write after a flush, before that write is answered
 *   READY   -> ACTIVE                  pm_journal_next, when nothing it needs is left
 *   ACTIVE  -> finished                the service's own answer, folded into the index
 *   ACTIVE  -> READY                   again later (what can heal), for ever; a start
 *   ACTIVE  -> FAILED                  what cannot heal
 *   ACTIVE  -> OPEN                    a write came: the try ends, its outcome is found out by the next
 *   FAILED, INTERRUPTED -> OPEN        a write
 *   FAILED, INTERRUPTED -> READY       retry
 *   FAILED, INTERRUPTED -> dropped     discard (work.c): the content is kept elsewhere
 *   OPEN    -> INTERRUPTED             a start, and nothing else
 *   READY   -> INTERRUPTED             a start after a power cut, if its content is in doubt (durable.h)
 *   READY   -> GUARDED -> READY        too many removals at once; allowed
 *   READY, GUARDED, FAILED -> dropped  taken back, or cancelled by a later change
 *   READY  <-> LOCAL                   renamed to a litter's name, and from it
 *   ACTIVE  -> SENT                    the session's own answer
 *   SENT    -> OPEN                    a write
 *   SENT    -> READY                   its session was replaced, or is gone, or has it no more
 *   SENT    -> INTERRUPTED             as READY, after a power cut
 *   SENT    -> finished                published
 *   SENT    -> dropped                 removed: nothing of that is sent, the session is replaced
 * "dropped": what waited for it waits for what it waited for; nothing of it is carried out.
 *
 * Places: each entry's rows in `place` say what is shown where while it is unfinished: a node, or
 * nothing (NULL). Of several rows for one (parent, name) the highest entry counts.
 *
 * What holds on the disk at any moment. After kill -9 at once; after a power cut, of all that is older
 * than 5 s or was fsynced:
 *   C1 A write is answered only when its content's entry is OPEN (or LOCAL, or its name is gone):
 *      what is half written is never taken for closed.
 *   C2 A flush is answered only when the entry says READY, with the size that was flushed: what was
 *      closed is sent, without anybody's help.
 *   C3 Of a content with a base, `dirty` or its row covers every written byte before the write is
 *      answered: nothing that is fetched goes over it.
 *   C4 An entry goes only together with the index's knowing the result, which is committed first. In
 *      between it is carried out again: every step finds what an earlier try did.
 *   C5 A step of an upload is stored, with the generation and the size of the content that it is of,
 *      before the next is begun; one of another generation is never gone on with.
 *   C6 A content's file is unlinked only after its entry is gone, and an unsent content is known by
 *      its entry and by the label on its file (label.c).
 *   C7 What is discarded has its second name, durably, before its entry goes (work.c).
 *   C8 Contents are made durable before the journal that speaks of them (cache.c, pm_file_fsync).
 *   C9 The id of an entry, a node and a content is never given again.
 *
 * Invariants of the tables (pm_journal_check, at each start and in tests):
 *   1  a dependency joins two entries that exist
 *   2  dependencies have no cycle
 *   3  a place belongs to an entry that exists, and to a node that exists
 *   4  no name is shown for a node in two places by two entries of equal id
 *   5  only PUT has content; PUT has one
 *   6  at most one PUT a node
 *   7  only PUT has a source, a node that exists
 *   8  an entry shows its node at its own place, a removal nothing
 *   9  an entry's node exists, and is of its account
 *   10 only a PUT is OPEN, INTERRUPTED or SENT, only a removal GUARDED; no state is unknown
 *   11 only a RENAME has an old place
 *   12 the content of a PUT is its node's
 *   13 no entry has an id that is still to be given
 *   14 a PUBLISH is of a folder with a row in `draft`, one a folder, and each such row has one
 *   15 only a PUT in a draft is SENT or has a name in its session */
#include "cache/journal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS                                                                                    \
    "id, op, node, account, kind, parent, oparent, name, oname, rid, base, content, size, state,"  \
    " not_before, tries, created, gen, replaces, sending, source, era"

static void read_entry(struct sqlite3_stmt *st, struct pm_jentry *e)
{
    e->id = pm_col_int(st, 0);
    e->op = (enum pm_op)pm_col_int(st, 1);
    e->node = (pm_node)pm_col_int(st, 2);
    e->account = (uint32_t)pm_col_int(st, 3);
    e->kind = (enum pm_kind)pm_col_int(st, 4);
    e->parent = (pm_node)pm_col_int(st, 5);
    e->oparent = (pm_node)pm_col_int(st, 6);
    pm_col_copy(st, 7, e->name, sizeof(e->name));
    pm_col_copy(st, 8, e->oname, sizeof(e->oname));
    pm_col_copy(st, 9, e->rid, sizeof(e->rid));
    pm_col_copy(st, 10, e->base, sizeof(e->base));
    e->content = pm_col_int(st, 11);
    e->size = (uint64_t)pm_col_int(st, 12);
    e->state = (enum pm_jstate)pm_col_int(st, 13);
    e->not_before = pm_col_int(st, 14);
    e->tries = (int)pm_col_int(st, 15);
    e->created = pm_col_int(st, 16);
    e->gen = pm_col_int(st, 17);
    e->replaces = (pm_node)pm_col_int(st, 18);
    e->sending = pm_col_int(st, 19) != 0;
    e->source = (pm_node)pm_col_int(st, 20);
    e->era = pm_col_int(st, 21);
}

/* Reads the one entry a query gives. */
static int read_one(struct pm_db *db, struct sqlite3_stmt *st, struct pm_jentry *out)
{
    if (!pm_db_row(db, st))
        return -ENOENT;
    read_entry(st, out);
    pm_db_reset(st);
    return 0;
}

int pm_journal_get(struct pm_db *db, int64_t id, struct pm_jentry *out)
{
    return read_one(db, pm_db_query(db, "SELECT " COLUMNS " FROM j.entry WHERE id=?1", "i", id),
                    out);
}

int pm_journal_of(struct pm_db *db, pm_node node, enum pm_op op, struct pm_jentry *out)
{
    return read_one(db,
                    pm_db_query(db,
                                "SELECT " COLUMNS " FROM j.entry WHERE node=?1"
                                " AND (?2=0 OR op=?2) ORDER BY id DESC LIMIT 1",
                                "ii", (int64_t)node, (int64_t)op),
                    out);
}

/* The last unfinished entry with this place as old or new one; 0: none. */
static int64_t last_at(struct pm_db *db, pm_node parent, const char *name, int64_t but)
{
    return pm_db_int(db, 0,
                     "SELECT max(id) FROM (SELECT id FROM j.entry WHERE parent=?1 AND name=?2"
                     " UNION ALL SELECT id FROM j.entry WHERE oparent=?1 AND oname=?2)"
                     " WHERE id<>?3",
                     "isi", (int64_t)parent, name, but);
}

int pm_journal_at(struct pm_db *db, pm_node parent, const char *name, struct pm_jentry *out)
{
    int64_t id = last_at(db, parent, name, 0);

    return id ? pm_journal_get(db, id, out) : -ENOENT;
}

bool pm_journal_needed(struct pm_db *db, int64_t id)
{
    return pm_db_int(db, 0, "SELECT 1 FROM j.dep WHERE needs=?1 LIMIT 1", "i", id) != 0;
}

bool pm_journal_begun(struct pm_db *db, int64_t id)
{
    return pm_db_int(db, 0, "SELECT step IS NOT NULL FROM j.entry WHERE id=?1", "i", id) != 0;
}

bool pm_journal_waits(struct pm_db *db, int64_t id)
{
    return pm_db_int(db, 0, "SELECT 1 FROM j.dep WHERE entry=?1 LIMIT 1", "i", id) != 0;
}

bool pm_journal_is_source(struct pm_db *db, int64_t id)
{
    return pm_db_int(db, 0,
                     "SELECT 1 FROM j.entry e JOIN j.dep d ON d.entry=e.id JOIN j.entry p ON"
                     " p.id=d.needs WHERE e.id=?1 AND e.op=3 AND p.account<>e.account LIMIT 1",
                     "i", id) != 0;
}

/* --- what an entry needs */

static void need(struct pm_db *db, int64_t entry, int64_t needs)
{
    if (needs && needs != entry)
        pm_db_run(db, "INSERT OR IGNORE INTO j.dep(entry, needs) VALUES(?1, ?2)", "ii", entry,
                  needs);
}

static void need_node(struct pm_db *db, int64_t entry, pm_node node)
{
    need(db, entry,
         pm_db_int(db, 0, "SELECT max(id) FROM j.entry WHERE node=?1 AND id<>?2", "ii",
                   (int64_t)node, entry));
}

static void need_folders_above(struct pm_db *db, int64_t entry, pm_node folder)
{
    for (int depth = 0; folder > PM_NODE_ROOT && depth < 256; depth++) {
        need(db, entry,
             pm_db_int(db, 0, "SELECT max(id) FROM j.entry WHERE node=?1 AND id<>?2 AND op<>5", "ii",
                       (int64_t)folder, entry));
        if (pm_shown_place(db, folder, &folder, NULL))
            return;
    }
}

static void need_place(struct pm_db *db, int64_t entry, pm_node parent, const char *name)
{
    need(db, entry, last_at(db, parent, name, entry));
    need_folders_above(db, entry, parent);
}

/* All with a place directly in `folder`. */
static void need_children(struct pm_db *db, int64_t entry, pm_node folder)
{
    pm_db_run(db,
              "INSERT OR IGNORE INTO j.dep(entry, needs) SELECT ?1, id FROM"
              " (SELECT id FROM j.entry WHERE parent=?2 UNION SELECT id FROM j.entry WHERE"
              " oparent=?2) WHERE id<>?1",
              "ii", entry, (int64_t)folder);
}

/* The folders that entries have places in; *out is owned. The count, or -ENOMEM. */
static ssize_t all_folders(struct pm_db *db, pm_node **out)
{
    pm_node             *folders = NULL;
    size_t               n = 0;
    size_t               cap = 0;
    struct sqlite3_stmt *st = pm_db_query(
        db, "SELECT parent FROM j.entry UNION SELECT oparent FROM j.entry WHERE oparent>0", "");

    while (pm_db_row(db, st)) {
        if (n == cap) {
            pm_node *more = reallocarray(folders, cap ? 2 * cap : 64, sizeof(*folders));

            if (!more) {
                pm_db_reset(st);
                free(folders);
                return -ENOMEM;
            }
            folders = more;
            cap = cap ? 2 * cap : 64;
        }
        folders[n++] = (pm_node)pm_col_int(st, 0);
    }
    *out = folders;
    return (ssize_t)n;
}

bool pm_journal_below(struct pm_db *db, pm_node folder)
{
    PM_AUTO(free) pm_node *folders = NULL;
    ssize_t                n = all_folders(db, &folders);

    for (ssize_t i = 0; i < n; i++)
        if (pm_shown_below(db, folders[i], folder))
            return true;
    return n < 0;
}

/* All with a place anywhere below `top`. */
static int need_subtree(struct pm_db *db, int64_t entry, pm_node top)
{
    PM_AUTO(free) pm_node *folders = NULL;
    ssize_t                n = all_folders(db, &folders);

    for (ssize_t i = 0; i < n; i++)
        if (pm_shown_below(db, folders[i], top))
            need_children(db, entry, folders[i]);
    return n < 0 ? (int)n : 0;
}

/* Copies of what the entry's node, or something below it, has are made before that changes. Comes
 * last: a need that has another reason, too, is not marked as one for this. */
static void need_copies(struct pm_db *db, int64_t entry, pm_node top)
{
    struct sqlite3_stmt *st =
        pm_db_query(db, "SELECT id, ifnull(source, copying) FROM j.entry WHERE source IS NOT NULL OR"
                        " copying IS NOT NULL", "");

    while (pm_db_row(db, st))
        if (pm_shown_below(db, (pm_node)pm_col_int(st, 1), top) && pm_col_int(st, 0) != entry)
            pm_db_run(db, "INSERT OR IGNORE INTO j.dep(entry, needs, source) VALUES(?1, ?2, 1)",
                      "ii", entry, pm_col_int(st, 0));
}

/* Uploads to other accounts that may be of what is removed: the file, or what the known lists have in the
 * folder, which goes with it if it is a thing. Litter is none: it is never sent. */
static void need_moved(struct pm_db *db, const struct pm_jentry *removal)
{
    pm_db_run(db,
              "INSERT OR IGNORE INTO j.dep(entry, needs) SELECT ?1, p.id FROM j.entry p WHERE p.op=1 AND"
              " p.size IN (WITH RECURSIVE gone(id) AS (SELECT ?2 UNION SELECT n.id FROM node n JOIN gone"
              " ON n.parent=gone.id) SELECT size FROM node WHERE id IN gone AND kind<>0 UNION SELECT"
              " rsize FROM node WHERE id IN gone AND kind<>0) AND p.account<>?3 AND p.state<>5 AND p.id<>?1",
              "iii", removal->id, (int64_t)removal->node, (int64_t)removal->account);
}

/* Called before the entry's own places are set: what is shown is what it found. */
static int set_needs(struct pm_db *db, const struct pm_jentry *e)
{
    int err = 0;

    need_node(db, e->id, e->node);
    need_place(db, e->id, e->parent, e->name);
    if (e->oparent)
        need_place(db, e->id, e->oparent, e->oname);
    if (e->kind == PM_FOLDER && e->op == PM_OP_REMOVE)
        need_children(db, e->id, e->node);
    if (e->op == PM_OP_REMOVE)
        need_moved(db, e);
    if (e->kind == PM_FOLDER && e->op == PM_OP_RENAME)
        err = need_subtree(db, e->id, e->node);
    if (e->op != PM_OP_MKDIR)
        need_copies(db, e->id, e->node);
    if (e->replaces)
        need_copies(db, e->id, e->replaces);
    return err;
}

int pm_journal_set_source(struct pm_db *db, int64_t id, pm_node source)
{
    pm_db_run(db,
              "UPDATE j.entry SET copying=CASE WHEN ?2 IS NULL AND step LIKE 'copy %' THEN"
              " ifnull(source, copying) END, source=?2 WHERE id=?1",
              "iz", id, source ? (int64_t)source : -1);
    return pm_db_run(db,
                     "DELETE FROM j.dep WHERE needs=?1 AND source AND NOT EXISTS (SELECT 1 FROM"
                     " j.entry WHERE id=?1 AND copying IS NOT NULL)",
                     "i", id);
}

bool pm_journal_copies(struct pm_db *db, int64_t id)
{
    return pm_db_int(db, 0,
                     "SELECT 1 FROM j.entry WHERE id=?1 AND ifnull(source, copying) IS NOT NULL AND step"
                     " LIKE 'copy %' AND step NOT LIKE '% '", /* else nothing is there (copy.c) */
                     "i", id) != 0;
}

int pm_journal_forget_source(struct pm_db *db, int64_t id)
{
    pm_db_run(db, "DELETE FROM j.dep WHERE needs=?1 AND source", "i", id);
    return pm_db_run(db, "UPDATE j.entry SET source=NULL, copying=NULL WHERE id=?1", "i", id);
}

/* --- places */

static void show(struct pm_db *db, int64_t entry, pm_node parent, const char *name, pm_node node)
{
    pm_db_run(db, "INSERT OR REPLACE INTO j.place(parent, name, entry, node) VALUES(?1, ?2, ?3, ?4)",
              "isiz", (int64_t)parent, name, entry, node ? (int64_t)node : -1);
}

static void set_places(struct pm_db *db, const struct pm_jentry *e)
{
    if (e->oparent)
        show(db, e->id, e->oparent, e->oname, 0);
    show(db, e->id, e->parent, e->name, e->op == PM_OP_REMOVE ? 0 : e->node);
}

/* --- adding, ending, moving */

/* Never given twice: whoever still sends an entry that ended meanwhile must not meet another. Every
 * second id is left free, for an entry that is split in two (pm_journal_split). */
static int64_t next_id(struct pm_db *db)
{
    int64_t id = pm_db_int(db, 0, "SELECT value FROM j.meta WHERE key='last_entry'", "") + 2;

    pm_db_run(db, "INSERT OR REPLACE INTO j.meta(key, value) VALUES('last_entry', ?1)", "i", id);
    return id;
}

void pm_journal_remember(struct pm_db *db, pm_node folder)
{
    for (int depth = 0; folder > PM_NODE_ROOT && depth < 256; depth++) {
        pm_db_run(db,
                  "INSERT OR REPLACE INTO j.folder(id, account, parent, name, rname, rid, root)"
                  " SELECT id, account, parent, name, rname, rid, root FROM node n WHERE id=?1 AND NOT"
                  " EXISTS (SELECT 1 FROM j.folder f WHERE f.id=?1 AND f.parent IS n.parent AND f.name"
                  " IS n.name AND f.rname IS n.rname AND f.rid IS n.rid AND f.root IS n.root)",
                  "i", (int64_t)folder);
        folder = (pm_node)pm_db_int(db, 0, "SELECT parent FROM node WHERE id=?1", "i",
                                    (int64_t)folder);
    }
}

static int insert(struct pm_db *db, struct pm_jentry *e)
{
    pm_journal_remember(db, e->parent);
    if (e->oparent)
        pm_journal_remember(db, e->oparent);
    e->created = pm_wall_ms();
    return pm_db_run(db,
                     "INSERT INTO j.entry(id, op, node, account, kind, parent, name, oparent, oname,"
                     " rid, base, content, size, state, not_before, created, gen, replaces, source)"
                     " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19)",
                     "iiiiiiszsssziiiiiiz", e->id, (int64_t)e->op, (int64_t)e->node,
                     (int64_t)e->account, (int64_t)e->kind, (int64_t)e->parent, e->name,
                     e->oparent ? (int64_t)e->oparent : -1, e->oparent ? e->oname : NULL,
                     *e->rid ? e->rid : NULL, e->base, e->content ? e->content : -1,
                     (int64_t)e->size, (int64_t)e->state, e->not_before, e->created, e->gen,
                     (int64_t)e->replaces, e->source ? (int64_t)e->source : -1);
}

int pm_journal_add(struct pm_db *db, struct pm_jentry *e)
{
    int err;

    e->id = next_id(db);
    err = insert(db, e);
    if (!err)
        err = set_needs(db, e);
    if (!err)
        set_places(db, e);
    return err;
}

static void clear_places(struct pm_db *db, int64_t id)
{
    pm_db_run(db, "DELETE FROM j.place WHERE entry=?1", "i", id);
}

int pm_journal_finish(struct pm_db *db, int64_t id)
{
    clear_places(db, id);
    pm_db_run(db, "DELETE FROM j.dep WHERE needs=?1", "i", id);
    pm_db_run(db, "DELETE FROM j.dep WHERE entry=?1", "i", id);
    return pm_db_run(db, "DELETE FROM j.entry WHERE id=?1", "i", id);
}

/* What waits for the entry waits for what it waits for. */
static void inherit_needs(struct pm_db *db, int64_t id)
{
    pm_db_run(db,
              "INSERT OR IGNORE INTO j.dep(entry, needs) SELECT a.entry, b.needs FROM j.dep a"
              " JOIN j.dep b ON b.entry=a.needs WHERE a.needs=?1",
              "i", id);
}

int pm_journal_drop(struct pm_db *db, int64_t id)
{
    inherit_needs(db, id);
    return pm_journal_finish(db, id);
}

int pm_journal_split(struct pm_db *db, int64_t old, struct pm_jentry *a, struct pm_jentry *b)
{
    int err;

    clear_places(db, old);
    pm_db_run(db, "DELETE FROM j.dep WHERE entry=?1", "i", old);
    pm_db_run(db, "DELETE FROM j.entry WHERE id=?1", "i", old);
    a->id = old;
    b->id = old + 1;
    err = insert(db, a);
    if (!err)
        err = insert(db, b);
    if (err)
        return err;
    set_places(db, a);
    set_places(db, b);
    pm_db_run(db, "INSERT OR IGNORE INTO j.dep(entry, needs) SELECT entry, ?2 FROM j.dep WHERE"
                  " needs=?1", "ii", a->id, b->id);
    need(db, b->id, a->id);
    return 0;
}

int pm_journal_become(struct pm_db *db, int64_t old, struct pm_jentry *e)
{
    int err;

    clear_places(db, old);
    pm_db_run(db, "DELETE FROM j.entry WHERE id=?1", "i", old);
    e->id = old;
    err = insert(db, e);
    if (!err)
        set_places(db, e);
    return err;
}

/* Does `from` need `to`, directly or through others? */
static bool reaches(struct pm_db *db, int64_t from, int64_t to)
{
    return pm_db_int(db, 0,
                     "WITH RECURSIVE r(id) AS (SELECT ?1 UNION SELECT d.needs FROM j.dep d"
                     " JOIN r ON d.entry=r.id) SELECT 1 FROM r WHERE id=?2",
                     "ii", from, to) != 0;
}

/* Does a copy of what the entry changes need the entry? */
static bool copies_reach(struct pm_db *db, const struct pm_jentry *e)
{
    struct sqlite3_stmt *st = pm_db_query(db, "SELECT id FROM j.entry WHERE id<>?3 AND (source"
                                              " IN (?1, ?2) OR copying IN (?1, ?2))",
                                          "iii", (int64_t)e->node, (int64_t)e->replaces, e->id);
    bool                 reach = false;

    while (pm_db_row(db, st))
        reach = reach || reaches(db, pm_col_int(st, 0), e->id);
    return reach;
}

/* Would the entry at this place need one that needs it? */
static bool would_deadlock(struct pm_db *db, const struct pm_jentry *e, pm_node parent, const char *name)
{
    int64_t id = e->id;
    int64_t at = last_at(db, parent, name, id);

    if ((at && reaches(db, at, id)) || copies_reach(db, e))
        return true;
    for (int depth = 0; parent > PM_NODE_ROOT && depth < 256; depth++) {
        int64_t last = pm_db_int(db, 0,
                                 "SELECT max(id) FROM j.entry WHERE node=?1 AND id<>?2 AND op<>5",
                                 "ii", (int64_t)parent, id);

        if (last && reaches(db, last, id))
            return true;
        if (pm_shown_place(db, parent, &parent, NULL))
            break;
    }
    return false;
}

int pm_journal_move(struct pm_db *db, struct pm_jentry *e, pm_node parent, const char *name)
{
    int64_t old = e->id;

    assert(e->op == PM_OP_PUT || e->op == PM_OP_MKDIR || e->op == PM_OP_PUBLISH);
    if (would_deadlock(db, e, parent, name))
        return -EDEADLK;
    inherit_needs(db, old);
    pm_db_run(db, "DELETE FROM j.dep WHERE entry=?1", "i", old);
    clear_places(db, old);
    e->id = next_id(db);
    e->parent = parent;
    snprintf(e->name, sizeof(e->name), "%s", name);
    pm_db_run(db, "UPDATE j.entry SET id=?2, parent=?3, name=?4, sent=NULL WHERE id=?1", "iiis", old, e->id,
              (int64_t)parent, name);
    pm_db_run(db, "UPDATE j.dep SET needs=?2 WHERE needs=?1", "ii", old, e->id);
    pm_journal_remember(db, parent);
    need_place(db, e->id, parent, name);
    need_copies(db, e->id, e->node);
    if (e->replaces)
        need_copies(db, e->id, e->replaces);
    set_places(db, e);
    return 0;
}

/* --- fields */

int pm_journal_update(struct pm_db *db, const struct pm_jentry *e)
{
    return pm_db_run(db,
                     "UPDATE j.entry SET state=?2, not_before=?3, tries=?4, size=?5, gen=?6,"
                     " content=?7, rid=?8, base=?9, replaces=?10, sending=?11, era=?12 WHERE id=?1",
                     "iiiiiizssiii", e->id, (int64_t)e->state, e->not_before, (int64_t)e->tries,
                     (int64_t)e->size, e->gen, e->content ? e->content : -1,
                     *e->rid ? e->rid : NULL, e->base, (int64_t)e->replaces,
                     (int64_t)e->sending, e->era);
}

int pm_journal_error(struct pm_db *db, int64_t id, const char *why)
{
    return pm_db_run(db, "UPDATE j.entry SET error=?2 WHERE id=?1", "is", id, why);
}

char *pm_journal_step(struct pm_db *db, int64_t id)
{
    struct sqlite3_stmt *st = pm_db_query(db, "SELECT step FROM j.entry WHERE id=?1", "i", id);
    char                *step = NULL;

    if (!pm_db_row(db, st))
        return NULL;
    if (!pm_col_null(st, 0))
        step = pm_col_dup(db, st, 0);
    pm_db_reset(st);
    return step;
}

int pm_journal_set_step(struct pm_db *db, int64_t id, const char *step)
{
    return pm_db_run(db, "UPDATE j.entry SET step=?2 WHERE id=?1", "is", id, step);
}

/* --- choosing */

/* The first of those that are `which` and may go, by an index that has them in order: a queue may be
 * long, and is asked often. */
#define FIRST(index, which) \
    "SELECT * FROM (SELECT id, not_before FROM j.entry e INDEXED BY " index " WHERE " which \
    " AND not_before<?3 AND NOT sending AND NOT ((?1 >> account) & 1)" \
    " AND NOT EXISTS (SELECT 1 FROM j.dep d WHERE d.entry=e.id) ORDER BY not_before LIMIT 1)"

int pm_journal_next(struct pm_db *db, uint64_t blocked, bool uploads, struct pm_jentry *out,
                    int64_t *wake_ms)
{
    struct sqlite3_stmt *st = pm_db_query(
        db,
        "SELECT " COLUMNS " FROM j.entry WHERE id=(SELECT id FROM ("
        FIRST("entry_state", "?2 AND state=2 AND op=1") " UNION ALL "
        FIRST("entry_state", "?2 AND state=6 AND copying IS NOT NULL") " UNION ALL "
        FIRST("entry_other", "state=2 AND op<>1 AND (op<>5 OR NOT EXISTS (SELECT 1 FROM j.entry p"
                             " WHERE p.parent=e.node AND p.op=1 AND p.state NOT IN (5, 8)))")
        ") ORDER BY not_before LIMIT 1)",
        "iii", (int64_t)blocked, (int64_t)uploads, PM_J_HELD);
    int err = read_one(db, st, out);

    *wake_ms = PM_J_HELD;
    if (err)
        return err;
    if (out->not_before > pm_wall_ms()) {
        *wake_ms = out->not_before;
        return -ENOENT;
    }
    if (out->state == PM_J_READY)
        out->state = PM_J_ACTIVE;
    out->sending = true;
    return pm_journal_update(db, out);
}

int pm_journal_restart(struct pm_db *db)
{
    pm_db_run(db, "UPDATE j.entry SET sending=0 WHERE sending", "");
    pm_db_run(db, "UPDATE j.entry SET state=?1 WHERE state=?2", "ii", (int64_t)PM_J_READY,
              (int64_t)PM_J_ACTIVE);
    pm_db_run(db, "UPDATE j.entry SET not_before=0 WHERE not_before=?1 AND state IN (?2, ?3) AND"
              " op<>5", "iii",
              PM_J_HELD, (int64_t)PM_J_READY, (int64_t)PM_J_OPEN);
    pm_db_run(db, "UPDATE j.entry SET not_before=max(not_before, ?1) WHERE state=?2 AND step IS NOT NULL",
              "ii", pm_wall_ms() + PM_BROKEN_OFF_MS, (int64_t)PM_J_READY);
    pm_db_run(db, "UPDATE j.entry SET state=?1, error='the drive ended before the file was"
                  " closed' WHERE state=?2",
              "ii", (int64_t)PM_J_INTERRUPTED, (int64_t)PM_J_OPEN);
    /* Nobody may ever come for it: what it was copied from waits no longer than the service makes that. */
    pm_db_run(db, "UPDATE j.entry SET copying=CASE WHEN step LIKE 'copy %' THEN ifnull(source, copying) END,"
                  " source=NULL WHERE state=?1", "i", (int64_t)PM_J_INTERRUPTED);
    return pm_db_run(db, "DELETE FROM j.dep WHERE source AND needs IN (SELECT id FROM j.entry WHERE"
                         " state=?1 AND copying IS NULL)", "i", (int64_t)PM_J_INTERRUPTED);
}

int pm_journal_check(struct pm_db *db)
{
    static const char *const broken[] = {
        "SELECT 1 FROM j.dep WHERE entry NOT IN (SELECT id FROM j.entry)"
        " OR needs NOT IN (SELECT id FROM j.entry) LIMIT 1",
        "WITH RECURSIVE r(a, b) AS (SELECT entry, needs FROM j.dep UNION SELECT r.a, d.needs"
        " FROM r JOIN j.dep d ON d.entry=r.b) SELECT 1 FROM r WHERE a=b LIMIT 1",
        "SELECT 1 FROM j.place WHERE entry NOT IN (SELECT id FROM j.entry)"
        " OR (node IS NOT NULL AND node NOT IN (SELECT id FROM node)) LIMIT 1",
        "SELECT 1 FROM j.place WHERE node IS NOT NULL GROUP BY node, entry HAVING count(*)>1"
        " LIMIT 1",
        "SELECT 1 FROM j.entry WHERE (op=1) <> (content IS NOT NULL) LIMIT 1",
        "SELECT 1 FROM j.entry WHERE op=1 GROUP BY node HAVING count(*)>1 LIMIT 1",
        "SELECT 1 FROM j.entry WHERE ifnull(source, copying) IS NOT NULL AND (op<>1 OR"
        " ifnull(source, copying) NOT IN (SELECT id FROM node)) LIMIT 1",
        "SELECT 1 FROM j.entry e WHERE NOT EXISTS (SELECT 1 FROM j.place p WHERE p.entry=e.id AND"
        " p.parent=e.parent AND p.name=e.name AND ifnull(p.node, 0)=CASE WHEN e.op=3 THEN 0 ELSE"
        " e.node END) LIMIT 1",
        "SELECT 1 FROM j.entry e WHERE NOT EXISTS (SELECT 1 FROM node n WHERE n.id=e.node AND"
        " n.account=e.account) LIMIT 1",
        "SELECT 1 FROM j.entry WHERE (state IN (1, 6, 8) AND op<>1) OR (state=7 AND op<>3) OR state NOT"
        " BETWEEN 1 AND 8 LIMIT 1",
        "SELECT 1 FROM j.entry WHERE (op=4) <> (oparent IS NOT NULL) LIMIT 1",
        "SELECT 1 FROM j.entry e WHERE op=1 AND NOT EXISTS (SELECT 1 FROM content c WHERE"
        " c.id=e.content AND c.node=e.node) LIMIT 1",
        "SELECT 1 FROM j.entry WHERE id > 1 + (SELECT value FROM j.meta WHERE key='last_entry')"
        " LIMIT 1",
        "SELECT 1 FROM j.entry e WHERE op=5 AND (kind<>0 OR node NOT IN (SELECT node FROM j.draft) OR"
        " (SELECT count(*) FROM j.entry p WHERE p.node=e.node AND p.op=5)>1) UNION ALL SELECT 1 FROM"
        " j.draft WHERE node NOT IN (SELECT node FROM j.entry WHERE op=5) LIMIT 1",
        "SELECT 1 FROM j.entry WHERE (state=8 OR sent IS NOT NULL) AND (op<>1 OR parent NOT IN (SELECT"
        " node FROM j.draft)) LIMIT 1",
    };

    for (size_t i = 0; i < PM_COUNT(broken); i++)
        if (pm_db_int(db, 0, broken[i], ""))
            return (int)i + 1;
    return 0;
}
