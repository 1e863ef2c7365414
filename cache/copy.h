/* copy.h: the services' own copies: what the renames of files and folders, and copies of files,
 * share. For queue threads. */
#ifndef PM_CACHE_COPY_H
#define PM_CACHE_COPY_H

#include "cache/send.h"

/* What was asked of a source so long ago may have become another: a share, a configuration. */
#define PM_ASK_AGAIN_MS 2000

/* Makes the entry's destination in `parent`: a copy of `src`, or a folder. *out is owned. */
typedef int pm_copy_make_fn(struct pm_send *s, const struct pm_entry *src,
                            const struct pm_entry *parent, struct pm_entry **out);

/* A pm_copy_make_fn: a copy of the file `src`. */
int pm_copy_make(struct pm_send *s, const struct pm_entry *src, const struct pm_entry *parent,
                 struct pm_entry **out);
/* Was nothing made, for sure, when the service or the way to it answered so? */
bool pm_copy_is_definite(int err);
/* The destination of an earlier try, or a new one by `make`; its id is kept as the entry's step.
 * `from`: the folder `src` is in. -EEXIST: the name is somebody else's; -ENOENT: the folder it goes
 * to is gone. *out is owned. */
int pm_copy_destination(struct pm_send *s, const struct pm_entry *src, pm_node from,
                        pm_copy_make_fn *make, struct pm_entry **out);
/* What an earlier try made, if that is known: -ENOENT otherwise. *out is owned. */
int pm_copy_made(struct pm_send *s, struct pm_entry **out);
/* What an earlier try made, found by its id, or if that was lost by what it must be like. -ENOENT:
 * there was no try, or nothing is there; -EEXIST: the name is somebody else's. *out is owned. */
int pm_copy_find(struct pm_send *s, const struct pm_entry *like, struct pm_entry **out);
/* The source is about to be removed, or a folder to be filled: a copy that was found without an answer is
 * known by its id from now on, so that pm_copy_made and pm_copy_find find it. */
int pm_copy_keep(struct pm_send *s, const struct pm_entry *copy);
/* The service said "exists", or spoke of a conflict: -EEXIST if somebody else has the name; -EBUSY:
 * something is only being worked on. */
int pm_copy_judge(struct pm_send *s);
/* Was a copy begun for this entry? 0 and *size, of its source; -ENOENT: none was. */
int pm_copy_begun(struct pm_send *s, uint64_t *size);
/* The source settles first: -EAGAIN, with the reason. */
int pm_copy_wait(struct pm_send *s, const char *name);
/* Waits until the service says that the copy of `src` is whole, but not for ever in one try. *copy
 * (owned) is replaced by what it is then. -EAGAIN: it takes longer, or it vanished; it ended as
 * something else: as pm_copy_broken; -ECANCELED. */
int pm_copy_settle(struct pm_send *s, const struct pm_entry *src, struct pm_entry **copy, bool sure);
/* Did the service say that this is what it made for the entry? */
bool pm_copy_is_sure(struct pm_send *s, const struct pm_entry *copy);
/* The copy ended as something else: it is removed if it is ours for `sure` and empty. -EIO: to be made anew;
 * -EBADMSG: that was tried often enough; others: it could not be removed. */
int pm_copy_broken(struct pm_send *s, const struct pm_entry *copy, bool sure);

/* What the service surely made for this entry is not needed: it goes. -ESTALE: not as `copy` says that
 * it is, somebody may have changed it; or why not. */
int pm_copy_drop(struct pm_send *s, const struct pm_entry *copy);

/* rename_tree.c: a folder with all that is in it. -ESTALE: something in it was changed meanwhile. */
int pm_rename_tree(struct pm_send *s, const struct pm_entry *src);
/* The same, when the old folder is gone, by an earlier try whose answer was lost: `to` is the new one. */
int pm_rename_tree_lost(struct pm_send *s, const struct pm_entry *to);
/* In a transaction, when the entry ends. */
void pm_rename_forget_versions(struct pm_db *db, int64_t entry);
/* rename.c: the node is the object `now` at its new place: folds it in and ends the entry; `more`,
 * if given, does its part in the same transaction. */
int pm_rename_confirm(struct pm_send *s, const struct pm_entry *now, int (*more)(void *arg),
                      void *arg);

#endif
