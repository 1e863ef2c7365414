#include "tests/emulator/fault.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/emulator/buf.h"

#define WAKE_MS 50                      /* how often a sleeper looks whether its client has gone */

struct fault {
    struct fault    *next;
    char             endpoint[32];
    char            *match;             /* owned */
    cJSON           *spec;              /* owned; as given, for faults_json() */
    int64_t          left;              /* hits to come; -1: no end */
    int64_t          skip;              /* matching requests to let pass first */
    int64_t          hits;
    struct fault_plan plan;
};

struct faults {
    pthread_mutex_t lock;               /* leaf; guards all below */
    pthread_cond_t  woken;              /* lock; clear or stop */
    struct fault   *first;
    int             next_id;
    uint64_t        clears;
    bool            stopped;
};

struct faults *faults_new(void)
{
    struct faults *f = emu_alloc(sizeof(*f));
    pthread_mutex_init(&f->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&f->woken, &attr);
    pthread_condattr_destroy(&attr);
    f->next_id = 1;
    return f;
}

static void fault_free(struct fault *fault)
{
    free(fault->match);
    cJSON_Delete(fault->spec);
    free(fault);
}

void faults_clear(struct faults *f)
{
    pthread_mutex_lock(&f->lock);
    while (f->first != NULL) {
        struct fault *next = f->first->next;
        fault_free(f->first);
        f->first = next;
    }
    f->clears++;
    pthread_cond_broadcast(&f->woken);
    pthread_mutex_unlock(&f->lock);
}

void faults_free(struct faults *f)
{
    if (f == NULL)
        return;
    faults_clear(f);
    pthread_cond_destroy(&f->woken);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

void faults_stop(struct faults *f)
{
    pthread_mutex_lock(&f->lock);
    f->stopped = true;
    pthread_cond_broadcast(&f->woken);
    pthread_mutex_unlock(&f->lock);
}

struct fault_plan fault_none(void)
{
    return (struct fault_plan){.retry_after_s = -1, .cut = -1, .stall = -1, .stall_in = -1};
}

static int set_reset(struct fault_plan *plan, const cJSON *item)
{
    static const char *const words[] = {"", "before", "during", "after"};
    for (int i = RESET_BEFORE; i <= RESET_AFTER; i++)
        if (cJSON_IsString(item) && strcmp(item->valuestring, words[i]) == 0) {
            plan->reset = (enum fault_reset)i;
            return 0;
        }
    return -EINVAL;
}

static int set_short(char *out, size_t size, const char *text)
{
    if (strlen(text) >= size)
        return -EINVAL;
    memcpy(out, text, strlen(text) + 1);
    return 0;
}

static int set_text(struct fault *fault, const char *name, const char *text)
{
    struct fault_plan *plan = &fault->plan;
    if (strcmp(name, "endpoint") == 0 && strlen(text) < sizeof(fault->endpoint)) {
        memcpy(fault->endpoint, text, strlen(text) + 1);
    } else if (strcmp(name, "match") == 0) {
        free(fault->match);
        fault->match = emu_strdup(text);
    } else if (strcmp(name, "body") == 0) {
        plan->has_body = true;
        return set_short(plan->body, sizeof(plan->body), text);
    } else if (strcmp(name, "file") == 0) {
        plan->has_body = true;
        return set_short(plan->file, sizeof(plan->file), text);
    } else if (strcmp(name, "header") == 0 && strstr(text, ": ") != NULL) {
        return set_short(plan->header, sizeof(plan->header), text);
    } else {
        return -EINVAL;
    }
    return 0;
}

static int set_number(struct fault *fault, const char *name, double value)
{
    struct fault_plan *plan = &fault->plan;
    const struct {
        const char *name;
        int        *small;
        int64_t    *large;
    } rows[] = {
        {"status", &plan->status, NULL},         {"retry_after", &plan->retry_after_s, NULL},
        {"delay_ms", &plan->delay_ms, NULL},     {"count", NULL, &fault->left},
        {"skip", NULL, &fault->skip},            {"reset_at", NULL, &plan->reset_at},
        {"cut", NULL, &plan->cut},               {"stall", NULL, &plan->stall},
        {"stall_in", NULL, &plan->stall_in},     {"wrong_length", NULL, &plan->wrong_length},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(rows[i].name, name) != 0)
            continue;
        if (rows[i].small != NULL)
            *rows[i].small = (int)value;
        else
            *rows[i].large = (int64_t)value;
        return 0;
    }
    return -EINVAL;
}

