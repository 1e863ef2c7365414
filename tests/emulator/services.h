/* The services there are. A new one: a file with its `struct service`, a line in services.c. */
#ifndef EMULATOR_SERVICES_H
#define EMULATOR_SERVICES_H

#include "tests/emulator/request.h"

extern const struct service control_service;
extern const struct service smartshape_service;
extern const struct service three_sixty_service;
extern const struct service sharemy3d_service;
extern const struct service shapeways_service;

/* Whose path it is, at either port; NULL if nobody's. */
const struct service *service_for(const struct request *rq);

#endif
