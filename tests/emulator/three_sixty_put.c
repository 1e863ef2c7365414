/* PUT /uploads/{upload_id}/{filename}: a whole file or one chunk of it. What is wrong with the
 * header is refused before the body; the bytes go straight to their place in the file, and count
 * when the body has ended well. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/emulator/three_sixty_call.h"

/* ---- the header ---- */

/* A number and what follows it; false if there is none, or it is beyond all files. */
static bool take_number(const char **text, uint64_t *out)
{
    char *end = NULL;
    if (!isdigit((unsigned char)**text))
        return false;
    errno = 0;
    *out = strtoull(*text, &end, 10);
    *text = end;
    return errno == 0 && *out < INT64_MAX;
}

static bool take_mark(const char **text, const char *mark)
{
    size_t len = strlen(mark);
    bool found = strncmp(*text, mark, len) == 0;
    *text += found ? len : 0;
    return found;
}

/* "bytes START-END/TOTAL", END inclusive. */
static bool take_range(const char *text, struct put *p)
{
    uint64_t last = 0;
    bool good = take_mark(&text, "bytes ") && take_number(&text, &p->start) &&
                take_mark(&text, "-") && take_number(&text, &last) && take_mark(&text, "/") &&
                take_number(&text, &p->total) && *text == '\0';
    p->end = last + 1;
    return good && p->start <= last && last < p->total;
}

static bool take_whole(struct request *rq, struct put *p, const char *length)
{
    p->whole = true;
    if (!take_number(&length, &p->total)) {
        request_breach(rq, "a whole file without Content-Length");
        three_sixty_error(rq, 411, "length_required");
        return false;
    }
    p->end = p->total;
    if (p->total > 0 || strcmp(opt_of(rq)->empty_files, "accepted") == 0)
        return true;
    three_sixty_error(rq, 411, "length_required");
    return false;
}

static bool take_lengths(struct request *rq, struct put *p)
{
    const char *range = request_header(rq, "Content-Range");
    const char *length = request_header(rq, "Content-Length");
    uint64_t n = 0;
    if (*range == '\0')
        return take_whole(rq, p, length);
    if (!take_range(range, p)) {
        request_breach(rq, "Content-Range \"%s\" is not bytes START-END/TOTAL", range);
        three_sixty_error(rq, 400, "invalid_content_range");
        return false;
    }
    if (!take_number(&length, &n) || n == p->end - p->start)
        return true;                    /* or chunked transfer coding: its end will tell */
    request_breach(rq, "%llu bytes are announced for %s", (unsigned long long)n, range);
    three_sixty_error(rq, 400, "chunk_length_mismatch");
    return false;
}

static bool judge_extension(struct request *rq, const char *name)
{
    const struct three_sixty_options *opt = opt_of(rq);
    const char *extension = three_sixty_extension(name);
    const char *dot = strcmp(opt->extension_form, "dot") == 0 ? "." : "";
    struct buf text = {0};
    if (three_sixty_listed(opt->allowed, extension))
        return true;
    buf_printf(&text, ",\"extension\":\"%s%s\",\"allowed\":[", *extension != '\0' ? dot : "",
               extension);
    for (const char *p = opt->allowed; *p != '\0';) {
        size_t len = strcspn(p, ",");
        buf_printf(&text, "%s\"%s%.*s\"", p == opt->allowed ? "" : ",", dot, (int)len, p);
        p += len + (p[len] == ',');
    }
    buf_puts(&text, "]");
    three_sixty_refuse(rq, 415, "extension_not_allowed", "%s", text.data);
    buf_free(&text);
    return false;
}

/* ---- the file that it is for ---- */

struct tally {
    const struct part *mine;
    bool               declared;
    uint64_t           sum;
};

static void add_other(const struct part *p, void *arg)
{
    struct tally *t = arg;
    if (p->num != t->mine->num)
        t->sum += t->declared ? p->total : p->received;
}

static bool within_limits(struct request *rq, const struct put *put, const struct part *p)
{
    const struct three_sixty_options *opt = opt_of(rq);
    struct tally t = {p, strcmp(opt->session_counts, "declared") == 0, 0};
    if (opt->file_max > 0 && put->total > (uint64_t)opt->file_max) {
        three_sixty_refuse(rq, 413, "file_too_large", ",\"limit\":%lld",
                           (long long)opt->file_max);
        return false;
    }
    if (opt->session_max == 0)
        return true;
    depot_parts(rq->emu->depot, visit_of(rq)->id, add_other, &t);
    if (t.sum + (t.declared ? put->total : put->end) <= (uint64_t)opt->session_max)
        return true;
    three_sixty_refuse(rq, 413, "session_too_large", ",\"limit\":%lld",
                       (long long)opt->session_max);
    return false;
}

