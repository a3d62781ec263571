/* SPDX-License-Identifier: MIT */
/* From mel energies to decibel or PCEN. Internal to the front end. */
#ifndef CHEEP_COMPRESS_H
#define CHEEP_COMPRESS_H

#include "cheep_frontend.h"
#include "cheep_math.h"

#define CHEEP_OPAQUE(x) __asm__("" : "+r"(x)) /* the compiler takes the value as it is */

/* 10 log10(x) = c[0] (exponent of x) + polynomial in the mantissa, see cheep_math.h. */
typedef struct {
    float c[7];
    float floor;
    int32_t offset; /* of the exponent: kept in a register */
} cheep_decibel_scale;

/* c[1] f + ... + c[6] f^6 */
#define CHEEP_HORNER(c, f) \
    ((((((c)[6] * (f) + (c)[5]) * (f) + (c)[4]) * (f) + (c)[3]) * (f) + (c)[2]) * (f) + (c)[1]) * (f)

static inline __attribute__((always_inline)) cheep_decibel_scale cheep_make_decibel_scale(const cheep_frontend_spec *spec)
{
    const float scale = spec->spectrum == CHEEP_SPECTRUM_POWER ? 3.01029996f : 6.02059991f; /* 10, 20 log10(2) */
    cheep_decibel_scale by = {
        .c = {scale, scale * CHEEP_LOG2_C1, scale * CHEEP_LOG2_C2, scale * CHEEP_LOG2_C3, scale * CHEEP_LOG2_C4,
              scale * CHEEP_LOG2_C5, scale * CHEEP_LOG2_C6},
        .floor = spec->log_floor,
        .offset = CHEEP_LOG2_OFFSET,
    };

    CHEEP_OPAQUE(by.offset);
    return by;
}

/* x in decibel, at least the floor; x is not a negative number. */
static inline __attribute__((always_inline)) float cheep_decibel(float x, const cheep_decibel_scale *by)
{
    const int32_t bits = cheep_bits_of(x);
    const int32_t floor = cheep_bits_of(by->floor);
    const int32_t kept = bits > floor ? bits : floor; /* not negative: ordered as integers */
    int32_t exponent = (kept - by->offset) >> 23;
    CHEEP_OPAQUE(exponent); /* one subtraction of a shifted register, not two shifts and a subtraction */
    const int32_t mantissa = (int32_t)((uint32_t)kept - ((uint32_t)exponent << 23));
#if defined(__ARM_FP) && defined(__thumb__)
    register float m __asm__("s14");
    register int32_t e __asm__("s15");
    __asm__("vmov s14, s15, %[m], %[e]" : "=t"(m), "=t"(e) : [m] "r"(mantissa), [e] "r"(exponent)); /* one move for both */
#else
    const float m = cheep_float_of(mantissa);
    const int32_t e = exponent;
#endif
    const float f = m - 1.0f;

    return CHEEP_HORNER(by->c, f) + (float)e * by->c[0];
}

/* Bands of the filter bank: as many as a column has values, or half. */
static inline uint32_t cheep_bands(const cheep_frontend_spec *spec)
{
    return spec->compression == CHEEP_COMPRESSION_BOTH ? spec->n_mels / 2u : spec->n_mels;
}

/* In place: energies of the bands to PCEN units (or levels and PCEN units), with the running means in fe. */
void cheep_pcen_column(const cheep_frontend *fe, float *mel);

#endif
