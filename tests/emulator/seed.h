/* Changes behind the clients' backs: what tests and samples put into a tree, what "another user"
 * does there. Conversion is over at once. */
#ifndef EMULATOR_SEED_H
#define EMULATOR_SEED_H

#include <cjson/cJSON.h>

#include "tests/emulator/emulator.h"

/* Makes a file of these bytes, with the folders above it; one that exists gets them as its new
 * version. 0 or -errno. */
int seed_bytes(struct emulator *emu, const char *path, const void *bytes, size_t len);

/* The orders of the control interface (README). 0, or -errno and *why. `out` gets JSON. */
int seed_order(struct emulator *emu, const cJSON *order, struct buf *out, const char **why);
int seed_replace(struct emulator *emu, const cJSON *order, struct buf *out, const char **why);
int seed_rename(struct emulator *emu, const cJSON *order, struct buf *out, const char **why);
int seed_remove(struct emulator *emu, const cJSON *order, struct buf *out, const char **why);

/* --seed-samples: a few small models in /Samples. */
int samples_make(struct emulator *emu);

#endif
