/* SPDX-License-Identifier: MIT */
/* Front end: int16 mono PCM in chunks of any length -> log-mel (or PCEN) columns.
 *
 * The same code makes the training features (through Python) and the features on the device.
 * IEEE-754 single precision, no libm, no FMA contraction (-ffp-contract=off), a fixed order of
 * additions: the same bits on every platform. Nobody may make the FPU flush sub-normal numbers to zero
 * (they hardly ever occur: a test runs with and without).
 *
 * Build options, for the whole core: CHEEP_FFT_256_ONLY drops the code for other frames than 256 samples in
 * 256 points.
 *
 * All memory is the caller's. Nothing here is thread-safe for one cheep_frontend; several
 * instances are independent.
 */
#ifndef CHEEP_FRONTEND_H
#define CHEEP_FRONTEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cheep_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CHEEP_MAX_FFT 2048
#define CHEEP_MAX_MELS 128

enum { CHEEP_SPECTRUM_POWER = 0, CHEEP_SPECTRUM_MAGNITUDE = 1 };
/* BOTH: of each band its level, (dB - dB of log_floor) / 32, then its PCEN units: 2 values, one after the other. */
enum { CHEEP_COMPRESSION_DB = 0, CHEEP_COMPRESSION_PCEN = 1, CHEEP_COMPRESSION_BOTH = 2 };
#define CHEEP_BOTH_PER_DB 0.03125f /* the range of levels is then that of PCEN units, 0 to about 3 */

/* Constant description and tables, printed by Cheep into mel_filter_bank.h (or passed from Python).
 * The tables stay owned by the caller and must outlive every front end that uses them. */
typedef struct {
    uint32_t feature_hash;
    uint32_t sample_rate_hz;
    uint16_t frame_samples; /* window length, 16..fft_size */
    uint16_t fft_size;      /* power of two, 64..CHEEP_MAX_FFT */
    uint16_t hop_samples;   /* >= 1; may exceed frame_samples */
    uint16_t n_mels;        /* values of a column, 1..CHEEP_MAX_MELS: one of each band (BOTH: two) */
    uint8_t spectrum;       /* CHEEP_SPECTRUM_* */
    uint8_t compression;    /* CHEEP_COMPRESSION_* */
    uint16_t weight_count;  /* length of band_weight */
    uint16_t twiddle_count; /* length of twiddle */
    const float *window;        /* frame_samples values, 1/32768 folded in; order: see cheep_fft.c */
    const float *twiddle;       /* layout: see cheep_frontend.c */
    const uint16_t *band_start; /* of each band: its first FFT bin */
    const uint16_t *band_count; /* of each band: number of bins (0: an empty band) */
    const float *band_weight;   /* weight_count values, band after band */
    float log_floor;            /* least mel energy before the logarithm, >= 1e-30 */
    float log_offset;           /* added to the mel energy before it, 0..1 (decibel only) */
    float pcen_smoothing;       /* s of M = (1-s) M + s E, 0..1 */
    float pcen_gain, pcen_bias, pcen_power, pcen_eps;
} cheep_frontend_spec;

/* State. The arrays it points into are given to cheep_frontend_init. */
typedef struct {
    const cheep_frontend_spec *spec;
    int16_t *history;    /* frame_samples: the last samples */
    float *work;         /* fft_size floats */
    float *power;        /* fft_size / 2 + 1 floats */
    float *smooth;       /* a float a band (PCEN, BOTH), NULL for dB */
    uint32_t filled;     /* samples in history */
    uint32_t skip;       /* samples to drop before filling (hop > frame) */
    bool chained;        /* bank and levels allow the faster of two equal ways to sum the bands */
    uint64_t columns;    /* columns made since init or reset */
} cheep_frontend;

/* Bytes of memory that cheep_frontend_init wants for spec, or 0 if the spec is invalid. */
size_t cheep_frontend_memory_bytes(const cheep_frontend_spec *spec);

/* Checks the whole spec. memory: at least cheep_frontend_memory_bytes(spec), aligned to 8. */
cheep_status cheep_frontend_init(cheep_frontend *fe, const cheep_frontend_spec *spec,
                                 void *memory, size_t memory_bytes);

/* Forget the past: the next sample is the first of a new recording. */
void cheep_frontend_reset(cheep_frontend *fe);

/* Take up to n samples, stop after completing one column. Returns the samples consumed (== n when
 * no column was completed). When *ready is set, column[n_mels] holds the new column, in dB
 * (10 log10 of power, 20 log10 of magnitude), PCEN units, or both. */
size_t cheep_frontend_push(cheep_frontend *fe, const int16_t *pcm, size_t n, float *column, bool *ready);

/* Push n samples through and store every column completed, at most max_columns of them, one after
 * another in columns[max_columns][n_mels]. Stops when the room is used up; returns the number stored
 * and sets *consumed. For whole recordings on a host. */
size_t cheep_frontend_run(cheep_frontend *fe, const int16_t *pcm, size_t n, float *columns, size_t max_columns,
                          size_t *consumed);

/* q = clip(round_half_even(x * inverse_scale + zero_point), -128, 127), in single precision.
 * NaN gives -128. The only quantizer of features. */
void cheep_quantize(const float *x, size_t n, float inverse_scale, int32_t zero_point, int8_t *q);

#ifdef __cplusplus
}
#endif
#endif
