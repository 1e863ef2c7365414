#include "backends/http.h"
#include "tests/unit/server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define SIZE 100000
#define CROWD 12 /* ranges that are wanted at once */

/* --- a service that only locates */

struct place {
    struct pm_backend base;
    char              url[128];
    const char       *token; /* of the last location */
    const char       *origin; /* NULL: locations carry no token */
    int64_t           life_ms; /* 0: it is not told */
    struct server    *crowd; /* another location is given when it was asked this often; NULL: at once */
    int               fails; /* what another location is then; 0: given */
    atomic_uint       located;
};

static int place_locate(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                        struct pm_location *loc)
{
    struct place *p = container_of(b, struct place, base);

    (void)e;
    p->located++;
    if (p->crowd && p->located > 1) {
        for (int i = 0; i < 500 && server_requests(p->crowd) < CROWD; i++)
            usleep(10000);
        usleep(200000); /* the last answers arrive, too */
        snprintf(ctx->why, sizeof(ctx->why), "not now");
        if (p->fails)
            return p->fails;
    }
    free(loc->auth);
    loc->auth = NULL;
    loc->url = pm_asprintf("%s?n=%u", p->url, p->located);
    loc->expires_ms = p->life_ms ? pm_now_ms() + p->life_ms : 0;
    if (p->origin) {
        loc->auth = pm_asprintf("Authorization: Bearer %s%s", p->token, loc->anew ? "-new" : "");
        loc->auth_origin = strdup(p->origin);
    }
    return 0;
}

static const struct pm_backend_ops place_ops = {.type = "place", .locate = place_locate};

/* --- a sink that keeps what it gets */

struct kept {
    pthread_mutex_t lock;
    pthread_cond_t  over;
    struct pm_buf   bytes;
    uint64_t        off, total;
    char            validator[64], digest[64], why[256];
    unsigned        begun;
    unsigned        done;
    int             err;
    size_t          stop_at; /* bytes after which it has enough; 0: never */
};

static int kept_begin(void *arg, const struct pm_answer *answer)
{
    struct kept *k = arg;

    k->begun++;
    k->off = answer->off;
    k->total = answer->total;
    snprintf(k->validator, sizeof(k->validator), "%s", answer->validator);
    snprintf(k->digest, sizeof(k->digest), "%s", answer->digest);
    return 0;
}

static int kept_data(void *arg, const void *buf, size_t len)
{
    struct kept *k = arg;

    assert_int_equal(k->done, 0);
    pm_buf_add(&k->bytes, buf, len);
    return k->stop_at && k->bytes.len >= k->stop_at ? -EINTR : 0;
}

static void kept_done(void *arg, int err, const char *why)
{
    struct kept *k = arg;

    PM_GUARD(&k->lock);
    snprintf(k->why, sizeof(k->why), "%s", why);
    k->err = err;
    k->done++;
    pthread_cond_signal(&k->over);
}

static const struct pm_sink sink = {kept_begin, kept_data, kept_done};

struct world {
    struct pm_conf    conf;
    struct pm_net    *net;
    struct server    *server, *other;
    struct place      place;
    struct pm_source *source;
    struct kept       kept;
    const atomic_bool *cancel;
};

static char content[SIZE];

static void up(struct world *w, server_fn *answer, server_fn *elsewhere)
{
    struct pm_entry e = {.kind = PM_FILE, .root = "", .id = "1", .name = "n", .path = "n",
                         .target = "", .version = "", .state = "", .size = SIZE};

    for (size_t i = 0; i < SIZE; i++)
        content[i] = (char)(i * 31 + i / 253);
    w->conf.op_timeout_ms = 5000;
    w->server = server_start(answer, w);
    if (elsewhere)
        w->other = server_start(elsewhere, w);
    assert_int_equal(pm_net_open(&w->conf, &w->net), 0);
    w->place.base.ops = &place_ops;
    w->place.base.net = w->net;
    w->place.token = "s3cret";
    w->place.origin = server_url(w->server);
    snprintf(w->place.url, sizeof(w->place.url), "%s/content", server_url(w->server));
    assert_int_equal(pm_source_open(&w->place.base, &e, &w->source), 0);
    pthread_mutex_init(&w->kept.lock, NULL);
    pm_cond_init(&w->kept.over);
}

static void down(struct world *w)
{
    pm_net_close(w->net);
    pm_source_close(w->source);
    server_stop(w->server);
    if (w->other)
        server_stop(w->other);
    pm_buf_free(&w->kept.bytes);
}

