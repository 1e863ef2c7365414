#include "cache/held.h"

#include "cache/journal.h"

#include <errno.h>
#include <string.h>

/* The content of the node, if there is one and it is no work of ours. Owned reference. */
static struct pm_content *content_of(struct pm_cache *c, pm_node node)
{
    struct pm_content *from = NULL;
    struct pm_jentry   put;
    bool               held;

    pm_db_begin(c->db);
    held = pm_db_int(c->db, 0, "SELECT 1 FROM content WHERE node=?1", "i", (int64_t)node) &&
           pm_journal_of(c->db, node, PM_OP_PUT, &put);
    held = !pm_db_end(c->db, 0) && held;
    return held && !pm_content_get(c->store, node, &from) ? from : NULL;
}

/* Is it what the service has, and was not written to since generation `gen`? What a write changes in the
 * file it does after it has marked the content. */
static bool is_pristine_locked(const struct pm_content *from, int64_t gen)
{
    return !from->marked && !from->stale && !from->doubtful.n && from->gen == gen &&
           from->size == from->base_end;
}

/* What makes two contents the same bytes. */
struct same {
    char     version[PM_NAME_MAX + 1];
    uint64_t size;
};

static uint64_t held_until(struct pm_held *h, const struct same *same, uint64_t off, uint64_t end,
                           char *validator)
{
    struct pm_content *from = h->from;
    struct pm_range    gap;

    PM_GUARD(&from->lock);
    h->gen = from->gen;
    memcpy(validator, from->validator, sizeof(from->validator));
    if (!is_pristine_locked(from, h->gen) || from->base_end != same->size ||
        strcmp(from->version, same->version) != 0)
        return off;
    return pm_ranges_gap(&from->present, off, end, &gap) ? gap.off : end;
}

bool pm_held_open(struct pm_cache *c, pm_node origin, struct pm_content *k, unsigned base, uint64_t off,
                  uint64_t *end, struct pm_held *out)
{
    struct same same;
    char        validator[sizeof(k->validator)];
    uint64_t    until = off;

    out->from = content_of(c, origin);
    if (!out->from)
        return false;
    pthread_mutex_lock(&k->lock);
    memcpy(same.version, k->version, sizeof(same.version));
    same.size = k->base == base ? k->base_end : 0;
    pthread_mutex_unlock(&k->lock);
    if (same.size && *same.version)
        until = held_until(out, &same, off, *end, validator);
    if (until <= off) {
        pm_held_close(out);
        return false;
    }
    *end = until;
    PM_GUARD(&k->lock); /* what is fetched of the rest must be of the same object */
    if (k->base == base && !*k->validator)
        memcpy(k->validator, validator, sizeof(validator));
    return true;
}

int pm_held_read(const struct pm_held *h, void *buf, size_t len, uint64_t off)
{
    ssize_t n = pm_pread_all(h->from->fd, buf, len, off);

    PM_GUARD(&h->from->lock);
    return n == (ssize_t)len && is_pristine_locked(h->from, h->gen) ? 0 : -ECANCELED;
}

void pm_held_close(struct pm_held *h)
{
    pm_content_put(h->from);
}
