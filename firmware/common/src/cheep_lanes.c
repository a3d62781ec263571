/* SPDX-License-Identifier: MIT */
/* Whole recordings on a host: CHEEP_LANES frames at a time, one per lane of a vector. Each lane does the operations of
 * cheep_frontend_push in the same order, so the bits are the same. Without CHEEP_LANES, or where the compiler has no
 * vector shuffles, it is cheep_frontend_run. */
#include "cheep_lanes.h"

#include <string.h>

#include "cheep_compress.h"
#include "cheep_fft.h"

#if defined(CHEEP_LANES) && defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector) && __has_builtin(__builtin_convertvector)
#define HAVE_LANES
#endif
#endif

#ifndef HAVE_LANES

size_t cheep_lanes_scratch_bytes(const cheep_frontend_spec *spec)
{
    (void)spec;
    return 0;
}

size_t cheep_lanes_run(cheep_frontend *fe, const int16_t *pcm, size_t n, float *columns, size_t max_columns,
                       void *scratch)
{
    size_t consumed;

    (void)scratch;
    return cheep_frontend_run(fe, pcm, n, columns, max_columns, &consumed);
}

#else

typedef float lanes __attribute__((vector_size(4 * CHEEP_LANES), aligned(4), may_alias));
typedef int32_t int_lanes __attribute__((vector_size(4 * CHEEP_LANES)));
typedef int16_t short_lanes __attribute__((vector_size(2 * CHEEP_LANES), aligned(2), may_alias));

#define CHEEP_ORDER
#define REAL lanes
#define FFT(name) name##_lanes
#include "cheep_fft_constants.h"
#include "cheep_fft_kernel.h"

typedef struct {
    lanes *work;   /* fft_size */
    lanes *power;  /* fft_size / 2 + 1 */
    lanes *mel;    /* n_mels, rounded up to whole blocks */
    float *window; /* frame_samples, in the order of time, rounded up */
} buffers;

static size_t rounded(size_t n)
{
    return (n + CHEEP_LANES - 1) / CHEEP_LANES * CHEEP_LANES;
}

size_t cheep_lanes_scratch_bytes(const cheep_frontend_spec *spec)
{
    const size_t values = (size_t)spec->fft_size + spec->fft_size / 2u + 1u + rounded(spec->n_mels);

    return values * sizeof(lanes) + rounded(spec->frame_samples) * sizeof(float);
}

static buffers divide(const cheep_frontend_spec *spec, void *scratch)
{
    buffers b;

    b.work = scratch;
    b.power = b.work + spec->fft_size;
    b.mel = b.power + spec->fft_size / 2u + 1u;
    b.window = (float *)(void *)(b.mel + rounded(spec->n_mels));
    for (uint32_t i = 0; i < spec->frame_samples; i++) {
        b.window[i] = spec->window[cheep_fft_window_index(spec, i)];
    }
    return b;
}

#if CHEEP_LANES == 4
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#elif CHEEP_LANES == 8
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#error "CHEEP_LANES must be 4 or 8"
#endif

/* A perfect shuffle of rows i and i + CHEEP_LANES / 2, log2(CHEEP_LANES) times, transposes the block. */
static inline void transpose(lanes *row)
{
    for (int step = 1; step < CHEEP_LANES; step *= 2) {
        lanes next[CHEEP_LANES];
        for (int i = 0; i < CHEEP_LANES / 2; i++) {
            next[2 * i] = LOW(row[i], row[i + CHEEP_LANES / 2]);
            next[2 * i + 1] = HIGH(row[i], row[i + CHEEP_LANES / 2]);
        }
        memcpy(row, next, sizeof next);
    }
}

/* Windowed samples of CHEEP_LANES frames that start hop apart; past the last of count frames, that one again. */
static void load(const cheep_frontend_spec *spec, const int16_t *pcm, uint32_t count, const buffers *b)
{
    const uint32_t frame = spec->frame_samples;
    const int16_t *from[CHEEP_LANES];
    uint32_t i = 0;

    for (uint32_t l = 0; l < CHEEP_LANES; l++) {
        from[l] = pcm + (size_t)(l < count ? l : count - 1u) * spec->hop_samples;
    }
    for (; i + CHEEP_LANES <= frame; i += CHEEP_LANES) {
        const lanes window = *(const lanes *)(b->window + i);
        lanes row[CHEEP_LANES];
        for (uint32_t l = 0; l < CHEEP_LANES; l++) {
            const short_lanes samples = *(const short_lanes *)(from[l] + i);
            row[l] = __builtin_convertvector(samples, lanes) * window;
        }
        transpose(row);
        memcpy(b->work + i, row, sizeof row);
    }
    for (; i < frame; i++) {
        for (uint32_t l = 0; l < CHEEP_LANES; l++) {
            b->work[i][l] = (float)from[l][i] * b->window[i];
        }
    }
    memset(b->work + frame, 0, (spec->fft_size - frame) * sizeof(lanes));
}

