#include "cache/label.h"

#include "cache/journal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

static const char attribute[] = "user.polymount.unsent";

static bool set(int fd, const char *value)
{
    return !fsetxattr(fd, attribute, value, strlen(value), 0);
}

/* --- writing */

static const char *type_of(struct pm_cache *c, pm_node node)
{
    uint32_t id =
        (uint32_t)pm_db_int(c->db, 0, "SELECT account FROM node WHERE id=?1", "i", (int64_t)node);
    const struct pm_account *a = pm_account_by_id(c, id);

    return a ? a->conf->type : "?";
}

void pm_label_unsent_locked(struct pm_cache *c, struct pm_content *k)
{
    enum pm_labelled    was = (enum pm_labelled)k->labelled;
    enum pm_labelled    now = pm_content_whole_locked(k) ? PM_LABEL_WHOLE : PM_LABEL_PARTIAL;
    PM_AUTO(free) char *path = NULL;
    PM_AUTO(free) char *text = NULL;
    char                state[32] = "whole";

    if (was == now)
        return;
    if (now == PM_LABEL_PARTIAL)
        snprintf(state, sizeof(state), "partial:%llu", (unsigned long long)k->base_end);
    path = pm_told_path(c->db, k->node);
    text = pm_asprintf("%s %llu %s %s", state, (unsigned long long)k->node, type_of(c, k->node),
                       path ? path : "");
    if ((!text || !set(k->fd, text)) && !set(k->fd, state)) /* many disks take 4 KiB, no longer path */
        pm_log(PM_DEBUG, "label: %s", strerror(errno));
    k->labelled = (char)now;
}

void pm_label_sent_locked(struct pm_content *k)
{
    set(k->fd, "no");
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
    if (pm_db_end(c->db, 0))
        c->moved = true; /* another time */
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

/* What stands after the third space; owned. */
static char *path_in(const char *text)
{
    for (int i = 0; i < 3 && text; i++) {
        text = strchr(text, ' ');
        text = text ? text + 1 : NULL;
    }
    return text && *text ? strdup(text) : NULL;
}

int pm_label_read(int fd, struct pm_label *out)
{
    ssize_t             len = fgetxattr(fd, attribute, NULL, 0);
    PM_AUTO(free) char *text = NULL;
    unsigned long long  base = 0;

    *out = (struct pm_label){.state = PM_LABEL_NONE};
    if (len < 0)
        return errno == EOPNOTSUPP ? -EOPNOTSUPP : 0;
    text = calloc(1, (size_t)len + 1);
    if (!text)
        return -ENOMEM;
    if (fgetxattr(fd, attribute, text, (size_t)len) < 0)
        return -errno;
    out->state = PM_LABEL_WHOLE;
    if (!strcmp(text, "no"))
        out->state = PM_LABEL_SENT;
    else if (sscanf(text, "partial:%llu", &base) == 1)
        out->state = PM_LABEL_PARTIAL;
    out->base_end = base;
    out->path = path_in(text);
    return 0;
}

void pm_label_free(struct pm_label *l)
{
    free(l->path);
}
