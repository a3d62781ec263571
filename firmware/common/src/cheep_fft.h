/* SPDX-License-Identifier: MIT */
/* Power spectrum of one windowed frame. Internal to the front end. */
#ifndef CHEEP_FFT_H
#define CHEEP_FFT_H

#include <stdint.h>

#include "cheep_frontend.h"

#define CHEEP_INLINE __attribute__((always_inline))

/* Whether this build transforms frames of frame_samples in fft_size points. With CHEEP_FFT_256_ONLY defined for the
 * whole core, only frames of 256 samples in 256 points, which saves flash. */
bool cheep_fft_has(uint32_t fft_size, uint32_t frame_samples);

/* Length of the twiddle table for a transform of fft_size points. */
uint32_t cheep_fft_twiddle_count(uint32_t fft_size);

/* Where the window's value for sample i lies in the table: in the order of the columns for frames of 256 points. */
uint32_t cheep_fft_window_index(const cheep_frontend_spec *spec, uint32_t i);

/* power[fft_size / 2 + 1] = |FFT(window * pcm, padded with zeros)|^2. work: fft_size floats. */
void cheep_fft_power(const cheep_frontend_spec *spec, const int16_t *pcm, float *work, float *power);

#endif
