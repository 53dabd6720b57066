#include "npz.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fail.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "arrays are read as they lie in the file: little-endian"
#endif

static const struct {
    const char *name;
    size_t bytes;
} TYPES[] = {
    [MODEL_F32] = {"<f4", 4}, [MODEL_I8] = {"|i1", 1},  [MODEL_U8] = {"|u1", 1},  [MODEL_I16] = {"<i2", 2},
    [MODEL_U16] = {"<u2", 2}, [MODEL_I32] = {"<i4", 4}, [MODEL_I64] = {"<i8", 8}, [MODEL_BOOL] = {"|b1", 1},
};

size_t npz_item_bytes(model_type type) {
    return TYPES[type].bytes;
}

const char *npz_type_name(model_type type) {
    return TYPES[type].name;
}

/* Of what gave `crc` (0: nothing) and these bytes after it. */
static uint32_t crc32(uint32_t crc, const uint8_t *data, size_t size) {
    static uint32_t table[256];
    if (!table[1])
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int bit = 0; bit < 8; bit++) c = c & 1 ? 0xEDB88320u ^ c >> 1 : c >> 1;
            table[i] = c;
        }
    crc = ~crc;
    for (size_t i = 0; i < size; i++) crc = table[(crc ^ data[i]) & 0xFF] ^ crc >> 8;
    return ~crc;
}

/* Little-endian fields at any address. */
static uint32_t get16(const uint8_t *at) {
    return at[0] | (uint32_t)at[1] << 8;
}

static uint32_t get32(const uint8_t *at) {
    return get16(at) | get16(at + 2) << 16;
}

/* A dictionary as numpy writes it: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), } */
typedef struct {
    const uint8_t *at, *end;
    const char *name; /* of the array, for messages */
} header;

static _Noreturn void wrong(const char *name, const char *what) {
    fail("ValueError", "%s: %s", name, what);
}

static void skip_space(header *h) {
    while (h->at < h->end && (*h->at == ' ' || *h->at == '\n')) h->at++;
}

static int take(header *h, const char *word) {
    size_t length = strlen(word);
    skip_space(h);
    if ((size_t)(h->end - h->at) < length || memcmp(h->at, word, length) != 0) return 0;
    h->at += length;
    return 1;
}

static void read_shape(header *h, npz_array *array) {
    if (!take(h, "(")) wrong(h->name, "its header has no shape");
    for (array->rank = 0; !take(h, ")"); array->rank++) {
        if (array->rank == NPZ_MAX_RANK) wrong(h->name, "it has too many dimensions");
        skip_space(h);
        const uint8_t *begin = h->at;
        int64_t size = 0;
        for (; h->at < h->end && *h->at >= '0' && *h->at <= '9'; h->at++) {
            size = 10 * size + (*h->at - '0');
            if (size > (int64_t)NPZ_MAX_BYTES) wrong(h->name, "it is larger than 1 GiB");
        }
        if (h->at == begin) wrong(h->name, "its shape is not a tuple of numbers");
        array->shape[array->rank] = size;
        if (!take(h, ",") && !(h->at < h->end && *h->at == ')')) wrong(h->name, "its shape is not a tuple of numbers");
    }
}

static void read_type(header *h, npz_array *array) {
    for (size_t type = 0; type < sizeof TYPES / sizeof *TYPES; type++) {
        char quoted[8];
        snprintf(quoted, sizeof quoted, "'%s'", TYPES[type].name);
        if (take(h, quoted)) {
            array->type = (model_type)type;
            return;
        }
    }
    skip_space(h);
    int length = 0;
    while (length < 16 && h->at + length < h->end && h->at[length] != ',') length++;
    fail("ValueError", "%s: arrays of type %.*s are not read here", h->name, length, (const char *)h->at);
}

