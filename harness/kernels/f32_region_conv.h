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
 *
 * Where kernels keep their weights in few ways (patterns.h), a list is of an output's kernels instead, pattern after pattern:
 * starts[(slab * outputs + output) * patterns + pattern]. Entry k is then a whole window of x, and `taps` weights.
 */
#include "patterns.h"
#include "share.h"
#include "tiles.h"

/* Lists are of at most 8 outputs, and lanes at most HK_BLOCK: fewer sums than that fit into the registers of narrow vectors only. */
enum { HK_REGION_SUMS = HK_SUMS > 8 * HK_PARTS ? HK_SUMS : 8 * HK_PARTS };

typedef struct {
    int batch, channels, x_rows, x_columns, outputs, rows, columns, stride, lanes, filters, slabs;
} hk_regions;

/* Floats before vector v of a tile, whose neighbouring places are `stride` apart in rows of `columns`. */
HK_INLINE int hk_region_place(hk_regions s, int v, int tile_columns, int stride, int columns) {
    const int parts = s.lanes / HK_LANES, place = v / parts;
    return (place / tile_columns * columns + place % tile_columns) * stride * s.lanes + v % parts * HK_LANES;
}

/* An entry's weights: by vectors, where an instruction multiplies by a lane of one. */
#if HK_BY_LANE
#define HK_REGION_WEIGHTS                                                                                         \
    hk_floats factors[8 / HK_LANES];                                                                              \
    HK_UNROLL                                                                                                     \
    for (int f = 0; f < s.filters; f += HK_LANES) factors[f / HK_LANES] = hk_load(with + f, hk_least(s.filters - f, HK_LANES));
#define HK_REGION_WEIGHT(F) factors[(F) / HK_LANES][(F) % HK_LANES]
#else
#define HK_REGION_WEIGHTS
#define HK_REGION_WEIGHT(F) with[F]
#endif

/* sums += the products of a list's entries; they are spread over `chains` that follow each other. */
HK_INLINE void hk_f32_region_entries(hk_floats *sums, const float *x, const int32_t *places, const float *weights, int count, hk_regions s,
                                     int tile_columns, int vectors, int chains) {
#define HK_ENTRY(K, CHAIN)                                                                                                   \
    {                                                                                                                        \
        const float *from = x + places[K], *with = weights + (size_t)(K) * (size_t)s.filters;                                \
        HK_REGION_WEIGHTS                                                                                                    \
        HK_UNROLL                                                                                                            \
        for (int v = 0; v < vectors; v++) {                                                                                  \
            const hk_floats value = hk_load(from + hk_region_place(s, v, tile_columns, s.stride, s.x_columns), HK_LANES);    \
            HK_UNROLL                                                                                                        \
            for (int f = 0; f < s.filters; f++) sums[(CHAIN * s.filters + f) * vectors + v] += HK_REGION_WEIGHT(f) * value;  \
        }                                                                                                                    \
    }
    HK_IN_CHAINS(count, chains, HK_ENTRY)
#undef HK_ENTRY
}

/* The same of kernels that keep what `mask` has, row by row of x: fewer conditions to unroll than place by place, which took compilers ten
 * times as long. */
HK_INLINE void hk_f32_region_kernels(hk_floats *sums, const float *x, const int32_t *places, const float *weights, int count, hk_regions s,
                                     hk_patterns p, int mask, int tile_rows, int tile_columns, int chains) {
    const int parts = s.lanes / HK_LANES, vectors = tile_rows * tile_columns * parts;
    for (int k = 0; k < count; k++) {
        const float *from = x + places[k], *with = weights + (size_t)k * (size_t)p.taps;
        HK_UNROLL
        for (int row = 0; row < hk_pattern_reads(tile_rows, s.stride, p.rows, p.down); row++) {
            int tap = 0;
            HK_UNROLL
            for (int bit = 0; bit < p.rows * p.columns; bit++) {
                if (!(mask >> bit & 1)) continue;
                const int below = row - bit / p.columns * p.down, left = bit % p.columns * p.right;
                if (below >= 0 && below % s.stride == 0 && below / s.stride < tile_rows) {
                    HK_UNROLL
                    for (int v = 0; v < tile_columns * parts; v++) { /* compilers read a vector once for all taps of a row */
                        const int column = left + v / parts * s.stride, at = (row * s.x_columns + column) * s.lanes + v % parts * HK_LANES;
                        sums[tap % chains * vectors + below / s.stride * tile_columns * parts + v] += with[tap] * hk_load(from + at, HK_LANES);
                    }
                }
                tap++;
            }
        }
    }
}

