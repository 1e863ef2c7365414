/* backend.h: what a cloud service must be able to do for the drive, and how the layers above ask.
 *
 * A service presents a tree of entries of four kinds (design.md section 6). It knows its own words
 * and nothing of FUSE, inodes or the cache. fs/ and cache/ know no service by name: all that
 * differs is which operations exist and a few capability bits.
 *
 * Every operation may be called from any thread, blocks while it talks to the service (never call
 * one from a thread that answers the kernel), and returns 0 or a negative errno. Only the wrappers
 * pm_backend_* are called from above; only they call through `ops`. */
#ifndef PM_BACKENDS_BACKEND_H
#define PM_BACKENDS_BACKEND_H

#include "backends/conf.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* --- context: how long, for whom, and what came of it ------------------------------------- */

enum pm_prio {
    PM_INTERACTIVE, /* somebody waits: few retries, then the errno */
    PM_BACKGROUND,  /* the queue: the caller tries again, for ever */
};

/* One call's circumstances. Made on the caller's stack, used by one call at a time. */
struct pm_ctx {
    int64_t            deadline_ms; /* pm_now_ms() when to give up with -ETIMEDOUT; 0: no total
                                       limit, only 30 s without a byte */
    const atomic_bool *cancel; /* NULL, or when true: give up with -ECANCELED within 0.5 s */
    enum pm_prio       prio;
    bool               probe; /* only credential.c's: this call finds out whose a credential is */
    int64_t            retry_ms; /* out: the service said not to come back sooner (0: it did not) */
    char               why[256]; /* out, on failure: the service's own word or ours; no secrets */
};

/* --- entries ------------------------------------------------------------------------------- */

enum pm_kind { PM_FOLDER, PM_FILE, PM_LINK, PM_DOCUMENT };

#define PM_SIZE_UNKNOWN UINT64_MAX
#define PM_FIELDS_MAX   4096

/* What a service says of one thing. Strings are UTF-8 or whatever bytes the service sent, never
 * NULL but for `fields`; borrowed for the call that gives the entry, or owned as one block by
 * pm_entry_dup. */
struct pm_entry {
    enum pm_kind kind;
    bool         settling; /* still being processed there: `version` may move, content does not */
    bool         one_way; /* its content was taken, and is not given back */
    const char  *root; /* which root it is under: "" for X, "@shared" for X@shared, … */
    const char  *id; /* the service's id; "" where it has none (then the path is its identity). What shows a
                        thing (enum pm_manner) elsewhere has the thing's id, "@" and something more */
    const char  *name; /* raw, as the service has it: may be hostile */
    const char  *path; /* from the root: percent-encoded raw names joined by "/"; "" is the root */
    const char  *target; /* a link's: the path it leads to, relative to the link's folder; its size
                            is this one's length */
    const char  *version; /* what pm_backend_same_version compares; "" where there is none */
    const char  *state; /* the service's own word, e.g. "converted"; for display */
    const char  *fields; /* what else it says, a JSON object; "" or NULL: nothing. Kept as it was last
                            listed and given back with the entry, at most PM_FIELDS_MAX bytes */
    uint64_t     size; /* bytes, or PM_SIZE_UNKNOWN */
    int64_t      mtime_ms; /* since 1970; 0 unknown */
    int64_t      btime_ms;
};

/* Copies an entry and its strings into one block: free() it. NULL: no memory. */
struct pm_entry *pm_entry_dup(const struct pm_entry *e);

/* Takes one entry of a list, borrowed for the call. Negative stops the list with that errno. */
typedef int pm_entry_fn(void *arg, const struct pm_entry *e);

/* --- content coming down ------------------------------------------------------------------- */

/* How a download answered, before its first byte. */
struct pm_answer {
    uint64_t    off; /* offset of the first byte that comes: 0 if the service ignored the range */
    uint64_t    total; /* size of the whole content, or PM_SIZE_UNKNOWN */
    const char *validator; /* ETag or generation (borrowed); "" where there is none */
    const char *digest; /* "crc32c=…" or "md5=…" in base64, of the whole content (borrowed); NULL or
                           "": none */
};

/* Who takes the bytes of one download. All are called from one thread at a time: the HTTP loop's,
 * or for services without locate the calling one. They must not block on the network. */
