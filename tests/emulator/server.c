/* libmicrohttpd, one thread a connection: a request may block its thread as long as a fault
 * wishes. Bodies pass through in the pieces that MHD's large buffers give. */
#include "tests/emulator/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/emulator/request.h"

#define CONNECTION_MEMORY ((size_t)1024 * 1024)
#define CONNECTION_LIMIT 4000
#define READ_BLOCK ((size_t)256 * 1024)
#define FIRST_PORT 10000
#define LAST_PORT 31999

/* What MHD's reader callback needs, living as long as the response. */
struct source {
    struct request *rq;                 /* borrowed: outlives the response's sending */
    struct reply    reply;              /* owned: the body of the answer */
    struct fault_plan plan;
};

static size_t source_read(struct source *s, uint64_t pos, char *out, size_t max)
{
    struct reply *reply = &s->reply;
    if (reply->kind == BODY_STREAM)
        return reply->stream(reply->stream_arg, out, max);
    uint64_t len = reply->kind == BODY_MEMORY ? reply->memory.len : reply->len;
    if (pos >= len)
        return 0;
    max = len - pos < max ? (size_t)(len - pos) : max;
    if (reply->kind == BODY_MEMORY) {
        memcpy(out, reply->memory.data + pos, max);
        return max;
    }
    ssize_t n = pread(reply->fd, out, max, (off_t)(reply->offset + pos));
    return n > 0 ? (size_t)n : 0;
}

