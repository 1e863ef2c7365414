/* resumable.h: sending a content to an upload URL of Google Cloud Storage's kind (api/notes.md 3.1, 3.2),
 * for services that hand such URLs out.
 *
 * A URL is all the right there is: nothing of the account's goes with it, and it is in no message. Of an
 * upload session the storage keeps what came up to a mark, in multiples of PM_RESUMABLE_UNIT, for about
 * a week; it is asked for the mark after whatever went wrong. Functions without state: what must outlive
 * a crash (the URL, and that the whole is there) is the service's to keep in pm_upload.state.
 *
 * Only for backends/. All block; ctx->why has at most the storage's code. */
#ifndef PM_BACKENDS_RESUMABLE_H
#define PM_BACKENDS_RESUMABLE_H

#include "backends/http.h"

#define PM_RESUMABLE_UNIT  ((uint64_t)256 * 1024) /* every PUT but the last has a multiple of it */
#define PM_RESUMABLE_PLAIN ((uint64_t)8 << 20) /* up to here one plain PUT costs less than a session */

enum pm_resumable_kind {
    PM_RESUMABLE_SESSION, /* a session that is open: mark, PUTs, DELETE */
    PM_RESUMABLE_START, /* signed for opening a session, or so it seems */
    PM_RESUMABLE_WHOLE, /* signed, or whatever else: one PUT of the whole */
};

/* Which kind a URL is of, by its looks; `asked`: the service was asked for a resumable upload. A signature
 * of the older form does not say what it is for: then it is START, and if that is -ESTALE, WHOLE. */
enum pm_resumable_kind pm_resumable_kind(const char *url, bool asked);

/* Opens a session. *session is owned. -ESTALE: the URL is over, or not for this. Not sent
 * twice: -EAGAIN, an unused session may be left, no harm. */
int pm_resumable_start(struct pm_net *net, struct pm_ctx *ctx, const char *url, char **session);

/* What is known of an upload. */
struct pm_resumable {
    uint64_t held; /* bytes that the storage keeps */
    bool     complete; /* and it has finished: there is an object of these bytes */
    char     digest[40]; /* of that object, as in struct pm_answer; "": it did not say */
};

/* Asks a session for its mark. -ESTALE: it is dead, and all that it had; -EBADMSG: somebody made
 * an object of another size of it. Safe to repeat. */
int pm_resumable_ask(struct pm_net *net, struct pm_ctx *ctx, const char *session, uint64_t size,
                     struct pm_resumable *out);

/* Sends up->fd from `off` on to a session: all that is left, or with `chunk` (a multiple of
 * PM_RESUMABLE_UNIT; 0: none) at most so much. After 0 the storage keeps out->held bytes, which is more
 * than `off` or all, and may be less than what was sent. -EAGAIN: it is not known, or no more than before:
 * ask. Others as pm_resumable_ask. */
int pm_resumable_put(struct pm_net *net, struct pm_ctx *ctx, const char *session,
                     const struct pm_upload *up, uint64_t off, uint64_t chunk,
                     struct pm_resumable *out);
/* Sends the whole to a URL of the kind WHOLE. -ESTALE: it is over; -EAGAIN: it is not known whether it
 * arrived. Sending the same once more is harmless. */
int pm_resumable_put_whole(struct pm_net *net, struct pm_ctx *ctx, const char *url,
                           const struct pm_upload *up, struct pm_resumable *out);

/* Gives a session up; 0 also if it is gone. One that was finished stays an object: ask first. */
int pm_resumable_cancel(struct pm_net *net, struct pm_ctx *ctx, const char *session);

/* N of "bytes=0-N" or "0-N", the mark of a 308, plus one; 0 of "": nothing is kept. False: it is no mark. */
bool pm_resumable_mark(const char *range, uint64_t *held);

#endif
