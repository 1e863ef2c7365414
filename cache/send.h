/* send.h: one entry of the journal on its way to its service. */
#ifndef PM_CACHE_SEND_H
#define PM_CACHE_SEND_H

#include "cache/journal.h"
#include "cache/state.h"

struct pm_send {
    struct pm_cache       *cache;
    struct pm_account     *account;
    struct pm_jentry      *e;
    struct pm_ctx         *ctx;
    struct pm_row          row; /* of the entry's node, when its object was looked at */
    struct pm_content     *content; /* PUT: a reference */
    uint64_t               target_size; /* PUT: of the object that is replaced, as it is now */
    bool                   moved_on; /* PUT: the object has not the version that the user saw */
    bool                   conflict; /* PUT: and that was not this drive's doing */
    int64_t                settle_until_ms; /* pm_now_ms(); copies are waited for; 0: none was yet */
    int64_t                serial; /* PUT into a draft: of the session it goes into; else 0 */
    /* What pm_send_confirm folds in in the same transaction, before the PUT; negative: nothing of it. With the
     * content's lock. NULL: no more. */
    int (*also)(struct pm_send *s, int64_t gen);
    void                  *also_arg;
    atomic_uint_least64_t *sent;
};

/* The node's row and how its service knows it; *out is owned. -ENOENT: it does not. */
int pm_send_entry(struct pm_cache *c, pm_node node, struct pm_row *row, struct pm_entry **out);
/* Has the object the version the user saw? *now is owned. 0; -ENOENT: it is gone; -ESTALE: it has
 * another one. s->row is that of the object. */
int pm_send_check_version(struct pm_send *s, const struct pm_entry *known, const char *version,
                          struct pm_entry **now);
/* The service, or the way to it, cannot do it, however often it is tried. */
bool pm_send_refused(int err);
/* In a transaction: the node is the object `now` (identity `rid`) at the entry's place. */
int pm_send_fold(struct pm_db *db, const struct pm_jentry *e, const struct pm_entry *now,
                 const char *rid);
/* Keeps the entry's step for after a crash; one of a session that was replaced meanwhile is not kept. */
int pm_send_store_step(struct pm_send *s, const char *step);
/* In a transaction: an object belongs to one node; a list may have made another for it meanwhile. */
void pm_send_take_from_others(struct pm_db *db, pm_node node, uint32_t account, const char *rid);
/* The folder is gone from the service: it and what is missing above are made again. */
int pm_send_remake(struct pm_send *s, pm_node folder);
/* Whoever reads this node's content, or a change that will send it, still needs what is not here
 * yet: it is fetched. */
int pm_send_save_content(struct pm_send *s, pm_node node);
/* Old content of the object that is still needed here (a backup name, an open file) and not whole
 * is fetched before the object changes or goes. */
int pm_send_save_old(struct pm_send *s);
/* send_put.c: carries a PUT out. */
int pm_send_put(struct pm_send *s);
/* What an earlier try left: generation and size of the content, and the backend's own text. */
struct pm_send_step {
    int64_t  gen;
    uint64_t size;
    char    *text; /* owned; NULL: no try */
};
int pm_send_load_step(struct pm_send *s, struct pm_send_step *out);
/* The same of a stored text, and such a text; owned, NULL: no memory. */
int   pm_send_parse_step(const char *stored, struct pm_send_step *out);
char *pm_send_print_step(const struct pm_send *s, const struct pm_upload *up);
/* Begins, or goes on where an earlier try of this same content (up->state) ended, to the end. */
int pm_send_upload(struct pm_send *s, struct pm_upload *up, struct pm_entry **out);
/* Counts the upload's progress; its `arg` is `s`. */
void pm_send_count(void *arg, uint64_t sent);
/* Has the upload's state on the disk; its `arg` is the struct pm_send. */
int pm_send_keep(struct pm_upload *up);
#define PM_OTHER_GENERATION (-1)
/* The service has the content as of write generation `gen`, or some other, as the object `now`. 0: the
 * entry is finished; -ECANCELED: there is more to send. */
int pm_send_confirm(struct pm_send *s, int64_t gen, const struct pm_entry *now);
/* send_clone.c: lets the service copy the content from the object that it is a copy of. -EOPNOTSUPP:
 * it is none, or that cannot be: to be sent as a content. */
int pm_send_clone(struct pm_send *s);
/* Nothing is to be sent: a copy that was begun is only waited for. -ECANCELED: done. */
int pm_send_end_copy(struct pm_send *s);
/* rename.c: carries a RENAME out. */
int pm_send_rename(struct pm_send *s);
/* "name (conflict DATE host).ext", cut to fit. */
void pm_send_conflict_name(const char *name, char out[PM_NAME_MAX + 1]);

#endif
