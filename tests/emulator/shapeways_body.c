#include "tests/emulator/shapeways_body.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define REST_MAX ((size_t)1024 * 1024)
#define PIECE ((size_t)64 * 1024)
#define KEY_MAX 32

enum decoding { DECODE_NOTHING, DECODE_FORM, DECODE_RAW };

struct sw_body {
    struct store    *store;             /* borrowed */
    struct incoming *incoming;          /* owned; NULL: no file yet */
    struct sums_run *run;               /* of the file's bytes; owned */
    struct buf       rest;
    struct sw_text   text;
    int              failed;            /* -errno */
    /* Where in the JSON. */
    int              depth;
    bool             whole;
    bool             in_string;
    bool             in_file;           /* that string is the file's text */
    bool             is_value;          /* a ':' was the last structure at depth 1 */
    char             key[KEY_MAX];      /* of depth 1, as far as it fits */
    size_t           key_len;
    int              escape;            /* 0: none; 1: after '\'; 2 to 5: digits of \u to come */
    unsigned         code;              /* those that were there */
    /* Where in the file's text. */
    enum decoding    decoding;
    int              percent;           /* 1: after '%', 2: and one digit */
    char             digit;
    unsigned         bits;              /* base64's, not given out yet … */
    int              bit_count;         /* … so many */
    signed char      values[256];       /* of base64's digits; -1: none */
    char             piece[PIECE];
    size_t           piece_len;
};

struct sw_body *sw_body_new(struct store *store, const char *form)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct sw_body *b = emu_alloc(sizeof(*b));
    b->store = store;
    b->decoding = strcmp(form, "percent") == 0  ? DECODE_FORM
                  : strcmp(form, "either") == 0 ? DECODE_RAW
                                                : DECODE_NOTHING;
    memset(b->values, -1, sizeof(b->values));
    for (int i = 0; i < 64; i++)
        b->values[(unsigned char)digits[i]] = (signed char)i;
    return b;
}

void sw_body_free(struct sw_body *b)
{
    if (b == NULL)
        return;
    incoming_abort(b->incoming);
    sums_run_free(b->run);
    buf_free(&b->rest);
    free(b);
}

const struct buf *sw_body_rest(const struct sw_body *b)
{
    return &b->rest;
}

bool sw_body_whole(const struct sw_body *b)
{
    return b->whole;
}

const struct sw_text *sw_body_text(const struct sw_body *b)
{
    return &b->text;
}

/* ---- from text to bytes ---- */

static void flush(struct sw_body *b)
{
    if (b->piece_len == 0 || b->failed != 0)
        return;
    b->failed = incoming_write(b->incoming, b->piece, b->piece_len);
    sums_run_add(b->run, b->piece, b->piece_len);
    b->text.bytes += b->piece_len;
    b->piece_len = 0;
}

/* As PHP's base64_decode() does it if it is not told to be strict: what is no digit is passed
 * over. */
