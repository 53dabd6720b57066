/* Greatest value and mean of each window. Only what lies within the image counts; for a mean, if it says so, the padding too. */
#include "share.h"

typedef struct {
    int batch, height, width, channels, rows, columns;
    int kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, top, left;
} hk_pool;

/* Where the channels of the window's place (i, j) are, or -1 on the padding. */
HK_INLINE ptrdiff_t hk_pool_at(hk_pool s, int line, int column, int i, int j) {
    const int n = line / s.rows, v = line % s.rows * s.stride_h - s.top + i * s.dilation_h, h = column * s.stride_w - s.left + j * s.dilation_w;
    if (v < 0 || h < 0 || v >= s.height || h >= s.width) return -1;
    return (((ptrdiff_t)n * s.height + v) * s.width + h) * s.channels;
}

#define HK_FOR_EACH_RESULT(S, SHARE)                                                          \
    const int first = hk_first(SHARE, (S).batch * (S).rows), end = hk_end(SHARE, (S).batch * (S).rows); \
    y += (size_t)first * (size_t)(S).columns * (size_t)(S).channels;                          \
    for (int line = first; line < end; line++)                                                \
        for (int column = 0; column < (S).columns; column++, y += (S).channels)
#define HK_FOR_EACH_PLACE(S)                    \
    for (int i = 0; i < (S).kernel_h; i++)      \
        for (int j = 0; j < (S).kernel_w; j++)

#define HK_MAX_POOL(NAME, TYPE, LOWEST)                                                   \
    HK_INLINE void NAME(const TYPE *x, TYPE *y, hk_pool s, hk_share share) {              \
        HK_FOR_EACH_RESULT(s, share) {                                                    \
            for (int c = 0; c < s.channels; c++) y[c] = LOWEST;                           \
            HK_FOR_EACH_PLACE(s) {                                                        \
                const ptrdiff_t at = hk_pool_at(s, line, column, i, j);                 \
                if (at < 0) continue;                                                     \
                for (int c = 0; c < s.channels; c++) y[c] = y[c] < x[at + c] ? x[at + c] : y[c]; \
            }                                                                             \
        }                                                                                 \
    }
HK_MAX_POOL(hk_f32_max_pool, float, -INFINITY)
HK_MAX_POOL(hk_s8_max_pool, int8_t, INT8_MIN)
HK_MAX_POOL(hk_u8_max_pool, uint8_t, 0)

HK_INLINE void hk_f32_mean_pool(const float *x, float *y, hk_pool s, bool counts_padding, hk_share share) {
    HK_FOR_EACH_RESULT(s, share) {
        int count = 0;
        for (int c = 0; c < s.channels; c++) y[c] = 0;
        HK_FOR_EACH_PLACE(s) {
            const ptrdiff_t at = hk_pool_at(s, line, column, i, j);
            count += counts_padding || at >= 0;
            if (at < 0) continue;
            for (int c = 0; c < s.channels; c++) y[c] += x[at + c];
        }
        for (int c = 0; c < s.channels; c++) y[c] /= (float)count;
    }
}
