/* The journal's order: whatever was done here, in whatever order it is carried out that the
 * dependencies allow, every step is legal on the service and the end is what the user saw. */
#include "tests/unit/cache_env.h"

#include "cache/send.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct env e;

static int setup(void **state)
{
    (void)state;
    env_start(&e);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    env_close(&e);
    return 0;
}

/* --- entries made by hand */

static void begin(void)
{
    pm_db_begin(e.c->db);
}

static void end(void)
{
    assert_int_equal(pm_journal_check(e.c->db), 0);
    assert_int_equal(pm_db_end(e.c->db, 0), 0);
}

static pm_node make_node(enum pm_kind kind)
{
    pm_node node;

    assert_int_equal(pm_node_make(e.c->db, e.c->accounts[0].id, kind, NULL, &node), 0);
    return node;
}

static int64_t add(enum pm_op op, pm_node node, enum pm_kind kind, pm_node parent, const char *name,
                   pm_node oparent, const char *oname)
{
    struct pm_jentry j = {.op = op, .node = node, .kind = kind, .parent = parent,
                          .oparent = oparent, .account = e.c->accounts[0].id,
                          .state = PM_J_READY, .content = op == PM_OP_PUT ? (int64_t)node : 0};

    snprintf(j.name, sizeof(j.name), "%s", name);
    snprintf(j.oname, sizeof(j.oname), "%s", oname ? oname : "");
    if (op == PM_OP_PUT)
        pm_db_run(e.c->db, "INSERT OR IGNORE INTO content(id, node, version, size, used)"
                           " VALUES(?1, ?1, '', 0, 0)", "i", (int64_t)node);
    assert_int_equal(pm_journal_add(e.c->db, &j), 0);
    return j.id;
}

static bool needs(int64_t entry, int64_t what)
{
    return pm_db_int(e.c->db, 0, "SELECT 1 FROM j.dep WHERE entry=?1 AND needs=?2", "ii", entry,
                     what) != 0;
}

static pm_node shown(pm_node parent, const char *name)
{
    pm_node node;

    return pm_shown_find(e.c->db, parent, name, &node) ? 0 : node;
}

static pm_node listed_node(enum pm_kind kind, pm_node parent, const char *name)
{
    pm_node node = make_node(kind);

    assert_int_equal(pm_node_place(e.c->db, node, parent, name, name), 0);
    return node;
}

static void a_swap_of_two_names_goes_through_the_third(void **state)
{
    pm_node a, b;
    int64_t one, two, three;

    (void)state;
    begin();
    a = listed_node(PM_FILE, e.root, "a");
    b = listed_node(PM_FILE, e.root, "b");
    one = add(PM_OP_RENAME, a, PM_FILE, e.root, "t", e.root, "a");
    two = add(PM_OP_RENAME, b, PM_FILE, e.root, "a", e.root, "b");
    three = add(PM_OP_RENAME, a, PM_FILE, e.root, "b", e.root, "t");
    assert_true(needs(two, one));
    assert_true(needs(three, two));
    assert_true(needs(three, one));
    assert_int_equal(shown(e.root, "a"), b);
    assert_int_equal(shown(e.root, "b"), a);
    assert_int_equal(shown(e.root, "t"), 0);
    end();
}

static void a_parents_rename_waits_for_what_is_pending_below(void **state)
{
    pm_node top, sub, f;
    int64_t put, rename, later;

    (void)state;
    begin();
    top = listed_node(PM_FOLDER, e.root, "top");
    sub = listed_node(PM_FOLDER, top, "sub");
    f = make_node(PM_FILE);
    put = add(PM_OP_PUT, f, PM_FILE, sub, "f", 0, NULL);
    rename = add(PM_OP_RENAME, top, PM_FOLDER, e.root, "top2", e.root, "top");
    later = add(PM_OP_PUT, make_node(PM_FILE), PM_FILE, sub, "g", 0, NULL);
    assert_true(needs(rename, put));
    assert_true(needs(later, rename));
    assert_true(pm_shown_below(e.c->db, f, top));
    end();
}

static void a_folders_removal_waits_for_what_was_moved_out(void **state)
{
    pm_node folder, f;
    int64_t out, gone;

    (void)state;
    begin();
    folder = listed_node(PM_FOLDER, e.root, "d");
    f = listed_node(PM_FILE, folder, "f");
    out = add(PM_OP_RENAME, f, PM_FILE, e.root, "f", folder, "f");
    assert_true(pm_shown_empty(e.c->db, folder));
    gone = add(PM_OP_REMOVE, folder, PM_FOLDER, e.root, "d", 0, NULL);
    assert_true(needs(gone, out));
    assert_int_equal(shown(e.root, "d"), 0);
    assert_int_equal(shown(e.root, "f"), f);
    end();
}

static void a_new_file_waits_for_the_removal_of_the_old(void **state)
{
    pm_node old, new;
    int64_t gone, put;

    (void)state;
    begin();
    old = listed_node(PM_FILE, e.root, "f");
    new = make_node(PM_FILE);
    gone = add(PM_OP_REMOVE, old, PM_FILE, e.root, "f", 0, NULL);
    put = add(PM_OP_PUT, new, PM_FILE, e.root, "f", 0, NULL);
    assert_true(needs(put, gone));
    assert_int_equal(shown(e.root, "f"), new);
    pm_journal_finish(e.c->db, gone);
    assert_false(pm_journal_waits(e.c->db, put));
    assert_int_equal(shown(e.root, "f"), new);
    end();
}

