#include "tests/unit/cache_env.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* --- opening and closing */

static void make_dir(char dir[64])
{
    snprintf(dir, 64, "%s/pm-unit-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    assert_non_null(mkdtemp(dir));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void env_init(struct env *e)
{
    memset(e, 0, sizeof(*e));
    pm_log_level(getenv("PM_UNIT_LOG") ? PM_DEBUG : PM_ERROR);
    make_dir(e->dir);
    for (int i = 0; i < 2; i++)
        e->accounts[i] = (struct pm_account_conf){.name = (char *)(i ? "n" : "m"),
                                                  .type = (char *)"memory",
                                                  .endpoint = (char *)"memory:"};
    e->conf = (struct pm_conf){.cache_dir = e->dir, .max_size = 1 << 30,
                               .attr_timeout_ms = 3600000, .delay_ms = 20, .parallel = 4, .delete_guard = 0,
                               .connections = 8, .op_timeout_ms = 20000, .accounts = e->accounts,
                               .naccounts = 1};
}

static pm_node root_of(struct env *e, const char *name)
{
    pm_node node = 0;

    assert_int_equal(pm_tree_resolve(e->c, name, &node), 0);
    return node;
}

void env_open(struct env *e)
{
    char why[256];
    int  err;

    e->conf.cache_dir = e->dir;
    e->conf.accounts = e->accounts;
    err = pm_cache_open(&e->conf, "/mnt", NULL, &e->c, why, sizeof(why));
    if (err)
        fail_msg("pm_cache_open: %d: %s", err, why);
    e->b = e->c->accounts[0].backend;
    e->root = root_of(e, "m");
    if (e->conf.naccounts > 1) {
        e->b2 = e->c->accounts[1].backend;
        e->root2 = root_of(e, "n");
        assert_int_equal(env_list(e, e->root2), 0);
    }
    assert_int_equal(env_list(e, e->root), 0);
}

void env_start(struct env *e)
{
    env_init(e);
    env_open(e);
    assert_int_equal(pm_queue_pause(e->c, true), 0);
}

/* Whatever a test did, the journal keeps its promises. */
static void check_journal(struct env *e)
{
    int broken;

    pm_db_begin(e->c->db);
    broken = pm_journal_check(e->c->db);
    pm_db_end(e->c->db, 0);
    if (broken)
        fail_msg("the journal breaks its invariant %d", broken);
}

void env_stop(struct env *e)
{
    struct pm_cache *c = e->c;

    if (!c)
        return;
    pm_cache_stop(c);
    check_journal(e);
    e->c = NULL;
    pm_cache_free(c);
}

void env_close(struct env *e)
{
    env_stop(e);
    nftw(e->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void env_copy_folder(const struct env *from, struct env *to)
{
    char command[200];
    int  status;

    env_init(to);
    to->conf = from->conf;
    snprintf(command, sizeof(command), "cp -a '%s/.' '%s'", from->dir, to->dir);
    if (from->c)
        pm_db_begin(from->c->db); /* else a log is begun anew between two files: no crash does that */
    status = system(command);
    if (from->c)
        pm_db_end(from->c->db, 0);
    assert_int_equal(status, 0);
}

/* --- waiting */

static void wake(struct pm_waiter *w, int err)
{
    struct env_waiter *x = container_of(w, struct env_waiter, w);

    PM_GUARD(&x->lock);
    x->woken++;
    x->err = err;
    pthread_cond_signal(&x->cond);
}

void env_waiter_init(struct env_waiter *w)
{
    memset(w, 0, sizeof(*w));
    w->w.wake = wake;
    pthread_mutex_init(&w->lock, NULL);
    pm_cond_init(&w->cond);
}

bool env_waiter_wait(struct env_waiter *w, int64_t ms)
{
    int64_t until = pm_now_ms() + ms;

    PM_GUARD(&w->lock);
    while (!w->woken && pm_now_ms() < until)
        pm_cond_wait_until(&w->cond, &w->lock, until);
    return w->woken > 0;
}

bool env_until(bool (*done)(void *arg), void *arg)
{
    int64_t until = pm_now_ms() + 30000; /* a loaded machine is slow */

    while (pm_now_ms() < until) {
        if (done(arg))
            return true;
        usleep(2000);
    }
    return done(arg);
}

struct calls {
    struct env       *e;
    enum pm_memory_op op;
    unsigned          n;
};

static bool called(void *arg)
{
    struct calls *x = arg;

    return pm_memory_calls(x->e->b, x->op) >= x->n;
}

void env_until_calls(struct env *e, enum pm_memory_op op, unsigned n)
{
    struct calls x = {e, op, n};

    assert_true(env_until(called, &x));
}

void env_sync(struct env *e)
{
    PM_AUTO(pm_buf) struct pm_buf left = {0};
    int                           err;

    pm_queue_pause(e->c, false);
    err = pm_queue_sync(e->c, 0, 60000, NULL, NULL, &left); /* a loaded machine is slow */
    if (err)
        fail_msg("sync: %d: %s", err, left.ptr ? left.ptr : "");
}

/* --- the drive */

int env_list(struct env *e, pm_node folder)
{
    struct pm_ctx ctx = {.deadline_ms = pm_now_ms() + 30000};

    return pm_list_now(e->c, folder, &ctx);
}

pm_node env_find(struct env *e, const char *path)
{
    PM_AUTO(free) char *full = pm_asprintf("m/%s", path);
    pm_node             node = 0;

    return pm_tree_resolve(e->c, full, &node) ? 0 : node;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct names {
    char  *name[20000];
    size_t n;
};

static const char *join(struct names *x)
{
    static char out[65536];
    size_t      len = 0;

    qsort(x->name, x->n, sizeof(*x->name), compare);
    out[0] = 0;
    for (size_t i = 0; i < x->n; i++) {
        if (len + 300 < sizeof(out))
            len += (size_t)snprintf(out + len, sizeof(out) - len, "%s%s", i ? " " : "", x->name[i]);
        free(x->name[i]);
    }
    x->n = 0;
    return out;
}

static bool take_name(void *arg, uint64_t cookie, const char *name, const struct pm_attr *attr)
{
    struct names *x = arg;

    (void)cookie;
    (void)attr;
    assert_true(x->n < PM_COUNT(x->name));
    x->name[x->n++] = strdup(name);
    return true;
}

const char *env_names(struct env *e, pm_node folder)
{
    static struct names x;

    assert_int_equal(pm_tree_read(e->c, folder, 0, take_name, &x), 0);
    return join(&x);
}

pm_node env_write(struct env *e, pm_node parent, const char *name, const char *text)
{
    struct pm_attr  attr;
    struct pm_file *f;
    bool            paused = pm_queue_paused(e->c);
    int             err;

    pm_queue_pause(e->c, true); /* on a slow machine the empty file would go first */
    err = pm_change_create(e->c, parent, name, NULL, &attr);
    if (err == -EEXIST)
        err = pm_tree_lookup(e->c, parent, name, NULL, &attr);
    assert_int_equal(err, 0);
    assert_int_equal(pm_file_open(e->c, attr.node, O_WRONLY | O_TRUNC, &f), 0);
    assert_int_equal(pm_file_write(f, text, strlen(text), 0), strlen(text));
    assert_int_equal(pm_file_flush(f), 0);
    pm_file_release(f);
    pm_queue_pause(e->c, paused);
    return attr.node;
}

pm_node env_mkdir(struct env *e, pm_node parent, const char *name)
{
    struct pm_attr attr;

    assert_int_equal(pm_change_mkdir(e->c, parent, name, NULL, &attr), 0);
    return attr.node;
}

ssize_t env_read(struct pm_file *f, void *buf, size_t len, uint64_t off)
{
    struct env_waiter w;
    ssize_t           n;

    for (;;) {
        env_waiter_init(&w);
        n = pm_file_read(f, buf, len, off, &w.w);
        if (n != -EINPROGRESS)
            return n;
        assert_true(env_waiter_wait(&w, 30000));
        if (w.err)
            return w.err;
    }
}

ssize_t env_copy_range(struct pm_file *in, struct pm_file *out, uint64_t off, uint64_t len)
{
    struct env_waiter w;
    ssize_t           n;

    for (;;) {
        env_waiter_init(&w);
        n = pm_file_copy(in, off, out, off, len, &w.w);
        if (n != -EINPROGRESS)
            return n;
        assert_true(env_waiter_wait(&w, 30000));
        if (w.err)
            return w.err;
    }
}

pm_node env_copy(struct env *e, pm_node from, pm_node parent, const char *name)
{
    struct pm_attr  attr, to;
    struct pm_file *in, *out;
    uint64_t        off = 0;
    bool            paused = pm_queue_paused(e->c);
    ssize_t         n;

    pm_queue_pause(e->c, true); /* as in env_write */
    assert_int_equal(pm_tree_getattr(e->c, from, &attr), 0);
    assert_int_equal(pm_change_create(e->c, parent, name, NULL, &to), 0);
    assert_int_equal(pm_file_open(e->c, from, O_RDONLY, &in), 0);
    assert_int_equal(pm_file_open(e->c, to.node, O_WRONLY, &out), 0);
    do {
        n = env_copy_range(in, out, off, off ? UINT32_MAX : attr.size / 2 + 1);
        assert_true(n >= 0);
        off += (uint64_t)n;
    } while (n);
    assert_int_equal(off, attr.size);
    pm_file_release(in);
    pm_file_release(out);
    pm_queue_pause(e->c, paused);
    return to.node;
}

const char *env_text(struct env *e, pm_node node)
{
    static char     buf[4096];
    struct pm_file *f;
    ssize_t         n;

    assert_int_equal(pm_file_open(e->c, node, O_RDONLY, &f), 0);
    n = env_read(f, buf, sizeof(buf) - 1, 0);
    pm_file_release(f);
    if (n < 0)
        fail_msg("read: %zd", n);
    buf[n] = 0;
    return buf;
}

int64_t env_sql(struct env *e, const char *sql)
{
    int64_t value;

    pm_db_begin(e->c->db);
    value = pm_db_int(e->c->db, 0, sql, "");
    pm_db_end(e->c->db, 0);
    return value;
}

void env_set_due(struct env *e)
{
    env_sql(e, "UPDATE j.entry SET not_before=0 WHERE state=2");
}

/* --- the service */

void env_serve(struct env *e, const char *path, const char *text)
{
    assert_int_equal(pm_memory_set(e->b, path, PM_FILE, text, strlen(text)), 0);
}

void env_serve_folder(struct env *e, const char *path)
{
    assert_int_equal(pm_memory_set(e->b, path, PM_FOLDER, "", 0), 0);
}

static struct pm_entry entry_at(const char *path, enum pm_kind kind)
{
    return (struct pm_entry){.kind = kind, .root = "", .id = "", .name = "", .path = path,
                             .target = "", .version = "", .state = "", .size = PM_SIZE_UNKNOWN};
}

struct pm_entry *env_object(struct env *e, const char *path)
{
    struct pm_ctx    ctx = {.deadline_ms = pm_now_ms() + 30000};
    struct pm_entry  at = entry_at(path, PM_FILE);
    struct pm_entry *out = NULL;

    return pm_backend_stat(e->b, &ctx, &at, &out) ? NULL : out;
}

struct text {
    char   buf[8192];
    size_t len;
};

static int text_begin(void *arg, const struct pm_answer *a)
{
    (void)arg;
    (void)a;
    return 0;
}

static int text_data(void *arg, const void *buf, size_t len)
{
    struct text *t = arg;

    if (len > sizeof(t->buf) - 1 - t->len)
        len = sizeof(t->buf) - 1 - t->len;
    memcpy(t->buf + t->len, buf, len);
    t->len += len;
    return 0;
}

const char *env_served(struct env *e, const char *path)
{
    static struct text         t;
    static const struct pm_sink sink = {text_begin, text_data, NULL};
    struct pm_ctx              ctx = {.deadline_ms = pm_now_ms() + 30000};
    struct pm_entry            at = entry_at(path, PM_FILE);

    t.len = 0;
    if (pm_backend_fetch(e->b, &ctx, &at, 0, 1 << 20, &sink, &t))
        return NULL;
    t.buf[t.len] = 0;
    return t.buf;
}

static int take_entry(void *arg, const struct pm_entry *e)
{
    struct names *x = arg;

    assert_true(x->n < PM_COUNT(x->name));
    x->name[x->n++] = strdup(e->name);
    return 0;
}

const char *env_served_names(struct env *e, const char *path)
{
    static struct names x;
    struct pm_ctx       ctx = {.deadline_ms = pm_now_ms() + 30000};
    struct pm_entry     at = entry_at(path, PM_FOLDER);

    if (pm_backend_list(e->b, &ctx, &at, take_entry, &x))
        return NULL;
    return join(&x);
}
