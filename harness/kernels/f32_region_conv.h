/* Convolution in float32 that skips the zeros of its weights wherever they are: lanes are places, not outputs, so that one weight serves a
 * whole vector, and lists of what is not zero are of single outputs, or of `filters` neighbouring ones.
 *
 * An image is cut into a grid of regions, as many as there are lanes, and lane l of a vector holds a place of region l: images lie as
 * [batch][channels][rows + 2][columns + 2][lanes], where a region has `rows` x `columns` places and a border of what its neighbours have
 * there, or of zeros. So whatever place of a window a weight belongs to, what it is multiplied with is an aligned vector. Vectors of the
 * neighbouring places that x has for y's are `stride` apart.
 *
 * Entry k of a list is the vector of x at `places[k]` floats after the one at a window's first place, and `filters` weights. The input channels
 * are cut into `slabs`, so small that what a tile reads of one stays in the nearest cache; between slabs the sums wait in y. Lists are
 * starts[slab * blocks + block] and on.
 */
#include "share.h"
#include "tiles.h"

/* Lists are of at most 8 outputs, and lanes at most HK_BLOCK: fewer sums than that fit into the registers of narrow vectors only. */
enum { HK_REGION_SUMS = HK_SUMS > 8 * HK_PARTS ? HK_SUMS : 8 * HK_PARTS };

typedef struct {
    int batch, channels, x_rows, x_columns, outputs, rows, columns, stride, lanes, filters, slabs;
} hk_regions;

