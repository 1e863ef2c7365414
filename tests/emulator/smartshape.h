/* What the control interface and the samples need of SmartShape. */
#ifndef EMULATOR_SMARTSHAPE_H
#define EMULATOR_SMARTSHAPE_H

#include "tests/emulator/emulator.h"

#define SMARTSHAPE "smartshape"

/* Gives a file that has just got its content the states that follow, from `now` (ms) on. */
void smartshape_convert(const struct option_values *opt, struct node *n, int64_t now);
/* The state it would end in, at once. */
void smartshape_settled(const struct option_values *opt, struct node *n);

/* One element of a list. `folder` is the path it lies in, "/" for the root. */
void smartshape_element(const struct emulator *emu, const struct option_values *opt,
                        const struct node *n, const char *folder, struct buf *out);
/* The same with all that only GET /file/:fileId tells. */
void smartshape_details(const struct emulator *emu, const struct option_values *opt,
                        const struct node *n, const char *folder, struct buf *out);

/* Adds the copy of a file under another folder; 0, or the HTTP status that it fails with. */
struct copy_order {
    struct emulator            *emu;
    const struct option_values *opt;
    int64_t                     now;
};
int smartshape_copy(const struct copy_order *order, const struct node *source,
                    const struct path *destination, struct node *copy, const char **why);

#endif