/* An unfinished upload of 7 bytes to another account. */
static int64_t add_elsewhere(enum pm_jstate state, const char *name)
{
    struct pm_jentry put = {.op = PM_OP_PUT, .kind = PM_FILE, .account = e.c->accounts[0].id + 1,
                            .parent = e.root, .size = 7, .state = state};

    snprintf(put.name, sizeof(put.name), "%s", name);
    assert_int_equal(pm_node_make(e.c->db, put.account, PM_FILE, NULL, &put.node), 0);
    put.content = (int64_t)put.node;
    pm_db_run(e.c->db, "INSERT INTO content(id, node, version, size, used) VALUES(?1, ?1, '', 7, 0)", "i",
              put.content);
    assert_int_equal(pm_journal_add(e.c->db, &put), 0);
    return put.id;
}

static int64_t add_removal(const char *name, int64_t size)
{
    pm_node node = listed_node(PM_FILE, e.root, name);

    pm_db_run(e.c->db, "UPDATE node SET size=?2, rsize=?2 WHERE id=?1", "ii", (int64_t)node, size);
    return add(PM_OP_REMOVE, node, PM_FILE, e.root, name, 0, NULL);
}

static void a_removal_waits_for_uploads_elsewhere_that_may_be_of_its_content(void **state)
{
    int64_t put, litter, removal, unlike;

    (void)state;
    begin();
    put = add_elsewhere(PM_J_READY, "moved");
    litter = add_elsewhere(PM_J_LOCAL, ".DS_Store");
    removal = add_removal("source", 7);
    unlike = add_removal("other", 8);
    end();
    begin();
    assert_true(needs(removal, put) && pm_journal_is_source(e.c->db, removal));
    assert_false(needs(removal, litter));
    assert_false(pm_journal_waits(e.c->db, unlike) || pm_journal_is_source(e.c->db, unlike));
    assert_int_equal(pm_journal_finish(e.c->db, put), 0);
    assert_false(pm_journal_waits(e.c->db, removal) || pm_journal_is_source(e.c->db, removal));
    end();
}

static void a_dropped_entrys_needs_are_inherited(void **state)
{
    pm_node folder, f;
    int64_t mkdir, put, rename;

    (void)state;
    begin();
    folder = make_node(PM_FOLDER);
    f = make_node(PM_FILE);
    mkdir = add(PM_OP_MKDIR, folder, PM_FOLDER, e.root, "d", 0, NULL);
    put = add(PM_OP_PUT, f, PM_FILE, folder, "f", 0, NULL);
    rename = add(PM_OP_RENAME, f, PM_FILE, e.root, "g", folder, "f");
    pm_db_run(e.c->db, "DELETE FROM j.dep WHERE entry=?1 AND needs=?2", "ii", rename, mkdir);
    assert_int_equal(pm_journal_drop(e.c->db, put), 0);
    assert_true(needs(rename, mkdir));
    end();
}

static void an_unsent_entry_moves_with_what_waits_for_it(void **state)
{
    struct pm_jentry j;
    pm_node          folder, to, f;
    int64_t          mkdir, mkdir_to, put;

    (void)state;
    begin();
    folder = make_node(PM_FOLDER);
    to = make_node(PM_FOLDER);
    f = make_node(PM_FILE);
    mkdir = add(PM_OP_MKDIR, folder, PM_FOLDER, e.root, "d", 0, NULL);
    put = add(PM_OP_PUT, f, PM_FILE, folder, "f", 0, NULL);
    mkdir_to = add(PM_OP_MKDIR, to, PM_FOLDER, e.root, "to", 0, NULL);
    assert_int_equal(pm_journal_get(e.c->db, mkdir, &j), 0);
    assert_int_equal(pm_journal_move(e.c->db, &j, to, "d2"), 0);
    assert_true(j.id > mkdir_to);
    assert_true(needs(put, j.id));
    assert_true(needs(j.id, mkdir_to));
    assert_int_equal(shown(e.root, "d"), 0);
    assert_int_equal(shown(to, "d2"), folder);
    end();
}

static void a_deadlocking_move_is_refused_and_changes_nothing(void **state)
{
    struct pm_jentry j;
    pm_node          a, b;
    int64_t          mkdir_a;

    (void)state;
    begin();
    a = make_node(PM_FOLDER);
    b = make_node(PM_FOLDER);
    mkdir_a = add(PM_OP_MKDIR, a, PM_FOLDER, e.root, "a", 0, NULL);
    add(PM_OP_MKDIR, b, PM_FOLDER, a, "b", 0, NULL);
    assert_int_equal(pm_journal_get(e.c->db, mkdir_a, &j), 0);
    assert_int_equal(pm_journal_move(e.c->db, &j, b, "a"), -EDEADLK);
    assert_int_equal(j.id, mkdir_a);
    assert_int_equal(shown(e.root, "a"), a);
    assert_int_equal(shown(a, "b"), b);
    end();
}

static void ids_of_ended_entries_are_not_used_again(void **state)
{
    int64_t first, second;

    (void)state;
    begin();
    first = add(PM_OP_PUT, make_node(PM_FILE), PM_FILE, e.root, "a", 0, NULL);
    pm_journal_drop(e.c->db, first);
    second = add(PM_OP_PUT, make_node(PM_FILE), PM_FILE, e.root, "b", 0, NULL);
    assert_true(second > first);
    end();
}

