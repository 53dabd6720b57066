#define _GNU_SOURCE
#include "instructions.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static int counter = -1;
static const uint64_t *kept; /* by an emulator that counts: targets/transports/qemu/count.c */
static char missing[160] = "they were not asked for";

/* As PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING lay it out. */
typedef struct {
    uint64_t count, enabled, running;
} reading;

static void open_kept(const char *path) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    void *found = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *kept, PROT_READ, MAP_SHARED, file, 0);
    if (found == MAP_FAILED) snprintf(missing, sizeof missing, "the emulator's count in %.80s: %s", path, strerror(errno));
    else kept = found;
    if (file >= 0) close(file);
}

void instructions_open(void) {
    const char *path = getenv("ASSAY_INSTRUCTIONS");
    missing[0] = '\0';
    if (path) {
        open_kept(path);
        return;
    }
    struct perf_event_attr wanted = {
        .type = PERF_TYPE_HARDWARE,
        .size = sizeof wanted,
        .config = PERF_COUNT_HW_INSTRUCTIONS,
        .read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING,
        .inherit = 1,
        .exclude_kernel = 1,
        .exclude_hv = 1,
    };
    counter = (int)syscall(SYS_perf_event_open, &wanted, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (counter < 0) snprintf(missing, sizeof missing, "the kernel counts no instructions: perf_event_open: %s", strerror(errno));
}

uint64_t instructions(void) {
    if (kept) return __atomic_load_n(kept, __ATOMIC_RELAXED);
    reading now = {0, 0, 0};
    if (counter < 0 || missing[0]) return 0;
    if (read(counter, &now, sizeof now) != (ssize_t)sizeof now) snprintf(missing, sizeof missing, "the counter could not be read: %s", strerror(errno));
    else if (now.running != now.enabled) snprintf(missing, sizeof missing, "the CPU's counters were shared: instructions were counted part of the time");
    return now.count;
}

const char *instructions_missing(void) {
    return missing[0] ? missing : NULL;
}
