/* SPDX-License-Identifier: MIT */
#include "cheep_frontend.h"

#include <string.h>

#include "cheep_compress.h"
#include "cheep_fft.h"
#include "cheep_math.h"

#define CHEEP_FALLTHROUGH __attribute__((fallthrough))
#define CHAINED_BINS 16

static bool in_range(float x, float low, float high)
{
    return x >= low && x <= high; /* false for NaN */
}

static bool sizes_are_valid(const cheep_frontend_spec *spec)
{
    return cheep_fft_has(spec->fft_size, spec->frame_samples) && spec->hop_samples >= 1 && spec->n_mels >= 1 &&
           spec->n_mels <= CHEEP_MAX_MELS;
}

static bool tables_are_valid(const cheep_frontend_spec *spec)
{
    uint32_t weights = 0;

    if (spec->window == NULL || spec->twiddle == NULL || spec->band_start == NULL || spec->band_count == NULL ||
        spec->band_weight == NULL || spec->twiddle_count != cheep_fft_twiddle_count(spec->fft_size)) {
        return false;
    }
    for (uint32_t m = 0; m < spec->n_mels; m++) {
        if ((uint32_t)spec->band_start[m] + spec->band_count[m] > spec->fft_size / 2u + 1u) {
            return false;
        }
        weights += spec->band_count[m];
    }
    return weights == spec->weight_count;
}

static bool values_are_valid(const cheep_frontend_spec *spec)
{
    if (spec->spectrum > CHEEP_SPECTRUM_MAGNITUDE || spec->compression > CHEEP_COMPRESSION_PCEN ||
        !in_range(spec->log_floor, 1e-30f, 1e30f)) {
        return false;
    }
    return spec->compression != CHEEP_COMPRESSION_PCEN ||
           (in_range(spec->pcen_smoothing, 0.0f, 1.0f) && in_range(spec->pcen_gain, 0.0f, 2.0f) &&
            in_range(spec->pcen_bias, 0.0f, 1e6f) && in_range(spec->pcen_power, 0.001f, 1.0f) &&
            in_range(spec->pcen_eps, 1e-30f, 1e6f));
}

/* Every band ends where the next but one begins, as triangles between successive mel points do, and no side of a
 * triangle is longer than CHAINED_BINS. */
