/* The loop: one thread, one multi handle, a list of transfers.
 *
 * A transfer goes: made by pm_http_start (any thread) -> `submitted` (under net->lock) -> taken by
 * the loop into `transfers` -> added to the multi handle when its time has come -> finished: its
 * done event, then freed. Only the loop's thread touches a transfer after it was submitted.
 *
 * Invariants: 1. every transfer gets exactly one done event; 2. no event after it; 3. no lock is
 * held during an event; 4. after `closing` nothing new is taken, and the loop ends when `transfers`
 * is empty. */
#include "backends/http.h"

#include "backends/holds.h"
#include "backends/http_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define POLL_MS 100 /* how soon a cancel is seen */

struct deferred {
    STAILQ_ENTRY(deferred) link;
    void (*fn)(void *arg);
    void *arg;
};

struct pm_net {
    const struct pm_conf *conf; /* immutable */
    CURLM                *multi; /* the loop's; curl_multi_wakeup from any */
    CURLSH               *share; /* the loop's: TLS sessions */
    pthread_t             loop;
    struct transfer_list  transfers; /* the loop's */
    struct bucket         down, up; /* the loop's */
    pthread_mutex_t       lock; /* leaf */
    struct transfer_list  submitted; /* lock */
    bool                  closing; /* lock */
    struct pm_holds      *holds; /* immutable */
    STAILQ_HEAD(deferred_list, deferred) work; /* lock */
    pthread_cond_t work_here; /* lock */
    bool           has_helper; /* lock */
    pthread_t      helper; /* lock; with has_helper */
};

/* --- limits -------------------------------------------------------------------------------- */

static void bucket_fill(struct bucket *b, int64_t now)
{
    int64_t add, most = (int64_t)(b->rate / 4) + 16384;
    int64_t ms = now - b->filled_ms;

    if (!b->rate || ms <= 0)
        return;
    add = ms > 10000 ? most : (int64_t)(b->rate * (uint64_t)ms / 1000);
    if (add == 0)
        return;
    b->level = b->level + add > most ? most : b->level + add;
    b->filled_ms = now;
}

static int bucket_wait_ms(const struct bucket *b)
{
    int64_t ms = bucket_open(b) ? 0 : -b->level * 1000 / (int64_t)b->rate;

    return ms < 10 ? 10 : ms > POLL_MS ? POLL_MS : (int)ms;
}

/* --- holds --------------------------------------------------------------------------------- */

int64_t pm_http_hold_ms(struct pm_net *net, const char *url)
{
    PM_AUTO(free) char *origin = pm_http_origin(url);

    return origin ? pm_holds_left_ms(net->holds, origin) : 0;
}

void pm_net_keep(struct pm_net *net, const struct pm_kv *kv)
{
    pm_holds_keep(net->holds, kv);
}

/* --- starting a transfer ------------------------------------------------------------------- */

static void refuse(const struct pm_http_events *events, void *arg, int err, const char *why)
{
    struct pm_http_end end = {.err = err, .why = why};

    events->done(arg, &end);
}

void pm_http_start(struct pm_net *net, const struct pm_http_request *req,
                   const struct pm_http_events *events, void *arg, const atomic_bool *cancel,
                   int64_t deadline_ms, int64_t not_before_ms)
{
    struct transfer *t;
    bool             closing;
    int              err;

    t = pm_transfer_make(net->conf, req, &err);
    if (!t) {
        refuse(events, arg, err, err == -EINVAL ? "the request's address is refused" : "");
        return;
    }
    t->net = net;
    t->down = &net->down;
    t->up = &net->up;
    t->events = events;
    t->arg = arg;
    t->cancel = cancel;
    t->deadline_ms = deadline_ms;
    t->not_before_ms = not_before_ms;
    pthread_mutex_lock(&net->lock);
    closing = net->closing;
    if (!closing)
        TAILQ_INSERT_TAIL(&net->submitted, t, link);
    pthread_mutex_unlock(&net->lock);
    if (closing) {
        pm_transfer_free(t);
        refuse(events, arg, -ECANCELED, "the mount is closing");
        return;
    }
    curl_multi_wakeup(net->multi);
}

