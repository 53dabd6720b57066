/* Operators that move whole runs of bytes. */
#include "share.h"

/* x [batch, height, row bytes] amid `value`: `before` and `after` bytes in each row, `top` and `bottom` rows. */
HK_INLINE void hk_pad(const void *x, void *y, size_t batch, size_t height, size_t row, size_t top, size_t bottom, size_t before,
                      size_t after, int value, hk_share share) {
    const size_t wide = before + row + after, image = (top + height + bottom) * wide;
    const int total = (int)(batch * height), end = hk_end(share, total);
    for (int i = hk_first(share, total); i < end; i++) {
        const size_t n = (size_t)i / height, h = (size_t)i % height;
        char *to = (char *)y + n * image + (top + h) * wide + before;
        if (h == 0) memset(to - top * wide - before, value, top * wide + before);
        memcpy(to, (const char *)x + (size_t)i * row, row);
        memset(to + row, value, after + (h + 1 < height ? before : bottom * wide));
    }
}

/* What lies around images [batch, height, row bytes] in memory becomes `value`: `top` and `bottom` rows of `pitch` bytes, in each row the
 * `before` and `after` bytes beside it. Images begin at y, `image` bytes apart. */
HK_INLINE void hk_border(void *y, size_t batch, size_t image, size_t height, size_t row, size_t pitch, size_t top, size_t bottom,
                         size_t before, size_t after, int value) {
    for (size_t n = 0; n < batch; n++) {
        char *to = (char *)y + n * image;
        for (size_t h = 0; h < top + height + bottom; h++, to += pitch) {
            const bool is_beside = h >= top && h < top + height;
            memset(to, value, is_beside ? before : before + row + after);
            if (is_beside) memset(to + before + row, value, after);
        }
    }
}

/* Rows of x [outer, count, row bytes] by number; a number below 0 counts from the end, one beyond an end means that end. */
#define HK_GATHER(NAME, TYPE)                                                                                              \
    HK_INLINE void NAME(const void *x, const TYPE *places, void *y, size_t outer, TYPE count, size_t row, size_t taken) {  \
        for (size_t o = 0; o < outer; o++)                                                                                 \
            for (size_t i = 0; i < taken; i++) {                                                                           \
                const TYPE counted = places[i] < 0 ? places[i] + count : places[i];                                        \
                const TYPE place = counted < 0 ? 0 : counted >= count ? count - 1 : counted;                               \
                memcpy((char *)y + (o * taken + i) * row, (const char *)x + (o * (size_t)count + (size_t)place) * row, row); \
            }                                                                                                              \
    }
HK_GATHER(hk_gather_s64, int64_t)
HK_GATHER(hk_gather_s32, int32_t)
