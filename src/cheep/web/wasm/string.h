/* SPDX-License-Identifier: MIT */
/* The part of the C library that the core uses, for a WebAssembly build without one. */
#ifndef CHEEP_WASM_STRING_H
#define CHEEP_WASM_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);

#endif
