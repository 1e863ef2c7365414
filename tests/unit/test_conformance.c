/* One set of checks over every backend: `memory`, and `smartshape` against the emulator that
 * $PM_EMULATOR (default build/plain/polymount-emulator) names, if it is there; and `sharemy3d`, which has
 * checks of its own, since nothing can be made there yet. */
#include "backends/http.h"
#include "backends/json.h"
#include "backends/memory.h"
#include "backends/resumable.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

/* --- what is tested */

static struct world {
    bool                   memory;
    struct pm_secret       secret;
    struct pm_account_conf account;
    struct pm_conf         conf;
    struct pm_net         *net;
    struct pm_backend     *b;
    struct pm_ctx          ctx;
    pid_t                  emulator;
    char                   dir[64];
    char                   cert[80];
    char                  *control;
    char                  *kv_keys[8], *kv_values[8];
} w;

static int kv_get(void *arg, const char *key, char **out)
{
    (void)arg;
    *out = NULL;
    for (size_t i = 0; i < PM_COUNT(w.kv_keys); i++)
        if (w.kv_keys[i] && !strcmp(w.kv_keys[i], key))
            *out = strdup(w.kv_values[i]);
    return 0;
}

static int kv_set(void *arg, const char *key, const char *value)
{
    (void)arg;
    for (size_t i = 0; i < PM_COUNT(w.kv_keys); i++) {
        if (w.kv_keys[i] && strcmp(w.kv_keys[i], key) != 0)
            continue;
        free(w.kv_keys[i]);
        free(w.kv_values[i]);
        w.kv_keys[i] = strdup(key);
        w.kv_values[i] = strdup(value);
        return 0;
    }
    return -ENOSPC;
}

static void open_backend(const char *type, const char *endpoint)
{
    static const struct pm_kv kv = {.get = kv_get, .set = kv_set};

    w.conf.op_timeout_ms = 20000;
    w.account = (struct pm_account_conf){.name = (char *)"test",
                                         .type = (char *)type,
                                         .endpoint = strdup(endpoint),
                                         .secrets = &w.secret,
                                         .nsecrets = w.secret.key ? 1 : 0};
    assert_int_equal(pm_net_open(&w.conf, &w.net), 0);
    assert_int_equal(pm_backend_open(&w.account, w.net, &kv, &w.b), 0);
}

static int open_memory(void **state)
{
    (void)state;
    w = (struct world){.memory = true};
    open_backend("memory", "memory:");
    return 0;
}

static const char *emulator_path(void)
{
    const char *path = getenv("PM_EMULATOR");

    return path ? path : "build/plain/polymount-emulator";
}

/* Starts the emulator and reads the line it prints when it is ready. */
static struct cJSON *start_emulator(const char *option)
{
    char    line[4096] = "";
    int     fds[2];
    ssize_t n;
    size_t  len = 0;