static int get(struct world *w, uint64_t off, uint64_t len)
{
    struct kept *k = &w->kept;

    pm_buf_free(&k->bytes);
    k->begun = k->done = 0;
    pm_fetch(w->source, off, len, PM_INTERACTIVE, w->cancel, &sink, k);
    PM_GUARD(&k->lock);
    while (!k->done)
        pthread_cond_wait(&k->over, &k->lock);
    assert_int_equal(k->done, 1);
    return k->err;
}

static void assert_content(const struct world *w, uint64_t off, size_t len)
{
    assert_int_equal(w->kept.begun, 1);
    assert_int_equal(w->kept.off, off);
    assert_int_equal(w->kept.bytes.len, len);
    assert_memory_equal(w->kept.bytes.ptr, content + off, len);
}

/* --- answers */

static bool range_of(const struct server_request *req, size_t *first, size_t *last)
{
    const char *range = strstr(req->head, "\r\nRange: bytes=");

    *first = 0;
    *last = SIZE - 1;
    return range && sscanf(range, "\r\nRange: bytes=%zu-%zu", first, last) >= 1;
}

/* Sends [first, last], of which only `len` bytes come. */
static bool send_range(int fd, size_t first, size_t last, size_t len, const char *more)
{
    char head[512];

    snprintf(head, sizeof(head),
             "HTTP/1.1 206 Partial\r\nContent-Range: bytes %zu-%zu/%d\r\nContent-Length: %zu\r\n"
             "%s\r\n",
             first, last, SIZE, last - first + 1, more);
    return server_say(fd, head) && server_send(fd, content + first, len) && len == last - first + 1;
}

static bool ranges(void *arg, const struct server_request *req, int fd)
{
    size_t first, last;

    (void)arg;
    range_of(req, &first, &last);
    return send_range(fd, first, last, last - first + 1, "ETag: \"e1\"\r\n");
}

static void a_range_comes_as_asked(void **state)
{
    struct world w = {0};

    (void)state;
    up(&w, ranges, NULL);
    assert_int_equal(get(&w, 1000, 50000), 0);
    assert_content(&w, 1000, 50000);
    assert_int_equal(w.kept.total, SIZE);
    assert_string_equal(w.kept.validator, "\"e1\"");
    assert_int_equal(get(&w, SIZE - 1, 1), 0);
    assert_content(&w, SIZE - 1, 1);
    assert_int_equal(w.place.located, 1);
    assert_int_equal(server_requests(w.server), 2);
    down(&w);
}

static bool cuts(void *arg, const struct server_request *req, int fd)
{
    size_t first, last, len;

    (void)arg;
    range_of(req, &first, &last);
    len = last - first + 1;
    if (req->n % 2 == 0)
        server_reset(fd);
    return send_range(fd, first, last, len > 9000 ? 9000 : len, "ETag: \"e1\"\r\n");
}

static void cut_bodies_go_on_from_the_last_byte(void **state)
{
    struct world w = {0};

    (void)state;
    up(&w, cuts, NULL);
    assert_int_equal(get(&w, 10, 60000), 0);
    assert_content(&w, 10, 60000);
    assert_in_range(server_requests(w.server), 7, 12);
    down(&w);
}

static bool cuts_and_changes(void *arg, const struct server_request *req, int fd)
{
    size_t first, last;

    (void)arg;
    range_of(req, &first, &last);
    return send_range(fd, first, last, 5000, req->n == 1 ? "ETag: \"e1\"\r\n" : "ETag: \"e2\"\r\n");
}

static void versions_are_not_mixed(void **state)
{
    struct world w = {0};

    (void)state;
    up(&w, cuts_and_changes, NULL);
    assert_int_equal(get(&w, 0, SIZE), -ESTALE);
    assert_content(&w, 0, 5000);
    down(&w);
}

static bool whole_with_cuts(void *arg, const struct server_request *req, int fd)
{
    char head[128];

    (void)arg;
    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", SIZE);
    server_say(fd, head);
    server_send(fd, content, req->n == 1 ? 30000 : SIZE);
    return req->n != 1;
}

