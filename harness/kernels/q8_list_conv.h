/* Convolution and dense layers over bytes that skip the zeros of their weights, in exact integers: the results of q8_conv.h.
 *
 * Entry k of a block of `block` outputs is the place of four neighbouring values, `offsets[k]` bytes after a window's first, and
 * [block][4] weights; the entries of block b are starts[b] .. starts[b + 1] - 1. bias, totals and multiplier are [blocks * block].
 */
#include "q8_conv.h"
#include "tiles.h"

HK_INLINE void hk_q8_list_conv_tile(const uint8_t *x, const int32_t *offsets, const int8_t *weights, int count, const int32_t *bias,
                                    const int32_t *totals, const float *multiplier, uint8_t *y, hk_shape s, hk_requantize q, int block,
                                    int tile_rows, int tile_columns, int last) {
    const int parts = block / HK_LANES, places = tile_rows * tile_columns;
    const int zero = q.x_zero + (q.is_signed == HK_IS_SIGNED ? 0 : q.is_signed ? 128 : -128);
    hk_ints sums[HK_SUMS];
    HK_UNROLL
    for (int v = 0; v < parts; v++) {
        const hk_ints start = hk_load_ints(bias + v * HK_LANES) - zero * hk_load_ints(totals + v * HK_LANES);
        HK_UNROLL
        for (int p = 0; p < places; p++) sums[p * parts + v] = start;
    }
    for (int k = 0; k < count; k++) {
        const uint8_t *from = x + offsets[k];
        const int8_t *with = weights + (size_t)k * (size_t)block * 4;
        HK_UNROLL
        for (int p = 0; p < places; p++) {
            const int at = ((p / tile_columns) * s.stride_h * s.width + (p % tile_columns) * s.stride_w) * s.channels;
            const uint32_t four = hk_four(from + at, 4, q.is_signed);
            HK_UNROLL
            for (int v = 0; v < parts; v++) sums[p * parts + v] = hk_dot(sums[p * parts + v], four, with + v * HK_LANES * 4);
        }
    }
    HK_UNROLL
    for (int p = 0; p < places; p++)
        HK_UNROLL
        for (int v = 0; v < parts; v++) {
            const int at = ((p / tile_columns) * s.columns + p % tile_columns) * s.outputs + v * HK_LANES;
            hk_requantized(y + at, sums[p * parts + v], hk_load(multiplier + v * HK_LANES, HK_LANES), q, hk_lanes(last, v));
        }
}

/* `most` and `by_tile` as in hk_f32_list_conv. */
HK_INLINE void hk_q8_list_conv(const void *given, const int32_t *starts, const int32_t *offsets, const int8_t *weights, const int32_t *bias,
                               const int32_t *totals, const float *multiplier, void *made, hk_shape s, hk_requantize q, int block_width,
                               int most, bool by_tile) {
    const uint8_t *x = given;
    uint8_t *y = made;
#define HK_AT(BLOCK, OUTPUTS, ROW, COLUMN, R, C)                                                                                         \
    {                                                                                                                                    \
        const int first = starts[BLOCK], count = starts[BLOCK + 1] - first, start = BLOCK * block_width;                                 \
        hk_q8_list_conv_tile(x + ((size_t)(ROW * s.stride_h) * (size_t)s.width + (size_t)(COLUMN * s.stride_w)) * (size_t)s.channels,    \
                             offsets + first, weights + (size_t)first * (size_t)block_width * 4, count, bias + start, totals + start,    \
                             multiplier + start, y + ((size_t)ROW * (size_t)s.columns + (size_t)COLUMN) * (size_t)s.outputs + start, s,  \
                             q, block_width, R, C, OUTPUTS);                                                                             \
    }
    for (int n = 0; n < s.batch; n++) {
        HK_BLOCK_TILES(s, hk_least(most, HK_SUMS / (block_width / HK_LANES)), block_width, by_tile)
        x += (size_t)s.height * (size_t)s.width * (size_t)s.channels;
        y += (size_t)s.rows * (size_t)s.columns * (size_t)s.outputs;
    }
#undef HK_AT
}
