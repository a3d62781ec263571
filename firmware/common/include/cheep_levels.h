/* SPDX-License-Identifier: MIT */
/* What comes from the microphone, in figures: how loud, how much offset, how much clipped, how much plain zero.
 * Integers only while samples come; state 56 bytes. */
#ifndef CHEEP_LEVELS_H
#define CHEEP_LEVELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CHEEP_SILENT_SECONDS 3 /* of nothing but -1, 0 and 1 (and -2): a microphone that is gone, or never was */
#define CHEEP_HEARD_SECONDS 1  /* of something, until it counts as back */

typedef struct {
    uint64_t squares;
    int64_t sum;
    uint32_t samples, clipped, zeros; /* looked at since the last cheep_levels_take */
    uint32_t still, lively;           /* samples in a row of chunks that were silent, or were not */
    uint8_t phase;
    bool silent;
} cheep_levels;

typedef struct {
    int32_t level_e1;   /* root of the mean square, in tenths of a dB below full scale; -1000: nothing but zeros */
    int32_t dc;         /* mean, in units of a sample */
    uint32_t clipped_e4; /* share of samples at -32768 or 32767, in 1/10000 */
    uint32_t zeros_e4;   /* share of samples that are 0 */
} cheep_levels_summary;

/* n samples at rate_hz, of which every fourth is looked at: about 5 instructions a sample. */
void cheep_levels_add(cheep_levels *levels, uint32_t rate_hz, const int16_t *pcm, size_t n);

/* The figures since the last call. */
cheep_levels_summary cheep_levels_take(cheep_levels *levels);

#ifdef __cplusplus
}
#endif
#endif
