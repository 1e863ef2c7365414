/* label.h: what each data file says of itself, for a rescue when index and journal are gone.
 *
 * One extended attribute (several cost ten times as much where they do not fit into the inode),
 * user.polymount.unsent: "whole NODE TYPE PATH", where TYPE is the account's and PATH, with leading
 * '/', is where the drive shows it, the account's name first; "partial:N NODE TYPE PATH": of its
 * first N bytes some are not fetched yet; "no": a service has it.
 *
 * A last copy (kept.h) is whole, not "no": the service does not give it back.
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

/* Reads a data file's label. One that is not understood is WHOLE: in doubt it is unsent. 0;
 * -EOPNOTSUPP: this disk has no attributes; or why it cannot be read. */
int  pm_label_read(int fd, struct pm_label *out);
void pm_label_free(struct pm_label *l);

#endif
