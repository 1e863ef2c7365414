#include "backends/conf.h"

#include "backends/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define ACCOUNT "[account cloud]\ntype = smartshape\n"

static char dir[] = "/tmp/polymount-conf-XXXXXX";
static char why[512];

static const char *file_in_dir(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static const char *write_file(const char *name, const char *text, size_t len, mode_t mode)
{
    const char *path = file_in_dir(name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
    return path;
}

static int load(const char *text, struct pm_conf **out)
{
    return pm_conf_load(write_file("polymount.conf", text, strlen(text), 0600), out, why,
                        sizeof(why));
}

/* --- values ------------------------------------------------------------------------------- */

static void sizes_are_digits_and_a_unit(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int         err;
        uint64_t    bytes;
    } rows[] = {
        { "0", 0, 0 },
        { "512", 0, 512 },
        { "64M", 0, 64ULL << 20 },
        { "20G", 0, 20ULL << 30 },
        { "5g", 0, 5ULL << 30 },
        { "1T", 0, 1ULL << 40 },
        { "8191P", -EINVAL, 0 },
        { "", -EINVAL, 0 },
        { "G", -EINVAL, 0 },
        { "-1", -EINVAL, 0 },
        { "+1", -EINVAL, 0 },
        { " 1", -EINVAL, 0 },
        { "1 G", -EINVAL, 0 },
        { "1.5G", -EINVAL, 0 },
        { "0x10", -EINVAL, 0 },
        { "99999999T", -EINVAL, 0 },
        { "18446744073709551616", -EINVAL, 0 },
        { "18446744073709551615", -EINVAL, 0 },
    };
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        uint64_t got = 7;
        assert_int_equal(pm_parse_size(rows[i].text, &got), rows[i].err);
        assert_int_equal(got, rows[i].err ? 7 : rows[i].bytes);
    }
}

static void durations_need_a_unit(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int         err;
        int64_t     ms;
    } rows[] = {
        { "100ms", 0, 100 },    { "60s", 0, 60000 },       { "10m", 0, 600000 },
        { "2h", 0, 7200000 },   { "1d", 0, 86400000 },     { "0", 0, 0 },
        { "0s", 0, 0 },         { "60", -EINVAL, 0 },      { "s", -EINVAL, 0 },
        { "-1s", -EINVAL, 0 },  { "1s ", -EINVAL, 0 },     { "1.5s", -EINVAL, 0 },
        { "1week", -EINVAL, 0 }, { "99999999999999d", -EINVAL, 0 },
    };
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        int64_t got = 7;
        assert_int_equal(pm_parse_duration(rows[i].text, &got), rows[i].err);
        assert_int_equal(got, rows[i].err ? 7 : rows[i].ms);
    }
}

/* --- the file ----------------------------------------------------------------------------- */

static void what_is_not_given_has_the_documented_default(void **state)
{
    (void)state;
    struct pm_conf *c = NULL;
    setenv("XDG_STATE_HOME", "/x/state", 1);
    assert_int_equal(load(ACCOUNT, &c), 0);
    assert_string_equal(c->cache_dir, "/x/state/polymount");
    assert_int_equal(c->max_size, 20ULL << 30);
    assert_int_equal(c->min_free, 2ULL << 30);
    assert_int_equal(c->attr_timeout_ms, 10000);
    assert_int_equal(c->delay_ms, 1000);
    assert_int_equal(c->parallel, 4);
    assert_false(c->on_close_wait);
    assert_int_equal(c->delete_delay_ms, 60000);
    assert_int_equal(c->delete_guard, 200);
    assert_int_equal(c->connections, 8);
    assert_int_equal(c->op_timeout_ms, 20000);
    assert_int_equal(c->limit_up, 0);
    assert_null(c->proxy);
    assert_null(c->ca_file);
    assert_string_equal(c->accounts[0].endpoint, "https://smartshape.io");
    assert_false(c->accounts[0].read_only);
    pm_conf_free(c);
}

