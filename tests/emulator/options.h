/* How the services behave where the documents leave it open, switchable while running. A request
 * works on the copy it took when it began. */
#ifndef EMULATOR_OPTIONS_H
#define EMULATOR_OPTIONS_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

/* 360-for-you's; their names begin with "360.". */
struct three_sixty_options {
    char    token[128];                 /* the account's; "": the one it was made with */
    int     rate_percent;               /* the table's limits, scaled */
    int     open_limit;                 /* of POST /uploads an hour: 30, or 10 */
    int     rate_hour_ms;               /* what it calls an hour … */
    int     rate_minute_ms;             /* … and a minute */
    char    rate_shape[8];              /* "sliding" or "fixed" windows */
    bool    rate_counts_refused;        /* a 429 counts, too */
    bool    rate_breach;                /* more than the limit is a breach */
    char    retry_after[8];             /* of a 429: "seconds", "date" or "none" */
    int     expires_s;
    char    expiry_from[12];            /* "creation" or "last_put" */
    int     gone_status;                /* of a session that is over: 404, or 400 */
    char    allowed[512];               /* comma list of extensions */
    char    extension_form[8];          /* in a 415: "plain" or "dot" */
    int64_t file_max;                   /* bytes; 0: no limit */
    int64_t session_max;                /* bytes; 0: no limit */
    char    session_counts[12];         /* "declared" sizes, or "received" bytes */
    int64_t quota;                      /* bytes; 0: no limit */
    int     project_limit;              /* 0: none */
    char    tariff[16];                 /* "full", "no_api", "no_upload" or "no_project" */
    char    scope[8];                   /* "both", "write" or "read" */
    bool    email_verified;
    char    flatten[12];                /* "strip", "underscore" or "utf8" */
    char    name_case[8];               /* "fold": A.jpg is a.jpg; or "exact" */
    char    torn[8];                    /* of a PUT that broke off: "drop", "entry" or "keep" */
    char    overlap[12];                /* "keep": received never falls; or "truncate" */
    int     short_every;                /* every so-manieth chunk is kept by half; 0: none */
    char    empty_files[20];            /* "accepted" or "length_required" */
    char    used_session[8];            /* after its project: "kept" or "gone" */
    char    slug[8];                    /* "same" as upload_id, "other", or "taken" by another */
    char    known_fields[256];          /* comma list: of POST /projects, besides the documented */
    int     queue_ms;                   /* a project's time at status 0 … */
    int     process_ms;                 /* … and from 1 to 99 */
    int     stuck_at;                   /* a status that it never leaves; -1: none */
    char    errors[256];                /* what the record of a project to come tells as errors */
    char    errors_form[8];             /* "text" or "list" */
    char    list[8];                    /* GET /projects: "none", "array" or "object" */
};

struct option_values {
    int  max_connections;               /* more at once is a breach */
    int  signed_ttl_s;                  /* life of signed URLs */
    bool range;                         /* downloads honour Range */
    bool etag;                          /* downloads carry an ETag */
    char token[1024];                   /* the account's; "": the one it was made with */
    char download[12];                  /* "direct" or "redirect" to the storage port */
    char upload_param[8];               /* "path", "p" or "both" */
    char quoting[12];                   /* of file names in multipart: "backslash" or "percent" */
    int  exists_status;                 /* 409 or 400 */
    int  error_shape;                   /* 1, 2, 3: see README */
    int  error_body_status;             /* status claimed in error bodies; 0: the real one */
    char id_member[8];                  /* "id", "_id" or "both" */
    char owner[8];                      /* "object", "number" or "string" */
    bool revision_date;
    bool extra_members;                 /* members that no document names */
    int  queue_ms;                      /* an upload's time in state "queued" */
    int  convert_ms;                    /* and in "converting" */
    bool conversion_moves_updated;
    char error_extensions[128];         /* comma list: conversion ends "inError" */
    char plain_extensions[128];         /* comma list: never converted, state "none" */
    int  copy_queue_ms;
    int  copy_ms;
    char copy_size[8];                  /* size shown while copying: "final" or "zero" */
    bool copy_dependencies;             /* a copy brings files of the same stem */
    bool copy_dirs;                     /* directories can be copied */
    struct three_sixty_options three_sixty;
};

struct options;

struct options *options_new(void);
void options_free(struct options *o);

struct option_values options_get(struct options *o);

/* Sets each member of `changes`; all or nothing. On an unknown name or a wrong type: -EINVAL, and
 * *bad is that member's name (borrowed from `changes`). */
int options_merge(struct options *o, const cJSON *changes, const char **bad);

cJSON *options_json(struct options *o);  /* owned by the caller */

#endif
