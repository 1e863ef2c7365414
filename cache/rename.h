/* rename.h: what the renames of files and of folders share. */
#ifndef PM_CACHE_RENAME_H
#define PM_CACHE_RENAME_H

#include "cache/send.h"

/* The source settles first: -EAGAIN, with the reason. */
int pm_rename_wait(struct pm_send *s, const char *name);
/* Waits until the service says that the copy of `src` is whole. *copy (owned) is replaced by what
 * it is then. -EAGAIN: it vanished; -EIO: it ended as something else; -ECANCELED. */
int pm_rename_settle(struct pm_send *s, const struct pm_entry *src, struct pm_entry **copy);
/* The destination of an earlier try, or a new one by `make`, whose id is kept as the entry's step.
 * -EEXIST: the name is somebody else's. *out is owned. */
int pm_rename_destination(struct pm_send *s, const struct pm_entry *src,
                          int (*make)(struct pm_send *s, const struct pm_entry *src,
                                      const struct pm_entry *parent, struct pm_entry **out),
                          struct pm_entry **out);
/* The node is the object `now` at its new place: folds it in and ends the entry; `more`, if given,
 * does its part in the same transaction. */
int pm_rename_confirm(struct pm_send *s, const struct pm_entry *now, int (*more)(void *arg),
                      void *arg);
/* rename_tree.c: a folder with all that is in it. */
int pm_rename_tree(struct pm_send *s, const struct pm_entry *src);

#endif
