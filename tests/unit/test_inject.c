/* Failing the nth call of each kind, for every n until none fails: of a day's work on the drive
 * (day_of_work) nothing that was answered 0 is lost, nothing that was removed comes back, the caller
 * gets the true errno, and the next start mends all.
 *
 * Each run is a process of its own: it may neither die nor hang. PM_INJECT_ROUNDS says how many runs
 * of each kind there are at most, spread over all n; PM_UNIT_INJECT=KIND is all of a kind, KIND:N:0 one run,
 * KIND:N:1 with a start before the calls succeed again. */
#include "tests/unit/cache_env.h"
#include "tests/unit/inject/calls.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <cmocka.h>

#define STRUCK    10 /* exit status: a call was made to fail, and all is well */
#define LIMIT_MS  90000 /* a run takes a tenth of a second; a machine may be busy */

static struct env         e;
static struct pm_backend *service; /* keeps what the memory backend has while the cache is closed */
static int                expected; /* the errno of the calls that fail, negative */
static bool               torn; /* the database may fail for good between its two files (db.h): what was
                                   refused may have come true */

/* --- what may be there */

enum {
    ABSENT = 1,
    OLD = 2,
    NEW = 4,
    PART = 8, /* of the new content only the beginning: a write was refused */
};

static struct thing {
    const char *path, *old, *new;
    unsigned    may;
} things[] = {
    {"base", "the base of it, as the service has it", "the base of X!, as the service has it", OLD},
    {"brief", "", "removed before it was sent", ABSENT},
    {"cut", "cut off here: the rest goes", "cut off", OLD},
    {"d", NULL, NULL, ABSENT},
    {"d/in", "", "in a new folder", ABSENT},
    {"e", NULL, NULL, ABSENT},
    {"e/in", "", "in a new folder", ABSENT},
    {"emptied", NULL, NULL, OLD},
    {"from", "renamed on the service", "", OLD},
    {"gone", "removed on the service", "", OLD},
    {"named", "", "a new file, renamed before it is sent", ABSENT},
    {"new", "", "a new file, renamed before it is sent", ABSENT},
    {"over", "to be replaced", "the replacement", OLD},
    {"read", "only read", "", OLD},
    {"safe", "", "synced", ABSENT},
    {"tmp", "", "the replacement", ABSENT},
    {"to", "", "renamed on the service", ABSENT},
};

static struct thing *thing(const char *path)
{
    for (size_t i = 0; i < PM_COUNT(things); i++)
        if (!strcmp(things[i].path, path))
            return &things[i];
    fail_msg("no such thing: %s", path);
    return NULL;
}

/* The text as one of what may be; 0: it is none. */
static unsigned which(const struct thing *t, const char *text)
{
    if (!text)
        return ABSENT;
    if ((t->may & OLD) && !strcmp(text, t->old))
        return OLD;
    if (!strcmp(text, t->new))
        return NEW;
    return strncmp(text, t->new, strlen(text)) ? 0 : PART;
}

/* --- the day's work. Every answer is 0, or tells what is the matter. */

static bool ok(int err, const char *what)
{
    if (err >= 0)
        return true;
    if (err != expected)
        fail_msg("%s: %s, but the calls fail with %s", what, strerror(-err), strerror(-expected));
    return false;
}

/* What was refused may be, too. */
static void perhaps(const char *path, unsigned may)
{
    if (torn)
        thing(path)->may |= may;
}

/* Writes the text in two halves. */
static bool fill(struct pm_file *f, const char *text)
{
    size_t half = strlen(text) / 2;

    return ok((int)pm_file_write(f, text, half, 0), "write") &&
           ok((int)pm_file_write(f, text + half, strlen(text) - half, half), "write on");
}

static pm_node find(const char *path)
{
    pm_node node;

    calls_spare(true); /* the helper's */
    node = env_find(&e, path);
    calls_spare(false);
    return node;
}

static bool shown(const char *path, struct pm_attr *attr)
{
    pm_node node = find(path);

    return node && ok(pm_tree_getattr(e.c, node, attr), "getattr");
}

static pm_node folder_of(const char *path)
{
    const char *slash = strchr(path, '/');
    char        folder[16] = "";

    if (slash)
        snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
    return slash ? find(folder) : e.root;
}

static const char *name_of(const char *path)
{
    const char *slash = strchr(path, '/');

    return slash ? slash + 1 : path;
}

