/* Softmax and layer normalization. Rows are read in vectors; the last, where it is not whole, is filled up with what changes nothing. */
#include "scalars.h"

/* Lanes that are no element's are 0 in the end, but not as exp(-inf): results below the least normal float take a hundred cycles. */
HK_INLINE hk_floats hk_exponentials(const float *from, float *to, int lanes, float greatest) {
    const hk_floats found = hk_exps(hk_load_or(from, lanes, greatest) - greatest);
    hk_store(to, found, lanes);
    hk_floats kept = {0};
    memcpy(&kept, &found, (size_t)lanes * sizeof(float));
    return kept;
}

HK_INLINE void hk_f32_softmax_row(const float *x, float *y, int count, bool is_log) {
    const int rest = count % HK_LANES, whole = count - rest;
    hk_floats most = hk_load_or(x + whole, rest, -INFINITY);
    for (int k = 0; k < whole; k += HK_LANES) {
        const hk_floats part = hk_load(x + k, HK_LANES);
        most = hk_chosen(most < part, part, most);
    }
    const float greatest = hk_greatest(most);
    hk_floats totals = {0};
    for (int k = 0; k < whole; k += HK_LANES) totals += hk_exponentials(x + k, y + k, HK_LANES, greatest);
    if (rest) totals += hk_exponentials(x + whole, y + whole, rest, greatest);
    const float total = hk_sum(totals), scale = 1.0f / total, shift = is_log ? logf(total) : 0.0f;
    for (int k = 0; k < count; k++) y[k] = is_log ? x[k] - greatest - shift : y[k] * scale;
}

/* Over the middle axis of x [outer, count, inner]. y is not x. */
HK_INLINE void hk_f32_softmax(const float *x, float *y, int outer, int count, int inner, bool is_log) {
    if (inner == 1) {
        for (int o = 0; o < outer; o++, x += count, y += count) hk_f32_softmax_row(x, y, count, is_log);
        return;
    }
    for (int o = 0; o < outer; o++)
        for (int i = 0; i < inner; i++) {
            const float *from = x + (size_t)o * (size_t)count * (size_t)inner + (size_t)i;
            float *to = y + (size_t)o * (size_t)count * (size_t)inner + (size_t)i;
            const size_t step = (size_t)inner, end = (size_t)count * step;
            float greatest = from[0], total = 0;
            for (size_t k = step; k < end; k += step) greatest = greatest < from[k] ? from[k] : greatest;
            for (size_t k = 0; k < end; k += step) total += to[k] = hk_exp(from[k] - greatest);
            if (is_log) {
                const float shift = logf(total);
                for (size_t k = 0; k < end; k += step) to[k] = from[k] - greatest - shift;
            } else {
                const float scale = 1.0f / total;
                for (size_t k = 0; k < end; k += step) to[k] *= scale;
            }
        }
}

/* Rows of x [rows, count] to mean 0 and variance 1, then times gain [count] plus bias [count]. y may be x. What rounding took from the mean
 * is the mean of what is left after it, and is taken out by itself: together they might round as before. */
HK_INLINE void hk_f32_normalize(const float *x, const float *gain, const float *bias, float *y, int rows, int count, float epsilon) {
    const int rest = count % HK_LANES, whole = count - rest;
    for (int r = 0; r < rows; r++, x += count, y += count) {
        hk_floats sums = hk_load(x + whole, rest);
        for (int k = 0; k < whole; k += HK_LANES) sums += hk_load(x + k, HK_LANES);
        const float about = hk_sum(sums) / (float)count;
        const hk_floats last = hk_load_or(x + whole, rest, about) - about;
        hk_floats left = last, squares = last * last;
        for (int k = 0; k < whole; k += HK_LANES) {
            const hk_floats part = hk_load(x + k, HK_LANES) - about;
            left += part;
            squares += part * part;
        }
        const float missed = hk_sum(left) / (float)count;
        const float scale = 1.0f / sqrtf(hk_sum(squares) / (float)count - missed * missed + epsilon);
        for (int k = 0; k < count; k++) y[k] = (x[k] - about - missed) * scale * gain[k] + bias[k];
    }
}
