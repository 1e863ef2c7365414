/* The sums of sessions that get their bytes in order: kept between their PUTs, so that the answer
 * to the last one need not wait until gigabytes have been read again. A run belongs to one PUT at a
 * time; what is lost (a second PUT, bytes sent twice, a restart) is computed at the end instead. */
#ifndef EMULATOR_SHAREMY3D_RUNS_H
#define EMULATOR_SHAREMY3D_RUNS_H

#include "tests/emulator/sums.h"

struct runs;                            /* any thread */

struct runs *runs_new(void);
void runs_free(struct runs *all);

/* A session's if it stands at `size` bytes (a new one at 0), owned by the caller; or NULL. */
struct sums_run *runs_take(struct runs *all, const char *session, uint64_t size);
/* Gives it back; NULL is fine. Only the last few are kept. */
void runs_give(struct runs *all, const char *session, struct sums_run *run);

#endif
