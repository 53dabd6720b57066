#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail.h"

#define MAX_BYTES ((off_t)1 << 30)

file file_map(const char *path) {
    int number = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (number < 0 || fstat(number, &status) != 0) fail("OSError", "%s: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode) || status.st_size < 1 || status.st_size > MAX_BYTES)
        fail("ValueError", "%s: empty, larger than 1 GiB, or not a file", path);
    size_t bytes = (size_t)status.st_size;
    file found = {mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, number, 0), bytes};
    if (found.content == MAP_FAILED) fail("OSError", "%s: %s", path, strerror(errno));
    close(number);
    return found;
}

void file_unmap(file mapped) {
    munmap((void *)(uintptr_t)mapped.content, mapped.bytes);
}
