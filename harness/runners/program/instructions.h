/* Instructions executed by this process and its threads, as the CPU's own counter or an emulator has it. Read outside what is timed. */
#ifndef INSTRUCTIONS_H
#define INSTRUCTIONS_H

#include <stdint.h>

/* Begins to count. Threads that are started later count too. */
void instructions_open(void);

/* How many so far; 0 where they are not counted. */
uint64_t instructions(void);

/* Why there is no count that can be used; NULL where there is one. */
const char *instructions_missing(void);

#endif
