/* What is remembered of a service's limits, as it comes from a database: whatever it says, no more calls
 * are made than the rule allows, and the next start knows of all that were made.
 *
 * Input: the text that is remembered. */
#include "backends/rate.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#define CALLS 101u

static const struct pm_rate_rule rule = {"calls in an hour", "k", CALLS, 3600 * 1000};

static int get(void *arg, const char *key, char **out)
{
    char **kept = arg;

    CHECK(!strcmp(key, "k"));
    *out = fuzz_text(*kept, strlen(*kept));
    return 0;
}

static int set(void *arg, const char *key, const char *value)
{
    char **kept = arg;

    CHECK(!strcmp(key, "k"));
    free(*kept);
    *kept = fuzz_text(value, strlen(value));
    return 0;
}

/* Makes all calls that may be made now. */
static unsigned use_up(struct pm_rate *r, struct pm_backend *b)
{
    struct pm_ctx       ctx = {.prio = PM_INTERACTIVE};
    struct pm_rate_call call;
    unsigned            made = 0;
    int                 err;

    while ((err = pm_rate_begin(r, b, &ctx, 0, 0, &call)) == 0) {
        CHECK(++made <= CALLS);
        pm_rate_end(r, &call, true);
    }
    CHECK(err == -EBUSY && ctx.retry_ms > 0 && ctx.retry_ms <= 24 * 3600 * 1000);
    return made;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char             *kept = fuzz_text(data, size);
    char              account[] = "a";
    struct pm_account_conf conf = {.name = account};
    struct pm_backend b = {.conf = &conf, .kv = {.get = get, .set = set, .arg = &kept}};
    struct pm_rate   *r = pm_rate_new(&rule, 1);
    int64_t           wait_ms = -1;
    unsigned          may, made;

    CHECK(r);
    may = pm_rate_left(r, &b, 0, &wait_ms);
    CHECK(may <= CALLS && (may || (wait_ms > 0 && wait_ms <= 24 * 3600 * 1000)));
    made = use_up(r, &b);
    CHECK(made >= may); /* a hold may have ended in between, or one grown old */
    pm_rate_free(r);

    r = pm_rate_new(&rule, 1);
    CHECK(r && pm_rate_left(r, &b, 0, NULL) <= CALLS - made);
    CHECK(pm_rate_hold(r, &b, 0, 5000) > 0 && pm_rate_left(r, &b, 0, &wait_ms) == 0);
    pm_rate_free(r);
    free(kept);
    return 0;
}