static void a_restart_makes_active_ready_and_open_interrupted(void **state)
{
    struct pm_jentry j;
    int64_t          a, b;

    (void)state;
    begin();
    a = add(PM_OP_PUT, make_node(PM_FILE), PM_FILE, e.root, "a", 0, NULL);
    b = add(PM_OP_PUT, make_node(PM_FILE), PM_FILE, e.root, "b", 0, NULL);
    pm_db_run(e.c->db, "UPDATE j.entry SET state=?2 WHERE id=?1", "ii", a, (int64_t)PM_J_ACTIVE);
    pm_db_run(e.c->db, "UPDATE j.entry SET state=?2 WHERE id=?1", "ii", b, (int64_t)PM_J_OPEN);
    assert_int_equal(pm_journal_restart(e.c->db), 0);
    assert_int_equal(pm_journal_get(e.c->db, a, &j), 0);
    assert_int_equal(j.state, PM_J_READY);
    assert_int_equal(pm_journal_get(e.c->db, b, &j), 0);
    assert_int_equal(j.state, PM_J_INTERRUPTED);
    end();
}

/* Each breach of an invariant is seen, and by its number. */
static void a_broken_journal_is_told_by_its_invariant(void **state)
{
    static const struct {
        int         number;
        const char *sql;
    } breach[] = {
        {1, "INSERT INTO j.dep(entry, needs) SELECT max(id), 999999 FROM j.entry"},
        {2, "INSERT INTO j.dep(entry, needs) SELECT min(id), max(id) FROM j.entry UNION"
            " SELECT max(id), min(id) FROM j.entry"},
        {3, "INSERT INTO j.place(parent, name, entry, node) VALUES(1, 'x', 999999, NULL)"},
        {3, "UPDATE j.place SET node=999999 WHERE node IS NOT NULL"},
        {4, "INSERT INTO j.place(parent, name, entry, node) SELECT parent, 'other', entry, node FROM"
            " j.place WHERE node IS NOT NULL"},
        {5, "UPDATE j.entry SET content=NULL WHERE op=1"},
        {5, "UPDATE j.entry SET content=1 WHERE op<>1"},
        {6, "INSERT INTO j.entry SELECT id+1, op, node, account, kind, parent, name, oparent, oname,"
            " rid, base, content, size, state, step, not_before, tries, error, created, gen, replaces,"
            " sending, source, era, copying, sent FROM j.entry WHERE op=1"},
        {7, "UPDATE j.entry SET source=999999 WHERE op=1"},
        {8, "UPDATE j.entry SET name='elsewhere' WHERE op=1"},
        {8, "UPDATE j.place SET node=NULL"},
        {9, "UPDATE j.entry SET account=61"},
        {10, "UPDATE j.entry SET state=7"},
        {10, "UPDATE j.entry SET state=6 WHERE op=2"},
        {10, "UPDATE j.entry SET state=9"},
        {11, "UPDATE j.entry SET oparent=1, oname='x' WHERE op=1"},
        {12, "UPDATE j.entry SET content=999999 WHERE op=1"},
        {12, "UPDATE content SET node=999999"},
        {13, "UPDATE j.meta SET value=0 WHERE key='last_entry'"},
        {14, "UPDATE j.entry SET op=5 WHERE op=2"},
        {14, "INSERT INTO j.draft(node, account, changed) VALUES(999999, 1, 0)"},
        {15, "UPDATE j.entry SET state=8 WHERE op=1"},
        {15, "UPDATE j.entry SET sent='a' WHERE op=1"},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(breach); i++) {
        int found;

        begin();
        add(PM_OP_PUT, make_node(PM_FILE), PM_FILE, e.root, "f", 0, NULL);
        add(PM_OP_MKDIR, make_node(PM_FOLDER), PM_FOLDER, e.root, "d", 0, NULL);
        assert_int_equal(pm_journal_check(e.c->db), 0);
        assert_int_equal(pm_db_run(e.c->db, breach[i].sql, ""), 0);
        found = pm_journal_check(e.c->db);
        pm_db_end(e.c->db, -ECANCELED);
        if (found != breach[i].number)
            fail_msg("%s: %d, not %d", breach[i].sql, found, breach[i].number);
    }
}

static void what_waits_is_not_chosen(void **state)
{
    struct pm_jentry j;
    pm_node          folder;
    int64_t          mkdir, put, wake;

    (void)state;
    begin();
    folder = make_node(PM_FOLDER);
    mkdir = add(PM_OP_MKDIR, folder, PM_FOLDER, e.root, "d", 0, NULL);
    put = add(PM_OP_PUT, make_node(PM_FILE), PM_FILE, folder, "f", 0, NULL);
    assert_int_equal(pm_journal_next(e.c->db, 0, true, &j, &wake), 0);
    assert_int_equal(j.id, mkdir);
    assert_int_equal(pm_journal_next(e.c->db, 0, true, &j, &wake), -ENOENT);
    assert_int_equal(wake, PM_J_HELD);
    pm_journal_finish(e.c->db, mkdir);
    assert_int_equal(pm_journal_next(e.c->db, 0, false, &j, &wake), -ENOENT);
    assert_int_equal(pm_journal_next(e.c->db, (uint64_t)1 << j.account, true, &j, &wake), -ENOENT);
    assert_int_equal(pm_journal_next(e.c->db, 0, true, &j, &wake), 0);
    assert_int_equal(j.id, put);
    end();
}

