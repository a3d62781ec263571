/* SPDX-License-Identifier: MIT */
/* What a board proves about itself before it listens: made by integers, so it costs no flash. */
#ifndef CHEEP_SELFCHECK_H
#define CHEEP_SELFCHECK_H

#include <stddef.h>
#include <stdint.h>

#include "cheep_frontend.h"
#include "cheep_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CHEEP_SELFCHECK_COLUMNS 8

/* The next n samples of the test sound: a rising tone over noise of changing strength, by integers
 * only. *state starts at 0. */
void cheep_selfcheck_pcm(uint32_t *state, int16_t *pcm, size_t n);

/* Front end on the test sound: CRC-32 of its first CHEEP_SELFCHECK_COLUMNS int8 columns.
 * memory as for cheep_frontend_init. Leaves nothing behind in it. About 1.2 KB of stack. */
cheep_status cheep_selfcheck_frontend(const cheep_frontend_spec *spec, float inverse_scale, int32_t zero_point,
                                      void *memory, size_t memory_bytes, uint32_t *crc);

#ifdef __cplusplus
}
#endif
#endif
