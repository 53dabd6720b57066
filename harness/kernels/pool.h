/* Greatest value and mean of each window. Only what lies within the image counts; for a mean, if it says so, the padding too. */
#include "share.h"

typedef struct {
    int batch, height, width, channels, rows, columns, x_height, x_width, y_height, y_width; /* the last four: in memory, as in hk_shape */
    int kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, top, left;
} hk_pool;

/* The window's places from `first` to before `end` that lie on an image of `size`, where its place 0 is at `at`. */
typedef struct {
    int first, end;
} hk_range;
HK_INLINE hk_range hk_within(int at, int size, int kernel, int dilation) {
    return (hk_range){at < 0 ? hk_parts(-at, dilation) : 0, hk_least(kernel, hk_parts(size - at, dilation))};
}

/* Channels whose results stay in registers while the window is gone through. */
enum { HK_POOL_CHANNELS = 4 * HK_BLOCK };

/* NAME: of every window, starting from START, with JOIN for each value b, the END of a[c]. */
#define HK_POOL(NAME, TYPE, START, JOIN, END)                                                                          \
    HK_INLINE void NAME##_block(const TYPE *x, ptrdiff_t at, TYPE *y, hk_pool s, hk_range rows, hk_range columns, int count, int width) { \
        TYPE a[HK_POOL_CHANNELS];                                                                                      \
        (void)count;                                                                                                   \
        for (int c = 0; c < width; c++) a[c] = START;                                                                  \
        for (int i = rows.first; i < rows.end; i++)                                                                    \
            for (int j = columns.first; j < columns.end; j++) {                                                        \
                const TYPE *from = x + (at + ((ptrdiff_t)(i * s.dilation_h) * s.x_width + j * s.dilation_w) * s.channels); \
                for (int c = 0; c < width; c++) {                                                                      \
                    const TYPE b = from[c];                                                                            \
                    a[c] = JOIN;                                                                                       \
                }                                                                                                      \
            }                                                                                                          \
        for (int c = 0; c < width; c++) y[c] = END;                                                                    \
    }                                                                                                                  \
    HK_INLINE void NAME(const TYPE *x, TYPE *y, hk_pool s, bool counts_padding, hk_share share) {                      \
        for (int line = hk_first(share, s.batch * s.rows); line < hk_end(share, s.batch * s.rows); line++) {           \
            const int n = line / s.rows, row = line % s.rows, top = row * s.stride_h - s.top;                          \
            const hk_range rows = hk_within(top, s.height, s.kernel_h, s.dilation_h);                                  \
            TYPE *to = y + ((size_t)n * (size_t)s.y_height + (size_t)row) * (size_t)s.y_width * (size_t)s.channels;    \
            for (int column = 0; column < s.columns; column++, to += s.channels) {                                     \
                const int left = column * s.stride_w - s.left;                                                         \
                const hk_range columns = hk_within(left, s.width, s.kernel_w, s.dilation_w);                           \
                const ptrdiff_t at = (((ptrdiff_t)n * s.x_height + top) * s.x_width + left) * s.channels;              \
                const int seen = hk_most(0, rows.end - rows.first) * hk_most(0, columns.end - columns.first);          \
                const int count = counts_padding ? s.kernel_h * s.kernel_w : seen;                                     \
                int c = 0;                                                                                             \
                for (; c + HK_POOL_CHANNELS <= s.channels; c += HK_POOL_CHANNELS)                                      \
                    NAME##_block(x + c, at, to + c, s, rows, columns, count, HK_POOL_CHANNELS);                         \
                if (c < s.channels) NAME##_block(x + c, at, to + c, s, rows, columns, count, s.channels - c);           \
            }                                                                                                          \
        }                                                                                                              \
    }
HK_POOL(hk_f32_max_pool, float, -INFINITY, a[c] < b ? b : a[c], a[c])
HK_POOL(hk_s8_max_pool, int8_t, INT8_MIN, a[c] < b ? b : a[c], a[c])
HK_POOL(hk_u8_max_pool, uint8_t, 0, a[c] < b ? b : a[c], a[c])
HK_POOL(hk_f32_mean_pool, float, 0, a[c] + b, a[c] / (float)count)
