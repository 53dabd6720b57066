/* Convolution and dense layers over bytes, in exact integers.
 *
 * Weights are packed as [group][block of 16 outputs][run of neighbouring values / 4][16][4], each run filled up with zeros to a multiple
 * of 4: one vector of weights meets 4 values. bias, totals and multiplier are [group][blocks * 16].
 */
#include "q8_tile.h"
#include "share.h"
#include "tiles.h"

/* `outputs` of a tile's blocks, at `tile_rows` x `tile_columns` places. */
HK_INLINE void hk_q8_conv_tile(const uint8_t *x, const int8_t *weights, const int32_t *bias, const int32_t *totals, const float *multiplier,
                               void *y, hk_shape s, hk_requantize q, int tile_rows, int tile_columns, int outputs) {
    hk_ints sums[HK_SUMS];
    const int blocks = hk_parts(outputs, HK_BLOCK), width = blocks * HK_PARTS, depth = s.channels / s.groups;
    const int is_whole = s.dilation_w == 1 && s.groups == 1; /* neighbouring columns of such a window are neighbours in memory */
    const int columns = is_whole ? 1 : s.kernel_w, run = is_whole ? s.kernel_w * depth : depth, fours = hk_parts(run, 4);
    const size_t block_size = (size_t)s.kernel_h * (size_t)columns * (size_t)fours * 4 * HK_BLOCK;
    hk_q8_begin(sums, bias, totals, q, width, tile_rows * tile_columns);
    for (int i = 0; i < s.kernel_h; i++)
        for (int j = 0; j < columns; j++) {
            const uint8_t *from = x + ((size_t)(i * s.dilation_h) * (size_t)s.width + (size_t)(j * s.dilation_w)) * (size_t)s.channels;
            const int8_t *with = weights + (size_t)(i * columns + j) * (size_t)fours * 4 * HK_BLOCK;
            int k = 0;
            for (; k < run / 4; k++)
                hk_q8_four(sums, from + 4 * k, 4, with + k * 4 * HK_BLOCK, block_size, s, q, width, tile_rows, tile_columns);
            if (run % 4)
                hk_q8_four(sums, from + 4 * k, run % 4, with + k * 4 * HK_BLOCK, block_size, s, q, width, tile_rows, tile_columns);
        }
    hk_q8_end(sums, multiplier, y, s, q, width, HK_PARTS, tile_rows, tile_columns, outputs - (blocks - 1) * HK_BLOCK);
}

HK_INLINE void hk_q8_conv(const void *x, const int8_t *weights, const int32_t *bias, const int32_t *totals, const float *multiplier,
                          void *y, hk_shape s, hk_requantize q, hk_share share) {
    const int inputs = s.channels / s.groups, outputs = s.outputs / s.groups, blocks = hk_parts(outputs, HK_BLOCK);
    const int together = hk_tile_blocks(blocks, s.rows * s.columns), whole = outputs / (together * HK_BLOCK);
    const int rest = outputs % (together * HK_BLOCK), last = rest ? hk_parts(rest, HK_BLOCK) : 1;
    const int places = HK_Q8_SUMS / HK_PARTS / together, last_places = HK_Q8_SUMS / HK_PARTS / last;
    const int tiles = whole * hk_tiles(s, places) + (rest ? hk_tiles(s, last_places) : 0);
    hk_turn turn = hk_turns(share, s.batch * s.groups * tiles);
    const int is_whole = s.dilation_w == 1 && s.groups == 1, run = is_whole ? s.kernel_w * inputs : inputs;
    const size_t block_size = (size_t)(s.kernel_h * (is_whole ? 1 : s.kernel_w) * hk_parts(run, 4)) * 4 * HK_BLOCK;
    for (int n = 0; n < s.batch; n++)
        for (int g = 0; g < s.groups; g++) {
            const uint8_t *from = (const uint8_t *)x + (size_t)n * hk_image(s) + g * inputs;
            void *to = hk_q8_at(y, (size_t)n * hk_y_image(s) + (size_t)(g * outputs), q);
#define HK_AT(OUTPUTS, ROW, COLUMN, R, C)                                                                                               \
    if (hk_is_mine(&turn))                                                                                                             \
    hk_q8_conv_tile(from + hk_x_at(s, ROW, COLUMN), weights + (size_t)(g * blocks + b) * block_size, bias + (g * blocks + b) * HK_BLOCK, \
                    totals + (g * blocks + b) * HK_BLOCK, multiplier + (g * blocks + b) * HK_BLOCK,                                     \
                    hk_q8_at(to, hk_y_at(s, ROW, COLUMN) + (size_t)(b * HK_BLOCK), q), s, q, R, C, OUTPUTS)
#define HK_WHOLE(ROW, COLUMN, R, C) HK_AT(together * HK_BLOCK, ROW, COLUMN, R, C)
#define HK_REST(ROW, COLUMN, R, C) HK_AT(rest, ROW, COLUMN, R, C)
            int b = 0;
            for (; b < whole * together; b += together) HK_TILES(s, places, HK_WHOLE)
            if (rest) HK_TILES(s, last_places, HK_REST)
#undef HK_AT
#undef HK_WHOLE
#undef HK_REST
        }
}