static void read_header(header *h, npz_array *array) {
    int has_type = 0, has_order = 0, has_shape = 0;
    if (!take(h, "{")) wrong(h->name, "its header is not a dictionary");
    while (!take(h, "}")) {
        if (!has_type && take(h, "'descr':")) read_type(h, array), has_type = 1;
        else if (!has_shape && take(h, "'shape':")) read_shape(h, array), has_shape = 1;
        else if (!has_order && take(h, "'fortran_order':")) {
            if (!take(h, "False")) wrong(h->name, "it is not in C order");
            has_order = 1;
        } else wrong(h->name, "its header says something unknown");
        take(h, ",");
    }
    skip_space(h);
    if (!has_type || !has_order || !has_shape || h->at != h->end) wrong(h->name, "its header is not whole");
}

static void read_npy(const uint8_t *content, size_t size, const char *name, npz_array *array) {
    if (size < 12 || memcmp(content, "\x93NUMPY", 6) != 0) wrong(name, "not an npy file");
    int version = content[6];
    if (version < 1 || version > 3 || content[7] != 0) wrong(name, "an npy file of an unknown version");
    size_t start = version == 1 ? 10 : 12;
    size_t length = version == 1 ? get16(content + 8) : get32(content + 8);
    if (length > size - start) wrong(name, "its header is cut off");
    header h = {content + start, content + start + length, name};
    read_header(&h, array);
    array->data = content + start + length;
    array->bytes = npz_item_bytes(array->type);
    for (int axis = 0; axis < array->rank; axis++)
        if (__builtin_mul_overflow(array->bytes, (size_t)array->shape[axis], &array->bytes)) wrong(name, "it is larger than 1 GiB");
    if (array->bytes != size - start - length) wrong(name, "its shape and its size do not agree");
}

/* The end record is last, but for a comment of up to 65,535 bytes. */
static const uint8_t *end_record(const uint8_t *content, size_t size) {
    for (size_t back = 22; back <= size && back <= 22 + 0xFFFF; back++) {
        const uint8_t *at = content + size - back;
        if (get32(at) == 0x06054B50 && get16(at + 20) == back - 22) return at;
    }
    return NULL;
}

/* The entry of an archive that a central directory's record describes, its content checked. */
static const uint8_t *entry_content(const uint8_t *content, size_t size, const uint8_t *record, const char *name) {
    size_t bytes = get32(record + 24), offset = get32(record + 42);
    if (get16(record + 8) & 1 || get16(record + 10) != 0 || get32(record + 20) != bytes) wrong(name, "it is compressed or encrypted");
    if (offset > size || size - offset < 30 || get32(content + offset) != 0x04034B50) wrong(name, "it is not where the archive says");
    size_t begin = offset + 30 + get16(content + offset + 26) + get16(content + offset + 28);
    if (begin > size || bytes > size - begin) wrong(name, "it is cut off");
    if (crc32(0, content + begin, bytes) != get32(record + 16)) wrong(name, "its checksum is another");
    return content + begin;
}

void npz_read(const uint8_t *content, size_t size, const char *path, npz_array *arrays, int count) {
    if (size > NPZ_MAX_BYTES) fail("ValueError", "%s: %zu bytes; the most is %zu", path, size, NPZ_MAX_BYTES);
    const uint8_t *end = end_record(content, size);
    if (!end) wrong(path, "not an npz file, or cut off");
    if (get16(end + 10) != (uint32_t)count) fail("ValueError", "%s: %u arrays for %d inputs", path, get16(end + 10), count);
    size_t at = get32(end + 16), limit = (size_t)(end - content);
    uint8_t seen[NPZ_MAX_ARRAYS] = {0};
    for (int i = 0; i < count; i++) {
        if (at > limit || limit - at < 46 || get32(content + at) != 0x02014B50) wrong(path, "its directory is cut off");
        const uint8_t *record = content + at;
        size_t length = get16(record + 28), whole = 46 + length + get16(record + 30) + get16(record + 32);
        if (whole > limit - at) wrong(path, "its directory is cut off");
        at += whole;
        int index = -1;
        char name[32];
        while (++index < count) {
            int wanted = snprintf(name, sizeof name, "in%d.npy", index);
            if ((size_t)wanted == length && memcmp(record + 46, name, length) == 0) break;
        }
        if (index == count || seen[index]) wrong(path, "an array has another name than in0, in1, ...");
        seen[index] = 1;
        read_npy(entry_content(content, size, record, name), get32(record + 24), name, &arrays[index]);
    }
}

