/* SPDX-License-Identifier: MIT */
/*@ base */
/* The dual multiply-accumulates of the DSP extension (ACLE's __ARM_FEATURE_DSP), else plain C: the same bits.
 * Inline assembler names the instructions, because ACLE has none for smmlar and its own forms keep the Q flag. */
#if defined(__ARM_FEATURE_DSP) && (__ARM_FEATURE_DSP == 1) && defined(__GNUC__) && !defined(__ARM_BIG_ENDIAN)
#define CHEEP_DSP 1
#else
#define CHEEP_DSP 0
#endif

#if defined(__GNUC__) && !defined(__clang__)
#define CHEEP_UNROLL _Pragma("GCC unroll 4")
#else
#define CHEEP_UNROLL
#endif
#if defined(__GNUC__)
#define CHEEP_UNUSED __attribute__((unused))
#define CHEEP_NOINLINE __attribute__((noinline))
#define CHEEP_INLINE static inline __attribute__((always_inline, unused))
#define CHEEP_ALIGNED8(p) __builtin_assume_aligned((p), 8)
#else
#define CHEEP_UNUSED
#define CHEEP_NOINLINE
#define CHEEP_INLINE static inline
#define CHEEP_ALIGNED8(p) (p)
#endif

/* One output channel: the accumulator starts at bias2 (twice the bias, zero points folded in) and
 * becomes a byte by  (round + acc2 * multiplier / 2^32, rounded) >> shift.  round holds the half
 * of the last rounding and the output's zero point. */
typedef struct {
    int32_t bias2, multiplier, round, shift;
} cheep_channel;

/* How a result is limited. FLOOR: the zero point is the least byte, so negative sums need no care. ANY: a layer with
 * scales outside of 2^-31 to 1/2: round is the zero point, shift the shift to the right (negative: to the left). */
enum { CHEEP_FULL = 0, CHEEP_RELU = 1, CHEEP_CLAMP = 2, CHEEP_FLOOR = 3, CHEEP_ANY = 4 };

typedef struct {
    int16_t lowest, highest; /* of the fused activation */
} cheep_range;

