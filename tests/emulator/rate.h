/* Rate limits as services tell of them: 429 and Retry-After. */
#ifndef EMULATOR_RATE_H
#define EMULATOR_RATE_H

#include "tests/emulator/depot.h"
#include "tests/emulator/request.h"

/* Counts this request: 0, or in how many ms there will be room. A client that comes before the end
 * of the Retry-After that it was told has its breach. `form`: "seconds", "date" or "none". */
int64_t rate_spend(struct request *rq, const struct rate *rate, const char *form);

/* Adds the Retry-After to a 429. */
void rate_tell_retry_after(struct request *rq, int64_t wait_ms, const char *form);

#endif