/* As cp does. With `sync` as a program that wants it safe. */
static bool put(const char *path, bool sync)
{
    struct thing   *t = thing(path);
    struct pm_attr  attr;
    struct pm_file *f;
    pm_node         folder = folder_of(path);
    bool            done;

    if (!folder)
        return false;
    perhaps(path, PART);
    if (!ok(pm_change_create(e.c, folder, name_of(path), NULL, &attr), "create"))
        return false;
    t->may = PART | NEW;
    if (!ok(pm_file_open(e.c, attr.node, O_WRONLY, &f), "open"))
        return false;
    done = fill(f, t->new);
    done = ok(pm_file_flush(f), "close") && done;
    done = (!sync || ok(pm_file_fsync(f), "fsync")) && done;
    pm_file_release(f);
    if (done)
        t->may = NEW;
    return done;
}

static void overwrite(const char *path, const char *what, uint64_t off)
{
    struct thing   *t = thing(path);
    struct pm_attr  attr;
    struct pm_file *f;
    bool            done;

    if (!shown(path, &attr) || !ok(pm_file_open(e.c, attr.node, O_RDWR, &f), "open to overwrite"))
        return;
    done = ok((int)pm_file_write(f, what, strlen(what), off), "overwrite");
    t->may |= NEW;
    done = ok(pm_file_flush(f), "close what was overwritten") && done;
    pm_file_release(f);
    if (done)
        t->may = NEW;
}

static void cut(const char *path)
{
    struct thing  *t = thing(path);
    struct pm_attr attr;

    if (!shown(path, &attr))
        return;
    t->may |= NEW; /* or it was cut off, and what came after that failed */
    if (ok(pm_change_size(e.c, attr.node, strlen(t->new), NULL), "truncate"))
        t->may = NEW;
}

static void rename_to(const char *from, const char *to)
{
    struct thing *t = thing(from);

    if (t->may & ABSENT)
        return;
    perhaps(from, ABSENT);
    perhaps(to, NEW | PART);
    if (!ok(pm_change_rename(e.c, e.root, from, e.root, to, 0, NULL), "rename"))
        return;
    thing(to)->may = thing(to)->new && !strcmp(thing(to)->new, t->old ? t->old : "") ? NEW : t->may;
    t->may = ABSENT;
}

static void remove_it(const char *path)
{
    struct thing *t = thing(path);

    if (t->may & ABSENT)
        return;
    perhaps(path, ABSENT);
    if (ok(pm_change_unlink(e.c, e.root, path), "unlink"))
        t->may = ABSENT;
}

static void make_folder(const char *path)
{
    struct pm_attr attr;

    perhaps(path, OLD);
    if (ok(pm_change_mkdir(e.c, e.root, path, NULL, &attr), "mkdir"))
        thing(path)->may = OLD;
}

static void remove_folder(const char *path)
{
    struct env_waiter w;

    env_waiter_init(&w);
    perhaps(path, ABSENT);
    if (ok(pm_change_rmdir(e.c, e.root, path, &w.w), "rmdir"))
        thing(path)->may = ABSENT;
}

static void move_folder(const char *from, const char *to)
{
    char in[2][16];

    if (thing(from)->may != OLD)
        return;
    snprintf(in[0], sizeof(in[0]), "%s/in", from);
    snprintf(in[1], sizeof(in[1]), "%s/in", to);
    perhaps(from, ABSENT);
    perhaps(in[0], ABSENT);
    perhaps(to, OLD);
    perhaps(in[1], thing(in[0])->may);
    if (!ok(pm_change_rename(e.c, e.root, from, e.root, to, 0, NULL), "rename of a folder"))
        return;
    thing(to)->may = OLD;
    thing(from)->may = ABSENT;
    thing(in[1])->may = thing(in[0])->may | (torn ? ABSENT : 0);
    thing(in[0])->may = ABSENT;
}

static void read_it(const char *path)
{
    char            buf[256];
    struct thing   *t = thing(path);
    struct pm_attr  attr;
    struct pm_file *f;
    ssize_t         n;

    if (!shown(path, &attr) || !ok(pm_file_open(e.c, attr.node, O_RDONLY, &f), "open to read"))
        return;
    n = env_read(f, buf, sizeof(buf) - 1, 0);
    pm_file_release(f);
    if (!ok((int)n, "read"))
        return;
    buf[n] = 0;
    if (!(which(t, buf) & t->may))
        fail_msg("%s reads as \"%s\"", path, buf);
}

