/* What tests see and steer, below /_control at the api port: see README.md. */
#include "tests/emulator/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/emulator/seed.h"
#include "tests/emulator/services.h"
#include "tests/emulator/shapeways.h"
#include "tests/emulator/sharemy3d.h"
#include "tests/emulator/smartshape.h"
#include "tests/emulator/three_sixty.h"

void control_error(struct request *rq, int status, const char *detail)
{
    struct buf text = {0};
    buf_puts(&text, "{\"error\":");
    buf_json(&text, detail, strlen(detail), true);
    buf_puts(&text, "}\n");
    reply_json(&rq->reply, status, &text);
}

static void control_begin(struct request *rq)
{
    rq->endpoint = "control";
}

void control_answer(struct request *rq, struct buf *text)
{
    if (text->len == 0)
        buf_puts(text, "{}\n");
    reply_json(&rq->reply, 200, text);
}

static void answer_done(struct request *rq)
{
    struct buf text = {0};
    control_answer(rq, &text);
}

void control_answer_cjson(struct request *rq, cJSON *json)
{
    struct buf text = {0};
    char *printed = cJSON_PrintUnformatted(json);
    buf_printf(&text, "%s\n", printed != NULL ? printed : "null");
    free(printed);
    cJSON_Delete(json);
    control_answer(rq, &text);
}

/* ---- log and breaches ---- */

static void get_log(struct request *rq)
{
    struct buf text = {0};
    log_json(rq->emu->log, &text);
    control_answer(rq, &text);
}

static void get_summary(struct request *rq)
{
    struct buf text = {0};
    struct buf match = {0};
    request_query(rq, "match", &match);
    log_summary_json(rq->emu->log, match.data != NULL ? match.data : "", &text);
    buf_free(&match);
    control_answer(rq, &text);
}

static void delete_log(struct request *rq)
{
    log_clear(rq->emu->log);
    answer_done(rq);
}

static void get_breaches(struct request *rq)
{
    struct buf text = {0};
    log_breaches_json(rq->emu->log, &text);
    control_answer(rq, &text);
}

static void delete_breaches(struct request *rq)
{
    log_breaches_clear(rq->emu->log);
    answer_done(rq);
}

/* ---- faults and options ---- */

cJSON *control_body(struct request *rq)
{
    cJSON *json = cJSON_ParseWithLength(rq->body.len > 0 ? rq->body.data : "", rq->body.len);
    if (json == NULL)
        control_error(rq, 400, "the body is not JSON");
    return json;
}

static void post_fault(struct request *rq)
{
    const char *why = "";
    cJSON *spec = control_body(rq);
    if (spec == NULL)
        return;
    int id = faults_add(rq->emu->faults, spec, &why);
    if (id < 0) {
        control_error(rq, 400, why);
    } else {
        struct buf text = {0};
        buf_printf(&text, "{\"id\":%d}\n", id);
        control_answer(rq, &text);
    }
    cJSON_Delete(spec);
}

static void get_faults(struct request *rq)
{
    control_answer_cjson(rq, faults_json(rq->emu->faults));
}

static void delete_faults(struct request *rq)
{
    faults_clear(rq->emu->faults);
    answer_done(rq);
}

static void get_options(struct request *rq)
{
    control_answer_cjson(rq, options_json(rq->emu->options));
}

static void post_options(struct request *rq)
{
    const char *bad = "";
    cJSON *changes = control_body(rq);
    if (changes == NULL)
        return;
    if (options_merge(rq->emu->options, changes, &bad) < 0)
        control_error(rq, 400, bad);
    else
        get_options(rq);
    cJSON_Delete(changes);
}

/* ---- the tree, from behind ---- */

typedef int seed_fn(struct emulator *emu, const cJSON *order, struct buf *out, const char **why);