/* `tile_rows` x `tile_columns` vectors of y for `last` of a block's outputs. */
HK_INLINE void hk_f32_region_tile(const float *x, const int32_t *places, const float *weights, int count, const float *bias,
                                  const float *residual, const int32_t *inside, float *y, hk_regions s, float low, float high,
                                  int tile_rows, int tile_columns, int last, bool begins, bool ends) {
    const int parts = s.lanes / HK_LANES, vectors = tile_rows * tile_columns * parts, width = s.filters * vectors;
    const int chains = 2 * width <= HK_SUMS && width <= 4 ? 2 : 1;
    const size_t plane = (size_t)(s.rows + 2) * (size_t)(s.columns + 2) * (size_t)s.lanes;
    hk_floats sums[HK_REGION_SUMS];
#define HK_PLACE(V, STRIDE, COLUMNS) \
    ((((V) / parts / tile_columns * (COLUMNS) + (V) / parts % tile_columns) * (STRIDE)) * s.lanes + (V) % parts * HK_LANES)
    HK_UNROLL
    for (int f = 0; f < s.filters; f++)
        HK_UNROLL
        for (int v = 0; v < vectors; v++)
            sums[f * vectors + v] = begins || f >= last ? bias[f] - (hk_floats){0}
                                                        : hk_load(y + (size_t)f * plane + HK_PLACE(v, 1, s.columns + 2), HK_LANES);
    HK_UNROLL
    for (int i = width; i < chains * width; i++) sums[i] = (hk_floats){0};
#define HK_ENTRY(CHAIN)                                                                                                     \
    {                                                                                                                       \
        const float *from = x + places[k + CHAIN], *with = weights + (size_t)(k + CHAIN) * (size_t)s.filters;               \
        HK_UNROLL                                                                                                           \
        for (int v = 0; v < vectors; v++) {                                                                                 \
            const hk_floats value = hk_load(from + HK_PLACE(v, s.stride, s.x_columns), HK_LANES);                           \
            HK_UNROLL                                                                                                       \
            for (int f = 0; f < s.filters; f++) sums[CHAIN * width + f * vectors + v] += with[f] * value;                   \
        }                                                                                                                   \
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
    for (int f = 0; f < s.filters; f++) {
        if (f >= last) continue;
        HK_UNROLL
        for (int v = 0; v < vectors; v++) {
            const size_t at = (size_t)f * plane + (size_t)HK_PLACE(v, 1, s.columns + 2);
            hk_floats found = sums[f * vectors + v];
            if (ends) {
                if (residual) found += hk_load(residual + at, HK_LANES);
                found = hk_clamp(found, low, high);
                if (inside) found = hk_chosen(hk_load_ints(inside + HK_PLACE(v, 1, s.columns)), found, (hk_floats){0});
            }
            hk_store(y + at, found, HK_LANES);
        }
    }
#undef HK_PLACE
}

/* Lane l of `to` becomes lane l - `by` of `from`, where l's region has that neighbour, else 0. */
HK_INLINE void hk_region_neighbour(const float *from, float *to, int by, const int32_t *has, int lanes) {
    for (int v = 0; v < lanes; v += HK_LANES)
        hk_store(to + v, hk_chosen(hk_load_ints(has + v), hk_load(from + v - by, HK_LANES), (hk_floats){0}), HK_LANES);
}

/* The borders of one channel's regions, in a grid with `across` regions in a row, and `regions` in all. The vectors before y's first row of
 * places and after its last are y's own, so that reading past a vector's ends is reading within y. */
HK_INLINE void hk_region_borders(float *y, int rows, int columns, int lanes, int across, int regions) {
    int32_t left[HK_BLOCK], right[HK_BLOCK], above[HK_BLOCK], below[HK_BLOCK];
    const int pitch = (columns + 2) * lanes;
    for (int l = 0; l < lanes; l++) {
        left[l] = -(l < regions && l % across > 0);
        right[l] = -(l < regions && l % across < across - 1);
        above[l] = -(l < regions && l >= across);
        below[l] = -(l < regions - across);
    }
    for (int r = 1; r <= rows; r++) {
        float *row = y + r * pitch;
        hk_region_neighbour(row + columns * lanes, row, 1, left, lanes);
        hk_region_neighbour(row + lanes, row + (columns + 1) * lanes, -1, right, lanes);
    }
    for (int c = 0; c < columns + 2; c++) {
        hk_region_neighbour(y + rows * pitch + c * lanes, y + c * lanes, across, above, lanes);
        hk_region_neighbour(y + pitch + c * lanes, y + (rows + 1) * pitch + c * lanes, -across, below, lanes);
    }
}

/* How many vectors a tile has: where outputs share what is read, a few registers are for it and for their weights. */
HK_INLINE int hk_region_vectors(hk_regions s) {
    const int room = s.filters > 1 ? HK_SUMS / 12 * 12 : HK_SUMS;
    return hk_most(1, room / (s.lanes / HK_LANES) / s.filters);
}

/* residual may be NULL, and `inside`, -1 where a lane lies within the image, too, if all do. */
HK_INLINE void hk_f32_region_conv(const float *x, const int32_t *starts, const int32_t *places, const float *weights, const float *bias,
                                  const int32_t *inside, const float *residual, float *y, hk_regions s, float low, float high,
                                  int across, int regions, hk_share share) {
    const int blocks = hk_parts(s.outputs, s.filters);
    const int begin = hk_first(share, blocks), end = hk_end(share, blocks);
    const size_t size = (size_t)(s.rows + 2) * (size_t)(s.columns + 2) * (size_t)s.lanes;
#define HK_REGION_TILE(ROW, COLUMN, R, C)                                                                                       \
    for (int slab = 0; slab < s.slabs; slab++)                                                                                  \
        for (int block = begin; block < end; block++) {                                                                         \
            const int list = slab * blocks + block, first = starts[list];                                                       \
            const size_t from = (size_t)((ROW * s.x_columns + COLUMN) * s.stride * s.lanes);                                    \
            const size_t place = (size_t)(((ROW + 1) * (s.columns + 2) + COLUMN + 1) * s.lanes);                                \
            const size_t to = (size_t)(block * s.filters) * size + place;                                                       \
            hk_f32_region_tile(x + from, places + first, weights + (size_t)first * (size_t)s.filters, starts[list + 1] - first, \
                               bias + block * s.filters, residual ? residual + to : residual,                                   \
                               inside ? inside + (ROW * s.columns + COLUMN) * s.lanes : inside, y + to, s, low, high, R, C,     \
                               hk_least(s.filters, s.outputs - block * s.filters), slab == 0, slab == s.slabs - 1);             \
        }
    for (int n = 0; n < s.batch; n++) {
        HK_TILES(s, hk_region_vectors(s), HK_REGION_TILE)
        for (int o = begin * s.filters; o < hk_least(end * s.filters, s.outputs); o++)
            hk_region_borders(y + (size_t)o * size, s.rows, s.columns, s.lanes, across, regions);
        x += (size_t)s.channels * (size_t)s.x_rows * (size_t)s.x_columns * (size_t)s.lanes;
        y += (size_t)s.outputs * size;
        if (residual) residual += (size_t)s.outputs * size;
    }
#undef HK_REGION_TILE
}
