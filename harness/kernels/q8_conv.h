/* Convolution and dense layers over bytes, in exact integers: y = clamp(round(multiplier * sum of (x - zero) * weight + bias) + zero).
 *
 * Weights are packed as [group][block of 16 outputs][run of neighbouring values / 4][16][4], each run filled up with zeros to a multiple
 * of 4: one vector of 64 weights meets 4 values. Values are read with their highest bit turned where the machine multiplies bytes of one
 * sign only; `totals`, the sum of each output's weights, takes that and the zero point out again. bias, totals and multiplier are [group][blocks * 16].
 */
#include "vector.h"
#if HK_LANES == 16 && defined(__AVX512VNNI__)
#include <immintrin.h>
#elif HK_LANES == 4 && defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif

#if HK_LANES == 4 && defined(__ARM_FEATURE_DOTPROD)
enum { HK_IS_SIGNED = 1 };
#else
enum { HK_IS_SIGNED = 0 };
#endif

typedef struct {
    int is_signed; /* x is int8, not uint8 */
    int x_zero, zero, low, high;
} hk_requantize;

/* 4 bytes as one word, each turned to the sign that hk_dot takes. */
HK_INLINE uint32_t hk_four(const uint8_t *from, int count, int is_signed) {
    uint32_t found = 0;
    memcpy(&found, from, (size_t)count);
    return is_signed == HK_IS_SIGNED ? found : found ^ 0x80808080u;
}

/* sums[lane] += the four bytes of `four` times weights[lane][0..3]. */
HK_INLINE hk_ints hk_dot(hk_ints sums, uint32_t four, const int8_t *weights) {
#if HK_LANES == 16 && defined(__AVX512VNNI__)
    return (hk_ints)_mm512_dpbusd_epi32((__m512i)sums, _mm512_set1_epi32((int)four), _mm512_loadu_si512(weights));
#elif HK_LANES == 4 && defined(__ARM_FEATURE_DOTPROD)
    return (hk_ints)vdotq_s32((int32x4_t)sums, vreinterpretq_s8_u32(vdupq_n_u32(four)), vld1q_s8(weights));
#else
    int32_t found[HK_LANES];
    uint8_t bytes[4];
    memcpy(bytes, &four, sizeof bytes);
    for (int lane = 0; lane < HK_LANES; lane++) {
        found[lane] = 0;
        for (int j = 0; j < 4; j++) found[lane] += (int32_t)bytes[j] * (int32_t)weights[4 * lane + j];
    }
    return sums + hk_load_ints(found);
#endif
}

/* Rounds to the nearest, ties to even: values within the clamp are far below 2^22, where adding 1.5 * 2^23 leaves no fraction. The last
 * byte of such a float is the integer's. */
HK_INLINE void hk_requantized(uint8_t *to, hk_ints sums, hk_floats multiplier, hk_requantize q, int lanes) {
    const hk_floats scaled = hk_clamp(hk_to_floats(sums) * multiplier, (float)(q.low - q.zero), (float)(q.high - q.zero));
    const hk_floats moved = scaled + 12582912.0f;
    hk_ints levels;
    memcpy(&levels, &moved, sizeof levels);
    const hk_bytes found = hk_narrowed(levels + q.zero);
    memcpy(to, &found, (size_t)lanes);
}

HK_INLINE void hk_q8_conv_tile(const uint8_t *x, const int8_t *weights, const int32_t *bias, const int32_t *totals, const float *multiplier,
                               uint8_t *y, hk_shape s, hk_requantize q, int tile_rows, int tile_columns, int blocks, int last) {
    hk_ints sums[HK_SUMS];
    const int width = blocks * HK_PARTS, places = tile_rows * tile_columns;
    const int depth = s.channels / s.groups, is_whole = s.dilation_w == 1 && s.groups == 1;
    const int columns = is_whole ? 1 : s.kernel_w, run = is_whole ? s.kernel_w * depth : depth, fours = hk_parts(run, 4);
    const int zero = q.x_zero + (q.is_signed == HK_IS_SIGNED ? 0 : q.is_signed ? 128 : -128);
    const size_t block_size = (size_t)s.kernel_h * (size_t)columns * (size_t)fours * 4 * HK_BLOCK;
    HK_UNROLL
    for (int v = 0; v < width; v++) {
        const hk_ints start = hk_load_ints(bias + v * HK_LANES) - zero * hk_load_ints(totals + v * HK_LANES);
        HK_UNROLL
        for (int p = 0; p < places; p++) sums[p * width + v] = start;
    }
#define HK_FOUR(COUNT)                                                                                                             \
    HK_UNROLL                                                                                                                      \
    for (int p = 0; p < places; p++) {                                                                                             \
        const int at = ((p / tile_columns) * s.stride_h * s.width + (p % tile_columns) * s.stride_w) * s.channels;                 \
        const uint32_t four = hk_four(from + at + 4 * k, COUNT, q.is_signed);                                                      \
        HK_UNROLL                                                                                                                  \
        for (int v = 0; v < width; v++) {                                                                                          \
            const int8_t *with = row + (size_t)(v / HK_PARTS) * block_size + (k * HK_BLOCK + v % HK_PARTS * HK_LANES) * 4;         \
            sums[p * width + v] = hk_dot(sums[p * width + v], four, with);                                                         \
        }                                                                                                                          \
    }
    for (int i = 0; i < s.kernel_h; i++)
        for (int j = 0; j < columns; j++) {
            const uint8_t *from = x + ((size_t)(i * s.dilation_h) * (size_t)s.width + (size_t)(j * s.dilation_w)) * (size_t)s.channels;
            const int8_t *row = weights + (size_t)(i * columns + j) * (size_t)fours * 4 * HK_BLOCK;
            int k = 0;
            for (; k < run / 4; k++) HK_FOUR(4)
            if (run % 4) HK_FOUR(run % 4)
        }
#undef HK_FOUR
    HK_UNROLL
    for (int p = 0; p < places; p++)
        HK_UNROLL
        for (int v = 0; v < width; v++) {
            const int at = ((p / tile_columns) * s.columns + p % tile_columns) * s.outputs + v * HK_LANES;
            const int lanes = v / HK_PARTS < blocks - 1 ? HK_LANES : hk_lanes(last, v % HK_PARTS);
            hk_requantized(y + at, sums[p * width + v], hk_load(multiplier + v * HK_LANES, HK_LANES), q, lanes);
        }
}

