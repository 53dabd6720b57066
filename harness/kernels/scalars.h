/* Functions of one float32 without branches or tables, so that loops over them become vector code. Polynomials are Chebyshev fits. */
#ifndef HK_SCALARS_H
#define HK_SCALARS_H
#include "vector.h"

HK_INLINE float hk_from_bits(uint32_t bits) {
    float found;
    memcpy(&found, &bits, sizeof found);
    return found;
}

/* 2^n times exp(r), |r| <= ln(2) / 2; within 2 ulp. 0 below -103.97, infinite above 88.73. */
HK_INLINE float hk_exp(float x) {
    const float within = x < -104.0f ? -104.0f : x > 89.0f ? 89.0f : x;
    const float n = rintf(within * 1.44269504f);
    const float r = (within - n * 0.693145752f) - n * 1.42860677e-6f;
    const float p = (((1.3933651e-3f * r + 8.3631799e-3f) * r + 4.1666467e-2f) * r + 0.16666576f) * r + 0.5f;
    const int32_t half = (int32_t)(n == n ? n : 0.0f) / 2, rest = (int32_t)(n == n ? n : 0.0f) - half;
    const float scale = hk_from_bits((uint32_t)(half + 127) << 23);
    return ((1.0f + (r + r * r * p)) * scale) * hk_from_bits((uint32_t)(rest + 127) << 23);
}

/* Of each lane: a loop of this length becomes one vector's code. */
HK_INLINE hk_floats hk_exps(hk_floats x) {
    float lanes[HK_LANES];
    memcpy(lanes, &x, sizeof lanes);
    for (int l = 0; l < HK_LANES; l++) lanes[l] = hk_exp(lanes[l]);
    memcpy(&x, lanes, sizeof lanes);
    return x;
}

HK_INLINE float hk_sigmoid(float x) { return 1.0f / (1.0f + hk_exp(-x)); }

/* x times a polynomial of x^2 near 0; else 1 - 2 / (exp(2 x) + 1), and its mirror image. */
HK_INLINE float hk_tanh(float x) {
    const float s = x * x, size = fabsf(x);
    const float p = ((((-5.66477515e-3f * s + 2.05956791e-2f) * s - 5.37226796e-2f) * s + 0.133311495f) * s - 0.333332628f) * s + 1.0f;
    const float far = 1.0f - 2.0f / (hk_exp(2.0f * size) + 1.0f);
    return size < 0.625f ? x * p : copysignf(far, x);
}

/* x times a polynomial of x^2 below 1; else 1 - exp(-x^2) times a polynomial of 1 / (1 + x / 2), and its mirror image. */
HK_INLINE float hk_erf(float x) {
    const float s = x * x, size = fabsf(x) < 4.2f ? fabsf(x) : 4.2f;
    const float near =
        (((((7.88249745e-05f * s - 0.000801885501f) * s + 0.00518931216f) * s - 0.0268543288f) * s + 0.112835974f) * s - 0.37612626f) * s + 1.12837911f;
    const float t = 1.0f / (1.0f + 0.5f * size);
    const float tail =
        (((((((-0.052694235f * t + 0.353402674f) * t - 0.921578109f) * t + 1.05324149f) * t - 0.432963818f) * t + 0.487761647f) * t + 0.222994909f) * t + 0.290335238f) * t - 0.000499900954f;
    const float far = 1.0f - tail * hk_exp(-size * size);
    return size < 1.0f ? x * near : x != x ? x : copysignf(far, x);
}

HK_INLINE float hk_softplus(float x) { return (x > 0.0f ? x : 0.0f) + log1pf(hk_exp(-fabsf(x))); }

/* Rounded to the nearest level, ties to even, within the type's limits. */
#define HK_QUANTIZE(TYPE, LOW, HIGH)                                                             \
    HK_INLINE TYPE##_t hk_quantize_##TYPE(float x, float scale, int32_t zero) {                  \
        const float level = rintf(x / scale) + (float)zero;                                      \
        return (TYPE##_t)(level < (float)(LOW) ? (float)(LOW) : level > (float)(HIGH) ? (float)(HIGH) : level); \
    }
HK_QUANTIZE(int8, -128, 127)
HK_QUANTIZE(uint8, 0, 255)
#endif
