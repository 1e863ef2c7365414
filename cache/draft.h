/* draft.h: folders made here that become one thing on their service when they are published.
 *
 * A draft is a folder with a PUBLISH in the journal and a row in its table `draft`. What is made in it are
 * PUTs like everywhere. There are two kinds:
 *
 * One in an account's root, of a service with sessions. Its files go into one session, which
 * is opened when the first of them may be sent. The name that a file has in the session is its PUT's
 * column `sent`; together with the PUT's step it says that the session may have something of it.
 *
 * A late one, in a folder of PM_MANNER_DROPS: nothing of it is sent before its commit, which is the upload
 * of its one file. Until then a file that was closed is SENT all the same: gathered, as it were. send_late.c
 * has the rest of its life.
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

#define PM_PARTICULARS "info.json" /* of a late draft: a JSON object, and then what the service says of it */

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
    PM_SPOT_LATE, /* a late draft */
    PM_SPOT_COMMITTING, /* it may have become something, which is being found out: nothing changes */
    PM_SPOT_PUBLISHED, /* it became something, which nothing here can change */
};

/* Has the account's service sessions for drafts? Needs no transaction. */
bool         pm_draft_account(const struct pm_cache *c, uint32_t account);
/* May the account have drafts of either kind; may any? Likewise. */
bool         pm_draft_may(const struct pm_cache *c, uint32_t account);
bool         pm_draft_any(const struct pm_cache *c);
enum pm_spot pm_draft_spot(const struct pm_cache *c, pm_node folder);
/* The same of the folder that `node` is shown in; PM_SPOT_OTHER if it is nowhere. */
enum pm_spot pm_draft_spot_of(const struct pm_cache *c, pm_node node);
/* The name of the document with what the user wants of a draft; NULL: nothing has one there. */
const char  *pm_draft_document(enum pm_spot spot);
bool         pm_draft_is_document(enum pm_spot spot, const char *name);
/* What is never sent as a file of a draft: litter, ".hold", which holds its publishing, and its document. */
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
    int64_t  opened; /* when its session was (wall clock, ms); 0: none is. Of a late one: when its commit
                        began; 0: not yet */
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
 * something of it, that is replaced; of a late draft the commit ends. Not in a draft: nothing. -EBUSY: it is
 * being committed; -EROFS: it is published. Touches it. */
int pm_draft_change(struct pm_cache *c, const struct pm_jentry *put);
/* A PUT came to its folder: a link there is alone no more. Touches it, if it is a draft; -EBUSY and -EROFS
 * as above. */
int pm_draft_added(struct pm_cache *c, const struct pm_jentry *put);
enum pm_session_end {
    PM_SESSION_UNWANTED, /* something changed here: its successor waits for a quiet time */
    PM_SESSION_GONE, /* the service ended it */
    PM_SESSION_SPOILT, /* it has what is not ours; as often as one of these two happened is `deaths` */
};
/* The session is replaced; of a late draft, what its commit may have brought there is taken away. */
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
/* send_late.c: the same two of a late draft; what is looked at before the second is sent is publish.c's. */
int pm_send_late(struct pm_send *s);
int pm_publish_late(struct pm_send *s);
/* The session has the content as of write generation `gen`, or what becomes of it needs none. -ECANCELED:
 * not of this one. */
int pm_draft_note_sent(struct pm_send *s, int64_t gen);
/* What is to be sent, and whether it is what was closed. */
int pm_draft_look_at_content(struct pm_send *s, uint64_t *size, int64_t *gen);
/* The PUBLISH is not carried out now: again after `pause_ms` if it is wished for and may be, else when the
 * draft was idle. */
int pm_publish_put_off(struct pm_send *s, int64_t pause_ms);
#define PM_PUBLISH_WRITER_MS 500 /* so long after it was found open for writing a file is looked at again */
/* Has somebody a file of the draft open for writing? */
bool pm_publish_has_writer(struct pm_send *s);
/* In a transaction: is everything as it was when `row` was read, and sent? */
bool pm_publish_is_ready(struct pm_send *s, const struct pm_draft_row *row);
/* In a transaction: is there nothing in it, or ".hold"? A change in it ends that (pm_draft_touch). */
bool pm_publish_is_held(struct pm_db *db, pm_node folder);
/* The account's root as its service knows it, for what is sent into a draft; owned. */
int pm_draft_root(struct pm_cache *c, pm_node folder, struct pm_entry **out);
/* The address that the folder's only file holds, if that is a link file: owned, else NULL. 0 or -errno. */
int pm_draft_link(struct pm_cache *c, pm_node folder, char **out);

/* A session that was replaced, or the upload of a late draft that nobody wants any more. */
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
/* Late drafts at or below `node` (0: all) that can be are to be published now: sync. */
void pm_publish_late_now(struct pm_cache *c, pm_node node);
/* Drafts that were idle for long enough are published. From the housekeeping thread. */
void pm_publish_tick(struct pm_cache *c);

#endif
