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

/* log2 of a positive normal number, error at most 3e-6 + half a unit of the result.
 * x = 2^e m with m in [sqrt(1/2), sqrt(2)); minimax polynomial of degree 6 in m - 1. */
static inline float cheep_log2(float x)
{
    const int32_t shifted = cheep_bits_of(x) - 0x3f3504f3;
    const float exponent = (float)(shifted >> 23);
    const float f = cheep_float_of((shifted & 0x007fffff) + 0x3f3504f3) - 1.0f;
    float p = -0.20659182f;

    p = p * f + 0.322154924f;
    p = p * f - 0.367489996f;
    p = p * f + 0.479348008f;
    p = p * f - 0.721131857f;
    p = p * f + 1.44271348f;
    return p * f + exponent;
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
