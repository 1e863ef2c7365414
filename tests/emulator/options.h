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

/* ShareMy3D's; their names begin with "sm3d.". */
struct sm3d_options {
    char token[128];                    /* the account's; "": the one it was made with */
    char auth[8];                       /* "bearer", "bare" or "both" */
    char errors[8];                     /* their bodies: "class", "plain", "html" or "empty" */
    int  created_status;                /* of a POST: 201 or 200 */
    int  gone_status;                   /* of a model that does not exist: 404 or 400 */
    char lengths[8];                    /* counted in: "strict", "bytes", "chars" or "utf16" */
    char extensions[256];               /* comma list: of models; "": any */
    char pictures[128];                 /* of backgrounds */
    char empty[10];                     /* size 0: "refused" or "accepted" */
    char empty_password[8];             /* "": "none" or "set" */
    char second_post[8];                /* "breach" or "fine" */
    char size_mismatch[8];              /* bytes unlike `size`: "failed" or "kept" */
    int  notice_ms;                     /* UPLOADING after the bytes are there … */
    int  process_ms;                    /* … then PROCESSING */
    char stuck[12];                     /* a status that new ones never leave; "": none */
    char failing[64];                   /* comma list of extensions: ends FAILED */
    char stale[12];                     /* never uploaded, session over: "UPLOADING" or "FAILED" */
    char original_when[12];             /* /original works once "uploaded" or "ACTIVE" */
    char original_for[16];              /* of models "all" or "downloadable" */
    int  original_status;               /* else: 404 or 400 */
    char url_form[8];                   /* downloadUrl: "v4", "v2", "lower" or "opaque" */
    char put_form[8];                   /* uploadUrl: likewise */
    int  put_ttl_s;
    char resumable_form[8];             /* "json", "xml" or "start" */
    int  final_status;                  /* of a session: 200 or 201 */
    int  session_s;                     /* life of a session … */
    char session_from[12];              /* … from its "creation" or its "last_put" */
    char head[8];                       /* with a URL for GET: "refused" or "allowed" */
    int  expired_status;                /* 400 ExpiredToken or 403 AccessDenied */
    char filename_in[12];               /* "disposition", "header", "path" or "none" */
    char hashes[8];                     /* "lines", "joined", "crc32c" or "none" */
    bool goog_headers;
    int  clock_s;                       /* the service's clock is so much ahead */
    char ties[10];                      /* in a list: "kept" or "shuffled" */
    char links[8];                      /* of a list's meta: "own", "foreign" or "none" */
    int  list_lag_ms;                   /* a new one is not listed before */
    char torn[8];                       /* of a broken PUT: "granule", "drop" or "bytes" */
    int  short_every;                   /* every so-manieth PUT is kept by half; 0: none */
    char odd_chunk[8];                  /* no multiple of 256 KiB: "refused" or "rounded" */
    int  rate_limit;                    /* API calls in a window; 0: no limit */
    int  rate_window_ms;
    char retry_after[8];                /* of a 429: "none", "seconds" or "date" */
};

/* Shapeways'; their names begin with "shapeways.". */
struct shapeways_options {
    char    auth[8];                    /* "both", "oauth1" or "oauth2" */
    char    consumer_secret[64];        /* "": the one it was made with, which else is over */
    char    no_credentials[8];          /* answered by "empty" (200) or "401" */
    char    bad_credentials[8];         /* "401", "empty" or "html" (403) */
    char    errors[8];                  /* their bodies: "json", "html" or "empty" */
    int     invalid_status;             /* of what makes no sense: 400 or 500 */
    int     gone_status;                /* of what is not there: 400, 403, 404, 500 */
    int     clock_s;                    /* the service's clock is so much ahead */
    int     skew_s;                     /* so far a timestamp may be off */
    int     request_ttl_s;              /* life of a request token */
    int     oauth2_ttl_s;
    char    token_form[12];             /* oauth_token "inside" the URL, or "separate", too */
    char    login_url[8];               /* "own" or "foreign" host */
    char    terms[12];                  /* "accepted" or "open" */
    char    file_form[8];               /* "percent", "plain" or "either" */
    char    checksums[8];               /* "told" or "null" */
    int64_t file_max;                   /* bytes; 0: no limit */
    int     file_max_status;
    char    numbers[8];                 /* "strings", "numbers" or "mixed" */
    char    flags[8];                   /* "digits", "bool" or "strings" */
    char    empty_list[8];              /* "null", "array" or "absent" */
    char    empty_object[8];            /* "array", "object" or "null" */
    bool    slashes;                    /* written as \/ */
    char    unicode[8];                 /* "escaped" or "utf8" */
    char    data_at[12];                /* fileData: "document", "first" or "last" */
    char    model_data[8];              /* GET of a model has it as "null", "absent", "whole" */
    char    no_version[8];              /* one that is not there: the "last", or "refused" */
    char    list_title[12];             /* "title" or "modelTitle" */
    char    list_order[8];              /* "newest" or "oldest" first */
    int     list_lag_ms;                /* a new one is not listed before */
    char    materials[8];               /* of a PUT: "merge" or "replace" */
    char    materials_told[8];          /* "all" or "chosen" */
    char    history[8];                 /* of the rate: "object" or "array" */
    int     process_ms;                 /* "printable" is not known before */
    char    second_post[8];             /* "breach" or "fine" */
    int     speed;                      /* of downloads, bytes a second; 0: no limit */
    int64_t hold_at;                    /* they wait here until this is 0 */
    int     rate_limit;                 /* 0: none */
    int     rate_window_ms;
    bool    rate_headers;
    bool    rate_counts_refused;
    bool    rate_breach;
    char    retry_after[8];             /* of a 429: "none", "seconds" or "date" */
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
    struct sm3d_options sm3d;
    struct shapeways_options shapeways;
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
