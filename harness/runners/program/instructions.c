#define _GNU_SOURCE
#include "instructions.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int counter = -1;
static char missing[160] = "they were not asked for";

/* As PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING lay it out. */
typedef struct {
    uint64_t count, enabled, running;
} reading;

void instructions_open(void) {
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
    missing[0] = '\0';
    if (counter < 0) snprintf(missing, sizeof missing, "the kernel counts no instructions: perf_event_open: %s", strerror(errno));
}

uint64_t instructions(void) {
    reading now = {0, 0, 0};
    if (counter < 0 || missing[0]) return 0;
    if (read(counter, &now, sizeof now) != (ssize_t)sizeof now) snprintf(missing, sizeof missing, "the counter could not be read: %s", strerror(errno));
    else if (now.running != now.enabled) snprintf(missing, sizeof missing, "the CPU's counters were shared: instructions were counted part of the time");
    return now.count;
}

const char *instructions_missing(void) {
    return missing[0] ? missing : NULL;
}
