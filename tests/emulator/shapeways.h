/* Shapeways: see README.md. */
#ifndef EMULATOR_SHAPEWAYS_H
#define EMULATOR_SHAPEWAYS_H

#include "tests/emulator/control.h"
#include "tests/emulator/emulator.h"

#define SHAPEWAYS "shapeways"
#define SHAPEWAYS_PREFIX "/shapeways"

/* The same keys as at the last start on this folder, or new ones. */
void shapeways_load_keys(struct emulator *emu);

extern const struct control_order shapeways_orders[];

#endif
