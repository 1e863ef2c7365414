/* What one running emulator consists of. Everything hangs off this, nothing is global. */
#ifndef EMULATOR_EMULATOR_H
#define EMULATOR_EMULATOR_H

#include <stdatomic.h>
#include <stdbool.h>

#include "tests/emulator/fault.h"
#include "tests/emulator/log.h"
#include "tests/emulator/options.h"
#include "tests/emulator/sign.h"
#include "tests/emulator/store.h"
#include "tests/emulator/tree.h"

enum { PORT_API, PORT_STORAGE, PORTS };

struct port {
    struct emulator   *emu;
    struct MHD_Daemon *daemon;
    int                socket;          /* -1 before server_listen() and once the daemon owns it */
    int                number;          /* immutable once serving */
    char               url[256];        /* as clients reach it; immutable once serving */
};

struct emulator {
    struct options *options;
    struct log     *log;
    struct faults  *faults;
    struct tree    *tree;
    struct store   *store;
    struct secrets  secrets;            /* immutable */
    struct port     ports[PORTS];
    bool            tls;                /* immutable */
    atomic_int      connections;
    atomic_ullong   next_connection;
    struct ledger  *depot;              /* 360-for-you's state: see depot.h */
    char            three_sixty_token[40];  /* immutable */
    atomic_uint     three_sixty_puts;   /* that brought something new */
    struct ledger  *stock;              /* ShareMy3D's: see sharemy3d_stock.h */
    char            sharemy3d_token[40];    /* immutable */
    atomic_uint     sharemy3d_puts;     /* to sessions, that brought something new */
    struct runs    *runs;               /* see sharemy3d_runs.h */
    struct ledger  *print_shop;         /* Shapeways': see shapeways_stock.h */
    struct {
        char consumer_key[40];
        char consumer_secret[40];
        char access_token[40];
        char access_secret[40];
    } shapeways;                        /* immutable */
    struct flights *flights;            /* see flight.h */
};

#endif
