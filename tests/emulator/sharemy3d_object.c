/* What becomes of bytes that have arrived whole: an object of the storage host, how it is described
 * and served, and what the service then does with the model. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/emulator/sharemy3d_call.h"
#include "tests/emulator/signed.h"
#include "tests/emulator/storage.h"

#define STORED_BLOCK 65535U             /* the longest of deflate's that are not compressed */

/* ---- making one ---- */

int sm3d_sums(struct store *store, const char *content, uint64_t size, struct sums *out)
{
    int fd = store_read_fd(store, content);
    int r = fd < 0 ? fd : sums_of(fd, size, out);
    if (fd >= 0)
        close(fd);
    return r;
}

/* Microseconds, as Google has it; it only grows. */
static int64_t next_generation(const struct sm3d_item *item)
{
    int64_t now = now_ms() * 1000 + random() % 1000;
    return now > item->object.generation ? now : item->object.generation + 1;
}

void sm3d_make_object(struct emulator *emu, const struct option_values *opt,
                      struct sm3d_item *item, const char *content, uint64_t size,
                      const struct sums *sums)
{
    struct sm3d_object *o = &item->object;
    int64_t now = sm3d_now(opt);
    bool first = o->generation == 0;
    o->generation = next_generation(item);
    snprintf(o->content, sizeof(o->content), "%s", content);
    o->size = size;
    o->packed[0] = '\0';
    o->sums = *sums;
    if (first && !item->stuck && item->noticed_at == 0) {
        item->noticed_at = now + opt->sm3d.notice_ms;
        item->ready_at = item->noticed_at + opt->sm3d.process_ms;
        if (size != item->size && strcmp(opt->sm3d.size_mismatch, "failed") == 0)
            snprintf(item->outcome, sizeof(item->outcome), "FAILED");
    }
    stock_put_item(emu->stock, item);
}

static void add_le32(char out[4], uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (char)(value >> (8 * i) & 0xff);
}

/* Gzip without compression: true to its format, and nobody has to link a library for it. */
static int write_packed(int fd, uint64_t size, struct incoming *out)
{
    static const char head[10] = {0x1f, (char)0x8b, 8, 0, 0, 0, 0, 0, 0, (char)0xff};
    struct crc_table *table = emu_alloc(sizeof(*table));
    char *block = emu_alloc(STORED_BLOCK + 5);
    char tail[8];
    uint32_t crc = 0;
    uint64_t at = 0;
    crc_make(table, CRC32);
    int r = incoming_write(out, head, sizeof(head));
    do {
        uint64_t left = size - at;
        size_t len = left < STORED_BLOCK ? (size_t)left : STORED_BLOCK;
        if (pread(fd, block + 5, len, (off_t)at) != (ssize_t)len)
            r = -EIO;
        block[0] = len == left;         /* the last one */
        add_le32(block + 1, (uint32_t)len | (uint32_t)(~len & 0xffff) << 16);
        crc = crc_of(table, crc, block + 5, len);
        if (r == 0)
            r = incoming_write(out, block, len + 5);
        at += len;
    } while (at < size && r == 0);
    add_le32(tail, crc);
    add_le32(tail + 4, (uint32_t)size);
    if (r == 0)
        r = incoming_write(out, tail, sizeof(tail));
    free(block);
    free(table);
    return r;
}

int sm3d_pack_object(struct emulator *emu, struct sm3d_item *item)
{
    struct sm3d_object *o = &item->object;
    struct incoming *out = NULL;
    int fd = store_read_fd(emu->store, o->content);
    int r = fd < 0 ? fd : incoming_new(emu->store, &out);
    if (r == 0)
        r = write_packed(fd, o->size, out);
    if (fd >= 0)
        close(fd);
    if (r < 0) {
        incoming_abort(out);
        return r;
    }
    o->packed_size = incoming_size(out);
    r = incoming_commit(out, o->packed);
    if (r == 0)
        r = sm3d_sums(emu->store, o->packed, o->packed_size, &o->sums);
    stock_put_item(emu->stock, item);
    return r;
}

/* ---- what a client says of its bytes ---- */

static bool hash_fits(const char *text, const char *name, const char *right)
{
    const char *at = strstr(text, name);
    return at == NULL || strncmp(at + strlen(name), right, strlen(right)) == 0;
}

bool sm3d_judge_hashes(struct request *rq, const struct sums *sums)
{
    const char *hash = request_header(rq, "X-Goog-Hash");
    const char *md5 = request_header(rq, "Content-MD5");
    if ((*md5 == '\0' || strcmp(md5, sums->md5) == 0) && hash_fits(hash, "md5=", sums->md5) &&
        hash_fits(hash, "crc32c=", sums->crc32c))
        return true;
    storage_error(rq, 400, "BadDigest");
    return false;
}

/* ---- how it is described ---- */

static bool packed(const struct sm3d_item *item)
{
    return item->object.packed[0] != '\0';
}

static void add_hashes(struct request *rq, const struct sums *sums)
{
    const char *form = sm3d_opt(rq)->hashes;
    if (strcmp(form, "joined") == 0) {
        reply_header(&rq->reply, "x-goog-hash", "crc32c=%s,md5=%s", sums->crc32c, sums->md5);
        return;
    }
    if (strcmp(form, "none") != 0)
        reply_header(&rq->reply, "x-goog-hash", "crc32c=%s", sums->crc32c);
    if (strcmp(form, "lines") == 0)
        reply_header(&rq->reply, "x-goog-hash", "md5=%s", sums->md5);
}

