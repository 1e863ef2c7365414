/* valid_json.h: a second opinion on what JSON is (RFC 8259), for comparisons.
 *
 * It says yes only to what every parser of ours must take: at most 64 brackets deep, numbers of
 * less than 63 bytes (a bound of cJSON). */
#ifndef PM_TESTS_FUZZ_VALID_JSON_H
#define PM_TESTS_FUZZ_VALID_JSON_H

#include "tests/fuzz/fuzz.h"

struct valid_json {
    const char *p, *end;
    int         depth;
    /* of the outermost value: */
    bool        object;
    bool        list; /* an array, or it has a member that is one and not called "errors" */
    size_t      elements; /* of that array */
};

static bool valid_value(struct valid_json *v);

static inline bool valid_next(struct valid_json *v, const char *any)
{
    if (v->p == v->end || !*v->p || !strchr(any, *v->p))
        return false;
    v->p++;
    return true;
}

static inline void valid_space(struct valid_json *v)
{
    while (valid_next(v, " \t\r\n"))
        ;
}

static inline bool valid_hex4(struct valid_json *v)
{
    for (int i = 0; i < 4; i++)
        if (!valid_next(v, "0123456789abcdefABCDEF"))
            return false;
    return true;
}

static inline bool valid_string(struct valid_json *v)
{
    if (!valid_next(v, "\""))
        return false;
    while (v->p < v->end && *v->p != '"') {
        if ((unsigned char)*v->p < 0x20)
            return false;
        if (*v->p++ != '\\')
            continue;
        if (valid_next(v, "u") ? !valid_hex4(v) : !valid_next(v, "\"\\/bfnrt"))
            return false;
    }
    return valid_next(v, "\"");
}

static inline bool valid_digits(struct valid_json *v)
{
    const char *start = v->p;

    while (valid_next(v, "0123456789"))
        ;
    return v->p > start;
}

static inline bool valid_number(struct valid_json *v)
{
    const char *start = v->p;

    valid_next(v, "-");
    if (!valid_next(v, "0") && !valid_digits(v))
        return false;
    if (valid_next(v, ".") && !valid_digits(v))
        return false;
    if (valid_next(v, "eE")) {
        valid_next(v, "+-");
        if (!valid_digits(v))
            return false;
    }
    return v->p - start < 63;
}

static inline bool valid_word(struct valid_json *v, const char *word)
{
    size_t len = strlen(word);

    if ((size_t)(v->end - v->p) < len || memcmp(v->p, word, len) != 0)
        return false;
    v->p += len;
    return true;
}

static inline bool valid_array(struct valid_json *v, size_t *elements)
{
    valid_next(v, "[");
    *elements = 0;
    valid_space(v);
    if (valid_next(v, "]"))
        return true;
    do {
        ++*elements;
        if (!valid_value(v))
            return false;
    } while (valid_next(v, ","));
    return valid_next(v, "]");
}

static inline bool valid_member(struct valid_json *v)
{
    const char *name;
    bool        errors;

    valid_space(v);
    name = v->p;
    if (!valid_string(v))
        return false;
    errors = v->p - name == 8 && !memcmp(name, "\"errors\"", 8);
    valid_space(v);
    if (!valid_next(v, ":"))
        return false;
    valid_space(v);
    if (v->depth != 1 || v->list || errors || v->p == v->end || *v->p != '[')
        return valid_value(v);
    v->list = true;
    v->depth++;
    if (!valid_array(v, &v->elements))
        return false;
    v->depth--;
    valid_space(v);
    return true;
}

static inline bool valid_object(struct valid_json *v)
{
    valid_next(v, "{");
    valid_space(v);
    if (valid_next(v, "}"))
        return true;
    do {
        if (!valid_member(v))
            return false;
    } while (valid_next(v, ","));
    return valid_next(v, "}");
}

/* A value and the white space around it. */
static inline bool valid_value(struct valid_json *v)
{
    size_t elements = 0;
    bool   ok;

    valid_space(v);
    if (v->p == v->end)
        return false;
    if (*v->p == '[' || *v->p == '{') {
        if (++v->depth > 64)
            return false;
        ok = *v->p == '[' ? valid_array(v, &elements) : valid_object(v);
        v->depth--;
    } else if (*v->p == '"') {
        ok = valid_string(v);
    } else {
        ok = valid_word(v, "null") || valid_word(v, "true") || valid_word(v, "false") ||
             valid_number(v);
    }
    valid_space(v);
    return ok;
}

/* Is it one JSON value and nothing else? *v tells of it. */
static inline bool valid_json(struct valid_json *v, const char *text, size_t len)
{
    *v = (struct valid_json){.p = text, .end = text + len};
    valid_space(v);
    if (v->p < v->end && *v->p == '[') {
        v->list = true;
        v->depth = 1;
        if (!valid_array(v, &v->elements))
            return false;
        valid_space(v);
        return v->p == v->end;
    }
    v->object = v->p < v->end && *v->p == '{';
    return valid_value(v) && v->p == v->end;
}

#endif
