/* Pictures, of which the size is read. The input is a file. */
#include "backends/picture.h"
#include "tests/fuzz/fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int      fd = memfd_create("picture", MFD_CLOEXEC);
    uint32_t width = 0, height = 0;
    bool     told;

    CHECK(fd >= 0);
    CHECK(write(fd, data, size) == (ssize_t)size);
    told = pm_picture_size(fd, size, &width, &height);
    CHECK(!told || (width && height && size >= 30));
    close(fd);
    return 0;
}
