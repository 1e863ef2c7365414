/* An answer such as {"result":"success","fileData":"U29s…","fileMd5Checksum":"…"}, read byte by byte:
 *
 *   START -> AROUND at `{`; AROUND -> VALUE at the `"` that opens the member's value (depth 1, the last name
 *   before the colon is its own; the first that has it), VALUE -> AROUND at the `"` that closes it;
 *   AROUND -> END at the last `}`. END takes only white space.
 *
 * In VALUE each byte goes through three small machines: JSON's escapes, percent-encoding, base64.
 *
 * Invariants: `rest` has all that was read but the value's bytes, so that it is the same object with the
 * member emptied; `out` holds less than OUT_MAX decoded bytes that were not handed on. */
#include "backends/b64.h"

#include "backends/json.h"
#include "backends/util.h"

#include <errno.h>
#include <string.h>

#define REST_MAX (1u << 20)
#define OUT_MAX  (16u << 10)

enum state { START, AROUND, VALUE, END };

struct pm_b64_cut {
    const char     *key;
    pm_b64_data_fn *data;
    void           *arg;
    enum state      state;
    size_t          bom; /* bytes of a byte order mark seen */
    struct pm_buf   rest;
    int             err;
    /* around the member */
    int             depth;
    bool            in_string;
    bool            escaped;
    char            last; /* the last byte outside strings that is no white space */
    size_t          key_start, key_end; /* the last string at depth 1, in rest, without its quotes */
    bool            found;
    /* in its value */
    unsigned        hex; /* digits of \uXXXX still to come */
    unsigned        code; /* of these */
    unsigned        percent; /* digits of %XX still to come */
    unsigned        byte; /* of these */
    unsigned        group; /* up to four digits of base64 */
    unsigned        digits; /* how many */
    unsigned        pads;
    uint64_t        bytes;
    size_t          nout;
    unsigned char   out[OUT_MAX];
};

struct pm_b64_cut *pm_b64_cut_new(const char *key, pm_b64_data_fn *data, void *arg)
{
    struct pm_b64_cut *c = calloc(1, sizeof(*c));

    if (c) {
        c->key = key;
        c->data = data;
        c->arg = arg;
    }
    return c;
}

void pm_b64_cut_free(struct pm_b64_cut *c)
{
    if (!c)
        return;
    pm_buf_free(&c->rest);
    free(c);
}

static int keep(struct pm_b64_cut *c, char ch)
{
    if (c->rest.len >= REST_MAX)
        return -EIO;
    pm_buf_add(&c->rest, &ch, 1);
    return c->rest.failed ? -ENOMEM : 0;
}

static bool is_space(char ch)
{
    return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* --- base64 */

static int hand_over(struct pm_b64_cut *c)
{
    size_t n = c->nout;
    int    err;

    c->nout = 0;
    if (!n)
        return 0;
    err = c->data(c->arg, c->out, n);
    return err < 0 ? err : 0;
}

static void put_bytes(struct pm_b64_cut *c, unsigned group, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        c->out[c->nout++] = (unsigned char)(group >> (16 - 8 * i));
    c->bytes += n;
}

static int digit_of(char ch)
{
    if (ch >= 'A' && ch <= 'Z')
        return ch - 'A';
    if (ch >= 'a' && ch <= 'z')
        return ch - 'a' + 26;
    if (ch >= '0' && ch <= '9')
        return ch - '0' + 52;
    return ch == '+' ? 62 : ch == '/' ? 63 : -1;
}

static int take_pad(struct pm_b64_cut *c)
{
    c->pads++;
    return c->digits >= 2 && c->digits + c->pads <= 4 ? 0 : -EIO;
}

/* A character of base64. A space is none: it may be a `+` that was lost. */
static int take_digit(struct pm_b64_cut *c, char ch)
{
    int digit = digit_of(ch);

    if (ch == '\n' || ch == '\r' || ch == '\t')
        return 0;
    if (ch == '=')
        return take_pad(c);
    if (digit < 0 || c->pads)
        return -EIO;
    c->group = c->group << 6 | (unsigned)digit;
    if (++c->digits < 4)
        return 0;
    put_bytes(c, c->group, 3);
    c->group = c->digits = 0;
    return c->nout > OUT_MAX - 3 ? hand_over(c) : 0;
}

/* The value has ended; padding may be left out. */
static int end_value(struct pm_b64_cut *c)
{
    if (!c->data)
        return 0;
    if (c->percent || c->digits == 1 || (c->pads && c->digits + c->pads != 4))
        return -EIO;
    if (c->digits)
        put_bytes(c, c->group << (6 * (4 - c->digits)), c->digits - 1);
    return hand_over(c);
}

/* --- percent-encoding */

static int take_char(struct pm_b64_cut *c, char ch)
{
    int digit = hex_digit(ch);

    if (!c->data)
        return 0;
    if (!c->percent && ch != '%')
        return take_digit(c, ch);
    if (!c->percent) {
        c->percent = 2;
        c->byte = 0;
        return 0;
    }
    if (digit < 0)
        return -EIO;
    c->byte = c->byte << 4 | (unsigned)digit;
    return --c->percent ? 0 : take_digit(c, (char)c->byte);
}

/* --- JSON's escapes */

static int take_escaped(struct pm_b64_cut *c, char ch)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char       *at = ch ? strchr(from, ch) : NULL;

    c->escaped = false;
    if (at)
        return take_char(c, to[at - from]);
    if (ch != 'u')
        return -EIO;
    c->hex = 4;
    c->code = 0;
    return 0;
}

