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

/* What one instruction of a Cortex-M4F does for several values, which GCC does not see.
 * CHEEP_LOAD8: eight floats in a row; the pointer moves on. */
#if defined(__ARM_FP) && defined(__thumb__)
#define CHEEP_LOAD8(y, p) \
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
        __asm__("vldmia %[at]!, {s0-s7}" \
                : "=t"(t0), "=t"(t1), "=t"(t2), "=t"(t3), "=t"(t4), "=t"(t5), "=t"(t6), "=t"(t7), \
                  [at] "+r"(p) \
                : "m"(*(const float(*)[8])(p))); \
        y##0 = t0, y##1 = t1, y##2 = t2, y##3 = t3, y##4 = t4, y##5 = t5, y##6 = t6, y##7 = t7; \
    }

/* The next two complex values at z, turned by the next two twiddles at w; both pointers move on. */
#define CHEEP_TURN2(ar, ai, br, bi, z, w) \
    float ar, ai, br, bi; \
    __asm__("vldmia %[from]!, {s0-s3}\n\t" \
            "vldmia %[by]!, {s4-s7}\n\t" \
            "vmul.f32 %[a], s0, s4\n\t" \
            "vmul.f32 %[b], s1, s4\n\t" \
            "vmul.f32 %[c], s2, s6\n\t" \
            "vmul.f32 %[d], s3, s6\n\t" \
            "vmul.f32 s1, s1, s5\n\t" \
            "vmul.f32 s0, s0, s5\n\t" \
            "vmul.f32 s3, s3, s7\n\t" \
            "vmul.f32 s2, s2, s7\n\t" \
            "vadd.f32 %[a], %[a], s1\n\t" \
            "vsub.f32 %[b], %[b], s0\n\t" \
            "vadd.f32 %[c], %[c], s3\n\t" \
            "vsub.f32 %[d], %[d], s2" \
            : [a] "=&t"(ar), [b] "=&t"(ai), [c] "=&t"(br), [d] "=&t"(bi), [from] "+r"(z), [by] "+r"(w) \
            : "m"(*(const float(*)[4])(z)), "m"(*(const float(*)[4])(w)) \
            : "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7")

/* The same for values that are used at once: in few registers. */
#define CHEEP_TURN2_NOW(ar, ai, br, bi, z, w) \
    float ar, ai, br, bi; \
    { \
        float spare; \
        register float t0 __asm__("s1"); \
        register float t1 __asm__("s4"); \
        register float t2 __asm__("s3"); \
        register float t3 __asm__("s6"); \
        __asm__("vldmia %[from]!, {s0-s3}\n\t" \
                "vldmia %[by]!, {s4-s7}\n\t" \
                "vmul.f32 %[t], s0, s4\n\t" \
                "vmul.f32 s0, s0, s5\n\t" \
                "vmul.f32 s4, s1, s4\n\t" \
                "vmul.f32 s1, s1, s5\n\t" \
                "vsub.f32 s4, s4, s0\n\t" \
                "vadd.f32 s1, %[t], s1\n\t" \
                "vmul.f32 %[t], s2, s6\n\t" \
                "vmul.f32 s2, s2, s7\n\t" \
                "vmul.f32 s6, s3, s6\n\t" \
                "vmul.f32 s3, s3, s7\n\t" \
                "vsub.f32 s6, s6, s2\n\t" \
                "vadd.f32 s3, %[t], s3" \
                : "=t"(t0), "=t"(t1), "=t"(t2), "=t"(t3), [t] "=&t"(spare), [from] "+r"(z), [by] "+r"(w) \
                : "m"(*(const float(*)[4])(z)), "m"(*(const float(*)[4])(w)) \
                : "s0", "s2", "s5", "s7"); \
        ar = t0, ai = t1, br = t2, bi = t3; \
    }

