/* SPDX-License-Identifier: MIT */
/* The score log: a byte for every window and label, in blocks of 512 bytes that each stand alone (docs/score-log.md). A
 * block that is whole is proved by its checksum, wherever in the file it lies: a power cut costs the block that was being
 * filled, or written. Numbers are little-endian.
 *
 *      0  "CHSL"                               28  sample rate in Hz
 *      4  version (1)                          32  device, two words
 *      5  labels                               40  temperature in tenths of a degree, -32768: unknown
 *      6  windows in this block                42  0
 *      8  first four bytes of the model's sha256 (as a number)
 *     12  start of the session: s since 1970, UTC
 *     16  ... and ms                           44  scores, int8: a row of labels for each window
 *     18  battery in mV, 0: unknown           508  CRC-32 of bytes 0 to 507
 *     20  first sample of the first window since the start of the session
 *     24  samples from one window to the next: the model's stride
 */
#ifndef FIELD_SCORES_H
#define FIELD_SCORES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "field_records.h"

#define FIELD_SCORES_VERSION 1
#define FIELD_BLOCK_BYTES 512
#define FIELD_BLOCK_SCORES 44
#define FIELD_BLOCK_CRC 508

typedef struct {
    uint32_t model;
    uint32_t utc, utc_ms;      /* of the session's start */
    uint32_t sample_rate_hz;
    uint32_t stride_samples;
    uint32_t id_high, id_low;
    uint32_t battery_mv;       /* 0: unknown */
    int32_t temperature_mc;    /* or FIELD_NO_TEMPERATURE */
    uint8_t labels;            /* 1..64 */
} field_scores_about;

/* Appends a whole block to the file; false: it could not be written, and is lost. */
typedef bool (*field_scores_write)(void *context, const uint8_t block[FIELD_BLOCK_BYTES]);

typedef struct {
    field_scores_about about;
    field_scores_write write;
    void *context;
    uint32_t first;            /* sample of the block's first window */
    uint16_t windows;
    uint16_t room;             /* windows that a block takes */
    uint32_t lost;             /* blocks that could not be written */
    uint8_t block[FIELD_BLOCK_BYTES];
} field_scores;

void field_scores_init(field_scores *log, const field_scores_about *about, field_scores_write write, void *context);

/* A window's scores; `sample`: its first since the start of the session. A window that is not a stride behind the one before
 * (samples were lost, windows left out) begins a new block. */
void field_scores_add(field_scores *log, uint64_t sample, const int8_t *scores);

/* End of the session: write what waits. */
void field_scores_finish(field_scores *log);

/* "20260520.CHS", of the day on which the session began. */
void field_name_scores(char name[FIELD_NAME_BYTES], uint32_t utc);

#endif