static int set_flag(struct fault_plan *plan, const char *name, bool value)
{
    if (strcmp(name, "garbage") == 0)
        plan->garbage = value;
    else if (strcmp(name, "ignore_range") == 0)
        plan->ignore_range = value;
    else if (strcmp(name, "processed") == 0)
        plan->processed = value;
    else if (strcmp(name, "early") == 0)
        plan->early = value;
    else
        return -EINVAL;
    return 0;
}

static int set_member(struct fault *fault, const cJSON *item)
{
    if (strcmp(item->string, "reset") == 0)
        return set_reset(&fault->plan, item);
    if (cJSON_IsString(item))
        return set_text(fault, item->string, item->valuestring);
    if (cJSON_IsNumber(item))
        return set_number(fault, item->string, item->valuedouble);
    if (cJSON_IsBool(item))
        return set_flag(&fault->plan, item->string, cJSON_IsTrue(item));
    return -EINVAL;
}

int faults_add(struct faults *f, const cJSON *spec, const char **why)
{
    struct fault *fault = emu_alloc(sizeof(*fault));
    fault->plan = fault_none();
    fault->left = -1;
    fault->match = emu_strdup("");
    memcpy(fault->endpoint, "any", sizeof("any"));
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, spec) {
        if (item->string == NULL || set_member(fault, item) < 0) {
            *why = item->string != NULL ? item->string : "not an object";
            fault_free(fault);
            return -EINVAL;
        }
    }
    fault->spec = cJSON_Duplicate(spec, true);
    pthread_mutex_lock(&f->lock);
    int id = fault->plan.id = f->next_id++;
    struct fault **place = &f->first;
    while (*place != NULL)
        place = &(*place)->next;
    *place = fault;
    pthread_mutex_unlock(&f->lock);
    return id;
}

cJSON *faults_json(struct faults *f)
{
    cJSON *all = cJSON_CreateArray();
    pthread_mutex_lock(&f->lock);
    for (const struct fault *fault = f->first; fault != NULL; fault = fault->next) {
        cJSON *one = cJSON_Duplicate(fault->spec, true);
        cJSON_AddNumberToObject(one, "id", fault->plan.id);
        cJSON_AddNumberToObject(one, "hits", (double)fault->hits);
        cJSON_AddItemToArray(all, one);
    }
    pthread_mutex_unlock(&f->lock);
    return all;
}

bool faults_pick(struct faults *f, const char *endpoint, const char *text, const char *before,
                 struct fault_plan *out)
{
    bool hit = false;
    pthread_mutex_lock(&f->lock);
    for (struct fault *fault = f->first; fault != NULL && !hit; fault = fault->next) {
        if (fault->left == 0 || strstr(text, fault->match) == NULL ||
            (before != NULL && strstr(before, fault->match) != NULL) ||
            (strcmp(fault->endpoint, "any") != 0 && strcmp(fault->endpoint, endpoint) != 0))
            continue;
        if (fault->skip > 0) {
            fault->skip--;
            continue;
        }
        if (fault->left > 0)
            fault->left--;
        fault->hits++;
        *out = fault->plan;
        hit = true;
    }
    pthread_mutex_unlock(&f->lock);
    return hit;
}

bool client_gone(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

static struct timespec monotonic_in(int64_t ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t ns = t.tv_nsec + ms % 1000 * 1000000;
    t.tv_sec += ms / 1000 + ns / 1000000000;
    t.tv_nsec = ns % 1000000000;
    return t;
}

bool faults_sleep(struct faults *f, int fd, int64_t ms)
{
    int64_t end = mono_ms() + ms;
    bool whole = false;
    pthread_mutex_lock(&f->lock);
    uint64_t clears = f->clears;
    while (!whole && !f->stopped && f->clears == clears && !client_gone(fd)) {
        int64_t left = ms < 0 ? WAKE_MS : end - mono_ms();
        struct timespec until = monotonic_in(left < WAKE_MS ? left : WAKE_MS);
        if (left <= 0)
            whole = true;
        else
            pthread_cond_timedwait(&f->woken, &f->lock, &until);
    }
    pthread_mutex_unlock(&f->lock);
    return whole;
}
