/* picture.h: how large a picture is, from its first bytes: of PNG, JPEG and WebP. Its bytes come from anywhere.
 * Plain function without state, for any thread. */
#ifndef PM_BACKENDS_PICTURE_H
#define PM_BACKENDS_PICTURE_H

#include <stdbool.h>
#include <stdint.h>

/* Reads by pread; `size`: of the file. False: it is none of these, or does not say. */
bool pm_picture_size(int fd, uint64_t size, uint32_t *width, uint32_t *height);

#endif
