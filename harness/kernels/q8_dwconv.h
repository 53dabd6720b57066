/* Convolution of each channel of bytes alone, in exact integers: lanes are channels. Weights are packed as
 * [block of 16 channels][kernel_h][kernel_w][16], bias and multiplier as [blocks * 16]; the zero point has been taken out of the bias. */
#include "q8_tile.h"
#include "share.h"

HK_INLINE hk_ints hk_channels(const uint8_t *from, int lanes, int is_signed) {
    int32_t found[HK_LANES] = {0};
    for (int lane = 0; lane < lanes; lane++) found[lane] = is_signed ? (int32_t)(int8_t)from[lane] : (int32_t)from[lane];
    return hk_load_ints(found);
}

HK_INLINE void hk_q8_dwconv_tile(const uint8_t *x, const int8_t *weights, const int32_t *bias, const float *multiplier, void *y,
                                 hk_shape s, hk_requantize q, int places, int count) {
    hk_ints sums[HK_SUMS];
    HK_UNROLL
    for (int p = 0; p < places; p++)
        HK_UNROLL
        for (int v = 0; v < HK_PARTS; v++) sums[p * HK_PARTS + v] = hk_load_ints(bias + v * HK_LANES);
    for (int i = 0; i < s.kernel_h; i++)
        for (int j = 0; j < s.kernel_w; j++) {
            const uint8_t *from = x + ((size_t)(i * s.dilation_h) * (size_t)s.width + (size_t)(j * s.dilation_w)) * (size_t)s.channels;
            HK_UNROLL
            for (int v = 0; v < HK_PARTS; v++) {
                const hk_ints factor = hk_factor(weights + (i * s.kernel_w + j) * HK_BLOCK + v * HK_LANES);
                HK_UNROLL
                for (int p = 0; p < places; p++) {
                    const uint8_t *place = from + p * s.stride_w * s.channels + v * HK_LANES;
                    sums[p * HK_PARTS + v] = hk_add_product(sums[p * HK_PARTS + v], hk_channels(place, hk_lanes(count, v), q.is_signed), factor);
                }
            }
        }
    HK_UNROLL
    for (int p = 0; p < places; p++)
        HK_UNROLL
        for (int v = 0; v < HK_PARTS; v++)
            hk_requantized(hk_q8_at(y, (size_t)(p * s.channels + v * HK_LANES), q), sums[p * HK_PARTS + v],
                           hk_load(multiplier + v * HK_LANES, HK_LANES), q, hk_lanes(count, v));
}

HK_INLINE void hk_q8_dwconv_block(const uint8_t *x, const int8_t *weights, const int32_t *bias, const float *multiplier, void *y,
                                  hk_shape s, hk_requantize q, int count, hk_turn *turn) {
    const int places = hk_tile_columns(s.columns, HK_SUMS / 2 / HK_PARTS), rest = s.columns % places;
    for (int n = 0; n < s.batch; n++)
        for (int row = 0; row < s.rows; row++) {
            if (!hk_is_mine(turn)) continue;
            const uint8_t *from = x + (size_t)n * hk_image(s) + hk_x_at(s, row, 0);
            void *to = hk_q8_at(y, (size_t)n * hk_y_image(s) + hk_y_at(s, row, 0), q);
            int column = 0;
            for (; column + places <= s.columns; column += places)
                hk_q8_dwconv_tile(from + (size_t)(column * s.stride_w) * (size_t)s.channels, weights, bias, multiplier,
                                  hk_q8_at(to, (size_t)column * (size_t)s.channels, q), s, q, places, count);
            if (rest)
                hk_q8_dwconv_tile(from + (size_t)(column * s.stride_w) * (size_t)s.channels, weights, bias, multiplier,
                                  hk_q8_at(to, (size_t)column * (size_t)s.channels, q), s, q, rest, count);
        }
}

/* groups = channels = outputs. */
HK_INLINE void hk_q8_dwconv(const void *x, const int8_t *weights, const int32_t *bias, const float *multiplier, void *y, hk_shape s,
                            hk_requantize q, hk_share share) {
    const int whole = s.channels / HK_BLOCK, rest = s.channels % HK_BLOCK;
    const size_t size = (size_t)s.kernel_h * (size_t)s.kernel_w * HK_BLOCK;
    hk_turn turn = hk_turns(share, hk_parts(s.channels, HK_BLOCK) * s.batch * s.rows);
    for (int b = 0; b < whole; b++)
        hk_q8_dwconv_block((const uint8_t *)x + b * HK_BLOCK, weights + (size_t)b * size, bias + b * HK_BLOCK, multiplier + b * HK_BLOCK,
                           hk_q8_at(y, (size_t)(b * HK_BLOCK), q), s, q, HK_BLOCK, &turn);
    if (rest)
        hk_q8_dwconv_block((const uint8_t *)x + whole * HK_BLOCK, weights + (size_t)whole * size, bias + whole * HK_BLOCK,
                           multiplier + whole * HK_BLOCK, hk_q8_at(y, (size_t)(whole * HK_BLOCK), q), s, q, rest, &turn);
}
