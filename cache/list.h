/* list.h: the folders' lists: when one is fresh, getting it once for many who ask, and merging it.
 *
 * A list replaces the known one only when it came whole. What was confirmed after its request
 * began is not undone by it. */
#ifndef PM_CACHE_LIST_H
#define PM_CACHE_LIST_H

#include "cache/state.h"

int  pm_lists_open(struct pm_cache *c);
/* All runs have ended. NULL is fine. */
void pm_lists_close(struct pm_cache *c);

/* May the folder's known list be used? 0: yes. -EINPROGRESS: `w` is woken when it may. -EAGAIN: it
 * is not known, and there is no `w`. -ENOTDIR, -ESTALE (no such node), or why it cannot be had. */
int pm_list_want(struct pm_cache *c, pm_node folder, struct pm_waiter *w);
/* Waits in place; for queue threads. Gets the list anew even if it is fresh. */
int pm_list_now(struct pm_cache *c, pm_node folder, struct pm_ctx *ctx);
/* The same, unless a list that was begun after `since` (wall clock, ms) is known. */
int pm_list_recent(struct pm_cache *c, pm_node folder, struct pm_ctx *ctx, int64_t since);
/* Lists that failed a moment ago may be asked for at once: why they failed is over. */
void pm_lists_forgive(struct pm_cache *c);
/* The list that has this node is out of date. */
void pm_list_expire_around(struct pm_cache *c, pm_node node);
/* A change in `folder` to the object `rid` was confirmed: lists under way know nothing of it. */
void pm_list_touch(struct pm_cache *c, pm_node folder, const char *rid);
/* Gives those who waited 1 s the old list. True while lists are under way. */
bool pm_lists_tick(struct pm_cache *c);
/* Wakes everybody; the runs end by themselves. */
void pm_lists_stop(struct pm_cache *c);

#endif
