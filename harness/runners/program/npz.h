/* Arrays in files as numpy.savez writes them: a zip archive of npy files, stored, little-endian. */
#ifndef NPZ_H
#define NPZ_H

#include <stddef.h>
#include <stdint.h>

#include "model.h"

#define NPZ_MAX_RANK 16
#define NPZ_MAX_BYTES ((size_t)1 << 30)
#define NPZ_MAX_ARRAYS 1000

typedef struct {
    model_type type;
    int rank;
    int64_t shape[NPZ_MAX_RANK];
    const uint8_t *data; /* C order, in the file it was read from: not aligned */
    size_t bytes;
} npz_array;

size_t npz_item_bytes(model_type type);
const char *npz_type_name(model_type type); /* `<f4` */

/* in0, in1, ... of a file's content, which must hold exactly `count` arrays. What is wrong with it ends the process by `fail`. */
void npz_read(const uint8_t *content, size_t size, const char *path, npz_array *arrays, int count);

/* Writes out0, out1, ...; the size of the file. */
size_t npz_write(const char *path, const npz_array *arrays, int count);

#endif
