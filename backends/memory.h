/* memory.h: the reference backend, all in memory, with scripted faults: for tests only.
 *
 * Each backend that is opened (type "memory", any endpoint) has an empty tree of its own. It shows
 * every kind of entry and, by options, every lack that a service may have. It streams by fetch,
 * takes uploads in steps of 64 KiB, and its sessions survive a caller's crash.
 *
 * All functions may be called while other threads use the backend. */
#ifndef PM_BACKENDS_MEMORY_H
#define PM_BACKENDS_MEMORY_H

#include "backends/backend.h"

#define PM_MEMORY_STEP (64u << 10) /* bytes that one put takes */

extern const struct pm_backend_ops pm_memory_ops;

enum pm_memory_op {
    PM_MEM_LIST,
    PM_MEM_STAT,
    PM_MEM_FETCH,
    PM_MEM_BEGIN,
    PM_MEM_RESUME,
    PM_MEM_PUT,
    PM_MEM_FINISH,
    PM_MEM_ABORT,
    PM_MEM_MKDIR,
    PM_MEM_REMOVE,
    PM_MEM_COPY,
    PM_MEM_SESSION, /* of drafts: opening one, and so on */
    PM_MEM_HELD,
    PM_MEM_DROP,
    PM_MEM_LOOK,
    PM_MEM_COMMIT,
    PM_MEM_FIND,
    PM_MEM_RECORD,
    PM_MEM_OPS, /* their number */
};

struct pm_memory_options {
    bool no_ranges; /* fetch gives all from 0 on */
    bool no_sizes; /* lists and answers say PM_SIZE_UNKNOWN */
    bool no_ids;
    bool no_validators; /* neither versions nor validators */
    bool no_download; /* contents are taken, not given back: -EOPNOTSUPP */
};

void pm_memory_set_options(struct pm_backend *b, const struct pm_memory_options *options);

/* The nth call of `op` from now on (1: the next) fails with `err` (negative), before it does
 * anything or after it did all: a lost answer. One fault for each op; n = 0 takes it back. FETCH
 * fails in the middle of the bytes. With -EBUSY the service says to come again after
 * PM_MEMORY_WAIT_MS. */
#define PM_MEMORY_WAIT_MS 60000
void pm_memory_fault(struct pm_backend *b, enum pm_memory_op op, unsigned n, int err,
                     bool after_effect);
/* Every call of `op` takes so long. */
void pm_memory_delay(struct pm_backend *b, enum pm_memory_op op, int64_t ms);
/* Calls of `op` wait until this is taken back; a cancel or deadline ends the wait. */
void pm_memory_block(struct pm_backend *b, enum pm_memory_op op, bool block);
/* How often `op` was called. */
unsigned pm_memory_calls(struct pm_backend *b, enum pm_memory_op op);

/* From now on its root and the folders "things" and "links" are fixed, each folder in "things" is one
 * thing, and folders have versions, too (pm_memory_set of one gives it another). */
void pm_memory_things(struct pm_backend *b);

/* From now on only this token is taken ("": any), where the account has one configured. */
void pm_memory_set_token(struct pm_backend *b, const char *token);
/* How many calls came with another. */
unsigned pm_memory_refusals(struct pm_backend *b);

/* Puts something into the tree, as if another machine had: `path` as in struct pm_entry, its
 * parents exist. A file or document that exists gets the new content and a new version, its id
 * stays. For links `data` is the target. 0 or -errno. */
int pm_memory_set(struct pm_backend *b, const char *path, enum pm_kind kind, const void *data,
                  size_t len);
/* Takes it away, with all below. 0 or -ENOENT. */
int pm_memory_drop(struct pm_backend *b, const char *path);
/* Marks it as being processed, or no more. 0 or -ENOENT. */
int pm_memory_settling(struct pm_backend *b, const char *path, bool settling);
/* Copies from now on are being processed until pm_memory_settling() ends that; and the next `broken`
 * ones are empty. */
void pm_memory_copies(struct pm_backend *b, bool settle, unsigned broken);
enum pm_memory_share {
    PM_MEM_UNSHARED,
    PM_MEM_SHARED, /* check_move refuses */
    PM_MEM_KNOWN,  /* and it is known before */
};