struct pm_sink {
    /* Once before the first byte. Negative: stop with that errno. */
    int (*begin)(void *arg, const struct pm_answer *answer);
    /* The next `len` bytes, contiguous, from answer->off on. Negative: stop. */
    int (*data)(void *arg, const void *buf, size_t len);
    /* Once, last; `err` is 0 when all asked bytes came, or all there are (answer->total), else an
     * errno, that of begin or data if these stopped it; why is borrowed. */
    void (*done)(void *arg, int err, const char *why);
};

/* --- content going up ---------------------------------------------------------------------- */

/* One content on its way to the service. Owned by the caller. */
struct pm_upload {
    const struct pm_entry *parent; /* the folder it goes into */
    const char            *name; /* raw name there */
    const struct pm_entry *target; /* the object it replaces, or NULL for a new one */
    int                    fd; /* read by pread only */
    uint64_t               size;
    void (*progress)(void *arg, uint64_t sent); /* from the loop's thread; may be NULL */
    void *arg;
    char *state; /* opaque text the caller stores after each step and gives back after a crash;
                    owned by this struct (malloc); NULL before begin */
    /* Has `state` on the disk before it returns: for steps that are begun in the middle of a call. NULL:
     * it is kept between the calls only. 0 or -errno. */
    int (*keep)(struct pm_upload *up);
    const char *session; /* the open session of the draft that it is part of; NULL: of none */
    const char *options; /* what the user wants of what is made, a JSON object; NULL or "": nothing. May hold
                            secrets, which `state` must not */
    const char *draft; /* the name of the late draft (a folder in `parent`) of which it is the one file, as it
                          is shown now; then `finish` gives the folder as the service has it. NULL: of none */
};

/* --- drafts: a folder made here that becomes one thing on the service ---------------------- */

/* Owned by the caller, with its session. */
struct pm_draft {
    const char *name; /* the folder's, as it is shown */
    const char *options; /* what the user wants of it, a JSON object, as .project.json; "": nothing */
    const char *link; /* the address of the content that the service is to get itself; NULL: files */
    size_t      files; /* how many were sent into the session */
    char       *session; /* opaque text, kept by the caller; owned (malloc); NULL: none was opened */
};

/* What a session has of a file, by the name that was given to `begin`. */
typedef int pm_held_fn(void *arg, const char *name, uint64_t received, uint64_t total, bool complete);

/* A file that is in a draft, or may come into it. */
struct pm_draft_item {
    const char *name;
    uint64_t    size; /* PM_SIZE_UNKNOWN: not known yet */
    uint64_t    others; /* bytes of all other files of the draft */
};

/* How far a committed draft is. */
struct pm_progress {
    int  percent; /* 100: ready */
    bool ready;
    char errors[200]; /* what the service says went wrong with it; "": nothing */
};

/* --- the operations ------------------------------------------------------------------------ */

enum pm_cap {
    PM_CAP_RANGE = 1 << 0,           /* any range may be asked (a probe may show otherwise) */
    PM_CAP_REPLACE = 1 << 2,         /* a file's content can be replaced, its id kept */
    PM_CAP_BY_PATH = 1 << 4,         /* content and removal go by path: of two objects with one
                                        name in a folder only one can be reached */
    PM_CAP_FIND = 1 << 5,            /* stat by path finds what no list of the root tells */
    PM_CAP_LIST_COSTS_OBJECT = 1 << 3, /* a list costs a call per object: never prefetch one */
};

/* What can be done in a folder. */
enum pm_manner {
    PM_MANNER_TREE, /* files and folders can be made, changed, moved and removed */
    PM_MANNER_FIXED, /* what is in it is the service's: nothing is made, changed, removed or renamed */
    PM_MANNER_DROPS, /* each file made in it becomes one thing of the service: it cannot be changed, only
                        replaced or removed; a rename within changes only its name here. A folder made in
                        it is a draft */
    PM_MANNER_THING, /* one thing with its files: they cannot be changed or made, and nothing is sent when
                        they are removed; removing the folder removes the thing */
};

struct pm_backend;
struct pm_location;

/* Of a service where a folder made in the root is a draft: its files go into one session, and it becomes
 * one thing there when it is committed. All are required. Any thread; they block but for the last
 * four, which make no request. -ESTALE means the whole session, never one file of it. */