static void post_order(struct request *rq, seed_fn *obey)
{
    const char *why = "";
    struct buf text = {0};
    cJSON *order = control_body(rq);
    if (order == NULL)
        return;
    int r = obey(rq->emu, order, &text, &why);
    if (r == 0) {
        control_answer(rq, &text);
    } else {
        buf_free(&text);
        control_error(rq, r == -ENOENT ? 404 : r == -EEXIST ? 409 : 400, why);
    }
    cJSON_Delete(order);
}

static void post_seed(struct request *rq)
{
    post_order(rq, seed_order);
}

static void post_remove(struct request *rq)
{
    post_order(rq, seed_remove);
}

static void post_replace(struct request *rq)
{
    post_order(rq, seed_replace);
}

static void post_rename(struct request *rq)
{
    post_order(rq, seed_rename);
}

static bool find_query_path(struct request *rq, struct node *n)
{
    struct buf text = {0};
    struct path path = {0};
    request_query(rq, "path", &text);
    path_parse(&path, text.data != NULL ? text.data : "");
    bool found = tree_lookup(rq->emu->tree, SMARTSHAPE, &path, n);
    buf_free(&text);
    path_free(&path);
    if (!found)
        control_error(rq, 404, "no such path");
    return found;
}

static void get_file(struct request *rq)
{
    struct node n;
    char sha256[65] = "";
    struct buf text = {0};
    int64_t now = now_ms();
    if (!find_query_path(rq, &n))
        return;
    if (!n.dir)
        store_sha256(rq->emu->store, n.content, sha256);
    buf_printf(&text,
               "{\"id\":\"%s\",\"type\":\"%s\",\"size\":%llu,\"sha256\":\"%s\",\"state\":\"%s\","
               "\"updated\":%lld,\"created\":%lld}\n",
               n.id, n.dir ? "dir" : "file", (unsigned long long)n.size, sha256,
               n.dir ? "" : node_state(&n, now), (long long)node_updated(&n, now),
               (long long)n.created);
    control_answer(rq, &text);
}

static uint64_t query_number(struct request *rq, const char *name, uint64_t otherwise)
{
    struct buf text = {0};
    uint64_t value = request_query(rq, name, &text) ? strtoull(text.data, NULL, 10) : otherwise;
    buf_free(&text);
    return value;
}

static void get_content(struct request *rq)
{
    struct node n;
    if (!find_query_path(rq, &n))
        return;
    int fd = n.dir ? -EISDIR : store_read_fd(rq->emu->store, n.content);
    if (fd < 0) {
        control_error(rq, 404, "no content");
        return;
    }
    uint64_t offset = query_number(rq, "offset", 0);
    offset = offset < n.size ? offset : n.size;
    uint64_t len = query_number(rq, "len", n.size - offset);
    rq->reply.status = 200;
    rq->reply.kind = BODY_FILE;
    rq->reply.fd = fd;
    rq->reply.offset = offset;
    rq->reply.len = len < n.size - offset ? len : n.size - offset;
}

/* A walk through everything below a folder; paths are relative to it. */
struct walk {
    struct emulator *emu;
    struct buf       path;
    struct buf       text;
    void (*each)(struct walk *w, const struct node *n);
    char           **lines;             /* digest: owned */
    size_t           line_count;
    size_t           line_cap;
};

static void walk_one(const struct node *n, void *arg)
{
    struct walk *w = arg;
    size_t len = w->path.len;
    buf_puts(&w->path, "/");
    buf_add(&w->path, n->name, n->name_len);
    w->each(w, n);
    if (n->dir)
        tree_for_children(w->emu->tree, n->num, walk_one, w);
    w->path.len = len;
}

static void tree_line(struct walk *w, const struct node *n)
{
    buf_puts(&w->text, w->text.len > 1 ? ",\n{\"path\":" : "{\"path\":");
    buf_json(&w->text, w->path.data, w->path.len, true);
    buf_printf(&w->text, ",\"type\":\"%s\",\"size\":%llu,\"id\":\"%s\"}", n->dir ? "dir" : "file",
               (unsigned long long)n->size, n->id);
}

