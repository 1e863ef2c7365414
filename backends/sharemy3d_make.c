/* Making a model or background: the POST, and what becomes of one whose answer is lost.
 *
 * The state of an upload is a JSON object:
 *   id, url  of what was made; absent: nothing is known to be
 *   way      how the content goes to the url (pm_sm_way); a session's url is the session
 *   turned   it was tried in another way, and refused
 *   dead     the url is over: `id` is to be deleted, and made anew
 *   whole    the storage has the content
 *   digest   that it told of it, until ours was compared with it
 *   from     see struct pm_sm_try
 *   chunk    bytes of one PUT; 0: all that is left
 *   old      the id of what is replaced, which is deleted when the new one is confirmed
 *   posted   a POST may be under way since then, and its answer be lost
 *   lost     so many answers were, all of POSTs between `since` and `until`
 *   bound, ids  what was listed before the first of these: nothing newer than `bound`, and of that
 *            second the models `ids`
 *
 * A POST must not be repeated, since each makes a model. `posted` is on the disk before it goes out; when
 * its answer does not come, or a crash comes first, there may be a model that we do not know, without its
 * upload URL and so of no use. A new one is made, after the service was asked for its list once more, and
 * when that is confirmed, the useless one is deleted, if it can be told: see pm_sm_end_lost. */
#include "backends/sharemy3d_impl.h"

#include "backends/picture.h"
#include "backends/resumable.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PAGE        100
#define PAGES       5 /* of the same second, before nothing can be told any more */
#define SLACK_MS    2000 /* timeCreated is in seconds, Date too */
#define ARRIVES_MS  30000 /* a POST whose answer is lost may be processed for so long */
#define LISTED_MS   10000 /* and the list not have it for so long */
#define LOOK_MS     2500
#define FILE_MAX    100 /* bytes of a file name; of a description and a password */
#define NAME_MIN    3
#define NAME_MAX_   50

enum pm_sm_kind pm_sm_upload_kind(const struct pm_upload *up)
{
    return strcmp(up->parent->path, pm_sm_words[PM_SM_BACKGROUND].uploads) != 0 ? PM_SM_MODEL
                                                                                  : PM_SM_BACKGROUND;
}

/* --- its state */

void pm_sm_try_clear(struct pm_sm_try *t)
{
    free(t->url);
    free(t->ids);
    *t = (struct pm_sm_try){0};
}

static char *dup_text(const struct cJSON *obj, const char *key)
{
    const char *text = pm_json_text(obj, key);

    return text ? strdup(text) : NULL;
}

int pm_sm_try_load(const struct pm_upload *up, struct pm_sm_try *t)
{
    struct cJSON *obj = up->state ? pm_json_parse(up->state, strlen(up->state)) : NULL;
    uint64_t      way = 0, lost = 0, bound = 0;

    *t = (struct pm_sm_try){.url = dup_text(obj, "url"), .ids = dup_text(obj, "ids"),
                            .turned = pm_json_bool(obj, "turned", false),
                            .dead = pm_json_bool(obj, "dead", false),
                            .whole = pm_json_bool(obj, "whole", false),
                            .posted = pm_json_ms(obj, "posted"), .since = pm_json_ms(obj, "since"),
                            .until = pm_json_ms(obj, "until")};
    pm_json_scalar(obj, "id", t->id, sizeof(t->id));
    pm_json_scalar(obj, "old", t->old, sizeof(t->old));
    pm_json_scalar(obj, "digest", t->digest, sizeof(t->digest));
    pm_json_u64(obj, "way", &way);
    pm_json_u64(obj, "from", &t->from);
    pm_json_u64(obj, "chunk", &t->chunk);
    pm_json_u64(obj, "lost", &lost);
    pm_json_u64(obj, "bound", &bound);
    t->way = (enum pm_sm_way)way;
    t->lost = (unsigned)lost;
    t->bound = (int64_t)bound;
    pm_json_free(obj);
    if (*t->id && !t->url)
        t->url = strdup(""); /* none that can be used was told */
    if (t->url || !*t->id)
        return 0;
    pm_sm_try_clear(t);
    return -ENOMEM;
}

