/* Reading content by ranges (pm_fetch).
 *
 * A source remembers where its bytes are got: a `location` from the backend and, if that redirected
 * elsewhere, a `redirect` to go to at once. Each has a generation, so that of many downloads that
 * are refused at once one gets a new location and the others use it.
 *
 * A download (struct job) is a chain of exchanges; it moves on at each exchange's end, on the
 * loop's thread: done; or again from the last byte, after a pause; or along a redirect, without the
 * account's token (http.c sees to that); or, refused at the redirect's target, back to the located
 * URL; or, refused there, to the helper thread for a new location, once until bytes come again.
 *
 * Invariants: 1. bytes reach the sink only from a 200 or 206 whose headers were checked; 2. in
 * order, without gap or repetition; 3. of one version, where there is a validator; 4. done comes
 * once, last. */
#include "backends/http.h"
#include "backends/signed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TRIES        4 /* without progress */
#define PROGRESS_MIN 4096 /* bytes that count as progress */
#define WHY_MAX      255

struct pm_source {
    struct pm_backend  *b; /* immutable */
    struct pm_entry    *entry; /* immutable; owned */
    pthread_mutex_t     lock; /* leaf */
    pthread_cond_t      located; /* lock; signalled when `locating` ends */
    bool                locating; /* lock; somebody asks the backend */
    bool                has_location; /* lock */
    unsigned            generation; /* lock; of location */
    struct pm_location  location; /* lock */
    char               *redirect; /* lock; NULL: none */
    int64_t             failed_ms; /* lock; when asking the backend failed last; 0: it did not */
    int                 failure; /* lock; with failed_ms */
    char                failed_why[WHY_MAX + 1]; /* lock; with failed_ms */
};

struct job {
    struct pm_source     *s;
    enum pm_prio          prio;
    const atomic_bool    *cancel;
    const struct pm_sink *sink;
    void                 *arg;
    uint64_t              pos; /* the next byte for the sink */
    uint64_t              end; /* one past the last wanted; may shrink to the content's end */
    uint64_t              expect; /* offset that the next byte of this exchange has */
    uint64_t              stop; /* one past the last of this exchange; UINT64_MAX: not known */
    uint64_t              total; /* PM_SIZE_UNKNOWN until known */
    char                 *validator; /* NULL until the first answer */
    bool                  begun; /* sink->begin was called */
    bool                  good; /* this exchange's body is content */
    bool                  whole; /* this exchange sends all from 0 on */
    bool                  at_redirect; /* this exchange asks a redirect's target */
    bool                  foreign; /* this exchange asks a host that is not the account's own */
    bool                  refused; /* we or the sink ended this exchange: not to be tried again */
    bool                  enough; /* we ended it, having all */
    bool                  relocated; /* since bytes last came */
    bool                  fell_back; /* from a remembered redirect, since bytes last came */
    unsigned              generation; /* of the location in use */
    int64_t               not_before_ms; /* of the exchange after a new location */
    int64_t               wanted_ms; /* since when a new location is wanted */
    unsigned              tries;
    uint64_t              tried_pos; /* pos when tries was last reset */
    char                 *next_redirect; /* told by this exchange */
    char                  why[WHY_MAX + 1]; /* begin of an error's body, or ours */
};

void pm_location_clear(struct pm_location *loc)
{
    free(loc->url);
    if (loc->auth)
        explicit_bzero(loc->auth, strlen(loc->auth));
    free(loc->auth);
    free(loc->auth_origin);
    *loc = (struct pm_location){0};
}

int pm_source_open(struct pm_backend *b, const struct pm_entry *e, struct pm_source **out)
{
    struct pm_source *s = calloc(1, sizeof(*s));

    if (!s)
        return -ENOMEM;
    s->b = b;
    s->entry = pm_entry_dup(e);
    pthread_mutex_init(&s->lock, NULL);
    pm_cond_init(&s->located);
    if (!s->entry) {
        pm_source_close(s);
        return -ENOMEM;
    }
    *out = s;
    return 0;
}

