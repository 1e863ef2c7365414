/* A service's limits: never more calls within a window than it allows, across restarts. */
#include "backends/rate.h"

#include "backends/http.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define WINDOW_MS 300

static const struct pm_rate_rule rules[] = {
    {"calls in a moment", "calls", 5, WINDOW_MS},
    {"calls in an hour", "slow", 3, 3600 * 1000},
};

/* The account's store, in memory: it outlives the process that wrote it. */
struct kept {
    char value[2][4096];
};

static char *slot(void *arg, const char *key)
{
    return ((struct kept *)arg)->value[!strcmp(key, "slow")];
}

static int get(void *arg, const char *key, char **out)
{
    const char *value = slot(arg, key);

    *out = *value ? strdup(value) : NULL;
    return 0;
}

static int set(void *arg, const char *key, const char *value)
{
    snprintf(slot(arg, key), sizeof(((struct kept *)arg)->value[0]), "%s", value);
    return 0;
}

struct world {
    struct kept            kept;
    struct pm_conf         conf;
    struct pm_account_conf account;
    struct pm_backend      b;
    struct pm_net         *net;
    struct pm_rate        *rate;
    struct pm_ctx          ctx;
};

static void start(struct world *w)
{
    w->conf.op_timeout_ms = 1000;
    w->account.name = (char *)"a";
    assert_int_equal(pm_net_open(&w->conf, &w->net), 0);
    w->b = (struct pm_backend){.conf = &w->account, .net = w->net,
                               .kv = {.get = get, .set = set, .arg = &w->kept}};
    w->rate = pm_rate_new(rules, PM_COUNT(rules));
    assert_non_null(w->rate);
}

static void end(struct world *w)
{
    pm_rate_free(w->rate);
    pm_net_close(w->net);
}

static int call(struct world *w, size_t which)
{
    struct pm_rate_call c;
    int                 err = pm_rate_begin(w->rate, &w->b, &w->ctx, which, 0, &c);

    if (!err)
        pm_rate_end(w->rate, &c, true);
    return err;
}

static void no_window_sees_more_than_it_allows(void **state)
{
    struct world w = {.ctx.prio = PM_BACKGROUND};
    int64_t      when[20];

    (void)state;
    start(&w);
    for (size_t i = 0; i < PM_COUNT(when); i++) {
        assert_int_equal(call(&w, 0), 0);
        when[i] = pm_now_ms();
    }
    for (size_t i = 5; i < PM_COUNT(when); i++)
        assert_true(when[i] - when[i - 5] >= WINDOW_MS);
    end(&w);
}

static void one_under_way_counts_until_it_has_ended_for_a_window(void **state)
{
    struct world        w = {.ctx.prio = PM_BACKGROUND};
    struct pm_rate_call c;
    int64_t             began, ended;
    unsigned            may;

    (void)state;
    start(&w);
    assert_int_equal(pm_rate_begin(w.rate, &w.b, &w.ctx, 0, 0, &c), 0);
    usleep(2 * WINDOW_MS * 1000);
    began = pm_now_ms();
    for (int i = 0; i < 4; i++)
        assert_int_equal(call(&w, 0), 0);
    pm_rate_end(w.rate, &c, true);
    ended = pm_now_ms();
    may = pm_rate_left(w.rate, &w.b, 0, NULL);
    assert_true(may == 0 || pm_now_ms() - began >= WINDOW_MS);
    for (int i = 0; i < 5; i++)
        assert_int_equal(call(&w, 0), 0);
    assert_true(pm_now_ms() - ended >= WINDOW_MS);
    end(&w);
}

static void a_long_wait_is_told_and_not_made(void **state)
{
    struct world w = {.ctx.prio = PM_BACKGROUND};

    (void)state;
    start(&w);
    for (int i = 0; i < 3; i++)
        assert_int_equal(call(&w, 1), 0);
    assert_int_equal(call(&w, 1), -EBUSY);
    assert_true(w.ctx.retry_ms > 3599 * 1000 && w.ctx.retry_ms <= 3600 * 1000 + 1);
    assert_non_null(strstr(w.ctx.why, "3 calls in an hour is used up until "));
    end(&w);
}