struct pm_draft_ops {
    /* Sets d->session. A lost answer leaves an unused session behind there, no harm. */
    int (*open)(struct pm_backend *b, struct pm_ctx *ctx, struct pm_draft *d);
    /* Hands on what the session has of each file. -ESTALE: it is gone. Safe to repeat. */
    int (*held)(struct pm_backend *b, struct pm_ctx *ctx, const char *session, pm_held_fn *each,
                void *arg);
    /* Gives the session up, with all in it; 0 also if it is gone. Safe to repeat. */
    int (*drop)(struct pm_backend *b, struct pm_ctx *ctx, const char *session);
    /* What `find` must know of the time before a commit, to tell its outcome from what others made: an
     * opaque text (owned) that the caller has on the disk before it commits. Safe to repeat. */
    int (*look)(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_draft *d, char **before);
    /* Makes it the thing *out (a folder; owned). Not safe to repeat. -EAGAIN, -EIO, -ETIMEDOUT,
     * -ECANCELED, -ENOMEM: whether it was made is not known; others: it was not. -ESTALE: the session
     * is gone. -ENODATA: a file is not whole there. -EINVAL: its options or its link are refused. */
    int (*commit)(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_draft *d,
                  struct pm_entry **out);
    /* What came of a commit of which that is not known; `before` as `look` gave it just before that.
     * -ENOENT: certainly nothing. -EAGAIN: it cannot be told yet. -EBADMSG: it cannot be told at all.
     * Safe to repeat. */
    int (*find)(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_draft *d,
                const char *before, struct pm_entry **out);
    /* What the service says of a thing that was committed, as a JSON document (owned), and how far
     * it is. Safe to repeat. */
    int (*record)(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                  struct pm_progress *progress, char **json);
    /* A field of what `record` told of such a thing ("": nothing yet), in words; "url" is its address for
     * people. -ENODATA: it has none, or none to be shown; -ERANGE. Makes no request. */
    int (*field)(struct pm_backend *b, const struct pm_entry *e, const char *record,
                 const char *name, char *out, size_t size);
    /* When the service drops the session by itself (pm_wall_ms()); 0: not known. */
    int64_t (*expires_ms)(const char *session);
    /* May this file be in a draft, as far as is known of the server? -EPERM with why: its kind is
     * refused; -EFBIG: it is too large; -EDQUOT: with it the draft is; -ENAMETOOLONG. */
    int (*check)(struct pm_backend *b, const struct pm_draft_item *item, char *why, size_t why_len);
    /* The name that the service will have it by, which differs from those of the draft's other files in
     * more than the case of ASCII letters. There are several to choose from: `choice` counts from 1,
     * and is one more where the last was taken. -EINVAL: nothing is left of it. */
    int (*send_name)(struct pm_backend *b, const char *name, unsigned choice, char *out, size_t size);
};

/* A limit of the service that is used up: what it is of, in words, and when the next call may be made
 * (pm_wall_ms()). */
typedef void pm_limit_fn(void *arg, const char *what, int64_t until_ms);

/* Who logs in, at a terminal. All are called on the calling thread. */
struct pm_login {
    /* Asks for a line; `secret`: it is not shown while it is typed. *out is owned (pm_secret_free).
     * -ECANCELED: there is no answer. */
    int (*ask)(void *arg, const char *question, bool secret, char **out);
    void (*say)(void *arg, const char *line);
    /* A key of the account's configuration that came out of it. 0 or -ENOMEM. */
    int (*keep)(void *arg, const char *key, const char *value);
    void *arg;
};

/* One const table per service. A non-NULL operation is the capability. */
struct pm_backend_ops {
    const char *type; /* as in the configuration */
    const char *endpoint; /* the default */
    uint32_t    caps; /* enum pm_cap */
    const char *secret; /* the key of its credential, such as "token"; NULL: it needs none */
    /* The keys of a credential that has several parts, up to a NULL: it is their values, a line each, and
     * `secret` is what people call it. NULL: it has one. */
    const char *const *(*parts)(const struct pm_account_conf *conf);

    /* Makes the backend; the struct embeds `struct pm_backend base` and sets nothing in it.
     * Required; makes no request. */
    int (*open)(const struct pm_account_conf *conf, struct pm_backend **out);
    /* Frees it; no call is running. Required. */
    void (*close)(struct pm_backend *b);