static void refuse_gap(struct request *rq, struct part *p)
{
    three_sixty_refuse(rq, 409, "non_contiguous_chunk", ",\"received\":%llu",
                       (unsigned long long)p->received);
    p->told = p->received;
    if (p->num != 0)
        depot_put_part(rq->emu->depot, p);
}

static bool find_part(struct request *rq, struct part *p)
{
    const struct visit *v = visit_of(rq);
    return depot_part(rq->emu->depot, v->id, v->name,
                      strcmp(opt_of(rq)->name_case, "fold") == 0, p);
}

/* Takes the request for its file, a new one if need be; or refuses it. Locked. */
static void take_part(struct request *rq, struct put *put)
{
    struct part p = {0};
    bool found = find_part(rq, &p);
    if (!found) {
        snprintf(p.session, sizeof(p.session), "%s", visit_of(rq)->id);
        snprintf(p.name, sizeof(p.name), "%s", visit_of(rq)->name);
    }
    put->repeat = found && p.complete;
    put->differs = put->repeat && p.total != put->total;
    if (!put->repeat && found && p.listed && p.total != put->total) {
        request_breach(rq, "a total of %llu bytes, before it was %llu",
                       (unsigned long long)put->total, (unsigned long long)p.total);
        three_sixty_error(rq, 400, "invalid_content_range");
    } else if (!put->repeat && put->start > p.received) {
        if (put->start > p.told)
            request_breach(rq, "a gap: the chunk begins at %llu, %llu bytes were received",
                           (unsigned long long)put->start, (unsigned long long)p.received);
        refuse_gap(rq, &p);
    } else if (put->repeat || within_limits(rq, put, &p)) {
        if (!put->repeat) {
            p.total = put->total;
            depot_put_part(rq->emu->depot, &p);
        }
        put->part = p;
        put->taken = true;
    }
}

static void judge_circumstances(struct request *rq, const struct session *s)
{
    if (strcasecmp(rq->content_type, "application/octet-stream") != 0)
        request_breach(rq, "Content-Type \"%s\", not application/octet-stream", rq->content_type);
    if (s->state == SESSION_USED)
        request_breach(rq, "a PUT into the session that project %s was made of", s->project);
}

void three_sixty_begin_put(struct request *rq)
{
    struct visit *v = visit_of(rq);
    struct put *put = &v->put;
    struct session s;
    struct buf place = {0};
    if (!three_sixty_session(rq, v->id, &s))
        return;
    judge_circumstances(rq, &s);
    if (v->name[0] == '\0') {
        three_sixty_error(rq, 400, "invalid_filename");
        return;
    }
    if (!judge_extension(rq, v->name) || !take_lengths(rq, put))
        return;
    buf_printf(&place, "360 %s/", v->id);
    for (const char *p = v->name; *p != '\0'; p++)
        buf_printf(&place, "%c",
                   strcmp(opt_of(rq)->name_case, "fold") == 0 ? tolower((unsigned char)*p) : *p);
    if (!flight_begin(rq->emu->flights, &put->flight, rq, place.data))
        request_breach(rq, "a second PUT of this file at the same time");
    buf_free(&place);
    ledger_begin(rq->emu->depot);
    take_part(rq, put);
    ledger_commit(rq->emu->depot);
    if (!put->taken)
        return;
    put->fd = ledger_bytes(rq->emu->depot, put->part.bytes);
    struct stat st;
    if (put->fd < 0 || fstat(put->fd, &st) < 0)
        three_sixty_error(rq, 500, "server_error");
    else
        put->written = (uint64_t)st.st_size;
}

/* ---- the body ---- */

