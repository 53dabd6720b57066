/* Reads one JSON text (RFC 8259), strictly and within limits. What is wrong with it ends the process by `fail`. */
#ifndef JSON_H
#define JSON_H

#include <stddef.h>

#define JSON_MAX_BYTES (1u << 20)
#define JSON_MAX_VALUES (1u << 15)
#define JSON_MAX_DEPTH 32

typedef enum { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT } json_kind;

/* A value; those inside it follow it directly. An object's members are a string and a value each. */
typedef struct json {
    json_kind kind;
    unsigned count; /* of an array's items or an object's members */
    unsigned span;  /* values it takes in all, itself too: `value + value->span` is the next one */
    double number;
    const char *text; /* of a string: decoded, ends in NUL and holds none */
} json;

/* `values` has room for JSON_MAX_VALUES; the first is the whole. `text` is `size` bytes; its strings are decoded in place. `name` is
   what messages call it. */
void json_read(const char *name, char *text, size_t size, json *values);

/* The member of that name; NULL where the object has none. */
const json *json_find(const json *object, const char *name);

/* The member of that name and kind. */
const json *json_member(const json *object, const char *name, json_kind kind);

const char *json_string(const json *object, const char *name);
int json_bool(const json *object, const char *name);
double json_number(const json *object, const char *name);

/* A whole number of at least `least` and at most 2^31 - 1. */
int json_int(const json *object, const char *name, int least);

/* Item `index` of an array, which is of that kind. */
const json *json_item(const json *array, unsigned index, json_kind kind);

#endif
