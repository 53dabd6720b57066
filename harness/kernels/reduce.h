/* x [outer, count, inner] -> y [outer, inner]. Sums of float32 are kept in double where they are long: in any order they are then the same. */
#include "vector.h"

#define HK_REDUCE(NAME, TYPE, WIDE, JOIN, END)                                                                 \
    HK_INLINE void NAME(const TYPE *x, TYPE *y, int outer, int count, int inner) {                             \
        for (int o = 0; o < outer; o++) {                                                                      \
            const TYPE *from = x + (size_t)o * (size_t)count * (size_t)inner;                                  \
            for (int i = 0; i < inner; i++) {                                                                  \
                WIDE a = from[i];                                                                              \
                for (int k = 1; k < count; k++) {                                                              \
                    const WIDE b = from[(size_t)k * (size_t)inner + (size_t)i];                                \
                    a = JOIN;                                                                                  \
                }                                                                                              \
                y[(size_t)o * (size_t)inner + (size_t)i] = (TYPE)(END);                                        \
            }                                                                                                  \
        }                                                                                                      \
    }
HK_REDUCE(hk_f32_sum, float, double, a + b, a)
HK_REDUCE(hk_f32_mean, float, double, a + b, a / count)
HK_REDUCE(hk_f32_max, float, float, a < b ? b : a, a)
HK_REDUCE(hk_f32_min, float, float, b < a ? b : a, a)
HK_REDUCE(hk_f32_prod, float, double, a * b, a)
HK_REDUCE(hk_s64_sum, int64_t, int64_t, a + b, a)
HK_REDUCE(hk_s64_max, int64_t, int64_t, a < b ? b : a, a)
HK_REDUCE(hk_s64_min, int64_t, int64_t, b < a ? b : a, a)
HK_REDUCE(hk_s64_prod, int64_t, int64_t, a * b, a)
HK_REDUCE(hk_s32_sum, int32_t, int32_t, a + b, a)
HK_REDUCE(hk_s32_max, int32_t, int32_t, a < b ? b : a, a)
HK_REDUCE(hk_s32_min, int32_t, int32_t, b < a ? b : a, a)
HK_REDUCE(hk_s32_prod, int32_t, int32_t, a * b, a)
