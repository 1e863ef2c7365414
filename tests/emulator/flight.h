/* Requests that are under way to a place which takes one at a time: noticing a second one, and
 * telling a client that has given its first one up from one that breaks the rule. */
#ifndef EMULATOR_FLIGHT_H
#define EMULATOR_FLIGHT_H

#include <stdbool.h>

struct flights;                         /* those under way; any thread */
struct request;

/* One of them: zeroed at first, then flight_begin() to flight_end(), in its request's thread. */
struct flight {
    struct request *rq;                 /* borrowed; NULL: not under way */
    char           *place;              /* owned; `flights` lock */
    struct flight  *next;               /* `flights` lock */
};

struct flights *flights_new(void);
void flights_free(struct flights *all);

/* False: another is under way to this place, and its client is still there. */
bool flight_begin(struct flights *all, struct flight *f, struct request *rq, const char *place);
void flight_end(struct flights *all, struct flight *f);     /* fine if it never began */

#endif
