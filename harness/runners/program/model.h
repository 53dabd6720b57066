/* What a compiled network is to the runner that runs it: the generated C defines all of this, runner.c calls it. */
#ifndef MODEL_H
#define MODEL_H

#include <stddef.h>
#include <stdint.h>

typedef enum { MODEL_F32, MODEL_I8, MODEL_U8, MODEL_I16, MODEL_U16, MODEL_I32, MODEL_I64, MODEL_BOOL } model_type;

typedef struct {
    const char *name;
    model_type type;
    int rank;
    const int64_t *shape; /* the batch is part of it */
    float scale;          /* real = scale * (stored - zero_point); 0: not quantized */
    int32_t zero_point;
} model_tensor;

extern const model_tensor model_inputs[], model_outputs[];
extern const int model_input_count, model_output_count;

extern const size_t model_weights_bytes; /* size of the weights' file; 0: they are inside the program */
extern const size_t model_arena_bytes;   /* what the network works in */
extern const char model_facts[];         /* one JSON object: compiler version, ISA, kernels by layer, arena figures */

/* Called once. 0, or an errno. The weights stay mapped; the arena is 64-byte aligned, zeroed, and the model's alone. Layers that are large
   enough are shared among `threads`, the caller's and others that it starts, which may use the same CPUs; the results are the same. */
int model_init(const void *weights, void *arena, int threads);

/* One inference, finished when it returns. No malloc; buffers are 64-byte aligned and do not overlap. */
void model_run(const void *const inputs[], void *const outputs[]);

typedef struct {
    const char *name, *op;
} model_layer;

extern const int model_layer_count; /* 0: gives no profile */
extern const model_layer model_layers[];
extern int model_profiling; /* set before model_run: only then does it note how long each layer took */

/* Adds to ns[model_layer_count] how many nanoseconds each layer of the last model_run took. */
void model_profile(uint64_t *ns);

#endif
