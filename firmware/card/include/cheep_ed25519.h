/* SPDX-License-Identifier: MIT */
/* Ed25519 (RFC 8032), verification alone: nothing here is secret, so nothing runs in constant time.
 *
 * What is refused: a key that is no point of the curve, or not in its one canonical form; s >= L (a signature that
 * somebody has changed without the key); an R that differs in any bit from the canonical form of s B - k A. About 1 KB of
 * stack.
 */
#ifndef CHEEP_ED25519_H
#define CHEEP_ED25519_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CHEEP_ED25519_KEY_BYTES 32
#define CHEEP_ED25519_SIGNATURE_BYTES 64

bool cheep_ed25519_verify(const uint8_t key[CHEEP_ED25519_KEY_BYTES], const void *message, size_t n,
                          const uint8_t signature[CHEEP_ED25519_SIGNATURE_BYTES]);

#ifdef __cplusplus
}
#endif
#endif
