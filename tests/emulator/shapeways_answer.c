/* How Shapeways' answers are written: as PHP writes them, with the oddities that were recorded. */
#include <fcntl.h>
#include <math.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/emulator/shapeways_call.h"

#define FILE_STEP ((size_t)48 * 1024)   /* of a file at once: whole groups of 3 bytes */
#define TICK_MS 50

/* ---- JSON ---- */

struct writing {
    const struct shapeways_options *opt;
    struct buf                     *out;
    size_t                          file_at;    /* where the file's text belongs */
};

static uint32_t next_code(const char **p)
{
    const unsigned char *u = (const unsigned char *)*p;
    int more = u[0] >= 0xf0 ? 3 : u[0] >= 0xe0 ? 2 : u[0] >= 0xc0 ? 1 : 0;
    uint32_t code = more > 0 ? u[0] & (0x3fU >> more) : u[0];
    for (int i = 1; i <= more; i++)
        code = code << 6 | (u[i] & 0x3fU);
    *p += 1 + more;
    return code;
}

static void write_code(struct writing *w, uint32_t code)
{
    if (code >= 0x10000) {
        code -= 0x10000;
        buf_printf(w->out, "\\u%04x\\u%04x", 0xd800 + (code >> 10), 0xdc00 + (code & 0x3ff));
    } else {
        buf_printf(w->out, "\\u%04x", code);
    }
}

static void write_text(struct writing *w, const char *text)
{
    bool valid = utf8_valid(text, strlen(text));
    buf_puts(w->out, "\"");
    while (*text != '\0') {
        const char *p = text;
        uint32_t code = valid ? next_code(&p) : (unsigned char)*p++;
        if (code == '"' || code == '\\' || (code == '/' && w->opt->slashes))
            buf_printf(w->out, "\\%c", (char)code);
        else if (code < 0x20 || (code >= 0x7f && sw_is(w->opt->unicode, "escaped")))
            write_code(w, code);
        else
            buf_add(w->out, text, (size_t)(p - text));
        text = p;
    }
    buf_puts(w->out, "\"");
}

/* Sums of money and lengths have digits behind the point, whatever they are. */
static bool is_float(const char *name)
{
    return name != NULL && (strstr(name, "rice") != NULL || strstr(name, "Bound") != NULL ||
                            strcmp(name, "markup") == 0);
}

static bool is_id(const char *name)
{
    size_t len = name != NULL ? strlen(name) : 0;
    return len >= 2 && (strcmp(name + len - 2, "Id") == 0 || strcmp(name, "modelVersion") == 0);
}

static void write_number(struct writing *w, const cJSON *item)
{
    bool real = is_float(item->string);
    bool text = sw_is(w->opt->numbers, "strings") ||
                (sw_is(w->opt->numbers, "mixed") && (real || is_id(item->string)));
    const char *quote = text ? "\"" : "";
    if (real)
        buf_printf(w->out, "%s%.6f%s", quote, item->valuedouble, quote);
    else
        buf_printf(w->out, "%s%.0f%s", quote, item->valuedouble, quote);
}

static void write_flag(struct writing *w, bool value)
{
    if (sw_is(w->opt->flags, "bool"))
        buf_puts(w->out, value ? "true" : "false");
    else
        buf_printf(w->out, sw_is(w->opt->flags, "strings") ? "\"%d\"" : "%d", value);
}

static void write_item(struct writing *w, const cJSON *item);

static bool is_left_out(const struct writing *w, const cJSON *item)
{
    return cJSON_IsArray(item) && item->child == NULL && sw_is(w->opt->empty_list, "absent");
}

static void write_members(struct writing *w, const cJSON *parent)
{
    bool object = cJSON_IsObject(parent);
    bool first = true;
    buf_puts(w->out, object ? "{" : "[");
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, parent) {
        if (object && is_left_out(w, item))
            continue;
        if (!first)
            buf_puts(w->out, ",");
        first = false;
        if (object) {
            write_text(w, item->string);
            buf_puts(w->out, ":");
        }
        write_item(w, item);
    }
    buf_puts(w->out, object ? "}" : "]");
}

static void write_empty(struct writing *w, const cJSON *item)
{
    const char *form = cJSON_IsObject(item) ? w->opt->empty_object : w->opt->empty_list;
    buf_puts(w->out, sw_is(form, "null") ? "null" : sw_is(form, "object") ? "{}" : "[]");
}

