/* Shared by smartshape.c (dispatch, reading) and smartshape_change.c (what changes the tree). */
#ifndef EMULATOR_SMARTSHAPE_CALL_H
#define EMULATOR_SMARTSHAPE_CALL_H

#include "tests/emulator/path.h"
#include "tests/emulator/smartshape.h"
#include "tests/emulator/request.h"
#include "tests/emulator/upload.h"

enum tail { TAIL_NONE, TAIL_PATH, TAIL_ID, TAIL_ANY };

struct route {
    const char *method;
    const char *prefix;                 /* below /file/ */
    const char *endpoint;
    enum tail   tail;                   /* what follows the prefix */
    void (*finish)(struct request *rq);
};

/* rq->state while it is ours. */
struct call {
    const struct route *route;
    struct path         path;           /* TAIL_PATH; of an upload: the folder */
    char                id[64];         /* TAIL_ID */
    struct upload      *upload;
};

/* In smartshape.c. */
void smartshape_error(struct request *rq, int status, const char *detail);
void smartshape_success(struct request *rq, const char *file_id);       /* NULL: without fileId */
void smartshape_answer_element(struct request *rq, const struct node *n);
bool smartshape_find(struct request *rq, struct node *n);       /* at the path, or a 404 */
bool smartshape_find_id(struct request *rq, struct node *n);    /* likewise */

/* In smartshape_change.c. */
void smartshape_mkdir(struct request *rq);
void smartshape_begin_upload(struct request *rq, struct call *call);
void smartshape_upload(struct request *rq);
void smartshape_update(struct request *rq);
void smartshape_post_copy(struct request *rq);
void smartshape_delete(struct request *rq);

#endif
