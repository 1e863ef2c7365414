/* Upload sessions at the storage host, as Google Cloud Storage's resumable uploads. What is wrong
 * with the header is refused before the body; the bytes go straight to their place, and what of
 * them is kept when a PUT breaks off is a multiple of 256 KiB. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/emulator/sharemy3d_call.h"
#include "tests/emulator/sharemy3d_runs.h"
#include "tests/emulator/sign.h"
#include "tests/emulator/signed.h"
#include "tests/emulator/storage.h"

#define SAVE_EVERY ((uint64_t)8 * 1024 * 1024)  /* so much of a PUT may a kill of ours lose */

/* ---- sessions ---- */

bool sm3d_session_lives(const struct option_values *opt, const struct sm3d_session *s, int *status)
{
    bool from_put = strcmp(opt->sm3d.session_from, "last_put") == 0;
    int64_t end = (from_put ? s->touched : s->created) + opt->sm3d.session_s * 1000LL;
    if (s->state == SM3D_BROKEN || s->state == SM3D_CANCELLED) {
        *status = s->state == SM3D_BROKEN ? s->broken : 410;
        return false;
    }
    *status = 404;
    return s->state == SM3D_DONE || now_ms() < end;
}

void sm3d_session_url(const struct emulator *emu, const struct sm3d_item *item,
                      const struct sm3d_session *s, struct buf *out)
{
    buf_puts(out, emu->ports[PORT_STORAGE].url);
    if (s->json) {
        buf_puts(out, "/" SHAREMY3D_JSON "/o?uploadType=resumable&name=");
        signed_encode(item->key, out);
        buf_printf(out, "&upload_id=%s", s->id);
    } else {
        sm3d_object_path(item, out);
        buf_printf(out, "?upload_id=%s", s->id);
    }
}

void sm3d_open_session(struct request *rq, const struct sm3d_item *item, struct buf *url)
{
    struct sm3d_session s = {.created = now_ms(), .touched = now_ms(), .total = item->size};
    char hex[3][33];
    for (int i = 0; i < 3; i++)
        sign_random_hex(hex[i]);
    s.json = strcmp(sm3d_opt(rq)->resumable_form, "json") == 0;
    snprintf(s.id, sizeof(s.id), "ABg5-U%s_%s-%s", hex[0], hex[1], hex[2]);
    snprintf(s.item, sizeof(s.item), "%s", item->id);
    sign_random_hex(s.bytes);
    stock_put_session(sm3d_stock(rq), &s);
    sm3d_session_url(rq->emu, item, &s, url);
}

static void finish_start(struct request *rq)
{
    struct sm3d_visit *v = sm3d_visit(rq);
    struct buf url = {0};
    if (v->put.got > 0)
        request_breach(rq, "a body, where a session is only opened");
    if (v->item.num == 0) {
        storage_error(rq, 404, "NoSuchKey");
        return;
    }
    sm3d_open_session(rq, &v->item, &url);
    rq->reply.status = 201;
    reply_header(&rq->reply, "Location", "%s", url.data);
    buf_free(&url);
}

/* The signature has covered "x-goog-resumable: start". */
void sm3d_begin_start(struct request *rq)
{
    rq->endpoint = "session_start";
    sm3d_visit(rq)->finish = finish_start;
    sm3d_mark_used(rq);
}

/* Errors are text where the JSON API has opened the session. */
static void session_error(struct request *rq, const struct sm3d_session *s, int status,
                          const char *code)
{
    storage_error(rq, status, code);
    if (!s->json)
        return;
    reply_clear(&rq->reply);
    rq->reply.status = status;
    buf_printf(&rq->reply.memory, "%s", code);
    reply_header(&rq->reply, "Content-Type", "text/plain; charset=utf-8");
}

static void invalid(struct request *rq, const char *what)
{
    request_breach(rq, "%s: Content-Range \"%s\"", what, request_header(rq, "Content-Range"));
    session_error(rq, &sm3d_visit(rq)->put.session, 400, "InvalidArgument");
}

/* ---- the header ---- */

