/* Dense layers in float32 whose weights take few values: weight = step * (level - (2^bits - 1) / 2) + middle, for each output its own step
 * and middle. They are read as bits, not as floats, and four products are one look into a table (T-MAC, Wei et al. 2024, over floats).
 *
 * Bit j of four neighbouring inputs' levels, `code`, chooses among the 16 sums of their values, each added where its bit is set and taken
 * away where it is not: level - (2^bits - 1) / 2 = sum of 2^(j - 1) * (bit j ? 1 : -1). Codes are packed as
 * [part of HK_LUT_INPUTS inputs][block of 16 outputs][inputs / 8][bits][16], one byte for eight inputs, the first four in its lower half.
 * Values are finite: infinities that are added and taken away leave no number.
 */
#include "share.h"
#if HK_LOOKS_UP
#include <immintrin.h>
#endif

enum { HK_LUT_INPUTS = 512, HK_LUT_BLOCKS = 64 }; /* whose tables, 8 KB, and whose sums, 4 KB, are kept at a time */

/* table[code] for the 16 codes of four values. */
HK_INLINE void hk_lut_table(float *table, const float *values) {
    static const float signs[4][16] = {{-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1},
                                       {-1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1},
                                       {-1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1},
                                       {-1, -1, -1, -1, -1, -1, -1, -1, 1, 1, 1, 1, 1, 1, 1, 1}};
    for (int v = 0; v < 16; v += HK_LANES) {
        hk_floats sums = values[0] * hk_load(signs[0] + v, HK_LANES);
        HK_UNROLL
        for (int i = 1; i < 4; i++) sums += values[i] * hk_load(signs[i] + v, HK_LANES);
        hk_store(table + v, sums, HK_LANES);
    }
}

/* The sums that the codes of eight inputs choose for HK_LANES outputs, from `low` and the table after it. */
HK_INLINE hk_floats hk_lut(const float *low, const uint8_t *codes) {
    const float *high = low + 16;
#if HK_LOOKS_UP && HK_LANES == 16
    const __m512i code = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)codes));
    const __m512 first = _mm512_permutexvar_ps(code, _mm512_loadu_ps(low));
    return (hk_floats)_mm512_add_ps(first, _mm512_permutexvar_ps(_mm512_srli_epi32(code, 4), _mm512_loadu_ps(high)));
#elif HK_LOOKS_UP
    const __m256i code = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)codes)), next = _mm256_srli_epi32(code, 4);
#define HK_HALF(TABLE, CODE)                                                                                                       \
    _mm256_blendv_ps(_mm256_permutevar8x32_ps(_mm256_loadu_ps(TABLE), CODE), _mm256_permutevar8x32_ps(_mm256_loadu_ps(TABLE + 8), CODE), \
                     _mm256_castsi256_ps(_mm256_slli_epi32(CODE, 28)))
    return (hk_floats)_mm256_add_ps(HK_HALF(low, code), HK_HALF(high, next));
#undef HK_HALF
#else
    float found[HK_LANES];
    for (int lane = 0; lane < HK_LANES; lane++) found[lane] = low[codes[lane] & 15] + high[codes[lane] >> 4];
    return hk_load(found, HK_LANES);
#endif
}

/* sums [16] += those of one block over the tables of `eights` * 8 inputs; several chains, so that none waits for its last sum. */
HK_INLINE void hk_lut_block(float *sums, const float *tables, const uint8_t *codes, int eights, int bits) {
    const int chains = 4 / bits, width = bits * HK_PARTS;
    hk_floats planes[4 * HK_PARTS];
    HK_UNROLL
    for (int i = 0; i < chains * width; i++) planes[i] = (hk_floats){0};
#define HK_EIGHT(CHAIN)                                                                                                             \
    HK_UNROLL                                                                                                                       \
    for (int i = 0; i < width; i++)                                                                                                 \
        planes[CHAIN * width + i] += hk_lut(tables + 32 * (e + CHAIN), codes + ((e + CHAIN) * bits + i / HK_PARTS) * 16 + i % HK_PARTS * HK_LANES);
    int e = 0;
    for (; e + chains <= eights; e += chains) {
        HK_UNROLL
        for (int c = 0; c < chains; c++) HK_EIGHT(c)
    }
    for (; e < eights; e++) HK_EIGHT(0)
#undef HK_EIGHT
    HK_UNROLL
    for (int i = width; i < chains * width; i++) planes[i % width] += planes[i];
    HK_UNROLL
    for (int v = 0; v < HK_PARTS; v++) {
        hk_floats found = hk_load(sums + v * HK_LANES, HK_LANES);
        HK_UNROLL
        for (int j = 0; j < bits; j++) found += (0.5f * (float)(1 << j)) * planes[j * HK_PARTS + v];
        hk_store(sums + v * HK_LANES, found, HK_LANES);
    }
}

/* x [rows, depth] -> y [rows, outputs]; residual may be y, or NULL. */
HK_INLINE void hk_f32_lut_dense(const float *x, const uint8_t *codes, const float *step, const float *middle, const float *bias,
                                const float *residual, float *y, int rows, int depth, int outputs, int bits, float low, float high,
                                hk_share share) {
    const int blocks = hk_parts(outputs, HK_BLOCK), first = hk_first(share, blocks), end = hk_end(share, blocks);
    for (int r = 0; r < rows; r++, x += depth) {
        float total = 0;
        for (int k = 0; k < depth; k++) total += x[k];
        for (int group = first; group < end; group += HK_LUT_BLOCKS) {
            const int count = hk_least(HK_LUT_BLOCKS, end - group);
            float sums[HK_LUT_BLOCKS * HK_BLOCK] = {0}, tables[HK_LUT_INPUTS * 4];
            for (int k = 0; k < depth; k += HK_LUT_INPUTS) {
                const int inputs = hk_least(HK_LUT_INPUTS, depth - k), eights = hk_parts(inputs, 8);
                const uint8_t *with = codes + ((size_t)k / 8 * (size_t)blocks + (size_t)(group * eights)) * (size_t)bits * 16;
                for (int i = 0; i < eights * 8; i += 4) {
                    float values[4] = {0};
                    for (int j = 0; j < 4 && i + j < inputs; j++) values[j] = x[k + i + j];
                    hk_lut_table(tables + 4 * i, values);
                }
                for (int b = 0; b < count; b++)
                    hk_lut_block(sums + b * HK_BLOCK, tables, with + (size_t)(b * eights * bits) * 16, eights, bits);
            }
            for (int o = group * HK_BLOCK; o < hk_least(outputs, (group + count) * HK_BLOCK); o++) {
                const size_t at = (size_t)r * (size_t)outputs + (size_t)o;
                float found = step[o] * sums[o - group * HK_BLOCK] + (middle[o] * total + bias[o]);
                if (residual) found += residual[at];
                y[at] = found < low ? low : found > high ? high : found;
            }
        }
    }
}
