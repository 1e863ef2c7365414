/* inode.h: which nodes the kernel knows, and what of each it may hold in its page cache.
 *
 * All functions may be called from any thread; the table's lock is a leaf. */
#ifndef PM_FS_INODE_H
#define PM_FS_INODE_H

#include "cache/cache.h"

struct pm_inodes;

/* An empty table, but for the root, which the kernel knows from the start and never forgets.
 * *out is owned. 0 or -ENOMEM. */
int  pm_inodes_new(struct pm_inodes **out);
void pm_inodes_free(struct pm_inodes *t);

/* The kernel is about to be told of `node` once more. False: no memory, then do not tell it. */
bool pm_inode_ref(struct pm_inodes *t, pm_node node);
/* Takes back `n` references. True when the last one went: the caller then tells the cache by
 * pm_tree_forget, holding no lock. */
bool pm_inode_unref(struct pm_inodes *t, pm_node node, uint64_t n);
bool pm_inode_known(struct pm_inodes *t, pm_node node);
size_t pm_inodes_count(struct pm_inodes *t);

/* A file with this content is being opened. True: the kernel's pages of it, if there are any, are
 * of the same content and may be kept. So it is at the very first open, when there are none: dropping
 * them would wait, unkillably, for those that a later open, answered earlier, is already reading. */
bool pm_inode_open_file(struct pm_inodes *t, pm_node node, uint64_t content);
void pm_inode_close_file(struct pm_inodes *t, pm_node node);
/* The same for a folder: true if nothing in it changed since it was last opened. A reply that was
 * already under way when a change came is thus dropped at the next opendir, whatever became of the
 * notification. */
bool pm_inode_open_folder(struct pm_inodes *t, pm_node node);
/* An open's reply was not wanted any more: the kernel did not hear whether to keep its pages, so at
 * the next open it is not to. */
void pm_inode_unserve(struct pm_inodes *t, pm_node node);
/* The folder's entries changed. False: the kernel does not know it, there is nothing to drop. */
bool pm_inode_touch(struct pm_inodes *t, pm_node node);

#endif