/* A number, or the star: then *known is false. */
static bool take_number(const char **text, uint64_t *out, bool *known)
{
    char *end = NULL;
    *known = **text != '*';
    if (!*known) {
        (*text)++;
        return true;
    }
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

/* "bytes A-B/TOTAL", "bytes A-B/STAR", "bytes STAR/TOTAL"; the libraries of Google also send
 * "bytes A-STAR/TOTAL" with a body of any length. */
static bool take_range(const char *text, struct sm3d_put *p)
{
    uint64_t last = 0;
    bool start_known = false;
    if (!take_mark(&text, "bytes ") || !take_number(&text, &p->start, &start_known))
        return false;
    p->query = !start_known;
    if (start_known && (!take_mark(&text, "-") || !take_number(&text, &last, &p->end_known)))
        return false;
    p->end = last + 1;
    if (!take_mark(&text, "/") || !take_number(&text, &p->total, &p->total_known) || *text != '\0')
        return false;
    if (p->end_known && (p->start > last || (p->total_known && last >= p->total)))
        return false;
    if (start_known && !p->end_known && p->total_known) {
        p->end = p->total;
        p->end_known = true;
        return p->start < p->total;
    }
    return true;
}

/* Without a Content-Range the body is the whole. */
static bool take_header(struct request *rq, struct sm3d_put *p)
{
    const char *range = request_header(rq, "Content-Range");
    const char *length = request_header(rq, "Content-Length");
    uint64_t len = 0;
    bool known = false;
    bool counted = *length != '\0' && take_number(&length, &len, &known) && known;
    if (*range == '\0') {
        p->end_known = p->total_known = counted;
        p->end = p->total = len;
    } else if (!take_range(range, p)) {
        invalid(rq, "not as it should be");
    } else if (p->query && !counted) {
        request_breach(rq, "a status query without Content-Length: 0");
        session_error(rq, &p->session, 411, "MissingContentLength");
    } else if (p->query && len > 0) {
        invalid(rq, "a status query with a body");
    } else if (p->end_known && counted && len != p->end - p->start) {
        invalid(rq, "another length is announced");
    }
    return rq->reply.status == 0;
}

/* ---- the session that it is for ---- */

/* PUTs side by side may all find it dead before the client knows. A query may always ask. */
static void judge_dead(struct request *rq, const struct sm3d_session *s)
{
    struct buf key = {0};
    int64_t now = now_ms();
    buf_printf(&key, "sm3d dead %s", s->id);
    int64_t first = log_recall(rq->emu->log, key.data);
    if (first != 0 && now > first + NEWS_MS && strcmp(rq->endpoint, "session_put") == 0)
        request_breach(rq, "a PUT into a session that was said to be dead");
    if (first == 0)
        log_remember(rq->emu->log, key.data, now);
    buf_free(&key);
}

static bool judge_life(struct request *rq, const struct sm3d_session *s)
{
    int status = 0;
    if (sm3d_session_lives(&rq->opt, s, &status))
        return true;
    judge_dead(rq, s);
    session_error(rq, s, status, status == 410 ? "Gone" : "NoSuchUpload");
    return false;
}

/* The URI is the right to write, and good only as it was given out. */
static bool judge_uri(struct request *rq, const struct sm3d_session *s)
{
    struct buf url = {0};
    struct sm3d_item item;
    if (!stock_item_any(sm3d_stock(rq), s->item, &item))
        return true;                    /* deleted: nothing to compare with */
    sm3d_session_url(rq->emu, &item, s, &url);
    size_t len = strlen(rq->emu->ports[PORT_STORAGE].url);
    bool same = strcmp(url.data + len, rq->target) == 0;
    buf_free(&url);
    if (same)
        return true;
    request_breach(rq, "the session URI is not as it was given out");
    session_error(rq, s, 400, "InvalidArgument");
    return false;
}

static bool find_session(struct request *rq, struct sm3d_session *s)
{
    struct buf id = {0};
    request_query(rq, "upload_id", &id);
    bool found = stock_session(sm3d_stock(rq), id.data, s);
    buf_free(&id);
    if (!found) {
        request_breach(rq, "an upload_id that was never given out");
        session_error(rq, s, 404, "NoSuchUpload");
        return false;
    }
    return judge_uri(rq, s) && judge_life(rq, s);
}

/* ---- answers ---- */

static void answer_done(struct request *rq, const struct sm3d_session *s)
{
    struct sm3d_item item;
    struct buf text = {0};
    bool found = stock_item_any(sm3d_stock(rq), s->item, &item);
    reply_clear(&rq->reply);
    if (found && s->json) {
        sm3d_object_json(&item, &text);
        reply_json(&rq->reply, sm3d_opt(rq)->final_status, &text);
    } else {
        rq->reply.status = sm3d_opt(rq)->final_status;
    }
    if (!found)
        return;
    sm3d_object_headers(rq, &item);
    if (!s->json)
        reply_header(&rq->reply, "ETag", "\"%s\"", item.object.sums.md5_hex);
}

/* Not a redirect: there is no Location. */
static void answer_incomplete(struct request *rq, struct sm3d_session *s)
{
    reply_clear(&rq->reply);
    rq->reply.status = 308;
    if (s->received > 0)
        reply_header(&rq->reply, "Range", "bytes=0-%llu", (unsigned long long)s->received - 1);
    s->told = s->received > s->told ? s->received : s->told;
    stock_put_session(sm3d_stock(rq), s);
}

static void refuse_gap(struct request *rq, const struct sm3d_put *p)
{
    const struct sm3d_session *s = &p->session;
    if (p->start > s->told)
        request_breach(rq, "a gap: it begins at %llu, %llu bytes are kept",
                       (unsigned long long)p->start, (unsigned long long)s->received);
    reply_clear(&rq->reply);
    rq->reply.status = 503;
    buf_printf(&rq->reply.memory,
               "Invalid request.  According to the Content-Range header, the upload offset is %llu "
               "byte(s), which exceeds already uploaded size of %llu byte(s).",
               (unsigned long long)p->start, (unsigned long long)s->received);
    reply_header(&rq->reply, "Content-Type", "text/plain; charset=utf-8");
}

/* ---- the whole ---- */

static int sum_up(struct sm3d_put *p, uint64_t total, struct sums *sums)
{
    if (p->run == NULL || sums_run_size(p->run) != total)
        return sums_of(p->fd, total, sums);
    sums_run_end(p->run, sums);
    p->run = NULL;
    return 0;
}

/* The session is complete: its bytes become the item's object. The lock is not held while gigabytes
 * are read. */
static void finalise(struct request *rq, struct sm3d_put *p, uint64_t total)
{
    struct ledger *stock = sm3d_stock(rq);
    struct sm3d_session s = p->session;
    struct sm3d_item item;
    struct sums sums;
    if (ftruncate(p->fd, (off_t)total) < 0 || sum_up(p, total, &sums) < 0) {
        session_error(rq, &s, 500, "InternalError");
        return;
    }
    if (!sm3d_judge_hashes(rq, &sums))
        return;
    ledger_begin(stock);
    if (stock_session(stock, s.id, &s) && s.state == SM3D_OPEN) {
        if (store_adopt(rq->emu->store, ledger_folder(stock), s.bytes) == 0 &&
            stock_item_any(stock, s.item, &item))
            sm3d_make_object(rq->emu, &rq->opt, &item, total > 0 ? s.bytes : "", total, &sums);
        s.state = SM3D_DONE;
        s.told = s.received;
        stock_put_session(stock, &s);
    }
    ledger_commit(stock);
    ledger_drop_bytes(stock, s.bytes);
    answer_done(rq, &s);
}

/* ---- asking and cancelling ---- */

static bool open_bytes(struct request *rq, struct sm3d_put *p)
{
    struct stat st;
    p->fd = ledger_bytes(sm3d_stock(rq), p->session.bytes);
    if (p->fd < 0 || fstat(p->fd, &st) < 0) {
        session_error(rq, &p->session, 500, "InternalError");
        return false;
    }
    p->written = (uint64_t)st.st_size;
    return true;
}

static void finish_query(struct request *rq)
{
    struct sm3d_put *p = &sm3d_visit(rq)->put;
    struct sm3d_session s;
    bool whole = false;
    if (p->got > 0)
        invalid(rq, "a status query with a body");
    ledger_begin(sm3d_stock(rq));
    stock_session(sm3d_stock(rq), p->session.id, &s);
    whole = s.state == SM3D_OPEN && p->total_known && p->total == s.received;
    if (rq->reply.status == 0 && s.state == SM3D_DONE)
        answer_done(rq, &s);
    else if (rq->reply.status == 0 && !whole && judge_life(rq, &s))
        answer_incomplete(rq, &s);
    ledger_commit(sm3d_stock(rq));
    p->session = s;
    if (rq->reply.status == 0 && open_bytes(rq, p))
        finalise(rq, p, p->total);
}

static void finish_cancel(struct request *rq)
{
    struct sm3d_session s = sm3d_visit(rq)->put.session;
    if (s.state == SM3D_OPEN) {
        s.state = SM3D_CANCELLED;
        stock_put_session(sm3d_stock(rq), &s);
        ledger_drop_bytes(sm3d_stock(rq), s.bytes);
    }
    rq->reply.status = 499;             /* which means that it was done */
}

/* ---- bytes ---- */

static bool is_last(const struct sm3d_put *p)
{
    return !p->end_known || (p->total_known && p->end == p->total);
}

/* Every chunk but the last is a multiple; the total is the one that was announced. */
static bool judge_chunk(struct request *rq, struct sm3d_put *p)
{
    const struct sm3d_session *s = &p->session;
    if (p->total_known && p->total != s->total) {
        request_breach(rq, "a total of %llu bytes, %llu were announced",
                       (unsigned long long)p->total, (unsigned long long)s->total);
        session_error(rq, s, 400, "InvalidArgument");
        return false;
    }
    if (is_last(p) || (p->end - p->start) % GRANULE == 0)
        return true;
    request_breach(rq, "a chunk of %llu bytes is no multiple of 256 KiB, and not the last",
                   (unsigned long long)(p->end - p->start));
    if (strcmp(sm3d_opt(rq)->odd_chunk, "rounded") == 0)
        return true;
    session_error(rq, s, 400, "InvalidArgument");
    return false;
}

void sm3d_session_body(struct request *rq, const char *bytes, size_t len)
{
    struct sm3d_put *p = &sm3d_visit(rq)->put;
    uint64_t at = p->start + p->got - len;
    uint64_t kept = p->session.received;
    if (!p->taken)
        return;
    if (at < kept) {                    /* those are ignored */
        uint64_t skip = kept - at < len ? kept - at : len;
        bytes += skip;
        len -= (size_t)skip;
        at += skip;
    }
    if (p->end_known && at + len > p->end)
        len = at < p->end ? (size_t)(p->end - at) : 0;
    if (len == 0)
        return;
    if (p->run != NULL)
        sums_run_add(p->run, bytes, len);
    if (sparse_write(p->fd, &p->written, bytes, len, at) < 0) {
        session_error(rq, &p->session, 500, "InternalError");
        return;
    }
    uint64_t granules = (at + len) / GRANULE * GRANULE;
    if (granules < p->saved + SAVE_EVERY || strcmp(sm3d_opt(rq)->torn, "drop") == 0)
        return;
    struct sm3d_session s;
    ledger_begin(sm3d_stock(rq));
    if (stock_session(sm3d_stock(rq), p->session.id, &s) && s.state == SM3D_OPEN &&
        s.received < granules) {
        s.received = granules;
        stock_put_session(sm3d_stock(rq), &s);
    }
    ledger_commit(sm3d_stock(rq));
    p->saved = granules;
}

/* As the options have it, not all of a body may be kept. */
static uint64_t kept_end(struct request *rq, const struct sm3d_put *p)
{
    uint64_t end = p->start + p->got;
    unsigned every = (unsigned)sm3d_opt(rq)->short_every;
    unsigned n = atomic_fetch_add(&rq->emu->sharemy3d_puts, 1) + 1;
    if (every > 0 && n % every == 0)
        return (p->start + p->got / 2) / GRANULE * GRANULE;
    return is_last(p) ? end : end / GRANULE * GRANULE;
}

/* Locked. True: all is there. */
static bool advance(struct request *rq, struct sm3d_put *p, uint64_t *total)
{
    struct sm3d_session s;
    if (!stock_session(sm3d_stock(rq), p->session.id, &s) || !judge_life(rq, &s))
        return false;
    p->session = s;
    if (s.state == SM3D_DONE) {
        answer_done(rq, &s);
        return false;
    }
    if (p->start > s.received) {        /* rewound meanwhile */
        refuse_gap(rq, p);
        return false;
    }
    uint64_t to = kept_end(rq, p);
    *total = p->total_known ? p->total : is_last(p) ? p->start + p->got : UINT64_MAX;
    s.received = to > s.received ? to : s.received;
    s.touched = now_ms();
    s.puts++;
    stock_put_session(sm3d_stock(rq), &s);
    p->session = s;
    if (s.received == *total)
        return true;
    answer_incomplete(rq, &s);
    return false;
}

static void finish_put(struct request *rq)
{
    struct sm3d_put *p = &sm3d_visit(rq)->put;
    uint64_t total = 0;
    p->finished = true;
    if (p->end_known && p->got != p->end - p->start) {
        invalid(rq, "the body has another length");
        return;
    }
    ledger_begin(sm3d_stock(rq));
    bool whole = advance(rq, p, &total);
    ledger_commit(sm3d_stock(rq));
    if (whole)
        finalise(rq, p, total);
}

/* The client, or a fault, broke it off in the middle. */
static void keep_torn(struct request *rq, struct sm3d_put *p)
{
    struct sm3d_session s;
    uint64_t to = p->start + p->got;
    to = p->end_known && to > p->end ? p->end : to;
    if (strcmp(sm3d_opt(rq)->torn, "bytes") != 0)
        to = to / GRANULE * GRANULE;
    ledger_begin(sm3d_stock(rq));
    if (stock_session(sm3d_stock(rq), p->session.id, &s) && s.state == SM3D_OPEN &&
        p->start <= s.received && to > s.received) {
        s.received = to;
        s.touched = now_ms();
        stock_put_session(sm3d_stock(rq), &s);
    }
    ledger_commit(sm3d_stock(rq));
}

void sm3d_session_end(struct request *rq)
{
    struct sm3d_put *p = &sm3d_visit(rq)->put;
    if (p->taken && p->fd >= 0 && !p->finished && rq->dead &&
        strcmp(sm3d_opt(rq)->torn, "drop") != 0)
        keep_torn(rq, p);
    runs_give(rq->emu->runs, p->session.id, p->run);
    p->run = NULL;
}

/* ---- the beginning ---- */

static void begin_put(struct request *rq, struct sm3d_put *p)
{
    struct buf place = {0};
    sm3d_visit(rq)->finish = finish_put;
    buf_printf(&place, "sm3d %s", p->session.id);
    if (!flight_begin(rq->emu->flights, &p->flight, rq, place.data))
        request_breach(rq, "a second PUT to this session at the same time");
    buf_free(&place);
    stock_session(sm3d_stock(rq), p->session.id, &p->session);  /* the one before may be news */
    if (p->session.state == SM3D_DONE)
        return;                         /* the end tells so */
    if (!judge_chunk(rq, p))
        return;
    if (p->start > p->session.received)
        refuse_gap(rq, p);
    else
        p->taken = open_bytes(rq, p);
    if (p->taken)
        p->run = runs_take(rq->emu->runs, p->session.id, p->session.received);
    p->saved = p->session.received;
}

void sm3d_begin_session(struct request *rq)
{
    struct sm3d_visit *v = sm3d_visit(rq);
    struct sm3d_put *p = &v->put;
    const char *range = request_header(rq, "Content-Range");
    bool cancel = strcmp(rq->method, "DELETE") == 0;
    bool query = strncmp(range, "bytes *", 7) == 0;
    rq->endpoint = cancel ? "session_cancel" : query ? "session_query" : "session_put";
    if (!find_session(rq, &p->session))
        return;
    sm3d_mark_used(rq);
    if (cancel) {
        v->finish = finish_cancel;
        return;
    }
    if (!take_header(rq, p))
        return;
    v->finish = finish_query;
    if (!p->query)
        begin_put(rq, p);
}
