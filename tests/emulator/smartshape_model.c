/* SmartShape's objects: their states over time, their JSON, their copies. */
#include "tests/emulator/smartshape.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static bool extension_in(const struct node *n, const char *list)
{
    const char *dot = strrchr(n->name, '.');
    size_t len = dot != NULL ? strlen(dot + 1) : 0;
    while (len > 0 && *list != '\0') {
        size_t word = strcspn(list, ",");
        if (word == len && strncasecmp(list, dot + 1, len) == 0)
            return true;
        list += word + (list[word] == ',');
    }
    return false;
}

void smartshape_settled(const struct option_values *opt, struct node *n)
{
    n->queued_until = n->busy_until = n->settled_updated = 0;
    n->busy[0] = '\0';
    snprintf(n->final, sizeof(n->final), "%s",
             extension_in(n, opt->plain_extensions)   ? "none"
             : extension_in(n, opt->error_extensions) ? "inError"
                                                      : "converted");
}

void smartshape_convert(const struct option_values *opt, struct node *n, int64_t now)
{
    smartshape_settled(opt, n);
    if (strcmp(n->final, "none") == 0)
        return;
    snprintf(n->busy, sizeof(n->busy), "converting");
    n->queued_until = now + opt->queue_ms;
    n->busy_until = n->queued_until + opt->convert_ms;
    n->settled_updated = opt->conversion_moves_updated ? n->busy_until : 0;
}

static void iso_time(int64_t ms, char *out, size_t size)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm t;
    gmtime_r(&seconds, &t);
    size_t n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &t);
    snprintf(out + n, size - n, ".%03dZ", (int)(ms % 1000));
}

static void owner_json(const struct emulator *emu, const struct option_values *opt,
                       struct buf *out)
{
    if (strcmp(opt->owner, "object") == 0)
        buf_printf(out, ",\"owner\":{\"id\":\"%s\",\"username\":\"%s\"}", emu->secrets.user_id,
                   EMULATOR_USER);
    else if (strcmp(opt->owner, "number") == 0)
        buf_puts(out, ",\"owner\":4001");
    else
        buf_printf(out, ",\"owner\":\"%s\"", emu->secrets.user_id);
    buf_printf(out, ",\"user\":\"%s\"", emu->secrets.user_id);
}

static void place_json(const struct node *n, const char *folder, bool with_key, struct buf *out)
{
    struct buf path = {0};
    if (n->parent != 0)
        buf_printf(&path, "%s/", strcmp(folder, "/") == 0 ? "" : folder);
    buf_add(&path, n->parent != 0 ? n->name : "/", n->parent != 0 ? n->name_len : 1);
    buf_puts(out, ",\"name\":");
    buf_json(out, n->name, n->parent != 0 ? n->name_len : 0, false);
    buf_puts(out, ",\"parent\":");
    buf_json(out, folder, strlen(folder), false);
    buf_puts(out, ",\"path\":");
    buf_json(out, path.data, path.len, false);
    if (with_key) {
        buf_puts(out, ",\"key\":");
        buf_json(out, path.data, path.len, false);
    }
    buf_free(&path);
}

static void open_element(const struct emulator *emu, const struct option_values *opt,
                         const struct node *n, struct buf *out)
{
    int64_t now = now_ms();
    bool hidden = node_busy_copying(n, now) && strcmp(opt->copy_size, "zero") == 0;
    bool both = strcmp(opt->id_member, "both") == 0;
    buf_puts(out, "{");
    if (both || strcmp(opt->id_member, "_id") == 0)
        buf_printf(out, "\"_id\":\"%s\",", n->id);
    if (both || strcmp(opt->id_member, "id") == 0)
        buf_printf(out, "\"id\":\"%s\",", n->id);
    buf_printf(out, "\"type\":\"%s\",\"created\":%lld,\"updated\":%lld,\"size\":%llu",
               n->dir ? "dir" : "file", (long long)n->created, (long long)node_updated(n, now),
               (unsigned long long)(hidden ? 0 : n->size));
    if (!n->dir)
        buf_printf(out, ",\"state\":\"%s\"", node_state(n, now));
    if (opt->revision_date && !n->dir) {
        char date[40];
        iso_time(n->revised, date, sizeof(date));
        buf_printf(out, ",\"revisionDate\":\"%s\"", date);
    }
    if (opt->extra_members)
        buf_puts(out, ",\"__v\":3,\"thumbnail\":{\"sizes\":[64,128],\"file\":null,\"id\":\"no\"}");
    owner_json(emu, opt, out);
}