static void set_turn(int64_t entry, int64_t not_before)
{
    pm_db_run(e.c->db, "UPDATE j.entry SET not_before=?2 WHERE id=?1", "ii", entry, not_before);
}

static void the_longest_due_goes_first_and_uploads_only_where_there_is_room(void **state)
{
    struct pm_jentry j;
    int64_t          wake, late, early, mkdir, soon = pm_wall_ms() + 100000;

    (void)state;
    begin();
    late = add(PM_OP_PUT, make_node(PM_FILE), PM_FILE, e.root, "a", 0, NULL);
    early = add(PM_OP_PUT, make_node(PM_FILE), PM_FILE, e.root, "b", 0, NULL);
    mkdir = add(PM_OP_MKDIR, make_node(PM_FOLDER), PM_FOLDER, e.root, "c", 0, NULL);
    set_turn(late, 3);
    set_turn(early, 1);
    set_turn(mkdir, 2);
    assert_int_equal(pm_journal_next(e.c->db, 0, true, &j, &wake), 0);
    assert_int_equal(j.id, early);
    assert_int_equal(pm_journal_next(e.c->db, 0, false, &j, &wake), 0);
    assert_int_equal(j.id, mkdir);
    assert_int_equal(pm_journal_next(e.c->db, 0, false, &j, &wake), -ENOENT);
    assert_int_equal(wake, PM_J_HELD);
    set_turn(late, soon);
    assert_int_equal(pm_journal_next(e.c->db, 0, true, &j, &wake), -ENOENT);
    assert_int_equal(wake, soon);
    set_turn(late, PM_J_HELD);
    assert_int_equal(pm_journal_next(e.c->db, 0, true, &j, &wake), -ENOENT);
    assert_int_equal(wake, PM_J_HELD);
    end();
}

/* --- a model of a service and of what the user sees, entries made by hand: folders' renames too */

#define MODEL_MAX 64

/* One node. `u`: what the user sees; `s`: what the service has. parent 0: it is not there. */
struct thing {
    pm_node node;
    bool    folder;
    pm_node u_parent, s_parent;
    char    u_name[4], s_name[4];
};

static struct thing things[MODEL_MAX];
static size_t       nthings;
static pm_node      top; /* all happens in it */

static struct thing *by_node(pm_node node)
{
    for (size_t i = 0; i < nthings; i++)
        if (things[i].node == node)
            return &things[i];
    return NULL;
}

static struct thing *seen_at(pm_node parent, const char *name)
{
    for (size_t i = 0; i < nthings; i++)
        if (things[i].u_parent == parent && !strcmp(things[i].u_name, name))
            return &things[i];
    return NULL;
}

static struct thing *served_at(pm_node parent, const char *name)
{
    for (size_t i = 0; i < nthings; i++)
        if (things[i].s_parent == parent && !strcmp(things[i].s_name, name))
            return &things[i];
    return NULL;
}

static bool is_empty(const struct thing *t, bool service)
{
    for (size_t i = 0; i < nthings; i++)
        if ((service ? things[i].s_parent : things[i].u_parent) == t->node)
            return false;
    return true;
}

static bool seen_below(pm_node node, pm_node above)
{
    while (node != top && node != above) {
        const struct thing *t = by_node(node);

        if (!t || !t->u_parent)
            return false;
        node = t->u_parent;
    }
    return node == above;
}

static pm_node random_folder(void)
{
    for (int i = 0; i < 8; i++) {
        const struct thing *t = nthings ? &things[(size_t)random() % nthings] : NULL;

        if (t && t->folder && t->u_parent)
            return t->node;
    }
    return top;
}

static struct thing *random_seen(void)
{
    for (int i = 0; i < 8 && nthings; i++) {
        struct thing *t = &things[(size_t)random() % nthings];

        if (t->u_parent)
            return t;
    }
    return NULL;
}

static void random_name(char out[4])
{
    snprintf(out, 4, "%c", 'a' + (int)(random() % 4));
}

static void do_make(void)
{
    struct thing *t;
    pm_node       parent = random_folder();
    char          name[4];

    random_name(name);
    if (nthings == MODEL_MAX || seen_at(parent, name))
        return;
    t = &things[nthings++];
    *t = (struct thing){.folder = random() % 2, .u_parent = parent};
    strcpy(t->u_name, name);
    t->node = make_node(t->folder ? PM_FOLDER : PM_FILE);
    add(t->folder ? PM_OP_MKDIR : PM_OP_PUT, t->node, t->folder ? PM_FOLDER : PM_FILE, parent, name,
        0, NULL);
}

static bool is_unsent(const struct thing *t, struct pm_jentry *j)
{
    return !t->s_parent &&
           !pm_journal_of(e.c->db, t->node, t->folder ? PM_OP_MKDIR : PM_OP_PUT, j);
}

static void do_remove(void)
{
    struct thing    *t = random_seen();
    struct pm_jentry j;

    if (!t || (t->folder && !is_empty(t, false)))
        return;
    if (is_unsent(t, &j) && !pm_journal_needed(e.c->db, j.id))
        pm_journal_drop(e.c->db, j.id);
    else
        add(PM_OP_REMOVE, t->node, t->folder ? PM_FOLDER : PM_FILE, t->u_parent, t->u_name, 0,
            NULL);
    t->u_parent = 0;
}