struct told {
    char    what[64];
    int64_t until_ms;
    int     n;
};

static void take(void *arg, const char *what, int64_t until_ms)
{
    struct told *t = arg;

    snprintf(t->what, sizeof(t->what), "%s", what);
    t->until_ms = until_ms;
    t->n++;
}

static void what_is_used_up_is_told_with_its_end(void **state)
{
    struct world w = {.ctx.prio = PM_BACKGROUND};
    struct told  t = {.n = 0};

    (void)state;
    start(&w);
    for (int i = 0; i < 2; i++)
        assert_int_equal(call(&w, 1), 0);
    pm_rate_each(w.rate, &w.b, take, &t);
    assert_int_equal(t.n, 0);
    assert_int_equal(call(&w, 1), 0);
    pm_rate_each(w.rate, &w.b, take, &t);
    assert_int_equal(t.n, 1);
    assert_string_equal(t.what, "3 calls in an hour");
    assert_true(t.until_ms > pm_wall_ms() + 3590 * 1000 && t.until_ms < pm_wall_ms() + 3610 * 1000);
    end(&w);
}

static void what_was_used_before_a_restart_is_used(void **state)
{
    struct world w = {.ctx.prio = PM_BACKGROUND};

    (void)state;
    start(&w);
    assert_int_equal(call(&w, 1), 0);
    assert_int_equal(call(&w, 1), 0);
    end(&w);
    start(&w);
    assert_int_equal(pm_rate_left(w.rate, &w.b, 1, NULL), 1);
    assert_int_equal(call(&w, 1), 0);
    assert_int_equal(call(&w, 1), -EBUSY);
    end(&w);
    start(&w);
    assert_int_equal(call(&w, 1), -EBUSY);
    end(&w);
}

static void what_was_used_long_before_a_restart_is_forgotten(void **state)
{
    struct world w = {.ctx.prio = PM_BACKGROUND};

    (void)state;
    snprintf(w.kept.value[1], sizeof(w.kept.value[1]), "1 1 %lld 1 1 1 %lld 1 1 1 %lld 1 ",
             (long long)(pm_wall_ms() - 9000000), (long long)(pm_wall_ms() - 8000000),
             (long long)(pm_wall_ms() - 100000));
    start(&w);
    assert_int_equal(pm_rate_left(w.rate, &w.b, 1, NULL), 1); /* the second may have been just now */
    end(&w);
}

static void nonsense_in_the_store_is_no_harm(void **state)
{
    static const char *const nonsense[] = {
        "", "x", "1", "1 99999999999999999999 1 1", "1 -5 -5 4000000000 ", "1 1 1 1 1 1 1 1 1",
        "0 9223372036854775807 9223372036854775807 3 ", "0 -9223372036854775807 -9223372036854775807 3 ",
        "1 1 1 0", "1 1 9223372036854775807 0 9223372036854775807", "1 1 1 0 -9223372036854775807 1 1 1 1"};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(nonsense); i++) {
        struct world w = {.ctx.prio = PM_BACKGROUND};

        snprintf(w.kept.value[1], sizeof(w.kept.value[1]), "%s", nonsense[i]);
        start(&w);
        assert_true(pm_rate_left(w.rate, &w.b, 1, NULL) <= 3);
        end(&w);
    }
}

static void some_are_kept_for_who_waits(void **state)
{
    struct world        w = {.ctx.prio = PM_BACKGROUND};
    struct pm_rate_call c;

    (void)state;
    start(&w);
    assert_int_equal(pm_rate_begin(w.rate, &w.b, &w.ctx, 1, 2, &c), 0);
    pm_rate_end(w.rate, &c, true);
    assert_int_equal(pm_rate_begin(w.rate, &w.b, &w.ctx, 1, 2, &c), -EBUSY);
    w.ctx.prio = PM_INTERACTIVE;
    assert_int_equal(call(&w, 1), 0);
    assert_int_equal(call(&w, 1), 0);
    assert_int_equal(call(&w, 1), -EBUSY);
    end(&w);
}

