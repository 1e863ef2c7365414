/* States: START (first boundary expected) -> HEADERS -> DATA -> EPILOGUE; FAILED from anywhere.
 * In DATA the last `mark_len - 1` bytes are held back in `held`, since a boundary may begin in
 * them; nothing else is copied. */
#include "tests/emulator/multipart.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HEADERS_MAX 16384

enum state { START, HEADERS, DATA, EPILOGUE, FAILED };

struct multipart {
    enum state  state;
    bool        percent;
    struct multipart_calls calls;
    void       *arg;
    char        mark[80];               /* "\r\n--boundary" */
    size_t      mark_len;
    struct buf  held;                   /* bytes not yet decided upon */
    size_t      epilogue;               /* bytes seen after the closing boundary's dashes */
    const char *wrong;
};

static int fail(struct multipart *m, const char *why)
{
    m->state = FAILED;
    m->wrong = why;
    return -EBADMSG;
}

/* The value of a header parameter, unquoted into `out`. False if it is not there. */
static bool parameter(const char *header, const char *name, bool percent, struct buf *out)
{
    size_t name_len = strlen(name);
    const char *p = header;
    while ((p = strchr(p, ';')) != NULL) {
        p += 1 + strspn(p + 1, " \t");
        bool mine = strncasecmp(p, name, name_len) == 0 && p[name_len] == '=';
        p += strcspn(p, "=;");
        if (*p != '=')
            continue;
        p++;
        bool quoted = *p == '"';
        p += quoted;
        while (*p != '\0' && (quoted ? *p != '"' : *p != ';' && *p != ' ')) {
            if (quoted && !percent && *p == '\\' && p[1] != '\0')
                p++;
            if (mine)
                buf_add(out, p, 1);
            p++;
        }
        if (mine) {
            buf_add(out, "", 0);
            return true;
        }
    }
    return false;
}

/* HTML's form encoding: these three and nothing else. */
static void decode_percent(struct buf *name)
{
    static const struct {
        const char *code;
        char        byte;
    } codes[] = {{"%22", '"'}, {"%0D", '\r'}, {"%0A", '\n'}};
    size_t to = 0;
    for (size_t from = 0; from < name->len; from++) {
        char c = name->data[from];
        for (size_t i = 0; i < 3; i++)
            if (strncasecmp(name->data + from, codes[i].code, 3) == 0) {
                c = codes[i].byte;
                from += 2;
                break;
            }
        name->data[to++] = c;
    }
    name->len = to;
    name->data[to] = '\0';
}

struct multipart *multipart_new(const char *type, bool percent, const struct multipart_calls *calls,
                                void *arg)
{
    struct buf boundary = {0};
    if (type == NULL || strncasecmp(type, "multipart/form-data", 19) != 0 ||
        !parameter(type, "boundary", false, &boundary) || boundary.len == 0 || boundary.len > 70) {
        buf_free(&boundary);
        return NULL;
    }
    struct multipart *m = emu_alloc(sizeof(*m));
    m->percent = percent;
    m->calls = *calls;
    m->arg = arg;
    memcpy(m->mark, "\r\n--", 4);
    memcpy(m->mark + 4, boundary.data, boundary.len);
    m->mark_len = boundary.len + 4;
    buf_free(&boundary);
    return m;
}

void multipart_free(struct multipart *m)
{
    if (m == NULL)
        return;
    buf_free(&m->held);
    free(m);
}

/* `headers` is NUL-terminated, each line ended by CRLF. */
static int part_begins(struct multipart *m, const char *headers)
{
    struct buf field = {0};
    struct buf filename = {0};
    const char *line = headers;
    while (line != NULL && strncasecmp(line, "content-disposition:", 20) != 0) {
        line = strstr(line, "\r\n");
        line = line != NULL ? line + 2 : NULL;
    }
    if (line == NULL)
        return fail(m, "a part without Content-Disposition");
    char *one = strndup(line, strcspn(line, "\r"));
    bool named = parameter(one, "name", m->percent, &field);
    bool file = parameter(one, "filename", m->percent, &filename);
    free(one);
    if (file && m->percent)
        decode_percent(&filename);
    int r = m->calls.part(m->arg, named ? field.data : "", file ? filename.data : NULL);
    buf_free(&field);
    buf_free(&filename);
    return r;
}

/* Drops the first n held bytes. */
static void release(struct multipart *m, size_t n)
{
    m->held.len -= n;
    memmove(m->held.data, m->held.data + n, m->held.len);
    m->held.data[m->held.len] = '\0';
}

