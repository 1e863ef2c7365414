/* sharemy3d.h: the ShareMy3D backend (api/sharemy3d.md, api/notes.md 2 and 3). */
#ifndef PM_BACKENDS_SHAREMY3D_H
#define PM_BACKENDS_SHAREMY3D_H

#include "backends/backend.h"

extern const struct pm_backend_ops pm_sharemy3d_ops;

#endif
