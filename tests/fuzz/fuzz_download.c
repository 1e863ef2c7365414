/* A download (pm_fetch) whose every answer is the fuzzer's: what reaches the sink is in order, within
 * what was asked for, of one version, and ends once.
 *
 * Input: "OFF LEN SIZE" (SIZE 0: unknown), then answers, each after a `~`:
 *   STATUS HOW ...    one letter each
 *   STATUS  2: 200, 6: 206, 3: a redirect, 1: 401, 4: 404, 5: 503, 9: 429, x: the connection breaks,
 *           other: 418
 *   HOW     h, H: an honest server with content A or B; the next letter says how much of the answer
 *           comes (in sixteenths) before it breaks; else: lines for the headers below, then the body
 * Without another answer the connection cannot be made. */
#include "backends/http.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>

enum { MOST = 1 << 16 };

static const char *const names[] = {"Content-Range", "Content-Length",   "ETag",
                                    "Last-Modified", "Content-Encoding", "Content-Type"};

struct pm_net {
    struct pm_conf conf;
    const uint8_t *data; /* what is left of the input */
    size_t         size;
    bool           honest; /* all answers were, so far */
    char           content; /* A or B, of the first that was honest */
    uint64_t       length; /* of both contents */
    char           headers[PM_COUNT(names)][256]; /* of this answer */
    /* what waits for the loop: an exchange or a call */
    const struct pm_http_events *events;
    void (*deferred)(void *arg);
    void    *arg;
    uint64_t from, to; /* the range asked for; to: exclusive */
    /* the sink */
    bool     begun;
    unsigned done;
    int      err;
    uint64_t off, pos, total;
};

static struct pm_net net; /* set up anew for each input: a fake pm_http_head has no other way to it */

static uint8_t byte_at(uint64_t i, char content)
{
    return (uint8_t)(i * 31 + (i >> 8) + (uint8_t)content);
}

static const char *fake_header(const struct pm_http_head *head, const char *name)
{
    (void)head;
    for (size_t i = 0; i < PM_COUNT(names); i++)
        if (!strcmp(names[i], name))
            return net.headers[i];
    return "";
}

static void fake_start(struct pm_net *n, const struct pm_http_request *req,
                       const struct pm_http_events *ev, void *arg, const atomic_bool *cancel,
                       int64_t deadline_ms, int64_t not_before_ms)
{
    unsigned long long from = 0, to = 0;
    int                got = sscanf(req->headers[0], "Range: bytes=%llu-%llu", &from, &to);

    (void)cancel, (void)deadline_ms, (void)not_before_ms;
    CHECK(!n->events && !n->deferred && !n->done); /* one at a time, none after the end */
    CHECK(got >= 1 && (got == 1 || to >= from));
    CHECK(!n->begun || from == n->pos);
    n->events = ev;
    n->arg = arg;
    n->from = from;
    n->to = got == 2 ? to + 1 : UINT64_MAX;
}

static bool fake_defer(struct pm_net *n, void (*fn)(void *arg), void *arg)
{
    CHECK(!n->events && !n->deferred && !n->done);
    n->deferred = fn;
    n->arg = arg;
    return true;
}

static int fake_locate(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                       struct pm_location *loc)
{
    (void)ctx, (void)e;
    free(loc->auth);
    loc->auth = b->net->length % 2 ? strdup("Authorization: Bearer fuzz") : NULL;
    loc->auth_origin = loc->auth ? strdup("https://example.org") : NULL;
    loc->url = strdup("https://example.org/content");
    return 0;
}

static const struct pm_conf *fake_conf(const struct pm_net *n)
{
    return &n->conf;
}

static int64_t fake_hold(struct pm_net *n, const char *url)
{
    (void)n, (void)url;
    return 0;
}

#define pm_http_header    fake_header
#define pm_http_start     fake_start
#define pm_http_hold_ms   fake_hold
#define pm_net_defer      fake_defer
#define pm_net_conf       fake_conf
#define pm_backend_locate fake_locate
#include "backends/fetch.c"

/* --- the sink */

static int sink_begin(void *arg, const struct pm_answer *a)
{
    struct pm_net *n = arg;

    CHECK(!n->begun && !n->done && a->validator);
    CHECK(a->off == n->off || a->off == 0);
    n->begun = true;
    n->pos = a->off;
    n->total = a->total;
    return 0;
}

static int sink_data(void *arg, const void *buf, size_t len)
{
    struct pm_net *n = arg;

    CHECK(n->begun && !n->done && len > 0);
    CHECK(n->total == PM_SIZE_UNKNOWN || len <= n->total - n->pos);
    for (size_t i = 0; n->honest && i < len; i++)
        CHECK(((const uint8_t *)buf)[i] == byte_at(n->pos + i, n->content));
    n->pos += len;
    return 0;
}

static void sink_done(void *arg, int err, const char *why)
{
    struct pm_net *n = arg;

    CHECK(err <= 0 && why && strlen(why) < 256);
    n->done++;
    n->err = err;
}

/* --- the server */

/* An honest answer of what was asked for. */
static void honest_headers(uint64_t from, uint64_t to, long status, char content)
{
    memset(net.headers, 0, sizeof(net.headers));
    snprintf(net.headers[0], 256, "bytes %llu-%llu/%llu", (unsigned long long)from,
             (unsigned long long)to - 1, (unsigned long long)net.length);
    snprintf(net.headers[1], 256, "%llu", (unsigned long long)(to - from));
    snprintf(net.headers[2], 256, "\"%c\"", content);
    if (status == 200)
        net.headers[0][0] = '\0';
}

