#include "cache/cache.h"
#include "fs/verbs.h"

#include <inttypes.h>
#include <string.h>

/* `polymount rescue`: needs no daemon, and refuses while one serves the state folder. */

enum { FROM };

static void show(void *arg, const char *line)
{
    (void)arg;
    puts(line[0] == '/' ? line + 1 : line);
}

static int run(const char *state_dir, const char *to)
{
    struct pm_rescued sum;
    char              why[1024];
    int               err = pm_rescue(state_dir, to, show, NULL, &sum, why, sizeof(why));

    if (err) {
        fprintf(stderr, "polymount rescue: %s\n", why);
        return 1;
    }
    printf("%" PRIu64 " files, %" PRIu64 " bytes\n", sum.files, sum.bytes);
    if (sum.troubles)
        fprintf(stderr, "polymount rescue: %" PRIu64 " could not be taken out, see above\n",
                sum.troubles);
    return sum.troubles ? 1 : 0;
}

int pm_verb_rescue(const struct pm_call *call)
{
    struct pm_conf *conf = NULL;
    char            why[512];
    int             status = 1;

    if (call->values[FROM])
        return run(call->values[FROM], call->paths[0]);
    if (pm_conf_load(call->conf, &conf, why, sizeof(why)))
        fprintf(stderr, "polymount rescue: %s; or name the state folder: --from FOLDER\n", why);
    else
        status = run(conf->cache_dir, call->paths[0]);
    pm_conf_free(conf);
    return status;
}