static void put(FILE *file, uint32_t value, int bytes) {
    for (int i = 0; i < bytes; i++) putc((int)(value >> 8 * i & 0xFF), file);
}

/* Version 1 of the format: magic, length and dictionary, filled up to a multiple of 64 bytes. */
static size_t npy_header(char *to, size_t room, const npz_array *array) {
    size_t length = (size_t)snprintf(to, room, "\x93NUMPY\x01%c..{'descr': '%s', 'fortran_order': False, 'shape': (", 0, npz_type_name(array->type));
    for (int axis = 0; axis < array->rank; axis++)
        length += (size_t)snprintf(to + length, room - length, axis ? ", %lld" : "%lld", (long long)array->shape[axis]);
    length += (size_t)snprintf(to + length, room - length, array->rank == 1 ? ",), }" : "), }");
    while (length % 64 != 63) to[length++] = ' ';
    to[length++] = '\n';
    to[8] = (char)((length - 10) & 0xFF);
    to[9] = (char)((length - 10) >> 8);
    return length;
}

/* Of an entry, as its own header and the directory both say it. */
typedef struct {
    char name[32], npy[512];
    size_t npy_bytes, bytes;
    uint32_t crc, offset;
} entry;

/* Version needed, flags, method (stored), 1 January 1980, checksum, sizes, length of the name and of nothing more. */
static void put_common(FILE *file, const entry *e) {
    put(file, 20, 2), put(file, 0, 4), put(file, 0x00210000, 4);
    put(file, e->crc, 4), put(file, (uint32_t)e->bytes, 4), put(file, (uint32_t)e->bytes, 4);
    put(file, (uint32_t)strlen(e->name), 2), put(file, 0, 2);
}

size_t npz_write(const char *path, const npz_array *arrays, int count) {
    static entry entries[NPZ_MAX_ARRAYS];
    FILE *file = fopen(path, "wb");
    if (!file) fail("OSError", "%s: %s", path, strerror(errno));
    size_t at = 0;
    for (int i = 0; i < count; i++) {
        entry *e = &entries[i];
        snprintf(e->name, sizeof e->name, "out%d.npy", i);
        e->npy_bytes = npy_header(e->npy, sizeof e->npy, &arrays[i]);
        e->crc = crc32(crc32(0, (const uint8_t *)e->npy, e->npy_bytes), arrays[i].data, arrays[i].bytes);
        e->bytes = e->npy_bytes + arrays[i].bytes;
        e->offset = (uint32_t)at;
        at += 30 + strlen(e->name) + e->bytes;
        if (at > NPZ_MAX_BYTES) fail("ValueError", "%s: the outputs are larger than %zu bytes", path, NPZ_MAX_BYTES);
        put(file, 0x04034B50, 4), put_common(file, e), fputs(e->name, file);
        fwrite(e->npy, 1, e->npy_bytes, file), fwrite(arrays[i].data, 1, arrays[i].bytes, file);
    }
    size_t directory = at;
    for (int i = 0; i < count; i++) {
        const entry *e = &entries[i];
        put(file, 0x02014B50, 4), put(file, 20, 2), put_common(file, e);
        put(file, 0, 4), put(file, 0, 2), put(file, 0, 4), put(file, e->offset, 4), fputs(e->name, file);
        at += 46 + strlen(e->name);
    }
    put(file, 0x06054B50, 4), put(file, 0, 4), put(file, (uint32_t)count, 2), put(file, (uint32_t)count, 2);
    put(file, (uint32_t)(at - directory), 4), put(file, (uint32_t)directory, 4), put(file, 0, 2);
    int is_written = !ferror(file);
    if (fclose(file) != 0 || !is_written) fail("OSError", "%s: it could not be written: %s", path, strerror(errno));
    return at + 22;
}
