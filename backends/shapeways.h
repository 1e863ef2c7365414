/* shapeways.h: the Shapeways service (api/shapeways.txt); register with backend.c. */
#ifndef PM_BACKENDS_SHAPEWAYS_H
#define PM_BACKENDS_SHAPEWAYS_H

#include "backends/backend.h"

extern const struct pm_backend_ops pm_shapeways_ops;

#endif
