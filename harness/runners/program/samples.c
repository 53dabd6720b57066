#include "samples.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "fail.h"
#include "instructions.h"
#include "machine.h"
#include "network.h"
#include "reply.h"

#define WARMUP_CAP_S 30.0    /* warm-up ends here even if the least number of samples is not reached; the document says so */
#define MOST_SAMPLES 10000   /* a sample lasts at least this share of the least timing time */
#define CLOCK_STEPS 1000     /* a sample lasts at least this many steps of the clock */
#define MOST_LOOPS 4000000000.0

typedef struct {
    uint64_t start_ns, duration_ns, loops, instructions;
} sample;

static sample *samples;
static size_t taken, room, warm;
static uint64_t first_ns;
static int is_counting, is_capped;
static double warmup_s, least_s;

static double since_first_s(void) {
    return (double)(now_ns() - first_ns) / 1e9;
}

/* Only the loop is timed; the counter is read outside of it. One code for whatever is run, so that the loop counts the same. */
static __attribute__((noinline)) sample timed(uint64_t loops, void (*run)(void)) {
    uint64_t before = is_counting ? instructions() : 0;
    uint64_t begin = now_ns();
    for (uint64_t i = 0; i < loops; i++) run();
    uint64_t end = now_ns();
    uint64_t after = is_counting ? instructions() : 0;
    return (sample){begin - first_ns, end - begin, loops, after - before};
}

static void nothing(void) {
}

/* What the clock, and the loop around so many inferences, count themselves: the least of a few. */
static uint64_t counted_around_nothing(uint64_t loops) {
    static uint64_t known_loops, least;
    if (loops == known_loops) return least;
    known_loops = loops, least = UINT64_MAX;
    for (int i = 0; i < 3; i++) {
        uint64_t count = timed(loops, nothing).instructions;
        if (count < least) least = count;
    }
    return least;
}

/* Seconds that `loops` inferences took together. */
static double take(uint64_t loops) {
    if (taken == room) {
        room = room ? 2 * room : 4096;
        samples = realloc(samples, room * sizeof *samples);
        if (!samples) fail("MemoryError", "no memory for %zu samples", room);
    }
    uint64_t around = is_counting ? counted_around_nothing(loops) : 0;
    samples[taken] = timed(loops, network_run);
    samples[taken].instructions -= samples[taken].instructions < around ? samples[taken].instructions : around;
    return (double)samples[taken++].duration_ns / 1e9;
}

/* Runs until least warm-up samples and seconds are both met and a sample lasts long enough; the loops that this takes. */
static uint64_t warm_up(const json *rule) {
    double least_warmup_s = json_number(rule, "warmup_s");
    size_t least_samples = (size_t)json_int(rule, "warmup_samples", 0);
    least_s = fmax(json_number(rule, "min_sample_s"), fmax(json_number(rule, "min_s") / MOST_SAMPLES, CLOCK_STEPS * clock_step_s()));
    double loops = 1;
    int is_met = 0, is_over = 0, long_ones = 0;
    /* Two long samples in a row: the first of all may be long for being the first. */
    while (!((is_met && long_ones >= 2) || (is_over && long_ones >= 1))) {
        double sample_s = take((uint64_t)loops);
        long_ones = sample_s >= least_s ? long_ones + 1 : 0;
        /* A quarter above what this sample says is needed; ten times at most, since one sample may be anything. */
        if (!long_ones) loops = fmin(10 * loops, fmax(loops + 1, ceil(1.25 * loops * least_s / fmax(sample_s, 1e-9))));
        if (loops > MOST_LOOPS) fail("RuntimeError", "%.0f inferences together do not last %g s", MOST_LOOPS, least_s);
        is_met = taken >= least_samples && since_first_s() >= least_warmup_s;
        is_over = since_first_s() >= WARMUP_CAP_S;
    }
    warm = taken, warmup_s = since_first_s(), is_capped = !is_met;
    return (uint64_t)loops;
}

void samples_take(const json *sampling, int counts) {
    size_t least_samples = (size_t)json_int(sampling, "min_samples", 1);
    double least_timed_s = json_number(sampling, "min_s"), timed_s = 0;
    is_counting = counts;
    first_ns = now_ns();
    uint64_t loops = warm_up(sampling);
    while (taken - warm < least_samples || timed_s < least_timed_s) timed_s += take(loops);
}

/* "name":[...] of one column, a field of each sample. */
#define PUT_COLUMN(to, name, field)                                                                                          \
    do {                                                                                                                     \
        fputs("\"" name "\":[", to);                                                                                         \
        for (size_t i = 0; i < taken; i++) fprintf(to, i ? ",%llu" : "%llu", (unsigned long long)samples[i].field);          \
        putc(']', to);                                                                                                       \
    } while (0)

void put_samples(FILE *to) {
    fputs("\"samples\":{", to);
    PUT_COLUMN(to, "start_ns", start_ns);
    putc(',', to);
    PUT_COLUMN(to, "duration_ns", duration_ns);
    putc(',', to);
    PUT_COLUMN(to, "loops", loops);
    fputs(",\"timed\":[", to);
    for (size_t i = 0; i < taken; i++) fprintf(to, "%s%s", i ? "," : "", i >= warm ? "true" : "false");
    putc(']', to);
    if (is_counting) {
        const char *missing = instructions_missing();
        putc(',', to);
        if (missing) fputs("\"instructions\":null", to);
        else PUT_COLUMN(to, "instructions", instructions);
        fputs(",\"instructions_reason\":", to);
        if (missing) put_string(to, missing);
        else fputs("null", to);
    }
    fprintf(to, "},\"warmup\":{\"samples\":%zu,\"seconds\":", warm);
    put_number(to, warmup_s);
    fprintf(to, ",\"capped\":%s,\"least_sample_s\":", is_capped ? "true" : "false");
    put_number(to, least_s);
    putc('}', to);
}
