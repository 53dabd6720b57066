/* A network by itself, and how a program of yours calls one:
       network weights.bin INPUT... > outputs
   Each INPUT holds one tensor and nothing else: its numbers in row-major order, as this machine stores them. The outputs are written
   the same way, one after the other. Without arguments it says what it wants. */
#if !defined(_POSIX_C_SOURCE) && !defined(_GNU_SOURCE)
#define _POSIX_C_SOURCE 200112L /* posix_memalign */
#endif
#include "network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    size_t bytes;
} types[] = {{"float32", 4}, {"int8", 1}, {"uint8", 1}, {"int16", 2}, {"uint16", 2}, {"int32", 4}, {"int64", 8}, {"bool", 1}};

static size_t tensor_bytes(const model_tensor *tensor) {
    size_t bytes = types[tensor->type].bytes;
    for (int axis = 0; axis < tensor->rank; axis++) bytes *= (size_t)tensor->shape[axis];
    return bytes;
}

static int fail(const char *what, const char *which) {
    fprintf(stderr, "network: %s %s\n", what, which);
    return 1;
}

/* Of 64-byte lines, zeroed; NULL if it cannot be had. */
static void *aligned(size_t bytes) {
    void *memory = NULL;
    if (posix_memalign(&memory, 64, bytes ? bytes : 1)) return NULL;
    return memset(memory, 0, bytes);
}

/* The whole of a file that is as long as it must be; NULL otherwise. */
static void *read_file(const char *path, size_t bytes) {
    void *content = aligned(bytes);
    FILE *file = fopen(path, "rb");
    int is_whole = content && file && fread(content, 1, bytes, file) == bytes && fgetc(file) == EOF;
    if (file) fclose(file);
    if (is_whole) return content;
    fprintf(stderr, "network: %s is not a file of %zu bytes that can be read\n", path, bytes);
    free(content);
    return NULL;
}

static void describe(const char *what, const model_tensor *tensor) {
    fprintf(stderr, "  %s %s: %s [", what, tensor->name, types[tensor->type].name);
    for (int axis = 0; axis < tensor->rank; axis++) fprintf(stderr, "%s%lld", axis ? ", " : "", (long long)tensor->shape[axis]);
    fprintf(stderr, "], %zu bytes\n", tensor_bytes(tensor));
}

static int usage(void) {
    fputs("usage: network weights.bin INPUT... > outputs\n", stderr);
    for (int i = 0; i < model_input_count; i++) describe("input", &model_inputs[i]);
    for (int i = 0; i < model_output_count; i++) describe("output", &model_outputs[i]);
    return 2;
}

int main(int count, char **words) {
    if (count != 2 + model_input_count) return usage();
    const void **inputs = calloc((size_t)model_input_count + 1, sizeof *inputs);
    void **outputs = calloc((size_t)model_output_count + 1, sizeof *outputs);
    void *arena = aligned(model_arena_bytes), *weights = read_file(words[1], model_weights_bytes);
    if (!inputs || !outputs || !arena) return fail("no memory for", "the network");
    if (!weights) return 1;
    for (int i = 0; i < model_input_count; i++)
        if (!(inputs[i] = read_file(words[2 + i], tensor_bytes(&model_inputs[i])))) return 1;
    for (int i = 0; i < model_output_count; i++)
        if (!(outputs[i] = aligned(tensor_bytes(&model_outputs[i])))) return fail("no memory for output", model_outputs[i].name);

    int error = model_init(weights, arena, 1);
    if (error) return fail("model_init:", strerror(error));
    model_run(inputs, outputs);

    for (int i = 0; i < model_output_count; i++)
        if (fwrite(outputs[i], 1, tensor_bytes(&model_outputs[i]), stdout) != tensor_bytes(&model_outputs[i])) return fail("cannot write output", model_outputs[i].name);
    return fflush(stdout) ? fail("cannot write", "the outputs") : 0;
}