    /* Do two versions mean the same content? NULL: if the strings are equal. */
    bool (*same_version)(const char *a, const char *b);
    /* Hands on the roots (entries with path ""); NULL: one folder, root "". Makes no request. */
    int (*roots)(struct pm_backend *b, pm_entry_fn *each, void *arg);
    /* Lists a folder: each entry as it arrives, before it is known whether the rest will come.
     * Required. -ENOENT: no such folder. Safe to repeat. */
    int (*list)(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *dir,
                pm_entry_fn *each, void *arg);
    /* What the service says of one entry now, by id where there is one. Required. *out is owned.
     * -ENOENT: gone. Safe to repeat. */
    int (*stat)(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                struct pm_entry **out);

    /* Says where ranges of a content can be got: fills `loc` (http.h). NULL: use fetch.
     * Safe to repeat. */
    int (*locate)(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                  struct pm_location *loc);
    /* Streams [off, off+len), or all from 0 on where there are no ranges, into `sink`, from the
     * calling thread; does not call sink->done. NULL: use locate; where there are both, this one is
     * for documents. Safe to repeat. */
    int (*fetch)(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e, uint64_t off,
                 uint64_t len, const struct pm_sink *sink, void *arg);

    /* Uploading, as steps. All NULL: the service takes no content. `begin` makes up->state, or
     * replaces that of a try of which `resume` said -ESTALE;
     * `resume` asks what the service holds of an earlier try and sets *off, or sets *off to
     * up->size when the whole is there; `put` sends from `off` on and sets *off to how far the
     * service has it; `finish` gives the confirmed entry (id, size and checksum compared; owned);
     * `abort` gives up what a try left there.
     * Errors: -EEXIST the name is taken by something not ours; -ENOENT the parent is gone;
     * (of a draft: its session has another content by that name, and is to be replaced);
     * -ESTALE the try's session is dead: begin anew; -EAGAIN whether it arrived is unknown:
     * call resume. begin and put are not safe to repeat without resume; nor is put after
     * -ECANCELED or -ETIMEDOUT. After begin, and after a resume, put is called at least once unless
     * *off is up->size and that is not 0: an empty content needs it, too; where the whole is there
     * already, put does nothing. */
    int (*begin)(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up);
    int (*resume)(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, uint64_t *off);
    int (*put)(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, uint64_t *off);
    int (*finish)(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up,
                  struct pm_entry **out);
    int (*abort)(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up);

    const struct pm_draft_ops *draft; /* NULL: folders made in the root are no drafts */

    /* What can be done in this folder (not: with it, which is for the one that it is in to say). `why`:
     * where something cannot, the reason and what to do instead, for people. Makes no request. NULL:
     * PM_MANNER_TREE everywhere if there is `begin`, else PM_MANNER_FIXED. */
    enum pm_manner (*manner)(struct pm_backend *b, const struct pm_entry *dir, char *why, size_t size);
    /* Can a late draft in this folder (PM_MANNER_DROPS) have these options (as in struct pm_upload)? -EINVAL
     * with why. Makes no request. NULL: any. */
    int (*check_options)(struct pm_backend *b, const struct pm_entry *dir, const char *options, char *why,
                         size_t size);

    /* Changes. NULL: -EOPNOTSUPP. mkdir of one that exists: -EEXIST; *out is owned. remove of a
     * folder takes all in it; one that is gone: -ENOENT. Safe to repeat by those errnos. */
    int (*mkdir)(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *parent,
                 const char *name, struct pm_entry **out);
    int (*remove)(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e);
    /* Starts a server-side copy; *out is its entry, `settling` until it is whole (ask stat). -EAGAIN,
     * -EIO, -ETIMEDOUT, -ECANCELED, -ENOMEM: whether one was made is not known; others: none was. */
    int (*copy)(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *src,
                const struct pm_entry *parent, const char *name, struct pm_entry **out);
    /* Has the object itself (not what is in a folder) anything that a copy of it would lack, so that
     * the copy must not take its place? -EPERM with why. What the service was asked at `since_ms`
     * (pm_now_ms()) or later need not be asked again. NULL: a copy is as good. Safe to repeat. */
    int (*check_move)(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                      int64_t since_ms);
    /* Hands on the ids of the objects for which check_move is known to refuse, until `each` returns
     * a negative errno, which is returned. Makes no request. NULL: none is. */
    int (*shared)(struct pm_backend *b, int (*each)(void *arg, const char *id), void *arg);
    /* Gives a file another name in its folder, which only this drive knows; *out is its entry. Makes no
     * request. NULL: the service has no names of ours. Safe to repeat. */
    int (*rename)(struct pm_backend *b, const struct pm_entry *e, const char *name,
                  struct pm_entry **out);
    /* A field of what the service said of an entry when it was listed (e->fields), in words. -ENODATA:
     * it has none of that name; -ERANGE. Makes no request. NULL: it says nothing. */
    int (*field)(struct pm_backend *b, const struct pm_entry *e, const char *name, char *out,
                 size_t size);
    /* Gets a credential with the user's help, and has it checked by the service. Keys of it that the account
     * has already are not asked for. -ECANCELED; -EACCES: something was refused; others as calls. NULL: the
     * user puts what the service gave out into the configuration. */
    int (*login)(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_login *user);
    /* Hands on the service's published limits that are used up. Makes no request. NULL: it has none. */
    void (*limits)(struct pm_backend *b, pm_limit_fn *each, void *arg);
};