static void add_text(struct pm_buf *b, const char *key, const char *value)
{
    if (!value || !*value)
        return;
    pm_buf_printf(b, "%s\"%s\":", b->len > 1 ? "," : "", key);
    pm_buf_json(b, value);
}

static void add_number(struct pm_buf *b, const char *key, int64_t value)
{
    if (value)
        pm_buf_printf(b, "%s\"%s\":%" PRId64, b->len > 1 ? "," : "", key, value);
}

int pm_sm_try_save(struct pm_upload *up, const struct pm_sm_try *t)
{
    struct pm_buf b = {0};
    char         *state;

    pm_buf_str(&b, "{");
    add_text(&b, "id", t->id);
    add_text(&b, "url", t->url);
    add_number(&b, "way", (int64_t)t->way);
    add_number(&b, "turned", t->turned);
    add_number(&b, "dead", t->dead);
    add_number(&b, "whole", t->whole);
    add_text(&b, "digest", t->digest);
    add_number(&b, "from", (int64_t)t->from);
    add_number(&b, "chunk", (int64_t)t->chunk);
    add_text(&b, "old", t->old);
    add_number(&b, "posted", t->posted);
    add_number(&b, "lost", t->lost);
    add_number(&b, "since", t->since);
    add_number(&b, "until", t->until);
    add_number(&b, "bound", t->bound);
    add_text(&b, "ids", t->ids);
    pm_buf_str(&b, "}");
    state = pm_buf_take(&b);
    if (!state)
        return -ENOMEM;
    free(up->state);
    up->state = state;
    return 0;
}

int pm_sm_try_keep(struct pm_upload *up, const struct pm_sm_try *t)
{
    int err = pm_sm_try_save(up, t);

    return err || !up->keep ? err : up->keep(up);
}

bool pm_sm_asked_session(const struct pm_upload *up)
{
    return pm_sm_upload_kind(up) == PM_SM_MODEL && up->size > PM_RESUMABLE_PLAIN;
}

/* --- what is made */

