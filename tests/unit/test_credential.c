/* Whose a credential is, and what is sent before that is known. */
#include "backends/memory.h"
#include "backends/util.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ALICE "eyJhbGciOiJub25lIn0.eyJlbWFpbCI6ImFAYi5jIn0.c2ln" /* {"email":"a@b.c"} */

/* A gate by script, and what it was told. */
struct world {
    char                   dir[64], path[80];
    struct pm_secret       secret;
    struct pm_account_conf conf;
    struct pm_backend     *b;
    struct pm_ctx          ctx;
    pthread_mutex_t        lock;
    int                    same, accept; /* lock; what the gate answers */
    char                   known[64]; /* lock; the id that it knows */
    struct pm_fingerprint  asked, accepted; /* lock */
    unsigned               nasked, naccepted, nturned; /* lock */
};

static int same(void *arg, const struct pm_fingerprint *f)
{
    struct world *w = arg;

    PM_GUARD(&w->lock);
    w->asked = *f;
    w->nasked++;
    return *w->accepted.hash && !strcmp(w->accepted.hash, f->hash) ? 0 : w->same;
}

static bool knows(void *arg, const char *id)
{
    struct world *w = arg;

    PM_GUARD(&w->lock);
    return !strcmp(w->known, id);
}

static int accept_it(void *arg, const struct pm_fingerprint *f)
{
    struct world *w = arg;

    PM_GUARD(&w->lock);
    if (w->accept)
        return w->accept;
    w->accepted = *f;
    w->naccepted++;
    return 0;
}

static void turned(void *arg)
{
    struct world *w = arg;

    PM_GUARD(&w->lock);
    w->nturned++;
}

static void user_has(struct world *w, const char *token)
{
    int fd = open(w->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, token, strlen(token)), (ssize_t)strlen(token));
    close(fd);
}

/* The user has "one", the gate takes it as its own, the service has one file. */
static void up(struct world *w)
{
    struct pm_gate gate = {.salt = "0123", .same = same, .knows = knows, .accept = accept_it,
                           .turned = turned, .arg = w};

    memset(w, 0, sizeof(*w));
    pm_log_level(getenv("PM_UNIT_LOG") ? PM_DEBUG : PM_ERROR);
    pthread_mutex_init(&w->lock, NULL);
    strcpy(w->dir, "/tmp/pm-credential-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->path, sizeof(w->path), "%s/token", w->dir);
    w->secret = (struct pm_secret){(char *)"token", (char *)"file", w->path};
    w->conf = (struct pm_account_conf){.name = (char *)"a", .type = (char *)"memory",
                                       .endpoint = (char *)"memory:", .secrets = &w->secret,
                                       .nsecrets = 1};
    assert_int_equal(pm_backend_open(&w->conf, NULL, NULL, &w->b), 0);
    pm_backend_set_gate(w->b, &gate);
    assert_int_equal(pm_memory_set(w->b, "f", PM_FILE, "x", 1), 0);
    user_has(w, "one");
}

static void down(struct world *w)
{
    pm_backend_close(w->b);
    unlink(w->path);
    rmdir(w->dir);
    pthread_mutex_destroy(&w->lock);
}

static const struct pm_entry file = {.kind = PM_FILE, .root = "", .id = "", .name = "f", .path = "f",
                                     .target = "", .version = "", .state = ""};

/* Asks for the file; its id goes to `id`, if that is not NULL. */
static int ask(struct world *w, struct pm_ctx *ctx, char id[64])
{
    struct pm_entry *e = NULL;
    int              err = pm_backend_stat(w->b, ctx, &file, &e);

    if (!err && id)
        snprintf(id, 64, "%s", e->id);
    free(e);
    return err;
}

static int stat_file(struct world *w)
{
    return ask(w, &w->ctx, NULL);
}

static enum pm_doubt doubt_of(struct world *w)
{
    return pm_backend_doubt(w->b, NULL, 0, NULL);
}

static int check_now(struct world *w)
{
    return pm_backend_check(w->b, &w->ctx, true);
}

/* --- */

static void what_the_gate_recognises_is_used_without_a_list(void **state)
{
    struct world w;

    (void)state;
    up(&w);
    assert_int_equal(stat_file(&w), 0);
    assert_int_equal(stat_file(&w), 0);
    assert_int_equal(w.nasked, 1);
    assert_int_equal(w.naccepted, 1);
    assert_int_equal(pm_memory_calls(w.b, PM_MEM_LIST), 0);
    assert_int_equal(doubt_of(&w), PM_NO_DOUBT);
    down(&w);
}

static void what_is_kept_of_a_credential_is_salted(void **state)
{
    struct world w;
    char         plain[65], salted[65];

    (void)state;
    up(&w);
    user_has(&w, ALICE);
    pm_digest_sha256_hex(ALICE, strlen(ALICE), plain);
    pm_digest_sha256_hex("0123" ALICE, strlen("0123" ALICE), salted);
    assert_int_equal(stat_file(&w), 0);
    assert_string_equal(w.accepted.hash, salted);
    assert_string_not_equal(w.accepted.hash, plain);
    assert_string_equal(w.accepted.claim, "a@b.c");
    down(&w);
}

static void a_stranger_gets_one_list_and_nothing_else(void **state)
{
    struct world w;

    (void)state;
    up(&w);
    w.same = -EAGAIN;
    strcpy(w.known, "no such id");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(stat_file(&w), -EACCES);
        assert_string_equal(w.ctx.why, "token may be another account's");
    }
    assert_int_equal(pm_memory_calls(w.b, PM_MEM_LIST), 1);
    assert_int_equal(pm_memory_calls(w.b, PM_MEM_STAT), 0);
    assert_int_equal(w.naccepted, 0);
    assert_int_equal(w.nturned, 1);
    assert_int_equal(doubt_of(&w), PM_STRANGE);
    down(&w);
}

