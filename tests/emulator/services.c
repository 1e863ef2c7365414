#include "tests/emulator/services.h"

#include <string.h>

static const struct service *const services[] = {
    &control_service,
    &smartshape_service,
    &three_sixty_service,
    &sharemy3d_service,
    &shapeways_service,
};

static bool below(const char *path, const char *prefix, size_t len)
{
    return strncmp(path, prefix, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

const struct service *service_for(const struct request *rq)
{
    bool storage = rq->port == &rq->emu->ports[PORT_STORAGE];
    for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
        const struct service *s = services[i];
        if (!storage && below(rq->raw_path, s->prefix, strlen(s->prefix)))
            return s;
        if (storage && s->storage != NULL && rq->raw_path[0] == '/' &&
            (below(rq->raw_path + 1, s->name, strlen(s->name)) ||
             (s->storage_too != NULL &&
              below(rq->raw_path + 1, s->storage_too, strlen(s->storage_too)))))
            return s;
    }
    return NULL;
}
