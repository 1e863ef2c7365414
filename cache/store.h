/* store.h: the contents held here: one sparse file each, and what of it is there.
 *
 * A content is what one node's object holds at one version, or what was written here and is not
 * sent yet. Of a content that came from a service, `present` says which bytes are in the file;
 * everything from the base's end on is always present (what lies there was written here). A block
 * is marked present only after its bytes are in the file. No hole is punched under anyone:
 * eviction takes whole contents that nobody has open.
 *
 * Lock order: store.lock -> content.lock -> the database's. */
#ifndef PM_CACHE_STORE_H
#define PM_CACHE_STORE_H

#include "cache/node.h"
#include "cache/range.h"

#include <stdatomic.h>

struct pm_store;
struct pm_transfer;
struct pm_located;
struct pm_waiter;

struct pm_content {
    struct pm_store   *store; /* immutable */
    struct pm_content *next; /* store.lock; hash chain */
    int64_t            id; /* immutable; its row, its file's name */
    pm_node            node; /* immutable */
    uint32_t            account; /* immutable; whose it is */
    int                fd; /* immutable */
    char               version[PM_NAME_MAX + 1]; /* lock */
    atomic_int         refs; /* the last one is given back under store.lock */

    /* Held across local file I/O while the content is not whole, never across the network. */
    pthread_mutex_t     lock;
    unsigned            base; /* lock; grows when it is fetched from another object than before */
    uint64_t            base_end; /* lock; size of the base it is fetched from; 0: none. Set while no
                                     transfer runs */
    struct pm_ranges    present; /* lock */
    struct pm_ranges    doubtful; /* lock; present, but the version was not checked since */
    uint64_t            size; /* lock; the file's size */
    uint64_t            bytes; /* lock; counted in store.used */
    uint64_t            uncounted; /* lock; written since bytes was measured */
    int64_t             mtime_ns; /* lock; last write or utimes here; 0: none */
    int64_t             gen; /* lock; grows with every write */
    int64_t             era; /* lock; of the row that tells what is present (durable.h) */
    int                 handles; /* lock; open files */
    int                 writers; /* lock; open files that may write */
    bool                marked; /* lock; the journal knows that it is being written to */
    bool                unsure; /* lock; the journal refused to know it, and may come to (db.h) */
    bool                clone; /* lock; untouched: a copy of another node's object (clone.c) */
    bool                nowhere; /* lock; its name is gone: writes are not journalled */
    bool                stale; /* lock; incomplete, and the service has another version */
    bool                superseded; /* lock; whole and open, goes when the last closes it */
    bool                gone; /* lock; row and file are deleted, the descriptor lives on */
    bool                changed; /* lock; `present` is not in the row yet */
    bool                in_order; /* lock; the service ignores ranges */
    char                labelled; /* lock; enum pm_labelled, as written to the file since it is open */
    int64_t             timed_out_ms; /* lock; pm_now_ms(), when a transfer timed out; 0: bytes came */
    bool                bouncing; /* lock; the store had no room for what came last */
    char                validator[PM_NAME_MAX + 1]; /* lock; of the first answer; "": none yet */
    char                digest[64]; /* lock; of the whole base, as the service tells it; "": it did not,
                                       or it was checked */
    struct pm_transfer *transfers; /* lock; running (fetch.c) */
    unsigned            ntransfers; /* lock */
    struct pm_waiter   *waiters; /* lock; readers (fetch.c) */
    struct pm_located  *located; /* lock; where it is got, the newest first; freed with the content */
    atomic_bool         cancel_upload; /* a write came: the queue starts over */
    uint64_t            upload_size; /* the queue's thread's */
    atomic_uint_least64_t upload_left; /* bytes of the upload that runs which were not sent yet */
};

/* Opens the folder `dir`/data. 0 or -errno. */
int  pm_store_open(const struct pm_conf *conf, struct pm_db *db, struct pm_store **out);
void pm_store_close(struct pm_store *s);

/* The content the node serves, made empty if there is none (row and file). Owned reference.
 * -ENOENT: no such node; -EISDIR; other errno of the disk. */
int pm_content_get(struct pm_store *s, pm_node node, struct pm_content **out);
/* Only if it is in memory (somebody uses it); else NULL. Owned reference. */
struct pm_content *pm_content_peek(struct pm_store *s, pm_node node);
void               pm_content_ref(struct pm_content *c);
void               pm_content_put(struct pm_content *c);

bool pm_content_whole_locked(const struct pm_content *c);
/* Writes what is present to the row, if it changed. 0 or -errno: the next one tries again. */
int pm_content_save(struct pm_content *c);
/* Adds [off, end) to what is present and of the disk. Called with the lock. */
int  pm_content_landed_locked(struct pm_content *c, uint64_t off, uint64_t end);
/* Measures the file and corrects store.used. Called with the lock. */
void pm_content_count_locked(struct pm_content *c);
/* In a transaction: row gone (the caller unlinks by pm_content_unlink after the commit). */
int  pm_content_delete_row(struct pm_db *db, int64_t id);
void pm_content_unlink(struct pm_store *s, int64_t id);