static void the_example_of_the_documentation_loads(void **state)
{
    (void)state;
    static const char text[] =
        "[cache]\n"
        "dir = ~/.local/state/polymount     ; holds work not uploaded yet\n"
        "max_size = 20G                     ; bounds what could be fetched again\n"
        "min_free = 2G\n"
        "[upload]\n"
        "delay = 1s                         ; quiet time\n"
        "parallel = 4\n"
        "on_close = wait                    ; or async; whatever\n"
        "delete_delay = 60s\n"
        "delete_guard = 200\r\n"
        "[net]\n"
        "connections = 8;no comment follows without a blank\n"
        "op_timeout = 20s\n"
        "[account smartshape]               ; a comment\n"
        "type = smartshape\n"
        "endpoint = https://smartshape.io/  ; may be left out\n"
        "token_command = a 'b' ; c          # kept whole\n"
        "read_only = yes\n";
    struct pm_conf *c = NULL;
    assert_int_equal(load(text, &c), -EINVAL); /* the connections */
    PM_AUTO(free) char *good = strdup(text);
    memset(strstr(good, ";no"), ' ', strlen(";no comment follows without a blank"));
    setenv("HOME", "/home/u", 1);
    assert_int_equal(load(good, &c), 0);
    assert_string_equal(c->cache_dir, "/home/u/.local/state/polymount");
    assert_true(c->on_close_wait);
    assert_int_equal(c->naccounts, 1);
    assert_string_equal(c->accounts[0].name, "smartshape");
    assert_string_equal(c->accounts[0].endpoint, "https://smartshape.io");
    assert_true(c->accounts[0].read_only);
    assert_string_equal(c->accounts[0].secrets[0].how, "command");
    assert_string_equal(c->accounts[0].secrets[0].value, "a 'b' ; c          # kept whole");
    pm_conf_free(c);
}

static void mistakes_are_refused_with_place_and_remedy(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *says;
    } rows[] = {
        { "[cache]\nmax_sise = 5G\n", "polymount.conf:2: unknown key \"max_sise\" in [cache], the "
                                      "nearest is \"max_size\"" },
        { "[cache]\ndelay = 5s\n", "does not belong to [cache] but to [upload]" },
        { "[net]\ntoken = x\n", "but to [account NAME]" },
        { "[chache]\ndir = /x\n", "unknown section [chache], the nearest is [cache]" },
        { "[account a]\ntype=smartshape\ntokn_comand = x\n", "\"token_command\"" },
        { "dir = /x\n", "before any [section]" },
        { "[cache]\nmax_size\n", ":2: neither [section] nor key = value" },
        { "[cache\n", ":1: neither" },
        { "[cache]\nmax_size = 5 G\n", "not a size such as" },
        { "[cache]\nmax_size = 5\n", "too little, at least 1M" },
        { "[upload]\nparallel = 0\n", "at least 1" },
        { "[upload]\nparallel = 1000\n", "at most 64" },
        { "[upload]\non_close = maybe\n", "neither wait nor async" },
        { "[upload]\ndelay = 5\n", "not a duration such as" },
        { "[cache]\ndir = relative\n", "must start with / or ~/" },
        { "[account a]\n", "[account a] needs a line: type = " },
        { "[account a]\ntype = dropbox\n", "unknown type \"dropbox\"" },
        { ACCOUNT ACCOUNT, "there are two accounts \"cloud\"" },
        { "[account]\ntype = smartshape\n", "needs a name" },
        { "[account a@b]\n", "without @" },
        { "[account a/b]\n", "without @" },
        { "[account .polymount]\n", "dot" },
        { "[account ..]\n", "dot" },
        { "[accounts a]\n", "unknown section" },
        { ACCOUNT "token = a\ntoken_file = /b\n", "token is given twice" },
        { ACCOUNT "token =\n", "token is empty" },
        { ACCOUNT "token = abc ; mine\n", "a comment must stand on a line of its own" },
        { ACCOUNT "read_only = 2\n", "neither yes nor no" },
        { ACCOUNT "downloadable = maybe\n", "neither yes nor no" },
        { ACCOUNT "pasword_command = x\n", "\"password_command\"" },
        { ACCOUNT "auth_scheme = basic\n", "auth_scheme" },
    };
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct pm_conf *c = NULL;
        assert_int_equal(load(rows[i].text, &c), -EINVAL);
        assert_null(c);
        if (!strstr(why, rows[i].says))
            fail_msg("row %zu says: %s", i, why);
        assert_null(strchr(why, '\n'));
    }
}

