#include "fs/handle.h"

void pm_handles_init(struct pm_handles *all)
{
    pthread_mutex_init(&all->lock, NULL);
    all->head.prev = all->head.next = &all->head;
}

void pm_handles_clear(struct pm_handles *all, bool forced)
{
    while (all->head.next != &all->head) {
        struct pm_handle *h = all->head.next;

        if (forced && h->file) {
            pm_file_abandon(h->file);
            h->file = NULL;
        }
        pm_handle_free(all, h);
    }
    pthread_mutex_destroy(&all->lock);
}

struct pm_handle *pm_handle_new(struct pm_handles *all, pm_node node, struct pm_file *file)
{
    struct pm_handle *h = calloc(1, sizeof(*h));

    if (!h) {
        if (file)
            pm_file_release(file);
        return NULL;
    }
    h->node = node;
    h->file = file;
    PM_GUARD(&all->lock);
    h->prev = all->head.prev;
    h->next = &all->head;
    h->prev->next = h;
    all->head.prev = h;
    return h;
}

void pm_handle_free(struct pm_handles *all, struct pm_handle *h)
{
    {
        PM_GUARD(&all->lock);
        h->prev->next = h->next;
        h->next->prev = h->prev;
    }
    if (h->file)
        pm_file_release(h->file);
    pm_buf_free(&h->text);
    free(h);
}