static void a_service_without_ranges_gives_all_from_zero(void **state)
{
    struct world w = {0};

    (void)state;
    up(&w, whole_with_cuts, NULL);
    assert_int_equal(get(&w, 70000, 10), 0);
    assert_content(&w, 0, SIZE);
    assert_int_equal(server_requests(w.server), 2);
    w.kept.stop_at = 20000;
    assert_int_equal(get(&w, 0, 20000), -EINTR);
    assert_true(w.kept.bytes.len >= 20000);
    down(&w);
}

static bool lies(void *arg, const struct server_request *req, int fd)
{
    static const char *const heads[] = {
        "HTTP/1.1 206 P\r\nContent-Range: bytes 0-9/100000\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 206 P\r\nContent-Range: bytes 100-109/99999\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 206 P\r\nContent-Range: bytes 100-199/100000\r\nContent-Length: 100\r\n\r\n",
        "HTTP/1.1 206 P\r\nContent-Range: bytes 100-109/100000\r\nContent-Length: 9\r\n\r\n",
        "HTTP/1.1 206 P\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 206 P\r\nContent-Range: bytes -100-109/100000\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 206 P\r\nContent-Range: bytes 100-99/100000\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 206 P\r\nContent-Range: bytes 100-109/100000\r\nContent-Type: "
        "multipart/byteranges; boundary=x\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 206 P\r\nContent-Range: bytes 100-109/100000\r\nContent-Encoding: "
        "gzip\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 P\r\nContent-Length: 10\r\n\r\n", /* the list said 100000 */
        "HTTP/1.1 204 P\r\n\r\n",
        "HTTP/1.1 416 P\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 404 P\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 403 P\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 302 P\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 302 P\r\nLocation: file:///etc/passwd\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 302 P\r\nLocation: http://example.com/x\r\nContent-Length: 10\r\n\r\n",
    };

    (void)arg;
    if (req->n > PM_COUNT(heads))
        return server_reply(fd, 410, "", "the end");
    server_say(fd, heads[req->n - 1]);
    server_say(fd, "0123456789");
    return false;
}

static void wrong_answers_give_no_byte(void **state)
{
    static const int errs[] = {EIO, ESTALE, EIO, EIO, EIO, EIO, EIO, EIO, EIO,
                               ESTALE, EIO, ESTALE, ENOENT, EACCES, EIO, EIO, EIO};
    struct world     w = {0};

    (void)state;
    up(&w, lies, NULL);
    for (size_t i = 0; i < PM_COUNT(errs); i++) {
        assert_int_equal(get(&w, 100, 10), -errs[i]);
        assert_int_equal(w.kept.begun, 0);
        assert_int_equal(w.kept.bytes.len, 0);
    }
    assert_int_equal(get(&w, 100, 10), -ENOENT);
    down(&w);
}

/* --- redirects */

static bool redirects(void *arg, const struct server_request *req, int fd)
{
    struct world *w = arg;
    char          more[256];

    assert_non_null(strstr(req->head, "Bearer s3cret"));
    snprintf(more, sizeof(more), "Location: %s/signed?s=1\r\n", server_url(w->other));
    return server_reply(fd, 302, more, "moved");
}

/* Every third request finds the signature expired. */
static bool signed_ranges(void *arg, const struct server_request *req, int fd)
{
    assert_null(strstr(req->head, "s3cret"));
    if (req->n == 3)
        return server_reply(fd, 400, "", "<Code>ExpiredToken</Code>");
    return ranges(arg, req, fd);
}

static void a_redirect_is_followed_without_the_token_and_remembered(void **state)
{
    struct world w = {0};

    (void)state;
    up(&w, redirects, signed_ranges);
    assert_int_equal(get(&w, 0, 10), 0);
    assert_int_equal(get(&w, 20, 10), 0);
    assert_int_equal(server_requests(w.server), 1);
    assert_int_equal(get(&w, 40, 10), 0); /* expired: asked for again */
    assert_content(&w, 40, 10);
    assert_int_equal(server_requests(w.server), 2);
    assert_int_equal(server_requests(w.other), 4);
    assert_int_equal(w.place.located, 1);
    down(&w);
}

static bool redirects_for_ever(void *arg, const struct server_request *req, int fd)
{
    (void)arg;
    (void)req;
    return server_reply(fd, 307, "Location: /again\r\n", "");
}

static void only_one_redirect_is_followed(void **state)
{
    struct world w = {0};

    (void)state;
    up(&w, redirects_for_ever, NULL);
    assert_int_equal(get(&w, 0, 10), -EIO);
    assert_int_equal(server_requests(w.server), 2);
    down(&w);
}