static void a_known_id_in_its_list_proves_it(void **state)
{
    struct world w;

    (void)state;
    up(&w);
    assert_int_equal(ask(&w, &w.ctx, w.known), 0);
    w.same = -EAGAIN;
    user_has(&w, "two");
    pm_memory_set_token(w.b, "two");
    assert_int_equal(stat_file(&w), 0);
    assert_int_equal(pm_memory_calls(w.b, PM_MEM_LIST), 1);
    assert_int_equal(w.naccepted, 2);
    down(&w);
}

static void a_proof_that_fails_decides_nothing(void **state)
{
    struct world w;

    (void)state;
    up(&w);
    assert_int_equal(ask(&w, &w.ctx, w.known), 0);
    pm_backend_close(w.b);
    assert_int_equal(pm_backend_open(&w.conf, NULL, NULL, &w.b), 0);
    pm_backend_set_gate(w.b, &(struct pm_gate){.same = same, .knows = knows, .accept = accept_it,
                                               .turned = turned, .arg = &w});
    assert_int_equal(pm_memory_set(w.b, "f", PM_FILE, "x", 1), 0);
    w.same = -EAGAIN;
    w.accepted = (struct pm_fingerprint){.claim = ""};
    for (int i = 0; i < 3; i++) {
        pm_memory_fault(w.b, PM_MEM_LIST, 1, -ENETUNREACH, false);
        assert_int_equal(stat_file(&w), -ENETUNREACH);
        assert_int_equal(doubt_of(&w), PM_NO_DOUBT);
    }
    assert_int_equal(pm_memory_calls(w.b, PM_MEM_STAT), 0);
    assert_int_equal(stat_file(&w), 0);
    assert_int_equal(pm_memory_calls(w.b, PM_MEM_LIST), 4);
    down(&w);
}

static void nothing_is_sent_if_the_gate_cannot_remember(void **state)
{
    struct world w;

    (void)state;
    up(&w);
    w.accept = -EIO;
    assert_int_equal(stat_file(&w), -EIO);
    assert_int_equal(pm_memory_calls(w.b, PM_MEM_STAT), 0);
    w.accept = 0;
    assert_int_equal(stat_file(&w), 0);
    down(&w);
}

