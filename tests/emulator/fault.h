/* Faults that a test has ordered: which requests they hit, and what then goes wrong. Any thread. */
#ifndef EMULATOR_FAULT_H
#define EMULATOR_FAULT_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

enum fault_reset {
    RESET_NONE,
    RESET_BEFORE,                       /* before any processing */
    RESET_DURING,                       /* after reset_at bytes of the request's body */
    RESET_AFTER,                        /* everything was done, only the answer is lost */
};

/* What happens to one request; a zeroed plan (with cut, stall, … = -1) is "nothing". */
struct fault_plan {
    int     id;                         /* 0: no fault */
    int     status;                     /* answer this instead of processing; 0: process */
    int     retry_after_s;              /* -1: no Retry-After */
    int     delay_ms;                   /* before processing */
    enum fault_reset reset;
    int64_t reset_at;
    int64_t cut;                        /* body bytes until the connection is closed; -1: off */
    int64_t stall;                      /* body bytes until silence; 0: before headers; -1: off */
    int64_t stall_in;                   /* request body bytes until we stop reading; -1: off */
    int64_t wrong_length;               /* added to Content-Length; 0: off */
    bool    processed;                  /* status answer, but everything was done */
    bool    early;                      /* status answer at the headers, body unread */
    bool    garbage;                    /* broken JSON as body */
    bool    ignore_range;
    bool    has_body;                   /* the body is `body`, or the file's if that is named */
    char    body[512];                  /* literal; may be "" */
    char    file[512];                  /* path of a file on this machine; "" for none */
    char    header[512];                /* "Name: value", instead of one of that name; "" for none */
};

struct faults;

struct faults *faults_new(void);
void faults_free(struct faults *f);

/* Adds the fault that `spec` describes (README). -EINVAL: *why says what is wrong. -> id */
int faults_add(struct faults *f, const cJSON *spec, const char **why);
cJSON *faults_json(struct faults *f);   /* owned by the caller */
void faults_clear(struct faults *f);    /* also wakes all sleepers, whose requests then end */

/* The first fault that still applies to this endpoint and text, counted as hit. False: none.
 * Those that match `before`, too, had their turn (NULL: nothing had). */
bool faults_pick(struct faults *f, const char *endpoint, const char *text, const char *before,
                 struct fault_plan *out);
struct fault_plan fault_none(void);

/* Sleeps for so long (-1: for ever), or until faults_clear(), faults_stop(), or until the client
 * at socket `fd` has gone. True if the time ran its course. */
bool faults_sleep(struct faults *f, int fd, int64_t ms);
bool client_gone(int fd);               /* nobody is there any more to read an answer */
void faults_stop(struct faults *f);     /* nobody sleeps any more */

#endif
