#include "fs/control.h"

#include "backends/util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum {
    CLIENTS = 16,
    REQUEST_MAX = 1024 * 1024, /* thousands of paths */
    REQUEST_WAIT_S = 5, /* for a client that connects and says nothing */
    REPLY_WAIT_S = 10, /* for one that does not read what it asked for */
};

static const char socket_name[] = "control";

enum slot_state {
    FREE, /* no thread */
    BUSY, /* its thread runs and owns nothing but the slot; fd is open */
    DONE, /* its thread has left the handler and waits to be joined; fd is closed */
};

struct slot {
    struct pm_control *control; /* immutable */
    enum slot_state    state; /* control->lock */
    int                fd; /* control->lock; -1 unless BUSY */
    pthread_t          thread; /* the accepting thread's, then pm_control_close's */
};

struct pm_control {
    pm_control_fn  *handler; /* immutable */
    void           *arg; /* immutable */
    int             listener; /* immutable */
    int             dirfd; /* immutable */
    pthread_t       acceptor; /* immutable */
    pthread_mutex_t lock; /* leaf: never held across I/O or the handler */
    bool            closing; /* lock */
    struct slot     slots[CLIENTS];
};

struct pm_reply {
    int  fd;
    bool gone;
};

/* --- the address -------------------------------------------------------------------------- */

/* A socket's address has room for some 100 bytes of path. Longer ones go by way of the open
 * folder: `dirfd` must stay open until bind or connect is through. */
static int make_address(const char *dir, int dirfd, struct sockaddr_un *out)
{
    *out = (struct sockaddr_un){ .sun_family = AF_UNIX };
    int n = snprintf(out->sun_path, sizeof(out->sun_path), "%s/%s", dir, socket_name);
    if (n < 0 || (size_t)n >= sizeof(out->sun_path))
        n = snprintf(out->sun_path, sizeof(out->sun_path), "/proc/self/fd/%d/%s", dirfd,
                     socket_name);
    return n > 0 && (size_t)n < sizeof(out->sun_path) ? 0 : -ENAMETOOLONG;
}

static int open_dir(const char *dir)
{
    int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* --- replies ------------------------------------------------------------------------------ */

static void send_all(struct pm_reply *r, const char *data, size_t len)
{
    while (len > 0 && !r->gone) {
        ssize_t n = send(r->fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            r->gone = true;
            return;
        }
        data += n;
        len -= (size_t)n;
    }
}

static void send_lines(struct pm_reply *r, char stream, const char *text)
{
    PM_AUTO(pm_buf) struct pm_buf b = { 0 };
    while (*text) {
        size_t     len = strcspn(text, "\n");
        const char head[2] = { stream, ' ' };
        pm_buf_add(&b, head, sizeof(head));
        pm_buf_add(&b, text, len);
        pm_buf_add(&b, "\n", 1);
        text += len + (text[len] == '\n');
    }
    if (b.failed)
        r->gone = true; /* half an answer would mislead */
    else
        send_all(r, b.ptr, b.len);
}

static void send_format(struct pm_reply *r, char stream, const char *fmt, va_list ap)
{
    char *text = NULL;
    if (vasprintf(&text, fmt, ap) < 0) {
        r->gone = true;
        return;
    }
    send_lines(r, stream, text);
    free(text);
}

void pm_reply_out(struct pm_reply *reply, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    send_format(reply, 'o', fmt, ap);
    va_end(ap);
}

void pm_reply_err(struct pm_reply *reply, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    send_format(reply, 'e', fmt, ap);
    va_end(ap);
}

bool pm_reply_gone(struct pm_reply *reply)
{
    /* Hang-up is both directions: the client has shut its own for writing long ago. */
    struct pollfd p = { .fd = reply->fd };
    if (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR | POLLNVAL)))
        reply->gone = true;
    return reply->gone;
}

static void send_status(struct pm_reply *r, int status)
{
    char line[16];
    int  n = snprintf(line, sizeof(line), "x %d\n", status);
    send_all(r, line, (size_t)n);
}

/* --- the server --------------------------------------------------------------------------- */

/* The user's own processes and root may command; group and others could reach the socket if the
 * state folder were opened to them. */
static bool may_command(int fd)
{
    struct ucred peer;
    socklen_t    len = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
        return false;
    return peer.uid == geteuid() || peer.uid == 0;
}

