/* The tree of files and folders of every service, in one SQLite file. Each service has a root of
 * its own. Names may be any bytes, and may repeat within a folder, so that a test can seed what a
 * broken service would list.
 *
 * Conversion and copying need no timer: a node stores until when it is in which state, and
 * node_state() tells the state of the moment.
 *
 * Any thread. A change that consists of several calls is put between tree_begin() and
 * tree_commit(), which hold the (recursive) lock and make it one transaction. */
#ifndef EMULATOR_TREE_H
#define EMULATOR_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/emulator/buf.h"
#include "tests/emulator/path.h"

#define NODE_NAME_MAX 1024

struct node {
    int64_t  num;                       /* 0: not in the tree */
    int64_t  parent;                    /* num of the folder; 0 for a root */
    char     id[25];
    bool     dir;
    char     name[NODE_NAME_MAX + 1];
    size_t   name_len;
    uint64_t size;
    char     content[33];               /* see store.h */
    int64_t  created;                   /* ms */
    int64_t  updated;                   /* ms */
    int64_t  revised;                   /* ms; when the content came */
    int64_t  queued_until;              /* ms; "queued" before, then `busy` … */
    int64_t  busy_until;                /* ms; … until here, then `final` */
    int64_t  settled_updated;           /* ms; replaces updated after busy_until, 0: does not */
    char     busy[12];                  /* "converting" or "copying" */
    char     final[12];                 /* "none", "converted" or "inError" */
    int64_t  copy_of;                   /* num of the source of a copy, or 0 */
};

struct tree;

int tree_open(const char *dir, struct tree **out);
void tree_close(struct tree *t);

void tree_begin(struct tree *t);
void tree_commit(struct tree *t);

/* Small texts that survive a restart: secrets, documents seeded by tests. */
void tree_set_text(struct tree *t, const char *key, const char *value);
bool tree_get_text(struct tree *t, const char *key, struct buf *out);

/* Lookups: true and *out, or false. */
bool tree_root(struct tree *t, const char *service, struct node *out);      /* made if missing */
bool tree_child(struct tree *t, int64_t parent, const char *name, size_t len, struct node *out);
bool tree_lookup(struct tree *t, const char *service, const struct path *path, struct node *out);
bool tree_by_id(struct tree *t, const char *id, struct node *out);
bool tree_by_num(struct tree *t, int64_t num, struct node *out);

/* The path below the service's root, "/" for the root itself. */
void tree_path_of(struct tree *t, const struct node *n, struct buf *out);

int tree_add(struct tree *t, struct node *n);           /* fills num, and id if empty */
int tree_update(struct tree *t, const struct node *n);

/* The next children of a folder in order of their making, after number `after`; calls `each` up to
 * `limit` times, with the lock held. -> how many. */
typedef void node_fn(const struct node *n, void *arg);
size_t tree_children(struct tree *t, int64_t parent, int64_t after, size_t limit, node_fn *each,
                     void *arg);

/* All children; `each` may use and change the tree, and call this again for a folder below. */
void tree_for_children(struct tree *t, int64_t parent, node_fn *each, void *arg);

/* Removes a node and all below. `dropped` gets each content that nothing refers to any more. */
void tree_remove(struct tree *t, int64_t num, void (*dropped)(const char *content, void *arg),
                 void *arg);
bool tree_content_used(struct tree *t, const char *content);
/* A copy still under way whose source is this node or below it. */
bool tree_pending_copy(struct tree *t, int64_t num, int64_t now, struct node *copy);

const char *node_state(const struct node *n, int64_t now);
int64_t node_updated(const struct node *n, int64_t now);
bool node_busy_copying(const struct node *n, int64_t now);

#endif
