/* SPDX-License-Identifier: MIT */
#include "cheep_frontend.h"

#include <string.h>

#include "cheep_compress.h"
#include "cheep_fft.h"
#include "cheep_math.h"


static bool in_range(float x, float low, float high)
{
    return x >= low && x <= high; /* false for NaN */
}

static bool sizes_are_valid(const cheep_frontend_spec *spec)
{
    return cheep_fft_has(spec->fft_size, spec->frame_samples) && spec->hop_samples >= 1 && spec->n_mels >= 1 &&
           spec->n_mels <= CHEEP_MAX_MELS &&
           (spec->compression != CHEEP_COMPRESSION_BOTH || spec->n_mels % 2u == 0);
}

static bool tables_are_valid(const cheep_frontend_spec *spec)
{
    uint32_t weights = 0;

    if (spec->window == NULL || spec->twiddle == NULL || spec->band_start == NULL || spec->band_count == NULL ||
        spec->band_weight == NULL || spec->twiddle_count != cheep_fft_twiddle_count(spec->fft_size)) {
        return false;
    }
    for (uint32_t m = 0; m < cheep_bands(spec); m++) {
        if ((uint32_t)spec->band_start[m] + spec->band_count[m] > spec->fft_size / 2u + 1u) {
            return false;
        }
        weights += spec->band_count[m];
    }
    return weights == spec->weight_count;
}

static bool values_are_valid(const cheep_frontend_spec *spec)
{
    if (spec->spectrum > CHEEP_SPECTRUM_MAGNITUDE || spec->compression > CHEEP_COMPRESSION_BOTH ||
        !in_range(spec->log_floor, 1e-30f, 1e30f) || !in_range(spec->log_offset, 0.0f, 1.0f)) {
        return false;
    }
    return spec->compression == CHEEP_COMPRESSION_DB ||
           (in_range(spec->pcen_smoothing, 0.0f, 1.0f) && in_range(spec->pcen_gain, 0.0f, 2.0f) &&
            in_range(spec->pcen_bias, 0.0f, 1e6f) && in_range(spec->pcen_power, 0.001f, 1.0f) &&
            in_range(spec->pcen_eps, 1e-30f, 1e6f));
}

/* Every band ends where the next but one begins, as triangles between successive mel points do. */
static bool is_chained(const cheep_frontend_spec *spec)
{
    const uint32_t bands = cheep_bands(spec);
    uint32_t n = 0; /* bins on the falling side of the band before */

    for (uint32_t m = 0; m < bands; m++) {
        const uint32_t begin = spec->band_start[m];
        const uint32_t end = begin + spec->band_count[m];
        const uint32_t top = m + 1 < bands ? spec->band_start[m + 1] : (m == 0 ? end : begin + n);

        if (top < begin || top > end || (m > 0 && top - begin != n)) {
            return false;
        }
        n = end - top;
    }
    return true;
}

static size_t round_up(size_t bytes)
{
    return (bytes + 7u) & ~(size_t)7u;
}

size_t cheep_frontend_memory_bytes(const cheep_frontend_spec *spec)
{
    if (spec == NULL || !sizes_are_valid(spec)) {
        return 0;
    }
    size_t bytes = round_up(spec->frame_samples * sizeof(int16_t));
    bytes += round_up(spec->fft_size * sizeof(float));
    bytes += round_up((spec->fft_size / 2u + 1u) * sizeof(float));
    if (spec->compression != CHEEP_COMPRESSION_DB) {
        bytes += round_up(cheep_bands(spec) * sizeof(float));
    }
    return bytes;
}

cheep_status cheep_frontend_init(cheep_frontend *fe, const cheep_frontend_spec *spec, void *memory,
                                 size_t memory_bytes)
{
    if (fe == NULL || spec == NULL || memory == NULL || !sizes_are_valid(spec) || !tables_are_valid(spec) ||
        !values_are_valid(spec)) {
        return CHEEP_ERROR_ARGUMENT;
    }
    if (memory_bytes < cheep_frontend_memory_bytes(spec)) {
        return CHEEP_ERROR_MEMORY;
    }
    char *at = memory;
    fe->spec = spec;
    fe->work = (float *)(void *)at;
    at += round_up(spec->fft_size * sizeof(float));
    fe->power = (float *)(void *)at;
    at += round_up((spec->fft_size / 2u + 1u) * sizeof(float));
    fe->history = (int16_t *)(void *)at;
    at += round_up(spec->frame_samples * sizeof(int16_t));
    fe->smooth = spec->compression != CHEEP_COMPRESSION_DB ? (float *)(void *)at : NULL;
    fe->chained = spec->log_offset == 0.0f && is_chained(spec);
    cheep_frontend_reset(fe);
    return CHEEP_OK;
}

