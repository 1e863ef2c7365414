/* Contents that are not served any more: evicted, outdated on the service, or of a node that is gone. */
#include "cache/store_impl.h"

#include "cache/durable.h"
#include "cache/fetch.h"
#include "cache/kept.h"
#include "cache/label.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

/* Row and file go; whoever has it open keeps the descriptor. */
static void delete_open(struct pm_content *c)
{
    struct pm_store *s = c->store;

    if (c->gone)
        return;
    pm_db_begin(s->db);
    if (pm_db_end(s->db, pm_content_delete_row(s->db, c->id)))
        return;
    pm_content_unlink(s, c->id);
    s->used -= c->bytes;
    c->gone = true;
}

int pm_store_delete_closed(struct pm_store *s, pm_node node, bool last_copy)
{
    int64_t id;
    int64_t bytes;
    int     err;

    pm_db_begin(s->db);
    id = pm_db_int(s->db, 0, "SELECT id FROM content WHERE node=?1", "i", (int64_t)node);
    bytes = pm_db_int(s->db, 0, "SELECT bytes FROM content WHERE node=?1", "i", (int64_t)node);
    if (id && pm_db_int(s->db, 0, "SELECT 1 FROM j.entry WHERE node=?1 AND op=1", "i",
                        (int64_t)node))
        id = 0; /* became unsent work a moment ago */
    if (id && !last_copy && pm_kept_has(s->db, node))
        id = 0;
    err = pm_db_end(s->db, id ? pm_content_delete_row(s->db, id) : 0);
    if (err || !id)
        return err;
    pm_content_unlink(s, id);
    s->used -= (uint64_t)bytes;
    return 0;
}

/* Is it unsent? When that cannot be found out, it may be. */
static bool in_journal(struct pm_store *s, pm_node node)
{
    bool unsent;

    pm_db_begin(s->db);
    unsent = pm_db_int(s->db, 0, "SELECT 1 FROM j.entry WHERE node=?1 AND op=1", "i",
                       (int64_t)node) != 0;
    return pm_db_end(s->db, 0) || unsent;
}

bool pm_store_is_ours(struct pm_store *s, pm_node node)
{
    bool ours;

    pm_db_begin(s->db);
    ours = pm_db_int(s->db, 0, "SELECT 1 FROM j.entry WHERE node=?1 AND op=1", "i",
                     (int64_t)node) != 0 ||
           pm_kept_has(s->db, node);
    return pm_db_end(s->db, 0) || ours; /* when that cannot be found out, it may be */
}

/* Later opens get the new version; whoever reads this one gets -ESTALE. Called with both locks. */
static void detach_locked(struct pm_store *s, struct pm_content *c)
{
    c->stale = true;
    delete_open(c);
    pm_store_unhash_locked(s, c);
}

/* Calls `each` for every content in memory that is fetched from the node's object, though its own
 * node is another. */
static void for_copies(struct pm_store *s, pm_node node,
                       void (*each)(struct pm_content *c, const char *version), const char *version)
{
    int64_t after = 0;

    for (;;) {
        struct pm_content *c;

        pm_db_begin(s->db);
        after = pm_db_int(s->db, 0, "SELECT min(node) FROM content WHERE origin=?1 AND node>?2",
                          "ii", (int64_t)node, after);
        pm_db_end(s->db, 0);
        if (!after)
            return;
        c = pm_content_peek(s, (pm_node)after);
        if (!c)
            continue;
        pthread_mutex_lock(&c->lock);
        each(c, version);
        pthread_mutex_unlock(&c->lock);
        pm_content_put(c);
    }
}

static void lose_base(struct pm_content *c, const char *version)
{
    (void)version;
    c->stale = c->stale || !pm_content_whole_locked(c);
}

