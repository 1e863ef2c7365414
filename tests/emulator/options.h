/* How the services behave where the documents leave it open, switchable while running. A request
 * works on the copy it took when it began. */
#ifndef EMULATOR_OPTIONS_H
#define EMULATOR_OPTIONS_H

#include <cjson/cJSON.h>
#include <stdbool.h>

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
