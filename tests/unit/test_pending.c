/* libfuse is played by this file: a request is a number, its interrupt function is kept. */
#include "fs/caller.h"
#include "fs/pending.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { REQUESTS = 512 };

static struct fuse_ctx        context;
static fuse_interrupt_func_t  on_interrupt; /* the same for all */
static void                  *interrupt_arg;

const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
    (void)req;
    return &context;
}

void fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func, void *data)
{
    (void)req;
    on_interrupt = func;
    interrupt_arg = data;
}

/* One request as the tests see it. */
struct play {
    struct pm_pending p;
    ssize_t (*script)(struct play *y);
    _Atomic int      *attempts;
    _Atomic int      *answers;
    _Atomic ssize_t  *result;
};

static _Atomic int     attempts[REQUESTS], answers[REQUESTS];
static _Atomic ssize_t results[REQUESTS];

static ssize_t attempt(struct pm_pending *p)
{
    struct play *y = container_of(p, struct play, p);

    atomic_fetch_add(y->attempts, 1);
    return y->script(y);
}

static void reply(struct pm_pending *p, ssize_t res)
{
    struct play *y = container_of(p, struct play, p);

    atomic_store(y->result, res);
    atomic_fetch_add(y->answers, 1);
}

static const struct pm_pending_op bytes = { PM_WAIT_BYTES, attempt, reply };
static const struct pm_pending_op ever = { PM_WAIT_EVER, attempt, reply };

static struct play *play(struct pm_pendings *all, const struct pm_pending_op *op, uintptr_t i,
                         ssize_t (*script)(struct play *y))
{
    struct play *y = pm_pending_new(all, (fuse_req_t)(i + 1), op, sizeof(*y));

    assert_non_null(y);
    y->script = script;
    y->attempts = &attempts[i];
    y->answers = &answers[i];
    y->result = &results[i];
    atomic_store(&attempts[i], 0);
    atomic_store(&answers[i], 0);
    atomic_store(&results[i], 12345);
    return y;
}

static bool answered_within(uintptr_t i, int64_t ms)
{
    int64_t until = pm_now_ms() + ms;

    while (atomic_load(&answers[i]) == 0 && pm_now_ms() < until)
        usleep(1000);
    return atomic_load(&answers[i]) == 1;
}

static ssize_t ready_at_once(struct play *y)
{
    (void)y;
    return 42;
}

static ssize_t waits(struct play *y)
{
    (void)y;
    return -EINPROGRESS;
}

static ssize_t waits_once(struct play *y)
{
    return atomic_load(y->attempts) == 1 ? -EINPROGRESS : 7;
}

static ssize_t woken_inside(struct play *y)
{
    if (atomic_load(y->attempts) > 3)
        return 9;
    y->p.waiter.wake(&y->p.waiter, 0);
    return -EINPROGRESS;
}

static void a_ready_one_is_answered_at_once(void **state)
{
    struct pm_pendings *all;

    (void)state;
    assert_int_equal(pm_pendings_new(1000, &all), 0);
    pm_pending_start(&play(all, &bytes, 0, ready_at_once)->p);
    assert_int_equal(answers[0], 1);
    assert_int_equal(results[0], 42);
    pm_pendings_free(all);
}

static void a_wake_up_repeats_the_attempt(void **state)
{
    struct pm_pendings *all;
    struct play        *y;

    (void)state;
    assert_int_equal(pm_pendings_new(1000, &all), 0);
    y = play(all, &bytes, 0, waits_once);
    pm_pending_start(&y->p);
    assert_int_equal(answers[0], 0);
    assert_int_equal(pm_pendings_count(all), 1);
    y->p.waiter.wake(&y->p.waiter, 0);
    assert_int_equal(answers[0], 1);
    assert_int_equal(results[0], 7);
    pm_pending_start(&play(all, &bytes, 1, woken_inside)->p);
    assert_int_equal(answers[1], 1);
    assert_int_equal(results[1], 9);
    pm_pendings_free(all);
}

