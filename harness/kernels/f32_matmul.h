/* y [rows, columns] = a [rows, depth] times b [depth, columns], both made at run time: lanes are columns, a tile's rows share what is read of b. */
#include "vector.h"

/* `rows` x `width` vectors, the last of which has `last` columns. */
HK_INLINE void hk_f32_matmul_tile(const float *a, const float *b, float *y, int depth, int columns, int rows, int width, int last) {
    hk_floats sums[HK_SUMS];
    HK_UNROLL
    for (int i = 0; i < rows * width; i++) sums[i] = (hk_floats){0};
    for (int k = 0; k < depth; k++) {
        hk_floats factors[HK_PARTS];
        HK_UNROLL
        for (int v = 0; v < width; v++)
            factors[v] = hk_load(b + (size_t)k * (size_t)columns + v * HK_LANES, v < width - 1 ? HK_LANES : last);
        HK_UNROLL
        for (int r = 0; r < rows; r++) {
            const float value = a[(size_t)r * (size_t)depth + (size_t)k];
            HK_UNROLL
            for (int v = 0; v < width; v++) sums[r * width + v] += value * factors[v];
        }
    }
    HK_UNROLL
    for (int r = 0; r < rows; r++)
        HK_UNROLL
        for (int v = 0; v < width; v++)
            hk_store(y + (size_t)r * (size_t)columns + v * HK_LANES, sums[r * width + v], v < width - 1 ? HK_LANES : last);
}

HK_INLINE void hk_f32_matmul(const float *a, const float *b, float *y, int rows, int depth, int columns) {
    const int most = hk_parts(rows, hk_parts(rows, hk_sums(HK_PARTS) / HK_PARTS)), rest_rows = rows % most;
    const int rest = columns % HK_BLOCK, width = hk_parts(rest, HK_LANES), last = rest - (width - 1) * HK_LANES;
    for (int column = 0; column < columns; column += HK_BLOCK) {
        int row = 0;
#define HK_TILE(ROWS)                                                                                                             \
    {                                                                                                                             \
        const float *from = a + (size_t)row * (size_t)depth;                                                                      \
        float *to = y + (size_t)row * (size_t)columns + column;                                                                   \
        if (columns - column >= HK_BLOCK) hk_f32_matmul_tile(from, b + column, to, depth, columns, ROWS, HK_PARTS, HK_LANES);     \
        else hk_f32_matmul_tile(from, b + column, to, depth, columns, ROWS, width, last);                                         \
    }
        for (; row + most <= rows; row += most) HK_TILE(most)
        if (rest_rows) HK_TILE(rest_rows)
#undef HK_TILE
    }
}
