/* Four neighbouring values of an image times four weights of each lane's output, exactly, in the HK_STEPS that the machine needs for them.
 *
 * Weights lie as [lane][4]. Machines that multiply bytes take all four at once, of one sign only: values are read with their highest bit
 * turned where they have the other (hk_turned). Others multiply in 16 bits, first values 0 and 2, then 1 and 3; or in 32, one by one.
 */
#ifndef HK_Q8_DOT_H
#define HK_Q8_DOT_H
#include "vector.h"

#if HK_LANES == 16 && defined(__AVX512VNNI__)
#include <immintrin.h>
#define HK_DOT_BYTES(SUMS, X, W) _mm512_dpbusd_epi32((__m512i)(SUMS), (__m512i)(X), (__m512i)(W))
#define HK_DOT_SIGNED 0
#elif HK_LANES == 8 && defined(__AVXVNNI__)
#include <immintrin.h>
#define HK_DOT_BYTES(SUMS, X, W) _mm256_dpbusd_avx_epi32((__m256i)(SUMS), (__m256i)(X), (__m256i)(W))
#define HK_DOT_SIGNED 0
#elif HK_LANES == 4 && defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#define HK_DOT_BYTES(SUMS, X, W) vdotq_s32((int32x4_t)(SUMS), (int8x16_t)(X), (int8x16_t)(W))
#define HK_DOT_SIGNED 1
#elif HK_LANES == 4 && defined(__ARM_NEON)
#include <arm_neon.h>
#elif HK_LANES == 16 && defined(__AVX512BW__)
#include <immintrin.h>
#define HK_DOT_SHORTS(X, W) _mm512_madd_epi16((__m512i)(X), (__m512i)(W))
#elif HK_LANES == 8 && defined(__AVX2__)
#include <immintrin.h>
#define HK_DOT_SHORTS(X, W) _mm256_madd_epi16((__m256i)(X), (__m256i)(W))
#elif HK_LANES == 4 && defined(__SSE2__)
#include <immintrin.h>
#define HK_DOT_SHORTS(X, W) _mm_madd_epi16((__m128i)(X), (__m128i)(W))
#endif

/* Sums of a tile; two vectors more are held here than by float32's kernels for each of its values and weights. */
#if defined(__ARM_NEON) && !defined(HK_DOT_BYTES) && HK_SUMS == 28
enum { HK_Q8_SUMS = 24 };
#else
enum { HK_Q8_SUMS = HK_SUMS };
#endif

/* Up to 4 bytes as one word, the rest zeros. */
HK_INLINE uint32_t hk_word(const uint8_t *from, int count) {
    uint32_t found = 0;
    memcpy(&found, from, (size_t)count);
    return found;
}

/* hk_turned: what is added to each value as it is read. hk_values, hk_weights: step `step` of four values, and of four weights of each lane.
 * hk_dot: sums[lane] += their products; `is_full`: some weight may be -128. */
#if defined(HK_DOT_BYTES)
enum { HK_STEPS = 1 };
typedef hk_ints hk_x4, hk_w4;

HK_INLINE int hk_turned(int is_signed) { return is_signed == HK_DOT_SIGNED ? 0 : is_signed ? 128 : -128; }

HK_INLINE hk_x4 hk_values(const uint8_t *from, int count, int is_signed, int step) {
    (void)step;
    const uint32_t word = hk_word(from, count);
    return (int32_t)(is_signed == HK_DOT_SIGNED ? word : word ^ 0x80808080u) - (hk_ints){0};
}

HK_INLINE hk_w4 hk_weights(const int8_t *from, int step) {
    (void)step;
    hk_ints found;
    memcpy(&found, from, sizeof found);
    return found;
}

HK_INLINE hk_ints hk_dot(hk_ints sums, hk_x4 x, hk_w4 w, int is_full) {
    (void)is_full;
    return (hk_ints)HK_DOT_BYTES(sums, x, w);
}
#elif HK_LANES == 4 && defined(__ARM_NEON)
enum { HK_STEPS = 1 };
typedef int8x16_t hk_x4, hk_w4; /* values or weights 0 and 1 of each lane, then 2 and 3 of each */

HK_INLINE int hk_turned(int is_signed) { return is_signed ? 0 : -128; }

HK_INLINE int8x16_t hk_halves(int8x16_t lanes) {
#if defined(__aarch64__)
    const uint8_t order[16] = {0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15};
    return vqtbl1q_s8(lanes, vld1q_u8(order));
#else
    const int32x4_t words = vreinterpretq_s32_s8(lanes);
    return vreinterpretq_s8_s16(vcombine_s16(vmovn_s32(words), vshrn_n_s32(words, 16)));
#endif
}