static inline lanes decibel(lanes x, const cheep_decibel_scale *by)
{
    const int_lanes bits = (int_lanes)x;
    const int_lanes floor = cheep_bits_of(by->floor) - (int_lanes){0};
    const int_lanes above = bits > floor;
    const int_lanes kept = (bits & above) | (floor & ~above);
    const int_lanes exponent = (kept - CHEEP_LOG2_OFFSET) >> 23;
    const lanes f = (lanes)(kept - (exponent << 23)) - 1.0f;

    return CHEEP_HORNER(by->c, f) + __builtin_convertvector(exponent, lanes) * by->c[0];
}

static inline lanes square_root(lanes x)
{
    const int_lanes positive = x > 1e-36f;
    const lanes half = 0.5f * x;
    lanes y = (lanes)(0x5f375a86 - ((int_lanes)x >> 1));

    y = y * (1.5f - half * y * y);
    y = y * (1.5f - half * y * y);
    y = y * (1.5f - half * y * y);
    return (lanes)((int_lanes)(x * y) & positive);
}

/* count columns, 1..CHEEP_LANES, the first of them from the frame at pcm. */
static void make_columns(cheep_frontend *fe, const int16_t *pcm, uint32_t count, const buffers *b, float *columns)
{
    const cheep_frontend_spec *spec = fe->spec;
    const uint32_t n_mels = spec->n_mels;
    const uint32_t bands = cheep_bands(spec);
    const float *weight = spec->band_weight;
    const cheep_decibel_scale by = cheep_make_decibel_scale(spec);

    load(spec, pcm, count, b);
    any_lanes(b->work, spec->fft_size, spec->twiddle, b->power);
    if (spec->spectrum == CHEEP_SPECTRUM_MAGNITUDE) {
        for (uint32_t k = 0; k <= spec->fft_size / 2u; k++) {
            b->power[k] = square_root(b->power[k]);
        }
    }
    for (uint32_t m = 0; m < bands; m++) {
        const lanes *bin = b->power + spec->band_start[m];
        lanes sum = {0};

        for (uint32_t i = spec->band_count[m]; i > 0; i--) {
            sum += *bin++ * *weight++;
        }
        b->mel[m] = spec->compression == CHEEP_COMPRESSION_DB ? decibel(sum + spec->log_offset, &by) : sum;
    }
    uint32_t m = 0;
    for (; m + CHEEP_LANES <= bands; m += CHEEP_LANES) {
        transpose(b->mel + m);
        for (uint32_t l = 0; l < count; l++) {
            *(lanes *)(columns + (size_t)l * n_mels + m) = b->mel[m + l];
        }
    }
    for (; m < bands; m++) {
        for (uint32_t l = 0; l < count; l++) {
            columns[(size_t)l * n_mels + m] = b->mel[m][l];
        }
    }
    for (uint32_t l = 0; l < count; l++) {
        if (spec->compression != CHEEP_COMPRESSION_DB) {
            cheep_pcen_column(fe, columns + (size_t)l * n_mels);
        }
        fe->columns++;
    }
}

size_t cheep_lanes_run(cheep_frontend *fe, const int16_t *pcm, size_t n, float *columns, size_t max_columns,
                       void *scratch)
{
    const cheep_frontend_spec *spec = fe->spec;
    const size_t frame = spec->frame_samples;
    const size_t hop = spec->hop_samples;
    size_t made = 0;
    size_t used = 0;

    if (n >= 2 * frame + hop) {
        const buffers b = divide(spec, scratch);

        /* Until the samples in the history are also in pcm, as they come. */
        while (fe->filled > used && made < max_columns) {
            bool ready;
            used += cheep_frontend_push(fe, pcm + used, n - used, columns + made * spec->n_mels, &ready);
            made += ready ? 1u : 0u;
        }
        size_t start = used + fe->skip - fe->filled; /* of the next frame */
        while (start + frame <= n && made < max_columns) {
            const size_t whole = 1 + (n - start - frame) / hop; /* frames left */
            const size_t room = max_columns - made;
            const size_t left = whole < room ? whole : room;
            const uint32_t count = left < CHEEP_LANES ? (uint32_t)left : CHEEP_LANES;
            make_columns(fe, pcm + start, count, &b, columns + made * spec->n_mels);
            made += count;
            start += hop * count;
            fe->filled = 0;
            fe->skip = start > n ? (uint32_t)(start - n) : 0;
            used = start > n ? n : start;
        }
    }
    size_t consumed;
    return made + cheep_frontend_run(fe, pcm + used, n - used, columns + made * spec->n_mels, max_columns - made,
                                     &consumed);
}

#endif
