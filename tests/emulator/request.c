#include "tests/emulator/request.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/emulator/path.h"
#include "tests/emulator/services.h"

#define SMALL_BODY_MAX ((size_t)16 * 1024 * 1024)
#define RETRY_SLACK_MS 5

void request_breach(struct request *rq, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    if (len < 0)
        return;
    log_breach(rq->emu->log, "%s %s%s: %s", rq->method,
               rq->port == &rq->emu->ports[PORT_STORAGE] ? "(storage) " : "", rq->path, text);
    free(text);
}

const char *request_header(struct request *rq, const char *name)
{
    const char *value = MHD_lookup_connection_value(rq->connection, MHD_HEADER_KIND, name);
    return value != NULL ? value : "";
}

bool request_query(struct request *rq, const char *name, struct buf *out)
{
    size_t name_len = strlen(name);
    for (const char *p = rq->raw_query; *p != '\0';) {
        size_t len = strcspn(p, "&");
        if (len > name_len && strncmp(p, name, name_len) == 0 && p[name_len] == '=') {
            url_decode(p + name_len + 1, len - name_len - 1, true, out);
            buf_add(out, "", 0);
            return true;
        }
        p += len + (p[len] == '&');
    }
    return false;
}

static uint64_t bytes_acknowledged(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);
    getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len);
    return info.tcpi_bytes_acked;
}

struct request *request_new(struct port *port, const char *target, struct MHD_Connection *c)
{
    struct request *rq = emu_alloc(sizeof(*rq));
    struct buf path = {0};
    rq->emu = port->emu;
    rq->port = port;
    rq->connection = c;
    rq->fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    rq->tcp_before = bytes_acknowledged(rq->fd);
    rq->target = emu_strdup(target);
    size_t len = strcspn(target, "?");
    rq->raw_query = target[len] == '?' ? rq->target + len + 1 : "";
    rq->raw_path = strndup(target, len);
    url_decode(target, len, false, &path);
    buf_add(&path, "", 0);
    rq->path = path.data;
    rq->endpoint = "unknown";
    rq->plan = fault_none();
    rq->reply.fd = -1;
    return rq;
}

static void finish_log(struct request *rq)
{
    if (rq->log_n == 0)
        return;
    bool whole = rq->status_sent != 0 && !rq->dead;
    struct log_end end = {rq->status_sent, rq->in_bytes, rq->out_bytes, whole};
    bool head = strcmp(rq->method, "HEAD") == 0;
    if (!rq->counted && whole && !head)
        end.out_bytes = rq->out_full;
    if (!rq->counted && !whole && rq->out_full > 0) {   /* sent by the kernel: it knows */
        uint64_t acked = bytes_acknowledged(rq->fd) - rq->tcp_before;
        end.out_bytes = acked < rq->out_full ? acked : rq->out_full;
    }
    log_finish(rq->emu->log, rq->log_n, &end);
}

void request_free(struct request *rq)
{
    if (rq == NULL)
        return;
    if (rq->service != NULL && rq->service->end != NULL)
        rq->service->end(rq);
    finish_log(rq);
    reply_clear(&rq->reply);
    buf_free(&rq->body);
    free(rq->target);
    free(rq->raw_path);
    free(rq->path);
    free(rq);
}

/* A connect to nowhere dissolves the association, and Linux then sends RST at once. */
void request_reset(struct request *rq)
{
    struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    (void)connect(rq->fd, &nowhere, sizeof(nowhere));
    rq->dead = true;
}

const char *request_token(const struct request *rq)
{
    if (rq->service != NULL && rq->service->token != NULL)
        return rq->service->token(rq);
    return *rq->opt.token != '\0' ? rq->opt.token : rq->emu->secrets.token;
}

static void check_url(struct request *rq)
{
    struct buf scratch = {0};
    for (const char *p = rq->target; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        if (c <= 0x20 || c >= 0x7f || strchr("\"<>\\^`{|}#", c) != NULL) {
            request_breach(rq, "byte 0x%02x stands un-encoded in the URL", c);
            break;
        }
    }
    if (rq->target[0] != '/')
        request_breach(rq, "the request target does not begin with '/'");
    if (!url_decode(rq->raw_query, strlen(rq->raw_query), true, &scratch))
        request_breach(rq, "broken percent escape in the query");
    if (strstr(rq->target, request_token(rq)) != NULL)
        request_breach(rq, "the token stands in the URL");
    buf_free(&scratch);
}