/* The service has another version of the node's object: a content that is unsent stays; whole and
 * open it serves until closed; else it is dropped, and whoever reads it gets -ESTALE. What another
 * node's content still lacks of the object cannot be had any more. */
void pm_store_superseded(struct pm_store *s, pm_node node);
/* The same for other nodes' contents alone. */
void pm_store_lose_copies(struct pm_store *s, pm_node node);
/* This content is incomplete, and the service has another version: it is dropped unless unsent. A
 * content that was made for the node since is not touched. */
void pm_store_stale(struct pm_content *c);
/* The same bytes have a new version name, also for other nodes' contents that are fetched from the
 * node's object. */
void pm_store_adopt(struct pm_store *s, pm_node node, const char *version);
/* Its part in the transaction that gives the node that version: who opens it before pm_store_adopt
 * comes must not find its content another version's. */
int pm_store_adopt_rows(struct pm_db *db, pm_node node, const char *version);
/* The last open file of the content was closed: one that was superseded goes. */
void pm_store_closed(struct pm_content *c);
/* Drops the content of a node that is gone, unless it is unsent; the file goes when closed. */
void pm_store_drop(struct pm_store *s, pm_node node);

/* Sizes and times of what was open at a crash, from the files; at a start. 0 or -errno. */
int pm_store_recover_sizes(struct pm_store *s);
/* The node has its name again: what is written to it is journalled. */
void pm_store_revive(struct pm_store *s, pm_node node);
/* Drops contents whose node is gone; at a start. */
void pm_store_drop_orphans(struct pm_store *s);
/* Removes files that no index and no journal knows of, as a crash or a lost index leaves them; but
 * none that was written here and is not known to be sent (label.h). Any time, from a background
 * thread; ends early when *stop. */
void pm_store_sweep(struct pm_store *s, const atomic_bool *stop);
/* Every upload and every transfer that runs ends soon with -ECANCELED. */
void pm_store_cancel_all(struct pm_store *s);

/* May `bytes` more be kept? Evicts closed, sent contents, least recently used first. If so they are
 * held until given back by pm_store_release, bit by bit as they land or all at the end. */
bool pm_store_reserve(struct pm_store *s, uint64_t bytes);
void pm_store_release(struct pm_store *s, uint64_t bytes);
/* 0 if the disk has room for `bytes` of unsent work above min_free (after eviction), or -ENOSPC.
 * Unsent work may pass max_size. */
int  pm_store_room(struct pm_store *s, uint64_t bytes);
/* The user wants the node's content dropped. -EAGAIN: it is not sent; -EBUSY: it is open; -EPERM: the
 * service cannot give it back, and without `last_copy` it stays. */
int  pm_store_evict(struct pm_store *s, pm_node node, bool last_copy);
/* Would so much fit if everything were sent? */
bool pm_store_could(struct pm_store *s, uint64_t bytes);
/* The disk had no room for `bytes`, whatever it said: evicts so much. 0 or -ENOSPC. */
int  pm_store_refused(struct pm_store *s, uint64_t bytes);
/* Evicts what passes max_size, as far as it was sent. */
void pm_store_trim(struct pm_store *s);
struct pm_store_usage {
    uint64_t used; /* bytes on the disk of all contents */
    uint64_t evictable; /* of these, what the services have and can give back */
    uint64_t last_copy; /* what was sent, and they cannot */
};
/* Takes no lock. */
void pm_store_usage(struct pm_store *s, struct pm_store_usage *out);

/* Was something not evicted only because it was in use for a moment, though nobody has it open? */
bool pm_store_passing(struct pm_store *s);
/* A number that changes whenever those who wait for room are woken. */
uint64_t pm_store_tidings(struct pm_store *s);
/* `w` waits for room. -EINPROGRESS; -EALREADY: they were woken since `tidings` was asked for, so that
 * there may be room now; -ESHUTDOWN. */
int  pm_store_wait(struct pm_store *s, uint64_t tidings, struct pm_waiter *w);
/* There may be room now: wakes those who wait. No lock may be held. */
void pm_store_try_again(struct pm_store *s);
/* The same, for good. */
void pm_store_end_waiting(struct pm_store *s);
int  pm_store_dirfd(const struct pm_store *s);
/* A content's file, below that folder. */
void pm_store_file_name(int64_t id, char out[32]);
/* Saves what changed; from the housekeeping thread. */
void pm_store_tick(struct pm_store *s);
#endif