    strcpy(w.dir, "/tmp/pm-conformance-XXXXXX");
    assert_non_null(mkdtemp(w.dir));
    assert_int_equal(pipe(fds), 0);
    w.emulator = fork();
    if (w.emulator == 0) {
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        execl(emulator_path(), "polymount-emulator", "--data", w.dir, "--api", "0", "--storage",
              "0", option, (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    while (len < sizeof(line) - 1 && !strchr(line, '\n') &&
           (n = read(fds[0], line + len, sizeof(line) - 1 - len)) > 0)
        len += (size_t)n;
    close(fds[0]);
    return pm_json_parse(line, len);
}

static void open_service(const char *type, const char *token, const char *option)
{
    struct cJSON *ready;

    w = (struct world){0};
    ready = start_emulator(option);
    assert_non_null(ready);
    snprintf(w.cert, sizeof(w.cert), "%s/cert.pem", w.dir);
    w.conf.ca_file = option ? w.cert : NULL;
    w.control = strdup(pm_json_text(ready, "control"));
    w.secret = (struct pm_secret){.key = (char *)"token",
                                  .how = (char *)"",
                                  .value = strdup(pm_json_text(ready, token))};
    open_backend(type, pm_json_text(ready, type));
    pm_json_free(ready);
}

static void open_emulator(const char *option)
{
    open_service("smartshape", "token", option);
}

static int open_sharemy3d(void **state)
{
    (void)state;
    open_service("sharemy3d", "sharemy3d_token", NULL);
    return 0;
}

static int open_sharemy3d_tls(void **state)
{
    (void)state;
    open_service("sharemy3d", "sharemy3d_token", "--tls");
    return 0;
}

static int open_smartshape(void **state)
{
    (void)state;
    open_emulator(NULL);
    return 0;
}

static int open_smartshape_tls(void **state)
{
    (void)state;
    open_emulator("--tls");
    return 0;
}

/* A call of the emulator's control; the answer is owned. */
static char *control(const char *method, const char *path, const char *body)
{
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    PM_AUTO(free) char      *url = pm_asprintf("%s/%s", w.control, path);
    struct pm_http_request   req = {.method = method, .url = url, .body = body, .headers = headers};
    struct pm_http_answer    answer = {0};
    struct pm_ctx            ctx = {0};
    char                    *text;

    assert_int_equal(pm_http_call(w.net, &ctx, &req, &answer), 0);
    text = pm_buf_take(&answer.body);
    pm_http_answer_free(&answer);
    return text;
}

static void set_control(const char *path, const char *body)
{
    free(control("POST", path, body));
}

static void assert_no_breach(void)
{
    char *breaches;

    if (w.memory)
        return;
    breaches = control("GET", "breaches", NULL);
    if (strncmp(breaches, "[]", 2) != 0)
        print_error("%s\n", breaches);
    assert_memory_equal(breaches, "[]", 2);
    free(breaches);
}

static int close_world(void **state)
{
    char command[128];

    (void)state;
    pm_backend_close(w.b);
    pm_net_close(w.net);
    if (w.emulator) {
        kill(w.emulator, SIGTERM);
        waitpid(w.emulator, NULL, 0);
        snprintf(command, sizeof(command), "rm -rf %s", w.dir);
        assert_int_equal(system(command), 0);
    }
    for (size_t i = 0; i < PM_COUNT(w.kv_keys); i++) {
        free(w.kv_keys[i]);
        free(w.kv_values[i]);
    }
    free(w.secret.value);
    free(w.control);
    free(w.account.endpoint);
    return 0;
}

/* --- helpers */

static const struct pm_entry root = {.kind = PM_FOLDER, .root = "", .id = "", .name = "",
                                     .path = "", .target = "", .version = "", .state = "",
                                     .size = PM_SIZE_UNKNOWN};

struct search {
    const char      *name; /* NULL: count only */
    struct pm_entry *found;
    unsigned         count;
};

static int look(void *arg, const struct pm_entry *e)
{
    struct search *s = arg;

    s->count++;
    if (s->name && !strcmp(e->name, s->name)) {
        assert_null(s->found);
        s->found = pm_entry_dup(e);
    }
    return 0;
}

/* The entry of that name in a folder; owned, NULL if it is not there. */
static struct pm_entry *find(const struct pm_entry *dir, const char *name)
{
    struct search s = {.name = name};

    assert_int_equal(pm_backend_list(w.b, &w.ctx, dir, look, &s), 0);
    return s.found;
}

static unsigned count(const struct pm_entry *dir)
{
    struct search s = {0};

    assert_int_equal(pm_backend_list(w.b, &w.ctx, dir, look, &s), 0);
    return s.count;
}

static struct pm_entry *make_folder(const struct pm_entry *parent, const char *name)
{
    struct pm_entry *dir = NULL;

    assert_int_equal(pm_backend_mkdir(w.b, &w.ctx, parent, name, &dir), 0);
    return dir;
}

/* Bytes that differ everywhere, and by `salt`. */
static char *make_bytes(size_t len, unsigned salt)
{
    char *bytes = malloc(len + 1);

    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(i * 37 + i / 255 + i / 65537 + salt);
    return bytes;
}

static FILE *make_file(const char *bytes, size_t len)
{
    FILE *f = tmpfile();

    assert_non_null(f);
    assert_int_equal(pm_pwrite_all(fileno(f), bytes, len, 0), len);
    return f;
}

/* All steps, as the queue takes them: after -EAGAIN comes resume. */
static int run_upload(struct pm_upload *up, struct pm_entry **out)
{
    uint64_t off = 0;
    int      err = pm_backend_begin(w.b, &w.ctx, up);

    if (err)
        return err;
    for (int tries = 0; tries < 50; tries++) {
        do
            err = pm_backend_put(w.b, &w.ctx, up, &off);
        while (!err && off < up->size);
        if (!err)
            err = pm_backend_finish(w.b, &w.ctx, up, out);
        if (err != -EAGAIN)
            return err;
        do {
            usleep(20000);
            err = pm_backend_resume(w.b, &w.ctx, up, &off);
        } while (err == -EAGAIN && tries++ < 50);
        if (err)
            return err;
    }
    return -ETIMEDOUT;
}

static int upload(const struct pm_entry *parent, const char *name, const struct pm_entry *target,
                  const char *bytes, size_t len, struct pm_entry **out)
{
    FILE            *f = make_file(bytes, len);
    struct pm_upload up = {
        .parent = parent, .name = name, .target = target, .fd = fileno(f), .size = len};
    int err = run_upload(&up, out);

    free(up.state);
    fclose(f);
    return err;
}

struct kept {
    pthread_mutex_t lock;
    pthread_cond_t  over;
    struct pm_buf   bytes;
    uint64_t        off;
    bool            done;
    int             err;
};

static int kept_begin(void *arg, const struct pm_answer *answer)
{
    ((struct kept *)arg)->off = answer->off;
    return 0;
}

static int kept_data(void *arg, const void *buf, size_t len)
{
    pm_buf_add(&((struct kept *)arg)->bytes, buf, len);
    return 0;
}

static void kept_done(void *arg, int err, const char *why)
{
    struct kept *k = arg;

    (void)why;
    PM_GUARD(&k->lock);
    k->err = err;
    k->done = true;
    pthread_cond_signal(&k->over);
}

static int read_range(const struct pm_entry *e, uint64_t off, uint64_t len, struct kept *k)
{
    static const struct pm_sink sink = {kept_begin, kept_data, kept_done};
    struct pm_source           *source;

    *k = (struct kept){0};
    pthread_mutex_init(&k->lock, NULL);
    pm_cond_init(&k->over);
    assert_int_equal(pm_source_open(w.b, e, &source), 0);
    pm_fetch(source, off, len, PM_INTERACTIVE, NULL, &sink, k);
    pthread_mutex_lock(&k->lock);
    while (!k->done)
        pthread_cond_wait(&k->over, &k->lock);
    pthread_mutex_unlock(&k->lock);
    pm_source_close(source);
    return k->err;
}

static void assert_range(const struct pm_entry *e, const char *bytes, uint64_t off, size_t len)
{
    struct kept k;

    assert_int_equal(read_range(e, off, len, &k), 0);
    assert_int_equal(k.off, off);
    assert_int_equal(k.bytes.len, len);
    assert_memory_equal(k.bytes.ptr, bytes + off, len);
    pm_buf_free(&k.bytes);
}

/* --- the checks */

static void the_root_is_there_and_empty(void **state)
{
    struct search    s = {0};
    struct pm_entry *e = NULL;

    (void)state;
    assert_int_equal(pm_backend_roots(w.b, look, &s), 0);
    assert_int_equal(s.count, 1);
    assert_int_equal(count(&root), 0);
    assert_int_equal(pm_backend_stat(w.b, &w.ctx, &root, &e), 0);
    assert_int_equal(e->kind, PM_FOLDER);
    free(e);
    assert_no_breach();
}

static void folders_are_made_once(void **state)
{
    struct pm_entry *a = make_folder(&root, "a b"), *deep = make_folder(a, "c"), *again = NULL, *e;

    (void)state;
    assert_string_equal(a->name, "a b");
    assert_string_equal(deep->path, "a%20b/c");
    assert_int_equal(deep->kind, PM_FOLDER);
    assert_int_equal(pm_backend_mkdir(w.b, &w.ctx, &root, "a b", &again), -EEXIST);
    assert_int_equal(count(a), 1);
    assert_int_equal(pm_backend_stat(w.b, &w.ctx, deep, &e), 0);
    assert_string_equal(e->path, deep->path);
    assert_string_equal(e->id, deep->id);
    free(e);
    free(a);
    free(deep);
    assert_no_breach();
}

static void contents_of_any_size_go_and_come(void **state)
{
    static const size_t sizes[] = {0, 1, 1000, 1 << 20};
    struct pm_entry    *dir = make_folder(&root, "sizes");

    (void)state;
    for (size_t i = 0; i < PM_COUNT(sizes); i++) {
        struct pm_entry *e = NULL, *listed, *now;
        char             name[32], *bytes = make_bytes(sizes[i], 5);

        snprintf(name, sizeof(name), "f%zu.obj", sizes[i]);
        assert_int_equal(upload(dir, name, NULL, bytes, sizes[i], &e), 0);
        assert_string_equal(e->name, name);
        assert_int_equal(e->size, sizes[i]);
        assert_true(*e->id);
        listed = find(dir, name);
        assert_string_equal(listed->id, e->id);
        assert_string_equal(listed->path, e->path);
        assert_int_equal(listed->size, sizes[i]);
        assert_int_equal(pm_backend_stat(w.b, &w.ctx, listed, &now), 0);
        assert_string_equal(now->path, listed->path);
        assert_int_equal(now->kind, PM_FILE);
        if (sizes[i])
            assert_range(e, bytes, 0, sizes[i]);
        free(now);
        free(listed);
        free(e);
        free(bytes);
    }
    free(dir);
    assert_no_breach();
}

static void any_range_can_be_read(void **state)
{
    static const struct {
        uint64_t off;
        size_t   len;
    } rows[] = {{0, 1}, {1, 99999}, {65535, 2}, {299999, 1}, {100000, 200000}, {0, 300000}};
    char            *bytes = make_bytes(300000, 9);
    struct pm_entry *e = NULL;

    (void)state;
    assert_int_equal(upload(&root, "ranges.bin", NULL, bytes, 300000, &e), 0);
    for (size_t i = 0; i < PM_COUNT(rows); i++)
        assert_range(e, bytes, rows[i].off, rows[i].len);
    free(e);
    free(bytes);
    assert_no_breach();
}

static void replacing_keeps_the_id(void **state)
{
    char            *first = make_bytes(5000, 1), *second = make_bytes(7000, 2);
    struct pm_entry *e = NULL, *now = NULL, *listed;

    (void)state;
    assert_int_equal(upload(&root, "r.stl", NULL, first, 5000, &e), 0);
    assert_int_equal(upload(&root, "r.stl", e, second, 7000, &now), 0);
    assert_string_equal(now->id, e->id);
    assert_string_not_equal(now->version, e->version);
    listed = find(&root, "r.stl");
    assert_int_equal(listed->size, 7000);
    assert_range(now, second, 0, 7000);
    free(listed);
    free(e);
    free(now);
    free(first);
    free(second);
    assert_no_breach();
}

static void strange_names_survive(void **state)
{
    static const char *const names[] = {
        "a b.obj", " lead", "trail ", "quote\"d.obj", "back\\slash.obj", "both\\\"x.obj", "%41.obj",
        "100%.obj", "a#b?c&d=e+f;g.obj", "\xc3\xbcml\xc3\xa4ut.obj", "u\xcc\x88.obj",
        "\xe6\xa8\xa1\xe5\x9e\x8b.obj", "\xf0\x9f\x98\x80.obj", "'single'.obj", "a:b*c|d<e>.obj",
        "-dash", "...", "..a", "~", "CON", "\x7f.obj", "tab\there.obj", "@at,$.obj", "[1]{2}.obj"};
    struct pm_entry *dir = make_folder(&root, "strange \"%\" \xc3\xbc"), *e, *listed;
    char             longest[256];

    (void)state;
    for (size_t i = 0; i <= PM_COUNT(names); i++) {
        const char *name = i < PM_COUNT(names) ? names[i] : longest;
        int         err;

        memset(longest, 'x', 255);
        longest[255] = '\0';
        e = NULL;
        err = upload(dir, name, NULL, "abc", 3, &e);
        if (err)
            print_error("%s: %s\n", name, w.ctx.why);
        assert_int_equal(err, 0);
        assert_string_equal(e->name, name);
        listed = find(dir, name);
        assert_non_null(listed);
        assert_string_equal(listed->id, e->id);
        assert_range(listed, "abc", 0, 3);
        assert_int_equal(pm_backend_remove(w.b, &w.ctx, listed), 0);
        free(e);
        free(listed);
        e = make_folder(dir, name);
        assert_string_equal(e->name, name);
        assert_int_equal(pm_backend_remove(w.b, &w.ctx, e), 0);
        free(e);
    }
    assert_int_equal(count(dir), 0);
    free(dir);
    assert_no_breach();
}

static void removing_takes_all_and_is_final(void **state)
{
    struct pm_entry *dir = make_folder(&root, "gone"), *sub = make_folder(dir, "sub"), *e = NULL,
                    *now = NULL;
    struct kept      k;
    struct search    s = {0};

    (void)state;
    assert_int_equal(upload(sub, "f", NULL, "abc", 3, &e), 0);
    assert_int_equal(pm_backend_remove(w.b, &w.ctx, dir), 0);
    assert_int_equal(pm_backend_remove(w.b, &w.ctx, dir), -ENOENT);
    assert_int_equal(pm_backend_remove(w.b, &w.ctx, e), -ENOENT);
    assert_int_equal(pm_backend_stat(w.b, &w.ctx, e, &now), -ENOENT);
    assert_int_equal(pm_backend_list(w.b, &w.ctx, sub, look, &s), -ENOENT);
    assert_int_equal(pm_backend_mkdir(w.b, &w.ctx, sub, "x", &now), -ENOENT);
    assert_int_equal(upload(sub, "g", NULL, "abc", 3, &now), -ENOENT);
    assert_int_equal(read_range(e, 0, 3, &k), -ENOENT);
    assert_int_equal(k.bytes.len, 0);
    assert_int_equal(pm_backend_remove(w.b, &w.ctx, &root), -EBUSY);
    free(e);
    free(sub);
    free(dir);
    assert_no_breach();
}

static void a_taken_name_is_eexist(void **state)
{
    struct pm_entry *e = NULL, *other = NULL;

    (void)state;
    assert_int_equal(upload(&root, "taken", NULL, "abc", 3, &e), 0);
    assert_int_equal(upload(&root, "taken", NULL, "other", 5, &other), -EEXIST);
    assert_range(e, "abc", 0, 3);
    free(e);
    assert_no_breach();
}

static void copies_are_made_there(void **state)
{
    struct pm_entry *dir = make_folder(&root, "copies"), *e = NULL, *copy = NULL, *now = NULL;

    (void)state;
    assert_int_equal(upload(&root, "source.obj", NULL, "abcdef", 6, &e), 0);
    while (e->settling) {
        usleep(50000);
        assert_int_equal(pm_backend_stat(w.b, &w.ctx, e, &now), 0);
        free(e);
        e = now;
    }
    assert_int_equal(pm_backend_copy(w.b, &w.ctx, e, dir, "c \xc3\xbc.obj", &copy), 0);
    assert_string_not_equal(copy->id, e->id);
    for (int i = 0; i < 100 && copy->settling; i++) {
        usleep(50000);
        assert_int_equal(pm_backend_stat(w.b, &w.ctx, copy, &now), 0);
        free(copy);
        copy = now;
    }
    assert_string_equal(copy->name, "c \xc3\xbc.obj");
    assert_range(copy, "abcdef", 0, 6);
    assert_int_equal(pm_backend_copy(w.b, &w.ctx, e, dir, "c \xc3\xbc.obj", &now), -EEXIST);
    free(copy);
    free(e);
    free(dir);
    assert_no_breach();
}

static void lose_next_answer(void)
{
    if (w.memory)
        pm_memory_fault(w.b, PM_MEM_FINISH, 1, -EAGAIN, true);
    else
        set_control("faults", "{\"endpoint\":\"any\",\"match\":\"lost\",\"count\":1,"
                              "\"reset\":\"after\"}");
}

static void a_lost_answer_makes_one_object(void **state)
{
    char            *bytes = make_bytes(200000, 3);
    struct pm_entry *dir = make_folder(&root, "one"), *e = NULL, *now = NULL;

    (void)state;
    lose_next_answer();
    assert_int_equal(upload(dir, "lost.obj", NULL, bytes, 200000, &e), 0);
    assert_int_equal(count(dir), 1);
    assert_range(e, bytes, 0, 200000);
    lose_next_answer();
    assert_int_equal(upload(dir, "lost.obj", e, bytes, 100000, &now), 0);
    assert_string_equal(now->id, e->id);
    assert_int_equal(now->size, 100000);
    assert_int_equal(count(dir), 1);
    free(now);
    free(e);
    free(dir);
    free(bytes);
    assert_no_breach();
}

static void an_aborted_upload_leaves_nothing(void **state)
{
    struct pm_entry *dir = make_folder(&root, "aborted");
    FILE            *f = make_file("abc", 3);
    struct pm_upload up = {.parent = dir, .name = "x", .fd = fileno(f), .size = 3};
    uint64_t         off = 0;

    (void)state;
    assert_int_equal(pm_backend_begin(w.b, &w.ctx, &up), 0);
    assert_int_equal(pm_backend_put(w.b, &w.ctx, &up, &off), 0);
    assert_int_equal(pm_backend_abort(w.b, &w.ctx, &up), 0);
    assert_int_equal(count(dir), 0);
    free(up.state);
    fclose(f);
    free(dir);
    assert_no_breach();
}

static void *cancel_soon(void *arg)
{
    usleep(200000);
    atomic_store((atomic_bool *)arg, true);
    return NULL;
}

static void a_canceled_call_ends_within_a_second(void **state)
{
    struct pm_entry *dir = make_folder(&root, "slow");
    atomic_bool      cancel = false;
    struct pm_ctx    ctx = {.cancel = &cancel};
    struct search    s = {0};
    int64_t          start;
    pthread_t        thread;

    (void)state;
    if (w.memory)
        pm_memory_block(w.b, PM_MEM_LIST, true);
    else
        set_control("faults", "{\"endpoint\":\"list\",\"match\":\"slow\",\"delay_ms\":5000}");
    start = pm_now_ms();
    assert_int_equal(pm_thread_start(&thread, "cancel", cancel_soon, &cancel), 0);
    assert_int_equal(pm_backend_list(w.b, &ctx, dir, look, &s), -ECANCELED);
    assert_in_range(pm_now_ms() - start, 100, 4500);
    pthread_join(thread, NULL);
    ctx = (struct pm_ctx){.deadline_ms = pm_now_ms() + 200};
    start = pm_now_ms();
    assert_int_equal(pm_backend_list(w.b, &ctx, dir, look, &s), -ETIMEDOUT);
    assert_in_range(pm_now_ms() - start, 150, 4500);
    if (w.memory)
        pm_memory_block(w.b, PM_MEM_LIST, false);
    else
        free(control("DELETE", "faults", NULL));
    free(dir);
    assert_no_breach();
}

static void a_read_only_account_changes_nothing(void **state)
{
    struct pm_entry *e = NULL;
    char             why[200];

    (void)state;
    w.account.read_only = true;
    assert_int_equal(pm_backend_mkdir(w.b, &w.ctx, &root, "x", &e), -EROFS);
    assert_int_equal(upload(&root, "x", NULL, "abc", 3, &e), -EROFS);
    assert_int_equal(pm_backend_manner(w.b, &root, why, sizeof(why)), PM_MANNER_FIXED);
    assert_string_equal(why, "the account is configured read-only");
    w.account.read_only = false;
    assert_int_equal(pm_backend_manner(w.b, &root, why, sizeof(why)), PM_MANNER_TREE);
    assert_int_equal(count(&root), 0);
    assert_no_breach();
}

/* --- smartshape only: what the documents leave open, and what goes wrong on the way */

static void both_parameter_names_are_found(void **state)
{
    struct pm_entry *e = NULL;

    (void)state;
    set_control("options", "{\"upload_param\":\"p\"}");
    assert_int_equal(upload(&root, "a", NULL, "abc", 3, &e), 0);
    free(e);
    assert_int_equal(upload(&root, "b", NULL, "abc", 3, &e), 0);
    free(e);
    set_control("options", "{\"upload_param\":\"path\"}");
    assert_int_equal(upload(&root, "c", NULL, "abc", 3, &e), 0);
    free(e);
}

static void both_quotings_are_found(void **state)
{
    struct pm_entry *e = NULL, *dir = make_folder(&root, "q");

    (void)state;
    set_control("options", "{\"quoting\":\"percent\"}");
    assert_int_equal(upload(dir, "a\"b\\c.obj", NULL, "abc", 3, &e), 0);
    assert_string_equal(e->name, "a\"b\\c.obj");
    free(e);
    assert_int_equal(count(dir), 1);
    assert_int_equal(upload(dir, "x\"y.obj", NULL, "abc", 3, &e), 0);
    free(e);
    assert_int_equal(count(dir), 2);
    free(dir);
}

/* What one learns of the quoting while the other is under way must not confuse that. */
static void two_at_once_find_the_quoting(void **state)
{
    static const char *const names[] = {"a\"b.obj", "c\"d.obj"};
    struct pm_entry         *e = NULL, *dir = make_folder(&root, "q");
    FILE                    *f = make_file("abc", 3);
    struct pm_upload         up[2];

    (void)state;
    set_control("options", "{\"quoting\":\"percent\"}");
    for (int i = 0; i < 2; i++) {
        uint64_t off = 0;

        up[i] = (struct pm_upload){.parent = dir, .name = names[i], .fd = fileno(f), .size = 3};
        assert_int_equal(pm_backend_begin(w.b, &w.ctx, &up[i]), 0);
        assert_int_equal(pm_backend_put(w.b, &w.ctx, &up[i], &off), 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pm_backend_finish(w.b, &w.ctx, &up[i], &e), 0);
        assert_string_equal(e->name, names[i]);
        free(e);
        free(up[i].state);
    }
    assert_int_equal(count(dir), 2);
    fclose(f);
    free(dir);
}

static void errors_are_understood_in_every_shape(void **state)
{
    struct pm_entry *e = NULL, *other = NULL;

    (void)state;
    assert_int_equal(upload(&root, "taken", NULL, "abc", 3, &e), 0);
    set_control("options", "{\"exists_status\":400}");
    for (int shape = 1; shape <= 3; shape++) {
        char option[64];

        snprintf(option, sizeof(option), "{\"error_shape\":%d}", shape);
        set_control("options", option);
        assert_int_equal(upload(&root, "taken", NULL, "other", 5, &other), -EEXIST);
        assert_int_equal(pm_backend_mkdir(w.b, &w.ctx, &root, "taken", &other), -EEXIST);
        assert_true(strlen(w.ctx.why) > 5);
    }
    free(e);
    assert_no_breach();
}

static void redirected_downloads_work(void **state)
{
    char            *bytes = make_bytes(300000, 9);
    struct pm_entry *e = NULL;

    (void)state;
    set_control("options", "{\"download\":\"redirect\"}");
    assert_int_equal(upload(&root, "ranges.bin", NULL, bytes, 300000, &e), 0);
    assert_range(e, bytes, 1000, 250000);
    set_control("faults", "{\"endpoint\":\"storage\",\"count\":2,\"cut\":50000}");
    assert_range(e, bytes, 1000, 250000);
    set_control("options", "{\"download\":\"direct\"}");
    set_control("faults", "{\"endpoint\":\"download\",\"count\":2,\"cut\":50000}");
    assert_range(e, bytes, 1000, 250000);
    free(e);
    free(bytes);
    assert_no_breach();
}

static void a_cut_list_is_no_list(void **state)
{
    struct pm_entry *dir;
    struct search    s = {0};

    (void)state;
    set_control("seed", "{\"dir\":\"/many\",\"count\":2000,\"size\":10}");
    dir = find(&root, "many");
    assert_int_equal(count(dir), 2000);
    set_control("faults", "{\"endpoint\":\"list\",\"cut\":100000}");
    assert_int_equal(pm_backend_list(w.b, &w.ctx, dir, look, &s), -EIO);
    assert_true(s.count < 2000);
    free(control("DELETE", "faults", NULL));
    set_control("faults", "{\"endpoint\":\"list\",\"garbage\":true,\"count\":1}");
    assert_int_equal(pm_backend_list(w.b, &w.ctx, dir, look, &s), -EIO);
    assert_int_equal(count(dir), 2000);
    free(dir);
    assert_no_breach();
}

static void uploads_survive_bad_answers(void **state)
{
    static const char *const faults[] = {
        "{\"endpoint\":\"upload\",\"count\":1,\"garbage\":true}",
        "{\"endpoint\":\"upload\",\"count\":1,\"reset\":\"before\"}",
        "{\"endpoint\":\"upload\",\"count\":1,\"reset\":\"during\",\"reset_at\":50000}",
        "{\"endpoint\":\"upload\",\"count\":1,\"status\":502}",
        "{\"endpoint\":\"upload\",\"count\":1,\"cut\":5}",
        "{\"endpoint\":\"details\",\"count\":1,\"garbage\":true}",
        "{\"endpoint\":\"details\",\"count\":1,\"status\":500}",
    };
    char            *bytes = make_bytes(200000, 3);
    struct pm_entry *dir = make_folder(&root, "bad"), *e = NULL;

    (void)state;
    for (size_t i = 0; i < PM_COUNT(faults); i++) {
        char name[16];

        snprintf(name, sizeof(name), "f%zu", i);
        set_control("faults", faults[i]);
        assert_int_equal(upload(dir, name, NULL, bytes, 200000, &e), 0);
        assert_range(e, bytes, 0, 200000);
        free(e);
        assert_int_equal(count(dir), i + 1);
        free(control("DELETE", "faults", NULL));
    }
    free(dir);
    free(bytes);
    assert_no_breach();
}

static void certificates_are_verified(void **state)
{
    struct pm_conf        other = {0};
    struct pm_net        *net;
    struct pm_http_answer answer = {0};
    struct pm_http_request req = {.method = "GET", .url = w.account.endpoint};
    struct pm_entry      *e = NULL;

    (void)state;
    assert_memory_equal(w.account.endpoint, "https:", 6);
    assert_int_equal(upload(&root, "a", NULL, "abc", 3, &e), 0);
    assert_range(e, "abc", 0, 3);
    free(e);
    assert_int_equal(pm_net_open(&other, &net), 0); /* trusts the system's authorities only */
    assert_int_equal(pm_http_call(net, &w.ctx, &req, &answer), -EPROTO);
    pm_http_answer_free(&answer);
    pm_net_close(net);
    assert_no_breach();
}

/* --- sharemy3d only */

/* A folder of the drive's own making, by its path. */
static struct pm_entry folder_at(const char *path)
{
    return (struct pm_entry){.kind = PM_FOLDER, .root = "", .id = "", .name = "", .path = path,
                             .target = "", .version = "", .state = "", .size = PM_SIZE_UNKNOWN};
}

/* The model of this id, and its file. */
static struct pm_entry *model_of(const char *id, struct pm_entry **file)
{
    PM_AUTO(free) char *path = pm_asprintf("models/%s", id);
    struct pm_entry     models = folder_at("models"), *model = find(&models, id);

    assert_string_equal(model->path, path);
    *file = find(model, "a b.ply");
    return model;
}

static char *seed_model(void)
{
    PM_AUTO(free) char *said = control("POST", "sm3d/seed",
                                       "{\"size\":300000,\"seed\":4,\"filename\":\"a b.ply\"}");
    struct cJSON       *json = pm_json_parse(said, strlen(said));
    char               *id = strdup(pm_json_text(json, "id"));

    pm_json_free(json);
    return id;
}

static void models_are_listed_and_read_in_any_range(void **state)
{
    static const struct {
        uint64_t off;
        size_t   len;
    } rows[] = {{0, 1}, {1, 99999}, {65535, 2}, {299999, 1}, {100000, 200000}, {0, 300000}};
    PM_AUTO(free) char *id = seed_model();
    PM_AUTO(free) char *query = pm_asprintf("sm3d/content?id=%s", id);
    PM_AUTO(free) char *bytes = control("GET", query, NULL);
    struct pm_entry    *file = NULL, *model, *now = NULL, models = folder_at("models");

    (void)state;
    set_control("sm3d/seed", "{\"count\":234,\"size\":10}");
    assert_int_equal(count(&models), 235);
    model = model_of(id, &file);
    assert_int_equal(file->size, 300000);
    for (size_t i = 0; i < PM_COUNT(rows); i++)
        assert_range(file, bytes, rows[i].off, rows[i].len);
    set_control("faults", "{\"endpoint\":\"storage\",\"count\":2,\"cut\":50000}");
    assert_range(file, bytes, 1000, 250000);
    assert_int_equal(pm_backend_stat(w.b, &w.ctx, file, &now), 0);
    assert_true(pm_backend_same_version(w.b, now->version, file->version));
    free(now);
    free(file);
    free(model);
    assert_no_breach();
}

static void a_model_that_is_gone_is_enoent(void **state)
{
    static const char *const statuses[] = {"404", "400"};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(statuses); i++) {
        PM_AUTO(free) char *id = seed_model();
        PM_AUTO(free) char *order = pm_asprintf("{\"id\":\"%s\"}", id);
        PM_AUTO(free) char *option = pm_asprintf("{\"sm3d.gone_status\":%s}", statuses[i]);
        struct pm_entry    *file = NULL, *model = model_of(id, &file), *now = NULL;
        struct kept         k;

        set_control("options", option);
        set_control("sm3d/remove", order);
        assert_int_equal(pm_backend_stat(w.b, &w.ctx, model, &now), -ENOENT);
        assert_int_equal(read_range(file, 0, 10, &k), -ENOENT);
        pm_buf_free(&k.bytes);
        free(model);
        free(file);
    }
    assert_no_breach();
}

/* --- its storage host: resumable uploads */

#define BIG ((size_t)3 << 20)

/* Begins a model by hand; the URL to send it to. */
static char *begin_model(size_t size, bool resumable, char **id)
{
    static unsigned made; /* each is another drop */
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    PM_AUTO(free) char *url = pm_asprintf("%s/models/upload", w.account.endpoint);
    PM_AUTO(free) char *body = pm_asprintf("{\"size\":%zu,\"filename\":\"a.ply\",\"name\":\"Made %u\","
                                           "\"resumable\":%s}", size, made++, resumable ? "true" : "false");
    PM_AUTO(free) char *header = pm_asprintf("Authorization: Bearer %s", w.secret.value);
    struct pm_http_auth auth = {.origin = w.account.endpoint, .header = header};
    struct pm_http_request req = {.method = "POST", .url = url, .body = body, .headers = headers,
                                  .auth = &auth};
    struct pm_http_answer answer = {0};
    struct cJSON         *json;
    char                 *upload_url;

    assert_int_equal(pm_http_call(w.net, &w.ctx, &req, &answer), 0);
    json = pm_json_parse(answer.body.ptr, answer.body.len);
    upload_url = strdup(pm_json_text(json, "uploadUrl"));
    *id = strdup(pm_json_text(json, "modelId"));
    pm_json_free(json);
    pm_http_answer_free(&answer);
    return upload_url;
}

static void assert_model(const char *id, const char *bytes, size_t size)
{
    PM_AUTO(free) char *query = pm_asprintf("sm3d/content?id=%s", id);
    PM_AUTO(free) char *held = control("GET", query, NULL);

    assert_memory_equal(held, bytes, size);
}

/* Until it is complete, as a queue would: after whatever is not known, the mark is asked for. */
static int send_session(const char *session, const struct pm_upload *up, uint64_t chunk)
{
    struct pm_resumable r = {0};
    int                 err = 0;

    for (int tries = 0; !r.complete && tries < 40; tries++) {
        err = pm_resumable_put(w.net, &w.ctx, session, up, r.held, chunk, &r);
        if (err == -EAGAIN)
            err = pm_resumable_ask(w.net, &w.ctx, session, up->size, &r);
        if (err && err != -EAGAIN)
            return err;
    }
    assert_true(r.complete);
    return !*r.digest ? 0 : pm_digest_check(r.digest, up->fd, up->size, NULL) - 1;
}

static void sessions_of_every_form_bring_the_content(void **state)
{
    static const char *const forms[] = {"{\"sm3d.resumable_form\":\"json\"}",
                                        "{\"sm3d.resumable_form\":\"xml\",\"sm3d.final_status\":201}",
                                        "{\"sm3d.resumable_form\":\"start\",\"sm3d.short_every\":2}"};
    char *bytes = make_bytes(BIG, 3);
    FILE *f = make_file(bytes, BIG);

    (void)state;
    for (size_t i = 0; i < PM_COUNT(forms); i++) {
        struct pm_upload    up = {.fd = fileno(f), .size = BIG};
        char               *id = NULL, *session = NULL;

        set_control("options", forms[i]);
        PM_AUTO(free) char *url = begin_model(BIG, true, &id);
        assert_int_equal(pm_resumable_kind(url, true), i == 2 ? PM_RESUMABLE_START : PM_RESUMABLE_SESSION);
        if (i == 2)
            assert_int_equal(pm_resumable_start(w.net, &w.ctx, url, &session), 0);
        assert_int_equal(send_session(session ? session : url, &up, i ? PM_RESUMABLE_UNIT * 2 : 0), 0);
        assert_model(id, bytes, BIG);
        free(session);
        free(id);
    }
    fclose(f);
    free(bytes);
    assert_no_breach();
}

static void sessions_survive_what_goes_wrong(void **state)
{
    static const char *const faults[] = {
        "{\"endpoint\":\"any\",\"match\":\"upload_id\",\"count\":1,\"status\":503}",
        "{\"endpoint\":\"any\",\"match\":\"upload_id\",\"count\":1,\"reset\":\"during\",\"reset_at\":1000000}",
        "{\"endpoint\":\"any\",\"match\":\"upload_id\",\"count\":1,\"reset\":\"after\"}",
        "{\"endpoint\":\"any\",\"match\":\"upload_id\",\"count\":1,\"status\":504,\"processed\":true}",
    };
    char *bytes = make_bytes(BIG, 5);
    FILE *f = make_file(bytes, BIG);

    (void)state;
    for (size_t i = 0; i < PM_COUNT(faults); i++) {
        struct pm_upload    up = {.fd = fileno(f), .size = BIG};
        char               *id = NULL;
        PM_AUTO(free) char *url = begin_model(BIG, true, &id);

        set_control("faults", faults[i]);
        assert_int_equal(send_session(url, &up, 0), 0);
        assert_model(id, bytes, BIG);
        free(control("DELETE", "faults", NULL));
        free(id);
    }
    fclose(f);
    free(bytes);
    assert_no_breach();
}

static void dead_sessions_and_small_contents(void **state)
{
    PM_AUTO(free) char *bytes = make_bytes(BIG, 6);
    FILE               *f = make_file(bytes, BIG);
    struct pm_upload    up = {.fd = fileno(f), .size = BIG};
    struct pm_resumable r = {0};
    char               *id = NULL, *other = NULL, *small = NULL;
    PM_AUTO(free) char *url = begin_model(BIG, true, &id);
    PM_AUTO(free) char *order = pm_asprintf("{\"id\":\"%s\",\"status\":410}", id);
    PM_AUTO(free) char *given_up = begin_model(BIG, true, &other);
    PM_AUTO(free) char *plain = begin_model(BIG, false, &small);

    (void)state;
    set_control("sm3d/break", order);
    assert_int_equal(pm_resumable_put(w.net, &w.ctx, url, &up, 0, 0, &r), -ESTALE);
    assert_int_equal(pm_resumable_ask(w.net, &w.ctx, url, BIG, &r), -ESTALE);
    assert_int_equal(pm_resumable_ask(w.net, &w.ctx, given_up, BIG, &r), 0);
    assert_int_equal(r.held, 0);
    assert_int_equal(pm_resumable_cancel(w.net, &w.ctx, given_up), 0);
    assert_int_equal(pm_resumable_kind(plain, false), PM_RESUMABLE_WHOLE);
    assert_int_equal(pm_resumable_put_whole(w.net, &w.ctx, plain, &up, &r), 0);
    assert_int_equal(pm_digest_check(r.digest, up.fd, BIG, NULL), 1);
    assert_model(small, bytes, BIG);
    free(id);
    free(other);
    free(small);
    fclose(f);
    assert_no_breach();
}

static void nothing_of_models_can_be_changed(void **state)
{
    struct pm_entry *e = NULL, models = folder_at("models");
    char             why[200];

    (void)state;
    assert_int_equal(upload(&models, "x.ply", NULL, "abc", 3, &e), -EPERM);
    assert_int_equal(pm_backend_mkdir(w.b, &w.ctx, &models, "x", &e), -EOPNOTSUPP);
    assert_int_equal(pm_backend_manner(w.b, &models, why, sizeof(why)), PM_MANNER_FIXED);
    assert_non_null(strstr(why, "uploads/"));
    assert_no_breach();
}

#define CHECK(fn, open) cmocka_unit_test_setup_teardown(fn, open, close_world)
#define COMMON(open)                                                                               \
    CHECK(the_root_is_there_and_empty, open), CHECK(folders_are_made_once, open),                  \
        CHECK(contents_of_any_size_go_and_come, open), CHECK(any_range_can_be_read, open),         \
        CHECK(replacing_keeps_the_id, open), CHECK(strange_names_survive, open),                   \
        CHECK(removing_takes_all_and_is_final, open), CHECK(a_taken_name_is_eexist, open),         \
        CHECK(copies_are_made_there, open), CHECK(a_lost_answer_makes_one_object, open),           \
        CHECK(an_aborted_upload_leaves_nothing, open),                                             \
        CHECK(a_canceled_call_ends_within_a_second, open),                                         \
        CHECK(a_read_only_account_changes_nothing, open)

int main(void)
{
    const struct CMUnitTest memory[] = {COMMON(open_memory)};
    const struct CMUnitTest smartshape[] = {
        COMMON(open_smartshape),
        CHECK(both_parameter_names_are_found, open_smartshape),
        CHECK(both_quotings_are_found, open_smartshape),
        CHECK(two_at_once_find_the_quoting, open_smartshape),
        CHECK(errors_are_understood_in_every_shape, open_smartshape),
        CHECK(redirected_downloads_work, open_smartshape),
        CHECK(a_cut_list_is_no_list, open_smartshape),
        CHECK(uploads_survive_bad_answers, open_smartshape),
        CHECK(certificates_are_verified, open_smartshape_tls),
        CHECK(any_range_can_be_read, open_smartshape_tls),
        CHECK(a_lost_answer_makes_one_object, open_smartshape_tls),
    };
    const struct CMUnitTest sharemy3d[] = {
        CHECK(models_are_listed_and_read_in_any_range, open_sharemy3d),
        CHECK(models_are_listed_and_read_in_any_range, open_sharemy3d_tls),
        CHECK(a_model_that_is_gone_is_enoent, open_sharemy3d),
        CHECK(nothing_of_models_can_be_changed, open_sharemy3d),
        CHECK(sessions_of_every_form_bring_the_content, open_sharemy3d),
        CHECK(sessions_survive_what_goes_wrong, open_sharemy3d),
        CHECK(sessions_survive_what_goes_wrong, open_sharemy3d_tls),
        CHECK(dead_sessions_and_small_contents, open_sharemy3d),
    };
    int failed = cmocka_run_group_tests(memory, NULL, NULL);

    if (access(emulator_path(), X_OK) != 0) {
        fprintf(stderr, "no emulator at %s: only memory is tested\n", emulator_path());
        return failed;
    }
    failed += cmocka_run_group_tests(smartshape, NULL, NULL);
    failed += cmocka_run_group_tests(sharemy3d, NULL, NULL);
    return failed;
}
