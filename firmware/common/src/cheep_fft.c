/* Twiddle table of N points, R = N / 16, each a pair (cos a, sin a) of single precision:
 *   for k = 1..R/2-1, n = 1..15:  a =  2 pi n k / N     blocks of 16 complex values, residue k
 *   for n = 1..7:                 a = -2 pi n / 32      the block of 16 real values, residue R/2
 *   for i = 0..R/2-1:             a =  2 pi i / R       rotations of the splits (not for N = 256)
 */
#include "cheep_fft.h"

#define CHEEP_INLINE __attribute__((always_inline))
#define CHEEP_EACH16(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15)

#define CHEEP_ORDER __asm__ volatile("" ::: "memory")

#define LEAF_FLOATS 30u
#define ODD_FLOATS 14u

#define SQRT_HALF 0.707106781f
#define COS_PI_8 0.923879533f
#define SIN_PI_8 0.382683432f

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

/* 256 samples that fill the frame: windowed as the columns take them. */
static void power_256(const cheep_frontend_spec *spec, const int16_t *pcm, float *x, float *power)
{
    const float *window = spec->window;
    const float *w = spec->twiddle;

    for (uint32_t n = 0; n < 16u; n++) {
        float v[16], o[16];
#define TAKE(i) v[i] = (float)pcm[n + (i) * 16u] * window[n + (i) * 16u];
#define GIVE(i) x[n + (i) * 16u] = o[i];
        CHEEP_EACH16(TAKE)
        real16_1(v, o);
        CHEEP_EACH16(GIVE)
#undef TAKE
#undef GIVE
    }
    even16_1(x, power, 16u);
    for (uint32_t k = 1; k < 8u; k++) {
        complex16_1(x + 32u * k, x + 32u * k + 16u, w, power + k, power - k, 16u);
        w += LEAF_FLOATS;
    }
    odd16_1(x + 16, w, power, 8u);
}

void cheep_fft_power(const cheep_frontend_spec *spec, const int16_t *pcm, float *work, float *power)
{
    const uint32_t frame = spec->frame_samples;

    if (spec->fft_size == 256u && frame == 256u) {
        power_256(spec, pcm, work, power);
        return;
    }
    for (uint32_t i = 0; i < frame; i++) {
        work[i] = (float)pcm[i] * spec->window[i];
    }
    for (uint32_t i = frame; i < spec->fft_size; i++) {
        work[i] = 0.0f;
    }
    any_1(work, spec->fft_size, spec->twiddle, power);
}
