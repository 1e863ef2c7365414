#include "tests/emulator/store.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/emulator/buf.h"
#include "tests/emulator/sign.h"

#define PIECE ((size_t)1024 * 1024)
#define DIGESTS_MAX 1024

struct store {
    int             content_fd;         /* immutable: DIR/content */
    int             incoming_fd;        /* immutable: DIR/incoming */
    pthread_mutex_t lock;               /* leaf; guards digests */
    struct {
        char content[33];
        char hex[65];
    } digests[DIGESTS_MAX];             /* lock; at hash of the name, the last one wins */
};

struct incoming {
    struct store *store;
    int           fd;
    char          name[33];
    uint64_t      size;
};

static int open_folder(const char *dir, const char *name)
{
    struct buf path = {0};
    buf_printf(&path, "%s/%s", dir, name);
    int fd = mkdir(path.data, 0700) < 0 && errno != EEXIST
                 ? -1
                 : open(path.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    buf_free(&path);
    return fd < 0 ? -errno : fd;
}

/* What was still arriving when the last run ended is of no use to anyone. */
static void empty_folder(int fd)
{
    DIR *dir = fdopendir(dup(fd));
    if (dir == NULL)
        return;
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        if (e->d_name[0] != '.')
            unlinkat(fd, e->d_name, 0);
    closedir(dir);
}

int store_open(const char *dir, struct store **out)
{
    struct store *s = emu_alloc(sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    s->content_fd = open_folder(dir, "content");
    s->incoming_fd = open_folder(dir, "incoming");
    if (s->content_fd < 0 || s->incoming_fd < 0) {
        int r = s->content_fd < 0 ? s->content_fd : s->incoming_fd;
        store_close(s);
        return r;
    }
    empty_folder(s->incoming_fd);
    *out = s;
    return 0;
}

void store_close(struct store *s)
{
    if (s == NULL)
        return;
    if (s->content_fd >= 0)
        close(s->content_fd);
    if (s->incoming_fd >= 0)
        close(s->incoming_fd);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int incoming_new(struct store *s, struct incoming **out)
{
    struct incoming *in = emu_alloc(sizeof(*in));
    in->store = s;
    sign_random_hex(in->name);
    in->fd = openat(s->incoming_fd, in->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (in->fd < 0) {
        int r = -errno;
        free(in);
        return r;
    }
    *out = in;
    return 0;
}

static bool all_zero(const char *bytes, size_t len)
{
    return len > 0 && bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

int incoming_write(struct incoming *in, const void *bytes, size_t len)
{
    const char *p = bytes;
    bool hole = len >= 4096 && all_zero(p, len);
    for (size_t done = 0; done < len && !hole;) {
        ssize_t n = pwrite(in->fd, p + done, len - done, (off_t)(in->size + done));
        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    in->size += len;
    return 0;
}

uint64_t incoming_size(const struct incoming *in)
{
    return in->size;
}

int incoming_commit(struct incoming *in, char content[33])
{
    struct store *s = in->store;
    if (in->size == 0) {
        incoming_abort(in);
        content[0] = '\0';
        return 0;
    }
    if (ftruncate(in->fd, (off_t)in->size) < 0 ||
        renameat(s->incoming_fd, in->name, s->content_fd, in->name) < 0) {
        int r = -errno;
        incoming_abort(in);
        return r;
    }
    memcpy(content, in->name, sizeof(in->name));
    close(in->fd);
    free(in);
    return 0;
}

void incoming_abort(struct incoming *in)
{
    if (in == NULL)
        return;
    unlinkat(in->store->incoming_fd, in->name, 0);
    close(in->fd);
    free(in);
}

static uint64_t splitmix64(uint64_t seed, uint64_t index)
{
    uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

int store_generate(struct store *s, uint64_t size, uint64_t seed, bool zero, char content[33])
{
    struct incoming *in = NULL;
    int r = incoming_new(s, &in);
    if (in == NULL)
        return r;
    uint64_t *words = emu_alloc(PIECE);
    if (zero)
        in->size = size;                /* the commit makes it that long, all hole */
    for (uint64_t at = 0; !zero && at < size && r == 0; at += PIECE) {
        for (size_t i = 0; i < PIECE / sizeof(words[0]); i++)
            words[i] = splitmix64(seed, at / sizeof(words[0]) + i);
        r = incoming_write(in, words, size - at < PIECE ? (size_t)(size - at) : PIECE);
    }
    free(words);
    if (r < 0) {
        incoming_abort(in);
        return r;
    }
    return incoming_commit(in, content);
}

int store_put(struct store *s, const void *bytes, size_t len, char content[33])
{
    struct incoming *in = NULL;
    int r = incoming_new(s, &in);
    if (in == NULL)
        return r;
    r = incoming_write(in, bytes, len);
    if (r == 0)
        return incoming_commit(in, content);
    incoming_abort(in);
    return r;
}

int store_adopt(struct store *s, int folder_fd, const char *name)
{
    bool done = linkat(folder_fd, name, s->content_fd, name, 0) == 0 || errno == EEXIST;
    return done ? 0 : -errno;
}

int store_read_fd(struct store *s, const char *content)
{
    int fd = content[0] == '\0' ? open("/dev/null", O_RDONLY | O_CLOEXEC)
                                : openat(s->content_fd, content, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int digest_fd(int fd, char hex[65])
{
    char *piece = emu_alloc(PIECE);
    unsigned char digest[32];
    unsigned len = sizeof(digest);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    ssize_t n = 0;
    EVP_DigestInit_ex(context, EVP_sha256(), NULL);
    while ((n = read(fd, piece, PIECE)) > 0)
        EVP_DigestUpdate(context, piece, (size_t)n);
    EVP_DigestFinal_ex(context, digest, &len);
    EVP_MD_CTX_free(context);
    free(piece);
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return n < 0 ? -EIO : 0;
}

int store_sha256(struct store *s, const char *content, char hex[65])
{
    size_t at = strtoul(content[0] != '\0' ? content + 24 : "0", NULL, 16) % DIGESTS_MAX;
    pthread_mutex_lock(&s->lock);
    bool known = s->digests[at].hex[0] != '\0' && strcmp(s->digests[at].content, content) == 0;
    if (known)
        memcpy(hex, s->digests[at].hex, sizeof(s->digests[at].hex));
    pthread_mutex_unlock(&s->lock);
    if (known)
        return 0;
    int fd = store_read_fd(s, content);
    int r = fd < 0 ? fd : digest_fd(fd, hex);
    if (fd >= 0)
        close(fd);
    if (r < 0)
        return r;
    pthread_mutex_lock(&s->lock);
    snprintf(s->digests[at].content, sizeof(s->digests[at].content), "%s", content);
    memcpy(s->digests[at].hex, hex, sizeof(s->digests[at].hex));
    pthread_mutex_unlock(&s->lock);
    return 0;
}

void store_drop(struct store *s, const char *content)
{
    if (content[0] != '\0')
        unlinkat(s->content_fd, content, 0);
}
