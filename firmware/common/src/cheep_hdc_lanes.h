/* SPDX-License-Identifier: MIT */
/* Two 16-bit lanes in a word: the arithmetic of the hyperdimensional head, with the DSP extension where there is one. */
#ifndef CHEEP_HDC_LANES_H
#define CHEEP_HDC_LANES_H

#include <stdint.h>

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32)
#include <arm_acle.h>
#define CHEEP_HDC_DSP 1
#else
#define CHEEP_HDC_DSP 0
#endif

_Static_assert((-3 >> 1) == -2, "right shifts of negative numbers must be arithmetic");

#if defined(__GNUC__)
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define NEVER_INLINE __attribute__((noinline, unused))
#else
#define ALWAYS_INLINE inline
#define NEVER_INLINE
#endif

static inline int32_t hdc_low(uint32_t word)
{
    return (int16_t)(uint16_t)(word & 0xFFFFu);
}

static inline int32_t hdc_high(uint32_t word)
{
    return (int32_t)word >> 16;
}

static inline uint32_t hdc_pack(int32_t low, int32_t high)
{
    return ((uint32_t)low & 0xFFFFu) | ((uint32_t)high << 16);
}

#if CHEEP_HDC_DSP
static inline uint32_t hdc_add2(uint32_t a, uint32_t b)
{
    return (uint32_t)__sadd16((int16x2_t)a, (int16x2_t)b);
}

static inline uint32_t hdc_sub2(uint32_t a, uint32_t b)
{
    return (uint32_t)__ssub16((int16x2_t)a, (int16x2_t)b);
}

/* (low, high) -> (low + high, low - high) */
static inline uint32_t hdc_cross(uint32_t a)
{
    uint32_t swapped = (uint32_t)__sasx((int16x2_t)a, (int16x2_t)a); /* low - high, high + low */
    return (swapped >> 16) | (swapped << 16);
}

/* Bytes 0 and 2 as signed lanes. */
static inline uint32_t hdc_even(uint32_t word)
{
    return (uint32_t)__sxtb16((int8x4_t)word);
}

static inline int32_t hdc_mac2(uint32_t a, uint32_t b, int32_t sum)
{
    return __smlad((int16x2_t)a, (int16x2_t)b, sum);
}
#else
static inline uint32_t hdc_add2(uint32_t a, uint32_t b)
{
    return ((a & 0x7FFF7FFFu) + (b & 0x7FFF7FFFu)) ^ ((a ^ b) & 0x80008000u);
}

static inline uint32_t hdc_sub2(uint32_t a, uint32_t b)
{
    return ((a | 0x80008000u) - (b & 0x7FFF7FFFu)) ^ ((a ^ ~b) & 0x80008000u);
}

static inline uint32_t hdc_cross(uint32_t a)
{
    return hdc_pack(hdc_low(a) + hdc_high(a), hdc_low(a) - hdc_high(a));
}

static inline uint32_t hdc_even(uint32_t word)
{
    return hdc_pack((int8_t)(uint8_t)(word & 0xFFu), (int8_t)(uint8_t)((word >> 16) & 0xFFu));
}

static inline int32_t hdc_mac2(uint32_t a, uint32_t b, int32_t sum)
{
    return sum + hdc_low(a) * hdc_low(b) + hdc_high(a) * hdc_high(b);
}
#endif

/* clip(x, -128, 127) | 1: never -128, so that a pair cannot overflow */
static inline int32_t hdc_odd8(int32_t x)
{
#if CHEEP_HDC_DSP
    int32_t clipped; /* GCC's __ssat does not compile with -Wconversion */
    __asm__("ssat %0, #8, %1" : "=r"(clipped) : "r"(x) : "cc");
    return clipped | 1;
#else
    return (x > 127 ? 127 : (x < -128 ? -128 : x)) | 1;
#endif
}

/* The same of both lanes. */
static inline uint32_t hdc_odd8x2(uint32_t x)
{
#if CHEEP_HDC_DSP
    uint32_t clipped;
    __asm__("ssat16 %0, #8, %1" : "=r"(clipped) : "r"(x) : "cc");
    return clipped | 0x00010001u;
#else
    return hdc_pack(hdc_odd8(hdc_low(x)), hdc_odd8(hdc_high(x)));
#endif
}

/* The high halves of two words as lanes. */
static inline uint32_t hdc_high_halves(int32_t low, int32_t high)
{
#if CHEEP_HDC_DSP
    uint32_t both;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(both) : "r"(high), "r"(low));
    return both;
#else
    return hdc_pack(low >> 16, high >> 16);
#endif
}

/* Four values, given as lanes (b0, b2) and (b1, b3), as the two words that meet lane-coded bytes in hdc_mac4. */
static inline void hdc_pair(uint32_t even, uint32_t odd, uint32_t *pair)
{
    pair[0] = odd;
    pair[1] = hdc_sub2((even & 0x00FF00FFu) << 8, odd);
}

/* sum + 256 (w0 b0 + w1 b1 + w2 b2 + w3 b3): the lanes of `coded` are 256 w1 + w0 and 256 w3 + w2, so the first product
 * leaves w0 b1 + w2 b3 too much, which the second takes back. Three instructions instead of four. */
static inline int32_t hdc_mac4(uint32_t coded, uint32_t pair0, uint32_t pair1, int32_t sum)
{
    return hdc_mac2(hdc_even(coded), pair1, hdc_mac2(coded, pair0, sum));
}

static inline uint32_t hdc_code(int32_t b0, int32_t b1, int32_t b2, int32_t b3)
{
    return hdc_pack(256 * b1 + b0, 256 * b3 + b2);
}

static inline void hdc_decode(uint32_t coded, int32_t *b)
{
    b[0] = (int8_t)(uint8_t)(coded & 0xFFu);
    b[1] = (hdc_low(coded) - b[0]) >> 8;
    b[2] = (int8_t)(uint8_t)((coded >> 16) & 0xFFu);
    b[3] = (hdc_high(coded) - b[2]) >> 8;
}

static inline int32_t hdc_clip127(int32_t x)
{
    return x > 127 ? 127 : (x < -127 ? -127 : x);
}

#endif
