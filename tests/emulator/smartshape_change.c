/* SmartShape's calls that change something: new folders, uploads, copies, removals. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tests/emulator/smartshape_call.h"

static const struct path *call_path(const struct request *rq)
{
    return &((const struct call *)rq->state)->path;
}

static bool acceptable_name(struct request *rq, const char *name)
{
    if (utf8_valid(name, strlen(name)) && strlen(name) <= 255)
        return true;
    if (strlen(name) <= 255)
        request_breach(rq, "the new name is not UTF-8");
    smartshape_error(rq, 400, "this name is not possible");
    return false;
}

void smartshape_mkdir(struct request *rq)
{
    struct tree *tree = rq->emu->tree;
    struct path *path = &((struct call *)rq->state)->path;
    struct node parent;
    struct node n = {.dir = true, .created = now_ms()};
    if (rq->body.len > 0 && strncasecmp(rq->content_type, "application/json", 16) != 0)
        request_breach(rq, "a body of type \"%s\" with mkdir", rq->content_type);
    char *name = path_pop(path);
    n.updated = n.created;
    tree_begin(tree);
    if (name == NULL) {
        smartshape_error(rq, rq->opt.exists_status, "the root exists");
    } else if (!acceptable_name(rq, name)) {
        ;                               /* the reply is there */
    } else if (!tree_lookup(tree, SMARTSHAPE, path, &parent) || !parent.dir) {
        smartshape_error(rq, 404, "the parent directory does not exist");
    } else if (tree_child(tree, parent.num, name, strlen(name), &n)) {
        smartshape_error(rq, rq->opt.exists_status, "the directory already exists");
    } else {
        n.parent = parent.num;
        n.name_len = (size_t)snprintf(n.name, sizeof(n.name), "%s", name);
        tree_add(tree, &n);
        smartshape_answer_element(rq, &n);
    }
    tree_commit(tree);
    free(name);
}

/* ---- upload and update ---- */

static void drop_content(const char *content, void *arg)
{
    store_drop(((struct emulator *)arg)->store, content);
}

void smartshape_begin_upload(struct request *rq, struct call *call)
{
    struct buf path = {0};
    struct buf normal = {0};
    const char *wanted = rq->opt.upload_param;
    bool by_path = request_query(rq, "path", &path);
    bool found = by_path ? strcmp(wanted, "p") != 0
                         : strcmp(wanted, "path") != 0 && request_query(rq, "p", &path);
    if (!found) {
        smartshape_error(rq, 400, strcmp(wanted, "p") == 0 ? "parameter \"p\" (path) is missing"
                                                           : "parameter \"path\" is missing");
    } else {
        path_parse(&call->path, path.data);
        path_text(&call->path, &normal);
        if (path.data[0] != '/' || (path.len > 1 && path.data[path.len - 1] != '/' &&
                                    strcmp(path.data, normal.data) != 0))
            request_breach(rq, "the folder \"%s\" is no normalised absolute path", path.data);
        call->upload = upload_begin(rq, normal.data);
    }
    buf_free(&path);
    buf_free(&normal);
}

/* A client that quotes names differently from us misses the file that it means. */
static void judge_missing(struct request *rq, const struct node *folder, const char *name)
{
    if (!folder->dir)
        request_breach(rq, "the path of the update names a file, not its folder");
    if (strpbrk(name, "\"\\%") != NULL)
        request_breach(rq, "update of \"%s\", which does not exist: quoting?", name);
}

static void replace(struct request *rq, struct node *n, const struct node *fresh)
{
    char old[sizeof(n->content)];
    memcpy(old, n->content, sizeof(old));
    memcpy(n->content, fresh->content, sizeof(n->content));
    n->size = fresh->size;
    n->revised = fresh->revised;
    int64_t before = node_updated(n, fresh->revised);
    n->updated = fresh->revised > before ? fresh->revised : before + 1;
    n->copy_of = 0;
    smartshape_convert(&rq->opt, n, fresh->revised);
    tree_update(rq->emu->tree, n);
    if (old[0] != '\0' && !tree_content_used(rq->emu->tree, old))
        drop_content(old, rq->emu);
}

/* With the bytes in the store: puts `fresh` in its place, or sets an error. */
static bool place_upload(struct request *rq, bool update, struct node *fresh)
{
    struct tree *tree = rq->emu->tree;
    struct node folder;
    struct node old;
    if (!tree_lookup(tree, SMARTSHAPE, call_path(rq), &folder)) {
        smartshape_error(rq, 404, "the directory does not exist");
        return false;
    }
    bool exists = folder.dir && tree_child(tree, folder.num, fresh->name, fresh->name_len, &old);
    if (update && (!exists || old.dir)) {
        judge_missing(rq, &folder, fresh->name);
        smartshape_error(rq, 404, "no file of this name to update");
        return false;
    }
    if (!folder.dir || (!update && exists)) {
        smartshape_error(rq, exists ? rq->opt.exists_status : 404,
                         exists ? "the file already exists" : "not a directory");
        return false;
    }
    if (update) {
        replace(rq, &old, fresh);
        smartshape_success(rq, old.id);
        return true;
    }
    fresh->parent = folder.num;
    smartshape_convert(&rq->opt, fresh, fresh->created);
    bool added = tree_add(tree, fresh) == 0;
    if (added)
        smartshape_success(rq, fresh->id);
    else
        smartshape_error(rq, 500, "the database refused the file");
    return added;
}