/* As if the time of day had been set by so much after all that is written down. */
static void set_clock(struct world *w, int64_t ms)
{
    char        text[4096] = "";
    const char *at = w->kept.value[1];
    unsigned    boot, calls;
    long long   boot_ms, wall_ms;
    int         len;

    while (sscanf(at, "%x %lld %lld %u%n", &boot, &boot_ms, &wall_ms, &calls, &len) == 4) {
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%x %lld %lld %u ", boot, boot_ms,
                 wall_ms - (long long)ms, calls);
        at += len;
    }
    memcpy(w->kept.value[1], text, sizeof(text));
}

static void the_time_of_day_may_be_set(void **state)
{
    static const int64_t by[] = {30 * 3600 * 1000, -30 * 3600 * 1000};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(by); i++) {
        struct world w = {.ctx.prio = PM_BACKGROUND};

        start(&w);
        for (int n = 0; n < 3; n++)
            assert_int_equal(call(&w, 1), 0);
        end(&w);
        set_clock(&w, by[i]);
        start(&w);
        assert_int_equal(call(&w, 1), -EBUSY);
        assert_true(w.ctx.retry_ms <= 3600 * 1000 + 1);
        end(&w);
    }
}

static void what_never_left_is_not_spent(void **state)
{
    struct world        w = {.ctx.prio = PM_BACKGROUND};
    struct pm_rate_call c;

    (void)state;
    start(&w);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(pm_rate_begin(w.rate, &w.b, &w.ctx, 1, 0, &c), 0);
        pm_rate_end(w.rate, &c, false);
    }
    assert_int_equal(pm_rate_left(w.rate, &w.b, 1, NULL), 3);
    end(&w);
    start(&w); /* what was written down for them is spent: in doubt */
    assert_true(pm_rate_left(w.rate, &w.b, 1, NULL) >= 2);
    end(&w);
}

static void what_never_left_is_spent_if_others_were_begun_since(void **state)
{
    struct world        w = {.ctx.prio = PM_BACKGROUND};
    struct pm_rate_call first, second;

    (void)state;
    start(&w);
    assert_int_equal(pm_rate_begin(w.rate, &w.b, &w.ctx, 1, 0, &first), 0);
    assert_int_equal(pm_rate_begin(w.rate, &w.b, &w.ctx, 1, 0, &second), 0);
    pm_rate_end(w.rate, &first, false);
    pm_rate_end(w.rate, &second, true);
    assert_int_equal(pm_rate_left(w.rate, &w.b, 1, NULL), 1);
    end(&w);
}

static void a_service_that_asks_to_wait_is_obeyed_after_a_restart_too(void **state)
{
    struct world w = {.ctx.prio = PM_BACKGROUND};

    (void)state;
    start(&w);
    assert_int_equal(call(&w, 1), 0);
    assert_true(pm_rate_hold(w.rate, &w.b, 1, 50000) >= 50000);
    assert_int_equal(call(&w, 1), -EBUSY);
    assert_true(w.ctx.retry_ms > 20000 && w.ctx.retry_ms <= 50000);
    assert_int_equal(call(&w, 0), 0); /* only these */
    end(&w);
    start(&w);
    assert_int_equal(call(&w, 1), -EBUSY);
    assert_true(w.ctx.retry_ms > 0 && w.ctx.retry_ms <= 50000);
    assert_int_equal(pm_rate_hold(w.rate, &w.b, 1, 0), 3600 * 1000); /* it does not say how long */
    end(&w);
}

static int refuse_to_set(void *arg, const char *key, const char *value)
{
    (void)arg;
    (void)key;
    (void)value;
    return -ENOSPC;
}

static void what_cannot_be_written_down_is_not_sent(void **state)
{
    struct world w = {.ctx.prio = PM_BACKGROUND};

    (void)state;
    start(&w);
    w.b.kv.set = refuse_to_set;
    assert_int_equal(call(&w, 1), -ENOSPC);
    assert_non_null(strstr(w.ctx.why, "cannot be kept"));
    w.b.kv.set = set;
    for (int n = 0; n < 3; n++)
        assert_int_equal(call(&w, 1), 0);
    end(&w);
}

/* A call whose answer says how many are left. */
static int corrected(struct world *w, size_t which, uint64_t left)
{
    struct pm_rate_call c;
    int                 err = pm_rate_begin(w->rate, &w->b, &w->ctx, which, 0, &c);

    if (err)
        return err;
    pm_rate_correct(w->rate, &c, left);
    pm_rate_end(w->rate, &c, true);
    return 0;
}

