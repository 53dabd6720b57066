/* Convolution and dense layers over bytes that skip the zeros of their weights, in exact integers: the results of q8_conv.h.
 *
 * Entry k of a block of `block` outputs is the place of four neighbouring values, `offsets[k]` bytes after a window's first, and
 * [block][4] weights; the entries of block b are starts[b] .. starts[b + 1] - 1. bias, totals and multiplier are [blocks * block].
 */
#include "q8_tile.h"
#include "share.h"
#include "tiles.h"

HK_INLINE void hk_q8_list_conv_tile(const uint8_t *x, const int32_t *offsets, const int8_t *weights, int count, const int32_t *bias,
                                    const int32_t *totals, const float *multiplier, void *y, hk_shape s, hk_requantize q, int block,
                                    int tile_rows, int tile_columns, int last) {
    const int parts = block / HK_LANES;
    hk_ints sums[HK_SUMS];
    hk_q8_begin(sums, bias, totals, q, parts, tile_rows * tile_columns);
    for (int k = 0; k < count; k++)
        hk_q8_four(sums, x + offsets[k], 4, weights + (size_t)k * (size_t)block * 4, 0, s, q, parts, tile_rows, tile_columns);
    hk_q8_end(sums, multiplier, y, s, q, parts, parts, tile_rows, tile_columns, last);
}

/* `most` and `by_tile` as in hk_f32_list_conv. */
HK_INLINE void hk_q8_list_conv(const void *given, const int32_t *starts, const int32_t *offsets, const int8_t *weights, const int32_t *bias,
                               const int32_t *totals, const float *multiplier, void *y, hk_shape s, hk_requantize q, int block_width,
                               int most, bool by_tile, hk_share share) {
    const uint8_t *x = given;
#define HK_AT(BLOCK, OUTPUTS, ROW, COLUMN, R, C)                                                                                         \
    if (hk_is_mine(&turn)) {                                                                                                             \
        const int first = starts[BLOCK], count = starts[BLOCK + 1] - first, start = BLOCK * block_width;                                 \
        hk_q8_list_conv_tile(x + hk_x_at(s, ROW, COLUMN), offsets + first, weights + (size_t)first * (size_t)block_width * 4, count,     \
                             bias + start, totals + start, multiplier + start,                                                          \
                             hk_q8_at(y, hk_y_at(s, ROW, COLUMN) + (size_t)start, q), s, q, block_width, R, C, OUTPUTS);                 \
    }
    const int places = hk_least(most, HK_Q8_SUMS / (block_width / HK_LANES));
    hk_turn turn = hk_turns(share, s.batch * hk_parts(s.outputs, block_width) * hk_tiles(s, places));
    for (int n = 0; n < s.batch; n++) {
        HK_BLOCK_TILES(s, places, block_width, by_tile)
        x += hk_image(s);
        y = hk_q8_at(y, hk_y_image(s), q);
    }
#undef HK_AT
}
