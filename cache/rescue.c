/* Getting unsent work out of a state folder, with whatever is left of it.
 *
 * The folder is only read: index and journal are copied into the destination first and opened there,
 * since even a reader of SQLite's files writes beside them. With a journal that can be read, it says
 * what is unsent, where it is shown and which bytes are there. Contents without journal (it is
 * damaged or gone, or they were set aside with it as data.damaged-TIME) speak for themselves, by
 * their labels (label.h): all that is not known to be sent is taken out. */
#include "cache/durable.h"
#include "cache/journal.h"
#include "cache/label.h"
#include "cache/work.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define CHUNK       ((size_t)1024 * 1024)
#define NAMES_TRIED 10000

struct rescue {
    const char        *from;
    int                fromfd; /* the state folder */
    int                to; /* the destination */
    char              *work; /* in it: copies of the databases */
    struct pm_db      *db; /* of these; NULL while there are none */
    bool               in_doubt; /* the power may have failed: what is of an era above `durable` */
    int64_t            durable;
    pm_tell_fn        *tell;
    void              *arg;
    struct pm_rescued *sum;
};

static void say(struct rescue *r, const char *path, const char *text)
{
    PM_AUTO(free) char *line = pm_asprintf("%s: %s", path, text);

    r->tell(r->arg, line ? line : path);
}

static void say_trouble(struct rescue *r, const char *path, const char *text)
{
    r->sum->troubles++;
    say(r, path, text);
}

/* --- copying */

/* Copies [off, end) of `in`, up to its end. */
static int copy_range(int in, int out, char *buf, uint64_t off, uint64_t end)
{
    while (off < end) {
        size_t  len = end - off < CHUNK ? (size_t)(end - off) : CHUNK;
        ssize_t n = pm_pread_all(in, buf, len, off);

        if (n <= 0)
            return (int)n;
        n = pm_pwrite_all(out, buf, (size_t)n, off);
        if (n < 0)
            return (int)n;
        off += (uint64_t)n;
    }
    return 0;
}

/* Copies a file with its holes and times. */
static int copy_file(int in, int out)
{
    PM_AUTO(free) char *buf = malloc(CHUNK);
    struct stat         st;
    off_t               data = 0;
    int                 err = 0;

    if (!buf)
        return -ENOMEM;
    if (fstat(in, &st) || ftruncate(out, st.st_size))
        return -errno;
    while (!err && data < st.st_size && (data = lseek(in, data, SEEK_DATA)) >= 0) {
        off_t hole = lseek(in, data, SEEK_HOLE);

        if (hole < 0)
            return -errno;
        err = copy_range(in, out, buf, (uint64_t)data, (uint64_t)hole);
        data = hole;
    }
    if (!err && data < 0 && errno != ENXIO) /* ENXIO: a hole up to the end */
        err = -errno;
    if (!err && futimens(out, (const struct timespec[]){st.st_atim, st.st_mtim}))
        err = -errno;
    return err;
}

/* --- places in the destination */

static void nth_name(const char *name, int nth, const char *suffix, char out[PM_NAME_MAX + 1])
{
    char mark[16] = "";

    if (nth > 1)
        snprintf(mark, sizeof(mark), " (%d)", nth);
    pm_work_make_name(name, mark, suffix, out);
}

/* Opens the folder of that name, made if absent; beside a file of the name, under another. `as` is
 * what it is. */