HK_INLINE void hk_q8_conv_blocks(const uint8_t *x, const int8_t *weights, const int32_t *bias, const int32_t *totals,
                                 const float *multiplier, uint8_t *y, hk_shape s, hk_requantize q, int blocks, int last) {
    const int places = HK_SUMS / HK_PARTS / blocks;
    const int tile_columns = hk_tile_columns(s.columns, places), tile_rows = hk_tile_rows(s.rows, s.columns, places);
    const int rest_columns = s.columns % tile_columns, rest_rows = s.rows % tile_rows;
#define HK_TILE(R, C)                                                                                                                   \
    hk_q8_conv_tile(x + ((size_t)(row * s.stride_h) * (size_t)s.width + (size_t)(column * s.stride_w)) * (size_t)s.channels, weights,   \
                    bias, totals, multiplier, y + ((size_t)row * (size_t)s.columns + (size_t)column) * (size_t)s.outputs, s, q, R, C,   \
                    blocks, last);
    int row = 0;
    for (; row + tile_rows <= s.rows; row += tile_rows) {
        int column = 0;
        for (; column + tile_columns <= s.columns; column += tile_columns) HK_TILE(tile_rows, tile_columns)
        if (rest_columns) HK_TILE(tile_rows, rest_columns)
    }
    if (rest_rows) {
        int column = 0;
        for (; column + tile_columns <= s.columns; column += tile_columns) HK_TILE(rest_rows, tile_columns)
        if (rest_columns) HK_TILE(rest_rows, rest_columns)
    }
#undef HK_TILE
}

HK_INLINE void hk_q8_conv(const void *x, const int8_t *weights, const int32_t *bias, const int32_t *totals, const float *multiplier,
                          void *y, hk_shape s, hk_requantize q) {
    const int inputs = s.channels / s.groups, outputs = s.outputs / s.groups, blocks = hk_parts(outputs, HK_BLOCK);
    const int together = hk_tile_blocks(blocks, s.rows * s.columns);
    const int full = blocks / together * together - (outputs % HK_BLOCK && blocks % together == 0 ? together : 0);
    const int is_whole = s.dilation_w == 1 && s.groups == 1;
    const int runs = s.kernel_h * (is_whole ? 1 : s.kernel_w), run = is_whole ? s.kernel_w * inputs : inputs;
    const size_t block_size = (size_t)runs * (size_t)hk_parts(run, 4) * 4 * HK_BLOCK;
    for (int n = 0; n < s.batch; n++)
        for (int g = 0; g < s.groups; g++) {
            const uint8_t *from = (const uint8_t *)x + (size_t)n * (size_t)s.height * (size_t)s.width * (size_t)s.channels + g * inputs;
            uint8_t *to = (uint8_t *)y + (size_t)n * (size_t)s.rows * (size_t)s.columns * (size_t)s.outputs + g * outputs;
            const int first = g * blocks;
            int b = 0;
#define HK_BLOCKS(COUNT, LAST)                                                                                                    \
    hk_q8_conv_blocks(from, weights + (size_t)(first + b) * block_size, bias + (first + b) * HK_BLOCK,                            \
                      totals + (first + b) * HK_BLOCK, multiplier + (first + b) * HK_BLOCK, to + b * HK_BLOCK, s, q, COUNT, LAST)
            for (; b < full; b += together) HK_BLOCKS(together, HK_BLOCK);
            if (blocks - full == together && together > 1) {
                HK_BLOCKS(together, outputs - (blocks - 1) * HK_BLOCK);
                b += together;
            }
            for (; b < blocks - 1; b++) HK_BLOCKS(1, HK_BLOCK);
            if (b < blocks) HK_BLOCKS(1, outputs - (blocks - 1) * HK_BLOCK);
#undef HK_BLOCKS
        }
}
