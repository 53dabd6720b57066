/* The compiled network with memory of its own: inputs set, outputs taken. Only `network_run` is timed. */
#ifndef NETWORK_H
#define NETWORK_H

#include <stdio.h>

#include "npz.h"

/* Maps the weights' file (NULL: none), makes buffers and opens the network. */
void network_open(const char *weights, int threads);

/* Fails unless every input and output begins with this batch. */
void network_check_batch(int batch);

/* Copies rows [start, start + batch) of each array into the inputs, the last row again where there are fewer. Float rows are
   quantized where an input is. */
void network_set_rows(const npz_array *arrays, int64_t start);

/* Copies whole arrays, which have the inputs' own shapes. */
void network_set(const npz_array *arrays);

void network_run(void);

/* The output as it is after the last run. */
npz_array network_output(int index);

#endif
