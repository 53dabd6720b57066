/* Images between channels last and regions: [places, channels] <-> [channels, elements]. */
#include "share.h"

/* Channels whose lines of the nearest cache are written or read in turns, even where all share one of its sets. */
enum { HK_TURNS = 8 };

/* Element i of each channel holds place numbers[i], or 0 if that is below 0. */
HK_INLINE void hk_to_regions(const float *x, const int32_t *numbers, float *y, int batch, int channels, int places, int elements,
                             hk_share share) {
    const int turns = hk_parts(channels, HK_TURNS);
    for (int turn = hk_first(share, batch * turns); turn < hk_end(share, batch * turns); turn++) {
        const int n = turn / turns, c = turn % turns * HK_TURNS, wide = hk_least(HK_TURNS, channels - c);
        const float *from = x + (size_t)n * (size_t)places * (size_t)channels + c;
        float *to = y + ((size_t)n * (size_t)channels + (size_t)c) * (size_t)elements;
        HK_ONE_BY_ONE
        for (int i = 0; i < elements; i++) {
            const float *place = from + (size_t)hk_most(numbers[i], 0) * (size_t)channels;
            HK_ONE_BY_ONE
            for (int j = 0; j < wide; j++) to[(size_t)j * (size_t)elements + (size_t)i] = numbers[i] < 0 ? 0.0f : place[j];
        }
    }
}

/* Place p lies at element numbers[p] of each channel. */
HK_INLINE void hk_from_regions(const float *x, const int32_t *numbers, float *y, int batch, int channels, int places, int elements,
                               hk_share share) {
    const int turns = hk_parts(channels, HK_TURNS);
    for (int turn = hk_first(share, batch * turns); turn < hk_end(share, batch * turns); turn++) {
        const int n = turn / turns, c = turn % turns * HK_TURNS, wide = hk_least(HK_TURNS, channels - c);
        const float *from = x + ((size_t)n * (size_t)channels + (size_t)c) * (size_t)elements;
        float *to = y + (size_t)n * (size_t)places * (size_t)channels + c;
        HK_ONE_BY_ONE
        for (int p = 0; p < places; p++, to += channels)
            HK_ONE_BY_ONE
            for (int j = 0; j < wide; j++) to[j] = from[(size_t)j * (size_t)elements + (size_t)numbers[p]];
    }
}
