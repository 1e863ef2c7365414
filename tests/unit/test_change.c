/* Local changes: what they answer, and what becomes of them on the service. */
#include "tests/unit/cache_env.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct env     e;
static struct pm_attr attr;

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

static void reopen_with(size_t naccounts, bool read_only)
{
    env_stop(&e);
    e.conf.naccounts = naccounts;
    e.accounts[0].read_only = read_only;
    env_open(&e);
}

/* A folder "d" and a file "f" that the service has. */
static void serve_some(pm_node *folder, pm_node *file)
{
    env_serve_folder(&e, "d");
    env_serve(&e, "f", "old");
    assert_int_equal(env_list(&e, e.root), 0);
    *folder = env_find(&e, "d");
    *file = env_find(&e, "f");
    assert_int_equal(env_list(&e, *folder), 0);
}

static int create(pm_node parent, const char *name)
{
    return pm_change_create(e.c, parent, name, NULL, &attr);
}

static int make_folder(pm_node parent, const char *name)
{
    return pm_change_mkdir(e.c, parent, name, NULL, &attr);
}

static int rename_to(pm_node from, const char *name, pm_node to, const char *new_name)
{
    return pm_change_rename(e.c, from, name, to, new_name, 0, NULL);
}

/* --- what is refused */

static void what_is_there_cannot_be_made(void **state)
{
    pm_node d, f;

    (void)state;
    serve_some(&d, &f);
    assert_int_equal(create(e.root, "f"), -EEXIST);
    assert_int_equal(create(e.root, "d"), -EEXIST);
    assert_int_equal(make_folder(e.root, "f"), -EEXIST);
    assert_int_equal(make_folder(e.root, "d"), -EEXIST);
    assert_int_equal(pm_change_rename(e.c, e.root, "f", e.root, "d", RENAME_NOREPLACE, NULL),
                     -EEXIST);
}

static void what_is_not_there_cannot_be_removed_or_renamed(void **state)
{
    pm_node d, f;

    (void)state;
    serve_some(&d, &f);
    assert_int_equal(pm_change_unlink(e.c, e.root, "x"), -ENOENT);
    assert_int_equal(pm_change_rmdir(e.c, e.root, "x", NULL), -ENOENT);
    assert_int_equal(rename_to(e.root, "x", d, "y"), -ENOENT);
    assert_int_equal(pm_tree_lookup(e.c, e.root, "x", NULL, &attr), -ENOENT);
}

static void files_are_no_folders_and_folders_no_files(void **state)
{
    pm_node d, f, local;

    (void)state;
    serve_some(&d, &f);
    local = env_write(&e, e.root, "local", "x");
    assert_int_equal(create(f, "x"), -ENOTDIR);
    assert_int_equal(make_folder(local, "x"), -ENOTDIR);
    assert_int_equal(pm_change_rmdir(e.c, e.root, "f", NULL), -ENOTDIR);
    assert_int_equal(pm_change_unlink(e.c, e.root, "d"), -EISDIR);
    assert_int_equal(rename_to(e.root, "local", e.root, "d"), -EISDIR);
    env_mkdir(&e, e.root, "ld");
    assert_int_equal(rename_to(e.root, "ld", e.root, "f"), -ENOTDIR);
    assert_int_equal(pm_tree_lookup(e.c, f, "x", NULL, &attr), -ENOTDIR);
    struct pm_file *file;
    assert_int_equal(pm_file_open(e.c, d, O_RDONLY, &file), -EISDIR);
}

static void a_folder_with_something_in_it_stays(void **state)
{
    pm_node d, f;

    (void)state;
    serve_some(&d, &f);
    env_write(&e, d, "in", "x");
    assert_int_equal(pm_change_rmdir(e.c, e.root, "d", NULL), -ENOTEMPTY);
    env_mkdir(&e, e.root, "ld");
    assert_int_equal(rename_to(e.root, "ld", e.root, "d"), -ENOTEMPTY);
    assert_int_equal(pm_change_unlink(e.c, d, "in"), 0);
    assert_int_equal(pm_change_rmdir(e.c, e.root, "d", NULL), 0);
}

