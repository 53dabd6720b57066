/* Kernels that keep their weights in few ways. A way is a constant of the program, so that what neighbouring places of a tile read is read once
 * for all weights of a kernel that multiply it (load redundancy elimination: PatDNN, Niu et al. 2020). */
#ifndef HK_PATTERNS_H
#define HK_PATTERNS_H
#include "vector.h"

enum { HK_MOST_PATTERNS = 16, HK_MOST_TAPS = 9 };

/* Bit i * columns + j of a mask is the weight at row i and column j of a window, which are `down` and `right` places apart. An entry of a list
 * has `taps` weights, of which a pattern uses as many as its mask has bits. Tiles of y are as compact as registers allow. */
typedef struct {
    int count, taps, rows, columns, down, right, tile_rows, tile_columns;
    int32_t masks[HK_MOST_PATTERNS];
} hk_patterns;

/* Which place of a tile has the given row and column of x under that weight of its window; -1: none. */
HK_INLINE int hk_pattern_place(hk_patterns p, int bit, int row, int column, int stride_h, int stride_w, int tile_rows, int tile_columns) {
    const int below = row - bit / p.columns * p.down, beside = column - bit % p.columns * p.right;
    const bool is_there = below >= 0 && beside >= 0 && below % stride_h == 0 && beside % stride_w == 0;
    if (!is_there || below / stride_h >= tile_rows || beside / stride_w >= tile_columns) return -1;
    return below / stride_h * tile_columns + beside / stride_w;
}

/* Rows, or columns, of x that the windows of so many places cover. */
HK_INLINE int hk_pattern_reads(int places, int stride, int kernel, int dilation) { return (places - 1) * stride + (kernel - 1) * dilation + 1; }

/* Of a tile, where only `room` places fit into the registers: vectors may be narrower than those that it was chosen for. */
HK_INLINE int hk_pattern_columns(hk_patterns p, int room) { return hk_least(hk_most(1, p.tile_columns), room); }
HK_INLINE int hk_pattern_rows(hk_patterns p, int room) { return hk_least(hk_most(1, p.tile_rows), hk_most(1, room / hk_pattern_columns(p, room))); }
#endif