static void finish_either(struct request *rq, bool update)
{
    struct call *call = rq->state;
    struct node n = {.created = now_ms()};
    if (call->upload == NULL || upload_end(call->upload) < 0)
        return;
    n.updated = n.revised = n.created;
    n.size = upload_size(call->upload);
    n.name_len =
        (size_t)snprintf(n.name, sizeof(n.name), "%s", upload_name(call->upload));
    if (upload_commit(call->upload, n.content) < 0) {
        smartshape_error(rq, 500, "no room");
        return;
    }
    tree_begin(rq->emu->tree);
    bool placed = place_upload(rq, update, &n);
    tree_commit(rq->emu->tree);
    if (!placed)
        drop_content(n.content, rq->emu);
}

void smartshape_upload(struct request *rq)
{
    finish_either(rq, false);
}

void smartshape_update(struct request *rq)
{
    finish_either(rq, true);
}

/* ---- copy and delete ---- */

static char *copy_destination(struct request *rq)
{
    cJSON *json = cJSON_ParseWithLength(rq->body.len > 0 ? rq->body.data : "", rq->body.len);
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, "destination");
    char *text = cJSON_IsString(item) ? emu_strdup(item->valuestring) : NULL;
    cJSON_Delete(json);
    if (strncasecmp(rq->content_type, "application/json", 16) != 0)
        request_breach(rq, "the Content-Type is \"%s\", not JSON", rq->content_type);
    if (text != NULL && (text[0] != '/' || strstr(text, "//") != NULL || strstr(text, "/../"))) {
        request_breach(rq, "the destination \"%s\" is no normalised absolute path", text);
        free(text);
        text = NULL;
    }
    if (text == NULL)
        smartshape_error(rq, 400, "no proper \"destination\"");
    return text;
}

static void copy_to(struct request *rq, const struct path *destination)
{
    const struct copy_order order = {rq->emu, &rq->opt, now_ms()};
    struct node source;
    struct node copy;
    const char *why = "the database refused the copy";
    if (!smartshape_find_id(rq, &source))
        return;
    const char *state = node_state(&source, order.now);
    if (source.dir && (!rq->opt.copy_dirs || source.parent == 0)) {
        smartshape_error(rq, 400, "a directory cannot be copied");
        return;
    }
    if (strcmp(state, "queued") == 0 || strcmp(state, "copying") == 0) {
        smartshape_error(rq, 409, "the source is still queued or being copied");
        return;
    }
    int status = smartshape_copy(&order, &source, destination, &copy, &why);
    if (status != 0) {
        smartshape_error(rq, status, why);
        return;
    }
    struct buf text = {0};
    buf_printf(&text, "{\"fileId\":\"%s\"}", copy.id);
    reply_json(&rq->reply, 200, &text);
}

void smartshape_post_copy(struct request *rq)
{
    struct path destination = {0};
    char *text = copy_destination(rq);
    if (text == NULL)
        return;
    path_parse(&destination, text);
    free(text);
    tree_begin(rq->emu->tree);
    copy_to(rq, &destination);
    tree_commit(rq->emu->tree);
    path_free(&destination);
}

/* Whoever deletes the source of an unfinished copy loses the copy: the document promises nothing
 * else, and the drive must not rely on more. */
static void break_copies(struct request *rq, const struct node *source)
{
    struct node copy;
    while (tree_pending_copy(rq->emu->tree, source->num, now_ms(), &copy)) {
        request_breach(rq, "deleted while the copy %s of it was not finished", copy.id);
        smartshape_settled(&rq->opt, &copy);
        snprintf(copy.final, sizeof(copy.final), "inError");
        copy.content[0] = '\0';
        copy.size = 0;
        copy.copy_of = 0;
        tree_update(rq->emu->tree, &copy);
    }
}

void smartshape_delete(struct request *rq)
{
    struct node n;
    tree_begin(rq->emu->tree);
    if (smartshape_find(rq, &n)) {
        if (n.parent == 0) {
            request_breach(rq, "deletes the root");
            smartshape_error(rq, 400, "the root cannot be deleted");
        } else {
            break_copies(rq, &n);
            tree_remove(rq->emu->tree, n.num, drop_content, rq->emu);
            smartshape_success(rq, NULL);
        }
    }
    tree_commit(rq->emu->tree);
}