void smartshape_element(const struct emulator *emu, const struct option_values *opt,
                        const struct node *n, const char *folder, struct buf *out)
{
    open_element(emu, opt, n, out);
    place_json(n, folder, false, out);
    buf_puts(out, "}");
}

void smartshape_details(const struct emulator *emu, const struct option_values *opt,
                        const struct node *n, const char *folder, struct buf *out)
{
    bool failed = strcmp(node_state(n, now_ms()), "inError") == 0;
    open_element(emu, opt, n, out);
    place_json(n, folder, true, out);
    buf_printf(out,
               ",\"bucket\":\"%.16s\",\"nodePuidAttributeKey\":\"smartshape.scene.node.uid\","
               "\"favoritedBy\":[],\"sceneTreeRoots\":[],\"sceneTreeNames\":[\"default\"],"
               "\"error\":\"%s\",\"allowLivePublicMeetings\":false,\"shareToken\":\"\","
               "\"isLink\":false",
               n->id, failed ? "conversion failed" : "");
    if (opt->revision_date)
        buf_puts(out, ",\"roles\":[]");
    buf_puts(out, "}");
}

static int add_copy(const struct copy_order *order, const struct node *source, int64_t parent,
                    const char *name, struct node *copy)
{
    const struct option_values *opt = order->opt;
    *copy = *source;
    copy->id[0] = '\0';
    copy->parent = parent;
    copy->copy_of = source->num;
    copy->name_len = (size_t)snprintf(copy->name, sizeof(copy->name), "%s", name);
    copy->created = copy->updated = copy->revised = order->now;
    if (!source->dir) {
        snprintf(copy->busy, sizeof(copy->busy), "copying");
        copy->queued_until = order->now + opt->copy_queue_ms;
        copy->busy_until = copy->queued_until + opt->copy_ms;
        copy->settled_updated = opt->conversion_moves_updated ? copy->busy_until : 0;
    }
    return tree_add(order->emu->tree, copy) < 0 ? 500 : 0;
}

struct copying {
    const struct copy_order *order;
    const struct node       *source;
    int64_t                  target;    /* folder */
};

static size_t stem_length(const struct node *n)
{
    const char *dot = strrchr(n->name, '.');
    return dot != NULL && dot != n->name ? (size_t)(dot - n->name) : strlen(n->name);
}

static void copy_dependency(const struct node *n, void *arg)
{
    const struct copying *c = arg;
    struct node copy;
    size_t len = stem_length(c->source);
    if (n->dir || n->num == c->source->num || stem_length(n) != len ||
        strncmp(n->name, c->source->name, len) != 0 || n->parent == c->target ||
        tree_child(c->order->emu->tree, c->target, n->name, n->name_len, &copy))
        return;
    add_copy(c->order, n, c->target, n->name, &copy);
}

static void copy_child(const struct node *n, void *arg)
{
    const struct copying *c = arg;
    struct node copy;
    add_copy(c->order, n, c->target, n->name, &copy);
    struct copying below = {c->order, n, copy.num};
    if (n->dir)
        tree_for_children(c->order->emu->tree, n->num, copy_child, &below);
}

static bool is_inside(struct tree *tree, struct node folder, int64_t num)
{
    while (folder.num != num && folder.parent != 0)
        if (!tree_by_num(tree, folder.parent, &folder))
            return false;
    return folder.num == num;
}

int smartshape_copy(const struct copy_order *order, const struct node *source,
                    const struct path *destination, struct node *copy, const char **why)
{
    struct tree *tree = order->emu->tree;
    struct node folder;
    struct path above = {0};
    int status = 0;
    buf_add(&above.names, destination->names.data, destination->names.len);
    char *name = path_pop(&above);
    if (name == NULL) {
        *why = "no name in the destination";
        status = 400;
    } else if (!tree_lookup(tree, SMARTSHAPE, &above, &folder) || !folder.dir) {
        *why = "the destination folder does not exist";
        status = 404;
    } else if (tree_child(tree, folder.num, name, strlen(name), copy)) {
        *why = "the destination exists";
        status = order->opt->exists_status;
    } else if (source->dir && is_inside(tree, folder, source->num)) {
        *why = "a folder cannot be copied into itself";
        status = 400;
    } else {
        status = add_copy(order, source, folder.num, name, copy);
        struct copying all = {order, source, source->dir ? copy->num : folder.num};
        if (status == 0 && source->dir)
            tree_for_children(tree, source->num, copy_child, &all);
        else if (status == 0 && order->opt->copy_dependencies)
            tree_for_children(tree, source->parent, copy_dependency, &all);
    }
    free(name);
    path_free(&above);
    return status;
}