static void a_wake_up_with_an_errno_is_the_answer(void **state)
{
    struct pm_pendings *all;
    struct play        *y;

    (void)state;
    assert_int_equal(pm_pendings_new(1000, &all), 0);
    y = play(all, &bytes, 0, waits);
    pm_pending_start(&y->p);
    y->p.waiter.wake(&y->p.waiter, -ESTALE);
    assert_int_equal(answers[0], 1);
    assert_int_equal(attempts[0], 1);
    assert_int_equal(results[0], -ESTALE);
    pm_pendings_free(all);
}

static void a_late_one_times_out_and_outlives_its_wake_up(void **state)
{
    struct pm_pendings *all;
    struct play        *y;
    int64_t             start = pm_now_ms();

    (void)state;
    assert_int_equal(pm_pendings_new(1000, &all), 0);
    y = play(all, &bytes, 0, waits);
    pm_pending_start(&y->p);
    usleep(200000);
    atomic_store(&y->p.waiter.progress_ms, pm_now_ms()); /* a byte came */
    assert_true(answered_within(0, 20000));
    assert_int_equal(results[0], -ETIMEDOUT);
    assert_true(pm_now_ms() - start >= 1150);
    y->p.waiter.wake(&y->p.waiter, 0);
    assert_int_equal(answers[0], 1);
    pm_pendings_free(all);
}

static void stop_answers_all_that_wait(void **state)
{
    struct pm_pendings *all;
    struct play        *y[REQUESTS];

    (void)state;
    assert_int_equal(pm_pendings_new(60000, &all), 0);
    for (uintptr_t i = 0; i < 100; i++) {
        y[i] = play(all, &ever, i, waits);
        pm_pending_start(&y[i]->p);
    }
    pm_pendings_stop(all);
    y[100] = play(all, &ever, 100, waits); /* comes too late */
    pm_pending_start(&y[100]->p);
    for (int i = 0; i <= 100; i++) {
        assert_int_equal(answers[i], 1);
        assert_int_equal(results[i], -EIO);
        y[i]->p.waiter.wake(&y[i]->p.waiter, -ESHUTDOWN);
    }
    pm_pendings_free(all);
}

static void an_interrupt_ends_only_who_is_dying(void **state)
{
    struct pm_pendings *all;
    struct play        *alive, *gone;

    (void)state;
    assert_int_equal(pm_pendings_new(60000, &all), 0);
    context.pid = getpid();
    alive = play(all, &ever, 0, waits);
    pm_pending_start(&alive->p);
    context.pid = 0x7ffffffe; /* no such thread */
    gone = play(all, &ever, 1, waits);
    pm_pending_start(&gone->p);
    on_interrupt(alive->p.req, interrupt_arg);
    on_interrupt(gone->p.req, interrupt_arg);
    assert_true(answered_within(1, 20000));
    assert_int_equal(results[1], -EINTR);
    assert_false(answered_within(0, 400));
    on_interrupt(gone->p.req, interrupt_arg); /* libfuse may be that late */
    pm_pendings_stop(all);
    alive->p.waiter.wake(&alive->p.waiter, 0);
    gone->p.waiter.wake(&gone->p.waiter, 0);
    pm_pendings_free(all);
}

/* --- all at once ----------------------------------------------------------------------------- */

struct storm {
    struct pm_pendings *all;
    struct play        *y[REQUESTS];
};

static void *wake_all(void *arg)
{
    struct storm *s = arg;

    for (int i = 0; i < REQUESTS; i++)
        s->y[i]->p.waiter.wake(&s->y[i]->p.waiter, i % 3 ? 0 : -EIO);
    return NULL;
}

static void *interrupt_all(void *arg)
{
    (void)arg;
    for (uintptr_t i = 0; i < REQUESTS; i++)
        on_interrupt((fuse_req_t)(i + 1), interrupt_arg);
    return NULL;
}

