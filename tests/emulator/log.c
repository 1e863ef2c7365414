#include "tests/emulator/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_MAX 200000                  /* entries kept; then the oldest half goes */
#define BREACH_MAX 10000
#define RECALL_MAX 256

struct entry {
    uint64_t n;
    int64_t  begun_ms;
    int64_t  took_ms;
    struct log_start start;             /* strings owned */
    struct log_end   end;
};

struct log {
    pthread_mutex_t lock;               /* leaf; guards all below */
    struct entry   *entries;            /* ordered by n, without gaps */
    size_t          count;
    size_t          cap;
    uint64_t        next_n;
    int64_t         origin_ms;
    char           *breaches[BREACH_MAX];
    size_t          breach_count;
    struct {
        char   *key;
        int64_t value;
    } recall[RECALL_MAX];
    size_t recall_next;
};

struct log *log_new(void)
{
    struct log *log = emu_alloc(sizeof(*log));
    pthread_mutex_init(&log->lock, NULL);
    log->origin_ms = mono_ms();
    log->next_n = 1;
    return log;
}

static void entry_free(struct entry *e)
{
    free((char *)e->start.endpoint);
    free((char *)e->start.method);
    free((char *)e->start.path);
    free((char *)e->start.query);
    free((char *)e->start.range);
}

static void drop_oldest_locked(struct log *log, size_t count)
{
    for (size_t i = 0; i < count; i++)
        entry_free(&log->entries[i]);
    log->count -= count;
    if (log->count > 0)
        memmove(log->entries, log->entries + count, log->count * sizeof(log->entries[0]));
}

void log_free(struct log *log)
{
    if (log == NULL)
        return;
    log_clear(log);
    log_breaches_clear(log);
    free(log->entries);
    pthread_mutex_destroy(&log->lock);
    free(log);
}

uint64_t log_begin(struct log *log, const struct log_start *start)
{
    struct entry e = {.begun_ms = mono_ms(), .start = *start};
    e.start.endpoint = emu_strdup(start->endpoint);
    e.start.method = emu_strdup(start->method);
    e.start.path = emu_strdup(start->path);
    e.start.query = emu_strdup(start->query);
    e.start.range = emu_strdup(start->range);
    pthread_mutex_lock(&log->lock);
    if (log->count == LOG_MAX)
        drop_oldest_locked(log, LOG_MAX / 2);
    if (log->count == log->cap) {
        size_t cap = log->cap > 0 ? log->cap * 2 : 256;
        struct entry *grown = emu_alloc(cap * sizeof(*grown));
        if (log->count > 0)
            memcpy(grown, log->entries, log->count * sizeof(*grown));
        free(log->entries);
        log->entries = grown;
        log->cap = cap;
    }
    e.n = log->next_n++;
    e.begun_ms -= log->origin_ms;
    log->entries[log->count++] = e;
    pthread_mutex_unlock(&log->lock);
    return e.n;
}

void log_finish(struct log *log, uint64_t n, const struct log_end *end)
{
    pthread_mutex_lock(&log->lock);
    uint64_t first = log->count > 0 ? log->entries[0].n : n + 1;
    if (n >= first && n - first < log->count) {     /* else cleared meanwhile */
        struct entry *e = &log->entries[n - first];
        e->end = *end;
        e->took_ms = mono_ms() - log->origin_ms - e->begun_ms;
    }
    pthread_mutex_unlock(&log->lock);
}

static void entry_json(const struct entry *e, struct buf *out)
{
    buf_printf(out, "{\"n\":%llu,\"t_ms\":%lld,\"ms\":%lld,\"port\":%d,\"conn\":%llu,",
               (unsigned long long)e->n, (long long)e->begun_ms, (long long)e->took_ms,
               e->start.port, (unsigned long long)e->start.connection);
    const struct {
        const char *name;
        const char *text;
    } texts[] = {
        {"endpoint", e->start.endpoint}, {"method", e->start.method}, {"path", e->start.path},
        {"query", e->start.query},       {"range", e->start.range},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        buf_printf(out, "\"%s\":", texts[i].name);
        buf_json(out, texts[i].text, strlen(texts[i].text), true);
        buf_puts(out, ",");
    }
    buf_printf(out, "\"status\":%d,\"in\":%llu,\"out\":%llu,\"authorized\":%s,\"finished\":%s}",
               e->end.status, (unsigned long long)e->end.in_bytes,
               (unsigned long long)e->end.out_bytes, e->start.authorized ? "true" : "false",
               e->end.finished ? "true" : "false");
}

