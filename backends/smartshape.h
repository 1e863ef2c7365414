/* smartshape.h: the SmartShape service. The words are those of api/smartshape.txt. */
#ifndef PM_BACKENDS_SMARTSHAPE_H
#define PM_BACKENDS_SMARTSHAPE_H

#include "backends/backend.h"

extern const struct pm_backend_ops pm_smartshape_ops;

#endif
