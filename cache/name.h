/* name.h: names between a service and a folder, and names that programs mean something by.
 * All functions are pure. */
#ifndef PM_CACHE_NAME_H
#define PM_CACHE_NAME_H

#include <stdbool.h>

#define PM_NAME_MAX 255 /* bytes, as on Linux */

/* The name shown for a service's raw name. Plain names are themselves. What a folder cannot hold
 * ('/', '.', '..', empty, bytes that are no UTF-8, over 255 bytes) is escaped: U+241B and two hex
 * digits a byte; too long: cut, then U+241B, '#' and 16 hex digits of the raw name's SHA-256. */
void pm_name_show(const char *raw, char out[PM_NAME_MAX + 1]);
/* A second name for `raw` in a folder where its first is taken: made unique by `id`. */
void pm_name_show_duplicate(const char *raw, const char *id, char out[PM_NAME_MAX + 1]);
bool pm_name_is_duplicate(const char *shown);
/* May a program make this name? 0, -ENAMETOOLONG, -EILSEQ (no UTF-8), -EINVAL (holds U+241B),
 * -EPERM (a desktop's trash folder: refused, so that file managers offer deletion). */
int  pm_name_check(const char *name);

/* design.md section 2, Common */
bool pm_name_is_temporary(const char *name); /* stays local until renamed */
bool pm_name_is_backup(const char *name); /* what a file is renamed to before it is replaced */
bool pm_name_is_litter(const char *name); /* stays local for good */

#endif