/* Says whether it is shared. 0 or -ENOENT. */
int pm_memory_share(struct pm_backend *b, const char *path, enum pm_memory_share shared);
/* All that `from` has, with its sessions, is what `to` has now: a service outlives who uses it.
 * What is under way in `from` finds nothing any more. */
void pm_memory_move(struct pm_backend *from, struct pm_backend *to);
/* How many entries the tree has, without the root. */
size_t pm_memory_count(struct pm_backend *b);

/* --- a service where folders become projects (memory_draft.c), type "memory-draft" ---
 *
 * It takes files up to PM_MEMORY_DRAFT_MAX bytes, but no "*.exe", PM_MEMORY_DRAFT_ALL bytes in all; in
 * the names that they have there all but letters, digits, '.', '-' and '_' is '_', and their case makes
 * no difference. Nothing is given back. Its root is not listed
 * until pm_memory_draft_lists. The faults, delays and counters above are for it, too. */

#define PM_MEMORY_DRAFT_MAX (1u << 20)
#define PM_MEMORY_DRAFT_ALL (2u << 20)

extern const struct pm_backend_ops pm_memory_draft_ops;

/* The projects as they were made, a line each: "TITLE OPTIONS LINK: NAME=CONTENT …"; owned. */
char *pm_memory_projects(struct pm_backend *b);
/* Makes one, as if another machine had, that is found by `slug`. 0 or -ENOMEM. */
int pm_memory_project(struct pm_backend *b, const char *slug);
/* How many sessions are open, and how many breaches of the protocol there were: a file sent twice,
 * bytes that were there already, a project made twice of one session. */
size_t   pm_memory_sessions(struct pm_backend *b);
unsigned pm_memory_breaches(struct pm_backend *b);
/* The service forgets every session. */
void pm_memory_expire(struct pm_backend *b);
/* It forgets this file of every session, or has it only in part. */
void pm_memory_lose(struct pm_backend *b, const char *name, bool part);
/* Every session says that it has a file of this name (borrowed), too. */
void pm_memory_intrude(struct pm_backend *b, const char *name);
/* Sessions that are opened from now on say that they end after so long. */
void pm_memory_session_lasts(struct pm_backend *b, int64_t ms);
/* The root is listed from now on. */
void pm_memory_draft_lists(struct pm_backend *b);
/* A committed project is so far (percent); 100 is what they are at first. */
void pm_memory_progress(struct pm_backend *b, int percent);
/* It says that this went wrong with every project; "": nothing. */
void pm_memory_errors(struct pm_backend *b, const char *errors);

/* --- a service that takes drops (memory_drops.c), type "memory-drops" ---
 *
 * What is put into "uploads", files or late drafts, becomes things there; nothing is made elsewhere. A
 * committed draft is a folder with its file and info.json: its options, without the member "password".
 * Options with a "password" of over 20 bytes are refused. The faults and counters above are for it, too. */

#define PM_MEMORY_DROPS "uploads"

extern const struct pm_backend_ops pm_memory_drops_ops;

/* How many passwords came, and the last one; owned, NULL: none. */
char *pm_memory_password(struct pm_backend *b);
/* How many uploads are begun there, and not finished or given up. */
size_t pm_memory_uploads(struct pm_backend *b);

/* For memory_drops.c: the finished object `made` (as the entry of finish) becomes the folder "uploads/NAME" with
 * the file `file`, and a document; again for one that is it already. *out is owned. 0 or -errno. */
int pm_memory_into_thing(struct pm_backend *b, const struct pm_entry *made, const char *name, const char *file,
                         const char *document, struct pm_entry **out);
void pm_memory_keep_password(struct pm_backend *b, const char *password);

/* For memory_draft.c: begins a call; where its own things hang, freed by pm_memory_draft_free. */
int    pm_memory_enter(struct pm_backend *b, struct pm_ctx *ctx, enum pm_memory_op op, int *after);
void **pm_memory_drafts(struct pm_backend *b);
void   pm_memory_draft_free(void *drafts);

#endif