void pm_source_close(struct pm_source *s)
{
    if (!s)
        return;
    pm_location_clear(&s->location);
    free(s->redirect);
    free(s->entry);
    pthread_cond_destroy(&s->located);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* --- the end of a job */

static void finish(struct job *j, int err, const char *why)
{
    const struct pm_sink *sink = j->sink;
    void                 *arg = j->arg;
    char                  text[WHY_MAX + 1];

    snprintf(text, sizeof(text), "%s", why ? why : "");
    free(j->validator);
    free(j->next_redirect);
    free(j);
    sink->done(arg, err, text);
}

/* --- checking an answer's headers, on the loop's thread */

static int refuse(struct job *j, int err, const char *why)
{
    j->refused = true;
    snprintf(j->why, sizeof(j->why), "%s", why);
    return err;
}

/* Digits only: sscanf would take signs and overflow. */
static bool take_number(const char **s, uint64_t *out)
{
    uint64_t value = 0;

    if (**s < '0' || **s > '9')
        return false;
    for (; **s >= '0' && **s <= '9'; (*s)++) {
        if (value > (INT64_MAX - 9) / 10)
            return false;
        value = value * 10 + (uint64_t)(**s - '0');
    }
    *out = value;
    return true;
}

/* "bytes 0-99/1234", "bytes 0-99/" and a star. */
static bool parse_range(const char *s, uint64_t *first, uint64_t *last, uint64_t *total)
{
    if (strncasecmp(s, "bytes ", 6) != 0)
        return false;
    s += 6;
    if (!take_number(&s, first) || *s++ != '-' || !take_number(&s, last) || *s++ != '/')
        return false;
    *total = PM_SIZE_UNKNOWN;
    if (!strcmp(s, "*"))
        return *last >= *first;
    return take_number(&s, total) && !*s && *last >= *first && *total > *last;
}

static int check_total(struct job *j, uint64_t total)
{
    const uint64_t told = j->s->entry->size;
    char           why[100];

    if (total == PM_SIZE_UNKNOWN)
        return 0;
    if (told != PM_SIZE_UNKNOWN && told != total) {
        snprintf(why, sizeof(why), "the content has %" PRIu64 " bytes, not %" PRIu64, total, told);
        return refuse(j, -ESTALE, why);
    }
    if (j->total != PM_SIZE_UNKNOWN && j->total != total)
        return refuse(j, -ESTALE, "the content changed its size while it was read");
    j->total = total;
    if (j->end > total)
        j->end = total;
    return 0;
}

static int check_206(struct job *j, const struct pm_http_head *head)
{
    uint64_t first, last, total, length;
    const char *text = pm_http_header(head, "Content-Length");

    if (!strncasecmp(pm_http_header(head, "Content-Type"), "multipart/byteranges", 20))
        return refuse(j, -EIO, "many ranges came, one was asked for");
    if (!parse_range(pm_http_header(head, "Content-Range"), &first, &last, &total) ||
        first != j->pos || last >= j->end)
        return refuse(j, -EIO, "another range came than was asked for");
    if (*text && take_number(&text, &length) && length != last - first + 1)
        return refuse(j, -EIO, "the range and the length of the answer disagree");
    j->whole = false;
    j->expect = first;
    j->stop = last + 1;
    return check_total(j, total);
}

static int check_200(struct job *j, const struct pm_http_head *head)
{
    const char *text = pm_http_header(head, "Content-Length");
    uint64_t    total = PM_SIZE_UNKNOWN;

    if (*text && !take_number(&text, &total))
        return refuse(j, -EIO, "the answer's length makes no sense");
    j->expect = 0;
    j->stop = total != PM_SIZE_UNKNOWN ? total : j->s->entry->size;
    if (!j->begun) {
        j->whole = true;
        j->pos = j->tried_pos = 0;
        j->end = j->stop; /* all of it, until the caller has enough */
    }
    return check_total(j, total);
}

/* A generation, else a strong ETag, else the date of the last change, else "". */
static char *make_validator(const struct pm_http_head *head)
{
    const char *generation = pm_http_header(head, "x-goog-generation");
    const char *etag = pm_http_header(head, "ETag");

    if (*generation)
        return pm_asprintf("g:%s", generation);
    if (*etag == '"')
        return strdup(etag);
    return pm_asprintf("%s%s", *pm_http_header(head, "Last-Modified") ? "m:" : "",
                       pm_http_header(head, "Last-Modified"));
}

static int check_validator(struct job *j, const struct pm_http_head *head)
{
    char *v = make_validator(head);
    bool  same;

    if (!v)
        return -ENOMEM;
    if (!j->validator) {
        j->validator = v;
        return 0;
    }
    same = !strcmp(v, j->validator);
    free(v);
    return same ? 0 : refuse(j, -ESTALE, "the content changed while it was read");
}

/* What is unpacked on the way is not what the digest is of (api/notes.md 3.3, the gzip trap). */
static void take_digest(const struct pm_http_head *head, char out[PM_SIGNED_DIGEST_MAX])
{
    const char *stored = pm_http_header(head, "x-goog-stored-content-encoding");

    *out = '\0';
    if (!*stored || !strcasecmp(stored, "identity"))
        pm_signed_digest(pm_http_header(head, "x-goog-hash"), out);
}

static int begin_sink(struct job *j, const struct pm_http_head *head)
{
    char             digest[PM_SIGNED_DIGEST_MAX];
    struct pm_answer answer = {
        .off = j->pos, .total = j->total, .validator = j->validator, .digest = digest};
    int err;

    take_digest(head, digest);

    j->begun = true;
    err = j->sink->begin(j->arg, &answer);
    j->refused = err < 0;
    return err;
}

static int on_head(void *arg, const struct pm_http_head *head)
{
    struct job *j = arg;
    const char *coding = pm_http_header(head, "Content-Encoding");
    int         err;

    if (head->status / 100 == 3 && head->redirect) {
        free(j->next_redirect);
        j->next_redirect = strdup(head->redirect);
        return 0;
    }
    if (head->status != 200 && head->status != 206)
        return head->status / 100 == 2 ? refuse(j, -EIO, "an answer without content") : 0;
    if (*coding && strcasecmp(coding, "identity") != 0)
        return refuse(j, -EIO, "the content came encoded");
    err = head->status == 206 ? check_206(j, head) : check_200(j, head);
    if (!err)
        err = check_validator(j, head);
    if (!err && !j->begun)
        err = begin_sink(j, head);
    j->good = !err;
    return err;
}

/* --- bytes, on the loop's thread */

static void note_error_body(struct job *j, const char *buf, size_t len)
{
    size_t used = strlen(j->why);

    if (len > WHY_MAX - used)
        len = WHY_MAX - used;
    for (size_t i = 0; i < len; i++) /* for people: no control characters, no NUL */
        j->why[used + i] = (unsigned char)buf[i] < 0x20 ? ' ' : buf[i];
    j->why[used + len] = '\0';
}

static int on_data(void *arg, const void *buf, size_t len)
{
    struct job *j = arg;
    const char *p = buf;
    uint64_t    skip;
    int         err;

    if (!j->good) {
        note_error_body(j, p, len);
        return 0;
    }
    if (len > j->stop - j->expect)
        return refuse(j, -EIO, "more came than was asked for");
    skip = j->expect < j->pos ? j->pos - j->expect : 0; /* a 200 that goes on after a cut */
    if (skip > len)
        skip = len;
    j->expect += len;
    p += skip;
    len -= (size_t)skip;
    if (len > j->end - j->pos)
        len = (size_t)(j->end - j->pos);
    if (len == 0) {
        j->enough = j->pos == j->end && j->expect > j->end;
        return j->enough ? -ECANCELED : 0;
    }
    err = j->sink->data(j->arg, p, len);
    if (err < 0) {
        j->refused = true;
        return err;
    }
    j->pos += len;
    return 0;
}

/* --- where to ask */

static int64_t op_timeout(const struct pm_source *s)
{
    int64_t ms = pm_net_conf(s->b->net)->op_timeout_ms;

    return ms > 0 ? ms : 20000;
}

/* Asks the backend for a location. Blocks; not for the loop's thread. */
static int locate(struct pm_source *s, bool anew, enum pm_prio prio, const atomic_bool *cancel,
                  char *why)
{
    struct pm_location loc = {.anew = anew};
    struct pm_ctx      ctx = {.prio = prio, .cancel = cancel};
    int                err;

    if (prio == PM_INTERACTIVE)
        ctx.deadline_ms = pm_now_ms() + op_timeout(s);
    pthread_mutex_lock(&s->lock);
    if (anew && s->location.auth)
        loc.auth = strdup(s->location.auth);
    pthread_mutex_unlock(&s->lock);
    err = pm_backend_locate(s->b, &ctx, s->entry, &loc);
    pthread_mutex_lock(&s->lock);
    s->locating = false;
    if (!err) {
        pm_location_clear(&s->location);
        s->location = loc;
        s->has_location = true;
        s->generation++;
        free(s->redirect);
        s->redirect = NULL;
    } else if (err != -ECANCELED) {
        s->failed_ms = pm_now_ms();
        s->failure = err;
        memcpy(s->failed_why, ctx.why, sizeof(s->failed_why));
    }
    pthread_cond_broadcast(&s->located);
    pthread_mutex_unlock(&s->lock);
    if (err) {
        pm_location_clear(&loc);
        snprintf(why, WHY_MAX + 1, "%s", ctx.why);
    }
    return err;
}

static bool is_fresh_locked(const struct pm_source *s, int64_t now_ms)
{
    return s->has_location && (!s->location.expires_ms || s->location.expires_ms > now_ms);
}

/* Makes sure that there is a location newer than `refused` (0: any fresh one). Many may want one at once:
 * what one of them is told since `wanted_ms`, good or bad, is for all. Blocks. */
static int need_location(struct pm_source *s, unsigned refused, int64_t wanted_ms, enum pm_prio prio,
                         const atomic_bool *cancel, char *why)
{
    bool must;
    int  err = 0;

    pthread_mutex_lock(&s->lock);
    while (s->locating) {
        pm_cond_wait_until(&s->located, &s->lock, pm_now_ms() + 100);
        if (cancel && atomic_load(cancel)) {
            pthread_mutex_unlock(&s->lock);
            return -ECANCELED;
        }
    }
    must = refused ? s->generation == refused : !is_fresh_locked(s, pm_now_ms());
    if (must && s->failed_ms > wanted_ms) {
        err = s->failure;
        memcpy(why, s->failed_why, sizeof(s->failed_why));
        must = false;
    }
    s->locating = must;
    pthread_mutex_unlock(&s->lock);
    return must ? locate(s, refused != 0, prio, cancel, why) : err;
}

/* --- one exchange after the other */

static void start(struct job *j, int64_t not_before_ms);

static void relocate(void *arg)
{
    struct job *j = arg;
    char        why[WHY_MAX + 1] = "";
    int         err;

    err = need_location(j->s, j->generation, j->wanted_ms, j->prio, j->cancel, why);
    if (err)
        finish(j, err, why);
    else
        start(j, j->not_before_ms);
}

static void forget_redirect(struct pm_source *s)
{
    PM_GUARD(&s->lock);
    free(s->redirect);
    s->redirect = NULL;
}

static void follow(struct job *j)
{
    struct pm_source *s = j->s;
    char             *origin = pm_http_origin(j->next_redirect);

    free(origin);
    if (!origin) { /* no web address, or a plain one of another machine */
        finish(j, -EIO, "the service redirects to an address that is refused");
        return;
    }
    pthread_mutex_lock(&s->lock);
    free(s->redirect);
    s->redirect = j->next_redirect;
    j->next_redirect = NULL;
    pthread_mutex_unlock(&s->lock);
    start(j, 0);
}

/* Refused: falls back from a redirect's target (also one that does not answer) to the located URL,
 * from that to a new location.
 * An account's own host is believed (but for 401, which may want a new token). */
static bool try_elsewhere(struct job *j, const struct pm_http_end *end)
{
    const long status = end->status;
    bool       refused = status == 400 || status == 401 || status == 403 || status == 404 ||
                   status == 410;
    bool       own, over;

    if (end->err == -ECANCELED || (!refused && !(j->at_redirect && !status)))
        return false;
    if (j->at_redirect) {
        if (j->fell_back)
            return false;
        j->fell_back = true;
        forget_redirect(j->s);
        start(j, 0);
        return true;
    }
    pthread_mutex_lock(&j->s->lock);
    own = j->s->location.auth != NULL;
    over = j->s->generation != j->generation || !is_fresh_locked(j->s, pm_now_ms());
    pthread_mutex_unlock(&j->s->lock);
    if (own && status != 401)
        return false;
    if (j->relocated && (!over || ++j->tries >= TRIES)) /* that its time is over is no refusal */
        return false;
    j->relocated = true;
    j->not_before_ms = 0;
    j->wanted_ms = pm_now_ms();
    return pm_net_defer(j->s->b->net, relocate, j);
}

static bool try_again(struct job *j, const struct pm_http_end *end)
{
    int64_t pause, when;
    bool    fresh;

    if (j->pos - j->tried_pos >= PROGRESS_MIN && j->begun)
        j->tries = 0;
    j->tried_pos = j->pos;
    if (!end->retry || ++j->tries >= TRIES)
        return false;
    pause = end->retry_ms ? end->retry_ms : pm_http_backoff_ms(j->tries);
    if (j->prio == PM_INTERACTIVE && pause > op_timeout(j->s))
        return false;
    when = pm_now_ms() + pause;
    pthread_mutex_lock(&j->s->lock);
    fresh = j->s->redirect || is_fresh_locked(j->s, when);
    pthread_mutex_unlock(&j->s->lock);
    j->not_before_ms = when;
    j->wanted_ms = pm_now_ms();
    if (fresh)
        start(j, when);
    return fresh || pm_net_defer(j->s->b->net, relocate, j);
}

/* All that was asked for, or all there is, has come. */
static bool is_complete(const struct job *j)
{
    const uint64_t size = j->total != PM_SIZE_UNKNOWN ? j->total : j->s->entry->size;

    if (!j->begun)
        return false;
    return j->pos == j->end || (j->whole && (j->pos == size || size == PM_SIZE_UNKNOWN));
}

/* What is told of a failure. A storage host's words may hold parts of a signed URL: of these only the
 * code. */
static const char *words(struct job *j, const struct pm_http_end *e)
{
    char code[PM_SIGNED_CODE_MAX];

    if (j->foreign) {
        pm_signed_error(j->why, strlen(j->why), code);
        snprintf(j->why, sizeof(j->why), "%s%s", *code ? "the storage says " : "", code);
    }
    return j->why[0] ? j->why : e->why;
}

static void on_done(void *arg, const struct pm_http_end *end)
{
    struct job        *j = arg;
    struct pm_http_end e = *end;
    bool               came = j->good;

    if (j->enough || (j->good && !j->refused && j->pos == j->end) ||
        (j->good && !e.err && is_complete(j))) {
        finish(j, 0, "");
        return;
    }
    if (j->refused) {
        finish(j, e.err, j->why);
        return;
    }
    if (came && j->pos > j->tried_pos)
        j->relocated = j->fell_back = false;
    if (!e.err) { /* whole for HTTP, too short for us */
        e.err = -EIO;
        e.retry = true;
        e.why = "the answer was too short";
    }
    if (e.err == -EEXIST) /* a conflict where nothing is made */
        e.err = -EBUSY;
    if (j->next_redirect && !j->at_redirect) {
        follow(j);
        return;
    }
    if (!came && try_elsewhere(j, &e))
        return;
    if (e.err != -ECANCELED && try_again(j, &e))
        return;
    if (e.status == 429 && e.retry_ms)
        e.err = -EBUSY;
    if (e.status == 400 && j->foreign) /* a URL that is over, or not signed for this */
        e.err = -EACCES;
    finish(j, e.err, words(j, &e));
}

static const struct pm_http_events events = {on_head, on_data, NULL, on_done};

/* Sends the request for what is still wanted to the place that is known. */
static void start(struct job *j, int64_t not_before_ms)
{
    struct pm_source      *s = j->s;
    struct pm_http_auth    auth = {0};
    char                   range[64];
    const char            *headers[] = {range, "Accept-Encoding: identity", NULL};
    struct pm_http_request req = {
        .method = "GET", .headers = headers, .content = true, .limit = UINT64_MAX};
    struct pm_location     loc = {0};
    char                  *url;
    bool                   has_auth;
    int64_t                hold;

    if (j->end == UINT64_MAX)
        snprintf(range, sizeof(range), "Range: bytes=%" PRIu64 "-", j->pos);
    else
        snprintf(range, sizeof(range), "Range: bytes=%" PRIu64 "-%" PRIu64, j->pos, j->end - 1);
    j->good = j->refused = false;
    j->why[0] = '\0';
    free(j->next_redirect);
    j->next_redirect = NULL;
    pthread_mutex_lock(&s->lock);
    j->generation = s->generation;
    j->at_redirect = s->redirect != NULL;
    url = strdup(s->redirect ? s->redirect : s->location.url);
    has_auth = s->location.auth != NULL;
    j->foreign = j->at_redirect || !has_auth;
    if (has_auth) {
        loc.auth = strdup(s->location.auth);
        loc.auth_origin = strdup(s->location.auth_origin);
    }
    pthread_mutex_unlock(&s->lock);
    if (!url || (has_auth && (!loc.auth || !loc.auth_origin))) {
        free(url);
        pm_location_clear(&loc);
        finish(j, -ENOMEM, "");
        return;
    }
    auth.header = loc.auth;
    auth.origin = loc.auth_origin;
    req.auth = loc.auth ? &auth : NULL;
    req.url = url;
    hold = pm_http_hold_ms(s->b->net, url);
    if (hold && j->prio == PM_INTERACTIVE && hold > op_timeout(s)) {
        finish(j, -EBUSY, "the service asked to wait");
    } else {
        if (hold && not_before_ms < pm_now_ms() + hold)
            not_before_ms = pm_now_ms() + hold;
        pm_http_start(s->b->net, &req, &events, j, j->cancel, 0, not_before_ms);
    }
    free(url);
    pm_location_clear(&loc);
}

/* --- services that stream it themselves */

static void fetch_by_backend(struct pm_source *s, uint64_t off, uint64_t len, enum pm_prio prio,
                             const atomic_bool *cancel, const struct pm_sink *sink, void *arg)
{
    struct pm_ctx ctx = {.prio = prio, .cancel = cancel};
    int           err = pm_backend_fetch(s->b, &ctx, s->entry, off, len, sink, arg);

    sink->done(arg, err, ctx.why);
}

void pm_fetch(struct pm_source *s, uint64_t off, uint64_t len, enum pm_prio prio,
              const atomic_bool *cancel, const struct pm_sink *sink, void *arg)
{
    char        why[WHY_MAX + 1] = "";
    struct job *j;
    int         err;

    if (!s->b->ops->locate || (s->entry->kind == PM_DOCUMENT && s->b->ops->fetch)) {
        fetch_by_backend(s, off, len, prio, cancel, sink, arg);
        return;
    }
    err = need_location(s, 0, pm_now_ms(), prio, cancel, why);
    j = err ? NULL : calloc(1, sizeof(*j));
    if (!j) {
        sink->done(arg, err ? err : -ENOMEM, why);
        return;
    }
    j->s = s;
    j->prio = prio;
    j->cancel = cancel;
    j->sink = sink;
    j->arg = arg;
    j->pos = j->tried_pos = off;
    j->end = len > UINT64_MAX - 1 - off ? UINT64_MAX : off + len;
    j->total = PM_SIZE_UNKNOWN;
    start(j, 0);
}
