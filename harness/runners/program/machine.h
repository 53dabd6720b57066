/* What the kernel tells of this process and of the machine, as parts of the document. */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdint.h>
#include <stdio.h>

#include "json.h"

/* CLOCK_MONOTONIC. */
uint64_t now_ns(void);
double clock_step_s(void);

/* Has the kernel kill this process when the one that started it dies, however it dies. */
void die_with_parent(void);

/* Has the kernel end this process after so many seconds, should no one else be there to do it. */
void end_after(double seconds);

/* This process runs on these CPUs from now on, and on no others. */
void run_on(const json *cpus);

/* Bytes of a `kB` line of /proc/self/status; -1 where the system has no such file. */
int64_t memory_bytes(const char *field);

/* Clock, frequencies and temperatures just now, null where the kernel does not show them. `sysfs`: where its /sys is. */
void put_machine_state(FILE *to, const char *sysfs);

/* Counters of this process so far, and the CPUs it may run on. */
void put_process_state(FILE *to);

#endif
