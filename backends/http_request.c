/* One transfer: what curl is told, and what curl calls back. */
#include "backends/http_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HEADER_MAX (128u << 10) /* bytes of all headers of an answer */

/* --- curl's callbacks, all on the loop's thread */

const char *pm_http_header(const struct pm_http_head *h, const char *name)
{
    struct curl_header *header;

    if (curl_easy_header(h->easy, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
        return "";
    return header->value;
}

/* Where an answer redirects to: an absolute Location untouched (it may be signed), another resolved.
 * Owned by curl; NULL: nowhere. */
static char *find_redirect(const struct transfer *t, const char *location)
{
    char  *base = NULL, *target = NULL;
    CURLU *u;

    curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &base);
    u = *location && base ? curl_url() : NULL;
    if (u && !curl_url_set(u, CURLUPART_URL, base, CURLU_PATH_AS_IS) &&
        !curl_url_set(u, CURLUPART_URL, location, CURLU_PATH_AS_IS))
        curl_url_get(u, CURLUPART_URL, &target, 0);
    curl_url_cleanup(u);
    if (target && strstr(location, "://") &&
        strspn(location, "htpsHTPS") == strcspn(location, ":")) {
        curl_free(target);
        target = strdup(location); /* curl's allocator is malloc */
    }
    return target;
}

int pm_transfer_give_head(struct transfer *t)
{
    struct pm_http_head head = {.easy = t->easy};
    char               *redirect = NULL;
    int                 err;

    t->head_given = true;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &head.status);
    if (head.status / 100 == 3)
        redirect = find_redirect(t, pm_http_header(&head, "Location"));
    head.redirect = redirect;
    err = t->events->head(t->arg, &head);
    curl_free(redirect);
    return err;
}

size_t pm_transfer_stop(struct transfer *t, int err, const char *why)
{
    if (!t->err) {
        t->err = err;
        t->why = why;
    }
    return 0;
}

static size_t on_header(char *buf, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;

    (void)buf;
    t->header_bytes += size * count;
    if (t->header_bytes > HEADER_MAX)
        return pm_transfer_stop(t, -EIO, "the headers of the answer are too large");
    return size * count;
}

