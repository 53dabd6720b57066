/* Convolution of each channel alone, in float32: lanes are channels. Weights are packed as [block of 16 channels][kernel_h][kernel_w][16]. */
#include "share.h"

HK_INLINE void hk_f32_dwconv_tile(const float *x, const float *weights, const float *bias, const float *residual, float *y, hk_shape s,
                                  float low, float high, int places, int count) {
    hk_floats sums[HK_SUMS];
    HK_UNROLL
    for (int p = 0; p < places; p++)
        HK_UNROLL
        for (int v = 0; v < HK_PARTS; v++) sums[p * HK_PARTS + v] = hk_load(bias + v * HK_LANES, HK_LANES);
    for (int i = 0; i < s.kernel_h; i++)
        for (int j = 0; j < s.kernel_w; j++) {
            const float *from = x + ((size_t)(i * s.dilation_h) * (size_t)s.width + (size_t)(j * s.dilation_w)) * (size_t)s.channels;
            HK_UNROLL
            for (int v = 0; v < HK_PARTS; v++) {
                const int lanes = hk_lanes(count, v);
                const hk_floats factor = hk_load(weights + (i * s.kernel_w + j) * HK_BLOCK + v * HK_LANES, HK_LANES);
                HK_UNROLL
                for (int p = 0; p < places; p++)
                    sums[p * HK_PARTS + v] += factor * hk_load(from + p * s.stride_w * s.channels + v * HK_LANES, lanes);
            }
        }
    HK_UNROLL
    for (int p = 0; p < places; p++)
        HK_UNROLL
        for (int v = 0; v < HK_PARTS; v++) {
            const int at = p * s.channels + v * HK_LANES, lanes = hk_lanes(count, v);
            if (lanes == 0) continue;
            hk_floats found = sums[p * HK_PARTS + v];
            if (residual) found += hk_load(residual + at, lanes);
            hk_store(y + at, hk_clamp(found, low, high), lanes);
        }
}

HK_INLINE void hk_f32_dwconv_block(const float *x, const float *weights, const float *bias, const float *residual, float *y, hk_shape s,
                                   float low, float high, int count, hk_turn *turn) {
    const int places = hk_tile_columns(s.columns, HK_SUMS / 2 / HK_PARTS), rest = s.columns % places;
    for (int n = 0; n < s.batch; n++)
        for (int row = 0; row < s.rows; row++) {
            if (!hk_is_mine(turn)) continue;
            const float *from = x + (size_t)n * hk_image(s) + hk_x_at(s, row, 0);
            float *to = y + (size_t)n * hk_y_image(s) + hk_y_at(s, row, 0);
            const float *add = residual ? residual + (size_t)n * hk_residual_image(s) + hk_residual_at(s, row, 0) : residual;
            int column = 0;
#define HK_TILE(PLACES)                                                                                                            \
    {                                                                                                                              \
        const size_t at = (size_t)(column * s.channels);                                                                           \
        hk_f32_dwconv_tile(from + (size_t)s.stride_w * at, weights, bias, add ? add + at : add, to + at, s, low, high, PLACES, count); \
    }
            for (; column + places <= s.columns; column += places) HK_TILE(places)
            if (rest) HK_TILE(rest)
#undef HK_TILE
        }
}

/* groups = channels = outputs. residual may be y, or NULL. */
HK_INLINE void hk_f32_dwconv(const float *x, const float *weights, const float *bias, const float *residual, float *y, hk_shape s,
                             float low, float high, hk_share share) {
    const int whole = s.channels / HK_BLOCK, rest = s.channels % HK_BLOCK;
    const size_t size = (size_t)s.kernel_h * (size_t)s.kernel_w * HK_BLOCK;
    hk_turn turn = hk_turns(share, hk_parts(s.channels, HK_BLOCK) * s.batch * s.rows);
    for (int b = 0; b < whole; b++) {
        const int at = b * HK_BLOCK;
        hk_f32_dwconv_block(x + at, weights + (size_t)b * size, bias + at, residual ? residual + at : residual, y + at, s, low, high,
                            HK_BLOCK, &turn);
    }
    if (rest) {
        const int at = whole * HK_BLOCK;
        hk_f32_dwconv_block(x + at, weights + (size_t)whole * size, bias + at, residual ? residual + at : residual, y + at, s, low, high,
                            rest, &turn);
    }
}
