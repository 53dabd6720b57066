/* y [rows, columns] = a [rows, depth] times b [depth, columns], both made at run time: lanes are columns, four rows share what is read of b. */
#include "vector.h"

HK_INLINE void hk_f32_matmul_tile(const float *a, const float *b, float *y, int depth, int columns, int rows, int lanes) {
    hk_floats sums[4];
    for (int r = 0; r < rows; r++) sums[r] = (hk_floats){0};
    for (int k = 0; k < depth; k++) {
        const hk_floats factor = hk_load(b + (size_t)k * (size_t)columns, lanes);
        HK_UNROLL
        for (int r = 0; r < rows; r++) sums[r] += a[(size_t)r * (size_t)depth + (size_t)k] * factor;
    }
    for (int r = 0; r < rows; r++) hk_store(y + (size_t)r * (size_t)columns, sums[r], lanes);
}

HK_INLINE void hk_f32_matmul(const float *a, const float *b, float *y, int rows, int depth, int columns) {
    const int rest = columns % HK_LANES;
    for (int row = 0; row < rows; row += 4) {
        const float *from = a + (size_t)row * (size_t)depth;
        float *to = y + (size_t)row * (size_t)columns;
        int column = 0;
#define HK_TILE(LANES)                                                                                      \
    {                                                                                                       \
        if (rows - row >= 4) hk_f32_matmul_tile(from, b + column, to + column, depth, columns, 4, LANES);   \
        else hk_f32_matmul_tile(from, b + column, to + column, depth, columns, rows % 4, LANES);            \
    }
        for (; column + HK_LANES <= columns; column += HK_LANES) HK_TILE(HK_LANES)
        if (rest) HK_TILE(rest)
#undef HK_TILE
    }
}
