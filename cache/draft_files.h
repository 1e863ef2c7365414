/* draft_files.h: what is in a draft, as a list. */
#ifndef PM_CACHE_DRAFT_FILES_H
#define PM_CACHE_DRAFT_FILES_H

#include "cache/journal.h"
#include "cache/state.h"

struct pm_draft_file {
    int64_t        entry;
    pm_node        node;
    int64_t        content;
    uint64_t       size;
    enum pm_jstate state;
    bool           held; /* the session has it whole */
    char          *name; /* owned */
    char          *sent; /* owned; its name in the session; NULL: none */
    char          *error; /* owned; NULL: none */
};

struct pm_draft_files {
    struct pm_draft_file *f; /* owned */
    size_t        n, cap;
};

/* All PUTs of the folder, litter too; to be freed. In a transaction. 0 or -ENOMEM. */
int    pm_draft_files_get(struct pm_db *db, pm_node folder, struct pm_draft_files *out);
void   pm_draft_files_free(struct pm_draft_files *x);
/* How many are in this state; how many are no litter. */
size_t pm_draft_files_in(const struct pm_draft_files *x, enum pm_jstate state);
size_t pm_draft_files_count(const struct pm_draft_files *x);
/* Has somebody the file open for writing? */
bool pm_publish_is_written(struct pm_cache *c, const struct pm_draft_file *k);
/* May a draft have this file, beside its others (node 0: it has none yet)? 0; -EPERM, -EFBIG, -EDQUOT or
 * -ENAMETOOLONG, with why; or another errno. */
int pm_draft_check_item(struct pm_cache *c, pm_node folder, pm_node node, const char *name,
                        uint64_t size, char *why, size_t why_len);

#endif