static void an_unknown_folder_must_be_listed_before_it_is_removed(void **state)
{
    struct env_waiter w;

    (void)state;
    env_serve_folder(&e, "d");
    env_serve(&e, "d/in", "x");
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(create(env_find(&e, "d"), "x"), -EAGAIN);
    env_waiter_init(&w);
    assert_int_equal(pm_change_rmdir(e.c, e.root, "d", &w.w), -EINPROGRESS);
    assert_true(env_waiter_wait(&w, 30000));
    assert_int_equal(pm_change_rmdir(e.c, e.root, "d", &w.w), -ENOTEMPTY);
}

static void fixed_places_stay(void **state)
{
    (void)state;
    assert_int_equal(create(PM_NODE_ROOT, "x"), -EPERM);
    assert_int_equal(make_folder(PM_NODE_ROOT, "x"), -EPERM);
    assert_int_equal(pm_change_unlink(e.c, PM_NODE_ROOT, "m"), -EPERM);
    assert_int_equal(pm_change_rmdir(e.c, PM_NODE_ROOT, "m", NULL), -EBUSY);
    assert_int_equal(rename_to(PM_NODE_ROOT, "m", PM_NODE_ROOT, "m2"), -EBUSY);
    assert_int_equal(pm_tree_getattr(e.c, e.root, &attr), 0);
    assert_true(attr.fixed);
}

static void a_read_only_account_changes_nothing(void **state)
{
    pm_node         d, f;
    struct pm_file *file;

    (void)state;
    reopen_with(1, true);
    serve_some(&d, &f);
    assert_int_equal(create(e.root, "x"), -EROFS);
    assert_int_equal(make_folder(d, "x"), -EROFS);
    assert_int_equal(pm_change_unlink(e.c, e.root, "f"), -EROFS);
    assert_int_equal(pm_change_rmdir(e.c, e.root, "d", NULL), -EROFS);
    assert_int_equal(rename_to(e.root, "f", d, "f"), -EROFS);
    assert_int_equal(pm_file_open(e.c, f, O_RDWR, &file), -EROFS);
    assert_int_equal(pm_file_open(e.c, f, O_RDONLY | O_TRUNC, &file), -EROFS);
    assert_int_equal(pm_change_size(e.c, f, 0, NULL), -EROFS);
    assert_int_equal(pm_tree_getattr(e.c, f, &attr), 0);
    assert_true(attr.read_only);
    assert_string_equal(env_text(&e, f), "old");
}

static void nothing_moves_between_accounts(void **state)
{
    (void)state;
    reopen_with(2, false);
    env_write(&e, e.root, "x", "x");
    assert_int_equal(rename_to(e.root, "x", e.root2, "x"), -EXDEV);
    assert_int_equal(rename_to(e.root, "x", PM_NODE_ROOT, "x"), -EXDEV);
    assert_string_equal(env_names(&e, e.root), "x");
    assert_string_equal(env_names(&e, e.root2), "");
}

static void bad_names_are_refused(void **state)
{
    char name[300];

    (void)state;
    memset(name, 'x', sizeof(name));
    name[256] = 0;
    env_write(&e, e.root, "f", "x");
    assert_int_equal(create(e.root, name), -ENAMETOOLONG);
    assert_int_equal(make_folder(e.root, name), -ENAMETOOLONG);
    assert_int_equal(rename_to(e.root, "f", e.root, name), -ENAMETOOLONG);
    assert_int_equal(create(e.root, "a\xff"), -EILSEQ);
    assert_int_equal(make_folder(e.root, "a\xff"), -EILSEQ);
    assert_int_equal(rename_to(e.root, "f", e.root, "\xff"), -EILSEQ);
    assert_int_equal(make_folder(e.root, ".Trash-1000"), -EPERM);
    name[255] = 0;
    assert_int_equal(create(e.root, name), 0);
}

static void unknown_flags_and_own_subfolders_are_invalid(void **state)
{
    pm_node a, b;

    (void)state;
    a = env_mkdir(&e, e.root, "a");
    b = env_mkdir(&e, a, "b");
    assert_int_equal(rename_to(e.root, "a", b, "a"), -EINVAL);
    assert_int_equal(rename_to(e.root, "a", a, "a"), -EINVAL);
    assert_int_equal(pm_change_rename(e.c, e.root, "a", e.root, "c", RENAME_EXCHANGE, NULL),
                     -EINVAL);
    assert_int_equal(rename_to(e.root, "a", e.root, "a"), 0);
}

/* --- what becomes of it */

