/* A whole file in memory, to be read. */
#ifndef FILE_H
#define FILE_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const uint8_t *content;
    size_t bytes;
} file;

/* Fails for what is not there, is no regular file, is empty, or is larger than 1 GiB. */
file file_map(const char *path);

void file_unmap(file mapped);

#endif