/* Reads until the client shuts its side. 0 or -errno. */
static int read_request(int fd, struct pm_buf *out)
{
    char chunk[4096];
    for (;;) {
        ssize_t n = recv(fd, chunk, sizeof(chunk), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return out->failed ? -ENOMEM : 0;
        if (out->len + (size_t)n > REQUEST_MAX)
            return -E2BIG;
        pm_buf_add(out, chunk, (size_t)n);
    }
}

/* Points into the NUL-separated request; *out is owned and ends with NULL. The count or -errno. */
static int split_request(const struct pm_buf *request, char ***out)
{
    int count = 0;
    if (request->len == 0 || request->ptr[request->len - 1] != '\0')
        return -EINVAL;
    for (size_t i = 0; i < request->len; i++)
        count += request->ptr[i] == '\0';
    char **argv = calloc((size_t)count + 1, sizeof(*argv));
    if (!argv)
        return -ENOMEM;
    char *at = request->ptr;
    for (int i = 0; i < count; i++) {
        argv[i] = at;
        at += strlen(at) + 1;
    }
    *out = argv;
    return count;
}

static void serve(struct pm_control *c, int fd)
{
    struct pm_reply reply = { .fd = fd };
    PM_AUTO(pm_buf) struct pm_buf request = { 0 };
    PM_AUTO(free) char **argv = NULL;
    int argc = read_request(fd, &request);
    if (argc == 0)
        argc = split_request(&request, &argv);
    if (argc < 0) {
        pm_reply_err(&reply, "the request cannot be read: %s", strerror(-argc));
        send_status(&reply, 2);
        return;
    }
    send_status(&reply, c->handler(c->arg, argc, argv, &reply));
}

static void *run_client(void *arg)
{
    struct slot       *s = arg;
    struct pm_control *c = s->control;
    serve(c, s->fd);
    PM_GUARD(&c->lock);
    close(s->fd); /* under the lock: pm_control_close must not shut down a reused number */
    s->fd = -1;
    s->state = DONE;
    return NULL;
}

/* A slot to use, its old thread joined (that is past its last instruction but one); NULL if all
 * are busy or the daemon ends. */
static struct slot *take_slot(struct pm_control *c, int fd)
{
    struct slot *found = NULL;
    bool         join = false;
    {
        PM_GUARD(&c->lock);
        for (size_t i = 0; !found && !c->closing && i < CLIENTS; i++)
            if (c->slots[i].state != BUSY)
                found = &c->slots[i];
        if (!found)
            return NULL;
        join = found->state == DONE;
        found->state = BUSY;
        found->fd = fd;
    }
    if (join)
        pthread_join(found->thread, NULL);
    return found;
}

static void refuse(int fd, const char *why)
{
    struct pm_reply reply = { .fd = fd };
    pm_reply_err(&reply, "%s", why);
    send_status(&reply, 1);
    close(fd);
}

static void start_client(struct pm_control *c, int fd)
{
    const struct timeval in = { .tv_sec = REQUEST_WAIT_S };
    const struct timeval out = { .tv_sec = REPLY_WAIT_S };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &in, sizeof(in));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &out, sizeof(out));
    if (!may_command(fd)) {
        refuse(fd, "only the user who mounted the drive may do this");
        return;
    }
    struct slot *s = take_slot(c, fd);
    if (!s) {
        refuse(fd, "the daemon is busy with other calls, try again");
        return;
    }
    if (pm_thread_start(&s->thread, "pm-control", run_client, s) == 0)
        return;
    {
        PM_GUARD(&c->lock);
        s->state = FREE;
        s->fd = -1;
    }
    refuse(fd, "the daemon has no thread left for this, try again");
}

static bool is_closing(struct pm_control *c)
{
    PM_GUARD(&c->lock);
    return c->closing;
}

static bool is_used(struct pm_control *c, const struct slot *s)
{
    PM_GUARD(&c->lock);
    return s->state != FREE;
}

static void *run_acceptor(void *arg)
{
    struct pm_control *c = arg;
    while (!is_closing(c)) {
        int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0 && is_closing(c))
            close(fd);
        else if (fd >= 0)
            start_client(c, fd);
        else if (errno != EINTR && errno != ECONNABORTED && !is_closing(c))
            usleep(100 * 1000); /* out of descriptors: they come back */
    }
    return NULL;
}