static bool is_chained(const cheep_frontend_spec *spec)
{
    uint32_t n = 0; /* bins on the falling side of the band before */

    for (uint32_t m = 0; m < spec->n_mels; m++) {
        const uint32_t begin = spec->band_start[m];
        const uint32_t end = begin + spec->band_count[m];
        const uint32_t top = m + 1 < spec->n_mels ? spec->band_start[m + 1] : (m == 0 ? end : begin + n);

        if (top < begin || top > end || (m > 0 && top - begin != n) || top - begin > CHAINED_BINS) {
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
    if (spec->compression == CHEEP_COMPRESSION_PCEN) {
        bytes += round_up(spec->n_mels * sizeof(float));
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
    fe->smooth = spec->compression == CHEEP_COMPRESSION_PCEN ? (float *)(void *)at : NULL;
    fe->chained = is_chained(spec);
    cheep_frontend_reset(fe);
    return CHEEP_OK;
}

void cheep_frontend_reset(cheep_frontend *fe)
{
    fe->filled = 0;
    fe->skip = 0;
    fe->columns = 0;
}

/* mel[n_mels] from the spectrum for any bank: bins of a band in rising order. */
static void apply_bands(const cheep_frontend_spec *spec, const float *spectrum, float *mel)
{
    const float *weight = spec->band_weight;

    for (uint32_t m = 0; m < spec->n_mels; m++) {
        const float *bin = spectrum + spec->band_start[m];
        float sum = 0.0f;

        for (uint32_t i = spec->band_count[m]; i > 0; i--) {
            sum += *bin++ * *weight++;
        }
        mel[m] = sum;
    }
}

/* The same sums as apply_bands in a chained bank, and their decibels: between two neighbouring mel points one band
 * falls and the next one rises, so each bin is read once for both. */
static void chained_bands_to_decibel(const cheep_frontend_spec *spec, const float *spectrum, float *db)
{
    const cheep_decibel_scale by = cheep_make_decibel_scale(spec);
    const float zero = by.c[0] - by.c[0]; /* not a constant: kept in a register */
    const uint16_t *count = spec->band_count;
    const float *const last = db + spec->n_mels - 1;
    const float *bin = spectrum + spec->band_start[0];
    const float *weight = spec->band_weight; /* the next weight of the falling band */
    uint32_t n = spec->n_mels > 1 ? (uint32_t)(spec->band_start[1] - spec->band_start[0]) : *count;
    float falling = 0.0f;

    for (uint32_t i = n; i > 0; i--) {
        falling += *bin++ * *weight++;
    }
    while (db != last) {
        float rising = zero;

        n = *count++ - n; /* bins between the two mel points */
        bin += n;
        weight += n; /* the rising band's weights follow the falling one's */
        const float *next = weight + n;
#define BIN(i) \
    case i: \
        falling += bin[-(i)] * weight[-(i)]; \
        rising += bin[-(i)] * next[-(i)]; \
        CHEEP_FALLTHROUGH;
        switch (n) { /* at most CHAINED_BINS */
            BIN(16) BIN(15) BIN(14) BIN(13) BIN(12) BIN(11) BIN(10) BIN(9)
            BIN(8) BIN(7) BIN(6) BIN(5) BIN(4) BIN(3) BIN(2) BIN(1)
        case 0:
            break;
        default:
            __builtin_unreachable();
        }
        weight = next;
#undef BIN
        *db++ = cheep_decibel(falling, &by);
        falling = rising;
    }
    for (uint32_t i = *count - n; i > 0; i--) {
        falling += *bin++ * *weight++;
    }
    *db = cheep_decibel(falling, &by);
}

static void to_decibel(const cheep_frontend_spec *spec, float *mel)
{
    const cheep_decibel_scale by = cheep_make_decibel_scale(spec);

    for (uint32_t m = 0; m < spec->n_mels; m++) {
        mel[m] = cheep_decibel(mel[m], &by);
    }
}

/* (E / (eps + M)^gain + bias)^power - bias^power, M the running mean of E, which starts at the first E. */
void cheep_pcen_column(const cheep_frontend *fe, float *mel)
{
    const cheep_frontend_spec *spec = fe->spec;
    const float offset =
        spec->pcen_bias > 0.0f ? cheep_exp2(spec->pcen_power * cheep_log2(spec->pcen_bias)) : 0.0f;

    for (uint32_t m = 0; m < spec->n_mels; m++) {
        const float energy = mel[m];
        const float before = fe->columns == 0 ? energy : fe->smooth[m];
        const float mean = before + spec->pcen_smoothing * (energy - before);
        const float gain = cheep_exp2(-spec->pcen_gain * cheep_log2(mean + spec->pcen_eps));
        const float ratio = energy * gain + spec->pcen_bias;

        fe->smooth[m] = mean;
        mel[m] = ratio > 1e-36f ? cheep_exp2(spec->pcen_power * cheep_log2(ratio)) - offset : 0.0f;
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
    if (spec->compression == CHEEP_COMPRESSION_PCEN) {
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

/* Eight samples, aligned to 4 bytes; the regions may overlap. */
static inline CHEEP_INLINE void copy_8(int16_t *to, const int16_t *from)
{
    uint32_t block[4];

    memcpy(block, __builtin_assume_aligned(from, 4), sizeof block);
    memcpy(__builtin_assume_aligned(to, 4), block, sizeof block);
}

/* n samples, the regions apart or to below from. By words where both are aligned: a C library for small devices
 * may copy by bytes. */
static void copy_down(int16_t *to, const int16_t *from, size_t n)
{
    if ((((uintptr_t)to | (uintptr_t)from) & 3u) == 0) {
        for (; n >= 32; n -= 32) {
            copy_8(to, from);
            copy_8(to + 8, from + 8);
            copy_8(to + 16, from + 16);
            copy_8(to + 24, from + 24);
            to += 32;
            from += 32;
        }
        for (; n >= 8; n -= 8) {
            copy_8(to, from);
            to += 8;
            from += 8;
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

static inline CHEEP_INLINE uint8_t quantized(float x, float inverse_scale, float offset)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds half to even, into the low bits */
    const uint32_t lowest = 0x4b400000u - 128u;
    const float y = x * inverse_scale + offset;
    uint32_t bits = (uint32_t)cheep_bits_of(y + magic);

    if (bits - lowest > 255u) {
        bits = y > 0.0f ? lowest + 255u : lowest; /* NaN: the lowest */
    }
    CHEEP_OPAQUE(bits); /* a byte store needs no masking */
    return (uint8_t)bits;
}

void cheep_quantize(const float *x, size_t n, float inverse_scale, int32_t zero_point, int8_t *q)
{
    const float offset = (float)zero_point;
    uint8_t *low = (uint8_t *)q;

    for (; n >= 4; n -= 4) {
        low[0] = quantized(x[0], inverse_scale, offset);
        low[1] = quantized(x[1], inverse_scale, offset);
        low[2] = quantized(x[2], inverse_scale, offset);
        low[3] = quantized(x[3], inverse_scale, offset);
        x += 4;
        low += 4;
    }
    for (; n > 0; n--) {
        *low++ = quantized(*x++, inverse_scale, offset);
    }
}