void log_json(struct log *log, struct buf *out)
{
    pthread_mutex_lock(&log->lock);
    buf_puts(out, "[");
    for (size_t i = 0; i < log->count; i++) {
        buf_puts(out, i > 0 ? ",\n" : "");
        entry_json(&log->entries[i], out);
    }
    buf_puts(out, "]\n");
    pthread_mutex_unlock(&log->lock);
}

struct tally {
    const char *endpoint;               /* borrowed from an entry */
    uint64_t    count;
    uint64_t    in_bytes;
    uint64_t    out_bytes;
};

static size_t tally_locked(const struct log *log, const char *match, struct tally *all, size_t max)
{
    size_t used = 0;
    for (size_t i = 0; i < log->count; i++) {
        const struct entry *e = &log->entries[i];
        size_t at = 0;
        if (strstr(e->start.path, match) == NULL && strstr(e->start.query, match) == NULL)
            continue;
        while (at < used && strcmp(all[at].endpoint, e->start.endpoint) != 0)
            at++;
        if (at == max)
            continue;
        if (at == used)
            all[used++] = (struct tally){.endpoint = e->start.endpoint};
        all[at].count++;
        all[at].in_bytes += e->end.in_bytes;
        all[at].out_bytes += e->end.out_bytes;
    }
    return used;
}

void log_summary_json(struct log *log, const char *match, struct buf *out)
{
    struct tally all[64];
    pthread_mutex_lock(&log->lock);
    size_t used = tally_locked(log, match, all, sizeof(all) / sizeof(all[0]));
    uint64_t total = 0;
    buf_puts(out, "{");
    for (size_t i = 0; i < used; i++) {
        buf_printf(out, "\"%s\":%llu,", all[i].endpoint, (unsigned long long)all[i].count);
        total += all[i].count;
    }
    buf_printf(out, "\"total\":%llu", (unsigned long long)total);
    for (int pass = 0; pass < 2; pass++) {
        buf_printf(out, ",\"%s\":{", pass == 0 ? "bytes_out" : "bytes_in");
        for (size_t i = 0; i < used; i++)
            buf_printf(out, "%s\"%s\":%llu", i > 0 ? "," : "", all[i].endpoint,
                       (unsigned long long)(pass == 0 ? all[i].out_bytes : all[i].in_bytes));
        buf_puts(out, "}");
    }
    buf_puts(out, "}\n");
    pthread_mutex_unlock(&log->lock);
}

void log_clear(struct log *log)
{
    pthread_mutex_lock(&log->lock);
    drop_oldest_locked(log, log->count);
    pthread_mutex_unlock(&log->lock);
}

void log_breach(struct log *log, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    if (len < 0)
        return;
    pthread_mutex_lock(&log->lock);
    if (log->breach_count < BREACH_MAX)
        log->breaches[log->breach_count++] = text;
    else
        free(text);
    pthread_mutex_unlock(&log->lock);
}

void log_breaches_json(struct log *log, struct buf *out)
{
    pthread_mutex_lock(&log->lock);
    buf_puts(out, "[");
    for (size_t i = 0; i < log->breach_count; i++) {
        buf_puts(out, i > 0 ? ",\n" : "");
        buf_json(out, log->breaches[i], strlen(log->breaches[i]), true);
    }
    buf_puts(out, "]\n");
    pthread_mutex_unlock(&log->lock);
}

void log_breaches_clear(struct log *log)
{
    pthread_mutex_lock(&log->lock);
    for (size_t i = 0; i < log->breach_count; i++)
        free(log->breaches[i]);
    log->breach_count = 0;
    for (size_t i = 0; i < RECALL_MAX; i++) {
        free(log->recall[i].key);
        log->recall[i].key = NULL;
    }
    pthread_mutex_unlock(&log->lock);
}

void log_remember(struct log *log, const char *key, int64_t value)
{
    pthread_mutex_lock(&log->lock);
    size_t at = 0;
    while (at < RECALL_MAX && log->recall[at].key != NULL && strcmp(log->recall[at].key, key) != 0)
        at++;                           /* slots fill up from the first one */
    if (at == RECALL_MAX) {
        at = log->recall_next++ % RECALL_MAX;
        free(log->recall[at].key);
        log->recall[at].key = NULL;
    }
    if (log->recall[at].key == NULL)
        log->recall[at].key = emu_strdup(key);
    log->recall[at].value = value;
    pthread_mutex_unlock(&log->lock);
}

int64_t log_recall(struct log *log, const char *key)
{
    int64_t value = 0;
    pthread_mutex_lock(&log->lock);
    for (size_t i = 0; i < RECALL_MAX; i++)
        if (log->recall[i].key != NULL && strcmp(log->recall[i].key, key) == 0)
            value = log->recall[i].value;
    pthread_mutex_unlock(&log->lock);
    return value;
}