void cheep_frontend_reset(cheep_frontend *fe)
{
    fe->filled = 0;
    fe->skip = 0;
    fe->columns = 0;
}

/* mel[bands] from the spectrum for any bank: bins of a band in rising order. */
static void apply_bands(const cheep_frontend_spec *spec, const float *spectrum, float *mel)
{
    const float *weight = spec->band_weight;
    const uint32_t bands = cheep_bands(spec);

    for (uint32_t m = 0; m < bands; m++) {
        const float *bin = spectrum + spec->band_start[m];
        float sum = 0.0f;

        for (uint32_t i = spec->band_count[m]; i > 0; i--) {
            sum += *bin++ * *weight++;
        }
        mel[m] = sum;
    }
}

/* n bins between two mel points, their weights in the falling band, and behind these, in the rising one: the open sum
 * of the falling band is completed, and that of the rising one takes its place. */
#if defined(__ARM_FP) && defined(__thumb__)
#define CHEEP_SIDE(n, bins, weights, sums) \
    __asm__("vldmia %[bin]!, {" bins "}\n\t" \
            "vldmia %[weight]!, {" weights "}\n\t" sums \
            : [sum] "=&t"(sum), [open] "+t"(open), [bin] "+r"(bin), [weight] "+r"(weight) \
            : "m"(*(const float(*)[n])(bin)), "m"(*(const float(*)[2 * (n)])(weight)) \
            : "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15", \
              "s16", "s17")
#define CHEEP_HELD __asm__("s24")
/* Bin b with weight w in the falling and v in the rising band. The first bin of a band is its sum: 0 + x is x. */
#define CHEEP_FIRST(b, w, v) \
    "vmul.f32 " w ", " w ", " b "\n\t" \
    "vadd.f32 %[sum], %[open], " w "\n\t" \
    "vmul.f32 %[open], " v ", " b "\n\t"
#define CHEEP_NEXT(b, w, v) \
    "vmul.f32 " w ", " w ", " b "\n\t" \
    "vmul.f32 " v ", " v ", " b "\n\t" \
    "vadd.f32 %[sum], %[sum], " w "\n\t" \
    "vadd.f32 %[open], %[open], " v "\n\t"
#define CHEEP_SIDE1 \
    CHEEP_SIDE(1, "s0", "s6-s7", \
               CHEEP_FIRST("s0", "s6", "s7"))
#define CHEEP_SIDE2 \
    CHEEP_SIDE(2, "s0-s1", "s6-s9", \
               CHEEP_FIRST("s0", "s6", "s8") \
               CHEEP_NEXT("s1", "s7", "s9"))
#define CHEEP_SIDE3 \
    CHEEP_SIDE(3, "s0-s2", "s6-s11", \
               CHEEP_FIRST("s0", "s6", "s9") \
               CHEEP_NEXT("s1", "s7", "s10") \
               CHEEP_NEXT("s2", "s8", "s11"))
#define CHEEP_SIDE4 \
    CHEEP_SIDE(4, "s0-s3", "s6-s13", \
               CHEEP_FIRST("s0", "s6", "s10") \
               CHEEP_NEXT("s1", "s7", "s11") \
               CHEEP_NEXT("s2", "s8", "s12") \
               CHEEP_NEXT("s3", "s9", "s13"))
#define CHEEP_SIDE5 \
    CHEEP_SIDE(5, "s0-s4", "s6-s15", \
               CHEEP_FIRST("s0", "s6", "s11") \
               CHEEP_NEXT("s1", "s7", "s12") \
               CHEEP_NEXT("s2", "s8", "s13") \
               CHEEP_NEXT("s3", "s9", "s14") \
               CHEEP_NEXT("s4", "s10", "s15"))
#define CHEEP_SIDE6 \
    CHEEP_SIDE(6, "s0-s5", "s6-s17", \
               CHEEP_FIRST("s0", "s6", "s12") \
               CHEEP_NEXT("s1", "s7", "s13") \
               CHEEP_NEXT("s2", "s8", "s14") \
               CHEEP_NEXT("s3", "s9", "s15") \
               CHEEP_NEXT("s4", "s10", "s16") \
               CHEEP_NEXT("s5", "s11", "s17"))