static void write_item(struct writing *w, const cJSON *item)
{
    if (cJSON_IsString(item))
        write_text(w, item->valuestring);
    else if (cJSON_IsNumber(item))
        write_number(w, item);
    else if (cJSON_IsBool(item))
        write_flag(w, cJSON_IsTrue(item));
    else if (cJSON_IsRaw(item))
        w->file_at = w->out->len;
    else if ((cJSON_IsArray(item) || cJSON_IsObject(item)) && item->child == NULL)
        write_empty(w, item);
    else if (cJSON_IsArray(item) || cJSON_IsObject(item))
        write_members(w, item);
    else
        buf_puts(w->out, "null");
}

static size_t write_answer(const struct shapeways_options *opt, cJSON *json, struct buf *out)
{
    struct writing w = {.opt = opt, .out = out};
    cJSON_AddItemToObject(json, "nextActionSuggestions", cJSON_CreateObject());
    write_members(&w, json);
    cJSON_Delete(json);
    return w.file_at;
}

cJSON *sw_answer(void)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "result", "success");
    return json;
}

void sw_add_id(cJSON *json, const char *name, int64_t id)
{
    cJSON_AddNumberToObject(json, name, (double)id);
}

void sw_reply(struct request *rq, cJSON *json)
{
    struct buf text = {0};
    write_answer(sw_opt(rq), json, &text);
    reply_json(&rq->reply, 200, &text);
}

/* ---- errors ---- */

void sw_error(struct request *rq, int status, const char *reason)
{
    const char *form = sw_opt(rq)->errors;
    struct buf text = {0};
    reply_clear(&rq->reply);
    if (sw_is(form, "json")) {
        struct writing w = {.opt = sw_opt(rq), .out = &text};
        buf_puts(&text, "{\"result\":\"failure\",\"reason\":");
        write_text(&w, reason);
        buf_puts(&text, "}");
        reply_json(&rq->reply, status, &text);
        return;
    }
    if (sw_is(form, "html"))
        buf_printf(&text,
                   "<html>\r\n<head><title>%d</title></head>\r\n<body>\r\n<center><h1>%d</h1>"
                   "</center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n",
                   status, status);
    rq->reply.status = status;
    rq->reply.memory = text;
    reply_header(&rq->reply, "Content-Type", "text/html; charset=UTF-8");
}

void sw_gone(struct request *rq, const char *what)
{
    struct buf text = {0};
    buf_printf(&text, "%s not found", what);
    sw_error(rq, sw_opt(rq)->gone_status, text.data);
    buf_free(&text);
}

void sw_invalid(struct request *rq, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    sw_error(rq, sw_opt(rq)->invalid_status, len >= 0 ? text : "");
    if (len >= 0)
        free(text);
}

/* ---- files ---- */

struct sending {
    struct request *rq;                 /* outlives the answer */
    struct buf      head;
    struct buf      tail;
    struct buf      ready;              /* the next characters … */
    size_t          given;              /* … so many of which went out */
    int             fd;
    uint64_t        pos;                /* in the file */
    uint64_t        size;
    bool            slashes;
    int             stage;              /* 0: head, 1: file, 2: tail, 3: over */
    uint64_t        sent;               /* characters */
};

static void sending_free(void *arg)
{
    struct sending *s = arg;
    buf_free(&s->head);
    buf_free(&s->tail);
    buf_free(&s->ready);
    close(s->fd);
    free(s);
}

static void encode_piece(struct sending *s)
{
    unsigned char bytes[FILE_STEP];
    unsigned char text[FILE_STEP / 3 * 4 + 1];
    uint64_t left = s->size - s->pos;
    ssize_t n = pread(s->fd, bytes, left < FILE_STEP ? (size_t)left : FILE_STEP, (off_t)s->pos);
    if (n <= 0) {
        s->pos = s->size;
        return;
    }
    s->pos += (uint64_t)n;
    int len = EVP_EncodeBlock(text, bytes, (int)n);
    for (int i = 0, from = 0; i <= len; i++) {
        if (i < len && (text[i] != '/' || !s->slashes))
            continue;
        buf_add(&s->ready, text + from, (size_t)(i - from));
        if (i < len)
            buf_add(&s->ready, "\\", 1);
        from = i;
    }
}

/* More to send, or not. */
static bool refill(struct sending *s)
{
    s->ready.len = s->given = 0;
    if (s->stage == 1 && s->pos < s->size) {
        encode_piece(s);
        return true;
    }
    if (s->stage != 1 && s->stage < 3)
        buf_add(&s->ready, s->stage == 0 ? s->head.data : s->tail.data,
                s->stage == 0 ? s->head.len : s->tail.len);
    s->stage++;
    return s->stage <= 3;
}

