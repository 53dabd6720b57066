/* x [outer, count, inner] -> y [outer, inner]. Sums of float32 are kept in double where they are long: in any order they are then the same. */
#include "vector.h"

#define HK_REDUCE(NAME, TYPE, WIDE, JOIN, END)                                                                 \
    HK_INLINE void NAME##_block(const TYPE *x, TYPE *y, int count, int inner, int width) {                     \
        WIDE a[HK_BLOCK];                                                                                      \
        for (int i = 0; i < width; i++) a[i] = x[i];                                                           \
        for (int k = 1; k < count; k++)                                                                        \
            for (int i = 0; i < width; i++) {                                                                  \
                const WIDE b = x[(size_t)k * (size_t)inner + (size_t)i];                                       \
                a[i] = JOIN;                                                                                   \
            }                                                                                                  \
        for (int i = 0; i < width; i++) y[i] = (TYPE)(END);                                                    \
    }                                                                                                          \
    HK_INLINE void NAME(const TYPE *x, TYPE *y, int outer, int count, int inner) {                             \
        for (int o = 0; o < outer; o++, x += (size_t)count * (size_t)inner, y += inner) {                      \
            int i = 0;                                                                                         \
            for (; i + HK_BLOCK <= inner; i += HK_BLOCK) NAME##_block(x + i, y + i, count, inner, HK_BLOCK);   \
            if (i < inner) NAME##_block(x + i, y + i, count, inner, inner - i);                                \
        }                                                                                                      \
    }
HK_REDUCE(hk_f32_sum, float, double, a[i] + b, a[i])
HK_REDUCE(hk_f32_mean, float, double, a[i] + b, a[i] / count)
HK_REDUCE(hk_f32_max, float, float, a[i] < b ? b : a[i], a[i])
HK_REDUCE(hk_f32_min, float, float, b < a[i] ? b : a[i], a[i])
HK_REDUCE(hk_f32_prod, float, double, a[i] * b, a[i])
HK_REDUCE(hk_s64_sum, int64_t, int64_t, a[i] + b, a[i])
HK_REDUCE(hk_s64_max, int64_t, int64_t, a[i] < b ? b : a[i], a[i])
HK_REDUCE(hk_s64_min, int64_t, int64_t, b < a[i] ? b : a[i], a[i])
HK_REDUCE(hk_s64_prod, int64_t, int64_t, a[i] * b, a[i])
HK_REDUCE(hk_s32_sum, int32_t, int32_t, a[i] + b, a[i])
HK_REDUCE(hk_s32_max, int32_t, int32_t, a[i] < b ? b : a[i], a[i])
HK_REDUCE(hk_s32_min, int32_t, int32_t, b < a[i] ? b : a[i], a[i])
HK_REDUCE(hk_s32_prod, int32_t, int32_t, a[i] * b, a[i])
