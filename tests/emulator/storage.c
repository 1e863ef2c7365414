#include "tests/emulator/storage.h"

void storage_error(struct request *rq, int status, const char *code)
{
    struct reply *reply = &rq->reply;
    reply_clear(reply);
    reply->status = status;
    buf_printf(&reply->memory,
               "<?xml version='1.0' encoding='UTF-8'?><Error><Code>%s</Code><Message>%s</Message>"
               "</Error>",
               code, code);
    reply_header(reply, "Content-Type", "application/xml; charset=UTF-8");
}

void storage_judge_expired(struct request *rq)
{
    struct buf key = {0};
    int64_t now = now_ms();
    buf_printf(&key, "expired %s", rq->raw_query);
    int64_t first = log_recall(rq->emu->log, key.data);
    if (first != 0 && now - first > NEWS_MS)
        request_breach(rq, "an expired signed URL was used again");
    log_remember(rq->emu->log, key.data, first != 0 ? first : now);
    buf_free(&key);
}
