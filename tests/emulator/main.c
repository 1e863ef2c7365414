/* polymount-emulator: the services that polymount speaks to, as their documents describe them, on
 * two loopback ports. See README.md. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/emulator/depot.h"
#include "tests/emulator/emulator.h"
#include "tests/emulator/flight.h"
#include "tests/emulator/seed.h"
#include "tests/emulator/server.h"
#include "tests/emulator/shapeways.h"
#include "tests/emulator/shapeways_stock.h"
#include "tests/emulator/sharemy3d.h"
#include "tests/emulator/sharemy3d_runs.h"
#include "tests/emulator/sharemy3d_stock.h"
#include "tests/emulator/three_sixty.h"

struct arguments {
    const char *data;
    const char *public_urls[PORTS];
    int         ports[PORTS];
    bool        tls;
    bool        samples;
};

static int parse_arguments(int argc, char **argv, struct arguments *a)
{
    static const struct option names[] = {
        {"data", required_argument, NULL, 'd'},       {"api", required_argument, NULL, 'a'},
        {"storage", required_argument, NULL, 's'},    {"public-api", required_argument, NULL, 'A'},
        {"tls", no_argument, NULL, 't'},              {"seed-samples", no_argument, NULL, 'm'},
        {"public-storage", required_argument, NULL, 'S'}, {NULL, 0, NULL, 0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (c) {
        case 'd':
            a->data = optarg;
            break;
        case 'a':
        case 's':
            a->ports[c == 'a' ? PORT_API : PORT_STORAGE] = (int)strtol(optarg, NULL, 10);
            break;
        case 'A':
        case 'S':
            a->public_urls[c == 'A' ? PORT_API : PORT_STORAGE] = optarg;
            break;
        case 't':
            a->tls = true;
            break;
        case 'm':
            a->samples = true;
            break;
        default:
            return -EINVAL;
        }
    }
    return a->data != NULL && optind == argc ? 0 : -EINVAL;
}

static void hex_of(const void *bytes, size_t len, struct buf *out)
{
    for (size_t i = 0; i < len; i++)
        buf_printf(out, "%02x", ((const unsigned char *)bytes)[i]);
}

/* The same secrets as at the last start on this folder, or new ones. */
static void load_secrets(struct emulator *emu)
{
    struct secrets *s = &emu->secrets;
    struct buf text = {0};
    bool known = tree_get_text(emu->tree, "secrets", &text) && text.len == 2 * sizeof(*s);
    for (size_t i = 0; i < sizeof(*s) && known; i++) {
        unsigned byte = 0;
        known = sscanf(text.data + 2 * i, "%2x", &byte) == 1;
        ((unsigned char *)s)[i] = (unsigned char)byte;
    }
    buf_free(&text);
    if (known)
        return;
    *s = (struct secrets){0};
    secrets_make(s);
    hex_of(s, sizeof(*s), &text);
    tree_set_text(emu->tree, "secrets", text.data);
    buf_free(&text);
}

static int emulator_open(struct emulator *emu, const struct arguments *a)
{
    emu->tls = a->tls;
    for (int i = 0; i < PORTS; i++) {
        emu->ports[i].emu = emu;
        emu->ports[i].socket = -1;
    }
    emu->options = options_new();
    emu->log = log_new();
    emu->faults = faults_new();
    emu->flights = flights_new();
    emu->runs = runs_new();
    if (mkdir(a->data, 0700) < 0 && errno != EEXIST)
        return -errno;
    int r = tree_open(a->data, &emu->tree);
    if (r == 0)
        r = store_open(a->data, &emu->store);
    if (r == 0)
        r = depot_open(a->data, &emu->depot);
    if (r == 0)
        r = stock_open(a->data, &emu->stock);
    if (r == 0)
        r = sw_stock_open(a->data, &emu->print_shop);
    if (r < 0)
        return r;
    load_secrets(emu);
    three_sixty_load_token(emu);
    sharemy3d_load_token(emu);
    shapeways_load_keys(emu);
    return a->samples ? samples_make(emu) : 0;
}

static void emulator_close(struct emulator *emu)
{
    faults_stop(emu->faults);
    for (int i = 0; i < PORTS; i++)
        server_stop(&emu->ports[i]);
    ledger_close(emu->print_shop);
    ledger_close(emu->stock);
    ledger_close(emu->depot);
    store_close(emu->store);
    tree_close(emu->tree);
    runs_free(emu->runs);
    flights_free(emu->flights);
    faults_free(emu->faults);
    log_free(emu->log);
    options_free(emu->options);
}

