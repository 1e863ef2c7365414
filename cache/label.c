#include "cache/label.h"

#include "cache/journal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#define PATH    "user.polymount.path"
#define ACCOUNT "user.polymount.account"
#define NODE    "user.polymount.node"
#define UNSENT  "user.polymount.unsent"

static void set(int fd, const char *name, const char *value)
{
    if (fsetxattr(fd, name, value, strlen(value), 0))
        pm_log(PM_DEBUG, "label %s: %s", name, strerror(errno));
}

/* --- writing */

static void set_account(struct pm_cache *c, const struct pm_content *k)
{
    uint32_t id = (uint32_t)pm_db_int(c->db, 0, "SELECT account FROM node WHERE id=?1", "i",
                                      (int64_t)k->node);
    const struct pm_account *a = pm_account_by_id(c, id);
    PM_AUTO(free) char      *text =
        a ? pm_asprintf("%s %s %s", a->conf->name, a->conf->type, a->conf->endpoint) : NULL;

    if (text)
        set(k->fd, ACCOUNT, text);
}

static void set_place(struct pm_cache *c, const struct pm_content *k)
{
    PM_AUTO(free) char *path = pm_shown_path(c->db, k->node);
    char                node[24];

    snprintf(node, sizeof(node), "%llu", (unsigned long long)k->node);
    if (path)
        set(k->fd, PATH, path);
    set(k->fd, NODE, node);
    set_account(c, k);
}

void pm_label_unsent_locked(struct pm_cache *c, struct pm_content *k)
{
    enum pm_labelled was = (enum pm_labelled)k->labelled;
    enum pm_labelled now = pm_content_whole_locked(k) ? PM_LABEL_WHOLE : PM_LABEL_PARTIAL;
    char             text[40] = "whole";

    if (was == now)
        return;
    if (was != PM_LABEL_WHOLE && was != PM_LABEL_PARTIAL)
        set_place(c, k);
    if (now == PM_LABEL_PARTIAL)
        snprintf(text, sizeof(text), "partial %llu", (unsigned long long)k->base_end);
    set(k->fd, UNSENT, text);
    k->labelled = (char)now;
}

void pm_label_sent_locked(struct pm_content *k)
{
    set(k->fd, UNSENT, "no");
    k->labelled = PM_LABEL_SENT;
}

void pm_label_moved(struct pm_cache *c)
{
    c->moved = true;
}

/* The next entry above `after` that will send a content; 0: no more. */
static int64_t next_put(struct pm_cache *c, int64_t after, pm_node *node)
{
    int64_t id;

    pm_db_begin(c->db);
    id = pm_db_int(c->db, 0, "SELECT min(id) FROM j.entry WHERE op=1 AND state<>5 AND id>?1", "i",
                   after);
    *node = (pm_node)pm_db_int(c->db, 0, "SELECT node FROM j.entry WHERE id=?1", "i", id);
    return pm_db_end(c->db, 0) ? 0 : id;
}

/* Under the content's lock: it cannot be confirmed meanwhile. */
static void label_anew(struct pm_cache *c, pm_node node)
{
    struct pm_content *k;
    struct pm_jentry   e;

    if (pm_content_get(c->store, node, &k))
        return;
    pthread_mutex_lock(&k->lock);
    pm_db_begin(c->db);
    if (!pm_journal_of(c->db, node, PM_OP_PUT, &e)) {
        k->labelled = PM_LABEL_NONE;
        pm_label_unsent_locked(c, k);
    }
    pm_db_end(c->db, 0);
    pthread_mutex_unlock(&k->lock);
    pm_content_put(k);
}

void pm_label_tick(struct pm_cache *c)
{
    int64_t id = 0;
    pm_node node;

    if (!atomic_exchange(&c->moved, false))
        return;
    while (!c->stopping && (id = next_put(c, id, &node)) != 0)
        label_anew(c, node);
}

/* --- reading */

/* An attribute's text, owned; NULL: there is none. */
static char *get(int fd, const char *name)
{
    ssize_t len = fgetxattr(fd, name, NULL, 0);
    char   *text = len < 0 ? NULL : malloc((size_t)len + 1);

    if (!text)
        return NULL;
    len = fgetxattr(fd, name, text, (size_t)len);
    if (len < 0) {
        free(text);
        return NULL;
    }
    text[len] = 0;
    return text;
}

int pm_label_read(int fd, struct pm_label *out)
{
    PM_AUTO(free) char *unsent = NULL;
    unsigned long long  base = 0;

    *out = (struct pm_label){.state = PM_LABEL_NONE};
    if (fgetxattr(fd, UNSENT, NULL, 0) < 0 && errno == EOPNOTSUPP)
        return -EOPNOTSUPP;
    unsent = get(fd, UNSENT);
    out->path = get(fd, PATH);
    if (unsent && !strcmp(unsent, "no"))
        out->state = PM_LABEL_SENT;
    else if (unsent && sscanf(unsent, "partial %llu", &base) == 1)
        out->state = PM_LABEL_PARTIAL;
    else if (unsent || out->path)
        out->state = PM_LABEL_WHOLE;
    out->base_end = base;
    return 0;
}

void pm_label_free(struct pm_label *l)
{
    free(l->path);
}
