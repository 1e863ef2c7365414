/* verbs.h: `polymount VERB …`, the client's side of the command line (design.md section 1).
 *
 * One table says of each verb how it is written, what its --help tells and what it does. Most just
 * go to the daemon (control.h) with their paths made absolute. Exit status: 0 done, 1 failed with
 * one line on standard error, 2 wrong usage. */
#ifndef PM_FS_VERBS_H
#define PM_FS_VERBS_H

#include <stdbool.h>
#include <stdio.h>

struct pm_verb;

/* A verb call whose command line has been understood. Borrowed by the verb's function. */
struct pm_call {
    const struct pm_verb *verb;
    const char           *conf; /* -c FILE, or NULL */
    const char           *values[2]; /* of the verb's options in its order; NULL: not given */
    char                **paths; /* as they were written */
    int                   npaths;
};

/* The verb, or NULL if there is none of that name. */
const struct pm_verb *pm_verb_find(const char *name);
/* The verb that looks most like `asked`; *far is how many letters differ. */
const char *pm_verb_nearest(const char *asked, unsigned *far);
/* Writes a line for each verb. */
void pm_verbs_list(FILE *out);
/* Runs `verb` with what follows it on the command line; `conf` is a -c FILE before it, or NULL.
 * Returns the exit status. */
int pm_verb_run(const struct pm_verb *verb, const char *conf, int argc, char **argv);

/* Verbs with a file of their own; the exit status. */
int pm_verb_umount(const struct pm_call *call);
int pm_verb_demo(const struct pm_call *call);
int pm_verb_rescue(const struct pm_call *call);
int pm_verb_login(const struct pm_call *call);

#endif