static void raw_headers(const uint8_t **data, size_t *size)
{
    memset(net.headers, 0, sizeof(net.headers));
    for (size_t i = 0; i < PM_COUNT(names); i++) {
        size_t         len = 0;
        const uint8_t *line = fuzz_piece(data, size, '\n', &len);

        if (line)
            snprintf(net.headers[i], 256, "%.*s", (int)len, (const char *)line);
    }
}

static int give(const struct pm_http_events *ev, void *arg, const uint8_t *bytes, size_t len)
{
    int err = 0;

    for (size_t at = 0, n; at < len && !err; at += n) {
        n = len - at < 1000 ? len - at : 1000;
        PM_AUTO(free) char *exact = fuzz_bytes(bytes + at, n);

        err = ev->data(arg, exact, n);
    }
    return err;
}

static long status_of(uint8_t letter)
{
    static const char letters[] = "263145" "9x";
    static const long statuses[] = {200, 206, 302, 401, 404, 503, 429, 0};
    const char       *at = letter ? strchr(letters, letter) : NULL;

    return at ? statuses[at - letters] : 418;
}

static int answer_honestly(const struct pm_http_events *ev, void *arg, long status, char content,
                           uint8_t part)
{
    static uint8_t      bytes[MOST];
    struct pm_http_head head = {.status = status};
    uint64_t            from = status == 200 ? 0 : net.from;
    uint64_t            to = status == 200 || net.to > net.length ? net.length : net.to;
    int                 err;

    if (!net.begun)
        net.content = content;
    honest_headers(from, to, status, content);
    for (uint64_t i = from; i < to; i++)
        bytes[i - from] = byte_at(i, content);
    err = ev->head(arg, &head);
    part %= 17;
    if (!err)
        err = give(ev, arg, bytes, (size_t)((to - from) * part / 16));
    return err ? err : part < 16 ? -ECONNRESET : 0;
}

static int answer_anyhow(const struct pm_http_events *ev, void *arg, long status,
                         const uint8_t *data, size_t size)
{
    struct pm_http_head head = {.status = status};
    int                 err;

    net.honest = net.honest && status != 200 && status != 206;
    raw_headers(&data, &size);
    if (status == 302)
        head.redirect = "https://elsewhere.example/?signature=1";
    err = ev->head(arg, &head);
    if (!err)
        err = give(ev, arg, data, size);
    return err;
}

static void exchange(void)
{
    const struct pm_http_events *ev = net.events;
    void                        *arg = net.arg;
    size_t                       len = 0;
    const uint8_t               *piece = fuzz_piece(&net.data, &net.size, '~', &len);
    struct pm_http_end           end = {.err = -ECONNREFUSED, .why = ""};
    bool                         honest, content;

    net.events = NULL;
    end.status = piece && len > 1 ? status_of(piece[0]) : 0;
    content = end.status == 200 || end.status == 206;
    honest = content && (piece[1] | 0x20) == 'h' && (end.status == 200 || net.from < net.length);
    if (honest)
        end.err = answer_honestly(ev, arg, end.status, piece[1] == 'h' ? 'A' : 'B',
                                  len > 2 ? piece[2] : 16);
    else if (end.status)
        end.err = answer_anyhow(ev, arg, end.status, piece + 1, len - 1);
    if (!end.err && end.status)
        end.err = pm_http_judge_status(end.status).err;
    end.retry = piece && (end.err == -ECONNRESET || pm_http_judge_status(end.status).retry);
    ev->done(arg, &end);
}

static void run_loop(void)
{
    while (!net.done) {
        if (net.events) {
            exchange();
        } else {
            void (*fn)(void *arg) = net.deferred;

            CHECK(fn); /* nothing would ever happen again */
            net.deferred = NULL;
            fn(net.arg);
        }
    }
    CHECK(net.done == 1 && !net.events && !net.deferred);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct pm_backend_ops ops = {.type = "fuzz", .locate = fake_locate};
    static const struct pm_sink        sink = {sink_begin, sink_data, sink_done};
    struct pm_backend                  b = {.ops = &ops, .net = &net};
    struct pm_entry                    e = {.size = PM_SIZE_UNKNOWN};
    struct pm_source                  *s = NULL;
    unsigned                           off = 0, len = 0, told = 0;
    size_t                             line_len = 0;
    const uint8_t                     *piece = fuzz_piece(&data, &size, '~', &line_len);
    PM_AUTO(free) char                *line = fuzz_text(piece, line_len);

    if (sscanf(line, "%4u %4u %4u", &off, &len, &told) < 2)
        return 0;
    off %= MOST / 4; /* %4u takes signs */
    len %= MOST / 4;
    told %= MOST / 4;
    len += len == 0;
    net = (struct pm_net){.data = data, .size = size, .honest = true, .off = off};
    net.length = told ? told : 9000;
    if (told)
        e.size = told;
    CHECK(pm_source_open(&b, &e, &s) == 0);
    pm_fetch(s, off, len, off % 2 ? PM_BACKGROUND : PM_INTERACTIVE, NULL, &sink, &net);
    run_loop();
    if (!net.err && net.honest) {
        CHECK(net.begun);
        CHECK(net.pos >= (off + len < net.length ? off + len : net.length));
    }
    pm_source_close(s);
    return 0;
}