HK_INLINE hk_x4 hk_values(const uint8_t *from, int count, int is_signed, int step) {
    (void)step;
    const uint32_t word = hk_word(from, count);
    return hk_halves(vreinterpretq_s8_u32(vdupq_n_u32(is_signed ? word : word ^ 0x80808080u)));
}

HK_INLINE hk_w4 hk_weights(const int8_t *from, int step) {
    (void)step;
    return hk_halves(vld1q_s8(from));
}

/* 2 * 127 * 128 fits into 16 bits, 2 * 128 * 128 does not. */
HK_INLINE hk_ints hk_dot(hk_ints sums, hk_x4 x, hk_w4 w, int is_full) {
    const int16x8_t first = vmull_s8(vget_low_s8(x), vget_low_s8(w));
    if (!is_full) return (hk_ints)vpadalq_s16((int32x4_t)sums, vmlal_s8(first, vget_high_s8(x), vget_high_s8(w)));
    return (hk_ints)vpadalq_s16(vpadalq_s16((int32x4_t)sums, first), vmull_s8(vget_high_s8(x), vget_high_s8(w)));
}
#elif defined(HK_DOT_SHORTS)
enum { HK_STEPS = 2 };
typedef int16_t hk_shorts __attribute__((vector_size(HK_LANES * 4)));
typedef uint16_t hk_ushorts __attribute__((vector_size(HK_LANES * 4)));
typedef hk_shorts hk_x4, hk_w4;

HK_INLINE int hk_turned(int is_signed) { return (void)is_signed, 0; }

HK_INLINE hk_x4 hk_values(const uint8_t *from, int count, int is_signed, int step) {
    const hk_ints word = (int32_t)hk_word(from, count) - (hk_ints){0};
    if (!is_signed) return step ? (hk_x4)((hk_ushorts)word >> 8) : (hk_x4)word & 0x00ff;
    return step ? (hk_shorts)word >> 8 : (hk_shorts)word << 8 >> 8;
}

HK_INLINE hk_w4 hk_weights(const int8_t *from, int step) {
    hk_shorts found;
    memcpy(&found, from, sizeof found);
    return step ? found >> 8 : found << 8 >> 8;
}

HK_INLINE hk_ints hk_dot(hk_ints sums, hk_x4 x, hk_w4 w, int is_full) {
    (void)is_full;
    return sums + (hk_ints)HK_DOT_SHORTS(x, w);
}
#else
enum { HK_STEPS = 4 };
typedef int32_t hk_x4;
typedef hk_ints hk_w4;

HK_INLINE int hk_turned(int is_signed) { return (void)is_signed, 0; }

HK_INLINE hk_x4 hk_values(const uint8_t *from, int count, int is_signed, int step) {
    if (step >= count) return 0;
    return is_signed ? (int32_t)(int8_t)from[step] : (int32_t)from[step];
}

HK_INLINE hk_w4 hk_weights(const int8_t *from, int step) {
    int32_t found[HK_LANES];
    for (int lane = 0; lane < HK_LANES; lane++) found[lane] = from[4 * lane + step];
    return hk_load_ints(found);
}

HK_INLINE hk_ints hk_dot(hk_ints sums, hk_x4 x, hk_w4 w, int is_full) {
    (void)is_full;
    return sums + x * w;
}
#endif

/* hk_add_product: sums[lane] += x[lane] * factor[lane], of bytes in lanes of 32 bits. x86 multiplies 16 of these bits several times as fast
 * as all 32: of x, the other half is its sign or nothing, and of a factor, nothing. */
#if HK_LANES == 16 && defined(__AVX512VNNI__)
#define HK_ADD_SHORTS(SUMS, X, W) _mm512_dpwssd_epi32((__m512i)(SUMS), (__m512i)(X), (__m512i)(W))
#elif HK_LANES == 8 && defined(__AVXVNNI__)
#define HK_ADD_SHORTS(SUMS, X, W) _mm256_dpwssd_avx_epi32((__m256i)(SUMS), (__m256i)(X), (__m256i)(W))
#elif defined(HK_DOT_SHORTS)
#define HK_ADD_SHORTS(SUMS, X, W) ((SUMS) + (hk_ints)HK_DOT_SHORTS(X, W))
#endif
#if defined(HK_ADD_SHORTS)
HK_INLINE hk_ints hk_factor(const int8_t *from) { return hk_widened(from) & 0xffff; }
HK_INLINE hk_ints hk_add_product(hk_ints sums, hk_ints x, hk_ints factor) { return (hk_ints)HK_ADD_SHORTS(sums, x, factor); }
#else
HK_INLINE hk_ints hk_factor(const int8_t *from) { return hk_widened(from); }
HK_INLINE hk_ints hk_add_product(hk_ints sums, hk_ints x, hk_ints factor) { return sums + x * factor; }
#endif
#endif
