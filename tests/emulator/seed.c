#include "tests/emulator/seed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/emulator/smartshape.h"

static const char *text_of(const cJSON *order, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(order, name);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

static double number_of(const cJSON *order, const char *name, double otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(order, name);
    return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

static void drop_content(const char *content, void *arg)
{
    store_drop(((struct emulator *)arg)->store, content);
}

static bool find_path(struct emulator *emu, const char *text, struct node *out)
{
    struct path path = {0};
    path_parse(&path, text != NULL ? text : "");
    bool found = text != NULL && tree_lookup(emu->tree, SMARTSHAPE, &path, out);
    path_free(&path);
    return found;
}

static struct node new_node(bool dir)
{
    struct node n = {.dir = dir, .created = now_ms()};
    n.updated = n.revised = n.created;
    return n;
}

static void set_name(struct node *n, const char *name, size_t len)
{
    n->name_len = len < NODE_NAME_MAX ? len : NODE_NAME_MAX;
    memcpy(n->name, name, n->name_len);
    n->name[n->name_len] = '\0';
}

/* The folder at `path`, with all above it, made if missing. */
static int make_folders(struct emulator *emu, const struct path *path, struct node *folder)
{
    const char *name = NULL;
    struct node next;
    int r = tree_root(emu->tree, SMARTSHAPE, folder) ? 0 : -EIO;
    while (r == 0 && (name = path_next(path, name)) != NULL) {
        if (!tree_child(emu->tree, folder->num, name, strlen(name), &next)) {
            next = new_node(true);
            next.parent = folder->num;
            set_name(&next, name, strlen(name));
            r = tree_add(emu->tree, &next);
        } else if (!next.dir) {
            r = -ENOTDIR;
        }
        *folder = next;
    }
    return r;
}

/* Gives a node its content; one that is in the tree already becomes a new version. */
static int set_content(struct emulator *emu, struct node *n, const char *content, uint64_t size)
{
    struct option_values opt = options_get(emu->options);
    char old[sizeof(n->content)];
    int64_t now = now_ms();
    int64_t before = node_updated(n, now);
    memcpy(old, n->content, sizeof(old));
    snprintf(n->content, sizeof(n->content), "%s", content);
    n->size = size;
    if (n->num == 0) {
        smartshape_settled(&opt, n);
        return tree_add(emu->tree, n);
    }
    smartshape_settled(&opt, n);
    n->revised = now;
    n->updated = now > before ? now : before + 1;
    int r = tree_update(emu->tree, n);
    if (old[0] != '\0' && !tree_content_used(emu->tree, old))
        store_drop(emu->store, old);
    return r;
}

int seed_bytes(struct emulator *emu, const char *path, const void *bytes, size_t len)
{
    struct path folders = {0};
    struct node folder;
    struct node n = new_node(false);
    char content[33];
    int r = store_put(emu->store, bytes, len, content);
    if (r < 0)
        return r;
    path_parse(&folders, path);
    char *name = path_pop(&folders);
    tree_begin(emu->tree);
    r = name == NULL ? -EINVAL : make_folders(emu, &folders, &folder);
    if (r == 0 && !tree_child(emu->tree, folder.num, name, strlen(name), &n)) {
        n.parent = folder.num;
        set_name(&n, name, strlen(name));
    }
    if (r == 0)
        r = set_content(emu, &n, content, len);
    tree_commit(emu->tree);
    free(name);
    path_free(&folders);
    return r;
}

/* What an order says about bytes: "text", or "size" with "seed" or "zero". */
static int make_content(struct emulator *emu, const cJSON *order, char content[33], uint64_t *size)
{
    const char *text = text_of(order, "text");
    if (text != NULL) {
        *size = strlen(text);
        return store_put(emu->store, text, strlen(text), content);
    }
    *size = (uint64_t)number_of(order, "size", 0);
    return store_generate(emu->store, *size, (uint64_t)number_of(order, "seed", 1),
                          cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(order, "zero")), content);
}

static int unhex(const char *text, struct buf *out)
{
    unsigned byte = 0;
    for (; text[0] != '\0'; text += 2) {
        if (text[1] == '\0' || sscanf(text, "%2x", &byte) != 1)
            return -EINVAL;
        char c = (char)byte;
        buf_add(out, &c, 1);
    }
    return 0;
}

/* The last name of the order's path, or what "name" or "name_hex" put in its place; those are
 * always new, so that names can repeat. */
static int order_name(const cJSON *order, struct path *path, struct buf *name, bool *fresh)
{
    const char *plain = text_of(order, "name");
    const char *coded = text_of(order, "name_hex");
    char *last = path_pop(path);
    int r = 0;
    *fresh = plain != NULL || coded != NULL;
    buf_add(name, "", 0);
    if (coded != NULL)
        r = unhex(coded, name);
    else if (plain != NULL)
        buf_puts(name, plain);
    else if (last != NULL)
        buf_puts(name, last);
    else
        r = -EINVAL;
    free(last);
    return r;
}

static void apply_particulars(const cJSON *order, struct node *n)
{
    const char *state = text_of(order, "state");
    const char *id = text_of(order, "id");
    n->created = (int64_t)number_of(order, "created", (double)n->created);
    n->updated = (int64_t)number_of(order, "updated", (double)n->updated);
    if (state != NULL)
        snprintf(n->final, sizeof(n->final), "%s", state);
    if (id != NULL)
        snprintf(n->id, sizeof(n->id), "%s", id);
}

static int place_one(struct emulator *emu, const cJSON *order, struct node *n)
{
    struct path path = {0};
    struct buf name = {0};
    struct node folder;
    char content[33] = "";
    uint64_t size = 0;
    bool fresh = false;
    const char *type = text_of(order, "type");
    *n = new_node(type != NULL && strcmp(type, "dir") == 0);
    path_parse(&path, text_of(order, "path"));
    int r = order_name(order, &path, &name, &fresh);
    if (r == 0 && !n->dir)
        r = make_content(emu, order, content, &size);
    tree_begin(emu->tree);
    if (r == 0)
        r = make_folders(emu, &path, &folder);
    if (r == 0 && (fresh || !tree_child(emu->tree, folder.num, name.data, name.len, n))) {
        n->parent = folder.num;
        set_name(n, name.data, name.len);
    }
    if (r == 0)
        r = n->dir && n->num != 0 ? -EEXIST : set_content(emu, n, content, size);
    if (r == 0) {
        apply_particulars(order, n);
        r = tree_update(emu->tree, n);
    }
    tree_commit(emu->tree);
    buf_free(&name);
    path_free(&path);
    return r;
}

/* Many files that share one content. */
static int place_many(struct emulator *emu, const cJSON *order, struct node *folder)
{
    struct option_values opt = options_get(emu->options);
    struct path path = {0};
    char content[33] = "";
    uint64_t size = 0;
    int count = (int)number_of(order, "count", 0);
    const char *prefix = text_of(order, "prefix");
    int r = make_content(emu, order, content, &size);
    path_parse(&path, text_of(order, "dir"));
    tree_begin(emu->tree);
    if (r == 0)
        r = make_folders(emu, &path, folder);
    for (int i = 1; i <= count && r == 0; i++) {
        struct node n = new_node(false);
        n.parent = folder->num;
        n.name_len = (size_t)snprintf(n.name, sizeof(n.name), "%s%06d.bin",
                                      prefix != NULL ? prefix : "file-", i);
        n.size = size;
        memcpy(n.content, content, sizeof(content));
        smartshape_settled(&opt, &n);
        r = tree_add(emu->tree, &n);
    }
    tree_commit(emu->tree);
    path_free(&path);
    return r;
}

static int place_document(struct emulator *emu, const cJSON *order)
{
    struct buf key = {0};
    char *json = cJSON_PrintUnformatted(cJSON_GetObjectItemCaseSensitive(order, "json"));
    if (json == NULL)
        return -EINVAL;
    buf_printf(&key, "doc %s", text_of(order, "document"));
    tree_set_text(emu->tree, key.data, json);
    buf_free(&key);
    free(json);
    return 0;
}

static void tell(struct emulator *emu, const struct node *n, struct buf *out)
{
    struct buf path = {0};
    tree_path_of(emu->tree, n, &path);
    buf_printf(out, "{\"id\":\"%s\",\"path\":", n->id);
    buf_json(out, path.data, path.len, true);
    buf_printf(out, ",\"size\":%llu}\n", (unsigned long long)n->size);
    buf_free(&path);
}

int seed_order(struct emulator *emu, const cJSON *order, struct buf *out, const char **why)
{
    struct node n;
    int r;
    *why = "wants \"path\", \"dir\" or \"document\"";
    if (text_of(order, "document") != NULL) {
        r = place_document(emu, order);
        buf_puts(out, "{}\n");
        return r;
    }
    if (text_of(order, "path") == NULL && text_of(order, "dir") == NULL)
        return -EINVAL;
    r = text_of(order, "dir") != NULL ? place_many(emu, order, &n) : place_one(emu, order, &n);
    *why = "could not make it";
    if (r == 0)
        tell(emu, &n, out);
    return r;
}

int seed_replace(struct emulator *emu, const cJSON *order, struct buf *out, const char **why)
{
    struct node n;
    char content[33];
    uint64_t size = 0;
    int r = make_content(emu, order, content, &size);
    *why = "no such file";
    if (r < 0)
        return r;
    tree_begin(emu->tree);
    r = find_path(emu, text_of(order, "path"), &n) && !n.dir ? 0 : -ENOENT;
    if (r == 0)
        r = set_content(emu, &n, content, size);
    else
        store_drop(emu->store, content);
    if (r == 0)
        tell(emu, &n, out);
    tree_commit(emu->tree);
    return r;
}

int seed_rename(struct emulator *emu, const cJSON *order, struct buf *out, const char **why)
{
    struct node n;
    struct node folder;
    struct path to = {0};
    path_parse(&to, text_of(order, "to") != NULL ? text_of(order, "to") : "");
    char *name = path_pop(&to);
    *why = "no such file, or no \"to\"";
    tree_begin(emu->tree);
    int r = name != NULL && find_path(emu, text_of(order, "from"), &n) ? 0 : -ENOENT;
    if (r == 0)
        r = make_folders(emu, &to, &folder);
    if (r == 0) {
        n.parent = folder.num;
        set_name(&n, name, strlen(name));
        r = tree_update(emu->tree, &n);
        tell(emu, &n, out);
    }
    tree_commit(emu->tree);
    free(name);
    path_free(&to);
    return r;
}

int seed_remove(struct emulator *emu, const cJSON *order, struct buf *out, const char **why)
{
    struct node n;
    *why = "no such file";
    tree_begin(emu->tree);
    int r = find_path(emu, text_of(order, "path"), &n) && n.parent != 0 ? 0 : -ENOENT;
    if (r == 0) {
        tree_remove(emu->tree, n.num, drop_content, emu);
        buf_puts(out, "{}\n");
    }
    tree_commit(emu->tree);
    return r;
}
