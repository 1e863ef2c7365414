/* file_impl.h: what the file*.c files share. */
#ifndef PM_CACHE_FILE_IMPL_H
#define PM_CACHE_FILE_IMPL_H

#include "cache/file.h"

/* No file is larger. */
#define PM_FILE_SIZE_MAX ((uint64_t)1 << 46)

/* --- file_draft.c; no lock is held */

/* May the content, of a service with drafts, be written to? In a published folder only litter, which never
 * went anywhere. */
int pm_file_may_write_draft(struct pm_cache *c, pm_node node);
/* May it be one that its service is asked about? */
bool pm_file_is_document(struct pm_cache *c, pm_node node);
/* A draft's service may take no file of this size. Nothing of this is asked again for every write. */
int pm_file_check_size(struct pm_file *f, uint64_t size);
/* A draft that lacks what was to be written is not published by itself. */
void pm_file_note_no_room(struct pm_cache *c, pm_node node);
/* What a draft is to become is said in a JSON object: whoever closes another is told. */
int pm_file_check_document(struct pm_cache *c, struct pm_content *k);

/* --- file_write.c; what ends in _locked has the content's lock */

/* In a transaction: [off, end) is local now: while parts of the content are the base's, or may be again after a power
 * cut, the journal must know it before a crash. */
int pm_file_mark_dirty(struct pm_cache *c, struct pm_content *k, uint64_t off, uint64_t end);
/* How much of the base is not here, below `size`. */
uint64_t pm_file_missing_below(struct pm_content *k, uint64_t size);
/* Bytes of [off, end) that the disk has no room for yet; of an incomplete content room() counts
 * what lies below its base's end. */
uint64_t pm_file_lacking(struct pm_content *k, uint64_t off, uint64_t end);
/* There is none for so much now. -EINPROGRESS: there will be, and `w` is woken; without `w` -EAGAIN;
 * -EALREADY: there may be by now. No lock is held. */
int pm_file_wait_for_room(struct pm_cache *c, uint64_t more, uint64_t tidings, struct pm_waiter *w);
/* The rest of the base is wanted soon: the upload needs the content whole. */
void pm_file_fetch_rest_locked(struct pm_cache *c, struct pm_content *k);
/* The bytes of [off, end) are in the file, and are ours now. */
int pm_file_filled_locked(struct pm_file *f, uint64_t off, uint64_t end);
/* A disk writes in any order what it is given: it must have the journal's log before the first byte is
 * another. (What is cut to nothing has another size then.) */
int pm_file_mark_for_overwriting_locked(struct pm_file *f);

/* --- file_size.c */

/* `wrote`: a program asked for it by this descriptor, which is not yet so when it is opened. */
int pm_file_set_size(struct pm_file *f, uint64_t size, bool wrote, struct pm_waiter *w);

#endif