/* An unsent one gets its new place in its own entry; else, or where that would deadlock, a RENAME
 * comes after it. */
static void do_rename(struct thing *t, pm_node parent, const char *name)
{
    struct pm_jentry j;

    if (!t || seen_at(parent, name) || (t->folder && seen_below(parent, t->node)))
        return;
    if (!is_unsent(t, &j) ||
        pm_db_int(e.c->db, 0, "SELECT 1 FROM j.entry WHERE node=?1 AND op=4", "i",
                  (int64_t)t->node) ||
        pm_journal_move(e.c->db, &j, parent, name))
        add(PM_OP_RENAME, t->node, t->folder ? PM_FOLDER : PM_FILE, parent, name, t->u_parent,
            t->u_name);
    t->u_parent = parent;
    strcpy(t->u_name, name);
}

static void do_random_rename(void)
{
    char name[4];

    random_name(name);
    do_rename(random_seen(), random_folder(), name);
}

static void do_swap(void)
{
    struct thing *a = random_seen();
    struct thing *b = random_seen();
    pm_node       a_parent, b_parent;
    char          a_name[4], b_name[4];

    if (!a || !b || a == b || seen_below(a->u_parent, b->node) || seen_below(b->u_parent, a->node) ||
        seen_at(top, "z"))
        return;
    a_parent = a->u_parent;
    b_parent = b->u_parent;
    strcpy(a_name, a->u_name);
    strcpy(b_name, b->u_name);
    do_rename(a, top, "z");
    do_rename(b, a_parent, a_name);
    do_rename(a, b_parent, b_name);
}

static void do_move_out_and_delete(void)
{
    struct thing *t = random_seen();
    char          name[4];

    if (!t || !t->folder)
        return;
    for (size_t i = 0; i < nthings; i++) {
        if (things[i].u_parent != t->node)
            continue;
        snprintf(name, sizeof(name), "%c%d", 'm', (int)(random() % 10));
        do_rename(&things[i], top, name);
    }
    if (is_empty(t, false)) {
        add(PM_OP_REMOVE, t->node, PM_FOLDER, t->u_parent, t->u_name, 0, NULL);
        t->u_parent = 0;
    }
}

static void do_one(void)
{
    switch (random() % 8) {
    case 0: case 1: case 2: do_make(); break;
    case 3: do_remove(); break;
    case 4: case 5: do_random_rename(); break;
    case 6: do_swap(); break;
    case 7: do_move_out_and_delete(); break;
    }
}

static bool service_has_folder(pm_node node)
{
    const struct thing *t = by_node(node);

    return node == top || (t && t->s_parent);
}

/* Carries an entry out on the model, asserting that it may be. */
static void carry_out(const struct pm_jentry *j)
{
    struct thing   *t = by_node(j->node);
    struct pm_entry now = {.kind = j->kind, .root = "", .id = "", .name = j->name, .path = "",
                           .target = "", .version = "v", .state = ""};
    char            rid[32];

    assert_non_null(t);
    snprintf(rid, sizeof(rid), "%llu", (unsigned long long)j->node);
    if (j->op == PM_OP_REMOVE) {
        if (t->s_parent) { /* else it never came there */
            assert_int_equal(t->s_parent, j->parent);
            assert_string_equal(t->s_name, j->name);
            assert_true(!t->folder || is_empty(t, true));
        }
        t->s_parent = 0;
        pm_journal_finish(e.c->db, j->id);
        pm_node_detach(e.c->db, j->node);
        return;
    }
    assert_true(service_has_folder(j->parent));
    assert_null(served_at(j->parent, j->name));
    if (j->op == PM_OP_RENAME) {
        assert_int_equal(t->s_parent, j->oparent);
        assert_string_equal(t->s_name, j->oname);
    } else {
        assert_int_equal(t->s_parent, 0);
    }
    t->s_parent = j->parent;
    snprintf(t->s_name, sizeof(t->s_name), "%.3s", j->name);
    assert_int_equal(pm_send_fold(e.c->db, j, &now, rid), 0);
    pm_journal_finish(e.c->db, j->id);
}

static bool carry_out_any(void)
{
    struct pm_jentry j;
    int64_t          wake;

    pm_db_run(e.c->db, "UPDATE j.entry SET not_before=(id*?1)%997", "i", (int64_t)random() % 997);
    if (pm_journal_next(e.c->db, 0, true, &j, &wake))
        return false;
    carry_out(&j);
    return true;
}

static void check_shown(void)
{
    for (size_t i = 0; i < nthings; i++) {
        const struct thing *t = &things[i];
        pm_node             parent;
        char                name[PM_NAME_MAX + 1];

        if (!t->u_parent) {
            assert_int_equal(pm_shown_place(e.c->db, t->node, &parent, name), -ENOENT);
            continue;
        }
        assert_int_equal(shown(t->u_parent, t->u_name), t->node);
        assert_int_equal(pm_shown_place(e.c->db, t->node, &parent, name), 0);
        assert_int_equal(parent, t->u_parent);
        assert_string_equal(name, t->u_name);
    }
}

