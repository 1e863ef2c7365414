/* The configuration file, then options as of -o: each line after a line "--" is one. */
#include "backends/backend.h"
#include "backends/http.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* A file in memory with this text, readable by its owner only. */
static int make_file(const void *text, size_t len)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    CHECK(fd >= 0 && fchmod(fd, 0600) == 0);
    CHECK(pm_pwrite_all(fd, text, len, 0) == (ssize_t)len);
    return fd;
}

static void check_why(int err, const char *why, size_t size)
{
    size_t len = strnlen(why, size);

    CHECK(len < size && (err == 0 || len > 0) && !memchr(why, '\n', len));
}

static void check_account(const struct pm_account_conf *a)
{
    PM_AUTO(free) char *origin = NULL;

    CHECK(*a->name && *a->name != '.' && !strpbrk(a->name, "@/\n") && strlen(a->name) <= 200);
    CHECK(a->type && pm_backend_default_endpoint(a->type) && a->endpoint);
    if (!strcmp(a->endpoint, pm_backend_default_endpoint(a->type)))
        return;
    CHECK(!strncasecmp(a->endpoint, "https://", 8) || !strncasecmp(a->endpoint, "http://", 7));
    CHECK(!strpbrk(a->endpoint, "@?# \\") && a->endpoint[strlen(a->endpoint) - 1] != '/');
    origin = pm_http_origin(a->endpoint);
    /* What was judged to be this machine is this machine for curl, too. */
    if (!strncasecmp(a->endpoint, "http://", 7))
        CHECK(origin && (!strncmp(origin, "http://127.", 11) ||
                         !strncmp(origin, "http://localhost:", 17) ||
                         !strncmp(origin, "http://[::1]:", 13)));
    for (size_t i = 0; i < a->nsecrets; i++)
        CHECK(a->secrets[i].key && a->secrets[i].how && *a->secrets[i].value);
}

static void check_conf(const struct pm_conf *c)
{
    CHECK(c->path && *c->cache_dir == '/');
    CHECK(c->max_size >= 1 << 20 && c->max_size <= INT64_MAX && c->min_free <= INT64_MAX);
    CHECK(c->attr_timeout_ms >= 0 && c->attr_timeout_ms <= 86400000);
    CHECK(c->delay_ms >= 0 && c->delay_ms <= 86400000);
    CHECK(c->parallel >= 1 && c->parallel <= 64 && c->connections >= 1 && c->connections <= 64);
    CHECK(c->delete_delay_ms >= 0 && c->delete_delay_ms <= 30 * 86400000LL);
    CHECK(c->delete_guard >= 1 && c->delete_guard <= 1000000);
    CHECK(c->op_timeout_ms >= 1000 && c->op_timeout_ms <= 3600000);
    CHECK(!c->proxy || *c->proxy);
    CHECK(!c->ca_file || *c->ca_file == '/');
    for (size_t i = 0; i < c->naccounts; i++) {
        check_account(&c->accounts[i]);
        for (size_t j = 0; j < i; j++)
            CHECK(strcmp(c->accounts[i].name, c->accounts[j].name) != 0);
    }
}

static void set_options(struct pm_conf *c, const uint8_t *data, size_t size)
{
    const uint8_t *line;
    size_t         len, secrets = 0, after = 0;
    char           why[300];

    for (size_t i = 0; i < c->naccounts; i++)
        secrets += c->accounts[i].nsecrets;
    while ((line = fuzz_piece(&data, &size, '\n', &len))) {
        PM_AUTO(free) char *option = fuzz_text(line, len);
        int                 err;

        why[0] = '\0';
        err = pm_conf_set(c, option, why, sizeof(why));
        CHECK(err == 0 || err == -EINVAL || err == -ENOENT);
        check_why(err == -EINVAL ? err : 0, why, sizeof(why));
        check_conf(c);
    }
    for (size_t i = 0; i < c->naccounts; i++)
        after += c->accounts[i].nsecrets;
    CHECK(after == secrets); /* never by an option */
}

/* A token file's first line, or why not; nothing that could end a header. */
static void check_secret(const void *text, size_t len)
{
    int                 fd = make_file(text, len);
    PM_AUTO(free) char *path = pm_asprintf("/proc/self/fd/%d", fd);
    struct pm_secret    s = {.key = "token", .how = "file", .value = path};
    struct pm_account_conf a = {.name = "a", .secrets = &s, .nsecrets = 1};
    char               *out = NULL, why[300] = "";
    int                 err = pm_conf_secret(&a, "token", NULL, &out, why, sizeof(why));

    check_why(err, why, sizeof(why));
    CHECK(!err == (out != NULL) && (!out || *out));
    for (const char *c = out; c && *c; c++)
        CHECK((unsigned char)*c >= 0x20 && *c != 0x7f);
    pm_secret_free(out);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t      *end = memmem(data, size, "\n--\n", 4);
    size_t              len = end ? (size_t)(end - data) + 1 : size;
    int                 fd = make_file(data, len);
    PM_AUTO(free) char *path = pm_asprintf("/proc/self/fd/%d", fd);
    struct pm_conf     *c = NULL;
    char                why[300] = "";
    int                 err;

    setenv("HOME", "/home/fuzz", 1);
    unsetenv("XDG_STATE_HOME");
    err = pm_conf_load(path, &c, why, sizeof(why));
    CHECK(!err == (c != NULL) && err <= 0);
    check_why(err, why, sizeof(why));
    if (c) {
        check_conf(c);
        set_options(c, end ? end + 4 : NULL, end ? size - len - 3 : 0);
    }
    pm_conf_free(c);
    close(fd);
    check_secret(data, len);
    return 0;
}
