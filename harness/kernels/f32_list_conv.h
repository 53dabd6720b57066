/* Convolution and dense layers in float32 that skip the zeros of their weights: each block of `block` outputs has a list of what is not zero.
 *
 * Entry k of a block is the place of one input value, `offsets[k]` floats after a window's first, and its `block` weights; the entries of
 * block b are starts[b] .. starts[b + 1] - 1. `block` is a multiple of HK_LANES, biases are [blocks * block]. An entry's weights are read
 * once for all places of a tile, whose results stay in registers.
 */
#include "share.h"
#include "tiles.h"

/* Chains of sums that are added up at the end: a tile of few places would wait for each product before it adds the next. */
enum { HK_CHAINS = 4 };
HK_INLINE int hk_chains(int width) { return 4 * width <= HK_SUMS && width <= 4 ? HK_CHAINS : 1; }

/* `tile_rows` x `tile_columns` places of one block, whose first `last` outputs there are. */
HK_INLINE void hk_f32_list_conv_tile(const float *x, const int32_t *offsets, const float *weights, int count, const float *bias,
                                     const float *residual, float *y, hk_shape s, float low, float high, int block, int tile_rows,
                                     int tile_columns, int last) {
    const int parts = block / HK_LANES, places = tile_rows * tile_columns, width = places * parts, chains = hk_chains(width);
    hk_floats sums[HK_SUMS];
    HK_UNROLL
    for (int p = 0; p < places; p++)
        HK_UNROLL
        for (int v = 0; v < parts; v++) sums[p * parts + v] = hk_load(bias + v * HK_LANES, HK_LANES);
    HK_UNROLL
    for (int i = width; i < chains * width; i++) sums[i] = (hk_floats){0};
#define HK_ENTRY(CHAIN)                                                                                                 \
    {                                                                                                                   \
        const float *from = x + offsets[k + CHAIN], *with = weights + (size_t)(k + CHAIN) * (size_t)block;              \
        hk_floats factors[HK_SUMS];                                                                                     \
        HK_UNROLL                                                                                                       \
        for (int v = 0; v < parts; v++) factors[v] = hk_load(with + v * HK_LANES, HK_LANES);                            \
        HK_UNROLL                                                                                                       \
        for (int p = 0; p < places; p++) {                                                                              \
            const int row = p / tile_columns, column = p % tile_columns;                                                \
            const float value = from[(row * s.stride_h * s.width + column * s.stride_w) * s.channels];                  \
            HK_UNROLL                                                                                                   \
            for (int v = 0; v < parts; v++) sums[CHAIN * width + p * parts + v] += value * factors[v];                  \
        }                                                                                                               \
    }
    int k = 0;
    if (chains > 1)
        for (; k + chains <= count; k += chains) {
            HK_UNROLL
            for (int c = 0; c < chains; c++) HK_ENTRY(c)
        }
    for (; k < count; k++) HK_ENTRY(0)
#undef HK_ENTRY
    HK_UNROLL
    for (int i = width; i < chains * width; i++) sums[i % width] += sums[i];
    HK_UNROLL
    for (int p = 0; p < places; p++)
        HK_UNROLL
        for (int v = 0; v < parts; v++) {
            const int at = ((p / tile_columns) * s.columns + p % tile_columns) * s.outputs + v * HK_LANES;
            const int lanes = hk_lanes(last, v);
            if (lanes == 0) continue;
            hk_floats found = sums[p * parts + v];
            if (residual) found += hk_load(residual + at, lanes);
            hk_store(y + at, hk_clamp(found, low, high), lanes);
        }
}

/* residual may be y, or NULL. A tile takes at most `most` places, `by_tile` is as in HK_BLOCK_TILES: neither changes a result. */
HK_INLINE void hk_f32_list_conv(const float *x, const int32_t *starts, const int32_t *offsets, const float *weights, const float *bias,
                                const float *residual, float *y, hk_shape s, float low, float high, int block_width, int most,
                                bool by_tile, hk_share share) {
#define HK_AT(BLOCK, OUTPUTS, ROW, COLUMN, R, C)                                                                                         \
    if (hk_is_mine(&turn)) {                                                                                                             \
        const int first = starts[BLOCK], count = starts[BLOCK + 1] - first;                                                              \
        const size_t from = ((size_t)(ROW * s.stride_h) * (size_t)s.width + (size_t)(COLUMN * s.stride_w)) * (size_t)s.channels;         \
        const size_t to = ((size_t)ROW * (size_t)s.columns + (size_t)COLUMN) * (size_t)s.outputs + (size_t)(BLOCK * block_width);        \
        hk_f32_list_conv_tile(x + from, offsets + first, weights + (size_t)first * (size_t)block_width, count,                           \
                              bias + BLOCK * block_width, residual ? residual + to : residual, y + to, s, low, high, block_width, R, C,  \
                              OUTPUTS);                                                                                                  \
    }
    const int places = hk_least(most, HK_SUMS / (block_width / HK_LANES));
    hk_turn turn = hk_turns(share, s.batch * hk_parts(s.outputs, block_width) * hk_tiles(s, places));
    for (int n = 0; n < s.batch; n++) {
        HK_BLOCK_TILES(s, places, block_width, by_tile)
        x += (size_t)s.height * (size_t)s.width * (size_t)s.channels;
        y += (size_t)s.rows * (size_t)s.columns * (size_t)s.outputs;
        if (residual) residual += (size_t)s.rows * (size_t)s.columns * (size_t)s.outputs;
    }
#undef HK_AT
}
