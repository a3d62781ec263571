/* SPDX-License-Identifier: MIT */
/* Scalar functions of the core in IEEE-754 single precision: no libm, the same bits everywhere. */
#ifndef CHEEP_MATH_H
#define CHEEP_MATH_H

#include <stdint.h>
#include <string.h>

static inline int32_t cheep_bits_of(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float cheep_float_of(int32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* log2(x), x = 2^e m with m in [sqrt(1/2), sqrt(2)): e + minimax polynomial in m - 1, error at most 2.2e-6. */
#define CHEEP_LOG2_OFFSET 0x3f3504f3 /* sqrt(1/2) */
#define CHEEP_LOG2_C1 1.44271348f
#define CHEEP_LOG2_C2 -0.721131857f
#define CHEEP_LOG2_C3 0.479348008f
#define CHEEP_LOG2_C4 -0.367489996f
#define CHEEP_LOG2_C5 0.322154924f
#define CHEEP_LOG2_C6 -0.20659182f

/* log2 of a positive normal number. */
static inline float cheep_log2(float x)
{
    const int32_t bits = cheep_bits_of(x);
    const int32_t exponent = (int32_t)((uint32_t)(bits - CHEEP_LOG2_OFFSET) & 0xff800000u);
    const float f = cheep_float_of(bits - exponent) - 1.0f;
    float p = CHEEP_LOG2_C6;

    p = p * f + CHEEP_LOG2_C5;
    p = p * f + CHEEP_LOG2_C4;
    p = p * f + CHEEP_LOG2_C3;
    p = p * f + CHEEP_LOG2_C2;
    p = p * f + CHEEP_LOG2_C1;
    return p * f + (float)exponent * 1.1920929e-7f; /* 2^-23 */
}

/* 2^x for any x that is not NaN, clamped to 2^-126 .. 2^127; relative error at most 2e-7.
 * x = i + f with f in [-1/2, 1/2]; minimax polynomial of degree 5. */
static inline float cheep_exp2(float x)
{
    const float clamped = x > -126.0f ? (x < 127.0f ? x : 127.0f) : -126.0f;
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    const float rounded = clamped + magic;
    const int32_t i = cheep_bits_of(rounded) - cheep_bits_of(magic);
    const float f = clamped - (rounded - magic);
    float p = 0.00134100053f;

    p = p * f + 0.00967603653f;
    p = p * f + 0.055502973f;
    p = p * f + 0.240221074f;
    p = p * f + 0.693147225f;
    p = p * f + 1.0f;
    return p * cheep_float_of((i + 127) * 8388608);
}

/* Square root of x >= 0 (0 for anything below 1e-36), relative error at most 2e-7. */
static inline float cheep_sqrt(float x)
{
    if (!(x > 1e-36f)) {
        return 0.0f;
    }
    float y = cheep_float_of(0x5f375a86 - (cheep_bits_of(x) >> 1));
    const float half = 0.5f * x;

    y = y * (1.5f - half * y * y);
    y = y * (1.5f - half * y * y);
    y = y * (1.5f - half * y * y);
    return x * y;
}

#endif
