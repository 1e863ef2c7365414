/* What the rest of the emulator needs of 360-for-you. */
#ifndef EMULATOR_THREE_SIXTY_H
#define EMULATOR_THREE_SIXTY_H

#include "tests/emulator/control.h"
#include "tests/emulator/emulator.h"

#define THREE_SIXTY_PREFIX "/360/api/v1"

/* The same token as at the last start on this folder, or a new one. */
void three_sixty_load_token(struct emulator *emu);

extern const struct control_order three_sixty_orders[]; /* ends with a NULL name */

#endif