static bool same_at(int fd, const char *bytes, size_t len, uint64_t at)
{
    char piece[16384];
    for (size_t done = 0; done < len;) {
        size_t want = len - done < sizeof(piece) ? len - done : sizeof(piece);
        ssize_t n = pread(fd, piece, want, (off_t)(at + done));
        if (n <= 0 || memcmp(piece, bytes + done, (size_t)n) != 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

void three_sixty_put_body(struct request *rq, const char *bytes, size_t len)
{
    struct put *put = &visit_of(rq)->put;
    uint64_t at = put->start + put->got;
    put->got += len;
    if (at >= put->end)
        return;                         /* too long: the end will tell */
    if (len > put->end - at)
        len = (size_t)(put->end - at);
    if (put->repeat)
        put->differs = put->differs || !same_at(put->fd, bytes, len, at);
    else if (sparse_write(put->fd, &put->written, bytes, len, at) < 0)
        three_sixty_error(rq, 507, "server_error");
}

/* ---- the end ---- */

static void tell_progress(struct request *rq, const struct part *p)
{
    struct buf text = {0};
    buf_printf(&text, "{\"received\":%llu,\"total\":%llu,\"complete\":%s}\n",
               (unsigned long long)p->received, (unsigned long long)p->total,
               p->complete ? "true" : "false");
    reply_json(&rq->reply, 200, &text);
}

static void advance(struct request *rq, const struct put *put, struct part *p, uint64_t to)
{
    bool truncates = strcmp(opt_of(rq)->overlap, "truncate") == 0;
    if (truncates || to > p->received || !p->listed)
        p->received = to;
    p->listed = true;
    p->complete = p->received == p->total;
    if (p->complete && ftruncate(put->fd, (off_t)p->total) < 0)
        p->complete = false;
}

static void prolong(struct request *rq, struct session *s)
{
    if (strcmp(opt_of(rq)->expiry_from, "last_put") != 0)
        return;
    s->expires_at = now_ms() + opt_of(rq)->expires_s * 1000LL;
    depot_put_session(rq->emu->depot, s);
}

/* As the options have it, not all of a body may be kept. */
static uint64_t kept_end(struct request *rq, const struct put *put)
{
    unsigned every = (unsigned)opt_of(rq)->short_every;
    unsigned n = atomic_fetch_add(&rq->emu->three_sixty_puts, 1) + 1;
    return every > 0 && n % every == 0 ? put->start + (put->end - put->start) / 2 : put->end;
}

/* Locked. */
static void commit(struct request *rq, struct put *put)
{
    struct session s;
    struct part p;
    if (!three_sixty_session(rq, visit_of(rq)->id, &s))
        return;
    if (!find_part(rq, &p)) {
        three_sixty_error(rq, 404, "upload_session_not_found");
    } else if (p.complete) {
        if (put->differs)
            request_breach(rq, "another content for a file that is complete: it is ignored");
        tell_progress(rq, &p);
    } else if (put->start > p.received) {
        refuse_gap(rq, &p);             /* rewound meanwhile */
    } else {
        advance(rq, put, &p, kept_end(rq, put));
        p.told = p.received;
        depot_put_part(rq->emu->depot, &p);
        prolong(rq, &s);
        tell_progress(rq, &p);
    }
}

void three_sixty_finish_put(struct request *rq)
{
    struct put *put = &visit_of(rq)->put;
    put->finished = true;
    if (put->got != put->end - put->start) {
        request_breach(rq, "%llu bytes came for %llu to %llu", (unsigned long long)put->got,
                       (unsigned long long)put->start, (unsigned long long)put->end - 1);
        three_sixty_error(rq, 400, "chunk_length_mismatch");
        return;
    }
    ledger_begin(rq->emu->depot);
    commit(rq, put);
    ledger_commit(rq->emu->depot);
}

/* The client, or a fault, broke it off in the middle. */
static void keep_torn(struct request *rq, struct put *put)
{
    struct ledger *d = rq->emu->depot;
    struct session s;
    struct part p;
    uint64_t to = put->start + put->got < put->end ? put->start + put->got : put->end;
    bool keeps = strcmp(opt_of(rq)->torn, "keep") == 0;
    ledger_begin(d);
    if (depot_session(d, visit_of(rq)->id, &s) && three_sixty_alive(d, &s, now_ms()) &&
        find_part(rq, &p) && !p.complete && put->start <= p.received) {
        advance(rq, put, &p, keeps && to > p.received ? to : p.received);
        depot_put_part(d, &p);
    }
    ledger_commit(d);
}

void three_sixty_end_put(struct request *rq)
{
    struct put *put = &visit_of(rq)->put;
    bool torn = put->taken && !put->repeat && !put->finished && rq->dead && put->got > 0;
    if (torn && strcmp(opt_of(rq)->torn, "drop") != 0)
        keep_torn(rq, put);
    flight_end(rq->emu->flights, &put->flight);
    if (put->fd >= 0)
        close(put->fd);
    put->fd = -1;
}
