#include "tests/emulator/flight.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/emulator/request.h"

struct flights {
    pthread_mutex_t lock;               /* leaf */
    struct flight  *first;              /* lock */
};

struct flights *flights_new(void)
{
    struct flights *all = emu_alloc(sizeof(*all));
    pthread_mutex_init(&all->lock, NULL);
    return all;
}

void flights_free(struct flights *all)
{
    if (all == NULL)
        return;
    pthread_mutex_destroy(&all->lock);
    free(all);
}

static bool hung_up(const struct flight *f)
{
    struct pollfd p = {.fd = f->rq->fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0;
}

/* Lock held. */
static bool alone(const struct flights *all, const char *place)
{
    for (const struct flight *other = all->first; other != NULL; other = other->next)
        if (strcmp(other->place, place) == 0 && !hung_up(other))
            return false;
    return true;
}

/* One that was just given up may be news to its thread: hence the wait. */
bool flight_begin(struct flights *all, struct flight *f, struct request *rq, const char *place)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    pthread_mutex_lock(&all->lock);
    for (int i = 0; i < 100 && !alone(all, place); i++) {
        pthread_mutex_unlock(&all->lock);
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&all->lock);
    }
    bool is_alone = alone(all, place);
    *f = (struct flight){.rq = rq, .place = emu_strdup(place), .next = all->first};
    all->first = f;
    pthread_mutex_unlock(&all->lock);
    return is_alone;
}

void flight_end(struct flights *all, struct flight *f)
{
    if (f->rq == NULL)
        return;
    pthread_mutex_lock(&all->lock);
    struct flight **place = &all->first;
    while (*place != f)
        place = &(*place)->next;
    *place = f->next;
    pthread_mutex_unlock(&all->lock);
    free(f->place);
    *f = (struct flight){0};
}
