/* SPDX-License-Identifier: MIT */
/* Text without printf: bounded, no heap, the same characters on every board (64-bit numbers and
 * fixed-point fractions included, which small C libraries leave out). */
#ifndef CHEEP_TEXT_H
#define CHEEP_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    char *data;     /* always ends with a zero once initialized */
    size_t capacity;
    size_t length;
    bool cut;       /* something did not fit */
} cheep_text;

/* capacity >= 1. */
void cheep_text_init(cheep_text *t, char *data, size_t capacity);
void cheep_text_char(cheep_text *t, char c);
void cheep_text_string(cheep_text *t, const char *s);
/* Decimal, padded with zeros to at least `width` digits. */
void cheep_text_unsigned(cheep_text *t, uint64_t value, unsigned width);
void cheep_text_signed(cheep_text *t, int64_t value);
/* "0x" and eight hexadecimal digits. */
void cheep_text_hex32(cheep_text *t, uint32_t value);
/* value / 10^digits with that many digits after the point, e.g. (-1234, 3) -> -1.234. */
void cheep_text_fixed(cheep_text *t, int64_t value, unsigned digits);
/* A JSON string with its quotes; control characters, quote and backslash are escaped, UTF-8 passes. */
void cheep_text_json_string(cheep_text *t, const char *s);

#ifdef __cplusplus
}
#endif
#endif
