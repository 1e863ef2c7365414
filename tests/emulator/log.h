/* What arrived and what was wrong with it: the log of requests, the breaches of documented rules,
 * and the few facts about earlier requests that later ones are judged by. Any thread. */
#ifndef EMULATOR_LOG_H
#define EMULATOR_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/emulator/buf.h"

struct log;

/* What is known of a request when it begins; the strings are copied. */
struct log_start {
    int         port;
    uint64_t    connection;
    const char *endpoint;
    const char *method;
    const char *path;                   /* decoded */
    const char *query;                  /* without secrets */
    const char *range;                  /* "" if none was asked for */
    bool        authorized;
};

struct log_end {
    int      status;                    /* 0: no answer was sent */
    uint64_t in_bytes;
    uint64_t out_bytes;
    bool     finished;                  /* the whole answer went out */
};

struct log *log_new(void);
void log_free(struct log *log);

uint64_t log_begin(struct log *log, const struct log_start *start);  /* -> n for log_finish */
void log_finish(struct log *log, uint64_t n, const struct log_end *end);
void log_json(struct log *log, struct buf *out);
/* Counts per endpoint of the entries whose path holds `match` ("" for all). */
void log_summary_json(struct log *log, const char *match, struct buf *out);
void log_clear(struct log *log);

/* Records one sentence. The same sentence again is kept too: tests count them. */
void log_breach(struct log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_breaches_json(struct log *log, struct buf *out);
void log_breaches_clear(struct log *log);       /* also forgets what log_remember() was told */

/* A bounded memory of (key, value); the oldest of 256 keys is forgotten. get: 0 if unknown. */
void log_remember(struct log *log, const char *key, int64_t value);
int64_t log_recall(struct log *log, const char *key);

#endif
