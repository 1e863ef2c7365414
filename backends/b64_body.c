/* A file as base64 within a text, without the whole of it ever being in memory.
 *
 * What percent-encoding adds depends on the bytes, so the file is read once for the length. Then a piece
 * after the other is encoded as it is asked for; what lies before the piece is reached from the beginning.
 *
 * Invariant: [at, at+len) of the encoded text is in `text`, and it is what the file has before `done`. */
#include "backends/b64.h"

#include "backends/sign.h"
#include "backends/util.h"

#include <errno.h>
#include <string.h>

#define PIECE    (24u << 10) /* bytes of the file; a multiple of 3, so that no piece but the last is padded */
#define TEXT_MAX (PIECE / 3 * 4 * 3) /* each character percent-encoded */

struct pm_b64_body {
    int      fd;
    uint64_t size;
    bool     percent;
    char    *head, *tail; /* owned */
    size_t   head_len, tail_len;
    uint64_t encoded; /* bytes of the whole file's text */
    uint64_t at; /* of the piece, in the text */
    size_t   len;
    uint64_t done; /* of the file */
    char     md5[PM_MD5_HEX_MAX];
    unsigned char raw[PIECE];
    char     text[TEXT_MAX];
};

static size_t put(char *out, char c, bool percent)
{
    const char *coded = c == '+' ? "%2B" : c == '/' ? "%2F" : "%3D";

    if (!percent || (c != '+' && c != '/' && c != '=')) {
        *out = c;
        return 1;
    }
    memcpy(out, coded, 3);
    return 3;
}

static size_t encode(const unsigned char *raw, size_t len, bool percent, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char             *to = out;

    for (size_t i = 0; i < len; i += 3) {
        size_t   n = len - i;
        unsigned group = (unsigned)raw[i] << 16 | (n > 1 ? (unsigned)raw[i + 1] << 8 : 0) |
                         (n > 2 ? raw[i + 2] : 0);

        to += put(to, digits[group >> 18], percent);
        to += put(to, digits[group >> 12 & 63], percent);
        to += put(to, n > 1 ? digits[group >> 6 & 63] : '=', percent);
        to += put(to, n > 2 ? digits[group & 63] : '=', percent);
    }
    return (size_t)(to - out);
}

/* Encodes what follows in the file. */
static int next_piece(struct pm_b64_body *b, size_t *raw)
{
    size_t  len = b->size - b->done < PIECE ? (size_t)(b->size - b->done) : PIECE;
    ssize_t n = pm_pread_all(b->fd, b->raw, len, b->done);

    if (n < 0)
        return (int)n;
    if ((size_t)n < len)
        return -EIO;
    b->at += b->len;
    b->len = encode(b->raw, len, b->percent, b->text);
    b->done += len;
    *raw = len;
    return 0;
}

static void rewind_it(struct pm_b64_body *b)
{
    b->at = b->done = 0;
    b->len = 0;
}

/* Learns the length and the MD5. */
static int measure(struct pm_b64_body *b, const atomic_bool *cancel)
{
    struct pm_md5 *md5 = pm_md5_new();
    size_t         raw = 0;
    int            err = md5 ? 0 : -ENOMEM;

    while (!err && b->done < b->size) {
        err = cancel && atomic_load(cancel) ? -ECANCELED : next_piece(b, &raw);
        if (!err)
            err = pm_md5_add(md5, b->raw, raw);
    }
    if (!err)
        err = pm_md5_hex(md5, b->md5);
    pm_md5_free(md5);
    b->encoded = b->at + b->len;
    rewind_it(b);
    return err;
}

int pm_b64_body_new(int fd, uint64_t size, const char *head, const char *tail, bool percent,
                    const atomic_bool *cancel, struct pm_b64_body **out)
{
    struct pm_b64_body *b = calloc(1, sizeof(*b));
    int                 err = b ? 0 : -ENOMEM;

    if (err)
        return err;
    b->fd = fd;
    b->size = size;
    b->percent = percent;
    b->head = strdup(head);
    b->tail = strdup(tail);
    b->head_len = strlen(head);
    b->tail_len = strlen(tail);
    err = b->head && b->tail ? measure(b, cancel) : -ENOMEM;
    if (err)
        pm_b64_body_free(b);
    else
        *out = b;
    return err;
}

void pm_b64_body_free(struct pm_b64_body *b)
{
    if (!b)
        return;
    free(b->head);
    free(b->tail);
    free(b);
}

uint64_t pm_b64_body_len(const struct pm_b64_body *b)
{
    return b->head_len + b->encoded + b->tail_len;
}

const char *pm_b64_body_md5(const struct pm_b64_body *b)
{
    return b->md5;
}

uint64_t pm_b64_body_done(const struct pm_b64_body *b)
{
    return b->done;
}

/* Makes `pos` of the encoded text lie in the piece. The text must end where it did before. */
static int reach(struct pm_b64_body *b, uint64_t pos)
{
    size_t raw;
    int    err = 0;

    if (pos < b->at)
        rewind_it(b);
    while (!err && pos >= b->at + b->len) {
        err = b->done < b->size ? next_piece(b, &raw) : -EIO;
        if (!err && (b->done == b->size) != (b->at + b->len == b->encoded))
            err = -EIO;
    }
    return err;
}

/* Where `off` of the body is, and how much of it lies there. */
static int find(struct pm_b64_body *b, uint64_t off, const char **from, size_t *len)
{
    uint64_t pos = off - b->head_len;
    int      err;

    if (off < b->head_len) {
        *from = b->head + off;
        *len = b->head_len - (size_t)off;
        return 0;
    }
    if (pos >= b->encoded) {
        pos -= b->encoded;
        *len = pos < b->tail_len ? b->tail_len - (size_t)pos : 0;
        *from = b->tail + (b->tail_len - *len);
        return 0;
    }
    err = reach(b, pos);
    if (err)
        return err;
    *from = b->text + (pos - b->at);
    *len = (size_t)(b->at + b->len - pos);
    return 0;
}

ssize_t pm_b64_body_read(void *arg, void *buf, size_t len, uint64_t off)
{
    struct pm_b64_body *b = arg;
    size_t              got = 0;

    while (got < len) {
        const char *from = NULL;
        size_t      n = 0;
        int         err = find(b, off + got, &from, &n);

        if (err)
            return err;
        if (!n)
            break;
        n = n < len - got ? n : len - got;
        memcpy((char *)buf + got, from, n);
        got += n;
    }
    return (ssize_t)got;
}
