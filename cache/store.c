#include "cache/store.h"

#include "cache/store_impl.h"

#include "cache/durable.h"
#include "cache/fetch.h"
#include "cache/journal.h"
#include "cache/kept.h"
#include "cache/located.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static struct pm_content **bucket_of(struct pm_store *s, pm_node node)
{
    return &s->bucket[node % PM_STORE_BUCKETS];
}

struct pm_content *pm_store_find_locked(struct pm_store *s, pm_node node)
{
    struct pm_content *c = *bucket_of(s, node);

    while (c && c->node != node)
        c = c->next;
    return c;
}

void pm_store_unhash_locked(struct pm_store *s, struct pm_content *c)
{
    for (struct pm_content **p = bucket_of(s, c->node); *p; p = &(*p)->next) {
        if (*p == c) {
            *p = c->next;
            return;
        }
    }
}

/* --- the store */

int pm_store_open(const struct pm_conf *conf, struct pm_db *db, struct pm_store **out)
{
    PM_AUTO(free) char *path = pm_asprintf("%s/data", conf->cache_dir);
    struct pm_store    *s = calloc(1, sizeof(*s));
    char                sub[3];
    int                 err;

    if (!s || !path) {
        free(s);
        return -ENOMEM;
    }
    s->conf = conf;
    s->db = db;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->wait_lock, NULL);
    if ((mkdir(path, 0700) && errno != EEXIST) ||
        (s->dirfd = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC)) < 0) {
        err = -errno;
        free(s);
        return err;
    }
    for (unsigned i = 0; i < 256; i++) {
        snprintf(sub, sizeof(sub), "%02x", i);
        mkdirat(s->dirfd, sub, 0700);
    }
    err = pm_era_open(s);
    pm_db_begin(db);
    s->used = (uint64_t)pm_db_int(db, 0, "SELECT sum(bytes) FROM content", "");
    err = pm_db_end(db, err);
    if (err) {
        pm_store_close(s);
        return err;
    }
    *out = s;
    return 0;
}

