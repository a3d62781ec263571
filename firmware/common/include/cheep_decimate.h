/* SPDX-License-Identifier: MIT */
/* From the microphone's rate to the model's: integers only, so it may run in an interrupt.
 *
 *   cheep_decimate8  sums 8 samples to 1 with a triangle over 16 (a converter that samples far too fast)
 *   cheep_decimate   low-pass and keep every 2nd or 3rd sample: flat within 0.1 dB up to 0.42 of the new
 *                    rate, at least 55 dB down from 0.58 on (what would fold below 0.42)
 *   cheep_dc         takes away a microphone's offset (one pole, -3 dB at rate / 6434)
 *
 * State is the caller's; chunks may have any length.
 */
#ifndef CHEEP_DECIMATE_H
#define CHEEP_DECIMATE_H

#include <stddef.h>
#include <stdint.h>

#include "cheep_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CHEEP_DECIMATE_TAPS 72

typedef struct {
    int16_t history[2 * CHEEP_DECIMATE_TAPS]; /* the last taps, twice in a row: one straight loop */
    uint8_t factor;
    uint8_t taps;
    uint8_t next;
    uint8_t phase;
} cheep_decimator;

/* factor 1 (copies), 2 or 3. */
cheep_status cheep_decimate_init(cheep_decimator *d, unsigned factor);

/* n samples in, returns the samples out: at most n / factor + 1. in == out is allowed. */
size_t cheep_decimate(cheep_decimator *d, const int16_t *in, size_t n, int16_t *out);

typedef struct {
    int32_t sum, slope;   /* of the block before */
    int32_t sum_now, slope_now;
    uint8_t at;
    uint8_t shift;
} cheep_decimator8;

/* gain_bits 0..4: the result times 2^gain_bits, saturated (a 12-bit converter gains 4 bits by averaging). */
void cheep_decimate8_init(cheep_decimator8 *d, unsigned gain_bits);

/* n samples in, returns the samples out: at most n / 8 + 1. in == out is allowed. */
size_t cheep_decimate8(cheep_decimator8 *d, const int16_t *in, size_t n, int16_t *out);

typedef struct {
    int32_t mean_q12;   /* offset times 4096 */
} cheep_dc;

/* In place; saturates. Start with mean_q12 = 0. */
void cheep_dc_remove(cheep_dc *dc, int16_t *pcm, size_t n);

typedef struct {
    int32_t mean_q8;    /* offset of the 24-bit samples times 256 */
    uint8_t gain_bits;  /* 0..8: each doubles */
} cheep_i2s24;

/* A 24-bit microphone, left-justified in 32-bit slots (INMP441 and kin): takes away the offset, amplifies by
 * 2^gain_bits, rounds to 16 bits, saturates. State: gain_bits set, the rest 0. in and out may be one memory. */
void cheep_i2s24_to_pcm(cheep_i2s24 *state, const int32_t *in, size_t n, int16_t *out);

#ifdef __cplusplus
}
#endif
#endif
