/* 360-for-you: folders that become projects (api/360-for-you.txt, api/notes.md 5). */
#ifndef PM_BACKENDS_THREE_SIXTY_H
#define PM_BACKENDS_THREE_SIXTY_H

#include "backends/backend.h"

extern const struct pm_backend_ops pm_three_sixty_ops;

#endif
