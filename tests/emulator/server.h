/* The two listening ports. */
#ifndef EMULATOR_SERVER_H
#define EMULATOR_SERVER_H

#include "tests/emulator/emulator.h"

/* Takes 127.0.0.1 at port->number (0: any, then filled in); clients wait in the backlog. 0 or
 * -errno. Apart from server_start() so that every port is known before the first request. */
int server_listen(struct port *port);

/* Serves it. PEM texts for TLS, or NULL; they are borrowed until server_stop(). 0 or -EIO. */
int server_start(struct port *port, const char *key_pem, const char *cert_pem);

/* Ends all connections. Sleeping requests must have been woken (faults_stop()). */
void server_stop(struct port *port);

#endif
