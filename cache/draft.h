/* draft.h: folders made here that become one thing on their service when they are published.
 *
 * A draft is a folder in an account's root with a PUBLISH in the journal and a row in its table
 * `draft`. What is made in it are PUTs like everywhere; they go into one session of the service, which
 * is opened when the first of them may be sent. The name that a file has in the session is its PUT's
 * column `sent`; together with the PUT's step it says that the session may have something of it.
 *
 * A session only grows. When something of which it may have a byte changes, is renamed or removed, it
 * is replaced: it goes to the table `session`, to be dropped there for as long as that takes, and all
 * files are sent anew after a quiet time. `serial` counts the sessions, so that a thread that was still
 * using the old one notes nothing of the new one's. */
#ifndef PM_CACHE_DRAFT_H
#define PM_CACHE_DRAFT_H

#include "cache/journal.h"
#include "cache/send.h"
#include "cache/state.h"

struct pm_drafts;

int  pm_drafts_open(struct pm_cache *c);
/* Whatever is sent into sessions ends soon with -ECANCELED. */
void pm_drafts_stop(struct pm_cache *c);
void pm_drafts_close(struct pm_cache *c);

/* --- where something is; all in a transaction */

enum pm_spot {
    PM_SPOT_OTHER, /* of a service without drafts */
    PM_SPOT_ROOT, /* the root of one with: its folders are drafts, or were */
    PM_SPOT_DRAFT,
    PM_SPOT_COMMITTING, /* it may have become something, which is being found out: nothing changes */
    PM_SPOT_PUBLISHED, /* it became something, which nothing here can change */
};

/* Has the account's service drafts? Needs no transaction. */
bool         pm_draft_any(const struct pm_cache *c); /* has any account's */
bool         pm_draft_account(const struct pm_cache *c, uint32_t account);
enum pm_spot pm_draft_spot(const struct pm_cache *c, pm_node folder);
/* The same of the folder that `node` is shown in; PM_SPOT_OTHER if it is nowhere. */
enum pm_spot pm_draft_spot_of(const struct pm_cache *c, pm_node node);
/* What is never sent into a draft: litter, ".hold", which holds its publishing, and its document (record.h). */
bool pm_draft_is_litter(enum pm_spot spot, const char *name);

/* --- its row; all in a transaction */

struct pm_draft_row {
    pm_node  node;
    uint32_t account;
    char    *session; /* owned; NULL: none is open */
    int64_t  serial; /* of the session; never 0 */
    int      deaths; /* sessions that came to nothing, since the last change here */
    bool     again; /* what the session lacked was sent again, once */
    int64_t  quiet; /* no session is opened before that (wall clock, ms) */
    bool     wish; /* the user asked for it to be published */
    int64_t  changed; /* pm_now_ms() of the last change */
    int64_t  opened; /* when its session was (wall clock, ms); 0: none is */
    char    *refused; /* owned; an operation in it that was refused; NULL: none */
};

/* Is it too early for the successor of a session that was replaced? */
bool pm_draft_is_quiet(const struct pm_cache *c, const struct pm_draft_row *row);
/* 0 or -ENOENT; to be freed by pm_draft_row_free. */
int  pm_draft_get(struct pm_db *db, pm_node folder, struct pm_draft_row *out);
void pm_draft_row_free(struct pm_draft_row *row);

/* Journals a folder as a draft. */
int pm_draft_make(struct pm_db *db, struct pm_jentry *publish);
/* It is no draft any more: removed, given up, or published (then its session is used up). */
int pm_draft_end(struct pm_db *db, pm_node folder, bool published);
/* Something in it changed: its time of idleness starts again, and its quiet time if there is one. */
int pm_draft_touch(struct pm_cache *c, pm_node folder);
/* The content of this PUT changes, or goes, or gets another name: if its folder's session may have
 * something of it, that is replaced. Not in a draft: nothing. -EBUSY: it is being committed; -EROFS: it
 * is published. Touches it. */
int pm_draft_change(struct pm_cache *c, const struct pm_jentry *put);
/* A PUT came to its folder: a link there is alone no more. Touches it, if it is a draft; -EBUSY and -EROFS
 * as above. */
int pm_draft_added(struct pm_cache *c, const struct pm_jentry *put);
enum pm_session_end {
    PM_SESSION_UNWANTED, /* something changed here: its successor waits for a quiet time */
    PM_SESSION_GONE, /* the service ended it */
    PM_SESSION_SPOILT, /* it has what is not ours; as often as one of these two happened is `deaths` */
};
/* The session is replaced. */
int pm_draft_replace(struct pm_cache *c, pm_node folder, enum pm_session_end why);
/* Is every refusal (pm_publish_refused) written down? Tries it. From the housekeeping thread. */
bool pm_draft_refusals_written(struct pm_cache *c);
/* At a start: the time of idleness starts again. */
int pm_draft_restart(struct pm_db *db);


/* --- sending */

/* A thread that sends a file of the folder; it must not send on when `cancel` is set. */
struct pm_draft_run {
    struct pm_draft_run *next; /* drafts.lock */
    pm_node              folder; /* immutable */
    bool                 opening; /* drafts.lock; it opens the session */
    atomic_bool          cancel;
};

void pm_draft_run_begin(struct pm_cache *c, struct pm_draft_run *run, pm_node folder);
void pm_draft_run_end(struct pm_cache *c, struct pm_draft_run *run);
/* The folder's session of this serial, owned, opened if there is none: by one thread, others wait.
 * -ECANCELED: it was replaced. Blocks. */
int pm_draft_session(struct pm_send *s, struct pm_draft_run *run, char **out);

/* send_draft.c: carries the PUT of a file in a draft out. 0: its session has it. `s` has the content. */
int pm_send_draft(struct pm_send *s);
/* send_publish.c: carries a PUBLISH out. */
int pm_send_publish(struct pm_send *s);
/* The account's root as its service knows it, for what is sent into a draft; owned. */
int pm_draft_root(struct pm_cache *c, pm_node folder, struct pm_entry **out);
/* The address that the folder's only file holds, if that is a link file: owned, else NULL. 0 or -errno. */
int pm_draft_link(struct pm_cache *c, pm_node folder, char **out);

/* A session that was replaced. */
struct pm_doomed {
    int64_t  id;
    uint32_t account;
    int      tries;
    char    *session; /* owned */
};
/* Finds one to be dropped now, of an account whose bit is not in `blocked`, and keeps other threads from
 * it. False: none; *wake_ms becomes earlier if there is one later. */
bool pm_draft_doomed(struct pm_cache *c, uint64_t blocked, int64_t *wake_ms, struct pm_doomed *out);
/* Drops it, or notes when to try again. Consumes x->session. Blocks. */
void pm_draft_drop_doomed(struct pm_cache *c, struct pm_doomed *x);

/* --- publishing (publish.c) */

/* What was published or listed, and the user does not want to see: is it this? In a transaction. */
bool pm_draft_is_forgotten(struct pm_db *db, uint32_t account, const char *rid);

/* What the draft waits for, in words: "draft: publishes in 9 min", "waiting: a.e57 is open". */
void pm_publish_state(struct pm_cache *c, pm_node folder, char *out, size_t size);
/* Drafts that were idle for long enough are published. From the housekeeping thread. */
void pm_publish_tick(struct pm_cache *c);

#endif
