/* Convolution and dense layers in float32 whose outputs each keep other channels, as N:M pruning leaves them.
 *
 * Entry k of a block of HK_BLOCK outputs is the place of HK_BLOCK neighbouring channels, `offsets[k]` floats after a window's first, which of
 * them each output takes, `chosen` [HK_BLOCK], and its weight; the entries of block b are starts[b] .. starts[b + 1] - 1. An output that has
 * fewer entries there than others has weight 0 in the rest. A vector selects from another in one instruction where there is AVX-512.
 */
#include "share.h"
#include "tiles.h"
#if HK_LANES == 16 && defined(__AVX512F__)
#include <immintrin.h>
HK_INLINE hk_floats hk_selected(const float *from, hk_ints chosen) {
    return (hk_floats)_mm512_permutexvar_ps((__m512i)chosen, _mm512_loadu_ps(from));
}
#elif HK_LANES == 1
HK_INLINE hk_floats hk_selected(const float *from, hk_ints chosen) { return from[chosen]; }
#else
HK_INLINE hk_floats hk_selected(const float *from, hk_ints chosen) {
    hk_floats found = (hk_floats){0};
    HK_UNROLL
    for (int i = 0; i < HK_LANES; i++) found[i] = from[chosen[i]];
    return found;
}
#endif

/* `tile_rows` x `tile_columns` places of one block, whose first `last` outputs there are. */
HK_INLINE void hk_f32_lane_conv_tile(const float *x, const int32_t *offsets, const uint8_t *chosen, const float *weights, int count,
                                     const float *bias, const float *residual, float *y, hk_shape s, float low, float high, int tile_rows,
                                     int tile_columns, int last) {
    const int places = tile_rows * tile_columns;
    hk_floats sums[HK_SUMS];
    HK_UNROLL
    for (int p = 0; p < places; p++)
        HK_UNROLL
        for (int v = 0; v < HK_PARTS; v++) sums[p * HK_PARTS + v] = hk_load(bias + v * HK_LANES, HK_LANES);
    for (int k = 0; k < count; k++) {
        const float *from = x + offsets[k];
        HK_UNROLL
        for (int v = 0; v < HK_PARTS; v++) {
            const hk_floats factor = hk_load(weights + (size_t)k * HK_BLOCK + v * HK_LANES, HK_LANES);
            const hk_ints which = hk_widened((const int8_t *)chosen + (size_t)k * HK_BLOCK + v * HK_LANES);
            HK_UNROLL
            for (int p = 0; p < places; p++) {
                const int at = ((p / tile_columns) * s.stride_h * s.width + (p % tile_columns) * s.stride_w) * s.channels;
                sums[p * HK_PARTS + v] += hk_selected(from + at, which) * factor;
            }
        }
    }
    HK_UNROLL
    for (int p = 0; p < places; p++)
        HK_UNROLL
        for (int v = 0; v < HK_PARTS; v++) {
            const size_t at = hk_y_at(s, p / tile_columns, p % tile_columns) + (size_t)(v * HK_LANES);
            const size_t add = hk_residual_at(s, p / tile_columns, p % tile_columns) + (size_t)(v * HK_LANES);
            const int lanes = hk_lanes(last, v);
            if (lanes == 0) continue;
            hk_floats found = sums[p * HK_PARTS + v];
            if (residual) found += hk_load(residual + add, lanes);
            hk_store(y + at, hk_clamp(found, low, high), lanes);
        }
}

/* residual may be y, or NULL; `most` and `by_tile` as in hk_f32_list_conv. */
HK_INLINE void hk_f32_lane_conv(const float *x, const int32_t *starts, const int32_t *offsets, const uint8_t *chosen, const float *weights,
                                const float *bias, const float *residual, float *y, hk_shape s, float low, float high, int most,
                                bool by_tile, hk_share share) {
#define HK_AT(BLOCK, OUTPUTS, ROW, COLUMN, R, C)                                                                                         \
    if (hk_is_mine(&turn)) {                                                                                                             \
        const int first = starts[BLOCK], count = starts[BLOCK + 1] - first;                                                              \
        const float *add = residual ? residual + hk_residual_at(s, ROW, COLUMN) + BLOCK * HK_BLOCK : residual;                           \
        hk_f32_lane_conv_tile(x + hk_x_at(s, ROW, COLUMN), offsets + first, chosen + (size_t)first * HK_BLOCK,                           \
                              weights + (size_t)first * HK_BLOCK, count, bias + BLOCK * HK_BLOCK, add,                                   \
                              y + hk_y_at(s, ROW, COLUMN) + BLOCK * HK_BLOCK, s, low, high, R, C, OUTPUTS);                              \
    }
    const int places = hk_least(most, HK_SUMS / HK_PARTS);
    hk_turn turn = hk_turns(share, s.batch * hk_parts(s.outputs, HK_BLOCK) * hk_tiles(s, places));
    for (int n = 0; n < s.batch; n++) {
        HK_BLOCK_TILES(s, places, HK_BLOCK, by_tile)
        x += hk_image(s);
        y += hk_y_image(s);
        if (residual) residual += hk_residual_image(s);
    }
#undef HK_AT
}