static void a_refused_one_rests_until_it_is_looked_at(void **state)
{
    struct world w;

    (void)state;
    up(&w);
    assert_int_equal(stat_file(&w), 0);
    pm_memory_set_token(w.b, "two");
    for (int i = 0; i < 5; i++) {
        assert_int_equal(stat_file(&w), -EACCES);
        assert_string_equal(w.ctx.why, "token refused: nobody knows this token");
    }
    assert_int_equal(pm_memory_refusals(w.b), 1);
    assert_int_equal(doubt_of(&w), PM_REFUSED);
    assert_int_equal(pm_backend_check(w.b, &w.ctx, false), -EACCES); /* it is not time */
    assert_int_equal(pm_memory_refusals(w.b), 1);
    assert_int_equal(check_now(&w), -EACCES);
    assert_int_equal(pm_memory_refusals(w.b), 2);
    user_has(&w, "two");
    assert_int_equal(check_now(&w), 0);
    assert_int_equal(doubt_of(&w), PM_NO_DOUBT);
    assert_int_equal(stat_file(&w), 0);
    assert_int_equal(pm_memory_refusals(w.b), 2);
    assert_int_equal(w.nturned, 2);
    down(&w);
}

static void one_that_is_taken_again_is_used_again(void **state)
{
    struct world w;

    (void)state;
    up(&w);
    pm_memory_set_token(w.b, "two");
    assert_int_equal(stat_file(&w), -EACCES);
    pm_memory_set_token(w.b, "one");
    assert_int_equal(check_now(&w), 0);
    assert_int_equal(stat_file(&w), 0);
    down(&w);
}

/* Renewed as usual, it costs no list. */
static void a_refused_one_that_was_replaced_is_used_at_once(void **state)
{
    struct world w;

    (void)state;
    up(&w);
    assert_int_equal(stat_file(&w), 0);
    pm_memory_set_token(w.b, "two");
    user_has(&w, "two");
    assert_int_equal(stat_file(&w), 0);
    assert_int_equal(pm_memory_refusals(w.b), 1);
    assert_int_equal(pm_memory_calls(w.b, PM_MEM_LIST), 0);
    down(&w);
}

static void two_refused_ones_in_a_row_rest(void **state)
{
    struct world w;

    (void)state;
    up(&w);
    assert_int_equal(stat_file(&w), 0);
    pm_memory_set_token(w.b, "three");
    user_has(&w, "two");
    for (int i = 0; i < 3; i++)
        assert_int_equal(stat_file(&w), -EACCES);
    assert_int_equal(pm_memory_refusals(w.b), 2);
    assert_int_equal(doubt_of(&w), PM_REFUSED);
    down(&w);
}

static void a_stranger_that_the_user_knows_is_used(void **state)
{
    struct world w;

    (void)state;
    up(&w);
    assert_int_equal(pm_backend_accept(w.b), -ENOENT);
    w.same = -EAGAIN;
    assert_int_equal(stat_file(&w), -EACCES);
    assert_int_equal(pm_backend_accept(w.b), 0);
    assert_int_equal(doubt_of(&w), PM_NO_DOUBT);
    assert_int_equal(stat_file(&w), 0);
    assert_int_equal(pm_memory_calls(w.b, PM_MEM_LIST), 1);
    assert_int_equal(pm_backend_accept(w.b), -ENOENT);
    down(&w);
}

/* The user's word is for the one that was shown, not for one that came since. */
static void the_users_word_counts_for_that_stranger_only(void **state)
{
    struct world w;
    char         hash[65];

    (void)state;
    up(&w);
    w.same = -EAGAIN;
    assert_int_equal(stat_file(&w), -EACCES);
    strcpy(hash, w.asked.hash);
    user_has(&w, "two");
    pm_memory_fault(w.b, PM_MEM_LIST, 1, -ENETUNREACH, false);
    assert_int_equal(check_now(&w), -ENETUNREACH);
    assert_int_equal(doubt_of(&w), PM_STRANGE);
    assert_int_equal(pm_backend_accept(w.b), 0);
    assert_string_equal(w.accepted.hash, hash);
    assert_int_equal(stat_file(&w), -EACCES); /* "two" is a stranger, too */
    assert_int_equal(pm_memory_calls(w.b, PM_MEM_STAT), 0);
    down(&w);
}