#else
#define CHEEP_HELD
#define CHEEP_SIDE(n) \
    sum = open + bin[0] * weight[0]; \
    open = bin[0] * weight[n]; \
    for (uint32_t i = 1; i < n; i++) { \
        sum += bin[i] * weight[i]; \
        open += bin[i] * weight[n + i]; \
    } \
    bin += n; \
    weight += 2 * n
#define CHEEP_SIDE1 CHEEP_SIDE(1)
#define CHEEP_SIDE2 CHEEP_SIDE(2)
#define CHEEP_SIDE3 CHEEP_SIDE(3)
#define CHEEP_SIDE4 CHEEP_SIDE(4)
#define CHEEP_SIDE5 CHEEP_SIDE(5)
#define CHEEP_SIDE6 CHEEP_SIDE(6)
#endif

/* The same for any n: returns the sum of the falling band. */
static __attribute__((noinline)) float wide_side(const float *bin, const float *weight, uint32_t n, float *open)
{
    const float *next = weight + n;
    float falling = *open;
    float rising = 0.0f;

#define BIN(k) falling += bin[k] * weight[k], rising += bin[k] * next[k]
    for (; n >= 4; n -= 4) {
        BIN(0), BIN(1), BIN(2), BIN(3);
        bin += 4, weight += 4, next += 4;
    }
    for (; n > 0; n--) {
        BIN(0);
        bin++, weight++, next++;
    }
#undef BIN
    *open = rising;
    return falling;
}

/* The same sums as apply_bands in a chained bank, and their decibels: between two neighbouring mel points one band
 * falls and the next one rises, so each bin is read once for both. */
static __attribute__((noinline)) void chained_bands_to_decibel(const cheep_frontend_spec *spec, const float *spectrum, float *db)
{
    const cheep_decibel_scale by = cheep_make_decibel_scale(spec);
    const uint16_t *count = spec->band_count;
    const float *const last = db + spec->n_mels - 1;
    const float *bin = spectrum + spec->band_start[0];
    const float *weight = spec->band_weight; /* the next weight of the falling band */
    uint32_t n = spec->n_mels > 1 ? (uint32_t)(spec->band_start[1] - spec->band_start[0]) : *count;
    register float open CHEEP_HELD = 0.0f; /* the falling band so far */

    for (uint32_t i = n; i > 0; i--) {
        open += *bin++ * *weight++;
    }
    while (db != last) {
        float sum;

        n = *count++ - n; /* bins between the two mel points */
        CHEEP_OPAQUE(n);
        CHEEP_OPAQUE(count); /* no copies of these two for the end of the loop */
        switch (n) {
        case 0:
            sum = open;
            open = 0.0f;
            break;
        case 1:
            CHEEP_SIDE1;
            break;
        case 2:
            CHEEP_SIDE2;
            break;
        case 3:
            CHEEP_SIDE3;
            break;
        case 4:
            CHEEP_SIDE4;
            break;
        case 5:
            CHEEP_SIDE5;
            break;
        case 6:
            CHEEP_SIDE6;
            break;
        default: {
            float held = open;
            sum = wide_side(bin, weight, n, &held);
            open = held;
            bin += n;
            weight += 2u * n;
        }
        }
        *db++ = cheep_decibel(sum, &by);
    }
    for (uint32_t i = *count - n; i > 0; i--) {
        open += *bin++ * *weight++;
    }
    *db = cheep_decibel(open, &by);
}

static void to_decibel(const cheep_frontend_spec *spec, float *mel)
{
    const cheep_decibel_scale by = cheep_make_decibel_scale(spec);

    for (uint32_t m = 0; m < spec->n_mels; m++) {
        mel[m] = cheep_decibel(mel[m] + spec->log_offset, &by);
    }
}

/* (E / (eps + M)^gain + bias)^power - bias^power, M the running mean of E, which starts at the first E. Both: from the
 * last band down, so that no energy is overwritten before it is read. */
