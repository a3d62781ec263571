/* SPDX-License-Identifier: MIT */
/* What a board proves about itself before it listens: made by integers, so it costs no flash. */
#ifndef CHEEP_SELFCHECK_H
#define CHEEP_SELFCHECK_H

#include <stddef.h>
#include <stdint.h>

#include "cheep_detector.h"
#include "cheep_frontend.h"
#include "cheep_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CHEEP_SELFCHECK_COLUMNS 8

/* The next n samples of the test sound: a rising tone over noise of changing strength, by integers
 * only. *state starts at 0. */
void cheep_selfcheck_pcm(uint32_t *state, int16_t *pcm, size_t n);

/* Front end on the test sound: CRC-32 of its first CHEEP_SELFCHECK_COLUMNS columns, in single precision (least byte
 * first) and as int8. memory as for cheep_frontend_init. Leaves nothing behind in it. About 1.2 KB of stack. */
cheep_status cheep_selfcheck_frontend(const cheep_frontend_spec *spec, float inverse_scale, int32_t zero_point,
                                      void *memory, size_t memory_bytes, uint32_t *columns_crc, uint32_t *int8_crc);

/* Detector on rows in which one class after the other has the highest score and all others the lowest: CRC-32 of its
 * events, each as label, ended (a byte each), first and last window, sum (four bytes each, least first).
 * events: n_classes. The detector must be initialized anew behind it. */
uint32_t cheep_selfcheck_detector(cheep_detector *detector, cheep_event *events);

#ifdef __cplusplus
}
#endif
#endif
