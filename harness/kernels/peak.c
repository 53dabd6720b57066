/* What this machine can do at best: multiply-adds a second, and bytes a second read from a buffer of a given size.
 *
 *   peak THREADS BUFFER_BYTES SECONDS   ->   {"peak_flops": ..., "peak_int8_ops": ..., "bandwidth_bytes_per_s": ...}
 *
 * The best of many short repetitions is printed: a ceiling is not what a busy machine reaches on average. Every thread works on its own
 * data; the threads start each repetition together, and it ends with the last of them.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#include <immintrin.h>
#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float vector __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t words __attribute__((vector_size(LANES * sizeof(int32_t))));

enum { CHAINS = 12, STEPS = 2000 }; /* latency times throughput of an FMA is at most 10 on the CPUs of today */

struct work {
    int kind, threads;
    size_t bytes;
    double seconds, best;
    pthread_barrier_t *barrier;
    double *begin, *end;
    int index;
    volatile int *stop;
    void *buffer;
    double amount;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* CHAINS independent chains of multiply-adds, kept in registers. */
static __attribute__((noinline)) double floats(void) {
    vector sums[CHAINS], factor, addend;
    for (int lane = 0; lane < LANES; lane++) factor[lane] = 0.999f, addend[lane] = 1e-3f;
    for (int chain = 0; chain < CHAINS; chain++) sums[chain] = addend * (float)chain;
    __asm__ volatile("" : "+m"(factor), "+m"(addend));
    vector f = factor, a = addend;
    for (int step = 0; step < STEPS; step++) {
#pragma clang loop unroll(full)
        for (int chain = 0; chain < CHAINS; chain++) sums[chain] = sums[chain] * f + a;
    }
    for (int chain = 0; chain < CHAINS; chain++) __asm__ volatile("" : : "m"(sums[chain]));
    return 2.0 * STEPS * CHAINS * LANES;
}

/* The same with products of 8 bits added up in 32, by the instruction that the machine has for them; 0 where it has none. */
static __attribute__((noinline)) double integers(void) {
#if defined(__AVX512VNNI__)
    __m512i sums[CHAINS], a = _mm512_set1_epi32(0x01020304), b = _mm512_set1_epi32(0x04030201);
    memset(sums, 0, sizeof sums);
    __asm__ volatile("" : "+v"(a), "+v"(b));
    for (int chain = 0; chain < CHAINS; chain++) __asm__ volatile("" : "+m"(sums[chain]));
    for (int step = 0; step < STEPS; step++) {
#pragma clang loop unroll(full)
        for (int chain = 0; chain < CHAINS; chain++) sums[chain] = _mm512_dpbusd_epi32(sums[chain], a, b);
    }
    for (int chain = 0; chain < CHAINS; chain++) __asm__ volatile("" : : "m"(sums[chain]));
    return 2.0 * STEPS * CHAINS * 64;
#elif defined(__AVXVNNI__)
    __m256i sums[CHAINS], a = _mm256_set1_epi32(0x01020304), b = _mm256_set1_epi32(0x04030201);
    memset(sums, 0, sizeof sums);
    __asm__ volatile("" : "+x"(a), "+x"(b));
    for (int chain = 0; chain < CHAINS; chain++) __asm__ volatile("" : "+m"(sums[chain]));
    for (int step = 0; step < STEPS; step++) {
#pragma clang loop unroll(full)
        for (int chain = 0; chain < CHAINS; chain++) sums[chain] = _mm256_dpbusd_avx_epi32(sums[chain], a, b);
    }
    for (int chain = 0; chain < CHAINS; chain++) __asm__ volatile("" : : "m"(sums[chain]));
    return 2.0 * STEPS * CHAINS * 32;
#elif defined(__ARM_FEATURE_DOTPROD)
    int32x4_t sums[CHAINS];
    int8x16_t a = vdupq_n_s8(3), b = vdupq_n_s8(5);
    memset(sums, 0, sizeof sums);
    __asm__ volatile("" : "+w"(a), "+w"(b));
    for (int chain = 0; chain < CHAINS; chain++) __asm__ volatile("" : "+m"(sums[chain]));
    for (int step = 0; step < STEPS; step++) {
#pragma clang loop unroll(full)
        for (int chain = 0; chain < CHAINS; chain++) sums[chain] = vdotq_s32(sums[chain], a, b);
    }
    for (int chain = 0; chain < CHAINS; chain++) __asm__ volatile("" : : "m"(sums[chain]));
    return 2.0 * STEPS * CHAINS * 16;
#else
    return 0.0;
#endif
}

/* Read the buffer once, in vectors, into eight sums. */
static __attribute__((noinline)) double reading(const words *buffer, size_t bytes) {
    words sums[8];
    memset(sums, 0, sizeof sums);
    size_t count = bytes / sizeof(words) / 8 * 8;
    for (size_t i = 0; i < count; i += 8) {
#pragma clang loop unroll(full)
        for (int j = 0; j < 8; j++) sums[j] += buffer[i + (size_t)j];
    }
    for (int j = 0; j < 8; j++) __asm__ volatile("" : : "m"(sums[j]));
    return (double)(count * sizeof(words));
}

/* About a millisecond of work: threads that wait for each other wake up some ten microseconds apart. */
static double once(struct work *w) {
    double total = 0.0;
    if (w->kind == 0)
        for (int i = 0; i < 200; i++) total += floats();
    else if (w->kind == 1)
        for (int i = 0; i < 200; i++) total += integers();
    else
        for (size_t done = 0; done < (32u << 20); done += w->bytes) total += reading(w->buffer, w->bytes);
    return total;
}

static void *run(void *given) {
    struct work *w = given;
    double deadline = now() + w->seconds;
    w->amount = once(w);
    for (;;) {
        pthread_barrier_wait(w->barrier);
        if (*w->stop) return NULL;
        w->begin[w->index] = now();
        w->amount = once(w);
        w->end[w->index] = now();
        pthread_barrier_wait(w->barrier);
        if (w->index == 0) {
            double first = w->begin[0], last = w->end[0];
            for (int i = 1; i < w->threads; i++) {
                if (w->begin[i] < first) first = w->begin[i];
                if (w->end[i] > last) last = w->end[i];
            }
            double rate = last > first ? w->amount * w->threads / (last - first) : 0.0;
            if (rate > w->best) w->best = rate;
            *w->stop = now() > deadline;
        }
    }
}

static double best(int kind, int threads, size_t bytes, double seconds) {
    pthread_barrier_t barrier;
    volatile int stop = 0;
    struct work *works = calloc((size_t)threads, sizeof *works);
    double *times = calloc(2 * (size_t)threads, sizeof *times);
    pthread_t *handles = calloc((size_t)threads, sizeof *handles);
    if (!works || !times || !handles || pthread_barrier_init(&barrier, NULL, (unsigned)threads)) exit(1);
    for (int i = 0; i < threads; i++) {
        works[i] = (struct work){.kind = kind, .threads = threads, .bytes = bytes, .seconds = seconds, .barrier = &barrier,
                                 .begin = times, .end = times + threads, .index = i, .stop = &stop};
        if (kind == 2) {
            if (posix_memalign(&works[i].buffer, 64, bytes)) exit(1);
            memset(works[i].buffer, 1, bytes);
        }
        if (pthread_create(&handles[i], NULL, run, &works[i])) exit(1);
    }
    for (int i = 0; i < threads; i++) pthread_join(handles[i], NULL);
    double rate = works[0].best;
    for (int i = 0; i < threads; i++) free(works[i].buffer);
    free(works), free(times), free(handles);
    return rate;
}

int main(int count, char **arguments) {
    if (count != 4) return 2;
    int threads = atoi(arguments[1]);
    size_t bytes = (size_t)strtoull(arguments[2], NULL, 10);
    double seconds = atof(arguments[3]);
    if (threads < 1 || threads > 4096 || bytes < 4096 || bytes > (1ull << 32) || !(seconds > 0)) return 2;
    double flops = best(0, threads, 0, seconds), ops = best(1, threads, 0, seconds);
    double bandwidth = best(2, threads, bytes / 64 * 64, seconds);
    printf("{\"peak_flops\": %.6g, \"peak_int8_ops\": ", flops);
    if (ops > 0) printf("%.6g", ops); else printf("null");
    printf(", \"bandwidth_bytes_per_s\": %.6g}\n", bandwidth);
    return 0;
}
