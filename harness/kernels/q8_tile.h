/* A tile of a layer's results over bytes, y = round(clamp(multiplier * (sum of (x - zero) * weight + bias))) + zero, in exact integers up
 * to the multiplier, or, where the layer's results are real, y = clamp(multiplier * (...)): its beginning, its products and its end.
 * `sums` are [place][vector of outputs]. */
#ifndef HK_Q8_TILE_H
#define HK_Q8_TILE_H
#include "q8_dot.h"

typedef struct {
    int is_signed; /* x is int8, not uint8 */
    int is_full;   /* some weight is -128 */
    int is_real;   /* y is float, not bytes */
    int x_zero, zero;
    float low, high; /* of what is multiplied, before `zero` is added */
} hk_requantize;

/* `totals`, the sum of each output's weights, takes out the zero point, and what values were raised by as they were read. */
HK_INLINE void hk_q8_begin(hk_ints *sums, const int32_t *bias, const int32_t *totals, hk_requantize q, int width, int places) {
    HK_UNROLL
    for (int v = 0; v < width; v++) {
        const hk_ints start = hk_load_ints(bias + v * HK_LANES) - (q.x_zero + hk_turned(q.is_signed)) * hk_load_ints(totals + v * HK_LANES);
        HK_UNROLL
        for (int p = 0; p < places; p++) sums[p * width + v] = start;
    }
}

/* Adds the products of `count` <= 4 neighbouring values of each place with their weights, [block of 16 outputs][16][4]; blocks are
 * `block_size` bytes apart. */
HK_INLINE void hk_q8_four(hk_ints *sums, const uint8_t *from, int count, const int8_t *weights, size_t block_size, hk_shape s,
                          hk_requantize q, int width, int tile_rows, int tile_columns) {
    HK_UNROLL
    for (int step = 0; step < HK_STEPS; step++) {
        hk_w4 with[HK_SUMS];
        HK_UNROLL
        for (int v = 0; v < width; v++)
            with[v] = hk_weights(weights + (size_t)(v / HK_PARTS) * block_size + v % HK_PARTS * HK_LANES * 4, step);
        HK_UNROLL
        for (int p = 0; p < tile_rows * tile_columns; p++) {
            const int at = ((p / tile_columns) * s.stride_h * s.width + (p % tile_columns) * s.stride_w) * s.channels;
            const hk_x4 values = hk_values(from + at, count, q.is_signed, step);
            HK_UNROLL
            for (int v = 0; v < width; v++) sums[p * width + v] = hk_dot(sums[p * width + v], values, with[v], q.is_full);
        }
    }
}

/* Element `at` of the results. */
HK_INLINE void *hk_q8_at(void *y, size_t at, hk_requantize q) {
    return (uint8_t *)y + at * (q.is_real ? sizeof(float) : 1);
}

/* Rounds to the nearest, ties to even: values within the clamp are far below 2^22, where adding 1.5 * 2^23 leaves no fraction. The last
 * byte of such a float is the integer's. */
HK_INLINE void hk_requantized(void *to, hk_ints sums, hk_floats multiplier, hk_requantize q, int lanes) {
    const hk_floats scaled = hk_clamp(hk_to_floats(sums) * multiplier, q.low, q.high);
    if (q.is_real) {
        hk_store(to, scaled, lanes);
        return;
    }
    const hk_floats moved = scaled + 12582912.0f;
    hk_ints levels;
    memcpy(&levels, &moved, sizeof levels);
    const hk_bytes found = hk_narrowed(levels + q.zero);
    memcpy(to, &found, (size_t)lanes);
}

/* Of the blocks that a tile has, the last has `last` outputs. */
HK_INLINE void hk_q8_end(const hk_ints *sums, const float *multiplier, void *y, hk_shape s, hk_requantize q, int width, int parts,
                         int tile_rows, int tile_columns, int last) {
    HK_UNROLL
    for (int p = 0; p < tile_rows * tile_columns; p++)
        HK_UNROLL
        for (int v = 0; v < width; v++) {
            const size_t at = hk_y_at(s, p / tile_columns, p % tile_columns) + (size_t)(v * HK_LANES);
            const int lanes = v + parts < width ? HK_LANES : hk_lanes(last, v % parts);
            hk_requantized(hk_q8_at(y, at, q), sums[p * width + v], hk_load(multiplier + v * HK_LANES, HK_LANES), q, lanes);
        }
}
#endif
