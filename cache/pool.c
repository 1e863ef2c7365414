#include "cache/pool.h"

#include "backends/util.h"

#include <errno.h>

#define IDLE_MS 10000

struct pm_pool {
    unsigned        max; /* immutable */
    pthread_mutex_t lock; /* leaf: no job runs under it */
    pthread_cond_t  work; /* lock; a job was queued, or closing */
    pthread_cond_t  ended; /* lock; a thread ended */
    struct pm_job  *first, **last; /* lock; the queue */
    unsigned        threads, idle, queued; /* lock */
    bool            closing; /* lock */
};

/* The next job; NULL when there has been none for a while, or none will come. */
static struct pm_job *next_locked(struct pm_pool *p)
{
    int64_t        until = pm_now_ms() + IDLE_MS;
    struct pm_job *job;

    while (!p->first && !p->closing) {
        int err;

        p->idle++;
        err = pm_cond_wait_until(&p->work, &p->lock, until);
        p->idle--;
        if (err == -ETIMEDOUT && !p->first && p->threads > 1)
            return NULL;
        if (err == -ETIMEDOUT)
            until = pm_now_ms() + IDLE_MS;
    }
    job = p->first;
    if (job) {
        p->queued--;
        p->first = job->next;
        if (!p->first)
            p->last = &p->first;
    }
    return job;
}

static void *worker(void *arg)
{
    struct pm_pool *p = arg;
    struct pm_job  *job;

    pthread_mutex_lock(&p->lock);
    while ((job = next_locked(p)) != NULL) {
        pthread_mutex_unlock(&p->lock);
        job->run(job);
        pthread_mutex_lock(&p->lock);
    }
    p->threads--;
    pthread_cond_signal(&p->ended);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* One thread more. */
static int start_locked(struct pm_pool *p)
{
    pthread_t thread;
    int       err = pm_thread_start(&thread, "pm-pool", worker, p);

    if (err)
        return err;
    pthread_detach(thread);
    p->threads++;
    return 0;
}

int pm_pool_open(unsigned threads, struct pm_pool **out)
{
    struct pm_pool *p = calloc(1, sizeof(*p));

    int             err;

    if (!p)
        return -ENOMEM;
    p->max = threads;
    p->last = &p->first;
    pthread_mutex_init(&p->lock, NULL);
    pm_cond_init(&p->work);
    pm_cond_init(&p->ended);
    /* One thread is always there: where no more can be started, everything still runs, and never
     * on the thread that asked, which may hold a lock that the job wants. */
    pthread_mutex_lock(&p->lock);
    err = start_locked(p);
    pthread_mutex_unlock(&p->lock);
    if (err) {
        pm_pool_close(p);
        return err;
    }
    *out = p;
    return 0;
}

void pm_pool_run(struct pm_pool *p, struct pm_job *job)
{
    PM_GUARD(&p->lock);
    if (p->idle <= p->queued && p->threads < p->max)
        start_locked(p);
    job->next = NULL;
    *p->last = job;
    p->last = &job->next;
    p->queued++;
    pthread_cond_signal(&p->work);
}

void pm_pool_close(struct pm_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    pthread_cond_broadcast(&p->work);
    while (p->threads)
        pthread_cond_wait(&p->ended, &p->lock);
    pthread_mutex_unlock(&p->lock);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->ended);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