static int take_hex(struct pm_b64_cut *c, char ch)
{
    int digit = hex_digit(ch);

    if (digit < 0)
        return -EIO;
    c->code = c->code << 4 | (unsigned)digit;
    if (--c->hex)
        return 0;
    return take_char(c, c->code && c->code < 0x80 ? (char)c->code : '\x7f'); /* others are no base64 */
}

static int in_value(struct pm_b64_cut *c, char ch)
{
    int err;

    if (c->hex)
        return take_hex(c, ch);
    if (c->escaped)
        return take_escaped(c, ch);
    if (ch == '\\') {
        c->escaped = true;
        return 0;
    }
    if (ch != '"')
        return (unsigned char)ch < 0x20 && !is_space(ch) ? -EIO : take_char(c, ch);
    c->state = AROUND;
    c->last = '"';
    err = end_value(c);
    return err ? err : keep(c, ch);
}

/* --- around it */

static bool is_member(const struct pm_b64_cut *c)
{
    size_t len = c->key_end - c->key_start;

    return !c->found && c->depth == 1 && c->last == ':' && c->key_end > c->key_start &&
           len == strlen(c->key) && !memcmp(c->rest.ptr + c->key_start, c->key, len);
}

static int in_string(struct pm_b64_cut *c, char ch)
{
    if (c->escaped) {
        c->escaped = false;
    } else if (ch == '\\') {
        c->escaped = true;
    } else if (ch == '"') {
        c->in_string = false;
        if (c->depth == 1 && c->last != ':')
            c->key_end = c->rest.len;
        c->last = '"';
    }
    return keep(c, ch);
}

static int around(struct pm_b64_cut *c, char ch)
{
    if (c->in_string)
        return in_string(c, ch);
    if (ch == '"' && is_member(c)) {
        c->found = true;
        c->state = VALUE;
        return keep(c, ch);
    }
    if (ch == '"') {
        c->in_string = true;
        if (c->depth == 1 && c->last != ':')
            c->key_start = c->rest.len + 1;
        return keep(c, ch);
    }
    if ((ch == '[' || ch == '{') && ++c->depth > PM_JSON_DEPTH)
        return -EIO;
    if ((ch == ']' || ch == '}') && --c->depth == 0)
        c->state = END;
    if (!is_space(ch))
        c->last = ch;
    return keep(c, ch);
}

static int at_start(struct pm_b64_cut *c, char ch)
{
    static const char bom[] = "\xef\xbb\xbf";

    if (c->bom < 3 && ch == bom[c->bom]) {
        c->bom++;
        return 0;
    }
    if (c->bom % 3 != 0)
        return -EIO;
    if (is_space(ch))
        return 0;
    if (ch != '{')
        return -EIO;
    c->state = AROUND;
    c->depth = 1;
    c->last = ch;
    return keep(c, ch);
}

static int take(struct pm_b64_cut *c, char ch)
{
    switch (c->state) {
    case START: return at_start(c, ch);
    case AROUND: return around(c, ch);
    case VALUE: return in_value(c, ch);
    default: return is_space(ch) ? 0 : -EIO;
    }
}

/* Most of a content: whole groups of nothing but digits. Gives how much of the text that is. */
static size_t take_groups(struct pm_b64_cut *c, const char *text, size_t len)
{
    size_t at = 0;

    if (c->state != VALUE || !c->data || c->escaped || c->hex || c->percent || c->digits || c->pads)
        return 0;
    for (; len - at >= 4 && c->nout <= OUT_MAX - 3; at += 4) {
        int a = digit_of(text[at]), b = digit_of(text[at + 1]);
        int d = digit_of(text[at + 2]), e = digit_of(text[at + 3]);

        if ((a | b | d | e) < 0)
            break;
        put_bytes(c, (unsigned)(a << 18 | b << 12 | d << 6 | e), 3);
    }
    if (c->nout > OUT_MAX - 3)
        c->err = hand_over(c);
    return at;
}

int pm_b64_cut_feed(struct pm_b64_cut *c, const char *text, size_t len)
{
    size_t at = 0;

    while (at < len && !c->err) {
        size_t n = take_groups(c, text + at, len - at);

        at += n;
        if (!n)
            c->err = take(c, text[at++]);
    }
    if (!c->err && c->data) /* whoever reads it need not wait for more */
        c->err = hand_over(c);
    return c->err;
}

struct cJSON *pm_b64_cut_rest(const struct pm_b64_cut *c)
{
    struct cJSON *rest;

    if (c->err || c->state != END)
        return NULL;
    rest = pm_json_parse(c->rest.ptr, c->rest.len);
    if (pm_json_is_object(rest))
        return rest;
    pm_json_free(rest);
    return NULL;
}

bool pm_b64_cut_found(const struct pm_b64_cut *c)
{
    return c->found;
}

uint64_t pm_b64_cut_bytes(const struct pm_b64_cut *c)
{
    return c->bytes;
}
