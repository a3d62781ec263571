/* SPDX-License-Identifier: MIT */
/* The two inner loops of the hyperdimensional head, on lane-coded words (cheep_hdc.h) and pairs (hdc_pair): in C, and
 * for cores with the DSP extension in assembly, because compilers do not load several words at once
 * (not without optimization, which leaves too few registers). */
#ifndef CHEEP_HDC_KERNELS_H
#define CHEEP_HDC_KERNELS_H

#include "cheep_hdc_lanes.h"

#if CHEEP_HDC_DSP && defined(__GNUC__) && defined(__thumb2__) && defined(__OPTIMIZE__)

/* sum += 256 x (4 coded values . 4 values): 3 instructions; the word is used up */
#define MAC4(sum, word, pair0, pair1)               \
    "smlad %[" sum "], " word ", " pair0 ", %[" sum "]\n" \
    "sxtb16 " word ", " word "\n"                   \
    "smlad %[" sum "], " word ", " pair1 ", %[" sum "]\n"

/* The first of a sum. */
#define MUL4(sum, word, pair0, pair1)                \
    "smuad %[" sum "], " word ", " pair0 "\n"         \
    "sxtb16 " word ", " word "\n"                     \
    "smlad %[" sum "], " word ", " pair1 ", %[" sum "]\n"

/* 4 rows x 4 columns; at: bytes from the first pair */
#define QUAD(op, at)                         \
    "ldrd r8, r9, [%[pairs], #" #at "]\n"    \
    "ldmia %[table]!, {r4, r5, r6, r10}\n"   \
    op("s0", "r4", "r8", "r9")               \
    op("s1", "r5", "r8", "r9")               \
    op("s2", "r6", "r8", "r9")               \
    op("s3", "r10", "r8", "r9")

/* sums[r] = 256 x (row r . the embedding); quads: a multiple of 4. Returns the end of the rows. Not inlined, since the
 * assembly takes nearly all registers. */
static NEVER_INLINE const uint32_t *hdc_rows(const uint32_t *table, const uint32_t *pairs, uint32_t quads,
                                              int32_t *sums)
{
    int32_t s0;
    int32_t s1;
    int32_t s2;
    int32_t s3;
    __asm__ volatile(QUAD(MUL4, 0) QUAD(MAC4, 8) QUAD(MAC4, 16) QUAD(MAC4, 24)
                     : [s0] "=&r"(s0), [s1] "=&r"(s1), [s2] "=&r"(s2), [s3] "=&r"(s3), [table] "+r"(table)
                     : [pairs] "r"(pairs)
                     : "r4", "r5", "r6", "r8", "r9", "r10", "memory");
    for (uint32_t done = 4; done != quads; done += 4u) {
        pairs += 8;
        __asm__ volatile(QUAD(MAC4, 0) QUAD(MAC4, 8) QUAD(MAC4, 16) QUAD(MAC4, 24)
                         : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [table] "+r"(table)
                         : [pairs] "r"(pairs)
                         : "r4", "r5", "r6", "r8", "r9", "r10", "memory");
    }
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
    return table;
}

/* The same for exactly 64 columns. */
static ALWAYS_INLINE const uint32_t *hdc_rows64(const uint32_t *table, const uint32_t *pairs, int32_t *sum0,
                                                int32_t *sum1, int32_t *sum2, int32_t *sum3)
{
    int32_t s0;
    int32_t s1;
    int32_t s2;
    int32_t s3;
    __asm__ volatile(QUAD(MUL4, 0) QUAD(MAC4, 8) QUAD(MAC4, 16) QUAD(MAC4, 24) QUAD(MAC4, 32) QUAD(MAC4, 40)
                     QUAD(MAC4, 48) QUAD(MAC4, 56) QUAD(MAC4, 64) QUAD(MAC4, 72) QUAD(MAC4, 80) QUAD(MAC4, 88)
                     QUAD(MAC4, 96) QUAD(MAC4, 104) QUAD(MAC4, 112) QUAD(MAC4, 120)
                     : [s0] "=&r"(s0), [s1] "=&r"(s1), [s2] "=&r"(s2), [s3] "=&r"(s3), [table] "+r"(table)
                     : [pairs] "r"(pairs)
                     : "r4", "r5", "r6", "r8", "r9", "r10", "memory");
    *sum0 = s0;
    *sum1 = s1;
    *sum2 = s2;
    *sum3 = s3;
    return table;
}

#define DOT8(word0, word1)                 \
    "ldmia %[query]!, {r8, r9, r10, r12}\n" \
    MAC4("sum", word0, "r8", "r9")         \
    MAC4("sum", word1, "r10", "r12")

/* 256 x (query . prototype) over 32 blocks elements; blocks <= 16 */
static inline int32_t hdc_dot(const uint32_t *query, const uint32_t *prototype, uint32_t blocks)
{
    int32_t sum = 0;
    const uint32_t *end = prototype + 8u * blocks;
    do {
        __asm__ volatile("ldmia %[prototype]!, {r4, r5, r6, r11}\n" DOT8("r4", "r5") DOT8("r6", "r11")
                         "ldmia %[prototype]!, {r4, r5, r6, r11}\n" DOT8("r4", "r5") DOT8("r6", "r11")
                         : [sum] "+r"(sum), [prototype] "+r"(prototype), [query] "+r"(query)
                         :
                         : "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "memory");
    } while (prototype != end);
    return sum;
}

#undef MAC4
#undef MUL4
#undef QUAD
#undef DOT8

#else

static ALWAYS_INLINE const uint32_t *hdc_rows(const uint32_t *table, const uint32_t *pairs, uint32_t quads,
                                              int32_t *sums)
{
    for (uint32_t r = 0; r < 4u; r++) {
        int32_t sum = 0;
        for (uint32_t k = 0; k < quads; k++) {
            sum = hdc_mac4(table[4u * k + r], pairs[2u * k], pairs[2u * k + 1u], sum);
        }
        sums[r] = sum;
    }
    return table + 4u * quads;
}

static ALWAYS_INLINE const uint32_t *hdc_rows64(const uint32_t *table, const uint32_t *pairs, int32_t *sum0,
                                                int32_t *sum1, int32_t *sum2, int32_t *sum3)
{
    int32_t sums[4];
    table = hdc_rows(table, pairs, 16, sums);
    *sum0 = sums[0];
    *sum1 = sums[1];
    *sum2 = sums[2];
    *sum3 = sums[3];
    return table;
}

static inline int32_t hdc_dot(const uint32_t *query, const uint32_t *prototype, uint32_t blocks)
{
    int32_t sum = 0;
    for (uint32_t i = 0; i < 8u * blocks; i++) {
        sum = hdc_mac4(prototype[i], query[2u * i], query[2u * i + 1u], sum);
    }
    return sum;
}

#endif
#endif
