#include "tests/unit/server.h"
#include "backends/util.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define CONNECTIONS 256
#define REQUESTS    1024
#define HEAD_MAX    16384

struct connection {
    struct server *s;
    pthread_t      thread;
    int            fd;
};

struct server {
    server_fn        *answer;
    void             *arg;
    char              url[64];
    int               fd;
    pthread_t         thread;
    pthread_mutex_t   lock;
    unsigned          requests; /* lock */
    char             *heads[REQUESTS]; /* lock */
    struct connection connections[CONNECTIONS]; /* the accepting thread's, then stop's */
    unsigned          nconnections;
};

bool server_send(int fd, const void *data, size_t len)
{
    const char *p = data;
    ssize_t     n;

    for (; len; p += n, len -= (size_t)n) {
        n = send(fd, p, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
    }
    return true;
}

bool server_say(int fd, const char *text)
{
    return server_send(fd, text, strlen(text));
}

bool server_reply(int fd, int status, const char *more, const char *body)
{
    char head[4096];

    snprintf(head, sizeof(head), "HTTP/1.1 %d Word\r\nContent-Length: %zu\r\n%s\r\n", status,
             strlen(body), more);
    return server_say(fd, head) && server_say(fd, body);
}

void server_reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

static bool read_head(int fd, char *head)
{
    size_t len = 0;

    while (len < HEAD_MAX - 1 && recv(fd, head + len, 1, 0) == 1) {
        head[++len] = '\0';
        if (len >= 4 && !memcmp(head + len - 4, "\r\n\r\n", 4))
            return true;
    }
    return false;
}

static bool read_body(int fd, const char *head, char **body, size_t *len)
{
    const char *length = strcasestr(head, "\r\nContent-Length:");
    ssize_t     n;

    *len = length ? strtoul(length + 17, NULL, 10) : 0;
    *body = malloc(*len + 1);
    if (strcasestr(head, "\r\nExpect:") && !server_say(fd, "HTTP/1.1 100 Continue\r\n\r\n"))
        return false;
    for (size_t got = 0; got < *len; got += (size_t)n) {
        n = recv(fd, *body + got, *len - got, 0);
        if (n <= 0)
            return false;
    }
    (*body)[*len] = '\0';
    return true;
}

static unsigned note(struct server *s, const char *head)
{
    PM_GUARD(&s->lock);
    if (s->requests < REQUESTS)
        s->heads[s->requests] = strdup(head);
    return ++s->requests;
}

static void *serve(void *arg)
{
    struct connection *c = arg;
    char               head[HEAD_MAX];
    bool               more = true;

    while (more && read_head(c->fd, head)) {
        struct server_request req = {.head = head};
        char                 *body = NULL;

        more = read_body(c->fd, head, &body, &req.body_len);
        if (more) {
            req.body = body;
            req.n = note(c->s, head);
            more = c->s->answer(c->s->arg, &req, c->fd);
        }
        free(body);
    }
    shutdown(c->fd, SHUT_RDWR);
    close(c->fd);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct server *s = arg;
    int            fd, one = 1;

    while (s->nconnections < CONNECTIONS && (fd = accept(s->fd, NULL, NULL)) >= 0) {
        struct connection *c = &s->connections[s->nconnections++];

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        c->s = s;
        c->fd = fd;
        pthread_create(&c->thread, NULL, serve, c);
    }
    return NULL;
}

struct server *server_start(server_fn *answer, void *arg)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          len = sizeof(addr);
    struct server     *s = calloc(1, sizeof(*s));
    int                err;

    s->answer = answer;
    s->arg = arg;
    pthread_mutex_init(&s->lock, NULL);
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    err = bind(s->fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(s->fd, 64) ||
          getsockname(s->fd, (struct sockaddr *)&addr, &len);
    assert(!err);
    (void)err;
    snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%d", ntohs(addr.sin_port));
    pthread_create(&s->thread, NULL, accept_all, s);
    return s;
}

/* Clients must be gone: their connections then end by themselves. */
void server_stop(struct server *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    for (unsigned i = 0; i < s->nconnections; i++)
        pthread_join(s->connections[i].thread, NULL);
    for (unsigned i = 0; i < REQUESTS; i++)
        free(s->heads[i]);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

const char *server_url(const struct server *s)
{
    return s->url;
}

unsigned server_requests(struct server *s)
{
    PM_GUARD(&s->lock);
    return s->requests;
}

char *server_head(struct server *s, unsigned n)
{
    PM_GUARD(&s->lock);
    return strdup(n >= 1 && n <= REQUESTS && s->heads[n - 1] ? s->heads[n - 1] : "");
}
