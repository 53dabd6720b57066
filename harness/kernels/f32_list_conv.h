/* Convolution and dense layers in float32 that skip the zeros of their weights: each block of `block` outputs has a list of what is not zero.
 *
 * Entry k of a block is the place of one input value, `offsets[k]` floats after a window's first, and its `block` weights; the entries of
 * block b are starts[b] .. starts[b + 1] - 1. `block` is a multiple of HK_LANES, biases are [blocks * block]. An entry's weights are read
 * once for all places of a tile, whose results stay in registers.
 *
 * Where the kernels of a block and an input channel keep their weights in few ways, as 1xN pruning leaves them (patterns.h), a list is of
 * kernels instead, pattern after pattern: starts[block * patterns + pattern]. Entry k is then a window of one channel, and `taps` x `block` weights.
 */
#include "patterns.h"
#include "share.h"
#include "tiles.h"

/* Chains of sums that are added up at the end: a tile of few places would wait for each product before it adds the next. */
enum { HK_CHAINS = 4 };
HK_INLINE int hk_chains(int width) { return 4 * width <= HK_SUMS && width <= 4 ? HK_CHAINS : 1; }

/* sums += the products of a list's entries; they are spread over `chains` that follow each other. */
HK_INLINE void hk_f32_list_entries(hk_floats *sums, const float *x, const int32_t *offsets, const float *weights, int count, hk_shape s,
                                   int parts, int places, int tile_columns, int chains) {
    const int width = places * parts, block = parts * HK_LANES;
#define HK_ENTRY(K, CHAIN)                                                                              \
    {                                                                                                   \
        const float *from = x + offsets[K], *with = weights + (size_t)(K) * (size_t)block;              \
        hk_floats factors[HK_SUMS];                                                                     \
        HK_UNROLL                                                                                       \
        for (int v = 0; v < parts; v++) factors[v] = hk_load(with + v * HK_LANES, HK_LANES);            \
        HK_UNROLL                                                                                       \
        for (int p = 0; p < places; p++) {                                                              \
            const int row = p / tile_columns, column = p % tile_columns;                                \
            const float value = from[(row * s.stride_h * s.width + column * s.stride_w) * s.channels];  \
            HK_UNROLL                                                                                   \
            for (int v = 0; v < parts; v++) sums[CHAIN * width + p * parts + v] += value * factors[v];  \
        }                                                                                               \
    }
    HK_IN_CHAINS(count, chains, HK_ENTRY)
#undef HK_ENTRY
}

/* The same of kernels that keep what `mask` has: their weights stay in registers while a tile's values of x pass. */
HK_INLINE void hk_f32_list_kernels(hk_floats *sums, const float *x, const int32_t *offsets, const float *weights, int count, hk_shape s,
                                   hk_patterns p, int mask, int parts, int tile_rows, int tile_columns, int chains) {
    const int width = tile_rows * tile_columns * parts, block = parts * HK_LANES;
    const int rows = hk_pattern_reads(tile_rows, s.stride_h, p.rows, p.down);
    const int columns = hk_pattern_reads(tile_columns, s.stride_w, p.columns, p.right);
    for (int k = 0; k < count; k++) {
        const float *from = x + offsets[k], *with = weights + (size_t)k * (size_t)(p.taps * block);
        hk_floats factors[HK_MOST_TAPS * HK_PARTS];
        HK_UNROLL
        for (int v = 0; v < p.taps * parts; v++) factors[v] = hk_load(with + v * HK_LANES, HK_LANES);
        HK_UNROLL
        for (int at = 0; at < rows * columns; at++) {
            const int row = at / columns, column = at % columns;
            const float value = from[(row * s.width + column) * s.channels];
            int tap = 0;
            HK_UNROLL
            for (int bit = 0; bit < p.rows * p.columns; bit++) {
                if (!(mask >> bit & 1)) continue;
                const int place = hk_pattern_place(p, bit, row, column, s.stride_h, s.stride_w, tile_rows, tile_columns);
                HK_UNROLL
                for (int v = 0; v < parts; v++)
                    if (place >= 0) sums[tap % chains * width + place * parts + v] += value * factors[tap * parts + v];
                tap++;
            }
        }
    }
}