static void take_digit(struct sw_body *b, unsigned char c)
{
    int value = b->values[c];
    if (value < 0)
        return;
    b->bits = (b->bits << 6 | (unsigned)value) & 0xffff;
    b->bit_count += 6;
    if (b->bit_count < 8)
        return;
    b->bit_count -= 8;
    b->piece[b->piece_len++] = (char)(b->bits >> b->bit_count & 0xff);
    if (b->piece_len == PIECE)
        flush(b);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void take_unescaped(struct sw_body *b, char c)
{
    take_digit(b, (unsigned char)(c == '+' && b->decoding == DECODE_FORM ? ' ' : c));
}

/* A '%' that begins no escape stands for itself, as in PHP's urldecode(). */
static void take_escaped(struct sw_body *b, char c)
{
    if (b->percent == 1 && hex_value(c) >= 0) {
        b->digit = c;
        b->percent = 2;
        return;
    }
    if (b->percent == 2 && hex_value(c) >= 0) {
        take_digit(b, (unsigned char)(hex_value(b->digit) << 4 | hex_value(c)));
        b->percent = 0;
        return;
    }
    if (b->percent == 2)
        take_unescaped(b, b->digit);
    b->percent = c == '%' ? 1 : 0;
    if (c != '%')
        take_unescaped(b, c);
}

static void take_character(struct sw_body *b, char c)
{
    b->text.length++;
    b->text.percents += c == '%';
    b->text.pluses += c == '+';
    b->text.odd += b->values[(unsigned char)c] < 0 && c != '%' && c != '=';
    if (b->decoding != DECODE_NOTHING && (b->percent != 0 || c == '%'))
        take_escaped(b, c);
    else
        take_unescaped(b, c);
}

/* ---- from JSON to text ---- */

static void keep(struct sw_body *b, char c)
{
    if (b->rest.len < REST_MAX)
        buf_add(&b->rest, &c, 1);
}

/* One more character of a string whose escapes are undone. Only ASCII is told apart. */
static void string_character(struct sw_body *b, char c)
{
    if (b->in_file)
        take_character(b, c);
    else if (b->depth == 1 && !b->is_value && b->key_len < KEY_MAX - 1)
        b->key[b->key_len++] = c;
}

static void begin_string(struct sw_body *b)
{
    b->in_string = true;
    b->key[b->key_len] = '\0';
    b->in_file = b->depth == 1 && b->is_value && strcmp(b->key, "file") == 0;
    if (b->depth == 1 && !b->is_value)
        b->key_len = 0;
    if (!b->in_file || b->text.times++ > 0)
        return;
    b->failed = incoming_new(b->store, &b->incoming);
    b->run = sums_run_new();
}

static void escaped(struct sw_body *b, char c)
{
    static const char from[] = "bfnrt";
    static const char to[] = "\b\f\n\r\t";
    const char *place = strchr(from, c);
    if (b->escape > 1) {
        int value = hex_value(c);
        b->code = b->code << 4 | (unsigned)(value < 0 ? 0 : value);
        b->escape = b->escape < 5 ? b->escape + 1 : 0;
        if (b->escape == 0)
            string_character(b, b->code < 0x80 ? (char)b->code : '\x7f');
        return;
    }
    b->escape = c == 'u' ? 2 : 0;
    b->code = 0;
    if (c != 'u')
        string_character(b, place != NULL && c != '\0' ? to[place - from] : c);
}

static void in_string(struct sw_body *b, char c)
{
    bool ends = b->escape == 0 && c == '"';
    if (!b->in_file || ends)
        keep(b, c);
    if (ends) {
        b->in_string = b->in_file = false;
        return;
    }
    if (b->escape != 0)
        escaped(b, c);
    else if (c == '\\')
        b->escape = 1;
    else
        string_character(b, c);
}

static void structure(struct sw_body *b, char c)
{
    keep(b, c);
    if (c == '"') {
        begin_string(b);
    } else if (c == '{' || c == '[') {
        b->depth++;
        b->is_value = false;
    } else if (c == '}' || c == ']') {
        b->depth--;
        b->whole = b->whole || b->depth == 0;
    } else if (b->depth == 1 && (c == ':' || c == ',')) {
        b->is_value = c == ':';
    }
}

int sw_body_feed(struct sw_body *b, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len && b->failed == 0; i++) {
        if (b->in_string)
            in_string(b, bytes[i]);
        else
            structure(b, bytes[i]);
    }
    return b->failed;
}

int sw_body_commit(struct sw_body *b, char content[33], struct sums *sums)
{
    if (b->incoming == NULL)
        return -EBADMSG;
    flush(b);
    sums_run_end(b->run, sums);
    b->run = NULL;
    struct incoming *in = b->incoming;
    b->incoming = NULL;
    if (b->failed == 0)
        return incoming_commit(in, content);
    incoming_abort(in);
    return b->failed;
}
