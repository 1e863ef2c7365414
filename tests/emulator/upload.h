/* Receiving one file in a multipart/form-data body, whatever the service. Two for the same place at
 * the same time are a breach. */
#ifndef EMULATOR_UPLOAD_H
#define EMULATOR_UPLOAD_H

#include "tests/emulator/request.h"

struct upload;                          /* belongs to the thread of its request */

/* `folder` is a path for messages and comparison ("/a/b"; copied). NULL: the request is no proper
 * upload, and has its breach and its reply. */
struct upload *upload_begin(struct request *rq, const char *folder);
/* What is wrong with the body becomes a breach and the reply. */
void upload_feed(struct upload *u, const char *bytes, size_t len);
/* The body is whole. 0, or -EBADMSG when there is a reply. */
int upload_end(struct upload *u);

const char *upload_name(const struct upload *u);        /* borrowed */
uint64_t upload_size(const struct upload *u);
/* Moves the bytes into the store. 0 or a negative errno. */
int upload_commit(struct upload *u, char content[33]);
void upload_free(struct upload *u);     /* drops what was not committed; NULL is fine */

#endif
