static const int64_t model_inputs_shape_0[] = {1, 3, 4, 4};
const model_tensor model_inputs[] = {
    {"x", MODEL_F32, 4, model_inputs_shape_0, 0.0f, 0},
};
const int model_input_count = 1;

static const int64_t model_outputs_shape_0[] = {1, 5};
const model_tensor model_outputs[] = {
    {"y", MODEL_F32, 2, model_outputs_shape_0, 0.0f, 0},
};
const int model_output_count = 1;

const size_t model_weights_bytes = 2048;
const size_t model_arena_bytes = 640;
const char model_facts[] = "{\"isa\": \"" HK_ISA "\", "
    "\042arena_bytes\042: 640, \042arena_live_bytes\042: 640, \042arena_naive_bytes\042: 896, \042integer_macs\042: 0, \042kernels\042: {\042hk_border\042: 1, \042hk_f32_conv\042: 2, \042hk_f32_mean\042: 1, \042loops\042: 3}, \042layers\042: [{\042bytes\042: 384, \042kernel\042: \042loops\042, \042macs\042: 0, \042name\042: \042Conv_0 (Transpose)\042, \042shared\042: false}, {\042bytes\042: 240, \042kernel\042: \042hk_border\042, \042macs\042: 0, \042name\042: \042Conv_0 (Pad)\042, \042shared\042: false}, {\042bytes\042: 2416, \042computed\042: 1.0, \042density\042: 1.0, \042format\042: \042dense\042, \042kernel\042: \042hk_f32_conv\042, \042macs\042: 1296, \042name\042: \042Conv_0\042, \042pattern\042: \042dense\042, \042shared\042: false}, {\042bytes\042: 384, \042kernel\042: \042loops\042, \042macs\042: 0, \042name\042: \042Conv_0 (Transpose)\042, \042shared\042: false}, {\042bytes\042: 576, \042kernel\042: \042loops\042, \042macs\042: 0, \042name\042: \042Relu_2\042, \042shared\042: false}, {\042bytes\042: 204, \042kernel\042: \042hk_f32_mean\042, \042macs\042: 0, \042name\042: \042GlobalAveragePool_3\042, \042shared\042: false}, {\042bytes\042: 288, \042computed\042: 1.0, \042density\042: 1.0, \042format\042: \042dense\042, \042kernel\042: \042hk_f32_conv\042, \042macs\042: 15, \042name\042: \042Gemm_5\042, \042pattern\042: \042dense\042, \042shared\042: false}], \042macs\042: 1311, \042weights_bytes\042: 2048}";

const int model_layer_count = 7;
const model_layer model_layers[] = {
    {"Conv_0 (Transpose)", "Transpose"},
    {"Conv_0 (Pad)", "Pad"},
    {"Conv_0", "Conv"},
    {"Conv_0 (Transpose)", "Transpose"},
    {"Relu_2", "Map"},
    {"GlobalAveragePool_3", "Reduce"},
    {"Gemm_5", "Dense"},
};
int model_profiling = 0;
static uint64_t begun, took[7];
static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
static inline void done(int layer) {
    if (!model_profiling) return;
    const uint64_t end = now();
    took[layer] = end - begun;
    begun = end;
}
void model_profile(uint64_t *ns) {
    for (int i = 0; i < model_layer_count; i++) ns[i] += took[i];
}

static const char *weights;
static char *arena;

/* Conv_0: Transpose -> float32[1, 4, 4, 3] */
HK_LAYER void layer_0(const float *restrict x0, float *restrict y) {
    const hk_share share = {0, 1};
    for (int i0 = hk_first(share, 4); i0 < hk_end(share, 4); i0++) {
        for (int i1 = 0; i1 < 4; i1++) {
            for (int i2 = 0; i2 < 3; i2++) {
                y[18 * i0 + 3 * i1 + i2] = x0[4 * i0 + i1 + 16 * i2];
            }
        }
    }
}

