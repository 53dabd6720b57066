/* The one way to give up. */
#ifndef FAIL_H
#define FAIL_H

/* Says `kind: message` to who asked, and ends the process. Nothing is cleaned up: the kernel does. */
_Noreturn void fail(const char *kind, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
