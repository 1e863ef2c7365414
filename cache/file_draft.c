/* Open files in drafts: what their services take of them. */
#include "cache/file_impl.h"

#include "cache/draft.h"
#include "cache/draft_files.h"
#include "cache/record.h"

#include <errno.h>
#include <string.h>

#define ALLOWED_AHEAD ((uint64_t)64 * 1024 * 1024) /* so far a size is asked about in one */

int pm_file_may_write_draft(struct pm_cache *c, pm_node node)
{
    struct pm_jentry e;
    enum pm_spot     spot;
    bool             local;
    int              err;

    pm_db_begin(c->db);
    spot = pm_draft_spot_of(c, node);
    local = !pm_journal_of(c->db, node, PM_OP_PUT, &e) && e.state == PM_J_LOCAL &&
            (spot != PM_SPOT_COMMITTING || strcmp(e.name, PM_RECORD_NAME) != 0);
    err = pm_db_end(c->db, 0);
    if (err || local)
        return err;
    return spot == PM_SPOT_COMMITTING ? -EBUSY : spot == PM_SPOT_PUBLISHED ? -EROFS : 0;
}

bool pm_file_is_document(struct pm_cache *c, pm_node node)
{
    struct pm_row row;
    int           err;

    if (!pm_draft_any(c))
        return false;
    pm_db_begin(c->db);
    err = pm_node_get(c->db, node, &row);
    pm_db_end(c->db, 0);
    return !err && pm_draft_account(c, row.account) && !strcmp(row.name, PM_RECORD_NAME);
}

/* Where the content is shown, if that is in a draft; else *folder is 0. */
static int find_draft(struct pm_cache *c, pm_node node, pm_node *folder, char name[PM_NAME_MAX + 1])
{
    enum pm_spot spot = PM_SPOT_OTHER;

    *folder = 0;
    pm_db_begin(c->db);
    if (!pm_shown_place(c->db, node, folder, name))
        spot = pm_draft_spot(c, *folder);
    if (spot == PM_SPOT_OTHER)
        *folder = 0;
    return pm_db_end(c->db, 0);
}

static bool is_too_large(int err)
{
    return err == -EFBIG || err == -EDQUOT;
}

int pm_file_check_size(struct pm_file *f, uint64_t size)
{
    struct pm_cache *c = f->cache;
    pm_node          node = f->content->node;
    pm_node          folder;
    char             name[PM_NAME_MAX + 1] = "";
    char             why[200] = "";
    int              err;

    PM_GUARD(&f->content->lock);
    if (size <= f->allowed || size <= f->content->size || !pm_draft_any(c))
        return 0;
    err = find_draft(c, node, &folder, name);
    if (err)
        return err;
    f->allowed = folder ? 0 : UINT64_MAX;
    if (!folder)
        return 0;
    err = pm_draft_check_item(c, folder, node, name, size, why, sizeof(why));
    if (is_too_large(err))
        pm_publish_refused(c, folder, name, *why ? why : strerror(-err));
    if (is_too_large(err))
        return err;
    err = pm_draft_check_item(c, folder, node, name, size + ALLOWED_AHEAD, why, sizeof(why));
    f->allowed = is_too_large(err) ? size : size + ALLOWED_AHEAD;
    return 0;
}

void pm_file_note_no_room(struct pm_cache *c, pm_node node)
{
    char    name[PM_NAME_MAX + 1];
    pm_node folder;

    if (pm_draft_any(c) && !find_draft(c, node, &folder, name) && folder)
        pm_publish_refused(c, folder, name, strerror(ENOSPC));
}

int pm_file_check_document(struct pm_cache *c, struct pm_content *k)
{
    struct pm_jentry e = {.parent = 0};
    enum pm_spot     spot = PM_SPOT_OTHER;
    char             why[200] = "";
    int              err;

    if (!pm_draft_any(c))
        return 0;
    pm_db_begin(c->db);
    err = pm_journal_of(c->db, k->node, PM_OP_PUT, &e);
    if (!err)
        spot = pm_draft_spot(c, e.parent);
    err = pm_db_end(c->db, err);
    if (err && err != -ENOENT)
        return err;
    if (err || e.state != PM_J_LOCAL || !pm_draft_is_document(spot, e.name))
        return 0;
    err = spot == PM_SPOT_LATE ? pm_record_check_late(c, e.parent, why, sizeof(why))
                               : pm_record_check(k, why, sizeof(why));
    pm_db_begin(c->db);
    pm_db_run(c->db, "UPDATE node SET error=?2 WHERE id=?1", "is", (int64_t)k->node, err ? why : NULL);
    pm_journal_error(c->db, e.id, err ? why : NULL);
    pm_db_end(c->db, 0);
    return err;
}