/* Conv_0: Pad -> float32[1, 6, 6, 3] */
HK_LAYER void layer_1(float *restrict y) {
    hk_border(y, 1, 432, 4, 48, 72, 1, 1, 12, 12, 0);
}

/* Conv_0: Conv -> float32[1, 4, 4, 3] */
HK_LAYER void layer_2(const float *restrict x0, const float *restrict x1, const float *restrict x2, float *restrict y) {
    const hk_share share = {0, 1};
    hk_f32_conv(x0, x1, x2, NULL, y,
        (hk_shape){.batch = 1, .height = 6, .width = 6, .channels = 3, .rows = 4, .columns = 4, .outputs = 3, .y_height = 4, .y_width = 4, .residual_height = 4, .residual_width = 4, .kernel_h = 3, .kernel_w = 3, .stride_h = 1, .stride_w = 1, .dilation_h = 1, .dilation_w = 1, .groups = 1}, -INFINITY, INFINITY, share);
}

/* Conv_0: Transpose -> float32[1, 3, 4, 4] */
HK_LAYER void layer_3(const float *restrict x0, float *restrict y) {
    const hk_share share = {0, 1};
    for (int i0 = hk_first(share, 3); i0 < hk_end(share, 3); i0++) {
        for (int i1 = 0; i1 < 16; i1++) {
            y[16 * i0 + i1] = x0[i0 + 3 * i1];
        }
    }
}

/* Relu_2: Map -> float32[1, 3, 4, 4] */
HK_LAYER void layer_4(const float *restrict x1, float *restrict y) {
    const hk_share share = {0, 1};
    const float *x0 = y;
    for (int i0 = hk_first(share, 48); i0 < hk_end(share, 48); i0++) {
        const float a0 = x0[i0];
        const float a1 = x1[i0];
        const float v2 = a0 + a1;
        const float v3 = v2 < 0.0f ? 0.0f : v2;
        y[i0] = v3;
    }
}

/* GlobalAveragePool_3: Reduce -> float32[1, 3, 1, 1] */
HK_LAYER void layer_5(const float *restrict x0, float *restrict y) {
    hk_f32_mean(x0, y, 3, 16, 1);
}

/* Gemm_5: Dense -> float32[1, 5] */
HK_LAYER void layer_6(const float *restrict x0, const float *restrict x1, const float *restrict x2, float *restrict y) {
    const hk_share share = {0, 1};
    hk_f32_conv(x0, x1, x2, NULL, y,
        (hk_shape){.batch = 1, .height = 1, .width = 1, .channels = 3, .rows = 1, .columns = 1, .outputs = 5, .y_height = 1, .y_width = 1, .residual_height = 1, .residual_width = 1, .kernel_h = 1, .kernel_w = 1, .stride_h = 1, .stride_w = 1, .dilation_h = 1, .dilation_w = 1, .groups = 1}, -INFINITY, INFINITY, share);
}

int model_init(const void *given_weights, void *given_arena, int threads) {
    (void)threads;
    weights = given_weights;
    arena = given_arena;
    return 0;
}

void model_run(const void *const inputs[], void *const outputs[]) {
    (void)inputs, (void)outputs;
    if (model_profiling) begun = now();
    layer_0((const float *)inputs[0], (float *)(arena + 0) + 21);
    done(0);
    layer_1((float *)(arena + 0));
    done(1);
    layer_2((float *)(arena + 0), (const float *)(weights + 0), (const float *)(weights + 1728), (float *)(arena + 448));
    done(2);
    layer_3((float *)(arena + 448), (float *)(arena + 0));
    done(3);
    layer_4((const float *)inputs[0], (float *)(arena + 0));
    done(4);
    layer_5((float *)(arena + 0), (float *)(arena + 192));
    done(5);
    layer_6((float *)(arena + 192), (const float *)(weights + 1792), (const float *)(weights + 1984), (float *)outputs[0]);
    done(6);
}
