/* Runs files, and each beginning of the small ones, through a fuzz target, without libFuzzer:
 * PROGRAM FILE... Prints one line for a file that fails and last "N passed, N failed". */
#include "tests/fuzz/fuzz.h"

#include <sys/mman.h>
#include <sys/wait.h>

enum { SMALL = 1024, SECONDS = 60 };

static char *read_file(const char *path, size_t *len)
{
    PM_AUTO(pm_buf) struct pm_buf b = {0};
    FILE  *f = fopen(path, "rb");
    char   chunk[4096];
    size_t n;

    while (f && (n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        pm_buf_add(&b, chunk, n);
    if (!f || ferror(f))
        perror(path);
    *len = b.len;
    if (f)
        fclose(f);
    return f ? pm_buf_take(&b) : NULL;
}

/* In a process of its own, so that one crash is one failure. `at` tells where it was. */
static void run(const char *path, volatile size_t *at)
{
    size_t              len = 0;
    PM_AUTO(free) char *text = read_file(path, &len);

    if (!text)
        _exit(1);
    alarm(SECONDS);
    for (size_t n = len < SMALL ? 0 : len; n <= len; n++) {
        PM_AUTO(free) char *exact = fuzz_bytes(text, n);

        *at = n;
        LLVMFuzzerTestOneInput((const uint8_t *)exact, n);
    }
}

static bool passes(const char *path, volatile size_t *at)
{
    int   status = 0;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        run(path, at);
        exit(0); /* not _exit: the leak checker looks here */
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return false;
    if (status)
        printf("%s: the first %zu bytes: wait status %#x\n", path, *at, (unsigned)status);
    return status == 0;
}

int main(int argc, char **argv)
{
    size_t  *at = mmap(NULL, sizeof(*at), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned passed = 0, failed = 0;

    CHECK(at != MAP_FAILED);
    for (int i = 1; i < argc; i++) {
        if (passes(argv[i], at))
            passed++;
        else
            failed++;
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