/* What others have whole of the node's object is on the disk before it cannot be had again. */
static void settle_copies(struct pm_store *s, pm_node node)
{
    int64_t after = 0;

    for (;;) {
        struct pm_content *c;
        bool               whole;

        pm_db_begin(s->db);
        after = pm_db_int(s->db, 0, "SELECT min(node) FROM content WHERE origin=?1 AND node>?2",
                          "ii", (int64_t)node, after);
        pm_db_end(s->db, 0);
        if (!after)
            return;
        if (pm_content_get(s, (pm_node)after, &c))
            continue;
        pthread_mutex_lock(&c->lock);
        whole = pm_content_whole_locked(c) && (c->changed || !pm_era_is_durable(s, c->era));
        pthread_mutex_unlock(&c->lock);
        if (whole && pm_era_settle(c))
            pm_log(PM_WARN, "a copy of what the service has no more may not outlive a power cut");
        pm_content_put(c);
    }
}

static void set_version(struct pm_content *c, const char *version)
{
    snprintf(c->version, sizeof(c->version), "%s", version);
}

/* The content that readers may wait in and nobody gets any more: a reference; or NULL. */
static struct pm_content *supersede(struct pm_store *s, pm_node node)
{
    PM_GUARD(&s->lock);
    struct pm_content *c = pm_store_find_locked(s, node);

    if (!c) {
        pm_store_delete_closed(s, node, false);
        return NULL;
    }
    PM_GUARD(&c->lock); /* a first write marks the journal under it */
    if (pm_store_is_ours(s, node))
        return NULL;
    if (pm_content_whole_locked(c) && c->handles) {
        c->superseded = true;
        return NULL;
    }
    detach_locked(s, c);
    pm_fetch_cancel_locked(c);
    c->refs++;
    return c;
}

void pm_store_lose_copies(struct pm_store *s, pm_node node)
{
    settle_copies(s, node);
    for_copies(s, node, lose_base, NULL);
    pm_db_begin(s->db);
    pm_db_run(s->db, "UPDATE content SET origin=-1 WHERE origin=?1", "i", (int64_t)node);
    pm_db_end(s->db, 0);
}

void pm_store_superseded(struct pm_store *s, pm_node node)
{
    struct pm_content *c;

    pm_store_lose_copies(s, node);
    c = supersede(s, node);
    if (!c)
        return;
    pm_fetch_wake(c, -ESTALE); /* who opens it anew waits in the kernel for who reads the old */
    pm_content_put(c);
}

void pm_store_stale(struct pm_content *c)
{
    PM_GUARD(&c->store->lock);
    PM_GUARD(&c->lock);
    c->stale = true;
    if (!c->gone && !pm_store_is_ours(c->store, c->node))
        detach_locked(c->store, c);
}

void pm_store_closed(struct pm_content *c)
{
    PM_GUARD(&c->store->lock);
    PM_GUARD(&c->lock);
    if (c->handles || !c->superseded || pm_store_is_ours(c->store, c->node))
        return;
    delete_open(c);
    pm_store_unhash_locked(c->store, c);
}

int pm_store_adopt_rows(struct pm_db *db, pm_node node, const char *version)
{
    return pm_db_run(db, "UPDATE content SET version=?2 WHERE node=?1 OR origin=?1", "is",
                     (int64_t)node, version);
}

void pm_store_adopt(struct pm_store *s, pm_node node, const char *version)
{
    for_copies(s, node, set_version, version);

    PM_GUARD(&s->lock);
    struct pm_content *c = pm_store_find_locked(s, node);

    if (c)
        pthread_mutex_lock(&c->lock);
    pm_db_begin(s->db);
    pm_store_adopt_rows(s->db, node, version);
    if (c) /* what began to be written to it since the index was told */
        pm_db_run(s->db, "UPDATE j.entry SET base=?2 WHERE node=?1 AND base=?3", "iss", (int64_t)node,
                  version, c->version);
    pm_db_end(s->db, 0);
    if (!c)
        return;
    set_version(c, version);
    pthread_mutex_unlock(&c->lock);
}

