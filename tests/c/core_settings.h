/* SPDX-License-Identifier: MIT */
/* Front-end settings with tables made in C, for the C tests and the fuzzer: any block of settings, valid or not. */
#ifndef CORE_SETTINGS_H
#define CORE_SETTINGS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "cheep_frontend.h"

#define SETTINGS_MAX_WEIGHTS (CHEEP_MAX_MELS * 64)

typedef struct {
    cheep_frontend_spec spec;
    float window[CHEEP_MAX_FFT];
    float twiddle[CHEEP_MAX_FFT];
    uint16_t band_start[CHEEP_MAX_MELS];
    uint16_t band_count[CHEEP_MAX_MELS];
    float band_weight[SETTINGS_MAX_WEIGHTS];
} core_settings;

/* The layout that cheep_fft.c documents. */
static inline uint16_t fill_twiddles(uint32_t n, float *at)
{
    const uint32_t r = n / 16u;
    const double turn = 6.283185307179586;
    uint32_t count = 0;

    for (uint32_t k = 1; k < r / 2u; k++) {
        for (uint32_t i = 1; i < 16u; i++) {
            const double a = turn * (i % 4u * 4u + i / 4u) * k / n;
            at[count++] = (float)cos(a);
            at[count++] = (float)sin(a);
        }
    }
    for (uint32_t i = 1; i < 8u; i++) {
        at[count++] = (float)cos(turn * i / 32.0);
        at[count++] = (float)-sin(turn * i / 32.0);
    }
    for (uint32_t i = 0; n != 256u && i < r / 2u; i++) {
        at[count++] = (float)cos(turn * i / r);
        at[count++] = (float)sin(turn * i / r);
    }
    return (uint16_t)count;
}

/* Triangles over equal steps of bins; width: bins on each side, 1 and more. */
static inline void fill_bands(core_settings *s, uint32_t n_mels, uint32_t bins, uint32_t width)
{
    uint32_t count = 0;

    for (uint32_t m = 0; m < n_mels; m++) {
        const uint32_t start = m * width < bins ? m * width : bins;
        const uint32_t end = start + 2u * width < bins ? start + 2u * width : bins;
        s->band_start[m] = (uint16_t)start;
        s->band_count[m] = (uint16_t)(end - start);
        for (uint32_t k = start; k < end; k++) {
            const uint32_t i = k - start;
            s->band_weight[count++] = (float)(i < width ? i + 1u : 2u * width - i) / (float)(width + 1u);
        }
    }
    s->spec.weight_count = (uint16_t)count;
}

static inline void fill_settings(core_settings *s, uint16_t fft, uint16_t frame, uint16_t hop, uint16_t n_mels,
                                 uint16_t width)
{
    memset(s, 0, sizeof *s);
    s->spec.sample_rate_hz = 8000;
    s->spec.fft_size = fft;
    s->spec.frame_samples = frame;
    s->spec.hop_samples = hop;
    s->spec.n_mels = n_mels;
    s->spec.log_floor = 1e-10f;
    s->spec.pcen_smoothing = 0.1f;
    s->spec.pcen_gain = 0.98f;
    s->spec.pcen_bias = 2.0f;
    s->spec.pcen_power = 0.5f;
    s->spec.pcen_eps = 1e-6f;
    s->spec.window = s->window;
    s->spec.twiddle = s->twiddle;
    s->spec.band_start = s->band_start;
    s->spec.band_count = s->band_count;
    s->spec.band_weight = s->band_weight;
    for (uint32_t i = 0; i < frame; i++) {
        const uint32_t at = fft == 256 && frame == 256 ? 16u * (i % 16u) + i / 16u : i;
        s->window[at] = (float)((0.5 - 0.5 * cos(6.283185307179586 * i / frame)) / 32768.0);
    }
    s->spec.twiddle_count = fill_twiddles(fft, s->twiddle);
    fill_bands(s, n_mels, fft / 2u + 1u, width);
}

#endif
