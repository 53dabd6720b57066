/* What the runner says: one JSON document between two marks, on the standard output that was there at the start. */
#ifndef REPLY_H
#define REPLY_H

#include <stdio.h>

#define REPLY_SCHEMA 1

/* Keeps standard output for the document alone: what is printed there from now on goes to standard error. */
void reply_open(void);

/* The document begun, for a request of this nonce and mode: `fail` says its error in one from now on. */
FILE *reply_begin(const char *nonce, const char *mode);

/* Says the document and ends the process. */
_Noreturn void reply_end(void);

void put_string(FILE *to, const char *text);

/* As JSON: seventeen digits give any double back. */
void put_number(FILE *to, double value);

#endif