static bool wants_new_token(void *arg, const struct server_request *req, int fd)
{
    if (!strstr(req->head, "Bearer s3cret-new\r\n"))
        return server_reply(fd, 401, "", "who?");
    return ranges(arg, req, fd);
}

static void a_refused_token_is_renewed_once(void **state)
{
    struct world w = {0};

    (void)state;
    up(&w, wants_new_token, NULL);
    assert_int_equal(get(&w, 0, 100), 0);
    assert_content(&w, 0, 100);
    assert_int_equal(w.place.located, 2);
    assert_int_equal(server_requests(w.server), 2);
    down(&w);
}

static bool refuses(void *arg, const struct server_request *req, int fd)
{
    (void)arg;
    (void)req;
    return server_reply(fd, 403, "", "no");
}

static void a_signed_location_is_made_anew_once(void **state)
{
    struct world w = {0};

    (void)state;
    up(&w, refuses, NULL);
    w.place.origin = NULL;
    assert_int_equal(get(&w, 0, 100), -EACCES);
    assert_int_equal(w.place.located, 2);
    assert_int_equal(server_requests(w.server), 2);
    down(&w);
}

/* One location for each range that begins when the last is over. */
static void a_location_is_renewed_when_it_is_time(void **state)
{
    struct world w = {0};

    (void)state;
    up(&w, ranges, NULL);
    w.place.origin = NULL;
    w.place.life_ms = 60000;
    assert_int_equal(get(&w, 0, 100), 0);
    assert_int_equal(get(&w, 100, 100), 0);
    assert_int_equal(w.place.located, 1);
    w.place.life_ms = -1; /* over at once */
    w.place.located = 0;
    pm_source_close(w.source);
    assert_int_equal(pm_source_open(&w.place.base,
                                    &(struct pm_entry){.kind = PM_FILE, .id = "1", .size = SIZE},
                                    &w.source),
                     0);
    assert_int_equal(get(&w, 0, 100), 0);
    assert_int_equal(get(&w, 100, 100), 0);
    assert_int_equal(w.place.located, 2);
    down(&w);
}

/* The storage's clock is not ours: what was good when it was asked for may be over when it is used. */
static bool expires_twice(void *arg, const struct server_request *req, int fd)
{
    if (req->n <= 2)
        return server_reply(fd, 400, "", "<Error><Code>ExpiredToken</Code></Error>");
    return ranges(arg, req, fd);
}

static void a_location_that_is_over_is_no_refusal(void **state)
{
    struct world w = {0};

    (void)state;
    up(&w, expires_twice, NULL);
    w.place.origin = NULL;
    w.place.life_ms = -1;
    assert_int_equal(get(&w, 0, 100), 0);
    assert_content(&w, 0, 100);
    assert_int_equal(w.place.located, 3);
    down(&w);
}

static bool always_expired(void *arg, const struct server_request *req, int fd)
{
    (void)arg;
    (void)req;
    return server_reply(fd, 400, "", "<Error><Code>ExpiredToken</Code><Details>Signature=s3cret");
}

static void a_storage_that_always_refuses_is_eacces_and_keeps_its_words(void **state)
{
    struct world w = {0};

    (void)state;
    up(&w, always_expired, NULL);
    w.place.origin = NULL;
    w.place.life_ms = -1;
    assert_int_equal(get(&w, 0, 100), -EACCES);
    assert_string_equal(w.kept.why, "the storage says ExpiredToken");
    assert_in_range(server_requests(w.server), 2, 5);
    down(&w);
}

/* The pause before another try outlives the location. */
static bool busy_and_over(void *arg, const struct server_request *req, int fd)
{
    if (req->n == 1)
        return server_reply(fd, 503, "", "busy");
    if (!strstr(req->head, "?n=2 "))
        return server_reply(fd, 400, "", "<Error><Code>ExpiredToken</Code></Error>");
    return ranges(arg, req, fd);
}

static void another_try_goes_to_a_location_that_is_good_then(void **state)
{
    struct world w = {0};

    (void)state;
    up(&w, busy_and_over, NULL);
    w.place.origin = NULL;
    w.place.life_ms = 50; /* a pause is 100 ms at least */
    assert_int_equal(get(&w, 0, 100), 0);
    assert_int_equal(server_requests(w.server), 2);
    down(&w);
}

