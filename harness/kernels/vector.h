/* Vectors of the width that the target has, by the extension that GCC and clang share; one lane, plain C99, for any other compiler. */
#ifndef HK_VECTOR_H
#define HK_VECTOR_H
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A generated program says for which lanes its weights were laid out: wider vectors of another machine could not read them. */
#if !defined(HK_MOST_LANES)
#define HK_MOST_LANES 16
#endif
#if !defined(HK_LANES)
#if !defined(__GNUC__)
#define HK_LANES 1
#elif defined(__AVX512F__) && HK_MOST_LANES >= 16
#define HK_LANES 16
#elif defined(__AVX__) && HK_MOST_LANES >= 8
#define HK_LANES 8
#else
#define HK_LANES 4
#endif
#endif

#if HK_LANES == 16 && defined(__AVX512VNNI__)
#define HK_ISA "avx512 vnni"
#elif HK_LANES == 16 && defined(__AVX512F__)
#define HK_ISA "avx512"
#elif HK_LANES == 8 && defined(__AVX__) && defined(__FMA__)
#define HK_ISA "avx fma"
#elif HK_LANES == 8 && defined(__AVX__)
#define HK_ISA "avx"
#elif HK_LANES == 4 && defined(__SSE2__)
#define HK_ISA "sse2"
#elif HK_LANES == 4 && defined(__ARM_FEATURE_DOTPROD)
#define HK_ISA "neon dot product"
#elif HK_LANES == 4 && defined(__ARM_NEON)
#define HK_ISA "neon"
#else
#define HK_ISA "portable"
#endif

/* One instruction selects floats of a vector by numbers in another. */
#if (HK_LANES == 16 && defined(__AVX512F__)) || (HK_LANES == 8 && defined(__AVX2__))
#define HK_LOOKS_UP 1
#else
#define HK_LOOKS_UP 0
#endif

/* Arm multiplies a vector by one lane of another, and never by what it reads from memory as it multiplies. */
#if HK_LANES == 4 && defined(__ARM_NEON)
#define HK_BY_LANE 1
#else
#define HK_BY_LANE 0
#endif

#if defined(HK_INLINE) /* tests compile many programs with kernels that are functions */
#elif defined(__GNUC__)
#define HK_INLINE static inline __attribute__((always_inline, unused))
#else
#define HK_INLINE static inline
#endif
#if defined(__GNUC__)
#define HK_LAYER static __attribute__((noinline))
#else
#define HK_LAYER static
#endif
#if defined(__clang__) && !defined(__SSE2__) && !defined(__ARM_NEON)
#pragma clang diagnostic ignored "-Wpass-failed" /* without vectors, it may find that a loop grows too long */
#endif
#if defined(__clang__)
#define HK_UNROLL _Pragma("clang loop unroll(full)")
#define HK_ONE_BY_ONE _Pragma("clang loop vectorize(disable)") /* where vectors would be gathered or scattered, which takes twice as long */
#elif defined(__GNUC__)
#define HK_UNROLL _Pragma("GCC unroll 64")
#else
#define HK_UNROLL
#endif
#if !defined(HK_ONE_BY_ONE)
#define HK_ONE_BY_ONE
#endif

#if HK_LANES == 1
typedef float hk_floats;
typedef int32_t hk_ints;
typedef int8_t hk_bytes;
#else
typedef float hk_floats __attribute__((vector_size(HK_LANES * 4)));
typedef int32_t hk_ints __attribute__((vector_size(HK_LANES * 4)));
typedef int8_t hk_bytes __attribute__((vector_size(HK_LANES)));
#endif

/* Channels are computed in blocks of HK_BLOCK, which are HK_PARTS vectors; a tile of results is kept in HK_SUMS vectors. */
enum { HK_BLOCK = 16, HK_PARTS = HK_BLOCK / HK_LANES };
#if defined(__AVX512F__) || (defined(__aarch64__) && HK_LANES == 4)
#define HK_SUMS 28
#elif HK_LANES == 1
#define HK_SUMS 32
#else
#define HK_SUMS 12
#endif

HK_INLINE int hk_least(int a, int b) { return a < b ? a : b; }
HK_INLINE int hk_most(int a, int b) { return a > b ? a : b; }
HK_INLINE int hk_parts(int total, int part) { return (total + part - 1) / part; }

/* How many of a tile's sums stay in registers, of which there are four more than HK_SUMS, beside `parts` vectors of weights and a value. */
HK_INLINE int hk_sums(int parts) { return HK_BY_LANE ? hk_least(HK_SUMS, (HK_SUMS + 3 - parts) / parts * parts) : HK_SUMS; }

/* How many lanes of vector `part` of a block lie within the block's first `count` channels. */
HK_INLINE int hk_lanes(int count, int part) { return hk_most(0, hk_least(HK_LANES, count - part * HK_LANES)); }

HK_INLINE hk_floats hk_all(float value) { return value - (hk_floats){0}; }

HK_INLINE hk_floats hk_load(const float *from, int lanes) {
    hk_floats found = (hk_floats){0};
    memcpy(&found, from, (size_t)lanes * sizeof(float));
    return found;
}

