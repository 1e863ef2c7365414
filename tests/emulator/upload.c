#include "tests/emulator/upload.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/emulator/multipart.h"

struct upload {
    struct request   *rq;               /* borrowed */
    struct multipart *parser;
    struct incoming  *incoming;         /* NULL before the part and after the commit */
    char             *folder;
    char             *name;             /* of the file; NULL until the part came */
    struct buf        place;            /* folder and name; `uploads` lock once registered */
    bool              registered;
    struct upload    *next;             /* `uploads` lock */
};

struct uploads {
    pthread_mutex_t lock;               /* leaf */
    struct upload  *first;              /* lock; those whose file name is known */
};

struct uploads *uploads_new(void)
{
    struct uploads *all = emu_alloc(sizeof(*all));
    pthread_mutex_init(&all->lock, NULL);
    return all;
}

void uploads_free(struct uploads *all)
{
    if (all == NULL)
        return;
    pthread_mutex_destroy(&all->lock);
    free(all);
}

static bool hung_up(const struct upload *u)
{
    struct pollfd p = {.fd = u->rq->fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0;
}

/* Lock held. */
static bool alone(const struct uploads *all, const struct upload *u)
{
    for (const struct upload *other = all->first; other != NULL; other = other->next) {
        if (strcmp(other->place.data, u->place.data) == 0 && !hung_up(other))
            return false;
    }
    return true;
}

/* False: another is under way to the same place, and its client has not given it up. One that was
 * just given up may be news to this thread: hence the wait. */
static bool enlist(struct uploads *all, struct upload *u)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    pthread_mutex_lock(&all->lock);
    for (int i = 0; i < 100 && !alone(all, u); i++) {
        pthread_mutex_unlock(&all->lock);
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&all->lock);
    }
    bool is_alone = alone(all, u);
    u->next = all->first;
    all->first = u;
    u->registered = true;
    pthread_mutex_unlock(&all->lock);
    return is_alone;
}

static void delist(struct uploads *all, struct upload *u)
{
    pthread_mutex_lock(&all->lock);
    struct upload **place = &all->first;
    while (*place != u)
        place = &(*place)->next;
    *place = u->next;
    pthread_mutex_unlock(&all->lock);
}

static int refuse(struct upload *u, const char *why)
{
    request_breach(u->rq, "%s", why);
    u->rq->service->error(u->rq, 400, why);
    return -EBADMSG;
}

static int on_part(void *arg, const char *field, const char *filename)
{
    struct upload *u = arg;
    if (strcmp(field, "file") != 0)
        return refuse(u, "the part is not named \"file\"");
    if (filename == NULL || *filename == '\0')
        return refuse(u, "the part \"file\" has no filename");
    if (!utf8_valid(filename, strlen(filename)))
        return refuse(u, "the filename is not UTF-8");
    if (strchr(filename, '/') != NULL || strcmp(filename, ".") == 0 || strcmp(filename, "..") == 0)
        return refuse(u, "the filename is a path, not a name");
    if (strlen(filename) > 255)
        return refuse(u, "the filename is longer than 255 bytes");
    u->name = emu_strdup(filename);
    buf_printf(&u->place, "%s/%s", strcmp(u->folder, "/") == 0 ? "" : u->folder, filename);
    if (!enlist(u->rq->emu->uploads, u))
        request_breach(u->rq, "a second upload of %s at the same time", u->place.data);
    request_fault_again(u->rq, u->place.data);
    return incoming_new(u->rq->emu->store, &u->incoming);
}

static int on_data(void *arg, const char *bytes, size_t len)
{
    struct upload *u = arg;
    return incoming_write(u->incoming, bytes, len);
}

struct upload *upload_begin(struct request *rq, const char *folder)
{
    static const struct multipart_calls calls = {on_part, on_data};
    struct upload *u = emu_alloc(sizeof(*u));
    u->rq = rq;
    u->folder = emu_strdup(folder);
    u->parser = multipart_new(rq->content_type, strcmp(rq->opt.quoting, "percent") == 0, &calls, u);
    if (u->parser == NULL) {
        refuse(u, "the body is not multipart/form-data with a boundary");
        upload_free(u);
        return NULL;
    }
    return u;
}

void upload_feed(struct upload *u, const char *bytes, size_t len)
{
    int r = multipart_feed(u->parser, bytes, len);
    if (r == 0 || u->rq->reply.status != 0 || u->rq->dead)
        return;
    if (r == -EBADMSG)
        refuse(u, multipart_wrong(u->parser));
    else
        u->rq->service->error(u->rq, 500, strerror(-r));
}

int upload_end(struct upload *u)
{
    if (multipart_end(u->parser) == 0)
        return 0;
    return refuse(u, multipart_wrong(u->parser));
}

const char *upload_name(const struct upload *u)
{
    return u->name;
}

uint64_t upload_size(const struct upload *u)
{
    return incoming_size(u->incoming);
}

int upload_commit(struct upload *u, char content[33])
{
    struct incoming *in = u->incoming;
    u->incoming = NULL;
    return incoming_commit(in, content);
}

void upload_free(struct upload *u)
{
    if (u == NULL)
        return;
    if (u->registered)
        delist(u->rq->emu->uploads, u);
    incoming_abort(u->incoming);
    multipart_free(u->parser);
    buf_free(&u->place);
    free(u->name);
    free(u->folder);
    free(u);
}
