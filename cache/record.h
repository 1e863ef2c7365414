/* record.h: `.project.json`, a document that a draft or a published folder answers by name and never
 * lists.
 *
 * In a draft it is a local file: what the user wants of the project, a JSON object, that goes with the
 * commit. Afterwards it is what the service says of the project: got when the folder is published, then
 * at a slow rate until the project is ready, and when it is opened and old. */
#ifndef PM_CACHE_RECORD_H
#define PM_CACHE_RECORD_H

#include "cache/draft.h"

#define PM_RECORD_NAME ".project.json"
#define PM_RECORD_MAX  (1u << 20)

struct pm_records;

int  pm_records_open(struct pm_cache *c);
/* All jobs have ended. */
void pm_records_close(struct pm_cache *c);

/* The draft's options, owned; "" if it has none. -EINVAL: they are no JSON object; `why` gets the place. */
int pm_record_options(struct pm_cache *c, pm_node folder, char **out, char *why, size_t why_len);
/* Is this content a JSON object, or empty? As above. No lock may be held. */
int pm_record_check(struct pm_content *k, char *why, size_t why_len);
/* Does the service take the options of a late draft, as far as it can be told from here? As above; what is
 * still being written is not looked at. */
int pm_record_check_late(struct pm_cache *c, pm_node folder, char *why, size_t why_len);
/* Wipes and frees options, which may hold secrets. NULL is fine. */
void pm_record_free_options(char *options);
/* Is that all there is in a draft? Then it is empty, and this goes with it. In a transaction. */
bool pm_record_is_alone(struct pm_db *db, pm_node folder);

/* The folder is published: its document is the service's from now on; `node` is the user's, or 0. In a
 * transaction. */
int pm_record_make(struct pm_db *db, uint32_t account, pm_node folder, pm_node node);
/* Gets it, in the background. No lock may be held. */
void pm_record_refresh(struct pm_cache *c, pm_node folder);
/* Somebody looks for the document of a folder: 0: look; -EINPROGRESS: it is being got. */
int pm_record_want(struct pm_cache *c, pm_node folder, struct pm_waiter *w);
/* What the service said of a published folder, owned; with `refresh`, if that is old it is got anew, for
 * the next time. -ENODATA: nothing yet, or the folder is none. */
int pm_record_text(struct pm_cache *c, pm_node folder, bool refresh, char **out);
/* One that was published here, and is not ready or has errors. */
struct pm_record_news {
    pm_node folder;
    int     percent;
    bool    ready;
    char    errors[200];
};
/* The next of them by node: 1; 0: no more; or -errno. */
int pm_record_next(struct pm_cache *c, pm_node after, struct pm_record_news *out);
/* Somebody opened this file: if it is an old document, it is got anew; what of one is not here any more
 * reads as nothing until then. */
void pm_record_opened(struct pm_cache *c, struct pm_content *k);
/* Projects that are not ready are asked for at a slow rate. From the housekeeping thread. */
void pm_record_tick(struct pm_cache *c);

#endif
