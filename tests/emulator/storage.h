/* What the storage host does alike for all services whose contents lie there. */
#ifndef EMULATOR_STORAGE_H
#define EMULATOR_STORAGE_H

#include "tests/emulator/request.h"

/* An error as XML; `code` also is the message. */
void storage_error(struct request *rq, int status, const char *code);

/* This request's signed URL is over. Ranges fetched side by side may all be refused before the
 * client knows: it has a second, then another use of the URL is a breach. */
void storage_judge_expired(struct request *rq);

#endif