static int write_certificate(const char *dir, const char *pem)
{
    struct buf path = {0};
    buf_printf(&path, "%s/cert.pem", dir);
    FILE *f = fopen(path.data, "w");
    int r = f != NULL && fputs(pem, f) >= 0 ? 0 : -EIO;
    if (f != NULL && fclose(f) != 0)
        r = -EIO;
    buf_free(&path);
    return r;
}

static void set_url(struct port *port, const char *public_url, bool tls)
{
    size_t len = public_url != NULL ? strlen(public_url) : 0;
    if (len > 0 && public_url[len - 1] == '/')
        len--;
    if (len > 0)
        snprintf(port->url, sizeof(port->url), "%.*s", (int)len, public_url);
    else
        snprintf(port->url, sizeof(port->url), "http%s://127.0.0.1:%d", tls ? "s" : "",
                 port->number);
}

static int listen_all(struct emulator *emu, const struct arguments *a, const char *key,
                      const char *cert)
{
    int r = 0;
    for (int i = 0; i < PORTS && r == 0; i++) {
        emu->ports[i].number = a->ports[i];
        r = server_listen(&emu->ports[i]);
        set_url(&emu->ports[i], a->public_urls[i], a->tls);
    }
    for (int i = 0; i < PORTS && r == 0; i++)
        r = server_start(&emu->ports[i], key, cert);
    return r;
}

static void say_ready(const struct emulator *emu)
{
    printf("{\"pid\":%d,\"smartshape\":\"%s\",\"storage\":\"%s\",\"control\":\"http%s://"
           "127.0.0.1:%d/_control\",\"token\":\"%s\",\"three_sixty\":\"%s" THREE_SIXTY_PREFIX
           "\",\"three_sixty_token\":\"%s\",\"sharemy3d\":\"%s" SHAREMY3D_PREFIX
           "\",\"sharemy3d_token\":\"%s\",\"shapeways\":\"%s" SHAPEWAYS_PREFIX
           "\",\"shapeways_key\":\"%s\",\"shapeways_secret\":\"%s\",\"shapeways_token\":\"%s\","
           "\"shapeways_token_secret\":\"%s\"}\n",
           (int)getpid(), emu->ports[PORT_API].url, emu->ports[PORT_STORAGE].url,
           emu->tls ? "s" : "", emu->ports[PORT_API].number, emu->secrets.token,
           emu->ports[PORT_API].url, emu->three_sixty_token, emu->ports[PORT_API].url,
           emu->sharemy3d_token, emu->ports[PORT_API].url, emu->shapeways.consumer_key,
           emu->shapeways.consumer_secret, emu->shapeways.access_token,
           emu->shapeways.access_secret);
    fflush(stdout);
}

/* All threads inherit the blocked signals, so only this one ends the program. */
static int serve(struct emulator *emu, const struct arguments *a)
{
    sigset_t end;
    int number;
    char *key = NULL;
    char *cert = NULL;
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    sigaddset(&end, SIGINT);
    pthread_sigmask(SIG_BLOCK, &end, NULL);
    int r = emulator_open(emu, a);
    if (r == 0 && a->tls)
        r = sign_certificate(&key, &cert);
    if (r == 0 && a->tls)
        r = write_certificate(a->data, cert);
    if (r == 0)
        r = listen_all(emu, a, key, cert);
    if (r == 0) {
        say_ready(emu);
        sigwait(&end, &number);
    }
    emulator_close(emu);
    free(key);
    free(cert);
    return r;
}

int main(int argc, char **argv)
{
    struct arguments a = {0};
    if (parse_arguments(argc, argv, &a) < 0) {
        fprintf(stderr, "usage: %s --data DIR [--api PORT] [--storage PORT] [--public-api URL] "
                        "[--public-storage URL] [--tls] [--seed-samples]\n",
                argv[0]);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    struct emulator *emu = emu_alloc(sizeof(*emu));
    int r = serve(emu, &a);
    free(emu);
    if (r < 0)
        fprintf(stderr, "polymount-emulator: %s: %s\n", a.data, strerror(-r));
    return r < 0 ? 1 : 0;
}
