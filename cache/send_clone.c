/* A PUT whose content is a copy of what another object has: the service copies it, and nothing is
 * moved. Where it cannot, the content is fetched and sent like any other. */
#include "cache/copy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The object to copy, if it is still what was copied here. *out is owned. -EOPNOTSUPP: it is not. */
static int find_source(struct pm_send *s, const char *version, struct pm_entry **out)
{
    PM_AUTO(free) struct pm_entry *known = NULL;
    PM_AUTO(free) struct pm_entry *now = NULL;
    int                            err = pm_send_entry(s->cache, s->e->source, &s->row, &known);

    if (!err)
        err = pm_send_check_version(s, known, version, &now);
    if (err == -ESTALE && !(s->row.settling && now->size == s->row.rsize))
        pm_store_lose_copies(s->cache->store, s->e->source);
    if (err == -ENOENT || err == -ESTALE || pm_send_refused(err))
        return -EOPNOTSUPP;
    if (err)
        return err;
    if (now->settling)
        return pm_copy_wait(s, now->name);
    *out = now;
    now = NULL;
    return 0;
}

/* A copy was begun, and then the file was written to, or the source is gone. What the service made
 * is the object that the content then goes over; what became something else is somebody's. */
static int take_begun(struct pm_send *s, uint64_t size, struct pm_entry **copy)
{
    struct pm_entry like = {.kind = PM_FILE, .size = size};
    int             err = pm_copy_find(s, &like, copy);

    if (!err)
        err = pm_copy_settle(s, &like, copy, pm_copy_is_sure(s, *copy));
    if (err != -ENOENT && err != -EEXIST && err != -EBADMSG)
        return err;
    pm_db_begin(s->cache->db);
    pm_journal_set_step(s->cache->db, s->e->id, NULL);
    err = pm_db_end(s->cache->db, pm_journal_set_source(s->cache->db, s->e->id, 0));
    return err ? err : -EOPNOTSUPP;
}

/* Nothing of it is under way there: it is sent as a content. */
static int no_copy(struct pm_send *s)
{
    int err = pm_send_store_step(s, NULL);

    return err ? err : -EOPNOTSUPP;
}

/* The source may have been changed just before it was copied: then the copy is not what it is to be. */
static int check_again(struct pm_send *s, const struct pm_entry *src, const char *version,
                       const struct pm_entry *copy)
{
    PM_AUTO(free) struct pm_entry *now = NULL;
    int                            err = pm_send_check_version(s, src, version, &now);

    if (pm_send_refused(err))
        return -EAGAIN; /* not known now */
    if (err != -ESTALE)
        return err == -ENOENT ? 0 : err;
    if (!pm_copy_is_sure(s, copy))
        return -EEXIST;
    err = pm_copy_drop(s, copy);
    return err ? (err == -ESTALE ? -EEXIST : err) : no_copy(s);
}

/* As pm_copy_make, with the step stored. What changes the source waits for this entry only while that
 * is the entry's, or the step is there. -ESTALE: it was let go before, by a write. */
static int make_if_wanted(struct pm_send *s, const struct pm_entry *src, const struct pm_entry *parent,
                          struct pm_entry **out)
{
    struct pm_jentry e;
    bool             wanted;
    int              err;

    pm_db_begin(s->cache->db);
    wanted = !pm_journal_get(s->cache->db, s->e->id, &e) && e.source == s->e->source;
    err = pm_db_end(s->cache->db, 0);
    if (err)
        return err;
    return wanted ? pm_copy_make(s, src, parent, out) : -ESTALE;
}

/* -EOPNOTSUPP: the service refused it, or refused to tell of it. */
static int make(struct pm_send *s, const struct pm_entry *src, const char *version,
                struct pm_entry **copy)
{
    int err = pm_copy_destination(s, src, s->row.parent, make_if_wanted, copy);

    if (err == -ESTALE)
        return -ECANCELED;
    if (!err)
        err = pm_copy_settle(s, src, copy, pm_copy_is_sure(s, *copy));
    if (!err)
        err = check_again(s, src, version, *copy);
    if (err == -EBADMSG) /* it is never whole: no copy will be */
        return no_copy(s);
    return pm_send_refused(err) ? -EOPNOTSUPP : err;
}

/* What an earlier try may have made is waited for, and is the file's object then. -EOPNOTSUPP: it made
 * nothing. */
static int end_copy(struct pm_send *s)
{
    PM_AUTO(free) struct pm_entry *copy = NULL;
    uint64_t                       size = 0;
    int                            err = pm_copy_begun(s, &size);

    if (!err)
        err = take_begun(s, size, &copy);
    if (err)
        return err == -ENOENT ? -EOPNOTSUPP : err;
    return pm_send_confirm(s, PM_OTHER_GENERATION, copy);
}

int pm_send_clone(struct pm_send *s)
{
    PM_AUTO(free) struct pm_entry *src = NULL;
    PM_AUTO(free) struct pm_entry *copy = NULL;
    struct pm_content             *k = s->content;
    char                           version[PM_NAME_MAX + 1];
    int64_t                        gen;
    int                            err = -EOPNOTSUPP;
    bool                           clone;

    if (*s->e->rid || s->e->replaces)
        return -EOPNOTSUPP;
    pthread_mutex_lock(&k->lock);
    clone = s->e->source && k->clone && k->size == k->base_end && !k->marked;
    gen = k->gen;
    snprintf(version, sizeof(version), "%s", k->version);
    pthread_mutex_unlock(&k->lock);
    if (clone)
        err = find_source(s, version, &src);
    if (!err)
        err = make(s, src, version, &copy);
    if (!err)
        return pm_send_confirm(s, gen, copy);
    return err == -EOPNOTSUPP ? end_copy(s) : err;
}

int pm_send_end_copy(struct pm_send *s)
{
    int err;

    s->settle_until_ms = pm_now_ms(); /* one look at a time: what is being sent cannot be given up */
    err = end_copy(s);
    return err == -EOPNOTSUPP ? -ECANCELED : err;
}