static void a_local_file_over_a_remote_one_keeps_its_id(void **state)
{
    PM_AUTO(free) struct pm_entry *before = NULL;
    PM_AUTO(free) struct pm_entry *after = NULL;
    pm_node                        d, f;

    (void)state;
    serve_some(&d, &f);
    before = env_object(&e, "f");
    env_write(&e, e.root, ".f.Ab3dE9", "new");
    assert_int_equal(rename_to(e.root, ".f.Ab3dE9", e.root, "f"), 0);
    assert_string_equal(env_names(&e, e.root), "d f");
    assert_string_equal(env_text(&e, env_find(&e, "f")), "new");
    env_sync(&e);
    after = env_object(&e, "f");
    assert_string_equal(env_served(&e, "f"), "new");
    assert_string_equal(before->id, after->id);
    assert_string_not_equal(before->version, after->version);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_REMOVE), 0);
}

static void unlink_and_create_before_it_was_sent_is_an_update(void **state)
{
    PM_AUTO(free) struct pm_entry *before = NULL;
    PM_AUTO(free) struct pm_entry *after = NULL;
    pm_node                        d, f;

    (void)state;
    serve_some(&d, &f);
    before = env_object(&e, "f");
    assert_int_equal(pm_change_unlink(e.c, e.root, "f"), 0);
    assert_int_equal(env_find(&e, "f"), 0);
    env_write(&e, e.root, "f", "new");
    env_sync(&e);
    after = env_object(&e, "f");
    assert_string_equal(env_served(&e, "f"), "new");
    assert_string_equal(before->id, after->id);
}

static void temporary_names_wait_and_go_under_their_last_name(void **state)
{
    struct pm_jentry j;
    pm_node          node;

    (void)state;
    node = env_write(&e, e.root, "scan.e57.part", "x");
    pm_db_begin(e.c->db);
    assert_int_equal(pm_journal_of(e.c->db, node, PM_OP_PUT, &j), 0);
    pm_db_end(e.c->db, 0);
    assert_true(j.not_before > pm_wall_ms() + 9 * 60 * 1000);
    pm_queue_pause(e.c, false);
    usleep(50000);
    assert_int_equal(pm_memory_count(e.b), 0);
    assert_int_equal(rename_to(e.root, "scan.e57.part", e.root, "scan.e57"), 0);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "scan.e57");
}

static void litter_stays_local_even_in_a_sync(void **state)
{
    pm_node node;

    (void)state;
    node = env_write(&e, e.root, ".DS_Store", "x");
    env_sync(&e);
    assert_int_equal(pm_memory_count(e.b), 0);
    assert_string_equal(env_text(&e, node), "x");
    assert_int_equal(pm_change_unlink(e.c, e.root, ".DS_Store"), 0);
    assert_string_equal(env_names(&e, e.root), "");
    env_sync(&e);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry"), 0);
}

static void litter_that_gets_a_name_is_sent(void **state)
{
    (void)state;
    env_write(&e, e.root, "._a", "x");
    assert_int_equal(rename_to(e.root, "._a", e.root, "a"), 0);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "a");
}

static void a_local_file_that_is_removed_never_leaves(void **state)
{
    (void)state;
    env_write(&e, e.root, "a", "x");
    assert_int_equal(pm_change_unlink(e.c, e.root, "a"), 0);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry"), 0);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM content"), 0);
    env_sync(&e);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_BEGIN), 0);
}

static void mkdir_over_an_unsent_rmdir_keeps_the_folder(void **state)
{
    pm_node d, f;

    (void)state;
    serve_some(&d, &f);
    assert_int_equal(pm_change_rmdir(e.c, e.root, "d", NULL), 0);
    assert_int_equal(env_mkdir(&e, e.root, "d"), d);
    env_sync(&e);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_REMOVE), 0);
    assert_string_equal(env_served_names(&e, ""), "d f");
}

static void a_folder_moves_into_what_was_its_child(void **state)
{
    pm_node a, c;

    (void)state;
    a = env_mkdir(&e, e.root, "a");
    c = env_mkdir(&e, a, "c");
    assert_int_equal(rename_to(a, "c", e.root, "c"), 0);
    assert_int_equal(rename_to(e.root, "a", c, "a"), 0);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "c");
    assert_string_equal(env_served_names(&e, "c"), "a");
}

