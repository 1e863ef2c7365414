/* pool.h: a few threads that run what may block on a service, so that no thread that answers the
 * kernel has to. */
#ifndef PM_CACHE_POOL_H
#define PM_CACHE_POOL_H

struct pm_pool;

/* Embedded in what is to be done; borrowed until `run` is called, which may free it. */
struct pm_job {
    void (*run)(struct pm_job *job);
    struct pm_job *next; /* the pool's */
};

/* At most `threads` at once; they start when there is work and end when idle for 10 s. */
int  pm_pool_open(unsigned threads, struct pm_pool **out);
/* Queues a job. Every job runs, also those still queued at pm_pool_close. */
void pm_pool_run(struct pm_pool *p, struct pm_job *job);
/* Runs what is queued, waits for all. NULL is fine. */
void pm_pool_close(struct pm_pool *p);

#endif