static void what_others_use_is_used(void **state)
{
    struct world w = {.ctx.prio = PM_BACKGROUND};

    (void)state;
    start(&w);
    assert_int_equal(corrected(&w, 1, 2), 0); /* as it is known here */
    assert_int_equal(pm_rate_left(w.rate, &w.b, 1, NULL), 2);
    assert_int_equal(corrected(&w, 1, 0), 0);
    assert_int_equal(pm_rate_left(w.rate, &w.b, 1, NULL), 0);
    assert_int_equal(corrected(&w, 1, 2), -EBUSY);
    assert_true(w.ctx.retry_ms > 3590 * 1000);
    end(&w);
    w.kept.value[1][0] = '\0';
    start(&w);
    assert_int_equal(corrected(&w, 1, 1), 0);
    assert_int_equal(pm_rate_left(w.rate, &w.b, 1, NULL), 1);
    assert_int_equal(corrected(&w, 1, 3), 0); /* theirs are over */
    assert_int_equal(pm_rate_left(w.rate, &w.b, 1, NULL), 1);
    assert_int_equal(corrected(&w, 1, 1000), 0); /* it may say more: no more is used */
    assert_int_equal(pm_rate_left(w.rate, &w.b, 1, NULL), 0);
    assert_int_equal(corrected(&w, 0, 0), 0);
    usleep(2 * WINDOW_MS * 1000);
    assert_int_equal(pm_rate_left(w.rate, &w.b, 0, NULL), 5);
    end(&w);
}

static void after_a_wait_that_the_service_dated_one_call_finds_out(void **state)
{
    struct world        w = {.ctx.prio = PM_BACKGROUND};
    struct pm_rate_call c;

    (void)state;
    start(&w);
    assert_int_equal(corrected(&w, 1, 0), 0);
    pm_rate_hold(w.rate, &w.b, 1, 300);
    assert_int_equal(pm_rate_left(w.rate, &w.b, 1, NULL), 0);
    usleep(400 * 1000);
    assert_int_equal(pm_rate_begin(w.rate, &w.b, &w.ctx, 1, 2, &c), 0);
    assert_int_equal(pm_rate_left(w.rate, &w.b, 1, NULL), 0);
    pm_rate_correct(w.rate, &c, 2);
    pm_rate_end(w.rate, &c, true);
    assert_int_equal(pm_rate_left(w.rate, &w.b, 1, NULL), 1); /* our two, of three */
    end(&w);
}

static void who_waits_without_a_deadline_waits_for_op_timeout(void **state)
{
    struct world w = {.ctx.prio = PM_INTERACTIVE};

    (void)state;
    start(&w);
    for (int i = 0; i < 6; i++) /* the last waits for the window's end */
        assert_int_equal(call(&w, 0), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(call(&w, 1), 0);
    assert_int_equal(call(&w, 1), -EBUSY);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_window_sees_more_than_it_allows),
        cmocka_unit_test(one_under_way_counts_until_it_has_ended_for_a_window),
        cmocka_unit_test(a_long_wait_is_told_and_not_made),
        cmocka_unit_test(what_is_used_up_is_told_with_its_end),
        cmocka_unit_test(what_was_used_before_a_restart_is_used),
        cmocka_unit_test(what_was_used_long_before_a_restart_is_forgotten),
        cmocka_unit_test(nonsense_in_the_store_is_no_harm),
        cmocka_unit_test(some_are_kept_for_who_waits),
        cmocka_unit_test(the_time_of_day_may_be_set),
        cmocka_unit_test(what_never_left_is_not_spent),
        cmocka_unit_test(what_never_left_is_spent_if_others_were_begun_since),
        cmocka_unit_test(a_service_that_asks_to_wait_is_obeyed_after_a_restart_too),
        cmocka_unit_test(what_cannot_be_written_down_is_not_sent),
        cmocka_unit_test(what_others_use_is_used),
        cmocka_unit_test(after_a_wait_that_the_service_dated_one_call_finds_out),
        cmocka_unit_test(who_waits_without_a_deadline_waits_for_op_timeout),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
