/* SPDX-License-Identifier: MIT */
/* The checksum of models, lines and records. */
#ifndef CHEEP_CRC32_H
#define CHEEP_CRC32_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* CRC-32 (IEEE 802.3, as zlib) of n more bytes; start with crc = 0. 64 bytes of table, no state. */
uint32_t cheep_crc32(uint32_t crc, const void *data, size_t n);

#ifdef __cplusplus
}
#endif
#endif
