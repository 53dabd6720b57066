/* Convolution and dense layers in float32: a tile of results stays in registers while all of its products are added up.
 *
 * Weights are packed as [group][block of 16 outputs][kernel_h][kernel_w][channels / groups][16], biases as [group][blocks * 16]. The
 * products of one channel are its value times 16 weights: the value is read once for all lanes, the weights once for all places of the tile.
 */
#include "share.h"
#include "tiles.h"

/* Weights that the second cache does not hold, more than HK_NEAR, are asked for so many channels before they are needed: those of
 * 512 x 512 x 3 x 3 come from memory each time. For others, asking only takes the place of reading. */
enum { HK_AHEAD = 48, HK_NEAR = 1 << 18 };
#if defined(__GNUC__)
#define HK_SOON(place) __builtin_prefetch(place)
#else
#define HK_SOON(place) ((void)0)
#endif

/* `tile_rows` x `tile_columns` places of `blocks` blocks, the last of which has `last` outputs. */
HK_INLINE void hk_f32_conv_tile(const float *x, const float *weights, const float *bias, const float *residual, float *y, hk_shape s,
                                float low, float high, int tile_rows, int tile_columns, int blocks, int last) {
    hk_floats sums[HK_SUMS];
    const int width = blocks * HK_PARTS, places = tile_rows * tile_columns;
    const int depth = s.channels / s.groups;
    /* Neighbouring columns of an undilated window are neighbours in memory. */
    const int is_whole = s.dilation_w == 1 && s.groups == 1;
    const int columns = is_whole ? 1 : s.kernel_w, run = is_whole ? s.kernel_w * depth : depth;
    const size_t block_size = (size_t)s.kernel_h * (size_t)s.kernel_w * (size_t)depth * HK_BLOCK;
    const bool is_far = block_size * (size_t)(s.outputs / HK_BLOCK) > HK_NEAR;
#define HK_PLACE(P) (((P) / tile_columns * s.stride_h * s.width + (P) % tile_columns * s.stride_w) * s.channels)
#define HK_WEIGHTS(K, V) (with + (size_t)((V) / HK_PARTS) * block_size + (K)*HK_BLOCK + (V) % HK_PARTS * HK_LANES)
    HK_UNROLL
    for (int p = 0; p < places; p++)
        HK_UNROLL
        for (int v = 0; v < width; v++) sums[p * width + v] = hk_load(bias + v * HK_LANES, HK_LANES);
    for (int i = 0; i < s.kernel_h; i++)
        for (int j = 0; j < columns; j++) {
            const float *from = x + ((size_t)(i * s.dilation_h) * (size_t)s.width + (size_t)(j * s.dilation_w)) * (size_t)s.channels;
            const float *with = weights + (size_t)(i * columns + j) * (size_t)run * HK_BLOCK;
            int k = 0;
#if HK_BY_LANE
            for (; k + HK_LANES <= run; k += HK_LANES) {
                hk_floats values[HK_SUMS];
                HK_UNROLL
                for (int p = 0; p < places; p++) values[p] = hk_load(from + HK_PLACE(p) + k, HK_LANES);
                HK_UNROLL
                for (int lane = 0; lane < HK_LANES; lane++) {
                    if (is_far) {
                        HK_UNROLL
                        for (int v = 0; v < blocks; v++) HK_SOON(with + (size_t)v * block_size + (size_t)(k + lane + HK_AHEAD) * HK_BLOCK);
                    }
                    HK_UNROLL
                    for (int v = 0; v < width; v++) {
                        const hk_floats factor = hk_load(HK_WEIGHTS(k + lane, v), HK_LANES);
                        HK_UNROLL
                        for (int p = 0; p < places; p++) sums[p * width + v] += values[p][lane] * factor;
                    }
                }
            }
#endif
            for (; k < run; k++) {
                hk_floats factors[HK_SUMS];
                if (is_far) {
                    HK_UNROLL
                    for (int v = 0; v < blocks; v++) HK_SOON(with + (size_t)v * block_size + (size_t)(k + HK_AHEAD) * HK_BLOCK);
                }
                HK_UNROLL
                for (int v = 0; v < width; v++) factors[v] = hk_load(HK_WEIGHTS(k, v), HK_LANES);
                HK_UNROLL
                for (int p = 0; p < places; p++) {
                    const float value = from[HK_PLACE(p) + k];
                    HK_UNROLL
                    for (int v = 0; v < width; v++) sums[p * width + v] += value * factors[v];
                }
            }
        }
#undef HK_PLACE
#undef HK_WEIGHTS
    HK_UNROLL
    for (int p = 0; p < places; p++)
        HK_UNROLL
        for (int v = 0; v < width; v++) {
            const size_t at = hk_y_at(s, p / tile_columns, p % tile_columns) + (size_t)(v * HK_LANES);
            const size_t add = hk_residual_at(s, p / tile_columns, p % tile_columns) + (size_t)(v * HK_LANES);
            const int lanes = v / HK_PARTS < blocks - 1 ? HK_LANES : hk_lanes(last, v % HK_PARTS);
            if (lanes == 0) continue;
            hk_floats found = sums[p * width + v];
            if (residual) found += hk_load(residual + add, lanes);
            hk_store(y + at, hk_clamp(found, low, high), lanes);
        }
}

