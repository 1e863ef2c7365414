/* The cutter reads bytes, one by one, and knows where it is:
 *
 *   START  -> LIST_FIRST   at `[`                     START -> AROUND  at `{`
 *   AROUND -> LIST_FIRST   at the `[` of the list     AROUND -> END    at the last `}`
 *   LIST_FIRST -> ELEMENT, or CLOSED at `]`           ELEMENT -> LIST_NEXT when it is balanced
 *   LIST_NEXT -> LIST_VALUE at `,`, CLOSED at `]`     LIST_VALUE -> ELEMENT
 *   CLOSED = AROUND if the list is a member, else END. END takes only white space.
 *
 * Invariants: `depth` counts the brackets open in the element or around the list; `in_string` and
 * `escaped` speak of the same text; `text` holds at most one element, `rest` what is around the
 * list. Whether brackets match and values are values is left to the parser that gets the pieces. */
#include "backends/json.h"
#include "backends/util.h"

#include <errno.h>
#include <string.h>

#define ELEMENT_MAX (1u << 20)
#define REST_MAX    (64u << 10)

enum state { START, AROUND, LIST_FIRST, LIST_NEXT, LIST_VALUE, ELEMENT, END };

struct pm_json_cut {
    const char      *key;
    pm_json_each_fn *each;
    void            *arg;
    enum state       state;
    int              depth;
    bool             in_string;
    bool             escaped;
    bool             scalar; /* the element is a number or a word: only what follows ends it */
    bool             found; /* the list has begun */
    size_t           bom; /* bytes of a byte order mark seen */
    size_t           key_start; /* the last string at depth 1 of rest, without quotes */
    size_t           key_end;
    struct pm_buf    text;
    struct pm_buf    rest;
    int              err;
};

struct pm_json_cut *pm_json_cut_new(const char *key, pm_json_each_fn *each, void *arg)
{
    struct pm_json_cut *c = calloc(1, sizeof(*c));

    if (c) {
        c->key = key;
        c->each = each;
        c->arg = arg;
    }
    return c;
}

void pm_json_cut_free(struct pm_json_cut *c)
{
    if (!c)
        return;
    pm_buf_free(&c->text);
    pm_buf_free(&c->rest);
    free(c);
}

static bool is_space(char ch)
{
    return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r';
}

static int keep(struct pm_buf *b, char ch, size_t max)
{
    if (b->len >= max)
        return -EIO;
    pm_buf_add(b, &ch, 1);
    return b->failed ? -ENOMEM : 0;
}

/* Follows one byte of a value: strings, escapes, brackets. -EIO: too deep, or closed too often. */
static int follow(struct pm_json_cut *c, char ch)
{
    if (c->in_string) {
        if (c->escaped)
            c->escaped = false;
        else if (ch == '\\')
            c->escaped = true;
        else if (ch == '"')
            c->in_string = false;
        return 0;
    }
    if (ch == '"')
        c->in_string = true;
    else if (ch == '[' || ch == '{')
        return ++c->depth > PM_JSON_DEPTH ? -EIO : 0;
    else if (ch == ']' || ch == '}')
        return --c->depth < 0 ? -EIO : 0;
    return 0;
}

static int hand_over(struct pm_json_cut *c)
{
    int err = c->each(c->arg, c->text.ptr, c->text.len);

    c->text.len = 0;
    c->state = LIST_NEXT;
    return err < 0 ? err : 0;
}

static int close_list(struct pm_json_cut *c)
{
    c->depth = c->rest.len > 1 ? 1 : 0; /* more than "[" around it: a member of an object */
    c->state = c->depth ? AROUND : END;
    return keep(&c->rest, ']', REST_MAX);
}

static int begin_element(struct pm_json_cut *c, char ch)
{
    c->state = ELEMENT;
    c->depth = 0;
    c->scalar = ch != '"' && ch != '[' && ch != '{';
    if (c->scalar && (ch == ',' || ch == ']' || ch == '}' || ch == ':'))
        return -EIO;
    follow(c, ch);
    return keep(&c->text, ch, ELEMENT_MAX);
}

static int in_list(struct pm_json_cut *c, char ch)
{
    if (is_space(ch))
        return 0;
    if (ch == ']' && c->state != LIST_VALUE)
        return close_list(c);
    if (c->state != LIST_NEXT)
        return begin_element(c, ch);
    if (ch != ',')
        return -EIO;
    c->state = LIST_VALUE;
    return 0;
}

static int in_element(struct pm_json_cut *c, char ch)
{
    int err;

    if (c->scalar && (is_space(ch) || ch == ',' || ch == ']')) {
        err = hand_over(c);
        return err ? err : in_list(c, ch);
    }
    err = follow(c, ch);
    if (!err)
        err = keep(&c->text, ch, ELEMENT_MAX);
    if (!err && !c->scalar && c->depth == 0 && !c->in_string)
        err = hand_over(c);
    return err;
}

/* Is the `[` that comes now, at depth 1 of the object, the list? */
static bool is_list(const struct pm_json_cut *c)
{
    const char *name = c->rest.ptr + c->key_start;
    size_t      len = c->key_end - c->key_start;

    if (c->found || c->key_end < c->key_start)
        return false;
    if (c->key)
        return len == strlen(c->key) && !memcmp(name, c->key, len);
    return len != 6 || memcmp(name, "errors", 6) != 0;
}

static int around_list(struct pm_json_cut *c, char ch)
{
    bool was_string = c->in_string;
    int  err;

    if (ch == '[' && !c->in_string && c->depth == 1 && is_list(c)) {
        c->found = true;
        c->state = LIST_FIRST;
        return keep(&c->rest, ch, REST_MAX);
    }
    err = follow(c, ch);
    if (!err)
        err = keep(&c->rest, ch, REST_MAX);
    if (c->depth == 1 && !was_string && c->in_string)
        c->key_start = c->rest.len;
    if (c->depth == 1 && was_string && !c->in_string)
        c->key_end = c->rest.len - 1;
    if (c->depth == 0)
        c->state = END;
    return err;
}

static int at_start(struct pm_json_cut *c, char ch)
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
    if (ch == '{') {
        c->state = AROUND;
        c->depth = 1;
        return keep(&c->rest, ch, REST_MAX);
    }
    if (ch != '[')
        return -EIO;
    c->found = true;
    c->state = LIST_FIRST;
    return keep(&c->rest, ch, REST_MAX);
}

static int take(struct pm_json_cut *c, char ch)
{
    switch (c->state) {
    case START:
        return at_start(c, ch);
    case AROUND:
        return around_list(c, ch);
    case ELEMENT:
        return in_element(c, ch);
    case END:
        return is_space(ch) ? 0 : -EIO;
    default:
        return in_list(c, ch);
    }
}

int pm_json_cut_feed(struct pm_json_cut *c, const char *data, size_t len)
{
    for (size_t i = 0; i < len && !c->err; i++)
        c->err = take(c, data[i]);
    return c->err;
}

bool pm_json_cut_whole(const struct pm_json_cut *c)
{
    struct cJSON *rest = c->found ? pm_json_cut_rest(c) : NULL;
    bool          whole = rest != NULL;

    pm_json_free(rest);
    return whole;
}

struct cJSON *pm_json_cut_rest(const struct pm_json_cut *c)
{
    if (c->err || c->state != END)
        return NULL;
    return pm_json_parse(c->rest.ptr, c->rest.len);
}
