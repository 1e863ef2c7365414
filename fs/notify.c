/* Design. A queue of at most QUEUE_MAX items, oldest first, and the same items in a hash, to find
 * equal ones. Three kinds: a name in a folder (its dentry goes), a folder (its cached list goes),
 * a node (its attributes, maybe its pages). Each changed name also queues its folder, once; beyond
 * NAMES_MAX names of one folder only that. A full queue drops: pm_inode_touch has then still
 * marked the folder, attributes and names end by their timeout, and pages are not kept at the
 * next open of another content. */
#include "fs/notify.h"

#include <errno.h>
#include <string.h>

enum { QUEUE_MAX = 4096, NAMES_MAX = 64, BUCKETS = 1024 };

enum kind { NAME, FOLDER, NODE };

struct item {
    struct item *next; /* in the queue */
    struct item *same; /* in its bucket */
    pm_node      node; /* for NAME the folder */
    enum kind    kind;
    bool         content; /* NODE: pages too */
    unsigned     names; /* FOLDER: queued since it was */
    char         name[]; /* NAME */
};

struct pm_notify {
    struct pm_inodes    *inodes; /* immutable */
    struct fuse_session *se; /* immutable once running */
    pthread_t            thread;
    pthread_mutex_t      lock; /* leaf */
    pthread_cond_t       queued; /* lock */
    struct item         *first, **last; /* lock */
    struct item         *buckets[BUCKETS]; /* lock */
    size_t               count; /* lock */
    bool                 running; /* lock */
};

static size_t bucket_of(enum kind kind, pm_node node, const char *name)
{
    uint64_t h = (node + kind) * 0x9e3779b97f4a7c15u;

    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return (h >> 32) % BUCKETS;
}

static struct item **find_locked(struct pm_notify *n, enum kind kind, pm_node node,
                                 const char *name)
{
    struct item **p = &n->buckets[bucket_of(kind, node, name)];

    while (*p && ((*p)->kind != kind || (*p)->node != node || strcmp((*p)->name, name) != 0))
        p = &(*p)->same;
    return p;
}

/* Finds the item or queues a new one. NULL: the queue is full, or no memory. */
static struct item *queue_locked(struct pm_notify *n, enum kind kind, pm_node node,
                                 const char *name)
{
    struct item **at = find_locked(n, kind, node, name);
    struct item  *it = *at;
    size_t        len;

    if (it || n->count >= QUEUE_MAX)
        return it;
    len = strlen(name) + 1;
    it = calloc(1, sizeof(*it) + len);
    if (!it)
        return NULL;
    it->kind = kind;
    it->node = node;
    memcpy(it->name, name, len);
    *at = it;
    *n->last = it;
    n->last = &it->next;
    n->count++;
    pthread_cond_signal(&n->queued);
    return it;
}

static struct item *take_locked(struct pm_notify *n)
{
    struct item *it = n->first;

    *find_locked(n, it->kind, it->node, it->name) = it->same;
    n->first = it->next;
    if (!n->first)
        n->last = &n->first;
    n->count--;
    return it;
}

static void entry_changed(void *arg, pm_node parent, const char *name)
{
    struct pm_notify *n = arg;
    struct item      *folder;

    if (!pm_inode_touch(n->inodes, parent))
        return;
    PM_GUARD(&n->lock);
    if (!n->running)
        return;
    folder = queue_locked(n, FOLDER, parent, "");
    if (*name && folder && folder->names < NAMES_MAX && queue_locked(n, NAME, parent, name))
        folder->names++;
}

static void node_changed(void *arg, pm_node node, bool content)
{
    struct pm_notify *n = arg;
    struct item      *it;

    if (!pm_inode_known(n->inodes, node))
        return;
    PM_GUARD(&n->lock);
    if (!n->running)
        return;
    it = queue_locked(n, NODE, node, "");
    if (it)
        it->content |= content;
}

void pm_notify_events(struct pm_notify *n, struct pm_cache_events *out)
{
    out->entry_changed = entry_changed;
    out->node_changed = node_changed;
    out->arg = n;
}

/* A node that the kernel forgot meanwhile is -ENOENT: nothing to do. */
static void send_one(struct pm_notify *n, const struct item *it)
{
    int err;

    if (it->kind == NAME)
        err = fuse_lowlevel_notify_inval_entry(n->se, it->node, it->name, strlen(it->name));
    else
        err = fuse_lowlevel_notify_inval_inode(n->se, it->node,
                                               it->kind == FOLDER || it->content ? 0 : -1, 0);
    if (err && err != -ENOENT && err != -ENOTDIR && err != -ENODEV)
        pm_log(PM_DEBUG, "notify node %llu %s: %s", (unsigned long long)it->node, it->name,
               strerror(-err));
}

static void *deliver(void *arg)
{
    struct pm_notify *n = arg;

    pthread_mutex_lock(&n->lock);
    for (;;) {
        struct item *it;

        while (n->running && !n->first)
            pthread_cond_wait(&n->queued, &n->lock);
        if (!n->running)
            break;
        it = take_locked(n);
        pthread_mutex_unlock(&n->lock);
        send_one(n, it);
        free(it);
        pthread_mutex_lock(&n->lock);
    }
    pthread_mutex_unlock(&n->lock);
    return NULL;
}

int pm_notify_new(struct pm_inodes *inodes, struct pm_notify **out)
{
    struct pm_notify *n = calloc(1, sizeof(*n));

    if (!n)
        return -ENOMEM;
    n->inodes = inodes;
    n->last = &n->first;
    pthread_mutex_init(&n->lock, NULL);
    pthread_cond_init(&n->queued, NULL);
    *out = n;
    return 0;
}

int pm_notify_start(struct pm_notify *n, struct fuse_session *se)
{
    PM_GUARD(&n->lock);
    int err = pm_thread_start(&n->thread, "pm-notify", deliver, n);

    n->se = se;
    n->running = err == 0;
    return err;
}

void pm_notify_stop(struct pm_notify *n)
{
    bool was;

    pthread_mutex_lock(&n->lock);
    was = n->running;
    n->running = false;
    pthread_cond_signal(&n->queued);
    pthread_mutex_unlock(&n->lock);
    if (was)
        pthread_join(n->thread, NULL);
}

void pm_notify_free(struct pm_notify *n)
{
    if (!n)
        return;
    pm_notify_stop(n);
    while (n->first)
        free(take_locked(n));
    pthread_cond_destroy(&n->queued);
    pthread_mutex_destroy(&n->lock);
    free(n);
}
