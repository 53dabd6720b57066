#include "network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"

#define ALIGNMENT 64

static void *inputs[NPZ_MAX_ARRAYS], *outputs[NPZ_MAX_ARRAYS];

static size_t tensor_bytes(const model_tensor *tensor) {
    size_t bytes = npz_item_bytes(tensor->type);
    for (int axis = 0; axis < tensor->rank; axis++) bytes *= (size_t)tensor->shape[axis];
    return bytes;
}

/* Zeroed, and never nothing. */
static void *memory(size_t bytes) {
    size_t whole = (bytes / ALIGNMENT + 1) * ALIGNMENT;
    void *found = aligned_alloc(ALIGNMENT, whole);
    if (!found) fail("MemoryError", "%zu bytes cannot be had", whole);
    return memset(found, 0, whole);
}

void network_open(const char *path, int threads) {
    if (model_input_count > NPZ_MAX_ARRAYS || model_output_count > NPZ_MAX_ARRAYS) fail("RuntimeError", "too many inputs or outputs");
    file weights = path ? file_map(path) : (file){NULL, 0};
    if (weights.bytes != model_weights_bytes)
        fail("RuntimeError", "the network wants %zu bytes of weights beside the program, there are %zu", model_weights_bytes, weights.bytes);
    for (int i = 0; i < model_input_count; i++) inputs[i] = memory(tensor_bytes(&model_inputs[i]));
    for (int i = 0; i < model_output_count; i++) outputs[i] = memory(tensor_bytes(&model_outputs[i]));
    int error = model_init(weights.content, memory(model_arena_bytes), threads);
    if (error) fail("RuntimeError", "the network cannot be opened on %d threads: %s", threads, strerror(error));
}

static void check_batch(const model_tensor *tensor, const char *what, int index, int batch) {
    if (tensor->rank < 1 || tensor->shape[0] != batch) fail("ValueError", "%s %d does not start with the batch %d", what, index, batch);
}

void network_check_batch(int batch) {
    for (int i = 0; i < model_input_count; i++) check_batch(&model_inputs[i], "input", i, batch);
    for (int i = 0; i < model_output_count; i++) check_batch(&model_outputs[i], "output", i, batch);
}

/* Fails unless the array has the input's shape from `axis` on, and a type it takes. */
static void check_array(const npz_array *array, int index, int axis) {
    const model_tensor *tensor = &model_inputs[index];
    if (array->rank != tensor->rank) fail("ValueError", "input %d has %d dimensions, %d were given", index, tensor->rank, array->rank);
    for (; axis < tensor->rank; axis++)
        if (array->shape[axis] != tensor->shape[axis])
            fail("ValueError", "input %d is %lld along axis %d, %lld was given", index, (long long)tensor->shape[axis], axis, (long long)array->shape[axis]);
    if (array->type != tensor->type && !(array->type == MODEL_F32 && tensor->scale > 0))
        fail("TypeError", "input %d is %s, %s was given", index, npz_type_name(tensor->type), npz_type_name(array->type));
}

/* round(real / scale) + zero_point, half to even, clipped to [least, most]; what is no number is the least. */
#define QUANTIZE(type, least, most)                                                                       \
    for (size_t i = 0; i < count; i++) {                                                                  \
        float real;                                                                                       \
        memcpy(&real, from + sizeof real * i, sizeof real);                                               \
        float level = rintf(real / tensor->scale) + (float)tensor->zero_point;                            \
        ((type *)to)[i] = level >= (float)(most) ? (most) : level > (float)(least) ? (type)level : (least); \
    }

static void quantize(const model_tensor *tensor, const uint8_t *from, void *to, size_t count) {
    switch (tensor->type) {
    case MODEL_I8: QUANTIZE(int8_t, INT8_MIN, INT8_MAX) break;
    case MODEL_U8: QUANTIZE(uint8_t, 0, UINT8_MAX) break;
    case MODEL_I16: QUANTIZE(int16_t, INT16_MIN, INT16_MAX) break;
    case MODEL_U16: QUANTIZE(uint16_t, 0, UINT16_MAX) break;
    case MODEL_I32: QUANTIZE(int32_t, INT32_MIN, INT32_MAX) break;
    default: fail("RuntimeError", "a quantized input cannot be %s", npz_type_name(tensor->type));
    }
}

/* `count` values, from the array's value `first` on, into the input from its value `place` on. */
static void store(const npz_array *array, size_t first, int index, size_t place, size_t count) {
    const model_tensor *tensor = &model_inputs[index];
    const uint8_t *from = array->data + first * npz_item_bytes(array->type);
    char *to = (char *)inputs[index] + place * npz_item_bytes(tensor->type);
    if (array->type == tensor->type) memcpy(to, from, count * npz_item_bytes(tensor->type));
    else quantize(tensor, from, to, count);
}

void network_set_rows(const npz_array *arrays, int64_t start) {
    for (int i = 0; i < model_input_count; i++) {
        check_array(&arrays[i], i, 1);
        int64_t batch = model_inputs[i].shape[0], rows = arrays[i].shape[0];
        size_t row = tensor_bytes(&model_inputs[i]) / npz_item_bytes(model_inputs[i].type) / (size_t)batch;
        for (int64_t place = 0; place < batch; place++) {
            int64_t from = start + place < rows ? start + place : rows - 1;
            store(&arrays[i], (size_t)from * row, i, (size_t)place * row, row);
        }
    }
}

void network_set(const npz_array *arrays) {
    for (int i = 0; i < model_input_count; i++) {
        check_array(&arrays[i], i, 0);
        store(&arrays[i], 0, i, 0, tensor_bytes(&model_inputs[i]) / npz_item_bytes(model_inputs[i].type));
    }
}

void network_run(void) {
    model_run((const void *const *)inputs, outputs);
}

npz_array network_output(int index) {
    const model_tensor *tensor = &model_outputs[index];
    npz_array array = {.type = tensor->type, .rank = tensor->rank, .data = outputs[index], .bytes = tensor_bytes(tensor)};
    if (tensor->rank > NPZ_MAX_RANK) fail("RuntimeError", "output %d has %d dimensions", index, tensor->rank);
    memcpy(array.shape, tensor->shape, sizeof *tensor->shape * (size_t)tensor->rank);
    return array;
}
