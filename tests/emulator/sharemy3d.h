/* What the rest of the emulator needs of ShareMy3D. */
#ifndef EMULATOR_SHAREMY3D_H
#define EMULATOR_SHAREMY3D_H

#include "tests/emulator/control.h"
#include "tests/emulator/emulator.h"

#define SHAREMY3D "sharemy3d"           /* also the bucket at the storage host */
#define SHAREMY3D_PREFIX "/sharemy3d/v1"
#define SHAREMY3D_JSON "upload/storage/v1/b/" SHAREMY3D     /* below it: sessions of the JSON API */

/* The same token as at the last start on this folder, or a new one. */
void sharemy3d_load_token(struct emulator *emu);

extern const struct control_order sharemy3d_orders[];   /* ends with a NULL name */

#endif