typedef int pm_kept_fn(void *arg, const char *key, const char *value);

/* A small persistent store for what a backend learns (forms that worked, rate buckets). */
struct pm_kv {
    /* *out is owned, NULL if the key is not there. 0 or -errno. */
    int (*get)(void *arg, const char *key, char **out);
    int (*set)(void *arg, const char *key, const char *value);
    /* All that was set survives a power cut from here on; NULL: as it is. 0 or -errno. */
    int (*sync)(void *arg);
    /* A second store, of what no service could tell again: it is with what is not sent yet, and survives
     * the loss of the index. value NULL: forgets the key. May be NULL, all three. */
    int (*keep)(void *arg, const char *key, const char *value);
    int (*kept)(void *arg, const char *key, char **out); /* as get */
    /* Hands on all whose keys begin so, in their order, until `fn` returns a negative errno, which is
     * returned. `fn` must not use the store. */
    int (*each)(void *arg, const char *prefix, pm_kept_fn *fn, void *fn_arg);
    void *arg;
};

/* --- whose credential is it? --------------------------------------------------------------- */

/* What may be kept of a credential. */
struct pm_fingerprint {
    char hash[65]; /* of the salt and it, as hexadecimal digits */
    char claim[256]; /* the e-mail address that it, a JWT, says it is for; "": it does not say */
};

/* How the account is told from another one of the same service (design.md section 1). Called with no
 * lock held, from any thread. */
struct pm_gate {
    char salt[65];
    /* Is it the same account's, as far as is known here? 0: yes. -EAGAIN: if the account's list has
     * an id that is known here. Or another errno. */
    int (*same)(void *arg, const struct pm_fingerprint *f);
    bool (*knows)(void *arg, const char *id);
    /* It is: to be remembered, before anything is sent with it. 0 or -errno. */
    int (*accept)(void *arg, const struct pm_fingerprint *f);
    /* pm_backend_doubt() may answer differently now. */
    void (*turned)(void *arg);
    void *arg;
};

enum pm_doubt {
    PM_NO_DOUBT, /* calls may be made, or nobody has tried yet */
    PM_REFUSED, /* the service does not take it */
    PM_STRANGE, /* it is not known to be the same account's */
    PM_MISSING, /* it cannot be got */
};

struct pm_net;
struct pm_credential;

/* What every service's struct embeds. Set by pm_backend_open, immutable after. */
struct pm_backend {
    const struct pm_backend_ops  *ops;
    const struct pm_account_conf *conf; /* borrowed from the configuration */
    struct pm_net                *net; /* borrowed */
    struct pm_kv                  kv;
    struct pm_credential         *credential; /* owned; NULL: it needs none */
};

/* --- the loop that runs all HTTP ----------------------------------------------------------- */

/* Starts the one thread that runs every request of the process's mount. `conf` is borrowed until
 * pm_net_close. 0 or -errno. */
int  pm_net_open(const struct pm_conf *conf, struct pm_net **out);
/* Waits that services ask for (Retry-After) are kept in `kv`, those that are there hold; before the
 * first request. `kv` is borrowed until closed, and called from the loop's thread. */
void pm_net_keep(struct pm_net *net, const struct pm_kv *kv);
/* Ends every request with -ECANCELED (their callbacks run), as every later one, and joins the thread. */
void pm_net_stop(struct pm_net *net);
/* That, and frees it: nobody may have it any more. NULL is fine. */
void pm_net_close(struct pm_net *net);