static void tag(const char *path)
{
    struct pm_attr attr;

    if (shown(path, &attr))
        ok(pm_xattr_set(e.c, attr.node, "user.tag", "red", 3, 0), "setxattr");
}

/* Sends what can be sent now; what fails is tried again only after a moment. */
static void send_some(void)
{
    PM_AUTO(pm_buf) struct pm_buf left = {0};

    if (ok(pm_queue_pause(e.c, false), "resume"))
        pm_queue_sync(e.c, 0, 150, NULL, NULL, &left);
}

static void day_of_work(void)
{
    put("new", false);
    make_folder("d");
    put("d/in", false);
    rename_to("new", "named");
    overwrite("base", "X!", 12);
    cut("cut");
    remove_it("gone");
    remove_folder("emptied");
    if (put("tmp", false))
        rename_to("tmp", "over");
    rename_to("from", "to");
    put("safe", true);
    put("brief", false);
    remove_it("brief");
    tag("base");
    read_it("read");
    send_some();
    read_it("base");
    move_folder("d", "e");
    read_it("named");
    send_some();
    ok(pm_cache_sync(e.c), "sync");
}

/* --- starts */

static int change_file(const char *file, const char *text)
{
    PM_AUTO(free) char *path = pm_asprintf("%s/%s", e.dir, file);
    sqlite3            *sql;
    int                 rc = sqlite3_open_v2(path, &sql, SQLITE_OPEN_READWRITE, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_exec(sql, text, NULL, NULL, NULL);
    sqlite3_close(sql);
    return rc;
}

/* Of a state folder that nobody has open: nothing is sent until it is told so, whatever the index has for
 * the journal (redo.h), if there is one. */
static void pause_in_journal(void)
{
    assert_int_equal(change_file("journal.db", "INSERT OR REPLACE INTO meta(key, value)"
                                               " VALUES('paused', 1)"), SQLITE_OK);
    change_file("index.db", "UPDATE redo SET text=text||'INSERT OR REPLACE INTO j.meta(key, value)"
                            " VALUES(''paused'', 1);' WHERE n=(SELECT max(n) FROM redo)");
}

static void close_cache(void)
{
    struct pm_cache *c = e.c;

    pm_cache_stop(c);
    e.c = NULL;
    pm_memory_move(e.b, service);
    pm_cache_free(c);
}

static void prepare(void)
{
    assert_int_equal(pm_memory_ops.open(&e.accounts[0], &service), 0);
    env_start(&e);
    for (size_t i = 0; i < PM_COUNT(things); i++) {
        if (!(things[i].may & OLD))
            continue;
        if (things[i].old)
            env_serve(&e, things[i].path, things[i].old);
        else
            env_serve_folder(&e, things[i].path);
    }
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(env_list(&e, env_find(&e, "emptied")), 0);
}

/* Without a start in between, too, all goes on when the calls succeed again. */
static void recover(void)
{
    uint64_t found;

    pm_work_retry(e.c, 0, &found);
    env_sync(&e);
}

/* The same calls fail at the end and at the next start. */
static void start_again(void)
{
    char why[256];

    close_cache();
    calls_spare(true);
    pause_in_journal();
    calls_spare(false);
    if (ok(pm_cache_open(&e.conf, "/mnt", NULL, &e.c, why, sizeof(why)), "start")) {
        pm_cache_stop(e.c);
        pm_cache_free(e.c);
    }
    e.c = NULL;
}

/* --- looking at what became of it */

/* What it reads as. The service may have carried a rename out, and the index could not be told so: then it
 * is found there, at the latest when the queue looks. */
static const char *text_of(const struct thing *t, pm_node node)
{
    static char     buf[256];
    struct pm_file *f;
    ssize_t         n;

    assert_int_equal(pm_file_open(e.c, node, O_RDONLY, &f), 0);
    n = env_read(f, buf, sizeof(buf) - 1, 0);
    pm_file_release(f);
    if (n == -ENOENT && torn)
        return env_served(&e, t->path);
    if (n < 0)
        fail_msg("%s: read: %s", t->path, strerror((int)-n));
    buf[n] = 0;
    return buf;
}

static void check_shown(void)
{
    PM_AUTO(pm_buf) struct pm_buf names = {0};

    for (size_t i = 0; i < PM_COUNT(things); i++) {
        struct thing *t = &things[i];
        pm_node       node = env_find(&e, t->path);
        const char   *text = node ? t->old ? text_of(t, node) : "" : NULL;
        unsigned      is = !t->old ? (node ? OLD : ABSENT) : which(t, text);

        if (!(is & t->may) && !(is == OLD && t->may & PART && !*text))
            fail_msg("%s is \"%s\": 0x%x, but may be 0x%x", t->path, text ? text : "(absent)", is,
                     t->may);
        t->may = is; /* and so it stays */
        if (node && !strchr(t->path, '/'))
            pm_buf_printf(&names, "%s%s", names.len ? " " : "", t->path);
    }
    assert_string_equal(env_names(&e, e.root), names.ptr);
}

static void check_served(void)
{
    size_t count = 0;

    for (size_t i = 0; i < PM_COUNT(things); i++) {
        struct thing *t = &things[i];
        const char   *text = t->old ? env_served(&e, t->path) : NULL;
        unsigned      is = t->old ? which(t, text) : t->may;

        if (is != t->may)
            fail_msg("the service has %s as \"%s\": 0x%x instead of 0x%x", t->path,
                     text ? text : "(absent)", is, t->may);
        count += is != ABSENT;
    }
    if (pm_memory_count(e.b) != count)
        fail_msg("the service has: %s", env_served_names(&e, ""));
}

static void check_after(void)
{
    uint64_t found;
    char     why[256];

    pause_in_journal();
    if (pm_cache_open(&e.conf, "/mnt", NULL, &e.c, why, sizeof(why)))
        fail_msg("the start without faults: %s", why);
    e.b = e.c->accounts[0].backend;
    pm_memory_move(service, e.b);
    assert_int_equal(pm_tree_resolve(e.c, "m", &e.root), 0);
    check_shown();
    pm_work_retry(e.c, 0, &found);
    env_sync(&e);
    check_shown();
    check_served();
    assert_int_equal(env_list(&e, e.root), 0);
    check_shown();
    env_close(&e);
    pm_memory_ops.close(service);
}

/* --- runs */

static const struct kind {
    const char *name;
    enum call   call;
    int         err;
    bool        on;
} kinds[] = {
    {"write-full", CALL_WRITE, ENOSPC, false},
    {"write-full-on", CALL_WRITE, ENOSPC, true},
    {"write-broken", CALL_WRITE, EIO, false},
    {"read", CALL_READ, EIO, false},
    {"sync", CALL_SYNC, EIO, false},
    {"sync-on", CALL_SYNC, EIO, true},
    {"open", CALL_OPEN, EMFILE, false},
    {"open-full-on", CALL_OPEN, ENOSPC, true},
    {"size", CALL_SIZE, ENOSPC, false},
    {"size-on", CALL_SIZE, ENOSPC, true},
    {"name", CALL_NAME, EIO, false},
    {"name-on", CALL_NAME, ENOSPC, true},
    {"stat", CALL_STAT, EIO, false},
    {"label", CALL_LABEL, ENOSPC, false},
    {"label-on", CALL_LABEL, EIO, true},
    {"thread", CALL_THREAD, EAGAIN, false},
    {"alloc", CALL_ALLOC, ENOMEM, false},
    {"alloc-on", CALL_ALLOC, ENOMEM, true},
    {"sql", CALL_SQL, EIO, false},
    {"sql-on", CALL_SQL, EIO, true},
    {"sql-full", CALL_SQL, ENOSPC, false},
    {"sql-full-on", CALL_SQL, ENOSPC, true},
    {"sql-alloc", CALL_SQL_ALLOC, ENOMEM, false},
    {"sql-alloc-on", CALL_SQL_ALLOC, ENOMEM, true},
};

/* In a process of its own. Returns the number of calls. */
static unsigned run(const struct kind *k, unsigned n, bool restart)
{
    unsigned calls;

    expected = -k->err;
    torn = k->on && k->call >= CALL_SQL;
    calls_spare(true);
    prepare();
    calls_spare(false);
    calls_arm(k->call, n, k->err, k->on);
    day_of_work();
    if (restart) {
        start_again();
        calls = calls_disarm();
    } else {
        calls = calls_disarm();
        recover();
        close_cache();
    }
    check_after();
    return calls;
}

/* Runs mostly wait: several at a time. */
static struct run {
    pid_t              pid; /* 0: none */
    const struct kind *kind;
    unsigned           n;
    bool               restart;
    int64_t            until_ms;
} runs[8];

static unsigned *calls_of; /* shared with the runs: how many calls each has counted */
static unsigned  bad; /* runs that were not well */

static void end_of(struct run *r, int status)
{
    r->pid = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == STRUCK)
        return;
    bad++;
    print_message("--- PM_UNIT_INJECT=%s:%u:%d: %s %d\n", r->kind->name, r->n, r->restart,
                  WIFEXITED(status) ? "exit status" : "signal",
                  WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

/* The place of a run that has ended; NULL: there is none. */
static struct run *free_run(void)
{
    struct run *ended = NULL;

    for (size_t i = 0; i < PM_COUNT(runs); i++) {
        struct run *r = &runs[i];
        int         status;

        if (r->pid && waitpid(r->pid, &status, WNOHANG) > 0)
            end_of(r, status);
        if (r->pid && pm_now_ms() > r->until_ms)
            kill(r->pid, SIGKILL); /* it hangs */
        if (!r->pid)
            ended = r;
    }
    return ended;
}

/* The number of calls of the one before it in its place, if that is of the same kind; else 0. */
static unsigned start_run(const struct kind *k, unsigned n, bool restart)
{
    struct run *r;
    unsigned    before;

    while (!(r = free_run()))
        usleep(1000);
    before = r->kind == k ? calls_of[r - runs] : 0;
    *r = (struct run){.kind = k, .n = n, .restart = restart, .until_ms = pm_now_ms() + LIMIT_MS};
    fflush(stdout);
    r->pid = fork();
    assert_true(r->pid >= 0);
    if (!r->pid) {
        setenv("CMOCKA_TEST_ABORT", "1", 1); /* a failed assertion ends this process */
        calls_of[r - runs] = run(k, n, restart);
        exit(STRUCK);
    }
    return before;
}

static void end_runs(void)
{
    for (size_t i = 0; i < PM_COUNT(runs); i++) {
        while (runs[i].pid) {
            free_run();
            usleep(1000);
        }
    }
}

static unsigned rounds(void)
{
    const char *text = getenv("PM_INJECT_ROUNDS");

    return text ? (unsigned)atoi(text) : 5;
}

/* n = 1, 2, 3, … until no call fails, with and without a start before the calls succeed again; where
 * there are too many for the rounds, in greater steps and by turns. */
static void every_nth(const struct kind *k)
{
    unsigned before = bad;
    unsigned most, step, tries = 0;

    start_run(k, 0, true);
    end_runs();
    most = calls_of[PM_COUNT(runs) - 1]; /* the place that free_run gives when all are free */
    step = most / rounds() + 1;
    for (unsigned n = 1 + step / 2; n <= most; n += step, tries++) {
        unsigned calls = start_run(k, n, tries % 2);

        if (step == 1)
            start_run(k, n, !(tries % 2));
        most = calls > most ? calls : most;
    }
    end_runs();
    print_message("%s: %u calls, %u of them failed, %u not well\n", k->name, most, tries,
                  bad - before);
}

static void all_of(enum call first, enum call last)
{
    const char *one = getenv("PM_UNIT_INJECT");

    bad = 0;
    for (size_t i = 0; i < PM_COUNT(kinds); i++) {
        const struct kind *k = &kinds[i];
        char               name[32];
        unsigned           n, restart;

        if (k->call < first || k->call > last)
            continue;
        if (!one || !strcmp(one, k->name))
            every_nth(k);
        else if (sscanf(one, "%31[^:]:%u:%u", name, &n, &restart) == 3 && !strcmp(name, k->name))
            start_run(k, n, restart);
    }
    end_runs();
    assert_int_equal(bad, 0);
}

static void no_file_call_that_fails_loses_anything(void **state)
{
    (void)state;
    all_of(CALL_WRITE, CALL_THREAD);
}

static void no_allocation_that_fails_loses_anything(void **state)
{
    (void)state;
    all_of(CALL_ALLOC, CALL_ALLOC);
}

static void no_database_call_that_fails_loses_anything(void **state)
{
    (void)state;
    all_of(CALL_SQL, CALL_SQL_ALLOC);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_file_call_that_fails_loses_anything),
        cmocka_unit_test(no_allocation_that_fails_loses_anything),
        cmocka_unit_test(no_database_call_that_fails_loses_anything),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    calls_init();
    calls_of = mmap(NULL, sizeof(*calls_of) * PM_COUNT(runs), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (calls_of == MAP_FAILED)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
