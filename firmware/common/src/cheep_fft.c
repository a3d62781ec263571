/* SPDX-License-Identifier: MIT */
/* Twiddle table of N points, R = N / 16, each a pair (cos a, sin a) of single precision:
 *   for k = 1..R/2-1, n = 4, 8, 12, 1, 5, 9, 13, 2, ... 15:
 *                                 a =  2 pi n k / N     blocks of 16 complex values, residue k
 *   for n = 1..7:                 a = -2 pi n / 32      the block of 16 real values, residue R/2
 *   for i = 0..R/2-1:             a =  2 pi i / R       rotations of the splits (not for N = 256)
 * Window table: in the order of time; for frames of 256 points that fill the transform in the order of the columns,
 * samples 0, 16, ... 240, 1, 17, ... 255.
 */
#include "cheep_fft.h"

#include "cheep_fft_constants.h"

#define CHEEP_ORDER __asm__ volatile("" ::: "memory")

/* Eight floats in a row: one instruction on a Cortex-M4F. */
#if defined(__ARM_FP) && defined(__thumb__)
#define CHEEP_LOAD8(y, from) \
    float y##0, y##1, y##2, y##3, y##4, y##5, y##6, y##7; \
    { \
        register float t0 __asm__("s0"); \
        register float t1 __asm__("s1"); \
        register float t2 __asm__("s2"); \
        register float t3 __asm__("s3"); \
        register float t4 __asm__("s4"); \
        register float t5 __asm__("s5"); \
        register float t6 __asm__("s6"); \
        register float t7 __asm__("s7"); \
        __asm__("vldmia %[p], {s0-s7}" \
                : "=t"(t0), "=t"(t1), "=t"(t2), "=t"(t3), "=t"(t4), "=t"(t5), "=t"(t6), "=t"(t7) \
                : [p] "r"(from), "m"(*(const float(*)[8])(from))); \
        y##0 = t0, y##1 = t1, y##2 = t2, y##3 = t3, y##4 = t4, y##5 = t5, y##6 = t6, y##7 = t7; \
    }
#else
#define CHEEP_LOAD8(y, from) \
    const float y##0 = (from)[0], y##1 = (from)[1], y##2 = (from)[2], y##3 = (from)[3]; \
    const float y##4 = (from)[4], y##5 = (from)[5], y##6 = (from)[6], y##7 = (from)[7]
#endif

#define REAL float
#define FFT(name) name##_1
#include "cheep_fft_kernel.h"
#undef REAL
#undef FFT

uint32_t cheep_fft_twiddle_count(uint32_t fft_size)
{
    const uint32_t r = fft_size / 16u;

    return LEAF_FLOATS * (r / 2u - 1u) + ODD_FLOATS + (fft_size == 256u ? 0u : r);
}

bool cheep_fft_has(uint32_t fft_size, uint32_t frame_samples)
{
#ifdef CHEEP_FFT_256_ONLY
    return fft_size == 256u && frame_samples == 256u;
#else
    return fft_size >= 64u && fft_size <= CHEEP_MAX_FFT && (fft_size & (fft_size - 1u)) == 0 && frame_samples >= 16u &&
           frame_samples <= fft_size;
#endif
}

uint32_t cheep_fft_window_index(const cheep_frontend_spec *spec, uint32_t i)
{
    return spec->fft_size == 256u && spec->frame_samples == 256u ? 16u * (i % 16u) + i / 16u : i;
}

/* 256 samples that fill the frame: windowed as the columns take them. */
static void power_256(const cheep_frontend_spec *spec, const int16_t *pcm, float *x, float *power)
{
    const float *window = spec->window;
    const float *w = spec->twiddle;

    for (uint32_t n = 0; n < 16u; n++) {
        float v[16], o[16];
        float *give = x + 8u * (n % 4u) + n / 4u;
#define TAKE(i, w) v[i] = (float)pcm[n + 16u * (i)] * w
#define GIVE(i) give[32 * ((i) / 2) + 4 * ((i) % 2)] = o[i];
        CHEEP_LOAD8(a, window + 16u * n);
        TAKE(0, a0), TAKE(1, a1), TAKE(2, a2), TAKE(3, a3), TAKE(4, a4), TAKE(5, a5), TAKE(6, a6), TAKE(7, a7);
        CHEEP_LOAD8(b, window + 16u * n + 8u);
        TAKE(8, b0), TAKE(9, b1), TAKE(10, b2), TAKE(11, b3), TAKE(12, b4), TAKE(13, b5), TAKE(14, b6), TAKE(15, b7);
        real16_1(v, o);
        CHEEP_EACH16(GIVE)
#undef TAKE
#undef GIVE
    }
    for (uint32_t k = 1; k < 8u; k++) {
        packed16_1(x + 32u * k, w, power + k, power - k, 16u);
        w += LEAF_FLOATS;
    }
    float a[16], b[16];
#define UNPACK(n) a[n] = x[8 * ((n) % 4) + (n) / 4], b[n] = x[8 * ((n) % 4) + 4 + (n) / 4];
    CHEEP_EACH16(UNPACK)
#undef UNPACK
    even16_1(a, power, 16u);
    odd16_1(b, b + 8, w, power, 8u);
}

void cheep_fft_power(const cheep_frontend_spec *spec, const int16_t *pcm, float *work, float *power)
{
#ifndef CHEEP_FFT_256_ONLY
    const uint32_t frame = spec->frame_samples;

    if (spec->fft_size != 256u || frame != 256u) {
        for (uint32_t i = 0; i < frame; i++) {
            work[i] = (float)pcm[i] * spec->window[i];
        }
        for (uint32_t i = frame; i < spec->fft_size; i++) {
            work[i] = 0.0f;
        }
        any_1(work, spec->fft_size, spec->twiddle, power);
        return;
    }
#endif
    power_256(spec, pcm, work, power);
}