static void check_host(struct request *rq)
{
    char local[64];
    char name[64];
    const char *host = request_header(rq, "Host");
    const char *url = strstr(rq->port->url, "://");
    size_t len = url != NULL ? strcspn(url + 3, "/") : 0;
    snprintf(local, sizeof(local), "127.0.0.1:%d", rq->port->number);
    snprintf(name, sizeof(name), "localhost:%d", rq->port->number);
    if (strcmp(host, local) == 0 || strcmp(host, name) == 0 ||
        (url != NULL && strlen(host) == len && strncmp(host, url + 3, len) == 0))
        return;
    request_breach(rq, "sent to the wrong host \"%s\"%s", host,
                   rq->authorizations > 0 ? ", with the token" : "");
}

static enum MHD_Result count_authorization(void *cls, enum MHD_ValueKind kind, const char *key,
                                           const char *value)
{
    struct request *rq = cls;
    (void)kind;
    if (strcasecmp(key, "Authorization") == 0) {
        rq->authorizations++;
        rq->authorization = value != NULL ? value : "";
    }
    return MHD_YES;
}

/* The log keeps no secrets. */
static void visible_query(struct request *rq, struct buf *out)
{
    const char *token = request_token(rq);
    for (const char *p = rq->raw_query; *p != '\0';) {
        if (strncmp(p, token, strlen(token)) == 0) {
            buf_puts(out, "TOKEN");
            p += strlen(token);
        } else if (strncasecmp(p, "signature=", 10) == 0 || strncmp(p, "upload_id=", 10) == 0 ||
                   strncmp(p, "ticket=", 7) == 0) {
            buf_printf(out, "%.*s...", (int)strcspn(p, "=") + 1, p);
            p += strcspn(p, "&");
        } else {
            buf_add(out, p++, 1);
        }
    }
    buf_add(out, "", 0);
}

static void begin_log(struct request *rq)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(rq->connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct buf query = {0};
    visible_query(rq, &query);
    struct log_start start = {
        .port = rq->port->number,
        .connection = (uint64_t)(uintptr_t)info->socket_context,
        .endpoint = rq->endpoint,
        .method = rq->method,
        .path = rq->path,
        .query = query.data,
        .range = *rq->range != '\0' ? rq->range : request_header(rq, "Content-Range"),
        .authorized = rq->authorized,
    };
    rq->log_n = log_begin(rq->emu->log, &start);
    buf_free(&query);
}

static char *retry_key(const struct request *rq)
{
    struct buf key = {0};
    buf_printf(&key, "retry %s %s %s", rq->method, rq->target, rq->range);
    return key.data;
}

static void check_retry(struct request *rq)
{
    char *key = retry_key(rq);
    int64_t allowed = log_recall(rq->emu->log, key);
    int64_t early = allowed - mono_ms();
    if (allowed != 0 && early > RETRY_SLACK_MS)
        request_breach(rq, "came %lld ms before the time that Retry-After had set",
                       (long long)early);
    free(key);
}

static void obey_plan_at_once(struct request *rq)
{
    if (rq->plan.reset == RESET_BEFORE)
        request_reset(rq);
}

static void pick_fault(struct request *rq, const char *text, const char *before)
{
    if (rq->plan.id != 0 || rq->quiet)
        return;
    if (faults_pick(rq->emu->faults, rq->endpoint, text, before, &rq->plan))
        obey_plan_at_once(rq);
}

void request_fault_again(struct request *rq, const char *text)
{
    pick_fault(rq, text, NULL);
}

/* What faults match of the request's head. */
static void head_text(struct request *rq, struct buf *text)
{
    buf_printf(text, "%s", rq->path);
    if (rq->raw_query[0] != '\0') {
        buf_puts(text, "?");
        url_decode(rq->raw_query, strlen(rq->raw_query), true, text);
    }
    if (rq->service != NULL && rq->service->subject != NULL) {
        buf_puts(text, " ");
        rq->service->subject(rq, text);
    }
}

static void pick_first_fault(struct request *rq)
{
    struct buf text = {0};
    head_text(rq, &text);
    pick_fault(rq, text.data, NULL);
    buf_free(&text);
}

void request_fault_body(struct request *rq, const char *text)
{
    struct buf before = {0};
    head_text(rq, &before);
    pick_fault(rq, text, before.data);
    buf_free(&before);
}

void request_begin(struct request *rq, const char *method)
{
    rq->begun = true;
    rq->opt = options_get(rq->emu->options);
    snprintf(rq->method, sizeof(rq->method), "%s", method);
    rq->range = request_header(rq, "Range");
    rq->content_type = request_header(rq, "Content-Type");
    MHD_get_connection_values(rq->connection, MHD_HEADER_KIND, count_authorization, rq);
    rq->service = service_for(rq);
    rq->quiet = rq->service == &control_service;
    if (!rq->quiet) {
        check_url(rq);
        check_host(rq);
        check_retry(rq);
    }
    if (rq->service != NULL) {
        rq->service->begin(rq);
    } else {
        request_breach(rq, "unknown endpoint");
        reply_error_json(rq, 404, "no such endpoint");
    }
    if (rq->quiet)
        return;
    begin_log(rq);
    pick_first_fault(rq);
}