static void each_is_answered_once_in_a_storm(void **state)
{
    struct storm s;
    pthread_t    a, b;

    (void)state;
    assert_int_equal(pm_pendings_new(250, &s.all), 0);
    context.pid = 0x7ffffffe;
    for (uintptr_t i = 0; i < REQUESTS; i++) {
        s.y[i] = play(s.all, &bytes, i, waits_once);
        pm_pending_start(&s.y[i]->p);
    }
    usleep(200000);
    pthread_create(&a, NULL, wake_all, &s);
    pthread_create(&b, NULL, interrupt_all, &s);
    usleep(100);
    pm_pendings_stop(s.all);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    for (int i = 0; i < REQUESTS; i++)
        assert_int_equal(answers[i], 1);
    pm_pendings_free(s.all);
}

/* --- signals --------------------------------------------------------------------------------- */

static void only_signals_that_end_the_program_count(void **state)
{
    static const struct {
        uint64_t pending, shared, blocked, ignored, caught;
        bool     dying;
    } rows[] = {
#define S(n) (UINT64_C(1) << ((n)-1))
        { 0, 0, 0, 0, 0, false },
        { S(9), 0, 0, 0, 0, true },           /* KILL */
        { 0, S(9), 0, 0, 0, true },           /* KILL, to the process */
        { S(2), 0, 0, 0, S(2), true },        /* INT with a handler: it means to end */
        { S(15), 0, S(15), 0, 0, false },     /* TERM, blocked */
        { S(15), 0, 0, S(15), 0, false },     /* TERM, ignored */
        { S(1), 0, 0, 0, 0, true },           /* HUP */
        { S(3), 0, 0, 0, S(3), true },        /* QUIT */
        { S(14), 0, 0, 0, S(14), false },     /* ALRM with a handler: it goes on */
        { S(14), 0, 0, 0, 0, true },          /* ALRM without one ends it */
        { S(17), 0, 0, 0, 0, false },         /* CHLD: nothing by default */
        { S(17), 0, 0, 0, S(17), false },     /* CHLD with a handler */
        { S(28) | S(23) | S(18), 0, 0, 0, 0, false }, /* WINCH, URG, CONT */
        { S(20) | S(19), 0, 0, 0, 0, false }, /* TSTP, STOP: it will go on */
        { S(10), 0, 0, 0, 0, true },          /* USR1 */
        { S(10), 0, 0, 0, S(10), false },
        { S(40), 0, 0, 0, 0, true },          /* a real-time signal */
        { S(14) | S(9), 0, 0, 0, S(14), true },
        { S(2) | S(14), 0, S(2), 0, S(14), false },
#undef S
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        char text[512];

        snprintf(text, sizeof(text),
                 "Name:\tSigPnd: ffff\nState:\tS\nSigQ:\t1/2\nSigPnd:\t%016llx\nShdPnd:\t%016llx\n"
                 "SigBlk:\t%016llx\nSigIgn:\t%016llx\nSigCgt:\t%016llx\nCapInh:\t0\n",
                 (unsigned long long)rows[i].pending, (unsigned long long)rows[i].shared,
                 (unsigned long long)rows[i].blocked, (unsigned long long)rows[i].ignored,
                 (unsigned long long)rows[i].caught);
        if (pm_caller_dying_text(text) != rows[i].dying)
            fail_msg("row %zu", i);
    }
    assert_false(pm_caller_dying_text(""));
    assert_false(pm_caller_dying_text("SigPnd:"));
}

static void living_threads_are_not_dying(void **state)
{
    (void)state;
    assert_false(pm_caller_dying(getpid()));
    assert_true(pm_caller_dying(0x7ffffffe));
    assert_true(pm_caller_dying(0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ready_one_is_answered_at_once),
        cmocka_unit_test(a_wake_up_repeats_the_attempt),
        cmocka_unit_test(a_wake_up_with_an_errno_is_the_answer),
        cmocka_unit_test(a_late_one_times_out_and_outlives_its_wake_up),
        cmocka_unit_test(stop_answers_all_that_wait),
        cmocka_unit_test(an_interrupt_ends_only_who_is_dying),
        cmocka_unit_test(each_is_answered_once_in_a_storm),
        cmocka_unit_test(only_signals_that_end_the_program_count),
        cmocka_unit_test(living_threads_are_not_dying),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
