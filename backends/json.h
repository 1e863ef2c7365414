/* json.h: JSON as services send it, with bounds; the home of cJSON.
 *
 * Strict in form (no trailing text, bounded size and depth), tolerant in type: ids and numbers come
 * as numbers or strings, times as milliseconds or ISO dates, anything as null (notes.md 0.4, 4).
 * Of duplicate members the first counts; names are case-sensitive.
 *
 * Strings keep every byte. What no valid UTF-8 string can hold comes out as bytes that are no valid
 * UTF-8, so that it is neither cut nor mistaken for another name: \u0000 as C0 80, a surrogate
 * without its partner as its three bytes (ED A0 80 to ED BF BF). Invalid UTF-8 passes through. */
#ifndef PM_BACKENDS_JSON_H
#define PM_BACKENDS_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PM_JSON_DEPTH 64 /* brackets inside one another */

struct cJSON; /* a value; only json.c looks inside */

/* Parses `len` bytes that must be one JSON value. NULL: not JSON, deeper than PM_JSON_DEPTH, a NUL
 * byte, no memory. Owned: pm_json_free. */
struct cJSON *pm_json_parse(const char *text, size_t len);
void          pm_json_free(struct cJSON *v);

/* All getters take NULL and values of a wrong type as "not there". Results are borrowed. */

/* A member of an object; NULL also when it is null. */
const struct cJSON *pm_json_get(const struct cJSON *obj, const char *key);
bool                pm_json_is_object(const struct cJSON *v);
bool                pm_json_is_array(const struct cJSON *v);
/* The elements of an array, or the members of an object: first, then each next until NULL. */
const struct cJSON *pm_json_first(const struct cJSON *v);
const struct cJSON *pm_json_next(const struct cJSON *v);
/* Under which name a member of an object is there; NULL: it is none. */
const char *pm_json_name(const struct cJSON *v);
/* The value itself as text, or a member; NULL if it is no string. */
const char *pm_json_string(const struct cJSON *v);
const char *pm_json_text(const struct cJSON *obj, const char *key);
/* A boolean, 0/1, "0"/"1", "true"/"false"; `def` otherwise. */
bool pm_json_bool(const struct cJSON *obj, const char *key, bool def);
/* A whole number 0 to 2^63-1, as number or decimal string. False: *out is left alone. */
bool pm_json_u64(const struct cJSON *obj, const char *key, uint64_t *out);
/* A time in milliseconds since 1970: a number, a decimal string, or an ISO 8601 date. 0: none. */
int64_t pm_json_ms(const struct cJSON *obj, const char *key);
/* The text or number of a member in its shortest form; false if it has more than size-1 bytes: then
 * `out` is left alone, never cut. */
bool pm_json_scalar(const struct cJSON *obj, const char *key, char *out, size_t size);
/* "id", else "_id" (also {"$oid": …}), as pm_json_scalar. */
bool pm_json_id(const struct cJSON *obj, char *out, size_t size);

/* A member of the object in a text, such as struct pm_entry's fields (NULL: none), in words: a string as it
 * is, others as JSON. 0; -ENODATA: there is none of that name; -ERANGE; -ENOMEM. */
int pm_json_word(const char *text, const char *key, char *out, size_t size);

/* --- making an object. All return false without memory; `obj` may be NULL (false). */

struct cJSON *pm_json_object(void); /* owned; NULL: no memory */
/* Sets a member, over all of that name that are there. */
bool pm_json_set_text(struct cJSON *obj, const char *key, const char *value);
bool pm_json_set_number(struct cJSON *obj, const char *key, int64_t value);
void pm_json_remove(struct cJSON *obj, const char *key);
/* On one line, or with `pretty` as for people to edit. Owned; NULL: no memory. */
char *pm_json_print(const struct cJSON *obj, bool pretty);

/* --- huge lists, cut into their elements as they arrive, in flat memory.
 *
 * The answer is `[…]`, or an object of which one member is the list: the one called `key`, or with
 * key NULL the first array that is not called "errors". */

struct pm_json_cut;

/* Takes the text of one element, borrowed for the call. Negative ends the cutting with it. */
typedef int pm_json_each_fn(void *arg, const char *text, size_t len);

/* NULL: no memory. `key` is borrowed until free. */
struct pm_json_cut *pm_json_cut_new(const char *key, pm_json_each_fn *each, void *arg);
void                pm_json_cut_free(struct pm_json_cut *c);
/* The next bytes, cut anywhere. 0, a negative of `each`, or -EIO: not JSON, an element over 1 MiB,
 * more than 64 KiB around the list. After a failure every call returns it again. */
int pm_json_cut_feed(struct pm_json_cut *c, const char *data, size_t len);
/* After the last byte: did one whole list come, and nothing but it? */
bool pm_json_cut_whole(const struct pm_json_cut *c);
/* What stood around the list, with the list emptied, such as {"data":[],"total":3}; NULL if that
 * is not whole. Owned. */
struct cJSON *pm_json_cut_rest(const struct pm_json_cut *c);

#endif