static int enter(int dir, const char *name, char as[PM_NAME_MAX + 1])
{
    for (int nth = 1; nth < NAMES_TRIED; nth++) {
        nth_name(name, nth, "", as);
        if (mkdirat(dir, as, 0777) && errno != EEXIST)
            return -errno;
        int fd = openat(dir, as, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

        if (fd >= 0 || (errno != ENOTDIR && errno != ELOOP))
            return fd < 0 ? -errno : fd;
    }
    return -EEXIST;
}

/* Enters the folders of the tree's `path`. The last one's descriptor; *shown gets their path with a
 * slash behind each, *name points to what is left of `path`. */
static int enter_all(int to, char *path, struct pm_buf *shown, const char **name)
{
    char  as[PM_NAME_MAX + 1];
    char *save = NULL;
    int   dir = dup(to);

    *name = "unnamed";
    for (char *part = strtok_r(path, "/", &save); part && dir >= 0;) {
        char *next = strtok_r(NULL, "/", &save);
        bool  dots = !strcmp(part, ".") || !strcmp(part, "..");

        if (!next && !dots)
            *name = part;
        if (next && !dots) {
            int above = dir;

            dir = enter(above, part, as);
            close(above);
            pm_buf_printf(shown, "%s/", as);
        }
        part = next;
    }
    return dir;
}

/* Makes a file for the tree's `path`, never over another. The descriptor; *shown is its path in the
 * destination. */
static int make_file(struct rescue *r, const char *path, const char *suffix, struct pm_buf *shown)
{
    PM_AUTO(free) char *copy = strdup(path);
    const char         *name;
    char                as[PM_NAME_MAX + 1];
    PM_AUTO(close) int  dir = copy ? enter_all(r->to, copy, shown, &name) : -ENOMEM;

    if (dir < 0)
        return dir;
    for (int nth = 1; nth < NAMES_TRIED; nth++) {
        nth_name(name, nth, suffix, as);
        int fd = openat(dir, as, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);

        if (fd < 0 && errno == EEXIST)
            continue;
        pm_buf_str(shown, as);
        return fd < 0 ? -errno : fd;
    }
    return -EEXIST;
}

/* --- one content */

/* Takes the content out as the tree's `path`. `missing` tells what it lacks; `doubt` what else is to
 * be said; "" for nothing. */
static void take(struct rescue *r, int in, const char *path, const char *missing, const char *doubt)
{
    PM_AUTO(pm_buf) struct pm_buf shown = {0};
    PM_AUTO(free) char           *line = NULL;
    struct stat                   st = {.st_size = 0};
    PM_AUTO(close) int            out = make_file(r, path, *missing ? PM_INCOMPLETE : "", &shown);
    int                           err = out < 0 ? out : copy_file(in, out);

    if (err) {
        say_trouble(r, path, strerror(-err));
        return;
    }
    fstat(in, &st);
    r->sum->files++;
    r->sum->bytes += (uint64_t)st.st_size;
    line = pm_asprintf("%llu bytes%s%s", (unsigned long long)st.st_size, missing, doubt);
    say(r, shown.failed ? path : shown.ptr, line ? line : "");
}

/* --- with a journal */

/* The ranges that are there, as index and journal know them. */
static int load_present(struct rescue *r, int64_t content, struct pm_ranges *present)
{
    struct pm_db        *db = r->db;
    struct sqlite3_stmt *st =
        pm_db_query(db, "SELECT present, size, era FROM content WHERE id=?1", "i", content);
    uint64_t base = 0;
    int      err = 0;

    if (pm_db_row(db, st)) {
        size_t      len;
        const void *blob = pm_col_blob(st, 0, &len);

        base = (uint64_t)pm_col_int(st, 1);
        if (pm_ranges_load(present, blob, len) ||
            (r->in_doubt && pm_col_int(st, 2) > r->durable))
            present->n = 0;
        pm_db_reset(st);
    }
    st = pm_db_query(db, "SELECT off, end FROM j.dirty WHERE content=?1", "i", content);
    while (pm_db_row(db, st))
        err = err ? err : pm_ranges_add(present, (uint64_t)pm_col_int(st, 0),
                                        (uint64_t)pm_col_int(st, 1));
    return err ? err : pm_ranges_add(present, base, PM_RANGE_MAX);
}

/* Where the entry's file is shown, also of an account that is not configured; owned. NULL: it was
 * removed. */
static char *path_of(struct pm_db *db, const struct pm_jentry *e)
{
    struct pm_jentry    removal;
    char               *path = pm_shown_path(db, e->node);
    PM_AUTO(free) char *folder = NULL;

    if (path)
        return path;
    if (!pm_journal_of(db, e->node, PM_OP_REMOVE, &removal) && removal.id > e->id)
        return NULL;
    folder = pm_told_path(db, e->parent);
    return pm_asprintf("%s/%s", folder ? folder : "/unknown folder", e->name);
}

static void take_entry(struct rescue *r, const struct pm_jentry *e)
{
    PM_AUTO(free) char           *path = path_of(r->db, e);
    PM_AUTO(pm_buf) struct pm_buf missing = {0};
    struct pm_ranges              present = {0};
    struct stat                   st;
    char                          name[40] = "data/";
    const char                   *doubt = "";

    if (!path)
        return;
    pm_store_file_name(e->content, name + 5);
    PM_AUTO(close) int fd = openat(r->fromfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (load_present(r, e->content, &present) || (fd >= 0 && fstat(fd, &st))) {
        say_trouble(r, path, "cannot be read");
    } else if (e->source && !pm_db_int(r->db, 0, "SELECT 1 FROM j.dirty WHERE content=?1", "i",
                                       e->content)) {
        say(r, path, "is to be a copy of what the service has, nothing of it is only here");
    } else if (fd < 0 && errno == ENOENT && !e->size) {
        PM_AUTO(close) int empty = open("/dev/null", O_RDONLY | O_CLOEXEC);

        take(r, empty, path, "", ""); /* made, and never opened */
    } else if (fd < 0) {
        say_trouble(r, path, errno == ENOENT ? "its content is not in the state folder"
                                             : strerror(errno));
    } else {
        pm_work_missing(&present, (uint64_t)st.st_size, &missing);
        if (((e->state == PM_J_READY || e->state == PM_J_SENT) && (uint64_t)st.st_size != e->size) ||
            (r->in_doubt && e->era > r->durable))
            doubt = "; the machine went down before all of it was on the disk";
        take(r, fd, path, missing.ptr ? missing.ptr : "", doubt);
    }
    pm_ranges_free(&present);
}

/* All that the journal will send but litter; of two for one name the later has it. */
static int take_journal(struct rescue *r)
{
    PM_AUTO(close) int data = openat(r->fromfd, "data", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    struct pm_jentry   e = {.id = INT64_MAX};
    int                err;

    pm_db_begin(r->db);
    r->in_doubt = pm_era_in_doubt(r->db, data, &r->durable);
    err = pm_db_end(r->db, 0);
    if (err)
        return err;
    do {
        pm_db_begin(r->db);
        e.id = pm_db_int(r->db, 0, "SELECT max(id) FROM j.entry WHERE op=1 AND state<>5 AND id<?1",
                         "i", e.id);
        if (e.id && (err = pm_journal_get(r->db, e.id, &e)) == 0)
            take_entry(r, &e);
        err = pm_db_end(r->db, err);
    } while (!err && e.id);
    return err;
}

/* --- without */

static bool is_litter(const char *path)
{
    const char *slash = strrchr(path, '/');

    return pm_name_is_litter(slash ? slash + 1 : path);
}

/* What lies in holes of the base was not fetched, unless it is zeros. */
static int find_holes(int fd, uint64_t base_end, struct pm_ranges *present)
{
    off_t data = 0;

    while ((data = lseek(fd, data, SEEK_DATA)) >= 0 && (uint64_t)data < base_end) {
        off_t hole = lseek(fd, data, SEEK_HOLE);

        if (hole < 0)
            return -errno;
        if (pm_ranges_add(present, (uint64_t)data, (uint64_t)hole))
            return -ENOMEM;
        data = hole;
    }
    return pm_ranges_add(present, base_end, PM_RANGE_MAX);
}

/* A content of which some parts were not fetched when it was last known. */
static void take_partial(struct rescue *r, int fd, const struct pm_label *l, const char *path)
{
    PM_AUTO(pm_buf) struct pm_buf missing = {0};
    struct pm_ranges              present = {0};
    struct stat                   st;

    if (fstat(fd, &st) || find_holes(fd, l->base_end, &present))
        say_trouble(r, path, "cannot be read");
    else if (pm_work_missing(&present, (uint64_t)st.st_size, &missing))
        take(r, fd, path, missing.ptr, ", as far as the disk can tell");
    else
        take(r, fd, path, "; it may lack parts that were never fetched", "");
    pm_ranges_free(&present);
}

static void take_labelled(struct rescue *r, int dir, const char *name)
{
    PM_AUTO(close) int  fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    PM_AUTO(free) char *path = NULL;
    struct pm_label     l = {.path = NULL};
    struct stat         st;
    int                 err = fd < 0 ? -errno : 0;

    if (!err && (fstat(fd, &st) || !S_ISREG(st.st_mode)))
        return;
    if (!err)
        err = pm_label_read(fd, &l);
    path = l.path ? strdup(l.path) : pm_asprintf("/unknown/%s", name);
    if (!path || (err && err != -EOPNOTSUPP))
        say_trouble(r, name, strerror(err ? -err : ENOMEM));
    else if (err)
        take(r, fd, path, "", "; this disk cannot say whether it was sent");
    else if (l.state == PM_LABEL_PARTIAL && !is_litter(path))
        take_partial(r, fd, &l, path);
    else if (l.state == PM_LABEL_WHOLE && !is_litter(path))
        take(r, fd, path, "", "");
    pm_label_free(&l);
}

/* All contents below a folder of the state folder. */
static void take_contents(struct rescue *r, const char *folder)
{
    for (unsigned sub = 0; sub < 256; sub++) {
        char                 name[300];
        DIR                 *d;
        const struct dirent *de;
        int                  fd;

        snprintf(name, sizeof(name), "%.250s/%02x", folder, sub);
        fd = openat(r->fromfd, name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
        d = fd < 0 ? NULL : fdopendir(fd);
        while (d && (de = readdir(d)) != NULL)
            if (de->d_name[0] != '.')
                take_labelled(r, fd, de->d_name);
        if (d)
            closedir(d);
        else if (fd >= 0)
            close(fd);
    }
}

/* What was set aside with a damaged journal. */
static void take_set_aside(struct rescue *r)
{
    int                  fd = openat(r->fromfd, ".", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    DIR                 *d = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *de;

    while (d && (de = readdir(d)) != NULL)
        if (!strncmp(de->d_name, "data.damaged-", 13))
            take_contents(r, de->d_name);
    if (d)
        closedir(d);
    else if (fd >= 0)
        close(fd);
}

/* --- the databases */

static const char *const parts[] = {"index.db", "index.db-wal", "journal.db", "journal.db-wal"};

/* 0; -ENOENT: there is none. */
static int copy_part(struct rescue *r, int work, const char *part)
{
    PM_AUTO(close) int in = openat(r->fromfd, part, O_RDONLY | O_CLOEXEC);
    PM_AUTO(close) int out = -1;

    if (in < 0)
        return -errno;
    out = openat(work, part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return out < 0 ? -errno : copy_file(in, out);
}

static int copy_databases(struct rescue *r)
{
    PM_AUTO(close) int work = -1;
    int                err;

    assert(r->work);
    work = open(r->work, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    err = work < 0 ? -errno : 0;
    for (size_t i = 0; i < PM_COUNT(parts) && !err; i++) {
        err = copy_part(r, work, parts[i]);
        if (err == -ENOENT)
            err = 0;
    }
    if (!err && !pm_db_is_sound(r->work, "index.db")) { /* the journal has what is needed of it */
        unlinkat(work, "index.db", 0);
        unlinkat(work, "index.db-wal", 0);
    }
    return err;
}

/* Opens copies of the databases, if the journal can be read; else there is none: -ENOENT. */
static int open_databases(struct rescue *r, char *why, size_t why_len)
{
    int err = copy_databases(r);

    if (!err && (faccessat(r->fromfd, "journal.db", F_OK, 0) ||
                 !pm_db_is_sound(r->work, "journal.db")))
        err = -ENOENT;
    return err ? err : pm_db_open(r->work, &r->db, why, why_len);
}

static void remove_work(struct rescue *r)
{
    DIR                 *d = r->work ? opendir(r->work) : NULL;
    const struct dirent *de;

    while (d && (de = readdir(d)) != NULL)
        unlinkat(dirfd(d), de->d_name, 0);
    if (d)
        closedir(d);
    if (r->work)
        rmdir(r->work);
    free(r->work);
}

/* --- all of it */

/* Nobody serves it, and nobody may begin to as long as the descriptor is open. */
static int lock_state(struct rescue *r, int *fd, char *why, size_t why_len)
{
    char other[512] = "";

    *fd = openat(r->fromfd, "lock", O_RDONLY | O_CLOEXEC);
    if (*fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!flock(*fd, LOCK_EX | LOCK_NB))
        return 0;
    if (pread(*fd, other, sizeof(other) - 1, 0) > 0)
        other[strcspn(other, "\n")] = 0;
    snprintf(why, why_len, "%s: a drive is mounted with it%s%s: its files are there; unmount it first",
             r->from, *other ? " at " : "", other);
    return -EBUSY;
}

static int open_state(struct rescue *r, char *why, size_t why_len)
{
    r->fromfd = open(r->from, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (r->fromfd >= 0)
        return 0;
    snprintf(why, why_len, "%s: %s", r->from, strerror(errno));
    return -errno;
}

/* Is `path`, or the folder that it would be made in, in the state folder? */
static bool is_inside(const struct rescue *r, const char *path)
{
    PM_AUTO(free) char *from = realpath(r->from, NULL);
    PM_AUTO(free) char *copy = strdup(path);
    PM_AUTO(free) char *real = realpath(path, NULL);
    char               *slash = NULL;

    if (!real && copy) { /* not there yet */
        while ((slash = strrchr(copy, '/')) != NULL && !slash[1] && slash > copy)
            *slash = 0;
        if (slash)
            slash[slash == copy] = 0;
        real = realpath(slash ? copy : ".", NULL);
    }
    return from && real && !strncmp(real, from, strlen(from)) &&
           (!real[strlen(from)] || real[strlen(from)] == '/');
}

/* Copies of the databases are opened in a folder of their own in the destination. */
static int make_work(struct rescue *r, const char *to)
{
    PM_AUTO(free) char *real = realpath(to, NULL);

    if (!real)
        return -errno;
    r->work = pm_asprintf("%s/.polymount-rescue-XXXXXX", real);
    if (r->work && mkdtemp(r->work))
        return 0;
    free(r->work);
    r->work = NULL;
    return -errno;
}

static int open_destination(struct rescue *r, const char *to, char *why, size_t why_len)
{
    int err = 0;

    if (is_inside(r, to)) {
        snprintf(why, why_len, "%s: is in the state folder, which is only read: name another", to);
        return -EINVAL;
    }
    if (mkdir(to, 0777) && errno != EEXIST)
        err = -errno;
    if (!err) {
        r->to = open(to, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
        err = r->to < 0 ? -errno : make_work(r, to);
    }
    if (err)
        snprintf(why, why_len, "%s: %s", to, strerror(-err));
    return err;
}

static int take_all(struct rescue *r, char *why, size_t why_len)
{
    int err = open_databases(r, why, why_len);

    if (!err)
        err = take_journal(r);
    if (err) {
        r->tell(r->arg, "the journal cannot be read: taking what the contents say of themselves");
        take_contents(r, "data");
    }
    take_set_aside(r);
    if (syncfs(r->to)) {
        snprintf(why, why_len, "what was taken out: %s", strerror(errno));
        return -errno;
    }
    return 0;
}

int pm_rescue(const char *state_dir, const char *to, pm_tell_fn *tell, void *arg,
              struct pm_rescued *out, char *why, size_t why_len)
{
    struct rescue r = {.from = state_dir, .fromfd = -1, .to = -1, .tell = tell, .arg = arg,
                       .sum = out};
    int           lock = -1;
    int           err;

    *out = (struct pm_rescued){0};
    why[0] = 0;
    err = open_state(&r, why, why_len);
    if (!err)
        err = lock_state(&r, &lock, why, why_len);
    if (!err)
        err = open_destination(&r, to, why, why_len);
    if (!err)
        err = take_all(&r, why, why_len);
    if (err && !*why)
        snprintf(why, why_len, "%s: %s", state_dir, strerror(-err));
    pm_db_close(r.db);
    remove_work(&r);
    if (lock >= 0)
        close(lock);
    if (r.to >= 0)
        close(r.to);
    if (r.fromfd >= 0)
        close(r.fromfd);
    return err;
}
