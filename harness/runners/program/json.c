#include "json.h"

#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"

typedef struct {
    const char *name;
    char *at, *begin, *end;
    json *values;
    unsigned used;
} reader;

static const char *const KINDS[] = {"null", "false", "true", "number", "string", "array", "object"};

static _Noreturn void wrong(const reader *r, const char *what) {
    fail("ValueError", "%s: not JSON: %s at byte %td", r->name, what, r->at - r->begin);
}

static int peek(const reader *r) {
    return r->at < r->end ? (unsigned char)*r->at : -1;
}

static void skip_space(reader *r) {
    while (r->at < r->end && strchr(" \t\n\r", *r->at) && *r->at) r->at++;
}

static void expect(reader *r, const char *word) {
    size_t length = strlen(word);
    if ((size_t)(r->end - r->at) < length || memcmp(r->at, word, length) != 0) wrong(r, "an unknown word");
    r->at += length;
}

static json *add(reader *r, json_kind kind) {
    if (r->used == JSON_MAX_VALUES) wrong(r, "too many values");
    json *value = &r->values[r->used++];
    *value = (json){.kind = kind, .span = 1};
    return value;
}

static unsigned hex4(reader *r) {
    unsigned code = 0;
    for (int i = 0; i < 4; i++, r->at++) {
        int c = peek(r);
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) wrong(r, "a bad \\u escape");
        code = code << 4 | (unsigned)digit;
    }
    return code;
}

