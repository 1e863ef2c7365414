/* conf.h: what the user configured (design.md section 1), as plain data.
 *
 * A configuration is read once, changed only by -o options before mounting, and immutable after;
 * any thread may then read it. Secrets are not in it: pm_conf_secret gets them when needed, since
 * a token command may be slow. */
#ifndef PM_BACKENDS_CONF_H
#define PM_BACKENDS_CONF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One way to get a secret such as `token`: KEY, KEY_file, KEY_command or KEY_env. */
struct pm_secret {
    char *key;   /* "token", "consumer_key", "password" (for looking at what is dropped), … */
    char *how;   /* "", "file", "command", "env" */
    char *value; /* the secret itself, the path, the command, the variable */
};

#define PM_PUBLISH_USUAL (-1)

struct pm_account_conf {
    char             *name; /* the top-level directory */
    char             *type; /* "smartshape", … */
    char             *endpoint; /* no trailing slash; the type's default if not given */
    bool              read_only;
    bool              accept_terms; /* the user accepts the service's terms, where uploads have to say so */
    bool              downloadable; /* what is dropped may be downloaded by who may look at it */
    char             *auth_scheme; /* "bearer", "bare"; NULL: found out, where the service may want either */
    char             *auth; /* "oauth1", "oauth2"; NULL: the service's first, where it has both */
    int64_t           publish_idle_ms; /* after so long without a change a draft is published; 0: never;
                                          PM_PUBLISH_USUAL: as is usual with its kind of drafts */
    struct pm_secret *secrets;
    size_t            nsecrets;
};

struct pm_conf {
    char                   *path; /* the file it came from, NULL if none */
    char                   *cache_dir; /* absolute, ~ expanded */
    uint64_t                max_size; /* bytes */
    uint64_t                min_free; /* bytes */
    int64_t                 attr_timeout_ms; /* how long a list counts as fresh */
    int64_t                 delay_ms; /* quiet time before an upload */
    unsigned                parallel; /* uploads side by side */
    bool                    on_close_wait;
    int64_t                 delete_delay_ms;
    unsigned                delete_guard; /* 0: none */
    unsigned                connections; /* parallel ranges per download */
    int64_t                 op_timeout_ms;
    uint64_t                limit_up; /* bytes/s, 0: none */
    uint64_t                limit_down; /* bytes/s, 0: none */
    char                   *proxy; /* NULL: the environment's */
    char                   *ca_file; /* NULL: the system's */
    struct pm_account_conf *accounts;
    size_t                  naccounts;
};

/* Reads `path`, or if NULL the first that exists of $XDG_CONFIG_HOME/polymount/polymount.conf
 * (~/.config/…) and /etc/polymount.conf. On failure `why` (of `why_len` bytes) gets one line: the
 * file, the place, what is wrong, for an unknown key the nearest known one. *out is owned.
 * Refuses: a file that holds a secret and that others can read (-EACCES); plain http to any but a
 * loopback address; bad account names; unknown types, keys, sections (-EINVAL). -ENOENT: no file. */
int pm_conf_load(const char *path, struct pm_conf **out, char *why, size_t why_len);
/* Sets one key as -o does: "cache.max_size=5G", "account.NAME.endpoint=…". Secrets are refused.
 * Returns 0, -EINVAL with `why`, or -ENOENT if `option` is not of the form section.key=value. */
int pm_conf_set(struct pm_conf *conf, const char *option, char *why, size_t why_len);
void pm_conf_free(struct pm_conf *conf);

/* Gets the secret `key` of an account: the value, the first line of the file or of what the
 * command prints (run by sh -c, 30 s at most, and not on when `cancel`, may be NULL, is set:
 * -ECANCELED), or the variable. May block: never call it from a thread that answers. *out is owned: wipe
 * and free it with pm_secret_free. -ENOENT: none given; others with `why`, which never holds the secret. */
int pm_conf_secret(const struct pm_account_conf *account, const char *key, const atomic_bool *cancel,
                   char **out, char *why, size_t why_len);
/* The same by what the file that `conf` came from says now, if it still has this account (name, type,
 * endpoint). A file that is there and makes no sense: its error. */
int pm_conf_secret_now(const struct pm_conf *conf, const struct pm_account_conf *account,
                       const char *key, char **out, char *why, size_t why_len);
void pm_secret_free(char *secret);

struct pm_conf_pair {
    const char *key;
    const char *value;
};

/* Where the user's own configuration is, or would be: owned; NULL without a home directory. */
char *pm_conf_own_path(void);
/* Sets keys of an account in a configuration (made 0600, with the account, where it is not there; else all
 * other lines stay). 0, or -errno with `why`, and then nothing was changed: what would not be read back as it
 * is, or a configuration that makes no sense, is -EINVAL. */
int pm_conf_store(const char *path, const char *account, const char *type,
                  const struct pm_conf_pair *pairs, size_t count, char *why, size_t why_len);

/* Parse "20G", "64M", "512" (bytes) / "100ms", "60s", "10m", "2h". 0 or -EINVAL. */
int pm_parse_size(const char *text, uint64_t *out);
int pm_parse_duration(const char *text, int64_t *out_ms);

#endif