void cheep_pcen_column(const cheep_frontend *fe, float *mel)
{
    const cheep_frontend_spec *spec = fe->spec;
    const cheep_decibel_scale by = cheep_make_decibel_scale(spec);
    const bool both = spec->compression == CHEEP_COMPRESSION_BOTH;
    const float floor = cheep_decibel(0.0f, &by);
    const float offset =
        spec->pcen_bias > 0.0f ? cheep_exp2(spec->pcen_power * cheep_log2(spec->pcen_bias)) : 0.0f;

    for (uint32_t m = cheep_bands(spec); m-- > 0;) {
        const float energy = mel[m];
        const float before = fe->columns == 0 ? energy : fe->smooth[m];
        const float mean = before + spec->pcen_smoothing * (energy - before);
        const float gain = cheep_exp2(-spec->pcen_gain * cheep_log2(mean + spec->pcen_eps));
        const float ratio = energy * gain + spec->pcen_bias;
        const float pcen = ratio > 1e-36f ? cheep_exp2(spec->pcen_power * cheep_log2(ratio)) - offset : 0.0f;

        fe->smooth[m] = mean;
        if (both) {
            mel[2 * m] = (cheep_decibel(energy, &by) - floor) * CHEEP_BOTH_PER_DB;
            mel[2 * m + 1] = pcen;
        } else {
            mel[m] = pcen;
        }
    }
}

static void make_column(cheep_frontend *fe, const int16_t *frame, float *column)
{
    const cheep_frontend_spec *spec = fe->spec;

    cheep_fft_power(spec, frame, fe->work, fe->power);
    if (spec->spectrum == CHEEP_SPECTRUM_MAGNITUDE) {
        for (uint32_t k = 0; k <= spec->fft_size / 2u; k++) {
            fe->power[k] = cheep_sqrt(fe->power[k]);
        }
    }
    if (spec->compression != CHEEP_COMPRESSION_DB) {
        apply_bands(spec, fe->power, column);
        cheep_pcen_column(fe, column);
    } else if (fe->chained) {
        chained_bands_to_decibel(spec, fe->power, column);
    } else {
        apply_bands(spec, fe->power, column);
        to_decibel(spec, column);
    }
    fe->columns++;
}

#if defined(__thumb2__)
#define COPY_16(to, from) \
    __asm__ volatile("ldmia %[from]!, {r3, r4, r5, r6, r8, r9, r10, r12}\n\t" \
                     "stmia %[to]!, {r3, r4, r5, r6, r8, r9, r10, r12}" \
                     : [from] "+r"(from), [to] "+r"(to) \
                     : \
                     : "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r12", "memory")
#else
#define COPY_16(to, from) \
    { \
        uint32_t block[8]; \
        memcpy(block, __builtin_assume_aligned(from, 4), sizeof block); \
        memcpy(__builtin_assume_aligned(to, 4), block, sizeof block); \
        to += 16, from += 16; \
    }
#endif

/* n samples, the regions apart or to below from. By words where both are aligned: a C library for small devices
 * may copy by bytes. */
static void copy_down(int16_t *to, const int16_t *from, size_t n)
{
    if ((((uintptr_t)to | (uintptr_t)from) & 3u) == 0) {
        for (; n >= 32; n -= 32) {
            COPY_16(to, from);
            COPY_16(to, from);
        }
        for (; n >= 2; n -= 2) {
            int16_t pair[2];
            memcpy(pair, __builtin_assume_aligned(from, 4), sizeof pair);
            memcpy(__builtin_assume_aligned(to, 4), pair, sizeof pair);
            to += 2;
            from += 2;
        }
    }
    for (; n > 0; n--) {
        *to++ = *from++;
    }
}

size_t cheep_frontend_push(cheep_frontend *fe, const int16_t *pcm, size_t n, float *column, bool *ready)
{
    const uint32_t frame = fe->spec->frame_samples;
    const uint32_t hop = fe->spec->hop_samples;
    size_t used = 0;

    *ready = false;
    if (fe->skip > 0) {
        used = fe->skip < n ? fe->skip : n;
        fe->skip -= (uint32_t)used;
    }
    const size_t missing = frame - fe->filled;
    const size_t taken = missing < n - used ? missing : n - used;

    copy_down(fe->history + fe->filled, pcm + used, taken);
    fe->filled += (uint32_t)taken;
    used += taken;
    if (fe->filled == frame) {
        make_column(fe, fe->history, column);
        *ready = true;
        if (hop < frame) {
            fe->filled = frame - hop;
            copy_down(fe->history, fe->history + hop, fe->filled);
        } else {
            fe->filled = 0;
            fe->skip = hop - frame;
        }
    }
    return used;
}