static size_t count_chars(const char *s)
{
    size_t n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

/* Cut at a character. */
static void fit(char *s, size_t max)
{
    if (strlen(s) <= max)
        return;
    while (max && ((unsigned char)s[max] & 0xc0) == 0x80)
        max--;
    s[max] = '\0';
}

/* A name of 3 to 50 of a file's, or a folder's. */
static void model_name(const char *file, bool folder, char out[FILE_MAX + 16])
{
    const char *dot = folder ? NULL : strrchr(file, '.');

    snprintf(out, FILE_MAX + 1, "%.*s", dot && dot != file ? (int)(dot - file) : FILE_MAX, file);
    fit(out, NAME_MAX_);
    if (count_chars(out) < NAME_MIN)
        snprintf(out + strlen(out), 16, " model");
}

/* What the user wants of it. */
struct wish {
    struct cJSON *options; /* owned; NULL: nothing */
    char         *secret; /* owned; the account's password for what is dropped */
    char          name[FILE_MAX + 16];
    char          description[FILE_MAX + 4];
    const char   *password; /* of one of these two; "": none */
    const char   *type; /* of a background */
    bool          downloadable;
};

/* A panorama is twice as wide as it is high. */
static const char *type_of(const struct pm_upload *up)
{
    uint32_t width, height;

    return pm_picture_size(up->fd, up->size, &width, &height) && width / 2 == height && width % 2 == 0
               ? "PANORAMA"
               : "IMAGE";
}

static void pm_cleanup_wish(struct wish *w)
{
    pm_json_free(w->options);
    pm_secret_free(w->secret);
}

/* A password is never cut: who knows it would not know the one that counts. */
static int take_password(struct pm_sharemy3d *sm, struct pm_ctx *ctx, const struct pm_upload *up,
                         struct wish *w)
{
    const char *told = pm_json_text(w->options, "password");
    int         err = 0;

    if (!told && !up->draft && pm_sm_upload_kind(up) == PM_SM_MODEL)
        err = pm_sm_password(sm, ctx, &w->secret);
    if (err && err != -ENOENT)
        return err;
    w->password = told ? told : w->secret ? w->secret : "";
    if (strlen(w->password) <= FILE_MAX)
        return 0;
    snprintf(ctx->why, sizeof(ctx->why), "the password is longer than %d bytes", FILE_MAX);
    return -EINVAL;
}

static int make_wish(struct pm_sharemy3d *sm, struct pm_ctx *ctx, const struct pm_upload *up,
                     struct wish *w)
{
    const char *text;

    if (strlen(up->name) > FILE_MAX) {
        snprintf(ctx->why, sizeof(ctx->why), "the service takes names of at most %d bytes", FILE_MAX);
        return -ENAMETOOLONG;
    }
    if (up->options && *up->options)
        w->options = pm_json_parse(up->options, strlen(up->options));
    text = pm_json_text(w->options, "name");
    if (text && *text) {
        snprintf(w->name, sizeof(w->name), "%s", text);
        fit(w->name, NAME_MAX_);
    }
    if (count_chars(w->name) < NAME_MIN)
        model_name(up->draft ? up->draft : up->name, up->draft != NULL, w->name);
    text = pm_json_text(w->options, "description");
    snprintf(w->description, sizeof(w->description), "%s", text ? text : "");
    fit(w->description, FILE_MAX);
    w->type = "";
    if (pm_sm_upload_kind(up) == PM_SM_BACKGROUND) {
        text = pm_json_text(w->options, "type");
        w->type = text && *text ? text : type_of(up);
    }
    w->downloadable = pm_json_bool(w->options, "downloadable", sm->base.conf->downloadable);
    return take_password(sm, ctx, up, w);
}

/* A member that is given, and that the service takes as it is or not at all. */
static int check_text(const struct cJSON *options, const char *key, char *why, size_t size)
{
    const struct cJSON *v = pm_json_get(options, key);

    if (!v || pm_json_string(v))
        return 0;
    snprintf(why, size, "\"%s\" is no text", key);
    return -EINVAL;
}

int pm_sm_check_options(struct pm_backend *b, const struct pm_entry *dir, const char *options, char *why,
                        size_t size)
{
    static const char *const texts[] = {"name", "description", "password", "type"};
    struct cJSON            *obj = *options ? pm_json_parse(options, strlen(options)) : NULL;
    const char              *password = pm_json_text(obj, "password");
    const char              *type = pm_json_text(obj, "type");
    int                      err = 0;

    (void)b;
    for (size_t i = 0; i < PM_COUNT(texts) && !err; i++)
        err = check_text(obj, texts[i], why, size);
    if (!err && password && strlen(password) > FILE_MAX) {
        snprintf(why, size, "the password is longer than %d bytes", FILE_MAX);
        err = -EINVAL;
    }
    if (!err && type && !strcmp(dir->path, pm_sm_words[PM_SM_BACKGROUND].uploads) &&
        strcmp(type, "IMAGE") != 0 && strcmp(type, "PANORAMA") != 0) {
        snprintf(why, size, "the type is neither IMAGE nor PANORAMA");
        err = -EINVAL;
    }
    pm_json_free(obj);
    return err;
}

static char *post_body(const struct pm_upload *up, enum pm_sm_kind kind, const struct wish *w)
{
    struct pm_buf b = {0};

    pm_buf_printf(&b, "{\"size\":%" PRIu64, up->size);
    add_text(&b, "filename", up->name);
    add_text(&b, "name", w->name);
    add_text(&b, "description", w->description);
    if (kind == PM_SM_BACKGROUND)
        add_text(&b, "type", w->type);
    if (kind == PM_SM_MODEL) {
        add_text(&b, "password", w->password);
        pm_buf_str(&b, w->downloadable ? ",\"downloadable\":true" : ",\"downloadable\":false");
    }
    if (pm_sm_asked_session(up))
        pm_buf_str(&b, ",\"resumable\":true");
    pm_buf_str(&b, "}");
    return pm_buf_take(&b);
}

/* --- what is there */

/* By the service's clock. */
static void note_date(void *arg, const struct pm_http_head *head)
{
    int64_t ms = pm_http_date_ms(pm_http_header(head, "Date"));

    *(int64_t *)arg = ms ? ms : pm_wall_ms();
}

/* A page of what is there, the newest first. */
static int get_newest(struct pm_sharemy3d *sm, struct pm_ctx *ctx, enum pm_sm_kind kind, int page,
                      struct cJSON **body, int64_t *date)
{
    PM_AUTO(free) char    *url = pm_asprintf("/%s?limit=%d&offset=%d&sort=-time",
                                             pm_sm_words[kind].folder, PAGE, page * PAGE);
    struct pm_http_request req = {.method = "GET", .url = url, .head = note_date, .arg = date};

    return url ? pm_sm_call(sm, ctx, &req, body) : -ENOMEM;
}

/* Notes the newest second there is something of, and what is of it. True: the next page may have more. */
static bool note_bound(struct pm_sm_try *t, struct pm_buf *ids, const struct cJSON *list, const char *key)
{
    char   id[PM_SM_ID_MAX];
    size_t n = 0;
    bool   same = true;

    for (const struct cJSON *v = pm_json_first(list); v && same; v = pm_json_next(v), n++) {
        int64_t at = pm_sm_created_ms(v) / 1000;

        if (!t->bound)
            t->bound = at ? at : 1;
        same = at >= t->bound;
        if (same && pm_json_scalar(v, key, id, sizeof(id)))
            pm_buf_printf(ids, "%s ", id);
    }
    return same && n >= PAGE;
}

/* What is there before a POST. */
static int look_before(struct pm_sharemy3d *sm, struct pm_ctx *ctx, enum pm_sm_kind kind,
                       struct pm_sm_try *t, int64_t *date)
{
    const struct pm_sm_words     *words = &pm_sm_words[kind];
    PM_AUTO(pm_buf) struct pm_buf ids = {0};
    bool                          first = !t->lost; /* else what was there before is known */
    bool                          more = true;
    int                           err = 0;

    if (first)
        t->bound = 0;
    for (int page = 0; more && page < (first ? PAGES : 1) && !err; page++) {
        struct cJSON *body = NULL;

        err = get_newest(sm, ctx, kind, page, &body, date);
        if (!err && first)
            more = note_bound(t, &ids, pm_json_get(body, words->folder), words->id);
        pm_json_free(body);
    }
    if (err || !first)
        return err;
    if (more)
        t->bound = INT64_MAX / 1000; /* nothing can be told from what is new */
    free(t->ids);
    t->ids = ids.failed ? NULL : pm_buf_take(&ids);
    return ids.failed ? -ENOMEM : 0;
}

/* --- lost answers */

static bool was_there(const struct pm_sm_try *t, const char *id, int64_t created)
{
    const char *found = t->ids ? strstr(t->ids, id) : NULL;

    return created < t->bound ||
           (found && found[strlen(id)] == ' ' && (found == t->ids || found[-1] == ' '));
}

static bool has_text(const struct cJSON *obj, const char *key, const char *text)
{
    const char *value = pm_json_text(obj, key);

    return !strcmp(value ? value : "", text);
}

/* Can this be of a lost POST? */
static bool may_be_lost(struct pm_sharemy3d *sm, const struct pm_upload *up, const struct pm_sm_try *t,
                        const struct wish *w, const struct cJSON *obj, const char *id)
{
    int64_t          ms = pm_sm_created_ms(obj);
    enum pm_sm_kind  kind = pm_sm_upload_kind(up);
    struct pm_sm_own own;
    uint64_t         size = up->size;
    int              err;

    pm_json_u64(obj, "size", &size);
    if (!strcmp(id, t->id) || was_there(t, id, ms / 1000) || ms < t->since - SLACK_MS ||
        ms > t->until || size != up->size || !has_text(obj, "status", "UPLOADING") ||
        !has_text(obj, "name", w->name) || !has_text(obj, "description", w->description))
        return false;
    if (kind == PM_SM_BACKGROUND ? !has_text(obj, "type", w->type)
                                 : pm_json_bool(obj, "hasPassword", false) != (*w->password != 0) ||
                                       pm_json_bool(obj, "downloadable", false) != w->downloadable)
        return false;
    err = pm_sm_own_get(sm, kind, id, &own);
    pm_sm_own_clear(&own);
    return err == -ENOENT; /* or it is of another upload of this drive, which knows it */
}

struct finds {
    char     ids[8][PM_SM_ID_MAX];
    unsigned count;
    int64_t  date; /* by the service's clock */
};

static int find_lost(struct pm_sharemy3d *sm, struct pm_ctx *ctx, const struct pm_upload *up,
                     const struct pm_sm_try *t, const struct wish *w, struct finds *out)
{
    const struct pm_sm_words *words = &pm_sm_words[pm_sm_upload_kind(up)];
    int64_t                   oldest = INT64_MAX;
    int                       err = 0;

    *out = (struct finds){.count = 0};
    for (int page = 0; oldest >= t->since - SLACK_MS && !err; page++) {
        struct cJSON       *body = NULL;
        const struct cJSON *v;
        int                 n = 0;

        err = get_newest(sm, ctx, pm_sm_upload_kind(up), page, &body, &out->date);
        v = err ? NULL : pm_json_first(pm_json_get(body, words->folder));
        for (; v; v = pm_json_next(v), n++) {
            char id[PM_SM_ID_MAX] = "";

            oldest = pm_sm_created_ms(v);
            if (!pm_json_scalar(v, words->id, id, sizeof(id)) || !may_be_lost(sm, up, t, w, v, id))
                continue;
            if (out->count < PM_COUNT(out->ids))
                memcpy(out->ids[out->count], id, sizeof(id));
            out->count++;
        }
        if (n < PAGE)
            oldest = 0; /* there is no more */
        pm_json_free(body);
    }
    return err;
}

/* It is known from the disk only that it was to go out, or no answer came. */
static void note_loss(struct pm_sm_try *t, int64_t now)
{
    if (!t->lost || t->posted < t->since)
        t->since = t->posted;
    if (now + ARRIVES_MS > t->until || !t->lost)
        t->until = now + ARRIVES_MS;
    t->lost++;
    t->posted = 0;
}

/* What is certain: a lost POST made at most one model, which was not listed before it, has the size, the
 * name and all else that we asked for, was created between its sending and a little after its loss, and
 * will stay UPLOADING, since nobody was told where its content goes. Another machine's model can have all
 * this only if the same file was sent to the same account in these very seconds, and is not there yet though
 * ours is. Where more fit than answers were lost, one of them is such: then none is deleted. */
int pm_sm_end_lost(struct pm_sharemy3d *sm, struct pm_ctx *ctx, struct pm_upload *up,
                   struct pm_sm_try *t)
{
    __attribute__((cleanup(pm_cleanup_wish))) struct wish w = {0};
    struct finds finds;
    int          err;

    if (t->posted)
        note_loss(t, t->posted + ARRIVES_MS);
    if (!t->lost)
        return 0;
    err = make_wish(sm, ctx, up, &w);
    if (!err)
        err = find_lost(sm, ctx, up, t, &w, &finds);
    if (err)
        return err;
    if (finds.count < t->lost && finds.date < t->since + LISTED_MS) {
        snprintf(ctx->why, sizeof(ctx->why), "what a lost answer left may not be listed yet");
        ctx->retry_ms = LOOK_MS;
        return -EBUSY;
    }
    if (finds.count > t->lost || finds.count > PM_COUNT(finds.ids))
        pm_log(PM_WARN, "%s: %u unfinished uploads look like one of %s whose answer was lost: all stay",
               sm->base.conf->name, finds.count, up->name);
    else
        for (unsigned i = 0; i < finds.count && (!err || err == -ENOENT || err == -EINVAL); i++)
            err = pm_sm_delete(sm, ctx, pm_sm_upload_kind(up), finds.ids[i]);
    if (err && err != -ENOENT && err != -EINVAL)
        return err;
    t->lost = 0;
    return 0;
}

/* --- the POST */

static bool is_unknown(int err)
{
    switch (err) {
    case -EAGAIN: case -EIO: case -ETIMEDOUT: case -ECANCELED: case -ENOMEM: return true;
    default: return false;
    }
}

static int take_answer(struct pm_ctx *ctx, const struct pm_upload *up, const struct cJSON *body,
                       struct pm_sm_try *t)
{
    static const enum pm_sm_way ways[] = {[PM_RESUMABLE_SESSION] = PM_SM_SESSION,
                                          [PM_RESUMABLE_START] = PM_SM_START,
                                          [PM_RESUMABLE_WHOLE] = PM_SM_WHOLE};
    enum pm_sm_kind    kind = pm_sm_upload_kind(up);
    const char        *url = pm_json_text(body, "uploadUrl");
    PM_AUTO(free) char *origin = url ? pm_http_origin(url) : NULL;
    char               id[PM_SM_ID_MAX];

    if (!pm_json_scalar(body, pm_sm_words[kind].id, id, sizeof(id)) || !pm_sm_is_id(id)) {
        snprintf(ctx->why, sizeof(ctx->why), "the answer lacks the id");
        return -EAGAIN;
    }
    memcpy(t->id, id, sizeof(id));
    t->url = strdup(origin ? url : "");
    if (!t->url)
        return -ENOMEM;
    t->dead = !origin;
    t->way = ways[pm_resumable_kind(t->url, pm_sm_asked_session(up))];
    t->posted = 0;
    return 0;
}

static int post(struct pm_sharemy3d *sm, struct pm_ctx *ctx, struct pm_upload *up, const struct wish *w,
                struct pm_sm_try *t)
{
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    enum pm_sm_kind          kind = pm_sm_upload_kind(up);
    PM_AUTO(free) char      *url = pm_asprintf("/%s/upload", pm_sm_words[kind].folder);
    PM_AUTO(free) char      *body = post_body(up, kind, w);
    struct pm_http_request   req = {.method = "POST", .url = url, .headers = headers, .body = body,
                                    .once = true};
    struct cJSON            *answer = NULL;
    int64_t                  began = pm_now_ms();
    int                      err = url && body ? pm_sm_call(sm, ctx, &req, &answer) : -ENOMEM;

    if (body)
        explicit_bzero(body, strlen(body)); /* a password may be in it */
    if (!err)
        err = take_answer(ctx, up, answer, t);
    pm_json_free(answer);
    if (err && *w->password && strstr(ctx->why, w->password)) /* its word may be shown to anybody */
        snprintf(ctx->why, sizeof(ctx->why), "the service refuses it, with the password in its word");
    if (err && is_unknown(err))
        note_loss(t, t->posted + (pm_now_ms() - began));
    else if (err)
        t->posted = 0;
    return err == -ENOENT ? -EIO : err;
}

/* Other uploads know from then on that it is none of theirs. After the step: what the store has and no step
 * would stay there for good. */
static int keep_begun(struct pm_sharemy3d *sm, const struct pm_upload *up, const struct pm_sm_try *t)
{
    struct pm_sm_own own = {.name = (char *)up->name, .size = PM_SIZE_UNKNOWN, .begun = true};
    int              err = pm_sm_own_keep(sm, pm_sm_upload_kind(up), t->id, &own);

    return err == -EOPNOTSUPP ? 0 : err;
}

int pm_sm_begin(struct pm_backend *b, struct pm_ctx *ctx, struct pm_upload *up)
{
    PM_AUTO(pm_sm_try) struct pm_sm_try t = {0};
    struct pm_sharemy3d *sm = pm_sm(b);
    __attribute__((cleanup(pm_cleanup_wish))) struct wish w = {0};
    int64_t              date = pm_wall_ms();
    int                  err = pm_sm_try_load(up, &t);
    int                  kept;

    if (!err && strcmp(up->parent->path, pm_sm_words[pm_sm_upload_kind(up)].uploads) != 0)
        err = -EPERM;
    if (!err)
        err = make_wish(sm, ctx, up, &w);
    if (err)
        return err;
    if (t.posted)
        note_loss(&t, t.posted + ARRIVES_MS);
    if (up->target && !pm_sm_drop_id(up->target, t.old))
        t.old[0] = '\0';
    err = look_before(sm, ctx, pm_sm_upload_kind(up), &t, &date);
    if (!err) {
        t.posted = date;
        err = pm_sm_try_keep(up, &t);
    }
    if (!err) {
        err = post(sm, ctx, up, &w, &t);
        kept = pm_sm_try_keep(up, &t);
        err = err ? err : kept;
    }
    if (!err)
        err = keep_begun(sm, up, &t);
    if (err == -EAGAIN && !*ctx->why)
        snprintf(ctx->why, sizeof(ctx->why), "the answer was lost");
    return err;
}