static bool status_instead(const struct request *rq)
{
    return rq->plan.status != 0 && !rq->plan.processed;
}

bool request_wants_answer_now(struct request *rq)
{
    bool refused = rq->reply.status != 0 || status_instead(rq);
    if (!refused || (!rq->plan.early && *request_header(rq, "Expect") == '\0'))
        return false;
    return true;
}

void request_body(struct request *rq, const char *bytes, size_t len)
{
    const struct fault_plan *plan = &rq->plan;
    rq->in_bytes += len;
    bool wanted = rq->reply.status == 0 && !status_instead(rq);
    if (wanted && rq->service->body != NULL)
        rq->service->body(rq, bytes, len);
    else if (wanted && rq->body.len + len <= SMALL_BODY_MAX)
        buf_add(&rq->body, bytes, len);
    if (rq->dead)
        return;
    if (plan->reset == RESET_DURING && rq->in_bytes >= (uint64_t)plan->reset_at)
        request_reset(rq);
    if (plan->stall_in >= 0 && rq->in_bytes >= (uint64_t)plan->stall_in) {
        faults_sleep(rq->emu->faults, rq->fd, -1);
        rq->dead = true;
    }
}

static void fault_status(struct request *rq)
{
    reply_clear(&rq->reply);
    if (rq->service != NULL)
        rq->service->error(rq, rq->plan.status, "ordered by a fault");
    else
        reply_error_json(rq, rq->plan.status, "ordered by a fault");
    if (rq->plan.retry_after_s < 0)
        return;
    reply_header(&rq->reply, "Retry-After", "%d", rq->plan.retry_after_s);
    char *key = retry_key(rq);
    log_remember(rq->emu->log, key, mono_ms() + rq->plan.retry_after_s * 1000LL);
    free(key);
}

static void fault_body(struct request *rq)
{
    static const char garbage[] = "{\"success\":tru,[\"data\":\x01 <html>";
    if (!rq->plan.garbage && !rq->plan.has_body)
        return;
    struct reply *reply = &rq->reply;
    int status = reply->status;
    struct buf text = {0};
    struct stat st;
    buf_puts(&text, rq->plan.garbage ? garbage : rq->plan.body);
    reply_clear(reply);
    reply_json(reply, status, &text);
    if (rq->plan.file[0] == '\0')
        return;
    reply->fd = open(rq->plan.file, O_RDONLY | O_CLOEXEC);
    if (reply->fd < 0 || fstat(reply->fd, &st) < 0) {
        request_breach(rq, "a fault's file \"%s\" cannot be read", rq->plan.file);
        return;
    }
    reply->kind = BODY_FILE;
    reply->offset = 0;
    reply->len = (uint64_t)st.st_size;
}

static void fault_header(struct request *rq)
{
    struct reply *reply = &rq->reply;
    char *name = rq->plan.header;       /* lives as long as the reply */
    char *colon = strchr(name, ':');
    if (colon == NULL)
        return;
    *colon = '\0';
    for (size_t i = 0; i < reply->header_count; i++) {
        if (strcasecmp(reply->headers[i].name, name) != 0)
            continue;
        free(reply->headers[i].value);
        reply->headers[i].value = emu_strdup(colon + 2);
        return;
    }
    reply_header(reply, name, "%s", colon + 2);
}

void request_finish(struct request *rq)
{
    const struct fault_plan *plan = &rq->plan;
    if (plan->reset == RESET_DURING) {  /* the body was shorter than that */
        request_reset(rq);
        return;
    }
    if (plan->delay_ms > 0)
        faults_sleep(rq->emu->faults, rq->fd, plan->delay_ms);
    if (status_instead(rq))
        fault_status(rq);
    else if (rq->reply.status == 0 && rq->port == &rq->emu->ports[PORT_STORAGE])
        rq->service->storage(rq);
    else if (rq->reply.status == 0)
        rq->service->finish(rq);
    if (plan->status != 0 && plan->processed)
        fault_status(rq);
    if (plan->reset == RESET_AFTER)
        request_reset(rq);
    if (plan->stall == 0 && !rq->dead) {
        faults_sleep(rq->emu->faults, rq->fd, -1);
        rq->dead = true;
    }
    fault_body(rq);
    fault_header(rq);
}
