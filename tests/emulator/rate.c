#include "tests/emulator/rate.h"

#include <string.h>
#include <time.h>

#define CLOCK_SLACK_MS 5

void rate_tell_retry_after(struct request *rq, int64_t wait_ms, const char *form)
{
    if (strcmp(form, "seconds") == 0) {
        reply_header(&rq->reply, "Retry-After", "%lld", (long long)(wait_ms + 999) / 1000);
    } else if (strcmp(form, "date") == 0) {
        char text[64];
        struct tm parts;
        time_t at = (time_t)((now_ms() + wait_ms + 999) / 1000);
        strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&at, &parts));
        reply_header(&rq->reply, "Retry-After", "%s", text);
    }
}

/* Requests side by side may all be refused before the client knows: it has a moment. */
static void judge_patience(struct request *rq, const struct rate *rate, int64_t wait_ms,
                           const char *form)
{
    struct buf told = {0};
    struct buf until = {0};
    int64_t now = now_ms();
    buf_printf(&told, "rate told %s", rate->name);
    buf_printf(&until, "rate until %s", rate->name);
    int64_t before = log_recall(rq->emu->log, until.data);
    if (now < before - CLOCK_SLACK_MS) {
        if (now > log_recall(rq->emu->log, told.data) + NEWS_MS)
            request_breach(rq, "came %lld ms before the time that a 429's Retry-After had set",
                           (long long)(before - now));
    } else if (wait_ms > 0 && strcmp(form, "none") != 0) {
        log_remember(rq->emu->log, told.data, now);
        log_remember(rq->emu->log, until.data, now + (wait_ms + 999) / 1000 * 1000);
    }
    buf_free(&told);
    buf_free(&until);
}

int64_t rate_spend(struct request *rq, const struct rate *rate, const char *form)
{
    int64_t wait_ms = depot_rate(rq->emu->depot, rate, now_ms());
    judge_patience(rq, rate, wait_ms, form);
    return wait_ms;
}