static void plain_http_goes_to_this_machine_only(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        int         err;
    } rows[] = {
        { "https://cloud.example", 0 },
        { "https://cloud.example:8443/v1", 0 },
        { "HTTPS://cloud.example", 0 },
        { "http://127.0.0.1", 0 },
        { "http://127.9.9.9:80/x", 0 },
        { "http://[::1]:8080", 0 },
        { "http://localhost:1", 0 },
        { "http://LOCALHOST", 0 },
        { "http://cloud.example", -EINVAL },
        { "http://127.0.0.1.cloud.example", -EINVAL },
        { "http://127.1", -EINVAL }, /* curl reads it as 127.0.0.1, but it is not worth the risk */
        { "http://localhost.example", -EINVAL },
        { "http://localhost@cloud.example", -EINVAL },
        { "http://127.0.0.1\\@cloud.example", -EINVAL },
        { "http://[::1].cloud.example", -EINVAL },
        { "http://[::2]", -EINVAL },
        { "http://", -EINVAL },
        { "https://", -EINVAL },
        { "https://:80", -EINVAL },
        { "https://a:b", -EINVAL },
        { "https://user:pass@cloud.example", -EINVAL },
        { "https://cloud.example/?x", -EINVAL },
        { "https://cloud example", -EINVAL },
        { "ftp://127.0.0.1", -EINVAL },
        { "cloud.example", -EINVAL },
    };
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct pm_conf *c = NULL;
        PM_AUTO(free) char *text = pm_asprintf(ACCOUNT "endpoint = %s\n", rows[i].url);
        int err = load(text, &c);
        if (err != rows[i].err)
            fail_msg("%s: %d", rows[i].url, err);
        pm_conf_free(c);
    }
}

static void a_token_of_many_kilobytes_arrives_whole(void **state)
{
    (void)state;
    struct pm_conf *c = NULL;
    char token[8001];
    memset(token, 'j', 8000);
    memcpy(token + 4000, ";#=:[", 5);
    token[8000] = '\0';
    PM_AUTO(free) char *text = pm_asprintf(ACCOUNT "token = %s\n", token);
    assert_int_equal(load(text, &c), 0);
    char *got = NULL;
    assert_int_equal(pm_conf_secret(&c->accounts[0], "token", NULL, &got, why, sizeof(why)), 0);
    assert_string_equal(got, token);
    pm_secret_free(got);
    pm_conf_free(c);
}

static void a_line_beyond_the_limit_is_refused_not_cut(void **state)
{
    (void)state;
    struct pm_conf *c = NULL;
    PM_AUTO(free) char *text = malloc(100001);
    memset(text, 'j', 100000);
    text[100000] = '\0';
    memcpy(text, ACCOUNT "token = ", strlen(ACCOUNT "token = "));
    assert_int_equal(load(text, &c), -EINVAL);
    assert_non_null(strstr(why, "longer than"));
}

static void a_binary_file_is_refused(void **state)
{
    (void)state;
    struct pm_conf *c = NULL;
    const char *path = write_file("bin.conf", "[cache]\n\0\n", 10, 0600);
    assert_int_equal(pm_conf_load(path, &c, why, sizeof(why)), -EINVAL);
    assert_int_equal(pm_conf_load(dir, &c, why, sizeof(why)), -EIO);
}

static void a_file_with_a_secret_must_be_private(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        mode_t      mode;
        int         err;
    } rows[] = {
        { ACCOUNT "token = t\n", 0600, 0 },
        { ACCOUNT "token = t\n", 0400, 0 },
        { ACCOUNT "token = t\n", 0640, -EACCES },
        { ACCOUNT "token = t\n", 0604, -EACCES },
        { ACCOUNT "token = t\n", 0620, -EACCES },
        { ACCOUNT "token_file = /t\n", 0644, 0 },
        { ACCOUNT "token_command = t\n", 0644, 0 },
        { "[net]\nproxy = http://u:p@proxy\n", 0644, -EACCES },
        { "[net]\nproxy = http://proxy\n", 0644, 0 },
    };
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        struct pm_conf *c = NULL;
        const char *path = write_file("p.conf", rows[i].text, strlen(rows[i].text), rows[i].mode);
        assert_int_equal(pm_conf_load(path, &c, why, sizeof(why)), rows[i].err);
        if (rows[i].err)
            assert_non_null(strstr(why, "chmod 600 "));
        pm_conf_free(c);
    }
}

