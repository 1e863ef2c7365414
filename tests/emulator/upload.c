#include "tests/emulator/upload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/emulator/flight.h"
#include "tests/emulator/multipart.h"

struct upload {
    struct request   *rq;               /* borrowed */
    struct multipart *parser;
    struct incoming  *incoming;         /* NULL before the part and after the commit */
    char             *folder;
    char             *name;             /* of the file; NULL until the part came */
    struct flight     flight;           /* to folder and name */
};

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
    struct buf place = {0};
    u->name = emu_strdup(filename);
    buf_printf(&place, "%s/%s", strcmp(u->folder, "/") == 0 ? "" : u->folder, filename);
    if (!flight_begin(u->rq->emu->flights, &u->flight, u->rq, place.data))
        request_breach(u->rq, "a second upload of %s at the same time", place.data);
    request_fault_again(u->rq, place.data);
    buf_free(&place);
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
    flight_end(u->rq->emu->flights, &u->flight);
    incoming_abort(u->incoming);
    multipart_free(u->parser);
    free(u->name);
    free(u->folder);
    free(u);
}
