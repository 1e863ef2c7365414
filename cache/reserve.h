/* reserve.h: room kept for the day the disk is full.
 *
 * On a full disk uploads go on, and each of their steps is written down. Room for that is kept in a
 * file of the state folder, and taken from it bit by bit. All take -1, which is no file. */
#ifndef PM_CACHE_RESERVE_H
#define PM_CACHE_RESERVE_H

#include <stdbool.h>

/* The file, to be closed by the caller; or -1. It has nothing in it yet. */
int  pm_reserve_open(const char *dir);
/* Makes it as large as it is to be, but only while there is plenty: what was given is for steps, not
 * to be taken back at once. */
void pm_reserve_fill(int fd);
/* Gives some of it to whoever writes next. */
void pm_reserve_give(int fd);
/* Before the databases in `dir` are opened: gives what that needs if the disk is full. False: it is
 * full all the same. */
bool pm_reserve_give_for_opening(const char *dir);

#endif