void pm_store_close(struct pm_store *s)
{
    if (!s)
        return;
    close(s->dirfd);
    pthread_mutex_destroy(&s->wait_lock);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int pm_store_dirfd(const struct pm_store *s)
{
    return s->dirfd;
}

static void file_name(int64_t id, char out[32])
{
    snprintf(out, 32, "%02x/%lld", (unsigned)(id & 0xff), (long long)id);
}

void pm_store_file_name(int64_t id, char out[32])
{
    file_name(id, out);
}

/* --- getting a content */

/* What its row says, or a new row for what the node serves. */
struct found {
    struct pm_row    row;
    int64_t          id;
    uint64_t         size; /* of the base */
    uint64_t         bytes; /* on disk, as counted in store.used */
    int64_t          era;
    struct pm_ranges present;
    bool             fresh;
    int64_t          old; /* a row that was dropped; 0: none */
    bool             unsent; /* the journal will send it */
    bool             clone; /* as a copy of another object */
    bool             held; /* bytes of it were in its file */
    bool             last_copy; /* the service cannot give it back */
};

static int load_ranges(struct pm_db *db, struct found *f)
{
    struct sqlite3_stmt *st =
        pm_db_query(db, "SELECT off, end FROM j.dirty WHERE content=?1", "i", f->id);
    int err = 0;

    while (!err && pm_db_row(db, st)) {
        err = pm_ranges_add(&f->present, (uint64_t)pm_col_int(st, 0), (uint64_t)pm_col_int(st, 1));
        if (err)
            pm_db_reset(st);
    }
    return err ? err : pm_ranges_add(&f->present, f->size, PM_RANGE_MAX);
}

static int load_row(struct pm_db *db, struct found *f, char *version, char *validator)
{
    struct sqlite3_stmt *st = pm_db_query(
        db, "SELECT id, size, present, version, validator, bytes, era FROM content WHERE node=?1", "i",
        (int64_t)f->row.id);
    size_t      len;
    const void *blob;

    if (!pm_db_row(db, st))
        return -ENOENT;
    f->id = pm_col_int(st, 0);
    f->size = (uint64_t)pm_col_int(st, 1);
    blob = pm_col_blob(st, 2, &len);
    if (pm_ranges_load(&f->present, blob, len))
        f->present.n = 0;
    pm_col_copy(st, 3, version, PM_NAME_MAX + 1);
    pm_col_copy(st, 4, validator, PM_NAME_MAX + 1);
    f->bytes = (uint64_t)pm_col_int(st, 5);
    f->era = pm_col_int(st, 6);
    pm_db_reset(st);
    return 0;
}

/* Finds or makes the row of the node's content. */
static int find_or_make_row(struct pm_db *db, pm_node node, struct found *f, char *version,
                            char *validator)
{
    struct pm_jentry unsent;
    int              err = pm_node_get(db, node, &f->row);

    if (err)
        return err;
    if (f->row.kind == PM_FOLDER)
        return -EISDIR;
    err = load_row(db, f, version, validator);
    f->unsent = !pm_journal_of(db, node, PM_OP_PUT, &unsent);
    f->clone = f->unsent && unsent.source;
    f->held = f->present.n || (f->unsent && !f->size && unsent.size);
    f->last_copy = !err && pm_kept_has(db, node);
    if (f->last_copy && !f->unsent) {
        snprintf(version, PM_NAME_MAX + 1, "%s", f->row.version);
    } else if (!err && strcmp(version, f->row.version) != 0 && !f->unsent) {
        err = pm_content_delete_row(db, f->id); /* what is left of an older version */
        f->old = f->id;
        if (!err)
            err = -ENOENT;
    }
    if (err == -ENOENT && *f->row.rid && f->row.rsize == PM_SIZE_UNKNOWN && !f->unsent)
        return -EAGAIN; /* known by the journal alone: the next list describes it */
    if (err == -ENOENT) {
        f->fresh = true;
        f->present.n = 0;
        validator[0] = 0;
        f->size = f->row.rsize == PM_SIZE_UNKNOWN ? 0 : f->row.rsize;
        snprintf(version, PM_NAME_MAX + 1, "%s", f->row.version);
        err = pm_db_run(db,
                        "INSERT INTO content(node, version, size, used) VALUES(?1, ?2, ?3, ?4)",
                        "isii", (int64_t)node, version, (int64_t)f->size, pm_wall_ms());
        f->id = pm_db_last_id(db);
    }
    return err ? err : load_ranges(db, f);
}

/* There is no file for the row: none was made yet, or somebody emptied the cache folder. */
static int make_missing(struct found *f)
{
    if ((f->unsent && f->held) || f->last_copy) {
        pm_log(PM_ERROR, "%s %lld of file %llu is not in the cache folder any more",
               f->unsent ? "unsent content" : "the last copy", (long long)f->id,
               (unsigned long long)f->row.id);
        return -EIO;
    }
    f->fresh = true;
    f->present.n = 0;
    return pm_ranges_add(&f->present, f->size, PM_RANGE_MAX);
}

static int open_file(struct pm_store *s, struct found *f, struct pm_content *c)
{
    char        name[32];
    struct stat st;
    int         err;

    file_name(f->id, name);
    c->fd = f->fresh ? -1 : openat(s->dirfd, name, O_RDWR | O_CLOEXEC);
    if (c->fd < 0) {
        if (!f->fresh && errno != ENOENT)
            return -errno;
        err = f->fresh ? 0 : make_missing(f);
        if (err)
            return err;
        c->fd = openat(s->dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (c->fd < 0 || ftruncate(c->fd, (off_t)f->size))
            return -errno;
    }
    if (fstat(c->fd, &st))
        return -errno;
    if (!f->unsent && !f->last_copy && (uint64_t)st.st_size != f->size) { /* a power cut, or somebody's hands */
        f->present.n = 0;
        if (ftruncate(c->fd, (off_t)f->size))
            return -errno;
        err = pm_ranges_add(&f->present, f->size, PM_RANGE_MAX);
        if (err)
            return err;
        st.st_size = (off_t)f->size;
    }
    c->size = (uint64_t)st.st_size;
    c->bytes = (uint64_t)st.st_blocks * 512;
    s->used += c->bytes - f->bytes;
    return 0;
}

/* What is shorter than its base was cut off, and the journal could not be told: so it stays, or what is
 * fetched of the rest would make it longer again. */
static int note_cut(struct pm_db *db, const struct found *f, struct pm_content *c)
{
    int err;

    if (!f->unsent || f->clone || c->size >= f->size ||
        pm_ranges_has(&c->present, c->size, f->size))
        return 0;
    err = pm_ranges_add(&c->present, c->size, PM_RANGE_MAX);
    if (err)
        return err;
    pm_db_begin(db);
    return pm_db_end(db, pm_db_run(db,
                                   "INSERT OR REPLACE INTO j.dirty(content, off, end)"
                                   " VALUES(?1, ?2, ?3)",
                                   "iii", f->id, (int64_t)c->size, PM_RANGE_MAX));
}

static void destroy(struct pm_content *c)
{
    assert(!c->transfers && !c->waiters);
    if (c->fd >= 0)
        close(c->fd);
    pm_located_free(c->located);
    pm_ranges_free(&c->present);
    pm_ranges_free(&c->doubtful);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static int load_locked(struct pm_store *s, pm_node node, struct pm_content **out)
{
    struct found       f = {0};
    struct pm_content *c = calloc(1, sizeof(*c));
    int                err;

    if (!c)
        return -ENOMEM;
    pthread_mutex_init(&c->lock, NULL);
    c->fd = -1;
    pm_db_begin(s->db);
    err = pm_db_end(s->db, find_or_make_row(s->db, node, &f, c->version, c->validator));
    if (!err && f.old)
        pm_content_unlink(s, f.old);
    if (!err)
        err = open_file(s, &f, c);
    c->present = f.present;
    if (!err)
        err = note_cut(s->db, &f, c);
    if (err) {
        destroy(c);
        return err;
    }
    c->store = s;
    c->id = f.id;
    c->node = node;
    c->account = f.row.account;
    c->base_end = f.size;
    c->era = f.era;
    c->clone = f.clone;
    c->refs = 1;
    c->next = *bucket_of(s, node);
    *bucket_of(s, node) = c;
    *out = c;
    return 0;
}

int pm_content_get(struct pm_store *s, pm_node node, struct pm_content **out)
{
    PM_GUARD(&s->lock);
    struct pm_content *c = pm_store_find_locked(s, node);

    if (!c)
        return load_locked(s, node, out);
    c->refs++;
    *out = c;
    return 0;
}

struct pm_content *pm_content_peek(struct pm_store *s, pm_node node)
{
    PM_GUARD(&s->lock);
    struct pm_content *c = pm_store_find_locked(s, node);

    if (c)
        c->refs++;
    return c;
}

void pm_content_ref(struct pm_content *c)
{
    c->refs++;
}

/* Eviction takes what was used longest ago. */
static void note_use(struct pm_content *c)
{
    struct pm_db *db = c->store->db;

    if (c->gone)
        return;
    pm_db_begin(db);
    pm_db_run(db, "UPDATE content SET used=?2 WHERE id=?1", "ii", c->id, pm_wall_ms());
    pm_db_end(db, 0);
}

void pm_content_put(struct pm_content *c)
{
    struct pm_store *s = c->store;
    int              refs = c->refs;

    while (refs > 1)
        if (atomic_compare_exchange_weak(&c->refs, &refs, refs - 1))
            return;
    pthread_mutex_lock(&s->lock);
    if (--c->refs > 0) {
        pthread_mutex_unlock(&s->lock);
        return;
    }
    pm_content_save(c);
    note_use(c);
    pm_store_unhash_locked(s, c);
    s->turn++; /* it can be evicted now */
    pthread_mutex_unlock(&s->lock);
    destroy(c);
}

/* --- what is present */

bool pm_content_whole_locked(const struct pm_content *c)
{
    return c->present.n == 1 && c->present.r[0].off == 0;
}

int pm_content_landed_locked(struct pm_content *c, uint64_t off, uint64_t end)
{
    uint64_t before = pm_ranges_count(&c->present, off, end);

    if (pm_ranges_add(&c->present, off, end))
        return -ENOMEM;
    c->changed = true;
    if (!c->gone) {
        c->bytes += end - off - before;
        c->store->used += end - off - before;
    }
    return 0;
}

void pm_content_count_locked(struct pm_content *c)
{
    struct stat st;
    uint64_t    bytes;

    c->uncounted = 0;
    if (c->gone || fstat(c->fd, &st))
        return;
    bytes = (uint64_t)st.st_blocks * 512;
    c->store->used += bytes - c->bytes;
    c->bytes = bytes;
    c->changed = true;
}

int pm_content_save(struct pm_content *c)
{
    struct pm_db       *db = c->store->db;
    PM_AUTO(free) void *blob = NULL;
    int64_t             era;
    int64_t             len;
    int                 err;

    PM_GUARD(&c->lock);
    if (!c->changed || c->gone)
        return 0;
    era = pm_era_now(c->store);
    pm_content_count_locked(c);
    len = pm_ranges_save(&c->present, &blob);
    if (len < 0)
        return (int)len;
    pm_db_begin(db);
    pm_db_run(db,
              "UPDATE content SET present=?2, bytes=?3, used=?4, validator=?5, version=?6, era=?7"
              " WHERE id=?1",
              "ibiissi", c->id, blob, (size_t)len, (int64_t)c->bytes, pm_wall_ms(), c->validator,
              c->version, era);
    c->store->written = true;
    err = pm_db_end(db, 0);
    if (err)
        return err;
    c->changed = false;
    c->era = era;
    return 0;
}

int pm_content_delete_row(struct pm_db *db, int64_t id)
{
    pm_db_run(db, "DELETE FROM j.dirty WHERE content=?1", "i", id);
    pm_kept_drop(db, id);
    return pm_db_run(db, "DELETE FROM content WHERE id=?1", "i", id);
}

void pm_content_unlink(struct pm_store *s, int64_t id)
{
    char name[32];

    file_name(id, name);
    if (unlinkat(s->dirfd, name, 0) && errno != ENOENT)
        pm_log(PM_WARN, "cache file %s: %s", name, strerror(errno));
}

/* What was written before a crash and never flushed is in the file; the index does not know yet. */
int pm_store_recover_sizes(struct pm_store *s)
{
    int64_t content = 0;
    int64_t after;
    int     err;

    do {
        struct stat st;
        char        name[32];

        after = content;
        pm_db_begin(s->db);
        content = pm_db_int(s->db, 0,
                            "SELECT min(content) FROM j.entry WHERE op=1 AND state IN (1, 6) AND"
                            " content>?1",
                            "i", after);
        file_name(content, name);
        if (content && !fstatat(s->dirfd, name, &st, 0))
            pm_db_run(s->db,
                      "UPDATE node SET size=?2, lmtime=?3 WHERE id="
                      "(SELECT node FROM j.entry WHERE content=?1 AND op=1)",
                      "iii", content, (int64_t)st.st_size,
                      (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
        err = pm_db_end(s->db, 0);
    } while (!err && content);
    return err;
}

/* Contents that no node has: what a crash left between two steps. */
void pm_store_drop_orphans(struct pm_store *s)
{
    int64_t id;
    int64_t bytes;

    do {
        pm_db_begin(s->db);
        id = pm_db_int(s->db, 0,
                       "SELECT id FROM content WHERE node NOT IN (SELECT id FROM node) LIMIT 1", "");
        bytes = pm_db_int(s->db, 0, "SELECT bytes FROM content WHERE id=?1", "i", id);
        if (id)
            pm_content_delete_row(s->db, id);
        if (pm_db_end(s->db, 0))
            return;
        if (id)
            pm_content_unlink(s, id);
        s->used -= (uint64_t)bytes;
    } while (id);
}

/* --- housekeeping */

void pm_store_tick(struct pm_store *s)
{
    for (size_t i = 0; i < PM_STORE_BUCKETS; i++) {
        struct pm_content *c;

        pthread_mutex_lock(&s->lock);
        for (c = s->bucket[i]; c; c = c->next)
            pm_content_save(c);
        pthread_mutex_unlock(&s->lock);
    }
}

void pm_store_cancel_all(struct pm_store *s)
{
    PM_GUARD(&s->lock);
    for (size_t i = 0; i < PM_STORE_BUCKETS; i++) {
        for (struct pm_content *c = s->bucket[i]; c; c = c->next) {
            pthread_mutex_lock(&c->lock);
            c->cancel_upload = true;
            pm_fetch_cancel_locked(c);
            pthread_mutex_unlock(&c->lock);
        }
    }
}
