/* A load whose answer is known and whose time is the clock's alone: STEPS of a recurrence that nothing can skip, run ahead or vectorize.
 *
 *   known_load STEPS SAMPLES   ->   {"answer": 12345, "seconds": [0.01, 0.01]}
 *
 * Each sample goes on where the one before it ended: x' = 6364136223846793005 x + 1442695040888963407 modulo 2^64 (Knuth's MMIX generator), from 0.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    uint64_t steps = strtoull(arguments[1], NULL, 10), samples = strtoull(arguments[2], NULL, 10), x = 0;
    double *seconds = steps && samples ? calloc(samples, sizeof *seconds) : NULL;
    if (!seconds) return 2;
    for (uint64_t sample = 0; sample < samples; sample++) {
        double begin = now();
        for (uint64_t step = 0; step < steps; step++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            __asm__ volatile("" : "+r"(x)); /* each step's value is needed: no two are folded into one */
        }
        seconds[sample] = now() - begin;
    }
    printf("{\"answer\": %" PRIu64 ", \"seconds\": [", x);
    for (uint64_t sample = 0; sample < samples; sample++) printf("%s%.9f", sample ? ", " : "", seconds[sample]);
    printf("]}\n");
    free(seconds);
    return 0;
}