/* Two integers as floats: one move for both. */
#define CHEEP_FLOAT2(x, y, a, b, ra, rb) \
    { \
        register int32_t t0 __asm__(#ra); \
        register int32_t t1 __asm__(#rb); \
        __asm__("vmov " #ra ", " #rb ", %[i], %[j]" : "=t"(t0), "=t"(t1) : [i] "r"((int32_t)(a)), [j] "r"((int32_t)(b))); \
        x = (float)t0, y = (float)t1; \
    }

/* to[place], to[place + 1]: one store of the registers s(r) and s(r + 1), which are d. */
#define CHEEP_STORE2(to, place, a, b, ra, rb, d) \
    { \
        register float t0 __asm__(#ra) = a; \
        register float t1 __asm__(#rb) = b; \
        __asm__("vstr " #d ", [%[p], %[at]]" \
                : "=m"(*(float(*)[2])((to) + (place))) \
                : [p] "r"(to), [at] "i"(4 * (place)), "t"(t0), "t"(t1)); \
    }
#else
#define CHEEP_LOAD8(y, p) \
    const float y##0 = (p)[0], y##1 = (p)[1], y##2 = (p)[2], y##3 = (p)[3]; \
    const float y##4 = (p)[4], y##5 = (p)[5], y##6 = (p)[6], y##7 = (p)[7]; \
    (p) += 8
#define CHEEP_TURN2(ar, ai, br, bi, z, w) \
    const float ar = (z)[0] * (w)[0] + (z)[1] * (w)[1], ai = (z)[1] * (w)[0] - (z)[0] * (w)[1]; \
    const float br = (z)[2] * (w)[2] + (z)[3] * (w)[3], bi = (z)[3] * (w)[2] - (z)[2] * (w)[3]; \
    (z) += 4, (w) += 4
#define CHEEP_TURN2_NOW CHEEP_TURN2
#define CHEEP_FLOAT2(x, y, a, b, ra, rb) x = (float)(a), y = (float)(b)
#define CHEEP_STORE2(to, place, a, b, ra, rb, d) (to)[place] = a, (to)[(place) + 1] = b
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
        float *give = x + 8u * (n % 4u) + 2u * (n / 4u);
#define TAKE(i, w, u, ra, rb) \
    CHEEP_FLOAT2(v[i], v[i + 1], pcm[n + 16u * (i)], pcm[n + 16u * (i) + 16u], ra, rb); \
    v[i] *= w; \
    v[i + 1] *= u
#define GIVE(k, ra, rb, d) CHEEP_STORE2(give, 32 * (k), o[2 * (k)], o[2 * (k) + 1], ra, rb, d)
        CHEEP_LOAD8(a, window);
        TAKE(0, a0, a1, s16, s17);
        TAKE(2, a2, a3, s18, s19);
        TAKE(4, a4, a5, s20, s21);
        TAKE(6, a6, a7, s22, s23);
        CHEEP_LOAD8(b, window);
        TAKE(8, b0, b1, s24, s25);
        TAKE(10, b2, b3, s26, s27);
        TAKE(12, b4, b5, s28, s29);
        TAKE(14, b6, b7, s30, s31);
        real16_1(v, o);
        GIVE(0, s0, s1, d0);
        GIVE(1, s2, s3, d1);
        GIVE(2, s4, s5, d2);
        GIVE(3, s6, s7, d3);
        GIVE(4, s8, s9, d4);
        GIVE(5, s10, s11, d5);
        GIVE(6, s12, s13, d6);
        GIVE(7, s14, s15, d7);
#undef TAKE
#undef GIVE
    }
    for (uint32_t k = 1; k < 8u; k++) {
        packed16_1(x + 32u * k, w, power + k, power - k, 16u);
        w += LEAF_FLOATS;
    }
    float a[16], b[16];
#define UNPACK(n) a[n] = x[8 * ((n) % 4) + 2 * ((n) / 4)], b[n] = x[8 * ((n) % 4) + 2 * ((n) / 4) + 1];
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