/* All places of `blocks` blocks, tile by tile. */
HK_INLINE void hk_f32_conv_blocks(const float *x, const float *weights, const float *bias, const float *residual, float *y, hk_shape s,
                                  float low, float high, int blocks, int last, hk_turn *turn) {
#define HK_TILE(ROW, COLUMN, R, C)                                                                                                      \
    if (hk_is_mine(turn)) {                                                                                                             \
        const float *add = residual ? residual + hk_residual_at(s, ROW, COLUMN) : residual;                                             \
        hk_f32_conv_tile(x + hk_x_at(s, ROW, COLUMN), weights, bias, add, y + hk_y_at(s, ROW, COLUMN), s, low, high, R, C, blocks, last); \
    }
    HK_TILES(s, hk_sums(HK_PARTS) / HK_PARTS / blocks, HK_TILE)
#undef HK_TILE
}

/* residual may be y, or NULL. */
HK_INLINE void hk_f32_conv(const float *x, const float *weights, const float *bias, const float *residual, float *y, hk_shape s, float low,
                           float high, hk_share share) {
    const int inputs = s.channels / s.groups, outputs = s.outputs / s.groups, blocks = hk_parts(outputs, HK_BLOCK);
    const int together = hk_tile_blocks(blocks, s.rows * s.columns);
    const int full = blocks / together * together - (outputs % HK_BLOCK && blocks % together == 0 ? together : 0);
    const size_t block_size = (size_t)s.kernel_h * (size_t)s.kernel_w * (size_t)inputs * HK_BLOCK;
    const int of_one = hk_tiles(s, hk_sums(HK_PARTS) / HK_PARTS), of_many = hk_tiles(s, hk_sums(HK_PARTS) / HK_PARTS / together);
    hk_turn turn = hk_turns(share, s.batch * s.groups * (blocks / together * of_many + blocks % together * of_one));
    for (int n = 0; n < s.batch; n++)
        for (int g = 0; g < s.groups; g++) {
            const float *from = x + (size_t)n * hk_image(s) + g * inputs;
            float *to = y + (size_t)n * hk_y_image(s) + g * outputs;
            const float *with = weights + (size_t)(g * blocks) * block_size, *start = bias + g * blocks * HK_BLOCK;
            const float *add = residual ? residual + (size_t)n * hk_residual_image(s) + g * outputs : residual;
            int b = 0;
#define HK_BLOCKS(COUNT, LAST)                                                                                                    \
    hk_f32_conv_blocks(from, with + (size_t)b * block_size, start + b * HK_BLOCK, add ? add + b * HK_BLOCK : add,                 \
                       to + b * HK_BLOCK, s, low, high, COUNT, LAST, &turn)
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
