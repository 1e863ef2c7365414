/* keys.h: the keys of the configuration: their form, defaults and limits, and the nearest of them.
 *
 * Shared by conf.c and secret.c; nothing else needs it. One table serves the file, -o, the
 * defaults and the proposals for misspelt keys. Plain functions without state, for any thread. */
#ifndef PM_BACKENDS_KEYS_H
#define PM_BACKENDS_KEYS_H

#include "backends/conf.h"

enum pm_key_kind { K_SIZE, K_DURATION, K_COUNT, K_SWITCH, K_PROXY, K_PATH, K_URL, K_TYPE, K_PUBLISH,
                   K_WORD };

struct pm_key {
    const char        *section;
    const char        *name;
    enum pm_key_kind   kind;
    size_t             at; /* offset in struct pm_conf, for [account] in struct pm_account_conf */
    const char        *preset; /* the default, as it would be written; NULL: none */
    const char        *min; /* as it would be written; NULL: any */
    const char        *max;
    const char *const *words; /* K_SWITCH: the two for false and true; NULL: no and yes. K_WORD: the
                                 two that it may be */
};

/* Where a value stands, for messages; and where the message goes. */
struct pm_place {
    const char *path; /* NULL: an option */
    int line;         /* 0: the file as a whole */
    char *why;
    size_t why_len;
};

/* Writes "path:line: message" to p->why and returns `err`. */
int pm_place_fail(const struct pm_place *p, int err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for -ENOMEM. */
int pm_place_no_memory(const struct pm_place *p);

#define PM_SECTIONS 4
/* "cache", "upload", "net", "account" */
extern const char *const pm_sections[PM_SECTIONS];
/* The section that looks most like `asked`; *far is how many letters differ. */
const char *pm_section_nearest(const char *asked, unsigned *far);

/* The key, by section or (NULL) in any; NULL if there is none. */
const struct pm_key *pm_key_find(const char *section, const char *name);
/* Whether `name` is KEY or KEY_WAY of a secret; *key ("token", …) and *way ("", "file",
 * "command", "env") are constants. */
bool pm_key_find_secret(const char *name, const char **key, const char **way);
/* Complains of `name`, telling where it belongs or what it may have meant. */
int pm_key_unknown(const char *section, const char *name, const struct pm_place *p);

/* Sets a key of the table in `base` (a struct pm_conf, for [account] a struct pm_account_conf).
 * 0, -EINVAL or -ENOMEM, with p->why. */
int pm_key_set(const struct pm_key *k, void *base, const char *value, const struct pm_place *p);
/* Sets all keys of a section that have a default. */
int pm_keys_preset(const char *section, void *base, const struct pm_place *p);

/* Puts `owned` into *field, freeing what was there; NULL: -ENOMEM. */
int pm_set_string(char **field, char *owned, const struct pm_place *p);
/* Puts an absolute path into *field, ~ expanded. `what` is the key, for the message. */
int pm_set_path(const char *what, char **field, const char *value, const struct pm_place *p);
/* $VARIABLE/TAIL, or ~/INSTEAD/TAIL where it is unset or relative (as the XDG rules have it).
 * Owned; NULL without a home directory. */
char *pm_xdg_path(const char *variable, const char *instead, const char *tail);

#endif
