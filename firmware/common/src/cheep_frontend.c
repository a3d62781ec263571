#include "cheep_frontend.h"

#include <string.h>

#include "cheep_fft.h"
#include "cheep_math.h"

static bool in_range(float x, float low, float high)
{
    return x >= low && x <= high; /* false for NaN */
}

static bool is_power_of_two(uint32_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

static bool sizes_are_valid(const cheep_frontend_spec *spec)
{
    return spec->fft_size >= 64 && spec->fft_size <= CHEEP_MAX_FFT && is_power_of_two(spec->fft_size) &&
           spec->frame_samples >= 16 && spec->frame_samples <= spec->fft_size && spec->hop_samples >= 1 &&
           spec->n_mels >= 1 && spec->n_mels <= CHEEP_MAX_MELS;
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
    cheep_frontend_reset(fe);
    return CHEEP_OK;
}

void cheep_frontend_reset(cheep_frontend *fe)
{
    fe->filled = 0;
    fe->skip = 0;
    fe->columns = 0;
}

/* mel[n_mels] from the spectrum: sparse triangles, bins in rising order. */
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

static void to_decibel(const cheep_frontend_spec *spec, float *mel)
{
    const float scale = spec->spectrum == CHEEP_SPECTRUM_POWER ? 3.01029996f : 6.02059991f; /* 10, 20 log10(2) */

    for (uint32_t m = 0; m < spec->n_mels; m++) {
        mel[m] = scale * cheep_log2(mel[m] > spec->log_floor ? mel[m] : spec->log_floor);
    }
}

/* (E / (eps + M)^gain + bias)^power - bias^power, M the running mean of E, which starts at the first E. */
static void to_pcen(const cheep_frontend *fe, float *mel)
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
    apply_bands(spec, fe->power, column);
    if (spec->compression == CHEEP_COMPRESSION_PCEN) {
        to_pcen(fe, column);
    } else {
        to_decibel(spec, column);
    }
    fe->columns++;
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

    memcpy(fe->history + fe->filled, pcm + used, taken * sizeof(int16_t));
    fe->filled += (uint32_t)taken;
    used += taken;
    if (fe->filled == frame) {
        make_column(fe, fe->history, column);
        *ready = true;
        if (hop < frame) {
            fe->filled = frame - hop;
            memmove(fe->history, fe->history + hop, fe->filled * sizeof(int16_t));
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

void cheep_quantize(const float *x, size_t n, float inverse_scale, int32_t zero_point, int8_t *q)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds half to even */
    const float offset = (float)zero_point;

    for (size_t i = 0; i < n; i++) {
        const float y = x[i] * inverse_scale + offset;
        const float clipped = y > -128.0f ? (y < 127.0f ? y : 127.0f) : -128.0f;
        q[i] = (int8_t)(cheep_bits_of(clipped + magic) - cheep_bits_of(magic));
    }
}
