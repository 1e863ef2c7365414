/* What a state folder knows of its accounts, and what an account that pauses leaves alone. */
#include "cache/identity.h"
#include "tests/unit/cache_env.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ALICE_1 "eyJhbGciOiJub25lIn0.eyJlbWFpbCI6ImFAYi5jIn0.b25l" /* {"email":"a@b.c"} */
#define ALICE_2 "eyJhbGciOiJub25lIn0.eyJlbWFpbCI6ImFAYi5jIn0.dHdv"
#define BOB     "eyJhbGciOiJub25lIn0.eyJlbWFpbCI6ImJAYi5jIn0.b25l" /* {"email":"b@b.c"} */

static struct pm_secret secrets[2];

/* Account `i` has this token from the next env_open on. */
static void give(struct env *e, int i, const char *token)
{
    secrets[i] = (struct pm_secret){(char *)"token", (char *)"", (char *)token};
    e->accounts[i].secrets = &secrets[i];
    e->accounts[i].nsecrets = 1;
}

static void start_with(struct env *e, const char *token)
{
    env_init(e);
    give(e, 0, token);
    env_open(e);
}

static bool is_row(const char *got, const char *want)
{
    return want ? got && !strcmp(got, want) : !got;
}

/* Has the account's row this hash of salt and token, and this claim? */
static bool row_is(struct env *e, const char *token, const char *claim)
{
    struct sqlite3_stmt *st;
    char                 hash[65] = "";
    char                *salted;
    bool                 yes = false;

    pm_db_begin(e->c->db);
    st = pm_db_query(e->c->db, "SELECT salt, hash, claim FROM j.account WHERE id=?1", "i",
                     (int64_t)e->c->accounts[0].id);
    if (pm_db_row(e->c->db, st)) {
        salted = pm_asprintf("%s%s", pm_col_text(st, 0), token);
        assert_non_null(salted);
        assert_int_equal(strlen(pm_col_text(st, 0)), 32);
        pm_digest_sha256_hex(salted, strlen(salted), hash);
        free(salted);
        yes = !strcmp(pm_col_text(st, 1), hash) &&
              is_row(pm_col_null(st, 2) ? NULL : pm_col_text(st, 2), claim);
        pm_db_reset(st);
    }
    pm_db_end(e->c->db, 0);
    return yes;
}

static enum pm_doubt doubt_of(struct env *e)
{
    return pm_backend_doubt(e->b, NULL, 0, NULL);
}

/* The same state with another token; the service is a new one, and has one file. */
static void reopen_with(struct env *e, const char *token)
{
    env_stop(e);
    give(e, 0, token);
    assert_int_equal(pm_cache_open(&e->conf, "/mnt", NULL, &e->c, (char[256]){0}, 256), 0);
    assert_int_equal(pm_tree_resolve(e->c, "m", &e->root), 0);
    e->b = e->c->accounts[0].backend;
    env_serve(e, "theirs", "another one's");
}

/* --- */

static void the_first_credential_is_remembered(void **state)
{
    struct env e;

    (void)state;
    start_with(&e, ALICE_1);
    assert_true(row_is(&e, ALICE_1, "a@b.c"));
    env_close(&e);
}

static void another_one_for_the_same_address_is_the_same_account(void **state)
{
    struct env e;

    (void)state;
    start_with(&e, ALICE_1);
    env_write(&e, e.root, "mine", "mine");
    env_sync(&e);
    reopen_with(&e, ALICE_2);
    assert_int_equal(env_list(&e, e.root), 0);
    assert_true(row_is(&e, ALICE_2, "a@b.c"));
    env_close(&e);
}

static void a_stranger_changes_nothing_that_is_known(void **state)
{
    struct env e;

    (void)state;
    start_with(&e, ALICE_1);
    for (int i = 0; i < 40; i++) { /* so that a stranger's object has none of these ids */
        char name[16];

        snprintf(name, sizeof(name), "f%02d", i);
        env_serve(&e, name, "x");
    }
    for (int i = 0; i < 39; i++) {
        char name[16];

        snprintf(name, sizeof(name), "f%02d", i);
        assert_int_equal(pm_memory_drop(e.b, name), 0);
    }
    assert_int_equal(env_list(&e, e.root), 0);
    assert_string_equal(env_names(&e, e.root), "f39");
    reopen_with(&e, BOB);
    for (int i = 0; i < 3; i++)
        assert_int_equal(env_list(&e, e.root), -EACCES);
    assert_int_equal(doubt_of(&e), PM_STRANGE);
    assert_string_equal(env_names(&e, e.root), "f39");
    assert_true(row_is(&e, ALICE_1, "a@b.c"));
    env_close(&e);
}

static void a_state_that_knows_no_object_takes_any(void **state)
{
    struct env e;

    (void)state;
    start_with(&e, ALICE_1);
    reopen_with(&e, BOB);
    assert_int_equal(env_list(&e, e.root), 0);
    assert_string_equal(env_names(&e, e.root), "theirs");
    assert_true(row_is(&e, BOB, "b@b.c"));
    env_close(&e);
}

static void what_waits_for_one_address_does_not_go_to_another(void **state)
{
    static const struct {
        const char   *token;
        enum pm_doubt doubt;
    } rows[] = {{BOB, PM_STRANGE}, {"opaque", PM_NO_DOUBT}, {ALICE_2, PM_NO_DOUBT}};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct env e;

        start_with(&e, ALICE_1);
        assert_int_equal(pm_queue_pause(e.c, true), 0);
        env_write(&e, e.root, "mine", "mine");
        reopen_with(&e, rows[i].token);
        assert_int_equal(env_list(&e, e.root), rows[i].doubt ? -EACCES : 0);
        assert_int_equal(doubt_of(&e), rows[i].doubt);
        env_close(&e);
    }
}

