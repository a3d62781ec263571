/* SPDX-License-Identifier: MIT */
/* AES-128-CMAC (NIST SP 800-38B, RFC 4493): proves that a message is of somebody who has the key, and unchanged.
 *
 * For a microcontroller without a data cache: the substitution is a table of 256 bytes, whose addresses depend on the key.
 * About 300 bytes of stack, no state, no heap. */
#ifndef CHEEP_CMAC_H
#define CHEEP_CMAC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CHEEP_CMAC_KEY_BYTES 16
#define CHEEP_CMAC_BYTES 16

/* The tag of n bytes (n may be 0, data then NULL). */
void cheep_cmac(const uint8_t key[CHEEP_CMAC_KEY_BYTES], const uint8_t *data, size_t n, uint8_t tag[CHEEP_CMAC_BYTES]);

#ifdef __cplusplus
}
#endif
#endif
