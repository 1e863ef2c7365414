#include "backends/holds.h"

#include "backends/util.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HOLDS_MAX 64
#define KEY       "holds"
/* As long as a service can ask for (http_table.c); nothing kept is believed beyond. */
#define MOST_MS   (24 * 3600 * INT64_C(1000))

struct hold {
    char   *origin; /* NULL: free */
    int64_t until_ms; /* pm_now_ms() */
    int64_t ms; /* how long it was asked for */
};

struct pm_holds {
    pthread_mutex_t lock; /* leaf */
    struct hold     list[HOLDS_MAX]; /* lock */
    struct pm_kv    kv; /* immutable after the first request; zeroes: none */
};

int pm_holds_new(struct pm_holds **out)
{
    struct pm_holds *h = calloc(1, sizeof(*h));

    if (!h)
        return -ENOMEM;
    pthread_mutex_init(&h->lock, NULL);
    *out = h;
    return 0;
}

void pm_holds_free(struct pm_holds *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < HOLDS_MAX; i++)
        free(h->list[i].origin);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

/* The one of this origin; else one that is free, or the one that ends first. */
static struct hold *slot_locked(struct pm_holds *h, const char *origin)
{
    struct hold *best = &h->list[0];

    for (size_t i = 0; i < HOLDS_MAX; i++) {
        struct hold *x = &h->list[i];

        if (x->origin && !strcmp(x->origin, origin))
            return x;
        if (x->until_ms < best->until_ms)
            best = x;
    }
    return best;
}

static void hold(struct pm_holds *h, const char *origin, int64_t left_ms, int64_t ms)
{
    int64_t      until = pm_now_ms() + left_ms;
    struct hold *x;

    PM_GUARD(&h->lock);
    x = slot_locked(h, origin);
    if (!x->origin || strcmp(x->origin, origin) != 0) {
        free(x->origin);
        *x = (struct hold){.origin = strdup(origin)};
    }
    if (until <= x->until_ms)
        return;
    x->until_ms = until;
    x->ms = ms;
}

/* --- kept: a line each, the origin, the end by the wall clock, and how long it was */

static void take_line(struct pm_holds *h, const char *line)
{
    char    origin[300];
    int64_t until, ms, left;

    if (sscanf(line, "%299s %" SCNd64 " %" SCNd64, origin, &until, &ms) != 3 || ms <= 0)
        return;
    ms = ms < MOST_MS ? ms : MOST_MS;
    left = until - pm_wall_ms();
    if (left > 0) /* more than was asked for: the clock was set back */
        hold(h, origin, left < ms ? left : ms, ms);
}

void pm_holds_keep(struct pm_holds *h, const struct pm_kv *kv)
{
    PM_AUTO(free) char *text = NULL;
    char               *rest;

    h->kv = *kv;
    if (kv->get(kv->arg, KEY, &text) || !text)
        return;
    rest = text;
    for (char *line; (line = strsep(&rest, "\n"));)
        take_line(h, line);
}

static void write_down(struct pm_holds *h, struct pm_buf *b)
{
    int64_t now = pm_now_ms(), wall = pm_wall_ms();

    PM_GUARD(&h->lock);
    for (size_t i = 0; i < HOLDS_MAX; i++) {
        const struct hold *x = &h->list[i];

        if (x->origin && x->until_ms > now)
            pm_buf_printf(b, "%s %" PRId64 " %" PRId64 "\n", x->origin, wall + x->until_ms - now,
                          x->ms);
    }
}

void pm_holds_set(struct pm_holds *h, const char *origin, int64_t ms)
{
    PM_AUTO(pm_buf) struct pm_buf b = {0};

    hold(h, origin, ms, ms);
    if (!h->kv.set)
        return;
    write_down(h, &b);
    if (b.failed || h->kv.set(h->kv.arg, KEY, b.ptr ? b.ptr : ""))
        pm_log(PM_WARN, "how long %s asked to wait cannot be kept for the next start", origin);
}

int64_t pm_holds_left_ms(struct pm_holds *h, const char *origin)
{
    int64_t now = pm_now_ms();

    PM_GUARD(&h->lock);
    for (size_t i = 0; i < HOLDS_MAX; i++) {
        const struct hold *x = &h->list[i];

        if (x->origin && x->until_ms > now && !strcmp(x->origin, origin))
            return x->until_ms - now;
    }
    return 0;
}