static void without_a_path_the_users_file_is_found(void **state)
{
    (void)state;
    struct pm_conf *c = NULL;
    setenv("XDG_CONFIG_HOME", dir, 1);
    if (access("/etc/polymount.conf", F_OK) != 0)
        assert_int_equal(pm_conf_load(NULL, &c, why, sizeof(why)), -ENOENT);
    assert_int_equal(mkdir(file_in_dir("polymount"), 0700), 0);
    write_file("polymount/polymount.conf", ACCOUNT, strlen(ACCOUNT), 0644);
    assert_int_equal(pm_conf_load(NULL, &c, why, sizeof(why)), 0);
    assert_string_equal(c->path, file_in_dir("polymount/polymount.conf"));
    pm_conf_free(c);
    assert_int_equal(pm_conf_load("/no/such.conf", &c, why, sizeof(why)), -ENOENT);
    assert_string_equal(why, "/no/such.conf: No such file or directory");
}

/* --- options ------------------------------------------------------------------------------ */

static void an_option_sets_a_key_or_says_why_not(void **state)
{
    (void)state;
    static const struct {
        const char *option;
        int         err;
        const char *says;
    } rows[] = {
        { "cache.max_size=5G", 0, "" },
        { "account.my.cloud.endpoint=http://127.0.0.1:1/", 0, "" },
        { "account.my.cloud.read_only=yes", 0, "" },
        { "cache.max_sise=5G", -EINVAL, "\"max_size\"" },
        { "cahce.max_size=5G", -EINVAL, "\"cache\"" },
        { "cache.max_size", -EINVAL, "needs a value" },
        { "cache.max_size=1", -EINVAL, "at least" },
        { "account.my.cloud.token=x", -EINVAL, "configuration file" },
        { "account.my.cloud.token_command=x", -EINVAL, "configuration file" },
        { "account.nobody.read_only=yes", -EINVAL, "no account" },
        { "account.read_only=yes", -EINVAL, "account.NAME.KEY" },
        { "net.proxy=http://u:p@h", -EINVAL, "configuration file" },
        { "allow_other", -ENOENT, "" },
        { "fsname=a.b", -ENOENT, "" },
        { "x-systemd.automount", -ENOENT, "" },
        { "x-systemd.idle-timeout=60", -ENOENT, "" },
    };
    struct pm_conf *c = NULL;
    assert_int_equal(load("[account my.cloud]\ntype = smartshape\n", &c), 0);
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        *why = '\0';
        int err = pm_conf_set(c, rows[i].option, why, sizeof(why));
        if (err != rows[i].err || !strstr(why, rows[i].says))
            fail_msg("%s: %d %s", rows[i].option, err, why);
    }
    assert_int_equal(c->max_size, 5ULL << 30);
    assert_string_equal(c->accounts[0].endpoint, "http://127.0.0.1:1");
    assert_true(c->accounts[0].read_only);
    pm_conf_free(c);
}

/* --- secrets ------------------------------------------------------------------------------ */

static int ask(const char *how, const char *value, char **out)
{
    struct pm_secret s = { (char *)"token", (char *)how, (char *)value };
    const struct pm_account_conf a = { .name = (char *)"cloud", .secrets = &s, .nsecrets = 1 };
    *why = '\0';
    return pm_conf_secret(&a, "token", NULL, out, why, sizeof(why));
}

static void a_secret_is_the_trimmed_first_line(void **state)
{
    (void)state;
    static const struct {
        const char *how;
        const char *value;
        int         err;
        const char *says; /* the secret, or part of why */
    } rows[] = {
        { "", "t0ken", 0, "t0ken" },
        { "env", "PM_TEST_TOKEN", 0, "from env" },
        { "env", "PM_TEST_UNSET", -EINVAL, "PM_TEST_UNSET is not set" },
        { "command", "echo '  a b  '; echo second", 0, "a b" },
        { "command", "printf x ; printf y", 0, "xy" },
        { "command", "sleep 60 & echo quick", 0, "quick" },
        { "command", "cat", -EINVAL, "gives nothing" },
        { "command", "printf 'a\\001b'", -EINVAL, "control characters" },
        { "command", "yes | head -c 1000000", 0, "y" },
        { "command", "echo t0ken; echo no keyring >&2; echo more >&2; exit 3", -EIO,
          "exit status 3: no keyring" },
        { "command", "kill -9 $$", -EIO, "signal 9" },
        { "command", "/no/such/program", -EIO, "exit status 127" },
    };
    setenv("PM_TEST_TOKEN", "from env", 1);
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        char *got = NULL;
        int   err = ask(rows[i].how, rows[i].value, &got);
        if (err != rows[i].err || !strstr(err ? why : got, rows[i].says))
            fail_msg("row %zu: %d %s", i, err, why);
        pm_secret_free(got);
    }
}