static int start_listening(struct pm_control *c, const char *dir)
{
    struct sockaddr_un address;
    c->dirfd = open_dir(dir);
    if (c->dirfd < 0)
        return c->dirfd;
    int err = make_address(dir, c->dirfd, &address);
    if (err)
        return err;
    if (unlinkat(c->dirfd, socket_name, 0) && errno != ENOENT)
        return -errno;
    c->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->listener < 0 || bind(c->listener, (struct sockaddr *)&address, sizeof(address)) ||
        fchmodat(c->dirfd, socket_name, 0600, 0) || listen(c->listener, CLIENTS))
        return -errno;
    return 0;
}

int pm_control_open(const char *dir, pm_control_fn *handler, void *arg, struct pm_control **out)
{
    struct pm_control *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    *c = (struct pm_control){ .handler = handler, .arg = arg, .listener = -1, .dirfd = -1 };
    pthread_mutex_init(&c->lock, NULL);
    for (size_t i = 0; i < CLIENTS; i++)
        c->slots[i] = (struct slot){ .control = c, .fd = -1 };
    int err = start_listening(c, dir);
    if (!err)
        err = pm_thread_start(&c->acceptor, "pm-accept", run_acceptor, c);
    if (err) {
        c->closing = true; /* says that there is no thread to join */
        pm_control_close(c);
        return err;
    }
    *out = c;
    return 0;
}

static void hang_up(struct pm_control *c)
{
    PM_GUARD(&c->lock);
    c->closing = true;
    shutdown(c->listener, SHUT_RDWR); /* accept returns */
    for (size_t i = 0; i < CLIENTS; i++)
        if (c->slots[i].state == BUSY)
            shutdown(c->slots[i].fd, SHUT_RDWR);
}

void pm_control_close(struct pm_control *control)
{
    if (!control)
        return;
    if (!is_closing(control)) {
        hang_up(control);
        pthread_join(control->acceptor, NULL);
        for (size_t i = 0; i < CLIENTS; i++)
            if (is_used(control, &control->slots[i]))
                pthread_join(control->slots[i].thread, NULL);
        unlinkat(control->dirfd, socket_name, 0);
    }
    if (control->listener >= 0)
        close(control->listener);
    if (control->dirfd >= 0)
        close(control->dirfd);
    pthread_mutex_destroy(&control->lock);
    free(control);
}

/* --- the client --------------------------------------------------------------------------- */

static int connect_to(const char *dir)
{
    struct sockaddr_un address;
    PM_AUTO(close) int dirfd = open_dir(dir);
    if (dirfd < 0)
        return dirfd;
    int err = make_address(dir, dirfd, &address);
    if (err)
        return err;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
        err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

static int send_request(int fd, int argc, char *const *argv)
{
    PM_AUTO(pm_buf) struct pm_buf b = { 0 };
    struct pm_reply to = { .fd = fd };
    for (int i = 0; i < argc; i++)
        pm_buf_add(&b, argv[i], strlen(argv[i]) + 1);
    if (b.failed)
        return -ENOMEM;
    if (b.len > REQUEST_MAX)
        return -E2BIG;
    /* A server that refuses has answered before it reads: the answer counts, not the error. */
    send_all(&to, b.ptr, b.len);
    shutdown(fd, SHUT_WR);
    return 0;
}

/* Hands on lines until "x N"; returns N. */
static int take_answer(FILE *from, FILE *out, FILE *err)
{
    PM_AUTO(free) char *line = NULL;
    size_t  cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, from)) > 1) {
        char *text = line + 2;
        size_t len = n > 2 ? (size_t)n - 2 : 0;
        if (line[0] == 'x')
            return (int)strtol(text, NULL, 10) & 0xff;
        FILE *to = line[0] == 'o' ? out : err;
        fwrite(text, 1, len, to);
        fflush(to);
    }
    return -ECONNRESET;
}

int pm_control_call(const char *dir, int argc, char *const *argv, FILE *out, FILE *err)
{
    int fd = connect_to(dir);
    if (fd < 0)
        return fd;
    int status = send_request(fd, argc, argv);
    FILE *from = status ? NULL : fdopen(fd, "r");
    if (!from) {
        status = status ? status : -errno;
        close(fd);
        return status;
    }
    status = take_answer(from, out, err);
    fclose(from);
    return status;
}