static ssize_t on_read(void *cls, uint64_t pos, char *out, size_t max)
{
    struct source *s = cls;
    const struct fault_plan *plan = &s->plan;
    if (plan->stall >= 0 && pos >= (uint64_t)plan->stall) {
        faults_sleep(s->rq->emu->faults, s->rq->fd, -1);
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    if (plan->cut >= 0 && pos >= (uint64_t)plan->cut)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (plan->stall >= 0 && (uint64_t)plan->stall - pos < max)
        max = (size_t)((uint64_t)plan->stall - pos);
    if (plan->cut >= 0 && (uint64_t)plan->cut - pos < max)
        max = (size_t)((uint64_t)plan->cut - pos);
    size_t n = source_read(s, pos, out, max);
    s->rq->out_bytes = pos + n;
    if (n > 0)
        return (ssize_t)n;
    return s->reply.kind == BODY_STREAM ? MHD_CONTENT_READER_END_OF_STREAM
                                        : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void on_source_free(void *cls)
{
    struct source *s = cls;
    reply_clear(&s->reply);
    free(s);
}

static struct MHD_Response *callback_response(struct request *rq, uint64_t size)
{
    struct source *s = emu_alloc(sizeof(*s));
    s->rq = rq;
    s->plan = rq->plan;
    rq->counted = true;
    s->reply = rq->reply;
    s->reply.header_count = 0;          /* those stay with the request */
    rq->reply.memory = (struct buf){0};
    rq->reply.fd = -1;
    rq->reply.stream_free = NULL;
    return MHD_create_response_from_callback(size, READ_BLOCK, on_read, s, on_source_free);
}

static struct MHD_Response *make_response(struct request *rq)
{
    struct reply *reply = &rq->reply;
    const struct fault_plan *plan = &rq->plan;
    uint64_t size = reply->kind == BODY_STREAM   ? MHD_SIZE_UNKNOWN
                    : reply->kind == BODY_MEMORY ? reply->memory.len
                                                 : reply->len;
    bool crooked = plan->cut >= 0 || plan->stall > 0 || plan->wrong_length != 0;
    rq->out_full = size != MHD_SIZE_UNKNOWN ? size : 0;
    if (size != MHD_SIZE_UNKNOWN)
        size = plan->wrong_length < 0 && size < (uint64_t)-plan->wrong_length
                   ? 0
                   : size + (uint64_t)plan->wrong_length;
    if (crooked || reply->kind == BODY_STREAM || (reply->kind == BODY_FILE && rq->emu->tls))
        return callback_response(rq, size);
    if (reply->kind == BODY_MEMORY || size == 0)
        return MHD_create_response_from_buffer(reply->memory.len, reply->memory.data,
                                               MHD_RESPMEM_MUST_COPY);
    int fd = reply->fd;
    reply->fd = -1;
    return MHD_create_response_from_fd_at_offset64(size, fd, reply->offset);
}

static enum MHD_Result answer(struct request *rq)
{
    if (rq->dead)
        return MHD_NO;
    struct MHD_Response *response = make_response(rq);
    if (response == NULL)
        return MHD_NO;
    for (size_t i = 0; i < rq->reply.header_count; i++)
        MHD_add_response_header(response, rq->reply.headers[i].name, rq->reply.headers[i].value);
    rq->status_sent = rq->reply.status;
    if (rq->service != NULL && rq->service->end != NULL)
        rq->service->end(rq);           /* before the client can know the answer, and ask again */
    enum MHD_Result r = MHD_queue_response(rq->connection, (unsigned)rq->reply.status, response);
    MHD_destroy_response(response);
    return r;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *len, void **state)
{
    struct request *rq = *state;
    (void)cls;
    (void)connection;
    (void)url;
    (void)version;
    if (!rq->begun) {
        request_begin(rq, method);
        if (rq->dead)
            return MHD_NO;
        if (!request_wants_answer_now(rq))
            return MHD_YES;
    } else if (*len > 0) {
        request_body(rq, data, *len);
        *len = 0;
        return rq->dead ? MHD_NO : MHD_YES;
    }
    request_finish(rq);
    return answer(rq);
}

static void *on_uri(void *cls, const char *uri, struct MHD_Connection *connection)
{
    return request_new(cls, uri, connection);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct request *rq = *state;
    (void)cls;
    (void)connection;
    if (rq == NULL)
        return;
    bool quit = rq->quit;
    if (code != MHD_REQUEST_TERMINATED_COMPLETED_OK)
        rq->dead = true;
    request_free(rq);
    *state = NULL;
    if (quit)
        kill(getpid(), SIGTERM);
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct emulator *emu = ((struct port *)cls)->emu;
    (void)connection;
    if (code != MHD_CONNECTION_NOTIFY_STARTED) {
        atomic_fetch_sub(&emu->connections, 1);
        return;
    }
    int open = atomic_fetch_add(&emu->connections, 1) + 1;
    int max = options_get(emu->options).max_connections;
    *context = (void *)(uintptr_t)(atomic_fetch_add(&emu->next_connection, 1) + 1);
    if (open > max)
        log_breach(emu->log, "connection number %d at one time, %d are allowed", open, max);
}

/* Paths go to the services as they came. */
static size_t keep_escapes(void *cls, struct MHD_Connection *connection, char *text)
{
    (void)cls;
    (void)connection;
    return strlen(text);
}

/* Which port, if any will do: one below those that the system gives to whoever connects. A test that
 * ends an emulator and starts it again needs the same port, and of those others might have it by then. */
static int some_port(void)
{
    uint16_t n = 0;
    if (getrandom(&n, sizeof(n), 0) != (ssize_t)sizeof(n))
        return 0;
    return FIRST_PORT + n % (LAST_PORT - FIRST_PORT + 1);
}

static int listen_on(struct port *port, int number)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)number),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t len = sizeof(address);
    int yes = 1;
    port->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (port->socket < 0 ||
        setsockopt(port->socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0 ||
        bind(port->socket, (struct sockaddr *)&address, len) < 0 ||
        listen(port->socket, SOMAXCONN) < 0 ||
        getsockname(port->socket, (struct sockaddr *)&address, &len) < 0) {
        int err = errno;
        if (port->socket >= 0)
            close(port->socket);
        port->socket = -1;
        return -err;
    }
    port->number = ntohs(address.sin_port);
    return 0;
}

int server_listen(struct port *port)
{
    if (port->number != 0)
        return listen_on(port, port->number);
    int r = -EADDRINUSE;
    for (int tries = 0; r == -EADDRINUSE && tries < 100; tries++)
        r = listen_on(port, some_port());
    return r;
}

int server_start(struct port *port, const char *key_pem, const char *cert_pem)
{
    unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)key_pem},
        {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)cert_pem},
        {MHD_OPTION_END, 0, NULL},
    };
    if (key_pem == NULL)
        tls[0].option = MHD_OPTION_END;
    port->daemon = MHD_start_daemon(
        flags | (key_pem != NULL ? MHD_USE_TLS : 0), (uint16_t)port->number, NULL, NULL, on_request,
        port, MHD_OPTION_LISTEN_SOCKET, port->socket, MHD_OPTION_URI_LOG_CALLBACK,
        on_uri, port, MHD_OPTION_NOTIFY_COMPLETED, on_completed, port, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, port, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, port,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)CONNECTION_LIMIT, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
    if (port->daemon == NULL)
        return -EIO;
    port->socket = -1;
    return 0;
}

void server_stop(struct port *port)
{
    if (port->daemon != NULL)
        MHD_stop_daemon(port->daemon);
    port->daemon = NULL;
    if (port->socket >= 0)
        close(port->socket);
    port->socket = -1;
}