static void the_address_is_remembered_under_a_token_that_does_not_say(void **state)
{
    struct env e;

    (void)state;
    start_with(&e, ALICE_1);
    reopen_with(&e, "opaque");
    assert_int_equal(env_list(&e, e.root), 0);
    assert_true(row_is(&e, "opaque", "a@b.c"));
    env_close(&e);
}

static bool is_refused(void *arg)
{
    return doubt_of(arg) == PM_REFUSED;
}

static void what_waits_for_a_credential_costs_no_tries(void **state)
{
    struct env e;

    (void)state;
    start_with(&e, "good");
    pm_memory_set_token(e.b, "another");
    env_write(&e, e.root, "a", "a");
    env_mkdir(&e, e.root, "d");
    assert_true(env_until(is_refused, &e));
    usleep(1300000); /* longer than the first pause after a failure */
    assert_int_equal(pm_memory_refusals(e.b), 1);
    assert_int_equal(env_sql(&e, "SELECT count(*) FROM j.entry WHERE state=2 AND tries=0 AND error IS"
                                 " NULL AND not sending"),
                     2);
    assert_int_equal(pm_queue_sync(e.c, 0, 5000, NULL, NULL, NULL), -EIO); /* does not wait */
    pm_memory_set_token(e.b, "good");
    assert_int_equal(pm_account_retry(e.c, NULL), 0);
    env_sync(&e);
    assert_string_equal(env_served(&e, "a"), "a");
    env_close(&e);
}

static void other_accounts_go_on(void **state)
{
    struct env e;

    (void)state;
    env_init(&e);
    e.conf.naccounts = 2;
    give(&e, 0, "good");
    env_open(&e);
    pm_memory_set_token(e.b, "another");
    env_write(&e, e.root, "a", "a");
    assert_true(env_until(is_refused, &e));
    env_write(&e, e.root2, "b", "b");
    env_until_calls(&(struct env){.b = e.b2}, PM_MEM_FINISH, 1);
    assert_int_equal(pm_memory_calls(e.b, PM_MEM_BEGIN), 0);
    env_close(&e);
}

static void advice_names_the_account_only_where_that_helps(void **state)
{
    struct env            e;
    PM_AUTO(pm_buf) struct pm_buf b = {0};

    (void)state;
    start_with(&e, "good");
    assert_int_equal(pm_account_accept(e.c, "nobody", &b), -ENOENT);
    assert_int_equal(pm_account_accept(e.c, "m", &b), -EEXIST);
    assert_int_equal(pm_account_retry(e.c, &b), 0);
    assert_int_equal(b.len, 0);
    pm_memory_set_token(e.b, "another");
    assert_int_equal(env_list(&e, e.root), -EACCES);
    assert_int_equal(pm_account_retry(e.c, &b), -EACCES);
    assert_non_null(strstr(b.ptr, "account m: token refused: nobody knows this token;"));
    assert_null(strstr(b.ptr, "--same-account"));
    assert_null(strstr(b.ptr, "good"));
    assert_int_equal(pm_account_accept(e.c, "m", &b), -EACCES);
    env_close(&e);
}

static void an_account_keeps_its_state_under_a_new_name(void **state)
{
    struct env e;
    uint32_t   id;

    (void)state;
    env_start(&e);
    env_serve(&e, "mine", "x");
    id = e.c->accounts[0].id;
    env_stop(&e);
    e.accounts[0].name = (char *)"renamed";
    assert_int_equal(pm_cache_open(&e.conf, "/mnt", NULL, &e.c, (char[256]){0}, 256), 0);
    assert_int_equal(e.c->accounts[0].id, id);
    assert_int_equal(pm_tree_resolve(e.c, "renamed", &e.root2), 0);
    assert_int_equal(e.root2, e.root);
    env_close(&e);
}

static void a_new_account_does_not_get_the_state_of_one_that_keeps_its_name(void **state)
{
    struct env e;
    uint32_t   id;

    (void)state;
    env_start(&e);
    id = e.c->accounts[0].id;
    env_stop(&e);
    e.accounts[1].name = (char *)"m"; /* behind the new one */
    e.accounts[0].name = (char *)"new";
    e.conf.naccounts = 2;
    assert_int_equal(pm_cache_open(&e.conf, "/mnt", NULL, &e.c, (char[256]){0}, 256), 0);
    assert_int_equal(e.c->accounts[1].id, id);
    assert_int_not_equal(e.c->accounts[0].id, id);
    env_close(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_credential_is_remembered),
        cmocka_unit_test(another_one_for_the_same_address_is_the_same_account),
        cmocka_unit_test(a_stranger_changes_nothing_that_is_known),
        cmocka_unit_test(a_state_that_knows_no_object_takes_any),
        cmocka_unit_test(what_waits_for_one_address_does_not_go_to_another),
        cmocka_unit_test(the_address_is_remembered_under_a_token_that_does_not_say),
        cmocka_unit_test(what_waits_for_a_credential_costs_no_tries),
        cmocka_unit_test(other_accounts_go_on),
        cmocka_unit_test(advice_names_the_account_only_where_that_helps),
        cmocka_unit_test(an_account_keeps_its_state_under_a_new_name),
        cmocka_unit_test(a_new_account_does_not_get_the_state_of_one_that_keeps_its_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
