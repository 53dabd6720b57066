#define _GNU_SOURCE
#include "machine.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "fail.h"
#include "reply.h"

#define MAX_CPUS 4096
#define CPU_BYTES CPU_ALLOC_SIZE(MAX_CPUS)

static uint64_t clock_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

uint64_t now_ns(void) {
    return clock_ns(CLOCK_MONOTONIC);
}

double clock_step_s(void) {
    struct timespec step;
    clock_getres(CLOCK_MONOTONIC, &step);
    return (double)step.tv_sec + 1e-9 * (double)step.tv_nsec;
}

void die_with_parent(void) {
    pid_t parent = getppid();
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) fail("OSError", "prctl(PR_SET_PDEATHSIG): %s", strerror(errno));
    if (getppid() != parent) _exit(1); /* it died before the call */
}

void end_after(double seconds) {
    struct itimerval limit = {.it_value = {(time_t)seconds, (suseconds_t)(1e6 * (seconds - (double)(time_t)seconds))}};
    if (setitimer(ITIMER_REAL, &limit, NULL) != 0) fail("ValueError", "a limit of %g s cannot be set: %s", seconds, strerror(errno));
}

void run_on(const json *cpus) {
    cpu_set_t *wanted = CPU_ALLOC(MAX_CPUS), *found = CPU_ALLOC(MAX_CPUS);
    if (!wanted || !found) fail("OSError", "no memory");
    CPU_ZERO_S(CPU_BYTES, wanted);
    CPU_ZERO_S(CPU_BYTES, found);
    for (unsigned i = 0; i < cpus->count; i++) {
        double number = json_item(cpus, i, JSON_NUMBER)->number;
        if (number < 0 || number >= MAX_CPUS || number != (unsigned)number) fail("ValueError", "there is no CPU %g", number);
        CPU_SET_S((unsigned)number, CPU_BYTES, wanted);
    }
    if (sched_setaffinity(0, CPU_BYTES, wanted) != 0) fail("OSError", "the CPUs that were asked for: %s", strerror(errno));
    /* The kernel leaves out what is not there without a word. */
    if (sched_getaffinity(0, CPU_BYTES, found) != 0 || !CPU_EQUAL_S(CPU_BYTES, wanted, found))
        fail("OSError", "not all of the CPUs that were asked for are there, or may be used");
    CPU_FREE(wanted);
    CPU_FREE(found);
}

int64_t memory_bytes(const char *field) {
    FILE *status = fopen("/proc/self/status", "r");
    if (!status) return -1;
    char line[256];
    long long kib = -1;
    size_t length = strlen(field);
    while (kib < 0 && fgets(line, sizeof line, status))
        if (strncmp(line, field, length) == 0 && line[length] == ':') kib = strtoll(line + length + 1, NULL, 10);
    fclose(status);
    return kib < 0 ? -1 : 1024 * kib;
}

/* "name": number, for each folder whose name begins so and whose file holds one: a zone may refuse to be read. How many. */
static int put_numbers(FILE *to, const char *sysfs, const char *folder, const char *begins, const char *file, double unit) {
    struct dirent **entries;
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/%s", sysfs, folder), found = 0;
    int count = length < (int)sizeof path ? scandir(path, &entries, NULL, alphasort) : -1;
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        length = snprintf(path, sizeof path, "%s/%s/%s/%s", sysfs, folder, name, file);
        FILE *value = strncmp(name, begins, strlen(begins)) == 0 && length < (int)sizeof path ? fopen(path, "r") : NULL;
        long number;
        if (value && fscanf(value, "%ld", &number) == 1) {
            fputs(found++ ? "," : "{", to);
            put_string(to, name);
            putc(':', to);
            put_number(to, unit * (double)number);
        }
        if (value) fclose(value);
        free(entries[i]);
    }
    if (count >= 0) free(entries);
    fputs(found ? "}" : "null", to);
    return found;
}

void put_machine_state(FILE *to, const char *sysfs) {
    fputs("{\"monotonic_s\":", to);
    put_number(to, (double)now_ns() / 1e9);
    fputs(",\"frequency_hz\":", to);
    int frequencies = put_numbers(to, sysfs, "devices/system/cpu/cpufreq", "policy", "scaling_cur_freq", 1e3);
    fputs(",\"celsius\":", to);
    int temperatures = put_numbers(to, sysfs, "class/thermal", "thermal_zone", "temp", 1e-3);
    fputs(",\"reason\":", to);
    fputs(frequencies && temperatures ? "null}" : "\"the kernel shows no cpufreq policy or no thermal zone\"}", to);
}

static void put_affinity(FILE *to) {
    cpu_set_t *cpus = CPU_ALLOC(MAX_CPUS);
    if (!cpus) fail("OSError", "no memory");
    CPU_ZERO_S(CPU_BYTES, cpus);
    if (sched_getaffinity(0, CPU_BYTES, cpus) != 0) {
        fputs("null", to);
    } else {
        const char *before = "[";
        for (unsigned cpu = 0; cpu < MAX_CPUS; cpu++)
            if (CPU_ISSET_S(cpu, CPU_BYTES, cpus)) fprintf(to, "%s%u", before, cpu), before = ",";
        putc(']', to);
    }
    CPU_FREE(cpus);
}

void put_process_state(FILE *to) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    fputs("{\"cpu_s\":", to);
    put_number(to, (double)clock_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e9);
    fprintf(to, ",\"voluntary_switches\":%ld,\"involuntary_switches\":%ld", usage.ru_nvcsw, usage.ru_nivcsw);
    fprintf(to, ",\"minor_faults\":%ld,\"major_faults\":%ld,\"affinity\":", usage.ru_minflt, usage.ru_majflt);
    put_affinity(to);
    putc('}', to);
}