/* The test holds the answer back, until it sets the option to 0. */
static void wait_while_held(struct sending *s)
{
    struct emulator *emu = s->rq->emu;
    for (;;) {
        int64_t hold_at = options_get(emu->options).shapeways.hold_at;
        if (hold_at <= 0 || s->sent < (uint64_t)hold_at ||
            !faults_sleep(emu->faults, s->rq->fd, TICK_MS))
            return;
    }
}

static size_t send_some(void *arg, char *out, size_t max)
{
    struct sending *s = arg;
    struct shapeways_options opt = options_get(s->rq->emu->options).shapeways;
    while (s->given == s->ready.len)
        if (!refill(s))
            return 0;
    wait_while_held(s);
    if (opt.hold_at > 0 && s->sent < (uint64_t)opt.hold_at && (uint64_t)opt.hold_at - s->sent < max)
        max = (size_t)((uint64_t)opt.hold_at - s->sent);
    if (opt.speed > 0) {
        size_t share = (size_t)opt.speed * TICK_MS / 1000 + 1;
        max = share < max ? share : max;
        faults_sleep(s->rq->emu->faults, s->rq->fd, TICK_MS);
    }
    size_t n = s->ready.len - s->given < max ? s->ready.len - s->given : max;
    memcpy(out, s->ready.data + s->given, n);
    s->given += n;
    s->sent += n;
    return n;
}

/* Where in the answer the file stands, is the service's affair. */
static void place_file(const struct shapeways_options *opt, cJSON *json)
{
    cJSON *raw = cJSON_CreateRaw("file");
    if (sw_is(opt->data_at, "document")) {
        cJSON_ReplaceItemInObjectCaseSensitive(json, "fileData", raw);
        return;
    }
    cJSON_DeleteItemFromObjectCaseSensitive(json, "fileData");
    if (sw_is(opt->data_at, "first")) {
        raw->string = emu_strdup("fileData");
        cJSON_InsertItemInArray(json, 0, raw);
    } else {
        cJSON_AddItemToObject(json, "fileData", raw);
    }
}

void sw_reply_file(struct request *rq, cJSON *json, const struct sw_version *v)
{
    struct buf text = {0};
    int fd = store_read_fd(rq->emu->store, v->content);
    if (fd < 0) {
        cJSON_Delete(json);
        sw_error(rq, 500, "The file cannot be read");
        return;
    }
    struct sending *s = emu_alloc(sizeof(*s));
    *s = (struct sending){.rq = rq, .fd = fd, .size = v->size, .slashes = sw_opt(rq)->slashes};
    place_file(sw_opt(rq), json);
    size_t at = write_answer(sw_opt(rq), json, &text);
    buf_add(&s->head, text.data, at);
    buf_puts(&s->head, "\"");
    buf_puts(&s->tail, "\"");
    buf_puts(&s->tail, text.data + at);
    buf_free(&text);
    reply_clear(&rq->reply);
    rq->reply.status = 200;
    rq->reply.kind = BODY_STREAM;
    rq->reply.stream = send_some;
    rq->reply.stream_free = sending_free;
    rq->reply.stream_arg = s;
    reply_header(&rq->reply, "Content-Type", "application/json; charset=utf-8");
}

/* ---- the rate ---- */

/* "Error answers had none." */
void sw_tell_rate(struct request *rq)
{
    struct reply *reply = &rq->reply;
    int64_t retry_s = 0;
    if (!sw_visit(rq)->counted || reply->status != 200 || !sw_opt(rq)->rate_headers)
        return;
    int64_t left = sw_remaining(rq->emu, &rq->opt, &retry_s);
    int64_t window_s = sw_opt(rq)->rate_window_ms / 1000;
    reply_header(reply, "X-RateLimit-Limit", "%d", sw_opt(rq)->rate_limit);
    reply_header(reply, "X-RateLimit-Window-InSeconds", "%lld", (long long)window_s);
    reply_header(reply, "X-RateLimit-Window-InMinutes", "%lld", (long long)(window_s + 59) / 60);
    reply_header(reply, "X-RateLimit-Remaining", "%lld", (long long)left);
    reply_header(reply, "X-RateLimit-Retry-InSeconds", "%lld", (long long)retry_s);
    reply_header(reply, "X-RateLimit-OkToGo-InSeconds", "%lld", (long long)retry_s);
    if (left > 0)
        return;
    log_remember(rq->emu->log, "shapeways told", now_ms());
    log_remember(rq->emu->log, "shapeways until", now_ms() + retry_s * 1000);
}
