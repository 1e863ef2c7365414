#include "fs/control.h"

#include "backends/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cmocka.h>

/* A state folder whose path does not fit into a socket's address, and one whose does. */
struct folder {
    char short_dir[64];
    char long_dir[256];
};

static atomic_int waiting; /* handlers in "wait" */
static atomic_int ended; /* of them, those that noticed the hang-up */

static int wait_until_gone(struct pm_reply *reply)
{
    atomic_fetch_add(&waiting, 1);
    while (!pm_reply_gone(reply))
        usleep(5000);
    atomic_fetch_add(&ended, 1);
    return 1;
}

/* Verbs for the tests: `echo` gives its arguments back, one a line. */
static int handle(void *arg, int argc, char **argv, struct pm_reply *reply)
{
    (void)arg;
    if (strcmp(argv[0], "wait") == 0)
        return wait_until_gone(reply);
    if (strcmp(argv[0], "big") == 0) {
        for (int i = 0; i < 20000; i++)
            pm_reply_out(reply, "line %d of many", i);
        return 0;
    }
    for (int i = 1; i < argc; i++)
        pm_reply_out(reply, "<%s>", argv[i]);
    pm_reply_err(reply, "two\n\nlines");
    return 3;
}

static int call(const char *dir, int argc, const char **argv, char **out, char **err)
{
    size_t out_len;
    size_t err_len;
    FILE *o = open_memstream(out, &out_len);
    FILE *e = open_memstream(err, &err_len);
    int status = pm_control_call(dir, argc, (char *const *)argv, o, e);
    fclose(o);
    fclose(e);
    return status;
}

static struct pm_control *open_at(const char *dir)
{
    struct pm_control *c = NULL;
    assert_int_equal(pm_control_open(dir, handle, NULL, &c), 0);
    return c;
}

static void arguments_output_and_status_arrive(void **state)
{
    const struct folder *f = *state;
    const char *const dirs[] = { f->short_dir, f->long_dir };
    for (size_t i = 0; i < PM_COUNT(dirs); i++) {
        struct pm_control  *c = open_at(dirs[i]);
        PM_AUTO(free) char *out = NULL;
        PM_AUTO(free) char *err = NULL;
        const char *argv[] = { "echo", "a b", "", "x 0" };
        assert_int_equal(call(dirs[i], 4, argv, &out, &err), 3);
        assert_string_equal(out, "<a b>\n<>\n<x 0>\n");
        assert_string_equal(err, "two\n\nlines\n");
        pm_control_close(c);
    }
}

static void a_long_answer_arrives_whole(void **state)
{
    const struct folder *f = *state;
    struct pm_control   *c = open_at(f->short_dir);
    PM_AUTO(free) char  *out = NULL;
    PM_AUTO(free) char  *err = NULL;
    const char *argv[] = { "big" };
    assert_int_equal(call(f->short_dir, 1, argv, &out, &err), 0);
    assert_non_null(strstr(out, "line 19999 of many\n"));
    pm_control_close(c);
}

static void without_a_daemon_the_errno_says_so(void **state)
{
    const struct folder *f = *state;
    PM_AUTO(free) char  *out = NULL;
    PM_AUTO(free) char  *err = NULL;
    PM_AUTO(free) char  *stale = pm_asprintf("%s/control", f->short_dir);
    const char *argv[] = { "echo" };
    assert_int_equal(call(f->short_dir, 1, argv, &out, &err), -ENOENT);
    free(out);
    free(err);
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", stale);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    close(fd);
    assert_int_equal(call(f->short_dir, 1, argv, &out, &err), -ECONNREFUSED);
}

static void a_stale_socket_is_replaced_and_the_new_one_is_private(void **state)
{
    const struct folder *f = *state;
    PM_AUTO(free) char  *path = pm_asprintf("%s/control", f->short_dir);
    struct stat st;
    assert_int_equal(access(path, F_OK), 0); /* left by the test before */
    struct pm_control *c = open_at(f->short_dir);
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
    pm_control_close(c);
    assert_int_not_equal(access(path, F_OK), 0);
}

static int connect_raw(const char *dir, const char *request, size_t len)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    snprintf(a.sun_path, sizeof(a.sun_path), "%s/control", dir);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(send(fd, request, len, 0), len);
    shutdown(fd, SHUT_WR);
    return fd;
}

static void wait_for(atomic_int *counter, int value)
{
    for (int i = 0; i < 1000 && atomic_load(counter) < value; i++)
        usleep(5000);
    assert_int_equal(atomic_load(counter), value);
}

