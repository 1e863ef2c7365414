/* change.h: what the change*.c files share. Each of these runs in the transaction that journals the
 * change, unless it says otherwise. */
#ifndef PM_CACHE_CHANGE_H
#define PM_CACHE_CHANGE_H

#include "cache/draft.h"
#include "cache/journal.h"
#include "cache/state.h"

/* --- change.c; no transaction is open */

/* A folder in which something is to change. */
struct pm_place {
    struct pm_row      row;
    struct pm_account *account;
    enum pm_spot       spot;
    enum pm_manner     manner;
    char               why[200]; /* what cannot be done in it, for people; "": nothing is said of that */
};

/* May something be made or removed in this folder? Its list must be known. What is refused for the
 * folder's manner, which is TREE or DROPS, is told by its error. */
int pm_change_check_folder(struct pm_cache *c, pm_node folder, struct pm_place *out);
/* The same, whatever its manner is. */
int pm_change_look_at_folder(struct pm_cache *c, pm_node folder, struct pm_place *out);
/* -EPERM, and the folder's error says why. */
int pm_change_refuse(struct pm_cache *c, const struct pm_place *folder);
/* In a transaction: what can be done in it. One that is only here, as yet: TREE. */
enum pm_manner pm_change_manner(struct pm_cache *c, const struct pm_row *folder, char *why, size_t size);
/* May the content of this file be changed, as far as the folder goes that it is in? If not, its error says
 * why. */
int pm_change_check_content(struct pm_cache *c, const struct pm_row *row);
/* May a file of this name be in a draft? What is temporary is asked about when it gets its name, a link
 * when it is not alone. */
int pm_change_check_name(struct pm_cache *c, pm_node folder, enum pm_spot spot, const char *name,
                         char *why, size_t size);
/* Nothing reads or writes under this name any more. */
void pm_change_cut_off(struct pm_cache *c, pm_node node, bool cancel);

/* --- change_take.c */

/* The content's row, for an entry that will send it. */
int pm_change_content_row(struct pm_db *db, const struct pm_row *row, pm_node origin, int64_t *id);
/* What was removed or renamed away from this place, and the service does not know it yet: a new file
 * there is the next content of that object. -EDEADLK: what is unsent cannot get its place in the
 * order yet; with `later` it does when its rename's turn comes. */
int pm_change_take_over(struct pm_cache *c, struct pm_jentry *e, pm_node parent, const char *name,
                        bool later);

/* --- change_remove.c */

/* Something that is to go from its place, and how far it is on the service. */
struct pm_removal {
    struct pm_row    row;
    struct pm_jentry put; /* or MKDIR; id 0: none */
    bool             begun; /* a thread has it, or had: what the service has of it is to be found out */
    bool             unsent; /* no try of it was begun: its entry may be moved */
    bool             local; /* and nothing waits for it: its entry may be dropped */
    bool             draft; /* a draft, or of one: all there is of it is here, and in a session */
};

/* Looks at what is known of it; put.id 0 and row.id 0 where there is none. */
void pm_change_look(struct pm_cache *c, pm_node node, struct pm_removal *r);
/* The file that a local one was renamed over is not replaced by it any more: it is removed. */
int pm_change_remove_replaced(struct pm_cache *c, struct pm_jentry *put);
/* Nothing more is sent of this content, and whoever waits for its entry must not wait for a close, or
 * for somebody to mend it: it only remains to be found out what arrived (send_put.c). */
int pm_change_end_begun(struct pm_db *db, const struct pm_removal *r);
/* A draft, or a file in one, goes at once. */
int pm_change_remove_draft(struct pm_cache *c, const struct pm_jentry *e);
/* Journals the removal of a shown node. */
int pm_change_remove_shown(struct pm_cache *c, pm_node parent, const char *name, struct pm_removal *r);
/* Is nothing shown in the folder? */
bool pm_change_is_empty(struct pm_cache *c, const struct pm_removal *r);

/* --- for rename.c, when the turn of a RENAME comes; the first and the last open their own transaction */

/* A RENAME over another's object, made while its file was being sent, becomes an update of
 * that object and a removal of the file's own. 0; -ECANCELED: it is a plain rename now. */
int pm_change_replace(struct pm_cache *c, struct pm_jentry *e);
/* What was to be renamed over `replaces` is not to be there any more; that goes, and
 * its removal takes the entry's place in the order. */
int pm_change_remove_instead(struct pm_db *db, const struct pm_jentry *old);
/* A RENAME to a backup name, made while the file was being sent, for whose old name a new
 * file waits: that is the object's next content, and the backup a file of its own. -ENOENT: it is a
 * plain rename. */
int pm_change_leave(struct pm_cache *c, const struct pm_jentry *rename);

#endif
