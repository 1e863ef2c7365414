#include "fs/initreply.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

uint64_t pm_initreply_wanted(void)
{
    uint64_t bits = FUSE_PARALLEL_DIROPS;

#ifdef FUSE_HANDLE_KILLPRIV_V2
    bits |= FUSE_HANDLE_KILLPRIV_V2;
#endif
    return bits;
}

bool pm_initreply_needed(const char *version)
{
    unsigned major = 0, minor = 0, patch = 0;

    if (sscanf(version, "%u.%u.%u", &major, &minor, &patch) < 2 || major != 3 || minor < 14)
        return false;
    return minor < 17 || (minor == 17 && patch < 4);
}

void pm_initreply_seen(struct pm_initreply *r, const void *request, size_t len)
{
    const struct fuse_in_header *head = request;
    const struct fuse_init_in   *in = (const void *)(head + 1);

    if (r->sent || len < sizeof(*head) + 4 * sizeof(uint32_t) || head->opcode != FUSE_INIT)
        return;
    r->unique = head->unique;
    r->offered = in->flags;
    if ((in->flags & FUSE_INIT_EXT) && len >= sizeof(*head) + 5 * sizeof(uint32_t))
        r->offered |= (uint64_t)in->flags2 << 32;
}

static size_t gather(const struct iovec *iov, int count, unsigned char *to, size_t max)
{
    size_t len = 0;

    for (int i = 0; i < count; i++) {
        if (iov[i].iov_len > max - len)
            return 0;
        memcpy(to + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    return len;
}

size_t pm_initreply_complete(struct pm_initreply *r, const struct iovec *iov, int count,
                             unsigned char *copy)
{
    struct fuse_out_header head;
    struct fuse_init_out   out;
    size_t                 len = gather(iov, count, copy, PM_INITREPLY_MAX);

    if (len < sizeof(head) + FUSE_COMPAT_22_INIT_OUT_SIZE || r->unique == 0)
        return 0;
    memcpy(&head, copy, sizeof(head));
    memset(&out, 0, sizeof(out));
    memcpy(&out, copy + sizeof(head),
           len - sizeof(head) < sizeof(out) ? len - sizeof(head) : sizeof(out));
    /* A kernel of a higher major version gets a reply without flags and asks again. */
    if (head.unique != r->unique || head.error || out.flags == 0)
        return 0;
    out.flags |= (uint32_t)(pm_initreply_wanted() & r->offered);
    memcpy(copy + sizeof(head) + offsetof(struct fuse_init_out, flags), &out.flags,
           sizeof(out.flags));
    r->sent = out.flags | (uint64_t)out.flags2 << 32;
    return len;
}

/* libfuse calls this where it would read; a worker may be cancelled in it. */
static ssize_t read_request(int fd, void *buf, size_t len, void *userdata)
{
    struct pm_initreply_user *user = userdata;
    ssize_t                   n = read(fd, buf, len);

    if (n > 0 && !user->initreply.sent)
        pm_initreply_seen(&user->initreply, buf, (size_t)n);
    return n;
}

static ssize_t write_reply(int fd, struct iovec *iov, int count, void *userdata)
{
    struct pm_initreply_user *user = userdata;
    unsigned char             copy[PM_INITREPLY_MAX];
    size_t                    len = 0;

    if (!user->initreply.sent)
        len = pm_initreply_complete(&user->initreply, iov, count, copy);
    return len > 0 ? write(fd, copy, len) : writev(fd, iov, count);
}

int pm_initreply_install(struct fuse_session *se)
{
    static const struct fuse_custom_io io = {
        .writev = write_reply,
        .read = read_request,
    };

    if (!pm_initreply_needed(fuse_pkgversion()))
        return 0;
    return fuse_session_custom_io(se, &io, fuse_session_fd(se));
}
