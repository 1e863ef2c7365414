#include "tests/emulator/sharemy3d_runs.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/emulator/buf.h"

#define KEPT 64

struct runs {
    pthread_mutex_t lock;               /* leaf; guards all below */
    size_t          next;               /* the place that is given up next */
    struct {
        char             session[128];
        struct sums_run *run;           /* owned; NULL: free */
    } kept[KEPT];
};

struct runs *runs_new(void)
{
    struct runs *all = emu_alloc(sizeof(*all));
    pthread_mutex_init(&all->lock, NULL);
    return all;
}

void runs_free(struct runs *all)
{
    if (all == NULL)
        return;
    for (size_t i = 0; i < KEPT; i++)
        sums_run_free(all->kept[i].run);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

struct sums_run *runs_take(struct runs *all, const char *session, uint64_t size)
{
    struct sums_run *run = NULL;
    pthread_mutex_lock(&all->lock);
    for (size_t i = 0; i < KEPT && run == NULL; i++)
        if (all->kept[i].run != NULL && strcmp(all->kept[i].session, session) == 0) {
            run = all->kept[i].run;
            all->kept[i].run = NULL;
        }
    pthread_mutex_unlock(&all->lock);
    if (run != NULL && sums_run_size(run) == size)
        return run;
    sums_run_free(run);
    return size == 0 ? sums_run_new() : NULL;
}

void runs_give(struct runs *all, const char *session, struct sums_run *run)
{
    if (run == NULL)
        return;
    pthread_mutex_lock(&all->lock);
    size_t at = all->next++ % KEPT;
    sums_run_free(all->kept[at].run);
    all->kept[at].run = run;
    snprintf(all->kept[at].session, sizeof(all->kept[at].session), "%s", session);
    pthread_mutex_unlock(&all->lock);
}
