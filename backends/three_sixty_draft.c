/* Drafts: an upload session, and the project that is made of it.
 *
 * A session's text is {"id":ID,"until":MS}. What came of a POST /projects whose answer was lost is found
 * out in three_sixty_find.c. */
#include "backends/three_sixty_impl.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define STEM_MAX     100 /* of a name there (api/notes.md 5) */
#define PRIVATE_MODE 2 /* privacy_mode, unless the user wants another */

static int ts_open_session(struct pm_backend *b, struct pm_ctx *ctx, struct pm_draft *d)
{
    struct pm_http_request req = {.method = "POST", .url = "/uploads"};
    struct cJSON          *answer = NULL;
    PM_AUTO(pm_buf) struct pm_buf text = {0};
    char                   id[PM_TS_ID_MAX];
    uint64_t               seconds = 0;
    int                    err = pm_ts_call(pm_ts(b), ctx, PM_TS_OPEN, &req, &answer);

    if (!err && !pm_ts_id(answer, "upload_id", id)) {
        snprintf(ctx->why, sizeof(ctx->why), "the answer lacks the upload_id");
        err = -EIO;
    }
    pm_json_u64(answer, "expires_in_seconds", &seconds);
    pm_json_free(answer);
    if (err)
        return err;
    pm_buf_str(&text, "{\"id\":");
    pm_buf_json(&text, id);
    if (seconds && seconds < INT32_MAX)
        pm_buf_printf(&text, ",\"until\":%" PRId64, pm_wall_ms() + (int64_t)seconds * 1000);
    pm_buf_str(&text, "}");
    d->session = pm_buf_take(&text);
    if (d->session)
        pm_ts_new_session(pm_ts(b), id);
    return d->session ? 0 : -ENOMEM;
}

static int64_t ts_expires_ms(const char *session)
{
    struct cJSON *obj = pm_json_parse(session, strlen(session));
    int64_t       until = pm_json_ms(obj, "until");

    pm_json_free(obj);
    return until;
}

static int ts_drop(struct pm_backend *b, struct pm_ctx *ctx, const char *session)
{
    char id[PM_TS_ID_MAX];
    int  err;

    if (!pm_ts_session_id(session, id))
        return 0;
    PM_AUTO(free) char    *url = pm_ts_url("uploads", id, NULL);
    struct pm_http_request req = {.method = "DELETE", .url = url};

    err = url ? pm_ts_call(pm_ts(b), ctx, PM_TS_DROP, &req, NULL) : -ENOMEM;
    if (err == -ESTALE || err == -ENOENT)
        err = 0;
    if (!err)
        pm_ts_forget_session(pm_ts(b), id);
    return err;
}

/* --- the project */

/* The body of POST /projects: what the user wants, and what we know. */
static char *commit_body(const struct pm_draft *d, const char *id)
{
    struct cJSON *obj = pm_json_parse(d->options, strlen(d->options));
    char         *text = NULL;
    bool          good;

    if (!pm_json_is_object(obj)) {
        pm_json_free(obj);
        obj = pm_json_object();
    }
    pm_json_remove(obj, "upload_id");
    pm_json_remove(obj, "download_link");
    good = d->link ? pm_json_set_text(obj, "download_link", d->link)
                   : pm_json_set_text(obj, "upload_id", id);
    if (good && !pm_json_text(obj, "title"))
        good = pm_json_set_text(obj, "title", d->name);
    if (good && !pm_json_get(obj, "privacy_mode"))
        good = pm_json_set_number(obj, "privacy_mode", PRIVATE_MODE);
    if (good)
        text = pm_json_print(obj, false);
    pm_json_free(obj);
    return text;
}

static int ts_commit(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_draft *d,
                     struct pm_entry **out)
{
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    char                     id[PM_TS_ID_MAX] = "";
    struct cJSON            *answer = NULL;
    int                      err;

    if (d->session && !pm_ts_session_id(d->session, id))
        return -ESTALE;
    PM_AUTO(free) char    *body = commit_body(d, id);
    struct pm_http_request req = {.method = "POST", .url = "/projects", .headers = headers,
                                  .body = body};

    err = body ? pm_ts_call(pm_ts(b), ctx, PM_TS_COMMIT, &req, &answer) : -ENOMEM;
    if (!err)
        err = pm_ts_project(answer, out) == 0 ? 0 : -EAGAIN; /* it was made, and not named */
    pm_json_free(answer);
    if (err == -ENOENT || err == -EOPNOTSUPP)
        return -EPROTO; /* no word of the service's: another answers in its place */
    if (!err && d->session)
        pm_ts_learn_slug(pm_ts(b), !strcmp((*out)->id, id));
    if (!err)
        pm_ts_forget_session(pm_ts(b), id);
    return err;
}

static int ts_record(struct pm_backend *b, struct pm_ctx *ctx, const struct pm_entry *e,
                     struct pm_progress *progress, char **json)
{
    PM_AUTO(free) char *url = pm_ts_url("projects", e->id, NULL);
    struct cJSON       *body = NULL;
    uint64_t            status = 0;
    int                 err = pm_ts_get(pm_ts(b), ctx, PM_TS_PROJECT, url, &body);

