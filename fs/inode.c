#include "fs/inode.h"

#include <assert.h>
#include <errno.h>

/* One per node the kernel knows: with 100,000 of them what counts is their size. */
struct pm_inode {
    struct pm_inode *next; /* in its bucket */
    pm_node          node;
    uint64_t         refs;   /* what the kernel's FORGETs will add up to; > 0 */
    uint64_t         served; /* file: the content, folder: the generation, last opened; 0 unknown */
    uint32_t         opens;
    uint32_t         gen; /* a folder's generation, from 1 on */
};

_Static_assert(sizeof(struct pm_inode) <= 48, "an inode stays small");

struct pm_inodes {
    pthread_mutex_t   lock;    /* leaf */
    struct pm_inode **buckets; /* lock */
    size_t            nbuckets; /* lock; a power of two */
    size_t            count;   /* lock */
};

enum { FIRST_BUCKETS = 256 };

#define NEVER UINT64_MAX /* `served` of what the kernel did not open yet: it has no pages of it */

static size_t bucket_of(pm_node node, size_t nbuckets)
{
    return (node * 0x9e3779b97f4a7c15u >> 20) & (nbuckets - 1);
}

static struct pm_inode **find_locked(struct pm_inodes *t, pm_node node)
{
    struct pm_inode **p = &t->buckets[bucket_of(node, t->nbuckets)];

    while (*p && (*p)->node != node)
        p = &(*p)->next;
    return p;
}

/* Doubles the buckets. Without memory the chains just get longer. */
static void grow_locked(struct pm_inodes *t)
{
    size_t            n = t->nbuckets * 2;
    struct pm_inode **to = calloc(n, sizeof(*to));

    if (!to)
        return;
    for (size_t i = 0; i < t->nbuckets; i++) {
        while (t->buckets[i]) {
            struct pm_inode *in = t->buckets[i];
            size_t           b = bucket_of(in->node, n);

            t->buckets[i] = in->next;
            in->next = to[b];
            to[b] = in;
        }
    }
    free(t->buckets);
    t->buckets = to;
    t->nbuckets = n;
}

int pm_inodes_new(struct pm_inodes **out)
{
    struct pm_inodes *t = calloc(1, sizeof(*t));

    if (!t)
        return -ENOMEM;
    pthread_mutex_init(&t->lock, NULL);
    t->nbuckets = FIRST_BUCKETS;
    t->buckets = calloc(t->nbuckets, sizeof(struct pm_inode *));
    if (!t->buckets || !pm_inode_ref(t, PM_NODE_ROOT)) {
        pm_inodes_free(t);
        return -ENOMEM;
    }
    *out = t;
    return 0;
}

void pm_inodes_free(struct pm_inodes *t)
{
    if (!t)
        return;
    for (size_t i = 0; t->buckets && i < t->nbuckets; i++) {
        while (t->buckets[i]) {
            struct pm_inode *in = t->buckets[i];

            t->buckets[i] = in->next;
            free(in);
        }
    }
    free(t->buckets);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

bool pm_inode_ref(struct pm_inodes *t, pm_node node)
{
    PM_GUARD(&t->lock);
    struct pm_inode **p = find_locked(t, node);

    if (!*p) {
        struct pm_inode *in = calloc(1, sizeof(*in));

        if (!in)
            return false;
        in->node = node;
        in->gen = 1;
        in->served = NEVER;
        *p = in;
        in->refs = 1;
        if (++t->count > t->nbuckets)
            grow_locked(t);
        return true;
    }
    (*p)->refs++;
    return true;
}

bool pm_inode_unref(struct pm_inodes *t, pm_node node, uint64_t n)
{
    PM_GUARD(&t->lock);
    struct pm_inode **p = find_locked(t, node);
    struct pm_inode  *in = *p;

    if (!in || node == PM_NODE_ROOT)
        return false;
    assert(in->refs >= n);
    in->refs -= n;
    if (in->refs > 0)
        return false;
    *p = in->next;
    free(in);
    t->count--;
    return true;
}

bool pm_inode_known(struct pm_inodes *t, pm_node node)
{
    PM_GUARD(&t->lock);
    return *find_locked(t, node) != NULL;
}

size_t pm_inodes_count(struct pm_inodes *t)
{
    PM_GUARD(&t->lock);
    return t->count;
}

bool pm_inode_open_file(struct pm_inodes *t, pm_node node, uint64_t content)
{
    PM_GUARD(&t->lock);
    struct pm_inode *in = *find_locked(t, node);
    bool             same;

    if (!in)
        return false;
    same = (in->served == content || in->served == NEVER) && content != 0;
    in->served = content;
    in->opens++;
    return same;
}

void pm_inode_close_file(struct pm_inodes *t, pm_node node)
{
    PM_GUARD(&t->lock);
    struct pm_inode *in = *find_locked(t, node);

    if (in && in->opens > 0)
        in->opens--;
}

bool pm_inode_open_folder(struct pm_inodes *t, pm_node node)
{
    PM_GUARD(&t->lock);
    struct pm_inode *in = *find_locked(t, node);
    bool             same;

    if (!in)
        return false;
    same = in->served == in->gen;
    in->served = in->gen;
    return same;
}

void pm_inode_unserve(struct pm_inodes *t, pm_node node)
{
    PM_GUARD(&t->lock);
    struct pm_inode *in = *find_locked(t, node);

    if (in)
        in->served = 0;
}

bool pm_inode_touch(struct pm_inodes *t, pm_node node)
{
    PM_GUARD(&t->lock);
    struct pm_inode *in = *find_locked(t, node);

    if (!in)
        return false;
    if (++in->gen == 0)
        in->gen = 1;
    return true;
}