static size_t on_data(char *buf, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;
    size_t           len = size * count;
    int              n;

    if (t->err)
        return 0;
    if (!t->head_given && (n = pm_transfer_give_head(t)) < 0)
        return pm_transfer_stop(t, n, NULL);
    if (!bucket_open(t->down)) {
        t->wait_recv = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (t->got + len > t->limit)
        return pm_transfer_stop(t, -EIO, "the answer is too large");
    n = t->events->data(t->arg, buf, len);
    if (n < 0)
        return pm_transfer_stop(t, n, NULL);
    if (n == PM_HTTP_PAUSE) {
        t->wait_poll = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    t->got += len;
    bucket_take(t->down, len);
    return len;
}

static size_t on_read(char *buf, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;
    uint64_t         left = t->file.len - t->file_sent;
    size_t           len = size * count > left ? (size_t)left : size * count;
    ssize_t          n;

    if (len == 0)
        return 0;
    if (!bucket_open(t->up)) {
        t->wait_send = true;
        return CURL_READFUNC_PAUSE;
    }
    if (t->up->rate && len > 16384)
        len = 16384;
    n = t->file.read ? t->file.read(t->file.read_arg, buf, len, t->file.off + t->file_sent)
                     : pm_pread_all(t->file.fd, buf, len, t->file.off + t->file_sent);
    if (n != (ssize_t)len) {
        pm_transfer_stop(t, n < 0 ? (int)n : -EIO, "the local file became shorter");
        return CURL_READFUNC_ABORT;
    }
    t->file_sent += len;
    bucket_take(t->up, len);
    if (t->file.progress)
        t->file.progress(t->file.arg, t->file_sent);
    return len;
}

/* curl sends again by itself what died on a reused connection, even a POST: never after bytes of
 * the content went out, since the service may have taken them. */
static int on_seek(void *arg, curl_off_t off, int origin)
{
    struct transfer *t = arg;

    return origin == SEEK_SET && off == 0 && t->file_sent == 0 ? CURL_SEEKFUNC_OK
                                                               : CURL_SEEKFUNC_FAIL;
}

/* --- making it */

/* The only way a secret gets into a request. */
static int add_auth(struct transfer *t, const struct pm_http_request *req)
{
    const struct pm_http_auth *auth = req->auth;
    PM_AUTO(free) char        *origin = pm_http_origin(auth->origin);
    struct curl_slist         *more = NULL;
    char                      *made = NULL;
    const char                *header = auth->header;
    int                        err = 0;

    if (!origin || strcmp(origin, t->origin) != 0)
        return 0;
    if (!header) {
        err = auth->sign(auth->arg, req->method, req->url, &made);
        header = made;
    }
    if (!err && strpbrk(header, "\r\n"))
        err = -EINVAL;
    if (!err) {
        more = curl_slist_append(t->headers, header);
        err = more ? 0 : -ENOMEM;
    }
    pm_secret_free(made);
    if (more)
        t->headers = more;
    return err;
}

static int add_header(struct transfer *t, const char *line)
{
    struct curl_slist *more;

    if (strpbrk(line, "\r\n") || !strncasecmp(line, "Authorization", 13) ||
        !strncasecmp(line, "Cookie", 6) || !strncasecmp(line, "Proxy-", 6))
        return -EINVAL;
    more = curl_slist_append(t->headers, line);
    if (!more)
        return -ENOMEM;
    t->headers = more;
    return 0;
}

static int set_multipart(struct transfer *t)
{
    curl_mimepart *part;

    t->mime = curl_mime_init(t->easy);
    part = t->mime ? curl_mime_addpart(t->mime) : NULL;
    if (!part || curl_mime_name(part, t->file.field) || curl_mime_filename(part, t->file.name) ||
        curl_mime_type(part, "application/octet-stream") ||
        curl_mime_data_cb(part, (curl_off_t)t->file.len, on_read, on_seek, NULL, t))
        return -ENOMEM;
    curl_easy_setopt(t->easy, CURLOPT_MIME_OPTIONS,
                     t->file.backslash ? (long)CURLMIMEOPT_FORMESCAPE : 0L);
    curl_easy_setopt(t->easy, CURLOPT_MIMEPOST, t->mime);
    return 0;
}

static int set_body(struct transfer *t, const struct pm_http_request *req)
{
    if (req->file && req->at_once && add_header(t, "Expect:")) /* curl asks before all but short ones */
        return -ENOMEM;
    if (req->file) {
        t->file = *req->file;
        t->has_file = true;
        curl_easy_setopt(t->easy, CURLOPT_READFUNCTION, on_read);
        curl_easy_setopt(t->easy, CURLOPT_READDATA, t);
        curl_easy_setopt(t->easy, CURLOPT_SEEKFUNCTION, on_seek);
        curl_easy_setopt(t->easy, CURLOPT_SEEKDATA, t);
        curl_easy_setopt(t->easy, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
        if (t->file.field)
            return strpbrk(t->file.name, "\r\n") ? -EINVAL : set_multipart(t);
        curl_easy_setopt(t->easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(t->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)t->file.len);
    } else if (req->body || !strcmp(req->method, "POST") || !strcmp(req->method, "PUT")) {
        const char *body = req->body ? req->body : "";

        curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
        curl_easy_setopt(t->easy, CURLOPT_COPYPOSTFIELDS, body);
        if (!req->body) /* curl would call an empty body a form */
            return add_header(t, "Content-Type:");
    }
    return 0;
}

static void set_connection(struct transfer *t, const struct pm_conf *conf,
                           const struct pm_http_request *req)
{
    bool  tls = !strncmp(t->origin, "https:", 6);
    CURL *e = t->easy;

    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, tls ? "https" : "http");
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION,
                     (long)(req->content || !tls ? CURL_HTTP_VERSION_1_1 : CURL_HTTP_VERSION_2TLS));
    curl_easy_setopt(e, CURLOPT_PIPEWAIT, req->content || !tls ? 0L : 1L);
    curl_easy_setopt(e, CURLOPT_FRESH_CONNECT,
                     req->once && (!req->file || !req->file->len) ? 1L : 0L); /* see on_seek */
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L); /* never wait for a resolver that hangs */
    curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(e, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
    if (conf->ca_file)
        curl_easy_setopt(e, CURLOPT_CAINFO, conf->ca_file);
    if (!tls) /* plain is loopback only: a proxy would be another host */
        curl_easy_setopt(e, CURLOPT_PROXY, "");
    else if (conf->proxy)
        curl_easy_setopt(e, CURLOPT_PROXY, conf->proxy);
    if (req->content && !conf->limit_down)
        curl_easy_setopt(e, CURLOPT_BUFFERSIZE, 256L << 10);
}

static int set_request(struct transfer *t, const struct pm_conf *conf,
                       const struct pm_http_request *req)
{
    CURL *e = t->easy;
    int   err = 0;

    curl_easy_setopt(e, CURLOPT_URL, req->url);
    curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "polymount/" PM_VERSION);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->text);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(e, CURLOPT_PRIVATE, t);
    set_connection(t, conf, req);
    if (req->auth)
        err = add_auth(t, req);
    for (const char *const *h = req->headers; !err && h && *h; h++)
        err = add_header(t, *h);
    if (!err)
        err = set_body(t, req);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, req->method);
    if (!strcmp(req->method, "HEAD"))
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    return err;
}

/* The method and the path without query: neither signatures nor session URIs get into the log. */
static char *make_label(const struct pm_http_request *req)
{
    const char *path = strstr(req->url, "://");

    path = path ? strchr(path + 3, '/') : NULL;
    if (!path)
        path = "/";
    return pm_asprintf("%s %.*s", req->method, (int)strcspn(path, "?#"), path);
}

void pm_transfer_free(struct transfer *t)
{
    if (!t)
        return;
    curl_easy_cleanup(t->easy);
    curl_mime_free(t->mime);
    curl_slist_free_all(t->headers);
    free(t->origin);
    free(t->label);
    free(t);
}

struct transfer *pm_transfer_make(const struct pm_conf *conf, const struct pm_http_request *req,
                                  int *err)
{
    struct transfer *t = calloc(1, sizeof(*t));

    *err = -ENOMEM;
    if (!t)
        return NULL;
    t->origin = pm_http_origin(req->url);
    t->label = make_label(req);
    t->easy = curl_easy_init();
    t->limit = req->limit ? req->limit : 4u << 20;
    t->own_limit = req->own_limit;
    t->stall_ms = req->stall_ms ? req->stall_ms : PM_HTTP_STALL_MS;
    if (t->easy && t->label)
        *err = t->origin ? set_request(t, conf, req) : -EINVAL;
    if (*err) {
        pm_transfer_free(t);
        return NULL;
    }
    return t;
}
