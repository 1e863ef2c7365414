#include "tests/emulator/path.h"

#include <string.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool url_decode(const char *raw, size_t len, bool plus, struct buf *out)
{
    bool good = true;
    for (size_t i = 0; i < len; i++) {
        char c = raw[i];
        if (c == '%') {
            int high = i + 2 < len ? hex_value(raw[i + 1]) : -1;
            int low = i + 2 < len ? hex_value(raw[i + 2]) : -1;
            if (high >= 0 && low >= 0) {
                c = (char)(high << 4 | low);
                i += 2;
            } else {
                good = false;
            }
        } else if (c == '+' && plus) {
            c = ' ';
        }
        buf_add(out, &c, 1);
    }
    return good;
}

void path_parse(struct path *p, const char *text)
{
    while (*text != '\0') {
        size_t len = strcspn(text, "/");
        if (len > 0) {
            buf_add(&p->names, text, len);
            buf_add(&p->names, "", 1);
        }
        text += len + (text[len] == '/');
    }
}

static const char *add_segment(struct path *p, const char *raw, size_t len)
{
    size_t start = p->names.len;
    bool good = url_decode(raw, len, false, &p->names);
    const char *name = p->names.data + start;
    size_t name_len = p->names.len - start;
    const char *wrong = NULL;
    if (!good)
        wrong = "has a broken percent escape";
    else if (memchr(name, '\0', name_len) != NULL)
        wrong = "holds an encoded NUL";
    else if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        wrong = "is not normalised ('.' or '..')";
    p->encoded_slash = p->encoded_slash || memchr(name, '/', name_len) != NULL;
    buf_add(&p->names, "", 1);
    return wrong;
}

const char *path_from_url(struct path *p, const char *raw, size_t len)
{
    const char *wrong = NULL;
    size_t at = len > 0 && raw[0] == '/' ? 1 : 0;
    while (at < len) {
        const char *slash = memchr(raw + at, '/', len - at);
        size_t n = slash != NULL ? (size_t)(slash - raw) - at : len - at;
        const char *why = n > 0 ? add_segment(p, raw + at, n) : "is not normalised ('//')";
        wrong = wrong != NULL ? wrong : why;
        at += n + 1;
    }
    return wrong;
}

char *path_pop(struct path *p)
{
    if (p->names.len == 0)
        return NULL;
    size_t start = p->names.len - 1;
    while (start > 0 && p->names.data[start - 1] != '\0')
        start--;
    char *name = emu_strdup(p->names.data + start);
    p->names.len = start;
    return name;
}

const char *path_next(const struct path *p, const char *name)
{
    const char *next = name == NULL ? p->names.data : name + strlen(name) + 1;
    return p->names.len > 0 && next < p->names.data + p->names.len ? next : NULL;
}

void path_text(const struct path *p, struct buf *out)
{
    const char *name = NULL;
    if (p->names.len == 0)
        buf_puts(out, "/");
    while ((name = path_next(p, name)) != NULL)
        buf_printf(out, "/%s", name);
}

void path_free(struct path *p)
{
    buf_free(&p->names);
}
