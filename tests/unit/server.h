/* server.h: a tiny HTTP server whose answers a test writes byte by byte, on a loopback port. */
#ifndef PM_TESTS_UNIT_SERVER_H
#define PM_TESTS_UNIT_SERVER_H

#include <stdbool.h>
#include <stddef.h>

struct server;

struct server_request {
    unsigned    n; /* from 1, over all connections */
    const char *head; /* request line and headers, NUL-terminated */
    const char *body; /* NUL-terminated, whole */
    size_t      body_len;
};

/* Answers one request on `fd`, on the connection's own thread. False: the connection is closed. */
typedef bool server_fn(void *arg, const struct server_request *req, int fd);

struct server *server_start(server_fn *answer, void *arg);
void           server_stop(struct server *s);
const char    *server_url(const struct server *s); /* "http://127.0.0.1:PORT" */
unsigned       server_requests(struct server *s);
/* The head of the nth request (from 1), owned; "" if it was not made. */
char *server_head(struct server *s, unsigned n);

/* Writes it all; false if the peer has gone. */
bool server_send(int fd, const void *data, size_t len);
bool server_say(int fd, const char *text);
/* A whole answer with Content-Length. `more`: further header lines, each with CRLF. */
bool server_reply(int fd, int status, const char *more, const char *body);
/* Closes with a reset instead of politely. */
void server_reset(int fd);

#endif