void pm_http_wake(struct pm_net *net)
{
    curl_multi_wakeup(net->multi);
}

/* --- ending a transfer --------------------------------------------------------------------- */

static void describe_end(struct transfer *t, CURLcode code, struct pm_http_end *end)
{
    struct pm_http_head    head = {.easy = t->easy};
    struct pm_http_verdict v;
    long                   os = 0, request_bytes = 0;
    char                   date[64];

    curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &os);
    curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &request_bytes);
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &end->status);
    if (end->status / 100 == 1)
        end->status = 0; /* "go on" is no answer */
    end->reached = request_bytes > 0;
    if (end->status == 429 || end->status == 503) {
        snprintf(date, sizeof(date), "%s", pm_http_header(&head, "Date"));
        end->retry_ms = pm_http_retry_after_ms(pm_http_header(&head, "Retry-After"), date);
        if (end->retry_ms && !(end->status == 429 && t->own_limit))
            pm_holds_set(t->net->holds, t->origin, end->retry_ms);
    }
    if (t->err) {
        v = (struct pm_http_verdict){t->err, t->err == -ETIMEDOUT};
        end->why = t->why ? t->why : "";
    } else if (code != CURLE_OK) {
        v = pm_http_judge_curl(code, os);
        end->why = t->text[0] ? t->text : curl_easy_strerror(code);
    } else {
        v = pm_http_judge_status(end->status);
        snprintf(t->text, sizeof(t->text), "HTTP %ld", end->status);
        end->why = t->text;
    }
    end->err = v.err;
    end->retry = v.retry;
}

/* Ends a transfer that is in `transfers`; frees it. */
static void finish(struct transfer *t, CURLcode code)
{
    struct pm_http_end end = {0};
    int                err;

    if (t->added && code == CURLE_OK && !t->err && !t->head_given) {
        err = pm_transfer_give_head(t);
        if (err < 0)
            pm_transfer_stop(t, err, NULL);
    }
    describe_end(t, code, &end);
    pm_log(PM_DEBUG, "%s: %ld%s%s, %lld ms", t->label, end.status, end.err ? " " : "",
           end.err ? strerror(-end.err) : "", (long long)(pm_now_ms() - t->started_ms));
    if (t->added)
        curl_multi_remove_handle(t->net->multi, t->easy);
    TAILQ_REMOVE(&t->net->transfers, t, link);
    t->events->done(t->arg, &end);
    pm_transfer_free(t);
}

/* --- the loop ------------------------------------------------------------------------------ */

static void take_submitted(struct pm_net *net)
{
    struct transfer_list list = TAILQ_HEAD_INITIALIZER(list);

    pthread_mutex_lock(&net->lock);
    TAILQ_CONCAT(&list, &net->submitted, link);
    pthread_mutex_unlock(&net->lock);
    TAILQ_CONCAT(&net->transfers, &list, link);
}

static void add(struct transfer *t, int64_t now)
{
    t->started_ms = t->moved_ms = now;
    curl_easy_setopt(t->easy, CURLOPT_SHARE, t->net->share);
    if (curl_multi_add_handle(t->net->multi, t->easy) == CURLM_OK)
        t->added = true;
    else
        pm_transfer_stop(t, -ENOMEM, "");
}

/* How long it may stand still. After the whole of a content the service may need a while. */
static int64_t patience(const struct transfer *t)
{
    int64_t extra = 0;

    if (t->has_file && t->file_sent == t->file.len)
        extra = 30000 + (int64_t)(t->file.len >> 23) * 1000;
    return t->stall_ms + (extra > 15 * 60000 ? 15 * 60000 : extra);
}

static bool stalled(struct transfer *t, int64_t now)
{
    curl_off_t down = 0, up = 0;
    long       headers = 0;

    curl_easy_getinfo(t->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
    curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &up);
    curl_easy_getinfo(t->easy, CURLINFO_HEADER_SIZE, &headers);
    if (t->wait_poll || t->wait_recv || t->wait_send || down + up + headers != t->moved) {
        t->moved = down + up + headers;
        t->moved_ms = now;
    }
    return now - t->moved_ms > patience(t);
}

