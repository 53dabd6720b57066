/* Softmax and layer normalization. */
#include "scalars.h"

/* Over the middle axis of x [outer, count, inner]. */
HK_INLINE void hk_f32_softmax(const float *x, float *y, int outer, int count, int inner, bool is_log) {
    for (int o = 0; o < outer; o++)
        for (int i = 0; i < inner; i++) {
            const float *from = x + (size_t)o * (size_t)count * (size_t)inner + (size_t)i;
            float *to = y + (size_t)o * (size_t)count * (size_t)inner + (size_t)i;
            const size_t step = (size_t)inner, end = (size_t)count * step;
            float greatest = from[0], total = 0;
            for (size_t k = step; k < end; k += step) greatest = greatest < from[k] ? from[k] : greatest;
            for (size_t k = 0; k < end; k += step) total += to[k] = hk_exp(from[k] - greatest);
            if (is_log) {
                const float shift = greatest + logf(total);
                for (size_t k = 0; k < end; k += step) to[k] = from[k] - shift;
            } else {
                const float scale = 1.0f / total;
                for (size_t k = 0; k < end; k += step) to[k] *= scale;
            }
        }
}

/* Rows of x [rows, count] to mean 0 and variance 1, then times gain [count] plus bias [count]. y may be x. */
HK_INLINE void hk_f32_normalize(const float *x, const float *gain, const float *bias, float *y, int rows, int count, float epsilon) {
    for (int r = 0; r < rows; r++, x += count, y += count) {
        double sum = 0, squares = 0;
        for (int k = 0; k < count; k++) sum += x[k];
        const float mean = (float)(sum / count);
        for (int k = 0; k < count; k++) squares += (double)(x[k] - mean) * (double)(x[k] - mean);
        const float scale = 1.0f / sqrtf((float)(squares / count) + epsilon);
        for (int k = 0; k < count; k++) y[k] = (x[k] - mean) * scale * gain[k] + bias[k];
    }
}