static void nothing_is_made_in_a_folder_that_is_gone(void **state)
{
    pm_node d, f;
    int     err;

    (void)state;
    serve_some(&d, &f);
    assert_int_equal(pm_memory_drop(e.b, "d"), 0);
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(env_find(&e, "d"), 0);
    err = create(d, "x");
    assert_true(err == -ENOENT || err == -ESTALE);
    err = make_folder(d, "x");
    assert_true(err == -ENOENT || err == -ESTALE);
}

static void a_folder_that_was_removed_here_takes_nothing(void **state)
{
    pm_node d, f;
    int     err;

    (void)state;
    serve_some(&d, &f);
    assert_int_equal(pm_change_rmdir(e.c, e.root, "d", NULL), 0);
    err = create(d, "x");
    assert_true(err == -ENOENT || err == -ESTALE);
}

static void a_file_over_one_whose_rename_is_pending(void **state)
{
    (void)state;
    env_serve(&e, "b", "b");
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(rename_to(e.root, "b", e.root, "a"), 0);
    env_write(&e, e.root, "c", "c");
    assert_int_equal(rename_to(e.root, "c", e.root, "a"), 0);
    assert_string_equal(env_names(&e, e.root), "a");
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "a");
    assert_string_equal(env_served(&e, "a"), "c");
}

static void a_renamed_folder_keeps_what_is_in_it(void **state)
{
    pm_node d, f;
    int     err;

    (void)state;
    serve_some(&d, &f);
    env_serve(&e, "d/in", "kept");
    assert_int_equal(env_list(&e, d), 0);
    err = rename_to(e.root, "d", e.root, "d2");
    if (err) {
        assert_int_equal(err, -EOPNOTSUPP);
        assert_string_equal(env_names(&e, e.root), "d f");
        return;
    }
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "d2 f");
    assert_string_equal(env_served_names(&e, "d2"), "in");
    assert_string_equal(env_served(&e, "d2/in"), "kept");
}

static void a_remote_file_is_renamed_by_copy_and_keeps_its_node(void **state)
{
    pm_node d, f;

    (void)state;
    serve_some(&d, &f);
    assert_string_equal(env_text(&e, f), "old");
    assert_int_equal(rename_to(e.root, "f", d, "g"), 0);
    assert_int_equal(env_find(&e, "d/g"), f);
    env_sync(&e);
    assert_string_equal(env_served_names(&e, ""), "d");
    assert_string_equal(env_served(&e, "d/g"), "old");
    assert_int_equal(env_find(&e, "d/g"), f);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_FETCH), 2); /* one was the test's own */
    assert_string_equal(env_text(&e, f), "old");
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_FETCH), 2);
}

static const char *error_of(pm_node node)
{
    static struct pm_info info;

    assert_int_equal(pm_info_node(e.c, node, &info), 0);
    return info.error;
}

static void what_is_known_to_be_shared_is_not_renamed(void **state)
{
    pm_node d, f;

    (void)state;
    serve_some(&d, &f);
    env_serve(&e, "d/in", "x");
    assert_int_equal(env_list(&e, d), 0);
    assert_int_equal(pm_memory_share(e.b, "f", PM_MEM_KNOWN), 0);
    assert_int_equal(rename_to(e.root, "f", d, "g"), -EPERM);
    assert_non_null(strstr(error_of(f), "shared"));
    assert_int_equal(pm_memory_share(e.b, "d/in", PM_MEM_KNOWN), 0);
    assert_int_equal(rename_to(e.root, "d", e.root, "d2"), -EPERM);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry"), 0);
    assert_string_equal(env_names(&e, e.root), "d f");
}

static void what_is_found_shared_when_it_is_sent_has_its_old_name_back(void **state)
{
    pm_node d, f;

    (void)state;
    serve_some(&d, &f);
    assert_int_equal(pm_memory_share(e.b, "f", PM_MEM_SHARED), 0);
    assert_int_equal(rename_to(e.root, "f", d, "g"), 0);
    env_sync(&e);
    assert_int_equal(env_find(&e, "f"), f);
    assert_string_equal(env_names(&e, d), "");
    assert_string_equal(env_served(&e, "f"), "old");
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_COPY), 0);
    assert_string_equal(error_of(f), "it is shared");
}