    if (!err) {
        pm_json_u64(body, "status", &status);
        progress->percent = status > 100 ? 100 : (int)status;
        progress->ready = status >= 100;
        *json = pm_json_print(body, true);
        err = *json ? 0 : -ENOMEM;
        if (!err)
            pm_ts_field(b, e, *json, "errors", progress->errors, sizeof(progress->errors));
    }
    pm_json_free(body);
    return err;
}

/* --- names */

void pm_ts_recall(struct pm_three_sixty *ts)
{
    char              *allowed = pm_backend_recall(&ts->base, PM_TS_ALLOWED);
    PM_AUTO(free) char *file = pm_backend_recall(&ts->base, PM_TS_FILE_MAX);
    PM_AUTO(free) char *session = pm_backend_recall(&ts->base, PM_TS_SESSION_MAX);

    PM_GUARD(&ts->lock);
    free(ts->allowed);
    ts->allowed = allowed;
    ts->file_max = file ? strtoull(file, NULL, 10) : 0;
    ts->session_max = session ? strtoull(session, NULL, 10) : 0;
    ts->learnt = true;
}

static bool has_extension(const char *allowed, const char *name)
{
    const char *dot = strrchr(name, '.');
    char        word[64];

    if (!dot || strlen(dot) > 60)
        return false;
    snprintf(word, sizeof(word), " %s ", dot + 1);
    return strcasestr(allowed, word) != NULL;
}

static int ts_check(struct pm_backend *b, const struct pm_draft_item *item, char *why,
                    size_t why_len)
{
    struct pm_three_sixty *ts = pm_ts(b);
    uint64_t               size = item->size == PM_SIZE_UNKNOWN ? 0 : item->size;
    bool                   learnt;

    pthread_mutex_lock(&ts->lock);
    learnt = ts->learnt;
    pthread_mutex_unlock(&ts->lock);
    if (!learnt)
        pm_ts_recall(ts);
    PM_GUARD(&ts->lock);
    if (ts->allowed && !has_extension(ts->allowed, item->name)) {
        snprintf(why, why_len, "the service takes only files of these kinds:%s", ts->allowed);
        return -EPERM;
    }
    if (ts->file_max && size > ts->file_max) {
        snprintf(why, why_len, "the service takes no file over %" PRIu64 " bytes", ts->file_max);
        return -EFBIG;
    }
    if (ts->session_max && (item->others >= ts->session_max || size > ts->session_max - item->others)) {
        snprintf(why, why_len, "the service takes no project over %" PRIu64 " bytes", ts->session_max);
        return -EDQUOT;
    }
    return 0;
}

static bool is_plain(unsigned char c)
{
    return (c < 0x80 && isalnum(c)) || c == '.' || c == '_' || c == '-';
}

/* What the service leaves of a stem: at most `most` bytes. */
static void map_stem(const char *name, const char *end, size_t most, char *stem)
{
    size_t n = 0;

    for (const char *p = name; p < end && n < most; p++) {
        unsigned char c = (unsigned char)*p;

        if ((c & 0xc0) == 0x80)
            continue; /* the rest of a character that became one underscore */
        c = is_plain(c) ? c : '_';
        if (n || !strchr("._-", c))
            stem[n++] = (char)c;
    }
    while (n && strchr("._-", stem[n - 1]))
        n--;
    stem[n] = '\0';
}

/* As the vendor's client does (api/notes.md 5): only A-Z a-z 0-9 . _ -, no dot, underscore or hyphen at
 * either end of the stem, the extension in lower case. */
static int ts_send_name(struct pm_backend *b, const char *name, unsigned choice, char *out,
                        size_t size)
{
    const char *dot = strrchr(name, '.');
    const char *end = dot && dot != name ? dot : name + strlen(name);
    char        stem[STEM_MAX + 1];
    char        mark[16] = "";

    (void)b;
    if (choice > 1)
        snprintf(mark, sizeof(mark), "_%u", choice);
    map_stem(name, end, STEM_MAX - strlen(mark), stem);
    snprintf(out, size, "%s%s", *stem ? stem : "file", mark);
    if (end == dot && strlen(dot) > 1 && strlen(out) + strlen(dot) < size) {
        char *to = out + strlen(out);

        for (const char *p = dot; *p; p++)
            if (is_plain((unsigned char)*p))
                *to++ = (char)tolower((unsigned char)*p);
        *to = '\0';
    }
    return 0;
}

const struct pm_draft_ops pm_ts_draft_ops = {
    .open = ts_open_session,
    .held = pm_ts_held,
    .drop = ts_drop,
    .look = pm_ts_look,
    .commit = ts_commit,
    .find = pm_ts_find,
    .record = ts_record,
    .field = pm_ts_field,
    .expires_ms = ts_expires_ms,
    .check = ts_check,
    .send_name = ts_send_name,
};