void sm3d_object_headers(struct request *rq, const struct sm3d_item *item)
{
    struct reply *reply = &rq->reply;
    const struct sm3d_object *o = &item->object;
    reply_header(reply, "X-GUploader-UploadID", "emulator-%llx", (unsigned long long)rq->log_n);
    if (!sm3d_opt(rq)->goog_headers)
        return;
    reply_header(reply, "x-goog-generation", "%lld", (long long)o->generation);
    reply_header(reply, "x-goog-metageneration", "1");
    reply_header(reply, "x-goog-stored-content-encoding", "%s",
                 packed(item) ? "gzip" : "identity");
    reply_header(reply, "x-goog-stored-content-length", "%llu",
                 (unsigned long long)(packed(item) ? o->packed_size : o->size));
    add_hashes(rq, &o->sums);
}

void sm3d_object_json(const struct sm3d_item *item, struct buf *out)
{
    const struct sm3d_object *o = &item->object;
    buf_puts(out, "{\"kind\":\"storage#object\",\"name\":");
    buf_json(out, item->key, strlen(item->key), true);
    buf_printf(out,
               ",\"bucket\":\"" SHAREMY3D "\",\"generation\":\"%lld\",\"metageneration\":\"1\","
               "\"size\":\"%llu\",\"md5Hash\":\"%s\",\"crc32c\":\"%s\"}\n",
               (long long)o->generation, (unsigned long long)o->size, o->sums.md5,
               o->sums.crc32c);
}

/* ---- serving it ---- */

static void add_etag(struct request *rq, const struct sm3d_item *item, char out[40])
{
    const char *form = sm3d_opt(rq)->hashes;
    if (strcmp(form, "crc32c") == 0)    /* a composed object's is no MD5 */
        snprintf(out, 40, "\"C%llx=\"", (unsigned long long)item->object.generation);
    else
        snprintf(out, 40, "\"%s\"", item->object.sums.md5_hex);
}

static size_t stream_file(void *arg, char *out, size_t max)
{
    ssize_t n = read(*(int *)arg, out, max);
    return n > 0 ? (size_t)n : 0;
}

static void stream_free(void *arg)
{
    close(*(int *)arg);
    free(arg);
}

/* Unpacked on the way: all of it, of unknown length, whatever range was asked for. */
static void serve_transcoded(struct request *rq, int fd, const char *etag)
{
    struct reply *reply = &rq->reply;
    int *own = emu_alloc(sizeof(*own));
    *own = fd;
    reply->status = 200;
    reply->kind = BODY_STREAM;
    reply->stream = stream_file;
    reply->stream_free = stream_free;
    reply->stream_arg = own;
    reply_header(reply, "Content-Type", "application/octet-stream");
    reply_header(reply, "Warning", "214 UploadServer gunzipped");
    if (rq->opt.etag)
        reply_header(reply, "ETag", "%s", etag);
}

/* As RFC 6266 has it: quotes are escaped, and what is not ASCII stands in a form of its own. */
void sm3d_disposition(const struct sm3d_item *item, struct buf *out)
{
    bool ascii = true;
    buf_puts(out, "attachment; filename=\"");
    for (const char *p = item->filename; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        ascii = ascii && c >= 0x20 && c < 0x7f;
        buf_printf(out, "%s%c", c == '"' || c == '\\' ? "\\" : "", c >= 0x20 && c < 0x7f ? c : '_');
    }
    buf_puts(out, "\"");
    if (ascii)
        return;
    buf_puts(out, "; filename*=UTF-8''");
    signed_encode(item->filename, out);
}

static void add_disposition(struct request *rq, const struct sm3d_item *item)
{
    struct buf value = {0};
    if (!request_query(rq, "response-content-disposition", &value) &&
        strcmp(sm3d_opt(rq)->filename_in, "header") == 0)
        sm3d_disposition(item, &value);
    if (value.len > 0)
        reply_header(&rq->reply, "Content-Disposition", "%s", value.data);
    buf_free(&value);
}

void sm3d_serve_object(struct request *rq, const struct sm3d_item *item)
{
    const struct sm3d_object *o = &item->object;
    bool as_stored = packed(item) && strstr(request_header(rq, "Accept-Encoding"), "gzip") != NULL;
    char etag[40];
    int fd = o->generation != 0 ? store_read_fd(rq->emu->store, as_stored ? o->packed : o->content)
                                : -ENOENT;
    if (fd < 0) {
        storage_error(rq, 404, "NoSuchKey");
        return;
    }
    add_etag(rq, item, etag);
    if (packed(item) && !as_stored)
        serve_transcoded(rq, fd, etag);
    else
        reply_file(rq, fd, as_stored ? o->packed_size : o->size, etag);
    if (rq->reply.status == 416) {
        storage_error(rq, 416, "InvalidRange");
        reply_header(&rq->reply, "Content-Range", "bytes */%llu",
                     (unsigned long long)(as_stored ? o->packed_size : o->size));
    } else if (rq->reply.status == 412) {
        storage_error(rq, 412, "PreconditionFailed");
    }
    if (rq->reply.status >= 300)
        return;
    if (as_stored)
        reply_header(&rq->reply, "Content-Encoding", "gzip");
    sm3d_object_headers(rq, item);
    add_disposition(rq, item);
}
