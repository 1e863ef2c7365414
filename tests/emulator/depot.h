/* What 360-for-you keeps: upload sessions, the files that grow in them, projects, and when requests
 * came (also another service's). A ledger: DIR/360.sqlite, with the bytes in DIR/360. */
#ifndef EMULATOR_DEPOT_H
#define EMULATOR_DEPOT_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/emulator/buf.h"
#include "tests/emulator/ledger.h"

enum session_state { SESSION_OPEN, SESSION_USED, SESSION_DELETED, SESSION_EXPIRED };

struct session {
    char               id[16];
    int64_t            created;         /* ms */
    int64_t            expires_at;      /* ms */
    enum session_state state;           /* rows stay: what was given out once is known for ever */
    char               project[64];     /* the one made of it, or "" */
};

struct part {                           /* one file of a session */
    int64_t  num;                       /* 0: not in the depot */
    char     session[64];
    char     name[256];
    uint64_t total;
    uint64_t received;                  /* bytes [0, received) are here */
    uint64_t told;                      /* the `received` that a client was told last */
    bool     complete;                  /* was, at one time, told or not: finalised */
    bool     listed;                    /* false: nothing that a client may see has come */
    char     bytes[33];                 /* for ledger_bytes() */
};

struct project {
    int64_t  num;                       /* its id */
    char     name[64];                  /* the slug */
    char     session[16];               /* "": seeded, or made of a link */
    char     title[512];
    int      privacy;
    uint64_t size;
    int64_t  created;                   /* ms */
    int64_t  queued_until;              /* ms; status 0 before, then 1 to 99 … */
    int64_t  ready_at;                  /* ms; … until here, then 100 */
    int      stuck_at;                  /* a status that it never leaves; -1: none */
    char     errors[256];
    char     errors_form[8];
    char     request[16384];            /* the JSON it was made by */
};

struct rate {                           /* how many requests within how long */
    const char *name;
    int64_t     limit;
    int64_t     window_ms;
    bool        fixed;                  /* windows follow each other; else any so long */
    bool        counts_refused;
};

int depot_open(const char *dir, struct ledger **out);

/* Lookups: true and *out, or false. */
bool depot_session(struct ledger *d, const char *id, struct session *out);
bool depot_part(struct ledger *d, const char *session, const char *name, bool fold,
                struct part *out);
bool depot_project(struct ledger *d, const char *name, struct project *out);

/* Adds it, or changes the one that is there. */
void depot_put_session(struct ledger *d, const struct session *s);
void depot_put_part(struct ledger *d, struct part *p);   /* fills in num and bytes if it is new */
void depot_put_project(struct ledger *d, struct project *p);     /* fills in num */
bool depot_remove_project(struct ledger *d, const char *name);

/* In order of their making; with the lock held. `each` may call the depot, but not change it. */
typedef void session_fn(const struct session *s, void *arg);
typedef void part_fn(const struct part *p, void *arg);
typedef void project_fn(const struct project *p, void *arg);
void depot_sessions(struct ledger *d, session_fn *each, void *arg);
void depot_parts(struct ledger *d, const char *session, part_fn *each, void *arg);
void depot_projects(struct ledger *d, project_fn *each, void *arg);

/* A client is told how much of each listed file is here. */
void depot_told_all(struct ledger *d, const char *session);
/* Removes a session's files, their bytes as well. */
void depot_drop_parts(struct ledger *d, const char *session);

uint64_t depot_projects_size(struct ledger *d);
int64_t depot_projects_count(struct ledger *d);

/* One more request at this time: 0, or in how many ms there will be room. */
int64_t depot_rate(struct ledger *d, const struct rate *rate, int64_t now);
int64_t depot_rate_used(struct ledger *d, const struct rate *rate, int64_t now);
/* In how many ms there will be room for one; 0: now. */
int64_t depot_rate_wait(struct ledger *d, const struct rate *rate, int64_t now);
void depot_rate_forget(struct ledger *d);

#endif