/* --- calling a backend --------------------------------------------------------------------- */

/* The default endpoint of a type, or NULL if there is no such type. */
const char *pm_backend_default_endpoint(const char *type);

int  pm_backend_open(const struct pm_account_conf *conf, struct pm_net *net,
                     const struct pm_kv *kv, struct pm_backend **out);
void pm_backend_close(struct pm_backend *b);

/* Who says whose credential it is; before the first call. Without, every credential will do. */
void pm_backend_set_gate(struct pm_backend *b, const struct pm_gate *gate);
/* Can calls succeed, as far as is known of the account's credential? If not, they are answered
 * -EACCES without a request, `why` (may be NULL) says what is wrong with it, and *again_ms (may be
 * NULL) when it is looked at again, by pm_now_ms(), if somebody calls then. Never blocks. */
enum pm_doubt pm_backend_doubt(const struct pm_backend *b, char *why, size_t why_len,
                               int64_t *again_ms);
/* How long the service asked not to be called (Retry-After), in milliseconds from now; 0: it may be. */
int64_t pm_backend_hold_ms(const struct pm_backend *b);
/* Looks at a credential in doubt again if it is time for that, or with `now` in any case; one that
 * was refused is tried by a harmless call. 0: no doubt; -EACCES and others as calls. Blocks. */
int pm_backend_check(struct pm_backend *b, struct pm_ctx *ctx, bool now);
/* The user says that the strange credential is the same account's. -ENOENT: none is strange. */
int pm_backend_accept(struct pm_backend *b);

bool pm_backend_can(const struct pm_backend *b, enum pm_cap cap);
/* PM_MANNER_FIXED of an account that is configured read-only. `why` is "" where it does not say. */
/* Can a file get another name without a request? */
bool           pm_backend_can_name(const struct pm_backend *b);
/* -EOPNOTSUPP. */
int            pm_backend_rename(struct pm_backend *b, const struct pm_entry *e, const char *name,
                                 struct pm_entry **out);
enum pm_manner pm_backend_manner(struct pm_backend *b, const struct pm_entry *dir, char *why,
                                 size_t size);
/* May it have folders of another manner than PM_MANNER_TREE? */
bool pm_backend_has_manners(const struct pm_backend *b);
int  pm_backend_check_options(struct pm_backend *b, const struct pm_entry *dir, const char *options,
                              char *why, size_t size);
bool pm_backend_same_version(const struct pm_backend *b, const char *x, const char *y);
/* Can the content of `e` be had from it? */
bool pm_backend_gives_back(const struct pm_backend *b, const struct pm_entry *e);
/* Has it a server-side copy, and so a rename? */
bool pm_backend_can_copy(const struct pm_backend *b);
int  pm_backend_roots(struct pm_backend *b, pm_entry_fn *each, void *arg);
int  pm_backend_list(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *dir,
                     pm_entry_fn *each, void *arg);
int  pm_backend_stat(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                     struct pm_entry **out);
int  pm_backend_begin(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up);
int  pm_backend_resume(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up,
                       uint64_t *off);
int  pm_backend_put(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up, uint64_t *off);
int  pm_backend_finish(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up,
                       struct pm_entry **out);
int  pm_backend_abort(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up);
int  pm_backend_mkdir(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *parent,
                      const char *name, struct pm_entry **out);
int  pm_backend_remove(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e);
int  pm_backend_copy(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *src,
                     const struct pm_entry *parent, const char *name, struct pm_entry **out);

/* Drafts: NULL ops are -EOPNOTSUPP (0 for expires_ms and check). */
bool    pm_draft_has(const struct pm_backend *b);
int     pm_draft_open(struct pm_backend *b, struct pm_ctx *ctx, struct pm_draft *d);
int     pm_draft_held(struct pm_backend *b, struct pm_ctx *ctx, const char *session,
                      pm_held_fn *each, void *arg);
int     pm_draft_drop(struct pm_backend *b, struct pm_ctx *ctx, const char *session);
int     pm_draft_look(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_draft *d,
                      char **before);
int     pm_draft_commit(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_draft *d,
                        struct pm_entry **out);
int     pm_draft_find(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_draft *d,
                      const char *before, struct pm_entry **out);