static void one_that_cannot_be_got_is_got_later(void **state)
{
    struct world w;
    char         why[256];

    (void)state;
    up(&w);
    unlink(w.path);
    assert_int_equal(stat_file(&w), -EACCES);
    assert_int_equal(pm_backend_doubt(w.b, why, sizeof(why), NULL), PM_MISSING);
    assert_non_null(strstr(why, w.path));
    user_has(&w, "one");
    assert_int_equal(stat_file(&w), -EACCES); /* not yet */
    assert_int_equal(check_now(&w), 0);
    assert_int_equal(stat_file(&w), 0);
    down(&w);
}

static void *ask_once(void *arg)
{
    struct pm_ctx ctx = {.deadline_ms = pm_now_ms() + 30000};

    assert_int_equal(ask(arg, &ctx, NULL), 0);
    return NULL;
}

static void many_who_ask_prove_it_once(void **state)
{
    struct world w;
    pthread_t    threads[16];

    (void)state;
    up(&w);
    assert_int_equal(ask(&w, &w.ctx, w.known), 0);
    w.same = -EAGAIN;
    user_has(&w, "two");
    pm_memory_set_token(w.b, "two");
    pm_memory_delay(w.b, PM_MEM_LIST, 100);
    for (size_t i = 0; i < PM_COUNT(threads); i++)
        assert_int_equal(pm_thread_start(&threads[i], "ask", ask_once, &w), 0);
    for (size_t i = 0; i < PM_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(pm_memory_calls(w.b, PM_MEM_LIST), 1);
    down(&w);
}

static void *look(void *arg)
{
    struct world *w = arg;
    struct pm_ctx ctx = {.deadline_ms = pm_now_ms() + 2000};

    ask(w, &ctx, NULL);
    return NULL;
}

static void who_waits_for_a_proof_gives_up_in_time(void **state)
{
    struct world  w;
    pthread_t     thread;
    atomic_bool   stop = true;
    struct pm_ctx late = {.deadline_ms = pm_now_ms() + 200}, stopped = {.cancel = &stop};

    (void)state;
    up(&w);
    w.same = -EAGAIN;
    pm_memory_block(w.b, PM_MEM_LIST, true);
    assert_int_equal(pm_thread_start(&thread, "look", look, &w), 0);
    while (!pm_memory_calls(w.b, PM_MEM_LIST))
        usleep(1000);
    late.deadline_ms = pm_now_ms() + 200;
    assert_int_equal(ask(&w, &late, NULL), -ETIMEDOUT);
    assert_int_equal(ask(&w, &stopped, NULL), -ECANCELED);
    pm_memory_block(w.b, PM_MEM_LIST, false);
    pthread_join(thread, NULL);
    down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_gate_recognises_is_used_without_a_list),
        cmocka_unit_test(what_is_kept_of_a_credential_is_salted),
        cmocka_unit_test(a_stranger_gets_one_list_and_nothing_else),
        cmocka_unit_test(a_known_id_in_its_list_proves_it),
        cmocka_unit_test(a_proof_that_fails_decides_nothing),
        cmocka_unit_test(nothing_is_sent_if_the_gate_cannot_remember),
        cmocka_unit_test(a_refused_one_rests_until_it_is_looked_at),
        cmocka_unit_test(one_that_is_taken_again_is_used_again),
        cmocka_unit_test(a_refused_one_that_was_replaced_is_used_at_once),
        cmocka_unit_test(two_refused_ones_in_a_row_rest),
        cmocka_unit_test(a_stranger_that_the_user_knows_is_used),
        cmocka_unit_test(the_users_word_counts_for_that_stranger_only),
        cmocka_unit_test(one_that_cannot_be_got_is_got_later),
        cmocka_unit_test(many_who_ask_prove_it_once),
        cmocka_unit_test(who_waits_for_a_proof_gives_up_in_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