static bool generations(void *arg, const struct server_request *req, int fd)
{
    size_t first, last;

    (void)arg;
    range_of(req, &first, &last);
    return send_range(fd, first, last, 5000,
                      req->n == 1 ? "ETag: \"e\"\r\nx-goog-generation: 1\r\n"
                                    "x-goog-hash: crc32c=n03x6A==\r\n"
                                  : "ETag: \"e\"\r\nx-goog-generation: 2\r\n");
}

static void generations_are_not_mixed(void **state)
{
    struct world w = {0};

    (void)state;
    up(&w, generations, NULL);
    assert_int_equal(get(&w, 0, SIZE), -ESTALE);
    assert_content(&w, 0, 5000);
    assert_string_equal(w.kept.validator, "g:1");
    assert_string_equal(w.kept.digest, "crc32c=n03x6A==");
    down(&w);
}

static bool unpacked(void *arg, const struct server_request *req, int fd)
{
    (void)arg;
    (void)req;
    server_say(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\nx-goog-generation: 1\r\n"
                   "x-goog-stored-content-encoding: gzip\r\nx-goog-hash: crc32c=n03x6A==\r\n\r\n");
    server_send(fd, content, SIZE);
    return false;
}

static void what_is_unpacked_on_the_way_comes_whole_and_has_no_digest(void **state)
{
    struct world w = {0};

    (void)state;
    up(&w, unpacked, NULL);
    assert_int_equal(get(&w, 70000, 10), 0);
    assert_content(&w, 0, SIZE);
    assert_string_equal(w.kept.digest, "");
    down(&w);
}

/* --- ends */

static bool busy(void *arg, const struct server_request *req, int fd)
{
    return req->n < 3 ? server_reply(fd, 503, "", "busy") : ranges(arg, req, fd);
}

static void busy_services_are_asked_again(void **state)
{
    struct world w = {0};

    (void)state;
    up(&w, busy, NULL);
    assert_int_equal(get(&w, 0, 100), 0);
    assert_content(&w, 0, 100);
    assert_int_equal(server_requests(w.server), 3);
    down(&w);
}

static bool stays_busy(void *arg, const struct server_request *req, int fd)
{
    (void)arg;
    (void)req;
    return server_reply(fd, 429, "Retry-After: 60\r\n", "busy");
}

static void a_long_hold_is_ebusy_at_once(void **state)
{
    struct world w = {0};
    int64_t      start = pm_now_ms();

    (void)state;
    up(&w, stays_busy, NULL);
    assert_int_equal(get(&w, 0, 100), -EBUSY);
    assert_int_equal(get(&w, 0, 100), -EBUSY);
    assert_int_equal(server_requests(w.server), 1);
    assert_in_range(pm_now_ms() - start, 0, 20000);
    down(&w);
}

static bool stops_in_the_middle(void *arg, const struct server_request *req, int fd)
{
    char c;

    (void)arg;
    (void)req;
    send_range(fd, 0, SIZE - 1, 5000, "");
    return recv(fd, &c, 1, 0) == 1;
}

static void *cancel_soon(void *arg)
{
    usleep(200000);
    atomic_store((atomic_bool *)arg, true);
    return NULL;
}

static void a_cancel_ends_a_download_soon(void **state)
{
    atomic_bool  cancel = false;
    struct world w = {.cancel = &cancel};
    int64_t      start = pm_now_ms();
    pthread_t    thread;

    (void)state;
    up(&w, stops_in_the_middle, NULL);
    assert_int_equal(pm_thread_start(&thread, "cancel", cancel_soon, &cancel), 0);
    assert_int_equal(get(&w, 0, SIZE), -ECANCELED);
    assert_content(&w, 0, 5000);
    assert_in_range(pm_now_ms() - start, 100, 10000);
    pthread_join(thread, NULL);
    down(&w);
}

static void closing_the_loop_ends_downloads(void **state)
{
    struct world w = {0};

    (void)state;
    up(&w, stops_in_the_middle, NULL);
    pm_fetch(w.source, 0, SIZE, PM_BACKGROUND, NULL, &sink, &w.kept);
    usleep(100000);
    pm_net_close(w.net);
    w.net = NULL;
    assert_int_equal(w.kept.done, 1);
    assert_int_equal(w.kept.err, -ECANCELED);
    down(&w);
}

