/* For the parts of the control interface that belong to one service. */
#ifndef EMULATOR_CONTROL_H
#define EMULATOR_CONTROL_H

#include <cjson/cJSON.h>

#include "tests/emulator/request.h"

struct control_order {
    const char *method;
    const char *name;                   /* below /_control/ */
    void (*obey)(struct request *rq);
};

void control_error(struct request *rq, int status, const char *detail);
void control_answer(struct request *rq, struct buf *text);      /* takes it; empty: "{}" */
void control_answer_cjson(struct request *rq, cJSON *json);     /* consumes it */
/* The request's body, owned by the caller; NULL: the error is answered. */
cJSON *control_body(struct request *rq);

#endif
