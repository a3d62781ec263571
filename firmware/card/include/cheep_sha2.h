/* SPDX-License-Identifier: MIT */
/* SHA-256 and SHA-512 (FIPS 180-4), for checking images: small rather than fast, no tables but the constants. */
#ifndef CHEEP_SHA2_H
#define CHEEP_SHA2_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CHEEP_SHA256_BYTES 32
#define CHEEP_SHA512_BYTES 64

typedef struct {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[64];
} cheep_sha256;

void cheep_sha256_init(cheep_sha256 *s);
void cheep_sha256_add(cheep_sha256 *s, const void *data, size_t n);
/* The state is of no use afterwards. */
void cheep_sha256_end(cheep_sha256 *s, uint8_t digest[CHEEP_SHA256_BYTES]);

typedef struct {
    uint64_t state[8];
    uint64_t bytes; /* 2^61 bytes at most, of the 2^125 of the standard */
    uint8_t block[128];
} cheep_sha512;

void cheep_sha512_init(cheep_sha512 *s);
void cheep_sha512_add(cheep_sha512 *s, const void *data, size_t n);
void cheep_sha512_end(cheep_sha512 *s, uint8_t digest[CHEEP_SHA512_BYTES]);

#ifdef __cplusplus
}
#endif
#endif