static void a_shared_file_is_not_renamed_over_another(void **state)
{
    pm_node d, f, g;

    (void)state;
    serve_some(&d, &f);
    env_serve(&e, "g", "other");
    assert_int_equal(env_list(&e, e.root), 0);
    g = env_find(&e, "g");
    assert_int_equal(pm_memory_share(e.b, "f", PM_MEM_SHARED), 0);
    assert_int_equal(rename_to(e.root, "f", e.root, "g"), 0);
    env_sync(&e);
    assert_int_equal(env_find(&e, "f"), f);
    assert_int_equal(env_find(&e, "g"), g);
    assert_string_equal(env_text(&e, g), "other");
    assert_string_equal(env_served(&e, "f"), "old");
    assert_string_equal(env_served(&e, "g"), "other");
    env_write(&e, e.root, "g", "written after"); /* and is a file like any other */
    env_sync(&e);
    assert_string_equal(env_served(&e, "g"), "written after");
}

static void a_folder_with_something_shared_in_it_has_its_old_name_back(void **state)
{
    pm_node d, f;

    (void)state;
    serve_some(&d, &f);
    env_serve(&e, "d/a", "x");
    env_serve_folder(&e, "d/sub");
    env_serve(&e, "d/sub/b", "y");
    assert_int_equal(pm_memory_share(e.b, "d/sub/b", PM_MEM_SHARED), 0);
    assert_int_equal(rename_to(e.root, "d", e.root, "d2"), 0);
    env_sync(&e);
    assert_int_equal(env_find(&e, "d"), d);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_COPY), 0);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_MKDIR), 0);
    assert_string_equal(error_of(d), "sub: b: it is shared");
    assert_string_equal(env_served_names(&e, ""), "d f");
}

static void a_backup_over_an_older_backup_leaves_the_object_its_name(void **state)
{
    struct pm_entry *before, *after;
    pm_node          d, f;

    (void)state;
    serve_some(&d, &f);
    env_serve(&e, "f~", "older");
    assert_int_equal(env_list(&e, e.root), 0);
    before = env_object(&e, "f");
    assert_int_equal(rename_to(e.root, "f", e.root, "f~"), 0);
    env_write(&e, e.root, "f", "new");
    assert_string_equal(env_text(&e, env_find(&e, "f~")), "old");
    env_set_due(&e);
    env_sync(&e);
    after = env_object(&e, "f");
    assert_string_equal(after->id, before->id);
    assert_string_equal(env_served(&e, "f"), "new");
    assert_string_equal(env_served(&e, "f~"), "old");
    assert_string_equal(env_served_names(&e, ""), "d f f~");
    free(before);
    free(after);
}

static void a_shared_file_may_have_its_backup(void **state)
{
    pm_node d, f;

    (void)state;
    serve_some(&d, &f);
    assert_int_equal(pm_memory_share(e.b, "f", PM_MEM_KNOWN), 0);
    assert_int_equal(rename_to(e.root, "f", e.root, "f~"), 0);
    env_write(&e, e.root, "f", "new");
    env_set_due(&e);
    env_sync(&e);
    assert_string_equal(env_served(&e, "f"), "new");
    assert_string_equal(env_served(&e, "f~"), "old");
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_REMOVE), 0);
}

static void there_and_back_sends_nothing(void **state)
{
    pm_node d, f;

    (void)state;
    serve_some(&d, &f);
    assert_int_equal(rename_to(e.root, "f", d, "g"), 0);
    assert_int_equal(rename_to(d, "g", e.root, "f"), 0);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry"), 0);
    assert_string_equal(env_names(&e, e.root), "d f");
    assert_string_equal(env_names(&e, d), "");
}

static void attributes_and_times_stay_with_the_node(void **state)
{
    struct pm_attr to = {.mode = 0600, .uid = 7, .gid = 8, .mtime_ns = 123456789012345678,
                         .atime_ns = 5};
    pm_node        node;

    (void)state;
    node = env_write(&e, e.root, "a", "x");
    assert_int_equal(pm_change_attr(e.c, node, PM_SET_MODE | PM_SET_UID | PM_SET_GID |
                                                   PM_SET_MTIME | PM_SET_ATIME, &to), 0);
    assert_int_equal(rename_to(e.root, "a", e.root, "b"), 0);
    env_sync(&e);
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(pm_tree_getattr(e.c, node, &attr), 0);
    assert_int_equal(attr.mode, 0600);
    assert_int_equal(attr.uid, 7);
    assert_int_equal(attr.gid, 8);
    assert_int_equal(attr.mtime_ns, to.mtime_ns);
    assert_int_equal(attr.atime_ns, 5);
}