CHEEP_INLINE uint32_t cheep_load32(const void *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Two words of four 16-bit values; p is aligned to 4 bytes. */
CHEEP_INLINE void cheep_load64(const void *p, uint32_t *low, uint32_t *high) {
#if CHEEP_DSP
    typedef uint64_t __attribute__((may_alias, aligned(4))) pair;
    __asm__("ldrd %0, %1, %2" : "=r"(*low), "=r"(*high) : "m"(*(const pair *)p));
#else
    uint64_t v;
    memcpy(&v, p, sizeof v);
    *low = (uint32_t)v;
    *high = (uint32_t)(v >> 32);
#endif
}

#if CHEEP_DSP
/* bytes 0 and 2, sign-extended to the two halves of a word; bytes 1 and 3 */
CHEEP_INLINE uint32_t cheep_even(uint32_t v) {
    uint32_t r;
    __asm__("sxtb16 %0, %1" : "=r"(r) : "r"(v));
    return r;
}
CHEEP_INLINE uint32_t cheep_odd(uint32_t v) {
    uint32_t r;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(r) : "r"(v));
    return r;
}
/* acc + a.low * b.low + a.high * b.high, and the single products */
CHEEP_INLINE int32_t cheep_dual(uint32_t a, uint32_t b, int32_t acc) {
    int32_t r;
    __asm__("smlad %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(acc));
    return r;
}
CHEEP_INLINE int32_t cheep_low_low(uint32_t a, uint32_t b, int32_t acc) {
    int32_t r;
    __asm__("smlabb %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(acc));
    return r;
}
CHEEP_INLINE int32_t cheep_low_high(uint32_t a, uint32_t b, int32_t acc) {
    int32_t r;
    __asm__("smlabt %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(acc));
    return r;
}
CHEEP_INLINE int32_t cheep_high_low(uint32_t a, uint32_t b, int32_t acc) {
    int32_t r;
    __asm__("smlatb %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(acc));
    return r;
}
CHEEP_INLINE int32_t cheep_high_high(uint32_t a, uint32_t b, int32_t acc) {
    int32_t r;
    __asm__("smlatt %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(acc));
    return r;
}
/* both halves of a - both of b */
CHEEP_INLINE uint32_t cheep_minus(uint32_t a, uint32_t b) {
    uint32_t r;
    __asm__("ssub16 %0, %1, %2" : "=r"(r) : "r"(a), "r"(b));
    return r;
}
/* add + round(a * b / 2^32), halves up */
CHEEP_INLINE int32_t cheep_high_product(int32_t a, int32_t b, int32_t add) {
    int32_t r;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(add));
    return r;
}
CHEEP_INLINE int32_t cheep_positive(int32_t v) {
    int32_t r;
    __asm__("bic %0, %1, %1, asr #31" : "=r"(r) : "r"(v));
    return r;
}
CHEEP_INLINE int32_t cheep_saturate8(int32_t v) {
    int32_t r;
    __asm__("ssat %0, #8, %1" : "=r"(r) : "r"(v));
    return r;
}
#else
CHEEP_INLINE int32_t cheep_low(uint32_t v) { return (int16_t)(uint16_t)v; }
CHEEP_INLINE int32_t cheep_high(uint32_t v) { return (int16_t)(uint16_t)(v >> 16); }
CHEEP_INLINE uint32_t cheep_pair(int32_t low, int32_t high) {
    return ((uint32_t)low & 0xffffu) | ((uint32_t)high << 16);
}
CHEEP_INLINE uint32_t cheep_even(uint32_t v) {
    return cheep_pair((int8_t)(uint8_t)v, (int8_t)(uint8_t)(v >> 16));
}
CHEEP_INLINE uint32_t cheep_odd(uint32_t v) {
    return cheep_pair((int8_t)(uint8_t)(v >> 8), (int8_t)(uint8_t)(v >> 24));
}
CHEEP_INLINE uint32_t cheep_minus(uint32_t a, uint32_t b) {
    return cheep_pair(cheep_low(a) - cheep_low(b), cheep_high(a) - cheep_high(b));
}
CHEEP_INLINE int32_t cheep_dual(uint32_t a, uint32_t b, int32_t acc) {
    return acc + cheep_low(a) * cheep_low(b) + cheep_high(a) * cheep_high(b);
}
CHEEP_INLINE int32_t cheep_low_low(uint32_t a, uint32_t b, int32_t acc) {
    return acc + cheep_low(a) * cheep_low(b);
}
CHEEP_INLINE int32_t cheep_low_high(uint32_t a, uint32_t b, int32_t acc) {
    return acc + cheep_low(a) * cheep_high(b);
}
CHEEP_INLINE int32_t cheep_high_low(uint32_t a, uint32_t b, int32_t acc) {
    return acc + cheep_high(a) * cheep_low(b);
}
CHEEP_INLINE int32_t cheep_high_high(uint32_t a, uint32_t b, int32_t acc) {
    return acc + cheep_high(a) * cheep_high(b);
}
CHEEP_INLINE int32_t cheep_high_product(int32_t a, int32_t b, int32_t add) {
    return add + (int32_t)(((int64_t)a * b + INT64_C(0x80000000)) >> 32);
}
CHEEP_INLINE int32_t cheep_positive(int32_t v) { return v < 0 ? 0 : v; }
CHEEP_INLINE int32_t cheep_saturate8(int32_t v) { return v < -128 ? -128 : v > 127 ? 127 : v; }
#endif

/* x / 2^right, rounded, halves away from zero. */
CHEEP_INLINE int32_t cheep_round_shift(int32_t x, int right) {
    return right == 0 ? x : (int32_t)(((int64_t)x + (INT64_C(1) << (right - 1)) + (x >> 31)) >> right);
}

/* a * b / 2^31, rounded, halves up. */
CHEEP_INLINE int32_t cheep_fixed(int32_t a, int32_t b) {
    return (int32_t)(((int64_t)a * b + INT64_C(0x40000000)) >> 31);
}

/* x * 2^left * multiplier / 2^31 / 2^right for any operands, rounded after each division as above. */
CHEEP_INLINE int32_t cheep_scale(int32_t x, int32_t multiplier, int left, int right) {
    return cheep_round_shift(cheep_fixed((int32_t)((uint32_t)x << left), multiplier), right);
}

/* Accumulator -> output byte. Rounds like TFLM: half up at 2^-31, then half away from zero. */
CHEEP_INLINE int32_t cheep_requantize(int32_t acc2, const cheep_channel *c, int limit, cheep_range range) {
    if (limit == CHEEP_ANY) {
        const int left = c->shift < 0 ? -c->shift : 0, right = c->shift < 0 ? 0 : c->shift;
        const int32_t v = cheep_scale(acc2 >> 1, c->multiplier, left, right);
        const int32_t r = (int32_t)((uint32_t)v + (uint32_t)c->round);
        return r < range.lowest ? range.lowest : r > range.highest ? range.highest : r;
    }
    if (limit == CHEEP_FLOOR) {
        return cheep_saturate8(cheep_high_product(acc2, c->multiplier, c->round) >> c->shift);
    }
    if (limit == CHEEP_RELU) { /* below zero becomes the zero point, so the sign needs no care */
        acc2 = cheep_positive(acc2);
        return cheep_saturate8(cheep_high_product(acc2, c->multiplier, c->round) >> c->shift);
    }
    const int32_t v = cheep_high_product(acc2, c->multiplier, c->round + (acc2 >> 31)) >> c->shift;
    if (limit == CHEEP_FULL) {
        return cheep_saturate8(v);
    }
    return v < range.lowest ? range.lowest : v > range.highest ? range.highest : v;
}

/*@ limit: base */
CHEEP_INLINE int8_t cheep_limit(int32_t v, int32_t lowest, int32_t highest) {
    return (int8_t)(v < lowest ? lowest : v > highest ? highest : v);
}

/*@ twice: base */
/* What the blocks below leave in an accumulator -> twice the sum of products. */
#if CHEEP_DSP
#define CHEEP_TWICE(acc) ((acc) >> 7)
#define CHEEP_BLOCK_ARGUMENTS \
    CHEEP_UNUSED const uint32_t *x, CHEEP_UNUSED const int8_t *w, CHEEP_UNUSED int fours, CHEEP_UNUSED int32_t *acc
#if defined(__clang__)
#define CHEEP_NAKED __attribute__((naked, noinline))
#else
#define CHEEP_NAKED __attribute__((naked, noinline, noipa)) /* nobody guesses which registers it changes */
#endif
#else
#define CHEEP_TWICE(acc) (2 * (acc))
#endif

/* Products of values x and weights w, four by four. Weights: per four values 4 bytes of one filter, then 4 of the next.
 * Bytes 0 1 of a filter's word are the 16-bit number 256 * w1 + w0, bytes 2 3 are 256 * w3 + w2. The values of a pixel
 * are the words (x1 - 127, x3 - 127), called v, and (256 * x0 - v1, 256 * x2 - v3). So
 *     word * v + (w0, w2) * second  =  256 * (w0 * x0 + w1 * (x1 - 127) + w2 * x2 + w3 * (x3 - 127)):
 * two dual multiply-accumulates and one unpacking (sxtb16) for four products. The compiler sees to it that the
 * sums stay below 2^23, and folds the 127 into the bias. Without the DSP extension: the same sums, not scaled by 256. */

/*@ pack: twice */
/* (256 * x0, 256 * x2) of four bytes; mask: 0xff00ff00 */
CHEEP_INLINE uint32_t cheep_raise(uint32_t bytes, uint32_t mask) {
#if CHEEP_DSP
    uint32_t r;
    __asm__("and %0, %1, %2, lsl #8" : "=r"(r) : "r"(mask), "r"(bytes));
    return r;
#else
    return (bytes << 8) & mask;
#endif
}

CHEEP_INLINE void cheep_pack_four(const int8_t *from, uint32_t *to, int pixels) {
    const uint32_t bytes = cheep_load32(from), v = cheep_minus(cheep_odd(bytes), UINT32_C(0x007f007f));
    to[0] = v;
    to[pixels] = CHEEP_DSP ? cheep_minus(cheep_raise(bytes, UINT32_C(0xff00ff00)), v) : cheep_even(bytes);
}

/* The values of one pixel: 4 * fours bytes -> two words per four, `pixels` words apart. */
CHEEP_INLINE uint32_t *cheep_pack(const int8_t *from, int fours, uint32_t *to, int pixels) {
    if (fours & 1) {
        cheep_pack_four(from, to, pixels);
        from += 4, to += 2 * pixels;
    }
    const int8_t *const end = from + 4 * (fours & ~1);
    while (from != end) {
        cheep_pack_four(from, to, pixels);
        cheep_pack_four(from + 4, to + 2 * pixels, pixels);
        from += 8, to += 4 * pixels;
    }
    return to;
}

#if !CHEEP_DSP
/* One half of a word of x: 0 low, 1 high. */
CHEEP_INLINE int32_t cheep_half(const uint32_t *word, int which) {
    int16_t v;
#if defined(__BYTE_ORDER__) && defined(__ORDER_BIG_ENDIAN__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    which = 1 - which;
#endif
    memcpy(&v, (const char *)word + 2 * which, sizeof v);
    return v;
}

CHEEP_INLINE int32_t cheep_four(int32_t k0, int32_t k1, int32_t k2, int32_t k3, const uint32_t *v, const uint32_t *even,
                                int32_t sum) {
    sum += k0 * cheep_half(even, 0);
    sum += k1 * cheep_half(v, 0);
    sum += k2 * cheep_half(even, 1);
    return sum + k3 * cheep_half(v, 1);
}

/* Two filters, one to four pixels: acc[filter * pixels + pixel]. */
CHEEP_INLINE void cheep_block(const uint32_t *x, const int8_t *w, int fours, int32_t *acc, int pixels) {
    for (int f = 0; f < 2; ++f, acc += pixels) {
        int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        const uint32_t *v = x;
        const int8_t *k = w + 4 * f;
        for (int i = 0; i < fours; ++i, v += 2 * pixels, k += 8) {
            const int32_t k0 = k[0], k2 = k[2], k1 = k[1] + (k0 < 0), k3 = k[3] + (k2 < 0);
            const uint32_t *const e = v + pixels;
            s0 = cheep_four(k0, k1, k2, k3, v, e, s0);
            if (pixels > 1) {
                s1 = cheep_four(k0, k1, k2, k3, v + 1, e + 1, s1);
                s2 = cheep_four(k0, k1, k2, k3, v + 2, e + 2, s2);
            }
            if (pixels > 3) {
                s3 = cheep_four(k0, k1, k2, k3, v + 3, e + 3, s3);
            }
        }
        acc[0] = s0;
        if (pixels > 1) {
            acc[1] = s1, acc[2] = s2;
        }
        if (pixels > 3) {
            acc[3] = s3;
        }
    }
}
#endif

/*@ fours: pack */
#if CHEEP_DSP
/* The steps of the blocks below, as strings of assembler. In all of them
 *     r0  x, the packed pixels: uint32_t[fours][2][pixels], read front to back
 *     r1  the filters' bytes:   int8_t[fours][2][4], read front to back
 *     r2  r3  a word of the first filter and of the second
 * and the sums stay in registers: [filter][pixel] from r4 on. */

/* How a product enters its sum: the first of a sum starts it, the others are added. */
#define CHEEP_START(sum, word, pixel) "smuad " #sum ", " #word ", " #pixel "\n"
#define CHEEP_ADD(sum, word, pixel) "smlad " #sum ", " #word ", " #pixel ", " #sum "\n"

/* Two filters meet one pixel. */
#define CHEEP_PIXEL(ENTER, word0, word1, pixel, sum0, sum1) ENTER(sum0, word0, pixel) ENTER(sum1, word1, pixel)

/* Two filters' words -> (w0, w2), for the pixels' second words. */
#define CHEEP_UNPACK(word0, word1) "sxtb16 " #word0 ", " #word0 "\n" "sxtb16 " #word1 ", " #word1 "\n"

/* Four values of four pixels. Pixels: r12 lr, two by two; sums: r4-r7 and r8-r11. 92 bytes of code. */
#define CHEEP_HALF4(ENTER) \
    "ldrd r12, lr, [r0], #8\n" \
    CHEEP_PIXEL(ENTER, r2, r3, r12, r4, r8) CHEEP_PIXEL(ENTER, r2, r3, lr, r5, r9) \
    "ldrd r12, lr, [r0], #8\n" \
    CHEEP_PIXEL(ENTER, r2, r3, r12, r6, r10) CHEEP_PIXEL(ENTER, r2, r3, lr, r7, r11)
#define CHEEP_FOUR4(ENTER) \
    "ldrd r2, r3, [r1], #8\n" CHEEP_HALF4(ENTER) CHEEP_UNPACK(r2, r3) CHEEP_HALF4(CHEEP_ADD)

/* Four values of three pixels. Pixels: r10-r12; sums: r4-r6 and r7-r9. 68 bytes of code. */
#define CHEEP_HALF3(ENTER) \
    "ldmia r0!, {r10, r11, r12}\n" \
    CHEEP_PIXEL(ENTER, r2, r3, r10, r4, r7) CHEEP_PIXEL(ENTER, r2, r3, r11, r5, r8) \
    CHEEP_PIXEL(ENTER, r2, r3, r12, r6, r9)
#define CHEEP_FOUR3(ENTER) \
    "ldrd r2, r3, [r1], #8\n" CHEEP_HALF3(ENTER) CHEEP_UNPACK(r2, r3) CHEEP_HALF3(CHEEP_ADD)

/* Twice four values of one pixel. Words of the filters: r2 r3, then r6 r7; pixel: r8 r9, then r10 r11; sums: r4, r5. */
#define CHEEP_FOUR1(word0, word1, pixel, second) \
    CHEEP_PIXEL(CHEEP_ADD, word0, word1, pixel, r4, r5) CHEEP_UNPACK(word0, word1) \
    CHEEP_PIXEL(CHEEP_ADD, word0, word1, second, r4, r5)
#define CHEEP_EIGHT1 \
    "ldmia r1!, {r2, r3, r6, r7}\n" \
    "ldmia r0!, {r8-r11}\n" \
    CHEEP_FOUR1(r2, r3, r8, r9) CHEEP_FOUR1(r6, r7, r10, r11)

/* A round: a step four times. Who begins with fewer enters at 3, 2 or 1; the others at 0. */
#define CHEEP_ROUND(step) "0:\n" step "3:\n" step "2:\n" step "1:\n" step

/* Into the round by what is left of r12 over a multiple of four steps. */
#define CHEEP_ENTER_ROUND \
    "cmp r12, #2\n" \
    "bhi 3f\n" \
    "beq 2f\n" \
    "cmp r12, #1\n" \
    "beq 1f\n"

#define CHEEP_ZERO(sum) "mov " #sum ", #0\n"
#endif

/*@ block4: fours */
/* Two filters, four pixels: acc[filter * 4 + pixel]. x: per four values four words v, then the four second words. */
#if CHEEP_DSP
CHEEP_UNUSED CHEEP_NAKED static void cheep_block4(CHEEP_BLOCK_ARGUMENTS) {
    __asm__ volatile(
        "push {r2-r11, lr}\n" /* [sp]: fours, soon the end of x; [sp, #4]: acc */
        "and r12, r2, #3\n"
        "add r2, r0, r2, lsl #5\n"
        "str r2, [sp]\n"
        CHEEP_ZERO(r4) CHEEP_ZERO(r5) CHEEP_ZERO(r6) CHEEP_ZERO(r7)
        CHEEP_ZERO(r8) CHEEP_ZERO(r9) CHEEP_ZERO(r10) CHEEP_ZERO(r11)
        CHEEP_ENTER_ROUND
        CHEEP_ROUND(CHEEP_FOUR4(CHEEP_ADD))
        "ldr r12, [sp]\n"
        "cmp r0, r12\n"
        "bne 0b\n"
        "ldr r3, [sp, #4]\n"
        "stmia r3, {r4-r11}\n"
        "pop {r2-r11, pc}\n"
    );
}
#else
CHEEP_UNUSED CHEEP_NOINLINE static void cheep_block4(const uint32_t *x, const int8_t *w, int fours, int32_t *acc) {
    cheep_block(x, w, fours, acc, 4);
}
#endif

/*@ block3: fours */
/* The same for three pixels: acc[filter * 3 + pixel]. */
#if CHEEP_DSP
CHEEP_UNUSED CHEEP_NAKED static void cheep_block3(CHEEP_BLOCK_ARGUMENTS) {
    __asm__ volatile(
        "push {r3-r11, lr}\n" /* [sp]: acc; lr: the end of x */
        "and r12, r2, #3\n"
        "movs r3, #24\n"
        "mla lr, r2, r3, r0\n"
        CHEEP_ZERO(r4) CHEEP_ZERO(r5) CHEEP_ZERO(r6) CHEEP_ZERO(r7) CHEEP_ZERO(r8) CHEEP_ZERO(r9)
        CHEEP_ENTER_ROUND
        CHEEP_ROUND(CHEEP_FOUR3(CHEEP_ADD))
        "cmp r0, lr\n"
        "bne 0b\n"
        "ldr r3, [sp]\n"
        "stmia r3, {r4-r9}\n"
        "pop {r3-r11, pc}\n"
    );
}
#else
CHEEP_UNUSED CHEEP_NOINLINE static void cheep_block3(const uint32_t *x, const int8_t *w, int fours, int32_t *acc) {
    cheep_block(x, w, fours, acc, 3);
}
#endif

/*@ block1: fours */
/* The same for one pixel: acc[filter]; fours is even. */
#if CHEEP_DSP
CHEEP_UNUSED CHEEP_NAKED static void cheep_block1(CHEEP_BLOCK_ARGUMENTS) {
    __asm__ volatile(
        "push {r3-r11, lr}\n" /* [sp]: acc; lr: the end of x */
        "add lr, r0, r2, lsl #3\n"
        CHEEP_ZERO(r4) CHEEP_ZERO(r5)
        "ands r12, r2, #6\n"
        "beq 0f\n"
        "cmp r12, #4\n"
        "bhi 3f\n"
        "beq 2f\n"
        "b 1f\n"
        CHEEP_ROUND(CHEEP_EIGHT1)
        "cmp r0, lr\n"
        "bne 0b\n"
        "ldr r3, [sp]\n"
        "strd r4, r5, [r3]\n"
        "pop {r3-r11, pc}\n"
    );
}
#else
CHEEP_UNUSED CHEEP_NOINLINE static void cheep_block1(const uint32_t *x, const int8_t *w, int fours, int32_t *acc) {
    cheep_block(x, w, fours, acc, 1);
}
#endif

/*@ matrix: pack */
/* Pixels times filters, one row of output. A group of pixels is packed, then meets two filters at a time. */
typedef struct {
    const int8_t *weights; /* see above; [filters / 2][fours][2][4] */
    const cheep_channel *channels;
    int32_t at[4], advance; /* bytes: from a group's first pixel to its pixels, and to the next group */
    int32_t row_step, piece_step; /* bytes from a row under the filter to the next, and between runs of bytes in it */
    int32_t step, pixel_step; /* of the output: from a channel to the next, from a pixel (pooled: a group) to the next */
    int16_t filters, height, pieces, piece_fours, fours, groups, last; /* last: pixels of the last group */
    int16_t chunk; /* fours whose products may be summed up before they are scaled back (WIDE: fewer than all) */
    cheep_range range;
} cheep_matrix;

typedef void cheep_packer(const cheep_matrix *m, const int8_t *rows, uint32_t *x, int valid);
typedef void cheep_grouper(const cheep_matrix *m, const uint32_t *x, void *out, int valid);
typedef void cheep_blocker(const uint32_t *x, const int8_t *w, int fours, int32_t *acc);
enum { CHEEP_STORE, CHEEP_MAX, CHEEP_MEAN, CHEEP_SUM };

/* The values under the filter at `valid` pixels. */
CHEEP_INLINE void cheep_pack_group(const cheep_matrix *m, const int8_t *rows, uint32_t *x, int valid, int pixels) {
    const int row_step = m->row_step, height = m->height, pieces = m->pieces, fours = m->piece_fours;
    if (height == 1 && pieces == 1) {
        for (int i = 0; i < valid; ++i) {
            const int8_t *from = rows + m->at[i];
            uint32_t *to = x + i;
            int n = fours;
            do {
                cheep_pack_four(from, to, pixels);
                from += 4, to += 2 * pixels;
            } while (--n > 0);
        }
        return;
    }
    for (int i = 0; i < valid; ++i) {
        const int8_t *from = rows + m->at[i];
        uint32_t *to = x + i;
        for (int y = height; y > 0; --y, from += row_step) {
            to = cheep_pack(from, fours, to, pixels);
            for (int k = 1; k < pieces; ++k) {
                to = cheep_pack(from + k * m->piece_step, fours, to, pixels);
            }
        }
    }
}

/* One filter's doubled sums of a group -> bytes at out, or (SUM) added to *sum. wide: acc holds them as they are. */
CHEEP_INLINE void cheep_finish(const int32_t *acc, bool wide, const cheep_channel *c, int8_t *out, int32_t *sum, int pixel_step,
                               int valid, int kind, int pixels, int limit, cheep_range range) {
    const cheep_channel k = *c;
    if (kind == CHEEP_MAX) {
        int32_t best = acc[0] > acc[1] ? acc[0] : acc[1];
        best = acc[2] > best ? acc[2] : best;
        best = acc[3] > best ? acc[3] : best;
        *out = (int8_t)cheep_requantize(k.bias2 + (wide ? best : CHEEP_TWICE(best)), &k, limit, range);
        return;
    }
    const int32_t v0 = cheep_requantize(k.bias2 + (wide ? acc[0] : CHEEP_TWICE(acc[0])), &k, limit, range);
    int32_t total = v0;
    if (kind == CHEEP_STORE) {
        *out = (int8_t)v0;
    }
    CHEEP_UNROLL
    for (int i = 1; i < 4; ++i) {
        if (i < pixels && i < valid) {
            const int32_t v = cheep_requantize(k.bias2 + (wide ? acc[i] : CHEEP_TWICE(acc[i])), &k, limit, range);
            total += v;
            if (kind == CHEEP_STORE) {
                *(out += pixel_step) = (int8_t)v;
            }
        }
    }
    if (kind == CHEEP_MEAN) {
        *out = (int8_t)(total > 0 ? (total + 2) / 4 : (total - 2) / 4);
    } else if (kind == CHEEP_SUM) {
        *sum += total;
    }
}

CHEEP_INLINE void cheep_group(const cheep_matrix *m, const uint32_t *x, void *result, int valid, cheep_blocker *block,
                              int kind, int pixels, bool wide, int limit) {
    int8_t *out = result;
    int32_t *sums = kind == CHEEP_SUM ? result : NULL;
    const int8_t *w = m->weights;
    const cheep_channel *c = m->channels, *const end = c + m->filters;
    const int fours = m->fours, step = m->step, pixel_step = m->pixel_step;
    const cheep_range range = m->range;
    for (;;) {
        int32_t acc[8];
        if (wide) {
            int32_t part[8];
            for (int i = 0; i < 2 * pixels; ++i) {
                acc[i] = 0;
            }
            for (int first = 0; first < fours; first += m->chunk) {
                block(x + 2 * pixels * first, w + 8 * first, fours - first < m->chunk ? fours - first : m->chunk, part);
                for (int i = 0; i < 2 * pixels; ++i) {
                    acc[i] += CHEEP_TWICE(part[i]);
                }
            }
        } else {
            block(x, w, fours, acc);
        }
        w += 8 * fours;
        cheep_finish(acc, wide, c, out, sums, pixel_step, valid, kind, pixels, limit, range);
        if (++c == end) {
            return;
        }
        out += step;
        sums += kind == CHEEP_SUM;
        cheep_finish(acc + pixels, wide, c, out, sums, pixel_step, valid, kind, pixels, limit, range);
        if (++c == end) {
            return;
        }
        out += step;
        sums += kind == CHEEP_SUM;
    }
}

/* rows: the first row under the filter; x: scratch of 8 * pixels * fours bytes, aligned to 4; out: int8_t, or the
 * int32_t sums. */
CHEEP_INLINE void cheep_matrix_row(const cheep_matrix *m, const int8_t *rows, uint32_t *x, void *out, cheep_packer *pack,
                                   cheep_grouper *group, int kind, int pixels) {
    const int step = kind == CHEEP_SUM ? 0 : kind == CHEEP_STORE ? pixels * m->pixel_step : m->pixel_step;
    for (int g = m->groups; g > 0; --g) {
        const int valid = g > 1 ? pixels : m->last;
        pack(m, rows, x, valid);
        group(m, x, out, valid);
        rows += m->advance;
        out = (int8_t *)out + step;
    }
}

/* The functions of a kind of result, a number of pixels, and a limit. */
#define CHEEP_GROUP_C(KIND, PIXELS, WIDE, LIMIT, name) \
    CHEEP_NOINLINE static void name(const cheep_matrix *m, const uint32_t *x, void *out, int valid) { \
        cheep_group(m, x, out, valid, cheep_block##PIXELS, CHEEP_##KIND, PIXELS, WIDE, CHEEP_##LIMIT); \
    }
#define CHEEP_MATRIX_ROW(KIND, PIXELS, name, group) \
    CHEEP_NOINLINE static void name(const cheep_matrix *m, const int8_t *rows, int8_t *scratch, void *out) { \
        cheep_matrix_row(m, rows, (uint32_t *)(void *)scratch, out, cheep_pack##PIXELS, group, CHEEP_##KIND, PIXELS); \
    }
#define CHEEP_MATRIX_C(KIND, PIXELS, WIDE, LIMIT) \
    CHEEP_GROUP_C(KIND, PIXELS, WIDE, LIMIT, cheep_group_##KIND##PIXELS##_##LIMIT##_##WIDE) \
    CHEEP_MATRIX_ROW(KIND, PIXELS, cheep_##KIND##PIXELS##_##LIMIT##_##WIDE, \
                     cheep_group_##KIND##PIXELS##_##LIMIT##_##WIDE)

/*@ group: matrix fours */
/* cheep_group by hand, with what follows the sums: rescaled, limited, stored, without a detour through memory. The first
 * four starts the sums, the others add. In: r0 the matrix, r1 x, r2 out, r3 the pixels to store. */
#if CHEEP_DSP
_Static_assert(offsetof(cheep_matrix, step) == 36 && offsetof(cheep_matrix, pixel_step) == 40 &&
                   offsetof(cheep_matrix, filters) == 44 && offsetof(cheep_matrix, fours) == 52,
               "the blocks in assembler know where these are");
/* All registers are taken, so that what a group needs lies on the stack, 36 bytes. ldrd takes two neighbours. */
#define CHEEP_AT_X_END "[sp]"
#define CHEEP_AT_X "[sp, #4]"
#define CHEEP_AT_ENTRY "[sp, #8]" /* where the round is entered after the first four */
#define CHEEP_AT_OUT "[sp, #12]"
#define CHEEP_AT_PIXEL_STEP "[sp, #16]"
#define CHEEP_AT_VALID "[sp, #20]" /* the pixels to store */
#define CHEEP_AT_STEP "[sp, #24]"
#define CHEEP_AT_CHANNEL "[sp, #28]"
#define CHEEP_AT_CHANNELS_END "[sp, #32]"

/* Fills the stack. bytes: of x per four; size: bytes of the code of a four, by which the entry is reckoned (one four in
 * all: past the round). 5 is the next two filters: r0 x, r1 their weights. */
#define CHEEP_BEGIN(bytes, size) \
    "push {r4-r11, lr}\n" \
    "sub sp, sp, #36\n" \
    "str r1, " CHEEP_AT_X "\n" \
    "str r2, " CHEEP_AT_OUT "\n" \
    "str r3, " CHEEP_AT_VALID "\n" \
    "ldrd r6, r7, [r0, #36]\n" /* step, pixel_step */ \
    "str r6, " CHEEP_AT_STEP "\n" \
    "str r7, " CHEEP_AT_PIXEL_STEP "\n" \
    "ldrd r4, r5, [r0]\n" /* weights, channels */ \
    "str r5, " CHEEP_AT_CHANNEL "\n" \
    "ldrsh r8, [r0, #44]\n" /* filters */ \
    "add r9, r5, r8, lsl #4\n" \
    "str r9, " CHEEP_AT_CHANNELS_END "\n" \
    "ldrsh r8, [r0, #52]\n" /* fours */ \
    "mov r9, #" #bytes "\n" \
    "mla r9, r8, r9, r1\n" \
    "str r9, " CHEEP_AT_X_END "\n" \
    "mov r1, r4\n" \
    "subs r8, r8, #1\n" /* entry: 0 + size * (-(fours - 1) modulo 4) */ \
    "rsb r8, r8, #0\n" \
    "and r8, r8, #3\n" \
    "mov r10, #" #size "\n" \
    "adr.w r9, 0f\n" \
    "mla r9, r8, r10, r9\n" \
    "ldrsh r8, [r0, #52]\n" \
    "cmp r8, #1\n" \
    "it eq\n" \
    "adreq r9, 9f\n" \
    "orr r9, r9, #1\n" /* Thumb code */ \
    "str r9, " CHEEP_AT_ENTRY "\n" \
    "5:\n" \
    "ldr r0, " CHEEP_AT_X "\n"
#define CHEEP_TO_ENTRY "ldr.w pc, " CHEEP_AT_ENTRY "\n .balign 4\n"
/* The sums of two filters: r4-r7 and r8-r11; of three pixels r4-r6 and r7-r9 (lr is free there: the end of x). */
#define CHEEP_SUMS4 \
    CHEEP_BEGIN(32, 92) CHEEP_FOUR4(CHEEP_START) CHEEP_TO_ENTRY CHEEP_ROUND(CHEEP_FOUR4(CHEEP_ADD)) \
    "ldr r12, " CHEEP_AT_X_END "\n cmp r0, r12\n bne 0b\n" \
    "9:\n"
#define CHEEP_SUMS3 \
    CHEEP_BEGIN(24, 68) "ldr.w lr, " CHEEP_AT_X_END "\n" \
    CHEEP_FOUR3(CHEEP_START) CHEEP_TO_ENTRY CHEEP_ROUND(CHEEP_FOUR3(CHEEP_ADD)) \
    "cmp r0, lr\n bne 0b\n" \
    "9:\n"

/* The constants of the next channel: r2 bias2, r3 multiplier, r12 round, lr shift; r0 is free after it. */
#define CHEEP_NEXT_CHANNEL \
    "ldr r0, " CHEEP_AT_CHANNEL "\n" \
    "ldmia r0!, {r2, r3, r12, lr}\n" \
    "str r0, " CHEEP_AT_CHANNEL "\n"
/* A sum -> a byte, see cheep_requantize. */
#define CHEEP_BIAS(r) "add " #r ", r2, " #r ", asr #7\n"
#define CHEEP_SCALE(r, round) \
    "smmlar " #r ", " #r ", r3, " #round "\n" \
    "asr " #r ", " #r ", lr\n" \
    "ssat " #r ", #8, " #r "\n"
#define CHEEP_RESCALE_FULL(r) CHEEP_BIAS(r) "add r0, r12, " #r ", asr #31\n" CHEEP_SCALE(r, r0)
#define CHEEP_RESCALE_RELU(r) CHEEP_BIAS(r) "bic " #r ", " #r ", " #r ", asr #31\n" CHEEP_SCALE(r, r12)
#define CHEEP_RESCALE_FLOOR(r) CHEEP_BIAS(r) CHEEP_SCALE(r, r12)
#define CHEEP_RESCALE3(LIMIT, a, b, c) \
    CHEEP_NEXT_CHANNEL CHEEP_RESCALE_##LIMIT(a) CHEEP_RESCALE_##LIMIT(b) CHEEP_RESCALE_##LIMIT(c)
#define CHEEP_RESCALE4(LIMIT, a, b, c, d) CHEEP_RESCALE3(LIMIT, a, b, c) CHEEP_RESCALE_##LIMIT(d)

/* One filter's bytes at out, out + pixel_step ...: r0 out, r2 pixel_step, r3 the pixels to store, r12 step. A group at
 * the end of a row has fewer pixels: FEWER, the code behind the last group, enters at 2 and returns to 1. The labels of
 * a filter are these digits before its number. */
#define CHEEP_STORE_FIRST(a) \
    "ldrd r0, r2, " CHEEP_AT_OUT "\n" \
    "ldrd r3, r12, " CHEEP_AT_VALID "\n" \
    "strb " #a ", [r0]\n"
#define CHEEP_STORE_MORE(b, c) \
    "strb " #b ", [r0, r2]\n" \
    "strb " #c ", [r0, r2, lsl #1]\n"
#define CHEEP_STORE_DONE(label) \
    "1" #label ":\n" \
    "add r0, r0, r12\n" \
    "str r0, " CHEEP_AT_OUT "\n"
#define CHEEP_DONE_STORE4(LIMIT, a, b, c, d, label) \
    CHEEP_RESCALE4(LIMIT, a, b, c, d) CHEEP_STORE_FIRST(a) \
    "add lr, r2, r2, lsl #1\n" \
    "cmp r3, #4\n" \
    "bne 2" #label "f\n" \
    CHEEP_STORE_MORE(b, c) \
    "strb " #d ", [r0, lr]\n" \
    CHEEP_STORE_DONE(label)
#define CHEEP_FEWER4(b, c, label) \
    "2" #label ":\n" \
    "cmp r3, #2\n it ge\n strbge " #b ", [r0, r2]\n" \
    "it gt\n strbgt " #c ", [r0, r2, lsl #1]\n" \
    "b 1" #label "b\n"
#define CHEEP_DONE_STORE3(LIMIT, a, b, c, label) \
    CHEEP_RESCALE3(LIMIT, a, b, c) CHEEP_STORE_FIRST(a) \
    "cmp r3, #3\n" \
    "bne 2" #label "f\n" \
    CHEEP_STORE_MORE(b, c) CHEEP_STORE_DONE(label)
#define CHEEP_FEWER3(b, label) \
    "2" #label ":\n" \
    "cmp r3, #2\n it ge\n strbge " #b ", [r0, r2]\n" \
    "b 1" #label "b\n"
/* One filter's pixels added up, into the int32_t at out. Fewer pixels leave out additions: they enter at 3, 1 or 4. */
#define CHEEP_IF_FEWER(pixels, label) "ldr r3, " CHEEP_AT_VALID "\n cmp r3, #" #pixels "\n bne 2" #label "f\n"
#define CHEEP_SUM_DONE(a, b, label) \
    "1" #label ": add " #a ", " #a ", " #b "\n" \
    "4" #label ": ldr r0, " CHEEP_AT_OUT "\n ldr r2, [r0]\n add r2, r2, " #a "\n" \
    "str r2, [r0], #4\n str r0, " CHEEP_AT_OUT "\n"
#define CHEEP_DONE_SUM4(LIMIT, a, b, c, d, label) \
    CHEEP_RESCALE4(LIMIT, a, b, c, d) CHEEP_IF_FEWER(4, label) \
    "add " #c ", " #c ", " #d "\n" \
    "3" #label ": add " #b ", " #b ", " #c "\n" \
    CHEEP_SUM_DONE(a, b, label)
#define CHEEP_FEWER_SUM4(label) \
    "2" #label ": cmp r3, #2\n bgt 3" #label "b\n beq 1" #label "b\n b 4" #label "b\n"
#define CHEEP_DONE_SUM3(LIMIT, a, b, c, label) \
    CHEEP_RESCALE3(LIMIT, a, b, c) CHEEP_IF_FEWER(3, label) \
    "add " #b ", " #b ", " #c "\n" \
    CHEEP_SUM_DONE(a, b, label)
#define CHEEP_FEWER_SUM3(label) \
    "2" #label ": cmp r3, #2\n beq 1" #label "b\n b 4" #label "b\n"
/* The largest of one filter's four sums, rescaled, at out. */
#define CHEEP_LARGER(a, b) "cmp " #a ", " #b "\n it lt\n movlt " #a ", " #b "\n"
#define CHEEP_DONE_MAX4(LIMIT, a, b, c, d) \
    CHEEP_LARGER(a, b) CHEEP_LARGER(c, d) CHEEP_LARGER(a, c) \
    CHEEP_NEXT_CHANNEL CHEEP_RESCALE_##LIMIT(a) \
    "ldr r0, " CHEEP_AT_OUT "\n strb " #a ", [r0]\n" \
    "ldr r3, " CHEEP_AT_STEP "\n add r0, r0, r3\n str r0, " CHEEP_AT_OUT "\n"

/* The groups: two filters, and again from 5 until the channels end (an odd number ends after the first filter). */
#define CHEEP_CHANNELS_END "ldrd r0, r2, " CHEEP_AT_CHANNEL "\n cmp r0, r2\n"
#define CHEEP_LAST_CHANNEL CHEEP_CHANNELS_END "beq 6f\n"
#define CHEEP_MORE_CHANNELS CHEEP_CHANNELS_END "bne 5b\n"
#define CHEEP_LEAVE "6: add sp, sp, #36\n pop {r4-r11, pc}\n"
#define CHEEP_GROUP_STORE4(LIMIT) \
    CHEEP_SUMS4 CHEEP_DONE_STORE4(LIMIT, r4, r5, r6, r7, 1) CHEEP_LAST_CHANNEL \
    CHEEP_DONE_STORE4(LIMIT, r8, r9, r10, r11, 2) CHEEP_MORE_CHANNELS CHEEP_LEAVE CHEEP_FEWER4(r5, r6, 1) \
    CHEEP_FEWER4(r9, r10, 2)
#define CHEEP_GROUP_STORE3(LIMIT) \
    CHEEP_SUMS3 CHEEP_DONE_STORE3(LIMIT, r4, r5, r6, 1) CHEEP_LAST_CHANNEL \
    CHEEP_DONE_STORE3(LIMIT, r7, r8, r9, 2) CHEEP_MORE_CHANNELS CHEEP_LEAVE CHEEP_FEWER3(r5, 1) CHEEP_FEWER3(r8, 2)
#define CHEEP_GROUP_SUM4(LIMIT) \
    CHEEP_SUMS4 CHEEP_DONE_SUM4(LIMIT, r4, r5, r6, r7, 1) CHEEP_LAST_CHANNEL \
    CHEEP_DONE_SUM4(LIMIT, r8, r9, r10, r11, 2) CHEEP_MORE_CHANNELS CHEEP_LEAVE CHEEP_FEWER_SUM4(1) CHEEP_FEWER_SUM4(2)
#define CHEEP_GROUP_SUM3(LIMIT) \
    CHEEP_SUMS3 CHEEP_DONE_SUM3(LIMIT, r4, r5, r6, 1) CHEEP_LAST_CHANNEL \
    CHEEP_DONE_SUM3(LIMIT, r7, r8, r9, 2) CHEEP_MORE_CHANNELS CHEEP_LEAVE CHEEP_FEWER_SUM3(1) CHEEP_FEWER_SUM3(2)
#define CHEEP_GROUP_MAX4(LIMIT) \
    CHEEP_SUMS4 CHEEP_DONE_MAX4(LIMIT, r4, r5, r6, r7) CHEEP_LAST_CHANNEL \
    CHEEP_DONE_MAX4(LIMIT, r8, r9, r10, r11) CHEEP_MORE_CHANNELS CHEEP_LEAVE
#define CHEEP_GROUP(KIND, PIXELS, LIMIT) \
    CHEEP_NAKED static void cheep_group_##KIND##PIXELS##_##LIMIT( \
        CHEEP_UNUSED const cheep_matrix *m, CHEEP_UNUSED const uint32_t *x, CHEEP_UNUSED void *out, \
        CHEEP_UNUSED int valid) { \
        __asm__ volatile(CHEEP_GROUP_##KIND##PIXELS(LIMIT)); \
    }
#else
#define CHEEP_GROUP(KIND, PIXELS, LIMIT) CHEEP_GROUP_C(KIND, PIXELS, false, LIMIT, cheep_group_##KIND##PIXELS##_##LIMIT)
#endif
#define CHEEP_MATRIX(KIND, PIXELS, LIMIT) \
    CHEEP_GROUP(KIND, PIXELS, LIMIT) \
    CHEEP_MATRIX_ROW(KIND, PIXELS, cheep_##KIND##PIXELS##_##LIMIT, cheep_group_##KIND##PIXELS##_##LIMIT)

/*@ pack1: matrix */
CHEEP_NOINLINE static void cheep_pack1(const cheep_matrix *m, const int8_t *rows, uint32_t *x, int valid) {
    cheep_pack_group(m, rows, x, valid, 1);
}

/*@ pack3: matrix */
CHEEP_NOINLINE static void cheep_pack3(const cheep_matrix *m, const int8_t *rows, uint32_t *x, int valid) {
    cheep_pack_group(m, rows, x, valid, 3);
}

/*@ pack4: matrix */
CHEEP_NOINLINE static void cheep_pack4(const cheep_matrix *m, const int8_t *rows, uint32_t *x, int valid) {
    cheep_pack_group(m, rows, x, valid, 4);
}

/*@ copy: base */
/* memmove to a lower address, or between places apart, by words where both are aligned. */
CHEEP_NOINLINE static void cheep_copy(int8_t *to, const int8_t *from, int n) {
#if CHEEP_DSP
    if ((((uintptr_t)to | (uintptr_t)from) & 3) == 0) {
        for (; n >= 16; n -= 16) {
            __asm__ volatile("ldmia %0!, {r4, r5, r6, r12}\n stmia %1!, {r4, r5, r6, r12}"
                             : "+r"(from), "+r"(to)
                             :
                             : "r4", "r5", "r6", "r12", "memory");
        }
    }
#endif
    for (; n >= 8; n -= 8, to += 8, from += 8) {
        uint32_t words[2];
        memcpy(words, from, sizeof words);
        memcpy(to, words, sizeof words);
    }
    for (int i = 0; i < n; ++i) {
        to[i] = from[i];
    }
}

/*@ planes: base */
/* A row int8[columns][channels] -> planes of one channel, `width` bytes apart. */
CHEEP_NOINLINE static void cheep_planes(const int8_t *row, int columns, int channels, int8_t *to, int width) {
    for (int c = 0; c < channels; ++c, ++row, to += width) {
        const int8_t *from = row;
        for (int x = 0; x < columns; ++x, from += channels) {
            to[x] = *from;
        }
    }
}

/*@ add_up: base */
/* sums[channel] += row[column][channel] */
CHEEP_NOINLINE static void cheep_add_up(const int8_t *row, int columns, int channels, int32_t *sums) {
    for (int x = 0; x < columns; ++x, row += channels) {
        for (int c = 0; c < channels; ++c) {
            sums[c] += row[c];
        }
    }
}

/*@ keep_largest: base */
/* largest[channel] = the larger of it and each row[column][channel] */
CHEEP_NOINLINE static void cheep_keep_largest(const int8_t *row, int columns, int channels, int32_t *largest) {
    for (int x = 0; x < columns; ++x, row += channels) {
        for (int c = 0; c < channels; ++c) {
            largest[c] = row[c] > largest[c] ? row[c] : largest[c];
        }
    }
}

/*@ pool_row: base */
/* The larger of each of four bytes. */
CHEEP_INLINE uint32_t cheep_larger4(uint32_t a, uint32_t b) {
#if CHEEP_DSP
    uint32_t r;
    __asm__("ssub8 %0, %1, %2\n sel %0, %1, %2" : "=&r"(r) : "r"(a), "r"(b) : "cc");
    return r;
#else
    uint32_t r = 0;
    for (int i = 0; i < 32; i += 8) {
        const int8_t x = (int8_t)(uint8_t)(a >> i), y = (int8_t)(uint8_t)(b >> i);
        r |= (uint32_t)(uint8_t)(x > y ? x : y) << i;
    }
    return r;
#endif
}

/* One row of a pooling: the maximum or the rounded mean of height x width pixels; stride: bytes between columns. */
CHEEP_NOINLINE static void cheep_pool_row(const int8_t *rows, int row_step, int height, int width, int stride,
                                          int channels, int columns, int8_t *out, bool mean) {
    const int n = height * width;
    for (int x = 0; x < columns; ++x, rows += stride) {
        int c = 0;
        for (; !mean && c + 4 <= channels; c += 4, out += 4) {
            uint32_t best = UINT32_C(0x80808080);
            for (int y = 0; y < height; ++y) {
                const int8_t *p = rows + y * row_step + c;
                for (int k = 0; k < width; ++k, p += channels) {
                    best = cheep_larger4(best, cheep_load32(p));
                }
            }
            memcpy(out, &best, sizeof best);
        }
        for (; c < channels; ++c) {
            int32_t sum = 0, best = -128;
            for (int y = 0; y < height; ++y) {
                const int8_t *p = rows + y * row_step + c;
                for (int k = 0; k < width; ++k, p += channels) {
                    sum += *p;
                    best = *p > best ? *p : best;
                }
            }
            *out++ = (int8_t)(!mean ? best : sum > 0 ? (sum + n / 2) / n : (sum - n / 2) / n);
        }
    }
}

/*@ single_max: base */
/* A layer with one input channel, then the maximum over four pixels: only the largest pixel matters
 * where the weight is positive, only the smallest where it is negative. */
CHEEP_INLINE uint32_t cheep_extremes_of(int32_t v0, int32_t v1, int32_t v2, int32_t v3) {
    int32_t low = v0 < v1 ? v0 : v1, high = v0 < v1 ? v1 : v0;
    low = v2 < low ? v2 : low;
    high = v2 > high ? v2 : high;
    low = v3 < low ? v3 : low;
    high = v3 > high ? v3 : high;
    return ((uint32_t)high & 0xffffu) | ((uint32_t)low << 16);
}

/* x: (largest, smallest) pixel; pairs: (max(w, 0), min(w, 0)) * 2. */
CHEEP_INLINE void cheep_single_max(uint32_t x, const uint32_t *pairs, const cheep_channel *channel, int channels,
                                   int8_t *out, int step, int limit, cheep_range range) {
    int n = channels;
    do {
        const cheep_channel k = *channel++;
        *out = (int8_t)cheep_requantize(cheep_dual(x, *pairs++, k.bias2), &k, limit, range);
        out += step;
    } while (--n > 0);
}

/*@ taps: base */
/* One row of a 3x3 convolution at two neighbouring outputs: bytes 0 1 2 and 1 2 3 of a word (even: 0 2, odd: 1 3) times
 * the row's taps, added to a and b. sides: (left, right); the middle tap is one half of its word. A macro, because GCC
 * places the instructions of a function otherwise. */
#define CHEEP_TAPS(half, even, odd, sides, middle, a, b) \
    (a) = cheep_low_##half(odd, middle, cheep_dual(even, sides, a)); \
    (b) = cheep_high_##half(even, middle, cheep_dual(odd, sides, b))

/*@ extremes: single_max taps */
/* Convolution 3x3 over one channel of bytes -> the (largest, smallest) of 2 x 2 outputs; taps: see cheep_depth3x3. */
CHEEP_INLINE uint32_t cheep_extremes(const int8_t *in, int row_step, const uint32_t *taps, const cheep_channel *channel,
                                     int limit, cheep_range range) {
    const uint32_t sides0 = taps[0], sides1 = taps[1], sides2 = taps[2], middle01 = taps[3], middle2 = taps[4];
    const cheep_channel c = *channel;
    uint32_t v = cheep_load32(in), even = cheep_even(v), odd = cheep_odd(v);
    int32_t a = c.bias2, b = c.bias2;
    CHEEP_TAPS(low, even, odd, sides0, middle01, a, b);
    v = cheep_load32(in + row_step), even = cheep_even(v), odd = cheep_odd(v);
    CHEEP_TAPS(high, even, odd, sides1, middle01, a, b);
    int32_t d = c.bias2, e = c.bias2;
    CHEEP_TAPS(low, even, odd, sides0, middle01, d, e);
    v = cheep_load32(in + 2 * row_step), even = cheep_even(v), odd = cheep_odd(v);
    CHEEP_TAPS(low, even, odd, sides2, middle2, a, b);
    CHEEP_TAPS(high, even, odd, sides1, middle01, d, e);
    v = cheep_load32(in + 3 * row_step), even = cheep_even(v), odd = cheep_odd(v);
    CHEEP_TAPS(low, even, odd, sides2, middle2, d, e);
    int32_t high = a > b ? a : b, low = a > b ? b : a; /* rescaling is monotonic: only the extremes need it */
    high = d > high ? d : high;
    low = d < low ? d : low;
    high = e > high ? e : high;
    low = e < low ? e : low;
    high = cheep_requantize(high, &c, limit, range);
    low = cheep_requantize(low, &c, limit, range);
    return ((uint32_t)high & 0xffffu) | ((uint32_t)low << 16);
}

/*@ image_max: taps */
/* Convolution 3x3 over one channel of bytes, then the maximum over 2 x 2 outputs, for every filter: the four rows of
 * four bytes are unpacked once. taps: five words per filter, see cheep_depth3x3. */
CHEEP_INLINE void cheep_image_max(const int8_t *in, int row_step, const uint32_t *taps, const cheep_channel *channel,
                                  int channels, int8_t *out, int step, int limit, cheep_range range) {
    uint32_t even[4], odd[4];
    for (int y = 0; y < 4; ++y) {
        const uint32_t v = cheep_load32(in + y * row_step);
        even[y] = cheep_even(v);
        odd[y] = cheep_odd(v);
    }
    const cheep_channel *const end = channel + channels;
    do {
        uint32_t sides0, sides1, middle01, sides2;
        cheep_load64(taps, &sides0, &sides1);
        cheep_load64(taps + 2, &sides2, &middle01);
        const uint32_t middle2 = taps[4];
        int32_t best = INT32_MIN;
        for (int y = 0; y < 2; ++y) {
            int32_t a = 0, b = 0;
            CHEEP_TAPS(low, even[y], odd[y], sides0, middle01, a, b);
            CHEEP_TAPS(high, even[y + 1], odd[y + 1], sides1, middle01, a, b);
            CHEEP_TAPS(low, even[y + 2], odd[y + 2], sides2, middle2, a, b);
            a = b > a ? b : a;
            best = a > best ? a : best;
        }
        *out = (int8_t)cheep_requantize(channel->bias2 + best, channel, limit, range);
        out += step;
        taps += 5;
    } while (++channel != end);
}

/*@ expand: base */
/* 4 * fours bytes -> 16-bit values in the lane order 0 2 1 3. to is aligned to 8 bytes. */
CHEEP_INLINE void cheep_expand(const int8_t *from, int fours, int16_t *to) {
    for (int i = 0; i < fours; ++i) {
        const uint32_t v = cheep_load32(from + 4 * i);
        const uint32_t words[2] = {cheep_even(v), cheep_odd(v)};
        memcpy(CHEEP_ALIGNED8(to + 4 * i), words, sizeof words);
    }
}

/*@ depth3x3: taps */
/* Depthwise 3x3 over one channel of three rows of bytes (row after row at row_step), `count` outputs
 * `stride` columns apart -> bytes at out[i * out_step]; an odd count writes one more.
 * taps: twice the weights, per row (left, right), then the middles (row 0, row 1), (row 2, 0). */
CHEEP_INLINE void cheep_depth3x3(const int8_t *in, int row_step, int stride, const uint32_t *taps,
                                 const cheep_channel *channel, int8_t *out, int out_step, int count, int limit,
                                 cheep_range range) {
    const uint32_t sides0 = taps[0], sides1 = taps[1], sides2 = taps[2], middle01 = taps[3], middle2 = taps[4];
    const cheep_channel c = *channel;
    if (stride == 1) {
        const int8_t *const end = in + count;
        do {
            uint32_t v = cheep_load32(in), even = cheep_even(v), odd = cheep_odd(v);
            int32_t a = c.bias2, b = c.bias2;
            CHEEP_TAPS(low, even, odd, sides0, middle01, a, b);
            v = cheep_load32(in + row_step), even = cheep_even(v), odd = cheep_odd(v);
            CHEEP_TAPS(high, even, odd, sides1, middle01, a, b);
            v = cheep_load32(in + 2 * row_step), even = cheep_even(v), odd = cheep_odd(v);
            CHEEP_TAPS(low, even, odd, sides2, middle2, a, b);
            *out = (int8_t)cheep_requantize(a, &c, limit, range);
            out[out_step] = (int8_t)cheep_requantize(b, &c, limit, range);
            out += 2 * out_step;
            in += 2;
        } while (in < end);
    } else {
        for (int i = 0; i < count; ++i, in += stride, out += out_step) {
            uint32_t v = cheep_load32(in);
            int32_t a = cheep_low_low(cheep_odd(v), middle01, cheep_dual(cheep_even(v), sides0, c.bias2));
            v = cheep_load32(in + row_step);
            a = cheep_low_high(cheep_odd(v), middle01, cheep_dual(cheep_even(v), sides1, a));
            v = cheep_load32(in + 2 * row_step);
            a = cheep_low_low(cheep_odd(v), middle2, cheep_dual(cheep_even(v), sides2, a));
            *out = (int8_t)cheep_requantize(a, &c, limit, range);
        }
    }
}

/*@ depth3x3_two: taps */
/* The same at stride 1 for two rows of outputs, whose second lies `below` behind the first: four rows of bytes. */
CHEEP_INLINE void cheep_depth3x3_two(const int8_t *in, int row_step, const uint32_t *taps, const cheep_channel *channel,
                                     int8_t *out, int out_step, int below, int count, int limit, cheep_range range) {
    const uint32_t sides0 = taps[0], sides1 = taps[1], sides2 = taps[2], middle01 = taps[3], middle2 = taps[4];
    const cheep_channel c = *channel;
    const int8_t *const end = in + count;
    do {
        uint32_t v = cheep_load32(in), even = cheep_even(v), odd = cheep_odd(v);
        int32_t a = c.bias2, b = c.bias2;
        CHEEP_TAPS(low, even, odd, sides0, middle01, a, b);
        v = cheep_load32(in + row_step), even = cheep_even(v), odd = cheep_odd(v);
        CHEEP_TAPS(high, even, odd, sides1, middle01, a, b);
        int32_t d = c.bias2, e = c.bias2;
        CHEEP_TAPS(low, even, odd, sides0, middle01, d, e);
        v = cheep_load32(in + 2 * row_step), even = cheep_even(v), odd = cheep_odd(v);
        CHEEP_TAPS(low, even, odd, sides2, middle2, a, b);
        out[0] = (int8_t)cheep_requantize(a, &c, limit, range);
        out[out_step] = (int8_t)cheep_requantize(b, &c, limit, range);
        CHEEP_TAPS(high, even, odd, sides1, middle01, d, e);
        v = cheep_load32(in + 3 * row_step), even = cheep_even(v), odd = cheep_odd(v);
        CHEEP_TAPS(low, even, odd, sides2, middle2, d, e);
        out[below] = (int8_t)cheep_requantize(d, &c, limit, range);
        out[below + out_step] = (int8_t)cheep_requantize(e, &c, limit, range);
        out += 2 * out_step;
        in += 2;
    } while (in < end);
}

/*@ depth: base */
/* Depthwise, any kernel, over one channel of `height` rows of bytes -> bytes at out[i * out_step]. */
CHEEP_INLINE void cheep_depth(const int8_t *in, int row_step, int stride, const int8_t *weights, int height, int width,
                              const cheep_channel *channel, int8_t *out, int out_step, int count, int limit,
                              cheep_range range) {
    for (int i = 0; i < count; ++i, in += stride, out += out_step) {
        const int8_t *w = weights;
        int32_t acc = 0;
        for (int y = 0; y < height; ++y) {
            const int8_t *row = in + y * row_step;
            for (int x = 0; x < width; ++x) {
                acc += *w++ * row[x];
            }
        }
        *out = (int8_t)cheep_requantize(channel->bias2 + 2 * acc, channel, limit, range);
    }
}

/*@ shape: base */
typedef struct {
    int16_t in_h, in_w, in_c, out_h, out_w, out_c;
    int16_t filter_h, filter_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
    int16_t fours;      /* words of one filter: filter_h * filter_w * in_c bytes, rounded up */
    int16_t group_in, group_out; /* channels of one group */
    int16_t in_zero, out_zero;   /* zero points */
    cheep_range range;
} cheep_shape;

/*@ dot4: base */
/* Four pixels times one filter: acc[i] = sum over 4 * fours values of pixel i times weight. The pixels are at
 * p, p + at[0], p + at[1], p + at[2]: 16-bit values in the lane order 0 2 1 3 of every four; weights are bytes. */
CHEEP_INLINE void cheep_dot4(const int16_t *p, const int at[3], const int8_t *weights, int fours, int32_t acc[4]) {
    int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0;
    const int16_t *const end = p + 4 * fours;
    CHEEP_UNROLL
    do {
        const uint32_t w = cheep_load32(weights);
        const uint32_t even = cheep_even(w), odd = cheep_odd(w);
        uint32_t low, high;
        cheep_load64(p, &low, &high);
        a0 = cheep_dual(high, odd, cheep_dual(low, even, a0));
        cheep_load64(p + at[0], &low, &high);
        a1 = cheep_dual(high, odd, cheep_dual(low, even, a1));
        cheep_load64(p + at[1], &low, &high);
        a2 = cheep_dual(high, odd, cheep_dual(low, even, a2));
        cheep_load64(p + at[2], &low, &high);
        a3 = cheep_dual(high, odd, cheep_dual(low, even, a3));
        weights += 4, p += 4;
    } while (p != end);
    acc[0] = a0, acc[1] = a1, acc[2] = a2, acc[3] = a3;
}

/*@ pixels: dot4 */
/* Four pixels -> `valid` bytes of every filter: out[channel * step + i * pixel_step]. */
CHEEP_INLINE void cheep_pixels(const int16_t *p, const int at[3], const int8_t *weights, const cheep_channel *channel,
                               int fours, int channels, int8_t *out, int step, int pixel_step, int valid, int limit,
                               cheep_range range) {
    const cheep_channel *const end = channel + channels;
    do {
        int32_t acc[4];
        cheep_dot4(p, at, weights, fours, acc);
        int8_t *o = out;
        *o = (int8_t)cheep_requantize(channel->bias2 + 2 * acc[0], channel, limit, range);
        if (valid > 1) {
            *(o += pixel_step) = (int8_t)cheep_requantize(channel->bias2 + 2 * acc[1], channel, limit, range);
        }
        if (valid > 2) {
            *(o += pixel_step) = (int8_t)cheep_requantize(channel->bias2 + 2 * acc[2], channel, limit, range);
        }
        if (valid > 3) {
            *(o += pixel_step) = (int8_t)cheep_requantize(channel->bias2 + 2 * acc[3], channel, limit, range);
        }
        out += step;
        weights += 4 * fours;
    } while (++channel != end);
}

/*@ conv: shape pixels expand */
/* The bytes under the filter at one output pixel, outside ones as the zero point, then as 16-bit values. */
CHEEP_INLINE void cheep_patch(const cheep_shape *s, const int8_t *in, int out_y, int out_x, int8_t *bytes,
                              int16_t *values) {
    int8_t *b = bytes;
    for (int ky = 0; ky < s->filter_h; ++ky) {
        const int y = out_y * s->stride_h - s->pad_top + ky * s->dilation_h;
        for (int kx = 0; kx < s->filter_w; ++kx, b += s->in_c) {
            const int x = out_x * s->stride_w - s->pad_left + kx * s->dilation_w;
            if (y >= 0 && y < s->in_h && x >= 0 && x < s->in_w) {
                memcpy(b, in + (y * s->in_w + x) * s->in_c, (size_t)s->in_c);
            } else {
                memset(b, (uint8_t)s->in_zero, (size_t)s->in_c);
            }
        }
    }
    memset(b, 0, (size_t)(bytes + 4 * s->fours - b));
    cheep_expand(bytes, s->fours, values);
}
/* in int8[in_h][in_w][in_c] -> out int8[out_h][out_w][out_c]; scratch: 4 * fours * 9 bytes, aligned to 8. */
CHEEP_INLINE void cheep_conv(const cheep_shape *s, const int8_t *in, const int8_t *weights,
                             const cheep_channel *channels, int8_t *scratch, int8_t *out, int limit) {
    const int n = s->out_h * s->out_w, values = 4 * s->fours;
    const bool plain = s->filter_h * s->filter_w == 1 && s->stride_h * s->stride_w == 1 && s->in_c == values &&
                       s->out_h == s->in_h && s->out_w == s->in_w;
    int16_t *const pixels = (int16_t *)(void *)scratch; /* [4][values] */
    const int at[3] = {values, 2 * values, 3 * values};
    for (int i = 0; i < n; i += 4) {
        const int valid = n - i < 4 ? n - i : 4;
        for (int k = 0; k < valid; ++k) {
            if (plain) {
                cheep_expand(in + (i + k) * values, s->fours, pixels + k * values);
            } else {
                cheep_patch(s, in, (i + k) / s->out_w, (i + k) % s->out_w, scratch + 8 * values, pixels + k * values);
            }
        }
        cheep_pixels(pixels, at, weights, channels, s->fours, s->out_c, out + i * s->out_c, 1, s->out_c, valid, limit,
                     s->range);
    }
}

/*@ dense: block1 */
/* in int8[rows][depth] -> out int8[rows][channels]. The values are taken `chunk` fours at a time; x: scratch of 8 * chunk
 * bytes; totals: int32[channels], read and written only where there are several chunks. weights: [chunk][filters / 2]... */
typedef struct {
    const int8_t *weights;
    const cheep_channel *channels;
    int16_t rows, filters, fours, chunk; /* fours and chunk are even */
    int32_t depth;
    cheep_range range;
} cheep_matrix_vector;

CHEEP_INLINE void cheep_dense(const cheep_matrix_vector *m, const int8_t *in, uint32_t *x, int32_t *totals, int8_t *out,
                              int limit) {
    const cheep_channel *const end = m->channels + m->filters;
    for (int row = 0; row < m->rows; ++row, in += m->depth) {
        const int8_t *w = m->weights;
        int left = m->depth;
        for (int first = 0; first < m->fours; first += m->chunk) {
            const int fours = m->fours - first < m->chunk ? m->fours - first : m->chunk;
            const bool last = first + fours == m->fours;
            const int whole = left / 4 < fours ? left / 4 : fours;
            if (whole > 0) {
                cheep_pack(in + 4 * first, whole, x, 1);
            }
            if (whole < fours) { /* the last, partial four, and one more to make the number even */
                int8_t rest[8] = {0, 0, 0, 0, 0, 0, 0, 0};
                memcpy(rest, in + 4 * (first + whole), (size_t)(left - 4 * whole));
                cheep_pack(rest, fours - whole, x + 2 * whole, 1);
            }
            left -= 4 * fours;
            int32_t *total = totals;
            for (const cheep_channel *c = m->channels; c < end; c += 2, total += 2) {
                int32_t acc[2];
                cheep_block1(x, w, fours, acc);
                w += 8 * fours;
                for (int i = 0; i < 2 && c + i < end; ++i) {
                    int32_t twice = CHEEP_TWICE(acc[i]);
                    if (m->chunk < m->fours) {
                        twice += first == 0 ? c[i].bias2 : total[i];
                        total[i] = twice;
                    } else {
                        twice += c[i].bias2;
                    }
                    if (last) {
                        out[c + i - m->channels] = (int8_t)cheep_requantize(twice, &c[i], limit, m->range);
                    }
                }
            }
        }
        out += m->filters;
    }
}

/*@ depthwise: shape */
/* Depthwise convolution with multiplier 1, any stride, dilation and padding; weights [h][w][c]. */
CHEEP_INLINE void cheep_depthwise(const cheep_shape *s, const int8_t *in, const int8_t *weights,
                                  const cheep_channel *channels, int8_t *out, int limit) {
    const uint32_t zeros = ((uint32_t)s->in_zero & 0xffffu) * 0x10001u;
    for (int out_y = 0; out_y < s->out_h; ++out_y) {
        for (int out_x = 0; out_x < s->out_w; ++out_x) {
            const int y0 = out_y * s->stride_h - s->pad_top, x0 = out_x * s->stride_w - s->pad_left;
            int ky0 = 0, ky1 = s->filter_h, kx0 = 0, kx1 = s->filter_w;
            while (ky0 < ky1 && y0 + ky0 * s->dilation_h < 0) {
                ++ky0;
            }
            while (ky1 > ky0 && y0 + (ky1 - 1) * s->dilation_h >= s->in_h) {
                --ky1;
            }
            while (kx0 < kx1 && x0 + kx0 * s->dilation_w < 0) {
                ++kx0;
            }
            while (kx1 > kx0 && x0 + (kx1 - 1) * s->dilation_w >= s->in_w) {
                --kx1;
            }
            const int first = ((y0 + ky0 * s->dilation_h) * s->in_w + x0 + kx0 * s->dilation_w) * s->in_c;
            const int fours = s->in_c & ~3;
            for (int c = 0; c < fours; c += 4, out += 4) { /* four channels at a time */
                int32_t acc[4] = {0, 0, 0, 0};
                for (int ky = ky0; ky < ky1; ++ky) {
                    const int8_t *x = in + first + (ky - ky0) * s->dilation_h * s->in_w * s->in_c + c;
                    const int8_t *w = weights + (ky * s->filter_w + kx0) * s->in_c + c;
                    for (int kx = kx0; kx < kx1; ++kx, x += s->dilation_w * s->in_c, w += s->in_c) {
                        const uint32_t four = cheep_load32(x), taps = cheep_load32(w);
                        const uint32_t even = cheep_minus(cheep_even(four), zeros), odd = cheep_minus(cheep_odd(four), zeros);
                        acc[0] = cheep_low_low(even, cheep_even(taps), acc[0]);
                        acc[1] = cheep_low_low(odd, cheep_odd(taps), acc[1]);
                        acc[2] = cheep_high_high(even, cheep_even(taps), acc[2]);
                        acc[3] = cheep_high_high(odd, cheep_odd(taps), acc[3]);
                    }
                }
                for (int i = 0; i < 4; ++i) {
                    const cheep_channel *const k = &channels[c + i];
                    out[i] = (int8_t)cheep_requantize(k->bias2 + 2 * acc[i], k, limit, s->range);
                }
            }
            for (int c = fours; c < s->in_c; ++c) {
                int32_t acc = 0;
                for (int ky = ky0; ky < ky1; ++ky) {
                    const int8_t *x = in + first + (ky - ky0) * s->dilation_h * s->in_w * s->in_c + c;
                    const int8_t *w = weights + (ky * s->filter_w + kx0) * s->in_c + c;
                    for (int kx = kx0; kx < kx1; ++kx, x += s->dilation_w * s->in_c, w += s->in_c) {
                        acc += *w * (*x - s->in_zero);
                    }
                }
                *out++ = (int8_t)cheep_requantize(channels[c].bias2 + 2 * acc, &channels[c], limit, s->range);
            }
        }
    }
}

/*@ conv_general: shape limit */
/* One output channel of the general form: bias, and the exact rescaling with shifts both ways. */
typedef struct {
    int32_t bias, multiplier;
    int8_t left, right;
} cheep_channel_general;

/* Any convolution (groups, dilation, padding) with any scale; weights [out_c][h][w][group_in]. */
CHEEP_NOINLINE static void cheep_conv_general(const cheep_shape *s, const int8_t *in, const int8_t *weights,
                                          const cheep_channel_general *channels, int8_t *out) {
    for (int out_y = 0; out_y < s->out_h; ++out_y) {
        for (int out_x = 0; out_x < s->out_w; ++out_x) {
            for (int c = 0; c < s->out_c; ++c) {
                uint32_t acc = (uint32_t)channels[c].bias;
                const int8_t *w = weights + c * s->filter_h * s->filter_w * s->group_in;
                for (int ky = 0; ky < s->filter_h; ++ky) {
                    const int y = out_y * s->stride_h - s->pad_top + ky * s->dilation_h;
                    for (int kx = 0; kx < s->filter_w; ++kx, w += s->group_in) {
                        const int x = out_x * s->stride_w - s->pad_left + kx * s->dilation_w;
                        if (y < 0 || y >= s->in_h || x < 0 || x >= s->in_w) {
                            continue;
                        }
                        const int8_t *v = in + (y * s->in_w + x) * s->in_c + c / s->group_out * s->group_in;
                        for (int i = 0; i < s->group_in; ++i) {
                            acc += (uint32_t)(w[i] * (v[i] - s->in_zero));
                        }
                    }
                }
                const int32_t v = cheep_scale((int32_t)acc, channels[c].multiplier, channels[c].left, channels[c].right);
                *out++ = cheep_limit((int32_t)((uint32_t)v + (uint32_t)s->out_zero), s->range.lowest, s->range.highest);
            }
        }
    }
}

/*@ pool: shape */
/* Maximum or rounded mean under the filter; cells outside the input do not count. */
CHEEP_INLINE void cheep_pool(const cheep_shape *s, const int8_t *in, int8_t *out, bool mean) {
    for (int out_y = 0; out_y < s->out_h; ++out_y) {
        int y0 = out_y * s->stride_h - s->pad_top, y1 = y0 + s->filter_h;
        y0 = y0 < 0 ? 0 : y0;
        y1 = y1 > s->in_h ? s->in_h : y1;
        for (int out_x = 0; out_x < s->out_w; ++out_x) {
            int x0 = out_x * s->stride_w - s->pad_left, x1 = x0 + s->filter_w;
            x0 = x0 < 0 ? 0 : x0;
            x1 = x1 > s->in_w ? s->in_w : x1;
            const int n = (y1 - y0) * (x1 - x0);
            for (int c = 0; c < s->in_c; ++c) {
                int32_t sum = 0, best = -128;
                for (int y = y0; y < y1; ++y) {
                    const int8_t *v = in + (y * s->in_w + x0) * s->in_c + c;
                    for (int x = x0; x < x1; ++x, v += s->in_c) {
                        sum += *v;
                        best = *v > best ? *v : best;
                    }
                }
                int32_t r = !mean ? best : sum > 0 ? (sum + n / 2) / n : (sum - n / 2) / n;
                r = r < s->range.lowest ? s->range.lowest : r;
                *out++ = (int8_t)(r > s->range.highest ? s->range.highest : r);
            }
        }
    }
}

/*@ rescale: base */
/* A rescaling whose operand fits 30 bits: x * 2^left * multiplier / 2^31 (half up) / 2^right (half away from zero). */
typedef struct {
    int32_t multiplier;
    int16_t left, right;
} cheep_ratio;

CHEEP_INLINE int32_t cheep_rescale(int32_t x, cheep_ratio r) {
    const int32_t x2 = (int32_t)((uint32_t)x << (r.left + 1));
    if (r.right == 0) {
        return cheep_high_product(x2, r.multiplier, 0);
    }
    return cheep_high_product(x2, r.multiplier, (1 << (r.right - 1)) + (x2 >> 31)) >> r.right;
}

/* Limit to a range that the compiler knows. */
CHEEP_INLINE int8_t cheep_within(int32_t v, int32_t lowest, int32_t highest) {
    if (lowest == -128 && highest == 127) {
        return (int8_t)cheep_saturate8(v);
    }
    return (int8_t)(v < lowest ? lowest : v > highest ? highest : v);
}

/*@ add: rescale */
/* a + b or a - b of rescaled bytes. All but the pointers are constants at each call, so that nothing is
 * decided or loaded inside the loop. */
typedef struct {
    cheep_ratio a, b, sum;
    int16_t a_zero, b_zero, out_zero, lowest, highest;
    bool subtract;
} cheep_add_spec;

CHEEP_INLINE void cheep_add(const cheep_add_spec s, const int8_t *a, int a_step, const int8_t *b, int b_step,
                            int8_t *out, int n) {
    const int8_t *const end = out + n;
    do {
        const int32_t x = cheep_rescale(*a - s.a_zero, s.a), y = cheep_rescale(*b - s.b_zero, s.b);
        *out++ = cheep_within(cheep_rescale(s.subtract ? x - y : x + y, s.sum) + s.out_zero, s.lowest, s.highest);
        a += a_step, b += b_step;
    } while (out != end);
}

/*@ mul: rescale */
typedef struct {
    cheep_ratio product;
    int16_t a_zero, b_zero, out_zero, lowest, highest;
} cheep_mul_spec;

CHEEP_INLINE void cheep_mul(const cheep_mul_spec s, const int8_t *a, int a_step, const int8_t *b, int b_step,
                            int8_t *out, int n) {
    const int8_t *const end = out + n;
    do {
        const int32_t v = cheep_rescale((*a - s.a_zero) * (*b - s.b_zero), s.product);
        *out++ = cheep_within(v + s.out_zero, s.lowest, s.highest);
        a += a_step, b += b_step;
    } while (out != end);
}

/*@ prelu: limit */
/* Negative values times the slope of their channel: multiplier, left and right shift of both kinds, zero points. */
typedef struct {
    int32_t multiplier, left, right, slope_multiplier, slope_left, slope_right;
    int32_t zero, slope_zero, out_zero;
} cheep_prelu_spec;

CHEEP_NOINLINE static void cheep_prelu(const cheep_prelu_spec *s, const int8_t *in, const int8_t *slopes, int rows,
                                       int channels, int8_t *out) {
    for (int row = 0; row < rows; ++row) {
        for (int c = 0; c < channels; ++c) {
            const int32_t x = *in++ - s->zero;
            const int32_t v = x >= 0 ? cheep_scale(x, s->multiplier, s->left, s->right)
                                     : cheep_scale(x * (slopes[c] - s->slope_zero), s->slope_multiplier, s->slope_left,
                                                   s->slope_right);
            *out++ = cheep_limit(v + s->out_zero, -128, 127);
        }
    }
}

/*@ lookup: base */
/* One-byte activation: out[i] = table[in[i] + 128]. */
CHEEP_NOINLINE static void cheep_lookup(const int8_t *table, const int8_t *in, int8_t *out, int n) {
    for (int i = 0; i < n; ++i) {
        out[i] = table[in[i] + 128];
    }
}

/*@ softmax: limit */
/* round((a + b) / 2), half away from zero */
CHEEP_INLINE int32_t cheep_half_sum(int32_t a, int32_t b) {
    const int64_t sum = (int64_t)a + b;
    return (int32_t)((sum + (sum >= 0 ? 1 : -1)) / 2);
}

/* exponents[d]: exp of -d input steps, 31 fraction bits, for d < n_exponents; smaller ones count as 0. */
CHEEP_NOINLINE static void cheep_softmax(const int8_t *in, int8_t *out, int rows, int depth, const int32_t *exponents,
                                         int n_exponents) {
    for (int row = 0; row < rows; ++row, in += depth, out += depth) {
        int32_t best = -128;
        for (int i = 0; i < depth; ++i) {
            best = in[i] > best ? in[i] : best;
        }
        int32_t sum = 0; /* 12 integer bits */
        for (int i = 0; i < depth; ++i) {
            if (best - in[i] < n_exponents) {
                sum = (int32_t)((uint32_t)sum + (uint32_t)cheep_round_shift(exponents[best - in[i]], 12));
            }
        }
        int zeros = 0; /* leading ones of nothing: the sum is at least 1 << 19 */
        while (((uint32_t)sum << zeros) < UINT32_C(0x80000000)) {
            ++zeros;
        }
        const int32_t fraction = (int32_t)(((uint32_t)sum << zeros) - UINT32_C(0x80000000));
        const int32_t half = cheep_half_sum(fraction, INT32_MAX);
        int32_t x = 1515870810 + cheep_fixed(half, -1010580540); /* 48/17 - 32/17 * half, 2 integer bits */
        for (int i = 0; i < 3; ++i) {                            /* Newton's division */
            const int32_t left = cheep_fixed(x, (1 << 29) - cheep_fixed(half, x));
            x += left > 536870911 ? INT32_MAX : left < -536870911 ? INT32_MIN : (int32_t)((uint32_t)left << 2);
        }
        const int32_t inverse = x > 1073741823 ? INT32_MAX : x < -1073741823 ? INT32_MIN : (int32_t)((uint32_t)x << 1);
        const int right = 12 - zeros + 23;
        for (int i = 0; i < depth; ++i) {
            int32_t v = -128;
            if (best - in[i] < n_exponents) {
                v = cheep_round_shift(cheep_fixed(inverse, exponents[best - in[i]]), right) - 128;
            }
            out[i] = cheep_limit(v, -128, 127);
        }
    }
}

/*@ quantize: limit */
/* round(value / scale), halves away from zero, + zero; limited to int8. */
CHEEP_NOINLINE static void cheep_quantize(const float *in, int8_t *out, int n, float scale, int zero) {
    for (int i = 0; i < n; ++i) {
        float v;
        memcpy(&v, in + i, sizeof v);
        v /= scale;
        v = v < 1000.0f ? v : 1000.0f;
        v = v > -1000.0f ? v : -1000.0f;
        int32_t whole = (int32_t)v;
        const float rest = v - (float)whole;
        whole += rest >= 0.5f ? 1 : rest <= -0.5f ? -1 : 0;
        out[i] = cheep_limit(whole + zero, -128, 127);
    }
}

/*@ dequantize: base */
CHEEP_NOINLINE static void cheep_dequantize(const int8_t *in, float *out, int n, float scale, int zero) {
    for (int i = 0; i < n; ++i) {
        const float v = scale * (float)(in[i] - zero);
        memcpy(out + i, &v, sizeof v);
    }
}

/*@ dot: base */
/* Sum of products of n bytes, at any address. */
CHEEP_INLINE int32_t cheep_dot(const int8_t *a, const int8_t *b, int n) {
    int32_t acc = 0;
    const int8_t *const end = a + n, *const fours = a + (n & ~3);
    for (; a != fours; a += 4, b += 4) {
        const uint32_t x = cheep_load32(a), y = cheep_load32(b);
        acc = cheep_dual(cheep_odd(x), cheep_odd(y), cheep_dual(cheep_even(x), cheep_even(y), acc));
    }
    for (; a != end; ++a, ++b) {
        acc += *a * *b;
    }
    return acc;
}

/*@ conv_small: shape dot */
/* The same straight from the input, without scratch memory: padding counts as the zero point. */
CHEEP_INLINE int32_t cheep_padding(const cheep_shape *s, const int8_t *weights, int n) {
    int32_t sum = 0;
    for (const int8_t *const end = weights + n; weights < end; ++weights) {
        sum += *weights;
    }
    return sum * s->in_zero;
}

CHEEP_INLINE int32_t cheep_conv_row(const cheep_shape *s, const int8_t *row, const int8_t *w, int x0) {
    const int n = s->in_c;
    int first = 0, last = s->filter_w;
    while (first < last && x0 + first * s->dilation_w < 0) {
        ++first;
    }
    while (last > first && x0 + (last - 1) * s->dilation_w >= s->in_w) {
        --last;
    }
    int32_t acc = cheep_padding(s, w, first * n) + cheep_padding(s, w + last * n, (s->filter_w - last) * n);
    if (s->dilation_w == 1) {
        return acc + cheep_dot(row + (x0 + first) * n, w + first * n, (last - first) * n);
    }
    for (int k = first; k < last; ++k) {
        acc += cheep_dot(row + (x0 + k * s->dilation_w) * n, w + k * n, n);
    }
    return acc;
}

CHEEP_INLINE void cheep_conv_small(const cheep_shape *s, const int8_t *in, const int8_t *weights,
                                   const cheep_channel *channels, int8_t *out, int limit) {
    const int wide = s->filter_w * s->in_c, filter = 4 * s->fours;
    for (int i = 0; i < s->out_h * s->out_w; ++i) {
        const int y0 = i / s->out_w * s->stride_h - s->pad_top, x0 = i % s->out_w * s->stride_w - s->pad_left;
        for (int c = 0; c < s->out_c; ++c) {
            const int8_t *w = weights + c * filter;
            int32_t acc = 0;
            for (int ky = 0; ky < s->filter_h; ++ky, w += wide) {
                const int y = y0 + ky * s->dilation_h;
                acc += y < 0 || y >= s->in_h ? cheep_padding(s, w, wide)
                                             : cheep_conv_row(s, in + y * s->in_w * s->in_c, w, x0);
            }
            *out++ = (int8_t)cheep_requantize(channels[c].bias2 + 2 * acc, &channels[c], limit, s->range);
        }
    }
}

/*@ general: base */
typedef struct {
    int32_t multiplier;
    int16_t left, right;
} cheep_general;

CHEEP_INLINE int32_t cheep_by(int32_t x, const cheep_general *r) {
    return cheep_scale(x, r->multiplier, r->left, r->right);
}

/*@ matmul: general limit */
/* rows x columns products of vectors of `depth` bytes: steps from one value to the next, and to the next vector. */
typedef struct {
    int32_t rows, columns, depth, a_row, a_step, b_column, b_step;
    int32_t a_zero, b_zero, out_zero;
    cheep_general product;
} cheep_matmul_spec;

CHEEP_NOINLINE static void cheep_matmul(const cheep_matmul_spec *m, const int8_t *a, const int8_t *b, int8_t *out) {
    for (int i = 0; i < m->rows; ++i, a += m->a_row) {
        const int8_t *column = b;
        for (int j = 0; j < m->columns; ++j, column += m->b_column) {
            const int8_t *x = a, *y = column;
            int32_t sum = 0;
            for (int k = 0; k < m->depth; ++k, x += m->a_step, y += m->b_step) {
                sum += (*x - m->a_zero) * (*y - m->b_zero);
            }
            *out++ = cheep_limit(cheep_by(sum, &m->product) + m->out_zero, -128, 127);
        }
    }
}

/*@ svdf: general limit dot */
/* One filter of `inputs` weights per `memory` values of the state; `rank` filters are summed to an output. */
typedef struct {
    const int8_t *feature;
    const int32_t *folded; /* -input zero point times the sum of the filter's weights */
    const int32_t *bias;
    int32_t batches, inputs, units, rank, memory;
    int32_t state_zero, out_zero;
    cheep_general to_state, to_output;
} cheep_svdf_spec;

CHEEP_INLINE void cheep_svdf(const cheep_svdf_spec *m, const int8_t *in, const void *time, const void *before,
                             void *after, int8_t *out, bool wide) {
    const int filters = m->units * m->rank, values = m->batches * filters * m->memory;
    const size_t item = wide ? sizeof(int16_t) : 1;
    memmove(after, (const char *)before + item, (size_t)(values - 1) * item); /* the oldest of each filter goes */
    for (int batch = 0; batch < m->batches; ++batch, in += m->inputs) {
        for (int unit = 0; unit < m->units; ++unit) {
            uint32_t total = (uint32_t)m->bias[unit];
            for (int r = unit * m->rank; r < (unit + 1) * m->rank; ++r) {
                const int at = (batch * filters + r) * m->memory, newest = at + m->memory - 1;
                const int32_t sum = cheep_dot(in, m->feature + r * m->inputs, m->inputs) + m->folded[r];
                const int32_t value = cheep_by(sum, &m->to_state);
                if (wide) {
                    int16_t *const state = (int16_t *)after;
                    const int16_t *const weights = (const int16_t *)time + r * m->memory;
                    state[newest] = (int16_t)(value < INT16_MIN ? INT16_MIN : value > INT16_MAX ? INT16_MAX : value);
                    for (int k = 0; k < m->memory; ++k) {
                        total += (uint32_t)(weights[k] * state[at + k]);
                    }
                } else {
                    int8_t *const state = (int8_t *)after;
                    const int8_t *const weights = (const int8_t *)time + r * m->memory;
                    state[newest] = (int8_t)(uint8_t)(m->state_zero + cheep_limit(value, -128, 127));
                    for (int k = 0; k < m->memory; ++k) {
                        total += (uint32_t)(weights[k] * (state[at + k] - m->state_zero));
                    }
                }
            }
            *out++ = cheep_limit(cheep_by((int32_t)total, &m->to_output) + m->out_zero, -128, 127);
        }
    }
}

/*@ lstm: general limit dot */
/* Gates: forget, input, cell, output; of each [unit]: weights of the inputs, of the hidden values, two biases with the
 * zero points in them, and two ratios that make 2^-12 of both sums. */
typedef struct {
    const int8_t *input_weights, *hidden_weights;
    const int32_t *bias;
    const uint16_t *sigmoid; /* sigmoid(i / 24) * 2^16 */
    int32_t batches, steps, inputs, units;
    int32_t batch_step, time_step; /* of the input's and output's rows */
    int32_t hidden_zero, clip, tanh_multiplier, tanh_shift;
    cheep_general gates[4][2], forget, input, output;
} cheep_lstm_spec;

CHEEP_INLINE int32_t cheep_limit16(int32_t v) {
    return v < INT16_MIN ? INT16_MIN : v > INT16_MAX ? INT16_MAX : v;
}

/* A fixed-point number of 12 fraction bits -> 15. */
CHEEP_INLINE int32_t cheep_sigmoid16(const uint16_t *table, int32_t x) {
    const int32_t v = 3 * x;
    const uint32_t size = (uint32_t)(v < 0 ? -v : v), at = size >> 9;
    uint32_t r = UINT32_C(0x7fff) << 10;
    if (at < 255) {
        r = ((uint32_t)table[at] << 9) + (size & 511) * (uint32_t)(table[at + 1] - table[at]);
    }
    r = v >= 0 ? r + 512 : (UINT32_C(1) << 25) - r + 511;
    return (int16_t)(uint16_t)(r >> 10);
}

CHEEP_INLINE int32_t cheep_tanh16(const uint16_t *table, int32_t x, int32_t multiplier, int32_t shift) {
    const int32_t v = (x * multiplier + (shift > 0 ? 1 << (shift - 1) : 0)) >> shift;
    const uint32_t size = (uint32_t)(v < 0 ? -v : v), at = size >> 8;
    int32_t r = 0xffff << 8;
    if (at < 255) {
        r = (table[at] << 8) + (int32_t)(size & 255) * (table[at + 1] - table[at]);
    }
    r = v >= 0 ? r - (1 << 23) + 128 : -r + (1 << 23) + 127;
    return (int16_t)(uint16_t)(uint32_t)(r >> 8);
}

CHEEP_NOINLINE static int32_t cheep_lstm_gate(const cheep_lstm_spec *m, int gate, int unit, const int8_t *in,
                                              const int8_t *hidden) {
    const int row = gate * m->units + unit;
    const int32_t a = cheep_dot(in, m->input_weights + row * m->inputs, m->inputs) + m->bias[2 * row];
    const int32_t b = cheep_dot(hidden, m->hidden_weights + row * m->units, m->units) + m->bias[2 * row + 1];
    const cheep_general *const ratios = m->gates[gate];
    return cheep_limit16(cheep_limit16(cheep_by(a, &ratios[0])) + cheep_limit16(cheep_by(b, &ratios[1])));
}

/* hidden and cell are what the states become; they may be what they were. */
CHEEP_NOINLINE static void cheep_lstm(const cheep_lstm_spec *m, const int8_t *in, const int8_t *hidden_before,
                                      const int16_t *cell_before, int8_t *out, int8_t *hidden, int16_t *cell) {
    const size_t values = (size_t)(m->batches * m->units);
    memmove(hidden, hidden_before, values);
    memmove(cell, cell_before, values * sizeof *cell);
    for (int batch = 0; batch < m->batches; ++batch, hidden += m->units, cell += m->units) {
        for (int step = 0; step < m->steps; ++step) {
            const int row = batch * m->batch_step + step * m->time_step;
            const int8_t *const x = in + row * m->inputs;
            int8_t *const made = out + row * m->units;
            for (int unit = 0; unit < m->units; ++unit) {
                const int32_t keep = cheep_sigmoid16(m->sigmoid, cheep_lstm_gate(m, 0, unit, x, hidden));
                const int32_t take = cheep_sigmoid16(m->sigmoid, cheep_lstm_gate(m, 1, unit, x, hidden));
                const int32_t candidate = cheep_tanh16(m->sigmoid, cheep_lstm_gate(m, 2, unit, x, hidden), 3, 0);
                const int32_t show = cheep_sigmoid16(m->sigmoid, cheep_lstm_gate(m, 3, unit, x, hidden));
                int32_t c = cheep_limit16(cheep_by(keep * cell[unit], &m->forget));
                c = cheep_limit16(c + cheep_limit16(cheep_by(take * candidate, &m->input)));
                if (m->clip > 0) {
                    c = c > m->clip ? m->clip : c < -m->clip ? -m->clip : c;
                }
                cell[unit] = (int16_t)c;
                const int32_t h = cheep_tanh16(m->sigmoid, c, m->tanh_multiplier, m->tanh_shift) * show;
                made[unit] = cheep_limit(cheep_by(h, &m->output) + m->hidden_zero, -128, 127);
            }
            memcpy(hidden, made, (size_t)m->units);
        }
    }
}