static void one_round(unsigned seed)
{
    char name[16];

    srandom(seed);
    nthings = 0;
    snprintf(name, sizeof(name), "top%u", seed);
    pm_db_begin(e.c->db);
    top = listed_node(PM_FOLDER, e.root, name);
    for (int i = 0; i < 24; i++) {
        do_one();
        assert_int_equal(pm_journal_check(e.c->db), 0);
        check_shown();
        if (random() % 3 == 0) {
            carry_out_any();
            assert_int_equal(pm_journal_check(e.c->db), 0);
            check_shown();
        }
    }
    while (carry_out_any())
        assert_int_equal(pm_journal_check(e.c->db), 0);
    assert_int_equal(pm_db_int(e.c->db, 0, "SELECT count(*) FROM j.entry", ""), 0);
    for (size_t i = 0; i < nthings; i++) {
        assert_int_equal(things[i].s_parent, things[i].u_parent);
        if (things[i].u_parent)
            assert_string_equal(things[i].s_name, things[i].u_name);
    }
    pm_db_end(e.c->db, 0);
}

static unsigned rounds(unsigned n)
{
    const char *text = getenv("PM_UNIT_ROUNDS");

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    n /= 15;
#endif
    return text ? (unsigned)atoi(text) : n;
}

static void entries_in_any_allowed_order_are_legal_and_end_as_seen(void **state)
{
    const char *only = getenv("PM_UNIT_SEED");

    (void)state;
    if (only) {
        one_round((unsigned)atoi(only));
        return;
    }
    for (unsigned seed = 1; seed <= rounds(1500); seed++) {
        if (getenv("PM_UNIT_LOG"))
            print_message("seed %u\n", seed);
        one_round(seed);
    }
}

/* --- the same through the change layer and pm_send, on the memory backend */

#define DEPTH_PATH 128

/* What the user sees: paths below top; content of files by text, NULL for folders. */
static struct seen {
    char path[DEPTH_PATH]; /* "" : free */
    char text[16];
    bool folder;
} seen[48];

static struct seen *seen_path(const char *path)
{
    for (size_t i = 0; i < PM_COUNT(seen); i++)
        if (*seen[i].path && !strcmp(seen[i].path, path))
            return &seen[i];
    return NULL;
}

static bool has_below(const char *path)
{
    size_t len = strlen(path);

    for (size_t i = 0; i < PM_COUNT(seen); i++)
        if (!strncmp(seen[i].path, path, len) && seen[i].path[len] == '/')
            return true;
    return false;
}

static void random_path(bool there, char out[DEPTH_PATH])
{
    struct seen *s;

    for (int i = 0; there && i < 20; i++) {
        s = &seen[(size_t)random() % PM_COUNT(seen)];
        if (*s->path) {
            strcpy(out, s->path);
            return;
        }
    }
    strcpy(out, "");
    for (int i = 0; i < 20; i++) {
        s = &seen[(size_t)random() % PM_COUNT(seen)];
        if (*s->path && s->folder && strlen(s->path) < DEPTH_PATH / 2 && random() % 3) {
            strcpy(out, s->path);
            break;
        }
    }
    snprintf(out + strlen(out), 4, "/%c%s", 'a' + (int)(random() % 4), random() % 4 ? "" : "~");
}

/* The node of a path's folder; *name is its last part. */
static pm_node folder_of(const char *path, const char **name)
{
    PM_AUTO(free) char *dir = pm_asprintf("top%s", path);

    *name = strrchr(path, '/') + 1;
    *strrchr(dir, '/') = 0;
    return env_find(&e, dir);
}

static void set_seen(const char *path, bool folder, const char *text)
{
    struct seen *s = seen_path(path);

    for (size_t i = 0; !s && i < PM_COUNT(seen); i++)
        if (!*seen[i].path)
            s = &seen[i];
    if (!s)
        return;
    strcpy(s->path, path);
    s->folder = folder;
    strcpy(s->text, text);
}

static bool is_full(void)
{
    for (size_t i = 0; i < PM_COUNT(seen); i++)
        if (!*seen[i].path)
            return false;
    return true;
}

static char trace[65536];

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *fmt, ...)
{
    size_t  len = strlen(trace);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(trace + len, sizeof(trace) - len, fmt, ap);
    va_end(ap);
}

static void user_write(void)
{
    static int   serial;
    const char  *name;
    struct seen *s;
    char         path[DEPTH_PATH];
    char         text[16];
    pm_node      parent;

    random_path(random() % 3 == 0, path);
    s = seen_path(path);
    if ((s && s->folder) || (!s && is_full()))
        return;
    snprintf(text, sizeof(text), "%d", ++serial);
    parent = folder_of(path, &name);
    note("write %s %s\n", path, text);
    env_write(&e, parent, name, text);
    set_seen(path, false, text);
}

static void user_mkdir(void)
{
    const char    *name;
    char           path[DEPTH_PATH];
    struct pm_attr attr;
    pm_node        parent;
    int            err;

    random_path(false, path);
    if (is_full())
        return;
    parent = folder_of(path, &name);
    note("mkdir %s\n", path);
    err = pm_change_mkdir(e.c, parent, name, NULL, &attr);
    assert_int_equal(err, seen_path(path) ? -EEXIST : 0);
    if (!err)
        set_seen(path, true, "");
}

static void user_remove(void)
{
    const char  *name;
    char         path[DEPTH_PATH];
    struct seen *s;
    pm_node      parent;

    random_path(true, path);
    s = seen_path(path);
    if (!s)
        return;
    parent = folder_of(path, &name);
    note("remove %s\n", path);
    if (s->folder) {
        int err = pm_change_rmdir(e.c, parent, name, NULL);

        assert_int_equal(err, has_below(path) ? -ENOTEMPTY : 0);
        if (err)
            return;
    } else {
        assert_int_equal(pm_change_unlink(e.c, parent, name), 0);
    }
    *s->path = 0;
}