static void extended_attributes_come_back(void **state)
{
    char    buf[64];
    pm_node node;

    (void)state;
    node = env_write(&e, e.root, "a", "x");
    assert_int_equal(pm_xattr_get(e.c, node, "user.a", buf, 64), -ENODATA);
    assert_int_equal(pm_xattr_set(e.c, node, "user.a", "1\0002", 3, 0), 0);
    assert_int_equal(pm_xattr_set(e.c, node, "user.b", "", 0, 0), 0);
    assert_int_equal(pm_xattr_set(e.c, node, "user.a", "x", 1, 1 /* XATTR_CREATE */), -EEXIST);
    assert_int_equal(pm_xattr_set(e.c, node, "user.c", "x", 1, 2 /* XATTR_REPLACE */), -ENODATA);
    assert_int_equal(pm_xattr_get(e.c, node, "user.a", buf, 2), -ERANGE);
    assert_int_equal(pm_xattr_get(e.c, node, "user.a", NULL, 0), 3);
    assert_int_equal(pm_xattr_get(e.c, node, "user.a", buf, 64), 3);
    assert_memory_equal(buf, "1\0002", 3);
    assert_int_equal(pm_xattr_get(e.c, node, "user.b", buf, 64), 0);
    assert_int_equal(pm_xattr_list(e.c, node, buf, 64), 14);
    assert_int_equal(pm_xattr_remove(e.c, node, "user.a"), 0);
    assert_int_equal(pm_xattr_remove(e.c, node, "user.a"), -ENODATA);
}

static void a_backup_in_a_folder_that_was_renamed_makes_room(void **state)
{
    pm_node d, f;

    (void)state;
    serve_some(&d, &f);
    env_write(&e, d, "f", "one");
    assert_int_equal(rename_to(e.root, "d", e.root, "x"), 0);
    assert_int_equal(rename_to(d, "f", d, "f~"), 0);
    env_write(&e, d, "f", "two");
    env_sync(&e);
    assert_string_equal(env_served_names(&e, "x"), "f f~");
    assert_string_equal(env_served(&e, "x/f"), "two");
    assert_string_equal(env_served(&e, "x/f~"), "one");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_there_cannot_be_made),
        TEST(what_is_not_there_cannot_be_removed_or_renamed),
        TEST(files_are_no_folders_and_folders_no_files),
        TEST(a_folder_with_something_in_it_stays),
        TEST(an_unknown_folder_must_be_listed_before_it_is_removed),
        TEST(fixed_places_stay),
        TEST(a_read_only_account_changes_nothing),
        TEST(nothing_moves_between_accounts),
        TEST(bad_names_are_refused),
        TEST(unknown_flags_and_own_subfolders_are_invalid),
        TEST(a_local_file_over_a_remote_one_keeps_its_id),
        TEST(unlink_and_create_before_it_was_sent_is_an_update),
        TEST(temporary_names_wait_and_go_under_their_last_name),
        TEST(litter_stays_local_even_in_a_sync),
        TEST(litter_that_gets_a_name_is_sent),
        TEST(a_local_file_that_is_removed_never_leaves),
        TEST(mkdir_over_an_unsent_rmdir_keeps_the_folder),
        TEST(a_folder_moves_into_what_was_its_child),
        TEST(nothing_is_made_in_a_folder_that_is_gone),
        TEST(a_folder_that_was_removed_here_takes_nothing),
        TEST(a_file_over_one_whose_rename_is_pending),
        TEST(a_renamed_folder_keeps_what_is_in_it),
        TEST(a_remote_file_is_renamed_by_copy_and_keeps_its_node),
        TEST(what_is_known_to_be_shared_is_not_renamed),
        TEST(what_is_found_shared_when_it_is_sent_has_its_old_name_back),
        TEST(a_shared_file_is_not_renamed_over_another),
        TEST(a_folder_with_something_shared_in_it_has_its_old_name_back),
        TEST(a_shared_file_may_have_its_backup),
        TEST(a_backup_over_an_older_backup_leaves_the_object_its_name),
        TEST(there_and_back_sends_nothing),
        TEST(attributes_and_times_stay_with_the_node),
        TEST(extended_attributes_come_back),
        TEST(a_backup_in_a_folder_that_was_renamed_makes_room),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