void pm_store_drop(struct pm_store *s, pm_node node)
{
    PM_GUARD(&s->lock);
    struct pm_content *c = pm_store_find_locked(s, node);

    if (!c) {
        pm_store_delete_closed(s, node, true);
        return;
    }
    PM_GUARD(&c->lock);
    if (in_journal(s, node))
        return;
    c->nowhere = true;
    delete_open(c);
}

int pm_store_evict(struct pm_store *s, pm_node node, bool last_copy)
{
    PM_GUARD(&s->lock);
    bool unsent;
    bool kept;
    int  err;

    pm_db_begin(s->db);
    unsent = pm_db_int(s->db, 0, "SELECT 1 FROM j.entry WHERE node=?1 AND op=1", "i",
                       (int64_t)node) != 0;
    kept = pm_kept_has(s->db, node);
    err = pm_db_end(s->db, 0);
    if (err || unsent)
        return err ? err : -EAGAIN;
    if (pm_store_find_locked(s, node))
        return -EBUSY;
    if (!last_copy && kept)
        return -EPERM;
    return pm_store_delete_closed(s, node, last_copy);
}

/* What was written before it was removed went with that. */
static void size_of_object(struct pm_db *db, pm_node node)
{
    pm_db_begin(db);
    pm_db_run(db,
              "UPDATE node SET size=rsize WHERE id=?1 AND rid IS NOT NULL AND rsize IS NOT NULL AND"
              " NOT EXISTS (SELECT 1 FROM j.entry e WHERE e.node=?1 AND e.op=1)",
              "i", (int64_t)node);
    pm_db_end(db, 0);
}

void pm_store_revive(struct pm_store *s, pm_node node)
{
    size_of_object(s->db, node);
    PM_GUARD(&s->lock);
    struct pm_content *c = pm_store_find_locked(s, node);

    if (!c)
        return;
    PM_GUARD(&c->lock);
    if (c->gone) /* who has it open keeps what was dropped; the name is the service's object */
        pm_store_unhash_locked(s, c);
    else
        c->nowhere = false;
}

/* --- files that nobody knows of */

/* Known: the index has a row of it (each has, before it has a file), or the journal does. */
static bool is_known(struct pm_store *s, int64_t id)
{
    bool known;

    pm_db_begin(s->db);
    known = pm_db_int(s->db, 0,
                      "SELECT EXISTS (SELECT 1 FROM content WHERE id=?1) OR EXISTS"
                      " (SELECT 1 FROM j.entry WHERE content=?1) OR EXISTS (SELECT 1 FROM j.kept WHERE"
                      " content=?1)",
                      "i", id) != 0;
    return pm_db_end(s->db, 0) || known;
}

/* Whatever index and journal say, or said before they were lost: a rescue would take it. */
static bool may_be_unsent(int fd)
{
    struct pm_label l;
    int             err = pm_label_read(fd, &l);
    bool            sent = !err && (l.state == PM_LABEL_SENT || l.state == PM_LABEL_NONE);

    if (!err)
        pm_label_free(&l);
    return !sent;
}

static bool sweep_file(struct pm_store *s, int dir, const char *name)
{
    char               *end;
    int64_t             id = strtoll(name, &end, 10);
    PM_AUTO(close) int  fd = -1;

    if (id <= 0 || *end || is_known(s, id))
        return false;
    fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 && !may_be_unsent(fd) && !unlinkat(dir, name, 0);
}

void pm_store_sweep(struct pm_store *s, const atomic_bool *stop)
{
    unsigned n = 0;

    for (unsigned sub = 0; sub < 256 && !*stop; sub++) {
        char                 name[3];
        DIR                 *d;
        const struct dirent *de;
        int                  fd;

        snprintf(name, sizeof(name), "%02x", sub);
        fd = openat(s->dirfd, name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
        d = fd < 0 ? NULL : fdopendir(fd);
        while (d && !*stop && (de = readdir(d)) != NULL)
            n += sweep_file(s, fd, de->d_name);
        if (d)
            closedir(d);
        else if (fd >= 0)
            close(fd);
    }
    if (n)
        pm_log(PM_INFO, "%u files in the cache folder that nothing knew of were removed", n);
}
