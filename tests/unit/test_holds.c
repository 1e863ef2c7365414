#include "backends/holds.h"
#include "backends/util.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HOST "https://one.example:443"

/* What a daemon leaves for the next one. */
struct kept {
    char text[64 * 128];
    bool broken;
};

static int get(void *arg, const char *key, char **out)
{
    struct kept *k = arg;

    assert_string_equal(key, "holds");
    *out = *k->text ? strdup(k->text) : NULL;
    return k->broken ? -EIO : 0;
}

static int set(void *arg, const char *key, const char *value)
{
    struct kept *k = arg;

    assert_string_equal(key, "holds");
    assert_true(strlen(value) < sizeof(k->text));
    snprintf(k->text, sizeof(k->text), "%s", value);
    return k->broken ? -EIO : 0;
}

static struct pm_holds *start(struct kept *k)
{
    struct pm_kv     kv = {.get = get, .set = set, .arg = k};
    struct pm_holds *h;

    assert_int_equal(pm_holds_new(&h), 0);
    if (k)
        pm_holds_keep(h, &kv);
    return h;
}

static void a_wait_is_over_when_its_time_is(void **state)
{
    struct pm_holds *h = start(NULL);

    (void)state;
    assert_int_equal(pm_holds_left_ms(h, HOST), 0);
    pm_holds_set(h, HOST, 30);
    assert_int_equal(pm_holds_left_ms(h, "https://other.example:443"), 0);
    usleep(40000);
    assert_int_equal(pm_holds_left_ms(h, HOST), 0);
    pm_holds_free(h);
}

static void a_shorter_wait_does_not_end_a_longer_one(void **state)
{
    struct pm_holds *h = start(NULL);

    (void)state;
    pm_holds_set(h, HOST, 3600000);
    pm_holds_set(h, HOST, 1000);
    assert_in_range(pm_holds_left_ms(h, HOST), 3500000, 3600000);
    pm_holds_set(h, HOST, 7200000);
    assert_in_range(pm_holds_left_ms(h, HOST), 7100000, 7200000);
    pm_holds_free(h);
}

static void what_was_asked_holds_after_a_restart(void **state)
{
    struct kept      k = {.text = ""};
    struct pm_holds *h = start(&k);

    (void)state;
    pm_holds_set(h, "http://127.0.0.1:80", 60000);
    pm_holds_set(h, HOST, 3600000);
    pm_holds_free(h);
    h = start(&k);
    assert_in_range(pm_holds_left_ms(h, HOST), 3500000, 3600000);
    assert_in_range(pm_holds_left_ms(h, "http://127.0.0.1:80"), 1, 60000);
    pm_holds_set(h, "https://two.example:443", 5000); /* does not lose the others */
    pm_holds_free(h);
    h = start(&k);
    assert_in_range(pm_holds_left_ms(h, HOST), 3500000, 3600000);
    pm_holds_free(h);
}

/* A line as a daemon left it whose wall clock was `ahead_ms` ahead of ours. */
static void leave(struct kept *k, int64_t ahead_ms, int64_t asked_ms)
{
    snprintf(k->text, sizeof(k->text), "%s %" PRId64 " %" PRId64 "\n", HOST,
             pm_wall_ms() + ahead_ms + asked_ms, asked_ms);
}

static void a_clock_set_back_makes_no_wait_longer_than_it_was_asked_for(void **state)
{
    const int64_t    year = 365LL * 24 * 3600 * 1000;
    struct kept      k = {.text = ""};
    struct pm_holds *h;

    (void)state;
    leave(&k, year, 5000);
    h = start(&k);
    assert_in_range(pm_holds_left_ms(h, HOST), 1, 5000);
    pm_holds_free(h);
    leave(&k, year, year); /* nobody asks for that */
    h = start(&k);
    assert_in_range(pm_holds_left_ms(h, HOST), 1, 24 * 3600 * 1000);
    pm_holds_free(h);
    leave(&k, -60000, 5000); /* over long ago */
    h = start(&k);
    assert_int_equal(pm_holds_left_ms(h, HOST), 0);
    pm_holds_free(h);
}

static void what_is_kept_and_makes_no_sense_holds_nothing_up(void **state)
{
    static const char *const rows[] = {"\n", "x\n", HOST "\n", HOST " 9999999999999999999999 -5\n",
                                       HOST " a b\n", HOST " 1 1", "   \n\n" HOST " 99999999999999 0"};
    struct kept k = {.text = ""};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct pm_holds *h;

        snprintf(k.text, sizeof(k.text), "%s", rows[i]);
        h = start(&k);
        assert_int_equal(pm_holds_left_ms(h, HOST), 0);
        pm_holds_free(h);
    }
}

static void with_nothing_to_keep_them_in_waits_hold_all_the_same(void **state)
{
    struct kept      k = {.text = "", .broken = true};
    struct pm_holds *h = start(&k);

    (void)state;
    pm_holds_set(h, HOST, 60000);
    assert_in_range(pm_holds_left_ms(h, HOST), 1, 60000);
    pm_holds_free(h);
}

static void of_too_many_hosts_the_ones_that_end_first_are_forgotten(void **state)
{
    struct kept      k = {.text = ""};
    struct pm_holds *h = start(&k);
    char             host[64];

    (void)state;
    for (int i = 0; i < 100; i++) {
        snprintf(host, sizeof(host), "https://h%d.example:443", i);
        pm_holds_set(h, host, (i + 1) * 100000);
    }
    assert_int_equal(pm_holds_left_ms(h, "https://h0.example:443"), 0);
    assert_in_range(pm_holds_left_ms(h, "https://h99.example:443"), 9900000, 10000000);
    pm_holds_free(h);
    h = start(&k);
    assert_in_range(pm_holds_left_ms(h, "https://h36.example:443"), 3600000, 3700000);
    pm_holds_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wait_is_over_when_its_time_is),
        cmocka_unit_test(a_shorter_wait_does_not_end_a_longer_one),
        cmocka_unit_test(what_was_asked_holds_after_a_restart),
        cmocka_unit_test(a_clock_set_back_makes_no_wait_longer_than_it_was_asked_for),
        cmocka_unit_test(what_is_kept_and_makes_no_sense_holds_nothing_up),
        cmocka_unit_test(with_nothing_to_keep_them_in_waits_hold_all_the_same),
        cmocka_unit_test(of_too_many_hosts_the_ones_that_end_first_are_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