static void a_client_that_goes_ends_the_wait(void **state)
{
    const struct folder *f = *state;
    struct pm_control   *c = open_at(f->short_dir);
    atomic_store(&waiting, 0);
    atomic_store(&ended, 0);
    int fd = connect_raw(f->short_dir, "wait", 5);
    wait_for(&waiting, 1);
    usleep(50000);
    assert_int_equal(atomic_load(&ended), 0); /* a half-closed client has not gone */
    close(fd);
    wait_for(&ended, 1);
    pm_control_close(c);
}

static void closing_ends_every_wait(void **state)
{
    const struct folder *f = *state;
    struct pm_control   *c = open_at(f->short_dir);
    int fds[16];
    atomic_store(&waiting, 0);
    atomic_store(&ended, 0);
    for (int i = 0; i < 16; i++)
        fds[i] = connect_raw(f->short_dir, "wait", 5);
    wait_for(&waiting, 16);
    PM_AUTO(free) char *out = NULL;
    PM_AUTO(free) char *err = NULL;
    const char *argv[] = { "echo" };
    assert_int_equal(call(f->short_dir, 1, argv, &out, &err), 1); /* the 17th */
    assert_non_null(strstr(err, "busy"));
    pm_control_close(c);
    assert_int_equal(atomic_load(&ended), 16);
    for (int i = 0; i < 16; i++)
        close(fds[i]);
}

static void slots_are_used_again(void **state)
{
    const struct folder *f = *state;
    struct pm_control   *c = open_at(f->short_dir);
    for (int i = 0; i < 100; i++) {
        PM_AUTO(free) char *out = NULL;
        PM_AUTO(free) char *err = NULL;
        const char *argv[] = { "echo" };
        assert_int_equal(call(f->short_dir, 1, argv, &out, &err), 3);
    }
    pm_control_close(c);
}

static void a_malformed_request_is_answered_with_2(void **state)
{
    const struct folder *f = *state;
    struct pm_control   *c = open_at(f->short_dir);
    static const struct {
        const char *bytes;
        size_t      len;
    } rows[] = { { "", 0 }, { "echo", 4 }, { "echo\0x", 6 } };
    for (size_t i = 0; i < PM_COUNT(rows); i++) {
        char answer[256] = "";
        int  fd = connect_raw(f->short_dir, rows[i].bytes, rows[i].len);
        assert_true(recv(fd, answer, sizeof(answer) - 1, MSG_WAITALL) > 0);
        assert_non_null(strstr(answer, "x 2\n"));
        close(fd);
    }
    pm_control_close(c);
}

static void *accept_and_die(void *arg)
{
    int *listener = arg;
    close(accept(*listener, NULL, NULL));
    return NULL;
}

static void a_daemon_that_dies_is_no_success(void **state)
{
    const struct folder *f = *state;
    PM_AUTO(free) char  *path = pm_asprintf("%s/control", f->short_dir);
    PM_AUTO(free) char  *out = NULL;
    PM_AUTO(free) char  *err = NULL;
    struct sockaddr_un   a = { .sun_family = AF_UNIX };
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(listener, 1), 0);
    pthread_t thread;
    assert_int_equal(pm_thread_start(&thread, "dying", accept_and_die, &listener), 0);
    const char *argv[] = { "echo" };
    assert_int_equal(call(f->short_dir, 1, argv, &out, &err), -ECONNRESET);
    pthread_join(thread, NULL);
    close(listener);
    unlink(path);
}

static int make_folders(void **state)
{
    static struct folder f = { .short_dir = "/tmp/polymount-control-XXXXXX" };
    char name[121];
    memset(name, 'l', 120);
    name[120] = '\0';
    if (!mkdtemp(f.short_dir))
        return -1;
    snprintf(f.long_dir, sizeof(f.long_dir), "%s/%s", f.short_dir, name);
    *state = &f;
    return mkdir(f.long_dir, 0700);
}

static int remove_folders(void **state)
{
    const struct folder *f = *state;
    return rmdir(f->long_dir) || rmdir(f->short_dir) ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_output_and_status_arrive),
        cmocka_unit_test(a_long_answer_arrives_whole),
        cmocka_unit_test(without_a_daemon_the_errno_says_so),
        cmocka_unit_test(a_stale_socket_is_replaced_and_the_new_one_is_private),
        cmocka_unit_test(a_client_that_goes_ends_the_wait),
        cmocka_unit_test(closing_ends_every_wait),
        cmocka_unit_test(slots_are_used_again),
        cmocka_unit_test(a_malformed_request_is_answered_with_2),
        cmocka_unit_test(a_daemon_that_dies_is_no_success),
    };
    return cmocka_run_group_tests_name("control", tests, make_folders, remove_folders);
}