/* The character of a \u escape, or of two that are a surrogate pair. */
static uint32_t escaped_character(reader *r) {
    uint32_t code = hex4(r);
    if (code >= 0xD800 && code < 0xDC00) {
        if (peek(r) != '\\') wrong(r, "half a surrogate pair");
        r->at++;
        if (peek(r) != 'u') wrong(r, "half a surrogate pair");
        r->at++;
        uint32_t low = hex4(r);
        if (low < 0xDC00 || low > 0xDFFF) wrong(r, "half a surrogate pair");
        return 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    if (code >= 0xDC00 && code <= 0xDFFF) wrong(r, "half a surrogate pair");
    if (code == 0) wrong(r, "a NUL character");
    return code;
}

/* Never longer than the escape it was: \uXXXX is 6 bytes, and at most 3 here; a pair is 12, and 4. */
static char *put_utf8(char *to, uint32_t code) {
    if (code < 0x80) {
        *to++ = (char)code;
        return to;
    }
    int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char first[] = {0, 0xC0, 0xE0, 0xF0};
    *to++ = (char)(first[more] | code >> 6 * more);
    while (more-- > 0) *to++ = (char)(0x80 | (code >> 6 * more & 0x3F));
    return to;
}

static void read_string(reader *r) {
    json *value = add(r, JSON_STRING);
    char *to = ++r->at;
    value->text = to;
    for (;;) {
        int c = peek(r);
        if (c < 0x20) wrong(r, c < 0 ? "a string without end" : "a control character in a string");
        r->at++;
        if (c == '"') break;
        if (c != '\\') {
            *to++ = (char)c;
            continue;
        }
        static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
        int letter = peek(r);
        const char *known = letter > 0 ? strchr(letters, letter) : NULL;
        if (letter != 'u' && !known) wrong(r, "a bad escape");
        r->at++;
        if (known) *to++ = meant[known - letters];
        else to = put_utf8(to, escaped_character(r));
    }
    *to = '\0'; /* on the closing quote, or before it */
}

static void digits(reader *r) {
    if (peek(r) < '0' || peek(r) > '9') wrong(r, "a bad number");
    while (peek(r) >= '0' && peek(r) <= '9') r->at++;
}

static void read_number(reader *r) {
    char *begin = r->at, copy[64];
    if (peek(r) == '-') r->at++;
    if (peek(r) == '0') r->at++;
    else digits(r);
    if (peek(r) == '.') r->at++, digits(r);
    if (peek(r) == 'e' || peek(r) == 'E') {
        r->at++;
        if (peek(r) == '+' || peek(r) == '-') r->at++;
        digits(r);
    }
    size_t length = (size_t)(r->at - begin);
    if (length >= sizeof copy) wrong(r, "a number of too many digits");
    memcpy(copy, begin, length);
    copy[length] = '\0';
    double number = strtod(copy, NULL);
    if (!isfinite(number)) wrong(r, "a number that is too large");
    add(r, JSON_NUMBER)->number = number;
}

static void read_value(reader *r, int depth);

static void read_members(reader *r, int depth, json_kind kind) {
    char close = kind == JSON_OBJECT ? '}' : ']';
    json *value = add(r, kind);
    r->at++;
    skip_space(r);
    if (peek(r) == close) {
        r->at++;
        return;
    }
    for (;;) {
        if (kind == JSON_OBJECT) {
            if (peek(r) != '"') wrong(r, "a member without a name");
            read_string(r);
            skip_space(r);
            if (peek(r) != ':') wrong(r, "a name without `:`");
            r->at++;
        }
        read_value(r, depth + 1);
        value->count++;
        int c = peek(r);
        if (c != ',' && c != close) wrong(r, "a list without end");
        r->at++;
        if (c == close) break;
        skip_space(r);
    }
    value->span = (unsigned)(&r->values[r->used] - value);
}

/* A value and the space around it. */
static void read_value(reader *r, int depth) {
    skip_space(r);
    if (depth > JSON_MAX_DEPTH) wrong(r, "lists nested too deep");
    switch (peek(r)) {
    case '{': read_members(r, depth, JSON_OBJECT); break;
    case '[': read_members(r, depth, JSON_ARRAY); break;
    case '"': read_string(r); break;
    case 'n': expect(r, "null"), add(r, JSON_NULL); break;
    case 't': expect(r, "true"), add(r, JSON_TRUE); break;
    case 'f': expect(r, "false"), add(r, JSON_FALSE); break;
    default: read_number(r);
    }
    skip_space(r);
}

void json_read(const char *name, char *text, size_t size, json *values) {
    if (size > JSON_MAX_BYTES) fail("ValueError", "%s: %zu bytes of JSON; the most is %u", name, size, JSON_MAX_BYTES);
    reader r = {name, text, text, text + size, values, 0};
    read_value(&r, 0);
    if (r.at != r.end) wrong(&r, "more than one value");
}

const json *json_find(const json *object, const char *name) {
    const json *found = NULL, *member = object + 1;
    for (unsigned i = 0; i < object->count; i++, member += 1 + member[1].span) {
        if (strcmp(member->text, name) != 0) continue;
        if (found) fail("ValueError", "`%s` stands there twice", name);
        found = member + 1;
    }
    return found;
}

const json *json_member(const json *object, const char *name, json_kind kind) {
    const json *value = json_find(object, name);
    if (!value) fail("ValueError", "no `%s`", name);
    if (value->kind != kind) fail("ValueError", "`%s` is a %s, not a %s", name, KINDS[value->kind], KINDS[kind]);
    return value;
}

const char *json_string(const json *object, const char *name) {
    return json_member(object, name, JSON_STRING)->text;
}

int json_bool(const json *object, const char *name) {
    const json *value = json_find(object, name);
    return json_member(object, name, value && value->kind == JSON_TRUE ? JSON_TRUE : JSON_FALSE)->kind == JSON_TRUE;
}

double json_number(const json *object, const char *name) {
    return json_member(object, name, JSON_NUMBER)->number;
}

int json_int(const json *object, const char *name, int least) {
    double number = json_number(object, name);
    if (number != floor(number) || number < least || number > INT_MAX)
        fail("ValueError", "`%s` is %g, not a whole number of at least %d", name, number, least);
    return (int)number;
}

const json *json_item(const json *array, unsigned index, json_kind kind) {
    if (index >= array->count) fail("ValueError", "a list of %u has no item %u", array->count, index);
    const json *item = array + 1;
    while (index-- > 0) item += item->span;
    if (item->kind != kind) fail("ValueError", "an item is a %s, not a %s", KINDS[item->kind], KINDS[kind]);
    return item;
}
