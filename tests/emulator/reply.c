/* The answers that services give: headers, JSON, and files with ranges. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/emulator/request.h"

void reply_header(struct reply *reply, const char *name, const char *format, ...)
{
    char *value = NULL;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&value, format, args);
    va_end(args);
    if (len < 0 || reply->header_count == REPLY_HEADERS) {
        free(len < 0 ? NULL : value);
        return;
    }
    reply->headers[reply->header_count].name = name;
    reply->headers[reply->header_count++].value = value;
}

void reply_json(struct reply *reply, int status, struct buf *text)
{
    reply->status = status;
    reply->kind = BODY_MEMORY;
    reply->memory = *text;
    *text = (struct buf){0};
    reply_header(reply, "Content-Type", "application/json; charset=utf-8");
}

void reply_clear(struct reply *reply)
{
    for (size_t i = 0; i < reply->header_count; i++)
        free(reply->headers[i].value);
    buf_free(&reply->memory);
    if (reply->fd >= 0)
        close(reply->fd);
    if (reply->stream_free != NULL)
        reply->stream_free(reply->stream_arg);
    *reply = (struct reply){.fd = -1};
}

void reply_error_json(struct request *rq, int status, const char *detail)
{
    struct buf text = {0};
    buf_printf(&text, "{\"status\":%d,\"detail\":", status);
    buf_json(&text, detail, strlen(detail), true);
    buf_puts(&text, "}\n");
    reply_json(&rq->reply, status, &text);
}

struct range {
    uint64_t first;
    uint64_t last;                      /* inclusive */
};

enum range_verdict { RANGE_NONE, RANGE_OK, RANGE_OUTSIDE };

/* Serves what RFC 7233 allows, but our client is to send "bytes=a-b" inside the file only. */
static enum range_verdict judge_range(struct request *rq, uint64_t size, struct range *out)
{
    unsigned long long a = 0;
    unsigned long long b = 0;
    int end = 0;
    const char *text = rq->range;
    bool exact = sscanf(text, "bytes=%llu-%llu%n", &a, &b, &end) == 2 && text[end] == '\0';
    if (!exact || a > b || b >= size)
        request_breach(rq, "Range \"%s\" is not one a-b inside %llu bytes", text,
                       (unsigned long long)size);
    if (strchr(text, ',') != NULL)
        return RANGE_NONE;
    if (!exact && sscanf(text, "bytes=-%llu%n", &b, &end) == 1 && text[end] == '\0') {
        a = b < size ? size - b : 0;
        b = size - 1;
    } else if (!exact) {
        end = 0;
        if (sscanf(text, "bytes=%llu-%n", &a, &end) != 1 || end == 0 || text[end] != '\0')
            return RANGE_NONE;
        b = size - 1;
    } else if (a > b) {
        return RANGE_NONE;
    }
    if (a >= size)
        return RANGE_OUTSIDE;
    *out = (struct range){a, b < size ? b : size - 1};
    return RANGE_OK;
}

static void empty_reply(struct request *rq, int status)
{
    reply_clear(&rq->reply);
    rq->reply.status = status;
}

void reply_file(struct request *rq, int fd, uint64_t size, const char *etag)
{
    struct reply *reply = &rq->reply;
    const char *if_match = request_header(rq, "If-Match");
    const char *if_range = request_header(rq, "If-Range");
    struct range range = {0, size - 1};
    enum range_verdict verdict = RANGE_NONE;
    if (*rq->range != '\0' && (*if_range == '\0' || strcmp(if_range, etag) == 0))
        verdict = judge_range(rq, size, &range);
    bool ranges = rq->opt.range && !rq->plan.ignore_range;
    if (!ranges)
        verdict = RANGE_NONE;
    reply->fd = fd;
    if (*if_match != '\0' && strcmp(if_match, etag) != 0 && strcmp(if_match, "*") != 0) {
        empty_reply(rq, 412);
        return;
    }
    if (verdict == RANGE_OUTSIDE) {
        empty_reply(rq, 416);
        reply_header(reply, "Content-Range", "bytes */%llu", (unsigned long long)size);
        return;
    }
    reply->kind = BODY_FILE;
    reply->status = verdict == RANGE_OK ? 206 : 200;
    reply->offset = verdict == RANGE_OK ? range.first : 0;
    reply->len = verdict == RANGE_OK ? range.last - range.first + 1 : size;
    if (verdict == RANGE_OK)
        reply_header(reply, "Content-Range", "bytes %llu-%llu/%llu",
                     (unsigned long long)range.first, (unsigned long long)range.last,
                     (unsigned long long)size);
    reply_header(reply, "Content-Type", "application/octet-stream");
    if (rq->opt.range)
        reply_header(reply, "Accept-Ranges", "bytes");
    if (rq->opt.etag)
        reply_header(reply, "ETag", "%s", etag);
}
