/* about.h: what status and attributes tell of drafts, of what was made of them, and of the services'
 * limits. */
#ifndef PM_CACHE_ABOUT_H
#define PM_CACHE_ABOUT_H

#include "cache/journal.h"
#include "cache/state.h"

/* How much is in a draft, and of that in its session. */
struct pm_about_draft {
    uint64_t size, sent;
    int64_t  ends; /* when the service drops the session (wall clock, ms); 0: not known, or there is none */
};
void pm_about_draft(struct pm_cache *c, pm_node folder, struct pm_about_draft *out);

/* The address of a thing for people; "": it has none. */
void pm_about_url(struct pm_cache *c, const struct pm_row *row, char *out, size_t size);

/* "projects":[…], with a trailing comma, and the same in lines. 0 or -errno: they cannot be told. */
int  pm_about_projects_json(struct pm_cache *c, struct pm_buf *b);
int  pm_about_projects_text(struct pm_cache *c, pm_node top, struct pm_buf *b);
/* "limits":[…] of an account, without a comma, and the same in lines. */
void pm_about_limits_json(struct pm_account *a, struct pm_buf *b);
void pm_about_limits_text(struct pm_account *a, struct pm_buf *b);

#endif