/* `tile_rows` x `tile_columns` places of one block, whose first `last` outputs there are, and whose lists begin at starts[0], starts[1] ... */
HK_INLINE void hk_f32_list_conv_tile(const float *x, const int32_t *starts, const int32_t *offsets, const float *weights, const float *bias,
                                     const float *residual, float *y, hk_shape s, hk_patterns p, float low, float high, int block,
                                     int tile_rows, int tile_columns, int last) {
    const int parts = block / HK_LANES, places = tile_rows * tile_columns, width = places * parts, chains = hk_chains(width);
    hk_floats sums[HK_SUMS];
    HK_UNROLL
    for (int i = 0; i < width; i++) sums[i] = hk_load(bias + i % parts * HK_LANES, HK_LANES);
    HK_UNROLL
    for (int i = width; i < chains * width; i++) sums[i] = (hk_floats){0};
    if (p.count) {
        HK_UNROLL
        for (int i = 0; i < p.count; i++)
            hk_f32_list_kernels(sums, x, offsets + starts[i], weights + (size_t)starts[i] * (size_t)(p.taps * block), starts[i + 1] - starts[i],
                                s, p, p.masks[i], parts, tile_rows, tile_columns, chains);
    } else {
        hk_f32_list_entries(sums, x, offsets + starts[0], weights + (size_t)starts[0] * (size_t)block, starts[1] - starts[0], s, parts, places,
                            tile_columns, chains);
    }
    HK_UNROLL
    for (int i = width; i < chains * width; i++) sums[i % width] += sums[i];
    HK_UNROLL
    for (int i = 0; i < places; i++)
        HK_UNROLL
        for (int v = 0; v < parts; v++) {
            const size_t at = hk_y_at(s, i / tile_columns, i % tile_columns) + (size_t)(v * HK_LANES);
            const size_t add = hk_residual_at(s, i / tile_columns, i % tile_columns) + (size_t)(v * HK_LANES);
            const int lanes = hk_lanes(last, v);
            if (lanes == 0) continue;
            hk_floats found = sums[i * parts + v];
            if (residual) found += hk_load(residual + add, lanes);
            hk_store(y + at, hk_clamp(found, low, high), lanes);
        }
}

/* residual may be y, or NULL. A tile takes at most `most` places, or is as p says; `by_tile` is as in HK_BLOCK_TILES: neither changes a result.
 * No patterns: lists are of single places of a window. */
HK_INLINE void hk_f32_list_conv(const float *x, const int32_t *starts, const int32_t *offsets, const float *weights, const float *bias,
                                const float *residual, float *y, hk_shape s, hk_patterns p, float low, float high, int block_width, int most,
                                bool by_tile, hk_share share) {
#define HK_AT(BLOCK, OUTPUTS, ROW, COLUMN, R, C)                                                                                         \
    if (hk_is_mine(&turn)) {                                                                                                             \
        const float *add = residual ? residual + hk_residual_at(s, ROW, COLUMN) + BLOCK * block_width : residual;                        \
        hk_f32_list_conv_tile(x + hk_x_at(s, ROW, COLUMN), starts + (BLOCK)*lists, offsets, weights, bias + BLOCK * block_width, add,    \
                              y + hk_y_at(s, ROW, COLUMN) + BLOCK * block_width, s, p, low, high, block_width, R, C, OUTPUTS);           \
    }
    const int lists = hk_most(1, p.count), parts = block_width / HK_LANES;
    const int room = (p.count ? hk_most(HK_SUMS / 2, HK_SUMS - p.taps * parts) : hk_sums(parts)) / parts, places = hk_least(most, room);
    const int rows = p.count ? hk_pattern_rows(p, room) : hk_tile_rows(s.rows, s.columns, places);
    const int columns = p.count ? hk_pattern_columns(p, room) : hk_tile_columns(s.columns, places);
    hk_turn turn = hk_turns(share, s.batch * hk_parts(s.outputs, block_width) * hk_tiles_of(s, rows, columns));
    for (int n = 0; n < s.batch; n++) {
        HK_BLOCK_TILES_OF(s, rows, columns, block_width, by_tile)
        x += hk_image(s);
        y += hk_y_image(s);
        if (residual) residual += hk_residual_image(s);
    }
#undef HK_AT
}
