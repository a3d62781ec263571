/* Real FFT of N points as a complex FFT of N/2 points.
 *
 * Twiddle table: N/2 pairs (cos, sin) of 2 pi k / N, k = 0..N/2-1.
 */
#include "cheep_fft.h"

uint32_t cheep_fft_twiddle_count(uint32_t fft_size)
{
    return fft_size;
}

static void load(const cheep_frontend_spec *spec, const int16_t *pcm, float *z)
{
    for (uint32_t i = 0; i < spec->frame_samples; i++) {
        z[i] = (float)pcm[i] * spec->window[i];
    }
    for (uint32_t i = spec->frame_samples; i < spec->fft_size; i++) {
        z[i] = 0.0f;
    }
}

static void reverse_bits(float *z, uint32_t m)
{
    uint32_t j = 0;

    for (uint32_t i = 0; i < m; i++) {
        if (i < j) {
            const float re = z[2 * i];
            const float im = z[2 * i + 1];
            z[2 * i] = z[2 * j];
            z[2 * i + 1] = z[2 * j + 1];
            z[2 * j] = re;
            z[2 * j + 1] = im;
        }
        uint32_t bit = m >> 1;
        while (bit != 0 && (j & bit) != 0) {
            j ^= bit;
            bit >>= 1;
        }
        j |= bit;
    }
}

void cheep_fft_power(const cheep_frontend_spec *spec, const int16_t *pcm, float *work, float *power)
{
    const float *w = spec->twiddle;
    const uint32_t n = spec->fft_size;
    const uint32_t m = n / 2;
    float *z = work;

    load(spec, pcm, z);
    reverse_bits(z, m);
    for (uint32_t half = 1; half < m; half *= 2) {
        const uint32_t step = n / (2 * half);
        for (uint32_t base = 0; base < m; base += 2 * half) {
            for (uint32_t k = 0; k < half; k++) {
                float *a = z + 2 * (base + k);
                float *b = a + 2 * half;
                const float c = w[2 * k * step];
                const float s = w[2 * k * step + 1];
                const float re = b[0] * c + b[1] * s;
                const float im = b[1] * c - b[0] * s;
                b[0] = a[0] - re;
                b[1] = a[1] - im;
                a[0] += re;
                a[1] += im;
            }
        }
    }
    const float sum = z[0] + z[1];
    const float difference = z[0] - z[1];
    power[0] = sum * sum;
    power[m] = difference * difference;
    for (uint32_t k = 1; k <= m / 2; k++) {
        const float *a = z + 2 * k;
        const float *b = z + 2 * (m - k);
        const float even_re = 0.5f * (a[0] + b[0]);
        const float even_im = 0.5f * (a[1] - b[1]);
        const float odd_re = 0.5f * (a[1] + b[1]);
        const float odd_im = 0.5f * (b[0] - a[0]);
        const float c = w[2 * k];
        const float s = w[2 * k + 1];
        const float re = odd_re * c + odd_im * s;
        const float im = odd_im * c - odd_re * s;
        const float low_re = even_re + re;
        const float low_im = even_im + im;
        const float high_re = even_re - re;
        const float high_im = even_im - im;
        power[k] = low_re * low_re + low_im * low_im;
        power[m - k] = high_re * high_re + high_im * high_im;
    }
}