/* `tile_rows` x `tile_columns` vectors of y for `last` of a block's outputs, whose lists begin at starts[0], starts[1] ... */
HK_INLINE void hk_f32_region_tile(const float *x, const int32_t *starts, const int32_t *places, const float *weights, const float *bias,
                                  const float *residual, const int32_t *inside, float *y, hk_regions s, hk_patterns p, float low,
                                  float high, int tile_rows, int tile_columns, int last, bool begins, bool ends) {
    const int vectors = tile_rows * tile_columns * (s.lanes / HK_LANES), width = s.filters * vectors;
    const int chains = 2 * width <= HK_SUMS && width <= 4 ? 2 : 1;
    const size_t plane = (size_t)(s.rows + 2) * (size_t)(s.columns + 2) * (size_t)s.lanes;
    hk_floats sums[HK_REGION_SUMS];
    HK_UNROLL
    for (int f = 0; f < s.filters; f++)
        HK_UNROLL
        for (int v = 0; v < vectors; v++)
            sums[f * vectors + v] = begins || f >= last ? bias[f] - (hk_floats){0}
                                                        : hk_load(y + (size_t)f * plane + hk_region_place(s, v, tile_columns, 1, s.columns + 2),
                                                                  HK_LANES);
    HK_UNROLL
    for (int i = width; i < chains * width; i++) sums[i] = (hk_floats){0};
    if (p.count) {
        HK_UNROLL
        for (int i = 0; i < p.count; i++)
            hk_f32_region_kernels(sums, x, places + starts[i], weights + (size_t)starts[i] * (size_t)p.taps, starts[i + 1] - starts[i], s, p,
                                   p.masks[i], tile_rows, tile_columns, chains);
    } else {
        hk_f32_region_entries(sums, x, places + starts[0], weights + (size_t)starts[0] * (size_t)s.filters, starts[1] - starts[0], s,
                              tile_columns, vectors, chains);
    }
    HK_UNROLL
    for (int i = width; i < chains * width; i++) sums[i % width] += sums[i];
    HK_UNROLL
    for (int f = 0; f < s.filters; f++) {
        if (f >= last) continue;
        HK_UNROLL
        for (int v = 0; v < vectors; v++) {
            const size_t at = (size_t)f * plane + (size_t)hk_region_place(s, v, tile_columns, 1, s.columns + 2);
            hk_floats found = sums[f * vectors + v];
            if (ends) {
                if (residual) found += hk_load(residual + at, HK_LANES);
                found = hk_clamp(found, low, high);
                if (inside) found = hk_chosen(hk_load_ints(inside + hk_region_place(s, v, tile_columns, 1, s.columns)), found, (hk_floats){0});
            }
            hk_store(y + at, found, HK_LANES);
        }
    }
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

/* How many vectors a tile has: where outputs share what is read, a few registers are for it and for their weights, unless lanes hold these. */
HK_INLINE int hk_region_vectors(hk_regions s) {
    const int room = s.filters > 1 && !HK_BY_LANE ? HK_SUMS / 12 * 12 : HK_SUMS;
    return hk_most(1, room / (s.lanes / HK_LANES) / s.filters);
}

/* residual may be NULL, and `inside`, -1 where a lane lies within the image, too, if all do. No patterns: lists are of single weights. */
HK_INLINE void hk_f32_region_conv(const float *x, const int32_t *starts, const int32_t *places, const float *weights, const float *bias,
                                  const int32_t *inside, const float *residual, float *y, hk_regions s, hk_patterns p, float low, float high,
                                  int across, int regions, hk_share share) {
    const int blocks = hk_parts(s.outputs, s.filters), lists = hk_most(1, p.count);
    const int begin = hk_first(share, blocks), end = hk_end(share, blocks);
    const int room = hk_region_vectors(s);
    const size_t size = (size_t)(s.rows + 2) * (size_t)(s.columns + 2) * (size_t)s.lanes;
#define HK_REGION_TILE(ROW, COLUMN, R, C)                                                                                       \
    for (int slab = 0; slab < s.slabs; slab++)                                                                                  \
        for (int block = begin; block < end; block++) {                                                                         \
            const size_t from = (size_t)((ROW * s.x_columns + COLUMN) * s.stride * s.lanes);                                    \
            const size_t place = (size_t)(((ROW + 1) * (s.columns + 2) + COLUMN + 1) * s.lanes);                                \
            const size_t to = (size_t)(block * s.filters) * size + place;                                                       \
            hk_f32_region_tile(x + from, starts + (slab * blocks + block) * lists, places, weights, bias + block * s.filters,   \
                               residual ? residual + to : residual,                                                             \
                               inside ? inside + (ROW * s.columns + COLUMN) * s.lanes : inside, y + to, s, p, low, high, R, C,  \
                               hk_least(s.filters, s.outputs - block * s.filters), slab == 0, slab == s.slabs - 1);             \
        }
    for (int n = 0; n < s.batch; n++) {
        if (p.count) HK_TILES_OF(s, hk_pattern_rows(p, room), hk_pattern_columns(p, room), HK_REGION_TILE)
        else HK_TILES(s, room, HK_REGION_TILE)
        for (int o = begin * s.filters; o < hk_least(end * s.filters, s.outputs); o++)
            hk_region_borders(y + (size_t)o * size, s.rows, s.columns, s.lanes, across, regions);
        x += (size_t)s.channels * (size_t)s.x_rows * (size_t)s.x_columns * (size_t)s.lanes;
        y += (size_t)s.outputs * size;
        if (residual) residual += (size_t)s.outputs * size;
    }
#undef HK_REGION_TILE
}