static int at_start(struct multipart *m)
{
    size_t need = m->mark_len;          /* "--boundary\r\n" */
    if (m->held.len < need)
        return -EAGAIN;
    if (memcmp(m->held.data, m->mark + 2, need - 2) != 0 ||
        memcmp(m->held.data + need - 2, "\r\n", 2) != 0)
        return fail(m, "the body does not begin with the boundary");
    release(m, need);
    m->state = HEADERS;
    return 0;
}

static int at_headers(struct multipart *m)
{
    char *end = memmem(m->held.data, m->held.len, "\r\n\r\n", 4);
    if (end == NULL)
        return m->held.len > HEADERS_MAX ? fail(m, "part headers without end") : -EAGAIN;
    size_t len = (size_t)(end - m->held.data);
    if (memchr(m->held.data, '\0', len) != NULL)
        return fail(m, "a NUL in the part's headers");
    end[2] = '\0';
    int r = part_begins(m, m->held.data);
    release(m, len + 4);
    if (r == 0)
        m->state = DATA;
    return r;
}

/* After "\r\n--boundary": "--" closes, anything else is a second part. */
static int at_epilogue(struct multipart *m)
{
    static const char tail[] = "--\r\n";
    for (size_t i = 0; i < m->held.len; i++, m->epilogue++)
        if (m->epilogue >= 4 || m->held.data[i] != tail[m->epilogue])
            return fail(m, m->epilogue < 2 ? "more than one part"
                                           : "bytes after the last boundary");
    m->held.len = 0;
    return -EAGAIN;
}

/* Hands on what certainly is data. `bytes` follow the held ones in the stream. */
static int at_data(struct multipart *m, const char *bytes, size_t len)
{
    size_t keep = m->mark_len - 1;
    size_t joint = len < keep ? len : keep;
    size_t old = m->held.len;
    int r = 0;
    buf_add(&m->held, bytes, joint);    /* a boundary across the seam lies within these */
    const char *mark = memmem(m->held.data, m->held.len, m->mark, m->mark_len);
    if (mark != NULL) {
        size_t before = (size_t)(mark - m->held.data);
        size_t after = before + m->mark_len - old;      /* into `bytes`, beyond the boundary */
        r = before > 0 ? m->calls.data(m->arg, m->held.data, before) : 0;
        m->held.len = 0;
        buf_add(&m->held, bytes + after, len - after);
        m->state = EPILOGUE;
        return r;
    }
    if (joint == len) {
        size_t sure = m->held.len > keep ? m->held.len - keep : 0;
        r = sure > 0 ? m->calls.data(m->arg, m->held.data, sure) : 0;
        release(m, sure);
        return r < 0 ? r : -EAGAIN;
    }
    r = old > 0 ? m->calls.data(m->arg, m->held.data, old) : 0;
    m->held.len = 0;
    if (r < 0)
        return r;
    mark = memmem(bytes, len, m->mark, m->mark_len);
    size_t sure = mark != NULL ? (size_t)(mark - bytes) : len - keep;
    r = sure > 0 ? m->calls.data(m->arg, bytes, sure) : 0;
    size_t rest = mark != NULL ? sure + m->mark_len : sure;
    buf_add(&m->held, bytes + rest, len - rest);
    if (mark == NULL)
        return r < 0 ? r : -EAGAIN;
    m->state = EPILOGUE;
    return r;
}

int multipart_feed(struct multipart *m, const char *bytes, size_t len)
{
    if (m->state == FAILED)
        return -EBADMSG;
    int r = 0;
    if (m->state == DATA) {
        r = at_data(m, bytes, len);
    } else {
        buf_add(&m->held, bytes, len);
    }
    while (r == 0) {
        if (m->state == START) {
            r = at_start(m);
        } else if (m->state == HEADERS) {
            r = at_headers(m);
        } else if (m->state == EPILOGUE) {
            r = at_epilogue(m);
        } else {                        /* just reached DATA: what is held are its first bytes */
            struct buf first = m->held;
            m->held = (struct buf){0};
            r = at_data(m, first.data, first.len);
            buf_free(&first);
        }
    }
    return r == -EAGAIN ? 0 : r;
}

int multipart_end(struct multipart *m)
{
    if (m->state == FAILED)
        return -EBADMSG;
    if (m->state != EPILOGUE || m->epilogue < 2)
        return fail(m, "the body ends before the closing boundary");
    return 0;
}

const char *multipart_wrong(const struct multipart *m)
{
    return m->wrong != NULL ? m->wrong : "";
}