/* Should it end now? */
static bool is_over(struct transfer *t, int64_t now, bool closing)
{
    int n;

    if (closing)
        pm_transfer_stop(t, -ECANCELED, "the mount is closing");
    else if (t->cancel && atomic_load(t->cancel))
        pm_transfer_stop(t, -ECANCELED, "canceled");
    else if (t->deadline_ms && now >= t->deadline_ms)
        pm_transfer_stop(t, -ETIMEDOUT, "no answer in time");
    else if (t->added && stalled(t, now))
        pm_transfer_stop(t, -ETIMEDOUT, "nothing moved for too long");
    if (!t->err && t->events->poll) {
        n = t->events->poll(t->arg);
        if (n < 0)
            pm_transfer_stop(t, n, NULL);
        else if (n == 0)
            t->wait_poll = false;
    }
    return t->err != 0;
}

/* Lets a paused transfer go on as far as it may. */
static void unpause(struct transfer *t)
{
    bool recv = t->wait_recv, send = t->wait_send;
    int  bits = 0;

    if (bucket_open(&t->net->down))
        t->wait_recv = false;
    if (bucket_open(&t->net->up))
        t->wait_send = false;
    bits |= t->wait_recv || t->wait_poll ? CURLPAUSE_RECV : 0;
    bits |= t->wait_send ? CURLPAUSE_SEND : 0;
    if (recv != t->wait_recv || send != t->wait_send || !(bits & CURLPAUSE_RECV))
        curl_easy_pause(t->easy, bits);
}

/* One look at every transfer; returns how many milliseconds the loop may sleep. */
static int look_after(struct pm_net *net, bool closing)
{
    struct transfer *t, *next, *last = TAILQ_LAST(&net->transfers, transfer_list);
    int64_t          now = pm_now_ms();
    int              sleep_ms = TAILQ_EMPTY(&net->transfers) ? 60000 : POLL_MS;

    bucket_fill(&net->down, now);
    bucket_fill(&net->up, now);
    for (t = TAILQ_FIRST(&net->transfers); t; t = next) {
        bool was_paused = t->wait_poll || t->wait_recv || t->wait_send;

        next = t == last ? NULL : TAILQ_NEXT(t, link);
        if (!t->added && !t->err && now >= t->not_before_ms)
            add(t, now);
        if (is_over(t, now, closing)) {
            finish(t, CURLE_OK);
            continue;
        }
        if (!t->added && t->not_before_ms - now < sleep_ms)
            sleep_ms = (int)(t->not_before_ms - now);
        if (!was_paused || !t->added)
            continue;
        unpause(t);
        TAILQ_REMOVE(&net->transfers, t, link); /* to the end: each gets its turn */
        TAILQ_INSERT_TAIL(&net->transfers, t, link);
        if (t->wait_recv && bucket_wait_ms(&net->down) < sleep_ms)
            sleep_ms = bucket_wait_ms(&net->down);
        if (t->wait_send && bucket_wait_ms(&net->up) < sleep_ms)
            sleep_ms = bucket_wait_ms(&net->up);
    }
    return sleep_ms;
}

static void collect_finished(struct pm_net *net)
{
    struct transfer *t;
    CURLMsg         *msg;
    int              left;

    while ((msg = curl_multi_info_read(net->multi, &left))) {
        if (msg->msg != CURLMSG_DONE)
            continue;
        CURLcode code = msg->data.result;

        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &t);
        finish(t, code);
    }
}

static void *run_loop(void *arg)
{
    struct pm_net *net = arg;
    int            running, sleep_ms;
    bool           closing;

    for (;;) {
        pthread_mutex_lock(&net->lock);
        closing = net->closing;
        pthread_mutex_unlock(&net->lock);
        take_submitted(net);
        sleep_ms = look_after(net, closing);
        curl_multi_perform(net->multi, &running);
        collect_finished(net);
        if (closing && TAILQ_EMPTY(&net->transfers))
            return NULL;
        curl_multi_poll(net->multi, NULL, 0, closing ? 0 : sleep_ms, NULL);
    }
}