/* Old locations only are refused. */
static bool wants_another(void *arg, const struct server_request *req, int fd)
{
    return strstr(req->head, "?n=1 ") ? server_reply(fd, 403, "", "no") : ranges(arg, req, fd);
}

/* Many ranges, all of them refused at once. */
static void get_refused(struct world *w, int err)
{
    struct kept kept[CROWD] = {0};

    up(w, wants_another, NULL);
    w->place.origin = NULL;
    w->place.crowd = w->server;
    w->place.fails = err;
    for (size_t i = 0; i < CROWD; i++) {
        pthread_mutex_init(&kept[i].lock, NULL);
        pm_cond_init(&kept[i].over);
        pm_fetch(w->source, i * 6000, 6000, PM_INTERACTIVE, NULL, &sink, &kept[i]);
    }
    for (size_t i = 0; i < CROWD; i++) {
        pthread_mutex_lock(&kept[i].lock);
        while (!kept[i].done)
            pthread_cond_wait(&kept[i].over, &kept[i].lock);
        pthread_mutex_unlock(&kept[i].lock);
        assert_int_equal(kept[i].err, err);
        assert_string_equal(kept[i].why, err ? "not now" : "");
        assert_int_equal(kept[i].bytes.len, err ? 0 : 6000);
        pm_buf_free(&kept[i].bytes);
    }
    down(w);
}

static void ranges_that_are_refused_at_once_ask_once_for_a_location(void **state)
{
    struct world w = {0};

    (void)state;
    get_refused(&w, 0);
    assert_int_equal(w.place.located, 2);
}

/* A service in trouble is not asked by each of them in turn. */
static void ranges_that_get_no_location_fail_together(void **state)
{
    struct world w = {0};

    (void)state;
    get_refused(&w, -EIO);
    assert_in_range(w.place.located, 2, 4);
}

static void sixteen_ranges_side_by_side(void **state)
{
    struct world w = {0};
    struct kept  kept[16] = {0};

    (void)state;
    up(&w, cuts, NULL);
    for (size_t i = 0; i < PM_COUNT(kept); i++) {
        pthread_mutex_init(&kept[i].lock, NULL);
        pm_cond_init(&kept[i].over);
        pm_fetch(w.source, i * 6000, 6000, PM_BACKGROUND, NULL, &sink, &kept[i]);
    }
    for (size_t i = 0; i < PM_COUNT(kept); i++) {
        pthread_mutex_lock(&kept[i].lock);
        while (!kept[i].done)
            pthread_cond_wait(&kept[i].over, &kept[i].lock);
        pthread_mutex_unlock(&kept[i].lock);
        assert_int_equal(kept[i].err, 0);
        assert_int_equal(kept[i].bytes.len, 6000);
        assert_memory_equal(kept[i].bytes.ptr, content + i * 6000, 6000);
        pm_buf_free(&kept[i].bytes);
    }
    down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_comes_as_asked),
        cmocka_unit_test(cut_bodies_go_on_from_the_last_byte),
        cmocka_unit_test(versions_are_not_mixed),
        cmocka_unit_test(a_service_without_ranges_gives_all_from_zero),
        cmocka_unit_test(wrong_answers_give_no_byte),
        cmocka_unit_test(a_redirect_is_followed_without_the_token_and_remembered),
        cmocka_unit_test(only_one_redirect_is_followed),
        cmocka_unit_test(a_refused_token_is_renewed_once),
        cmocka_unit_test(a_signed_location_is_made_anew_once),
        cmocka_unit_test(a_location_is_renewed_when_it_is_time),
        cmocka_unit_test(a_location_that_is_over_is_no_refusal),
        cmocka_unit_test(a_storage_that_always_refuses_is_eacces_and_keeps_its_words),
        cmocka_unit_test(another_try_goes_to_a_location_that_is_good_then),
        cmocka_unit_test(generations_are_not_mixed),
        cmocka_unit_test(what_is_unpacked_on_the_way_comes_whole_and_has_no_digest),
        cmocka_unit_test(busy_services_are_asked_again),
        cmocka_unit_test(a_long_hold_is_ebusy_at_once),
        cmocka_unit_test(a_cancel_ends_a_download_soon),
        cmocka_unit_test(closing_the_loop_ends_downloads),
        cmocka_unit_test(ranges_that_are_refused_at_once_ask_once_for_a_location),
        cmocka_unit_test(ranges_that_get_no_location_fail_together),
        cmocka_unit_test(sixteen_ranges_side_by_side),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
