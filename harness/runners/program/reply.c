#include "reply.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"

#define FAILED 3
#define UNASKED 1 /* the exit status where no request says whom to answer */
#define MAX_MESSAGE 2000

static FILE *output, *document;
static const char *asked_nonce, *asked_mode;
static char *text;
static size_t text_bytes;

void reply_open(void) {
    int ours = dup(STDOUT_FILENO);
    output = ours < 0 ? NULL : fdopen(ours, "w");
    if (!output || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) fail("OSError", "standard output: %s", strerror(errno));
}

FILE *reply_begin(const char *nonce, const char *mode) {
    asked_nonce = nonce, asked_mode = mode;
    document = open_memstream(&text, &text_bytes);
    if (!document) fail("OSError", "no memory: %s", strerror(errno));
    return document;
}

static _Noreturn void say(int status, const char *rest, size_t bytes) {
    fprintf(output, "ASSAY-BEGIN %s\n{\"schema\":%d,\"nonce\":", asked_nonce, REPLY_SCHEMA);
    put_string(output, asked_nonce);
    fputs(",\"mode\":", output);
    put_string(output, asked_mode);
    fwrite(rest, 1, bytes, output);
    fprintf(output, "}\nASSAY-END %s\n", asked_nonce);
    fflush(stdout); /* what a network printed */
    /* Without the C library's own end: what a network registered there has no say any more. */
    _exit(fflush(output) == 0 ? status : UNASKED);
}

void reply_end(void) {
    if (fclose(document) != 0) fail("OSError", "no memory: %s", strerror(errno));
    say(0, text, text_bytes);
}

void fail(const char *kind, const char *format, ...) {
    char message[MAX_MESSAGE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    fprintf(stderr, "%s: %s\n", kind, message);
    if (!asked_mode) _exit(UNASKED);
    char *rest = NULL;
    size_t bytes = 0;
    FILE *error = open_memstream(&rest, &bytes);
    if (!error) _exit(UNASKED);
    fputs(",\"error\":{\"class\":", error);
    put_string(error, kind);
    fputs(",\"message\":", error);
    put_string(error, message);
    putc('}', error);
    if (fclose(error) != 0) _exit(UNASKED);
    say(FAILED, rest, bytes);
}

void put_string(FILE *to, const char *from) {
    putc('"', to);
    for (; *from; from++) {
        unsigned char c = (unsigned char)*from;
        if (c == '"' || c == '\\') fprintf(to, "\\%c", c);
        else if (c < 0x20) fprintf(to, "\\u%04x", c);
        else putc(c, to);
    }
    putc('"', to);
}

void put_number(FILE *to, double value) {
    fprintf(to, "%.17g", value);
}