static void an_account_says_what_becomes_of_what_is_dropped_into_it(void **state)
{
    (void)state;
    struct pm_conf *c = NULL;
    char           *got = NULL;
    assert_int_equal(load("[account m]\ntype = sharemy3d\n", &c), 0);
    assert_false(c->accounts[0].downloadable);
    assert_null(c->accounts[0].auth_scheme);
    assert_int_equal(pm_conf_secret(&c->accounts[0], "password", NULL, &got, why, sizeof(why)), -ENOENT);
    pm_conf_free(c);
    assert_int_equal(load("[account m]\ntype = sharemy3d\ndownloadable = yes\nauth_scheme = bare\n"
                          "token = t0ken\npassword_command = echo open sesame\n", &c), 0);
    assert_true(c->accounts[0].downloadable);
    assert_string_equal(c->accounts[0].auth_scheme, "bare");
    assert_int_equal(pm_conf_secret(&c->accounts[0], "password", NULL, &got, why, sizeof(why)), 0);
    assert_string_equal(got, "open sesame");
    pm_secret_free(got);
    assert_int_equal(pm_conf_set(c, "account.m.downloadable=no", why, sizeof(why)), 0);
    assert_false(c->accounts[0].downloadable);
    assert_int_equal(pm_conf_set(c, "account.m.password_command=x", why, sizeof(why)), -EINVAL);
    pm_conf_free(c);
}

static void what_a_command_printed_never_gets_into_why(void **state)
{
    (void)state;
    char *got = NULL;
    assert_int_equal(ask("command", "echo t0ken; echo + echo t0ken >&2; exit 1", &got), -EIO);
    assert_null(strstr(why, "t0ken"));
    assert_null(got);
}

static void a_secret_file_must_be_private(void **state)
{
    (void)state;
    char *got = NULL;
    assert_int_equal(ask("file", write_file("t", "f1le\n\n", 6, 0600), &got), 0);
    assert_string_equal(got, "f1le");
    pm_secret_free(got);
    got = NULL;
    assert_int_equal(ask("file", write_file("t", "f1le\n", 5, 0644), &got), -EACCES);
    assert_non_null(strstr(why, "chmod 600 "));
    assert_int_equal(ask("file", "/no/such/file", &got), -ENOENT);
    assert_non_null(strstr(why, "token_file /no/such/file: No such file"));
    assert_int_equal(ask("file", dir, &got), -EINVAL);
    assert_int_equal(ask("file", write_file("t", "\n", 1, 0600), &got), -EINVAL);
    assert_null(got);
}

static void no_secret_is_enoent(void **state)
{
    (void)state;
    const struct pm_account_conf a = { .name = (char *)"cloud" };
    char *got = NULL;
    assert_int_equal(pm_conf_secret(&a, "token", NULL, &got, why, sizeof(why)), -ENOENT);
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    static const char *const names[] = { "polymount/polymount.conf", "polymount", "polymount.conf",
                                         "bin.conf", "p.conf", "t" };
    for (size_t i = 0; i < PM_COUNT(names); i++)
        remove(file_in_dir(names[i]));
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_digits_and_a_unit),
        cmocka_unit_test(durations_need_a_unit),
        cmocka_unit_test(what_is_not_given_has_the_documented_default),
        cmocka_unit_test(the_example_of_the_documentation_loads),
        cmocka_unit_test(mistakes_are_refused_with_place_and_remedy),
        cmocka_unit_test(plain_http_goes_to_this_machine_only),
        cmocka_unit_test(a_token_of_many_kilobytes_arrives_whole),
        cmocka_unit_test(a_line_beyond_the_limit_is_refused_not_cut),
        cmocka_unit_test(a_binary_file_is_refused),
        cmocka_unit_test(a_file_with_a_secret_must_be_private),
        cmocka_unit_test(without_a_path_the_users_file_is_found),
        cmocka_unit_test(an_option_sets_a_key_or_says_why_not),
        cmocka_unit_test(a_secret_is_the_trimmed_first_line),
        cmocka_unit_test(an_account_says_what_becomes_of_what_is_dropped_into_it),
        cmocka_unit_test(what_a_command_printed_never_gets_into_why),
        cmocka_unit_test(a_secret_file_must_be_private),
        cmocka_unit_test(no_secret_is_enoent),
    };
    return cmocka_run_group_tests_name("conf", tests, make_dir, remove_dir);
}