/* Where there are fewer lanes, `otherwise` in the others. */
HK_INLINE hk_floats hk_load_or(const float *from, int lanes, float otherwise) {
    hk_floats found = hk_all(otherwise);
    memcpy(&found, from, (size_t)lanes * sizeof(float));
    return found;
}

HK_INLINE void hk_store(float *to, hk_floats values, int lanes) { memcpy(to, &values, (size_t)lanes * sizeof(float)); }

HK_INLINE hk_ints hk_load_ints(const int32_t *from) {
    hk_ints found;
    memcpy(&found, from, sizeof found);
    return found;
}

#if HK_LANES == 1
HK_INLINE hk_floats hk_to_floats(hk_ints x) { return (float)x; }
HK_INLINE hk_ints hk_widened(const int8_t *from) { return *from; }
HK_INLINE hk_bytes hk_narrowed(hk_ints x) { return (int8_t)(uint8_t)x; }
HK_INLINE hk_floats hk_chosen(hk_ints mask, hk_floats yes, hk_floats no) { return mask ? yes : no; }
#else
HK_INLINE hk_floats hk_to_floats(hk_ints x) { return __builtin_convertvector(x, hk_floats); }
HK_INLINE hk_ints hk_widened(const int8_t *from) {
    hk_bytes found;
    memcpy(&found, from, sizeof found);
    return __builtin_convertvector(found, hk_ints);
}
HK_INLINE hk_bytes hk_narrowed(hk_ints x) { return __builtin_convertvector(x, hk_bytes); }
HK_INLINE hk_floats hk_chosen(hk_ints mask, hk_floats yes, hk_floats no) {
    return (hk_floats)((mask & (hk_ints)yes) | (~mask & (hk_ints)no));
}
#endif

HK_INLINE hk_floats hk_clamp(hk_floats x, float low, float high) {
    const hk_floats lows = hk_all(low), highs = hk_all(high);
    if (low > -INFINITY) x = hk_chosen(x < lows, lows, x);
    if (high < INFINITY) x = hk_chosen(x > highs, highs, x);
    return x;
}

/* Of all lanes, halves onto halves. */
HK_INLINE float hk_sum(hk_floats x) {
    float lanes[HK_LANES];
    memcpy(lanes, &x, sizeof lanes);
    HK_UNROLL
    for (int half = HK_LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++) lanes[l] += lanes[l + half];
    return lanes[0];
}
HK_INLINE float hk_greatest(hk_floats x) {
    float lanes[HK_LANES];
    memcpy(lanes, &x, sizeof lanes);
    HK_UNROLL
    for (int half = HK_LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++) lanes[l] = lanes[l] < lanes[l + half] ? lanes[l + half] : lanes[l];
    return lanes[0];
}

/* A layer over an image x of `channels` -> y [batch, rows, columns, outputs], in which each window lies within x. Each image may be part of a
 * larger one: in memory x's are [height, width, channels], y's [y_height, y_width, outputs], the residual's likewise. */
typedef struct {
    int batch, height, width, channels, rows, columns, outputs, y_height, y_width, residual_height, residual_width;
    int kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, groups;
} hk_shape;

HK_INLINE size_t hk_image(hk_shape s) { return (size_t)s.height * (size_t)s.width * (size_t)s.channels; }
HK_INLINE size_t hk_y_image(hk_shape s) { return (size_t)s.y_height * (size_t)s.y_width * (size_t)s.outputs; }
HK_INLINE size_t hk_residual_image(hk_shape s) { return (size_t)s.residual_height * (size_t)s.residual_width * (size_t)s.outputs; }

/* Where a place of x's, y's or the residual's image begins. */
HK_INLINE size_t hk_x_at(hk_shape s, int row, int column) {
    return ((size_t)(row * s.stride_h) * (size_t)s.width + (size_t)(column * s.stride_w)) * (size_t)s.channels;
}
HK_INLINE size_t hk_y_at(hk_shape s, int row, int column) { return ((size_t)row * (size_t)s.y_width + (size_t)column) * (size_t)s.outputs; }
HK_INLINE size_t hk_residual_at(hk_shape s, int row, int column) {
    return ((size_t)row * (size_t)s.residual_width + (size_t)column) * (size_t)s.outputs;
}

/* How many places of one row of results, and how many rows, a tile of at most `places` takes. */
HK_INLINE int hk_tile_columns(int columns, int places) { return hk_parts(columns, hk_parts(columns, places)); }
HK_INLINE int hk_tile_rows(int rows, int columns, int places) {
    const int most = hk_most(1, hk_least(rows, places / hk_least(columns, places)));
    return columns > places ? 1 : hk_parts(rows, hk_parts(rows, most));
}

/* How many blocks of outputs a tile takes: several where there are few places, or where two share what is read of x. Each reads weights of
 * its own, one after the other: more runs at once than these, and the processor no longer fetches ahead in each. */
enum { HK_MOST_STREAMS = 8 };
HK_INLINE int hk_tile_blocks(int blocks, int places) {
    const int room = HK_SUMS / HK_PARTS;
    if (places >= room / 2) return blocks >= 2 && room >= 24 ? 2 : 1;
    int found = 1;
    while (2 * found * places <= room && 2 * found <= blocks && found < HK_MOST_STREAMS) found *= 2;
    return found;
}
#endif