/* --- the helper ---------------------------------------------------------------------------- */

static void *run_helper(void *arg)
{
    struct pm_net   *net = arg;
    struct deferred *d;

    pthread_mutex_lock(&net->lock);
    for (;;) {
        while (STAILQ_EMPTY(&net->work) && !net->closing)
            pthread_cond_wait(&net->work_here, &net->lock);
        d = STAILQ_FIRST(&net->work);
        if (!d)
            break;
        STAILQ_REMOVE_HEAD(&net->work, link);
        pthread_mutex_unlock(&net->lock);
        d->fn(d->arg);
        free(d);
        pthread_mutex_lock(&net->lock);
    }
    pthread_mutex_unlock(&net->lock);
    return NULL;
}

bool pm_net_defer(struct pm_net *net, void (*fn)(void *arg), void *arg)
{
    struct deferred *d = malloc(sizeof(*d));

    if (!d)
        return false;
    *d = (struct deferred){.fn = fn, .arg = arg};
    PM_GUARD(&net->lock);
    if (!net->closing && !net->has_helper)
        net->has_helper = pm_thread_start(&net->helper, "pm-net-helper", run_helper, net) == 0;
    if (net->closing || !net->has_helper) {
        free(d);
        return false;
    }
    STAILQ_INSERT_TAIL(&net->work, d, link);
    pthread_cond_signal(&net->work_here);
    return true;
}

const struct pm_conf *pm_net_conf(const struct pm_net *net)
{
    return net->conf;
}

bool pm_net_closing(struct pm_net *net)
{
    PM_GUARD(&net->lock);
    return net->closing;
}

/* --- opening and closing ------------------------------------------------------------------- */

static void init_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void free_net(struct pm_net *net)
{
    curl_multi_cleanup(net->multi);
    curl_share_cleanup(net->share);
    pm_holds_free(net->holds);
    pthread_cond_destroy(&net->work_here);
    pthread_mutex_destroy(&net->lock);
    free(net);
}

int pm_net_open(const struct pm_conf *conf, struct pm_net **out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct pm_net        *net = calloc(1, sizeof(*net));
    int                   err = -ENOMEM;

    if (!net)
        return -ENOMEM;
    pthread_once(&once, init_curl);
    net->conf = conf;
    net->down = (struct bucket){.rate = conf->limit_down, .filled_ms = pm_now_ms()};
    net->up = (struct bucket){.rate = conf->limit_up, .filled_ms = pm_now_ms()};
    TAILQ_INIT(&net->transfers);
    TAILQ_INIT(&net->submitted);
    STAILQ_INIT(&net->work);
    pthread_mutex_init(&net->lock, NULL);
    pm_cond_init(&net->work_here);
    net->multi = curl_multi_init();
    net->share = curl_share_init();
    if (net->multi && net->share && !pm_holds_new(&net->holds)) {
        curl_share_setopt(net->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
        curl_multi_setopt(net->multi, CURLMOPT_MAXCONNECTS, 24L);
        err = pm_thread_start(&net->loop, "pm-net", run_loop, net);
    }
    if (err) {
        free_net(net);
        return err;
    }
    *out = net;
    return 0;
}

void pm_net_stop(struct pm_net *net)
{
    bool has_helper;

    pthread_mutex_lock(&net->lock);
    if (net->closing) {
        pthread_mutex_unlock(&net->lock);
        return;
    }
    net->closing = true;
    has_helper = net->has_helper;
    pthread_cond_broadcast(&net->work_here);
    pthread_mutex_unlock(&net->lock);
    curl_multi_wakeup(net->multi);
    if (has_helper)
        pthread_join(net->helper, NULL);
    pthread_join(net->loop, NULL);
}

void pm_net_close(struct pm_net *net)
{
    if (!net)
        return;
    pm_net_stop(net);
    free_net(net);
}