static void get_tree(struct request *rq)
{
    struct node root;
    struct walk w = {.emu = rq->emu, .each = tree_line};
    if (!find_query_path(rq, &root))
        return;
    tree_path_of(rq->emu->tree, &root, &w.path);
    w.path.len -= root.parent == 0;     /* "/" itself */
    buf_puts(&w.text, "[");
    tree_for_children(rq->emu->tree, root.num, walk_one, &w);
    buf_puts(&w.text, "]\n");
    buf_free(&w.path);
    control_answer(rq, &w.text);
}

static void digest_line(struct walk *w, const struct node *n)
{
    char sha256[65] = "";
    struct buf line = {0};
    if (n->dir)
        return;
    store_sha256(w->emu->store, n->content, sha256);
    buf_printf(&line, "%s  %s\n", sha256, w->path.data + 1);
    if (w->line_count == w->line_cap) {
        w->line_cap = w->line_cap > 0 ? w->line_cap * 2 : 256;
        char **grown = emu_alloc(w->line_cap * sizeof(*grown));
        if (w->line_count > 0)
            memcpy(grown, w->lines, w->line_count * sizeof(*grown));
        free(w->lines);
        w->lines = grown;
    }
    w->lines[w->line_count++] = line.data;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(*(char *const *)a + 66, *(char *const *)b + 66);
}

static void get_digest(struct request *rq)
{
    struct node root;
    struct walk w = {.emu = rq->emu, .each = digest_line};
    if (!find_query_path(rq, &root))
        return;
    tree_for_children(rq->emu->tree, root.num, walk_one, &w);
    if (w.line_count > 0)
        qsort(w.lines, w.line_count, sizeof(w.lines[0]), by_path);
    for (size_t i = 0; i < w.line_count; i++) {
        buf_puts(&w.text, w.lines[i]);
        free(w.lines[i]);
    }
    free(w.lines);
    buf_free(&w.path);
    rq->reply.status = 200;
    rq->reply.memory = w.text;
    reply_header(&rq->reply, "Content-Type", "text/plain");
}

static void post_quit(struct request *rq)
{
    rq->quit = true;
    answer_done(rq);
}

static const struct control_order orders[] = {
    {"GET", "log", get_log},           {"GET", "log/summary", get_summary},
    {"DELETE", "log", delete_log},     {"GET", "breaches", get_breaches},
    {"POST", "faults", post_fault},    {"DELETE", "breaches", delete_breaches},
    {"GET", "faults", get_faults},     {"DELETE", "faults", delete_faults},
    {"GET", "options", get_options},   {"POST", "options", post_options},
    {"POST", "seed", post_seed},       {"POST", "remove", post_remove},
    {"POST", "replace", post_replace}, {"POST", "rename", post_rename},
    {"GET", "file", get_file},         {"GET", "content", get_content},
    {"GET", "tree", get_tree},         {"GET", "digest", get_digest},
    {"POST", "quit", post_quit},       {NULL, NULL, NULL},
};

static bool obey_one_of(const struct control_order *all, const char *name, struct request *rq)
{
    for (; all->name != NULL; all++)
        if (strcmp(all->name, name) == 0 && strcmp(all->method, rq->method) == 0) {
            all->obey(rq);
            return true;
        }
    return false;
}

static void control_finish(struct request *rq)
{
    const char *name = rq->raw_path + sizeof("/_control") - 1;
    name += *name == '/';
    if (!obey_one_of(orders, name, rq) && !obey_one_of(three_sixty_orders, name, rq) &&
        !obey_one_of(sharemy3d_orders, name, rq) && !obey_one_of(shapeways_orders, name, rq))
        control_error(rq, 404, "no such order: see tests/emulator/README.md");
}

const struct service control_service = {
    .name = "_control",
    .prefix = "/_control",
    .begin = control_begin,
    .finish = control_finish,
    .error = control_error,
};