size_t cheep_frontend_run(cheep_frontend *fe, const int16_t *pcm, size_t n, float *columns, size_t max_columns,
                          size_t *consumed)
{
    size_t used = 0;
    size_t made = 0;

    while (used < n && made < max_columns) {
        bool ready;
        used += cheep_frontend_push(fe, pcm + used, n - used, columns + made * fe->spec->n_mels, &ready);
        made += ready ? 1u : 0u;
    }
    *consumed = used;
    return made;
}

#define QUANTIZE_MAGIC 12582912.0f /* 1.5 * 2^23: adding it rounds half to even, into the low bits */
#define QUANTIZE_LOWEST (0x4b400000u - 128u)

static inline CHEEP_INLINE uint8_t quantized(float x, float inverse_scale, float offset)
{
    const float y = x * inverse_scale + offset;
    uint32_t bits = (uint32_t)cheep_bits_of(y + QUANTIZE_MAGIC);

    if (bits - QUANTIZE_LOWEST > 255u) {
        bits = y > 0.0f ? QUANTIZE_LOWEST + 255u : QUANTIZE_LOWEST; /* NaN: the lowest */
    }
    CHEEP_OPAQUE(bits); /* a byte store needs no masking */
    return (uint8_t)bits;
}

#define CHEEP_APART __asm__ volatile("" ::: "memory") /* four byte stores are less than packing for one */

/* Any values, any n. */
static __attribute__((noinline)) void quantize_each(const float *x, size_t n, float inverse_scale, float offset,
                                                    uint8_t *low)
{
    for (; n > 0; n--) {
        *low++ = quantized(*x++, inverse_scale, offset);
    }
}

void cheep_quantize(const float *x, size_t n, float inverse_scale, int32_t zero_point, int8_t *q)
{
    const float offset = (float)zero_point;
    uint8_t *low = (uint8_t *)q;

    for (; n >= 4; n -= 4) {
        uint32_t a, b, c, d;
#if defined(__ARM_FP) && defined(__thumb__)
        __asm__("vldmia %[x], {s4-s7}\n\t"
                "vmul.f32 s4, s4, %[scale]\n\t"
                "vmul.f32 s5, s5, %[scale]\n\t"
                "vmul.f32 s6, s6, %[scale]\n\t"
                "vmul.f32 s7, s7, %[scale]\n\t"
                "vadd.f32 s4, s4, %[offset]\n\t"
                "vadd.f32 s5, s5, %[offset]\n\t"
                "vadd.f32 s6, s6, %[offset]\n\t"
                "vadd.f32 s7, s7, %[offset]\n\t"
                "vadd.f32 s4, s4, %[magic]\n\t"
                "vadd.f32 s5, s5, %[magic]\n\t"
                "vadd.f32 s6, s6, %[magic]\n\t"
                "vadd.f32 s7, s7, %[magic]\n\t"
                "vmov %[a], %[b], s4, s5\n\t"
                "vmov %[c], %[d], s6, s7"
                : [a] "=r"(a), [b] "=&r"(b), [c] "=r"(c), [d] "=r"(d)
                : [x] "r"(x), [scale] "t"(inverse_scale), [offset] "t"(offset), [magic] "t"(QUANTIZE_MAGIC),
                  "m"(*(const float(*)[4])x)
                : "s4", "s5", "s6", "s7");
#else
        a = (uint32_t)cheep_bits_of(x[0] * inverse_scale + offset + QUANTIZE_MAGIC);
        b = (uint32_t)cheep_bits_of(x[1] * inverse_scale + offset + QUANTIZE_MAGIC);
        c = (uint32_t)cheep_bits_of(x[2] * inverse_scale + offset + QUANTIZE_MAGIC);
        d = (uint32_t)cheep_bits_of(x[3] * inverse_scale + offset + QUANTIZE_MAGIC);
#endif
        const uint32_t above =
            (a - QUANTIZE_LOWEST) | (b - QUANTIZE_LOWEST) | (c - QUANTIZE_LOWEST) | (d - QUANTIZE_LOWEST);

        if (above > 255u) { /* one of them lies outside */
            quantize_each(x, 4, inverse_scale, offset, low);
        } else {
            low[0] = (uint8_t)a;
            CHEEP_APART;
            low[1] = (uint8_t)b;
            CHEEP_APART;
            low[2] = (uint8_t)c;
            CHEEP_APART;
            low[3] = (uint8_t)d;
        }
        x += 4;
        low += 4;
    }
    quantize_each(x, n, inverse_scale, offset, low);
}
