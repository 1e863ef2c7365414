/* label.h: what each data file says of itself in extended attributes, for a rescue when index and
 * journal are gone.
 *
 *   user.polymount.path     where the drive shows it, from the mount point, with leading '/'
 *   user.polymount.account  NAME TYPE ENDPOINT
 *   user.polymount.node     the node's number
 *   user.polymount.unsent   "whole"; "partial N": of its first N bytes some are not fetched yet;
 *                           "no": a service has it
 *
 * Unsent content is labelled before the first write to it is answered, and "no" is written only
 * after the service's own answer. Content that was only fetched has no label. Best effort: not
 * every disk has such attributes. */
#ifndef PM_CACHE_LABEL_H
#define PM_CACHE_LABEL_H

#include "cache/state.h"

enum pm_labelled {
    PM_LABEL_NONE, /* nothing is known: never written to, or no attributes on this disk */
    PM_LABEL_SENT,
    PM_LABEL_PARTIAL,
    PM_LABEL_WHOLE,
};

struct pm_label {
    enum pm_labelled state;
    uint64_t         base_end; /* PARTIAL: what lies from here on was written here */
    char            *path; /* owned; NULL: not known */
};

/* The content is unsent. Inside a transaction, with the content's lock. Cheap when nothing changed. */
void pm_label_unsent_locked(struct pm_cache *c, struct pm_content *k);
/* The service has this very content. With the content's lock. */
void pm_label_sent_locked(struct pm_content *k);
/* Something was renamed: labels of what is unsent are written anew before long. */
void pm_label_moved(struct pm_cache *c);
/* Does that; from the housekeeping thread. */
void pm_label_tick(struct pm_cache *c);

/* Reads a data file's label. Without an attribute that says whether it was sent, but with others, it
 * is of an older polymount: WHOLE. 0; -EOPNOTSUPP: this disk has no attributes; -ENOMEM. */
int  pm_label_read(int fd, struct pm_label *out);
void pm_label_free(struct pm_label *l);

#endif