/* What the service cannot do is refused; everything else must work. */
static void user_rename(const char *from, const char *to)
{
    struct seen *s = seen_path(from);
    struct seen *t = seen_path(to);
    const char  *name;
    const char  *new_name;
    pm_node      parent, new_parent;
    size_t       len = strlen(from);
    bool         inside = !strncmp(from, to, len) && to[len] == '/';
    int          err;

    if (!s || s == t || strlen(to) > DEPTH_PATH / 2)
        return;
    parent = folder_of(from, &name);
    new_parent = folder_of(to, &new_name);
    if (!new_parent)
        return;
    note("rename %s %s", from, to);
    err = pm_change_rename(e.c, parent, name, new_parent, new_name, 0, NULL);
    note(" = %d\n", err);
    if (err == -EOPNOTSUPP)
        return;
    if (t && s->folder != t->folder) {
        assert_int_equal(err, s->folder ? -ENOTDIR : -EISDIR);
        return;
    }
    if (inside) {
        assert_int_equal(err, -EINVAL);
        return;
    }
    if (t && t->folder && has_below(to)) {
        assert_int_equal(err, -ENOTEMPTY);
        return;
    }
    assert_int_equal(err, 0);
    if (t)
        *t->path = 0;
    for (size_t i = 0; i < PM_COUNT(seen); i++) {
        char moved[2 * DEPTH_PATH];

        if (strncmp(seen[i].path, from, len) != 0 || (seen[i].path[len] && seen[i].path[len] != '/'))
            continue;
        snprintf(moved, sizeof(moved), "%s%s", to, seen[i].path + len);
        assert_true(strlen(moved) < DEPTH_PATH);
        strcpy(seen[i].path, moved);
    }
}

static void user_random_rename(void)
{
    char from[DEPTH_PATH];
    char to[DEPTH_PATH];

    random_path(true, from);
    random_path(random() % 3 == 0, to);
    if (seen_path(from))
        user_rename(from, to);
}

static void user_copy(void)
{
    char         from[DEPTH_PATH];
    char         to[DEPTH_PATH];
    const char  *name;
    struct seen *s;
    pm_node      parent;
    pm_node      node;

    random_path(true, from);
    random_path(false, to);
    s = seen_path(from);
    if (!s || s->folder || seen_path(to) || is_full())
        return;
    node = folder_of(from, &name);
    parent = folder_of(to, &name);
    note("copy %s %s\n", from, to);
    if (!parent)
        return;
    {
        PM_AUTO(free) char *path = pm_asprintf("top%s", from);

        node = env_find(&e, path);
    }
    env_copy(&e, node, parent, name);
    set_seen(to, false, s->text);
}

static void user_swap(void)
{
    char a[DEPTH_PATH];
    char b[DEPTH_PATH];

    random_path(true, a);
    random_path(true, b);
    if (!seen_path(a) || !seen_path(b) || seen_path(a)->folder || seen_path(b)->folder ||
        !strcmp(a, b) || seen_path("/z"))
        return;
    user_rename(a, "/z");
    if (!seen_path(a))
        user_rename(b, a);
    if (!seen_path(b) && seen_path("/z"))
        user_rename("/z", b);
}

static void user_op(void)
{
    switch (random() % 12) {
    case 10: case 11: user_copy(); break;
    case 0: case 1: case 2: user_write(); break;
    case 3: case 4: user_mkdir(); break;
    case 5: case 6: user_remove(); break;
    case 7: case 8: user_random_rename(); break;
    case 9: user_swap(); break;
    }
}

static void check_seen(void)
{
    for (size_t i = 0; i < PM_COUNT(seen); i++) {
        PM_AUTO(free) char *path = pm_asprintf("top%s", seen[i].path);
        PM_AUTO(free) char *back = NULL;
        PM_AUTO(free) char *full = pm_asprintf("/m/top%s", seen[i].path);
        pm_node             node;

        if (!*seen[i].path)
            continue;
        node = env_find(&e, path);
        if (!node)
            fail_msg("%s is not shown", seen[i].path);
        back = pm_tree_path(e.c, node);
        assert_non_null(back);
        assert_string_equal(back, full);
        if (!seen[i].folder)
            assert_string_equal(env_text(&e, node), seen[i].text);
    }
}

/* Counts what is shown below a folder. */
static bool count_one(void *arg, uint64_t cookie, const char *name, const struct pm_attr *attr)
{
    size_t *n = arg;

    (void)cookie;
    (void)name;
    ++*n;
    if (attr->kind == PM_FOLDER)
        assert_int_equal(pm_tree_read(e.c, attr->node, 0, count_one, n), 0);
    return true;
}

static void check_nothing_else_is_shown(void)
{
    size_t n = 0;
    size_t expected = 0;

    assert_int_equal(pm_tree_read(e.c, env_find(&e, "top"), 0, count_one, &n), 0);
    for (size_t i = 0; i < PM_COUNT(seen); i++)
        expected += *seen[i].path != 0;
    assert_int_equal(n, expected);
}

static void check_journal(void)
{
    int broken;

    pm_db_begin(e.c->db);
    broken = pm_journal_check(e.c->db);
    pm_db_end(e.c->db, 0);
    assert_int_equal(broken, 0);
}

