/* The control socket's two texts: a request taken apart, an answer shown; and what one side writes,
 * the other reads. */
#include "tests/fuzz/fuzz.h"

#include "fs/control.c"

static void check_request(const uint8_t *data, size_t size)
{
    PM_AUTO(free) char  *bytes = fuzz_bytes(data, size);
    PM_AUTO(free) char **argv = NULL;
    struct pm_buf        request = {.ptr = bytes, .len = size, .cap = size};
    int                  count = split_request(&request, &argv);
    size_t               len = 0;

    CHECK(count > 0 || (count == -EINVAL && !argv));
    for (int i = 0; i < count; i++)
        len += strlen(argv[i]) + 1;
    CHECK(count < 0 || (len == size && !argv[count]));
}

/* What take_answer says to this text; *out is owned. */
static int show(const void *text, size_t len, char **out, size_t *out_len)
{
    FILE *from = len ? fmemopen((void *)text, len, "r") : fopen("/dev/null", "r");
    FILE *to = open_memstream(out, out_len);
    int   status;

    CHECK(from && to);
    status = take_answer(from, to, to);
    fclose(from);
    fclose(to);
    return status;
}

static void check_answer(const uint8_t *data, size_t size)
{
    PM_AUTO(free) char *bytes = fuzz_bytes(data, size);
    PM_AUTO(free) char *out = NULL;
    size_t              len = 0;
    int                 status = show(bytes, size, &out, &len);

    CHECK((status >= 0 && status < 256) || status == -ECONNRESET);
    CHECK(len <= size);
}

/* Every line arrives, and only the status after them. */
static void check_both(const uint8_t *data, size_t size)
{
    PM_AUTO(free) char *text = fuzz_text(data, size > 2000 ? 2000 : size);
    PM_AUTO(free) char *out = NULL;
    char                wire[16384];
    int                 fds[2];
    struct pm_reply     reply = {0};
    size_t              len = strlen(text), out_len = 0;
    ssize_t             n;

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    reply.fd = fds[0];
    send_lines(&reply, 'o', text);
    send_status(&reply, 42);
    n = recv(fds[1], wire, sizeof(wire), 0);
    CHECK(n > 0 && !reply.gone);
    CHECK(show(wire, (size_t)n, &out, &out_len) == 42);
    CHECK(out_len >= len && !memcmp(out, text, len));
    CHECK(out_len == len + (len && text[len - 1] != '\n'));
    close(fds[0]);
    close(fds[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_request(data, size);
    check_answer(data, size);
    check_both(data, size);
    return 0;
}
