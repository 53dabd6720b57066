/* Samples in the order they are taken, and when enough are: the same rules as the Python runner's, constant by constant. */
#ifndef SAMPLES_H
#define SAMPLES_H

#include <stdio.h>

#include "json.h"

/* Warms up and times by the request's `sampling`; with `counts`, each sample's instructions are noted too. */
void samples_take(const json *sampling, int counts);

/* "samples": {...}, "warmup": {...} */
void put_samples(FILE *to);

#endif