static bool choose(struct pm_jentry *j)
{
    int64_t wake;
    int     err;

    pm_db_begin(e.c->db);
    pm_db_run(e.c->db, "UPDATE j.entry SET not_before=(id*?1)%997 WHERE state=2", "i",
              (int64_t)random() % 997);
    err = pm_journal_next(e.c->db, 0, true, j, &wake);
    pm_db_end(e.c->db, 0);
    return !err;
}

/* A write, or a removal, while it was being sent cancels it, as the queue would note. */
static void send_chosen(struct pm_jentry *j)
{
    static atomic_bool    cancel;
    atomic_uint_least64_t sent = 0;
    struct pm_ctx         ctx = {.prio = PM_BACKGROUND, .cancel = &cancel};
    struct pm_jentry      now;
    int                   err;

    note("send op=%d node=%llu %s", j->op, (unsigned long long)j->node, j->name);
    err = pm_send(e.c, j, &ctx, &sent);
    note(" = %d\n", err);
    if (!err)
        return;
    assert_int_equal(err, -ECANCELED);
    pm_db_begin(e.c->db);
    if (!pm_journal_get(e.c->db, j->id, &now)) {
        now.sending = false;
        if (now.state == PM_J_ACTIVE)
            now.state = PM_J_READY;
        pm_journal_update(e.c->db, &now);
    }
    pm_db_end(e.c->db, 0);
}

static void check_service(void)
{
    size_t n = 1;

    for (size_t i = 0; i < PM_COUNT(seen); i++) {
        PM_AUTO(free) char            *path = pm_asprintf("top%s", seen[i].path);
        PM_AUTO(free) struct pm_entry *object = NULL;

        if (!*seen[i].path)
            continue;
        n++;
        object = env_object(&e, path);
        if (!object)
            fail_msg("%s is not on the service", path);
        assert_int_equal(object->kind == PM_FOLDER, seen[i].folder);
        if (!seen[i].folder)
            assert_string_equal(env_served(&e, path), seen[i].text);
    }
    assert_int_equal(pm_memory_count(e.b), n);
}

/* `overlap`: what the user does may come between choosing an entry and sending it. */
static void one_change_round(unsigned seed, bool overlap)
{
    struct pm_jentry j;

    srandom(seed);
    memset(seen, 0, sizeof(seen));
    trace[0] = 0;
    env_serve_folder(&e, "top");
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(env_list(&e, env_find(&e, "top")), 0);
    for (int i = 0; i < 16; i++) {
        bool sending = overlap && random() % 2 && choose(&j);

        user_op();
        check_seen();
        check_journal();
        if (sending)
            send_chosen(&j);
        else if (random() % 4 == 0 && choose(&j))
            send_chosen(&j);
        check_seen();
        check_journal();
    }
    check_nothing_else_is_shown();
    while (choose(&j)) {
        send_chosen(&j);
        check_journal();
    }
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry"), 0);
    check_seen();
    check_nothing_else_is_shown();
    check_service();
    pm_memory_drop(e.b, "top");
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(env_list(&e, e.root), 0);
}

static bool quiet_assert(unsigned seed, bool overlap)
{
    if (getenv("PM_UNIT_LOG"))
        print_message("seed %u\n", seed);
    one_change_round(seed, overlap);
    return true;
}

static void run_change_rounds(bool overlap, unsigned n)
{
    const char *only = getenv("PM_UNIT_SEED");

    if (only) {
        quiet_assert((unsigned)atoi(only), overlap);
        return;
    }
    for (unsigned seed = 1; seed <= n; seed++)
        quiet_assert(seed, overlap);
}

static void what_a_user_does_ends_on_the_service_as_seen(void **state)
{
    (void)state;
    run_change_rounds(false, rounds(400));
}

static void what_a_user_does_while_it_is_sent_ends_as_seen(void **state)
{
    (void)state;
    run_change_rounds(true, rounds(400));
}

static int show_trace(void **state)
{
    if (getenv("PM_UNIT_SEED"))
        print_message("%s", trace);
    return teardown(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_swap_of_two_names_goes_through_the_third),
        TEST(a_parents_rename_waits_for_what_is_pending_below),
        TEST(a_folders_removal_waits_for_what_was_moved_out),
        TEST(a_new_file_waits_for_the_removal_of_the_old),
        TEST(a_removal_waits_for_uploads_elsewhere_that_may_be_of_its_content),
        TEST(a_dropped_entrys_needs_are_inherited),
        TEST(an_unsent_entry_moves_with_what_waits_for_it),
        TEST(a_deadlocking_move_is_refused_and_changes_nothing),
        TEST(ids_of_ended_entries_are_not_used_again),
        TEST(a_restart_makes_active_ready_and_open_interrupted),
        TEST(a_broken_journal_is_told_by_its_invariant),
        TEST(what_waits_is_not_chosen),
        TEST(the_longest_due_goes_first_and_uploads_only_where_there_is_room),
        TEST(entries_in_any_allowed_order_are_legal_and_end_as_seen),
        cmocka_unit_test_setup_teardown(what_a_user_does_ends_on_the_service_as_seen, setup,
                                        show_trace),
        cmocka_unit_test_setup_teardown(what_a_user_does_while_it_is_sent_ends_as_seen, setup,
                                        show_trace),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