int     pm_draft_record(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                        struct pm_progress *progress, char **json);
int     pm_draft_field(struct pm_backend *b, const struct pm_entry *e, const char *record,
                       const char *name, char *out, size_t size);
int64_t pm_draft_expires_ms(const struct pm_backend *b, const char *session);
int     pm_draft_check(struct pm_backend *b, const struct pm_draft_item *item, char *why,
                       size_t why_len);
int     pm_draft_send_name(struct pm_backend *b, const char *name, unsigned choice, char *out,
                           size_t size);

int  pm_backend_check_move(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                           int64_t since_ms);
int  pm_backend_shared(struct pm_backend *b, int (*each)(void *arg, const char *id), void *arg);
/* Do its entries have fields? */
bool pm_backend_has_fields(const struct pm_backend *b);
int  pm_backend_field(struct pm_backend *b, const struct pm_entry *e, const char *name, char *out,
                      size_t size);
/* -EOPNOTSUPP: this service has no such thing. */
int  pm_backend_login(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_login *user);
void pm_backend_limits(struct pm_backend *b, pm_limit_fn *each, void *arg);

/* For fetch.c only: above it, pm_fetch. */
int pm_backend_locate(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                      struct pm_location *loc);
int pm_backend_fetch(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                     uint64_t off, uint64_t len, const struct pm_sink *sink, void *arg);

/* For the services: what was learned before. Owned; NULL: nothing, or no store. */
char *pm_backend_recall(const struct pm_backend *b, const char *key);
void  pm_backend_learn(const struct pm_backend *b, const char *key, const char *value);
/* The same, and it is on the disk; 0 or -errno. */
int   pm_backend_learn_surely(const struct pm_backend *b, const char *key, const char *value);
/* Of the second store: sets (NULL: forgets), reads (*value is owned; NULL: nothing), hands on. */
int   pm_backend_keep(const struct pm_backend *b, const char *key, const char *value);
int   pm_backend_kept(const struct pm_backend *b, const char *key, char **value);
int   pm_backend_each_kept(const struct pm_backend *b, const char *prefix, pm_kept_fn *fn, void *arg);

/* --- reading content ----------------------------------------------------------------------- */

/* A content that can be read: remembers where its bytes are got (a located URL, a redirect that
 * was followed, until it expires), so that many ranges cost one location. */
struct pm_source;

/* Makes a source for this version of `e` (copied). No request is made. *out is owned. */
int  pm_source_open(struct pm_backend *b, const struct pm_entry *e, struct pm_source **out);
/* Frees it. Its downloads must have ended. NULL is fine. */
void pm_source_close(struct pm_source *s);
/* Starts getting [off, off+len), len > 0. Locates first if there is no fresh location, and once
 * anew when a located URL is refused. Blocks at most for that, so call it from a pool thread; for
 * services without ranges by locate it blocks until the end. Then the bytes come to `sink` on the
 * loop's thread. sink->done is called exactly once, also when this fails. `cancel` is borrowed
 * until done. Tries again from the last byte by itself what can heal, while `prio` allows.
 * Where the service answers with another range, answer->off says so: 0, and all to the end comes,
 * until sink->data stops it. -ESTALE: the content is not the one of `e` (its size differs from a
 * known e->size, or it changed on the way; bytes handed over before are of one version). -EBUSY:
 * the service asked to wait longer than op_timeout. */
void pm_fetch(struct pm_source *s, uint64_t off, uint64_t len, enum pm_prio prio,
              const atomic_bool *cancel, const struct pm_sink *sink, void *arg);

/* --- documents (json.c) -------------------------------------------------------------------- */

/* Is the text one JSON object? 0, or -EINVAL with the place of the mistake in `why`. */
int pm_document_check(const char *text, size_t len, char *why, size_t why_len);

/* --- digests (digest.c) -------------------------------------------------------------------- */

/* Are the first `size` bytes of `fd` those of a digest as in struct pm_answer? 1; 0: they are not;
 * -ENOTSUP: of no known kind; -ECANCELED when *cancel; or the errno of reading. */
int pm_digest_check(const char *digest, int fd, uint64_t size, const atomic_bool *cancel);

/* SHA-256 of a text as 64 hexadecimal digits and NUL. */
void pm_digest_sha256_hex(const void *data, size_t len, char out[65]);
/* `len` random bytes fit for salts and ids. 0 or -EIO. */
int  pm_random(void *out, size_t len);

#endif
